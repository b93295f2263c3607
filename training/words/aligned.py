"""What step 1 has aligned on a vocabulary: words, wordings that the run was not told, and words that it was not."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_amvlm.evaluation import THRESHOLD
from napari_amvlm.metrics import dice
from napari_amvlm.models.inference import decode_prompt, encode_image, named_scale
from training.pretraining.scoring import roc_auc
from training.words.captions import SENTENCES
from training.words.fields import deniable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_amvlm.models.amvlm import AMVLM
    from training.words.corpus import LabelledImage

    Wordings = Mapping[str, Sequence[str]]
    PerImage = dict[str, float]


def aligned_words(model: AMVLM, images: Sequence[LabelledImage], wordings: Wordings) -> dict[str, Any]:
    """Return `figures` of a run, and `per_image` those that rows are compared by.

    Parameters
    ----------
    model
        In eval mode; its concepts have the words and wordings that it was told.
    images
        That it did not learn from, with all that they show, also words that it was not told.
    wordings
        All ways of saying each word, also those that it was not told.
    """
    told = {concept.name: concept.prompts for concept in model.config.concepts}
    masks, v_cls = _asked(model, images, told, wordings)
    spread = spreads(model, v_cls, images, {word: wordings[word] for word in told if word in wordings})
    means = {what: _mean(of_image.values()) for what, of_image in (masks | {"spread": spread}).items()}
    return {"figures": means | similarities(model, v_cls, images, told), "per_image": masks | {"spread": spread}}


def _asked(
    model: AMVLM, images: Sequence[LabelledImage], told: Wordings, wordings: Wordings
) -> tuple[dict[str, PerImage], NDArray[np.float32]]:
    """Return the Dice of each image and its embedding `(N, d)`.

    The text mask alone is asked for words as they are, for their wordings that were not told, and for words that were
    not; the segmentation for words as they are.
    """
    known = {text.casefold() for texts in told.values() for text in texts}
    found: dict[str, dict[str, list[float]]] = {what: defaultdict(list) for what in MASKS}
    embeddings: list[NDArray[np.float32]] = []
    for image in images:
        encoded = encode_image(model, image.pixels, named_scale(model, image.spec.kind, image.labels.shape))
        seen = [features.v_cls for features in encoded.features if features is not None]
        embeddings.append(torch.cat(seen).mean(0).float().cpu().numpy())
        for word in image.shown():
            truth = image.mask(word)
            new = [text for text in wordings.get(word, ()) if text.casefold() not in known]
            asked = {"text_mask": [word], "new_wordings": new} if word in told else {"new_words": [word]}
            for what, text in ((what, text) for what, texts in asked.items() for text in texts):
                answer = decode_prompt(model, encoded, text)
                found[what][image.key].append(float(dice(answer.text_probability >= THRESHOLD, truth)))
                if what == "text_mask":
                    found["dice"][image.key].append(float(dice(answer.probability >= THRESHOLD, truth)))
    masks = {what: {key: float(np.mean(values)) for key, values in of.items()} for what, of in found.items()}
    return masks, np.stack(embeddings)


MASKS = ("text_mask", "new_wordings", "new_words", "dice")
"""What masks are scored: the text mask alone on what was told and what was not, and the segmentation."""


def similarities(
    model: AMVLM, v_cls: NDArray[np.float32], images: Sequence[LabelledImage], told: Wordings
) -> dict[str, float | None]:
    """Return how well images `(N, d)` and sentences of one told word each find one another.

    The means over five sentences: how often the nearest sentence names what an image shows, how often the nearest image
    shows what a sentence names, the cosine of right and of wrong pairs, and how often a right sentence of an image is
    nearer than a wrong one. A word of which nobody knows whether an image shows it is left out there.
    """
    words = list(told)
    truth = np.array([[_shows(image, word, denied) for word in words] for image, denied in _denied(images, told)])
    rounds = []
    for number, sentence in enumerate(SENTENCES):
        texts = [sentence.format(told[word][number % len(told[word])]) for word in words]
        cosine = v_cls @ _embedded(model, texts).T
        known = np.where(np.isnan(truth), -np.inf, cosine)
        right, wrong = truth == 1, truth == 0
        there, said = right.any(1), right.any(0)
        nearer = [roc_auc(c[r].tolist(), c[w].tolist()) for c, r, w in zip(cosine, right, wrong, strict=True)]
        rounds.append(
            {
                "image_to_caption": _mean(right[np.arange(len(right)), known.argmax(1)][there]),
                "caption_to_image": _mean(right[known.argmax(0), np.arange(len(words))][said]),
                "cosine_right": _mean(cosine[right]),
                "cosine_wrong": _mean(cosine[wrong]),
                "right_nearer": _mean(value for value in nearer if not np.isnan(value)),
            }
        )
    return {name: _mean(v for v in (r[name] for r in rounds) if v is not None) for name in rounds[0]}


def spreads(model: AMVLM, v_cls: NDArray[np.float32], images: Sequence[LabelledImage], wordings: Wordings) -> PerImage:
    """Return for each image the standard deviation of its cosine over all wordings of a word that it shows.

    The mean over these words: the uncertainty that Pan et al. (2025) draw.
    """
    embedded = {word: _embedded(model, texts) for word, texts in wordings.items() if len(texts) > 1}
    found: PerImage = {}
    for image, seen in zip(images, v_cls, strict=True):
        of_image = [np.std(embedded[word] @ seen, ddof=1) for word in image.shown() if word in embedded]
        if of_image:
            found[image.key] = float(np.mean(of_image))
    return found


def _denied(images: Sequence[LabelledImage], told: Wordings) -> Iterable[tuple[LabelledImage, set[str]]]:
    """Yield each image with the words that it certainly does not show."""
    absent = deniable(images, told)
    for image in images:
        own = () if image.spec.partial else image.words
        yield image, {*absent[image.spec.name], *own} - {*image.shown()}


def _shows(image: LabelledImage, word: str, denied: set[str]) -> float:
    """Return 1 where the image shows a word, 0 where it does not, and not a number where nobody knows."""
    return 1.0 if word in image.shown() else 0.0 if word in denied else float("nan")


def _embedded(model: AMVLM, texts: Sequence[str]) -> NDArray[np.float32]:
    """Return t_cls of texts, `(N, d)`."""
    with torch.inference_mode():
        embedded: NDArray[np.float32] = model.encode_text(texts).t_cls.float().cpu().numpy()
    return embedded


def _mean(values: Iterable[float]) -> float | None:
    numbers = list(values)
    return round(float(np.mean(numbers)), 4) if numbers else None
