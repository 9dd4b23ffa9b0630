"""Checksums of the files of a run, made in a thread while there are other things to do."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from f2yaml.interpreter.fits import checksum


class Checksums:
    """Checksums of files that will be asked for, and of any other when it is.

    A copy in another process makes all of them when they are asked for.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._begun: dict[Path, Future[str]] = {}

    def begin(self, paths: Iterable[Path]) -> None:
        """Begin with some files, in the order in which they will be asked for."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1)
        for path in paths:
            if path not in self._begun:
                self._begun[path] = self._pool.submit(checksum, path)

    def of(self, path: Path) -> str:
        """Return the checksum of a file (MD5, hexadecimal); wait for it if it is on its way.

        Raises
        ------
        OSError
            The file cannot be read.
        """
        begun = self._begun.pop(path, None)
        return checksum(path) if begun is None else begun.result()

    def close(self) -> None:
        """Let go of what was begun and is not wanted any more."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
        self._begun.clear()

    def __reduce__(self) -> tuple[type[Checksums], tuple[()]]:
        return Checksums, ()
