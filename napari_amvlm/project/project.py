"""A project folder, asked by table: images, corrections, prompts, queue, locks, models and runs."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import TypeAdapter

from napari_amvlm.project.corrections import CorrectionTable
from napari_amvlm.project.drafts import DraftTable
from napari_amvlm.project.images import ImageTable
from napari_amvlm.project.ledger import LEDGER_NAME, Ledger, create_ledger
from napari_amvlm.project.locks import LockTable
from napari_amvlm.project.models import ModelTable
from napari_amvlm.project.prompts import PromptTable
from napari_amvlm.project.queue import QueueTable
from napari_amvlm.project.records import ResumeState
from napari_amvlm.project.runs import RunTable

if TYPE_CHECKING:
    from types import TracebackType

_RESUME = "resume"

logger = logging.getLogger(__name__)


class Project:
    """An open project; made by `create`, `open` or `open_or_create`, and a context manager.

    Threads of one program may share it. One program writes at a time; others may open it with `read_only=True`.

    Attributes
    ----------
    images
        The images, and which of them are held out.
    drafts
        What was painted and not accepted yet.
    prompts
        The prompts, how they look and are set, and who wins overlaps.
    queue
        What is to be done, and in which order.
    locks
        Which accepted objects a model may change.
    models
        The models learnt here, and which of them serves.
    runs
        The learning runs, and what they were scored.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.images = ImageTable(ledger)
        self.corrections = CorrectionTable(ledger, self.images)
        self.prompts = PromptTable(ledger)
        self.drafts = DraftTable(ledger, self.images)
        self.queue = QueueTable(ledger)
        self.locks = LockTable(ledger, self.corrections)
        self.models = ModelTable(ledger)
        self.runs = RunTable(ledger)
        row = ledger.row("SELECT value FROM facts WHERE key = 'name'")
        self.name: str = ledger.root.stem if row is None else row["value"]

    @classmethod
    def create(cls, path: str | Path, *, name: str | None = None) -> Self:
        """Make a new project folder; `ProjectError` where there is one, or other files."""
        root = Path(path)
        create_ledger(root, name or root.stem)
        return cls.open(root)

    @classmethod
    def open(cls, path: str | Path, *, read_only: bool = False) -> Self:
        """Open a project.

        Raises
        ------
        ProjectError
            Not a project, a damaged ledger, or one of a newer version.
        ProjectBusyError
            Another program has it open for writing.
        """
        ledger = Ledger(Path(path), read_only=read_only)
        try:
            return cls(ledger)
        except BaseException:
            ledger.close()
            raise

    @classmethod
    def open_or_create(cls, path: str | Path) -> Self:
        """Open the project at `path`, made first where there is none."""
        return cls.open(path) if (Path(path) / LEDGER_NAME).exists() else cls.create(path)

    @property
    def root(self) -> Path:
        """The project folder."""
        return self._ledger.root

    @property
    def read_only(self) -> bool:
        """True when nothing can be changed through this object."""
        return self._ledger.read_only

    def close(self) -> None:
        """Close the project and let the next writer in; calling it twice does no harm."""
        self._ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def resume_state(self) -> ResumeState | None:
        """Return where the person was when this was last stored; None where it never was, or cannot be read."""
        row = self._ledger.row("SELECT value FROM facts WHERE key = ?", (_RESUME,))
        if row is None:
            return None
        try:
            stored = json.loads(row["value"])
            # Names first, which the dataclass checks; then types, which it does not.
            return TypeAdapter(ResumeState).validate_python(dataclasses.asdict(ResumeState(**stored)))
        except (ValueError, TypeError, RecursionError) as error:
            logger.warning("%s: the resume position cannot be read (%s).", self._ledger.path, type(error).__name__)
            return None

    def store_resume_state(self, state: ResumeState) -> None:
        """Store where the person is, to resume there another day."""
        with self._ledger.transaction() as connection:
            value = json.dumps(dataclasses.asdict(state))
            connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (_RESUME, value))
