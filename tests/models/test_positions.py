"""Prompts that say where their thing is."""

from __future__ import annotations

import pytest

from napari_amvlm.models.positions import names_position


@pytest.mark.parametrize(
    "prompt", ["left lung", "Nuclei in the UPPER-right corner", "right-sided effusion", "the lower lobe"]
)
def test_places_are_found(prompt: str) -> None:
    assert names_position(prompt)


@pytest.mark.parametrize("prompt", ["nuclei", "bright nuclei", "a copyright sign", "cleft", "stopped"])
def test_other_words_are_none(prompt: str) -> None:
    assert not names_position(prompt)
