"""What a worker does: one item of a map, and its rows of the arrays that the map fills."""

from __future__ import annotations

import mmap
import os
import platform
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from f2yaml.interpreter import records
from f2yaml.interpreter.cluster.storage import Storage
from f2yaml.interpreter.errors import RequestError
from f2yaml.interpreter.pixels import Array

_DECISIVE = ("python", "f2yaml", "numpy", "numba", "astropy", "sep")


@dataclass(frozen=True)
class Job:
    """A function and the items it is for, with the arrays whose rows it fills.

    Where there are any, items are first and last row (exclusive) of a band.
    """

    function: Callable[[Any], Any]
    items: Sequence[Any]
    fills: Sequence[Array] = ()


@cache
def versions() -> dict[str, str]:
    """Return what has to be the same in all processes for the same pixels to come out."""
    installed = records.versions()
    return {name: installed[name] for name in _DECISIVE}


class _Known:
    """The jobs a worker has had last: bands of one job come one after the other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._storages: dict[tuple[str, bool], Storage] = {}
        self._path, self._job = "", Job(len, ())

    def storage(self, folder: Path, synced: bool) -> Storage:
        """Return the view of a run's folder that this process has."""
        with self._lock:
            return self._storages.setdefault((str(folder), synced), Storage(folder, synced=synced))

    def job(self, path: str, storage: Storage) -> Job:
        """Return a job from its file."""
        with self._lock:
            if self._path != path:
                self._path, self._job = "", Job(len, ())  # lets go of its planes first
                self._job = storage.loads(Path(path).read_bytes())
                self._path = path
            return self._job


_KNOWN = _Known()


def do(path: str, number: int, synced: bool, expected: dict[str, str]) -> bytes:
    """Do one item of the job in a file; returns what came out, as `Storage.dumps` has it."""
    here = versions()
    different = [f"{k} {v} instead of {expected[k]}" for k, v in here.items() if v != expected[k]]
    if different:
        raise RequestError(
            f"a worker on {platform.node()} has {', '.join(different)}",
            "the pixels would not be those of one machine",
            "install the same versions on all machines",
        )
    storage = _KNOWN.storage(Path(path).parent, synced)
    try:
        job = _KNOWN.job(path, storage)
    except FileNotFoundError as error:
        raise RequestError(
            f"a worker on {platform.node()} does not see {path}",
            "pixels travel on storage that all machines share, not through the scheduler",
            "give --outdir on shared storage, by the same path on all machines",
        ) from error
    item = job.items[number]
    made = job.function(item)
    for array in job.fills:
        _put(storage, array, *item)
    return storage.dumps(made)


def _put(storage: Storage, array: Array, start: int, stop: int) -> None:
    """Write rows of an array from the pages of this process to its file."""
    path, offset, strides = storage.place(array, [])
    rows = np.ascontiguousarray(array[start:stop]).view(np.uint8).data.cast("B")
    at = offset + start * strides[0]
    number = os.open(path, os.O_WRONLY)
    try:
        done = 0
        while done < len(rows):
            done += os.pwrite(number, rows[done:], at + done)
        if storage.synced:
            os.fsync(number)
    finally:
        os.close(number)
    _let_go(array, at, len(rows))


def _let_go(array: Array, start: int, size: int) -> None:
    """Drop the pages of a process that nobody needs, as the file has what was on them."""
    memory = array.base
    if not isinstance(memory, mmap.mmap) or not hasattr(mmap, "MADV_DONTNEED"):
        return
    first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
    size = (start + size - first) // mmap.PAGESIZE * mmap.PAGESIZE
    if size > 0:
        memory.madvise(mmap.MADV_DONTNEED, first, size)
