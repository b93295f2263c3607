"""Data sets of the experiments: what they are, how they are split, and what is asked of their images."""

from training.datasets.opening import DatasetSplit, open_dataset
from training.datasets.registry import DATASETS, DatasetSpec, dataset_called
from training.datasets.splits import SplitConfig

__all__ = ["DATASETS", "DatasetSpec", "DatasetSplit", "SplitConfig", "dataset_called", "open_dataset"]
