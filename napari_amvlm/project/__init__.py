"""The ledger on disk: images, accepted masks, models and runs of one project folder. Neither torch nor Qt."""

from napari_amvlm.project.project import Project
from napari_amvlm.project.records import CorrectionRecord, ImageRecord, ModelRecord, ProjectCounts, RunRecord

__all__ = ["CorrectionRecord", "ImageRecord", "ModelRecord", "Project", "ProjectCounts", "RunRecord"]
