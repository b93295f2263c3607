"""Each Accept and Reject in order, so that it can be undone and redone; all inside the transactions of callers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_amvlm.errors import ProjectError
from napari_amvlm.project.hold_out import enter_validation_draw, take_back_draw
from napari_amvlm.project.ledger import Ledger, author, now

if TYPE_CHECKING:
    import sqlite3

    from napari_amvlm.project.records import CorrectionState

_OF_PROMPT = "FROM decisions WHERE image_id = :image AND prompt_id = :prompt"
_LAST = f"SELECT COALESCE(MAX(id), 0) {_OF_PROMPT} AND undone = 0"
# What was undone before a newer decision cannot be redone.
_REDOABLE = f"{_OF_PROMPT} AND undone = 1 AND id > ({_LAST})"


def replace_current(
    connection: sqlite3.Connection, image_id: int, prompt_id: int, state: CorrectionState, correction_id: int | None
) -> bool:
    """Give the current correction another state, and make `correction_id` the current one, if it is given.

    Returns
    -------
    bool
        Whether there was a current correction.
    """
    cursor = connection.execute(
        "UPDATE corrections SET state = ?, ended_at = ? WHERE state = 'current' AND image_id = ? AND prompt_id = ?",
        (state, now(), image_id, prompt_id),
    )
    connection.execute("UPDATE corrections SET state = 'current', ended_at = NULL WHERE id = ?", (correction_id,))
    return cursor.rowcount > 0


def enter_decision(connection: sqlite3.Connection, image_id: int, prompt_id: int, correction_id: int | None) -> None:
    """Enter an Accept of a correction, or a Reject (None), and draw what the image is for."""
    cursor = connection.execute(
        "INSERT INTO decisions (image_id, prompt_id, correction_id, decided_at, author) VALUES (?, ?, ?, ?, ?)",
        (image_id, prompt_id, correction_id, now(), author()),
    )
    if correction_id is not None:
        _draw(connection, int(cursor.lastrowid or 0), image_id, prompt_id)


def step_back(connection: sqlite3.Connection, image_id: int, prompt_id: int) -> int | None:
    """Undo the last decision; return the correction that is current then, None where there is none.

    Raises
    ------
    ProjectError
        There is no decision to undo.
    """
    rows = connection.execute(
        f"SELECT id, correction_id, held_out_before {_OF_PROMPT} AND undone = 0 ORDER BY id DESC LIMIT 2",
        {"image": image_id, "prompt": prompt_id},
    ).fetchall()
    if not rows:
        raise ProjectError("nothing was accepted or rejected here, so there is nothing to undo.")
    correction_id = rows[1]["correction_id"] if len(rows) > 1 else None
    connection.execute("UPDATE decisions SET undone = 1 WHERE id = ?", (rows[0]["id"],))
    replace_current(connection, image_id, prompt_id, "withdrawn", correction_id)
    if rows[0]["held_out_before"] is not None:
        take_back_draw(connection, image_id, rows[0]["held_out_before"])
    return None if correction_id is None else int(correction_id)


def step_forward(connection: sqlite3.Connection, image_id: int, prompt_id: int) -> int | None:
    """Redo the decision that was undone last; otherwise as `step_back`."""
    row = connection.execute(
        f"SELECT id, correction_id {_REDOABLE} ORDER BY id LIMIT 1", {"image": image_id, "prompt": prompt_id}
    ).fetchone()
    if row is None:
        raise ProjectError("nothing was undone here since the last Accept or Reject, so there is nothing to redo.")
    correction_id = row["correction_id"]
    connection.execute("UPDATE decisions SET undone = 0 WHERE id = ?", (row["id"],))
    state: CorrectionState = "withdrawn" if correction_id is None else "superseded"
    replace_current(connection, image_id, prompt_id, state, correction_id)
    if correction_id is None:
        return None
    _draw(connection, row["id"], image_id, prompt_id)
    return int(correction_id)


def count_steps(ledger: Ledger, image_id: int, prompt: str) -> tuple[int, int]:
    """Return how many decisions about a prompt on an image can be undone, and how many redone."""
    prompts = ledger.row("SELECT id FROM prompts WHERE text = ?", (prompt,))
    values = {"image": image_id, "prompt": None if prompts is None else prompts["id"]}
    done = ledger.rows(f"SELECT id {_OF_PROMPT} AND undone = 0", values)
    return len(done), len(ledger.rows(f"SELECT id {_REDOABLE}", values))


def _draw(connection: sqlite3.Connection, decision_id: int, image_id: int, prompt_id: int) -> None:
    """Draw what an image is for, and note in the decision what it was for before, where the draw changed that."""
    held_out = "SELECT COALESCE(held_out, -1) FROM images WHERE id = ?"
    before = connection.execute(held_out, (image_id,)).fetchone()[0]
    enter_validation_draw(connection, image_id, prompt_id)
    if connection.execute(held_out, (image_id,)).fetchone()[0] != before:
        connection.execute("UPDATE decisions SET held_out_before = ? WHERE id = ?", (before, decision_id))
