"""Headers of FITS files, read without their pixels.

Compressed files are decompressed only as far as the headers reach, so a listing of a folder of
``.fits.bz2`` costs about a tenth of reading it, and a file that is cut off later still shows what
it is.
"""

from __future__ import annotations

import bz2
import gzip
import math
import os
import re
import stat
import unicodedata
import warnings
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Final, cast

from astropy.io.fits import Header
from astropy.io.fits.verify import VerifyError, VerifyWarning
from astropy.utils.exceptions import AstropyUserWarning
from f2yaml.interpreter.errors import BadInput, Problem
from f2yaml.interpreter.headers import Headers

BLOCK: Final = 2880
_CARD: Final = 80
_END: Final = b"END" + b" " * 77
#: Longest header accepted, in blocks: 36 000 cards; a file without END would be read to its end.
_MAX_BLOCKS: Final = 1000
_MAX_EXTENSIONS: Final = 200
#: Most bytes that the data of a compressed file are taken to be: 128 planes of a detector.
_MAX_UNPACKED: Final = 1 << 31
_BITPIX: Final = (8, 16, 32, 64, -32, -64)
#: FITS 4.0, section 4.1: headers hold the printable characters of ASCII, and no others.
_UNPRINTABLE: Final = re.compile(rb"[^ -~]")


def read_headers(path: Path | str) -> Headers:
    """Read the primary header and the header of the science extension.

    Parameters
    ----------
    path : Path or str
        A ``.fits`` file, plain or compressed with gzip or bzip2 (recognised by content).

    Returns
    -------
    Headers
        `sci` is the extension named SCI. A raw file has none: there it is the first image
        extension, which is not searched further once it turns out to have no name.

    Raises
    ------
    BadInput
        The file is missing, is no regular file, may not be read, is empty, is not FITS, ends inside
        a header, or has no image extension.
    """
    path = Path(path)
    with _opened(path) as stream:
        return _scan(path, stream)


def check_structure(path: Path) -> None:
    """Check that a plain file is what its headers say, from its beginning to its end.

    Raises
    ------
    BadInput
        As `read_headers`; or data are cut off, or something follows that is no extension.
    """
    with _opened(path) as stream:
        for _ in _units(path, stream):
            pass


def unpacked(path: Path) -> bytes:
    """Return what a compressed file holds, no more of it than its headers promise.

    Raises
    ------
    BadInput
        As `check_structure`; or the packing is damaged.
    """
    with _opened(path) as stream:
        return b"".join(piece for unit in _units(path, stream) for piece in unit)


def image_start(path: Path, headers: Headers) -> int | None:
    """Return the byte at which the pixels of a plain raw file begin, None where it is not one.

    A raw file is a primary header without data, then the extension that `headers` tell of.
    """
    if headers.phu.get("NAXIS") != 0:
        return None
    with path.open("rb") as file:
        for header in (headers.phu, headers.sci):
            begin = file.tell()
            while block := file.read(BLOCK):
                if any(block[at : at + _CARD] == _END for at in range(0, BLOCK, _CARD)):
                    break
            length = (len(header) + 1) * _CARD  # END is no card of astropy's
            if -(-length // BLOCK) * BLOCK != file.tell() - begin:
                return None
        return file.tell()


def is_packed(path: Path) -> bool:
    """Whether a regular file begins as those of gzip or bzip2 do."""
    _check_regular(path)
    try:
        with path.open("rb") as file:
            return file.read(3).startswith((b"\x1f\x8b", b"BZh"))
    except OSError:  # why, says the one who reads it
        return False


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file, decompressed as it is read; what goes wrong is said of the file."""
    _check_regular(path)
    try:
        with path.open("rb") as plain:
            start = plain.read(BLOCK)
            plain.seek(0)
            if not start:
                raise _bad(path, "is empty", "an interrupted copy or download leaves such files")
            yield _decompressed(plain, start)
    except PermissionError as error:
        raise BadInput(
            f"{path} may not be read",
            f"permission denied for user id {os.getuid()}",
            f"ask its owner for it, or `chmod u+r {path}`",
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise _bad(path, f"cannot be read: {reason}", "it is damaged or cut off") from error


def try_headers(
    paths: Iterable[Path | str], jobs: int | None = None
) -> Iterator[tuple[Path, Headers | BadInput]]:
    """Yield each path in order with its headers, or with the error that reading it gave.

    Parameters
    ----------
    paths : iterable of Path or str
    jobs : int, optional
        Threads; decompression runs outside the interpreter's lock. Default: number of processors,
        at most 8.
    """

    def attempt(path: Path) -> tuple[Path, Headers | BadInput]:
        try:
            return path, read_headers(path)
        except BadInput as error:
            return path, error

    listed = [Path(path) for path in paths]
    threads = min(jobs or min(os.cpu_count() or 1, 8), max(1, len(listed)))
    if threads == 1 or not any(path.suffix in (".bz2", ".gz") for path in listed):
        yield from map(attempt, listed)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(attempt, listed)


def read_headers_many(paths: Iterable[Path | str], jobs: int | None = None) -> list[Headers]:
    """Read the headers of many files, in order.

    Raises
    ------
    BadInput
        One problem for each file that cannot be read.
    """
    found: list[Headers] = []
    problems: list[Problem] = []
    for _, result in try_headers(paths, jobs):
        if isinstance(result, BadInput):
            problems += result.problems
        else:
            found.append(result)
    if problems:
        raise BadInput(problems=problems)
    return found


def _check_regular(path: Path) -> None:
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in str(path)):
        shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(path))
        raise BadInput(
            f"the name {shown} holds characters that cannot be shown",
            "they could steer a terminal, part a line of a list, or are no text at all",
            "rename it",
        )
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        target = " (a link to a missing file)" if path.is_symlink() else ""
        raise BadInput(
            f"{path} does not exist{target}", "it is listed as input", "check name and folder"
        ) from error
    except PermissionError as error:
        raise BadInput(
            f"{path} may not be reached",
            "permission denied for a folder on its path",
            "ask its owner for access",
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadInput(
            f"{path} cannot be found: {reason}", "it is no usable file name", "check name and links"
        ) from error
    if stat.S_ISDIR(mode):
        raise BadInput(
            f"{path} is a folder", "a file is wanted here", f"give its files: {path}/*.fits"
        )
    if not stat.S_ISREG(mode):
        raise BadInput(
            f"{path} is a pipe, socket or device",
            "a file on disk is wanted here",
            "save the data to a file first",
        )


def _decompressed(plain: BinaryIO, start: bytes) -> BinaryIO:
    if start.startswith(b"\x1f\x8b"):
        return cast(BinaryIO, gzip.GzipFile(fileobj=plain, mode="rb"))
    if start.startswith(b"BZh"):
        return cast(BinaryIO, bz2.BZ2File(plain))
    return plain


def _scan(path: Path, stream: BinaryIO) -> Headers:
    phu = _header(path, stream, first=True)
    assert phu is not None
    if not _conforms(phu):
        raise _bad(path, "is not a FITS file", "SIMPLE is not T: it follows rules of its own")
    _skip_data(path, stream, phu)
    fallback: Header | None = None
    for _ in range(_MAX_EXTENSIONS):
        header = _header(path, stream, first=False)
        if header is None:
            break
        kind, name = _word(path, header, "XTENSION"), _word(path, header, "EXTNAME")
        _data_size(path, header)
        if kind == "IMAGE" and header["NAXIS"] >= 2:
            if name == "SCI" or (not name and fallback is None):
                return Headers(phu, header, path.name)
            fallback = fallback or header
        _skip_data(path, stream, header)
    if fallback is not None:
        return Headers(phu, fallback, path.name)
    raise BadInput(
        f"{path} has no image extension",
        "an F2 file keeps its pixels in the first extension",
        "unpack it first (funpack), if it is tile-compressed; else take it out of the list",
    )


def _conforms(phu: Header) -> bool:
    """Whether the file says that it keeps to the standard (SIMPLE is T)."""
    try:
        return phu.get("SIMPLE") is True
    except (VerifyError, ValueError):
        return False


def _header(
    path: Path, stream: BinaryIO, *, first: bool, kept: list[bytes] | None = None
) -> Header | None:
    """Read one header; None at the end of the file (or, after it, at what is no extension).

    The blocks read are added to `kept`.
    """
    which = "primary header" if first else "header of an extension"
    blocks: list[bytes] = [] if kept is None else kept
    while len(blocks) < _MAX_BLOCKS:
        block = stream.read(BLOCK)
        if not blocks:
            if first and not block.startswith(b"SIMPLE  ="):
                if path.suffix in (".list", ".lis", ".txt"):
                    raise BadInput(
                        f"{path} is not a FITS file",
                        "it is text, such as a list of files",
                        f"write @{path.name} for the files of a list; else take it out",
                    )
                raise _bad(path, "is not a FITS file", "it does not begin with SIMPLE")
            if not first and not block.startswith(b"XTENSION"):
                blocks.append(block)
                return None
        if len(block) < BLOCK:
            raise _bad(path, f"ends inside the {which}", "it is cut off")
        blocks.append(block)
        if any(block[at : at + _CARD] == _END for at in range(0, BLOCK, _CARD)):
            return _parse(path, b"".join(blocks), which)
    most = _MAX_BLOCKS * BLOCK // _CARD
    raise _bad(path, f"has no END in the {which}", f"its first {most} cards were searched")


def _parse(path: Path, content: bytes, which: str) -> Header:
    end = next(at for at in range(0, len(content), _CARD) if content[at : at + _CARD] == _END)
    odd = _UNPRINTABLE.search(content, 0, end)
    if odd is not None:
        key = content[odd.start() // _CARD * _CARD :][:8].decode("ascii", "replace").strip()
        where = f"byte {odd.start()}, in card {odd.start() // _CARD + 1} ({key})"
        reason = f"{where}, is no printable ASCII character"
        raise _bad(path, f"has a damaged {which}", reason)
    written = content[: end + _CARD].decode("ascii")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyUserWarning)  # of keywords that are merely odd
            warnings.simplefilter("error", VerifyWarning)
            return Header.fromstring(written)
    except (VerifyError, VerifyWarning, ValueError) as error:
        raise _bad(path, f"has a damaged {which}", str(error).splitlines()[0]) from error


def _units(path: Path, stream: BinaryIO) -> Iterator[list[bytes]]:
    """Yield header and data of each unit; of plain files, whose data are not read, nothing."""
    plain = isinstance(stream, BufferedReader)
    promised = done = 0
    for number in range(_MAX_EXTENSIONS + 2):
        raw: list[bytes] = []
        header = _header(path, stream, first=number == 0, kept=raw)
        if header is None:
            if any(block.strip(b"\0 ") for block in raw):
                why = "what follows is damaged, or does not belong to it"
                raise _bad(path, "goes on behind its last extension", why)
            return
        size = _data_size(path, header)
        if plain:
            _skip_data(path, stream, header)
            yield []
            continue
        promised, done = promised + size, done + BLOCK * len(raw)
        if promised > _MAX_UNPACKED:
            raise _bad(path, f"announces {promised} bytes of data", "no F2 file has so many")
        data = stream.read(-(-size // BLOCK) * BLOCK)
        if len(data) < size:
            what = _truncated(done + len(data), done + size)
            raise _bad(path, what, "it was cut off before it was packed")
        done += len(data)
        yield [*raw, data.ljust(-(-size // BLOCK) * BLOCK, b"\0")]
    raise _bad(path, f"has more than {_MAX_EXTENSIONS} extensions", "no F2 file has so many")


def _truncated(size: int, need: int) -> str:
    return f"cannot be read as FITS: it is truncated: {size} bytes, its header promises {need}"


def _data_size(path: Path, header: Header) -> int:
    """Return the bytes of data that a header announces, without padding."""
    axes = _axes(path, header)
    bitpix = _whole(path, header, "BITPIX")
    groups, parameters = _whole(path, header, "GCOUNT", 1), _whole(path, header, "PCOUNT", 0)
    if bitpix not in _BITPIX:
        raise _damaged(path, f"BITPIX is {bitpix}", "pixels have 8, 16, 32, 64, -32 or -64 bits")
    if min(axes, default=0) < 0 or groups < 0 or parameters < 0:
        raise _damaged(path, "negative axes", "sizes are not negative")
    if _word(path, header, "XTENSION") == "IMAGE" and (groups, parameters) != (1, 0):
        what = f"PCOUNT is {parameters}, GCOUNT {groups}"
        raise _damaged(path, what, "those of an image are 0 and 1")
    return abs(bitpix) // 8 * groups * (parameters + (math.prod(axes) if axes else 0))


def _axes(path: Path, header: Header) -> list[int]:
    number = _whole(path, header, "NAXIS")
    if not 0 <= number <= 999:
        raise _damaged(path, f"NAXIS is {number}", "FITS has 0 to 999 axes")
    return [_whole(path, header, f"NAXIS{n}") for n in range(1, number + 1)]


def _whole(path: Path, header: Header, key: str, default: int | None = None) -> int:
    """Return the value of a card that sizes hang on: it stands there once, as a whole number."""
    try:
        value = header.get(key, default)
        times = header.count(key) if key in header else 1
    except (VerifyError, ValueError) as error:
        raise _damaged(path, f"{key} cannot be read", "the size of its data is open") from error
    if times > 1:
        raise _damaged(path, f"{key} stands there {times} times", "the size of its data is open")
    if isinstance(value, bool) or not isinstance(value, int):
        what = f"{key} is missing" if key not in header else f"{key} is no whole number"
        raise _damaged(path, what, "the size of its data is open")
    return value


def _word(path: Path, header: Header, key: str) -> str:
    try:
        return str(header.get(key, "")).strip().upper()
    except (VerifyError, ValueError) as error:
        raise _damaged(path, f"{key} cannot be read", "it says what the extension is") from error


def _skip_data(path: Path, stream: BinaryIO, header: Header) -> None:
    """Move past the data that a header announces, padded to whole blocks."""
    size = _data_size(path, header)
    if not size:
        return
    if isinstance(stream, BufferedReader):  # plain: moving costs nothing, and would find nothing
        begin, end = stream.tell(), os.fstat(stream.fileno()).st_size
        if end - begin < size:
            raise _bad(path, _truncated(end, begin + size), "wrong pixels would be taken for right")
    elif size > _MAX_UNPACKED:
        raise _bad(path, f"announces {size} bytes of data", "no F2 file has so many")
    stream.seek(-(-size // BLOCK) * BLOCK, os.SEEK_CUR)


def _damaged(path: Path, what: str, why: str) -> BadInput:
    return _bad(path, f"has a damaged header: {what}", why)


def _bad(path: Path, what: str, why: str) -> BadInput:
    return BadInput(f"{path} {what}", why, "fetch the file again, or take it out of the list")
