"""An Orthanc server over its REST API, read back and compared as a data set.

Orthanc answers success even where it discards a changed object under a known UID, so only reading back proves arrival.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orthanc_api_client import OrthancApiClient
from orthanc_api_client.exceptions import (
    ConnectionError as OrthancConnectionError,
)
from orthanc_api_client.exceptions import HttpError, NotAuthorized, OrthancApiException, ResourceNotFound
from orthanc_api_client.exceptions import (
    TimeoutError as OrthancTimeout,
)
from pydicom import dcmread
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from requests.exceptions import SSLError
from urllib3.util import Retry

from dicom_pipeline.config import OrthancPeer
from dicom_pipeline.dicom.attributes import UNPARSABLE
from dicom_pipeline.peers.comparison import NO_OBJECT_READ_BACK, difference
from dicom_pipeline.peers.peer import Attempt, DeliveryOutcome, Trial
from dicom_pipeline.peers.peer_messages import error_text

TIMEOUT_SECONDS = 60.0
"""Silence after which an Orthanc is given up for now."""


FILTERED_OUT = "FilteredOut"
NO_ORTHANC = "it does not answer as an Orthanc"

FEW_RETRIES = Retry(total=2, read=0, other=0, backoff_factor=0.2)
"""Of a connection that does not come about; whoever asks tries again later, and remembers it."""


@dataclass(frozen=True, slots=True)
class OrthancServer:
    """An Orthanc of the settings. password: of its user name, for basic authentication."""

    peer: OrthancPeer
    password: str | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Its name in status and logs."""
        return self.peer.name

    def send(self, report: bytes) -> Attempt:
        """Upload, then (verify) read the file back and compare the data sets."""
        client = self.client()
        try:
            said = client.post("instances", data=report).json()
        except HttpError as error:
            return _refusal(error)
        except (OrthancApiException, OSError) as error:
            return Attempt(DeliveryOutcome.RETRY, message=_explain(error))
        if not isinstance(said, dict) or not isinstance(said.get("ID"), str):
            return Attempt(DeliveryOutcome.RETRY, "200", NO_ORTHANC)
        if said.get("Status") == FILTERED_OUT:  # with HTTP 200, and an ID of what is not there
            return Attempt(
                DeliveryOutcome.SET_ASIDE, FILTERED_OUT, "Orthanc's ReceivedInstanceFilter refuses the object"
            )
        if self.peer.deliver.verify == "none":
            return Attempt(DeliveryOutcome.DELIVERED, "200")
        return _read_back(client, said["ID"], report)

    def echo(self) -> str:
        """ "" where Orthanc answers, else what is wrong."""
        return orthanc_problem(self.client())

    def trial(self) -> Trial:
        """An upload of nothing, which Orthanc refuses as no DICOM file (400) where we may upload."""
        client = self.client()
        if problem := orthanc_problem(client):
            return Trial(False, problem)
        try:
            client.post("instances", data=b"")
        except HttpError as error:
            if error.http_status_code == 400 and not isinstance(error, NotAuthorized):
                return Trial(True, "it answers as an Orthanc, and lets us upload (POST /instances)")
            return Trial(False, f"POST /instances: {_explain(error)}")
        except (OrthancApiException, OSError) as error:
            return Trial(False, f"POST /instances: {_explain(error)}")
        return Trial(False, f"POST /instances: {NO_ORTHANC}: it took an empty file")

    def client(self) -> OrthancApiClient:
        """A client of its REST API."""
        return orthanc_client(self.peer.url, self.peer.username, self.password, self.peer.tls_ca)


def _refusal(error: HttpError) -> Attempt:
    """What an HTTP error means that answers an upload, or NotAuthorized a reading."""
    status = int(error.http_status_code or 0)
    if isinstance(error, NotAuthorized):
        return Attempt(DeliveryOutcome.SET_ASIDE, str(status), _explain(error))
    again = status in (408, 409, 429) or not 400 <= status < 500  # 409: the same object comes in another way just now
    words = "Orthanc is busy or broken" if again else "Orthanc refuses the object"
    said = error_text(error.request_response) if error.request_response is not None else ""
    return Attempt(
        DeliveryOutcome.RETRY if again else DeliveryOutcome.SET_ASIDE,
        str(status),
        f"{words}: {said}" if said else words,
    )


def _read_back(client: OrthancApiClient, identifier: str, report: bytes) -> Attempt:
    """What lies there under Orthanc's identifier, compared with what was sent."""
    try:
        back = client.instances.get_file(identifier)
    except ResourceNotFound:
        return Attempt(DeliveryOutcome.RETRY, "404", "stored, but not found again")
    except NotAuthorized as error:
        return _refusal(error)
    except (OrthancApiException, OSError) as error:
        return Attempt(DeliveryOutcome.RETRY, message=_explain(error))
    try:
        differs = difference(dcmread(io.BytesIO(report)), dcmread(io.BytesIO(back)))
    except UNPARSABLE:
        return Attempt(DeliveryOutcome.RETRY, "200", NO_OBJECT_READ_BACK)
    if differs:
        return Attempt(DeliveryOutcome.SET_ASIDE, "200", differs)
    return Attempt(DeliveryOutcome.DELIVERED, "200", verified=True)


class _Client(OrthancApiClient):  # type: ignore[misc] # the library has no types
    """Every request with a time-out and the authorities that we trust; no answer is an error, never None."""

    tls_ca: Path | None = None

    def get(self, endpoint: str, **kwargs: Any) -> Any:
        return self._answered(super().get(endpoint, **self._with_defaults(kwargs)), endpoint)

    def post(self, endpoint: str, **kwargs: Any) -> Any:
        return self._answered(super().post(endpoint, **self._with_defaults(kwargs)), endpoint)

    def _with_defaults(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        verify = {"verify": str(self.tls_ca)} if self.tls_ca else {}
        return {"timeout": TIMEOUT_SECONDS, **verify, **kwargs}

    @staticmethod
    def _answered(response: Any, endpoint: str) -> Any:
        if response is None:  # the library swallows what it has no exception for, such as an answer cut short
            raise OrthancConnectionError(url=endpoint)
        return response


def orthanc_client(
    url: str, username: str | None = None, password: str | None = None, tls_ca: Path | None = None
) -> OrthancApiClient:
    """A client of an Orthanc's REST API. tls_ca: PEM file of the authorities that sign its certificate; unset: the system's."""
    client = _Client(url.rstrip("/") + "/", user=username, pwd=password)
    client.tls_ca = tls_ca
    if username is not None:
        client._http_session.auth = HTTPBasicAuth(username.encode(), (password or "").encode())  # RFC 7617: UTF-8
    # the library's own ten retries would take minutes over a certificate that is not trusted
    client._http_session.mount(url.split("://", maxsplit=1)[0] + "://", HTTPAdapter(max_retries=FEW_RETRIES))
    return client


def orthanc_problem(client: OrthancApiClient) -> str:
    """ "" where an Orthanc answers, else what is wrong, as far as can be told from here."""
    try:
        client.get_system()
    except (OrthancApiException, OSError, ValueError) as error:
        return _explain(error)
    return ""


def _explain(error: Exception) -> str:
    if isinstance(error, NotAuthorized) and error.http_status_code == 401:
        return "it refuses the user name or password (RegisteredUsers in its configuration)"
    if isinstance(error, NotAuthorized):
        return "it forbids this: RemoteAccessAllowed is false there and this is another machine, or this user may not"
    if isinstance(error, OrthancTimeout):
        return f"it does not answer within {TIMEOUT_SECONDS:.0f} s"
    if isinstance(error.__context__, SSLError):
        return "its HTTPS certificate is not trusted, or it speaks no HTTPS; tls_ca names the authority that signed it"
    if isinstance(error, OrthancConnectionError):
        return "it cannot be reached: nothing listens there, or its URL must begin with https://"
    status = f"HTTP {error.http_status_code}" if isinstance(error, HttpError) else type(error).__name__
    return f"{NO_ORTHANC}: {status}"
