"""Draws batches of a vocabulary: views of images, and prompts for plain words, structure, and what is not there."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_amvlm.learning.views import AppearanceConfig, GeometryConfig, random_affine, random_crop, strong_view, warp
from training.pretraining.batches import OBJECT_SIZES, TISSUE, TISSUE_LOOK, Batch, step_seed
from training.pretraining.text_views import swap_sides
from training.words.captions import caption_of
from training.words.fields import EVERYDAY, deniable, field_of
from training.words.referents import FORMS, Referent, View, held_out_combination

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_amvlm.config import Concept
    from training.datasets.word_sets import SetSpec
    from training.words.corpus import LabelledImage

_WHOLE = GeometryConfig(rotation=12, zoom=(0.85, 1.2), shear=0.04, shift=0.06, flip=0.5)
_LOOK = AppearanceConfig(stain=0, colour=0.06, intensity=0.25, shade=0.2, blur=0.7, noise=0.02, gray=0.05)
_ANY_WAY_UP = ("histology", "dermoscopy", "oct ", "clinical photograph", "smear")
"""Modalities whose images may be turned by any angle."""
_MIRRORED = ("lung", "clavicle", "kidney", "breast", "eye")
"""Organs of which a mirrored image shows the other one; of other words with a side, images are not mirrored."""

_APART = 1 << 31
"""Sets the seed of second looks apart from that of a first one; torch takes the lower 32 bits."""
_SECOND, _DENIED, _STRUCTURED, _MODALITY, _CAPTION = 0.6, 0.35, 0.35, 0.12, 0.3
"""How often: an image is asked twice; the second prompt is for what is absent; if not, it has structure; a prompt says
how the image was made; a prompt is the image's own caption."""


class WordSource:
    """Draws batches; that of a step depends on the seed and the step alone, so a resumed run sees the same.

    Parameters
    ----------
    seed, batch, size
        Seed, images in a batch, and side of a view in pixels.
    first
        Number of the first steps whose views are smaller, and their side.
    emphasis
        Factors on how often sets without a share of their own are drawn, by name.
    levels
        How often a view of a spine is asked for a numbered level.
    negatives
        Images of a batch that are seen as words of the other scale are, and asked for such words in vain.
    in_vain
        Factors on how often a word is asked for in vain; empty: all alike.
    captions
        Whether a batch has captions, and a second look of each view, for step 1; nothing else in it depends on that.
    """

    def __init__(
        self,
        images: Sequence[LabelledImage],
        concepts: Sequence[Concept],
        *,
        seed: int,
        batch: int,
        size: int,
        first: tuple[int, int] = (0, 0),
        emphasis: Mapping[str, float] | None = None,
        levels: float = 0.5,
        negatives: int = 0,
        in_vain: Mapping[str, float] | None = None,
        captions: bool = False,
    ) -> None:
        self._seed, self._batch, self._size, self._first, self._levels = seed, batch, size, first, levels
        self._negatives, self._in_vain_factors, self._captions = negatives, in_vain or {}, captions
        self._concepts = {concept.name: concept for concept in concepts}
        self._wordings = {name: concept.prompts for name, concept in self._concepts.items()}
        self._absent = deniable(images, self._wordings)
        self._by_word: dict[str, dict[str, list[LabelledImage]]] = {}
        for image in images:
            of_set = self._by_word.setdefault(image.spec.name, {})
            for word in image.shown():
                of_set.setdefault(word, []).append(image)
        self._specs = {image.spec.name: image.spec for image in images}
        words = {name: len(words) for name, words in self._by_word.items()}
        self._weights = _set_weights(self._specs, words, emphasis or {})

    @property
    def shares(self) -> dict[str, float]:
        """Share of the drawn images that comes from each set."""
        total = sum(self._weights.values())
        return {name: weight / total for name, weight in self._weights.items()}

    def draw(self, step: int) -> Batch:
        """Return the batch of `step`."""
        number = step_seed(self._seed, step)
        chance, generator = random.Random(number), torch.Generator().manual_seed(number)
        names = chance.choices(list(self._weights), list(self._weights.values()), k=self._batch)
        size = self._first[1] if step < self._first[0] else self._size
        pictures, views, asked, index = [], [], [], []
        for row, name in enumerate(names):
            word = chance.choice(list(self._by_word[name]))
            image = chance.choice(self._by_word[name][word])
            others = self._of_the_other_scale(image, word) if row < self._negatives else []
            if others:
                word = self._chosen_in_vain(others, chance)
                pixels, view = self._view(image, word, size, chance, generator)
                questions = self._in_vain(word, others, view, chance)
            else:
                pixels, view = self._view(image, word, size, chance, generator)
                questions = self._questions(image, word, view, chance)
            pictures.append(pixels)
            views.append(view)
            asked += questions
            index += [row] * len(questions)
        plain = torch.stack(pictures)
        images = self._look(plain, names, generator)
        targets = torch.from_numpy(np.stack([r.mask for _, r in asked]))[:, None].float()
        texts = [text for text, _ in asked]
        concepts = [r.meaning for _, r in asked]
        whole = torch.tensor([view.whole for view in views])
        told = self._told(plain, views, names, step) if self._captions else ([], [], images, [])
        return Batch(images, whole, texts, concepts, torch.tensor(index), targets, *told)

    def _look(self, plain: Tensor, names: Sequence[str], generator: torch.Generator) -> Tensor:
        """Return the views with another look each, histology with other stains."""
        histology = torch.tensor(["histology" in self._specs[name].modality for name in names])
        images = plain.clone()
        for rows, look in ((histology, TISSUE_LOOK), (~histology, _LOOK)):
            if bool(rows.any()):
                images[rows] = strong_view(images[rows], look, generator)
        return images

    def _told(
        self, plain: Tensor, views: Sequence[View], names: Sequence[str], step: int
    ) -> tuple[list[str], list[str], Tensor, list[str]]:
        """Return captions, their meanings, and the second views of images and captions, by draws of their own."""
        number = step_seed(self._seed, step)
        chance, generator = random.Random(f"captions {number}"), torch.Generator().manual_seed(number ^ _APART)
        made = [
            caption_of(view, self._specs[name].modality, self._wordings, chance)
            for view, name in zip(views, names, strict=True)
        ]
        texts, meanings, others = (list(column) for column in zip(*made, strict=True))
        return texts, meanings, self._look(plain, names, generator), others

    def _view(
        self, image: LabelledImage, word: str, size: int, chance: random.Random, generator: torch.Generator
    ) -> tuple[Tensor, View]:
        concept = self._concepts[word]
        pixels = torch.from_numpy(image.image).permute(2, 0, 1).float() / 255
        layers = [image.labels, np.ones_like(image.labels)] + ([] if image.levels is None else [image.levels])
        masks = torch.from_numpy(np.stack(layers)).float()
        geometry = _geometry(image.spec, image.words)
        if concept.scale == "tiles":
            zoom, showing = self._zoom(image, concept, chance), None
            if word in image.words and chance.random() < 0.7:
                rows, columns = np.nonzero(image.mask(word))
                pick = chance.randrange(len(rows))
                showing = int(rows[pick]), int(columns[pick])
            seen, found = random_crop(pixels, masks, size, geometry, generator, zoom=zoom, showing=showing)
            mirrored = False
        else:
            theta = random_affine(1, geometry, generator)
            theta[:, :, :2] *= max(image.labels.shape) / size
            views, labels = warp(pixels[None], masks[None], theta, size, mirror=False)
            seen, found = views[0], labels[0]
            mirrored = bool(torch.det(theta[0, :, :2]) < 0)
        arrays = found.round().to(torch.uint8).numpy()
        labels_seen = _swapped(arrays[0], image.words) if mirrored else arrays[0]
        return seen, View(
            labels_seen,
            image.words,
            tuple(w for w in (*image.words, *image.spec.paired) if self._concepts[w].scale == concept.scale),
            arrays[1] > 0,
            levels=arrays[2] if image.levels is not None else None,
            complete=not image.spec.partial,
            whole=concept.scale == "whole",
        )

    def _zoom(self, image: LabelledImage, concept: Concept, chance: random.Random) -> float:
        spread = math.exp(chance.uniform(math.log(0.8), math.log(1.25)))
        if concept.side:
            return float(concept.side / max(image.labels.shape) * spread)
        if image.object_size and chance.random() < 0.5:
            low, high = (math.log(s) for s in OBJECT_SIZES)
            return min(max(math.exp(chance.uniform(low, high)) / image.object_size, 0.4), 2.5)
        return spread

    def _questions(
        self, image: LabelledImage, word: str, view: View, chance: random.Random
    ) -> list[tuple[str, Referent]]:
        levels = list(view.numbered())
        first = chance.choice(levels) if levels and chance.random() < self._levels else self._plain(word, view)
        if image.spec.paired and chance.random() < 0.3:
            first = self._plain(chance.choice(image.spec.paired), view)
        if image.caption and len(image.words) == 1 and chance.random() < _CAPTION:
            asked = [(image.caption, first)]
        else:
            asked = [(self._said(first, image.spec, chance), first)]
        if chance.random() >= _SECOND:
            return asked
        second: Referent | None
        if chance.random() < _DENIED:
            second = self._denied(image, view, chance)
        else:
            second = self._another(view, word, chance)
        return asked if second is None else [*asked, (self._said(second, image.spec, chance), second)]

    def _of_the_other_scale(self, image: LabelledImage, word: str) -> list[str]:
        scale = self._concepts[word].scale
        return [w for w in self._absent[image.spec.name] if self._concepts[w].scale != scale]

    def _in_vain(self, word: str, others: list[str], view: View, chance: random.Random) -> list[tuple[str, Referent]]:
        """Ask for a word that is absent, and for another one that is seen at the same size."""
        side = self._concepts[word].side
        more = [w for w in others if w != word and self._concepts[w].side == side]
        asked = [word, *([self._chosen_in_vain(more, chance)] if more else [])]
        return [(chance.choice(self._wordings[w]), self._nothing(w, view)) for w in asked]

    def _chosen_in_vain(self, words: list[str], chance: random.Random) -> str:
        """Return a word to ask for in vain; without factors the draws are those of versions that had none."""
        if not self._in_vain_factors:
            return chance.choice(words)
        return chance.choices(words, [self._in_vain_factors.get(word, 1.0) for word in words])[0]

    def _nothing(self, word: str, view: View) -> Referent:
        """Return a word, taught or not, that a view does not show."""
        wordings = self._wordings.get(word, (word,))
        return Referent("plain", word, (word,), wordings, np.zeros(view.labels.shape, np.bool_))

    def _plain(self, word: str, view: View) -> Referent:
        return Referent("plain", word, (word,), self._wordings[word], view.masks[word])

    def _another(self, view: View, word: str, chance: random.Random) -> Referent | None:
        others = [each for each in view.shown if each != word]
        if others and chance.random() >= _STRUCTURED:
            return self._plain(chance.choice(others), view)
        weights = (3, 2, 3, 2, 1.5, 0.7)
        for form in chance.choices(FORMS, weights, k=3):
            found = view.structured(form, chance, lambda *said: not held_out_combination(*said))
            if found is not None:
                return found
        return None

    def _denied(self, image: LabelledImage, view: View, chance: random.Random) -> Referent:
        """Return something that the image does not show: a taught word, one of its set's, or an everyday thing."""
        absent = list(self._absent[image.spec.name])
        same = [w for w in absent if (self._concepts[w].scale == "whole") == view.whole]
        shown = image.shown()
        own = [] if image.spec.partial else [w for w in view.masks if not view.masks[w].any() and w not in shown]
        pool = own if own and chance.random() < 0.4 else same if same and chance.random() < 0.6 else absent
        everyday = not pool or chance.random() < 0.2
        return self._nothing(chance.choice(EVERYDAY if everyday else pool), view)

    def _said(self, referent: Referent, spec: SetSpec, chance: random.Random) -> str:
        # The plain word is what people type most.
        text = referent.wordings[0] if chance.random() < 0.4 else chance.choice(referent.wordings)
        if referent.form in ("plain", "level") and spec.modality and chance.random() < _MODALITY:
            text = chance.choice(("{0} in {1}", "{0} on {1}", "segment the {0}, {1}")).format(text, spec.modality)
        return text


def _set_weights(
    specs: Mapping[str, SetSpec], words: Mapping[str, int], emphasis: Mapping[str, float]
) -> dict[str, float]:
    """Return how often each set is drawn: its own share, or its part of the rest by the number of its words."""
    fixed = {name: spec.share for name, spec in specs.items() if spec.share is not None}
    free = {name: words[name] ** 0.8 * emphasis.get(name, 1.0) for name in specs if name not in fixed}
    left = 1 - sum(fixed.values()) if free else 0.0
    total = sum(free.values())
    return {name: fixed.get(name) or left * free[name] / total for name in specs}


def _geometry(spec: SetSpec, words: Sequence[str]) -> GeometryConfig:
    modality = f"{spec.modality.casefold()} "
    if spec.kind == "tiles" or field_of(spec.modality) == "microscopy":
        return TISSUE
    geometry = _WHOLE
    if any(mark in modality for mark in _ANY_WAY_UP):
        geometry = geometry.model_copy(update={"rotation": 180.0})
    sides = [word for word in words if word.startswith(("left ", "right "))]
    if any(word.split(" ", 1)[1] not in _MIRRORED for word in sides):
        geometry = geometry.model_copy(update={"flip": 0.0})
    return geometry


def _swapped(labels: NDArray[np.uint8], words: Sequence[str]) -> NDArray[np.uint8]:
    """Return labels of a mirrored view: what is on the right of any image is called the patient's left."""
    table = np.arange(256, dtype=np.uint8)
    for index, word in enumerate(words, start=1):
        other = swap_sides(word)
        if other != word and other in words:
            table[index] = words.index(other) + 1
    return table[labels]
