"""The words that a model was taught, by part of the body, and the nearest to a word that it was not; loads no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_amvlm.models.words.taught import learnt, taught

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_amvlm.config import Concept, ModelConfig
    from napari_amvlm.models.amvlm import AMVLM

_MOST = 4
"""Other wordings that are listed of a word."""


def words_by_body(config: ModelConfig) -> dict[str, list[Concept]]:
    """Return the concepts of a model by part of the body, both in alphabetical order; "other" comes last."""
    found: dict[str, list[Concept]] = {}
    for concept in sorted(config.concepts, key=lambda concept: (not concept.body, concept.body, concept.name)):
        found.setdefault(concept.body or "other", []).append(concept)
    return found


def nearest_concept(model: AMVLM, prompt: str) -> tuple[str, float] | None:
    """Return the concept that a model finds whose name is nearest to a prompt, and the cosine; None if it finds none.

    Raises
    ------
    PromptError
        The prompt is empty or too long.
    """
    names = [concept.name for concept in model.config.concepts if learnt(concept)]
    if not names:
        return None
    embeddings = model.text_encoder.sentence([prompt, *names])
    likeness = embeddings[1:] @ embeddings[0]
    best = int(likeness.argmax())
    return names[best], float(likeness[best])


def other_wordings(config: ModelConfig, concept: Concept) -> list[str]:
    """Return a few ways of saying a concept beside its name."""
    return [text for text in wordings(config, concept) if text.casefold() != concept.name.casefold()][:_MOST]


def wordings(config: ModelConfig, concept: Concept) -> list[str]:
    """Return the wordings of a concept, but those that the model takes for another one that has them too."""

    def is_own(text: str) -> bool:
        meaning = taught(config, text) if learnt(concept) else None
        return meaning is None or meaning.concepts == (concept,)

    return list(filter(is_own, dict.fromkeys(concept.prompts)))


def word_lines(config: ModelConfig) -> list[str]:
    """Return the words as lines of text: part of the body, then each word with its images, Dice and other wordings."""
    lines: list[str] = []
    for body, concepts in words_by_body(config).items():
        lines.append(body)
        for concept in concepts:
            others = ", ".join(other_wordings(config, concept))
            lines.append(f"  {concept.name}: {_found(concept)}" + (f"; also {others}" if others else ""))
    return lines


def word_table(config: ModelConfig, pictures: Mapping[str, str] | None = None) -> str:
    """Return the words as a Markdown table; `pictures` are paths of images by word, of as many words as have one."""
    shown = pictures or {}
    heads = ["part of the body", "word", *([""] if shown else []), "images", "Dice", "also understood"]
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for body, concepts in words_by_body(config).items():
        for concept in concepts:
            score = "not measured" if concept.dice is None else f"{concept.dice:.2f}"
            score = score if learnt(concept) else f"{score}, not taught"
            kinds, said = ", ".join(concept.modalities) or "not stated", ", ".join(other_wordings(config, concept))
            picture = f"![{concept.name}]({shown[concept.name]})" if concept.name in shown else ""
            cells = [body, concept.name, *([picture] if shown else []), kinds, score, said]
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _found(concept: Concept) -> str:
    kinds = ", ".join(concept.modalities) or "images not stated"
    score = "not measured" if concept.dice is None else f"Dice {concept.dice:.2f}"
    return f"{kinds}; {score}" + ("" if learnt(concept) else ", so it counts as not taught")
