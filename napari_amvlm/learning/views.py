"""Views of a batch: geometry that image and masks share, and appearance that only the student sees.

All of it runs in batches on the device, in closed form. Nothing here changes what a prompt means: geometry that could
(a flip of "left") is the caller's choice.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor, nn

from napari_amvlm.config import Config

# Optical densities of haematoxylin, eosin and DAB (Ruifrok & Johnston, Anal. Quant. Cytol. Histol. 2001), one stain a
# row.
_STAINS = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78))


class GeometryConfig(Config):
    """Bounds of a random affine view."""

    rotation: float = Field(180.0, ge=0, le=180, description="degrees to either side")
    zoom: tuple[float, float] = (0.75, 1.35)
    shear: float = Field(0.08, ge=0, le=1)
    shift: float = Field(0.0, ge=0, le=0.5, description="share of the side")
    flip: float = Field(0.5, ge=0, le=1, description="probability of a left-right flip")


class AppearanceConfig(Config):
    """Strength of the strong view; 0 switches a part off."""

    stain: float = Field(0.25, ge=0, le=2, description="spread of stain amounts and colours (colour images only)")
    intensity: float = Field(0.25, ge=0, le=1, description="spread of gamma, brightness and contrast")
    colour: float = Field(0.08, ge=0, le=1, description="spread of the channels' gains (colour images only)")
    blur: float = Field(1.2, ge=0, le=5, description="largest sigma of a Gaussian blur, pixels")
    noise: float = Field(0.04, ge=0, le=1, description="largest standard deviation of Gaussian noise")
    shade: float = Field(0.0, ge=0, le=2, description="spread of a ramp of brightness across the image (log units)")
    gray: float = Field(0.0, ge=0, le=1, description="probability that a colour image loses its colours")
    invert: float = Field(0.0, ge=0, le=1, description="probability of inverted grays (gray images only)")

    def stronger(self, factor: float) -> AppearanceConfig:
        """Return the same view with every strength multiplied, within its bounds."""
        bounds = {"stain": 2.0, "shade": 2.0, "blur": 5.0}
        return AppearanceConfig(**{k: min(v * factor, bounds.get(k, 1.0)) for k, v in self.model_dump().items()})


def _uniform(
    generator: torch.Generator, shape: tuple[int, ...], low: float, high: float, device: torch.device
) -> Tensor:
    return (torch.rand(shape, generator=generator) * (high - low) + low).to(device)


def random_affine(batch: int, config: GeometryConfig, generator: torch.Generator) -> Tensor:
    """Return random affine matrices in normalised coordinates, float32 `(B, 2, 3)`, for `warp`."""
    cpu = torch.device("cpu")
    angle = _uniform(generator, (batch,), -config.rotation, config.rotation, cpu) * math.pi / 180
    low, high = (math.log(z) for z in config.zoom)
    zoom = torch.exp(_uniform(generator, (batch,), low, high, cpu))
    shear = _uniform(generator, (batch,), -config.shear, config.shear, cpu)
    flip = torch.where(torch.rand(batch, generator=generator) < config.flip, -1.0, 1.0)
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    linear = torch.stack([torch.stack([cos * flip, -sin + shear], -1), torch.stack([sin * flip, cos], -1)], -2)
    offset = _uniform(generator, (batch, 2, 1), -2 * config.shift, 2 * config.shift, cpu)
    return torch.cat([linear, offset], dim=-1)


def warp(images: Tensor, masks: Tensor, theta: Tensor, size: int, *, mirror: bool = True) -> tuple[Tensor, Tensor]:
    """Resample images and masks alike.

    Parameters
    ----------
    images
        `(B, 3, H, W)` in [0, 1].
    masks
        `(B, K, H, W)` in [0, 1].
    theta
        Matrices of `random_affine`; they act in pixels around the centre.
    size
        Side of the square result, pixels: at unit zoom it shows the central `size` pixels.
    mirror
        Beyond the border images and masks are mirrored (True) or zero (False).

    Returns
    -------
    tuple of Tensor
        Images `(B, 3, size, size)` and masks `(B, K, size, size)`, binary where they were.
    """
    grid = _grid(theta, images, size)
    padding = "reflection" if mirror else "zeros"
    pixels = nn.functional.grid_sample(images, grid, mode="bilinear", padding_mode=padding, align_corners=False)
    labels = nn.functional.grid_sample(masks, grid, mode="nearest", padding_mode=padding, align_corners=False)
    return pixels.clamp(0, 1), labels


def moved(q: Tensor, theta: Tensor) -> Tensor:
    """Return pseudo-labels `(B, 1, S, S)` in [0, 1] as `warp` moves their images; 0.5 where there was none."""
    grid = _grid(theta, q, q.shape[-1])
    return nn.functional.grid_sample(q - 0.5, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + 0.5


def _grid(theta: Tensor, images: Tensor, size: int) -> Tensor:
    """Return where in images `(B, C, H, W)` each pixel of their views lies, `(B, size, size, 2)`."""
    h, w = images.shape[-2:]
    matrix = theta.clone()
    # affine_grid speaks of normalised coordinates, which are stretched where an image is not square.
    matrix[:, 0, :2] *= size / w
    matrix[:, 1, :2] *= size / h
    return nn.functional.affine_grid(matrix.to(images.device), [len(images), 1, size, size], align_corners=False)


def strong_view(images: Tensor, config: AppearanceConfig, generator: torch.Generator) -> Tensor:
    """Return images `(B, 3, H, W)` in [0, 1] with another look and the same geometry."""
    device, batch = images.device, len(images)
    gray = ((images.amax(1) - images.amin(1)).amax((1, 2)) < 1e-3).view(batch, 1, 1, 1)
    colourful = images
    if config.stain:
        colourful = _stain_jitter(colourful, config.stain, generator)
    if config.colour:
        colourful = colourful * torch.exp(_normal(generator, (batch, 3, 1, 1), config.colour, device))
    if config.gray:
        drained = (torch.rand((batch, 1, 1, 1), generator=generator) < config.gray).to(device)
        colourful = torch.where(drained, colourful.mean(1, keepdim=True), colourful)
    out = torch.where(gray, images, colourful).clamp(0, 1)
    if config.intensity:
        gamma = torch.exp(_normal(generator, (batch, 1, 1, 1), config.intensity, device))
        contrast = torch.exp(_normal(generator, (batch, 1, 1, 1), 0.6 * config.intensity, device))
        brightness = _normal(generator, (batch, 1, 1, 1), 0.3 * config.intensity, device)
        mean = out.mean((1, 2, 3), keepdim=True)
        out = ((out.clamp_min(1e-4) ** gamma - mean) * contrast + mean + brightness).clamp(0, 1)
    if config.shade:
        out = (out * _ramp(out, config.shade, generator)).clamp(0, 1)
    if config.invert:
        chosen = (torch.rand((batch, 1, 1, 1), generator=generator) < config.invert).to(device) & gray
        out = torch.where(chosen, 1 - out, out)
    if config.blur:
        out = _blur(out, config.blur, generator)
    if config.noise:
        sigma = _uniform(generator, (batch, 1, 1, 1), 0, config.noise, device)
        out = out + sigma * torch.randn(out.shape, generator=generator).to(device)
    return out.clamp(0, 1)


def _ramp(images: Tensor, spread: float, generator: torch.Generator) -> Tensor:
    """Return a factor for each pixel that grows or falls across the image, as a coil or a tube far off centre does."""
    device, batch, (h, w) = images.device, len(images), images.shape[-2:]
    slope = _normal(generator, (batch, 2, 1, 1, 1), spread, device)
    ys = torch.linspace(-1, 1, h, device=device).view(1, 1, h, 1)
    xs = torch.linspace(-1, 1, w, device=device).view(1, 1, 1, w)
    return torch.exp(slope[:, 0] * ys + slope[:, 1] * xs)


def _normal(generator: torch.Generator, shape: tuple[int, ...], sigma: float, device: torch.device) -> Tensor:
    return (torch.randn(shape, generator=generator).clamp(-2.5, 2.5) * sigma).to(device)


def _stain_jitter(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Change amounts and colours of the stains: densities -> amounts -> jittered amounts and stains -> densities."""
    device, batch = images.device, len(images)
    stains = nn.functional.normalize(torch.tensor(_STAINS, device=device), dim=1)
    density = -torch.log(images.clamp(1 / 255, 1)).permute(0, 2, 3, 1)
    gain = torch.exp(_normal(generator, (batch, 3, 1), strength, device))
    shift = _normal(generator, (batch, 1, 1, 3), 0.2 * strength, device)
    colour = (stains + _normal(generator, (batch, 3, 3), 0.35 * strength, device)).clamp_min(0.01)
    colour = nn.functional.normalize(colour, dim=2)
    # amounts = density @ inv(stains); jittered amounts @ colour; the product is one 3x3 matrix for each image.
    matrix = torch.linalg.inv(stains) @ (gain * colour)
    out = torch.einsum("bhwc,bcd->bhwd", density, matrix) + torch.einsum(
        "bhwc,bcd->bhwd", shift.expand(-1, 1, 1, -1), colour
    )
    return torch.exp(-out.clamp_min(0)).permute(0, 3, 1, 2)


def _blur(images: Tensor, largest: float, generator: torch.Generator) -> Tensor:
    """Blur every image with a sigma of its own; about half of them hardly at all."""
    device, batch = images.device, len(images)
    sigma = _uniform(generator, (batch, 1), -largest, largest, device).clamp_min(0.05)
    radius = max(1, math.ceil(2 * largest))
    x = torch.arange(-radius, radius + 1, device=device, dtype=images.dtype)
    kernel = torch.softmax(-(x**2) / (2 * sigma**2), dim=1).repeat_interleave(3, 0)
    h, w = images.shape[-2:]
    flat = images.reshape(1, batch * 3, h, w)
    flat = nn.functional.pad(flat, (radius, radius, radius, radius), mode="reflect")
    flat = nn.functional.conv2d(flat, kernel[:, None, None, :], groups=batch * 3)
    flat = nn.functional.conv2d(flat, kernel[:, None, :, None], groups=batch * 3)
    return flat.reshape(batch, 3, h, w)


_NEAR = 0.25
"""How far from a crop's centre, in sides, a wanted pixel may lie: in view whatever the rotation."""


def random_crop(
    image: Tensor,
    masks: Tensor,
    size: int,
    geometry: GeometryConfig,
    generator: torch.Generator,
    *,
    zoom: float = 1.0,
    showing: tuple[int, int] | None = None,
) -> tuple[Tensor, Tensor]:
    """Cut a randomly placed, rotated and zoomed square out of an image.

    Parameters
    ----------
    image
        `(3, H, W)` in [0, 1].
    masks
        `(K, H, W)` in [0, 1].
    size
        Side of the crop, pixels.
    zoom
        A magnification on top of the random one.
    showing
        Row and column of a pixel that the crop is placed around, as far as the image's border allows; None places it
        anywhere.

    Returns
    -------
    tuple of Tensor
        `(3, size, size)` and `(K, size, size)`.
    """
    theta = random_affine(1, geometry, generator)
    theta[:, :, :2] /= zoom
    h, w = image.shape[-2:]
    seen = size / zoom
    room = torch.tensor([max(0.0, 1 - seen / w), max(0.0, 1 - seen / h)])
    offset = torch.rand(2, generator=generator) * 2 - 1
    if showing is None:
        theta[0, :, 2] = offset * room
    else:
        sides = torch.tensor([w, h])
        centre = torch.tensor([showing[1], showing[0]]) + 0.5 + offset * _NEAR * seen
        theta[0, :, 2] = (2 * centre / sides - 1).clamp(-room, room)
    pixels, labels = warp(image[None], masks[None], theta, size)
    return pixels[0], labels[0]
