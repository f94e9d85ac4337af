"""Scores as rows: what scores.csv, the embedding store, the pages and JSON all say of a score.

A score is a number until it is printed for a person. Files hold the shortest text that gives the same number back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from dicom_pipeline.domain import Derivation, Domain, FrameDomain, FrameKey, Level, Provenance, Score, ScoreKind
from dicom_pipeline.results.csv_files import read_csv, write_csv


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One score with all that names it; the fields are the columns of scores.csv.

    level: frame or series; of a series, sop_instance_uid and frame name its highest-scoring frame, and derivation says how
    the frame scores were aggregated. derivation is None for a frame. value: 0..1, as it was computed. domain: of the frame that
    is named, None where the checkpoint has no reference for it.
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    frame: int
    level: Level
    label: str
    kind: ScoreKind
    derivation: Derivation | None
    value: float
    encoder: str
    fingerprint: str
    domain: Domain | None = None

    @classmethod
    def of(
        cls, score: Score, study_instance_uid: str, provenance: Provenance, domains: Mapping[FrameKey, FrameDomain]
    ) -> ScoreRow:
        """The row of a score of a study. domains: of the study's frames."""
        found = domains.get(score.frame)
        return cls(
            study_instance_uid=study_instance_uid,
            series_instance_uid=score.series_instance_uid,
            sop_instance_uid=score.frame.sop_instance_uid,
            frame=score.frame.frame,
            level=Level.SERIES if score.derivation else Level.FRAME,
            label=score.label,
            kind=score.kind,
            derivation=score.derivation,
            value=score.value,
            encoder=provenance.encoder,
            fingerprint=provenance.fingerprint,
            domain=found.domain if found else None,
        )

    @classmethod
    def from_texts(cls, texts: Mapping[str, str]) -> ScoreRow:
        """A row as scores.csv has it. Raises ValueError for a column that is missing or does not hold what it should."""
        if missing := [name for name in REQUIRED if texts.get(name) is None]:
            raise ValueError(f"a row of scores has no {', '.join(missing)}")
        return cls(
            study_instance_uid=texts["study_instance_uid"],
            series_instance_uid=texts["series_instance_uid"],
            sop_instance_uid=texts["sop_instance_uid"],
            frame=int(texts["frame"]),
            level=Level(texts["level"]),
            label=texts["label"],
            kind=ScoreKind(texts["kind"]),
            derivation=Derivation(texts["derivation"]) if texts["derivation"] else None,
            value=float(texts["value"]),
            encoder=texts["encoder"],
            fingerprint=texts["fingerprint"],
            domain=Domain(text) if (text := texts.get("domain")) else None,
        )

    def values(self) -> dict[str, Any]:
        """Column -> value, plain enough for CSV and JSON; an empty derivation or domain is ""."""
        return {**asdict(self), "derivation": self.derivation or "", "domain": self.domain or ""}


SCORE_COLUMNS = tuple(field.name for field in fields(ScoreRow))
"""Columns of scores.csv."""

REQUIRED = tuple(name for name in SCORE_COLUMNS if name != "domain")
"""Those that files of earlier versions have too."""


def write_scores(path: Path, rows: Iterable[ScoreRow], *, escape: bool = True) -> None:
    """Write scores.csv. escape: as write_csv's."""
    write_csv(path, SCORE_COLUMNS, (row.values() for row in rows), escape=escape)


def read_scores(path: Path) -> Iterator[ScoreRow]:
    """The rows of scores.csv. Raises OSError, or ValueError where it is not what `write_scores` writes."""
    yield from map(ScoreRow.from_texts, read_csv(path))
