"""Labels within OME-Zarr images, versions 0.4 and 0.5: one label image a prompt, with the numbers of its objects."""

from __future__ import annotations

import json
import shutil
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import DatasetError
from napari_amvlm.exports.annotated import project_prompts
from napari_amvlm.exports.scans import annotated_scans
from napari_amvlm.files import TEMPORARY, disk_errors, write_text
from napari_amvlm.imaging import is_zarr
from napari_amvlm.imaging.folder import prompt_folders
from napari_amvlm.imaging.formats.ome_zarr import ome_metadata

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_amvlm.exports.scans import AnnotatedScan, LabelMap
    from napari_amvlm.imaging import ImageData
    from napari_amvlm.project import Project

_CHUNK = 512


def export_ome_zarr(project: Project, root: Path, scans: Sequence[Path] = ()) -> list[str]:
    """Write labels beside the OME-Zarr images that accepted images are parts of: in their folder `labels/`.

    Returns notes, as `export_coco` does.

    Parameters
    ----------
    root
        An OME-Zarr image, or a folder of such images.

    Raises
    ------
    InputError
        Nothing was accepted, no image is OME-Zarr, or it has labels of that name already.
    StorageError
        The disk refused; a label image is there as a whole or not at all.
    """
    folders = prompt_folders(project_prompts(project))

    def check(image: ImageData) -> None:
        if image.path is None or not is_zarr(image.path):
            raise DatasetError(f"{image.path or image.name} is no OME-Zarr image; export its masks in another format.")
        axes = _axes(image.path)
        if axes.replace("C", "") != "".join(axis for axis in "TZYX" if axis in axes):
            raise DatasetError(f"{image.path} has its axes in the order {axes}, and T, C, Z, Y, X was expected.")
        for folder in folders.values():
            if (image.path / "labels" / folder).exists():
                raise DatasetError(
                    f"{image.path} has labels called {folder} already, and nothing was overwritten; remove or rename "
                    "them first."
                )

    notes: list[str] = []
    for scan in annotated_scans(project, [root, *scans], notes, check, single=False):
        for prompt in scan.prompts:
            _write_label(scan, prompt, folders[prompt])
    return notes


def _axes(path: Path) -> str:
    return "".join(str(axis["name"]).upper() for axis in ome_metadata(path)["multiscales"][0]["axes"])


def _write_label(scan: AnnotatedScan, prompt: str, name: str) -> None:
    """Write one label image, then list it; other programs find what is listed."""
    image = scan.image
    if image.path is None:  # an image that was read from a folder always has one
        raise ValueError("the image has no folder")
    group = image.path / "labels"
    temporary = group / f"{TEMPORARY}{uuid.uuid4().hex}"
    with disk_errors(group / name):
        try:
            group.mkdir(exist_ok=True)
            _write_group(temporary, image, prompt, scan.objects(prompt))
            _list(group, name, version_3=(image.path / "zarr.json").is_file(), rename=(temporary, group / name))
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _list(group: Path, name: str, *, version_3: bool, rename: tuple[Path, Path]) -> None:
    """Add a label image to those that the folder of labels lists, once it is in its place."""
    file = group / ("zarr.json" if version_3 else ".zattrs")
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if version_3:
        content.setdefault("zarr_format", 3)
        content.setdefault("node_type", "group")
        known = content.setdefault("attributes", {}).setdefault("ome", {"version": "0.5"})
    else:
        known = content
    known["labels"] = [*(known.get("labels") or ()), name]
    rename[0].rename(rename[1])
    if not version_3 and not (group / ".zgroup").is_file():
        write_text(group / ".zgroup", json.dumps({"zarr_format": 2}))
    write_text(file, json.dumps(content))


def _write_group(folder: Path, image: ImageData, prompt: str, labels: LabelMap) -> None:
    """Write the levels and metadata of one label image."""
    import zarr

    if image.path is None:
        raise ValueError("the image has no folder")
    ome = ome_metadata(image.path)
    version_3 = (image.path / "zarr.json").is_file()
    source = ome["multiscales"][0]
    kept = [number for number, axis in enumerate(source["axes"]) if str(axis["name"]).upper() != "C"]
    lengths = dict(zip(image.axes.replace("C", ""), labels.shape, strict=True))
    axes = [source["axes"][number] for number in kept]
    datasets = []
    for level, size in enumerate(_sizes(labels.shape)):
        step = 1 << level
        shape = [*(lengths.get(str(axis["name"]).upper(), 1) for axis in axes[:-2]), *size]
        options: dict[str, Any] = {"dimension_names": [axis["name"] for axis in axes]} if version_3 else {}
        array: Any = zarr.create_array(
            folder / str(level),
            shape=shape,
            dtype=labels.dtype,
            chunks=(*(1,) * (len(shape) - 2), _CHUNK, _CHUNK),
            fill_value=0,
            zarr_format=3 if version_3 else 2,
            chunk_key_encoding={"name": "default" if version_3 else "v2", "separator": "/"},
            **options,
        )
        for index in sorted({place.index for place, _ in labels.pieces}):
            row = int(np.ravel_multi_index(index, labels.shape[:-2])) if index else 0
            where = tuple(int(number) for number in np.unravel_index(row, shape[:-2]))
            for y in range(0, size[0], _CHUNK):
                for x in range(0, size[1], _CHUNK):
                    height, width = min(_CHUNK, size[0] - y), min(_CHUNK, size[1] - x)
                    block = labels.block(index, y * step, x * step, height * step, width * step, step)
                    array[(*where, slice(y, y + height), slice(x, x + width))] = block
        steps = [1.0] * (len(shape) - 2) + [float(step)] * 2
        datasets.append({"path": str(level), "coordinateTransformations": _moved(source["datasets"][0], kept, steps)})
    _describe(folder, source, axes, kept, datasets, prompt, version_3=version_3)


def _sizes(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return height and width of each level: half of the one before, until one chunk holds it."""
    sizes = [shape[-2:]]
    while max(sizes[-1]) > _CHUNK:
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    return sizes


def _moved(source: dict[str, Any], kept: list[int], steps: list[float]) -> list[dict[str, Any]]:
    """Return the transformations of a level without channels, its scale multiplied by `steps`."""
    found = {one.get("type"): one for one in source.get("coordinateTransformations") or ()}
    scale = found.get("scale", {}).get("scale") or [1.0] * (max(kept) + 1)
    moved: list[dict[str, Any]] = [
        {"type": "scale", "scale": [float(scale[n]) * step for n, step in zip(kept, steps, strict=True)]}
    ]
    if "translation" in found:
        moved.append({"type": "translation", "translation": [found["translation"]["translation"][n] for n in kept]})
    return moved


def _describe(
    folder: Path,
    source: dict[str, Any],
    axes: list[Any],
    kept: list[int],
    datasets: list[dict[str, Any]],
    prompt: str,
    *,
    version_3: bool,
) -> None:
    multiscale: dict[str, Any] = {"name": prompt, "axes": axes, "datasets": datasets}
    if source.get("coordinateTransformations"):
        multiscale["coordinateTransformations"] = _moved(source, kept, [1.0] * len(kept))
    label = {"source": {"image": "../../"}}
    if version_3:
        ome = {"version": "0.5", "multiscales": [multiscale], "image-label": label}
        content = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}}
        write_text(folder / "zarr.json", json.dumps(content))
    else:
        write_text(folder / ".zgroup", json.dumps({"zarr_format": 2}))
        ome = {"multiscales": [multiscale | {"version": "0.4"}], "image-label": label | {"version": "0.4"}}
        write_text(folder / ".zattrs", json.dumps(ome))
