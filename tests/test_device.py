"""Devices by name, and what counts as too little memory."""

import pytest
import torch

from napari_amvlm.device import (
    available_devices,
    bounded_threads,
    lost_errors,
    memory_errors,
    release_memory,
    resolve_device,
)
from napari_amvlm.errors import DeviceError, DeviceLostError, OutOfMemoryError

_CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError("MPS backend out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried to"),
        MemoryError(),
    ],
)
def test_too_little_memory_is_one_sentence_with_a_mend(error):
    with pytest.raises(OutOfMemoryError) as caught, memory_errors(_CPU, "this image", "close programs"):
        raise error

    assert str(caught.value) == "cpu has not enough memory for this image; close programs."
    assert caught.value.__cause__ is error
    assert error.__traceback__ is None


@pytest.mark.parametrize(
    "words",
    [
        "CUDA error: an illegal memory access was encountered",
        "Unsupported memory format. Supported ones are channels_last and contiguous",
        "mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)",
    ],
)
def test_other_errors_that_speak_of_memory_stay_what_they_are(words):
    with pytest.raises(RuntimeError, match=r"memory|shapes"), memory_errors(_CPU, "this image", "close programs"):
        raise RuntimeError(words)


@pytest.mark.parametrize(
    "words",
    [
        "CUDA error: unspecified launch failure\nCUDA kernel errors might be asynchronously reported later.",
        "CUDA error: uncorrectable ECC error encountered",
        "HIP error: an illegal memory access was encountered",
        "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
    ],
)
def test_a_lost_device_is_one_sentence_with_a_mend(words):
    with pytest.raises(DeviceLostError) as caught, lost_errors(_CPU):
        raise RuntimeError(words)

    assert str(caught.value).startswith(f"cpu does not answer any more ({words.splitlines()[0]}); start the program")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("words", ["CUDA error: out of memory", "mat1 and mat2 shapes cannot be multiplied"])
def test_other_errors_are_no_lost_device(words):
    with pytest.raises(RuntimeError, match=r"memory|shapes"), lost_errors(_CPU):
        raise RuntimeError(words)


def test_the_cpu_is_always_there_and_auto_is_one_of_them():
    found = available_devices()

    assert "cpu" in found
    assert resolve_device("auto") == torch.device(next(iter(found)))


def test_a_device_that_is_not_there():
    with pytest.raises(DeviceError, match=r"'cuda:77' is not there; choose one of: auto, .*cpu"):
        resolve_device("cuda:77")


def test_threads_are_bounded_and_set_back_even_after_a_failure():
    before = torch.get_num_threads()

    def fail():
        with bounded_threads(1):
            inside.append(torch.get_num_threads())
            raise ZeroDivisionError

    inside = []
    with pytest.raises(ZeroDivisionError):
        fail()

    assert inside == [1]
    assert torch.get_num_threads() == before


def test_releasing_keeps_what_is_in_use():
    kept = torch.arange(4)

    release_memory(_CPU)

    assert kept.tolist() == [0, 1, 2, 3]
