"""Whether a person is needed, and for what: what makes `status` exit with 1. Every sentence says what to do."""

from __future__ import annotations

import getpass
import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

from dicom_pipeline.audit import Acknowledged, Node, Record
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.studies import Failure, acknowledge_failures
from dicom_pipeline.config import Settings
from dicom_pipeline.domain import short_uid
from dicom_pipeline.domain.life import DeliveryState


def service_attention(settings: Settings, service: Mapping[str, Any]) -> list[str]:
    """What is wrong with the service itself. service: of service_status."""
    found = [*service["silent"], *service["down"]]
    if service["state"] == "not-running":
        found.append("the service does not run: `dicom-pipeline serve` starts it, its log says why it ended")
    free = shutil.disk_usage(settings.spool.folder).free
    if free < settings.spool.min_free_bytes:
        found.append(
            f"the disk has {free / 1e9:.1f} GB free, less than spool.min_free_bytes: nothing is received until there is more"
        )
    return found


def archive_attention(settings: Settings, account: Mapping[str, Any]) -> list[str]:
    """What waits for a person in the whole catalog. account: of service_account."""
    found = []
    if failures := account["totals"]["open_failures"]:
        found.append(
            f"{failures} revisions failed, wholly or in part: see the reasons; `dicom-pipeline acknowledge STUDY` (or --all) "
            "once you have"
        )
    if count := len(account["set_aside"]):
        found.append(
            f"{count} deliveries were set aside: `dicom-pipeline retry` or `give-up`, when the reason is known"
        )
    if count := len(account["held"]):
        found.append(f"{count} studies wait for a person: `dicom-pipeline release` lets one go on")
    found += [
        f"{count} deliveries to {name}, which is not in the settings: `dicom-pipeline give-up {name}` ends that"
        for name, count in unknown_destinations(settings, account).items()
    ]
    return found


def study_attention(
    settings: Settings, study: Mapping[str, Any], failures: Sequence[Failure], held: Sequence[Mapping[str, Any]]
) -> list[str]:
    """What waits for a person in one study. study: of study_account; held: of held_studies."""
    uid = study["study_instance_uid"]
    name, known = short_uid(uid), {peer.name for peer in settings.delivering}
    found = [f"{name}: {waiting['why']}" for waiting in held if waiting["study_instance_uid"] == uid]
    found += [
        f"{name}: revision {failure.number} failed, wholly or in part: `dicom-pipeline acknowledge {uid}` once you know why"
        for failure in failures
        if failure.study_instance_uid == uid
    ]
    for revision in study["revisions"]:
        for delivery in revision["deliveries"]:
            where = delivery["destination"]
            if delivery["state"] == DeliveryState.SET_ASIDE:
                found.append(
                    f"{name}: set aside for {where}: {delivery['message']}; `dicom-pipeline retry` tries again"
                )
            elif delivery["state"] == DeliveryState.PENDING and where not in known:
                found.append(f"{name}: to be sent to {where}, which is not in the settings")
    return found


def unknown_destinations(settings: Settings, account: Mapping[str, Any]) -> dict[str, int]:
    """Deliveries that nobody makes: the number pending to each destination that was taken out of the settings."""
    known = {peer.name for peer in settings.delivering}
    counts = {
        name: states.get(DeliveryState.PENDING, 0)
        for name, states in account["deliveries"].items()
        if name not in known
    }
    return {name: count for name, count in counts.items() if count}


def acknowledge(catalog: Catalog, record: Record, failures: Sequence[Failure]) -> None:
    """Enter that this user has seen these failures: in the audit trail, then in the catalog."""
    user, now = f"{getpass.getuser()}@{socket.gethostname()}", time.time()
    studies: dict[str, list[int]] = {}
    for failure in failures:
        studies.setdefault(failure.study_instance_uid, []).append(failure.number)
    for study, numbers in studies.items():
        record(Acknowledged(now, Node(user), study, tuple(sorted(numbers))))
    acknowledge_failures(catalog, failures, now, user)
