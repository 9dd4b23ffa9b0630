"""Skies of frames that share their neighbours: sorted and summed once for all of them.

In a dither every frame is a sky of every other; in a long one, of those taken near it in time. The
samples of a pixel are then the same for several targets, or nearly so from one to the next. Each
takes its own sample out of the sums and out of the sorted samples; where not all neighbours are
shared, those that differ come in and go out between two targets (`sky_windows`). Samples rejected
as outliers, and pixels whose only good samples are those taken out, are rare; such pixels are done
one by one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from f2yaml.interpreter.algorithms import (
    pixel,
    sky_adopt,
    sky_repairs,
    sky_tiles,
    sky_windows,
    tiles,
)
from f2yaml.interpreter.algorithms.jit import kernel, maker, part
from f2yaml.interpreter.algorithms.median_noise import median_factor
from f2yaml.interpreter.algorithms.networks import TILE, pruned_pairs, sorting_pairs
from f2yaml.interpreter.algorithms.pixel import Rules, Samples
from f2yaml.interpreter.algorithms.sky_tiles import INF32

Int32 = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]
Bits = npt.NDArray[np.uint16]

#: Frames of a group that a target may do without.
SLACK = 20


class Groups(NamedTuple):
    """Targets by the frames they share.

    Group g has the targets ``member[start[g]:start[g + 1]]``. Its frames are the first ``size[g]``
    of ``core[g]``, filled up with the dummy `n`; `own` is the frame that a target is itself, which
    is no sky of it, or `n`. A target does without up to ``slack[g]`` others of these frames; its
    row of `uses`, shape (m, n + 1), is 1 at the frames that it uses.

    Groups with a slack are done one target after the other. All frames between the first and the
    last that a target uses are its window, ``window[:width]``; a few of them it does not use, as in
    a dither that comes back to a place: the first ``gaps`` of its row of `gap`, itself among them.
    From the window of the target before one comes to that of a target by taking out the first
    ``changes`` of its row of `go` and putting in those of `come`; where that is too many, `fresh`
    is set.
    """

    start: Int32
    member: Int32
    own: Int32
    core: Int32
    size: Int32
    slack: Int32
    uses: npt.NDArray[np.uint8]
    window: Int32
    width: Int32
    gap: Int32
    gaps: Int32
    fresh: Int32
    come: Int32
    go: Int32
    changes: Int32
    listed: Int32
    sizes: Int32


class Networks(NamedTuple):
    """Networks for the groups, then by number of rows: ``pairs[start[g]:start[g + 1]]``."""

    pairs: Int32
    start: npt.NDArray[np.int64]


def groups_of(listed: Int32, own: Int32, n: int, slack: int = SLACK) -> Groups:
    """Sort targets into groups.

    Parameters
    ----------
    listed : int32, shape (m, k)
        Skies of each target, padded with -1.
    own : int32, shape (m,)
        Frame that each target is itself, -1 if it is none of them.
    n : int
        Number of frames.
    slack : int
        Frames of its group that a target may do without.
    """
    itself = np.where(own < 0, n, own).astype(np.int32)
    wanted: list[frozenset[int]] = []
    for j, row in enumerate(listed.tolist()):
        skies = frozenset(i for i in row if i >= 0)
        if itself[j] in skies:
            itself[j] = n
        wanted.append(skies if itself[j] == n else skies | {int(itself[j])})
    cores, members = _gathered(wanted, slack)
    come: list[list[int]] = [[]] * len(wanted)
    go = come.copy()
    far = np.zeros(len(wanted), np.int32)
    windows = [_window_of(skies) for skies in wanted]
    gap = [
        sorted((window - skies) | ({int(i)} & window))
        for window, skies, i in zip(windows, wanted, itself, strict=True)
    ]
    fresh = np.zeros(len(wanted), np.int32)
    before: frozenset[int] = frozenset()
    for frames, found in zip(cores, members, strict=True):
        far[found] = [len(frames - wanted[j]) for j in found]
        if not far[found].any():
            continue  # all share all
        for j in found:
            come[j], go[j] = sorted(windows[j] - before), sorted(before - windows[j])
            if not before or 4 * max(len(come[j]), len(go[j])) > len(windows[j]):
                fresh[j], come[j], go[j] = 1, [], []
            before = windows[j]
    changes = np.maximum(_lengths(come), _lengths(go))
    index = np.where(listed < 0, n, listed).astype(np.int32)
    index = np.take_along_axis(index, np.argsort(index, axis=1, kind="stable"), axis=1)
    uses = np.zeros((len(wanted), n + 1), np.uint8)
    np.put_along_axis(uses, index, 1, axis=1)
    uses[:, n] = 0
    return Groups(
        start=np.cumsum([0, *map(len, members)]).astype(np.int32),
        member=np.array([j for found in members for j in found], np.int32),
        own=itself,
        core=_padded([sorted(frames) for frames in cores], n, 4),
        size=_lengths(cores),
        slack=np.array([far[found].max() for found in members], np.int32),
        uses=uses,
        window=_padded([sorted(frames) for frames in windows], n, 4),
        width=_lengths(windows),
        gap=_padded(gap, n, 2),
        gaps=_lengths(gap),
        fresh=fresh,
        come=_padded(come, n, int(changes.max())),
        go=_padded(go, n, int(changes.max())),
        changes=changes,
        listed=np.ascontiguousarray(index),
        sizes=(listed >= 0).sum(axis=1).astype(np.int32),
    )


def _gathered(
    wanted: list[frozenset[int]], slack: int
) -> tuple[list[frozenset[int]], list[list[int]]]:
    """Return the frames of each group, and its targets, next to each other in order of frames."""
    cores: list[frozenset[int]] = []
    members: list[list[int]] = []

    def place(j: int) -> tuple[int, list[int], int]:
        return min(wanted[j]) + max(wanted[j]), sorted(wanted[j]), j

    for j in sorted(range(len(wanted)), key=place):
        grown = cores[-1] | wanted[j] if cores else wanted[j]
        fits = cores and all(len(grown - wanted[i]) <= slack for i in (*members[-1], j))
        if fits:
            cores[-1] = grown
            members[-1].append(j)
        else:
            cores.append(wanted[j])
            members.append([j])
    return cores, members


def _window_of(skies: frozenset[int]) -> frozenset[int]:
    """Return all frames between the first and the last of some, or these if others are many."""
    window = frozenset(range(min(skies), max(skies) + 1))
    return window if len(window) - len(skies) <= max(8, len(skies) // 4) else skies


def _lengths(rows: Iterable[Collection[int]]) -> Int32:
    return np.array([len(row) for row in rows], np.int32)


def _padded(rows: Iterable[list[int]], filler: int, multiple: int = 1) -> Int32:
    """Return rows of different length as one array."""
    lists = list(rows)
    width, multiple = max(1, *map(len, lists)), max(1, multiple)
    array = np.full((len(lists), -(-width // multiple) * multiple), filler, np.int32)
    for filled, row in zip(array, lists, strict=True):
        filled[: len(row)] = row
    return array


def networks_of(groups: Groups) -> Networks:
    """Return the networks that find the middle of what the targets of a group share.

    Without its own sample the median of a target is next to the middle. Windows that are sorted
    afresh are sorted whole.
    """
    none = np.empty((0, 2), np.int32)
    parts = []
    for size, slack in zip(groups.size.tolist(), groups.slack.tolist(), strict=True):
        middle = max(size // 2 - 1, 0) if size % 2 == 0 else size // 2
        rows = range(max(middle - 1, 0), min(middle + 1, size - 1) + 1)
        parts.append(pruned_pairs(size, tuple(rows)) if slack == 0 else none)
    used = {*groups.width[groups.fresh > 0].tolist(), *groups.gaps.tolist()}
    most = int(max(groups.width.max(), groups.gaps.max()))
    parts += [sorting_pairs(k) if k in used else none for k in range(most + 1)]
    start = np.cumsum([0] + [len(part) for part in parts])
    return Networks(np.concatenate(parts), start.astype(np.int64))


def group_skies(
    samples: Samples,
    objects: npt.NDArray[np.uint8],
    objects_step: int,
    n: int,
    groups: Groups,
    rules: Rules,
    size: int,
    value: Float32,
    spread: Float32,
    bits: Bits,
) -> None:
    """Fill the skies of all targets, in units of the level; see `sky.sky_band`.

    Parameters
    ----------
    samples : Samples
        Frames, with their scale.
    objects, objects_step
        Object masks, flattened like the planes of `samples`; a step of 0 means none.
    n : int
        Number of frames.
    groups : Groups
        From `groups_of`.
    rules : Rules
        Mean or median, no rejection or varclip without signal error.
    size : int
        Pixels of a plane.
    value, spread, bits : shape (m * size,)
        Planes to fill, one target after the other.
    """
    _group_skies(
        samples, objects, objects_step, n, tiles.block_width(n, TILE), groups,
        networks_of(groups), rules, size, value, spread, bits,
    )  # fmt: skip


@kernel
def _group_skies(  # type: ignore[no-untyped-def]
    s, objects, step, n, width, groups, networks, rules, size, value, spread, bits
):
    block = tiles.new_block(n, width)
    b = _tile(groups)
    present = np.empty(n + 1, np.uint16)
    repairs = sky_repairs.new_repairs(n)
    weights = np.empty(n + 1, np.float64)
    for k in range(n + 1):
        number = max(k, 1)
        if rules.operation == pixel.MEAN:
            weights[k] = 1.0 / number
        else:
            weights[k] = median_factor(number) / (number * number)
    every = np.full(-(-n // 4) * 4, n, np.int32)
    every[:n] = np.arange(n)
    for start in range(0, size, width):
        run = min(width, size - start)
        sky_tiles.load_block(s, objects, step, n, start, run, block)
        for o in range(0, run, TILE):
            m = min(TILE, run - o)
            p = start + o
            sky_tiles.bits_present(block.flags, n, o, m, present)
            chained = False
            for g in range(groups.size.size):
                if groups.slack[g] > 0:
                    chained = True
                    continue
                c, core = np.int64(groups.size[g]), groups.core[g]
                pairs = networks.pairs[networks.start[g] : networks.start[g + 1]]
                some = np.uint64(0)
                for q in range(c):
                    some |= present[core[q]]
                adopted, least, flagged = sky_tiles.prepare(
                    s, core, c, pairs, rules, p, o, m, some, block, b
                )
                _targets(
                    groups, g, rules, p, o, m, size, weights, least, flagged, block, b,
                    value, spread, bits,
                )  # fmt: skip
                sky_repairs.mark_and_do(
                    s, rules, n, groups, g, p, o, m, size, repairs, block, b, value, spread, bits
                )
                if adopted > 0:
                    sky_adopt.give_back(core, c, o, m, block, b.adopted)
            if chained:
                _windows(
                    s, groups, networks, rules, p, o, m, n, size, weights, every, present, repairs,
                    block, b, value, spread, bits,
                )  # fmt: skip


@maker
def _tile(groups):  # type: ignore[no-untyped-def]
    """Return arrays for a tile."""
    rows, most = np.int64(1), np.int64(1)
    for g in range(groups.size.size):
        if groups.slack[g] == 0:
            rows = max(rows, groups.size[g])
        else:
            most = max(most, groups.start[g + 1] - groups.start[g])
    for j in range(groups.width.size):
        rows = max(rows, groups.width[j])
    return sky_tiles.new_tile(rows, most, groups.gaps.max())


@part
def _targets(  # type: ignore[no-untyped-def]
    groups, g, rules, p, o, m, size, table, least, flagged, block, b, value, spread, bits
):
    """Write the skies of targets that share all frames for one tile, as if without outliers."""
    is_mean, even = rules.operation == pixel.MEAN, groups.size[g] % 2 == 0
    counts, whole, less = b.counts, b.whole, b.less
    sky_tiles.weigh(counts, table, m, whole, less)
    for e in range(groups.start[g], groups.start[g + 1]):
        j = groups.member[e]
        own = block.values[groups.own[j], o : o + m]
        noise = block.variance[groups.own[j], o : o + m]
        z = j * size + p
        out, out_noise, out_bits = value[z : z + m], spread[z : z + m], bits[z : z + m]
        if is_mean:
            sky_tiles.means(own, m, b.total, whole, less, out)
            sky_tiles.mean_noise(own, noise, m, b.noise, whole, less, out_noise)
        else:
            sky_tiles.medians(own, m, even, counts, b.below, b.centre, b.above, out)
            sky_tiles.median_noise(own, noise, m, b.noise, whole, less, out_noise)
        if not flagged:
            out_bits[:] = 0
        else:
            flags = block.flags[groups.own[j], o : o + m]
            sky_tiles.others_bits(own, flags, m, b.once, b.twice, out_bits)
        if least <= 1:  # else some sample is left for every target
            sky_tiles.mark_alone(own, m, counts, counts, b.again, out, out_noise, out_bits)


@part
def _windows(  # type: ignore[no-untyped-def]
    s, groups, networks, rules, p, o, m, n, size, table, every, present, repairs, block, b,
    value, spread, bits,
):  # fmt: skip
    """Write the skies of all targets that do not share all frames for one tile."""
    is_mean, clip = rules.operation == pixel.MEAN, rules.reject != pixel.NONE
    some = np.uint64(0)
    for i in range(n):
        some |= present[i]
    adopted, _, flagged = sky_tiles.survey(s, every, n, p, o, m, some, block, b)
    differ = flagged and sky_tiles.bits_differ(b.once, b.every, m)
    known, rows = b.known, 0
    tiles.copy_row(b.again, m, known)
    for g in range(groups.size.size):
        if groups.slack[g] == 0:
            continue
        b.below[:m] = INF32
        b.above[:m] = -INF32
        tiles.copy_row(known, m, b.again)
        first = groups.start[g]
        for e in range(groups.start[g + 1] - first):
            j = groups.member[first + e]
            rows = _slide(groups, networks, j, rows, is_mean, clip, o, m, n, block, b)
            _use(groups, networks, j, e, is_mean, clip, o, m, block, b)
            z = j * size + p
            _write(
                groups, j, e, is_mean, differ, table, o, m, block, b,
                value[z : z + m], spread[z : z + m], bits[z : z + m],
            )  # fmt: skip
        sky_repairs.mark_and_do(
            s, rules, n, groups, g, p, o, m, size, repairs, block, b, value, spread, bits
        )
    if adopted > 0:
        sky_adopt.give_back(every, n, o, m, block, b.adopted)


@part
def _slide(groups, networks, j, rows, is_mean, clip, o, m, n, block, b):  # type: ignore[no-untyped-def]
    """Go from the window of the target before, of `rows` frames, to that of `j`; return `rows`."""
    values, variance = block.values, block.variance
    left, rest, rest_noise = b.left, b.rest, b.rest_noise
    ordered = clip or not is_mean
    if groups.fresh[j] > 0:
        rows = groups.width[j]
        window = groups.window[j, : -(-rows // 4) * 4]
        sky_windows.begin(values, variance, window, is_mean, o, m, left, rest, rest_noise)
        if ordered:
            at = groups.size.size + rows
            pairs = networks.pairs[networks.start[at] : networks.start[at + 1]]
            sky_windows.sort(values, window, rows, pairs, o, m, b.work)
    for q in range(groups.changes[j]):
        old, new = groups.go[j, q], groups.come[j, q]
        sky_windows.change(values, variance, old, new, is_mean, o, m, left, rest, rest_noise)
        rows += old == n
        if ordered:
            sky_windows.replace(values, old, new, rows, o, m, b.work, b.out, b.come, b.last)
        rows -= new == n
    return rows


@part
def _use(groups, networks, j, e, is_mean, clip, o, m, block, b):  # type: ignore[no-untyped-def]
    """Fill number, sums and median of the samples of its window that target `j` uses."""
    k = groups.gaps[j]
    without = groups.gap[j, : k + k % 2]
    used, total, noise, centre = b.used[e], b.sum[e], b.sum_noise[e], b.centres[e]
    sky_windows.leave_out(
        block.values, block.variance, without, is_mean, o, m, b.left, b.rest, b.rest_noise,
        used, total, noise,
    )  # fmt: skip
    if clip or not is_mean:
        at = groups.size.size + k
        pairs = networks.pairs[networks.start[at] : networks.start[at + 1]]
        sky_windows.medians(
            block.values, without, k, pairs, used, o, m, b.extras, b.work, b.aligned, b.half,
            b.out, b.come, centre,
        )  # fmt: skip
    if clip:
        sky_windows.enclose(centre, m, b.below, b.above)


@part
def _write(  # type: ignore[no-untyped-def]
    groups, j, e, is_mean, differ, table, o, m, block, b, value, spread, bits
):
    """Write the sky of target `j`, as if without outliers.

    `differ` tells whether some samples have bits that others do not have.
    """
    least = sky_windows.weigh(b.used[e], table, m, b.whole)
    sky_windows.scale(b.sum_noise[e], b.whole, is_mean, m, spread)
    if is_mean:
        sky_windows.scale(b.sum[e], b.whole, False, m, value)
    else:
        tiles.copy_row(b.centres[e], m, value)
    if differ:
        listed = groups.listed[j, : groups.sizes[j]]
        tiles.or_used_rows(block.values, block.flags, listed, o, m, bits)
    else:
        tiles.copy_row(b.once, m, bits)
    if least <= 0:
        none = block.values[len(block.values) - 1]
        sky_tiles.mark_alone(none, m, b.used[e], b.counts, b.again, value, spread, bits)
