"""The calibration database: one small SQLite table, shared by several processes.

Each row is one processed calibration: where it lies, how to see that it changed, and the match
keys that `f2yaml.interpreter.association` compares. Rows are written in immediate transactions
on a write-ahead log, so readers never wait and writers queue. A file that is not one of ours is
named as such and never written to (spec: instrument, 5.3; cli, 5).
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, TypeAlias

from f2yaml.interpreter.association import instrument_of, keys_of, processed_type
from f2yaml.interpreter.config import database_file
from f2yaml.interpreter.dbfile import (
    begin,
    check_file,
    connect,
    damaged,
    make,
    publish,
    translate,
)
from f2yaml.interpreter.errors import BadInput, CalibrationDatabaseError, NotSupported
from f2yaml.interpreter.f2.tags import tags_of
from f2yaml.interpreter.headerio import read_headers
from f2yaml.interpreter.leftovers import aside, identity, sweep

State: TypeAlias = Literal["present", "missing", "altered"]

_TIMEOUT_S: Final = 30.0
#: Age of a change from which on a checksum is remembered.
_SETTLED_NS: Final = 2_000_000_000
_CHECKSUMS: Final[dict[tuple[Path, int, int, int], str]] = {}

_COLUMNS: Final = "path, name, size, mtime_ns, sha256, type, time, keys, mode, origin, entered"
_INSERT: Final = f"""
INSERT INTO calibration ({_COLUMNS})
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (path) DO UPDATE SET
    name = excluded.name, size = excluded.size, mtime_ns = excluded.mtime_ns,
    sha256 = excluded.sha256, type = excluded.type, time = excluded.time, keys = excluded.keys,
    mode = excluded.mode, origin = excluded.origin, entered = excluded.entered
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One calibration of a database.

    `path` is absolute; `time` (start of the first frame) and `entered` are ISO 8601 in UTC;
    `keys` are the match keys of `association.keys_of`.
    """

    path: Path
    name: str
    size: int
    mtime_ns: int
    sha256: str
    type: str
    time: str | None
    mode: str
    origin: str
    entered: str
    keys: dict[str, object] = field(hash=False)

    def state(self) -> State:
        """Return whether the file is still there and still the one that was added.

        The content is read only when size or time of change differ.
        """
        try:
            status = self.path.stat()
        except OSError:  # deleted, or in a folder that can no longer be entered
            return "missing"
        if status.st_size != self.size:
            return "altered"
        if status.st_mtime_ns == self.mtime_ns:
            return "present"
        try:
            return "present" if _checksum_of(self.path, status) == self.sha256 else "altered"
        except OSError:
            return "missing"


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _checksum_of(path: Path, status: os.stat_result) -> str:
    """Return the checksum of a file that is asked for once for each frame, read but once.

    A file that was changed a moment ago is read again: it may change once more within the
    resolution of the file system's clock.
    """
    key = (path, status.st_ino, status.st_size, status.st_mtime_ns)
    if key not in _CHECKSUMS:
        found = checksum(path)
        if time.time_ns() - status.st_mtime_ns < _SETTLED_NS:
            return found
        _CHECKSUMS[key] = found
    return _CHECKSUMS[key]


def read_product(file: Path, *, origin: str, force: bool = False) -> Entry:
    """Return the entry a file would get, from its headers.

    Parameters
    ----------
    file : Path
    origin : str
        What enters it, for the record.
    force : bool
        Take raw files and other instruments too; no frame is ever given one of those.

    Raises
    ------
    BadInput
        The file cannot be read.
    NotSupported
        It is not a processed F2 calibration, and `force` is off.
    """
    headers = read_headers(file)
    instrument = instrument_of(headers)
    tags = tags_of(headers.phu) if instrument == "F2" else frozenset[str]()
    caltype = processed_type(tags)
    if caltype is None and not force:
        raise _not_a_calibration(file, instrument, tags)
    keys = keys_of(headers)
    taken = keys.get("ut_datetime")
    path = file.parent.resolve() / file.name
    try:
        status = path.stat()
        digest = checksum(path)
    except OSError as error:
        raise BadInput(
            f"{file} cannot be read: {error.strerror}",
            "its checksum is recorded with it",
            "check that the file exists and may be read",
        ) from error
    return Entry(
        path=path,
        name=path.name,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        sha256=digest,
        type=caltype or "other",
        time=taken if isinstance(taken, str) else None,
        mode=str(keys.get("processing", "")),
        origin=origin,
        entered=datetime.now(UTC).isoformat(timespec="microseconds"),
        keys=keys,
    )


def _not_a_calibration(file: Path, instrument: str, tags: frozenset[str]) -> NotSupported:
    if instrument != "F2":
        what = f"{file} is a file of {instrument or 'an unknown instrument'}, not of F2"
    elif "RAW" in tags:
        what = f"{file} is a raw file, not a processed calibration"
    else:
        what = f"{file} is not a processed dark, flat or bad-pixel mask"
    return NotSupported(
        what,
        "only processed F2 calibrations are given to frames"
        + (f"; its tags are {' '.join(sorted(tags))}" if tags else ""),
        "reduce raw files first (`f2yaml run`), or add it all the same with --force",
    )


class CalibrationDatabase:
    """A calibration database on disk; connections live only as long as one operation.

    Parameters
    ----------
    path : Path
        The database file (not a folder; see `database_file`).
    timeout_s : float
        How long to wait for another process that is writing [s].
    """

    def __init__(self, path: Path, *, timeout_s: float = _TIMEOUT_S) -> None:
        self.path = path.parent.resolve() / path.name
        self.timeout_s = timeout_s

    @classmethod
    def create(cls, path: Path | str, *, timeout_s: float = _TIMEOUT_S) -> CalibrationDatabase:
        """Make a database, or open the one that is there; contents are kept.

        The file is made aside and then linked to its name, so that a half-made database is
        never seen and of several processes exactly one makes it.

        Raises
        ------
        CalibrationDatabaseError
            The folder cannot be written, or another kind of file has that name.
        """
        database = cls(database_file(path), timeout_s=timeout_s)
        sweep(database.path.parent)
        if not database.path.exists():
            unique = database.path.with_name(f"{database.path.name}.{uuid.uuid4().hex[:8]}")
            made = aside(unique)
            try:
                database.path.parent.mkdir(parents=True, exist_ok=True)
                made.touch(exist_ok=False)  # fails with a plainer reason than SQLite's
                make(made)
                publish(made, database.path)
            except (OSError, sqlite3.Error) as error:
                raise CalibrationDatabaseError(
                    f"calibration database {database.path} cannot be made: {error}",
                    "processed calibrations are registered in it",
                    "check the folder and your permission to write in it, or give another (-d)",
                ) from error
            finally:
                with suppress(OSError):  # such as a folder that is none
                    made.unlink()
        return cls.open(database.path, timeout_s=timeout_s)

    @classmethod
    def open(cls, path: Path | str, *, timeout_s: float = _TIMEOUT_S) -> CalibrationDatabase:
        """Open an existing database after checking that it is one of ours and undamaged.

        Raises
        ------
        CalibrationDatabaseError
            It does not exist, is damaged, is locked, or was made by another program.
        """
        database = cls(database_file(path), timeout_s=timeout_s)
        with database._connection(write=False) as connection:
            faults = [str(row[0]) for row in connection.execute("PRAGMA quick_check(1)")]
            connection.execute(f"SELECT {_COLUMNS} FROM calibration LIMIT 1")
        if faults != ["ok"]:
            raise damaged(database.path, faults[0])
        return database

    def require_writable(self) -> None:
        """Raise CalibrationDatabaseError unless calibrations can be added."""
        with self._connection(write=True) as connection:
            connection.execute("DELETE FROM calibration WHERE id IS NULL")  # deletes nothing

    def add(self, file: Path, *, origin: str = "caldb add", force: bool = False) -> Entry:
        """Add a processed calibration, or renew its entry, and return it.

        Raises
        ------
        BadInput, NotSupported
            As `read_product`.
        CalibrationDatabaseError
            The database cannot be written.
        """
        return register(file, [self], origin=origin, force=force)

    def enter(self, entry: Entry) -> None:
        """Write an entry; one of the same path is replaced."""
        row = (
            self._stored(entry.path), entry.name, entry.size, entry.mtime_ns, entry.sha256,
            entry.type, entry.time, json.dumps(entry.keys, sort_keys=True), entry.mode,
            entry.origin, entry.entered,
        )  # fmt: skip
        try:
            with self._connection(write=True) as connection:
                connection.execute(_INSERT, row)
        except UnicodeEncodeError as error:
            raise BadInput(
                f"the name of {os.fsencode(entry.path)!r} is not valid UTF-8",
                "the database cannot hold such a name",
                "rename the file or its folder",
            ) from error

    def remove(self, name: str) -> list[Path]:
        """Forget the files of this base name, wherever they lie, and return their paths.

        The files themselves are kept. The list is empty when the name is unknown.
        """
        with self._connection(write=True) as connection:
            rows = connection.execute(
                "DELETE FROM calibration WHERE name = ? RETURNING path", (name,)
            ).fetchall()
        return sorted(self._absolute(row[0]) for row in rows)

    def wipe(self) -> int:
        """Forget all files and return how many there were."""
        with self._connection(write=True) as connection:
            return connection.execute("DELETE FROM calibration").rowcount

    def entries(self, caltype: str | None = None) -> list[Entry]:
        """Return the entries, newest observation first, then latest entry."""
        with self._connection(write=False) as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM calibration WHERE ?1 IS NULL OR type = ?1 "
                "ORDER BY time IS NULL, time DESC, entered DESC, id DESC",
                (caltype,),
            ).fetchall()
        return [self._entry(row) for row in rows]

    def candidates(self, caltype: str) -> list[Entry]:
        """Return the calibrations of one type, latest entry first."""
        return sorted(self.entries(caltype), key=lambda entry: entry.entered, reverse=True)

    def _stored(self, path: Path) -> str:
        """Return a path relative to the database's folder if below it, so that both may move."""
        folder = self.path.parent
        return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)

    def _absolute(self, stored: str) -> Path:
        return self.path.parent / stored

    def _entry(self, row: tuple[object, ...]) -> Entry:
        path, name, size, mtime_ns, digest, caltype, taken, keys, mode, origin, entered = row
        try:
            parsed = json.loads(str(keys))
            if not isinstance(parsed, dict):
                raise ValueError("they are no mapping")
        except ValueError as error:
            raise damaged(self.path, f"the match keys of {name} are unreadable") from error
        return Entry(
            path=self._absolute(str(path)),
            name=str(name),
            size=int(str(size)),
            mtime_ns=int(str(mtime_ns)),
            sha256=str(digest),
            type=str(caltype),
            time=None if taken is None else str(taken),
            mode=str(mode),
            origin=str(origin),
            entered=str(entered),
            keys=parsed,
        )

    @contextmanager
    def _connection(self, *, write: bool) -> Iterator[sqlite3.Connection]:
        """Yield a connection inside one transaction, committed if nothing is raised."""
        check_file(self.path)
        try:
            with closing(connect(self.path)) as connection:
                begin(connection, self.path, self.timeout_s, write=write)
                yield connection
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise translate(error, self.path, self.timeout_s, write=write) from error
        except UnicodeDecodeError as error:  # in what SQLite quotes from it
            raise damaged(self.path, "it holds text that is not UTF-8") from error


def register(
    file: Path,
    databases: Sequence[CalibrationDatabase],
    *,
    origin: str,
    force: bool = False,
    check: Callable[[Entry], None] = lambda entry: None,
) -> Entry:
    """Enter a file in databases as it is, also if another process replaces it meanwhile.

    Whoever enters a file looks at it again afterwards: the last to do so enters the last content.

    Parameters
    ----------
    file : Path
    databases : sequence of CalibrationDatabase
    origin, force
        As in `read_product`.
    check : callable
        Raises if the entry is not what it should be; nothing is entered then.

    Raises
    ------
    BadInput, NotSupported, CalibrationDatabaseError
        As `CalibrationDatabase.add`.
    """
    while True:
        seen = identity(file)
        entry = read_product(file, origin=origin, force=force)
        check(entry)
        for database in databases:
            database.enter(entry)
        if identity(file) == seen:
            return entry
