"""A map of a store: embeddings in two dimensions (UMAP or PCA), coloured by a column, as PNG and as an HTML page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dicom_pipeline.dicom.warnings import suppress_warnings
from dicom_pipeline.errors import StoreError, UsageError
from dicom_pipeline.research.search.pages import map_page
from dicom_pipeline.research.store.pooling import normalised

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c6bb1", "#666666", "#b3a600", "#000000")
"""Told apart by most colour-blind people (Okabe and Ito 2008), and some more."""

OTHERS, MISSING = "(others)", "(none)"
SHOWN = ("modality", "body_part", "view", "manufacturer", "model", "position_mm")


def project(
    vectors: npt.NDArray[np.float32], method: Literal["umap", "pca"], *, seed: int = 0
) -> npt.NDArray[np.float32]:
    """float32 (N, D) -> (N, 2), each axis scaled to 0..1. The same vectors and seed give the same map."""
    if len(vectors) < 3:
        raise UsageError(f"a map needs at least 3 rows, there are {len(vectors)}")
    unit = normalised(vectors)
    points = _umap(unit, seed) if method == "umap" else _pca(unit)
    span = np.ptp(points, axis=0)
    return ((points - points.min(axis=0)) / np.where(span > 0, span, 1)).astype(np.float32)


def _pca(unit: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    centred = unit.astype(np.float64) - unit.mean(axis=0, dtype=np.float64)
    _, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, :-3:-1]
    return centred @ (axes * np.where(axes[np.argmax(np.abs(axes), axis=0), range(axes.shape[1])] < 0, -1, 1))


def _umap(unit: npt.NDArray[np.float32], seed: int) -> npt.NDArray[np.float64]:
    with suppress_warnings():  # of TensorFlow, which it does not need, and of its own choice of defaults
        return _fitted(unit, seed)


def _fitted(unit: npt.NDArray[np.float32], seed: int) -> npt.NDArray[np.float64]:
    try:
        import umap
    except ImportError as error:
        raise StoreError(
            "UMAP is not installed: pip install 'dicom-pipeline[research]', or take --method pca"
        ) from error
    neighbours = min(15, len(unit) - 1)
    start = "spectral" if len(unit) > 10 else "random"
    model = umap.UMAP(n_neighbors=neighbours, metric="cosine", random_state=seed, n_jobs=1, init=start, min_dist=0.1)
    return np.asarray(model.fit_transform(unit), np.float64)


def groups_of(values: Sequence[Any]) -> tuple[list[str], dict[str, str]]:
    """The group of each value, and group -> colour: the most frequent values, the rest together."""
    texts = [MISSING if value is None else str(value) for value in values]
    frequent = [text for text, _ in sorted(Counter(texts).items(), key=lambda item: (-item[1], item[0]))]
    kept = frequent if len(frequent) <= len(COLOURS) else frequent[: len(COLOURS) - 1]
    groups = [text if text in kept else OTHERS for text in texts]
    names = [*kept, OTHERS] if len(kept) < len(frequent) else kept
    return groups, dict(zip(names, COLOURS, strict=False))


def write_png(
    path: Path, points: npt.NDArray[np.float32], groups: Sequence[str], colours: Mapping[str, str], title: str
) -> None:
    """A scatter plot, 1600 x 1100 pixels."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise StoreError("a PNG map needs matplotlib: pip install 'dicom-pipeline[research]'") from error
    figure = Figure(figsize=(10, 6.9), dpi=160, layout="constrained")
    axes = figure.add_subplot()
    names = np.asarray(groups)
    for name, colour in colours.items():
        mine = points[names == name]
        axes.scatter(mine[:, 0], mine[:, 1], s=14, alpha=0.6, color=colour, linewidths=0, label=f"{name} ({len(mine)})")
    axes.set_title(title, loc="left")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.savefig(path)


def write_html(
    path: Path,
    rows: pa.Table,
    points: npt.NDArray[np.float32],
    groups: Sequence[str],
    colours: Mapping[str, str],
    title: str,
) -> None:
    """A page on which each dot says what its row is; it holds UIDs."""
    said = []
    for row, point, group in zip(rows.to_pylist(), points.tolist(), groups, strict=True):
        facts = ", ".join(f"{name} {row[name]}" for name in SHOWN if row.get(name) is not None)
        text = f"{facts}\nimage {row['sop_instance_uid']}#{row['frame']}\nstudy {row['study_instance_uid']}"
        said.append({"x": round(point[0], 4), "y": round(point[1], 4), "group": group, "text": text})
    path.write_text(map_page(said, title=title, colours=colours), encoding="utf-8")
