"""What simulated annotation gave: Dice against minutes, as CSV and as a picture, and the minutes that a Dice took."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from napari_amvlm.errors import InputError
from napari_amvlm.files import write_atomically, write_text
from training.runs.charts import COLOURS
from training.runs.markdown import table
from training.simulation.recipe import ARMS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from training.runs.folder import RunFolder

ROUNDS = "rounds.json"
CURVES, PICTURE, REACHED = "curves.csv", "curves.png", "reached.json"


@dataclass(frozen=True)
class Round:
    """Where an arm stood after a round; times are minutes since its beginning.

    Attributes
    ----------
    number
        0 is before anything was annotated.
    held_out
        Images that judge models.
    annotation
        Looking, clicking and outlining, by the model of the mouse.
    learning, prediction, ordering
        Waiting by the clock of the machine: for learning, for the masks of what was looked at, and for the order of the
        queue.
    dice
        Mean over the validation images, of the model that serves.
    """

    number: int
    accepted: int
    held_out: int
    annotation: float
    learning: float
    prediction: float
    ordering: float
    dice: float
    verdict: str

    @property
    def waiting(self) -> float:
        """All waiting, minutes."""
        return self.learning + self.prediction + self.ordering


def read_rounds(folder: RunFolder) -> list[Round]:
    """Return the rounds that an arm has finished."""
    stored = folder.read(ROUNDS) or {"rounds": []}
    return [Round(**values) for values in stored["rounds"]]


def write_rounds(folder: RunFolder, rounds: Sequence[Round]) -> None:
    """Keep the rounds that an arm has finished."""
    folder.write(ROUNDS, {"rounds": [asdict(each) for each in rounds]})


def minutes_to(rounds: Sequence[Round], target: float) -> tuple[float, float] | None:
    """Return the minutes of annotation after which a model served whose Dice reaches a target, and those interpolated.

    The second is where the straight line from the round before crosses the target.  None where none reached it.

    Examples
    --------
    >>> def at(minutes, dice): return Round(0, 0, 0, minutes, 0, 0, 0, dice, "")
    >>> minutes_to([at(0, 0.7), at(10, 0.8)], 0.75)
    (10, 5.0)
    """
    before: Round | None = None
    for each in rounds:
        if each.dice >= target:
            if before is None:
                return each.annotation, each.annotation
            share = (target - before.dice) / (each.dice - before.dice)
            return each.annotation, before.annotation + share * (each.annotation - before.annotation)
        before = each
    return None


def reached(arms: Mapping[str, Sequence[Round]], target: float) -> dict[str, Any]:
    """Return for each arm what the target took, and the first arm's share of it.

    Returns
    -------
    dict
        `{"target", "arms": {name: {"minutes", "interpolated", "spent", "best", "ratio"}}}`: minutes are None where the
        target was not reached; `spent` are all minutes that were annotated and `best` the highest Dice.  `ratio` is
        the interpolated time of "ours" by that of the arm, or by all it spent where it did not get there, which the
        true ratio is below; None where ours did not get there.
    """
    ours = minutes_to(arms.get("ours", ()), target)
    of_arm: dict[str, Any] = {}
    for name, rounds in arms.items():
        took, spent = minutes_to(rounds, target), rounds[-1].annotation
        by = took[1] if took else spent
        of_arm[name] = {
            "minutes": took and took[0],
            "interpolated": took and took[1],
            "spent": spent,
            "best": max(each.dice for each in rounds),
            "ratio": ours[1] / by if ours and by else None,
        }
    return {"target": target, "arms": of_arm}


def reached_lines(figures: Mapping[str, Any]) -> list[str]:
    """Return the figures of `reached` as lines for people."""
    lines = []
    for name, arm in figures["arms"].items():
        line = f"{name}: best Dice {arm['best']:.4f} in {arm['spent']:.1f} minutes of annotation; "
        if arm["minutes"] is None:
            line += f"{figures['target']:g} was not reached"
        else:
            line += f"{figures['target']:g} after {arm['minutes']:.1f} (interpolated {arm['interpolated']:.1f})"
        if name != "ours" and arm["ratio"] is not None:
            bound = "below " if arm["minutes"] is None else ""
            line += f"; ours needs {bound}{arm['ratio']:.2f} of that"
        lines.append(line)
    return lines


def write_report(out: Path, arms: Mapping[str, Sequence[Round]], target: float) -> list[str]:
    """Write `curves.csv`, `curves.png` and `reached.json`, and return the figures as lines for people.

    Parameters
    ----------
    arms
        The rounds of each arm, at least one.
    target
        The Dice that the figures tell the time to.
    """
    text = io.StringIO()
    columns = [*(field.name for field in fields(Round)), "waiting"]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["arm", *columns])
    for name, rounds in arms.items():
        writer.writerows([name, *(_rounded(getattr(each, column)) for column in columns)] for each in rounds)
    figures = reached(arms, target)
    write_text(out / CURVES, text.getvalue())
    write_text(out / REACHED, json.dumps(figures, indent=1))
    figure = draw_rounds(arms, target)
    write_atomically(out / PICTURE, lambda path: figure.savefig(path, format="png"))
    return reached_lines(figures)


def rounds_table(file: Path) -> str:
    """Return a `curves.csv` as a Markdown table, a line for each arm and round.

    Raises
    ------
    InputError
        The file is missing, or none that `write_report` wrote.
    """
    header = ["arm", "round", "accepted", "held out", "minutes annotating", "waiting", "Dice", "its model"]
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            rows = [
                (
                    *(row["arm"], row["number"], row["accepted"], row["held_out"]),
                    *(f"{float(row[column]):.1f}" for column in ("annotation", "waiting")),
                    f"{float(row['dice']):.3f}",
                    row["verdict"],
                )
                for row in csv.DictReader(stream)
            ]
    except (OSError, UnicodeDecodeError, KeyError, ValueError) as error:
        raise InputError(f"{file} cannot be read as {CURVES} of training.simulate ({error!r}).") from error
    return "\n".join(table(header, rows))


def draw_rounds(arms: Mapping[str, Sequence[Round]], target: float) -> Figure:
    """Draw Dice against minutes of annotation (left), and against those and the minutes of waiting together (right)."""
    figure = Figure(figsize=(11.2, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    left.set(xlabel="minutes of annotation", ylabel="Dice on validation images")
    right.set(xlabel="minutes of annotation and waiting")
    for name, rounds in arms.items():
        colour, dice = COLOURS[list(ARMS).index(name) % len(COLOURS)], [each.dice for each in rounds]
        annotation = [each.annotation for each in rounds]
        left.plot(annotation, dice, "o-", c=colour, label=f"{name}: {ARMS[name].meaning}")
        right.plot([each.annotation + each.waiting for each in rounds], dice, "o-", c=colour)
    for axes in (left, right):
        axes.axhline(target, c="0.6", ls="--")
    left.legend()
    return figure


def _rounded(value: float | str) -> float | str:
    return round(value, 4) if isinstance(value, float) else value
