"""The mark of a measurement group whose frames are out of the model's domain: a qualitative evaluation (TID 1501, PS3.16).

Nothing is said of a group whose frames are in the domain, or that no reference judges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from highdicom.sr import QualitativeEvaluation

from dicom_pipeline.domain import Domain, FrameDomain, FrameKey
from dicom_pipeline.reporting import codes


def domain_evaluations(
    frames: Sequence[FrameKey], domains: Mapping[FrameKey, FrameDomain]
) -> list[QualitativeEvaluation]:
    """The evaluation of a group by the frames that its scores come from: all of them out of domain, some, or none."""
    beyond = [key for key in frames if (judged := domains.get(key)) is not None and judged.domain is Domain.OUT]
    if not beyond:
        return []
    value = "out_of_domain" if len(beyond) == len(frames) else "partly_out_of_domain"
    return [QualitativeEvaluation(codes.coded("concept", "model_domain"), codes.coded("concept", value))]
