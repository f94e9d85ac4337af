"""`store info`, `store add`, `store verify`, `store re-embed`, `store compact`: the care of a store."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from dicom_pipeline.cli.printing import AsJson, console, print_json, table
from dicom_pipeline.cli.research.places import Config, From
from dicom_pipeline.domain import short_uid

Current = Annotated[
    bool,
    typer.Option("--current", help="Also studies that the present settings would embed otherwise; loads the model."),
]


def info(from_: From = None, config: Config = None, as_json: AsJson = False) -> None:
    """Say what a store holds: rows, dimension, index, for each model."""
    from dicom_pipeline.config import load_settings, store_uri
    from dicom_pipeline.research.embedding_store import EmbeddingStore

    place = from_ or store_uri(load_settings(config))
    found = EmbeddingStore.open(place, any_space=True).info()
    if as_json:
        print_json(found)
        return
    made = table(place, ("space (weights)", "dimension", "rows", "versions on disk", "vector index"))
    for space in found:
        index = "yes" if space["vector_index"] else "no: every row is compared"
        made.add_row(space["space"], str(space["dimension"]), str(space["rows"]), str(space["versions"]), index)
    console().print(made)


def add(
    outputs: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders that `process` wrote.")],
    to: Annotated[
        str | None, typer.Option(metavar="STORE", help="Folder or URL. Default: the settings' store.")
    ] = None,
    config: Config = None,
) -> None:
    """Add what `process` wrote to a store; studies that are there in a newer revision stay."""
    from dicom_pipeline.config import load_settings, store_uri
    from dicom_pipeline.research.embedding_store import EmbeddingStore
    from dicom_pipeline.research.store.rows import read_output

    store = EmbeddingStore.open(to or store_uri(load_settings(config)), create=True)
    for folder in outputs:
        rows = read_output(folder)
        taken = store.write(rows)
        typer.echo(f"{folder}: {taken} studies, {rows.num_rows} rows read")


def verify(config: Config = None, current: Current = False, as_json: AsJson = False) -> None:
    """Check the store against the catalog: missing, orphaned and stale rows."""
    from dicom_pipeline.config import load_settings
    from dicom_pipeline.maintenance.store_care import StoreCare

    settings = load_settings(config)
    care = StoreCare(settings)
    found = [(f.study_instance_uid, f.fault.value, f.count) for f in care.findings()]
    if current:
        from dicom_pipeline.pipeline import Pipeline

        found += [(uid, "outdated", 0) for uid in care.outdated(Pipeline.from_config(settings))]
    if as_json:
        print_json([{"study_instance_uid": uid, "fault": fault, "count": count} for uid, fault, count in found])
    else:
        for uid, fault, count in found:
            typer.echo(f"{short_uid(uid)}  {fault}" + (f": {count}" if count else ""))
        tally = Counter(fault for _, fault, _ in found)
        said = ", ".join(f"{count} studies with {fault} rows" for fault, count in tally.items())
        typer.echo(said or "store and catalog agree")
    raise typer.Exit(1 if found else 0)


def re_embed(
    config: Config = None,
    current: Current = False,
    remove_orphans: Annotated[
        bool, typer.Option("--remove-orphans", help="Remove studies that the catalog does not know.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Mend just what `store verify` finds; with --current ask the service for new revisions of outdated studies."""
    from dicom_pipeline.config import load_settings
    from dicom_pipeline.maintenance.store_care import StoreCare

    settings = load_settings(config)
    care = StoreCare(settings)
    done = care.mend(remove_orphans=remove_orphans)
    asked: list[str] = []
    if current:
        from dicom_pipeline.pipeline import Pipeline

        asked = care.ask_again(care.outdated(Pipeline.from_config(settings)))
    if as_json:
        counts = {"from_results": done.from_results, "processed": done.processed, "removed": done.removed}
        print_json({**counts, "skipped": done.skipped, "asked": asked})
    else:
        typer.echo(
            f"{len(done.from_results)} studies written from their results, {len(done.processed)} processed again, "
            f"{len(done.removed)} removed, {len(asked)} new revisions for the service to process"
        )
        for uid, why in done.skipped.items():
            typer.echo(f"{short_uid(uid)}: {why}")
    raise typer.Exit(1 if done.skipped else 0)


def compact(
    from_: From = None,
    config: Config = None,
    forget: Annotated[
        bool, typer.Option("--forget", help="Forget older versions at once: only while nobody reads or writes.")
    ] = False,
) -> None:
    """Join small pieces, bring indexes up to date, forget old versions."""
    from dicom_pipeline.config import load_settings, store_uri
    from dicom_pipeline.research.embedding_store import EmbeddingStore

    settings = load_settings(config)
    store = EmbeddingStore.open(from_ or store_uri(settings), any_space=True)
    hours = 0.0 if forget else settings.store.keep_versions_hours
    store.compact(keep=timedelta(hours=hours), index_rows=settings.store.index_rows)
    typer.echo(f"{store.place}: compacted")
