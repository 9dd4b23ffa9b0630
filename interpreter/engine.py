"""What a step may ask of the machine: bands, threads, and memory or scratch files for planes.

A science function gets an engine as a resource and never decides itself how many threads there
are or whether a plane stays in memory.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.pixels import (
    Array,
    FilePlane,
    InMemory,
    OnDisk,
    Planes,
    evaluate,
)

T = TypeVar("T")
R = TypeVar("R")
GIB = 1 << 30
BAND_BYTES = 48 << 20  # of input per band and thread


class Engine:
    """Threads and memory of one machine.

    Parameters
    ----------
    jobs : int
        Threads (and, for steps that hold the interpreter lock, processes).
    max_memory : int
        Bytes of planes kept in memory; beyond that, planes go to scratch files.
    scratch : Path, optional
        Folder for scratch files; default the system's temporary folder. Made when first used.
    band_rows : int, optional
        Rows per band, for tests; default by memory.
    """

    def __init__(
        self,
        jobs: int = 1,
        max_memory: int = 4 * GIB,
        scratch: Path | None = None,
        band_rows: int | None = None,
    ) -> None:
        self.jobs = max(1, jobs)
        self.max_memory = max_memory
        self.band_rows = band_rows
        self._scratch_parent = scratch
        self._scratch: Path | None = None
        self._held = 0
        self._lock = threading.Lock()
        self._numbers = itertools.count()

    # work -----------------------------------------------------------------------------------
    def bands(self, rows: int, bytes_per_row: int) -> list[tuple[int, int]]:
        """Cut `rows` into bands whose inputs stay within a fixed share of memory."""
        step = self.band_rows or max(1, min(rows, BAND_BYTES // max(1, bytes_per_row)))
        if not self.band_rows:
            step = min(step, max(1, -(-rows // (2 * self.jobs))))
        return [(start, min(start + step, rows)) for start in range(0, rows, step)]

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Apply `function` to each item, in threads; results in the order of the items."""
        work = list(items)
        if self.jobs == 1 or len(work) < 2:
            return [function(item) for item in work]
        with ThreadPoolExecutor(min(self.jobs, len(work))) as pool:
            return list(pool.map(function, work))

    # memory ---------------------------------------------------------------------------------
    def empty(self, shape: Sequence[int], dtype: Any) -> Array:
        """Return an array to fill: in memory while there is room, else in a scratch file."""
        kind = np.dtype(dtype)
        size = int(np.prod(shape)) * kind.itemsize
        if self._reserve(size):
            array: Array = np.empty(tuple(shape), kind)
            weakref.finalize(array, self._release, size)
            return array
        path = self._scratch_file()
        mapped = np.memmap(path, kind, "w+", shape=tuple(shape))
        path.unlink()  # the mapping keeps the pages; nothing is left behind
        return mapped

    def settle(self, frame: Frame) -> Frame:
        """Compute the planes of a frame that are not yet, and keep them where there is room."""
        if isinstance(frame.pixels, InMemory | OnDisk):
            return frame
        return replace(frame, pixels=InMemory(evaluate(frame.pixels, self.empty)))

    def held(self, frame: Frame) -> Frame:
        """Return the frame with planes that random rows can be read from cheaply.

        Planes in memory and native scratch files are; compressed, foreign or computed ones are
        settled first.
        """
        if isinstance(frame.pixels, InMemory):
            return frame
        if isinstance(frame.pixels, OnDisk) and frame.pixels.native:
            return frame
        return replace(frame, pixels=InMemory(evaluate(frame.pixels, self.empty)))

    def spool(self, frame: Frame) -> Frame:
        """Return the frame with its planes in a file, to hand over to another process."""
        if isinstance(frame.pixels, OnDisk):
            return frame
        whole = frame.pixels.whole()
        path = self._scratch_file()
        planes: list[FilePlane | None] = []
        with path.open("wb") as file:
            for plane in whole:
                if plane is None:
                    planes.append(None)
                    continue
                planes.append(FilePlane(str(path), file.tell(), plane.dtype.str, plane.shape))
                np.ascontiguousarray(plane).tofile(file)
        pixels = OnDisk(tuple(planes))
        weakref.finalize(pixels, path.unlink, missing_ok=True)
        return replace(frame, pixels=pixels)

    def _reserve(self, size: int) -> bool:
        with self._lock:
            if self._held + size > self.max_memory:
                return False
            self._held += size
            return True

    def _release(self, size: int) -> None:
        with self._lock:
            self._held -= size

    def _scratch_file(self) -> Path:
        with self._lock:
            if self._scratch is None:
                self._scratch = Path(
                    tempfile.mkdtemp(prefix=".f2yaml-scratch-", dir=self._scratch_parent)
                )
            return self._scratch / f"{next(self._numbers)}.planes"

    def close(self) -> None:
        """Remove the scratch files."""
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None


SERIAL = Engine()


def read_band(frames: Sequence[Frame], start: int, stop: int) -> Planes:
    """Read one band of several frames into stacked arrays of shape (n, rows, nx).

    A plane that any frame lacks is None.
    """
    return stacked([frame.pixels.rows(start, stop) for frame in frames])


def stacked(blocks: Sequence[Planes]) -> Planes:
    """Stack the same rows of several frames; a plane that any of them lacks is None."""
    planes: list[Array | None] = []
    for plane in zip(*blocks, strict=True):
        planes.append(None if any(p is None for p in plane) else np.stack(plane))
    return Planes(*planes)  # type: ignore[arg-type]
