"""What results leave as files: the same folder whether `process`, `demo` or the service made it.

reports/<SOPInstanceUID>.dcm  companions/<SOPInstanceUID>.dcm  embeddings.parquet  scores.csv  plan.json  report.html
contact_sheet.png
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from dicom_pipeline.dicom.part10 import encode
from dicom_pipeline.disk import sync_folder, write_durably
from dicom_pipeline.domain import Excluded
from dicom_pipeline.errors import UsageError
from dicom_pipeline.imaging import contact_sheet, stack_sheets
from dicom_pipeline.pipeline import StudyResult
from dicom_pipeline.results.overview import render_overview
from dicom_pipeline.results.plan_json import PLAN_SCHEMA, left_out_to_json, plan_to_json
from dicom_pipeline.results.tables import SCORE_COLUMNS, embedding_table, score_rows

SHEET_FRAMES = 24
"""Frames of one study on a contact sheet, evenly; its title says when there are more."""


@dataclass(frozen=True, slots=True)
class StudyOutput:
    """One study's results in the form in which they are written and read back.

    plan: the study's entry of plan.json. embeddings: one row a frame; scores: one mapping a score; reports: file name ->
    Part 10 bytes; companions: likewise.
    """

    plan: Mapping[str, Any]
    embeddings: pa.Table
    scores: Sequence[Mapping[str, Any]]
    reports: Mapping[str, bytes]
    sheet: Image.Image | None
    companions: Mapping[str, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, result: StudyResult, dimension: int) -> StudyOutput:
        """The output of a result; its pipeline must have kept the renderings for a contact sheet."""
        reports = {}
        if result.report is not None:
            reports[f"{result.report.SOPInstanceUID}.dcm"] = encode(result.report)
        entry = plan_to_json(result.plan, result.account)
        entry["revision"] = result.revision.number
        entry["fingerprint"] = result.provenance.fingerprint
        entry["encoder"] = result.provenance.encoder
        entry["notice"] = result.provenance.notice
        return cls(
            plan=entry,
            embeddings=embedding_table(
                result.embeddings, result.plan, result.headers, result.provenance, dimension, result.revision.number
            ),
            scores=score_rows(result.scores, result.plan.study_instance_uid, result.provenance),
            reports=reports,
            sheet=_sheet(result) if result.renderings else None,
            companions={f"{made.SOPInstanceUID}.dcm": encode(made) for made in result.companions},
        )

    @classmethod
    def read(cls, folder: Path) -> StudyOutput:
        """Read back a folder that holds one study."""
        sheet = folder / "contact_sheet.png"
        with (folder / "scores.csv").open(newline="", encoding="utf-8") as stream:
            scores = list(csv.DictReader(stream))
        return cls(
            plan=json.loads((folder / "plan.json").read_text(encoding="utf-8"))["studies"][0],
            embeddings=pq.read_table(folder / "embeddings.parquet"),
            scores=scores,
            reports={path.name: path.read_bytes() for path in sorted((folder / "reports").glob("*.dcm"))},
            sheet=Image.open(sheet).convert("RGB") if sheet.exists() else None,
            companions={path.name: path.read_bytes() for path in sorted((folder / "companions").glob("*.dcm"))},
        )


@dataclass(slots=True)
class OutputFolder:
    """Gathers the studies of one run and writes them as one folder. left_out, other_files: inputs of no study."""

    folder: Path
    left_out: Sequence[Excluded] = ()
    other_files: Sequence[Path] = ()
    plans: list[Mapping[str, Any]] = field(default_factory=list)
    tables: list[pa.Table] = field(default_factory=list)
    scores: list[Mapping[str, Any]] = field(default_factory=list)
    sheets: list[Image.Image | None] = field(default_factory=list)
    reports: dict[str, bytes] = field(default_factory=dict)
    companions: dict[str, bytes] = field(default_factory=dict)

    def add(self, output: StudyOutput) -> None:
        """Take up one study."""
        self.plans.append(output.plan)
        self.tables.append(output.embeddings)
        self.scores.extend(output.scores)
        self.reports.update(output.reports)
        self.companions.update(output.companions)
        self.sheets.append(output.sheet)

    def check(self) -> None:
        """Raise UsageError for a folder in which `write` would replace what no earlier run made."""
        ours = (self.folder / "plan.json").exists()
        for name in ("reports", "companions"):
            if not ours and (self.folder / name).is_dir() and any((self.folder / name).iterdir()):
                raise UsageError(
                    f"{self.folder / name} is there and was not made by an earlier run, which it would be replaced by; "
                    "give --out a folder of its own"
                )

    def write(self) -> None:
        """Write everything; reports of an earlier run in the same folder are replaced. Raises UsageError, see `check`."""
        self.check()
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("embeddings.parquet", "contact_sheet.png"):  # a run without any must not leave an earlier one's
            (self.folder / name).unlink(missing_ok=True)
        for folder, objects in (("reports", self.reports), ("companions", self.companions)):
            if (self.folder / folder).is_dir():
                shutil.rmtree(self.folder / folder)
            if objects or folder == "reports":
                (self.folder / folder).mkdir(parents=True)
            for name, content in objects.items():
                write_durably(self.folder / folder / name, content)
        if self.tables:
            pq.write_table(pa.concat_tables(self.tables), self.folder / "embeddings.parquet", compression="zstd")
        with (self.folder / "scores.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, SCORE_COLUMNS)
            writer.writeheader()
            writer.writerows(self.scores)
        write_plan(self.folder, self.plans, self.left_out, self.other_files)
        sheet = self.folder / "contact_sheet.png"
        if drawn := [image for image in self.sheets if image is not None]:
            stack_sheets(drawn).save(sheet)
        page = render_overview(self.plans, self.scores, sorted(self.reports), self.sheets, self.left_out)
        write_durably(self.folder / "report.html", page.encode())
        sync_folder(self.folder)


def write_plan(
    folder: Path, plans: Sequence[Mapping[str, Any]], left_out: Sequence[Excluded], other_files: Sequence[Path]
) -> dict[str, Any]:
    """Write plan.json and return what it says."""
    document = {
        "schema": PLAN_SCHEMA,
        "studies": list(plans),
        "left_out": [left_out_to_json(item) for item in left_out],
        "other_files": [str(path) for path in other_files],
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_durably(folder / "plan.json", json.dumps(document, indent=1).encode() + b"\n")
    return document


def _sheet(result: StudyResult) -> Image.Image:
    """The study's contact sheet: renderings evenly over all series, each with its highest score."""
    best: dict[Any, Any] = {}
    for score in result.frame_scores:
        if score.frame not in best or score.value > best[score.frame].value:
            best[score.frame] = score
    shown = result.renderings
    names = {s.series_instance_uid: f"{s.modality} {s.description}".strip() for s in result.plan.series}
    captions = []
    for rendering in shown:
        top = best.get(rendering.frame.key)
        where = rendering.frame.position_mm
        second = f"{top.label} {top.value:.2f}" if top else ""
        place = f"  {where:.0f} mm" if where is not None else ""
        captions.append(f"{names[rendering.frame.series_instance_uid]}{place}\n{second}")
    title = f"Study …{result.plan.study_instance_uid[-12:]}: {len(shown)} of {len(result.embeddings)} inputs, 448 x 448"
    return contact_sheet([r.pixels for r in shown], captions, title=title)
