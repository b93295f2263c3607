"""The Learn dock: real runs of a tiny model on a real project, good ends and bad ones."""

import errno
import os
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_amvlm._qt.learn.dock import LearnDock
from napari_amvlm._qt.widgets.auto_learn import AutoLearn
from napari_amvlm._qt.widgets.budget import Budget
from napari_amvlm.config import LearningConfig
from napari_amvlm.models import catalog
from napari_amvlm.models.checkpoint import save_model
from napari_amvlm.project import Answer, Project
from napari_amvlm.session import Verdict
from napari_amvlm.session.learning_run import LearningRun
from tests._qt.conftest import delete, headings

SHORT = LearningConfig(minutes=None, steps=4, crop=64, labelled_batch=2, unlabelled_batch=1, validations=2)
LONG = SHORT.model_copy(update={"steps": 1_000_000})
LAST = SHORT.model_copy(update={"keep": "last"})
"""Keeps the last teacher, also where it is no better."""
TAUGHT = SHORT.model_copy(update={"steps": 40, "learning_rate": 1e-2, "consistency": 0.0, "retention": 0.0})


def _with_config(config):
    """Return what makes a run with `config` in place of the dock's budget."""
    return lambda project, predictor, _config, **options: LearningRun(project, predictor, config, **options)


def _fill(bench, path, *, labelled, held_out, unlabelled=1, right=True, proposed=False):
    """Make a project whose masks are what the model says now, or the very opposite, and open it.

    With `proposed` they were accepted as the model drew them.
    """
    rng = np.random.default_rng(1)
    predictor = bench.workspace.predictor
    with Project.create(path) as project:
        for index in range(labelled + held_out + unlabelled):
            pixels = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
            record = project.images.add_array(pixels, name=f"image {index}")
            if index < labelled + held_out:
                predictor.set_image(pixels)
                drawn = predictor.predict("nuclei").mask(0.5)
                mask, before = drawn if right else ~drawn, drawn if proposed else None
                project.corrections.accept(record.id, "nuclei", Answer(mask, before=before))
                project.images.set_held_out(record.id, index >= labelled)
    bench.workspace.open_project(path)
    bench.idle()


def _learn(bench, config=SHORT):
    bench.learn.make_run = _with_config(config)
    bench.learn.start()


def _first_step(bench):
    bench.wait(lambda: len(bench.learn.panel.curve.value().loss) > 0)


def test_counts_are_shown(bench, tmp_path):
    _fill(bench, tmp_path / "p.amvlm", labelled=2, held_out=3, unlabelled=4)

    assert bench.learn.panel.counts.text() == "Accepted 5 images, 3 held out \N{MIDDLE DOT} 4 unlabelled"


def test_a_better_model_serves_by_itself(bench, tmp_path):
    _fill(bench, tmp_path / "p.amvlm", labelled=2, held_out=3, right=False)
    before = bench.workspace.served_key()

    _learn(bench, TAUGHT)
    bench.idle()

    outcome = bench.learn.outcome
    # Its own opposite scores next to nothing: a pixel at the very threshold may fall to either side.
    assert outcome.before < 0.01
    assert outcome.judgement.verdict is Verdict.IMPROVED
    assert f"{outcome.record.name} serves now: better on nuclei (+" in bench.learn.panel.status.value()[1]
    assert bench.workspace.served_key() != before
    assert bench.workspace.project.models.served().id == outcome.record.id
    curve = bench.learn.panel.curve.value()
    assert len(curve.loss) == 40
    assert len(curve.dice) >= 2
    serving = [entry.name for entry in bench.learn.panel.models.value() if entry.serving]
    assert serving == [outcome.record.name]


def test_a_better_model_does_not_replace_one_that_began_to_serve_since(bench, tmp_path):
    _fill(bench, tmp_path / "p.amvlm", labelled=2, held_out=3, right=False)
    other = save_model(
        bench.workspace.predictor.model, tmp_path / "other.safetensors", name="other", licence="", training_data=""
    )
    loaded = threading.Event()

    class Run(LearningRun):
        def keep(self, result):
            loaded.wait()
            return super().keep(result)

    bench.learn.make_run = lambda project, predictor, _config, **options: Run(project, predictor, TAUGHT, **options)
    bench.learn.start()
    _first_step(bench)
    bench.workspace.serve(other.path, loaded.set)
    bench.idle()

    assert bench.learn.outcome.judgement.verdict is Verdict.IMPROVED
    assert bench.workspace.served_key() == other.sha256
    assert "than one that does not serve any more. Look" in bench.learn.panel.question.text()


def test_a_run_that_found_nothing_better_offers_no_model(bench, tmp_path):
    _fill(bench, tmp_path / "p.amvlm", labelled=2, held_out=3)
    before = bench.workspace.served_key()

    _learn(bench)
    bench.idle()

    assert bench.learn.panel.status.value() == ("info", "Nothing better was found; the model is unchanged.")
    assert bench.learn.panel.verdict.isHidden()
    assert bench.learn.panel.question.text() == ""
    assert not bench.learn.panel.serve_button.isEnabled()
    assert bench.workspace.served_key() == before
    assert bench.workspace.project.models.all() == []
    assert [run.state for run in bench.workspace.project.runs.all()] == ["finished"]
    assert len(bench.learn.panel.scores.value()) == 3


def test_a_model_that_is_no_better_does_not_serve(bench, tmp_path):
    _fill(bench, tmp_path / "p.amvlm", labelled=2, held_out=3)
    before = bench.workspace.served_key()

    _learn(bench, LAST)
    bench.idle()

    assert "the current model stays." in bench.learn.panel.status.value()[1]
    assert bench.workspace.served_key() == before
    assert bench.workspace.project.models.served() is None
    assert len(bench.workspace.project.models.all()) == 1


def _fill_with_two_prompts(bench, path):
    """Make a project that teaches the opposite of what the model says; of "nuclei" the model says right."""
    rng = np.random.default_rng(1)
    predictor = bench.workspace.predictor
    with Project.create(path) as project:
        for index in range(6):
            pixels = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
            record = project.images.add_array(pixels, name=f"image {index}")
            predictor.set_image(pixels)
            for prompt in ("nuclei", "pink tissue") if index < 5 else ():
                opposite = ~predictor.predict(prompt).mask(0.5)
                right = prompt == "nuclei" and index >= 2
                project.corrections.accept(record.id, prompt, Answer(~opposite if right else opposite))
                project.images.set_held_out(record.id, index >= 2)
    bench.workspace.open_project(path)
    bench.idle()


@pytest.mark.parametrize("answer", ["Serve anyway", "Accept more images of nuclei"])
def test_a_model_that_lost_on_one_prompt_asks_first(bench, tmp_path, answer):
    _fill_with_two_prompts(bench, tmp_path / "p.amvlm")
    before = bench.workspace.served_key()

    _learn(bench, TAUGHT.model_copy(update={"keep": "last"}))
    bench.idle()
    question, verdict = bench.learn.panel.question.text(), bench.learn.panel.verdict.text()
    answers, undecided = bench.learn.panel.question.answers(), bench.workspace.served_key()
    bench.learn.panel.question.answer(answer)
    bench.idle()

    outcome = bench.learn.outcome
    assert outcome.judgement.lost == ["nuclei"]
    assert verdict.startswith(f"{outcome.record.name}: worse on nuclei (-")
    assert "better on pink tissue (+" in verdict
    assert question.startswith(f"{outcome.record.name} is worse on nuclei (-")
    assert "pink tissue" not in question
    assert answers == ["Serve anyway", "Keep the current model", "Accept more images of nuclei"]
    assert undecided == before
    assert (bench.workspace.served_key() != before) == (answer == "Serve anyway")
    assert bench.learn.panel.question.text() == ""
    if answer.startswith("Accept more"):
        assert bench.viewer.layers.selection.active.name.startswith("image 5")
    nuclei, pink_tissue = headings(bench.learn.panel.scores)
    assert (nuclei.startswith("nuclei "), pink_tissue.startswith("pink tissue ")) == (True, True)
    assert nuclei.endswith("\N{BLACK DOWN-POINTING TRIANGLE}")
    assert pink_tissue.endswith("\N{BLACK UP-POINTING TRIANGLE}")
    curve = bench.learn.panel.curve
    assert list(curve.value().prompts) == ["nuclei", "pink tissue"]
    assert curve.key().startswith("nuclei ")


def test_with_too_few_held_out_the_person_decides(bench, tmp_path):
    _fill(bench, tmp_path / "p.amvlm", labelled=2, held_out=2, right=False)
    before = bench.workspace.served_key()
    _learn(bench, LAST)
    bench.idle()
    asked, verdict = bench.learn.panel.question.text(), bench.learn.panel.verdict.text()
    undecided = bench.workspace.served_key()

    bench.learn.panel.question.answer("Keep the current model")
    bench.idle()

    assert "not judged on nuclei (2 of 3 corrected held-out images)" in asked
    assert "not judged on nuclei (2 of 3 corrected held-out images)" in verdict
    assert len(bench.learn.panel.scores.value()) == 2
    assert undecided == bench.workspace.served_key() == before
    assert bench.workspace.project.models.served() is None


def test_held_out_masks_that_nobody_corrected_judge_nothing(bench, tmp_path):
    _fill(bench, tmp_path / "p.amvlm", labelled=2, held_out=3, proposed=True)

    _learn(bench)
    bench.idle()

    table = bench.learn.panel.scores
    assert "not judged on nuclei (0 of 3 corrected held-out images)" in bench.learn.panel.question.text()
    assert [(entry.before, entry.after, entry.corrected) for entry in table.value()] == [(None, None, False)] * 3
    assert bench.learn.panel.curve.value().dice == []


def test_scores_are_renewed_when_a_held_out_mask_changes(bench, tmp_path):
    _fill(bench, tmp_path / "p.amvlm", labelled=2, held_out=3, right=False)
    _learn(bench, LAST)
    bench.idle()
    scores = {entry.key: entry.before for entry in bench.learn.panel.scores.value()}
    image_id = next(iter(scores))

    def swap(project):
        (correction,) = project.corrections.select(image_id)
        project.corrections.accept(image_id, "nuclei", Answer(~project.corrections.mask(correction)))

    bench.workspace.with_project(swap)
    bench.idle()

    renewed = {entry.key: entry.before for entry in bench.learn.panel.scores.value()}
    assert renewed.pop(image_id) > 0.98
    assert renewed == {key: before for key, before in scores.items() if key != image_id}
    assert scores[image_id] < 0.01
    assert bench.workspace.project.runs.scores(1)[-1].image_id == image_id


@pytest.mark.parametrize("damage", ["vanished", "other shape"])
def test_a_held_out_image_that_cannot_be_read(bench, tmp_path, damage):
    import PIL.Image

    _fill(bench, tmp_path / "p.amvlm", labelled=2, held_out=0, unlabelled=0)
    file = tmp_path / "held out.png"
    PIL.Image.fromarray(np.full((64, 64), 9, np.uint8)).save(file)

    def hold_out(project):
        record = project.images.add_file(file)
        project.corrections.accept(record.id, "nuclei", Answer(np.ones((64, 64), bool)))
        project.images.set_held_out(record.id, True)

    bench.workspace.with_project(hold_out)
    bench.idle()
    if damage == "vanished":
        file.unlink()
    else:
        PIL.Image.fromarray(np.full((64, 32), 9, np.uint8)).save(file)

    _learn(bench)
    bench.idle()

    text = bench.learn.panel.status.value()[1]
    assert "Left out: 1 image. " in text
    assert "held out.png" in text
    assert bench.learn.outcome.record is not None


def test_a_model_that_served_before_is_one_click_away(bench, tmp_path, tiny_checkpoint):
    _fill(bench, tmp_path / "p.amvlm", labelled=2, held_out=0)
    first = bench.workspace.served_key()
    _learn(bench)
    bench.idle()
    bench.learn.panel.question.answer("Serve anyway")
    bench.idle()

    bench.workspace.serve(tiny_checkpoint)
    bench.idle()

    assert bench.workspace.served_key() == first
    bench.run("nuclei")
    assert "slide \N{MIDDLE DOT} nuclei" in bench.viewer.layers


def test_stop_keeps_what_was_learnt_and_serves_nothing(bench, tmp_path):
    _fill(bench, tmp_path / "p.amvlm", labelled=2, held_out=3)
    before = bench.workspace.served_key()
    _learn(bench, LONG)
    _first_step(bench)

    bench.learn.panel.stop_button.click()
    bench.idle()

    assert bench.learn.outcome.stopped
    assert bench.learn.panel.status.value()[1].startswith("Stopped.")
    assert bench.workspace.served_key() == before
    assert len(bench.workspace.project.models.all()) == 1
    assert bench.learn.panel.start_button.isEnabled()


def test_pause_stands_still_and_goes_on(bench, tmp_path):
    _fill(bench, tmp_path / "p.amvlm", labelled=2, held_out=0)
    pauses = []

    class Run(LearningRun):
        def steps(self, should_stop, should_pause):
            def paused():
                pauses.append(should_pause())
                return pauses[-1]

            return super().steps(should_stop, paused)

    bench.learn.make_run = lambda project, predictor, _config, **options: Run(project, predictor, LONG, **options)
    bench.learn.start()
    _first_step(bench)
    steps = bench.learn.panel.curve.value().loss

    bench.learn.panel.pause_button.click()
    text = bench.learn.panel.pause_button.text()
    bench.wait(lambda: pauses.count(True) >= 2)
    paused_at = len(steps)
    bench.wait(lambda: pauses.count(True) >= 6)
    still = len(steps) == paused_at
    bench.learn.panel.pause_button.click()
    bench.wait(lambda: len(steps) > paused_at)
    bench.learn.stop()
    bench.idle()

    assert text == "Resume"
    assert still


def test_prompts_work_while_the_model_learns(bench, tmp_path):
    _fill(bench, tmp_path / "p.amvlm", labelled=2, held_out=0)
    _learn(bench, LONG)
    _first_step(bench)

    bench.annotate.panel.prompt.setValue("nuclei")
    bench.annotate.run()
    bench.wait(lambda: "slide \N{MIDDLE DOT} nuclei" in bench.viewer.layers)
    bench.annotate.accept()
    bench.wait(lambda: bench.learn.panel.counts.text().startswith("Accepted 3"))
    running = bench.workspace.learning() is not None
    bench.learn.stop()
    bench.idle()

    assert running


def test_a_dock_that_is_opened_again_finds_the_run_under_way(bench, tmp_path):
    _fill(bench, tmp_path / "p.amvlm", labelled=2, held_out=0)
    _learn(bench, LONG)
    _first_step(bench)
    bench.viewer.window.remove_dock_widget(bench.learn)

    again = LearnDock(bench.viewer, bench.workspace)
    bench.viewer.window.add_dock_widget(again, name="Learn")
    can_start = again.panel.start_button.isEnabled()
    again.panel.stop_button.click()
    bench.idle()

    assert not can_start
    assert again.outcome.stopped


def test_a_model_that_is_learnt_while_the_dock_is_closed_is_listed_when_it_is_opened_again(bench, tmp_path):
    _fill(bench, tmp_path / "p.amvlm", labelled=2, held_out=0)
    _learn(bench, LAST)
    bench.viewer.window.remove_dock_widget(bench.learn)
    delete(bench.learn)
    bench.idle()

    again = LearnDock(bench.viewer, bench.workspace)
    bench.viewer.window.add_dock_widget(again, name="Learn")

    [model] = bench.workspace.project.models.all()
    assert model.name in [entry.name for entry in again.panel.models.value()]
    assert again.panel.verdict.text().startswith(model.name)


def test_two_docks_show_one_run(bench, tmp_path):
    _fill(bench, tmp_path / "p.amvlm", labelled=2, held_out=0)
    second = LearnDock(bench.viewer, bench.workspace)
    bench.viewer.window.add_dock_widget(second, name="Learn again")

    _learn(bench, LONG)
    can_start = second.panel.start_button.isEnabled()
    second.panel.stop_button.click()
    bench.idle()

    assert not can_start
    assert second.panel.start_button.isEnabled()
    assert bench.learn.panel.start_button.isEnabled()


def _out_of_memory(*_, **__):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


def _full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def _fails(bench):
    """Check that the docks work after a failure, and return what was said."""
    bench.idle()
    level, text = bench.learn.panel.status.value()
    assert level == "error", text
    assert bench.learn.outcome is None
    assert bench.learn.panel.start_button.isEnabled()
    assert not bench.learn.panel.stop_button.isEnabled()
    assert bench.workspace.project.runs.all()[-1].state == "failed"
    return str(text)


def test_out_of_memory(bench, tmp_path, monkeypatch):
    _fill(bench, tmp_path / "p.amvlm", labelled=2, held_out=0)
    before = bench.workspace.served_key()
    monkeypatch.setattr(torch.optim.AdamW, "step", _out_of_memory)
    _learn(bench)

    text = _fails(bench)

    assert "not enough memory" in text
    assert bench.workspace.served_key() == before
    monkeypatch.undo()
    _learn(bench)
    bench.idle()
    assert bench.learn.outcome is not None


def test_a_loss_that_is_no_number(bench, tmp_path):
    _fill(bench, tmp_path / "p.amvlm", labelled=2, held_out=0)
    with torch.no_grad():
        next(bench.workspace.predictor.model.unet.parameters()).fill_(float("nan"))

    _learn(bench, LONG)

    assert "The loss was not a finite number" in _fails(bench)


def test_a_full_disk_when_the_model_is_kept(bench, tmp_path, monkeypatch):
    _fill(bench, tmp_path / "p.amvlm", labelled=2, held_out=0)
    before = bench.workspace.served_key()
    monkeypatch.setattr(os, "replace", _full)
    _learn(bench)

    text = _fails(bench)
    monkeypatch.undo()

    assert "space" in text
    assert bench.workspace.project.models.all() == []
    assert bench.workspace.served_key() == before


def test_a_fault_of_our_own_is_told_too(bench, tmp_path, monkeypatch):
    _fill(bench, tmp_path / "p.amvlm", labelled=2, held_out=0)

    def broken(*_, **__):
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(torch.optim.AdamW, "step", broken)
    _learn(bench)

    assert "Unexpected RuntimeError: shape mismatch" in _fails(bench)


def test_an_image_that_cannot_be_read_is_left_out_and_told_of(bench, tmp_path):
    import PIL.Image

    _fill(bench, tmp_path / "p.amvlm", labelled=2, held_out=0, unlabelled=0)
    file = tmp_path / "gone.png"
    PIL.Image.fromarray(np.zeros((64, 64), np.uint8)).save(file)
    bench.learn.add_files([file])
    bench.idle()
    file.unlink()

    _learn(bench)
    bench.idle()

    assert "Left out: 1 image. " in bench.learn.panel.status.value()[1]


def test_nothing_to_learn_from(bench, tmp_path):
    said = []
    bench.learn.start()
    said.append(bench.learn.panel.status.value())
    bench.learn.panel.status.setValue("info", "")
    _fill(bench, tmp_path / "p.amvlm", labelled=0, held_out=0, unlabelled=2)
    bench.learn.start()
    said.append(bench.learn.panel.status.value())

    for level, text in said:
        assert level == "warning"
        assert "accept a mask in the annotate dock first" in text.lower()
    assert bench.workspace.learning() is None


def test_open_images_go_into_the_project(bench):
    bench.viewer.add_image(np.zeros((5, 32, 32)), name="stack")
    bench.viewer.add_image(np.tile(np.arange(32, dtype=np.uint8), (32, 1)), name="gray")

    bench.learn.panel.add_button.openImagesRequested.emit()
    bench.idle()

    level, text = bench.learn.panel.status.value()
    assert (level, text.startswith("Added to the project: 2 images.")) == ("warning", True)
    assert "'stack' is a stack" in text
    assert bench.workspace.view.counts.unlabelled == 2


def test_each_project_has_its_own_served_model(bench, tmp_path):
    first = bench.workspace.served_key()
    _fill(bench, tmp_path / "p.amvlm", labelled=2, held_out=0)
    _learn(bench)
    bench.idle()
    bench.learn.panel.question.answer("Serve anyway")
    bench.idle()
    served = bench.workspace.served_key()

    bench.workspace.open_project(tmp_path / "other.amvlm")
    bench.idle()
    in_between = bench.workspace.served_key()
    bench.workspace.open_project(tmp_path / "p.amvlm")
    bench.idle()

    assert in_between == first
    assert bench.workspace.served_key() == served


def test_each_held_out_image_is_shown_the_worst_first(bench, tmp_path, monkeypatch):
    # Half precision rounds by the number of threads, and a mask must be the model's own to the pixel.
    monkeypatch.setattr("napari_amvlm.device.supports_bfloat16", lambda _device: False)
    _fill(bench, tmp_path / "p.amvlm", labelled=2, held_out=3)
    _learn(bench, LAST)
    bench.idle()

    entries = bench.learn.panel.scores.value()
    after = [entry.after for entry in entries]
    assert len(entries) == 3
    assert after == sorted(after)
    assert all(entry.before == 1.0 for entry in entries)
    assert headings(bench.learn.panel.scores)[0].startswith("nuclei 1.000 ")
    bench.learn.panel.scores.chosen.emit(entries[0].key)
    bench.idle()
    assert bench.viewer.layers.selection.active.name.startswith(entries[0].name)


def test_serve_roll_back_and_discard(bench, tmp_path):
    _fill(bench, tmp_path / "p.amvlm", labelled=2, held_out=3)
    installed = bench.workspace.served_key()
    _learn(bench, LAST)
    bench.idle()
    panel, project = bench.learn.panel, bench.workspace.project
    learnt = bench.learn.outcome.record

    panel.serve_button.click()
    bench.idle()
    served = (bench.workspace.served_key(), project.models.served().id, panel.serve_button.isEnabled())
    panel.models.rollBackRequested.emit()
    bench.idle()
    rolled_back = (bench.workspace.served_key(), project.models.served(), panel.models._roll_back.isEnabled())
    panel.serve_button.click()
    bench.idle()
    panel.discard_button.click()
    bench.idle()

    assert served == (learnt.sha256, learnt.id, False)
    assert rolled_back == (installed, None, False)
    assert bench.workspace.served_key() == installed
    assert project.models.all() == []
    assert [record.id for record in project.models.all(discarded=True)] == [learnt.id]
    assert panel.verdict.isHidden()


@pytest.fixture
def research(bench, tmp_path, monkeypatch):
    """Return a second installed model beside the one that was loaded first."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setattr(catalog, "WEIGHTS", folder)
    told = {"name": "research", "licence": "CC0-1.0", "training_data": "none"}
    return save_model(bench.workspace.predictor.model, folder / "research.safetensors", **told)


def test_the_installed_model_that_was_chosen_serves_after_a_roll_back_and_when_the_project_is_opened_again(
    bench, tmp_path, research
):
    _fill(bench, tmp_path / "p.amvlm", labelled=2, held_out=3)
    first, panel = bench.workspace.served_key(), bench.learn.panel
    panel.models.serveRequested.emit(str(research.path))
    bench.idle()
    _learn(bench, LAST)
    bench.idle()
    panel.serve_button.click()
    bench.idle()

    panel.models.rollBackRequested.emit()
    bench.idle()
    rolled_back = bench.workspace.served_key(), panel.status.value()[1]
    bench.workspace.open_project(tmp_path / "other.amvlm")
    bench.idle()
    in_another = bench.workspace.served_key()
    bench.workspace.open_project(tmp_path / "p.amvlm")
    bench.idle()

    assert rolled_back == (research.sha256, "Rolled back: research serves again.")
    assert in_another == first
    assert bench.workspace.served_key() == research.sha256


def test_the_first_project_begins_with_the_installed_model_that_was_chosen_before(bench, tmp_path, research):
    bench.learn.panel.models.serveRequested.emit(str(research.path))
    bench.idle()

    bench.workspace.open_project(tmp_path / "p.amvlm")
    bench.idle()

    assert bench.workspace.served_key() == research.sha256
    assert bench.workspace.project.models.installed() == research.sha256


@pytest.mark.parametrize("kind", ["learnt", "installed"])
def test_a_model_that_cannot_be_loaded_serves_neither_in_the_window_nor_in_the_project(bench, tmp_path, kind):
    _fill(bench, tmp_path / "p.amvlm", labelled=2, held_out=3)
    installed = bench.workspace.served_key()
    _learn(bench, LAST)
    bench.idle()
    panel, models, record = bench.learn.panel, bench.workspace.project.models, bench.learn.outcome.record
    if kind == "learnt":
        save_model(bench.workspace.predictor.model, record.path, name="other", licence="CC0-1.0", training_data="none")
        panel.serve_button.click()
    else:
        panel.serve_button.click()
        bench.idle()
        bench.workspace.base = replace(bench.workspace.base, path=tmp_path / "gone.safetensors")
        panel.models.rollBackRequested.emit()
    bench.idle()

    level, said = panel.status.value()
    assert (level, "was changed" in said, "gone.safetensors" in said) == ("error", kind == "learnt", kind != "learnt")
    assert bench.workspace.served_key() == (installed if kind == "learnt" else record.sha256)
    assert models.served() == (None if kind == "learnt" else record)


def test_the_last_run_is_shown_in_a_new_dock_and_when_its_project_is_opened_again(bench, tmp_path):
    _fill(bench, tmp_path / "p.amvlm", labelled=2, held_out=3)
    _learn(bench, LAST)
    bench.idle()
    shown = bench.learn.panel.scores.value()

    again = LearnDock(bench.viewer, bench.workspace)
    bench.viewer.window.add_dock_widget(again, name="Learn")
    bench.idle()
    in_new_dock = again.panel.scores.value(), again.judging.judged() == bench.learn.judging.judged()
    bench.workspace.open_project(tmp_path / "other.amvlm")
    bench.idle()
    in_between = bench.learn.panel.scores.value()
    bench.workspace.open_project(tmp_path / "p.amvlm")
    bench.idle()

    assert in_new_dock == (shown, True)
    assert in_between == []
    assert bench.learn.panel.scores.value() == shown


def _accept_another(bench, seed):
    pixels = np.random.default_rng(seed).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    bench.viewer.add_image(pixels, name=f"more {seed}")
    bench.run("nuclei")
    bench.annotate.accept()
    bench.idle()


def test_learning_while_annotating_is_off_until_ticked(bench, tmp_path):
    _fill(bench, tmp_path / "p.amvlm", labelled=2, held_out=0)
    bench.learn.make_run = _with_config(SHORT)
    off = bench.learn.panel.auto.value()

    _accept_another(bench, 1)

    assert not off.on
    assert bench.workspace.project.runs.all() == []


def test_learning_while_annotating_starts_after_so_many_accepted_images(bench, tmp_path):
    _fill(bench, tmp_path / "p.amvlm", labelled=2, held_out=0)
    bench.learn.make_run = _with_config(SHORT)
    bench.learn.panel.auto.setValue(AutoLearn(on=True, after=2))

    runs = []
    for seed in (11, 12, 13):  # none of them is an image that the project has
        _accept_another(bench, seed)
        runs.append(len(bench.workspace.project.runs.all()))

    assert runs == [0, 1, 1]
    assert bench.workspace.project.runs.all()[0].state == "finished"


def test_budget_reaches_the_run(bench, tmp_path):
    _fill(bench, tmp_path / "p.amvlm", labelled=2, held_out=0)
    seen = []

    def make(project, predictor, config, **options):
        seen.append(config)
        return LearningRun(project, predictor, SHORT, **options)

    bench.learn.make_run = make
    bench.learn.panel.budget.setValue(Budget("auto", 2.5))
    bench.learn.panel.start_button.click()
    bench.idle()

    assert [config.minutes for config in seen] == [2.5]


def test_another_project_waits_until_the_run_has_ended(bench, tmp_path):
    _fill(bench, tmp_path / "p.amvlm", labelled=2, held_out=0)
    Project.create(tmp_path / "other.amvlm").close()
    _learn(bench, LONG)
    _first_step(bench)

    bench.workspace.open_project(tmp_path / "other.amvlm")
    bench.learn.panel.stop_button.click()
    bench.idle()

    project = bench.workspace.project
    assert project.root.name == "p.amvlm"
    assert [run.state for run in project.runs.all()] == ["stopped"]
    assert len(project.models.all()) == 1


def test_nothing_is_learnt_from_a_project_while_another_is_being_opened(bench, tmp_path):
    _fill(bench, tmp_path / "p.amvlm", labelled=2, held_out=0)
    bench.workspace.open_project(tmp_path / "other.amvlm")

    _learn(bench)
    said = bench.learn.panel.status.value()
    bench.idle()

    assert said == ("info", "Opening other ...")
    assert bench.learn.panel.status.value()[0] != "error"
    assert bench.learn.panel.start_button.isEnabled()


def test_a_question_about_a_model_ends_with_its_project(bench, tmp_path):
    _fill(bench, tmp_path / "p.amvlm", labelled=2, held_out=0)
    _learn(bench)
    bench.idle()
    asked = bench.learn.panel.question.text()

    _fill(bench, tmp_path / "other.amvlm", labelled=1, held_out=0)

    assert asked
    assert bench.learn.panel.question.text() == ""
    assert bench.learn.outcome is None
