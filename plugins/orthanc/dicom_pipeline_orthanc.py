"""Orthanc's side of dicom_pipeline: MedSigLIP scores of the studies that Orthanc holds. Research use only.

One file for Orthanc's Python plugin, standard library only (Orthanc 1.10.1 with plugin 4.0, or newer). In Orthanc's
configuration:

    "PythonScript" : "/etc/orthanc/dicom_pipeline_orthanc.py",
    "MedSigLIP" : { "Pipeline" : "http://127.0.0.1:8448" }

docs/orthanc.md of dicom_pipeline describes every option, the routes below /medsiglip and the states.

How it works: a thread of its own reads Orthanc's list of changes from a cursor that is kept on disk. A stable study becomes a
row of a queue on disk; for each row the thread tells the pipeline how many instances will come, sends those that it lacks, and
follows the study until its report has come back. Orthanc's own threads only wake this one: nothing here can hold Orthanc up.
"""

import collections
import hashlib
import html
import http.client
import json
import os
import re
import sqlite3
import threading
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request
import uuid
from contextlib import closing

import orthanc

OWN_DEVICE_UID = "2.25.54587332841861929712484307021296368915"
"""Device UID in the Contributing Equipment Sequence of everything that dicom_pipeline makes: what has it is never sent."""

OWN_DEVICE = ("dicom_pipeline", "dicom_pipeline")
"""Manufacturer and model there, for copies whose UIDs were replaced, as Orthanc does when it anonymises."""

UID_NAMESPACE = uuid.UUID("8b0f9a5e-6a53-5b0e-9a3c-0d6d2c1f7e10")
"""Of the UIDs that dicom_pipeline makes, so that the reports on a study are told from copies of another study's."""

NOTICE = "Research use only, not for diagnosis. Scores are uncalibrated."
DEFAULTS = {
    "Pipeline": "http://127.0.0.1:8448",
    "TokenEnv": "",
    "Send": "REST",
    "Modality": "",
    "Trigger": "StableStudy",
    "Automatic": True,
    "Rules": [],
    "Metadata": 4711,
    "QueueFile": "",
    "ExplorerSection": True,
}
KINDS = {str: "a text", bool: "true or false", list: "a list in [ ]", int: "a number from 1024 to 65535"}
RULE_KEYS = ("Modality", "Sender", "Label", "StudyDescription", "SeriesDescription", "Metadata")
STUDY_METADATA = ("LastUpdate", "ModifiedFrom", "AnonymizedFrom", "MainDicomTagsSignature", "MainDicomSequences")
"""Names of metadata that Orthanc itself gives a study."""

ROUTES = ("status", "process", "explain", "report", "similar", "contact-sheet")
STATES = {
    "announced": "sent",
    "receiving": "sent",
    "held": "sent",
    "ready": "processing",
    "processing": "processing",
    "done": "reporting",
}
"""The pipeline's states that a study passes through, in this plug-in's words; the others are ends."""

PIPELINE_SECONDS = 10.0
UPLOAD_SECONDS = 25.0
"""Silence of the pipeline; below STOP_SECONDS, so that the thread is never cut off in the middle of a request."""

STOP_SECONDS = 30.0
SEARCH_SECONDS = 70.0
MOST_ANSWER_BYTES = 64 * 2**20
MOST_ERROR_BYTES = 64 * 2**10
SEARCH_VALUES = ("text", "top", "level", "where")
LEVELS = {"frame": "frames", "series": "series", "study": "studies"}
FOLLOW_SECONDS = 2.0
LONGEST_WAIT_SECONDS = 300.0
GIVE_UP_SECONDS = 7 * 24 * 3600.0
TRANSFERS = 4
"""C-STORE jobs after which what is missing counts as refused, where some of the study has come."""

TRANSFERS_OF_NOTHING = 16
"""The same where nothing has come (in three quarters of an hour): perhaps nobody listens there."""

OWN_SERIES_CACHE = 10_000
GONE = (
    orthanc.ErrorCode.UNKNOWN_RESOURCE,
    orthanc.ErrorCode.INEXISTENT_ITEM,
    orthanc.ErrorCode.INEXISTENT_FILE,
    orthanc.ErrorCode.CORRUPTED_FILE,
    orthanc.ErrorCode.REGULAR_FILE_EXPECTED,
)
"""What Orthanc says of something that it does not hold, or whose file it cannot read (any more)."""

UNDER_WAY = ("Pending", "Running", "Paused", "Retry")
"""States of an Orthanc job that has not ended."""

NOT_READABLE = "gone from Orthanc or not readable there"


class ConfigurationError(Exception):
    """The MedSigLIP block of Orthanc's configuration is wrong."""


class PipelineError(Exception):
    """The pipeline did not answer, or with an error. status: of HTTP, 0 where nothing answered."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class AnswerError(Exception):
    """Ends a REST request with an HTTP status and a message; with 405 the message is the method that is right."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


# --- configuration ----------------------------------------------------------------------------------------------------


def read_configuration():
    """The MedSigLIP block with its defaults, and what is needed of Orthanc's own. Raises ConfigurationError."""
    whole = json.loads(orthanc.GetConfiguration())
    misspelt = [name for name in whole if name.lower() == "medsiglip" and name != "MedSigLIP"]
    if misspelt:
        raise ConfigurationError(f'it must be called "MedSigLIP", found "{misspelt[0]}"')
    options = with_defaults(whole.get("MedSigLIP", {}))
    check_options(options)
    if options["Send"] == "DICOM" and not knows_modality(whole, options["Modality"]):
        raise ConfigurationError(f'"Modality": Orthanc\'s DicomModalities has no "{options["Modality"]}"')
    names = {*STUDY_METADATA, *whole.get("UserMetadata", {})}
    options["Rules"] = [check_rule(rule, names) for rule in options["Rules"]]
    options["Token"] = os.environ.get(options["TokenEnv"], "") if options["TokenEnv"] else ""
    if options["TokenEnv"] and not options["Token"]:
        raise ConfigurationError(f"the environment variable {options['TokenEnv']} is not set")
    options["StableAge"] = float(whole.get("StableAge", 60))
    options["QueueFile"] = options["QueueFile"] or default_queue_file(whole)
    return options


def with_defaults(given):
    """All options, each of its default's type. Raises ConfigurationError."""
    if not isinstance(given, dict):
        raise ConfigurationError('expected "MedSigLIP": {...}')
    unknown = sorted(set(given) - set(DEFAULTS))
    if unknown:
        raise ConfigurationError(f"unknown option {', '.join(unknown)}; there are {', '.join(DEFAULTS)}")
    options = {**DEFAULTS, **given}
    for name, default in DEFAULTS.items():
        if type(options[name]) is not type(default):  # "false" in quotes would be true
            raise ConfigurationError(f'"{name}" must be {KINDS[type(default)]}, found {json.dumps(options[name])}')
    return options


def check_options(options):
    """Raise ConfigurationError for a value that cannot be."""
    if options["Send"] not in ("REST", "DICOM"):
        raise ConfigurationError('"Send" must be "REST" or "DICOM"')
    if options["Send"] == "DICOM" and not options["Modality"]:
        raise ConfigurationError('"Send": "DICOM" needs "Modality", a name of Orthanc\'s DicomModalities')
    if options["Send"] == "REST" and not options["Pipeline"]:
        raise ConfigurationError('"Send": "REST" needs "Pipeline", the URL of the service\'s pages')
    if options["Pipeline"] and not is_url(options["Pipeline"]):
        form = DEFAULTS["Pipeline"]
        raise ConfigurationError(f'"Pipeline" must be a URL such as {form}, found "{options["Pipeline"]}"')
    if options["Trigger"] not in ("StableStudy", "StableSeries"):
        raise ConfigurationError('"Trigger" must be "StableStudy" or "StableSeries"')
    if not 1024 <= options["Metadata"] <= 65535:
        raise ConfigurationError('"Metadata" must be a number from 1024 to 65535')


def is_url(text):
    """Whether a text is a URL over HTTP or HTTPS with a host, and a port that is a number if any."""
    try:
        url = urllib.parse.urlsplit(text)
        return url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        return False


def knows_modality(whole, name):
    """Whether Orthanc's configuration has a modality; one that keeps them in its database may get it later."""
    return bool(whole.get("DicomModalitiesInDatabase")) or name in whole.get("DicomModalities", {})


def check_rule(rule, metadata):
    """A rule with its texts compiled: lists are exact, texts are regular expressions. Raises ConfigurationError.

    metadata: names of a study's metadata that Orthanc knows, besides numbers.
    """
    if not isinstance(rule, dict):
        raise ConfigurationError(f'a rule must be as {{"Modality": "CT"}}, found {json.dumps(rule)}')
    unknown = sorted(set(rule) - set(RULE_KEYS))
    if unknown:
        raise ConfigurationError(f"unknown rule key {', '.join(unknown)}; there are {', '.join(RULE_KEYS)}")
    checked = {}
    try:
        for key, value in rule.items():
            if key in ("Modality", "Sender", "Label"):
                checked[key] = [value] if isinstance(value, str) else value
                if not isinstance(value, (str, list)) or not value or not all(isinstance(v, str) for v in checked[key]):
                    raise TypeError(f"expected a text or a list of texts, found {json.dumps(value)}")
                if key == "Modality" and any(v != v.upper() for v in checked[key]):
                    raise TypeError(f"expected capitals, as DICOM writes modalities, found {json.dumps(value)}")
            elif key == "Metadata" and isinstance(value, dict):
                unknown = [name for name in value if name not in metadata and not re.fullmatch("[0-9]{1,5}", name)]
                if unknown:
                    raise TypeError(f"{unknown[0]} is neither a number nor a name in Orthanc's UserMetadata")
                checked[key] = {name: re.compile(text) for name, text in value.items()}
            elif key == "Metadata" or not isinstance(value, str):
                form = '{"1025": "text"}' if key == "Metadata" else "a text"
                raise TypeError(f"expected {form}, a regular expression, found {json.dumps(value)}")
            else:
                checked[key] = re.compile(value, re.IGNORECASE)
    except (re.error, TypeError, AttributeError) as error:
        raise ConfigurationError(f"rule key {key} cannot be read: {error}") from error
    return checked


def default_queue_file(whole):
    """Beside Orthanc's index; relative folders count from the configuration, as Orthanc has it."""
    folder = whole.get("IndexDirectory") or whole.get("StorageDirectory") or "OrthancStorage"
    path = orthanc.GetConfigurationPath()
    start = path if os.path.isdir(path) else os.path.dirname(path)  # noqa: PTH112, PTH120 - texts from Orthanc
    return os.path.join(start, folder, "medsiglip-queue.sqlite")  # noqa: PTH118


# --- Orthanc's own content --------------------------------------------------------------------------------------------


def get_bytes(path):
    """What Orthanc's REST API answers; None where the resource is gone or was never there.

    Raises OrthancException where Orthanc cannot tell, for example because its database is away.
    """
    try:
        return orthanc.RestApiGet(path)
    except orthanc.OrthancException as error:
        if error.args[0] in GONE:
            return None
        raise


def get(path):
    """JSON of Orthanc's REST API; None where there is none."""
    found = get_bytes(path)
    return None if found is None else json.loads(found)


def get_text(path):
    """Text of Orthanc's REST API; empty where there is none."""
    return (get_bytes(path) or b"").decode("utf-8", "replace").strip(" \0")


def is_own_device(where):
    """Whether an item of a Contributing Equipment Sequence, by its path in Orthanc, names dicom_pipeline."""
    if get_text(f"{where}/0018-1002") == OWN_DEVICE_UID:
        return True
    return (get_text(f"{where}/0008-0070"), get_text(f"{where}/0008-1090")) == OWN_DEVICE


class Content:
    """One study as Orthanc holds it now. series: expanded, own ones aside. own: the series that dicom_pipeline made."""

    own_series = {}  # noqa: RUF012 - a cache of all instances: Orthanc id of a series -> whether dicom_pipeline made it

    def __init__(self, study):
        found = get(f"/studies/{study}") if study else None
        if found is None:
            raise AnswerError(404, "Orthanc holds no such study")
        self.study = study
        self.tags = found.get("MainDicomTags", {})
        self.uid = self.tags.get("StudyInstanceUID", "")
        series = get(f"/studies/{study}/series") or []
        self.own = [one for one in series if self.is_own(one)]
        self.series = [one for one in series if one not in self.own]

    @classmethod
    def is_own(cls, series):
        """Whether dicom_pipeline made a series: by its first instance's contributing equipment, not by a description."""
        known = cls.own_series.get(series["ID"])
        if known is None and series.get("Instances"):
            where = f"/instances/{series['Instances'][0]}/content/0018-a001"
            known = any(is_own_device(f"{where}/{item}") for item in get(where) or [])
            if len(cls.own_series) > OWN_SERIES_CACHE:
                cls.own_series.clear()
            cls.own_series[series["ID"]] = known
        return bool(known)

    def fitting(self, options):
        """The series that the rules want sent; with the trigger StableSeries only those that are stable."""
        stable = [s for s in self.series if options["Trigger"] == "StableStudy" or s.get("IsStable", True)]
        return [s for s in stable if not options["Rules"] or any(self.fits(s, rule) for rule in options["Rules"])]

    def fits(self, series, rule):
        """Whether a series fits every key of a rule."""
        tags = series.get("MainDicomTags", {})
        for key, wanted in rule.items():
            if key == "Modality":
                good = tags.get("Modality", "") in wanted
            elif key == "Sender":
                good = get_text(f"/instances/{series['Instances'][0]}/metadata/RemoteAET") in wanted
            elif key == "Label":
                good = bool(set(get(f"/studies/{self.study}/labels") or []) & set(wanted))
            elif key == "Metadata":
                good = all(p.search(get_text(f"/studies/{self.study}/metadata/{n}")) for n, p in wanted.items())
            else:
                good = bool(wanted.search((self.tags if key == "StudyDescription" else tags).get(key, "")))
            if not good:
                return False
        return True

    def instances(self, series):
        """SOP Instance UID -> Orthanc id of the instances of some series."""
        wanted = {one["ID"] for one in series}
        found = get(f"/studies/{self.study}/instances") or []
        return {i["MainDicomTags"]["SOPInstanceUID"]: i["ID"] for i in found if i["ParentSeries"] in wanted}

    def reports(self):
        """The Structured Reports of dicom_pipeline, newest first: Orthanc id, UID and revision.

        Those that came with a modified or anonymised copy of another study stand last.
        """
        found, ours = [], report_series_uid(self.uid)
        for series in self.own:
            if series["MainDicomTags"].get("Modality") == "SR":
                for instance in get(f"/series/{series['ID']}/instances") or []:
                    tags = instance["MainDicomTags"]
                    found.append(
                        {
                            "instance": instance["ID"],
                            "series": series["ID"],
                            "sop_instance_uid": tags["SOPInstanceUID"],
                            "revision": int(tags.get("InstanceNumber", "0") or 0),
                            "copied": series["MainDicomTags"].get("SeriesInstanceUID") != ours,
                        }
                    )
        return sorted(found, key=lambda report: (report["copied"], -report["revision"]))


def report_series_uid(study_uid):
    """The series that holds all reports on a study."""
    return f"2.25.{uuid.uuid5(UID_NAMESPACE, chr(0).join(('report-series', study_uid))).int}"


def orthanc_id(uid, level):
    """Orthanc's id of a DICOM UID at a level (Study, Instance ...); empty where Orthanc does not hold it."""
    found = json.loads(orthanc.RestApiPost("/tools/lookup", uid.encode()))
    return next((one["ID"] for one in found if one["Type"] == level), "")


def series_of(uid):
    """Orthanc's id of the series that holds an instance; empty where Orthanc does not hold it."""
    instance = orthanc_id(uid, "Instance")
    return (get(f"/instances/{instance}") or {}).get("ParentSeries", "") if instance else ""


def in_orthanc(uid):
    """A study by its UID: Orthanc's id (empty where it does not hold it), and date and description as it shows them."""
    study = orthanc_id(uid, "Study")
    tags = (get(f"/studies/{study}") or {}).get("MainDicomTags", {}) if study else {}
    return {"study": study, "description": title_of(tags)}


def title_of(tags):
    """Date and description of a study, by its main tags; empty where it has neither."""
    date = tags.get("StudyDate", "")
    words = ("-".join(filter(None, (date[:4], date[4:6], date[6:]))), tags.get("StudyDescription", ""))
    return " ".join(filter(None, words))


# --- the pipeline -----------------------------------------------------------------------------------------------------

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ask(options, method, path, body=None, content_type="application/json", seconds=PIPELINE_SECONDS):
    """Body and content type of the pipeline's answer. Raises PipelineError."""
    if not options["Pipeline"]:
        raise PipelineError(0, "no pipeline URL is configured")
    request = urllib.request.Request(options["Pipeline"].rstrip("/") + path, data=body, method=method)  # noqa: S310
    request.add_header("Content-Type", content_type)
    if options["Token"]:
        request.add_header("Authorization", f"Bearer {options['Token']}")
    try:
        with DIRECT.open(request, timeout=seconds) as answer:
            return read_bounded(answer, seconds), answer.headers.get("Content-Type", "")
    except urllib.error.HTTPError as error:
        raise PipelineError(error.code, f"the pipeline answers: {error_of(error)}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error) or type(error).__name__
        raise PipelineError(0, f"the pipeline at {options['Pipeline']} cannot be reached: {reason}") from error


def read_bounded(answer, seconds):
    """The body of an answer, within a time and a size. Raises OSError where it is too slow, too large or cut short."""
    end = time.monotonic() + seconds
    parts, size = [], 0
    while part := answer.read1(2**16):
        parts.append(part)
        size += len(part)
        if size > MOST_ANSWER_BYTES:
            raise OSError(f"its answer is larger than {MOST_ANSWER_BYTES} bytes")
        if time.monotonic() > end:
            raise TimeoutError(f"its answer takes longer than {seconds:.0f} s")
    if answer.length:
        raise OSError("its answer was cut short")
    return b"".join(parts)


def error_of(error):
    """What an HTTP error of the pipeline says, else its status alone."""
    with error:
        try:
            return str(json.loads(error.read(MOST_ERROR_BYTES))["error"])
        except (OSError, ValueError, LookupError, TypeError, http.client.HTTPException):
            return f"HTTP {error.code}"


def ask_json(options, method, path, value=None, seconds=PIPELINE_SECONDS):
    """The pipeline's answer as a JSON object. Raises PipelineError."""
    body, _ = ask(options, method, path, None if value is None else json.dumps(value).encode(), seconds=seconds)
    return json_of(options, body)


def json_of(options, body):
    """A body as a JSON object. Raises PipelineError where something else answers at the pipeline's URL."""
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise PipelineError(0, f"what answers at {options['Pipeline']} is no dicom_pipeline")
    return found


def ask_study(options, uid):
    """What the pipeline knows of a study; None where it knows nothing. Raises PipelineError."""
    try:
        return ask_json(options, "GET", f"/studies/{uid}")
    except PipelineError as error:
        if error.status == 404:
            return None
        raise


# --- the queue --------------------------------------------------------------------------------------------------------

SCHEMA = """
CREATE TABLE IF NOT EXISTS cursor (seq INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS job (
    study TEXT PRIMARY KEY,            -- Orthanc id
    uid TEXT NOT NULL DEFAULT '',      -- Study Instance UID, once the study was looked at
    wanted INTEGER NOT NULL DEFAULT 0, -- 1: look at the study anew, 2: being looked at
    force INTEGER NOT NULL DEFAULT 0,  -- 1: a person asked for it
    state TEXT NOT NULL DEFAULT 'queued',
    message TEXT NOT NULL DEFAULT '',
    due REAL,                          -- seconds since 1970; NULL: nothing to do
    attempts INTEGER NOT NULL DEFAULT 0,
    digest TEXT NOT NULL DEFAULT '',   -- of the instances that were sent
    expected INTEGER NOT NULL DEFAULT 0,
    sent_at REAL NOT NULL DEFAULT 0,
    reports INTEGER NOT NULL DEFAULT 0, -- reports in Orthanc before this sending
    transfer TEXT NOT NULL DEFAULT '', -- Orthanc's C-STORE job under way
    transfers INTEGER NOT NULL DEFAULT 0 -- C-STORE jobs that ended with something missing
);
CREATE INDEX IF NOT EXISTS job_next ON job (force DESC, due) WHERE due IS NOT NULL;
"""


class Queue:
    """Studies to send and to follow, in a file that outlives Orthanc. A connection a call, so that any thread may call.

    A study is looked at (wanted) when it became stable or a person asked; a row whose look was cut short by a crash is
    looked at again.
    """

    def __init__(self, path):
        self.path = path
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)  # noqa: PTH100, PTH103, PTH120 - a text
        with self._open() as db:
            db.executescript("PRAGMA journal_mode = WAL;" + SCHEMA)
            self._add_columns(db)
            db.execute("UPDATE job SET wanted = 1, due = ? WHERE wanted = 2", (time.time(),))

    @staticmethod
    def _add_columns(db):
        """Give a queue that an earlier version made the columns that it lacks."""
        with closing(sqlite3.connect(":memory:")) as fresh:
            fresh.executescript(SCHEMA)
            wanted = fresh.execute("PRAGMA table_info(job)").fetchall()
        there = {column[1] for column in db.execute("PRAGMA table_info(job)")}
        for _, name, kind, _, default, _ in wanted:
            if name not in there:
                db.execute(f"ALTER TABLE job ADD COLUMN {name} {kind} NOT NULL DEFAULT {default}")

    def _open(self):
        return closing(sqlite3.connect(self.path, timeout=30, isolation_level=None))

    def cursor(self):
        """Number of the last change that was read; None at the very first start."""
        with self._open() as db:
            row = db.execute("SELECT seq FROM cursor").fetchone()
        return row[0] if row else None

    def advance(self, seq, studies):
        """Enter studies (Orthanc id -> when to look) and the change up to which they were found, as one."""
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")
            for study, due in studies.items():
                self._want(db, study, 0, due)
            db.execute("DELETE FROM cursor")
            db.execute("INSERT INTO cursor VALUES (?)", (seq,))
            db.execute("COMMIT")

    def want(self, study):
        """A person wants a study processed now."""
        with self._open() as db:
            self._want(db, study, 1, time.time())

    @staticmethod
    def _want(db, study, force, due):
        db.execute(
            "INSERT INTO job (study, wanted, force, due) VALUES (:study, 1, :force, :due) ON CONFLICT (study) DO UPDATE SET "
            "wanted = 1, force = max(force, :force), due = min(coalesce(due, :due), :due), attempts = 0, transfers = 0",
            {"study": study, "force": force, "due": due},
        )

    def row(self, study):
        """A study's row, None without one."""
        return self._first("SELECT * FROM job WHERE study = ?", (study,))

    def next_due(self):
        """The row to work on: what a person asked for, then what has been due longest; None while none is due."""
        return self._first("SELECT * FROM job WHERE due <= ? ORDER BY force DESC, due LIMIT 1", (time.time(),))

    def _first(self, statement, values):
        with self._open() as db:
            db.row_factory = sqlite3.Row
            row = db.execute(statement, values).fetchone()
        return dict(row) if row else None

    def begin(self, study):
        """Mark that a wanted study is being looked at."""
        with self._open() as db:
            db.execute("UPDATE job SET wanted = 2 WHERE study = ?", (study,))

    def finish(self, study, due, **values):
        """Write what a look or a following gave; a wish that came meanwhile stands."""
        columns = "".join(f", {name} = :{name}" for name in values)
        with self._open() as db:
            db.execute(
                "UPDATE job SET force = CASE WHEN wanted = 1 THEN force ELSE 0 END, due = CASE WHEN wanted = 1 THEN due ELSE "  # noqa: S608
                f":due END, wanted = CASE WHEN wanted = 1 THEN 1 ELSE 0 END{columns} WHERE study = :study",
                {"study": study, "due": due, **values},
            )

    def again(self, study, due, message):
        """Look at a study again later, because something did not answer or did not take all."""
        with self._open() as db:
            db.execute(
                "UPDATE job SET wanted = 1, attempts = attempts + 1, transfer = '', due = ?, message = ? WHERE study = ?",
                (due, message, study),
            )

    def forget(self, study):
        """Remove a study that Orthanc does not hold any more."""
        with self._open() as db:
            db.execute("DELETE FROM job WHERE study = ?", (study,))


# --- the thread -------------------------------------------------------------------------------------------------------


class Worker:
    """The background thread: reads changes, sends, follows. Orthanc's threads call `wake`, `deleted` and `stop` alone."""

    def __init__(self, options):
        self.options = options
        self.queue = Queue(options["QueueFile"])
        self._woken = threading.Event()
        self._stop = threading.Event()
        self._deleted = collections.deque()
        self._thread = threading.Thread(target=self._run, name="medsiglip", daemon=True)
        self._boundary = 0

    def start(self):
        """Start the thread."""
        self._thread.start()

    def wake(self):
        """Something has changed."""
        self._woken.set()

    def deleted(self, study):
        """Orthanc holds a study no more."""
        self._deleted.append(study)
        self._woken.set()

    def stop(self):
        """Let the thread end between two requests, before Orthanc takes its own parts down."""
        self._stop.set()
        self._woken.set()
        self._thread.join(STOP_SECONDS)

    def _run(self):
        begun = False
        while not self._stop.is_set():
            self._woken.clear()
            try:
                if not begun:
                    self._begin()
                    begun = True
                self._read_changes()
                while not self._stop.is_set():
                    row = self.queue.next_due()
                    if row is None:
                        break
                    self._work(row)
                    if self._woken.is_set():
                        self._woken.clear()
                        self._read_changes()
            except Exception as error:  # noqa: BLE001 - the edge of the thread: it must outlive a full disk
                orthanc.LogError(f"MedSigLIP: {where(error)}")
                self._stop.wait(5)
            self._woken.wait(1.0)

    def _begin(self):
        """Say in the log what is sent where, and find where the changes of this run of Orthanc begin."""
        orthanc.LogWarning(f"MedSigLIP: {summary(self.options)}")
        if any("Label" in rule for rule in self.options["Rules"]) and get("/tools/labels") is None:
            orthanc.LogError(
                "MedSigLIP: a rule asks for Label, which this Orthanc does not know (1.12 does): it fits nothing"
            )
        self._boundary = (get("/changes?last") or {}).get("Last", 0)

    def _read_changes(self):
        """Enter the studies that became stable since the cursor.

        Orthanc forgets at a stop which studies were not stable yet, so a study that was changed before this start is
        entered too, to be looked at when it would have become stable.
        """
        while self._deleted:
            row = self.queue.row(self._deleted.popleft())
            if row is not None:
                self._attempt(self._release, row)
        seq = self.queue.cursor()
        if seq is None or seq > max(self._boundary, (get("/changes?last") or {}).get("Last", 0)):
            # the very first start, or an index that was made anew: what is there already is for a backfill
            self.queue.advance(self._boundary if seq is None else 0, {})
            return
        while not self._stop.is_set():
            page = get(f"/changes?since={seq}&limit=1000")
            if not page or not page["Changes"]:
                return
            studies = {}
            for change in page["Changes"] if self.options["Automatic"] else ():
                study, due = self._study_of(change)
                if study and study not in studies:
                    studies[study] = due
            seq = page["Last"]
            self.queue.advance(seq, studies)
            if page["Done"]:
                return

    def _study_of(self, change):
        kind, identifier = change["ChangeType"], change["ID"]
        if kind == "StableStudy":
            return (identifier, time.time()) if self.options["Trigger"] == kind else (None, None)
        if kind == "StableSeries" and self.options["Trigger"] == kind:
            return (get(f"/series/{identifier}") or {}).get("ParentStudy"), time.time()
        if kind in ("NewInstance", "NewSeries", "NewStudy") and change["Seq"] <= self._boundary:
            path = {"NewInstance": "instances", "NewSeries": "series", "NewStudy": "studies"}[kind]
            parent = identifier if kind == "NewStudy" else (get(f"/{path}/{identifier}/study") or {}).get("ID")
            return parent, time.time() + self.options["StableAge"] + 1
        return None, None

    def _work(self, row):
        """Take the next step with a study."""
        if row["wanted"]:
            self.queue.begin(row["study"])
            self._attempt(self._look, row)
        else:
            self._attempt(self._follow_transfer if row["transfer"] else self._follow, row)

    def _attempt(self, step, row):
        """Take a step; where something does not answer, again later. What is wrong with one study holds up no other."""
        try:
            try:
                step(row)
            except AnswerError:
                self._release(row)
        except PipelineError as error:
            self._later(row, str(error))
        except orthanc.OrthancException as error:
            self._later(row, f"Orthanc does not answer: {error.args[-1]}")
        except Exception as error:  # noqa: BLE001 - the edge of one study
            orthanc.LogError(f"MedSigLIP: study {row['study'][:8]}: {where(error)}")
            self._later(row, f"unexpected {type(error).__name__}; Orthanc's log says more")

    def _later(self, row, message):
        """Take the same step again after a while that doubles each time."""
        study, wait = row["study"], min(LONGEST_WAIT_SECONDS, 2.0 * 2 ** min(row["attempts"], 10))
        orthanc.LogWarning(f"MedSigLIP: study {study[:8]}: {message}; again in {wait:.0f} s")
        if row["wanted"]:
            self.queue.again(study, time.time() + wait, message)
            self._show(study)
        else:
            self.queue.finish(study, time.time() + wait, attempts=row["attempts"] + 1)

    def _release(self, row):
        """Forget a study that is gone from Orthanc: the pipeline need not wait for what was announced and not sent.

        While Orthanc's job still sends, more may come than the pipeline holds now.
        """
        job = get(f"/jobs/{row['transfer']}") if row["transfer"] else None
        if job and job["State"] in UNDER_WAY:
            self.queue.finish(row["study"], time.time() + 1.0)
            return
        if row["uid"] and self.options["Pipeline"]:
            held = self._held(row["uid"])
            if held:
                self._announce(row["uid"], len(held))
        self.queue.forget(row["study"])

    def _look(self, row):
        """Send what the pipeline lacks of a study; where a person asked and it lacks nothing, ask for another revision."""
        study, options = row["study"], self.options
        content = Content(study)
        instances = content.instances(content.fitting(options))
        if not instances:
            what = "no series fits the rules" if content.series else "there is nothing but reports"
            self._set(study, row["state"] if row["digest"] else "not-chosen", None, message=what)
            return
        digest = hashlib.sha256("\n".join(sorted(instances)).encode()).hexdigest()
        if digest == row["digest"] and not row["force"]:
            self.queue.finish(study, time.time())  # only reports or series outside the rules have come
            return
        known = self._held(content.uid)
        held = set(known or ())
        missing = [instances[uid] for uid in sorted(instances) if uid not in held]
        if digest == row["digest"] and len(held) >= row["expected"]:
            missing = []  # what is lacking was refused before
        values = {
            "uid": content.uid,
            "digest": digest,
            "expected": len(held | set(instances)),
            "sent_at": time.time(),
            "reports": len(content.reports()),
            "transfer": "",
        }
        if not missing:
            if row["force"]:
                ask_json(options, "POST", f"/studies/{content.uid}/process")
            self._sent(row, {}, values)
            return
        self._show(study, "sending")
        if options["Send"] == "DICOM":
            # without an account of what has come, the first failure must end the job, or the rest is lost unseen
            if row["transfers"] % 2:
                missing.reverse()  # a job that ends at what is refused gets by it from the other side
            values["transfer"] = self._transfer(content.uid, values["expected"], missing, known is not None)
            self._set(study, "sending", time.time() + 0.5, message="", **values)
            return
        self._announce(content.uid, values["expected"])
        refused = self._upload(missing)
        if refused is None:
            return  # stopped; the row is still being looked at, so the next start takes it up
        if refused[NOT_READABLE] >= values["expected"] and get(f"/studies/{study}"):
            self._later(row, "Orthanc can read none of this study's files; is its storage there?")
            return
        self._sent(row, refused, values)

    def _held(self, uid):
        """SOP Instance UIDs that the pipeline holds of a study; None where it cannot be asked but need not be, over DICOM."""
        if not self.options["Pipeline"]:
            return None
        try:
            return ask_json(self.options, "GET", f"/studies/{uid}/instances")["instances"]
        except PipelineError as error:
            if error.status == 404:
                return []
            if error.status == 0 and self.options["Send"] == "DICOM":
                return None
            raise

    def _transfer(self, uid, expected, instances, permissive):
        """Have Orthanc send instances by a job, which alone may wait for the peer; its id."""
        self._announce(uid, expected)
        order = {"Resources": instances, "Asynchronous": True, "Permissive": permissive}
        answer = orthanc.RestApiPost(f"/modalities/{self.options['Modality']}/store", json.dumps(order).encode())
        return json.loads(answer)["ID"]

    def _announce(self, uid, expected):
        """Say how many instances will come. Over DICOM this only saves waiting, so it may fail."""
        if not self.options["Pipeline"]:
            return
        try:
            ask_json(self.options, "PUT", f"/studies/{uid}/expected", {"instances": expected})
        except PipelineError:
            if self.options["Send"] == "REST":
                raise

    def _upload(self, instances):
        """Send instances over HTTP: reason -> count of what the pipeline refused; None where Orthanc stops."""
        refused = collections.Counter()
        for instance in instances:
            if self._stop.is_set():
                return None
            try:
                content = get_bytes(f"/instances/{instance}/file")
                if content is None:
                    refused[NOT_READABLE] += 1
                    continue
                body, _ = ask(self.options, "POST", "/instances", content, "application/dicom", UPLOAD_SECONDS)
                answer = json_of(self.options, body)
                reason = "" if answer["kept"] else answer["taken"]
            except PipelineError as error:
                if error.status not in (409, 413, 415, 422):
                    raise
                reason = str(error).rpartition("refused: ")[2]
            if reason:
                refused[reason] += 1
        return refused

    def _sent(self, row, refused, values):
        """All is sent: correct the announcement by what was refused (reason -> count), then follow."""
        values = {**values, "transfer": "", "attempts": 0, "transfers": 0}
        lost = sum(refused.values())
        message = ", ".join(f"{count} x {reason}" for reason, count in sorted(refused.items()))
        if lost and lost >= values["expected"]:
            values["digest"] = ""
            self._set(row["study"], "failed", None, message=f"the pipeline takes no instance: {message}", **values)
            return
        if lost:
            values["expected"] -= lost
            self._announce(values["uid"], values["expected"])
            message = f"not taken: {message}"
        self._set(row["study"], "sent", time.time() + 0.5, message=message, **values)

    def _follow_transfer(self, row):
        """Look at Orthanc's C-STORE job, which outlives a restart of Orthanc, and at what has come of it.

        A permissive job of Orthanc's succeeds whatever was refused, so what the pipeline holds decides where it can be asked.
        """
        job = get(f"/jobs/{row['transfer']}")
        state = job["State"] if job else "Failure"
        if state in UNDER_WAY:
            self.queue.finish(row["study"], time.time() + 1.0)
            return
        content, held = Content(row["study"]), self._held(row["uid"])
        if held is None:
            lost = int(job["Content"].get("FailedInstancesCount", 0)) if state == "Success" else row["expected"]
        else:
            lost = len(set(content.instances(content.fitting(self.options))) - set(held))
        most = TRANSFERS if held else TRANSFERS_OF_NOTHING
        if not lost or (held is not None and row["transfers"] + 1 >= most):
            values = {"uid": row["uid"], "expected": row["expected"]}
            self._sent(row, {"refused over DICOM": lost} if lost else {}, values)
            return
        why = (job or {}).get("ErrorDescription", "") if state != "Success" else f"{lost} instances did not arrive"
        self.queue.finish(row["study"], None, transfers=row["transfers"] + 1, digest="")
        self._later({**row, "wanted": 1}, f"C-STORE to {self.options['Modality']}: {why or 'the job is gone'}")

    def _follow(self, row):
        """See how far the pipeline is, until the report is here or will never come."""
        known = ask_study(self.options, row["uid"]) if self.options["Pipeline"] else None
        reports = Content(row["study"]).reports()  # after asking: what was delivered by then is seen
        state, message, ended = self._progress(known, reports, row)
        age = time.time() - row["sent_at"]
        wait = min(LONGEST_WAIT_SECONDS, max(FOLLOW_SECONDS, age / 20))
        due = None if ended or age > GIVE_UP_SECONDS else time.time() + wait
        if (state, message) == (row["state"], row["message"]):
            self.queue.finish(row["study"], due, attempts=0)
        else:
            self._set(row["study"], state, due, message=message, attempts=0)

    def _progress(self, known, reports, row):
        """State, message, and whether this is the end. known: what the pipeline says of the study."""
        if not self.options["Pipeline"]:
            return ("reported", "", True) if len(reports) > row["reports"] else (row["state"], row["message"], False)
        if known is None:
            return "failed", "the pipeline does not know this study; do Pipeline and Modality name one service?", True
        last = (known["revisions"] or [{}])[-1]
        state = STATES.get(known["state"], known["state"])
        if state not in STATES.values():
            return state, last.get("message", "") or row["message"], True
        if state != "reporting":
            return state, row["message"], False
        if {report["sop_instance_uid"] for report in reports} & set((last["report"] or "").split(",")):
            return "reported", row["message"], True
        return state, *delivery_problem(last["deliveries"], row["message"])

    def _set(self, study, state, due, **values):
        self.queue.finish(study, due, state=state, **values)
        self._show(study)

    def _show(self, study, state=None):
        """Write the state to the study's metadata, where any client of Orthanc can read it."""
        row = self.queue.row(study)
        if row is None:
            return
        value = {"state": state or row["state"], "instances": row["expected"], "message": row["message"]}
        value["at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            orthanc.RestApiPut(f"/studies/{study}/metadata/{self.options['Metadata']}", json.dumps(value).encode())
        except orthanc.OrthancException as error:
            orthanc.LogWarning(f"MedSigLIP: the state of study {study[:8]} cannot be shown: {error}")


def delivery_problem(deliveries, otherwise):
    """Why a report that is done is not in Orthanc (`otherwise` while it is on its way), and whether it will never come."""
    states = {one["state"] for one in deliveries}
    if not deliveries:
        return "the report is made, but the pipeline has no destination; docs/orthanc.md names Orthanc as one", True
    if states == {"delivered"}:
        return "the report was delivered, but Orthanc does not hold it; Process now makes another", True
    if "pending" not in states:
        why = next(one["message"] for one in deliveries if one["state"] != "delivered")
        return f"the report was refused and set aside: {why}; `dicom-pipeline retry` sends it again", False
    return otherwise, False


def where(error):
    """An unexpected error by its type and place: its text may quote a patient."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"unexpected {type(error).__name__} in {frame.name}, line {frame.lineno}"


# --- reports ----------------------------------------------------------------------------------------------------------


class Report:
    """A Structured Report of dicom_pipeline, read from Orthanc. tags: simplified, as Orthanc's JSON has them."""

    def __init__(self, instance):
        tags = get(f"/instances/{instance}/simplified-tags")
        if tags is None:
            raise AnswerError(404, "the report is gone")
        self.tags = tags
        self.parameters = {}
        self.scores = []
        for item in walk(tags):
            if item.get("ValueType") == "NUM":
                self.scores.append(score_of(item))
            elif item.get("ValueType") == "TEXT" and concept(item)[0] == "111002":
                # Orthanc gives no value of more than 256 characters, as of a list of versions
                name, _, value = (item["TextValue"] or "").partition("=")
                self.parameters[name] = value

    def series_scores(self):
        """The scores of whole series, highest first; those of single frames aside."""
        return sorted((score for score in self.scores if score["derivation"]), key=lambda score: -score["value"])


def walk(item):
    """All content items below one, depth first (PS3.3 C.17.3)."""
    for child in item.get("ContentSequence") or ():
        yield child
        yield from walk(child)


def concept(item, sequence="ConceptNameCodeSequence"):
    """Code value and meaning of a content item's name or value."""
    codes = item.get(sequence) or [{}]
    return codes[0].get("CodeValue", ""), codes[0].get("CodeMeaning", "")


def score_of(item):
    """A NUM item as label, value, kind, derivation (empty for a score of one frame), image and frame."""
    score = {
        "label": concept(item)[1].removeprefix("Score for "),
        "kind": "",
        "derivation": "",
        "image": "",
        "frame": 1,
    }
    score["value"] = float(item["MeasuredValueSequence"][0]["NumericValue"])
    for child in item.get("ContentSequence") or ():
        if child["ValueType"] == "IMAGE":
            reference = child["ReferencedSOPSequence"][0]
            score["image"] = reference["ReferencedSOPInstanceUID"]
            score["frame"] = int(reference.get("ReferencedFrameNumber") or 1)
        elif concept(child)[0] == "370129005":
            score["kind"] = concept(child, "ConceptCodeSequence")[1]
        elif concept(child)[0] == "121401":
            score["derivation"] = concept(child, "ConceptCodeSequence")[1]
    return score


def labelled(content, report):
    """Series scores of a report, each with the series (Orthanc id and description) of its highest frame."""
    names = {}
    for series in content.series:
        tags = series["MainDicomTags"]
        names[series["ID"]] = f"{tags.get('Modality', '')} {tags.get('SeriesDescription', '')}".strip()
    scores, found = [], {}
    for score in report.series_scores():
        image = score["image"]
        if image not in found:
            found[image] = series_of(image)
        series = found[image]
        scores.append({**score, "series": series, "series_description": names.get(series, "series not in Orthanc")})
    return scores


# --- pages for a person -----------------------------------------------------------------------------------------------

HTML = "text/html; charset=utf-8"
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>MedSigLIP</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #1c232b; background: #f5f7f9; margin: 0; }
main { max-width: 980px; margin: 0 auto; padding: 24px; }
h1, h2 { overflow-wrap: anywhere; } h1 { font-size: 22px; } h2 { font-size: 16px; margin: 0 0 8px; }
section { background: #fff; border: 1px solid #dfe4e9; border-radius: 8px; padding: 18px; margin: 16px 0; }
.notice { background: #fff6e3; border: 1px solid #eed9ab; color: #7a4b00; padding: 10px 14px; border-radius: 6px; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; padding: 4px 12px 4px 0; border-bottom: 1px solid #dfe4e9; vertical-align: top; }
td { overflow-wrap: anywhere; } th { color: #66717d; font-weight: 500; }
td.n { width: 5em; font-variant-numeric: tabular-nums; } td.l { min-width: 11em; }
.bar { background: #f0f3f6; height: 12px; border-radius: 6px; overflow: hidden; width: 200px; margin-top: 5px; }
.bar i { display: block; height: 100%; background: #2f6f9f; }
form { display: flex; gap: 8px; } input { flex: 1; } input, button, select { font: inherit; padding: 6px 10px; }
img.thumb { width: 96px; border-radius: 4px; display: block; }
a { color: #2f6f9f; } img { max-width: 100%; } .faint { color: #66717d; font-size: 13px; overflow-wrap: anywhere; }
ul { margin: 0; padding-left: 20px; overflow-wrap: anywhere; } summary { cursor: pointer; }
</style><main>"""


def page_of(content, entry, report, reports):
    """The report as a page for a person: scores, pictures, provenance, then every content item. reports: all of the study."""
    text = html.escape
    by_series = {}
    for score in labelled(content, report):
        by_series.setdefault(score["series_description"], []).append(score)
    parts = [PAGE, f"<h1>MedSigLIP scores, revision {entry['revision']}</h1><div class='notice'><b>{NOTICE}</b>"]
    parts.append(f" {text(report.parameters.get('notice', ''))}</div>")
    others = [
        f"<a href='report?format=html&amp;revision={one['revision']}'>{one['revision']}</a>"
        for one in reports
        if one["copied"] == entry["copied"] and one["revision"] != entry["revision"]
    ]
    if others:
        parts.append(f"<p class='faint'>Other revisions: {', '.join(others)}</p>")
    for name, scores in by_series.items():
        parts.append(
            f"<section><h2>{text(name)}</h2><table><tr><th>Label</th><th>Score</th><th></th><th>Kind</th></tr>"
        )
        for score in scores:
            width = max(0.0, min(1.0, score["value"])) * 100
            parts.append(
                f"<tr><td class='l'>{text(score['label'])}</td><td class='n'>{score['value']:.3g}</td><td><div class='bar'><i "
                f"style='width:{width:.1f}%'></i></div></td><td>{text(score['kind'])}; {text(score['derivation'])}</td></tr>"
            )
        parts.append("</table></section>")
    parts.append(
        "<section><h2>What the model saw</h2><img src='contact-sheet' alt='Contact sheet of the inputs' "
        "onerror=\"this.replaceWith('No contact sheet: the pipeline cannot be reached or has cleaned up.')\"></section>"
    )
    rows = "".join(f"<tr><td>{text(k)}</td><td>{text(v)}</td></tr>" for k, v in sorted(report.parameters.items()))
    parts.append(
        f"<section><details><summary>How the scores were made</summary><table>{rows}</table></details></section>"
    )
    tree = "".join(item_html(child) for child in report.tags.get("ContentSequence") or ())
    parts.append(f"<section><details><summary>The whole report</summary><ul>{tree}</ul></details>")
    file = f"../../../instances/{entry['instance']}/file"
    parts.append(
        f"<p class='faint'>{text(entry['sop_instance_uid'])} <a href='{file}'>DICOM file</a></p></section></main></html>"
    )
    return "".join(parts)


def similar_page(content, found):
    """The studies most like one as a page for a person."""
    title = html.escape(f"Studies like {title_of(content.tags) or 'this one'}")
    rows = [
        f"<tr><td class='n'>{one['similarity']:.3f}</td><td>{study_link(one)}</td>"
        f"<td>{html.escape(' '.join(one['modalities'] + one['body_parts']))}</td></tr>"
        for one in found["similar"]
    ]
    head = "<tr><th>Similarity</th><th>Study</th><th></th></tr>"
    table = f"<table>{head}{''.join(rows)}</table>" if rows else "Nothing similar was found."
    notice = html.escape(found["notice"])
    return f"{PAGE}<h1>{title}</h1><div class='notice'>{notice}</div><section>{table}</section></main></html>"


def search_page(values, found):
    """A form to search by words and, where it was sent, the frames found, as a page for a person."""
    text = html.escape(values.get("text", ""), quote=True)
    options = "".join(
        f"<option value='{level}'{' selected' if values.get('level') == level else ''}>{words}</option>"
        for level, words in LEVELS.items()
    )
    parts = [
        f"{PAGE}<h1>Search by words</h1><section><form><input type='hidden' name='format' value='html'>"
        f"<input name='text' value='{text}' placeholder='such as: a chest radiograph with an effusion' autofocus>"
        f"<select name='level'>{options}</select><button>Search</button></form></section>"
    ]
    if found is not None:
        parts.append(f"<div class='notice'>{html.escape(found['notice'])}</div><section><table>")
        parts += [found_row(one) for one in found["found"]]
        said = "Neighbouring frames of one series are thinned out, so the order is not by similarity alone."
        parts.append(f"</table><p class='faint'>{said if found['found'] else 'Nothing was found.'}</p></section>")
    return "".join([*parts, "</main></html>"])


def found_row(one):
    """A frame that was found as a row of a table, with its picture where Orthanc holds it."""
    picture = ""
    if one["instance"]:
        page = f"../app/explorer.html#instance?uuid={one['instance']}"
        preview = f"../instances/{one['instance']}/frames/{int(one['frame']) - 1}/preview"
        picture = f"<a href='{page}'><img class='thumb' src='{preview}' alt=''></a>"
    kind = " ".join(filter(None, (one["modality"], one["body_part"], one["view"])))
    return (
        f"<tr><td class='n'>{one['similarity']:.3f}</td><td style='width: 110px'>{picture}</td>"
        f"<td>{study_link(one, '../')}<div class='faint'>{html.escape(kind)}</div></td></tr>"
    )


def study_link(one, root="../../../"):
    """A study that was found, as a link to its page where Orthanc holds it. root: of Orthanc, from the page."""
    text = html.escape(one["description"] or "study without description")
    if not one["study"]:
        return f"{text} (not in this Orthanc)"
    return f"<a href='{root}app/explorer.html#study?uuid={one['study']}'>{text}</a>"


def item_html(item):
    """A content item and all below it as list items."""
    kind, name = item.get("ValueType", ""), concept(item)[1]
    if kind == "NUM":
        value = item["MeasuredValueSequence"][0]["NumericValue"]
    elif kind == "CODE":
        value = concept(item, "ConceptCodeSequence")[1]
    elif kind == "IMAGE":
        value = (item.get("ReferencedSOPSequence") or [{}])[0].get("ReferencedSOPInstanceUID", "")
    else:
        value = item.get("TextValue") or item.get("UID") or ""
    line = html.escape(": ".join(part for part in (name or kind.capitalize(), str(value)) if part))
    below = "".join(item_html(child) for child in item.get("ContentSequence") or ())
    if kind == "CONTAINER":
        return f"<li><details><summary>{line}</summary><ul>{below}</ul></details></li>"
    return f"<li>{line}<ul>{below}</ul></li>" if below else f"<li>{line}</li>"


# --- routes -----------------------------------------------------------------------------------------------------------


class Routes:
    """The REST routes below /medsiglip."""

    def __init__(self, worker, problem):
        self.worker = worker
        self.problem = problem

    def serve(self, output, uri, **request):
        """Orthanc's callback: an answer, or a JSON error with its HTTP status."""
        try:
            status, body, kind = self.answer(uri, request)
        except AnswerError as error:
            status, body, kind = error.status, {"error": str(error)}, ""
        except PipelineError as error:
            status = 502 if error.status in (0, 401, 403) else error.status
            body, kind = {"error": str(error)}, ""
        except Exception as error:  # noqa: BLE001 - the edge of a request: Orthanc must get an answer
            orthanc.LogError(f"MedSigLIP: {where(error)}")
            status, body, kind = 500, {"error": f"unexpected {type(error).__name__}; Orthanc's log says more"}, ""
        content = body if kind else json.dumps(body, indent=1)
        if status == 405:
            output.SendMethodNotAllowed(body["error"])  # Orthanc gives this status no body
        elif status == 200:
            output.AnswerBuffer(content, kind or "application/json")
        else:
            output.SetHttpHeader("Content-Type", "application/json")
            try:
                output.SendHttpStatus(status, content, len(content))
            except TypeError:  # newer plugins take the body alone
                output.SendHttpStatus(status, content.encode())

    def answer(self, uri, request):
        """HTTP status, body and content type (empty: JSON) of a request."""
        if self.worker is None:
            raise AnswerError(500, f"the MedSigLIP block of Orthanc's configuration is wrong: {self.problem}")
        parts = uri.strip("/").split("/")[1:]
        values = {name: decoded(value) for name, value in request.get("get", {}).items()}
        method = request["method"]
        if values.get("format", "json") not in ("json", "html"):
            raise AnswerError(400, "expected format=json or format=html")
        as_page = values.get("format") == "html"
        if parts == ["search"]:
            require(method, "GET")
            if as_page:
                return 200, search_page(values, self._search(values) if values.get("text") else None), HTML
            if not values.get("text"):
                raise AnswerError(400, "expected /medsiglip/search?text=WORDS")
            return 200, self._search(values), ""
        if len(parts) != 3 or parts[0] not in ("studies", "series") or parts[2] not in ROUTES:
            raise AnswerError(
                404, f"there are /medsiglip/studies/ID/{{{','.join(ROUTES)}}} and /medsiglip/search?text="
            )
        level, identifier, name = parts
        require(method, "POST" if name == "process" else "GET")
        series = identifier if level == "series" else ""
        if series:
            identifier = (get(f"/series/{series}/study") or {}).get("ID", "")
            if not identifier:
                raise AnswerError(404, "Orthanc holds no such series")
        content = Content(identifier)
        return getattr(self, "_" + name.replace("-", "_"))(content, series, values)

    def _status(self, content, series, _):
        """State, reports and top labels: from the queue and Orthanc's own content, so that it answers at any time."""
        row = self.worker.queue.row(content.study) or {"state": "not-sent", "message": "", "expected": 0, "wanted": 0}
        reports = content.reports()
        labels = labelled(content, Report(reports[0]["instance"])) if reports else []
        here = [label for label in labels if not series or label["series"] == series]
        return (
            200,
            {
                "study": content.study,
                "study_instance_uid": content.uid,
                "state": "queued" if row["wanted"] else row["state"],
                "message": row["message"],
                "instances": row["expected"],
                "reports": reports,
                "labels": here,
                "notice": NOTICE,
            },
            "",
        )

    def _process(self, content, _, __):
        if not content.fitting(self.worker.options):
            raise AnswerError(409, "no series of this study fits the rules")
        self.worker.queue.want(content.study)
        self.worker.wake()
        return 202, {"study": content.study, "state": "queued"}, ""

    def _explain(self, content, series, _):
        plan = ask_json(self.worker.options, "GET", f"/studies/{content.uid}/explain")
        if series:
            uids = {one["MainDicomTags"]["SeriesInstanceUID"] for one in content.series if one["ID"] == series}
            plan["series"] = [one for one in plan["series"] if one["series_instance_uid"] in uids]
        return 200, plan, ""

    def _report(self, content, _, values):
        reports = content.reports()
        if not reports:
            raise AnswerError(404, "no report on this study has come back yet; /status says how far it is")
        wanted = values.get("revision")
        if wanted is not None and not (wanted.isascii() and wanted.isdecimal()):
            raise AnswerError(400, "expected revision=N, a whole number")
        entry = next((one for one in reports if wanted in (None, str(one["revision"]))), None)
        if entry is None:
            raise AnswerError(404, "there is no report of this revision")
        report = Report(entry["instance"])
        if values.get("format") == "html":
            return 200, page_of(content, entry, report, reports), HTML
        before = report.tags.get("PredecessorDocumentsSequence")
        predecessor = ""
        if before:
            series = before[0]["ReferencedSeriesSequence"][0]
            predecessor = series["ReferencedSOPSequence"][0]["ReferencedSOPInstanceUID"]
        return (
            200,
            {
                **entry,
                "predecessor": predecessor,
                "scores": report.scores,
                "parameters": report.parameters,
                "notice": NOTICE,
            },
            "",
        )

    def _contact_sheet(self, content, _, __):
        body, kind = ask(self.worker.options, "GET", f"/studies/{content.uid}/contact-sheet")
        return 200, body, kind

    def _similar(self, content, _, values):
        asked = urllib.parse.urlencode({"top": values.get("top", "10")})
        path = f"/studies/{content.uid}/similar?{asked}"
        found = ask_json(self.worker.options, "GET", path, seconds=SEARCH_SECONDS)
        found["similar"] = [{**one, **in_orthanc(one["study_instance_uid"])} for one in found["similar"]]
        if values.get("format") == "html":
            return 200, similar_page(content, found), HTML
        return 200, found, ""

    def _search(self, values):
        asked = urllib.parse.urlencode({key: values[key] for key in SEARCH_VALUES if key in values})
        found = ask_json(self.worker.options, "GET", f"/search?{asked}", seconds=SEARCH_SECONDS)
        for one in found["found"]:
            one.update(in_orthanc(one["study_instance_uid"]))
            one["instance"] = orthanc_id(one["sop_instance_uid"], "Instance")
        return found


def decoded(value):
    """A value of the query. Orthanc 1.10.1 hands it over as it stands in the URL; what holds a space was decoded already."""
    return value if " " in value else urllib.parse.unquote_plus(value)


def require(method, wanted):
    """Raise AnswerError 405 for another HTTP method than a route's."""
    if method != wanted:
        raise AnswerError(405, wanted)


# --- Orthanc Explorer -------------------------------------------------------------------------------------------------

EXPLORER = r"""
(function () {
  var COLOURS = { reported: '#2f7d4f', failed: '#b3372f' };
  var timer = null;

  function element(name, text, style) {
    var made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (style) made.style.cssText = style;
    return made;
  }

  function link(text, href) {
    var made = element('a', text, 'color: #2f6f9f; margin-right: 18px;');
    made.href = href;
    made.target = '_blank';
    made.setAttribute('rel', 'external noopener');
    return made;
  }

  function button(text, run) {
    var made = element('button', text, 'padding: 6px 14px; margin: 10px 8px 0 0; border: 1px solid #9aa7b3; ' +
      'border-radius: 6px; background: #fff; color: #1c232b; font: inherit; cursor: pointer;');
    made.setAttribute('data-role', 'none');
    made.onclick = run;
    return made;
  }

  function bars(labels) {
    var table = element('table', undefined, 'border-collapse: collapse; margin-top: 8px;');
    labels.slice(0, 5).forEach(function (label) {
      var row = table.insertRow();
      row.appendChild(element('td', label.label, 'padding: 2px 16px 2px 0; min-width: 9em;'));
      row.appendChild(element('td', label.value.toFixed(3), 'padding-right: 12px; font-variant-numeric: tabular-nums;'));
      var track = element('div', undefined, 'width: 160px; height: 10px; background: #e7ebef; border-radius: 5px;');
      var width = Math.min(100, label.value * 100) + '%;';
      track.appendChild(element('div', undefined, 'height: 10px; background: #2f6f9f; border-radius: 5px; width: ' + width));
      row.appendChild(element('td')).appendChild(track);
      row.appendChild(element('td', label.series_description, 'padding-left: 16px; color: #66717d;'));
    });
    return table;
  }

  function show(box, level, id, answer) {
    var base = '../medsiglip/' + level + '/' + id + '/';
    box.innerHTML = '';
    var columns = box.appendChild(element('div', undefined, 'display: flex; gap: 18px;'));
    var left = columns.appendChild(element('div', undefined, 'flex: 1; min-width: 0; overflow-wrap: anywhere;'));
    if (answer.reports.length) {
      var sheet = element('img', undefined, 'max-height: 210px; max-width: 100%; border-radius: 6px;');
      sheet.src = base + 'contact-sheet';
      sheet.alt = 'Contact sheet';
      var frame = link('', base + 'contact-sheet');
      frame.style.cssText = 'flex: none; max-width: 40%;';
      frame.appendChild(sheet);
      sheet.onerror = function () { frame.remove(); };
      columns.appendChild(frame);
    }
    var head = left.appendChild(element('div', undefined, 'margin-bottom: 2px;'));
    head.appendChild(element('b', 'MedSigLIP '));
    head.appendChild(element('span', answer.state, 'margin-left: 8px; padding: 1px 10px; border-radius: 10px; ' +
      'color: #fff; background: ' + (COLOURS[answer.state] || '#66717d')));
    if (answer.instances) {
      var count = answer.instances + (answer.instances === 1 ? ' instance' : ' instances');
      head.appendChild(element('span', count, 'margin-left: 12px; color: #66717d;'));
    }
    if (answer.message) left.appendChild(element('div', answer.message, 'color: #7a4b00;'));
    if (answer.labels.length) {
      left.appendChild(bars(answer.labels));
      left.appendChild(element('div', answer.notice, 'color: #7a4b00; font-size: 13px; margin: 6px 0;'));
    }
    if (answer.reports.length) {
      left.appendChild(link('Report', base + 'report?format=html'));
      left.appendChild(link('Contact sheet', base + 'contact-sheet'));
      left.appendChild(link('Report in Orthanc', '#instance?uuid=' + answer.reports[0].instance)).target = '';
      left.appendChild(link('Search by words', '../medsiglip/search?format=html'));
    }
    var said = element('div', '', 'color: #66717d; font-size: 13px; margin-top: 6px; white-space: pre-line; ' +
      'overflow-wrap: anywhere;');
    var row = left.appendChild(element('div'));
    row.appendChild(button('Process now', function () {
      $.ajax({
        url: base + 'process', type: 'POST', data: '{}',
        success: function () { load(box, level, id); }, error: failed(said)
      });
    }));
    if (answer.reports.length) {
      row.appendChild(button('Find similar', function () {
        $.ajax({ url: base + 'similar', dataType: 'json', cache: false, error: failed(said), success: function (found) {
          said.textContent = '';
          if (found.similar.length) said.appendChild(element('div', found.notice, 'color: #7a4b00;'));
          var table = said.appendChild(element('table', undefined, 'border-collapse: collapse; margin-top: 4px;'));
          found.similar.forEach(function (one) {
            var row = table.insertRow();
            var text = one.description || 'study without description';
            row.appendChild(element('td', one.similarity.toFixed(3), 'padding-right: 16px; text-align: right; ' +
              'font-variant-numeric: tabular-nums;'));
            var cell = row.appendChild(element('td'));
            if (one.study) cell.appendChild(link(text, '#study?uuid=' + one.study)).target = '';
            else cell.textContent = text + ' (not in this Orthanc)';
            row.appendChild(element('td', one.modalities.concat(one.body_parts).join(' ')));
          });
          if (!found.similar.length) said.textContent = 'Nothing similar was found.';
        } });
      }));
    }
    box.appendChild(said);
    if (['queued', 'sending', 'sent', 'processing', 'reporting'].indexOf(answer.state) >= 0) {
      timer = setTimeout(function () { load(box, level, id); }, 3000);
    }
  }

  function failed(said) {
    return function (request) {
      var message = 'HTTP ' + request.status;
      try { message = JSON.parse(request.responseText).error; } catch (error) { /* not ours */ }
      said.textContent = message;
    };
  }

  function load(box, level, id) {
    clearTimeout(timer);
    $.ajax({
      url: '../medsiglip/' + level + '/' + id + '/status', dataType: 'json', cache: false,
      success: function (answer) { if (box.parentNode) show(box, level, id, answer); },
      error: failed(box)
    });
  }

  function section(level, page) {
    $(page).live('pagebeforeshow', function () {
      $('.medsiglip').remove();
      clearTimeout(timer);
      if (!$.mobile.pageData || !$.mobile.pageData.uuid) return;
      var box = element('div', 'MedSigLIP: loading ...', 'background: #fff; color: #1c232b; text-shadow: none; ' +
        'border: 1px solid #c9d1d9; border-radius: 8px; padding: 14px 18px; margin: 0 0 18px; ' +
        'font-size: 15px; line-height: 1.5;');
      box.className = 'medsiglip';
      $(page + ' [data-role=content]').prepend(box);
      load(box, level, $.mobile.pageData.uuid);
    });
  }

  section('studies', '#study');
  section('series', '#series');
})();
"""


# --- start ------------------------------------------------------------------------------------------------------------


def summary(options):
    """A sentence for the log of what is sent where: it shows an owner a block or a rule that was not read."""
    what = "a series" if options["Trigger"] == "StableSeries" else "a study"
    rules = f"rules: {len(options['Rules'])}" if options["Rules"] else "no rules, so all of it"
    to = f"C-STORE to {options['Modality']}" if options["Send"] == "DICOM" else f"HTTP to {options['Pipeline']}"
    when = "when it becomes stable" if options["Automatic"] else "only where a person asks"
    return f"{what} is sent by {to} {when}, {rules}"


def start():
    """Register with Orthanc. A wrong configuration is told in the log and by every route; Orthanc itself runs on."""
    worker, problem = None, ""
    try:
        worker = Worker(read_configuration())
    except (ConfigurationError, sqlite3.Error, OSError, ValueError, TypeError, AttributeError) as error:
        problem = str(error)
        orthanc.LogError(f"MedSigLIP does nothing: the MedSigLIP block of Orthanc's configuration is wrong: {problem}")
    orthanc.RegisterRestCallback("/medsiglip/.*", Routes(worker, problem).serve)
    if worker is None:
        return
    if worker.options["ExplorerSection"]:
        orthanc.ExtendOrthancExplorer(EXPLORER)

    def on_change(change, level, resource):
        if change == orthanc.ChangeType.ORTHANC_STARTED:
            worker.start()
        elif change == orthanc.ChangeType.ORTHANC_STOPPED:
            worker.stop()
        elif change == orthanc.ChangeType.DELETED and level == orthanc.ResourceType.STUDY:
            worker.deleted(resource)
        elif change in (orthanc.ChangeType.STABLE_STUDY, orthanc.ChangeType.STABLE_SERIES):
            worker.wake()

    orthanc.RegisterOnChangeCallback(on_change)


start()
