"""`export` and `pseudonyms resolve`: embeddings for other tools, and the way back for the key's owner."""

from __future__ import annotations

import getpass
import json
import logging
import os
import socket
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dicom_pipeline.cli.printing import AsJson, console, print_json
from dicom_pipeline.cli.research.places import Config, From, Key, Space, Where, level_option, open_store, pseudonyms_of
from dicom_pipeline.domain import ROW_LEVELS
from dicom_pipeline.errors import UsageError

if TYPE_CHECKING:
    from dicom_pipeline.audit import Record
    from dicom_pipeline.research.embedding_store import EmbeddingStore

STUDIES_IN_A_MESSAGE = 500
"""An audit message of more studies would be too long for many a syslog server."""

log = logging.getLogger(__name__)


class Format(StrEnum):
    """File formats of an export."""

    PARQUET = "parquet"
    CSV = "csv"
    NPZ = "npz"
    HDF5 = "hdf5"
    JSONL = "jsonl"


def export(
    out: Annotated[Path, typer.Option(metavar="DIR", help="New folder for the export.")],
    from_: From = None,
    formats: Annotated[list[Format], typer.Option("--format", help="May be given several times.")] = [Format.PARQUET],  # noqa: B006
    where: Where = None,
    level: Annotated[str, level_option(ROW_LEVELS, "One row a frame, series or study.")] = "frame",
    pooling: Annotated[str, typer.Option(help="How frames become one vector: mean, max, top-k or top-k:N.")] = "mean",
    identified: Annotated[
        bool,
        typer.Option("--identified", help="Real identifiers, UIDs, dates and texts instead of pseudonyms; logged."),
    ] = False,
    key: Key = None,
    vocabulary: Annotated[
        Path | None, typer.Option(metavar="FILE", help="More header texts that may leave (TOML); see docs/export.md.")
    ] = None,
    space: Space = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Export embeddings with a manifest and a datasheet, pseudonymised unless --identified."""
    from dicom_pipeline.config import load_settings
    from dicom_pipeline.research.export.exporter import export as run
    from dicom_pipeline.research.export.vocabulary import Vocabulary
    from dicom_pipeline.research.store.pooling import parse_pooling
    from dicom_pipeline.service.wiring import record_of

    settings = load_settings(config)
    how = parse_pooling(pooling)
    terms = Vocabulary.load(vocabulary)
    store = open_store(settings, from_, space)
    pseudonyms = None if identified else pseudonyms_of(settings, key, outside=out)
    record = _open_record(key or settings.store.pseudonym_key)
    manifest = run(
        store,
        out,
        formats=[name.value for name in formats],
        where=where,
        level=level,
        pooling=how,
        pseudonyms=pseudonyms,
        vocabulary=terms,
        escape_formulas=settings.results.escape_formulas,
    )
    _record(record, out, manifest)
    _tell(record_of(settings, "export"), store, out, where, manifest)
    if as_json:
        print_json(manifest)
        return
    counts = ", ".join(f"{count} {what}" for what, count in manifest["counts"].items())
    console().print(f"{out}: {counts}. {'IDENTIFIED.' if identified else 'Pseudonymised.'}", soft_wrap=True)
    console().print("Embeddings stay personal data. README.md there is a datasheet for your data steward to sign.")


def resolve(
    pseudonyms: Annotated[
        list[str], typer.Argument(metavar="PSEUDONYM...", help="Of patients or UIDs, from an export.")
    ],
    from_: From = None,
    key: Key = None,
    space: Space = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Say whom pseudonyms stand for: needs the key and the store that the export was made from."""
    from dicom_pipeline.config import load_settings

    settings = load_settings(config)
    names = pseudonyms_of(settings, key)
    columns = ["patient_id", "study_instance_uid", "series_instance_uid", "sop_instance_uid"]
    found = names.resolve(open_store(settings, from_, space).rows(columns=columns), pseudonyms)
    if as_json:
        print_json(found)
    else:
        for pseudonym in pseudonyms:
            typer.echo(f"{pseudonym}  {found.get(pseudonym, 'not found with this key in this store')}")
    raise typer.Exit(0 if len(found) == len(set(pseudonyms)) else 1)


def _tell(record: Record, store: EmbeddingStore, out: Path, where: str | None, manifest: dict[str, Any]) -> None:
    """Who exported which studies where, for the audit trail."""
    from dicom_pipeline.audit import Exported, Node

    patients: dict[str, str] = {}
    for batch in store.batches(where, ["study_instance_uid", "patient_id"]):
        columns = batch.to_pydict()
        patients.update(zip(columns["study_instance_uid"], columns["patient_id"], strict=True))
    user = Node(f"{getpass.getuser()}@{socket.gethostname()}")
    details = {"Identified": str(manifest["identified"]), "Rows": str(manifest["counts"]["rows"])}
    studies = list(patients.items())
    for start in range(0, max(1, len(studies)), STUDIES_IN_A_MESSAGE):
        part = {study: patient or "" for study, patient in studies[start : start + STUDIES_IN_A_MESSAGE]}
        record(Exported(time.time(), user, out.resolve().as_uri(), part, details))


def _open_record(key: Path) -> int:
    """exports.jsonl beside the key, open before anything is exported: what cannot be recorded is not made."""
    path = key.with_name("exports.jsonl")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError as error:
        raise UsageError(f"nothing exported: it could not be recorded in {path}: {error.strerror}") from error


def _record(handle: int, out: Path, manifest: dict[str, Any]) -> None:
    """A line: who exported what, when, and whether identified."""
    line = {name: manifest[name] for name in ("made_at", "level", "identified", "where", "counts")}
    line |= {"user": getpass.getuser(), "out": str(out.resolve())}
    with os.fdopen(handle, "a") as stream:
        stream.write(json.dumps(line) + "\n")
    if manifest["identified"]:
        log.warning(
            "identified export of %d rows, recorded in exports.jsonl beside the key", manifest["counts"]["rows"]
        )
