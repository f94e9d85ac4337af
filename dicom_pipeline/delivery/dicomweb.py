"""A DICOMweb server: STOW-RS to store, WADO-RS to read back (PS3.18 sections 10.5 and 10.4), with dicomweb-client."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread

from dicom_pipeline.delivery.destination import Attempt, Ending
from dicom_pipeline.delivery.statuses import attempt_of

MISSING = "the package dicomweb-client is missing: pip install 'dicom-pipeline[dicomweb]'"


@dataclass(frozen=True, slots=True)
class DicomWebServer:
    """A server at its base URL, such as https://pacs/dicom-web.

    username and password: basic authentication; token: bearer. tls_ca: PEM file of the authorities that we trust, the
    system's without. tls_certificate, tls_key: for mutual TLS. verify: read the object back and compare.
    """

    name: str
    url: str
    modalities: tuple[str, ...] = ()
    username: str | None = None
    password: str | None = None
    token: str | None = None
    tls_ca: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    timeout_seconds: float = 30.0
    verify: bool = True

    def send(self, report: bytes) -> Attempt:
        """STOW-RS, then (verify) WADO-RS and a comparison of the data sets."""
        import requests

        try:
            return self._sent(dcmread(io.BytesIO(report)))
        except ImportError:
            return Attempt(Ending.SET_ASIDE, message=MISSING)
        except requests.HTTPError as error:
            return _http_attempt(error)
        except requests.exceptions.SSLError:
            return Attempt(Ending.SET_ASIDE, message="the server's TLS certificate is not trusted, or ours is refused")
        except (requests.RequestException, OSError) as error:
            return Attempt(Ending.RETRY, message=f"the server cannot be reached: {type(error).__name__}")

    def _sent(self, dataset: Dataset) -> Attempt:
        client = self._client()
        refused = _refusal(client.store_instances([dataset]))
        if refused is not None or not self.verify:
            return refused or Attempt(Ending.DELIVERED, "200")
        back = client.retrieve_instance(dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID)
        if back != dataset:
            return Attempt(Ending.SET_ASIDE, "200", "the server holds another content under this UID")
        return Attempt(Ending.DELIVERED, "200", verified=True)

    def echo(self) -> str:
        """A search for one study: "" where it is answered, else what is wrong."""
        import requests

        try:
            self._client().search_for_studies(limit=1)
        except ImportError:
            return MISSING
        except requests.HTTPError as error:
            return _http_attempt(error).message
        except (requests.RequestException, OSError) as error:
            return f"it cannot be reached: {type(error).__name__}"
        return ""

    def _client(self) -> Any:
        import requests
        from dicomweb_client.api import DICOMwebClient

        session = requests.Session()
        if self.username is not None:
            session.auth = (self.username, self.password or "")
        if self.token is not None:
            session.headers["Authorization"] = f"Bearer {self.token}"
        if self.tls_ca is not None:
            session.verify = str(self.tls_ca)
        if self.tls_certificate is not None and self.tls_key is not None:
            session.cert = (str(self.tls_certificate), str(self.tls_key))
        client = DICOMwebClient(self.url, session=session, timeout=self.timeout_seconds)
        client.set_http_retry_params(retry=False)  # the outbox tries again, and remembers it
        return client


def _refusal(answer: Dataset) -> Attempt | None:
    """What a Store Instances Response says was refused (PS3.18 table 10.5.3-1); None where nothing was."""
    for item in answer.get("FailedSOPSequence") or ():
        reason = int(item.get("FailureReason", 0xC000))
        return attempt_of(reason) if attempt_of(reason).ending is not Ending.DELIVERED else None
    return None


def _http_attempt(error: Any) -> Attempt:
    status = error.response.status_code if error.response is not None else 0
    words = {401: "the server refuses the user name, password or token", 403: "the server forbids storing"}
    if status in (408, 429) or status >= 500 or status == 0:
        return Attempt(Ending.RETRY, str(status), words.get(status, "the server is busy or broken"))
    return Attempt(Ending.SET_ASIDE, str(status), words.get(status, "the server refuses the object"))
