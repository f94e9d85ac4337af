"""Code streams that claim gigabytes, beside a good study: it is reported, each of them fails, and memory stays bounded."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
from pydicom.encaps import encapsulate

from tests.imaging.made import instance, write
from tests.imaging.test_code_streams import BOMBS

MAX_RESIDENT_KIB = 1_500_000


def test_a_folder_of_bombs_costs_the_bombs_alone(tmp_path, sample_data):
    folder, out = tmp_path / "in", tmp_path / "out"
    shutil.copytree(sample_data / "studies" / "ct-chest-nodule", folder / "good")
    uids = set()
    for syntax, stream in BOMBS.values():
        bomb = instance(np.zeros((64, 64), np.uint8), PixelData=encapsulate([stream]))
        bomb["PixelData"].VR = "OB"
        write(bomb, folder, syntax)
        uids.add(str(bomb.SOPInstanceUID))
    command = [
        sys.executable,
        "-m",
        "dicom_pipeline",
        "process",
        str(folder),
        "--out",
        str(out),
        "--select",
        "uniform:3",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)  # usage: the largest of the process and its children
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 1
    assert usage.ru_maxrss < MAX_RESIDENT_KIB
    assert len(list((out / "reports").glob("*.dcm"))) == 1
    text = (out / "plan.json").read_text()
    plan = json.loads(text)
    assert sum(study["instances"]["failed"] for study in plan["studies"]) == len(uids)
    assert text.count('"larger-than-declared"') >= len(uids)
    assert all(uid in text for uid in uids)
