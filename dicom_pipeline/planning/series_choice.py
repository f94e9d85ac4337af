"""Which of the series that could be used are used: axial before others, magnitude before phase, and by the rule table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dicom_pipeline.domain import Excluded, Reason
from dicom_pipeline.planning.candidates import Candidate, are_of_one_acquisition
from dicom_pipeline.planning.geometry import first_frame, is_parallel
from dicom_pipeline.planning.headers import Header
from dicom_pipeline.planning.recognition.contrasts import component
from dicom_pipeline.planning.recognition.units import not_hounsfield
from dicom_pipeline.planning.recognition.words import selection_terms
from dicom_pipeline.planning.rules import Rules

FEW_SLICES = 5
"""An axial series of fewer slices stands for no coronal one that has more."""

NO_AXIAL = "the study has no axial stack of this volume, and MedSigLIP was trained primarily on axial CT slices"


def with_preset(candidate: Candidate, preset: str) -> tuple[Candidate, str]:
    """The candidate with the images that a preset can render, and the preset: another one where a CT is not in HU."""
    words = selection_terms()
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
    kept, others = _magnitude_first(kept)
    dropped += others
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


def _magnitude_first(candidates: Sequence[Candidate]) -> tuple[list[Candidate], list[Excluded]]:
    """The candidates without series of phase images beside the magnitude images of the same acquisition (SWI, field maps)."""
    parts = [component(first_frame(candidate.first)) for candidate in candidates]
    magnitudes = [c for c, part in zip(candidates, parts, strict=True) if part == "magnitude"]
    phases = {
        index
        for index, (candidate, part) in enumerate(zip(candidates, parts, strict=True))
        if part == "phase" and any(are_of_one_acquisition(other.first, candidate.first) for other in magnitudes)
    }
    stay = set(range(len(candidates))) - phases
    return _split(candidates, stay, "phase images: the magnitude series of the acquisition is preferred")


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
