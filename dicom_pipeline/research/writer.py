"""The worker's side of the embedding store: each revision's rows once, a compaction now and then.

A store that fails stops no report: the rows are in the revision's results, `store verify` finds them missing, and
`store re-embed` writes them.
"""

from __future__ import annotations

import logging
import sys
from datetime import timedelta
from importlib.util import find_spec

from dicom_pipeline.config import Settings, store_uri
from dicom_pipeline.domain import short_uid
from dicom_pipeline.errors import StoreError
from dicom_pipeline.research.embedding_store import EmbeddingStore
from dicom_pipeline.research.store.rows import store_rows
from dicom_pipeline.results.study_output import StudyOutput

GROWTH = 0.2
"""Share of new rows from which on a compaction, which writes all rows anew, is worth it."""

log = logging.getLogger(__name__)


class StoreWriter:
    """Writes to the store of the settings; opens it at the first write."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._store: EmbeddingStore | None = None
        self._studies = self._rows = 0  # written since the last compaction
        self._off = not settings.store.write
        if not self._off and find_spec("lancedb") is None:
            log.warning(
                "the embedding store needs lancedb (pip install 'dicom-pipeline[research]'): nothing is written to it; results "
                "are kept, and `store re-embed` writes them once it is there. store.write = false says that this is meant"
            )
            self._off = True

    def write(self, study_instance_uid: str, revision: int, output: StudyOutput) -> bool:
        """Write a revision's rows; whether the store has them now. A failure is logged, not raised."""
        if self._off:
            return False
        try:
            if self._store is None:
                self._store = EmbeddingStore.open(store_uri(self.settings), create=True)
            rows = store_rows(output.embeddings, output.scores)
            self._store.write_study(study_instance_uid, revision, rows)
            self._studies, self._rows = self._studies + 1, self._rows + rows.num_rows
            if self._studies >= self.settings.store.compact_every and self._rows >= GROWTH * self._store.count():
                self.compact()
        except StoreError as error:
            study = short_uid(study_instance_uid)
            log.error("study %s revision %d is not in the embedding store: %s", study, revision, error)
            return False
        return True

    def compact(self) -> None:
        """Join pieces and forget old versions. A first vector index is left to `store compact`: it takes too long here."""
        if self._store is not None:
            self._studies = self._rows = 0
            keep = timedelta(hours=self.settings.store.keep_versions_hours)
            self._store.compact(keep=keep, index_rows=sys.maxsize)
