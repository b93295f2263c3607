"""Images beside paraphrases: how much their similarity hangs on how something is said, and which caption they find."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_amvlm.config import STRIDE
from training.pretraining.prompts import ABSENT, CAPTIONS, DENSITIES, density_called, wordings
from training.pretraining.scoring import roc_auc
from training.runs.paired import compare

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import Tensor

    from training.pretraining.aligned import Aligned
    from training.pretraining.data import TaughtImage

VAGUE = ("image", "a picture", "a medical image", "a scan of a patient", "something in the picture")
"""Texts that fit every image."""
GROUPS = ("right captions", "wrong captions", "right prompts", "wrong prompts", "saying nothing")

Wordings = dict[str, list[tuple[str, ...]]]
"""For each of `GROUPS` the wordings of each meaning."""


@dataclass(frozen=True)
class Compared:
    """One image beside all wordings, for one state.

    Attributes
    ----------
    image, kind
        `SOURCE/NAME`, and what it is.
    similar
        Cosines of each group: for each meaning those of its wordings.
    ratio, sigma
        Of each group: means over all its wordings; None without PDT.
    """

    image: str
    kind: str
    similar: Mapping[str, list[list[float]]]
    ratio: Mapping[str, float] | None
    sigma: Mapping[str, float] | None

    def spread(self, group: str) -> float:
        """Return the standard deviation over the wordings of one meaning, the mean over meanings."""
        return float(np.mean([np.std(values, ddof=1) for values in self.similar[group] if len(values) > 1]))


def wordings_for(image: TaughtImage) -> Wordings:
    """Return what is said of an image in each of `GROUPS`."""
    density = _meaning(image) if image.kind == "tissue" else "many nuclei"
    said = {kind: tuple(caption.format(density) for caption in captions) for kind, captions in CAPTIONS.items()}
    shown = [name for name, mask in zip(image.concepts, image.masks, strict=True) if mask.any()]
    return {
        "right captions": [said[image.kind]],
        "wrong captions": [texts for kind, texts in said.items() if kind != image.kind],
        "right prompts": [wordings(name) for name in shown],
        "wrong prompts": [wordings(name) for name in ABSENT[image.kind]],
        "saying nothing": [VAGUE],
    }


def compared(state: Aligned, images: Sequence[TaughtImage]) -> list[Compared]:
    """Return the similarities of each image and all its wordings."""
    rows: list[Compared] = []
    for image in images:
        v_cls, patches = state.image(_pixels(image), whole=image.kind != "tissue")
        said = wordings_for(image)
        texts = list(dict.fromkeys(text for meanings in said.values() for texts in meanings for text in texts))
        cosine = dict(zip(texts, (state.texts(texts) @ v_cls).tolist(), strict=True))
        similar = {g: [[cosine[t] for t in words] for words in meanings] for g, meanings in said.items()}
        ratio = sigma = None
        if state.has_distributions:
            spreads = dict(zip(texts, state.spreads(patches, texts), strict=True))
            of_group = {g: [spreads[t] for words in meanings for t in words] for g, meanings in said.items()}
            ratio = {g: float(np.mean([s.ratio for s in learnt])) for g, learnt in of_group.items() if learnt}
            sigma = {g: float(np.mean([s.sigma for s in learnt])) for g, learnt in of_group.items() if learnt}
        rows.append(Compared(f"{image.source}/{image.name}", image.kind, similar, ratio, sigma))
    return rows


def summary(state: Aligned, rows: Sequence[Compared]) -> dict[str, Any]:
    """Return the figures of one state, by group of wordings."""
    groups: dict[str, Any] = {}
    for group in GROUPS:
        there = [row for row in rows if row.similar[group]]
        if not there:
            continue
        every = [value for row in there for values in row.similar[group] for value in values]
        groups[group] = {
            "cosine": round(float(np.mean(every)), 4),
            "spread": round(float(np.mean([row.spread(group) for row in there])), 4),
            "ratio": _mean(None if row.ratio is None else row.ratio[group] for row in there),
            "sigma": _mean(None if row.sigma is None else row.sigma[group] for row in there),
        }
    step_one = state.recipe.step_one
    return {
        "state": state.name,
        "step": state.step,
        "w": step_one.ambiguity if step_one.css and state.recipe.step_one_weight else "no CSS",
        "images": len(rows),
        "groups": groups,
        "right_nearer": {what: _right_nearer(rows, what) for what in ("captions", "prompts")},
    }


def spread_tests(states: Mapping[str, Sequence[Compared]]) -> list[dict[str, Any]]:
    """Return paired tests of the spread of right captions and prompts, for every two states."""
    tests: list[dict[str, Any]] = []
    for one, other in itertools.combinations(states, 2):
        for group in ("right captions", "right prompts"):
            first, second = ({r.image: r.spread(group) for r in states[s] if r.similar[group]} for s in (one, other))
            tests.append({"group": group, "first": one, "second": other, **compare(first, second).to_json()})
    return tests


def retrieval(state: Aligned, images: Sequence[TaughtImage]) -> float:
    """Return how often an image finds its own caption among one of each meaning, the mean over several wordings.

    The meanings are the four densities of tissue, X-ray and spine; each round words all of them by the next of their
    kind's sentences.
    """
    meanings = [("tissue", name) for _, name in DENSITIES] + [(kind, kind) for kind in CAPTIONS if kind != "tissue"]
    rounds = max(len(captions) for captions in CAPTIONS.values())
    v_cls = torch.stack([state.image(_pixels(i), whole=i.kind != "tissue")[0] for i in images])
    own = torch.tensor([[name for _, name in meanings].index(_meaning(image)) for image in images])
    right: list[float] = []
    for number in range(rounds):
        texts = [CAPTIONS[kind][number % len(CAPTIONS[kind])].format(name) for kind, name in meanings]
        nearest = (v_cls @ state.texts(texts).T).argmax(1).cpu()
        right.append(float((nearest == own).float().mean()))
    return round(float(np.mean(right)), 4)


def _meaning(image: TaughtImage) -> str:
    share = float(image.masks[0][_middle(image)].mean())
    return density_called(share) if image.kind == "tissue" else image.kind


def _pixels(image: TaughtImage) -> Tensor:
    """Return what is shown of an image, `(3, H, W)`."""
    part = np.ascontiguousarray(image.image[_middle(image)].transpose(2, 0, 1))
    return torch.from_numpy(part).float() / 255


def _middle(image: TaughtImage, side: int = 256) -> tuple[slice, slice]:
    """Return rows and columns of what is shown: the middle, at most `side` pixels, sides multiples of the stride."""
    rows, columns = (
        slice((size - part) // 2, (size - part) // 2 + part)
        for size in image.image.shape[:2]
        for part in [min(side, size // STRIDE * STRIDE)]
    )
    return rows, columns


def _mean(values: Iterable[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return round(float(np.mean(numbers)), 4) if numbers else None


def _right_nearer(rows: Sequence[Compared], what: str) -> float:
    """Return how often a right wording of an image is nearer to it than a wrong one, the mean over images."""
    flat = [
        [[v for values in row.similar[f"{side} {what}"] for v in values] for side in ("right", "wrong")] for row in rows
    ]
    return round(float(np.mean([roc_auc(*pair) for pair in flat if pair[0] and pair[1]])), 4)
