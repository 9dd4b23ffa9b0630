"""Skies of frames that share their neighbours: sorted and summed once for all of them.

In a dither every frame is a sky of every other; in a long one, of those taken near it in time. The
samples of a pixel are then mostly the same for several targets. Each takes its own sample, and
those that are not near enough, out of the sums, and where all neighbours are shared also of the
sorted middle. Samples rejected as outliers, and pixels whose only good samples are those taken out,
are rare; such pixels are done one by one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from f2yaml.interpreter.algorithms import pixel, sky_repairs, sky_tiles, tiles
from f2yaml.interpreter.algorithms.jit import kernel
from f2yaml.interpreter.algorithms.median_noise import median_factor
from f2yaml.interpreter.algorithms.networks import TILE, pruned_pairs
from f2yaml.interpreter.algorithms.pixel import Rules, Samples

Int32 = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]
Bits = npt.NDArray[np.uint16]

NO_BITS = np.uint16(0)
#: Frames of a group that a target may do without, where means are made.
SLACK = 8


class Groups(NamedTuple):
    """Targets by the frames they share.

    Group g has the targets ``member[start[g]:start[g + 1]]``. Its frames are the first ``size[g]``
    of ``core[g]``, filled up with the dummy `n`; `own` is the frame that a target is itself, which
    is no sky of it, or `n`. A target uses none of the first ``far`` of its row of `away` either, at
    most ``slack[g]``. Its skies are the first ``sizes`` of its row of `listed`.
    """

    start: Int32
    member: Int32
    own: Int32
    core: Int32
    size: Int32
    slack: Int32
    away: Int32
    far: Int32
    listed: Int32
    sizes: Int32


class Networks(NamedTuple):
    """Networks for the groups; ``pairs[start[g]:start[g + 1]]`` and rows `reach` off the middle."""

    pairs: Int32
    start: npt.NDArray[np.int64]
    reach: Int32


def groups_of(listed: Int32, own: Int32, n: int, slack: int) -> Groups:
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
    width = -(-max(map(len, cores)) // 4) * 4
    core = np.full((len(cores), width), n, np.int32)
    away = np.full((len(wanted), max(slack, 1)), n, np.int32)
    for g, frames in enumerate(cores):
        core[g, : len(frames)] = sorted(frames)
        for j in members[g]:
            gone = sorted(frames - wanted[j])
            away[j, : len(gone)] = gone
    far = (away < n).sum(axis=1).astype(np.int32)
    index = np.where(listed < 0, n, listed).astype(np.int32)
    index = np.take_along_axis(index, np.argsort(index, axis=1, kind="stable"), axis=1)
    return Groups(
        start=np.cumsum([0, *map(len, members)]).astype(np.int32),
        member=np.concatenate(members).astype(np.int32),
        own=itself,
        core=core,
        size=np.array([len(frames) for frames in cores], np.int32),
        slack=np.array([far[found].max() for found in members], np.int32),
        away=away,
        far=far,
        listed=np.ascontiguousarray(index),
        sizes=(listed >= 0).sum(axis=1).astype(np.int32),
    )


def networks_of(groups: Groups) -> Networks:
    """Return the networks that find the middle of the cores, or what encloses it.

    Without its own sample the median of a target is next to the middle. Without r samples it is at
    most r / 2 + 1.5 places from the middle of them all.
    """
    parts, reach = [], []
    for size, slack in zip(groups.size.tolist(), groups.slack.tolist(), strict=True):
        centre = max(size // 2 - 1, 0) if size % 2 == 0 else size // 2
        off = 1 if slack == 0 else (slack + 2) // 2 + 2
        rows = {max(centre - off, 0), centre, min(centre + off, size - 1)}
        parts.append(pruned_pairs(size, tuple(sorted(rows))))
        reach.append(off)
    start = np.cumsum([0] + [len(part) for part in parts])
    return Networks(np.concatenate(parts), start.astype(np.int64), np.array(reach, np.int32))


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
        Made with a slack only for means.
    rules : Rules
        Mean or median, no rejection or varclip without signal error.
    size : int
        Pixels of a plane.
    value, spread, bits : shape (m * size,)
        Planes to fill, one target after the other.
    """
    assert rules.operation == pixel.MEAN or not groups.slack.any()
    _group_skies(
        samples, objects, objects_step, n, tiles.block_width(n, TILE), groups,
        networks_of(groups), rules, size, value, spread, bits,
    )  # fmt: skip


@kernel
def _group_skies(  # type: ignore[no-untyped-def]
    s, objects, step, n, width, groups, networks, rules, size, value, spread, bits
):
    block = tiles.new_block(n, width)
    b = sky_tiles.new_tile(groups.size.max())
    present = np.empty(n + 1, np.uint16)
    lists = (
        np.empty(n, np.float32),
        np.empty(n, np.float32),
        np.empty(n, np.uint16),
        np.empty(n, np.int32),
        np.empty(n, np.int32),
        np.empty(2, np.float64),
    )
    factors = np.empty(n + 1, np.float64)
    for k in range(n + 1):
        factors[k] = median_factor(max(k, 1))
    for start in range(0, size, width):
        run = min(width, size - start)
        tiles.load_rows(s, n, start, run, block)
        if s.mask_step == 0:
            block.flags[:n] = 0
        if step > 0:
            sky_tiles.mask_objects(objects, step, n, start, run, block)
        for o in range(0, run, TILE):
            m = min(TILE, run - o)
            p = start + o
            sky_tiles.bits_present(block.flags, n, o, m, present)
            for g in range(groups.size.size):
                c, core, exact = groups.size[g], groups.core[g], groups.slack[g] == 0
                pairs = networks.pairs[networks.start[g] : networks.start[g + 1]]
                some = NO_BITS
                for q in range(c):
                    some |= present[core[q]]
                adopted = sky_tiles.prepare(
                    s, core, c, networks.reach[g], pairs, rules, p, o, m, some, block, b
                )
                for e in range(groups.start[g], groups.start[g + 1]):
                    j = groups.member[e]
                    own = block.values[groups.own[j], o : o + m]
                    noise = block.variance[groups.own[j], o : o + m]
                    own_flags = block.flags[groups.own[j], o : o + m]
                    z = j * size + p
                    out, out_noise = value[z : z + m], spread[z : z + m]
                    counts, total, every = b.counts, b.total, b.noise
                    if not exact:
                        away = groups.away[j, : groups.far[j]]
                        sky_tiles.leave_out(away, o, m, block, b)
                        counts, total, every = b.left, b.rest, b.rest_noise
                    if rules.operation == pixel.MEAN:
                        sky_tiles.mean(own, noise, m, counts, total, every, out, out_noise)
                    else:
                        even = c % 2 == 0
                        sky_tiles.median(own, noise, m, even, factors, b, out, out_noise)
                    filled = bits[z : z + m]
                    sky_tiles.finish(own, own_flags, m, counts, exact, b, out, out_noise, filled)
                sky_repairs.again(
                    s, rules, n, groups, g, p, o, m, size, lists, block, b, value, spread, bits
                )
                if adopted > 0:
                    sky_tiles.give_back(core, c, o, adopted, block, b)
