"""Skies of frames that share their neighbours: sorted and summed once for all of them.

In a dither every frame is a sky of every other; in a long one, of those taken near it in time. The
samples of a pixel are then mostly the same for several targets. Each takes its own sample out of
the sums and out of the sorted middle; where not all neighbours are shared, it merges in those that
are not (`sky_windows`). Samples rejected as outliers, and pixels whose only good samples are those
taken out, are rare; such pixels are done one by one.
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
from f2yaml.interpreter.algorithms.jit import kernel
from f2yaml.interpreter.algorithms.median_noise import median_factor
from f2yaml.interpreter.algorithms.networks import TILE, pruned_pairs, sorting_pairs
from f2yaml.interpreter.algorithms.pixel import Rules, Samples

Int32 = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]
Bits = npt.NDArray[np.uint16]

NO_BITS = np.uint16(0)
#: Frames of a group that a target may do without.
SLACK = 8


class Groups(NamedTuple):
    """Targets by the frames they share.

    Group g has the targets ``member[start[g]:start[g + 1]]``. Its frames are the first ``size[g]``
    of ``core[g]``, filled up with the dummy `n`; `own` is the frame that a target is itself, which
    is no sky of it, or `n`. A target uses none of the first ``far`` of its row of `away` either, at
    most ``slack[g]``. Its skies are the first ``sizes`` of its row of `listed`.

    The first ``common[g]`` of ``shared[g]`` are away from no target of the group. A target uses
    these, but for itself, and the first ``extras`` of its row of `extra`. From the frames of the
    target before it, or from the core, one comes to its frames by the first ``steps`` of its row
    of `step`, which come in or go out by their `sign`.
    """

    start: Int32
    member: Int32
    own: Int32
    core: Int32
    size: Int32
    slack: Int32
    shared: Int32
    common: Int32
    away: Int32
    far: Int32
    extra: Int32
    extras: Int32
    step: Int32
    sign: Int32
    steps: Int32
    listed: Int32
    sizes: Int32


class Networks(NamedTuple):
    """Networks for the groups, then for the numbers of extras: ``pairs[start[g]:start[g + 1]]``."""

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
    shared, order = [], []
    away: list[list[int]] = [[]] * len(wanted)
    extra, steps, signs = away.copy(), away.copy(), away.copy()
    for frames, found in zip(cores, members, strict=True):
        shared.append(sorted(frozenset.intersection(*(wanted[j] for j in found))))
        order += found
        before = frames
        for j in found:
            more, less = sorted(wanted[j] - before), sorted(before - wanted[j])
            steps[j], signs[j] = more + less, [1] * len(more) + [-1] * len(less)
            away[j] = sorted(frames - wanted[j])
            extra[j] = sorted(wanted[j] - {*shared[-1], int(itself[j])})
            before = wanted[j]
    index = np.where(listed < 0, n, listed).astype(np.int32)
    index = np.take_along_axis(index, np.argsort(index, axis=1, kind="stable"), axis=1)
    far = _lengths(away)
    return Groups(
        start=np.cumsum([0, *map(len, members)]).astype(np.int32),
        member=np.array(order, np.int32),
        own=itself,
        core=_padded([sorted(frames) for frames in cores], n, 4),
        size=_lengths(cores),
        slack=np.array([far[found].max() for found in members], np.int32),
        shared=_padded(shared, n),
        common=_lengths(shared),
        away=_padded(away, n),
        far=far,
        extra=_padded(extra, n),
        extras=_lengths(extra),
        step=_padded(steps, n, 2),
        sign=_padded(signs, 0, 2),
        steps=_lengths(steps),
        listed=np.ascontiguousarray(index),
        sizes=(listed >= 0).sum(axis=1).astype(np.int32),
    )


def _gathered(
    wanted: list[frozenset[int]], slack: int
) -> tuple[list[frozenset[int]], list[list[int]]]:
    """Return the frames of each group, and its targets, next to each other in order of frames."""
    cores: list[frozenset[int]] = []
    members: list[list[int]] = []
    for j in sorted(range(len(wanted)), key=lambda j: (sorted(wanted[j]), j)):
        grown = cores[-1] | wanted[j] if cores else wanted[j]
        fits = cores and all(len(grown - wanted[i]) <= slack for i in (*members[-1], j))
        if fits:
            cores[-1] = grown
            members[-1].append(j)
        else:
            cores.append(wanted[j])
            members.append([j])
    return cores, members


def _lengths(rows: Iterable[Collection[int]]) -> Int32:
    return np.array([len(row) for row in rows], np.int32)


def _padded(rows: list[list[int]], filler: int, multiple: int = 1) -> Int32:
    """Return rows of different length as one array."""
    width = max(1, *map(len, rows))
    array = np.full((len(rows), -(-width // multiple) * multiple), filler, np.int32)
    for filled, row in zip(array, rows, strict=True):
        filled[: len(row)] = row
    return array


def networks_of(groups: Groups) -> Networks:
    """Return the networks that find the middle of what the targets of a group share.

    Without its own sample the median of a target is next to the middle. With e samples of other
    frames it is up to e places off. Those are sorted by networks of their own.
    """
    parts = []
    for g, (size, slack) in enumerate(
        zip(groups.common.tolist(), groups.slack.tolist(), strict=True)
    ):
        if slack == 0:
            middle = max(size // 2 - 1, 0) if size % 2 == 0 else size // 2
            lowest, highest = middle - 1, middle + 1
        else:
            found = groups.member[groups.start[g] : groups.start[g + 1]]
            extras = groups.extras[found]
            inside = (groups.shared[g] == groups.own[found, None])[:, :size].any(axis=1)
            high = (size - inside + extras) // 2
            lowest, highest = int((high - 1 - extras).min()), int((high + 1).max())
        rows = range(max(lowest, 0), min(highest, size - 1) + 1)
        parts.append(pruned_pairs(size, tuple(rows)))
    most = int(groups.extras.max())
    used = set(groups.extras.tolist())
    none = np.empty((0, 2), np.int32)
    parts += [sorting_pairs(e) if e in used else none for e in range(most + 1)]
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
    most = 1
    for g in range(groups.size.size):
        if groups.slack[g] > 0:
            most = max(most, groups.start[g + 1] - groups.start[g])
    b = sky_tiles.new_tile(groups.common.max(), groups.extras.max(), most)
    present = np.empty(n + 1, np.uint16)
    lists = (
        np.empty(n, np.float32),
        np.empty(n, np.float32),
        np.empty(n, np.uint16),
        np.empty(n, np.int32),
        np.empty(n, np.int32),
        np.empty(2, np.float64),
    )
    weights = np.empty(n + 1, np.float64)
    for k in range(n + 1):
        number = max(k, 1)
        if rules.operation == pixel.MEAN:
            weights[k] = 1.0 / number
        else:
            weights[k] = median_factor(number) / (number * number)
    for start in range(0, size, width):
        run = min(width, size - start)
        sky_tiles.load_block(s, objects, step, n, start, run, block)
        for o in range(0, run, TILE):
            m = min(TILE, run - o)
            p = start + o
            sky_tiles.bits_present(block.flags, n, o, m, present)
            for g in range(groups.size.size):
                c, core = groups.size[g], groups.core[g]
                pairs = networks.pairs[networks.start[g] : networks.start[g + 1]]
                some = NO_BITS
                for q in range(c):
                    some |= present[core[q]]
                shared = groups.shared[g, : groups.common[g]]
                adopted, least, flagged = sky_tiles.prepare(
                    s, core, c, shared, pairs, rules, p, o, m, some, block, b
                )
                _targets(
                    groups, g, networks, rules, p, o, m, size, weights, least, flagged, block, b,
                    value, spread, bits,
                )  # fmt: skip
                if rules.reject != pixel.NONE:
                    sky_tiles.mark(rules, core[: -(-c // 4) * 4], o, m, block, b)
                sky_repairs.again(
                    s, rules, n, groups, g, p, o, m, size, lists, block, b, value, spread, bits
                )
                if adopted > 0:
                    sky_adopt.give_back(core, c, o, m, block, b.adopted)


@kernel
def _targets(  # type: ignore[no-untyped-def]
    groups, g, networks, rules, p, o, m, size, table, least, flagged, block, b, value, spread, bits
):
    """Write the skies of the targets of a group for one tile, as if there were no outliers."""
    exact = groups.slack[g] == 0
    first, common, is_mean = groups.start[g], groups.common[g], rules.operation == pixel.MEAN
    even = common % 2 == 0
    counts, total, every = b.counts, b.total, b.noise
    if not exact:
        sky_windows.begin(m, b)
        counts, total, every = b.left, b.rest, b.rest_noise
    all_counts, whole, less, again = b.counts, b.whole, b.less, b.again
    below, centre, above = b.below, b.centre, b.above
    once, twice, alike = b.once, b.twice, b.every
    sky_tiles.weigh(counts, table, m, whole, less)
    for e in range(first, groups.start[g + 1]):
        j = groups.member[e]
        own = block.values[groups.own[j], o : o + m]
        noise = block.variance[groups.own[j], o : o + m]
        z = j * size + p
        out, out_noise, out_bits = value[z : z + m], spread[z : z + m], bits[z : z + m]
        if not exact:
            k = groups.steps[j] + groups.steps[j] % 2
            sky_windows.step(groups.step[j, :k], groups.sign[j, :k], is_mean, o, m, block, b)
            sky_tiles.weigh(counts, table, m, whole, less)
            if not is_mean or rules.reject != pixel.NONE:
                middle = b.centres[e - first, :m]
                _centre(groups, g, j, common, networks, own, o, m, block, b, middle)
        if is_mean:
            sky_tiles.means(own, m, total, whole, less, out)
            sky_tiles.mean_noise(own, noise, m, every, whole, less, out_noise)
        else:
            if exact:
                sky_tiles.medians(own, m, even, counts, below, centre, above, out)
            else:
                middle = b.centres[e - first]
                for t in range(m):
                    out[t] = middle[t]
            sky_tiles.median_noise(own, noise, m, every, whole, less, out_noise)
        if not flagged:
            out_bits[:] = 0
        elif exact:
            flags = block.flags[groups.own[j], o : o + m]
            sky_tiles.others_bits(own, flags, m, once, twice, out_bits)
        else:
            sky_tiles.common_bits(m, once, alike, again, out_bits)
        if least <= groups.slack[g] + 1:  # else some sample is left for every target
            sky_tiles.mark_alone(own, m, counts, all_counts, again, out, out_noise, out_bits)


@kernel
def _centre(groups, g, j, common, networks, own, o, m, block, b, middle):  # type: ignore[no-untyped-def]
    """Write the medians of one target of a window, and widen what encloses those of all."""
    inside = False
    for q in range(common):
        inside |= groups.shared[g, q] == groups.own[j]
    extras = groups.extras[j]
    number = groups.size.size + extras
    pairs = networks.pairs[networks.start[number] : networks.start[number + 1]]
    sky_windows.centre(own, inside, common, groups.extra[j, :extras], pairs, o, m, block, b, middle)
    sky_windows.enclose(middle, m, b)
