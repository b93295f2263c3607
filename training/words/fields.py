"""Which taught words an image certainly does not show, by how it was made.

A word is denied only across fields of medicine that share nothing (a liver in a fundus photograph), or where the set
itself says so: an organ that nobody outlined may well be in the picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from training.datasets.word_sets import SetSpec
    from training.words.corpus import LabelledImage

_FIELDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("microscopy", ("histology", "smear", "fluorescence", "tem ", "em ", "phase contrast", "cytology", "microscop")),
    ("eye", ("fundus", "oct ", "retina")),
    ("skin", ("dermoscopy", "clinical photograph")),
    ("teeth", ("dental",)),
    ("endoscopy", ("scopy", "endoscop")),
    ("head", ("brain", "head ")),
    ("body", ("ct", "mr", "x-ray", "ultrasound", "pet")),
)
"""Fields in the order in which they are tried, and what a modality of each says."""

_DEVICES = ("instrument", "tube")
"""Words with one of these may be in any picture of a patient."""

EVERYDAY: tuple[str, ...] = (
    "car",
    "dog",
    "tree",
    "a house",
    "traffic light",
    "airplane",
    "handwritten text",
    "bicycle",
    "chair",
    "boat",
    "a cat on a sofa",
    "mountain",
    "coffee cup",
    "keyboard",
    "banana",
    "shoes",
    "sky",
    "a road sign",
)
"""Things that no medical image shows; they are denied of all."""


def field_of(modality: str) -> str:
    """Return the field of medicine of a modality; one that is not known is a field of its own.

    Examples
    --------
    >>> field_of("chest X-ray"), field_of("H&E histology, colon biopsy"), field_of("thermography")
    ('body', 'microscopy', 'thermography')
    """
    return _first(_FIELDS, f"{modality} ", modality.casefold())


_BODY: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("eye", ("fundus", "retin", "oct ")),
    ("teeth", ("dental", "tooth")),
    ("throat", ("laryng", "glottis")),
    ("pregnancy", ("fetal",)),
    ("tissue and cells", ("histology", "fluorescence", "em ", "phase contrast", "cytology", "smear", "microscop")),
    ("head", ("brain", "head", "skull")),
    ("spine", ("spine", "spinal", "vertebra", "disc")),
    ("heart and vessels", ("cardiac", "heart", "aort", "carotid", "vena cava", "vessel", "artery")),
    ("chest", ("chest", "lung")),
    ("abdomen", ("abdom", "liver", "kidney", "pancrea", "spleen", "colon")),
    ("skin and limbs", ("skin", "dermoscopy", "clinical photograph", "nerve", "sarcoma", "wound")),
)
_KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("histology", ("histology",)),
    ("fluorescence microscopy", ("fluorescence",)),
    ("electron microscopy", ("em ", "electron")),
    ("light microscopy", ("phase contrast", "cytology", "smear", "microscop")),
    ("fundus photograph", ("fundus",)),
    ("OCT", ("oct ",)),
    ("dermoscopy", ("dermoscopy",)),
    ("endoscopy", ("scopy",)),
    ("photograph", ("photograph",)),
    ("ultrasound", ("ultrasound",)),
    ("X-ray", ("x-ray",)),
    ("PET/CT", ("pet",)),
    ("CT", ("ct",)),
    ("MR", ("mr",)),
)
"""Parts of the body and kinds of image, in the order in which they are tried, and what tells each."""


def body_part(word: str, modality: str) -> str:
    """Return the part of the body that a word of images of this modality belongs to.

    Examples
    --------
    >>> body_part("liver lesion", "ultrasound"), body_part("nuclei", "H&E histology"), body_part("moon", "telescope")
    ('abdomen', 'tissue and cells', 'other')
    """
    return _first(_BODY, f"{modality} {word} ", "other")


def image_kind(modality: str) -> str:
    """Return the kind of image in the terms that people choose by; what is not known stays as it is.

    Examples
    --------
    >>> image_kind("head CT, brain window"), image_kind("ssTEM of Drosophila nerve cord"), image_kind("thermography")
    ('CT', 'electron microscopy', 'thermography')
    """
    return _first(_KINDS, f"{modality} ", modality)


def _first(marks: Sequence[tuple[str, Sequence[str]]], text: str, otherwise: str) -> str:
    text = text.casefold()
    return next((name for name, found in marks if any(mark in text for mark in found)), otherwise)


def deniable(images: Sequence[LabelledImage], wordings: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Return, for each set by name, the taught words that none of its images shows.

    Parameters
    ----------
    wordings
        Wordings of each word; a word that shares one with a word of the set is not denied.
    """
    known = {field for field, _ in _FIELDS}
    specs: dict[str, SetSpec] = {}
    words: dict[str, dict[str, None]] = {}
    for image in images:
        specs[image.spec.name] = image.spec
        words.setdefault(image.spec.name, {}).update(dict.fromkeys((*image.words, *image.spec.paired)))
    fields: dict[str, set[str]] = {}
    for name, spec in specs.items():
        for word in words[name]:
            fields.setdefault(word, set()).add(field_of(spec.modality))
    found: dict[str, tuple[str, ...]] = {}
    for name, spec in specs.items():
        own = field_of(spec.modality)
        said = {text.casefold() for word in words[name] for text in wordings.get(word, (word,))}
        denied = [
            word
            for word, where in fields.items()
            if word not in words[name]
            and own in known
            and where <= known - {own}
            and not (own not in ("microscopy", "eye") and any(device in word for device in _DEVICES))
            and word not in spec.modality
            and not said & {text.casefold() for text in wordings.get(word, (word,))}
        ]
        found[name] = tuple(dict.fromkeys([*denied, *(word for word in spec.absent if word in fields)]))
    return found
