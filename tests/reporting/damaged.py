"""Image headers as hospitals never should send them: written byte by byte, so that nothing is put right on the way."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR, keyword_dict

from tests.reporting.made import SOP_CLASSES

LONG = {"OB", "OW", "OF", "OD", "UN", "UT", "UC", "UR", "SQ"}
VRS = (
    "AE",
    "AS",
    "AT",
    "CS",
    "DA",
    "DS",
    "DT",
    "FD",
    "IS",
    "LO",
    "LT",
    "OB",
    "PN",
    "SH",
    "SQ",
    "TM",
    "UI",
    "UN",
    "US",
    "UT",
)
Elements = Mapping[int, tuple[str, bytes]]

CHARACTER_SETS = {
    "ISO_IR 6": "ascii",
    "ISO_IR 100": "latin_1",
    "ISO_IR 101": "iso8859_2",
    "ISO_IR 109": "iso8859_3",
    "ISO_IR 110": "iso8859_4",
    "ISO_IR 144": "iso8859_5",
    "ISO_IR 127": "iso8859_6",
    "ISO_IR 126": "iso8859_7",
    "ISO_IR 138": "iso8859_8",
    "ISO_IR 148": "iso8859_9",
    "ISO_IR 203": "iso8859_15",
    "ISO_IR 13": "shift_jis",
    "ISO_IR 166": "iso8859_11",
    "ISO_IR 192": "utf_8",
    "GB18030": "gb18030",
    "GBK": "gbk",
    "\\ISO 2022 IR 87": "iso2022_jp",
    "\\ISO 2022 IR 159": "iso2022_jp_2",
    "ISO 2022 IR 13\\ISO 2022 IR 87": "iso2022_jp",
    "\\ISO 2022 IR 149": "euc_kr",
    "\\ISO 2022 IR 58": "iso2022_jp_2",
    "ISO 2022 IR 6\\ISO 2022 IR 100\\ISO 2022 IR 144": "iso8859_5",
    "ISO 2022 IR 100": "latin_1",
    "ISO IR 192": "utf_8",
    "UTF-8": "utf_8",
    "ISO_IR 999": "latin_1",
    "iso_ir 100": "latin_1",
    "": "latin_1",
    "ISO_IR 192\\ISO_IR 100": "utf_8",
}
"""Specific Character Set (PS3.3 C.12.1.1.2), right and wrong, and an encoding that a sender may have had in mind."""

NAMES = (
    "Müller^Jörg",
    "Διονυσιος",
    "Люкceмбypг",
    "قباني^لنزار",
    "שרון^דבורה",
    "นามสกุล^ชื่อ",
    "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎",
    "Hong^Gildong=洪^吉洞=홍^길동",
    "Zhang^XiaoDong=张^小东=",
    "Wang^XiaoDong=王^小东",
    "Buc^Jérôme€",
    "Šťastný^Čeněk",
    "ĦĠ^Żebbuġ",
    "İpek^Şükrü",
    "Family^Given^Middle^Prefix^Suffix^Sixth^Seventh",
    "^^^^",
    "===",
    "=",
    "A=B=C=D",
    "=山田",
    "x" * 70 + "^" + "y" * 70,
    "山" * 200,
    "Tom\\Jerry\\Spike",
    "Line\r\nbreak\tand\x0cfeed\x1b[31m",
    "A\u0301\u200b\u202e^b\x00c",
    "😀^😀",
    "?",
)

ODD_VALUES: Mapping[str, tuple[bytes, ...]] = {
    "DA": (b"2026.01.02", b"20260102-20260103", b"-20260102", b"19700230", b"00000000", b"0000", b"2026", b"yesterday",
           b"20260102120000", b"00010101", b"99991231", b"20260102\\20260103", b"\xff\xfe", b"        "),
    "TM": (b"24:00", b"240000", b"235960", b"10:15:00", b"1015", b"10", b"101500.123456", b"101500.1234567", b"101500.",
           b"1015-1016", b"25:61", b"-1", b"noon", b"101500\\101600", b"1015 00"),
    "DT": (b"20260102101500.000000+0545", b"2026", b"20260102101500-9999", b"garbage"),
    "SH": (b"+0100", b"-1200", b"+1400", b"+1460",
           b"-1330", b"-0000", b"+0000", b"CET", b"+1", b"+01:00", b"0100", b"+9999", b"-1400"),
    "CS": (b"m", b"F ", b"female", b"M\\F", b"W", b"O", b"X", b"\xc3\xa9", b"CT\\MR", b"ct", b"A B_C", b"XXXXXXXXXXXXXXXXXXXX"),
    "AS": (b"045Y", b"45", b"45 years", b"999D", b"-01Y"),
    "UI": (b"1.02.3", b"1.2.", b".1.2", b"1..2", b"abc", b"1.2.3 ", b"1.2.3\\1.2.4", b"1." + b"2" * 70, b"0.0", b"0", b"1.2.a",
           b"1.2.3\x00\x00", b"\x00", b"1.2.840.10008.1.2", b"007.1", b"2.25." + b"9" * 59),
    "IS": (b"99999999999999", b"-99999999999", b"1.5", b"3.0", b"1e3", b"three", b"0", b"-1", b"1\\2", b"+7", b" 2 "),
    "US": (b"\0\0", b"\1\0", b"\x08\0", b"\x20\0", b"\xff\xff", b"\1\0\2\0", b"\1"),
    "DS": (b"1e400", b"NaN", b"Inf", b"1.234567890123456789", b"1,5", b"1\\2", b""),
}  # fmt: skip

KEYWORDS = (
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientBirthTime", "PatientSex", "PatientAge",
    "PatientSize", "PatientWeight", "OtherPatientIDs", "EthnicGroup", "PatientComments", "StudyID", "AccessionNumber",
    "StudyDate", "StudyTime", "StudyDescription", "ReferringPhysicianName", "InstitutionName", "TimezoneOffsetFromUTC",
    "FrameOfReferenceUID", "Modality", "SeriesDescription", "SeriesNumber", "InstanceNumber", "SeriesDate", "ContentDate",
    "ContentTime", "AcquisitionDateTime", "AcquisitionDate", "AcquisitionTime", "NumberOfFrames", "BodyPartExamined",
    "Laterality", "ImageType", "Manufacturer", "SliceThickness", "ImagePositionPatient", "ImageOrientationPatient",
    "PixelSpacing", "ReferencedStudySequence", "ProcedureCodeSequence", "RequestAttributesSequence",
    "IssuerOfAccessionNumberSequence", "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy", "StudyInstanceUID",
    "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID", "ContributingEquipmentSequence", "ContentQualification",
)  # fmt: skip

IMAGE_KEYWORDS = (
    "WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence", "ModalityLUTSequence", "RescaleSlope",
    "RescaleIntercept", "PixelPaddingValue", "PixelPaddingRangeLimit", "PresentationLUTShape", "PhotometricInterpretation",
    "BitsStored", "HighBit", "BitsAllocated", "PixelRepresentation", "SamplesPerPixel", "PlanarConfiguration", "Rows",
    "Columns", "NumberOfFrames", "PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio",
    "ICCProfile", "OpticalPathSequence", "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence",
    "RedPaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData", "ImageOrientationPatient",
    "ImagePositionPatient", "ImageType", "Modality", "SliceLocation", "InstanceNumber", "EchoNumbers", "EchoTime",
    "TemporalPositionIdentifier", "AcquisitionNumber", "ContributingEquipmentSequence", "BodyPartExamined", "ViewPosition",
    "SliceThickness", "SeriesDescription", "ProtocolName", "ConvolutionKernel", "AcquisitionTime", "SeriesNumber",
    "TriggerTime", "DiffusionBValue", "Manufacturer", "SOPClassUID", "SeriesInstanceUID", "ReferencedSeriesSequence",
    "CurrentRequestedProcedureEvidenceSequence",
)  # fmt: skip
"""What planning and rendering look at."""

PHOTOMETRIC = (b"MONOCHROME1", b"RGB", b"PALETTE COLOR", b"YBR_FULL", b"YBR_FULL_422", b"HSV")


def tag_of(keyword: str) -> int:
    return int(keyword_dict[keyword])


def plain_image(kind: str, number: int, *, full: bool = True, size: int = 16) -> dict[int, tuple[str, bytes]]:
    """Elements of a small grey image that the pipeline takes."""
    modality = "CT" if kind == "ECT" else kind
    said = {
        "SOPClassUID": SOP_CLASSES[kind], "SOPInstanceUID": f"2.25.7{number}", "StudyInstanceUID": f"2.25.8{number}",
        "SeriesInstanceUID": f"2.25.9{number}", "Modality": modality, "PhotometricInterpretation": "MONOCHROME2",
        "ImageType": "ORIGINAL\\PRIMARY\\AXIAL",
    }  # fmt: skip
    if modality in ("CT", "MR"):
        said |= {
            "ImageOrientationPatient": "1\\0\\0\\0\\1\\0",
            "ImagePositionPatient": "0\\0\\0",
            "PixelSpacing": "1\\1",
        }
        said |= {"RescaleSlope": "1", "RescaleIntercept": "0"}
    if full:
        said |= {
            "PatientName": "Test^Case", "PatientID": "ID1", "PatientBirthDate": "19700101", "PatientSex": "F",
            "StudyDate": "20260102", "StudyTime": "101500", "StudyID": "S1", "AccessionNumber": "A1",
            "ReferringPhysicianName": "Doctor^Who", "StudyDescription": "Chest", "SeriesDescription": "axial",
        }  # fmt: skip
    made = {tag_of(k): (dictionary_VR(tag_of(k)), v.encode()) for k, v in said.items()}
    numbers = {
        "SamplesPerPixel": 1, "Rows": size, "Columns": size, "BitsAllocated": 16, "BitsStored": 12, "HighBit": 11,
        "PixelRepresentation": 0,
    }  # fmt: skip
    made |= {tag_of(k): ("US", struct.pack("<H", v)) for k, v in numbers.items()}
    pixels = b"".join(struct.pack("<H", (x * y * 7) % 4096) for x in range(size) for y in range(size))
    made[tag_of("PixelData")] = ("OW", pixels)
    return made


def part10(elements: Elements) -> bytes:
    """A file in Explicit VR Little Endian of exactly these bytes, padded to even lengths."""
    meta = _element(0x00020010, "UI", b"1.2.840.10008.1.2.1")
    head = _element(0x00020000, "UL", struct.pack("<I", len(meta)))
    body = b"".join(_element(tag, vr, value) for tag, (vr, value) in sorted(elements.items()))
    return b"\0" * 128 + b"DICM" + head + meta + body


def _element(tag: int, vr: str, value: bytes) -> bytes:
    value += (b"\0" if vr in ("UI", "OB", "UN") else b" ") * (len(value) % 2)
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode()
    if vr in LONG:
        return head + struct.pack("<HI", 0, len(value)) + value
    value = value[:0xFFFE]
    return head + struct.pack("<H", len(value)) + value


@st.composite
def odd_values(draw: st.DrawFn, keyword: str, encoding: str) -> tuple[str, bytes] | None:
    """What stands under an attribute: None for nothing, else VR and bytes."""
    right = dictionary_VR(tag_of(keyword)).split(" ")[0]
    how = draw(st.sampled_from(("missing", "empty", "spaces", "text", "odd", "binary", "long", "wrong-vr", "several")))
    text = draw(st.sampled_from(NAMES)).encode(encoding, "replace")
    if how == "missing":
        return None
    value = {
        "empty": b"",
        "spaces": b"   ",
        "text": text,
        "odd": draw(st.sampled_from(PHOTOMETRIC if keyword[:5] == "Photo" else ODD_VALUES.get(right, NAMES_AS_BYTES))),
        "binary": draw(st.binary(max_size=24)),
        "long": draw(st.sampled_from((b"9", b"y", b"\xe4", b"^", b"1.", "山".encode()))) * draw(st.integers(17, 300)),
        "wrong-vr": draw(st.sampled_from((text, b"", b"\1\2\3\4\5\6\7\x08", b"20260102"))),
        "several": b"\\".join([text, b"", text]),
    }[how]
    vr = draw(st.sampled_from(VRS)) if how == "wrong-vr" else right
    if vr == "SQ":  # a sequence's bytes must be items, or the file ends there
        value = draw(st.sampled_from((b"", struct.pack("<HHI", 0xFFFE, 0xE000, 0), SEQUENCE)))
    return vr, value


NAMES_AS_BYTES = tuple(name.encode("utf-8", "replace") for name in NAMES)
INNER = _element(0x00080060, "CS", b"CT") + _element(0x00100020, "LO", b"within")
SEQUENCE = struct.pack("<HHI", 0xFFFE, 0xE000, len(INNER)) + INNER


@st.composite
def damages(draw: st.DrawFn, keywords: Sequence[str] = KEYWORDS) -> dict[int, tuple[str, bytes] | None]:
    """Tag -> what stands there instead of the right value."""
    character_set = draw(st.sampled_from(sorted(CHARACTER_SETS)))
    encoding = CHARACTER_SETS[character_set]
    made: dict[int, tuple[str, bytes] | None] = {0x00080005: ("CS", character_set.encode())}
    if draw(st.integers(0, 9)) == 0:
        made[0x00080005] = draw(odd_values("SpecificCharacterSet", encoding))
    name = draw(st.sampled_from(NAMES)).encode(encoding, "replace")
    made[tag_of("PatientName")] = ("PN", name)
    for keyword in draw(st.lists(st.sampled_from(keywords), min_size=1, max_size=8, unique=True)):
        made[tag_of(keyword)] = draw(odd_values(keyword, encoding))
    if draw(st.booleans()):
        made[0x00090010] = ("LO", draw(st.sampled_from((b"SOME MAKER", b"", b"\xff\xff", b"DICOM_PIPELINE"))))
        made[0x00091001] = (draw(st.sampled_from(("UN", "SQ", "LO"))), b"")
    return made


def damaged(image: Elements, damage: Mapping[int, tuple[str, bytes] | None]) -> dict[int, tuple[str, bytes]]:
    """The elements with the damage done."""
    return {tag: value for tag, value in {**image, **damage}.items() if value is not None}


def write(folder: Path, name: str, elements: Elements) -> Path:
    path = folder / name
    path.write_bytes(part10(elements))
    return path
