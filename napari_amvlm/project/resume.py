"""Where a person was when the project was closed; kept as one fact of the ledger."""

from __future__ import annotations

import dataclasses
import json
import logging
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from napari_amvlm.project.records import ResumeState

if TYPE_CHECKING:
    from napari_amvlm.project.ledger import Ledger

_KEY = "resume"

logger = logging.getLogger(__name__)


def read_resume(ledger: Ledger) -> ResumeState | None:
    """Return the stored state; one that cannot be read is only a lost convenience, so it is None too."""
    row = ledger.row("SELECT value FROM facts WHERE key = ?", (_KEY,))
    if row is None:
        return None
    try:
        stored = json.loads(row["value"])
        # Names first, which the dataclass checks; then types, which it does not.
        return TypeAdapter(ResumeState).validate_python(dataclasses.asdict(ResumeState(**stored)))
    except (ValueError, TypeError, RecursionError) as error:
        logger.warning("%s: where the work was left off cannot be read (%s).", ledger.path, type(error).__name__)
        return None


def write_resume(ledger: Ledger, state: ResumeState) -> None:
    """Store the state in place of the one before."""
    with ledger.transaction() as connection:
        value = json.dumps(dataclasses.asdict(state))
        connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (_KEY, value))
