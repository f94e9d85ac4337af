"""The store: once a revision, newer supersedes, readers while writing, several models, compaction."""

import subprocess
import sys
import threading
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_pipeline.errors import StoreError, UsageError
from dicom_pipeline.research.embedding_store import EmbeddingStore
from tests.research.made import made_rows


@pytest.fixture
def store(tmp_path):
    return EmbeddingStore.open(tmp_path / "store", create=True)


def test_vectors_come_back_bit_for_bit(store):
    rows = made_rows(frames=9, dimension=160)
    assert store.write(rows) == 1
    again = EmbeddingStore.open(store.place)
    assert again.rows().sort_by("sop_instance_uid").equals(rows.sort_by("sop_instance_uid"))
    assert again.vectors().dtype == np.float32
    assert again.dimension == 160


def test_writing_a_revision_twice_changes_nothing(store):
    for _ in range(2):
        store.write(made_rows())
    assert store.count() == 4


def test_a_newer_revision_replaces_all_rows_of_its_study_and_no_other(store):
    store.write(made_rows("1.2.1", frames=6))
    store.write(made_rows("1.2.2"))
    store.write(made_rows("1.2.1", frames=3, revision=2, seed=5))
    assert store.count("study_instance_uid = '1.2.1'") == store.count("revision = 2") == 3
    assert store.count() == 7


def test_an_older_revision_is_not_taken(store):
    store.write(made_rows(revision=3))
    assert store.write_study("1.2.1", 2, made_rows(revision=2, frames=9)) is False
    assert store.count("revision = 3") == store.count() == 4


def test_a_revision_without_images_removes_the_study(store):
    store.write(made_rows())
    store.write(made_rows("1.2.2"))
    assert store.write_study("1.2.1", 2, made_rows().slice(0, 0))
    assert store.count() == store.count("study_instance_uid = '1.2.2'") == 4


def test_another_model_has_its_own_space_and_takes_the_study_along(store):
    store.write(made_rows("1.2.1"))
    store.write(made_rows("1.2.2"))
    store.write(made_rows("1.2.1", revision=2, dimension=24, weights="cd" * 32))
    with pytest.raises(UsageError, match="--space"):
        EmbeddingStore.open(store.place)
    old, new = (EmbeddingStore.open(store.place, space=s) for s in ("abab", "cdcd"))
    assert (old.count(), old.dimension) == (4, 16)
    assert (new.count(), new.dimension) == (4, 24)
    assert new.count("study_instance_uid = '1.2.1'") == 4
    store.remove_study("1.2.2")
    assert EmbeddingStore.open(store.place).space == new.space
    store.compact()
    assert store.spaces() == [new.space]


def test_what_is_no_store_is_said(tmp_path):
    with pytest.raises(StoreError, match="neither"):
        EmbeddingStore.open(tmp_path)
    with pytest.raises(StoreError, match="empty"):
        EmbeddingStore.open(tmp_path, create=True).count()


def test_compaction_keeps_rows_and_forgets_versions(store):
    for number in range(12):
        store.write(made_rows(f"1.2.{number}"))
    store.compact(keep=timedelta(0))
    (info,) = store.info()
    assert info["rows"] == store.count() == 48
    assert info["versions"] == 1
    store.write(made_rows("1.2.3", revision=2, frames=1))
    assert store.count() == 45


def test_readers_see_whole_revisions_while_a_writer_works(store):
    store.write(made_rows(frames=5))
    store.write(made_rows("1.2.9", frames=7))
    reader = EmbeddingStore.open(store.place)
    wrong, done = [], threading.Event()

    def read():
        while not done.is_set():
            found = reader.rows("study_instance_uid = '1.2.1'", ["revision"])["revision"].to_pylist()
            if len(found) != 5 or len(set(found)) != 1:
                wrong.append(found)

    thread = threading.Thread(target=read)
    thread.start()
    for revision in range(2, 30):
        store.write(made_rows(frames=5, revision=revision, seed=revision))
        if revision % 10 == 0:
            store.compact()
    done.set()
    thread.join()
    assert not wrong
    assert reader.count("revision = 29") == 5


def test_two_processes_write_without_loss(store, tmp_path):
    code = (
        "import sys; from dicom_pipeline.research import EmbeddingStore; from tests.research.made import made_rows\n"
        "store = EmbeddingStore.open(sys.argv[1], create=True)\n"
        "for i in range(8): store.write(made_rows(f'1.{sys.argv[2]}.{i}')); store.write(made_rows('1.3'))"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, store.place, str(n)]) for n in (7, 8)]
    assert [w.wait(120) for w in writers] == [0, 0]
    assert EmbeddingStore.open(store.place).count() == 17 * 4


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), st.integers(0, 3)), max_size=8))
def test_the_store_holds_the_newest_revision_of_each_study(tmp_path_factory, writes):
    """Against a dictionary: study -> (revision, frames); the same or a newer revision replaces."""
    store = EmbeddingStore.open(tmp_path_factory.mktemp("s"), create=True)
    expected = {}
    for study, revision, frames in writes:
        rows = made_rows(f"1.{study}", frames=max(frames, 1), revision=revision).slice(0, frames)
        taken = store.write_study(f"1.{study}", revision, rows)
        newest, count = expected.get(study, (0, 0))
        assert taken == (revision >= newest or count == 0)
        if taken:
            expected[study] = (revision, frames)
    if store.space:
        for study, (_, frames) in expected.items():
            assert store.count(f"study_instance_uid = '1.{study}'") == frames


def test_a_store_of_an_earlier_version_takes_rows_with_further_columns(store):
    store.write(made_rows("1.2.1").drop_columns(["domain", "domain_distance"]))
    assert "domain" not in store.schema.names
    store.write(made_rows("1.2.2", domain="out-of-domain", domain_distance=2.5))
    assert store.count("domain = 'out-of-domain' AND domain_distance > 2") == store.count("domain IS NULL") == 4
    store.write(made_rows("1.2.1", revision=2, domain="in-domain"))
    assert store.count("domain = 'in-domain'") == store.count("domain = 'out-of-domain'") == 4
