"""The real sentence encoder: what it tells apart, and what it refuses."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from napari_amvlm.config import TextEncoderConfig
from napari_amvlm.errors import PromptError, TextEncoderError
from napari_amvlm.models.text_encoder import check_hash, load_text_encoder


def test_like_prompts_are_nearer_than_unlike_ones(text_encoder):
    nuclei, cell_nuclei, lung = text_encoder.sentence(["nuclei", "cell nuclei", "infected lung area"])

    assert float(nuclei @ cell_nuclei) > 0.6 > float(nuclei @ lung)


def test_a_prompt_means_the_same_in_any_company(text_encoder):
    alone = text_encoder.sentence(["nuclei"])[0]
    text_encoder._cache.clear()
    among = text_encoder.sentence(["the patient's left lung in a chest X-ray", "nuclei"])[1]

    # The last digits depend on where memory lies: on some processors products are computed in another order then.
    torch.testing.assert_close(alone, among, rtol=0, atol=1e-6)


def test_a_prompt_means_the_same_in_any_number_format(text_encoder):
    plain = text_encoder.sentence(["purple nuclei"])
    text_encoder._cache.clear()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = text_encoder.sentence(["purple nuclei"])

    assert inside.dtype == torch.float32
    assert torch.equal(plain, inside)


def test_threads_may_ask_while_prompts_are_forgotten(text_encoder, monkeypatch):
    monkeypatch.setattr(text_encoder._cache, "_limit", 1)
    prompts = ["nuclei", "left lung", "spinal canal"]
    expected = text_encoder.sentence(prompts)

    def ask(_):
        return torch.equal(text_encoder.sentence(prompts), expected)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, range(8)))

    assert answers == [True] * 8


def test_spaces_do_not_matter(text_encoder):
    plain, spaced = text_encoder.sentence(["left lung", "  left \n lung "])

    assert torch.equal(plain, spaced)


def test_embeddings_are_unit_vectors_and_padding_is_marked(text_encoder):
    out = text_encoder(["nuclei", "the patient's left lung"])

    assert torch.allclose(out.sentence.norm(dim=1), torch.ones(2), atol=1e-5)
    assert out.words.shape[:2] == out.padding.shape
    assert bool(out.padding[0].any())
    assert not bool(out.padding[1].any())


@pytest.mark.parametrize("prompt", ["", "   ", "\n"])
def test_an_empty_prompt_is_refused(text_encoder, prompt):
    with pytest.raises(PromptError, match="empty"):
        text_encoder.sentence([prompt])


def test_a_prompt_is_never_cut(text_encoder):
    with pytest.raises(PromptError, match="shorten"):
        text_encoder.sentence(["nuclei " * 400])


def test_words_from_the_cache_are_those_that_were_read(text_encoder):
    prompts = ["nuclei", "the left lung of the patient", "nuclei"]
    cached = text_encoder.words(prompts)

    assert cached.words.shape[:2] == cached.padding.shape
    assert torch.equal(cached.sentence, text_encoder.sentence(prompts))
    for row, prompt in enumerate(prompts):
        alone = text_encoder([prompt])
        kept = cached.words[row][~cached.padding[row]]
        assert torch.allclose(kept, alone.words[0], atol=1e-5)


def test_a_trainable_encoder_learns_in_training_mode_and_forgets_what_it_read(random_text_encoder):
    config = TextEncoderConfig(width=64, layers=1, trainable=True, pooling="cls", sha256=None)
    encoder = random_text_encoder(config)
    before = encoder.sentence(["nuclei"])
    encoder.train()

    assert encoder.sentence(["nuclei"]).requires_grad
    with torch.no_grad():
        for p in encoder.bert.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    encoder.eval()
    assert not encoder.sentence(["nuclei"]).requires_grad
    assert not torch.allclose(before, encoder.sentence(["nuclei"]), atol=1e-3)
    assert torch.equal(encoder.copied().sentence(["nuclei"]), encoder.sentence(["nuclei"]))


def test_it_stays_frozen_in_eval_mode(text_encoder):
    text_encoder.train()

    assert not text_encoder.training
    assert not any(p.requires_grad for p in text_encoder.parameters())


def test_other_weights_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"something else")

    with pytest.raises(TextEncoderError, match="sha256"):
        check_hash(path, TextEncoderConfig().sha256)


def test_the_published_hash_is_checked_on_loading():
    with pytest.raises(TextEncoderError, match="expected 000000"):
        load_text_encoder(TextEncoderConfig(sha256="0" * 64))


def test_another_encoder_that_cannot_be_had_asks_for_a_folder_of_it():
    with pytest.raises(TextEncoderError, match=r"'no such encoder' is neither .* or set `repository` to a folder"):
        load_text_encoder(TextEncoderConfig(repository="no such encoder"))
