"""Accepted masks: durable before `accept` returns, and never deleted."""

from __future__ import annotations

import dataclasses
import getpass
import sqlite3
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_amvlm.errors import LabelsError, ProjectError, StorageError
from napari_amvlm.project.hold_out import enter_validation_draw
from napari_amvlm.project.ledger import Ledger, now
from napari_amvlm.project.masks import (
    BoolArray,
    as_mask,
    as_objects,
    check_shape,
    read_map,
    read_mask,
    write_map,
    write_mask,
)
from napari_amvlm.project.prompts import clean_prompt, enter_prompt
from napari_amvlm.project.queue import mark_reviewed, mark_withdrawn
from napari_amvlm.project.records import Answer, CorrectionRecord, ImageRecord
from napari_amvlm.project.storage import inside, remove_quietly
from napari_amvlm.review import carry_states, connected_objects, pixel_states, replace_region

if TYPE_CHECKING:
    from pathlib import Path

    from napari_amvlm.project.images import ImageTable

_SELECT = "SELECT corrections.*, prompts.text AS prompt FROM corrections JOIN prompts ON prompts.id = prompt_id"

_UNSURE = frozenset({sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC})
"""Failures after which SQLite's log may hold the row all the same, so its mask must stay."""


def author() -> str:
    """Return the name of the person as the system knows it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a process without a user name, as in some containers
        return "unknown"


class CorrectionTable:
    """The accepted masks of a project: `project.corrections`."""

    def __init__(self, ledger: Ledger, images: ImageTable) -> None:
        self._ledger = ledger
        self._images = images

    def select(
        self, image_id: int | None = None, prompt: str | None = None, *, history: bool = False
    ) -> list[CorrectionRecord]:
        """Return current corrections, oldest first; with `history` the superseded and withdrawn ones too."""
        conditions: list[str] = []
        values: list[Any] = []
        if not history:
            conditions.append("state = 'current'")
        if image_id is not None:
            conditions.append("image_id = ?")
            values.append(image_id)
        if prompt is not None:
            conditions.append("prompts.text = ?")
            values.append(clean_prompt(prompt))
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        return [_record(row) for row in self._ledger.rows(f"{_SELECT}{where} ORDER BY corrections.id", values)]

    def accept(self, image_id: int, prompt: str, answer: Answer) -> CorrectionRecord:
        """Store an answer; it is on the disk when this returns.

        The newest answer of an image and a prompt is the current one; older ones stay in the history. An image's first
        answer decides whether it is held out: one in four of each prompt's images is.

        Raises
        ------
        ProjectError
            There is no such image.
        LabelsError
            A mask does not fit the image.
        PromptError
            The prompt is empty.
        StorageError
            The disk refused; the project is as it was.
        """
        self._ledger.require_writer()
        image, prompt = self._images.get(image_id), clean_prompt(prompt)
        if answer.region is None:
            return self._store(image, prompt, answer, None)
        return self._store(image, prompt, *self._whole_answer(image, prompt, answer, answer.region))

    def _store(
        self, image: ImageRecord, prompt: str, answer: Answer, states: npt.NDArray[np.uint8] | None
    ) -> CorrectionRecord:
        """Write the masks, then the row; `states` None are those that follow from the masks."""
        maps = _checked_maps(image, answer)
        derived = pixel_states(maps["mask"], maps.get("before"), maps.get("reviewed"))
        states = self._carried(image, prompt, maps["mask"], derived if states is None else states)
        if not np.array_equal(states, derived):
            maps["states"] = states
        row: dict[str, Any] = {
            "image_id": image.id,
            "model": answer.model,
            "threshold": None if answer.threshold is None else float(answer.threshold),
            "author": author(),
            "accepted_at": now(),
            "seconds_spent": float(answer.seconds_spent),
            "scale": answer.scale,
            "magnification": answer.magnification,
            "origin": answer.origin,
        }
        written: list[str] = []
        try:
            row |= self._write(image.id, maps, written)
            with self._ledger.transaction() as connection:
                correction_id = _insert(connection, prompt, row, maps.get("reviewed"))
        except Exception as error:
            self._clean_up(written, error)
            raise
        return self.get(correction_id)

    def _whole_answer(
        self, image: ImageRecord, prompt: str, answer: Answer, accepted_in: npt.ArrayLike
    ) -> tuple[Answer, npt.NDArray[np.uint8]]:
        """Return the answer for the whole image, and its states: outside `accepted_in` the current one stays."""
        if answer.objects is not None or answer.reviewed is not None:
            raise LabelsError(f"a region of {image.name} is accepted as a mask alone: leave out objects and reviewed.")
        region = as_mask(accepted_in, image.shape, f"the region of {image.name}")
        mask = as_mask(answer.mask, image.shape, f"the mask of {image.name}")
        before = None if answer.before is None else as_mask(answer.before, image.shape, f"the earlier {image.name}")
        reviewed, states = region, pixel_states(mask, before, region)
        current = self.select(image.id, prompt)
        if not current:
            return dataclasses.replace(answer, mask=mask & region, reviewed=reviewed), states
        (earlier,) = current
        earlier_states = self.states(earlier)
        objects = None
        if earlier.objects_file is not None:
            objects = replace_region(self.objects(earlier), mask, region)
        whole = dataclasses.replace(
            answer,
            mask=np.where(region, mask, self.mask(earlier)),
            objects=objects,
            reviewed=region | (earlier_states > 0),
            scale=answer.scale or earlier.scale,
            magnification=answer.magnification or earlier.magnification,
        )
        return whole, np.where(region, states, earlier_states)

    def _carried(
        self, image: ImageRecord, prompt: str, mask: BoolArray, states: npt.NDArray[np.uint8]
    ) -> npt.NDArray[np.uint8]:
        """Return `states` with what was corrected in the answer before still called corrected."""
        for earlier in self.select(image.id, prompt):
            try:
                return carry_states(states, mask, self.states(earlier), self.mask(earlier))
            except ProjectError:  # a lost file of the earlier answer must not keep the new one from the disk
                return states
        return states

    def _write(self, image_id: int, maps: dict[str, npt.NDArray[Any]], written: list[str]) -> dict[str, str]:
        token = uuid.uuid4().hex
        columns: dict[str, str] = {}
        for kind, values in maps.items():
            relative = f"masks/{image_id:06d}-{token}-{kind}.tif"
            written.append(relative)
            write = write_mask if values.dtype == np.bool_ else write_map
            columns[f"{kind}_sha256"] = write(inside(self._ledger.root, relative), values)
            columns[f"{kind}_file"] = relative
        return columns

    def _clean_up(self, written: list[str], error: Exception) -> None:
        cause = error.__cause__ if isinstance(error, StorageError) else None
        if getattr(cause, "sqlite_errorcode", None) in _UNSURE:
            return
        for relative in written:
            remove_quietly(inside(self._ledger.root, relative))

    def get(self, correction_id: int) -> CorrectionRecord:
        """Return one correction; `ProjectError` when there is none of that id."""
        row = self._ledger.row(f"{_SELECT} WHERE corrections.id = ?", (correction_id,))
        if row is None:
            raise ProjectError(f"the project {self._ledger.root} has no correction {correction_id}.")
        return _record(row)

    def reject(self, image_id: int, prompt: str) -> None:
        """Withdraw the current correction of an image and a prompt; its masks stay in the history."""
        self._images.get(image_id)
        prompt = clean_prompt(prompt)
        with self._ledger.transaction() as connection:
            connection.execute(
                "UPDATE corrections SET state = 'withdrawn', ended_at = ? WHERE state = 'current' AND image_id = ? "
                "AND prompt_id = (SELECT id FROM prompts WHERE text = ?)",
                (now(), image_id, prompt),
            )
            mark_withdrawn(connection, image_id)

    # What a correction holds. Every file is checked against its hash and its image's shape; `ProjectError` where it is
    # gone or was changed.

    def mask(self, correction: CorrectionRecord) -> BoolArray:
        """Return the accepted mask, bool `(H, W)`."""
        return read_mask(self._path(correction.mask_file), self._shape(correction), correction.mask_sha256)

    def before(self, correction: CorrectionRecord) -> BoolArray | None:
        """Return the mask that the model had proposed, bool `(H, W)`; None when there was none."""
        if correction.before_file is None:
            return None
        return read_mask(self._path(correction.before_file), self._shape(correction), correction.before_sha256 or "")

    def reviewed(self, correction: CorrectionRecord) -> BoolArray:
        """Return the pixels that a person looked at, bool `(H, W)`."""
        shape = self._shape(correction)
        if correction.reviewed_file is None:
            check_shape(self._ledger.path, shape)
            return np.ones(shape, dtype=np.bool_)
        return read_mask(self._path(correction.reviewed_file), shape, correction.reviewed_sha256 or "")

    def states(self, correction: CorrectionRecord) -> npt.NDArray[np.uint8]:
        """Return the state of every pixel, uint8 `(H, W)` with values of `napari_amvlm.review.PixelState`."""
        if correction.states_file is None:
            reviewed = self.reviewed(correction) if correction.reviewed_file else None
            return pixel_states(self.mask(correction), self.before(correction), reviewed)
        return read_map(self._path(correction.states_file), self._shape(correction), correction.states_sha256 or "")

    def objects(self, correction: CorrectionRecord) -> npt.NDArray[np.integer]:
        """Return the object numbers, `(H, W)`, 0 is background; connected parts where none were given."""
        if correction.objects_file is None:
            return connected_objects(self.mask(correction))
        return read_map(self._path(correction.objects_file), self._shape(correction), correction.objects_sha256 or "")

    def _shape(self, correction: CorrectionRecord) -> tuple[int, int]:
        return self._images.get(correction.image_id).shape

    def _path(self, relative: str) -> Path:
        return inside(self._ledger.root, relative)


def _checked_maps(image: ImageRecord, answer: Answer) -> dict[str, npt.NDArray[Any]]:
    """Return the masks of an answer by kind, each of its image's shape."""
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


def _insert(connection: sqlite3.Connection, prompt: str, row: dict[str, Any], reviewed: BoolArray | None) -> int:
    prompt_id = enter_prompt(connection, prompt)
    image_id = row["image_id"]
    connection.execute(
        "UPDATE corrections SET state = 'superseded', ended_at = ? "
        "WHERE state = 'current' AND image_id = ? AND prompt_id = ?",
        (row["accepted_at"], image_id, prompt_id),
    )
    values = row | {"prompt_id": prompt_id, "state": "current"}
    marks = ", ".join("?" * len(values))
    cursor = connection.execute(
        f"INSERT INTO corrections ({', '.join(values)}) VALUES ({marks})", tuple(values.values())
    )
    enter_validation_draw(connection, image_id, prompt_id)
    mark_reviewed(connection, image_id, reviewed)
    return int(cursor.lastrowid or 0)


def _record(row: sqlite3.Row) -> CorrectionRecord:
    return CorrectionRecord(**{name: row[name] for name in CorrectionRecord.__dataclass_fields__})
