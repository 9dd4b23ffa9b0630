"""Images of stars with Moffat profiles, integrated over pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def moffat_image(
    shape: tuple[int, int], stars: NDArray[np.float64], fwhm: float, beta: float = 3.0
) -> NDArray[np.float64]:
    """Return an image of stars; rows of `stars` are (x, y, total flux), pixels from 0.

    Each pixel is the mean of 5 x 5 points. Profiles are cut off 60 pixels from their centre, where
    0.01 % of the light is left outside for the widths in use.
    """
    alpha = fwhm / 2 / np.sqrt(2 ** (1 / beta) - 1)
    image = np.zeros(shape)
    inner = (np.arange(5) + 0.5) / 5 - 0.5
    for x0, y0, flux in stars:
        x = np.arange(max(0, int(x0) - 60), min(shape[1], int(x0) + 61))
        y = np.arange(max(0, int(y0) - 60), min(shape[0], int(y0) + 61))
        fine_x = (x[:, None] + inner).ravel() - x0
        fine_y = (y[:, None] + inner).ravel() - y0
        r2 = fine_x[None, :] ** 2 + fine_y[:, None] ** 2
        light = (1 + r2 / alpha**2) ** -beta
        light = light.reshape(len(y), 5, len(x), 5).mean(axis=(1, 3))
        image[y[0] : y[-1] + 1, x[0] : x[-1] + 1] += flux * (beta - 1) / np.pi / alpha**2 * light
    return image


def star_grid(side: int, step: int, faint: float, bright: float, seed: int) -> NDArray[np.float64]:
    """Return stars on a grid of `side` x `side`, moved off it by up to a fifth of `step` pixels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] * float(step) + step / 2
    place = np.column_stack([x.ravel(), y.ravel()]) + rng.uniform(-step / 5, step / 5, (side**2, 2))
    return np.column_stack([place, rng.permutation(np.geomspace(faint, bright, side**2))])
