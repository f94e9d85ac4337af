"""Keyed pseudonyms: HMAC-SHA256 of what is to be hidden, under a secret key that stays outside the export.

The same key gives the same pseudonyms in every export, so exports can be joined; whoever has the key and the store can
go back (`pseudonyms resolve`); without the key nobody can try identifiers out (RFC 2104; DICOM PS3.15 E.1 on UIDs).
"""

from __future__ import annotations

import hmac
import os
import secrets
import uuid
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa

from dicom_pipeline.errors import UsageError

UID_COLUMNS = ("study_instance_uid", "series_instance_uid", "sop_instance_uid")
IDENTIFYING_COLUMNS = (*UID_COLUMNS, "patient_id", "study_date")
MAX_DAYS = 1825
"""Dates move back by 1 to so many days (five years), the same for all of a patient's."""


class Pseudonyms:
    """Pseudonyms under one key of at least 16 bytes. key_id: tells keys apart without giving them away."""

    def __init__(self, key: bytes) -> None:
        if len(key) < 16:
            raise UsageError("the pseudonym key is too short: at least 16 bytes are needed")
        self._key = key
        self.key_id = self._digest("key", "id").hex()[:12]

    def _digest(self, kind: str, value: str) -> bytes:
        return hmac.digest(self._key, f"{kind}\0{value}".encode(), "sha256")

    def uid(self, uid: str) -> str:
        """A UID for a UID: 2.25. and a UUID as a decimal (PS3.5 B.2)."""
        return f"2.25.{uuid.UUID(bytes=self._digest('uid', uid)[:16], version=5).int}"

    def patient(self, patient: str) -> str:
        """P and 24 hexadecimal digits for a patient's identifier."""
        return "P" + self._digest("patient", patient).hex()[:24]

    def days(self, patient: str) -> int:
        """By how many days a patient's dates move back."""
        return 1 + int.from_bytes(self._digest("days", patient)[:8], "big") % MAX_DAYS

    def apply(self, table: pa.Table) -> pa.Table:
        """A table of rows with patient_id, UIDs and study_date replaced. A row without a patient_id counts its study as one."""
        patients = [
            patient or f"study {study}"
            for patient, study in zip(
                table["patient_id"].to_pylist(), table["study_instance_uid"].to_pylist(), strict=True
            )
        ]
        names = {patient: self.patient(patient) for patient in set(patients)}
        back = {patient: timedelta(self.days(patient)) for patient in names}
        dates = [
            _moved(day, back[patient]) for day, patient in zip(table["study_date"].to_pylist(), patients, strict=True)
        ]
        table = _replaced(table, "patient_id", [names[patient] for patient in patients])
        table = _replaced(table, "study_date", dates)
        for column in UID_COLUMNS:
            if column in table.column_names:
                uids = table[column].to_pylist()
                known = {uid: self.uid(uid) for uid in set(uids)}
                table = _replaced(table, column, [known[uid] for uid in uids])
        return table

    def resolve(self, table: pa.Table, wanted: Iterable[str]) -> dict[str, str]:
        """Pseudonym -> the original, for those of `wanted` that a table's patients or UIDs have."""
        found = {}
        left = set(wanted)
        for column in ("patient_id", *UID_COLUMNS):
            make = self.patient if column == "patient_id" else self.uid
            for value in table[column].unique().to_pylist():
                if value is not None and (pseudonym := make(value)) in left:
                    found[pseudonym] = value
        return found


def load_key(path: Path, *, create: bool) -> Pseudonyms:
    """The pseudonyms of a key file; made with 32 random bytes, readable by its owner alone, where there is none.

    Raises UsageError where it is missing and not to be made, is readable by others, or holds no key.
    """
    if not path.exists():
        if not create:
            raise UsageError(f"there is no pseudonym key at {path}; --key names the one that the export was made with")
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            stream.write(secrets.token_hex(32) + "\n")
    if path.stat().st_mode & 0o077:
        raise UsageError(f"{path} can be read by others than its owner; run: chmod 600 {path}")
    try:
        return Pseudonyms(bytes.fromhex(path.read_text(encoding="ascii").strip()))
    except ValueError as error:
        raise UsageError(
            f"{path} holds no pseudonym key: expected hexadecimal digits, as this program writes them"
        ) from error


def _moved(day: date | None, back: timedelta) -> date | None:
    """An earlier day; None where there is none (dates before year 6 are no dates)."""
    if day is None or day.toordinal() <= back.days:
        return None
    return day - back


def _replaced(table: pa.Table, name: str, values: Sequence[object]) -> pa.Table:
    field = table.schema.field(name)
    return table.set_column(table.column_names.index(name), field, pa.array(values, field.type))
