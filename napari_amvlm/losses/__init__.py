"""Loss functions, each with the equation it implements. Pure functions over tensors; they know no model."""

from napari_amvlm.losses.alignment import info_nce, same_meaning, similarity_nce
from napari_amvlm.losses.cross_modal import (
    css_loss,
    match_weights,
    matched_contrast,
    pairwise_cosine,
    soft_match,
    t2v_loss,
    v2t_loss,
)
from napari_amvlm.losses.intra_modal import coarse_icl_loss, fine_icl_loss, icl_loss
from napari_amvlm.losses.objectives import guidance_loss, presence_loss, text_mask_loss
from napari_amvlm.losses.segmentation import balanced_cross_entropy, depth_loss, dice_loss, segmentation_loss
from napari_amvlm.losses.wasserstein import (
    ambiguity_ratio,
    ambiguity_weight,
    dusss_weight,
    pairwise_wasserstein,
    spread_loss,
    supervised_similarity,
)

__all__ = [
    "ambiguity_ratio",
    "ambiguity_weight",
    "balanced_cross_entropy",
    "coarse_icl_loss",
    "css_loss",
    "depth_loss",
    "dice_loss",
    "dusss_weight",
    "fine_icl_loss",
    "guidance_loss",
    "icl_loss",
    "info_nce",
    "match_weights",
    "matched_contrast",
    "pairwise_cosine",
    "pairwise_wasserstein",
    "presence_loss",
    "same_meaning",
    "segmentation_loss",
    "similarity_nce",
    "soft_match",
    "spread_loss",
    "supervised_similarity",
    "t2v_loss",
    "text_mask_loss",
    "v2t_loss",
]
