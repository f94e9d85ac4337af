"""Row filters as people write them in `--where`, checked word by word before any database sees them.

    modality = 'CT' AND (slice_thickness_mm <= 2.5 OR kernel LIKE 'B%') AND NOT body_part IN ('HEAD', 'NECK')
    study_date >= '2025-01-01' AND score('Nodule') > 0.5 AND view IS NOT NULL AND kvp BETWEEN 100 AND 120

The grammar is SQL's for one condition and nothing else: no statement, no function but score('LABEL'), no second table. What
comes out is SQL in a canonical form with every name quoted and every value of its column's type.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches

import pyarrow as pa

from dicom_pipeline.errors import UsageError

TOKEN = re.compile(
    r"""\s*(?:(?P<string>'(?:[^']|'')*')|(?P<quoted>"[^"]+"|`[^`]+`)|(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<word>[A-Za-z_]\w*)|(?P<sign><>|!=|==|<=|>=|[=<>(),])|(?P<end>$)|(?P<wrong>.))""",
    re.VERBOSE | re.DOTALL,
)
COMPARISONS = {"=": "=", "==": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
HIDDEN = ("embedding", "score_labels", "score_kinds", "score_values")
"""Columns that hold lists: no condition compares them."""

MAX_DEPTH = 20
"""Brackets and NOTs inside one another. The store's own parser gives up from 46 on, of NOT ( together from 23 pairs on, and
says something else then."""

MAX_CHARACTERS = 100_000
"""Room for a list of 1,500 UIDs. A condition as long as that costs the store a fifth of a second."""


@dataclass(frozen=True, slots=True)
class Value:
    """A literal of a condition: the column that it is compared with, what was written, and its SQL."""

    column: str
    text: str
    sql: str


@dataclass(frozen=True, slots=True)
class Name:
    """A column or score('LABEL') as it is written, and its SQL."""

    text: str
    sql: str


@dataclass(frozen=True, slots=True)
class Condition:
    """A checked condition. parts: words of SQL, names and literals in order. columns: those that it names."""

    parts: tuple[str | Name | Value, ...]
    columns: frozenset[str]

    @property
    def sql(self) -> str:
        """The condition for the database."""
        return " ".join(part if isinstance(part, str) else part.sql for part in self.parts)

    @property
    def bracketed(self) -> tuple[str | Name | Value, ...]:
        """The parts in brackets, to be joined with others."""
        return ("(", *self.parts, ")")

    def shown(self, may_show: Callable[[str, str], bool] = lambda column, text: True) -> str:  # noqa: ARG005
        """The condition as a person would write it, where `may_show(column, text)` allows a value."""
        words = []
        for part in self.parts:
            if isinstance(part, Value):
                words.append(part.sql if may_show(part.column, part.text) else "'(withheld)'")
            else:
                words.append(part.text if isinstance(part, Name) else part)
        return " ".join(words)


def parse_where(text: str, schema: pa.Schema) -> Condition:
    """Read a condition over the columns of a schema. Raises UsageError that says where and what was expected."""
    if len(text) > MAX_CHARACTERS:
        raise UsageError(f"--where: expected at most {MAX_CHARACTERS} characters, found {len(text)}")
    reader = _Reader(text, {f.name: f.type for f in schema if f.name not in HIDDEN})
    reader.either()
    if reader.kind != "end":
        raise reader.wrong("AND, OR or the end")
    return Condition(tuple(reader.parts), frozenset(reader.columns))


class _Reader:
    """Recursive descent over the tokens of one condition; collects its canonical parts."""

    def __init__(self, text: str, types: Mapping[str, pa.DataType]) -> None:
        self.text = text
        self.types = types
        self.parts: list[str | Name | Value] = []
        self.columns: set[str] = set()
        self._depth = 0
        self._end = 0
        self._next()

    def _next(self) -> str:
        """Step to the next token; returns the one that was current."""
        before = getattr(self, "now", "")
        match = TOKEN.match(self.text, self._end)
        assert match is not None
        self.kind = str(match.lastgroup)
        self.now = match[self.kind]
        self.at = match.start(self.kind)
        self._end = match.end()
        if self.kind == "wrong":
            raise self.wrong("a column, a value or a comparison")
        return before

    def wrong(self, expected: str) -> UsageError:
        """The error at the current token."""
        found = f"found {self.now!r}" if self.now else "the condition ends"
        return UsageError(
            f"--where, at character {self.at + 1}: expected {expected}, {found}. Example: modality = 'CT' AND kvp >= 100. "
            "Values in single quotes, columns without"
        )

    def _word(self, word: str) -> bool:
        """Whether the current token is a keyword; steps over it."""
        if self.kind == "word" and self.now.upper() == word:
            self._next()
            return True
        return False

    def _sign(self, sign: str) -> None:
        if self.kind != "sign" or self.now != sign:
            raise self.wrong(repr(sign))
        self._next()

    def either(self) -> None:
        """Condition OR condition ..."""
        self._both()
        while self._word("OR"):
            self.parts.append("OR")
            self._both()

    def _both(self) -> None:
        self._negated()
        while self._word("AND"):
            self.parts.append("AND")
            self._negated()

    def _negated(self) -> None:
        before = self._depth
        while self._word("NOT"):
            self._deeper()
            self.parts.append("NOT")
        if self.kind == "sign" and self.now == "(":
            self._deeper()
            self._next()
            self.parts.append("(")
            self.either()
            self._sign(")")
            self.parts.append(")")
        else:
            self._predicate()
        self._depth = before

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self.wrong(f"at most {MAX_DEPTH} brackets and NOTs inside one another")

    def _predicate(self) -> None:
        column, kind = self._operand()
        if self._word("IS"):
            negated = "NOT " if self._word("NOT") else ""
            if not self._word("NULL"):
                raise self.wrong("NULL")
            self.parts.append(f"IS {negated}NULL")
            return
        if self.kind == "sign" and self.now in COMPARISONS:
            self.parts.append(COMPARISONS[self._next()])
            self._value(column, kind)
            return
        if self._word("NOT"):
            self.parts.append("NOT")
        if self._word("IN"):
            self._list(column, kind)
        elif self._word("BETWEEN"):
            self.parts.append("BETWEEN")
            self._value(column, kind)
            if not self._word("AND"):
                raise self.wrong("AND")
            self.parts.append("AND")
            self._value(column, kind)
        elif self._word("LIKE"):
            if not pa.types.is_string(kind):
                raise self.wrong(f"a comparison, because {column} holds no text")
            self.parts.append("LIKE")
            self._value(column, kind)
        else:
            raise self.wrong("=, !=, <, <=, >, >=, IN, BETWEEN, LIKE or IS NULL")

    def _list(self, column: str, kind: pa.DataType) -> None:
        self._sign("(")
        self.parts.append("IN (")
        self._value(column, kind)
        while self.kind == "sign" and self.now == ",":
            self._next()
            self.parts.append(",")
            self._value(column, kind)
        self._sign(")")
        self.parts.append(")")

    def _operand(self) -> tuple[str, pa.DataType]:
        """A column or score('LABEL'): its name and type; its SQL is added to the parts."""
        if self.kind == "word" and self.now.lower() == "score" and "score_labels" not in self.types:
            return self._score()
        if self.kind not in ("word", "quoted"):
            raise self.wrong("a column")
        name = self.now.strip('"`')
        if name not in self.types:
            near = get_close_matches(name, self.types, 1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise UsageError(f"--where: no column {name!r}. {hint}The columns are: {', '.join(sorted(self.types))}")
        self._next()
        self.columns.add(name)
        self.parts.append(Name(name, f"`{name}`"))
        return name, self.types[name]

    def _score(self) -> tuple[str, pa.DataType]:
        self._next()
        self._sign("(")
        if self.kind != "string":
            raise self.wrong("a label in single quotes")
        label = self._next()
        self._sign(")")
        self.columns.add("score")
        sql = f"score_values[CAST(array_position(score_labels, {label}) AS BIGINT)]"
        self.parts.append(Name(f"score({label})", sql))
        return "score", pa.float64()

    def _value(self, column: str, kind: pa.DataType) -> None:
        """A literal of the column's type."""
        token = self.now
        if kind == pa.date32():
            self._word("DATE")
            token = self.now
            if self.kind != "string" or not _is_date(token.strip("'")):
                raise self.wrong(f"a date such as '2025-01-31', because {column} holds dates")
            sql = f"date {token}"
        elif pa.types.is_string(kind):
            if self.kind != "string":
                raise self.wrong(f"a text in single quotes, because {column} holds text")
            sql = token
        else:
            if self.kind != "number":
                raise self.wrong(f"a number, because {column} holds numbers")
            if pa.types.is_integer(kind):
                if not float(token).is_integer():
                    raise self.wrong(f"a whole number, because {column} holds whole numbers")
                sql = str(int(float(token)))
            else:
                sql = repr(float(token))
        text = token[1:-1].replace("''", "'") if self.kind == "string" else token
        self._next()
        self.parts.append(Value(column, text, sql))


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return len(text) == 10


def quoted(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"
