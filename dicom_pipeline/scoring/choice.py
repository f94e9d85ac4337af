"""Which label sets score which series: those of the first score rule that holds, else those of the settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dicom_pipeline.domain import Label, LabelSet, Plan, SeriesPlan
from dicom_pipeline.errors import LabelSetError
from dicom_pipeline.scoring.applicability import Applicability, applicability
from dicom_pipeline.scoring.label_sets import load_label_set

NO_LABEL_SET = "none"
"""Name in the settings where only probes score."""


@dataclass(frozen=True, slots=True)
class LabelChoice:
    """The label sets of a run. default: for series that no score rule takes. by_rule: those that score rules name.

    A set may be in both. Names are unique, and so is each label's among all sets.
    """

    default: tuple[LabelSet, ...] = ()
    by_rule: tuple[LabelSet, ...] = ()

    @classmethod
    def load(cls, default: Sequence[str | Path], by_rule: Iterable[str] = ()) -> LabelChoice:
        """Shipped sets by name, others by path; "none" for no default. Raises LabelSetError.

        Labels of one name in several sets get the set's name behind theirs, since their prompts and codes differ.
        """
        first = _loaded(default)
        second = _loaded(by_rule)
        every = {label_set.name: label_set for label_set in (*first, *second)}
        if any(every[label_set.name] != label_set for label_set in first):
            raise LabelSetError(f"two label sets have one name: {', '.join(sorted(every))}; rename one of the files")
        names = Counter(label.name for label_set in every.values() for label in label_set.labels)
        shared = {name for name, count in names.items() if count > 1}
        return cls(tuple(_distinct(x, shared) for x in first), tuple(_distinct(x, shared) for x in second))

    @property
    def sets(self) -> tuple[LabelSet, ...]:
        """Every label set once."""
        return tuple({label_set.name: label_set for label_set in (*self.default, *self.by_rule)}.values())

    @property
    def labels(self) -> tuple[Label, ...]:
        """The labels of all sets."""
        return tuple(label for label_set in self.sets for label in label_set.labels)

    def sets_for(self, series: SeriesPlan) -> tuple[LabelSet, ...]:
        """The label sets of a series, of which labels may still not apply to its images."""
        if series.label_sets is None:
            return self.default
        known = {label_set.name: label_set for label_set in self.by_rule}
        return tuple(known[name] for name in series.label_sets)

    def applicability(self, plan: Plan) -> dict[str, tuple[Applicability, ...]]:
        """Series Instance UID -> what each of its label sets is to it."""
        return {
            series.series_instance_uid: tuple(applicability(x, series.frames) for x in self.sets_for(series))
            for series in plan.series
        }


def _loaded(names: Iterable[str | Path]) -> list[LabelSet]:
    found: dict[str, LabelSet] = {}
    for name in names:
        if str(name) == NO_LABEL_SET:
            continue
        label_set = load_label_set(name)
        if found.setdefault(label_set.name, label_set) != label_set:
            raise LabelSetError(f"two label sets are called {label_set.name}; rename one of the files")
    return list(found.values())


def _distinct(label_set: LabelSet, shared: set[str]) -> LabelSet:
    """The set with its name behind the names of labels that other sets have too."""
    labels = (
        replace(label, name=f"{label.name} [{label_set.name}]") if label.name in shared else label
        for label in label_set.labels
    )
    return replace(label_set, labels=tuple(labels))
