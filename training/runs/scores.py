"""Scores on images of a data set, in both protocols and for every way of asking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_amvlm.evaluation import EvaluationProtocol, evaluate_pairs
from training.datasets.asking import wordings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_amvlm.evaluation import PromptPredictor
    from napari_amvlm.imaging import ImagePair
    from training.datasets.asking import PromptMode
    from training.datasets.opening import DatasetSplit

PROTOCOLS: tuple[EvaluationProtocol, ...] = ("native", "224")

ScoresByMode = dict[str, dict[str, dict[str, Any]]]
"""For each way of asking and each protocol, what `napari_amvlm.evaluation.evaluate_pairs` returns."""


def score_split(
    predictor: PromptPredictor,
    split: DatasetSplit,
    pairs: Sequence[ImagePair],
    modes: Iterable[PromptMode],
    *,
    seed: int,
    protocols: Iterable[EvaluationProtocol] = PROTOCOLS,
    square: int = 0,
) -> ScoresByMode:
    """Score a predictor.

    Parameters
    ----------
    pairs
        Its images to score; captions are shuffled among them.
    square
        Side of the squares that were learnt; see `evaluate_pairs`.
    """
    scores: ScoresByMode = {}
    for mode in dict.fromkeys(modes):
        texts = wordings(split, pairs, mode, seed=seed)
        scores[mode] = {
            protocol: evaluate_pairs(
                predictor,
                pairs,
                split.prompts(),
                protocol,
                wording=lambda name, thing, texts=texts: texts[name][thing],  # type: ignore[misc]
                one=len(split.prompts()) == 1,
                scale=split.spec.scale,
                square=square,
            )
            for protocol in protocols
        }
    return scores


def summary_lines(scores: ScoresByMode) -> list[str]:
    """Return the means as lines for people."""
    return [
        f"{mode}, {protocol}: Dice {report['dice']:.4f}, IoU {report['iou']:.4f} ({report['n']} images)"
        for mode, protocols in scores.items()
        for protocol, report in protocols.items()
    ]
