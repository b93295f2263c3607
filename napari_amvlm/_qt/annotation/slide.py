"""What is known of one slide: results that lie on the disk block by block, and the layers that show them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_amvlm._qt.annotation.annotation import Annotation
from napari_amvlm._qt.layers.labels import new_mask
from napari_amvlm.errors import LabelsError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from napari.layers import Image

    from napari_amvlm._qt.layers.mask import MaskLayer
    from napari_amvlm._qt.widgets.scale_choice import ScaleSettings
    from napari_amvlm.imaging import Tile
    from napari_amvlm.project import PromptStyle
    from napari_amvlm.slides import ShownPrompt, ShownSlide, SlideReport, SlideStore

READ_ONLY = (
    "A slide is corrected and accepted region by region: press Region, which opens what is in view, or the shapes "
    "that are drawn, as an image of its own."
)


class SlideAnnotation(Annotation):
    """The prompts of a slide, each with the store that its probabilities lie in.

    Masks are composed where they are looked at, and cannot be painted on.
    """

    def __init__(
        self,
        image: Image,
        usual_threshold: Callable[[str], float] | None = None,
        style: Callable[[str], PromptStyle] | None = None,
    ) -> None:
        super().__init__(image, usual_threshold, style)
        self._shown: dict[str, ShownSlide] = {}
        self._stores: dict[str, tuple[SlideStore, int]] = {}
        self._runs: dict[str, tuple[ScaleSettings, str | None]] = {}
        self._presence: dict[str, float] = {}

    def open(self, store: SlideStore, settings: ScaleSettings, model: str | None) -> None:
        """Show the prompts of a store that is, or will be, filled."""
        from napari_amvlm.slides import ShownSlide

        for row, prompt in enumerate(store.request.prompts):
            self._stores[prompt] = (store, row)
            self._runs[prompt] = (settings, model)
            self._shown.setdefault(prompt, ShownSlide(store))
            self.layer(prompt)
        self.renew()

    def layer(self, prompt: str) -> MaskLayer:
        """Return the layer of a prompt that was begun, whose levels read its store."""
        if prompt not in self.layers:
            if prompt not in self._shown:
                raise LabelsError(READ_ONLY)
            self.layers[prompt] = new_mask(self.image, prompt, list(self._shown[prompt].levels))
            self.show_style(prompt)
        return self.layers[prompt]

    def note(self, report: SlideReport) -> None:
        """Note the presence of each prompt in a block."""
        for prompt, presence in zip(report.store.request.prompts, report.presence, strict=True):
            self._presence[prompt] = max(self._presence.get(prompt, 0.0), presence)

    def note_presence(self, store: SlideStore) -> None:
        """Note how probably each prompt is on all of the slide that is done."""
        self._presence.update(zip(store.request.prompts, store.presence(), strict=True))

    def renew(self) -> None:
        """Show every prompt at its present threshold."""
        for prompt, shown in self._shown.items():
            shown.show([self.shown_prompt(prompt)] if prompt in self._stores else [])

    def read_again(self, store: SlideStore, area: Tile) -> None:
        """Read a part of a store that was written; safe in any thread."""
        for row, prompt in enumerate(store.request.prompts):
            if prompt in self._shown:
                self._shown[prompt].renew(store, area, [row])

    def shown_prompt(self, prompt: str) -> ShownPrompt:
        """Return where a prompt's probabilities lie and how they are shown."""
        from napari_amvlm.slides import ShownPrompt

        store, row = self._stores[prompt]
        return ShownPrompt(store, row, 1 + (self.style(prompt).value - 1) % 255, self.threshold(prompt))

    def probability(self, prompt: str, box: Tile) -> np.ndarray:
        """Return the probabilities of a prompt in a part of the slide, float32 (h, w); safe in any thread."""
        return self._shown[prompt].probability(self.shown_prompt(prompt), box)

    def is_done(self, prompt: str, box: Tile) -> bool:
        """Tell whether a prompt was run on all of a part of the slide; safe in any thread."""
        from napari_amvlm.slides.store import TODO

        store, _row = self._stores[prompt]
        return not (store.states[store.grid.meeting(box)] == TODO).any()

    def prompts(self) -> list[str]:
        """Return the prompts that ran here."""
        return list(self._stores)

    def forget(self, prompt: str) -> None:
        """Show a prompt no more; what was found stays on the disk, so that running it again takes no time."""
        for known in (self._stores, self._runs, self._presence):
            known.pop(prompt, None)
        self.renew()

    def settings(self, prompt: str) -> tuple[ScaleSettings, str | None]:
        """Return the settings and the model that a prompt was run with."""
        return self._runs[prompt]

    def is_current(self, prompt: str, settings: ScaleSettings, model: str | None) -> bool:
        """Tell whether a prompt was begun with these settings and this model."""
        return self._runs.get(prompt) == (settings, model)

    def has_run(self, prompt: str) -> bool:
        """Tell whether a prompt was begun."""
        return prompt in self._stores

    def is_drawn(self, prompt: str) -> bool:
        """Tell whether a prompt was begun: what was not taught is not run on slides."""
        return prompt in self._stores

    def presence(self, prompt: str) -> float | None:
        """Return how probably a prompt is on what is done of the slide."""
        return self._presence.get(prompt)

    def plane(self, prompt: str) -> np.ndarray:
        """Raise `LabelsError`: nobody looks at a whole slide pixel by pixel."""
        raise LabelsError(READ_ONLY)

    def clear(self, prompt: str) -> None:
        """Take a prompt off the slide."""
        self.forget(prompt)
        if prompt in self.layers:
            self.layers[prompt].refresh(extent=False)

    def finish(self, prompt: str, on: bool) -> None:
        """Do nothing: no one is finished with a whole slide."""

    def is_unsaved(self, prompt: str) -> bool:
        """Return False: nothing is painted on a slide."""
        return False


def paintable(annotation: Annotation | None, prompt: str | None) -> tuple[Annotation, str] | None:
    """Return an image and a prompt of which there is a mask to paint on; None where there is none, or it is a slide."""
    if annotation is None or prompt is None or prompt not in annotation.layers:
        return None
    return None if isinstance(annotation, SlideAnnotation) else (annotation, prompt)
