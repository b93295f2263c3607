"""What is kept of a grid when its folder is gone: a small JSON file that makes tables and lets the grid go on."""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_amvlm.errors import InputError
from napari_amvlm.files import write_text
from training.runs.folder import CONFIG, DATA, SCORES, RunFolder
from training.runs.grid import GRID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from training.runs.grid import RowGrid

ALIGNED = "alignment.json"
"""File beside the scores of a short pretraining run: what it has aligned."""

_HASHES = "sha256"


def keep(root: Path, path: Path) -> int:
    """Write the settings, splits and scores of all finished runs below a folder, and return how many there are.

    Weights, logs, pictures and the hashes of the images are left out, and so are runs whose weights others start from.
    Of a short pretraining run what it has aligned is written, and not its split, which is that of its sets.

    Raises
    ------
    InputError
        The folder holds no finished run.
    """
    files: dict[str, dict[str, Any]] = {}
    folders = sorted(scores.parent for scores in root.rglob(SCORES) if _is_row(scores.parent, root))
    if not folders:
        raise InputError(f"{root} holds no finished run (a folder with {SCORES}); finish one first.")
    for folder, names in [(root, (GRID,)), *((folder, _files_of(folder)) for folder in folders)]:
        for name in names:
            content = RunFolder(folder).read(name)
            if content is not None:
                content.pop(_HASHES, None)
                kept = _relative(content, root) if name == CONFIG else _rounded(content)
                files[(folder / name).relative_to(root).as_posix()] = kept
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(content)}" for name, content in files.items())
    text = "{\n" + lines + "\n}\n"
    write_text(path, text)
    return len(folders)


def _is_row(folder: Path, root: Path) -> bool:
    """Tell whether a run is a row of a table, and not step 1 of such a row, or step 2 inside its folder."""
    around = (outer for outer in folder.parents if outer.is_relative_to(root))
    if any((outer / CONFIG).is_file() for outer in around):
        return False
    config = RunFolder(folder).read(CONFIG) or {}
    return "sources" not in config.get("recipe", {}) or (folder / ALIGNED).is_file()


def _files_of(folder: Path) -> tuple[str, ...]:
    """Return the files of a run that its tables need, and those that say whether it is the same run."""
    return CONFIG, ALIGNED if (folder / ALIGNED).is_file() else DATA, SCORES


def _relative(content: dict[str, Any], root: Path) -> dict[str, Any]:
    """Return the settings of a run; weights of the grid's own from which it started are called as they lie in there."""
    recipe = content.get("recipe", {})
    start, own = Path(recipe.get("start") or ""), root.resolve()
    if not start.is_relative_to(own):
        return content
    return content | {"recipe": recipe | {"start": start.relative_to(own).as_posix()}}


def _rounded(content: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON object with the seven decimals of each number on which a table could depend.

    A table shows four, but also a p of figures as small as the spread over paraphrases, some 0.005.
    """
    rounded: dict[str, Any] = json.loads(json.dumps(content), parse_float=lambda text: round(float(text), 7))
    return rounded


def restore(path: Path, root: Path) -> None:
    """Write the files of kept runs into a folder, but for those that are there; the runs count as finished.

    Raises
    ------
    InputError
        The file cannot be read, or holds no kept runs.
    """
    try:
        files = json.loads(path.read_text(encoding="utf-8"))
        wanted = {name: (root / name).resolve() for name in files}
        fits = all(isinstance(content, dict) for content in files.values())
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} cannot be read as kept runs ({error}); give a file of training.report --keep."
        ) from error
    if not fits or not all(target.is_relative_to(root.resolve()) for target in wanted.values()):
        raise InputError(f"{path} holds no kept runs; give a file of training.report --keep.")
    for name in sorted(files, key=lambda name: name.endswith(SCORES)):  # a run is finished when its scores are there
        if not wanted[name].is_file():
            wanted[name].parent.mkdir(parents=True, exist_ok=True)
            RunFolder(wanted[name].parent).write(wanted[name].name, files[name])


def begin_grid(grid: RowGrid[Any], out: Path, kept: Path | None) -> None:
    """Make the folder of a grid, with the names of its rows in their order, and the kept runs, if there are some."""
    out.mkdir(parents=True, exist_ok=True)
    if kept is not None:
        restore(kept, out)
    RunFolder(out).write(GRID, {"rows": [row.name for row in grid.rows]})


@contextlib.contextmanager
def as_folder(root: Path) -> Iterator[Path]:
    """Yield a folder of runs: `root` itself or, if it is a file of kept runs, one that has them until the end."""
    if not root.is_file():
        yield root
        return
    with tempfile.TemporaryDirectory() as folder:
        restore(root, Path(folder))
        yield Path(folder)
