"""Rows of many frames in stacked arrays, read and calibrated by one call where that can be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from f2yaml.interpreter.pixels import (
    DTYPES,
    PLANES,
    Array,
    Chain,
    OnDisk,
    Overlay,
    Pixels,
    Planes,
)

#: Counts as FITS files hold them: 32-bit integers, big-endian.
_COUNTS = ">i4"


def stack_into(sources: Sequence[Pixels], start: int, stop: int, out: Planes) -> list[Planes]:
    """Return rows of each source, in stacked arrays where there are such.

    Parameters
    ----------
    sources : sequence of Pixels, shape (ny, nx) each
    start, stop : int
    out : Planes, shape (n, stop - start, nx)
        Arrays to fill, C-contiguous; rows of planes that a source lacks stay as they are.

    Returns
    -------
    list of Planes, shape (stop - start, nx)
        Of each source; those that `out` has are rows of it.
    """
    peeled = [_peeled(pixels) for pixels in sources]
    bases = [base for base, _ in peeled]
    targets = [Planes(*(None if p is None else p[n] for p in out)) for n in range(len(sources))]  # type: ignore[arg-type]
    whole = _in_one_call(bases, start, stop, out)
    rows = []
    for (base, over), target in zip(peeled, targets, strict=True):
        if whole:
            made = target._replace(objmask=None, coverage=None)
        elif isinstance(base, Chain):
            made = base.into(start, stop, target)
        else:
            made = base.rows(start, stop)
        laid = {name: None if p is None else p[start:stop] for name, p in over.items()}
        rows.append(_filled(made._replace(**laid), target))  # type: ignore[arg-type]
    return rows


def calibrated_band(sources: Sequence[Pixels], start: int, stop: int) -> Planes | None:
    """Return stacked rows of frames that are one pass over their counts; None if some are not.

    Parameters
    ----------
    sources : sequence of Pixels, shape (ny, nx) each
    start, stop : int

    Returns
    -------
    Planes, shape (n, stop - start, nx), or None
        A plane that any source lacks is None.
    """
    bases = [_peeled(pixels)[0] for pixels in sources]
    if not all(isinstance(base, Chain) and base.joined for base in bases):
        return None
    shape = (len(sources), stop - start, sources[0].shape[1])
    wanted = frozenset.intersection(
        *(b.present | p.present for b, p in zip(bases, sources, strict=True))
    )
    out = Planes(*(np.empty(shape, DTYPES[n]) if n in wanted else None for n in PLANES))  # type: ignore[arg-type]
    rows = stack_into(sources, start, stop, out)
    parts = zip(out, zip(*rows, strict=True), strict=True)
    return Planes(*(None if any(p is None for p in each) else plane for plane, each in parts))  # type: ignore[arg-type]


def _peeled(pixels: Pixels) -> tuple[Pixels, dict[str, Any]]:
    """Return the source under the planes that are laid over it, and these."""
    over: dict[str, Any] = {}
    while isinstance(pixels, Overlay):
        over = {**pixels.planes, **over}
        pixels = pixels.base
    return pixels, over


def _in_one_call(bases: Sequence[Pixels], start: int, stop: int, out: Planes) -> bool:
    """Calibrate raw frames of the same calibrations together; False if they are not that."""
    works, files = [], []
    for base in bases:
        if not (isinstance(base, Chain) and len(base.work) == 1 and isinstance(base.base, OnDisk)):
            return False
        file, *others = base.base.planes
        if file is None or any(others) or file.dtype != _COUNTS or len(file.shape) != 2:
            return False
        works.append(base.work[0])
        files.append(file)
    fill = getattr(works[0], "fill_stack", None) if works else None
    if fill is None:
        return False

    def stored() -> Array:
        made = np.empty((len(files), stop - start, files[0].shape[1]), np.uint32)
        for file, rows in zip(files, made, strict=True):
            file.read_stored(start, rows)
        return made

    return bool(fill(works, stored, start, stop, out))


def _filled(made: Planes, target: Planes) -> Planes:
    """Return planes, copied into those of `target` that they are not already."""
    filled: list[Array | None] = []
    for plane, place in zip(made, target, strict=True):
        if plane is None or place is None or plane is place:
            filled.append(plane)
        else:
            place[:] = plane
            filled.append(place)
    return Planes(*filled)  # type: ignore[arg-type]
