"""The embedding store at size: ingest, disk, search latency, and the index's recall against comparing with every row.

    python benchmarks/store.py [--rows 1000000] [--dimension 1152] [--frames 200] [--queries 100] [--folder DIR]

Rows are synthetic: each series has a centre from a 96-dimensional Gaussian in the embedding space, its slices walk away from
it in small steps, as neighbouring slices do. Studies are written one by one, as the service writes them. Queries are rows with
noise. The peer is the exact scan of the same rows by the same database.
"""

import argparse
import json
import resource
import shutil
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from dicom_pipeline.research.embedding_store import EmbeddingStore
from dicom_pipeline.research.store.rows import row_schema
from dicom_pipeline.research.writer import GROWTH

RANK = 96


class Drawn:
    """Synthetic studies, the same for the same seed."""

    def __init__(self, dimension: int) -> None:
        self.rng = np.random.default_rng(7)
        self.basis = self.rng.normal(size=(RANK, dimension)).astype(np.float32)
        self.schema = row_schema(dimension)
        self.dimension = dimension

    def vectors(self, frames: int) -> np.ndarray:
        """float32 (frames, D): a centre and a walk."""
        centre = self.rng.normal(size=RANK)
        walk = np.cumsum(self.rng.normal(scale=0.08, size=(frames, RANK)), axis=0)
        vectors = (centre + walk).astype(np.float32) @ self.basis
        return vectors + self.rng.normal(scale=0.3, size=vectors.shape).astype(np.float32)

    def study(self, number: int, frames: int) -> pa.Table:
        """Rows of a study with one series."""
        same = {
            "series_instance_uid": f"2.25.{number}.1",
            "study_instance_uid": f"2.25.{number}",
            "frame": 1,
            "stack": 0,
            "preset": "ct-medgemma-report",
            "encoder": "synthetic",
            "fingerprint": "f" * 64,
            "weights": "5e" * 32,
            "revision": 1,
            "patient_id": f"P{number // 2}",
            "study_date": date(2020, 1, 1),
            "modality": ("CT", "MR", "CR")[number % 3],
            "body_part": ("CHEST", "HEAD", "ABDOMEN", "KNEE")[number % 4],
            "manufacturer": "SIEMENS",
            "sex": "FM"[number % 2],
            "age_band": f"{number % 9}0-{number % 9}9",
            "slice_thickness_mm": 1.0,
            "score_labels": ["Nodule", "Effusion"],
            "score_kinds": ["zero-shot-pair"] * 2,
            "score_values": [0.2, 0.4],
        }
        vectors = self.vectors(frames)
        columns = {
            name: pa.array([same.get(name)] * frames, self.schema.field(name).type) for name in self.schema.names
        }
        columns["sop_instance_uid"] = pa.array([f"2.25.{number}.1.{i}" for i in range(frames)])
        columns["position_mm"] = pa.array(np.arange(frames, dtype=float))
        columns["embedding"] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), self.dimension)
        return pa.table(columns, schema=self.schema)


def size_of(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e9


def timed(store: EmbeddingStore, queries: np.ndarray, **options: object) -> tuple[list[float], list[set[str]]]:
    seconds, found = [], []
    for query in queries:
        start = time.perf_counter()
        rows = store.search(vector=query, top=10, diversity=0, **options)
        seconds.append(time.perf_counter() - start)
        found.append(set(rows["sop_instance_uid"].to_pylist()))
    return seconds, found


def percentiles(seconds: list[float]) -> str:
    return f"p50 {np.percentile(seconds, 50) * 1e3:.1f} ms, p99 {np.percentile(seconds, 99) * 1e3:.1f} ms"


def ingest(store: EmbeddingStore, drawn: Drawn, given: argparse.Namespace) -> tuple[float, np.ndarray]:
    """Write all studies; rows a second, and queries."""
    writing, compacting, queries, compacted = [], 0.0, [], 0
    for number in range(given.rows // given.frames):
        rows = drawn.study(number, given.frames)
        if number % max(1, given.rows // given.frames // given.queries) == 0:
            vector = rows["embedding"][given.frames // 2].values.to_numpy()
            queries.append(vector + drawn.rng.normal(scale=0.3, size=len(vector)).astype(np.float32))
        start = time.perf_counter()
        store.write_study(f"2.25.{number}", 1, rows)
        writing.append(time.perf_counter() - start)
        if number + 1 - compacted >= max(given.compact_every, GROWTH * number):
            compacted = number + 1
            start = time.perf_counter()
            store.compact(index_rows=10**12)
            compacting += time.perf_counter() - start
    total = sum(writing) + compacting
    print(f"ingest: {given.rows / total:,.0f} rows/s in studies of {given.frames} ({percentiles(writing)} a study, "
          f"compaction {compacting:.0f} of {total:.0f} s)")  # fmt: skip
    return given.rows / total, np.stack(queries)[: given.queries]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=1152)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--exact-queries", type=int, default=30)
    parser.add_argument("--compact-every", type=int, default=100)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="store-benchmark-"))
    drawn = Drawn(given.dimension)
    store = EmbeddingStore.open(folder, create=True)
    results: dict[str, object] = {"rows": given.rows, "dimension": given.dimension}

    rate, asked = ingest(store, drawn, given)
    start = time.perf_counter()
    store.compact(index_rows=1, keep=timedelta(0))
    results["index_seconds"] = time.perf_counter() - start
    results["gigabytes"] = size_of(folder)
    print(f"index built in {results['index_seconds']:.0f} s; {results['gigabytes']:.2f} GB on disk, "
          f"{results['gigabytes'] * 1e9 / given.rows:.0f} bytes a row (vector alone: {given.dimension * 4})")  # fmt: skip

    timed(store, asked[:5])
    seconds, found = timed(store, asked)
    print(f"search, index:              {percentiles(seconds)}")
    filtered, _ = timed(store, asked[:30], where="modality = 'MR' AND body_part = 'HEAD'")
    print(f"search, index and filter:   {percentiles(filtered)}")
    few = asked[: given.exact_queries]
    exactly, truth = timed(store, few, exact=True)
    print(f"search, every row (peer):   {percentiles(exactly)}")
    recall = float(np.mean([len(a & b) / 10 for a, b in zip(found, truth, strict=False)]))
    print(f"recall@10 of the index against every row: {recall:.3f} over {len(few)} queries")
    start = time.perf_counter()
    store.write_study("2.25.0", 2, drawn.study(0, given.frames))
    print(f"a newer revision of one study: {(time.perf_counter() - start) * 1e3:.0f} ms")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    results |= {"ingest_rows_per_s": rate, "p50_ms": float(np.percentile(seconds, 50)) * 1e3,
                "p99_ms": float(np.percentile(seconds, 99)) * 1e3, "recall_at_10": recall, "peak_gb": peak}  # fmt: skip
    print(json.dumps(results))
    if given.folder is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
