"""How well labels are told apart: zero-shot and linear probe, per finding and subgroup, with patients kept together.

The protocol follows the model card's table: AUC a finding, two-class zero-shot where the label set is of that kind. The
card's published numbers stand beside as reference; they come from its authors' data, not from here.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dicom_pipeline.domain import LabelSet
from dicom_pipeline.encoders import Encoder
from dicom_pipeline.errors import FingerprintError, ProbeError, UsageError
from dicom_pipeline.research.probes import metrics
from dicom_pipeline.research.probes.embeddings import Pooled, pooled, vectors_of
from dicom_pipeline.research.probes.fitting import fit_label, fit_linear, truth_keys
from dicom_pipeline.research.probes.truth import Truth
from dicom_pipeline.scoring import ZeroShot

SUBGROUPS = ("manufacturer", "model", "sex", "age_band", "body_part", "view")
SIZES = (8, 16, 32, 64, 128, 256, 512, 1024)
REPEATS = 5
"""Draws of training patients for each point of the efficiency curve."""

Rows = npt.NDArray[np.float64]


def evaluate(
    table: pa.Table,
    truth: Truth,
    label_set: LabelSet,
    encoder: Encoder,
    *,
    probe: bool = True,
    repeats: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """The evaluation as plain values; `evaluation_files.write` makes tables and plots of them.

    Frames are joined to the truth's level: the highest zero-shot score, the mean embedding for the probe.
    Raises UsageError where no label of the set is a column of the truth, FingerprintError for another encoder's embeddings.
    """
    weights = set(table.column("weights").to_pylist())
    if weights - {encoder.weights}:
        raise FingerprintError(
            f"the embeddings were made by weights {', '.join(sorted(w[:12] for w in weights))}, and {encoder.name} has "
            f"{encoder.weights[:12]}: name the model that made them"
        )
    names = _matched(label_set, truth)
    rows = pooled(table, truth.level)
    keys = truth_keys(table, truth.level, rows.first)
    studies = [table.column("study_instance_uid")[i].as_py() for i in rows.first]
    groups = truth.groups(keys, studies)
    scores = _zero_shot(table, rows, label_set, encoder)
    columns = {name: [table.column(name)[i].as_py() for i in rows.first] for name in SUBGROUPS}
    columns["site"] = [truth.sites.get(key) for key in keys]
    published = _published(label_set.name)
    findings, curves = [], {}
    for position, label in enumerate(label_set.labels):
        if label.name not in names:
            continue
        values = truth.column(names[label.name], keys)
        known = ~np.isnan(values)
        if not known.any():
            continue
        y, s, g = values[known], scores[known, position], groups[known]
        finding: dict[str, Any] = {
            "label": label.name,
            "rows": len(y),
            "positive": int(y.sum()),
            "patients": len(set(g)),
            "published_auc": published.get(label.name),
            "zero_shot": _measured(y, s, g, repeats, seed),
            "subgroups": _subgroups(y, s, g, {k: [v[i] for i in np.flatnonzero(known)] for k, v in columns.items()}),
        }
        if probe:
            vectors = rows.vectors[known].astype(np.float64)
            try:
                fitted = fit_label(label.name, vectors, y, g, seed=seed)
                finding["probe"] = {k: v for k, v in fitted.card.items() if k not in ("rows", "positive", "patients")}
                curves[label.name] = efficiency(vectors, y, g, seed=seed)
            except ProbeError as error:
                finding["probe_refused"] = str(error)
        findings.append(finding)
    return {
        "label_set": f"{label_set.name} {label_set.version}",
        "kind": label_set.kind.value,
        "level": truth.level,
        "encoder": encoder.name,
        "weights": encoder.weights,
        "notice": encoder.notice,
        "not_in_truth": sorted(label.name for label in label_set.labels if label.name not in names),
        "without_embedding": len(set(truth.rows) - set(keys)),
        "seed": seed,
        "findings": findings,
        "mean_auc": _mean([f["zero_shot"]["auc"] for f in findings]),
        "mean_probe_auc": _mean([f["probe"]["auc"] for f in findings if "probe" in f]),
        "efficiency": curves,
    }


def efficiency(
    vectors: Rows, truth: Rows, groups: npt.NDArray[np.str_], *, seed: int = 0, sizes: Sequence[int] = SIZES
) -> list[dict[str, float]]:
    """AUC of a probe fitted on n patients and measured on others (a fixed 40 %), n = 8, 16, 32 ...; mean of five draws.

    low and high are the smallest and largest of the draws.
    """
    generator = np.random.default_rng(seed)
    names = np.unique(groups)
    generator.shuffle(names)
    held = set(names[: max(1, round(0.4 * len(names)))])
    test = np.array([group in held for group in groups])
    pool = np.array([name for name in names if name not in held])
    curve = []
    for size in [n for n in sizes if n <= len(pool)]:
        values = []
        for draw in range(REPEATS):
            chosen = set(generator.choice(pool, size, replace=False))
            train = np.array([group in chosen for group in groups])
            try:
                model = fit_linear(vectors[train], truth[train], groups[train], seed=draw)
            except ProbeError:
                continue  # this draw has too few patients of one outcome; the point says how many draws it has
            values.append(metrics.auc(truth[test], model.logits(vectors[test])))
        known = [v for v in values if not np.isnan(v)]
        if known:
            point = {"n": float(size), "auc": float(np.mean(known)), "low": min(known), "high": max(known)}
            curve.append({**point, "draws": float(len(known))})
    return curve


def _matched(label_set: LabelSet, truth: Truth) -> dict[str, str]:
    """Label -> column of the truth, whatever the case and the word separators."""
    plain = {_plain(column): column for column in truth.labels}
    found = {label.name: plain[_plain(label.name)] for label in label_set.labels if _plain(label.name) in plain}
    if not found:
        wanted = ", ".join(label.name for label in label_set.labels)
        raise UsageError(
            f"the truth has the columns {', '.join(truth.labels)}; the label set {label_set.name} has {wanted}"
        )
    return found


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def _zero_shot(table: pa.Table, rows: Pooled, label_set: LabelSet, encoder: Encoder) -> Rows:
    """Highest score of each row's frames: float64 (rows, labels)."""
    of_frames = ZeroShot(encoder, label_set).matrix(vectors_of(table))
    return np.stack([of_frames[index].max(axis=0) for index in rows.members])


def _measured(y: Rows, scores: Rows, groups: npt.NDArray[np.str_], repeats: int, seed: int) -> dict[str, float]:
    low, high = metrics.interval(metrics.auc, y, scores, groups, repeats=repeats, seed=seed)
    return {
        "auc": metrics.auc(y, scores),
        "auc_low": low,
        "auc_high": high,
        "average_precision": metrics.average_precision(y, scores),
    }


def _subgroups(
    y: Rows, scores: Rows, groups: npt.NDArray[np.str_], columns: dict[str, list[Any]]
) -> list[dict[str, Any]]:
    """AUC within each value of each column that has at least two values."""
    found = []
    for column, values in columns.items():
        named = np.array([str(value) if value not in (None, "") else "" for value in values])
        names = sorted(set(named) - {""})
        if len(names) < 2:
            continue
        for name in names:
            at = named == name
            found.append(
                {
                    "by": column,
                    "value": name,
                    "rows": int(at.sum()),
                    "positive": int(y[at].sum()),
                    "patients": len(set(groups[at])),
                    "auc": metrics.auc(y[at], scores[at]),
                }
            )
    return found


def _published(label_set: str) -> dict[str, float]:
    """Numbers that a model card published for a label set: label -> AUC; none where none were."""
    file = resources.files("dicom_pipeline") / "data" / "published" / f"{label_set}.toml"
    if not file.is_file():
        return {}
    return dict(tomllib.loads(file.read_text(encoding="utf-8"))["auc"])


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else None
