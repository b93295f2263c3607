"""The program that is killed: it forks a child for each request, so that only the first one pays for the imports.

A request is one line of JSON, `{"work": "accept", "root": .., "out": .., "seed": ..}`; the child works for ever and
says in a line what is done and on the disk.  `answer` is shared with the test, which has to know what was accepted.
"""

import hashlib
import itertools
import json
import os
import sys
import traceback
from pathlib import Path

import numpy as np

from napari_amvlm.exports import export_coco, export_geojson, export_labels
from napari_amvlm.project import Answer, Project

SHAPE = (40, 50)
EXPORTED = {"coco": "masks.json", "geojson": "geojson/image-0.geojson", "labels": "labels/images.csv"}
"""What must be there, and whole, once a kind of export is said to be done."""


def answer(seed):
    """Return what is accepted for a seed: blocks of pixels that no other seed has."""
    chance = np.random.default_rng(seed)
    parts = {part: chance.random((10, 10)) > 0.5 for part in ("mask", "before", "reviewed")}
    parts["objects"] = parts["mask"] * chance.integers(1, 300, (10, 10))
    return {part: np.kron(values, np.ones((4, 5), values.dtype)) for part, values in parts.items()}


def fingerprint(weights):
    """Return a hash of weights in the half precision in which they are kept."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        if not name.startswith("text_encoder."):
            digest.update(name.encode() + weights[name].half().numpy().tobytes())
    return digest.hexdigest()


def say(*words):
    """Write one line at once: a kill cannot cut it."""
    os.write(sys.stdout.fileno(), (" ".join(map(str, words)) + "\n").encode())


def accept(project, seed):
    """Accept a mask, keep a draft of it, and accept it once more to undo that."""
    correction = project.corrections.accept(1, f"prompt {seed % 3}", Answer(**answer(seed), threshold=0.5))
    say("accepted", correction.id, seed)
    project.drafts.keep(2, "draft", Answer(**answer(seed), seconds_spent=seed))
    say("drafted", seed)
    turned = project.corrections.accept(3, "turned", Answer(**answer(seed)))
    say("accepted", turned.id, seed)
    while project.corrections.undo_steps(3, "turned")[0]:
        project.corrections.undo(3, "turned")
    say("undone", turned.id)


class Learner:
    """Fine-tunes a tiny model on the corrections of a project, as the docks do."""

    def __init__(self, model_file):
        import torch

        from napari_amvlm.models.checkpoint import load_model

        torch.set_num_threads(1)
        self.model, self.info = load_model(model_file)

    def learn(self, project, seed):
        """Make one run of two steps, keep its model, and serve it."""
        from napari_amvlm.config import LearningConfig
        from napari_amvlm.session import keep_model, learning_data, start_run

        config = LearningConfig(
            minutes=None, steps=2, seed=seed, crop=64, labelled_batch=1, unlabelled_batch=1, validations=1, keep="last"
        )
        data = learning_data(project, predictor_scales=lambda *_: "tiles")
        run = start_run(project, config, self.info, data)
        say("begun", run.id, seed)
        result = self._finish(data, config)
        record = keep_model(project, result, self.info, data.prompts, run)
        say("kept", run.id, record.id, fingerprint(result.model.state_dict()))
        project.models.serve(record.id)
        say("served", record.id)

    def _finish(self, data, config):
        from napari_amvlm.generators import drain
        from napari_amvlm.learning import fine_tune

        return drain(fine_tune(self.model, data, config), lambda report: None)


def export(project, out):
    """Write every kind of export, and yield the name of each that is done."""
    export_coco(project, out / "masks.json")
    yield "coco"
    export_geojson(project, out / "geojson")
    yield "geojson"
    export_labels(project, out / "labels", "tiff", objects=True)
    yield "labels"


def work_for_ever(request, learner, rounds):
    """Do what a request says, again and again."""
    work, seed = request["work"], int(request["seed"])
    with Project.open(request["root"], read_only=work == "export") as project:
        for number in rounds:
            if work == "accept":
                accept(project, seed + number)
            elif work == "learn" and learner is not None:
                learner.learn(project, seed + number)
            else:
                for kind in export(project, Path(request["out"])):
                    say("exported", kind)


def main(model_file, rehearsal):
    """Load what is needed, do all work once in the project `rehearsal`, then fork for each line on standard input."""
    learner = Learner(Path(model_file))
    for work in ("accept", "learn", "export"):
        request = {"work": work, "root": rehearsal, "seed": 0, "out": f"{rehearsal}-out"}
        work_for_ever(request, learner, iter((0,)))
    say("ready")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                work_for_ever(json.loads(line), learner, itertools.count())
            finally:  # only a failure leads here, and no child may come back to this loop
                traceback.print_exc()
                os._exit(1)
        say("child", child)
        _, status = os.waitpid(child, 0)
        say("died", os.WTERMSIG(status) if os.WIFSIGNALED(status) else -1)


if __name__ == "__main__":
    main(*sys.argv[1:])
