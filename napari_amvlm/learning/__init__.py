"""Text-guided Mean-Teacher fine-tuning. Qt-free and file-free; imports torch.

To read it in order: `data` (what is learnt from) with `labelled_memory`, `crop_source` with `views` and `mixing` (a
batch), `networks` and `pseudo_labels` (labels for unlabelled pixels), `mean_teacher` with `ema` (one step), `budget`
(schedules), `fine_tune` (the loop), `run_state` and `module_state` (what is saved), `memory_steps` (less at once),
`validation` and `reports`.
"""

from napari_amvlm.learning.data import LabelledImage, LearningData, UnlabelledImage
from napari_amvlm.learning.fine_tune import fine_tune
from napari_amvlm.learning.reports import FineTuneResult, Report, StepReport, ValidationReport

__all__ = [
    "FineTuneResult",
    "LabelledImage",
    "LearningData",
    "Report",
    "StepReport",
    "UnlabelledImage",
    "ValidationReport",
    "fine_tune",
]
