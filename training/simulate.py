"""A simulated annotator works through a data set, and Dice is reported against the minutes that it took.

    python -m training.simulate training/recipes/simulate-monuseg.toml --data PATH --out runs/simulate

Each arm is a project on disk, which the installed program opens too.  A simulation can be killed at any time; the same
command goes on.  Arms may run beside one another, each by a command of its own with `--arms NAME` and the same `--out`.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from napari_amvlm.cli.console import progress, quiet
from napari_amvlm.device import resolve_device
from napari_amvlm.errors import Cancelled
from napari_amvlm.learning.loop import never
from napari_amvlm.models.text_encoder import load_text_encoder
from training import command
from training.runs.folder import RunFolder
from training.runs.recipe import read_recipe
from training.simulation.arm import SimulatedArm
from training.simulation.project import cut_folder, read_material
from training.simulation.recipe import ARMS, SimulationRecipe
from training.simulation.report import read_rounds, write_report

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from napari_amvlm.models.text_encoder import TextEncoder
    from training.simulation.project import Material

log = logging.getLogger("training.simulate")


def simulate(
    recipe: SimulationRecipe,
    material: Material,
    out: Path,
    *,
    device: torch.device,
    text_encoder: TextEncoder | None = None,
    should_stop: Callable[[], bool] = never,
    show: Callable[[float, str], None] = quiet,
) -> list[str]:
    """Run the arms of a recipe one after the other, or go on with them, and return the figures as lines for people.

    Parameters
    ----------
    material
        Images and what is right in them, see `read_material`.
    out
        Folder of the arms and the figures; the figures are of all arms that were ever begun there.
    text_encoder
        A loaded sentence encoder to share.
    should_stop
        Asked between looks, images and steps.
    show
        Told the share of the present arm that is done, and a note.

    Raises
    ------
    InputError
        An arm's folder holds one that was told otherwise.
    """
    out.mkdir(parents=True, exist_ok=True)
    if recipe.cut and recipe.region is not None:
        tiles = cut_folder(material.train, out / f"tiles-{recipe.region}", recipe.region)
        material = replace(material, train=tiles)
    for name in recipe.arms:
        text_encoder = text_encoder or load_text_encoder()
        arm = SimulatedArm(
            name,
            recipe,
            material,
            out / name,
            device=device,
            text_encoder=text_encoder,
            should_stop=should_stop,
            show=show,
            on_round=lambda: report(out, recipe.target),
        )
        try:
            arm.run()
        except Cancelled as stopped:
            log.info("%s", stopped)
            break
    return report(out, recipe.target)


def report(out: Path, target: float) -> list[str]:
    """Write the figures of all arms that have a round, and return them as lines for people."""
    rounds_of = {name: read_rounds(RunFolder(out / name)) for name in ARMS}
    arms = {name: rounds for name, rounds in rounds_of.items() if rounds}
    return write_report(out, arms, target) if arms else []


def main(
    recipe: command.RecipeArgument,
    data: command.DataOption,
    out: command.OutOption,
    arms: Annotated[str | None, typer.Option(metavar="NAME,NAME", help=f"Some of {', '.join(ARMS)}.")] = None,
    corrections: Annotated[
        str | None, typer.Option(metavar="NAME", help="How masks are corrected: paint, strokes or clicks.")
    ] = None,
    minutes: command.MinutesOption = None,
    settings: command.SettingsOption = None,
    device: command.DeviceOption = "auto",
) -> None:
    """Simulate an annotator, and print the minutes that each arm needs to reach the target."""
    chosen: dict[str, object] = {} if arms is None else {"arms": [name.strip() for name in arms.split(",")]}
    if corrections is not None:
        chosen["corrections"] = corrections
    resolved = read_recipe(SimulationRecipe, recipe, settings, **chosen)
    material = read_material(resolved, data)
    with command.sitting(minutes) as over, progress("Simulating") as show:
        lines = simulate(resolved, material, out, device=resolve_device(device), should_stop=over, show=show)
    for line in lines:
        typer.echo(line)


if __name__ == "__main__":
    command.run(main)
