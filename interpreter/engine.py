"""What a step may ask of the machine: bands, threads, and memory or scratch files for planes.

A science function gets an engine as a resource and never decides itself how many threads there
are or whether a plane stays in memory.
"""

from __future__ import annotations

import itertools
import mmap
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.memory import Pool
from f2yaml.interpreter.pixels import (
    Array,
    Chain,
    InMemory,
    OnDisk,
    Overlay,
    Pixels,
    Planes,
    evaluate,
)
from f2yaml.interpreter.scratch import Scratch
from f2yaml.interpreter.stacks import calibrated_band

S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")
GIB = 1 << 30
BAND_BYTES = 16 << 20  # of input per band and thread
#: Planes in memory, whatever is allowed: beyond it the system's cache of scratch files serves.
KEPT_BYTES = 7 * GIB // 4
#: What a process has in memory beyond planes before it lets go of pages of scratch files.
SLACK_BYTES = 5 * GIB // 8
#: Pages of files, those of libraries among them, that are not worth to be let go of.
FEW_BYTES = GIB // 4


class Engine:
    """Threads and memory of one machine.

    Parameters
    ----------
    jobs : int
        Threads that `map` works in.
    max_memory : int
        Bytes of planes kept in memory, up to `KEPT_BYTES`; others go to scratch files.
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
        self.max_memory = min(max_memory, KEPT_BYTES)
        self.band_rows = band_rows
        self._scratch = Scratch(scratch)
        self._mapped = self._scratch.mapped
        self._pool = Pool(self.max_memory)
        self._lock = threading.Lock()
        #: Told the share done of a `map`, from any thread.
        self.on_progress: Callable[[float], None] | None = None

    # work -----------------------------------------------------------------------------------
    def bands(
        self, rows: int, bytes_per_row: int, band_bytes: int = BAND_BYTES, least: int = 1
    ) -> list[tuple[int, int]]:
        """Cut `rows` into bands whose inputs stay within a fixed share of memory.

        Bands have `least` rows, though they take more than `band_bytes`, as long as those of all
        threads take no more than an eighth of what planes may take: thin bands of many frames cost
        more in calls than in work.
        """
        size = max(1, bytes_per_row)
        least = min(least, self.max_memory // (8 * self.jobs * size))
        step = self.band_rows or max(1, min(rows, max(band_bytes // size, least)))
        if not self.band_rows:
            step = min(step, max(1, -(-rows // (2 * self.jobs))))
        return [(start, min(start + step, rows)) for start in range(0, rows, step)]

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Apply `function` to each item; results in the order of the items.

        It may run in another process: what it changes is lost, what it returns is not.
        """
        return self.threads(function, items)

    def threads(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Apply `function` to each item, in threads of this process."""
        work = list(items)
        told = self._counted(self._trimmed(function), len(work))
        if self.jobs == 1 or len(work) < 2:
            return [told(item) for item in work]
        with ThreadPoolExecutor(min(self.jobs, len(work))) as pool:
            return list(pool.map(told, work))

    def fill(
        self,
        function: Callable[[tuple[int, int]], R],
        bands: Sequence[tuple[int, int]],
        filled: Sequence[Array],
    ) -> list[R]:
        """Apply `function` to bands of rows, which are those that it writes of the arrays `filled`.

        Other arrays it must leave as they are: it may run in another process.
        """
        return self.map(function, bands)

    def each(
        self, function: Callable[[T], R], items: Sequence[S], prepare: Callable[[S], T]
    ) -> Iterator[tuple[int, R]]:
        """Apply `function` to each item after `prepare`; yield numbers and results as they come.

        What `prepare` does is done in this process.
        """

        def done(item: S) -> R:
            return function(prepare(item))

        if self.jobs == 1:
            for number, item in enumerate(items):
                yield number, done(item)
            return
        with ThreadPoolExecutor(self.jobs) as pool:
            waiting = {pool.submit(done, item): number for number, item in enumerate(items)}
            try:
                for future in as_completed(waiting):
                    yield waiting[future], future.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _counted(self, function: Callable[[T], R], total: int) -> Callable[[T], R]:
        """Return the function with word of its progress, where somebody listens."""
        tell = self.on_progress
        if tell is None:
            return function
        done = itertools.count(1)  # counting is one step: safe in threads

        def counted(item: T) -> R:
            made = function(item)
            tell(next(done) / total)
            return made

        return counted

    def _trimmed(self, function: Callable[[T], R]) -> Callable[[T], R]:
        """Return the function; after it, pages of scratch files are let go if there are many."""
        if not self._mapped:
            return function

        def trimmed(item: T) -> R:
            made = function(item)
            self.trim()
            return made

        return trimmed

    # memory ---------------------------------------------------------------------------------
    def trim(self) -> None:
        """Let go of the pages of scratch files where the process has too much in memory.

        They stay in the system's cache of files, and come back when they are asked for.
        """
        if not self._mapped or not hasattr(mmap, "MADV_DONTNEED"):
            return
        resident, of_files = _resident()
        if resident < self.max_memory + SLACK_BYTES or of_files < FEW_BYTES:
            return
        with self._lock:
            for memory in list(self._mapped):
                memory.madvise(mmap.MADV_DONTNEED)

    def empty(self, shape: Sequence[int], dtype: Any) -> Array:
        """Return an array to fill: in memory while there is room, else in a scratch file."""
        array = self._pool.empty(shape, dtype)
        if array is not None:
            return array
        return self._scratch.array(shape, dtype)

    def settle(self, frame: Frame) -> Frame:
        """Compute the planes of a frame that are not yet, and keep them where there is room.

        A chain that is one pass over the counts stays what it is: rows are computed when asked for.
        """
        base = frame.pixels.base if isinstance(frame.pixels, Overlay) else frame.pixels
        if isinstance(base, InMemory | OnDisk) or (isinstance(base, Chain) and base.joined):
            return frame
        return self._computed(frame)

    def held(self, frame: Frame) -> Frame:
        """Return the frame with planes that random rows can be read from cheaply.

        Arrays are; planes in FITS files and computed ones are settled first.
        """
        base = frame.pixels.base if isinstance(frame.pixels, Overlay) else frame.pixels
        if isinstance(base, InMemory):
            return frame
        return self._computed(frame)

    def _computed(self, frame: Frame) -> Frame:
        """Return the frame with its planes in memory or scratch files, object masks packed."""
        pixels = frame.pixels
        if isinstance(pixels, Overlay) and set(pixels.planes) == {"objmask"}:
            held: Pixels = InMemory(evaluate(pixels.base, self.empty))
            return replace(frame, pixels=Overlay(held, pixels.planes))
        return replace(frame, pixels=InMemory(evaluate(pixels, self.empty)))

    def close(self) -> None:
        """Remove the scratch files, and let go of memory that is not in use."""
        self._pool.clear()
        self._scratch.close()


def _resident() -> tuple[int, int]:
    """Return the bytes that this process has in memory, and those of files; 0 where not told."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()
    except OSError:
        return 0, 0
    return int(pages[1]) * mmap.PAGESIZE, int(pages[2]) * mmap.PAGESIZE


SERIAL = Engine()


def read_band(frames: Sequence[Frame], start: int, stop: int) -> Planes:
    """Read one band of several frames into stacked arrays of shape (n, rows, nx).

    A plane that any frame lacks is None.
    """
    together = calibrated_band([frame.pixels for frame in frames], start, stop)
    if together is not None:
        return together
    return stacked([frame.pixels.rows(start, stop) for frame in frames])


def joined(blocks: Sequence[Planes]) -> Planes:
    """Put rows of one frame together; a plane that any of them lacks is None."""
    planes: list[Array | None] = []
    for plane in zip(*blocks, strict=True):
        planes.append(None if any(p is None for p in plane) else np.concatenate(plane))
    return Planes(*planes)  # type: ignore[arg-type]


def stacked(blocks: Sequence[Planes]) -> Planes:
    """Stack the same rows of several frames; a plane that any of them lacks is None."""
    planes: list[Array | None] = []
    for plane in zip(*blocks, strict=True):
        planes.append(None if any(p is None for p in plane) else np.stack(plane))
    return Planes(*planes)  # type: ignore[arg-type]
