"""A DICOMweb server: STOW-RS to store, WADO-RS to read back (PS3.18 sections 10.5 and 10.4), with dicomweb-client."""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any
from xml.etree.ElementTree import ParseError

import requests
from pydicom import Dataset, dcmread
from requests.auth import HTTPBasicAuth

from dicom_pipeline.config import DicomWebPeer
from dicom_pipeline.dicom.attributes import UNPARSABLE, integer_of, items_of, texts_of
from dicom_pipeline.peers.comparison import NO_OBJECT_READ_BACK, difference
from dicom_pipeline.peers.peer import Attempt, DeliveryOutcome, Trial
from dicom_pipeline.peers.peer_messages import error_text
from dicom_pipeline.peers.statuses import SOP_CLASS_NOT_SUPPORTED, attempt_of, with_class
from dicom_pipeline.reporting import as_class, classes_for

NOT_UNDERSTOOD = Attempt(DeliveryOutcome.RETRY, message="the server's answer to storing cannot be understood")
MISSING = "the package dicomweb-client is missing: pip install 'dicom-pipeline[dicomweb]'"

NO_STORING = {
    401: "the server refuses the user name, password or token",
    403: "the server forbids storing",
    404: "there is no STOW-RS at this URL",
    405: "there is no STOW-RS at this URL",
    501: "the server has no STOW-RS",
}

UNTRUSTED = (
    "the server's TLS certificate is not trusted (tls_ca names the authority that signed it), or ours is refused"
)


@dataclass(frozen=True, slots=True)
class DicomWebServer:
    """A server of the settings. password: of its user name, for basic authentication; token: bearer."""

    peer: DicomWebPeer
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Its name in status and logs."""
        return self.peer.name

    def send(self, report: bytes) -> Attempt:
        """STOW-RS, then (verify) WADO-RS and a comparison of the data sets."""
        try:
            return self._as_it_takes(dcmread(io.BytesIO(report)))
        except ImportError:
            return Attempt(DeliveryOutcome.SET_ASIDE, message=MISSING)
        except requests.HTTPError as error:
            return _http_attempt(error)
        except requests.exceptions.SSLError:
            return Attempt(DeliveryOutcome.RETRY, message=UNTRUSTED)
        except (requests.RequestException, OSError) as error:
            return Attempt(DeliveryOutcome.RETRY, message=f"the server cannot be reached: {_why(error)}")

    def _as_it_takes(self, dataset: Dataset) -> Attempt:
        """A report as the richest SR class that the server stores: STOW-RS has nothing to ask it beforehand."""
        simpler = classes_for(str(dataset.SOPClassUID))[1:]
        attempt = self._sent(dataset)
        for sop_class in simpler:
            if attempt.status != f"0x{SOP_CLASS_NOT_SUPPORTED:04X}":
                break
            sent = as_class(dataset, sop_class)
            attempt = with_class(self._sent(sent), sent)
        return attempt

    def _sent(self, dataset: Dataset) -> Attempt:
        client = self._client()
        try:
            stored = stored_attempt(client.store_instances([dataset]))
        except requests.HTTPError as error:
            stored = _http_attempt(error)
        except requests.exceptions.InvalidJSONError:
            stored = NOT_UNDERSTOOD
        except requests.RequestException:
            raise
        except (*UNPARSABLE, ParseError):
            stored = NOT_UNDERSTOOD
        if self.peer.deliver.verify == "none":
            return stored
        if stored.outcome is DeliveryOutcome.DELIVERED:
            return self._verified(client, dataset, stored)
        return self._there_already(client, dataset, stored)

    def _verified(self, client: Any, dataset: Dataset, stored: Attempt) -> Attempt:
        """What reading back says of an object that was answered with success or a warning."""
        try:
            differs = difference(dataset, _read_back(client, dataset))
        except requests.HTTPError as error:
            return _unread(stored, error.response.status_code if error.response is not None else 0)
        except UNPARSABLE as error:
            if isinstance(error, OSError):
                raise  # the connection, not what came over it
            return replace(stored, outcome=DeliveryOutcome.RETRY, message=NO_OBJECT_READ_BACK)
        if differs and not stored.message:
            return Attempt(DeliveryOutcome.SET_ASIDE, stored.status, differs)
        # a server that said that it coerces may hold other values: its warning is kept, and nothing is called verified
        return replace(stored, verified=not differs)

    def _there_already(self, client: Any, dataset: Dataset, refused: Attempt) -> Attempt:
        """An archive may refuse what an earlier attempt brought and whose answer was lost: what lies there decides."""
        if refused is not NOT_UNDERSTOOD and refused.status != "409" and not refused.status.startswith("0x"):
            return refused  # it speaks of the server, not of the object
        try:
            differs = difference(dataset, _read_back(client, dataset))
        except UNPARSABLE:
            return refused
        if differs:
            return Attempt(DeliveryOutcome.SET_ASIDE, refused.status, differs)
        words = f"already stored with identical content (server answered: {refused.message})"
        return Attempt(DeliveryOutcome.DELIVERED, refused.status, words, verified=True)

    def echo(self) -> str:
        """A search for one study: "" where it is answered, else what is wrong."""
        try:
            self._client().search_for_studies(limit=1)
        except ImportError:
            return MISSING
        except requests.HTTPError as error:
            return _http_attempt(error).message
        except requests.exceptions.SSLError:
            return UNTRUSTED
        except (requests.RequestException, OSError) as error:
            return f"it cannot be reached: {_why(error)}"
        return ""

    def trial(self) -> Trial:
        """STOW-RS without any instance, which stores nothing; by its answer it is there and lets us store, or not."""
        try:
            answer = self._session().post(
                f"{self.peer.url.rstrip('/')}/studies",
                data=b"--end--\r\n",
                headers={"Content-Type": 'multipart/related; type="application/dicom"; boundary=end'},
                timeout=self.peer.timeout_seconds,
            )
        except requests.exceptions.SSLError:
            return Trial(False, UNTRUSTED)
        except (requests.RequestException, OSError) as error:
            return Trial(False, f"it cannot be reached: {_why(error)}")
        status = answer.status_code
        if status in NO_STORING:
            return Trial(False, f"STOW-RS without an instance was answered {status}: {NO_STORING[status]}")
        if status >= 500:
            return Trial(False, f"STOW-RS without an instance was answered {status}: the server is busy or broken")
        if find_spec("dicomweb_client") is None:
            return Trial(False, MISSING)
        return Trial(True, f"STOW-RS is there (without an instance it was answered {status}) and lets us store")

    def _client(self) -> Any:
        from dicomweb_client.api import DICOMwebClient

        client = DICOMwebClient(self.peer.url, session=self._session(), timeout=self.peer.timeout_seconds)
        client.set_http_retry_params(retry=False)  # the outbox tries again, and remembers it
        return client

    def _session(self) -> requests.Session:
        session = _Session()
        session.headers["Accept"] = (
            "application/dicom+json"  # of answers to storing; a refusal may come as XML otherwise
        )
        session.hooks["response"].append(_without_parameters)
        peer = self.peer
        if peer.username is not None:
            session.auth = HTTPBasicAuth(peer.username.encode(), (self.password or "").encode())  # RFC 7617: UTF-8
        if self.token is not None:
            session.headers["Authorization"] = f"Bearer {self.token}"
        if peer.tls_ca is not None:
            session.verify = str(peer.tls_ca)
        if peer.tls_certificate is not None and peer.tls_key is not None:
            session.cert = (str(peer.tls_certificate), str(peer.tls_key))
        return session


class _Session(requests.Session):
    """Trusts what `verify` names, also where REQUESTS_CA_BUNDLE is set, which by default wins over a session's choice."""

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """As the library's, with the session's `verify` in place of none."""
        chosen = self.verify if verify is None else verify
        return super().merge_environment_settings(url, proxies, stream, chosen, cert)


def _without_parameters(response: Any, **_: Any) -> None:
    """`application/dicom+json; charset=utf-8` is JSON too; the client knows media types without parameters alone."""
    media, _, parameters = response.headers.get("Content-Type", "").partition(";")
    if parameters and media.strip().endswith(("json", "xml")):
        response.headers["Content-Type"] = media.strip()


def _read_back(client: Any, dataset: Dataset) -> Dataset:
    back: Dataset = client.retrieve_instance(
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID
    )
    return back


def stored_attempt(answer: Dataset) -> Attempt:
    """What a Store Instances Response says became of one object (PS3.18 table I.2-1): its failure, its warning, or success."""
    for item in (*items_of(answer, "FailedSOPSequence"), *items_of(answer, "OtherFailuresSequence")):
        reason = integer_of(item, "FailureReason")
        failed = attempt_of(0xC000 if reason is None else reason, " ".join(texts_of(item, "ErrorComment")))
        return (
            failed
            if failed.outcome is not DeliveryOutcome.DELIVERED
            else replace(failed, outcome=DeliveryOutcome.SET_ASIDE)
        )
    for item in items_of(answer, "ReferencedSOPSequence"):
        if warning := integer_of(item, "WarningReason"):
            return attempt_of(warning)
    return Attempt(DeliveryOutcome.DELIVERED, "200")


def _unread(stored: Attempt, status: int) -> Attempt:
    """What an object that was stored but cannot be read back means, by the HTTP status of the reading."""
    if status in (401, 403, 405, 406, 501):
        return replace(stored, message=f"{stored.message} not verified: reading back was answered {status}".strip())
    words = 'stored, but not found again; verify = "none" if the server has no WADO-RS'
    return Attempt(DeliveryOutcome.RETRY, str(status), words if status == 404 else "stored, but reading back failed")


def _why(error: Exception) -> str:
    if isinstance(error, requests.exceptions.Timeout):
        return "it does not answer in time"
    if isinstance(error, requests.exceptions.ConnectionError):
        return "nothing listens there, its name is not known, or it hangs up"
    return type(error).__name__


def _http_attempt(error: Any) -> Attempt:
    if error.response is None:
        return Attempt(DeliveryOutcome.RETRY, "0", "the server is busy or broken")
    status = error.response.status_code
    if status == 409:  # the body says why
        try:
            answer = Dataset.from_json(error.response.json())
        except (ValueError, TypeError, LookupError, AttributeError):
            answer = Dataset()
        if items_of(answer, "FailedSOPSequence") or items_of(answer, "OtherFailuresSequence"):
            return stored_attempt(answer)
    words = {401: "the server refuses the user name, password or token", 403: "the server forbids storing"}
    again = status in (408, 429) or status >= 500
    said = words.get(status, "the server is busy or broken" if again else "the server refuses the object")
    theirs = error_text(error.response)
    return Attempt(
        DeliveryOutcome.RETRY if again else DeliveryOutcome.SET_ASIDE,
        str(status),
        f"{said}: {theirs}" if theirs else said,
    )
