"""Which header texts may leave in a pseudonymised export: those of a published vocabulary (data/vocabulary.toml)."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import pyarrow as pa

from dicom_pipeline.errors import UsageError

OTHER = "other"
"""What stands for a text that is not in the vocabulary."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What one column may hold. values: folded text -> how it is exported. limits: least and greatest number."""

    values: dict[str, str]
    patterns: tuple[re.Pattern[str], ...]
    limits: tuple[float, float] | None

    def text(self, value: str) -> str | None:
        """The text as it is exported, None where it may not be."""
        known = self.values.get(value.strip().casefold())
        if known is not None:
            return known
        return value.strip() if any(pattern.fullmatch(value.strip()) for pattern in self.patterns) else None


class Vocabulary:
    """The terms of each column; a column without terms may hold no text."""

    def __init__(self, terms: dict[str, Terms]) -> None:
        self.terms = terms

    @classmethod
    def load(cls, extra: Path | None = None) -> Vocabulary:
        """The shipped vocabulary, and that of a file of the same form added to it. Raises UsageError."""
        text = (resources.files("dicom_pipeline") / "data" / "vocabulary.toml").read_text(encoding="utf-8")
        documents = [tomllib.loads(text)]
        if extra is not None:
            try:
                documents.append(tomllib.loads(extra.read_text(encoding="utf-8")))
            except (OSError, ValueError) as error:
                raise UsageError(f"cannot read the vocabulary {extra}: {error}") from error
        joined: dict[str, dict[str, Any]] = {}
        for document in documents:
            for column, entry in document.items():
                mine = joined.setdefault(column, {"values": [], "patterns": [], "range": None})
                mine["values"] += entry.get("values", [])
                mine["patterns"] += entry.get("patterns", [])
                mine["range"] = entry.get("range", mine["range"])
        return cls({column: _terms(column, entry) for column, entry in joined.items()})

    def may_show(self, column: str, text: str) -> bool:
        """Whether a literal of a condition may stand in the manifest."""
        terms = self.terms.get(column)
        return column == "score" or (terms is not None and (terms.limits is not None or terms.text(text) is not None))

    def clean(self, table: pa.Table) -> tuple[pa.Table, dict[str, int]]:
        """The table with every text that is not in its column's terms replaced; column -> values that were."""
        withheld: Counter[str] = Counter()
        for index, name in enumerate(table.column_names):
            terms = self.terms.get(name)
            if terms is None:
                continue
            column = table[name].to_pylist()
            if terms.limits is None:
                known = {value: terms.text(value) for value in set(column) - {None}}
                cleaned = [known[value] or OTHER if value is not None else None for value in column]
            else:
                low, high = terms.limits
                cleaned = [value if value is None or low <= value <= high else None for value in column]
            count = sum(a is not None and (b is None or b == OTHER) for a, b in zip(column, cleaned, strict=True))
            if count:
                withheld[name] = count
            table = table.set_column(index, table.schema.field(name), pa.array(cleaned, table.schema.field(name).type))
        return table, dict(withheld)


def _terms(column: str, entry: dict[str, Any]) -> Terms:
    try:
        patterns = tuple(re.compile(pattern) for pattern in entry["patterns"])
    except re.error as error:
        raise UsageError(f"vocabulary: a pattern of [{column}] is not a regular expression: {error}") from error
    limits = entry["range"]
    return Terms(
        {value.casefold(): value for value in entry["values"]}, patterns, (limits[0], limits[1]) if limits else None
    )
