"""Where the planes of a frame come from: arrays in memory, planes in files, or a function.

A frame does not say whether its pixels are in memory. It is asked for rows, and its source reads,
copies nothing or computes, whatever is cheapest. The executor chooses the source; science
functions only see arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
PlaneName = Literal["data", "variance", "mask", "objmask", "coverage", "shared"]
PLANES: tuple[PlaneName, ...] = ("data", "variance", "mask", "objmask", "coverage", "shared")


class Planes(NamedTuple):
    """The planes of a frame, or of some of its rows; shape (ny, nx) each.

    `shared` (uint8) is the share of the variance that dark and flat brought in, in 255ths: noise
    that frames of the same calibrations have in common, at the same pixel of the detector.
    """

    data: Array
    variance: Array | None = None
    mask: Array | None = None
    objmask: Array | None = None
    coverage: Array | None = None
    shared: Array | None = None

    def rows(self, start: int, stop: int) -> Planes:
        """Return views of rows `start` to `stop`."""
        return Planes(*(None if p is None else p[start:stop] for p in self))  # type: ignore[arg-type]

    def freeze(self) -> Planes:
        """Make every plane read-only and return self."""
        for plane in self:
            if plane is not None and plane.flags.writeable:
                plane.flags.writeable = False
        return self


@runtime_checkable
class Pixels(Protocol):
    """A source of planes."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (ny, nx) of every plane; raw frames may have a leading axis of length one."""

    @property
    def present(self) -> frozenset[str]:
        """Names of the planes that exist."""

    def rows(self, start: int, stop: int) -> Planes:
        """Return rows `start` to `stop` of every plane."""

    def whole(self) -> Planes:
        """Return every plane, complete."""


@dataclass(frozen=True, slots=True)
class InMemory:
    """Planes held as read-only arrays."""

    planes: Planes

    @property
    def shape(self) -> tuple[int, ...]:
        return self.planes.data.shape

    @property
    def present(self) -> frozenset[str]:
        return frozenset(n for n, p in zip(PLANES, self.planes, strict=True) if p is not None)

    def rows(self, start: int, stop: int) -> Planes:
        return self.planes.rows(start, stop)

    def whole(self) -> Planes:
        return self.planes


@dataclass(frozen=True, slots=True)
class FilePlane:
    """One plane as it lies in a file, in whatever byte order.

    Parameters
    ----------
    path : str
    offset : int
        First byte of the plane.
    dtype : str
        NumPy type string with byte order, as stored.
    shape : tuple of int
    unsigned : bool
        The stored 16-bit integers stand for value - 32768 (FITS BZERO).
    """

    path: str
    offset: int
    dtype: str
    shape: tuple[int, ...]
    unsigned: bool = False

    def read(self, start: int, stop: int) -> Array:
        """Return rows `start` to `stop` in native byte order."""
        kind = np.dtype(self.dtype)
        width = int(np.prod(self.shape[1:]))
        with Path(self.path).open("rb") as file:
            file.seek(self.offset + start * width * kind.itemsize)
            stored = np.fromfile(file, kind, (stop - start) * width)
        if stored.size != (stop - start) * width:
            raise OSError(f"{self.path} ends before row {stop}")
        if not kind.isnative:
            stored = stored.byteswap(inplace=True).view(kind.newbyteorder("="))
        if self.unsigned:
            stored = stored.view(np.uint16)
            stored ^= np.uint16(0x8000)
        return stored.reshape((stop - start, *self.shape[1:]))

    @property
    def native(self) -> bool:
        """Whether the stored bytes are the values, as in scratch files."""
        return np.dtype(self.dtype).isnative and not self.unsigned

    def mapped(self) -> Array:
        """Return the plane as a view of the file, read as its pages are touched."""
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)


@dataclass(frozen=True, slots=True, weakref_slot=True)
class OnDisk:
    """Planes that stay in files until rows are asked for; cheap to send to another process."""

    planes: tuple[FilePlane | None, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        first = self.planes[0]
        assert first is not None
        return first.shape

    @property
    def present(self) -> frozenset[str]:
        return frozenset(n for n, p in zip(PLANES, self.planes, strict=False) if p is not None)

    def rows(self, start: int, stop: int) -> Planes:
        read = [None if p is None else p.read(start, stop) for p in self.planes]
        return Planes(*read).freeze()  # type: ignore[arg-type]

    @property
    def native(self) -> bool:
        """Whether all planes are native."""
        return all(plane is None or plane.native for plane in self.planes)

    def whole(self) -> Planes:
        if self.native:
            return Planes(*(None if p is None else p.mapped() for p in self.planes))  # type: ignore[arg-type]
        return self.rows(0, self.shape[0])


@dataclass(frozen=True, slots=True)
class Overlay:
    """Another source with some planes replaced, added or dropped (None)."""

    base: Pixels
    planes: Mapping[str, Array | None]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.base.shape

    @property
    def present(self) -> frozenset[str]:
        added = {name for name, plane in self.planes.items() if plane is not None}
        # A frozenset less the keys of a mapping would be a plain set.
        return frozenset((self.base.present - self.planes.keys()) | added)

    def rows(self, start: int, stop: int) -> Planes:
        over = {n: None if p is None else p[start:stop] for n, p in self.planes.items()}
        return self.base.rows(start, stop)._replace(**over)  # type: ignore[arg-type]

    def whole(self) -> Planes:
        return self.base.whole()._replace(**self.planes)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Computed:
    """Planes computed when asked for, row band by row band.

    `compute` (start, stop) must not depend on how the rows are split. Chains of such sources are
    evaluated in narrow bands that stay in the cache, so that a chain costs one pass over memory.
    """

    shape: tuple[int, ...]
    present: frozenset[str]
    compute: Callable[[int, int], Planes]

    def rows(self, start: int, stop: int) -> Planes:
        return self.compute(start, stop).freeze()

    def whole(self) -> Planes:
        return evaluate(self)


def mapped(
    base: Pixels, function: Callable[[Planes, int, int], Planes], present: frozenset[str]
) -> Computed:
    """Return the source whose rows are `function` (rows of `base`, start, stop)."""

    def compute(start: int, stop: int) -> Planes:
        return function(base.rows(start, stop), start, stop)

    return Computed(base.shape, present, compute)


BAND_ROWS = 32  # 32 x 2048 float32 is 256 KiB: the planes of a band fit in a second-level cache


def evaluate(pixels: Pixels, empty: Callable[..., Array] = np.empty) -> Planes:
    """Compute all planes of a source in narrow bands, into arrays made by `empty`."""
    rows = pixels.shape[0]
    out: list[Array | None] = [None] * len(PLANES)
    for start in range(0, rows, BAND_ROWS):
        stop = min(start + BAND_ROWS, rows)
        for number, plane in enumerate(pixels.rows(start, stop)):
            if plane is None:
                continue
            target = out[number]
            if target is None:
                target = out[number] = empty((rows, *plane.shape[1:]), plane.dtype)
            target[start:stop] = plane
    return Planes(*out).freeze()  # type: ignore[arg-type]
