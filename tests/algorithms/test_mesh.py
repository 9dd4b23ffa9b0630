"""Background on a mesh; sep, which follows the same papers, is the reference."""

from __future__ import annotations

import numpy as np
import pytest
import sep
from f2yaml.interpreter.algorithms.mesh import (
    Mesh,
    Nodes,
    levels_at,
    make_mesh,
    prepare_row,
    spline_row,
)
from numpy.testing import assert_allclose, assert_array_equal

NOISE = 90.0


def plane(curve: Nodes, size: int, shape: tuple[int, int]) -> np.ndarray:
    out, work = np.empty(shape, np.float32), np.empty((3, curve[0].shape[1]))
    for y in range(shape[0]):
        prepare_row(curve, size, y, work)
        spline_row(work, size, out[y])
    return out


def sky(shape: tuple[int, int] = (440, 310), seed: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).normal(8000, NOISE, shape).astype(np.float32)


def with_stars(number: int) -> np.ndarray:
    rng, data = np.random.default_rng(3), sky((512, 512))
    v, u = np.mgrid[-30:31, -30:31]
    for _ in range(number):
        y, x = rng.integers(30, 482, 2)
        data[y - 30 : y + 31, x - 30 : x + 31] += 10 ** rng.uniform(2, 4) * np.exp(
            -(u * u + v * v) / 8
        )
    return data


def gradient() -> np.ndarray:
    v, u = np.mgrid[:512, :512]
    return sky((512, 512)) + (0.5 * u - 0.3 * v + 2e-3 * u * v).astype(np.float32)


def both(
    data: np.ndarray, mask: np.ndarray | None = None, size: int = 64, width: int = 3
) -> tuple[Mesh, sep.Background]:
    bad = ~np.isfinite(data)
    if mask is not None:
        bad |= (mask & 249) != 0
    filled = np.where(bad, np.float32(0), data)
    made = make_mesh(data, mask, 249, size, width)
    return made, sep.Background(filled, mask=bad, bw=size, bh=size, fw=width, fh=width)


@pytest.mark.parametrize("width", [1, 3, 8])
@pytest.mark.parametrize(
    "data",
    [sky(), sky((512, 512)), gradient(), with_stars(40), with_stars(400), sky((40, 300))],
    ids=["sky", "even", "gradient", "stars", "crowded", "one row"],
)
def test_agrees_with_sep(data: np.ndarray, width: int) -> None:
    made, theirs = both(data, width=width)
    level = plane(made.level, made.size, data.shape)
    assert_allclose(made.middle, theirs.globalback, atol=0.01 * NOISE)
    assert_allclose(made.rms, theirs.globalrms, rtol=0.01)
    # The mode of 4096 pixels is known to 0.03 sigma; bins and rounding may take part of that.
    difference = np.abs(level - theirs.back()) / NOISE
    assert np.median(difference) < 0.01
    assert difference.max() < 0.03
    noise = plane(made.noise, made.size, data.shape) / theirs.rms()
    assert np.median(np.abs(noise - 1)) < 0.005
    assert np.quantile(np.abs(noise - 1), 0.99) < 0.1  # of a mesh filled by a star


def test_flagged_and_missing_pixels_are_left_out() -> None:
    data, mask = sky((512, 512)), np.zeros((512, 512), np.uint16)
    mask[np.random.default_rng(4).random(mask.shape) < 0.3] = 1
    mask[100:300, 50:200] |= 64  # whole meshes
    data[mask != 0] = 1e6
    data[400, 400:410], data[401, 400], mask[402, 400] = np.nan, np.inf, 2  # 2 is tolerated
    made, theirs = both(data, mask)
    level = plane(made.level, made.size, data.shape)
    assert np.abs(level - theirs.back()).max() < 0.03 * NOISE
    assert made.good == np.count_nonzero(((mask & 249) == 0) & np.isfinite(data))
    assert_allclose(made.rms, NOISE, rtol=0.02)


def test_a_large_level_costs_no_digits_of_the_noise() -> None:
    made = make_mesh(sky() + np.float32(200000), None, 0, 64, 3)
    plain = make_mesh(sky(), None, 0, 64, 3)
    assert_allclose(made.rms, plain.rms, rtol=1e-3)
    assert_allclose(made.middle, plain.middle + 200000, atol=0.01 * NOISE)


def test_an_image_without_a_usable_mesh() -> None:
    data = np.full((100, 100), np.nan, np.float32)
    data[::3, ::3] = 5.0
    made = make_mesh(data, None, 0, 50, 3)
    assert (made.middle, made.rms, made.good) == (0.0, 1.0, 34 * 34)


def test_a_constant_image_has_no_noise() -> None:
    made = make_mesh(np.full((100, 130), 5, np.float32), None, 0, 64, 3)
    assert (made.middle, made.rms) == (5.0, 0.0)


def test_a_hot_pixel_does_not_matter() -> None:
    data = sky()
    quiet = make_mesh(data, None, 0, 64, 3)
    data[10, 10] = 1e30
    assert_allclose(make_mesh(data, None, 0, 64, 3).level[0], quiet.level[0], atol=0.05 * NOISE)


def test_levels_of_single_pixels_are_those_of_the_plane() -> None:
    made = make_mesh(gradient(), None, 0, 64, 3)
    whole = plane(made.level, 64, (512, 512))
    y, x = np.array([0, 511, 200, 77]), np.array([0, 511, 31, 410])
    assert_allclose(levels_at(made, y, x), whole[y, x], rtol=1e-6)


def test_inputs_are_not_changed() -> None:
    data, mask = sky(), np.zeros((440, 310), np.uint16)
    before = data.copy()
    make_mesh(data, mask, 249, 64, 3)
    assert_array_equal(data, before)
    assert not mask.any()
