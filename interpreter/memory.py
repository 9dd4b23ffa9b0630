"""Memory for planes that is used again: touching fresh pages costs more than most arithmetic."""

from __future__ import annotations

import ctypes
import mmap
import threading
import weakref
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from f2yaml.interpreter.pixels import Array

#: Arrays smaller than this are left to numpy.
SMALL = 1 << 20
#: Memory is kept where this many arrays of its size were lent at once: the planes of a stream.
MANY = 4


class Pool:
    """Lends arrays and keeps their memory when they are gone.

    Parameters
    ----------
    limit : int
        Bytes lent or kept at most.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.lent = 0
        self._idle: dict[int, list[mmap.mmap]] = {}
        self._lent: dict[int, int] = {}
        self._many: set[int] = set()
        # Arrays may be given back while this thread holds the lock.
        self._lock = threading.RLock()

    def empty(self, shape: Sequence[int], dtype: Any) -> Array | None:
        """Return an array whose content is arbitrary, or None where that exceeds the limit."""
        kind = np.dtype(dtype)
        count = int(np.prod(shape))
        size = count * kind.itemsize
        with self._lock:
            if self.lent + size > self.limit:
                return None
            self.lent += size
            self._lent[size] = self._lent.get(size, 0) + 1
            if self._lent[size] >= MANY:
                self._many.add(size)
            kept = self._idle.get(size)
            memory = kept.pop() if kept else None
            if memory is None and self.lent + self.idle > self.limit:
                self._idle.clear()
        if size < SMALL:
            array: Array = np.empty(count, kind)
        else:
            memory = _fresh(size) if memory is None else memory
            array = np.frombuffer(memory, kind, count)
        weakref.finalize(array, self._give_back, size, memory)
        return array.reshape(tuple(shape))

    @property
    def idle(self) -> int:
        """Bytes kept for later."""
        return sum(size * len(kept) for size, kept in self._idle.items())

    def clear(self) -> None:
        """Let go of memory that is not lent."""
        with self._lock:
            self._idle.clear()

    def _give_back(self, size: int, memory: mmap.mmap | None) -> None:
        with self._lock:
            self.lent -= size
            self._lent[size] -= 1
            if memory is not None and size in self._many:
                self._idle.setdefault(size, []).append(memory)


def _fresh(size: int) -> mmap.mmap:
    """Return new private memory.

    Large pages are not asked for: a virtual machine has given those that are free back to its host,
    which takes ten times as long to bring them again as the system does to clear small ones.
    """
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def let_go() -> None:
    """Give the system back what the C library keeps of freed memory, where that can be told to it.

    After a step of many threads that is some per cent of what the process holds.
    """
    if (trim := _trim()) is not None:
        trim(0)


@cache
def _trim() -> Any:
    """Return the function of glibc; None with another C library."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
