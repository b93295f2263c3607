"""Another text model, chosen in the Learn tab, answers for words that ours was not taught."""

from qtpy.QtCore import QSettings

from napari_amvlm._qt.settings import read_text_model


def test_it_draws_what_was_not_taught_says_its_licence_and_is_remembered(bench, text_models):
    row, folder = bench.learn.panel.text_model, text_models["clipseg"]
    bench.run("stroma")
    assert not bench.annotate.annotation().is_drawn("stroma")

    row.picked.emit(str(folder))
    bench.idle()
    bench.run("stroma")

    annotation = bench.annotate.annotation()
    assert row.value() == "tiny-clipseg, licence: apache-2.0"
    assert read_text_model() == str(folder)
    assert annotation.is_drawn("stroma")
    assert annotation.results["stroma"].prediction.by == "tiny-clipseg"
    assert "by tiny-clipseg" in bench.annotate.panel.chosen.text()
    row.picked.emit("")
    bench.idle()
    bench.run("stroma")
    assert not bench.annotate.annotation().is_drawn("stroma")
    assert read_text_model() == ""


def test_a_wrong_folder_is_named_and_the_model_before_stays(bench, text_models, tmp_path):
    row = bench.learn.panel.text_model
    row.picked.emit(str(text_models["sam3"]))
    bench.idle()
    said = []
    bench.workspace.said.connect(lambda level, text: said.append((level, text)))

    row.picked.emit(str(tmp_path))
    bench.idle()

    assert [level for level, _ in said] == ["error"]
    assert "has no config.json, so it is no text model" in said[0][1]
    assert row.value().startswith("tiny-sam3")
    assert read_text_model() == str(text_models["sam3"])


def test_a_model_that_is_gone_when_the_window_opens_is_said_and_ours_serves(make_bench, tmp_path):
    settings = QSettings(QSettings.Format.IniFormat, QSettings.Scope.UserScope, "napari-amvlm", "napari-amvlm")
    settings.setValue("text_model", str(tmp_path / "gone"))
    settings.sync()

    bench = make_bench()

    assert bench.workspace.predictor.text_model is None
    bench.run("nuclei")
    assert bench.annotate.annotation().is_drawn("nuclei")
