"""`serve`, `init`, `retry`, `give-up`, `doctor`: the running service."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.account import service_account
from dicom_pipeline.catalog.outbox import give_up as give_up_deliveries
from dicom_pipeline.catalog.outbox import retry_set_aside
from dicom_pipeline.cli.printing import AsJson, console, print_json, table
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
