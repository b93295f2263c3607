"""The images of the sample data as sets that teach words."""

from pathlib import Path

import pytest

from training.datasets.word_sets import SetSpec
from training.words.corpus import load_set

SAMPLES = Path(__file__).parents[3] / "sample_data"
SPECS = (
    SetSpec(name="lungs", kind="whole", modality="chest X-ray", paired=("lungs",)),
    SetSpec(name="spine", kind="whole", modality="lumbar spine MRI", subject="^(.+?)_t2"),
    SetSpec(name="nuclei", kind="tiles", modality="H&E histology", prompts=("nuclei",)),
)


@pytest.fixture(scope="session")
def samples():
    """Return the real images that come along: four chests, three slices of one spine, and twelve pieces of tissue."""
    return [image for spec in SPECS for image in load_set(spec, SAMPLES)]
