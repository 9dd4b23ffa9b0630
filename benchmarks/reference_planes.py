"""Compare planes of f2yaml's products with DRAGONS' cut-outs and percentiles."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

Array = np.ndarray[Any, np.dtype[Any]]

DARKS = [f"S20131120S{n:04d}" for n in range(115, 119)]
FRAMES = ("S20131121S0075", "S20131121S0079")
BPM = "S20131129S0320_bpm"
STEPS = {
    "prepare": "prepared",
    "addDQ": "dqAdded",
    "ADUToElectrons": "ADUToElectrons",
    "addVAR": "varAdded",
    "nonlinearityCorrect": "nonlinearityCorrected",
    "darkCorrect": "darkCorrected",
}
DARK = f"{DARKS[0]}_dark"
PRODUCTS = [DARK, *(f"{frame}_{suffix}" for frame in FRAMES for suffix in STEPS.values())]
#: Boxes of the cut-outs: first row, first column, 0-based; each is 320 x 320 pixels.
BOXES = {"centre": (900, 940), "edge": (60, 480)}
SIDE = 320
GAIN = 4.44  # electron/adu with one pair of reads
#: Relative agreement that counts as float precision: eight times the spacing of float32 at worst.
FLOAT = 1e-6
CIRCLE = (1055.0, 1049.9, 1054.4)  # y, x, radius of the illuminated part (spec: instrument, 4.9)
EDGE_PIX = 1.5  # the circle departs from DRAGONS' mask by at most this much (there, too)
EDGE_COUNT = 600  # and in this many pixels
BITS = (2, 4, 8, 16, 32, 64)
PERCENTILES = {"p01": 1, "p16": 16, "median": 50, "p84": 84, "p99": 99}
ROUNDING, DEPTH, RIM, UNKNOWN = "rounding", "well depth", "circle", "unexplained"


@dataclass
class PlaneResult:
    """Comparison of one plane of one product, in both boxes."""

    product: str
    plane: str
    pixels: int
    identical: float
    relative: float | None  # within FLOAT of DRAGONS' value
    precise: float | None  # within float precision of the numbers that went in
    quiet: float | None  # within a tenth of the noise
    worst: dict[str, Any] | None
    bits: dict[int, int]  # pixels in which a bit of DQ differs
    causes: dict[str, int] = field(default_factory=dict)


@dataclass
class StatisticsResult:
    """Comparison of one whole plane."""

    product: str
    plane: str
    largest: float | None  # difference of a percentile, in units of (p84 - p16) / 2
    bits: dict[int, tuple[int, int]]  # pixels with a bit of DQ: ours, DRAGONS'
    cause: str


@dataclass
class Rounding:
    """How the mean of a stack is rounded, where no sample was rejected."""

    plane: str
    pixels: int
    ours_nearest: float  # share of pixels that hold the float32 nearest to the exact mean
    theirs_nearest: float
    theirs_sequential: float  # share equal to a sum in float32, one frame after the other


def product_path(work: Path, product: str) -> Path:
    """Return where a product of `reduce_night` lies."""
    return work / f"{product}.fits" if product == DARK else work / "part1" / f"{product}.fits"


# pixels -------------------------------------------------------------------------------------


def boxes(plane: Array) -> Array:
    """Cut both boxes out of a whole plane; shape (2, 320, 320), native byte order."""
    cut = [plane[y : y + SIDE, x : x + SIDE] for y, x in BOXES.values()]
    made: Array = np.array(cut).astype(plane.dtype.newbyteorder("="))
    return made


def cutout(reference: Path, product: str, plane: str) -> Array | None:
    """Return DRAGONS' boxes of a plane; shape (2, 320, 320), or None if it has no such plane."""
    with np.load(reference / "cutouts" / f"{product}.npz") as stored:
        if f"{plane}_centre" not in stored:
            return None
        made: Array = np.array([stored[f"{plane}_{name}"] for name in BOXES])
        return made


def noise_of(reference: Path, product: str) -> Array:
    """Return DRAGONS' noise per pixel in the unit of the product; shape (2, 320, 320)."""
    variance, unit = cutout(reference, product, "VAR"), 1.0
    if variance is None:
        frame, _, suffix = product.partition("_")
        variance = cutout(reference, f"{frame}_varAdded", "VAR")
        unit = 1.0 if suffix == "ADUToElectrons" else GAIN
    assert variance is not None
    noise: Array = np.sqrt(variance.astype(float)) / unit
    return noise


def compare_planes(reference: Path, work: Path) -> Iterator[PlaneResult]:
    """Compare all planes of all products with the cut-outs."""
    for product in PRODUCTS:
        noise = noise_of(reference, product)
        mask = cutout(reference, product, "DQ")
        saturated = np.zeros(noise.shape, bool) if mask is None else (mask & 4) != 0
        operand = np.zeros(noise.shape)
        if product.endswith("_darkCorrected"):
            operand = np.abs(cutout(reference, DARK, "SCI")).astype(float)  # type: ignore[arg-type]
        with fits.open(product_path(work, product)) as hdus:
            for plane in ("SCI", "VAR", "DQ"):
                theirs = cutout(reference, product, plane)
                if theirs is None:
                    continue
                ours = boxes(hdus[plane].data)
                if plane == "DQ":
                    yield compare_bits(product, ours, theirs)
                else:
                    level = noise if plane == "SCI" else None
                    yield compare_values((product, plane), ours, theirs, level, operand, saturated)


def compare_values(
    name: tuple[str, str],
    ours: Array,
    theirs: Array,
    noise: Array | None,
    operand: Array,
    saturated: Array,
) -> PlaneResult:
    """Compare two planes of numbers; without `noise` they are variances.

    Float precision is relative to the largest of DRAGONS' value, its noise and what was subtracted
    from it. Of variances, the noises they stand for are compared with a tenth of the noise.
    """
    a, b = ours.astype(float), theirs.astype(float)
    apart = np.abs(a - b)
    scale = np.abs(b) if noise is None else np.maximum.reduce([np.abs(b), noise, operand])
    precise = apart <= FLOAT * scale
    if noise is None:
        quiet = np.abs(np.sqrt(a) - np.sqrt(b)) <= 0.1 * np.sqrt(b)
    else:
        quiet = apart <= 0.1 * noise
    causes = {
        ROUNDING: int((precise & (apart > 0)).sum()),
        DEPTH: int((~precise & saturated).sum()),
        UNKNOWN: int((~precise & ~saturated).sum()),
    }
    at = tuple(int(i) for i in np.unravel_index(apart.argmax(), apart.shape))
    y, x = list(BOXES.values())[at[0]]
    worst = {"y": y + at[1], "x": x + at[2], "ours": float(a[at]), "dragons": float(b[at])}
    return PlaneResult(
        *name,
        a.size,
        identical=float((apart == 0).mean()),
        relative=float((apart <= FLOAT * np.abs(b)).mean()),
        precise=float(precise.mean()),
        quiet=float(quiet.mean()),
        worst=worst if apart.any() else None,
        bits={},
        causes={cause: count for cause, count in causes.items() if count},
    )


def compare_bits(product: str, ours: Array, theirs: Array) -> PlaneResult:
    """Compare two DQ planes; bit 64 may differ along the edge of the illuminated circle."""
    differ = ours ^ theirs
    rim = (differ == 64) & near_circle()
    causes = {RIM: int(rim.sum()), UNKNOWN: int(((differ != 0) & ~rim).sum())}
    worst = None
    if differ.any():
        box, j, i = (int(k) for k in np.argwhere(differ)[0])
        y, x = list(BOXES.values())[box]
        values = {"ours": int(ours[box, j, i]), "dragons": int(theirs[box, j, i])}
        worst = {"y": y + j, "x": x + i, **values}
    return PlaneResult(
        product,
        "DQ",
        differ.size,
        identical=float((differ == 0).mean()),
        relative=None,
        precise=None,
        quiet=None,
        worst=worst,
        bits={bit: n for bit in (1, *BITS) if (n := int(((differ & bit) != 0).sum()))},
        causes={cause: count for cause, count in causes.items() if count},
    )


def near_circle() -> Array:
    """Return which pixels of the boxes lie within EDGE_PIX of the edge of illumination."""
    y, x = np.indices((2048, 2048), dtype=np.float32)
    radius = np.hypot(y - np.float32(CIRCLE[0]), x - np.float32(CIRCLE[1]))
    return boxes(np.abs(radius - np.float32(CIRCLE[2])) <= EDGE_PIX)


def compare_rounding(reference: Path, work: Path) -> Iterator[Rounding]:
    """Find out how both programs round the mean of the darks, from the frames that went in."""
    planes: dict[str, list[Array]] = {"SCI": [], "VAR": []}
    for name in DARKS:
        with fits.open(work / f"{name}_nonlinearityCorrected.fits") as hdus:
            for plane, held in planes.items():
                held.append(boxes(hdus[plane].data))
    data, variance = np.array(planes["SCI"]), np.array(planes["VAR"])
    kept = (np.abs(data - np.median(data, axis=0)) <= 3 * np.sqrt(variance)).all(axis=0)
    mask = cutout(reference, DARK, "DQ")
    assert mask is not None
    kept &= mask == 0
    with fits.open(product_path(work, DARK)) as hdus:
        for plane, held in planes.items():
            count = np.float32(len(held))
            divisor = count if plane == "SCI" else count * count
            exact = (np.sum(held, axis=0, dtype=float) / float(divisor)).astype(np.float32)
            sequential = held[0]
            for samples in held[1:]:
                sequential = sequential + samples
            theirs = cutout(reference, DARK, plane)
            assert theirs is not None
            ours = boxes(hdus[plane].data)
            yield Rounding(
                plane,
                int(kept.sum()),
                ours_nearest=float((ours == exact)[kept].mean()),
                theirs_nearest=float((theirs == exact)[kept].mean()),
                theirs_sequential=float((theirs == sequential / divisor)[kept].mean()),
            )


# whole planes -------------------------------------------------------------------------------


def compare_statistics(reference: Path, work: Path) -> Iterator[StatisticsResult]:
    """Compare percentiles and counts of quality bits of whole planes."""
    listed = json.loads((reference / "statistics.json").read_text(encoding="utf-8"))
    for product in PRODUCTS:
        if product not in listed:
            continue
        with fits.open(product_path(work, product)) as hdus:
            for plane, theirs in listed[product].items():
                ours = hdus[plane].data
                if plane == "DQ":
                    yield whole_bits(product, ours, theirs["counts"])
                else:
                    yield whole_percentiles((product, plane), ours, theirs)


def whole_percentiles(
    name: tuple[str, str], ours: Array, theirs: dict[str, float]
) -> StatisticsResult:
    """Compare five percentiles; one may move by the rounding of the pixels near it."""
    found = np.percentile(ours.astype(np.float32), list(PERCENTILES.values()))
    stored = np.array([theirs[key] for key in PERCENTILES])
    sigma = (stored[3] - stored[1]) / 2
    largest = float(np.max(np.abs(found - stored)) / sigma)
    within = largest <= FLOAT * max(1.0, float(np.max(np.abs(stored))) / sigma)
    cause = "" if largest == 0 else ROUNDING if within else UNKNOWN
    return StatisticsResult(*name, largest, {}, cause)


def whole_bits(product: str, ours: Array, theirs: dict[str, int]) -> StatisticsResult:
    """Compare counts of bits, except bit 1: outside the boxes the bad-pixel mask is not known."""
    counts = {
        bit: (int(np.count_nonzero(ours & bit)), sum(n for v, n in theirs.items() if int(v) & bit))
        for bit in BITS
    }
    differ = {bit for bit, (a, b) in counts.items() if a != b}
    cause = ""
    if differ:
        rim = differ == {64} and abs(counts[64][0] - counts[64][1]) <= EDGE_COUNT
        cause = RIM if rim else UNKNOWN
    return StatisticsResult(product, "DQ", None, {b: c for b, c in counts.items() if any(c)}, cause)
