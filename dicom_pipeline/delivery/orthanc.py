"""An Orthanc server over its REST API, read back and compared as a data set.

Orthanc answers success even where it discards a changed object under a known UID, so only reading back proves arrival.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

from orthanc_api_client import OrthancApiClient
from orthanc_api_client.exceptions import (
    BadFileFormat,
    NotAuthorized,
    OrthancApiException,
    TooManyResourcesFound,
)
from orthanc_api_client.exceptions import (
    ConnectionError as OrthancConnectionError,
)
from pydicom import dcmread

from dicom_pipeline.delivery.destination import Attempt, Ending


@dataclass(frozen=True, slots=True)
class OrthancServer:
    """An Orthanc at a URL, with a user name and password where it asks for them."""

    name: str
    url: str
    modalities: tuple[str, ...] = ()
    username: str | None = None
    password: str | None = None
    verify: bool = True

    def send(self, report: bytes) -> Attempt:
        """Upload, then (verify) read the file back and compare the data sets."""
        client = self._client()
        try:
            ids = client.upload(report)
            if not self.verify:
                return Attempt(Ending.DELIVERED, "200")
            back = client.instances.get_file(ids[0])
        except NotAuthorized:
            return Attempt(Ending.SET_ASIDE, "401", "Orthanc refuses the user name or password")
        except (BadFileFormat, TooManyResourcesFound) as error:
            return Attempt(Ending.SET_ASIDE, message=f"Orthanc refuses the object: {type(error).__name__}")
        except (OrthancApiException, OSError) as error:
            return Attempt(Ending.RETRY, message=f"Orthanc cannot be reached: {type(error).__name__}")
        if dcmread(io.BytesIO(back)) != dcmread(io.BytesIO(report)):
            return Attempt(Ending.SET_ASIDE, "200", "Orthanc holds another content under this UID")
        return Attempt(Ending.DELIVERED, "200", verified=True)

    def echo(self) -> str:
        """ "" where Orthanc answers, else what is wrong."""
        try:
            self._client().get_system()
        except NotAuthorized:
            return "it refuses the user name or password"
        except (OrthancConnectionError, OrthancApiException, OSError) as error:
            return f"it cannot be reached: {type(error).__name__}"
        return ""

    def _client(self) -> OrthancApiClient:
        return OrthancApiClient(self.url, user=self.username, pwd=self.password)
