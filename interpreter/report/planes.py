"""Planes of a product as text in a page: coded in 16 bits, compressed, base64.

Values come back to a stated precision, not as float32: noise does not compress, and its last bits
would be three quarters of the page.
"""

from __future__ import annotations

import base64
import math
import zlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.pixels import Array

#: Values near the middle are kept to half of this share of the noise.
STEP = 0.01
#: Codes per natural unit far from the middle, where steps grow with the value.
SOFT = 4000.0
#: Values farther than this many steps from the middle are kept as they are.
FAR = SOFT
#: ... unless there are more of them than this share: then those that are farthest.
MOST_FAR = 0.1
#: Step of the logarithm of the noise: kept to half of it.
NOISE_STEP = 0.004
#: The code of a pixel without a value.
NO_VALUE = -32768


@dataclass(frozen=True, slots=True)
class Coded:
    """A plane in a page: how to read it, its text, and that of the values kept as they are."""

    meta: dict[str, Any]
    text: str
    exact: str = ""


def packed(codes: Array, **meta: Any) -> Coded:
    """Return codes of one or two bytes as text.

    Low bytes stand before high ones, which compresses better.
    """
    ny, nx = codes.shape
    kind = {"i": "int", "u": "uint"}[codes.dtype.kind]
    told = {"type": f"{kind}{8 * codes.dtype.itemsize}", "nx": nx, "ny": ny, **meta}
    return Coded(told, _text(codes))


def _text(*arrays: Array) -> str:
    """Return arrays as text: first bytes of all values, second bytes, ...; zlib; base64."""
    parts = []
    for array in arrays:
        stored = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        parts.append(stored.view(np.uint8).reshape(array.size, array.dtype.itemsize).T)
    content = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
    return base64.b64encode(zlib.compress(content, 2)).decode("ascii")


def science(data: Array, good: Array, noise: float | None = None) -> Coded:
    """Code values around their median by an inverse hyperbolic sine.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx)
    good : ndarray of bool, shape (ny, nx)
        Pixels that the middle and the noise are taken from.
    noise : float, optional
        Noise of a pixel, where it is known; the scatter of the values otherwise.

    Notes
    -----
    ``value = middle + step SOFT sinh(code / SOFT)``, which is exact to ``step / 2`` near the
    middle. Values farther than `FAR` steps are kept as float32 beside the codes, so that all are
    exact to ``accuracy``.
    """
    finite = np.isfinite(data)
    sample = data[good & finite] if (good & finite).any() else data[finite]
    sample = sample[:: max(1, sample.size // 500_000)].astype(np.float64)
    middle = float(np.float32(np.median(sample))) if sample.size else 0.0
    scatter = 1.4826 * float(np.median(np.abs(sample - middle))) if sample.size else 0.0
    spread = min(filter(None, (scatter, noise or 0.0)), default=1.0)
    step = STEP * spread
    away = np.where(finite, np.abs(data - np.float32(middle)), 0).ravel()
    limit = FAR * step
    far = np.flatnonzero(away > limit)
    if far.size > MOST_FAR * away.size:
        highest = step * SOFT * math.sinh(32767 / SOFT)  # beyond which there are no codes
        limit = min(highest, float(np.quantile(away[far], 1 - MOST_FAR * away.size / far.size)))
        far = far[away[far] > limit]
    unit = np.float32(1 / (step * SOFT))
    with np.errstate(invalid="ignore", over="ignore"):
        codes = np.float32(SOFT) * np.arcsinh((data - np.float32(middle)) * unit)
        codes = np.where(finite, np.clip(np.rint(codes), -32767, 32767), NO_VALUE)
    coded = packed(
        codes.astype(np.int16),
        code="asinh",
        middle=middle,
        step=step,
        soft=SOFT,
        exact=int(far.size),
        accuracy=0.5 * step * math.hypot(1, limit / (step * SOFT)),
        noise=spread,
    )
    return replace(coded, exact=_text(far.astype(np.uint32), data.ravel()[far]))


def noise_of(variance: Array) -> Coded:
    """Code the square root of a variance by its logarithm, to 0.2 per cent; 0 is none."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        logs = np.log(variance) * np.float32(0.5)
    known = np.isfinite(logs)
    low = float(logs[known].min()) if known.any() else 0.0
    codes = np.where(known, np.clip(np.rint((logs - low) / NOISE_STEP), 0, 65534) + 1, 0)
    return packed(codes.astype(np.uint16), code="log", low=low, step=NOISE_STEP)


def planes_of(frame: Frame, factor: int = 1) -> tuple[dict[str, Coded], Array, Array]:
    """Return the planes of a frame for a page, the noise or scatter of good pixels, and their DQ.

    Parameters
    ----------
    frame : Frame
    factor : int
        Blocks of `factor` x `factor` pixels become one.

    Returns
    -------
    planes : dict of Coded
        By name: SCI, NOISE, DQ, COVERAGE.
    variance, mask : ndarray
        Of the whole frame, not in blocks; empty where it has none.
    """
    whole = frame.pixels.whole()
    data = np.asarray(whole.data, dtype=np.float32)
    mask, variance = whole.mask, whole.variance
    good = np.isfinite(data) if mask is None else np.isfinite(data) & ((mask & 0x59) == 0)
    known = variance[good] if variance is not None else np.empty(0, np.float32)
    typical = math.sqrt(float(np.median(known[:: max(1, known.size // 200_000)]))) if (
        known.size and (known[:: max(1, known.size // 200_000)] > 0).any()
    ) else None  # fmt: skip
    shown = data if factor == 1 else block_mean(data, good, factor)
    seen = good if factor == 1 else np.isfinite(shown)
    made = {"SCI": science(shown, seen, typical)}
    if variance is not None:
        made["NOISE"] = noise_of(variance if factor == 1 else block_mean(variance, good, factor))
    if mask is not None:
        made["DQ"] = packed(mask if factor == 1 else block_bits(mask, factor), code="plain")
    if whole.coverage is not None:
        seen_by = whole.coverage
        if factor > 1:
            seen_by = np.rint(block_mean(seen_by.astype(np.float32), good | True, factor))
        made["COVERAGE"] = packed(seen_by.astype(np.uint16), code="plain")
    nothing = np.empty(0, np.float32)
    return made, nothing if variance is None else variance, nothing if mask is None else mask


def block_mean(data: Array, good: Array, factor: int) -> Array:
    """Return means over the good pixels of blocks; those at the edges may be smaller."""
    total = _blocks(np.where(good, data, 0).astype(np.float64), factor)
    count = _blocks(good.astype(np.float64), factor)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (total / count).astype(np.float32)


def _blocks(plane: Array, factor: int) -> Array:
    rows = np.add.reduceat(plane, np.arange(0, plane.shape[0], factor), axis=0)
    made: Array = np.add.reduceat(rows, np.arange(0, plane.shape[1], factor), axis=1)
    return made


def block_bits(mask: Array, factor: int) -> Array:
    """Return the bits that any pixel of a block has."""
    rows = np.bitwise_or.reduceat(mask, np.arange(0, mask.shape[0], factor), axis=0)
    made: Array = np.bitwise_or.reduceat(rows, np.arange(0, mask.shape[1], factor), axis=1)
    return made
