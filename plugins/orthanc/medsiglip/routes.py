"""The REST routes below /medsiglip."""

from __future__ import annotations

import json
import urllib.parse
from typing import Any, NamedTuple

import orthanc

from medsiglip.background import BackgroundThread
from medsiglip.orthanc_rest import error_place, get_json, orthanc_id
from medsiglip.pages import NOTICE, report_page, search_page, similar_page
from medsiglip.pipeline_client import SEARCH_SECONDS, PipelineError
from medsiglip.report import Report, series_labels
from medsiglip.study_content import NotInOrthanc, StudyContent, study_in_orthanc

ROUTES = ("status", "process", "explain", "report", "similar", "contact-sheet")
SEARCH_VALUES = ("text", "top", "level", "where")
HTML = "text/html; charset=utf-8"
JSON = "application/json"


class HttpError(Exception):
    """Ends a request with an HTTP status and a message; with 405 the message is the method that is allowed."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Answer(NamedTuple):
    """What a request is answered with: a JSON value or, with another content type, a body."""

    value: Any
    content_type: str = JSON
    status: int = 200


class Routes:
    """The routes. background: None where the configuration is wrong, then problem says why and every route answers it."""

    def __init__(self, background: BackgroundThread | None, problem: str) -> None:
        self._background = background
        self._problem = problem

    def serve(self, output: orthanc.RestOutput, uri: str, **request: Any) -> None:
        """Orthanc's callback: an answer, or a JSON error with its HTTP status."""
        answer = self._answer_or_error(uri, request)
        body = json.dumps(answer.value, indent=1) if answer.content_type == JSON else answer.value
        if answer.status == 405:
            output.SendMethodNotAllowed(answer.value["error"])  # Orthanc gives this status no body
        elif answer.status == 200:
            output.AnswerBuffer(body, answer.content_type)
        else:
            output.SetHttpHeader("Content-Type", JSON)
            try:
                output.SendHttpStatus(answer.status, body, len(body))
            except TypeError:  # newer plugins take the body alone
                output.SendHttpStatus(answer.status, body.encode())

    def _answer_or_error(self, uri: str, request: dict[str, Any]) -> Answer:
        try:
            return self._answer(uri, request)
        except HttpError as error:
            return Answer({"error": str(error)}, status=error.status)
        except NotInOrthanc as error:
            return Answer({"error": str(error)}, status=404)
        except PipelineError as error:
            return Answer({"error": str(error)}, status=502 if error.status in (0, 401, 403) else error.status)
        except Exception as error:  # noqa: BLE001 - the edge of a request: Orthanc must get an answer
            orthanc.LogError(f"MedSigLIP: {error_place(error)}")
            return Answer({"error": f"unexpected {type(error).__name__}; Orthanc's log says more"}, status=500)

    def _answer(self, uri: str, request: dict[str, Any]) -> Answer:
        if self._background is None:
            raise HttpError(500, f"the MedSigLIP block of Orthanc's configuration is wrong: {self._problem}")
        self._background.resume()
        study_routes = StudyRoutes(self._background)
        parts = uri.strip("/").split("/")[1:]
        values = {name: decoded(value) for name, value in request.get("get", {}).items()}
        if values.get("format", "json") not in ("json", "html"):
            raise HttpError(400, "expected format=json or format=html")
        if parts == ["search"]:
            require_method(request["method"], "GET")
            return study_routes.search(values)
        if len(parts) != 3 or parts[0] not in ("studies", "series") or parts[2] not in ROUTES:
            names = ",".join(ROUTES)
            raise HttpError(404, f"there are /medsiglip/studies/ID/{{{names}}} and /medsiglip/search?text=")
        level, identifier, name = parts
        require_method(request["method"], "POST" if name == "process" else "GET")
        series = identifier if level == "series" else ""
        if series:
            identifier = (get_json(f"/series/{series}/study") or {}).get("ID", "")
            if not identifier:
                raise HttpError(404, "Orthanc holds no such series")
        content = StudyContent(identifier)
        answer: Answer = getattr(study_routes, name.replace("-", "_"))(content, series, values)
        return answer


class StudyRoutes:
    """One method for each of ROUTES: the study, the series that was asked for (empty: all), the values of the query."""

    def __init__(self, background: BackgroundThread) -> None:
        self._background = background
        self._client = background.client

    def status(self, content: StudyContent, series: str, values: dict[str, str]) -> Answer:
        """State, reports and top labels: from the queue and Orthanc's own content, so that it answers at any time."""
        del values
        row = self._background.queue.get(content.study)
        reports = content.reports()
        labels = series_labels(content, Report(reports[0]["instance"])) if reports else []
        state = "not-sent" if row is None else "queued" if row.wanted else row.state
        return Answer(
            {
                "study": content.study,
                "study_instance_uid": content.uid,
                "state": state,
                "message": row.message if row else "",
                "instances": row.expected if row else 0,
                "reports": reports,
                "labels": [label for label in labels if not series or label["series"] == series],
                "notice": NOTICE,
            }
        )

    def process(self, content: StudyContent, series: str, values: dict[str, str]) -> Answer:
        """Enter a study that a person wants processed now."""
        del series, values
        if not content.matching(self._background.configuration):
            raise HttpError(409, "no series of this study fits the rules")
        self._background.queue.request(content.study)
        self._background.wake()
        return Answer({"study": content.study, "state": "queued"}, status=202)

    def explain(self, content: StudyContent, series: str, values: dict[str, str]) -> Answer:
        """The pipeline's plan of a study."""
        del values
        plan = self._client.request_json("GET", f"/studies/{content.uid}/explain")
        if series:
            uids = {one["MainDicomTags"]["SeriesInstanceUID"] for one in content.series if one["ID"] == series}
            plan["series"] = [one for one in plan["series"] if one["series_instance_uid"] in uids]
        return Answer(plan)

    def report(self, content: StudyContent, series: str, values: dict[str, str]) -> Answer:
        """The newest report, or that of a revision."""
        del series
        reports = content.reports()
        if not reports:
            raise HttpError(404, "no report on this study has come back yet; /status says how far it is")
        revision = values.get("revision")
        if revision is not None and not (revision.isascii() and revision.isdecimal()):
            raise HttpError(400, "expected revision=N, a whole number")
        entry = next((one for one in reports if revision in (None, str(one["revision"]))), None)
        if entry is None:
            raise HttpError(404, "there is no report of this revision")
        report = Report(entry["instance"])
        if values.get("format") == "html":
            return Answer(report_page(content, entry, report, reports), HTML)
        value = {**entry, "predecessor": report.predecessor(), "scores": report.scores}
        return Answer({**value, "parameters": report.parameters, "notice": NOTICE})

    def contact_sheet(self, content: StudyContent, series: str, values: dict[str, str]) -> Answer:
        """A picture of what the model saw."""
        del series, values
        return Answer(*self._client.request("GET", f"/studies/{content.uid}/contact-sheet"))

    def similar(self, content: StudyContent, series: str, values: dict[str, str]) -> Answer:
        """The studies most similar to one."""
        del series
        query = urllib.parse.urlencode({"top": values.get("top", "10")})
        path = f"/studies/{content.uid}/similar?{query}"
        found = self._client.request_json("GET", path, seconds=SEARCH_SECONDS)
        found["similar"] = [{**one, **study_in_orthanc(one["study_instance_uid"])} for one in found["similar"]]
        if values.get("format") == "html":
            return Answer(similar_page(content, found), HTML)
        return Answer(found)

    def search(self, values: dict[str, str]) -> Answer:
        """The frames that match words best; as a page also the form alone."""
        as_page = values.get("format") == "html"
        if not values.get("text"):
            if as_page:
                return Answer(search_page(values, None), HTML)
            raise HttpError(400, "expected /medsiglip/search?text=WORDS")
        query = urllib.parse.urlencode({key: values[key] for key in SEARCH_VALUES if key in values})
        found = self._client.request_json("GET", f"/search?{query}", seconds=SEARCH_SECONDS)
        for one in found["found"]:
            one.update(study_in_orthanc(one["study_instance_uid"]))
            one["instance"] = orthanc_id(one["sop_instance_uid"], "Instance")
        return Answer(search_page(values, found), HTML) if as_page else Answer(found)


def decoded(value: str) -> str:
    """A value of the query. Orthanc 1.10.1 passes it as it is in the URL; one that holds a space was decoded already."""
    return value if " " in value else urllib.parse.unquote_plus(value)


def require_method(method: str, allowed: str) -> None:
    """Raise HttpError 405 for another HTTP method than a route's."""
    if method != allowed:
        raise HttpError(405, allowed)
