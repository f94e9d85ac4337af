"""`process` and `explain`: the stages over files and folders, no network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dicom_pipeline.cli.printing import AsJson, console, plans_table, print_json, reasons_text
from dicom_pipeline.domain import NO_LABEL_APPLIES, InstanceError, Outcome, Plan, Reason, Rendering

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL import Image
    from pydicom import Dataset

    from dicom_pipeline.pipeline.renderers import Renderers
    from dicom_pipeline.planning import Scan
    from dicom_pipeline.results.folder import OutputFolder

Paths = Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files and folders of DICOM.")]
Config = Annotated[Path | None, typer.Option(help="Settings file (TOML); see `dicom-pipeline init`.")]
Preset = Annotated[str | None, typer.Option(help="One preset for all series; see `dicom-pipeline presets`.")]
Select = Annotated[
    str | None,
    typer.Option(
        metavar="SPEC",
        help="all, uniform:N, middle[:N], every-mm:X, body[:N], key-objects or diverse:N, for all series.",
    ),
]
LabelSets = Annotated[
    list[str] | None,
    typer.Option(
        "--label-set", metavar="NAME|FILE", help="Label set for all series, several by repetition; see `labels`."
    ),
]


def process(
    paths: Paths,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the results.")],
    config: Config = None,
    preset: Preset = None,
    select: Select = None,
    model: Annotated[
        str | None, typer.Option(metavar="ID|DIR", help="phantom, a hub id, or a checkpoint folder.")
    ] = None,
    label_set: LabelSets = None,
    as_json: AsJson = False,
) -> None:
    """Process files: reports, embeddings, scores, the plan, an overview and a contact sheet into a folder."""
    from dicom_pipeline.config import load_settings
    from dicom_pipeline.pipeline import Pipeline
    from dicom_pipeline.pipeline.renderers import Renderers
    from dicom_pipeline.planning import scan, study_inputs_of
    from dicom_pipeline.reporting import study_name_of
    from dicom_pipeline.results.folder import OutputFolder
    from dicom_pipeline.results.study_output import StudyOutput
    from dicom_pipeline.results.study_sheet import SHEET_FRAMES

    settings = load_settings(config)
    with Renderers.from_settings(settings.rendering) as renderers:
        found = scan(paths, renderers.same_content)
    _check_preset(preset)
    pipeline = Pipeline.from_config(
        settings,
        model=model,
        label_set=label_set,
        preset=preset,
        selection=select,
        keep_renderings=SHEET_FRAMES,
    )
    out.mkdir(parents=True, exist_ok=True)  # before the work, so that a folder that cannot be written costs none
    folder = OutputFolder(
        out, found.excluded.get("", []), found.other_files, escape_formulas=settings.results.escape_formulas
    )
    folder.check()
    failed = _any_failed(found)
    for result in pipeline.process(study_inputs_of(found)):
        folder.add(StudyOutput.of(result, pipeline.encoder.dimension))
        failed |= bool(result.account.counts[Outcome.FAILED] or result.problem)
        if why := result.problem or (NO_LABEL_APPLIES if result.report is None and result.plan.frames else ""):
            typer.echo(f"no report for study {study_name_of(result.headers)}: {why}", err=True)
    folder.write()
    if as_json:
        print_json({"studies": folder.plans, "reports": sorted(folder.reports), "out": str(out)})
    else:
        show_results(folder)
    raise typer.Exit(1 if failed else 0)


def explain(
    paths: Paths,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Also write plan.json and the renderings.")] = None,
    config: Config = None,
    preset: Preset = None,
    select: Select = None,
    label_set: LabelSets = None,
    as_json: AsJson = False,
) -> None:
    """Show the plan: series, frames used, preset, label sets, and why anything is left out. Loads no model."""
    from dicom_pipeline.config import load_settings
    from dicom_pipeline.imaging import stack_sheets
    from dicom_pipeline.pipeline.renderers import Renderers
    from dicom_pipeline.planning import account_of, load_rules, plan_study, scan
    from dicom_pipeline.results.folder import write_plan
    from dicom_pipeline.results.plan_json import plan_to_json
    from dicom_pipeline.scoring import LabelChoice

    settings = load_settings(config)
    planning, renderers = settings.planning, Renderers.from_settings(settings.rendering)
    found = scan(paths, renderers.same_content)
    _check_preset(preset or planning.preset)
    rules = load_rules(planning.rules_file, planning.keep)
    if label_set:
        rules = replace(rules, score=())
    choice = LabelChoice.load(label_set or settings.scoring.chosen, rules.named_label_sets)
    entries, sheets, failed = [], [], _any_failed(found)
    for uid, headers in sorted(found.studies.items()):
        plan = plan_study(
            headers,
            rules,
            selection=select or planning.selection,
            preset=preset or planning.preset,
            content=renderers.content,
        )
        plan = Plan(plan.study_instance_uid, plan.series, plan.excluded + tuple(found.excluded.get(uid, ())))
        by_uid = {header.sop_instance_uid: header.dataset for header in headers}
        failures: list[dict[str, Any]] = []
        if out is not None:
            sheet, failures = _write_renderings(plan, by_uid, out / "renderings", renderers)
            sheets += [sheet] if sheet is not None else []
        account = account_of(plan, {header.sop_instance_uid: "" for header in headers})
        entry = plan_to_json(plan, by_uid, account, choice.applicability(plan))
        entry["failed_renderings"] = failures
        failed |= bool(account.counts[Outcome.FAILED] or failures)
        entries.append(entry)
    document: dict[str, Any] = {"studies": entries, "other_files": [str(p) for p in found.other_files]}
    if out is not None:
        document = write_plan(out, entries, found.excluded.get("", []), found.other_files)
        if sheets:
            stack_sheets(sheets).save(out / "contact_sheet.png")
    if as_json:
        print_json(document)
    else:
        console().print(plans_table(entries, []))
        for item in (item for entry in entries for item in entry["failed_renderings"]):
            console().print(f"not rendered: {item['name']} {Reason.of(item['reason']).sentence} ({item['reason']})")
        _print_rest(found.excluded.get("", []), found.other_files)
    raise typer.Exit(1 if failed else 0)


def show_results(folder: OutputFolder) -> None:
    """The table of a run and where everything lies."""
    screen = console()
    screen.print(plans_table(folder.plans, folder.scores))
    _print_rest(folder.excluded, folder.other_files)
    for notice in sorted({plan["notice"] for plan in folder.plans if plan["notice"]}):
        screen.print(notice, style="bold yellow")
    screen.print("Research use only, not for diagnosis.")
    for name in ("reports", "embeddings.parquet", "scores.csv", "plan.json", "contact_sheet.png", "report.html"):
        path = folder.folder / name
        if path.exists():
            count = f" ({len(folder.reports)} Structured Reports)" if name == "reports" else ""
            screen.print(f"  {path}{count}", soft_wrap=True, highlight=False)


def _write_renderings(
    plan: Plan, headers: Mapping[str, Dataset], folder: Path, renderers: Renderers
) -> tuple[Image.Image | None, list[dict[str, Any]]]:
    """Each input as <SOPInstanceUID>-<frame>.png; a contact sheet of some, and the frames that failed, for JSON."""
    from PIL import Image

    from dicom_pipeline.imaging import load_preset
    from dicom_pipeline.pipeline.renderings import render_ahead
    from dicom_pipeline.reporting import image_name_of, series_names
    from dicom_pipeline.results.plan_json import excluded_to_json
    from dicom_pipeline.results.study_sheet import SHEET_FRAMES, study_sheet

    folder.mkdir(parents=True, exist_ok=True)
    names = series_names(plan, headers)
    made: list[Rendering] = []
    failures: list[dict[str, Any]] = []
    keep = max(1, -(-len(plan.frames) // SHEET_FRAMES))
    for series in plan.series:
        in_series = renderers.series(load_preset(series.preset), series.reference_frames)
        tasks = ((index, in_series, frame) for index, frame in enumerate(series.frames))
        for index, frame, rendering in filter(None, render_ahead(tasks, depth=2 * renderers.processes)):
            if isinstance(rendering, InstanceError):
                name = f"{names[series.series_instance_uid]}, {image_name_of(frame.key, headers)}"
                failures.append(excluded_to_json(rendering.excluded_frame(frame)) | {"name": name})
                continue
            Image.fromarray(rendering.pixels).save(folder / f"{frame.key.sop_instance_uid}-{frame.key.frame}.png")
            if index % keep == 0:
                made.append(rendering)
    return study_sheet(plan, headers, made) if made else None, failures


def _print_rest(excluded: Any, other_files: Any) -> None:
    from dicom_pipeline.results.plan_json import excluded_to_json

    screen = console()
    if excluded:
        screen.print("of no study: " + reasons_text([excluded_to_json(item) for item in excluded]))
        for item in excluded:
            screen.print(f"{item.reason.value}: {item.path}", soft_wrap=True, highlight=False)
    for path in other_files:
        screen.print(f"not a DICOM instance: {path}", soft_wrap=True, highlight=False)


def _any_failed(found: Scan) -> bool:
    """Whether any file is no instance of a study, or has the UID of another with other content."""
    return bool(found.excluded.get("")) or any(
        item.reason.outcome is Outcome.FAILED for items in found.excluded.values() for item in items
    )


def _check_preset(name: str | None) -> None:
    """A wrong preset is a wrong usage, said before any work."""
    from dicom_pipeline.imaging import load_preset

    if name is not None:
        load_preset(name)
