"""Compare products of the whole reference night with DRAGONS' cut-outs, and with the truth.

Positions are 0-based (x, y); arrays are [y, x].
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sep
from astropy.io import fits
from astropy.table import Table
from reference_planes import BOXES, BPM, CIRCLE, DARK, SIDE, Array, cutout, noise_of
from truth_figures import spread
from truth_night import BLANK_SIGMA, Projection, alpha

BAD, DARK_RIM = 1, 64
FLAT_OF_DRAGONS = "S20131129S0320_flat"
DARK_S = 120.0
HOT_RATE = 50.0  # electron/s
LIKE_OTHERS = 0.1  # relative departure from the neighbours that is none
MATCH_PIX = 3.0
RADIUS_PIX = 3
APERTURE_PIX = 7.0
BLOCK_PIX = 64
#: A flat normalised to its median leaves products at this share of the true light (README);
#: an aperture holds a little less.
RESPONSE = 0.917
#: Outside this radius [pix] of the illuminated circle's centre not every frame sees the sky.
FULL_PIX = CIRCLE[2] - 110.0
APERTURES = 6000


@dataclass
class Agreement:
    """One plane of a product, in the pixels of both boxes that both programs call good."""

    product: str
    plane: str
    good: float  # share of pixels
    quiet: float  # share of good ones within a tenth of the noise; for DQ, of all, that agree
    spread: float | None  # rms difference in units of the noise; for VAR the median ratio
    worst: dict[str, float] | None
    note: str = ""


@dataclass
class Sources:
    """Source tables of a frame, matched with each other and with the truth."""

    frame: str
    ours: int
    dragons: int
    matched: int
    apart: float  # rms distance, pix
    flux: float  # median ratio, ours to DRAGONS'
    scatter: float  # of that ratio, clipped
    true: tuple[int, int]  # true sources found: ours, DRAGONS'
    false: tuple[int, int]  # detections near no true source
    error: tuple[float, float]  # rms distance of stars from the truth, pix
    light: tuple[float, float]  # median FLUX_AUTO of stars as share of the true light


@dataclass
class Merit:
    """One figure of the stack against the truth."""

    name: str
    target: str
    ours: float
    ours_boxes: float | None  # where DRAGONS' pixels are known
    dragons_boxes: float | None
    dragons: str = ""  # of the whole plane, from the README
    deep: float | None = None  # of the recipe ultradeep, as `ours`
    deep_boxes: float | None = None


@dataclass
class Disputed:
    """Illuminated pixels that one bad-pixel mask has and the other has not, and what they are."""

    limits: str
    who: str
    pixels: int
    hot: int
    dim: int
    other: int


# planes -------------------------------------------------------------------------------------
def cut(hdus: fits.HDUList, plane: str) -> Array:
    """Cut both boxes from a plane; shape (2, 320, 320)."""
    data = hdus[plane].data
    return np.array([data[y : y + SIDE, x : x + SIDE] for y, x in BOXES.values()])


def place_of(index: tuple[int, ...]) -> tuple[int, int]:
    """Return (y, x) in the whole plane of an index into both boxes."""
    y, x = list(BOXES.values())[index[0]]
    return y + int(index[1]), x + int(index[2])


def same_bits(ours: Array, theirs: Array) -> Array:
    """Return where two masks agree: DRAGONS' bad-pixel mask adds 1 to the unilluminated border."""
    one, other = (np.where((m & DARK_RIM) != 0, m | m.dtype.type(BAD), m) for m in (ours, theirs))
    agree: Array = one == other
    return agree


def compare_product(reference: Path, path: Path, product: str) -> Iterator[Agreement]:
    """Compare all planes of a product with the cut-outs."""
    theirs = {p: cutout(reference, product, p) for p in ("SCI", "VAR", "DQ")}
    mask = theirs["DQ"]
    with fits.open(path) as hdus:
        if mask is None:
            yield compare_mask(product, cut(hdus, "SCI"), theirs["SCI"])
            return
        ours = {p: cut(hdus, p) for p, known in theirs.items() if known is not None}
    a, b = ours["SCI"].astype(float), theirs["SCI"].astype(float)
    noise = noise_of(reference, product)
    good = (ours["DQ"] == 0) & (mask == 0) & (noise > 0) & np.isfinite(a)
    share = float(good.mean())
    apart = np.where(good, np.abs(a - b) / np.where(good, noise, 1.0), 0.0)
    yield Agreement(
        product,
        "SCI",
        share,
        float((apart[good] <= 0.1).mean()),
        float(np.sqrt(np.mean(apart[good] ** 2))),
        worst_of(apart, a, b),
    )
    if "VAR" in ours:
        v, w = ours["VAR"].astype(float), theirs["VAR"].astype(float)
        off = np.where(good, np.abs(np.sqrt(v / np.where(good, w, 1.0)) - 1.0), 0.0)
        yield Agreement(
            product,
            "VAR",
            share,
            float((off[good] <= 0.1).mean()),
            float(np.median(v[good] / w[good])),
            worst_of(off, v, w),
        )
    agree = same_bits(ours["DQ"], mask)
    usable = (ours["DQ"] == 0) == (mask == 0)
    only = (
        int(((ours["DQ"] != 0) & (mask == 0)).sum()),
        int(((ours["DQ"] == 0) & (mask != 0)).sum()),
    )
    note = f"good or not, the same: {100 * usable.mean():.3f} %; flagged by us only {only[0]}"
    note += f", by DRAGONS only {only[1]}"
    worst = worst_of((~agree).astype(float), ours["DQ"], mask)
    yield Agreement(product, "DQ", share, float(agree.mean()), None, worst, note)


def worst_of(apart: Array, ours: Array, theirs: Array) -> dict[str, float] | None:
    """Describe the pixel that differs most; None if all agree."""
    at = tuple(int(i) for i in np.unravel_index(apart.argmax(), apart.shape))
    if not apart[at] > 0:
        return None
    y, x = place_of(at)
    return {"y": y, "x": x, "ours": float(ours[at]), "dragons": float(theirs[at])}


def compare_mask(product: str, ours: Array, theirs: Array) -> Agreement:
    """Compare bad-pixel masks: bad or not, 64 counting as bad."""
    differ = (ours != 0) != (theirs != 0)
    rim = int(((ours & DARK_RIM) != 0).sum())
    note = f"bad in ours {int(((ours & BAD) != 0).sum())}, unilluminated {rim}: ours 64, DRAGONS 1"
    share = float((theirs == 0).mean())
    worst = worst_of(differ.astype(float), ours, theirs)
    return Agreement(product, "SCI", share, float((~differ).mean()), None, worst, note)


def disputed_pixels(reference: Path, path: Path, limits: str) -> Iterator[Disputed]:
    """Judge the pixels on which two masks disagree by frames neither was made from.

    The dark of 120 s, DRAGONS' own, tells a hot pixel; DRAGONS' flat a dim region, where the
    pixel responds like the mean of its eight neighbours, as in vignetting and dust shadows.
    """
    theirs = cutout(reference, BPM, "SCI")
    dark, flat = cutout(reference, DARK, "SCI"), cutout(reference, FLAT_OF_DRAGONS, "SCI")
    with fits.open(path) as hdus:
        ours = cut(hdus, "SCI")
    lit = (ours & DARK_RIM) == 0
    rate = (dark - np.median(dark)) / DARK_S
    hot = rate > HOT_RATE
    bad, known = (ours & BAD) != 0, theirs != 0
    for who, chosen in (("f2yaml only", bad & ~known & lit), ("DRAGONS only", known & ~bad & lit)):
        dim = 0
        for box, y, x in np.argwhere(chosen & ~hot):
            near = flat[box, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
            level = (near.sum() - flat[box, y, x]) / (near.size - 1)
            dim += bool(abs(flat[box, y, x] / level - 1) < LIKE_OTHERS)
        found, warm = int(chosen.sum()), int((chosen & hot).sum())
        yield Disputed(limits, who, found, warm, dim, found - warm - dim)


# sources ------------------------------------------------------------------------------------
class Truth:
    """True sources and pointings."""

    def __init__(self, reference: Path) -> None:
        table = json.loads((reference / "truth.json").read_text(encoding="utf-8"))
        self.ra, self.dec = np.array(table["ra"]), np.array(table["dec"])
        self.flux, self.kind = np.array(table["flux"]), np.array(table["kind"])
        self.time = table["exptime"]
        self.frames = {f["name"]: f for f in table["frames"]}
        self.projections = {}
        for name, frame in self.frames.items():
            header = fits.getheader(reference / "raw" / f"{name}.fits.bz2", 1)
            self.projections[name] = Projection.of(header).at(frame["ra0"], frame["dec0"])

    def pixels(self, name: str) -> tuple[Array, Array]:
        """Return true positions in a frame."""
        return self.projections[name].pixel(self.ra, self.dec)


def nearest(x: Array, y: Array, u: Array, v: Array) -> Array:
    """Return for each (x, y) the index of the nearest (u, v) within MATCH_PIX, else -1."""
    distance = np.hypot(x[:, None] - u[None, :], y[:, None] - v[None, :])
    index = distance.argmin(axis=1)
    return np.where(distance.min(axis=1) <= MATCH_PIX, index, -1)


def rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))


def compare_sources(reference: Path, path: Path, frame: str, truth: Truth) -> Sources:
    """Match our table of a frame with DRAGONS' and both with the truth."""
    stored = Table.read(reference / "cutouts" / f"{frame}_sourcesDetected_OBJCAT.ecsv")
    with fits.open(path) as hdus:
        made = Table(hdus["OBJCAT"].data)
    lists = []
    for t in (made, stored):
        columns = (np.array(t[k], float) for k in ("X_IMAGE", "Y_IMAGE", "FLUX_AUTO"))
        x, y, flux = columns
        lists.append((x - 1.0, y - 1.0, flux))
    (x, y, f), (u, v, g) = lists
    index = nearest(x, y, u, v)
    both = index >= 0
    ratio = f[both] / g[index[both]]
    apart = np.hypot(x[both] - u[index[both]], y[both] - v[index[both]])
    tx, ty = truth.pixels(frame)
    found, false, error, light = [], [], [], []
    for a, b, flux in lists:
        whose = nearest(a, b, tx, ty)
        hit = whose >= 0
        found.append(len(set(whose[hit])))
        false.append(int((~hit).sum()))
        stars = hit & (truth.kind[whose] == 0)
        error.append(rms(np.hypot(a - tx[whose], b - ty[whose])[stars]))
        true = truth.flux[whose] * truth.time * truth.frames[frame]["trans"]
        light.append(float(np.median((flux / true)[stars])))
    return Sources(
        frame, len(x), len(u), int(both.sum()), rms(apart), float(np.median(ratio)),
        spread(ratio, 3.0), tuple(found), tuple(false), tuple(error), tuple(light),
    )  # fmt: skip


# the stack ----------------------------------------------------------------------------------
@dataclass
class Field:
    """A stack, or what is known of one, with a mask of its blank sky."""

    data: Array
    variance: Array
    blank: Array
    clean: Array  # all frames, no flag


def true_places(header: fits.Header, truth: Truth) -> tuple[Array, Array]:
    """Return true positions in a stack on the grid of the first frame."""
    name = next(iter(truth.frames))
    first, own = truth.projections[name], Projection.of(header)
    x, y = first.pixel(truth.ra, truth.dec)
    return x + own.crpix[0] - first.crpix[0], y + own.crpix[1] - first.crpix[1]


def fields(path: Path, reference: Path, product: str, truth: Truth) -> tuple[Field, Field, Field]:
    """Return our whole stack, and the boxes (all else blank-less) of ours and of DRAGONS'."""
    with fits.open(path) as hdus:
        header = hdus["SCI"].header
        data = np.nan_to_num(hdus["SCI"].data.astype(np.float32))
        variance = np.nan_to_num(hdus["VAR"].data.astype(np.float32))
        mask = hdus["DQ"].data != 0
    y, x = np.indices(data.shape, dtype=np.float32)
    first = next(iter(truth.projections.values()))
    centre_x = CIRCLE[1] + header["CRPIX1"] - first.crpix[0]
    centre_y = CIRCLE[0] + header["CRPIX2"] - first.crpix[1]
    full = np.hypot(x - centre_x, y - centre_y) < FULL_PIX
    blank = full.copy()
    sigma = float(np.sqrt(np.median(variance[full & ~mask])))
    width = alpha(max(f["fwhm"] for f in truth.frames.values()))
    core = truth.flux * truth.time * 2.0 / (np.pi * width**2)
    reach = width * np.sqrt(np.maximum((core / (BLANK_SIGMA * sigma)) ** (1 / 3) - 1.0, 0.0))
    reach = reach + np.where(truth.kind == 0, 3.0, 30.0)
    for px, py, r in zip(*true_places(header, truth), reach, strict=True):
        ys = slice(max(0, int(py - r)), max(0, int(py + r) + 2))
        xs = slice(max(0, int(px - r)), max(0, int(px + r) + 2))
        blank[ys, xs] &= np.hypot(y[ys, xs] - py, x[ys, xs] - px) > r
    known = {p: np.zeros(data.shape, np.float32) for p in ("SCI", "VAR", "DQ")}
    inside = np.zeros(data.shape, bool)
    for plane, whole in known.items():
        for box, (y0, x0) in zip(cutout(reference, product, plane), BOXES.values(), strict=True):
            whole[y0 : y0 + SIDE, x0 : x0 + SIDE] = box
            inside[y0 : y0 + SIDE, x0 : x0 + SIDE] = True
    shared = inside & ~mask & (known["DQ"] == 0)
    return (
        Field(data, variance, blank & ~mask, full & ~mask),
        Field(data, variance, blank & shared, full & shared),
        Field(known["SCI"], known["VAR"], blank & shared, full & shared),
    )


def aperture_noise(field: Field, radius: int) -> float:
    """Scatter of sums over discs of blank sky against sqrt(sum VAR); radius 0 is one pixel."""
    j, i = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    inside = j**2 + i**2 <= radius**2
    rng = np.random.default_rng(radius)
    y, x = np.nonzero(field.blank)
    limit = (y >= radius) & (x >= radius)
    limit &= (y < field.data.shape[0] - radius) & (x < field.data.shape[1] - radius)
    y, x = y[limit], x[limit]
    chosen = rng.permutation(y.size)[: 8 * APERTURES]
    y, x = y[chosen], x[chosen]
    steps = list(zip(j[inside], i[inside], strict=True))
    free = np.logical_and.reduce([field.blank[y + b, x + a] for b, a in steps])
    y, x = y[free][:APERTURES], x[free][:APERTURES]
    total = sum(field.data[y + b, x + a].astype(float) for b, a in steps)
    noise = sum(field.variance[y + b, x + a].astype(float) for b, a in steps)
    return spread(total / np.sqrt(noise))


def block_rms(field: Field) -> tuple[float, float]:
    """Rms of the medians of blank sky in blocks, about zero and about their mean, electron."""
    values = []
    for y in range(0, field.data.shape[0] - BLOCK_PIX + 1, BLOCK_PIX):
        for x in range(0, field.data.shape[1] - BLOCK_PIX + 1, BLOCK_PIX):
            at = (slice(y, y + BLOCK_PIX), slice(x, x + BLOCK_PIX))
            if field.blank[at].sum() > BLOCK_PIX**2 / 4:
                values.append(np.median(field.data[at][field.blank[at]]))
    found = np.array(values)
    return (rms(found), float(found.std())) if values else (np.nan, np.nan)


def star_light(field: Field, header: fits.Header, truth: Truth) -> tuple[float, float, int]:
    """Median and scatter of the light of bright stars as share of the truth, and their number."""
    xs, ys = true_places(header, truth)
    frames = truth.frames.values()
    light = truth.flux * truth.time * float(np.mean([f["trans"] for f in frames]))
    ratios = []
    for n in np.flatnonzero((truth.kind == 0) & (truth.flux > 250) & (truth.flux < 8000)):
        x, y = xs[n], ys[n]
        near = np.hypot(xs - x, ys - y) < 4 * APERTURE_PIX
        box = tuple(slice(max(0, round(p) - 35), round(p) + 36) for p in (y, x))
        ring = field.blank[box]
        j, i = np.indices(ring.shape)
        j, i = j + box[0].start - y, i + box[1].start - x
        inside = np.hypot(j, i) <= APERTURE_PIX + 1
        if inside.sum() < 170 or near.sum() > 1 or not field.clean[box][inside].all():
            continue
        if ring.sum() < 300:
            continue
        back = float(np.median(field.data[box][ring]))
        data = np.ascontiguousarray(field.data, np.float32)
        counts = sep.sum_circle(data, [x], [y], APERTURE_PIX, subpix=0)[0][0]
        ratios.append((counts - np.pi * APERTURE_PIX**2 * back) / light[n])
    found = np.array(ratios)
    return (
        (float(np.median(found)), spread(found), found.size) if found.size else (np.nan, np.nan, 0)
    )


def alignment(headers: dict[str, fits.Header], truth: Truth) -> dict[str, float]:
    """Return per frame the distance [pix] between said and true place relative to the first."""
    said = {name: Projection.of(h) for name, h in headers.items()}
    first = next(iter(said))
    gx, gy = np.meshgrid(np.linspace(0, 2047, 5), np.linspace(0, 2047, 5))
    made = {}
    for name, projection in said.items():
        x, y = said[first].pixel(*projection.sky(gx, gy))
        tx, ty = truth.projections[first].pixel(*truth.projections[name].sky(gx, gy))
        made[name] = float(np.hypot((x - tx).mean(), (y - ty).mean()))
    return made
