"""The folder of a journal: whose it is, and files that are in it whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from f2yaml.interpreter.checkpoint import read_small
from f2yaml.interpreter.journal import FORMAT, Doc, JournalDoc, StateDoc, StateEntry
from pydantic import ValidationError

D = TypeVar("D", bound=Doc)
_DOCUMENT: Final = "journal.json"
_LOCK: Final = "lock"
_OWN: Final = re.compile(r"(planes|small|state)-[0-9]{6}|journal\.json(\.part)?")
#: Bytes of a document; 1000 frames in four streams have a tenth of it.
_LARGEST: Final = 1 << 28
#: Left free on the disk for products, beside what is to be written.
_ROOM: Final = 64 << 20


class Damaged(Exception):
    """The journal cannot be used; the text says why."""


class Busy(Exception):
    """The journal belongs to another run that is at work."""


def folder_of(outdir: Path, root: str, recipe: str) -> Path:
    """Return where the journal of a recipe on frames that begin with `root` lies."""
    plain = re.sub(r"[^A-Za-z0-9_.-]", "-", f"{root}-{recipe}")
    if plain != f"{root}-{recipe}" or len(plain) > 150:
        plain = f"{plain[:140]}-{zlib.crc32(f'{root}-{recipe}'.encode()):08x}"
    return outdir / f".f2yaml-journal-{plain}"


class Folder:
    """The folder of one journal.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = -1
        self._number = 0
        #: Files that streams still read, though no state may need them.
        self.in_use: set[str] = set()

    @property
    def claimed(self) -> bool:
        """Whether it belongs to this run."""
        return self._lock >= 0

    def exists(self) -> bool:
        """Whether there is a journal."""
        return (self.path / _DOCUMENT).exists() and not self.path.is_symlink()

    # whose it is --------------------------------------------------------------------------------
    def claim(self) -> None:
        """Make it this run's own; the system ends the claim with the process, however it ends.

        Raises
        ------
        Busy
            It is that of a run at work.
        OSError
            It cannot be made.
        """
        if self.claimed:
            return
        for _ in range(20):
            if self.path.is_symlink():
                raise OSError(errno.ELOOP, "it is a link", str(self.path))
            self.path.mkdir(exist_ok=True)
            try:
                flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
                number = os.open(self.path / _LOCK, flags, 0o666)
            except FileNotFoundError:  # removed meanwhile by the run that it belonged to
                continue
            if self._locked(number):
                self._number = max(map(_number, self._names()), default=0)
                return
        raise Busy

    def _locked(self, number: int) -> bool:
        """Lock the open file; False if it is no longer that of the folder."""
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = os.path.samestat(os.fstat(number), os.lstat(self.path / _LOCK))
        except BlockingIOError as error:
            os.close(number)
            raise Busy from error
        except FileNotFoundError:
            mine = False
        except BaseException:
            os.close(number)
            raise
        if mine:
            self._lock = number
        else:
            os.close(number)
        return mine

    def leave(self) -> None:
        """End the claim; the journal stays."""
        if self.claimed:
            os.close(self._lock)
            self._lock = -1

    def remove(self) -> None:
        """Remove the journal; what others put into the folder stays."""
        if not self.claimed:
            return
        for name in (_DOCUMENT, *self._names()):  # the document first: without it there is none
            with suppress(OSError):
                (self.path / name).unlink(missing_ok=True)
        with suppress(OSError):
            (self.path / _LOCK).unlink()
            self.path.rmdir()
        self.leave()

    def _names(self) -> list[str]:
        try:
            return [path.name for path in self.path.iterdir() if _OWN.fullmatch(path.name)]
        except OSError:
            return []

    # reading ------------------------------------------------------------------------------------
    def document(self) -> JournalDoc:
        """Return the journal.

        Raises
        ------
        Damaged
            It is damaged, or not of this format.
        """
        try:
            data = read_small(self.path, _DOCUMENT, _LARGEST)
        except (OSError, ValueError) as error:
            raise Damaged(_reason(error)) from error
        found = re.search(rb'"format":\s*([0-9]+)', data[:200])
        if found is not None and int(found[1][:9]) != FORMAT:
            raise Damaged(f"its format is {int(found[1][:9])}, this f2yaml knows {FORMAT}")
        return _parsed(JournalDoc, data, _DOCUMENT)

    def state(self, entry: StateEntry) -> StateDoc:
        """Return a state.

        Raises
        ------
        Damaged
            Its file is missing or damaged.
        """
        try:
            data = read_small(self.path, entry.file, _LARGEST)
        except (OSError, ValueError) as error:
            raise Damaged(_reason(error)) from error
        if (len(data), zlib.crc32(data)) != (entry.size, entry.sum):
            raise Damaged(f"{entry.file} is damaged")
        return _parsed(StateDoc, data, entry.file)

    # writing ------------------------------------------------------------------------------------
    def fresh(self, kind: str) -> str:
        """Return the name of a new file: planes, small or state, and a number."""
        self._number += 1
        return f"{kind}-{self._number:06d}"

    def room(self, size: int) -> None:
        """Raise `OSError` if the disk has no room for `size` bytes and the products."""
        if shutil.disk_usage(self.path).free < size + _ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def write_state(self, state: StateDoc) -> tuple[str, int, int]:
        """Write a state; returns its file, size and checksum."""
        data = _text(state)
        name = self.fresh("state")
        self._write(name, data)
        return name, len(data), zlib.crc32(data)

    def write_document(self, document: JournalDoc) -> None:
        """Replace the journal, then remove files that no state needs."""
        part = f"{_DOCUMENT}.part"
        (self.path / part).unlink(missing_ok=True)
        self._write(part, _text(document))
        self._sync()  # the files it names are in the folder before it is
        (self.path / part).replace(self.path / _DOCUMENT)
        self._sync()
        needed = {name for entry in document.states for name in (entry.file, *entry.needs)}
        self.discard(set(self._names()) - needed - self.in_use - {_DOCUMENT})

    def discard(self, names: Iterable[str]) -> None:
        """Remove files."""
        for name in names:
            with suppress(OSError):
                (self.path / name).unlink(missing_ok=True)

    def _write(self, name: str, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(self.path / name, flags, 0o666), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def _sync(self) -> None:
        number = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _number(name: str) -> int:
    end = name.rpartition("-")[2]
    return int(end) if end.isdigit() else 0


def _text(document: Doc) -> bytes:
    """Return a document as JSON.

    Pydantic would do it, but loses an interrupt (Ctrl-C) that comes while it does.
    """

    def plain(value: Any) -> Any:
        if isinstance(value, Doc):
            return value.__dict__
        if is_dataclass(value):
            return {field.name: getattr(value, field.name) for field in fields(value)}
        if hasattr(value, "item"):
            return value.item()  # a number of numpy
        raise TypeError(f"{type(value).__name__} in a journal")

    return json.dumps(document, default=plain).encode()


def _parsed(kind: type[D], data: bytes, name: str) -> D:
    try:
        return kind.model_validate_json(data, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))[:80]
        raise Damaged(f"{name}: {first['msg'][:120]}{f' ({where})' if where else ''}") from error
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{name}: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) else str(error)
    return (text or type(error).__name__).splitlines()[0][:200]
