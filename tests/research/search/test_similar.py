"""Studies like a study: against plain numpy over every study, whatever their number of series and frames."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from dicom_pipeline import EmbeddingStore
from dicom_pipeline.cli.app import app
from dicom_pipeline.errors import UsageError
from tests.research.made import made_rows


def plain_vector(rows):
    """Mean over series of the mean over frames, with every frame and every series of length 1."""
    series = {}
    for row in rows.to_pylist():
        vector = np.array(row["embedding"])
        series.setdefault(row["series_instance_uid"], []).append(vector / np.linalg.norm(vector))
    means = [np.mean(vectors, axis=0) for vectors in series.values()]
    whole = np.mean([mean / np.linalg.norm(mean) for mean in means], axis=0)
    return whole / np.linalg.norm(whole)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3)), min_size=2, max_size=9), st.integers(0, 2**16))
def test_all_other_studies_come_in_the_order_of_their_whole_vectors(shapes, seed):
    parts = [
        made_rows(f"1.{n}", frames=frames, series=series, seed=seed + n) for n, (frames, series) in enumerate(shapes)
    ]
    store = EmbeddingStore.in_memory(pa.concat_tables(parts))
    found = store.similar("1.0", top=50).to_pylist()
    wanted = {f"1.{n}": float(plain_vector(parts[0]) @ plain_vector(part)) for n, part in enumerate(parts) if n}
    assert {row["study_instance_uid"] for row in found} == set(wanted)
    for row in found:
        assert row["similarity"] == pytest.approx(wanted[row["study_instance_uid"]], abs=1e-5)
        assert row["frames"] == np.prod(shapes[int(row["study_instance_uid"][2:])])
    assert [row["similarity"] for row in found] == sorted((row["similarity"] for row in found), reverse=True)


def test_a_condition_and_top_narrow_what_is_found():
    parts = [made_rows(f"1.{n}", seed=n, modality="CT" if n % 2 else "MR") for n in range(8)]
    store = EmbeddingStore.in_memory(pa.concat_tables(parts))
    assert store.similar("1.0", top=3).num_rows == 3
    found = store.similar("1.0", where="modality = 'CT' OR modality = 'CR'")
    assert set(found["study_instance_uid"].to_pylist()) == {"1.1", "1.3", "1.5", "1.7"}
    assert found["modalities"].to_pylist() == [["CT"]] * 4


def test_a_study_that_is_alone_has_none_like_it_and_an_unknown_one_is_an_error():
    store = EmbeddingStore.in_memory(made_rows("1.1"))
    assert store.similar("1.1").num_rows == 0
    with pytest.raises(UsageError, match="holds no embedding of this study"):
        store.similar("1.2")


def test_the_command_lists_them(tmp_path):
    store = EmbeddingStore.open(tmp_path / "store", create=True)
    store.write(pa.concat_tables([made_rows(f"1.{n}", seed=n) for n in range(3)]))
    answer = CliRunner().invoke(app, ["similar", "1.0", "--from", str(tmp_path / "store"), "--json"])
    assert answer.exit_code == 0
    assert {row["study_instance_uid"] for row in json.loads(answer.stdout)} == {"1.1", "1.2"}
    assert "1.2" in CliRunner().invoke(app, ["similar", "1.0", "--from", str(tmp_path / "store")]).stdout
