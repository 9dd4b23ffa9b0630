"""Some rows of a frame, as the subtraction of skies takes and gives them."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Share = npt.NDArray[np.uint8]
NO_SHARE: Final[Share] = np.empty((0, 0), np.uint8)


class Rows(NamedTuple):
    """Planes of shape (rows, nx).

    `share` is the share of the variance that dark and flat brought in, in 255ths; of shape (0, 0)
    where it is not known.
    """

    data: npt.NDArray[np.float32]
    variance: npt.NDArray[np.float32]
    mask: npt.NDArray[np.uint16]
    share: Share = NO_SHARE
