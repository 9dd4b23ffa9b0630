"""Planes in scratch files: some to a file, mapped into memory, and written without page faults.

To write to a mapping costs the system more than to write to the file: each page is asked for, and
marked, by itself. So rows that are computed go to the file (`put`) and are read from the mapping,
which sees them at once. Files have no name from the moment that they are mapped on; nothing is
left of them when the process ends, however it ends.
"""

from __future__ import annotations

import errno
import itertools
import math
import mmap
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from f2yaml.interpreter.errors import OutputError
from f2yaml.interpreter.leftovers import mark
from numpy.typing import NDArray

Array = NDArray[Any]

#: Planes of a file: each file takes one or two of the descriptors that a process may have.
TOGETHER = 16


@dataclass(slots=True)
class _File:
    """A mapped file; `used` of its bytes are taken, by `users` arrays."""

    memory: mmap.mmap
    used: int = 0
    users: int = 0


#: Descriptor and first address of each mapped file of this process.
_places: weakref.WeakKeyDictionary[mmap.mmap, tuple[int, int]] = weakref.WeakKeyDictionary()


class Scratch:
    """Makes arrays in scratch files; space that is given back is used again.

    Parameters
    ----------
    parent : Path, optional
        Folder in which a folder for the files is made when the first is needed; default the
        system's temporary folder.
    """

    def __init__(self, parent: Path | None = None) -> None:
        self._parent = parent
        self._folder: Path | None = None
        self._lock = threading.RLock()  # arrays may be given back while this thread holds it
        self._numbers = itertools.count()
        self._kept: list[_File] = []
        #: All mappings that are in use.
        self.mapped: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()

    def array(self, shape: Sequence[int], dtype: Any) -> Array:
        """Return an array of arbitrary content.

        Raises
        ------
        OutputError
            There is no room for it.
        """
        kind = np.dtype(dtype)
        count = math.prod(shape)
        size = max(1, -(-count * kind.itemsize // mmap.PAGESIZE)) * mmap.PAGESIZE
        with self._lock:
            fitting = (file for file in self._kept if file.used + size <= len(file.memory))
            file = next(fitting, None) or self._new(size)
            start = file.used
            file.used += size
            file.users += 1
        array = np.frombuffer(file.memory, kind, count, start)
        weakref.finalize(array, self._give_back, file)
        return array.reshape(tuple(shape))

    def _give_back(self, file: _File) -> None:
        with self._lock:
            file.users -= 1
            if file.users == 0:
                file.used = 0

    def _new(self, size: int) -> _File:
        """Return a new file for some arrays of a size; for one if space is scarce."""
        folder = self.made()
        path = folder / f"{next(self._numbers)}.planes"
        try:
            try:
                reserve(path, TOGETHER * size)
            except OSError:
                path.unlink(missing_ok=True)
                reserve(path, size)
            number = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                memory = mmap.mmap(number, 0)
            except BaseException:
                os.close(number)
                raise
        except OSError as error:
            raise _no_room(folder.parent, error) from error
        finally:
            path.unlink(missing_ok=True)  # the mapping keeps the pages; nothing is left behind
        _places[memory] = number, np.frombuffer(memory, np.uint8).__array_interface__["data"][0]
        file = _File(memory)
        weakref.finalize(memory, os.close, number)
        self._kept.append(file)
        self.mapped.add(memory)
        return file

    def made(self) -> Path:
        """Return the folder of the files, made when it is first asked for."""
        if self._folder is None:
            self._folder = Path(
                tempfile.mkdtemp(prefix=f".f2yaml-scratch-{mark()}-", dir=self._parent)
            )
        return self._folder

    def close(self) -> None:
        """Remove the folder, and let go of files that are not in use."""
        with self._lock:
            self._kept.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def room(view: Array, spare: Array) -> Array:
    """Return an array in which to compute what `put` then writes to `view`: itself if in memory.

    Parameters
    ----------
    view : array
        C-contiguous.
    spare : array, shape of `view`
        Memory that is used again, for parts of scratch files.
    """
    return view if _place_of(view) is None else spare


def put(view: Array, values: Array) -> None:
    """Write values to an array, which may be part of a scratch file.

    Parameters
    ----------
    view : array
        C-contiguous; nothing is done if it is `values` itself.
    values : array, shape of `view`
        Of the same type.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    if values is view:
        return
    place = _place_of(view)
    if place is None:
        view[...] = values
        return
    assert view.flags.c_contiguous
    assert view.dtype == values.dtype
    number, address = place
    at = view.__array_interface__["data"][0] - address
    left = np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
    while left:
        try:
            done = os.pwrite(number, left, at)
        except OSError as error:
            raise _no_room(None, error) from error
        left, at = left[done:], at + done


def reserve(path: Path, size: int) -> None:
    """Make a file with all its blocks; a mapping that lacks one would end in a signal."""
    with path.open("wb") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except (AttributeError, OSError) as error:
            unknown = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
            if isinstance(error, OSError) and error.errno not in unknown:
                raise
            file.truncate(size)  # a system or file system that cannot


def mapping_of(array: Array) -> mmap.mmap | None:
    """Return the mapping that an array is a view of, if it is one."""
    base: Any = array
    while base is not None:
        if isinstance(base, mmap.mmap):
            return base
        base = base.obj if isinstance(base, memoryview) else getattr(base, "base", None)
    return None


def _place_of(view: Array) -> tuple[int, int] | None:
    """Return descriptor and first address of the scratch file that an array is part of, if any."""
    memory = mapping_of(view)
    return None if memory is None else _places.get(memory)


def _no_room(folder: Path | None, error: OSError) -> OutputError:
    where = "" if folder is None else f" in {folder}"
    return OutputError(
        f"scratch files cannot be {'written' if folder is None else 'made'}{where}: "
        f"{error.strerror or error}",
        "planes that exceed --max-memory are kept there while the run lasts",
        "free some space, give a higher --max-memory, or another folder with --outdir",
    )
