"""What the text does: scores with right and wrong words, and presence."""

import numpy as np
import pytest

from napari_amvlm.errors import InputError
from napari_amvlm.predictor import Predictor
from training.benchmarks.text_contribution import Scored, contribution, extra_images, held_out_images, main
from training.pretraining.scoring import roc_auc


def test_area_under_the_curve_counts_pairs():
    assert roc_auc([0.9, 0.8], [0.1, 0.2]) == 1
    assert roc_auc([0.1], [0.9]) == 0
    assert roc_auc([0.5, 0.7], [0.5, 0.6]) == pytest.approx(0.625)


def test_every_concept_is_asked_in_three_ways(tiny_model):
    image = np.random.default_rng(0).random((64, 64, 3), np.float32)
    mask = np.zeros((64, 64), np.bool_)
    mask[:32] = True

    report = contribution(
        Predictor(tiny_model), iter([Scored(image, {"left lung": mask, "right lung": ~mask}, "xray")])
    )

    assert report["n"] == {"left lung": 1, "right lung": 1}
    assert all(set(row) == {"right", "shuffled", "none"} for row in report["dice"].values())
    # Both concepts together fill the image, so what is right of one is wrong of the other.
    left, right = report["dice"]["left lung"], report["dice"]["right lung"]
    assert left["right"] == pytest.approx(_against(tiny_model, image, "left lung", mask), abs=1e-4)
    assert right["shuffled"] == pytest.approx(_against(tiny_model, image, "left lung", ~mask), abs=1e-4)
    assert 0 <= report["presence_auc"] <= 1


@pytest.mark.parametrize("extra", ["folder:nuclei", "folder:nuclei:slide", "folder:car:tissue"])
def test_an_extra_folder_without_its_prompt_and_kind_is_refused(tmp_path, extra):
    with pytest.raises(InputError, match=r"must look like FOLDER:PROMPT:KIND"):
        main(tmp_path, extra=[extra])


def _against(model, image, prompt, mask):
    predictor = Predictor(model)
    predictor.set_image(image)
    found = predictor.predict(prompt).mask()
    return float(2 * (found & mask).sum() / (found.sum() + mask.sum()))


def test_held_out_images_come_at_their_own_size_with_their_concepts(shared_data):
    for index in range(60):  # more names, so that some are held out
        for folder in ("img", "labelcol"):
            source = shared_data / "CXR-Lungs" / folder
            (source / f"more{index}.png").write_bytes((source / "image0.png").read_bytes())
    images = [i for i in held_out_images(shared_data) if i.kind == "xray"]

    assert len(images) > 2
    assert all(i.image.shape == (90, 100, 3) for i in images)
    assert set(images[0].masks) == {"lungs", "left lung", "right lung"}
    extra = list(extra_images(shared_data / "TNBC", "nuclei", "tissue"))
    assert len(extra) == 4
    assert extra[0].masks["nuclei"].sum() == 40 * 25 * 2
