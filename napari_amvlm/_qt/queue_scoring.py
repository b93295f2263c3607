"""Finding what would teach most: the served model looks at every piece of work, in a thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_amvlm._qt.workers import GuardedThread
from napari_amvlm.errors import AmvlmError, Cancelled
from napari_amvlm.imaging.tiles import Tile, tile_grid
from napari_amvlm.project import score_tiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_amvlm.predictor import Predictor
    from napari_amvlm.project import Project, QueueItem

TILE = 128
"""Side of the tiles that are scored, pixels."""


class ScoreThread(GuardedThread):
    """Scores pieces of work that the served model has not scored yet, and sorts the queue.

    Scores of the model that serves, such as the disagreement of teacher and student in the run that made it, are kept;
    elsewhere the entropy of its probability counts alone.  `progressed(share, words)` tells how far it is;
    `returned` carries the sentences about images that could not be looked at.
    """

    progressed = Signal(float, str)

    def __init__(
        self,
        project: Project,
        predictor: Predictor,
        items: Sequence[QueueItem],
        prompts: Sequence[str],
        *,
        model: str | None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._project = project
        self._served = predictor
        self._items = tuple(items)
        self._prompts = tuple(prompts)
        self._model = model

    def work(self) -> list[str]:
        """Score and sort."""
        from napari_amvlm.predictor import Predictor

        # one of its own: the served one has the image that the person looks at
        predictor = Predictor(self._served.model, device=str(self._served.device), cache_bytes=1)
        problems: list[str] = []
        for place, item in enumerate(self._items):
            self.progressed.emit(place / len(self._items), f"{item.name}, {place + 1} of {len(self._items)}")
            try:
                self._score(predictor, item)
            except Cancelled:
                raise
            except AmvlmError as error:
                problems.append(str(error))
        self._project.queue.sort(prompts=self._prompts)
        return problems

    def _score(self, predictor: Predictor, item: QueueItem) -> None:
        known = self._project.queue.scored_by(item.id)
        missing = [prompt for prompt in self._prompts if prompt not in known or known[prompt] != self._model]
        if not missing:
            return
        record = self._project.image(item.image_id)
        predictor.set_image(self._project.load_image(record), key=item.image_id)
        for prompt in missing:
            if self.isInterruptionRequested():
                raise Cancelled("The order of the queue is as it was.")
            found = predictor.predict(prompt, should_stop=self.isInterruptionRequested)
            scores = score_tiles(found.probability, found.probability, _tiles(item, record.shape))
            self._project.queue.store_scores(item.id, prompt, scores, model=self._model)
        self._project.queue.note_predicted(item.id)


def _tiles(item: QueueItem, shape: tuple[int, int]) -> list[Tile]:
    if item.region is None:
        return tile_grid(shape, TILE, 0)
    inside = tile_grid((item.region.height, item.region.width), TILE, 0)
    return [Tile(tile.y + item.region.y, tile.x + item.region.x, tile.height, tile.width) for tile in inside]
