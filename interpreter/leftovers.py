"""Files of processes that ended before their time: told from those in use, and removed.

What is written aside, and scratch folders, carry the host, the process and its start in their
names. Whether that process still runs is asked of the operating system; where it cannot be
known, as on another host that shares the folder, the file stays.

A product and its entry in the calibration database cannot change in one step. A `Pending` note
beside the calibration lies there meanwhile, so that the next command finishes what a process
that was killed in between had begun.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Final

from f2yaml.interpreter.errors import BadInput

_MARK: Final = r"f2yaml-(?P<host>[A-Za-z0-9-]{0,32})-(?P<pid>\d+)-(?P<start>\d+)"
#: SQLite's own files of a database that was being made carry its name and a word more.
_ASIDE: Final = re.compile(
    rf"\..+\.{_MARK}\.(?P<kind>part|pending)(-journal|-wal|-shm)?|"
    rf"\.f2yaml-scratch-{_MARK.replace('?P<', '?P<s_')}-\w+"
)
_ROOM: Final = 255  # bytes of a name on common file systems


@cache
def _host() -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", os.uname().nodename)[:32]


def _start(pid: int) -> int | None:
    """Return when a process started, in ticks since boot; 0 if that is not told, None if dead."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return None
    except PermissionError:
        pass  # it runs, for another user
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    fields = status.rpartition(")")[2].split()  # a program's name may hold blanks and brackets
    return None if fields[0] in "ZX" else int(fields[19])


def mark() -> str:
    """Return the part of a name that tells whose file it is: host, process and its start."""
    return f"f2yaml-{_host()}-{os.getpid()}-{_start(os.getpid()) or 0}"


def aside(path: Path, kind: str = "part") -> Path:
    """Return the hidden name, beside `path`, that this process writes it under first."""
    end = f".{mark()}.{kind}"
    name = os.fsencode(path.name)
    room = _ROOM - len(end) - 1
    if len(name) > room:
        name = name[: room - 9] + b"-%08x" % zlib.crc32(name)  # names may differ in their ends
    return path.with_name(f".{os.fsdecode(name)}{end}")


def abandoned(name: str) -> bool:
    """Return whether a file name is one that a process of this host left behind when it died."""
    found = _ASIDE.fullmatch(name)
    if found is None:
        return False
    host, pid, start = (found[key] or found[f"s_{key}"] or "" for key in ("host", "pid", "start"))
    if host != _host():
        return False
    now = _start(int(pid))
    return now is None or (now != int(start) and 0 not in (now, int(start)))


def sweep(folder: Path) -> None:
    """Remove what dead processes left half written in a folder; notes of pending work stay.

    Whatever cannot be read or removed stays: it disturbs nobody.
    """
    for path in _hidden(folder):
        if ".pending" not in path.suffix and abandoned(path.name):
            with suppress(OSError):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()


def _hidden(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(e.path) for e in entries if e.name.startswith("."))
    except OSError:
        return []


# work between a product and its entry ---------------------------------------------------------
Identity = tuple[int, int, int]


def identity(path: Path) -> Identity | None:
    """Return what changes when a file is replaced: inode, time of change [ns] and size."""
    try:
        status = path.stat()
    except OSError:
        return None
    return _identity(status)


def _identity(status: os.stat_result) -> Identity:
    return status.st_ino, status.st_mtime_ns, status.st_size


def still(path: Path, before: Identity | None) -> os.stat_result:
    """Return what the system says of an input, if it is what it was.

    Parameters
    ----------
    path : Path
    before : Identity or None
        What it was when the work began; None where nobody knows.

    Raises
    ------
    BadInput
        It is gone, or another file.
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BadInput(
            f"{path} is no longer there",
            "it was when the work began; its pixels are wanted now",
            "bring it back, and leave the inputs of a run where they are; then run again",
        ) from error
    if before is not None and before != _identity(status):
        raise BadInput(
            f"{path} has changed while it was in use",
            "what was known of it when the work began does not hold for these pixels",
            "let nothing write to the inputs of a run; then run again",
        )
    return status


@dataclass(frozen=True)
class Pending:
    """A calibration that is being replaced and entered.

    Parameters
    ----------
    product : str
        Absolute path of the product.
    kept : str
        Absolute path under which it is kept for later runs.
    kind : str
        Its calibration type.
    databases : sequence of (str, bool)
        Those it is to be entered in, and whether each is made if it is not there.
    before : tuple, optional
        `identity` of the product before; None if there was none.
    """

    product: str
    kept: str
    kind: str
    databases: Sequence[tuple[str, bool]]
    before: Identity | None

    @property
    def replaced(self) -> bool:
        """Whether the new product has taken its name."""
        now = identity(Path(self.product))
        return now is not None and now != self.before


@contextmanager
def noted(pending: Pending) -> Iterator[None]:
    """Keep a note of pending work while the block runs; it outlives only a process that is killed.

    An error or an interrupt keeps it too if the product has been replaced: the next command
    enters what this one could not.
    """
    note = aside(Path(pending.kept), "pending")
    try:
        note.write_text(json.dumps(asdict(pending)), encoding="utf-8")
        yield
    except BaseException:
        if not pending.replaced:
            note.unlink(missing_ok=True)
        raise
    note.unlink(missing_ok=True)


def unfinished(folder: Path) -> list[tuple[Path, Pending]]:
    """Return the notes that dead processes left in a folder, each with what it says.

    A note that is incomplete was written before anything changed, and is removed.
    """
    found = []
    for note in _hidden(folder):
        if note.suffix != ".pending" or not abandoned(note.name):
            continue
        try:
            said = json.loads(note.read_text(encoding="utf-8"))
            before = said["before"]
            pending = Pending(**{**said, "before": None if before is None else tuple(before)})
        except (ValueError, TypeError, KeyError):
            with suppress(OSError):
                note.unlink()
        except OSError:
            continue
        else:
            found.append((note, pending))
    return found
