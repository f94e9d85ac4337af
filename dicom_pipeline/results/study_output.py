"""A StudyResult in the form in which it is written and read back: the one conversion, for files, store and pages alike."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from dicom_pipeline.dicom.part10 import encode
from dicom_pipeline.domain import Domain
from dicom_pipeline.pipeline import StudyResult
from dicom_pipeline.results.plan_json import plan_to_json
from dicom_pipeline.results.score_rows import ScoreRow, read_scores
from dicom_pipeline.results.study_sheet import study_sheet
from dicom_pipeline.results.tables import embedding_table


@dataclass(frozen=True, slots=True)
class StudyOutput:
    """One study's results in the form in which they are written and read back.

    plan: the study's entry of plan.json. embeddings: one row a frame. reports: file name ->
    Part 10 bytes; companions: likewise.
    """

    plan: Mapping[str, Any]
    embeddings: pa.Table
    scores: Sequence[ScoreRow]
    reports: Mapping[str, bytes]
    sheet: Image.Image | None
    companions: Mapping[str, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, result: StudyResult, dimension: int) -> StudyOutput:
        """The output of a result; its pipeline must have kept the renderings for a contact sheet."""
        reports = {}
        if result.report is not None:
            reports[f"{result.report.SOPInstanceUID}.dcm"] = encode(result.report)
        entry = plan_to_json(result.plan, result.headers, result.account, result.applicability)
        entry["state"] = result.state.value
        entry["state_sentence"] = result.state.sentence
        entry["revision"] = result.revision.number
        entry["fingerprint"] = result.provenance.fingerprint
        entry["encoder"] = result.provenance.encoder
        entry["notice"] = result.provenance.notice
        for series in entry["series"]:
            series["out_of_domain"] = _beyond(result, series["series_instance_uid"])
        return cls(
            plan=entry,
            embeddings=embedding_table(
                result.embeddings,
                result.plan,
                result.headers,
                result.provenance,
                dimension,
                result.revision.number,
                result.domains,
            ),
            scores=[
                ScoreRow.of(score, result.plan.study_instance_uid, result.provenance, result.domains)
                for score in result.scores
            ],
            reports=reports,
            sheet=study_sheet(
                result.plan,
                result.headers,
                result.renderings,
                scores=result.frame_scores,
                domains=result.domains,
                revision=result.revision.number,
            )
            if result.renderings
            else None,
            companions={f"{made.SOPInstanceUID}.dcm": encode(made) for made in result.companions},
        )

    @classmethod
    def read(cls, folder: Path) -> StudyOutput:
        """Read back a folder that holds one study."""
        sheet = folder / "contact_sheet.png"
        return cls(
            plan=json.loads((folder / "plan.json").read_text(encoding="utf-8"))["studies"][0],
            embeddings=pq.read_table(folder / "embeddings.parquet"),
            scores=list(read_scores(folder / "scores.csv")),
            reports={path.name: path.read_bytes() for path in sorted((folder / "reports").glob("*.dcm"))},
            sheet=Image.open(sheet).convert("RGB") if sheet.exists() else None,
            companions={path.name: path.read_bytes() for path in sorted((folder / "companions").glob("*.dcm"))},
        )


def _beyond(result: StudyResult, series_instance_uid: str) -> int | None:
    """How many frames of a series are out of domain; None where the checkpoint has no reference for them."""
    keys = [e.frame.key for e in result.embeddings if e.frame.series_instance_uid == series_instance_uid]
    judged = [result.domains[key].domain for key in keys if key in result.domains]
    return judged.count(Domain.OUT) if judged else None
