"""What decides a simulated annotation: the fields of its TOML recipe, and the arms that are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, model_validator

from napari_amvlm.config import LearningConfig
from training.runs.recipe import DatasetChoice
from training.simulation.corrections import Corrections  # noqa: TC001 - pydantic reads it
from training.simulation.mouse import MouseModel

_OWN = {"minutes": "learn_minutes", "steps": "learn_steps", "seed": "seed"}


@dataclass(frozen=True)
class Arm:
    """One way to work through a project.

    Attributes
    ----------
    order
        "queue": what teaches most comes first, asked anew in each round; "random": one random order.
    unlabelled
        Whether learning sees pixels that nobody reviewed.
    start
        "given": the recipe's weights; "random": weights of the same model that know nothing.
    """

    meaning: str
    order: Literal["queue", "random"] = "queue"
    unlabelled: bool = True
    start: Literal["given", "random"] = "given"


ARMS = {
    "ours": Arm("our loop"),
    "no-unlabelled": Arm("without unlabelled images", unlabelled=False),
    "random-order": Arm("in random order", order="random"),
    "plain": Arm("without unlabelled images, in random order", unlabelled=False, order="random"),
    "scratch": Arm("from random weights", start="random"),
}
"""The arms by name; all others are compared with the first."""


class SimulationRecipe(DatasetChoice):
    """Everything that decides a simulated annotation.

    The labelled images of the data set are annotated, the unlabelled ones lie in the project besides, and its
    validation images score every model.

    Attributes
    ----------
    prompt
        What is annotated; None where the masks show one thing.
    seed
        Of random order, random weights and learning.
    start
        An installed model's name or a file; None means the default model.
    region
        Side of the regions that images are worked through in, pixels; None takes images whole.
    cut
        Whether the regions become images of their own, which are held out and stay unlabelled one by one; otherwise an
        image with one reviewed region counts as labelled, and its other pixels as not reviewed.
    rounds
        How often there is learning.
    accept_every
        Pieces of work that are accepted before each learning.
    learn_steps, learn_minutes
        The budget of each learning; one of the two. Only steps can be repeated exactly.
    score_images
        Images that the queue is ordered by in each round, drawn anew; only they are worked on in it. None takes all.
    held_out_regions
        Regions of a held-out image that are annotated; further ones would teach nothing.
    target
        The Dice that figures tell the time to.
    stop_at_target
        Whether an arm ends where it has reached the target.
    corrections
        How masks are corrected: "paint", "strokes" or "clicks", see `training.simulation.corrections`.
    good_enough
        With strokes and clicks a mask is accepted at this Dice, or after 200 actions; painting makes all right.
    learning
        Fields of `LearningConfig` other than budget and seed.
    arms
        The arms to run, names of `ARMS`.
    """

    name: str = Field(min_length=1)
    prompt: str | None = Field(None, min_length=1)
    seed: int = Field(0, ge=0)
    start: str | None = None
    region: int | None = Field(None, ge=16, le=100_000)
    cut: bool = False
    rounds: int = Field(8, ge=1, le=1000)
    accept_every: int = Field(8, ge=1, le=100_000)
    learn_steps: int | None = Field(None, ge=1)
    learn_minutes: float | None = Field(None, gt=0)
    score_images: int | None = Field(None, ge=1)
    held_out_regions: int = Field(1, ge=1)
    target: float = Field(0.78, gt=0, le=1)
    stop_at_target: bool = False
    mouse: MouseModel = MouseModel()
    corrections: Corrections = "paint"
    good_enough: float = Field(0.95, gt=0, le=1)
    learning: dict[str, Any] = Field(default_factory=dict)
    arms: tuple[str, ...] = Field(tuple(ARMS), min_length=1)

    @model_validator(mode="after")
    def _check_parts(self) -> SimulationRecipe:
        own = [key for key in _OWN if key in self.learning]
        if own:
            raise ValueError(f"{own[0]} does not belong under learning; set {_OWN[own[0]]} of the recipe itself")
        if self.cut and self.region is None:
            raise ValueError("cut needs the side of the regions: set region too")
        if self.corrections != "paint" and self.region is not None and not self.cut:
            raise ValueError(f"corrections by {self.corrections} take images whole: set cut too, or leave out region")
        unknown = [arm for arm in self.arms if arm not in ARMS]
        if unknown:
            raise ValueError(f"there is no arm {', '.join(unknown)}; choose from {', '.join(ARMS)}")
        self.learning_config(ARMS["ours"], 1)
        return self

    def learning_config(self, arm: Arm, number: int) -> LearningConfig:
        """Return the configuration of the learning loop of an arm in round `number`."""
        own = {"minutes": self.learn_minutes, "steps": self.learn_steps, "seed": self.seed * 1000 + number}
        without = {} if arm.unlabelled else {"unlabelled_batch": 0, "consistency": 0.0}
        return LearningConfig.model_validate(self.learning | without | own)

    def fixed(self) -> dict[str, Any]:
        """Return the settings that an arm must be resumed with: all but its length and what figures show."""
        return self.model_dump(mode="json", exclude={"name", "rounds", "arms", "target", "stop_at_target"})
