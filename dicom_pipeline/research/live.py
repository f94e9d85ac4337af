"""Searches that the worker answers while it works: studies like a study, and frames that fit a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dicom_pipeline.config import Settings, store_uri
from dicom_pipeline.encoders import Encoder
from dicom_pipeline.errors import ModelError, StoreError, UsageError
from dicom_pipeline.research.embedding_store import EmbeddingStore

NOTICE = "Research use only, not for diagnosis. A similarity ranks within one search; it is no probability."
FRAME_COLUMNS = (
    "study_instance_uid",
    "series_instance_uid",
    "sop_instance_uid",
    "frame",
    "modality",
    "body_part",
    "view",
    "similarity",
)


class Searches:
    """Answers from the store of the settings, with the resident model; opened anew each time, so up to date."""

    def __init__(self, settings: Settings, encoder: Encoder) -> None:
        self._settings = settings
        self._encoder = encoder

    def answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Of {"similar": study UID, "top": N} or {"text": words, "top": N, "level": ..., "where": ...}.

        {"similar": [...]} or {"found": [...]}, best first, with a notice; or {"error": ..., "status": of HTTP}.
        """
        try:
            # a model that was exchanged has left vectors in the store that mean nothing to this one
            store = EmbeddingStore.open(store_uri(self._settings), space=self._encoder.weights)
            if "similar" in question:
                return {
                    "similar": store.similar(question["similar"], top=question["top"]).to_pylist(),
                    "notice": NOTICE,
                }
            found = store.search(
                question["text"],
                top=question["top"],
                level=question["level"],
                where=question["where"],
                encoder=self._encoder,
            )
            return {"found": found.select(list(FRAME_COLUMNS)).to_pylist(), "notice": self._notice()}
        except UsageError as error:
            status = 404 if "similar" in question else 400
            return {"status": status, "error": str(error)}
        except StoreError as error:
            return {"status": 404, "error": f"nothing to search yet: {error}"}
        except ModelError as error:
            return {"status": 400, "error": str(error)}

    def _notice(self) -> str:
        return f"{NOTICE} {self._encoder.notice}".strip()
