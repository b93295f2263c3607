"""Opens a data set on disk, and says in one sentence what is expected where it is not so."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_amvlm.errors import DatasetError
from napari_amvlm.imaging import DataFolder, ImagePair, read_folder
from napari_amvlm.imaging.folder import read_classes
from training.datasets.registry import subject_in
from training.datasets.splits import SplitConfig, held_out_subjects, pick_labelled

if TYPE_CHECKING:
    from pathlib import Path

    from training.datasets.registry import DatasetSpec


@dataclass(frozen=True)
class DatasetSplit:
    """A data set, split.

    Attributes
    ----------
    root
        Its folder; paths in reports are relative to it.
    classes
        Mask values and prompts; empty where masks show one thing.
    training
        Number of training images with masks, of which some are labelled.
    labelled, unlabelled, validation
        Images of each part, sorted by name. Masks of unlabelled images are not used.
    """

    spec: DatasetSpec
    root: Path
    classes: tuple[tuple[int, str], ...]
    training: int
    labelled: tuple[ImagePair, ...]
    unlabelled: tuple[ImagePair, ...]
    validation: tuple[ImagePair, ...]

    def prompts(self) -> dict[str, int | None]:
        """Return the prompts of every image with their mask values; None means every value above 0."""
        if self.spec.prompt is not None:
            return {self.spec.prompt: None}
        return {prompt: value for value, prompt in self.classes}


def open_dataset(spec: DatasetSpec, data: Path, config: SplitConfig, *, seed: int) -> DatasetSplit:
    """Find a data set and split it.

    Parameters
    ----------
    data
        The data set's own folder, or one that holds it under its name.
    config
        How to split.
    seed
        Of the choice of labelled images, and of the fold.

    Raises
    ------
    DatasetError
        A folder is missing or wrong; the message says what is expected and what was found.
    """
    root = dataset_root(spec, data)
    train = _opened(spec, root, spec.train)
    if config.holding_out != "fold" and spec.validation is not None and (root / spec.validation).is_dir():
        validation = _opened(spec, root, spec.validation).pairs
        training = train.pairs
        _check_apart(spec, training, validation)
    else:
        subjects = {pair.name: spec.subject_of(pair.name) for pair in train.pairs}
        _check_subjects(spec, train.pairs)
        held_out = held_out_subjects(subjects.values(), config, spec.name, seed=seed)
        validation = tuple(pair for pair in train.pairs if subjects[pair.name] in held_out)
        training = tuple(pair for pair in train.pairs if subjects[pair.name] not in held_out)
    names = set(pick_labelled([pair.name for pair in training], config.labels, pick=config.pick, seed=seed))
    rest = tuple(pair for pair in training if pair.name not in names)
    return DatasetSplit(
        spec,
        root,
        train.classes,
        len(training),
        tuple(pair for pair in training if pair.name in names),
        rest + _more_unlabelled(spec, root),
        validation,
    )


def open_part(spec: DatasetSpec, data: Path, part: str) -> DataFolder:
    """Return one folder of a data set: "train", "validation" or "test".

    Raises
    ------
    DatasetError
        The data set has no such folder.
    """
    root = dataset_root(spec, data)
    folder = {"train": spec.train, "validation": spec.validation, "test": spec.test}.get(part)
    if folder is None:
        raise DatasetError(f"{spec.name} has no folder of its own for {part!r}.")
    return _opened(spec, root, folder)


def dataset_root(spec: DatasetSpec, data: Path) -> Path:
    """Return the data set's own folder: `data/NAME` where that is there, else `data`.

    Raises
    ------
    DatasetError
        Neither holds the training folder.
    """
    if not data.is_dir():
        raise DatasetError(f"{data} is no folder; give one that holds {spec.name}/, or that data set itself.")
    for root in (data / spec.name, data):
        if (root / spec.train / "img").is_dir():
            return root
    wanted = "img/" if spec.train == "." else f"{spec.train}/img/"
    folder = data / spec.name if (data / spec.name).is_dir() else data
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir() if not path.name.startswith("."))
    raise DatasetError(
        f"{spec.name} is expected as {folder / wanted} with masks beside it in labelcol/ or instances/ "
        f"({spec.note.rstrip('.')}), but {folder} holds {', '.join(names[:6]) or 'nothing'}."
    )


def _opened(spec: DatasetSpec, root: Path, folder: str) -> DataFolder:
    """Read a folder with masks; classes come from its classes.csv, that of the data set, or the registry."""
    data = read_folder(root / folder)
    if not spec.by_value:
        # The masks show one thing, whatever a classes.csv says.
        return replace(data, classes=())
    return replace(data, classes=data.classes or read_classes(root / "classes.csv") or spec.classes)


def _check_apart(spec: DatasetSpec, training: tuple[ImagePair, ...], validation: tuple[ImagePair, ...]) -> None:
    shared = sorted({pair.name for pair in training} & {pair.name for pair in validation})
    if shared:
        raise DatasetError(
            f"{spec.name} has images of one name in {spec.train} and {spec.validation}: {', '.join(shared[:5])}; "
            "an image is for training or for validation, so take it out of one."
        )


def _check_subjects(spec: DatasetSpec, pairs: tuple[ImagePair, ...]) -> None:
    if all(subject_in(spec.subject, pair.name) is None for pair in pairs):
        raise DatasetError(
            f"No file name of {spec.name}, such as {pairs[0].name!r}, holds a subject by the expression "
            f"{spec.subject!r}, so images of one patient could be learnt and scored alike; set subject in the recipe "
            "to one that finds it, or to '^(.+)$' where every image is a subject of its own."
        )


def _more_unlabelled(spec: DatasetSpec, root: Path) -> tuple[ImagePair, ...]:
    """Return the images of the folder without masks, called `FOLDER/NAME`.

    A name that a training image has too says nothing: LViT's copy of MoNuSeg names some images wrongly.
    """
    if spec.unlabelled is None or not (root / spec.unlabelled).is_dir():
        return ()
    pairs = read_folder(root / spec.unlabelled, masks="none").pairs
    return tuple(replace(pair, name=f"{spec.unlabelled}/{pair.name}") for pair in pairs)
