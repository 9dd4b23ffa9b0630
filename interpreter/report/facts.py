"""What a page says of a product: read from its file alone."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from f2yaml.interpreter.dq import MEANING
from f2yaml.interpreter.errors import F2Error
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.framerows import FrameRow, frame_rows
from f2yaml.interpreter.pixels import Array

#: A frame is marked where it lies farther than this from the median, in robust sigmas.
OUTLIER = 3.5
#: Fewest frames of which one can be told to be odd.
_FEWEST = 5


#: Cards of final products, and what these are in words.
FINAL = {
    "PROCDARK": "processed dark", "PROCFLAT": "processed flat", "PROCBPM": "bad pixel mask",
    "PROCSCI": "science image",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Measure:
    """A number of each frame that has a chart, with the name of its axis.

    `floor` is the smallest departure from the median that is marked; it is a share of the median
    where `relative`. `high_only`: small values are good news.
    """

    key: str
    title: str
    axis: str
    unit: str
    decimals: int
    floor: float
    relative: bool = False
    high_only: bool = False


MEASURES = (
    Measure("fwhm", "Seeing (median FWHM of stars)", "FWHM", "arcsec", 3, 0.1, True, True),
    Measure("sky_level", "Sky level", "sky level", "", 1, 0.02, True),
    Measure("transparency", "Transparency (star fluxes)", "transparency", "first = 1", 4, 0.03),
    Measure("align_rms", "Alignment residual", "rms of matches", "pix", 4, 0.02, False, True),
    Measure("wcs_error", "Correction of the header position", "correction", "arcsec", 3, 0.5,
            False, True),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bit:
    """A cause for which pixels are flagged: bit, words, how many pixels, how many by it alone."""

    bit: int
    words: str
    pixels: int
    alone: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """A processed calibration: kind, file, checksum, date, and age in days at the exposures."""

    kind: str
    name: str
    md5: str
    date: str
    ages: tuple[float, ...]
    frames: int
    why: str


def members(frame: Frame) -> tuple[FrameRow, ...]:
    """Return the rows of a stack, or one for a frame that is none."""
    if frame.members:
        return frame.members
    try:
        row = frame_rows([frame])[0]
    except (F2Error, ValueError, TypeError):  # headers of another make
        return ()
    return (row,)


def columns(frame: Frame, rows: Sequence[FrameRow]) -> dict[str, list[float]]:
    """Return the numbers of the frames by name; those that are derived for charts as well."""
    try:
        scale = frame.wcs.pixel_scale()
    except F2Error:
        scale = math.nan
    found: dict[str, list[float]] = {}
    for row in rows:
        values = {k: float(v) for k, v in asdict(row).items() if isinstance(v, int | float)}
        values["wcs_error"] = math.hypot(row.wcs_dx, row.wcs_dy) * scale
        values["east"], values["north"] = on_sky(frame, row)
        for key, value in values.items():
            found.setdefault(key, []).append(value)
    return found


def on_sky(frame: Frame, row: FrameRow) -> tuple[float, float]:
    """Return where a frame points from the first, arcsec to the East and North; NaN if unknown."""
    if math.isnan(row.dx + row.dy):
        return math.nan, math.nan
    try:
        (a, b), (c, d) = frame.wcs.cd
    except F2Error:
        return math.nan, math.nan
    # The grid is that of the first frame: its linear part turns pixels into standard coordinates.
    return 3600 * (a * row.dx + b * row.dy), 3600 * (c * row.dx + d * row.dy)


def outliers(measure: Measure, values: Sequence[float]) -> list[bool]:
    """Return which values are far from the others: by scatter, and by more than a floor."""
    known = [v for v in values if math.isfinite(v)]
    if len(known) < _FEWEST:
        return [False] * len(values)
    middle = statistics.median(known)
    sigma = 1.4826 * statistics.median(abs(v - middle) for v in known)
    floor = measure.floor * (abs(middle) if measure.relative else 1.0)
    limit = max(OUTLIER * sigma, floor)
    return [
        math.isfinite(v) and (v - middle if measure.high_only else abs(v - middle)) > limit
        for v in values
    ]


def flags(mask: Array) -> tuple[int, int, list[Bit]]:
    """Return the number of pixels, of those without any flag, and the count of each bit."""
    counts = np.bincount(mask.ravel(), minlength=1)
    present = np.flatnonzero(counts)
    found = []
    for bit in [2**n for n in range(16)]:
        having = present[(present & bit) != 0]
        if having.size:
            words = MEANING.get(bit, "a bit that has no meaning here")
            alone = int(counts[bit]) if bit < counts.size else 0
            found.append(Bit(bit, words, int(counts[having].sum()), alone))
    return int(mask.size), int(counts[0]), found


def calibrations(frame: Frame, rows: Sequence[FrameRow]) -> list[Calibration]:
    """Return the calibrations of the frames, with their age when the frames were exposed."""
    sums = {row.filename: row.md5 for row in frame.provenance}
    why = {
        fact.value.partition(": ")[0]: fact.value.partition(": ")[2]
        for run in frame.runs
        for fact in run.facts
        if fact.kind == "calibration"
    }
    used: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        for kind, name, date in (
            ("processed dark", row.dark, row.dark_date),
            ("processed flat", row.flat, row.flat_date),
        ):
            if name:
                used.setdefault((kind, name, date), []).append(_days(date, row.date_obs))
    return [
        Calibration(kind, name, sums.get(name, ""), date, tuple(ages), len(ages), why.get(name, ""))
        for (kind, name, date), ages in used.items()
    ]


def _days(earlier: str, later: str) -> float:
    try:
        span = datetime.fromisoformat(later) - datetime.fromisoformat(earlier)
    except (ValueError, TypeError):
        return math.nan
    return span.total_seconds() / 86400


def kind_of(path: Path, frame: Frame) -> str:
    """Return what a product is, in words."""
    for key, words in FINAL.items():
        if key in frame.phu:
            return words
    _, _, suffix = path.name.split(".")[0].partition("_")
    if "PREPARE" not in frame.phu:
        return "raw frame"
    return f"after {suffix}" if suffix else "prepared frame"


def describe(frame: Frame, name: str, otherwise: Any = None) -> Any:
    """Return a descriptor in plain form; headers of another make may have none."""
    try:
        value = frame.describe(name, pretty=True)
    except (F2Error, ValueError, TypeError, KeyError):
        return otherwise
    return otherwise if value is None else value


def typical_noise(variance: Array, mask: Array) -> float:
    """Return the root of the median variance of pixels without a flag; NaN if there is none."""
    good = np.isfinite(variance) & (variance > 0)
    if mask.size:
        good &= mask == 0
    values = variance[good]
    return math.sqrt(float(np.median(values))) if values.size else math.nan


def header_cards(header: Any) -> list[tuple[str, str, str]]:
    """Return keyword, value and comment of every card; of a broken one what can be read."""
    found = []
    for card in header.copy().cards:
        try:
            found.append((str(card.keyword), str(card.value), str(card.comment)))
        except (ValueError, OSError):
            found.append((str(card.rawkeyword), "(broken card)", ""))
    return found
