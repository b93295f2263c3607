"""Build `sample_data/` from the source data sets: `python -m training.build_sample_data DATA_FOLDER [-o sample_data]`.

`DATA_FOLDER` holds `DSB2018/`, `CXR-Lungs/` and `SPIDER-Spine/` in LViT layout. The images are those named in
`sample_data/held_out.csv`, which every training recipe leaves out; of the spine subject, which is held out whole, three
slices are taken. Pixels are copied, never resampled.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from PIL import Image

from training import command
from training.pretraining.data import held_out, left_right_lungs

if TYPE_CHECKING:
    from numpy.typing import NDArray

SPINE_SLICES = ("slice66", "slice71", "slice77")
"""The slices of the held-out subject that ship: spread over the middle of its stack."""


def number_lungs(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return `(H, W)` with 1 in the patient's right lung (left in the image) and 2 in the left one."""
    left, right = left_right_lungs(mask)
    return np.where(right, 1, np.where(left, 2, 0)).astype(np.uint8)


def save_png(array: NDArray[Any], path: Path) -> None:
    """Write `array` as the smallest lossless PNG, and make its folder where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, optimize=True)


def build(source: Path, target: Path) -> None:
    """Write `nuclei/`, `lungs/` and `spine/` below `target`, which must hold `held_out.csv`."""
    table = target / "held_out.csv"
    for stem in held_out("DSB2018", table):
        for folder in ("img", "instances"):
            array = np.asarray(Image.open(source / "DSB2018" / folder / f"{stem}.png"))
            pixels = array[..., :3] if folder == "img" else array.astype(np.uint16)
            save_png(pixels, target / "nuclei" / folder / f"{stem}.png")
    for stem in held_out("CXR-Lungs", table):
        for folder in ("img", "labelcol"):
            array = np.asarray(Image.open(source / "CXR-Lungs" / folder / f"{stem}.png"))
            pixels = array if folder == "img" else number_lungs(array > 0)
            save_png(pixels, target / "lungs" / folder / f"{stem}.png")
    (target / "lungs" / "classes.csv").write_text("value,prompt\n1,right lung\n2,left lung\n", encoding="utf-8")
    for prefix in held_out("SPIDER-Spine", table):
        for folder in ("img", "labelcol"):
            for path in sorted((source / "SPIDER-Spine" / folder).glob(f"{prefix}_*.png")):
                if path.stem.endswith(SPINE_SLICES):
                    save_png(np.asarray(Image.open(path)), target / "spine" / folder / path.name)
    classes = (source / "SPIDER-Spine" / "classes.csv").read_text(encoding="utf-8")
    (target / "spine" / "classes.csv").write_text(classes, encoding="utf-8")


def main(
    source: Annotated[Path, typer.Argument(metavar="DATA_FOLDER", help="Folder that holds the data sets.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the samples.")] = Path("sample_data"),
) -> None:
    """Build the samples."""
    build(source, output)


if __name__ == "__main__":
    command.run(main)
