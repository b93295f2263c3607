"""The conditions of a benchmark: its options, and the machine as the programs on it can tell."""

from __future__ import annotations

import contextlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import Field

from napari_amvlm.config import Config

SAMPLES = Path(__file__).parents[2] / "sample_data"
PACKAGES = ("napari-amvlm", "torch", "transformers", "napari", "PyQt6", "numpy", "scipy", "zarr", "tifffile", "dask")
_CPUINFO = Path("/proc/cpuinfo")


class Options(Config):
    """Which model, where, and on what."""

    model: str | None = Field(None, description="name of an installed model, or a model file; None: the default")
    device: str = Field("auto", description="where the model computes")
    tissue: Path = Field(SAMPLES / "nuclei", description="data folder whose images slides are made of")
    learning: Path = Field(SAMPLES / "nuclei", description="data folder with masks that is learnt from")
    prompt: str = Field("nuclei", description="what the masks of `learning` show")
    minutes: float = Field(1.0, gt=0, le=60, description="budget of the learning run")
    side: int = Field(40_000, ge=3000, le=200_000, description="side of the slide that is written, pixels")


def describe() -> dict[str, str]:
    """Return processor, cores, memory, devices, number format, system and versions, each in words."""
    import psutil
    import torch

    from napari_amvlm.device import available_devices, resolve_device, supports_bfloat16

    device = resolve_device()
    half = "bfloat16" if supports_bfloat16(device) else "float32"
    return {
        "processor": processor(),
        "cores": f"{os.cpu_count()} ({usable_cores()} usable)",
        "memory": f"{psutil.virtual_memory().total / 2**30:.1f} GB",
        "devices": ", ".join(f"{name}: {words}" for name, words in available_devices().items()),
        "computes": f"on {device}, in {half}, with {torch.get_num_threads()} torch threads",
        "load before the run": load(),
        "system": platform.platform(),
        "versions": ", ".join([f"Python {platform.python_version()}", *_versions()]),
    }


def processor() -> str:
    """Return the name of the processor, and of the instructions that decide how fast it computes in half precision."""
    name = platform.processor() or platform.machine()
    flags: set[str] = set()
    with contextlib.suppress(OSError):
        for line in _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            elif key.strip() == "flags":
                flags |= set(value.split())
    known = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    return f"{name} ({', '.join(known)})" if known else name


def usable_cores() -> int:
    """Return how many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load() -> str:
    """Return how busy the machine was in the last minutes: whether figures were disturbed."""
    if not hasattr(os, "getloadavg"):
        return "not known"
    minute, five, _ = os.getloadavg()
    return f"{minute:.2f} in the last minute, {five:.2f} in the last five"


def _versions() -> list[str]:
    versions = []
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions.append(f"{package} {version(package)}")
    return versions
