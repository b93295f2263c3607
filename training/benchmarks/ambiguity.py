"""Alignment under ambiguous wording: how much the similarity of image and text hangs on how something is said.

    python -m training.benchmarks.ambiguity RUN [RUN ...] --data PATH [--out DIR] [--images N]

Takes folders of pretraining runs, finished or not: the heads of step 1 are in a run's state and in no released weights.
Held-out images are compared (cosine of v_cls and t_cls) with paraphrases of captions and prompts that are right, with
such that are wrong, and with texts that say nothing. For each state and group of wordings stand the mean similarity,
its standard deviation over the wordings of one meaning (mean over images), and, where PDT was learnt, the ratio
r = W2 / Ds and sigma of the words; then how often a right wording is nearer than a wrong one. Spreads of two states on
the same images are compared by paired tests. `--out` writes ambiguity.json, ambiguity.md and ambiguity.png.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from matplotlib.figure import Figure

from napari_amvlm.device import resolve_device
from napari_amvlm.models.text_encoder import load_text_encoder
from training import command
from training.datasets.splits import spread_evenly
from training.pretraining.aligned import load_aligned
from training.pretraining.data import SOURCES, is_validation, load_taught_images
from training.pretraining.paraphrases import compared, spread_tests, summary
from training.runs.charts import COLOURS
from training.runs.markdown import table, write_tables
from training.runs.paired import shown_ps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from training.pretraining.aligned import Aligned
    from training.pretraining.data import TaughtImage
    from training.pretraining.paraphrases import Compared

_DRAWN = ("right captions", "wrong captions", "saying nothing")


def markdown(report: Mapping[str, Any]) -> str:
    """Return the figures as Markdown."""
    states = (
        [
            *(state["state"], state["step"], state["w"], group, f"{row['cosine']:.3f}", f"{row['spread']:.3f}"),
            *(None if row[key] is None else f"{row[key]:.4f}" for key in ("ratio", "sigma")),
        ]
        for state in report["states"]
        for group, row in state["groups"].items()
    )
    nearer = (
        [state["state"], *(f"{state['right_nearer'][what]:.4f}" for what in ("captions", "prompts"))]
        for state in report["states"]
    )
    tests = [
        [
            *(test["group"], test["first"], test["second"], test["images"], f"{test['difference']:+.4f}"),
            *shown_ps(test),
        ]
        for test in report["tests"]
    ]
    lines = table(["state", "steps", "w", "wordings", "cosine", "spread over wordings", "r", "sigma"], states)
    heads = ["state", "right caption nearer than a wrong one", "right prompt nearer than a wrong one"]
    lines += ["", *table(heads, nearer)]
    if tests:
        heads = ["spread of", "first", "second", "images", "first - second", "t-test p", "Wilcoxon p"]
        lines += ["", *table(heads, tests)]
    return "\n".join(lines) + "\n"


def draw_similarities(states: Mapping[str, Sequence[Compared]], path: Path) -> None:
    """Draw, as in the publication's figure, the similarity of one image of each kind with all wordings.

    Each wording is a point, in a line for each state, kind of image and group of wordings; a bar is ± one SD.

    Parameters
    ----------
    states
        Images beside their wordings, by state; the first image of each kind is drawn.
    """
    firsts = [(name, row) for name, rows in states.items() for row in {r.kind: r for r in reversed(rows)}.values()]
    figure = Figure(figsize=(8.2, 1 + 0.66 * len(firsts)), layout="tight")
    axes = figure.subplots()
    axes.set(xlim=(-1, 1), xlabel="cosine similarity")
    axes.set_yticks([-3.0 * number for number in range(len(firsts))], [f"{name}, {row.kind}" for name, row in firsts])
    for position, (group, colour) in enumerate(zip(_DRAWN, COLOURS, strict=False)):
        for number, (_, row) in enumerate(firsts):
            values = np.concatenate(row.similar[group])
            y = 0.7 - 0.7 * position - 3 * number
            axes.errorbar(values.mean(), y, xerr=values.std(), c=colour, label=None if number else group)
            axes.plot(values, np.full(len(values), y), "o", mfc="none", c=colour)
    axes.legend()
    figure.savefig(path)


def held_out(data: Path, sources: Sequence[str], *, whole: int, count: int) -> list[TaughtImage]:
    """Return up to `count` validation images of each data set, evenly spread over their names."""
    chosen: list[TaughtImage] = []
    for source in sources:
        images = list(load_taught_images(data, source, whole=whole, wanted=partial(is_validation, source)))
        chosen += spread_evenly(images, count)
    return chosen


def states_of(runs: Sequence[Path], device: torch.device) -> list[Aligned]:
    """Load the states, sharing one text encoder; runs of one name are called by their whole paths."""
    text_encoder = load_text_encoder()
    names = [run.name for run in runs]
    states = [load_aligned(run, device, text_encoder=text_encoder) for run in runs]
    return [
        state if names.count(run.name) == 1 else replace(state, name=run.as_posix())
        for run, state in zip(runs, states, strict=True)
    ]


def main(
    runs: Annotated[list[Path], typer.Argument(help="Folders of pretraining runs, or their state.safetensors.")],
    data: command.DataSetsOption,
    out: Annotated[Path | None, typer.Option(help="Folder for ambiguity.json, .md, .png; else printed.")] = None,
    images: Annotated[int, typer.Option(min=1, help="Held-out images of each data set.")] = 12,
    device: command.DeviceOption = "auto",
) -> None:
    """Compare states of pretraining runs under ambiguous wording."""
    states = states_of(runs, resolve_device(device))
    shown = held_out(data, SOURCES, whole=states[0].recipe.model.whole, count=images)
    rows = {state.name: compared(state, shown) for state in states}
    report = {"states": [summary(s, rows[s.name]) for s in states], "tests": spread_tests(rows)}
    if out is None:
        typer.echo(markdown(report))
        return
    out.mkdir(parents=True, exist_ok=True)
    write_tables(out, "ambiguity", report, markdown(report))
    draw_similarities(rows, out / "ambiguity.png")
    typer.echo(f"Wrote {out / 'ambiguity.json'}, ambiguity.md and ambiguity.png.")


if __name__ == "__main__":
    command.run(main)
