"""`napari-amvlm models`: what is installed."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_amvlm.cli.console import remark, say

if TYPE_CHECKING:
    from napari_amvlm.models.model_info import ModelInfo


def models(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help="Model files to describe as well.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
    words: Annotated[bool, typer.Option("--words", help="Print the words of each by part of the body.")] = False,
) -> None:
    """List the models: name, licence, prompts they know, size and SHA-256."""
    from napari_amvlm.models.catalog import installed_models
    from napari_amvlm.models.words.word_list import word_lines

    infos = installed_models(files or [])
    if as_json:
        say(json.dumps([_describe(info) for info in infos]))
        return
    if not infos:
        remark("No model is installed; give --model FILE to the other commands, or reinstall napari-amvlm.")
        return
    for info in infos:
        for line in [f"{info.name}  {info.version}", *word_lines(info.config)] if words else _lines(info):
            say(line)


def _describe(info: ModelInfo) -> dict[str, Any]:
    """Return what is known of a model, ready for JSON."""
    return {
        "name": info.name,
        "version": info.version,
        "licence": info.licence,
        "training_data": info.training_data,
        "parent": info.parent,
        "created": info.created,
        "prompts": {concept.name: list(concept.prompts) for concept in info.config.concepts},
        "words": {
            concept.name: {"body": concept.body, "modalities": list(concept.modalities), "dice": concept.dice}
            for concept in info.config.concepts
        },
        "scores": dict(info.scores),
        "bytes": info.bytes,
        "sha256": info.sha256,
        "path": str(info.path),
    }


def _lines(info: ModelInfo) -> list[str]:
    """Return what is known of a model as lines for people."""
    origin = info.parent_title or info.parent
    parent = f", from {origin}" if origin else ""
    return [
        f"{info.name}  {info.licence}  {info.bytes / 1e6:.1f} MB{parent}",
        f"  prompts  {', '.join(concept.name for concept in info.config.concepts) or 'not stated'}",
        f"  data     {info.training_data}",
        f"  sha256   {info.sha256}",
        f"  file     {info.path}",
    ]
