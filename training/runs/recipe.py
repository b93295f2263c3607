"""Recipes of single runs: TOML files, checked before anything is loaded."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator

from napari_amvlm.config import LearningConfig, ScaleName
from napari_amvlm.errors import InputError
from training.datasets.asking import PromptMode  # noqa: TC001 - pydantic reads it
from training.datasets.registry import DatasetSpec, dataset_called
from training.datasets.splits import SplitConfig
from training.methods import method_called

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from napari_amvlm.evaluation import EvaluationProtocol
    from training.methods.protocol import Method

ModelT = TypeVar("ModelT", bound=BaseModel)

_OWN = ("minutes", "steps", "seed")


class DatasetChoice(SplitConfig):
    """A data set, and how its images are divided.

    Attributes
    ----------
    dataset
        A name of `training.datasets.DATASETS`; with a `scale`, any folder in LViT layout with a `classes.csv`.
    scale
        Working scale of such a folder.
    subject
        Replaces the data set's own expression for the subject in a file name.
    """

    dataset: str
    scale: ScaleName | None = None
    subject: str | None = None

    @model_validator(mode="after")
    def _check_dataset(self) -> Self:
        try:
            self.spec()
        except InputError as error:
            raise ValueError(str(error)) from error
        return self

    def spec(self) -> DatasetSpec:
        """Return the data set, with what the recipe says otherwise of it."""
        changes = {} if self.subject is None else {"subject": self.subject}
        if self.scale is None:
            known = dataset_called(self.dataset)
        else:
            note = "A folder in LViT layout whose classes.csv says what its masks show."
            known = DatasetSpec(name=self.dataset, train=".", by_value=True, scale=self.scale, note=note)
        return DatasetSpec.model_validate(known.model_dump() | changes)


class RunRecipe(DatasetChoice):
    """Everything that decides one semi-supervised run.

    Attributes
    ----------
    name
        Of the run; tables name its row so.
    method
        "amvlm": text-guided Mean Teacher from `start`; "plain-unet": the baseline; or a rival of
        `training.methods.METHODS`, from random weights.
    settings
        Hyperparameters of a rival, where they are not the paper's.
    seed
        Of the choice of labelled images and of learning.
    minutes, steps
        The budget; one of the two.
    score_prompts
        Other ways of asking that the result is scored with too.
    start
        An installed model's name or a file; None means the default model, "random" random weights of its sizes.
    published
        Whether step 2 is as published (`LearningConfig.published`), learnt and scored at 224x224 alone, but for what
        `learning` changes.
    learning
        Fields of `LearningConfig` other than budget and seed. The last teacher is kept unless `keep` says otherwise:
        the images that are scored must not choose the weights.
    save_every_seconds
        How often the run's state is written.
    """

    name: str = Field(min_length=1)
    method: str = "amvlm"
    settings: dict[str, Any] = Field(default_factory=dict)
    seed: int = Field(0, ge=0)
    minutes: float | None = Field(None, gt=0)
    steps: int | None = Field(None, ge=1)
    prompts: PromptMode = "fixed"
    score_prompts: tuple[PromptMode, ...] = ()
    start: str | None = None
    published: bool = False
    learning: dict[str, Any] = Field(default_factory=dict)
    save_every_seconds: float = Field(60, ge=0)

    @model_validator(mode="after")
    def _check_parts(self) -> RunRecipe:
        own = [key for key in _OWN if key in self.learning]
        if own:
            raise ValueError(f"{own[0]} belongs to the recipe itself, not under learning")
        try:
            rival = self.rival()
        except InputError as error:
            raise ValueError(str(error)) from error
        if self.settings and self.method in ("amvlm", "plain-unet"):
            raise ValueError(f"settings belong to rivals, not to {self.method}; put its own under learning")
        if rival is not None and not rival.reads_text and {self.prompts, *self.score_prompts} != {"fixed"}:
            raise ValueError(f'a {rival.title} reads no text; leave prompts at "fixed" and score_prompts out')
        self.learning_config()
        return self

    def rival(self) -> Method | None:
        """Return the method with its hyperparameters; None for AMVLM itself.

        Raises
        ------
        InputError
            There is no such method, or a setting is not its own.
        """
        if self.method == "amvlm":
            return None
        return method_called("u-net" if self.method == "plain-unet" else self.method, self.settings)

    def learning_config(self) -> LearningConfig:
        """Return the configuration of the learning loop."""
        own = {"minutes": self.minutes, "steps": self.steps, "seed": self.seed}
        values = {"keep": "last", "validations": 4} | self.learning | own
        return LearningConfig.published(**values) if self.published else LearningConfig.model_validate(values)

    @property
    def protocols(self) -> tuple[EvaluationProtocol, ...]:
        """Sizes to score at, the main one first: a run that learnt squares is scored on squares alone."""
        return ("224",) if self.learning_config().square else ("native", "224")

    def objective(self) -> dict[str, Any]:
        """Return what the run minimises: the settings that act. Two runs of one objective differ by chance alone.

        L_tg acts where several texts are asked, and what makes pseudo-labels where there are some.
        """
        told = self.learning_config().model_dump(exclude=set(_OWN))
        several = len(self.spec().classes) > 1 or self.prompts in ("captions", "shuffled captions")
        if not several:
            told["text_guidance"] = 0.0
        if not told["unlabelled_batch"] or not told["consistency"]:
            labels = ("consistency", "supervised_share", "ramp", "text_evidence", "text_ramp", "confidence_power")
            told |= dict.fromkeys(
                (*labels, "text_doubt", "hard_labels", "anchor", "start_share", "start_least", "labelled_weight")
            )
        if not told["text_evidence"]:
            told["text_ramp"] = None
        return {"method": self.method, "settings": self.settings, "start": self.start, "prompts": self.prompts, **told}


def read_toml(path: Path) -> dict[str, Any]:
    """Return the contents of a TOML file, on top of those of the one that it extends.

    `extends` names another file beside it. Tables are put together key by key, and arrays of tables that have a `name`
    table by table, new ones last; every other value replaces that of the file that is extended.

    Raises
    ------
    InputError
        One of the files is missing or no TOML, or they extend one another in a circle.
    """
    return _extended(path, ())


def _extended(path: Path, extending: tuple[Path, ...]) -> dict[str, Any]:
    """Return what `read_toml` does for a file that the last of `extending` extends."""
    named = f"{path}, which {extending[-1].name} extends," if extending else str(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"Recipe {named} cannot be read as TOML ({error}); check the path and the file.") from error
    other = values.pop("extends", None)
    if other is None:
        return values
    if not isinstance(other, str) or not other:
        raise InputError(f"Recipe {path}: extends must name another recipe's file, but is {other!r}.")
    chain = (*extending, path)
    if any((path.parent / other).resolve() == known.resolve() for known in chain):
        circle = ", ".join(known.name for known in chain)
        raise InputError(f"Recipe {path} extends {other}, which is extended already ({circle}); remove one extends.")
    both: dict[str, Any] = _on_top(_extended(path.parent / other, chain), values)
    return both


def _on_top(below: Any, values: Any) -> Any:
    """Return `values` put on top of those `below`."""
    if isinstance(below, dict) and isinstance(values, dict):
        return below | {key: _on_top(below.get(key), value) for key, value in values.items()}
    if _is_named(below) and _is_named(values):
        of = {table["name"]: table for table in values}
        known = {table["name"] for table in below}
        changed = [_on_top(table, of.get(table["name"], {})) for table in below]
        return [*changed, *(table for table in values if table["name"] not in known)]
    return values


def _is_named(value: Any) -> bool:
    """Tell whether `value` is an array of tables that each have a name of their own."""
    if not isinstance(value, list) or not all(isinstance(table, dict) for table in value):
        return False
    names = [table.get("name") for table in value]
    return bool(names) and all(isinstance(name, str) for name in names) and len(set(names)) == len(names)


def read_recipe(kind: type[ModelT], path: Path, settings: Iterable[str] | None = None, **more: Any) -> ModelT:
    """Return the configuration in a TOML file, with `settings` of the form `key=value` and other values put in.

    Raises
    ------
    InputError
        The file cannot be read, or its values do not fit.
    """
    return validated(kind, with_settings(read_toml(path), settings or ()) | more, str(path))


def with_settings(values: Mapping[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """Return `values` with settings of the form `key=value` put in; a dot leads into a table.

    A value is read as TOML where it is that, and as plain text elsewhere.

    Raises
    ------
    InputError
        A setting has no "=", or leads into something that is no table.

    Examples
    --------
    >>> with_settings({"seed": 0}, ["seed=1", "learning.consistency=0.5", "labels=25%"])
    {'seed': 1, 'learning': {'consistency': 0.5}, 'labels': '25%'}
    """
    changed = dict(values)
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key.strip():
            raise InputError(f"Setting {setting!r} must look like key=value, for instance learning.consistency=0.5.")
        *tables, last = key.strip().split(".")
        target = changed
        for table in tables:
            inner = target.get(table, {})
            if not isinstance(inner, dict):
                raise InputError(f"Setting {setting!r} leads into {table}, which holds a value and no table.")
            target[table] = dict(inner)
            target = target[table]
        target[last] = _value(text.strip())
    return changed


def validated(kind: type[ModelT], values: Mapping[str, Any], where: str) -> ModelT:
    """Return `values` as a configuration.

    Raises
    ------
    InputError
        They do not fit; the message names `where` and the first key that is wrong.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        got = f" (got {first['input']!r})" if key else ""
        reason = first["msg"].removeprefix("Value error, ").splitlines()[0].rstrip(".")
        raise InputError(f"{where}: {key + ': ' if key else ''}{reason}{got}.") from error


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
