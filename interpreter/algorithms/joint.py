"""Alignment of many source lists with each other, by a catalogue that they make together.

All positions are in one coordinate system, pixels of the first list as headers have it; maps lead
from there to where a list should be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from f2yaml.interpreter.algorithms import match
from f2yaml.interpreter.algorithms.match import (
    CENTROID_FLOOR_PIX,
    Transform,
    centroid_variances,
    fit_transform,
    match_pairs,
)
from f2yaml.interpreter.algorithms.tan import Affine
from numpy.typing import NDArray

__all__ = ["Joined", "Sources", "align_all"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

#: Rounds of fits, and the change of a position (pixels) at which they end. After the first rounds
#: it is settled which sources are clipped: some would come and go for ever.
MAX_ROUNDS = 50
CLIPPING_ROUNDS = 15
SETTLED_PIX = 1e-4


class Sources(NamedTuple):
    """Positions and their errors along one axis, pixels, shape (k,)."""

    x: Floats
    y: Floats
    err: Floats


@dataclass(frozen=True, slots=True)
class Joined:
    """Where a list belongs.

    Parameters
    ----------
    affine : Affine
        Position as given -> common position.
    n_matched : int
        Sources that the fit kept; all of them are in another list as well.
    rms_pix : float
        Residual per axis against the mean positions, pixels.
    """

    affine: Affine
    n_matched: int
    rms_pix: float


@dataclass(frozen=True, slots=True)
class _Search:
    """What `align` is asked for."""

    first_pass_pix: float
    match_radius_pix: float
    min_sources: int
    rotate: bool
    scale: bool

    @property
    def wanted(self) -> int:
        """Fewest matches of a good fit."""
        return max(self.min_sources, 1)


class _Catalogue(NamedTuple):
    """Mean positions of stars, and the stars of the sources of each list (-1: none)."""

    x: Floats
    y: Floats
    err: Floats
    stars: dict[int, Indices]


def align_all(
    lists: Sequence[Sources],
    *,
    first_pass_pix: float,
    match_radius_pix: float,
    min_sources: int = 3,
    rotate: bool = False,
    scale: bool = False,
) -> list[Joined | None]:
    """Align lists of the same sky with each other.

    The list with most sources comes first, then any that has enough sources in common with those
    aligned before. The mean positions of sources found in two lists or more are the catalogue to
    which each list is fitted, and which the fits move, until nothing changes: the least-squares
    solution of all maps and all positions at once. No list is preferred.

    Parameters
    ----------
    lists : sequence of Sources
        Positions that agree within `first_pass_pix`.
    first_pass_pix, match_radius_pix, min_sources, rotate, scale
        See `match.align`.

    Returns
    -------
    list of Joined or None
        None for lists that are not tied to most others, the largest group that holds together. The
        maps have the first list stay where it is, if it is in the group; else one with most
        sources.

    References
    ----------
    Spec, primitives 10.1. Ours.
    """
    search = _Search(first_pass_pix, match_radius_pix, min_sources, rotate, scale)
    maps = _largest_group(lists, search)
    answer: list[Joined | None] = [None] * len(lists)
    if len(maps) < 2:
        return answer
    seed = next(iter(maps))
    # Stars are named anew once the first fits have brought the lists closer together.
    for _ in range(2):
        catalogue = _catalogue(lists, maps, search.match_radius_pix)
        fits = _settle(lists, maps, catalogue, search, 0 if 0 in maps else seed)
        maps = {i: Affine(fit.matrix, fit.shift) for i, fit in fits.items()}
        if len(maps) < 2:
            return answer
    for i, fit in fits.items():
        answer[i] = Joined(fit.affine, fit.n, fit.rms)
    return answer


def _largest_group(lists: Sequence[Sources], search: _Search) -> dict[int, Affine]:
    """Return first maps of the largest group of lists that hang together, its seed first."""
    left = sorted(range(len(lists)), key=lambda i: (-lists[i].x.size, i))
    best: dict[int, Affine] = {}
    while len(left) > len(best) or (left and len(left) == len(best) and 0 in left):
        group = _grown(lists, left, search)
        if len(group) > len(best) or (len(group) == len(best) and 0 in group):
            best = group
        left = [i for i in left if i not in group]
    return best


def _grown(lists: Sequence[Sources], order: Sequence[int], search: _Search) -> dict[int, Affine]:
    """Start from the first of `order` and add the lists that can be aligned with what is there."""
    maps = {order[0]: Affine()}
    todo = list(order[1:])
    while todo:
        known = _catalogue(lists, maps, search.match_radius_pix)
        added = {}
        for i in todo:
            found = match.align(
                *lists[i], known.x, known.y, known.err,
                first_pass_pix=search.first_pass_pix,
                match_radius_pix=search.match_radius_pix,
                min_sources=search.min_sources, rotate=search.rotate, scale=search.scale,
            )  # fmt: skip
            if found is not None and found.interior:
                added[i] = found.affine
        if not added:
            break
        maps |= added
        todo = [i for i in todo if i not in added]
    return maps


def _catalogue(lists: Sequence[Sources], maps: dict[int, Affine], radius: float) -> _Catalogue:
    """Name the sources of all lists of `maps`, one after the other, and average their places."""
    x, y, weight = np.empty(0), np.empty(0), np.empty(0)
    stars: dict[int, Indices] = {}
    for i, affine in maps.items():
        u, v = affine.apply(lists[i].x, lists[i].y)
        w = _weights(lists[i])
        here, there = match_pairs(u, v, x, y, radius_pix=radius)
        total = weight[there] + w[here]
        x[there] += (u[here] - x[there]) * w[here] / total
        y[there] += (v[here] - y[there]) * w[here] / total
        weight[there] = total
        names = np.full(u.size, -1, np.intp)
        names[here] = there
        new = np.flatnonzero(names < 0)
        names[new] = x.size + np.arange(new.size)
        x, y, weight = np.r_[x, u[new]], np.r_[y, v[new]], np.r_[weight, w[new]]
        stars[i] = names
    return _Catalogue(x, y, 1 / np.sqrt(weight), stars)


def _weights(sources: Sources) -> Floats:
    weights: Floats = 1.0 / (
        centroid_variances(sources.err, sources.x.size) + CENTROID_FLOOR_PIX**2
    )
    return weights


def _settle(
    lists: Sequence[Sources],
    maps: dict[int, Affine],
    catalogue: _Catalogue,
    search: _Search,
    anchor: int,
) -> dict[int, Transform]:
    """Fit lists to mean positions and average these again until nothing moves."""
    maps, stars = dict(maps), catalogue.stars
    size = catalogue.x.size
    kept = {i: np.ones(names.size, bool) for i, names in stars.items()}
    fits: dict[int, Transform] = {}
    for number in range(MAX_ROUNDS):
        clip = number < CLIPPING_ROUNDS
        x, y, seen = _means(lists, maps, stars, kept, size)
        fits = {}
        for i in maps:
            names = stars[i]
            # A star of one list alone says nothing.
            use = np.flatnonzero((seen[names] > 1) & (kept[i] | clip))
            if use.size < search.wanted:
                continue
            turn = use.size >= search.wanted + int(search.rotate) + int(search.scale)
            fit = fit_transform(
                lists[i].x[use], lists[i].y[use], x[names[use]], y[names[use]],
                _weights(lists[i])[use],
                rotate=search.rotate and turn, scale=search.scale and turn, clip=clip,
            )  # fmt: skip
            if fit.n < search.wanted:
                continue
            fits[i] = fit
            if clip:
                kept[i] = np.ones(names.size, bool)
                kept[i][use] = fit.kept
        base = fits.get(anchor)
        if base is None and fits:
            anchor = next(iter(fits))
            base = fits[anchor]
        moved, new = 0.0, {}
        for i, fit in fits.items():
            assert base is not None
            new[i] = base.affine.inverse().after(fit.affine)
            moved = max(moved, _distance(new[i], maps[i], lists[i]))
        lost = len(new) < len(maps)
        maps = new
        if moved < SETTLED_PIX and not lost:
            break
    return {
        i: Transform(maps[i].matrix, maps[i].shift, f.rms, f.n, f.kept) for i, f in fits.items()
    }


def _means(
    lists: Sequence[Sources],
    maps: dict[int, Affine],
    stars: dict[int, Indices],
    kept: dict[int, NDArray[np.bool_]],
    size: int,
) -> tuple[Floats, Floats, Indices]:
    """Return the weighted mean position of each star and the number of lists that it is in."""
    weight, x, y = np.zeros(size), np.zeros(size), np.zeros(size)
    seen = np.zeros(size, np.intp)
    for i, affine in maps.items():
        use = kept[i]
        u, v = affine.apply(lists[i].x[use], lists[i].y[use])
        w, names = _weights(lists[i])[use], stars[i][use]
        weight[names] += w  # a star is in a list once
        x[names] += w * u
        y[names] += w * v
        seen[names] += 1
    some = np.maximum(weight, 1e-300)
    return x / some, y / some, seen


def _distance(one: Affine, other: Affine, sources: Sources) -> float:
    """Return by how much two maps differ at the sources of a list, pixels."""
    u, v = one.apply(sources.x, sources.y)
    s, t = other.apply(sources.x, sources.y)
    return float(max(np.abs(u - s).max(), np.abs(v - t).max()))
