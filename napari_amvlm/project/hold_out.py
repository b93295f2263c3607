"""Which images score models: drawn once, by image, one in four of every prompt, and never learnt from.

Images that share pixels of a slide are drawn as one: see `OVERLAP`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

HOLD_OUT_EVERY = 4
"""Of this many images accepted for a prompt one is held out, to score models on."""

OVERLAP = """(
    a.id != b.id AND a.slide = b.slide
    AND a.slide_y < b.slide_y + b.height AND b.slide_y < a.slide_y + a.height
    AND a.slide_x < b.slide_x + b.width AND b.slide_x < a.slide_x + a.width
)"""
"""SQL: rows `a` and `b` of `images` were cut out of one slide and share pixels, or one is the slide itself."""

SHARES_HELD_OUT = (
    f"EXISTS (SELECT 1 FROM images AS a JOIN images AS b ON {OVERLAP} WHERE a.id = images.id AND b.held_out = 1)"
)
"""SQL: a row of `images` shares pixels of a slide with a held-out image."""

_DECIDED_BY_NEIGHBOURS = f"""
SELECT MAX(b.held_out) FROM images AS a JOIN images AS b ON {OVERLAP} WHERE a.id = ? AND b.held_out IS NOT NULL
"""

_NOT_UNDONE = "id NOT IN (SELECT correction_id FROM decisions WHERE undone = 1 AND correction_id IS NOT NULL)"

_LACKING = f"""
SELECT COUNT(*) / :every > COALESCE(SUM(held_out = 1), 0) FROM images
WHERE id IN (SELECT image_id FROM corrections WHERE prompt_id = :prompt AND {_NOT_UNDONE})
"""

_NEVER_TRAINED = """
NOT EXISTS (
    SELECT 1 FROM corrections JOIN run_corrections ON correction_id = corrections.id
    WHERE image_id = :image AND role = 'train'
)
"""

_ALONE = f"NOT EXISTS (SELECT 1 FROM images AS a JOIN images AS b ON {OVERLAP} WHERE a.id = :image AND b.held_out = 0)"


def enter_validation_draw(connection: sqlite3.Connection, image_id: int, prompt_id: int) -> None:
    """Decide what an image is for when a mask for a prompt was accepted on it.

    An image's first acceptance decides: it is held out where less than one in four of the images of this prompt are.
    When a further prompt is accepted on an image that is for learning, and that prompt lacks held-out images, the image
    is held out from now on, if no run has learnt from it. A person's decision stays.

    An image that shares pixels of a slide with images that were decided on before is what they are; where some of them
    are held out, it is held out. An image that a run has learnt from is never drawn.

    Parameters
    ----------
    connection
        Inside the transaction that entered the correction.
    """
    connection.execute(
        "UPDATE images SET accepted_index = (SELECT COALESCE(MAX(accepted_index) + 1, 0) FROM images) "
        "WHERE id = ? AND accepted_index IS NULL",
        (image_id,),
    )
    values = {"every": HOLD_OUT_EVERY, "image": image_id, "prompt": prompt_id}
    lacking = bool(connection.execute(_LACKING, values).fetchone()[0])
    neighbours = connection.execute(_DECIDED_BY_NEIGHBOURS, (image_id,)).fetchone()[0]
    drawn = int(lacking) if neighbours is None else int(neighbours)
    connection.execute(
        f"UPDATE images SET held_out = :drawn AND {_NEVER_TRAINED} WHERE id = :image AND held_out IS NULL",
        {"drawn": drawn, "image": image_id},
    )
    if lacking and _is_new_prompt(connection, image_id, prompt_id):
        connection.execute(
            "UPDATE images SET held_out = 1 WHERE id = :image AND held_out = 0 AND decided_by_person = 0 "
            f"AND {_NEVER_TRAINED} AND {_ALONE}",
            values,
        )


def take_back_draw(connection: sqlite3.Connection, image_id: int, held_out_before: int) -> None:
    """Undo a draw: the image is again what it was before, unless a person decided since, or a run has learnt from it.

    One that shares pixels of a slide with a held-out image stays held out.

    Parameters
    ----------
    connection
        Inside the transaction that undoes the decision.
    held_out_before
        -1 where nothing was decided about it, 0 where it was for learning.
    """
    connection.execute(
        "UPDATE images SET held_out = :before WHERE id = :image AND decided_by_person = 0 "
        f"AND {_NEVER_TRAINED} AND NOT {SHARES_HELD_OUT}",
        {"image": image_id, "before": None if held_out_before < 0 else held_out_before},
    )


def _is_new_prompt(connection: sqlite3.Connection, image_id: int, prompt_id: int) -> bool:
    count = connection.execute(
        f"SELECT COUNT(*) FROM corrections WHERE image_id = ? AND prompt_id = ? AND {_NOT_UNDONE}",
        (image_id, prompt_id),
    ).fetchone()[0]
    return int(count) == 1
