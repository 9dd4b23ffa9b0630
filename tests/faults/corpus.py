"""More than a hundred files that are broken, each in its own way, and what f2yaml does with them.

``python tests/faults/corpus.py --table`` prints the table of docs/faults.md. What a run says of
each file stands in messages.txt.
"""

from __future__ import annotations

import argparse
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

BLOCK, CARD = 2880, 80

#: Three darks and three exposures of a detector as small as the simulator makes.
SCENARIO = """\
f2yaml: 1
kind: scenario
name: faults
doc: Three darks and three exposures of a detector of 128 x 128 pixels.
seed: 64
detector: {nx: 128, ny: 128, dust_spots: 0}
target: {ra_deg: 105.0, dec_deg: -30.0, stars: 5, galaxies: 0, bright_mag: 12.5}
sky: {level_e_s: 800.0, thermal_e_s: 150.0}
science:
  - files: S20200104S0075-077
    filter: K-red
    exposure_s: 5.0
    start_ut: 04:00:00
    program: GS-2020A-Q-101
    observation: 7
    offsets_pq_arcsec: [[0.0, 0.0], [-1.0, -1.0], [1.0, 0.0]]
darks:
  - {files: S20200107S0049-051, exposure_s: 5.0, start_ut: 14:10:00, observation: 2}
"""

#: Raw exposures to calibrated ones whose positions are taken from their headers.
RECIPE = """\
f2yaml: 1
name: aligned
doc: Frames in electrons, aligned by their headers.
applies_to:
  all: [{tags: [F2, IMAGE]}, {not: {tags: [CAL]}}, {same: [filter_name, read_mode]}]
steps:
  - {include: base/standard.yaml}
  - {do: adjustWCSToReference, with: {method: offsets}}
outputs:
  main: {suffix: _aligned}
"""

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
def _header_end(content: bytes, start: int = 0) -> int:
    """Return where the header that begins at `start` ends, padding included."""
    at = start
    while content[at : at + 8] != b"END     ":
        at += CARD
    return start + -(-(at + CARD - start) // BLOCK) * BLOCK


def _spans(content: bytes) -> tuple[int, int]:
    """Return where the extension begins, and where its data do."""
    first = _header_end(content)
    return first, _header_end(content, first)


def _card_at(content: bytes, key: str, hdu: int) -> int:
    extension, data = _spans(content)
    start, stop = ((0, extension), (extension, data))[hdu]
    for at in range(start, stop, CARD):
        if content[at : at + 8] == f"{key:8s}".encode():
            return at
    raise KeyError(key)


def card(key: str, text: str | bytes | None, hdu: int = 0, *, instead: str = "") -> Make:
    """Put another card in the place of one; None leaves a blank card."""
    image = text.encode("latin-1") if isinstance(text, str) else (text or b"")

    def make(content: bytes) -> bytes:
        at = _card_at(content, instead or key, hdu)
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
        at = offset + (_spans(content)[1] if data else 0)
        return content[:at] + new + content[at + len(new) :]

    return make


def pixels(bitpix: int, width: int, bits: bytes) -> Make:
    """Fill the data with one value of another type."""

    def make(content: bytes) -> bytes:
        changed = value("BITPIX", str(bitpix), 1)(content)
        size = 128 * 128 * width
        return changed[: _spans(changed)[1]] + bits * (128 * 128) + bytes(-size % BLOCK)

    return make


def header(*cards: str) -> bytes:
    """Return a header of these cards."""
    text = "".join(f"{c:80s}" for c in (*cards, "END"))
    return text.encode().ljust(-(-len(text) // BLOCK) * BLOCK)


def image(name: str = "", size: int = 8) -> bytes:
    """Return a small image extension."""
    named = [f"EXTNAME = '{name:8s}'"] if name else []
    return header(
        "XTENSION= 'IMAGE   '", *_axes(32, size, size), "PCOUNT  = 0", "GCOUNT  = 1", *named
    ) + bytes(-(-4 * size * size // BLOCK) * BLOCK)


def _axes(bitpix: int, *axes: int) -> list[str]:
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


def _bomb(opener: str, content: bytes, pieces: int) -> bytes:
    pack = bz2.compress if opener == "bz2" else gzip.compress
    return pack(content) + _zeros(opener) * pieces


_HUGE_FRAME = both(value("NAXIS1", "40000", 1), value("NAXIS2", "40000", 1))


def _headers_only(change: Make) -> Make:
    def make(content: bytes) -> bytes:
        changed = change(content)
        return changed[: _spans(changed)[1]]

    return make


def _announcing(size: int) -> Make:
    """Let the primary header announce data, which the extension is behind."""
    return both(value("NAXIS", "1"), card("NAXIS1", f"NAXIS1  = {size:20d}", instead="EXTEND"))


def _long_header(cards: int) -> Make:
    def make(content: bytes) -> bytes:
        at = _card_at(content, "END", 0)
        filler = b"".join(b"COMMENT filler %-65d" % n for n in range(cards))
        head = content[:at] + filler + b"END".ljust(CARD)
        return head.ljust(-(-len(head) // BLOCK) * BLOCK) + content[_header_end(content) :]

    return make


def _png(content: bytes) -> bytes:
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
def _written(make: Make) -> Place:
    return lambda path, good: _write(path, make(good))


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _link(target: str) -> Place:
    return lambda path, good: path.symlink_to(target)


def _loop(path: Path, good: bytes) -> None:
    other = path.with_name(f".{path.name}.other")
    path.symlink_to(other.name)
    other.symlink_to(path.name)


def _pipe_behind(path: Path, good: bytes) -> None:
    other = path.with_name(f".{path.name}.pipe")
    os.mkfifo(other)
    path.symlink_to(other.name)


def _socket(path: Path, good: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = Path.cwd()
        os.chdir(path.parent)  # the names of sockets are short
        try:
            made.bind(path.name)
        finally:
            os.chdir(here)


def _locked(path: Path, good: bytes) -> None:
    path.write_bytes(good)
    path.chmod(0)


def _sparse(make: Make, size: int) -> Place:
    def place(path: Path, good: bytes) -> None:
        path.write_bytes(make(good))
        os.truncate(path, size)

    return place


# the corpus ----------------------------------------------------------------------------------
class _Corpus:
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
        self.put(name, _written(make), words, **more)

    def run_only(self, name: str, make: Make, words: str = "", **more: object) -> None:
        """Add what only a run can find: the headers can be read."""
        self.put(name, _written(make), words, seen=False, **more)

    def harmless(self, name: str, make: Make, **more: object) -> None:
        """Add what no program can know, or what does no harm."""
        self.put(name, _written(make), "", seen=False, status=0, **more)


def _cut_off(c: _Corpus) -> None:
    c.kind = "cut off"
    inside, cut = "ends inside the primary header", "ends inside the header of an extension"
    for name, size in (("one-byte", 1), ("in-first-card", 40), ("after-a-card", 80)):
        c.add(f"cut-{name}", lambda g, n=size: g[:n], "is not a FITS file" if size < 9 else inside)
    c.add("cut-in-header", lambda g: g[:7000], inside)
    c.add("cut-between-blocks", lambda g: g[:5760], inside)
    c.add("cut-before-header-padding", lambda g: g[: _card_at(g, "END", 0) + 80], inside)
    c.add("cut-header-short-by-one", lambda g: g[: _spans(g)[0] - 1], inside)
    c.add("cut-after-header", lambda g: g[: _spans(g)[0]], "has no image extension")
    c.add("cut-in-word-xtension", lambda g: g[: _spans(g)[0] + 4], "has no image extension")
    c.add("cut-in-extension-header", lambda g: g[: _spans(g)[0] + 1000], cut)
    c.add("cut-between-extension-blocks", lambda g: g[: _spans(g)[0] + 2880], cut)
    c.add("cut-extension-header-by-one", lambda g: g[: _spans(g)[1] - 1], cut)
    for name, size in (
        ("before-data", 0),
        ("after-one-byte", 1),
        ("after-a-row", 512),
        ("in-data", 30001),
        ("at-a-block", 2880 * 10),
        ("data-short-by-one", 65535),
    ):
        c.run_only(f"cut-{name}", lambda g, n=size: g[: _spans(g)[1] + n], "it is truncated: ")
    c.harmless("cut-in-padding", lambda g: g[:-100])
    c.add("cut-front", lambda g: g[2880:], "is not a FITS file")
    c.add("cut-middle", lambda g: g[:2880] + g[5760:14400] + g[17280:], "")


def _flipped(c: _Corpus) -> None:
    c.kind = "flipped bits and bytes"
    c.add("flip-first-byte", patched(0, b"\xd3"), "is not a FITS file")
    c.add("flip-simple", patched(0, b"TIMPLE"), "is not a FITS file")
    c.add("flip-simple-to-false", card("SIMPLE", f"SIMPLE  = {'F':>20s}"), "")
    c.add("flip-keyword", patched(80 * 20 + 1, b"\xc1"), "no printable ASCII character")
    c.add("flip-in-comment", patched(80 * 20 + 60, b"\x80"), "no printable ASCII character")
    c.add("flip-end", lambda g: g.replace(b"END     ", b"ENE     ", 1), "")
    c.add("flip-xtension", lambda g: g.replace(b"XTENSION", b"YTENSION", 1), "has no image ext")
    c.add("flip-image", lambda g: g.replace(b"'IMAGE   '", b"'IMAGF   '", 1), "has no image ext")
    c.add("flip-quote", card("OBJECT", "OBJECT  = 'Dark    "), "")
    c.run_only("flip-equals", card("EXPTIME", "EXPTIME :                  5.0"), "")
    c.add("zeros-in-header", patched(2880, bytes(2880)), "")
    c.add("zeros-from-the-start", lambda g: bytes(len(g)), "is not a FITS file")
    c.add("header-of-another-byte-order", lambda g: _swapped(g[:14400]) + g[14400:], "is not a FI")
    c.add("lines-for-cards", lambda g: _lines(g), "")
    c.harmless("flip-in-data", patched(5001, b"\x01", data=True))
    c.harmless("flip-in-padding", patched(65540, b"\xff", data=True))
    c.run_only("garbage-behind", lambda g: g + b"\xde\xad" * 1440, "goes on behind")


def _swapped(content: bytes) -> bytes:
    pairs = bytearray(content)
    pairs[::2], pairs[1::2] = content[1::2], content[::2]
    return bytes(pairs)


def _lines(content: bytes) -> bytes:
    """Return the file as an editor leaves it: cards without their blanks, a newline behind each."""
    end = _header_end(content)
    cards = [content[at : at + CARD].rstrip() for at in range(0, end, CARD)]
    return b"\n".join(cards) + content[end:]


def _axes_and_types(c: _Corpus) -> None:
    c.kind = "absurd size or type of pixels"
    for text in ("0", "7", "24", "-16", "128", "99999999999", "'32'", "T", "32.5", ""):
        name = {"": "blank", "'32'": "text"}.get(text, text.replace(".", "p"))
        c.add(f"bitpix-{name}", value("BITPIX", text, 1), "")
    c.add("bitpix-of-the-primary", value("BITPIX", "0"), "")
    c.add("bitpix-64", value("BITPIX", "64", 1), "", seen=False)
    c.harmless("naxis-2", value("NAXIS", "2", 1))
    for text in ("-1", "0", "1", "4", "999", "1000000000", "'three'", "2.5", "NaN", "T"):
        name = text.strip("'").lower().replace(".", "p")
        c.add(f"naxis-{name}", value("NAXIS", text, 1), "")
    c.add("naxis-missing", card("NAXIS", None, 1), "")
    for text in ("0", "-128", "1", "129", "70000", "2147483648", "9223372036854775807", "1E300"):
        c.add(f"naxis1-{text}", value("NAXIS1", text, 1), "", seen=text in ("-128", "1E300"))
    long = "9" * 60
    c.run_only("naxis1-of-60-digits", card("NAXIS1", f"NAXIS1  = {long}", 1), "")
    c.add("naxis1-text", value("NAXIS1", "'many'", 1), "")
    c.add("naxis1-infinite", value("NAXIS1", "INF", 1), "")
    c.add("naxis2-missing", card("NAXIS2", None, 1), "")
    c.add("naxis1-twice", value("NAXIS1", "64", 1, instead="AMPDAC32"), "")
    c.run_only("naxis3-two", value("NAXIS3", "2", 1), "")
    c.put("naxis-huge-and-sparse", _sparse(_HUGE_FRAME, 20160 + 40000 * 40000 * 4), "", seen=False)
    c.put("primary-announces-an-exabyte", _written(_announcing(10**18)), "")
    c.put("primary-announces-more-than-a-number", _written(_announcing(10**19)), "")
    c.add("pcount-negative", value("PCOUNT", "-1", 1), "")
    c.add("pcount-huge", value("PCOUNT", "4000000000", 1), "")
    c.add("gcount-zero", value("GCOUNT", "0", 1), "")
    c.add("gcount-text", value("GCOUNT", "'one'", 1), "")
    c.run_only("bscale-zero", value("BSCALE", "0.0", 1, instead="AMPDAC01"), "")
    c.run_only("bzero-text", value("BZERO", "'none'", 1, instead="AMPDAC01"), "")
    c.run_only("bscale-infinite", value("BSCALE", "1E999", 1, instead="AMPDAC01"), "")


def _missing(c: _Corpus) -> None:
    c.kind = "missing keyword"
    c.run_only("no-exptime", card("EXPTIME", None), "has no keyword EXPTIME")
    c.run_only("no-lnrs", card("LNRS", None), "has no keyword LNRS")
    c.run_only("no-instrume", card("INSTRUME", None), "INSTRUME is missing, not F2")
    # a dark by its filter; one coadd; DATE and MJD-OBS stand in; LNRS decides; UTSTART stands in
    for key in ("OBSTYPE", "COADDS", "DATE-OBS", "READMODE"):
        c.harmless(f"no-{key.lower()}", card(key, None))
    c.harmless("no-ut", both(card("UT", None), card("TIME-OBS", None)))
    dates = ("DATE-OBS", "DATE", "UT", "TIME-OBS", "MJD-OBS", "UTSTART")
    c.run_only("no-date-at-all", both(*(card(k, None) for k in dates)), "")
    science = ("FILTER", "FILTER1", "FILTER2")
    c.run_only("no-filter", both(*(card(k, None) for k in science)), "", frame="science", status=2)
    c.run_only("no-poffset", card("POFFSET", None), "", frame="science")
    c.run_only("no-crval1", card("CRVAL1", None, 1), "", frame="science")
    c.run_only("no-cd", card("CD1_2", None, 1), "", frame="science")
    c.run_only("no-ctype", card("CTYPE1", None, 1), "", frame="science")
    c.run_only("no-crpix2", card("CRPIX2", None, 1), "", frame="science")


def _contradictory(c: _Corpus) -> None:
    c.kind = "wrong or contradictory keyword"
    for name, key, text, more in (
        ("exptime-negative", "EXPTIME", "-5.0", {}),
        ("exptime-zero", "EXPTIME", "0.0", {}),
        ("exptime-text", "EXPTIME", "'five'", {}),
        ("exptime-flag", "EXPTIME", "T", {}),
        ("exptime-a-year", "EXPTIME", "3.2E7", {}),
        ("exptime-of-others", "EXPTIME", "2.0", {}),
        ("lnrs-three", "LNRS", "3", {}),
        ("lnrs-fraction", "LNRS", "1.5", {}),
        ("lnrs-against-readmode", "LNRS", "8", {}),
        ("readmode-unknown", "READMODE", "'Twilight'", {"status": 0}),
        ("coadds-zero", "COADDS", "0", {}),
        ("coadds-negative", "COADDS", "-1", {}),
        ("instrument-gnirs", "INSTRUME", "'GNIRS   '", {}),
        ("instrument-number", "INSTRUME", "2", {}),
        ("obstype-mask", "OBSTYPE", "'MASK    '", {}),
        ("date-no-date", "DATE-OBS", "'yesterday'", {"status": 0}),
        ("date-31-june", "DATE-OBS", "'2020-06-31'", {"status": 0}),
        ("date-year-10000", "DATE-OBS", "'10000-01-01'", {"status": 0}),
        ("ut-25-hours", "UT", "'25:00:00.0'", {"status": 0}),
        ("filter-not-of-f2", "FILTER2", "'U_G0308 '", {"frame": "science", "status": 2}),
        ("grism-in-the-beam", "GRISM", "'JH_G5801'", {"frame": "science", "status": 2}),
        ("poffset-text", "POFFSET", "'left'", {"frame": "science"}),
        ("poffset-a-degree", "POFFSET", "3600.0", {"frame": "science"}),
        ("pa-text", "PA", "'north'", {"status": 0, "frame": "science"}),
    ):
        c.run_only(name, value(key, text), "", **more)
    twice = value("EXPTIME", "2.0", instead="CHA_PID")
    c.run_only("exptime-twice", twice, "")
    for name, key, text in (
        ("crval-beyond", "CRVAL1", "1E30"),
        ("crval-of-another-field", "CRVAL1", "200.0"),
        ("crval-text", "CRVAL2", "'south'"),
        ("cd-singular", "CD1_2", "0.0"),
        ("cd-a-degree-a-pixel", "CD1_2", "1.0"),
        ("ctype-tnx", "CTYPE1", "'RA---TNX'"),
        ("crpix-far-off", "CRPIX1", "1E12"),
    ):
        c.run_only(name, value(key, text, 1), "", frame="science")


def _no_numbers(c: _Corpus) -> None:
    c.kind = "NaN and infinity"
    for name, key, text, hdu, frame in (
        ("exptime-nan", "EXPTIME", "NaN", 0, "dark"),
        ("exptime-nan-text", "EXPTIME", "'nan     '", 0, "dark"),
        ("exptime-infinite", "EXPTIME", "1E999", 0, "dark"),
        ("lnrs-infinite", "LNRS", "1E999", 0, "dark"),
        ("coadds-infinite", "COADDS", "1E999", 0, "dark"),
        ("crval-nan", "CRVAL1", "NaN", 1, "science"),
        ("crval-infinite", "CRVAL1", "1E999", 1, "science"),
        ("crpix-infinite", "CRPIX1", "-1E999", 1, "science"),
        ("cd-infinite", "CD1_2", "1E999", 1, "science"),
        ("poffset-infinite", "POFFSET", "1E999", 0, "science"),
    ):
        c.run_only(name, value(key, text, hdu), "", frame=frame)
    nan, infinite = struct.pack(">f", float("nan")), struct.pack(">f", float("inf"))
    c.harmless("pixels-all-nan", pixels(-32, 4, nan))
    c.harmless("pixels-all-infinite", pixels(-32, 4, infinite))
    c.harmless(
        "pixels-some-nan",
        both(pixels(-32, 4, struct.pack(">f", 7.0)), patched(4000, nan * 50, data=True)),
    )
    c.harmless("pixels-of-1e300", pixels(-64, 8, struct.pack(">d", 1e300)))
    c.harmless("pixels-lowest-integer", pixels(32, 4, struct.pack(">i", -(2**31))))


def _compressed(c: _Corpus) -> None:
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
        c.harmless(f"bomb-behind.fits.{ending}", lambda g, e=ending: _bomb(e, g, 128))
        c.run_only(
            f"bomb-as-image.fits.{ending}",
            lambda g, e=ending: _bomb(e, _headers_only(_HUGE_FRAME)(g), 128),
            "",
        )
        c.add(
            f"bomb-before.fits.{ending}",
            lambda g, e=ending: _bomb(e, _announcing(10**12)(g)[:14400], 128),
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
        "XTENSION= 'BINTABLE'", *_axes(8, 8, 128), "PCOUNT  = 0", "GCOUNT  = 1", "TFIELDS = 1",
        "TTYPE1  = 'COMPRESSED_DATA'", "TFORM1  = '1PB(9)  '", "ZIMAGE  = T",
    )  # fmt: skip
    return good[: _spans(good)[0]] + table + bytes(2880)


def _no_files(c: _Corpus) -> None:
    c.kind = "no regular file"
    device = "is a pipe, socket or device"
    c.put("empty", lambda path, good: path.touch(), "is empty")
    c.put("folder", lambda path, good: path.mkdir(), "is a folder", status=2)
    c.put("pipe", lambda path, good: os.mkfifo(path), device)
    c.put("pipe.fits.gz", lambda path, good: os.mkfifo(path), device)
    c.put("socket", _socket, device)
    for name in ("null", "zero", "full", "urandom", "tty", "stdin"):
        c.put(f"dev-{name}", _link(f"/dev/{name}"), device)
    c.put("link-to-nothing", _link("nothing.fits"), "a link to a missing file")
    c.put("link-to-itself", _loop, "cannot be found")
    c.put("link-to-a-pipe", _pipe_behind, device)
    c.put("link-to-a-folder", _link("."), "is a folder", status=2)
    c.put("link-through-a-file", _link("/dev/null/x.fits"), "")
    c.put("link-of-long-name", _link("x" * 1000), "", status=2)
    c.put("no-permission", _locked, "may not be read")
    c.put("proc-mem", _link("/proc/self/mem"), "")


def _not_fits(c: _Corpus) -> None:
    c.kind = "another kind of file"
    for name, content in (
        ("text", b"not a picture\n" * 300),
        ("yaml", RECIPE.encode()),
        ("html", b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n" * 90),
        ("hdf5", b"\x89HDF\r\n\x1a\n" + bytes(4000)),
        ("zip", b"PK\x03\x04" + bytes(4000)),
        ("elf", b"\x7fELF" + bytes(4000)),
        ("utf16", "SIMPLE  = T".encode("utf-16") * 300),
        ("byte-order-mark", b"\xef\xbb\xbfSIMPLE  =" + bytes(4000)),
        ("escapes", b"\x1b[31mred\x1b]0;title\x07\x1b[2J" * 300),
    ):
        c.add(name, lambda g, content=content: content, "is not a FITS file")
    c.add("png", _png, "is not a FITS file")
    c.add("a.list", lambda g: b"one.fits\ntwo.fits\n", "is not a FITS file")
    c.add("blanks", lambda g: b" " * 5760, "is not a FITS file")


def _characters(c: _Corpus) -> None:
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


def _extensions(c: _Corpus) -> None:
    c.kind = "headers and extensions without end"
    c.add("no-end", lambda g: g.replace(b"END     ", b"        "), "")
    c.add("no-end-and-long", lambda g: g[:2880] * 1200, "")
    c.add("header-of-100000-cards", _long_header(100_000), "")
    c.harmless("header-of-10000-cards", _long_header(10_000))
    c.add("10000-extensions", lambda g: g + image("MORE") * 10_000, "", seen=False)
    c.add("300-extensions-before", lambda g: g[:14400] + _table() * 300 + g[14400:], "")
    c.add(
        "image-in-the-primary", lambda g: header("SIMPLE  = T", *_axes(32, 8, 8)) + bytes(2880), ""
    )
    c.add("table-only", lambda g: g[:14400] + _table(), "has no image extension")
    c.add("sci-twice", lambda g: named("SCI", image("SCI", 128))(g), "", seen=False)
    c.add("var-twice", lambda g: named("SCI", image("VAR", 128) * 2)(g), "", seen=False)
    c.add("var-of-another-size", lambda g: named("SCI", image("VAR", 64))(g), "", seen=False)
    c.add("dq-cut-off", lambda g: named("SCI", image("DQ", 128)[:9000])(g), "", seen=False)
    c.add("unnamed-twice", lambda g: g + g[14400:], "", seen=False)
    c.add("objcat-is-an-image", lambda g: named("SCI", image("OBJCAT"))(g), "", seen=False)
    c.add("history-is-an-image", lambda g: named("SCI", image("HISTORY"))(g), "", seen=False)
    c.add("extension-header-broken", lambda g: g + b"XTENSION" + b"\xff" * 5000, "", seen=False)


def _table() -> bytes:
    return header(
        "XTENSION= 'BINTABLE'", *_axes(8, 4, 1), "PCOUNT  = 0", "GCOUNT  = 1", "TFIELDS = 1",
        "TFORM1  = '1J      '",
    ) + bytes(2880)  # fmt: skip


@cache
def faults() -> tuple[Fault, ...]:
    """Return the corpus."""
    corpus = _Corpus()
    for fill in (
        _cut_off,
        _flipped,
        _axes_and_types,
        _missing,
        _contradictory,
        _no_numbers,
        _compressed,
        _no_files,
        _not_fits,
        _characters,
        _extensions,
    ):
        fill(corpus)
    return tuple(corpus.faults)


def build(folder: Path, dark: Path, science: Path) -> None:
    """Write every file of the corpus, made of a good dark and a good exposure."""
    good = {"dark": dark.read_bytes(), "science": science.read_bytes()}
    for fault in faults():
        fault.make(folder / fault.name, good[fault.frame])


def messages() -> dict[str, str]:
    """Return what a run says of each file that it refuses (see test_bad_input.py)."""
    path = Path(__file__).with_name("messages.txt")
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split(" | ", 1) for line in lines if not line.startswith("#"))


def table() -> str:
    """Return the table of docs/faults.md."""
    rows = [
        "| kind of fault | files | named by the inspection commands | refused by a run | reduced |"
    ]
    rows.append("| --- | ---: | ---: | ---: | ---: |")
    kinds = list(dict.fromkeys(fault.kind for fault in faults()))
    for kind in [*kinds, "all"]:
        mine = [f for f in faults() if kind in ("all", f.kind)]
        seen, refused = sum(f.seen for f in mine), sum(f.status != 0 for f in mine)
        rows.append(f"| {kind} | {len(mine)} | {seen} | {refused} | {len(mine) - refused} |")
    return "\n".join(rows)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", action="store_true", required=True, help="print the table")
    parser.parse_args()
    print(table())


if __name__ == "__main__":
    main()
