"""Precision at 10 of text searches: on held-out drawings with known findings, and on real DICOM by its own headers.

    python benchmarks/search_quality.py [--images 450] [--corpus DIR]

The peer in each row is chance: the share of the store that is right. On real DICOM the shipped `phantom` is out of its depth,
as it was trained on drawings only; --model google/medsiglip-448 asks a real one.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "sample_data"))
sys.path.insert(0, str(ROOT / "benchmarks"))

from phantom_auc import HELD_OUT
from train_phantom import drawing

from dicom_pipeline import EmbeddingStore, Pipeline
from dicom_pipeline.imaging.resize import resize
from dicom_pipeline.research.store.rows import row_schema, store_rows
from dicom_pipeline.results.study_output import StudyOutput

KINDS = {"chest CT": ("CT", "CHEST"), "brain MR": ("MR", "BRAIN"), "chest X-ray": ("CR", "CHEST")}
DRAWN_QUERIES = {
    "a CT slice of the chest": lambda row: row["modality"] == "CT",
    "an MR slice of the brain": lambda row: row["modality"] == "MR",
    "a chest radiograph": lambda row: row["modality"] == "CR",
    "chest CT with a nodule": lambda row: row["modality"] == "CT" and "nodule" in row["sequence"],
    "chest radiograph with a pleural effusion": lambda row: row["modality"] == "CR" and "effusion" in row["sequence"],
    "chest radiograph with cardiomegaly": lambda row: row["modality"] == "CR" and "cardiomegaly" in row["sequence"],
    "brain MR with a lesion": lambda row: row["modality"] == "MR" and "lesion" in row["sequence"],
    "brain MR with enlarged ventricles": lambda row: row["modality"] == "MR" and "ventricles" in row["sequence"],
}
REAL_QUERIES = {
    "a CT slice of the head": lambda row: row["modality"] == "CT",
    "an MR slice of the brain": lambda row: row["modality"] == "MR",
    "a chest radiograph": lambda row: row["modality"] in ("CR", "DX", "RG"),
}


def drawn(encoder, count: int) -> EmbeddingStore:
    """Held-out drawings as rows; `sequence` holds what was drawn, for the judge alone."""
    made = [drawing(9_000_000 + i, HELD_OUT) for i in range(count)]
    pixels = [resize(image, "tf-bilinear", "stretch") for image, _, _ in made]
    vectors = np.concatenate([encoder.encode_images(np.stack(pixels[i : i + 16])) for i in range(0, count, 16)])
    columns = {
        "sop_instance_uid": [f"1.{i}" for i in range(count)],
        "series_instance_uid": [f"1.{i}" for i in range(count)],
        "study_instance_uid": [f"1.{i}" for i in range(count)],
        "frame": [1] * count,
        "embedding": list(vectors),
        "encoder": [encoder.name] * count,
        "weights": [encoder.weights] * count,
        "modality": [KINDS[kind][0] for _, kind, _ in made],
        "sequence": [" ".join(sorted(findings)) for _, _, findings in made],
    }
    schema = row_schema(encoder.dimension)
    return EmbeddingStore.in_memory(pa.table({n: columns.get(n, [None] * count) for n in schema.names}, schema=schema))


def real(pipeline: Pipeline, corpus: Path) -> EmbeddingStore:
    """What the pipeline makes of a folder of real DICOM."""
    outputs = [StudyOutput.of(result, pipeline.encoder.dimension) for result in pipeline.process_paths([corpus])]
    return EmbeddingStore.in_memory(pa.concat_tables([store_rows(o.embeddings, o.scores) for o in outputs]))


def report(title: str, store: EmbeddingStore, encoder, queries: dict) -> None:
    """Print a table: precision at 10 with and without diversity, and chance."""
    rows = store.rows().to_pylist()
    print(
        f"\n{title}, {len(rows)} rows\n\n| query | precision@10 | with diversity 0.2 | chance |\n| --- | --- | --- | --- |"
    )
    for text, right in queries.items():
        share = sum(map(right, rows)) / len(rows)
        if not share:
            continue
        values = []
        for diversity in (0, 0.2):
            found = store.search(text, top=10, diversity=diversity, encoder=encoder).to_pylist()
            values.append(sum(map(right, found)) / len(found))
        print(f"| {text} | {values[0]:.2f} | {values[1]:.2f} | {share:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=450)
    parser.add_argument("--model", default="phantom")
    parser.add_argument(
        "--corpus", type=Path, default=os.environ.get("DICOM_CORPUS", ROOT.parent / "shared" / "corpus")
    )
    given = parser.parse_args()
    pipeline = Pipeline.from_config(model=given.model, selection="uniform:10")
    report("Drawings", drawn(pipeline.encoder, given.images), pipeline.encoder, DRAWN_QUERIES)
    if Path(given.corpus).is_dir():
        report("Real DICOM", real(pipeline, Path(given.corpus)), pipeline.encoder, REAL_QUERIES)


if __name__ == "__main__":
    main()
