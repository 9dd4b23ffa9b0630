"""Compare-exchange networks: sort the rows of a tile, one pixel per SIMD lane.

A network is a fixed list of pairs of rows; for each pair the smaller value of every pixel goes to
the first row and the larger to the second. No step depends on the data, so a whole tile moves
through it in SIMD registers.

To take medians of pixels with a different number of usable samples in the same tile, unusable
samples are replaced by +inf and -inf in turn (`tiles.sort_middle`): they fall off either end in
equal number and the median stays in the middle rows (`middle_rows`), however many there are.

References
----------
Batcher 1968, AFIPS 32, 307; Knuth, The Art of Computer Programming 3, 5.2.2, algorithm M.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from f2yaml.interpreter.algorithms.jit import kernel_in_place, part

#: Pixels of a tile: tiles of up to 31 frames fit into a first-level cache of 32 KiB.
TILE = 256

INF32 = np.float32(np.inf)
HALF32 = np.float32(0.5)

Pairs = npt.NDArray[np.int32]


@lru_cache(maxsize=256)
def sorting_pairs(n: int) -> Pairs:
    """Return the odd-even merge network that sorts `n` rows.

    Parameters
    ----------
    n : int
        Number of rows, at least 1.

    Returns
    -------
    array of int32, shape (pairs, 2), read-only
        Row numbers (low, high), to be applied in order.
    """
    pairs: list[tuple[int, int]] = []
    top = 1 << max(0, (n - 1).bit_length() - 1)
    p = top if n > 1 else 0
    while p:
        q, r, d = top, 0, p
        while True:
            pairs += [(i, i + d) for i in range(n - d) if i & p == r]
            if q == p:
                break
            d, q, r = q - p, q >> 1, p
        p >>= 1
    return _frozen(pairs)


def middle_rows(n: int) -> tuple[int, int]:
    """Return the two rows of `n` sorted rows that hold the median of padded samples."""
    high = n // 2
    return max(high - 1, 0), high


@lru_cache(maxsize=256)
def median_pairs(n: int) -> Pairs:
    """Return `sorting_pairs` without the exchanges that cannot reach `middle_rows`.

    Parameters
    ----------
    n : int
        Number of rows, at least 1.

    Returns
    -------
    array of int32, shape (pairs, 2), read-only
    """
    return pruned_pairs(n, middle_rows(n))


@lru_cache(maxsize=256)
def pruned_pairs(n: int, rows: tuple[int, ...]) -> Pairs:
    """Return `sorting_pairs` without the exchanges that cannot reach some of the sorted rows.

    Parameters
    ----------
    n : int
        Number of rows, at least 1.
    rows : tuple of int
        Numbers of the sorted rows that are wanted.

    Returns
    -------
    array of int32, shape (pairs, 2), read-only
    """
    needed = set(rows)
    kept: list[tuple[int, int]] = []
    for low, high in reversed(sorting_pairs(n).tolist()):
        if low in needed or high in needed:
            kept.append((low, high))
            needed |= {low, high}
    return _frozen(kept[::-1])


def _frozen(pairs: list[tuple[int, int]]) -> Pairs:
    array = np.array(pairs, dtype=np.int32).reshape(-1, 2)
    array.flags.writeable = False
    return array


@kernel_in_place
def exchange(tile, pairs, width):  # type: ignore[no-untyped-def]
    """Apply the network `pairs` to the first `width` pixels of `tile` (rows, TILE), in place."""
    for p in range(pairs.shape[0]):
        first = tile[pairs[p, 0]]
        second = tile[pairs[p, 1]]
        for t in range(width):
            x = first[t]
            y = second[t]
            first[t] = x if x < y else y
            second[t] = y if x < y else x


@part
def middle(tile, rows, count, width, centre):  # type: ignore[no-untyped-def]
    """Write the median of each pixel of a tile of `rows` rows, padded and sorted, to `centre`.

    `count` is the number of usable samples of each pixel. The mean of the middle two is formed
    in single precision. A pixel without usable samples gets inf or NaN.
    """
    high = rows // 2
    low = max(high - 1, 0)
    lower = tile[low]
    upper = tile[high]
    single = tile[high] if rows % 2 == 1 else tile[low]
    for t in range(width):
        both = HALF32 * (lower[t] + upper[t])
        alone = single[t]
        centre[t] = alone if count[t] % 2 == 1 else both


@part
def lower_middle(tile, rows, count, width, centre):  # type: ignore[no-untyped-def]
    """As `middle`, but an even number of samples gives the lower of the middle two."""
    high = rows // 2
    lower = tile[max(high - 1, 0)]
    single = tile[high] if rows % 2 == 1 else tile[max(high - 1, 0)]
    for t in range(width):
        alone = single[t]
        pair = lower[t]
        centre[t] = alone if count[t] % 2 == 1 else pair
