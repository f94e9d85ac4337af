"""`status` and `acknowledge`: how the service stands, what waits for a person, and what a person has seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dicom_pipeline.catalog.account import LAST_REVISIONS, held_studies, service_account
from dicom_pipeline.catalog.studies import open_failures, study_account
from dicom_pipeline.cli.printing import AsJson, console, print_json, table, time_text
from dicom_pipeline.cli.running import DEFAULT_CONFIG, Config, open_catalog
from dicom_pipeline.disk import bytes_text
from dicom_pipeline.domain import short_uid
from dicom_pipeline.domain.life import DeliveryState
from dicom_pipeline.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from dicom_pipeline.catalog import Catalog
    from dicom_pipeline.catalog.studies import FoundStudy
    from dicom_pipeline.config import Settings

MAX_FOUND = 20
"""Studies that are shown where several have a text."""

Text = Annotated[
    str,
    typer.Argument(
        metavar="[STUDY]", help="Study Instance UID or accession number, or a part of either.", show_default=False
    ),
]


def status(
    text: Text = "",
    config: Config = DEFAULT_CONFIG,
    last: Annotated[
        int, typer.Option(metavar="N", min=0, help="Revisions that are listed, the newest; 0 for all.")
    ] = LAST_REVISIONS,
    as_json: AsJson = False,
) -> None:
    """Show how the service stands, and the account: what came, what became of it, what was delivered, what waits.

    Exit status 0 while the service runs and nothing needs a person, else 1; with STUDY nothing of these studies.
    """
    from dicom_pipeline.config import load_settings
    from dicom_pipeline.maintenance.attention import archive_attention, service_attention
    from dicom_pipeline.service.status_file import service_status

    settings = load_settings(config)
    catalog, service = open_catalog(settings), service_status(settings.spool.folder)
    needs = service_attention(settings, service)
    if text:
        account, of_studies = _studies(settings, catalog, text)
        needs += of_studies
    else:
        account = service_account(catalog, last or None)
        needs += archive_attention(settings, account)
    account = {"service": service, "attention": needs, **account}
    if as_json:
        print_json(account)
    else:
        _print_service(service, needs)
        (_print_studies if text else _print_account)(account)
    raise typer.Exit(1 if needs else 0)


def acknowledge(
    text: Text = "",
    all_studies: Annotated[bool, typer.Option("--all", help="Every failure that nobody has acknowledged.")] = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Say that you have seen a study's failures: `status` no longer asks for a person because of them.

    Nothing is processed again; a new failure counts anew. It is recorded with your user name, in the audit trail too.
    """
    from dicom_pipeline.config import load_settings
    from dicom_pipeline.maintenance.attention import acknowledge as enter
    from dicom_pipeline.maintenance.lookup import look_up
    from dicom_pipeline.service.wiring import record_of

    if all_studies == bool(text):
        raise UsageError("expected a study (UID or accession number), or --all")
    settings = load_settings(config)
    catalog = open_catalog(settings)
    failures = open_failures(catalog)
    if text:
        found = {study.study_instance_uid for study in look_up(settings.spool.folder, catalog, text, MAX_FOUND + 1)}
        if not found:
            raise UsageError(_not_found())
        failures = [failure for failure in failures if failure.study_instance_uid in found]
        studies = sorted({failure.study_instance_uid for failure in failures})
        if len(studies) > 1:
            raise UsageError(f"several studies with failures fit; name one of them: {', '.join(studies[:MAX_FOUND])}")
    enter(catalog, record_of(settings, "acknowledge"), failures)
    count = len({failure.study_instance_uid for failure in failures})
    typer.echo(f"acknowledged: {len(failures)} failed revisions of {count} studies")


def _studies(settings: Settings, catalog: Catalog, text: str) -> tuple[dict[str, Any], list[str]]:
    """The accounts of the studies that a text fits, and what of them waits for a person. Raises UsageError where none does."""
    from dicom_pipeline.maintenance.attention import study_attention
    from dicom_pipeline.maintenance.lookup import look_up

    found = look_up(settings.spool.folder, catalog, text, MAX_FOUND + 1)
    if not found:
        raise UsageError(_not_found())
    studies = [_study(catalog, study) for study in found[:MAX_FOUND]]
    failures, held = open_failures(catalog), held_studies(catalog)
    needs = [line for study in studies for line in study_attention(settings, study, failures, held)]
    return {"studies": studies, "more": len(found) > MAX_FOUND}, needs


def _study(catalog: Catalog, found: FoundStudy) -> dict[str, Any]:
    account = study_account(catalog, found.study_instance_uid)
    assert account is not None
    return {**account, "accession_number": found.accession_number}


def _not_found() -> str:
    return "no study has this text in its UID or accession number; `status` without it lists the newest"


def _print_service(service: Mapping[str, Any], needs: Sequence[str]) -> None:
    """How the service stands, and what a person must do."""
    screen = console()
    processes = "".join(f", {name} {state}" for name, state in service["processes"].items())
    screen.print(f"service {service['state']}{processes}")
    for incident, count in service["incidents"].items():
        screen.print(f"{count} {incident.replace('-', ' ')} since the worker started")
    for sentence in needs:
        screen.print(f"NEEDS A PERSON: {sentence}", soft_wrap=True)


def _print_studies(account: Mapping[str, Any]) -> None:
    """Each study that was asked for: where it stands, its revisions, and the words of its deliveries."""
    screen = console()
    for study in account["studies"]:
        number = f", accession number {study['accession_number']}" if study["accession_number"] else ""
        count = study["received"]
        screen.print(
            f"{study['study_instance_uid']}{number}: {study['state']}, {count} instance{'s' if count != 1 else ''} from "
            f"{', '.join(study['senders']) or 'nobody'} ({', '.join(study['modalities']) or 'no modality'}), the last at "
            f"{time_text(study['last_at'])}",
            soft_wrap=True,
        )
        if study["revisions"]:
            screen.print(_revisions_table("", study["revisions"]))
        for note, times in _notes(study["revisions"]).items():
            screen.print(f"{times} x {note}")
    if account["more"]:
        screen.print(f"These are the first {MAX_FOUND}; a longer part finds fewer.")


def _print_account(account: Mapping[str, Any]) -> None:
    totals, screen = account["totals"], console()
    screen.print(
        f"{totals['instances']} instances of {totals['studies']} studies received, {totals['waiting']} studies waiting, "
        f"{totals['associations']} associations open, {totals['refusals']} refusals, {totals['conflicts']} conflicts"
    )
    shown = len(account["revisions"])
    title = "Revisions" if shown == totals["revisions"] else f"The last {shown} of {totals['revisions']} revisions"
    screen.print(_revisions_table(title, account["revisions"]))
    for note, count in _notes(account["revisions"]).items():
        screen.print(f"{count} x {note}")
    for destination, states in account["commitments"].items():
        said = ", ".join(f"{count} {state}" for state, count in states.items())
        screen.print(f"Storage Commitment by {destination}: {said}")
    _print_spool(account["spool"])
    for study in account["held"]:
        screen.print(f"waits: {short_uid(study['study_instance_uid'])}: {study['why']}")
    for reason, count in account["refusals"].items():
        screen.print(f"refused: {count} x {reason}")
    for failure in account["failures"]:
        screen.print(
            f"failed: {failure['study_instance_uid']} revision {failure['number']}"
            f"{f': {text}' if (text := failure['message']) else ''}"
        )
    for item in account["set_aside"]:
        screen.print(f"set aside: {short_uid(item['report_uid'])} to {item['destination']}: {item['message']}")


def _revisions_table(title: str, revisions: Sequence[Mapping[str, Any]]) -> Table:
    """A row a revision: whose, of what, when, and what became of it."""
    columns = (
        "study",
        "no",
        "sender",
        "modality",
        "time",
        "state",
        "received",
        "used",
        "excluded",
        "failed",
        "why not",
    )
    made = table(title, (*columns, "deliveries"))
    for r in revisions:
        why = "\n".join(f"{count} x {reason}" for reason, count in r["reasons"].items()) or r["message"]
        sent = "\n".join(
            f"{where}: {count if count > 1 else ''} {state}".replace("  ", " ")
            for (where, state), count in Counter(map(_delivery_state, r["deliveries"])).items()
        )
        made.add_row(
            short_uid(r["study_instance_uid"]),
            str(r["number"]),
            "\n".join(r["senders"]),
            "\n".join(r["modalities"]),
            time_text(r["finished_at"] or r["created_at"]),
            r["state"],
            *(str(r[name]) for name in ("received", "used", "excluded", "failed")),
            why,
            sent,
        )
    return made


def _delivery_state(delivery: Mapping[str, Any]) -> tuple[str, str]:
    """Destination, and the state in words."""
    return delivery["destination"], "delivered, verified" if delivery["verified"] else delivery["state"]


def _notes(revisions: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """What was last said of deliveries that wait or arrived with a warning; those set aside have lines of their own."""
    return Counter(
        f"{_delivery_state(delivery)[1]}: to {delivery['destination']}: {delivery['message']}"
        for revision in revisions
        for delivery in revision["deliveries"]
        if delivery["message"] and delivery["state"] != DeliveryState.SET_ASIDE
    )


def _print_spool(spool: Mapping[str, Any]) -> None:
    """What is held, may be cleaned, was removed, and why the rest is kept."""
    held, may_go, removed = spool["held"], spool["may_go"], spool["removed"]
    console().print(
        f"Spool: {held['instances']} files held ({bytes_text(held['bytes'])}), of which {may_go['instances']} may be cleaned "
        f"({bytes_text(may_go['bytes'])}); {removed['instances']} were removed ({bytes_text(removed['bytes'])})"
    )
    for why, size in spool["kept_because"].items():
        console().print(f"kept: {size['instances']} files of {size['studies']} studies: {why}")
