"""Weights of a run as a predictor: this package's models, and the plain U-Net."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from safetensors import SafetensorError

from napari_amvlm.errors import InputError, ModelFileError
from napari_amvlm.models.checkpoint import load_model, save_model
from napari_amvlm.models.inference import mean_of_logits
from napari_amvlm.predictor import Predictor
from training.runs.folder import WEIGHTS
from training.runs.plain_unet import load_plain_unet
from training.runs.rivals import load_rival

if TYPE_CHECKING:
    from collections.abc import Hashable
    from pathlib import Path

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from napari_amvlm.config import ScaleName
    from napari_amvlm.evaluation import PromptPredictor
    from napari_amvlm.imaging.turning import Views
    from napari_amvlm.models.amvlm import AMVLM
    from napari_amvlm.models.text_encoder import TextEncoder


def load_predictor(
    path: Path, device: torch.device, text_encoder: TextEncoder | None = None, *, views: Views = 1
) -> PromptPredictor:
    """Return what scores the weights in a file or a run's folder.

    Parameters
    ----------
    path
        A weights file, or the folder of a run.
    text_encoder
        A loaded sentence encoder to share.
    views
        As of `Predictor`.

    Raises
    ------
    InputError
        Several views are asked of a plain U-Net or a rival, which have one.
    ModelFileError
        There are no such weights, or they are damaged.
    """
    file = path / WEIGHTS if path.is_dir() else path
    if not file.is_file():
        raise ModelFileError(f"There are no weights {file}; give a .safetensors file or the folder of a run.")
    try:
        plain = load_plain_unet(file, device) or load_rival(file, device, text_encoder)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise ModelFileError(f"{file} is damaged ({error}); fetch it or run again.") from error
    if plain is not None and views != 1:
        raise InputError(f"{file} is a plain U-Net or a rival, which looks at an image in one view; leave --views out.")
    if plain is not None:
        return plain
    model, info = load_model(file, device=device, text_encoder=text_encoder)
    return Predictor(model, device=str(device), info=info, views=views)


def save_as(model: AMVLM, path: Path, told: Any, **more: Any) -> None:
    """Write a model that says of itself what `told` says, a recipe or the `ModelInfo` of other weights.

    Parameters
    ----------
    more
        Further arguments of `save_model`, or others than those of `told`.
    """
    names = ("name", "version", "licence", "training_data", "parent", "parent_title")
    save_model(model, path, **{name: getattr(told, name) for name in names if hasattr(told, name)} | more)


@dataclass(frozen=True)
class _Answer:
    probability: NDArray[np.float32]


class AveragedPredictor:
    """Two predictors that answer together: the weighted mean of their logits.

    Parameters
    ----------
    share
        Of the second, 0 to 1.
    """

    def __init__(self, first: PromptPredictor, second: PromptPredictor, share: float) -> None:
        self._both, self._shares = (first, second), (1 - share, share)

    def set_image(self, image: NDArray[Any], *, key: Hashable | None = None) -> None:
        """Take the image that the next prompts are about."""
        for one in self._both:
            one.set_image(image, key=key)

    def predict(
        self, prompt: str, *, scale: Literal["auto"] | ScaleName = "auto", magnification: float = 1.0
    ) -> _Answer:
        """Segment what `prompt` names."""
        answers = [one.predict(prompt, scale=scale, magnification=magnification).probability for one in self._both]
        return _Answer(mean_of_logits(answers, self._shares))
