"""`backfill`: fetch what an archive holds already."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.cli.printing import AsJson, console, print_json
from dicom_pipeline.disk import private_umask
from dicom_pipeline.errors import DeliveryError, SourceError, UsageError

if TYPE_CHECKING:
    from dicom_pipeline.config import Settings
    from dicom_pipeline.sources.backfill import Backfill, Listing
    from dicom_pipeline.sources.study_filter import StudyFilter


class Archive(StrEnum):
    """Kinds of archives that can be read."""

    ORTHANC = "orthanc"


OUTCOMES = {
    "new": "fetched",
    "duplicate": "came from elsewhere meanwhile",
    "held": "in the spool before, not fetched again",
    "not-wanted": "outside the filters",
    "own-object": "a report of dicom_pipeline's, or beside one",
    "conflict": "another content under a UID that is held; kept apart, not processed",
    "vanished": "deleted in Orthanc meanwhile",
    "not-readable": "Orthanc cannot give the file",
}
"""Words of the account for a person; all others are reasons of a refusal."""


def backfill(
    archive: Annotated[Archive, typer.Argument(help="Kind of archive.")],
    url: Annotated[str, typer.Argument(help="Its URL, such as http://127.0.0.1:8042.")],
    config: Annotated[Path, typer.Option(help="Settings file (TOML) of the service that will process.")] = Path(
        "pipeline.toml"
    ),
    user: Annotated[str | None, typer.Option(help="User name for basic authentication.")] = None,
    password_env: Annotated[
        str, typer.Option(metavar="VARIABLE", help="Environment variable that holds the password.")
    ] = "ORTHANC_PASSWORD",  # noqa: S107 - the variable's name
    tls_ca: Annotated[Path | None, typer.Option(help="PEM file of the authorities that sign its certificate.")] = None,
    since: Annotated[str, typer.Option(metavar="YYYYMMDD", help="First study date.")] = "",
    until: Annotated[str, typer.Option(metavar="YYYYMMDD", help="Last study date.")] = "",
    modality: Annotated[
        list[str] | None, typer.Option(metavar="CT", help="Only series of this modality; may be repeated.")
    ] = None,
    description: Annotated[str, typer.Option(metavar="REGEX", help="Study or series description must hold this.")] = "",
    rate: Annotated[float | None, typer.Option(metavar="N", help="Most instances a second; unset: no limit.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what fits the filters.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch what an Orthanc holds into the spool of `serve`, e.g. `backfill orthanc URL --since 20250101 --modality CT`.

    Ctrl-C or a crash loses nothing: the same command goes on where it stopped.
    """
    from dicom_pipeline.config import OrthancPeer, load_settings
    from dicom_pipeline.peers.orthanc import OrthancServer
    from dicom_pipeline.sources.backfill import Backfill, list_matching
    from dicom_pipeline.sources.orthanc import OrthancSource

    del archive  # there is one kind
    wanted = _wanted(since, until, modality, description)
    if rate is not None and rate <= 0:
        raise UsageError("--rate must be above 0")
    settings = load_settings(config)
    password = os.environ.get(password_env) if user else None
    if user and password is None:
        raise UsageError(f"the environment variable {password_env} is not set; it holds the password of {user}")
    try:
        peer = OrthancPeer(type="orthanc", name="backfill", url=url, username=user, tls_ca=tls_ca)
    except ValueError as error:
        raise UsageError(f"{url!r} is not a URL that begins with http:// or https:// and names a host") from error
    server = OrthancServer(peer, password)
    if problem := server.echo():
        raise DeliveryError(f"Orthanc at {url}: {problem}")
    source = OrthancSource(server, address=url)
    try:
        if dry_run:
            with _listing(quiet=as_json) as listed:
                listing = list_matching(source, wanted, listed)
            _show_listing(listing, as_json)
            return
        with private_umask():
            catalog = Catalog(settings.spool.folder / "catalog.sqlite")
            with _listing(quiet=as_json) as listed:
                run = Backfill(source, catalog, url, wanted, listed)
            account = _run(run, settings, catalog, rate, quiet=as_json)
    except KeyboardInterrupt:
        screen = console()
        screen.print("Stopped. The same command goes on here.")
        raise typer.Exit(130) from None
    except (SourceError, OSError) as error:
        why = str(error) if isinstance(error, SourceError) else error.strerror
        raise DeliveryError(f"the run was cut short ({why}); run the same command again to go on") from error
    _show_account(account, as_json)
    raise typer.Exit(0 if account["balanced"] else 1)


def _wanted(since: str, until: str, modality: list[str] | None, description: str) -> StudyFilter:
    from dicom_pipeline.sources.study_filter import StudyFilter

    for name, date in (("--since", since), ("--until", until)):
        if date and not re.fullmatch(r"\d{8}", date):
            raise UsageError(f"{name} expects a date as YYYYMMDD, found {date!r}")
    try:
        re.compile(description)
    except re.error as error:
        raise UsageError(f"--description is not a regular expression: {error}") from error
    return StudyFilter(since, until, tuple(sorted(modality or ())), description)


@contextmanager
def _listing(*, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Shows how many studies of an archive were listed; a large one takes minutes."""
    from rich.progress import Progress, SpinnerColumn, TextColumn

    columns = (TextColumn("{task.description}"), SpinnerColumn(), TextColumn("{task.completed:,.0f}"))
    with Progress(*columns, console=console(), disable=quiet, transient=True) as bar:
        task = bar.add_task("studies listed", total=None)
        yield lambda count: bar.advance(task, count)


def _run(run: Backfill, settings: Settings, catalog: Catalog, rate: float | None, *, quiet: bool) -> dict[str, Any]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from dicom_pipeline.service.wiring import receiver_of, record_of
    from dicom_pipeline.sources.rate_limiter import RateLimiter

    receiver = receiver_of(settings, catalog, record_of(settings, "backfill"))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(), disable=quiet) as bar:
        text = "instances (resumed)" if run.resumed else "instances"
        task = bar.add_task(text, total=run.instances, completed=run.instances_done)
        return run.run(receiver, RateLimiter(rate), lambda count: bar.advance(task, count))


def _show_listing(listing: Listing, as_json: bool) -> None:
    outside = sum(listing.studies.values()) - listing.fitting + listing.outside
    if as_json:
        values = {"studies": len(listing.studies), "instances": listing.fitting, "outside": outside}
        print_json({**values, "source_instances": listing.instances, "balanced": listing.agrees})
        return
    screen = console()
    screen.print(f"{listing.instances:,} instances, by Orthanc's count:")
    screen.print(f"{listing.fitting:>9,} in {len(listing.studies):,} studies fit the filters")
    screen.print(f"{outside:>9,} do not")
    screen.print("Nothing was fetched; without --dry-run, what the spool lacks of those that fit is.")
    if not listing.agrees:
        screen.print("These do not sum up to Orthanc's count: studies came or went while they were listed.")


def _show_account(account: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(account)
        return
    screen = console()
    screen.print(
        f"{account['instances']:,} instances, by Orthanc's count; {account['studies']:,} studies fit the filters:"
    )
    for word, count in account["outcomes"].items():
        screen.print(f"{count:>9,} {word}: {OUTCOMES.get(word, 'refused')}")
    more = account["source_instances"] - account["instances"]
    if more:
        change = f"{more:,} more" if more > 0 else f"{-more:,} fewer"
        screen.print(f"Orthanc holds {account['source_instances']:,} by now, {change} than when this run listed it.")
    if not account["balanced"]:
        screen.print("These do not sum up to Orthanc's count: studies changed while they were fetched. Run it again.")
