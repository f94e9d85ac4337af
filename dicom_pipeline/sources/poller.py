"""Fetch new studies from Orthancs that have no plug-in: their list of changes is read from a cursor in the catalog."""

from __future__ import annotations

import logging
import re
import threading
import time
from typing import Any

from orthanc_api_client import OrthancApiClient
from orthanc_api_client.exceptions import OrthancApiException, ResourceNotFound

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.database import FURTHEST_SECONDS
from dicom_pipeline.catalog.pulls import advance, forget_pull, last_change, next_pull, postpone_pull
from dicom_pipeline.config import OrthancSource
from dicom_pipeline.config.secrets import secret
from dicom_pipeline.delivery.retry import RetryRule, next_attempt
from dicom_pipeline.errors import CatalogError, ConfigError, DeliveryError
from dicom_pipeline.intake.receiver import Receiver
from dicom_pipeline.peers.orthanc import orthanc_client
from dicom_pipeline.sources.fetch import Wanted, pull_study

log = logging.getLogger(__name__)

CHANGES = 1000
"""Changes of one request."""

NEW = ("NewStudy", "NewSeries", "NewInstance")
PATIENCE = RetryRule(longest_seconds=300.0)


class Poller:
    """One Orthanc: `look` reads its changes, `fetch_due` fetches what is due. Raises ConfigError for a secret not set."""

    def __init__(self, source: OrthancSource, catalog: Catalog, receiver: Receiver) -> None:
        self.source = source
        self.catalog = catalog
        self.receiver = receiver
        self.key = f"{source.name} {source.url}"
        self.wanted = Wanted(modalities=source.modalities, description=source.description)
        self.client = client_of(source)

    def run(self, stop: threading.Event) -> None:
        """Look and fetch until `stop` is set; what fails is tried again."""
        while not stop.is_set():
            try:
                self.look(time.time())
                while not stop.is_set() and self.fetch_due(time.time()):
                    pass
            except (OrthancApiException, OSError) as error:
                log.warning("%s: Orthanc does not answer: %s", self.source.name, type(error).__name__)
            except (CatalogError, DeliveryError) as error:
                log.error("%s: %s", self.source.name, error)
            except Exception:  # the edge of a thread: one odd answer must not end the polling
                log.exception("%s: looking failed unexpectedly", self.source.name)
            stop.wait(self.source.interval_seconds)

    def look(self, now: float) -> None:
        """Enter the studies that changed since the cursor.

        A study is due when Orthanc calls it stable; where it never does (it forgets at a stop which studies were not stable
        yet) after settle_seconds without a change. The first look at a source starts with what comes from then on.
        """
        last = int(self.client.get_json("changes?last")["Last"])
        seq = last_change(self.catalog, self.key)
        if seq is None:
            advance(self.catalog, self.key, last, {})
            return
        if seq > last:
            log.warning("%s: Orthanc's changes begin anew; so does the reading", self.source.name)
            seq = 0
        while True:
            page = self.client.get_json(f"changes?since={seq}&limit={CHANGES}")
            due = self._due(page["Changes"], now)
            if page["Changes"]:
                seq = int(page["Last"])
                advance(self.catalog, self.key, seq, due)
            if page["Done"]:
                return

    def fetch_due(self, now: float) -> bool:
        """Fetch the study that has been due longest; False where none is due."""
        pull = next_pull(self.catalog, self.key, now, max(FURTHEST_SECONDS, self.source.settle_seconds))
        if pull is None:
            return False
        try:
            pulled = pull_study(
                self.client, self.catalog, self.receiver, pull.orthanc_id, self.wanted, source=self.source.name
            )
        except ResourceNotFound:
            log.info("%s: a study is gone again", self.source.name)
        except (OrthancApiException, OSError, DeliveryError, CatalogError):
            again = next_attempt(pull.attempts, now, now, pull.orthanc_id, PATIENCE)
            postpone_pull(self.catalog, self.key, pull, again if again is not None else now)
            raise
        else:
            log.info("%s: study %s: %s", self.source.name, pull.orthanc_id[:8], dict(pulled.account))
        forget_pull(self.catalog, self.key, pull)
        return True

    def _due(self, changes: list[dict[str, Any]], now: float) -> dict[str, float]:
        """The studies of some changes (Orthanc's ids) and when they are due; one request finds those of all new instances."""
        new = sorted({change["ID"] for change in changes if change["ChangeType"] in NEW})
        order = {"Resources": new, "Level": "Study"}
        studies = self.client.post("tools/bulk-content", json=order).json() if new else []
        due = {str(study["ID"]): now + self.source.settle_seconds for study in studies}
        return due | {change["ID"]: now for change in changes if change["ChangeType"] == "StableStudy"}


def client_of(source: OrthancSource) -> OrthancApiClient:
    """A client of a source. Raises ConfigError for a secret that is not set or a description that is no expression."""
    try:
        re.compile(source.description)
    except re.error as error:
        raise ConfigError(f"source {source.name}: description is no regular expression: {error}") from error
    return orthanc_client(
        source.url, source.username, secret(source.password_env, f"source {source.name}"), source.tls_ca
    )
