"""The background: a level that drifts with time and a pattern that drifts across the array."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from f2yaml.interpreter.simulate.plan import generator
from f2yaml.schema.scenario import Scenario

#: Relative periods and amplitudes of the three waves of the drift; they share no rhythm.
_DRIFT: Final = ((1.0, 0.6), (0.47, 0.3), (2.3, 0.4))
#: Cycles across the array (x, y) of the waves of the pattern, and relative rates and amplitudes.
_PATTERN: Final = (
    (0.45, 0.10, 1.0, 0.6),
    (-0.15, 0.50, 0.8, 0.5),
    (0.70, 0.55, 1.3, 0.25),
    (-0.80, 0.75, 1.7, 0.15),
    (1.40, -0.30, 2.1, 0.08),
)


def sky_level(scenario: Scenario, time_s: float) -> float:
    """Return the mean sky in electron/s/pix at a time given in s since midnight UT."""
    sky = scenario.sky
    phases = generator(scenario.seed, "sky drift").uniform(0.0, 2.0 * math.pi, len(_DRIFT))
    wave = sum(
        size * math.sin(2.0 * math.pi * time_s / (sky.drift_period_s * period) + phase)
        for (period, size), phase in zip(_DRIFT, phases, strict=True)
    )
    return sky.level_e_s * (1.0 + sky.drift * wave)


def sky_pattern(scenario: Scenario, time_s: float) -> npt.NDArray[Any]:
    """Return the sky relative to its level at a time: float32, shape (ny, nx), about 1."""
    sky, nx, ny = scenario.sky, scenario.detector.nx, scenario.detector.ny
    phases = generator(scenario.seed, "sky pattern").uniform(0.0, 2.0 * math.pi, len(_PATTERN))
    x, y = np.arange(nx) / nx, np.arange(ny) / ny
    pattern = np.ones((ny, nx), dtype=np.float32)
    for (kx, ky, rate, size), phase in zip(_PATTERN, phases, strict=True):
        # cos(a + b) = cos a cos b - sin a sin b: two outer products, no cosine per pixel.
        across = 2.0 * np.pi * kx * x + phase
        across += 2.0 * np.pi * rate * time_s / sky.pattern_period_s
        along = 2.0 * np.pi * ky * y
        for part, other, sign in (
            (np.cos(along), np.cos(across), 1),
            (np.sin(along), np.sin(across), -1),
        ):
            pattern += np.outer(
                (sign * sky.pattern * size * part).astype(np.float32), other.astype(np.float32)
            )
    return pattern
