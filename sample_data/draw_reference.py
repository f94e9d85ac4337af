"""Draw the patients whose embeddings are the reference of `phantom`: what it was trained on, other seeds.

    python sample_data/draw_reference.py --out reference/images
    dicom-pipeline process reference/images --out reference/results --label-set none
    dicom-pipeline models reference phantom --from reference/results --exclusive

Body sizes, tilts and noise are those of the training and of the held-out drawings of benchmarks/phantom_auc.py together.
"""

from __future__ import annotations

import argparse
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from make import draw_cr, draw_ct, draw_mr
from phantoms import FINDINGS, Ranges, draw_patient

RANGES = Ranges(body=(0.84, 1.05), tilt=(-0.09, 0.09), nodule=(0.09, 0.17), noise=(0.5, 2.2))
DRAW = {"chest CT": draw_ct, "brain MR": draw_mr, "chest X-ray": draw_cr}
PATIENTS = {"chest CT": 100, "brain MR": 300, "chest X-ray": 600}
"""Of a CT 24 slices, of an MR 20, of a radiograph one image."""

FIRST_SEED = 30_000_000


def main() -> None:
    """Draw them all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    tasks = [(out, kind, FIRST_SEED + number) for kind, count in PATIENTS.items() for number in range(count)]
    with Pool() as pool:
        pool.starmap(draw, tasks, chunksize=8)


def draw(out: Path, kind: str, seed: int) -> None:
    """One patient, with each finding in two of five."""
    rng = np.random.default_rng(seed)
    findings = {finding for finding in FINDINGS[kind] if rng.random() < 0.4}
    name = f"reference-{kind.lower().replace(' ', '-')}-{seed}"
    DRAW[kind](out / name, name, draw_patient(kind, findings, seed, RANGES))


if __name__ == "__main__":
    main()
