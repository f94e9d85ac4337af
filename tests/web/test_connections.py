"""Connections under limits: too many, or too slow with their request, are ended before they cost anything."""

import http.client
import socket
from contextlib import ExitStack

import pytest

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.config import Settings
from dicom_pipeline.web import connections
from tests.peers.programs import wait_until
from tests.peers.web import context_of, served

HEAD = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@pytest.fixture
def site(tmp_path):
    catalog = Catalog(tmp_path / "catalog.sqlite")
    settings = Settings(spool={"folder": tmp_path, "min_free_bytes": 0}, service={"web_port": 1})
    with served(context_of(settings, catalog)) as site:
        yield site
    catalog.close()


def connected(site):
    return socket.create_connection(("127.0.0.1", site.port), timeout=30)


def is_ended(connection):
    try:
        return connection.recv(10) == b""
    except ConnectionResetError:
        return True


def is_answered(connection):
    """Read a whole answer of /health."""
    read = b""
    while b'"ok"}' not in read and (chunk := connection.recv(2000)):
        read += chunk
    return read.startswith(b"HTTP/1.1 200") and b'"ok"}' in read


def is_healthy(site):
    try:
        return site.ask("GET", "/health")[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def test_a_client_that_does_not_finish_its_head_is_ended(site, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)
    for begun in (b"", b"GET", HEAD):
        with connected(site) as connection:
            connection.sendall(begun)
            assert is_ended(connection)


def test_the_next_head_on_a_connection_is_awaited_no_longer(site, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_SECONDS", 1.0)
    with connected(site) as connection:
        connection.sendall(HEAD + b"\r\n")
        assert is_answered(connection)
        connection.sendall(HEAD)
        assert is_ended(connection)


def test_more_connections_than_there_may_be_are_ended_and_others_answered(site, monkeypatch):
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 3)
    with ExitStack() as stack:
        held = [stack.enter_context(connected(site)) for _ in range(3)]
        for connection in held:  # each has been taken once it is answered
            connection.sendall(HEAD + b"\r\n")
            assert is_answered(connection)
        with connected(site) as further:
            assert is_ended(further)
        for connection in held:
            connection.sendall(HEAD + b"\r\n")
            assert is_answered(connection)
    wait_until(lambda: is_healthy(site), 30, "the places are not given back")


def test_one_address_may_not_hold_all_of_them(site, monkeypatch):
    monkeypatch.setattr(connections, "MAX_OF_AN_ADDRESS", 1)
    monkeypatch.setattr(connections, "is_loopback", lambda _: False)
    with connected(site) as one:
        one.sendall(HEAD + b"\r\n")
        assert is_answered(one)
        with connected(site) as other:
            assert is_ended(other)


@pytest.mark.parametrize(
    ("address", "ours"), [("127.0.0.1", True), ("::1", True), ("10.0.0.1", False), ("", False), ("fe80::1", False)]
)
def test_only_loopback_is_this_machine(address, ours):
    assert connections.is_loopback(address) is ours
