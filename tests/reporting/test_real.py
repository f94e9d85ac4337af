"""The pipeline over real files: every report and companion that comes of them is valid."""

from pathlib import Path

import pytest
from pydicom.data import get_testdata_files

from dicom_pipeline import Pipeline
from dicom_pipeline.config import ReportSection, Settings
from dicom_pipeline.dicom.part10 import encode
from dicom_pipeline.reporting import COMPANIONS, read_report
from tests.peers.programs import dciodvfy_errors, dsrdump_errors, pixelmed_errors_of

pytestmark = [pytest.mark.system, pytest.mark.timeout(3600)]


def made_of(paths, folder, least):
    """Files of everything made of some studies, by modality, each already checked with dciodvfy and dsrdump."""
    pipeline = Pipeline.from_config(Settings(report=ReportSection(companions=COMPANIONS)))
    files: dict[str, list[Path]] = {}
    for number, result in enumerate(pipeline.process_paths(paths)):
        assert result.problem == ""
        if result.report is None:
            assert not result.frame_scores
            continue
        assert len(read_report(result.report).scores) >= len(result.series_scores)
        used = {frame.key.sop_instance_uid for frame in result.plan.frames}
        assert set(read_report(result.report).sources) == used <= set(result.revision.instances)
        for place, dataset in enumerate((result.report, *result.companions)):
            file = folder / f"{number}_{place}.dcm"
            file.write_bytes(encode(dataset))
            assert dciodvfy_errors(file) + (dsrdump_errors(file) if dataset.Modality in ("SR", "KO") else []) == []
            files.setdefault(str(dataset.SOPClassUID.keyword), []).append(file)
    assert len(files["Comprehensive3DSRStorage"]) >= least
    assert set(files) == {
        "Comprehensive3DSRStorage",
        "SecondaryCaptureImageStorage",
        "KeyObjectSelectionDocumentStorage",
        "RawDataStorage",
        "EncapsulatedPDFStorage",
    }
    return files


def pixelmed_agrees(files, most):
    """PixelMed knows three of the IODs; it takes the smallest documents, as its time grows with their size."""
    trees = sorted(files["Comprehensive3DSRStorage"], key=lambda file: file.stat().st_size)[:most]
    assert {k: v for k, v in pixelmed_errors_of(trees + files["KeyObjectSelectionDocumentStorage"]).items() if v} == {}
    assert {k: v for k, v in pixelmed_errors_of(files["RawDataStorage"], sr=False).items() if v} == {}


def test_every_study_of_the_corpus(corpus, tmp_path):
    files = made_of(sorted(path for path in corpus.iterdir() if path.is_dir()), tmp_path, 9)
    pixelmed_agrees(files, 2)


def test_every_sample_study(sample_data, tmp_path):
    made_of([sample_data / "studies"], tmp_path, 5)


def test_every_test_file_of_pydicom(tmp_path):
    made_of([Path(file) for file in get_testdata_files()], tmp_path, 5)


@pytest.mark.long
def test_pixelmed_takes_all_of_them(corpus, sample_data, tmp_path):
    files = made_of([sample_data / "studies", *(path for path in corpus.iterdir() if path.is_dir())], tmp_path, 14)
    pixelmed_agrees(files, len(files["Comprehensive3DSRStorage"]))
