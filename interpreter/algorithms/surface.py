"""The background of an image by the means of its blocks: its level, or a smooth surface."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from f2yaml.interpreter.algorithms.jit import kernel

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Values = npt.NDArray[np.floating]

#: Samples of a block beyond this many sigma of their own noise are left out.
CLIP = 3.0
#: Share of the pixels of a block that must be clean.
CLEAN = 0.25
_BLOCK_CLIP, _ROUNDS = 4.0, 5
_BLANK, _TRIES, _FEWEST = 1.5, 50, 16
_SIGMA_OF_MAD = 1.4826
NONE, ONE, BAD = np.float32(0), np.float32(1), np.float32(-1)


class Blocks(NamedTuple):
    """Blocks of an image, shape (blocks in y, blocks in x) each.

    `level` is the mean of the clean pixels, `clean` how many there are, `covered` how many more
    are on objects.
    """

    level: Float64
    clean: npt.NDArray[np.int64]
    covered: npt.NDArray[np.int64]


def block_levels(
    data: Float32,
    variance: Float32,
    mask: npt.NDArray[np.uint16],
    objmask: npt.NDArray[np.uint8],
    size: int,
) -> Blocks:
    """Average an image, whose background is near zero, in square blocks.

    Parameters
    ----------
    data, variance : float32, shape (ny, nx)
    mask : uint16, shape (ny, nx)
        A pixel with any bit is left out.
    objmask : uint8, shape (ny, nx)
        Not 0 on objects, which are left out.
    size : int, pixel
        Side of a block; those at the upper edges are as large as what is left.

    Returns
    -------
    Blocks
        Clipped twice at `CLIP` sigma of each pixel's variance: about zero, then about the mean.
    """
    ny, nx = data.shape
    shape = (-(-ny // size), -(-nx // size))
    level = np.zeros(shape)
    clean, covered = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for _ in range(2):
        total = np.zeros(shape)
        clean[:], covered[:] = 0, 0
        _sums(data, variance, mask, objmask.view(np.uint8), size, level, total, clean, covered)
        level = level + total / np.maximum(clean, 1)
    return Blocks(level, clean, covered)


def usable_blocks(blocks: Blocks, pixels: int) -> tuple[npt.NDArray[np.bool_], float]:
    """Tell which blocks show the background, and how large their share of the field is.

    Blocks that objects cover almost entirely lie in large ones, whose light reaches beyond their
    mask; their neighbours are left out as well.

    Parameters
    ----------
    blocks : Blocks
    pixels : int
        Of a block; a share of `CLEAN` has to be clean.

    Returns
    -------
    usable : bool, shape of the blocks
    share : float
        Of those blocks that would be usable without any object.
    """
    least = CLEAN * pixels
    seen = blocks.clean + blocks.covered >= least
    usable = blocks.clean >= least
    usable &= _with_neighbours((seen & ~usable).astype(np.float64)) == 0
    return usable, float(usable.sum() / max(seen.sum(), 1))


def blank_level(blocks: Blocks, usable: npt.NDArray[np.bool_]) -> float | None:
    """Return the level of the blocks that show nothing but background.

    Light that is too faint for a mask only ever adds. What lies below the centre therefore tells
    the scatter; blocks within `_BLANK` times that are averaged, and give the next centre. Without
    such light that is the mean of all blocks. Each block is chosen by the mean of the 5 x 5 around
    it, the nearest counting most, where light shows before it does in one block.

    Parameters
    ----------
    blocks : Blocks
    usable : bool, shape of the blocks

    Returns
    -------
    float or None
        None for fewer than `_FEWEST` blocks.
    """
    if np.count_nonzero(usable) < _FEWEST:
        return None
    weight = np.where(usable, blocks.clean, 0).astype(np.float64)
    around = _with_neighbours(_with_neighbours(weight))[usable]
    smooth = _with_neighbours(_with_neighbours(weight * blocks.level))[usable] / around
    weight, level = weight[usable], blocks.level[usable]
    centre, kept = float(np.median(smooth)), np.zeros(level.size, bool)
    for _ in range(_TRIES):
        below = centre - smooth[smooth <= centre]
        sigma = _SIGMA_OF_MAD * float(np.median(below))
        sigma = float(np.sqrt(np.mean(np.minimum(below, _BLOCK_CLIP * sigma) ** 2)))
        now = np.abs(smooth - centre) <= _BLANK * sigma
        if (now == kept).all() or not now.any():
            break
        kept = now
        centre = float(np.average(smooth[kept], weights=weight[kept]))
    return float(np.average(level[kept], weights=weight[kept])) if kept.any() else centre


def _with_neighbours(plane: Float64) -> Float64:
    """Return the sum of each element and the eight around it."""
    wide = np.pad(plane, 1)
    ny, nx = plane.shape
    total = np.zeros_like(plane)
    for dy in range(3):
        for dx in range(3):
            total += wide[dy : dy + ny, dx : dx + nx]
    return total


def fit_surface(
    blocks: Blocks, usable: npt.NDArray[np.bool_], size: int, shape: tuple[int, int], order: int
) -> Float64 | None:
    """Fit a polynomial of total degree `order` to block levels, weighted by their pixels.

    Blocks that stand out by over `_BLOCK_CLIP` times the robust scatter are left out.

    Parameters
    ----------
    blocks : Blocks
    usable : bool, shape of the blocks
    size : int, pixel
    shape : (ny, nx)
        Of the image.
    order : int

    Returns
    -------
    float64, shape (order + 1, order + 1), or None
        Coefficients of Legendre polynomials in y and x, from -1 to 1 over the image; None where
        there are fewer than two blocks for each.
    """
    terms = [(i, j) for i in range(order + 1) for j in range(order + 1 - i)]
    rows, columns = np.nonzero(usable)
    weight = np.sqrt(blocks.clean[usable].astype(np.float64))
    level = blocks.level[usable]
    y = _legendre((rows + 0.5) * size - 0.5, shape[0], order)
    x = _legendre((columns + 0.5) * size - 0.5, shape[1], order)
    design = np.stack([y[i] * x[j] for i, j in terms], axis=1)
    kept = np.ones(level.size, bool)
    for _ in range(_ROUNDS):
        if kept.sum() < 2 * len(terms):
            return None
        scaled = design[kept] * weight[kept, None]
        found = np.linalg.lstsq(scaled, level[kept] * weight[kept], rcond=None)[0]
        rest = (level - design @ found) * weight
        sigma = _SIGMA_OF_MAD * float(np.median(np.abs(rest[kept])))
        now = np.abs(rest) <= _BLOCK_CLIP * sigma if sigma > 0 else kept
        if (now == kept).all():
            break
        kept = now
    coefficients = np.zeros((order + 1, order + 1))
    for (i, j), value in zip(terms, found, strict=True):
        coefficients[i, j] = value
    return coefficients


def excess(
    data: Float32,
    mask: npt.NDArray[np.uint16],
    objects: npt.NDArray[np.uint8],
    scale: Float32,
) -> Float32:
    """Return what each frame, times `scale`, has beyond the mean of all clean samples.

    Parameters
    ----------
    data : float32, shape (n, rows, nx)
    mask, objects : uint16 and uint8, shape of `data`
        Not 0 where a sample is not clean; such samples are compared, but have no part in the mean.
    scale : float32, shape (n,)

    Returns
    -------
    float32, shape of `data`
    """
    out = np.empty(data.shape, np.float32)
    _excess(data, mask, objects, scale, out)
    return out


def less_surface(
    blocks: Blocks, coefficients: Float64 | None, size: int, shape: tuple[int, ...]
) -> Blocks:
    """Return the blocks of an image of `shape` after a surface is subtracted from it."""
    if coefficients is None:
        return blocks
    places = (np.indices(blocks.level.shape) + 0.5) * size - 0.5
    away = surface_at(coefficients, (shape[0], shape[1]), places[0], places[1])
    return blocks._replace(level=np.where(blocks.clean > 0, blocks.level - away, 0.0))


def bright_pixels(
    data: Float32, variance: Float32, mask: npt.NDArray[np.uint16], sigma: float
) -> npt.NDArray[np.uint8]:
    """Return 1 where good pixels are above `sigma` times their noise, else 0; shape (ny, nx)."""
    out = np.empty(data.shape, np.uint8)
    flat = (plane.reshape(-1) for plane in (data, variance, mask, out))
    _bright(np.float32(sigma * sigma), *flat)
    return out


def legendre_basis(
    coefficients: Float64 | None, shape: tuple[int, int], start: int, stop: int
) -> tuple[Float64, Float64]:
    """Return what rows `start` to `stop` of a surface over an image of `shape` are made of.

    Parameters
    ----------
    coefficients : float64, shape (order + 1, order + 1), or None
        As from `fit_surface`; None is no surface.

    Returns
    -------
    along : float64, shape (stop - start, order + 1)
    basis : float64, shape (order + 1, nx)
        Row y of the surface is the sum over k of ``along[y, k] * basis[k]``.
    """
    if coefficients is None:
        return np.empty((stop - start, 0)), np.empty((0, shape[1]))
    order = len(coefficients) - 1
    y = _axis(shape[0], order)[:, start:stop]
    along = np.zeros((stop - start, order + 1))
    for j in range(order + 1):
        for i in range(order + 1):
            along[:, j] += coefficients[i, j] * y[i]
    return along, _axis(shape[1], order)


@lru_cache(maxsize=16)
def _axis(length: int, order: int) -> Float64:
    """Return Legendre polynomials 0 to `order` at all pixels of an axis; read-only."""
    made = np.array(_legendre(np.arange(length, dtype=np.float64), length, order))
    made.flags.writeable = False
    return made


def surface_at(coefficients: Float64, shape: tuple[int, int], y: Float64, x: Float64) -> Float64:
    """Return a surface over an image of `shape` at pixels (y, x), arrays of one shape."""
    order = len(coefficients) - 1
    py, px = _legendre(y, shape[0], order), _legendre(x, shape[1], order)
    made = np.zeros(y.shape)
    for i in range(order + 1):
        for j in range(order + 1):
            made += coefficients[i, j] * py[i] * px[j]
    return made


def _legendre(
    place: npt.NDArray[np.floating], length: int, order: int
) -> list[npt.NDArray[np.floating]]:
    """Return Legendre polynomials 0 to `order` at pixels of an axis of `length` pixels."""
    t = (2.0 * place + 1.0) / length - 1.0
    made: list[Values] = [np.ones_like(t), t]
    for n in range(1, order):
        made.append(((2 * n + 1) * t * made[n] - n * made[n - 1]) / (n + 1))
    return made[: order + 1]


@kernel
def _bright(limit, data, variance, mask, out):  # type: ignore[no-untyped-def]
    for t in range(out.size):
        x = data[t]
        out[t] = (x > np.float32(0)) & (x * x > limit * variance[t])
    for t in range(out.size):
        out[t] = out[t] if mask[t] == 0 else np.uint8(0)


@kernel
def _sums(data, variance, mask, objects, size, level, total, clean, covered):  # type: ignore[no-untyped-def]
    """Add up deviations from `level` of the clean pixels of each block, and count them.

    Each column of a row of blocks is a SIMD lane, in single precision: deviations are small.
    """
    ny, nx = data.shape
    part, centre, limit = (
        np.empty(nx, np.float32),
        np.empty(nx, np.float32),
        np.empty(nx, np.float32),
    )
    count, hidden = np.empty(nx, np.float32), np.empty(nx, np.float32)
    for i in range(level.shape[0]):
        for x in range(nx):
            centre[x] = level[i, x // size]
        part[:] = 0
        count[:] = 0
        hidden[:] = 0
        for y in range(i * size, min((i + 1) * size, ny)):
            row, spread, bits, over = data[y], variance[y], mask[y], objects[y]
            for t in range(nx):
                w = np.float32(CLIP * CLIP) * spread[t]
                w = w if bits[t] == 0 else BAD
                limit[t] = w if w > NONE else BAD
            for t in range(nx):
                w = limit[t]
                covers = np.int32(over[t]) != 0
                hidden[t] += ONE if covers & (w > NONE) else NONE
                limit[t] = BAD if covers else w
            for t in range(nx):
                d = row[t] - centre[t]
                use = d * d <= limit[t]
                part[t] += d if use else NONE
                count[t] += ONE if use else NONE
        for j in range(level.shape[1]):
            for t in range(j * size, min((j + 1) * size, nx)):
                total[i, j] += part[t]
                clean[i, j] += int(count[t])
                covered[i, j] += int(hidden[t])


@kernel
def _excess(data, mask, objects, scale, out):  # type: ignore[no-untyped-def]
    n, rows, nx = data.shape
    total, count = np.empty(nx, np.float32), np.empty(nx, np.float32)
    for y in range(rows):
        total[:] = 0
        count[:] = 0
        for i in range(n):
            x, bits, over, s = data[i, y], mask[i, y], objects[i, y], scale[i]
            for t in range(nx):
                clean = (bits[t] == 0) & (over[t] == 0)
                total[t] += x[t] * s if clean else np.float32(0)
                count[t] += np.float32(1) if clean else np.float32(0)
        for t in range(nx):
            total[t] /= max(count[t], np.float32(1))
        for i in range(n):
            x, s = data[i, y], scale[i]
            for t in range(nx):
                out[i, y, t] = x[t] * s - total[t]
