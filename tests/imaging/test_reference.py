"""A renderer written a second time, on decoders of dcmtk, makes the same pictures of real files, exactly so for CT presets."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_files
from pydicom.errors import InvalidDicomError

from dicom_pipeline.dicom.warnings import suppress_warnings
from dicom_pipeline.domain import Frame, FrameKey
from dicom_pipeline.imaging import SeriesRenderer, load_preset
from tests.imaging import reference

pytestmark = pytest.mark.system

PRESETS = {"CT": tuple(reference.CT_WINDOWS), "MR": ("mr-percentile", "mr-voi")}
"""Of each modality; `xray`, the object's own window, for all others."""

JPEG_2000 = {"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"}
"""What dcmtk cannot decode."""

EVERY = {"ct_ge_head": 3, "ct_philips_tilt_s2010": 3, "mr_ge_nih": 10, "mr_t1_slab": 8, "nema_wg04": 2}
"""Folders of which every n-th file is enough."""

READ_OTHERWISE = {
    **dict.fromkeys(
        ["rtdose_expb.dcm", "rtdose_expb_1frame.dcm"],
        "32 bits in big endian words: dcmtk swaps 16 bits, pydicom, which made the file, 32",
    ),
    "MR_truncated.dcm": "ends within its pixels",
    "JPEG2000-embedded-sequence-delimiter.dcm": "its code stream is damaged on purpose",
    "SC_rgb_jpeg.dcm": "its JPEG data say other samples than its attributes; dcmtk refuses it",
}


def header_of(path):
    """The header of an image with a transfer syntax, None for any other file."""
    try:
        with suppress_warnings():
            header = pydicom.dcmread(path, stop_before_pixels=True)
            frames = int(header.get("NumberOfFrames") or 1)
    except (InvalidDicomError, ValueError):
        return None
    known = "Rows" in header and "TransferSyntaxUID" in header.file_meta
    return (header, frames) if known and header.get("SOPInstanceUID") else None


def renderings(path, header, number):
    """Preset -> our rendering of a frame, for all presets of its modality."""
    frame = Frame(FrameKey(str(header.SOPInstanceUID), number), path, "1")
    presets = PRESETS.get(header.get("Modality", ""), ("xray",))
    return {name: SeriesRenderer(load_preset(name), [frame]).render(frame).pixels for name in presets}


def compared(paths, scratch):
    """Compare some files' first, middle and last frames; how many pictures, and the names that dcmtk cannot decode."""
    count, beyond = 0, []
    for path in paths:
        if path.name in READ_OTHERWISE or (found := header_of(path)) is None:
            continue
        header, frames = found
        decoded = reference.decoded(path, str(header.file_meta.TransferSyntaxUID), scratch)
        if decoded is None:
            beyond.append(path.name)
            continue
        for number in {1, (frames + 1) // 2, frames}:
            for preset, ours in renderings(path, header, number).items():
                difference = np.abs(ours.astype(int) - reference.render(decoded, number, preset)).max()
                exact = (
                    preset in reference.CT_WINDOWS and header.file_meta.TransferSyntaxUID != "1.2.840.10008.1.2.4.50"
                )
                assert difference <= (0 if exact else 1), (path, number, preset)
                count += 1
    return count, beyond


def test_files_of_pydicom(tmp_path):
    with suppress_warnings():
        paths = sorted({Path(name) for name in get_testdata_files("*.dcm")})
    count, beyond = compared(paths, tmp_path)
    assert count >= 60
    assert all(
        "J2K" in name or "jpeg2k" in name.lower() or "2000" in name or "jp2k" in name or "gdcm_KY" in name
        for name in beyond
    )


@pytest.mark.parametrize(
    ("folder", "at_least"),
    [("ct_ge_head", 28), ("ct_philips_tilt_s2010", 27), ("mr_ge_nih", 28), ("mr_t1_slab", 14), ("nema_wg04", 45)],
)
def test_files_of_the_corpus(corpus, tmp_path, folder, at_least):
    paths = sorted(path for path in (corpus / folder).rglob("*") if path.is_file())[:: EVERY.get(folder, 1)]
    count, beyond = compared(paths, tmp_path)
    assert count >= at_least
    assert all("J2K" in name for name in beyond)


def test_jpeg_2000_makes_the_pictures_of_the_same_image_in_another_lossless_syntax(corpus):
    files = {path.name: path for path in (corpus / "nema_wg04").rglob("*") if path.is_file()}
    pairs = [
        (path, other)
        for name, path in files.items()
        if (other := files.get(name.replace("_J2KR", "_RLE"))) and "J2KR" in name
    ]
    assert len(pairs) >= 8
    for path, other in pairs:
        made = [renderings(p, *_first(p)) for p in (path, other)]
        for preset, ours in made[0].items():
            np.testing.assert_array_equal(ours, made[1][preset], err_msg=path.name)


def _first(path):
    header, _ = header_of(path)
    return header, 1
