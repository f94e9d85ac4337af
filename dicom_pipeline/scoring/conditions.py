"""Which images a label set, or one of its labels, applies to: conditions on what the images say of themselves.

A condition on a trait that an image does not state is not met, unless it names the empty value (`""` in a list, a pattern that
matches nothing, `unknown = true` in a range). So nothing is scored on a guess, and what may be guessed is written down.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dicom_pipeline.domain import AppliesTo, Condition, ImageTraits
from dicom_pipeline.errors import LabelSetError

TRAITS = {
    "modality": "modality",
    "body_part": "body part",
    "description": "description",
    "view": "view",
    "laterality": "laterality",
    "age": "patient's age",
}
"""What a condition may be on, by its key in a label set -> its name for a person."""

FIELDS = {"age": "age_years"}
"""Field of ImageTraits of a key, where it has another name."""

MAX_NAMED = 4
"""So many of the values that were expected are named in a sentence."""

MAX_PATTERN = 60
"""Characters of a pattern that are shown in a sentence."""

KEYS = {FIELDS.get(key, key): key for key in TRAITS}
"""Field of ImageTraits -> its key."""


def conditions_from(where: str, value: Any) -> AppliesTo:
    """The value of `applies_to`: one table of conditions, or a list of them as alternatives. Raises LabelSetError."""
    tables = [value] if isinstance(value, Mapping) else value
    if not isinstance(tables, list) or not all(isinstance(table, Mapping) and table for table in tables):
        raise LabelSetError(f"{where}: applies_to must be a table of conditions, or a list of such tables")
    return tuple(tuple(_condition(where, key, wanted) for key, wanted in table.items()) for table in tables)


def applies(alternatives: AppliesTo, traits: ImageTraits) -> bool:
    """Whether an image meets every condition of one of the alternatives; any image does where there are none."""
    return not alternatives or any(all(holds(one, traits) for one in each) for each in alternatives)


def holds(condition: Condition, traits: ImageTraits) -> bool:
    """Whether an image meets a condition."""
    found = getattr(traits, condition.trait)
    if condition.values:
        return found.casefold() in condition.values
    if condition.pattern is not None:
        return re.search(condition.pattern, found) is not None
    if found is None:
        return condition.unknown
    low, high = condition.minimum, condition.maximum
    return (low is None or found >= low) and (high is None or found <= high)


def reason_against(alternatives: AppliesTo, traits: ImageTraits) -> str:
    """Why an image meets none of the alternatives, "" where it does. Names no description, no age: they may identify."""
    if applies(alternatives, traits):
        return ""
    expected: dict[str, dict[str, None]] = {}
    for each in alternatives:
        unmet = next(one for one in each if not holds(one, traits))
        expected.setdefault(unmet.trait, {})[_expected(unmet)] = None
    return "; ".join(_sentence(trait, list(texts), traits) for trait, texts in expected.items())


def conditions_text(alternatives: AppliesTo) -> str:
    """The alternatives for a person, "" where there are none."""
    texts = (", ".join(f"{TRAITS[KEYS[one.trait]]} {_expected(one)}" for one in each) for each in alternatives)
    return "; or ".join(texts)


def _condition(where: str, key: str, wanted: Any) -> Condition:
    if key not in TRAITS:
        raise LabelSetError(f"{where}: applies_to: unknown trait {key!r}; known are {', '.join(TRAITS)}")
    trait = FIELDS.get(key, key)
    if key == "age":
        return _range(where, trait, wanted)
    if isinstance(wanted, str):
        try:
            re.compile(wanted)
        except re.error as error:
            raise LabelSetError(f"{where}: applies_to.{key}: not a regular expression: {error}") from error
        return Condition(trait, pattern=wanted)
    if isinstance(wanted, list) and wanted and all(isinstance(value, str) for value in wanted):
        return Condition(trait, values=tuple(value.strip().casefold() for value in wanted))
    raise LabelSetError(f"{where}: applies_to.{key}: expected a pattern or a list of values, found {wanted!r}")


def _range(where: str, trait: str, wanted: Any) -> Condition:
    numbers = dict(wanted) if isinstance(wanted, Mapping) else {}
    unknown = numbers.pop("unknown", False)
    if not numbers or set(numbers) - {"min", "max"} or not isinstance(unknown, bool):
        raise LabelSetError(
            f"{where}: applies_to.age: expected {{ min = YEARS, max = YEARS }}, either of them, and unknown = true where an "
            f"image that states no age is meant too; found {wanted!r}"
        )
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in numbers.values()):
        raise LabelSetError(f"{where}: applies_to.age: min and max are numbers of years, found {wanted!r}")
    return Condition(trait, minimum=numbers.get("min"), maximum=numbers.get("max"), unknown=unknown)


def _sentence(trait: str, expected: list[str], traits: ImageTraits) -> str:
    """Why the conditions on one trait are not met. expected: what each of them wants."""
    found, name = getattr(traits, trait), TRAITS[KEYS[trait]]
    if trait == "age_years" and found is not None:
        return f"{name} is not {' or '.join(expected)}"
    if trait == "description" and found:
        return f"no description is {' or '.join(expected)}"
    return f"{name} {found or 'not stated'}, expected {' or '.join(expected)}"


def _expected(condition: Condition) -> str:
    if condition.values:
        named = [value.upper() or "none" for value in condition.values]
        more = f" or {len(named) - MAX_NAMED} others" if len(named) > MAX_NAMED else ""
        return " or ".join(named[:MAX_NAMED]) + more
    if (pattern := condition.pattern) is not None:
        return f"like {pattern}" if len(pattern) <= MAX_PATTERN else f"like {pattern[: MAX_PATTERN - 3]}..."
    low, high = condition.minimum, condition.maximum
    if low is None or high is None:
        span = f"{high:g} years or less" if low is None else f"{low:g} years or more"
    else:
        span = f"{low:g} to {high:g} years"
    return span + (" or not stated" if condition.unknown else "")
