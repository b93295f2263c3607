"""Choosing what to annotate first: one of each kind, and the same beginning for every count."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_amvlm.errors import InputError
from napari_amvlm.predictor import Predictor
from training.choose_images import choose, representative

if TYPE_CHECKING:
    from pathlib import Path

    from napari_amvlm.models.amvlm import AMVLM


def _kinds(sizes: tuple[int, ...]) -> np.ndarray:
    """Return vectors around as many axes as there are sizes."""
    chance = np.random.default_rng(0)
    rows = [
        np.eye(len(sizes))[kind] + 0.05 * chance.normal(size=len(sizes))
        for kind, n in enumerate(sizes)
        for _ in range(n)
    ]
    return np.stack(rows)


def test_each_kind_is_chosen_before_any_is_chosen_twice_and_the_largest_first() -> None:
    kinds = np.repeat([0, 1, 2], [3, 8, 5])

    chosen = representative(_kinds((3, 8, 5)), range(16), 3)

    assert list(kinds[chosen]) == [1, 2, 0]


def test_a_smaller_choice_begins_a_larger_one_and_only_candidates_are_chosen() -> None:
    features = _kinds((4, 6, 5))

    chosen = representative(features, range(0, 15, 2), 6)

    assert representative(features, range(0, 15, 2), 3) == chosen[:3]
    assert len(set(chosen)) == 6
    assert set(chosen) <= set(range(0, 15, 2))


def test_lengths_of_the_vectors_do_not_matter() -> None:
    features = _kinds((4, 6, 5))

    stretched = features * np.linspace(0.1, 9, 15)[:, None]

    assert representative(stretched, range(15), 4) == representative(features, range(15), 4)


@pytest.mark.parametrize("count", [0, 4])
def test_a_count_that_cannot_be_met_is_refused(count: int) -> None:
    with pytest.raises(InputError, match=f"{count} images are wanted, but there are 3"):
        representative(_kinds((3,)), range(3), count)


def test_images_without_an_embedding_are_refused() -> None:
    with pytest.raises(InputError, match="no embedding"):
        representative(np.array([[1.0, 0.0], [0.0, 0.0]]), range(2), 1)


def test_names_of_training_images_come_out(discs_data: Path, tiny_model: AMVLM) -> None:
    chosen = choose(discs_data, "MoNuSeg", 2, Predictor(tiny_model, device="cpu"))

    assert len(set(chosen)) == 2
    assert set(chosen) <= {path.stem for path in (discs_data / "MoNuSeg" / "Train_Folder" / "img").iterdir()}
