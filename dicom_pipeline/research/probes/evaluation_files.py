"""An evaluation on disk: results.json for scripts, results.md and pictures for people."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dicom_pipeline.research.probes.plots import auc_plot, efficiency_plot

STATEMENT = "Research use only, not for diagnosis."


def write_evaluation(result: Mapping[str, Any], folder: Path) -> None:
    """Write results.json, results.md, auc.png and, where a probe was fitted, efficiency.png."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(_plain(result), indent=1) + "\n", encoding="utf-8")
    (folder / "results.md").write_text(markdown(result), encoding="utf-8")
    auc_plot(result["findings"], folder / "auc.png")
    curves = {label: points for label, points in result["efficiency"].items() if points}
    if curves:
        efficiency_plot(curves, folder / "efficiency.png")


def markdown(result: Mapping[str, Any]) -> str:
    """The table in the shape of the model card's, then the subgroups."""
    lines = [
        f"# {result['label_set']}, {result['encoder']}",
        "",
        f"{STATEMENT} {result['notice']}".strip(),
        "",
        f"A row is one {result['level']}; scores are {result['kind']}. Intervals are 95 %, by bootstrap over patients. The "
        "published column is the model card's own result on its authors' data.",
        "",
        "| finding | rows | positive | zero-shot AUC | AP | linear probe AUC | published |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["findings"]:
        probe = _with_interval(row["probe"]) if "probe" in row else "-"
        published = f"{row['published_auc']:.3f}" if row["published_auc"] else "-"
        zero = row["zero_shot"]
        lines.append(
            f"| {row['label']} | {row['rows']} | {row['positive']} | {_with_interval(zero)} | "
            f"{_number(zero['average_precision'])} | {probe} | {published} |"
        )
    lines.append(f"| **mean** | | | {_number(result['mean_auc'])} | | {_number(result['mean_probe_auc'])} | |")
    refused = [row["probe_refused"] for row in result["findings"] if "probe_refused" in row]
    lines += ["", *(f"- no probe: {text}" for text in refused)]
    if result["not_in_truth"]:
        lines.append(f"- labels without a column in the truth: {', '.join(result['not_in_truth'])}")
    if result["without_embedding"]:
        lines.append(f"- rows of the truth without an embedding: {result['without_embedding']}")
    groups = [(row["label"], group) for row in result["findings"] for group in row["subgroups"]]
    if groups:
        lines += ["", "## Subgroups (zero-shot)", "", "| finding | by | value | rows | positive | AUC |"]
        lines.append("| --- | --- | --- | --- | --- | --- |")
        lines += [
            f"| {label} | {g['by']} | {g['value']} | {g['rows']} | {g['positive']} | {_number(g['auc'])} |"
            for label, g in groups
        ]
    return "\n".join(lines) + "\n"


def _with_interval(measured: Mapping[str, float]) -> str:
    text = _number(measured["auc"])
    if math.isnan(measured["auc_low"]):
        return text
    return f"{text} ({measured['auc_low']:.3f} to {measured['auc_high']:.3f})"


def _number(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


def _plain(value: Any) -> Any:
    """NaN is no JSON: null in its place."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
