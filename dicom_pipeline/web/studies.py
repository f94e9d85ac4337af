"""What others ask about studies over HTTP: announce, send, state, plan, scores, pages, another revision, search.

A PACS's plug-in is the usual caller. docs/service.md lists the routes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from dicom_pipeline.audit import Record, unrecorded
from dicom_pipeline.audit.transfers import ThreadTransfers
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.arrivals import announce
from dicom_pipeline.catalog.revisions import ask_revision
from dicom_pipeline.catalog.studies import held_instances, study_account
from dicom_pipeline.config import Settings
from dicom_pipeline.dicom.uids import is_valid_uid
from dicom_pipeline.domain import Excluded, InstanceError, Level, Plan, Reason
from dicom_pipeline.domain.life import RevisionState
from dicom_pipeline.errors import FilesCleanedError
from dicom_pipeline.imaging import content_of
from dicom_pipeline.intake.receiver import Taken, Uploads
from dicom_pipeline.intake.spool import Spool
from dicom_pipeline.planning import account_of, default_rules, load_rules, plan_study, read_header
from dicom_pipeline.results.plan_json import plan_to_json
from dicom_pipeline.results.record import result_folder
from dicom_pipeline.results.score_rows import read_scores
from dicom_pipeline.service.worker_rpc import NoAnswerError, ask
from dicom_pipeline.web.dicomweb import store

MOST_EXPECTED = 10_000_000
"""A larger announcement is a mistake: no study holds ten million instances."""

MOST_FOUND = 100
LEVELS = ("frame", "series", "study")

REFUSAL_STATUS = {
    Taken.OWN_OBJECT: 200,
    Taken.TOO_LARGE: 413,
    Taken.DISK_FULL: 507,
    Taken.UNREADABLE: 422,
    Taken.MISSING_UID: 422,
    Taken.UNSUPPORTED: 415,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes
    content_type: str = "application/json"

    @classmethod
    def of(cls, status: int, value: Mapping[str, Any]) -> Answer:
        """A JSON answer."""
        return cls(status, json.dumps(value).encode())


Routes = dict[str, tuple[str, Callable[[], Answer]]]
"""Name of a route -> its HTTP method and what answers."""


class StudyPages:
    """The routes below /studies, /instances, /search and /dicom-web/studies (STOW-RS).

    owner: the run of the service; record: the audit trail.
    """

    def __init__(self, settings: Settings, catalog: Catalog, owner: str, record: Record = unrecorded) -> None:
        self._settings = settings
        self._catalog = catalog
        self._folder = settings.spool.folder
        self._owner = owner
        section = settings.listener
        limits = section.max_object_bytes, settings.spool.min_free_bytes
        self._uploads = Uploads(catalog, Spool(self._folder), *limits, ThreadTransfers(record))

    @property
    def largest_body(self) -> int:
        """Bytes of the largest request that makes sense: an instance of the largest size."""
        return self._settings.listener.max_object_bytes

    def answer(self, method: str, target: str, body: bytes, content_type: str, address: str) -> Answer:
        """The answer to a request for path and query; 404 for what is no route, 405 for a route's wrong method."""
        url = urlsplit(target)
        parts = [unquote(part) for part in url.path.split("/") if part]
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        if parts[:1] == ["studies"] and 2 <= len(parts) <= 3:
            if not is_valid_uid(parts[1]):
                return Answer.of(
                    400, {"error": "expected a Study Instance UID: digits and dots, at most 64 characters"}
                )
            routes, name = self._of_study(parts[1], body, query), "/".join(parts[2:])
        else:
            stow = parts[:2] == ["dicom-web", "studies"] and len(parts) <= 3
            routes, name = (
                self._of_all(body, content_type, address, query),
                "dicom-web/studies" if stow else "/".join(parts),
            )
        if name not in routes:
            own = routes if parts[:1] == ["studies"] else (*routes, "health", "ready", "status", "studies/{uid}")
            names = ", ".join(sorted(filter(None, own)))
            return Answer.of(404, {"error": f"there is no such page, but {names}; docs/service.md says more"})
        wanted, route = routes[name]
        return route() if method == wanted else _wrong_method(wanted)

    def _of_all(self, body: bytes, content_type: str, address: str, query: Mapping[str, str]) -> Routes:
        return {
            "instances": ("POST", lambda: self._take(body, address)),
            "dicom-web/studies": ("POST", lambda: self._stow(body, content_type, address)),
            "search": ("GET", lambda: self._search(query)),
        }

    def _of_study(self, uid: str, body: bytes, query: Mapping[str, str]) -> Routes:
        return {
            "": ("GET", lambda: self._status(uid)),
            "instances": ("GET", lambda: self._instances(uid)),
            "expected": ("PUT", lambda: self._announce(uid, body)),
            "process": ("POST", lambda: self._process(uid, query)),
            "explain": ("GET", lambda: self._explain(uid)),
            "scores": ("GET", lambda: self._scores(uid)),
            "similar": ("GET", lambda: self._similar(uid, query)),
            "report": ("GET", lambda: self._file(uid, "report.html", "text/html; charset=utf-8")),
            "contact-sheet": ("GET", lambda: self._file(uid, "contact_sheet.png", "image/png")),
        }

    def _take(self, body: bytes, address: str) -> Answer:
        try:
            upload = self._uploads.take(body, source="HTTP", address=address)
        finally:
            self._uploads.transfers.flush()
        values = {"taken": upload.taken.value, "kept": upload.taken.kept, "again": upload.taken.may_succeed_later}
        status = REFUSAL_STATUS.get(upload.taken, 200)
        return Answer.of(status, values if status == 200 else {**values, "error": f"refused: {upload.taken.value}"})

    def _stow(self, body: bytes, content_type: str, address: str) -> Answer:
        try:
            status, values = store(self._uploads, body, content_type, address)
        except ValueError as error:
            return Answer.of(400, {"error": str(error)})
        finally:
            self._uploads.transfers.flush()
        return Answer(status, json.dumps(values).encode(), "application/dicom+json")

    def _announce(self, uid: str, body: bytes) -> Answer:
        try:
            expected = json.loads(body)["instances"]
        except (ValueError, LookupError, TypeError):
            expected = None
        if not isinstance(expected, int) or isinstance(expected, bool) or not 1 <= expected <= MOST_EXPECTED:
            return Answer.of(400, {"error": 'expected {"instances": N} with a whole number from 1'})
        announce(self._catalog, uid, expected, time.time())
        return self._status(uid)

    def _status(self, uid: str) -> Answer:
        account = study_account(self._catalog, uid)
        return _unknown() if account is None else Answer.of(200, account)

    def _instances(self, uid: str) -> Answer:
        """UIDs of the instances whose files are held, so that a sender need not send them again, and of those cleaned."""
        known = [instance for instance in held_instances(self._catalog, uid) if instance.is_primary]
        held = [instance.sop_instance_uid for instance in known if not instance.removed]
        cleaned = [instance.sop_instance_uid for instance in known if instance.removed]
        return Answer.of(200, {"instances": held, "cleaned": cleaned}) if known else _unknown()

    def _process(self, uid: str, query: Mapping[str, str]) -> Answer:
        try:
            number = ask_revision(self._catalog, uid, time.time(), partial=query.get("partial") == "1")
        except LookupError:
            return _unknown()
        except FilesCleanedError as error:
            return Answer.of(409, {"error": str(error)})
        return Answer.of(
            202, {"revision": number, "state": RevisionState.READY if number else RevisionState.PROCESSING}
        )

    def _explain(self, uid: str) -> Answer:
        """The plan of the instances that are held now, with the service's rules; no model, no scores."""
        planning = self._settings.planning
        instances = held_instances(self._catalog, uid)
        if not instances:
            return _unknown()
        headers, left_out = [], []
        for instance in instances:
            path = self._folder / instance.path
            uids = instance.sop_instance_uid, instance.series_instance_uid
            if not instance.is_primary:
                left_out.append(Excluded(Reason.CONTENT_CONFLICT, path, *uids))
                continue
            if instance.removed:
                left_out.append(Excluded(Reason.CLEANED, path, *uids))
                continue
            try:
                headers.append(read_header(path))
            except InstanceError as error:
                left_out.append(error.excluded(path, *uids))
        rules = load_rules(planning.rules_file) if planning.rules_file else default_rules()
        plan = plan_study(headers, rules, selection=planning.selection, preset=planning.preset, content=content_of)
        plan = Plan(uid, plan.series, (*plan.left_out, *left_out))
        return Answer.of(
            200, plan_to_json(plan, account_of(plan, {i.sop_instance_uid: "" for i in instances if i.is_primary}))
        )

    def _scores(self, uid: str) -> Answer:
        """The series scores of the last revision that has any, highest first."""
        folder = self._last_results(uid)
        if folder is None:
            return _no_results()
        scores = [row.values() for row in read_scores(folder / "scores.csv") if row.level is Level.SERIES]
        scores.sort(key=lambda score: score["value"], reverse=True)
        notice = "Research use only, not for diagnosis. Scores are uncalibrated."
        return Answer.of(200, {"revision": int(folder.name[1:]), "scores": scores, "notice": notice})

    def _similar(self, uid: str, query: Mapping[str, str]) -> Answer:
        return self._ask({"similar": uid}, query)

    def _search(self, query: Mapping[str, str]) -> Answer:
        if not query.get("text", "").strip():
            return Answer.of(400, {"error": "expected /search?text=WORDS"})
        if query.get("level", "frame") not in LEVELS:
            return Answer.of(400, {"error": f"expected level={'|'.join(LEVELS)}"})
        words = {"text": query["text"], "level": query.get("level", "frame"), "where": query.get("where")}
        return self._ask(words, query)

    def _ask(self, question: Mapping[str, Any], query: Mapping[str, str]) -> Answer:
        """The worker's answer to a search for the `top` best."""
        top = query.get("top", "10")
        if not (top.isascii() and top.isdecimal() and 1 <= int(top) <= MOST_FOUND):
            return Answer.of(400, {"error": f"expected top=N from 1 to {MOST_FOUND}"})
        if not self._settings.store.write:
            return Answer.of(409, {"error": "this service writes no embedding store (write in [store])"})
        try:
            answer = ask(self._owner, {**question, "top": int(top)})
        except NoAnswerError as error:
            return Answer.of(503, {"error": str(error)})
        return Answer.of(answer.pop("status", 200), answer)

    def _file(self, uid: str, name: str, content_type: str) -> Answer:
        folder = self._last_results(uid)
        if folder is None or not (folder / name).exists():
            return _no_results()
        return Answer(200, (folder / name).read_bytes(), content_type)

    def _last_results(self, uid: str) -> Path | None:
        account = study_account(self._catalog, uid)
        for revision in reversed(account["revisions"] if account else []):
            folder = self._folder / result_folder(uid, revision["number"])
            if revision["state"] == RevisionState.DONE and folder.is_dir():
                return folder
        return None


def _unknown() -> Answer:
    return Answer.of(404, {"error": "no instance of this study has come; send it first"})


def _no_results() -> Answer:
    return Answer.of(404, {"error": "this study has no results yet; its state says why"})


def _wrong_method(wanted: str) -> Answer:
    return Answer.of(405, {"error": f"this page takes {wanted}"})
