import numpy as np
import torch

from napari_amvlm.imaging.turning import turned, turned_back
from napari_amvlm.models.checkpoint import load_model, save_model
from napari_amvlm.models.inference import is_countable
from napari_amvlm.predictor import Predictor


def _image():
    return np.random.default_rng(0).integers(0, 255, (90, 100, 3), dtype=np.uint8)


def test_the_head_lies_in_the_file_of_the_weights(counting_model, tmp_path, text_encoder):
    path = tmp_path / "counting.safetensors"
    save_model(counting_model, path, name="counting", licence="CC0-1.0", training_data="none: random weights")

    loaded, _ = load_model(path, text_encoder=text_encoder)

    depths = []
    for model in (counting_model, loaded):
        predictor = Predictor(model, device="cpu")
        predictor.set_image(_image())
        depths.append(predictor.predict("nuclei").depth)
    assert loaded.config == counting_model.config
    np.testing.assert_allclose(*depths, atol=2e-2)


def test_weights_without_a_head_answer_as_before(tiny_model, counting_model):
    shared = {k: v for k, v in counting_model.state_dict().items() if not k.startswith("objects.")}
    tiny_model.load_state_dict(shared)
    predictions = []
    for model in (tiny_model, counting_model):
        predictor = Predictor(model, device="cpu")
        predictor.set_image(_image())
        predictions.append(predictor.predict("nuclei"))

    assert predictions[0].depth is None
    np.testing.assert_allclose(predictions[0].probability, predictions[1].probability, atol=1e-6)


def test_only_words_whose_objects_it_knows_get_a_depth(counting_model):
    predictor = Predictor(counting_model, device="cpu")
    predictor.set_image(_image())

    depth = predictor.predict("cell nuclei").depth

    assert depth is not None
    assert depth.shape == (90, 100)
    assert 0 <= depth.min() <= depth.max() <= 1
    assert predictor.predict("left lung").depth is None
    assert [is_countable(counting_model, p) for p in ("Nuclei", "nuclei in histology", "left lung", "moons")] == [
        *(True, True, False, False)
    ]


def test_views_turn_the_depth_back(counting_model):
    one, four = (Predictor(counting_model, device="cpu", views=n) for n in (1, 4))
    image, depths = _image()[:80, :80], []
    for view in range(4):
        one.set_image(turned(image, view))
        depths.append(turned_back(one.predict("nuclei").depth, view))
    four.set_image(image)

    mean = four.predict("nuclei").depth

    np.testing.assert_allclose(mean, np.mean(depths, axis=0), atol=1e-5)
    assert np.abs(depths[0] - depths[1]).max() > 1e-3


def test_large_images_are_blended_without_seams(counting_model):
    with torch.no_grad():
        for parameter in counting_model.objects.parameters():
            parameter.zero_()
        counting_model.objects.out.bias.fill_(1.0)
    predictor = Predictor(counting_model, device="cpu")
    predictor.set_image(np.tile(_image(), (3, 3, 1)))

    depth = predictor.predict("nuclei").depth

    np.testing.assert_allclose(depth, 1 / (1 + np.exp(-1.0)), atol=2e-3)
