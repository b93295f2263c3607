"""The concept that a model knows whose name is nearest to a prompt that it was not taught."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_amvlm.models.amvlm import AMVLM


def nearest_concept(model: AMVLM, prompt: str) -> tuple[str, float] | None:
    """Return the concept of a model whose name is nearest to a prompt, and the cosine; None where it knows none.

    Raises
    ------
    PromptError
        The prompt is empty or too long.
    """
    names = [concept.name for concept in model.config.concepts]
    if not names:
        return None
    embeddings = model.text_encoder.sentence([prompt, *names])
    likeness = embeddings[1:] @ embeddings[0]
    best = int(likeness.argmax())
    return names[best], float(likeness[best])
