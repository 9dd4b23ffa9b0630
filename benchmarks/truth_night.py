"""What a simulated night truly held, carried to the pixels of its stack.

Positions are 0-based (x, y), the centre of a pixel at whole numbers; arrays are [y, x]. Nothing
here uses f2yaml: projections, profiles and noise are derived a second time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

Array = npt.NDArray[Any]
Pair = tuple[float, float]

#: Light of a source that may lie in a pixel called blank, in sigma of a stack pixel.
BLANK_SIGMA = 0.02
#: Added to the exclusion radius of a galaxy: several scale lengths of the discs [pix].
GALAXY_REACH_PIX = 30.0
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
    """The truth of one science frame; `shift` is added to a stack position to reach its pixel."""

    name: str
    exposure_s: float
    transparency: float
    fwhm: float
    sky_e: float
    projection: Projection
    shift: Pair


class Night:
    """The truth of the frames that went into a stack, on the grid of the stack.

    Parameters
    ----------
    raw : Path
        Folder with the raw frames, ``truth.json`` and ``truth.npz``.
    primary, image : fits.Header
        Headers of the stack: primary and SCI. ``IMCMBnnn`` names the frames, the first of which
        gave the grid.

    Notes
    -----
    True positions follow from the true pointing of the reference frame and its pixel grid, so an
    error of its header, which nobody can know, does not count.
    """

    def __init__(self, raw: Path, primary: fits.Header, image: fits.Header) -> None:
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
            self.frames.append(Frame(name, time, trans, fwhm, sky * time, true[name], shift))

    @property
    def fwhm(self) -> float:
        """Median seeing of the frames [pix]."""
        return float(np.median([frame.fwhm for frame in self.frames]))

    @property
    def exposure_s(self) -> float:
        """Exposure time of the reference frame, to which the stack is scaled."""
        return self.frames[0].exposure_s

    @property
    def transparency(self) -> float:
        """Mean transparency of the frames."""
        return float(np.mean([frame.transparency for frame in self.frames]))

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

        The ideal stack is the plain mean of all frames, each divided by a noiseless flat, minus a
        sky that is known without noise. Bad pixels count as if they were good.
        """
        total = np.zeros(self.shape, np.float32)
        used, covered = np.zeros(self.shape, np.int16), np.zeros(self.shape, np.int16)
        use = self.good & self.field
        for frame in self.frames:
            variance = np.where(use, self.ideal_variance(frame), 0).astype(np.float32)
            for plane, source in ((total, variance), (used, use), (covered, self.field)):
                part, place = self.onto_stack(frame, source)
                plane[place] += part
        covered[used == 0] = 0
        return total / np.maximum(used, 1) / np.maximum(covered, 1), covered

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

    @cached_property
    def light_noise(self) -> Array:
        """Variance that one electron of a source's light adds to a pixel of the ideal stack."""
        total, used = np.zeros(self.shape, np.float32), np.zeros(self.shape, np.float32)
        use = self.good & self.field
        inverse = np.where(use, 1.0 / np.maximum(self.response, 0.05), 0)
        for frame in self.frames:
            for plane, source in ((total, inverse), (used, use)):
                part, place = self.onto_stack(frame, source)
                plane[place] += part
        mean: Array = total / np.maximum(used, 1) / np.maximum(self.ideal[1], 1)
        return mean

    @cached_property
    def worth(self) -> Array:
        """Share of the frames whose pixel is good, at each pixel of the stack."""
        total = np.zeros(self.shape, np.float32)
        for frame in self.frames:
            part, place = self.onto_stack(frame, self.good)
            total[place] += part
        share: Array = total / np.float32(len(self.frames))
        return share

    @cached_property
    def reach(self) -> Array:
        """Radius [pix] outside of which each source adds less than `BLANK_SIGMA` to a pixel."""
        sigma = float(np.sqrt(np.median(self.ideal[0][self.full])))
        a = alpha(max(frame.fwhm for frame in self.frames))
        core = self.flux * self.exposure_s * (_MOFFAT_BETA - 1.0) / (np.pi * a**2)
        outer = np.maximum((core / (BLANK_SIGMA * sigma)) ** (1 / _MOFFAT_BETA) - 1.0, 0.0)
        return a * np.sqrt(outer) + np.where(self.kind == 0, 3.0, GALAXY_REACH_PIX)

    @cached_property
    def crowd(self) -> Array:
        """Number of sources whose light reaches each pixel of the stack."""
        count = np.zeros(self.shape, np.int16)
        for x, y, reach in zip(self.x, self.y, self.reach, strict=True):
            place, distance = self.around(x, y, reach)
            count[place] += distance <= reach
        return count

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
