"""From raw counts to calibrated electrons: quality bits, gain, noise, linearity, dark, flat.

Each function is one pass over the pixels in single precision. `calibrate` does all of them on short
runs that stay in the cache and gives, bit for bit, the planes of the functions called in turn.

Departures from spec 5.1-5.4 and 2.3, each with a test that names both results:

- The linearity polynomial is not extrapolated: above the well depth the correction continues with
  slope 1 (200000 e- becomes 202740.24, the reference gives 206345.22).
- Division by zero in the flat, or one whose result is not finite, gives data 0, variance 0 and
  quality bit 1; the reference leaves inf without a flag.
- Levels and the read variance are multiplied by the number of coadds, which are summed.
- Hidden saturation needs a closed ring of saturated pixels (`hidden_saturation`).
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from f2yaml.interpreter.algorithms.jit import kernel, part
from f2yaml.interpreter.algorithms.saturation import hidden_saturation
from f2yaml.interpreter.dq import DQ

__all__ = [
    "WELL_DEPTH",
    "Planes",
    "calibrate",
    "corrected_level",
    "divide",
    "divided_share",
    "hidden_saturation",
    "level_flags",
    "linearize",
    "noise_variance",
    "subtract",
    "subtracted_share",
    "to_electrons",
]

Float32 = npt.NDArray[np.float32]
Bits = npt.NDArray[np.uint16]
Share = npt.NDArray[np.uint8]
_Number = TypeVar("_Number", bound=np.generic)

#: Electrons per exposure up to which the linearity of the detector is calibrated.
WELL_DEPTH = 155_400.0
#: Pixels of a run: what the joined pass has at hand for them fits a first-level cache.
RUN = 1024

#: Shares of a variance are kept in 255ths: a byte a pixel, good to 0.2 % of the variance.
WHOLE = np.float32(255)
HALF = np.float32(0.5)
ZERO = np.float32(0)
INF = np.float32(np.inf)
NON_LINEAR = np.uint16(DQ.NON_LINEAR)
SATURATED = np.uint16(DQ.SATURATED)
BAD_PIXEL = np.uint16(DQ.BAD_PIXEL)
CLEAN = np.uint16(0)


class Planes(NamedTuple):
    """Data, variance and quality bits of the same pixels, C-contiguous."""

    data: Float32
    variance: Float32
    mask: Bits


def level_flags(
    raw: Float32 | npt.NDArray[np.int32],
    mask: Bits | None,
    *,
    nonlinear: float,
    saturation: float,
    coadds: int = 1,
) -> Bits:
    """Return `mask` with bit 4 where saturated and bit 2 where in the non-linear range.

    Parameters
    ----------
    raw : float32 or int32, any shape, adu
    mask : uint16, shape of `raw`, or None
    nonlinear, saturation : float
        Levels of one coadd [adu]. Bit 4 from `saturation` on, bit 2 from `nonlinear` up to below
        `saturation`; equal levels never give bit 2.
    coadds : int
        Exposures summed in the frame.

    References
    ----------
    Spec 5.1, steps 2, 3 and 5; 15.6.
    """
    out = np.zeros(raw.shape, np.uint16) if mask is None else mask.copy()
    _flag(_flat(raw), np.float32(nonlinear * coadds), np.float32(saturation * coadds), _flat(out))
    return out


def to_electrons(raw: Float32 | npt.NDArray[np.int32], *, gain: float) -> Float32:
    """Return `raw` [adu] times `gain` [electron/adu] (spec 5.2)."""
    out = np.empty(raw.shape, np.float32)
    _multiply(_flat(raw), np.float32(gain), _flat(out))
    return out


def noise_variance(
    data: Float32,
    *,
    read_noise: float,
    gain: float = 1.0,
    coadds: int = 1,
    read: bool = True,
    poisson: bool = True,
) -> Float32:
    """Return the variance of read and photon noise, in units of `data` squared.

    Parameters
    ----------
    data : float32, any shape
        Electrons, or adu with `gain`.
    read_noise : float
        Of one coadd [electron].
    gain : float
        Electrons per unit of `data`.
    coadds : int
        Exposures summed in the frame; each adds its read variance.
    read, poisson : bool
        Which parts to include.

    References
    ----------
    Spec 5.3, 15.6. Multiplying the read variance by the coadds is ours.
    """
    out = np.empty(data.shape, np.float32)
    floor = np.float32((read_noise / gain) ** 2 * coadds if read else 0.0)
    photon = np.float32(1.0 / gain if poisson else 0.0)
    _noise(_flat(data), floor, photon, _flat(out))
    return out


def linearize(
    data: Float32,
    variance: Float32 | None,
    *,
    coefficients: tuple[float, float, float],
    gain: float = 1.0,
    coadds: int = 1,
    limit: float = WELL_DEPTH,
    poisson: bool = True,
) -> tuple[Float32, Float32 | None]:
    """Correct the response of the detector.

    Parameters
    ----------
    data : float32, any shape
        Electrons, or adu with `gain`.
    variance : float32, shape of `data`, or None
    coefficients : (c0, c1, c2)
        ``x' = c0 x + c1 x^2 + c2 x^3`` with x in electrons per exposure.
    gain, coadds
        As for `noise_variance`.
    limit : float
        Electrons per exposure from which the correction goes on with slope 1.
    poisson : bool
        Whether the variance has photon noise, which then becomes that of the corrected signal.

    Returns
    -------
    data, variance : float32

    References
    ----------
    Spec 5.4, 15.6. The limit is ours.
    """
    out = np.empty(data.shape, np.float32)
    curve = _curve(coefficients, gain, coadds, limit)
    _linear(_flat(data), curve, _flat(out))
    if variance is None or not poisson:
        return out, None if variance is None else variance.copy()
    spread = variance.copy()
    _linear_variance(_flat(data), _flat(out), np.float32(1.0 / gain), _flat(spread))
    return out, spread


def corrected_level(
    level: float,
    *,
    coefficients: tuple[float, float, float],
    gain: float = 1.0,
    coadds: int = 1,
    limit: float = WELL_DEPTH,
) -> float:
    """Return a level (saturation, onset of non-linearity) after `linearize`, to 3 decimals."""
    c0, c1, c2 = coefficients
    k = gain / coadds
    x = level * k
    y = min(x, limit)
    return round((y * (c0 + y * (c1 + y * c2)) + (x - y)) / k, 3)


def subtract(a: Planes, b: Planes) -> Planes:
    """Return a - b: variances add, bits are ORed (spec 2.3, 6.1)."""
    out = _copy(a)
    _subtract(*_flat_planes(b), *_flat_planes(out))
    return out


def divide(a: Planes, b: Planes) -> Planes:
    """Return a / b with V = (Va + (a/b)^2 Vb) / b^2; bits are ORed (spec 2.3, 6.2).

    Where the result is not finite, data and variance are 0 and bit 1 is set (ours).
    """
    out = _copy(a)
    _divide(*_flat_planes(b), *_flat_planes(out))
    return out


def subtracted_share(share: Share | None, variance: Float32, noise: Float32) -> Share:
    """Return the share of a variance that calibrations brought in, after a dark is subtracted.

    Parameters
    ----------
    share : uint8, shape (rows, nx), or None
        Share so far, in 255ths; None stands for zero.
    variance : float32, shape (rows, nx)
        Variance before, Va.
    noise : float32, shape (rows, nx)
        Variance of the dark, Vb.

    Returns
    -------
    uint8, shape (rows, nx)
        (share Va + Vb) / (Va + Vb) in 255ths, rounded; 0 where there is no variance.
    """
    out = np.zeros(variance.shape, np.uint8) if share is None else share.copy()
    _subtracted_share(_flat(variance), _flat(noise), _flat(out))
    return out


def divided_share(share: Share | None, a: Planes, b: Planes) -> Share:
    """Return the share of a variance that calibrations brought in, after division by a flat.

    Parameters
    ----------
    share : uint8, shape (rows, nx), or None
        Share of the variance of `a` so far, in 255ths; None stands for zero.
    a, b : Planes, shape (rows, nx)
        Frame before the division, and flat.

    Returns
    -------
    uint8, shape (rows, nx)
        (share Va + (a/b)^2 Vb) / (Va + (a/b)^2 Vb) in 255ths, rounded; 0 where there is none.
    """
    out = np.zeros(a.data.shape, np.uint8) if share is None else share.copy()
    _divided_share(_flat(a.data), _flat(a.variance), _flat(b.data), _flat(b.variance), _flat(out))
    return out


def calibrate(
    raw: Float32 | npt.NDArray[np.int32],
    static_mask: Bits | None,
    *,
    gain: float,
    read_noise: float,
    saturation: float,
    nonlinear: float,
    coefficients: tuple[float, float, float],
    coadds: int = 1,
    dark: Planes | None = None,
    flat: Planes | None = None,
    limit: float = WELL_DEPTH,
    out: Planes | None = None,
    share: Share | None = None,
) -> Planes:
    """Do `level_flags`, `to_electrons`, `noise_variance`, `linearize`, dark and flat in one pass.

    Parameters
    ----------
    raw : int32 or float32 in native byte order, shape (ny, nx), adu
    static_mask : uint16, shape (ny, nx), or None
    gain : float
        Electrons per adu.
    read_noise : float
        Electrons, of the frame with all its coadds.
    saturation, nonlinear : float
        Levels of the frame with all its coadds [adu].
    coefficients, coadds, limit
        As for `linearize`.
    dark, flat : Planes, shape (ny, nx), or None
        Dark in electrons; flat near 1.
    out : Planes, optional
        C-contiguous arrays to fill.
    share : uint8, shape (ny, nx), optional
        C-contiguous array to fill with what `subtracted_share` and `divided_share` give.

    Returns
    -------
    Planes, shape (ny, nx), electron
        Bit for bit those of the functions called one after the other.

    References
    ----------
    Spec 5.1-5.4, 6.1, 6.2. The module's docstring lists the departures.
    """
    if out is None:
        shape = raw.shape
        planes = (np.empty(shape, np.float32), np.empty(shape, np.float32))
        out = Planes(*planes, np.empty(shape, np.uint16))
    assert all(p.shape == raw.shape and p.flags.c_contiguous for p in out)
    settings = settings_of(
        gain=gain,
        read_noise=read_noise,
        saturation=saturation,
        nonlinear=nonlinear,
        coefficients=coefficients,
        coadds=coadds,
        limit=limit,
    )
    calibrate_rows(raw, static_mask, settings, dark or NONE, flat or NONE, out, share)
    return out


def settings_of(
    *,
    gain: float,
    read_noise: float,
    saturation: float,
    nonlinear: float,
    coefficients: tuple[float, float, float],
    coadds: int = 1,
    limit: float = WELL_DEPTH,
) -> Settings:
    """Return the figures of a frame as `calibrate_rows` wants them; parameters of `calibrate`."""
    return Settings(
        (np.float32(nonlinear), np.float32(saturation)),
        np.float32(gain),
        (np.float32(read_noise**2), np.float32(1)),
        _curve(coefficients, 1.0, coadds, limit),
    )


def calibrate_rows(
    raw: Float32 | npt.NDArray[np.int32],
    static_mask: Bits | None,
    settings: Settings,
    dark: Planes,
    flat: Planes,
    out: Planes,
    share: Share | None,
) -> None:
    """Do what `calibrate` does to some rows, with settings made once.

    Parameters
    ----------
    raw, static_mask, share
        As for `calibrate`.
    settings : Settings
    dark, flat : Planes
        Rows of the calibrations; `NONE` for none.
    out : Planes
        Filled.
    """
    _calibrate(
        raw.reshape(-1),
        NONE.mask if static_mask is None else static_mask.reshape(-1),
        *settings,
        Planes(dark.data.reshape(-1), dark.variance.reshape(-1), dark.mask.reshape(-1)),
        Planes(flat.data.reshape(-1), flat.variance.reshape(-1), flat.mask.reshape(-1)),
        Planes(out.data.reshape(-1), out.variance.reshape(-1), out.mask.reshape(-1)),
        NO_SHARE if share is None else share.reshape(-1),
    )


class _Curve(NamedTuple):
    """Linearity: polynomial per unit of data up to `limit`, then slope 1."""

    c0: np.float32
    c1: np.float32
    c2: np.float32
    to_electrons: np.float32
    from_electrons: np.float32
    limit: np.float32


class Settings(NamedTuple):
    """Figures of a frame in single precision: `settings_of` makes them."""

    levels: tuple[np.float32, np.float32]
    gain: np.float32
    noise: tuple[np.float32, np.float32]
    curve: _Curve


NONE = Planes(np.empty(0, np.float32), np.empty(0, np.float32), np.empty(0, np.uint16))
NO_SHARE = np.empty(0, np.uint8)


def _curve(c: tuple[float, float, float], gain: float, coadds: int, limit: float) -> _Curve:
    k = gain / coadds
    return _Curve(*(np.float32(x) for x in (*c, k, 1.0 / k, limit)))


def _flat(plane: npt.NDArray[_Number]) -> npt.NDArray[_Number]:
    """Return the pixels of a plane in one dimension, without copying."""
    assert plane.flags.c_contiguous
    return plane.reshape(-1)


def _copy(planes: Planes) -> Planes:
    return Planes(planes.data.copy(), planes.variance.copy(), planes.mask.copy())


def _flat_planes(planes: Planes) -> Planes:
    return Planes(_flat(planes.data), _flat(planes.variance), _flat(planes.mask))


@kernel
def _flag(raw, nonlinear, saturation, mask):  # type: ignore[no-untyped-def]
    for t in range(mask.size):
        x = np.float32(raw[t])
        mask[t] |= SATURATED if x >= saturation else (NON_LINEAR if x >= nonlinear else CLEAN)


@kernel
def _multiply(raw, gain, out):  # type: ignore[no-untyped-def]
    for t in range(out.size):
        out[t] = np.float32(raw[t]) * gain


@kernel
def _noise(data, floor, photon, out):  # type: ignore[no-untyped-def]
    for t in range(out.size):
        x = data[t]
        out[t] = floor + (x if x > ZERO else ZERO) * photon


@kernel
def _linear(data, curve, out):  # type: ignore[no-untyped-def]
    c0, c1, c2, limit = curve.c0, curve.c1, curve.c2, curve.limit
    forth, back = curve.to_electrons, curve.from_electrons
    for t in range(out.size):
        x = data[t] * forth
        y = x if x < limit else limit
        corrected = y * (c0 + y * (c1 + y * c2))
        out[t] = (corrected + (x - y)) * back


@kernel
def _linear_variance(data, corrected, photon, variance):  # type: ignore[no-untyped-def]
    for t in range(variance.size):
        v = variance[t] + (corrected[t] - data[t]) * photon
        variance[t] = v if v > ZERO else ZERO


@kernel
def _subtract(b, vb, mb, a, va, ma):  # type: ignore[no-untyped-def]
    for t in range(a.size):
        a[t] -= b[t]
    for t in range(a.size):
        va[t] += vb[t]
    for t in range(a.size):
        ma[t] |= mb[t]


@kernel
def _divide(b, vb, mb, a, va, ma):  # type: ignore[no-untyped-def]
    for t in range(a.size):
        y = b[t]
        q = a[t] / y
        a[t] = q
        va[t] = (va[t] + q * q * vb[t]) / (y * y)
    _mend(mb, a, va, ma)


@part
def _mend(mb, a, va, ma):  # type: ignore[no-untyped-def]
    """Add the bits of the flat; clear and flag what is not finite.

    A quotient that is not finite makes the variance, which has its square, not finite either.
    """
    broken = np.int32(0)
    for t in range(a.size):
        broken |= np.int32(not (abs(va[t]) < INF))
    for t in range(a.size):
        ma[t] |= mb[t]
    if broken:
        for t in range(a.size):
            if not (abs(va[t]) < INF):
                a[t] = ZERO
                va[t] = ZERO
                ma[t] |= BAD_PIXEL


@part
def _rounded(part):  # type: ignore[no-untyped-def]
    """Return a share in whole 255ths; 0 where there is no variance to have a part of (NaN)."""
    least = part if part > ZERO else ZERO
    return np.uint8(np.int32((least if least < WHOLE else WHOLE) + HALF))


@part
def _subtract_with_share(b, vb, mb, a, va, ma, share):  # type: ignore[no-untyped-def]
    """Do `_subtracted_share`, of a share of zero so far, and `_subtract`."""
    for t in range(a.size):
        a[t] -= b[t]
    for t in range(a.size):
        more = vb[t]
        total = va[t] + more
        va[t] = total
        share[t] = _rounded((WHOLE * more) / total)
    for t in range(a.size):
        ma[t] |= mb[t]


@part
def _divide_with_share(b, vb, mb, a, va, ma, share, noise):  # type: ignore[no-untyped-def]
    """Do `_divided_share` and `_divide`, which divide alike; `noise` is room for a run."""
    for t in range(a.size):
        q = a[t] / b[t]
        a[t] = q
        noise[t] = q * q * vb[t]
    for t in range(a.size):
        y = b[t]
        own, more = va[t], noise[t]
        total = own + more
        va[t] = total / (y * y)
        before = np.float32(np.int32(share[t]))  # by way of int32, which is vectorised
        share[t] = _rounded((before * own + WHOLE * more) / total)
    _mend(mb, a, va, ma)


@kernel
def _subtracted_share(variance, noise, share):  # type: ignore[no-untyped-def]
    for t in range(share.size):
        own, more = variance[t], noise[t]
        before = np.float32(np.int32(share[t]))  # by way of int32, which is vectorised
        part = (before * own + WHOLE * more) / (own + more)
        share[t] = _rounded(part)


@kernel
def _divided_share(data, variance, flat, noise, share):  # type: ignore[no-untyped-def]
    for t in range(share.size):
        own = variance[t]
        q = data[t] / flat[t]
        more = q * q * noise[t]
        before = np.float32(np.int32(share[t]))
        part = (before * own + WHOLE * more) / (own + more)
        share[t] = _rounded(part)


@kernel
def _calibrate(raw, static, levels, gain, noise, curve, dark, flat, out, share):  # type: ignore[no-untyped-def]
    electrons = np.empty(RUN, np.float32)
    for o in range(0, raw.size, RUN):
        e = min(o + RUN, raw.size)
        source = raw[o:e]
        data, variance, mask = out.data[o:e], out.variance[o:e], out.mask[o:e]
        counts = electrons[: e - o]
        if static.size > 0:
            bits = static[o:e]
            for t in range(mask.size):
                mask[t] = bits[t]
        else:
            for t in range(mask.size):
                mask[t] = 0
        _flag(source, levels[0], levels[1], mask)
        _multiply(source, gain, counts)
        _noise(counts, noise[0], noise[1], variance)
        _linear(counts, curve, data)
        _linear_variance(counts, data, noise[1], variance)
        if dark.data.size > 0:
            d, v, m = dark.data[o:e], dark.variance[o:e], dark.mask[o:e]
            if share.size > 0:
                _subtract_with_share(d, v, m, data, variance, mask, share[o:e])
            else:
                _subtract(d, v, m, data, variance, mask)
        if flat.data.size > 0:
            d, v, m = flat.data[o:e], flat.variance[o:e], flat.mask[o:e]
            if share.size > 0:
                part = share[o:e]
                if dark.data.size == 0:
                    for t in range(part.size):
                        part[t] = 0
                _divide_with_share(d, v, m, data, variance, mask, part, counts)
            else:
                _divide(d, v, m, data, variance, mask)
