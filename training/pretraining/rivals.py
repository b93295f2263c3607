"""Step 1 by the objective of a rival, on our encoders, batches and steps; step 2 is ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from napari_amvlm.config import STRIDE
from napari_amvlm.losses import info_nce, same_meaning, soft_match
from training.methods import objectives
from training.pretraining.step_one import Alignment, StepOneConfig, as_sequence

if TYPE_CHECKING:
    from napari_amvlm.models.amvlm import AMVLM
    from napari_amvlm.models.image_encoder import VisionFeatures
    from napari_amvlm.models.text_encoder import SentenceEmbedding
    from training.pretraining.batches import Batch

_PROTOTYPES, _HIDDEN = 500, 0.5
_AS_OURS = {
    "clip": {"css": 0.0, "icl": 0.0, "ambiguity": "none"},
    "dusss": {"css": 0.0, "icl": 0.1, "ambiguity": "dusss"},
}
"""Objectives that are settings of our own."""


def make_alignment(model: AMVLM, config: StepOneConfig, *, seed: int) -> Alignment:
    """Return the losses of step 1 that the configuration names."""
    if config.objective in ("amvlm", *_AS_OURS):
        return Alignment(model, config.model_copy(update=_AS_OURS.get(config.objective, {})), seed=seed)
    return Rival(model, config, seed=seed)


class Rival(Alignment):
    """Losses of MedCLIP, MGCA, MAP, CMITM or ASG; what is optimised is called `ita`.

    Parameters
    ----------
    model, config, seed
        As those of `Alignment`.
    """

    def __init__(self, model: AMVLM, config: StepOneConfig, *, seed: int = 0) -> None:
        super().__init__(model, config, seed=seed)
        d, hidden, width = model.config.embedding, model.config.image_encoder.hidden, model.config.text_encoder.width
        own: dict[str, nn.Module] = {}
        with torch.random.fork_rng():
            torch.manual_seed(seed + 1)
            if config.objective == "mgca":
                own["prototypes"] = nn.Linear(d, _PROTOTYPES, bias=False)
            if config.objective == "map":
                own["scale"] = nn.ParameterList([nn.Parameter(torch.tensor(1 / config.temperature).log())])
            if config.objective == "cmitm":
                own["pixels"] = nn.Linear(hidden + d, STRIDE * STRIDE * 3)
                own["words"] = nn.Linear(d, width)
        # Among the heads, which are optimised and saved.
        self.heads.add_module("rival", nn.ModuleDict(own))

    def losses(self, model: AMVLM, seen: VisionFeatures, batch: Batch, chance: torch.Generator) -> dict[str, Tensor]:
        """Return the objective as `ita`."""
        text = model.text_encoder.words(batch.captions)
        v_cls, t_cls = model.image_projection(seen.cls), model.text_projection(text.sentence)
        same, tau = same_meaning(batch.meanings, v_cls.device), self.config.temperature
        if self.config.objective == "medclip":
            meaning = text.sentence @ text.sentence.T
            return {"ita": objectives.soft_target_loss(v_cls @ t_cls.T, meaning, temperature=tau)}
        if self.config.objective == "map":
            distance, _ = self._class_distance(v_cls, t_cls)
            return {"ita": objectives.distance_contrast(distance, self._own("scale")[0].exp(), same)}  # type: ignore[index]
        loss = info_nce(v_cls, t_cls, temperature=tau, same=same)
        if self.config.objective == "mgca":
            return {"ita": loss + self._tokens(seen, text, v_cls, t_cls)}
        if self.config.objective == "cmitm":
            return {"ita": loss + self._hidden(model, batch, text, chance)}
        return {"ita": loss + self._regions(model, seen, batch)}

    def _tokens(self, seen: VisionFeatures, text: SentenceEmbedding, v_cls: Tensor, t_cls: Tensor) -> Tensor:
        patches, words = self.heads.patches(as_sequence(seen.tokens)), self.heads.words(text.words)
        matched = self._matched(patches, words, text.padding)
        losses = []
        sides = ((patches, matched[0], v_cls, None), (words, matched[1], t_cls, text.padding))
        for tokens, match, cls, padding in sides:
            close = (tokens @ cls[:, :, None])[..., 0].float()
            weight = close.masked_fill(padding, -1e4).softmax(1) if padding is not None else close.softmax(1)
            unit = nn.functional.normalize(match, dim=-1)
            losses.append(objectives.weighted_token_loss(tokens, unit, weight.detach(), padding))
        prototypes = nn.functional.normalize(self._own("prototypes").weight, dim=1)  # type: ignore[arg-type]
        return torch.stack(losses).mean() + objectives.prototype_loss(v_cls @ prototypes.T, t_cls @ prototypes.T)

    def _hidden(self, model: AMVLM, batch: Batch, text: SentenceEmbedding, chance: torch.Generator) -> Tensor:
        device = text.words.device
        images = batch.images.to(device)
        b, _, h, w = images.shape
        grid = (h // STRIDE, w // STRIDE)
        covered = (torch.rand(b, *grid, generator=chance) < _HIDDEN).to(device)
        large = covered[:, None].repeat_interleave(STRIDE, 2).repeat_interleave(STRIDE, 3)
        seen = model.see(images.masked_fill(large, 0.5), batch.whole.to(device))
        tokens = as_sequence(seen.tokens)
        patches, words = self.heads.patches(tokens), self.heads.words(text.words)
        to_words, to_patches = self.heads.attention(patches, words)
        matched_text = soft_match(to_words.query, to_words.key, to_words.value, text.padding)
        blocks = images.unfold(2, STRIDE, STRIDE).unfold(3, STRIDE, STRIDE).permute(0, 2, 3, 1, 4, 5)
        wanted = blocks.reshape(b, grid[0] * grid[1], -1)
        drawn = self._own("pixels")(torch.cat([tokens, matched_text.to(tokens.dtype)], dim=-1))
        image = objectives.hidden_loss(drawn, wanted, covered.flatten(1))
        unseen = (torch.rand(text.padding.shape, generator=chance) < _HIDDEN).to(device) & ~text.padding
        left = to_patches.query.masked_fill(unseen[..., None], 0)
        hidden = self._own("words")(soft_match(left, to_patches.key, to_patches.value))
        return image + objectives.hidden_loss(hidden, text.words, unseen)

    def _regions(self, model: AMVLM, seen: VisionFeatures, batch: Batch) -> Tensor:
        patches = self.heads.patches(as_sequence(seen.tokens)).transpose(1, 2).unflatten(2, seen.tokens.shape[-2:])
        named = [(i, n, r) for i, caption in enumerate(batch.captions) for n, r in objectives.named_regions(caption)]
        self.observed = {"regions": float(len(named))}
        names = [name for _, name, _ in named]
        if len(set(names)) < 2:
            return torch.zeros((), device=patches.device)
        regions = torch.stack([objectives.pooled_region(patches[i], region) for i, _, region in named])
        phrases = model.text_projection(model.text_encoder.words(names).sentence)
        return objectives.region_loss(regions, phrases.float(), names, temperature=self.config.temperature)

    def _own(self, name: str) -> nn.Module:
        return self.heads.get_submodule(f"rival.{name}")
