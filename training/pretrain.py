"""Trains released weights from the shippable data sets.

    python -m training.pretrain training/recipes/amvlm-open.toml --data PATH --out runs/amvlm-open

A run can be killed at any time; the same command goes on from its last state. `--minutes` bounds one sitting, not the
run. Several processes can share it: see `training.workers`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
import tomllib
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import torch
import typer
from safetensors.torch import load_file, save_file
from torch import nn

from napari_amvlm.device import resolve_device
from napari_amvlm.errors import InputError
from napari_amvlm.learning.ema import averaged
from napari_amvlm.learning.module_state import below, optimiser_tensors, restore_optimiser
from napari_amvlm.models.build import build_model
from napari_amvlm.models.catalog import DEFAULT, WEIGHTS
from napari_amvlm.models.checkpoint import load_model, save_model
from training.batches import BatchSource
from training.data import is_validation, load_taught_images
from training.joint_loss import total_loss
from training.presence import fit_presence
from training.pretrain_recipe import Recipe
from training.prompts import CONCEPTS
from training.scoring import score_images
from training.step_one import Alignment
from training.workers import Workers

if TYPE_CHECKING:
    from torch.optim.swa_utils import AveragedModel

    from napari_amvlm.models.amvlm import AMVLM
    from napari_amvlm.models.text_encoder import TextEncoder
    from training.data import TaughtImage

log = logging.getLogger("training.pretrain")


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
    recipe
        What to do.
    images
        All images, training and validation.
    out
        Folder for `state.safetensors`, `log.jsonl` and the final weights.
    device
        Where to compute.
    text_encoder
        A loaded text encoder; None loads the configured one.
    """

    def __init__(
        self,
        recipe: Recipe,
        images: list[TaughtImage],
        out: Path,
        device: torch.device,
        *,
        text_encoder: TextEncoder | None = None,
    ) -> None:
        self.workers = Workers(recipe.accumulate, device)
        device = self.workers.device
        self.recipe, self.out, self.device = recipe, out, device
        self.validation = [i for i in images if is_validation(i.source, i.name)]
        train = [i for i in images if not is_validation(i.source, i.name)]
        config = recipe.model.model_copy(update={"concepts": CONCEPTS})
        self.source = BatchSource(
            train,
            seed=recipe.seed,
            tile_batch=recipe.tile_batch,
            whole_batch=recipe.whole_batch,
            size=recipe.crop,
            tile_every=recipe.tile_every,
            strangers=recipe.strangers,
        )
        self.model = build_model(config, text_encoder=text_encoder, seed=recipe.seed).to(device)
        self.alignment = Alignment(self.model, recipe.step_one, seed=recipe.seed).to(device)
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
        self.step = 0

    def start_from(self, weights: Path) -> None:
        """Take over the parameters of the released `weights` before the first step.

        Raises
        ------
        InputError
            It is not the file that the recipe names, or holds another model.
        """
        with weights.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if self.recipe.start not in (found, "given"):
            raise InputError(
                f"{weights} has SHA-256 {found}; the recipe starts from {self.recipe.start}. Give --start."
            )
        released, _ = load_model(weights, text_encoder=self.model.text_encoder)
        learnt = learnt_parts(released).state_dict()
        try:
            self.parts.load_state_dict(learnt)
        except RuntimeError as error:
            raise InputError(f"{weights} holds a model of another shape than the recipe's.") from error
        self.average.module.load_state_dict(learnt)

    def run(self, minutes: float | None) -> bool:
        """Train until the recipe's last step, or for `minutes`; return whether the run is complete."""
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
                self._log({"step": self.step, "dice": self.scores() if self.workers.leads else {}})
            if time.monotonic() - saved > self.recipe.save_every_seconds:
                self.save_state()
                saved = time.monotonic()
            if self.workers.agree(minutes is not None and time.monotonic() - started > minutes * 60):
                break
        self.save_state()
        return self.step >= self.recipe.steps

    def _one_step(self) -> dict[str, float]:
        recipe = self.recipe
        progress = self.step / recipe.steps
        rate = min(1.0, (self.step + 1) / recipe.warmup) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))
        for group in self.optimiser.param_groups:
            group["lr"] = recipe.learning_rate * rate * group["factor"]
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        self.optimiser.zero_grad(set_to_none=True)
        found: list[dict[str, float]] = []
        for index in self.workers.share(recipe.accumulate):
            number = self.step * recipe.accumulate + index
            chance = torch.Generator().manual_seed(recipe.seed * 1_000_003 + number)
            loss, parts = total_loss(self.model, self.alignment, self.source.draw(number), recipe, chance)
            (loss / recipe.accumulate).backward()
            found.append(parts)
        self.workers.sum_gradients(parameters)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        self.optimiser.step()
        self.average.update_parameters(self.parts)
        self.alignment.follow(self.model)
        self.step += 1
        return self.workers.mean({name: sum(p[name] for p in found) / len(found) for name in found[0]})

    def averaged_model(self) -> AMVLM:
        """Return the averaged model in eval mode, sharing a frozen text encoder."""
        text = self.model.text_encoder.copied() if self.model.config.text_encoder.trainable else self.model.text_encoder
        model = build_model(self.model.config, text_encoder=text).to(self.device)
        learnt_parts(model).load_state_dict(self.average.module.state_dict())
        return model.eval()

    def scores(self) -> dict[str, float]:
        """Return the mean Dice of the averaged model on the validation images of each concept."""
        return score_images(self.averaged_model(), self.validation, self.device)

    def save_state(self) -> None:
        """Write everything that a resumed run needs; the first process does it for all."""
        if not self.workers.leads:
            return
        tensors = {f"model.{k}": v for k, v in self.parts.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        tensors |= {f"alignment.{k}": v for k, v in self.alignment.state_dict().items()}
        tensors |= {f"optimiser.{k}": v for k, v in optimiser_tensors(self.optimiser).items()}
        meta = {"step": str(self.step), "recipe": self.recipe.model_dump_json()}
        temporary = self.out / "state.tmp"
        save_file({k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()}, temporary, metadata=meta)
        temporary.replace(self.out / "state.safetensors")

    def load_state(self) -> None:
        """Go on from `state.safetensors`, where there is one.

        Raises
        ------
        InputError
            It was written under another recipe.
        """
        path = self.out / "state.safetensors"
        if not path.is_file():
            return
        from safetensors import safe_open

        with safe_open(path, "pt") as file:
            meta = file.metadata()
        if Recipe.model_validate_json(meta["recipe"]) != self.recipe:
            raise InputError(f"{path} is of a run with another recipe; choose another --out or put the recipe back.")
        self.step = int(meta["step"])
        tensors = load_file(path)
        self.parts.load_state_dict(below(tensors, "model."))
        self.average.load_state_dict(below(tensors, "average."))
        self.alignment.load_state_dict(below(tensors, "alignment."))
        restore_optimiser(self.optimiser, below(tensors, "optimiser."))

    def _log(self, record: dict[str, Any]) -> None:
        if not self.workers.leads:
            return
        log.info("%s", record)
        with (self.out / "log.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")


def main(
    recipe: Annotated[Path, typer.Argument(help="TOML file of the recipe.")],
    data: Annotated[Path, typer.Option(help="Folder that holds the data sets.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; an unfinished run there goes on.")],
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps.")] = "auto",
    minutes: Annotated[float | None, typer.Option(help="Stop this sitting after so many minutes.")] = None,
    start: Annotated[Path, typer.Option(help="Weights to go on from, where the recipe names some.")] = WEIGHTS
    / f"{DEFAULT}.safetensors",
) -> None:
    """Train released weights."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    resolved = Recipe.model_validate(tomllib.loads(recipe.read_text()))
    out.mkdir(parents=True, exist_ok=True)
    images = [i for source in resolved.sources for i in load_taught_images(data, source, whole=resolved.model.whole)]
    log.info("%d images", len(images))
    run = Pretraining(resolved, images, out, resolve_device(device))
    if resolved.start is not None:
        run.start_from(start)
    run.load_state()
    if run.run(minutes) and run.workers.leads:
        path = out / f"{resolved.name}.safetensors"
        model, scores = run.averaged_model(), run.scores()
        if resolved.presence_steps:
            presence = fit_presence(model, images, steps=resolved.presence_steps, seed=resolved.seed)
            if math.isfinite(presence["after"]):
                scores["presence AUC"] = round(presence["after"], 4)
        save_model(
            model,
            path,
            name=resolved.name,
            version=resolved.version,
            licence=resolved.licence,
            training_data=resolved.training_data,
            scores=scores,
        )
        log.info("wrote %s", path)


if __name__ == "__main__":
    typer.run(main)
