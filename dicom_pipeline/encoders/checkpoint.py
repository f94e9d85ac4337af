"""A checkpoint on disk: safetensors only, hashed, with the notice that it carries."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from dicom_pipeline.errors import ModelError, ModelGatedError, ModelNotFoundError, UnsafeWeightsError

WANTED = ("*.json", "*.safetensors", "*.model", "*.txt", "README.md")

REFERENCE_NAME = "reference.safetensors"
"""Statistics of embeddings, which change none: no part of the weights."""

GATED = (
    "{model} is gated: its owner asks everyone to accept its terms first. (1) Open https://huggingface.co/{model}, sign in "
    "and accept the terms. (2) Make a token with read access at https://huggingface.co/settings/tokens. (3) Run "
    "`hf auth login`, or set HF_TOKEN, and try again. Or copy the files to this machine and give their folder as the model."
)


def imported_folder() -> Path:
    """Where imported models lie: DICOM_PIPELINE_MODELS, or models/ in the user's data folder (XDG on Linux)."""
    if named := os.environ.get("DICOM_PIPELINE_MODELS"):
        return Path(named)
    from platformdirs import user_data_path

    return user_data_path("dicom-pipeline", appauthor=False) / "models"


def checkpoint_folder(model: str, revision: str | None = None) -> Path:
    """The local folder of a model: itself, or the hub's cache after a download.

    Raises ModelGatedError with the way to get access, ModelNotFoundError, or UnsafeWeightsError where there are no
    safetensors: a pickle can run code when it is loaded.
    """
    folder = Path(model)
    if not folder.is_dir():
        folder = _fetched(model, revision)
    if not weight_files(folder):
        raise UnsafeWeightsError(f"{model} has no *.safetensors; pickled weights (*.bin, *.pt) are never loaded")
    return folder


def weight_files(folder: Path) -> list[Path]:
    """The safetensors of a checkpoint that hold weights."""
    return sorted(path for path in folder.glob("*.safetensors") if path.name != REFERENCE_NAME)


def reference_file(folder: Path) -> Path:
    """Where the reference statistics of a checkpoint lie, if it has any (scoring/reference.py)."""
    return folder / REFERENCE_NAME


def _fetched(model: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=list(WANTED)))
    except GatedRepoError as error:
        raise ModelGatedError(GATED.format(model=model)) from error
    except RepositoryNotFoundError as error:
        raise ModelNotFoundError(
            f"the hub has no model {model}, or it is private. {GATED.format(model=model)}"
        ) from error
    except (LocalEntryNotFoundError, OSError, HfHubHTTPError) as error:
        raise ModelNotFoundError(
            f"{model} is not on this machine and the hub cannot be reached ({type(error).__name__}). Check the network, or "
            f"give a folder. If it is gated: {GATED.format(model=model)}"
        ) from error


def weights_digest(folder: Path) -> str:
    """Sha256 (hex) over the names and bytes of the configuration, tokenizer and weight files: what makes embeddings."""
    total = hashlib.sha256()
    weights = weight_files(folder)
    for path in sorted([*weights, *(p for p in folder.iterdir() if p.suffix in (".json", ".model"))]):
        with path.open("rb") as stream:
            total.update(path.name.encode() + hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()


def notice_of(folder: Path) -> str:
    """What the checkpoint says must stand beside its scores: its NOTICE.txt, "" without one."""
    file = folder / "NOTICE.txt"
    return " ".join(file.read_text(encoding="utf-8").split()) if file.is_file() else ""


def check_loaded(missing: set[str], model: str) -> None:
    """Raise ModelError where weights are missing, which transformers would fill at random."""
    if missing:
        raise ModelError(
            f"{model} lacks {len(missing)} weights, such as {sorted(missing)[0]}; is the download complete?"
        )
