"""Objects that accompany a report, each requested by name: they say the same to viewers that show no SR.

key-image     Secondary Capture: each series' best frame in its own window and as the model saw it, with its scores burned in
key-objects   Key Object Selection "For Research" (113009, DCM): links to the key frames
embeddings    Raw Data: the vectors in a private block (docs/report.md describes it)
pdf           Encapsulated PDF: the report's text and the key images

key_objects, picture (with orientation) and page (PDF) make them, lettering is what the fonts can write.

Bytes and UIDs depend on the report and the revision alone, as the report's do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydicom import Dataset
from pydicom.sequence import Sequence as DicomSequence

from dicom_pipeline.dicom import own_objects
from dicom_pipeline.dicom.own_objects import ENCAPSULATED_PDF, RAW_DATA, SECONDARY_CAPTURE
from dicom_pipeline.dicom.part10 import named
from dicom_pipeline.dicom.uids import uid_of
from dicom_pipeline.domain import (
    Derivation,
    Embedding,
    Frame,
    FrameKey,
    Pixels,
    Provenance,
    Revision,
    Score,
    score_text,
    study_name,
)
from dicom_pipeline.reporting import equipment
from dicom_pipeline.reporting.companions.key_objects import key_object_selection
from dicom_pipeline.reporting.companions.lettering import label_text
from dicom_pipeline.reporting.companions.orientation import Edges, edges_of
from dicom_pipeline.reporting.companions.page import pdf_bytes
from dicom_pipeline.reporting.companions.picture import Caption, key_image_pixels
from dicom_pipeline.reporting.evidence import TIMES, clean_header, copy_frames, frame_number_of
from dicom_pipeline.reporting.names import image_name_of
from dicom_pipeline.reporting.readback import read_report
from dicom_pipeline.reporting.text import report_text

COMPANIONS = ("key-image", "key-objects", "embeddings", "pdf")

SERIES_NUMBERS = {"key-image": 9802, "key-objects": 9803, "embeddings": 9804, "pdf": 9805}
SHOWN_SCORES = 4
PRIVATE_GROUP, PRIVATE_CREATOR = 0x0099, "DICOM_PIPELINE"


@dataclass(frozen=True, slots=True)
class KeyFrame:
    """A frame worth showing: what the model saw, and its own scores, highest first. header: its cleaned source header.

    title: series and image for a person. position_mm: along the slice normal. edges: which way the picture looks.
    own_window: the frame in its object's own window, None where `pixels` is that.
    elsewhere: series scores that come from other images, each with that image's name. coloured: grey values stand as colours
    in `pixels`, one window each.
    """

    key: FrameKey
    pixels: Pixels
    scores: Sequence[Score]
    header: Dataset
    title: str = ""
    position_mm: float | None = None
    edges: Edges | None = None
    own_window: Pixels | None = None
    elsewhere: Sequence[tuple[Score, str]] = ()
    coloured: bool = False


def key_frame(
    frame: Frame,
    series: str,
    pixels: Pixels,
    own_window: Pixels | None,
    scores: Sequence[Score],
    headers: Mapping[str, Dataset],
    *,
    coloured: bool = False,
) -> KeyFrame:
    """A key frame. series: its name for a person. scores: all of its series. headers: as read, by SOP Instance UID."""
    key, header = frame.key, headers[frame.key.sop_instance_uid]
    clean = clean_header(header)
    clean.SOPInstanceUID = key.sop_instance_uid
    copy_frames(header, clean)
    ranked = sorted(scores, key=lambda s: (-s.value, s.label))
    return KeyFrame(
        key,
        pixels,
        [s for s in ranked if s.frame == key and s.derivation is None],
        clean,
        title=f"{series}, {image_name_of(key, headers)}",
        position_mm=frame.position_mm,
        edges=edges_of(header, key.frame),
        own_window=own_window,
        elsewhere=[(s, image_name_of(s.frame, headers)) for s in ranked if s.frame != key and s.derivation is not None],
        coloured=coloured,
    )


def make_companions(
    requested: Sequence[str],
    report: Dataset,
    revision: Revision,
    headers: Mapping[str, Dataset],
    key_frames: Sequence[KeyFrame],
    embeddings: Sequence[Embedding],
    provenance: Provenance,
) -> list[Dataset]:
    """The companions named in `requested`, in the order of COMPANIONS. headers: by SOP Instance UID, as read."""
    made: list[Dataset] = []
    if "key-image" in requested:
        made += [_key_image(report, revision, provenance, k, n) for n, k in enumerate(key_frames, 1)]
    if "key-objects" in requested and key_frames:
        shown = {k.key: k.header for k in key_frames}
        made.append(key_object_selection(report, [(h, k) for k, h in shown.items()], SERIES_NUMBERS["key-objects"]))
    if "embeddings" in requested and embeddings:
        made.append(_raw_data(report, revision, provenance, embeddings, headers))
    if "pdf" in requested:
        made.append(_pdf(report, revision, provenance, key_frames))
    return [named(dataset) for dataset in made]


def _companion(
    report: Dataset, kind: str, sop_class: str, modality: str, number: int, provenance: Provenance
) -> Dataset:
    """Patient, study, series and equipment of a companion, taken from the report."""
    made = Dataset()
    made.update(clean_header(report))
    if "FrameOfReferenceUID" in made:
        del made.FrameOfReferenceUID
    made.SOPClassUID, made.Modality = sop_class, modality
    made.SeriesInstanceUID = uid_of(f"{kind}-series", str(report.StudyInstanceUID))
    made.SeriesNumber, made.InstanceNumber = SERIES_NUMBERS[kind], number
    made.SeriesDescription = f"AI RESEARCH - {kind}"
    for keyword in TIMES:
        setattr(made, keyword, report.get(keyword))
    if "TimezoneOffsetFromUTC" in report:
        made.TimezoneOffsetFromUTC = report.TimezoneOffsetFromUTC
    made.Manufacturer, made.ManufacturerModelName = own_objects.MANUFACTURER, own_objects.MODEL_NAME
    made.SoftwareVersions = equipment.version_of(provenance)
    made.DeviceSerialNumber = provenance.fingerprint[:16]
    made.ContributingEquipmentSequence = equipment.contributing_equipment(provenance)
    made.ContentQualification = "RESEARCH"
    if modality == "OT":
        made.Laterality = ""
    return made


def _key_image(report: Dataset, revision: Revision, provenance: Provenance, shown: KeyFrame, number: int) -> Dataset:
    """RGB Secondary Capture (PS3.3 A.8.1) with the statement and the scores burned in."""
    pixels = key_image_pixels(shown.pixels, shown.own_window, _caption(shown, revision, provenance))
    made = _companion(report, "key-image", SECONDARY_CAPTURE, "OT", number * 1000 + revision.number, provenance)
    made.ConversionType, made.BurnedInAnnotation = "SYN", "YES"
    made.ImageType, made.LossyImageCompression = ["DERIVED", "SECONDARY"], "00"
    made.PatientOrientation = ""
    made.DerivationDescription = "The model's input with its scores burned in; research use only, not for diagnosis"
    source = Dataset()
    source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = shown.header.SOPClassUID, shown.key.sop_instance_uid
    if (frame := frame_number_of(shown.header, shown.key)) is not None:
        source.ReferencedFrameNumber = frame
    made.SourceImageSequence = DicomSequence([source])
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "RGB", 0
    made.Rows, made.Columns = pixels.shape[:2]
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    made.PixelData = pixels.tobytes()
    made["PixelData"].VR = "OB"
    return made


def _caption(shown: KeyFrame, revision: Revision, provenance: Provenance) -> Caption:
    # no accession number: what is burned in stays when headers are pseudonymised
    study = study_name(str(shown.header.get("StudyDescription", "")), str(shown.header.get("StudyDate", "")), "")
    position = "" if shown.position_mm is None else f"Slice position {shown.position_mm:.1f} mm"
    elsewhere = [
        f"In this series {label_text(s.label)} is highest in {image}: {score_text(s.value, 2)}"
        if s.derivation is Derivation.MAX
        else f"Of the series ({s.derivation}): {label_text(s.label)} {score_text(s.value, 2)}, highest in {image}"
        for s, image in shown.elsewhere[:SHOWN_SCORES]
    ]
    return Caption(
        shown.title,
        [study, *([position] if position else [])],
        [(s.label, s.value) for s in shown.scores[:SHOWN_SCORES]],
        [
            "Scores above are of this image alone. Uncalibrated unless a probe made them.",
            *elsewhere,
            f"Model {provenance.encoder}, weights {provenance.weights[:12]}; {provenance.software}; revision {revision.number}",
            provenance.notice,
        ],
        shown.edges,
        "as the model saw it: windows as colours" if shown.coloured else "as the model saw it",
    )


def _raw_data(
    report: Dataset,
    revision: Revision,
    provenance: Provenance,
    embeddings: Sequence[Embedding],
    headers: Mapping[str, Dataset],
) -> Dataset:
    """Raw Data (PS3.3 A.37): float32 little endian vectors, row by row, and JSON that says which frame each row is."""
    vectors = np.stack([e.vector for e in embeddings]).astype("<f4")
    body = vectors.tobytes()
    frames = [{"sop_instance_uid": e.frame.key.sop_instance_uid, "frame": e.frame.key.frame} for e in embeddings]
    description = {
        "schema": "dicom_pipeline embeddings 1",
        "shape": list(vectors.shape),
        "dtype": "float32, little endian",
        "encoder": provenance.encoder,
        "weights": provenance.weights,
        "fingerprint": provenance.fingerprint,
        "frames": frames,
    }
    made = _companion(report, "embeddings", RAW_DATA, "OT", revision.number, provenance)
    # PixelMed asks for the module; vectors lie in no space of the images, so they have one of their own
    made.FrameOfReferenceUID = uid_of("frame-of-embeddings", str(report.StudyInstanceUID))
    made.PositionReferenceIndicator = ""
    made.CreatorVersionUID = uid_of("creator-version", provenance.software)
    made.AcquisitionContextSequence = DicomSequence()
    sources = []
    for uid in dict.fromkeys(e.frame.key.sop_instance_uid for e in embeddings):
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = clean_header(headers[uid]).SOPClassUID, uid
        item.PurposeOfReferenceCodeSequence = DicomSequence([_source_purpose()])
        sources.append(item)
    made.ReferencedInstanceSequence = DicomSequence(sources)
    block = made.private_block(PRIVATE_GROUP, PRIVATE_CREATOR, create=True)
    block.add_new(0x01, "UT", json.dumps(description, sort_keys=True))
    block.add_new(0x02, "OB", body)
    block.add_new(0x03, "LO", hashlib.sha256(body).hexdigest())
    return made


def _source_purpose() -> Dataset:
    """(121322, DCM) of CID 7202."""
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "121322", "DCM"
    code.CodeMeaning = "Source image for image processing operation"
    return code


def _pdf(report: Dataset, revision: Revision, provenance: Provenance, key_frames: Sequence[KeyFrame]) -> Dataset:
    """Encapsulated PDF (PS3.3 A.45.1): the report as text, then the key images."""
    made = _companion(report, "pdf", ENCAPSULATED_PDF, "DOC", revision.number, provenance)
    pictures = [key_image_pixels(k.pixels, k.own_window, _caption(k, revision, provenance)) for k in key_frames]
    content = read_report(report)
    written = tuple(replace(score, label=label_text(score.label)) for score in content.scores)
    body = pdf_bytes(report_text(replace(content, scores=written)), pictures)
    made.ConversionType, made.BurnedInAnnotation = "SYN", "YES"
    made.AcquisitionDateTime = ""
    made.DocumentTitle = "AI RESEARCH - not for diagnosis"
    made.ConceptNameCodeSequence = DicomSequence()
    made.MIMETypeOfEncapsulatedDocument = "application/pdf"
    made.EncapsulatedDocumentLength = len(body)
    made.EncapsulatedDocument = body + b"\0" * (len(body) % 2)
    return made


def read_embeddings_object(dataset: Dataset) -> tuple[dict[str, object], np.ndarray]:
    """(what the JSON says, float32 (N, D)) of an `embeddings` companion; bytes are taken whatever VR they came back with.

    Raises ValueError where the vectors do not fit their sha256.
    """
    block = dataset.private_block(PRIVATE_GROUP, PRIVATE_CREATOR)
    raw = [block[offset].value for offset in (0x01, 0x02, 0x03)]
    text, body, digest = (v if isinstance(v, bytes) else str(v).encode() for v in raw)
    if hashlib.sha256(body).hexdigest() != digest.decode().strip(" \0"):
        raise ValueError("the vectors do not fit their sha256")
    description = json.loads(text.rstrip(b" \0"))
    return description, np.frombuffer(body, "<f4").reshape(description["shape"])
