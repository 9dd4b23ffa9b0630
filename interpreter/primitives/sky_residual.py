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

if TYPE_CHECKING:
    from f2yaml.interpreter.algorithms.surface import Blocks

BLOCK_PIX = 64  # 11 arcsec: finer than what skies leave, coarser than the wings of stars
#: Smallest share of blocks that have to show sky in sky frames.
FREE = 0.6
#: Smallest share of pixels without light for a surface in the frame itself. Where stars hide more,
#: those too faint to be masked lie everywhere between them, and the surface would follow them.
CLEAR = 0.9
_ROWS = 64
#: Pixels this bright [sigma], and those this near to them [pix], are no sky, whatever masks say.
_BRIGHT, _NEAR_PIX = 3.5, 5.0
#: Rows of each block of a sky that are read for its surface, which is then good to 0.5 % of the
#: noise of a pixel.
_SKY_ROWS = 16


def follow(
    outs: Sequence[Planes],
    skies: Sequence[Frame],
    levels: Array,
    neighbours: Array,
    gaps: Array,
    factors: Array,
    order: int,
    engine: Engine,
    step: str,
) -> tuple[str, ...]:
    """Subtract from each frame, in place, by how much the sky at its time differs from its skies'.

    A surface is fitted to what each sky frame has beyond the mean of all. At the time of a frame
    it lies on the straight line through the skies before and after, or through the nearest two,
    which is followed beyond them at most half as far as they are apart. The mean of the surfaces of
    a frame's skies is in its sky already. The frame itself, and an object that fills it, have no
    part in this.

    Parameters
    ----------
    outs : sequence of Planes, shape (ny, nx)
        Data of each frame without its sky. Variances stay, as in `flatten`.
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
    notes : tuple of str
        Frames left as they are, because objects hide too much of a sky.
    """
    surfaces = _sky_surfaces(skies, levels, order, engine)
    left = [skies[n].name for n, found in enumerate(surfaces) if found is None]
    if left:
        return (
            f"{step}: the sky is not followed in time, as too little of it shows in "
            f"{', '.join(left)}",
        )
    every = np.array(surfaces)

    def one(n: int) -> None:
        chosen = neighbours[n] >= 0
        members, when = neighbours[n][chosen], gaps[n][chosen]
        order_of = np.argsort(when, kind="stable")
        members, when = members[order_of], when[order_of]
        shares = _at_zero(when)
        shares -= 1.0 / len(members)
        change = np.tensordot(shares, every[members], axes=1) * factors[n]
        _subtract(outs[n].data, change)

    engine.map(one, range(len(outs)))
    return ()


def _at_zero(when: Array) -> Array:
    """Return the shares that values at sorted times have in that at time 0 (see `follow`)."""
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
    scale = (1.0 / levels).astype(np.float32)[:, None, None]
    relative = planes.data * scale
    mask = np.zeros(relative.shape, np.uint16) if planes.mask is None else planes.mask
    objects = np.zeros(relative.shape, np.uint8) if planes.objmask is None else planes.objmask
    clean = (mask == 0) & (objects == 0)
    count = clean.sum(axis=0)
    mean = np.where(clean, relative, 0).sum(axis=0) / np.maximum(count, 1)
    relative -= mean.astype(np.float32)
    if planes.variance is None:
        variance = np.full_like(relative, np.var(relative[clean]))
    else:
        variance = planes.variance * (scale * scale)
    return [
        algorithms.surface.block_levels(
            relative[n], variance[n], mask[n], objects[n].view(np.uint8), BLOCK_PIX
        )
        for n in range(len(levels))
    ]


def settle_level(
    outs: Sequence[Planes],
    frames: Sequence[Frame],
    skies: Sequence[Frame],
    box: Box,
    engine: Engine,
) -> Array:
    """Subtract from each frame, in place, the level of the blocks that show nothing but sky.

    The fit to single pixels, by which skies are scaled, takes light fainter than their noise for
    sky: the outskirts of a galaxy that fills the field. In blocks it shows (`blank_level`).

    Parameters
    ----------
    outs, frames, skies, engine
        As for `flatten`; no mask is needed.
    box : Box
        Where levels are compared.

    Returns
    -------
    shape (m,)
        What was subtracted; 0 where there are too few blocks.
    """
    grown = _masks(skies)
    (bottom, top), (left, right) = box
    inside = (slice(bottom, top), slice(left, right))

    def one(n: int) -> float:
        masked = grown.get(frames[n].root, frames[n])
        objects = masked.objmask if masked.has("objmask") else None
        blocks = _blocks(outs[n], objects, inside)
        usable, _ = algorithms.surface.usable_blocks(blocks, BLOCK_PIX * BLOCK_PIX)
        level = algorithms.surface.blank_level(blocks, usable) or 0.0
        data = outs[n].data
        np.subtract(data, np.float32(level), out=data)
        return level

    return np.array(engine.map(one, range(len(outs))))


def flatten(
    outs: Sequence[Planes],
    frames: Sequence[Frame],
    skies: Sequence[Frame],
    order: int,
    engine: Engine,
    step: str,
) -> tuple[str, ...]:
    """Subtract from each frame, in place, a surface through what its sky has left.

    Parameters
    ----------
    outs : sequence of Planes, shape (ny, nx)
        Data, variance and mask of each frame without its sky. Variances stay: a few numbers from
        millions of pixels add nothing.
    frames : sequence of Frame
        The frames before.
    skies : sequence of Frame
        The sky frames, with grown object masks; a frame among them is masked by its own. Others
        need an object mask themselves.
    order : int
        Total degree of the polynomial.

    Returns
    -------
    notes : tuple of str
        Frames left as they are, because objects are unknown or leave too little sky.
    """
    grown = _masks(skies)

    def one(n: int) -> str:
        masked = grown.get(frames[n].root, frames[n])
        if not masked.has("objmask"):
            return "its objects are not known"
        return _flatten_one(outs[n], masked.objmask, order)

    left: dict[str, list[str]] = {}
    for frame, why in zip(frames, engine.map(one, range(len(frames))), strict=True):
        if why:
            left.setdefault(why, []).append(frame.name)
    return tuple(
        f"{step}: no surface is fitted to what is left of the sky, as {why}: {', '.join(names)}"
        for why, names in left.items()
    )


def _masks(skies: Sequence[Frame]) -> dict[str, Frame]:
    return {sky.root: sky for sky in skies if sky.has("objmask")}


def _blocks(
    planes: Planes, objmask: Array | None, inside: tuple[slice, slice] | None = None
) -> Blocks:
    """Return the block levels of a frame, or of a part of it."""
    assert planes.variance is not None
    assert planes.mask is not None
    if objmask is None:
        objmask = np.zeros(planes.data.shape, np.uint8)
    data, variance, mask = planes.data, planes.variance, planes.mask
    if inside is not None:
        given = (data, variance, mask, objmask)
        data, variance, mask, objmask = (np.ascontiguousarray(plane[inside]) for plane in given)
    near = algorithms.morphology.dilate(_bright(data, variance, mask), _NEAR_PIX)
    return algorithms.surface.block_levels(data, variance, mask, near | objmask, BLOCK_PIX)


def _bright(data: Array, variance: Array, mask: Array) -> Array:
    """Return where light stands out of the noise, by the variance or more if it is larger."""
    some = (slice(None, None, 5), slice(None, None, 3))
    good = (mask[some] == 0) & (variance[some] > 0)
    pulls = np.abs(data[some][good]) / np.sqrt(variance[some][good])
    scale = max(1.0, 1.4826 * float(np.median(pulls))) if pulls.size else 1.0
    limit = np.float32((_BRIGHT * scale) ** 2)
    bright = np.zeros(data.shape, np.uint8)
    for start in range(0, data.shape[0], _ROWS):
        rows = slice(start, start + _ROWS)
        found = (data[rows] > 0) & (data[rows] ** 2 > limit * variance[rows])
        bright[rows] = found & (mask[rows] == 0)
    return bright


def _flatten_one(planes: Planes, objmask: Array | None, order: int) -> str:
    """Subtract the surface of one frame; return why not, or nothing."""
    assert objmask is not None
    blocks = _blocks(planes, objmask)
    clean = blocks.clean.sum()
    if clean < CLEAR * (clean + blocks.covered.sum()):
        return f"objects leave under {CLEAR:.0%} of the field"
    usable, _ = algorithms.surface.usable_blocks(blocks, BLOCK_PIX * BLOCK_PIX)
    shape = (planes.data.shape[0], planes.data.shape[1])
    fitted = algorithms.surface.fit_surface(blocks, usable, BLOCK_PIX, shape, order)
    if fitted is None:
        return "too few blocks of it show sky"
    _subtract(planes.data, fitted)
    return ""


def _subtract(data: Array, fitted: Array) -> None:
    """Subtract a surface in place."""
    shape = (data.shape[0], data.shape[1])
    for start in range(0, shape[0], _ROWS):
        stop = min(start + _ROWS, shape[0])
        rows = data[start:stop]
        np.subtract(rows, algorithms.surface.surface_rows(fitted, shape, start, stop), out=rows)
