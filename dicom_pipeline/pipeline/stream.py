"""Revisions in -> results out: the stages as one chain.

    plan -> render (processes, ahead) -> encode (one model, batches across studies) -> score -> report

`Pipeline.process` is a stream: it takes studies as they come and yields results in the same order, with memory bounded
by the batch, not by the study. `Pipeline.process_study` is its one-study case.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

from dicom_pipeline.config import Settings, load_settings
from dicom_pipeline.domain import Embedding, InstanceError, Pixels, Plan, Rendering
from dicom_pipeline.encoders import CachedTexts, Encoder, encode_stream, load_encoder
from dicom_pipeline.imaging import load_preset
from dicom_pipeline.imaging.decoding.packed import PackedFile
from dicom_pipeline.pipeline.measures import FrameMeasures
from dicom_pipeline.pipeline.recipe import Recipe
from dicom_pipeline.pipeline.renderers import Renderers
from dicom_pipeline.pipeline.renderings import Task, render_ahead
from dicom_pipeline.pipeline.study_result import EncodedStudy, StudyResult, study_result
from dicom_pipeline.planning import Header, StudyInput, plan_study, study_inputs
from dicom_pipeline.scoring import ZeroShot

MIN_AHEAD = 8
"""Renderings made ahead of the encoder at least; two batches, or four for each render process, where that is more."""


class Pipeline:
    """The stages, one resident encoder, and the recipe that they follow.

    renderers: the processes that decode and render ahead of the encoder; the pipeline's own where none are given, which
        `close`, or leaving a `with`, ends.
    keep_renderings: how many renderings of a study, evenly over its frames, the result hands back (600 kB each).
    progress: called by the thread that takes the results whenever a frame or a batch is through.

    Raises FingerprintError where the recipe is for another encoder, NoTextTowerError or PromptTooLongError where the
    encoder cannot embed a label set.
    """

    def __init__(
        self,
        encoder: Encoder,
        recipe: Recipe,
        *,
        renderers: Renderers | None = None,
        keep_renderings: int = 0,
        progress: Callable[[], object] = lambda: None,
    ) -> None:
        recipe.check_encoder(encoder)
        self.encoder = encoder
        self.recipe = recipe
        self.renderers = renderers or Renderers()
        self.keep_renderings = keep_renderings
        self._progress = progress
        self._measures = FrameMeasures(encoder, self.renderers, progress)
        texts = CachedTexts(encoder)
        self._zero_shot = tuple(ZeroShot(texts, label_set) for label_set in recipe.label_sets.sets)

    @classmethod
    def from_config(
        cls,
        config: Settings | Path | str | None = None,
        *,
        model: str | None = None,
        label_set: str | Sequence[str] | None = None,
        preset: str | None = None,
        selection: str | None = None,
        keep_renderings: int = 0,
        progress: Callable[[], object] = lambda: None,
    ) -> Pipeline:
        """A pipeline from settings or a TOML file (defaults without one); keyword arguments win over the file.

        Loads the model. Raises ConfigError, ModelError, LabelSetError, PresetError or RuleError.
        """
        settings = config if isinstance(config, Settings) else load_settings(config)
        renderers = Renderers.from_settings(settings.rendering)
        renderers.start()  # they are ready by the time that the model is
        encoder = load_encoder(
            model or settings.encoder.model,
            device=settings.encoder.device,
            dtype=settings.encoder.dtype,
            revision=settings.encoder.revision,
            batch_size=settings.encoder.batch_size,
        )
        return cls(
            encoder,
            Recipe.from_settings(settings, encoder, label_set=label_set, preset=preset, selection=selection),
            renderers=renderers,
            keep_renderings=keep_renderings,
            progress=progress,
        )

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """End the processes that render."""
        self.renderers.close()

    def plan(self, headers: Sequence[Header]) -> Plan:
        """The plan of one study; decodes pixels only for selections that ask for them."""
        return plan_study(
            headers,
            self.recipe.rules,
            selection=self.recipe.selection,
            preset=self.recipe.preset,
            content=self._measures.content,
            vectors=self._measures.vectors,
        )

    def process_study(self, paths: Iterable[Path | str]) -> StudyResult:
        """Process files and folders that hold one study. Raises ValueError where they hold none or several."""
        results = list(self.process_paths(paths))
        if len(results) != 1:
            raise ValueError(f"expected the files of one study, found {len(results)}; use process_paths for several")
        return results[0]

    def process_paths(self, paths: Iterable[Path | str]) -> Iterator[StudyResult]:
        """Process every study in files and folders; one result a study."""
        yield from self.process(study_inputs(paths, self.renderers.same_content))

    def process(self, studies: Iterable[StudyInput | None]) -> Iterator[StudyResult]:
        """Process a stream of studies; results come in its order.

        A None in the stream says that nothing waits now: what is on the way is finished before the next is asked for.
        """
        running: deque[EncodedStudy] = deque()
        for item in encode_stream(self.encoder, self._items(studies, running)):
            self._progress()
            if item is not None:
                (study, rendering), vector = item
                study.embeddings.append(Embedding(rendering.frame, vector))
                if rendering.frame.key in study.shown:
                    study.renderings.append(rendering)
                study.outstanding -= 1
            while running and running[0].outstanding == 0:
                yield self._result(running.popleft())
        while running:
            yield self._result(running.popleft())

    def _result(self, study: EncodedStudy) -> StudyResult:
        return study_result(study, self.recipe, self._zero_shot, self.renderers, self._progress)

    def _items(
        self, studies: Iterable[StudyInput | None], running: deque[EncodedStudy]
    ) -> Iterator[tuple[tuple[EncodedStudy, Rendering], Pixels] | None]:
        """The renderings of all studies, in order; None where the batch must not wait. A failure is the study's own."""
        made_ahead = render_ahead(
            self._tasks(studies, running),
            depth=max(MIN_AHEAD, 2 * self.encoder.batch_size, 4 * self.renderers.processes),
            progress=self._progress,
        )
        for made in made_ahead:
            if made is None:
                yield None
                continue
            study, frame, rendering = made
            if isinstance(rendering, InstanceError):
                study.failures.append(rendering.excluded_frame(frame))
                study.outstanding -= 1
            else:
                yield (study, rendering), rendering.pixels

    def _tasks(
        self, studies: Iterable[StudyInput | None], running: deque[EncodedStudy]
    ) -> Iterator[Task[EncodedStudy] | None]:
        """What is to be rendered, frame by frame; each study is planned when its turn comes."""
        for item in studies:
            if item is None:
                yield None
                continue
            study = self._planned(item)
            running.append(study)
            for series in study.plan.series:
                frames = self.renderers.series(load_preset(series.preset), series.reference_frames, study.packed)
                for frame in series.frames:
                    yield study, frames, frame

    def _planned(self, study: StudyInput) -> EncodedStudy:
        packed = {header.path: PackedFile.of(header.file) for header in study.headers}
        plan = self.plan(study.headers) if study.headers else Plan(study.revision.study_instance_uid, ())
        plan = replace(plan, excluded=plan.excluded + study.excluded)
        shown = plan.frames[:: max(1, -(-len(plan.frames) // self.keep_renderings))] if self.keep_renderings else ()
        shown_keys = frozenset(frame.key for frame in shown)
        return EncodedStudy(study, plan, packed, len(plan.frames), shown=shown_keys)
