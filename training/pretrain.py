"""Trains released weights from the shippable data sets.

    python -m training.pretrain training/recipes/amvlm-open.toml --data PATH --out runs/amvlm-open

A run can be killed at any time; the same command goes on from its last state. `--minutes` bounds one sitting, not the
run.
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
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from napari_amvlm.config import Config, ModelConfig
from napari_amvlm.device import autocast, resolve_device
from napari_amvlm.errors import InputError
from napari_amvlm.learning.ema import averaged
from napari_amvlm.losses import info_nce, same_meaning, segmentation_loss
from napari_amvlm.models.build import build_model
from napari_amvlm.models.catalog import DEFAULT, WEIGHTS
from napari_amvlm.models.checkpoint import load_model, save_model
from training.batches import Batch, BatchSource
from training.data import SOURCES, TaughtImage, is_validation, load_taught_images
from training.presence import fit_presence
from training.prompts import CONCEPTS
from training.scoring import score_images
from training.step_one import Alignment, StepOneConfig

if TYPE_CHECKING:
    from torch.optim.swa_utils import AveragedModel

    from napari_amvlm.models.amvlm import AMVLM, AmvlmOutput

log = logging.getLogger("training.pretrain")
_SEEN = 0.002
"""Share of the pixels from which a concept counts as shown; less, but not nothing, is neither here nor there."""


class Recipe(Config):
    """Everything that decides a pretraining run."""

    name: str
    version: str
    licence: str
    training_data: str
    sources: tuple[str, ...] = SOURCES
    model: ModelConfig = ModelConfig()
    seed: int = 0
    steps: int = Field(4000, ge=1)
    learning_rate: float = Field(1.5e-3, gt=0)
    encoder_rate: float = Field(0.5, gt=0, description="factor on the rate of the image encoder")
    weight_decay: float = Field(0.02, ge=0)
    warmup: int = Field(150, ge=1)
    tile_batch: int = Field(6, ge=1)
    whole_batch: int = Field(4, ge=1)
    tile_every: int = Field(2, ge=1, description="every so many steps the batch is tissue")
    strangers: int = Field(0, ge=0, description="images of other kinds in a batch, asked for what they do not show")
    crop: int = 256
    ema_decay: float = Field(0.999, ge=0, lt=1)
    text_mask_weight: float = 0.5
    step_one: StepOneConfig = StepOneConfig()
    step_one_weight: float = Field(0.1, ge=0, description="weight of step 1's losses beside those of the masks")
    guidance_weight: float = Field(0.05, description="weight of L_tg")
    presence_weight: float = 0.2
    class_balance: float = Field(0.3, ge=0, le=1)
    start: str | None = Field(None, description="SHA-256 of the weights file to go on from; None: random weights")
    presence_steps: int = Field(300, ge=0, description="steps of the final fit of the presence score")
    score_every: int = 500
    save_every_seconds: float = 180


def learnt_parts(model: AMVLM) -> nn.ModuleDict:
    """Return all parts but the frozen sentence encoder."""
    return nn.ModuleDict({name: part for name, part in model.named_children() if name != "text_encoder"})


def total_loss(
    model: AMVLM, alignment: Alignment, batch: Batch, recipe: Recipe, chance: torch.Generator
) -> tuple[Tensor, dict[str, float]]:
    """Return the joint loss of a batch and its parts.

    Step 1's losses over images and captions (METHOD: step 1), and over prompts those that make the masks: segmentation
    and text-mask supervision, L_tg over present prompts, and the presence of each concept.
    """
    device = model.device
    images = batch.images.to(device).contiguous(memory_format=torch.channels_last)
    whole = batch.whole.to(device)
    with autocast(device):
        seen = model.see(images, whole)
        text = model.encode_text(batch.prompts)
        out = model.decode(model.features(images, whole, seen), text, batch.index.to(device))
        step_one = alignment.losses(model, seen, batch, chance) if recipe.step_one_weight else {}
    weights = recipe.step_one.model_dump()
    parts = {name: (recipe.step_one_weight * weights[name], value) for name, value in step_one.items()}
    parts |= mask_losses(out, text.t_cls, batch, recipe)
    loss = torch.stack([weight * value.float() for weight, value in parts.values()]).sum()
    return loss, {name: float(value.detach()) for name, (_, value) in parts.items()}


def mask_losses(out: AmvlmOutput, t_cls: Tensor, batch: Batch, recipe: Recipe) -> dict[str, tuple[float, Tensor]]:
    """Return weight and value of each loss over the N prompts of a batch."""
    targets = batch.targets.to(out.logits.device)
    area = targets.mean((1, 2, 3))
    present = area > _SEEN
    guidance = out.logits.new_zeros(())
    if int(present.sum()) > 1:
        kept = [c for c, there in zip(batch.concepts, present.tolist(), strict=True) if there]
        guidance = info_nce(out.v_text[present], t_cls[present], same=same_meaning(kept, targets.device))
    sure = present | (area == 0)
    quarter = nn.functional.avg_pool2d(targets, 4)
    balance = recipe.class_balance
    return {
        "segmentation": (1.0, segmentation_loss(out.logits, targets, balance=balance).mean()),
        "text_mask": (recipe.text_mask_weight, segmentation_loss(out.text_logits, quarter, balance=balance).mean()),
        "guidance": (recipe.guidance_weight, guidance),
        "presence": (
            recipe.presence_weight,
            nn.functional.binary_cross_entropy_with_logits(out.presence[sure], present[sure].float()),
        ),
    }


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
    """

    def __init__(self, recipe: Recipe, images: list[TaughtImage], out: Path, device: torch.device) -> None:
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
        self.model = build_model(config, seed=recipe.seed).to(device)
        self.alignment = Alignment(self.model, recipe.step_one).to(device)
        self.parts = learnt_parts(self.model)
        self.average: AveragedModel = averaged(self.parts, recipe.ema_decay)
        slow = [p for n, p in self.parts.named_parameters() if n.startswith("image_encoder")]
        fast = [p for n, p in self.parts.named_parameters() if not n.startswith("image_encoder")]
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
        if found != self.recipe.start:
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
        while self.step < self.recipe.steps:
            parts = self._one_step()
            recent = {k: 0.95 * recent.get(k, v) + 0.05 * v for k, v in parts.items()}
            if self.step % 50 == 0:
                self._log({"step": self.step, "seconds": round(time.monotonic() - started, 1), **recent})
            if self.step % self.recipe.score_every == 0 or self.step == self.recipe.steps:
                self._log({"step": self.step, "dice": self.scores()})
            if time.monotonic() - saved > self.recipe.save_every_seconds:
                self.save_state()
                saved = time.monotonic()
            if minutes is not None and time.monotonic() - started > minutes * 60:
                break
        self.save_state()
        return self.step >= self.recipe.steps

    def _one_step(self) -> dict[str, float]:
        recipe = self.recipe
        progress = self.step / recipe.steps
        rate = min(1.0, (self.step + 1) / recipe.warmup) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))
        for group in self.optimiser.param_groups:
            group["lr"] = recipe.learning_rate * rate * group["factor"]
        chance = torch.Generator().manual_seed(recipe.seed * 1_000_003 + self.step)
        loss, parts = total_loss(self.model, self.alignment, self.source.draw(self.step), recipe, chance)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_([p for g in self.optimiser.param_groups for p in g["params"]], 1.0)
        self.optimiser.step()
        self.average.update_parameters(self.parts)
        self.alignment.follow(self.model)
        self.step += 1
        return parts

    def averaged_model(self) -> AMVLM:
        """Return the averaged model in eval mode, sharing the sentence encoder."""
        model = build_model(self.model.config, text_encoder=self.model.text_encoder).to(self.device)
        learnt_parts(model).load_state_dict(self.average.module.state_dict())
        return model.eval()

    def scores(self) -> dict[str, float]:
        """Return the mean Dice of the averaged model on the validation images of each concept."""
        return score_images(self.averaged_model(), self.validation, self.device)

    def save_state(self) -> None:
        """Write everything that a resumed run needs."""
        tensors = {f"model.{k}": v for k, v in self.parts.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        tensors |= {f"alignment.{k}": v for k, v in self.alignment.state_dict().items()}
        for index, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{k}": v for k, v in state.items()}
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
        self.parts.load_state_dict(_below(tensors, "model."))
        self.average.load_state_dict(_below(tensors, "average."))
        self.alignment.load_state_dict(_below(tensors, "alignment."))
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        state: dict[int, dict[str, Any]] = {}
        for key, value in _below(tensors, "optimiser.").items():
            index, name = key.split(".", 1)
            like = parameters[int(index)]
            # The fused optimiser walks through memory: its state must lie in memory as the parameter does.
            laid = torch.empty_like(like).copy_(value) if value.shape == like.shape else value
            state.setdefault(int(index), {})[name] = laid
        whole = self.optimiser.state_dict()
        whole["state"] = state
        self.optimiser.load_state_dict(whole)

    def _log(self, record: dict[str, Any]) -> None:
        log.info("%s", record)
        with (self.out / "log.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


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
    if run.run(minutes):
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
