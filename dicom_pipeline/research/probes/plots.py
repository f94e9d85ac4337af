"""The pictures of probes and evaluations, drawn without a display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from dicom_pipeline.research.probes.metrics import reliability

Outcomes = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]

NOTE = "Research use only, not for diagnosis"


def reliability_plot(labels: Mapping[str, Outcomes], path: Path) -> None:
    """Share of positives over predicted probability; labels: name -> (truth, probabilities)."""
    figure, axes = _figure(5.4, 5.4)
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="calibrated")
    for name, (truth, probabilities) in labels.items():
        points = np.array([(mean, share) for mean, share, _ in reliability(truth, probabilities)])
        axes.plot(points[:, 0], points[:, 1], marker="o", markersize=4, linewidth=1.2, label=f"{name} (n={len(truth)})")
    axes.set(xlabel="predicted probability", ylabel="share of positives", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=120)


def auc_plot(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """AUC with its interval, a line a finding: zero-shot, linear probe, and the published number where there is one."""
    figure, axes = _figure(7.2, 1.4 + 0.42 * len(rows))
    height = np.arange(len(rows))[::-1]
    for shift, key, colour, name in (
        (0.12, "zero_shot", "#1b6ca8", "zero-shot"),
        (-0.12, "probe", "#c2571a", "linear probe"),
    ):
        found = [(y + shift, row[key]) for y, row in zip(height, rows, strict=True) if row.get(key)]
        if found:
            centre = np.array([m["auc"] for _, m in found])
            ends = np.abs(np.array([[m["auc_low"], m["auc_high"]] for _, m in found]).T - centre)
            axes.errorbar(
                centre, [y for y, _ in found], xerr=np.nan_to_num(ends), fmt="o", color=colour, markersize=4, label=name
            )
    published = [(y, row["published_auc"]) for y, row in zip(height, rows, strict=True) if row.get("published_auc")]
    if published:
        axes.plot(
            [v for _, v in published], [y for y, _ in published], "|", color="0.4", markersize=12, label="model card"
        )
    axes.axvline(0.5, color="0.8", linewidth=1)
    axes.set_yticks(height, [str(row["label"]) for row in rows], fontsize=9)
    axes.set(xlabel="AUC with 95 % interval", xlim=(0, 1.02), ylim=(-0.6, len(rows) - 0.4))
    axes.legend(fontsize=8, frameon=False, loc="lower left")
    figure.savefig(path, dpi=120)


def efficiency_plot(curves: Mapping[str, Sequence[Mapping[str, float]]], path: Path) -> None:
    """AUC of the linear probe over the number of training patients."""
    figure, axes = _figure(6.4, 4.4)
    for label, points in curves.items():
        number = [p["n"] for p in points]
        axes.plot(number, [p["auc"] for p in points], marker="o", markersize=4, label=label)
        axes.fill_between(number, [p["low"] for p in points], [p["high"] for p in points], alpha=0.12)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted({p["n"] for points in curves.values() for p in points}))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set(xlabel="training patients", ylabel="AUC on other patients", ylim=(0.3, 1.02))
    axes.legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=120)


def _figure(width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.text(0.995, 0.005, NOTE, ha="right", va="bottom", fontsize=6, color="0.5")
    return figure, axes
