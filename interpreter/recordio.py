"""Records and rows of frames as tables of a FITS file, and back.

A product has the tables RECIPE (run, line), STEPS, VALUES, RUNS (facts) and, where it is a stack,
FRAMES. Runs are numbered from 1 in the order in which they were done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from f2yaml.interpreter.framerows import COLUMNS, FrameRow
from f2yaml.interpreter.records import FactRow, RunRecord, StepRow, ValueRow

#: Extensions that hold the records of runs.
RECORDS = ("RECIPE", "STEPS", "VALUES", "RUNS")
_BLOCK = 2880
#: Records that were read: the frames of a stream have the same.
_KNOWN: dict[tuple[bytes | None, ...], tuple[RunRecord, ...]] = {}
_REMEMBERED = 8
_FORMATS = {"int": ("J", np.int32), "float": ("D", np.float64)}
_UNITS = {"seconds": "s"}
_Column = tuple[str, str, str, str]


def _columns(row: Any) -> tuple[_Column, ...]:
    own = tuple((f.name, str(f.type), _UNITS.get(f.name, ""), "") for f in fields(row))
    return (("run", "int", "", "number of the run"), *own)


_LINE = (("run", "int", "", "number of the run"), ("line", "str", "", "line of the recipe"))
_KINDS: dict[str, tuple[_Column, ...]] = {
    "RECIPE": _LINE,
    "STEPS": _columns(StepRow),
    "VALUES": _columns(ValueRow),
    "RUNS": _columns(FactRow),
}


def frames_table(rows: Sequence[FrameRow], unit: str) -> fits.BinTableHDU | None:
    """Return the table of the frames of a stack, whose unit is adu or electron; None for none."""
    if not rows:
        return None
    # Electrons and adu are no units of the FITS standard: said in words, not in TUNIT.
    columns = [
        (name, kind, "", f"{text} [{unit}]") if given == "electron" else (name, kind, given, text)
        for name, kind, given, text in COLUMNS
    ]
    return _table("FRAMES", columns, [astuple(row) for row in rows])


@lru_cache(maxsize=4)
def records_as_bytes(runs: tuple[RunRecord, ...]) -> tuple[int, bytes]:
    """Return how many extensions hold the records of runs, and what a file has to end in.

    All frames of a stream have the same records: they are made once, not once a file.
    """
    numbered = list(enumerate(runs, 1))
    rows: dict[str, list[tuple[Any, ...]]] = {
        "RECIPE": [(n, line) for n, run in numbered for line in run.lines],
        "STEPS": [(n, *astuple(row)) for n, run in numbered for row in run.steps],
        "VALUES": [(n, *astuple(row)) for n, run in numbered for row in run.values],
        "RUNS": [(n, *astuple(row)) for n, run in numbered for row in run.facts],
    }
    tables = [_table(name, _KINDS[name], rows[name]) for name in RECORDS if rows[name]]
    content = BytesIO()
    fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(content)
    return len(tables), content.getvalue()[_BLOCK:]


def _table(name: str, columns: Sequence[_Column], rows: Sequence[tuple[Any, ...]]) -> Any:
    made = []
    for (column, kind, unit, _), values in zip(columns, zip(*rows, strict=True), strict=True):
        form, dtype = _FORMATS.get(kind, ("", np.float64))
        array = np.array(values, dtype=dtype if form else np.bytes_)
        made.append(
            fits.Column(column, form or f"{max(1, array.itemsize)}A", unit or None, array=array)
        )
    table = fits.BinTableHDU.from_columns(made, name=name)
    for number, (_, _, _, text) in enumerate(columns, 1):
        if text:
            table.header.comments[f"TTYPE{number}"] = text[:47]
    return table


def read_records(path: Path, hdus: Mapping[str, fits.BinTableHDU]) -> tuple[RunRecord, ...]:
    """Return the records of runs in a file; tables of other programs are left out.

    Parameters
    ----------
    path : Path
    hdus : mapping of str to BinTableHDU
        The extensions in `RECORDS` that the file has.
    """
    given = {name: hdus[name] for name in RECORDS if name in hdus}
    if not given:
        return ()
    content = tuple(_raw(path, hdu) for hdu in given.values())
    if None in content:  # decompressed in memory
        return _runs(given)
    if content not in _KNOWN:
        while len(_KNOWN) >= _REMEMBERED:
            _KNOWN.pop(next(iter(_KNOWN)), None)
        _KNOWN[content] = _runs(given)
    return _KNOWN[content]


def _raw(path: Path, hdu: fits.BinTableHDU) -> bytes | None:
    """Return the bytes of a table as they lie in the file."""
    place = hdu.fileinfo()
    if place is None or not place.get("datSpan") or path.suffix.lower() in (".gz", ".bz2"):
        return None
    with path.open("rb") as file:
        file.seek(place["datLoc"])
        return file.read(place["datSpan"])


def _runs(hdus: Mapping[str, fits.BinTableHDU]) -> tuple[RunRecord, ...]:
    rows = {n: _rows(hdus[n].data if n in hdus else None, _KINDS[n]) for n in RECORDS}
    numbers = sorted({row[0] for name in RECORDS for row in rows[name]})
    return tuple(
        RunRecord(
            tuple(row[1] for row in rows["RECIPE"] if row[0] == n),
            tuple(StepRow(*row[1:]) for row in rows["STEPS"] if row[0] == n),
            tuple(ValueRow(*row[1:]) for row in rows["VALUES"] if row[0] == n),
            tuple(FactRow(*row[1:]) for row in rows["RUNS"] if row[0] == n),
        )
        for n in numbers
    )


def read_frames(hdu: fits.BinTableHDU) -> tuple[FrameRow, ...]:
    """Return the rows of the frames of a stack; a table of another program has none."""
    return tuple(FrameRow(*row) for row in _rows(hdu.data, COLUMNS))


def _rows(data: Any, columns: Sequence[_Column]) -> list[tuple[Any, ...]]:
    names = [column[0] for column in columns]
    if data is None or data.dtype.names is None or tuple(data.dtype.names) != tuple(names):
        return []  # a table of the same name by another program
    plain: list[list[Any]] = []
    for name, kind, _, _ in columns:
        values = np.asarray(data.field(name))
        if kind not in _FORMATS:
            plain.append(
                [str(value).rstrip() if name != "line" else str(value) for value in values]
            )
        elif values.dtype.kind in "iuf":
            plain.append(values.tolist())
        else:
            raise ValueError(f"column {name} of a record is no number")
    return list(zip(*plain, strict=True))
