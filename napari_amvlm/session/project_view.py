"""The open project as the docks show it: read off the GUI thread, and never changed afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_amvlm.review.overlaps import Overlaps

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_amvlm.project import ModelRecord, Project, ProjectCounts, PromptRecord, QueueItem, RunRecord, Serving


@dataclass(frozen=True)
class ProjectView:
    """What the docks show of a project.

    `queue` is in the order that was stored last, `servings` oldest first; `scores` has disagreement and entropy of the
    queue's items by id and prompt.
    """

    root: Path
    name: str
    counts: ProjectCounts
    models: tuple[ModelRecord, ...]
    served: ModelRecord | None
    servings: tuple[Serving, ...]
    runs: tuple[RunRecord, ...]
    queue: tuple[QueueItem, ...]
    prompts: tuple[PromptRecord, ...]
    overlaps: Overlaps
    scores: Mapping[int, Mapping[str, tuple[float, float]]]


def look_at(project: Project) -> ProjectView:
    """Read what the docks show of a project."""
    return ProjectView(
        project.root,
        project.name,
        project.images.counts(),
        tuple(project.models.all()),
        project.models.served(),
        tuple(project.models.servings()),
        tuple(project.runs.all()),
        tuple(project.queue.items()),
        tuple(project.prompts.all()),
        Overlaps(project.prompts.overlap_rule(), tuple(project.prompts.overlap_order())),
        project.queue.summaries(),
    )
