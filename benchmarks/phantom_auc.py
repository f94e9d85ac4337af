"""Zero-shot AUC of the shipped `phantom` on held-out drawings: other seeds, body sizes, tilts and noise than in training.

    python benchmarks/phantom_auc.py [--images 450]

Its peer in the same run is an untrained model of the same shape: 0.5 is chance.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "sample_data"))

from phantoms import FINDINGS, Ranges
from train_phantom import drawing, make_model

from dicom_pipeline.encoders import Encoder, load_encoder
from dicom_pipeline.imaging.resize import resize
from dicom_pipeline.scoring import ZeroShot, load_label_set

HELD_OUT = Ranges(body=(0.84, 0.98), tilt=(-0.09, 0.09), nodule=(0.10, 0.17), noise=(1.0, 2.2))
NAMES = {
    "Nodule": "nodule",
    "Pleural effusion": "pleural effusion",
    "Cardiomegaly": "cardiomegaly",
    "Brain lesion": "lesion",
    "Enlarged ventricles": "enlarged ventricles",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=450)
    count = parser.parse_args().images
    made = [drawing(9_000_000 + i, HELD_OUT) for i in range(count)]
    trained = table(load_encoder("phantom", device="cpu", dtype="float32"), made)
    with tempfile.TemporaryDirectory() as folder:
        untrained = table(_untrained(Path(folder)), made)
    print("| finding | images | positive | AUC, phantom | AUC, untrained |\n| --- | --- | --- | --- | --- |")
    for key, (auc, number, positive) in trained.items():
        print(f"| {key} | {number} | {positive} | {auc:.3f} | {untrained[key][0]:.3f} |")
    mean = np.mean([auc for auc, _, _ in trained.values()])
    print(f"| **mean** | | | **{mean:.3f}** | {np.mean([auc for auc, _, _ in untrained.values()]):.3f} |")


def table(encoder: Encoder, made: list) -> dict[str, tuple[float, int, int]]:
    """`finding, kind of image` -> AUC, images, positives."""
    label_set = load_label_set("phantom")
    scorer = ZeroShot(encoder, label_set)
    pixels = [resize(image, "tf-bilinear", "stretch") for image, _, _ in made]
    vectors = np.concatenate([encoder.encode_images(np.stack(pixels[i : i + 16])) for i in range(0, len(pixels), 16)])
    scores = scorer.matrix(vectors)
    rows = {}
    for column, label in enumerate(label_set.labels):
        for kind, findings in FINDINGS.items():
            if NAMES[label.name] in findings:
                mine = [i for i, (_, k, _) in enumerate(made) if k == kind]
                truth = np.array([NAMES[label.name] in made[i][2] for i in mine])
                rows[f"{label.name}, {kind}"] = (auc(scores[mine, column], truth), len(mine), int(truth.sum()))
    return rows


def auc(scores: np.ndarray, truth: np.ndarray) -> float:
    """Area under the ROC curve: how often a positive scores above a negative (ties count half)."""
    positive, negative = scores[truth][:, None], scores[~truth][None, :]
    return float(((positive > negative) + 0.5 * (positive == negative)).mean())


def _untrained(folder: Path) -> Encoder:
    """A model of phantom's shape with its tokenizer and random weights."""
    import shutil
    from importlib import resources

    import torch

    source = Path(str(resources.files("dicom_pipeline") / "data" / "phantom"))
    for path in source.iterdir():
        shutil.copy(path, folder)
    torch.manual_seed(1)
    encoder = load_encoder("phantom", device="cpu", dtype="float32")
    make_model(encoder._model.config.text_config.vocab_size).save_pretrained(folder)
    return load_encoder(str(folder), device="cpu", dtype="float32")


if __name__ == "__main__":
    main()
