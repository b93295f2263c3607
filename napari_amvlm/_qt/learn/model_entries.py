"""Which models the Learn dock lists: those of the project, newest first, then those installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_amvlm._qt.widgets.model_list import ModelEntry
from napari_amvlm.models.catalog import FORMER

if TYPE_CHECKING:
    from napari_amvlm._qt.workspace import Workspace
    from napari_amvlm.models.model_info import ModelInfo


def models_at_hand(workspace: Workspace) -> list[ModelInfo]:
    """Return the installed models, the one that was loaded first, and the one that serves."""
    present = workspace.predictor.info if workspace.predictor is not None else None
    models: dict[str, ModelInfo] = {}
    for info in (*workspace.installed, workspace.base, present):
        if info is not None:
            models.setdefault(info.sha256, info)
    return list(models.values())


def model_entries(workspace: Workspace) -> list[ModelEntry]:
    """Return an entry for each model; the one whose file was loaded last serves."""
    serving = workspace.served_key()
    records = workspace.view.models if workspace.view is not None else ()
    own = {record.sha256 for record in records} - {info.sha256 for info in workspace.installed}
    installed = [info for info in models_at_hand(workspace) if info.sha256 not in own]
    names = FORMER | {info.sha256: info.name for info in installed}
    names |= {record.sha256: record.name for record in records}
    entries = [
        ModelEntry(
            key=str(record.path),
            name=record.name,
            licence=record.licence,
            dice=record.scores.get("after"),
            parent=names.get(record.parent or "", "another model"),
            details=f"made {record.created_at[:16].replace('T', ' ')}",
            serving=record.sha256 == serving,
        )
        for record in reversed(records)
    ]
    return entries + [
        ModelEntry(
            key=str(info.path),
            name=info.name,
            licence=info.licence,
            details=f"knows {', '.join(info.prompts)}\ntrained on {info.training_data}",
            serving=info.sha256 == serving,
        )
        for info in installed
    ]
