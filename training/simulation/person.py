"""The simulated person: sees a model's mask, corrects it at the cost of a mouse, and accepts it in a real project."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.evaluation import THRESHOLD
from napari_amvlm.project import Answer
from napari_amvlm.strokes import Spread
from training.simulation.corrections import steps, until
from training.simulation.mouse import correct
from training.simulation.project import region_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_amvlm.imaging import ImagePair
    from napari_amvlm.predictor import Predictor
    from napari_amvlm.project import Project, QueueItem
    from training.simulation.corrections import Corrections
    from training.simulation.mouse import Corrected, MouseModel
    from training.simulation.project import Material

_LOOKS = 3
"""Pieces of work that a person looks at to choose between two models."""


class SimulatedPerson:
    """Works on the queue items of one project.

    Parameters
    ----------
    material
        What is annotated, and what is right.
    pairs
        The image with its mask file for each image id.
    good_enough
        With strokes and clicks a mask is accepted at this Dice.
    spend
        Told what takes time that the ledger does not hold, "prediction" or "choosing", and how many seconds.
    should_stop
        Asked while a model looks at an image.
    """

    def __init__(
        self,
        project: Project,
        material: Material,
        pairs: Mapping[int, ImagePair],
        mouse: MouseModel,
        *,
        corrections: Corrections = "paint",
        good_enough: float = 0.95,
        spend: Callable[[str, float], None],
        should_stop: Callable[[], bool],
    ) -> None:
        self._project, self._material, self._pairs, self._mouse = project, material, pairs, mouse
        self._corrections, self._good_enough = corrections, good_enough
        self._spend, self._should_stop = spend, should_stop

    def accept(self, item: QueueItem, predictor: Predictor) -> None:
        """Correct the mask that a model proposes for a queue item, and accept it."""
        record = self._project.images.get(item.image_id)
        proposed = self._proposed(item, predictor)
        if self._corrections == "paint":
            corrected = self._corrected(item, proposed)
        else:
            corrected = self._corrected_interactively(item, predictor)
        box = region_of(item, record.shape)
        mask, region = proposed.copy(), np.zeros(record.shape, np.bool_)
        mask[box], region[box] = corrected.mask, True
        self._project.corrections.accept(
            record.id,
            self._material.prompt,
            Answer(
                mask,
                region=region,
                before=proposed,
                model=predictor.info.sha256 if predictor.info else None,
                threshold=THRESHOLD,
                seconds_spent=corrected.seconds,
            ),
        )

    def prefers(self, new: Predictor, present: Predictor, items: Sequence[QueueItem]) -> bool:
        """Tell whether the masks of a new model are wrong in fewer pixels than those of the present one.

        The person looks at the first queue items with both, which takes the time of as many looks. What correcting
        would cost is not compared: in a small picture that is clearing and outlining, whatever was proposed.
        """
        seen = items[:_LOOKS]
        before, after = (sum(self._wrong_pixels(item, each) for item in seen) for each in (present, new))
        self._spend("choosing", 2 * len(seen) * self._mouse.look_seconds)
        return after < before

    def _proposed(self, item: QueueItem, predictor: Predictor) -> NDArray[np.bool_]:
        """Return the mask that is shown of an item's image: what was accepted, and elsewhere the model's."""
        record, prompt = self._project.images.get(item.image_id), self._material.prompt
        predictor.set_image(self._project.images.load(record), key=record.id)
        prediction = predictor.predict(prompt, should_stop=self._should_stop)
        self._spend("prediction", prediction.seconds)
        mask = prediction.mask(THRESHOLD)
        for earlier in self._project.corrections.select(record.id, prompt):
            mask = np.where(self._project.corrections.reviewed(earlier), self._project.corrections.mask(earlier), mask)
        return mask

    def _corrected(self, item: QueueItem, proposed: NDArray[np.bool_]) -> Corrected:
        return correct(*self._seen(item, proposed), self._mouse)

    def _wrong_pixels(self, item: QueueItem, predictor: Predictor) -> int:
        proposed, truth = self._seen(item, self._proposed(item, predictor))
        return int((proposed != truth).sum())

    def _seen(self, item: QueueItem, proposed: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return what is proposed and what is right where a queue item lies."""
        shape = (proposed.shape[0], proposed.shape[1])
        box = region_of(item, shape)
        return proposed[box], self._material.truth(self._pairs[item.image_id], shape)[box]

    def _corrected_interactively(self, item: QueueItem, predictor: Predictor) -> Corrected:
        """Correct the mask of an image that was just looked at by strokes or clicks, until it is good enough."""
        prompt = self._material.prompt
        prediction = predictor.predict(prompt, should_stop=self._should_stop)
        shape = (prediction.probability.shape[0], prediction.probability.shape[1])
        truth = self._material.truth(self._pairs[item.image_id], shape)
        spread = None
        if self._corrections == "strokes":
            spread = Spread(predictor.features(prompt), prediction.probability, reach="whole")
        taken = steps(self._corrections, prediction.probability, truth, self._mouse, spread, prediction.scale.factor)
        return until(taken, truth, self._good_enough)[0]
