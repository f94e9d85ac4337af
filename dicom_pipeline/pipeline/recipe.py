"""The recipe: everything that may change a number or a byte of a result, as one frozen value.

The pipeline reads its choices from the recipe and from nowhere else, and the recipe makes the provenance that reports,
scores and store rows carry. So what is written down is what was done.

How fast a result comes (threads, progress, how many renderings are handed back) is no part of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from importlib.util import find_spec

from dicom_pipeline.config import Settings
from dicom_pipeline.domain import Derivation, LabelSet, Plan, Provenance, Score, ScoreKind
from dicom_pipeline.encoders import Encoder
from dicom_pipeline.errors import ConfigError, FingerprintError
from dicom_pipeline.imaging import load_preset
from dicom_pipeline.pipeline.software import build_identity, distribution_of, library_versions
from dicom_pipeline.planning import Rules, default_rules, load_rules
from dicom_pipeline.scoring import NO_LABEL_SET, LabelChoice, Probe, Reference, load_probe, load_reference

SR_CLASSES: Mapping[str, str] = {
    "comprehensive-3d": "1.2.840.10008.5.1.4.1.1.88.34",
    "comprehensive": "1.2.840.10008.5.1.4.1.1.88.33",
    "enhanced": "1.2.840.10008.5.1.4.1.1.88.22",
}
"""The report classes by their name in the settings, richest first."""


@dataclass(frozen=True, slots=True)
class EncoderIdentity:
    """What of an encoder decides its embeddings, to the bit.

    batch_size is part of it: matrix kernels add in an order that depends on the shape, and every pass has this shape.
    package: name and version of the distribution whose code it is, "" for ours, which the recipe's build covers.
    """

    name: str
    weights: str
    precision: str
    batch_size: int
    notice: str = ""
    package: str = ""

    @classmethod
    def of(cls, encoder: Encoder) -> EncoderIdentity:
        """The identity of a loaded encoder."""
        return cls(
            name=encoder.name,
            weights=encoder.weights,
            precision=encoder.precision,
            batch_size=encoder.batch_size,
            notice=encoder.notice,
            package=distribution_of(type(encoder)),
        )


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that may change a number or a byte.

    label_sets: what is scored, and which series by which set. scores_all_alike: the label sets were chosen for every series, so
    that the score rules of the table do not count. reference: by which frames are out of domain. preset, selection: one
    choice for every series instead of the rule table's. derivation: how frame scores become a series score. key_frames:
    frames with the highest scores that get a group of their own in the report. sop_class: a name of SR_CLASSES.
    companions: objects to make beside the report, by name. versions, build: the software; see `pipeline.software`.

    Raises ConfigError for a companion that needs a library which is not installed, FingerprintError for a probe that was
    fitted on another encoder's embeddings.
    """

    encoder: EncoderIdentity
    label_sets: LabelChoice = field(default_factory=LabelChoice)
    scores_all_alike: bool = False
    probes: tuple[Probe, ...] = ()
    reference: Reference | None = None
    rules: Rules = field(default_factory=default_rules)
    preset: str | None = None
    selection: str | None = None
    derivation: Derivation = Derivation.MAX
    key_frames: int = 3
    sop_class: str = "comprehensive-3d"
    companions: tuple[str, ...] = ()
    versions: tuple[tuple[str, str], ...] = field(default_factory=library_versions)
    build: str = field(default_factory=build_identity)

    def __post_init__(self) -> None:
        if "pdf" in self.companions and find_spec("reportlab") is None:
            raise ConfigError("report.companions: a PDF needs reportlab: pip install 'dicom-pipeline[pdf]'")
        for probe in self.probes:
            probe.check_encoder(self.encoder.weights, self.encoder.name)

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        encoder: Encoder,
        *,
        label_set: str | Sequence[str] | None = None,
        preset: str | None = None,
        selection: str | None = None,
    ) -> Recipe:
        """The recipe of the settings for a loaded encoder; keyword arguments win over the settings.

        label_set: one or several, for every series, whatever the settings and the score rules of the rule table say.

        Raises LabelSetError, RuleError, ProbeError, ConfigError or FingerprintError.
        """
        rules = load_rules(settings.planning.rules_file, settings.planning.keep)
        chosen = (label_set,) if isinstance(label_set, str) else tuple(label_set or ())
        if chosen:
            rules = replace(rules, score=())
        return cls(
            encoder=EncoderIdentity.of(encoder),
            label_sets=LabelChoice.load(chosen or settings.scoring.chosen, rules.named_label_sets),
            scores_all_alike=bool(chosen),
            probes=tuple(load_probe(folder) for folder in settings.scoring.probes),
            reference=load_reference(getattr(encoder, "reference_file", None), encoder.weights),
            rules=rules,
            preset=preset or settings.planning.preset,
            selection=selection or settings.planning.selection,
            derivation=Derivation(settings.scoring.derivation),
            key_frames=settings.report.key_frames,
            sop_class=settings.report.sop_class,
            companions=tuple(settings.report.companions),
        )

    @property
    def sop_class_uid(self) -> str:
        """SOP Class UID of the report."""
        return SR_CLASSES[self.sop_class]

    @property
    def labels(self) -> LabelSet:
        """All labels that scores may have: the label sets' and the probes'."""
        probed = tuple(label for probe in self.probes for label in probe.report_labels)
        sets = self.label_sets.sets
        kind = sets[0].kind if sets else ScoreKind.PROBE_PROBABILITY
        name = "; ".join(label_set.name for label_set in sets) or NO_LABEL_SET
        return LabelSet(name, "", self.label_sets.labels + probed, kind)

    def labels_above(self, scores: Sequence[Score]) -> frozenset[str]:
        """Names of the labels of which a score reaches the label's threshold; a label without one is never above."""
        thresholds = {label.name: label.threshold for label in self.labels.labels}
        return frozenset(s.label for s in scores if (t := thresholds.get(s.label)) is not None and s.value >= t)

    def check_encoder(self, encoder: Encoder) -> None:
        """Raise FingerprintError where `encoder` is not the one that the recipe names."""
        if (found := EncoderIdentity.of(encoder)) != self.encoder:
            raise FingerprintError(f"the recipe is for the encoder {self.encoder}, and this one is {found}")

    def provenance(self, plan: Plan) -> Provenance:
        """Everything that can change a number or a byte of this plan's results."""
        presets = {series.preset: load_preset(series.preset) for series in plan.series}
        return Provenance(
            encoder=self.encoder.name,
            weights=self.encoder.weights,
            precision=self.encoder.precision,
            presets={name: preset.digest for name, preset in presets.items()},
            selection=self.selection or "; ".join(sorted({series.selection for series in plan.series})),
            label_set=_named(self.label_sets.default) or NO_LABEL_SET,
            label_set_digest="; ".join(label_set.digest for label_set in self.label_sets.default),
            software=f"dicom_pipeline {version('dicom-pipeline')}",
            build=self.build,
            versions=dict(self.versions),
            extra=self._extra("; ".join(sorted({preset.resize for preset in presets.values()}))),
            notice=self.encoder.notice,
        )

    def _extra(self, resize: str) -> dict[str, str]:
        """The settings that have no field of their own in the provenance. resize: the resizes of the plan's presets."""
        values = {
            "rules": self.rules.digest,
            "resize": resize,
            "series_score": self.derivation.value,
            "key_frames": str(self.key_frames),
            "batch": str(self.encoder.batch_size),
            "encoder package": self.encoder.package,
            "sop_class": self.sop_class,
            "companions": ", ".join(self.companions),
            "preset for all series": self.preset or "",
            "selection for all series": self.selection or "",
            "label sets for all series": "yes" if self.scores_all_alike else "",
            "label sets by rule": _named(self.label_sets.by_rule),
            "digests of label sets by rule": "; ".join(label_set.digest for label_set in self.label_sets.by_rule),
            "domain reference": self.reference.digest if self.reference else "",
            "probes": "; ".join(f"{probe.name} {probe.digest}" for probe in self.probes),
        }
        return {name: value for name, value in values.items() if value}


def _named(label_sets: Sequence[LabelSet]) -> str:
    """Names and versions of label sets."""
    return "; ".join(f"{label_set.name} {label_set.version}" for label_set in label_sets)
