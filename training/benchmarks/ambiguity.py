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

import json
from functools import partial
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_amvlm.device import resolve_device
from napari_amvlm.models.text_encoder import load_text_encoder
from training.benchmarks.ambiguity_picture import draw_similarities
from training.command import run_command
from training.pretraining.aligned import load_aligned
from training.pretraining.data import SOURCES, is_validation, load_taught_images, spread_evenly
from training.pretraining.paraphrases import compared, spread_tests, summary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from napari_amvlm.models.text_encoder import TextEncoder
    from training.pretraining.aligned import Aligned
    from training.pretraining.data import TaughtImage


def markdown(found: Mapping[str, Any]) -> str:
    """Return the figures as Markdown."""
    lines = [
        "| state | steps | w | wordings | cosine | spread over wordings | r | sigma |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for state in found["states"]:
        for group, row in state["groups"].items():
            learnt = " | ".join("" if row[key] is None else f"{row[key]:.4f}" for key in ("ratio", "sigma"))
            name = f"| {state['state']} | {state['step']} | {state['w']} "
            lines.append(f"{name}| {group} | {row['cosine']:.3f} | {row['spread']:.3f} | {learnt} |")
    head = "| state | right caption nearer than a wrong one | right prompt nearer than a wrong one |"
    lines += ["", head, "|---|---|---|"]
    for state in found["states"]:
        nearer = " | ".join(f"{state['right_nearer'][what]:.4f}" for what in ("captions", "prompts"))
        lines.append(f"| {state['state']} | {nearer} |")
    if found["tests"]:
        head = "| spread of | first | second | images | first - second | t-test p | Wilcoxon p |"
        lines += ["", head, "|" + "---|" * 7]
    for test in found["tests"]:
        p = " | ".join("n/a" if test[key] is None else f"{test[key]:.2g}" for key in ("t_p", "w_p"))
        names = f"| {test['group']} | {test['first']} | {test['second']} | {test['images']} "
        lines.append(f"{names}| {test['difference']:+.4f} | {p} |")
    return "\n".join(lines) + "\n"


def held_out(data: Path, sources: Sequence[str], *, whole: int, count: int) -> list[TaughtImage]:
    """Return up to `count` validation images of each data set, evenly spread over their names."""
    found: list[TaughtImage] = []
    for source in sources:
        images = list(load_taught_images(data, source, whole=whole, wanted=partial(is_validation, source)))
        found += spread_evenly(images, count)
    return found


def states_of(runs: Sequence[Path], device: torch.device, text_encoder: TextEncoder | None = None) -> list[Aligned]:
    """Load the states, sharing one text encoder; runs of one name are called by their whole paths."""
    text_encoder = text_encoder or load_text_encoder()
    names = [run.name for run in runs]
    states = [load_aligned(run, device, text_encoder=text_encoder) for run in runs]
    return [
        state if names.count(run.name) == 1 else state.called(run.as_posix())
        for run, state in zip(runs, states, strict=True)
    ]


def main(
    runs: Annotated[list[Path], typer.Argument(help="Folders of pretraining runs, or their state.safetensors.")],
    data: Annotated[Path, typer.Option(help="Folder that holds the data sets.")],
    out: Annotated[Path | None, typer.Option(help="Folder for ambiguity.json, .md, .png; else printed.")] = None,
    images: Annotated[int, typer.Option(help="Held-out images of each data set.")] = 12,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps.")] = "auto",
) -> None:
    """Compare states of pretraining runs under ambiguous wording."""
    states = states_of(runs, resolve_device(device))
    shown = held_out(data, SOURCES, whole=states[0].recipe.model.whole, count=images)
    rows = {state.name: compared(state, shown) for state in states}
    found = {"states": [summary(s, rows[s.name]) for s in states], "tests": spread_tests(rows)}
    if out is None:
        typer.echo(markdown(found))
        return
    out.mkdir(parents=True, exist_ok=True)
    (out / "ambiguity.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    (out / "ambiguity.md").write_text(markdown(found), encoding="utf-8")
    draw_similarities(rows, out / "ambiguity.png")
    typer.echo(f"Wrote {out / 'ambiguity.json'}, ambiguity.md and ambiguity.png.")


if __name__ == "__main__":
    run_command(main)
