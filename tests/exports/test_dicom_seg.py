"""DICOM segmentations, read back by highdicom and by pydicom alone."""

import importlib.util

import numpy as np
import pydicom
import pytest

from napari_amvlm.errors import DatasetError, InputError
from napari_amvlm.exports import ExportOptions, export_as
from napari_amvlm.exports.dicom_seg import write_predicted_seg
from napari_amvlm.imaging import open_images, to_file_axes
from napari_amvlm.project import Answer, Project
from tests.exports.scans import annotate, write_enhanced, write_series

highdicom = pytest.importorskip("highdicom")


@pytest.fixture
def series(tmp_path):
    return write_series(tmp_path / "series")


def test_highdicom_reads_back_every_bit_by_source_image(tmp_path, series):
    (image,) = open_images(series)
    with Project.create(tmp_path / "p.amvlm") as project:
        wanted = annotate(project, image)

        notes = export_as(project, "dicom-seg", tmp_path / "out", ExportOptions(scans=(series,)))

    assert notes == []
    read = highdicom.seg.segread(tmp_path / "out" / "series.dcm")
    uids = [pydicom.dcmread(image.origins[number][0]).SOPInstanceUID for number in (1, 3)]
    frames = read.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True)
    for number in read.segment_numbers:
        prompt = read.get_segment_description(number).segment_label
        np.testing.assert_array_equal(frames[..., number - 1] > 0, wanted[prompt][[1, 3]])
    description = read.get_segment_description(1)
    assert description.segmented_property_type.meaning == "Vertebra"
    assert description.segmented_property_type.scheme_designator == "SCT"
    volume = read.get_volume(combine_segments=False)
    assert volume.spacing[1:] == pytest.approx(image.scale[1:])


def test_pydicom_finds_patient_study_and_positions_of_the_source(tmp_path, series):
    (image,) = open_images(series)
    with Project.create(tmp_path / "p.amvlm") as project:
        wanted = annotate(project, image)
        export_as(project, "dicom-seg", tmp_path / "out", ExportOptions(scans=(series,)))

    read = pydicom.dcmread(tmp_path / "out" / "series.dcm")
    sources = {str(h.SOPInstanceUID): h for h in map(pydicom.dcmread, series.iterdir())}
    source = next(iter(sources.values()))
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "FrameOfReferenceUID", "StudyID"):
        assert read[keyword].value == source[keyword].value
    pixels = read.pixel_array
    assert len(pixels) == 4
    for frame, groups in zip(pixels, read.PerFrameFunctionalGroupsSequence, strict=True):
        uid = groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        assert groups.PlanePositionSequence[0].ImagePositionPatient == sources[uid].ImagePositionPatient
        segment = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        prompt = read.SegmentSequence[segment - 1].SegmentLabel
        number = [str(pydicom.dcmread(path).SOPInstanceUID) for path, _ in image.origins].index(uid)
        np.testing.assert_array_equal(frame > 0, wanted[prompt][number])


def test_a_prompt_without_a_code_has_one_of_its_own_and_a_model_is_told(tmp_path, series):
    (image,) = open_images(series)
    with Project.create(tmp_path / "p.amvlm") as project:
        record = project.images.add_array(np.asarray(image.data[0]))
        mask = np.ones(record.shape, bool)
        project.corrections.accept(record.id, "frothy thing", Answer(mask, model="amvlm-open", threshold=0.5))
        export_as(project, "dicom-seg", tmp_path / "out", ExportOptions(scans=(series,)))

    (segment,) = pydicom.dcmread(tmp_path / "out" / "series.dcm").SegmentSequence
    code = segment.SegmentedPropertyTypeCodeSequence[0]
    assert (code.CodingSchemeDesignator, code.CodeMeaning) == ("99AMVLM", "frothy thing")
    assert segment.SegmentAlgorithmType == "SEMIAUTOMATIC"


def test_every_prompt_has_its_name_and_a_code_of_its_own(tmp_path, series):
    for file in series.iterdir():
        header = pydicom.dcmread(file)
        header.SpecificCharacterSet, header.PatientName = "ISO_IR 100", "Müller^Zoë"
        header.save_as(file)
    (image,) = open_images(series)
    prompts = (
        "Ki-67+",
        "Ki-67-",
        "tumour infiltrating lymphocytes",
        "tumour infiltrating cells",
        "细胞核",
        "frothy thing",
    )

    write_predicted_seg(tmp_path / "a.dcm", image, np.full(image.data.shape, 1, np.uint8), prompts)

    written = pydicom.dcmread(tmp_path / "a.dcm")
    codes = [segment.SegmentedPropertyTypeCodeSequence[0] for segment in written.SegmentSequence]
    assert [segment.SegmentLabel for segment in written.SegmentSequence] == list(prompts)
    assert [code.CodeMeaning for code in codes] == list(prompts)
    assert len({code.CodeValue for code in codes}) == len(prompts)
    assert max(len(code.CodeValue) for code in codes) <= 16
    assert codes[-1].CodeValue == "FROTHY_THING"
    assert written.PatientName == "Müller^Zoë"


def test_empty_masks_are_written_without_a_remark_of_the_library(tmp_path, series, caplog):
    (image,) = open_images(series)

    write_predicted_seg(tmp_path / "a.dcm", image, np.zeros(image.data.shape, np.uint8), ["lung"])

    assert caplog.messages == []
    assert not pydicom.dcmread(tmp_path / "a.dcm").pixel_array.any()


def test_masks_on_a_multi_frame_image_refer_to_its_frames(tmp_path, series):
    path = write_enhanced(tmp_path / "enhanced.dcm", series)
    (image,) = open_images(path)
    with Project.create(tmp_path / "p.amvlm") as project:
        wanted = annotate(project, image, numbers=(1, 2))
        export_as(project, "dicom-seg", tmp_path / "out", ExportOptions(scans=(path,)))

    read = highdicom.seg.segread(tmp_path / "out" / "enhanced.dcm")
    for number in (1, 2):
        frame = image.origins[number][1]
        pixels = read.get_pixels_by_source_frame(pydicom.dcmread(path).SOPInstanceUID, [frame + 1])
        np.testing.assert_array_equal(pixels[0, ..., 0] > 0, wanted["vertebrae"][number])


def test_a_scan_that_is_no_dicom_is_refused_by_name(project, tmp_path):
    with pytest.raises(DatasetError, match="is no DICOM scan"):
        export_as(project, "dicom-seg", tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_without_highdicom_one_sentence_says_what_to_install(project, tmp_path, monkeypatch):
    found = importlib.util.find_spec
    lacking = lambda name, *rest: None if name == "highdicom" else found(name, *rest)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", lacking)

    with pytest.raises(InputError, match=r"pip install .napari-amvlm\[dicom-seg\]"):
        export_as(project, "dicom-seg", tmp_path / "out")


def test_masks_of_coronal_slices_refer_to_the_axial_images(tmp_path, series):
    (acquired,) = open_images(series)
    (image,) = open_images(series, "axial")
    with Project.create(tmp_path / "p.amvlm") as project:
        wanted = annotate(project, image, numbers=(20, 30))
        export_as(project, "dicom-seg", tmp_path / "out", ExportOptions(scans=(series,)))

    read = highdicom.seg.segread(tmp_path / "out" / "series.dcm")
    uids = [pydicom.dcmread(path).SOPInstanceUID for path, _ in acquired.origins]
    frames = read.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True)
    for number in read.segment_numbers:
        prompt = read.get_segment_description(number).segment_label
        np.testing.assert_array_equal(frames[..., number - 1] > 0, to_file_axes(wanted[prompt], image))
