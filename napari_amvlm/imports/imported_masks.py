"""What a file of another program holds: answers for one image, which still has to be found in the project."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_amvlm.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


_UPLOAD = re.compile(r"^[0-9a-f]{8}-")


@dataclass(frozen=True)
class ImageReference:
    """How a file names its image.

    Attributes
    ----------
    sha256
        Hash of its content, where an export of this program gave it.
    path
        Where the image file may lie.
    shape
        Height and width that the masks were made for; None where the file does not say.
    extent
        Greatest y and x of the outlines, where they are known.
    pixels
        Reads the pixels of an image that is to be added to the project, `(H, W)` or `(H, W, 3)`; None elsewhere.
    also
        The name of its file, or its stem, if no image is called `name`; empty where there is no other.
    """

    name: str
    sha256: str | None = None
    path: Path | None = None
    shape: tuple[int, int] | None = None
    extent: tuple[float, float] | None = None
    pixels: Callable[[], NDArray[Any]] | None = None
    also: str = ""


@dataclass(frozen=True)
class Answers:
    """The masks of one image.

    Attributes
    ----------
    masks
        For each prompt a bool mask `(H, W)`; an empty one says that there is nothing.
    objects
        For some of these prompts the numbers of the objects, `(H, W)`; they cover the mask.
    reviewed
        Pixels that somebody looked at, bool `(H, W)`; None is all.
    problems
        One sentence for each object that was left out.
    """

    masks: Mapping[str, NDArray[np.bool_]]
    objects: Mapping[str, NDArray[np.integer]]
    reviewed: NDArray[np.bool_] | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """Where an image of the project lies in a slide or a stack.

    Attributes
    ----------
    shape, corner
        Its height and width, and the row and column of its first pixel.
    plane
        Its slice and time.
    """

    shape: tuple[int, int]
    corner: tuple[int, int] = (0, 0)
    plane: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class ImportedMasks:
    """Answers for one image.

    Attributes
    ----------
    read
        Gives the answers at the image's height and width; raises an `InputError` where they cannot be used.
    read_parts
        Gives the answers for parts of the image, of those that show something; None where masks say what they are for.
    """

    origin: Path
    image: ImageReference
    read: Callable[[tuple[int, int]], Answers]
    read_parts: Callable[[Sequence[Part]], Iterator[Answers]] | None = None


def before_upload(name: str) -> str:
    """Return the name of a file as it was before Label Studio put a mark before it.

    Examples
    --------
    >>> before_upload("1a2b3c4d-a.png"), before_upload("a-1.png")
    ('a.png', 'a-1.png')
    """
    return _UPLOAD.sub("", name)


def first_of(problems: Sequence[str]) -> str:
    """Return the first of the sentences about objects that could not be used, and how many others there are."""
    rest = f" Left out too: {counted(len(problems) - 1, 'other')}." if len(problems) > 1 else ""
    return problems[0] + rest


def of_parts(
    read: Callable[..., Answers], path: Path, count: int, noun: str, parts: Sequence[Part]
) -> Iterator[Answers]:
    """Yield the answers for each part; those for the last one say how many of `count` objects lie on none.

    Parameters
    ----------
    read
        Takes the shape of a part, the part, and a set to which it adds the numbers of the objects there.
    noun
        What an object of the file is called.
    """
    met: set[int] = set()
    for number, part in enumerate(parts, 1):
        answers = read(part.shape, part, met)
        lost = count - len(met) if number == len(parts) else 0
        told = [f"{path}: {lost} of {counted(count, noun)}, outside all images of the project."] if lost else []
        yield replace(answers, problems=(*answers.problems, *told))
