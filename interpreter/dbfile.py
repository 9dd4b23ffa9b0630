"""The file of a calibration database: made, opened, waited for, and its faults named.

A file that is not one of ours is named as such and never written to.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from f2yaml.interpreter.errors import CalibrationDatabaseError
from f2yaml.interpreter.terminal import printable

LAYOUT: Final = 1
_MAGIC: Final = b"SQLite format 3\x00"
_APPLICATION: Final = int.from_bytes(b"F2YC", "big")
#: Silence while another process writes; what takes longer is told.
_SILENT_S: Final = 2.0
#: The bytes of an SQLite file, and of its index of the write-ahead log, that locks are put on.
_LOCK_BYTES: Final = (0x40000000, 120)

_TABLE: Final = """
CREATE TABLE calibration (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    path TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    type TEXT NOT NULL,
    time TEXT,
    keys TEXT NOT NULL,
    mode TEXT NOT NULL,
    origin TEXT NOT NULL,
    entered TEXT NOT NULL
) STRICT
"""


def connect(path: Path) -> sqlite3.Connection:
    """Connect to an existing file, in a folder that may be read-only.

    A write-ahead log wants to make files beside the database. Where that is not allowed and no
    log is there to be read, nobody can be writing and the file is read as it stands.
    """
    effective = os.access in os.supports_effective_ids
    writable = os.access(path.parent, os.W_OK, effective_ids=effective)
    frozen = not writable and not path.with_name(path.name + "-wal").exists()
    options = "mode=ro&immutable=1" if frozen else "mode=rw"
    return sqlite3.connect(
        f"file:{quote(os.fsencode(path))}?{options}", uri=True, isolation_level=None
    )


def begin(connection: sqlite3.Connection, path: Path, timeout_s: float, *, write: bool) -> None:
    """Start a transaction, waiting for other processes; a wait that is felt is told of.

    Of ours only writers wait. A reader waits where a program keeps the whole file to itself.
    """
    stages = (_SILENT_S, timeout_s - _SILENT_S) if timeout_s > _SILENT_S else (timeout_s,)
    for number, wait_s in enumerate(stages, 1):
        connection.execute(f"PRAGMA busy_timeout = {round(1000 * wait_s)}")
        try:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if number == len(stages) or not _busy(error):
                raise
            told = f"waiting for up to {timeout_s:g} s: {_locked(path)}"
            print(printable(told), file=sys.stderr, flush=True)
        else:
            return


def _busy(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _locked(path: Path) -> str:
    """Return that a database is locked, and by which processes where the system tells."""
    holders = sorted(_holders(path))
    who = f" ({', '.join(map(str, holders))})" if holders else ""
    return f"calibration database {path} is locked by another process{who}"


def _holders(path: Path) -> set[int]:
    """Return the processes of this machine that keep others from writing, as Linux lists them.

    A line reads ``1: POSIX  ADVISORY  WRITE 1234 fe:01:5678 120 120``.
    """
    nodes = set()
    for file in (path, path.with_name(path.name + "-shm")):
        with suppress(OSError):
            nodes.add(str(file.stat().st_ino))
    try:
        lines = Path("/proc/locks").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    found = set()
    for line in lines:
        words = line.split()
        if len(words) == 8 and words[3] == "WRITE" and words[5].rpartition(":")[2] in nodes:
            first, last = int(words[6]), words[7]
            if any(first <= b and (last == "EOF" or b <= int(last)) for b in _LOCK_BYTES):
                found.add(int(words[4]))
    return found - {0, -1, os.getpid()}


def make(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        connection.execute(f"PRAGMA user_version = {LAYOUT}")
        connection.execute(_TABLE)
        connection.execute("PRAGMA journal_mode = WAL")


def publish(made: Path, path: Path) -> None:
    """Give a finished file its name, unless another process was faster."""
    try:
        path.hardlink_to(made)
    except FileExistsError:
        return
    except OSError:  # a file system without hard links
        if not path.exists():
            made.rename(path)


def check_file(path: Path) -> None:
    """Refuse what is not a database of ours before SQLite may write to it."""
    try:
        with path.open("rb") as stream:
            start = stream.read(100)
    except FileNotFoundError as error:
        raise CalibrationDatabaseError(
            f"Unable to find calibration database file {path}",
            "calibrations are looked up and registered in it",
            "make it with `f2yaml caldb init`, or correct the path (configuration, -d)",
        ) from error
    except OSError as error:
        raise CalibrationDatabaseError(
            f"calibration database {path} cannot be read: {error.strerror}",
            "calibrations are looked up in it",
            "check the path and your permission to read it",
        ) from error
    if len(start) < 100 or not start.startswith(_MAGIC):
        kind = "is empty" if not start else "is not an SQLite database, or its beginning is damaged"
        raise _foreign(path, kind)
    if int.from_bytes(start[68:72], "big") != _APPLICATION:
        raise _foreign(path, f"is a database of {_maker(path)}")
    layout = int.from_bytes(start[60:64], "big")
    if layout != LAYOUT:
        raise CalibrationDatabaseError(
            f"calibration database {path} has layout {layout}, this f2yaml knows {LAYOUT}",
            "it was made by another version of f2yaml",
            "use that version, or another database (-d) and `f2yaml caldb add` the files again",
        )


def _maker(path: Path) -> str:
    """Name the program that made a foreign SQLite file, by the tables it holds."""
    try:
        uri = f"file:{quote(os.fsencode(path))}?mode=ro&immutable=1"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            found = connection.execute(
                "SELECT count(*) FROM sqlite_master WHERE name IN ('diskfile', 'fulltextheader')"
            ).fetchone()
    except sqlite3.Error:  # damaged as well as foreign: nothing more to learn
        return "another program"
    return "DRAGONS" if found[0] == 2 else "another program"


def _foreign(path: Path, kind: str) -> CalibrationDatabaseError:
    return CalibrationDatabaseError(
        f"{path} {kind}; it is not a calibration database of f2yaml",
        "it is left as it is: what it holds may be needed",
        "give another file (-d FILE, or the configuration) or move this one away, then "
        "`f2yaml caldb init` and `f2yaml caldb add`",
    )


def damaged(path: Path, detail: str) -> CalibrationDatabaseError:
    return CalibrationDatabaseError(
        f"calibration database {path} is damaged: {detail}",
        "calibrations chosen from it could be the wrong ones; it is left as it is",
        "move it away, then `f2yaml caldb init` and `f2yaml caldb add -k calibrations`: "
        "the calibrations themselves are files of their own",
    )


def translate(
    error: sqlite3.Error, path: Path, timeout_s: float, *, write: bool
) -> CalibrationDatabaseError:
    """Return what an error of SQLite means to the user."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if _busy(error):
        return CalibrationDatabaseError(
            _locked(path),
            f"it was still locked after {timeout_s:g} s",
            "wait for the other process to finish, or end it",
        )
    spoilt = code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    if spoilt or any(words in str(error) for words in ("no such", "Could not decode")):
        return damaged(path, str(error))
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN):
        verb = "written" if write else "opened"
        return CalibrationDatabaseError(
            f"calibration database {path} cannot be {verb}: {error}",
            "the file or its folder is read-only",
            "ask for permission to write there, or store in another database (configuration, -d)",
        )
    return CalibrationDatabaseError(
        f"calibration database {path} fails: {error}",
        "the disk may be full or the file system may not support locks",
        "check the disk; a database belongs on a local one",
    )
