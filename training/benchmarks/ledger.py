"""How long a large ledger takes to open, and to list its queue.

    python -m training.benchmarks.ledger [--corrections N] [--images N] [--repeats N] [--folder DIR]

A project with so many corrections is written into a new folder, which is removed afterwards: a tenth of them are
superseded ones, up to a thousand images have scores for one prompt, and the order of the queue is stored. All masks are
one file, since neither opening nor listing reads them. One JSON object is printed; seconds are the largest of
`--repeats` runs, each with a connection of its own. The aims are 1 s to open and 0.2 s to list.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from napari_amvlm.project import Answer, Project, TileScores
from napari_amvlm.project.ledger import LEDGER_NAME, Ledger
from training import command

PROMPTS = ("nuclei", "lymphocyte nuclei", "gland")
_WHEN = "2026-01-01T00:00:00.000+00:00"


def write_project(root: Path, *, corrections: int, images: int) -> None:
    """Write a project of so many corrections, spread over so many images."""
    with Project.create(root) as project:
        record = project.images.add_array(np.zeros((64, 64), np.uint8), name="image 0")
        seed = project.corrections.accept(record.id, PROMPTS[0], Answer(np.eye(64, dtype=bool), threshold=0.5))
        for prompt in PROMPTS:
            project.prompts.add(prompt)
    ledger = Ledger(root, read_only=False)
    try:
        with ledger.transaction() as connection:
            connection.executemany(
                "INSERT INTO images (sha256, source, name, path, stored, bytes, height, width, added_at) "
                "VALUES (?, 'file', ?, ?, 0, 12288, 512, 512, ?)",
                [
                    (hashlib.sha256(str(n).encode()).hexdigest(), f"image {n}", f"/images/image-{n}.tif", _WHEN)
                    for n in range(1, images)
                ],
            )
            connection.executemany(
                "INSERT INTO corrections (image_id, prompt_id, state, mask_file, mask_sha256, threshold, author, "
                "accepted_at, seconds_spent) VALUES (?, ?, ?, ?, ?, 0.5, 'a person', ?, 12)",
                [(*_place(n, images), seed.mask_file, seed.mask_sha256, _WHEN) for n in range(1, corrections)],
            )
    finally:
        ledger.close()
    _score(root)


def _place(number: int, images: int) -> tuple[int, int, str]:
    """Return image, prompt and state of a correction; the unique index allows one current one for each pair."""
    pairs = images * len(PROMPTS)
    superseded = number % 10 == 0 or number >= pairs
    return number % images + 1, number // images % len(PROMPTS) + 1, "superseded" if superseded else "current"


def _score(root: Path) -> None:
    random = np.random.default_rng(0)
    tiles = np.array([(y, x, 256, 256) for y in (0, 256) for x in (0, 256)])
    with Project.open(root) as project:
        items = project.queue.items()
        # Durable writes one by one take their time, so about a thousand items are scored.
        for item in items[:: max(1, len(items) // 1000)]:
            scores = TileScores(tiles, *random.random((2, 4)).astype(np.float32))
            project.queue.store_scores(item.id, PROMPTS[0], scores)
            project.queue.store_feature(item.id, random.normal(size=16))


def timings(root: Path) -> dict[str, float]:
    """Return the seconds of opening for writing, listing the queue, listing a part of it, counting, and sorting."""
    seconds: dict[str, float] = {}

    def note(name: str, started: float) -> None:
        seconds[name] = time.perf_counter() - started

    started = time.perf_counter()
    with Project.open(root) as project:
        note("open", started)
        for name, action in (
            ("list_queue", lambda: project.queue.items()),
            ("list_accepted", lambda: project.queue.items(["accepted"])),
            ("queue_counts", lambda: project.queue.counts()),
            ("project_counts", lambda: project.images.counts()),
            ("list_corrections", lambda: project.corrections.select()),
            ("sort_queue", lambda: project.queue.sort()),
        ):
            started = time.perf_counter()
            action()
            note(name, started)
    return seconds


def main(
    corrections: Annotated[int, typer.Option(min=1, help="Corrections in the project.")] = 10_000,
    images: Annotated[int, typer.Option(min=1, help="Images in the project.")] = 10_000,
    repeats: Annotated[int, typer.Option(min=1, help="Runs, of which the longest counts.")] = 3,
    folder: Annotated[Path | None, typer.Option(help="Where the project is made; else a temporary folder.")] = None,
) -> None:
    """Print the timings as one JSON object."""
    with tempfile.TemporaryDirectory(dir=folder) as made:
        root = Path(made) / "large.amvlm"
        write_project(root, corrections=corrections, images=images)
        runs = [timings(root) for _ in range(repeats)]
        size = (root / LEDGER_NAME).stat().st_size
    worst = {name: round(max(run[name] for run in runs), 4) for name in runs[0]}
    report = {"corrections": corrections, "images": images, "bytes": size, "seconds": worst}
    typer.echo(json.dumps(report, indent=2))


if __name__ == "__main__":
    command.run(main)
