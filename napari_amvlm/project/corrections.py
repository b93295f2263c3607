"""Accepted masks: durable before `accept` returns, and never deleted."""

from __future__ import annotations

import getpass
import sqlite3
import uuid
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_amvlm.errors import ProjectError, PromptError, StorageError
from napari_amvlm.project.ledger import Ledger, now
from napari_amvlm.project.masks import BoolArray, as_mask, read_mask, write_mask
from napari_amvlm.project.records import CorrectionRecord, ImageRecord
from napari_amvlm.project.storage import inside, remove_quietly

HOLD_OUT_EVERY = 4
"""Of this many accepted images the last one is held out, to score models on."""

_SELECT = "SELECT corrections.*, prompts.text AS prompt FROM corrections JOIN prompts ON prompts.id = prompt_id"

_UNSURE = frozenset({sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC})
"""Failures after which SQLite's log may hold the row all the same, so its mask must stay."""


def clean_prompt(prompt: str) -> str:
    """Return a prompt with single spaces; `PromptError` when nothing is left."""
    text = " ".join(prompt.split())
    if not text:
        raise PromptError("the prompt is empty: type what the mask shows, for example nuclei.")
    return text


def _author() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a process without a user name, as in some containers
        return "unknown"


class CorrectionTable:
    """The ledger's corrections."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def select(self, image_id: int | None, prompt: str | None, *, history: bool) -> list[CorrectionRecord]:
        """Return corrections, oldest first; without `history` the current ones only."""
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

    def accept(
        self,
        image: ImageRecord,
        prompt: str,
        mask: npt.ArrayLike,
        *,
        before: npt.ArrayLike | None,
        reviewed: npt.ArrayLike | None,
        model: str | None,
        threshold: float | None,
        seconds_spent: float,
    ) -> CorrectionRecord:
        """Write the masks, then the row; see `Project.accept`."""
        self._ledger.require_writer()
        prompt = clean_prompt(prompt)
        masks = {"mask": as_mask(mask, image.shape, f"the mask of {image.name}")}
        if before is not None:
            masks["before"] = as_mask(before, image.shape, f"the earlier mask of {image.name}")
        if reviewed is not None:
            looked_at = as_mask(reviewed, image.shape, f"the reviewed pixels of {image.name}")
            if not looked_at.all():
                masks["reviewed"] = looked_at
        row: dict[str, Any] = {
            "image_id": image.id,
            "model": model,
            "threshold": None if threshold is None else float(threshold),
            "author": _author(),
            "accepted_at": now(),
            "seconds_spent": float(seconds_spent),
        }
        written: list[str] = []
        try:
            row |= self._write(image.id, masks, written)
            with self._ledger.transaction() as connection:
                correction_id = _insert(connection, prompt, row)
        except Exception as error:
            self._clean_up(written, error)
            raise
        return self.get(correction_id)

    def _write(self, image_id: int, masks: dict[str, BoolArray], written: list[str]) -> dict[str, str]:
        token = uuid.uuid4().hex
        columns: dict[str, str] = {}
        for kind, mask in masks.items():
            relative = f"masks/{image_id:06d}-{token}-{kind}.tif"
            written.append(relative)
            columns[f"{kind}_sha256"] = write_mask(inside(self._ledger.root, relative), mask)
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
        """Withdraw the current correction; its masks stay in the history."""
        prompt = clean_prompt(prompt)
        with self._ledger.transaction() as connection:
            connection.execute(
                "UPDATE corrections SET state = 'withdrawn', ended_at = ? WHERE state = 'current' AND image_id = ? "
                "AND prompt_id = (SELECT id FROM prompts WHERE text = ?)",
                (now(), image_id, prompt),
            )

    def load(self, file: str, sha256: str | None, shape: tuple[int, int]) -> BoolArray:
        """Read one of a correction's mask files, checked against its hash and its image's shape."""
        return read_mask(inside(self._ledger.root, file), shape, sha256 or "")


def _insert(connection: sqlite3.Connection, prompt: str, row: dict[str, Any]) -> int:
    connection.execute("INSERT OR IGNORE INTO prompts (text) VALUES (?)", (prompt,))
    prompt_id = connection.execute("SELECT id FROM prompts WHERE text = ?", (prompt,)).fetchone()[0]
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
    _enter_validation_draw(connection, image_id)
    return int(cursor.lastrowid or 0)


def _enter_validation_draw(connection: sqlite3.Connection, image_id: int) -> None:
    """Give an image its place among the accepted ones, once; every fourth is held out unless a person decided."""
    connection.execute(
        "UPDATE images SET accepted_index = (SELECT COALESCE(MAX(accepted_index) + 1, 0) FROM images) "
        "WHERE id = ? AND accepted_index IS NULL",
        (image_id,),
    )
    connection.execute(
        "UPDATE images SET held_out = (accepted_index % ? = ?) WHERE id = ? AND held_out IS NULL",
        (HOLD_OUT_EVERY, HOLD_OUT_EVERY - 1, image_id),
    )


def _record(row: sqlite3.Row) -> CorrectionRecord:
    return CorrectionRecord(**{name: row[name] for name in CorrectionRecord.__dataclass_fields__})


def full_mask(shape: tuple[int, int]) -> BoolArray:
    """Return a mask of `shape` that is True everywhere."""
    return np.ones(shape, dtype=np.bool_)
