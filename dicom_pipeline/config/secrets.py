"""Secrets: settings name an environment variable, never the secret itself."""

from __future__ import annotations

import os

from dicom_pipeline.errors import ConfigError


def secret(variable: str | None, whose: str) -> str | None:
    """The value of an environment variable; None where none is named. Raises ConfigError where it is not set."""
    if variable is None:
        return None
    value = os.environ.get(variable)
    if not value:
        raise ConfigError(f"{whose}: the environment variable {variable} is not set")
    return value
