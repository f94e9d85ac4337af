"""Revisions in -> results out: the stages as one chain.

    plan -> render (threads, ahead) -> encode (one model, batches across studies) -> score -> report

`Pipeline.process` is a stream: it takes studies as they come and yields results in the same order, with memory bounded
by the batch, not by the study. `Pipeline.process_study` is its one-study case.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from dicom_pipeline.config import Settings, load_settings
from dicom_pipeline.dicom.same_content import same_content
from dicom_pipeline.domain import (
    Account,
    Derivation,
    Embedding,
    Excluded,
    Frame,
    FrameKey,
    InstanceError,
    LabelSet,
    Pixels,
    Plan,
    Provenance,
    Rendering,
    Revision,
    Score,
    ScoreKind,
    embedding_space,
)
from dicom_pipeline.encoders import CachedTexts, Encoder, encode_stream, load_encoder
from dicom_pipeline.errors import ConfigError, ReportError
from dicom_pipeline.imaging import SeriesRenderer, content_of, load_preset
from dicom_pipeline.planning import (
    Header,
    Rules,
    StudyInput,
    account_of,
    default_rules,
    load_rules,
    plan_study,
    study_inputs,
)
from dicom_pipeline.reporting import build_report, key_frame, make_companions
from dicom_pipeline.scoring import Probe, ZeroShot, load_label_set, load_probe, series_scores

SR_CLASSES: Mapping[str, str] = {
    "comprehensive-3d": "1.2.840.10008.5.1.4.1.1.88.34",
    "comprehensive": "1.2.840.10008.5.1.4.1.1.88.33",
    "enhanced": "1.2.840.10008.5.1.4.1.1.88.22",
}
"""The report classes by their name in the settings, richest first."""


@dataclass(frozen=True, slots=True)
class StudyResult:
    """What came of one study.

    plan: the plan as carried out; frames that failed on the way stand in `left_out` with their reason.
    headers: SOP Instance UID -> the instance's data set without pixel data.
    embeddings: of each used frame, in the plan's order; `frame_scores` likewise, all labels of a frame together.
    report: the SR data set, None where no frame could be used, or where one cannot be made: then problem says why.
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
    companions: tuple[Dataset, ...] = ()
    renderings: tuple[Rendering, ...] = ()

    @property
    def scores(self) -> tuple[Score, ...]:
        """Series scores, then frame scores."""
        return self.series_scores + self.frame_scores


@dataclass(slots=True)
class _Running:
    """A study on its way through the stream; complete when no frame is outstanding."""

    study: StudyInput
    plan: Plan
    outstanding: int
    embeddings: list[Embedding] = field(default_factory=list)
    failures: list[Excluded] = field(default_factory=list)
    renderings: list[Rendering] = field(default_factory=list)
    kept: frozenset[FrameKey] = frozenset()


class Pipeline:
    """The stages and what they hold: one resident encoder, a label set, a rule table.

    preset, selection: one choice for every series instead of the rule table's.
    keep_renderings: how many renderings of a study, evenly over its frames, the result hands back (600 kB each).
    progress: called by the thread that takes the results whenever a frame or a batch is through.
    """

    def __init__(
        self,
        encoder: Encoder,
        label_set: LabelSet | None,
        *,
        probes: Sequence[Probe] = (),
        rules: Rules | None = None,
        preset: str | None = None,
        selection: str | None = None,
        derivation: Derivation = Derivation.MAX,
        key_frames: int = 3,
        sop_class: str = "comprehensive-3d",
        companions: Sequence[str] = (),
        render_threads: int = 2,
        keep_renderings: int = 0,
        progress: Callable[[], object] = lambda: None,
    ) -> None:
        self.encoder = encoder
        self.label_set = label_set
        self.rules = rules if rules is not None else default_rules()
        self.preset = preset
        self.selection = selection
        self.derivation = derivation
        self.key_frames = key_frames
        self.sop_class = sop_class
        self.companions = tuple(companions)
        if "pdf" in self.companions and find_spec("reportlab") is None:
            raise ConfigError("report.companions: a PDF needs reportlab: pip install 'dicom-pipeline[pdf]'")
        self.batch_size = encoder.batch_size
        self.render_threads = render_threads
        self.keep_renderings = keep_renderings
        self._progress = progress
        self.probes = tuple(probes)
        for probe in self.probes:
            probe.check_encoder(encoder.weights, encoder.name)
        self._zero_shot = ZeroShot(CachedTexts(encoder), label_set) if label_set else None

    @classmethod
    def from_config(
        cls,
        config: Settings | Path | str | None = None,
        *,
        model: str | None = None,
        label_set: str | None = None,
        preset: str | None = None,
        selection: str | None = None,
        keep_renderings: int = 0,
        progress: Callable[[], object] = lambda: None,
    ) -> Pipeline:
        """A pipeline from settings or a TOML file (defaults without one); keyword arguments win over the file.

        Loads the model. Raises ConfigError, ModelError, LabelSetError, PresetError or RuleError.
        """
        settings = config if isinstance(config, Settings) else load_settings(config)
        encoder = load_encoder(
            model or settings.encoder.model,
            device=settings.encoder.device,
            dtype=settings.encoder.dtype,
            revision=settings.encoder.revision,
            batch_size=settings.encoder.batch_size,
        )
        rules_file = settings.planning.rules_file
        chosen = label_set or settings.scoring.label_set
        return cls(
            encoder,
            None if chosen == "none" else load_label_set(chosen),
            probes=[load_probe(folder) for folder in settings.scoring.probes],
            rules=load_rules(rules_file) if rules_file else default_rules(),
            preset=preset or settings.planning.preset,
            selection=selection or settings.planning.selection,
            derivation=Derivation(settings.scoring.derivation),
            key_frames=settings.report.key_frames,
            sop_class=settings.report.sop_class,
            companions=settings.report.companions,
            render_threads=settings.encoder.render_threads,
            keep_renderings=keep_renderings,
            progress=progress,
        )

    def plan(self, headers: Sequence[Header]) -> Plan:
        """The plan of one study; decodes pixels only for selections that ask for them."""
        return plan_study(
            headers,
            self.rules,
            selection=self.selection,
            preset=self.preset,
            content=self._content_of,
            vectors=self._vectors_of,
        )

    def process_study(self, paths: Iterable[Path | str]) -> StudyResult:
        """Process files and folders that hold one study. Raises ValueError where they hold none or several."""
        results = list(self.process_paths(paths))
        if len(results) != 1:
            raise ValueError(f"expected the files of one study, found {len(results)}; use process_paths for several")
        return results[0]

    def process_paths(self, paths: Iterable[Path | str]) -> Iterator[StudyResult]:
        """Process every study in files and folders; one result a study."""
        yield from self.process(study_inputs(paths, same_content))

    def process(self, studies: Iterable[StudyInput | None]) -> Iterator[StudyResult]:
        """Process a stream of studies; results come in its order.

        A None in the stream says that nothing waits now: what is on the way is finished before the next is asked for.
        """
        running: deque[_Running] = deque()
        for item in encode_stream(self.encoder, self._items(studies, running)):
            self._progress()
            if item is not None:
                (study, rendering), vector = item
                study.embeddings.append(Embedding(rendering.frame, vector))
                if rendering.frame.key in study.kept:
                    study.renderings.append(rendering)
                study.outstanding -= 1
            while running and running[0].outstanding == 0:
                yield self._finish(running.popleft())
        while running:
            yield self._finish(running.popleft())

    def _finish(self, running: _Running) -> StudyResult:
        """Score and report a study whose frames are all through."""
        study = running.study
        plan = _carried_out(running.plan, running.failures)
        headers = {header.sop_instance_uid: header.dataset for header in study.headers}
        provenance = self.provenance(plan)
        frame_scores, joined = self._scores(running.embeddings, plan, provenance)
        report, beside, problem = None, [], ""
        self._progress()
        if joined:
            try:
                report = self._report(study.revision, plan, headers, [*joined, *frame_scores], provenance)
                beside = self._companions(report, running, plan, joined, provenance)
            except ReportError as error:
                report, problem = None, str(error)
        return StudyResult(
            revision=study.revision,
            plan=plan,
            account=account_of(plan, study.revision.instances),
            headers=headers,
            embeddings=tuple(running.embeddings),
            frame_scores=tuple(frame_scores),
            series_scores=tuple(joined),
            provenance=provenance,
            report=report,
            companions=tuple(beside),
            problem=problem,
            renderings=tuple(running.renderings),
        )

    def _scores(
        self, embeddings: Sequence[Embedding], plan: Plan, provenance: Provenance
    ) -> tuple[list[Score], list[Score]]:
        """Frame scores and series scores, zero-shot first, then each probe's."""
        modalities = {series.series_instance_uid: series.modality for series in plan.series}
        spaces = {
            series.series_instance_uid: embedding_space(provenance.weights, provenance.presets[series.preset])
            for series in plan.series
        }
        of_frames = self._zero_shot.score(embeddings, modalities) if self._zero_shot else []
        of_series: list[Score] = []
        for probe in self.probes:
            made = probe.score(embeddings, spaces)
            of_frames += [score for score in made if score.derivation is None]
            of_series += [score for score in made if score.derivation is not None]
        return of_frames, [*series_scores(of_frames, derivation=self.derivation), *of_series]

    def _companions(
        self, report: Dataset, running: _Running, plan: Plan, joined: Sequence[Score], provenance: Provenance
    ) -> list[Dataset]:
        """What is sent beside the report: the best frame of each series as the model saw it, and the rest of `companions`."""
        if not self.companions:
            return []
        headers = {header.sop_instance_uid: header.dataset for header in running.study.headers}
        shown = []
        for series in plan.series:
            mine = [s for s in joined if s.series_instance_uid == series.series_instance_uid]
            if not mine:
                continue
            ranked = sorted(mine, key=lambda s: -s.value)
            (frame,) = [f for f in series.frames if f.key == ranked[0].frame]
            pixels = SeriesRenderer(load_preset(series.preset), series.reference_frames).render(frame).pixels
            self._progress()
            shown.append(key_frame(frame.key, pixels, ranked, headers[frame.key.sop_instance_uid]))
        return make_companions(
            self.companions, report, running.study.revision, headers, shown, running.embeddings, provenance
        )

    def labels_above(self, scores: Sequence[Score]) -> frozenset[str]:
        """Names of the labels of which a score reaches the label's threshold; a label without one is never above."""
        thresholds = {label.name: label.threshold for label in self._labels().labels}
        return frozenset(s.label for s in scores if (t := thresholds.get(s.label)) is not None and s.value >= t)

    def _labels(self) -> LabelSet:
        """All labels that scores may have: the label set's and the probes'."""
        probed = tuple(label for probe in self.probes for label in probe.report_labels)
        if self.label_set is None:
            return LabelSet("none", "", probed, ScoreKind.PROBE_PROBABILITY)
        return replace(self.label_set, labels=self.label_set.labels + probed)

    def _report(
        self,
        revision: Revision,
        plan: Plan,
        headers: Mapping[str, Dataset],
        scores: Sequence[Score],
        provenance: Provenance,
    ) -> Dataset:
        return build_report(
            revision,
            plan,
            headers,
            scores,
            self._labels(),
            provenance,
            sop_class_uid=SR_CLASSES[self.sop_class],
            key_frames=self.key_frames,
        )

    def provenance(self, plan: Plan) -> Provenance:
        """Everything that can change a number of this plan's results."""
        chosen = {series.preset: load_preset(series.preset) for series in plan.series}
        presets = {name: preset.digest for name, preset in chosen.items()}
        return Provenance(
            encoder=self.encoder.name,
            weights=self.encoder.weights,
            precision=self.encoder.precision,
            presets=presets,
            selection=self.selection or "; ".join(sorted({series.selection for series in plan.series})),
            label_set=f"{self.label_set.name} {self.label_set.version}" if self.label_set else "none",
            label_set_digest=self.label_set.digest if self.label_set else "",
            software=f"dicom_pipeline {version('dicom-pipeline')}",
            extra={
                "rules": self.rules.digest,
                "resize": "; ".join(sorted({preset.resize for preset in chosen.values()})),
                "series_score": self.derivation.value,
                "key_frames": str(self.key_frames),
                "batch": str(self.batch_size),
                **{f"probe {probe.name}": probe.digest for probe in self.probes},
            },
            notice=self.encoder.notice,
        )

    def _items(
        self, studies: Iterable[StudyInput | None], running: deque[_Running]
    ) -> Iterator[tuple[tuple[_Running, Rendering], Pixels] | None]:
        """The renderings of all studies, in order, made ahead by threads; None where the batch must not wait."""
        with ThreadPoolExecutor(self.render_threads, thread_name_prefix="render") as pool:
            ahead: deque[tuple[_Running, Frame, Future[Rendering]]] = deque()
            for study in studies:
                if study is None:
                    yield from self._drain(ahead, 0)
                    yield None
                    continue
                state = self._open(study)
                running.append(state)
                for series in state.plan.series:
                    renderer = SeriesRenderer(load_preset(series.preset), series.reference_frames)
                    for frame in series.frames:
                        ahead.append((state, frame, pool.submit(renderer.render, frame)))
                        yield from self._drain(ahead, max(8, 2 * self.batch_size))
            yield from self._drain(ahead, 0)

    def _drain(
        self, ahead: deque[tuple[_Running, Frame, Future[Rendering]]], keep: int
    ) -> Iterator[tuple[tuple[_Running, Rendering], Pixels]]:
        """Give out finished renderings, oldest first, until at most `keep` are under way."""
        while len(ahead) > keep:
            self._progress()
            state, frame, future = ahead.popleft()
            try:
                rendering = future.result()  # a frame whose decoder hangs is waited for here, in silence
            except InstanceError as error:
                state.failures.append(error.excluded_frame(frame))
                state.outstanding -= 1
                continue
            yield (state, rendering), rendering.pixels

    def _open(self, study: StudyInput) -> _Running:
        plan = self.plan(study.headers) if study.headers else Plan(study.revision.study_instance_uid, ())
        plan = replace(plan, left_out=plan.left_out + study.left_out)
        shown = plan.frames[:: max(1, -(-len(plan.frames) // self.keep_renderings))] if self.keep_renderings else ()
        return _Running(study, plan, outstanding=len(plan.frames), kept=frozenset(frame.key for frame in shown))

    def _content_of(self, frame: Frame) -> float:
        """As content_of, for the `body` selection, which looks at each frame of a series."""
        self._progress()
        return content_of(frame)

    def _vectors_of(self, frames: Sequence[Frame], preset: str) -> npt.NDArray[np.float32]:
        """Embeddings (N, D) of frames, for the `diverse` selection; a frame that cannot be rendered gets zeros."""
        vectors = np.zeros((len(frames), self.encoder.dimension), np.float32)
        by_series: dict[str, list[int]] = {}
        for index, frame in enumerate(frames):
            by_series.setdefault(frame.series_instance_uid, []).append(index)
        for indices in by_series.values():
            renderer = SeriesRenderer(load_preset(preset), [frames[i] for i in indices][:: -(-len(indices) // 32)])
            for start in range(0, len(indices), self.batch_size):
                made = self._rendered(renderer, frames, indices[start : start + self.batch_size])
                if made:
                    vectors[list(made)] = self.encoder.encode_images(np.stack(list(made.values())))
                self._progress()
        return vectors

    def _rendered(self, renderer: SeriesRenderer, frames: Sequence[Frame], indices: Sequence[int]) -> dict[int, Pixels]:
        """Renderings by index; frames that fail are absent here, and get their reason where they are rendered to be used."""
        made = {}
        for index in indices:
            self._progress()
            try:
                made[index] = renderer.render(frames[index]).pixels
            except InstanceError:
                continue
        return made


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
        series.append(replace(each, frames=kept, left_out=each.left_out + items))
    return replace(plan, series=tuple(series))
