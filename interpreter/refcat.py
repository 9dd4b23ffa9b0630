"""Reference catalogues: files with positions and magnitudes of stars, in whatever columns.

A file may be FITS, ECSV or CSV, told apart by its content. Columns are found by the names that are
in use for them; a name that is not understood ends in a message that lists what was looked for.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from f2yaml.interpreter.algorithms.catalog import MISSING
from f2yaml.interpreter.algorithms.tan import separation
from f2yaml.interpreter.errors import BadInput, FrameMismatch, RequestError
from f2yaml.interpreter.f2.detector import SAME_FILTER
from f2yaml.interpreter.pixels import Array

if TYPE_CHECKING:
    from f2yaml.interpreter.frame import Frame

#: One row of REFCAT: number of the star in its file, position in deg, magnitude in the filter.
REFCAT_DTYPE: Final = np.dtype(
    [
        ("Id", "i4"),
        ("RAJ2000", "f8"),
        ("DEJ2000", "f8"),
        ("filtermag", "f4"),
        ("filtermag_err", "f4"),
    ]
)
UNITS: Final[Mapping[str, str]] = {
    "RAJ2000": "deg",
    "DEJ2000": "deg",
    "filtermag": "mag",
    "filtermag_err": "mag",
}

#: Names of columns, without case and signs (``RA_ICRS`` is ``raicrs``).
_RA: Final = (
    "ra", "raj2000", "raicrs", "radeg", "ra2000", "alphaj2000", "rightascension", "xworld",
)  # fmt: skip
_DEC: Final = (
    "dec", "de", "dej2000", "decj2000", "deicrs", "decicrs", "decdeg", "dedeg", "dec2000",
    "deltaj2000", "declination", "yworld",
)  # fmt: skip
#: Bands in which a catalogue may have the magnitudes of a filter, its own first.
_BANDS: Final[Mapping[str, tuple[str, ...]]] = {
    "Y": ("y",),
    "J": ("j",),
    "J-lo": ("jlo", "j"),
    "H": ("h",),
    "Ks": ("ks", "k"),
    "K-blue": ("kblue", "ks", "k"),
    "K-red": ("kred", "ks", "k"),
    "K-long": ("klong", "ks", "k"),
}
_ANY_BAND: Final = ("filtermag", "mag", "magnitude")
#: Farther than this from every frame, a catalogue is of another field [arcsec].
_FIELD_ARCSEC: Final = 360.0


class Magnitudes(NamedTuple):
    """Magnitudes and errors (NaN where unknown), and the column they are from.

    `own` says that the column is the filter's, not that of a similar band.
    """

    value: Array
    error: Array
    column: str
    own: bool


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """A catalogue as read.

    Parameters
    ----------
    name : str
        Name of the file.
    md5 : str
        Its checksum.
    number : ndarray of int
        Number of each star in the file, from 1; rows without a position are left out.
    ra, dec : ndarray of float64, deg
    columns : mapping of str to ndarray of float64
        All columns of numbers.
    """

    name: str
    md5: str
    number: Array
    ra: Array
    dec: Array
    columns: Mapping[str, Array]

    def magnitudes(self, filter_name: str, column: str | None = None) -> Magnitudes:
        """Return the magnitudes for a filter.

        Parameters
        ----------
        filter_name : str
            Pretty name of the filter.
        column : str, optional
            Column to take, whatever its name.

        Raises
        ------
        RequestError
            No column can be recognised, or the one named is not there.
        """
        known = {_plain(name): name for name in reversed(list(self.columns))}
        wanted = SAME_FILTER.get(filter_name, filter_name)
        bands = [_plain(column)] if column else list(_BANDS.get(wanted, (_plain(wanted),)))
        own = _plain(wanted)
        for band in bands:
            for name in (band, f"{band}mag", f"mag{band}", f"{band}m"):
                if name in known:
                    error = self._error(known, name, band)
                    return Magnitudes(self.columns[known[name]], error, known[name], band == own)
        for name in () if column else _ANY_BAND:
            if name in known:
                error = self._error(known, name, "")
                return Magnitudes(self.columns[known[name]], error, known[name], True)
        raise RequestError(
            f"{self.name} has no column {column}" if column else
            f"{self.name} has no magnitudes for the filter {filter_name}",
            f"its columns of numbers are {', '.join(self.columns) or 'none'}",
            "name one with -p addReferenceCatalog:magnitude=COLUMN"
            + ("" if column else f", or call it {bands[0]}mag"),
        )  # fmt: skip

    def _error(self, known: Mapping[str, str], name: str, band: str) -> Array:
        names = [f"{pre}{name}" for pre in ("e", "err", "error", "sig", "sigma", "d")]
        names += [f"{name}{post}" for post in ("err", "error", "sig", "sigma", "sigcom", "unc")]
        names += [f"{pre}{band}" for pre in ("magerr", "emag", "errmag")]
        for candidate in names:
            if candidate in known:
                error = self.columns[known[candidate]]
                return np.where(error > 0, error, np.nan)
        return np.full(len(self.ra), np.nan)

    def on_frame(
        self, frame: Frame, *, column: str | None = None, radius_deg: float | None = None
    ) -> Array:
        """Return the stars on and around a frame, as rows of `REFCAT_DTYPE`.

        Parameters
        ----------
        frame : Frame
        column : str, optional
            See `magnitudes`.
        radius_deg : float, optional
            Largest distance from the centre of the frame; by default 30 arcsec outside its edges.
        """
        magnitudes = self.magnitudes(str(frame.describe("filter_name", pretty=True)), column)
        ny, nx = frame.shape[-2:]
        if radius_deg is None:
            x, y = frame.wcs.to_pixel(self.ra, self.dec)
            margin = 30.0 / frame.wcs.pixel_scale()
            inside = (x > -margin) & (x < nx + margin) & (y > -margin) & (y < ny + margin)
        else:
            centre = frame.wcs.to_sky((nx - 1) / 2, (ny - 1) / 2)
            inside = separation(self.ra, self.dec, *centre) <= radius_deg * 3600.0
        rows = np.flatnonzero(inside)
        table = np.zeros(len(rows), REFCAT_DTYPE)
        table["Id"], table["RAJ2000"] = self.number[rows], self.ra[rows]
        table["DEJ2000"] = self.dec[rows]
        for name, values in (("filtermag", magnitudes[0]), ("filtermag_err", magnitudes[1])):
            table[name] = np.where(np.isfinite(values[rows]), values[rows], MISSING)
        return table


def check_catalogue(path: Path, frames: Sequence[Frame], column: str | None = None) -> None:
    """Check that a catalogue can serve frames, from their headers alone.

    Raises
    ------
    BadInput, RequestError
        As `read_catalogue` and `Catalogue.magnitudes`.
    FrameMismatch
        It is of another part of the sky.
    """
    catalogue = read_catalogue(path)
    for name in dict.fromkeys(str(f.describe("filter_name", pretty=True)) for f in frames):
        catalogue.magnitudes(name, column)
    nearest = [
        float(separation(catalogue.ra, catalogue.dec, *frame.wcs.crval).min()) for frame in frames
    ]
    if nearest and min(nearest) > _FIELD_ARCSEC:
        raise FrameMismatch(
            f"{path.name} has no star in the field of any frame: the nearest is "
            f"{min(nearest) / 3600:.2f} deg away",
            "positions and magnitudes are compared star by star",
            "give a catalogue of this field",
        )


def read_catalogue(path: Path) -> Catalogue:
    """Read a catalogue from a FITS, ECSV or CSV file, plain or gzipped.

    Positions are in deg, or in a unit that the column names, or sexagesimal (RA in hours).

    Raises
    ------
    BadInput
        The file cannot be read as a table, or has no usable position.
    RequestError
        Columns of positions cannot be recognised.
    """
    try:
        content = path.read_bytes()
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        table = _table(content)
    except (OSError, EOFError, ValueError, TypeError, KeyError, IndexError) as error:
        reason = (str(error).splitlines() or [repr(error)])[0]
        raise BadInput(
            f"{path} cannot be read as a catalogue: {reason}",
            "stars are compared with it",
            "give a table in FITS, ECSV or CSV (first line: names of columns, with commas between)",
        ) from error
    plain = {_plain(name): name for name in reversed(table.colnames)}
    ra_name = next((plain[n] for n in _RA if n in plain), None)
    dec_name = next((plain[n] for n in _DEC if n in plain), None)
    if ra_name is None or dec_name is None:
        lacking = "right ascension" if ra_name is None else "declination"
        raise RequestError(
            f"{path} has no column for the {lacking}",
            f"its columns are {', '.join(table.colnames)}",
            "call them RA and Dec, in deg",
        )
    ra, dec = _angle(table[ra_name], path, hours=True), _angle(table[dec_name], path, hours=False)
    usable = np.isfinite(ra) & (np.abs(dec) <= 90.0)
    if not usable.any():
        raise BadInput(
            f"{path} has no star with a position",
            f"none of its {len(table)} rows has a number in {ra_name} and one within 90 in "
            f"{dec_name}",
            "give a catalogue with positions in deg",
        )
    numbers = {
        name: _numbers(table[name])[usable]
        for name in table.colnames
        if table[name].dtype.kind in "fiu" and table[name].ndim == 1
    }
    return Catalogue(
        name=path.name,
        md5=md5,
        number=np.flatnonzero(usable) + 1,
        ra=np.mod(ra[usable], 360.0),
        dec=dec[usable],
        columns=numbers,
    )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _table(content: bytes) -> Any:
    """Return the content of a file as an astropy table."""
    from astropy.io import fits
    from astropy.table import Table

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about units that are not standard, which do not matter
        if content[:9] == b"SIMPLE  =":
            with fits.open(BytesIO(content)) as hdus:
                tables = [h for h in hdus if isinstance(h, fits.BinTableHDU | fits.TableHDU)]
                if not tables:
                    raise ValueError("it has no table extension")
                named = [h for h in tables if h.name == "REFCAT"]
                return Table.read((named or tables)[0])
        text = content.decode("utf-8-sig")
        if text.startswith("# %ECSV"):
            return Table.read(text.splitlines(), format="ascii.ecsv")
        return Table.read(text.splitlines(), format="ascii.csv", comment=r"\s*#")


def _numbers(column: Any) -> Array:
    """Return a column of numbers as float64, NaN where it has no value."""
    values: Array = np.ma.filled(np.ma.asarray(column, dtype=np.float64), np.nan)
    return np.where(np.abs(values) >= 990.0, np.nan, values) if _is_magnitude(column) else values


def _is_magnitude(column: Any) -> bool:
    return "mag" in str(column.name).lower() or str(column.unit or "") == "mag"


def _angle(column: Any, path: Path, *, hours: bool) -> Array:
    """Return a column of angles in deg."""
    if column.dtype.kind in "fiu":
        factors = {"hourangle": 15.0, "h": 15.0, "rad": 180.0 / np.pi}
        return _numbers(column) * factors.get(str(column.unit or ""), 1.0)
    from astropy.coordinates import Angle

    texts = [str(text).strip() for text in np.ma.filled(np.ma.asarray(column), "")]
    try:
        return np.array([float(text) if text else np.nan for text in texts])
    except ValueError:  # not numbers: sexagesimal
        pass
    try:
        unit = "hourangle" if hours else "deg"
        return np.array([Angle(text, unit=unit).deg if text else np.nan for text in texts])
    except (ValueError, TypeError) as error:
        raise BadInput(
            f"{path} has a position in column {column.name} that is none: {error}",
            "stars are matched by position",
            "give positions in deg, or as hh:mm:ss.s and dd:mm:ss.s",
        ) from error
