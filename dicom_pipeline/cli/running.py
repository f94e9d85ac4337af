"""`serve`, `init`, `status`, `retry`, `doctor`: the running service."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.account import LAST_REVISIONS, service_account
from dicom_pipeline.catalog.outbox import give_up as give_up_deliveries
from dicom_pipeline.catalog.outbox import retry_set_aside
from dicom_pipeline.cli.printing import AsJson, bytes_text, console, print_json, table
from dicom_pipeline.domain import short_uid
from dicom_pipeline.domain.life import DeliveryState
from dicom_pipeline.errors import UsageError

if TYPE_CHECKING:
    from dicom_pipeline.config import Settings

Config = Annotated[Path, typer.Option(help="Settings file (TOML).")]
DEFAULT_CONFIG = Path("pipeline.toml")


def serve(config: Config = DEFAULT_CONFIG) -> None:
    """Run listener, worker and delivery until stopped (SIGTERM or Ctrl-C)."""
    from dicom_pipeline.config import load_settings
    from dicom_pipeline.service.logs import set_up_logs
    from dicom_pipeline.service.supervisor import serve as run

    settings = load_settings(config)
    set_up_logs(settings.service.log_format, settings.service.log_level)
    run(settings)


def init(
    file: Annotated[Path, typer.Argument(help="Where to write.")] = DEFAULT_CONFIG,
    force: Annotated[bool, typer.Option(help="Replace a file that is there.")] = False,
) -> None:
    """Write a commented settings file to start from."""
    from dicom_pipeline.config.settings_text import settings_text

    if file.exists() and not force:
        raise UsageError(f"{file} is there already; --force replaces it")
    file.write_text(settings_text(), encoding="utf-8")
    typer.echo(f"wrote {file}; start with: dicom-pipeline serve --config {file}")


def status(
    config: Config = DEFAULT_CONFIG,
    last: Annotated[
        int, typer.Option(metavar="N", min=0, help="Revisions that are listed, the newest; 0 for all.")
    ] = LAST_REVISIONS,
    as_json: AsJson = False,
) -> None:
    """Show how the service stands, and the account: what came, what became of it, what was delivered, what waits."""
    from dicom_pipeline.config import load_settings
    from dicom_pipeline.service.status_file import service_status

    settings = load_settings(config)
    account = {
        "service": service_status(settings.spool.folder),
        **service_account(open_catalog(settings), last or None),
    }
    unknown = _unknown_destinations(settings, account)
    if as_json:
        print_json(account)
    else:
        _print_account(account)
        for name, count in unknown.items():
            console().print(
                f"waits: {count} deliveries to {name}, which is not in the settings; `dicom-pipeline give-up {name}` ends that"
            )
    bad = (
        account["service"]["silent"]
        or account["set_aside"]
        or account["held"]
        or unknown
        or account["totals"]["failed_revisions"]
    )
    raise typer.Exit(1 if bad else 0)


def _unknown_destinations(settings: Settings, account: dict[str, Any]) -> dict[str, int]:
    """Deliveries that nobody makes: the number pending to each destination that was taken out of the settings."""
    known = {peer.name for peer in settings.delivering}
    counts = {
        name: states.get(DeliveryState.PENDING, 0)
        for name, states in account["deliveries"].items()
        if name not in known
    }
    return {name: count for name, count in counts.items() if count}


def retry(
    config: Config = DEFAULT_CONFIG,
    destination: Annotated[str, typer.Option(help="Only this destination.")] = "",
) -> None:
    """Make deliveries that were set aside pending again."""
    from dicom_pipeline.config import load_settings

    settings = load_settings(config)
    count = retry_set_aside(open_catalog(settings), time.time(), destination)
    names = [peer.name for peer in settings.delivering]
    if destination and not count and destination not in names:
        raise UsageError(f"no destination is called {destination!r}; there are: {', '.join(names) or 'none'}")
    typer.echo(f"{count} deliveries are pending again")


def give_up(
    destination: Annotated[str, typer.Argument(help="Its name, as `status` has it.")],
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Give up deliveries that were set aside, and all to a destination that is no longer in the settings.

    The reports stay in the data folder; the studies' files need no longer be kept for them. `retry --destination` undoes it.
    """
    from dicom_pipeline.config import load_settings

    settings = load_settings(config)
    known = destination in [peer.name for peer in settings.delivering]
    catalog = open_catalog(settings)
    if not known and destination not in service_account(catalog, last=0)["deliveries"]:
        raise UsageError(f"there is no delivery to a destination called {destination!r}")
    count = give_up_deliveries(catalog, destination, time.time(), pending=not known)
    typer.echo(f"given up: {count} of the deliveries to {destination}")


def doctor(
    config: Annotated[
        Path | None, typer.Option(help="Settings file (TOML). Default: pipeline.toml, where there is one.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what is missing on this machine, which device and dtype will be used, whether destinations answer."""
    from dicom_pipeline.config import load_settings
    from dicom_pipeline.maintenance.doctor import examine

    config = config or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None)
    settings = load_settings(config)
    checks = [("settings", (True, str(config or "none: defaults, no destination; `dicom-pipeline init` writes some")))]
    checks += examine(settings)
    wrong = [name for name, (good, _) in checks if not good]
    if as_json:
        print_json([{"check": name, "ok": good, "says": says} for name, (good, says) in checks])
    else:
        made = table("", ("", "check", "says"))
        for name, (good, says) in checks:
            made.add_row("ok" if good else "WRONG", name, says)
        console().print(made)
    raise typer.Exit(1 if wrong else 0)


def open_catalog(settings: Settings) -> Catalog:
    """The catalog of a service that has run. Raises UsageError where there is none."""
    path = settings.spool.folder / "catalog.sqlite"
    if not path.exists():
        raise UsageError(f"there is no catalog at {path}; has `dicom-pipeline serve` run with this configuration?")
    return Catalog(path, create=False)


def _print_account(account: dict[str, Any]) -> None:
    totals, screen = account["totals"], console()
    service = account["service"]
    processes = "".join(f", {name} {state}" for name, state in service["processes"].items())
    screen.print(f"service {service['state']}{processes}")
    for words in service["silent"]:
        screen.print(f"silent: {words}")
    for words in service["down"]:
        screen.print(words)
    for incident, count in service["incidents"].items():
        screen.print(f"{count} {incident.replace('-', ' ')} since the worker started")
    screen.print(
        f"{totals['instances']} instances of {totals['studies']} studies received, {totals['waiting']} studies waiting, "
        f"{totals['associations']} associations open, {totals['refusals']} refusals, {totals['conflicts']} conflicts"
    )
    shown = len(account["revisions"])
    title = "Revisions" if shown == totals["revisions"] else f"The last {shown} of {totals['revisions']} revisions"
    made = table(title, ("study", "no", "state", "received", "used", "excluded", "failed", "why not", "deliveries"))
    for r in account["revisions"]:
        why = "\n".join(f"{count} x {reason}" for reason, count in r["reasons"].items()) or r["message"]
        sent = "\n".join(
            f"{where}: {count if count > 1 else ''} {state}".replace("  ", " ")
            for (where, state), count in Counter(map(_delivery_state, r["deliveries"])).items()
        )
        counts = [str(r[k]) for k in ("received", "used", "excluded", "failed")]
        made.add_row(short_uid(r["study_instance_uid"]), str(r["number"]), r["state"], *counts, why, sent)
    screen.print(made)
    for note, count in _notes(account).items():
        screen.print(f"{count} x {note}")
    for destination, states in account["commitments"].items():
        said = ", ".join(f"{count} {state}" for state, count in states.items())
        screen.print(f"Storage Commitment by {destination}: {said}")
    _print_spool(account["spool"])
    for study in account["held"]:
        screen.print(f"waits: {short_uid(study['study_instance_uid'])}: {study['why']}")
    for reason, count in account["refusals"].items():
        screen.print(f"refused: {count} x {reason}")
    for item in account["set_aside"]:
        screen.print(f"set aside: {short_uid(item['report_uid'])} to {item['destination']}: {item['message']}")
    if account["set_aside"]:
        screen.print("when the reason is set right, `dicom-pipeline retry` makes what was set aside pending again")


def _delivery_state(delivery: dict[str, Any]) -> tuple[str, str]:
    """Destination, and the state in words."""
    return delivery["destination"], "delivered, verified" if delivery["verified"] else delivery["state"]


def _notes(account: dict[str, Any]) -> Counter[str]:
    """What was last said of deliveries that wait or arrived with a warning; those set aside have lines of their own."""
    return Counter(
        f"{_delivery_state(delivery)[1]}: to {delivery['destination']}: {delivery['message']}"
        for revision in account["revisions"]
        for delivery in revision["deliveries"]
        if delivery["message"] and delivery["state"] != DeliveryState.SET_ASIDE
    )


def _print_spool(spool: dict[str, Any]) -> None:
    """What is held, may be cleaned, was removed, and why the rest is kept."""
    held, may_go, removed = spool["held"], spool["may_go"], spool["removed"]
    console().print(
        f"Spool: {held['instances']} files held ({bytes_text(held['bytes'])}), of which {may_go['instances']} may be cleaned "
        f"({bytes_text(may_go['bytes'])}); {removed['instances']} were removed ({bytes_text(removed['bytes'])})"
    )
    for why, size in spool["kept_because"].items():
        console().print(f"kept: {size['instances']} files of {size['studies']} studies: {why}")
