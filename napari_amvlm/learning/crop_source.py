"""Draws the crops of a fine-tuning run from its images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_amvlm.imaging.depth_objects import depth_of
from napari_amvlm.imaging.scale import fit_square
from napari_amvlm.imaging.turning import names_position
from napari_amvlm.learning.mean_teacher import CropBatch
from napari_amvlm.learning.mixing import Mixture, draw_mixture
from napari_amvlm.learning.views import AppearanceConfig, GeometryConfig, random_affine, random_crop, strong_view, warp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_amvlm.config import Concept, LearningConfig, ModelConfig, ScaleName
    from napari_amvlm.learning.data import LabelledImage, LearningData, UnlabelledImage

TILE_GEOMETRY = GeometryConfig(rotation=180, zoom=(0.8, 1.25), shear=0.08, flip=0.5)
_UPRIGHT = {"rotation": 8.0, "flip": 0.0}
UPRIGHT_GEOMETRY = TILE_GEOMETRY.model_copy(update=_UPRIGHT)
"""Tiles of a prompt that names a position are neither turned nor mirrored."""
WHOLE_GEOMETRY = GeometryConfig(rotation=8, zoom=(0.9, 1.12), shear=0.04, shift=0.04, flip=0)
"""A whole image is never flipped: its prompt may say left or right."""
MOVED_GEOMETRY = GeometryConfig(rotation=180, zoom=(0.9, 1.25), shear=0.05, flip=0.5)
"""How the student's view of an unlabelled tile is moved against the teacher's."""
UPRIGHT_MOVED = MOVED_GEOMETRY.model_copy(update=_UPRIGHT)
"""The same where the prompt names a position."""
APPEARANCE = AppearanceConfig(stain=0.15, intensity=0.15, colour=0.05, blur=1.0, noise=0.03)
_OTHER_WORDING = 0.3
_SPOTS = 4096


@dataclass(frozen=True)
class _Sample:
    """One image and one prompt, ready to be cropped.

    Attributes
    ----------
    pixels, answer
        float32 `(3, H, W)`, and mask and known pixels, uint8 `(2, H, W)` of 0 and 1; a third row is the depth in
        objects, 255 for 1, where a person told them apart.
    spots
        Rows and columns of some of the known pixels, `(N, 2)`, where only a part of the image was reviewed.
    """

    pixels: Tensor
    prompt: str
    answer: Tensor
    spots: Tensor | None = None


class CropSource:
    """Draws views for the steps of one run.

    Labelled images are drawn with replacement, partly reviewed ones where they were reviewed; unlabelled ones in
    rounds, so that all are seen before any is seen twice. An unlabelled image has its own prompt, or the prompts of the
    run in turn. Each prompt has one working scale (`LearningData.prompt_scales`). Tiles are turned and mirrored unless
    the prompt names a position.
    """

    def __init__(self, data: LearningData, config: LearningConfig, model: ModelConfig, device: torch.device) -> None:
        self._config, self._model, self._device = config, model, device
        self._generator = torch.Generator().manual_seed(config.seed)
        self._look = APPEARANCE.stronger(config.strength)
        self._labelled: dict[ScaleName, list[Callable[[], _Sample]]] = {"tiles": [], "whole": []}
        known_whole = True
        self._scales = data.prompt_scales()
        for image in data.labelled:
            if not isinstance(image.image, np.ndarray):
                for prompt in image.masks:
                    self._labelled[self._scales[prompt]].append(partial(self._read, image, prompt))
                known_whole = known_whole and image.reviewed is None
                continue
            fitted = {scale: self._fitted(image.image, scale) for scale in {self._scales[p] for p in image.masks}}
            for prompt in image.masks:
                scale = self._scales[prompt]
                sample = self._sample(fitted[scale], image, prompt)
                known_whole = known_whole and bool(sample.answer[1].all())
                self._labelled[scale].append(partial(_same, sample))
        self._unlabelled: dict[ScaleName, list[UnlabelledImage]] = {}
        self._rounds: dict[ScaleName, Rounds] = {}
        for used in sorted(set(self._scales.values())):
            images = [i for i in data.unlabelled if i.prompt is None or i.scale == used]
            if images and config.unlabelled_batch:
                self._unlabelled[used] = images
                self._rounds[used] = Rounds(len(images), self._generator)
        self.has_unknown = bool(self._unlabelled) or not known_whole
        """Whether there is anything for the teacher: unlabelled images, or pixels that nobody reviewed."""

    def draw(self, *, labelled_alone: bool = False) -> CropBatch:
        """Return the views of the next step; all of one working scale, drawn by the number of its answers.

        Parameters
        ----------
        labelled_alone
            Labelled crops replace the unlabelled ones, as if there were none, and no crops are mixed.
        """
        counts = torch.tensor([float(len(self._labelled["tiles"])), float(len(self._labelled["whole"]))])
        scale: ScaleName = "tiles" if int(torch.multinomial(counts, 1, generator=self._generator)) == 0 else "whole"
        pool = self._labelled[scale]
        mixed = scale in self._unlabelled and not labelled_alone
        count = self._config.labelled_batch + (0 if mixed else self._config.unlabelled_batch)
        picks = torch.randint(len(pool), (count,), generator=self._generator)
        samples = [pool[int(i)]() for i in picks]
        if mixed:
            samples += [self._next_unlabelled(scale) for _ in range(self._config.unlabelled_batch)]
        crops = [self._crop(q, scale) for q in samples]
        weak = torch.stack([c[0] for c in crops]).to(self._device)
        answers = torch.stack([c[1][:2] for c in crops]).to(self._device)
        depth = self._depth([c[1] for c in crops])
        seen, theta = self._moved(weak, samples, scale) if mixed and self._config.moved_views else (weak, None)
        strong = strong_view(seen, self._look, self._generator) if self._config.strong_views else seen
        whole = torch.full((len(crops),), scale == "whole", device=self._device)
        prompts = [self._worded(q.prompt) for q in samples]
        meanings = [self._meaning(q.prompt) for q in samples]
        mixture = self._mixture(meanings, (weak.shape[-2], weak.shape[-1])) if mixed and scale == "tiles" else None
        return CropBatch(weak, strong, whole, prompts, meanings, answers[:, :1], answers[:, 1:], mixture, depth, theta)

    def _moved(self, weak: Tensor, samples: list[_Sample], scale: ScaleName) -> tuple[Tensor, Tensor]:
        """Return the student's views, unlabelled ones moved, and how, `(B, 2, 3)`."""
        theta = torch.eye(2, 3).repeat(len(samples), 1, 1)
        first = self._config.labelled_batch
        for row, sample in enumerate(samples[first:], start=first):
            tiles = UPRIGHT_MOVED if names_position(sample.prompt) else MOVED_GEOMETRY
            theta[row] = random_affine(1, tiles if scale == "tiles" else WHOLE_GEOMETRY, self._generator)[0]
        rest = weak[first:]
        views, _ = warp(rest, rest[:, :1], theta[first:], rest.shape[-1], mirror=scale == "tiles")
        return torch.cat([weak[:first], views]), theta

    def _depth(self, answers: list[Tensor]) -> Tensor | None:
        """Return the depth in objects of crops, NaN where nobody told them apart, `(B, 1, H, W)`; None without any."""
        if all(len(answer) == 2 for answer in answers):
            return None
        nothing = torch.full_like(answers[0][:1], torch.nan)
        return torch.stack([answer[2:] / 255 if len(answer) > 2 else nothing for answer in answers]).to(self._device)

    def _mixture(self, meanings: list[str], size: tuple[int, int]) -> Mixture | None:
        """Draw how the student's tiles are mixed; whole images never are, for positions in them have a meaning."""
        if not self._config.cutmix:
            return None
        drawn = draw_mixture(meanings, size, self._config.cutmix, self._generator)
        return drawn and Mixture(drawn.partner.to(self._device), drawn.inside.to(self._device))

    def retained(self, trained: Sequence[str], count: int) -> list[str]:
        """Draw up to `count` wordings of known concepts that are not being trained."""
        names = {p.casefold() for p in trained}
        others = [c for c in self._model.concepts if not names & {w.casefold() for w in (*c.prompts, c.name)}]
        if not others:
            return []
        picks = torch.randint(len(others), (count,), generator=self._generator)
        return [
            others[int(i)].prompts[int(torch.randint(len(others[int(i)].prompts), (1,), generator=self._generator))]
            for i in picks
        ]

    def use(self, config: LearningConfig) -> None:
        """Draw fewer or smaller crops from now on."""
        self._config = config

    def state(self) -> dict[str, Tensor]:
        """Return what decides the next draws: the states of the generator and of the rounds of each scale."""
        rounds = {f"rounds.{scale}": each.state() for scale, each in self._rounds.items()}
        return {"generator": self._generator.get_state(), **rounds}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Continue from what `state` returned for a source of the same images and configuration."""
        self._generator.set_state(state["generator"])
        for scale, rounds in self._rounds.items():
            rounds.restore(state[f"rounds.{scale}"])

    def _fitted(self, image: NDArray[np.float32], scale: ScaleName) -> Tensor:
        """Return an image as it is cropped, `(3, H, W)`: whole ones on their canvas."""
        return torch.from_numpy(fit_square(image, self._model.whole) if scale == "whole" else image).permute(2, 0, 1)

    def _sample(self, pixels: Tensor, image: LabelledImage, prompt: str) -> _Sample:
        """Return a sample of an image whose pixels were fitted."""
        mask, scale, seen = image.masks[prompt], self._scales[prompt], image.reviewed_for(prompt)
        reviewed = np.ones_like(mask) if seen is None else seen
        rows = [mask, reviewed]
        if scale == "whole":
            # What lies outside the image is known to be background.
            rows = [fit_square(mask, self._model.whole) > 0, fit_square(~reviewed, self._model.whole) == 0]
        elif prompt in image.objects and self._model.objects is not None:
            rows.append(np.rint(depth_of(image.objects[prompt]) * 255))
        spots = self._spots(reviewed) if scale == "tiles" else None
        return _Sample(pixels, prompt, torch.from_numpy(np.stack(rows).astype(np.uint8)), spots)

    def _read(self, image: LabelledImage, prompt: str) -> _Sample:
        """Return a sample of an image that is read when it is drawn."""
        return self._sample(self._fitted(image.pixels(), self._scales[prompt]), image, prompt)

    def _spots(self, reviewed: np.ndarray) -> Tensor | None:
        """Return rows and columns of some reviewed pixels; None where that is all of them or none."""
        if reviewed.all() or not reviewed.any():
            return None
        flat = np.flatnonzero(reviewed)
        some = flat[torch.randint(len(flat), (_SPOTS,), generator=self._generator).numpy()]
        return torch.from_numpy(np.stack(np.unravel_index(some, reviewed.shape), axis=1))

    def _next_unlabelled(self, scale: ScaleName) -> _Sample:
        rounds = self._rounds[scale]
        turn = rounds.turn
        image = self._unlabelled[scale][rounds.draw()]
        prompts = [image.prompt] if image.prompt else [p for p, s in self._scales.items() if s == scale]
        pixels = self._fitted(image.pixels(), scale)
        nothing = torch.zeros((2, *pixels.shape[1:]), dtype=torch.uint8)
        return _Sample(pixels, prompts[turn % len(prompts)], nothing)

    def _crop(self, sample: _Sample, scale: ScaleName) -> tuple[Tensor, Tensor]:
        answer = sample.answer.float()
        if scale == "tiles":
            showing = None
            if sample.spots is not None:
                row, column = sample.spots[int(torch.randint(_SPOTS, (1,), generator=self._generator))].tolist()
                showing = (row, column)
            geometry = UPRIGHT_GEOMETRY if names_position(sample.prompt) else TILE_GEOMETRY
            return random_crop(sample.pixels, answer, self._config.crop, geometry, self._generator, showing=showing)
        side = sample.pixels.shape[-1]
        labelled = bool(sample.answer[1].any())
        if self._config.moved_views and not labelled:
            return sample.pixels, answer  # the teacher sees it as it is, the student as `_moves` says
        theta = random_affine(1, WHOLE_GEOMETRY, self._generator)
        if labelled:
            answer[1] = 1 - answer[1]  # the warp brings zeros from outside the canvas: not unknown
        pixels, answers = warp(sample.pixels[None], answer[None], theta, side, mirror=False)
        if labelled:
            answers[:, 1] = 1 - answers[:, 1]
        return pixels[0], answers[0]

    def _worded(self, prompt: str) -> str:
        """Now and then return another wording of the prompt, if the model knows any."""
        if float(torch.rand(1, generator=self._generator)) >= _OTHER_WORDING:
            return prompt
        concept = self._concept(prompt)
        if concept is None:
            return prompt
        return concept.prompts[int(torch.randint(len(concept.prompts), (1,), generator=self._generator))]

    def _meaning(self, prompt: str) -> str:
        concept = self._concept(prompt)
        return prompt if concept is None else concept.name

    def _concept(self, prompt: str) -> Concept | None:
        """Return the known concept that `prompt` is a wording of."""
        text = prompt.casefold()
        return next((c for c in self._model.concepts if text in {w.casefold() for w in (*c.prompts, c.name)}), None)


def _same(sample: _Sample) -> _Sample:
    return sample


class Rounds:
    """Draws indices below `count` so that all are drawn before any is drawn again.

    Parameters
    ----------
    count
        At least 1.
    generator
        Source of chance; it is used once a round, when its first index is drawn.
    """

    def __init__(self, count: int, generator: torch.Generator) -> None:
        self._count, self._generator = count, generator
        self._order: list[int] = []
        self.turn = 0
        """How many indices were drawn."""

    def draw(self) -> int:
        """Return the next index."""
        position = self.turn % self._count
        if position == 0:
            self._order = torch.randperm(self._count, generator=self._generator).tolist()
        self.turn += 1
        return self._order[position]

    def state(self) -> Tensor:
        """Return turn and order of the present round, int64 `(1 + count,)` or `(1,)` before the first draw."""
        return torch.tensor([self.turn, *self._order], dtype=torch.int64)

    def restore(self, state: Tensor) -> None:
        """Continue from what `state` returned."""
        self.turn, *self._order = state.tolist()
