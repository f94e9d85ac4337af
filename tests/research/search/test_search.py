"""Search: exact against numpy, diverse, grouped, by text, row and file; the page; duplicates, outliers and the map."""

import re
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dicom_pipeline import EmbeddingStore, Pipeline
from dicom_pipeline.domain import FrameKey
from dicom_pipeline.errors import FingerprintError, UsageError
from dicom_pipeline.research.search.nearest import diverse
from dicom_pipeline.research.search.pages import search_page
from dicom_pipeline.research.search.projection import COLOURS, groups_of, project, write_html, write_png
from dicom_pipeline.research.search.viewers import Viewer
from dicom_pipeline.results.folder import OutputFolder
from dicom_pipeline.results.study_output import StudyOutput
from tests.research.made import made_rows


def near(centre, count, spread, seed):
    """Vectors around a centre."""
    return list((centre + spread * np.random.default_rng(seed).normal(size=(count, len(centre)))).astype(np.float32))


CENTRES = np.eye(16, dtype=np.float32) * 5


@pytest.fixture(scope="module")
def store():
    """A CT of 300 slices that are all alike and nearest to axis 0, and 30 studies of one frame some way off."""
    large = made_rows("1.1", frames=300, embedding=near(CENTRES[0], 300, 0.05, 1))
    small = [
        made_rows(f"1.2.{n}", frames=1, embedding=near(CENTRES[0] + 0.5 * CENTRES[1 + n % 6], 1, 0.3, n), modality="CR")
        for n in range(30)
    ]
    return EmbeddingStore.in_memory(pa.concat_tables([large, *small]))


@pytest.fixture(scope="module")
def samples(tmp_path_factory, sample_data):
    """The sample studies as `process` leaves them."""
    pipeline = Pipeline.from_config(selection="uniform:6")
    folder = OutputFolder(tmp_path_factory.mktemp("samples"))
    for result in pipeline.process_paths([sample_data / "studies"]):
        folder.add(StudyOutput.of(result, pipeline.encoder.dimension))
    folder.write()
    return EmbeddingStore.open(folder.folder), pipeline.encoder


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_search_is_exact_without_an_index(store, seed, top):
    vector = np.random.default_rng(seed).normal(size=16).astype(np.float32)
    found = store.search(vector=vector, top=top, diversity=0)
    vectors = store.vectors()
    cosine = vectors @ vector / np.linalg.norm(vectors, axis=1) / np.linalg.norm(vector)
    np.testing.assert_allclose(found["similarity"].to_numpy(), np.sort(cosine)[::-1][:top], atol=1e-5)


def test_neighbouring_slices_of_one_ct_do_not_fill_the_page(store):
    plain = store.search(vector=CENTRES[0], top=20, diversity=0)
    assert set(plain["series_instance_uid"].to_pylist()) == {"1.1.0"}
    spread = store.search(vector=CENTRES[0], top=20)["series_instance_uid"].to_pylist()
    assert spread[0] == "1.1.0"
    assert spread.count("1.1.0") < 6
    assert len(spread) == 20


@pytest.mark.parametrize("diversity", [0, 0.2])
@pytest.mark.parametrize("level", ["series", "study"])
def test_a_series_or_study_comes_once_with_its_best_frame(store, level, diversity):
    found = store.search(vector=CENTRES[0], top=20, level=level, diversity=diversity)
    names = found[f"{level}_instance_uid"].to_pylist()
    assert len(set(names)) == len(names) == 20
    best = store.search(vector=CENTRES[0], top=1, diversity=0)
    assert found["sop_instance_uid"][0] == best["sop_instance_uid"][0]


def test_a_condition_holds_before_the_ranking(store):
    found = store.search(vector=CENTRES[0], top=20, where="modality = 'CR'", diversity=0)
    assert found["modality"].to_pylist() == ["CR"] * 20


def test_a_row_finds_its_neighbours_and_not_itself(store):
    found = store.search(like="1.1.0.7#1", top=5, diversity=0)
    assert "1.1.0.7" not in found["sop_instance_uid"].to_pylist()
    assert set(found["series_instance_uid"].to_pylist()) == {"1.1.0"}
    assert "1.1" not in store.search(like="1.1.0.7", level="study", where="frame = 1")["study_instance_uid"].to_pylist()
    assert (
        store.search(like="1.1.0.7", where="modality = 'CR' OR modality = 'CT'", top=400, diversity=0).num_rows == 329
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "one thing"),
        ({"text": "a", "like": "1.2"}, "one thing"),
        ({"like": "1.2.3.99"}, "neither a file nor"),
        ({"like": "1.1.0.7#x"}, "neither a file nor"),
        ({"vector": CENTRES[0], "diversity": 1.0}, "diversity"),
        ({"vector": CENTRES[0], "top": 0}, "top at least 1"),
    ],
)
def test_wrong_questions_are_refused(store, arguments, words):
    with pytest.raises(UsageError, match=words):
        store.search(**arguments)


@given(st.integers(2, 30), st.integers(1, 30), st.floats(0, 0.99))
def test_a_diverse_choice_begins_with_the_best_and_repeats_nothing(count, top, diversity):
    rng = np.random.default_rng(count)
    vectors, similarity = rng.normal(size=(count, 4)).astype(np.float32), rng.random(count).astype(np.float32)
    taken = diverse(similarity, vectors, ["s"] * count, top, diversity)
    assert taken[0] == int(np.argmax(similarity))
    assert len(set(taken)) == len(taken) == min(top, count)
    if diversity == 0:
        assert taken == np.argsort(-similarity, kind="stable")[:top].tolist()


@pytest.mark.parametrize("dimension", [32, 20])
def test_the_index_finds_what_comparing_with_all_finds(tmp_path, dimension):
    """4,000 clustered rows: recall at 10 of the index at least 0.95; rows written after it was built are found too."""
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(60, dimension))
    vectors = (centres[rng.integers(60, size=4000)] + 0.3 * rng.normal(size=(4000, dimension))).astype(np.float32)
    store = EmbeddingStore.open(tmp_path / "s", create=True)
    store.write(made_rows("1.1", frames=4000, dimension=dimension, embedding=list(vectors)))
    store.compact(index_rows=1000)
    assert store.info()[0]["vector_index"]
    store.write(made_rows("1.2", frames=1, dimension=dimension, embedding=[vectors[0]]))
    hits = 0
    for query in vectors[rng.choice(4000, 30)]:
        found, exact = (store.search(vector=query, top=10, diversity=0, exact=e) for e in (False, True))
        hits += len({*found["sop_instance_uid"].to_pylist()} & {*exact["sop_instance_uid"].to_pylist()})
    assert hits >= 0.95 * 300
    assert "1.2.0.0" in store.search(vector=vectors[0], top=2, diversity=0)["sop_instance_uid"].to_pylist()
    store.compact(keep=timedelta(0), index_rows=1000)
    assert store.count() == 4001


TEXTS = {"a chest radiograph": "CR", "a CT slice of the chest": "CT", "an MR slice of the brain": "MR"}


@pytest.mark.parametrize(("text", "modality"), TEXTS.items())
def test_a_text_finds_its_modality_in_the_sample_studies(samples, text, modality):
    store, encoder = samples
    wanted = store.count(f"modality = '{modality}'")
    found = store.search(text, top=min(10, wanted), diversity=0, encoder=encoder)
    right = found["modality"].to_pylist().count(modality)
    assert right >= 0.9 * found.num_rows


def test_a_file_finds_itself(samples, sample_data, tmp_path):
    store, encoder = samples
    row = store.rows("modality = 'CR'").slice(0, 1)
    uid = row["sop_instance_uid"][0].as_py()
    path = next(p for p in sample_data.glob("studies/cr-*/*.dcm") if uid.encode() in p.read_bytes())
    assert store.search(like=path, top=1, encoder=encoder)["similarity"][0].as_py() > 0.9999
    pipeline = Pipeline.from_config(selection="uniform:6", keep_renderings=9)
    rendering = next(r for r in pipeline.process_study([path.parent]).renderings if r.frame.key == FrameKey(uid))
    Image.fromarray(rendering.pixels).save(tmp_path / "picture.png")
    found = store.search(like=tmp_path / "picture.png", top=1, encoder=encoder)
    assert found["sop_instance_uid"][0].as_py() == uid
    assert found["similarity"][0].as_py() > 0.9999
    (tmp_path / "text.txt").write_text("no picture")
    with pytest.raises(UsageError, match="neither a picture nor"):
        store.search(like=tmp_path / "text.txt", encoder=encoder)


def test_rows_of_other_weights_are_not_searched_with_this_model(tmp_path):
    store = EmbeddingStore.in_memory(made_rows())
    with pytest.raises(FingerprintError, match="abababababab"):
        store.search("a chest radiograph")


def test_the_page_has_pictures_and_links_and_escapes_what_it_shows(samples, sample_data):
    store, encoder = samples
    found = store.search("a chest radiograph", top=3, encoder=encoder)
    paths = {}
    for uid in found["sop_instance_uid"].to_pylist():
        paths[uid] = next(p for p in sample_data.glob("studies/*/*.dcm") if uid.encode() in p.read_bytes())
    viewers = [
        Viewer(v) for v in ("OHIF=http://h/ohif", "Weasis=https://h/dicom-web", "Mine=http://h/{series}?{study}")
    ]
    found = found.set_column(found.column_names.index("body_part"), "body_part", pa.array(["<script>x</script>"] * 3))
    page = search_page(found, asked='"><b>x', path_of=paths.get, viewers=viewers, notice=encoder.notice)
    study = found["study_instance_uid"][0].as_py()
    assert page.count("data:image/jpeg;base64,") == 3
    assert f"http://h/ohif/viewer?StudyInstanceUIDs={study}" in page
    assert "weasis://%24dicom%3Ars%20--url%20%22https%3A%2F%2Fh%2Fdicom-web%22" in page
    assert "<script>" not in page
    assert "<b>x" not in page
    assert re.search(r"Synthetic [a-z-]+, 2026-01-05: (CT|CR|MR) [A-Za-z0-9 ()]+ \(series \d\), image \d+", page)
    without = search_page(found, asked="", path_of=lambda _: None, viewers=[])
    assert "image not at hand" in without
    assert f"image {found['sop_instance_uid'][0].as_py()}#" in without


@pytest.mark.parametrize("text", ["OHIF", "OHIF=ftp://x", "Other=http://x", "OHIF=javascript:{study}"])
def test_what_is_no_viewer_is_refused(text):
    with pytest.raises(UsageError, match=r"NAME=URL|\{study\}"):
        Viewer(text)


def test_duplicates_are_pairs_across_series(store):
    twin = made_rows(
        "1.3", frames=2, embedding=[store.vectors()[3] * 2, near(CENTRES[9], 1, 0.1, 4)[0]], patient_id="PAT-1.1"
    )
    rows = pa.concat_tables([store.rows().slice(0, 10), twin])
    found = EmbeddingStore.in_memory(rows).duplicates(threshold=0.9999)
    best = found.to_pylist()[0]
    assert {best["first_sop_instance_uid"], best["second_sop_instance_uid"]} == {"1.1.0.3", "1.3.0.0"}
    assert best["same_patient"]
    assert best["similarity"] == pytest.approx(1, abs=1e-5)
    assert EmbeddingStore.in_memory(rows).duplicates("frame = 2").num_rows == 0
    assert all(p["first_series_instance_uid"] != p["second_series_instance_uid"] for p in found.to_pylist())


def test_an_outlier_is_found(store):
    strange = made_rows("1.4", frames=1, embedding=near(-CENTRES[12], 1, 0.1, 5), modality="CR")
    together = EmbeddingStore.in_memory(pa.concat_tables([store.rows(), strange]))
    found = together.outliers(top=3)
    assert found["sop_instance_uid"][0].as_py() == "1.4.0.0"
    assert found["deviation"][0].as_py() > 3 * max(found["deviation"][1].as_py(), 1)
    assert found.num_rows == 3


def test_a_map_keeps_clusters_apart_and_is_the_same_each_time(tmp_path):
    vectors = np.array(near(CENTRES[0], 40, 0.2, 1) + near(CENTRES[1], 40, 0.2, 2))
    points = project(vectors, "pca")
    np.testing.assert_array_equal(points, project(vectors, "pca"))
    assert points.min() == 0
    assert points.max() == 1
    apart = np.linalg.norm(points[:40].mean(0) - points[40:].mean(0))
    assert apart > 5 * points[:40].std(0).min()
    rows = made_rows(frames=80, modality=["CT"] * 40 + ["</script><b>"] * 40)
    groups, colours = groups_of(rows["modality"].to_pylist())
    write_png(tmp_path / "map.png", points, groups, colours, "a map")
    with Image.open(tmp_path / "map.png") as picture:
        assert picture.width == 1600
        assert len(set(picture.convert("RGB").resize((200, 138)).get_flattened_data())) > 20
    write_html(tmp_path / "map.html", rows, points, groups, colours, "a map")
    page = (tmp_path / "map.html").read_text()
    assert len(re.findall(r'"x": ', page)) == 80
    assert "</script><b>" not in page
    with pytest.raises(UsageError, match="at least 3"):
        project(vectors[:2], "pca")


def test_many_groups_share_the_last_colour():
    groups, colours = groups_of([*range(30), None, 0])
    assert len(colours) == len(COLOURS)
    assert groups[0] == "0"
    assert set(groups) == set(colours)


@pytest.mark.long  # compiling UMAP takes half a minute
def test_umap_runs_with_a_seed():
    vectors = np.array(near(CENTRES[0], 20, 0.2, 1) + near(CENTRES[1], 20, 0.2, 2))
    points = project(vectors, "umap")
    assert points.shape == (40, 2)
    apart = np.linalg.norm(points[:20].mean(0) - points[20:].mean(0))
    assert apart > points[:20].std(0).max()
