"""The rule table: which series are used, their preset and selection. A TOML file; data/rules.toml is the default."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from pydicom.datadict import tag_for_keyword

from dicom_pipeline.dicom.attributes import first_number
from dicom_pipeline.domain import Reason, digest_of
from dicom_pipeline.errors import RuleError
from dicom_pipeline.planning.headers import Header
from dicom_pipeline.planning.selection import Selection, parse_selection
from dicom_pipeline.planning.stack_choice import EACH_CONTRAST, STACKS

ONE_OF_SEVERAL = ("all", "thin", "thick")


@dataclass(frozen=True, slots=True)
class Condition:
    """What one attribute must be: a pattern found in it, one of several values, or a number in a range."""

    keyword: str
    pattern: re.Pattern[str] | None = None
    values: frozenset[str] = frozenset()
    minimum: float | None = None
    maximum: float | None = None

    def holds(self, header: Header) -> bool:
        """Whether the instance meets the condition; a missing attribute meets only patterns that match nothing."""
        text = header.text(self.keyword)
        if self.pattern is not None:
            return self.pattern.search(text) is not None
        if self.values:
            return text in self.values
        number = first_number(text.split("\\")[0])
        if number is None:
            return False
        return (self.minimum is None or number >= self.minimum) and (self.maximum is None or number <= self.maximum)


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Series that are left out, and why."""

    conditions: tuple[Condition, ...]
    reason: Reason


@dataclass(frozen=True, slots=True)
class RenderRule:
    """Preset, selection and stacks of the series that meet the conditions."""

    conditions: tuple[Condition, ...]
    preset: str
    selection: Selection
    stacks: str = EACH_CONTRAST


@dataclass(frozen=True, slots=True)
class ScoreRule:
    """The label sets of the series that meet the conditions: names of shipped sets, or paths of TOML files; may be none."""

    conditions: tuple[Condition, ...]
    label_sets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """The whole table.

    prefer_axial: modalities of which other planes are used only where no axial stack shows their volume. keep: reasons that
    are lifted, such as secondary-capture. score: which label sets score which series. digest: sha256 of what it says.
    """

    version: str
    exclude: tuple[Exclusion, ...]
    render: tuple[RenderRule, ...]
    max_series: int
    one_of_several: str
    prefer_axial: frozenset[str]
    keep: frozenset[Reason]
    digest: str
    score: tuple[ScoreRule, ...] = ()

    def exclusion_reason(self, header: Header) -> Reason | None:
        """The reason of the first exclusion that holds."""
        return next((rule.reason for rule in self.exclude if _all_hold(rule.conditions, header)), None)

    def render_rule(self, header: Header) -> RenderRule | None:
        """The first render rule that holds; None where the table takes no such series."""
        return next((rule for rule in self.render if _all_hold(rule.conditions, header)), None)

    @property
    def named_label_sets(self) -> tuple[str, ...]:
        """Every label set that a score rule names, as it is given there."""
        return tuple(dict.fromkeys(text for rule in self.score for text in rule.label_sets))

    def label_sets_for(self, header: Header) -> tuple[str, ...] | None:
        """Names of the label sets of the first score rule that holds; None where none does."""
        rule = next((rule for rule in self.score if _all_hold(rule.conditions, header)), None)
        return None if rule is None else tuple(label_set_name(text) for text in rule.label_sets)


def label_set_name(name_or_path: str) -> str:
    """What a label set is called that is given by its name or by the path of its TOML file."""
    return Path(name_or_path).stem if name_or_path.endswith(".toml") else name_or_path


def default_rules() -> Rules:
    """The shipped table."""
    return load_rules(None)


def load_rules(path: Path | None, keep: Sequence[str] = ()) -> Rules:
    """A table from a file, the shipped one without; keep: reasons to lift besides those of the table. Raises RuleError."""
    try:
        file = resources.files("dicom_pipeline") / "data" / "rules.toml" if path is None else path
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RuleError(f"cannot read the rule table {path}: {error}") from error
    folder = Path() if path is None else path.parent
    return rules_from(table | {"keep": [*table.get("keep", ()), *keep]} if keep else table, folder)


def rules_from(table: Mapping[str, Any], folder: Path = Path()) -> Rules:
    """A table of plain values. folder: where relative paths of label sets start. Raises RuleError naming the entry."""
    if unknown := set(table) - {"version", "exclude", "series", "render", "score", "keep"}:
        known = "exclude, series, render, score, keep, version"
        raise RuleError(f"rule table: unknown keys {sorted(unknown)}; known are {known}")
    series = dict(table.get("series", {}))
    limit = series.pop("most", 24)
    several = series.pop("one_of_several", "all")
    axial = series.pop("prefer_axial", ["CT"])
    if (
        series
        or not isinstance(limit, int)
        or limit < 1
        or several not in ONE_OF_SEVERAL
        or not isinstance(axial, list)
    ):
        raise RuleError(
            f"[series]: expected most (1 or more), one_of_several ({', '.join(ONE_OF_SEVERAL)}) and prefer_axial "
            '(a list of modalities such as ["CT"])'
        )
    return Rules(
        version=str(table.get("version", "1")),
        exclude=tuple(_exclusion(i, e) for i, e in enumerate(table.get("exclude", ()), 1)),
        render=tuple(_render_rule(i, e) for i, e in enumerate(table.get("render", ()), 1)),
        max_series=limit,
        one_of_several=several,
        prefer_axial=frozenset(str(modality) for modality in axial),
        keep=frozenset(_reason(code, "keep") for code in table.get("keep", ())),
        digest=digest_of(dict(table)),
        score=tuple(_score_rule(i, e, folder) for i, e in enumerate(table.get("score", ()), 1)),
    )


def _exclusion(number: int, entry: Mapping[str, Any]) -> Exclusion:
    values = dict(entry)
    reason = _reason(values.pop("reason", Reason.SERIES_NOT_CHOSEN.value), f"[[exclude]] {number}")
    return Exclusion(_conditions(values, f"[[exclude]] {number}"), reason)


def _render_rule(number: int, entry: Mapping[str, Any]) -> RenderRule:
    values, where = dict(entry), f"[[render]] {number}"
    try:
        preset, selection = values.pop("preset"), values.pop("selection", "all")
    except KeyError:
        raise RuleError(f"{where}: has no preset") from None
    stacks = values.pop("stacks", EACH_CONTRAST)
    if stacks not in STACKS:
        raise RuleError(f"{where}: stacks is {stacks!r}; expected one of {', '.join(STACKS)}")
    return RenderRule(_conditions(values, where), preset, parse_selection(selection), stacks)


def _score_rule(number: int, entry: Mapping[str, Any], folder: Path) -> ScoreRule:
    values, where = dict(entry), f"[[score]] {number}"
    names = values.pop("label_sets", None)
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise RuleError(f"{where}: expected label_sets, a list of names of label sets or of paths of TOML files")
    paths = (str(folder / name) if name.endswith(".toml") else name for name in names)
    return ScoreRule(_conditions(values, where), tuple(paths))


def _conditions(values: Mapping[str, Any], where: str) -> tuple[Condition, ...]:
    return tuple(_condition(keyword, value, where) for keyword, value in values.items())


def _condition(keyword: str, value: Any, where: str) -> Condition:
    if tag_for_keyword(keyword) is None:
        raise RuleError(f"{where}: {keyword!r} is not a DICOM keyword (PS3.6)")
    if isinstance(value, str):
        try:
            return Condition(keyword, pattern=re.compile(value))
        except re.error as error:
            raise RuleError(f"{where}: {keyword}: not a regular expression: {error}") from error
    if isinstance(value, list) and value:
        return Condition(keyword, values=frozenset(str(v) for v in value))
    if isinstance(value, Mapping) and value and set(value) <= {"min", "max"}:
        minimum, maximum = (float(value[k]) if k in value else None for k in ("min", "max"))
        return Condition(keyword, minimum=minimum, maximum=maximum)
    raise RuleError(f"{where}: {keyword}: expected a pattern, a list of values or {{min, max}}, found {value!r}")


def _reason(code: str, where: str) -> Reason:
    try:
        return Reason.of(code)
    except KeyError:
        raise RuleError(f"{where}: no reason {code!r}; see docs/selection.md") from None


def _all_hold(conditions: tuple[Condition, ...], header: Header) -> bool:
    return all(condition.holds(header) for condition in conditions)
