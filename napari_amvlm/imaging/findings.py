"""Captions of QaTa-COV19, read leniently: what was found, on how many sides, in how many areas and where.

The grammar is `{Bilateral|Unilateral} pulmonary infection, N infected area(s), {all|[upper][ middle][ lower]} left lung
and {...} right lung.`, or `No pulmonary infection.` Published copies misspell words ("midlle"), leave out spaces
("leftlung") and swap words ("left upper lung").
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Zone = Literal["upper", "middle", "lower"]
ZONES: tuple[Zone, ...] = ("upper", "middle", "lower")
INFECTION = "pulmonary infection"

_NUMBERS = {
    word: number
    for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
    )
}
_MISSPELT = ("bilateral", "unilateral", "pulmonary", "infection", "infected", "upper", "middle", "lower", "right")
"""Words that are also known with a wrong letter; longer ones with two."""
_EXACT = {
    **{word: word for word in (*_MISSPELT, *_NUMBERS, "all", "no", "and", "left", "lung", "area")},
    "uper": "upper",
    "mid": "middle",
    "rigth": "right",
    "lungs": "lung",
    "areas": "area",
    "infections": "infection",
    "without": "no",
}
_OTHER_WORDS = frozenset(
    ("light", "night", "bright", "fright", "power", "tower", "slower", "flower", "supper", "injection")
)
"""Words of their own that are one letter from one of ours."""
_LONGEST = 48
_PIECES = re.compile(r"[^\W\d_]+|\d+|[,.;:/&]")


@dataclass(frozen=True)
class Finding:
    """What a caption says.

    Attributes
    ----------
    concept
        "pulmonary infection"; None where the caption names no infection.
    laterality
        "bilateral" or "unilateral"; None where it is not said.
    areas
        Number of infected areas; 0 where the caption denies the infection, None where it is not said.
    left, right
        Zones of the patient's left and right lung, from top to bottom; empty where that lung is not named or the
        infection is denied. A lung named without zones has those of the other one, or else all.
    """

    concept: str | None
    laterality: Literal["bilateral", "unilateral"] | None
    areas: int | None
    left: tuple[Zone, ...]
    right: tuple[Zone, ...]


def parse_finding(caption: str) -> Finding | None:
    """Read a caption in QaTa-COV19's grammar.

    Parameters
    ----------
    caption
        Any text; nothing raises.

    Returns
    -------
    Finding or None
        What could be understood, with the rest left as the fields of `Finding` say; None where that is nothing.

    Examples
    --------
    >>> found = parse_finding("Bilateral pulmonary infection, 2 infected areas, midlle lower leftlung, all right lung")
    >>> found.laterality, found.areas, found.left, found.right
    ('bilateral', 2, ('middle', 'lower'), ('upper', 'middle', 'lower'))
    """
    words = [word for piece in _PIECES.findall(caption.casefold()) for word in _known(piece)]
    concept = INFECTION if "infection" in words or "infected" in words else None
    if concept and _denied(words):
        return Finding(concept, None, 0, (), ())
    laterality: Literal["bilateral", "unilateral"] | None = None
    if "bilateral" in words or "unilateral" in words:
        laterality = "bilateral" if "bilateral" in words else "unilateral"
    areas = _areas(words)
    zones = _zones(words)
    if concept is None and laterality is None and areas is None and not any(zones):
        return None
    return Finding(concept, laterality, areas, *zones)


@lru_cache(maxsize=4096)
def _known(piece: str) -> tuple[str, ...]:
    """Return the words of the grammar that a run of letters, digits or a sign stands for; "?" for another word."""
    if not piece.isalpha():
        return (piece,) if piece.isdecimal() else (",",)
    alone = _meant(piece)
    if alone is not None:
        return (alone,)
    return _split(piece) or ("?",)


def _split(run: str) -> tuple[str, ...] | None:
    """Return the words that `run` consists of where spaces were left out, the fewest; None if it does not."""
    if len(run) > _LONGEST:
        return None
    best: list[tuple[str, ...] | None] = [(), *[None] * len(run)]
    for end in range(1, len(run) + 1):
        for start in range(max(0, end - 12), end):
            before = best[start]
            word = _meant(run[start:end]) if before is not None else None
            if before is None or word is None:
                continue
            now = best[end]
            if now is None or len(before) + 1 < len(now):
                best[end] = (*before, word)
    return best[-1]


@lru_cache(maxsize=16384)
def _meant(run: str) -> str | None:
    """Return the word of the grammar that `run` is, or misspells."""
    if run in _EXACT:
        return _EXACT[run]
    if len(run) < 5 or run in _OTHER_WORDS:
        return None
    distance, nearest = min((_distance(run, word), word) for word in _MISSPELT)
    return nearest if distance <= (2 if len(nearest) >= 8 else 1) else None


def _distance(a: str, b: str) -> int:
    """Return how many letters must be changed, added, dropped or swapped with their neighbour to turn `a` into `b`."""
    if abs(len(a) - len(b)) > 2:
        return 3
    rows = [list(range(len(b) + 1))]
    for i, x in enumerate(a, start=1):
        row = [i]
        for j, y in enumerate(b, start=1):
            cost = min(rows[-1][j] + 1, row[j - 1] + 1, rows[-1][j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, rows[-2][j - 2] + 1)
            row.append(cost)
        rows.append(row)
    return rows[-1][-1]


def _denied(words: list[str]) -> bool:
    """Tell whether "no" stands before "infection" with at most one word in between."""
    return any("no" in words[max(0, i - 2) : i] for i, word in enumerate(words) if word in ("infection", "infected"))


def _areas(words: list[str]) -> int | None:
    """Return the number that stands before "area", with at most one word in between."""
    for index, word in enumerate(words):
        if word == "area":
            for near in reversed(words[max(0, index - 2) : index]):
                if near in _NUMBERS:
                    return _NUMBERS[near]
                if near.isdecimal() and len(near) <= 3:
                    return int(near)
    return None


def _zones(words: list[str]) -> tuple[tuple[Zone, ...], tuple[Zone, ...]]:
    """Return the zones of the left and of the right lung; the words must speak of a lung or a zone."""
    told: list[tuple[str, set[str]]] = []
    waiting: set[str] = set()
    if "lung" not in words and not any(_of(word) for word in words):
        return (), ()
    for clause in _clauses(words):
        sides = [word for word in clause if word in ("left", "right")]
        zones = {zone for word in clause for zone in _of(word)}
        if not sides:
            waiting |= zones
        elif len(sides) == 1:
            told.append((sides[0], zones | waiting))
            waiting = set()
        else:
            told += _in_turn(clause, waiting)
            waiting = set()
    if told and waiting:
        told[-1][1].update(waiting)
    said = [zones for _, zones in told if zones]
    found: dict[str, set[str]] = {"left": set(), "right": set()}
    for side, zones in told:
        found[side] |= zones or (said[0] if said else set(ZONES))
    return _ordered(found["left"]), _ordered(found["right"])


def _clauses(words: list[str]) -> list[list[str]]:
    clauses: list[list[str]] = [[]]
    for word in words:
        if word in (",", "and"):
            clauses.append([])
        else:
            clauses[-1].append(word)
    return clauses


def _in_turn(clause: list[str], waiting: set[str]) -> list[tuple[str, set[str]]]:
    """Return the zones of each side in a clause of several; zones stand before their side, or all behind it."""
    relevant = [word for word in clause if word in ("left", "right") or _of(word)]
    told: list[tuple[str, set[str]]] = []
    before = relevant[0] not in ("left", "right") or bool(waiting)
    zones = set(waiting)
    for word in relevant:
        if word in ("left", "right"):
            told.append((word, zones if before else set()))
            zones = set()
        elif before:
            zones |= _of(word)
        else:
            told[-1][1].update(_of(word))
    if before:
        told[-1][1].update(zones)
    return told


def _of(word: str) -> set[str]:
    return set(ZONES) if word == "all" else {word} & set(ZONES)


def _ordered(zones: set[str]) -> tuple[Zone, ...]:
    return tuple(zone for zone in ZONES if zone in zones)
