"""Lookup tables in every encoding that is met: widths, signs, packing, byte order, segments."""

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataelem import DataElement
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_pipeline.domain import InstanceError, Reason
from dicom_pipeline.imaging.luts import SegmentError, expand, palette_of, table_of
from tests.imaging.made import bars, instance, rendered_bars, write


def item(descriptor, data, vr="US", data_vr="OW"):
    made = pydicom.Dataset()
    made.add(DataElement(0x00283002, vr, descriptor))
    made.add(DataElement(0x00283006, data_vr, data))
    return made


def looked_up(made, values, inputs=(0, 65535), big_endian=False):
    table = table_of(made, inputs, big_endian=big_endian, name="LUT")
    return table.look_up(np.asarray(values)).tolist(), table.bits


@settings(max_examples=150, deadline=None)
@given(data=st.data(), bits=st.integers(8, 16), encoding=st.sampled_from(["words", "numbers", "packed", "swapped"]))
def test_each_encoding_of_a_table_gives_its_entries(data, bits, encoding):
    bits = 8 if encoding == "packed" else bits
    top = (1 << bits) - 1
    entries = [*data.draw(st.lists(st.integers(0, top), min_size=3, max_size=300)), top]
    signed = data.draw(st.booleans())
    first = data.draw(st.integers(-3000, 3000) if signed else st.integers(0, 65535 - len(entries)))
    words = np.array(entries, "<u2")
    raw = {
        "words": words.tobytes(),
        "packed": bytes(entries) + b"\0" * (len(entries) % 2) if bits == 8 else b"",
        "swapped": words.astype(">u2").tobytes(),
        "numbers": entries,
    }[encoding]
    descriptor = [len(entries), first % 65536, bits]  # as an implicit VR file gives a negative first value
    made = item(descriptor, raw, data_vr="US" if encoding == "numbers" else "OW")
    inputs = (-32768, 32767) if signed else (0, 65535)
    values = np.arange(first - 2, first + len(entries) + 2)
    expected = [entries[0]] * 2 + entries + [entries[-1]] * 2
    assert looked_up(made, values, inputs, encoding == "swapped") == (expected, bits)


def test_values_are_never_wrapped_in_their_own_type():
    made = item([256, 0, 8], bytes(range(256)))
    assert looked_up(made, np.array([-128, -1, 0, 127], np.int8), (-128, 127))[0] == [0, 0, 0, 127]


def test_a_count_of_0_means_65536():
    made = item([0, 0, 16], np.arange(65536).astype("<u2").tobytes())
    assert looked_up(made, [0, 40000, 65535])[0] == [0, 40000, 65535]


def test_the_first_value_is_read_with_the_sign_that_meets_the_pixels():
    raw = np.arange(4096).astype("<u2").tobytes()
    assert looked_up(item([4096, 64512, 12], raw), [-1024, 0], (-1024, 3071))[0] == [0, 1024]
    assert looked_up(item([4096, -1024, 12], raw, vr="SS"), [-1024, 0], (-1024, 3071))[0] == [0, 1024]
    assert looked_up(item([4096, 40000, 12], raw), [40000, 41024], (0, 65535))[0] == [0, 1024]
    assert looked_up(item([4096, 40000 - 65536, 12], raw, vr="SS"), [40000, 41024], (0, 65535))[0] == [0, 1024]


@pytest.mark.parametrize(
    ("declared", "highest", "bits"),
    [(16, 4095, 12), (16, 65535, 16), (16, 30000, 16), (8, 4095, 12), (8, 3000, 16), (12, 4095, 12)],
)
def test_the_width_is_what_the_table_reaches(declared, highest, bits):
    made = item([2, 0, declared], np.array([0, highest], "<u2").tobytes())
    assert looked_up(made, [1])[1] == bits


@pytest.mark.parametrize(("descriptor", "data"), [([4, 0, 16], b"\0" * 5), ([4, 0], b"\0" * 8), (None, b"\0" * 8)])
def test_what_is_no_table_is_refused(descriptor, data):
    with pytest.raises(InstanceError) as caught:
        looked_up(item(descriptor, data), [0])
    assert caught.value.reason is Reason.INVALID_ATTRIBUTE


def palette(dataset, tables, descriptor, vr="OW"):
    for colour, table in zip(("Red", "Green", "Blue"), tables, strict=True):
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", descriptor)
        setattr(dataset, f"{colour}PaletteColorLookupTableData", table)
        dataset[f"{colour}PaletteColorLookupTableData"].VR = vr
    dataset.PhotometricInterpretation = "PALETTE COLOR"
    return dataset


def ramps(count):
    ramp = np.arange(count) * 255 // (count - 1)
    return ramp.astype(np.uint8), (255 - ramp).astype(np.uint8), (ramp // 2).astype(np.uint8)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    ("count", "dtype", "declared"), [(256, np.uint8, 8), (255, np.uint8, 8), (4096, np.uint16, 16)]
)
def test_palettes_of_eight_bits_packed_or_in_words(count, dtype, declared, packed, syntax, tmp_path):
    tables = [t.tobytes() + b"\0" * (count % 2) if packed else t.astype("<u2").tobytes() for t in ramps(count)]
    values = [0, count // 7, count // 2, count - 1]
    dataset = palette(instance(bars(values, dtype)), tables, [count, 0, declared])
    if syntax == ExplicitVRBigEndian:  # words are swapped, packed bytes with them
        swapped = [np.frombuffer(t, "<u2").astype(">u2").tobytes() for t in tables]
        dataset = palette(dataset, swapped, [count, 0, declared])
        dataset.PixelData = bars(values, dtype).astype(np.dtype(dtype).newbyteorder(">")).tobytes()
    path = write(dataset, tmp_path, syntax)
    expected = [tuple(int(ramp[value]) for ramp in ramps(count)) for value in values]
    assert rendered_bars(path, len(values), "colour") == expected


def test_a_palette_of_16_bits_is_cut_to_its_high_bits():
    wide = [(ramp.astype("<u2") * 257).tobytes() for ramp in ramps(256)]
    tables = palette_of(palette(pydicom.Dataset(), wide, [256, 0, 16]), (0, 255), big_endian=False)
    assert [int(t.look_up(np.array([200]))[0]) >> (t.bits - 8) for t in tables] == [int(r[200]) for r in ramps(256)]


def test_an_image_without_its_palette_has_its_reason(tmp_path):
    path = write(instance(bars([0, 1]), PhotometricInterpretation="PALETTE COLOR"), tmp_path)
    with pytest.raises(InstanceError) as caught:
        rendered_bars(path, 2, "colour")
    assert (caught.value.reason, caught.value.detail) == (Reason.MISSING_ATTRIBUTE, "palette lookup tables")


def words(*numbers):
    return np.array(numbers, "<u2").tobytes()


def test_segments_are_expanded():
    raw = words(0, 2, 10, 20, 1, 4, 60, 0, 1, 7)
    assert expand(raw, 16, 7) == [10, 20, 30, 40, 50, 60, 7]
    again = words(0, 2, 10, 20, 1, 2, 40, 2, 2, 0, 0)  # the two segments at offset 0 once more
    assert expand(again, 16, 8) == [10, 20, 30, 40, 10, 20, 30, 40]
    assert expand(bytes([0, 2, 10, 20, 1, 2, 40, 2, 1, 4, 0, 0, 0]), 8, 6) == [10, 20, 30, 40, 40, 40]


@pytest.mark.parametrize("raw", [words(1, 4, 60), words(3, 1, 1), words(0, 1, 5, 2, 1), b"", words(0, 1, 5)])
def test_segments_that_cannot_be_expanded_are_refused(raw):
    with pytest.raises(SegmentError):
        expand(raw, 16, 9)


def test_segments_that_name_themselves_end():
    with pytest.raises(SegmentError):
        expand(words(0, 1, 5, 2, 60000, 6, 0), 16, 65536)


def test_a_segmented_palette_is_rendered(tmp_path):
    dataset = instance(bars([0, 100, 255], np.uint8), PhotometricInterpretation="PALETTE COLOR")
    for colour, end in (("Red", 65535), ("Green", 0), ("Blue", 25700)):
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        name = f"Segmented{colour}PaletteColorLookupTableData"
        setattr(dataset, name, words(0, 1, 0, 1, 255, end))
        dataset[name].VR = "OW"
    assert rendered_bars(write(dataset, tmp_path), 3, "colour") == [(0, 0, 0), (100, 0, 39), (255, 0, 100)]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_modality_and_voi_tables_follow_one_another(syntax, tmp_path):
    """Stored -512 is -512 + 512 = entry 0; the modality table turns 0..1023 upside down, the VOI table halves it."""
    dataset = instance(bars([-512, 0, 511], np.int16), BitsStored=10, HighBit=9)
    upside_down = np.arange(1023, -1, -1).astype("<u2").tobytes()
    modality, voi = (
        item([1024, -512 % 65536, 10], upside_down),
        item([1024, 0, 8], (np.arange(1024) // 4).astype("u1").tobytes()),
    )
    dataset.ModalityLUTSequence, dataset.VOILUTSequence = [modality], [voi]
    assert [bar[0] for bar in rendered_bars(write(dataset, tmp_path, syntax), 3)] == [255, 127, 0]


def test_the_modality_lut_of_an_angiogram_is_not_for_display(tmp_path):
    dataset = instance(
        bars([0, 2048, 4095]), BitsStored=12, HighBit=11, Modality="XA", WindowCenter=2048, WindowWidth=4096
    )
    dataset.ModalityLUTSequence = [item([4096, 0, 16], np.zeros(4096, "<u2").tobytes())]
    shown = [bar[0] for bar in rendered_bars(write(dataset, tmp_path), 3)]
    assert shown == [0, 0, 0] or len(set(shown)) == 1  # a radiograph's table applies
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.12.1"
    assert [bar[0] for bar in rendered_bars(write(dataset, tmp_path), 3)] == [0, 128, 255]
