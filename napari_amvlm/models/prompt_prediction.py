"""From what the network says of plain words to the prediction of a prompt: what is served, and what is scored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_amvlm.models.words.composition import composition
from napari_amvlm.models.words.taught import taught
from napari_amvlm.prediction import PRESENT, Prediction

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_amvlm.config import ModelConfig
    from napari_amvlm.imaging import WorkingScale
    from napari_amvlm.models.inference import DecodedPrompt


def predict_prompt(config: ModelConfig, prompt: str, predict_word: Callable[[str], Prediction]) -> Prediction:
    """Return the prediction of a prompt: composed of its words' where it has structure, else that of the prompt itself.

    A word that is surely absent takes no part in the composition, as its mask would not be drawn.

    Parameters
    ----------
    config
        Of the model that answers.
    predict_word
        Gives the prediction of a plain word.
    """
    composed = composition(config, prompt)
    if composed is None:
        return predict_word(prompt)
    words = [predict_word(word) for word in composed.words]
    probability = composed.compose([word.drawn for word in words])
    countable = not composed.level or bool(probability.any())
    return Prediction(
        prompt,
        probability,
        composed.compose([word.text_probability for word in words]),
        composed.present([word.presence for word in words]) if countable else 0.0,
        words[0].scale,
        sum(word.seconds for word in words),
        taught=all(word.taught for word in words),
        untaught_kind=next((word.untaught_kind for word in words if not word.taught), ""),
    )


def word_prediction(
    config: ModelConfig,
    word: str,
    found: DecodedPrompt,
    scale: WorkingScale,
    seconds: float = 0.0,
    *,
    gray: bool = False,
) -> Prediction:
    """Return what a model of this configuration found for a plain word, with how far that is to be believed.

    What was learnt from stained tissue alone and is not found in a gray image was not taught of such images: "tumor" is
    not absent from a brain because nothing there looks like carcinoma on slides.
    """
    meaning = taught(config, word)
    foreign = meaning is not None and meaning.stained and gray and found.presence < PRESENT
    return Prediction(
        word,
        found.probability,
        found.text_probability,
        found.presence,
        scale,
        seconds,
        taught=meaning is not None and not foreign,
        untaught_kind="gray images" if foreign else "",
        depth=found.depth,
        marker=config.objects.marker if config.objects is not None else 0.5,
        calibrated=meaning is not None and meaning.measured,
    )
