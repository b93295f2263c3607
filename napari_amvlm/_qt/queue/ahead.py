"""The next images of the queue, predicted in the background before a person gets to them."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QThread, Signal

from napari_amvlm._qt.timers import single_shot
from napari_amvlm._qt.widgets.scale_choice import ScaleSettings
from napari_amvlm._qt.workers import GuardedThread, LearnThread
from napari_amvlm.byte_cache import ByteCache
from napari_amvlm.errors import AmvlmError, Cancelled, OutOfMemoryError
from napari_amvlm.imaging import file_spacing, magnification_by_spacing, split_instances
from napari_amvlm.review.proposal import propose

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np

    from napari_amvlm._qt.workspace import Workspace
    from napari_amvlm.prediction import Prediction
    from napari_amvlm.predictor import Predictor
    from napari_amvlm.project import Project

COUNT = 6
"""So many images are predicted ahead."""

KEPT_BYTES = 512 << 20
"""Predictions and pixels beyond this size are forgotten, the oldest first."""

_LARGEST = 128 << 20
"""An image whose predictions would take more bytes is not predicted ahead."""

_ENCODED_BYTES = 128 << 20
_FREE_BYTES = 2 << 30
"""So much memory of a graphics card stays free for what a person asks for."""

_PAUSE = 250
"""Milliseconds without other work before the background starts."""


@dataclass(frozen=True)
class Proposal:
    """What the model proposes for a prompt, int32 (H, W), with the threshold and the kind of mask it was made for."""

    values: np.ndarray
    threshold: float
    separate: bool


@dataclass(frozen=True)
class ReadyImage:
    """An image that was predicted: its pixels, one prediction for each prompt and its proposal, and their settings."""

    pixels: np.ndarray
    predictions: tuple[Prediction, ...]
    settings: ScaleSettings
    proposals: tuple[Proposal, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        maps = sum(each.probability.nbytes + each.text_probability.nbytes for each in self.predictions)
        return int(self.pixels.nbytes) + maps + sum(each.values.nbytes for each in self.proposals)


class AheadThread(GuardedThread):
    """Runs prompts on images of a project, one after the other, at the lowest priority.

    It ends at the next operation of the network once it is stopped.

    Signals
    -------
    predicted : int, ReadyImage
        The number of an image in the project, and its predictions; None where it cannot be predicted.
    """

    predicted = Signal(int, object)

    def __init__(
        self,
        project: Project,
        predictor: Callable[[], Predictor],
        image_ids: Sequence[int],
        prompts: Mapping[str, tuple[float, bool]],
        settings: ScaleSettings,
    ) -> None:
        super().__init__()
        self._project = project
        self._predictor = predictor
        self._image_ids = tuple(image_ids)
        self._prompts = prompts  # threshold of each, and whether its objects are told apart
        self._settings = settings

    def work(self) -> None:
        """Predict every image in turn."""
        _lower_priority()
        predictor = self._predictor()
        with _interruptible(self.isInterruptionRequested):
            for image_id in self._image_ids:
                if self.isInterruptionRequested() or not _has_room(predictor):
                    return
                try:
                    ready = self._predict(predictor, image_id)
                except (Cancelled, OutOfMemoryError):
                    raise
                except AmvlmError:
                    ready = None  # said when a person opens the image
                self.predicted.emit(image_id, ready)

    def _predict(self, predictor: Predictor, image_id: int) -> ReadyImage | None:
        record = self._project.images.get(image_id)
        if 12 * record.shape[0] * record.shape[1] * len(self._prompts) > _LARGEST:
            return None
        pixels = self._project.images.load(record)
        predictor.set_image(pixels, key=image_id)
        # as the dock sets it by itself
        factor = magnification_by_spacing(file_spacing(record.path), predictor.model.config.micrometers)
        settings = self._settings if factor is None else replace(self._settings, magnification=round(factor, 2))
        predictions = [
            predictor.predict(
                prompt,
                scale=settings.scale,
                magnification=settings.magnification,
                should_stop=self.isInterruptionRequested,
            )
            for prompt in self._prompts
        ]
        proposals = [_propose(each, *self._prompts[each.prompt]) for each in predictions]
        return ReadyImage(pixels, tuple(predictions), settings, tuple(proposals))


class Ahead(QObject):
    """Keeps the next images predicted while nothing else is at work.

    Parameters
    ----------
    workspace : Workspace
        Its model, project and prompts are used; any other thread of it stops the background at once.
    upcoming : callable
        Returns the numbers of the images that come next, the nearest first, without those that have masks already.

    Signals
    -------
    changed
        Other images are ready.
    """

    changed = Signal()

    def __init__(self, workspace: Workspace, upcoming: Callable[[int], Sequence[int]], parent: QObject) -> None:
        super().__init__(parent)
        self.settings = ScaleSettings()
        self._workspace = workspace
        self._upcoming = upcoming
        self._ready: ByteCache[ReadyImage] = ByteCache(KEPT_BYTES)
        self._failed: set[int] = set()
        self._with_masks: set[int] = set()
        self._made_for: tuple[Any, ...] = ()
        self._thread: AheadThread | None = None
        self._predictor: tuple[object, Predictor] | None = None
        self._timer = single_shot(self, _PAUSE, self._start)
        workspace.busyChanged.connect(self._on_busy_changed)
        workspace.projectChanged.connect(self.update)
        workspace.modelChanged.connect(self.update)

    def __contains__(self, image_id: int) -> bool:
        """Tell whether an image is ready."""
        return image_id in self._ready

    def get(self, image_id: int) -> ReadyImage | None:
        """Return what is ready of an image; None where nothing is, or where it was made for another model or prompt."""
        self._forget_old()
        return self._ready[image_id] if image_id in self._ready else None

    def with_masks(self) -> set[int]:
        """Return the numbers of the images of which a mask is ready; of words that were not taught there is none."""
        return self._with_masks.intersection(self._ready)

    def update(self) -> None:
        """Forget what is out of date, and start soon with what comes next."""
        self._forget_old()
        self._timer.start()

    def _forget_old(self) -> None:
        workspace = self._workspace
        project, predictor = workspace.project, workspace.predictor
        models = workspace.served_key(), predictor and predictor.text_model
        made_for = (project and project.root, models, tuple(workspace.prompts), self.settings)
        if made_for == self._made_for:
            return
        self._made_for = made_for
        if self._thread is not None:
            self._thread.stop()
            self._thread = None
        self._failed.clear()
        self._with_masks.clear()
        if len(self._ready):
            self._ready.clear()
            self.changed.emit()

    def _others(self) -> bool:
        """Tell whether anything else is at work; a learning run only counts on a graphics card."""
        workspace = self._workspace
        on_card = workspace.predictor is not None and workspace.predictor.device.type != "cpu"
        return any(
            not isinstance(thread, AheadThread) and (on_card or not isinstance(thread, LearnThread))
            for thread in workspace.threads()
        )

    def _on_busy_changed(self) -> None:
        if self._thread is not None and self._others():
            self._thread.stop()
        elif self._thread is None:
            self._timer.start()

    def _start(self) -> None:
        workspace = self._workspace
        project, predictor = workspace.project, workspace.predictor
        of = workspace.styles.of
        prompts = {each: (workspace.usual_threshold(each), of(each).separate_objects) for each in workspace.prompts}
        if project is None or predictor is None or not prompts or workspace.closing or workspace.model_state != "ready":
            return
        if self._thread is not None or self._others():
            return
        wanted = [i for i in self._upcoming(COUNT) if i not in self._ready and i not in self._failed]
        if not wanted:
            return
        self._thread = thread = AheadThread(project, self._own_predictor, wanted, prompts, self.settings)
        thread.predicted.connect(lambda image_id, ready: self._on_predicted(thread, image_id, ready))
        thread.errored.connect(lambda _text, _error: self._failed.update(wanted))
        thread.finished.connect(lambda: self._on_finished(thread))
        workspace.start(thread)

    def _own_predictor(self) -> Predictor:
        """Return a predictor of the served model beside the one that a person waits for; it keeps what it encoded."""
        from napari_amvlm.predictor import Predictor

        served = self._workspace.predictor
        if served is None:
            raise Cancelled("The model is gone.")
        if self._predictor is None or self._predictor[0] is not served.model:
            own = Predictor(served.model, device=str(served.device), info=served.info, cache_bytes=_ENCODED_BYTES)
            self._predictor = (served.model, own)
        self._predictor[1].text_model = served.text_model
        return self._predictor[1]

    def _on_predicted(self, thread: AheadThread, image_id: int, ready: ReadyImage | None) -> None:
        if thread is not self._thread:
            return  # it was stopped: for another model, project or prompt
        if ready is None:
            self._failed.add(image_id)
        else:
            self._ready.put(image_id, ready)
            if any(each.taught for each in ready.predictions):
                self._with_masks.add(image_id)
            self.changed.emit()

    def _on_finished(self, thread: AheadThread) -> None:
        if thread is self._thread:
            self._thread = None
        self._timer.start()


def _propose(prediction: Prediction, threshold: float, separate: bool) -> Proposal:
    split = partial(split_instances, depth=prediction.depth, marker=prediction.marker) if separate else None
    return Proposal(propose(prediction.drawn, threshold, split=split), threshold, separate)


def _has_room(predictor: Predictor) -> bool:
    """Tell whether a graphics card has memory left for the background."""
    if predictor.device.type != "cuda":
        return True
    import torch

    return bool(torch.cuda.mem_get_info(predictor.device)[0] > _FREE_BYTES)


def _lower_priority() -> None:
    """Let this thread, and the threads that the network starts from it, run only when no other wants to."""
    if sys.platform.startswith("linux"):  # where Qt's priorities do nothing
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
    else:
        current = QThread.currentThread()
        if current is not None:
            current.setPriority(QThread.Priority.LowestPriority)


def _interruptible(should_stop: Callable[[], bool]) -> contextlib.AbstractContextManager[Any]:
    """Raise `Cancelled` at the next operation of torch in this thread once `should_stop` says so."""
    from torch.overrides import TorchFunctionMode

    class Interruptible(TorchFunctionMode):
        def __torch_function__(
            self, function: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            if should_stop():
                raise Cancelled("The background stopped.")
            return function(*args, **(kwargs or {}))

    return Interruptible()
