"""Scans for tests: DICOM series, OME-Zarr images, and masks that are accepted on their slices."""

import numpy as np

from napari_amvlm.project import Answer

PROMPTS = ("vertebrae", "spinal canal")


def write_series(folder, slices=5):
    """Write an oblique CT series, whose files are not in the order of their positions."""
    import pydicom
    from pydicom.data import get_testdata_file

    folder.mkdir()
    rng = np.random.default_rng(7)
    study, series = pydicom.uid.generate_uid(), pydicom.uid.generate_uid()
    header = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    rows, columns = np.array([0.8, 0.6, 0]), np.array([0, 0, -1.0])
    for number in range(slices):
        place = (3 * number) % slices
        header.StudyInstanceUID, header.SeriesInstanceUID = study, series
        header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        header.ImageOrientationPatient = [*rows, *columns]
        header.ImagePositionPatient = [float(x) for x in 2.5 * place * np.cross(rows, columns) + (5, -20, 30)]
        header.InstanceNumber, header.SliceThickness = number + 1, 2.5
        header.PixelData = rng.integers(0, 1000, (header.Rows, header.Columns), np.int16).tobytes()
        header.save_as(folder / f"IM{number:04d}", enforce_file_format=True)
    return folder


def write_enhanced(path, source):
    """Put the files of a series together to one multi-frame file."""
    import pydicom

    headers = [pydicom.dcmread(file) for file in sorted(source.iterdir())]
    header = headers[0]
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = pydicom.uid.EnhancedCTImageStorage
    header.NumberOfFrames, header.PixelData = len(headers), b"".join(one.PixelData for one in headers)
    orientation, measures, shared = (pydicom.Dataset() for _ in range(3))
    orientation.ImageOrientationPatient = header.ImageOrientationPatient
    measures.PixelSpacing, measures.SliceThickness = header.PixelSpacing, header.SliceThickness
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    header.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for one in headers:
        position, group = pydicom.Dataset(), pydicom.Dataset()
        position.ImagePositionPatient = one.ImagePositionPatient
        group.PlanePositionSequence = [position]
        groups.append(group)
    header.PerFrameFunctionalGroupsSequence = groups
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(header, keyword)
    header.save_as(path)
    return path


def write_zarr(folder, pixels, axes, version):
    """Write an OME-Zarr image of one level; pixels of half a micrometer."""
    import zarr

    group = zarr.open_group(folder, mode="w", zarr_format=2 if version == "0.4" else 3)
    group.create_array("0", shape=pixels.shape, dtype=pixels.dtype)[...] = pixels
    scale = [{"z": 2.0, "c": 1.0}.get(axis, 0.5) for axis in axes]
    described = [
        {"name": a, "type": "channel" if a == "c" else "space"} | ({} if a == "c" else {"unit": "micrometer"})
        for a in axes
    ]
    datasets = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}]
    image = {"multiscales": [{"version": version, "axes": described, "datasets": datasets}]}
    group.attrs.update(image if version == "0.4" else {"ome": image | {"version": version}})
    return folder


def annotate(project, image, numbers=(1, 3)):
    """Accept blobs on slices of a volume as the dock does; return the masks of the whole volume."""
    rng = np.random.default_rng(3)
    wanted = {prompt: np.zeros(image.data.shape, bool) for prompt in PROMPTS}
    for number in numbers:
        record = project.images.add_array(np.asarray(image.data[number]), name=f"{image.name} z{number}")
        for volume in wanted.values():
            volume[number] = np.kron(rng.random((8, 8)) > 0.5, np.ones((32, 32))).astype(bool)[
                : volume.shape[1], : volume.shape[2]
            ]
        for prompt, volume in wanted.items():
            project.corrections.accept(record.id, prompt, Answer(volume[number]))
    return wanted
