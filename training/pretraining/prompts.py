"""The wordings that the released models are taught, and the concepts that are certainly absent from a kind of image."""

from __future__ import annotations

from napari_amvlm.config import Concept

CONCEPTS: tuple[Concept, ...] = (
    Concept(
        name="nuclei",
        scale="tiles",
        hole=200,
        speck=30,
        prompts=(
            "nuclei",
            "cell nuclei",
            "nucleus",
            "cell nucleus",
            "all nuclei",
            "the nuclei of the cells",
            "nuclei in tissue",
            "cell nuclei in H&E stained tissue",
            "stained nuclei",
            "purple nuclei",
            "hematoxylin stained nuclei",
            "segment the nuclei",
            "nuclear segmentation",
            "tumor and stromal nuclei",
            "nuclei in a histology image",
        ),
    ),
    Concept(
        name="lungs",
        scale="whole",
        prompts=(
            "lungs",
            "both lungs",
            "lung",
            "lung fields",
            "the lungs",
            "left and right lungs",
            "bilateral lungs",
            "lung fields in a chest X-ray",
            "lung parenchyma",
            "pulmonary fields",
            "segment the lungs",
            "lungs on a chest radiograph",
        ),
    ),
    Concept(
        name="left lung",
        scale="whole",
        prompts=(
            "left lung",
            "the left lung",
            "left lung field",
            "the patient's left lung",
            "left lung in a chest X-ray",
            "left pulmonary field",
            "lung on the left side of the patient",
            "left-sided lung",
            "segment the left lung",
            "only the left lung",
        ),
    ),
    Concept(
        name="right lung",
        scale="whole",
        prompts=(
            "right lung",
            "the right lung",
            "right lung field",
            "the patient's right lung",
            "right lung in a chest X-ray",
            "right pulmonary field",
            "lung on the right side of the patient",
            "right-sided lung",
            "segment the right lung",
            "only the right lung",
        ),
    ),
    Concept(
        name="vertebrae",
        scale="whole",
        prompts=(
            "vertebrae",
            "vertebral bodies",
            "vertebra",
            "vertebral body",
            "lumbar vertebrae",
            "bones of the spine",
            "spinal vertebrae",
            "vertebrae in a sagittal MRI",
            "segment the vertebrae",
        ),
    ),
    Concept(
        name="intervertebral discs",
        scale="whole",
        prompts=(
            "intervertebral discs",
            "discs",
            "intervertebral disc",
            "intervertebral disks",
            "spinal discs",
            "lumbar discs",
            "discs between the vertebrae",
            "intervertebral discs in a sagittal MRI",
            "segment the intervertebral discs",
        ),
    ),
    Concept(
        name="spinal canal",
        scale="whole",
        prompts=(
            "spinal canal",
            "the spinal canal",
            "vertebral canal",
            "canal of the spine",
            "spinal canal with the cord",
            "thecal sac",
            "spinal canal in a sagittal MRI",
            "segment the spinal canal",
        ),
    ),
)

NEVER_THERE: tuple[str, ...] = (
    "kidney",
    "liver",
    "bladder",
    "prostate",
    "teeth",
    "retina",
    "optic disc",
    "brain",
    "hippocampus",
    "colon polyp",
    "skin lesion",
    "knee cartilage",
    "femur",
    "hand bones",
    "fetal head",
    "thyroid nodule",
    "breast mass",
    "car",
    "dog",
    "tree",
    "a house",
    "traffic light",
    "airplane",
    "face",
    "handwritten text",
    "bicycle",
    "chair",
    "boat",
    "mitochondria",
    "neurons in electron microscopy",
)
"""Things that none of the training images shows."""

ABSENT: dict[str, tuple[str, ...]] = {
    "tissue": ("lungs", "left lung", "right lung", "vertebrae", "intervertebral discs", "spinal canal"),
    # A chest X-ray shows vertebrae faintly, from the front and without an outline: "not found" is a better answer than
    # the lungs, which is what a model finds that nobody ever denied them to.
    "xray": ("nuclei", "vertebrae", "intervertebral discs", "spinal canal"),
    "spine": ("nuclei", "lungs", "left lung", "right lung"),
}
"""For each kind of image, the taught concepts that it does not show."""

CAPTIONS: dict[str, tuple[str, ...]] = {
    "tissue": (
        "a histology image of stained tissue with {0}",
        "a microscopy image showing {0}",
        "H&E stained tissue section, {0}",
        "{0} in a section of tissue under the microscope",
        "pathology slide with {0}",
        "{0}, hematoxylin and eosin stain",
    ),
    "xray": (
        "a frontal chest X-ray showing both lungs",
        "chest radiograph with left and right lung",
        "an X-ray image of the chest",
        "frontal radiograph of the thorax with lungs and heart",
        "chest X-ray of a patient, left lung and right lung",
    ),
    "spine": (
        "a sagittal MRI slice of the lumbar spine",
        "magnetic resonance image of vertebrae, discs and spinal canal",
        "a T2 weighted MRI of the spine",
        "sagittal view of vertebrae and intervertebral discs in MRI",
        "lumbar spine with spinal canal, magnetic resonance",
    ),
}
"""Whole-image sentences for L_ITA; `{0}` takes how dense the nuclei are."""

DENSITIES: tuple[tuple[float, str], ...] = (
    (0.03, "hardly any nuclei"),
    (0.12, "a few scattered nuclei"),
    (0.25, "many nuclei"),
    (1.01, "densely packed nuclei"),
)
"""Upper bounds of the share of nuclear pixels, and what to call it."""


def density_called(share: float) -> str:
    """Return what to call tissue of which nuclei cover `share`, in [0, 1]."""
    return next(name for bound, name in DENSITIES if share < bound)


def concept_called(name: str) -> Concept:
    """Return the concept called `name`."""
    return next(concept for concept in CONCEPTS if concept.name == name)


def wordings(name: str) -> tuple[str, ...]:
    """Return the wordings of the concept called `name`."""
    return concept_called(name).prompts
