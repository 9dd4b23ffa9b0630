"""The background of an image by the means of its blocks: its level, or a smooth surface."""

from __future__ import annotations

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


def surface_rows(coefficients: Float64, shape: tuple[int, int], start: int, stop: int) -> Float32:
    """Return rows `start` to `stop` of a surface over an image of `shape`, as float32."""
    order = len(coefficients) - 1
    y = _legendre(np.arange(start, stop, dtype=np.float64), shape[0], order)
    x = _legendre(np.arange(shape[1], dtype=np.float64), shape[1], order)
    rows = np.zeros((stop - start, shape[1]))
    for j in range(order + 1):
        along = np.zeros(stop - start)
        for i in range(order + 1):
            along += coefficients[i, j] * y[i]
        rows += along[:, None] * x[j]
    return rows.astype(np.float32)


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
def _sums(data, variance, mask, objects, size, level, total, clean, covered):  # type: ignore[no-untyped-def]
    """Add up deviations from `level` of the clean pixels of each block, and count them."""
    ny, nx = data.shape
    for r in range(ny):
        i = r // size
        for j in range(level.shape[1]):
            centre = np.float32(level[i, j])
            part = 0.0
            count = 0
            hidden = 0
            for c in range(j * size, min((j + 1) * size, nx)):
                d = data[r, c] - centre
                good = (mask[r, c] == 0) & (variance[r, c] > 0)
                free = good & (objects[r, c] == 0)
                hidden += good & (objects[r, c] != 0)
                kept = free & (d * d <= np.float32(CLIP * CLIP) * variance[r, c])
                part += np.float64(d) if kept else 0.0
                count += kept
            total[i, j] += part
            clean[i, j] += count
            covered[i, j] += hidden
