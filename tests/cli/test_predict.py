"""`napari-amvlm predict` with the tiny model."""

import csv
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_amvlm.predictor import Predictor
from napari_amvlm.slides import label_image

PROMPTS = ["--prompt", "nuclei", "--prompt", "left lung"]


@pytest.fixture
def image(binary_folder):
    return binary_folder / "img" / "a.png"


@pytest.mark.parametrize("views", [1, 4])
def test_labels_are_what_the_predictor_says(run, image, tiny_checkpoint, tmp_path, views):
    options = ["--model", tiny_checkpoint, "-o", tmp_path / "out", "--probabilities", "--views", views]
    outcome = run("predict", image, *PROMPTS, *options)

    predictor = Predictor.from_file(tiny_checkpoint, device="cpu", views=views)
    predictor.set_image(np.asarray(Image.open(image)))
    found = [predictor.predict(prompt).probability for prompt in ("nuclei", "left lung")]
    labels = tifffile.imread(tmp_path / "out" / "a.tif")
    stored = tifffile.imread(tmp_path / "out" / "a_probability.tif")
    assert outcome.code == 0
    assert (labels.dtype, labels.shape) == (np.uint8, (72, 80))
    assert np.array_equal(labels, label_image(found, 0.5))
    assert labels.any()
    assert (stored.dtype, stored.shape) == (np.float16, (2, 72, 80))
    assert np.allclose(stored, found, atol=1e-3)


def test_a_classes_csv_lies_beside_the_labels(run, image, tiny_checkpoint, tmp_path):
    run("predict", image, *PROMPTS, "--model", tiny_checkpoint, "-o", tmp_path / "out")

    with (tmp_path / "out" / "classes.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["value", "prompt"], ["1", "nuclei"], ["2", "left lung"]]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.tif", "classes.csv"]


def test_every_image_has_a_line_with_presence(run, binary_folder, tiny_checkpoint, tmp_path):
    outcome = run("predict", binary_folder, *PROMPTS, "--model", tiny_checkpoint, "-o", tmp_path / "out")

    lines = outcome.out.splitlines()
    assert len(lines) == 3
    assert all(re.search(r": nuclei (present|absent) \d\.\d\d, left lung (present|absent) ", line) for line in lines)
    assert [line.split(" -> ")[1] for line in lines] == [str(tmp_path / "out" / f"{name}.tif") for name in "abc"]


def test_a_prompt_that_was_not_taught_is_called_so(run, image, tiny_checkpoint, tmp_path):
    long = f"a {'very ' * 15}small lesion"
    prompts = ["--prompt", f"heart; cell  nuclei; {long}"]  # as they may be typed in the window

    outcome = run("predict", image, *prompts, "--model", tiny_checkpoint, "-o", tmp_path / "out")

    assert outcome.code == 0, outcome.err
    assert re.search(r": heart not taught, nearest known: (nuclei|left lung) \(0\.\d\d\), cell nuclei", outcome.out)
    assert "heart is not taught yet, and no mask is drawn for it. Paint two strokes in napari" in outcome.err
    assert f"a {'very ' * 10}very\N{HORIZONTAL ELLIPSIS} is not taught yet" in outcome.err.replace("\n", " ")
    assert long not in outcome.err + outcome.out
    assert not np.isin(tifffile.imread(next((tmp_path / "out").glob("*.tif"))), (1, 3)).any()


def test_instances_are_numbered_for_each_prompt(run, image, tiny_checkpoint, tmp_path):
    run("predict", image, *PROMPTS, "--instances", "--model", tiny_checkpoint, "-o", tmp_path / "out")

    for name in ("a_nuclei_instances.tif", "a_left-lung_instances.tif"):
        objects = tifffile.imread(tmp_path / "out" / name)
        assert (objects.dtype, objects.shape) == (np.uint16, (72, 80))
        assert np.array_equal(np.unique(objects), np.arange(objects.max() + 1)) or not (objects == 0).any()


def test_prompts_that_differ_by_a_sign_or_late_have_files_of_their_own(run, image, tiny_checkpoint, tmp_path):
    long = "a spiculated mass with a pleural tail in the upper lobe of the right"
    prompts = ("CD4+", "CD4-", f"{long} lung", f"{long} hemithorax")
    asked = [part for prompt in prompts for part in ("--prompt", prompt)]

    outcome = run("predict", image, *asked, "--model", tiny_checkpoint, "-o", tmp_path / "out", "--instances")

    assert outcome.code == 0, outcome.err
    assert len(list((tmp_path / "out").glob("*_instances.tif"))) == 4


def test_a_bad_file_does_not_stop_the_others(run, binary_folder, tiny_checkpoint, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    good = binary_folder / "img" / "b.png"

    outcome = run("predict", bad, good, "--prompt", "nuclei", "--model", tiny_checkpoint, "-o", tmp_path / "out")

    assert outcome.code == 1
    assert (tmp_path / "out" / "b.tif").is_file()
    assert not (tmp_path / "out" / "bad.tif").exists()
    assert outcome.err.splitlines()[-1] == f"1 of 2 images failed: {bad}"


def test_nothing_but_bad_files_is_bad_input(run, tiny_checkpoint, tmp_path):
    outcome = run(
        "predict", tmp_path / "none.png", "--prompt", "nuclei", "--model", tiny_checkpoint, "-o", tmp_path / "out"
    )

    assert outcome.code == 2
    assert "none.png" in outcome.err
    assert "Traceback" not in outcome.err


def test_images_are_never_replaced_by_their_masks(run, tiny_checkpoint, tmp_path):
    image = tmp_path / "slide.tif"
    tifffile.imwrite(image, np.arange(64 * 64, dtype=np.uint16).reshape(64, 64))
    before = image.read_bytes()

    outcome = run("predict", image, "--prompt", "nuclei", "--model", tiny_checkpoint, "-o", tmp_path)

    assert outcome.code == 2
    assert "slide.tif" in outcome.err
    assert image.read_bytes() == before


@pytest.mark.parametrize("output", [".", "img"])
def test_results_do_not_lie_among_the_images_of_a_folder(run, binary_folder, tiny_checkpoint, output):
    asked = ("predict", binary_folder, "--prompt", "nuclei", "--model", tiny_checkpoint)

    outcome = run(*asked, "-o", binary_folder / output)

    assert outcome.code == 2
    assert "would be taken for images of that folder; give another -o." in outcome.err
    assert not (binary_folder / output / "classes.csv").exists()


def test_results_below_a_folder_are_no_images_of_it(run, binary_folder, tiny_checkpoint):
    scans = binary_folder / "img"
    (scans / "first").mkdir()
    for path in scans.glob("*.png"):
        path.rename(scans / "first" / path.name)
    asked = ("predict", scans, "--prompt", "nuclei", "--model", tiny_checkpoint, "-o", scans / "masks")

    first, again = run(*asked), run(*asked)

    assert (first.code, again.code) == (0, 0)
    assert again.out.count("done already") == again.out.count("\n") == 3
    assert "are not looked at" not in first.err + again.err


def test_folders_beside_the_images_of_a_folder_are_named(run, binary_folder, tiny_checkpoint):
    scans = binary_folder / "img"
    (scans / "more").mkdir()
    shutil.copy(scans / "a.png", scans / "more" / "d.png")

    outcome = run("predict", scans, "--prompt", "nuclei", "--model", tiny_checkpoint, "-o", scans / "masks" / "all")

    assert outcome.code == 0
    assert outcome.out.count("\n") == 3
    assert f"{scans}: images in more are not looked at; give these folders too.\n" in outcome.err


def test_two_images_of_one_name(run, image, tiny_checkpoint, tmp_path):
    other = tmp_path / "a.jpg"
    Image.open(image).save(other)

    outcome = run("predict", image, other, "--prompt", "nuclei", "--model", tiny_checkpoint, "-o", tmp_path / "out")

    assert outcome.code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_jpg.tif", "a_png.tif", "classes.csv"]


def test_two_images_of_one_full_name(run, image, tiny_checkpoint, tmp_path):
    other = tmp_path / "a.png"
    Image.open(image).save(other)

    outcome = run("predict", image, other, "--prompt", "nuclei", "--model", tiny_checkpoint, "-o", tmp_path / "out")

    assert outcome.code == 2
    assert str(other) in outcome.err
    assert not (tmp_path / "out").exists()


def test_an_empty_prompt(run, image, tiny_checkpoint, tmp_path):
    outcome = run("predict", image, "--prompt", " ;", "--model", tiny_checkpoint, "-o", tmp_path / "out")

    assert outcome.code == 2
    assert "prompt is empty" in outcome.err


def test_a_prompt_that_is_too_long_is_told_once(run, binary_folder, tiny_checkpoint, tmp_path):
    outcome = run(
        "predict", binary_folder, "--prompt", "cell " * 300, "--model", tiny_checkpoint, "-o", tmp_path / "out"
    )

    assert outcome.code == 2
    assert [line for line in outcome.err.splitlines() if "shorten" in line] == outcome.err.splitlines()[-1:]


def test_values_that_are_no_numbers_are_told(run, tiny_checkpoint, tmp_path):
    pixels = np.random.default_rng(1).random((64, 64)).astype(np.float32)
    pixels[0, :3] = [np.nan, np.inf, -np.inf]
    tifffile.imwrite(tmp_path / "holes.tif", pixels)

    outcome = run(
        "predict", tmp_path / "holes.tif", "--prompt", "nuclei", "--model", tiny_checkpoint, "-o", tmp_path / "out"
    )

    assert outcome.code == 0
    assert "3 values are not finite" in outcome.err
    assert (tmp_path / "out" / "holes.tif").is_file()


def test_an_output_that_is_a_file(run, image, tiny_checkpoint, tmp_path):
    (tmp_path / "out").write_text("here")

    outcome = run("predict", image, "--prompt", "nuclei", "--model", tiny_checkpoint, "-o", tmp_path / "out")

    assert outcome.code == 2
    assert "is a file" in outcome.err


def test_the_most_probable_prompt_gets_the_pixel():
    first = np.float32([[0.6, 0.6, 0.5, 0.4]])
    second = np.float32([[0.7, 0.5, 0.1, 0.3]])

    assert label_image([first, second], 0.5).tolist() == [[2, 1, 1, 0]]


def test_more_prompts_than_eight_bits_hold():
    stack = [np.zeros((1, 1), np.float32)] * 299 + [np.ones((1, 1), np.float32)]

    labels = label_image(stack, 0.5)

    assert labels.dtype == np.uint16
    assert labels.item() == 300


def test_planes_of_every_format_are_predicted(run, tiny_checkpoint, tmp_path):
    pydicom = pytest.importorskip("pydicom")
    nibabel = pytest.importorskip("nibabel")
    from pydicom.data import get_testdata_file

    dicom = Path(get_testdata_file("CT_small.dcm", download=False))
    values = pydicom.dcmread(dicom).pixel_array
    nibabel.save(nibabel.Nifti1Image(values[..., None], np.eye(4)), tmp_path / "slice.nii.gz")
    group = zarr.open_group(tmp_path / "cells.ome.zarr", mode="w", zarr_format=2)
    group.create_array("0", data=values)
    axes = [{"name": axis, "type": "space"} for axis in "yx"]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [{"path": "0"}]}]
    images = [dicom, tmp_path / "slice.nii.gz", tmp_path / "cells.ome.zarr"]

    outcome = run("predict", *images, "--prompt", "nuclei", "--model", tiny_checkpoint, "-o", tmp_path / "out")

    assert outcome.code == 0, outcome.err
    for name in ("CT_small", "cells"):
        assert tifffile.imread(tmp_path / "out" / f"{name}.tif").shape == (128, 128)
    assert nibabel.load(tmp_path / "out" / "slice.nii.gz").shape == (128, 128, 1)


def test_files_that_predict_did_not_make_are_not_replaced(run, binary_folder, tiny_checkpoint, tmp_path):
    by_hand = tmp_path / "out" / "a.tif"
    by_hand.parent.mkdir()
    tifffile.imwrite(by_hand, np.full((72, 80), 7, np.uint8))
    command = ("predict", binary_folder, *PROMPTS, "--model", tiny_checkpoint, "-o", tmp_path / "out")

    refused, kept = run(*command), tifffile.imread(by_hand)
    replaced = run(*command, "--overwrite")

    assert refused.code == 2
    assert refused.err.count("\n") == 1
    assert f"{by_hand} was not made by predict; give another -o, or --overwrite to replace it." in refused.err
    assert (kept == 7).all()
    assert replaced.code == 0


def test_masks_of_other_prompts_are_not_renamed(run, image, tiny_checkpoint, tmp_path):
    options = ("--model", tiny_checkpoint, "-o", tmp_path / "out")
    run("predict", image, *PROMPTS, *options)
    table = (tmp_path / "out" / "classes.csv").read_text()

    outcome = run("predict", image, "--prompt", "left lung", *options)

    assert outcome.code == 2
    assert "classes.csv names other prompts" in outcome.err
    assert (tmp_path / "out" / "classes.csv").read_text() == table


def test_objects_of_another_threshold_are_made_anew(run, image, tiny_checkpoint, tmp_path):
    options = (*PROMPTS, "--model", tiny_checkpoint, "-o", tmp_path / "out", "--threshold")
    run("predict", image, *options, 0.2, "--instances")
    run("predict", image, *options, 0.5)

    outcome = run("predict", image, *options, 0.5, "--instances")
    again = run("predict", image, *options, 0.5, "--instances")

    assert "done already" not in outcome.out
    assert "done already" in again.out
    objects = tifffile.imread(tmp_path / "out" / "a_nuclei_instances.tif")
    predictor = Predictor.from_file(tiny_checkpoint, device="cpu")
    predictor.set_image(np.asarray(Image.open(image)))
    assert not (objects > 0)[predictor.predict("nuclei").probability < 0.5].any()


def test_a_bad_file_beside_the_images_of_a_data_folder(run, binary_folder, tiny_checkpoint, tmp_path):
    (binary_folder / "scan.svs").write_bytes(b"no slide")

    outcome = run("predict", binary_folder, *PROMPTS, "--model", tiny_checkpoint, "-o", tmp_path / "out")

    assert outcome.code == 1
    assert outcome.err.splitlines()[-1] == f"1 of 4 images failed: {binary_folder / 'scan.svs'}"


def test_a_region_of_an_image_that_is_looked_at_whole(run, image, tiny_checkpoint, tmp_path):
    options = ("--model", tiny_checkpoint, "-o", tmp_path / "out")

    outcome = run("predict", image, *PROMPTS, *options, "--scale", "whole", "--region", 0, 0, 20, 20)

    assert outcome.code == 2
    assert "a region is looked at in tiles; leave out --scale whole, or --region." in outcome.err


def test_another_text_model_draws_what_was_not_taught_and_says_its_licence(
    run, image, tiny_checkpoint, text_models, tmp_path
):
    asked = ("predict", image, "--prompt", "heart", "--prompt", "nuclei", "--model", tiny_checkpoint)

    alone = run(*asked, "-o", tmp_path / "alone")
    both = run(*asked, "-o", tmp_path / "both", "--text-model", text_models["clipseg"])
    again = run(*asked, "-o", tmp_path / "both", "--text-model", text_models["clipseg"])
    other = run(*asked, "-o", tmp_path / "both", "--text-model", text_models["sam3"])
    wrong = run(*asked, "-o", tmp_path / "wrong", "--text-model", tmp_path)

    assert "heart not taught" in alone.out
    assert "heart is answered by tiny-clipseg (licence: apache-2.0)." in both.err
    assert re.search(r"heart (present|absent) \d\.\d\d by tiny-clipseg, nuclei (present|absent) \d\.\d\d ", both.out)
    assert "done already" in again.out
    assert "by tiny-sam3" in other.out
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)
    assert "has no config.json, so it is no text model" in wrong.err
    assert not (tmp_path / "wrong").exists()


def test_on_a_cluster_too_another_text_model_is_said_to_answer(run, image, tiny_checkpoint, text_models, tmp_path):
    pytest.importorskip("distributed")
    asked = ("predict", image, "--prompt", "heart", "--model", tiny_checkpoint, "-o", tmp_path / "out")

    outcome = run(*asked, "--scheduler", "nowhere:x", "--text-model", text_models["clipseg"])

    said, failed = outcome.err.splitlines()
    assert said == "heart is answered by tiny-clipseg (licence: apache-2.0)."
    assert "No dask scheduler answers" in failed
