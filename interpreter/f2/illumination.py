"""The part of the detector that the focal plane illuminates (spec: instrument, section 4.9)."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from f2yaml.interpreter.dq import DQ
from f2yaml.interpreter.f2.detector import SIDE_PIX

#: Centre (y, x) and radius of the illuminated circle on the full array, pixels from 0.
CENTRE_PIX: Final = (1055.0, 1049.9)
RADIUS_PIX: Final = 1054.4


def illumination_mask(
    shape: tuple[int, int] = (SIDE_PIX, SIDE_PIX), *, margin_pix: float = 0.0
) -> npt.NDArray[Any]:
    """Return a mask of the pixels that no light reaches.

    Parameters
    ----------
    shape : (ny, nx)
        Shape of the frame. An array that is not 2048 x 2048 is taken for a smaller (simulated)
        detector with the same optics: distances of pixel centres from the array's edge scale with
        the number of pixels, along y and x on their own.
    margin_pix : float
        Width in pixels of the full array by which the circle is drawn in; the true edge is soft.

    Returns
    -------
    ndarray of uint16, shape (ny, nx)
        0 inside the circle, 64 outside.

    References
    ----------
    Spec: instrument, section 4.9. The circle agrees with DRAGONS' shipped mask but for 600 of
    4 194 304 pixels, all within 1.4 pixels of the edge.
    """
    ny, nx = shape
    y = (np.arange(ny) + 0.5) * (SIDE_PIX / ny) - 0.5 - CENTRE_PIX[0]
    x = (np.arange(nx) + 0.5) * (SIDE_PIX / nx) - 0.5 - CENTRE_PIX[1]
    outside = y[:, None] ** 2 + x[None, :] ** 2 > (RADIUS_PIX - margin_pix) ** 2
    return outside.astype(np.uint16) * np.uint16(DQ.UNILLUMINATED)
