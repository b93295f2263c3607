"""What the fuzzing tests share: ways to damage files and JSON, and a run of many cases that is the same every time."""

from __future__ import annotations

import contextlib
import copy
import json
import resource
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

EXTREMES = (0, 1, 2, *((1 << bits) - edge for bits in (7, 8, 15, 16, 31, 32, 40, 64) for edge in (0, 1)))
DEEP = "[" * 100_000 + "]" * 100_000
STRANGE: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 0.5, -0.5, 2**31, 2**63, 2**70, 10**400, 1e308, float("nan"), float("inf")),
    *("", "x", "x" * 5000, "nan", "1e999", "../../outside/secret", "/etc/passwd", "a\0b", "line\nbreak\x1b[2J"),
    "\ud800",
    *("__import__('os').system('true')", "tiles", [], {}, [[]], [{}], {"": None}, [1, 2, 3], "@deep@"),
)
"""Values that a file may have where another is expected; `@deep@` becomes 100,000 brackets within each other."""


@st.composite
def damages(draw):
    """Draw one way to damage a file; most of what is drawn is aimed at its header."""
    kind = draw(st.sampled_from(("flip", "flip", "field", "field", "field", "cut", "insert", "copy", "digits")))
    number = random_seed = draw(st.integers(0, 2**32 - 1))
    reach = draw(st.sampled_from((64, 400, 400, 2000, 1 << 30)))

    def damaged(content):
        random = np.random.default_rng(random_seed)
        changed = bytearray(content)
        reached = max(1, min(reach, len(changed)))
        place = int(random.integers(reached))
        if kind == "flip" and changed:
            for position in random.integers(0, reached, int(random.integers(1, 9))):
                changed[position] = int(random.integers(256))
        elif kind == "field":
            width = int(random.choice([1, 2, 4, 8]))
            value = EXTREMES[int(random.integers(len(EXTREMES)))] % (1 << 8 * width)
            changed[place : place + width] = value.to_bytes(width, "little" if number % 2 else "big")
        elif kind == "cut" and changed:
            del changed[int(random.integers(len(changed))) :]
        elif kind == "insert":
            changed[place:place] = random.integers(0, 256, int(random.integers(1, 40)), np.uint8).tobytes()
        elif kind == "copy":
            source = int(random.integers(reached))
            changed[place : place + 16] = changed[source : source + 16]
        else:
            digits = [at for at, byte in enumerate(changed[:200_000]) if 48 <= byte <= 57]
            if digits:
                at = digits[int(random.integers(len(digits)))]
                changed[at : at + 1] = str(EXTREMES[int(random.integers(len(EXTREMES)))]).encode()
        return bytes(changed)

    return damaged


@st.composite
def json_damages(draw):
    """Draw one way to change what stands in JSON: a value is another one, gone, there twice, or beside a stranger."""
    kind = draw(st.sampled_from(("other", "other", "other", "gone", "twice", "stranger")))
    place, value = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from(STRANGE))

    def damaged(content):
        changed = copy.deepcopy(content)
        places = list(_places(changed))
        holder, key = places[place % len(places)]
        if kind == "other":
            holder[key] = value
        elif kind == "gone":
            del holder[key]
        elif isinstance(holder, list):
            holder.append(holder[key] if kind == "twice" else value)
        else:
            holder["stranger" if kind == "stranger" else f"{key} again"] = value
        text = json.dumps(changed).replace('"@deep@"', DEEP)
        return text.encode("utf-8", "surrogatepass")

    return damaged


def _places(content):
    """Yield every place in a JSON value: what holds it, and its key."""
    pairs = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in list(pairs):
        yield content, key
        yield from _places(value)


def snapshot(folder):
    """Return the content of every file below a folder; links are told by where they lead."""
    return {
        str(path.relative_to(folder)): str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def try_cases(cases, case, *strategies):
    """Call `case` with what is drawn, the same things each time, and return how often that was."""
    count = 0

    @settings(
        max_examples=cases,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.tuples(*strategies))
    def run(drawn):
        nonlocal count
        count += 1
        case(*drawn)

    run()
    return count


def check_message(error, *named):
    """Check that an error is one sentence of reasonable length that names what it is about."""
    message = str(error)
    assert "\n" not in message, message
    assert len(message) < 1500, message
    assert any(name in message for name in named) if named else message


def few_or_many(few, many):
    """Give a test the number of `cases` to try: few, and many where the slow tests are run."""
    slow = pytest.param(many, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])
    return pytest.mark.parametrize("cases", [few, slow])


@contextlib.contextmanager
def bounded_memory(limit=1 << 30):
    """Fail where what is done inside adds so many bytes to the most that this process has had."""
    before = _peak()
    yield
    assert _peak() - before < limit


def _peak():
    """Return the largest memory that this process has had, bytes."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024
