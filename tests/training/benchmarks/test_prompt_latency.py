"""The latency benchmark's own parts; the times themselves are looked at by hand."""

import json

import numpy as np
import pytest

from training.benchmarks.prompt_latency import main, square_sample


@pytest.mark.parametrize("shape", [(256, 320, 3), (512, 512), (900, 640)])
def test_the_image_is_512_square(shape):
    image = np.arange(np.prod(shape)).reshape(shape)

    square = square_sample(image)

    assert square.shape == (512, 512, *shape[2:])
    rows, columns = min(512, shape[0]), min(512, shape[1])
    assert np.array_equal(square[:rows, :columns], image[:rows, :columns])


def test_one_object_with_every_figure(tiny_checkpoint, capsys):
    main(model=str(tiny_checkpoint), repeats=1, skip_sam=True, device="cpu")

    report = json.loads(capsys.readouterr().out)
    assert report["shape"][:2] == [512, 512]
    names = ("loading", "very_first_prompt", "first_prompt", "second_prompt", "first_prompt_whole")
    assert all(report[name] > 0 for name in names)
    assert "sam_vit_b_first" not in report
