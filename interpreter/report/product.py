"""The sections of a page that belong to one product."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from f2yaml.interpreter.dq import MEANING
from f2yaml.interpreter.errors import F2Error
from f2yaml.interpreter.fits import read_frame
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.framerows import FrameRow
from f2yaml.interpreter.report import charts, facts, page, runs
from f2yaml.interpreter.report.markup import Markup, element, joined, table
from f2yaml.interpreter.report.planes import Coded, planes_of

#: Colours of flags, as in viewer.js, in the order in which they win.
_FLAG_COLOURS = {
    16: "#787878", 64: "#565678", 1: "#d55e00", 8: "#f0e442", 4: "#009e73", 2: "#56b4e9",
    32: "#cc79a7",
}  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """A product as the page shows it."""

    path: Path
    frame: Frame
    rows: tuple[FrameRow, ...]
    planes: dict[str, Coded]
    noise: float
    factor: int
    flags: tuple[int, int, list[facts.Bit]] | None

    @property
    def kind(self) -> str:
        """What it is, in words."""
        return facts.kind_of(self.path, self.frame)

    @property
    def name(self) -> str:
        """What its elements are called."""
        return "p-" + re.sub(r"[^A-Za-z0-9]+", "-", self.path.name)


def shown(path: Path, most_pixels: int | None = None) -> Shown:
    """Read a product.

    Parameters
    ----------
    path : Path
    most_pixels : int, optional
        Pixels of its image on the page; blocks of pixels are averaged where it has more.

    Raises
    ------
    BadInput
        It cannot be read.
    """
    frame = read_frame(path)
    size = int(np.prod(frame.shape))
    factor = 1 if most_pixels is None else max(1, math.ceil(math.sqrt(size / most_pixels)))
    planes, variance, mask = planes_of(frame, factor)
    noise = facts.typical_noise(variance, mask) if variance.size else math.nan
    flags = facts.flags(mask) if mask.size else None
    return Shown(path, frame, facts.members(frame), planes, noise, factor, flags)


def head(product: Shown) -> Markup:
    """Return what the product is, in a line and in figures."""
    frame, rows = product.frame, product.rows
    begun, ended = (str(frame.phu.get(key, "")) for key in ("DATE-BEG", "DATE-END"))
    date = f"{begun[:19].replace('T', ' ')} to {ended[11:19]} UT" if begun else _date(frame)
    words = [product.kind, str(facts.describe(frame, "filter_name", "")), date]
    made = f"{frame.phu.get('PROCSOFT', '')} {frame.phu.get('PROCSVER', '')}".strip()
    words.append(f"by {made}" if made else "")
    return joined(
        (
            element("h1", frame.phu.get("OBJECT", "no OBJECT")),
            element("p", f"{product.path.name} · " + " · ".join(filter(None, words)), class_="sub"),
            page.keys(list(_figures(product, frame, rows))),
            page.notes(_comments(frame)),
        )
    )


def _date(frame: Frame) -> str:
    try:
        begun = frame.describe("ut_datetime")
    except (F2Error, ValueError, TypeError, KeyError):
        return ""
    return "" if begun is None else f"{begun:%Y-%m-%d %H:%M:%S} UT"


def _comments(frame: Frame) -> list[str]:
    return [str(line) for line in frame.phu["COMMENT"]] if "COMMENT" in frame.phu else []


def _figures(
    product: Shown, frame: Frame, rows: Sequence[FrameRow]
) -> Iterator[tuple[str, str, str]]:
    """Return name, value and unit of what there is to say in figures."""
    count, total = frame.phu.get("NCOMBINE"), frame.phu.get("TEXPTIME")
    if isinstance(count, int) and isinstance(total, int | float):
        yield "exposures", str(count), f"{total:g} s in all"
    elif isinstance(frame.phu.get("EXPTIME"), int | float):
        yield "exposure time", f"{frame.phu['EXPTIME']:g}", "s"
    ny, nx = frame.shape
    yield "size", f"{nx}×{ny}", "pixels"
    try:
        yield "scale", f"{frame.wcs.pixel_scale():.4f}", "arcsec / pixel"
    except F2Error:
        yield "scale", "–", "no coordinates"
    if math.isfinite(product.noise):
        yield "noise", f"{product.noise:.4g}", f"{frame.unit} / pixel, median"
    if isinstance(frame.sci.get("NOISECOR"), float):
        yield "correlation", f"× {frame.sci['NOISECOR']:.3f}", "noise of wide apertures"
    sizes = [row.fwhm for row in rows if math.isfinite(row.fwhm)]
    if sizes:
        yield "seeing", f"{float(np.median(sizes)):.3f}", "arcsec, median FWHM"
    for header, key, name, form, unit in (
        (frame.sci, "SKYLEVEL", "sky level", ".1f", frame.unit),
        (frame.phu, "MEANZP", "zero point", ".3f", "mag"),
        (frame.phu, "AIRMASS", "airmass", ".3f", ""),
    ):
        if isinstance(header.get(key), float):
            yield name, f"{header[key]:{form}}", unit
    if isinstance(frame.phu.get("REJSHARE"), float):
        yield "rejected", f"{100 * frame.phu['REJSHARE']:.2g} %", "of good samples"


def image(product: Shown, *, small: bool = False) -> Markup:
    """Return the viewer of a product."""
    frame, planes = product.frame, product.planes
    ny, nx = frame.shape
    meta: dict[str, Any] = {
        "nx": nx,
        "ny": ny,
        "block": product.factor,
        "unit": frame.unit,
        "planes": {name: plane.meta for name, plane in planes.items()},
        "meanings": list(MEANING.items()),
        "wcs": _wcs(frame),
    }
    # Positions are computed on whole pixels, whatever the blocks.
    known = planes["SCI"].meta
    accuracy = (
        f"Values are exact to {known['accuracy']:.2g} {frame.unit} "
        f"({100 * known['accuracy'] / known['noise']:.1f} % of the noise), noise to 0.2 %, flags "
        "and exposures fully."
    )
    if product.factor > 1:
        n = product.factor
        accuracy = (
            f"Each pixel shown is the mean of {n} × {n} pixels of the file without their bad ones "
            f"(noise: root of the mean variance; flags: of any of them). {accuracy}"
        )
    told = (
        f"Image of {frame.phu.get('OBJECT', product.path.name)}, {nx} by {ny} pixels; arrow keys "
        "move the cross, values are told beside it"
    )
    texts = {name: plane.text for name, plane in planes.items()}
    return page.viewer(
        product.name, told, meta, texts, planes["SCI"].exact, _legend(product), accuracy,
        small=small,
    )  # fmt: skip


def _wcs(frame: Frame) -> dict[str, Any] | None:
    try:
        wcs = frame.wcs
    except F2Error:
        return None
    return {"crpix": wcs.crpix, "crval": wcs.crval, "cd": wcs.cd}


def _legend(product: Shown) -> Markup:
    found = {bit.bit for bit in product.flags[2]} if product.flags else set()
    items = [
        element("li", _swatch(colour), element("span", f"{bit} {MEANING[bit]}"))
        for bit, colour in _FLAG_COLOURS.items()
        if bit in found
    ]
    return element("ul", *items, class_="legend", data_part="legend", hidden=True)


def _swatch(colour: str) -> Markup:
    square = element("rect", width=12, height=12, fill=colour)
    return element("svg", square, viewBox="0 0 12 12", aria_hidden="true")


# frames -----------------------------------------------------------------------------------------
_TABLE = (
    ("date_obs", "start (UT)", "", -1), ("exptime", "exposure", "s", 1),
    ("airmass", "airmass", "", 3), ("east", "East", "arcsec", 2), ("north", "North", "arcsec", 2),
    ("fwhm", "FWHM", "arcsec", 3), ("sky_level", "sky", "unit", 1),
    ("transparency", "transparency", "", 4), ("nsources", "sources", "", 0),
    ("aligned", "aligned by", "", -1), ("align_num", "matches", "", 0),
    ("align_rms", "residual", "pix", 4), ("wcs_error", "header was off", "arcsec", 3),
    ("scale", "scaled by", "", 4), ("weight", "weight", "", 5),
)  # fmt: skip


def frames(product: Shown) -> Markup:
    """Return the charts and the table of the frames."""
    rows = product.rows
    if not product.frame.members:
        return Markup()
    found = facts.columns(product.frame, rows)
    names = [row.name for row in rows]
    odd: dict[str, list[bool]] = {}
    pictures = [charts.dithers(names, found["east"], found["north"])]
    for measure in facts.MEASURES:
        values = found[measure.key]
        odd[measure.key] = facts.outliers(measure, values)
        unit = product.frame.unit if measure.key == "sky_level" else measure.unit
        pictures.append(
            charts.per_frame(
                (measure.title, measure.axis),
                unit,
                names,
                values,
                odd[measure.key],
                measure.decimals,
            )
        )
    odd["aligned"] = [row.aligned == "offsets" for row in rows]
    rule = (
        f"A frame is marked (diamond; bold with ▲ in the table) where it is more than "
        f"{facts.OUTLIER:g} robust standard deviations from the median of the frames, and by more "
        "than what matters: 10 % in seeing, 2 % in sky, 0.03 in transparency, 0.02 pixels in "
        "residual, 0.5 arcsec in position. So is one that was aligned by telescope offsets."
    )
    return joined(
        (
            element("div", *(p for p in pictures if p), class_="charts"),
            element("p", rule, class_="hint"),
            _frame_table(product, found, odd),
        )
    )


#: Columns that are told once where all frames have the same.
_SAME = {"scale": "scaled by", "weight": "of weight", "exptime": "exposed"}


def _frame_table(
    product: Shown, found: dict[str, list[float]], odd: dict[str, list[bool]]
) -> Markup:
    heads, kept, same = ["frame"], [], []
    for key, words, unit, decimals in _TABLE:
        values = found.get(key, [])
        if decimals >= 0 and not any(math.isfinite(v) and v != -1 for v in values):
            continue
        if key in _SAME and len(set(values)) == 1 and len(values) > 1:
            same.append(f"{_SAME[key]} {_number(values[0], decimals)} {unit}".rstrip())
            continue
        unit = product.frame.unit if unit == "unit" else unit
        heads.append(f"{words} [{unit}]" if unit else words)
        kept.append((key, decimals))
    lines = []
    for number, row in enumerate(product.rows):
        cells: list[object] = [row.name]
        for key, decimals in kept:
            if decimals < 0:
                told = str(getattr(row, key))[:19].replace("T", " ") or "–"
            else:
                told = _number(found[key][number], decimals)
            if odd.get(key, [False] * len(product.rows))[number]:
                cells.append(element("td", f"▲ {told}", class_="far"))
            else:
                cells.append(element("td", told, class_="n" if decimals >= 0 else None))
        lines.append(cells)
    told = "The frames of the stack, from its table FRAMES"
    if same:
        told += f"; all are {', '.join(same)}"
    return table(heads, lines, told, data_table="frames")


def _number(value: float, decimals: int) -> str:
    if not math.isfinite(value) or (decimals == 0 and value == -1):
        return "–"
    return f"{value:.{decimals}f}".replace("-", "−")


# masks ------------------------------------------------------------------------------------------
def masked(product: Shown) -> Markup:
    """Return how many pixels are flagged, and why."""
    if product.flags is None:
        return Markup()
    total, good, bits = product.flags
    words = f"{total:,} pixels, {good:,} of them ({good / total:.2%}) without a flag."
    shares = charts.shares([(bit.words, bit.pixels / total) for bit in bits])
    rows = [
        (
            str(bit.bit), element("td", bit.words, class_="long"), f"{bit.pixels:,}",
            f"{100 * bit.pixels / total:.4f}", f"{bit.alone:,}", element("td", share),
        )
        for bit, share in zip(bits, shares, strict=True)
    ]  # fmt: skip
    heads = ("bit", "why", "pixels", "% of all", "by this alone", "share")
    listed = table(heads, rows, "Flags of the DQ plane", data_table="flags") if rows else None
    return joined((element("p", words), listed, _coverage(product)))


def _coverage(product: Shown) -> Markup:
    plane = product.frame.coverage
    if plane is None:
        return Markup()
    counts = np.bincount(plane.ravel())
    deepest = int(np.flatnonzero(counts)[-1])
    half = int(counts[math.ceil(deepest / 2) :].sum())
    return element(
        "p",
        f"At most {deepest} exposures in a pixel: {counts[deepest]:,} pixels have all of them, "
        f"{half:,} at least half, {counts[0]:,} none.",
    )


# calibrations -----------------------------------------------------------------------------------
def calibrations(product: Shown) -> Markup:
    """Return which calibrations were used, and how old they were."""
    found = facts.calibrations(product.frame, product.rows)
    if not found:
        return Markup()
    rows = [
        (
            c.kind, c.name, c.date.replace("T", " ") or "–", _age(c.ages), str(c.frames),
            element("td", c.why or "–", class_="long"), element("td", c.md5 or "–"),
        )
        for c in found
    ]  # fmt: skip
    heads = ("kind", "file", "first exposure (UT)", "age [d]", "frames", "why this one", "MD5")
    return joined(
        (
            table(heads, rows, "Calibrations of the frames", data_table="calibrations"),
            element(
                "p", "Age: from the first exposure of the calibration to that of the frames; "
                "negative where it was taken later.", class_="hint",
            ),
        )
    )  # fmt: skip


def _age(ages: Sequence[float]) -> str:
    known = [age for age in ages if math.isfinite(age)]
    if not known:
        return "–"
    low, high = (_number(edge(known), 2) for edge in (min, max))
    return low if low == high else f"{low} to {high}"


# files and headers ------------------------------------------------------------------------------
def inputs(product: Shown) -> Markup:
    """Return the files that went into it, with checksums."""
    rows = [
        (p.filename, p.md5, p.provenance_added_by, p.timestamp[:19].replace("T", " "))
        for p in product.frame.provenance
    ]
    if not rows:
        return Markup()
    cells = [(name, element("td", md5), element("td", step), element("td", at))
             for name, md5, step, at in rows]  # fmt: skip
    heads = ("file", "MD5", "taken in by", "at (UT)")
    return table(heads, cells, f"{len(rows)} files went into it", data_table="files")


def headers(product: Shown) -> Markup:
    """Return all cards of the primary and the SCI header."""
    parts = []
    for title, header in (("primary", product.frame.phu), ("SCI", product.frame.sci)):
        cards = facts.header_cards(header)
        rows = [(key, element("td", value, class_="long"), element("td", note, class_="long"))
                for key, value, note in cards]  # fmt: skip
        listed = table(("keyword", "value", "comment"), rows, f"{title} header")
        parts.append(page.folded(f"{title} header ({len(cards)} cards)", listed))
    return joined(parts)


def sections(product: Shown, *, small: bool = False, prefix: str = "") -> list[Markup]:
    """Return all sections of a product; those with nothing to say are empty."""

    def name(word: str) -> str:
        return f"{prefix}{word}"

    return [
        page.section("Image", name("image"), image(product, small=small)),
        page.section("Frame by frame", name("frames"), frames(product)),
        page.section("What is masked, and why", name("masked"), masked(product)),
        page.section("Calibrations", name("calibrations"), calibrations(product)),
        page.section("Steps", name("steps"), runs.steps(product.frame)),
        page.section("Recipe as it ran", name("recipe"), runs.recipes(product.frame)),
        page.section("Files and versions", name("files"), inputs(product),
                     runs.versions(product.frame)),
        page.section("Headers", name("headers"), headers(product)),
    ]  # fmt: skip
