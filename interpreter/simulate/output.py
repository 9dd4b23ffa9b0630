"""Write files of a simulated night: aside, synced, then renamed.

Products of a reduction are written by `f2yaml.interpreter.fits`, which needs the detection
library for its catalogues; a simulation does not load that.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from f2yaml.interpreter.errors import OutputError
from f2yaml.interpreter.leftovers import aside, sweep

_OTHER_FOLDER = "choose another folder with --out"


@contextmanager
def written(path: Path) -> Iterator[IO[bytes]]:
    """Give a file to write to, which takes the place of `path` if the block succeeds.

    Raises
    ------
    OutputError
        The file cannot be written; what was at `path` before is still there.
    """
    partial = aside(path)
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}",
            "nothing that was at this place before has been changed",
            f"free some space, or {_OTHER_FOLDER}" if full else _OTHER_FOLDER,
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def write_parts(path: Path, parts: list[Any]) -> None:
    """Write bytes, or arrays as the bytes they are, one after the other."""
    with written(path) as file:
        for part in parts:
            file.write(part)


def make_folder(out: Path) -> None:
    """Make a folder unless it exists, and check that files can be made in it.

    Raises
    ------
    OutputError
        It cannot be made, is no folder, or is read-only.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{out} cannot be made: {error.strerror or error}",
            "the simulated frames need a folder",
            _OTHER_FOLDER,
        ) from error
    if not os.access(out, os.W_OK | os.X_OK):
        raise OutputError(f"{out} is read-only for you", "nothing can be written", _OTHER_FOLDER)
    sweep(out)
