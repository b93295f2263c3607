"""Text-prompted models of other makers, for words that ours was not taught."""

from napari_amvlm.models.text_prompted.loading import HUB, load_text_model
from napari_amvlm.models.text_prompted.protocol import TextPrompted, answering, probability_of

__all__ = ["HUB", "TextPrompted", "answering", "load_text_model", "probability_of"]
