"""Calibration of single frames: spec vectors 15.6 and 15.7, departures, the fused pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from f2yaml.interpreter.algorithms.calibrate import (
    Planes,
    calibrate,
    corrected_level,
    divide,
    divided_share,
    hidden_saturation,
    level_flags,
    linearize,
    noise_variance,
    subtract,
    subtracted_share,
    to_electrons,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

LINEARITY = (0.9999107, -4.2854848e-8, 1.0096585e-12)
LEVELS = {"nonlinear": 25200.0, "saturation": 35000.0}
# Reference values are printed with eight digits of a single-precision result.
RTOL = 2e-7

ADU = np.array(
    [-10, 0, 10, 100, 1000, 5000, 10000, 20000, 25199, 25200, 30000, 34999, 35000, 40000],
    np.float32,
)
VARIANCE = [136.89, 136.89, 181.29, 580.89, 4576.89, 22336.89, 44536.89, 88936.89]
VARIANCE += [112020.45, 112024.89, 133336.89, 155532.45, 155536.89, 177736.89]
# The last value is ours: beyond 155400 e- the slope is 1 (reference 181888.34, 182025.23).
LINEAR = [-44.396122, 0, 44.395954, 443.952, 4438.847, 22187.943, 44399.926, 89161.13]
LINEAR += [112751.195, 112755.766, 134813.86, 158135.53, 158140.23, 180340.234]
LINEAR_VAR = [136.89388, 136.89, 181.28596, 580.84204, 4575.7373, 22324.834, 44536.816]
LINEAR_VAR += [89298.02, 112888.086, 112892.66, 134950.75, 158272.42, 158277.12, 180477.125]


def planes(data: Any, variance: Any, mask: Any) -> Planes:
    return Planes(
        np.array(data, np.float32), np.array(variance, np.float32), np.array(mask, np.uint16)
    )


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_flags_of_levels(dtype: Any) -> None:
    mask = np.zeros(ADU.shape, np.uint16)
    mask[[0, 12]] = 64
    out = level_flags(ADU.astype(dtype), mask, **LEVELS)
    assert_array_equal(out, [64, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 2, 68, 4])
    assert mask.max() == 64
    assert_array_equal(level_flags(ADU, None, nonlinear=35000, saturation=35000)[11:], [0, 4, 4])


def test_levels_count_for_each_coadd() -> None:
    raw = np.array([25200, 50400, 69999, 70000], np.float32)
    assert_array_equal(level_flags(raw, None, coadds=2, **LEVELS), [0, 2, 2, 4])


def test_electrons_noise_and_linearity() -> None:
    electrons = to_electrons(ADU, gain=4.44)
    assert_allclose(electrons, ADU.astype(float) * 4.44, rtol=RTOL)
    variance = noise_variance(electrons, read_noise=11.7)
    assert_allclose(variance, VARIANCE, rtol=RTOL)
    data, spread = linearize(electrons, variance, coefficients=LINEARITY)
    assert_allclose(data, LINEAR, rtol=RTOL)
    assert spread is not None
    assert_allclose(spread, LINEAR_VAR, rtol=RTOL)
    _, same = linearize(electrons, variance, coefficients=LINEARITY, poisson=False)
    assert same is not None
    assert_array_equal(same, variance)
    assert same is not variance


def test_noise_and_linearity_in_adu() -> None:
    expected = [6.9439373, 6.9439373, 9.19619, 29.46646, 232.16916, 1133.0701, 2259.196]
    expected += [4511.448, 5682.394, 5682.6196, 6763.7007, 7889.6016, 7889.8267, 9015.953]
    assert_allclose(noise_variance(ADU, read_noise=11.7, gain=4.44), expected, rtol=RTOL)
    data, _ = linearize(ADU, None, coefficients=LINEARITY, gain=4.44)
    expected = [-9.999126, 0, 9.999088, 99.98919, 999.74036, 4997.2847, 9999.983, 20081.336]
    expected += [25394.412, 25395.441, 30363.482, 35616.11, 35617.168]
    assert_allclose(data[:-1], expected, rtol=RTOL)


def test_four_read_pairs() -> None:
    electrons = to_electrons(np.array([5000], np.int32), gain=1.11)
    variance = noise_variance(electrons, read_noise=6.0)
    data, spread = linearize(electrons, variance, coefficients=LINEARITY)
    assert spread is not None
    assert_allclose([data[0], spread[0]], [5548.357, 5584.357], rtol=RTOL)


def test_coadds_add_read_noise_and_share_the_well() -> None:
    x = np.array([111888], np.float32)
    assert_allclose(noise_variance(x, read_noise=10, coadds=3), 111888 + 300, rtol=RTOL)
    assert_allclose(noise_variance(x, read_noise=10, poisson=False), 100, rtol=RTOL)
    assert_allclose(noise_variance(x, read_noise=10, read=False), 111888, rtol=RTOL)
    double, _ = linearize(2 * x, None, coefficients=LINEARITY, coadds=2)
    assert_allclose(double, 2 * 112755.766, rtol=RTOL)


def test_linearity_goes_on_with_slope_one_above_the_well_depth() -> None:
    """The reference extrapolates its polynomial to 206345.22 at 200000."""
    x = np.array([0, 100, 1e3, 1e4, 2e4, 5e4, 8e4, 97680, 1e5, 111888, 1.2e5, 155400, 2e5])
    data, _ = linearize(x.astype(np.float32), None, coefficients=LINEARITY)
    expected = [0, 99.99064, 999.8689, 9995.831, 19989.15, 50014.6, 80235.53, 98203.39]
    expected += [100572.18, 112755.766, 121116.875, 158140.23, 158140.23 + 44600]
    assert_allclose(data, expected, rtol=RTOL)


def test_levels_after_linearity() -> None:
    assert corrected_level(155400, coefficients=LINEARITY) == 158140.24
    assert corrected_level(111888, coefficients=LINEARITY) == 112755.758
    assert corrected_level(200000, coefficients=LINEARITY) == 202740.24


def test_dark_then_flat() -> None:
    science = planes([100, 200, 300, 400], [100, 200, 300, 400], [0, 1, 2, 0])
    dark = planes([10, 20, -5, 0], [1, 1, 2, 3], [0, 0, 1, 64])
    flat = planes([0.5, 1, 2, 0], [0.01, 0.02, 0.03, 0.04], [0, 0, 0, 64])
    kept = [plane.copy() for part in (science, dark, flat) for plane in part]
    out = subtract(science, dark)
    assert_array_equal(out.data, [90, 180, 305, 400])
    assert_array_equal(out.variance, [101, 201, 302, 403])
    assert_array_equal(out.mask, [0, 1, 3, 64])
    out = divide(out, flat)
    # The reference leaves inf, variance inf and bits 64 where the flat is 0.
    assert_allclose(out.data, [180, 180, 152.5, 0], rtol=RTOL)
    assert_allclose(out.variance, [1700, 849, 249.92188, 0], rtol=RTOL)
    assert_array_equal(out.mask, [0, 1, 3, 65])
    for one, other in zip(kept, (p for x in (science, dark, flat) for p in x), strict=True):
        assert_array_equal(one, other)


def random_frame(seed: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint16], Planes, Planes]:
    rng = np.random.default_rng(seed)
    shape = (37, 131)  # not a multiple of the runs of the fused pass
    raw = rng.integers(-500, 45_000, shape).astype(np.int32)
    static = rng.choice([0, 0, 0, 1, 64], shape).astype(np.uint16)
    dark = planes(rng.normal(50, 9, shape), rng.uniform(1, 5, shape), rng.choice([0, 1], shape))
    flat = planes(rng.normal(1, 0.1, shape), rng.uniform(0, 1e-3, shape), static)
    flat.data[rng.random(shape) < 0.01] = 0
    return raw, static, dark, flat


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
@pytest.mark.parametrize("use", [(), ("dark",), ("flat",), ("dark", "flat")])
@pytest.mark.parametrize("coadds", [1, 3])
def test_one_pass_gives_the_bits_of_single_steps(dtype: Any, use: Any, coadds: int) -> None:
    raw, static, dark, flat = random_frame(4)
    raw = raw.astype(dtype)
    resources = {"dark": dark, "flat": flat}
    share = np.full(raw.shape, 9, np.uint8)
    out = calibrate(
        raw,
        static,
        gain=4.44,
        read_noise=11.7 * np.sqrt(coadds),
        coefficients=LINEARITY,
        coadds=coadds,
        share=share,
        **{name: coadds * level for name, level in LEVELS.items()},
        **{name: resources[name] for name in use},
    )
    mask = level_flags(raw, static, coadds=coadds, **LEVELS)
    electrons = to_electrons(raw, gain=4.44)
    variance = noise_variance(electrons, read_noise=11.7 * np.sqrt(coadds))
    data, spread = linearize(electrons, variance, coefficients=LINEARITY, coadds=coadds)
    assert spread is not None
    steps = Planes(data, spread, mask)
    shared = None
    if "dark" in use:
        shared = subtracted_share(None, spread, dark.variance)
        steps = subtract(steps, dark)
    if "flat" in use:
        shared = divided_share(shared, steps, flat)
        steps = divide(steps, flat)
    if shared is not None:
        assert_array_equal(share, shared)
    for one, other in zip(out, steps, strict=True):
        assert one.tobytes() == other.tobytes()


def test_fused_pass_fills_given_arrays_and_needs_no_static_mask() -> None:
    raw, static, _, _ = random_frame(1)
    options: dict[str, Any] = {"gain": 1.0, "read_noise": 5.0, "coefficients": LINEARITY, **LEVELS}
    out = planes(np.full(raw.shape, 7), np.full(raw.shape, 7), np.full(raw.shape, 7))
    filled = calibrate(raw, None, out=out, **options)
    assert filled.data is out.data
    expected = calibrate(raw, np.zeros_like(static), **options)
    for one, other in zip(out, expected, strict=True):
        assert_array_equal(one, other)


@settings(max_examples=50, deadline=None)
@given(
    counts=st.lists(st.integers(-100_000, 300_000), min_size=1, max_size=30),
    flat=st.floats(-2, 2, width=32),
    bits=st.integers(0, 127),
)
def test_variances_stay_positive_and_bits_survive(
    counts: list[int], flat: float, bits: int
) -> None:
    raw = np.array(counts, np.int32)
    static = np.full(raw.shape, bits, np.uint16)
    divisor = Planes(
        np.full(raw.shape, flat, np.float32), np.full(raw.shape, 0.01, np.float32), static
    )
    out = calibrate(
        raw,
        static,
        gain=4.44,
        read_noise=11.7,
        coefficients=LINEARITY,
        flat=divisor,
        **LEVELS,
    )
    assert np.isfinite(out.data).all()
    assert (out.variance >= 0).all()
    assert_array_equal(out.mask & bits, bits)


# --- hidden saturation ------------------------------------------------------------------------


def star(ny: int = 60, nx: int = 70, wall: float = 40_000) -> npt.NDArray[np.float32]:
    """Return sky at 20000 with a saturated ring of radius 6 to 9 around a core of 1000."""
    y, x = np.mgrid[:ny, :nx]
    r = np.hypot(y - 30, x - 35)
    image = np.full((ny, nx), 20_000, np.float32)
    image[r < 9] = wall
    image[r < 6] = 30_000  # the flank of the core passes through the non-linear range
    image[r < 5] = 1_000
    return image


def test_the_core_of_a_saturated_star_is_found() -> None:
    image = star()
    found = hidden_saturation(image, None, **LEVELS)
    assert_array_equal(found, image == 1_000)
    integers = hidden_saturation(image.astype(np.int32), None, **LEVELS)
    assert_array_equal(integers, found)


def test_a_ring_that_is_only_non_linear_hides_nothing() -> None:
    """Spec 15.6: the reference flags the inner block, 34 pixels in all with bit 4; we flag 9."""
    image = np.full((120, 120), 20_000, np.float32)
    image[40:60, 40:60] = 26_000
    image[47:52, 47:52] = 12_000
    image[90:93, 90:93] = 36_000
    mask = level_flags(image, None, **LEVELS)
    mask[hidden_saturation(image, mask, **LEVELS)] |= 4
    assert np.count_nonzero(mask == 2) == 375
    assert np.count_nonzero(mask & 4) == 9
    image[40:60, 40:60][image[40:60, 40:60] == 26_000] = 36_000
    assert hidden_saturation(image, mask, **LEVELS).sum() == 25


def test_small_dark_images_are_not_saturated() -> None:
    """The reference flags all of a 64 x 64 frame at 20000 adu."""
    assert not hidden_saturation(np.full((64, 64), 20_000, np.float32), None, **LEVELS).any()


def test_a_broken_ring_hides_nothing() -> None:
    image = star()
    image[30, 35:50] = 20_000
    assert not hidden_saturation(image, None, **LEVELS).any()


def test_diagonal_neighbours_close_the_ring() -> None:
    """4-connected: one pixel with four saturated neighbours is enclosed."""
    image = np.full((9, 9), 10_000, np.float32)
    for y, x in ((3, 4), (5, 4), (4, 3), (4, 5)):
        image[y, x] = 40_000
    found = hidden_saturation(image, None, **LEVELS)
    assert_array_equal(np.argwhere(found), [[4, 4]])


def test_hot_pixels_do_not_make_a_star() -> None:
    image = star()
    wall = image >= 35_000
    mask = np.where(wall, 1, 0).astype(np.uint16)
    assert not hidden_saturation(image, mask, **LEVELS).any()
    mask[30, 29] = 4  # one pixel of the wall is good
    assert wall[30, 29]
    assert hidden_saturation(image, mask, **LEVELS).any()


@pytest.mark.parametrize("cut", [np.s_[30:, :], np.s_[:30, :], np.s_[:, 35:], np.s_[:, :35]])
def test_holes_at_the_edge_are_open(cut: Any) -> None:
    image = np.ascontiguousarray(star()[cut])
    assert not hidden_saturation(image, None, **LEVELS).any()


@pytest.mark.parametrize(("side", "found"), [(100, 10_000), (101, 0)])
def test_holes_larger_than_a_star_are_left_alone(side: int, found: int) -> None:
    image = np.full((side + 10, side + 10), 20_000, np.float32)
    image[3 : side + 5, 3 : side + 5] = 50_000
    image[4 : side + 4, 4 : side + 4] = 1_000
    assert hidden_saturation(image, None, **LEVELS).sum() == found


def test_holes_agree_with_labelled_regions() -> None:
    """Against scipy's labels on random walls: closed, away from the edge, small enough."""
    ndimage = pytest.importorskip("scipy.ndimage")
    rng = np.random.default_rng(8)
    image = np.where(rng.random((150, 160)) < 0.45, 40_000, 1_000).astype(np.float32)
    labels, _ = ndimage.label(image < 35_000)
    edge = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    large = np.flatnonzero(np.bincount(labels.ravel()) > 10_000)
    expected = (labels > 0) & ~np.isin(labels, [*edge, *large])
    assert expected.sum() > 1000
    assert_array_equal(hidden_saturation(image, None, **LEVELS), expected)
