"""Primitives: a step for each frame, and a step that chooses among frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from f2yaml.interpreter.errors import TooFewFrames
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.pixels import Planes
from f2yaml.interpreter.registry import Params, Reported, group, per_frame
from pydantic import Field


class SubtractRowMedian(Params):
    """Parameters of ``subtractRowMedian``."""

    min_pixels: int = Field(
        64, ge=1, description="good pixels that a row needs; rows with fewer stay as they are"
    )


@per_frame("subtractRowMedian", suffix="_rowsLevelled", stamps=("ROWMED",))
def subtract_row_median(frame: Frame, params: SubtractRowMedian) -> Frame:
    """Subtract from each row the median of its good pixels, objects left out.

    Parameters
    ----------
    frame : Frame, shape (ny, nx), electron or adu
        Sky-subtracted frame; without DQ or object mask all finite pixels count as good.
    params : SubtractRowMedian

    References
    ----------
    An example; the noise of the median, some 1/40 of a pixel's, is not added to the variance.
    """

    def levelled(planes: Planes, start: int, stop: int) -> Planes:
        good = np.isfinite(planes.data)
        for flags in (planes.mask, planes.objmask):
            if flags is not None:
                good &= flags == 0
        data = planes.data.copy()
        for row, usable in zip(data, good, strict=True):
            if usable.sum() >= params.min_pixels:
                row -= np.median(row[usable])
        return planes._replace(data=data)

    return frame.map_rows(levelled)


class KeepBestSeeing(Params):
    """Parameters of ``keepBestSeeing``."""

    count: int = Field(3, ge=1, description="number of frames to keep")


def any_of_them(frames: Sequence[Frame], params: KeepBestSeeing) -> Sequence[Frame]:
    """Tell `f2yaml plan` how many frames come out; which ones is not known from headers."""
    return frames[: params.count]


@group("keepBestSeeing", makes=any_of_them)
def keep_best_seeing(frames: Sequence[Frame], params: KeepBestSeeing) -> Reported:
    """Keep the frames with the smallest seeing, in their order.

    Parameters
    ----------
    frames : sequence of Frame
        With FWHMPIX in their headers, which detectSources writes.
    params : KeepBestSeeing

    Raises
    ------
    TooFewFrames
        There are fewer frames with a seeing than `count`.
    """
    known = [frame for frame in frames if "FWHMPIX" in frame.phu]
    if len(known) < params.count:
        raise TooFewFrames(
            f"keepBestSeeing: {len(known)} of {len(frames)} frames have a seeing",
            f"it is to keep {params.count}",
            "run detectSources before, or lower keepBestSeeing:count",
        )
    best = sorted(known, key=lambda frame: float(frame.phu["FWHMPIX"]))[: params.count]
    kept = [frame for frame in frames if frame in best]
    worst = max(float(frame.phu["FWHMPIX"]) for frame in kept)
    return Reported(kept, health=f"{len(kept)} of {len(frames)} frames, FWHM up to {worst:.2f} pix")
