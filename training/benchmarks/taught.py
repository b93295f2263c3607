"""How often a model calls words taught that nobody taught it, and not taught what it was taught in other words.

    python -m training.benchmarks.taught [--model MODEL] [--wordings FILE]

Of the hundred unknown words every second one was kept out of all tuning. Words that the model was taught after all are
left out, and counted.
"""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_amvlm.models.catalog import find_model
from napari_amvlm.models.model_info import read_info
from napari_amvlm.models.words.taught import learnt, taught
from training import command
from training.datasets.word_sets import read_wordings
from training.words.referents import one_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_amvlm.config import ModelConfig

_UNKNOWN = """
diaphragm; thyroid gland; prostate; urinary bladder; uterus; ovary; appendix; gallstones; femur; tibia; patella;
knee meniscus; rotator cuff; hip prosthesis; pacemaker; catheter; pleural effusion; pneumothorax; infected lung
area; rib fracture; scoliosis curve; herniated disc fragment; spinal cord tumour; brain abscess; aneurysm;
pituitary gland; cornea; iris; eyelid; macular degeneration; cataract; retinal detachment; hard exudates;
melanoma in situ; eczema; acne; hair; fingernail; tattoo; scar; tooth; dental filling; wisdom tooth; tonsils;
tongue; epiglottis; trachea; oesophageal varices; gastric ulcer; colon diverticulum; haemorrhoids; hernia; lymph
nodes; breast implant; mammary calcifications; placenta; umbilical cord; amniotic fluid; fetal femur; embryo;
sperm; mitotic figures; lymphocytes; macrophages; stroma; fat droplets; collagen fibres; necrosis; keratin
pearls; bacteria; fungal hyphae; malaria parasites; platelets; sickle cells; dendritic spines; axon terminals;
vesicles; Golgi apparatus; endoplasmic reticulum; cell wall; chloroplasts; pollen; car; dog; cat; bicycle;
traffic light; house; tree; cloud; airplane; coffee cup; keyboard; banana; shoe; handwriting; violin; passport
photo; left shoe; heart attack; lung cancer screening report; kidney bean; blood vessel clamp
"""
UNKNOWN: tuple[str, ...] = tuple(" ".join(each.split()) for each in _UNKNOWN.split(";"))
"""Medical and everyday terms outside the vocabulary; some are near to words of it."""

SAID_OTHERWISE: tuple[tuple[str, str], ...] = (
    ("all the nuclei", "nuclei"),
    ("segment all nuclei in the image", "nuclei"),
    ("Nuclei of cells", "nuclei"),
    ("nuclei in an H&E stained section", "nuclei"),
    ("both lungs in a chest x-ray", "lungs"),
    ("the patient's lungs", "lungs"),
    ("right lung on a chest radiograph", "right lung"),
    ("lung, left", "left lung"),
    ("every vertebra", "vertebrae"),
    ("vertebra in sagittal MR", "vertebrae"),
    ("the discs", "intervertebral discs"),
    ("intervertebral disk", "intervertebral discs"),
    ("canal, spinal", "spinal canal"),
    ("vessels of the retina", "retinal vessels"),
    ("retinal vessel in a fundus photo", "retinal vessels"),
    ("the aorta on CT", "aorta"),
    ("a kidney in MRI", "kidneys"),
    ("kidneys, T2 MRI", "kidneys"),
    ("left ventricle of the heart", "left ventricle"),
    ("glomeruli in a PAS section", "glomeruli"),
    ("fetal head on ultrasound", "fetal head"),
    ("carotid on ultrasound", "carotid artery"),
    ("myelin in electron microscopy", "myelin"),
    ("all axons", "axons"),
    ("the glottis in laryngoscopy", "glottis"),
    ("vocal cord", "vocal folds"),
    ("liver lesions", "liver lesion"),
    ("cells, phase contrast", "cells"),
    ("the L5 vertebra", "L5 vertebra"),
    ("disc L4/L5", "L4/L5 disc"),
)
"""Prompts that are no listed wording, and the concepts that they mean."""


def variants(name: str) -> list[str]:
    """Return plain variants of a word: its number, articles, and its side said otherwise.

    Examples
    --------
    >>> variants("left lung")
    ['left lungs', 'the left lung', 'lung on the left side', 'left-sided lung']
    """
    one = one_of(name)
    number = [] if name.endswith(("us", "is")) else [one if one != name else f"{name}s"]
    found = [*number, f"the {name}"]
    side, _, rest = name.partition(" ")
    return found + ([f"{rest} on the {side} side", f"{side}-sided {rest}"] if side in ("left", "right") else [])


def measured(config: ModelConfig, wordings: Mapping[str, Sequence[str]] | None = None) -> dict[str, Any]:
    """Return how many unknown words are called not taught, by half, and how many other sayings are understood.

    Words that the model was measured not to find are left out. `wordings` are synonyms by word.
    """
    known = {text.casefold() for concept in config.concepts for text in (concept.name, *concept.prompts)}
    report: dict[str, Any] = {}
    for name, words in (("tuning", UNKNOWN[::2]), ("held out", UNKNOWN[1::2])):
        unknown = [word for word in words if word.casefold() not in known]
        wrong = [word for word in unknown if taught(config, word) is not None]
        report[name] = {"words": len(unknown), "not taught": len(unknown) - len(wrong), "called taught": wrong}
    names = {concept.name for concept in config.concepts if learnt(concept)}
    lists = {
        "said otherwise": [(text, name) for text, name in SAID_OTHERWISE if name in names],
        "variants": [(text, name) for name in sorted(names) for text in variants(name)],
        "synonyms": [(text, name) for name in sorted(names & set(wordings or {})) for text in (wordings or {})[name]],
    }
    for name, said in lists.items():
        missed = [text for text, meant in said if not _means(config, text, meant)]
        report[name] = {"prompts": len(said), "understood": len(said) - len(missed), "missed": missed}
    return report


def _means(config: ModelConfig, text: str, name: str) -> bool:
    meaning = taught(config, text)
    return meaning is not None and [concept.name for concept in meaning.concepts] == [name]


def main(
    model: Annotated[str | None, typer.Option(help="Installed model or file; the default model unless given.")] = None,
    wordings: Annotated[Path | None, typer.Option(help="Table of prompt,wording whose synonyms are asked.")] = None,
) -> None:
    """Print what `measured` finds, as JSON."""
    said = None if wordings is None else read_wordings(wordings)
    typer.echo(json.dumps(measured(read_info(find_model(model)).config, said), indent=1))


if __name__ == "__main__":
    command.run(main)
