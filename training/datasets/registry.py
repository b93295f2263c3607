"""The data sets that have recipes: the four of the publication, and those that stand in for them."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, model_validator

from napari_amvlm.config import Config, ScaleName
from napari_amvlm.errors import InputError


def with_one_group(pattern: str) -> str:
    """Return a regular expression whose one group is the subject in a file's stem.

    Raises
    ------
    ValueError
        It is none, or has no group or several.
    """
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"subject {pattern!r} is no regular expression: {error}") from error
    if groups != 1:
        raise ValueError(f"subject {pattern!r} must have one group, the subject, but has {groups}")
    return pattern


def subject_in(pattern: str, stem: str) -> str | None:
    """Return the subject that a regular expression of one group finds anywhere in a file's stem, if it does."""
    match = re.search(pattern, stem)
    return match[1] if match else None


class DatasetSpec(Config):
    """Where a data set keeps its images, and what is asked of them.

    Attributes
    ----------
    name
        As recipes and the folder of the data set call it.
    train, validation, test, unlabelled
        Folders in LViT layout, relative to the data set's own; "." is that itself. Without a validation folder some
        subjects of the training folder are held out. The folder of unlabelled images may be missing on disk.
    prompt
        What the masks show, where that is one thing.
    classes
        Mask values and prompts, where a folder has no `classes.csv`.
    by_value
        Whether the masks hold class values.
    scale
        Working scale at which its images are looked at.
    subject
        Regular expression whose first group is the subject in a file's stem; where it does not fit, the stem is the
        subject.
    note
        One sentence on origin and layout, for people.
    """

    name: str
    train: str = "Train_Folder"
    validation: str | None = None
    test: str | None = None
    unlabelled: str | None = None
    prompt: str | None = None
    classes: tuple[tuple[int, str], ...] = ()
    by_value: bool = False
    scale: ScaleName
    subject: Annotated[str, AfterValidator(with_one_group)] = "^(.+)$"
    note: str

    @model_validator(mode="after")
    def _check_prompt(self) -> DatasetSpec:
        if (self.prompt is None) != self.by_value:
            raise ValueError("give a prompt, or by_value for masks that hold class values, and not both")
        return self

    def subject_of(self, name: str) -> str:
        """Return the subject that the image called `name` (a file's stem) is of."""
        found = subject_in(self.subject, name)
        return name if found is None else found


_VERTEBRAE = ("L5", "L4", "L3", "L2", "L1", "T12", "T11", "T10", "T9")
_DISCS = ("L5/S1", "L4/L5", "L3/L4", "L2/L3", "L1/L2", "T12/L1", "T11/T12", "T10/T11", "T9/T10")
_SPINE = (
    "sacrum",
    *(f"{level} vertebra" for level in _VERTEBRAE),
    *(f"{level} intervertebral disc" for level in _DISCS),
)

_ONE_REPORT = (
    r"^(auntminnie|nejmoa\d+|SARS-[\w.]+|.+?(?=(?:(?:(?<=\d)[a-c])?-day-?\d+|-admission|-\d+-(?:hours|days)|"
    r"(?<=\d)[a-c]|-[a-c]|(?<=-\d)-\d)?(?:-PA)?$))"
)
"""Files of CXR-COVID are called after the figures of case reports, then panel, day and projection: one report, one
subject."""

_ALL = (
    DatasetSpec(
        name="MoNuSeg",
        validation="Val_Folder",
        test="Test_Folder",
        unlabelled="Unlabelled_Folder",
        prompt="nuclei",
        scale="tiles",
        subject=r"^(TCGA-\w\w-\w{4})",
        note="H&E nuclei, 24 + 6 images as LViT splits them, masks 0/255, captions in *_text.xlsx.",
    ),
    DatasetSpec(
        name="QaTa-COV19",
        validation="Val_Folder",
        test="Test_Folder",
        prompt="infected lung area",
        scale="whole",
        subject=r"^(sub-[^_]+)",
        note="Chest X-rays with infection masks 0/255 called mask_NAME.png, as LViT packs them, with its captions.",
    ),
    DatasetSpec(
        name="BM-Seg",
        validation="Val_Folder",
        test="Test_Folder",
        prompt="bone metastasis",
        scale="whole",
        subject=r"^(\d+)_",
        note="CT slices with bone metastases, masks 0/255, files called SUBJECT_SLICE.png.",
    ),
    DatasetSpec(
        name="MRSpineSeg",
        validation="Val_Folder",
        test="Test_Folder",
        classes=tuple(enumerate(_SPINE, start=1)),
        by_value=True,
        scale="whole",
        subject=r"^((?:Case|case)?\d+)",
        note="Sagittal MR slices, masks valued 0 to 19 as the challenge has them, unless a classes.csv says otherwise.",
    ),
    DatasetSpec(
        name="CXR-COVID",
        prompt="infected lung area",
        scale="whole",
        subject=_ONE_REPORT,
        note="Chest X-rays with infection masks 0/255; captions derived from the masks, in QaTa-COV19's grammar.",
    ),
    DatasetSpec(
        name="CXR-Lungs",
        train=".",
        unlabelled="unlabelled",
        prompt="lungs",
        scale="whole",
        note="COVID-19 chest X-rays with lung masks 0/255, and more X-rays without.",
    ),
    DatasetSpec(
        name="SPIDER-Spine",
        train=".",
        classes=((1, "vertebrae"), (2, "intervertebral discs"), (3, "spinal canal")),
        by_value=True,
        scale="whole",
        subject=r"^(.+?)_t2",
        note="Sagittal T2-SPACE slices, masks with values 0 to 3, files called SUBJECT_t2_SPACE_sliceN.png.",
    ),
    DatasetSpec(
        name="DSB2018",
        train=".",
        prompt="nuclei",
        scale="tiles",
        note="Stained tissue tiles, masks in instances/ with a number for each nucleus.",
    ),
)
DATASETS: dict[str, DatasetSpec] = {spec.name: spec for spec in _ALL}
"""All data sets by name."""


def dataset_called(name: str) -> DatasetSpec:
    """Return the data set of this name, in any case.

    Raises
    ------
    InputError
        There is none; the message lists those that are.
    """
    for spec in DATASETS.values():
        if spec.name.casefold() == name.casefold():
            return spec
    raise InputError(f"There is no data set {name!r}; choose one of: {', '.join(DATASETS)}.")
