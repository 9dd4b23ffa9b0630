"""Skies for many frames at once: from each frame's neighbours, band by band.

Every frame is read and normalised once per block of pixels; each target then takes its own list of
neighbours from the block and sorts them from scratch with a network that only finds the median.
A mean, or a line in time, of the samples that lie near the median takes one more pass over them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from f2yaml.interpreter.algorithms import pixel, tiles
from f2yaml.interpreter.algorithms.combine import Combined, combine
from f2yaml.interpreter.algorithms.jit import kernel, part
from f2yaml.interpreter.algorithms.networks import TILE, median_pairs, middle
from f2yaml.interpreter.algorithms.pixel import Samples
from f2yaml.interpreter.algorithms.rejection import Rejection, rules_of
from f2yaml.interpreter.algorithms.sky_groups import Groups, group_skies, groups_of
from f2yaml.interpreter.algorithms.sky_tiles import (
    NAN32,
    NO_DATA,
    SIGNAL_BITS,
    bits_present,
    load_block,
)
from f2yaml.interpreter.errors import NotSupported, TooFewFrames

Operation = Literal["mean", "median", "linear"]
Float32 = npt.NDArray[np.float32]
Bits = npt.NDArray[np.uint16]


class Sky(NamedTuple):
    """Skies of `m` frames, each plane of shape (m, rows, nx), in units of the level."""

    data: Float32
    variance: Float32
    mask: Bits


class _Rule(NamedTuple):
    """Which samples of a pixel are used; limits in sigma, if `clip` is set."""

    clip: bool
    lsigma: np.float32
    hsigma: np.float32


class _Networks(NamedTuple):
    """Pruned networks of all sizes in use, one after the other."""

    pairs: npt.NDArray[np.int32]
    start: npt.NDArray[np.int64]


def sky_band(
    data: Float32,
    variance: Float32 | None,
    mask: Bits | None,
    objmask: npt.NDArray[np.uint8] | None,
    level: npt.ArrayLike,
    neighbours: npt.ArrayLike,
    *,
    operation: Operation = "median",
    reject: Rejection = "none",
    lsigma: float = 3.0,
    hsigma: float = 3.0,
    nlow: int = 0,
    nhigh: int = 0,
    times: npt.ArrayLike | None = None,
    own: npt.ArrayLike | None = None,
    out: Sky | None = None,
) -> Sky:
    """Build the sky of each of `m` frames from its neighbours, for a band of rows.

    Each frame is multiplied by 1/level, its variance by 1/level^2, both in single precision, on
    load; the skies are in units of the level. Samples with a quality bit other than 2 and 4, or
    on an object, are not used. Where a pixel has no other samples, those of the least bad class
    are, an object counting as bit 1, and their bits are in the mask of the sky.

    Parameters
    ----------
    data : float32, shape (n, rows, nx)
        Frames; bands of larger stacks are read in place.
    variance : float32, shape of `data`, or None
    mask : uint16, shape of `data`, or None
    objmask : uint8, shape of `data`, or None
        Not 0 on objects.
    level : shape (n,)
        Sky level of each frame, not 0.
    neighbours : int, shape (m, k)
        Frames that make the sky of each target, padded with -1.
    operation, reject, lsigma, hsigma, nlow, nhigh
        As for `combine`. ``linear`` is the value, at the time of the target, of the straight line
        in time through the samples that are left; their mean where there are fewer than three, or
        where the line is less certain than one sample. ``minmax`` with equal numbers before a
        median is no rejection, and is treated so (spec 8.3: it only inflates the variance).
        Options other than median without rejection, and mean or ``linear`` without rejection or
        with varclip, go through `combine`, frame by frame; ``linear`` does not.
    times : shape (m, k), optional
        For ``linear``: time of each neighbour minus that of its target, in any unit.
    own : int, shape (m,), optional
        Frame that each target is itself, -1 if it is none of them. It is never its own sky; targets
        that are skies of each other share the work.
    out : Sky, optional
        C-contiguous arrays to fill.

    Returns
    -------
    Sky
        The variance is the mean variance over the number of samples, times `median_factor`. A
        pixel without any finite sample is 0 with variance 0 and bit 16.

    Raises
    ------
    TooFewFrames
        A target has no neighbour.

    References
    ----------
    Spec 8.3, 8.4, 14.1. Departures: as for `combine`; bands and targets do not affect each other.
    """
    listed = np.array(neighbours, dtype=np.int32, ndmin=2)
    sizes = (listed >= 0).sum(axis=1)
    if (sizes == 0).any():
        raise TooFewFrames(
            what=f"target {int(np.argmin(sizes)) + 1} of {len(sizes)} has no sky frames",
            why="its sky cannot be built",
            fix="allow a longer time or a shorter distance between a frame and its sky frames",
        )
    inverse = np.float32(1) / np.array(level, np.float32)
    assert listed.max() < len(data) == len(inverse)
    shape = (len(listed), *data.shape[1:])
    if out is None:
        filled = (np.empty(shape, np.float32), np.empty(shape, np.float32))
        out = Sky(*filled, np.empty(shape, np.uint16))
    assert all(plane.flags.c_contiguous and plane.shape == shape for plane in out)
    balanced = reject == "minmax" and nlow == nhigh and 2 * nlow < sizes.min()
    plain = operation == "median" and (reject == "none" or balanced)
    plain |= operation != "median" and reject in ("none", "varclip")
    if operation == "linear" and not (plain and variance is not None and times is not None):
        raise NotSupported(
            what=f"a sky linear in time with reject_method {reject}",
            why="it needs variances, and goes with none and varclip only",
            fix="take reject_method varclip, or operation mean",
        )
    if plain and variance is not None:
        itself = np.full(len(listed), -1, np.int32) if own is None else np.array(own, np.int32)
        given = _flattened(data, variance, mask, objmask, inverse)
        if operation == "linear":
            rule = _Rule(reject == "varclip", np.float32(lsigma), np.float32(hsigma))
            gaps = np.array(times, np.float64, ndmin=2)
            _all_lines(*given, listed, rule, gaps, data[0].size, out)
            return out
        rules = rules_of(
            len(data),
            has_variance=True,
            operation=pixel.MEDIAN if operation == "median" else pixel.MEAN,
            reject="varclip" if reject == "varclip" else "none",
            lsigma=lsigma,
            hsigma=hsigma,
        )
        planes = (out.data.reshape(-1), out.variance.reshape(-1), out.mask.reshape(-1))
        groups = _groups(listed.tobytes(), listed.shape, itself.tobytes(), len(data))
        group_skies(*given, len(data), groups, rules, data[0].size, *planes)
        return out
    assert operation != "linear"
    for j, row in enumerate(listed):
        use = row[row >= 0]
        flags = None if mask is None else mask[use]
        if objmask is not None:
            objects = (objmask[use] != 0).astype(np.uint16)
            flags = objects if flags is None else flags | objects
        combined = combine(
            data[use],
            None if variance is None else variance[use],
            np.zeros(data[use].shape, np.uint16) if flags is None else flags,
            operation=operation,
            reject=reject,
            lsigma=lsigma,
            hsigma=hsigma,
            nlow=nlow,
            nhigh=nhigh,
            scale=inverse[use],
        )
        _store(combined, out, j)
    return out


def _store(combined: Combined, out: Sky, j: int) -> None:
    """Copy a combined sky; pixels without any sample are flagged, as on the fast path."""
    assert combined.mask is not None
    empty = np.isnan(combined.variance) & (combined.data == 0)
    out.data[j] = combined.data
    out.variance[j] = np.where(empty, np.float32(0), combined.variance)
    out.mask[j] = np.where(empty, combined.mask | NO_DATA, combined.mask)


@lru_cache(maxsize=8)
def _groups(listed: bytes, shape: tuple[int, int], own: bytes, n: int) -> Groups:
    """Return the groups of some targets; every band of a step asks for the same."""
    rows = np.frombuffer(listed, np.int32).reshape(shape)
    return groups_of(rows, np.frombuffer(own, np.int32), n)


def _flattened(
    data: Float32,
    variance: Float32,
    mask: Bits | None,
    objmask: npt.NDArray[np.uint8] | None,
    inverse: Float32,
) -> tuple[Samples, npt.NDArray[np.uint8], int]:
    """Return samples, and object masks with the distance between their planes."""
    flat, step = tiles.flatten(data)
    spread, spread_step = tiles.flatten(variance)
    # One plane of zeros, read n times; flattened, it has the type of the others.
    flags, flags_step = tiles.flatten(np.zeros((1, *data.shape[1:]), np.uint16))[0], 0
    objects, objects_step = tiles.flatten(np.zeros((1, *data.shape[1:]), np.uint8))[0], 0
    if mask is not None:
        flags, flags_step = tiles.flatten(mask)
    if objmask is not None:
        objects, objects_step = tiles.flatten(objmask.view(np.uint8))
    zero = np.zeros(len(data), np.float32)
    samples = Samples(flat, step, spread, spread_step, True, flags, flags_step, inverse, zero)
    return samples, objects, objects_step


def _all_lines(
    samples: Samples,
    objects: npt.NDArray[np.uint8],
    objects_step: int,
    listed: npt.NDArray[np.int32],
    rule: _Rule,
    gaps: npt.NDArray[np.float64],
    size: int,
    out: Sky,
) -> None:
    n = len(samples.scale)
    sizes = (listed >= 0).sum(axis=1)
    rows = [tiles.index_rows(row[row >= 0], dummy=n) for row in listed]
    index = np.full((len(rows), max(len(row) for row in rows)), n, np.int32)
    away = np.zeros(index.shape)
    for j, row in enumerate(rows):
        index[j, : len(row)] = row
        away[j, : sizes[j]] = gaps[j][listed[j] >= 0]
    width = tiles.block_width(n, TILE)
    planes = (out.data.reshape(-1), out.variance.reshape(-1), out.mask.reshape(-1))
    networks = _networks(sizes)
    _targets(
        samples, objects, objects_step, n, width, index, sizes, networks, rule, away, size, *planes
    )


def _networks(sizes: npt.NDArray[np.int64]) -> _Networks:
    """Return the networks for `sizes`; that of size k is ``pairs[start[k]:start[k + 1]]``."""
    most = int(sizes.max())
    wanted = set(sizes.tolist())
    parts = [
        median_pairs(k) if k in wanted else np.empty((0, 2), np.int32) for k in range(most + 1)
    ]
    start = np.cumsum([0] + [len(part) for part in parts])
    return _Networks(np.concatenate(parts), start.astype(np.int64))


@part
def _load_worse(s, index, k, n, p, o, m, block, spare, best):  # type: ignore[no-untyped-def]
    """Load into the first rows of `spare` the least bad class of the neighbours of one target."""
    best[:m] = pixel.CLASSES
    for q in range(k):
        i = index[q]
        bits = block.flags[i, o : o + m]
        source = s.data[i * s.data_step + p : i * s.data_step + p + m]
        for t in range(m):
            best[t] = min(best[t], pixel.badness(bits[t], source[t]))
    for q in range(k):
        i = index[q]
        bits = block.flags[i, o : o + m]
        source = s.data[i * s.data_step + p : i * s.data_step + p + m]
        spread = s.variance[i * s.variance_step + p : i * s.variance_step + p + m]
        values, variance, flags = spare.values[q], spare.variance[q], spare.flags[q]
        scale = s.scale[i]
        for t in range(m):
            x = scale * source[t] + s.zero[i]
            usable = (pixel.badness(bits[t], x) == best[t]) & (best[t] < pixel.CLASSES)
            values[t] = x if usable else NAN32
        for t in range(m):
            x = values[t]
            v = scale * scale * spread[t]
            variance[t] = v if x == x else np.float32(0)
        for t in range(m):
            flags[t] = bits[t]


@part
def _near(source, index, k, o, m, rule, centre, kept):  # type: ignore[no-untyped-def]
    """Copy the samples near `centre` to the first rows of `kept`."""
    ls, hs, none = rule.lsigma, rule.hsigma, np.float32(0)
    for q in range(k):
        values = source.values[index[q], o : o + m]
        variance = source.variance[index[q], o : o + m]
        x_out, v_out = kept.values[q], kept.variance[q]
        for t in range(m):
            x = values[t]
            v = variance[t]
            keep = pixel.keeps(x, v, centre[t], ls, hs, none) | (not rule.clip)
            x_out[t] = x if keep else NAN32
            v_out[t] = v if keep else none


@part
def _restore(source, index, k, o, m, used, kept):  # type: ignore[no-untyped-def]
    """Take all samples of the pixels that have none left."""
    for t in range(m):
        if used[t] == 0:
            for q in range(k):
                kept.values[q, t] = source.values[index[q], o + t]
                kept.variance[q, t] = source.variance[index[q], o + t]


@part
def _mean(kept, straight, m, used, total, value, spread):  # type: ignore[no-untyped-def]
    tiles.sum_rows(kept.values, straight, 0, m, total)
    for t in range(m):
        value[t] = total[t] / max(used[t], 1)
    tiles.sum_rows(kept.variance, straight, 0, m, total)
    for t in range(m):
        c = np.float64(max(used[t], 1))
        spread[t] = total[t] / (c * c)


@part
def _line(kept, k, away, m, used, sums, value, spread):  # type: ignore[no-untyped-def]
    """Replace the mean by the line in time at time 0, where it is worth it."""
    s1, s2, x0, x1, v0, v1, v2 = sums
    for total in sums:
        for t in range(m):
            total[t] = 0.0
    for q in range(k):
        a = away[q]
        square = a * a
        values, variance = kept.values[q], kept.variance[q]
        for t in range(m):
            x = values[t]
            s1[t] += a if x == x else 0.0
            s2[t] += square if x == x else 0.0
        for t in range(m):
            x = values[t]
            y = np.float64(x if x == x else np.float32(0))
            x0[t] += y
            x1[t] += a * y
        for t in range(m):
            v0[t] += np.float64(variance[t])
        for t in range(m):
            v = np.float64(variance[t])
            v1[t] += a * v
            v2[t] += square * v
    for t in range(m):
        p, r = s1[t], s2[t]
        det = used[t] * r - p * p
        if (used[t] > 2) & (det > r):  # else its weights, squared, add up to more than one
            value[t] = (r * x0[t] - p * x1[t]) / det
            spread[t] = (r * r * v0[t] - 2.0 * p * r * v1[t] + p * p * v2[t]) / (det * det)


@part
def _lines(  # type: ignore[no-untyped-def]
    source, index, k, o, m, rule, pairs, count, away, straight, some, kept, b, value, spread, bits
):
    """Write line, variance and bits of one tile of one target."""
    side, work, centre, total, used, sums = b
    if rule.clip:
        tiles.sort_middle(source.values, index, k, o, m, pairs, side, work)
        middle(work, k, count, m, centre)
    _near(source, index, k, o, m, rule, centre, kept)
    if tiles.count_rows(kept.values, straight, 0, m, used) == 0:
        _restore(source, index, k, o, m, used, kept)
        tiles.count_rows(kept.values, straight, 0, m, used)
    _mean(kept, straight, m, used, total, value, spread)
    _line(kept, k, away, m, used, sums, value, spread)
    bits[:] = 0
    if some & SIGNAL_BITS:
        for q in range(k):
            flags, values = source.flags[index[q], o : o + m], kept.values[q]
            for t in range(m):
                x = values[t]
                f = flags[t]
                bits[t] |= f if x == x else np.uint16(0)
    for t in range(m):
        if used[t] == 0:
            bits[t] = NO_DATA


@kernel
def _targets(  # type: ignore[no-untyped-def]
    s, objects, step, n, width, index, sizes, networks, rule, away, size, value, spread, bits
):
    most = sizes.max()
    block = tiles.new_block(n, width)
    spare, kept = tiles.new_block(most, TILE), tiles.new_block(most, TILE)
    straight = np.full(index.shape[1], most, np.int32)
    count, used = np.empty(TILE, np.int32), np.empty(TILE, np.int32)
    best = np.empty(TILE, np.int32)
    present = np.empty(n, np.uint16)
    side, work = np.empty(TILE, np.float32), np.empty((most, TILE), np.float32)
    centre, total = np.zeros(TILE, np.float32), np.empty(TILE, np.float64)
    sums = (
        np.empty(TILE, np.float64),
        np.empty(TILE, np.float64),
        np.empty(TILE, np.float64),
        np.empty(TILE, np.float64),
        np.empty(TILE, np.float64),
        np.empty(TILE, np.float64),
        np.empty(TILE, np.float64),
    )
    buffers = (side, work, centre, total, used, sums)
    for start in range(0, size, width):
        run = min(width, size - start)
        load_block(s, objects, step, n, start, run, block)
        for o in range(0, run, TILE):
            m = min(TILE, run - o)
            bits_present(block.flags, n, o, m, present)
            for j in range(sizes.size):
                k = sizes[j]
                pairs = networks.pairs[networks.start[k] : networks.start[k + 1]]
                p = j * size + start + o
                planes = value[p : p + m], spread[p : p + m]
                flags = bits[p : p + m]
                for q in range(straight.size):
                    straight[q] = q if q < k else most
                least = tiles.count_rows(block.values, index[j], o, m, count)
                worse = least == 0
                if worse:
                    _load_worse(s, index[j], k, n, start + o, o, m, block, spare, best)
                    least = tiles.count_rows(spare.values, straight, 0, m, count)
                source, rows = (spare, straight) if worse else (block, index[j])
                at = 0 if worse else o
                # Samples of a worse class have the bits of that class.
                some = np.uint16(65535) if worse else np.uint16(0)
                for q in range(k):
                    some |= present[index[j, q]]
                _lines(
                    source, rows, k, at, m, rule, pairs, count, away[j], straight, some, kept,
                    buffers, *planes, flags,
                )  # fmt: skip
