"""Hidden saturation: the cores of very bright stars, read out as low values."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from f2yaml.interpreter.algorithms.jit import kernel, part
from f2yaml.interpreter.dq import NOT_SIGNAL

#: Larger holes are not cores of stars.
LARGEST_HOLE = 10_000

OPEN = np.uint8(1)
CLOSED = np.uint8(2)
UNUSABLE = np.uint16(NOT_SIGNAL)


def hidden_saturation(
    raw: npt.NDArray[np.float32] | npt.NDArray[np.int32],
    mask: npt.NDArray[np.uint16] | None,
    *,
    nonlinear: float,
    saturation: float,
) -> npt.NDArray[np.bool_]:
    """Find the pixels below `nonlinear` in holes closed off by saturated pixels.

    A hole is a 4-connected region of unsaturated pixels with only saturated neighbours, of at most
    10000 pixels, which does not touch the edge of the image. At least one of the saturated pixels
    around it must be unflagged, so that a group of hot pixels does not count as a star.

    Parameters
    ----------
    raw : float32 or int32, shape (ny, nx), adu
    mask : uint16, shape (ny, nx), or None
        Known bad pixels.
    nonlinear, saturation : float
        Levels of the frame (times the coadds) [adu].

    Returns
    -------
    bool, shape (ny, nx)
        True where bit 4 is to be set.

    References
    ----------
    Spec 5.1, step 4. Ours: the reference flags every connected region of at most 10000 pixels
    below `nonlinear`, whatever is around it. Pixels between the two levels may be part of a hole,
    as the flank of the collapsed core passes through them, but are not flagged.
    """
    assert raw.flags.c_contiguous
    out = np.zeros(raw.shape, dtype=np.bool_)
    bits = np.zeros((0, 0), np.uint16) if mask is None else mask
    if reached(raw, saturation):
        _fill_holes(raw, bits, np.float32(nonlinear), np.float32(saturation), out)
    return out


def reached(raw: npt.NDArray[np.float32] | npt.NDArray[np.int32], level: float) -> bool:
    """Tell whether any pixel of `raw` (C-contiguous) reaches `level`."""
    return bool(_any_above(raw.reshape(-1), np.float32(level)))


@kernel
def _any_above(raw, level):  # type: ignore[no-untyped-def]
    for o in range(0, raw.size, 4096):
        run = raw[o : o + 4096]
        found = np.int32(0)
        for t in range(run.size):
            found |= np.int32(np.float32(run[t]) >= level)
        if found:
            return True
    return False


@kernel
def _fill_holes(raw, bits, nonlinear, saturation, out):  # type: ignore[no-untyped-def]
    ny, nx = raw.shape
    seen = np.zeros(raw.shape, np.uint8)
    queue = np.empty((LARGEST_HOLE + 8, 2), np.int32)
    for y in range(1, ny - 1):
        for x in range(1, nx - 1):
            # The first pixel of a hole, in the order of reading, is below and right of its wall.
            if raw[y, x] >= saturation or seen[y, x] != 0:
                continue
            if not (raw[y - 1, x] >= saturation and raw[y, x - 1] >= saturation):
                continue
            length = _flood(raw, bits, saturation, y, x, seen, queue)
            for k in range(length):
                j, i = queue[k, 0], queue[k, 1]
                out[j, i] = raw[j, i] < nonlinear


@part
def _flood(raw, bits, saturation, y, x, seen, queue):  # type: ignore[no-untyped-def]
    """Fill the region of (y, x); return its size if it is a hole, else 0.

    A region found open is marked, so that no later fill has to enter it again.
    """
    ny, nx = raw.shape
    queue[0, 0] = y
    queue[0, 1] = x
    seen[y, x] = CLOSED
    length = 1
    done = 0
    walled = bits.size == 0
    is_open = False
    while done < length and not is_open:
        j, i = queue[done, 0], queue[done, 1]
        done += 1
        if j == 0 or i == 0 or j == ny - 1 or i == nx - 1 or length > LARGEST_HOLE:
            is_open = True
            break
        for dj, di in ((-1, 0), (0, -1), (0, 1), (1, 0)):
            a, b = j + dj, i + di
            if raw[a, b] >= saturation:
                walled = walled or bits[a, b] & UNUSABLE == 0
            elif seen[a, b] == OPEN:
                is_open = True
            elif seen[a, b] == 0:
                seen[a, b] = CLOSED
                queue[length, 0] = a
                queue[length, 1] = b
                length += 1
    if is_open or length > LARGEST_HOLE:
        for k in range(length):
            seen[queue[k, 0], queue[k, 1]] = OPEN
        return 0
    return length if walled else 0
