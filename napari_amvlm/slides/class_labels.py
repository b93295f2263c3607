"""One label image out of the probabilities of several prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def label_image(probabilities: Sequence[NDArray[np.float32]], threshold: float) -> NDArray[Any]:
    """Return values 1..K, `(H, W)`, where a probability reaches `threshold`; the greatest wins, 0 is background.

    Examples
    --------
    >>> label_image([np.float32([[0.6, 0.1]]), np.float32([[0.9, 0.2]])], 0.5)
    array([[2, 0]], dtype=uint8)
    """
    if len(probabilities) == 1:
        return (probabilities[0] >= threshold).astype(np.uint8)
    stack = np.stack(list(probabilities))
    labels = np.where(stack.max(axis=0) >= threshold, stack.argmax(axis=0) + 1, 0)
    return np.asarray(labels.astype(np.min_scalar_type(len(stack))))
