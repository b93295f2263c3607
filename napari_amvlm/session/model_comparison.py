"""Two models side by side on one accepted image: the mask of each, and its Dice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_amvlm.errors import ModelFileError, ProjectError
from napari_amvlm.models.catalog import FORMER
from napari_amvlm.models.model_info import read_info
from napari_amvlm.project import ImageScore
from napari_amvlm.session.learning_data import is_corrected, labelled_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from napari_amvlm.learning.data import LabelledImage
    from napari_amvlm.models.amvlm import AMVLM
    from napari_amvlm.models.model_info import ModelInfo
    from napari_amvlm.project import ModelRecord, Project
    from napari_amvlm.session.learning_data import ScaleChooser

LONGEST_SHOWN = 4096
"""Longest side of shown pictures, px; scores are taken at full size."""

BEFORE, AFTER, ACCEPTED = 1, 2, 4


@dataclass(frozen=True)
class Compared:
    """The masks of two models on one image.

    Attributes
    ----------
    scores
        For each prompt the Dice of the earlier and of the later model, on reviewed pixels, at full size.
    step
        The arrays below hold every `step`-th pixel of the image.
    pixels
        The image, uint8 `(h, w, 3)`.
    masks
        For each prompt uint8 `(h, w)`, a sum of `BEFORE`, `AFTER` and `ACCEPTED`; 0 where nobody looked.
    new
        Prompts that the earlier model was not taught: it has no mask of them.
    """

    image_id: int
    name: str
    scores: tuple[ImageScore, ...]
    shape: tuple[int, int]
    step: int
    pixels: NDArray[np.uint8]
    masks: Mapping[str, NDArray[np.uint8]]
    new: frozenset[str] = frozenset()

    @property
    def nbytes(self) -> int:
        """Bytes that the arrays take."""
        return self.pixels.nbytes + sum(mask.nbytes for mask in self.masks.values())

    def score(self, prompt: str) -> ImageScore:
        """Return the score of one prompt."""
        return next(score for score in self.scores if score.prompt == prompt)


class Comparer:
    """Runs two models on images of a project; the models are read for the first image and kept.

    Parameters
    ----------
    predictor_scales
        Gives the working scale of a prompt, as for `learning_data`.
    """

    def __init__(
        self, project: Project, before: Path, after: Path, *, predictor_scales: ScaleChooser, device: torch.device
    ) -> None:
        self._project = project
        self._files = (before, after)
        self._scales = predictor_scales
        self._device = device
        self._models: tuple[AMVLM, AMVLM] | None = None

    def compare(self, image_id: int, should_stop: Callable[[], bool] | None = None) -> Compared:
        """Run both models with every prompt that is accepted on an image and that the later model was taught.

        Of a prompt that the earlier one was not taught, the later one has to beat what its network finds, as in a run.

        Raises
        ------
        ProjectError, ImageError
            The image or a mask cannot be read, or nothing that the later model was taught is accepted on it.
        ModelFileError, TextEncoderError
            A model cannot be read.
        OutOfMemoryError
            The device has not enough memory.
        Cancelled
            `should_stop` returned True.
        """
        from napari_amvlm.device import memory_errors
        from napari_amvlm.learning.validation import predicted_masks, scores_of
        from napari_amvlm.models.words.taught import taught

        corrections = self._project.corrections.select(image_id)
        image = labelled_image(self._project, image_id, predictor_scales=self._scales)
        with memory_errors(self._device, "two models at once", "close other programs, or let a learning run end first"):
            models = self._both()
            known = [{prompt for prompt in image.masks if taught(model.config, prompt)} for model in models]
            if not known[1]:
                words = ", ".join(map(repr, image.masks))
                raise ProjectError(f"Nothing can be compared on {image.name}: the model was not taught {words}.")
            image = replace(image, masks={prompt: mask for prompt, mask in image.masks.items() if prompt in known[1]})
            painted = [predicted_masks(model, image, should_stop=should_stop) for model in models]
        before, after = (scores_of(image, of_model) for of_model in painted)
        new = frozenset(known[1] - known[0])
        painted[0].update((prompt, np.zeros_like(painted[0][prompt])) for prompt in new)
        masks = [{prompt: values > 0 for prompt, values in of_model.items()} for of_model in painted]
        pixels = image.pixels()
        height, width = pixels.shape[:2]
        step = -(-max(height, width) // LONGEST_SHOWN)
        return Compared(
            image_id=image_id,
            name=image.name,
            scores=tuple(
                ImageScore(
                    image_id,
                    image.name,
                    before[c.prompt],
                    after[c.prompt],
                    c.prompt,
                    c.id,
                    is_corrected(self._project, c),
                )
                for c in corrections
                if c.prompt in image.masks
            ),
            shape=(height, width),
            step=step,
            pixels=np.rint(255 * pixels[::step, ::step]).astype(np.uint8),
            masks={prompt: _coded(image, prompt, masks, step) for prompt in image.masks},
            new=new,
        )

    def _both(self) -> tuple[AMVLM, AMVLM]:
        from napari_amvlm.models.checkpoint import load_model

        if self._models is None:
            first, second = self._files
            before, info = load_model(first, device=self._device)
            wanted = read_info(second).config.text_encoder
            # a sentence encoder that nothing changed is the same in both, and most of what a model weighs
            is_shared = wanted == info.config.text_encoder and not wanted.trainable
            encoder = before.text_encoder if is_shared else None
            self._models = before, load_model(second, device=self._device, text_encoder=encoder)[0]
        return self._models


class Earlier(NamedTuple):
    """The file of a model to compare another one with; if it was not learnt from that, `instead` says so."""

    path: Path
    instead: str = ""


def parent_file(project: Project, record: ModelRecord, installed: Iterable[ModelInfo]) -> Path:
    """Return the file of the model that `record` was learnt from.

    Parameters
    ----------
    project
        Its models, discarded ones too, are looked through first.

    Raises
    ------
    ModelFileError
        It is neither in the project nor installed.
    """
    path = _parent_path(project, record, installed)
    if path is None:
        raise _missing(record, _parent_title(record))
    return path


def earlier_model(project: Project, record: ModelRecord, installed: Sequence[ModelInfo]) -> Earlier:
    """Return the model to compare `record` with: the one that it was learnt from, else what is installed of that name.

    Raises
    ------
    ModelFileError
        Neither is in the project or installed.
    """
    path = _parent_path(project, record, installed)
    if path is not None:
        return Earlier(path)
    title = _parent_title(record)
    today = next((info for info in installed if title.startswith(f"{info.name} ")), None)
    if today is None:
        raise _missing(record, title)
    return Earlier(
        today.path,
        f"{record.name} was learnt from former weights of {title}, which are not installed any more; it is compared "
        f"with the {today.title} that is installed.",
    )


def _parent_path(project: Project, record: ModelRecord, installed: Iterable[ModelInfo]) -> Path | None:
    known = {info.sha256: info.path for info in installed}
    known |= {model.sha256: model.path for model in project.models.all(discarded=True)}
    return known.get(record.parent or "")


def _parent_title(record: ModelRecord) -> str:
    """Return name and version of the model that `record` was learnt from, empty where they are not known."""
    return FORMER.get(record.parent or "") or read_info(record.path).parent_title


def _missing(record: ModelRecord, title: str) -> ModelFileError:
    named = f", {title}," if title else ""
    return ModelFileError(
        f"The model that {record.name} was learnt from{named} is neither in the project nor installed, so there is "
        "nothing to compare it with; install that model again, or learn anew from one that is installed."
    )


def _coded(
    image: LabelledImage, prompt: str, masks: Iterable[Mapping[str, NDArray[np.bool_]]], step: int
) -> NDArray[np.uint8]:
    """Return one prompt's three masks in one array; what nobody looked at counts for no score, and is left out."""
    before, after = (of_model[prompt] for of_model in masks)
    code = np.zeros(before[::step, ::step].shape, np.uint8)
    for value, mask in ((BEFORE, before), (AFTER, after), (ACCEPTED, image.masks[prompt])):
        code[mask[::step, ::step]] += np.uint8(value)
    reviewed = image.reviewed_for(prompt)
    if reviewed is not None:
        code[~reviewed[::step, ::step]] = 0
    return code
