"""Pixels without any good sample: those of the least bad class serve, for the time of a tile."""

from __future__ import annotations

import numpy as np
from f2yaml.interpreter.algorithms import pixel
from f2yaml.interpreter.algorithms.jit import part

NAN32 = np.float32(np.nan)
ZERO32 = np.float32(0)
CLASSES = np.int32(pixel.CLASSES)
#: More pixels of a tile than this are done all together.
FEW = 12


@part
def adopt(s, core, c, p, o, m, block, counts, best):  # type: ignore[no-untyped-def]
    """Use the least bad class of samples where `counts` says that there is no good one.

    The tile is `m` pixels, from pixel `o` of the block and pixel `p` of the planes. `best` gets the
    class of such pixels, and -1 elsewhere. Returns how many pixels have samples now.
    """
    lanes = 0
    for t in range(m):
        best[t] = CLASSES if counts[t] == 0 else np.int32(-1)
        lanes += counts[t] == 0
    if lanes <= FEW:
        for t in range(m):
            if counts[t] == 0:
                _adopt_one(s, core, c, p, o, t, block, best)
    else:
        _adopt_rows(s, core, c, p, o, m, block, best)
    adopted = 0
    for t in range(m):
        adopted += (best[t] >= 0) & (best[t] < CLASSES)
    return adopted


@part
def _adopt_one(s, core, c, p, o, t, block, best):  # type: ignore[no-untyped-def]
    least = CLASSES
    for q in range(c):
        i = core[q]
        source = s.data[i * s.data_step + p + t]
        least = min(least, pixel.badness(block.flags[i, o + t], source))
    best[t] = least
    if least >= CLASSES:
        return
    for q in range(c):
        i = core[q]
        x = s.scale[i] * s.data[i * s.data_step + p + t] + s.zero[i]
        if pixel.badness(block.flags[i, o + t], x) == least:
            block.values[i, o + t] = x
            factor = s.scale[i] * s.scale[i]
            block.variance[i, o + t] = factor * s.variance[i * s.variance_step + p + t]


@part
def _adopt_rows(s, core, c, p, o, m, block, best):  # type: ignore[no-untyped-def]
    for q in range(c):
        i = core[q]
        source = s.data[i * s.data_step + p : i * s.data_step + p + m]
        flags = block.flags[i, o : o + m]
        for t in range(m):
            k = pixel.badness(flags[t], source[t])
            b = best[t]
            best[t] = k if k < b else b
    for q in range(c):
        i = core[q]
        source = s.data[i * s.data_step + p : i * s.data_step + p + m]
        flags, values = block.flags[i, o : o + m], block.values[i, o : o + m]
        scale, zero = s.scale[i], s.zero[i]
        for t in range(m):
            x = scale * source[t] + zero
            b = best[t]
            used = (pixel.badness(flags[t], x) == b) & (b >= 0) & (b < CLASSES)
            v = values[t]
            values[t] = x if used else v
        spread = s.variance[i * s.variance_step + p : i * s.variance_step + p + m]
        variance = block.variance[i, o : o + m]
        factor = scale * scale
        for t in range(m):
            used = (best[t] >= 0) & (values[t] == values[t])
            v = variance[t]
            variance[t] = factor * spread[t] if used else v


@part
def give_back(core, c, o, m, block, best):  # type: ignore[no-untyped-def]
    """Take the samples that `adopt` took into use out of it."""
    for q in range(c):
        values, variance = block.values[core[q], o : o + m], block.variance[core[q], o : o + m]
        for t in range(m):
            x = values[t]
            values[t] = NAN32 if best[t] >= 0 else x
        for t in range(m):
            v = variance[t]
            variance[t] = ZERO32 if best[t] >= 0 else v
