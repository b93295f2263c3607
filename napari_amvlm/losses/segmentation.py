"""Segmentation losses on logits, with soft targets and a weight for every pixel (Pan et al. 2025, step 2, loss).

All functions take tensors `(N, 1, H, W)` and reduce to one value for each of the N pairs, so that pairs are weighed
alike whatever their number of labelled pixels; the caller averages.
"""

from __future__ import annotations

from torch import Tensor, nn

_SMOOTH = 1.0


def dice_loss(logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return 1 - (2 sum w p t + s) / (sum w p + sum w t + s) for each pair, `(N,)`.

    Parameters
    ----------
    logits
        `(N, 1, H, W)`; p is their sigmoid.
    target
        t in [0, 1], `(N, 1, H, W)`.
    weight
        w >= 0, `(N, 1, H, W)`; None means 1 everywhere. Pixels of weight 0 have no influence.

    Notes
    -----
    s = 1 pixel keeps the loss defined where prediction and target are both empty: it is then 0.
    """
    p = logits.float().sigmoid()
    t = target.float()
    w = 1.0 if weight is None else weight.float()
    axes = (1, 2, 3)
    overlap = (w * p * t).sum(axes)
    total = (w * p).sum(axes) + (w * t).sum(axes)
    return 1 - (2 * overlap + _SMOOTH) / (total + _SMOOTH)


def balanced_cross_entropy(
    logits: Tensor, target: Tensor, weight: Tensor | None = None, *, balance: float | Tensor = 1.0
) -> Tensor:
    """Return the class-balanced binary cross-entropy for each pair, `(N,)`.

    Foreground and background weigh (n / 2 n_class) ** balance, where n_class is the (weighted) number of pixels of
    the class in the pair; `balance` 0 is the plain cross-entropy, 1 gives both classes the same share.

    Parameters
    ----------
    logits
        `(N, 1, H, W)`.
    target
        In [0, 1], `(N, 1, H, W)`.
    weight
        `(N, 1, H, W)`, not negative; None means 1 everywhere.
    balance
        Between 0 and 1; a tensor `(N, 1, 1, 1)` gives each pair its own.
    """
    t = target.float()
    w = t.new_ones(()).expand_as(t) if weight is None else weight.float()
    axes = (1, 2, 3)
    count = w.sum(axes, keepdim=True)
    foreground = (w * t).sum(axes, keepdim=True)
    background = count - foreground
    if isinstance(balance, Tensor) or balance:
        # A class that is (nearly) absent must not get a huge weight: its share is bounded below.
        floor = (0.02 * count).clamp_min(1e-6)
        up = (count / (2 * foreground.maximum(floor))) ** balance
        down = (count / (2 * background.maximum(floor))) ** balance
        w = w * (t * up + (1 - t) * down)
    loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), t, reduction="none")
    return (w * loss).sum(axes) / w.sum(axes).clamp_min(1e-6)


def segmentation_loss(
    logits: Tensor, target: Tensor, weight: Tensor | None = None, *, balance: float | Tensor = 1.0
) -> Tensor:
    """Return 0.5 Dice loss + 0.5 class-balanced cross-entropy for each pair, `(N,)`; arguments as above."""
    dice = dice_loss(logits, target, weight)
    return 0.5 * dice + 0.5 * balanced_cross_entropy(logits, target, weight, balance=balance)


def depth_loss(logits: Tensor, depth: Tensor, weight: Tensor | None = None, *, inside: float = 3.0) -> Tensor:
    """Return 4 times the weighted mean squared error of a depth for each pair, `(N,)`: what the object head learns by.

    Parameters
    ----------
    logits
        `(N, 1, H, W)`; their sigmoid is the estimated depth.
    depth
        t in [0, 1], `(N, 1, H, W)`: relative distance to the border of the own object, 0 outside objects.
    weight
        `(N, 1, H, W)`, not negative; None means 1 everywhere. Pixels of weight 0 have no influence.
    inside
        Further weight of the pixels inside objects.

    Notes
    -----
    The factor makes it about as steep as the cross-entropy with t, near t.
    """
    t = depth.float()
    w = t.new_ones(()).expand_as(t) if weight is None else weight.float()
    w = w * (1 + (inside - 1) * (t > 0))
    axes = (1, 2, 3)
    error = 4 * (logits.float().sigmoid() - t) ** 2
    return (w * error).sum(axes) / w.sum(axes).clamp_min(1e-6)
