"""Rows of frames and of their skies, each exposure read once though it may be both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from f2yaml.interpreter import algorithms
from f2yaml.interpreter.algorithms.rows import NO_SHARE, Rows
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.pixels import (
    DTYPES,
    PLANES,
    Array,
    Overlay,
    Pixels,
    Planes,
)
from f2yaml.interpreter.stacks import stack_into

_VARIANCE = PLANES.index("variance")


@dataclass(frozen=True)
class Bands:
    """Frames, and the skies they are made from.

    Parameters
    ----------
    frames, skies : sequence of Frame, shape (ny, nx)
        Skies with the object masks to use, or without any.
    own : int32, shape (m,)
        Which of the skies each frame is itself; -1 for none.
    same : sequence of bool
        For each frame, whether the noise of its dark and flat is that of all its skies.
    alike : sequence of bool
        For each sky, whether it serves only such frames: its noise of dark and flat is left out.
    """

    frames: Sequence[Frame]
    skies: Sequence[Frame]
    own: Array
    same: Sequence[bool]
    alike: Sequence[bool]

    def read(self, start: int, stop: int) -> tuple[Planes, list[Rows]]:
        """Return the skies' rows, stacked, shape (n, rows, nx), and the rows of each frame.

        The variance of the skies is their own. Masks that some lack are zeros.
        """
        shape = (len(self.skies), stop - start, self.skies[0].shape[1])
        made = [None if name is None else np.empty(shape, DTYPES[name]) for name in self._names]
        variance = None if made[_VARIANCE] is None else np.empty(shape, np.float32)
        out = Planes(*made)  # type: ignore[arg-type]
        read = stack_into([sky.pixels for sky in self.skies], start, stop, out)
        for n, rows in enumerate(read):
            for plane, target in zip(rows, out, strict=True):
                if plane is None and target is not None:
                    target[n] = 0
        if variance is not None:
            self._own_variance(read, out, variance)
        data, _, mask, objmask, *_ = made
        assert data is not None
        frames = [self._rows(n, read, start, stop) for n in range(len(self.frames))]
        return Planes(data, variance, mask, objmask), frames

    def _own_variance(self, read: Sequence[Planes], stacked: Planes, out: Array) -> None:
        """Fill `out` with the skies' own variances, those of `read`, rows of `stacked`."""
        own = algorithms.sky_subtract.own_variance
        if all(self.alike) and all(rows.shared is not None for rows in read):
            assert stacked.variance is not None
            assert stacked.shared is not None
            own(stacked.variance, stacked.shared, out)
            return
        for n, rows in enumerate(read):
            assert rows.variance is not None
            if self.alike[n] and rows.shared is not None:
                own(rows.variance, rows.shared, out[n])
            else:
                out[n] = rows.variance

    @cached_property
    def _names(self) -> tuple[str | None, ...]:
        """Planes to stack: those that some sky has, and a variance that all have."""
        names: list[str | None] = []
        for name in PLANES:
            have = [sky.has(name) for sky in self.skies]
            wanted = all(have) if name == "variance" else any(have) and name != "coverage"
            names.append(name if wanted else None)
        return tuple(names)

    @cached_property
    def _as_sky(self) -> tuple[int, ...]:
        """For each frame, the sky whose pixels are its own; -1 for none."""
        return tuple(
            own if own >= 0 and measured(f.pixels) is measured(self.skies[own].pixels) else -1
            for f, own in zip(self.frames, self.own.tolist(), strict=True)
        )

    def _rows(self, n: int, read: Sequence[Planes], start: int, stop: int) -> Rows:
        own = self._as_sky[n]
        rows = read[own] if own >= 0 else self.frames[n].pixels.rows(start, stop)
        shape = rows.data.shape
        share = rows.shared if self.same[n] else None
        return Rows(
            rows.data,
            np.zeros(shape, np.float32) if rows.variance is None else rows.variance,
            np.zeros(shape, np.uint16) if rows.mask is None else rows.mask,
            NO_SHARE if share is None else share,
        )


def measured(pixels: Pixels) -> Pixels:
    """Return the source without object masks laid over it."""
    while isinstance(pixels, Overlay) and set(pixels.planes) <= {"objmask"}:
        pixels = pixels.base
    return pixels


def own_places(frames: Sequence[Frame], skies: Sequence[Frame]) -> Array:
    """Return which of the skies each frame is itself, -1 for none; shape (m,)."""
    index = {sky.root: n for n, sky in enumerate(skies)}
    return np.array([index.get(frame.root, -1) for frame in frames], np.int32)
