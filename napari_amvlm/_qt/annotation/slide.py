"""What is known of one slide: results that lie on the disk block by block, and the labels layer that shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_amvlm._qt.annotation.annotation import Annotation
from napari_amvlm.errors import LabelsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from napari.layers import Image, Labels

    from napari_amvlm._qt.annotation.plane_labels import PlaneLabels
    from napari_amvlm._qt.widgets.scale_choice import ScaleSettings
    from napari_amvlm.review.composition import Proposal
    from napari_amvlm.slides import ShownPrompt, ShownSlide, SlideReport, SlideStore

READ_ONLY = (
    "A slide is corrected and accepted region by region: press Region, which opens what is in view, or the shapes "
    "that are drawn, as an image of its own."
)


class SlideAnnotation(Annotation):
    """The prompts of a slide, each with the store that its probabilities lie in.

    The labels layer is composed where it is looked at, and cannot be painted on.

    Attributes
    ----------
    shown
        What the labels layer shows; None before anything ran.
    """

    def __init__(self, image: Image, usual_threshold: Callable[[str], float] | None = None) -> None:
        super().__init__(image, usual_threshold)
        self.shown: ShownSlide | None = None
        self._found: dict[str, tuple[SlideStore, int]] = {}
        self._asked: dict[str, tuple[ScaleSettings, str | None]] = {}
        self._presence: dict[str, float] = {}

    def open(self, store: SlideStore, settings: ScaleSettings, model: str | None) -> None:
        """Show the prompts of a store that is, or will be, filled."""
        from napari_amvlm.slides import ShownSlide

        if self.shown is None:
            self.shown = ShownSlide(store)
        for row, prompt in enumerate(store.request.prompts):
            self._found[prompt] = (store, row)
            self._asked[prompt] = (settings, model)
        self.renew()

    def note(self, report: SlideReport) -> None:
        """Note the presence of each prompt in a block."""
        for prompt, presence in zip(report.store.request.prompts, report.presence, strict=True):
            self._presence[prompt] = max(self._presence.get(prompt, 0.0), presence)

    def note_presence(self, store: SlideStore) -> None:
        """Note how probably each prompt is on all of the slide that is done."""
        self._presence.update(zip(store.request.prompts, store.presence(), strict=True))

    def renew(self) -> None:
        """Show every prompt at its present threshold."""
        if self.shown is not None:
            self.shown.show([self.shown_prompt(prompt) for prompt in self._found])

    def shown_prompt(self, prompt: str) -> ShownPrompt:
        """Return where a prompt's probabilities lie and how they are shown."""
        from napari_amvlm.slides import ShownPrompt

        store, row = self._found[prompt]
        return ShownPrompt(store, row, self.value(prompt), self.threshold(prompt))

    def prompts(self) -> list[str]:
        """Return the prompts that ran here."""
        return list(self._found)

    def attach(self, labels: Labels, sibling: PlaneLabels | None = None) -> None:
        """Show results in `labels`, whose levels are those of `shown`."""
        self.labels = labels
        self._describe_values()

    def detach(self) -> None:
        """Forget the labels layer; the results stay where they are."""
        self.labels = None

    def forget(self, prompt: str) -> None:
        """Show a prompt no more; what was found stays on the disk, so that running it again takes no time."""
        for known in (self._found, self._asked, self._presence):
            known.pop(prompt, None)
        self.renew()

    def asked(self, prompt: str) -> tuple[ScaleSettings, str | None]:
        """Return the settings and the model that a prompt was run with."""
        return self._asked[prompt]

    def is_current(self, prompt: str, settings: ScaleSettings, model: str | None) -> bool:
        """Tell whether a prompt was begun with these settings and this model."""
        return self._asked.get(prompt) == (settings, model)

    def has_run(self, prompt: str) -> bool:
        """Tell whether a prompt was begun."""
        return prompt in self._found

    def presence(self, prompt: str) -> float | None:
        """Return how probably a prompt is on what is done of the slide."""
        return self._presence.get(prompt)

    def value(self, prompt: str) -> int:
        """Return the label value of a prompt, the smallest that is free when it has none yet."""
        if prompt not in self._values:
            taken = set(self._values.values())
            self._values[prompt] = next(value for value in range(1, len(taken) + 2) if value not in taken)
            self.owners[self._values[prompt]] = prompt
            self._describe_values()
        return self._values[prompt]

    @property
    def data(self) -> np.ndarray:
        """Nothing that can be written to.

        Raises
        ------
        LabelsError
            Always.
        """
        raise LabelsError(READ_ONLY)

    def proposals(self, prompts: Sequence[str]) -> list[Proposal]:
        """Return nothing: what the model proposes is composed where it is looked at."""
        return []

    def mask(self, prompt: str) -> np.ndarray:
        """Raise `LabelsError`: nobody looks at a whole slide pixel by pixel."""
        raise LabelsError(READ_ONLY)

    def clear(self, prompt: str) -> int:
        """Take a prompt off the slide."""
        self.forget(prompt)
        if self.labels is not None:
            self.labels.refresh(extent=False)
        return 0

    def finish(self, prompt: str, on: bool) -> None:
        """Do nothing: no one is finished with a whole slide."""
