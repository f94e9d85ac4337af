"""`probe fit`, `probe show` and `evaluate`: labelled embeddings in, probes and measurements out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dicom_pipeline.cli.printing import AsJson, console, print_json, table
from dicom_pipeline.cli.research.places import level_option
from dicom_pipeline.domain import PROBE_LEVELS, level_of
from dicom_pipeline.errors import UsageError

probe = typer.Typer(help="Linear probes: fit them on labelled embeddings, look at them.", no_args_is_help=True)

EmbeddingsPath = Annotated[
    Path, typer.Option("--embeddings", metavar="PATH", help="A store, embeddings.parquet, or a folder of `process`.")
]
Seed = Annotated[int, typer.Option(help="Seed of splits and intervals.")]


@probe.command("fit")
def fit(
    embeddings: EmbeddingsPath,
    labels: Annotated[
        Path, typer.Option(metavar="CSV", help="A row an image, series or study; a column a label (1, 0).")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the probe; its name is the probe's name.")],
    level: Annotated[
        str,
        level_option(PROBE_LEVELS, "What one row is when fitting: frame, or series (mean of its frames)."),
    ] = "frame",
    seed: Seed = 0,
) -> None:
    """Fit a linear probe per label, calibrate it, measure it on patients it has not seen, and save it."""
    from dicom_pipeline.research.probes.embeddings import read_embeddings
    from dicom_pipeline.research.probes.fitting import fit_probe
    from dicom_pipeline.research.probes.probe_files import save_probe
    from dicom_pipeline.research.probes.truth import read_truth

    made, fitted, refused = fit_probe(
        read_embeddings(embeddings),
        read_truth(labels),
        name=out.resolve().name,
        level=level_of(level, PROBE_LEVELS),
        seed=seed,
    )
    save_probe(made, fitted, out)
    _print_card(made.card["metrics"])
    for text in refused:
        typer.echo(f"not fitted: {text}", err=True)
    console().print(f"  {out}: put it under scoring.probes to score live studies. Research use only.", highlight=False)


@probe.command("show")
def show_probe(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A probe's folder.")], as_json: AsJson = False
) -> None:
    """Show what a probe was fitted on and how good it was."""
    from dicom_pipeline.scoring import load_probe

    made = load_probe(folder)
    if as_json:
        print_json(dict(made.card))
        return
    console().print(
        f"probe {made.name}: level {made.level}, {made.weights.shape[1]} dimensions, encoder weights "
        f"{made.encoder_weights[:12]}, digest {made.digest[:12]}",
        highlight=False,
    )
    _print_card(made.card["metrics"])


def evaluate(
    truth: Annotated[
        Path, typer.Option(metavar="CSV", help="A row an image, series or study; a column a label (1, 0).")
    ],
    label_set: Annotated[str, typer.Option(metavar="NAME|FILE", help="Label set; see `labels`.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for results.json, results.md and the plots.")],
    paths: Annotated[list[Path] | None, typer.Argument(metavar="[PATH...]", help="DICOM, if not --embeddings.")] = None,
    embeddings: Annotated[
        Path | None, typer.Option(metavar="PATH", help="A store, embeddings.parquet, or a folder of `process`.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="ID|DIR", help="The encoder; it must be the embeddings' own.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file (TOML); see `dicom-pipeline init`.")] = None,
    no_probe: Annotated[bool, typer.Option("--no-probe", help="Zero-shot only.")] = False,
    seed: Seed = 0,
) -> None:
    """Measure zero-shot scores and linear probes against a truth table: AUC, intervals, subgroups, plots."""
    import pyarrow as pa

    from dicom_pipeline.config import load_settings
    from dicom_pipeline.pipeline import Pipeline
    from dicom_pipeline.research.probes.embeddings import read_embeddings
    from dicom_pipeline.research.probes.evaluation import evaluate as measure
    from dicom_pipeline.research.probes.evaluation_files import write_evaluation
    from dicom_pipeline.research.probes.truth import read_truth
    from dicom_pipeline.results.study_output import StudyOutput
    from dicom_pipeline.results.tables import embeddings_schema

    if bool(paths) == bool(embeddings):
        raise UsageError("give either DICOM files and folders, or --embeddings")
    known = read_truth(truth)
    pipeline = Pipeline.from_config(load_settings(config), model=model, label_set=label_set)
    if embeddings:
        rows = read_embeddings(embeddings)
    else:
        width = pipeline.encoder.dimension
        made = [StudyOutput.of(result, width).embeddings for result in pipeline.process_paths(paths or [])]
        rows = pa.concat_tables(made) if made else embeddings_schema(width).empty_table()
    sets = pipeline.recipe.label_sets.sets
    if len(sets) != 1:
        raise UsageError("an evaluation needs one label set")
    result = measure(rows, known, sets[0], pipeline.encoder, probe=not no_probe, seed=seed)
    write_evaluation(result, out)
    shown = table("", ("finding", "rows", "positive", "zero-shot AUC", "linear probe AUC", "published"))
    for row in result["findings"]:
        shown.add_row(
            row["label"],
            str(row["rows"]),
            str(row["positive"]),
            _auc(row["zero_shot"]),
            _auc(row["probe"]) if "probe" in row else row.get("probe_refused", "-"),
            f"{row['published_auc']:.3f}" if row["published_auc"] else "-",
        )
    console().print(shown)
    console().print(
        f"{result['notice']} Research use only, not for diagnosis.\n  {out}", highlight=False, soft_wrap=True
    )


def _auc(measured: Any) -> str:
    return f"{measured['auc']:.3f} ({measured['auc_low']:.3f} to {measured['auc_high']:.3f})"


def _print_card(metrics: Any) -> None:
    made = table("", ("label", "rows", "positive", "patients", "AUC (95 % interval)", "Brier", "calibration error"))
    for label, card in metrics.items():
        made.add_row(
            label,
            str(card["rows"]),
            str(card["positive"]),
            str(card["patients"]),
            _auc(card),
            f"{card['brier']:.3f}",
            f"{card['expected_calibration_error']:.3f}",
        )
    console().print(made)
