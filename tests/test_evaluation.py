"""Scores of a predictor on folders, with answers that are known beforehand and with the tiny model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial import distance

from napari_amvlm.errors import DatasetError, ImageError, InputError, LabelsError, PromptError
from napari_amvlm.evaluation import evaluate_folder, resize_224, resize_labels_224
from napari_amvlm.predictor import Predictor


class Answer:
    """A prediction that holds a probability alone."""

    def __init__(self, probability):
        self.probability = probability


class BrightnessReader:
    """Predicts for each prompt the pixels of a gray value of its own; it needs no network and has a known score."""

    def __init__(self, **gray_values):
        self.gray_values = gray_values
        self.shapes: list[tuple[int, ...]] = []
        self.magnifications: list[float] = []

    def set_image(self, image, *, key=None):
        self.image = image
        self.shapes.append(image.shape)

    def predict(self, prompt, *, scale="auto", magnification=1.0):
        self.magnifications.append(magnification)
        return Answer((self.image == self.gray_values[prompt]).astype(np.float32))


def write_pair(root, name, image, mask):
    for folder, array in (("img", image), ("labelcol", mask)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(root / folder / f"{name}.png")


def blocks(shape, **boxes):
    """Return an image with a box (top, left, bottom, right) of each gray value: `v100=(0, 0, 4, 4)`."""
    image = np.zeros(shape, np.uint8)
    for value, (top, left, bottom, right) in boxes.items():
        image[top:bottom, left:right] = int(value[1:])
    return image


@pytest.fixture
def binary_folder(tmp_path):
    """Return two images: in the first, half of the target is found; in the second there is nothing to find."""
    write_pair(tmp_path, "half", blocks((32, 40), v100=(0, 0, 10, 10)), blocks((32, 40), v255=(0, 0, 20, 10)))
    write_pair(tmp_path, "empty", blocks((32, 40)), blocks((32, 40)))
    return tmp_path


@pytest.fixture
def class_folder(tmp_path):
    image = blocks((32, 32), v100=(0, 0, 8, 8), v200=(16, 16, 32, 32))
    write_pair(tmp_path, "one", image, blocks((32, 32), v1=(0, 0, 8, 8), v2=(16, 16, 32, 24)))
    write_pair(tmp_path, "two", image, blocks((32, 32), v1=(0, 0, 8, 8)))
    (tmp_path / "classes.csv").write_text("value,prompt\n1,left\n2,right\n", encoding="utf-8")
    return tmp_path


def test_a_folder_of_binary_masks(binary_folder):
    report = evaluate_folder(BrightnessReader(nuclei=100), binary_folder, "nuclei")

    assert list(report) == ["n", "protocol", "prompt", "dice", "iou", "per_image"]
    assert (report["n"], report["protocol"], report["prompt"]) == (2, "native", "nuclei")
    assert report["per_image"] == {
        "empty": {"dice": 1.0, "iou": 1.0},
        "half": {"dice": pytest.approx(2 / 3), "iou": pytest.approx(0.5)},
    }
    assert report["dice"] == pytest.approx((1 + 2 / 3) / 2)
    assert report["iou"] == pytest.approx(0.75)


def test_every_class_and_the_mean_on_top(class_folder):
    report = evaluate_folder(BrightnessReader(left=100, right=200), class_folder)

    assert report["prompts"]["left"]["dice"] == 1.0
    assert report["prompts"]["right"]["per_image"]["one"]["iou"] == pytest.approx(0.5)
    assert report["prompts"]["right"]["per_image"]["two"]["dice"] == 0.0
    assert report["iou"] == pytest.approx((1.0 + 0.25) / 2)
    assert report["per_image"]["one"]["iou"] == pytest.approx(0.75)
    assert (report["n"], report["prompt"], report["protocol"]) == (2, None, "native")


def test_one_class_of_many(class_folder):
    report = evaluate_folder(BrightnessReader(left=100), class_folder, " Left ")

    assert report["prompt"] == "left"
    assert report["dice"] == 1.0
    assert "prompts" not in report


def test_224_resizes_image_and_mask(binary_folder):
    reader = BrightnessReader(nuclei=100)

    report = evaluate_folder(reader, binary_folder, "nuclei", "224")

    assert reader.shapes == [(224, 224), (224, 224)]
    assert report["protocol"] == "224"
    # Bilinear borders are no longer of the value that the reader looks for.
    assert 0.4 < report["per_image"]["half"]["iou"] < 0.5


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_resizing_keeps_dtype_and_constant_values(dtype):
    image = np.full((100, 37, 3), 200, dtype)

    resized = resize_224(image)

    assert resized.dtype == dtype
    assert resized.shape == (224, 224, 3)
    assert np.all(resized == 200)


def test_resizing_is_bilinear_between_pixel_centres():
    ramp = np.tile(np.arange(448, dtype=np.float32), (448, 1))

    assert np.allclose(resize_224(ramp)[0], np.arange(224) * 2 + 0.5)


def test_224_gives_objects_the_size_that_they_have_in_the_image(tmp_path):
    write_pair(tmp_path, "large", np.zeros((448, 112), np.uint8), np.zeros((448, 112), np.uint8))
    write_pair(tmp_path, "small", np.zeros((56, 56), np.uint8), np.zeros((56, 56), np.uint8))
    reader = BrightnessReader(nuclei=100)

    evaluate_folder(reader, tmp_path, "nuclei", "224")
    evaluate_folder(reader, tmp_path, "nuclei", "224", magnification=2.0)
    evaluate_folder(reader, tmp_path, "nuclei", magnification=2.0)

    assert reader.magnifications == [1.0, 0.25, 2.0, 0.5, 2.0, 2.0]


def test_labels_take_the_nearest_value():
    labels = np.kron(np.array([[1, 2], [3, 4]], np.uint16), np.ones((112, 112), np.uint16))

    assert np.array_equal(resize_labels_224(labels[::2, ::2]), labels)
    assert set(np.unique(resize_labels_224(np.repeat(labels, 3, axis=0)))) == {1, 2, 3, 4}


def test_progress_counts_images(binary_folder):
    seen = []

    evaluate_folder(BrightnessReader(nuclei=100), binary_folder, "nuclei", on_progress=lambda *at: seen.append(at))

    assert seen == [(1, 2), (2, 2)]


def test_agrees_with_scipy_on_the_real_predictor(tiny_model, tmp_path):
    from napari_amvlm.predictor import Predictor

    rng = np.random.default_rng(5)
    image = rng.integers(0, 255, (96, 80, 3), dtype=np.uint8)
    mask = np.uint8(255) * (rng.random((96, 80)) < 0.5).astype(np.uint8)
    write_pair(tmp_path, "tissue", image, mask)
    predictor = Predictor(tiny_model, device="cpu")

    report = evaluate_folder(predictor, tmp_path, "nuclei")

    predictor.set_image(image)
    found = predictor.predict("nuclei").probability >= 0.5
    assert found.any()
    assert report["dice"] == pytest.approx(1 - distance.dice(found.ravel(), mask.ravel() > 0))


def test_a_binary_folder_needs_a_prompt(binary_folder):
    with pytest.raises(PromptError, match="--prompt"):
        evaluate_folder(BrightnessReader(), binary_folder)


def test_a_prompt_that_is_not_in_classes_csv(class_folder):
    with pytest.raises(PromptError, match="choose one of: left, right"):
        evaluate_folder(BrightnessReader(), class_folder, "nuclei")


def test_a_value_that_no_class_has_is_no_background(class_folder):
    (class_folder / "classes.csv").write_text("value,prompt\n1,left\n", encoding="utf-8")

    with pytest.raises(DatasetError, match=r"holds the value 2, which classes\.csv does not name"):
        evaluate_folder(BrightnessReader(left=100), class_folder)


def test_an_unknown_protocol(binary_folder):
    with pytest.raises(InputError, match=r"native.*224.*'512'"):
        evaluate_folder(BrightnessReader(), binary_folder, "nuclei", "512")


def test_a_mask_of_another_shape(binary_folder):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(binary_folder / "labelcol" / "half.png")

    with pytest.raises(LabelsError, match=r"half\.png"):
        evaluate_folder(BrightnessReader(nuclei=100), binary_folder, "nuclei")


def test_an_image_that_cannot_be_read(binary_folder):
    (binary_folder / "img" / "half.png").write_bytes(b"no image")

    with pytest.raises(ImageError, match=r"half\.png"):
        evaluate_folder(BrightnessReader(nuclei=100), binary_folder, "nuclei")


def test_a_folder_without_masks(binary_folder):
    for mask in (binary_folder / "labelcol").iterdir():
        mask.unlink()
    (binary_folder / "labelcol").rmdir()

    with pytest.raises(DatasetError, match="labelcol"):
        evaluate_folder(BrightnessReader(nuclei=100), binary_folder, "nuclei")


def test_what_is_surely_absent_is_scored_as_it_is_drawn(tiny_model, binary_folder):
    nuclei, lung = tiny_model.config.concepts
    concepts = (nuclei.model_copy(update={"dice": 0.8}), lung)
    tiny_model.config = tiny_model.config.model_copy(update={"concepts": concepts})
    torch.nn.init.constant_(tiny_model.presence.mix.bias, -20)
    predictor = Predictor(tiny_model, device="cpu")

    def dice(prompt, **options):
        report = evaluate_folder(predictor, binary_folder, prompt, scale="tiles", magnification=2, **options)
        return [image["dice"] for image in report["per_image"].values()]

    assert dice("nuclei", as_drawn=True) == [1.0, 0.0]  # in the first image there are none
    assert dice("nuclei")[0] < 1
    assert dice("moons", as_drawn=True) == dice("moons")
