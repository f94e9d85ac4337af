"""Fetch new studies from Orthancs that have no plug-in: their list of changes is read from a cursor in the catalog."""

from __future__ import annotations

import logging
import threading
import time

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.database import MAX_AHEAD_SECONDS
from dicom_pipeline.catalog.pulls import advance, forget_pull, last_change, next_pull, postpone_pull
from dicom_pipeline.delivery.retry import RetryRule, next_attempt
from dicom_pipeline.errors import CatalogError, DeliveryError, NotInSourceError, SourceError
from dicom_pipeline.intake.receiver import Receiver
from dicom_pipeline.peers.orthanc import OrthancServer
from dicom_pipeline.sources.fetch import fetch_study
from dicom_pipeline.sources.orthanc import Changes, OrthancSource
from dicom_pipeline.sources.study_filter import StudyFilter

log = logging.getLogger(__name__)

RETRY = RetryRule(max_wait_seconds=300.0)


class Poller:
    """One Orthanc: `look` reads its changes, `fetch_due` fetches what is due."""

    def __init__(self, server: OrthancServer, catalog: Catalog, receiver: Receiver) -> None:
        peer = server.peer
        self.name, self.settings = peer.name, peer.fetch
        self.source = OrthancSource(server)
        self.catalog = catalog
        self.receiver = receiver
        self.key = f"{peer.name} {peer.url}"
        self.wanted = StudyFilter(modalities=peer.fetch.modalities, description=peer.fetch.description)

    def run(self, stop: threading.Event) -> None:
        """Look and fetch until `stop` is set; what fails is tried again."""
        while not stop.is_set():
            try:
                self.look(time.time())
                while not stop.is_set() and self.fetch_due(time.time()):
                    pass
            except SourceError as error:
                log.warning("%s: %s", self.name, error)
            except OSError as error:
                log.error("%s: cannot store what was fetched: %s", self.name, error.strerror)
            except (CatalogError, DeliveryError) as error:
                log.error("%s: %s", self.name, error)
            except Exception:  # the edge of a thread: one odd answer must not end the polling
                log.exception("%s: looking failed unexpectedly", self.name)
            stop.wait(self.settings.interval_seconds)

    def look(self, now: float) -> None:
        """Enter the studies that changed since the cursor.

        A study is due when Orthanc calls it stable; where it never does (it forgets at a stop which studies were not stable
        yet) after settle_seconds without a change. The first look at a source starts with what comes from then on.
        """
        last = self.source.last_change()
        seq = last_change(self.catalog, self.key)
        if seq is None:
            advance(self.catalog, self.key, last, {})
            return
        if seq > last:
            log.warning("%s: Orthanc's list of changes was cleared; reading it from the start", self.name)
            seq = 0
        while True:
            changes = self.source.changes(seq)
            if changes.last != seq:
                seq = changes.last
                advance(self.catalog, self.key, seq, self._due(changes, now))
            if changes.done:
                return

    def fetch_due(self, now: float) -> bool:
        """Fetch the study that has been due longest; False where none is due."""
        pull = next_pull(self.catalog, self.key, now, max(MAX_AHEAD_SECONDS, self.settings.settle_seconds))
        if pull is None:
            return False
        try:
            fetched = fetch_study(self.source, self.catalog, self.receiver, pull.study_key, self.wanted)
        except NotInSourceError:
            log.info("%s: a study was deleted before it was fetched", self.name)
        except (SourceError, OSError, DeliveryError, CatalogError):
            again = next_attempt(pull.attempts, now, now, pull.study_key, RETRY)
            postpone_pull(self.catalog, self.key, pull, again if again is not None else now)
            raise
        else:
            log.info("%s: study %s: %s", self.name, pull.study_key[:8], dict(fetched.account))
        forget_pull(self.catalog, self.key, pull)
        return True

    def _due(self, changes: Changes, now: float) -> dict[str, float]:
        """The studies of some changes and when they are due."""
        due = dict.fromkeys(self.source.studies_of(changes.new), now + self.settings.settle_seconds)
        return due | dict.fromkeys(changes.stable, now)
