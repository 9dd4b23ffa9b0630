"""Row kernels on blocks of pixels: load, count, sum, sort; one pixel per SIMD lane.

A block holds a run of pixels of every frame, read once from memory: ``values`` (float32, NaN where
a sample is not used), ``variance`` (float32, 0 there) and ``flags`` (uint16). Its last row is a
dummy without samples, so that rows can be taken four at a time: sums then load and store their
accumulators a quarter as often. Inner loops keep to few streams, else LLVM does not vectorise them.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from f2yaml.interpreter.algorithms import pixel
from f2yaml.interpreter.algorithms.jit import maker, part
from f2yaml.interpreter.algorithms.networks import INF32, exchange
from f2yaml.interpreter.dq import NOT_SIGNAL

_UNUSABLE = np.int32(NOT_SIGNAL)
NAN32 = np.float32(np.nan)
ZERO32 = np.float32(0)
NO_BITS = np.uint16(0)
_Number = TypeVar("_Number", bound=np.generic)


class Block(NamedTuple):
    """A block of `n` frames: planes of shape (n + 1, stride), the last row being the dummy."""

    values: npt.NDArray[np.float32]
    variance: npt.NDArray[np.float32]
    flags: npt.NDArray[np.uint16]


@maker
def new_block(n, width):  # type: ignore[no-untyped-def]
    """Return an empty block for runs of up to `width` pixels."""
    # Rows a power of two apart would compete for the same lines of the cache.
    stride = width + 16
    values = np.full((n + 1, stride), NAN32, np.float32)
    variance = np.zeros((n + 1, stride), np.float32)
    flags = np.zeros((n + 1, stride), np.uint16)
    return Block(values, variance, flags)


def block_width(n: int, tile: int) -> int:
    """Return the width of blocks of `n` frames, a multiple of `tile`, for the second-level cache.

    Runs shorter than 512 pixels cost more in memory latency than they save in cache.
    """
    return max(512, min(4096, 50_000 // n)) // tile * tile


def flatten(planes: npt.NDArray[_Number]) -> tuple[npt.NDArray[_Number], int]:
    """Return planes (n, rows, nx) as one contiguous array and the distance between planes.

    Bands of larger images are not copied: the array then spans the rows between them as well,
    which kernels do not touch. Anything else is copied.
    """
    n, rows, nx = planes.shape
    item = planes.itemsize
    step, row, column = planes.strides
    in_place = column == item and (rows == 1 or row == nx * item) and step % item == 0 <= step
    if not in_place or n == 1:
        planes = np.ascontiguousarray(planes)
        step = rows * nx * item
    length = (n - 1) * (step // item) + rows * nx
    flat = np.lib.stride_tricks.as_strided(planes, (length,), (item,), writeable=False)
    return flat, step // item


def index_rows(rows: npt.ArrayLike, dummy: int) -> npt.NDArray[np.int32]:
    """Return row numbers with the dummy row appended up to a multiple of four."""
    index = np.asarray(rows, dtype=np.int32)
    return np.append(index, np.full(-len(index) % 4, dummy, np.int32))


@part
def load_rows(s, n, o, width, block):  # type: ignore[no-untyped-def]
    """Read the pixels o to o + width of every frame, in runs long enough to stream.

    Samples flagged otherwise than with bits 2 and 4, or not finite, are not in use.
    """
    for i in range(n):
        source = s.data[i * s.data_step + o : i * s.data_step + o + width]
        bits = s.mask[i * s.mask_step + o : i * s.mask_step + o + width]
        values = block.values[i]
        scale = s.scale[i]
        zero = s.zero[i]
        for t in range(width):
            x = scale * source[t] + zero
            usable = (np.int32(bits[t]) & _UNUSABLE == 0) & (abs(x) < INF32)
            values[t] = x if usable else NAN32
        flags = block.flags[i]
        for t in range(width):
            flags[t] = bits[t]
        if s.has_variance:
            spread = s.variance[i * s.variance_step + o : i * s.variance_step + o + width]
            variance = block.variance[i]
            factor = scale * scale
            for t in range(width):
                x = values[t]
                v = factor * spread[t]
                variance[t] = v if x == x else ZERO32


@part
def load_worse(s, n, p, o, m, best, block):  # type: ignore[no-untyped-def]
    """Load a tile again where a pixel has no good sample: use the least bad class.

    The tile is `m` pixels, from pixel `o` of the block and pixel `p` of the planes. A pixel whose
    class is set by a sample that is not finite is left without samples.
    """
    best[:m] = pixel.CLASSES
    for i in range(n):
        bits = block.flags[i, o : o + m]
        for t in range(m):
            best[t] = min(best[t], pixel.badness(bits[t], ZERO32))
    for i in range(n):
        source = s.data[i * s.data_step + p : i * s.data_step + p + m]
        bits = block.flags[i, o : o + m]
        values = block.values[i, o : o + m]
        scale = s.scale[i]
        zero = s.zero[i]
        for t in range(m):
            x = scale * source[t] + zero
            usable = (pixel.badness(bits[t], x) == best[t]) & (best[t] < pixel.CLASSES)
            values[t] = x if usable else NAN32
        if s.has_variance:
            spread = s.variance[i * s.variance_step + p : i * s.variance_step + p + m]
            variance = block.variance[i, o : o + m]
            factor = scale * scale
            for t in range(m):
                x = values[t]
                v = factor * spread[t]
                variance[t] = v if x == x else ZERO32


@part
def copy_row(source, m, out):  # type: ignore[no-untyped-def]
    """Copy the first `m` samples of a row."""
    for t in range(m):
        out[t] = source[t]


@part
def count_rows(values, index, o, m, count):  # type: ignore[no-untyped-def]
    """Count the samples in use of `m` pixels from `o` on; return the smallest count."""
    for t in range(m):
        count[t] = 0
    for q in range(0, index.size, 4):
        a, b = values[index[q], o : o + m], values[index[q + 1], o : o + m]
        c, d = values[index[q + 2], o : o + m], values[index[q + 3], o : o + m]
        for t in range(m):
            w, x, y, z = a[t], b[t], c[t], d[t]
            low = np.int32(w == w) + np.int32(x == x)
            count[t] += np.int32(low + np.int32(y == y) + np.int32(z == z))
    least = count[0]
    for t in range(m):
        least = min(least, count[t])
    return least


@part
def sum_rows(values, index, o, m, total):  # type: ignore[no-untyped-def]
    """Sum rows in double precision; NaN counts as 0."""
    for t in range(m):
        total[t] = 0.0
    for q in range(0, index.size, 4):
        a, b = values[index[q], o : o + m], values[index[q + 1], o : o + m]
        c, d = values[index[q + 2], o : o + m], values[index[q + 3], o : o + m]
        for t in range(m):
            w, x, y, z = a[t], b[t], c[t], d[t]
            w = w if w == w else ZERO32
            x = x if x == x else ZERO32
            y = y if y == y else ZERO32
            z = z if z == z else ZERO32
            total[t] += (np.float64(w) + np.float64(x)) + (np.float64(y) + np.float64(z))


@part
def or_rows(flags, index, o, m, total):  # type: ignore[no-untyped-def]
    """OR the bits of all rows into `total`, and return the OR of those of all pixels."""
    for t in range(m):
        total[t] = 0
    for q in range(0, index.size, 4):
        a, b = flags[index[q], o : o + m], flags[index[q + 1], o : o + m]
        c, d = flags[index[q + 2], o : o + m], flags[index[q + 3], o : o + m]
        for t in range(m):
            total[t] |= (a[t] | b[t]) | (c[t] | d[t])
    present = NO_BITS
    for t in range(m):
        present |= total[t]
    return present


@part
def or_used_rows(values, flags, index, o, m, total):  # type: ignore[no-untyped-def]
    """OR the bits of the samples in use into `total`."""
    for t in range(m):
        total[t] = 0
    for q in range(index.size):
        row, bits = values[index[q], o : o + m], flags[index[q], o : o + m]
        for t in range(m):
            x = row[t]
            b = bits[t]
            total[t] |= b if x == x else NO_BITS


@part
def sort_middle(values, index, k, o, m, pairs, side, work):  # type: ignore[no-untyped-def]
    """Sort `k` rows so that `networks.middle` finds the median of the samples in use.

    Unusable samples become +inf and -inf in turn; `side` holds the next sign of each pixel.
    """
    for t in range(m):
        side[t] = INF32
    for q in range(k):
        source = values[index[q], o : o + m]
        row = work[q]
        for t in range(m):
            x = source[t]
            s = side[t]
            usable = x == x
            row[t] = x if usable else s
            side[t] = s if usable else -s
    exchange(work, pairs, m)


@part
def sort_up(values, index, k, o, m, pairs, work):  # type: ignore[no-untyped-def]
    """Sort `k` rows with the samples not in use at the end."""
    for q in range(k):
        source = values[index[q], o : o + m]
        row = work[q]
        for t in range(m):
            x = source[t]
            row[t] = x if x == x else INF32
    exchange(work, pairs, m)
