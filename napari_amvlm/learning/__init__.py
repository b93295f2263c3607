"""Text-guided Mean-Teacher fine-tuning. Qt-free and file-free; imports torch."""

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
