"""From a folder or the hub to a text-prompted model: what is wrong with the files is said before anything is used."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_amvlm.errors import ModelFileError, printable
from napari_amvlm.models.text_prompted.adapters import Adapter, ClipSeg, Look, Sam3

if TYPE_CHECKING:
    import torch

    from napari_amvlm.models.text_prompted.protocol import TextPrompted

HUB = "hub:"
"""What a source begins with that is fetched: hub:OWNER/NAME."""

_KINDS: dict[str, type[Adapter]] = {"clipseg": ClipSeg, "sam3": Sam3, "sam3_video": Sam3}
_FILES = ["*.json", "*.safetensors", "*.txt", "README.md", "LICENSE*"]
_TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"))
_LARGEST_TEXT = 4 << 20


def load_text_model(given: str | Path, *, device: torch.device | None = None, fetch: bool = True) -> TextPrompted:
    """Load CLIPSeg or SAM 3 in the layout of `transformers`.

    Parameters
    ----------
    given
        A folder with config.json, model.safetensors and the tokenizer's files, or "hub:OWNER/NAME".
    device
        Where it computes; None means the processor.
    fetch
        Whether a model of the hub may be downloaded; if not, it must be on this computer already.

    Raises
    ------
    ModelFileError
        It is missing, damaged, incomplete, of another kind, or cannot be fetched.
    """
    text = str(given)
    folder = _fetched(text.removeprefix(HUB), fetch=fetch) if text.startswith(HUB) else Path(text).expanduser()
    adapter = _checked(folder, text)
    network, tokenizer = _load(folder, text, adapter)
    look = _look(folder, text, adapter.usual)
    if adapter is Sam3:  # it takes images of its own size alone
        look = replace(look, side=int(network.config.vision_config.image_size))
    whole = folder.resolve()
    name, source = (text.removeprefix(HUB), text) if text.startswith(HUB) else (whole.name, str(whole))
    return adapter(
        network.to(device or "cpu"), tokenizer, look, name=name, source=source, licence=printable(_licence(folder))
    )


def _fetched(repository: str, *, fetch: bool) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, allow_patterns=_FILES, local_files_only=not fetch))
    except (OSError, ValueError, RuntimeError) as error:
        advice = "connect to the network and accept its terms there" if fetch else "choose it again to fetch it"
        raise ModelFileError(
            f"The text model {printable(repository)!r} is not on this computer and was not fetched from the hub "
            f"({type(error).__name__}); {advice}, or give a folder that holds it."
        ) from error


def _checked(folder: Path, source: str) -> type[Adapter]:
    """Return the adapter for a folder that has every file it needs."""
    if not folder.is_dir():
        raise ModelFileError(
            f"There is no folder {source} with a text model; check the path, or give {HUB}OWNER/NAME to fetch one."
        )
    config = _read_json(folder / "config.json")
    if config is None:
        raise ModelFileError(f"{source} has no config.json, so it is no text model; give the folder that has it.")
    kind = config.get("model_type")
    adapter = _KINDS.get(kind) if isinstance(kind, str) else None
    if adapter is None:
        raise ModelFileError(
            f"{source} is a model of the kind {printable(str(kind))[:40]!r}, but a text model is one of "
            f"{', '.join(_KINDS)}; choose another folder."
        )
    if not any((folder / name).is_file() for name in ("model.safetensors", "model.safetensors.index.json")):
        raise ModelFileError(
            f"{source} has no model.safetensors, and weights of another format could run code and are never opened; "
            "fetch the model in safetensors."
        )
    if not any(all((folder / name).is_file() for name in names) for names in _TOKENIZERS):
        raise ModelFileError(
            f"{source} has no tokenizer (tokenizer.json, or vocab.json and merges.txt); fetch the whole folder."
        )
    return adapter


def _load(folder: Path, source: str, adapter: type[Adapter]) -> tuple[Any, Any]:
    """Return network and tokenizer; weights that are missing are not made up."""
    import transformers
    from safetensors import SafetensorError
    from transformers.utils import logging

    bar, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        own = {"local_files_only": True, "trust_remote_code": False}
        network, told = getattr(transformers, adapter.architecture).from_pretrained(
            folder, use_safetensors=True, output_loading_info=True, **own
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **own)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        reason = printable(" ".join(str(error).split()))[:160]
        raise ModelFileError(
            f"The text model {source} cannot be loaded ({reason or type(error).__name__}); fetch its folder again."
        ) from error
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
    lacking = sorted(map(str, (*told["missing_keys"], *told["mismatched_keys"])))
    if lacking:
        raise ModelFileError(
            f"The weights of {source} do not fit its config.json ({len(lacking)} are missing or of another shape, for "
            f"instance {printable(lacking[0])[:80]}); fetch its folder again."
        )
    return network.eval().requires_grad_(requires_grad=False), tokenizer


def _look(folder: Path, source: str, usual: Look) -> Look:
    """Return how images are prepared: as preprocessor_config.json says, where it is there."""
    said = _read_json(folder / "preprocessor_config.json") or {}
    size: Any = said.get("size", usual.side)
    try:
        side = int(size.get("height") or size.get("shortest_edge") or usual.side if isinstance(size, dict) else size)
        look = Look(side, *(_three(said.get(f"image_{of}", getattr(usual, of))) for of in ("mean", "std")))
    except (TypeError, ValueError, AttributeError) as error:
        raise ModelFileError(
            f"{source}: its preprocessor_config.json cannot be understood ({error}); fetch its folder again."
        ) from error
    if not 16 <= look.side <= 4096 or min(look.std) <= 0:
        raise ModelFileError(f"{source}: its preprocessor_config.json has an impossible size; fetch its folder again.")
    return look


def _three(values: Any) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third


def _licence(folder: Path) -> str:
    """Return what the model card's header says, else the first line of a licence file, else "not stated"."""
    card = _read_text(folder / "README.md")
    header = re.match(r"---\s*\n(.*?)\n---", card, re.DOTALL)
    found: dict[str, str] = (
        dict(re.findall(r"^(license(?:_name)?):[ \t]*[\"']?([^\n\"']+)", header[1], re.MULTILINE)) if header else {}
    )
    if found:
        return (found.get("license_name") or found.get("license", "")).strip()
    for path in sorted(folder.glob("LICENSE*")):
        lines = [line.strip() for line in _read_text(path).splitlines() if line.strip()]
        if lines:
            return lines[0][:80]
    return "not stated"


def _read_text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(_LARGEST_TEXT)
    except OSError:
        return ""


def _read_json(path: Path) -> dict[str, Any] | None:
    """Return what a JSON file holds; None where there is none."""
    if not path.is_file():
        return None
    try:
        found = json.loads(_read_text(path))
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} is damaged: it is not valid JSON; fetch it again.") from error
    if not isinstance(found, dict):
        raise ModelFileError(f"{path} is damaged: it holds no configuration; fetch it again.")
    return found
