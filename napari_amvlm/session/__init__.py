"""Joins a project and the learning loop: what a run learns from, what is kept of it, and whether it became better."""

from napari_amvlm.session.judging import ENOUGH_HELD_OUT, Verdict, judge
from napari_amvlm.session.reading import learning_data
from napari_amvlm.session.runs import keep_model, start_run

__all__ = ["ENOUGH_HELD_OUT", "Verdict", "judge", "keep_model", "learning_data", "start_run"]
