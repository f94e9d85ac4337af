"""Row filters: what is understood, what is refused, and that no text means more than it says."""

import operator
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_pipeline.errors import UsageError
from dicom_pipeline.research.embedding_store import EmbeddingStore
from dicom_pipeline.research.store.rows import row_schema
from dicom_pipeline.research.store.where import Value, parse_where, quoted
from tests.research.made import made_rows

SCHEMA = row_schema(16)


@pytest.fixture(scope="module")
def store():
    return EmbeddingStore.in_memory(
        made_rows(frames=8, modality=["CT"] * 4 + ["MR"] * 3 + ["O'Neil"], kvp=[None] * 4 + [120.0] * 4)
    )


@pytest.mark.parametrize(
    ("where", "count"),
    [
        ("modality = 'CT'", 4),
        ("modality == 'CT' or modality = 'MR'", 7),
        ("NOT modality IN ('CT', 'MR')", 1),
        ("modality NOT IN ('CT', 'MR')", 1),
        ("modality = 'O''Neil'", 1),
        ("modality LIKE 'C%' AND frame >= 1", 4),
        ("\"modality\" <> 'CT' and (kvp between 100 and 120.5 or kvp is null)", 4),
        ("kvp IS NULL", 4),
        ("not (not kvp is not null)", 4),
        ("score('Nodule') >= 0.5", 4),
        ("score('no such label') >= 0", 0),
        ("study_date > '2025-03-03' and study_date <= DATE '2025-03-04'", 8),
        ("frame = 1.0 AND position_mm < 1e0", 1),
    ],
)
def test_conditions_select_what_they_say(store, where, count):
    assert store.count(where) == count
    assert store.rows(where, ["sop_instance_uid"]).num_rows == count


INNER = "position_mm < 1 OR score('Nodule') > 2 AND kvp BETWEEN 1 AND 2"


@pytest.mark.parametrize(
    ("where", "count"),
    [
        ("(" * 20 + INNER + ")" * 20, 1),
        ("NOT " * 20 + "position_mm < 1", 1),
        ("NOT (" * 10 + INNER + ")" * 10, 1),
        ("position_mm < 1 OR (" * 20 + INNER + ")" * 20, 1),
        ("(position_mm < 1) AND " * 100 + "position_mm < 1", 1),
    ],
)
def test_the_deepest_that_is_understood_is_understood_by_the_store_too(store, where, count):
    """The store's own parser has a bound too, and says something else where it is passed."""
    assert store.count(where) == count


ROWS = [  # modality, kvp, frame: what the property below computes with
    {"modality": modality, "kvp": kvp, "frame": frame}
    for frame, (modality, kvp) in enumerate(
        [("CT", 100.0), ("CT", 120.5), ("MR", None), ("O'Neil", 80.0), ("CT", None), ("MR", 100.0)], start=1
    )
]


def is_like(text, pattern):
    return (
        re.fullmatch("".join(".*" if c == "%" else "." if c == "_" else re.escape(c) for c in pattern), text)
        is not None
    )


def either(a, b):
    """OR of SQL's three values, where None is unknown."""
    return True if True in (a, b) else None if None in (a, b) else False


def both(a, b):
    """AND of SQL's three values."""
    return False if False in (a, b) else None if None in (a, b) else True


def negated(a):
    """NOT of SQL's three values."""
    return None if a is None else not a


COMPARE = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@st.composite
def comparisons(draw):
    """A comparison as text, and what it says of a row: True, False or None (unknown)."""
    if draw(st.booleans()):
        text = draw(st.sampled_from(["CT", "MR", "O'Neil", "XX"]))
        sign = draw(st.sampled_from(sorted(COMPARE)))
        return f"modality {sign} {quoted(text)}", lambda row: COMPARE[sign](row["modality"], text)
    kind = draw(st.sampled_from(["number", "null", "between", "in", "like"]))
    low, high = sorted(draw(st.tuples(st.sampled_from([80, 100, 120.5]), st.sampled_from([80, 100, 121]))))
    known = lambda row, of: None if row["kvp"] is None else of(row["kvp"])  # noqa: E731
    if kind == "number":
        sign = draw(st.sampled_from(sorted(COMPARE)))
        return f"kvp {sign} {low}", lambda row: known(row, lambda kvp: COMPARE[sign](kvp, low))
    if kind == "null":
        return "kvp IS NULL", lambda row: row["kvp"] is None
    if kind == "between":
        return f"kvp BETWEEN {low} AND {high}", lambda row: known(row, lambda kvp: low <= kvp <= high)
    if kind == "in":
        frames = draw(st.lists(st.integers(1, 7), min_size=1, max_size=3))
        return f"frame IN ({', '.join(map(str, frames))})", lambda row: row["frame"] in frames
    pattern = draw(st.sampled_from(["C%", "%N%", "_R", "%"]))
    return f"modality LIKE '{pattern}'", lambda row: is_like(row["modality"], pattern)


def joined(parts):
    (a, of_a), word, (b, of_b) = parts
    of = both if word == "AND" else either
    return f"({a}) {word} ({b})", lambda row: of(of_a(row), of_b(row))


conditions = st.recursive(
    comparisons(),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(joined),
        inner.map(lambda part: (f"NOT ({part[0]})", lambda row: negated(part[1](row)))),
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def six():
    return EmbeddingStore.in_memory(
        made_rows(
            frames=6, modality=[row["modality"] for row in ROWS], kvp=[row["kvp"] for row in ROWS], frame=[*range(1, 7)]
        )
    )


@settings(max_examples=80, deadline=None)
@given(conditions)
def test_any_condition_means_what_sql_means(six, condition):
    where, of = condition
    found = six.rows(where, ["frame"])["frame"].to_pylist()
    assert sorted(found) == [row["frame"] for row in ROWS if of(row) is True]


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("modality = 'CT'; DROP TABLE frames", "found ';'"),
        ("1=1) OR (1=1", "expected a column"),
        ("modality = 'CT') OR (modality = 'MR'", "found ')'"),
        ("modality = 'CT' -- AND frame = 1", "found '-'"),
        ("modality = 'CT' UNION SELECT", "found 'UNION'"),
        ("frame IN (SELECT 1)", "found 'SELECT'"),
        ("modalty = 'CT'", "did you mean modality"),
        ('modality = "CT"', "single quotes"),
        ("modality = CT", "single quotes"),
        ("kvp > 'high'", "kvp holds numbers"),
        ("kvp LIKE '1%'", "holds no text"),
        ("frame = 1.5", "whole number"),
        ("study_date > '2025-02-30'", "a date"),
        ("embedding IS NULL", "no column"),
        ("modality", "the condition ends"),
        ("", "the condition ends"),
        ("(" * 21 + "frame = 1" + ")" * 21, "20 brackets and NOTs"),
        ("NOT " * 21 + "frame = 1", "20 brackets and NOTs"),
        ("NOT (" * 11 + "frame = 1" + ")" * 11, "20 brackets and NOTs"),
        ("frame = 1 AND " * 10_000 + "frame = 1", "at most 100000 characters"),
        ("modality = 'CT' AND", "the condition ends"),
    ],
)
def test_anything_else_is_refused_and_says_where(where, words):
    with pytest.raises(UsageError, match=re.escape(words)):
        parse_where(where, SCHEMA)


@given(st.text(max_size=40))
def test_no_value_gets_out_of_its_quotes(text):
    """Whatever stands in a literal, the condition has one comparison, with that text."""
    condition = parse_where("modality = '" + text.replace("'", "''") + "'", SCHEMA)
    assert condition.sql == "`modality` = '" + text.replace("'", "''") + "'"
    assert [part.text for part in condition.parts if isinstance(part, Value)] == [text]


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    try:
        condition = parse_where(text, SCHEMA)
    except UsageError:
        return
    assert condition.columns
