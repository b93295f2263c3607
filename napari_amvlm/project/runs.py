"""The fine-tuning runs of a project: what each started from, saw, and gave."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from napari_amvlm.errors import ProjectError
from napari_amvlm.project.hold_out import SHARES_HELD_OUT
from napari_amvlm.project.ledger import Ledger, now
from napari_amvlm.project.records import ImageScore, RunRecord, RunState
from napari_amvlm.project.storage import inside, value_errors

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping
    from pathlib import Path


class RunTable:
    """The fine-tuning runs of a project: `project.runs`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def start(
        self,
        config: Mapping[str, Any],
        *,
        parent: str | None = None,
        train: Iterable[int] = (),
        validate: Iterable[int] = (),
        unlabelled: Iterable[int] = (),
    ) -> RunRecord:
        """Enter a run that starts now.

        Parameters
        ----------
        config
            The resolved `LearningConfig`, as JSON types.
        parent
            Hash of the model that it starts from.
        train, validate
            Ids of the corrections it learns from and is scored on.
        unlabelled
            Ids of the images that it sees without labels.

        Raises
        ------
        ProjectError
            A held-out image is among those to learn from.
        """
        with self._ledger.transaction() as connection:
            cursor = connection.execute(
                "INSERT INTO runs (state, parent, config, result, started_at) VALUES ('running', ?, ?, '{}', ?)",
                (parent, json.dumps(dict(config)), now()),
            )
            run_id = int(cursor.lastrowid or 0)
            roles = [(run_id, c, "train") for c in train] + [(run_id, c, "validate") for c in validate]
            connection.executemany("INSERT INTO run_corrections VALUES (?, ?, ?)", roles)
            seen = [(run_id, image_id) for image_id in unlabelled]
            connection.executemany("INSERT INTO run_unlabelled VALUES (?, ?)", seen)
            self._refuse_held_out(connection, run_id)
        return self.get(run_id)

    def finish(
        self,
        run_id: int,
        state: RunState = "finished",
        *,
        result: Mapping[str, Any] | None = None,
        message: str | None = None,
        model_id: int | None = None,
    ) -> RunRecord:
        """Enter how a run ended."""
        self.get(run_id)
        with self._ledger.transaction() as connection:
            connection.execute(
                "UPDATE runs SET state = ?, result = ?, message = ?, model_id = ?, ended_at = ? WHERE id = ?",
                (state, json.dumps(dict(result or {})), message, model_id, now(), run_id),
            )
        return self.get(run_id)

    def _refuse_held_out(self, connection: sqlite3.Connection, run_id: int) -> None:
        row = connection.execute(
            "SELECT name FROM images WHERE held_out = 1 AND id IN (SELECT image_id FROM corrections "
            "JOIN run_corrections ON correction_id = corrections.id WHERE run_id = :run AND role = 'train') "
            f"OR (held_out = 1 OR {SHARES_HELD_OUT}) "
            "AND id IN (SELECT image_id FROM run_unlabelled WHERE run_id = :run)",
            {"run": run_id},
        ).fetchone()
        if row is not None:
            raise ProjectError(
                f"{row['name']} scores models, at least a part of it, so a run cannot learn from it: leave it out."
            )

    def _record(self, row: sqlite3.Row) -> RunRecord:
        values = {name: row[name] for name in RunRecord.__dataclass_fields__}
        with value_errors(self._ledger.path, f"the configuration or the result of run {row['id']}"):
            values |= {name: dict(json.loads(row[name])) for name in ("config", "result")}
        return RunRecord(**values)

    def get(self, run_id: int) -> RunRecord:
        """Return one run; `ProjectError` when there is none of that id."""
        row = self._ledger.row("SELECT * FROM runs WHERE id = ?", (run_id,))
        if row is None:
            raise ProjectError(f"the project {self._ledger.root} has no run {run_id}.")
        return self._record(row)

    def all(self) -> list[RunRecord]:
        """Return all runs, oldest first."""
        return [self._record(row) for row in self._ledger.rows("SELECT * FROM runs ORDER BY id")]

    def student_path(self, run_id: int) -> Path:
        """Return where the student of a run lies, if it was kept; `ProjectError` when there is no such run."""
        return inside(self._ledger.root, f"runs/{self.get(run_id).id}-student.safetensors")

    def that_made(self, sha256: str) -> RunRecord | None:
        """Return the run whose model's file has this hash, None where no run of this project made it."""
        row = self._ledger.row(
            "SELECT runs.* FROM runs JOIN models ON models.id = model_id WHERE sha256 = ? ORDER BY runs.id DESC",
            (sha256,),
        )
        return None if row is None else self._record(row)

    def corrections(self, run_id: int) -> dict[int, str]:
        """Return the corrections of a run by id, each "train" or "validate"."""
        rows = self._ledger.rows("SELECT * FROM run_corrections WHERE run_id = ? ORDER BY correction_id", (run_id,))
        return {row["correction_id"]: row["role"] for row in rows}

    def unlabelled(self, run_id: int) -> list[int]:
        """Return the ids of the images that a run saw without labels."""
        rows = self._ledger.rows("SELECT image_id FROM run_unlabelled WHERE run_id = ? ORDER BY image_id", (run_id,))
        return [row["image_id"] for row in rows]

    def store_scores(self, run_id: int, scores: Iterable[ImageScore]) -> None:
        """Store the scores of a run, each in place of an earlier one of its image and prompt."""
        self.get(run_id)
        rows = [(run_id, s.image_id, s.prompt, s.correction_id, s.corrected, s.before, s.after) for s in scores]
        with self._ledger.transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO run_prompt_scores "
                "VALUES (?, ?, (SELECT id FROM prompts WHERE text = ?), ?, ?, ?, ?)",
                rows,
            )

    def scores(self, run_id: int) -> list[ImageScore]:
        """Return the scores of a run, the worst after it first; those without a score come last."""
        order = "ORDER BY after IS NULL, after, before IS NULL, before, image_id"
        rows = self._ledger.rows(
            "SELECT image_id, images.name, before, after, text AS prompt, correction_id, corrected "
            "FROM run_prompt_scores JOIN images ON images.id = image_id JOIN prompts ON prompts.id = prompt_id "
            f"WHERE run_id = ? {order}, prompt_id",
            (run_id,),
        )
        older = self._ledger.rows(
            "SELECT image_id, images.name, before, after FROM run_scores JOIN images ON images.id = image_id "
            f"WHERE run_id = ? {order}",
            (run_id,),
        )
        return [ImageScore(**{**dict(row), "corrected": bool(row["corrected"])}) for row in rows] or [
            ImageScore(**dict(row)) for row in older
        ]
