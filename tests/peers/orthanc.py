"""A real Orthanc on loopback with its own ports and folder."""

import json
import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from orthanc_api_client import OrthancApiClient

from tests.peers.programs import free_port, need, wait_until

PYTHON_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancPython.so")
OUR_PLUGIN = Path(__file__).resolve().parents[2] / "plugins" / "orthanc" / "dicom_pipeline_orthanc.py"


def with_our_plugin(**options) -> dict:
    """Orthanc's options with our plug-in in it; options: of its MedSigLIP block."""
    if not PYTHON_PLUGIN.exists():
        pytest.skip("Orthanc's Python plugin is not installed (Debian: orthanc-python)")
    return {"Plugins": [str(PYTHON_PLUGIN)], "PythonScript": str(OUR_PLUGIN), "StableAge": 1, "MedSigLIP": options}


class Orthanc:
    """Starts and stops one Orthanc; http and dicom are its ports. user: (name, password) where it asks for them."""

    def __init__(self, folder: Path, user: tuple[str, str] | None = None, **options) -> None:
        self.folder = folder
        self.user = user
        self.http, self.dicom = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.http}"
        self.options = options
        self.environment: dict[str, str] = {}
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
            "AuthenticationEnabled": self.user is not None,
            "RegisteredUsers": dict([self.user]) if self.user else {},
            "Plugins": [],
            **self.options,
        }
        (self.folder / "orthanc.json").write_text(json.dumps(config))
        command = [need("Orthanc"), self.folder / "orthanc.json"]
        with (self.folder / "orthanc.log").open("a") as log:
            environment = {**os.environ, **self.environment}
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            wait_until(answers or self.client.is_alive, 30, "Orthanc does not answer")
        except BaseException:
            self.kill()
            raise
        return self

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)

    @property
    def client(self) -> OrthancApiClient:
        user, password = self.user or (None, None)
        return OrthancApiClient(self.url, user=user, pwd=password)

    def reports(self) -> list[str]:
        """Orthanc ids of all SR instances."""
        ids = self.client.instances.get_all_ids()
        return [i for i in ids if self.client.instances.get_tags(i).get("Modality") == "SR"]

    def upload_study(self, folder: Path) -> str:
        """Upload the files of a folder that holds one study; the study's Orthanc id."""
        ids = [self.client.upload_file(str(path))[0] for path in sorted(folder.glob("*.dcm"))]
        return self.client.instances.get_parent_study_id(ids[0])

    def reports_by_study(self) -> dict[str, int]:
        """Orthanc id of a study -> SR instances in it; studies without one are not in it."""
        return dict(Counter(self.client.instances.get_parent_study_id(report) for report in self.reports()))
