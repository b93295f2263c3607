"""`python -m napari_amvlm` is the command line."""

from __future__ import annotations

import sys

from napari_amvlm.cli import main

if __name__ == "__main__":
    sys.exit(main())
