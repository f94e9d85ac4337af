"""Encoded study in -> StudyResult out: its scores, its account, its report and what stands beside the report."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydicom import Dataset

from dicom_pipeline.dicom.attributes import integer_of
from dicom_pipeline.domain import (
    Account,
    Embedding,
    Excluded,
    Frame,
    FrameDomain,
    FrameKey,
    InstanceError,
    Outcome,
    Pixels,
    Plan,
    Provenance,
    Rendering,
    Revision,
    Score,
    SeriesPlan,
    embedding_space,
    short_uid,
)
from dicom_pipeline.domain.life import RevisionState
from dicom_pipeline.errors import ReportError
from dicom_pipeline.imaging import Preset, load_preset
from dicom_pipeline.imaging.decoding.packed import PackedFile
from dicom_pipeline.pipeline.recipe import Recipe
from dicom_pipeline.pipeline.renderers import Renderers
from dicom_pipeline.planning import StudyInput, account_of
from dicom_pipeline.reporting import KeyFrame, build_report, key_frame, make_companions, with_companions
from dicom_pipeline.reporting.names import series_names
from dicom_pipeline.scoring import Applicability, ZeroShot, series_scores

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StudyResult:
    """What came of one study.

    plan: the plan as carried out; frames that failed on the way stand in `excluded` with their reason.
    headers: SOP Instance UID -> the instance's data set without pixel data.
    embeddings: of each used frame, in the plan's order; `frame_scores` likewise, all labels of a frame together.
    report: the SR data set, None where no frame could be used, or where one cannot be made: then problem says why.
    applicability: Series Instance UID -> what each of its label sets is to it.
    domains: what the reference of the checkpoint says of frames; empty without one.
    companions: objects to send beside the report; empty unless asked for.
    renderings: what the encoder got; empty unless asked for.
    """

    revision: Revision
    plan: Plan
    account: Account
    headers: Mapping[str, Dataset]
    embeddings: tuple[Embedding, ...]
    frame_scores: tuple[Score, ...]
    series_scores: tuple[Score, ...]
    provenance: Provenance
    report: Dataset | None
    problem: str = ""
    applicability: Mapping[str, tuple[Applicability, ...]] = field(default_factory=dict)
    domains: Mapping[FrameKey, FrameDomain] = field(default_factory=dict)
    companions: tuple[Dataset, ...] = ()
    renderings: tuple[Rendering, ...] = ()

    @property
    def scores(self) -> tuple[Score, ...]:
        """Series scores, then frame scores."""
        return self.series_scores + self.frame_scores

    @property
    def state(self) -> RevisionState:
        """The last state of the revision: done, no-label, no-image, or failed where no valid report can be made."""
        if self.problem:
            return RevisionState.FAILED
        used = self.account.counts[Outcome.USED]
        return RevisionState.processed(reported=self.report is not None, used=used)


@dataclass(slots=True)
class EncodedStudy:
    """A study on its way through the stream; complete when no frame is outstanding.

    packed: by path, what rendering needs of the headers. shown: the frames whose renderings the result hands back.
    """

    study: StudyInput
    plan: Plan
    packed: Mapping[Path, PackedFile | None]
    outstanding: int
    shown: frozenset[FrameKey] = frozenset()
    embeddings: list[Embedding] = field(default_factory=list)
    failures: list[Excluded] = field(default_factory=list)
    renderings: list[Rendering] = field(default_factory=list)


def study_result(
    encoded: EncodedStudy,
    recipe: Recipe,
    zero_shot: Sequence[ZeroShot],
    renderers: Renderers,
    progress: Callable[[], object] = lambda: None,
) -> StudyResult:
    """The result of a study whose frames are all through. zero_shot: the recipe's label sets, embedded."""
    study = encoded.study
    plan = _carried_out(encoded.plan, encoded.failures)
    provenance = recipe.provenance(plan)
    frame_scores, aggregated = _scores(encoded.embeddings, plan, provenance, recipe, zero_shot)
    progress()
    result = StudyResult(
        revision=study.revision,
        plan=plan,
        account=account_of(plan, study.revision.instances),
        headers={header.sop_instance_uid: header.dataset for header in study.headers},
        embeddings=tuple(encoded.embeddings),
        frame_scores=tuple(frame_scores),
        series_scores=tuple(aggregated),
        provenance=provenance,
        applicability=recipe.label_sets.applicability(plan),
        domains=_domains(encoded.embeddings, plan, provenance, recipe),
        report=None,
        renderings=tuple(encoded.renderings),
    )
    return _reported(result, recipe, renderers, progress) if aggregated else result


SHOWN_AS_STORED = ("voi", "colour")
"""Methods of presets whose renderings are what a workstation shows at first."""


def _reported(result: StudyResult, recipe: Recipe, renderers: Renderers, progress: Callable[[], object]) -> StudyResult:
    """The result with its report and companions, or with the problem for which there can be none."""
    try:
        report = build_report(
            result.revision,
            result.plan,
            result.headers,
            result.scores,
            recipe.labels,
            result.provenance,
            sop_class_uid=recipe.sop_class_uid,
            key_frames=recipe.key_frames,
            domains=result.domains,
        )
        companions: list[Dataset] = []
        if recipe.companions:
            companions = make_companions(
                recipe.companions,
                report,
                result.revision,
                result.headers,
                _key_frames(result, renderers, progress),
                result.embeddings,
                result.provenance,
            )
    except ReportError as error:
        return replace(result, problem=str(error))
    return replace(result, report=with_companions(report, companions), companions=tuple(companions))


def _scores(
    embeddings: Sequence[Embedding], plan: Plan, provenance: Provenance, recipe: Recipe, zero_shot: Sequence[ZeroShot]
) -> tuple[list[Score], list[Score]]:
    """Frame scores and series scores, zero-shot first, then each probe's."""
    spaces = {
        series.series_instance_uid: embedding_space(provenance.weights, provenance.presets[series.preset])
        for series in plan.series
    }
    of_frames: list[Score] = []
    of_series: list[Score] = []
    sets = {series.series_instance_uid: recipe.label_sets.sets_for(series) for series in plan.series}
    for scorer in zero_shot:
        chosen = [e for e in embeddings if scorer.label_set in sets[e.frame.series_instance_uid]]
        of_frames += scorer.score(chosen)
    for probe in recipe.probes:
        made = probe.score(embeddings, spaces)
        of_frames += [score for score in made if score.derivation is None]
        of_series += [score for score in made if score.derivation is not None]
    return of_frames, [*series_scores(of_frames, derivation=recipe.derivation), *of_series]


def _domains(
    embeddings: Sequence[Embedding], plan: Plan, provenance: Provenance, recipe: Recipe
) -> dict[FrameKey, FrameDomain]:
    """What the reference says of each frame."""
    if recipe.reference is None:
        return {}
    presets = {s.series_instance_uid: (s.preset, provenance.presets[s.preset]) for s in plan.series}
    return recipe.reference.judge(embeddings, presets)


def _key_frames(result: StudyResult, renderers: Renderers, progress: Callable[[], object]) -> list[KeyFrame]:
    """The best frame of each series that has a score, as the model saw it and in its object's own window."""
    shown, names = [], series_names(result.plan, result.headers)
    for series in result.plan.series:
        mine = [s for s in result.series_scores if s.series_instance_uid == series.series_instance_uid]
        if not mine:
            continue
        best = max(mine, key=lambda s: s.value)
        (frame,) = [f for f in series.frames if f.key == best.frame]
        preset = load_preset(series.preset)
        pixels = _rendered(renderers, preset, series, frame)
        own_window = None
        grey = integer_of(result.headers[frame.key.sop_instance_uid], "SamplesPerPixel") == 1
        if grey and preset.method not in SHOWN_AS_STORED:
            own_window = _rendered(renderers, load_preset("own-window"), series, frame)
        progress()
        if pixels is None:
            continue
        scores = [s for s in result.scores if s.series_instance_uid == series.series_instance_uid]
        name = names[series.series_instance_uid]
        coloured = len(preset.windows) > 1
        shown.append(key_frame(frame, name, pixels, own_window, scores, result.headers, coloured=coloured))
    return shown


def _rendered(renderers: Renderers, preset: Preset, series: SeriesPlan, frame: Frame) -> Pixels | None:
    """A picture to be shown; None where this preset cannot render the frame: the scores stand without it."""
    try:
        return renderers.series(preset, series.reference_frames).render(frame).pixels
    except InstanceError as error:
        log.warning("no picture of %s for the key image: %s", short_uid(frame.key.sop_instance_uid), error)
        return None


def _carried_out(plan: Plan, failures: Sequence[Excluded]) -> Plan:
    """The plan with the frames that failed on the way moved to what is left out."""
    failed = {(item.sop_instance_uid, item.frame): item for item in failures}
    if not failed:
        return plan
    series = []
    for each in plan.series:
        lost = [frame for frame in each.frames if (frame.key.sop_instance_uid, frame.key.frame) in failed]
        items = tuple(failed[frame.key.sop_instance_uid, frame.key.frame] for frame in lost)
        kept = tuple(frame for frame in each.frames if frame not in set(lost))
        series.append(replace(each, frames=kept, excluded=each.excluded + items))
    return replace(plan, series=tuple(series))
