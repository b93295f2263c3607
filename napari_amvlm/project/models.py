"""The models a project has learnt, and which of them is served."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from napari_amvlm.errors import ProjectError
from napari_amvlm.files import disk_errors, fsync_directory, sha256_of_file, write_atomically
from napari_amvlm.project.ledger import Ledger, now
from napari_amvlm.project.records import ModelRecord, Serving
from napari_amvlm.project.storage import inside, value_errors

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping


_INSTALLED = "installed model"


class ModelTable:
    """The models learnt in a project, and which served when: `project.models`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def _record(self, row: sqlite3.Row) -> ModelRecord:
        with value_errors(self._ledger.path, f"what model {row['id']} scored"):
            scores = {str(name): float(score) for name, score in json.loads(row["scores"]).items()}
        return ModelRecord(
            id=row["id"],
            name=row["name"],
            path=inside(self._ledger.root, row["file"]),
            sha256=row["sha256"],
            parent=row["parent"],
            licence=row["licence"],
            scores=scores,
            created_at=row["created_at"],
            discarded=row["discarded_at"] is not None,
        )

    def add(
        self,
        path: str | Path,
        parent: str | None = None,
        scores: Mapping[str, float] | None = None,
        licence: str = "unknown",
    ) -> ModelRecord:
        """Enter a model file, copied into `models/` if it lies elsewhere. It does not serve yet: see `serve`."""
        self._ledger.require_writer()
        path = Path(path)
        if not path.is_file():
            raise ProjectError(f"the model {path} was not found: save the model before adding it to the project.")
        folder = inside(self._ledger.root, "models")
        if path.resolve().parent != folder:
            path = _copy_into(folder, path)
        with disk_errors(folder):
            fsync_directory(folder)
        digest = sha256_of_file(path)
        values = (path.stem, f"models/{path.name}", digest, parent, licence, json.dumps(dict(scores or {})), now())
        with self._ledger.transaction() as connection:
            cursor = connection.execute(
                "INSERT INTO models (name, file, sha256, parent, licence, scores, created_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                values,
            )
        return self.get(int(cursor.lastrowid or 0))

    def new_path(self) -> Path:
        """Return where the next learnt model may be written; `ProjectError` when open for reading only."""
        self._ledger.require_writer()
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", self._ledger.root.stem).strip("-") or "project"
        return free_name(inside(self._ledger.root, "models"), f"{stem}-model", ".safetensors")

    def get(self, model_id: int) -> ModelRecord:
        """Return one model; `ProjectError` when there is none of that id."""
        row = self._ledger.row("SELECT * FROM models WHERE id = ?", (model_id,))
        if row is None:
            raise ProjectError(f"the project {self._ledger.root} has no model {model_id}: choose one of its own.")
        return self._record(row)

    def all(self, *, discarded: bool = False) -> list[ModelRecord]:
        """Return the models learnt here, oldest first; with `discarded` those too that were put aside."""
        where = "" if discarded else "WHERE discarded_at IS NULL"
        return [self._record(row) for row in self._ledger.rows(f"SELECT * FROM models {where} ORDER BY id")]

    def serve(self, model_id: int | None, installed: str | None = None) -> None:
        """Serve one of the project's models from now on; None goes back to the installed one.

        This lets a new model serve, and rolls back to any earlier one. A discarded model is no longer discarded then.

        Parameters
        ----------
        installed
            With `model_id` None, sha256 of the installed model that a person chose; None keeps the choice before.

        Raises
        ------
        ProjectError
            There is no such model, or its file is gone or was changed.
        """
        if model_id is not None:
            self._require_file(self.get(model_id))
        with self._ledger.transaction() as connection:
            connection.execute("UPDATE models SET discarded_at = NULL WHERE id = ?", (model_id,))
            connection.execute("INSERT INTO servings (model_id, served_at) VALUES (?, ?)", (model_id, now()))
            if installed is not None:
                connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (_INSTALLED, installed))

    def installed(self) -> str | None:
        """Return the sha256 of the installed model that was chosen in this project last; None where none was."""
        row = self._ledger.row("SELECT value FROM facts WHERE key = ?", (_INSTALLED,))
        return None if row is None else str(row["value"])

    def served(self) -> ModelRecord | None:
        """Return the model that serves; None is the installed one."""
        row = self._ledger.row("SELECT model_id FROM servings ORDER BY id DESC LIMIT 1")
        return None if row is None or row["model_id"] is None else self.get(row["model_id"])

    def servings(self) -> list[Serving]:
        """Return which model served from when, oldest first."""
        return [Serving(**dict(row)) for row in self._ledger.rows("SELECT * FROM servings ORDER BY id")]

    def earlier(self) -> ModelRecord | None:
        """Return what served before the present model first did and is not discarded; None is the installed model.

        Raises
        ------
        ProjectError
            The installed model serves, or the file of the earlier one is gone or was changed.
        """
        now_serving = self.served()
        if now_serving is None:
            raise ProjectError(f"the installed model serves in {self._ledger.root}, so there is nothing to roll back.")
        # Going back twice goes back further: only what served before the model's first serving counts.
        servings, listed = self.servings(), {None, *(model.id for model in self.all())}
        first = next(serving.id for serving in servings if serving.model_id == now_serving.id)
        before = [serving.model_id for serving in servings if serving.id < first and serving.model_id in listed]
        if not before or before[-1] is None:
            return None
        model = self.get(before[-1])
        self._require_file(model)
        return model

    def roll_back(self) -> ModelRecord | None:
        """Serve what is `earlier`, and return it; None is the installed model."""
        self._ledger.require_writer()
        model = self.earlier()
        self.serve(None if model is None else model.id)
        return model

    def discard(self, model_id: int) -> None:
        """Put a model aside: it is no longer listed, but its file and its history stay.

        Raises
        ------
        ProjectError
            There is no such model, or it serves.
        """
        self.get(model_id)
        served = self.served()
        if served is not None and served.id == model_id:
            raise ProjectError(f"the model {served.name} serves: serve another one before discarding it.")
        with self._ledger.transaction() as connection:
            connection.execute("UPDATE models SET discarded_at = ? WHERE id = ?", (now(), model_id))

    def _require_file(self, model: ModelRecord) -> None:
        if not model.path.is_file():
            raise ProjectError(f"the file {model.path} of the model {model.name} is gone: restore it from a backup.")
        if sha256_of_file(model.path) != model.sha256:
            raise ProjectError(
                f"the file {model.path} of the model {model.name} was changed: restore it from a backup."
            )


def free_name(folder: Path, stem: str, suffix: str) -> Path:
    """Return a path in `folder` that does not exist: `stem`, or `stem-2`, `stem-3` and so on."""
    path = folder / f"{stem}{suffix}"
    number = 2
    while path.exists():
        path = folder / f"{stem}-{number}{suffix}"
        number += 1
    return path


def _copy_into(folder: Path, path: Path) -> Path:
    target = free_name(folder, path.stem, path.suffix)
    write_atomically(target, lambda temporary: shutil.copyfile(path, temporary))
    return target
