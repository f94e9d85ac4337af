"""Draw a practice cohort: one chest radiograph a patient, with a truth table, to try probes and evaluation on.

    python sample_data/cohort.py --out cohort [--patients 80] [--seed 1]

Writes cohort/images/*.dcm and cohort/labels.csv (sop_instance_uid, patient, site, and a column a finding).
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from make import draw_cr
from phantoms import draw_patient
from pydicom import dcmread, dcmwrite

FINDINGS = {"nodule": "Nodule", "pleural effusion": "Pleural effusion", "cardiomegaly": "Cardiomegaly"}
SITES = ("North", "South")


def main() -> None:
    """Draw the cohort."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--patients", type=int, default=80)
    parser.add_argument("--seed", type=int, default=1)
    wishes = parser.parse_args()
    rows = [draw(wishes.out / "images", wishes.seed * 100_000 + number) for number in range(wishes.patients)]
    with (wishes.out / "labels.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def draw(folder: Path, seed: int) -> dict[str, object]:
    """One patient's radiograph; its row of the truth table."""
    rng = np.random.default_rng((seed, 1))  # not the seed alone, by which the patient's size is drawn
    present = {finding for finding in FINDINGS if rng.random() < 0.4}
    name = f"cohort-{seed}"
    (row,) = draw_cr(folder / name, name, draw_patient("chest X-ray", present, seed))
    (path,) = (folder / name).iterdir()
    site = SITES[int(rng.integers(2))]
    dataset = dcmread(path)
    dataset.PatientSex, dataset.PatientAge = "FM"[int(rng.integers(2))], f"{int(rng.integers(20, 90)):03d}Y"
    dataset.ManufacturerModelName = f"Reader {site}"
    dcmwrite(folder / f"{name}.dcm", dataset)
    path.unlink()
    path.parent.rmdir()
    labels = {label: int(finding in present) for finding, label in FINDINGS.items()}
    return {"sop_instance_uid": row["sop_instance_uid"], "patient": name, "site": site, **labels}


if __name__ == "__main__":
    main()
