"""Levels of the sky: where they are compared, and how they are measured."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from f2yaml.interpreter import algorithms
from f2yaml.interpreter.engine import read_band
from f2yaml.interpreter.errors import FrameMismatch
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.pixels import Planes
from f2yaml.interpreter.registry import Params
from pydantic import Field

#: Rows and columns of a region, each from first to last + 1.
Box = tuple[tuple[int, int], tuple[int, int]]
#: Bands of rows, and rows in each, of 2048 in which levels are measured: 130 000 pixels, 3e-3 of
#: the pixel noise on a level.
SAMPLE_BANDS, SAMPLE_ROWS = 16, 4


class Levels(Params):
    """Parameters of every step that measures the level of the sky."""

    section: str | None = Field(
        None,
        pattern=r"^\[\d+:\d+,\d+:\d+\]$",
        description="region x1:x2,y1:y2 in brackets where sky levels are compared, such as one "
        "free of a large object; pixels from 1, ends included",
    )


def region(frame: Frame, params: Levels) -> Box:
    """Return the rows and columns where levels are compared.

    Raises
    ------
    FrameMismatch
        The section is not inside the frame.
    """
    ny, nx = frame.shape
    if params.section is None:
        return (0, ny), (0, nx)
    x1, x2, y1, y2 = (int(n) for n in re.findall(r"\d+", params.section))
    if not (1 <= x1 <= x2 <= nx and 1 <= y1 <= y2 <= ny):
        raise FrameMismatch(
            f"the section {params.section} is not inside {frame.name}",
            f"the frame has {nx} x {ny} pixels",
            "give [x1:x2,y1:y2] with 1 <= x1 <= x2 <= NAXIS1, and the same in y",
        )
    return (y1 - 1, y2), (x1 - 1, x2)


def sky_level(frame: Frame, box: Box) -> float:
    """Return the background level of a frame, from a regular sample of its clean pixels."""
    planes = sampled([frame], box)
    objmask = None if planes.objmask is None else planes.objmask[0]
    mask = None if planes.mask is None else planes.mask[0]
    values = algorithms.background.sample(planes.data[0], mask, objmask)
    if values.size < 100:
        raise FrameMismatch(
            f"skyCorrect: {frame.name} has {values.size} usable sky pixels",
            "its sky level cannot be measured: nearly all pixels are flagged or masked",
            "take it out of the list, or lower the dilation",
        )
    level = float(algorithms.background.background(values).value)
    if not level > 0:
        raise FrameMismatch(
            f"skyCorrect: the sky level of {frame.name} is {level:g}",
            "skies are scaled by their level, which has to be positive",
            "check that the frame is not sky-subtracted already",
        )
    return level


def sample_bands(box: Box) -> list[tuple[int, int]]:
    """Return a regular choice of bands of the rows of a box, each from first to last + 1."""
    bottom, top = box[0]
    height = top - bottom
    step = max(SAMPLE_ROWS, height // SAMPLE_BANDS)
    if height < 2 * SAMPLE_BANDS * SAMPLE_ROWS:
        return [(y, min(y + 2 * step, top)) for y in range(bottom, top, 2 * step)]
    first = bottom + (step - SAMPLE_ROWS) // 2
    return [(y, y + SAMPLE_ROWS) for y in range(first, top - SAMPLE_ROWS + 1, step)]


def sampled(frames: Sequence[Frame], box: Box) -> Planes:
    """Read a regular choice of rows of a box of all frames: (n, rows, columns)."""
    left, right = box[1]
    planes = stacked_rows([read_band(frames, *band) for band in sample_bands(box)])
    return Planes(*(None if p is None else p[:, :, left:right] for p in planes))  # type: ignore[arg-type]


def stacked_rows(parts: Sequence[Planes]) -> Planes:
    """Join rows of stacked frames, shape (n, rows, nx) each; planes that are missing stay so."""
    planes: list[Any] = []
    for plane in zip(*parts, strict=True):
        planes.append(None if plane[0] is None else np.concatenate(plane, axis=1))
    return Planes(*planes)
