"""Blocks of what is dark in an image, compared with the same in numpy and scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from f2yaml.interpreter.algorithms.surface import CLIP, Blocks, dark_levels
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

SHAPE = (150, 230)
SIZE = 32
WHOLE = (0, 150, 0, 230)


def image(seed: int, scatter: float = 1.0) -> tuple[Any, Any, Any, Any]:
    """Return data with some light, its variance, flags and object mask."""
    rng = np.random.default_rng(seed)
    variance = rng.uniform(50, 150, SHAPE).astype(np.float32)
    data = (scatter * rng.normal(0, 1, SHAPE) * np.sqrt(variance)).astype(np.float32)
    for y, x in rng.integers(0, SHAPE, (25, 2)):
        data[y : y + 3, x : x + 3] += 500
    mask = (rng.random(SHAPE) < 0.02).astype(np.uint16) * 8
    variance[rng.random(SHAPE) < 0.01] = 0  # no variance, no use
    data[mask != 0] = 1e6
    objects = np.zeros(SHAPE, np.uint8)
    objects[40:60, 50:120] = 1
    return data, variance, mask, objects


def expected(
    data: Any, variance: Any, mask: Any, objects: Any, box: Any, sigma: float, near: float
) -> Blocks:
    """Do what `dark_levels` says, slowly."""
    y0, y1, x0, x1 = box
    part = np.s_[y0:y1, x0:x1]
    x, v, bits = (p[part].astype(float) for p in (data, variance, mask))
    good = (bits == 0) & (v > 0)
    grid = np.s_[::5, ::3]
    pulls = np.abs(x[grid][good[grid]]) / np.sqrt(v[grid][good[grid]])
    sigma *= max(1.0, 1.4826 * float(np.median(pulls)))
    bright = good & (x > 0) & (x * x > sigma * sigma * v)
    reach = int(near)
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    hidden = ndimage.binary_dilation(bright, dy * dy + dx * dx <= near * near)
    if objects is not None:
        hidden |= objects[part] != 0
    shape = (-(-(y1 - y0) // SIZE), -(-(x1 - x0) // SIZE))
    made = Blocks(np.zeros(shape), np.zeros(shape, int), np.zeros(shape, int))
    for i, j in np.ndindex(shape):
        block = np.s_[i * SIZE : (i + 1) * SIZE, j * SIZE : (j + 1) * SIZE]
        use = good[block] & ~hidden[block]
        made.covered[i, j] = np.count_nonzero(good[block] & hidden[block])
        for _ in range(2):
            near_level = np.abs(x[block] - made.level[i, j]) <= CLIP * np.sqrt(v[block])
            clean = use & near_level
            made.clean[i, j] = np.count_nonzero(clean)
            made.level[i, j] = x[block][clean].mean() if clean.any() else made.level[i, j]
    return made


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("near", [1.0, 5.0, 6.5])
@pytest.mark.parametrize("box", [WHOLE, (10, 141, 33, 200)])
def test_blocks_are_those_of_the_pixels_away_from_light(
    box: Any, near: float, masked: bool
) -> None:
    data, variance, mask, objects = image(3)
    given = objects if masked else None
    found = dark_levels(data, variance, mask, given, SIZE, box, 3.5, near)
    wanted = expected(data, variance, mask, given, box, 3.5, near)
    assert_array_equal(found.clean, wanted.clean)
    assert_array_equal(found.covered, wanted.covered)
    assert_allclose(found.level, wanted.level, atol=2e-5)
    assert wanted.covered.sum() > 300
    assert wanted.clean.sum() > 5000


def test_noise_beyond_the_variance_is_no_light() -> None:
    """The limit follows the scatter: three times the noise is not taken for a sky of stars."""
    data, variance, mask, _ = image(4, scatter=3.0)
    found = dark_levels(data, variance, mask, None, SIZE, WHOLE, 3.5, 5.0)
    wanted = expected(data, variance, mask, None, WHOLE, 3.5, 5.0)
    assert_array_equal(found.clean, wanted.clean)
    assert found.clean.sum() > 0.4 * data.size


def test_nothing_outside_the_box_is_looked_at() -> None:
    data, variance, mask, objects = image(5)
    box = (20, 100, 30, 190)
    before = dark_levels(data, variance, mask, objects, SIZE, box, 3.5, 5.0)
    outside = np.ones(SHAPE, bool)
    outside[20:100, 30:190] = False
    data[outside], variance[outside], mask[outside] = 1e9, np.nan, 1
    after = dark_levels(data, variance, mask, objects, SIZE, box, 3.5, 5.0)
    for one, other in zip(before, after, strict=True):
        assert_array_equal(one, other)


def test_an_image_without_a_good_pixel_has_empty_blocks() -> None:
    data, variance, mask, objects = image(6)
    found = dark_levels(data, variance, mask | np.uint16(1), objects, SIZE, WHOLE, 3.5, 5.0)
    assert not found.clean.any()
    assert not found.covered.any()
    assert not found.level.any()
