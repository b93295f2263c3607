"""What the ledger knows of each queue item: the scores of its tiles, and what it looks like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_amvlm.errors import InputError, ProjectError
from napari_amvlm.project.ledger import now
from napari_amvlm.project.prompts import clean_prompt, enter_prompt
from napari_amvlm.project.ranking import TileScores, heat_map, in_units, mix
from napari_amvlm.project.storage import value_errors

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from napari_amvlm.project.ledger import Ledger
    from napari_amvlm.project.records import QueueStatus

TO_DO: tuple[QueueStatus, ...] = ("new", "predicted", "in work")
"""What is still to be looked at by a person."""

_COMPARED = 512
"""So many of the queue items that are done, the latest of the list, are compared with those to do."""

Features = npt.NDArray[np.float64]


class QueueScores:
    """Scores and features of queue items; the base of `QueueTable`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def store_scores(self, item_id: int, prompt: str, scores: TileScores, *, model: str | None = None) -> None:
        """Store the tile scores of an item for one prompt, in place of older ones."""
        self._require(item_id)
        prompt = clean_prompt(prompt)
        blobs = (scores.tiles.tobytes(), scores.disagreement.tobytes(), scores.entropy.tobytes())
        whole = scores.summary()
        with self._ledger.transaction() as connection:
            prompt_id = enter_prompt(connection, prompt)
            connection.execute(
                "INSERT OR REPLACE INTO tile_scores VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (item_id, prompt_id, *blobs, *whole, model, now()),
            )

    def scores(self, item_id: int) -> dict[str, TileScores]:
        """Return the tile scores of an item for each prompt."""
        rows = self._ledger.rows(
            "SELECT tile_scores.*, prompts.text AS prompt FROM tile_scores JOIN prompts ON prompts.id = prompt_id "
            "WHERE item_id = ? ORDER BY prompt_id",
            (item_id,),
        )
        with value_errors(self._ledger.path, f"the tile scores of item {item_id}"):
            return {row["prompt"]: _tile_scores(row) for row in rows}

    def scored_by(self, item_id: int) -> dict[str, str | None]:
        """Return the model that the stored scores of an item came from, for each prompt."""
        rows = self._ledger.rows(
            "SELECT prompts.text AS prompt, model FROM tile_scores JOIN prompts ON prompts.id = prompt_id "
            "WHERE item_id = ?",
            (item_id,),
        )
        return {row["prompt"]: row["model"] for row in rows}

    def summaries(self, prompts: Sequence[str] | None = None) -> dict[int, dict[str, tuple[float, float]]]:
        """Return disagreement and entropy of each item as a whole, by prompt; see `TileScores.summary`.

        Parameters
        ----------
        prompts
            Prompts that count; None is all.
        """
        wanted = None if prompts is None else {clean_prompt(prompt) for prompt in prompts}
        rows = self._ledger.rows(
            "SELECT item_id, prompts.text AS prompt, disagreement_score, entropy_score FROM tile_scores "
            "JOIN prompts ON prompts.id = prompt_id ORDER BY item_id, prompt_id"
        )
        summaries: dict[int, dict[str, tuple[float, float]]] = {}
        for row in rows:
            if wanted is None or row["prompt"] in wanted:
                summaries.setdefault(row["item_id"], {})[row["prompt"]] = (
                    row["disagreement_score"],
                    row["entropy_score"],
                )
        return summaries

    def units(self, item_ids: Iterable[int] | None = None, prompts: Sequence[str] | None = None) -> tuple[float, float]:
        """Return the largest disagreement and entropy that an item has for a prompt: what counts as 1 in the order.

        Parameters
        ----------
        item_ids
            Items that count; None is those that are to do, or all once everything is done.
        prompts
            Prompts that count; None is all.
        """
        scores = self.summaries(prompts)
        ids = self._to_do() if item_ids is None else set(item_ids)
        counted = [scores[item_id] for item_id in ids if item_id in scores] or list(scores.values())
        pairs = [pair for each in counted for pair in each.values()]
        return max((d for d, _ in pairs), default=0.0), max((e for _, e in pairs), default=0.0)

    def heat(
        self, item_ids: Sequence[int], prompt: str, shape: tuple[int, int], entropy: npt.ArrayLike | None = None
    ) -> npt.NDArray[np.float32] | None:
        """Return what the order of the queue says of each pixel of an image, for one prompt.

        Parameters
        ----------
        item_ids
            The queue items of the image.
        entropy
            `shape`, in [0, 1]: the entropy of a probability at hand, pixel by pixel, instead of that of the tiles.

        Returns
        -------
        ndarray or None
            float32 `shape`, in [0, 1], where 1 is what the most instructive item has on average; None without scores.
        """
        of_items = [self.scores(item_id) for item_id in item_ids]
        scores = [each[prompt] for each in of_items if prompt in each]
        if not scores:
            return None
        units = self.units()
        tiles = np.concatenate([each.tiles for each in scores])
        if entropy is None:
            return heat_map(tiles, np.concatenate([each.mixed(units=units) for each in scores]), shape)
        disagreement = np.concatenate([in_units(each.disagreement, units[0]) for each in scores])
        return mix(heat_map(tiles, disagreement, shape), in_units(entropy, units[1]))

    def store_feature(self, item_id: int, feature: npt.ArrayLike, *, model: str | None = None) -> None:
        """Store a vector that says what the item looks like; vectors of one model are compared."""
        self._require(item_id)
        vector = np.ascontiguousarray(feature, dtype="<f4")
        if vector.ndim != 1 or not vector.size or not np.isfinite(vector).all():
            raise InputError(f"a feature must be a vector of finite numbers, but has the shape {vector.shape}.")
        with self._ledger.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO item_features VALUES (?, ?, ?)", (item_id, vector.tobytes(), model)
            )

    def feature(self, item_id: int) -> npt.NDArray[np.float32] | None:
        """Return the stored vector of an item, None where there is none."""
        row = self._ledger.row("SELECT feature FROM item_features WHERE item_id = ?", (item_id,))
        with value_errors(self._ledger.path, f"the feature of item {item_id}"):
            return None if row is None else np.frombuffer(row["feature"], dtype="<f4").astype(np.float32)

    def described_by(self, item_id: int) -> str | None:
        """Return the model that the stored vector of an item came from; None where there is none, or it is unknown."""
        row = self._ledger.row("SELECT model FROM item_features WHERE item_id = ?", (item_id,))
        return None if row is None else row["model"]

    def _mean_scores(self, item_ids: Sequence[int], prompts: Sequence[str] | None) -> dict[int, float]:
        """Return how much each item teaches, in [0, 1], the mean over its prompts; items without scores are left out.

        The units are those of all prompts together: a prompt about which the model is sure everywhere counts little.
        """
        units = self.units(item_ids, prompts)
        parts = [0.5 / unit if unit > 0 else 0.0 for unit in units]
        scores = self.summaries(prompts)
        return {
            item_id: sum(parts[0] * d + parts[1] * e for d, e in scores[item_id].values()) / len(scores[item_id])
            for item_id in item_ids
            if item_id in scores
        }

    def _to_do(self) -> set[int]:
        marks = ", ".join("?" * len(TO_DO))
        return {row["id"] for row in self._ledger.rows(f"SELECT id FROM queue_items WHERE status IN ({marks})", TO_DO)}

    def _require(self, item_id: int) -> None:
        if self._ledger.row("SELECT 1 FROM queue_items WHERE id = ?", (item_id,)) is None:
            raise ProjectError(f"the queue of {self._ledger.root} has no item {item_id}: choose one that it lists.")

    def _features(self, item_ids: Sequence[int], seen: Sequence[int]) -> tuple[Features | None, Features | None]:
        """Return the features `(N, D)` of items, None unless all have one by one model, and those of `seen` by it."""
        rows = self._ledger.rows("SELECT item_id, feature, model FROM item_features")
        stored = {row["item_id"]: row for row in rows}
        if not item_ids or any(item_id not in stored for item_id in item_ids):
            return None, None
        kinds = {_kind(stored[item_id]) for item_id in item_ids}
        if len(kinds) > 1:
            return None, None
        alike = [item_id for item_id in seen if item_id in stored and _kind(stored[item_id]) in kinds][-_COMPARED:]
        with value_errors(self._ledger.path, "the features of the queue"):
            features = np.stack([_vector(stored[item_id]) for item_id in item_ids])
            others = np.stack([_vector(stored[item_id]) for item_id in alike]) if alike else None
        if not np.isfinite(features).all() or (others is not None and not np.isfinite(others).all()):
            return None, None
        return features, others


def _kind(row: sqlite3.Row) -> tuple[str | None, int]:
    return row["model"], len(row["feature"])


def _vector(row: sqlite3.Row) -> Features:
    return np.frombuffer(row["feature"], dtype="<f4").astype(np.float64)


def _tile_scores(row: sqlite3.Row) -> TileScores:
    values: dict[str, Any] = {
        name: np.frombuffer(row[name], dtype="<f4").astype(np.float32) for name in ("disagreement", "entropy")
    }
    return TileScores(np.frombuffer(row["tiles"], dtype="<i4").reshape(-1, 4).astype(np.int32), **values)
