"""Pixels on storage that all processes of a run see: what is sent between them names files.

Functions, headers and numbers are pickled. An array of more than a few pages is not: it lies in a
file of the run's folder, and what is sent says which bytes of that file it is.
"""

from __future__ import annotations

import io
import itertools
import mmap
import operator
import os
import threading
import weakref
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
from f2yaml.interpreter.engine import SERIAL, Engine
from f2yaml.interpreter.leftovers import mark
from f2yaml.interpreter.pixels import Array, Recent
from f2yaml.interpreter.products import Writer
from f2yaml.interpreter.scratch import mapping_of

#: Arrays of fewer bytes travel with what is sent.
LARGE = 1 << 16
_CACHED = type(cache(len))


class _Alive:
    """Something whose end can be noticed."""


class Storage:
    """The folder of one run, from the point of view of one process.

    Parameters
    ----------
    folder : Path
        Absolute, the same for all processes.
    synced : bool
        Whether what is written must reach the disk before others are told of it: where processes
        are on several machines.
    owner : bool
        Whether files go when this process has no use for them any more.
    """

    def __init__(self, folder: Path, *, synced: bool, owner: bool = False) -> None:
        self.folder = folder
        self.synced = synced
        self.owner = owner
        self._name = f"{mark()}-{os.urandom(4).hex()}"
        self._numbers = itertools.count()
        self._lock = threading.RLock()  # mappings may go while this thread holds it
        #: File and first address of each mapping, by its identity.
        self._files: dict[int, tuple[str, int]] = {}
        #: Files that hold copies of arrays, by the identity of the array.
        self._copies: dict[int, str] = {}
        #: Mappings and arrays that a file is there for.
        self._users: dict[str, int] = {}

    def fresh(self, ending: str) -> Path:
        """Return a name that no process of the run has used."""
        return self.folder / f"{self._name}-{next(self._numbers)}.{ending}"

    def write(self, data: Any, ending: str) -> Path:
        """Write a new file, whole, and return its name."""
        path = self.fresh(ending)
        with path.open("xb", buffering=0) as file:
            view = memoryview(data).cast("B")
            while view:
                view = view[file.write(view) :]
            if self.synced:
                os.fsync(file.fileno())
        return path

    def mapped(self, path: Path, *, private: bool = False, writable: bool = False) -> mmap.mmap:
        """Return a file in memory; changes to a `private` one stay in this process."""
        access = mmap.ACCESS_COPY if private else mmap.ACCESS_READ
        if writable:
            access = mmap.ACCESS_WRITE
        with path.open("r+b" if writable else "rb") as file:
            memory = mmap.mmap(file.fileno(), 0, access=access)
        start = np.frombuffer(memory, np.uint8).ctypes.data
        with self._lock:
            self._files[id(memory)] = str(path), start
            self._use(str(path))
        weakref.finalize(memory, self._forget, self._files, id(memory))
        return memory

    def reread(self) -> None:
        """Open the files of this process again, where others on other machines have written them.

        A network file system looks for changes when a file is opened.
        """
        if self.synced:
            with self._lock:
                paths = {path for path, _ in self._files.values()}
            for path in paths:
                os.close(os.open(path, os.O_RDONLY))

    def _use(self, path: str) -> None:
        self._users[path] = self._users.get(path, 0) + 1

    def _forget(self, known: dict[int, Any], key: int) -> None:
        """Forget a mapping or a copied array; its file goes with the last of them."""
        with self._lock:
            found = known.pop(key)
            path = found if isinstance(found, str) else found[0]
            self._users[path] -= 1
            if self._users[path]:
                return
            del self._users[path]
        if self.owner:
            Path(path).unlink(missing_ok=True)

    # what is sent ---------------------------------------------------------------------------
    def dumps(self, thing: object, kept: list[object] | None = None) -> bytes:
        """Return a thing as bytes, its large arrays as places in files.

        What the receiver writes into arrays is not seen here, nor by others.

        Parameters
        ----------
        thing : object
        kept : list, optional
            Gets what has to live until the receiver is done: files of the owner go with it.
        """
        buffer = io.BytesIO()
        _Sender(buffer, self, [] if kept is None else kept).dump(thing)
        return buffer.getvalue()

    def loads(self, data: bytes) -> Any:
        """Return what `dumps` was given, in another process."""
        with _receiving(self):
            return cloudpickle.loads(data)

    def place(self, array: Array, kept: list[object]) -> tuple[Path, int, tuple[int, ...]]:
        """Return the file of an array, its first byte there, and its strides.

        An array that lies in no file of the run is written into one. It goes with the array, or
        where that may change with what is put on the list.
        """
        kept.append(array)
        memory = mapping_of(array)
        known = self._files.get(id(memory))
        if memory is None or known is None:
            return Path(self._copied(array, kept)), 0, _strides(array)
        path, start = known
        if self.synced and array.flags.writeable:
            memory.flush()
        return Path(path), array.ctypes.data - start, array.strides

    def _copied(self, array: Array, kept: list[object]) -> str:
        if not self.owner:
            return str(self.write(np.ascontiguousarray(array), "copy"))
        thing: object = _Alive() if array.flags.writeable else array
        with self._lock:
            path = self._copies.get(id(thing))
        if path is None:
            path = str(self.write(np.ascontiguousarray(array), "copy"))
            with self._lock:
                self._copies[id(thing)] = path
                self._use(path)
            weakref.finalize(thing, self._forget, self._copies, id(thing))
            kept.append(thing)
        return path


def _strides(array: Array) -> tuple[int, ...]:
    """Return the strides that the array has when its items lie in C order."""
    sizes = (array.itemsize, *array.shape[:0:-1])
    return tuple(itertools.accumulate(sizes, operator.mul))[::-1]


class _Sender(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles functions by value, large arrays by file."""

    def __init__(self, file: io.BytesIO, storage: Storage, kept: list[object]) -> None:
        super().__init__(file, protocol=5)
        self._storage = storage
        self._kept = kept

    def reducer_override(self, obj: Any) -> Any:
        """Say how an object is taken apart, where it is not done as usual."""
        if isinstance(obj, np.ndarray) and not obj.dtype.hasobject:
            return self._array(obj)
        if isinstance(obj, _CACHED) and "<locals>" in obj.__qualname__:
            return cache, (obj.__wrapped__,)
        if isinstance(obj, Engine):
            return _engine, ()
        if isinstance(obj, Recent):
            return Recent, (obj.base,)
        if isinstance(obj, Writer):
            return _writer, (
                {f.name: getattr(obj, f.name) for f in fields(obj)}
                | _ELSEWHERE
                | {"outdir": obj.outdir.absolute()},
            )
        return super().reducer_override(obj)

    def _array(self, array: Array) -> tuple[Any, ...]:
        """Say where an array lies. What is read-only stays so: kernels are compiled for either."""
        if array.nbytes < LARGE:
            if array.flags.writeable:
                return array.__reduce_ex__(5)  # type: ignore[return-value]
            return _constant, (array.tobytes(), array.dtype, array.shape)
        path, offset, strides = self._storage.place(array, self._kept)
        kind, writable = array.dtype.str, array.flags.writeable
        return _array, (str(path), offset, array.shape, strides, kind, writable)


#: What a writer has on the machine of the user only: calibrations are stored there.
_ELSEWHERE: dict[str, Any] = {"store": None, "cache": None, "databases": (), "written": []}


def _writer(known: dict[str, Any]) -> Writer:
    return Writer(**known)


class _Receiver(threading.local):
    storage: Storage | None = None


_RECEIVER = _Receiver()


class _receiving:
    """While it lasts, arrays that are unpickled by this thread are looked for in a storage."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def __enter__(self) -> None:
        _RECEIVER.storage = self._storage

    def __exit__(self, *_: object) -> None:
        _RECEIVER.storage = None


def _array(
    path: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], kind: str, own: bool
) -> Array:
    """Return an array that lies in a file of the run; changes to its `own` stay in a process."""
    storage = _RECEIVER.storage
    assert storage is not None
    memory = storage.mapped(Path(path), private=own)
    return np.ndarray(shape, np.dtype(kind), memory, offset, strides)


def _constant(data: bytes, kind: Any, shape: tuple[int, ...]) -> Array:
    return np.frombuffer(data, kind).reshape(shape)


def _engine() -> Engine:
    """Return what does the work in the process that a function has been sent to."""
    return SERIAL
