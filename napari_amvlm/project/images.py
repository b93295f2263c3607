"""The images of a project: referenced by path and content hash, found again when they were moved."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_amvlm.errors import ImageError, ProjectError, StorageError
from napari_amvlm.files import remove_quietly, sha256_of_file, write_atomically
from napari_amvlm.imaging import read_image, slide_key
from napari_amvlm.imaging.formats.itk_files import pixels_elsewhere
from napari_amvlm.project.hold_out import SHARES_HELD_OUT
from napari_amvlm.project.ledger import Ledger, now
from napari_amvlm.project.mask_files import encode_tiff
from napari_amvlm.project.records import ImageRecord, ProjectCounts, SlidePlace
from napari_amvlm.project.storage import (
    array_hash,
    has_content,
    inside,
    read_stored,
    short_path,
    storable_array,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

_ACCEPTED = "id IN (SELECT image_id FROM corrections WHERE state = 'current')"
# CASE, and not AND: whether pixels are shared is asked where it matters only
_UNLABELLED = f"CASE WHEN COALESCE(held_out, 0) = 0 AND NOT {_ACCEPTED} THEN NOT {SHARES_HELD_OUT} ELSE 0 END"

_SMALLEST_SLIDE = 1 << 20
"""Files of more pixels may be slides that regions were cut out of."""


class ImageTable:
    """The images of a project: `project.images`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def _record(self, row: sqlite3.Row) -> ImageRecord:
        path = inside(self._ledger.root, row["path"]) if row["stored"] else Path(row["path"])
        return ImageRecord(
            id=row["id"],
            name=row["name"],
            path=path,
            shape=(row["height"], row["width"]),
            sha256=row["sha256"],
            source=row["source"],
            stored=bool(row["stored"]),
            held_out=bool(row["held_out"]),
        )

    def select(self, condition: str = "", values: tuple[Any, ...] = ()) -> list[ImageRecord]:
        """Return the records that meet an SQL condition, in the order they were added."""
        where = f" WHERE {condition}" if condition else ""
        return [self._record(row) for row in self._ledger.rows(f"SELECT * FROM images{where} ORDER BY id", values)]

    def get(self, image_id: int) -> ImageRecord:
        """Return one record; `ProjectError` when there is none of that id."""
        records = self.select("id = ?", (image_id,))
        if not records:
            raise ProjectError(f"the project {self._ledger.root} has no image {image_id}: add the image first.")
        return records[0]

    def all(self) -> list[ImageRecord]:
        """Return all images in the order they were added."""
        return self.select()

    def accepted(self) -> list[ImageRecord]:
        """Return the images that have a current correction, held-out ones included."""
        return self.select(_ACCEPTED)

    def held_out(self) -> list[ImageRecord]:
        """Return the held-out images that have a current correction."""
        return self.select(f"held_out = 1 AND {_ACCEPTED}")

    def unlabelled(self) -> list[ImageRecord]:
        """Return the images without a current correction; none that is held out, or shares pixels with one that is."""
        return self.select(_UNLABELLED)

    def counts(self) -> ProjectCounts:
        """Return how many images there are of each kind."""
        row = self._ledger.row(
            f"SELECT COUNT(*), SUM({_ACCEPTED}), SUM({_ACCEPTED} AND held_out = 1), SUM({_UNLABELLED}) FROM images"
        )
        return ProjectCounts(*(int(value or 0) for value in (row or (0, 0, 0, 0))))

    def set_held_out(self, image_id: int, held_out: bool) -> None:
        """Decide by hand whether an image scores models (True) or is learnt from (False)."""
        self.get(image_id)
        with self._ledger.transaction() as connection:
            connection.execute(
                "UPDATE images SET held_out = ?, decided_by_person = 1 WHERE id = ?", (int(held_out), image_id)
            )

    def add_file(self, path: str | Path, *, name: str | None = None, copy: bool = False) -> ImageRecord:
        """Add an image file by reference, or a copy of it. The same content gives the same record, whatever its path.

        Where the file of that record was lost or changed, this one takes its place.

        Of a header whose pixels lie in a file beside it (.mhd, .nhdr), the pixels are kept in the project.

        Parameters
        ----------
        name
            What to call it; the file's name if left out.

        Raises
        ------
        ImageError
            The file cannot be read.
        StorageError
            The disk refused.
        """
        self._ledger.require_writer()
        path = Path(os.path.abspath(path))
        try:
            str(path).encode("utf-8")
        except UnicodeEncodeError as error:
            raise ImageError(f"{str(path)!a} has a name that is not UTF-8: rename the file.") from error
        image = read_image(path)
        if pixels_elsewhere(path):
            # The hash of the file tells neither its pixels from those of others nor that they were changed.
            return self.add_array(image.data, name=name or path.name)
        try:
            content = path.read_bytes() if copy else None
            digest = hashlib.sha256(content).hexdigest() if content is not None else sha256_of_file(path)
            size = path.stat().st_size
        except OSError as error:
            raise ImageError(f"{path} cannot be read ({error.strerror}): check its permissions.") from error
        height, width = image.data.shape[:2]
        key = slide_key(image.data) if height * width > _SMALLEST_SLIDE else None
        cut_from = SlidePlace(key, 0, 0) if key is not None else None
        known = self.select("sha256 = ?", (digest,))
        if known:
            self._note_slide(known[0], cut_from)
            return self._refresh(known[0], path)
        row: dict[str, Any] = {"sha256": digest, "source": "file", "name": name or path.name, "bytes": size}
        row |= {"height": height, "width": width} | _slide_columns(cut_from)
        if content is None:
            return self._insert(row, path)
        return self._store(row, content, path.suffix)

    def add_array(
        self, array: npt.NDArray[Any], *, name: str | None = None, cut_from: SlidePlace | None = None
    ) -> ImageRecord:
        """Keep an array that has no file as TIFF in the project. The same pixels give the same record.

        Parameters
        ----------
        array
            Pixels `(H, W)`, `(H, W, 3)` or `(H, W, 4)`; alpha is dropped.
        name
            What to call it; a part of its hash if left out.
        cut_from
            Where on a slide it was cut out: images that share pixels of a slide are held out together.

        Raises
        ------
        ImageError
            The array is no image.
        StorageError
            The disk refused.
        """
        self._ledger.require_writer()
        array = storable_array(array)
        digest = array_hash(array)
        known = self.select("sha256 = ?", (digest,))
        if known:
            self._note_slide(known[0], cut_from)
            if not known[0].path.is_file():  # it was lost
                write_atomically(known[0].path, lambda temporary: temporary.write_bytes(encode_tiff(array)))
            return known[0]
        content = encode_tiff(array)
        row: dict[str, Any] = {
            "sha256": digest,
            "source": "array",
            "name": name or f"image {digest[:8]}",
            "bytes": len(content),
        }
        row |= {"height": array.shape[0], "width": array.shape[1]} | _slide_columns(cut_from)
        return self._store(row, content, ".tif")

    def find_array(self, array: npt.NDArray[Any]) -> ImageRecord | None:
        """Return the image that was added as this very array, for instance a slice of a stack; None where none was."""
        known = self.select("source = 'array' AND sha256 = ?", (array_hash(storable_array(array)),))
        return known[0] if known else None

    def cut_from(self, record: ImageRecord) -> SlidePlace | None:
        """Return where on a slide an image was cut out; None where that is not known."""
        row = self._ledger.row("SELECT slide, slide_y, slide_x FROM images WHERE id = ?", (record.id,))
        return None if row is None or row["slide"] is None else SlidePlace(*row)

    def _note_slide(self, record: ImageRecord, cut_from: SlidePlace | None) -> None:
        """Note where on a slide an image lies that was added before that was known."""
        if cut_from is not None:
            with self._ledger.transaction() as connection:
                connection.execute(
                    "UPDATE images SET slide = ?, slide_y = ?, slide_x = ? WHERE id = ? AND slide IS NULL",
                    (cut_from.slide, cut_from.y, cut_from.x, record.id),
                )

    def _store(self, row: dict[str, Any], content: bytes, suffix: str) -> ImageRecord:
        stem = re.sub(r"[^A-Za-z0-9_-]+", "_", Path(str(row["name"])).stem)[:48]
        relative = f"images/{row['sha256'][:16]}-{stem}{suffix}"
        path = inside(self._ledger.root, relative)
        write_atomically(path, lambda temporary: temporary.write_bytes(content))
        try:
            return self._insert(row, path, stored_as=relative)
        except StorageError:
            remove_quietly(path)
            raise

    def _insert(self, row: dict[str, Any], path: Path, *, stored_as: str | None = None) -> ImageRecord:
        values = row | _path_columns(self._ledger.root, path, stored_as) | {"added_at": now()}
        columns = ", ".join(values)
        marks = ", ".join("?" * len(values))
        with self._ledger.transaction() as connection:
            # Two threads may add the same content at once: the first one's record is both's.
            connection.execute(
                f"INSERT INTO images ({columns}) VALUES ({marks}) ON CONFLICT (sha256) DO NOTHING",
                tuple(values.values()),
            )
            if stored_as is None:
                connection.execute("INSERT OR IGNORE INTO folders VALUES (?)", (str(path.parent),))
        return self.select("sha256 = ?", (row["sha256"],))[0]

    def _refresh(self, record: ImageRecord, path: Path) -> ImageRecord:
        if record.path == path or has_content(record.path, record.sha256):
            return record
        return self._move(record, path)

    def _move(self, record: ImageRecord, path: Path) -> ImageRecord:
        columns = _path_columns(self._ledger.root, path, None)
        with self._ledger.transaction() as connection:
            connection.execute(
                "UPDATE images SET path = ?, relative = ?, stored = 0 WHERE id = ?",
                (columns["path"], columns["relative"], record.id),
            )
            connection.execute("INSERT OR IGNORE INTO folders VALUES (?)", (str(path.parent),))
        return self.get(record.id)

    def load(self, record: ImageRecord) -> npt.NDArray[Any]:
        """Return the pixels of an image, `(H, W)` or `(H, W, 3)` in their own dtype.

        Raises
        ------
        ProjectError
            The image was moved out of reach, or changed since it was added.
        """
        if record.source == "array":
            return read_stored(record)
        path = self.locate(record)
        if path != record.path and not self._ledger.read_only:
            self._move(record, path)
        data = read_image(path).data
        if data.shape[:2] != record.shape:
            raise ProjectError(
                f"{short_path(path)} has the shape {data.shape[:2]}, but was added with {record.shape}: restore the "
                "original."
            )
        return np.asarray(data)

    def locate(self, record: ImageRecord) -> Path:
        """Return where the image file is now: where it was, or a file of the same content in a known folder.

        Raises
        ------
        ProjectError
            The file was lost or changed.
        """
        if record.source == "array":
            return record.path
        changed = os.path.isfile(record.path)
        if changed and has_content(record.path, record.sha256):
            return record.path
        for path in self._candidates(record):
            if has_content(path, record.sha256):
                return path
        if changed:
            raise ProjectError(
                f"{short_path(record.path)} was changed since it was added to the project: restore it, or add it as a "
                "new image."
            )
        raise ProjectError(
            f"the image {short_path(record.path)} was not found: put it back, or add it again from where it is now."
        )

    def missing(self) -> list[ImageRecord]:
        """Return the images whose file is not where it was, nor in any folder that the project knows."""
        return [record for record in self.select() if record.source == "file" and not self._is_there(record)]

    def _is_there(self, record: ImageRecord) -> bool:
        if os.path.isfile(record.path):
            return True
        return any(has_content(path, record.sha256) for path in self._candidates(record))

    def find(self, folder: str | Path) -> list[ImageRecord]:
        """Seek missing images by content in a folder and below it; return those that were found, with new paths."""
        self._ledger.require_writer()
        folder = Path(folder)
        if not folder.is_dir():
            raise ProjectError(f"there is no folder {folder}: choose the one that the images were moved to.")
        missing = {record.sha256: record for record in self.missing()}
        rows = self._ledger.rows("SELECT sha256, bytes FROM images")
        sizes = {row["bytes"] for row in rows if row["sha256"] in missing}
        moved = []
        for path in sorted(Path(os.path.abspath(folder)).rglob("*")):
            if not missing:
                break
            if path.is_file() and path.stat().st_size in sizes:
                record = missing.pop(sha256_of_file(path), None)
                if record is not None:
                    moved.append(self._move(record, path))
        return moved

    def _candidates(self, record: ImageRecord) -> Iterator[Path]:
        root = self._ledger.root
        row = self._ledger.row("SELECT bytes, relative FROM images WHERE id = ?", (record.id,))
        if row is None:
            return
        if row["relative"] is not None and os.path.isfile(root / row["relative"]):
            yield Path(os.path.abspath(root / row["relative"]))
        folders = [Path(r["path"]) for r in self._ledger.rows("SELECT path FROM folders")]
        for folder in dict.fromkeys([*folders, root / "images", Path(os.path.abspath(root)).parent]):
            # A folder out of the ledger may be gone, forbidden, or no name that a folder can have.
            with contextlib.suppress(OSError, ValueError):
                yield from sorted(p for p in folder.iterdir() if p.is_file() and p.stat().st_size == row["bytes"])


def _slide_columns(cut_from: SlidePlace | None) -> dict[str, Any]:
    return {} if cut_from is None else {"slide": cut_from.slide, "slide_y": cut_from.y, "slide_x": cut_from.x}


def _path_columns(root: Path, path: Path, stored_as: str | None) -> dict[str, Any]:
    if stored_as is not None:
        return {"path": stored_as, "relative": None, "stored": 1}
    try:
        relative: str | None = Path(os.path.relpath(path, root)).as_posix()
    except ValueError:  # another drive on Windows
        relative = None
    return {"path": str(path), "relative": relative, "stored": 0}
