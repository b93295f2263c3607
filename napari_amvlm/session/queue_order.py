"""What to annotate next: the served model scores every queue item, and what teaches most comes first.

Three things make an item instructive: the model's *entropy*, that is how far its probability is from 0 and 1;
*disagreement*, where two answers to one question differ; and looking unlike what was accepted and what comes before it.

Which two answers disagree depends on what there is:

- The model came out of a run of this project: teacher and student. The teacher serves; the student, which saw other
  views and took the last steps by itself, lies beside it. Both started alike, so that they differ where what was learnt
  has not settled yet.
- There is no student, as with the installed model before the first run: the mask and the text evidence. The text-guided
  mask compares the words with each patch of the image; the U-Net draws borders from the image, with that as a hint.
  They are two ways from the prompt to a mask, and where they differ one of them is wrong. Both come out of every
  prediction, so this costs nothing. It goes along with entropy to a good part (docs/architecture.md has figures).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import AmvlmError, Cancelled, ProjectError
from napari_amvlm.imaging import Tile, is_gray, tile_grid
from napari_amvlm.imaging.values import value_limits
from napari_amvlm.project import TileScores, score_tiles
from napari_amvlm.project.prompts import clean_prompt
from napari_amvlm.session.student_weights import load_student

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from napari_amvlm.config import ScaleName
    from napari_amvlm.models.amvlm import AMVLM
    from napari_amvlm.predictor import Predictor
    from napari_amvlm.project import Project, QueueItem

    Probability = NDArray[np.float32]

TILE = 128
"""Side of the tiles that are scored, pixels."""

_MARGIN = 64
"""A region is looked at together with so many pixels around it, so that its border is seen in context."""

_KEPT = 1 << 28
"""Bytes of encoded images that are kept for the next prompt: one image's, as the next item is another."""


def _no() -> bool:
    return False


@dataclass(frozen=True)
class QueueOrder:
    """How ordering the queue went.

    Attributes
    ----------
    problems
        A sentence for each item that could not be scored, which comes last if it never was, and one where the student
        could not be read.
    with_student
        Whether disagreement is that of teacher and student; else it is that of mask and text evidence.
    """

    problems: tuple[str, ...]
    with_student: bool


def order_queue(
    project: Project,
    predictor: Predictor,
    items: Sequence[QueueItem],
    prompts: Sequence[str],
    *,
    on_item: Callable[[int, QueueItem], None] | None = None,
    should_stop: Callable[[], bool] = _no,
) -> QueueOrder:
    """Score items that the model has not scored yet, and sort the queue by what teaches most.

    Parameters
    ----------
    project
        A project open for writing.
    predictor
        Serves the model; what image it looks at does not change.
    on_item
        Called with the index and the item before each one is scored.
    should_stop
        Asked before every batch of tiles.

    Returns
    -------
    QueueOrder
        How it went; `project.queue.items()` has the order.

    Raises
    ------
    ProjectError
        The project is open for reading only.
    Cancelled
        `should_stop` said so; the order is as it was.
    """
    if project.read_only:
        raise ProjectError(f"{project.root} is open for reading only, so its queue keeps its order: open it to write.")
    scorer = QueueScorer(project, predictor, prompts)
    problems = [scorer.student_problem] if scorer.student_problem else []
    for index, item in enumerate(items):
        if on_item is not None:
            on_item(index, item)
        try:
            scorer.score(item, should_stop)
        except Cancelled:
            raise
        except AmvlmError as error:
            problems.append(str(error))
    project.queue.sort(prompts=prompts)
    return QueueOrder(tuple(problems), scorer.has_student)


class QueueScorer:
    """Scores queue items with one model, tile by tile, and stores what they look like.

    Scores that are stored already for the same model file are kept, and so is what an item looks like, also
    when a model that was learnt from it serves: fine-tuning leaves the image encoder alone.

    Parameters
    ----------
    project
        A project open for writing.
    predictor
        Serves the model. The scorer looks at images with a predictor of its own, so that the image at hand stays.
    prompts
        Prompts that count. A working scale that a person set for one in the project holds here too.

    Attributes
    ----------
    student_problem
        Why the student of the run that made the model cannot be used, empty where nothing is wrong.
    """

    def __init__(self, project: Project, predictor: Predictor, prompts: Iterable[str]) -> None:
        from napari_amvlm.models.feature_maps import embedding_key
        from napari_amvlm.predictor import Predictor

        self._project = project
        self._prompts = tuple(dict.fromkeys(clean_prompt(prompt) for prompt in prompts))
        self._settings = {record.text: record for record in project.prompts.all()}
        (model, info), device = predictor.served, str(predictor.device)
        self._model = info.sha256 if info is not None else None
        self._looks = embedding_key(model)
        self._predictor = Predictor(model, device=device, cache_bytes=_KEPT)
        self.student_problem = ""
        student = self._load_student(model)
        self._student = Predictor(student, device=device, cache_bytes=_KEPT) if student is not None else None
        self._seen: _Seen | None = None

    @property
    def has_student(self) -> bool:
        """Whether disagreement is that of teacher and student; else it is that of mask and text evidence."""
        return self._student is not None

    def score(self, item: QueueItem, should_stop: Callable[[], bool] = _no) -> None:
        """Store what is missing of one item: scores for each prompt, and the feature.

        Raises
        ------
        ProjectError, ImageError
            Its image cannot be read.
        Cancelled
            `should_stop` said so; what was stored stays.
        """
        queue = self._project.queue
        known = queue.scored_by(item.id)
        missing = [prompt for prompt in self._prompts if self._model is None or known.get(prompt) != self._model]
        described = queue.described_by(item.id) == self._looks
        if not missing and described:
            return
        image = self._image(item)
        for prompt in missing:
            queue.store_scores(item.id, prompt, self._scores(image, item, prompt, should_stop), model=self._model)
        if not described:
            queue.store_feature(item.id, self._feature(image, item, should_stop), model=self._looks)
        queue.note_predicted(item.id)

    def _scores(self, image: _Seen, item: QueueItem, prompt: str, should_stop: Callable[[], bool]) -> TileScores:
        scale, magnification = self._scale(image, prompt)
        part = Tile(0, 0, *image.shape) if scale == "whole" else _grown(item, image.shape)
        if should_stop():
            raise Cancelled("Stopped; the order of the queue is as it was.")
        answers = [
            self._shown(each, image, part).predict(
                prompt, scale=scale, magnification=magnification, should_stop=should_stop
            )
            for each in (self._predictor, self._student)
            if each is not None
        ]
        probability = answers[0].probability
        other = answers[1].probability if len(answers) > 1 else answers[0].text_probability
        return _scored(other, probability, part, _tiles(item, image.shape))

    def _feature(self, image: _Seen, item: QueueItem, should_stop: Callable[[], bool]) -> NDArray[np.float32]:
        part = _grown(item, image.shape, by=0)
        return self._shown(self._predictor, image, part).describe(should_stop=should_stop)

    def _load_student(self, teacher: AMVLM) -> AMVLM | None:
        try:
            return load_student(self._project, teacher, self._model)
        except AmvlmError as error:
            self.student_problem = str(error)
            return None

    def _image(self, item: QueueItem) -> _Seen:
        """Return the pixels of an item; those of the last image are at hand for its other regions."""
        if self._seen is None or self._seen.image_id != item.image_id:
            self._seen = None
            pixels = self._project.images.load(self._project.images.get(item.image_id))
            self._seen = _Seen(item.image_id, pixels, value_limits(pixels), is_gray(pixels))
        return self._seen

    @staticmethod
    def _shown(predictor: Predictor, image: _Seen, part: Tile) -> Predictor:
        predictor.set_image(image.pixels[part.slices], key=(image.image_id, part), limits=image.limits)
        return predictor

    def _scale(self, image: _Seen, prompt: str) -> tuple[ScaleName, float]:
        """Return the working scale that a person set for a prompt, or else the model's choice, and magnification."""
        settings = self._settings.get(prompt)
        magnification = (settings.magnification if settings is not None else None) or 1.0
        if settings is not None and settings.scale is not None:
            return settings.scale, magnification
        return self._predictor.scale_for(prompt, image.shape, gray=image.gray).name, magnification


@dataclass(frozen=True)
class _Seen:
    image_id: int
    pixels: NDArray[Any]
    limits: tuple[float, float]
    gray: bool

    @property
    def shape(self) -> tuple[int, int]:
        return self.pixels.shape[0], self.pixels.shape[1]


def _grown(item: QueueItem, shape: tuple[int, int], by: int = _MARGIN) -> Tile:
    """Return the region of an item with `by` pixels around it, as far as the image goes; or the image."""
    region = item.region
    if region is None:
        return Tile(0, 0, *shape)
    top, left = max(0, region.y - by), max(0, region.x - by)
    bottom, right = min(shape[0], region.y + region.height + by), min(shape[1], region.x + region.width + by)
    return Tile(top, left, bottom - top, right - left)


def _tiles(item: QueueItem, shape: tuple[int, int]) -> list[Tile]:
    """Return the tiles of an item that are scored, in pixels of its image."""
    area = _grown(item, shape, by=0)
    inside = tile_grid((area.height, area.width), TILE, 0)
    return [Tile(tile.y + area.y, tile.x + area.x, tile.height, tile.width) for tile in inside]


def _scored(other: Probability, probability: Probability, part: Tile, tiles: Sequence[Tile]) -> TileScores:
    """Score tiles of an image, of which two answers are about `part`."""
    moved = [Tile(tile.y - part.y, tile.x - part.x, tile.height, tile.width) for tile in tiles]
    scores = score_tiles(other, probability, moved)
    return TileScores(scores.tiles + np.array([part.y, part.x, 0, 0], np.int32), scores.disagreement, scores.entropy)
