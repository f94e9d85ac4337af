"""Reports are valid over a matrix of what they may be made of: three validators, none of which notices everything."""

from dataclasses import replace

import pydicom
import pytest

from dicom_pipeline.dicom.part10 import encode
from dicom_pipeline.domain import Derivation, Domain, FrameDomain, FrameKey, Label, LabelSet, ScoreKind
from dicom_pipeline.reporting import SR_CLASSES, as_class, read_report
from tests.peers.programs import dciodvfy_errors, dsrdump_errors, pixelmed_errors_of
from tests.reporting.made import SMALL, SOP_CLASSES, report

CHARACTER_SETS = {
    "ascii": (None, "Test^Case"),
    "latin-1": ("ISO_IR 100", "Müller^Jörg"),
    "latin-2": ("ISO_IR 101", "Šťastný^Čeněk"),
    "latin-3": ("ISO_IR 109", "Żebbuġ^Ħal"),
    "latin-4": ("ISO_IR 110", "Jānis^Bērziņš"),
    "cyrillic": ("ISO_IR 144", "Люкceмбypг"),
    "arabic": ("ISO_IR 127", "قباني^لنزار"),
    "greek": ("ISO_IR 126", "Διονυσιος"),
    "hebrew": ("ISO_IR 138", "שרון^דבורה"),
    "latin-5": ("ISO_IR 148", "Çavuşoğlu^İpek"),
    "latin-9": ("ISO_IR 203", "Buc^Jérôme€"),
    "thai": ("ISO_IR 166", "นามสกุล^ชื่อ"),
    "half-width": ("ISO_IR 13", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
    "japanese": (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    "japanese-jis-x-0201": (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
    "japanese-supplement": (["", "ISO 2022 IR 159"], "Yamada^Tarou=丂丄^丅"),
    "korean": (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    "chinese-2022": (["", "ISO 2022 IR 58"], "Zhang^XiaoDong=张^小东"),
    "chinese-gb18030": ("GB18030", "Wang^XiaoDong=王^小东"),
    "chinese-gbk": ("GBK", "Wang^XiaoDong=王^小东"),
    "utf-8": ("ISO_IR 192", "Wang^XiaoDong=王^小東=😀"),
    "two-latins": (["ISO 2022 IR 100", "ISO 2022 IR 144"], "Müller^Люкc"),
}


def named_in(character_set):
    declared, name = CHARACTER_SETS[character_set]
    return {"PatientName": name, "SpecificCharacterSet": declared or "ISO_IR 6"}


def labelled(*names, **options):
    return LabelSet("t", "1", tuple(Label(name, ("x",), ("y",), **options) for name in names), ScoreKind.ZERO_SHOT_PAIR)


OUT = FrameDomain(Domain.OUT, 2.5)
FRAMES = [FrameKey(f"2.25.{2000 + number}", frame) for number in range(4) for frame in (1, 2, 3)]


def _order(procedure):
    order = pydicom.Dataset()
    order.RequestedProcedureID, order.AccessionNumber = procedure, "A1"
    return order


PROBED = replace(labelled("Knee effusion", "Meniscal tear", threshold=0.5), kind=ScoreKind.PROBE_PROBABILITY)
MIXED = LabelSet("small; t", "", SMALL.labels + PROBED.labels, SMALL.kind)
"""Two label sets that apply to different series; the one that a recipe makes of them."""

SHAPES = {
    "out-of-domain": {"label_set": SMALL, "domains": dict.fromkeys(FRAMES, OUT)},
    "partly-out-of-domain": {"label_set": SMALL, "domains": {FRAMES[-1]: OUT}, "series": 2},
    "probe": {"label_set": replace(SMALL, kind=ScoreKind.PROBE_PROBABILITY)},
    "sigmoid": {"label_set": replace(SMALL, kind=ScoreKind.ZERO_SHOT_SIGMOID)},
    "mean": {"label_set": SMALL, "derivation": Derivation.MEAN},
    "top-k-mean": {"label_set": SMALL, "derivation": Derivation.TOP_K_MEAN},
    "three-series": {"label_set": SMALL, "series": 3},
    "predecessor": {"label_set": SMALL, "number": 2, "predecessor": "2.25.77"},
    "orders": {"label_set": SMALL, "tags": {"RequestAttributesSequence": [_order("P1"), _order("P2")]}},
    "twelve-labels": {"label_set": labelled(*(f"Label {number}" for number in range(12)))},
    "no-key-frames": {"label_set": SMALL, "key_frames": 0},
    "name-of-1": {"label_set": labelled("A")},
    "name-of-200": {"label_set": labelled("long " * 39 + "names")},
    "name-of-200-with-threshold": {"label_set": labelled("Long " * 40 + "b", "Long " * 40 + "c", threshold=0.5)},
    "names-alike": {"label_set": labelled("Pleural Effusion Left", "Pleural Effusion Right", "pleural-effusion left")},
    "mixed-label-sets": {"label_set": MIXED, "sets": [SMALL, PROBED], "series": 2},
    "scores-of-0": {"label_set": SMALL, "scale": 0.0},
    "one-frame": {"label_set": SMALL, "instances": 1},
    "other-scripts": {"label_set": labelled("肺炎", "Пневмония", "التهاب الرئة", "Ödem", "😀", "---", "a\\b^c=d")},
}


def check_all(made: dict[str, pydicom.Dataset], folder, *, pixelmed: bool):
    """Write, validate, and name every report that is not valid."""
    paths = {name: folder / f"{number}.dcm" for number, name in enumerate(made)}
    for name, dataset in made.items():
        paths[name].write_bytes(encode(dataset))
    wrong = {name: dciodvfy_errors(path) + dsrdump_errors(path) for name, path in paths.items()}
    if pixelmed:
        for path, errors in pixelmed_errors_of(paths.values()).items():
            wrong[next(name for name, other in paths.items() if other == path)] += errors
    assert {name: errors for name, errors in wrong.items() if errors} == {}


@pytest.mark.system
@pytest.mark.parametrize("kind", SOP_CLASSES)
def test_modality_by_tags_by_character_set_by_sr_class(kind, tmp_path):
    made = {}
    for full in (True, False):
        for character_set in CHARACTER_SETS:
            dataset, _ = report(kind, named_in(character_set), full=full, label_set=SMALL, key_frames=1)
            assert str(dataset.PatientName) == CHARACTER_SETS[character_set][1]
            for sop_class in SR_CLASSES:
                made[f"{full} {character_set} {sop_class}"] = as_class(dataset, sop_class)
    check_all(made, tmp_path, pixelmed=False)


@pytest.mark.system
def test_pixelmed_finds_the_template_over_the_matrix(tmp_path):
    """Every modality, with full and minimal tags; between them every character set and class."""
    made = {}
    kinds, classes = [*SOP_CLASSES, *SOP_CLASSES], list(SR_CLASSES)
    for number, character_set in enumerate(CHARACTER_SETS):
        kind, sop_class = kinds[number % 12], classes[(number + number // 3) % 3]
        dataset, _ = report(kind, named_in(character_set), full=number % 12 < 6, label_set=SMALL, key_frames=1)
        made[f"{kind} {character_set}"] = as_class(dataset, sop_class)
    check_all(made, tmp_path, pixelmed=True)


@pytest.mark.system
def test_every_shape_of_content_is_valid_and_read_back(tmp_path):
    made = {}
    for name, options in SHAPES.items():
        for kind in ("CR", "ECT"):
            made[f"{name} {kind}"], scores = report(kind, **{"key_frames": 1, **options})
            content = read_report(pydicom.dcmread(_written(made[f"{name} {kind}"], tmp_path)))
            assert {s.label for s in content.scores} == {s.label for s in scores}
            assert {s.kind for s in content.scores} == {s.kind for s in scores}
            thresholds = {x.name: x.threshold for x in options["label_set"].labels}
            assert all(
                s.above_threshold == (None if thresholds[s.label] is None else s.value >= thresholds[s.label])
                for s in content.scores
            )
    check_all(made, tmp_path, pixelmed=True)


@pytest.mark.long
@pytest.mark.system
def test_a_hundred_labels(tmp_path):
    made, _ = report("CR", label_set=labelled(*(f"Label {i}" for i in range(100))), key_frames=0)
    codes = {
        i.ConceptNameCodeSequence[0].CodeValue
        for g in made.ContentSequence[-1].ContentSequence
        for i in g.ContentSequence
        if i.ValueType == "NUM"
    }
    assert len(codes) == 100
    check_all({"hundred": made}, tmp_path, pixelmed=True)


def test_labels_that_are_alike_have_codes_of_their_own():
    for options in SHAPES.values():
        dataset, _ = report("CR", **{"key_frames": 0, **options})
        codes = [
            [i.ConceptNameCodeSequence[0].CodeValue for i in group.ContentSequence if i.ValueType == "NUM"]
            for group in dataset.ContentSequence[-1].ContentSequence
        ]
        assert all(len(of_group) == len(set(of_group)) for of_group in codes)
        assert len({code for of_group in codes for code in of_group}) == len(options["label_set"].labels)


def _written(dataset, folder):
    path = folder / "one.dcm"
    path.write_bytes(encode(dataset))
    return path
