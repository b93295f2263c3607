"""How a prompt looks: one value, one colour and one choice about its objects in all of a project."""

from itertools import combinations

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from napari_amvlm.errors import InputError
from napari_amvlm.project import Answer, Project, PromptStyle
from napari_amvlm.project.prompts import PALETTE, next_style

# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
PROTANOPIA = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
DEUTERANOPIA = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
HAEMATOXYLIN, EOSIN = (0.45, 0.33, 0.61), (0.89, 0.66, 0.78)


def _rgb(colour):
    return np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])


def _seen(rgb, matrix):
    if matrix is None:
        return rgb
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    simulated = np.clip(np.array(matrix) @ linear, 0, 1)
    return np.where(simulated <= 0.0031308, 12.92 * simulated, 1.055 * simulated ** (1 / 2.4) - 0.055)


def _difference(one, other):
    return float(deltaE_ciede2000(rgb2lab(one), rgb2lab(other)))


def test_values_and_colours_come_in_the_order_of_first_use(project):
    expected = project.prompts.style("lungs")
    for prompt in ("lungs", "left lung", " left  lung ", "right lung"):
        project.prompts.add(prompt)

    styles = [record.style for record in project.prompts.all()]

    assert styles[0] == expected
    assert styles == [PromptStyle(number + 1, PALETTE[number]) for number in range(3)]


def test_a_style_is_the_same_on_every_image_and_after_reopening(project):
    images = [project.images.add_array(np.full((4, 5), number, np.uint8)).id for number in range(2)]
    for image, prompts in zip(images, (("left lung", "right lung"), ("right lung", "left lung")), strict=True):
        for prompt in prompts:
            project.corrections.accept(image, prompt, Answer(np.eye(4, 5, dtype=bool)))
    project.prompts.set_colour("right lung", "#AA3377")
    project.prompts.set_separate_objects("right lung", True)
    project.prompts.set_overlap_rule(project.prompts.overlap_rule(), ["right lung", "left lung"])
    project.close()

    with Project.open(project.root) as again:
        assert again.prompts.style("left lung") == PromptStyle(1, PALETTE[0])
        assert again.prompts.style("right lung") == PromptStyle(2, "#aa3377", separate_objects=True)


def test_a_new_prompt_gets_the_colour_used_least(project):
    for number in range(len(PALETTE)):
        project.prompts.add(f"prompt {number}")
    project.prompts.set_colour("prompt 2", PALETTE[0])

    assert project.prompts.style("new") == PromptStyle(len(PALETTE) + 1, PALETTE[2])


@pytest.mark.parametrize("colour", ["red", "#12345", "#12345g", "", "#1234567"])
def test_what_is_no_colour_is_refused(project, colour):
    with pytest.raises(InputError, match="#rrggbb"):
        project.prompts.set_colour("nuclei", colour)


def test_styles_without_a_project():
    styles = []
    for _ in range(3):
        styles.append(next_style(styles))

    assert [(style.value, style.colour) for style in styles] == list(enumerate(PALETTE[:3], start=1))


@pytest.mark.parametrize("vision", [None, PROTANOPIA, DEUTERANOPIA], ids=["full", "protanopia", "deuteranopia"])
def test_colours_are_told_apart_and_stand_out(vision):
    colours = [_seen(_rgb(colour), vision) for colour in PALETTE]
    tissue = [_seen(np.array(stain), vision) for stain in (HAEMATOXYLIN, EOSIN)]
    grays = [np.full(3, level) for level in (0.1, 0.3, 0.5, 0.7, 0.9)]

    assert min(_difference(one, other) for one, other in combinations(colours, 2)) > 10
    # To whom sees less red or green, the last one is too much like haematoxylin.
    chosen, least = (colours, 10) if vision is None else (colours[:-1], 7)
    assert min(_difference(colour, background) for colour in chosen for background in (*tissue, *grays)) > least


def test_a_prompt_is_taken_off_unless_something_is_stored_of_it(project, pixels):
    image_id = project.images.add_array(pixels(0), name="tile").id
    project.corrections.accept(image_id, "nuclei", Answer(np.ones((40, 50), bool)))
    project.prompts.add("nucelei")

    removed = [project.prompts.remove(prompt) for prompt in ("nucelei", "nuclei", "never seen")]

    assert removed == [True, False, False]
    assert [record.text for record in project.prompts.all()] == ["nuclei"]
