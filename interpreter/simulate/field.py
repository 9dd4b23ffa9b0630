"""Stars and galaxies: where they are, and what light of theirs falls on the array."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from f2yaml.interpreter.simulate.optics import (
    CD_DEG,
    SCALE_ARCSEC,
    cd_matrix,
    reference_pixel,
    shifted,
)
from f2yaml.interpreter.simulate.plan import FramePlan, generator, largest_offset
from f2yaml.schema.scenario import Scenario

Array = npt.NDArray[Any]

STAR: Final = 0
GALAXY: Final = 1
#: Moffat exponent of the seeing, and alpha of a profile of FWHM 1.
BETA: Final = 3.0
_ALPHA: Final = 0.5 / math.sqrt(2.0 ** (1.0 / BETA) - 1.0)
#: Half-light radius of an exponential disc in scale lengths.
_HALF_LIGHT: Final = 1.678347
#: Gauss-Legendre nodes and weights on a pixel (-0.5 .. 0.5).
_NODES: Final = ((-math.sqrt(0.15), 5 / 18), (0.0, 8 / 18), (math.sqrt(0.15), 5 / 18))
#: Pixels this near the centre are integrated, the others sampled: an error of 5e-5 of the flux.
_CORE_PIX: Final = 12
#: A star is drawn until it is fainter than this [electron/pix], but at least to _REACH_PIX,
#: outside of which lie 5e-5 of the light at 0.6 arcsec seeing.
_FAINTEST_E: Final = 0.05
_REACH_PIX: Final = (40, 200)


@dataclass(frozen=True, slots=True)
class Sources:
    """Sources of a field, one element each: positions in deg, kind, mag, and shape of galaxies.

    `length_pix` is the scale length of the disc, `ratio` its axis ratio and `angle` the angle of
    its long axis to the x axis in radian; they mean nothing for stars.
    """

    ra: Array
    dec: Array
    mag: Array
    kind: Array
    length_pix: Array
    ratio: Array
    angle: Array

    def flux(self, zeropoint: float) -> Array:
        """Return the fluxes above the atmosphere in electron/s."""
        return np.power(10.0, -0.4 * (self.mag - zeropoint))


def catalogue(scenario: Scenario, frames: list[FramePlan]) -> Sources:
    """Return the sources of a scenario, spread evenly over all that the dithers see.

    Magnitudes follow counts that grow as ``10 ** (count_slope * mag)``.
    """
    target, rng = scenario.target, generator(scenario.seed, "sources")
    count = target.stars + target.galaxies
    kind = np.repeat([STAR, GALAXY], [target.stars, target.galaxies])
    margin = largest_offset(frames) + 5.0
    half_x, half_y = (
        0.5 * side * SCALE_ARCSEC + margin for side in (scenario.detector.nx, scenario.detector.ny)
    )
    x = rng.uniform(-half_x, half_x, count) / SCALE_ARCSEC
    y = rng.uniform(-half_y, half_y, count) / SCALE_ARCSEC
    (cd11, cd12), (cd21, cd22) = cd_matrix(target.pa_deg)
    ra, dec = deproject(cd11 * x + cd12 * y, cd21 * x + cd22 * y, target.ra_deg, target.dec_deg)
    bright = np.where(kind == STAR, target.bright_mag, target.galaxy_bright_mag)
    slope = target.count_slope
    low, high = 10.0 ** (slope * (bright - target.faint_mag)), 1.0
    mag = target.faint_mag + np.log10(rng.uniform(low, high)) / slope
    radius = target.galaxy_radius_arcsec * np.exp(np.clip(rng.normal(0, 0.35, count), -1, 1))
    return Sources(
        ra=ra,
        dec=dec,
        mag=mag,
        kind=kind,
        length_pix=radius / SCALE_ARCSEC / _HALF_LIGHT,
        ratio=rng.uniform(0.3, 1.0, count),
        angle=rng.uniform(0.0, math.pi, count),
    )


def deproject(xi: Array, eta: Array, ra0: float, dec0: float) -> tuple[Array, Array]:
    """Return ra, dec in deg of gnomonic coordinates in deg about `ra0`, `dec0`."""
    xi, eta, dec = np.radians(xi), np.radians(eta), math.radians(dec0)
    below = math.cos(dec) - eta * math.sin(dec)
    ra = math.radians(ra0) + np.arctan2(xi, below)
    height = math.sin(dec) + eta * math.cos(dec)
    return np.degrees(ra) % 360.0, np.degrees(np.arctan2(height, np.hypot(xi, below)))


def project(ra: Array, dec: Array, frame: FramePlan, scenario: Scenario) -> tuple[Array, Array]:
    """Return the pixel positions x, y (from 0) at which a frame truly sees `ra`, `dec` (deg)."""
    da, d, d0 = np.radians(ra - frame.ra0), np.radians(dec), math.radians(frame.dec0)
    cosine = np.sin(d) * math.sin(d0) + np.cos(d) * math.cos(d0) * np.cos(da)
    xi = np.degrees(np.cos(d) * np.sin(da) / cosine)
    eta = np.degrees((np.sin(d) * math.cos(d0) - np.cos(d) * math.sin(d0) * np.cos(da)) / cosine)
    # The CD matrix is a reflection times the scale: its inverse is itself over scale squared.
    (cd11, cd12), (cd21, cd22) = cd_matrix(scenario.target.pa_deg)
    crpix = reference_pixel(scenario.detector.nx, scenario.detector.ny)
    return (
        crpix[0] - 1.0 + (cd11 * xi + cd12 * eta) / CD_DEG**2,
        crpix[1] - 1.0 + (cd21 * xi + cd22 * eta) / CD_DEG**2,
    )


def render(sources: Sources, frame: FramePlan, scenario: Scenario) -> Array:
    """Return the light of all sources on a frame: electron/s/pix, float32, shape (ny, nx).

    Atmospheric transparency is applied, the response of the array is not. Stars are Moffat
    profiles of exponent 3 integrated over pixels; galaxies are inclined exponential discs
    convolved with the same profile.
    """
    image = np.zeros((scenario.detector.ny, scenario.detector.nx), dtype=np.float32)
    flux = sources.flux(frame.zeropoint) * frame.transparency
    xs, ys = project(sources.ra, sources.dec, frame, scenario)
    alpha = _ALPHA * frame.fwhm_pix
    seeing: dict[int, Array] = {}
    for i in range(len(flux)):
        x, y = float(xs[i]), float(ys[i])
        if sources.kind[i] == STAR:
            reach = _reach(float(flux[i]) * frame.exposure_s, alpha)
        else:
            reach = _galaxy_reach(float(sources.length_pix[i]), frame.fwhm_pix)
        column, row = round(x), round(y)
        if not (-reach <= column < image.shape[1] + reach):
            continue
        if not (-reach <= row < image.shape[0] + reach):
            continue
        if sources.kind[i] == STAR:
            stamp = _star(x - column, y - row, alpha, reach)
        else:
            if reach not in seeing:
                seeing[reach] = _transfer(alpha, reach)
            shape = (sources.length_pix[i], sources.ratio[i], sources.angle[i])
            stamp = _galaxy(x - column, y - row, shape, seeing[reach])
        _add(image, flux[i] * stamp, column - reach, row - reach)
    return image


def extended_places(scenario: Scenario) -> list[tuple[float, float]]:
    """Return the centres of the target's extended galaxies: ra, dec in deg."""
    target = scenario.target
    return [
        shifted(target.ra_deg, target.dec_deg, one.east_arcsec, one.north_arcsec)
        for one in target.extended
    ]


def render_extended(frame: FramePlan, scenario: Scenario) -> Array:
    """Return the light of the extended galaxies on a frame, as `render` does for the sources.

    The discs are sampled at the centres of pixels on the whole array and not blurred: seeing
    changes nothing but the innermost arcsec of a disc that is tens of arcsec wide.
    """
    ny, nx = scenario.detector.ny, scenario.detector.nx
    image = np.zeros((ny, nx), dtype=np.float32)
    grid_y, grid_x = np.arange(ny)[:, None], np.arange(nx)[None, :]
    for one, (ra, dec) in zip(scenario.target.extended, extended_places(scenario), strict=True):
        x, y = (float(v[0]) for v in project(np.array([ra]), np.array([dec]), frame, scenario))
        length = one.length_arcsec / SCALE_ARCSEC
        shape = (length, one.ratio, axis_angle(one.angle_deg, scenario.target.pa_deg))
        flux = 10.0 ** (-0.4 * (one.mag - frame.zeropoint)) * frame.transparency
        centre = flux / (2.0 * math.pi * length**2 * one.ratio)
        image += (centre * _disc(grid_x - x, grid_y - y, shape)).astype(np.float32)
    return image


def axis_angle(angle_deg: float, pa_deg: float) -> float:
    """Return the angle to the x axis [radian] of a line at `angle_deg` from North through East."""
    turn = math.radians(angle_deg)
    (cd11, cd12), (cd21, cd22) = cd_matrix(pa_deg)
    east, north = math.sin(turn), math.cos(turn)
    return math.atan2(cd21 * east + cd22 * north, cd11 * east + cd12 * north)


def _reach(electrons: float, alpha: float) -> int:
    core = (BETA - 1.0) / (math.pi * alpha**2) * electrons / _FAINTEST_E
    edge = alpha * math.sqrt(max(core ** (1.0 / BETA) - 1.0, 0.0)) if core > 0 else 0.0
    return min(max(math.ceil(edge), _REACH_PIX[0]), _REACH_PIX[1])


def _galaxy_reach(length: float, fwhm: float) -> int:
    """Eight scale lengths hold 99.7 % of a disc; the steps keep the number of FFT sizes small."""
    return min(32 * math.ceil((8.0 * length + 5.0 * fwhm) / 32.0), 256)


def _moffat(dx: Array, dy: Array, alpha: float) -> Array:
    """Moffat profile of unit flux; `dx` and `dy` broadcast."""
    base = 1.0 + (dx * dx + dy * dy) / alpha**2
    profile: Array = (BETA - 1.0) / (math.pi * alpha**2) / (base * base * base)
    return profile


def _star(dx: float, dy: float, alpha: float, reach: int) -> Array:
    grid = np.arange(-reach, reach + 1.0)
    stamp = _moffat(grid[None, :] - dx, grid[:, None] - dy, alpha)
    core = grid[reach - _CORE_PIX : reach + _CORE_PIX + 1]
    inner = np.zeros((core.size, core.size))
    for step_y, weight_y in _NODES:
        for step_x, weight_x in _NODES:
            inner += (weight_x * weight_y) * _moffat(
                core[None, :] + step_x - dx, core[:, None] + step_y - dy, alpha
            )
    part = slice(reach - _CORE_PIX, reach + _CORE_PIX + 1)
    stamp[part, part] = inner
    return stamp


def _transfer(alpha: float, reach: int) -> Array:
    """Transform of the sampled seeing profile, centred on pixel (0, 0), on 2 reach pixels."""
    # Only the disc is integrated over pixels: integrating both would blur by a second pixel.
    distance = np.fft.fftfreq(2 * reach, 1.0 / (2 * reach))
    profile = _moffat(distance[None, :], distance[:, None], alpha)
    return np.fft.rfft2(profile / profile.sum())


def _galaxy(dx: float, dy: float, shape: tuple[float, float, float], transfer: Array) -> Array:
    reach = transfer.shape[0] // 2
    grid = np.arange(-reach, reach, dtype=np.float64)
    disc = _disc(grid[None, :] - dx, grid[:, None] - dy, shape)
    part = slice(reach - _CORE_PIX, reach + _CORE_PIX + 1)
    core = grid[part]
    inner = np.zeros((core.size, core.size))
    for step_y, weight_y in _NODES:
        for step_x, weight_x in _NODES:
            x, y = core[None, :] + step_x - dx, core[:, None] + step_y - dy
            inner += (weight_x * weight_y) * _disc(x, y, shape)
    disc[part, part] = inner
    disc /= disc.sum()
    blurred: Array = np.fft.irfft2(np.fft.rfft2(disc) * transfer, s=disc.shape)
    return blurred


def _disc(x: Array, y: Array, shape: tuple[float, float, float]) -> Array:
    """Exponential disc of central brightness 1; `x` and `y` broadcast."""
    length, ratio, angle = shape
    cos, sin = math.cos(angle), math.sin(angle)
    along, across = x * cos + y * sin, (y * cos - x * sin) / ratio
    profile: Array = np.exp(np.sqrt(along * along + across * across) * (-1.0 / length))
    return profile


def _add(image: Array, stamp: Array, left: int, bottom: int) -> None:
    """Add a stamp to an image in place, cut at the image's edges."""
    top, right = bottom + stamp.shape[0], left + stamp.shape[1]
    y0, y1 = max(bottom, 0), min(top, image.shape[0])
    x0, x1 = max(left, 0), min(right, image.shape[1])
    if y0 < y1 and x0 < x1:
        image[y0:y1, x0:x1] += stamp[y0 - bottom : y1 - bottom, x0 - left : x1 - left]
