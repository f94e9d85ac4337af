"""`search`, `similar`, `duplicates`, `outliers`, `plot`: looking into a store."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.arrivals import path_of_instance
from dicom_pipeline.cli.printing import AsJson, console, print_json, table
from dicom_pipeline.cli.research.places import Config, From, Space, Where, level_option, open_store
from dicom_pipeline.domain import ROW_LEVELS
from dicom_pipeline.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from dicom_pipeline.config import Settings

Top = Annotated[int, typer.Option(min=1, max=10_000, help="How many.")]
SCORES = ("score_labels", "score_kinds", "score_values")


class Method(StrEnum):
    """How a map is made."""

    UMAP = "umap"
    PCA = "pca"


def search(
    text: Annotated[str | None, typer.Argument(help="What to look for, in words the model knows.")] = None,
    like: Annotated[
        str | None, typer.Option(metavar="UID[#FRAME]|FILE", help="A row of the store, or a DICOM, PNG or JPEG file.")
    ] = None,
    from_: From = None,
    top: Top = 20,
    where: Where = None,
    level: Annotated[str, level_option(ROW_LEVELS, "At most one row a series or study.")] = "frame",
    diversity: Annotated[
        float, typer.Option(min=0, max=0.99, help="0 ranks by similarity alone; more lets unlike rows come earlier.")
    ] = 0.2,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with thumbnails and links.")] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="Where the images of the thumbnails are. Default: the spool."),
    ] = None,
    viewer: Annotated[
        list[str] | None, typer.Option(metavar="NAME=URL", help="Links on the page. Default: viewers of the settings.")
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Compare with every row, even where there is an index.")
    ] = False,
    space: Space = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Search by text, or with --like by image."""
    from dicom_pipeline.config import load_settings
    from dicom_pipeline.research.search.pages import search_page
    from dicom_pipeline.research.search.viewers import viewers_of

    settings = load_settings(config)
    links = viewers_of(viewer or settings.store.viewers)
    store = open_store(settings, from_, space)
    encoder = store.encoder(settings.encoder.device) if text is not None or (like and Path(like).is_file()) else None
    found = store.search(
        text, like=like, top=top, where=where, level=level, diversity=diversity, exact=exact, encoder=encoder
    )
    if html is not None:
        asked = text or f"like {like}"
        notice = encoder.notice if encoder is not None else ""
        page = search_page(found, asked=asked, path_of=_paths(settings, images), viewers=links, notice=notice)
        html.write_text(page, encoding="utf-8")
    columns = (
        "similarity",
        "modality",
        "body_part",
        "view",
        "position_mm",
        "study_instance_uid",
        "sop_instance_uid",
        "frame",
    )
    _show(found.drop_columns(list(SCORES)), columns, as_json=as_json, note=f"{html}" if html else "")


def similar(
    study: Annotated[str, typer.Argument(metavar="STUDY_UID", help="Study Instance UID of a study in the store.")],
    from_: From = None,
    top: Top = 20,
    where: Where = None,
    space: Space = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List the studies most like a study, whole against whole."""
    from dicom_pipeline.config import load_settings

    found = open_store(load_settings(config), from_, space).similar(study, top=top, where=where)
    _show(found, ("similarity", "modalities", "body_parts", "frames", "study_instance_uid"), as_json=as_json)


def duplicates(
    from_: From = None,
    where: Where = None,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Least cosine similarity of a pair.")] = 0.999,
    space: Space = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List pairs of nearly equal images of different series."""
    from dicom_pipeline.config import load_settings

    found = open_store(load_settings(config), from_, space).duplicates(where, threshold=threshold)
    columns = ("similarity", "same_patient", "first_modality", "first_sop_instance_uid", "second_sop_instance_uid")
    _show(found, columns, as_json=as_json)


def outliers(
    from_: From = None,
    where: Where = None,
    top: Top = 20,
    neighbours: Annotated[int, typer.Option(min=1, max=100, help="Nearest rows whose mean distance counts.")] = 5,
    by: Annotated[
        str, typer.Option(metavar="COLUMN", help="Rows are compared with those that agree in this.")
    ] = "modality",
    space: Space = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List the images that are least like any of another series."""
    from dicom_pipeline.config import load_settings

    store = open_store(load_settings(config), from_, space)
    _check_column(store.schema, by)
    found = store.outliers(where, top=top, nearest_rows=neighbours, by=by)
    _show(found, ("deviation", "distance", "modality", "body_part", "sop_instance_uid", "frame"), as_json=as_json)


def plot(
    out: Annotated[Path, typer.Option(metavar="FILE", help="Picture (.png) or page (.html).")],
    from_: From = None,
    color_by: Annotated[str, typer.Option(metavar="COLUMN", help="What the colours mean.")] = "modality",
    method: Annotated[
        Method, typer.Option(help="umap shows neighbourhoods, pca the two main directions.")
    ] = Method.UMAP,
    where: Where = None,
    most: Annotated[
        int, typer.Option(min=3, help="With more rows, so many are drawn at random (the same each time).")
    ] = 20_000,
    space: Space = None,
    config: Config = None,
) -> None:
    """Draw a map of the embeddings as PNG or as an interactive page."""
    import numpy as np

    from dicom_pipeline.config import load_settings
    from dicom_pipeline.research.search.projection import SHOWN, groups_of, project, write_html, write_png
    from dicom_pipeline.research.store.rows import vectors_of

    if out.suffix.lower() not in (".png", ".html"):
        raise UsageError(f"cannot write {out}: expected a name that ends in .png or .html")
    store = open_store(load_settings(config), from_, space)
    _check_column(store.schema, color_by)
    names = dict.fromkeys(["sop_instance_uid", "frame", "study_instance_uid", *SHOWN, color_by, "embedding"])
    rows = store.rows(where, list(names))
    total = rows.num_rows
    if total > most:
        rows = rows.take(np.sort(np.random.default_rng(0).choice(total, most, replace=False)))
    points = project(vectors_of(rows), method.value)
    groups, colours = groups_of(rows[color_by].to_pylist())
    title = f"{rows.num_rows} of {total} embeddings by {color_by} ({method.value.upper()})"
    if out.suffix.lower() == ".png":
        write_png(out, points, groups, colours, title)
    else:
        write_html(out, rows.drop_columns(["embedding"]), points, groups, colours, title)
    typer.echo(f"{out}: {title}")


def _check_column(schema: pa.Schema, name: str) -> None:
    import pyarrow as pa

    if name not in schema.names or pa.types.is_nested(schema.field(name).type):
        columns = ", ".join(field.name for field in schema if not pa.types.is_nested(field.type))
        raise UsageError(f"no column {name!r}. The columns are: {columns}")


def _paths(settings: Settings, images: Sequence[Path] | None) -> Callable[[str], Path | None]:
    """Where the file of a SOP Instance UID is: among the given files, else in the spool."""
    from dicom_pipeline.planning import scan

    if images:
        found = scan(images)
        known = {h.sop_instance_uid: h.path for headers in found.studies.values() for h in headers}
        return known.get
    path = settings.spool.folder / "catalog.sqlite"
    if not path.exists():
        return lambda _: None
    catalog = Catalog(path, create=False)

    def in_spool(uid: str) -> Path | None:
        relative = path_of_instance(catalog, uid)
        return settings.spool.folder / relative if relative else None

    return in_spool


def _show(found: pa.Table, columns: Sequence[str], *, as_json: bool, note: str = "") -> None:
    rows: list[dict[str, Any]] = found.to_pylist()
    if as_json:
        print_json([{name: _plain(value) for name, value in row.items()} for row in rows])
        return
    made = table("", ("", *columns))
    for index, row in enumerate(rows, 1):
        made.add_row(str(index), *(_text(row[name]) for name in columns))
    console().print(made)
    console().print(f"{len(rows)} found. Research use only, not for diagnosis. {note}", soft_wrap=True, highlight=False)


def _plain(value: Any) -> Any:
    """A value as JSON has it: NaN is null, a date its ISO text."""
    if isinstance(value, float) and math.isnan(value):
        return None
    return value if isinstance(value, str | int | float | bool | list | None) else str(value)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(value)
    return f"{value:.4f}" if isinstance(value, float) else str(value)
