"""The models on this machine: the shipped one, imported folders, and what the hub's cache holds."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open

from dicom_pipeline.encoders.checkpoint import (
    WANTED,
    checkpoint_folder,
    imported_folder,
    notice_of,
    reference_file,
    weight_files,
    weights_digest,
)
from dicom_pipeline.errors import ModelError


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What can be said of a checkpoint without loading it.

    parameters: numbers in its safetensors. weights: sha256 over its files, as in the fingerprint. reference:
    whether it carries reference statistics of its embeddings.
    """

    name: str
    folder: Path
    family: str
    dimension: int | None
    image_size: int | None
    text_tokens: int | None
    parameters: int
    licence: str
    notice: str
    weights: str
    reference: bool


def list_models() -> list[tuple[str, str, Path]]:
    """(name, where it comes from, folder) of every model that loads without a network."""
    from importlib import resources

    found = [("phantom", "shipped", Path(str(resources.files("dicom_pipeline") / "data" / "phantom")))]
    imported = imported_folder()
    if imported.is_dir():
        found += [(p.name, "imported", p) for p in sorted(imported.iterdir()) if (p / "config.json").is_file()]
    return found + _cached()


def import_model(source: Path, name: str) -> Path:
    """Copy a checkpoint folder, so that `name` loads it from now on. Nothing but JSON, text, vocabularies and safetensors.

    Raises ModelError where the name is taken or odd, UnsafeWeightsError where there are no safetensors.
    """
    if not name or not all(c.isalnum() or c in "-_." for c in name) or name.startswith("."):
        raise ModelError(f"{name!r} cannot be a model's name: use letters, digits, dash, underscore and dot")
    source = checkpoint_folder(str(source))
    target = imported_folder() / name
    if target.exists():
        raise ModelError(f"there is already a model {name} in {target.parent}; remove it, or give another --name")
    partial = target.with_name(f".{name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for path in sorted(p for pattern in WANTED for p in source.glob(pattern)):
        shutil.copy2(path, partial / path.name)
    partial.rename(target)
    return target


def model_info(name: str, folder: Path) -> ModelInfo:
    """What a checkpoint folder says of itself; reads headers and hashes files, loads no model."""
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder} has no readable config.json") from error
    vision, text = config.get("vision_config", config), config.get("text_config", {})
    return ModelInfo(
        name=name,
        folder=folder,
        family=str(config.get("model_type", "")),
        dimension=vision.get("hidden_size"),
        image_size=vision.get("image_size"),
        text_tokens=text.get("max_position_embeddings"),
        parameters=sum(_numbers(path) for path in weight_files(folder)),
        licence=_licence(folder),
        notice=notice_of(folder),
        weights=weights_digest(folder),
        reference=reference_file(folder).is_file(),
    )


def _numbers(path: Path) -> int:
    with safe_open(path, framework="np") as tensors:
        shapes = [tensors.get_slice(key).get_shape() for key in tensors.keys()]  # noqa: SIM118
    total = 0
    for shape in shapes:
        count = 1
        for side in shape:
            count *= side
        total += count
    return total


def _licence(folder: Path) -> str:
    """The licence that a model card names in its front matter, or "" where there is none."""
    card = folder / "README.md"
    if not card.is_file():
        return ""
    lines = card.read_text(encoding="utf-8", errors="replace").splitlines()
    for line in lines[1:40] if lines[:1] == ["---"] else []:
        if line == "---":
            break
        if line.startswith(("license:", "license_name:")) and "other" not in line:
            return line.partition(":")[2].strip()
    return ""


def _cached() -> list[tuple[str, str, Path]]:
    """Complete models in the hub's cache."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = scan_cache_dir().repos
    except CacheNotFound:
        return []
    found = []
    for repo in sorted(repos, key=lambda r: r.repo_id):
        for revision in repo.revisions:
            folder = Path(revision.snapshot_path)
            if repo.repo_type == "model" and (folder / "config.json").exists() and list(folder.glob("*.safetensors")):
                found.append((repo.repo_id, f"hub cache, revision {revision.commit_hash[:12]}", folder))
    return found
