"""The background of an image by the means of its blocks: its level, or a smooth surface."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from f2yaml.interpreter.algorithms.jit import kernel, part
from f2yaml.interpreter.algorithms.regions import median

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
#: The grid of pixels whose scatter is compared with their noise.
_ROW_STEP, _COLUMN_STEP = 5, 3
NONE, ONE, BAD, INF = np.float32(0), np.float32(1), np.float32(-1), np.float32(np.inf)
_NO_MASK, _ALONE = np.empty((0, 0), np.uint8), np.zeros(1, np.int64)


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
    whole = (0, data.shape[0], 0, data.shape[1])
    return _levels(data, variance, mask, objmask.view(np.uint8), size, whole, 0.0, _ALONE)


def dark_levels(
    data: Float32,
    variance: Float32,
    mask: npt.NDArray[np.uint16],
    objmask: npt.NDArray[np.uint8] | None,
    size: int,
    box: tuple[int, int, int, int],
    sigma: float,
    near_pix: float,
) -> Blocks:
    """Average what is dark in a part of an image, whose background is near zero, in blocks.

    Parameters
    ----------
    data, variance, mask, objmask, size
        As of `block_levels`; C-contiguous. None: no objects are known.
    box : (y0, y1, x0, x1), pixel
        The part of the image. Nothing outside it is looked at.
    sigma : float
        Good pixels above `sigma` times their noise, or times the scatter of the pixels over their
        noise where that is larger, count as objects,
    near_pix : float, pixel
        and so do those within this distance of them; at least 1.

    Returns
    -------
    Blocks
        Of the box, as from `block_levels`.
    """
    objects = _NO_MASK if objmask is None else np.ascontiguousarray(objmask).view(np.uint8)
    pulls = np.empty(-(-data.size // (_ROW_STEP * _COLUMN_STEP)) + sum(data.shape), np.float32)
    pulls = pulls[: _pulls(data, variance, mask, box, pulls)]
    if pulls.size:
        sigma *= max(1.0, _SIGMA_OF_MAD * float(np.float32(median(pulls))))
    dy = np.arange(int(near_pix) + 1)
    widths = np.floor(np.sqrt(near_pix * near_pix - dy * dy)).astype(np.int64)
    return _levels(data, variance, mask, objects, size, box, sigma, widths)


def _levels(
    data: Float32,
    variance: Float32,
    mask: npt.NDArray[np.uint16],
    objects: npt.NDArray[np.uint8],
    size: int,
    box: tuple[int, int, int, int],
    sigma: float,
    widths: npt.NDArray[np.int64],
) -> Blocks:
    shape = (-(-(box[1] - box[0]) // size), -(-(box[3] - box[2]) // size))
    made = Blocks(np.zeros(shape), np.zeros(shape, np.int64), np.zeros(shape, np.int64))
    limit = np.float32(sigma * sigma)
    _block_levels(data, variance, mask, objects, size, box, limit, widths, *made)
    return made


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
def _pulls(data, variance, mask, box, out):  # type: ignore[no-untyped-def]
    """Fill `out` with |data| over noise of a grid of good pixels; return their number."""
    y0, y1, x0, x1 = box
    n = 0
    for y in range(y0, y1, _ROW_STEP):
        row, spread, bits = data[y][x0:x1], variance[y][x0:x1], mask[y][x0:x1]
        for t in range(0, row.size, _COLUMN_STEP):
            pull = abs(row[t]) / np.sqrt(spread[t])
            out[n] = pull  # written over by the next one if it is not usable
            n += 1 if (bits[t] == 0) & (spread[t] > NONE) & (pull < INF) else 0
    return n


@part
def _noise(variance, mask, out):  # type: ignore[no-untyped-def]
    """Copy the variances of good pixels; others have an infinite one."""
    for t in range(out.size):
        w = variance[t]
        out[t] = w if (mask[t] == 0) & (w > NONE) else INF


@part
def _bright(limit, data, noise, out):  # type: ignore[no-untyped-def]
    """Set `out` to 1 where pixels have a square above `limit` variances, else 0."""
    for t in range(data.size):
        x = data[t]
        out[t] = (x > NONE) & (x * x > limit * noise[t])


@part
def _paint(words, bright, y, widths, out):  # type: ignore[no-untyped-def]
    """Set the rows of `out` around row `y`, which may lie outside, near the pixels of `bright`."""
    nx, reach = out.shape[1], widths.size - 1
    x = 0
    while x < nx:
        if x % 8 == 0 and words[x // 8] == 0:
            x += 8
            continue
        if bright[x] == 0:
            x += 1
            continue
        start = x
        while x < nx and bright[x] != 0:
            x += 1
        for v in range(max(0, y - reach), min(out.shape[0], y + reach + 1)):
            width = widths[abs(v - y)]
            part = out[v][max(0, start - width) : min(nx, x + width)]
            for t in range(part.size):
                part[t] = 1


@part
def _limits(noise, over, hidden):  # type: ignore[no-untyped-def]
    """Turn variances into the squares of the largest deviations; negative: not used.

    Pixels that only objects hide are counted in `hidden`.
    """
    for t in range(noise.size):
        w = noise[t] * np.float32(CLIP * CLIP)
        w = w if w < INF else BAD
        covers = np.int32(over[t]) != 0
        good = w > NONE
        hidden[t] += ONE if covers & good else NONE
        w = w if good else BAD
        noise[t] = BAD if covers else w


@part
def _deviations(row, limit, centre, part, count):  # type: ignore[no-untyped-def]
    for t in range(centre.size):
        d = row[t] - centre[t]
        use = d * d <= limit[t]
        part[t] += d if use else NONE
        count[t] += ONE if use else NONE


@kernel
def _block_levels(  # type: ignore[no-untyped-def]
    data, variance, mask, objects, size, box, bright_limit, widths, level, clean, covered
):
    """Fill `level`, `clean` and `covered`, a row of blocks at a time, while it is in the cache.

    Each column of a row of blocks is a SIMD lane, in single precision: deviations are small.
    """
    y0, y1, x0, x1 = box
    nx, reach = x1 - x0, widths.size - 1
    lines = np.empty((4, nx), np.float32)
    centre, part, count, hidden = lines[0], lines[1], lines[2], lines[3]
    noise, near = np.empty((size + 2 * reach, nx), np.float32), np.empty((size, nx), np.uint8)
    words = np.zeros(nx // 8 + 1, np.uint64)
    bright = words.view(np.uint8)
    for i in range(level.shape[0]):
        first, last = y0 + i * size, min(y0 + (i + 1) * size, y1)
        for y in range(first, last):
            if objects.size:
                near[y - first] = objects[y][x0:x1]
            else:
                near[y - first] = 0
        for y in range(max(y0, first - reach), min(y1, last + reach)):
            own = noise[y - first + reach]
            _noise(variance[y][x0:x1], mask[y][x0:x1], own)
            if bright_limit > NONE:
                _bright(bright_limit, data[y][x0:x1], own, bright)
                _paint(words, bright, y - first, widths, near)
        hidden[:] = 0
        for k in range(2):
            for j in range(level.shape[1]):
                centre[j * size : min((j + 1) * size, nx)] = level[i, j]
            part[:] = 0
            count[:] = 0
            for y in range(first, last):
                limit = noise[y - first + reach]
                if k == 0:
                    _limits(limit, near[y - first], hidden)
                _deviations(data[y][x0:x1], limit, centre, part, count)
            for j in range(level.shape[1]):
                total, n, over_n = 0.0, 0, 0
                for t in range(j * size, min((j + 1) * size, nx)):
                    total += part[t]
                    n += int(count[t])
                    over_n += int(hidden[t])
                level[i, j] += total / max(n, 1)
                clean[i, j], covered[i, j] = n, over_n


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
