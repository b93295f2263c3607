"""A report of a project as one web page that needs nothing else: outlines, numbers, models, who and when."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from html import escape
from importlib.metadata import version
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.exports import annotated_images
from napari_amvlm.files import refuse_existing, write_text
from napari_amvlm.imaging import to_rgb01
from napari_amvlm.measure.sources import masked_image
from napari_amvlm.measure.tables import Tables, measure
from napari_amvlm.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from napari_amvlm.exports import AnnotatedImage
    from napari_amvlm.imaging import ImageData
    from napari_amvlm.project import CorrectionRecord, ModelRecord, Project

_SIDE, _SMALL_SIDE, _MANY = 480, 240, 100
"""Longer side of a picture, pixels; that of each where there are more than so many."""

_AREAS = {"area_um2": "µm²", "area_mm2": "mm²", "area_px": "px"}

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2rem}h3{font-size:1rem;margin:0 0 .4rem;overflow-wrap:anywhere}
table{border-collapse:collapse;margin:.4rem 0}th,td{padding:.15rem .7rem .15rem 0;text-align:left;vertical-align:top}
th{border-bottom:1px solid #999}td.n,th.n{text-align:right}
article{display:flex;flex-wrap:wrap;gap:1rem;border-top:1px solid #ddd;padding:1rem 0;break-inside:avoid}
article img{max-width:100%;height:auto;align-self:flex-start}.swatch{display:inline-block;width:.8em;height:.8em}
p.small{color:#555;font-size:.9rem;margin:.2rem 0}
"""


@dataclass(frozen=True)
class _Entry:
    """One image of the report."""

    image: AnnotatedImage
    picture: str
    rows: pd.DataFrame
    corrections: Sequence[CorrectionRecord]


def write_report(project: Project, path: Path, *, overwrite: bool = False) -> list[str]:
    """Write a report of the accepted masks of a project as one HTML file without any other resource.

    Parameters
    ----------
    project
        Where the masks are.
    path
        The file.
    overwrite
        Replace one that is there.

    Returns
    -------
    list of str
        What a reader should know about single images, which the report lists too.

    Raises
    ------
    InputError
        Nothing was accepted, or the file is there and `overwrite` is false.
    StorageError
        The disk refused.
    """
    refuse_existing([path], overwrite=overwrite)
    notes: list[str] = []
    colours = {record.text: record.style.colour for record in project.prompts.all()}
    side = _SMALL_SIDE if project.images.counts().accepted > _MANY else _SIDE
    entries: list[_Entry] = []
    tables: list[Tables] = []
    for annotated in annotated_images(project, notes):
        masked = masked_image(project, annotated, notes)
        measured = measure([masked])
        tables.append(measured)
        picture = _picture(masked.image, annotated, colours, side)
        entries.append(_Entry(annotated, picture, measured.images, project.corrections.select(annotated.record.id)))
    write_text(path, _page(project, entries, tables, colours, notes))
    return notes


def _page(
    project: Project,
    entries: Sequence[_Entry],
    tables: Sequence[Tables],
    colours: Mapping[str, str],
    notes: Sequence[str],
) -> str:
    parts = [
        "<!DOCTYPE html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(project.name)}</title>',
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>',
        f"<h1>{escape(project.name)}</h1>",
        _methods(project, entries),
        "<h2>Prompts</h2>",
        _prompts(tables, colours),
        "<h2>Models</h2>",
        _models(project),
        "<h2>Images</h2>",
        *(_article(entry, colours) for entry in entries),
    ]
    if notes:
        parts += ["<h2>Notes</h2><ul>", *(f"<li>{escape(note)}</li>" for note in notes), "</ul>"]
    return "\n".join([*parts, "</body></html>\n"])


def _methods(project: Project, entries: Sequence[_Entry]) -> str:
    """Return a paragraph that a methods section can start from."""
    counts = project.images.counts()
    corrections = [correction for entry in entries for correction in entry.corrections]
    authors = sorted({correction.author for correction in corrections})
    days = sorted(correction.accepted_at[:10] for correction in corrections)
    hours = sum(correction.seconds_spent for correction in corrections) / 3600
    proposed = sum(correction.model is not None for correction in corrections)
    served = project.models.served()
    model = "an installed model" if served is None else f"the model {served.name} (licence {served.licence})"
    text = (
        f"Masks were made with napari-amvlm {version('napari-amvlm')} by {', '.join(authors)}, "
        f"{'on ' + days[0] if days[0] == days[-1] else f'from {days[0]} to {days[-1]}'} (UTC). "
        f"The project has {counted(counts.images, 'image')}, {counts.accepted} of them with accepted masks; "
        f"{counts.held_out} of these were held out to score models and not learnt from. "
        f"Of {counted(len(corrections), 'accepted mask')}, {proposed} were proposed by a model and then accepted or "
        f"corrected by a person; {len(corrections) - proposed} were "
        f"drawn or imported. Work on them took {hours:.1f} hours. The project is served by {model}."
    )
    return f"<p>{escape(text)}</p>"


def _prompts(tables: Sequence[Tables], colours: Mapping[str, str]) -> str:
    import pandas as pd

    images = pd.concat([one.images for one in tables], ignore_index=True)
    rows = []
    for prompt, of_prompt in images.groupby("prompt", sort=False):
        area = _area(of_prompt)
        mean = f"{of_prompt['objects'].mean():.1f}"
        rows.append([_titled(str(prompt), colours), len(of_prompt), int(of_prompt["objects"].sum()), mean, *area])
    return _table(["prompt", "images", "objects", "objects per image", "area", "mean area of an object"], rows)


def _area(rows: pd.DataFrame) -> tuple[str, str]:
    """Return the area of all objects and of one: physical where every image tells its pixel size, else in pixels."""
    known = {name: unit for name, unit in _AREAS.items() if name in rows and rows[name].notna().all()}
    column, unit = next(iter(known.items()))
    total, count = float(rows[column].sum()), int(rows["objects"].sum())
    return f"{_number(total)} {unit}", f"{_number(total / count)} {unit}" if count else ""


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _models(project: Project) -> str:
    served = project.models.served()
    models = project.models.all()
    if not models:
        return "<p>No model was learnt in this project.</p>"
    names = sorted({name for model in models for name in model.scores})
    rows = [
        [
            escape(model.name) + (" (serving)" if served is not None and served.id == model.id else ""),
            escape(model.parent or ""),
            escape(model.licence),
            escape(model.created_at[:10]),
            *(_score(model, name) for name in names),
        ]
        for model in models
    ]
    return _table(["model", "learnt from", "licence", "date", *map(escape, names)], rows)


def _score(model: ModelRecord, name: str) -> str:
    return f"{model.scores[name]:.3f}" if name in model.scores else ""


def _article(entry: _Entry, colours: Mapping[str, str]) -> str:
    record = entry.image.record
    by_prompt = {correction.prompt: correction for correction in entry.corrections}
    rows = []
    for row in entry.rows.to_dict("records"):
        prompt = str(row["prompt"])
        correction = by_prompt[prompt]
        total, mean = _area(entry.rows[entry.rows["prompt"] == prompt])
        share = f"{100 * row['share']:.2f} %"
        when = f"{correction.author}, {correction.accepted_at[:16].replace('T', ' ')}"
        rows.append(
            [_titled(prompt, colours), row["objects"], total, share, mean, escape(_how(correction)), escape(when)]
        )
    reviewed = 1.0 if entry.image.reviewed is None else float(entry.image.reviewed.mean())
    held_out = "; held out" if record.held_out else ""
    facts = f"{record.shape[1]} x {record.shape[0]} pixels; {100 * reviewed:.0f} % reviewed{held_out}"
    header = ["prompt", "objects", "area", "of the image", "mean area", "from", "accepted"]
    return (
        f'<article><img alt="{escape(record.name)} with outlines" src="{entry.picture}"><div>'
        f'<h3>{escape(record.name)}</h3><p class="small">{facts}</p>{_table(header, rows)}</div></article>'
    )


def _how(correction: CorrectionRecord) -> str:
    """Return where a mask came from before a person accepted it."""
    if correction.origin:
        return f"imported from {PurePath(correction.origin).name}"
    if correction.model is None:
        return "drawn by hand"
    threshold = "" if correction.threshold is None else f", threshold {correction.threshold:.2f}"
    return f"{correction.model}{threshold}"


def _titled(prompt: str, colours: Mapping[str, str]) -> str:
    return f'<span class="swatch" style="background:{colours[prompt]}"></span> {escape(prompt)}'


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    head = "".join(f"<th>{title}</th>" for title in header)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _picture(image: ImageData | None, annotated: AnnotatedImage, colours: Mapping[str, str], side: int) -> str:
    """Return a small picture with the outlines of all objects, as a data URI."""
    from PIL import Image
    from skimage.segmentation import find_boundaries

    height, width = annotated.record.shape
    factor = min(1.0, side / max(height, width))
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    pixels = np.full((*size, 3), 128, np.uint8) if image is None else _shrunk(image, size)
    rows, columns = (np.arange(n) * length // n for n, length in zip(size, (height, width), strict=True))
    for prompt, objects in annotated.objects.items():
        border = find_boundaries(objects[np.ix_(rows, columns)], mode="inner")
        pixels[border] = tuple(bytes.fromhex(colours[prompt][1:]))
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="JPEG", quality=88, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def _shrunk(image: ImageData, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return an image as 8-bit colours of `size`, from the smallest level that is large enough."""
    from PIL import Image

    level = next((one for one in reversed(image.levels) if one.shape[0] >= size[0]), image.data)
    shown = (255 * to_rgb01(np.asarray(level))).round().astype(np.uint8)
    return np.array(Image.fromarray(shown).resize((size[1], size[0]), Image.Resampling.BOX))
