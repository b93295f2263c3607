"""A text encoder of any size, without its published weights."""

import pytest


@pytest.fixture
def random_text_encoder(text_encoder):
    """Return what builds an encoder of the configured size with random weights and the word pieces of the real one."""
    from transformers import BertConfig, BertModel

    from napari_amvlm.models.text_encoder import TextEncoder

    def build(config):
        sizes = BertConfig(
            vocab_size=len(text_encoder._tokenizer),
            hidden_size=config.width,
            num_hidden_layers=config.layers or 12,
            num_attention_heads=max(1, config.width // 64),
            intermediate_size=4 * config.width,
        )
        return TextEncoder(BertModel(sizes, add_pooling_layer=False), text_encoder._tokenizer, config)

    return build
