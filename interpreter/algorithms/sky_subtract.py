"""Subtraction of a sky from the rows of a frame, and of a surface from what is left: one pass."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from f2yaml.interpreter.algorithms.jit import kernel, part
from f2yaml.interpreter.algorithms.rows import Rows
from f2yaml.interpreter.algorithms.surface import legendre_basis

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Bits = npt.NDArray[np.uint16]
Share = npt.NDArray[np.uint8]

#: Shares of a variance are in 255ths.
PART = np.float32(1 / 255)
ONE = np.float32(1)


def own_variance(variance: Float32, share: Share, out: Float32) -> None:
    """Fill `out` with the variance that a frame does not share with others of its calibrations.

    Parameters
    ----------
    variance : float32, any shape
    share : uint8, shape of `variance`, in 255ths
    out : float32, shape of `variance`
    """
    _own(variance.reshape(-1), share.reshape(-1), out.reshape(-1))


def subtract_rows(
    rows: Rows,
    sky: Rows,
    factor: float,
    offset: float,
    surface: tuple[Float64, Float64],
    out: Rows,
) -> None:
    """Subtract ``sky * factor + offset`` and a surface from some rows.

    Parameters
    ----------
    rows : Rows, shape (rows, nx), C-contiguous
        The frame. Its noise that dark and flat brought in (`share`) cancels with that of the sky,
        but for that of the flat where `rows` less sky is the light of an object.
    sky : Rows
        In units of the level, with bits; `share` is not used.
    factor, offset : float
    surface : (float64 of shape (rows, k), float64 of shape (k, nx))
        What `surface.legendre_basis` returns for these rows.
    out : Rows
        Filled; `share` is not used.
    """
    along, basis = surface
    _subtract(
        rows.data, rows.variance, rows.mask, rows.share, sky.data, sky.variance, sky.mask,
        np.float32(factor), np.float32(offset), along, basis, out.data, out.variance, out.mask,
    )  # fmt: skip


def subtract_surface(
    data: Float32,
    surface: Float64 | None,
    level: float,
    first: int = 0,
    shape: tuple[int, int] | None = None,
) -> None:
    """Subtract a surface over the whole image and a level, in place.

    Parameters
    ----------
    data : float32, shape (rows, nx)
        Rows of the image, from `first` on.
    surface : float64, shape (order + 1, order + 1), or None
    level : float
    shape : (int, int), optional
        That of the image; default that of `data`.
    """
    ny, nx = data.shape if shape is None else shape
    along, basis = legendre_basis(surface, (ny, nx), first, first + len(data))
    _surface(along, basis, np.float32(level), data)


@kernel
def _own(variance, share, out):  # type: ignore[no-untyped-def]
    for t in range(out.size):
        out[t] = variance[t] * (ONE - np.float32(np.int32(share[t])) * PART)


@kernel
def _subtract(  # type: ignore[no-untyped-def]
    data, variance, mask, share, sky, noise, bits, factor, offset, along, basis, out, out_var, flags
):
    nx = data.shape[1]
    square = factor * factor
    total = np.empty(nx, np.float64)
    for y in range(data.shape[0]):
        x, s, rest = data[y], sky[y], out[y]
        for t in range(nx):
            rest[t] = x[t] - s[t] * factor
        v, w, spread = variance[y], noise[y], out_var[y]
        if share.size > 0:
            part = share[y]
            for t in range(nx):
                ratio = rest[t] / x[t]
                ratio = ratio * ratio
                stays = ratio if ratio < ONE else ONE
                spread[t] = v[t] * (ONE - np.float32(np.int32(part[t])) * PART * (ONE - stays))
        else:
            for t in range(nx):
                spread[t] = v[t]
        for t in range(nx):
            spread[t] = w[t] * square + spread[t]
        for t in range(nx):
            flags[y, t] = mask[y, t] | bits[y, t]
        if offset != np.float32(0):
            for t in range(nx):
                rest[t] -= offset
        if along.shape[1] > 0:
            _row(along[y], basis, total)
            for t in range(nx):
                rest[t] -= np.float32(total[t])


@kernel
def _surface(along, basis, level, data):  # type: ignore[no-untyped-def]
    nx = data.shape[1]
    total = np.zeros(nx, np.float64)
    for y in range(data.shape[0]):
        row = data[y]
        if along.shape[1] > 0:
            _row(along[y], basis, total)
            for t in range(nx):
                row[t] -= np.float32(total[t])
        for t in range(nx):
            row[t] -= level


@part
def _row(along, basis, total):  # type: ignore[no-untyped-def]
    total[:] = 0.0
    for k in range(along.size):
        a = along[k]
        p = basis[k]
        for t in range(total.size):
            total[t] += a * p[t]
