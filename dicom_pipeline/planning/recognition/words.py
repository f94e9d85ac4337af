"""The words by which images are recognised, from data/selection.toml, and how a text is searched for them.

A text is compared without case, accents and punctuation, and by its parts: letters and digits apart, so that `MIP_COR`
holds MIP and `Loc3Plane` holds 3 PLANE. Sources of the words: the comments of the file.
"""

from __future__ import annotations

import functools
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Self

from dicom_pipeline.domain import Reason

LONGEST_RUN = 4
"""Parts of a text that may make one word together: T, 2, STAR, MAP."""

NO_SPACES_FROM = "\u1100"
"""Scripts from here on (Korean, Japanese, Chinese) write words without spaces: they are searched within a part."""


@dataclass(frozen=True, slots=True)
class WordList:
    """Words to search for. exact: whole parts; prefixes: beginnings of parts (written with *); inner: anywhere."""

    exact: frozenset[str]
    prefixes: tuple[str, ...]
    inner: tuple[str, ...]

    @classmethod
    def of(cls, words: Iterable[str]) -> Self:
        """A list of the words as a file has them."""
        plain = [("".join(parts_of(word)), word.endswith("*")) for word in words]
        return cls(
            exact=frozenset(word for word, prefix in plain if not prefix),
            prefixes=tuple(word for word, prefix in plain if prefix),
            inner=tuple(word for word, _ in plain if word[:1] >= NO_SPACES_FROM),
        )

    def find(self, text: str) -> str:
        """The first word that the text holds, as it stands there without punctuation; empty where it holds none."""
        parts = parts_of(text)
        for start in range(len(parts)):
            for end in range(min(len(parts), start + LONGEST_RUN), start, -1):
                run = "".join(parts[start:end])
                if run in self.exact or run.startswith(self.prefixes):
                    return " ".join(parts[start:end])
        return next((word for word in self.inner if word in "".join(parts)), "")

    def find_in(self, texts: Iterable[str]) -> str:
        """The first word that any of the texts holds, as `find` gives it."""
        return next((word for text in texts if (word := self.find(text))), "")

    def is_whole(self, text: str) -> bool:
        """Whether the text is one of the words and nothing else."""
        return "".join(parts_of(text)) in self.exact


@dataclass(frozen=True, slots=True)
class ImageTypeTerms:
    """What says one thing in Image Type. words: by themselves; weak, whole: only in a derived image."""

    reason: Reason
    words: WordList
    weak: WordList
    whole: WordList

    def find(self, value: str, *, derived: bool) -> str:
        """The word in one value of Image Type; empty where it has none. derived: whether value 1 is DERIVED."""
        found = self.words.find(value)
        if not found and derived:
            found = self.weak.find(value) or (value if self.whole.is_whole(value) else "")
        return found


@dataclass(frozen=True, slots=True)
class SelectionTerms:
    """Everything that data/selection.toml says.

    weak_localizer_names: which count only where the geometry agrees. trace, phase: values of Image Type of trace-weighted
    diffusion and of phase images. not_hounsfield: of CT maps; hounsfield_presets: presets that window in HU, and which
    one takes their place. weak_page_names: which count only in an image without a position. label_image_types,
    label_names: of pictures of a patient's label, in the modalities that may hold such pictures.
    """

    image_type: tuple[ImageTypeTerms, ...]
    localizer_names: WordList
    weak_localizer_names: WordList
    trace: WordList
    phase: WordList
    not_hounsfield: WordList
    hounsfield_types: WordList
    hounsfield_presets: frozenset[str]
    preset_without_hounsfield: str
    page_names: WordList
    weak_page_names: WordList
    label_modalities: frozenset[str]
    label_image_types: WordList
    label_names: WordList

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Self:
        """The words of the file's plain values."""
        return cls(
            image_type=tuple(
                ImageTypeTerms(Reason.of(code), *(WordList.of(entry.get(n, ())) for n in ("words", "weak", "whole")))
                for code, entry in table["image_type"].items()
            ),
            localizer_names=WordList.of(table["localizer"]["names"]),
            weak_localizer_names=WordList.of(table["localizer"]["weak"]),
            trace=WordList.of(table["contrast"]["trace"]),
            phase=WordList.of(table["contrast"]["phase"]),
            not_hounsfield=WordList.of(table["hounsfield"]["other_units"]),
            hounsfield_types=WordList.of(table["hounsfield"]["rescale_types"]),
            hounsfield_presets=frozenset(table["hounsfield"]["presets"]),
            preset_without_hounsfield=table["hounsfield"]["otherwise"],
            page_names=WordList.of(table["page"]["names"]),
            weak_page_names=WordList.of(table["page"]["weak"]),
            label_modalities=frozenset(table["patient_label"]["modalities"]),
            label_image_types=WordList.of(table["patient_label"]["image_type"]),
            label_names=WordList.of(table["patient_label"]["names"]),
        )

    def image_type_reason(self, values: Sequence[str]) -> tuple[Reason, str] | None:
        """What a word in value 3 or beyond of Image Type or Frame Type says of an image; None where there is none."""
        derived = values[:1] == ("DERIVED",)
        for words in self.image_type:
            found = next((word for value in values[2:] if (word := words.find(value, derived=derived))), None)
            if found:
                return words.reason, f"Image Type {found}"
        return None


def parts_of(text: str) -> list[str]:
    """The runs of letters and of digits in a text, in upper case and without accents."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return re.findall(r"[^\W\d_]+|\d+", plain.upper())


@functools.cache
def selection_terms() -> SelectionTerms:
    """The shipped words."""
    file = resources.files("dicom_pipeline") / "data" / "selection.toml"
    return SelectionTerms.of(tomllib.loads(file.read_text(encoding="utf-8")))
