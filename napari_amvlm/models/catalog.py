"""Which models are installed, and how a name becomes a file. Without torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_amvlm.errors import ModelFileError
from napari_amvlm.models.model_info import ModelInfo, read_info

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT = "amvlm-open"
WEIGHTS = Path(__file__).parents[1] / "weights"

FORMER = {
    "91eb55d2a5ae320c341e4c7a341287553633256f4d1155ba2348cd28f5ea07c9": "amvlm-open 0.2.0",
    "9271681b5bea4d26ced85a9eaec421619ef9893bb335dad6d69146d53d5fa69f": "amvlm-open 0.3.0",
    "44315a04703db48daa169c0c21e28eed88f3202ec79c49ed8df58b8ac656e79d": "amvlm-open 0.4.0",
    "4ce8f0e02d5241a59929f449e5d70c166d05130d0b8ec2343724e95561126356": "amvlm-open 0.5.0",
    "2c8bf5d9ba1e2f24bf4a2987d56a8cbd6fcad7129079aab00a07197443bd512b": "amvlm-open 0.5.0",
    "ca7ead5e55ab0620e8e61e480f5c1e25fd03f853ab90bfab9b2079284f4f8092": "amvlm-open 0.5.0",
    "9cf72e3d4e718334b6a7b8697332565b7c8c123e130e06eba2fe36c2642c8820": "amvlm-research 0.3.0",
    "86de1e77931ec32423c5ff1bd42f8ad84c7dcd5c7ad5f48f294ab1d241d57332": "amvlm-research 0.4.0",
}
"""Weights that were installed once: name and version by sha256. Models that were learnt from them do not say it."""


def installed_models(extra: Iterable[Path] = ()) -> list[ModelInfo]:
    """Return what the headers say of all packaged models, the default first, then of the files `extra`."""
    packaged = sorted(WEIGHTS.glob("*.safetensors"), key=lambda p: (p.stem != DEFAULT, p.stem))
    return [read_info(path) for path in [*packaged, *extra]]


def installed_model(sha256: str | None) -> ModelInfo | None:
    """Return the installed model of this hash, or the one that took its place since; None where none is."""
    if sha256 is None:
        return None
    models, title = installed_models(), FORMER.get(sha256, "")
    found = (info for info in models if info.sha256 == sha256)
    successors = (info for info in models if title.startswith(f"{info.name} "))
    return next(found, next(successors, None))


def find_model(name: str | Path | None = None) -> Path:
    """Return the file of a model.

    Parameters
    ----------
    name
        Name of a packaged model, or the path of a file; None means the default.

    Raises
    ------
    ModelFileError
        There is no such model; the message lists those that are.
    """
    wanted = str(name or DEFAULT)
    for path in (Path(wanted).expanduser(), WEIGHTS / f"{wanted}.safetensors"):
        if path.is_file():
            return path
    there = ", ".join(p.stem for p in sorted(WEIGHTS.glob("*.safetensors"))) or "none"
    raise ModelFileError(
        f"There is no model {wanted!r}; give the path of a .safetensors file or one of the installed: {there}."
    )
