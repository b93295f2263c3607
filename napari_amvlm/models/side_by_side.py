"""Parts of a batch beside one another on a processor, each with its share of the threads.

Threads that share one operation wait for each other after it, some hundred times in a pass. Where another thread of the
program needs a core for a while (to blend, compress or read), all of them wait for the one that lost it. Threads that
each have an image of their own do not.
"""

from __future__ import annotations

import functools
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

T = TypeVar("T")


def side_by_side(work: Callable[[Tensor], T], batch: Tensor) -> list[T]:
    """Return what `work` does with a batch, in one piece or in several.

    Parameters
    ----------
    work
        Called with some of the rows; on a processor perhaps from several threads at once. What is bound to a thread,
        such as autocast and inference mode, it has to enter itself.
    batch
        `(B, ...)`, B at least 1.
    """
    threads = torch.get_num_threads()
    parts = min(len(batch), threads)
    if batch.device.type != "cpu" or parts == 1:
        return [work(batch)]

    def with_share(rows: Tensor) -> T:
        torch.set_num_threads(threads // parts)  # of this thread
        return work(rows)

    try:
        return list(_pool().map(with_share, batch.tensor_split(parts)))
    finally:
        torch.set_num_threads(threads)  # new threads begin with what was set last


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, "tiles")
