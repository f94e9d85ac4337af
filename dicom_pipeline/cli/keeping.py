"""`clean`, `release`, `rebuild`: what stays in the spool, studies that wait for a person, a lost catalog."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated

import typer

from dicom_pipeline.cli.printing import AsJson, print_json
from dicom_pipeline.cli.running import DEFAULT_CONFIG, Config, open_catalog
from dicom_pipeline.disk import bytes_text
from dicom_pipeline.domain import short_uid
from dicom_pipeline.errors import UsageError

PROGRESS_FILES = 1000


def clean(
    config: Config = DEFAULT_CONFIG,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be cleaned.")] = False,
    keep_days: Annotated[
        float | None, typer.Option(metavar="DAYS", min=0, help="Instead of the settings' keep_days.")
    ] = None,
    keep_bytes: Annotated[
        int | None, typer.Option(metavar="BYTES", min=0, help="Instead of the settings' keep_bytes.")
    ] = None,
    conflicts: Annotated[
        bool, typer.Option("--conflicts", help="Also studies with a content conflict: after you have looked at it.")
    ] = False,
    trust_rebuild: Annotated[
        bool,
        typer.Option("--trust-rebuild", help="Treat files from before a rebuild like others, from now on."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Clean delivered studies' files from the spool, by keep_days and keep_bytes."""
    from dicom_pipeline.assembly.cleaner import DAY_SECONDS, clean_spool, retention_rule
    from dicom_pipeline.assembly.retention import Cleaned, RetentionRule, to_clean
    from dicom_pipeline.catalog.retention import trust_rebuilt
    from dicom_pipeline.config import load_settings
    from dicom_pipeline.service.wiring import record_of

    settings = load_settings(config)
    catalog = open_catalog(settings)
    rule = retention_rule(settings.spool)
    if keep_days is not None or keep_bytes is not None:
        rule = RetentionRule(None if keep_days is None else keep_days * DAY_SECONDS, keep_bytes)
    if rule == RetentionRule():
        raise UsageError("nothing says what may go: set keep_days or keep_bytes in [spool], or give --keep-days")
    also = {"content-conflict"} if conflicts else set()
    if trust_rebuild and not dry_run:
        trust_rebuilt(catalog)
    if dry_run:
        chosen = to_clean(catalog, rule, time.time(), also | ({"rebuilt"} if trust_rebuild else set()))
        done = Cleaned(len(chosen), sum(s.instances for s in chosen), sum(s.bytes for s in chosen))
    else:
        done = clean_spool(settings, catalog, record_of(settings, "clean"), rule, also)
    if as_json:
        print_json({**asdict(done), "dry_run": dry_run})
    else:
        says = "would be cleaned" if dry_run else "cleaned"
        typer.echo(f"{done.studies} studies, {done.instances} files, {bytes_text(done.bytes)} {says}")


def release(
    study: Annotated[str, typer.Argument(metavar="STUDY_UID", help="Study Instance UID, as `status --json` has it.")],
    config: Config = DEFAULT_CONFIG,
    partial: Annotated[
        bool, typer.Option("--partial", help="Also where files of it were cleaned; those are accounted as cleaned.")
    ] = False,
) -> None:
    """Let a study that waits be processed as it stands, or once more."""
    from dicom_pipeline.catalog.revisions import ask_revision
    from dicom_pipeline.config import load_settings

    try:
        number = ask_revision(open_catalog(load_settings(config)), study, time.time(), partial=partial)
    except LookupError:
        raise UsageError(f"no instance of the study {short_uid(study)} has come") from None
    typer.echo("its last revision is still on its way" if number is None else f"revision {number} is ready")


def rebuild(
    config: Config = DEFAULT_CONFIG,
    force: Annotated[bool, typer.Option("--force", help="Also where the catalog is whole.")] = False,
    as_json: AsJson = False,
) -> None:
    """Build a lost or broken catalog anew from the spool; the old one is kept beside it."""
    from dicom_pipeline.config import load_settings
    from dicom_pipeline.maintenance.rebuild import rebuild as build_anew

    done = build_anew(load_settings(config), force=force, progress=_progress)
    if as_json:
        print_json(asdict(done))
    else:
        typer.echo(
            f"{done.files} files: {done.entered} instances, {done.conflicts} conflicts, {len(done.skipped)} left as they are; "
            f"{done.missing_files} instances known without a file\n"
            f"{done.records} revisions with {done.reports} reports restored; these are due again at their destinations"
        )
        for name, why in (*done.skipped.items(), *done.records_skipped.items()):
            typer.echo(f"{name}: {why}")
        if done.backup:
            typer.echo(f"the old catalog is kept as {done.backup}")
    raise typer.Exit(1 if done.skipped else 0)


def _progress(files: int) -> None:
    if files % PROGRESS_FILES == 0:
        typer.echo(f"{files} files read", err=True)
