"""Joins a project and the learning loop: what a run learns from, what is kept of it, and whether it became better."""

from napari_amvlm.session.comparing import Compared, Comparer, parent_file
from napari_amvlm.session.judging import ENOUGH_HELD_OUT, Verdict, judge
from napari_amvlm.session.reading import learning_data
from napari_amvlm.session.runs import keep_model, start_run

__all__ = [
    "ENOUGH_HELD_OUT",
    "Compared",
    "Comparer",
    "Verdict",
    "judge",
    "keep_model",
    "learning_data",
    "parent_file",
    "start_run",
]
