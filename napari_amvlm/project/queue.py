"""The queue of work: images and regions of images, what became of each, and what teaches most."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_amvlm.errors import InputError, ProjectError
from napari_amvlm.project.queue_scores import TO_DO, QueueScores
from napari_amvlm.project.ranking import rank
from napari_amvlm.project.records import QueueItem, QueueStatus, Region

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

STATUSES: tuple[QueueStatus, ...] = ("new", "predicted", "in work", "accepted", "skipped")
_SPREAD = 256
"""So many items are chosen with an eye to diversity: nobody does more before the queue is sorted anew."""

_SELECT = "SELECT queue_items.*, images.name, images.held_out FROM queue_items JOIN images ON images.id = image_id"
# An image that is worked through in regions is not listed as a whole.
_LISTED = "(y IS NOT NULL OR image_id NOT IN (SELECT image_id FROM queue_items WHERE y IS NOT NULL))"
_ORDER = "ORDER BY position IS NULL, position, queue_items.id"


class QueueTable(QueueScores):
    """The ledger's queue. Every image of the project is in it from the start."""

    def items(
        self,
        statuses: Iterable[QueueStatus] | None = None,
        *,
        image_id: int | None = None,
    ) -> list[QueueItem]:
        """Return the items in the order that was stored last, later ones at the end.

        Parameters
        ----------
        statuses
            Only items of these; None is all.
        image_id
            Only items of this image.
        """
        conditions: list[str] = [_LISTED]
        values: list[Any] = []
        if statuses is not None:
            values.extend(statuses)
            conditions.append(f"status IN ({', '.join('?' * len(values))})")
        if image_id is not None:
            conditions.append("image_id = ?")
            values.append(image_id)
        rows = self._ledger.rows(f"{_SELECT} WHERE {' AND '.join(conditions)} {_ORDER}", values)
        return [_item(row) for row in rows]

    def get(self, item_id: int) -> QueueItem:
        """Return one item; `ProjectError` when there is none of that id."""
        self._require(item_id)
        return _item(self._ledger.rows(f"{_SELECT} WHERE queue_items.id = ?", (item_id,))[0])

    def counts(self) -> dict[QueueStatus, int]:
        """Return how many listed items have each status."""
        rows = self._ledger.rows(f"SELECT status, COUNT(*) AS n FROM queue_items WHERE {_LISTED} GROUP BY status")
        counts = {row["status"]: int(row["n"]) for row in rows}
        return {status: counts.get(status, 0) for status in STATUSES}

    def add_regions(self, image_id: int, regions: Iterable[Region]) -> list[QueueItem]:
        """Work through an image in regions instead of as a whole; those that are there already stay as they are.

        Raises
        ------
        InputError
            A region is not inside the image.
        """
        row = self._ledger.row("SELECT name, height, width FROM images WHERE id = ?", (image_id,))
        if row is None:
            raise ProjectError(f"the project {self._ledger.root} has no image {image_id}: add the image first.")
        wanted = list(regions)
        for region in wanted:
            if min(region.y, region.x) < 0 or min(region.height, region.width) < 1:
                raise InputError(f"{region} is no rectangle inside {row['name']}: choose one with a positive size.")
            if region.y + region.height > row["height"] or region.x + region.width > row["width"]:
                size = f"{row['height']}x{row['width']}"
                raise InputError(f"{region} reaches out of {row['name']} of {size} pixels: make it smaller.")
        with self._ledger.transaction() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO queue_items (image_id, y, x, height, width) VALUES (?, ?, ?, ?, ?)",
                [(image_id, r.y, r.x, r.height, r.width) for r in wanted],
            )
        return [item for item in self.items(image_id=image_id) if item.region is not None]

    def set_status(self, item_id: int, status: QueueStatus) -> QueueItem:
        """Say what became of an item."""
        if status not in STATUSES:
            raise InputError(f"the status {status!r} is unknown: choose one of {', '.join(STATUSES)}.")
        self.get(item_id)
        with self._ledger.transaction() as connection:
            connection.execute("UPDATE queue_items SET status = ? WHERE id = ?", (status, item_id))
        return self.get(item_id)

    def note_predicted(self, item_id: int) -> None:
        """Call a new item predicted; one that a person has begun keeps its status."""
        with self._ledger.transaction() as connection:
            connection.execute(
                "UPDATE queue_items SET status = 'predicted' WHERE id = ? AND status = 'new'", (item_id,)
            )

    def step(self, item_id: int | None, by: int, statuses: Iterable[QueueStatus] | None = None) -> QueueItem | None:
        """Return the item `by` places after (before, where negative) an item among those of some statuses.

        Parameters
        ----------
        item_id
            Where one is, whatever its status; None is before the first.
        by
            1 is the next, -1 the previous.
        statuses
            Statuses of the items to stop at; None is all.

        Returns
        -------
        QueueItem or None
            None at the end of the queue.
        """
        wanted = set(STATUSES if statuses is None else statuses)
        everything = self.items()
        here = -1
        if item_id is not None:
            self.get(item_id)
            here = next((index for index, item in enumerate(everything) if item.id == item_id), -1)
        ahead = everything[here + 1 :] if by > 0 else everything[: max(here, 0)][::-1]
        stops = [item for item in ahead if item.status in wanted]
        return stops[abs(by) - 1] if 0 < abs(by) <= len(stops) else None

    # What teaches most

    def sort(self, *, prompts: Sequence[str] | None = None, diversity: float = 0.5) -> list[QueueItem]:
        """Order the queue by what teaches most, store that order, and return it.

        Only what is still to do is ranked: by disagreement and entropy, each as a share of the largest one there is,
        and by how unlike it is to what is accepted and to what is ahead in the queue. Then come items without
        scores, and those that are accepted or skipped, both in the order they were added. Unlikeness counts where all
        ranked items have a feature of one model.

        Parameters
        ----------
        prompts
            Prompts whose scores count; None is all.
        diversity
            Weight of looking different from what is ahead in the queue, in [0, 1].
        """
        items = self.items()
        waiting = [item.id for item in items if item.status in TO_DO]
        scored = self._mean_scores(waiting, prompts)
        known = [item_id for item_id in waiting if item_id in scored]
        features, seen = self._features(known, [item.id for item in items if item.status == "accepted"])
        values = np.array([scored[item_id] for item_id in known], dtype=np.float64)
        order = rank(values, features, diversity=diversity, count=_SPREAD, seen=seen)
        unscored = sorted(item_id for item_id in waiting if item_id not in scored)
        done = sorted(item.id for item in items if item.status not in TO_DO)
        ids = [*(known[index] for index in order), *unscored, *done]
        with self._ledger.transaction() as connection:
            connection.execute("UPDATE queue_items SET position = NULL WHERE position IS NOT NULL")
            connection.executemany("UPDATE queue_items SET position = ? WHERE id = ?", enumerate(ids))
        return self.items()


def mark_reviewed(connection: sqlite3.Connection, image_id: int, reviewed: npt.NDArray[np.bool_] | None) -> None:
    """Note in the queue, inside a transaction, what was accepted: `reviewed` pixels, None is all of the image."""
    updates: list[tuple[str, int]] = []
    rows = connection.execute("SELECT id, y, x, height, width FROM queue_items WHERE image_id = ?", (image_id,))
    for row in rows.fetchall():
        region = _region(row)
        pixels = (slice(None), slice(None)) if region is None else region.slices
        if reviewed is None or reviewed[pixels].all():
            updates.append(("accepted", row["id"]))
        elif reviewed[pixels].any():
            updates.append(("in work", row["id"]))
    for status, item_id in updates:
        # What is accepted for one prompt stays so while another prompt is worked on.
        unless = "" if status == "accepted" else " AND status != 'accepted'"
        connection.execute(f"UPDATE queue_items SET status = ? WHERE id = ?{unless}", (status, item_id))


def mark_unreviewed(connection: sqlite3.Connection, image_id: int) -> None:
    """Note in the queue, inside a transaction, that what was accepted on an image has to be marked anew."""
    connection.execute(
        "UPDATE queue_items SET status = 'in work' WHERE image_id = ? AND status = 'accepted'", (image_id,)
    )


def _region(row: sqlite3.Row) -> Region | None:
    """Return the rectangle of an item, None for a whole image; one that lacks a side is no rectangle."""
    sides = [row[name] for name in ("y", "x", "height", "width")]
    return None if None in sides else Region(*sides)


def _item(row: sqlite3.Row) -> QueueItem:
    return QueueItem(
        id=row["id"],
        image_id=row["image_id"],
        name=row["name"],
        region=_region(row),
        status=row["status"],
        position=row["position"],
        held_out=bool(row["held_out"]),
    )
