"""Writes the manual's page of words out of the configuration of weights.

python -m training.word_page [--model MODEL] [-o docs/words.md]
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_amvlm.models.catalog import find_model
from napari_amvlm.models.model_info import read_info
from napari_amvlm.models.word_list import word_table
from training.command import run_command

if TYPE_CHECKING:
    from napari_amvlm.models.model_info import ModelInfo

PAGE = Path(__file__).parents[1] / "docs" / "words.md"


def word_page(info: ModelInfo) -> str:
    """Return the page of the words of a model."""
    return f"""# Words

What {info.name} {info.version} was taught, out of its own configuration; `napari-amvlm models --words`
prints it, for models of your own too. Dice is the mean on images that it did not learn from. The
prompt field of the dock completes these words and their wordings, and marks what is not taught.
Number, order, spelling and articles of a prompt do not matter.

{word_table(info.config)}"""


def main(
    model: Annotated[str | None, typer.Option(help="Installed model or file; the default model unless given.")] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="The page.")] = PAGE,
) -> None:
    """Write the page."""
    output.write_text(word_page(read_info(find_model(model))), encoding="utf-8")


if __name__ == "__main__":
    run_command(main)
