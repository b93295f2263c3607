"""Drafts: what was painted and not accepted yet, kept on the disk until it is accepted or rejected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_amvlm.files import remove_quietly
from napari_amvlm.project.ledger import Ledger, now
from napari_amvlm.project.mask_files import MaskFiles, checked_maps
from napari_amvlm.project.prompts import clean_prompt, enter_prompt, find_prompt
from napari_amvlm.project.records import Answer, DraftRecord

if TYPE_CHECKING:
    import sqlite3

    from napari_amvlm.project.images import ImageTable

_KINDS = ("mask", "objects", "reviewed", "before")
_FILES = ", ".join(f"{kind}_file" for kind in _KINDS)


class DraftTable:
    """The drafts of a project, at most one for each prompt of an image: `project.drafts`."""

    def __init__(self, ledger: Ledger, images: ImageTable) -> None:
        self._ledger = ledger
        self._images = images
        self._files = MaskFiles(ledger.root, "drafts")
        if not ledger.read_only:
            self._remove_unnamed()

    def _remove_unnamed(self) -> None:
        """Remove files of drafts that were replaced or dropped when the program was killed."""
        named = {file for row in self._ledger.rows(f"SELECT {_FILES} FROM drafts") for file in row}
        for path in (self._ledger.root / "drafts").glob("*.tif"):
            if f"drafts/{path.name}" not in named:
                remove_quietly(path)

    def keep(self, image_id: int, prompt: str, answer: Answer, base: int | None = None) -> DraftRecord:
        """Store what is painted for a prompt, in place of its former draft; it is on the disk when this returns.

        Parameters
        ----------
        image_id
            The image; a slice of a stack and a region of a slide are images of their own.
        prompt
            The prompt, entered if it is new.
        answer
            What Accept would store; `region` and `origin` are not kept.
        base
            The id of the accepted correction that was painted over; None where nothing was accepted.

        Raises
        ------
        LabelsError
            A mask does not fit the image.
        StorageError
            The disk refused; the former draft stays.
        """
        self._ledger.require_writer()
        image, prompt = self._images.get(image_id), clean_prompt(prompt)
        row = {
            "image_id": image_id,
            "base": base,
            "model": answer.model,
            "threshold": None if answer.threshold is None else float(answer.threshold),
            "seconds_spent": float(answer.seconds_spent),
            "scale": answer.scale,
            "magnification": answer.magnification,
            "kept_at": now(),
        }
        with (
            self._files.written(image_id, checked_maps(image, answer)) as files,
            self._ledger.transaction() as connection,
        ):
            prompt_id = enter_prompt(connection, prompt)
            former = remove_draft(connection, image_id, prompt_id)
            values = row | files | {"prompt_id": prompt_id}
            marks = ", ".join("?" * len(values))
            connection.execute(f"INSERT INTO drafts ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))
        self._files.remove(former)
        (draft,) = (draft for draft in self.of(image_id) if draft.prompt == prompt)
        return draft

    def of(self, image_id: int) -> list[DraftRecord]:
        """Return the drafts of an image, without their pixels, in the order in which its prompts came."""
        return [draft for draft in self.all() if draft.image_id == image_id]

    def all(self) -> list[DraftRecord]:
        """Return all drafts, without their pixels."""
        rows = self._ledger.rows(
            "SELECT drafts.*, prompts.text AS prompt FROM drafts JOIN prompts ON prompts.id = prompt_id "
            "ORDER BY image_id, prompt_id"
        )
        return [DraftRecord(**{name: row[name] for name in DraftRecord.__dataclass_fields__}) for row in rows]

    def load(self, draft: DraftRecord) -> Answer:
        """Return what Accept would store; `ProjectError` where a file is gone or was changed."""
        shape = self._images.get(draft.image_id).shape
        reviewed = self._files.mask(draft, "reviewed", shape) if draft.reviewed_file else None
        return Answer(
            self._files.mask(draft, "mask", shape),
            objects=self._files.map(draft, "objects", shape) if draft.objects_file else None,
            reviewed=reviewed,
            before=self._files.mask(draft, "before", shape) if draft.before_file else None,
            model=draft.model,
            threshold=draft.threshold,
            seconds_spent=draft.seconds_spent,
            scale=draft.scale,
            magnification=draft.magnification,
        )

    def drop(self, image_id: int, prompt: str) -> None:
        """Remove the draft of a prompt on an image, if there is one."""
        with self._ledger.transaction() as connection:
            files = remove_draft(connection, image_id, find_prompt(connection, clean_prompt(prompt)))
        self._files.remove(files)


def remove_draft(connection: sqlite3.Connection, image_id: int, prompt_id: int | None) -> list[str]:
    """Remove the row of a draft inside a transaction; return its files, which go when that has ended."""
    where = "FROM drafts WHERE image_id = ? AND prompt_id = ?"
    rows = connection.execute(f"SELECT {_FILES} {where}", (image_id, prompt_id)).fetchall()
    connection.execute(f"DELETE {where}", (image_id, prompt_id))
    return [file for row in rows for file in row if file is not None]
