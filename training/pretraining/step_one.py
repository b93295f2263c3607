"""Step 1 of the method as losses of one batch: L_ITA, L_CSS with PDT, and L_ICL with a momentum encoder.

`Alignment` owns the parts that only pretraining needs and the momentum copies; `training.pretrain` calls it at each
step and adds its losses to those of the masks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from napari_amvlm.config import Config
from napari_amvlm.learning.ema import averaged
from napari_amvlm.losses import (
    ambiguity_ratio,
    ambiguity_weight,
    css_loss,
    dusss_weight,
    icl_loss,
    info_nce,
    pairwise_cosine,
    pairwise_wasserstein,
    same_meaning,
    similarity_nce,
    soft_match,
    spread_loss,
    supervised_similarity,
)
from napari_amvlm.losses.wasserstein import WeightForm  # noqa: TC001 - pydantic reads the annotations
from napari_amvlm.models.alignment import AlignmentHeads, MatchedTokens
from napari_amvlm.models.matching import SPREAD as START

if TYPE_CHECKING:
    from napari_amvlm.models.amvlm import AMVLM
    from napari_amvlm.models.image_encoder import VisionFeatures
    from training.pretraining.batches import Batch


Objective = Literal["amvlm", "clip", "medclip", "mgca", "dusss", "map", "cmitm", "asg"]
"""What step 1 minimises: our losses, or those of a rival (`training.methods.objectives`)."""


class StepOneConfig(Config):
    """Weights and options of step 1; a weight of 0 leaves a loss out."""

    objective: Objective = "amvlm"
    ita: float = Field(1.0, ge=0, le=10, description="weight of L_ITA")
    css: float = Field(0.5, ge=0, le=10, description="weight of L_CSS")
    icl: float = Field(0.1, ge=0, le=10, description="weight of L_ICL")
    temperature: float = Field(0.07, gt=0, le=1)
    ambiguity: WeightForm | Literal["dusss", "none"] = Field(
        "none", description="form of w(r); dusss: DuSSS's own, on class tokens in L_ITA; none: plain cosine, no PDT"
    )
    most_ambiguous: float = Field(0.0, ge=0, description="bound of r, above 1; 0: none, and r saturates in training")
    spread: float = Field(0.0, ge=0, le=10, description="weight that holds log sigma near its start; 0: left free")
    decay: float = Field(1.0, ge=0, le=10, description="lambda of the exponential form")
    patches: int = Field(64, ge=2, description="patches of an image that take part in L_CSS at a step, by chance")
    momentum: float = Field(0.995, ge=0, lt=1, description="EMA decay of the encoder that sees the augmented views")

    @property
    def acts(self) -> bool:
        """Whether there is a loss that changes the model."""
        return self.objective != "amvlm" or bool(self.ita or self.css or self.icl)


@dataclass(frozen=True)
class _Side:
    """One modality of a batch: class tokens and projected tokens, `(B, d)` and `(B, S, d)`; padding `(B, S)`."""

    cls: Tensor
    tokens: Tensor
    padding: Tensor | None = None


class Alignment(nn.Module):
    """Losses of step 1."""

    def __init__(self, model: AMVLM, config: StepOneConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.heads = AlignmentHeads(model.config)
        followed = _followed(model, self.heads)
        self.momentum = averaged(followed, config.momentum)
        self.momentum.requires_grad_(requires_grad=False)
        self.observed: dict[str, float] = {}
        """Means of r, w and sigma in the last batch, padding left out: what PDT does."""

    def begin_at(self, model: AMVLM) -> None:
        """Let the momentum encoder be what `model` is, after its weights were replaced."""
        self.momentum.module.load_state_dict(_followed(model, self.heads).state_dict())

    def follow(self, model: AMVLM) -> None:
        """Let the momentum encoder follow the encoders; call it after every optimiser step."""
        self.momentum.update_parameters(_followed(model, self.heads))

    def losses(self, model: AMVLM, seen: VisionFeatures, batch: Batch, chance: torch.Generator) -> dict[str, Tensor]:
        """Return `ita`, `css`, `spread` and `icl`, each a scalar and not weighted; those of weight 0 are left out.

        Parameters
        ----------
        seen
            What the image encoder saw in the batch.
        batch
            Its captions, and the augmented views of images and captions.
        chance
            Picks the patches that take part in L_CSS.
        """
        config, device = self.config, seen.cls.device
        text = model.text_encoder.words(batch.captions)
        image = _Side(model.image_projection(seen.cls), self.heads.patches(as_sequence(seen.tokens)))
        words = _Side(model.text_projection(text.sentence), self.heads.words(text.words), text.padding)
        same = same_meaning(batch.meanings, device)
        losses: dict[str, Tensor] = {}
        self.observed = {}
        if config.ita:
            alike = self._alike(image.cls, words.cls) if config.ambiguity == "dusss" else None
            losses["ita"] = (
                info_nce(image.cls, words.cls, temperature=config.temperature, same=same)
                if alike is None
                else similarity_nce(alike, temperature=config.temperature, same=same)
            )
        if config.css:
            losses["css"], spread = self._css(image, words, chance)
            if config.spread and spread is not None:
                losses["spread"] = spread
        if config.icl:
            losses["icl"] = self._icl(model, image, words, batch, same)
        return losses

    def _alike(self, v_cls: Tensor, t_cls: Tensor) -> Tensor:
        """Similarity of class tokens under DuSSS's weight, `(B, B)`: s^ = 1 - (1 - s) w."""
        distance, sigma = self._class_distance(v_cls, t_cls)
        weight = dusss_weight(distance, torch.cdist(v_cls.float(), t_cls.float()))
        self.observed |= {"w ITA": float(weight.detach().mean()), "sigma": float(sigma.detach().mean())}
        return 1 - (1 - v_cls.float() @ t_cls.float().T) * weight

    def _class_distance(self, v_cls: Tensor, t_cls: Tensor) -> tuple[Tensor, Tensor]:
        """W2 of all pairs of class tokens as Gaussians, `(B, B)`, and sigma of the images."""
        a, b = self.heads.image_distribution(v_cls[:, None]), self.heads.text_distribution(t_cls[:, None])
        mu_a, sigma_a, mu_b, sigma_b = (x.transpose(0, 1) for x in (a.mu, a.sigma, b.mu, b.sigma))
        distance, _ = pairwise_wasserstein(mu_a, sigma_a, mu_b, sigma_b)
        return distance[0], a.sigma

    def _matched(self, patches: Tensor, words: Tensor, padding: Tensor | None) -> tuple[Tensor, Tensor]:
        """Words matched to each patch, and patches matched to each word, by cross-attention."""
        to_words, to_patches = self.heads.attention(patches, words)
        return soft_match(to_words.query, to_words.key, to_words.value, padding), soft_match(*to_patches)

    def _css(self, image: _Side, words: _Side, chance: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """L_CSS over some patches and all words of each pair, and what holds the spread of PDT."""
        config = self.config
        count = image.tokens.shape[1]
        some = torch.randperm(count, generator=chance)[: config.patches].to(image.tokens.device)
        patches = image.tokens[:, some]
        matched = self._matched(patches, words.tokens, words.padding)
        if config.ambiguity == "none" or config.ambiguity == "dusss":
            similar = pairwise_cosine(patches, matched[0]), pairwise_cosine(words.tokens, matched[1])
            return css_loss(*similar, words.padding, temperature=config.temperature), None
        pairs = self.heads.as_distributions(patches, words.tokens, words.padding, matched=matched)
        similar = (
            self._supervised("V2T", pairs[0], None, config.ambiguity),
            self._supervised("T2V", pairs[1], words.padding, config.ambiguity),
        )
        sides = ((pairs[0], None), (pairs[1], words.padding))
        spreads = [spread_loss(p.of_tokens.log_sigma, padding, centre=START) for p, padding in sides]
        loss = css_loss(*similar, words.padding, temperature=config.temperature)
        return loss, torch.stack(spreads).mean()

    def _supervised(self, way: str, pair: MatchedTokens, padding: Tensor | None, form: WeightForm) -> Tensor:
        """s^ of all pairs of tokens and matches, `(B, P, P)`; r, w and sigma are noted."""
        config = self.config
        a, b = pair.of_tokens, pair.of_matches
        distances = pairwise_wasserstein(a.mu, a.sigma, b.mu, b.sigma)
        ratio = ambiguity_ratio(*distances, most=config.most_ambiguous or math.inf)
        with torch.no_grad():
            weight = ambiguity_weight(ratio, form=form, decay=config.decay)
            seen = torch.ones(ratio.shape[:2], dtype=torch.bool, device=ratio.device) if padding is None else ~padding
            both = seen[:, :, None] & seen[:, None, :]
            self.observed |= {
                f"r {way}": float(ratio[both].mean()),
                f"w {way}": float(weight[both].mean()),
                f"sigma {way}": float(a.sigma[seen].mean()),
            }
        cosine = pairwise_cosine(pair.tokens, pair.matches)
        return supervised_similarity(cosine, ratio, form=form, decay=config.decay)

    def _icl(self, model: AMVLM, image: _Side, words: _Side, batch: Batch, same: Tensor) -> Tensor:
        """L_ICL: the mean of coarse and fine over both modalities, against the momentum copies' views."""
        image_a, words_a = self._augmented(model, batch, image.cls.device)
        of_images = icl_loss(image.cls, image_a.cls, image_a.tokens, temperature=self.config.temperature)
        of_texts = icl_loss(
            words.cls, words_a.cls, words_a.tokens, words_a.padding, temperature=self.config.temperature, same=same
        )
        return (of_images + of_texts) / 2

    @torch.no_grad()
    def _augmented(self, model: AMVLM, batch: Batch, device: torch.device) -> tuple[_Side, _Side]:
        parts: nn.ModuleDict = self.momentum.module  # type: ignore[assignment]
        images = batch.images_a.to(device).contiguous(memory_format=torch.channels_last)
        seen = parts["image_encoder"](images, batch.whole.to(device))
        encoder = model.text_encoder
        text = encoder(batch.captions_a, parts["bert"]) if "bert" in parts else encoder.words(batch.captions_a)
        return (
            _Side(parts["image_projection"](seen.cls), parts["patches"](as_sequence(seen.tokens))),
            _Side(parts["text_projection"](text.sentence), parts["words"](text.words), text.padding),
        )


def _followed(model: AMVLM, heads: AlignmentHeads) -> nn.ModuleDict:
    """Return the encoders and projection heads that have a momentum copy."""
    followed = nn.ModuleDict(
        {
            "image_encoder": model.image_encoder,
            "image_projection": model.image_projection,
            "text_projection": model.text_projection,
            "patches": heads.patches,
            "words": heads.words,
        }
    )
    if model.config.text_encoder.trainable:
        followed["bert"] = model.text_encoder.bert
    return followed


def as_sequence(tokens: Tensor) -> Tensor:
    """Map a token map `(B, D, h, w)` to a sequence `(B, hw, D)`."""
    return tokens.flatten(2).transpose(1, 2)
