"""Reads a Structured Report of dicom_pipeline from Orthanc's JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from medsiglip.constants import (
    ALGORITHM_PARAMETERS,
    DERIVATION,
    DERIVATIONS,
    MEASUREMENT_METHOD,
    MODEL_DOMAIN,
    SCORE_FOR,
    SERIES_GROUP,
    SERIES_SCORE,
)
from medsiglip.orthanc_rest import get_json
from medsiglip.study_content import NotInOrthanc, StudyContent, series_of


class Report:
    """A report in Orthanc. tags: Orthanc's simplified tags. parameters: Algorithm Parameters, name -> value."""

    def __init__(self, instance: str) -> None:
        tags = get_json(f"/instances/{instance}/simplified-tags")
        if tags is None:
            raise NotInOrthanc("the report is gone")
        self.tags: dict[str, Any] = tags
        self.parameters: dict[str, str] = {}
        self.scores: list[dict[str, Any]] = []
        for item in content_items(tags):
            if item.get("ValueType") == "TEXT" and concept(item)[0] == ALGORITHM_PARAMETERS:
                # Orthanc gives no value of more than 256 characters, as of a list of versions
                name, _, value = (item["TextValue"] or "").partition("=")
                self.parameters.setdefault(name, value)
        for group in content_items(tags):
            children = group.get("ContentSequence") or ()
            of_series = any(concept(child, "ConceptCodeSequence")[0] == SERIES_GROUP for child in children)
            marks = [
                concept(child, "ConceptCodeSequence")[1] for child in children if concept(child)[0] == MODEL_DOMAIN
            ]
            domain = marks[0] if marks else ""
            for child in children:
                if child.get("ValueType") == "NUM":
                    self.scores.append({**self._score(child, of_series), "domain": domain})

    def _score(self, item: dict[str, Any], of_series: bool) -> dict[str, Any]:
        """A NUM item's score; how a series score was aggregated stands among the parameters, in older reports below it."""
        score = score_of(item)
        if of_series and not score["derivation"]:
            own = self.parameters.get(f"{SERIES_SCORE} {score['label']}")
            key = own or self.parameters.get(SERIES_SCORE, "")
            score["derivation"] = DERIVATIONS.get(key, key or "aggregated")
        return score

    def series_scores(self) -> list[dict[str, Any]]:
        """The scores of whole series, highest first, without those of single frames."""
        return sorted((score for score in self.scores if score["derivation"]), key=lambda score: -float(score["value"]))

    def predecessor(self) -> str:
        """SOP Instance UID of the report that this one replaces; empty for a first report."""
        documents = self.tags.get("PredecessorDocumentsSequence")
        if not documents:
            return ""
        series = documents[0]["ReferencedSeriesSequence"][0]
        return str(series["ReferencedSOPSequence"][0]["ReferencedSOPInstanceUID"])


def content_items(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All content items below one, depth first (PS3.3 C.17.3)."""
    for child in item.get("ContentSequence") or ():
        yield child
        yield from content_items(child)


def concept(item: dict[str, Any], sequence: str = "ConceptNameCodeSequence") -> tuple[str, str]:
    """Code value and meaning of a content item's name, or of its value."""
    codes = item.get(sequence) or [{}]
    return codes[0].get("CodeValue", ""), codes[0].get("CodeMeaning", "")


def score_of(item: dict[str, Any]) -> dict[str, Any]:
    """A NUM item as label, value, kind, derivation (empty for a score of one frame), image and frame."""
    score: dict[str, Any] = {
        "label": concept(item)[1].removeprefix(SCORE_FOR),
        "kind": "",
        "derivation": "",
        "image": "",
        "frame": 1,
        "value": float(item["MeasuredValueSequence"][0]["NumericValue"]),
    }
    for child in content_items(item):
        if child["ValueType"] == "IMAGE":  # also that of a region
            reference = child["ReferencedSOPSequence"][0]
            score["image"] = reference["ReferencedSOPInstanceUID"]
            score["frame"] = int(reference.get("ReferencedFrameNumber") or 1)
        elif concept(child)[0] == MEASUREMENT_METHOD:
            score["kind"] = concept(child, "ConceptCodeSequence")[1]
        elif concept(child)[0] == DERIVATION:
            score["derivation"] = concept(child, "ConceptCodeSequence")[1]
    return score


def series_labels(content: StudyContent, report: Report) -> list[dict[str, Any]]:
    """Series scores of a report, each with the series (Orthanc's identifier, description) of its highest frame."""
    descriptions = {}
    for series in content.series:
        tags = series["MainDicomTags"]
        descriptions[series["ID"]] = f"{tags.get('Modality', '')} {tags.get('SeriesDescription', '')}".strip()
    labels: list[dict[str, Any]] = []
    parents: dict[str, str] = {}
    for score in report.series_scores():
        image = score["image"]
        if image not in parents:
            parents[image] = series_of(image)
        parent = parents[image]
        description = descriptions.get(parent, "series not in Orthanc")
        labels.append({**score, "series": parent, "series_description": description})
    return labels
