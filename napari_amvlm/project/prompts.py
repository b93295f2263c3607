"""The prompts of a project: how a person set them, and who wins where their masks overlap."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from napari_amvlm.errors import InputError, ProjectError, PromptError
from napari_amvlm.project.records import PromptRecord, PromptStyle
from napari_amvlm.project.storage import value_errors
from napari_amvlm.review.overlaps import OverlapRule
from napari_amvlm.wording import tidied

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from napari_amvlm.config import ScaleName
    from napari_amvlm.project.ledger import Ledger

_RULE = "overlap rule"

PALETTE = ("#e69f00", "#56b4e9", "#f0e442", "#009e73", "#d55e00", "#cc79a7", "#0072b2")
"""Colours of prompts in the order in which they are given out, `#rrggbb`.

They are those of M. Okabe and K. Ito, "Color Universal Design" (2008), without black: people of every kind of colour
vision tell them apart. Those that stand out least from H&E and gray images, to people who see less red or green, come
last.
"""

_KEEPING = ("corrections", "drafts", "decisions", "run_prompt_scores")
"""Tables whose rows need their prompt."""

_COLOUR = re.compile(r"#[0-9a-f]{6}")


def clean_prompt(prompt: str) -> str:
    """Return a prompt with single spaces; `PromptError` when nothing is left."""
    text = tidied(prompt)
    if not text:
        raise PromptError("the prompt is empty: type what the mask shows, for example nuclei.")
    return text


def find_prompt(connection: sqlite3.Connection, prompt: str) -> int | None:
    """Return the id of a cleaned prompt, None where the project has not seen it."""
    row = connection.execute("SELECT id FROM prompts WHERE text = ?", (prompt,)).fetchone()
    return None if row is None else int(row[0])


def enter_prompt(connection: sqlite3.Connection, prompt: str) -> int:
    """Return the id of a cleaned prompt, entered inside a transaction where it is new, with a style of its own."""
    known = find_prompt(connection, prompt)
    if known is not None:
        return known
    style = next_style(_style(row) for row in connection.execute("SELECT * FROM prompts ORDER BY id"))
    connection.execute("INSERT INTO prompts (id, text, colour) VALUES (?, ?, ?)", (style.value, prompt, style.colour))
    return style.value


def next_style(styles: Iterable[PromptStyle]) -> PromptStyle:
    """Return the style of a new prompt beside those of `styles`: the next value, and the colour used least so far."""
    known = list(styles)
    uses = Counter(style.colour for style in known)
    return PromptStyle(
        value=max((style.value for style in known), default=0) + 1,
        colour=min(PALETTE, key=lambda colour: uses[colour]),
    )


class PromptTable:
    """The ledger's prompts."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def all(self) -> list[PromptRecord]:
        """Return all prompts: those with a place in the order of overlaps first, then as they came."""
        rows = self._ledger.rows("SELECT * FROM prompts ORDER BY priority IS NULL, priority, id")
        return [_record(row) for row in rows]

    def get(self, prompt: str) -> PromptRecord:
        """Return one prompt; `ProjectError` where the project has not seen it."""
        row = self._ledger.row("SELECT * FROM prompts WHERE text = ?", (clean_prompt(prompt),))
        if row is None:
            raise ProjectError(f"the project {self._ledger.root} has no prompt {prompt!r}: add it first.")
        return _record(row)

    def add(self, prompt: str) -> PromptRecord:
        """Enter a prompt, or return the one that is there."""
        prompt = clean_prompt(prompt)
        with self._ledger.transaction() as connection:
            enter_prompt(connection, prompt)
        return self.get(prompt)

    def remove(self, prompt: str) -> bool:
        """Take a prompt off the project; tell whether it went: one with stored masks, drafts or judgements stays."""
        with self._ledger.transaction() as connection:
            prompt_id = find_prompt(connection, clean_prompt(prompt))
            if prompt_id is None:
                return False
            for table in _KEEPING:
                if connection.execute(f"SELECT 1 FROM {table} WHERE prompt_id = ? LIMIT 1", (prompt_id,)).fetchone():
                    return False
            connection.execute("DELETE FROM tile_scores WHERE prompt_id = ?", (prompt_id,))
            connection.execute("DELETE FROM prompts WHERE id = ?", (prompt_id,))
        return True

    def set_up(
        self,
        prompt: str,
        *,
        threshold: float | None = None,
        scale: ScaleName | None = None,
        magnification: float | None = None,
    ) -> PromptRecord:
        """Store how a person set a prompt, which is entered if it is new; None leaves it to the program.

        Raises
        ------
        InputError
            The threshold is not in [0, 1], the magnification not above 0, or the scale unknown.
        """
        prompt = clean_prompt(prompt)
        if threshold is not None and not 0 <= threshold <= 1:
            raise InputError(f"the threshold of {prompt!r} must lie in [0, 1], but is {threshold}: choose another.")
        if magnification is not None and not magnification > 0:
            raise InputError(f"the magnification of {prompt!r} must be above 0, but is {magnification}: change it.")
        if scale not in (None, "tiles", "whole"):
            raise InputError(f'the scale of {prompt!r} must be "tiles" or "whole", but is {scale!r}: choose one.')
        with self._ledger.transaction() as connection:
            prompt_id = enter_prompt(connection, prompt)
            connection.execute(
                "UPDATE prompts SET threshold = ?, scale = ?, magnification = ? WHERE id = ?",
                (threshold, scale, magnification, prompt_id),
            )
        return self.get(prompt)

    def style(self, prompt: str) -> PromptStyle:
        """Return how a prompt looks on every image; one that is new, as it would look if it were added now."""
        text = clean_prompt(prompt)
        styles = {record.text: record.style for record in self.all()}
        return styles[text] if text in styles else next_style(styles.values())

    def set_colour(self, prompt: str, colour: str) -> PromptStyle:
        """Give a prompt another colour, `#rrggbb`, on every image; it is entered if it is new.

        Raises
        ------
        InputError
            It is no such colour.
        """
        if not _COLOUR.fullmatch(colour.lower()):
            raise InputError(f"the colour {colour!r} of {prompt!r} must be given as #rrggbb: for example #e69f00.")
        return self._set(prompt, "colour", colour.lower())

    def set_separate_objects(self, prompt: str, separate: bool) -> PromptStyle:
        """Choose whether the objects of a prompt are told apart on every image; it is entered if it is new."""
        return self._set(prompt, "separate_objects", int(separate))

    def _set(self, prompt: str, column: str, value: str | int) -> PromptStyle:
        prompt = clean_prompt(prompt)
        with self._ledger.transaction() as connection:
            prompt_id = enter_prompt(connection, prompt)
            connection.execute(f"UPDATE prompts SET {column} = ? WHERE id = ?", (value, prompt_id))
        return self.get(prompt).style

    def overlap_rule(self) -> OverlapRule:
        """Return who wins a pixel that several masks claim; `OverlapRule.SMALLEST` until somebody changes it."""
        row = self._ledger.row("SELECT value FROM facts WHERE key = ?", (_RULE,))
        with value_errors(self._ledger.path, "the rule for overlaps"):
            return OverlapRule.SMALLEST if row is None else OverlapRule(row["value"])

    def set_overlap_rule(self, rule: OverlapRule, order: Sequence[str] = ()) -> None:
        """Change who wins overlaps.

        Parameters
        ----------
        order
            Prompts from the one that wins to the one that loses, for `OverlapRule.PRIORITY`; others lose to these.

        Raises
        ------
        InputError
            A prompt comes twice in the order.
        """
        prompts = [clean_prompt(prompt) for prompt in order]
        if len(set(prompts)) < len(prompts):
            raise InputError(f"the order of overlaps names a prompt twice ({', '.join(prompts)}): name each once.")
        with self._ledger.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (_RULE, rule.value))
            connection.execute("UPDATE prompts SET priority = NULL")
            for priority, prompt in enumerate(prompts):
                prompt_id = enter_prompt(connection, prompt)
                connection.execute("UPDATE prompts SET priority = ? WHERE id = ?", (priority, prompt_id))

    def overlap_order(self) -> list[str]:
        """Return the prompts that have a place in the order of overlaps, the winner first."""
        return [prompt.text for prompt in self.all() if prompt.priority is not None]


def _record(row: sqlite3.Row) -> PromptRecord:
    fields = ("id", "text", "priority", "threshold", "scale", "magnification")
    return PromptRecord(style=_style(row), **{name: row[name] for name in fields})


def _style(row: sqlite3.Row) -> PromptStyle:
    """Return how a prompt looks; what cannot be a colour is taken for the first one."""
    colour = row["colour"] if _COLOUR.fullmatch(row["colour"] or "") else PALETTE[0]
    return PromptStyle(row["id"], colour, bool(row["separate_objects"]))
