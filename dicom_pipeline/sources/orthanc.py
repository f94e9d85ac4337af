"""An Orthanc as a source: its studies, instances and list of changes, over its REST API."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from orthanc_api_client.exceptions import HttpError, OrthancApiException, ResourceNotFound

from dicom_pipeline.errors import NotInSourceError, SourceError, UnreadableInSourceError
from dicom_pipeline.peers.orthanc import OrthancServer
from dicom_pipeline.sources.source import ListedInstance, ListedSeries, ListedStudy

log = logging.getLogger(__name__)

PAGE = 200
"""Studies of one request when an archive is listed."""

CHANGES = 1000
"""Changes of one request."""

PIECE_BYTES = 2**20
NEW = ("NewStudy", "NewSeries", "NewInstance")

LOST_FILE = 500
"""HTTP status of Orthanc's where the file of an instance is gone from its storage or damaged."""


@dataclass(frozen=True, slots=True)
class Changes:
    """A page of an Orthanc's changes. last: the number of its last one. done: no more come after it.

    new: resources of any level that were added. stable: studies that Orthanc calls stable.
    """

    last: int
    done: bool
    new: frozenset[str]
    stable: frozenset[str]


class OrthancSource:
    """What an Orthanc holds. Keys are Orthanc's identifiers. address: named in the catalog; unset is the peer's name."""

    interface = "ORTHANC"

    def __init__(self, server: OrthancServer, address: str = "") -> None:
        self.peer = server.peer
        self.address = (address or server.name)[:64]
        self._client = server.client()

    def list_studies(self) -> Iterator[ListedStudy]:
        """All studies, a page of them in memory at a time; one request for each study's series."""
        since = 0
        while True:
            page = self._get(f"studies?expand&since={since}&limit={PAGE}")
            for study in page:
                try:
                    yield self._listed(study)
                except NotInSourceError:
                    continue
            since += len(page)
            if len(page) < PAGE:
                return

    def count_instances(self) -> int:
        """Orthanc's own count."""
        return int(self._get("statistics")["CountInstances"])

    def study(self, key: str) -> ListedStudy:
        """One study. Raises NotInSourceError."""
        return self._listed(self._get(f"studies/{key}"))

    def instances(self, study: ListedStudy) -> list[ListedInstance]:
        """The instances of a study whose series is listed. Raises NotInSourceError."""
        series = {one.key: one for one in study.series}
        unknown = ListedSeries("", "", "", "", 0)  # it came after the series were listed
        return [
            ListedInstance(one["ID"], _tag(one, "SOPInstanceUID"), series.get(one["ParentSeries"], unknown))
            for one in self._get(f"studies/{study.key}/instances")
        ]

    def read(self, instance: ListedInstance) -> Iterator[bytes]:
        """An instance's file. Raises NotInSourceError, UnreadableInSourceError."""
        with _answers():
            try:
                response = self._client.get(f"instances/{instance.key}/file", stream=True)
            except HttpError as error:
                if error.http_status_code != LOST_FILE:
                    raise
                log.warning("Orthanc cannot read the file of instance %s", instance.key[:8])
                raise UnreadableInSourceError(f"Orthanc cannot read instance {instance.key[:8]}") from error
            yield from response.iter_content(PIECE_BYTES)

    def last_change(self) -> int:
        """The number of the last change."""
        return int(self._get("changes?last")["Last"])

    def changes(self, since: int) -> Changes:
        """The next changes after a number."""
        page = self._get(f"changes?since={since}&limit={CHANGES}")
        found = page["Changes"]
        return Changes(
            last=int(page["Last"]) if found else since,
            done=bool(page["Done"]),
            new=frozenset(change["ID"] for change in found if change["ChangeType"] in NEW),
            stable=frozenset(change["ID"] for change in found if change["ChangeType"] == "StableStudy"),
        )

    def studies_of(self, resources: frozenset[str]) -> set[str]:
        """Keys of the studies that resources of any level belong to, in one request."""
        if not resources:
            return set()
        with _answers():
            found = self._client.post("tools/bulk-content", json={"Resources": sorted(resources), "Level": "Study"})
            return {str(study["ID"]) for study in found.json()}

    def _listed(self, study: Mapping[str, Any]) -> ListedStudy:
        return ListedStudy(
            key=str(study["ID"]),
            study_instance_uid=_tag(study, "StudyInstanceUID"),
            date=_tag(study, "StudyDate"),
            description=_tag(study, "StudyDescription"),
            series=tuple(_series(one) for one in self._get(f"studies/{study['ID']}/series")),
        )

    def _get(self, endpoint: str) -> Any:
        with _answers():
            return self._client.get_json(endpoint)


def _series(one: Mapping[str, Any]) -> ListedSeries:
    uid, modality, description = (_tag(one, name) for name in ("SeriesInstanceUID", "Modality", "SeriesDescription"))
    return ListedSeries(str(one["ID"]), uid, modality, description, len(one["Instances"]))


def _tag(resource: Mapping[str, Any], name: str) -> str:
    return str(resource["MainDicomTags"].get(name, ""))


@contextmanager
def _answers() -> Iterator[None]:
    """Whatever an Orthanc or the network does instead of answering, as an error of the source."""
    try:
        yield
    except ResourceNotFound as error:
        raise NotInSourceError("Orthanc no longer has it") from error
    except (OrthancApiException, OSError) as error:
        raise SourceError(f"Orthanc does not answer: {type(error).__name__}") from error
