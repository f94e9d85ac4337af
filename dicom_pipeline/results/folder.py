"""What results leave as files: the same folder whether `process`, `demo` or the service made it.

reports/<SOPInstanceUID>.dcm  companions/<SOPInstanceUID>.dcm  embeddings.parquet  scores.csv  plan.json  report.html
contact_sheet.png
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from dicom_pipeline.disk import sync_folder, write_durably
from dicom_pipeline.domain import Excluded
from dicom_pipeline.errors import UsageError
from dicom_pipeline.imaging import stack_sheets
from dicom_pipeline.results.overview import render_overview
from dicom_pipeline.results.plan_json import PLAN_SCHEMA, excluded_to_json
from dicom_pipeline.results.score_rows import ScoreRow, write_scores
from dicom_pipeline.results.study_output import StudyOutput


@dataclass(slots=True)
class OutputFolder:
    """Gathers the studies of one run and writes them as one folder.

    excluded, other_files: inputs of no study. escape_formulas: in scores.csv, see results.escape_formulas.
    """

    folder: Path
    excluded: Sequence[Excluded] = ()
    other_files: Sequence[Path] = ()
    escape_formulas: bool = True
    plans: list[Mapping[str, Any]] = field(default_factory=list)
    tables: list[pa.Table] = field(default_factory=list)
    scores: list[ScoreRow] = field(default_factory=list)
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
        write_scores(self.folder / "scores.csv", self.scores, escape=self.escape_formulas)
        write_plan(self.folder, self.plans, self.excluded, self.other_files)
        sheet = self.folder / "contact_sheet.png"
        if drawn := [image for image in self.sheets if image is not None]:
            stack_sheets(drawn).save(sheet)
        page = render_overview(self.plans, self.scores, sorted(self.reports), self.sheets, self.excluded)
        write_durably(self.folder / "report.html", page.encode())
        sync_folder(self.folder)


def write_plan(
    folder: Path, plans: Sequence[Mapping[str, Any]], excluded: Sequence[Excluded], other_files: Sequence[Path]
) -> dict[str, Any]:
    """Write plan.json and return what it says."""
    document = {
        "schema": PLAN_SCHEMA,
        "studies": list(plans),
        "excluded": [excluded_to_json(item) for item in excluded],
        "other_files": [str(path) for path in other_files],
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_durably(folder / "plan.json", json.dumps(document, indent=1).encode() + b"\n")
    return document
