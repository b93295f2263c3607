"""Files shared out to the workers of a dask scheduler."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_amvlm.cli.predicting import work
from napari_amvlm.errors import AmvlmError, InputError
from napari_amvlm.libraries import need_library

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from napari_amvlm.cli.predict_request import Outcome, Request
    from napari_amvlm.imaging import ImageSource


def predict_on_cluster(
    address: str, sources: Sequence[ImageSource], request: Request, *, model: Path, device: str
) -> Iterator[Outcome]:
    """Yield the outcome of every file as it comes; files, model and output must lie where all workers see them.

    Parameters
    ----------
    address
        Of the scheduler, for instance "tcp://10.0.0.1:8786".

    Raises
    ------
    InputError
        dask.distributed is not installed, or the scheduler does not answer.
    AmvlmError
        A worker had to end.
    """
    need_library("distributed", "cluster", "--scheduler takes")
    from distributed import Client, as_completed

    try:
        client = Client(address, timeout="10s")
    except (OSError, ValueError) as error:
        raise InputError(f"No dask scheduler answers at {address}; start one, or check the address.") from error
    there = replace(request, output=request.output.resolve())
    with client:
        # Never by hash: a file that was done in vain once is to be done again.
        futures = [
            client.submit(
                work, _resolved(source), there, model.resolve(), device, pure=False, key=f"{number}-{source.path.name}"
            )
            for number, source in enumerate(sources)
        ]
        for future in as_completed(futures):
            yield _outcome(future)


def _resolved(source: ImageSource) -> ImageSource:
    return replace(source, path=source.path.resolve(), files=tuple(file.resolve() for file in source.files))


def _outcome(future: Any) -> Outcome:
    try:
        result: Outcome = future.result()
    except AmvlmError:
        raise
    except Exception as error:  # whatever ended the worker: lost, killed, or without the package
        raise AmvlmError(f"A worker failed ({type(error).__name__}: {error}); look at its log.") from error
    return result
