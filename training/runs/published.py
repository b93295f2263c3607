"""Figures of the publication (Pan et al., IEEE TMI 44(11), 2025), to stand beside ours; Dice in per cent.

They were measured on test images at 224x224, with weights and splits that are not public: another protocol.
"""

from __future__ import annotations

DICE: dict[str, dict[str, dict[str, float]]] = {
    "QaTa-COV19": {
        "U-Net": {"100%": 79.02},
        "Mean Teacher": {"25%": 77.88, "50%": 79.64},
        "CCT": {"25%": 78.02, "50%": 80.25},
        "UCMT": {"25%": 76.09, "50%": 77.81},
        "LViT": {"25%": 78.12, "50%": 80.32},
        "MGCA": {"25%": 78.17, "50%": 81.24},
        "DuSSS": {"25%": 79.00, "50%": 82.52},
        "AMVLM": {"1%": 62.21, "10%": 68.65, "25%": 80.62, "50%": 82.57},
    },
    "BM-Seg": {
        "U-Net": {"100%": 74.15},
        "Mean Teacher": {"25%": 66.31, "50%": 72.31},
        "CCT": {"25%": 70.66, "50%": 72.65},
        "UCMT": {"25%": 71.22, "50%": 74.32},
        "LViT": {"25%": 69.45, "50%": 73.15},
        "MGCA": {"25%": 70.19, "50%": 75.17},
        "DuSSS": {"25%": 71.48, "50%": 74.61},
        "AMVLM": {"1%": 65.61, "10%": 70.42, "25%": 73.52, "50%": 77.63},
    },
    "MoNuSeg": {
        "U-Net": {"100%": 78.66},
        "Mean Teacher": {"25%": 72.80, "50%": 75.15},
        "MT + CSS": {"25%": 75.93},
        "MT + ICL": {"25%": 75.71},
        "MT + CSS + ICL": {"25%": 76.44},
        "CCT": {"25%": 74.25, "50%": 76.23},
        "UCMT": {"25%": 75.53, "50%": 76.36},
        "LViT": {"25%": 75.69, "50%": 76.57},
        "MGCA": {"25%": 76.14, "50%": 77.06},
        "DuSSS": {"25%": 76.51, "50%": 78.03},
        "AMVLM": {"10%": 37.28, "25%": 76.63, "50%": 77.37},
    },
    "MRSpineSeg": {
        "U-Net": {"100%": 82.36},
        "Mean Teacher": {"25%": 77.11, "50%": 79.31},
        "CCT": {"25%": 78.51, "50%": 80.26},
        "UCMT": {"25%": 76.42, "50%": 77.09},
        "LViT": {"25%": 79.64, "50%": 80.32},
        "MGCA": {"25%": 80.06, "50%": 81.42},
        "DuSSS": {"25%": 79.88, "50%": 80.55},
        "AMVLM": {"1%": 27.36, "10%": 55.61, "25%": 80.63, "50%": 81.60},
    },
}
"""By data set, method and share of labels."""

ANOTHER_PROTOCOL = "test images at 224x224, so another protocol and other images: to be read beside ours, not against"


def published(dataset: str, labels: str, labelled: int, training: int) -> dict[str, float]:
    """Return the published Dice of every method that has one for so many labels.

    Parameters
    ----------
    dataset
        Name of the data set; those that stand in for a published one have none.
    labels
        A share such as "25%", or a number of images.
    labelled, training
        Number of labelled and of all training images: a number of images is matched by its share, to the nearest
        published one that rounds to as many images.
    """
    table = DICE.get(dataset, {})
    if not labels.endswith("%"):
        shares = {share for row in table.values() for share in row}
        same = [s for s in shares if max(1, round(float(s.rstrip("%")) / 100 * training)) == labelled]
        labels = min(same, key=lambda s: abs(float(s.rstrip("%")) / 100 * training - labelled), default=labels)
    return {method: row[labels] for method, row in table.items() if labels in row}
