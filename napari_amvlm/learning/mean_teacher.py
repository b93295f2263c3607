"""Student and teacher: one optimiser step of text-guided Mean Teacher (Pan et al. 2025, step 2)."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from napari_amvlm.device import autocast
from napari_amvlm.learning.ema import averaged
from napari_amvlm.learning.module_state import below, optimiser_tensors, restore_optimiser
from napari_amvlm.losses import info_nce, same_meaning, segmentation_loss
from napari_amvlm.models.amvlm import AmvlmOutput, ImageFeatures, TextFeatures, decode_pairs
from napari_amvlm.models.taught import taught

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_amvlm.config import LearningConfig
    from napari_amvlm.learning.mixing import Mixture
    from napari_amvlm.models.amvlm import AMVLM
    from napari_amvlm.models.image_encoder import VisionFeatures

LEARNT = ("unet", "text_mask", "presence")
"""Parts that fine-tuning changes; encoders and projection heads stay frozen."""

_AS_IMAGES = 2
"""The start model counts in pseudo-labels as so many labelled images."""

_LEAST_WEIGHT = 0.1
"""People's answers weigh no less than this beside pseudo-labels, however many unlabelled images there are."""

_MOSTLY = 0.7
"""Reviewed share of a crop from which absence counts; views of whole images lose some at the border."""


@dataclass(frozen=True)
class Views:
    """Crops for one step; all of one working scale.

    Attributes
    ----------
    weak, strong
        The teacher's and the student's view of the same B crops, `(B, 3, H, W)` in [0, 1].
    whole
        Bool `(B,)`.
    prompts
        The prompt asked of each crop.
    meanings
        What each prompt means: wordings of one concept have the same.
    target
        Masks of the crops, `(B, 1, H, W)`; anything where `known` is 0.
    known
        1 where the target is a person's answer, else 0, `(B, 1, H, W)`.
    mixture
        How the student's crops are put together; None shows it each as it is. The teacher's never are.
    """

    weak: Tensor
    strong: Tensor
    whole: Tensor
    prompts: list[str]
    meanings: list[str]
    target: Tensor
    known: Tensor
    mixture: Mixture | None = None

    def mixed(self) -> Views:
        """Return what the student sees and answers for."""
        if self.mixture is None:
            return self
        strong, target, known = (self.mixture(x) for x in (self.strong, self.target, self.known))
        return replace(self, strong=strong, target=target, known=known, mixture=None)


@dataclass(frozen=True)
class StepLosses:
    """Losses of one step as plain numbers."""

    total: float
    supervised: float
    consistency: float


class MeanTeacher:
    """Owns student, teacher and optimiser.

    Parameters
    ----------
    model
        Where both start; it is not changed.
    config
        Weights, rates and decays.
    labelled, unlabelled
        How many images people answered for, and how many they did not. The fewer the former are, the more of what they
        teach is theirs alone. Hence, where the configuration leaves it open, the start counts in pseudo-labels as two
        labelled images, and beside pseudo-labels each labelled image counts as much as each other one, though it is
        drawn more often. Prompts that the start was never taught have people's answers in full, and no vote of its.
    """

    def __init__(self, model: AMVLM, config: LearningConfig, *, labelled: int = 1, unlabelled: int = 0) -> None:
        self._origin = model
        self._config = config
        share, weight = config.start_share, config.labelled_weight
        self._start_share = _AS_IMAGES / (_AS_IMAGES + labelled) if share is None else share
        even = max(_LEAST_WEIGHT, min(1.0, labelled / max(1, unlabelled)))
        self._weight_taught, self._weight_new = (even, 1.0) if weight is None else (weight, weight)
        self._taught: dict[str, bool] = {}
        self._start = nn.ModuleDict({name: getattr(model, name) for name in LEARNT})
        self.student = copy.deepcopy(self._start).train()
        self._decay = config.ema_decay
        self._teacher = averaged(self.student, lambda: self._decay, warm_up=config.ema_warmup)
        self._teacher.requires_grad_(requires_grad=False)
        self._settled: nn.ModuleDict | None = None
        fused = model.device.type in {"cpu", "cuda"}
        self.optimiser = torch.optim.AdamW(
            self.student.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=fused
        )

    @property
    def teacher(self) -> nn.ModuleDict:
        """The averaged parts: what is validated and kept."""
        return self._teacher.module  # type: ignore[return-value]

    @property
    def settled(self) -> bool:
        """Whether `settle` was called, or a state restored in which it had been."""
        return self._settled is not None

    def settle(self) -> None:
        """Remember the teacher as it is now: with the start it labels from here on what nobody labelled.

        A teacher that is taught by its own pseudo-labels drifts; the start model and a teacher of people's answers
        alone err differently, and do not move.
        """
        self._settled = copy.deepcopy(self.teacher).eval()

    def student_weights(self) -> dict[str, Tensor]:
        """Return a copy of the student's parts in half precision on the CPU, named as in a model."""
        state = self.student.state_dict()
        return {k: (v.half() if v.is_floating_point() else v.clone()).cpu().contiguous() for k, v in state.items()}

    def state(self) -> dict[str, Tensor]:
        """Return student, teacher with its count, what settled, and optimiser: the tensors in use, not copies."""
        settled = {} if self._settled is None else self._settled.state_dict()
        return {
            **{f"student.{k}": v for k, v in self.student.state_dict().items()},
            **{f"teacher.{k}": v for k, v in self._teacher.state_dict().items()},
            **{f"settled.{k}": v for k, v in settled.items()},
            **{f"optimiser.{k}": v for k, v in optimiser_tensors(self.optimiser).items()},
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` returned for the same model and configuration."""
        self.student.load_state_dict(below(state, "student."))
        self._teacher.load_state_dict(below(state, "teacher."))
        settled = below(state, "settled.")
        if settled:
            self.settle()
            self._settled.load_state_dict(settled)  # type: ignore[union-attr]
        restore_optimiser(self.optimiser, below(state, "optimiser."))

    def step(
        self,
        views: Views,
        *,
        learning_rate: float,
        consistency: float,
        decay: float | None = None,
        retained: list[str] | None = None,
    ) -> StepLosses:
        """Make one optimiser step.

        Parameters
        ----------
        views
            Labelled and unlabelled crops, in any mixture.
        learning_rate
            Of this step.
        consistency
            lambda(t); 0 leaves the teacher's pseudo-labels out.
        decay
            Of the teacher at this step; None is the configured one.
        retained
            Other prompts, one for each of the first crops, whose answers must stay as the original model gives them.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        self._decay = self._config.ema_decay if decay is None else decay
        asked = views.known.amin((1, 2, 3)) < 1
        use_teacher = consistency > 0 and bool(asked.any())
        pseudo = self._pseudo_label(views, asked) if use_teacher else None
        views = views.mixed()
        text = self._text(views.prompts)
        with autocast(self._origin.device):
            seen = self._see(views.strong, views.whole)
            features = _features(self.student, seen)
            out = _decode(self.student, features, text)
        labelled = views.known.amax((1, 2, 3)) > 0
        supervised = self._supervised(out, views, text, labelled)
        agreement = supervised.new_zeros(())
        if pseudo is not None:
            agreement = self._consistency(out.logits, pseudo, 1 - views.known)
        weight = 1.0 if pseudo is None else self._labelled_weight(views.prompts)
        loss = weight * supervised + consistency * agreement
        if retained:
            loss = loss + self._config.retention * self._retention(seen, features, retained)
        self.optimiser.zero_grad(set_to_none=True)
        if torch.isfinite(loss):
            loss.backward()
            nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
            self.optimiser.step()
            self._teacher.update_parameters(self.student)
        return StepLosses(float(loss.detach()), float(supervised.detach()), float(agreement.detach()))

    def _text(self, prompts: list[str]) -> TextFeatures:
        with torch.no_grad():
            return self._origin.encode_text(prompts)

    @torch.no_grad()
    def _see(self, images: Tensor, whole: Tensor) -> _Seen:
        """Run the frozen image encoder."""
        images = images.contiguous(memory_format=torch.channels_last)
        maps = self._origin.see(images, whole)
        return _Seen(images, whole, maps, self._origin.image_projection(maps.cls))

    @torch.no_grad()
    def _pseudo_label(self, views: Views, rows: Tensor) -> Tensor:
        """Return q for the crops that are asked, as the student sees them, `(B, 1, H, W)`; the others hold 0.5.

        q = sigmoid((1 - a) z_teacher + a (s z_start + (1 - s) z_settled) + beta z_text). z_start are the logits of the
        model that the run started from, z_settled those of the teacher when `settle` was called (until then the
        start's): what few labelled images taught wrongly, the start has not learnt, and where it is wrong, they help.
        Of a prompt that the start was never taught, s is 0.
        """
        config = self._config
        chosen = [p for p, wanted in zip(views.prompts, rows.tolist(), strict=True) if wanted]
        images, whole, text = views.weak[rows], views.whole[rows], self._text(chosen)
        with autocast(self._origin.device):
            seen = self._see(images, whole)
            logits = torch.zeros_like(images[:, :1])
            if config.text_evidence:
                text_mask = self.teacher["text_mask"]
                z_text = text_mask.text_logits(text_mask(seen.maps), text.t_cls)  # type: ignore[operator]
                size = images.shape[-2:]
                z_text = nn.functional.interpolate(z_text, size=size, mode="bilinear", align_corners=False)
                logits = config.text_evidence * z_text
            for share, parts in self._voters(chosen):
                logits = logits + share * _decode(parts, _features(parts, seen), text).logits
        q = torch.full_like(views.known, 0.5)
        q[rows] = torch.sigmoid(logits).to(q.dtype)
        return q if views.mixture is None else views.mixture(q)

    def _voters(self, prompts: list[str]) -> list[tuple[Tensor, nn.ModuleDict]]:
        """Return whose logits make the pseudo-label, and their shares for each prompt, `(B, 1, 1, 1)`."""
        anchor, start = self._config.anchor, self._shares(prompts)
        voters = [(torch.full_like(start, 1 - anchor), self.teacher)]
        if self._settled is None:
            voters += [(torch.full_like(start, anchor), self._start)]
        else:
            voters += [(anchor * start, self._start), (anchor * (1 - start), self._settled)]
        return [(share, parts) for share, parts in voters if bool((share > 0).any())]

    def _shares(self, prompts: list[str]) -> Tensor:
        """Return how much the start counts for each prompt, `(B, 1, 1, 1)`: nothing where it was never taught it."""
        shares = [self._start_share if self._was_taught(prompt) else 0.0 for prompt in prompts]
        return torch.tensor(shares, device=self._origin.device).view(-1, 1, 1, 1)

    def _labelled_weight(self, prompts: list[str]) -> float:
        """Return the weight of people's answers beside pseudo-labels: that of new prompts where one of these is new."""
        return self._weight_taught if all(map(self._was_taught, prompts)) else self._weight_new

    def _was_taught(self, prompt: str) -> bool:
        if prompt not in self._taught:
            self._taught[prompt] = taught(self._origin.config, prompt) is not None
        return self._taught[prompt]

    def _supervised(self, out: AmvlmOutput, views: Views, text: TextFeatures, labelled: Tensor) -> Tensor:
        """Segmentation and text mask on a person's answers, L_tg, and presence."""
        if not bool(labelled.any()):
            return out.logits.sum() * 0
        config = self._config
        target, known = views.target[labelled], views.known[labelled]
        loss = segmentation_loss(out.logits[labelled], target, known, balance=config.class_balance).mean()
        known4 = nn.functional.avg_pool2d(known, 4)
        target4 = nn.functional.avg_pool2d(target * known, 4) / known4.clamp_min(1e-6)
        text_mask = segmentation_loss(out.text_logits[labelled], target4, known4, balance=config.class_balance).mean()
        present = labelled & ((views.target * views.known).sum((1, 2, 3)) > 0)
        guidance = loss.new_zeros(())
        asked = [m for m, there in zip(views.meanings, present.tolist(), strict=True) if there]
        if len(set(asked)) > 1:
            same = same_meaning(asked, loss.device)
            guidance = info_nce(out.v_text[present], text.t_cls[present], same=same)
        # What nobody saw in a reviewed part may still be in the rest of the crop.
        sure = present | (labelled & (views.known.mean((1, 2, 3)) > _MOSTLY))
        presence = loss.new_zeros(())
        if bool(sure.any()):
            presence = nn.functional.binary_cross_entropy_with_logits(out.presence[sure], present[sure].float())
        return loss + config.text_mask_weight * text_mask + config.text_guidance * guidance + 0.1 * presence

    def _consistency(self, logits: Tensor, q: Tensor, unknown: Tensor) -> Tensor:
        """Segmentation loss against the pseudo-label; unconfident pixels weigh |2q - 1| ** power.

        Soft Dice is lowest where every pixel with q above half the Dice score is called foreground, and class balance
        favours the rarer class: on the teacher's own answers both make masks grow from step to step. Hence the label
        can be rounded (`hard_labels`), and the classes are not balanced here.
        """
        config = self._config
        weight = unknown * (2 * q - 1).abs() ** config.confidence_power
        target = (q >= 0.5).to(q.dtype) if config.hard_labels else q
        per_crop = segmentation_loss(logits, target, weight, balance=0.0)
        share = unknown.mean((1, 2, 3))
        return (per_crop * share).sum() / share.sum().clamp_min(1e-6)

    def _retention(self, seen: _Seen, features: ImageFeatures, retained: list[str]) -> Tensor:
        """Hold the answers to `retained` where the original model has them, on the student's view of first crops."""
        n, text, first = len(retained), self._text(retained), seen[: len(retained)]
        with autocast(self._origin.device):
            with torch.no_grad():
                before = self._origin.decode(self._origin.features(first.images, first.whole, first.maps), text)
            few = ImageFeatures(features.v_cls[:n], features.dense[:n], tuple(s[:n] for s in features.skips))
            now = _decode(self.student, few, text)
        loss = nn.functional.binary_cross_entropy_with_logits
        masks = loss(now.logits, before.logits.sigmoid())
        return masks + loss(now.text_logits.float(), before.text_logits.float().sigmoid())


@dataclass(frozen=True)
class _Seen:
    """What the frozen image encoder, which is the same for student, teacher and start, found in B images."""

    images: Tensor
    whole: Tensor
    maps: VisionFeatures
    v_cls: Tensor

    def __getitem__(self, rows: slice) -> _Seen:
        return _Seen(self.images[rows], self.whole[rows], self.maps[rows], self.v_cls[rows])


def _features(parts: nn.ModuleDict, seen: _Seen) -> ImageFeatures:
    """Run the text-free half of `parts`."""
    skips = parts["unet"].encode(seen.images, seen.maps.tokens, seen.whole)  # type: ignore[operator]
    return ImageFeatures(seen.v_cls, parts["text_mask"](seen.maps), skips)


def _decode(parts: nn.ModuleDict, image: ImageFeatures, text: TextFeatures) -> AmvlmOutput:
    return decode_pairs(image, text, **dict(parts.items()))  # type: ignore[arg-type]
