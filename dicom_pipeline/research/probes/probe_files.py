"""A fitted probe on disk: its folder, with the reliability plot and a table for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors.numpy import save_file

from dicom_pipeline.research.probes.fitting import FittedLabel
from dicom_pipeline.research.probes.plots import reliability_plot
from dicom_pipeline.scoring import Probe
from dicom_pipeline.scoring.probes import CARD, TENSORS


def save_probe(probe: Probe, fitted: Sequence[FittedLabel], folder: Path) -> None:
    """Write probe.toml, probe.safetensors and reliability.png."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"weights": probe.weights, "bias": probe.bias}, folder / TENSORS)
    (folder / CARD).write_text(_toml(probe), encoding="utf-8")
    reliability_plot({f.label: (f.truth, f.probabilities) for f in fitted}, folder / "reliability.png")


def _toml(probe: Probe) -> str:
    """The card. JSON strings, numbers and arrays are TOML too."""
    head: dict[str, Any] = {
        "name": probe.name,
        "labels": list(probe.labels),
        "level": probe.level,
        "spaces": list(probe.spaces),
        "encoder_weights": probe.encoder_weights,
        "dimension": probe.weights.shape[1],
        "seed": probe.card["seed"],
        "software": f"dicom_pipeline {version('dicom-pipeline')}",
        "fitted_on": datetime.now(UTC).date().isoformat(),
        "digest": probe.digest,
        "statement": "Research use only, not for diagnosis.",
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in head.items()]
    for label, card in probe.card["metrics"].items():
        lines += ["", f"[metrics.{json.dumps(label)}]"]
        lines += [f"{key} = {_number(value)}" for key, value in card.items()]
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6f}"
