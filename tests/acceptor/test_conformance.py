"""The Conformance Statement says what the listener negotiates; the systemd unit is valid."""

import os
import re
import runpy
import subprocess
from pathlib import Path

import pytest
from pynetdicom import AE, build_context

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.config import ListenerSection
from dicom_pipeline.dicom.uids import IMPLEMENTATION_CLASS_UID
from dicom_pipeline.intake.dicom_services import ListeningNode
from dicom_pipeline.intake.spool import Spool
from tests.peers.programs import free_port, need

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "conformance.md").read_text()
HEADINGS = (
    *(
        "1 Overview",
        "1.1 Content and transfer",
        "1.1.1 SR root template IDs",
        "1.2 DIMSE services",
        "1.3 DICOM Web Services",
    ),
    *("1.4 Media services", "1.5 Real-Time Video", "1.6 De-identification profiles", "1.7 Specific Character Sets"),
    *("2 Table of contents", "3 Introduction", "4 Implementation model", "5 Service and interoperability description"),
    *(
        "6 Configuration",
        "7 Network and media communication details",
        "7.1 General",
        "7.2 Specifications",
        "7.3 Status codes",
    ),
    *(
        "8 Security",
        "A.A Information Object Definitions",
        "A.B Structured Report content encoding",
        "A.C Security details",
    ),
    *("A.D Mapping of attributes", "A.E Code set usage"),
)
"""Of PS3.2 Annex N, in its order."""


def made_table(name: str) -> str:
    """A table of the page that docs/make_conformance.py makes."""
    return PAGE.split(f"<!-- table: {name} -->")[1].split("<!-- end -->")[0]


def test_the_tables_of_the_page_are_what_the_code_says(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    filled = runpy.run_path(str(ROOT / "docs" / "make_conformance.py"))["page"](PAGE)
    assert filled == PAGE, "run: python docs/make_conformance.py"


def test_the_headings_are_those_of_annex_n_in_its_order():
    found = re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
    assert [heading for heading in found if heading in HEADINGS] == list(HEADINGS)


CT = "1.2.840.10008.5.1.4.1.1.2"
VIDEO = ("1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.4.107")


@pytest.fixture(scope="module")
def accepted(tmp_path_factory):
    """What a peer that offers a thing gets: (SOP class, transfer syntax) -> accepted."""
    folder = tmp_path_factory.mktemp("spool")
    listener = ListeningNode(ListenerSection(port=free_port()), Catalog(folder / "c.sqlite"), Spool(folder), "run")
    listener.start()

    def ask(*pairs):
        results = []
        for start in range(0, len(pairs), 100):
            entity = AE(ae_title="ASKER")
            entity.requested_contexts = [build_context(uid, syntax) for uid, syntax in pairs[start : start + 100]]
            association = entity.associate("127.0.0.1", listener.settings.port, ae_title="DICOMPIPE")
            good = {(str(c.abstract_syntax), str(c.transfer_syntax[0])) for c in association.accepted_contexts}
            results += [pair in good for pair in pairs[start : start + 100]]
            if association.is_established:
                association.release()
        return results

    yield ask
    listener.stop()
    listener.catalog.close()


def test_the_table_of_transfer_syntaxes_is_what_is_accepted(accepted):
    listed = re.findall(r"\| (1\.2\.840\.[\d.]+) \|", made_table("transfer-syntaxes"))
    assert len(listed) > 15
    assert all(accepted(*[(CT, uid) for uid in listed]))
    from pydicom.uid import AllTransferSyntaxes

    others = [str(uid) for uid in AllTransferSyntaxes if str(uid) not in listed]
    assert not any(accepted(*[(CT, uid) for uid in others]))
    assert set(VIDEO) <= set(others)


def test_every_storage_class_and_the_services_are_accepted(accepted):
    from dicom_pipeline.intake.dicom_services import storage_classes

    assert set(re.findall(r"\| (1\.2\.840\.[\d.]+) \|", made_table("received-classes"))) == storage_classes()
    explicit = "1.2.840.10008.1.2.1"
    assert all(accepted(*[(uid, explicit) for uid in sorted(storage_classes())]))
    assert all(accepted(("1.2.840.10008.1.1", explicit), ("1.2.840.10008.1.20.1", explicit)))
    assert not any(accepted(("1.2.840.10008.5.1.4.1.2.2.1", explicit)))  # C-FIND: not ours


def test_the_numbers_of_the_page_are_the_defaults():
    section = ListenerSection()
    assert (
        f"| maximum length received | `listener.max_pdu_bytes`: {section.max_pdu_bytes:,} | {AE().maximum_pdu_size:,} |"
        in PAGE
    )
    assert (
        f"`listener.max_associations`: {section.max_associations}, {section.max_associations_per_peer} from one" in PAGE
    )


@pytest.mark.parametrize("service", ["Verification", "Storage Commitment"])
def test_the_transfer_syntaxes_of_services_are_just_these(accepted, service):
    from pydicom.uid import AllTransferSyntaxes

    part = PAGE.split("7.2.1.4 Association acceptance")[1].split("#### 7.2.2")[0]
    uid, text = re.search(rf"\| {service} \| ([\d.]+) \| ([^|]+) \|", part).groups()
    listed = set(text.split(", "))
    assert len(listed) >= 2
    answers = dict(zip(AllTransferSyntaxes, accepted(*[(uid, str(s)) for s in AllTransferSyntaxes]), strict=True))
    assert {str(syntax) for syntax, good in answers.items() if good} == listed


def test_the_answer_to_a_request_is_as_the_page_says(tmp_path):
    """Sizes, roles and what is not negotiated, from the A-ASSOCIATE-AC that a peer with every wish gets."""
    from pynetdicom.pdu_primitives import AsynchronousOperationsWindowNegotiation, UserIdentityNegotiation

    listener = ListeningNode(ListenerSection(port=free_port()), Catalog(tmp_path / "c.sqlite"), Spool(tmp_path), "run")
    listener.start()
    try:
        window, user = AsynchronousOperationsWindowNegotiation(), UserIdentityNegotiation()
        window.maximum_number_operations_invoked = window.maximum_number_operations_performed = 8
        user.user_identity_type, user.primary_field, user.positive_response_requested = 1, b"somebody", True
        entity = AE(ae_title="ASKER")
        entity.add_requested_context(CT)
        association = entity.associate(
            "127.0.0.1", listener.settings.port, ae_title="DICOMPIPE", ext_neg=[window, user]
        )
        assert association.is_established
        items = association.acceptor.user_information
        kinds = {type(item).__name__ for item in items}
        assert kinds == {
            "MaximumLengthNotification",
            "ImplementationClassUIDNotification",
            "ImplementationVersionNameNotification",
        }
        assert association.acceptor.maximum_length == ListenerSection().max_pdu_bytes
        assert association.acceptor.implementation_class_uid == IMPLEMENTATION_CLASS_UID
        association.release()
    finally:
        listener.stop()
        listener.catalog.close()


@pytest.mark.system
def test_the_systemd_unit_is_valid_and_hardened(tmp_path):
    unit = ROOT / "docs" / "systemd" / "dicom-pipeline.service"
    program = need("systemd-analyze")
    result = subprocess.run([program, "verify", unit], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    wrong = tmp_path / "dicom-pipeline.service"
    wrong.write_text(unit.read_text().replace("NoNewPrivileges=", "NoNewPrivilege="))
    assert (
        "NoNewPrivilege"
        in subprocess.run([program, "verify", wrong], capture_output=True, text=True, check=False).stderr
    )
    # 0 is closed, 10 is open; systemd's own examination of the file, offline
    command = [program, "security", "--offline=yes", "--threshold=25", unit]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "NO_COLOR": "1"})
    assert result.returncode == 0, result.stdout[-2000:]
