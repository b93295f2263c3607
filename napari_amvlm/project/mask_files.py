"""The mask files of corrections and drafts: checked, written durably, and read back."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import LabelsError, StorageError
from napari_amvlm.files import remove_quietly
from napari_amvlm.project.masks import as_mask, as_objects, read_map, read_mask, write_map, write_mask
from napari_amvlm.project.storage import inside

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import numpy.typing as npt

    from napari_amvlm.project.masks import BoolArray
    from napari_amvlm.project.records import Answer, CorrectionRecord, DraftRecord, ImageRecord

_UNSURE = frozenset({sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC})
"""Failures after which SQLite's log may hold the row all the same, so its mask must stay."""


def checked_maps(image: ImageRecord, answer: Answer) -> dict[str, npt.NDArray[Any]]:
    """Return the masks of an answer by kind, each of its image's shape.

    Raises
    ------
    LabelsError
        A mask does not fit the image, or the objects do not cover the mask.
    """
    maps: dict[str, npt.NDArray[Any]] = {"mask": as_mask(answer.mask, image.shape, f"the mask of {image.name}")}
    if answer.before is not None:
        maps["before"] = as_mask(answer.before, image.shape, f"the earlier mask of {image.name}")
    if answer.reviewed is not None:
        looked_at = as_mask(answer.reviewed, image.shape, f"the reviewed pixels of {image.name}")
        if not looked_at.all():
            maps["reviewed"] = looked_at
    if answer.objects is not None:
        maps["objects"] = as_objects(answer.objects, image.shape, f"the objects of {image.name}")
        if not np.array_equal(maps["objects"] > 0, maps["mask"]):
            raise LabelsError(f"the objects of {image.name} must cover just its mask: take mask = objects > 0.")
    if answer.magnification is not None and not answer.magnification > 0:
        raise LabelsError(f"the magnification of {image.name} must be above 0, but is {answer.magnification}.")
    return maps


class MaskFiles:
    """The mask files in one folder of a project."""

    def __init__(self, root: Path, folder: str) -> None:
        self._root = root
        self._folder = folder

    @contextlib.contextmanager
    def written(self, image_id: int, maps: dict[str, npt.NDArray[Any]]) -> Iterator[dict[str, str]]:
        """Write masks, and yield the columns `KIND_file` and `KIND_sha256` of their row.

        The files are removed again where the body fails to enter that row.

        Raises
        ------
        StorageError
            The disk refused; no file is left.
        """
        token = uuid.uuid4().hex
        columns: dict[str, str] = {}
        files = {kind: f"{self._folder}/{image_id:06d}-{token}-{kind}.tif" for kind in maps}
        try:
            for kind, values in maps.items():
                write = write_mask if values.dtype == np.bool_ else write_map
                columns[f"{kind}_sha256"] = write(inside(self._root, files[kind]), values)
                columns[f"{kind}_file"] = files[kind]
            yield columns
        except Exception as error:
            cause = error.__cause__ if isinstance(error, StorageError) else None
            if getattr(cause, "sqlite_errorcode", None) not in _UNSURE:
                self.remove(files.values())
            raise

    def mask(self, record: CorrectionRecord | DraftRecord, kind: str, shape: tuple[int, int]) -> BoolArray:
        """Return the file of a kind as bool `shape`; `ProjectError` where it is gone or was changed."""
        return read_mask(*self._file(record, kind, shape))

    def map(self, record: CorrectionRecord | DraftRecord, kind: str, shape: tuple[int, int]) -> npt.NDArray[Any]:
        """Return the file of a kind as it is, `shape`; `ProjectError` where it is gone or was changed."""
        return read_map(*self._file(record, kind, shape))

    def _file(
        self, record: CorrectionRecord | DraftRecord, kind: str, shape: tuple[int, int]
    ) -> tuple[Path, tuple[int, int], str]:
        file, sha256 = getattr(record, f"{kind}_file"), getattr(record, f"{kind}_sha256")
        return inside(self._root, file), shape, sha256 or ""

    def remove(self, files: Iterable[str]) -> None:
        """Remove files that no row names any more."""
        for relative in files:
            remove_quietly(inside(self._root, relative))
