"""Export: chosen rows as files for other tools, pseudonymised unless asked otherwise, with a manifest and a datasheet."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa

from dicom_pipeline.domain import Level, level_of
from dicom_pipeline.errors import UsageError
from dicom_pipeline.imaging import list_presets
from dicom_pipeline.research.embedding_store import EmbeddingStore
from dicom_pipeline.research.export.anonymity import k_anonymity
from dicom_pipeline.research.export.datasheet import COLUMNS, datasheet
from dicom_pipeline.research.export.formats import FORMATS, write_csv
from dicom_pipeline.research.export.levels import Rows, rows_of
from dicom_pipeline.research.export.pseudonyms import IDENTIFYING_COLUMNS, Pseudonyms
from dicom_pipeline.research.export.vocabulary import OTHER, Vocabulary
from dicom_pipeline.research.store.pooling import Pooling
from dicom_pipeline.research.store.where import Condition
from dicom_pipeline.results import csv_files
from dicom_pipeline.results.score_rows import SCORE_COLUMNS

EXPORT_SCHEMA = "dicom_pipeline/export/1"


def export(
    store: EmbeddingStore,
    out: Path,
    *,
    formats: Sequence[str] = ("parquet",),
    where: str | None = None,
    level: Level | str = Level.FRAME,
    pooling: Pooling | None = None,
    pseudonyms: Pseudonyms | None,
    vocabulary: Vocabulary | None = None,
    escape_formulas: bool = True,
) -> dict[str, Any]:
    """Write an export into the new or empty folder `out` and return its manifest.

    pseudonyms: None exports the rows as they are, with every identity. Written beside its place and renamed, so that there
    is a whole export or none. escape_formulas: in CSV, see results.escape_formulas. Raises UsageError or StoreError.
    """
    _check(out, formats)
    condition = store.condition(where)
    snapshot = store.snapshot()
    light, withheld = snapshot.light(condition), dict[str, int]()
    if pseudonyms is not None:
        vocabulary = vocabulary or Vocabulary.load()
        light, withheld = _shown(pseudonyms.apply(light), vocabulary)
    rows = rows_of(snapshot, light, level_of(level), pooling or Pooling("mean"))
    temporary = out.with_name(out.name + ".part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        about = {
            "schema": EXPORT_SCHEMA,
            "level": rows.level,
            "pooling": _pooling(rows),
            "identified": pseudonyms is None,
        }
        for name in dict.fromkeys(formats):
            file, write = FORMATS[name]
            if name == "csv":
                write = partial(write_csv, escape=escape_formulas)
            write(temporary / file, rows.parts, rows.schema, about)
        csv_files.write_csv(temporary / "scores.csv", SCORE_COLUMNS, rows.scores(), escape=escape_formulas)
        manifest = {
            **about,
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "software": f"dicom_pipeline {version('dicom-pipeline')}",
            "where": _where(condition, pseudonyms, vocabulary),
            "counts": _counts(rows),
            "dimension": rows.schema.field("embedding").type.list_size,
            "encoders": _tally(rows.light, "encoder"),
            "weights": _tally(rows.light, "weights"),
            "fingerprints": _tally(rows.light, "fingerprint"),
            "pseudonyms": None if pseudonyms is None else {"key_id": pseudonyms.key_id, "withheld_texts": withheld},
            "k_anonymity": k_anonymity(rows.light),
            "columns": {name: COLUMNS[name] for name in rows.schema.names},
            "files": _files(temporary),
        }
        (temporary / "README.md").write_text(datasheet(manifest), encoding="utf-8")
        manifest["files"] = _files(temporary)
        (temporary / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        if out.exists():
            out.rmdir()
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return manifest


def _check(out: Path, formats: Sequence[str]) -> None:
    wrong = [name for name in formats if name not in FORMATS]
    if wrong or not formats:
        raise UsageError(f"no format {', '.join(map(repr, wrong)) or 'given'}: expected {', '.join(FORMATS)}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there and not empty; an export goes into a new folder")


def _shown(light: pa.Table, vocabulary: Vocabulary) -> tuple[pa.Table, dict[str, int]]:
    """Every text column held to the vocabulary; presets to the shipped ones."""
    light, withheld = vocabulary.clean(light)
    shipped = {preset.name for preset in list_presets()}
    presets = [p if p in shipped else OTHER for p in light["preset"].to_pylist()]
    at = light.column_names.index("preset")
    return light.set_column(at, light.schema.field("preset"), pa.array(presets, pa.string())), withheld


def _where(condition: Condition | None, pseudonyms: Pseudonyms | None, vocabulary: Vocabulary | None) -> str | None:
    """The condition for the manifest: without values that could name someone, unless identities were asked for."""
    if condition is None:
        return None
    if pseudonyms is None:
        return condition.shown()
    vocabulary = vocabulary or Vocabulary.load()
    return condition.shown(lambda column, text: _may_show(vocabulary, column, text))


def _may_show(vocabulary: Vocabulary, column: str, text: str) -> bool:
    return column in ("frame", "stack", "revision") or (
        column not in IDENTIFYING_COLUMNS and vocabulary.may_show(column, text)
    )


def _pooling(rows: Rows) -> str:
    return "none: a row a frame, vectors as the model gave them" if rows.level == "frame" else rows.pooling.sentence


def _counts(rows: Rows) -> dict[str, int]:
    names = {"patients": "patient_id", "studies": "study_instance_uid", "series": "series_instance_uid"}
    counts = {what: len(rows.light[column].unique()) for what, column in names.items()}
    return {"rows": len(rows.spans), **counts, "frames": rows.light.num_rows}


def _tally(light: pa.Table, column: str) -> dict[str, int]:
    return {str(value): count for value, count in sorted(Counter(light[column].to_pylist()).items(), key=str)}


def _files(folder: Path) -> dict[str, dict[str, Any]]:
    files = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        files[path.name] = {"bytes": path.stat().st_size, "sha256": digest}
    return files
