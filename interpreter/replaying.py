"""Doing again what made a product, from its own record, and comparing pixels."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from f2yaml.interpreter.errors import BadInput, Problem
from f2yaml.interpreter.fits import checksum, read_frame
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.pixels import PLANES
from f2yaml.interpreter.records import RunRecord, versions

#: Planes that are compared, by their names in files.
_NAMES = {"data": "SCI", "variance": "VAR", "mask": "DQ", "coverage": "COVERAGE"}
#: Options that are given again as they were; settings of ``-p`` and ``--param`` are in the recipe.
_AGAIN = ("--mode", "--suffix")


@dataclass(frozen=True)
class Replay:
    """What it takes to do a run again.

    Parameters
    ----------
    record : RunRecord
    recipe : str
        Text of its recipe.
    inputs : tuple of Path
    calibrations : tuple of (str, Path)
        Type and file.
    options : tuple of str
        Words of the command line.
    changes : tuple of str
        What is not as it was: versions, checksums.
    """

    record: RunRecord
    recipe: str
    inputs: tuple[Path, ...]
    calibrations: tuple[tuple[str, Path], ...]
    options: tuple[str, ...]
    changes: tuple[str, ...]

    @property
    def words(self) -> list[str]:
        """Return the words that name calibrations: of kinds that have one for all frames."""
        kinds = [kind for kind, _ in self.calibrations]
        return [
            word
            for kind, path in self.calibrations
            if kinds.count(kind) == 1
            for word in ("--user-cal", f"{kind}:{path}")
        ]

    @property
    def to_enter(self) -> list[Path]:
        """Return the calibrations that a database has to choose from."""
        kinds = [kind for kind, _ in self.calibrations]
        return [path for kind, path in self.calibrations if kinds.count(kind) > 1]


@dataclass(frozen=True)
class Difference:
    """How one plane differs; `pixels` is 0 where it is the same, -1 where shapes differ."""

    plane: str
    pixels: int
    largest: float

    @property
    def same(self) -> bool:
        """Whether all pixels are the same."""
        return self.pixels == 0


def prepare(product: Path, look_in: Sequence[Path]) -> Replay:
    """Return what it takes to do the last run of a product again.

    Parameters
    ----------
    product : Path
    look_in : sequence of Path
        Folders with the inputs and the calibrations; those of the product and of the call are
        looked into as well, and their ``calibrations``.

    Raises
    ------
    BadInput
        The file has no record of a run, or what it names is not there.
    """
    frame = read_frame(product)
    if not frame.runs or not frame.runs[-1].lines:
        raise BadInput(
            f"{product} does not say how it was made",
            "it has no table RECIPE: it is not a product of f2yaml, or of a version before 0.3",
            "name a product that has one (`f2yaml show FILE` tells)",
        )
    record = frame.runs[-1]
    places = [*look_in, product.absolute().parent, Path.cwd()]
    places += [p / "calibrations" for p in (*places, product.absolute().parent.parent)]
    known = {row.filename: row.md5 for row in frame.provenance}
    changes = _versions(record)
    problems: list[Problem] = []
    inputs = [_found(name, places, problems) for name in record.of("input").values()]
    calibrations = []
    for fact in record.facts:
        if fact.kind == "calibration":
            name = fact.value.partition(":")[0]
            folders = [*places, *(place / fact.name for place in places)]
            calibrations.append((fact.name, _found(name, folders, problems)))
    if problems:
        raise BadInput(problems=problems)
    for path in (*inputs, *(path for _, path in calibrations)):
        md5 = known.get(path.name, "")
        if md5 and checksum(path) != md5:
            changes.append(f"{path} is not the file that was used: its checksum is another")
    options = [word for n in _AGAIN if (v := record.fact("option", n)) for word in (n, v)]
    if record.fact("option", "--skip-bad"):
        options.append("--skip-bad")
    for check in shlex.split(record.fact("option", "--allow")):
        options += ["--allow", check]
    recipe = "\n".join(record.lines) + "\n"
    return Replay(
        record, recipe, tuple(inputs), tuple(calibrations), tuple(options), tuple(changes)
    )


def _versions(record: RunRecord) -> list[str]:
    now = versions()
    return [
        f"{name} is {now.get(name, 'not installed')}, it was {before}"
        for name, before in record.of("version").items()
        if now.get(name) != before
    ]


def _found(name: str, places: Iterable[Path], problems: list[Problem]) -> Path:
    """Return the first file of a name, absolute; a name is never a path to elsewhere."""
    bare = Path(name).name
    tried = dict.fromkeys(place.absolute() / bare for place in places)
    for path in tried:
        if path.is_file():
            return path
    folders = ", ".join(dict.fromkeys(str(path.parent) for path in list(tried)[:3]))
    problems.append(
        Problem(
            f"{bare} is not there",
            f"the product was made of it; looked into {folders}"
            + (" and others" if len(tried) > 3 else ""),
            "name its folder with --look-in",
        )
    )
    return Path(bare)


def compare(before: Path, after: Path) -> list[Difference]:
    """Return how the planes of two files differ, bit for bit; NaN is the same as NaN.

    Parameters
    ----------
    before, after : Path
    """
    first, second = read_frame(before), read_frame(after)
    return [
        _difference(_NAMES[plane], _plane(first, plane), _plane(second, plane))
        for plane in PLANES
        if plane in _NAMES and (first.has(plane) or second.has(plane))
    ]


def _plane(frame: Frame, name: str) -> Any:
    return getattr(frame.pixels.whole(), name)


def _difference(name: str, one: Any, two: Any) -> Difference:
    if one is None or two is None or one.shape != two.shape:
        return Difference(name, -1, float("inf"))
    other = one != two
    if one.dtype.kind == "f":
        other &= ~(np.isnan(one) & np.isnan(two))
    count = int(np.count_nonzero(other))
    if not count:
        return Difference(name, 0, 0.0)
    apart = np.abs(one[other].astype(np.float64) - two[other].astype(np.float64))
    return Difference(name, count, float(np.nanmax(np.append(apart, 0.0))))
