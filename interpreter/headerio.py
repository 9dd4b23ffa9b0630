"""Headers of FITS files, read without their pixels.

Compressed files are decompressed only as far as the headers reach, so a listing of a folder of
``.fits.bz2`` costs about a tenth of reading it, and a file that is cut off later still shows what
it is.
"""

from __future__ import annotations

import bz2
import gzip
import os
import stat
import warnings
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Final, cast

from astropy.io.fits import Header
from astropy.io.fits.verify import VerifyError, VerifyWarning
from f2yaml.interpreter.errors import BadInput, Problem
from f2yaml.interpreter.headers import Headers

BLOCK: Final = 2880
_CARD: Final = 80
_END: Final = b"END" + b" " * 77
#: Longest header accepted, in blocks: 36 000 cards; a file without END would be read to its end.
_MAX_BLOCKS: Final = 1000
_MAX_EXTENSIONS: Final = 200


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
    _check_regular(path)
    try:
        with path.open("rb") as plain:
            start = plain.read(BLOCK)
            plain.seek(0)
            if not start:
                raise _bad(path, "is empty", "an interrupted copy or download leaves such files")
            return _scan(path, _decompressed(plain, start))
    except PermissionError as error:
        raise BadInput(
            f"{path} may not be read",
            f"permission denied for user id {os.getuid()}",
            f"ask its owner for it, or `chmod u+r {path}`",
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        reason = str(error) or type(error).__name__
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
        raise _bad(path, f"cannot be found: {error}", "it is no usable file name") from error
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
    _skip_data(path, stream, phu)
    fallback: Header | None = None
    for _ in range(_MAX_EXTENSIONS):
        header = _header(path, stream, first=False)
        if header is None:
            break
        kind = str(header.get("XTENSION", "")).strip().upper()
        if kind == "IMAGE" and int(header.get("NAXIS", 0)) >= 2:
            name = str(header.get("EXTNAME", "")).strip().upper()
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


def _header(path: Path, stream: BinaryIO, *, first: bool) -> Header | None:
    """Read one header; None at the end of the file (or, after it, at what is no extension)."""
    which = "primary header" if first else "header of an extension"
    blocks: list[bytes] = []
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
                return None
        if len(block) < BLOCK:
            raise _bad(path, f"ends inside the {which}", "it is cut off")
        blocks.append(block)
        if any(block[at : at + _CARD] == _END for at in range(0, BLOCK, _CARD)):
            return _parse(path, b"".join(blocks), which)
    raise _bad(path, f"has no END in the {which}", "it is damaged")


def _parse(path: Path, content: bytes, which: str) -> Header:
    try:
        written = content.decode("ascii")
    except UnicodeDecodeError as error:
        reason = f"byte {error.start} is no ASCII character; it is damaged"
        raise _bad(path, f"has a damaged {which}", reason) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", VerifyWarning)
            return Header.fromstring(written)
    except (VerifyError, VerifyWarning, ValueError) as error:
        raise _bad(path, f"has a damaged {which}", str(error).splitlines()[0]) from error


def _skip_data(path: Path, stream: BinaryIO, header: Header) -> None:
    """Move past the data that a header announces, padded to whole blocks."""
    try:
        axes = [int(header[f"NAXIS{n}"]) for n in range(1, int(header["NAXIS"]) + 1)]
        elements = 1 if axes else 0
        for axis in axes:
            elements *= axis
        groups, parameters = int(header.get("GCOUNT", 1)), int(header.get("PCOUNT", 0))
        size = abs(int(header["BITPIX"])) // 8 * groups * (parameters + elements)
    except (KeyError, ValueError, TypeError, VerifyError) as error:
        raise _bad(path, f"has a damaged header: {error}", "the size of its data is open") from (
            error
        )
    if size < 0:
        raise _bad(path, "has a damaged header: negative axes", "the size of its data is open")
    if size:
        stream.seek(-(-size // BLOCK) * BLOCK, os.SEEK_CUR)


def _bad(path: Path, what: str, why: str) -> BadInput:
    return BadInput(f"{path} {what}", why, "fetch the file again, or take it out of the list")
