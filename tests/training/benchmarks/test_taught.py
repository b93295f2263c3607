"""The shipped models call words that nobody taught them not taught."""

import pytest

from napari_amvlm.models.catalog import find_model
from napari_amvlm.models.model_info import read_info
from training.benchmarks.taught import UNKNOWN, measured


@pytest.mark.parametrize("name", ["amvlm-open", "amvlm-research"])
def test_unknown_words_are_called_not_taught(name):
    found = measured(read_info(find_model(name)).config)

    assert len(UNKNOWN) == len(set(UNKNOWN)) >= 100
    for half in ("tuning", "held out"):
        assert found[half]["words"] >= 45
        assert found[half]["not taught"] >= 0.95 * found[half]["words"], found[half]["called taught"]
    assert found["said otherwise"]["understood"] >= 0.9 * found["said otherwise"]["prompts"]
