"""Joins a project and the learning loop: data of a run, what is kept of it, its verdict, and what to do next."""

from napari_amvlm.session.learning_data import learning_data
from napari_amvlm.session.model_comparison import Compared, Comparer, Earlier, earlier_model, parent_file
from napari_amvlm.session.queue_order import QueueOrder, QueueScorer, order_queue
from napari_amvlm.session.run_record import changed_images, judged_run, keep_model, start_run
from napari_amvlm.session.verdict import ENOUGH_HELD_OUT, Judgement, Verdict, in_words, judge

__all__ = [
    "ENOUGH_HELD_OUT",
    "Compared",
    "Comparer",
    "Earlier",
    "Judgement",
    "QueueOrder",
    "QueueScorer",
    "Verdict",
    "changed_images",
    "earlier_model",
    "in_words",
    "judge",
    "judged_run",
    "keep_model",
    "learning_data",
    "order_queue",
    "parent_file",
    "start_run",
]
