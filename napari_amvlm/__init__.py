"""Text-prompted segmentation that learns from corrections and from unlabelled images.

The names below are loaded at first use, so that `import napari_amvlm` costs next to nothing: neither torch nor Qt nor
transformers comes with it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_amvlm.config import LearningConfig
    from napari_amvlm.errors import AmvlmError
    from napari_amvlm.imaging import read_image
    from napari_amvlm.learning import LabelledImage, LearningData, UnlabelledImage, fine_tune
    from napari_amvlm.models.checkpoint import load_model, save_model
    from napari_amvlm.prediction import Prediction
    from napari_amvlm.predictor import Predictor
    from napari_amvlm.project import Project

__version__ = "0.5.0"

__all__ = [
    "AmvlmError",
    "LabelledImage",
    "LearningConfig",
    "LearningData",
    "Prediction",
    "Predictor",
    "Project",
    "UnlabelledImage",
    "__version__",
    "fine_tune",
    "load_model",
    "read_image",
    "save_model",
]

_HOMES = {
    "AmvlmError": "napari_amvlm.errors",
    "LabelledImage": "napari_amvlm.learning",
    "LearningConfig": "napari_amvlm.config",
    "LearningData": "napari_amvlm.learning",
    "Prediction": "napari_amvlm.prediction",
    "Predictor": "napari_amvlm.predictor",
    "Project": "napari_amvlm.project",
    "UnlabelledImage": "napari_amvlm.learning",
    "fine_tune": "napari_amvlm.learning",
    "load_model": "napari_amvlm.models.checkpoint",
    "read_image": "napari_amvlm.imaging",
    "save_model": "napari_amvlm.models.checkpoint",
}


def __getattr__(name: str) -> object:
    """Load the public name `name` from its module at first use (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
