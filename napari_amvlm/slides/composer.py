"""Prompts on a slide out of the maps of plain words, as on other images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.imaging.settle import settle
from napari_amvlm.models.inference import settled_sizes
from napari_amvlm.models.words.composition import composition
from napari_amvlm.models.words.taught import taught

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_amvlm.models.amvlm import AMVLM


class SlideComposer:
    """Which plain words the network is asked for some prompts, and how their maps become those of the prompts.

    Attributes
    ----------
    words
        W plain words, each once.
    largest
        For each of them the largest hole and speck that its objects do not have, see `settle`.
    glass
        The probability of each of them on glass, `(W,)`: 1 for "background", else 0.
    means_glass
        Whether a prompt says something of glass, as "background" and "everything except nuclei" do.
    """

    def __init__(self, model: AMVLM, prompts: Sequence[str]) -> None:
        composed = [composition(model.config, prompt) for prompt in prompts]
        asked = [each.words if each else (prompt,) for prompt, each in zip(prompts, composed, strict=True)]
        self.words = tuple(dict.fromkeys(word for words in asked for word in words))
        rows = [[self.words.index(word) for word in words] for words in asked]
        self._composed = list(zip(composed, rows, strict=True))
        self.largest = [settled_sizes(model, word) for word in self.words]
        meanings = [taught(model.config, word) for word in self.words]
        self.glass = np.array([bool(m and m.is_background) for m in meanings], np.float32)
        nothing = np.zeros((1, 1), np.float32)
        covering = any(each and each.compose([nothing] * len(each.words)).any() for each in composed)
        self.means_glass = covering or bool(self.glass.any())

    def compose(
        self, maps: NDArray[np.float32], presence: Sequence[float]
    ) -> tuple[NDArray[np.float32], tuple[float, ...]]:
        """Return the maps of P prompts and their presence in [0, 1].

        Parameters
        ----------
        maps
            Probability of each word, and after these, where it was asked for, how deep in objects each pixel lies,
            `(W, H, W)` or `(2W, H, W)`; the prompts have as many. Composed prompts have no depth.
        presence
            Of each word, in [0, 1].
        """
        count = len(self.words)
        settled = [settle(p, hole=h, speck=s) for p, (h, s) in zip(maps[:count], self.largest, strict=True)]
        depths = maps[count:]
        found, depth, present = [], [], []
        for composed, rows in self._composed:
            masks, shares = [settled[row] for row in rows], [presence[row] for row in rows]
            found.append(composed.compose(masks) if composed else masks[0])
            present.append(composed.present(shares) if composed else shares[0])
            if len(depths):
                depth.append(np.zeros_like(masks[0]) if composed else depths[rows[0]])
        return np.stack([*found, *depth]), tuple(present)
