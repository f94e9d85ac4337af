"""The worker process: ready revisions in, results on disk and in the catalog out, with one resident model."""

from __future__ import annotations

import errno
import hashlib
import logging
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from dicom_pipeline import faults
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.records import revision_record
from dicom_pipeline.catalog.revisions import (
    Claimed,
    MadeReport,
    claim_next,
    fail,
    finish,
    hand_back,
    next_attempts,
    release_stale,
)
from dicom_pipeline.catalog.studies import record_accession_number
from dicom_pipeline.config import Settings
from dicom_pipeline.delivery.rules import StudyFacts, matches
from dicom_pipeline.dicom.attributes import read_value
from dicom_pipeline.dicom.own_objects import object_kind
from dicom_pipeline.disk import sync_folder, sync_tree
from dicom_pipeline.domain import Reason, short_uid
from dicom_pipeline.errors import CatalogError
from dicom_pipeline.pipeline import Pipeline, StudyResult
from dicom_pipeline.planning import StudyInput, entered_headers
from dicom_pipeline.research.live import Searches
from dicom_pipeline.research.writer import StoreWriter
from dicom_pipeline.results.folder import OutputFolder
from dicom_pipeline.results.record import result_folder, write_record
from dicom_pipeline.results.study_output import StudyOutput
from dicom_pipeline.results.study_sheet import SHEET_FRAMES
from dicom_pipeline.service.auditing import report_made
from dicom_pipeline.service.stopping import STOP_SECONDS, StopDeadline, StoppedError
from dicom_pipeline.service.wiring import record_of
from dicom_pipeline.service.worker_rpc import RpcServer

log = logging.getLogger(__name__)

_T = TypeVar("_T")

IDLE_SECONDS = 0.3
PATIENCE_SECONDS = 2.0
"""How long until a full disk or a catalog that cannot be written is tried again."""


class Worker:
    """Processes revisions until `stop` is set. owner: names this process in the catalog.

    questions: the run of the service, whose other processes may ask; None where none may. running: called once it works.
    progress: called whenever it made progress (a header, a frame, a batch, a step of a study's end) or waits on purpose.
    stop_seconds: how long after `stop` a study may take to be finished; then it is handed back.
    lost_renderers: told after each study how many render processes have crashed, and how many ran out of time.
    """

    def __init__(
        self,
        settings: Settings,
        owner: str,
        stop: threading.Event,
        questions: str | None = None,
        running: Callable[[], object] = lambda: None,
        progress: Callable[[], object] = lambda: None,
        lost_renderers: Callable[[int, int], object] = lambda *_: None,
        stop_seconds: float = STOP_SECONDS,
    ) -> None:
        self.settings = settings
        self.owner = owner
        self.folder = settings.spool.folder
        self.catalog = Catalog(self.folder / "catalog.sqlite", create=False)
        self._stop = stop
        self._asked_as = questions
        self._running = running
        self._told = progress
        self._deadline = StopDeadline(stop, stop_seconds)
        self._lost_renderers = lost_renderers
        self._record = record_of(settings, "worker")
        self._store = StoreWriter(settings)
        self._claimed: deque[Claimed] = deque()

    def run(self) -> None:
        """Load the model, then work. Whatever a dead worker left half-done is done again from the start."""
        released = release_stale(self.catalog, self.owner, self.settings.service.max_attempts, time.time())
        if released:
            log.warning("%d revision(s) were being processed when a worker died", released)
        pipeline = Pipeline.from_config(self.settings, keep_renderings=SHEET_FRAMES, progress=self._progress)
        log.info("encoder %s on %s is ready", pipeline.encoder.name, pipeline.encoder.precision)
        asked_as = self._asked_as
        questions = RpcServer(asked_as, Searches(self.settings, pipeline.encoder).answer) if asked_as else None
        self._running()
        try:
            for result in pipeline.process(self._studies()):
                with self._deadline.suspended():
                    self._finish(self._claimed.popleft(), result, pipeline)
                self._lost_renderers(pipeline.renderers.crashed, pipeline.renderers.out_of_time)
        except StoppedError:
            self._hand_back()
        finally:
            pipeline.close()
            if questions is not None:
                questions.stop()

    def _progress(self) -> None:
        self._told()
        self._deadline.check()

    def _hand_back(self) -> None:
        """What was begun and cannot be finished before the service is killed; it was no attempt."""
        log.info("stopped: %d revision(s) are handed back", len(self._claimed))
        for claimed in self._claimed:
            try:
                hand_back(self.catalog, claimed, self.owner)
            except CatalogError as error:
                log.error("a revision could not be handed back and counts as an attempt: %s", error)

    def _studies(self) -> Iterator[StudyInput | None]:
        while not self._stop.is_set():
            self._progress()
            if self._claimed and self._suspect_is_next():
                yield None  # what may have killed a worker runs alone, so that it takes no other study along
            claimed = self._claim()
            if claimed is None:
                yield None
                self._stop.wait(IDLE_SECONDS)
                continue
            suspect = claimed.attempts > 1
            faults.passing("claimed")
            self._claimed.append(claimed)
            study = self._study_input(claimed)
            faults.passing("headers-read")
            yield study
            if suspect:
                yield None

    def _suspect_is_next(self) -> bool:
        """Asked before the claim: a suspect that was claimed while another study hangs would be blamed for that."""
        try:
            return next_attempts(self.catalog) > 0
        except CatalogError:
            return True  # the claim tells of it; what is on the way is finished first in any case

    def _claim(self) -> Claimed | None:
        try:
            return claim_next(self.catalog, self.owner)
        except CatalogError as error:
            log.error("cannot look for work: %s", error)
            return None

    def _study_input(self, claimed: Claimed) -> StudyInput:
        study = claimed.revision.study_instance_uid
        headers, excluded = entered_headers(self.folder, study, claimed.instances, self._progress)
        numbers = "\\".join(sorted({number for header in headers if (number := header.text("AccessionNumber"))}))
        self._patiently(lambda: record_accession_number(self.catalog, study, numbers))
        return StudyInput(claimed.revision, headers, tuple(excluded))

    def _finish(self, claimed: Claimed, result: StudyResult, pipeline: Pipeline) -> None:
        study = claimed.revision.study_instance_uid
        where = result_folder(study, claimed.revision.number)
        self._progress()
        output = StudyOutput.of(result, pipeline.encoder.dimension)
        faults.passing("encoded")
        facts = study_facts(claimed, result, pipeline.recipe.labels_above(result.series_scores))
        made: dict[str, Any] = {
            "fingerprint": result.provenance.fingerprint,
            "reports": self._made_reports(where, output, result, facts),
            "at": time.time(),
        }
        record = None
        if not result.problem:
            record = self._patiently(lambda: revision_record(self.catalog, claimed, result.account, **made))
        self._patiently(lambda: self._write(where, output, record))
        if result.problem:
            log.error("study %s: no report: %s", short_uid(study), result.problem)
            self._patiently(lambda: fail(self.catalog, claimed, Reason.REPORT_FAILED, result.problem, time.time()))
            return
        self._progress()
        self._store.write(study, claimed.revision.number, output)
        faults.passing("store-written")
        # before the catalog: killed in between, it is made and told of again
        self._patiently(lambda: self._tell(claimed, made["reports"], result))
        self._patiently(lambda: finish(self.catalog, claimed, result.account, **made))
        faults.passing("finished")
        counts = ", ".join(f"{count} {outcome.value}" for outcome, count in result.account.counts.items())
        log.info("study %s revision %d: %s", short_uid(study), claimed.revision.number, counts)

    def _tell(self, claimed: Claimed, reports: list[MadeReport], result: StudyResult) -> None:
        """The audit trail's link from those who sent instances to the report that was made of them."""
        if not reports:
            return
        patient = str(result.report.get("PatientID", "") or "") if result.report is not None else ""
        fingerprint = result.provenance.fingerprint
        self._record(report_made(self.catalog, claimed, reports, fingerprint=fingerprint, patient_id=patient))

    def _patiently(self, step: Callable[[], _T]) -> _T:
        """Do a step; a full disk or a catalog that cannot be written is waited out, so that no result is lost by it."""
        while True:
            self._progress()
            try:
                return step()
            except (CatalogError, OSError) as error:
                full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
                if not (full or isinstance(error, CatalogError)) or self._stop.is_set():
                    raise
                log.error("results wait: %s", error if isinstance(error, CatalogError) else error.strerror)
                self._stop.wait(PATIENCE_SECONDS)

    def _write(self, where: Path, output: StudyOutput, record: dict[str, Any] | None) -> None:
        """Write the folder beside its place, then rename it: a crash before the catalog knows leaves nothing half-done."""
        target = self.folder / where
        temporary = target.with_name(target.name + ".part")
        shutil.rmtree(temporary, ignore_errors=True)
        folder = OutputFolder(temporary, escape_formulas=self.settings.results.escape_formulas)
        folder.add(output)
        folder.write()
        if record is not None:
            write_record(temporary, record)
        sync_tree(temporary)
        faults.passing("results-written")
        if target.exists():
            shutil.rmtree(target)  # from a worker that died between this rename and its commit
        temporary.rename(target)
        for above in (target.parent, target.parent.parent, self.folder):
            sync_folder(above)
        faults.passing("results-renamed")

    def _made_reports(
        self, where: Path, output: StudyOutput, result: StudyResult, facts: StudyFacts
    ) -> list[MadeReport]:
        """The report and its companions as the catalog knows them. where: the result folder, relative to the spool's."""
        classes = {f"{made.SOPInstanceUID}.dcm": str(made.SOPClassUID) for made in result.companions}
        if result.report is not None:
            classes[f"{result.report.SOPInstanceUID}.dcm"] = str(result.report.SOPClassUID)
        return [
            MadeReport(
                name.removesuffix(".dcm"),
                classes[name],
                str(where / kind / name),
                hashlib.sha256(body).hexdigest(),
                self._destinations(classes[name], facts),
            )
            for kind, objects in (("reports", output.reports), ("companions", output.companions))
            for name, body in objects.items()
        ]

    def _destinations(self, sop_class_uid: str, facts: StudyFacts) -> tuple[str, ...]:
        kind = object_kind(sop_class_uid)
        return tuple(peer.name for peer in self.settings.delivering if matches(peer.deliver, facts, kind))


def study_facts(claimed: Claimed, result: StudyResult, above: frozenset[str]) -> StudyFacts:
    """What the rules of destinations look at. above: labels whose score of a series reaches their threshold."""
    used = [series for series in result.plan.series if series.frames]
    descriptions = [
        read_value(result.headers[frame.key.sop_instance_uid], "StudyDescription")
        for series in used
        for frame in series.frames[:1]
    ]
    return StudyFacts(
        modalities=frozenset(series.modality for series in used),
        calling_ae_titles=frozenset(instance.calling_ae for instance in claimed.instances if instance.is_primary),
        study_description=next((str(text) for text in descriptions if text), ""),
        above=above,
    )
