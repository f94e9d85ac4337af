"""Older names of settings, such as the tables before [[peers]]: read for one more version, each with a line of advice."""

from __future__ import annotations

import logging
import re
from typing import Any, TypeGuard

from dicom_pipeline.config.peers import DeliverSection, FetchSection

log = logging.getLogger(__name__)

Values = dict[str, Any]

DELIVER_KEYS = {*DeliverSection.model_fields, "verify"}
FETCH_KEYS = set(FetchSection.model_fields)
CONNECTION = ("url", "username", "password_env", "tls_ca")
LISTENER_TLS = ("tls_ca", "tls_certificate", "tls_key")


def with_peers(values: Values) -> tuple[Values, list[str]]:
    """The values of a settings file with [[peers]] in place of the older tables, and a sentence for each of those.

    What is not a list of tables is left for the settings to refuse.
    """
    values, advice = dict(values), list[str]()
    peers = list(values.get("peers", ()))
    if _are_tables(destinations := values.get("destinations")):
        del values["destinations"]
        peers += [_destination(table) for table in destinations]
        advice.append("[[destinations]] is now [[peers]]; its rules and verify go into [peers.deliver]")
    if _are_tables(sources := values.get("sources")):
        del values["sources"]
        for table in sources:
            _add_source(peers, table)
        advice.append(
            '[[sources]] is now [[peers]] of type "orthanc" with roles = ["fetch"]; its filters go into [peers.fetch]'
        )
    listener = values.get("listener")
    if isinstance(listener, dict) and _are_tables(nodes := listener.get("peers")):
        values["listener"] = {key: value for key, value in listener.items() if key != "peers"}
        peers += [_node(table, listener) for table in nodes]
        advice.append('[[listener.peers]] is now [[peers]] of type "dicom" with roles = ["commit"]')
    if advice:
        values["peers"] = peers
    return values, advice


def with_rendering(values: Any) -> Any:
    """The values of file and environment with [rendering] in place of the threads that it was; a line in the log says so."""
    if not isinstance(values, dict):
        return values
    encoder, rendering = values.get("encoder"), values.get("rendering", {})
    if not isinstance(encoder, dict) or "render_threads" not in encoder or not isinstance(rendering, dict):
        return values
    encoder = dict(encoder)
    processes = encoder.pop("render_threads")
    log.warning("encoder.render_threads is now rendering.processes; the older form is read for one more version")
    return {**values, "encoder": encoder, "rendering": {"processes": processes, **rendering}}


def _are_tables(value: Any) -> TypeGuard[list[Values]]:
    return isinstance(value, list) and all(isinstance(table, dict) for table in value)


def _destination(table: Values) -> Values:
    peer, deliver = _split(table, DELIVER_KEYS)
    if isinstance(verify := deliver.get("verify"), bool):
        deliver["verify"] = "read-back" if verify else "none"
    return {**peer, "roles": ["deliver"], **({"deliver": deliver} if deliver else {})}


def _add_source(peers: list[Values], table: Values) -> None:
    """A role more for the destination that is the same Orthanc, otherwise a peer of its own."""
    peer, fetch = _split(table, FETCH_KEYS)
    added = {"fetch": fetch} if fetch else {}
    for index, other in enumerate(peers):
        same = all(other.get(key) == peer.get(key) for key in ("name", *CONNECTION))
        if same and other.get("type") == "orthanc" and "fetch" not in other.get("roles", ()):
            peers[index] = {**other, "roles": [*other.get("roles", ["deliver"]), "fetch"], **added}
            return
    peers.append({"type": "orthanc", **peer, "roles": ["fetch"], **added})


def _node(table: Values, listener: Values) -> Values:
    """A node that is sent results, with the listener's certificate where it is called with TLS."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", str(table.get("ae_title", ""))) or "-"
    secured = {key: listener[key] for key in LISTENER_TLS if key in listener} if table.get("tls") else {}
    return {"type": "dicom", "name": name, "roles": ["commit"], **secured, **table}


def _split(table: Values, keys: set[str]) -> tuple[Values, Values]:
    """The table without some keys, and these."""
    return {k: v for k, v in table.items() if k not in keys}, {k: v for k, v in table.items() if k in keys}
