"""Joins a project and the learning loop: data of a run, what is kept of it, its verdict, and what to do next."""

from napari_amvlm.session.comparing import Compared, Comparer, parent_file
from napari_amvlm.session.judging import ENOUGH_HELD_OUT, Verdict, judge
from napari_amvlm.session.queue_order import QueueOrder, QueueScorer, order_queue
from napari_amvlm.session.reading import learning_data
from napari_amvlm.session.runs import keep_model, start_run

__all__ = [
    "ENOUGH_HELD_OUT",
    "Compared",
    "Comparer",
    "QueueOrder",
    "QueueScorer",
    "Verdict",
    "judge",
    "keep_model",
    "learning_data",
    "order_queue",
    "parent_file",
    "start_run",
]
