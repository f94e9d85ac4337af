"""Who may associate: the decision on one connection or association request as a value."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from pydicom.uid import UID, AllTransferSyntaxes, ExplicitVRLittleEndian

from dicom_pipeline.audit import AlertKind
from dicom_pipeline.config import ListenerSection
from dicom_pipeline.errors import ConfigError

REFUSED_SYNTAXES = ("MPEG", "HEVC", "JPIP", "SMPTE", "RFC 2557", "XML")
"""Transfer syntaxes of video and references, which no pixel decoder here reads."""

COMMAND_SYNTAXES = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"]
"""For services whose data sets are small."""


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


def decide_titles(settings: ListenerSection, called: str, calling: str) -> Rejection | None:
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


@cache
def _syntaxes() -> tuple[str, ...]:
    taken = [str(uid) for uid in AllTransferSyntaxes if not any(word in UID(uid).name for word in REFUSED_SYNTAXES)]
    return ExplicitVRLittleEndian, *(uid for uid in taken if uid != ExplicitVRLittleEndian)


def supported_transfer_syntaxes() -> list[str]:
    """The transfer syntaxes that are accepted: all of PS3.5 but video and references. What stands first is preferred.

    Explicit VR goes before Implicit, in which private attributes lose their VRs.
    """
    return list(_syntaxes())


def check_address(settings: ListenerSection) -> None:
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
