"""Checkpoints: half-precision safetensors with the resolved configuration in the header; never unpacked as code."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from napari_amvlm.errors import ModelFileError, StorageError, printable
from napari_amvlm.files import write_atomically
from napari_amvlm.models.build import build_model
from napari_amvlm.models.model_info import FORMAT, ModelInfo, read_info
from napari_amvlm.models.text_encoder import load_text_encoder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_amvlm.config import ModelConfig
    from napari_amvlm.models.amvlm import AMVLM
    from napari_amvlm.models.text_encoder import TextEncoder

_FROZEN = "text_encoder."
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def save_model(
    model: AMVLM,
    path: Path | str,
    *,
    name: str,
    licence: str,
    training_data: str,
    version: str = "1",
    parent: str | None = None,
    parent_title: str = "",
    scores: dict[str, float] | None = None,
) -> ModelInfo:
    """Write a model; the file appears whole or not at all.

    Parameters
    ----------
    model
        What to write; a frozen text encoder is left out, its hash is in the configuration.
    path
        Where to; an existing file is replaced.
    name, licence, training_data, version, parent, parent_title, scores
        Stored in the header, see `ModelInfo`.

    Raises
    ------
    StorageError
        The disk refused the write.
    ModelFileError
        A weight is not finite in half precision, so the file could not be read again; nothing is written.
    """
    path = Path(path)
    tensors = {
        key: (value.half() if value.is_floating_point() else value).detach().cpu().contiguous()
        for key, value in model.state_dict().items()
        if _kept(key, model)
    }
    broken = next((k for k, v in tensors.items() if v.is_floating_point() and not bool(torch.isfinite(v).all())), None)
    if broken is not None:
        raise ModelFileError(
            f"Model {name} was not written to {path}, for its weights {broken} are not finite in half precision; "
            "learn anew, with a lower learning rate."
        )
    metadata = {
        "format": FORMAT,
        "name": name,
        "version": version,
        "licence": licence,
        "training_data": training_data,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "scores": json.dumps(scores or {}),
        "config": model.config.model_dump_json(),
    }
    if parent:
        metadata |= {"parent": parent, "parent_title": parent_title}
    try:
        write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata=metadata), make_folder=True)
    except SafetensorError as error:
        raise StorageError(
            f"Model file {path} could not be written ({error}); nothing was changed: free some space and try again."
        ) from error
    return read_info(path)


def load_model(
    path: Path | str, *, device: torch.device | str = "cpu", text_encoder: TextEncoder | None = None
) -> tuple[AMVLM, ModelInfo]:
    """Read a model, in eval mode.

    Parameters
    ----------
    path
        File written by `save_model`.
    text_encoder
        A loaded sentence encoder to share; None loads the configured one.

    Raises
    ------
    ModelFileError
        The file is missing, damaged, or not of this program.
    TextEncoderError
        The sentence encoder cannot be had.
    """
    path = Path(path)
    info = read_info(path)
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        raise ModelFileError(f"{path} is damaged ({printable(str(error))[:200]}); fetch the file again.") from error
    text_encoder = text_encoder or load_text_encoder(info.config.text_encoder)
    _check_weights(path, info.config, tensors, text_encoder)
    model = build_model(info.config, text_encoder=text_encoder, seed=0)
    if not all(bool(torch.isfinite(v).all()) for v in tensors.values() if v.is_floating_point()):
        raise ModelFileError(f"{path} holds weights that are not finite; choose another model.")
    model.load_state_dict(tensors, strict=False)
    return model.to(device).eval(), info


def _check_weights(
    path: Path, config: ModelConfig, tensors: Mapping[str, torch.Tensor], text_encoder: TextEncoder
) -> None:
    """Refuse weights that are not those of the configuration, before memory is taken for a model of that size."""
    try:
        with torch.device("meta"):
            sketch = build_model(config, text_encoder=text_encoder)
    except (RuntimeError, ValueError, TypeError, OverflowError) as error:
        reason = printable(str(error))[:200]
        raise ModelFileError(
            f"{path} describes a model that cannot be built ({reason}); choose another file."
        ) from error
    expected = {k: v for k, v in sketch.state_dict().items() if _kept(k, sketch)}
    wrong = [k for k, v in expected.items() if k not in tensors or not _fits(tensors[k], v)]
    surplus = [k for k in tensors if k not in expected]
    if wrong or surplus:
        first = printable((wrong + surplus)[0])[:100]
        raise ModelFileError(
            f"{path} does not hold the weights that its configuration describes (first mismatch: {first}); "
            "fetch the file again."
        )


def _fits(stored: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Tell whether a tensor of a file can become one of a model."""
    same = stored.dtype in _FLOATS if wanted.is_floating_point() else stored.dtype == wanted.dtype
    return same and stored.shape == wanted.shape


def _kept(key: str, model: AMVLM) -> bool:
    """Tell whether a tensor is in the checkpoint: all are but those of a text encoder that nothing changed."""
    return model.config.text_encoder.trainable or not key.startswith(_FROZEN)
