"""What others ask about studies over HTTP: announce, state, plan, scores, pages, another revision, search.

A PACS's plug-in is the usual caller. docs/service.md lists the routes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from starlette.requests import Request

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.arrivals import announce
from dicom_pipeline.catalog.revisions import ask_revision
from dicom_pipeline.catalog.studies import held_instances, study_account
from dicom_pipeline.config import Settings
from dicom_pipeline.dicom.uids import is_valid_uid
from dicom_pipeline.domain import ROW_LEVELS, Level, Plan
from dicom_pipeline.domain.life import RevisionState
from dicom_pipeline.errors import FilesCleanedError, NoAnswerError
from dicom_pipeline.pipeline.renderers import Renderers
from dicom_pipeline.planning import account_of, entered_headers, load_rules, plan_study
from dicom_pipeline.results.plan_json import plan_to_json
from dicom_pipeline.results.record import result_folder
from dicom_pipeline.results.score_rows import read_scores
from dicom_pipeline.scoring import LabelChoice
from dicom_pipeline.web.answer import Answer

MAX_EXPECTED = 10_000_000
"""A larger announcement is a mistake: no study holds ten million instances."""

MAX_FOUND = 100

Routes = dict[str, tuple[str, Callable[[Request], Answer]]]
"""Name of a route -> its HTTP method and what answers. request.state.content is the body."""


class StudyRoutes:
    """The routes below /studies, and /search. ask: as WebContext's."""

    def __init__(
        self, settings: Settings, catalog: Catalog, ask: Callable[[Mapping[str, Any]], dict[str, Any]]
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        self._folder = settings.spool.folder
        self._ask_worker = ask

    def of_study(self) -> Routes:
        """Routes below /studies/{uid}; "" is the study itself."""
        routes: dict[str, tuple[str, Callable[[str, Request], Answer]]] = {
            "": ("GET", lambda uid, _: self._status(uid)),
            "instances": ("GET", lambda uid, _: self._instances(uid)),
            "expected": ("PUT", lambda uid, request: self._announce(uid, request.state.content)),
            "process": ("POST", lambda uid, request: self._process(uid, request.query_params)),
            "explain": ("GET", lambda uid, _: self._explain(uid)),
            "scores": ("GET", lambda uid, _: self._scores(uid)),
            "similar": ("GET", lambda uid, request: self._ask({"similar": uid}, request.query_params)),
            "report": ("GET", lambda uid, _: self._file(uid, "report.html", "text/html; charset=utf-8")),
            "contact-sheet": ("GET", lambda uid, _: self._file(uid, "contact_sheet.png", "image/png")),
        }
        return {name: (method, _with_uid(answer)) for name, (method, answer) in routes.items()}

    def search(self, request: Request) -> Answer:
        """GET /search."""
        return self._search(request.query_params)

    def _announce(self, uid: str, body: bytes) -> Answer:
        try:
            expected = json.loads(body)["instances"]
        except (ValueError, LookupError, TypeError):
            expected = None
        if not isinstance(expected, int) or isinstance(expected, bool) or not 1 <= expected <= MAX_EXPECTED:
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
        """The plan of the instances that are held now, with the service's rules and label sets; no model, no scores."""
        planning, scoring = self._settings.planning, self._settings.scoring
        instances = held_instances(self._catalog, uid)
        if not instances:
            return _unknown()
        headers, excluded = entered_headers(self._folder, uid, instances)
        rules = load_rules(planning.rules_file, planning.keep)
        # processes are started only by a selection that looks at pixels
        with Renderers.from_settings(self._settings.rendering) as renderers:
            plan = plan_study(
                headers, rules, selection=planning.selection, preset=planning.preset, content=renderers.content
            )
        plan = Plan(uid, plan.series, (*plan.excluded, *excluded))
        account = account_of(plan, {i.sop_instance_uid: "" for i in instances if i.is_primary})
        by_uid = {header.sop_instance_uid: header.dataset for header in headers}
        choice = LabelChoice.load(scoring.chosen, rules.named_label_sets)
        return Answer.of(200, plan_to_json(plan, by_uid, account, choice.applicability(plan)))

    def _scores(self, uid: str) -> Answer:
        """The series scores of the last revision that has any, highest first."""
        folder = self._last_results(uid)
        if folder is None:
            return _no_results()
        scores = [row.values() for row in read_scores(folder / "scores.csv") if row.level is Level.SERIES]
        scores.sort(key=lambda score: score["value"], reverse=True)
        notice = "Research use only, not for diagnosis. Scores are uncalibrated."
        return Answer.of(200, {"revision": int(folder.name[1:]), "scores": scores, "notice": notice})

    def _search(self, query: Mapping[str, str]) -> Answer:
        if not query.get("text", "").strip():
            return Answer.of(400, {"error": "expected /search?text=WORDS"})
        if query.get("level", "frame") not in ROW_LEVELS:
            return Answer.of(400, {"error": f"expected level={'|'.join(ROW_LEVELS)}"})
        words = {"text": query["text"], "level": query.get("level", "frame"), "where": query.get("where")}
        return self._ask(words, query)

    def _ask(self, question: Mapping[str, Any], query: Mapping[str, str]) -> Answer:
        """The worker's answer to a search for the `top` best."""
        top = query.get("top", "10")
        if not (top.isascii() and top.isdecimal() and 1 <= int(top) <= MAX_FOUND):
            return Answer.of(400, {"error": f"expected top=N from 1 to {MAX_FOUND}"})
        if not self._settings.store.write:
            return Answer.of(409, {"error": "this service writes no embedding store (write in [store])"})
        try:
            answer = self._ask_worker({**question, "top": int(top)})
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


def _with_uid(answer: Callable[[str, Request], Answer]) -> Callable[[Request], Answer]:
    """An answer for the study that the path names, 400 where it names none."""

    def checked(request: Request) -> Answer:
        uid = request.path_params["uid"]
        if not is_valid_uid(uid):
            return Answer.of(400, {"error": "expected a Study Instance UID: digits and dots, at most 64 characters"})
        return answer(uid, request)

    return checked
