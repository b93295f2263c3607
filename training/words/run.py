"""A pretraining run that teaches a vocabulary: sets that an index or a recipe names, and prompts with structure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, Dataset

from napari_amvlm.errors import InputError
from training.datasets.word_sets import read_index, read_wordings
from training.pretraining.run import Pretraining
from training.runs.weights import save_as
from training.words.batches import WordSource
from training.words.corpus import LabelledImage, load_set, split_subjects
from training.words.held_out import without_some_wordings, without_words
from training.words.scores import by_pair, few_of_each, mean_dice, score_words
from training.words.vocabulary import concepts_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_amvlm.config import ModelConfig
    from napari_amvlm.models.text_encoder import TextEncoder
    from training.datasets.word_sets import SetSpec
    from training.pretraining.batches import Batch
    from training.pretraining.recipe import Recipe

BEST = "best.safetensors"
"""Weights of the best validation so far."""

Corpus = tuple[list[LabelledImage], dict[str, tuple[str, ...]]]
"""Images of sets, and the synonyms of their words."""


def sets_of(recipe: Recipe, data: Path) -> tuple[SetSpec, ...]:
    """Return the sets that a recipe names, itself and by index files.

    Raises
    ------
    InputError
        Two sets have one name.
    DatasetError
        An index cannot be used.
    """
    sets = [*recipe.sets, *(spec for index in recipe.index for spec in read_index(data / index.file, index.weights))]
    names = [spec.name for spec in sets]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"Two sets of the recipe are called {twice!r}; take one out or rename it.")
    return tuple(sets)


def load_corpus(recipe: Recipe, data: Path) -> Corpus:
    """Return all images of a recipe's sets, and the synonyms of their words."""
    wordings: dict[str, tuple[str, ...]] = {}
    for index in recipe.index:
        if index.wordings is not None:
            wordings |= read_wordings(data / index.wordings)
    return [image for spec in sets_of(recipe, data) for image in load_set(spec, data)], wordings


class WordRun(Pretraining):
    """A run whose images are of sets with words.

    Parameters
    ----------
    recipe, out, device, text_encoder
        As those of `Pretraining`.
    """

    def __init__(
        self,
        recipe: Recipe,
        images: list[LabelledImage],
        out: Path,
        device: torch.device,
        *,
        wordings: dict[str, tuple[str, ...]],
        text_encoder: TextEncoder | None = None,
    ) -> None:
        self._wordings = wordings
        super().__init__(recipe, images, out, device, text_encoder=text_encoder)
        if device.type == "cpu":
            # Over some hundred tokens the fused kernel is slower to differentiate on a processor than plain products.
            self.model.image_encoder.vit.set_attn_implementation("eager")  # type: ignore[operator]

    def _prepare(self, images: list[LabelledImage]) -> ModelConfig:
        recipe = self.recipe
        nowhere = sorted(set(recipe.emphasis) - {image.spec.name for image in images if image.spec.share is None})
        if nowhere:
            raise InputError(
                f"The recipe's emphasis names {nowhere[0]!r}, which no set without a share of its own is called; "
                "correct its name or take it out."
            )
        self.training, self.validation = split_subjects(images)
        if recipe.held_out_words:
            images = without_words(images, recipe.held_out_words)
            left = {image.key: image for image in images}
            self.training, self.validation = (
                [left[image.key] for image in part if image.key in left] for part in (self.training, self.validation)
            )
        concepts = concepts_of(images, self._wordings, recipe.sides)
        if recipe.held_out_wordings:
            concepts = without_some_wordings(concepts)
            self.training = [replace(image, caption=None) for image in self.training]  # it may hold any wording
        unknown = sorted(set(recipe.in_vain) - {concept.name for concept in concepts})
        if unknown:
            raise InputError(f"The recipe's in_vain names {unknown[0]!r}, which no set teaches; take it out.")
        source = WordSource(
            self.training,
            concepts,
            seed=recipe.seed,
            batch=recipe.batch,
            size=recipe.crop,
            first=(recipe.first_steps, recipe.first_crop),
            emphasis=recipe.emphasis,
            levels=recipe.levels,
            negatives=recipe.negatives,
            in_vain=recipe.in_vain,
            captions=recipe.step_one_weight > 0,
        )
        self.source = Ahead(source, recipe.loaders)
        return recipe.model.model_copy(update={"concepts": concepts, "structure": True})

    def score(self) -> dict[str, float]:
        """Return the mean Dice of each set's words over some validation images; the best weights are kept."""
        rows = by_pair(self.scored())
        mean = mean_dice(rows)
        if mean > self.best:
            self.best = mean
            self.write(self.out / BEST, {"mean Dice": round(mean, 4)})
        return {f"{row['set']}: {row['word']}": row["dice"] for row in rows} | {"mean": round(mean, 4)}

    def _score(self) -> list[Any]:
        """Return what the averaged model finds in some validation images of each set."""
        images = few_of_each(self.validation, self.recipe.score_images)
        return score_words(self.averaged_model(), images, boundaries=False)

    def write(self, path: Path, scores: dict[str, float]) -> None:
        """Write the averaged model as weights."""
        save_as(self.averaged_model(), path, self.recipe, scores=scores)

    def split(self) -> dict[str, Any]:
        """Return the names of the images for training and for validation."""
        return {
            "split": {"training": [i.key for i in self.training], "validation": [i.key for i in self.validation]},
            "words": {concept.name: list(concept.prompts) for concept in self.model.config.concepts},
        }


class Ahead:
    """Makes the batches of the next steps in processes of their own.

    Parameters
    ----------
    source
        Makes the batch of a step.
    loaders
        Number of processes; 0 makes each batch when it is drawn.
    """

    def __init__(self, source: WordSource, loaders: int) -> None:
        self._source, self._loaders = source, loaders
        self._batches: Iterator[Batch] | None = None
        self._next = -1

    def draw(self, step: int) -> Batch:
        """Return the batch of `step`; steps that follow each other come from the processes."""
        if not self._loaders:
            return self._source.draw(step)
        if self._batches is None or step != self._next:
            steps = _Steps(self._source, step)
            loader = DataLoader(
                steps,
                batch_size=None,
                num_workers=self._loaders,
                prefetch_factor=3,
                worker_init_fn=_one_thread,
                multiprocessing_context="fork",
            )
            self._batches = iter(loader)
        self._next = step + 1
        return next(self._batches)


class _Steps(Dataset[Any]):
    def __init__(self, source: WordSource, first: int) -> None:
        self._source, self._first = source, first

    def __len__(self) -> int:
        return 10_000_000

    def __getitem__(self, index: int) -> Batch:
        return self._source.draw(self._first + index)


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
