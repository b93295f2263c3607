"""The models a project has learnt, which of them is served, and the runs that made them."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_amvlm.errors import ProjectError
from napari_amvlm.project.ledger import Ledger, now
from napari_amvlm.project.records import ModelRecord, RunRecord, RunState
from napari_amvlm.project.storage import TEMPORARY, disk_errors, fsync_directory, inside, remove_quietly, sha256_of_file

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping


class ModelTable:
    """The ledger's models and servings."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def _record(self, row: sqlite3.Row) -> ModelRecord:
        return ModelRecord(
            id=row["id"],
            name=row["name"],
            path=inside(self._ledger.root, row["file"]),
            sha256=row["sha256"],
            parent=row["parent"],
            licence=row["licence"],
            scores=json.loads(row["scores"]),
            created_at=row["created_at"],
        )

    def add(self, path: Path, *, parent: str | None, scores: Mapping[str, float], licence: str) -> ModelRecord:
        """Enter a model file; one from elsewhere is copied into `models/` first."""
        self._ledger.require_writer()
        if not path.is_file():
            raise ProjectError(f"the model {path} was not found: save the model before adding it to the project.")
        folder = inside(self._ledger.root, "models")
        if path.resolve().parent != folder:
            path = _copy_into(folder, path)
        with disk_errors(folder):
            fsync_directory(folder)
        digest = sha256_of_file(path)
        values = (path.stem, f"models/{path.name}", digest, parent, licence, json.dumps(dict(scores)), now())
        with self._ledger.transaction() as connection:
            cursor = connection.execute(
                "INSERT INTO models (name, file, sha256, parent, licence, scores, created_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                values,
            )
        return self.get(int(cursor.lastrowid or 0))

    def new_path(self) -> Path:
        """Return where the next model of the project may be written."""
        self._ledger.require_writer()
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", self._ledger.root.stem).strip("-") or "project"
        return free_name(inside(self._ledger.root, "models"), f"{stem}-model", ".safetensors")

    def get(self, model_id: int) -> ModelRecord:
        """Return one model; `ProjectError` when there is none of that id."""
        row = self._ledger.row("SELECT * FROM models WHERE id = ?", (model_id,))
        if row is None:
            raise ProjectError(f"the project {self._ledger.root} has no model {model_id}: choose one of its own.")
        return self._record(row)

    def all(self) -> list[ModelRecord]:
        """Return all models, oldest first."""
        return [self._record(row) for row in self._ledger.rows("SELECT * FROM models ORDER BY id")]

    def serve(self, model_id: int | None) -> None:
        """Serve a model from now on; None goes back to the one that was installed."""
        if model_id is not None:
            self.get(model_id)
        with self._ledger.transaction() as connection:
            connection.execute("INSERT INTO servings (model_id, served_at) VALUES (?, ?)", (model_id, now()))

    def served(self) -> ModelRecord | None:
        """Return the model that was served last; None is the installed one."""
        row = self._ledger.row("SELECT model_id FROM servings ORDER BY id DESC LIMIT 1")
        return None if row is None or row["model_id"] is None else self.get(row["model_id"])


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
    with disk_errors(target):
        descriptor, name = tempfile.mkstemp(prefix=TEMPORARY, dir=folder)
        try:
            with os.fdopen(descriptor, "wb") as copy, path.open("rb") as source:
                shutil.copyfileobj(source, copy, 1 << 20)
                copy.flush()
                os.fsync(copy.fileno())
            os.replace(name, target)
        except BaseException:
            remove_quietly(Path(name))
            raise
    return target


class RunTable:
    """The ledger's fine-tuning runs."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def start(
        self, config: Mapping[str, Any], *, parent: str | None, train: Iterable[int], validate: Iterable[int]
    ) -> RunRecord:
        """Enter a run that starts now, with the ids of the corrections that it learns from and is scored on."""
        with self._ledger.transaction() as connection:
            cursor = connection.execute(
                "INSERT INTO runs (state, parent, config, result, started_at) VALUES ('running', ?, ?, '{}', ?)",
                (parent, json.dumps(dict(config)), now()),
            )
            run_id = int(cursor.lastrowid or 0)
            roles = [(run_id, c, "train") for c in train] + [(run_id, c, "validate") for c in validate]
            connection.executemany("INSERT INTO run_corrections VALUES (?, ?, ?)", roles)
        return self.get(run_id)

    def finish(
        self, run_id: int, state: RunState, *, result: Mapping[str, Any], message: str | None, model_id: int | None
    ) -> RunRecord:
        """Enter how a run ended."""
        self.get(run_id)
        with self._ledger.transaction() as connection:
            connection.execute(
                "UPDATE runs SET state = ?, result = ?, message = ?, model_id = ?, ended_at = ? WHERE id = ?",
                (state, json.dumps(dict(result)), message, model_id, now(), run_id),
            )
        return self.get(run_id)

    def get(self, run_id: int) -> RunRecord:
        """Return one run; `ProjectError` when there is none of that id."""
        found = [run for run in self.all() if run.id == run_id]
        if not found:
            raise ProjectError(f"the project {self._ledger.root} has no run {run_id}.")
        return found[0]

    def all(self) -> list[RunRecord]:
        """Return all runs, oldest first."""
        return [_run(row) for row in self._ledger.rows("SELECT * FROM runs ORDER BY id")]

    def corrections(self, run_id: int) -> dict[int, str]:
        """Return the corrections of a run by id, each "train" or "validate"."""
        rows = self._ledger.rows("SELECT * FROM run_corrections WHERE run_id = ? ORDER BY correction_id", (run_id,))
        return {row["correction_id"]: row["role"] for row in rows}


def _run(row: sqlite3.Row) -> RunRecord:
    values = {name: row[name] for name in RunRecord.__dataclass_fields__}
    values |= {"config": json.loads(row["config"]), "result": json.loads(row["result"])}
    return RunRecord(**values)
