"""Care of the store: check it against the catalog, and mend just what is wrong.

A study's rows come from its revision's results where these are of the catalog's fingerprint; else the study is processed
again, and its rows are taken only where that gives the same fingerprint. Nothing is reported or delivered anew. What other
settings would give (`--current`) is another thing: it makes a new revision, which goes the way of all revisions.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.revisions import FinishedStudy, ask_revision, finished_studies, instances_of
from dicom_pipeline.config import Settings, store_uri
from dicom_pipeline.domain import Revision
from dicom_pipeline.errors import CatalogError, FilesCleanedError
from dicom_pipeline.pipeline import Pipeline
from dicom_pipeline.planning import Header, StudyInput, entered_headers
from dicom_pipeline.research.embedding_store import EmbeddingStore
from dicom_pipeline.research.store.checking import CHECKED, Fault, Finding, check
from dicom_pipeline.research.store.rows import store_rows
from dicom_pipeline.results.record import result_folder
from dicom_pipeline.results.study_output import StudyOutput


@dataclass(slots=True)
class Mended:
    """What was done: studies written from their results, processed again, removed; and those that could not be mended."""

    from_results: list[str] = field(default_factory=list)
    processed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


class StoreCare:
    """The store and the catalog of one settings file."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        path = settings.spool.folder / "catalog.sqlite"
        if not path.exists():
            raise CatalogError(
                f"there is no catalog at {path}; has `dicom-pipeline serve` run with this configuration?"
            )
        self.catalog = Catalog(path, create=False)
        self.store = EmbeddingStore.open(store_uri(settings), create=True)

    def findings(self) -> list[Finding]:
        """What is missing, orphaned or stale."""
        tables = [store.rows(columns=list(CHECKED)) for store in self.store.every_space()]
        return check(tables, finished_studies(self.catalog))

    def outdated(self, pipeline: Pipeline) -> list[str]:
        """Studies whose newest revision has another fingerprint than these settings would give. Reads every header.

        A study whose files were cleaned from the spool has none; it is left as it is.
        """
        found = []
        for study in finished_studies(self.catalog):
            if self._cleaned(study):
                continue
            plan = pipeline.plan(list(self._headers(study)))
            if study.used and pipeline.recipe.provenance(plan).fingerprint != study.fingerprint:
                found.append(study.study_instance_uid)
        return found

    def ask_again(self, studies: Sequence[str]) -> list[str]:
        """Make a new revision of each study for the running service to process; those that are under way are left."""
        now = time.time()
        asked = []
        for study in studies:
            with suppress(FilesCleanedError):  # since it was found to be outdated
                if ask_revision(self.catalog, study, now, while_gathering=False) is not None:
                    asked.append(study)
        return asked

    def mend(self, *, remove_orphans: bool = False) -> Mended:
        """Write what is missing or stale; remove orphaned studies only where asked. One model is loaded, if one is needed."""
        known = {study.study_instance_uid: study for study in finished_studies(self.catalog)}
        faults: dict[str, set[Fault]] = {}
        for finding in self.findings():
            faults.setdefault(finding.study_instance_uid, set()).add(finding.fault)
        done, again = Mended(), list[FinishedStudy]()
        for uid in faults:
            if uid in known:
                if self._from_results(known[uid], done):
                    continue
                if self._cleaned(known[uid]):
                    done.skipped[uid] = "its results are gone, and its files were cleaned from the spool; send it again"
                else:
                    again.append(known[uid])
            elif remove_orphans:
                self.store.remove_study(uid)
                done.removed.append(uid)
            else:
                done.skipped[uid] = "orphaned; --remove-orphans removes it"
        if again:
            self._process(again, done)
        return done

    def _from_results(self, study: FinishedStudy, done: Mended) -> bool:
        """Write a study from its results; False where they are gone or of another fingerprint."""
        folder = self.settings.spool.folder / result_folder(study.study_instance_uid, study.number)
        try:
            output = StudyOutput.read(folder)
        except (OSError, ValueError, LookupError):
            return False
        if output.plan.get("fingerprint") != study.fingerprint:
            return False
        self._put(study, output, done.from_results, done)
        return True

    def _put(self, study: FinishedStudy, output: StudyOutput, where: list[str], done: Mended) -> None:
        rows = store_rows(output.embeddings, output.scores)
        if self.store.write_study(study.study_instance_uid, study.number, rows):
            where.append(study.study_instance_uid)
        else:
            done.skipped[study.study_instance_uid] = (
                "the store has a newer revision than the catalog: is it another catalog's?"
            )

    def _process(self, studies: Sequence[FinishedStudy], done: Mended) -> None:
        pipeline = Pipeline.from_config(self.settings)
        inputs = (StudyInput(self._revision(study), self._headers(study)) for study in studies)
        for study, result in zip(studies, pipeline.process(inputs), strict=True):
            if result.provenance.fingerprint == study.fingerprint:
                self._put(study, StudyOutput.of(result, pipeline.encoder.dimension), done.processed, done)
            else:
                done.skipped[study.study_instance_uid] = (
                    "its results are gone, and the present settings give another fingerprint; --current makes a new revision"
                )

    def _revision(self, study: FinishedStudy) -> Revision:
        instances = {
            i.sop_instance_uid: i.sha256 for i in instances_of(self.catalog, study.revision_id) if i.is_primary
        }
        return Revision(study.study_instance_uid, study.number, datetime.fromtimestamp(0, UTC), instances)

    def _cleaned(self, study: FinishedStudy) -> bool:
        return any(i.removed for i in instances_of(self.catalog, study.revision_id) if i.is_primary)

    def _headers(self, study: FinishedStudy) -> list[Header]:
        """Of what can be read; the rest had a reason in the revision, and gives no row."""
        instances = instances_of(self.catalog, study.revision_id)
        return entered_headers(self.settings.spool.folder, study.study_instance_uid, instances)[0]
