"""What captions add, on data sets that have them: own captions, other images' captions, the fixed prompt, no words.

    python -m training.benchmarks.captions --data PATH [--model M] [--dataset NAME ...] [--part validation] [--out DIR]

Every image is encoded once at its own size and asked in each way; the answers, of the segmentation and of the text mask
alone, are scored against its mask. "shuffled captions" gives each image another one's caption, "none" the text "image".
Captions and images are also compared without any mask: how often an image is nearer to its own caption than to another
that is said of the set (cosine of v_cls and t_cls; one half is chance), and the place of its own among all of them.
"""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import numpy as np
import torch
import typer

from napari_amvlm.cli.console import progress, quiet
from napari_amvlm.device import resolve_device
from napari_amvlm.errors import InputError
from napari_amvlm.evaluation import THRESHOLD
from napari_amvlm.imaging import binary_mask
from napari_amvlm.metrics import dice
from napari_amvlm.models.catalog import find_model
from napari_amvlm.models.checkpoint import load_model
from napari_amvlm.models.inference import decode_prompt, encode_image, named_scale
from training import command
from training.datasets import SplitConfig, dataset_called, open_dataset
from training.datasets.asking import PromptMode, wordings
from training.pretraining.scoring import roc_auc
from training.runs.folder import WEIGHTS
from training.runs.markdown import table, write_tables
from training.runs.paired import compare, shown_ps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from napari_amvlm.imaging import ImagePair
    from napari_amvlm.models.amvlm import AMVLM
    from training.datasets import DatasetSplit

DATASETS = ("MoNuSeg", "CXR-COVID")
MODES: tuple[PromptMode, ...] = get_args(PromptMode)
PARTS = ("all", "validation", "train")


@dataclass(frozen=True)
class Asked:
    """One image, asked in every way.

    Attributes
    ----------
    name, caption
        The image and what is said of it.
    dice, text_dice
        Dice of the segmentation and of the text mask alone, by way of asking.
    v_cls
        Unit embedding of the image `(d,)`; of tiles the mean.
    """

    name: str
    caption: str
    dice: dict[str, float]
    text_dice: dict[str, float]
    v_cls: Tensor


def asked_images(
    model: AMVLM,
    split: DatasetSplit,
    pairs: Sequence[ImagePair],
    *,
    seed: int,
    show: Callable[[float, str], None] = quiet,
) -> list[Asked]:
    """Ask every image in every way.

    Parameters
    ----------
    model
        In eval mode.
    split
        The data set; its masks show one thing.
    pairs
        Its images to ask, all with captions; captions are shuffled among them.
    show
        Told the share that is done, and the next image.

    Raises
    ------
    InputError, DatasetError
        The masks show several things, or an image has no caption.
    """
    texts = {mode: wordings(split, pairs, mode, seed=seed) for mode in MODES}
    (thing,) = split.prompts()
    images_asked: list[Asked] = []
    for number, pair in enumerate(pairs):
        show(number / len(pairs), pair.name)
        pixels = pair.pixels()
        mask = binary_mask(pair.labels(pixels.shape))
        scale = named_scale(model, split.spec.scale, pixels.shape[:2])
        # Every tile's features are kept: each is asked four times.
        encoded = encode_image(model, pixels, scale, keep_bytes=sys.maxsize)
        answers = {mode: decode_prompt(model, encoded, texts[mode][pair.name][thing]) for mode in MODES}
        seen = torch.cat([f.v_cls for f in encoded.features if f is not None]).mean(0)
        images_asked.append(
            Asked(
                pair.name,
                pair.caption or "",
                {mode: float(dice(a.probability >= THRESHOLD, mask)) for mode, a in answers.items()},
                {mode: float(dice(a.text_probability >= THRESHOLD, mask)) for mode, a in answers.items()},
                torch.nn.functional.normalize(seen.float(), dim=0),
            )
        )
    return images_asked


def contribution(rows: Sequence[Asked]) -> dict[str, Any]:
    """Return the mean Dice of each way of asking, and paired tests of every two, for both masks."""
    report: dict[str, Any] = {}
    for what in ("dice", "text_dice"):
        by_mode = {mode: {row.name: getattr(row, what)[mode] for row in rows} for mode in MODES}
        report[what] = {mode: round(float(np.mean([*values.values()])), 4) for mode, values in by_mode.items()}
        report[f"{what}_tests"] = [
            {"first": one, "second": other, **compare(by_mode[one], by_mode[other]).to_json()}
            for one, other in itertools.combinations(MODES, 2)
        ]
    return report


@torch.inference_mode()
def matching(model: AMVLM, rows: Sequence[Asked]) -> dict[str, Any]:
    """Return how well images and captions find one another.

    Returns
    -------
    dict
        `captions`: how many different ones there are; `own` and `other`: mean cosine with the own caption and with the
        others; `nearer`: how often the own one is nearer than another; `first`: how often it is the nearest of all;
        `place`: its mean place, from 1; `test`: paired tests of own against the mean of the others.
    """
    captions = sorted({row.caption for row in rows})
    if len(captions) < 2:
        raise InputError("All images have one caption, so that there is nothing to match; choose another data set.")
    t_cls = model.encode_text(captions).t_cls
    own: dict[str, float] = {}
    others: dict[str, float] = {}
    nearer: list[float] = []
    places: list[int] = []
    for row in rows:
        cosines = dict(zip(captions, (t_cls @ row.v_cls).tolist(), strict=True))
        own[row.name] = cosines.pop(row.caption)
        others[row.name] = float(np.mean([*cosines.values()]))
        nearer.append(roc_auc([own[row.name]], [*cosines.values()]))
        places.append(1 + sum(value > own[row.name] for value in cosines.values()))
    return {
        "captions": len(captions),
        "own": round(float(np.mean([*own.values()])), 4),
        "other": round(float(np.mean([*others.values()])), 4),
        "nearer": round(float(np.mean(nearer)), 4),
        "first": round(float(np.mean([rank == 1 for rank in places])), 4),
        "place": round(float(np.mean(places)), 2),
        "test": compare(own, others).to_json(),
    }


def markdown(reports: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    masks = [
        (name, called, report, what)
        for name, report in reports.items()
        for what, called in (("dice", "segmentation"), ("text_dice", "text mask"))
    ]
    means = [
        [name, report["n"], called, *(f"{report[what][mode]:.4f}" for mode in MODES)]
        for name, called, report, what in masks
    ]
    tests = [
        [name, called, test["first"], test["second"], f"{test['difference']:+.4f}", *shown_ps(test)]
        for name, called, report, what in masks
        for test in report[f"{what}_tests"]
    ]
    matches = [
        [
            *(name, m["captions"], *(f"{m[key]:.3f}" for key in ("own", "other", "nearer", "first"))),
            *(f"{m['place']:.1f}", shown_ps(m["test"])[0]),
        ]
        for name, m in ((name, report["matching"]) for name, report in reports.items())
    ]
    lines = table(["data set", "images", "mask", *MODES], means)
    heads = ["data set", "mask", "first", "second", "first - second", "t-test p", "Wilcoxon p"]
    lines += ["", *table(heads, tests)]
    heads = ["data set", "captions", "cosine with own", "with others", "own nearer", "own nearest", "place", "t-test p"]
    lines += ["", *table(heads, matches)]
    return "\n".join(lines) + "\n"


def _pairs(split: DatasetSplit, part: str) -> list[ImagePair]:
    if part not in PARTS:
        raise InputError(f"Expected the part to be one of {', '.join(PARTS)}, but got {part!r}.")
    train = split.labelled if part != "validation" else ()
    held_out = split.validation if part != "train" else ()
    pairs = [pair for pair in (*train, *held_out) if pair.caption]
    if not pairs:
        raise InputError(f"No image of {split.spec.name} ({part}) has a caption; choose another --dataset or --part.")
    return pairs


def main(
    data: command.DataSetsOption,
    model: Annotated[str | None, typer.Option(help="An installed model, a model file, or a run's folder.")] = None,
    dataset: Annotated[list[str] | None, typer.Option(help="Data set with captions; may be repeated.")] = None,
    part: Annotated[str, typer.Option(help="all, validation or train.")] = "all",
    images: Annotated[int | None, typer.Option(min=1, help="Only the first so many images of each data set.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for captions.json and captions.md; else printed.")] = None,
    seed: Annotated[int, typer.Option(help="Of the shuffling.")] = 0,
    device: command.DeviceOption = "auto",
) -> None:
    """Measure what captions add to the masks, and whether they fit their images."""
    given = Path(model) if model is not None and Path(model).exists() else find_model(model)
    network, info = load_model(given / WEIGHTS if given.is_dir() else given, device=resolve_device(device))
    reports: dict[str, Any] = {}
    with progress("asking") as show:
        for name in dataset or DATASETS:
            split = open_dataset(dataset_called(name), data, SplitConfig(), seed=seed)
            pairs = _pairs(split, part)[:images]
            rows = asked_images(network, split, pairs, seed=seed, show=show)
            reports[split.spec.name] = {"n": len(rows), **contribution(rows), "matching": matching(network, rows)}
    if out is None:
        typer.echo(markdown(reports))
        return
    out.mkdir(parents=True, exist_ok=True)
    report = {"model": info.name, "version": info.version, "sha256": info.sha256, "part": part, "datasets": reports}
    write_tables(out, "captions", report, markdown(reports))
    typer.echo(f"Wrote {out / 'captions.json'} and captions.md.")


if __name__ == "__main__":
    command.run(main)
