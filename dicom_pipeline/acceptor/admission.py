"""Who may associate and for what: the settings of the listener, and the decision on one association request as a value."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pydicom.uid import UID, AllTransferSyntaxes
from pynetdicom import AllStoragePresentationContexts, build_context
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification  # type: ignore[attr-defined]

from dicom_pipeline.audit import AlertKind
from dicom_pipeline.errors import ConfigError

REFUSED_SYNTAXES = ("MPEG", "HEVC", "JPIP", "SMPTE", "RFC 2557", "XML")
"""Transfer syntaxes of video and references, which no pixel decoder here reads."""

COMMAND_SYNTAXES = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"]
"""For services whose data sets are small."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A node that is known by name: where Storage Commitment results for it go. tls: with the listener's certificate."""

    ae_title: str
    host: str
    port: int
    tls: bool = False


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """How to listen; the fields are those of config.ListenerSection. min_free_bytes: the disk's watermark."""

    ae_title: str = "DICOMPIPE"
    host: str = "127.0.0.1"
    port: int = 11112
    allow_remote: bool = False
    require_called_ae: bool = True
    calling_ae_titles: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    sop_classes: tuple[str, ...] = ()
    max_associations: int = 50
    max_associations_per_peer: int = 20
    max_pdu_bytes: int = 131072
    max_object_bytes: int = 4 * 1024**3
    max_inflated_bytes: int = 1024**3
    association_timeout_seconds: float = 15.0
    idle_timeout_seconds: float = 60.0
    network_timeout_seconds: float = 60.0
    min_bytes_per_second: int = 1024
    min_free_bytes: int = 0
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_ca: Path | None = None
    peers: tuple[Peer, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Rejection:
    """An A-ASSOCIATE-RJ (PS3.8 table 9-21), the word that the catalog keeps and the kind of alert in the audit trail."""

    result: int
    source: int
    diagnostic: int
    reason: str
    kind: AlertKind = AlertKind.ASSOCIATION_FAILURE


CALLED_AE = Rejection(1, 1, 7, "called-ae", AlertKind.NODE_AUTHENTICATION)
CALLING_AE = Rejection(1, 1, 3, "calling-ae", AlertKind.NODE_AUTHENTICATION)
NETWORK = Rejection(1, 1, 1, "network", AlertKind.NODE_AUTHENTICATION)
APPLICATION_CONTEXT = Rejection(1, 1, 2, "application-context")
PROTOCOL_VERSION = Rejection(1, 2, 2, "protocol-version")
LIMIT = Rejection(2, 3, 2, "too-many-associations")
PEER_LIMIT = Rejection(2, 3, 2, "too-many-associations-of-peer")
DISK_FULL = Rejection(2, 3, 1, "disk-full")
DISK_ERROR = Rejection(2, 3, 1, "disk-error")


def decide_titles(settings: ListenerSettings, called: str, calling: str) -> Rejection | None:
    """Whether the AE titles are admitted (surrounding spaces do not count)."""
    if settings.require_called_ae and called.strip() != settings.ae_title.strip():
        return CALLED_AE
    admitted = {title.strip() for title in settings.calling_ae_titles}
    return CALLING_AE if admitted and calling.strip() not in admitted else None


def admits_address(networks: Iterable[str], address: str) -> bool:
    """Whether an address lies in one of the networks; no networks admit all. IPv4 in IPv6 counts as IPv4."""
    wanted = [parse_network(network) for network in networks]
    peer = ipaddress.ip_address(address.split("%", maxsplit=1)[0])
    mapped = getattr(peer, "ipv4_mapped", None)
    return not wanted or any((mapped or peer) in network for network in wanted)


@cache
def parse_network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """A network in CIDR notation, or one address. Raises ConfigError."""
    try:
        return ipaddress.ip_network(text.strip())
    except ValueError as error:
        raise ConfigError(f'listener.networks: {error}; expected CIDR notation such as "10.1.0.0/16"') from None


def supported_contexts(sop_classes: tuple[str, ...] = ()) -> list[PresentationContext]:
    """Verification, Storage Commitment and Storage; of Storage only the classes that are named, where any are."""
    commitment = build_context(StorageCommitmentPushModel, COMMAND_SYNTAXES)
    commitment.scu_role = commitment.scp_role = True  # a destination may bring the results of what we asked it
    contexts = [build_context(Verification), commitment]
    storage = storage_classes()
    wanted = storage if not sop_classes else {_class_uid(name) for name in sop_classes}
    if not wanted <= storage:
        raise ConfigError(f"listener.sop_classes names what is no Storage SOP class: {sorted(wanted - storage)}")
    return contexts + [build_context(uid, supported_transfer_syntaxes()) for uid in sorted(wanted)]


@cache
def storage_classes() -> frozenset[str]:
    """UIDs of every Storage SOP class that can be accepted."""
    return frozenset(str(context.abstract_syntax) for context in AllStoragePresentationContexts)


@cache
def _syntaxes() -> tuple[str, ...]:
    return tuple(str(uid) for uid in AllTransferSyntaxes if not any(word in UID(uid).name for word in REFUSED_SYNTAXES))


def supported_transfer_syntaxes() -> list[str]:
    """The transfer syntaxes that are accepted: all of PS3.5 but video and references."""
    return list(_syntaxes())


def _class_uid(name: str) -> str:
    """The UID of a SOP class that is named by UID or keyword."""
    import pynetdicom.sop_class as classes

    found: Any = getattr(classes, name, None)
    return str(found) if found is not None else name


def check_address(settings: ListenerSettings) -> None:
    """Raise ConfigError for an address beyond loopback that was not allowed in so many words, and for what is no network."""
    for network in settings.networks:
        parse_network(network)
    loopback = settings.host == "localhost" or _is_loopback(settings.host)
    if not loopback and not settings.allow_remote:
        raise ConfigError(
            f"listener.host is {settings.host}, which others can reach; set listener.allow_remote = true if that is meant, "
            "and listener.calling_ae_titles or listener.networks to say who may send"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
