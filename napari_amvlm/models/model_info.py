"""What a model file says of itself; read from its header alone, without torch."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_amvlm.config import ModelConfig
from napari_amvlm.errors import ModelFileError, printable
from napari_amvlm.files import sha256_of_file

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = "napari-amvlm/2"
_LARGEST_HEADER = 4 << 20
_LARGEST_FILE = 8 << 30


@dataclass(frozen=True)
class ModelInfo:
    """Name, origin and scores of a model file.

    Attributes
    ----------
    name, version, licence, training_data, created
        As the maker stated them; `created` is an ISO 8601 date.
    parent
        sha256 of the model that this one was fine-tuned from, if any.
    parent_title
        Name and version of that model; empty where an earlier version of the program wrote the file.
    scores
        Figures that the maker measured, by name.
    """

    name: str
    version: str
    licence: str
    training_data: str
    created: str
    parent: str | None
    scores: dict[str, float]
    config: ModelConfig
    path: Path
    bytes: int
    sha256: str
    parent_title: str = ""

    @property
    def title(self) -> str:
        """Name and version, for instance "amvlm-open 0.5.0"."""
        return f"{self.name} {self.version}"

    @property
    def prompts(self) -> tuple[str, ...]:
        """Names of the concepts that the model was taught."""
        return tuple(concept.name for concept in self.config.concepts)


def read_info(path: Path) -> ModelInfo:
    """Read the header of a model file.

    Raises
    ------
    ModelFileError
        The file is missing, damaged, or was not written by napari-amvlm.
    """
    metadata = _metadata(path)
    written = metadata.get("format", "")
    if written != FORMAT and written.startswith("napari-amvlm/"):
        raise ModelFileError(
            f"{path} was written by another version of napari-amvlm (format {printable(written)[:40]!r}, this one "
            f"reads {FORMAT!r}); choose an installed model and fine-tune it anew."
        )
    if written != FORMAT:
        raise ModelFileError(
            f"{path} is not a napari-amvlm model (its header has no format {FORMAT!r}); choose another file."
        )
    try:
        scores = {str(k): float(v) for k, v in json.loads(metadata["scores"]).items()}
        digest = sha256_of_file(path)
        return ModelInfo(
            name=metadata["name"],
            version=metadata["version"],
            licence=metadata["licence"],
            training_data=metadata["training_data"],
            created=metadata["created"],
            parent=metadata.get("parent"),
            scores=scores,
            config=ModelConfig.model_validate_json(metadata["config"]),
            path=path,
            bytes=path.stat().st_size,
            sha256=digest,
            parent_title=metadata.get("parent_title", ""),
        )
    except (KeyError, ValueError, OverflowError, AttributeError, TypeError, RecursionError) as error:
        reason = printable(str(error))[:200]
        raise ModelFileError(
            f"{path} is damaged: its header cannot be understood ({reason}); fetch the file again."
        ) from error


def _metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file; every length is checked before it is believed."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if not 2 <= length <= min(_LARGEST_HEADER, size - 8) or size > _LARGEST_FILE:
                raise ModelFileError(
                    f"{path} is not a model file, or it was cut short ({size} bytes); fetch the file again."
                )
            header = json.loads(file.read(length))
    except OSError as error:
        raise ModelFileError(
            f"Model file {path} cannot be read ({error.strerror or error}); check the path."
        ) from error
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} is damaged: its header is not valid; fetch the file again.") from error
    metadata = header.get("__metadata__", {}) if isinstance(header, dict) else {}
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ModelFileError(f"{path} is damaged: its metadata is not valid; fetch the file again.")
    return metadata
