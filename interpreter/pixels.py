"""Where the planes of a frame come from: arrays in memory, planes in files, or a function.

A frame does not say whether its pixels are in memory. It is asked for rows, and its source reads,
copies nothing or computes, whatever is cheapest. The executor chooses the source; science
functions only see arrays.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from f2yaml.interpreter.leftovers import Identity, still
from f2yaml.interpreter.packed import Packed
from f2yaml.interpreter.scratch import put
from numpy.typing import NDArray

Array = NDArray[Any]
PlaneName = Literal["data", "variance", "mask", "objmask", "coverage", "shared"]
PLANES: tuple[PlaneName, ...] = ("data", "variance", "mask", "objmask", "coverage", "shared")
DTYPES: Mapping[str, Any] = {
    "data": np.float32,
    "variance": np.float32,
    "mask": np.uint16,
    "objmask": np.uint8,
    "coverage": np.uint16,
    "shared": np.uint8,
}


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

    def arrays(self) -> list[Array]:
        """Return the planes that there are."""
        return [plane for plane in self if plane is not None]

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
    identity : Identity, optional
        What the file was when its headers were read; it has to be the same when pixels are.
    """

    path: str
    offset: int
    dtype: str
    shape: tuple[int, ...]
    unsigned: bool = False
    identity: Identity | None = None

    def read(self, start: int, stop: int) -> Array:
        """Return rows `start` to `stop` in native byte order.

        Raises
        ------
        BadInput
            The file is gone, or no longer what it was.
        """
        kind = np.dtype(self.dtype)
        stored = np.empty((stop - start) * math.prod(self.shape[1:]), kind)
        self.read_stored(start, stored)
        if not kind.isnative:
            stored = stored.byteswap(inplace=True).view(kind.newbyteorder("="))
        if self.unsigned:
            stored = stored.view(np.uint16)
            stored ^= np.uint16(0x8000)
        return stored.reshape((stop - start, *self.shape[1:]))

    def read_stored(self, start: int, out: Array) -> None:
        """Fill a contiguous array with the bytes of rows from `start` on, as they stand.

        Raises
        ------
        BadInput
            The file is gone, or no longer what it was.
        """
        width = math.prod(self.shape[1:]) * np.dtype(self.dtype).itemsize
        view = out.reshape(-1).view(np.uint8).data
        about = still(_path(self.path), self.identity)
        # Another file under this name is opened anew; the old one stays open while it is read.
        file = _descriptor(self.path, about.st_dev, about.st_ino, about.st_mtime_ns)
        done = 0
        while done < len(view):
            count = os.preadv(file.number, [view[done:]], self.offset + start * width + done)
            if count == 0:
                raise OSError(f"{self.path} ends before byte {self.offset + start * width + done}")
            done += count


class _Descriptor:
    """An open file, closed when nobody uses it any more."""

    def __init__(self, path: str) -> None:
        self.number = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


@lru_cache(maxsize=1024)
def _path(path: str) -> Path:
    return Path(path)


@lru_cache(maxsize=64)
def _descriptor(path: str, *identity: int) -> _Descriptor:
    return _Descriptor(path)


@dataclass(frozen=True, slots=True)
class OnDisk:
    """Planes that stay in files until rows are asked for."""

    planes: tuple[FilePlane | None, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        first = self.planes[0]
        assert first is not None
        return first.shape

    @property
    def present(self) -> frozenset[str]:
        return frozenset(n for n, p in zip(PLANES, self.planes, strict=False) if p is not None)

    def plane(self, name: PlaneName, start: int, stop: int) -> Array:
        """Return rows of one plane, which has to be there; the others are not read."""
        file = self.planes[PLANES.index(name)]
        assert file is not None
        read = file.read(start, stop)
        read.flags.writeable = False
        return read

    def rows(self, start: int, stop: int) -> Planes:
        read = [None if p is None else p.read(start, stop) for p in self.planes]
        return Planes(*read).freeze()  # type: ignore[arg-type]

    def whole(self) -> Planes:
        return self.rows(0, self.shape[0])


@dataclass(frozen=True, slots=True)
class Overlay:
    """Another source with some planes replaced, added or dropped (None); object masks packed."""

    base: Pixels
    planes: Mapping[str, Array | Packed | None]

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
        over = {n: None if p is None else np.asarray(p) for n, p in self.planes.items()}
        return self.base.whole()._replace(**over)  # type: ignore[arg-type]


class Recent:
    """Another source that remembers, for each thread, the rows it was asked for last.

    For calibrations, whose rows all frames want one after the other: they need not be in memory.
    """

    def __init__(self, base: Pixels) -> None:
        self.base = base
        self._last = threading.local()

    @property
    def shape(self) -> tuple[int, ...]:
        return self.base.shape

    @property
    def present(self) -> frozenset[str]:
        return self.base.present

    def rows(self, start: int, stop: int) -> Planes:
        if getattr(self._last, "key", None) != (start, stop):
            self._last.planes = self.base.rows(start, stop)
            self._last.key = (start, stop)
        planes: Planes = self._last.planes
        return planes

    def whole(self) -> Planes:
        return self.base.whole()


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


#: Planes of some rows, with the numbers of the first row and of that after the last, to others.
RowFunction = Callable[[Planes, int, int], Planes]


@runtime_checkable
class Joinable(Protocol):
    """A row function that can do the work of those before it as well, in one pass."""

    def __call__(self, planes: Planes, start: int, stop: int) -> Planes:
        """Return the rows of the planes that come out."""

    def joined(self, before: tuple[RowFunction, ...]) -> RowFunction | None:
        """Return one function that does what `before` and this one do, bit for bit, or None."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Row functions applied to a source, one after the other, when rows are asked for.

    Nothing is kept: rows that are asked for twice are computed twice, which for the usual chain
    from raw counts to calibrated electrons costs no more than fresh memory would. `work` is what
    is done, which may be fewer functions than there are links.
    """

    base: Pixels
    links: tuple[RowFunction, ...]
    present: frozenset[str]
    work: tuple[RowFunction, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.base.shape

    def into(self, start: int, stop: int, out: Planes) -> Planes:
        """Return rows like `rows`, in the arrays of `out` if the last function can fill them.

        Such a function has a method `into` with `out` as its last argument.
        """
        planes = self.base.rows(start, stop)
        for function in self.work[:-1]:
            planes = function(planes, start, stop)
        last = self.work[-1]
        fill = getattr(last, "into", None)
        made: Planes = last(planes, start, stop) if fill is None else fill(planes, start, stop, out)
        return made

    @property
    def joined(self) -> bool:
        """Whether all links are done in one pass, which is no dearer than reading its result."""
        return len(self.work) < len(self.links) and len(self.work) == 1

    def rows(self, start: int, stop: int) -> Planes:
        planes = self.base.rows(start, stop)
        for function in self.work:
            planes = function(planes, start, stop)
        return planes.freeze()

    def whole(self) -> Planes:
        return evaluate(self)


def plane_of(
    pixels: Pixels, name: PlaneName, start: int = 0, stop: int | None = None
) -> Array | None:
    """Return one plane, or rows of it; no other is computed or read for one that stands alone."""
    while isinstance(pixels, Overlay):
        if name in pixels.planes:
            plane = pixels.planes[name]
            whole = start == 0 and stop is None and isinstance(plane, np.ndarray)
            return plane if plane is None or whole else plane[start:stop]  # type: ignore[return-value]
        pixels = pixels.base
    if name not in pixels.present:
        return None
    last = pixels.shape[0] if stop is None else stop
    if isinstance(pixels, OnDisk):
        return pixels.plane(name, start, last)
    if start == 0 and stop is None:
        return getattr(pixels.whole(), name)  # type: ignore[no-any-return]
    return getattr(pixels.rows(start, last), name)  # type: ignore[no-any-return]


def mapped(base: Pixels, function: RowFunction, present: frozenset[str]) -> Chain:
    """Return the source whose rows are `function` (rows of `base`, start, stop)."""
    before, work = (base.links, base.work) if isinstance(base, Chain) else ((), ())
    joined = function.joined(before) if isinstance(function, Joinable) else None
    source = base.base if isinstance(base, Chain) else base
    work = (*work, function) if joined is None else (joined,)
    return Chain(source, (*before, function), present, work)


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
            put(target[start:stop], plane)
    return Planes(*out).freeze()  # type: ignore[arg-type]
