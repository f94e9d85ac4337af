"""A real Orthanc on loopback with its own ports and folder."""

import json
import subprocess
from pathlib import Path

from orthanc_api_client import OrthancApiClient

from tests.peers.programs import free_port, need, wait_until


class Orthanc:
    """Starts and stops one Orthanc; http and dicom are its ports."""

    def __init__(self, folder: Path, **options) -> None:
        self.folder = folder
        self.http, self.dicom = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.http}"
        self.options = options
        self.process: subprocess.Popen | None = None

    def start(self, answers=None) -> "Orthanc":
        self.folder.mkdir(parents=True, exist_ok=True)
        config = {
            "Name": "test",
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "index"),
            "HttpPort": self.http,
            "DicomPort": self.dicom,
            "DicomAet": "ORTHANC",
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "Plugins": [],
            **self.options,
        }
        (self.folder / "orthanc.json").write_text(json.dumps(config))
        command = [need("Orthanc"), self.folder / "orthanc.json"]
        with (self.folder / "orthanc.log").open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(answers or self.client.is_alive, 30, "Orthanc does not answer")
        return self

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)

    @property
    def client(self) -> OrthancApiClient:
        return OrthancApiClient(self.url)

    def reports(self) -> list[str]:
        """Orthanc ids of all SR instances."""
        ids = self.client.instances.get_all_ids()
        return [i for i in ids if self.client.instances.get_tags(i).get("Modality") == "SR"]
