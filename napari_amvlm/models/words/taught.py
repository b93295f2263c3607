"""Whether a prompt says something that a model was taught: the one definition that all parts of the program share.

A word is taught if the model finds it: one whose Dice on images that it did not learn from was measured to be below
`LEAST` was not learnt. A prompt is taught if all that it says was taught: its words are those of a wording that the
model learnt from, whatever their order, number and spelling, and what else it says is how the image was made, or
structure that the model learnt. One more word makes it another thing: "lung" is taught, "infected lung area" is not.
How near two sentences are to each other tells less: measured on words that nobody taught, a cosine calls many of them
taught (docs/experiments.md).
"""

from __future__ import annotations

import functools
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_amvlm.config import Concept, ModelConfig

LEAST = 0.1
"""Measured Dice below which a word counts as not taught."""

_FILLING = frozenset(
    "a an the of in on at by from all both every any some each only there is it its this that s patient "
    "segment find show mark outline delineate please visible seen shown image picture region area field "
    "structure object side sided hand".split()
)
"""Words that say nothing about what is meant."""

_CONTEXT = frozenset(
    "chest abdominal abdomen thorax brain head neck heart cardiac lumbar spine sagittal axial coronal frontal x ray "
    "xray radiograph radiography ct cta mr mri magnetic resonance t1 t2 flair angiography ultrasound sonography echo "
    "fundus retina eye photograph photography photo oct dermoscopy skin endoscopy endoscopic colonoscopy laryngoscopy "
    "video histology histological pathology slide tissue section stained stain h e he pas smear cytology biopsy "
    "microscopy microscope fluorescence phase contrast electron em sem scan slice view human with".split()
)
"""Words that say how and of which part of the body an image was made."""
_BODY = frozenset("chest abdomen thorax brain head neck heart spine fundus retina eye skin".split())
"""Those of them that after a comma name another thing: "lungs, heart"."""

_ELSEWHERE = (
    (frozenset(("heart", "cardiac")), ("heart and vessels", "chest")),
    (frozenset(("fundus", "retina", "eye")), ("eye", "heart and vessels")),
    (frozenset(("brain",)), ("head", "spine", "heart and vessels")),
)
"""Words of a part of the body, and the parts whose words are meant there: a heart has other ventricles than a brain."""

_SCANS = frozenset(
    "ray xray radiograph radiography ct cta mr mri resonance t1 t2 flair angiography ultrasound sonography echo".split()
)
"""Words of images that no microscope makes."""

_SIGNS = "_-+\N{MINUS SIGN}\N{SUPERSCRIPT PLUS SIGN}\N{SUPERSCRIPT MINUS}"
"""Within words."""

_SPELLINGS = (
    ("tumor", "tumour"),
    ("gray", "grey"),
    ("fiber", "fibre"),
    ("disk", "disc"),
    ("foetal", "fetal"),
    ("oesoph", "esoph"),
    ("oedema", "edema"),
    ("haem", "hem"),
    ("leuc", "leuk"),
    ("naev", "nev"),
)
_PLURALS = {
    "nuclei": "nucleus",
    "glomeruli": "glomerulus",
    "vertebrae": "vertebra",
    "mitochondria": "mitochondrion",
    "bodies": "body",
    "arteries": "artery",
    "cavities": "cavity",
    "biopsies": "biopsy",
}
_DETAILS = {
    "upper": "upper",
    "top": "upper",
    "middle": "middle",
    "lower": "lower",
    "bottom": "lower",
    "largest": "largest",
    "biggest": "largest",
    "smallest": "smallest",
    "leftmost": "leftmost",
    "rightmost": "rightmost",
}
"""Words that choose a part or a piece of what is named, and what each chooses."""
_PART = frozenset(("everything", "third", "part", *_DETAILS))
_BACKGROUND = frozenset(("background",))
_JOINING = "but not|that is not|except for|except|without|together with|but|and"
_JOINS = re.compile(rf"\b({_JOINING})\b")
_LIST = re.compile(rf"(,(?!\s*(?:{_JOINING})\b)|\b(?:{_JOINING})\b)")
"""The same with commas: "lungs, heart and spine"."""
_UNIONS = ("", ",", "and", "together with")


class Term(NamedTuple):
    """One of the things that a prompt with structure puts together, in order.

    Attributes
    ----------
    concept
        What is named; None is everything in the image.
    detail
        "upper", "middle" or "lower" third; "largest", "smallest", "leftmost" or "rightmost" piece; empty: all of it.
    excluded
        Whether it is taken away from what comes before it.
    """

    concept: Concept | None
    detail: str = ""
    excluded: bool = False


@dataclass(frozen=True)
class Meaning:
    """What a taught prompt says.

    Attributes
    ----------
    concepts
        The concepts that it names, in its order; none for the background.
    structured
        Whether it says more than a concept: a part of it, several together, or one without another.
    terms
        What it puts together; none for a concept or the background.
    """

    concepts: tuple[Concept, ...]
    structured: bool = False
    terms: tuple[Term, ...] = ()

    @property
    def measured(self) -> bool:
        """Whether it is one word that the weights were measured on, so that their presence is calibrated for it."""
        return not self.structured and all(concept.dice is not None for concept in self.concepts)

    @property
    def is_background(self) -> bool:
        """Whether it says the background: all that shows nothing."""
        return not self.concepts

    @property
    def stained(self) -> bool:
        """Whether it names what was learnt from stained tissue alone, of which gray images say nothing."""
        return any(concept.modalities == ("histology",) for concept in self.concepts)


def taught(config: ModelConfig, prompt: str) -> Meaning | None:
    """Return what `prompt` says to a model of this configuration; None if it was not taught that.

    Examples
    --------
    >>> from napari_amvlm.config import Concept, ModelConfig
    >>> lung = Concept(name="lungs", prompts=("lungs", "lung parenchyma"), scale="whole")
    >>> config = ModelConfig(concepts=(lung,), structure=True)
    >>> [bool(taught(config, text)) for text in ("Lung in a chest X-ray", "infected lung area", "lungs and heart")]
    [True, False, False]
    >>> taught(config, "everything except the lungs").structured
    True
    """
    known = _known(config.concepts)
    plain = _plain(known, prompt)
    if plain is not None or not config.structure:
        return Meaning((plain,)) if plain is not None else None
    if _words(prompt) == _BACKGROUND:
        return Meaning((), structured=True)
    terms = _terms(known, _JOINS.split(prompt.casefold())) or _terms(known, _LIST.split(prompt.casefold()))
    concepts = tuple(term.concept for term in terms if term.concept is not None)
    return Meaning(concepts, structured=True, terms=terms) if concepts else None


def _terms(known: dict[frozenset[str], Concept], pieces: list[str]) -> tuple[Term, ...]:
    """Return what a prompt puts together; nothing where a part of it is not known, or says no one thing.

    Parameters
    ----------
    pieces
        Parts of the prompt, with the words that join them in between.
    """
    terms: list[Term] = []
    for join, part in zip(["", *pieces[1::2]], pieces[::2], strict=True):
        excluded = join not in _UNIONS
        if not terms and not _words(_without_parts(part)):
            # "everything except ...", or no more than "without ...": not "upper and lower lungs", which is no list.
            if _details(part) or (len(pieces) > 1 and pieces[1] in _UNIONS):
                return ()
            terms.append(Term(None))
            continue
        concept, details = _plain(known, _without_parts(part)), _details(part)
        some = not details and not {"third", "part"}.isdisjoint(part.split())  # of which nobody says which
        if concept is None or len(details) > 1 or some:
            return ()
        # What follows an exclusion is excluded too: "everything except nuclei and cells".
        terms.append(Term(concept, "".join(details), excluded or any(term.excluded for term in terms)))
    return tuple(terms)


def _without_parts(text: str) -> str:
    return " ".join(word for word in text.split() if word not in _PART)


def _details(text: str) -> set[str]:
    return {_DETAILS[word] for word in text.split() if word in _DETAILS}


def _plain(known: dict[frozenset[str], Concept], prompt: str) -> Concept | None:
    """Return the concept of which `prompt` is a wording, said alone or of a kind of image; None if it is of none."""
    concept = known.get(_key(prompt))
    if concept is not None:
        return concept
    parts = re.split(r"(\b(?:in|on|from|of)\b|,)", prompt.casefold())
    for count in range(1, len(parts), 2):
        said, context = _key(" ".join(parts[:count])), _words(" ".join(parts[count + 1 :]))
        if said in known and context <= _CONTEXT and not (parts[count] == "," and context <= _BODY):
            return None if _lies_elsewhere(known[said], context) else known[said]
    return None


def _lies_elsewhere(concept: Concept, context: frozenset[str]) -> bool:
    """Tell whether a prompt speaks of another part of the body than that which its concept was learnt in."""
    if any("microscopy" in kind or kind == "histology" for kind in concept.modalities) and context & _SCANS:
        return True  # "tumor in brain MR" is none of those that were learnt from slides
    anywhere = concept.body in ("", "tissue and cells")
    return not anywhere and any(context & words and concept.body not in bodies for words, bodies in _ELSEWHERE)


def learnt(concept: Concept) -> bool:
    """Tell whether the model finds a concept: as far as it was measured."""
    return concept.dice is None or concept.dice >= LEAST


@functools.lru_cache(maxsize=16)
def _known(concepts: tuple[Concept, ...]) -> dict[frozenset[str], Concept]:
    """Return the concept of each wording, the first where several share one."""
    found: dict[frozenset[str], Concept] = {}
    concepts = tuple(concept for concept in concepts if learnt(concept))
    for concept in concepts:  # a name says its own concept, whatever wordings others have
        found.setdefault(_key(concept.name), concept)
    for concept in concepts:
        for wording in concept.prompts:
            found.setdefault(_key(wording), concept)
    return found


def _key(text: str) -> frozenset[str]:
    """Return the words of a text that say something; where none does, as in "hand" or "area", all that it says."""
    return _words(text) or frozenset(map(_one, _split(text))) or frozenset((text,))


def _words(text: str) -> frozenset[str]:
    """Return the words of a text that say something, in the singular and in one spelling.

    Examples
    --------
    >>> sorted(_words("the Tumors of all kidneys")), sorted(_words("L5/S1 disks"))
    (['kidney', 'tumour'], ['disc', 'l5', 's1'])
    """
    return frozenset(_one(word) for word in _split(text) if word not in _FILLING and _one(word) not in _FILLING)


def _split(text: str) -> Iterable[str]:
    """Return the words of a text; a sign at the end of one is a part of it, for CD4+ is not CD4-.

    Examples
    --------
    >>> _split("CD4+ cells, left-lung field (Ki-67-)")
    ['cd4+', 'cells', 'left', 'lung', 'field', 'ki', '67-']
    """
    said = unicodedata.normalize("NFC", text.casefold())
    # Marks, as the vowels of Hindi, are letters here, which they are not to `re`.
    kept = (c if c.isalnum() or c in _SIGNS or unicodedata.category(c)[0] == "M" else " " for c in said)
    return re.findall(r"[^\s-]+(?:-(?!\S))?", "".join(kept))


def _one(word: str) -> str:
    for other, usual in _SPELLINGS:
        word = word.replace(other, usual)
    if word in _PLURALS:
        return _PLURALS[word]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word
