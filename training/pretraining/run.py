"""A pretraining run: the model, its average, its optimiser, and the state that it goes on from."""

from __future__ import annotations

import json
import logging
import math
import time
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from napari_amvlm.errors import DivergedError, InputError
from napari_amvlm.files import sha256_of_file
from napari_amvlm.learning.ema import averaged
from napari_amvlm.learning.loop import never
from napari_amvlm.learning.module_state import below, flat, optimiser_tensors, parameters_of, restore_optimiser
from napari_amvlm.models.build import build_model
from napari_amvlm.models.checkpoint import load_model
from training.pretraining.batches import BatchSource
from training.pretraining.data import is_validation
from training.pretraining.joint_loss import total_loss
from training.pretraining.prompts import CONCEPTS
from training.pretraining.recipe import Recipe
from training.pretraining.rivals import make_alignment
from training.pretraining.scoring import mean_scores, score_each
from training.pretraining.workers import Workers
from training.runs.folder import LOG, STATE, RunFolder, save_tensors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch.optim.swa_utils import AveragedModel

    from napari_amvlm.config import ModelConfig
    from napari_amvlm.models.amvlm import AMVLM
    from napari_amvlm.models.text_encoder import TextEncoder

log = logging.getLogger("training.pretrain")


def taught_config(recipe: Recipe) -> ModelConfig:
    """Return the configuration of the recipe's model with the concepts that it is taught."""
    return recipe.model.model_copy(update={"concepts": CONCEPTS})


def learnt_parts(model: AMVLM) -> nn.ModuleDict:
    """Return all parts but a frozen text encoder."""
    parts = {name: part for name, part in model.named_children() if name != "text_encoder"}
    if model.config.text_encoder.trainable:
        parts["bert"] = model.text_encoder.bert
    return nn.ModuleDict(parts)


class Pretraining:
    """One run: model, average, optimiser and the folder that holds its state.

    Parameters
    ----------
    out
        Folder for `state.safetensors`, `log.jsonl` and the final weights.
    text_encoder
        A loaded text encoder; None loads the configured one.
    """

    def __init__(
        self,
        recipe: Recipe,
        images: list[Any],
        out: Path,
        device: torch.device,
        *,
        text_encoder: TextEncoder | None = None,
    ) -> None:
        self.workers = Workers(recipe.accumulate, device)
        device = self.workers.device
        self.recipe, self.out, self.device = recipe, out, device
        config = self._prepare(images)
        self.model = build_model(config, text_encoder=text_encoder, seed=recipe.seed).to(device)
        self.alignment = make_alignment(self.model, recipe.step_one, seed=recipe.seed).to(device)
        self.parts = learnt_parts(self.model)
        self.average: AveragedModel = averaged(self.parts, recipe.ema_decay)
        encoders = ("image_encoder.", "bert.")
        slow = [p for n, p in self.parts.named_parameters() if n.startswith(encoders)]
        fast = [p for n, p in self.parts.named_parameters() if not n.startswith(encoders)]
        fast += list(self.alignment.heads.parameters())
        groups = [{"params": fast, "factor": 1.0}, {"params": slow, "factor": recipe.encoder_rate}]
        self.optimiser = torch.optim.AdamW(
            groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
        )
        self.step, self.best = 0, 0.0
        self._scored: tuple[int, list[Any]] | None = None

    def _prepare(self, images: list[Any]) -> ModelConfig:
        """Take up the images, and return the configuration of the model that learns from them."""
        recipe = self.recipe
        self.validation = [i for i in images if is_validation(i.source, i.name)]
        self.source: Any = BatchSource(
            [i for i in images if not is_validation(i.source, i.name)],
            seed=recipe.seed,
            tile_batch=recipe.tile_batch,
            whole_batch=recipe.whole_batch,
            size=recipe.crop,
            tile_every=recipe.tile_every,
            negatives=recipe.negatives,
        )
        return taught_config(recipe)

    def start_from(self, weights: Path) -> None:
        """Take over the parameters of the released `weights` before the first step, but for a head for objects.

        Raises
        ------
        InputError
            It is not the file that the recipe names, or holds another model.
        """
        sha256 = sha256_of_file(weights)
        if self.recipe.start not in (sha256, "given"):
            raise InputError(
                f"{weights} has SHA-256 {sha256}; the recipe starts from {self.recipe.start}. Give --start."
            )
        released, _ = load_model(weights, text_encoder=self.model.text_encoder)
        if self.model.objects is None:
            released.objects = None
        learnt = learnt_parts(released).state_dict()
        try:
            self.parts.load_state_dict(learnt)
        except RuntimeError as error:
            raise InputError(f"{weights} holds a model of another shape than the recipe's.") from error
        self.average.module.load_state_dict(learnt)
        self.alignment.begin_at(self.model)

    def run(self, minutes: float | None, should_stop: Callable[[], bool] = never) -> bool:
        """Train to the recipe's last step, for `minutes`, or until told to stop; return whether the run is complete.

        Raises
        ------
        InputError
            Another run works on the folder.
        """
        if not self.workers.leads:
            return self._run(minutes, should_stop)
        folder = RunFolder(self.out)
        with folder.held():
            folder.cut_log(self.step)  # what a killed process logged after its last state is made again
            return self._run(minutes, should_stop)

    def _run(self, minutes: float | None, should_stop: Callable[[], bool]) -> bool:
        started = saved = time.monotonic()
        recent: dict[str, float] = {}
        self.parts.train()
        if self.model.config.text_encoder.trainable:
            self.model.text_encoder.train()
        while self.step < self.recipe.steps:
            parts = self._one_step()
            recent = {k: 0.95 * recent.get(k, v) + 0.05 * v for k, v in parts.items()}
            if self.step % self.recipe.log_every == 0:
                self._log({"step": self.step, "seconds": round(time.monotonic() - started, 1), **recent})
            if self.step % self.recipe.score_every == 0 or self.step == self.recipe.steps:
                self._log({"step": self.step, "dice": self.score() if self.workers.leads else {}})
            if time.monotonic() - saved > self.recipe.save_every_seconds:
                self.save_state()
                saved = time.monotonic()
            over = minutes is not None and time.monotonic() - started > minutes * 60
            if self.workers.agree(over or should_stop()):
                break
        self.save_state()
        return self.step >= self.recipe.steps

    def _one_step(self) -> dict[str, float]:
        recipe = self.recipe
        progress = self.step / recipe.steps
        falling = {"cosine": 0.5 * (1 + math.cos(math.pi * progress)), "constant": 1.0, "linear": 1 - progress}
        rate = min(1.0, (self.step + 1) / recipe.warmup) * (0.01 + 0.99 * falling[recipe.schedule])
        for group in self.optimiser.param_groups:
            group["lr"] = recipe.learning_rate * rate * group["factor"]
        parameters = parameters_of(self.optimiser)
        self.optimiser.zero_grad(set_to_none=True)
        losses: list[dict[str, float]] = []
        for index in self.workers.share(recipe.accumulate):
            number = self.step * recipe.accumulate + index
            chance = torch.Generator().manual_seed(recipe.seed * 1_000_003 + number)
            torch.manual_seed(recipe.seed * 1_000_003 + number)  # dropout of a text encoder that learns
            loss, parts = total_loss(self.model, self.alignment, self.source.draw(number), recipe, chance)
            if not bool(loss.isfinite()):
                raise DivergedError(
                    f"The loss of step {self.step} is not a finite number ({parts}); choose a lower learning_rate, and "
                    "go on from the last state."
                )
            (loss / recipe.accumulate).backward()
            losses.append(parts)
        self.workers.sum_gradients(parameters)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        self.optimiser.step()
        self.average.update_parameters(self.parts)
        if recipe.step_one_weight:
            self.alignment.follow(self.model)
        self.step += 1
        return self.workers.mean({name: sum(p[name] for p in losses) / len(losses) for name in losses[0]})

    def averaged_model(self) -> AMVLM:
        """Return the averaged model in eval mode, sharing a frozen text encoder."""
        text = self.model.text_encoder.copied() if self.model.config.text_encoder.trainable else self.model.text_encoder
        model = build_model(self.model.config, text_encoder=text).to(self.device)
        learnt_parts(model).load_state_dict(self.average.module.state_dict())
        return model.eval()

    def score(self) -> dict[str, float]:
        """Return the mean Dice of each concept over the validation images."""
        return mean_scores(self.scored())

    def scored(self) -> list[Any]:
        """Return what the averaged model finds in each validation image; of one step it is found once."""
        if self._scored is None or self._scored[0] != self.step:
            self._scored = self.step, score_each(self.averaged_model(), self.validation, self.device)
        return self._scored[1]

    def save_state(self) -> None:
        """Write everything that a resumed run needs; the first process does it for all."""
        if not self.workers.leads:
            return
        parts = {"model": self.parts, "average": self.average, "alignment": self.alignment}
        tensors = flat({name: part.state_dict() for name, part in parts.items()})
        tensors |= flat({"optimiser": optimiser_tensors(self.optimiser)})
        meta = {"step": str(self.step), "best": str(self.best), "recipe": self.recipe.model_dump_json()}
        save_tensors(tensors, self.out / STATE, meta)

    def load_state(self) -> None:
        """Go on from `state.safetensors`, where there is one.

        Raises
        ------
        InputError
            It was written under another recipe.
        """
        path = self.out / STATE
        if not path.is_file():
            return
        with safe_open(path, "pt") as file:
            meta = file.metadata()
        if Recipe.model_validate_json(meta["recipe"]) != self.recipe:
            raise InputError(f"{path} is of a run with another recipe; choose another --out or put the recipe back.")
        self.step, self.best = int(meta["step"]), float(meta.get("best", 0))
        tensors = load_file(path)
        self.parts.load_state_dict(below(tensors, "model."))
        self.average.load_state_dict(below(tensors, "average."))
        self.alignment.load_state_dict(below(tensors, "alignment."))
        restore_optimiser(self.optimiser, below(tensors, "optimiser."))

    def _log(self, record: dict[str, Any]) -> None:
        if not self.workers.leads:
            return
        log.info("%s", record)
        with (self.out / LOG).open("a") as file:
            file.write(json.dumps(record) + "\n")
