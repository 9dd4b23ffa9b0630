"""Faults around FITS files: compression, links and devices, other kinds of file, characters."""

from __future__ import annotations

import bz2
import gzip
import os
from collections.abc import Callable

from faults.making import (
    HUGE_FRAME,
    Corpus,
    announcing,
    axes,
    bomb,
    card,
    header,
    headers_only,
    link,
    locked,
    loop,
    pipe_behind,
    png,
    spans,
    unix_socket,
)


def compressed(c: Corpus) -> None:
    c.kind = "compressed and broken"
    for ending, pack in (("gz", gzip.compress), ("bz2", bz2.compress)):
        c.add(f"empty.fits.{ending}", lambda g: b"", "is empty")
        c.add(f"cut-in-header.fits.{ending}", lambda g, p=pack: p(g)[:200], "")
        c.add(
            f"cut-in-data.fits.{ending}",
            lambda g, p=pack: _cut_packed(p, g),
            "",
            seen=ending == "bz2",
        )
        c.run_only(f"flipped.fits.{ending}", lambda g, p=pack: _flipped_packed(p, g), "")
        c.harmless(f"not-packed.fits.{ending}", lambda g: g)
        c.add(f"packed-text.fits.{ending}", lambda g, p=pack: p(b"hello\n"), "is not a FITS file")
        c.run_only(f"packed-short.fits.{ending}", lambda g, p=pack: p(g[:50000]), "")
        c.add(f"packed-twice.fits.{ending}", lambda g, p=pack: p(p(g)), "is not a FITS file")
        c.add(f"garbage.fits.{ending}", lambda g: b"\x00\x01garbage" * 99, "")
        c.harmless(f"bomb-behind.fits.{ending}", lambda g, e=ending: bomb(e, g, 128))
        c.run_only(
            f"bomb-as-image.fits.{ending}",
            lambda g, e=ending: bomb(e, headers_only(HUGE_FRAME)(g), 128),
            "",
        )
        c.add(
            f"bomb-before.fits.{ending}",
            lambda g, e=ending: bomb(e, announcing(10**12)(g)[:14400], 128),
            "",
        )
    c.harmless("gz-without-ending", gzip.compress)
    c.add("tile-compressed.fits.fz", _tiled, "unpack it first (funpack)")
    c.add("cut.fits.fz", lambda g: _tiled(g)[:16000], "")


def _cut_packed(pack: Callable[[bytes], bytes], good: bytes) -> bytes:
    packed = pack(good)
    return packed[: len(packed) - 40]


def _flipped_packed(pack: Callable[[bytes], bytes], good: bytes) -> bytes:
    noise = bytearray(pack(good))
    noise[-6] ^= 0xFF  # in the checksum
    return bytes(noise)


def _tiled(good: bytes) -> bytes:
    table = header(
        "XTENSION= 'BINTABLE'", *axes(8, 8, 128), "PCOUNT  = 0", "GCOUNT  = 1", "TFIELDS = 1",
        "TTYPE1  = 'COMPRESSED_DATA'", "TFORM1  = '1PB(9)  '", "ZIMAGE  = T",
    )  # fmt: skip
    return good[: spans(good)[0]] + table + bytes(2880)


def no_files(c: Corpus) -> None:
    c.kind = "no regular file"
    device = "is a pipe, socket or device"
    c.put("empty", lambda path, good: path.touch(), "is empty")
    c.put("folder", lambda path, good: path.mkdir(), "is a folder", status=2)
    c.put("pipe", lambda path, good: os.mkfifo(path), device)
    c.put("pipe.fits.gz", lambda path, good: os.mkfifo(path), device)
    c.put("socket", unix_socket, device)
    for name in ("null", "zero", "full", "urandom", "tty", "stdin"):
        c.put(f"dev-{name}", link(f"/dev/{name}"), device)
    c.put("link-to-nothing", link("nothing.fits"), "a link to a missing file")
    c.put("link-to-itself", loop, "cannot be found")
    c.put("link-to-a-pipe", pipe_behind, device)
    c.put("link-to-a-folder", link("."), "is a folder", status=2)
    c.put("link-through-a-file", link("/dev/null/x.fits"), "")
    c.put("link-of-long-name", link("x" * 1000), "", status=2)
    c.put("no-permission", locked, "may not be read")
    c.put("proc-mem", link("/proc/self/mem"), "")


def not_fits(c: Corpus) -> None:
    c.kind = "another kind of file"
    for name, content in (
        ("text", b"not a picture\n" * 300),
        ("yaml", b"f2yaml: 1\nname: aligned\ndoc: A recipe.\nsteps: []\n"),
        ("html", b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n" * 90),
        ("hdf5", b"\x89HDF\r\n\x1a\n" + bytes(4000)),
        ("zip", b"PK\x03\x04" + bytes(4000)),
        ("elf", b"\x7fELF" + bytes(4000)),
        ("utf16", "SIMPLE  = T".encode("utf-16") * 300),
        ("byte-order-mark", b"\xef\xbb\xbfSIMPLE  =" + bytes(4000)),
        ("escapes", b"\x1b[31mred\x1b]0;title\x07\x1b[2J" * 300),
    ):
        c.add(name, lambda g, content=content: content, "is not a FITS file")
    c.add("png", png, "is not a FITS file")
    c.add("a.list", lambda g: b"one.fits\ntwo.fits\n", "is not a FITS file")
    c.add("blanks", lambda g: b" " * 5760, "is not a FITS file")


def characters(c: Corpus) -> None:
    c.kind = "characters that steer a terminal, or are no text"
    for name, text in (
        ("escape", b"\x1b]0;evil\x07"),
        ("null", b"Da\x00rk"),
        ("bell", b"\x07\x07"),
        ("newline", b"Dark\r\nNEW"),
        ("tab", b"Da\trk"),
        ("delete", b"Da\x7frk"),
    ):
        image = b"OBJECT  = '" + text.ljust(8) + b"' / target"
        c.add(f"header-{name}", card("OBJECT", image), "")
    c.add("header-c1", card("OBJECT", b"OBJECT  = '\x9b31mDark'"), "")
    c.add("header-latin1", card("OBJECT", b"OBJECT  = 'Caf\xe9    '"), "")
    c.add("header-utf8", card("OBJECT", "OBJECT  = 'Café    '".encode()), "")
    c.add("header-escape-in-keyword", card("CHA_PID", b"\x1b[31mRED= 1"), "")
    c.add("header-escape-in-comment", card("CHA_PID", b"CHA_PID = 1 / \x1b[2J"), "")
    c.add("header-escape-in-extension", card("FRMNAME", b"FRMNAME = '\x1b[31m'", 1), "")
    for name in ("escape-\x1b[31m", "newline-\n-", "bell-\x07", "c1-\x9b31m", "bytes-\udcff\udcfe"):
        c.add(f"name-{name}", lambda g: g, "")
    c.run_only("name-é-ü-ж", lambda g: g, "holds letters beyond ASCII")
    for name in ("name with blanks", "name-'quoted'\"", "name-[x]*?"):
        c.harmless(name, lambda g: g)
