import subprocess
import sys

import pytest

from napari_amvlm.errors import ProjectError
from napari_amvlm.project import Answer, Project


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "elsewhere.safetensors"
    path.write_bytes(b"weights")
    return path


def test_a_model_from_elsewhere_is_copied_in(project, weights):
    record = project.models.add(weights, "parent", {"after": 0.8}, "CC BY 4.0")
    weights.unlink()

    assert record.path.read_bytes() == b"weights"
    assert record.path.is_relative_to(project.root.resolve())
    assert (record.name, record.parent, record.scores, record.licence) == (
        "elsewhere",
        "parent",
        {"after": 0.8},
        "CC BY 4.0",
    )
    assert project.models.all() == [record]


def test_two_models_of_one_name_live_side_by_side(project, weights):
    first = project.models.add(weights)
    weights.write_bytes(b"better weights")

    second = project.models.add(weights)

    assert first.path.read_bytes() == b"weights"
    assert second.path.read_bytes() == b"better weights"


def test_a_model_written_to_the_place_given_stays_there(project):
    path = project.models.new_path()
    path.write_bytes(b"weights")

    record = project.models.add(path)

    assert record.path == path
    assert project.models.new_path() != path


def test_a_missing_model_is_told(project, tmp_path):
    with pytest.raises(ProjectError, match="was not found"):
        project.models.add(tmp_path / "none.safetensors")


def test_serving_can_be_rolled_back(project, weights):
    assert project.models.served() is None
    first, second = project.models.add(weights), project.models.add(weights)
    assert project.models.served() is None

    project.models.serve(first.id)
    project.models.serve(second.id)
    project.models.serve(first.id)
    project.close()

    with Project.open(project.root) as again:
        assert again.models.served() == first
        again.models.serve(None)
        assert again.models.served() is None


def test_an_unknown_model_is_not_served(project):
    with pytest.raises(ProjectError, match="no model 3"):
        project.models.serve(3)


def test_a_run_keeps_what_it_learnt_from_and_how_it_ended(project, weights, pixels):
    image = project.images.add_array(pixels(0))
    mask = pixels(0)[..., 0] > 0
    ids = [project.corrections.accept(image.id, prompt, Answer(mask)).id for prompt in ("a", "b")]
    model = project.models.add(weights)
    run = project.runs.start({"seed": 3}, parent="abc", train=ids[:1], validate=ids[1:])

    project.runs.finish(run.id, "stopped", result={"steps": 7}, message="as asked", model_id=model.id)

    (kept,) = project.runs.all()
    assert (kept.state, kept.parent, kept.config, kept.result) == ("stopped", "abc", {"seed": 3}, {"steps": 7})
    assert (kept.message, kept.model_id, kept.ended_at is None) == ("as asked", model.id, False)
    assert project.runs.corrections(run.id) == {ids[0]: "train", ids[1]: "validate"}


def test_a_run_whose_program_died_is_interrupted(project):
    project.close()
    script = (
        "import os, signal, sys\nfrom napari_amvlm.project import Project\n"
        "Project.open(sys.argv[1]).runs.start({})\nos.kill(os.getpid(), signal.SIGTERM)"
    )
    subprocess.run([sys.executable, "-c", script, str(project.root)], check=False, timeout=60)

    with Project.open(project.root) as again:
        (run,) = again.runs.all()

    assert run.state == "interrupted"
    assert run.ended_at is not None


def test_an_unknown_run_is_told(project):
    with pytest.raises(ProjectError, match="no run 9"):
        project.runs.finish(9)
