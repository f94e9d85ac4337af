r"""Train the shipped `phantom` checkpoint: a small SigLIP, contrastively, on drawings. Fixed seeds; 2 CPU cores, about an hour.

    python sample_data/train_phantom.py --out build/stage1 --images 6000 --steps 1000
    python sample_data/train_phantom.py --out build/stage2 --start build/stage1 --first-seed 100000 --images 3600 --steps 420 \
        --rate 6e-4
    python sample_data/train_phantom.py --out dicom_pipeline/data/phantom --start build/stage2 --first-seed 200000 \
        --images 3000 --steps 280 --rate 5e-4

The first stage takes about 35 minutes, the second, whose drawings have larger nodules, about 15, the third about 10.

Each batch pairs drawings with captions. A caption is a set of statements (kind of image, finding present or absent), so
whether it holds for a drawing is known, and the sigmoid loss (Zhai et al. 2023, arXiv:2303.15343) has its true targets.
Drawings are rendered with the windows of the pipeline's own presets.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import torch
from phantoms import FINDINGS, Ranges, ct_slice, draw_patient, mr_slice, radiograph
from transformers import SiglipConfig, SiglipImageProcessorPil, SiglipModel, SiglipTokenizer

from dicom_pipeline.imaging import load_preset
from dicom_pipeline.imaging.windows import Span, to_grey

DRAWN = 224
TEXT_LENGTH = 64
NOTICE = "The model phantom was trained on computer drawings only: its scores mean nothing on patients."

KIND_WORDS = {
    "chest CT": ("chest CT", "axial CT of the chest"),
    "brain MR": ("brain MR", "axial MRI of the brain"),
    "chest X-ray": ("chest X-ray", "chest radiograph"),
}
FINDING_WORDS = {
    "nodule": "a nodule",
    "pleural effusion": "a pleural effusion",
    "cardiomegaly": "cardiomegaly",
    "lesion": "a lesion",
    "enlarged ventricles": "enlarged ventricles",
}


@dataclass(frozen=True)
class Caption:
    """Text with what it states: a kind (None: any) and findings present (True) or absent (False)."""

    text: str
    kind: str | None
    states: tuple[tuple[str, bool], ...]

    def holds(self, kind: str, present: frozenset[str]) -> bool:
        """Whether every statement is true of a drawing; one about a finding of other kinds of image is not."""
        if self.kind not in (None, kind):
            return False
        return all(f in FINDINGS[kind] and (f in present) == stated for f, stated in self.states)


def captions() -> list[Caption]:
    """Every caption that is trained on."""
    made = []
    for kind, words in KIND_WORDS.items():
        made += [Caption(word, kind, ()) for word in words]
        for finding in FINDINGS[kind]:
            name = FINDING_WORDS[finding]
            for word in words:
                made.append(Caption(f"{word} with {name}", kind, ((finding, True),)))
                made.append(Caption(f"{word} without {name}", kind, ((finding, False),)))
    for finding, name in FINDING_WORDS.items():
        made.append(Caption(f"image with {name}", None, ((finding, True),)))
        made.append(Caption(f"image without {name}", None, ((finding, False),)))
    return made


def drawing(seed: int, ranges: Ranges | None = None) -> tuple[np.ndarray, str, frozenset[str]]:
    """One rendered drawing (224, 224, 3), its kind and the findings that can be seen on it."""
    rng = np.random.default_rng(seed)
    kind = list(FINDINGS)[seed % 3]
    wanted = {f for f in FINDINGS[kind] if rng.random() < 0.4}
    patient = draw_patient(kind, wanted, int(rng.integers(2**31)), ranges)
    z = float(rng.uniform(0.2, 0.8))
    sphere = next((patient.findings[f] for f in ("nodule", "lesion") if f in patient.findings), None)
    if sphere and rng.random() < 0.8:
        z = sphere[2] + float(rng.uniform(-0.7, 0.7)) * sphere[3]
    if "enlarged ventricles" in wanted:
        z = float(np.clip(z, 0.36, 0.7))
    if kind == "chest X-ray":
        return _stretched(radiograph(patient, DRAWN), rng), kind, frozenset(wanted)
    if kind == "brain MR":
        image = _stretched(mr_slice(patient, z, DRAWN, str(rng.choice(["T1", "T2"]))), rng)
        return image, kind, frozenset(f for f in wanted if _visible(f, patient.findings[f], z))
    values = ct_slice(patient, z, DRAWN)
    spans = [Span.of(*window) for window in load_preset("ct-medgemma-report").windows]
    image = np.stack([to_grey(values, span) for span in spans], axis=-1)
    return image, kind, frozenset(f for f in wanted if _visible(f, patient.findings[f], z))


def _visible(finding: str, place: tuple[float, float, float, float], z: float) -> bool:
    if finding in ("nodule", "lesion"):
        return abs(z - place[2]) < 0.9 * place[3]
    return {"pleural effusion": z < 0.5, "cardiomegaly": 0.14 < z < 0.62, "enlarged ventricles": 0.32 < z < 0.73}[
        finding
    ]


def _stretched(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Between percentiles, as mr-percentile and xray do, with some play for windows set otherwise."""
    low, high = np.percentile(values, [0.5, 99.5])
    play = (high - low) * rng.uniform(-0.08, 0.08, 2)
    grey = to_grey(values.astype(np.float32), Span(float(low + play[0]), float(high + play[1])))
    return np.repeat(grey[:, :, None], 3, axis=2)


def make_tokenizer(folder: Path, texts: list[str]) -> SiglipTokenizer:
    """A sentencepiece vocabulary of the captions' words, in SigLIP's form (lower case, no punctuation, </s> as padding)."""
    lowered = [text.lower().replace("-", "") for text in texts] * 4
    extra = [
        "a drawing of",
        "normal",
        "heart",
        "lung",
        "brain",
        "head",
        "image of",
        "no",
        "and",
        "the",
        "scan",
        "slice",
    ]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lowered + extra),
        model_prefix=str(folder / "spiece"),
        vocab_size=220,
        hard_vocab_limit=False,
        character_coverage=1.0,
        byte_fallback=False,
        required_chars="abcdefghijklmnopqrstuvwxyz0123456789",
        pad_id=-1,
        bos_id=-1,
        eos_id=1,
        unk_id=2,
        user_defined_symbols=["<pad>"],
        minloglevel=2,
    )
    (folder / "spiece.vocab").unlink()
    return SiglipTokenizer(
        vocab_file=str(folder / "spiece.model"),
        model_max_length=TEXT_LENGTH,
        eos_token="</s>",
        pad_token="</s>",
    )


def make_model(vocabulary: int) -> SiglipModel:
    """A SigLIP of the size that 2 cores can train: 448 px in patches of 32."""
    shared: dict[str, Any] = {"hidden_size": 160, "num_attention_heads": 4, "intermediate_size": 512}
    vision = {**shared, "num_hidden_layers": 5, "image_size": 448, "patch_size": 32}
    ends = {"bos_token_id": None, "eos_token_id": 1, "pad_token_id": 1}
    text = {**shared, **ends, "num_hidden_layers": 2, "vocab_size": vocabulary, "max_position_embeddings": TEXT_LENGTH}
    config = SiglipConfig(text_config={**text, "projection_size": 160}, vision_config=vision)
    model = SiglipModel(config)
    model.logit_scale.data.fill_(math.log(10.0))
    model.logit_bias.data.fill_(-2.0)
    return model


def train(
    model: SiglipModel, images: torch.Tensor, truth: list, tokens: torch.Tensor, args: argparse.Namespace
) -> None:
    """AdamW, warm-up and cosine; all captions against each batch of drawings."""
    said = captions()
    targets = torch.tensor([[1.0 if c.holds(kind, present) else -1.0 for c in said] for kind, present in truth])
    optimiser = torch.optim.AdamW(model.parameters(), lr=args.rate, weight_decay=0.02, betas=(0.9, 0.98))
    steps, batch = args.steps, args.batch
    warm = max(steps // 20, 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda s: min((s + 1) / warm, 0.5 * (1 + math.cos(math.pi * min(1.0, s / steps))) + 0.01)
    )
    generator = torch.Generator().manual_seed(1)
    start, running = time.monotonic(), 0.0
    for step in range(steps):
        chosen = torch.randint(len(images), (batch,), generator=generator)
        pixels = images[chosen].permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
        shift = torch.randint(-8, 9, (2,), generator=generator).tolist()
        pixels = torch.roll(pixels, shift, (2, 3)) * (0.9 + 0.2 * torch.rand(1, generator=generator))
        pixels = torch.nn.functional.interpolate(pixels, size=(448, 448), mode="bilinear").clamp_(-1, 1)
        vision = torch.nn.functional.normalize(_pooled(model.get_image_features(pixel_values=pixels)), dim=-1)
        text = torch.nn.functional.normalize(_pooled(model.get_text_features(input_ids=tokens)), dim=-1)
        logits = vision @ text.T * model.logit_scale.exp() + model.logit_bias
        loss = -torch.nn.functional.logsigmoid(targets[chosen] * logits).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        running = 0.98 * running + 0.02 * loss.item() if step else loss.item()
        if step % 100 == 0:
            print(f"step {step:5d}  loss {running:.4f}  {time.monotonic() - start:6.0f} s", flush=True)


def _pooled(output: Any) -> torch.Tensor:
    return output if isinstance(output, torch.Tensor) else output.pooler_output


def save(folder: Path, model: SiglipModel, tokenizer: SiglipTokenizer, trained: str) -> None:
    """The checkpoint as a Hugging Face folder, with the notice that the encoder reads."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": 448, "width": 448}, resample=2).save_pretrained(folder)
    (folder / "NOTICE.txt").write_text(NOTICE + "\n", encoding="utf-8")
    (folder / "training.json").write_text(json.dumps({"trained": trained}, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Draw, train, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--images", type=int, default=9000)
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--rate", type=float, default=1e-3, help="highest learning rate")
    parser.add_argument("--start", type=Path, help="checkpoint to go on from")
    parser.add_argument("--first-seed", type=int, default=0, help="seed of the first drawing")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    said = captions()
    tokenizer = make_tokenizer(args.out, [caption.text for caption in said])
    model = SiglipModel.from_pretrained(args.start) if args.start else make_model(len(tokenizer))
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {len(said)} captions", flush=True)
    with Pool(2) as pool:
        made = pool.map(drawing, range(args.first_seed, args.first_seed + args.images), chunksize=50)
    images = torch.from_numpy(np.stack([image for image, _, _ in made]))
    tokens = torch.tensor(
        [tokenizer(c.text, padding="max_length", max_length=TEXT_LENGTH, truncation=True)["input_ids"] for c in said]
    )
    model.train()
    train(model, images, [(kind, present) for _, kind, present in made], tokens, args)
    save(args.out, model.eval(), tokenizer, f"{args.images} drawings, {args.steps} steps of {args.batch}, seed 0")


if __name__ == "__main__":
    main()
