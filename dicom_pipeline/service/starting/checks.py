"""What is looked at before anything starts: all that needs no network. What cannot work ends `serve` with exit status 2."""

from __future__ import annotations

from dicom_pipeline.acceptor.admission import check_address
from dicom_pipeline.acceptor.tls import tls_context
from dicom_pipeline.config import DicomPeer, Settings
from dicom_pipeline.config.tls_files import peer_tls_problem, tls_files_problem
from dicom_pipeline.disk import write_problem
from dicom_pipeline.encoders import find_encoder
from dicom_pipeline.errors import ConfigError, ModelError, ProbeError
from dicom_pipeline.imaging import load_preset
from dicom_pipeline.planning import load_rules
from dicom_pipeline.scoring import LabelChoice, load_probe
from dicom_pipeline.service.wiring import destinations_of, forwarder_of, orthanc_of
from dicom_pipeline.web.app import check_web


def check_settings(settings: Settings) -> None:
    """Raise UsageError, mostly ConfigError, for the first setting that cannot work on this machine."""
    check_address(settings.listener)
    check_tls_files(settings)
    if settings.listener.tls_certificate is not None:
        tls_context(
            settings.listener
        )  # here, where its words are told; a child's exception is told by type and place alone
    destinations_of(settings)
    check_rules(settings)
    try:
        check_processing(settings)
    except (ModelError, ProbeError) as error:
        raise ConfigError(str(error)) from error
    for peer in settings.fetching:
        orthanc_of(peer)
    forwarder_of(settings)
    check_web(settings)
    if problem := write_problem(settings.spool.folder):
        raise ConfigError(f"spool.folder: {problem}")


def check_tls_files(settings: Settings) -> None:
    """Raise ConfigError that names the setting and the file where a TLS file of the listener or of a peer cannot be used."""
    section = settings.listener
    own = tls_files_problem(
        "listener.tls_", certificate=section.tls_certificate, key=section.tls_key, authorities=section.tls_ca
    )
    for problem in (own, *map(peer_tls_problem, settings.peers)):
        if problem:
            raise ConfigError(problem)


def check_rules(settings: Settings) -> None:
    """Raise ConfigError for a rule that could never be met, which would keep reports back without a word."""
    for peer in settings.delivering:
        where, rule = f"peers.{peer.name}", peer.deliver
        if unmade := set(rule.objects) - {"report", *settings.report.companions}:
            raise ConfigError(f"{where}: objects names what report.companions does not make: {sorted(unmade)}")
        if rule.labels and (unknown := set(rule.labels) - _labels_with_threshold(settings)):
            raise ConfigError(f"{where}: no label with a threshold is called {sorted(unknown)}")
        admitted = settings.listener.calling_ae_titles
        answering = peer.ae_title if isinstance(peer, DicomPeer) and peer.deliver.verify == "commitment" else None
        if answering and admitted and answering not in admitted:
            raise ConfigError(
                f"{where}: it answers Storage Commitment by calling the listener, which does not admit it: "
                f"add {answering!r} to listener.calling_ae_titles"
            )


def check_processing(settings: Settings) -> None:
    """Raise UsageError or ModelError for what the worker could not load, as far as that is known without a network.

    A hub model that has to be fetched first, and the weights themselves, are looked at by the worker alone.
    """
    find_encoder(settings.encoder.model)
    label_choice(settings)
    for folder in settings.scoring.probes:
        load_probe(folder)
    if settings.planning.preset is not None:
        load_preset(settings.planning.preset)


def _labels_with_threshold(settings: Settings) -> set[str]:
    labels = list(label_choice(settings).labels)
    for folder in settings.scoring.probes:
        labels += load_probe(folder).report_labels
    return {label.name for label in labels if label.threshold is not None}


def label_choice(settings: Settings) -> LabelChoice:
    """The label sets of the settings and of the score rules. Raises RuleError or LabelSetError."""
    rules = load_rules(settings.planning.rules_file, settings.planning.keep)
    return LabelChoice.load(settings.scoring.chosen, rules.named_label_sets)
