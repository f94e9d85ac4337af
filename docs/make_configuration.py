"""Write docs/configuration.md from the settings themselves; a test holds the page to it.

python docs/make_configuration.py
"""

import json
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from dicom_pipeline.config import Settings

PAGE = Path(__file__).resolve().parent / "configuration.md"
HEADING = """\
# Settings

One TOML file, given by `--config`; `dicom-pipeline init` writes one with every setting in it. An environment variable
`DICOM_PIPELINE_SECTION__FIELD` overrides the file. Relative paths are taken from the file's folder. Unknown keys are refused.
`python docs/make_configuration.py` writes this page.
"""


def page() -> str:
    """The whole page: a table a section, tables of a list of entries (`[[...]]`) behind the section that has them."""
    parts = [HEADING]
    for name, field in Settings.model_fields.items():
        entries = sections_in(field.annotation)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            parts.append(section_table(f"[{name}]", field.annotation))
        elif len(entries) == 1:
            parts.append(section_table(f"[[{name}]]", entries[0]))
        else:
            kinds = [get_args(entry.model_fields["type"].annotation)[0] for entry in entries]
            parts += [section_table(f"[[{name}]] of type {k}", e) for k, e in zip(kinds, entries, strict=True)]
    return "\n".join(parts)


def section_table(title: str, section: type[BaseModel]) -> str:
    """A section's table, and those of the entries that it holds."""
    lines = [
        f"## {title}",
        "",
        (section.__doc__ or "").strip(),
        "",
        "| setting | default | what it is |",
        "| --- | --- | --- |",
    ]
    nested = []
    for name, field in section.model_fields.items():
        if name == "type":
            lines.append(f"| `type` | required | `{get_args(field.annotation)[0]}` |")
            continue
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            lines.append(f"| `{name}` | table below | {(field.annotation.__doc__ or '').strip()} |")
            nested.append(inner_table(title, name, field.annotation))
            continue
        choices = f" One of {', '.join(map(str, found))}." if (found := choices_in(field.annotation)) else ""
        lines.append(f"| `{name}` | {default_text(field.default)} | {field.description}{choices} |")
        inner = sections_in(field.annotation)
        nested += [section_table(f"[[{title.strip('[]')}.{name}]]", entry) for entry in inner]
    return "\n".join(["\n".join(lines) + "\n", *nested])


def inner_table(title: str, name: str, section: type[BaseModel]) -> str:
    """The table of a section within one, such as [peers.deliver] of type dicom."""
    table, of_type, kind = title.partition(" of type ")
    return section_table(f"[{table.strip('[]')}.{name}]{of_type}{kind}", section)


def default_text(value: Any) -> str:
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return "unset"
    return f"`{json.dumps(str(value) if isinstance(value, Path) else value)}`"


def choices_in(annotation: Any) -> tuple[Any, ...]:
    """The values of a Literal somewhere in a type."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return next((found for part in get_args(annotation) if (found := choices_in(part))), ())


def sections_in(annotation: Any) -> list[type[BaseModel]]:
    """The sections somewhere in a type, such as those of a tuple of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for part in get_args(annotation) for section in sections_in(part)]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
