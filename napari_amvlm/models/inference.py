"""Tiled inference: the image side once, then one cheap decoding for each prompt."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.special import expit, logit
from torch import Tensor, nn

from napari_amvlm.config import STRIDE
from napari_amvlm.device import autocast
from napari_amvlm.errors import Cancelled
from napari_amvlm.imaging import Tile, WorkingScale, blend_window, resize, tile_grid, tile_scale, whole_scale
from napari_amvlm.imaging.scale import canvas_box, fit_square
from napari_amvlm.imaging.settle import settle
from napari_amvlm.imaging.turning import turned_back
from napari_amvlm.models.amvlm import ImageFeatures
from napari_amvlm.models.words.taught import taught

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_amvlm.config import Concept
    from napari_amvlm.models.amvlm import AMVLM

    Progress = Callable[[int, int], None]
    Stop = Callable[[], bool]

_NEARLY = 1e-6
"""Probabilities nearer to 0 or 1 than this count as that near, so that their logits are finite."""


@dataclass
class EncodedImage:
    """An image after its text-free half.

    Attributes
    ----------
    shape
        Height and width of the image that was given, pixels.
    scale
        The working scale it was encoded at.
    pixels
        The image at working scale, padded; float32 `(3, H', W')`.
    content
        Where in `pixels` the image lies: top, left, height, width.
    tiles
        Tiles of `pixels`.
    features
        Features of each tile; None where they were too large to keep and are computed again for each prompt.
    overlap
        Overlap of neighbouring tiles, pixels.
    """

    shape: tuple[int, int]
    scale: WorkingScale
    pixels: Tensor
    content: tuple[int, int, int, int]
    tiles: list[Tile]
    features: list[ImageFeatures | None]
    overlap: int

    @property
    def nbytes(self) -> int:
        """Memory that the kept tensors take, in bytes."""
        return self.pixels.numel() * 4 + sum(f.nbytes for f in self.features if f is not None)


@dataclass(frozen=True)
class DecodedPrompt:
    """What one prompt found.

    Attributes
    ----------
    probability, text_probability
        Of the segmentation and of the text-guided mask alone, float32 `(H, W)` in [0, 1], at the image's own size.
    presence
        Probability that what the prompt says is in the image.
    depth
        How deep inside an object each pixel lies, same shape; None where the model does not know such objects.
    """

    probability: NDArray[np.float32]
    text_probability: NDArray[np.float32]
    presence: float
    depth: NDArray[np.float32] | None = None

    def turned_back(self, view: int) -> DecodedPrompt:
        """Return what was found in a view of the image, as the image lies."""
        depth = None if self.depth is None else turned_back(self.depth, view)
        maps = turned_back(self.probability, view), turned_back(self.text_probability, view)
        return DecodedPrompt(*maps, self.presence, depth)


def known_concept(model: AMVLM, prompt: str) -> Concept | None:
    """Return the concept that a taught prompt names, the first of several; None where it names none."""
    meaning = taught(model.config, prompt)
    return meaning.concepts[0] if meaning is not None and meaning.concepts else None


def is_countable(model: AMVLM, prompt: str) -> bool:
    """Tell whether the model was taught how touching objects of what `prompt` names are told apart."""
    if model.config.objects is None:
        return False
    meaning = taught(model.config, prompt)
    # objects of a prompt that is composed of several masks are none of the network's
    names = [concept.name for concept in meaning.concepts] if meaning is not None and not meaning.structured else []
    return bool(names) and set(names) <= set(model.config.objects.concepts)


def auto_scale(
    model: AMVLM, prompt: str, shape: tuple[int, int], *, gray: bool = True, magnification: float = 1.0
) -> WorkingScale:
    """Choose the working scale: the one that the concept which the prompt names was learnt at.

    A prompt that is not taught looks at gray images whole, and at colour images, which are mostly slides, in tiles.
    """
    concept = known_concept(model, prompt)
    if concept is not None and concept.side:
        return tile_scale(concept.side / max(shape))
    name = concept.scale if concept is not None else "whole" if gray else "tiles"
    return named_scale(model, name, shape, magnification=magnification)


def named_scale(model: AMVLM, name: str, shape: tuple[int, int], *, magnification: float = 1.0) -> WorkingScale:
    """Return the working scale called `name` ("whole" or "tiles") for an image of `shape`."""
    return whole_scale(shape, model.config.whole) if name == "whole" else tile_scale(magnification)


def encode_image(
    model: AMVLM,
    image: NDArray[np.float32],
    scale: WorkingScale,
    *,
    device: torch.device | None = None,
    batch: int = 4,
    tile: int | None = None,
    keep_bytes: int = 1 << 30,
    on_progress: Progress | None = None,
    should_stop: Stop | None = None,
) -> EncodedImage:
    """Run the text-free half of the model on an image.

    Parameters
    ----------
    model
        In eval mode.
    image
        float32 `(H, W, 3)` in [0, 1].
    device
        Where to compute; None means where the model is.
    batch
        Tiles at once. An image that is no larger than a square of so many tiles is looked at in one piece: it has no
        seams, and tiles that overlap cost twice as much.
    tile
        Side of a tile, a multiple of 16; None is the model's own. A whole image is always one tile of its own size.
    keep_bytes
        Features beyond this size are not kept but computed again for every prompt.
    on_progress
        Called with (tiles done, tiles in all).
    should_stop
        Asked before every batch.

    Raises
    ------
    Cancelled
        `should_stop` said so.
    """
    device = device or model.device
    encoded = _laid_out(model, image, scale, tile or model.config.tile, batch)
    total = len(encoded.tiles)
    kept = 0
    for start in range(0, total, batch):
        _check(should_stop)
        for index, features in _encode_tiles(model, encoded, range(start, min(start + batch, total)), device):
            kept += features.nbytes
            if kept <= keep_bytes:
                encoded.features[index] = features
        if on_progress:
            on_progress(min(start + batch, total), total)
        if kept > keep_bytes:
            break
    return encoded


def decode_prompt(
    model: AMVLM,
    encoded: EncodedImage,
    prompt: str,
    *,
    batch: int = 4,
    on_progress: Progress | None = None,
    should_stop: Stop | None = None,
) -> DecodedPrompt:
    """Run the text-conditioned half for one prompt.

    Parameters
    ----------
    encoded
        Result of `encode_image`.
    batch, on_progress, should_stop
        As in `encode_image`.
    """
    height, width = encoded.pixels.shape[-2:]
    device, separate = model.device, is_countable(model, prompt)
    total = torch.zeros(2 + separate, height, width)
    weight = torch.zeros(height, width)
    presence: list[float] = []
    tiles = encoded.tiles
    with torch.inference_mode():
        text = model.encode_text([prompt])
    for start in range(0, len(tiles), batch):
        _check(should_stop)
        rows = range(start, min(start + batch, len(tiles)))
        for index, features in features_of(model, encoded, rows, device):
            with torch.inference_mode(), autocast(device):
                out = model.decode(features, text, separate=separate)
            found = [out.logits, _full(out.text_logits, out.logits.shape[-2:]), *((out.depth,) if separate else ())]
            maps = torch.cat(found, dim=1).float().sigmoid()[0].cpu()
            tile = tiles[index]
            window = torch.from_numpy(blend_window(tile.height, tile.width, encoded.overlap))
            total[(slice(None), *tile.slices)] += maps * window
            weight[tile.slices] += window
            presence.append(float(out.presence[0]))
        if on_progress:
            on_progress(min(start + batch, len(tiles)), len(tiles))
    top, left, h, w = encoded.content
    planes = list((total / weight)[:, top : top + h, left : left + w].numpy())
    largest = settled_sizes(model, prompt)
    planes[0] = settle(planes[0], hole=largest[0], speck=largest[1])
    probability, text_probability, *depth = (np.clip(resize(m, encoded.shape), 0, 1) for m in planes)
    return DecodedPrompt(probability, text_probability, pooled_presence(presence), *depth)


def mean_of_logits(
    probabilities: Sequence[NDArray[np.float32]], weights: Sequence[float] | None = None
) -> NDArray[np.float32]:
    """Return the probability `(H, W)` whose logit is the weighted mean of the others'; without weights all count alike.

    Examples
    --------
    >>> mean_of_logits([np.float32([0.2, 0.5]), np.float32([0.8, 0.5])]).round(3).tolist()
    [0.5, 0.5]
    """
    bounded = [np.clip(p.astype(np.float64), _NEARLY, 1 - _NEARLY) for p in probabilities]
    return np.asarray(expit(np.average([logit(p) for p in bounded], axis=0, weights=weights)), np.float32)


def mean_answer(answers: Sequence[DecodedPrompt]) -> DecodedPrompt:
    """Return the mean of several answers' logits, of pixels and of presence; one answer alone comes back as it is."""
    if len(answers) == 1:
        return answers[0]
    depths = [a.depth for a in answers if a.depth is not None]
    return DecodedPrompt(
        mean_of_logits([a.probability for a in answers]),
        mean_of_logits([a.text_probability for a in answers]),
        float(mean_of_logits([np.array([a.presence], np.float32) for a in answers])[0]),
        np.mean(depths, axis=0, dtype=np.float32) if depths else None,
    )


def pooled_presence(logits: Sequence[float]) -> float:
    """Return how probably something is in an image, from the presence logits of its parts: by their strongest tenth."""
    strongest = sorted(logits)[-max(1, len(logits) // 10) :]
    logit = sum(strongest) / len(strongest)
    return 1 / (1 + math.exp(-min(max(logit, -60), 60)))


def settled_sizes(model: AMVLM, prompt: str) -> tuple[int, int]:
    """Return the largest hole and speck that objects of the named concept do not have, see `settle`."""
    meaning = taught(model.config, prompt)
    if meaning is None or meaning.structured:
        return 0, 0
    return meaning.concepts[0].hole, meaning.concepts[0].speck


def _laid_out(model: AMVLM, image: NDArray[np.float32], scale: WorkingScale, side: int, batch: int) -> EncodedImage:
    """Resize to working scale, pad to what the network takes, and lay the tiles."""
    shape = (image.shape[0], image.shape[1])
    if scale.name == "whole":
        side, overlap = model.config.whole, model.config.overlap
        pixels = torch.from_numpy(fit_square(image, side)).permute(2, 0, 1)
        return EncodedImage(shape, scale, pixels, canvas_box(shape, side), [Tile(0, 0, side, side)], [None], overlap)
    size = tuple(max(1, round(side * scale.factor)) for side in shape)
    small = image if size == shape else resize(image, (size[0], size[1]))
    pixels = torch.from_numpy(np.ascontiguousarray(small.transpose(2, 0, 1)))
    down, right = (max(4 * STRIDE, math.ceil(s / STRIDE) * STRIDE) - s for s in size)
    pixels = nn.functional.pad(pixels[None], (0, right, 0, down), mode="replicate")[0]
    overlap = min(model.config.overlap, side // 4) if side < model.config.tile else model.config.overlap
    height, width = pixels.shape[1:]
    if max(height, width) <= side * math.isqrt(batch):
        side = max(height, width)
    tiles = tile_grid((height, width), side, overlap)
    return EncodedImage(shape, scale, pixels, (0, 0, size[0], size[1]), tiles, [None] * len(tiles), overlap)


def _encode_tiles(
    model: AMVLM, encoded: EncodedImage, rows: range, device: torch.device
) -> Iterator[tuple[int, ImageFeatures]]:
    """Encode the tiles `rows` in one batch, and yield the features of each as a batch of one."""
    tiles = [encoded.tiles[i] for i in rows]
    images = torch.stack([encoded.pixels[(slice(None), *t.slices)] for t in tiles]).to(device)
    whole = torch.full((len(tiles),), encoded.scale.name == "whole", device=device)
    with torch.inference_mode(), autocast(device):
        features = model.encode_image(images, whole)
    for row, index in enumerate(rows):
        one = slice(row, row + 1)
        skips = tuple(s[one].clone(memory_format=torch.preserve_format) for s in features.skips)
        yield index, ImageFeatures(features.v_cls[one], features.dense[one].clone(), skips, features.images[one])


def features_of(
    model: AMVLM, encoded: EncodedImage, rows: range, device: torch.device
) -> Iterator[tuple[int, ImageFeatures]]:
    """Yield index and features of the tiles `rows`: those that were kept, or else computed again."""
    for index in rows:
        kept = encoded.features[index]
        if kept is not None:
            yield index, kept
        else:
            yield from _encode_tiles(model, encoded, range(index, index + 1), device)


def _full(text_logits: Tensor, shape: torch.Size) -> Tensor:
    return nn.functional.interpolate(text_logits, size=tuple(shape), mode="bilinear", align_corners=False)


def _check(should_stop: Stop | None) -> None:
    if should_stop is not None and should_stop():
        raise Cancelled("Stopped before it was done; nothing was changed.")
