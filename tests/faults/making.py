"""Broken files: what each is, and the ways to make them out of good ones."""

from __future__ import annotations

import bz2
import gzip
import os
import socket
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

BLOCK, CARD = 2880, 80

Make = Callable[[bytes], bytes]
Place = Callable[[Path, bytes], None]


@dataclass(frozen=True)
class Fault:
    """A broken file.

    Parameters
    ----------
    kind, name : str
        Row of the table; name of the file.
    make : callable
        Writes the file, given its path and the bytes of a good one.
    words : str
        What the message says of it; of a run where `seen` is false. Empty where a run succeeds.
    seen : bool
        The inspection commands, which read headers only, report it, too.
    status : int
        Exit status of a run that has it among its inputs. 0: the fault cannot be known from the
        file, or does no harm to the product.
    frame : str
        ``dark`` or ``science``: the good file it was made of, and the recipe it is run with.
    """

    kind: str
    name: str
    make: Place
    words: str
    seen: bool = True
    status: int = 1
    frame: str = "dark"


# bytes ---------------------------------------------------------------------------------------
def header_end(content: bytes, start: int = 0) -> int:
    """Return where the header that begins at `start` ends, padding included."""
    at = start
    while content[at : at + 8] != b"END     ":
        at += CARD
    return start + -(-(at + CARD - start) // BLOCK) * BLOCK


def spans(content: bytes) -> tuple[int, int]:
    """Return where the extension begins, and where its data do."""
    first = header_end(content)
    return first, header_end(content, first)


def card_at(content: bytes, key: str, hdu: int) -> int:
    extension, data = spans(content)
    start, stop = ((0, extension), (extension, data))[hdu]
    for at in range(start, stop, CARD):
        if content[at : at + 8] == f"{key:8s}".encode():
            return at
    raise KeyError(key)


def card(key: str, text: str | bytes | None, hdu: int = 0, *, instead: str = "") -> Make:
    """Put another card in the place of one; None leaves a blank card."""
    image = text.encode("latin-1") if isinstance(text, str) else (text or b"")

    def make(content: bytes) -> bytes:
        at = card_at(content, instead or key, hdu)
        return content[:at] + image.ljust(CARD)[:CARD] + content[at + CARD :]

    return make


def value(key: str, text: str, hdu: int = 0, *, instead: str = "") -> Make:
    """Give a keyword another value, as it is written in a card."""
    return card(key, f"{key:8s}= {text:>20s}", hdu, instead=instead)


def both(*makes: Make) -> Make:
    """Make several changes."""

    def make(content: bytes) -> bytes:
        for change in makes:
            content = change(content)
        return content

    return make


def patched(offset: int, new: bytes, *, data: bool = False) -> Make:
    """Write bytes over those at an offset, of the file or of its data."""

    def make(content: bytes) -> bytes:
        at = offset + (spans(content)[1] if data else 0)
        return content[:at] + new + content[at + len(new) :]

    return make


def pixels(bitpix: int, width: int, bits: bytes) -> Make:
    """Fill the data with one value of another type."""

    def make(content: bytes) -> bytes:
        changed = value("BITPIX", str(bitpix), 1)(content)
        size = 128 * 128 * width
        return changed[: spans(changed)[1]] + bits * (128 * 128) + bytes(-size % BLOCK)

    return make


def as_floats(content: bytes) -> bytes:
    """Return the file with its counts in 32-bit floating point."""
    changed = value("BITPIX", "-32", 1)(content)
    start = spans(changed)[1]
    counts = np.frombuffer(changed, ">i4", 128 * 128, start).astype(">f4").tobytes()
    return changed[:start] + counts + changed[start + len(counts) :]


def header(*cards: str) -> bytes:
    """Return a header of these cards."""
    text = "".join(f"{c:80s}" for c in (*cards, "END"))
    return text.encode().ljust(-(-len(text) // BLOCK) * BLOCK)


def image(name: str = "", size: int = 8) -> bytes:
    """Return a small image extension."""
    named = [f"EXTNAME = '{name:8s}'"] if name else []
    return header(
        "XTENSION= 'IMAGE   '", *axes(32, size, size), "PCOUNT  = 0", "GCOUNT  = 1", *named
    ) + bytes(-(-4 * size * size // BLOCK) * BLOCK)


def axes(bitpix: int, *axes: int) -> list[str]:
    lengths = [f"{f'NAXIS{n}':8s}= {axis:20d}" for n, axis in enumerate(axes, 1)]
    return [f"BITPIX  = {bitpix:20d}", f"NAXIS   = {len(axes):20d}", *lengths]


def named(extname: str, extra: bytes = b"") -> Make:
    """Give the extension a name, and put others behind it."""
    return both(
        card("EXTNAME", f"EXTNAME = '{extname}'", 1, instead="AMPDAC32"), lambda c: c + extra
    )


@cache
def _zeros(opener: str) -> bytes:
    """Return 64 MiB of zeros, compressed; such pieces can be put one behind the other."""
    data = bytes(64 << 20)
    return bz2.compress(data, 9) if opener == "bz2" else gzip.compress(data, 9)


def bomb(opener: str, content: bytes, pieces: int) -> bytes:
    pack = bz2.compress if opener == "bz2" else gzip.compress
    return pack(content) + _zeros(opener) * pieces


HUGE_FRAME = both(value("NAXIS1", "40000", 1), value("NAXIS2", "40000", 1))


def headers_only(change: Make) -> Make:
    def make(content: bytes) -> bytes:
        changed = change(content)
        return changed[: spans(changed)[1]]

    return make


def announcing(size: int) -> Make:
    """Let the primary header announce data, which the extension is behind."""
    return both(value("NAXIS", "1"), card("NAXIS1", f"NAXIS1  = {size:20d}", instead="EXTEND"))


def long_header(cards: int) -> Make:
    def make(content: bytes) -> bytes:
        at = card_at(content, "END", 0)
        filler = b"".join(b"COMMENT filler %-65d" % n for n in range(cards))
        head = content[:at] + filler + b"END".ljust(CARD)
        return head.ljust(-(-len(head) // BLOCK) * BLOCK) + content[header_end(content) :]

    return make


def png(content: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    pieces = (
        (b"IHDR", struct.pack(">2I5B", 1, 1, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0\xff")),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*piece) for piece in pieces)


# files ---------------------------------------------------------------------------------------
def written(make: Make) -> Place:
    return lambda path, good: _write(path, make(good))


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def link(target: str) -> Place:
    return lambda path, good: path.symlink_to(target)


def loop(path: Path, good: bytes) -> None:
    other = path.with_name(f".{path.name}.other")
    path.symlink_to(other.name)
    other.symlink_to(path.name)


def pipe_behind(path: Path, good: bytes) -> None:
    other = path.with_name(f".{path.name}.pipe")
    os.mkfifo(other)
    path.symlink_to(other.name)


def unix_socket(path: Path, good: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = Path.cwd()
        os.chdir(path.parent)  # the names of sockets are short
        try:
            made.bind(path.name)
        finally:
            os.chdir(here)


def locked(path: Path, good: bytes) -> None:
    path.write_bytes(good)
    path.chmod(0)


def sparse(make: Make, size: int) -> Place:
    def place(path: Path, good: bytes) -> None:
        path.write_bytes(make(good))
        os.truncate(path, size)

    return place


class Corpus:
    """Faults in the order in which they were added; files are numbered."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.kind = ""

    def put(self, name: str, place: Place, words: str = "", **more: object) -> None:
        number = f"f{len(self.faults) + 1:03d}-"
        ending = "" if "." in name else ".fits"
        fault = Fault(self.kind, f"{number}{name}{ending}", place, words, **more)  # type: ignore[arg-type]
        self.faults.append(fault)

    def add(self, name: str, make: Make, words: str = "", **more: object) -> None:
        self.put(name, written(make), words, **more)

    def run_only(self, name: str, make: Make, words: str = "", **more: object) -> None:
        """Add what only a run can find: the headers can be read."""
        self.put(name, written(make), words, seen=False, **more)

    def harmless(self, name: str, make: Make, **more: object) -> None:
        """Add what no program can know, or what does no harm."""
        self.put(name, written(make), "", seen=False, status=0, **more)
