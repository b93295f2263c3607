"""Tables over many images, and a picture of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_amvlm.errors import DatasetError, ImageError, InputError
from napari_amvlm.exports import LEFT_OUT
from napari_amvlm.files import refuse_existing, write_atomically, write_text
from napari_amvlm.measure.objects import measure_image, physical_unit

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pandas as pd

    from napari_amvlm.measure.objects import MaskedImage


@dataclass(frozen=True)
class Tables:
    """What was measured.

    Attributes
    ----------
    objects
        One row for each object (`measure_image`).
    images
        One row for each image and prompt: `objects` (their number), the area of all of them, its share of the image,
        and mean, median and standard deviation of the area of one.
    """

    objects: pd.DataFrame
    images: pd.DataFrame

    @property
    def prompts(self) -> pd.DataFrame:
        """One row for each prompt: its images, its objects, and the area of all of them.

        An area is empty where it is not known of every image.
        """
        areas = [name for name in self.images if name.startswith(("area_", "volume_"))]
        groups = self.images.groupby("prompt", sort=False)
        counts = groups.agg(images=("image", "size"), objects=("objects", "sum"))
        return counts.join(groups[areas].agg("sum", skipna=False)).reset_index()


def measure(masked_images: Iterable[MaskedImage], notes: list[str] | None = None) -> Tables:
    """Measure images, one in memory at a time.

    Parameters
    ----------
    notes
        Receives a sentence for each image that is left out, as it has another size than its mask; without it, or where
        there is no other image, that is raised.

    Raises
    ------
    DatasetError
        There are no masks.
    ImageError
        An image and its mask differ in size.
    """
    import pandas as pd

    objects, images = [], []
    failure: ImageError | None = None
    for masked in masked_images:
        try:
            table = measure_image(masked)
        except ImageError as error:
            if notes is None:
                raise
            failure = failure or error
            notes.append(f"{LEFT_OUT} {error}")
            continue
        objects.append(table)
        for prompt, numbers in masked.objects.items():
            rows = table[table["prompt"] == prompt]
            images.append(_summary(masked, prompt, rows, numbers.size, numbers.ndim))
    if not images:
        if failure is not None:
            raise failure
        raise DatasetError(
            "There are no masks to measure; accept masks first, or give a folder that holds label images."
        )
    filled = [table for table in objects if len(table)]
    return Tables(pd.concat(filled or objects[:1], ignore_index=True), pd.DataFrame(images))


def table_files(path: Path) -> list[Path]:
    """Return the files of the tables of objects, of images and of prompts; the first is `path`."""
    return [path, *(path.with_name(f"{path.stem}-{name}{path.suffix}") for name in ("images", "prompts"))]


def write_tables(tables: Tables, path: Path, *, overwrite: bool = False) -> list[Path]:
    """Write `NAME.csv`, a row for each object, `NAME-images.csv`, for each image and prompt, and `NAME-prompts.csv`.

    Raises
    ------
    InputError
        A file is there already and `overwrite` is false; nothing is written.
    StorageError
        The disk refused.
    """
    files = table_files(path)
    refuse_existing(files, overwrite=overwrite)
    for file, table in zip(files, (tables.objects, tables.images, tables.prompts), strict=True):
        write_text(file, table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    return files


def write_plot(tables: Tables, path: Path, *, overwrite: bool = False) -> None:
    """Draw the areas of objects as one box for each prompt and image, at most 30 images, into a PNG.

    Raises
    ------
    InputError
        matplotlib is not installed, or the file is there already and `overwrite` is false.
    StorageError
        The disk refused.
    """
    refuse_existing([path], overwrite=overwrite)
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("A picture needs matplotlib; install it with: pip install matplotlib.") from error
    column = area_column(tables)
    groups = list(tables.objects.groupby(["prompt", "image"], sort=False))[:30]
    figure = Figure(figsize=(max(4.0, 0.5 * len(groups) + 2), 4.5), layout="constrained")
    axes = figure.subplots()
    axes.boxplot([rows[column].to_numpy() for _, rows in groups], showfliers=False)
    axes.set_xticks(range(1, len(groups) + 1), [f"{image}\n{prompt}" for (prompt, image), _ in groups], rotation=90)
    axes.set_ylabel(column.replace("_", " in ").replace("um2", "µm²").replace("mm2", "mm²").replace("px", "pixels"))
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png", dpi=150), make_folder=True)


def area_column(tables: Tables) -> str:
    """Return the column that holds the size of all objects, physical where every image tells its pixel size."""
    table = tables.objects
    for name in ("area_um2", "area_mm2", "volume_um3", "volume_mm3", "area_px", "volume_px"):
        if name in table and table[name].notna().all():
            return name
    raise DatasetError("Planes and volumes cannot be drawn in one picture; measure them apart.")


def _summary(masked: MaskedImage, prompt: str, rows: pd.DataFrame, pixels: int, dimensions: int) -> dict[str, object]:
    size = "area_px" if dimensions == 2 else "volume_px"
    areas = rows[size].astype(float)
    row: dict[str, object] = {
        "image": masked.name,
        "prompt": prompt,
        "objects": len(rows),
        size: int(areas.sum()),
        "share": float(areas.sum()) / pixels,
        f"mean_{size}": areas.mean(),
        f"median_{size}": areas.median(),
        f"sd_{size}": areas.std(),
    }
    known = physical_unit(masked.image, dimensions)
    if known is not None:
        column = f"{'area' if dimensions == 2 else 'volume'}_{known[1]}{dimensions}"
        row |= {column: rows[column].sum(), f"mean_{column}": rows[column].mean()}
    return row
