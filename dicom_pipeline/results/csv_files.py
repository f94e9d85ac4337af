"""The one writer of CSV, and the way back: no text in a CSV file of ours is a formula to a spreadsheet.

Excel, LibreOffice and Google Sheets run a cell that begins with =, +, - or @, quoted or not; labels, header texts and peers'
names may begin so. Such a text gets an apostrophe in front (OWASP, "CSV Injection"; CWE-1236), numbers stay numbers. A
program that splits at semicolons, tabs or line breaks sees a cell begin behind each of them, so these places count too.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

_CELL_START = r"(?:\A|(?<=[;\t\r\n]))"
_FORMULA = r"(?:[\s\"']*[=+\-@\uff1d\uff0b\uff0d\uff20]|'*[\t\r\n\0])"
"""What makes a cell a formula: a sign, full-width ones too, behind blanks and quotes that some programs drop; or a control."""

DANGEROUS = re.compile(f"{_CELL_START}(?={_FORMULA})")
ESCAPED = re.compile(f"{_CELL_START}'(?={_FORMULA})")


def escape_formulas(text: str) -> str:
    """The text with an apostrophe before each place at which a spreadsheet would see a formula."""
    return DANGEROUS.sub("'", text)


def restore_formulas(text: str) -> str:
    """The text that `escape_formulas` or `keep_formulas` was given."""
    return ESCAPED.sub("", text)


def keep_formulas(text: str) -> str:
    """The text as it is, unless it looks escaped: then with one more apostrophe, so that `restore_formulas` gives it back."""
    return ESCAPED.sub("''", text)


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]], *, escape: bool = True) -> None:
    """Write rows as UTF-8 CSV: texts quoted and escaped, numbers as they are, None and what a row lacks as "".

    rows: may have more than `columns`. escape: False keeps texts that are formulas. Raises OSError.
    """
    cell = escape_formulas if escape else keep_formulas
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, quoting=csv.QUOTE_NONNUMERIC)
        writer.writerow([cell(column) for column in columns])
        for row in rows:
            values = (row.get(column) for column in columns)
            writer.writerow([cell(value) if isinstance(value, str) else value for value in values])


def read_csv(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a file of `write_csv` as texts, as they were given. Raises OSError, or ValueError for what is not CSV."""
    with path.open(newline="", encoding="utf-8") as stream:
        try:
            for row in csv.DictReader(stream):
                yield {
                    restore_formulas(name): restore_formulas(text)
                    for name, text in row.items()
                    if name is not None and text is not None
                }
        except csv.Error as error:
            raise ValueError(f"{path.name} is not CSV: {error}") from error


def write_tables(path: Path, tables: Iterable[pa.Table], *, escape: bool = True) -> None:
    """Write Arrow tables of one schema as `write_csv` does: floats in the shortest form that reads back the same."""
    import pyarrow.csv

    writer = None
    try:
        for table in tables:
            plain = _with_texts(table, escape=escape)
            writer = writer or pyarrow.csv.CSVWriter(path, plain.schema)
            writer.write_table(plain)
    finally:
        if writer is not None:
            writer.close()


def _with_texts(table: pa.Table, *, escape: bool) -> pa.Table:
    """The table with every text and column name as CSV may have it."""
    import pyarrow as pa

    cell = escape_formulas if escape else keep_formulas
    for at, field in enumerate(table.schema):
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            texts = [None if text is None else cell(text) for text in table.column(at).to_pylist()]
            table = table.set_column(at, field, pa.array(texts, field.type))
    return table.rename_columns([cell(name) for name in table.column_names])
