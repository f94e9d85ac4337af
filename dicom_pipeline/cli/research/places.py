"""Options that the commands on embeddings share: where the embeddings are, and which rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dicom_pipeline.domain import Level
from dicom_pipeline.errors import UsageError

if TYPE_CHECKING:
    from dicom_pipeline.config import Settings
    from dicom_pipeline.research.embedding_store import EmbeddingStore
    from dicom_pipeline.research.export.pseudonyms import Pseudonyms

From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="STORE_OR_PROCESS_OUTPUT_DIR",
        help="A store, or what `process` wrote. Default: the settings' store.",
    ),
]
Where = Annotated[
    str | None, typer.Option(metavar="CONDITION", help="Only these rows, such as \"modality = 'CT' AND kvp >= 100\".")
]
Space = Annotated[
    str | None,
    typer.Option(help="Which model's vectors, where the store has several: first digits of the weights' sha256."),
]
Config = Annotated[Path | None, typer.Option(help="Settings file (TOML); see `dicom-pipeline init`.")]
Key = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Secret key of the pseudonyms. Default: pseudonym_key of the settings."),
]


def level_option(levels: tuple[Level, ...], text: str) -> Any:
    """--level with the levels that it takes; `level_of` refuses others."""
    return typer.Option("--level", metavar="|".join(levels), help=text, autocompletion=lambda: list(levels))


def open_store(settings: Settings, place: str | None, space: str | None = None) -> EmbeddingStore:
    """The store that was named, else that of the settings."""
    from dicom_pipeline.config import store_uri
    from dicom_pipeline.research.embedding_store import EmbeddingStore

    return EmbeddingStore.open(place or store_uri(settings), space=space)


def pseudonyms_of(settings: Settings, key: Path | None, *, outside: Path | None = None) -> Pseudonyms:
    """The pseudonyms of the key file that was named, else of the settings'; made when an export (`outside`) needs it."""
    from dicom_pipeline.research.export.pseudonyms import load_key

    path = key or settings.store.pseudonym_key
    if outside is not None and path.resolve().is_relative_to(outside.resolve()):
        raise UsageError(f"the key {path} lies in the export; it must stay with you: choose another --key")
    return load_key(path, create=outside is not None)
