"""The commands. Exit status: 0 when all was accounted for, 1 where something failed, 2 for wrong usage."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated

import typer

from dicom_pipeline.cli import backfill, demo, keeping, listings, models, network, offline, running, status
from dicom_pipeline.cli.research import exporting, searching, storing
from dicom_pipeline.cli.research import probes as research
from dicom_pipeline.errors import DicomPipelineError, UsageError


def _print_version(wanted: bool) -> None:
    from importlib.metadata import version

    if wanted:
        typer.echo(f"dicom-pipeline {version('dicom-pipeline')}")
        raise typer.Exit


app = typer.Typer(
    name="dicom-pipeline",
    help="From a PACS to MedSigLIP embeddings, label scores and DICOM Structured Reports. Research use only.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for command in (
    offline.process,
    offline.explain,
    running.serve,
    running.init,
    status.status,
    status.acknowledge,
    running.retry,
    running.give_up,
    keeping.release,
    keeping.clean,
    keeping.rebuild,
    running.doctor,
    network.send,
    backfill.backfill,
    listings.show,
    listings.presets,
    listings.labels,
    research.evaluate,
    exporting.export,
    searching.search,
    searching.similar,
    searching.duplicates,
    searching.outliers,
    searching.plot,
    demo.demo,
):
    app.command()(command)
app.add_typer(research.probe, name="probe")


@app.callback()
def _everywhere(
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """From a PACS to MedSigLIP embeddings, label scores and DICOM Structured Reports. Research use only."""
    del show_version


app.add_typer(models.models, name="models")

pseudonyms = typer.Typer(help="Pseudonyms of exports.", no_args_is_help=True, rich_markup_mode=None)
pseudonyms.command()(exporting.resolve)
app.add_typer(pseudonyms, name="pseudonyms")

store = typer.Typer(help="Care of the embedding store.", no_args_is_help=True, rich_markup_mode=None)
for care in (storing.info, storing.add, storing.verify, storing.re_embed, storing.compact):
    store.command()(care)
app.add_typer(store, name="store")


def main() -> None:
    """The entry point `dicom-pipeline`."""
    warnings.simplefilter("ignore")  # of libraries; what matters comes as an error or a reason
    try:
        app()
    except UsageError as error:
        print(f"dicom-pipeline: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except DicomPipelineError as error:
        print(f"dicom-pipeline: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except (PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError) as error:
        print(f"dicom-pipeline: {error.strerror}: {error.filename}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
