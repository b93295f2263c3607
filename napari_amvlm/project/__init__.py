"""The ledger on disk: images, accepted masks, models and runs of one project folder. Neither torch nor Qt."""

from napari_amvlm.project.cut_masks import CutMask
from napari_amvlm.project.project import Project
from napari_amvlm.project.queue_scores import TO_DO
from napari_amvlm.project.ranking import TileScores, heat_map, rank, score_tiles
from napari_amvlm.project.records import (
    Answer,
    CorrectionRecord,
    DraftRecord,
    ImageRecord,
    ImageScore,
    ModelRecord,
    ProjectCounts,
    PromptRecord,
    PromptStyle,
    QueueItem,
    QueueStatus,
    Region,
    ResumeState,
    RunRecord,
    Serving,
    SlidePlace,
)

__all__ = [
    "TO_DO",
    "Answer",
    "CorrectionRecord",
    "CutMask",
    "DraftRecord",
    "ImageRecord",
    "ImageScore",
    "ModelRecord",
    "Project",
    "ProjectCounts",
    "PromptRecord",
    "PromptStyle",
    "QueueItem",
    "QueueStatus",
    "Region",
    "ResumeState",
    "RunRecord",
    "Serving",
    "SlidePlace",
    "TileScores",
    "heat_map",
    "rank",
    "score_tiles",
]
