"""The table of operations: another DIMSE service is a row and a presentation context, and the acceptor is not touched."""

import struct
import subprocess
import sys
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, build_context
from pynetdicom.sop_class import ModalityPerformedProcedureStep, Verification

from dicom_pipeline.acceptor.listener import Listener
from dicom_pipeline.acceptor.operations import FixedResponse, Services
from dicom_pipeline.config import ListenerSection
from tests.peers.programs import free_port

N_CREATE_RQ, C_ECHO_RQ = 0x0140, 0x0030
MPPS = str(ModalityPerformedProcedureStep)


class Told:
    """An observer that remembers what it was told."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.rejection = None

    def admit(self, abstract_syntaxes):
        self.events.append(f"admit {len(abstract_syntaxes)}")
        return self.rejection

    def opened(self, sender):
        self.events.append(f"opened {sender.calling_ae}")

    def response(self, sender, command):
        self.events.append(f"response {command.field:04X}")

    def refused(self, sender, uid, status, reason):
        self.events.append(f"refused {reason}")

    def closed(self, sender):
        self.events.append(f"closed {sender.calling_ae}")


class Step:
    """An N-CREATE that remembers its data set."""

    uid = ""

    def __init__(self, steps: list[bytes]) -> None:
        self._steps = steps
        self._content = bytearray()

    def write(self, part):
        self._content += part

    def finish(self):
        self._steps.append(bytes(self._content))
        return 0x0000, ""

    def follow_up(self):
        return None

    def drop(self):
        pass


@pytest.fixture
def serving():
    started = []

    def serve(operations, contexts, told):
        settings = ListenerSection(port=free_port())
        listener = Listener(settings, Services(operations, contexts, told, 10**6))
        listener.open()
        listener.start()
        started.append(listener)
        return settings.port

    yield serve
    for listener in started:
        listener.stop()


def test_another_service_is_a_row_more(serving):
    steps, told = [], Told()
    operations = {
        (C_ECHO_RQ, str(Verification)): lambda *_: FixedResponse(0x0000, ""),
        (N_CREATE_RQ, MPPS): lambda *_: Step(steps),
    }
    port = serving(operations, [build_context(Verification), build_context(ModalityPerformedProcedureStep)], told)
    entity = AE("MODALITY")
    entity.requested_contexts = [build_context(Verification), build_context(ModalityPerformedProcedureStep)]
    association = entity.associate("127.0.0.1", port, ae_title="DICOMPIPE")
    assert association.is_established
    step = Dataset()
    step.PerformedProcedureStepStatus = "IN PROGRESS"
    assert association.send_c_echo().Status == 0x0000
    status, _ = association.send_n_create(step, ModalityPerformedProcedureStep, "1.2.3")
    assert status.Status == 0x0000
    association.release()
    assert steps == [struct.pack("<HHL", 0x0040, 0x0252, 12) + b"IN PROGRESS "]
    assert told.events[:2] == ["admit 2", "opened MODALITY"]


def test_a_command_without_a_row_has_the_standards_status(serving):
    port = serving(
        {(C_ECHO_RQ, str(Verification)): lambda *_: FixedResponse(0x0000, "")},
        [build_context(Verification), build_context(ModalityPerformedProcedureStep)],
        Told(),
    )
    entity = AE("MODALITY")
    entity.requested_contexts = [build_context(ModalityPerformedProcedureStep)]
    association = entity.associate("127.0.0.1", port, ae_title="DICOMPIPE")
    step = Dataset()
    step.PerformedProcedureStepStatus = "IN PROGRESS"
    status, _ = association.send_n_create(step, ModalityPerformedProcedureStep, "1.2.3")
    assert status.Status == 0x0211
    association.release()


def test_the_acceptor_knows_no_store_and_no_catalog():
    code = (
        "import sys, dicom_pipeline.acceptor.listener;"
        "print([m for m in sys.modules if m.startswith(('dicom_pipeline.intake', 'dicom_pipeline.catalog', 'sqlite3'))])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"
