"""States and their transitions: the catalog enters no other, the docs draw the same, and no state is a bare word elsewhere."""

import ast
import re
from pathlib import Path

import pytest

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.domain.life import (
    ARROWS,
    AnswerState,
    CommitmentState,
    DeliveryState,
    RevisionState,
    State,
    StudyState,
    sources,
)

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "dicom_pipeline"
KINDS = (StudyState, RevisionState, DeliveryState, CommitmentState, AnswerState)


def test_each_kind_has_its_own_words_and_a_sentence_for_each():
    for kind in KINDS:
        assert len({member.sentence for member in kind}) == len(kind)
        for member in kind:
            assert kind.of(member.value) is member
        with pytest.raises(ValueError, match="expected one of"):
            kind.of("no such state")


def test_every_state_can_be_reached_from_the_first():
    for kind in KINDS:
        first = next(iter(kind))
        reached, todo = {first}, [first]
        while todo:
            state = todo.pop()
            for arrow in ARROWS:
                if arrow.source is state and arrow.target not in reached:
                    reached.add(arrow.target)
                    todo.append(arrow.target)
        assert reached == set(kind)


def test_the_docs_draw_the_same_arrows():
    text = (ROOT / "docs" / "service.md").read_text()
    drawn = re.findall(r"^    ([\w-]+) +-> ([\w-]+) +(\S.*)$", text, re.MULTILINE)
    assert drawn == [(arrow.source.value, arrow.target.value, arrow.cause) for arrow in ARROWS]


TABLES = {
    RevisionState: ("revision", "finish_revision", {"revision_id": 1, "fingerprint": None, "message": "", "at": 1.0}),
    DeliveryState: (
        "delivery",
        "record_delivery",
        {"report_uid": "9", "destination": "pacs", "next_at": 1.0, "status": "", "message": "", "verified": 0}
        | {"finished_at": None},
    ),
    CommitmentState: (
        "commitment_request",
        "finish_commitment_request",
        {"transaction_uid": "2.25.1", "message": "", "failures": 0},
    ),
    AnswerState: ("commitment", "finish_commitment", {"commitment_id": 1, "message": ""}),
}


@pytest.fixture
def catalog(tmp_path):
    made = Catalog(tmp_path / "catalog.sqlite")
    with made.transaction() as run:
        for statement in (
            "INSERT INTO study (study_instance_uid, first_at, last_at) VALUES ('1', 1, 1)",
            "INSERT INTO revision (id, study_instance_uid, number, created_at, cause, state)"
            " VALUES (1, '1', 1, 1, '', 'ready')",
            "INSERT INTO report VALUES ('9', 1, '1.2', 'p', 'h', 1)",
            "INSERT INTO delivery (report_uid, destination, created_at, next_at) VALUES ('9', 'pacs', 1, 1)",
            "INSERT INTO commitment_request (report_uid, destination, transaction_uid, sop_class_uid, sop_instance_uid,"
            " requested_at, next_at) VALUES ('9', 'pacs', '2.25.1', '1.2', '9', 1, 1)",
            "INSERT INTO commitment (id, transaction_uid, calling_ae, address, asked_at, next_at)"
            " VALUES (1, '2.25.2', 'CT', '', 1, 1)",
        ):
            run.connection.execute(statement)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("source", "target"), [(source, target) for kind in TABLES for source in kind for target in kind]
)
def test_the_catalog_enters_a_state_only_where_an_arrow_leads_there(catalog, source, target):
    table, statement, values = TABLES[type(source)]
    with catalog.transaction() as run:
        run.connection.execute(f"UPDATE {table} SET state = ?", (source.value,))
        changed = run.move(statement, target, **values)
        (state,) = run.connection.execute(f"SELECT state FROM {table}").fetchone()
    allowed = source in sources(target)
    assert (changed, state) == (int(allowed), target if allowed else source)


def used_as_states(tree: ast.AST):
    """Constants that are compared with something, or given to what is called a state. Keys of counts are neither."""
    for node in ast.walk(tree):
        given: list[ast.expr] = []
        if isinstance(node, ast.Compare):
            given = [node.left, *node.comparators]
        elif (isinstance(node, ast.keyword) and node.arg == "state") or (
            isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "state" for t in node.targets)
        ):
            given = [node.value]
        elif isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            given = [value for key, value in pairs if isinstance(key, ast.Constant) and key.value == "state"]
        while given:
            part = given.pop()
            if isinstance(part, ast.Constant):
                yield part
            elif isinstance(part, ast.Tuple | ast.List | ast.Set):
                given += part.elts
            elif isinstance(part, ast.IfExp):
                given += [part.body, part.orelse]


def test_no_state_stands_as_a_bare_word_elsewhere():
    words = {member.value for kind in KINDS for member in kind}
    found = [
        f"{path.name}:{constant.lineno} {constant.value!r}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for constant in used_as_states(ast.parse(path.read_text()))
        if constant.value in words
    ]
    assert found == []
    assert [c.value for c in used_as_states(ast.parse("x['state'] in ('ready', 'done')"))] == ["done", "ready"]


def test_every_query_says_what_it_answers():
    text = (PACKAGE / "catalog" / "queries.sql").read_text()
    for name, line in re.findall(r"^-- name: (\w+)\n(.*)$", text, re.MULTILINE):
        assert re.fullmatch(r"-- [A-Z].+\.", line), name


def test_states_are_not_mistaken_for_one_another():
    assert isinstance(DeliveryState.PENDING, State)
    assert sources(DeliveryState.DELIVERED) == (DeliveryState.PENDING, DeliveryState.GIVEN_UP)
    assert all(type(arrow.source) is type(arrow.target) for arrow in ARROWS)


def test_a_processed_revision_ends_by_what_came_of_it():
    assert RevisionState.processed(reported=True, used=3) is RevisionState.DONE
    assert RevisionState.processed(reported=False, used=3) is RevisionState.NO_LABEL
    assert RevisionState.processed(reported=False, used=0) is RevisionState.NO_IMAGE
