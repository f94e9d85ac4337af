"""What `doctor` examines: model, label sets, decoders, port, disk, TLS files, failed handshakes, audit trail, peers."""

from __future__ import annotations

import importlib.metadata
import shutil
import socket
from contextlib import ExitStack

from dicom_pipeline.acceptor.admission import check_address
from dicom_pipeline.acceptor.certificates import check_own_files
from dicom_pipeline.acceptor.tls_advice import handshake_advice
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.account import refusals
from dicom_pipeline.config import AnyPeer, Settings
from dicom_pipeline.config.tls_files import peer_tls_problem
from dicom_pipeline.disk import exclusive_lock, write_problem
from dicom_pipeline.errors import ConfigError, DicomPipelineError, ModelError
from dicom_pipeline.imaging.kernels import NumpyKernel
from dicom_pipeline.peers.dicom_node import DicomNode, listener_as_peer
from dicom_pipeline.peers.peer import Destination
from dicom_pipeline.pipeline.renderers.kernels import KernelChoice, code_folders, kernel_from
from dicom_pipeline.service.starting.checks import check_processing, check_rules, label_choice
from dicom_pipeline.service.wiring import destinations_of, forwarder_of, orthanc_of, trail_folder

Check = tuple[str, tuple[bool, str]]
"""What was examined; whether it is as it should be, and a sentence."""


def examine(settings: Settings) -> list[Check]:
    """All checks of this machine with these settings."""
    checks = [
        _encoder_check(settings),
        *_scoring_checks(settings),
        _codec_check(),
        _kernel_check(settings),
        _port_check(settings),
        _disk_check(settings),
    ]
    checks += tls_checks(settings) + handshake_checks(settings) + peer_checks(settings)
    return checks + _node_checks(settings)


def tls_checks(settings: Settings) -> list[Check]:
    """The listener's TLS files, where it has any, and where the audit trail and its syslog stand."""
    section = settings.listener
    found: list[Check] = []
    if section.tls_certificate is not None:
        finding = check_own_files(section.tls_certificate, section.tls_key, section.tls_ca, section.host)
        found.append(("listener's TLS files", (finding.good, finding.says)))
    elif section.tls_key is not None or section.tls_ca is not None:
        found.append(("listener's TLS files", (False, "tls_key or tls_ca is set but no tls_certificate: TLS is off")))
    elif section.allow_remote:
        found.append(("listener's TLS files", (True, "none: what is received crosses the network unencrypted")))
    return [*found, *_audit_checks(settings)]


def listener_answer(settings: Settings, problem: str) -> tuple[bool, str]:
    """Whether it is the running service that holds the listener's port; with TLS a peer alone can tell."""
    section = settings.listener
    calling = section.calling_ae_titles[0] if section.calling_ae_titles else section.ae_title
    if section.tls_certificate is not None:
        try:
            with exclusive_lock(settings.spool.folder, "serve.lock"):
                return False, f"{problem}, and no service of these settings runs"
        except ConfigError:
            return True, "the service is running; it speaks TLS, so that only a peer with a certificate can ask it"
    no_answer = listener_as_peer(section, calling, timeout_seconds=5.0).echo()
    if no_answer:
        return False, f"{problem}, and what holds it is no service of this kind: {no_answer}"
    return True, "the service is running and answers"


def handshake_checks(settings: Settings) -> list[Check]:
    """TLS handshakes with the listener that failed, as the catalog counts them, and what to do about each kind."""
    path = settings.spool.folder / "catalog.sqlite"
    if not path.exists():
        return []
    counts = {
        reason: count for reason, count in refusals(Catalog(path, create=False)).items() if handshake_advice(reason)
    }
    return [
        (f"failed handshakes: {reason}", (True, f"{count} so far: {handshake_advice(reason)}"))
        for reason, count in counts.items()
    ]


def peer_checks(settings: Settings) -> list[Check]:
    """Whether the nodes that are sent the results of commitments answer a C-ECHO; others are checked as destinations."""
    return [
        (f"peer {peer.name}", _answer(DicomNode(peer, settings.listener.ae_title).echo()))
        for peer in settings.committing
        if "deliver" not in peer.roles
    ]


def _audit_checks(settings: Settings) -> list[Check]:
    folder = trail_folder(settings)
    if not settings.audit.write:
        return [("audit trail", (True, "none is kept, as audit.write is false"))]
    try:
        forwarder = forwarder_of(settings)
    except ConfigError as error:
        return [("audit trail", (False, str(error)))]
    says = f"in {folder}"
    if forwarder is not None:
        says += f", and to a syslog: {forwarder.waiting_bytes()} bytes wait to be sent"
    problem = write_problem(folder)
    return [("audit trail", (not problem, problem or says))]


def _answer(problem: str) -> tuple[bool, str]:
    return (False, problem) if problem else (True, "answers")


def _node_checks(settings: Settings) -> list[tuple[str, tuple[bool, str]]]:
    """Whether what deliveries and fetches do works, tried; one that cannot be made of its settings hides no other check."""
    try:
        found = [
            (f"destination {peer.name}", _trial(peer, destination))
            for peer, destination in zip(settings.delivering, destinations_of(settings), strict=True)
        ]
    except ConfigError as error:
        found = [("destinations", (False, str(error)))]
    for peer in settings.fetching:
        try:
            found.append((f"source {peer.name}", _answer(peer_tls_problem(peer) or orthanc_of(peer).echo())))
        except ConfigError as error:
            found.append((f"source {peer.name}", (False, str(error))))
    return found


def _trial(peer: AnyPeer, destination: Destination) -> tuple[bool, str]:
    """What trying a delivery shows, unless our own TLS files are wrong already."""
    if problem := peer_tls_problem(peer):
        return False, problem
    trial = destination.trial()
    return trial.works, trial.says


def _encoder_check(settings: Settings) -> tuple[str, tuple[bool, str]]:
    from dicom_pipeline.encoders import load_encoder

    section = settings.encoder
    try:
        encoder = load_encoder(section.model, device=section.device, dtype=section.dtype, revision=section.revision)
    except DicomPipelineError as error:
        return f"encoder {section.model}", (False, str(error))
    says = f"{encoder.precision}, {encoder.dimension} dimensions, weights {encoder.weights[:12]}. {encoder.notice}"
    return f"encoder {section.model}", (True, says.strip())


def _scoring_checks(settings: Settings) -> list[Check]:
    """Label sets, probes, preset, rule table, and the rules of destinations: as `serve` looks at them."""
    try:
        check_processing(settings)
        check_rules(settings)
        sets = ", ".join(label_set.name for label_set in label_choice(settings).sets)
    except ModelError:
        return []  # the encoder's check says so
    except DicomPipelineError as error:
        return [("label sets, probes and rules", (False, str(error)))]
    return [("label sets, probes and rules", (True, f"label sets: {sets or 'none'}"))]


def _codec_check() -> tuple[str, tuple[bool, str]]:
    wanted = ("python-gdcm", "pyjpegls", "pylibjpeg-openjpeg", "imagecodecs", "pillow")
    missing = [name for name in wanted if not _installed(name)]
    return "pixel decoders", (not missing, f"missing: {', '.join(missing)}" if missing else ", ".join(wanted))


def _kernel_check(settings: Settings) -> Check:
    """What render processes will render with, compiled now where it was not yet; numpy is slower, not wrong."""
    choice = KernelChoice.from_settings(settings.rendering)
    with ExitStack() as stack:
        folders = code_folders(choice, stack)
        kernel, why = kernel_from(folders)
    if why:
        return "rendering", (False, f"by numpy: {why}")
    if not folders and choice.compiled:
        return "rendering", (True, "by numpy; pip install 'dicom-pipeline[fast]' makes the same bytes in less time")
    return "rendering", (True, "by loops that numba compiled" if not isinstance(kernel, NumpyKernel) else "by numpy")


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _port_check(settings: Settings) -> tuple[str, tuple[bool, str]]:
    section = settings.listener
    name = f"listener {section.ae_title}@{section.host}:{section.port}"
    try:
        check_address(settings.listener)
    except DicomPipelineError as error:
        return name, (False, str(error))
    family = socket.AF_INET6 if ":" in section.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((section.host, section.port))
        except OSError as error:
            return name, listener_answer(settings, f"the port cannot be used: {error.strerror}")
    return name, (True, "the port is free")


def _disk_check(settings: Settings) -> tuple[str, tuple[bool, str]]:
    folder = settings.spool.folder
    there = next(p for p in (folder, *folder.parents) if p.exists())
    if problem := write_problem(folder):
        return f"disk of {folder}", (False, problem)
    free = shutil.disk_usage(there).free
    enough = free > settings.spool.min_free_bytes
    says = f"{free / 1e9:.1f} GB free, and a file could be written"
    return f"disk of {folder}", (enough, says if enough else f"{says}, but spool.min_free_bytes asks for more")
