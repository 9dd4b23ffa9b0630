"""Figures of galaxies that fill part of the field; see `truth.py` for what they are for."""

from __future__ import annotations

import numpy as np
from truth_figures import Figure, Stack
from truth_night import Night

#: Ellipses in scale lengths: within 1.68 lies half of the light, within 4 lies 91 %.
INSIDE, RINGS = (1.0, 2.0, 4.0), ((3.0, 4.0), (4.0, 5.0))
#: Largest error of the light within an ellipse.
LIGHT_ERROR = 0.02
#: Light of stars that may lie in a pixel that counts, in sigma of a stack pixel.
_STAR_SIGMA = 1.0


def extended_light(stack: Stack, night: Night) -> list[Figure]:
    """Light of extended galaxies in ellipses, and surface brightness of their outskirts.

    Stars are subtracted, and left out with small galaxies and flagged pixels where they are
    bright; the truth is summed over the same pixels. A sky that holds part of the galaxy shows
    as light that is missing.
    """
    use = night.full & (stack.mask == 0) & ~night.galaxies
    use &= night.stars < _STAR_SIGMA * night.sigma
    image, sky = stack.data - night.stars, night.frames[0].sky_e
    made = []
    for number, one in enumerate(night.extended, start=1):
        lengths = night.lengths(one)
        for radius in INSIDE:
            inside = use & (lengths < radius)
            true = float(night.discs[inside].sum(dtype=float))
            if inside.sum() < 100 or true <= 0:
                continue
            ratio = float(image[inside].sum(dtype=float)) / true
            error = float(np.sqrt(stack.variance[inside].sum(dtype=float))) * stack.correlation
            made.append(
                Figure(
                    f"galaxy {number}: light within {radius:g} lengths / truth",
                    ratio,
                    error=error / true,
                    target=f"1 +- {LIGHT_ERROR:g}",
                    passed=abs(ratio - 1.0) <= LIGHT_ERROR,
                )
            )
        for low, high in RINGS:
            ring = use & (lengths >= low) & (lengths < high)
            if ring.sum() < 100:
                continue
            missing = float(np.mean(image[ring] - night.discs[ring], dtype=float))
            true = float(np.mean(night.discs[ring], dtype=float))
            name = f"galaxy {number}: {low:g} to {high:g} lengths"
            made += [
                Figure(f"{name}, true brightness / sky", 1e3 * true / sky, "1e-3"),
                Figure(f"{name}, error of brightness / sky", 1e3 * missing / sky, "1e-3"),
            ]
    return made
