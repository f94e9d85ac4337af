"""`show`, `presets`, `labels`: what there is to read."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dicom_pipeline.cli.printing import AsJson, console, print_json, table
from dicom_pipeline.errors import UsageError


def show(
    file: Annotated[Path, typer.Argument(help="A Structured Report made by dicom-pipeline.")],
    as_json: AsJson = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it as an HTML page instead.")] = None,
) -> None:
    """Print a report as a person would want to read it."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    from dicom_pipeline.dicom.attributes import UNPARSABLE
    from dicom_pipeline.reporting import read_report, report_html, report_text

    if not file.is_file():
        raise UsageError(f"no file at {file}")
    try:
        report = read_report(dcmread(file))
    except InvalidDicomError as error:
        raise UsageError(f"{file} is not a DICOM file: expected one with a DICM preamble (PS3.10)") from error
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror or type(error).__name__}") from error
    except UNPARSABLE as error:
        raise UsageError(f"{file} is broken: {type(error).__name__} while reading it") from error
    if html is not None:
        html.write_text(report_html(report), encoding="utf-8")
        console().print(f"  {html}", highlight=False, soft_wrap=True)
    elif as_json:
        print_json(asdict(report))
    else:
        typer.echo(report_text(report))


def presets(as_json: AsJson = False) -> None:
    """List the rendering presets."""
    from dicom_pipeline.imaging import list_presets

    found = list_presets()
    if as_json:
        print_json([{**asdict(preset), "digest": preset.digest} for preset in found])
        return
    made = table("", ("preset", "version", "geometry", "resize", "what it does"))
    for preset in found:
        made.add_row(preset.name, preset.version, preset.geometry, preset.resize, preset.description)
    console().print(made)


def labels(as_json: AsJson = False) -> None:
    """List the shipped label sets."""
    from dicom_pipeline.scoring import list_label_sets, scope_of

    found = list_label_sets()
    if as_json:
        print_json([asdict(label_set) for label_set in found])
        return
    made = table("", ("label set", "version", "kind", "applies to", "labels"))
    for label_set in found:
        made.add_row(
            label_set.name,
            label_set.version,
            label_set.kind.value,
            scope_of(label_set),
            ", ".join(x.name for x in label_set.labels),
        )
    console().print(made)
