"""`napari-amvlm fine-tune` with the tiny model and a few steps."""

import contextlib
import json
import shutil
import signal

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file
from tifffile import imwrite

from napari_amvlm.cli.fine_tune import check_output, stop_on_interrupt
from napari_amvlm.cli.labelled_folder import folder_data, folder_prompts
from napari_amvlm.config import LearningConfig
from napari_amvlm.errors import DatasetError, InputError, LabelsError, PromptError
from napari_amvlm.generators import drain
from napari_amvlm.imaging import read_folder, read_image
from napari_amvlm.learning import fine_tune
from napari_amvlm.models import catalog
from napari_amvlm.models.checkpoint import save_model
from napari_amvlm.models.model_info import read_info
from napari_amvlm.predictor import Predictor
from napari_amvlm.project import Answer, Project
from napari_amvlm.session import keep_model, learning_data, start_run


@pytest.fixture
def flat_images(binary_folder, tmp_path):
    """Return a folder of two images: one that is labelled too, under another name, and a new one."""
    folder = tmp_path / "more"
    folder.mkdir()
    shutil.copy(binary_folder / "img" / "a.png", folder / "renamed.png")
    noise = np.random.default_rng(9).integers(0, 255, (70, 70, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "new.png")
    return folder


def test_a_model_from_a_labelled_folder(run, binary_folder, flat_images, tiny_checkpoint, tmp_path):
    output = tmp_path / "models" / "better.safetensors"

    outcome = run(
        "fine-tune",
        *("--labelled", binary_folder, "--unlabelled", flat_images, "--prompt", "nuclei"),
        *("--model", tiny_checkpoint, "--steps", 2, "--seed", 4, "-o", output),
    )

    report = json.loads(outcome.out)
    info = read_info(output)
    assert outcome.code == 0, outcome.err
    assert report["model"] == str(output)
    assert (report["steps"], report["seed"], report["stopped"]) == (2, 4, False)
    assert (report["labelled"], report["unlabelled"], report["prompts"]) == (3, 1, ["nuclei"])
    assert info.parent == read_info(tiny_checkpoint).sha256 == report["parent"]
    assert info.licence == "CC0-1.0"
    assert "3 labelled and 1 unlabelled" in info.training_data
    assert info.sha256 == report["sha256"]


def test_the_new_model_answers_otherwise(run, binary_folder, tiny_checkpoint, tmp_path):
    output = tmp_path / "better.safetensors"
    image = read_image(binary_folder / "img" / "a.png").data

    run(
        "fine-tune",
        "--labelled",
        binary_folder,
        "--prompt",
        "nuclei",
        "--model",
        tiny_checkpoint,
        "--steps",
        3,
        "-o",
        output,
    )

    answers = []
    for path in (tiny_checkpoint, output):
        predictor = Predictor.from_file(path, device="cpu")
        predictor.set_image(image)
        answers.append(predictor.predict("nuclei").probability)
    assert not np.allclose(answers[0], answers[1], atol=1e-4)


def test_a_model_from_a_project(run, binary_folder, tiny_checkpoint, tmp_path):
    root = tmp_path / "tissue.amvlm"
    with Project.create(root) as project:
        records = [project.images.add_file(binary_folder / "img" / f"{name}.png") for name in "abc"]
        mask = np.zeros((72, 80), bool)
        mask[5:40, 5:40] = True
        for record in records[:2]:
            project.corrections.accept(record.id, "nuclei", Answer(mask))

    outcome = run("fine-tune", root, "--model", tiny_checkpoint, "--steps", 1, "-o", tmp_path / "new.safetensors")

    report = json.loads(outcome.out)
    assert outcome.code == 0, outcome.err
    assert (report["labelled"], report["unlabelled"], report["held_out"]) == (2, 1, 0)
    assert (report["dice_before"], report["dice_after"], report["verdict"]) == (None, None, "too_few")
    assert "not judged on nuclei (0 of 3 corrected held-out images)" in outcome.err
    assert (tmp_path / "new.safetensors").is_file()


def test_only_the_model_of_an_earlier_run_is_replaced_and_said_so(capsys, tiny_model, tmp_path):
    told = {"name": "n", "licence": "CC0-1.0", "training_data": "none"}
    foreign, learnt = tmp_path / "foreign.safetensors", tmp_path / "learnt.safetensors"
    save_model(tiny_model, foreign, **told)
    save_model(tiny_model, learnt, **told, parent="0" * 64)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"notes")
    empty = tmp_path / "empty.safetensors"
    empty.touch()

    for path in (foreign, broken):
        with pytest.raises(InputError, match="was not made by fine-tune; give another -o"):
            check_output(path)
    assert check_output(empty) == empty
    assert check_output(learnt) == learnt
    assert "is the model of an earlier run; the new one will replace it." in capsys.readouterr().err


def test_a_run_of_a_project_starts_from_the_installed_model_that_was_chosen_there(
    run, binary_folder, tiny_checkpoint, tmp_path, monkeypatch
):
    monkeypatch.setattr(catalog, "WEIGHTS", tiny_checkpoint.parent)
    with Project.create(tmp_path / "tissue.amvlm") as project:
        record = project.images.add_file(binary_folder / "img" / "a.png")
        project.corrections.accept(record.id, "nuclei", Answer(np.eye(72, 80) > 0))
        project.models.serve(None, read_info(tiny_checkpoint).sha256)

    outcome = run("fine-tune", tmp_path / "tissue.amvlm", "--steps", 1, "-o", tmp_path / "new.safetensors")

    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["parent"] == read_info(tiny_checkpoint).sha256


def test_images_that_are_labelled_are_not_unlabelled(tiny_model, class_folder, flat_images):
    folder, told = read_folder(class_folder), []
    prompts = folder_prompts(folder, [])

    data = folder_data(Predictor(tiny_model, device="cpu"), folder, prompts, flat_images, on_message=told.append)

    assert told == ["Left out as copies of labelled ones: 1 unlabelled image, such as renamed."]
    assert [image.name for image in data.unlabelled] == ["new"]
    assert data.prompts == ("nuclei", "left lung")
    assert [image.masks["left lung"].sum() for image in data.labelled] == [500] * 3
    assert dict(data.labelled[0].scales) == {"nuclei": "tiles", "left lung": "whole"}
    assert data.labelled[0].image.dtype == np.float32
    assert data.validation == ()


def test_an_unlabelled_image_that_cannot_be_used_is_left_out(tiny_model, class_folder, flat_images):
    (flat_images / "bad.png").write_text("no image")
    predictor = Predictor(tiny_model, device="cpu")
    folder = read_folder(class_folder)
    messages = []

    data = folder_data(predictor, folder, folder_prompts(folder, ()), flat_images, on_message=messages.append)

    assert [image.name for image in data.unlabelled] == ["new"]
    assert "bad.png" in messages[0]


def test_more_unlabelled_images_than_memory_are_told_of(tiny_model, class_folder, tmp_path):
    rng = np.random.default_rng(3)
    for number in range(6):
        Image.fromarray(rng.integers(0, 255, (40, 50, 3), np.uint8)).save(tmp_path / f"{number}.png")
    predictor, folder = Predictor(tiny_model, device="cpu"), read_folder(class_folder)
    prompts, told = folder_prompts(folder, []), list[str]()
    room_for_four = 4 * 40 * 50 * 3 * 4 + 1

    def read(limit):
        data = folder_data(predictor, folder, prompts, tmp_path, unlabelled_bytes=limit, on_message=told.append)
        return [image.name for image in data.unlabelled]

    chosen = read(room_for_four)

    assert len(chosen) == 4
    assert chosen == sorted(chosen) == read(room_for_four)
    assert told[0].startswith("4 unlabelled images fill the ")
    assert told[0].endswith("; 2 are left out.")
    assert read(2 * room_for_four) == [str(number) for number in range(6)]
    assert len(told) == 2
    assert read(40 * 50 * 3 * 4 - 1) == []
    assert all("alone takes more than" in text for text in told[2:])


def test_the_labelled_folder_itself_as_unlabelled(tiny_model, binary_folder):
    folder = read_folder(binary_folder)

    data = folder_data(Predictor(tiny_model, device="cpu"), folder, {"nuclei": None}, binary_folder)

    assert data.unlabelled == ()


def test_one_labelled_image_beside_images_of_another_kind_with_a_nan(run, binary_folder, tiny_checkpoint, tmp_path):
    for part in ("img", "labelcol"):
        for file in (binary_folder / part).iterdir():
            if file.stem != "a":
                file.unlink()
    others, output = tmp_path / "others", tmp_path / "better.safetensors"
    others.mkdir()
    gray = np.random.default_rng(5).normal(1000, 300, (80, 64)).astype(np.float32)
    imwrite(others / "whole.tif", gray)
    gray[10, 20] = np.nan
    imwrite(others / "broken.tif", gray)

    outcome = run(
        "fine-tune",
        *("--labelled", binary_folder, "--unlabelled", others, "--prompt", "nuclei", "--model", tiny_checkpoint),
        *("--steps", 4, "-o", output),
    )

    report = json.loads(outcome.out)
    assert outcome.code == 0, outcome.err
    assert (report["labelled"], report["unlabelled"], report["steps"]) == (1, 2, 4)
    assert "The labelled images are in colour, but 2 of 2 unlabelled ones gray" in outcome.err
    assert all(np.isfinite(each).all() for each in load_file(output).values() if each.dtype.kind == "f")


def test_masks_that_are_all_empty(tiny_model, binary_folder):
    folder = read_folder(binary_folder)

    with pytest.raises(LabelsError, match="empty"):
        folder_data(Predictor(tiny_model, device="cpu"), folder, {"nuclei": 7})


def test_a_mask_value_without_a_class_is_named(tiny_model, binary_folder):
    (binary_folder / "classes.csv").write_text("value,prompt\n1,nuclei\n", encoding="utf-8")
    folder = read_folder(binary_folder)

    with pytest.raises(DatasetError, match=r"holds the value 255, which classes\.csv does not name; add it there"):
        folder_data(Predictor(tiny_model, device="cpu"), folder, {"nuclei": 1})


def test_two_prompts_for_masks_of_one_thing(binary_folder):
    with pytest.raises(PromptError, match=r"classes\.csv"):
        folder_prompts(read_folder(binary_folder), ["nuclei", "lungs"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "m.safetensors"], "--labelled"),
        (["p.amvlm", "-o", "m.safetensors"], "p.amvlm"),
        (["p.amvlm", "--labelled", "d", "-o", "m.safetensors"], "either"),
        (["p.amvlm", "--prompt", "nuclei", "-o", "m.safetensors"], "--prompt"),
        (["--labelled", "d"], "-o better.safetensors"),
        (["--labelled", "d", "-o", "m.pt"], ".safetensors"),
        (["--labelled", "d", "-o", "m.safetensors", "--minutes", "1", "--steps", "2"], "not both"),
        (["--labelled", "d", "-o", "m.safetensors", "--minutes", "0"], "--minutes"),
        (["--labelled", "d", "-o", "m.safetensors", "--steps", "0"], "--steps"),
        (["--labelled", "d", "-o", "m.safetensors", "--seed", "-1"], "--seed"),
        (["--labelled", "missing-folder", "-o", "m.safetensors"], "missing-folder"),
    ],
)
def test_bad_arguments_are_told_before_anything_is_loaded(run, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)

    outcome = run("fine-tune", *arguments)

    assert outcome.code == 2
    assert words in outcome.err
    assert outcome.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_binary_folder_needs_a_prompt(run, binary_folder, tmp_path):
    outcome = run("fine-tune", "--labelled", binary_folder, "-o", tmp_path / "m.safetensors")

    assert outcome.code == 2
    assert "--prompt" in outcome.err


def test_a_run_that_was_stopped_before_its_first_step_writes_no_model(
    run, binary_folder, tiny_checkpoint, tmp_path, monkeypatch
):
    @contextlib.contextmanager
    def pressed_at_once():
        yield lambda: True

    monkeypatch.setattr("napari_amvlm.cli.fine_tune.stop_on_interrupt", pressed_at_once)
    output = tmp_path / "new.safetensors"

    outcome = run(
        *("fine-tune", "--labelled", binary_folder, "--prompt", "nuclei"),
        *("--model", tiny_checkpoint, "--steps", 2, "-o", output),
    )

    assert outcome.code == 1
    assert "no model was written" in outcome.err
    assert outcome.out == ""
    assert not output.exists()


def test_the_first_interrupt_asks_and_the_second_interrupts():
    before = signal.getsignal(signal.SIGINT)

    with stop_on_interrupt() as stopped:
        asked_before = stopped()
        signal.raise_signal(signal.SIGINT)
        asked_after = stopped()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    assert (asked_before, asked_after) == (False, True)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.fixture(scope="module")
def _learnt_root(_tiny_checkpoint, text_encoder_once, tmp_path_factory):
    root, chance = tmp_path_factory.mktemp("learnt") / "tissue.amvlm", np.random.default_rng(2)
    predictor = Predictor.from_file(_tiny_checkpoint, device="cpu")
    config = LearningConfig(minutes=None, steps=3, seed=7)
    with Project.create(root) as project:
        files = [root.with_name(f"{name}.png") for name in "abc"]
        for file in files:
            Image.fromarray(chance.integers(0, 255, (72, 80, 3), dtype=np.uint8)).save(file)
        records = [project.images.add_file(file) for file in files]
        mask = np.zeros((72, 80), bool)
        mask[5:40, 5:40] = True
        for record in records[:2]:
            project.corrections.accept(record.id, "nuclei", Answer(mask))
        data = learning_data(project, predictor_scales=lambda *_: "tiles")
        entry = start_run(project, config, predictor.info, data)
        result = drain(fine_tune(predictor.model, data, config, device=predictor.device), lambda report: None)
        keep_model(project, result, predictor.info, data.prompts, entry)
        project.corrections.accept(records[2].id, "nuclei", Answer(~mask))
        project.corrections.accept(records[0].id, "nuclei", Answer(~mask))
    return root


@pytest.fixture
def learnt_project(_learnt_root, tmp_path):
    """Return a project, for this test alone, with one finished run, whose masks were changed since."""
    return shutil.copytree(_learnt_root, tmp_path / "tissue.amvlm")


@pytest.mark.parametrize("installed", [False, True])
def test_a_run_done_again_gives_the_model_that_the_ledger_describes(
    run, learnt_project, tiny_checkpoint, tmp_path, monkeypatch, installed
):
    output = tmp_path / "again.safetensors"
    if installed:  # then the run says itself from which model it began
        monkeypatch.setattr(catalog, "WEIGHTS", tiny_checkpoint.parent)
    given = [] if installed else ["--model", tiny_checkpoint]

    outcome = run("fine-tune", learnt_project, "--run", int(installed), *given, "-o", output)

    assert outcome.code == 0, outcome.err
    with Project.open(learnt_project, read_only=True) as project:
        kept = load_file(project.models.all()[0].path)
    again = load_file(output)
    assert kept.keys() == again.keys()
    assert all(np.array_equal(kept[name], again[name]) for name in kept)


def test_a_project_gives_the_same_model_twice(run, learnt_project, tiny_checkpoint, tmp_path):
    outputs = [tmp_path / f"{name}.safetensors" for name in "ab"]

    for output in outputs:
        run("fine-tune", learnt_project, "--model", tiny_checkpoint, "--steps", 2, "--seed", 3, "-o", output)

    one, two = (load_file(output) for output in outputs)
    assert all(np.array_equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--run", "9"], "runs that did: 1"),
        (["--run", "1", "--steps", "4"], "leave --minutes"),
    ],
)
def test_a_run_that_cannot_be_done_again(run, learnt_project, tiny_checkpoint, tmp_path, options, said):
    outcome = run("fine-tune", learnt_project, *options, "--model", tiny_checkpoint, "-o", tmp_path / "x.safetensors")

    assert outcome.code == 2
    assert said in outcome.err


def test_a_run_is_not_done_again_from_another_model(run, learnt_project, tiny_model, tmp_path):
    other = tmp_path / "other.safetensors"
    save_model(tiny_model, other, name="other", licence="CC0-1.0", training_data="none")

    outcome = run("fine-tune", learnt_project, "--run", "1", "--model", other, "-o", tmp_path / "x.safetensors")

    assert outcome.code == 2
    assert "give the original" in outcome.err


def test_masks_without_numbers_are_no_objects_to_learn_from(run, binary_folder, tiny_checkpoint, tmp_path):
    (binary_folder / "instances").mkdir()
    for path in (binary_folder / "labelcol").iterdir():
        mask = np.zeros_like(np.array(Image.open(path)))
        mask[5:20, 5:20] = mask[5:20, 30:40] = 255
        Image.fromarray(mask).save(path)
        Image.fromarray(mask).save(binary_folder / "instances" / path.name)

    outcome = run(
        *("fine-tune", "--labelled", binary_folder, "--prompt", "nuclei", "--model", tiny_checkpoint),
        *("--steps", 1, "-o", tmp_path / "new.safetensors"),
    )

    assert outcome.code == 2
    assert "has one value for all objects" in outcome.err
