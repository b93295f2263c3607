"""Data sets on disk: what is found, how it is split and asked, and what is said where it is wrong."""

import shutil

import pytest
from pydantic import ValidationError

from napari_amvlm.errors import DatasetError, InputError
from training.datasets import DATASETS, DatasetSpec, SplitConfig, dataset_called, open_dataset
from training.datasets.asking import learning_data, used_unlabelled, wordings
from training.datasets.opening import open_part


@pytest.mark.parametrize("inside", [True, False])
def test_a_data_set_is_found_by_its_name_or_given_itself(discs_data, inside):
    split = open_dataset(DATASETS["MoNuSeg"], discs_data / ("MoNuSeg" if inside else ""), SplitConfig(labels=2), seed=0)

    assert (len(split.labelled), len(split.unlabelled), len(split.validation), split.training) == (2, 7, 2, 8)
    assert split.prompts() == {"nuclei": None}


def test_an_unlabelled_image_may_have_the_name_of_a_training_image(discs_data):
    split = open_dataset(DATASETS["MoNuSeg"], discs_data, SplitConfig(labels=2), seed=0)

    assert "Unlabelled_Folder/TCGA-AA-0000" in {pair.name for pair in split.unlabelled}


def test_folds_are_of_the_training_images_and_leave_the_validation_folder_out(discs_data):
    folder = {pair.name for pair in open_dataset(DATASETS["MoNuSeg"], discs_data, SplitConfig(), seed=0).validation}
    config = SplitConfig(holding_out="fold", validation_share=0.5)

    first, second = (open_dataset(DATASETS["MoNuSeg"], discs_data, config, seed=seed) for seed in (0, 1))

    held_out = [{pair.name for pair in split.validation} for split in (first, second)]
    assert held_out[0] | held_out[1] == {pair.name for pair in (*first.labelled, *first.validation)}
    assert not held_out[0] & held_out[1]
    assert not (held_out[0] | held_out[1]) & folder


def test_slices_of_one_subject_stay_together(spine_data):
    spec = DATASETS["SPIDER-Spine"]

    split = open_dataset(spec, spine_data, SplitConfig(labels="50%", validation_share=0.4), seed=0)

    learnt = {spec.subject_of(pair.name) for pair in (*split.labelled, *split.unlabelled)}
    held_out = {spec.subject_of(pair.name) for pair in split.validation}
    assert learnt | held_out == {"0", "1", "2"}
    assert not learnt & held_out
    assert split.prompts() == {"vertebrae": 1, "intervertebral discs": 2}


def test_a_subject_may_stand_anywhere_in_a_file_name_but_must_stand_in_one(spine_data):
    spec = DATASETS["SPIDER-Spine"]
    in_the_middle = spec.model_copy(update={"subject": r"_(t2)"})

    assert in_the_middle.subject_of("1_t2_001") == "t2"
    with pytest.raises(DatasetError, match=r"No file name of SPIDER-Spine, such as '.+', holds a subject by"):
        open_dataset(spec.model_copy(update={"subject": '"(x)"'}), spine_data, SplitConfig(), seed=0)


def test_without_a_classes_file_the_challenge_numbers_the_spine(spine_data):
    (spine_data / "classes.csv").unlink()

    split = open_dataset(DATASETS["SPIDER-Spine"], spine_data, SplitConfig(), seed=0)

    assert split.prompts()["spinal canal"] == 3


def test_mrspineseg_has_nineteen_things_beside_the_background():
    classes = dict(DATASETS["MRSpineSeg"].classes)

    assert sorted(classes) == list(range(1, 20))
    assert (classes[1], classes[2], classes[10]) == ("sacrum", "L5 vertebra", "T9 vertebra")
    assert (classes[11], classes[19]) == ("L5/S1 intervertebral disc", "T9/T10 intervertebral disc")


def test_a_wrong_folder_is_told_with_what_is_expected_and_what_is_there(discs_data):
    with pytest.raises(
        DatasetError, match=r"QaTa-COV19 is expected as .*Train_Folder/img with masks .* but .* holds MoNuSeg/\."
    ):
        open_dataset(DATASETS["QaTa-COV19"], discs_data, SplitConfig(), seed=0)
    with pytest.raises(DatasetError, match="is no folder; give one that holds MoNuSeg/"):
        open_dataset(DATASETS["MoNuSeg"], discs_data / "nowhere", SplitConfig(), seed=0)


def test_an_image_in_two_parts_is_refused(discs_data):
    root = discs_data / "MoNuSeg"
    for part in ("img", "labelcol"):
        shutil.copy(root / "Train_Folder" / part / "TCGA-AA-0001.png", root / "Val_Folder" / part)

    with pytest.raises(DatasetError, match="images of one name in Train_Folder and Val_Folder: TCGA-AA-0001"):
        open_dataset(DATASETS["MoNuSeg"], discs_data, SplitConfig(), seed=0)


def test_a_part_that_a_data_set_has_not_is_refused(spine_data):
    with pytest.raises(DatasetError, match="no folder of its own for 'test'"):
        open_part(DATASETS["SPIDER-Spine"], spine_data, "test")


def test_names_are_read_in_any_case_and_others_are_listed():
    assert dataset_called("qata-cov19").name == "QaTa-COV19"
    with pytest.raises(InputError, match="no data set 'X'; choose one of: MoNuSeg, QaTa-COV19"):
        dataset_called("X")


@pytest.mark.parametrize("subject", ["(", "no group", "(two)(groups)"])
def test_an_expression_for_subjects_needs_one_group(subject):
    with pytest.raises(ValidationError, match="subject"):
        DatasetSpec(name="X", prompt="x", scale="tiles", note="", subject=subject)


def test_every_image_is_asked_its_own_caption(discs_data):
    split = open_dataset(DATASETS["MoNuSeg"], discs_data, SplitConfig(labels=3), seed=0)
    captions = {pair.name: pair.caption for pair in (*split.labelled, *split.unlabelled, *split.validation)}

    data = learning_data(split, used_unlabelled(split, "captions"), "captions", seed=0)

    for image in (*data.labelled, *data.validation):
        assert list(image.masks) == [captions[image.name]]
    assert {image.name: image.prompt for image in data.unlabelled} == {
        pair.name: pair.caption for pair in split.unlabelled if pair.caption
    }
    assert "nuclei" in data.prompts


def test_shuffled_captions_are_those_of_other_images(discs_data):
    split = open_dataset(DATASETS["MoNuSeg"], discs_data, SplitConfig(labels=3), seed=0)
    pairs = (*split.labelled, *used_unlabelled(split, "shuffled captions"))

    texts = wordings(split, pairs, "shuffled captions", seed=0)

    assert {text for asked in texts.values() for text in asked.values()} == {pair.caption for pair in pairs}
    assert all(texts[pair.name]["nuclei"] != pair.caption for pair in pairs)
    assert {t["nuclei"] for t in wordings(split, pairs, "none", seed=0).values()} == {"image"}


def test_a_missing_caption_is_told(discs_data):
    (discs_data / "MoNuSeg" / "Val_Folder" / "Data_text.csv").unlink()
    split = open_dataset(DATASETS["MoNuSeg"], discs_data, SplitConfig(), seed=0)

    with pytest.raises(DatasetError, match=r"2 of 2 images have no caption \(the first: TCGA-BB-0000"):
        wordings(split, split.validation, "captions", seed=0)


def test_one_text_cannot_ask_for_several_things(spine_data):
    split = open_dataset(DATASETS["SPIDER-Spine"], spine_data, SplitConfig(), seed=0)

    with pytest.raises(InputError, match="show 2 things; choose prompts"):
        wordings(split, split.validation, "none", seed=0)


@pytest.mark.parametrize(
    ("names", "subjects"),
    [
        (("ryct.2020200034.fig5-day0", "ryct.2020200034.fig5-day4"), 1),
        (("ciaa199.pdf-001-a", "ciaa199.pdf-001-b"), 1),
        (("SARS-10.1148rg.242035193-g04mr34g0-Fig8a-day0", "SARS-10.1148rg.242035193-g04mr34g09b-Fig9b-day19"), 1),
        (("x-ards-admission", "x-ards-day-2", "x-ards-day-3"), 1),
        (("pneumococcal-pneumonia-day35", "pneumococcal-pneumonia-day7"), 1),
        (("nejmc2001573_f1a", "nejmc2001573_f1b"), 1),
        (("pneumocystis-jirovecii-pneumonia-3-1", "pneumocystis-jirovecii-pneumonia-3-2"), 1),
        (("covid-19-pneumonia-14-PA", "covid-19-pneumonia-15-PA", "covid-19-pneumonia-2"), 3),
        (("legionella-pneumonia-1", "legionella-pneumonia-2"), 2),
    ],
)
def test_x_rays_of_one_report_are_of_one_subject(names, subjects):
    spec = DATASETS["CXR-COVID"]

    assert len({spec.subject_of(name) for name in names}) == subjects
