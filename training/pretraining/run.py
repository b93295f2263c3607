"""A pretraining run: the model, its average, its optimiser, and the state that it goes on from."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from napari_amvlm.errors import DivergedError, InputError
from napari_amvlm.files import sha256_of_file
from napari_amvlm.learning.budget import Budget, cosine
from napari_amvlm.learning.ema import averaged
from napari_amvlm.learning.loop import Loop, never
from napari_amvlm.learning.module_state import below, descend, flat, optimiser_tensors, restore_optimiser
from napari_amvlm.learning.run_state import Progress, RunState
from napari_amvlm.models.build import build_model
from napari_amvlm.models.checkpoint import load_model
from training.pretraining.batches import BatchSource, step_seed
from training.pretraining.data import is_validation
from training.pretraining.joint_loss import total_loss
from training.pretraining.prompts import CONCEPTS
from training.pretraining.recipe import Recipe
from training.pretraining.rivals import make_alignment
from training.pretraining.scoring import mean_scores, score_each
from training.pretraining.workers import Workers
from training.runs.folder import STATE, RunFolder, StateFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from torch import Tensor
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
        self.budget, self.best = Budget(steps=recipe.steps), 0.0
        self._folder = RunFolder(out)
        self._states = StateFile(self._folder, recipe.save_every_seconds)
        self._scored: tuple[int, list[Any]] | None = None

    @property
    def step(self) -> int:
        """How many steps were made."""
        return self.budget.step

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

    def run(self, should_stop: Callable[[], bool] = never) -> bool:
        """Go on from the last state to the recipe's last step, or until told to stop; return whether that was made.

        Raises
        ------
        InputError
            Another run works on the folder, or its state is of another recipe or damaged.
        """
        with self._folder.held() if self.workers.leads else contextlib.nullcontext():
            self.workers.agree(yes=True)  # the first process has the folder before the others look into it
            self.load_state()
            return self._run(should_stop)

    def _run(self, should_stop: Callable[[], bool]) -> bool:
        keeper = self._states if self.workers.leads else None
        loop = Loop(self.budget, keeper, lambda: self.workers.agree(should_stop()))
        recent: dict[str, float] = {}
        self.parts.train()
        if self.model.config.text_encoder.trainable:
            self.model.text_encoder.train()
        self.budget.restart()
        for parts in loop.made(self._one_step, self._state):
            recent = {k: 0.95 * recent.get(k, v) + 0.05 * v for k, v in parts.items()}
            if self.step % self.recipe.log_every == 0:
                self._log({"step": self.step, "seconds": round(self.budget.seconds, 1), **recent})
            if self.step % self.recipe.score_every == 0 or self.step == self.recipe.steps:
                self._log({"step": self.step, "dice": self.score() if self.workers.leads else {}})
        if not loop.stopped:
            self.save_state()
        return not loop.stopped

    def _one_step(self) -> dict[str, float]:
        recipe, progress = self.recipe, self.budget.fraction
        falling = {"cosine": cosine(progress), "constant": 1.0, "linear": 1 - progress}
        rate = min(1.0, (self.step + 1) / recipe.warmup) * (0.01 + 0.99 * falling[recipe.schedule])
        parts: list[dict[str, float]] = []
        descend(self.optimiser, self._losses(parts), recipe.learning_rate * rate, gather=self.workers.sum_gradients)
        self.average.update_parameters(self.parts)
        if recipe.step_one_weight:
            self.alignment.follow(self.model)
        return self.workers.mean({name: sum(p[name] for p in parts) / len(parts) for name in parts[0]})

    def _losses(self, told: list[dict[str, float]]) -> Iterator[Tensor]:
        """Yield this process's losses of a step, which sum up to the mean over its batches; `told` gets their parts."""
        recipe = self.recipe
        for index in self.workers.share(recipe.accumulate):
            number = self.step * recipe.accumulate + index
            chance = torch.Generator().manual_seed(step_seed(recipe.seed, number))
            torch.manual_seed(step_seed(recipe.seed, number))  # dropout of a text encoder that learns
            loss, parts = total_loss(self.model, self.alignment, self.source.draw(number), recipe, chance)
            if not bool(loss.isfinite()):
                raise DivergedError(
                    f"The loss of step {self.step} is not a finite number ({parts}); choose a lower learning_rate, and "
                    "go on from the last state."
                )
            told.append(parts)
            yield loss / recipe.accumulate

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
        """Return what the averaged model finds in the validation images; of one step it is found once."""
        if self._scored is None or self._scored[0] != self.step:
            self._scored = self.step, self._score()
        return self._scored[1]

    def _score(self) -> list[Any]:
        return score_each(self.averaged_model(), self.validation, self.device)

    def save_state(self) -> None:
        """Write everything that a resumed run needs; the first process does it for all."""
        if self.workers.leads:
            self._states.save(self._state())

    def _state(self) -> RunState:
        parts = {"model": self.parts, "average": self.average, "alignment": self.alignment}
        tensors = {name: part.state_dict() for name, part in parts.items()}
        tensors["optimiser"] = optimiser_tensors(self.optimiser)
        told = {"step": str(self.step), "best": str(self.best), "recipe": self.recipe.model_dump_json()}
        return RunState(flat(tensors), Progress(self.step, self.budget.seconds), told)

    def load_state(self) -> None:
        """Go on from `state.safetensors`, where there is one.

        Raises
        ------
        InputError
            It was written under another recipe, or is damaged.
        """
        state = self._states.load()
        if state is None:
            return
        if Recipe.model_validate_json(state.told["recipe"]) != self.recipe:
            raise InputError(
                f"{self.out / STATE} is of a run with another recipe; choose another --out or put the recipe back."
            )
        self.budget.step, self.best = state.progress.step, float(state.told.get("best", 0))
        tensors = state.tensors
        self.parts.load_state_dict(below(tensors, "model."))
        self.average.load_state_dict(below(tensors, "average."))
        self.alignment.load_state_dict(below(tensors, "alignment."))
        restore_optimiser(self.optimiser, below(tensors, "optimiser."))

    def _log(self, record: dict[str, Any]) -> None:
        if not self.workers.leads:
            return
        log.info("%s", record)
        self._folder.log(record)
