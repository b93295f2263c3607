"""Accepted masks: durable before `accept` returns, and never deleted."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_amvlm.errors import LabelsError, ProjectError
from napari_amvlm.project.cut_masks import CutMask, find_cut_masks
from napari_amvlm.project.decisions import (
    count_steps,
    enter_decision,
    replace_current,
    step_back,
    step_forward,
)
from napari_amvlm.project.drafts import remove_draft
from napari_amvlm.project.ledger import Ledger, author, now
from napari_amvlm.project.mask_files import BoolArray, MaskFiles, as_mask, check_shape, checked_maps
from napari_amvlm.project.prompts import clean_prompt, enter_prompt, find_prompt
from napari_amvlm.project.queue import mark_reviewed, mark_unreviewed
from napari_amvlm.project.records import Answer, CorrectionRecord, ImageRecord
from napari_amvlm.review import carry_states, connected_objects, pixel_states, replace_region

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from napari_amvlm.project.images import ImageTable

_SELECT = "SELECT corrections.*, prompts.text AS prompt FROM corrections JOIN prompts ON prompts.id = prompt_id"


class CorrectionTable:
    """The accepted masks of a project: `project.corrections`."""

    def __init__(self, ledger: Ledger, images: ImageTable) -> None:
        self._ledger = ledger
        self._images = images
        self._files = MaskFiles(ledger.root, "masks")
        self._draft_files = MaskFiles(ledger.root, "drafts")

    def select(
        self, image_id: int | None = None, prompt: str | None = None, *, history: bool = False
    ) -> list[CorrectionRecord]:
        """Return current corrections, oldest first; with `history` the superseded and withdrawn ones too."""
        conditions: list[str] = []
        values: list[Any] = []
        if not history:
            conditions.append("state = 'current'")
        if image_id is not None:
            conditions.append("image_id = ?")
            values.append(image_id)
        if prompt is not None:
            conditions.append("prompts.text = ?")
            values.append(clean_prompt(prompt))
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        return [_record(row) for row in self._ledger.rows(f"{_SELECT}{where} ORDER BY corrections.id", values)]

    def accept(self, image_id: int, prompt: str, answer: Answer) -> CorrectionRecord:
        """Store an answer; it is on the disk when this returns.

        The newest answer of an image and a prompt is the current one; older ones stay in the history. An image's first
        answer decides whether it is held out: one in four of each prompt's images is. A draft of the prompt on the
        image is dropped, unless a region alone was accepted.

        Raises
        ------
        ProjectError
            There is no such image.
        LabelsError
            A mask does not fit the image.
        PromptError
            The prompt is empty.
        StorageError
            The disk refused; the project is as it was.
        """
        self._ledger.require_writer()
        image, prompt = self._images.get(image_id), clean_prompt(prompt)
        if answer.region is None:
            return self._store(image, prompt, answer, None)
        return self._store(image, prompt, *self._whole_answer(image, prompt, answer, answer.region))

    def _store(
        self, image: ImageRecord, prompt: str, answer: Answer, states: npt.NDArray[np.uint8] | None
    ) -> CorrectionRecord:
        """Write the masks, then the row; `states` None are those that follow from the masks."""
        maps = checked_maps(image, answer)
        derived = pixel_states(maps["mask"], maps.get("before"), maps.get("reviewed"))
        states = self._carried(image, prompt, maps["mask"], derived if states is None else states)
        if not np.array_equal(states, derived):
            maps["states"] = states
        row: dict[str, Any] = {
            "image_id": image.id,
            "model": answer.model,
            "threshold": None if answer.threshold is None else float(answer.threshold),
            "author": author(),
            "accepted_at": now(),
            "seconds_spent": float(answer.seconds_spent),
            "scale": answer.scale,
            "magnification": answer.magnification,
            "origin": answer.origin,
        }
        draft: list[str] = []
        with self._files.written(image.id, maps) as files, self._ledger.transaction() as connection:
            correction_id = _insert(connection, prompt, row | files, maps.get("reviewed"))
            if answer.region is None:
                draft = remove_draft(connection, image.id, find_prompt(connection, prompt) or 0)
        self._draft_files.remove(draft)
        return self.get(correction_id)

    def _whole_answer(
        self, image: ImageRecord, prompt: str, answer: Answer, accepted_in: npt.ArrayLike
    ) -> tuple[Answer, npt.NDArray[np.uint8]]:
        """Return the answer for the whole image, and its states: outside `accepted_in` the current one stays."""
        if answer.objects is not None or answer.reviewed is not None:
            raise LabelsError(f"a region of {image.name} is accepted as a mask alone: leave out objects and reviewed.")
        region = as_mask(accepted_in, image.shape, f"the region of {image.name}")
        mask = as_mask(answer.mask, image.shape, f"the mask of {image.name}")
        before = None if answer.before is None else as_mask(answer.before, image.shape, f"the earlier {image.name}")
        reviewed, states = region, pixel_states(mask, before, region)
        current = self.select(image.id, prompt)
        if not current:
            return dataclasses.replace(answer, mask=mask & region, reviewed=reviewed), states
        (earlier,) = current
        earlier_states = self.states(earlier)
        objects = None
        if earlier.objects_file is not None:
            objects = replace_region(self.objects(earlier), mask, region)
        whole = dataclasses.replace(
            answer,
            mask=np.where(region, mask, self.mask(earlier)),
            objects=objects,
            reviewed=region | (earlier_states > 0),
            scale=answer.scale or earlier.scale,
            magnification=answer.magnification or earlier.magnification,
        )
        return whole, np.where(region, states, earlier_states)

    def _carried(
        self, image: ImageRecord, prompt: str, mask: BoolArray, states: npt.NDArray[np.uint8]
    ) -> npt.NDArray[np.uint8]:
        """Return `states` with what was corrected in the answer before still called corrected."""
        for earlier in self.select(image.id, prompt):
            try:
                return carry_states(states, mask, self.states(earlier), self.mask(earlier))
            except ProjectError:  # a lost file of the earlier answer must not keep the new one from the disk
                return states
        return states

    def get(self, correction_id: int) -> CorrectionRecord:
        """Return one correction; `ProjectError` when there is none of that id."""
        row = self._ledger.row(f"{_SELECT} WHERE corrections.id = ?", (correction_id,))
        if row is None:
            raise ProjectError(f"the project {self._ledger.root} has no correction {correction_id}.")
        return _record(row)

    def reject(self, image_id: int, prompt: str) -> None:
        """Withdraw the current correction of an image and a prompt; its masks stay in the history.

        A draft of the prompt on the image is dropped.
        """
        self._images.get(image_id)
        with self._ledger.transaction() as connection:
            prompt_id = find_prompt(connection, clean_prompt(prompt))
            if prompt_id is None:
                return
            if replace_current(connection, image_id, prompt_id, "withdrawn", None):
                enter_decision(connection, image_id, prompt_id, None)
                self._mark_queue(connection, image_id)
            draft = remove_draft(connection, image_id, prompt_id)
        self._draft_files.remove(draft)

    def undo(self, image_id: int, prompt: str) -> CorrectionRecord | None:
        """Take back the last Accept or Reject of a prompt on an image that is not taken back yet.

        The answer before it is current again. What was taken back stays in the history, and `redo` brings it again.
        The draw of held-out images and the queue follow; a decision of a person about held-out images, and an image
        that a run has learnt from, stay.

        Returns
        -------
        CorrectionRecord or None
            The answer that is current now; None where there was none before.

        Raises
        ------
        ProjectError
            Nothing was accepted or rejected, or the mask before cannot be read.
        """
        return self._step(image_id, prompt, step_back)

    def redo(self, image_id: int, prompt: str) -> CorrectionRecord | None:
        """Bring back what `undo` took back last, if nothing was accepted or rejected since; otherwise as `undo`."""
        return self._step(image_id, prompt, step_forward)

    def undo_steps(self, image_id: int, prompt: str) -> tuple[int, int]:
        """Return how often `undo` and `redo` can be called for a prompt on an image."""
        return count_steps(self._ledger, image_id, clean_prompt(prompt))

    def possibly_cut(self) -> list[CutMask]:
        """Return accepted masks of an older program that another prompt's mask may have cut, the worst first.

        Up to schema 3 all prompts of an image were painted in one flat layer, and Accept stored only what was visible
        of a prompt in it. A mask that is accepted again is no longer listed.
        """
        return find_cut_masks(self._ledger, self._images, self)

    def _step(
        self, image_id: int, prompt: str, step: Callable[[sqlite3.Connection, int, int], int | None]
    ) -> CorrectionRecord | None:
        image, prompt = self._images.get(image_id), clean_prompt(prompt)
        with self._ledger.transaction() as connection:
            prompt_id = find_prompt(connection, prompt)
            if prompt_id is None:
                raise ProjectError(f"{image.name} has no answer for {prompt!r}, so nothing can be undone or redone.")
            correction_id = step(connection, image_id, prompt_id)
            current = None if correction_id is None else self.get(correction_id)
            if current is not None:
                self.mask(current)  # a lost file is an error, and then nothing is changed
            self._mark_queue(connection, image_id)
        return current

    def _mark_queue(self, connection: sqlite3.Connection, image_id: int) -> None:
        """Note in the queue, inside a transaction, what is accepted now that an answer was taken back."""
        mark_unreviewed(connection, image_id)
        for correction in self.select(image_id):
            with contextlib.suppress(ProjectError):
                mark_reviewed(connection, image_id, self.reviewed(correction))

    # What a correction holds. Every file is checked against its hash and its image's shape; `ProjectError` where it is
    # gone or was changed.

    def mask(self, correction: CorrectionRecord) -> BoolArray:
        """Return the accepted mask, bool `(H, W)`."""
        return self._files.mask(correction, "mask", self._shape(correction))

    def before(self, correction: CorrectionRecord) -> BoolArray | None:
        """Return the mask that the model had proposed, bool `(H, W)`; None when there was none."""
        return self._files.mask(correction, "before", self._shape(correction)) if correction.before_file else None

    def reviewed(self, correction: CorrectionRecord) -> BoolArray:
        """Return the pixels that a person looked at, bool `(H, W)`."""
        shape = self._shape(correction)
        if correction.reviewed_file is None:
            check_shape(self._ledger.path, shape)
            return np.ones(shape, dtype=np.bool_)
        return self._files.mask(correction, "reviewed", shape)

    def states(self, correction: CorrectionRecord) -> npt.NDArray[np.uint8]:
        """Return the state of every pixel, uint8 `(H, W)` with values of `napari_amvlm.review.PixelState`."""
        if correction.states_file is None:
            reviewed = self.reviewed(correction) if correction.reviewed_file else None
            return pixel_states(self.mask(correction), self.before(correction), reviewed)
        return self._files.map(correction, "states", self._shape(correction))

    def objects(self, correction: CorrectionRecord) -> npt.NDArray[np.integer]:
        """Return the object numbers, `(H, W)`, 0 is background; connected parts where none were given."""
        if correction.objects_file is None:
            return connected_objects(self.mask(correction))
        return self._files.map(correction, "objects", self._shape(correction))

    def _shape(self, correction: CorrectionRecord) -> tuple[int, int]:
        return self._images.get(correction.image_id).shape


def _insert(connection: sqlite3.Connection, prompt: str, row: dict[str, Any], reviewed: BoolArray | None) -> int:
    prompt_id = enter_prompt(connection, prompt)
    image_id = row["image_id"]
    replace_current(connection, image_id, prompt_id, "superseded", None)
    values = row | {"prompt_id": prompt_id, "state": "current"}
    marks = ", ".join("?" * len(values))
    cursor = connection.execute(
        f"INSERT INTO corrections ({', '.join(values)}) VALUES ({marks})", tuple(values.values())
    )
    correction_id = int(cursor.lastrowid or 0)
    enter_decision(connection, image_id, prompt_id, correction_id)
    mark_reviewed(connection, image_id, reviewed)
    return correction_id


def _record(row: sqlite3.Row) -> CorrectionRecord:
    return CorrectionRecord(**{name: row[name] for name in CorrectionRecord.__dataclass_fields__})
