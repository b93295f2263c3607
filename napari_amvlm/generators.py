"""Generators that report while they work and return a result."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

Report = TypeVar("Report")
Result = TypeVar("Result")


def drain(generator: Generator[Report, None, Result], on_report: Callable[[Report], object]) -> Result:
    """Run a generator to its end, call `on_report` with what it yields, and return what it returns."""
    while True:
        try:
            report = next(generator)
        except StopIteration as end:
            result: Result = end.value
            return result
        on_report(report)
