"""A study as Orthanc holds it now: what is sent of it, and which reports it has."""

from __future__ import annotations

import uuid
from typing import Any

from medsiglip.configuration import Configuration
from medsiglip.constants import OWN_DEVICE, OWN_DEVICE_UID, UID_NAMESPACE
from medsiglip.orthanc_rest import get_json, get_text, orthanc_id

MAX_CACHED_SERIES = 10_000


class NotInOrthanc(Exception):  # noqa: N818 - what it says is no error
    """Orthanc does not hold the resource, or does not hold it any more."""


class StudyContent:
    """One study in Orthanc. series: expanded, without our own. own: the series that dicom_pipeline made."""

    _made_here: dict[str, bool] = {}  # noqa: RUF012 - a cache for all studies: series -> whether dicom_pipeline made it

    def __init__(self, study: str) -> None:
        found = get_json(f"/studies/{study}") if study else None
        if found is None:
            raise NotInOrthanc("Orthanc holds no such study")
        self.study = study
        self.tags: dict[str, str] = found.get("MainDicomTags", {})
        self.uid = self.tags.get("StudyInstanceUID", "")
        series = get_json(f"/studies/{study}/series") or []
        self.own = [one for one in series if self.is_own(one)]
        self.series = [one for one in series if one not in self.own]

    @classmethod
    def is_own(cls, series: dict[str, Any]) -> bool:
        """Whether dicom_pipeline made a series: by its first instance's contributing equipment, not by a description."""
        known = cls._made_here.get(series["ID"])
        if known is None and series.get("Instances"):
            sequence = f"/instances/{series['Instances'][0]}/content/0018-a001"
            items = get_json(sequence)
            known = any(is_own_device(f"{sequence}/{item}") for item in items or [])
            if len(cls._made_here) > MAX_CACHED_SERIES:
                cls._made_here.clear()
            cls._made_here[series["ID"]] = known
        return bool(known)

    def matching(self, configuration: Configuration) -> list[dict[str, Any]]:
        """The series that the rules select; with the trigger StableSeries only those that are stable."""
        every = configuration.trigger == "StableStudy"
        stable = [series for series in self.series if every or series.get("IsStable", True)]
        rules = configuration.rules
        return [series for series in stable if not rules or any(self.matches(series, rule) for rule in rules)]

    def matches(self, series: dict[str, Any], rule: dict[str, Any]) -> bool:
        """Whether a series matches every key of a rule."""
        return all(self._matches_key(series, key, expected) for key, expected in rule.items())

    def _matches_key(self, series: dict[str, Any], key: str, expected: Any) -> bool:
        tags = series.get("MainDicomTags", {})
        if key == "Modality":
            return tags.get("Modality", "") in expected
        if key == "Sender":
            return get_text(f"/instances/{series['Instances'][0]}/metadata/RemoteAET") in expected
        if key == "Label":
            return bool(set(get_json(f"/studies/{self.study}/labels") or []) & set(expected))
        if key == "Metadata":
            metadata = f"/studies/{self.study}/metadata"
            return all(pattern.search(get_text(f"{metadata}/{name}")) for name, pattern in expected.items())
        return bool(expected.search((self.tags if key == "StudyDescription" else tags).get(key, "")))

    def instances(self, series: list[dict[str, Any]]) -> dict[str, str]:
        """SOP Instance UID -> Orthanc's identifier, for the instances of some series."""
        parents = {one["ID"] for one in series}
        found = get_json(f"/studies/{self.study}/instances") or []
        return {one["MainDicomTags"]["SOPInstanceUID"]: one["ID"] for one in found if one["ParentSeries"] in parents}

    def reports(self) -> list[dict[str, Any]]:
        """The Structured Reports of dicom_pipeline: identifiers and revision, newest first.

        Those that came with a modified or anonymised copy of another study are last.
        """
        reports = []
        for series in self.own:
            if series["MainDicomTags"].get("Modality") != "SR":
                continue
            copied = series["MainDicomTags"].get("SeriesInstanceUID") != report_series_uid(self.uid)
            for instance in get_json(f"/series/{series['ID']}/instances") or []:
                tags = instance["MainDicomTags"]
                report = {"instance": instance["ID"], "series": series["ID"]}
                report |= {"sop_instance_uid": tags["SOPInstanceUID"], "copied": copied}
                reports.append({**report, "revision": int(tags.get("InstanceNumber", "0") or 0)})
        return sorted(reports, key=lambda report: (report["copied"], -report["revision"]))


def is_own_device(item: str) -> bool:
    """Whether an item of a Contributing Equipment Sequence, by its path in Orthanc, names dicom_pipeline."""
    if get_text(f"{item}/0018-1002") == OWN_DEVICE_UID:
        return True
    return (get_text(f"{item}/0008-0070"), get_text(f"{item}/0008-1090")) == OWN_DEVICE


def report_series_uid(study_uid: str) -> str:
    """The series that holds all reports on a study."""
    return f"2.25.{uuid.uuid5(uuid.UUID(UID_NAMESPACE), chr(0).join(('report-series', study_uid))).int}"


def series_of(sop_instance_uid: str) -> str:
    """Orthanc's identifier of the series that holds an instance; empty where Orthanc does not hold it."""
    instance = orthanc_id(sop_instance_uid, "Instance")
    return str((get_json(f"/instances/{instance}") or {}).get("ParentSeries", "")) if instance else ""


def study_in_orthanc(study_uid: str) -> dict[str, str]:
    """Orthanc's identifier of a study (empty where Orthanc does not hold it) and its date and description."""
    study = orthanc_id(study_uid, "Study")
    tags = (get_json(f"/studies/{study}") or {}).get("MainDicomTags", {}) if study else {}
    return {"study": study, "description": study_title(tags)}


def study_title(tags: dict[str, str]) -> str:
    """Date and description of a study, from its main tags; empty where it has neither."""
    date = tags.get("StudyDate", "")
    words = ("-".join(filter(None, (date[:4], date[4:6], date[6:]))), tags.get("StudyDescription", ""))
    return " ".join(filter(None, words))
