"""One arm of a simulation: annotate, learn, let the better model serve, and score it, round after round."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from napari_amvlm.errors import Cancelled, DivergedError, NotEnoughDataError
from napari_amvlm.evaluation import evaluate_pairs
from napari_amvlm.generators import drain
from napari_amvlm.models.catalog import find_model
from napari_amvlm.models.checkpoint import load_model
from napari_amvlm.models.model_info import read_info
from napari_amvlm.predictor import Predictor
from napari_amvlm.project import Project
from napari_amvlm.session import Verdict, judged_run, order_queue
from napari_amvlm.session.learning_run import LearningRun
from training.runs.folder import RunFolder, file_hashes
from training.runs.random_start import random_start
from training.simulation.person import SimulatedPerson
from training.simulation.project import enter_images, in_random_order, some_images, work_to_do
from training.simulation.recipe import ARMS
from training.simulation.report import Round, read_rounds, write_rounds

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch

    from napari_amvlm.models.text_encoder import TextEncoder
    from napari_amvlm.project import ModelRecord, QueueItem
    from training.simulation.project import Material
    from training.simulation.recipe import SimulationRecipe

log = logging.getLogger("training.simulate")

_CACHE_BYTES = 256 << 20
_CLOCK, _DRAWN = "clock.json", "drawn.json"


class SimulatedArm:
    """An arm of a simulation; its folder holds a project, and the same call goes on where it was stopped or killed.

    Everything that was accepted stays, and a learning that was cut off is done anew; waiting for what was cut off is
    not counted.

    Parameters
    ----------
    name
        Of `ARMS`.
    material
        Images and what is right in them.
    text_encoder
        A loaded sentence encoder to share.
    should_stop
        Asked between looks, images and steps.
    show
        Told the share of the arm that is done, and a note.
    on_round
        Called after each round that was finished.
    """

    def __init__(
        self,
        name: str,
        recipe: SimulationRecipe,
        material: Material,
        folder: Path,
        *,
        device: torch.device,
        text_encoder: TextEncoder,
        should_stop: Callable[[], bool],
        show: Callable[[float, str], None],
        on_round: Callable[[], object],
    ) -> None:
        self._name, self._arm, self._recipe, self._material = name, ARMS[name], recipe, material
        self._folder, self._device, self._text_encoder = RunFolder(folder), device, text_encoder
        self._should_stop, self._show, self._on_round = should_stop, show, on_round
        self._seconds: dict[str, float] = {"learning": 0.0, "prediction": 0.0, "ordering": 0.0, "choosing": 0.0}
        self._rounds: list[Round] = []

    def run(self) -> list[Round]:
        """Work until all rounds are done, nothing is left to annotate, or the target is reached where that ends it.

        Raises
        ------
        Cancelled
            `should_stop` said so; the same call goes on.
        InputError
            The folder holds an arm with other settings.
        """
        self._claim()
        self._rounds = read_rounds(self._folder)
        self._seconds |= self._folder.read(_CLOCK) or {}
        if self._over():
            return self._rounds
        recipe, material = self._recipe, self._material
        with Project.open_or_create(self._folder.path / "project.amvlm") as project:
            pairs = enter_images(project, material, None if recipe.cut else recipe.region)
            person = SimulatedPerson(
                project,
                material,
                pairs,
                recipe.mouse,
                corrections=recipe.corrections,
                good_enough=recipe.good_enough,
                spend=self._spend,
                should_stop=self._should_stop,
            )
            served = project.models.served()
            predictor = self._load(served.path if served else self._start())
            if not self._rounds:
                self._note(project, predictor, "the start")
            while not self._over():
                self._annotate(project, person, predictor)
                if _accepted(project) == self._rounds[-1].accepted:
                    log.info("%s: nothing is left to annotate.", self._name)
                    break
                predictor, verdict = self._learn(project, person, predictor)
                self._note(project, predictor, verdict)
        return self._rounds

    def _claim(self) -> None:
        """Check that the folder is new, or that its arm has the same settings."""
        parts = {"train": self._material.train, "validate": self._material.validate}
        hashes = {
            name: file_hashes([file for pair in part.pairs for file in (pair.image, pair.required_mask())], part.root)
            for name, part in parts.items()
        }
        settings = {
            "arm": self._name,
            "recipe": self._recipe.fixed(),
            "start": read_info(find_model(self._recipe.start)).sha256,
            "images": hashes,
            "unlabelled": [pair.name for pair in self._material.unlabelled],
        }
        self._folder.claim(settings)

    def _over(self) -> bool:
        recipe, rounds = self._recipe, self._rounds
        there = bool(rounds) and recipe.stop_at_target and rounds[-1].dice >= recipe.target
        return there or len(rounds) > recipe.rounds

    def _start(self) -> Path:
        """Return the weights that the arm starts from."""
        given = find_model(self._recipe.start)
        if self._arm.start == "given":
            return given
        return random_start(self._folder.path, self._recipe.seed, given, self._text_encoder)

    def _load(self, path: Path) -> Predictor:
        model, info = load_model(path, device=self._device, text_encoder=self._text_encoder)
        return Predictor(model, device=str(self._device), info=info, cache_bytes=_CACHE_BYTES)

    # Annotating

    def _annotate(self, project: Project, person: SimulatedPerson, predictor: Predictor) -> None:
        """Accept queue items until those of this round are done, or nothing is left."""
        wanted = len(self._rounds) * self._recipe.accept_every
        accepted = _accepted(project)
        if accepted >= wanted:
            return
        self._order(project, predictor)
        while accepted < wanted:
            self._check()
            todo = self._todo(project)
            if not todo:
                return
            person.accept(todo[0], predictor)
            accepted += 1
            self._tell(0.0, f"{accepted} accepted")

    def _order(self, project: Project, predictor: Predictor) -> None:
        """Let the model order the queue at the beginning of a round, and note which items it was asked about."""
        drawn = self._folder.read(_DRAWN) or {}
        if self._arm.order == "random" or drawn.get("round") == len(self._rounds):
            return
        recipe = self._recipe
        items = some_images(
            work_to_do(project, recipe.held_out_regions), recipe.score_images, f"{recipe.seed} {len(self._rounds)}"
        )
        started = time.monotonic()
        order = order_queue(project, predictor, items, [self._material.prompt], should_stop=self._should_stop)
        self._spend("ordering", time.monotonic() - started)
        for problem in order.problems:
            log.warning("%s: %s", self._name, problem)
        self._folder.write(_DRAWN, {"round": len(self._rounds), "items": [item.id for item in items]})

    def _todo(self, project: Project) -> list[QueueItem]:
        """Return what is left to annotate, in the order of the arm."""
        items = work_to_do(project, self._recipe.held_out_regions)
        if self._arm.order == "random":
            return in_random_order(items, self._recipe.seed)
        drawn = set((self._folder.read(_DRAWN) or {}).get("items", ()))
        # where the drawn images run out, the others follow
        return sorted(items, key=lambda item: item.id not in drawn)

    # Learning

    def _learn(self, project: Project, person: SimulatedPerson, present: Predictor) -> tuple[Predictor, str]:
        """Learn from what is accepted; return the model that serves from now on, and what became of the new one.

        As in the Learn dock a model serves by itself that gained on held-out images and took nothing back; a person
        decides where these are too few, or the gain is within the noise.
        """
        record = self._learnt(project) or self._learn_now(project, present)
        if isinstance(record, str):
            return present, record
        if record.id in {serving.model_id for serving in project.models.servings()}:
            return self._load(record.path), "serves"
        if record.discarded:
            return present, "not better"
        run = next(run for run in project.runs.all() if run.model_id == record.id)
        judgement = judged_run(project, run.id)[1]
        verdict = judgement.verdict
        new = self._load(record.path)
        by_choice = " by choice" if judgement.for_a_person and verdict != Verdict.WORSE else ""
        if verdict == Verdict.IMPROVED or (by_choice and person.prefers(new, present, self._todo(project))):
            project.models.serve(record.id)
            return new, f"serves{by_choice}"
        project.models.discard(record.id)
        return present, f"not better{by_choice}"

    def _learnt(self, project: Project) -> ModelRecord | None:
        """Return the model of this round if it was learnt before the program ended."""
        seed = self._recipe.learning_config(self._arm, len(self._rounds)).seed
        ids = {run.model_id for run in project.runs.all() if run.config.get("seed") == seed}
        return next((model for model in project.models.all(discarded=True) if model.id in ids), None)

    def _learn_now(self, project: Project, present: Predictor) -> ModelRecord | str:
        """Learn as the Learn dock does, and return the new model, or in words why there is none."""
        config = self._recipe.learning_config(self._arm, len(self._rounds))
        started = time.monotonic()
        run = LearningRun(project, present, config, device=str(self._device), on_problem=log.warning)
        reports = run.steps(self._should_stop, lambda: False)
        try:
            result = drain(reports, lambda report: self._tell(report.fraction, "learning"))
        except NotEnoughDataError as error:  # so far all accepted regions are empty
            log.info("%s, round %d: %s", self._name, len(self._rounds), error)
            return "nothing to learn"
        except DivergedError as error:
            log.warning("%s, round %d: %s", self._name, len(self._rounds), error)
            result = None
        if result is not None and result.stopped:
            raise Cancelled(f"Stopped while {self._name} learnt; the same command does its round again.")
        record = "diverged" if result is None else run.keep(result).record or "not better"
        self._spend("learning", time.monotonic() - started)
        return record

    # Keeping account

    def _note(self, project: Project, predictor: Predictor, verdict: str) -> None:
        """Score the model that serves, and keep the round."""
        unchanged = bool(self._rounds) and not verdict.startswith("serves")
        spent = {name: seconds / 60 for name, seconds in self._seconds.items()}
        corrected = sum(each.seconds_spent for each in project.corrections.select(history=True)) / 60
        each = Round(
            len(self._rounds),
            _accepted(project),
            project.images.counts().held_out,
            corrected + spent["choosing"],
            spent["learning"],
            spent["prediction"],
            spent["ordering"],
            self._rounds[-1].dice if unchanged else self._score(predictor),
            verdict,
        )
        self._rounds.append(each)
        write_rounds(self._folder, self._rounds)
        log.info(
            "%s, round %d of %d: %d accepted (%d held out), %.1f minutes annotating, %.1f waiting, Dice %.4f (%s)",
            *(self._name, each.number, self._recipe.rounds, each.accepted, each.held_out),
            *(each.annotation, each.waiting, each.dice, verdict),
        )
        self._on_round()

    def _score(self, predictor: Predictor) -> float:
        """Return the mean Dice of a model on the validation images."""
        prompt, value = self._material.prompt, self._material.value
        pairs = self._material.validate.pairs
        scores = evaluate_pairs(
            predictor, pairs, {prompt: value}, one=True, on_progress=lambda _done, _all: self._check()
        )
        return float(scores["dice"])

    def _spend(self, what: str, seconds: float) -> None:
        self._seconds[what] += seconds
        self._folder.write(_CLOCK, self._seconds)

    def _tell(self, share: float, note: str) -> None:
        number = len(self._rounds)
        self._show((number - 1 + share) / (self._recipe.rounds + 1), f"{self._name}, round {number}, {note}")

    def _check(self) -> None:
        if self._should_stop():
            raise Cancelled(f"Stopped in round {len(self._rounds)} of {self._name}; the same command goes on.")


def _accepted(project: Project) -> int:
    """Return how many queue items were accepted: each is one entry of the ledger."""
    return len(project.corrections.select(history=True))
