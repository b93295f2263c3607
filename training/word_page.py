"""Writes the manual's page of words out of the configuration of weights, and a small picture of each word.

python -m training.word_page [--model MODEL] [--recipe RECIPE --data PATH] [-o docs/words.md]

With a recipe and the data, the pictures are drawn anew, out of the sets that may be shown; else those there stay.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_amvlm.errors import InputError
from napari_amvlm.models.catalog import find_model
from napari_amvlm.models.model_info import read_info
from napari_amvlm.models.words.word_list import word_table
from training import command
from training.pretraining.recipe import Recipe
from training.runs.markdown import table
from training.runs.recipe import read_recipe
from training.words.pictures import draw_words, read_credits
from training.words.run import sets_of

if TYPE_CHECKING:
    from napari_amvlm.models.model_info import ModelInfo

PAGE = Path(__file__).parents[1] / "docs" / "words.md"
PICTURES = Path("pictures") / "words"
"""Folder of the pictures beside the page."""
_PARTS = (
    "Each is a part of a training image, made smaller, with the outline of its mask. The sets are\n"
    "described in [amvlm-open](amvlm-open.md)."
)


def word_page(info: ModelInfo, folder: Path = PAGE.parent) -> str:
    """Return the page of the words of a model; `folder` holds the page and, below it, the pictures."""
    told = read_credits(folder / PICTURES)
    pictures = {credit["word"]: (PICTURES / credit["file"]).as_posix() for credit in told}
    sources = [(credit["word"], credit["source"], credit["licence"]) for credit in told]
    credits_ = ["", "## Pictures", "", _PARTS, "", *table(("word", "source", "licence"), sources), ""] if told else []
    return f"""# Words

What {info.name} {info.version} was taught, out of its own configuration; `napari-amvlm models --words`
prints it, for models of your own too. Dice is the mean on images that it did not learn from. The
prompt field of the dock completes these words and their wordings, and marks what is not taught.
Number, order, spelling and articles of a prompt do not matter.

{word_table(info.config, pictures)}""" + "\n".join(credits_)


def main(
    model: Annotated[str | None, typer.Option(help="Installed model or file; the default model unless given.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="Recipe whose sets the pictures are drawn from.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder that holds the data sets.")] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="The page.")] = PAGE,
) -> None:
    """Write the page."""
    info = read_info(find_model(model))
    if (recipe is None) != (data is None):
        raise InputError("Pictures need --recipe and --data; give both, or neither.")
    if recipe is not None and data is not None:
        sets = sets_of(read_recipe(Recipe, recipe), data)
        draw_words(info.prompts, sets, data, output.parent / PICTURES)
    output.write_text(word_page(info, output.parent), encoding="utf-8")


if __name__ == "__main__":
    command.run(main)
