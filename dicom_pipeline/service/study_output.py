"""What one revision leaves as files: the same folder whether `process`, `demo` or the service made it.

    reports/<SOPInstanceUID>.dcm  embeddings.parquet  scores.csv  plan.json  report.html  contact_sheet.png

A folder is written beside its place and renamed into it, so that a half-written one is never seen.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from dicom_pipeline.pipeline import StudyResult
from dicom_pipeline.reporting import encode
from dicom_pipeline.research import embedding_table, score_rows

SHEET_FRAMES = 48
"""Frames of one series on a contact sheet; the sheet says when there are more."""


@dataclass(frozen=True, slots=True)
class StudyOutput:
    """One study's results in the form in which they are written and read back.

    plan: the study's entry of plan.json, with its account and its scores of each series.
    embeddings: one row a frame; scores: one mapping a score; reports: file name -> Part 10 bytes.
    """

    plan: Mapping[str, Any]
    embeddings: pa.Table
    scores: Sequence[Mapping[str, Any]]
    reports: Mapping[str, bytes]
    sheet: Image.Image | None

    @classmethod
    def of(cls, result: StudyResult) -> StudyOutput:
        """The output of a result; its pipeline must have kept the renderings for a contact sheet."""
        reports = {}
        if result.report is not None:
            reports[f"{result.report.SOPInstanceUID}.dcm"] = encode(result.report)
        return cls(
            plan=_plan_entry(result),
            embeddings=embedding_table(result.embeddings, result.plan, result.headers, result.provenance),
            scores=score_rows(result.scores, result.plan.study_instance_uid, result.provenance),
            reports=reports,
            sheet=_sheet(result.renderings, result.frame_scores) if result.renderings else None,
        )

    @classmethod
    def read(cls, folder: Path) -> StudyOutput:
        """Read a folder that holds one study."""
        document = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
        sheet = folder / "contact_sheet.png"
        with (folder / "scores.csv").open(newline="", encoding="utf-8") as stream:
            scores = list(csv.DictReader(stream))
        return cls(
            plan=document["studies"][0],
            embeddings=pq.read_table(folder / "embeddings.parquet"),
            scores=scores,
            reports={path.name: path.read_bytes() for path in sorted((folder / "reports").glob("*.dcm"))},
            sheet=Image.open(sheet).convert("RGB") if sheet.exists() else None,
        )
