"""Label images of values 1..K and the classes.csv beside them; each file appears whole or not at all."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from napari_amvlm.errors import InputError
from napari_amvlm.files import write_atomically, write_text
from napari_amvlm.wording import tidied

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


def write_tiff(path: Path, array: NDArray[Any], *, axes: str, made_with: str | None = None) -> None:
    """Write a compressed TIFF; `axes` names the dimensions, for instance "YX" or "CYX".

    `made_with` is kept in the description, for those that want to know what the file is the result of.
    """
    import tifffile

    metadata = {"axes": axes} | ({"made_with": made_with} if made_with else {})
    options: dict[str, Any] = {"compression": "zlib", "photometric": "minisblack", "metadata": metadata}
    write_atomically(path, lambda temporary: tifffile.imwrite(temporary, array, **options), make_folder=True)


def write_png(path: Path, array: NDArray[Any]) -> None:
    """Write an 8- or 16-bit gray PNG."""
    from PIL import Image

    write_atomically(path, lambda temporary: Image.fromarray(array).save(temporary, format="PNG"), make_folder=True)


def made_with(path: Path) -> str | None:
    """Return the token that `write_tiff` stored in a file; None where there is none."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            described = file.shaped_metadata or ({},)
    except (OSError, ValueError, tifffile.TiffFileError):
        return None
    token = described[0].get("made_with")
    return token if isinstance(token, str) else None


def class_table(prompts: Sequence[str]) -> str:
    """Return `value,prompt` with values 1..K in the order of `prompts`, as CSV."""
    return _table(["value", "prompt"], enumerate(prompts, start=1))


def write_classes(path: Path, prompts: Sequence[str]) -> None:
    """Write `class_table`."""
    write_text(path, class_table(prompts))


def write_image_table(path: Path, rows: Iterable[tuple[str, str, str]]) -> None:
    """Write `stem,name,sha256`: which image each label file belongs to, for programs that read them back."""
    write_text(path, _table(["stem", "name", "sha256"], rows))


def _table(header: list[str], rows: Iterable[tuple[object, ...]]) -> str:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return table.getvalue()


def check_prompts(prompts: Sequence[str]) -> tuple[str, ...]:
    """Return the prompts with single spaces, each once.

    Raises
    ------
    InputError
        Two prompts differ in capital letters alone, which no model tells apart.
    """
    unique = tuple(dict.fromkeys(map(tidied, prompts)))
    seen: dict[str, str] = {}
    for prompt in unique:
        other = seen.setdefault(prompt.casefold(), prompt)
        if other != prompt:
            raise InputError(f"Prompts {other!r} and {prompt!r} differ in capital letters alone; give one of them.")
    return unique
