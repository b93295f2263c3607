"""The thread that runs prompts on one plane, and what all prompt threads share."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal

from napari_amvlm._qt.workers import GuardedThread
from napari_amvlm.errors import Cancelled, PromptError
from napari_amvlm.wording import shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from napari_amvlm.prediction import Prediction
    from napari_amvlm.predictor import Predictor
    from napari_amvlm.predictor import ScaleChoice as ScaleName


class PromptThread(GuardedThread):
    """Run prompts on an image.

    `progressed(done, total, words)` counts tiles; `noticed` carries what the person should know meanwhile, and
    that memory runs short.
    """

    progressed = Signal(int, int, str)
    noticed = Signal(str)

    def words_when_cancelled(self) -> str:
        """Say what became of the work when it was cancelled."""
        return "Cancelled; nothing was drawn."


class PredictThread(PromptThread):
    """Run several prompts on one plane.

    `progressed` counts tiles; `returned` carries one prediction for each prompt.  `noticed` carries what `look(image)`
    says, if anything.  `limits()` gives the values that become 0 and 1, None where the plane itself tells.
    """

    def __init__(
        self,
        predictor: Predictor,
        image: Callable[[], np.ndarray],
        prompts: Sequence[str],
        *,
        scale: ScaleName,
        magnification: float,
        look: Callable[[np.ndarray], str],
        limits: Callable[[], tuple[float, float] | None],
    ) -> None:
        super().__init__()
        self._predictor = predictor
        self._image = image
        self._limits = limits
        self._prompts = tuple(prompts)
        self._scale = scale
        self._magnification = magnification
        self._look = look

    def work(self) -> list[Prediction]:
        """Predict every prompt in turn."""
        array = self._image()
        words = self._look(array)
        limits = self._limits()
        self._predictor.set_image(array, key=(content_key(array), limits), limits=limits)
        if words:
            self.noticed.emit(words)
        predictions = []
        for prompt in self._prompts:
            self._raise_if_stopped()
            predictions.append(
                self._predictor.predict(
                    prompt,
                    scale=self._scale,
                    magnification=self._magnification,
                    on_progress=partial(self._on_tile, prompt),
                    should_stop=self.isInterruptionRequested,
                    on_message=self.noticed.emit,
                )
            )
        self._raise_if_stopped()
        return predictions

    def _on_tile(self, prompt: str, done: int, total: int) -> None:
        name = shortened(prompt)
        self.progressed.emit(done, total, f"{name}: tile {done} of {total}" if total > 1 else f"{name} ...")

    def _raise_if_stopped(self) -> None:
        if self.isInterruptionRequested():
            raise Cancelled("The prediction was cancelled; the labels are as they were.")


def taught_prompts(predictor: Predictor, prompts: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """Return the prompts that are worth a long run, and a sentence about each of the others.

    Raises
    ------
    PromptError
        The model was taught none of them.
    """
    unknown = predictor.not_taught(prompts)
    if len(unknown) == len(prompts):
        raise PromptError("\n".join(unknown.values()))
    return tuple(prompt for prompt in prompts if prompt not in unknown), list(unknown.values())


def content_key(array: np.ndarray) -> str:
    """Identify an image by what it holds: painting on it in place gives another key."""
    import hashlib

    import numpy as np

    digest = hashlib.blake2b(f"{array.shape}{array.dtype}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
