"""Whole masks of exported folders, in `masks/PROMPT/`, beside label images that show one prompt a pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_amvlm.imaging.folder import binary_mask
from napari_amvlm.imaging.reading import read_mask

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from napari_amvlm.imaging.folder import ImagePair


def answered_masks(
    pair: ImagePair, labels: NDArray[np.integer], classes: Mapping[str, int | None]
) -> dict[str, NDArray[np.bool_]]:
    """Return the masks `(H, W)` of the prompts that somebody answered on an image.

    Where `masks/` has files of the image, they are whole, and a prompt that is neither there nor in the label image was
    not answered. Elsewhere a prompt whose value is missing from the label image is known to be absent.

    Parameters
    ----------
    labels
        The image's label image, `(H, W)`.
    classes
        Prompts with their values in it; None means every value above 0.

    Raises
    ------
    ImageError, LabelsError
        A whole mask cannot be read, or has not the shape of the label image.
    """
    whole, masks = dict(pair.whole), {}
    for prompt, value in classes.items():
        visible = binary_mask(labels, value)
        if prompt in whole:
            mask = read_mask(whole[prompt], labels.shape) > 0
            masks[prompt] = mask if is_whole_of(mask, labels, value) else visible
        elif not whole or visible.any():
            masks[prompt] = visible
    return masks


def is_whole_of(mask: NDArray[np.bool_], labels: NDArray[np.integer], value: int | None) -> bool:
    """Tell whether a mask is the whole of which a label image shows what no other prompt covers.

    If not, the label image was changed since it was exported, and counts more.
    """
    return mask.shape == labels.shape and bool(mask[binary_mask(labels, value)].all() and labels[mask].all())
