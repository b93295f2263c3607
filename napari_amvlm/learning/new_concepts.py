"""What a model that was fine-tuned knows beyond its start: the prompts of the run, and their working scales."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_amvlm.config import Concept, ModelConfig
from napari_amvlm.models.inference import known_concept
from napari_amvlm.models.words.taught import taught

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_amvlm.learning.data import LearningData
    from napari_amvlm.models.amvlm import AMVLM


def with_prompts(model: AMVLM, data: LearningData) -> ModelConfig:
    """Add the prompts that are trained to the concepts that the model knows; not those that no mask shows.

    What is trained on gray images is no longer known from stained tissue alone, so its kinds of image are left open.
    Another wording of a known concept keeps what the objects of that concept never have, as it was served before. What
    was measured of a concept does not hold for a model that learns more of it. Where a person told objects apart, and
    the model has the head for that, their concept can be counted from then on.
    """
    config = model.config
    trained = {prompt.casefold() for prompt in data.prompt_scales()}
    gray = {prompt.casefold() for prompt in data.gray_prompts()}

    def changed(concept: Concept) -> Concept:
        words = {w.casefold() for w in (*concept.prompts, concept.name)}
        open_kinds = {"modalities": ()} if gray & words else {}
        return concept.model_copy(update={"dice": None, **open_kinds}) if trained & words else concept

    concepts = tuple(map(changed, config.concepts))
    known = {w.casefold() for c in config.concepts for w in (*c.prompts, c.name)}
    new: list[Concept] = []
    shown = data.shown_prompts()
    for prompt, scale in data.prompt_scales().items():
        if prompt.casefold() in known or prompt not in shown:
            continue
        near = known_concept(model, prompt)
        alike = near is not None and near.scale == scale
        hole, speck = (near.hole, near.speck) if near is not None and alike else (0, 0)
        new.append(Concept(name=prompt, prompts=(prompt,), scale=scale, hole=hole, speck=speck))
    learnt = config.model_copy(update={"concepts": (*concepts, *new)})
    if config.objects is None:
        return learnt
    told = {prompt for image in data.labelled for prompt in image.objects}
    meanings = [taught(learnt, prompt) for prompt in sorted(told)]
    named = [each.concepts[0].name for each in meanings if each is not None and not each.structured]
    countable = tuple(dict.fromkeys((*config.objects.concepts, *named)))
    return learnt.model_copy(update={"objects": config.objects.model_copy(update={"concepts": countable})})


def beaten_by(config: ModelConfig, trained: Iterable[str], beaten: Iterable[str], name: str) -> ModelConfig:
    """Note of the concepts of `trained` prompts that the text model `name` is better at `beaten`, and at no others."""

    def named(prompts: Iterable[str]) -> set[str]:
        meanings = [taught(config, prompt) for prompt in prompts]
        return {concept.name for meaning in meanings if meaning is not None for concept in meaning.concepts}

    asked, worse = named(trained), named(beaten)
    concepts = (
        c.model_copy(update={"beaten_by": name if c.name in worse else ""}) if c.name in asked else c
        for c in config.concepts
    )
    return config.model_copy(update={"concepts": tuple(concepts)})
