"""What cannot work is said before anything starts: in words, with exit status 2, and no process is left behind."""

import subprocess
import sys

import pytest

from tests.peers.programs import free_port


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ('[encoder]\nmodel = "./nowhere"\n', "no encoder"),
        ('[scoring]\nlabel_set = "no-such-set"\n', "no-such-set"),
        ('[scoring]\nprobes = ["no-such-probe"]\n', "no-such-probe"),
        ('[planning]\npreset = "no-such-preset"\n', "no-such-preset"),
        ('[planning]\nrules_file = "no-such-rules.toml"\n', "no-such-rules.toml"),
    ],
)
def test_settings_that_the_worker_could_not_use(tmp_path, settings, words):
    config = tmp_path / "pipeline.toml"
    config.write_text(f'[listener]\nport = {free_port()}\n[spool]\nfolder = "data"\n{settings}')
    command = [sys.executable, "-m", "dicom_pipeline", "serve", "--config", config]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data" / "catalog.sqlite").exists()
