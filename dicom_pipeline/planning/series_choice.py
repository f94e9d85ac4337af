"""Which series of a study are used: those that show a picture, that a rule takes, and that no better series stands for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pydicom import Dataset

from dicom_pipeline.dicom.attributes import items_of, read_value
from dicom_pipeline.domain import Excluded, Reason
from dicom_pipeline.planning.geometry import first_frame, is_parallel
from dicom_pipeline.planning.headers import Header
from dicom_pipeline.planning.recognition.kinds import exclusion_reason
from dicom_pipeline.planning.recognition.localizers import find_localizers
from dicom_pipeline.planning.recognition.units import not_hounsfield
from dicom_pipeline.planning.recognition.words import selection_words
from dicom_pipeline.planning.rules import RenderRule, Rules

MAX_FRAMES_LISTED = 100_000
"""An instance that claims more frames is refused before one object a frame is made."""

ACQUISITION = ("EchoTime", "RepetitionTime", "InversionTime", "FlipAngle", "KVP")
"""What a reformat has in common with its source: a reformat of a T1 volume has none in a T2 volume."""


FEW_SLICES = 5
"""An axial series of fewer slices stands for no coronal one that has more."""

NO_AXIAL = "the study has no axial stack of this volume, and MedSigLIP was trained primarily on axial CT slices"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A series that could be used.

    pictures: its instances that are pictures; reformats: those that are reformats, of which it is not known yet whether
    their source is in the study. refused: its other instances. notes: what the plan tells of the choice. prefer_axial:
    whether its other stacks are used only where it has no axial one.
    """

    pictures: tuple[Header, ...]
    rule: RenderRule
    refused: tuple[Excluded, ...] = ()
    reformats: tuple[tuple[Header, str], ...] = ()
    notes: tuple[str, ...] = ()
    prefer_axial: bool = False

    @property
    def first(self) -> Header:
        """An instance that stands for the series."""
        return self.pictures[0]

    @property
    def size(self) -> int:
        """How many frames the series has."""
        return sum(header.frames for header in self.pictures)

    def planes(self) -> frozenset[str]:
        """The planes that its images are nearest to (PLANES), by the first frame of each; "" for those without orientation."""
        return frozenset(first_frame(header).plane for header in self.pictures)

    def dropped(self, reason: Reason, detail: str) -> list[Excluded]:
        """Every instance of the series as not used."""
        return [*self.refused, *(header.excluded(reason, detail) for header in self.pictures)]


def candidates_of(headers: Sequence[Header], rules: Rules) -> tuple[list[Candidate], list[Excluded]]:
    """The series of a study that could be used, by series number, and the instances of the others with their reasons."""
    candidates: list[Candidate] = []
    left_out: list[Excluded] = []
    for members in _by_series(headers):
        pictures, reformats, refused = _sorted_out(members, rules)
        if Reason.LOCALIZER not in rules.keep:
            found = find_localizers([*pictures, *(header for header, _ in reformats)])
            refused += [
                h.excluded(Reason.LOCALIZER, found[uid]) for h in members if (uid := h.sop_instance_uid) in found
            ]
            pictures = [header for header in pictures if header.sop_instance_uid not in found]
            reformats = [item for item in reformats if item[0].sop_instance_uid not in found]
        all_pictures = [*pictures, *(header for header, _ in reformats)]
        if not all_pictures:
            left_out.extend(refused)
            continue
        reason, rule = rules.exclusion_reason(all_pictures[0]), rules.render_rule(all_pictures[0])
        if reason is not None or rule is None:
            why = reason or Reason.MODALITY_NOT_CHOSEN
            left_out.extend([*refused, *(h.excluded(why, "by rule") for h in all_pictures)])
            continue
        axial = all_pictures[0].modality in rules.prefer_axial
        candidates.append(Candidate(tuple(pictures), rule, tuple(refused), tuple(reformats), prefer_axial=axial))
    return _with_reformats(candidates, left_out), left_out


def _by_series(headers: Sequence[Header]) -> list[list[Header]]:
    groups: dict[str, list[Header]] = defaultdict(list)
    for header in headers:
        groups[header.series_instance_uid].append(header)
    return sorted(groups.values(), key=lambda g: (g[0].number("SeriesNumber") or 0.0, g[0].series_instance_uid))


def _sorted_out(
    members: Sequence[Header], rules: Rules
) -> tuple[list[Header], list[tuple[Header, str]], list[Excluded]]:
    """The pictures of a series, its reformats with the word that says so, and the rest."""
    pictures, reformats, refused = [], [], []
    for header in members:
        found = exclusion_reason(header, keep=rules.keep)
        if header.frames > MAX_FRAMES_LISTED and (found is None or found[0] is Reason.REFORMAT):
            found = Reason.TOO_LARGE, f"{header.frames} frames"
        if found is None:
            pictures.append(header)
        elif found[0] is Reason.REFORMAT:
            reformats.append((header, found[1]))
        else:
            refused.append(header.excluded(*found))
    return pictures, reformats, refused


def _with_reformats(candidates: Sequence[Candidate], left_out: list[Excluded]) -> list[Candidate]:
    """The candidates with reformats among their pictures, or refused where the source of the reformats is in the study."""
    originals = [candidate.first for candidate in candidates if candidate.pictures]
    known = {header.sop_instance_uid for candidate in candidates for header in candidate.pictures}
    result = []
    for candidate in candidates:
        pictures, refused, notes = list(candidate.pictures), list(candidate.refused), list(candidate.notes)
        for header, word in candidate.reformats:
            source = _source_of(header, originals, known)
            if source:
                refused.append(header.excluded(Reason.REFORMAT, f"{word}; {source}"))
            else:
                pictures.append(header)
                notes.append(f"a reformat ({word}) whose source series is not in the study")
        if pictures:
            settled = tuple(sorted(pictures, key=lambda h: h.sop_instance_uid))
            notes = list(dict.fromkeys(notes))
            result.append(
                replace(candidate, pictures=settled, refused=tuple(refused), reformats=(), notes=tuple(notes))
            )
        else:
            left_out.extend(refused)
    return result


def _source_of(header: Header, originals: Sequence[Header], known: set[str]) -> str:
    """Where the source of a reformat is in the study; empty where it is not.

    Source Image Sequence names it (PS3.3 C.7.6.1.1.4, C.7.6.16.2.6), or it is a series of the same modality, frame of
    reference and acquisition.
    """
    if _source_uids(header) & known:
        return "its source images are in the study"
    same = (other for other in originals if _may_be_source(other, header))
    found = next(same, None)
    return f"series {found.text('SeriesNumber') or 'without a number'} shows the same volume" if found else ""


def _source_uids(header: Header) -> set[str]:
    groups = items_of(header.dataset, "SharedFunctionalGroupsSequence")[:1]
    groups += items_of(header.dataset, "PerFrameFunctionalGroupsSequence")[:1]
    holders: list[Dataset] = [header.dataset]
    holders += [item for group in groups for item in items_of(group, "DerivationImageSequence")]
    sources = (item for holder in holders for item in items_of(holder, "SourceImageSequence"))
    return {str(read_value(item, "ReferencedSOPInstanceUID")) for item in sources}


def _may_be_source(other: Header, reformat: Header) -> bool:
    frames = [header.text("FrameOfReferenceUID") for header in (other, reformat)]
    return (
        other.modality == reformat.modality
        and (frames[0] == frames[1] or not all(frames))
        and all(_agree(other.number(keyword), reformat.number(keyword)) for keyword in ACQUISITION)
    )


def _agree(one: float | None, other: float | None) -> bool:
    """Whether two numbers are the same within 1 %, or one is not known."""
    return one is None or other is None or abs(one - other) <= 0.01 * max(abs(one), abs(other))


def with_preset(candidate: Candidate, preset: str) -> tuple[Candidate, str]:
    """The candidate with the images that a preset can render, and the preset: another one where a CT is not in HU."""
    words = selection_words()
    if preset.partition(":")[0] not in words.hounsfield_presets:
        return candidate, preset
    found = {header.sop_instance_uid: not_hounsfield(header) for header in candidate.pictures}
    others = [header for header in candidate.pictures if found[header.sop_instance_uid]]
    if not others:
        return candidate, preset
    if 2 * len(others) >= len(candidate.pictures):
        note = f"values are not Hounsfield units ({found[others[0].sop_instance_uid]}): rendered in its own window"
        return replace(candidate, notes=(*candidate.notes, note)), words.preset_without_hounsfield
    refused = [header.excluded(Reason.NOT_HOUNSFIELD, found[header.sop_instance_uid]) for header in others]
    pictures = tuple(header for header in candidate.pictures if not found[header.sop_instance_uid])
    return replace(candidate, pictures=pictures, refused=(*candidate.refused, *refused)), preset


def choose_series(candidates: Sequence[Candidate], rules: Rules) -> tuple[list[Candidate], list[Excluded]]:
    """The series that stay, by the rules for the study, and the instances of the others."""
    kept, dropped = _axial_first(candidates)
    if rules.one_of_several != "all":
        sign = 1 if rules.one_of_several == "thin" else -1
        best = {
            min(group, key=lambda i: (sign * (kept[i].first.number("SliceThickness") or 0.0), i))
            for group in _volumes([candidate.first for candidate in kept])
        }
        kept, others = _split(kept, best, f"the {rules.one_of_several} series was preferred")
        dropped += others
    if len(kept) > rules.max_series:
        by_size = sorted(range(len(kept)), key=lambda i: (-kept[i].size, i))
        kept, others = _split(kept, set(by_size[: rules.max_series]), f"more than {rules.max_series} series")
        dropped += others
    return kept, dropped


def _axial_first(candidates: Sequence[Candidate]) -> tuple[list[Candidate], list[Excluded]]:
    """The candidates without coronal and sagittal series of a volume that an axial series shows; the others get a note.

    MedSigLIP was trained primarily on axial slices of CT (MedGemma technical report).
    """
    planes = [candidate.planes() if candidate.prefer_axial else frozenset() for candidate in candidates]
    axial = [candidate for candidate, found in zip(candidates, planes, strict=True) if "axial" in found]
    kept: list[Candidate] = []
    dropped: list[Excluded] = []
    for candidate, found in zip(candidates, planes, strict=True):
        if not found or "axial" in found:
            kept.append(candidate)
        elif "" not in found and any(_shows_as_much(other, candidate) for other in axial):
            detail = f"{', '.join(sorted(found))}: an axial series of the same volume is preferred"
            dropped += candidate.dropped(Reason.SERIES_NOT_CHOSEN, detail)
        else:
            named = ", ".join(sorted(found)) if "" not in found else "plane not known"
            kept.append(replace(candidate, notes=(*candidate.notes, f"{named}: {NO_AXIAL}")))
    return kept, dropped


def _shows_as_much(axial: Candidate, other: Candidate) -> bool:
    """Whether an axial series shows the volume of another one, and is no slice or two for timing a bolus."""
    frames = {candidate.first.text("FrameOfReferenceUID") for candidate in (axial, other)}
    same = axial.first.modality == other.first.modality and (len(frames) == 1 or "" in frames)
    return same and axial.size >= min(FEW_SLICES, other.size)


def _split(candidates: Sequence[Candidate], stay: set[int], detail: str) -> tuple[list[Candidate], list[Excluded]]:
    """The candidates at some indices, and the instances of the others."""
    others = [candidate for index, candidate in enumerate(candidates) if index not in stay]
    dropped = [item for candidate in others for item in candidate.dropped(Reason.SERIES_NOT_CHOSEN, detail)]
    return [candidate for index, candidate in enumerate(candidates) if index in stay], dropped


def _volumes(headers: Sequence[Header]) -> list[list[int]]:
    """Indices of series of one modality, frame of reference and orientation; one without geometry stands alone."""
    groups: list[list[int]] = []
    firsts = [first_frame(header) for header in headers]
    for index, (header, first) in enumerate(zip(headers, firsts, strict=True)):
        reference = header.text("FrameOfReferenceUID")
        alike = (
            group
            for group in groups
            if reference
            and first.orientation
            and (headers[group[0]].modality, headers[group[0]].text("FrameOfReferenceUID"))
            == (header.modality, reference)
            and is_parallel(firsts[group[0]], first)
        )
        group = next(alike, None)
        if group is None:
            groups.append([index])
        else:
            group.append(index)
    return groups
