"""From raw counts of many frames, as files hold them, to calibrated electrons: one pass for all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from f2yaml.interpreter.algorithms.calibrate import (
    NO_SHARE,
    RUN,
    Bits,
    Planes,
    Settings,
    Share,
    _calibrate,
    _Curve,
    _flat_planes,
)
from f2yaml.interpreter.algorithms.jit import kernel, part

__all__ = ["calibrate_stack"]

NO_SHARES = NO_SHARE.reshape(0, 0)


def calibrate_stack(
    raw: npt.NDArray[np.uint32],
    static_mask: Bits,
    settings: Sequence[Settings],
    dark: Planes,
    flat: Planes,
    out: Planes,
    share: Share | None,
) -> None:
    """Do what `calibrate` does to the same rows of frames that share a dark and a flat.

    Parameters
    ----------
    raw : uint32, shape (n, rows, nx)
        The bytes of counts in 32-bit integers of big-endian order, as they stand in FITS files.
    static_mask : uint16, shape (rows, nx)
    settings : sequence of Settings
        Of each frame.
    dark, flat : Planes, shape (rows, nx)
        `NONE` for none.
    out : Planes, shape (n, rows, nx)
        Filled; C-contiguous.
    share : uint8, shape (n, rows, nx), or None
        Filled with what `subtracted_share` and `divided_share` give.
    """
    n = len(raw)
    figures = np.array([(*s.levels, s.gain, *s.noise, *s.curve) for s in settings], np.float32)
    _stack(
        raw.reshape(n, -1),
        static_mask.reshape(-1),
        figures,
        _flat_planes(dark),
        _flat_planes(flat),
        Planes(out.data.reshape(n, -1), out.variance.reshape(n, -1), out.mask.reshape(n, -1)),
        NO_SHARES if share is None else share.reshape(n, -1),
    )


@part
def _native(stored, out):  # type: ignore[no-untyped-def]
    for t in range(out.size):
        x = stored[t]
        low = (x >> np.uint32(24)) | ((x >> np.uint32(8)) & np.uint32(0xFF00))
        high = ((x << np.uint32(8)) & np.uint32(0xFF0000)) | (x << np.uint32(24))
        out[t] = np.int32(low | high)


@kernel
def _stack(raw, static, figures, dark, flat, out, share):  # type: ignore[no-untyped-def]
    """Runs of pixels in turn, each of all frames, while those of the calibrations are at hand."""
    counts = np.empty(RUN, np.int32)
    for o in range(0, static.size, RUN):
        e = min(o + RUN, static.size)
        bits, native = static[o:e], counts[: e - o]
        zero, response = dark, flat
        if dark.data.size > 0:
            zero = Planes(dark.data[o:e], dark.variance[o:e], dark.mask[o:e])
        if flat.data.size > 0:
            response = Planes(flat.data[o:e], flat.variance[o:e], flat.mask[o:e])
        for k in range(len(raw)):
            f = figures[k]
            _native(raw[k, o:e], native)
            made = Planes(out.data[k, o:e], out.variance[k, o:e], out.mask[k, o:e])
            parts = share[k, o:e] if len(share) else share[0:0].reshape(-1)
            curve = _Curve(f[5], f[6], f[7], f[8], f[9], f[10])
            _calibrate(
                native, bits, (f[0], f[1]), f[2], (f[3], f[4]), curve, zero, response, made, parts
            )
