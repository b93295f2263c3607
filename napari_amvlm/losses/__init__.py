"""Loss functions, each with the equation it implements. Pure functions over tensors; they know no model."""

from napari_amvlm.losses.alignment import info_nce
from napari_amvlm.losses.segmentation import balanced_cross_entropy, dice_loss, segmentation_loss

__all__ = ["balanced_cross_entropy", "dice_loss", "info_nce", "segmentation_loss"]
