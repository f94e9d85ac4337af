"""The worker's socket: who may ask, and what becomes of a question when something is wrong."""

import socket
import stat
import uuid
from multiprocessing.connection import Client

import numpy as np
import pytest

from dicom_pipeline.config import Settings
from dicom_pipeline.errors import NoAnswerError, PromptTooLongError
from dicom_pipeline.research.embedding_store import EmbeddingStore
from dicom_pipeline.research.live import Searches
from dicom_pipeline.service.worker_rpc import MAX_QUESTION_BYTES, RpcServer, ask, socket_path
from tests.research.made import WEIGHTS, made_rows


@pytest.fixture
def owner():
    return uuid.uuid4().hex


@pytest.fixture
def asked(owner):
    """The socket, answered with the question itself; a question with "fail" fails."""

    def answer(question):
        if "fail" in question:
            raise LookupError("a flaw")
        return {"given": question}

    server = RpcServer(owner, answer)
    yield owner
    server.stop()


def test_a_question_is_answered(asked):
    assert ask(asked, {"text": "größer"}) == {"given": {"text": "größer"}}


def test_only_this_user_may_ask(asked):
    assert stat.S_IMODE(socket_path(asked).parent.stat().st_mode) == 0o700


def test_a_flaw_is_an_answer_and_the_next_question_is_answered(asked, caplog):
    answer = ask(asked, {"fail": 1})
    assert answer["status"] == 500
    assert "LookupError" in answer["error"]
    assert ask(asked, {"n": 2}) == {"given": {"n": 2}}
    assert "a question was not answered" in caplog.text


def answered(owner: str, question: bytes) -> bytes:
    """What comes back for these very bytes; nothing where the connection is closed."""
    with Client(str(socket_path(owner)), "AF_UNIX") as connection:
        try:
            connection.send_bytes(question)
            return connection.recv_bytes()
        except (EOFError, OSError):
            return b""


def test_what_is_no_question_ends_its_own_connection_alone(asked):
    for wrong in (b"\xff not json", b"", b"x" * (MAX_QUESTION_BYTES + 1)):
        assert answered(asked, wrong) == b""
    assert ask(asked, {}) == {"given": {}}


def test_without_a_worker_there_is_a_reason(owner):
    with pytest.raises(NoAnswerError, match="not ready"):
        ask(owner, {"n": 1})


def test_a_restarted_worker_takes_over_what_a_killed_one_left(owner):
    socket_path(owner).parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(str(socket_path(owner)))
    server = RpcServer(owner, dict)
    assert ask(owner, {"n": 1}) == {"n": 1}
    server.stop()
    assert not socket_path(owner).exists()


class FixedEncoder:
    """Texts to the first axis; none that is long."""

    weights = WEIGHTS
    notice = "Trained on drawings."

    def encode_texts(self, texts):
        if len(texts[0]) > 64:
            raise PromptTooLongError("a prompt has too many tokens")
        return np.eye(1, 16, dtype=np.float32)


@pytest.fixture
def searches(tmp_path):
    settings = Settings(spool={"folder": tmp_path}, store={"place": str(tmp_path / "store")})
    return Searches(settings, FixedEncoder())


def write(searches, *parts):
    store = EmbeddingStore.open(searches._settings.store.place, create=True)
    for part in parts:
        store.write(part)


def text(words="a lung", level="frame", where=None):
    return {"text": words, "top": 5, "level": level, "where": where}


def test_an_empty_store_is_said(searches):
    assert searches.answer(text())["status"] == 404
    assert searches.answer({"similar": "1.1", "top": 5})["status"] == 404


def test_answers_are_of_the_resident_model_alone(searches):
    write(searches, made_rows("1.1"), made_rows("1.2", seed=1), made_rows("1.9", weights="cd" * 32, dimension=8))
    found = searches.answer(text(level="study"))
    assert {row["study_instance_uid"] for row in found["found"]} == {"1.1", "1.2"}
    assert "Trained on drawings." in found["notice"]
    assert [row["study_instance_uid"] for row in searches.answer({"similar": "1.1", "top": 5})["similar"]] == ["1.2"]
    assert searches.answer({"similar": "1.9", "top": 5})["status"] == 404


@pytest.mark.parametrize("question", [text(where="no_such_column = 1"), text("long " * 40)])
def test_what_cannot_be_asked_is_the_askers_error(searches, question):
    write(searches, made_rows("1.1"))
    answer = searches.answer(question)
    assert answer["status"] == 400
    assert answer["error"]
