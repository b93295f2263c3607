"""Accepted masks of older projects that may lack what another prompt's mask hid when they were accepted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.errors import ProjectError

if TYPE_CHECKING:
    from napari_amvlm.project.corrections import CorrectionTable
    from napari_amvlm.project.images import ImageTable
    from napari_amvlm.project.ledger import Ledger
    from napari_amvlm.project.mask_files import BoolArray
    from napari_amvlm.project.records import CorrectionRecord

LAST_SHARED = "last correction of a shared layer"
"""The fact with the id of the last correction that was painted in one layer with all other prompts of its image."""


@dataclass(frozen=True)
class CutMask:
    """An accepted mask that other masks of its image may have cut.

    Attributes
    ----------
    hidden_by
        The prompts whose masks lie where pixels may be missing.
    pixels
        Pixels that the model had proposed, that the mask lacks, and that those masks have. 0 where the masks only
        touch or overlap, so that nothing has to be missing.
    """

    correction_id: int
    image_id: int
    image_name: str
    prompt: str
    hidden_by: tuple[str, ...]
    pixels: int


def find_cut_masks(ledger: Ledger, images: ImageTable, corrections: CorrectionTable) -> list[CutMask]:
    """Return the masks that may have been cut, those that lack most first; masks that cannot be read are left out."""
    row = ledger.row("SELECT value FROM facts WHERE key = ?", (LAST_SHARED,))
    if row is None or not row["value"].isdigit():
        return []
    last = int(row["value"])
    cut_masks: list[CutMask] = []
    for image in images.accepted():
        old = [c for c in corrections.select(image.id) if c.id <= last and c.origin is None]
        if len(old) < 2:
            continue
        masks = _readable(corrections, old)
        for correction, mask in masks:
            others = [(c.prompt, other) for c, other in masks if c is not correction]
            cut = _cut(mask, _proposal(corrections, correction), others)
            if cut is not None:
                cut_masks.append(CutMask(correction.id, image.id, image.name, correction.prompt, *cut))
    return sorted(cut_masks, key=lambda each: -each.pixels)


def _readable(
    corrections: CorrectionTable, records: list[CorrectionRecord]
) -> list[tuple[CorrectionRecord, BoolArray]]:
    masks: list[tuple[CorrectionRecord, BoolArray]] = []
    for record in records:
        try:
            masks.append((record, corrections.mask(record)))
        except ProjectError:  # reported when the image is opened
            continue
    return masks


def _proposal(corrections: CorrectionTable, correction: CorrectionRecord) -> BoolArray | None:
    try:
        return corrections.before(correction)
    except ProjectError:
        return None


def _cut(
    mask: BoolArray, proposed: BoolArray | None, others: list[tuple[str, BoolArray]]
) -> tuple[tuple[str, ...], int] | None:
    """Return the prompts that may hide a part of a mask, and how many proposed pixels they hide; None for no prompt."""
    near = _grown(mask)
    hidden = {prompt: other & ~mask for prompt, other in others}
    lost = {prompt: pixels & proposed for prompt, pixels in hidden.items()} if proposed is not None else {}
    lost = {prompt: pixels for prompt, pixels in lost.items() if pixels.any()}
    if lost:
        return tuple(lost), int(np.count_nonzero(np.logical_or.reduce(list(lost.values()))))
    touching = tuple(prompt for prompt, pixels in hidden.items() if (pixels & near).any())
    return (touching, 0) if touching else None


def _grown(mask: BoolArray) -> BoolArray:
    """Return a mask and the pixels beside it."""
    grown = mask.copy()
    grown[1:] |= mask[:-1]
    grown[:-1] |= mask[1:]
    grown[:, 1:] |= mask[:, :-1]
    grown[:, :-1] |= mask[:, 1:]
    return grown
