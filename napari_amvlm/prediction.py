"""What the predictor answers: a mask, and whether the prompt is in the image at all. Loads neither torch nor numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from napari_amvlm.wording import shortened, tidied

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_amvlm.imaging import WorkingScale

Answer = Literal["present", "absent", "not taught"]

PRESENT = 0.5
"""Presence from which something counts as present."""

SURELY_ABSENT = 0.2
"""Calibrated presence below which no mask is drawn in tiles.

Words of tissue asked of an X-ray or a spine were painted there. Anatomy asked in vain hardly is, and one spine of the
validation part whose discs are found (Dice 0.5) has a presence of 0.03."""


def split_prompts(text: str) -> list[str]:
    """Return the prompts of a text: parted by `;`, with single spaces, each once.

    Examples
    --------
    >>> split_prompts("left  lung; heart;; left lung")
    ['left lung', 'heart']
    """
    parts = map(tidied, text.split(";"))
    return list(dict.fromkeys(part for part in parts if part))


def answer_of(presence: float, *, taught: bool = True) -> Answer:
    """Return what a presence in [0, 1] says; of a prompt that was not taught it says nothing."""
    if not taught:
        return "not taught"
    return "present" if presence >= PRESENT else "absent"


def answer_text(presence: float, *, taught: bool = True) -> str:
    """Return for instance "present 0.97", or "not taught"."""
    answer = answer_of(presence, taught=taught)
    return f"{answer} {presence:.2f}" if taught else answer


class Nearest(NamedTuple):
    """A concept by name, and the cosine of its name and a prompt as the text encoder reads them, in [-1, 1]."""

    concept: str
    similarity: float

    def __str__(self) -> str:
        """Return for instance "lungs (0.41)"."""
        return f"{self.concept} ({self.similarity:.2f})"


def not_taught_words(prompt: str, nearest: Nearest | None = None, kind: str = "") -> str:
    """Return the sentence about a prompt that a model was not taught, or not of such a kind of image.

    Examples
    --------
    >>> not_taught_words("infection", Nearest("lungs", 0.41))
    'infection is not taught yet; nearest known: lungs (0.41). Paint two strokes, or choose a known word.'
    """
    known = f"; nearest known: {nearest}" if nearest is not None else ""
    of = f" of {kind}" if kind else ""
    return f"{shortened(prompt)} is not taught{of} yet{known}. Paint two strokes, or choose a known word."


@dataclass(frozen=True)
class Prediction:
    """What one prompt found in one image.

    Attributes
    ----------
    prompt
        What was asked.
    probability
        Of each pixel, float32 `(H, W)` in [0, 1], at the image's own size.
    text_probability
        The text-guided mask alone, before the U-Net; same shape.
    presence
        Probability that what the prompt says is in the image at all.
    scale
        Working scale that was used.
    seconds
        Wall time that the answer took.
    taught
        Whether the model that answered knows what the prompt says; if not, probability and presence are a guess.
    untaught_kind
        Where it was taught, but not of images as this one: of which kind of image it was not; else empty.
    nearest
        Where it was not taught: the nearest concept that the model knows, if it knows any.
    depth
        How deep inside an object each pixel lies, same shape; None where the model was not taught such objects.
    marker
        Depth from which on a pixel belongs to the middle of an object.
    by
        Name of the other text model that answered; empty where ours did.
    calibrated
        Whether presence was calibrated on what the prompt says.
    model
        Hash of the file of the model that served then; None where it has no file.
    """

    prompt: str
    probability: NDArray[np.float32]
    text_probability: NDArray[np.float32]
    presence: float
    scale: WorkingScale
    seconds: float
    taught: bool = True
    untaught_kind: str = ""
    nearest: Nearest | None = None
    depth: NDArray[np.float32] | None = None
    marker: float = 0.5
    by: str = ""
    calibrated: bool = False
    model: str | None = None

    @property
    def answer(self) -> Answer:
        """What is said of the prompt: "present", "absent" or "not taught"."""
        return answer_of(self.presence, taught=self.taught)

    @property
    def said(self) -> str:
        """What to tell a person who asks for a prompt that was not taught; else nothing."""
        return "" if self.taught else not_taught_words(self.prompt, self.nearest, self.untaught_kind)

    @property
    def is_drawn(self) -> bool:
        """Whether a mask is drawn: the prompt was taught, and is not surely absent where it was asked in tiles."""
        surely_absent = self.calibrated and self.scale.name == "tiles" and self.presence < SURELY_ABSENT
        return self.taught and not surely_absent

    @property
    def drawn(self) -> NDArray[np.float32]:
        """The probability that masks are drawn by: 0 where nothing is drawn."""
        return self.probability if self.is_drawn else 0 * self.probability

    def mask(self, threshold: float = 0.5) -> NDArray[np.bool_]:
        """Return the pixels whose probability is at least `threshold`, `(H, W)`; none where nothing is drawn."""
        return self.drawn >= threshold

    def objects(self, threshold: float = 0.5) -> NDArray[np.int32]:
        """Return the mask with a number for each object, `(H, W)`; touching ones are told apart."""
        from napari_amvlm.imaging import split_instances

        return split_instances(self.drawn, threshold, depth=self.depth, marker=self.marker)
