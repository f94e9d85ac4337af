"""The commented settings file that `init` writes: every field with its default and what it is for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from dicom_pipeline.config import Settings

HEADING = """\
# Settings of dicom-pipeline. What stands behind "#" is the default; take the "#" away to change it; "..." is unset.
# Any value can be set by the environment too, such as DICOM_PIPELINE_LISTENER__PORT=11113.
"""

PEERS = """
# Other systems, one [[peers]] each, as many as you like. type: "dicom", "dicomweb", "orthanc" or "folder".
# roles: "deliver" (reports go there), "fetch" (new studies are fetched), "commit" (it asks for Storage Commitment).
# [[peers]]
# type = "dicom"
# name = "pacs"
# roles = ["deliver"]
# ae_title = "PACS"
# host = "127.0.0.1"
# port = 4242
# [peers.deliver]
# modalities = ["CT", "MR"]

[[peers]]
type = "folder"
name = "reports"
roles = ["deliver"]
path = "reports"
"""


def settings_text() -> str:
    """A TOML file that is valid as it is and has every setting in it."""
    parts = [HEADING]
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            parts.append(f"\n# {section.__doc__}\n[{name}]\n{_fields(section)}")
    return "".join(parts) + PEERS


def _fields(section: type[BaseModel]) -> str:
    lines = []
    for name, field in section.model_fields.items():
        lines.append(f"# {field.description}\n")
        default = None if field.default is PydanticUndefined else field.default
        lines.append(f"# {name} = {_toml(default)}\n" if default is not None else f"# {name} = ...\n")
    return "".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, Path):
        value = str(value)
    return json.dumps(list(value) if isinstance(value, tuple) else value)
