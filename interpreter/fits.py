"""FITS files to frames and back: raw F2 exposures and f2yaml's or DRAGONS' products.

Plain files are not read until rows are asked for; compressed ones are decompressed once, whole.
Files are written aside, synced and renamed, so that a name never holds half a product.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import re
import resource
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from f2yaml.interpreter import refcat as refcats
from f2yaml.interpreter.algorithms.catalog import UNITS
from f2yaml.interpreter.errors import BadInput, OutputError
from f2yaml.interpreter.frame import Frame, HistoryRow, ProvenanceRow
from f2yaml.interpreter.framerows import FrameRow
from f2yaml.interpreter.headerio import check_structure, image_start, is_packed, unpacked
from f2yaml.interpreter.headers import Headers
from f2yaml.interpreter.leftovers import aside, identity
from f2yaml.interpreter.pixels import (
    DTYPES,
    PLANES,
    Array,
    FilePlane,
    InMemory,
    OnDisk,
    Pixels,
    Planes,
)
from f2yaml.interpreter.recordio import (
    RECORDS,
    frames_table,
    read_frames,
    read_records,
    records_as_bytes,
)

# A truncated file is an error here (`check_structure`), not a warning; and what astropy mends in a
# header that can be read is told to nobody in the midst of progress.
warnings.filterwarnings("ignore", "File may have been truncated")
warnings.filterwarnings("ignore", category=AstropyUserWarning)

#: Cards that FITS 4.0 (section 8.2) wants behind WCSAXES.
_WORLD = re.compile(r"(CTYPE|CRVAL|CRPIX|CUNIT|CDELT|CD\d_|PC\d_)\d$")
_EXTENSION = {
    "VAR": "variance",
    "DQ": "mask",
    "OBJMASK": "objmask",
    "COVERAGE": "coverage",
    "SHARED": "shared",
}
_NAMES = """
INSTRUME OBJECT OBSTYPE OBSCLASS OBSID DATALAB DATE-OBS UT TIME-OBS EXPTIME COADDS LNRS READMODE
FILTER FILTER1 FILTER2 LYOT GRISM DECKER MOSPOS MASKNAME RA DEC POFFSET QOFFSET PA INPORT
CTYPE1 CTYPE2 CRPIX1 CRPIX2 CRVAL1 CRVAL2 CD1_1 CD1_2 CD2_1 CD2_2 BUNIT BZERO BSCALE
EXTNAME ORIGNAME PREPARE
"""
#: Keywords that say what a file is, and what is done with it; others may be odd.
_DECISIVE = frozenset(_NAMES.split())
#: Most pixels of a plane: 64 times those of the detector.
_MAX_PIXELS = 1 << 28
_STORED = {8: "|u1", 16: ">i2", 32: ">i4", -32: ">f4", -64: ">f8"}
#: Planes that DRAGONS does not have, written behind those that it has.
_OURS = ("COVERAGE", "SHARED")
_TABLES = ("OBJCAT", "REFCAT", "HISTORY", "PROVENANCE", "SKYTABLE")


def read_frame(path: Path) -> Frame:
    """Read a raw F2 frame or a product, in any of .fits, .fits.gz and .fits.bz2.

    Raises
    ------
    BadInput
        The file is missing, is no FITS file, is truncated, or has no image.
    """
    content = unpacked(path) if is_packed(path) else None
    if content is None:
        check_structure(path)
    try:
        # astropy takes a name that begins with ~ for one below the home of a user
        with (
            fits.open(path.absolute())
            if content is None
            else fits.HDUList.fromstring(content) as hdus
        ):
            frame = _frame(path, hdus, in_memory=content is not None)
    except OSError as error:
        raise _bad(path, error) from error
    except (ValueError, TypeError, KeyError, IndexError, fits.VerifyError) as error:
        raise _bad(path, error) from error
    return frame


@contextmanager
def raw_rows(path: Path, headers: Headers) -> Iterator[Callable[[int], Array] | None]:
    """Open a plain raw file; give a function that returns a row of its pixels as it is stored.

    It takes a tenth of the time of `read_frame`. Where the image is not the first thing in the
    file, as in raw ones, there is None.
    """
    start = image_start(path, headers)
    if start is None:
        yield None
        return
    stored = np.dtype(_STORED.get(int(headers.sci["BITPIX"]), ">i8"))
    size = _shape(headers.sci, "data")[1] * stored.itemsize
    with path.open("rb") as file:

        def row(y: int) -> Array:
            file.seek(start + y * size)
            return np.frombuffer(file.read(size), stored)

        yield row


def check_layout(path: Path, headers: Headers) -> None:
    """Check that the headers can be copied and, by file size, that the pixels are all there.

    Raises
    ------
    BadInput
        A card is damaged, the axes are not those of one image, or the file is shorter than its
        headers promise.
        Compressed files show it only when they are read.
    """
    try:
        _shape(headers.sci, "data")
        _scaling(headers.sci)
        for header in (headers.phu, headers.sci):
            _check_cards(header)
    except (ValueError, TypeError, KeyError, fits.VerifyError) as error:
        raise _bad(path, error) from error
    if not is_packed(path):
        check_structure(path)


def _check_cards(header: fits.Header) -> None:
    """Raise `ValueError` if a keyword that results hang on is broken, or contradicts itself."""
    values: dict[str, Any] = {}
    for card in header.cards:
        key = card.keyword
        if key not in _DECISIVE:
            continue
        try:
            value = card.value
        except (fits.VerifyError, ValueError) as error:
            raise ValueError(f"its card {key} breaks the rules of FITS") from error
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"its {key} is {value:g}")
        known = values.setdefault(key, value)
        if known != value:
            raise ValueError(f"{key} stands there twice, as {known} and as {value}")


def _scaling(header: fits.Header) -> tuple[float, float]:
    """Return what is added to stored pixels, and what they are multiplied by first."""
    try:
        zero, scale = float(header.get("BZERO", 0)), float(header.get("BSCALE", 1))
    except (TypeError, ValueError) as error:
        raise ValueError("its BZERO or BSCALE is no number") from error
    if not (math.isfinite(zero) and math.isfinite(scale)) or scale == 0:
        raise ValueError(f"BSCALE = {scale:g} and BZERO = {zero:g} leave nothing of its pixels")
    return zero, scale


def checksum(path: Path) -> str:
    """Return the MD5 of a file as hexadecimal text."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


class _Unlike(ValueError):
    """It is FITS, but not laid out as a frame of F2."""


def _bad(path: Path, error: Exception) -> BadInput:
    if isinstance(error, FileNotFoundError):
        return BadInput(f"{path} does not exist", "it is listed as input", "check the name")
    if isinstance(error, _Unlike):
        return BadInput(
            f"{path} is not laid out as an F2 frame: {error}",
            "which of its pixels are meant would be a guess",
            "give the file as the telescope or f2yaml wrote it, or take it out of the list",
        )
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    reason = reason.partition(" If this is really")[0]  # advice to programmers
    return BadInput(
        f"{path} cannot be read as FITS: {reason}",
        "a damaged or truncated file would give wrong pixels",
        "fetch the file again, or take it out of the list",
    )


def _frame(path: Path, hdus: fits.HDUList, *, in_memory: bool) -> Frame:
    science = _science(path, hdus)
    planes: dict[str, Any] = {"data": _plane(path, science, "data", in_memory)}
    objcat: Array | None = None
    refcat: Array | None = None
    history: tuple[HistoryRow, ...] = ()
    provenance: tuple[ProvenanceRow, ...] = ()
    skies: tuple[str, ...] | None = None
    members: tuple[FrameRow, ...] = ()
    records: dict[str, Any] = {}
    seen: set[str] = set()
    for hdu in hdus[1:]:
        name = str(hdu.header.get("EXTNAME", "")).strip().upper()
        if name in seen:
            raise _Unlike(f"it has two extensions {name}")
        if name in (*_EXTENSION, *_TABLES, "SCI"):
            seen.add(name)
        if name in _TABLES and not isinstance(hdu, fits.BinTableHDU):
            raise _Unlike(f"its extension {name} is no table")
        if name in _EXTENSION and isinstance(hdu, fits.ImageHDU):
            planes[_EXTENSION[name]] = _plane(path, hdu, _EXTENSION[name], in_memory)
        elif name == "OBJCAT":
            objcat = np.array(hdu.data).astype(hdu.data.dtype.newbyteorder("="))
        elif name == "REFCAT":
            refcat = np.array(hdu.data).astype(hdu.data.dtype.newbyteorder("="))
        elif name == "HISTORY":
            history = tuple(HistoryRow(*map(str, row)) for row in hdu.data)
        elif name == "PROVENANCE":
            provenance = tuple(ProvenanceRow(*map(str, row)) for row in hdu.data)
        elif name == "SKYTABLE":
            skies = tuple(str(row[0]) for row in hdu.data)
        elif name in RECORDS and isinstance(hdu, fits.BinTableHDU):
            records[name] = hdu
        elif name == "FRAMES" and isinstance(hdu, fits.BinTableHDU):
            members = read_frames(hdu)
    ordered: list[Any] = [planes.get(name) for name in PLANES]
    for name, plane in zip(_EXTENSION, ordered[1:], strict=True):
        if plane is not None and plane.shape != ordered[0].shape:
            raise _Unlike(f"{name} has shape {plane.shape}, SCI {ordered[0].shape}")
    pixels: Pixels
    if all(plane is None or isinstance(plane, FilePlane) for plane in ordered):
        pixels = OnDisk(tuple(ordered))
    else:  # compressed, or stored in another type than ours: converted once, held in memory
        held: list[Any] = [
            p.read(0, p.shape[0]) if isinstance(p, FilePlane) else p for p in ordered
        ]
        pixels = InMemory(Planes(*held).freeze())
    return Frame(
        name=path.name,
        pixels=pixels,
        phu=hdus[0].header.copy(),
        sci=science.header.copy(),
        objcat=objcat,
        refcat=refcat,
        skies=skies,
        history=history,
        provenance=provenance,
        runs=read_records(path, records),
        members=members,
    )


def _science(path: Path, hdus: fits.HDUList) -> fits.ImageHDU:
    images = [h for h in hdus[1:] if isinstance(h, fits.ImageHDU) and h.header.get("NAXIS", 0) >= 2]
    named = [h for h in images if h.header.get("EXTNAME", "").strip().upper() == "SCI"]
    if not images:
        raise _Unlike("it has no image extension")
    science = (named or images)[0]
    if not named and len(images) > 1:
        raise _Unlike(f"it has {len(images)} image extensions, an F2 frame has one")
    return science


def _shape(header: fits.Header, plane: str) -> tuple[int, ...]:
    """Return (ny, nx); a raw frame's third axis of length one is dropped."""
    shape = tuple(int(header[f"NAXIS{n}"]) for n in range(int(header["NAXIS"]), 0, -1))
    if len(shape) == 3 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) != 2 or min(shape) < 1:
        raise _Unlike(f"its {plane} has axes {shape}, expected ny x nx")
    if math.prod(shape) > _MAX_PIXELS:
        raise _Unlike(f"its {plane} has axes {shape}, more than any mosaic of F2")
    return shape


def _truncated(size: int, need: int) -> str:
    return f"it is truncated: {size} bytes, its header promises {need}"


def _plane(path: Path, hdu: fits.ImageHDU, plane: str, in_memory: bool) -> Any:
    header = hdu.header
    shape = _shape(header, plane)
    bitpix = int(header["BITPIX"])
    stored = _STORED.get(bitpix)
    zero, scale = _scaling(header)
    unsigned = bitpix == 16 and zero == 32768 and scale == 1
    offset = int(hdu.fileinfo()["datLoc"]) if not in_memory else 0
    if not in_memory:
        need = offset + int(np.prod(shape)) * np.dtype(stored or ">i8").itemsize
        size = path.stat().st_size
        if size < need:
            raise ValueError(_truncated(size, need))
    simple = stored is not None and (unsigned or (zero == 0 and scale == 1))
    wanted = DTYPES[plane]
    exact = simple and (
        (plane == "data" and bitpix in (32, -32, 16))
        or (plane == "variance" and bitpix == -32)
        or (plane in ("mask", "coverage") and unsigned)
        or (plane in ("objmask", "shared") and bitpix == 8)
    )
    if exact and not in_memory:
        assert stored is not None
        return FilePlane(str(path.resolve()), offset, stored, shape, unsigned, identity(path))
    array: Array = np.asarray(hdu.data).reshape(shape)
    if plane == "data" and array.dtype.kind in "iu":
        array = np.array(array, dtype=array.dtype.newbyteorder("="))
    else:
        with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 is infinite, so flagged
            array = np.array(array, dtype=wanted)
    return array


# writing ------------------------------------------------------------------------------------


def write_frame(frame: Frame, path: Path, planes: Sequence[str] | None = None) -> Path:
    """Write a frame as a multi-extension FITS file, whole or not at all.

    Parameters
    ----------
    frame : Frame
    path : Path
        Name of the product; replaced if it exists, once the new one is complete.
    planes : sequence of str, optional
        Planes to write out of SCI, VAR, DQ, OBJMASK, COVERAGE; default all that the frame has.

    Raises
    ------
    OutputError
        No permission, no space, or no such folder.
    """
    with replaced(path) as partial:
        hdus = _hdus(frame, planes)
        hdus.writeto(partial.absolute(), overwrite=True, output_verify="silentfix")
        if frame.runs:
            with partial.open("ab") as file:
                file.write(records_as_bytes(frame.runs)[1])
    return path


@contextmanager
def replaced(path: Path, option: str = "--outdir") -> Iterator[Path]:
    """Give a name to write under; sync it and rename it to `path` if the block succeeds.

    `option` is that of the command which says where to write, for messages.
    """
    _require_file(path, option)
    partial = aside(path)
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException as error:
        with suppress(OSError):  # such as a folder that is none, where nothing can be left
            partial.unlink()
        if isinstance(error, OSError):
            raise cannot_write(path, error, option) from error
        raise


def _require_file(path: Path, option: str) -> None:
    """Raise unless a file may take the name `path`: no device, pipe or socket has it."""
    special = path.exists() and not path.is_file() and not path.is_dir()
    if special or not path.name:
        kind = "pipe, socket or device" if special else "folder"
        raise OutputError(
            f"{path} cannot be written: it is a {kind}",
            "a finished file would take its place",
            f"choose the name of a file with {option}",
        )


def cannot_write(path: Path, error: OSError, option: str = "--outdir") -> OutputError:
    """Say why a file cannot be written; `option` says where to write."""
    reason = error.strerror or str(error)
    fix = f"choose another folder with {option}"
    # numpy reports a short write by its counts alone
    short = "requested and" in str(error) or "not enough space" in str(error).lower()
    if error.errno == errno.EFBIG or (short and _file_limit(path)):
        reason = "the limit on the size of a file is reached"
        fix = "raise it: `ulimit -f unlimited`, or ask who has set it"
    elif short or error.errno in (errno.ENOSPC, errno.EDQUOT):
        reason = "no space left on the device"
        if error.errno == errno.EDQUOT:
            reason = "the limit for files of this user is reached"
        fix = f"free some space, or choose another folder with {option}"
    return OutputError(
        f"{path} cannot be written: {reason}",
        "nothing that was there before has been changed",
        fix,
    )


def _file_limit(path: Path) -> bool:
    """Whether a file on this disk meets the limit of the process before the disk is full."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    try:
        return limit != resource.RLIM_INFINITY and shutil.disk_usage(path.parent).free > limit
    except OSError:  # such as a folder that has gone
        return False


def _hdus(frame: Frame, planes: Sequence[str] | None) -> fits.HDUList:
    whole = frame.pixels.whole()
    arrays = {
        "SCI": whole.data,
        "VAR": whole.variance,
        "DQ": whole.mask,
        "OBJMASK": whole.objmask,
        "COVERAGE": whole.coverage,
        "SHARED": whole.shared,
    }
    keep = [n for n, a in arrays.items() if a is not None and (planes is None or n in planes)]
    hdus = [fits.PrimaryHDU(header=_primary(frame.phu))]
    images = {
        name: fits.ImageHDU(data=arrays[name], header=_image_header(frame.sci, name), ver=1)
        for name in keep
    }
    hdus += [image for name, image in images.items() if name not in _OURS]
    if frame.objcat is not None and planes is None:
        hdus.append(_catalogue(frame.objcat, "OBJCAT", UNITS, ver=1))
    hdus += [image for name, image in images.items() if name in _OURS]
    if frame.refcat is not None and planes is None:
        hdus.append(_catalogue(frame.refcat, "REFCAT", refcats.UNITS))
    hdus += [h for h in (_history(frame.history), _provenance(frame.provenance)) if h is not None]
    if frame.skies is not None:
        column = fits.Column("SKYNAME", f"{max(map(len, frame.skies), default=1)}A")
        hdus.append(_rows("SKYTABLE", [column], [(name,) for name in frame.skies]))
    rows = frames_table(frame.members, frame.unit)
    hdus += [rows] if rows is not None else []
    count = len(hdus) - 1 + (records_as_bytes(frame.runs)[0] if frame.runs else 0)
    hdus[0].header["NEXTEND"] = (count, "number of extensions")
    return fits.HDUList(hdus)


def _primary(header: fits.Header) -> fits.Header:
    primary = header.copy()
    for key in ("BZERO", "BSCALE", "NAXIS1", "NAXIS2"):
        primary.remove(key, ignore_missing=True)
    return primary


def _image_header(sci: fits.Header, name: str) -> fits.Header:
    header = sci.copy()
    for key in ("BZERO", "BSCALE", "NAXIS3", "CD3_3", "CHECKSUM", "DATASUM"):
        header.remove(key, ignore_missing=True)
    header["EXTNAME"] = name
    if name in _OURS:  # which have no unit; DQ keeps that of SCI, as in DRAGONS
        header.remove("BUNIT", ignore_missing=True)
    world = next((n for n, key in enumerate(header) if _WORLD.match(key)), None)
    if "WCSAXES" in header and world is not None and header.index("WCSAXES") > world:
        card = header.cards["WCSAXES"]
        del header["WCSAXES"]
        header.insert(world, card)
    return header


def _catalogue(
    rows: Array, name: str, units: Mapping[str, str], ver: int | None = None
) -> fits.BinTableHDU:
    table = fits.BinTableHDU(data=rows, name=name, ver=ver)
    for column in table.columns:
        unit = units.get(column.name)
        if unit:
            column.unit = unit
    return table


def _rows(name: str, columns: list[fits.Column], rows: Sequence[tuple[str, ...]]) -> Any:
    for number, column in enumerate(columns):
        column.array = np.array([row[number] for row in rows], dtype=np.str_)
    return fits.BinTableHDU.from_columns(columns, name=name)


def _history(rows: Sequence[HistoryRow]) -> Any:
    if not rows:
        return None
    width = max(max(len(row.args) for row in rows), 1)
    columns = [
        fits.Column("primitive", "128A"),
        fits.Column("args", f"{width}A"),
        fits.Column("timestamp_start", "28A"),
        fits.Column("timestamp_stop", "28A"),
    ]
    values = [(r.primitive, r.args, r.timestamp_start, r.timestamp_stop) for r in rows]
    return _rows("HISTORY", columns, values)


def _provenance(rows: Sequence[ProvenanceRow]) -> Any:
    if not rows:
        return None
    columns = [
        fits.Column("timestamp", "28A"),
        fits.Column("filename", "128A"),
        fits.Column("md5", "128A"),
        fits.Column("provenance_added_by", "128A"),
    ]
    values = [(r.timestamp, r.filename, r.md5, r.provenance_added_by) for r in rows]
    return _rows("PROVENANCE", columns, values)
