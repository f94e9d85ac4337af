"""The series of a study that could be used: those that show a picture and that a rule takes.

Their localizers, pages, maps and labels are left out; so are reformats whose source is in the study.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pydicom import Dataset

from dicom_pipeline.dicom.attributes import items_of, read_value
from dicom_pipeline.domain import Excluded, Reason
from dicom_pipeline.planning.geometry import first_frame
from dicom_pipeline.planning.headers import Header
from dicom_pipeline.planning.recognition.kinds import exclusion_reason
from dicom_pipeline.planning.recognition.localizers import find_localizers
from dicom_pipeline.planning.rules import RenderRule, Rules

MAX_FRAMES_LISTED = 100_000
"""An instance that claims more frames is refused before one object a frame is made."""

ACQUISITION = ("EchoTime", "RepetitionTime", "InversionTime", "FlipAngle", "KVP")
"""What a reformat has in common with its source: a reformat of a T1 volume has none in a T2 volume."""


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
    same = (other for other in originals if are_of_one_acquisition(other, header))
    found = next(same, None)
    return f"series {found.text('SeriesNumber') or 'without a number'} shows the same volume" if found else ""


def _source_uids(header: Header) -> set[str]:
    groups = items_of(header.dataset, "SharedFunctionalGroupsSequence")[:1]
    groups += items_of(header.dataset, "PerFrameFunctionalGroupsSequence")[:1]
    holders: list[Dataset] = [header.dataset]
    holders += [item for group in groups for item in items_of(group, "DerivationImageSequence")]
    sources = (item for holder in holders for item in items_of(holder, "SourceImageSequence"))
    return {str(read_value(item, "ReferencedSOPInstanceUID")) for item in sources}


def are_of_one_acquisition(one: Header, other: Header) -> bool:
    """Whether two series may have been made of the same data: modality, frame of reference and parameters as far as known."""
    frames = [header.text("FrameOfReferenceUID") for header in (one, other)]
    return (
        one.modality == other.modality
        and (frames[0] == frames[1] or not all(frames))
        and all(_agree(one.number(keyword), other.number(keyword)) for keyword in ACQUISITION)
    )


def _agree(one: float | None, other: float | None) -> bool:
    """Whether two numbers are the same within 1 %, or one is not known."""
    return one is None or other is None or abs(one - other) <= 0.01 * max(abs(one), abs(other))
