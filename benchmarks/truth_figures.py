"""Figures of merit of a stack against the truth; see `truth.py` for what they are for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sep
from astropy.io import fits
from truth_night import BLANK_SIGMA, Array, Night, Projection, alpha, enclosed

APERTURES_PIX = (1, 2, 3, 5, 7, 10, 15)
WIDE_PIX = 5
#: A header that is off by more than this is wrong.
WRONG_ARCSEC = 1.0
BLOCK_PIX = 64
#: Share of a block that must be blank; the noise of each block is that of its blank pixels.
_BLANK_SHARE = 0.25
#: Stars of at least this signal-to-noise are judged by their light, by their place.
BRIGHT, PLACED = 25.0, 100.0
_POSITIONS = 6000
#: Share of the linear range that the sharpest frame of a star may reach.
_LINEAR = 0.7
#: Charge [sigma of a pixel] from which a cosmic ray is one that a reduction could know.
_STRUCK = 10.0


@dataclass(frozen=True)
class Figure:
    """One line of the table: `passed` is None where there is no target."""

    name: str
    value: float
    unit: str = ""
    error: float | None = None
    target: str = ""
    passed: bool | None = None


class Stack:
    """Planes and headers of a stack; NaN (a pixel without data) becomes 0.

    `rest` is the image without the light of stars and extended galaxies; it means something
    where `Night.blank` says so.
    """

    rest: Array

    def __init__(self, path: Path) -> None:
        with fits.open(path, memmap=False) as hdus:
            self.primary, self.header = hdus[0].header, hdus["SCI"].header
            planes = [hdus[name].data for name in ("SCI", "VAR")]
            self.mask = hdus["DQ"].data.astype(np.uint16)
        self.data, self.variance = (np.nan_to_num(p.astype(np.float32)) for p in planes)
        self.correlation = float(self.header.get("NOISECOR", 1.0))


def spread(values: Array, limit: float = 4.0) -> float:
    """Return the standard deviation after clipping at `limit` sigma; NaN for under 5 values."""
    kept = values[np.isfinite(values)]
    if kept.size < 5:
        return float("nan")
    for _ in range(5):
        centre = np.median(kept)
        sigma = np.std(kept)
        kept = kept[np.abs(kept - centre) <= limit * sigma]
    return float(np.std(kept, ddof=1))


def _sum_error(count: int) -> float:
    """Relative error of a standard deviation of `count` values."""
    return 1.0 / float(np.sqrt(2.0 * max(count - 1, 1)))


def _within(name: str, value: float, limit: float, unit: str = "", error: float | None = None,
            test: Callable[[float], bool] | None = None, target: str = "") -> Figure:  # fmt: skip
    passed = bool(test(value) if test else value <= limit) if np.isfinite(value) else None
    return Figure(name, value, unit, error, target or f"< {limit:g}", passed)


@dataclass(frozen=True)
class Stars:
    """Bright isolated stars: true place, true counts in the aperture, measured ones, limits.

    `limit` is the noise [electron] that photons and read-out alone leave in the measurement.
    """

    x: Array
    y: Array
    true: Array
    measured: Array
    limit: Array

    @property
    def quality(self) -> Array:
        """Signal-to-noise of the limit."""
        return self.true / self.limit


def measure_stars(stack: Stack, night: Night, radius: float) -> Stars:
    """Measure isolated stars that no frame saturates, in an aperture of `radius` pixels.

    The same frames, half of them at least, cover all of the aperture. The true counts are those
    that the seeing of each leaves in it, mean over these frames. The local sky is the mean of
    blank pixels between 2.5 and 4.5 radii. Neighbours add less than a tenth of the limit.
    """
    variance, covered = night.ideal
    sharpest = min(frame.fwhm for frame in night.frames)
    peak = night.flux * night.exposure_s * 2.0 / (np.pi * alpha(sharpest) ** 2)
    linear = _LINEAR * float(stack.header["NONLINEA"])
    photons = night.light_noise(radius)
    usable = (night.kind == 0) & (peak + max(f.sky_e for f in night.frames) < linear)
    area, rows = np.pi * radius**2, []
    for i in np.flatnonzero(usable):
        x, y = float(night.x[i]), float(night.y[i])
        place, distance = night.around(x, y, 4.5 * radius)
        if min(distance.shape) < int(9 * radius):  # cut by the edge of the stack
            continue
        inside = distance <= radius + 1.5
        ring = (distance >= 2.5 * radius) & (distance <= 4.5 * radius) & (stack.mask[place] == 0)
        others = night.stars[place] + night.discs[place] - night.star(int(i), distance)
        ring &= (others < BLANK_SIGMA * night.sigma) & ~night.galaxies[place]
        ring &= covered[place] > 0
        frames = night.covering(x, y)
        same = (covered[place][inside] == len(frames)).all()
        if 2 * len(frames) < len(night.frames) or not same or ring.sum() < area:
            continue
        # Where the ring sees fewer frames it is noisier.
        noise = float(np.mean(variance[place][inside])) * area
        noise += float(np.mean(variance[place][ring])) * area**2 / ring.sum()
        emitted = float(night.flux[i] * night.exposure_s)
        true = emitted * night.share(radius, frames)
        limit = float(np.sqrt(noise + emitted * float(np.mean(photons[place][inside]))))
        near = float(night.discs[place][inside].max()) * area
        if night.others(i, radius) + near > 0.1 * limit:
            continue
        back = float(np.mean(stack.rest[place][ring], dtype=float))
        counts = float(sep.sum_circle(stack.data, [x], [y], radius, subpix=0)[0][0]) - area * back
        rows.append((x, y, true, counts, limit))
    return Stars(*(np.array(rows, dtype=float).reshape(-1, 5).T))


def middle(ratio: Array, limit: Array) -> float:
    """Return the median of ratios, weighted by their relative errors and 0.3 % that all have."""
    weight = 1.0 / (limit**2 + 0.003**2)
    order = np.argsort(ratio)
    place = np.searchsorted(np.cumsum(weight[order]), 0.5 * weight.sum())
    return float(ratio[order][place])


def photometry(stars: Stars) -> list[Figure]:
    """Scatter of the light of stars about the truth, against what the noise alone gives."""
    bright = stars.quality > BRIGHT
    ratio = stars.measured[bright] / stars.true[bright]
    limit = 1.0 / stars.quality[bright]
    count = int(bright.sum())
    if count < 5:
        return [Figure("photometry: bright isolated stars", count)]
    zero = middle(ratio, limit)
    pulls = (ratio / zero - 1.0) / limit
    scatter = spread(pulls)
    made = [
        Figure("photometry: bright isolated stars", count),
        Figure("photometry: stack / truth (weighted median)", zero),
        _within("photometry: scatter / limit", scatter, 1.1, error=scatter * _sum_error(count)),
        Figure("photometry: stars beyond 5 limits", int((np.abs(pulls) > 5).sum())),
    ]
    for low, high in ((BRIGHT, 100.0), (100.0, 400.0), (400.0, np.inf)):
        some = (1 / limit > low) & (1 / limit <= high)
        if some.sum() < 5:
            continue
        label = f"  S/N {low:.0f} to {high:.0f} ({some.sum()}):"
        made += [
            Figure(f"{label} stack / truth", float(np.median(ratio[some]))),
            Figure(f"{label} scatter", 1e3 * spread(ratio[some]), "1e-3"),
            Figure(f"{label} scatter / limit", spread(pulls[some]), error=_sum_error(some.sum())),
        ]
    return made


def positions(stack: Stack, stars: Stars, fwhm: float) -> list[Figure]:
    """Windowed centroids of bright stars in the stack, minus the truth."""
    chosen = stars.quality > PLACED
    x, y = stars.x[chosen], stars.y[chosen]
    if x.size < 5:
        return []
    u, v, _ = sep.winpos(stack.data, x, y, fwhm / 2.3548)
    # The limit of a centroid: its width over the signal-to-noise.
    floor = float(np.sqrt(np.mean((fwhm / 2.3548 / stars.quality[chosen]) ** 2)))
    made = [Figure("alignment: noise of the centroids below", floor, "pix")]
    for axis, offset in (("x", u - x), ("y", v - y)):
        name = f"alignment: {x.size} stars in the stack, {axis}"
        made.append(Figure(f"{name}, mean", float(np.median(offset)), "pix"))
        made.append(_within(f"{name}, rms", spread(offset), 0.05, "pix"))
    return made


def frame_positions(night: Night, folder: Path, suffix: str) -> tuple[list[Figure], list[dict]]:
    """Coordinates of each frame relative to the first, against the true pointing.

    Returns
    -------
    figures : list of Figure
    rows : list of dict
        Per frame the mean offset `dx`, `dy` over the field and its spread `warp`, in pixels.
    """
    ny, nx = night.response.shape
    gx, gy = np.meshgrid(np.linspace(0, nx - 1, 5), np.linspace(0, ny - 1, 5))
    rows, said = [], {}
    for frame in night.frames:
        path = folder / f"{frame.name}{suffix}.fits"
        if not path.exists():
            return [], []
        said[frame.name] = Projection.of(fits.getheader(path, "SCI"))
    first = said[night.frames[0].name]
    for frame in night.frames:
        x, y = first.pixel(*said[frame.name].sky(gx, gy))
        tx, ty = night.reference.pixel(*frame.projection.sky(gx, gy))
        dx, dy = x - tx, y - ty
        warp = float(np.hypot(np.std(dx), np.std(dy)))
        row = {"frame": frame.name, "dx": float(dx.mean()), "dy": float(dy.mean()), "warp": warp}
        rows.append(row)
    made = []
    for axis in ("dx", "dy"):
        values = np.array([row[axis] for row in rows])
        name = f"alignment: {len(rows)} frames, {axis[1]}"
        made.append(Figure(f"{name}, mean", float(values.mean()), "pix"))
        made.append(_within(f"{name}, rms", float(values.std()), 0.05, "pix"))
        made.append(Figure(f"{name}, largest", float(np.abs(values).max()), "pix"))
    wrong = [
        float(np.hypot(row["dx"], row["dy"]))
        for row, frame in zip(rows, night.frames, strict=True)
        if frame.header_error_arcsec > WRONG_ARCSEC
    ]
    if wrong:
        name = f"alignment: {len(wrong)} frames with wrong headers, largest"
        made.append(_within(name, max(wrong), 0.1, "pix"))
    return made, rows


def _blank_sums(
    stack: Stack, night: Night, radius: float, planes: Sequence[Array], seed: int
) -> list[Array]:
    """Sum planes over discs of whole pixels at random places without any source."""
    blank = night.full & night.blank & (stack.mask == 0)
    reach = int(radius)
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    inside = dy**2 + dx**2 <= radius**2 if radius > 1 else (dy == 0) & (dx == 0)
    dy, dx = dy[inside], dx[inside]
    rng = np.random.default_rng(seed)
    ny, nx = night.shape
    if min(ny, nx) <= 2 * reach + 1:
        return [np.empty(0) for _ in planes]
    y = rng.integers(reach, ny - reach, 8 * _POSITIONS)
    x = rng.integers(reach, nx - reach, 8 * _POSITIONS)
    free = np.ones(y.size, bool)
    for j, i in zip(dy, dx, strict=True):
        free &= blank[y + j, x + i]
    y, x = y[free][:_POSITIONS], x[free][:_POSITIONS]
    sums = [np.zeros(y.size) for _ in planes]
    for j, i in zip(dy, dx, strict=True):
        for total, plane in zip(sums, planes, strict=True):
            total += plane[y + j, x + i]
    return sums


def blank_noise(stack: Stack, night: Night) -> list[Figure]:
    """Scatter in blank apertures against VAR; radius 1 is a single pixel.

    The prediction is sqrt(sum VAR), times NOISECOR for radii of `WIDE_PIX` and more.
    """
    variance, full = night.ideal[0], night.full
    blank = full & night.blank & (stack.mask == 0)
    made = [
        Figure(
            "blank sky, share of the field that all frames see", float(blank.sum() / full.sum())
        ),
        Figure("noise: NOISECOR", stack.correlation),
    ]
    chosen = full & (stack.mask == 0)
    ratio = float(np.median(stack.variance[chosen] / variance[chosen]))
    made.append(Figure("noise: sqrt(VAR NOISECOR^2 / ideal)", np.sqrt(ratio) * stack.correlation))
    for radius in APERTURES_PIX:
        planes = (stack.rest, stack.variance, variance)
        sums, var, ideal = _blank_sums(stack, night, radius, planes, radius)
        if sums.size < 100:
            continue
        wide = radius >= WIDE_PIX
        predicted = np.sqrt(var) * (stack.correlation if wide else 1.0)
        measured = spread(sums / predicted)
        independent = min(sums.size, int(blank.sum() / (np.pi * radius**2)))
        error = measured * _sum_error(independent)
        name = "noise: single pixel" if radius == 1 else f"noise: radius {radius} pix"
        label = f"{name} / sqrt(sum VAR)" + (" / NOISECOR" if wide else "")
        if wide:
            made.append(
                _within(label, measured, 0.05, error=error, target="1 +- 0.05",
                        test=lambda v: abs(v - 1.0) <= 0.05)
            )  # fmt: skip
        else:
            made.append(Figure(label, measured, error=error))
        if radius > 1:
            figure = spread(sums / np.sqrt(ideal))
            made.append(Figure(f"{name} / ideal", figure, error=figure * _sum_error(independent)))
    return made


def depth(stack: Stack, night: Night, stars: Stars, radius: float) -> list[Figure]:
    """Faintest star at 5 sigma in an aperture, in the stack and in ideal stacks.

    The ideal is the mean of the same frames with a noiseless flat, no bad pixels, a sky known
    without noise, no interpolation and perfect alignment: its noise is sqrt(sum of the mean
    variance / frames), its light what each frame's seeing leaves in the aperture. With the best
    weights a frame counts as light / variance.

    Parameters
    ----------
    stars : Stars
        Measured in the aperture of `radius` pixels.
    """
    sums, ideal = _blank_sums(stack, night, radius, (stack.rest, night.ideal[0]), 77)
    good = stars.quality > BRIGHT
    if sums.size < 100 or good.sum() < 5:
        return []
    light = middle(stars.measured[good] / stars.true[good], 1.0 / stars.quality[good])
    noise, own = spread(sums), float(np.sqrt(np.median(ideal)))

    def magnitude(sigma: float, share: float) -> float:
        counts = share * night.exposure_s
        return night.zeropoint - 2.5 * float(np.log10(5.0 * sigma / counts))

    # Frames relative to the stack: the same pixels, so the ratio of variances is that of levels.
    use = night.good & night.field
    levels = np.array([np.median(night.ideal_variance(f)[use]) for f in night.frames])
    shares = np.array([f.transparency * enclosed(f.fwhm, radius) for f in night.frames])
    weights = np.array([f.weight * f.scale for f in night.frames])
    total = sum(f.weight for f in night.frames)
    unit = own / float(np.sqrt((weights**2 * levels).sum())) * total
    plain = magnitude(unit * float(np.sqrt(levels.sum())), float(shares.sum()))
    best = magnitude(unit, float(np.sqrt((shares**2 / levels).sum())))
    skies = 1.25 * float(np.log10(1.0 + np.mean(1.0 / night.skies)))
    reached = magnitude(noise, night.share(radius) * light)
    error = 2.5 / np.log(10.0) * _sum_error(sums.size)
    name = f"depth: radius {radius:.1f} pix"
    return [
        Figure(f"{name}, ideal (plain mean)", plain, "mag"),
        Figure(f"{name}, ideal with the best weights", best, "mag"),
        Figure(f"{name}, stack", reached, "mag", error),
        Figure(f"{name}, the noise of the skies alone costs", skies, "mag"),
        Figure(f"{name}, lost by noise", 2.5 * float(np.log10(noise / own)), "mag", error),
        _within(f"{name}, lost", plain - reached, 0.05, "mag", error),
        Figure(f"{name}, lost against the best weights", best - reached, "mag", error),
    ]


def sky_blocks(stack: Stack, night: Night) -> list[Figure]:
    """Means of blocks without sources, against the noise of these means.

    Judged where all frames overlap. There what one frame's sky lacks another's has too much of:
    frames that serve each other as sky cancel each other's errors. Where half of the frames or
    more overlap, but not all, they do not; this is shown as well.
    """
    covered, count = night.ideal[1], len(night.frames)
    partly = (2 * covered >= count) & (covered < count)
    return [
        *_blocks(stack, night, night.full, "sky:", judged=True),
        *_blocks(stack, night, partly, "sky, not in all frames:", judged=False),
    ]


def _blocks(stack: Stack, night: Night, area: Array, what: str, judged: bool) -> list[Figure]:
    blank = area & night.blank & (stack.mask == 0)
    ny, nx = (n // BLOCK_PIX for n in night.shape)

    def total(plane: Array) -> Array:
        cut = np.where(blank, plane, 0)[: ny * BLOCK_PIX, : nx * BLOCK_PIX].astype(float)
        blocks: Array = cut.reshape(ny, BLOCK_PIX, nx, BLOCK_PIX).sum(axis=(1, 3))
        return blocks

    count = total(np.ones(night.shape, np.float32))
    use = count >= _BLANK_SHARE * BLOCK_PIX**2
    if use.sum() < 10:
        return []
    means = (total(stack.rest)[use]) / count[use]
    noise = np.sqrt(total(stack.variance)[use]) / count[use] * stack.correlation
    least = np.sqrt(total(night.ideal[0])[use]) / count[use]
    rms = float(np.sqrt(np.mean(means**2)))
    error = _sum_error(int(use.sum()))
    against = rms / float(np.sqrt(np.mean(noise**2)))
    ideal = rms / float(np.sqrt(np.mean(least**2)))
    name = f"{what} {int(use.sum())} blocks"
    ratio = f"{name}, rms / noise of VAR"
    return [
        Figure(f"{name}, mean level", float(means.mean()), "electron"),
        Figure(f"{name}, rms", rms, "electron"),
        _within(ratio, against, 1.3, error=error * against)
        if judged
        else Figure(ratio, against, error=error * against),
        Figure(f"{name}, rms / ideal noise", ideal, error=error * ideal),
    ]


def cosmic_rays(stack: Stack, night: Night) -> list[Figure]:
    """Charge of cosmic rays that is left in the stack, and flags without a reason.

    Counted are pixels of blank sky with over ten times the noise of a pixel in their raw frame.
    What is left is the sum of the stack over these places and two pixels around, times the number
    of frames, as a share of the charge that fell.
    """
    variance, full = night.ideal[0], night.full
    blank = full & night.blank
    near, fell, hits = np.zeros(night.shape, bool), 0.0, 0
    for frame in night.frames:
        raw = fits.getdata(night.raw / f"{frame.name}.fits", 1).astype(np.float32) * night.gain
        raw = raw.reshape(night.response.shape)  # raw files have a third axis of length one
        sigma = float(np.sqrt(np.median(night.ideal_variance(frame)[night.good])))
        struck = night.cosmic[frame.name]
        dx, dy = (round(v) for v in frame.shift)
        for y, x in struck:
            if not (0 <= y - dy < night.shape[0] and 0 <= x - dx < night.shape[1]):
                continue
            box = (slice(max(0, y - 4), y + 5), slice(max(0, x - 4), x + 5))
            charge = float((raw[y, x] - np.median(raw[box])) / max(night.response[y, x], 0.2))
            if night.good[y, x] and blank[y - dy, x - dx] and charge > _STRUCK * sigma:
                hits, fell = hits + 1, fell + charge
                near[y - dy - 2 : y - dy + 3, x - dx - 2 : x - dx + 3] = True
    made = [Figure("cosmic rays: pixels on blank sky", hits)]
    noise = np.sqrt(np.maximum(stack.variance, 1e-6))
    if hits:
        near &= blank & (stack.mask == 0)
        left = float(stack.rest[near].sum(dtype=float)) * len(night.frames) / fell
        error = float(np.sqrt(variance[near].sum())) * len(night.frames) / fell
        made.append(Figure("cosmic rays: charge left in the stack", 100 * left, "%", 100 * error))
        found = int((stack.rest[near] > 5 * noise[near]).sum())
        made.append(Figure("cosmic rays: stack pixels above 5 sigma", found))
    rest = blank & ~near & (stack.mask == 0)
    pulls = stack.rest[rest] / noise[rest]
    flagged = full & (stack.mask != 0) & (night.worth >= 0.5)
    return [
        *made,
        Figure("outliers: other blank pixels beyond 5 sigma", int((np.abs(pulls) > 5).sum())),
        Figure("flags: without a reason, share of pixels", float(flagged.sum() / full.sum())),
    ]
