"""Says which extra to install where an optional library is missing."""

from __future__ import annotations

import importlib.util

from napari_amvlm.errors import InputError


def need_library(module: str, extra: str, use: str, *, error: type[InputError] = InputError) -> None:
    """Raise `error` where a library of an extra is not installed; it is not imported.

    Parameters
    ----------
    module, extra
        The library, and the extra of this package that installs it.
    use
        Beginning of the sentence, such as "ROIs of ImageJ take".
    error
        What is raised.
    """
    if importlib.util.find_spec(module) is None:
        raise error(f'{use} the library {module}; install it: pip install "napari-amvlm[{extra}]".')
