"""Threads that work through what is too large for one look: slides block by block, stacks slice by slice."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Signal

from napari_amvlm._qt.predict.plane_thread import PromptThread, taught_prompts
from napari_amvlm.errors import Cancelled, InputError
from napari_amvlm.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from napari_amvlm._qt.widgets.scale_choice import ScaleSettings
    from napari_amvlm.config import ScaleName
    from napari_amvlm.imaging import ImageData, Tile
    from napari_amvlm.predictor import Predictor
    from napari_amvlm.slides import SlideReport, SlideRequest, SlideRun, SlideStore

_SECONDS_BETWEEN = 0.05
"""Seconds between two reports of progress, at least; glass goes by a thousand blocks a second."""


@dataclass(frozen=True)
class SlideJob:
    """What is to be done on a slide.

    Attributes
    ----------
    view
        What is in view, pixels of the slide; None where the slide is not.
    whole
        Whether to go on with the rest of the slide.
    """

    image: ImageData
    prompts: tuple[str, ...]
    settings: ScaleSettings
    folder: Path
    view: Tile | None
    whole: bool
    model: str


class SlideThread(PromptThread):
    """Fill the stores of a slide: what is in view first, and then, if wanted, the rest.

    `opened` carries every store before anything is written to it, `found` every block that is not glass; `progressed`
    counts blocks; `returned` carries words.
    """

    opened = Signal(object)
    found = Signal(object)

    def __init__(self, predictor: Predictor, job: SlideJob, on_block: Callable[[SlideReport], None]) -> None:
        super().__init__()
        self._predictor = predictor
        self._job = job
        self._on_block = on_block
        self._run: SlideRun | None = None
        self._done = self._total = 0
        self._told = 0.0

    def look_at(self, view: Tile) -> None:
        """Put what is in view now first."""
        run = self._run
        if run is not None:
            with contextlib.suppress(InputError):  # the view left the slide
                run.look_at(view)

    def words_when_cancelled(self) -> str:
        """Say how far it is."""
        if not self._total:
            return super().words_when_cancelled()
        return f"Cancelled; {self._done} of {self._total} blocks are done and kept. Run goes on with the rest."

    def work(self) -> str:
        """Work through all stores and say what was done."""
        from napari_amvlm.slides import SlideSource

        prompts, unknown = taught_prompts(self._predictor, self._job.prompts)
        self._job = replace(self._job, prompts=prompts)
        SlideSource(self._job.image)  # fails before anything is drawn
        stores = [store for request in self._requests() for store in self._opened(request)]
        try:
            for store, region in self._passes(stores):
                self._fill(store, region)
        except Cancelled as stop:
            if self.isInterruptionRequested():
                raise
            return str(stop)  # another model serves
        what = "The slide" if self._job.whole else "What was in view"
        return "\n".join([f"{what} is done: {', '.join(prompts)}.", *unknown])

    def _requests(self) -> Iterator[SlideRequest]:
        """Yield what is asked, by working scale."""
        from napari_amvlm.slides import SlideRequest, image_token
        from napari_amvlm.slides.slide_run import check_slide_prompts

        job, image = self._job, self._job.image
        shape = (int(image.data.shape[0]), int(image.data.shape[1]))
        scales: dict[ScaleName, list[str]] = {}
        for prompt in job.prompts:
            settings = job.settings
            chosen = self._predictor.scale_for(
                prompt, shape, scale=settings.scale, gray=not image.rgb, magnification=settings.magnification
            )
            if chosen.name == "tiles":
                check_slide_prompts(self._predictor, [prompt])
            scales.setdefault(chosen.name, []).append(prompt)
        file = image.path
        token = image_token(image)
        for scale, prompts in sorted(scales.items(), reverse=True):
            yield SlideRequest(
                prompts=tuple(prompts),
                scale=scale,
                magnification=job.settings.magnification if scale == "tiles" else 1.0,
                model=job.model,
                image=f"{file.name if file is not None else image.name} {token}",
                bytes=file.stat().st_size if file is not None and file.is_file() else 0,
                shape=shape,
            )

    def _opened(self, request: SlideRequest) -> list[SlideStore]:
        from napari_amvlm.slides import open_stores

        stores = open_stores(self._job.folder, request, self._job.image)
        for store in stores:
            self.opened.emit(store)
        return stores

    def _passes(self, stores: Sequence[SlideStore]) -> list[tuple[SlideStore, Tile | None]]:
        """Return what to fill, in order: the view of every store comes before the rest of any."""
        job = self._job
        if not job.whole:
            return [(store, job.view) for store in stores]
        if len(stores) == 1 or job.view is None:
            return [(store, None) for store in stores]
        return [*((store, job.view) for store in stores), *((store, None) for store in stores)]

    def _fill(self, store: SlideStore, region: Tile | None) -> None:
        words = ", ".join(store.request.prompts)
        self._done = self._total = 0
        for report in self._reports(store, region):
            self._done, self._total = report.done, report.total
            if not report.background:
                self._on_block(report)
                self.found.emit(report)
            self._tell(f"{words}: block {report.done} of {report.total}", last=report.done == report.total)

    def _reports(self, store: SlideStore, region: Tile | None) -> Iterator[SlideReport]:
        from napari_amvlm.slides import SlideRun, fill_whole, memory_needed, memory_note
        from napari_amvlm.slides.slide_run import CACHE_BYTES

        job, stop = self._job, self.isInterruptionRequested
        if store.request.scale == "whole":
            yield from fill_whole(self._predictor, job.image, store, region=region, first=job.view, should_stop=stop)
            return
        self._run = run = SlideRun(
            self._predictor, job.image, store, region=region, first=job.view, on_message=self.noticed.emit
        )
        if run.total:
            count = len(store.request.prompts)
            needed = memory_needed(self._predictor.model, batch=run.batch, prompts=count, cache_bytes=CACHE_BYTES)
            self._total = run.total
            self._tell(memory_note(needed, self._predictor.device), last=True)
        yield from run.run(stop)

    def _tell(self, words: str, *, last: bool) -> None:
        now = time.monotonic()
        if last or now - self._told > _SECONDS_BETWEEN:
            self._told = now
            self.progressed.emit(self._done, self._total, words)


class StackThread(PromptThread):
    """Run prompts on slices of a stack, one after the other.

    `found` carries a `SliceReport` for each, its index being that in the whole stack; `progressed` counts slices;
    `returned` carries words.  `limits()` gives the values that become 0 and 1 in every slice.
    """

    found = Signal(object)

    def __init__(
        self,
        predictor: Predictor,
        image: ImageData,
        prompts: Sequence[str],
        settings: ScaleSettings,
        *,
        volume: tuple[int, ...],
        slices: tuple[int, int] | None,
        limits: Callable[[], tuple[float, float] | None],
    ) -> None:
        super().__init__()
        self._predictor = predictor
        self._image = image
        self._prompts = tuple(prompts)
        self._settings = settings
        self._volume = volume
        self._slices = slices
        self._limits = limits
        self._done = self._total = 0

    def words_when_cancelled(self) -> str:
        """Say how far it is."""
        if not self._done:
            return super().words_when_cancelled()
        return f"Cancelled; {self._done} of {self._total} slices are done and stay."

    def work(self) -> str:
        """Work through the slices and say what was done."""
        from napari_amvlm.slides import predict_stack

        prompts, unknown = taught_prompts(self._predictor, self._prompts)
        image, volume = self._image, self._volume
        part = replace(image, data=image.data[volume], axes=image.axes[len(volume) :])
        reports = predict_stack(
            self._predictor,
            part,
            prompts,
            slices=self._slices,
            scale=self._settings.scale,
            magnification=self._settings.magnification,
            limits=self._limits(),
            should_stop=self.isInterruptionRequested,
        )
        for report in reports:
            self._done, self._total = report.done, report.total
            # of many slices, what the threshold needs is kept, and not twice as exactly as anybody can see
            kept = tuple(
                replace(each, probability=each.probability.astype(np.float16), text_probability=_NOTHING)
                for each in report.predictions
            )
            self.found.emit(replace(report, index=(*volume, *report.index), predictions=kept))
            self.progressed.emit(report.done, report.total, f"slice {report.done} of {report.total}")
        return "\n".join([f"{counted(self._done, 'slice')} done: {', '.join(prompts)}.", *unknown])


_NOTHING = np.zeros((0, 0), np.float32)
