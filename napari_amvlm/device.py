"""Which device computes, and in which number format."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, TypeVar

from napari_amvlm.errors import DeviceError, DeviceLostError, OutOfMemoryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

T = TypeVar("T")

_LOST = ("cuda error", "hip error", "cudnn_status_execution_failed", "cudnn_status_internal_error", "device lost")
"""Messages of torch when a card fails; after a failed kernel, too, this program cannot use it any more."""

_NO_MEMORY = ("out of memory", "allocate memory", "not enough memory", "alloc_failed")
"""Messages of torch when memory runs out; the word alone also occurs in errors about memory formats and accesses."""


def available_devices() -> dict[str, str]:
    """Return the available devices, best first: `{"cuda:0": "NVIDIA RTX 4070", "cpu": "CPU, 8 cores"}`."""
    import torch

    devices: dict[str, str] = {}
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            devices[f"cuda:{index}"] = torch.cuda.get_device_name(index)
    if torch.backends.mps.is_available():
        devices["mps"] = "Apple GPU"
    devices["cpu"] = f"CPU, {os.cpu_count() or 1} cores"
    return devices


def resolve_device(name: str = "auto") -> torch.device:
    """Return the device called `name`; "auto" takes the best available one.

    Raises
    ------
    DeviceError
        The device is not available; the message lists those that are.
    """
    import torch

    devices = available_devices()
    if name == "auto":
        return torch.device(next(iter(devices)))
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in devices:
        raise DeviceError(f"Device {name!r} is not there; choose one of: {', '.join(['auto', *devices])}.")
    return torch.device(wanted)


def supports_bfloat16(device: torch.device) -> bool:
    """Return whether `device` computes faster in bfloat16 than in float32."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        probes = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
        return any(probe() for probe in probes if probe is not None)
    return False


def learning_layout(device: torch.device) -> torch.memory_format:
    """Return the order of maps in memory in which `device` differentiates convolutions fastest.

    That is with the channels last, but for processors that compute in float32: their backward pass takes about twice as
    long that way.
    """
    import torch

    slow = device.type == "cpu" and not supports_bfloat16(device)
    return torch.contiguous_format if slow else torch.channels_last


@contextlib.contextmanager
def autocast(device: torch.device) -> Iterator[None]:
    """Run the body in bfloat16 where the device gains by it, else in float32."""
    import torch

    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=supports_bfloat16(device)):
        yield


@contextlib.contextmanager
def bounded_threads(count: int | None = None) -> Iterator[None]:
    """Let torch use `count` CPU threads in the body; by default one fewer than there are cores."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or max(1, (os.cpu_count() or 2) - 1))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def memory_errors(device: torch.device, what: str, advice: str) -> Iterator[None]:
    """Turn the errors of torch and Python when memory runs out into one kind of error; others pass unchanged.

    Parameters
    ----------
    device
        Where the body computes.
    what, advice
        End of the sentence: "cpu has not enough memory for WHAT; ADVICE."

    Raises
    ------
    OutOfMemoryError
        The body ran out of memory.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and not any(words in str(error).lower() for words in _NO_MEMORY):
            raise
        # Without its frames the error does not keep alive what they had allocated.
        cause = error.with_traceback(None)
        raise OutOfMemoryError(f"{device} has not enough memory for {what}; {advice}.") from cause


def retry_with_less(
    compute: Callable[[], T],
    less: Callable[[], str | None],
    tell: Callable[[str], None],
    *,
    device: torch.device,
    what: str,
    advice: str,
) -> T:
    """Return what `compute` returns; each time that memory runs short, it is called again after `less`.

    Parameters
    ----------
    compute
        Computes as much at once as is set when it is called.
    less
        Halves what is computed at once and says so in a sentence; returns None where it cannot be less.
    tell
        Called with each sentence.
    device, what, advice
        As in `memory_errors`.

    Raises
    ------
    OutOfMemoryError
        The least did not fit.
    """
    while True:
        try:
            with memory_errors(device, what, advice):
                return compute()
        except OutOfMemoryError:
            change = less()
            if change is None:
                raise
            tell(change)
        # Outside of the handler, where the error no longer holds what had been allocated.
        release_memory(device)


@contextlib.contextmanager
def lost_errors(device: torch.device) -> Iterator[None]:
    """Turn the errors of torch when a card fails, is removed or is reset into one kind of error.

    After such a failure nothing can be computed on the card, nor read out of it, until the program is started again.

    Raises
    ------
    DeviceLostError
        The body lost its device.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error).lower()
        if not any(words in text for words in _LOST) or any(words in text for words in _NO_MEMORY):
            raise
        reason = str(error).splitlines()[0][:120]  # further lines are advice for programmers
        cause = error.with_traceback(None)
        raise DeviceLostError(
            f"{device} does not answer any more ({reason}); start the program again to use it."
        ) from cause


def free_memory(device: torch.device) -> int:
    """Return how many bytes a run on `device` may still take: of the card, or else of the machine."""
    import torch

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return int(psutil.virtual_memory().available)


def release_memory(device: torch.device) -> None:
    """Return the memory that torch holds in reserve on `device` to the system; tensors in use stay."""
    import torch

    with contextlib.suppress(RuntimeError):  # a lost card has no memory to return
        if device.type == "cuda":
            torch.cuda.empty_cache()
        elif device.type == "mps":
            torch.mps.empty_cache()
