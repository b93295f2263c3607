import numpy as np
import pytest
import tifffile
from safetensors.torch import load_file
from skimage.io import imsave

from napari_amvlm.config import ObjectsConfig
from napari_amvlm.errors import InputError, LabelsError
from napari_amvlm.imaging import read_mask
from napari_amvlm.metrics import object_scores
from napari_amvlm.models.model_info import read_info
from training.fit_objects import main
from training.objects.data import load_objects, pieces, without_slivers
from training.objects.recipe import ObjectRecipe, ObjectSet

RECIPE = """
licence = "CC0-1.0"
crop = 64
steps = 4
batch = 2
[head]
concepts = ["nuclei", "axons"]
channels = [8, 8]
groups = 4
[[sets]]
folder = "DSB2018"
masks = "instances"
[[sets]]
folder = "TNBC"
holding_out = false
[[sets]]
folder = "NOT-THERE"
prompt = "axons"
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "objects.toml"
    path.write_text(RECIPE)
    return path


@pytest.mark.parametrize("again", [False, True])
def test_the_head_is_added_and_nothing_else_changes(shared_data, tiny_checkpoint, recipe, tmp_path, again):
    out = tmp_path / "counting.safetensors"

    main(tiny_checkpoint, shared_data, out, recipe, 1.0, "cpu")
    if again:  # weights that have a head get a new one
        main(out, shared_data, out, recipe, 1.0, "cpu")

    before, after = load_file(tiny_checkpoint), load_file(out)
    assert {name for name in after if name not in before} == {n for n in after if n.startswith("objects.")}
    assert all(bool((after[name] == value).all()) for name, value in before.items())
    info = read_info(out)
    assert info.config.objects is not None
    assert info.config.objects.concepts == ("nuclei",)
    assert (info.name, info.licence) == ("tiny", "CC0-1.0")


def test_data_of_another_licence_is_refused(shared_data, tiny_checkpoint, recipe, tmp_path):
    recipe.write_text(RECIPE.replace("CC0-1.0", "CC BY-NC-SA 4.0"))

    with pytest.raises(InputError, match=r"under CC BY-NC-SA 4.0, but .* is under CC0-1.0; give the recipe"):
        main(tiny_checkpoint, shared_data, tmp_path / "out.safetensors", recipe, 1.0, "cpu")


def test_pieces_that_may_be_several_objects_are_not_learnt_from():
    mask = np.zeros((40, 60), bool)
    mask[5:15, 5:15] = True
    mask[20:38, 5:11] = mask[20:26, 5:40] = True  # an L

    objects, unknown = pieces(mask)

    assert objects.max() == 1
    assert (objects[5:15, 5:15] == 1).all()
    assert unknown[22, 30]
    assert not unknown[10, 10]


def test_overlaps_of_outlines_belong_to_the_nearest_object():
    objects = np.zeros((20, 30), np.int32)
    objects[5:15, 5:15], objects[5:15, 16:26] = 1, 3
    objects[5:15, 15] = 2
    wanted = np.where(objects == 2, 0, objects)

    cleaned = without_slivers(objects)

    assert np.array_equal(cleaned[wanted > 0], wanted[wanted > 0])
    assert set(np.unique(cleaned[:, 15])) <= {0, 1, 3}
    assert (cleaned[5:15, 15] > 0).all()
    assert not without_slivers(np.eye(4, dtype=np.int32)).any()


@pytest.mark.parametrize("offset", [70_000, 4_000_000_000])
def test_objects_may_have_any_numbers(shared_data, tiny_model, offset):
    spec = ObjectSet(folder="DSB2018", masks="instances", holding_out=False)
    recipe = ObjectRecipe(licence="CC0-1.0", sets=(spec,), head=ObjectsConfig(concepts=("nuclei",)))
    before = load_objects(recipe, shared_data, tiny_model.config, validation=False)
    for path in (shared_data / "DSB2018" / "instances").iterdir():
        numbers = read_mask(path).astype(np.uint32)
        numbers[70, 70] = 3  # an object of one pixel
        tifffile.imwrite(path.with_suffix(".tif"), np.where(numbers > 0, numbers + np.uint32(offset), 0))
        path.unlink()

    after = load_objects(recipe, shared_data, tiny_model.config, validation=False)

    assert len(after) == 4
    for one, other in zip(before, after, strict=True):
        wanted = one.objects.copy()
        wanted[70, 70] = 2  # one pixel is no object to learn from
        assert object_scores(without_slivers(other.objects), wanted).aji == 1


def test_masks_without_numbers_are_refused(shared_data, tiny_checkpoint, recipe, tmp_path):
    for path in (shared_data / "DSB2018" / "instances").iterdir():
        numbers = read_mask(path)
        numbers[60:70, 80:90] = 1
        imsave(path, (numbers > 0).astype(np.uint8) * 255, check_contrast=False)

    with pytest.raises(LabelsError, match=r"instances.image\d\.png has one value for all objects"):
        main(tiny_checkpoint, shared_data, tmp_path / "out.safetensors", recipe, 1.0, "cpu")
