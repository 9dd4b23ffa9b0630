"""What a simulated night truly held, carried to the pixels of its stack.

Positions are 0-based (x, y), the centre of a pixel at whole numbers; arrays are [y, x]. Nothing
here uses f2yaml: projections, profiles and noise are derived a second time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

Array = npt.NDArray[Any]
Pair = tuple[float, float]

#: Light of all stars that may lie in a pixel called blank, in sigma of a stack pixel. It is
#: subtracted, so that what counts is the error of the model in the wings.
BLANK_SIGMA = 0.25
#: Light of a galaxy that may lie there; it is not subtracted.
GALAXY_SIGMA = 0.02
#: Added to the exclusion radius of a galaxy: several scale lengths of the discs [pix].
GALAXY_REACH_PIX = 30.0
#: Frames farther apart in time [s] do not serve each other as sky, unless there are under three.
SKY_S = 600.0
#: The model of a star ends where it adds less than this [sigma of a stack pixel], and at the
#: latest where the simulation ends it.
_FAINTEST_SIGMA, _FARTHEST_PIX = 0.003, 200
_MOFFAT_BETA = 3.0


@dataclass(frozen=True)
class Projection:
    """A gnomonic projection: `crpix` from 1, `crval` in deg, `cd` in deg/pixel."""

    crpix: Pair
    crval: Pair
    cd: Array

    @classmethod
    def of(cls, header: fits.Header) -> Projection:
        """Read the projection from an image header."""
        cd = [[header[f"CD{i}_{j}"] for j in (1, 2)] for i in (1, 2)]
        return cls(
            (header["CRPIX1"], header["CRPIX2"]),
            (header["CRVAL1"], header["CRVAL2"]),
            np.array(cd, dtype=float),
        )

    def at(self, ra: float, dec: float) -> Projection:
        """Return the projection with its reference pixel at another place of the sky."""
        return Projection(self.crpix, (ra, dec), self.cd)

    def pixel(self, ra: Array, dec: Array) -> tuple[Array, Array]:
        """Return the pixel position of `ra`, `dec` (deg)."""
        da, d = np.radians(np.asarray(ra) - self.crval[0]), np.radians(dec)
        d0 = np.radians(self.crval[1])
        depth = np.sin(d) * np.sin(d0) + np.cos(d) * np.cos(d0) * np.cos(da)
        xi = np.cos(d) * np.sin(da) / depth
        eta = (np.sin(d) * np.cos(d0) - np.cos(d) * np.sin(d0) * np.cos(da)) / depth
        u, v = np.linalg.solve(self.cd, np.degrees([np.ravel(xi), np.ravel(eta)]))
        return u + self.crpix[0] - 1.0, v + self.crpix[1] - 1.0

    def sky(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Return ra, dec (deg) of a pixel position."""
        u = np.array([np.ravel(x) - (self.crpix[0] - 1.0), np.ravel(y) - (self.crpix[1] - 1.0)])
        xi, eta = np.radians(self.cd @ u)
        d0 = np.radians(self.crval[1])
        below = np.cos(d0) - eta * np.sin(d0)
        ra = np.radians(self.crval[0]) + np.arctan2(xi, below)
        dec = np.arctan2(np.sin(d0) + eta * np.cos(d0), np.hypot(xi, below))
        return np.degrees(ra), np.degrees(dec)


def alpha(fwhm: float) -> float:
    """Scale of the Moffat profile of exponent 3 that the simulation gives stars."""
    return 0.5 * fwhm / float(np.sqrt(2.0 ** (1.0 / _MOFFAT_BETA) - 1.0))


@cache
def enclosed(fwhm: float, radius: float) -> float:
    """Share of a star's light within `radius` pixels of its centre, the pixel's width included."""
    fine, half = 7, int(radius) + 2
    grid = (np.arange(-half * fine, half * fine + 1)) / fine
    a2 = alpha(fwhm) ** 2
    base = 1.0 + (grid[:, None] ** 2 + grid[None, :] ** 2) / a2
    profile = (_MOFFAT_BETA - 1.0) / (np.pi * a2) * base**-_MOFFAT_BETA / fine**2
    box = np.ones(fine) / fine
    for axis in (0, 1):
        profile = np.apply_along_axis(np.convolve, axis, profile, box, mode="same")
    inside = grid[:, None] ** 2 + grid[None, :] ** 2 <= radius**2
    return float(profile[inside].sum())


@dataclass(frozen=True)
class Frame:
    """The truth of one science frame; `shift` is added to a stack position to reach its pixel.

    `scale` is the factor that the reduction put on its counts, `weight` its share in the mean.
    """

    name: str
    exposure_s: float
    transparency: float
    fwhm: float
    sky_e: float
    projection: Projection
    shift: Pair
    scale: float
    weight: float
    header_error_arcsec: float


class Night:
    """The truth of the frames that went into a stack, on the grid of the stack.

    Parameters
    ----------
    raw : Path
        Folder with the raw frames, ``truth.json`` and ``truth.npz``.
    primary, image : fits.Header
        Headers of the stack: primary and SCI. ``IMCMBnnn`` names the frames, the first of which
        gave the grid.
    scales, weights : dict of float, optional
        By name of frame: factor that was put on its counts, share in the mean. One and equal
        shares where nothing is said.

    Notes
    -----
    True positions follow from the true pointing of the reference frame and its pixel grid, so an
    error of its header, which nobody can know, does not count.
    """

    def __init__(
        self,
        raw: Path,
        primary: fits.Header,
        image: fits.Header,
        scales: dict[str, float] | None = None,
        weights: dict[str, float] | None = None,
    ) -> None:
        self.raw = raw
        table = json.loads((raw / "truth.json").read_text())
        with np.load(raw / "truth.npz") as arrays:
            self.response = arrays["response"]
            self.dark = arrays["dark"]
            self.good = ~(arrays["hot"] | arrays["dead"]) & arrays["illuminated"]
            self.cosmic = {k[7:]: arrays[k] for k in arrays.files if k.startswith("cosmic_")}
        self.read_noise, self.gain, self.zeropoint = table["rn"], table["gain"], table["zp"]
        self.flux, self.kind = np.array(table["flux"]), np.array(table["kind"])
        self.shape = (image["NAXIS2"], image["NAXIS1"])
        self.extended = table.get("extended", [])
        ra, dec = np.array(table["ra"]), np.array(table["dec"])
        used = [str(v).removesuffix(".fits") for k, v in primary.items() if k.startswith("IMCMB")]
        entries = {entry["name"]: entry for entry in table["frames"]}
        true = {}
        for name in used:
            header = fits.getheader(raw / f"{name}.fits", 1)
            true[name] = Projection.of(header).at(entries[name]["ra0"], entries[name]["dec0"])
        first = true[used[0]]
        self.reference = first
        self.origin = (first.crpix[0] - image["CRPIX1"], first.crpix[1] - image["CRPIX2"])
        x, y = first.pixel(ra, dec)
        self.x, self.y = x - self.origin[0], y - self.origin[1]
        self.frames = []
        for name in used:
            there = true[name].pixel(ra, dec)
            shift = (float(np.median(there[0] - self.x)), float(np.median(there[1] - self.y)))
            entry = entries[name]
            light = (entry["exptime"], entry["trans"], entry["fwhm"], entry["sky"])
            time, trans, fwhm, sky = light
            scale = (scales or {}).get(name, 1.0)
            weight = (weights or {}).get(name, 1.0 / len(used))
            wrong = float(np.hypot(*entry["header_error"]))
            self.frames.append(
                Frame(name, time, trans, fwhm, sky * time, true[name], shift, scale, weight, wrong)
            )

    @property
    def fwhm(self) -> float:
        """Median seeing of the frames [pix]."""
        return float(np.median([frame.fwhm for frame in self.frames]))

    @property
    def exposure_s(self) -> float:
        """Exposure time of the reference frame, to which the stack is scaled."""
        return self.frames[0].exposure_s

    def ideal_variance(self, frame: Frame, light: float | Array = 0.0) -> Array:
        """Variance [electron^2] of the pixels of a frame divided by a noiseless flat.

        ``((sky + light) r + dark + read^2) / r^2`` with the true response r.
        """
        r = np.maximum(self.response, 0.05)
        quiet: Array = (frame.sky_e + light) / r
        quiet += (self.dark * frame.exposure_s + self.read_noise**2) / r**2
        return quiet

    def onto_stack(self, frame: Frame, plane: Array) -> tuple[Array, tuple[slice, slice]]:
        """Cut from a plane of a frame what lies on the stack; return it and where it lies."""
        dx, dy = (round(v) for v in frame.shift)
        ny, nx = self.shape
        y0, y1 = max(0, -dy), min(ny, plane.shape[0] - dy)
        x0, x1 = max(0, -dx), min(nx, plane.shape[1] - dx)
        return plane[y0 + dy : y1 + dy, x0 + dx : x1 + dx], (slice(y0, y1), slice(x0, x1))

    @cached_property
    def field(self) -> Array:
        """Pixels of a frame that see the sky in full, bad ones among them included."""
        lit = self.response > 0.2 * np.median(self.response[self.good])
        seen: Array = ~_grown(~_disc_like(lit), 3)
        return seen

    @cached_property
    def ideal(self) -> tuple[Array, Array]:
        """Variance of the ideal stack, and how many frames cover each of its pixels.

        The ideal stack is the mean of all frames, with the weights and factors of the stack
        itself, each divided by a noiseless flat, minus a sky that is known without noise. Bad
        pixels count as if they were good.
        """
        covered = np.zeros(self.shape, np.int16)
        for frame in self.frames:
            part, place = self.onto_stack(frame, self.field)
            covered[place] += part
        variance = self.combined(self.ideal_variance)
        covered[variance == 0] = 0
        return variance, covered

    def combined(self, variance: Callable[[Frame], Array]) -> Array:
        """Return the variance of the mean of all frames from that of each; zero without data."""
        total, used, covered, share = (np.zeros(self.shape, np.float32) for _ in range(4))
        use = self.good & self.field
        for frame in self.frames:
            factor = np.float32((frame.weight * frame.scale) ** 2)
            one = np.where(use, variance(frame), 0).astype(np.float32)
            for plane, source, times in (
                (total, one, factor),
                (used, use, factor),
                (covered, self.field, factor),
                (share, self.field, np.float32(frame.weight)),
            ):
                part, place = self.onto_stack(frame, source)
                plane[place] += part * times
        tiny = np.float32(1e-12)  # its square is a float32 too
        mean: Array = total * (covered / np.maximum(used, tiny)) / np.maximum(share, tiny) ** 2
        return mean

    @cached_property
    def skies(self) -> Array:
        """Number of other frames from which the sky of each frame may be made.

        Frames within `SKY_S` of it, taken in the same filter for the same time: those of a blank
        field if there are any, else those of the target itself.
        """
        table = json.loads((self.raw / "truth.json").read_text())["frames"]
        used = {frame.name for frame in self.frames}
        first = next(entry for entry in table if entry["name"] in used)
        alike = [
            entry["name"]
            for entry in table
            if (entry["exptime"], entry["filter"]) == (first["exptime"], first["filter"])
        ]
        elsewhere = [name for name in alike if name not in used]
        start = {name: self._start_s(name) for name in alike}
        count = [
            sum(o != n and abs(start[o] - start[n]) <= SKY_S for o in elsewhere or alike)
            for n in sorted(used)
        ]
        return np.maximum(count, min(3, len(elsewhere) or len(alike) - 1))

    def _start_s(self, name: str) -> float:
        header = fits.getheader(self.raw / f"{name}.fits")
        hours, minutes, seconds = header["UTSTART"].split(":")
        return 3600.0 * int(hours) + 60.0 * int(minutes) + float(seconds)

    @cached_property
    def full(self) -> Array:
        """Pixels of the stack that every frame covers."""
        everywhere: Array = self.ideal[1] == len(self.frames)
        return everywhere

    def covering(self, x: float, y: float) -> list[Frame]:
        """Return the frames whose field holds a position of the stack."""
        ny, nx = self.field.shape
        found = []
        for frame in self.frames:
            i, j = round(x + frame.shift[0]), round(y + frame.shift[1])
            if 0 <= i < nx and 0 <= j < ny and self.field[j, i]:
                found.append(frame)
        return found

    def share(self, radius: float, frames: list[Frame] | None = None) -> float:
        """Return the part of a star's light that the mean of frames has in an aperture."""
        chosen = self.frames if frames is None else frames
        shares = [f.weight * f.scale * f.transparency * enclosed(f.fwhm, radius) for f in chosen]
        return sum(shares) / sum(f.weight for f in chosen)

    def light_noise(self, radius: float) -> Array:
        """Variance of a pixel of the ideal stack by one electron of a source, above the sky.

        Only what each frame's seeing leaves in an aperture of `radius` pixels counts.
        """

        def one(frame: Frame) -> Array:
            light = np.float32(frame.transparency * enclosed(frame.fwhm, radius))
            variance: Array = light / np.maximum(self.response, 0.05)
            return variance

        return self.combined(one)

    @cached_property
    def sigma(self) -> float:
        """Typical noise of a pixel of the ideal stack [electron]."""
        return float(np.sqrt(np.median(self.ideal[0][self.full])))

    def profile(self, distance: Array) -> Array:
        """Return the stack's light of a star of one electron per frame, per pixel."""
        total: Array = np.zeros(np.shape(distance))
        weights = sum(f.weight for f in self.frames)
        for frame in self.frames:
            a2 = alpha(frame.fwhm) ** 2
            core = frame.weight * frame.scale * frame.transparency * (_MOFFAT_BETA - 1.0)
            total += core / weights / (np.pi * a2) * (1.0 + distance**2 / a2) ** -_MOFFAT_BETA
        return total

    @cached_property
    def _radial(self) -> tuple[Array, Array]:
        distance = np.arange(0.0, 1.5 * _FARTHEST_PIX, 0.1)
        return distance, self.profile(distance)

    def star(self, index: int, distance: Array) -> Array:
        """Return the light [electron] of a source, taken for a star, at distances from it."""
        light: Array = np.interp(distance, *self._radial) * (self.flux[index] * self.exposure_s)
        return light

    @cached_property
    def stars(self) -> Array:
        """Light of all stars on the stack [electron]; sampled, so good in the wings only."""
        image = np.zeros(self.shape, np.float32)
        radii, profile = self._radial
        for i in np.flatnonzero(self.kind == 0):
            least = _FAINTEST_SIGMA * self.sigma / (self.flux[i] * self.exposure_s)
            reach = float(np.interp(-least, -profile, radii))
            place, distance = self.around(self.x[i], self.y[i], min(reach, _FARTHEST_PIX))
            if distance.size:
                image[place] += self.star(int(i), distance)
        return image

    @cached_property
    def discs(self) -> Array:
        """Light of the extended galaxies on the stack [electron]."""
        image = np.zeros(self.shape, np.float32)
        times = sum(f.weight * f.scale * f.transparency for f in self.frames)
        times *= self.exposure_s / sum(f.weight for f in self.frames)
        for one in self.extended:
            core = one["flux"] / (2.0 * np.pi * one["length_pix"] ** 2 * one["ratio"])
            image += (times * core * np.exp(-self.lengths(one))).astype(np.float32)
        return image

    def lengths(self, one: dict[str, float]) -> Array:
        """Return the elliptical distance from the centre of an extended galaxy, in its lengths."""
        x, y = self.reference.pixel(np.array([one["ra"]]), np.array([one["dec"]]))
        dx = np.arange(self.shape[1])[None, :] - (x[0] - self.origin[0])
        dy = np.arange(self.shape[0])[:, None] - (y[0] - self.origin[1])
        cos, sin = np.cos(one["angle"]), np.sin(one["angle"])
        along, across = dx * cos + dy * sin, (dy * cos - dx * sin) / one["ratio"]
        distance: Array = np.hypot(along, across) / one["length_pix"]
        return distance

    @cached_property
    def galaxies(self) -> Array:
        """Pixels of the stack that the light of a small galaxy may reach."""
        found = np.zeros(self.shape, bool)
        core = self.flux * self.exposure_s * self.profile(np.zeros(1))[0]
        a = alpha(max(frame.fwhm for frame in self.frames))
        outer = np.maximum((core / (GALAXY_SIGMA * self.sigma)) ** (1 / _MOFFAT_BETA) - 1.0, 0.0)
        for i in np.flatnonzero(self.kind != 0):
            reach = float(a * np.sqrt(outer[i]) + GALAXY_REACH_PIX)
            place, distance = self.around(self.x[i], self.y[i], reach)
            found[place] |= distance <= reach
        return found

    @cached_property
    def blank(self) -> Array:
        """Pixels of the stack whose light, that of sources subtracted, is sky and noise alone."""
        quiet: Array = self.stars + self.discs < BLANK_SIGMA * self.sigma
        return quiet & ~self.galaxies

    @cached_property
    def worth(self) -> Array:
        """Share of the frames whose pixel is good, at each pixel of the stack."""
        total = np.zeros(self.shape, np.float32)
        for frame in self.frames:
            part, place = self.onto_stack(frame, self.good)
            total[place] += part
        share: Array = total / np.float32(len(self.frames))
        return share

    def others(self, index: int, radius: float) -> float:
        """Light [electron] of all other sources near a source, in an aperture around it.

        A galaxy counts as a star of three times the seeing; the light is that of the aperture's
        edge towards the neighbour, over its whole area.
        """
        distance = np.hypot(self.x - self.x[index], self.y - self.y[index])
        widths = np.where(self.kind == 0, 1.0, 3.0) * alpha(max(f.fwhm for f in self.frames))
        edge = np.maximum(distance - radius, 0.0) / widths
        density = (_MOFFAT_BETA - 1.0) / (np.pi * widths**2) * (1.0 + edge**2) ** -_MOFFAT_BETA
        light = self.flux * self.exposure_s * density * np.pi * radius**2
        return float(light.sum() - light[index])

    def around(self, x: float, y: float, radius: float) -> tuple[tuple[slice, slice], Array]:
        """Return a box of the stack that holds a circle, and distances from its centre."""
        ys = range(max(0, int(y - radius)), min(self.shape[0], int(y + radius) + 2))
        xs = range(max(0, int(x - radius)), min(self.shape[1], int(x + radius) + 2))
        place = (slice(ys.start, max(ys.stop, ys.start)), slice(xs.start, max(xs.stop, xs.start)))
        return place, np.hypot(np.array(ys)[:, None] - y, np.array(xs)[None, :] - x)


def _disc_like(lit: Array) -> Array:
    """Return `lit` with isolated dark pixels filled: a pixel counts if most of 5 x 5 are lit."""
    total = np.cumsum(np.cumsum(np.pad(lit.astype(np.int32), ((3, 2), (3, 2))), axis=0), axis=1)
    most: Array = total[5:, 5:] - total[:-5, 5:] - total[5:, :-5] + total[:-5, :-5] > 12
    return most


def _grown(mask: Array, pixels: int) -> Array:
    """Grow a mask by a square, the border of the array included."""
    wide = np.pad(mask, pixels, constant_values=True)
    ny, nx = mask.shape
    grown = np.zeros_like(mask)
    for dy in range(2 * pixels + 1):
        for dx in range(2 * pixels + 1):
            grown |= wide[dy : dy + ny, dx : dx + nx]
    return grown
