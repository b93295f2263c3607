"""Views: what they may change and what they must not."""

import pytest
import torch

from napari_amvlm.learning.views import (
    AppearanceConfig,
    GeometryConfig,
    moved,
    random_affine,
    random_crop,
    strong_view,
    warp,
)

_NO_GEOMETRY = GeometryConfig(rotation=0, zoom=(1, 1), shear=0, shift=0, flip=0)


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_no_geometry_is_a_centre_crop():
    image = torch.rand(1, 3, 48, 64, generator=_generator())
    mask = (image[:, :1] > 0.5).float()

    pixels, labels = warp(image, mask, random_affine(1, _NO_GEOMETRY, _generator()), 32)

    assert torch.allclose(pixels, image[..., 8:40, 16:48], atol=1e-5)
    assert torch.equal(labels, mask[..., 8:40, 16:48])


def test_image_and_mask_move_together_under_any_geometry():
    image = torch.zeros(4, 3, 60, 90)
    image[:, :, 20:40, 30:60] = 1
    geometry = GeometryConfig(rotation=180, zoom=(0.6, 1.6), shear=0.2, shift=0.1, flip=0.5)

    pixels, labels = warp(image, image[:, :1], random_affine(4, geometry, _generator(3)), 64)

    assert float(((pixels[:, :1] > 0.5).float() - labels).abs().mean()) < 0.02
    assert float(labels.mean()) > 0.02


def test_a_pseudo_label_moves_with_its_image_and_says_nothing_beyond_it():
    image = torch.zeros(4, 3, 64, 64)
    image[:, :, 20:40, 30:60] = 1
    theta = random_affine(4, GeometryConfig(rotation=90, zoom=(0.6, 0.9), shear=0.1, shift=0.1), _generator(3))
    pixels, inside = warp(image, torch.ones(4, 1, 64, 64), theta, 64, mirror=False)

    q = moved(image[:, :1], theta)

    within = inside.bool() & (torch.nn.functional.avg_pool2d(inside, 3, 1, 1) > 0.99)
    assert torch.allclose(q[within], pixels[:, :1][within], atol=1e-5)
    assert float((q[inside < 1] - 0.5).abs().median()) == 0
    assert bool((inside < 1).any((1, 2, 3)).all())


def test_rotation_keeps_the_area_of_a_disc_in_an_image_that_is_not_square():
    y, x = torch.meshgrid(torch.arange(40) - 19.5, torch.arange(120) - 59.5, indexing="ij")
    disc = ((y**2 + x**2) < 100).float()[None, None]
    geometry = GeometryConfig(rotation=180, zoom=(1, 1), shear=0, flip=0.5)

    _, labels = warp(disc.expand(1, 3, -1, -1), disc, random_affine(1, geometry, _generator(5)), 32)

    assert float(labels.sum()) == pytest.approx(float(disc.sum()), rel=0.03)


def test_an_image_of_one_colour_alone_is_no_gray_image():
    blue = torch.zeros(1, 3, 32, 32)
    blue[:, 2] = torch.rand(32, 32, generator=_generator())

    view = strong_view(blue, AppearanceConfig(stain=0, intensity=0, colour=0, blur=0, noise=0, invert=1), _generator())

    assert torch.equal(view, blue)


def test_the_strong_view_keeps_geometry_and_range():
    image = torch.full((2, 3, 64, 64), 0.8)
    image[:, :2, 20:40, 20:40] = 0.2
    view = strong_view(image, AppearanceConfig(blur=0.5), _generator(1))

    inside, outside = view[:, :, 24:36, 24:36].mean((1, 2, 3)), view[:, :, :16, :16].mean((1, 2, 3))
    assert view.shape == image.shape
    assert float(view.min()) >= 0
    assert float(view.max()) <= 1
    assert bool((inside < outside).all())


def test_gray_images_stay_gray_but_for_noise():
    gray = torch.rand(2, 1, 32, 32, generator=_generator()).expand(-1, 3, -1, -1).contiguous()

    view = strong_view(gray, AppearanceConfig(noise=0), _generator())

    assert torch.allclose(view[:, 0], view[:, 2], atol=1e-5)


def test_all_strengths_zero_change_nothing():
    image = torch.rand(2, 3, 32, 32, generator=_generator())
    off = AppearanceConfig(stain=0, intensity=0, colour=0, blur=0, noise=0, invert=0)

    assert torch.equal(strong_view(image, off, _generator()), image)


def test_the_same_seed_gives_the_same_view():
    image = torch.rand(2, 3, 32, 32, generator=_generator())
    config = AppearanceConfig()

    a, b, c = (strong_view(image, config, _generator(s)) for s in (7, 7, 8))

    assert torch.equal(a, b)
    assert not torch.equal(a, c)


@pytest.mark.parametrize("shape", [(300, 200), (40, 50)])
def test_a_crop_has_its_size_whatever_the_image(shape):
    image = torch.rand(3, *shape, generator=_generator())

    pixels, labels = random_crop(image, image[:2], 64, GeometryConfig(), _generator(), zoom=1.5)

    assert pixels.shape == (3, 64, 64)
    assert labels.shape == (2, 64, 64)


def test_a_crop_shows_the_pixel_it_is_placed_around():
    image = torch.zeros(3, 200, 300)
    mask = torch.zeros(1, 200, 300)
    mask[0, 60:63, 220:223] = 1
    geometry = GeometryConfig(rotation=180, zoom=(0.8, 1.25), shear=0.08, flip=0.5)
    generator = _generator(5)

    around = [random_crop(image, mask, 64, geometry, generator, showing=(61, 221))[1] for _ in range(30)]
    anywhere = [random_crop(image, mask, 64, geometry, generator)[1] for _ in range(30)]

    assert all(float(m.sum()) > 0 for m in around)
    assert any(float(m.sum()) == 0 for m in anywhere)


def test_shade_is_a_ramp_that_keeps_every_line_across_it_even():
    flat = torch.full((3, 3, 32, 32), 0.3)
    look = AppearanceConfig(stain=0, intensity=0, colour=0, blur=0, noise=0, shade=0.3)
    shaded = strong_view(flat, look, torch.Generator().manual_seed(0))
    log = torch.log(shaded[:, 0])

    # A plane in log units: its second differences are zero along both axes, and it is not flat.
    assert float(log.diff(dim=1).diff(dim=1).abs().max()) < 1e-4
    assert float(log.diff(dim=2).diff(dim=2).abs().max()) < 1e-4
    assert float((log.amax((1, 2)) - log.amin((1, 2))).min()) > 0.01


def test_a_drained_colour_image_has_no_colours_left():
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    look = AppearanceConfig(stain=0, intensity=0, colour=0, blur=0, noise=0, gray=1)
    drained = strong_view(images, look, torch.Generator().manual_seed(0))

    assert torch.allclose(drained[:, 0], drained[:, 2])
    assert torch.allclose(drained[:, 0], images.mean(1), atol=1e-6)


def test_a_stronger_view_stays_within_its_bounds():
    look = AppearanceConfig(stain=0.5, noise=0.4, blur=3)

    assert look.stronger(2).stain == 1.0
    assert look.stronger(10) == AppearanceConfig(stain=2, intensity=1, colour=0.8, blur=5, noise=1)
