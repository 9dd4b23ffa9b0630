"""Interpolation kernels as tables of polynomials in the fractional position.

Row k of a table holds the coefficients, constant first, of the weight of tap k; tap 0 is the
input pixel ``floor(position) + first``. One evaluation loop then serves every kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from f2yaml.interpreter.algorithms.jit import kernel as compiled
from f2yaml.interpreter.algorithms.jit import part
from f2yaml.interpreter.errors import RequestError
from f2yaml.schema.problems import did_you_mean
from numpy.polynomial import polynomial as poly
from numpy.typing import NDArray

__all__ = ["INTERPOLANTS", "Kernel", "fill_flagged", "kernel", "spline_coefficients"]

Floats = NDArray[np.float64]

INTERPOLANTS = ("nearest", "linear", "poly3", "poly5", "lanczos3", "spline3", "spline5")

#: Poles of the inverse of the cubic and quintic B-spline sampled at integers.
_POLES = {
    "spline3": (np.sqrt(3.0) - 2.0,),
    "spline5": (
        np.sqrt(67.5 - np.sqrt(4436.25)) + np.sqrt(26.25) - 6.5,
        np.sqrt(67.5 + np.sqrt(4436.25)) - np.sqrt(26.25) - 6.5,
    ),
}


@dataclass(frozen=True, slots=True)
class Kernel:
    """One interpolant along one axis.

    Parameters
    ----------
    name : str
    first : int
        Offset of tap 0 from ``floor(position)``.
    table : ndarray, shape (taps, order)
        Polynomial coefficients of the weights.
    noise : ndarray, shape (order,)
        Splines only, else empty: polynomial that gives the variance of the output for white
        noise of variance one (the weights apply to coefficients, so their squares do not).
    """

    name: str
    first: int
    table: Floats
    noise: Floats

    @property
    def is_spline(self) -> bool:
        """Whether the weights apply to spline coefficients instead of pixels."""
        return self.noise.size > 0

    def weights(self, fraction: float | Floats) -> Floats:
        """Return the weights, shape (taps, ...), at fractional positions in [0, 1]."""
        return np.asarray(poly.polyval(np.asarray(fraction), self.table.T))

    def noise_gain(self, fraction: Floats) -> Floats:
        """Return the variance of the output for unit white noise at fractional positions."""
        if self.is_spline:
            return np.asarray(poly.polyval(fraction, self.noise))
        return np.asarray((self.weights(fraction) ** 2).sum(axis=0))


@cache
def kernel(name: str) -> Kernel:
    """Return the kernel called `name`.

    Raises
    ------
    RequestError
        There is no such interpolant.

    References
    ----------
    Spec, primitives 14.5, for all but lanczos3; lanczos3 is ours, its weights normalised to a sum
    of one, without which a constant sky acquires a pattern of 1 per cent.
    """
    none = np.empty(0)
    if name == "nearest":
        return Kernel(name, 0, np.array([[1.0]]), none)
    if name == "linear":
        return Kernel(name, 0, np.array([[1.0, -1.0], [0.0, 1.0]]), none)
    if name in ("poly3", "poly5"):
        taps = 4 if name == "poly3" else 6
        return Kernel(name, 1 - taps // 2, _lagrange(taps), none)
    if name == "lanczos3":
        return Kernel(name, -2, _lanczos3(), none)
    if name in ("spline3", "spline5"):
        table = _bspline(3 if name == "spline3" else 5)
        return Kernel(name, 1 - len(table) // 2, table, _spline_noise(table))
    raise RequestError(
        what=f"there is no interpolant `{name}`",
        why=f"the interpolants are {', '.join(INTERPOLANTS)}",
        fix=did_you_mean(name, INTERPOLANTS) or "use poly3, the default",
    )


def _lagrange(taps: int) -> Floats:
    """Lagrange polynomials through `taps` pixels; Everett's formulae of 14.5 are the same."""
    nodes = np.arange(taps) - (taps // 2 - 1.0)
    rows = []
    for k, node in enumerate(nodes):
        others = np.delete(nodes, k)
        rows.append(poly.polyfromroots(others) / np.prod(node - others))
    table = np.array(rows)
    # At an integer position the weights are 0 and 1 exactly, so that a copy stays a copy.
    table[:, 0] = nodes == 0
    return table


def _lanczos3() -> Floats:
    """Chebyshev fits (error below 1e-10) to the normalised Lanczos weights of six taps."""
    f = (1.0 - np.cos(np.pi * (np.arange(200) + 0.5) / 200)) / 2.0
    offset = f[:, None] - (np.arange(6) - 2.0)
    values = np.sinc(offset) * np.sinc(offset / 3.0)
    values /= values.sum(axis=1, keepdims=True)
    fits = [np.polynomial.Chebyshev.fit(f, column, 13, domain=[0, 1]) for column in values.T]
    table = np.array([fit.convert(kind=np.polynomial.Polynomial).coef for fit in fits])
    table[:, 0] = np.arange(6) == 2
    return table


def _bspline(degree: int) -> Floats:
    """Central B-spline of odd `degree`: the pieces that cover one pixel, by the recursion."""
    pieces: list[Floats] = [np.array([1.0])]
    for d in range(1, degree + 1):
        # N_d(k + f) = ((k + f) N_{d-1}(k + f) + (d + 1 - k - f) N_{d-1}(k - 1 + f)) / d
        zero = np.zeros(1)
        old = [*pieces, zero]
        pieces = [
            np.asarray(
                poly.polyadd(
                    poly.polymul([k, 1.0], old[k]),
                    poly.polymul([d + 1.0 - k, -1.0], old[k - 1] if k else zero),
                )
            )
            / d
            for k in range(d + 1)
        ]
    # Tap k lies at offset k - degree//2, where the spline is entered at its piece degree - k.
    return np.array([np.resize(np.r_[p, np.zeros(degree)], degree + 1) for p in pieces[::-1]])


def _spline_noise(table: Floats) -> Floats:
    """Variance of the interpolated value of unit white noise, as a polynomial of the fraction.

    White noise becomes correlated in the prefilter; its correlation q comes from the Fourier
    transform of the sampled B-spline, and the variance is sum_kl w_k w_l q_|k-l|.
    """
    taps = len(table)
    samples = table[:, 0]  # the spline at the integers -(taps//2-1) .. taps//2, last is zero
    angle = 2.0 * np.pi * np.arange(4096) / 4096
    offsets = np.arange(taps) - (taps // 2 - 1)
    response = (samples[:, None] * np.cos(offsets[:, None] * angle)).sum(axis=0)
    q = np.array([np.mean(np.cos(k * angle) / response**2) for k in range(taps)])
    total = np.zeros(1)
    for k in range(taps):
        for m in range(taps):
            total = poly.polyadd(total, q[abs(k - m)] * poly.polymul(table[k], table[m]))
    return np.asarray(total)


@part
def _filter_line(line: Floats, pole: float) -> None:
    """Apply one pole forwards and backwards, mirrored at the ends, in place."""
    n = line.size
    horizon = min(n, 60)  # |pole| < 0.44, so 0.44**60 = 4e-22
    power, start = 1.0, 0.0
    for k in range(horizon):
        start += power * line[k]
        power *= pole
    line[0] = start
    for k in range(1, n):
        line[k] += pole * line[k - 1]
    line[n - 1] = pole / (pole * pole - 1.0) * (line[n - 1] + pole * line[n - 2])
    for k in range(n - 2, -1, -1):
        line[k] = pole * (line[k + 1] - line[k])


@compiled
def _filter_block(data: Floats, poles: Floats, gain: float, line: Floats) -> None:
    """Filter rows, then columns, of `data` in place."""
    ny, nx = data.shape
    for y in range(ny):
        row = data[y]
        for x in range(nx):
            row[x] *= gain
        for p in range(poles.size):
            _filter_line(row, poles[p])
    for x in range(nx):
        for y in range(ny):
            line[y] = data[y, x] * gain
        for p in range(poles.size):
            _filter_line(line, poles[p])
        for y in range(ny):
            data[y, x] = line[y]


def spline_coefficients(data: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """Return the coefficients, shape of `data`, of the spline `name` through the pixels.

    The image is continued by mirroring about the centres of its edge pixels.
    """
    poles = np.array(_POLES[name])
    gain = float(np.prod((1.0 - poles) * (1.0 - 1.0 / poles)))
    # Filtered about a typical value, so that float32 keeps its digits for the signal.
    level = float(np.mean(data[:: max(1, len(data) // 64)], dtype=np.float64))
    work = data.astype(np.float64) - level
    _filter_block(work, poles, gain, np.empty(len(work)))
    return np.asarray(work + level, dtype=np.float32)


@compiled
def fill_flagged(
    data: NDArray[np.float32], mask: NDArray[np.uint16], bits: int, out: NDArray[np.float32]
) -> None:
    """Copy `data` to `out`, pixels with any of `bits` replaced by the mean of good neighbours.

    The smallest square box of half-width 1 to 3 with a good pixel counts; without one, the pixel
    keeps its value if that is finite and becomes 0 otherwise.
    """
    ny, nx = data.shape
    for y in range(ny):
        for x in range(nx):
            value = data[y, x]
            if mask[y, x] & bits:
                total, count = 0.0, 0
                for half in range(1, 4):
                    for v in range(max(0, y - half), min(ny, y + half + 1)):
                        for u in range(max(0, x - half), min(nx, x + half + 1)):
                            if not mask[v, u] & bits:
                                total += data[v, u]
                                count += 1
                    if count:
                        break
                if count:
                    value = np.float32(total / count)
                elif not np.isfinite(value):
                    value = np.float32(0.0)
            out[y, x] = value
