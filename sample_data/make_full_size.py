"""A checkpoint folder with MedSigLIP's full configuration and random weights: to test loading, memory and speed.

    python sample_data/make_full_size.py --out build/full-size

1.8 GB in bfloat16. The vocabulary is phantom's: the configuration's 32,000 words are there as rows of the embedding, and
phantom's few words are the first of them. Its scores mean nothing; its time and memory are those of the real model.
"""

from __future__ import annotations

import argparse
import math
import shutil
from pathlib import Path

import torch
from transformers import SiglipConfig, SiglipModel

PHANTOM = Path(__file__).resolve().parent.parent / "dicom_pipeline" / "data" / "phantom"
NOTICE = "This model has random weights: its scores mean nothing."


def configuration() -> SiglipConfig:
    """SigLIP so400m, patch 14, 448 px, as google/medsiglip-448 states it."""
    tower = {"hidden_size": 1152, "num_hidden_layers": 27, "num_attention_heads": 16, "intermediate_size": 4304}
    ends = {"bos_token_id": None, "eos_token_id": 1, "pad_token_id": 1}
    text = {**tower, **ends, "vocab_size": 32000, "max_position_embeddings": 64, "projection_size": 1152}
    return SiglipConfig(text_config=text, vision_config={**tower, "image_size": 448, "patch_size": 14})


def make(folder: Path, seed: int = 0) -> None:
    """Write the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    with torch.device("meta"):
        model = SiglipModel(configuration())
    model = model.to(torch.bfloat16).to_empty(device="cpu")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            elif "norm" in name:
                parameter.fill_(1.0)
            else:
                parameter.normal_(0.0, 0.02)
        for module in model.modules():
            if hasattr(module, "position_ids"):
                module.position_ids = torch.arange(module.position_ids.shape[-1]).expand((1, -1))
        model.logit_scale.fill_(math.log(10.0))
        model.logit_bias.fill_(-2.0)
    model.save_pretrained(folder)
    for path in PHANTOM.iterdir():
        if path.name not in ("config.json", "model.safetensors", "training.json", "NOTICE.txt"):
            shutil.copy(path, folder)
    (folder / "NOTICE.txt").write_text(NOTICE + "\n", encoding="utf-8")


def main() -> None:
    """Make the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    make(parser.parse_args().out)


if __name__ == "__main__":
    main()
