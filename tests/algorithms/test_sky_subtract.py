"""Subtraction of a sky: values, variances without what cancels, surfaces; compared with numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from f2yaml.interpreter.algorithms.rows import NO_SHARE, Rows
from f2yaml.interpreter.algorithms.sky_subtract import (
    own_variance,
    subtract_rows,
    subtract_surface,
)
from f2yaml.interpreter.algorithms.surface import legendre_basis, surface_at
from numpy.testing import assert_allclose, assert_array_equal

SHAPE = (12, 70)
RNG = np.random.default_rng(8)
NO_SURFACE = legendre_basis(None, SHAPE, 0, SHAPE[0])
SURFACE = np.array([[3.0, 1.0, -0.5], [2.0, 0.25, 0.0], [0.75, 0.0, 0.0]])


def rows(level: float, share: bool) -> Rows:
    return Rows(
        RNG.normal(level, 30, SHAPE).astype(np.float32),
        RNG.uniform(800, 1000, SHAPE).astype(np.float32),
        RNG.integers(0, 4, SHAPE).astype(np.uint16),
        RNG.integers(0, 256, SHAPE).astype(np.uint8) if share else NO_SHARE,
    )


def empty() -> Rows:
    return Rows(
        np.empty(SHAPE, np.float32), np.empty(SHAPE, np.float32), np.empty(SHAPE, np.uint16)
    )


def test_own_variance_leaves_out_the_share() -> None:
    given = rows(5000, share=True)
    out = np.empty(SHAPE, np.float32)
    own_variance(given.variance, given.share, out)
    assert_allclose(out, given.variance * (1 - given.share / 255.0), rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("surface", [False, True])
@pytest.mark.parametrize("offset", [0.0, 40.0])
def test_what_is_left_and_its_noise(offset: float, surface: bool, share: bool) -> None:
    """The noise of dark and flat cancels, but for the flat's where an object is."""
    frame, sky = rows(5000, share), rows(1, share=False)
    sky.data[:] = RNG.normal(1, 0.01, SHAPE)
    sky.variance[:] = 1e-5
    frame.data[3, 5:9] += 20_000
    out, basis = empty(), NO_SURFACE
    taken: Any = 0.0
    if surface:
        basis = legendre_basis(SURFACE, SHAPE, 0, SHAPE[0])
        taken = surface_at(SURFACE, SHAPE, *np.indices(SHAPE).astype(float))
    subtract_rows(frame, sky, 4900.0, offset, basis, out)
    x = frame.data.astype(float)
    rest = x - 4900.0 * sky.data.astype(float)
    assert_allclose(out.data, rest - offset - taken, atol=5e-3)
    own = frame.variance.astype(float)
    if share:
        stays = np.minimum((rest / x) ** 2, 1.0)
        own = own * (1 - frame.share / 255.0 * (1 - stays))
        assert own[3, 6] > own[~np.isin(np.arange(12), 3)].mean() * 0.9
    assert_allclose(out.variance, own + 4900.0**2 * sky.variance, rtol=1e-4)
    assert_array_equal(out.mask, frame.mask | sky.mask)


def test_rows_of_a_surface_are_those_of_the_whole() -> None:
    whole = RNG.normal(0, 1, SHAPE).astype(np.float32)
    parts, before = whole.copy(), whole.astype(float)
    subtract_surface(whole, SURFACE, 7.0)
    for band in ((0, 5), (5, 6), (6, 12)):
        start, stop = band
        subtract_surface(parts[start:stop], SURFACE, 7.0, start, parts.shape)
    assert_array_equal(parts, whole)
    taken = surface_at(SURFACE, SHAPE, *np.indices(SHAPE).astype(float)) + 7.0
    assert_allclose(whole, before - taken, atol=1e-5)
