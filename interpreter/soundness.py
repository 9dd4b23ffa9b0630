"""Whether a processed calibration can be what its headers call it, from a look at its pixels."""

from __future__ import annotations

import numpy as np
from f2yaml.interpreter.dq import DQ
from f2yaml.interpreter.engine import joined
from f2yaml.interpreter.errors import BadInput
from f2yaml.interpreter.frame import Frame

#: Rows that are looked at.
_ROWS = 256
#: Smallest share of pixels that have to be of use: some 0.6 of a frame see the sky.
_USABLE = 0.1
#: The median of a flat is one.
_LEVELS = 0.5, 2.0


def require_sound(name: str, frame: Frame) -> None:
    """Check a dark or a flat before it is applied to anything.

    Parameters
    ----------
    name : str
        ``dark`` or ``flat``; others are passed.
    frame : Frame

    Raises
    ------
    BadInput
        Hardly a pixel is of use, or a flat is not normalised.
    """
    if name not in ("dark", "flat"):
        return
    ny = frame.shape[0]
    step = max(1, ny // _ROWS)
    data, _, mask = joined([frame.pixels.rows(y, y + 1) for y in range(step // 2, ny, step)])[:3]
    good = np.isfinite(data)
    if mask is not None:
        good &= (mask & DQ.BAD_PIXEL) == 0
    share = float(good.mean())
    advice = f"make the {name} again, or give another: f2yaml caldb explain tells which there are"
    if share < _USABLE:
        raise BadInput(
            f"the processed {name} {frame.name} has hardly a usable pixel ({100 * share:.1f} %)",
            "they are flagged as bad or not numbers, and every pixel it is applied to would be",
            advice,
        )
    level = float(np.median(data[good]))
    if name == "flat" and not _LEVELS[0] <= level <= _LEVELS[1]:
        raise BadInput(
            f"the processed flat {frame.name} has a median of {level:.4g}, not of one",
            "frames are divided by it, so that all fluxes would be wrong by that factor",
            advice,
        )
