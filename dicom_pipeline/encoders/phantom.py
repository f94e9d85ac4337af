"""The shipped default: a small SigLIP trained on drawings only, so that everything can be tried with no account."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from dicom_pipeline.encoders.siglip import SiglipEncoder


def load(
    rest: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
    batch_size: int | None = None,
) -> SiglipEncoder:
    """The entry point `phantom`."""
    del rest, revision  # one checkpoint, shipped with the package
    folder = Path(str(resources.files("dicom_pipeline") / "data" / "phantom"))
    return SiglipEncoder(folder, name="phantom", device=device, dtype=dtype, batch_size=batch_size)
