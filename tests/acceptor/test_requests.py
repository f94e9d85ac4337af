"""A-ASSOCIATE-RQs as peers in the field write them: what is answered, and who is written down as having asked."""

import struct

import pytest

from dicom_pipeline.audit import AlertKind
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.config import ListenerSection
from dicom_pipeline.intake.dicom_services import ListeningNode
from dicom_pipeline.intake.spool import Spool
from tests.intake.test_interfaces import answer, rejection
from tests.peers.programs import free_port, wait_until
from tests.peers.raw import RawSender, data_set, item, request


@pytest.fixture
def listener(tmp_path):
    """A listener with `facts`, what it told the audit trail."""
    facts = []
    folder = tmp_path / "spool"
    settings = ListenerSection(port=free_port())
    listening = ListeningNode(settings, Catalog(folder / "catalog.sqlite"), Spool(folder), "run", facts.append)
    listening.facts = facts
    listening.start()
    yield listening
    listening.stop()
    listening.catalog.close()


def with_items(top: bytes = b"", user: bytes = b"") -> bytes:
    """The usual request with more items, and more sub-items in its user information, which is its last item."""
    plain = request()
    at = plain.rindex(b"\x50\x00")
    (length,) = struct.unpack_from(">H", plain, at + 2)
    assert at + 4 + length == len(plain)
    body = plain[6:at] + item(0x50, plain[at + 4 :] + user) + top
    return struct.pack(">BxL", 1, len(body)) + body


@pytest.mark.parametrize(
    "asked",
    [
        with_items(top=item(0x99, b"of a later edition")),
        with_items(user=item(0x5F, b"of a later edition")),
        with_items(
            user=item(0x58, struct.pack(">BBH4sH", 9, 1, 4, b"name", 0))
        ),  # an identity of a kind that is none yet
        with_items(user=item(0x55, b"A VERSION NAME OF MORE THAN 16")),
        with_items(user=item(0x57, b"\x00\x10cut")),
    ],
    ids=["item", "sub-item", "user-identity", "version-name", "common-extended-negotiation"],
)
def test_what_is_not_known_in_a_request_is_no_reason_to_refuse_it(listener, asked):
    """PS3.8 annex D.2: acceptors are required to ignore such sub-items and not to reject for them."""
    assert answer(listener, asked)[:1] == b"\x02"


@pytest.mark.parametrize("cut", [1, 3])
def test_items_that_are_cut_are_malformed(listener, cut):
    plain = with_items(user=item(0x5F, b"abcd"))
    body = plain[6:-cut]
    assert answer(listener, struct.pack(">BxL", 1, len(body)) + body)[:1] == b"\x07"


def test_titles_that_are_padded_with_nul_are_read(listener):
    asked = request().replace(b"DICOMPIPE".ljust(16), b"DICOMPIPE".ljust(16, b"\0"))
    assert answer(listener, asked.replace(b"HOSTILE".ljust(16), b"HOSTILE".ljust(16, b"\0")))[:1] == b"\x02"


def test_who_is_turned_away_is_told_by_name(listener, caplog):
    assert rejection(answer(listener, request(called=b"NOBODY"))) == (1, 1, 7)
    wait_until(lambda: listener.facts, 30, "no alert")
    (alert,) = listener.facts
    assert (alert.kind, alert.node.ae_title) == (AlertKind.NODE_AUTHENTICATION, "HOSTILE")
    assert "HOSTILE: rejected: called-ae" in caplog.messages


def test_a_spool_that_is_gone_refuses_and_takes_up_again_by_itself(listener):
    """As when its disk is not mounted: not told as a TLS handshake that failed."""
    folder = listener.spool.folder
    away = folder.with_name("away")
    folder.rename(away)
    try:
        assert rejection(answer(listener)) == (2, 3, 1)
        wait_until(lambda: listener.facts, 30, "no alert")
        (alert,) = listener.facts
        assert (alert.kind, alert.words) == (AlertKind.ASSOCIATION_FAILURE, "rejected: disk-error")
    finally:
        away.rename(folder)
    sender = RawSender(listener.settings.port)
    assert sender.store("1.2.3.4", data_set("1.2.3.4", "1.2.3")) == 0
    sender.release()
