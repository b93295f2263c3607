"""Label images out of a project, and back in."""

import numpy as np
import pytest
from PIL import Image

from napari_amvlm.cli.labelled_folder import folder_data
from napari_amvlm.errors import DatasetError, InputError, StorageError
from napari_amvlm.evaluation import evaluate_folder
from napari_amvlm.exports import export_labels
from napari_amvlm.exports.annotated import free_name
from napari_amvlm.exports.label_files import check_prompts
from napari_amvlm.files import write_atomically
from napari_amvlm.imaging import answered_masks, binary_mask, read_folder, read_image, read_mask
from napari_amvlm.imaging.folder import file_slug, prompt_folders
from napari_amvlm.predictor import Predictor
from napari_amvlm.project import Answer, Project


@pytest.mark.parametrize("kind", ["tiff", "png"])
def test_masks_come_back_through_the_folder_reader(project, masks, tmp_path, kind):
    export_labels(project, tmp_path / "out", kind, images=True)

    folder = read_folder(tmp_path / "out")
    labels = {pair.name: read_mask(pair.mask) for pair in folder.pairs if pair.mask}
    assert folder.classes == ((1, "lungs"), (2, "left lung"))
    assert sorted(labels) == ["chest", "chest-2"]
    assert np.array_equal(binary_mask(labels["chest"], 2), masks["left lung"])
    assert np.array_equal(binary_mask(labels["chest"], 1), masks["lungs"] & ~masks["left lung"])


def test_whole_masks_are_learnt_and_scored_where_they_were_answered(project, masks, tmp_path, tiny_model):
    """Lungs reach under the left lung, and nobody looked for the left lung in the second image."""
    export_labels(project, tmp_path / "out", "tiff", images=True)
    folder, predictor = read_folder(tmp_path / "out"), Predictor(tiny_model, device="cpu")

    data = folder_data(predictor, folder, {"lungs": 1, "left lung": 2})
    alone = folder_data(predictor, folder, {"left lung": 2})
    scores = evaluate_folder(predictor, folder)

    assert {image.name: set(image.masks) for image in data.labelled} == {
        "chest": {"lungs", "left lung"},
        "chest-2": {"lungs"},
    }
    assert np.array_equal(data.labelled[0].masks["lungs"], masks["lungs"])
    assert ([image.name for image in alone.labelled], [image.name for image in alone.unlabelled]) == (
        ["chest"],
        ["chest-2"],
    )
    assert {prompt: each["n"] for prompt, each in scores["prompts"].items()} == {"lungs": 2, "left lung": 1}
    assert scores["dice"] == pytest.approx(np.mean([each["dice"] for each in scores["prompts"].values()]))


def test_a_label_image_that_was_changed_counts_more_than_the_masks_beside_it(project, tmp_path):
    export_labels(project, tmp_path / "out", "png", images=True)
    path = tmp_path / "out" / "labelcol" / "chest.png"
    changed = read_mask(path).copy()
    changed[changed == 1] = 0
    changed[:3, :3] = 1
    Image.fromarray(changed).save(path)

    pair = read_folder(tmp_path / "out").pairs[0]

    assert np.array_equal(answered_masks(pair, changed, {"lungs": 1})["lungs"], changed == 1)


def test_images_are_the_originals(project, tmp_path):
    export_labels(project, tmp_path / "out", "png", images=True)

    copied = read_image(tmp_path / "out" / "img" / "chest-2.png").data
    assert np.array_equal(copied, project.images.load(project.images.all()[1]))


def test_images_stay_where_they_are_unless_wanted(project, tmp_path):
    export_labels(project, tmp_path / "out", "tiff")

    assert not (tmp_path / "out" / "img").exists()


def test_what_nobody_reviewed_is_told_and_written(project, tmp_path):
    notes = export_labels(project, tmp_path / "out", "png")

    reviewed = read_mask(tmp_path / "out" / "reviewed" / "chest-2.png") > 0
    assert reviewed[:30].all()
    assert not reviewed[30:].any()
    assert not (tmp_path / "out" / "reviewed" / "chest.png").exists()
    assert any("chest-2" in note and "50 %" in note for note in notes)
    assert any("chest-2" in note and "left lung" in note for note in notes)


def test_pixels_of_several_prompts_are_told(project, masks, tmp_path):
    notes = export_labels(project, tmp_path / "out", "png")

    assert any(f"{masks['left lung'].sum()} pixels" in note for note in notes)


def test_an_image_without_a_file_is_exported_too(tmp_path):
    pixels = np.random.default_rng(0).random((20, 20, 3)).astype(np.float32)
    with Project.create(tmp_path / "p.amvlm") as project:
        record = project.images.add_array(pixels, name="slide: 7/a")
        project.corrections.accept(record.id, "nuclei", Answer(pixels[..., 0] > 0.5))

        export_labels(project, tmp_path / "out", "tiff", images=True)

    [pair] = read_folder(tmp_path / "out").pairs
    assert np.array_equal(read_image(pair.image).data, pixels)


def test_a_project_without_masks(tmp_path):
    with Project.create(tmp_path / "p.amvlm") as project, pytest.raises(DatasetError, match="no accepted mask"):
        export_labels(project, tmp_path / "out", "tiff")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "mask.tif"
    path.write_text("old")

    def write(temporary):
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match=r"mask\.tif.*No space left"):
        write_atomically(path, write)

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_prompts_become_file_names():
    assert file_slug("Cell  nuclei (H&E)") == "cell-nuclei-h-e"
    assert file_slug("细胞核") == "细胞核"
    assert file_slug("../..") == "prompt"
    assert file_slug("le\u0301sion") == "l\u00e9sion"


def test_no_name_is_one_that_windows_keeps_for_devices():
    assert [file_slug(text) for text in ("Con", "nul", "LPT1", "contour")] == ["con-", "nul-", "lpt1-", "contour"]
    assert free_name("aux.png", 1, set()) == "aux-"


def test_names_that_one_system_cannot_tell_apart_get_a_number():
    taken = set()

    names = [
        free_name(title, number, taken) for number, title in enumerate(("l\u00e9sion", "le\u0301sion", "L\u00e9sion"))
    ]

    assert names == ["l\u00e9sion", "le\u0301sion-1", "L\u00e9sion-2"]


def test_the_same_prompt_twice_is_one():
    assert check_prompts(["nuclei", " nuclei", "left  lung"]) == ("nuclei", "left lung")
    assert check_prompts(["l\u00e9sion", "le\u0301sion"]) == ("l\u00e9sion",)


def test_prompts_that_differ_in_capital_letters_alone():
    with pytest.raises(InputError, match="capital letters alone"):
        check_prompts(["nuclei", "NUCLEI"])


def test_an_export_replaces_the_one_before(project, masks, tmp_path):
    """Of another format, with objects, of a prompt that was withdrawn, and of what was not reviewed everywhere."""
    first, second, _ = project.images.all()
    export_labels(project, tmp_path / "out", "png", objects=True)
    project.corrections.reject(first.id, "lungs")
    project.corrections.accept(second.id, "lungs", Answer(masks["lungs"]))

    export_labels(project, tmp_path / "out", "tiff")
    export_labels(project, tmp_path / "new", "tiff")

    again, new = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("out", "new")
    )
    assert again == new


def test_labels_of_other_images_are_not_given_other_classes(project, tmp_path):
    first, _, _ = project.images.all()
    export_labels(project, tmp_path / "out", "png")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")}
    for prompt in ("lungs", "left lung"):
        project.corrections.reject(first.id, prompt)

    with pytest.raises(InputError, match=r"chest-2\.png is of no image in this export"):
        export_labels(project, tmp_path / "out", "png")

    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")} == before


def test_label_images_that_no_export_wrote_stay(project, tmp_path):
    first, _, _ = project.images.all()
    theirs = tmp_path / "out" / "labelcol" / f"{first.name}.png"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"drawn elsewhere")

    with pytest.raises(InputError, match=r"labelcol holds label images, but .* no images\.csv of a finished export"):
        export_labels(project, tmp_path / "out", "tiff")

    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [theirs]
    assert theirs.read_bytes() == b"drawn elsewhere"


def test_images_of_one_name_keep_files_of_their_own(tmp_path):
    with Project.create(tmp_path / "p.amvlm") as project:
        for number, name in enumerate(("a-3", "a", "a")):
            record = project.images.add_array(np.full((8, 8), number, np.uint8), name=name)
            mask = np.zeros((8, 8), np.bool_)
            mask[number] = True
            project.corrections.accept(record.id, "rows", Answer(mask))

        export_labels(project, tmp_path / "out", kind="png")

    files = sorted((tmp_path / "out" / "labelcol").iterdir())
    assert len(files) == 3
    assert sorted(int(read_mask(file, (8, 8)).any(axis=1).argmax()) for file in files) == [0, 1, 2]


def test_pixels_that_nobody_looked_at_are_unknown_to_those_who_read_the_folder(tmp_path, tiny_model):
    image = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    region = np.zeros((64, 64), np.bool_)
    region[:20, :20] = True
    predictor = Predictor(tiny_model, device="cpu")
    predictor.set_image(image)
    mask = predictor.predict("nuclei").mask(0.5)
    with Project.create(tmp_path / "p.amvlm") as project:
        record = project.images.add_array(image, name="a")
        project.corrections.accept(record.id, "nuclei", Answer(mask, region=region))

        export_labels(project, tmp_path / "out", "tiff", images=True)

    folder = read_folder(tmp_path / "out")
    [labelled] = folder_data(predictor, folder, {"nuclei": 1}).labelled
    assert np.array_equal(labelled.reviewed_for("nuclei"), region)
    assert mask[~region].any()
    assert evaluate_folder(predictor, tmp_path / "out", "nuclei")["dice"] == pytest.approx(1)


def test_every_mask_is_whole_beside_the_flat_image(project, masks, tmp_path):
    export_labels(project, tmp_path / "out", "png")

    assert np.array_equal(read_mask(tmp_path / "out" / "masks" / "lungs" / "chest.png"), masks["lungs"] * 255)
    assert np.array_equal(read_mask(tmp_path / "out" / "masks" / "left-lung" / "chest.png"), masks["left lung"] * 255)


def test_prompts_of_one_slug_have_folders_of_their_own():
    assert prompt_folders(["H&E", "h-e", "nuclei"]) == {"H&E": "h-e", "h-e": "h-e-2", "nuclei": "nuclei"}


@pytest.mark.parametrize("title", ["a" * 251 + ".png", "\u6838" * 83 + ".png"])
def test_a_name_that_is_as_long_as_names_may_be_leaves_room_for_every_ending(title):
    taken = set()

    first, second = free_name(title, 1, taken), free_name(title, 2, taken)

    assert first != second
    assert all(len(f"{stem}.geojson".encode()) <= 255 and title.startswith(stem[:60]) for stem in (first, second))
