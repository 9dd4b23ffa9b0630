"""Noise that a frame and its sky have in common: that of their dark and flat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from f2yaml.interpreter.dq import NOT_SIGNAL
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.pixels import Array, Planes

_PART = np.float32(1 / 255)  # shares are kept in 255ths


def _calibrated_with(frame: Frame) -> tuple[object, object]:
    return frame.phu.get("DARKIM"), frame.phu.get("FLATIM")


def in_common(
    frames: Sequence[Frame], skies: Sequence[Frame], neighbours: Array, step: str
) -> tuple[list[bool], list[bool], tuple[str, ...]]:
    """Tell which frames have the dark and flat of all their skies, and which skies serve only such.

    Returns
    -------
    same, alike : list of bool
        For each frame, and for each sky.
    notes : tuple of str
        Frames in whose variance the noise of dark and flat stays though it cancels, or may do so.
    """
    kinds = [_calibrated_with(s) if s.has("shared") else None for s in skies]
    same, alike = [], [True] * len(skies)
    mixed, unknown = [], []
    for frame, row in zip(frames, neighbours, strict=True):
        used = [n for n in row.tolist() if n >= 0]
        own = _calibrated_with(frame)
        fits = frame.has("shared") and all(kinds[n] == own for n in used)
        same.append(fits)
        if fits:
            continue
        for n in used:
            alike[n] = False
        if any(_calibrated_with(skies[n]) != own for n in used):
            mixed.append(frame.name)
        elif own != (None, None):
            unknown.append(frame.name)
    alike = [a and s.has("shared") for a, s in zip(alike, skies, strict=True)]
    notes: tuple[str, ...] = ()
    if mixed:
        notes += (
            f"{step}: frame and sky have different darks or flats, so the noise of these stays in "
            f"VAR: {', '.join(mixed)}",
        )
    if unknown:
        notes += (
            f"{step}: no plane SHARED tells how much of VAR is noise of dark and flat, which "
            f"cancels; VAR is too large: {', '.join(unknown)}",
        )
    return same, alike, notes


def all_in_common(frames: Sequence[Frame]) -> bool:
    """Whether all frames have one dark and flat, and planes that tell their share of the noise."""
    kind = _calibrated_with(frames[0])
    return all(f.has("shared") and _calibrated_with(f) == kind for f in frames)


def parted(planes: Planes, levels: Array) -> tuple[Array, Planes]:
    """Part the variances of frames that are to become one sky.

    Parameters
    ----------
    planes : Planes, shape (n, rows, nx)
    levels : shape (n,)
        Sky levels.

    Returns
    -------
    common : float32, shape (rows, nx)
        Variance that all have in common, in units of the level: the mean over the frames that
        count at a pixel.
    planes : Planes
        With the variance that is each frame's own.
    """
    assert planes.variance is not None
    assert planes.shared is not None
    inverse = (np.float32(1) / levels.astype(np.float32))[:, None, None]
    shared = planes.variance * (planes.shared * _PART)
    used = np.ones(planes.data.shape, bool)
    if planes.mask is not None:
        used &= (planes.mask & np.uint16(NOT_SIGNAL)) == 0
    if planes.objmask is not None:
        used &= planes.objmask == 0
    used |= ~used.any(axis=0)
    total = np.where(used, shared * (inverse * inverse), np.float32(0)).sum(axis=0)
    common = total / used.sum(axis=0, dtype=np.float32)
    return common, planes._replace(variance=planes.variance - shared, shared=None)


def rejoined(variance: Array, common: Array) -> tuple[Array, Array]:
    """Return the variance of a sky with the common noise of its frames, and the share of that."""
    total = variance + common
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(total > 0, common / total * np.float32(255), np.float32(0))
    return total, np.rint(share).astype(np.uint8)
