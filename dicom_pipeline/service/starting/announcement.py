"""What the service says as it starts: a line each for what it does, so that a wrong setting is seen before the first study."""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

from dicom_pipeline.config import AnyPeer, DicomPeer, FolderPeer, Settings
from dicom_pipeline.service.starting.checks import label_choice

log = logging.getLogger(__name__)


def announce(settings: Settings) -> None:
    """Log the lines; a warning where reports go nowhere. settings: checked."""
    for line in lines_of(settings):
        log.info("%s", line)
    if not settings.delivering:
        log.warning(
            "no destination: reports stay in %s; a [[peers]] entry with the role deliver sends them",
            settings.spool.folder / "results",
        )


def lines_of(settings: Settings) -> list[str]:
    """Model, label sets, listener, peers, pages and folder."""
    listener, encoder, service = settings.listener, settings.encoder, settings.service
    sets = [label_set.name for label_set in label_choice(settings).sets]
    probes = [folder.name for folder in settings.scoring.probes]
    pages = f"http://{_host(service.web_host)}:{service.web_port}/" if service.web_port is not None else "none"
    own = f"{listener.ae_title}@{_host(listener.host)}:{listener.port}"
    return [
        f"model: {encoder.model}{f' at revision {encoder.revision}' if encoder.revision else ''}, device {encoder.device}",
        f"label sets: {', '.join(sets) or 'none'}",
        *([f"probes: {', '.join(probes)}"] if probes else []),
        f"listener: {own}{' with TLS' if listener.tls_certificate else ''}",
        *[f"peer {peer.name}: {_place(peer)}, {' and '.join(peer.roles)}" for peer in settings.peers],
        f"pages: {pages}",
        f"folder: {settings.spool.folder}",
    ]


def _place(peer: AnyPeer) -> str:
    """Where a peer is, without a password that its URL may hold."""
    if isinstance(peer, DicomPeer):
        return f"{peer.ae_title}@{_host(peer.host)}:{peer.port}{' with TLS' if peer.uses_tls else ''}"
    if isinstance(peer, FolderPeer):
        return str(peer.path)
    parts = urlsplit(peer.url)
    port = f":{parts.port}" if parts.port else ""
    return f"{peer.type} {parts.scheme}://{_host(parts.hostname or '')}{port}{parts.path}"


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
