"""Arrays in, arrays out: the numerical kernels.

The modules are imported when first used, as ``algorithms.combine.combine(...)``: loading numba
takes longer than checking a recipe, which needs no kernel.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from f2yaml.interpreter.algorithms import (
        background,
        calibrate,
        calibrate_stack,
        combine,
        coverage,
        defects,
        detect,
        flux_scale,
        joint,
        match,
        morphology,
        normalize,
        psf,
        resample,
        saturation,
        sky,
        sky_subtract,
        surface,
        weighted,
    )

__all__ = [
    "background",
    "calibrate",
    "calibrate_stack",
    "combine",
    "coverage",
    "defects",
    "detect",
    "flux_scale",
    "joint",
    "match",
    "morphology",
    "normalize",
    "psf",
    "resample",
    "saturation",
    "sky",
    "sky_subtract",
    "surface",
    "weighted",
]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
