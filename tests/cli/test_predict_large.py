"""`napari-amvlm predict` with slides, stacks, folders that were begun, and a cluster."""

import numpy as np
import pytest
import tifffile
import torch

from napari_amvlm.cli import predicting
from napari_amvlm.cli.predict_request import Request
from napari_amvlm.imaging import ImageSource
from napari_amvlm.models.checkpoint import save_model
from napari_amvlm.predictor import Predictor
from napari_amvlm.slides import SlideStore
from napari_amvlm.slides.store import DONE

PROMPTS = ["--prompt", "nuclei", "--prompt", "left lung"]


@pytest.fixture
def slide(tmp_path):
    """Return a tiled pyramid of two levels, 700 by 600 pixels: four blocks."""
    path = tmp_path / "slide.tif"
    pixels = np.random.default_rng(4).integers(60, 200, (70, 60, 3)).repeat(10, 0).repeat(10, 1).astype(np.uint8)
    with tifffile.TiffWriter(path) as file:
        file.write(pixels, subifds=1, photometric="rgb", tile=(256, 256), metadata=None)
        file.write(pixels[::2, ::2], subfiletype=1, photometric="rgb", tile=(256, 256), metadata=None)
    return path


@pytest.fixture
def volume(tmp_path):
    values = np.random.default_rng(6).integers(0, 3000, (6, 40, 48)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "scan.tif", values, imagej=True, metadata={"axes": "ZYX"})
    return tmp_path / "scan.tif"


def test_a_slide_gives_a_folder_that_fills_up(run, slide, tiny_checkpoint, tmp_path):
    command = ["predict", slide, *PROMPTS, "--model", tiny_checkpoint, "-o", tmp_path / "out", "--magnification", "0.5"]

    part = run(*command, "--region", 0, 0, 100, 100)
    begun = SlideStore.read(tmp_path / "out" / "slide.zarr").states
    rest = run(*command)
    again = run(*command)

    store = SlideStore.read(tmp_path / "out" / "slide.zarr")
    assert (part.code, rest.code, again.code) == (0, 0, 0), part.err
    assert np.argwhere(begun == DONE).tolist() == [[0, 0]]
    assert "slide.tif: 1 block to do; needs about" in part.err
    assert "slide.tif: 3 blocks to do; needs about" in rest.err
    assert f"done already -> {tmp_path / 'out' / 'slide.zarr'}" in again.out
    assert (store.states == DONE).all()
    assert np.asarray(store.levels[0][:]).any()
    assert "nuclei " in rest.out


def test_a_slide_of_another_request_is_not_touched(run, slide, tiny_checkpoint, tmp_path):
    command = ["predict", slide, "--model", tiny_checkpoint, "-o", tmp_path / "out", "--magnification", "0.2"]
    run(*command, "--prompt", "nuclei")

    stricter = run(*command, "--prompt", "nuclei", "--threshold", "0.7")
    other = run(*command, "--prompt", "stroma")
    replaced = run(*command, "--prompt", "left lung", "--overwrite")
    unknown = run(*command, "--prompt", "stroma", "--overwrite")

    assert (stricter.code, other.code) == (2, 2)
    assert "another request (threshold)" in stricter.err
    assert "classes.csv names other prompts" in other.err
    assert replaced.code == 0
    assert SlideStore.read(tmp_path / "out" / "slide.zarr").request.prompts == ("left lung",)
    assert unknown.code == 2
    assert "stroma is not taught yet; nearest known: nuclei" in unknown.err


def test_a_part_of_the_whole_image_is_not_asked_of_a_slide(run, slide, tiny_model, tmp_path):
    """In its tiles the largest nucleus is the largest of each."""
    tiny_model.config = tiny_model.config.model_copy(update={"structure": True})
    model = tmp_path / "structured.safetensors"
    save_model(tiny_model, model, name="structured", licence="CC0-1.0", training_data="none: random weights")

    outcome = run("predict", slide, "--prompt", "largest nucleus", "--model", model, "-o", tmp_path / "out")

    assert outcome.code == 2
    assert "is a slide: largest nucleus is a part of a whole image" in outcome.err
    assert not (tmp_path / "out" / "slide.zarr").exists()


def test_short_memory_on_a_slide_is_told_and_the_file_is_done(run, slide, tiny_checkpoint, tmp_path, monkeypatch):
    loaded = []
    from_file = Predictor.from_file

    def failing(*arguments, **options):
        """Load the real model, whose encoder then fails as torch does where memory is short, the first time."""
        loaded.append(from_file(*arguments, **options))
        failures = iter([True])

        def fail(_module, _arguments):
            if next(failures, False):
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

        loaded[0].model.image_encoder.register_forward_pre_hook(fail)
        return loaded[0]

    monkeypatch.setattr(Predictor, "from_file", failing)
    monkeypatch.setattr("napari_amvlm.slides.slide_run._BATCH", {"cpu": 4})

    outcome = run(
        *("predict", slide, "--prompt", "nuclei", "--region", 0, 0, 9, 9),
        *("--model", tiny_checkpoint, "-o", tmp_path / "out"),
    )

    assert outcome.code == 0, outcome.err
    assert "slide.tif: Memory ran short; going on with 2 tiles at once." in outcome.err
    assert (SlideStore.read(tmp_path / "out" / "slide.zarr").states == DONE).sum() == 1


def test_a_volume_is_predicted_slice_by_slice(run, volume, tiny_checkpoint, tmp_path):
    outcome = run("predict", volume, *PROMPTS, "--model", tiny_checkpoint, "-o", tmp_path / "out", "--probabilities")

    labels = tifffile.imread(tmp_path / "out" / "scan.tif")
    stored = tifffile.imread(tmp_path / "out" / "scan_probability.tif")
    assert outcome.code == 0, outcome.err
    assert (labels.shape, labels.dtype) == ((6, 40, 48), np.uint8)
    assert stored.shape == (2, 6, 40, 48)
    clear = np.abs(stored.astype(np.float32).max(axis=0) - 0.5) > 1e-3
    assert np.array_equal((labels > 0)[clear], (stored.max(axis=0) >= 0.5)[clear])


def test_a_range_of_slices_leaves_the_others_empty(run, volume, tiny_checkpoint, tmp_path):
    options = ["--prompt", "nuclei", "--model", tiny_checkpoint, "-o", tmp_path / "out", "--threshold", 0.01]

    outcome = run("predict", volume, *options, "--slices", "2-3", "--instances")

    labels = tifffile.imread(tmp_path / "out" / "scan.tif")
    objects = tifffile.imread(tmp_path / "out" / "scan_nuclei_instances.tif")
    assert outcome.code == 0, outcome.err
    assert np.flatnonzero(labels.any(axis=(1, 2))).tolist() == [2, 3]
    assert np.flatnonzero(objects.any(axis=(1, 2))).tolist() == [2, 3]
    # All of both slices is one object, so it keeps its number.
    assert np.unique(objects[2:4]).tolist() == [1]


def test_objects_of_a_slide_are_numbered_over_all_of_it(run, slide, counting_model, tmp_path):
    model = tmp_path / "counting.safetensors"
    save_model(counting_model, model, name="counting", licence="CC0-1.0", training_data="none: random weights")
    command = [
        "predict",
        slide,
        "--prompt",
        "nuclei",
        "--prompt",
        "left lung",
        "--model",
        model,
        "-o",
        tmp_path / "out",
    ]

    first = run(*command, "--objects", "--threshold", 0.4, "--region", 0, 0, 512, 512)
    outcome = run(*command, "--objects", "--threshold", 0.4)
    again = run(*command, "--objects", "--threshold", 0.4)

    store = SlideStore.read(tmp_path / "out" / "slide.zarr")
    assert (first.code, outcome.code) == (0, 0), outcome.err
    assert store.object_counts == tuple(store.objects[row].max() for row in (0, 1))
    assert f"({store.object_counts[0]} object" in outcome.out
    assert "does not tell objects of 'left lung' apart" in outcome.err
    assert store.depth[0].any()
    assert not store.depth[1].any()
    assert "done already" in again.out


def test_slices_and_regions_that_do_not_fit_the_image(run, volume, slide, tiny_checkpoint, tmp_path):
    common = ["--prompt", "nuclei", "--model", tiny_checkpoint, "-o", tmp_path / "out"]

    messages = [
        run("predict", volume, *common, "--slices", "9").err,
        run("predict", volume, *common, "--slices", "three").err,
        run("predict", volume, *common, "--region", 0, 0, 9, 9).err,
        run("predict", slide, *common, "--slices", "1").err,
        run("predict", slide, *common, "--region", 900, 0, 9, 9).err,
        run("predict", slide, *common, "--views", "4").err,
    ]

    expected = [
        "slices from 0 to 5",
        "Expected --slices",
        "a stack",
        "one plane",
        "inside the slide",
        "leave out --views",
    ]
    assert [words in message for words, message in zip(expected, messages, strict=True)] == [True] * 6


def test_what_is_done_is_skipped_until_something_changes(run, binary_folder, tiny_checkpoint, tmp_path):
    command = ["predict", binary_folder, "--model", tiny_checkpoint, "-o", tmp_path / "out", "--prompt", "nuclei"]
    run(*command)
    (tmp_path / "out" / "b.tif").unlink()
    image = binary_folder / "img" / "c.png"
    image.write_bytes((binary_folder / "img" / "a.png").read_bytes())

    lines = run(*command).out.splitlines()
    more = run(*command, "--probabilities").out
    other = run(*command, "--threshold", 0.3).out
    redone = run(*command, "--threshold", 0.3, "--overwrite").out

    assert ["done already" in line for line in lines] == [True, False, False]
    assert "done already" not in more
    assert "done already" not in other
    assert "done already" not in redone


def test_folders_of_stacks_and_pyramids(run, slide, volume, tiny_checkpoint, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    slide.rename(folder / "slide.svs")
    volume.rename(folder / "scan.tif")
    (folder / "broken.btf").write_bytes(b"no image")

    outcome = run(
        *("predict", folder, "--prompt", "nuclei", "--magnification", 0.3),
        *("--model", tiny_checkpoint, "-o", tmp_path / "o"),
    )

    assert outcome.code == 1
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == ["classes.csv", "scan.tif", "slide.zarr"]
    assert outcome.err.splitlines()[-1] == f"1 of 3 images failed: {folder / 'broken.btf'}"


def test_a_worker_gives_back_errors_of_a_file(binary_folder, tiny_checkpoint, tmp_path):
    request = Request(("nuclei",), tmp_path / "out")

    bad = predicting.work(ImageSource(tmp_path / "none.png", "none"), request, tiny_checkpoint, "cpu")
    good = predicting.work(ImageSource(binary_folder / "img" / "a.png", "a"), request, tiny_checkpoint, "cpu")

    assert bad.error is not None
    assert "none.png" in str(bad.error)
    assert good.error is None
    assert good.lines[0].endswith("a.tif")


def test_a_scheduler_that_does_not_answer(run, slide, tiny_checkpoint, tmp_path):
    pytest.importorskip("distributed")

    outcome = run(
        *("predict", slide, "--prompt", "nuclei", "--model", tiny_checkpoint, "-o", tmp_path / "out"),
        *("--scheduler", "nowhere:x"),
    )

    assert outcome.code == 2
    assert "No dask scheduler answers at nowhere:x" in outcome.err


@pytest.mark.slow
def test_two_workers_give_the_same_files(run, binary_folder, volume, slide, tiny_checkpoint, tmp_path):
    distributed = pytest.importorskip("distributed")
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    images = [binary_folder, volume, slide, bad]
    options = [*PROMPTS, "--magnification", 0.5, "--probabilities", "--model", tiny_checkpoint]
    alone = run("predict", *images, *options, "-o", tmp_path / "alone")

    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        shared = run("predict", *images, *options, "-o", tmp_path / "s", "--scheduler", cluster.scheduler_address)

    assert (alone.code, shared.code) == (1, 1), shared.err
    assert sorted(line.split(" -> ")[0].split("/")[-1] for line in alone.out.splitlines()) == sorted(
        line.split(" -> ")[0].split("/")[-1] for line in shared.out.splitlines()
    )
    names = sorted(path.name for path in (tmp_path / "alone").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "s").iterdir())
    for name in (name for name in names if name.endswith(".tif")):
        assert np.array_equal(tifffile.imread(tmp_path / "alone" / name), tifffile.imread(tmp_path / "s" / name))
    stores = [SlideStore.read(tmp_path / folder / "slide.zarr") for folder in ("alone", "s")]
    assert np.array_equal(stores[0].probability[:], stores[1].probability[:])
    assert shared.err.splitlines()[-1].endswith("bad.png")
