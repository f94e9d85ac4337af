"""Presets: named, versioned rendering recipes, one TOML file each in data/presets/.

A name may carry a parameter after a colon: `ct-single:lung`, `ct-single:1500/-600` (width/level in HU).
"""

from __future__ import annotations

import functools
import tomllib
from dataclasses import asdict, dataclass, replace
from importlib import resources
from typing import Any

from dicom_pipeline.domain import digest_of
from dicom_pipeline.errors import PresetError

METHODS = ("windows", "percentile", "minmax", "voi", "colour", "serving")
RESIZES = ("tf-bilinear", "pil-bilinear", "pil-bicubic", "antialias")
GEOMETRIES = ("pad-square", "stretch")

NAMED_WINDOWS: dict[str, tuple[float, float]] = {
    "lung": (1500.0, -600.0),
    "mediastinum": (400.0, 40.0),
    "abdomen": (400.0, 50.0),
    "brain": (80.0, 40.0),
    "bone": (1800.0, 400.0),
}
"""Width and level in HU of windows that radiologists call by these names."""


@dataclass(frozen=True, slots=True)
class Preset:
    """How stored pixels become a rendering.

    method: `windows` (fixed, in modality units), `percentile` and `minmax` (of the stack), `voi` (the object's own), `colour`,
        `serving` (Google's serving container).
    windows: (width, level) of one grey or three colour channels. percentiles: low and high, in percent.
    square_pixels: correct non-square pixels before the resize.
    """

    name: str
    version: str
    description: str
    method: str
    windows: tuple[tuple[float, float], ...] = ()
    percentiles: tuple[float, float] = (0.5, 99.5)
    geometry: str = "pad-square"
    resize: str = "tf-bilinear"
    square_pixels: bool = True
    source: str = ""

    @property
    def digest(self) -> str:
        """Sha256 (hex) of everything that changes a pixel; descriptions aside."""
        values = asdict(self)
        for name in ("description", "source"):
            del values[name]
        return digest_of(values)


def list_presets() -> tuple[Preset, ...]:
    """All shipped presets by name; those that take a parameter stand with their default."""
    files = sorted(f.name for f in _folder().iterdir() if f.name.endswith(".toml"))
    return tuple(load_preset(name.removesuffix(".toml")) for name in files)


@functools.cache
def load_preset(name: str) -> Preset:
    """A preset by name, with or without a parameter. Raises PresetError that lists what there is."""
    stem, _, parameter = name.partition(":")
    file = _folder() / f"{stem}.toml"
    if not stem.replace("-", "").isalnum() or not file.is_file():
        known = ", ".join(sorted(f.name.removesuffix(".toml") for f in _folder().iterdir() if f.name.endswith(".toml")))
        raise PresetError(f"no preset called {name!r}; there are: {known}")
    preset = preset_from(stem, tomllib.loads(file.read_text(encoding="utf-8")))
    return _with_parameter(preset, name, parameter) if parameter else preset


def preset_from(name: str, values: dict[str, Any]) -> Preset:
    """A preset of its file's values. Raises PresetError naming what is wrong."""
    known = set(Preset.__dataclass_fields__) - {"name"}
    if unknown := set(values) - known:
        raise PresetError(f"preset {name}: unknown keys {sorted(unknown)}; known are {sorted(known)}")
    try:
        windows = tuple((float(width), float(level)) for width, level in values.pop("windows", ()))
        percentiles = values.pop("percentiles", (0.5, 99.5))
        preset = Preset(name=name, windows=windows, percentiles=(percentiles[0], percentiles[1]), **values)
    except (TypeError, ValueError, IndexError) as error:
        raise PresetError(f"preset {name}: {error}") from error
    for value, allowed in ((preset.method, METHODS), (preset.geometry, GEOMETRIES), (preset.resize, RESIZES)):
        if value not in allowed:
            raise PresetError(f"preset {name}: {value!r} is none of {', '.join(allowed)}")
    if preset.method == "windows" and (len(windows) not in (1, 3) or any(width <= 0 for width, _ in windows)):
        raise PresetError(f"preset {name}: expected one or three windows of positive width, found {list(windows)}")
    return preset


def _with_parameter(preset: Preset, name: str, parameter: str) -> Preset:
    if preset.method != "windows" or len(preset.windows) != 1:
        raise PresetError(f"preset {preset.name} takes no parameter; found {name!r}")
    if parameter in NAMED_WINDOWS:
        window = NAMED_WINDOWS[parameter]
    else:
        try:
            width, level = (float(part) for part in parameter.split("/"))
        except ValueError:
            named = ", ".join(NAMED_WINDOWS)
            raise PresetError(f"{name!r}: expected {named}, or width/level in HU such as 1500/-600") from None
        window = (width, level)
        if width <= 0:
            raise PresetError(f"{name!r}: the width must be positive")
    return replace(preset, name=name, windows=(window,))


def _folder() -> Any:
    return resources.files("dicom_pipeline") / "data" / "presets"
