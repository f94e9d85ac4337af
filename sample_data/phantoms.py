"""Drawings of anatomy from geometry: chest CT slices, brain MR slices and chest radiographs, with findings on demand.

Everything is an ellipse or an arc on the square -1..1 (x to the image's right, y down), so a finding's place is known. The
drawings train and test the shipped `phantom` model and make the sample studies; they mean nothing about patients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float32]

FINDINGS: dict[str, tuple[str, ...]] = {
    "chest CT": ("nodule", "pleural effusion", "cardiomegaly"),
    "brain MR": ("lesion", "enlarged ventricles"),
    "chest X-ray": ("nodule", "pleural effusion", "cardiomegaly"),
}
"""What can be drawn: kind of image -> its findings."""


@dataclass(frozen=True)
class Ranges:
    """Where the random geometry comes from; held-out phantoms use others than those trained on."""

    body: tuple[float, float] = (0.90, 1.05)
    tilt: tuple[float, float] = (-0.06, 0.06)
    nodule: tuple[float, float] = (0.09, 0.16)
    noise: tuple[float, float] = (0.5, 1.5)


@dataclass
class Patient:
    """One drawn patient: sizes, and the findings with their places.

    findings: finding -> (x, y, z, radius); z from 0 (feet side) to 1 (head side) is None for radiographs.
    """

    kind: str
    scale: float
    tilt: float
    noise: float
    seed: int
    findings: dict[str, tuple[float, float, float, float]] = field(default_factory=dict)


def draw_patient(kind: str, wanted: set[str], seed: int, ranges: Ranges | None = None) -> Patient:
    """A random patient with just the wanted findings."""
    ranges = ranges or Ranges()
    rng = np.random.default_rng(seed)
    patient = Patient(
        kind, rng.uniform(*ranges.body), rng.uniform(*ranges.tilt), rng.uniform(*ranges.noise), int(rng.integers(2**31))
    )
    side = rng.choice([-1.0, 1.0])
    for finding in FINDINGS[kind]:
        spread = rng.uniform(-1, 1, 3)
        radius = rng.uniform(*ranges.nodule)
        if finding not in wanted:
            continue
        if finding == "nodule":
            y = -0.12 + 0.18 * spread[1] if kind == "chest CT" else -0.15 + 0.25 * spread[1]
            patient.findings[finding] = (side * (0.42 + 0.06 * spread[0]), y, 0.5 + 0.15 * spread[2], radius)
        elif finding == "lesion":
            angle = spread[0] * np.pi
            place = (0.36 * np.cos(angle), 0.42 * np.sin(angle))
            patient.findings[finding] = (*place, 0.5 + 0.12 * spread[2], radius + 0.05)
        elif finding == "pleural effusion":
            patient.findings[finding] = (side, 0.3, 0.25, 0.55 + 0.15 * spread[1])
        else:
            patient.findings[finding] = (0.0, 0.0, 0.5, 1.35 + 0.1 * spread[0])
    return patient


class Canvas:
    """A square of float32 values on which shapes are laid over one another."""

    def __init__(self, size: int, background: float, patient: Patient) -> None:
        axis = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / size * 2 - 1
        cos, sin = np.float32(np.cos(patient.tilt)), np.float32(np.sin(patient.tilt))
        self.x = (cos * axis[None, :] + sin * axis[:, None]) / np.float32(patient.scale)
        self.y = (cos * axis[:, None] - sin * axis[None, :]) / np.float32(patient.scale)
        self.soft = np.float32(3.0 / size)
        self.values = np.full((size, size), background, np.float32)

    def inside(self, x: float, y: float, rx: float, ry: float) -> Image:
        """Share of each pixel inside an ellipse, with an edge about a pixel wide."""
        distance = np.sqrt(((self.x - x) / rx) ** 2 + ((self.y - y) / ry) ** 2)
        return np.clip((1 - distance) * min(rx, ry) / self.soft + 0.5, 0, 1).astype(np.float32)

    def lay(self, mask: Image, value: float) -> None:
        """Put a value where the mask is."""
        self.values += mask * (np.float32(value) - self.values)


def ct_slice(patient: Patient, z: float, size: int = 512) -> Image:
    """Chest CT in HU, (size, size), at height z in 0..1: fat, muscle, ribs, spine, lungs, heart, aorta, table."""
    canvas = Canvas(size, -1000, patient)
    lay, inside = canvas.lay, canvas.inside
    lay(inside(0, 0.82, 1.4, 0.05), -200)
    lay(inside(0, 0, 0.88, 0.66), -100)
    lay(inside(0, 0, 0.82, 0.60), 45)
    top = np.float32(np.clip(1.15 - 1.3 * max(z - 0.45, 0) - 0.9 * max(0.25 - z, 0), 0.2, 1.1))
    lungs = np.maximum(inside(-0.42, -0.02, 0.32 * top, 0.47 * top), inside(0.42, -0.02, 0.32 * top, 0.47 * top))
    lay(lungs, -860)
    vessels = np.random.default_rng(patient.seed).uniform(-1, 1, (14, 3))
    for vx, vy, vr in vessels:
        lay(inside(np.sign(vx) * 0.40 + 0.16 * vx, 0.3 * vy, 0.012 + 0.008 * abs(vr), 0.014) * lungs, -150)
    heart = np.clip(1 - ((z - 0.38) / 0.34) ** 2, 0, 1) ** 0.5
    big = patient.findings.get("cardiomegaly", (0, 0, 0, 1.0))[3]
    if heart > 0:
        lay(inside(0.10, -0.12, 0.30 * heart * big, 0.25 * heart * big), 50)
    if z > 0.68:
        lay(inside(0.0, -0.05, 0.20, 0.24), 30)
        lay(inside(0.02, 0.02, 0.05, 0.06), -950)
    lay(inside(0.08, 0.30, 0.075, 0.075), 60)
    lay(inside(0, 0.42, 0.13, 0.11), 500)
    lay(inside(0, 0.42, 0.10, 0.08), 180)
    lay(inside(0, 0.55, 0.035, 0.09), 450)
    lay(inside(0, -0.555, 0.09, 0.03), 350)
    for angle in np.linspace(0.35, np.pi - 0.35, 6) + 0.25 * z:
        for side in (-1, 1):
            lay(inside(side * 0.78 * np.sin(angle), -0.55 * np.cos(angle), 0.05, 0.035), 480)
    if "pleural effusion" in patient.findings and z < 0.62:
        side, _, _, depth = patient.findings["pleural effusion"]
        lung = inside(side * 0.42, -0.02, 0.32 * top, 0.47 * top)
        level = 0.47 * top - depth * (0.8 - z)
        lay(lung * (canvas.y > level), 12)
    if "nodule" in patient.findings:
        x, y, at, radius = patient.findings["nodule"]
        here = 1 - ((z - at) / (radius * 1.2)) ** 2
        if here > 0:
            lay(inside(x, y, radius * here**0.5, radius * here**0.5), 40)
    return canvas.values + _noise(patient, size, 18 * patient.noise, z)


def mr_slice(patient: Patient, z: float, size: int = 256, weighting: str = "T1") -> Image:
    """Brain MR, arbitrary units from 0, (size, size), at height z in 0..1: scalp, skull, grey and white matter, ventricles."""
    t2 = weighting == "T2"
    canvas = Canvas(size, 0, patient)
    lay, inside = canvas.lay, canvas.inside
    around = np.float32(np.clip(1 - ((z - 0.42) / 0.75) ** 2, 0.05, 1) ** 0.5)
    rx, ry = 0.70 * around, 0.88 * around
    lay(inside(0, 0, rx, ry), 620 if t2 else 900)
    lay(inside(0, 0, rx - 0.06, ry - 0.06), 60)
    lay(inside(0, 0, rx - 0.11, ry - 0.11), 950 if t2 else 180)
    lay(inside(0, 0, rx - 0.14, ry - 0.14), 560 if t2 else 480)
    folds = 0.5 + 0.5 * np.sin(26 * np.arctan2(canvas.y, canvas.x) + patient.seed % 7)
    lay(inside(0, 0, rx - 0.14, ry - 0.14) * (1 - inside(0, 0, rx - 0.21, ry - 0.21)) * folds.astype(np.float32), 430)
    for side in (-1, 1):
        lay(inside(side * 0.25 * around, 0, 0.24 * around, 0.55 * around), 400 if t2 else 680)
    lay(inside(0, 0, 0.012, ry - 0.16), 800 if t2 else 250)
    big = 1.9 * patient.findings["enlarged ventricles"][3] / 1.35 if "enlarged ventricles" in patient.findings else 1.0
    if 0.3 < z < 0.75:
        for side in (-1, 1):
            lay(inside(side * 0.09 * big**0.5, -0.16, 0.05 * big, 0.17 * big**0.6), 950 if t2 else 150)
            lay(inside(side * 0.12 * big**0.5, 0.18, 0.05 * big, 0.16 * big**0.6), 950 if t2 else 150)
    if "lesion" in patient.findings:
        x, y, at, radius = patient.findings["lesion"]
        here = 1 - ((z - at) / (radius * 1.3)) ** 2
        if here > 0:
            lay(inside(x, y, radius * 1.3 * here**0.5, radius * 1.3 * here**0.5), 700 if t2 else 560)
            lay(inside(x, y, radius * here**0.5, radius * here**0.5), 1000 if t2 else 960)
    rng = np.random.default_rng((patient.seed, int(z * 1e6)))
    sigma = 16 * patient.noise
    noisy = np.hypot(canvas.values + rng.normal(0, sigma, (size, size)), rng.normal(0, sigma, (size, size)))
    return noisy.astype(np.float32)  # Rician, as magnitude images are


def radiograph(patient: Patient, size: int = 1024) -> Image:
    """Chest radiograph, arbitrary units (bright = dense), (size, size): lungs, heart, ribs, clavicles, diaphragm."""
    canvas = Canvas(size, 60, patient)
    lay, inside = canvas.lay, canvas.inside
    lay(inside(0, 0.35, 0.90, 1.3), 620)
    lay(inside(0, -0.95, 0.22, 0.35), 640)
    for side in (-1, 1):
        lay(inside(side * 0.40, -0.02, 0.31, 0.66), 240)
    lay(np.clip((canvas.y - 0.42 - 0.16 * (canvas.x / 0.9) ** 2) * 18, 0, 1) * inside(0, 0.35, 0.88, 1.25), 760)
    for level in np.linspace(-0.55, 0.45, 8):
        for side in (-1, 1):
            bow = level + 0.30 * (np.abs(canvas.x) - 0.1) ** 2 + 0.1 * np.abs(canvas.x)
            band = (
                np.clip(1 - np.abs(canvas.y - bow) / 0.022, 0, 1) * (side * canvas.x > 0.08) * (np.abs(canvas.x) < 0.74)
            )
            canvas.values += np.float32(70) * band.astype(np.float32)
    for side in (-1, 1):
        band = np.clip(1 - np.abs(canvas.y + 0.66 - 0.14 * np.abs(canvas.x)) / 0.03, 0, 1) * (side * canvas.x > 0.06)
        canvas.values += np.float32(110) * (band * (np.abs(canvas.x) < 0.7)).astype(np.float32)
    lay(inside(0, 0.0, 0.13, 0.95) * np.float32(0.85), 780)
    big = patient.findings.get("cardiomegaly", (0, 0, 0, 1.0))[3]
    lay(inside(0.13 * big, 0.24, 0.27 * big, 0.27 * big**0.5) * np.float32(0.9), 760)
    if "pleural effusion" in patient.findings:
        side, _, _, depth = patient.findings["pleural effusion"]
        level = 0.62 - depth - 0.35 * (np.abs(canvas.x) - 0.4) * 1.2
        region = inside(side * 0.42, 0.05, 0.36, 0.75) * np.clip((canvas.y - level) * 14, 0, 1)
        lay(region.astype(np.float32), 740)
    if "nodule" in patient.findings:
        x, y, _, radius = patient.findings["nodule"]
        canvas.values += np.float32(330) * inside(x, y, radius, radius)
    return np.maximum(canvas.values + _noise(patient, size, 12 * patient.noise, 0.0), 0)


def _noise(patient: Patient, size: int, sigma: float, z: float) -> Image:
    rng = np.random.default_rng((patient.seed, int(z * 1e6), size))
    return rng.normal(0, sigma, (size, size)).astype(np.float32)


DRAW: dict[str, Callable[..., Image]] = {"chest CT": ct_slice, "brain MR": mr_slice}
"""Kinds that are drawn slice by slice."""
