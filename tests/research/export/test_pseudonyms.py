"""No identity leaves in a pseudonymised export: planted in every text tag, looked for in every file of every format."""

import json
from datetime import date, timedelta
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.datadict import DicomDictionary, keyword_for_tag
from pydicom.tag import Tag

from dicom_pipeline import Pipeline
from dicom_pipeline.errors import UsageError
from dicom_pipeline.research.embedding_store import EmbeddingStore
from dicom_pipeline.research.export.exporter import export
from dicom_pipeline.research.export.formats import FORMATS
from dicom_pipeline.research.export.pseudonyms import MAX_DAYS, Pseudonyms, load_key
from dicom_pipeline.research.export.vocabulary import OTHER, Vocabulary
from dicom_pipeline.results.folder import OutputFolder
from dicom_pipeline.results.study_output import StudyOutput
from dicom_pipeline.results.tags import NUMBER_TAGS, TEXT_TAGS
from tests.research.made import made_rows

KEY = b"a key that only this test knows!"
NEEDED = {"Modality", "PhotometricInterpretation", "ImageType", "PixelPresentation", "PresentationIntentType"}
"""Texts without which the file would be no image to plan; the export checks Modality by its own test."""

TEXTS = ("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT")
PLANTED_UID = "1.2.840.99999.4711.{}"
NAMES = (
    "SMITH",
    "Garcia",
    "MUELLER",
    "Nguyen",
    "KIM",
    "LEE",
    "Li",
    "OKAFOR",
    "O'Neil",
    "DOE^JOHN",
    "John Doe",
    "Dr. House",
    "MARIE",
    "ANNA B",
    "van der Berg",
    "Ng",
    "Wu",
    "ROSSI",
    "Silva^Ana Maria",
    "1980-02-03",
    "19800203",
    "4711-0815",
    "SMITH12",
    "A. Schmidt",
    "LEG SMITH",
    "CHEST DOE",
    "tfl smith",
    "se_mueller",
    "DR SMITH",
    "dr house",
    "CT SMITH",
    "optima jones",
    "Mrs B",
    "Vida Lopez",
    "Luna",
    "Sola Perez",
)


def planted(path: Path, number: int) -> pydicom.Dataset:
    """A file whose every text element of the DICOM dictionary that a root data set can have holds an identity."""
    dataset = pydicom.dcmread(path)
    for tag, (vr, _, _, retired, _) in DicomDictionary.items():
        keyword = keyword_for_tag(tag)
        if vr not in TEXTS or not keyword or retired or keyword in NEEDED or Tag(tag).group in (0x0000, 0x0002, 0x0004):
            continue
        dataset.add_new(tag, vr, f"SMITH^ZQ{number}X"[:16])
    block = dataset.private_block(0x0009, "ZQ PRIVATE SMITH", create=True)
    block.add_new(0x01, "LO", "SMITH^ZQprivate")
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientAge = "094Y"
    dataset.StudyDate = dataset.SeriesDate = dataset.PatientBirthDate = "19470612"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = PLANTED_UID.format(number), PLANTED_UID.format(f"{number}.1")
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = PLANTED_UID.format(f"{number}.1.1")
    return dataset


@pytest.fixture(scope="module")
def identities(tmp_path_factory, sample_data):
    """A store of two planted studies, made by the pipeline itself."""
    folder = tmp_path_factory.mktemp("planted")
    source = sample_data / "studies" / "cr-chest-normal" / "1-01.dcm"
    for number in (1, 2):
        planted(source, number).save_as(folder / f"{number}.dcm")
    pipeline = Pipeline.from_config(keep_renderings=1)
    output = OutputFolder(folder / "out")
    for result in pipeline.process_paths(sorted(folder.glob("*.dcm"))):
        output.add(StudyOutput.of(result, pipeline.encoder.dimension))
    output.write()
    return EmbeddingStore.open(folder / "out")


def everything(folder: Path) -> str:
    """All that an export says, its compressed and binary files read back too."""
    said = [path.name for path in folder.iterdir()]
    said += [path.read_bytes().decode("latin-1") for path in folder.iterdir()]
    table = pq.read_table(folder / "embeddings.parquet")
    said += [str(table.schema), str(table.schema.metadata), json.dumps(table.to_pylist(), default=str)]
    with np.load(folder / "embeddings.npz") as arrays:
        said += [f"{name} {arrays[name].tolist()}" for name in arrays.files if name != "embedding"]
    with h5py.File(folder / "embeddings.h5") as file:
        said += [f"{name} {file[name][:].tolist()}" for name in file if name != "embedding"]
        said += [str(dict(file.attrs))]
    return "\n".join(said)


def test_the_planting_reaches_the_store(identities):
    rows = identities.rows().to_pylist()
    assert len(rows) == 2
    assert {row["patient_id"] for row in rows} == {"SMITH^ZQ1X@SMITH^ZQ1X", "SMITH^ZQ2X@SMITH^ZQ2X"}
    for column in set(TEXT_TAGS) - {"modality"}:
        assert "SMITH" in rows[0][column], column


@pytest.mark.parametrize("level", ["frame", "series", "study"])
def test_no_planted_identity_is_in_any_file_of_an_export(identities, tmp_path, level):
    out = tmp_path / "e"
    where = "patient_id LIKE 'SMITH%' AND body_part != 'ZQ here' AND study_date < '1999-01-01' AND kernel LIKE 'SMI%'"
    manifest = export(identities, out, formats=list(FORMATS), level=level, where=where, pseudonyms=Pseudonyms(KEY))
    said = everything(out)
    for identity in (
        "SMITH",
        "smith",
        "ZQ1X",
        "ZQ2X",
        "ZQ here",
        "1947-06-12",
        "19470612",
        "99999",
        "094Y",
        KEY.decode(),
    ):
        assert identity not in said, identity
    assert manifest["counts"]["patients"] == manifest["counts"]["rows"] == 2
    assert "90+" in said
    assert set(manifest["pseudonyms"]["withheld_texts"]) == set(TEXT_TAGS) - {"modality"}


def test_the_same_search_finds_them_in_an_identified_export(identities, tmp_path):
    export(identities, tmp_path / "e", formats=list(FORMATS), pseudonyms=None)
    said = everything(tmp_path / "e").casefold()
    for identity in ("smith^zq1x", "smith^zq2x", "1947-06-12", "1.2.840.99999.4711"):
        assert identity in said, identity
    assert "this export is identified" in said


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("column", [*TEXT_TAGS, "age_band", "encoder"])
def test_no_name_passes_for_a_technical_term(column, name):
    vocabulary = Vocabulary.load()
    assert vocabulary.terms[column].text(name) is None


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("kernel", "B30f"),
        ("kernel", "Br40d\\3"),
        ("kernel", "lung"),
        ("sequence", "*tfl3d1_16ns"),
        ("sequence", "ep_b1000t"),
        ("model", "SOMATOM Definition AS+"),
        ("model", "LightSpeed VCT"),
        ("model", "Achieva"),
        ("model", "Ingenia"),
        ("model", "TrioTim"),
        ("model", "DISCOVERY MR750"),
        ("model", "Aquilion ONE"),
        ("manufacturer", "GE MEDICAL SYSTEMS"),
        ("body_part", "chest"),
        ("view", "PA"),
    ],
)
def test_terms_of_real_scanners_pass(column, text):
    assert Vocabulary.load().terms[column].text(text).casefold() == text.casefold()


def test_every_tag_has_its_terms():
    assert {*TEXT_TAGS, *NUMBER_TAGS, "age_band", "encoder", "position_mm", "domain"} == set(Vocabulary.load().terms)


def test_numbers_that_cannot_be_are_left_out():
    cleaned, withheld = Vocabulary.load().clean(made_rows(kvp=[120.0, 19470612.0, None, float("nan")]))
    assert cleaned["kvp"].to_pylist() == [120.0, None, None, None]
    assert withheld == {"kvp": 2}
    assert OTHER not in cleaned["modality"].to_pylist()


@given(st.text(min_size=1, max_size=64), st.text(min_size=1, max_size=64))
def test_pseudonyms_are_stable_under_a_key_and_differ_otherwise(a, b):
    mine, other = Pseudonyms(KEY), Pseudonyms(KEY[::-1])
    assert mine.patient(a) == Pseudonyms(KEY).patient(a) != other.patient(a)
    assert (mine.uid(a) == mine.uid(b)) == (a == b)
    assert pydicom.uid.UID(mine.uid(a)).is_valid
    assert 1 <= mine.days(a) <= MAX_DAYS


def test_intervals_between_a_patients_studies_are_kept():
    rows = made_rows("1.2", frames=3, patient_id="one", study_date=[date(2020, 1, 1), date(2020, 3, 1), None])
    moved = Pseudonyms(KEY).apply(rows)["study_date"].to_pylist()
    assert moved[1] - moved[0] == timedelta(60)
    assert moved[0] < date(2020, 1, 1)
    assert moved[2] is None


def test_studies_without_a_patient_are_patients_of_their_own():
    apply = Pseudonyms(KEY).apply
    one, two = (apply(made_rows(study, patient_id=None))["patient_id"].to_pylist()[0] for study in ("1.1", "1.2"))
    assert one != two
    assert one.startswith("P")


def test_only_the_keys_owner_goes_back(identities):
    rows = identities.rows()
    mine = Pseudonyms(KEY)
    wanted = [mine.patient("SMITH^ZQ1X@SMITH^ZQ1X"), mine.uid(PLANTED_UID.format("2.1.1")), "Pabc"]
    assert set(mine.resolve(rows, wanted).values()) == {"SMITH^ZQ1X@SMITH^ZQ1X", PLANTED_UID.format("2.1.1")}
    assert Pseudonyms(KEY[::-1]).resolve(rows, wanted) == {}


def test_the_key_file_is_made_once_for_its_owner_alone(tmp_path):
    path = tmp_path / "keys" / "k"
    with pytest.raises(UsageError, match="--key"):
        load_key(path, create=False)
    made = load_key(path, create=True)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_key(path, create=False).key_id == made.key_id
    path.chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        load_key(path, create=False)
    path.write_text("not hex")
    path.chmod(0o600)
    with pytest.raises(UsageError, match="no pseudonym key"):
        load_key(path, create=False)
