"""The encoders of a pretraining run with the heads of step 1, which released weights do not hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from napari_amvlm.errors import ModelFileError
from napari_amvlm.learning.module_state import below
from napari_amvlm.losses import ambiguity_ratio, pairwise_wasserstein, soft_match
from napari_amvlm.models.build import build_model
from training.pretraining.recipe import Recipe
from training.pretraining.run import learnt_parts, taught_config
from training.pretraining.step_one import Alignment, as_sequence
from training.runs.folder import STATE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from napari_amvlm.models.amvlm import AMVLM
    from napari_amvlm.models.text_encoder import TextEncoder


@dataclass(frozen=True)
class WordSpread:
    """How ambiguous PDT holds one wording to be for one image; means over its words.

    Attributes
    ----------
    ratio
        r = W2 / Ds of each word and its soft match in the image, at least 1.
    sigma
        Standard deviation of the words as Gaussians.
    """

    ratio: float
    sigma: float


@dataclass(frozen=True)
class Aligned:
    """A state of a pretraining run, in eval mode.

    Attributes
    ----------
    step, recipe
        How long it has learnt, and what it was told.
    model
        The learnt parameters, not their average: the heads were learnt with these.
    alignment
        Heads of step 1.
    """

    name: str
    step: int
    recipe: Recipe
    model: AMVLM
    alignment: Alignment

    @property
    def has_distributions(self) -> bool:
        """Whether PDT was learnt; otherwise its weights are what they were at the start."""
        step_one = self.recipe.step_one
        return step_one.ambiguity != "none" and step_one.css > 0 and self.recipe.step_one_weight > 0

    @torch.inference_mode()
    def image(self, pixels: Tensor, *, whole: bool) -> tuple[Tensor, Tensor]:
        """Return v_cls `(d,)` and the projected patches `(P, d)`, unit vectors, of one image.

        Parameters
        ----------
        pixels
            `(3, H, W)` in [0, 1], sides multiples of 16.
        whole
            Whether it is seen whole, not as a tile.
        """
        device = self.model.device
        seen = self.model.see(pixels[None].to(device), torch.tensor([whole], device=device))
        patches = self.alignment.heads.patches(as_sequence(seen.tokens))
        return self.model.image_projection(seen.cls)[0], patches[0]

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """Return t_cls of texts, unit vectors `(N, d)`."""
        return self.model.encode_text(texts).t_cls

    @torch.inference_mode()
    def spreads(self, patches: Tensor, texts: Sequence[str]) -> list[WordSpread]:
        """Return what PDT learnt of each text beside the patches `(P, d)` of an image.

        The words are matched with the patches by cross-attention, both become Gaussians, and each word is compared with
        its own match (Pan et al. 2025, step 1, CSS and PDT).
        """
        heads = self.alignment.heads
        read = self.model.text_encoder.words(texts)
        words = heads.words(read.words)
        to_patches = heads.attention.to_patches(words, patches[None].expand(len(texts), -1, -1))
        matches = heads.image_distribution(soft_match(*to_patches), read.padding)
        own = heads.text_distribution(words, read.padding)
        distances = pairwise_wasserstein(own.mu, own.sigma, matches.mu, matches.sigma)
        ratio = ambiguity_ratio(*distances).diagonal(dim1=1, dim2=2)
        said = ~read.padding
        return [
            WordSpread(float(r[kept].mean()), float(sigma[kept].mean()))
            for r, sigma, kept in zip(ratio, own.sigma, said, strict=True)
        ]


def load_aligned(run: Path, device: torch.device, *, text_encoder: TextEncoder | None = None) -> Aligned:
    """Load the state of a pretraining run, finished or not.

    Parameters
    ----------
    run
        The run's folder, or its `state.safetensors`.
    text_encoder
        A loaded text encoder to share; None loads the configured one. A trainable one is copied.

    Raises
    ------
    ModelFileError
        There is no state, or it is damaged.
    """
    path = run / STATE if run.is_dir() else run
    if not path.is_file():
        raise ModelFileError(
            f"{run} holds no {STATE}; give the folder of a pretraining run: weights lack the heads of step 1."
        )
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        recipe, step = Recipe.model_validate_json(metadata["recipe"]), int(metadata["step"])
        tensors = load_file(path)
        if text_encoder is not None and recipe.model.text_encoder.trainable:
            text_encoder = text_encoder.copied()
        model = build_model(taught_config(recipe), text_encoder=text_encoder)
        learnt_parts(model).load_state_dict(below(tensors, "model."))
        alignment = Alignment(model, recipe.step_one, seed=recipe.seed)
        alignment.load_state_dict(below(tensors, "alignment."))
    except (OSError, SafetensorError, KeyError, ValidationError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise ModelFileError(f"{path} is no state of a pretraining run ({first}); give another folder.") from error
    name = run.name if run.is_dir() else run.parent.name
    return Aligned(name, step, recipe, model.to(device).eval(), alignment.to(device).eval())
