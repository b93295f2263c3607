"""From outlines that were drawn one by one to the answers of an image: what cannot be used is reported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.errors import LabelsError
from napari_amvlm.imports.imported_masks import Answers, first_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_amvlm.imports.shapes import Area


@dataclass(frozen=True)
class Drawn:
    """One object of a file.

    Attributes
    ----------
    prompt
        What it shows; None where nothing says so.
    draw
        Gives a part of the image and its pixels in there, for the image's height and width; raises `LabelsError` where
        it has none.
    cuts
        Whether it takes its pixels from all objects below it, as a hole does.
    """

    title: str
    prompt: str | None
    draw: Callable[[tuple[int, int]], Area]
    cuts: bool = False


def answers_of(objects: Sequence[Drawn], shape: tuple[int, int]) -> Answers:
    """Return the answers that objects make up; later ones lie on top.

    Raises
    ------
    LabelsError
        None of them can be used.
    """
    numbers: dict[str, NDArray[np.int32]] = {}
    problems: list[str] = []
    incomplete: set[str | None] = set()
    for number, one in enumerate(objects, 1):
        try:
            if one.prompt is None:
                raise LabelsError("it has no class: set one in the other program, or give --prompt.")
            window, mask = one.draw(shape)
            if not mask.any():
                raise LabelsError("it has no pixel in the image: it is of another image or of another resolution.")
        except LabelsError as error:
            problems.append(f"{one.title} is left out: {error}")
            incomplete.add(one.prompt)
            continue
        for labels in numbers.values() if one.cuts else ():
            labels[window][mask] = 0
        if one.prompt not in numbers:
            numbers[one.prompt] = np.zeros(shape, np.int32)
        numbers[one.prompt][window][mask] = number
    # What was drawn and is covered by others says nothing about its class, if others of it could not be used.
    numbers = {name: labels for name, labels in numbers.items() if labels.any() or name not in incomplete}
    if not numbers and problems:
        raise LabelsError(first_of(problems))
    return Answers({name: labels > 0 for name, labels in numbers.items()}, numbers, None, tuple(problems))


def no_area(kind: str) -> Callable[[tuple[int, int]], Area]:
    """Return what draws an object of a kind that has no area: the reason."""

    def draw(_shape: tuple[int, int]) -> Area:
        raise LabelsError(f"a {kind} has no area: draw it as a polygon or a mask.")

    return draw
