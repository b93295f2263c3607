"""Which images are labelled, unlabelled and held out: by seed, nested, and never two parts of one subject."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import numpy as np
from pydantic import AfterValidator, Field

from napari_amvlm.config import Config
from napari_amvlm.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

T = TypeVar("T")

_SHARE = re.compile(r"^(\d+(?:\.\d+)?)\s*%$")


def _checked_labels(value: int | str | tuple[str, ...]) -> int | str | tuple[str, ...]:
    if isinstance(value, tuple):
        if not value or len(set(value)) < len(value):
            raise ValueError(f"expected the names of labelled images, each once, but got {list(value)}")
        return value
    if isinstance(value, int):
        if value < 1:
            raise ValueError(f"expected at least 1 labelled image, but got {value}")
        return value
    match = _SHARE.match(value)
    if match is None or not 0 < float(match[1]) <= 100:
        raise ValueError(f'expected labels as a number of images, or a share such as "25%", but got {value!r}')
    return f"{float(match[1]):g}%"


Labels = Annotated[int | str | tuple[str, ...], AfterValidator(_checked_labels)]
"""Which training images are labelled: a number of images, a share of them such as "25%", or their names."""


class SplitConfig(Config):
    """How images are chosen."""

    labels: Labels = "100%"
    pick: Literal["seed", "name"] = Field("seed", description="labelled images: by seed, or the first by name")
    holding_out: Literal["hash", "seed", "fold"] = Field(
        "hash",
        description="subjects held out: each by a hash of its name, an exact share by `validation_seed`, or the next "
        "share for every next seed of the run, also where there is a validation folder, which is then left out",
    )
    validation_share: float = Field(0.2, gt=0, lt=1, description="share of subjects held out, without own folder")
    validation_seed: int = Field(0, ge=0, description="the same for all runs that are compared")


def pick_labelled(
    names: Iterable[str], labels: int | str | tuple[str, ...], *, pick: Literal["seed", "name"], seed: int
) -> list[str]:
    """Return the names of the labelled images, sorted.

    With one seed a smaller number is a subset of a larger one, whatever other names there are.

    Parameters
    ----------
    labels
        See `Labels`. A share is rounded to whole images, at least one.
    pick
        "seed": by a hash of seed and name; "name": the first by name.
    seed
        Not used with "name".

    Raises
    ------
    DatasetError
        More labelled images are wanted than there are, or one that is not there.

    Examples
    --------
    >>> pick_labelled(["b", "c", "a"], 2, pick="name", seed=0)
    ['a', 'b']
    """
    every = sorted(names)
    if isinstance(labels, tuple):
        missing = sorted(set(labels) - set(every))
        if missing:
            known = ", ".join(every[:5])
            raise DatasetError(f"There is no training image {missing[0]!r} to take as labelled; there are {known}, ...")
        return sorted(labels)
    if isinstance(labels, str):
        share = float(labels.rstrip("% ")) / 100
        count = max(1, round(share * len(every)))
    else:
        count = labels
    if count > len(every):
        raise DatasetError(f"{count} labelled images are wanted, but there are {len(every)} training images.")
    ranked = every if pick == "name" else sorted(every, key=lambda name: (_uniform(seed, name), name))
    return sorted(ranked[:count])


def held_out_subjects(subjects: Iterable[str], config: SplitConfig, dataset: str, *, seed: int = 0) -> frozenset[str]:
    """Return the subjects whose images are for validation alone.

    Parameters
    ----------
    seed
        Of the run; with "fold" as many seeds in a row as there are shares hold out every subject once.

    Raises
    ------
    DatasetError
        There are not two subjects to tell apart.
    """
    every = sorted(set(subjects))
    if len(every) < 2:
        raise DatasetError(
            f"{dataset} has images of {len(every)} subject ({', '.join(every)}), but a subject to learn from and "
            "another to score on are needed; bring a validation folder, or more subjects."
        )
    drawn = {subject: _uniform(config.validation_seed, f"{dataset}/{subject}") for subject in every}
    ranked = sorted(every, key=lambda subject: (drawn[subject], subject))
    if config.holding_out == "fold":
        folds = min(max(2, round(1 / config.validation_share)), len(every))
        chosen = ranked[seed % folds :: folds]
    elif config.holding_out == "seed":
        chosen = ranked[: max(1, round(config.validation_share * len(every)))]
    else:
        # A subject's part does not change when other subjects come; at least one is held out, and one is not.
        chosen = [subject for subject in ranked if drawn[subject] < config.validation_share] or ranked[:1]
    return frozenset(chosen[: len(every) - 1])


def another_for_each(texts: dict[str, str], *, seed: int) -> dict[str, str]:
    """Give every image the text of another one, a different one as far as there are enough different texts.

    Raises
    ------
    DatasetError
        There is one image only.
    """
    if len(texts) < 2:
        raise DatasetError(f"Captions of {len(texts)} image cannot be shuffled; at least 2 images are needed.")
    ranked = sorted(texts, key=lambda name: (_uniform(seed, texts[name]), texts[name], _uniform(seed, name), name))
    largest = max(Counter(texts.values()).values())
    # Equal texts stand side by side: a shift by the largest group leads out of every group.
    shift = min(largest, len(ranked) - 1)
    return {name: texts[ranked[(i + shift) % len(ranked)]] for i, name in enumerate(ranked)}


def spread_evenly(things: Sequence[T], count: int) -> list[T]:
    """Return up to `count` of the things, evenly spread over their order.

    Examples
    --------
    >>> spread_evenly("abcde", 3)
    ['a', 'c', 'e']
    """
    places = np.linspace(0, len(things) - 1, min(count, len(things))).round().astype(int)
    return [things[i] for i in dict.fromkeys(places.tolist())]


def _uniform(seed: int, name: str) -> float:
    """Return a number in [0, 1) that depends on seed and name alone, on every machine."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:6]) / (1 << 48)
