"""A stand-in for the module `orthanc`, in which a test can force what a real Orthanc does once in a thousand times."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import sys
import types
from collections.abc import Callable, Iterator

from dicom_pipeline.dicom.uids import DEVICE_UID, report_series_uid
from tests.peers.orthanc import OUR_PLUGIN

ERROR_CODES = {
    "UNKNOWN_RESOURCE": 17,
    "INEXISTENT_ITEM": 7,
    "INEXISTENT_FILE": 14,
    "CORRUPTED_FILE": 10,
    "REGULAR_FILE_EXPECTED": 11,
}
DATABASE = 28


class OrthancModule(types.ModuleType):
    """Studies in memory. resources: further REST resources, path -> JSON value. before: path -> called before it is read."""

    def __init__(self, folder, resources=None, stable_age=1, **options) -> None:
        super().__init__("orthanc")
        self.OrthancException = type("OrthancException", (Exception,), {})
        self.ErrorCode = types.SimpleNamespace(**ERROR_CODES)
        self.ChangeType = types.SimpleNamespace(
            ORTHANC_STARTED=1, ORTHANC_STOPPED=2, DELETED=3, STABLE_STUDY=4, STABLE_SERIES=5
        )
        self.ResourceType = types.SimpleNamespace(STUDY=1)
        self.folder, self.options, self.stable_age = folder, options, stable_age
        self.resources: dict[str, object] = resources or {}
        self.studies: dict[str, dict[str, bytes | None]] = {}
        self.reports: dict[str, str] = {}
        self.changes: list[dict] = []
        self.before: dict[str, Callable[[], object]] = {}
        self.registered: dict[str, Callable] = {}
        self.posted: list[tuple[str, dict]] = []
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self.on_change: Callable = lambda *_: None

    def add(self, study: str, *uids: str, changes=("StableStudy",)) -> None:
        """Instances of a study that came, and changes of it."""
        self.studies.setdefault(study, {}).update({uid: uid.encode() for uid in uids})
        for kind in changes:
            self.change(kind, study)

    def change(self, kind: str, resource: str) -> None:
        self.changes.append({"ChangeType": kind, "ID": resource, "Seq": len(self.changes) + 1})

    def error(self, code: int, text: str) -> Exception:
        return self.OrthancException(code, text)

    def RestApiGet(self, path):
        self.before.pop(path, lambda: None)()
        if path in self.resources:
            value = self.resources[path]
            if isinstance(value, Exception):
                raise value
        else:
            value = self._value(path)
        if value is None:
            raise self.error(17, "Unknown resource")
        return value if isinstance(value, bytes) else json.dumps(value).encode()

    def _value(self, path):
        address, _, query = path.partition("?")
        _, kind, name, *rest = [*address.split("/"), ""]
        if kind == "changes":
            last = len(self.changes)
            if query == "last":
                return {"Last": last}
            since = int(query.partition("since=")[2].partition("&")[0])
            return {"Changes": self.changes[since:], "Last": last, "Done": True}
        if kind == "studies" and name in self.studies:
            return self._study(name, rest[0])
        if kind == "instances" and rest[0] == "file":
            return next((files[name] for files in self.studies.values() if name in files), None)
        if kind == "instances" and name.startswith("report-"):
            return DEVICE_UID.encode() if address.endswith("0018-1002") else ["0"]
        if kind == "series" and name.startswith("report-"):
            return [{"ID": name, "MainDicomTags": {"SOPInstanceUID": self.reports[name[7:]], "InstanceNumber": "1"}}]
        return None

    def _study(self, name, what):
        if what == "":
            return {"ID": name, "MainDicomTags": {"StudyInstanceUID": f"uid-of-{name}"}}
        if what == "instances":
            files = self.studies[name]
            return [
                {"ID": uid, "ParentSeries": f"series-of-{name}", "MainDicomTags": {"SOPInstanceUID": uid}}
                for uid in files
            ]
        series = [
            {"ID": f"series-of-{name}", "Instances": list(self.studies[name]), "MainDicomTags": {"Modality": "CT"}}
        ]
        if name in self.reports:
            tags = {"Modality": "SR", "SeriesInstanceUID": report_series_uid(f"uid-of-{name}")}
            series.append({"ID": f"report-{name}", "Instances": [f"report-{name}"], "MainDicomTags": tags})
        return series

    def RestApiPost(self, path, body):
        self.posted.append((path, json.loads(body)))
        return json.dumps({"ID": f"job-{len(self.posted)}"}).encode()

    def RestApiPut(self, path, body):
        return b""

    def GetConfiguration(self):
        modalities = {"medsiglip": ["DICOMPIPE", "127.0.0.1", 1]}
        return json.dumps({"StableAge": self.stable_age, "DicomModalities": modalities, "MedSigLIP": self.options})

    def GetConfigurationPath(self):
        return str(self.folder)

    def RegisterRestCallback(self, path, callback):
        self.registered[path] = callback

    def RegisterOnChangeCallback(self, callback):
        self.on_change = callback

    def ExtendOrthancExplorer(self, script):
        pass

    def LogError(self, text):
        self.errors.append(text)

    def LogWarning(self, text):
        self.warnings.append(text)


@contextlib.contextmanager
def loaded(orthanc: OrthancModule) -> Iterator[types.ModuleType]:
    """The plug-in as Orthanc loads it."""
    sys.modules["orthanc"] = orthanc
    try:
        spec = importlib.util.spec_from_file_location("plug_in", OUR_PLUGIN)
        plug_in = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(plug_in)
        yield plug_in
    finally:
        del sys.modules["orthanc"]
