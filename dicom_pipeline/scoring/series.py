"""Frame scores -> series scores, with the frame that made each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from dicom_pipeline.domain import Derivation, Score

TOP_K = 3
"""Frames whose mean is the top-k-mean."""


def series_scores(scores: Sequence[Score], *, derivation: Derivation = Derivation.MAX) -> list[Score]:
    """One score a series, label and kind, in the order of first appearance; frame names the highest-scoring frame."""
    groups: dict[tuple[str, str, str], list[Score]] = defaultdict(list)
    for score in scores:
        groups[score.series_instance_uid, score.label, score.kind].append(score)
    aggregated = []
    for members in groups.values():
        ranked = sorted(members, key=lambda s: -s.value)
        if derivation is Derivation.MAX:
            value = ranked[0].value
        else:
            part = ranked if derivation is Derivation.MEAN else ranked[:TOP_K]
            value = sum(s.value for s in part) / len(part)
        best = ranked[0]
        aggregated.append(Score(best.label, value, best.kind, best.series_instance_uid, best.frame, derivation))
    return aggregated
