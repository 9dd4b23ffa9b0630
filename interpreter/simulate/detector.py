"""The array: response, dark signal and defects, and how light becomes raw counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from f2yaml.interpreter.f2.detector import LINEARITY, READ_MODES, SIDE_PIX, WELL_DEPTH_E, linearized
from f2yaml.interpreter.f2.illumination import CENTRE_PIX, RADIUS_PIX, illumination_mask
from f2yaml.interpreter.simulate.plan import generator
from f2yaml.schema.scenario import Detector

Array = npt.NDArray[Any]

#: Light that reaches pixels outside the illuminated circle, and softness of its edge [pix].
_LEAK: Final = 0.003
_EDGE_PIX: Final = 0.8
#: Rates of hot pixels [electron/s], evenly spread in the logarithm.
_HOT_E_S: Final = (5.0, 2.0e4)
#: Charge at which a pixel stops, in wells. The margin exceeds the read noise many times, so that
#: no saturated pixel reads below the level at which reductions call it saturated.
_FULL: Final = 1.01
#: Below this mean [electron] counts are drawn from the Poisson law, above from the normal law
#: (its skewness is then under 0.15).
_FEW_E: Final = 50.0
_ROWS: Final = 32


@dataclass(frozen=True, slots=True)
class Maps:
    """What does not change between frames; arrays of shape (ny, nx).

    Parameters
    ----------
    response : ndarray of float32
        Electrons per electron of light; median 1 over the illuminated circle.
    dark : ndarray of float32
        Dark current in electron/s, glow and hot pixels included.
    pedestal : ndarray of float32
        Pattern of every read-out in electron, whatever the exposure time.
    hot, dead, illuminated : ndarray of bool
    """

    response: Array
    dark: Array
    pedestal: Array
    hot: Array
    dead: Array
    illuminated: Array


def make_maps(detector: Detector, seed: int) -> Maps:
    """Return the maps of an array; they depend on the seed and on the detector's settings only."""
    ny, nx = detector.ny, detector.nx
    rng = generator(seed, "array")
    hot = rng.random((ny, nx), dtype=np.float32) < detector.hot_fraction
    dead = rng.random((ny, nx), dtype=np.float32) < detector.dead_fraction
    dead &= ~hot
    illuminated = illumination_mask((ny, nx)) == 0
    return Maps(
        response=_response(detector, rng, dead, illuminated),
        dark=_dark(detector, rng, hot),
        pedestal=_pedestal(detector, rng),
        hot=hot,
        dead=dead,
        illuminated=illuminated,
    )


def _full_array_radius(detector: Detector) -> Array:
    """Distance from the centre of the circle in pixels of a 2048 x 2048 array with its optics."""
    ny, nx = detector.ny, detector.nx
    y = (np.arange(ny) + 0.5) * (SIDE_PIX / ny) - 0.5 - CENTRE_PIX[0]
    x = (np.arange(nx) + 0.5) * (SIDE_PIX / nx) - 0.5 - CENTRE_PIX[1]
    radius: Array = np.hypot(y[:, None], x[None, :]).astype(np.float32)
    return radius


def _response(
    detector: Detector, rng: np.random.Generator, dead: Array, illuminated: Array
) -> Array:
    ny, nx = dead.shape
    radius = _full_array_radius(detector)
    response = 1.0 - detector.vignetting * (radius / RADIUS_PIX) ** 3
    np.maximum(response, 0.0, out=response)
    response *= 1.0 + detector.large_scale * _waves(rng, ny, nx)
    for _ in range(detector.dust_spots):
        _shade(response, rng)
    noise = rng.standard_normal((ny, nx), dtype=np.float32)
    response *= 1.0 + detector.pixel_response_rms * noise
    response /= np.median(response[illuminated])
    edge = _EDGE_PIX * SIDE_PIX / max(nx, ny)
    light = 1.0 / (1.0 + np.exp(np.clip((radius - RADIUS_PIX) / edge, -40.0, 40.0)))
    response *= _LEAK + (1.0 - _LEAK) * light
    response[dead] *= rng.uniform(0.0, 0.4, int(dead.sum())).astype(np.float32)
    return np.maximum(response, 0.0).astype(np.float32)


def _waves(rng: np.random.Generator, ny: int, nx: int) -> Array:
    """Smooth structure of about unit amplitude: float32, shape (ny, nx)."""
    x, y = np.linspace(0.0, 1.0, nx), np.linspace(0.0, 1.0, ny)
    total = np.zeros((ny, nx), dtype=np.float32)
    for kx, ky, size in ((1, 0, 0.6), (0, 1, 0.6), (1, 2, 0.3), (3, 1, 0.2), (2, 4, 0.15)):
        a, b = rng.uniform(0.0, 2.0 * np.pi, 2)
        wave = np.outer(np.cos(np.pi * ky * y + a), np.cos(np.pi * kx * x + b))
        total += (size * wave).astype(np.float32)
    return total


def _shade(response: Array, rng: np.random.Generator) -> None:
    """Put the out-of-focus shadow of a dust grain somewhere: 2-8 % deep, 6-20 pixels wide."""
    ny, nx = response.shape
    x0, y0 = int(rng.integers(nx)), int(rng.integers(ny))
    width, depth = rng.uniform(6.0, 20.0), rng.uniform(0.02, 0.08)
    reach = int(3 * width)
    ys = np.arange(max(y0 - reach, 0), min(y0 + reach + 1, ny))
    xs = np.arange(max(x0 - reach, 0), min(x0 + reach + 1, nx))
    distance = np.hypot(ys[:, None] - y0, xs[None, :] - x0) / width
    shadow = 1.0 - depth * np.exp(-((distance - 0.8) ** 2) / 0.18)
    response[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1] *= shadow.astype(np.float32)


def _dark(detector: Detector, rng: np.random.Generator, hot: Array) -> Array:
    ny, nx = hot.shape
    scatter = rng.standard_normal((ny, nx), dtype=np.float32)
    dark: Array = detector.dark_e_s * np.exp(0.3 * scatter) * (1.0 + 0.2 * _waves(rng, ny, nx))
    x, y = np.arange(nx) / nx, np.arange(ny) / ny
    for left, low, size in ((True, True, 1.0), (False, True, 0.6), (True, False, 0.8)):
        across = np.exp(-(x if left else 1.0 - x) / 0.06)
        along = np.exp(-(y if low else 1.0 - y) / 0.06)
        dark += (detector.glow_e_s * size * np.outer(along, across)).astype(np.float32)
    low_rate, high_rate = (math.log(rate) for rate in _HOT_E_S)
    dark[hot] += np.exp(rng.uniform(low_rate, high_rate, int(hot.sum()))).astype(np.float32)
    np.maximum(dark, 0.0, out=dark)
    return dark


def _pedestal(detector: Detector, rng: np.random.Generator) -> Array:
    """Level of each of the 32 outputs (8 stripes a quadrant) and the settling after a reset."""
    ny, nx = detector.ny, detector.nx
    levels = rng.normal(0.0, detector.pedestal_e, (4, 8))
    quadrant = 2 * (np.arange(ny) >= ny // 2)[:, None] + (np.arange(nx) >= nx // 2)[None, :]
    stripe = np.arange(nx) % max(nx // 2, 1) * 8 // max(nx // 2, 1)
    pedestal: Array = levels.astype(np.float32)[quadrant, np.minimum(stripe, 7)[None, :]]
    row = np.minimum(np.arange(ny), np.arange(ny)[::-1]) * (SIDE_PIX / ny)
    pedestal += (detector.pedestal_e * np.exp(-row / 60.0)[:, None]).astype(np.float32)
    return pedestal


def measured_charge(linear: Array) -> Array:
    """Return the electrons that are measured for `linear` electrons of light.

    The inverse, by Newton's method, of the cubic that linearizes (instrument 3.4). The cubic
    rises everywhere, so there is one solution; two steps from the linear value settle it to
    1e-4 electron (or to the precision of the type) up to the full well.

    Parameters
    ----------
    linear : ndarray of float32 or float64
        True electrons in one coadd.

    Returns
    -------
    ndarray, shape and type of `linear`
    """
    c1, c2, c3 = LINEARITY
    charge = np.array(linear)
    for _ in range(2):
        slope = c1 + charge * (2.0 * c2 + charge * (3.0 * c3))
        charge -= (charge * (c1 + charge * (c2 + charge * c3)) - linear) / slope
    return charge


def expose(
    rate: Array, exposure_s: float, maps: Maps, detector: Detector, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Turn light into raw counts.

    Parameters
    ----------
    rate : ndarray of float32, shape (ny, nx)
        Light after the response of the array, electron/s/pix. It is used as working space.
    exposure_s : float
    maps : Maps
    detector : Detector
    rng : Generator
        Source of photon noise, read noise and cosmic rays.

    Returns
    -------
    counts : ndarray of int32, shape (ny, nx)
        Raw counts in adu.
    cosmic : ndarray of int32, shape (n, 2)
        Row and column of the pixels that cosmic rays hit.
    """
    counts = np.empty(rate.shape, dtype=np.int32)
    rows, columns, energies = _cosmic_rays(rate.shape, exposure_s, detector, rng)
    # Blocks of rows that fit a processor's cache: three times faster than whole frames.
    for first in range(0, rate.shape[0], _ROWS):
        block = slice(first, first + _ROWS)
        mean = rate[block]
        mean += maps.dark[block]
        mean *= np.float32(exposure_s)
        charge = _counted(mean, rng)
        struck = (rows >= first) & (rows < first + _ROWS)
        np.add.at(charge, (rows[struck] - first, columns[struck]), energies[struck])
        counts[block] = _read_out(charge, maps.pedestal[block], detector, rng)
    hits = sorted(set(zip(rows.tolist(), columns.tolist(), strict=True)))
    return counts, np.array(hits, dtype=np.int32).reshape(-1, 2)


def _read_out(
    charge: Array, pedestal: Array, detector: Detector, rng: np.random.Generator
) -> Array:
    """Return counts in adu (whole numbers as float32) of electrons; `charge` is overwritten."""
    mode = READ_MODES[detector.lnrs]
    if detector.nonlinear:
        np.minimum(charge, np.float32(linearized(_FULL * WELL_DEPTH_E)), out=charge)
        charge = measured_charge(charge)
    else:
        np.minimum(charge, np.float32(_FULL * WELL_DEPTH_E), out=charge)
    noise = rng.standard_normal(charge.shape, dtype=np.float32)
    noise *= np.float32(mode.read_noise_e)
    charge += noise
    charge += pedestal
    charge /= np.float32(mode.gain)
    return np.rint(charge, out=charge)


def _counted(mean: Array, rng: np.random.Generator) -> Array:
    few = mean < _FEW_E
    if few.mean() > 0.5:
        counted = np.empty_like(mean)
        many = mean[~few]
        counted[~few] = many + np.sqrt(many) * rng.standard_normal(many.size, dtype=np.float32)
    else:
        counted = rng.standard_normal(mean.shape, dtype=np.float32)
        counted *= np.sqrt(mean)
        counted += mean
    counted[few] = rng.poisson(mean[few])
    return counted


def _cosmic_rays(
    shape: tuple[int, ...], exposure_s: float, detector: Detector, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Return rows, columns and electrons of straight tracks, 300 to 30000 electron each.

    A pixel may be named more than once; what falls on it adds up.
    """
    ny, nx = shape
    expected = detector.cosmic_rays_s * exposure_s * (nx * ny / SIDE_PIX**2)
    rows, columns, energies = [np.empty(0, int)], [np.empty(0, int)], [np.empty(0, np.float32)]
    for _ in range(int(rng.poisson(expected))):
        x, y = rng.uniform(0, nx), rng.uniform(0, ny)
        length = 1.0 + rng.exponential(2.0)
        angle = rng.uniform(0.0, 2.0 * math.pi)
        energy = math.exp(rng.uniform(math.log(300.0), math.log(30000.0)))
        along = np.linspace(0.0, length, max(2, math.ceil(4 * length)))
        row = np.floor(y + along * math.sin(angle)).astype(int)
        column = np.floor(x + along * math.cos(angle)).astype(int)
        on_array = (row >= 0) & (row < ny) & (column >= 0) & (column < nx)
        rows.append(row[on_array])
        columns.append(column[on_array])
        energies.append(np.full(int(on_array.sum()), energy / along.size, np.float32))
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(energies)
