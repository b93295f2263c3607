"""Student and teacher: one optimiser step of text-guided Mean Teacher (Pan et al. 2025, step 2)."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from napari_amvlm.device import autocast, learning_layout
from napari_amvlm.learning.ema import averaged
from napari_amvlm.learning.loop import StepLosses
from napari_amvlm.learning.module_state import below, descend, flat, optimiser_tensors, restore_optimiser
from napari_amvlm.learning.networks import decode, features, learnt_parts, see
from napari_amvlm.learning.pseudo_labels import (
    EmaTeacher,
    FrozenEnsemble,
    OtherModel,
    TextEvidence,
    doubted,
    pseudo_label,
    text_logits,
)
from napari_amvlm.learning.views import moved
from napari_amvlm.losses import depth_loss, guidance_loss, presence_loss, segmentation_loss, text_mask_loss
from napari_amvlm.models.amvlm import ImageFeatures, TextFeatures
from napari_amvlm.models.inference import is_countable
from napari_amvlm.models.words.composition import composition
from napari_amvlm.models.words.taught import taught

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari_amvlm.config import Concept, LearningConfig
    from napari_amvlm.learning.mixing import Mixture
    from napari_amvlm.learning.pseudo_labels import PseudoLabelSource
    from napari_amvlm.models.amvlm import AMVLM, AmvlmOutput
    from napari_amvlm.models.text_prompted import TextPrompted

_AS_IMAGES = 2
"""In pseudo-labels the starting model counts as so many labelled images."""

_LEAST_WEIGHT = 0.1
"""Least weight of labels beside pseudo-labels, however many unlabelled images there are."""

_MOSTLY = 0.7
"""Reviewed share of a crop from which absence counts; whole images lose some of it at the border."""


@dataclass(frozen=True)
class CropBatch:
    """Crops for one step; all of one working scale.

    Attributes
    ----------
    weak, strong
        The teacher's and the student's view of the same B crops, `(B, 3, H, W)` in [0, 1].
    whole
        Bool `(B,)`.
    meanings
        What each prompt means: wordings of one concept have the same.
    target
        Masks of the crops, `(B, 1, H, W)`; anything where `known` is 0.
    known
        1 where the target is a person's answer, else 0, `(B, 1, H, W)`.
    mixture
        How the student's crops are mixed (CutMix); None leaves them as they are. The teacher's are never mixed.
    depth
        How deep inside an accepted object each pixel lies, `(B, 1, H, W)`, NaN in crops where nobody told objects
        apart; None where that is all of them. It is not learnt from mixed crops.
    theta
        How the student's view of each crop is moved against the teacher's, matrices for `views.warp`, `(B, 2, 3)`;
        None where no view is. Crops with an answer stay in place.
    """

    weak: Tensor
    strong: Tensor
    whole: Tensor
    prompts: list[str]
    meanings: list[str]
    target: Tensor
    known: Tensor
    mixture: Mixture | None = None
    depth: Tensor | None = None
    theta: Tensor | None = None

    def mixed(self) -> CropBatch:
        """Return the batch with the student's crops mixed, and their targets with them."""
        if self.mixture is None:
            return self
        strong, target, known = (self.mixture(x) for x in (self.strong, self.target, self.known))
        return replace(self, strong=strong, target=target, known=known, mixture=None, depth=None)


class MeanTeacher:
    """Owns student, teacher and optimiser.

    Parameters
    ----------
    model
        Where both start; it is not changed.
    labelled, unlabelled
        Numbers of images; they set two weights that the configuration leaves open. In pseudo-labels the starting model
        counts as two labelled images. Beside pseudo-labels each labelled image counts as much as each unlabelled one,
        though it is drawn more often. For a prompt that the starting model was never taught, or fails at, labels have
        weight 1 and the starting model has none.
    text_model
        Another one that labels as well, for the prompts that it answers.
    """

    def __init__(
        self,
        model: AMVLM,
        config: LearningConfig,
        *,
        labelled: int = 1,
        unlabelled: int = 0,
        text_model: TextPrompted | None = None,
    ) -> None:
        self._model = model
        self._config = config
        share, weight = config.start_share, config.labelled_weight
        self._start_share = _AS_IMAGES / (_AS_IMAGES + labelled) if share is None else share
        even = max(_LEAST_WEIGHT, min(1.0, labelled / max(1, unlabelled)))
        self._weight_taught, self._weight_new = (even, 1.0) if weight is None else (weight, weight)
        self._taught: dict[str, bool] = {}
        self._failed: set[tuple[Concept, ...]] = set()
        start = learnt_parts(model)
        layout = learning_layout(model.device)
        self.student = copy.deepcopy(start).train().to(memory_format=layout)  # type: ignore[call-overload]
        self._decay = config.ema_decay
        self._teacher = averaged(self.student, lambda: self._decay, warm_up=config.ema_warmup)
        self._teacher.requires_grad_(requires_grad=False)
        self._ensemble = FrozenEnsemble(start, config.anchor, self._share_of_start)
        self._text_evidence = text_evidence = TextEvidence(self.teacher, config.text_evidence)
        self._guidance: float | None = None
        self._sources: tuple[PseudoLabelSource, ...] = (
            text_evidence,
            OtherModel(text_model, model.config),
            EmaTeacher(self.teacher, 1 - config.anchor),
            self._ensemble,
        )
        fused = model.device.type in {"cpu", "cuda"}
        self.optimiser = torch.optim.AdamW(
            self.student.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=fused
        )

    def learn_as_new(self, failed: Iterable[str]) -> None:
        """Learn prompts that the starting model was taught, and fails at on the labelled images, as new ones."""
        meanings = [taught(self._model.config, prompt) for prompt in failed]
        self._failed = {meaning.concepts for meaning in meanings if meaning is not None}
        self._taught.clear()

    @property
    def teacher(self) -> nn.ModuleDict:
        """The averaged parts: what is validated and kept."""
        return self._teacher.module  # type: ignore[return-value]

    @property
    def settled(self) -> bool:
        """Whether `settle` was called, or a state restored in which it had been."""
        return self._ensemble.settled is not None

    def settle(self) -> None:
        """Freeze the teacher as it is now: with the starting model it makes the pseudo-labels from here on."""
        self._ensemble.settle(self.teacher)

    def student_weights(self) -> dict[str, Tensor]:
        """Return a copy of the student's parts in half precision on the CPU, named as in a model."""
        state = self.student.state_dict()
        return {k: (v.half() if v.is_floating_point() else v.clone()).cpu().contiguous() for k, v in state.items()}

    def state(self) -> dict[str, Tensor]:
        """Return student, teacher with its count, what settled, and optimiser: the tensors in use, not copies."""
        parts = {"student": self.student.state_dict(), "teacher": self._teacher.state_dict()}
        if self._ensemble.settled is not None:
            parts["settled"] = self._ensemble.settled.state_dict()
        return flat({**parts, "optimiser": optimiser_tensors(self.optimiser)})

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` returned for the same model and configuration."""
        self.student.load_state_dict(below(state, "student."))
        self._teacher.load_state_dict(below(state, "teacher."))
        settled = below(state, "settled.")
        if settled:
            self.settle()
            self._ensemble.settled.load_state_dict(settled)  # type: ignore[union-attr]
        restore_optimiser(self.optimiser, below(state, "optimiser."))

    def step(
        self,
        batch: CropBatch,
        *,
        learning_rate: float,
        consistency: float,
        decay: float | None = None,
        text_share: float = 1.0,
        retained: list[str] | None = None,
    ) -> StepLosses:
        """Make one optimiser step.

        Parameters
        ----------
        batch
            Labelled and unlabelled crops, in any mixture.
        learning_rate
            Of this step.
        consistency
            lambda(t); 0 leaves the teacher's pseudo-labels out.
        decay
            Of the teacher at this step; None is the configured one.
        text_share
            Of beta at this step.
        retained
            Other prompts, one for each of the first crops, whose masks must stay as the starting model gives them.
        """
        self._decay = self._config.ema_decay if decay is None else decay
        self._text_evidence.share = text_share
        unlabelled = batch.known.amin((1, 2, 3)) < 1
        has_pseudo = consistency > 0 and bool(unlabelled.any())
        pseudo = self.pseudo_label(batch, unlabelled) if has_pseudo else None
        batch = batch.mixed()
        text = self._text(batch.prompts)
        with autocast(self._model.device):
            seen = see(self._model, batch.strong, batch.whole)
            encoded = features(self.student, seen)
            out = decode(self.student, encoded, text, separate=batch.depth is not None)
        labelled = batch.known.amax((1, 2, 3)) > 0
        supervised = self._supervised(out, batch, text, labelled)
        agreement = supervised.new_zeros(())
        if pseudo is not None:
            agreement = self._consistency(out.logits, pseudo, 1 - batch.known)
        weight = 1.0 if pseudo is None else self._labelled_weight(batch.prompts)
        loss = weight * supervised + consistency * agreement
        if retained:
            few = seen[: len(retained)]
            with autocast(self._model.device), torch.no_grad():
                image = self._model.features(few.images, few.whole, few.maps)
            loss = loss + self._config.retention * self._retention(image, encoded, retained)
            loss = loss + self._config.retention * self._retained_depth(image, out, batch, text)
        if torch.isfinite(loss):
            descend(self.optimiser, [loss], learning_rate)
            self._teacher.update_parameters(self.student)
        total, alone, agreed = (float(part.detach()) for part in (loss, supervised, agreement))
        return StepLosses(learning_rate, total, alone, agreed, self._guidance)

    def _text(self, prompts: list[str]) -> TextFeatures:
        with torch.no_grad():
            return self._model.encode_text(prompts)

    @torch.no_grad()
    def pseudo_label(self, batch: CropBatch, rows: Tensor) -> Tensor:
        """Return q of the crops `rows` as the student sees them, `(B, 1, H, W)`; the others hold 0.5."""
        prompts = [p for p, wanted in zip(batch.prompts, rows.tolist(), strict=True) if wanted]
        text = self._text(prompts)
        with autocast(self._model.device):
            seen = see(self._model, batch.weak[rows], batch.whole[rows])
            chosen = pseudo_label(self._sources, seen, text, prompts)
            if self._config.text_doubt:
                chosen = doubted(chosen, text_logits(self.teacher, seen, text), self._config.text_doubt)
        q = torch.full_like(batch.known, 0.5)
        chosen = chosen.to(q.dtype)
        q[rows] = chosen if batch.theta is None else moved(chosen, batch.theta[rows.cpu()])
        return q if batch.mixture is None else batch.mixture(q)

    def _share_of_start(self, prompt: str) -> float:
        """Return the share of the starting model in the ensemble: none for a prompt that it cannot answer."""
        return self._start_share if self._was_taught(prompt) else 0.0

    def _labelled_weight(self, prompts: list[str]) -> float:
        """Return the weight of labels beside pseudo-labels: that of new prompts if one of these is new."""
        return self._weight_taught if all(map(self._was_taught, prompts)) else self._weight_new

    def _was_taught(self, prompt: str) -> bool:
        """Tell whether the network itself answers a prompt: taught, not composed of others, and no failure here."""
        if prompt not in self._taught:
            config = self._model.config
            meaning = taught(config, prompt)
            self._taught[prompt] = (
                meaning is not None and meaning.concepts not in self._failed and composition(config, prompt) is None
            )
        return self._taught[prompt]

    def _supervised(self, out: AmvlmOutput, batch: CropBatch, text: TextFeatures, labelled: Tensor) -> Tensor:
        """Return the loss on labelled pixels: segmentation, text mask, L_tg and presence."""
        self._guidance = None
        if not bool(labelled.any()):
            return out.logits.sum() * 0
        config = self._config
        target, known = batch.target[labelled], batch.known[labelled]
        loss = segmentation_loss(out.logits[labelled], target, known, balance=config.class_balance).mean()
        text_mask = text_mask_loss(out.text_logits[labelled], target, known, balance=config.class_balance)
        present = labelled & ((batch.target * batch.known).sum((1, 2, 3)) > 0)
        guidance = guidance_loss(out.v_text, text.t_cls, batch.meanings, present, least_meanings=2)
        if config.text_guidance and len({m for m, there in zip(batch.meanings, present, strict=True) if there}) > 1:
            self._guidance = float(guidance.detach())
        # What is absent from a reviewed part may still be in the rest of the crop.
        sure = present | (labelled & (batch.known.mean((1, 2, 3)) > _MOSTLY))
        presence = presence_loss(out.presence, present, sure) if bool(sure.any()) else loss.new_zeros(())
        loss = loss + config.text_mask_weight * text_mask + config.text_guidance * guidance + 0.1 * presence
        return loss + config.object_weight * self._objects(out, batch)

    @staticmethod
    def _objects(out: AmvlmOutput, batch: CropBatch) -> Tensor:
        """Return the loss of the depth in accepted objects."""
        if out.depth is None or batch.depth is None:
            return out.logits.sum() * 0
        told = ~batch.depth.flatten(1).isnan().any(1)
        return depth_loss(out.depth[told], batch.depth[told], batch.known[told]).mean()

    def _retained_depth(self, image: ImageFeatures, out: AmvlmOutput, batch: CropBatch, text: TextFeatures) -> Tensor:
        """Return what keeps the depth of countable prompts as the starting model has it, where nobody told objects.

        Parameters
        ----------
        image
            Features of the first crops by the starting model; depth is kept in these.
        """
        count = len(image.v_cls)
        nothing = [True] * count if batch.depth is None else batch.depth.flatten(1).isnan().any(1).tolist()
        rows = [i for i in range(count) if nothing[i] and is_countable(self._model, batch.prompts[i])]
        if "objects" not in self.student or not rows:
            return out.logits.sum() * 0
        index = torch.tensor(rows, device=out.logits.device)
        with autocast(self._model.device):
            asked = TextFeatures(text.sentence[index], text.t_cls[index])
            with torch.no_grad():
                before = self._model.decode(image, asked, index, separate=True).depth
            if out.depth is None:  # nobody told objects in this batch
                now = self.student["objects"](image.images[index], out.logits[index].sigmoid()).float()
            else:
                now = out.depth[index]
        return (now.sigmoid() - before.sigmoid()).abs().mean()  # type: ignore[no-any-return, union-attr]

    def _consistency(self, logits: Tensor, q: Tensor, unknown: Tensor) -> Tensor:
        """Return the segmentation loss against the pseudo-label; pixels weigh |2q - 1| ** power.

        Soft Dice is lowest where every pixel with q above half the Dice score is foreground, and class balance favours
        the rarer class: with pseudo-labels both make masks grow from step to step. Hence labels can be rounded
        (`hard_labels`), and classes are not balanced here.
        """
        config = self._config
        weight = unknown * (2 * q - 1).abs() ** config.confidence_power
        target = (q >= 0.5).to(q.dtype) if config.hard_labels else q
        per_crop = segmentation_loss(logits, target, weight, balance=0.0)
        share = unknown.mean((1, 2, 3))
        return (per_crop * share).sum() / share.sum().clamp_min(1e-6)

    def _retention(self, image: ImageFeatures, encoded: ImageFeatures, retained: list[str]) -> Tensor:
        """Return the cross-entropy that keeps masks of `retained` as the starting model has them, on first crops.

        Parameters
        ----------
        image
            Features of these crops by the starting model.
        """
        n, text = len(retained), self._text(retained)
        with autocast(self._model.device):
            with torch.no_grad():
                before = self._model.decode(image, text, separate=True)
            skips = tuple(s[:n] for s in encoded.skips)
            few = ImageFeatures(encoded.v_cls[:n], encoded.dense[:n], skips, encoded.images[:n])
            now = decode(self.student, few, text, separate=True)
        loss = nn.functional.binary_cross_entropy_with_logits
        masks = loss(now.logits, before.logits.sigmoid())
        if now.depth is not None and before.depth is not None:
            masks = masks + (now.depth.sigmoid() - before.depth.sigmoid()).abs().mean()
        return masks + loss(now.text_logits.float(), before.text_logits.float().sigmoid())
