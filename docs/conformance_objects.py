"""One of each object that the pipeline makes, from inputs that can be varied one by one, for docs/make_conformance.py.

What an attribute depends on is found by experiment: an object is made again with one input changed, and what differs came
of it. What a hospital may leave out is found by making the objects of images that state nothing but their UIDs.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.sequence import Sequence

from dicom_pipeline.dicom.own_objects import object_kind
from dicom_pipeline.dicom.uids import uid_of
from dicom_pipeline.domain import (
    Code,
    Derivation,
    Domain,
    Embedding,
    Frame,
    FrameDomain,
    FrameKey,
    Label,
    LabelSet,
    Plan,
    Provenance,
    Revision,
    Score,
    ScoreKind,
    SeriesPlan,
)
from dicom_pipeline.reporting import COMPANIONS, build_report, key_frame, make_companions

CT, ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1"
PICTURE = np.tile(np.arange(448, dtype=np.uint16)[:, None, None] // 2, (1, 448, 3)).astype(np.uint8)


@dataclass(frozen=True)
class Inputs:
    """What objects are made of; another number is another value of the same kind. full: images state all that is read."""

    images: int = 0
    revision: int = 0
    recipe: int = 0
    scores: int = 0
    full: bool = True


INPUTS = ("images", "revision", "recipe", "scores")


def made_objects(inputs: Inputs) -> dict[str, list[Dataset]]:
    """The report and the companions, by their kind; of key images one a series."""
    headers = {str(h.SOPInstanceUID): h for h in images(inputs)}
    study = uid_of("example study", str(inputs.images))
    series: dict[str, list[Frame]] = {}
    for uid, header in headers.items():
        for number in range(1, 1 + (3 if header.SOPClassUID == ENHANCED_CT else 1)):
            frame = Frame(FrameKey(uid, number), Path("x"), str(header.SeriesInstanceUID), 10.0 * len(series))
            series.setdefault(frame.series_instance_uid, []).append(frame)
    plans = [SeriesPlan(uid, "CT", described(inputs), "p", "all", tuple(frames)) for uid, frames in series.items()]
    labels = label_set(inputs)
    scores = [score for uid, frames in series.items() for score in scores_of(inputs, labels, uid, frames)]
    first = inputs.revision == 0 or not inputs.full
    moment = datetime(2026, 1, 2 + inputs.revision, 12, inputs.revision, tzinfo=UTC)
    before = None if first else uid_of("report before", str(inputs.revision))
    revision = Revision(study, 1 + inputs.revision, moment, dict.fromkeys(headers, "00"), before)
    shown = [frames[-1] for frames in series.values()]
    domains = {frame.key: FrameDomain(Domain.OUT, 1.0) for frame in shown} if inputs.full else {}
    made_by = provenance(inputs)
    report = build_report(
        revision, Plan(study, tuple(plans)), headers, scores, labels, made_by, key_frames=1, domains=domains
    )
    keys = [key_frame(frame, "CT example", PICTURE, None, scores, headers) for frame in shown]
    rng = np.random.default_rng(inputs.scores)
    vectors = [Embedding(frame, rng.normal(size=8).astype(np.float32)) for frame in shown]
    made: dict[str, list[Dataset]] = {"report": [report]}
    for companion in make_companions(COMPANIONS, report, revision, headers, keys, vectors, made_by):
        made.setdefault(object_kind(str(companion.SOPClassUID)), []).append(companion)
    return made


def images(inputs: Inputs) -> list[Dataset]:
    """Headers of two series: images of one frame, and one image of three."""
    made = []
    for number, sop_class in enumerate((CT, CT, ENHANCED_CT)):
        header = Dataset()
        header.SOPClassUID, header.Modality = sop_class, "CT"
        header.SOPInstanceUID = uid_of("example image", str(inputs.images), str(number))
        header.StudyInstanceUID = uid_of("example study", str(inputs.images))
        header.SeriesInstanceUID = uid_of("example series", str(inputs.images), sop_class)
        if sop_class == ENHANCED_CT:
            header.NumberOfFrames = 3
        if inputs.full:
            for keyword, values in STATED.items():
                setattr(header, keyword, values[inputs.images])
            header.InstanceNumber = 1 + number
            header.RequestAttributesSequence = Sequence([request(inputs.images), bare_request(inputs.images)])
        made.append(header)
    return made


STATED = {
    "PatientName": ("Alpha^Anna", "Beta^Ben"),
    "PatientID": ("ID1", "ID2"),
    "IssuerOfPatientID": ("Here", "There"),
    "PatientBirthDate": ("19700101", "19800202"),
    "PatientSex": ("F", "M"),
    "PatientAge": ("056Y", "046Y"),
    "PatientSize": ("1.7", "1.8"),
    "PatientWeight": ("70", "80"),
    "StudyDate": ("20260102", "20260103"),
    "StudyTime": ("101500", "111600"),
    "StudyID": ("S1", "S2"),
    "AccessionNumber": ("A1", "A2"),
    "ReferringPhysicianName": ("One^Doctor", "Two^Doctor"),
    "StudyDescription": ("CT chest", "CT head"),
    "InstitutionName": ("Hospital", "Clinic"),
    "TimezoneOffsetFromUTC": ("+0100", "-0500"),
    "FrameOfReferenceUID": ("1.2.3.4", "1.2.3.5"),
    "ImageOrientationPatient": ([1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1]),
    "Rows": (512, 256),
    "Columns": (512, 256),
    "SeriesNumber": (3, 4),
}
"""Two values of each attribute of an image that an object takes over or looks at."""


def request(number: int) -> Dataset:
    """An item of the Request Attributes Sequence."""
    code, item = Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = f"P{number}", "99SITE", f"Procedure {number}"
    item.AccessionNumber, item.RequestedProcedureID = f"A{number + 1}", f"RP{number}"
    item.PlacerOrderNumberImagingServiceRequest = f"PL{number}"
    item.FillerOrderNumberImagingServiceRequest = f"FI{number}"
    item.RequestedProcedureDescription = f"Procedure {number}"
    item.RequestedProcedureCodeSequence = Sequence([code])
    return item


def bare_request(number: int) -> Dataset:
    """An item that states no more than which procedure was requested."""
    item = Dataset()
    item.AccessionNumber, item.RequestedProcedureID = "", f"RQ{number}"
    return item


def described(inputs: Inputs) -> str:
    """Series Description, which a plan takes from the images."""
    return ("Axial", "Coronal")[inputs.images] if inputs.full else ""


def label_set(inputs: Inputs) -> LabelSet:
    """A label with code, site and threshold, where images are described in full; and one with neither."""
    code, site = Code("36118008", "SCT", "Pneumothorax"), Code("3120008", "SCT", "Pleural membrane structure")
    rich = Label("Pneumothorax", ("x",), ("y",), code, site, threshold=0.5)
    plain = Label("A label whose name is far too long for the meaning of a code of 64 bytes", ("x",), ("y",))
    return LabelSet("example", "1", (rich, plain) if inputs.full else (Label("Lesion", ("x",), ("y",)),), KIND)


KIND = ScoreKind.ZERO_SHOT_PAIR


def scores_of(inputs: Inputs, labels: LabelSet, series: str, frames: list[Frame]) -> list[Score]:
    """A score of each label for each frame and of the series. The second label is highest in the first frame."""
    made = []
    for number, label in enumerate(labels.labels):
        values = [(3 - number + inputs.scores) * (1 + place) / 20 for place in range(len(frames))]
        values = values[::-1] if number else values
        made += [Score(label.name, v, KIND, series, f.key) for v, f in zip(values, frames, strict=True)]
        best = max(range(len(frames)), key=values.__getitem__)
        made.append(Score(label.name, values[best], KIND, series, frames[best].key, Derivation.MAX))
    return made


def provenance(inputs: Inputs) -> Provenance:
    """Model, settings and software."""
    made = Provenance(
        encoder=f"owner{inputs.recipe}/model{inputs.recipe}",
        weights=f"{inputs.recipe + 10:02x}" * 32,
        precision="cpu-float32",
        presets={"p": "cd" * 32},
        selection="all",
        label_set="example 1",
        label_set_digest="ef" * 32,
        software=f"dicom_pipeline 0.{inputs.recipe}",
        notice="An example." if inputs.full else "",
    )
    return replace(made, extra={"n": str(inputs.recipe)})
