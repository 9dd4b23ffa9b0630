"""What is left of the sky after a sky is subtracted: its change in time, its level, a surface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from f2yaml.interpreter import algorithms
from f2yaml.interpreter.engine import Engine, read_band
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.pixels import Array, Planes
from f2yaml.interpreter.primitives.sky_levels import Box
from f2yaml.interpreter.scratch import put, room

if TYPE_CHECKING:
    from f2yaml.interpreter.algorithms.surface import Blocks

BLOCK_PIX = 64  # 11 arcsec: finer than what skies leave, coarser than the wings of stars
#: Smallest share of blocks that have to show sky in sky frames.
FREE = 0.6
#: Smallest share of pixels without light for a surface in the frame itself. Where stars hide more,
#: those too faint to be masked lie everywhere between them, and the surface would follow them.
CLEAR = 0.9
#: Pixels this bright [sigma], and those this near to them [pix], are no sky, whatever masks say.
_BRIGHT, _NEAR_PIX = 3.5, 5.0
#: Rows of each block of a sky that are read for its surface, which is then good to 0.5 % of the
#: noise of a pixel.
_SKY_ROWS = 16


def followed(
    skies: Sequence[Frame],
    levels: Array,
    neighbours: Array,
    gaps: Array,
    factors: Array,
    order: int,
    engine: Engine,
    step: str,
) -> tuple[list[Array | None], tuple[str, ...]]:
    """Return by how much the sky at the time of each frame differs from that of its skies.

    A surface is fitted to what each sky frame has beyond the mean of all. At the time of a frame
    it lies on the straight line through the skies before and after, or through the nearest two,
    which is followed beyond them at most half as far as they are apart. The mean of the surfaces of
    a frame's skies is in its sky already. The frame itself, and an object that fills it, have no
    part in this.

    Parameters
    ----------
    skies : sequence of Frame
        The sky frames, objects masked if they are known.
    levels : shape (n,)
        Of the skies.
    neighbours, gaps : shape (m, k)
        The skies of each frame, padded with -1, and how long after it they were taken [s].
    factors : shape (m,)
        Sky level of each frame.
    order : int
        Total degree of the polynomial. Levels are compared elsewhere: the surface has none.

    Returns
    -------
    surfaces : list of array or None
        Coefficients (`algorithms.surface.fit_surface`) of what is to be subtracted from each frame.
    notes : tuple of str
        Why there are none: objects hide too much of a sky.
    """
    surfaces = _sky_surfaces(skies, levels, order, engine)
    left = [skies[n].name for n, found in enumerate(surfaces) if found is None]
    if left:
        note = f"{step}: the sky is not followed in time, as too little of it shows in "
        return [None] * len(neighbours), (note + ", ".join(left),)
    every = np.array(surfaces)

    def one(n: int) -> Array:
        chosen = neighbours[n] >= 0
        members, when = neighbours[n][chosen], gaps[n][chosen]
        order_of = np.argsort(when, kind="stable")
        members, when = members[order_of], when[order_of]
        shares = _at_zero(when)
        shares -= 1.0 / len(members)
        change: Array = np.tensordot(shares, every[members], axes=1) * factors[n]
        return change

    return [one(n) for n in range(len(neighbours))], ()


def _at_zero(when: Array) -> Array:
    """Return the shares that values at sorted times have in that at time 0 (see `followed`)."""
    shares = np.zeros(len(when))
    if len(when) < 2:
        shares[:] = 1.0
        return shares
    last = int(np.clip(np.searchsorted(when, 0.0), 1, len(when) - 1))
    apart = float(when[last] - when[last - 1])
    along = 0.5 if apart <= 0 else float(np.clip(-when[last - 1] / apart, -0.5, 1.5))
    shares[last - 1 : last + 1] = 1.0 - along, along
    return shares


def _sky_surfaces(
    skies: Sequence[Frame], levels: Array, order: int, engine: Engine
) -> list[Array | None]:
    """Fit a surface to what each sky, relative to its level, has beyond the mean of all."""
    shape = (skies[0].shape[0], skies[0].shape[1])
    starts = range(0, shape[0], BLOCK_PIX)

    def some(start: int) -> list[Blocks]:
        first = start + max(0, min(BLOCK_PIX, shape[0] - start) - _SKY_ROWS) // 2
        return _excess(read_band(skies, first, min(first + _SKY_ROWS, shape[0])), levels)

    rows = engine.map(some, starts)
    made: list[Array | None] = []
    for n in range(len(skies)):
        blocks = algorithms.surface.Blocks(
            *(np.concatenate(parts) for parts in zip(*(r[n] for r in rows), strict=True))
        )
        usable, share = algorithms.surface.usable_blocks(blocks, BLOCK_PIX * _SKY_ROWS)
        found = None
        if share >= FREE:
            found = algorithms.surface.fit_surface(blocks, usable, BLOCK_PIX, shape, order)
        if found is not None:
            found[0, 0] = 0.0
        made.append(found)
    return made


def _excess(planes: Planes, levels: Array) -> list[Blocks]:
    """Return, for some rows, block levels of each sky over its level minus the mean of all."""
    scale = (1.0 / levels).astype(np.float32)
    mask = np.zeros(planes.data.shape, np.uint16) if planes.mask is None else planes.mask
    objects = np.zeros(mask.shape, np.uint8) if planes.objmask is None else planes.objmask
    objects = objects.view(np.uint8)
    relative = algorithms.surface.excess(planes.data, mask, objects, scale)
    if planes.variance is None:
        variance = np.full_like(relative, np.var(relative[(mask == 0) & (objects == 0)]))
    else:
        variance = planes.variance * (scale * scale)[:, None, None]
    return [
        algorithms.surface.block_levels(relative[n], variance[n], mask[n], objects[n], BLOCK_PIX)
        for n in range(len(levels))
    ]


def settle(
    outs: Sequence[Planes],
    frames: Sequence[Frame],
    skies: Sequence[Frame],
    box: Box,
    order: int,
    engine: Engine,
    step: str,
    *,
    level: bool,
) -> tuple[Array, tuple[str, ...]]:
    """Subtract from each frame, in place, a surface through what its sky has left, and the level.

    The fit to single pixels, by which skies are scaled, takes light fainter than their noise for
    sky: the outskirts of a galaxy that fills the field. In blocks it shows: the level is that of
    the blocks that show nothing but sky (`blank_level`).

    Parameters
    ----------
    outs : sequence of Planes, shape (ny, nx)
        Data, variance and mask of each frame without its sky. Variances stay: a few numbers from
        millions of pixels add nothing.
    frames : sequence of Frame
        The frames before.
    skies : sequence of Frame
        The sky frames, with grown object masks; a frame among them is masked by its own. Others
        need an object mask themselves for a surface.
    box : Box
        Where levels are compared.
    order : int
        Total degree of the polynomial of the surface; 0: none.
    level : bool
        Whether to subtract the level.

    Returns
    -------
    levels : shape (m,)
        What was subtracted as a level; 0 where there are too few blocks.
    notes : tuple of str
        Frames without a surface, because objects are unknown or leave too little sky.
    """
    if not (order or level):
        return np.zeros(len(frames)), ()
    grown = _masks(skies)
    whole = ((0, frames[0].shape[0]), (0, frames[0].shape[1]))

    def one(n: int) -> tuple[float, Array | None, str]:
        masked = grown.get(frames[n].root, frames[n])
        objects = masked.objmask if masked.has("objmask") else None
        blocks = _blocks(outs[n], objects, whole)
        surface, why = None, ""
        if order:
            surface, why = _fitted(blocks, objects, outs[n], order)
        found = 0.0
        if level:
            shape = (outs[n].data.shape[0], outs[n].data.shape[1])
            blocks = algorithms.surface.less_surface(blocks, surface, BLOCK_PIX, shape)
            if box != whole:
                blocks = _blocks(_less(outs[n], surface), objects, box)
            usable, _ = algorithms.surface.usable_blocks(blocks, BLOCK_PIX * BLOCK_PIX)
            found = algorithms.surface.blank_level(blocks, usable) or 0.0
        return found, surface, why

    done = engine.map(one, range(len(outs)))
    _subtract(outs, [(surface, found) for found, surface, _ in done], engine)
    left: dict[str, list[str]] = {}
    for frame, (_, _, why) in zip(frames, done, strict=True):
        if why:
            left.setdefault(why, []).append(frame.name)
    notes = tuple(
        f"{step}: no surface is fitted to what is left of the sky, as {why}: {', '.join(names)}"
        for why, names in left.items()
    )
    return np.array([found for found, _, _ in done]), notes


def _less(planes: Planes, surface: Array | None) -> Planes:
    """Return planes without a surface; those given stay as they are."""
    data = planes.data.copy()
    algorithms.sky_subtract.subtract_surface(data, surface, 0.0)
    return planes._replace(data=data)


def _subtract(
    outs: Sequence[Planes], amounts: Sequence[tuple[Array | None, float]], engine: Engine
) -> None:
    """Subtract from the data of each frame, in place, its surface and level."""
    ny, nx = outs[0].data.shape[0], outs[0].data.shape[1]

    def work(band: tuple[int, int]) -> None:
        start, stop = band
        spare = np.empty((stop - start, nx), np.float32)
        for out, (surface, level) in zip(outs, amounts, strict=True):
            rows = out.data[start:stop]
            target = room(rows, spare)
            if target is not rows:
                target[:] = rows
            algorithms.sky_subtract.subtract_surface(target, surface, level, start, (ny, nx))
            put(rows, target)

    engine.fill(work, engine.bands(ny, 4 * nx * len(outs)), [out.data for out in outs])


def _masks(skies: Sequence[Frame]) -> dict[str, Frame]:
    return {sky.root: sky for sky in skies if sky.has("objmask")}


def _blocks(planes: Planes, objmask: Array | None, box: Box) -> Blocks:
    """Return the block levels of a part of a frame without its objects and what is bright."""
    assert planes.variance is not None
    assert planes.mask is not None
    (y0, y1), (x0, x1) = box
    return algorithms.surface.dark_levels(
        planes.data,
        planes.variance,
        planes.mask,
        objmask,
        BLOCK_PIX,
        (y0, y1, x0, x1),
        _BRIGHT,
        _NEAR_PIX,
    )


def _fitted(
    blocks: Blocks, objmask: Array | None, planes: Planes, order: int
) -> tuple[Array | None, str]:
    """Return the surface of one frame, or why there is none."""
    if objmask is None:
        return None, "its objects are not known"
    clean = blocks.clean.sum()
    if clean < CLEAR * (clean + blocks.covered.sum()):
        return None, f"objects leave under {CLEAR:.0%} of the field"
    usable, _ = algorithms.surface.usable_blocks(blocks, BLOCK_PIX * BLOCK_PIX)
    shape = (planes.data.shape[0], planes.data.shape[1])
    fitted = algorithms.surface.fit_surface(blocks, usable, BLOCK_PIX, shape, order)
    return fitted, "" if fitted is not None else "too few blocks of it show sky"
