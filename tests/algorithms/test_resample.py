from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from f2yaml.interpreter.algorithms.interpolants import INTERPOLANTS, kernel
from f2yaml.interpreter.algorithms.resample import (
    Planes,
    noise_correlation,
    output_box,
    prefilter,
    resample_rows,
    snap,
)
from f2yaml.interpreter.algorithms.tan import Affine
from f2yaml.interpreter.errors import BadInput, FrameMismatch, RequestError
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

NEAR = Affine(((1.0002, 3e-4), (-3e-4, 0.9999)), (-2.31, 3.42))
#: What two pointings of one field make of each other: a shift, and a turn of some arcseconds.
DITHER = Affine(((1.000000009, 4.8e-5), (-4.8e-5, 1.000000009)), (-2.31, 3.42))
TURNED = Affine(((0.0, 1.0), (-1.0, 0.0)), (0.3, 89.4))


def noisy(shape: tuple[int, int] = (90, 600), seed: int = 1) -> Planes:
    """Planes with everything in them: noise, bad pixels, a saturated patch, a dark corner."""
    rng = np.random.default_rng(seed)
    data = rng.normal(100, 5, shape).astype(np.float32)
    mask = (rng.random(shape) < 0.02).astype(np.uint16)
    mask[20:24, 30:34] |= 4
    mask[:15, :40] |= 64
    objmask = (ndimage.gaussian_filter(rng.normal(size=shape), 3) > 0.1).astype(np.uint8)
    return Planes(data, rng.uniform(20, 30, shape).astype(np.float32), mask, objmask)


def unit_pixel() -> Planes:
    data = np.zeros((9, 9), np.float32)
    data[4, 4] = 1
    return Planes(data, data.copy(), data.astype(np.uint16))


def shifted(planes: Planes, dx: float, dy: float, name: str, threshold: float = 0.1):
    """Move an image by (dx, dy), as in spec 15.10."""
    ny, nx = planes.data.shape
    return resample_rows(planes, Affine(shift=(-dx, -dy)), 0, ny, nx, name, threshold)


def test_reference_values_of_poly3() -> None:
    unmasked = Planes(unit_pixel().data)
    row = shifted(unmasked, 0.3, 0, "poly3").data[4, 3:7]
    assert_allclose(row, [-0.0595, 0.7735, 0.3315, -0.0455], atol=1e-6)
    block = shifted(unmasked, 0.3, 0.4, "poly3").data[3:7, 3:7]
    expected = [
        [0.00381, -0.0495, -0.02122, 0.00291],
        [-0.03998, 0.51979, 0.22277, -0.03058],
        [-0.02666, 0.34653, 0.14851, -0.02038],
        [0.00333, -0.04332, -0.01856, 0.00255],
    ]
    assert_allclose(block, expected, atol=6e-6)  # printed with five digits


def test_reference_values_of_linear_and_spline3() -> None:
    unmasked = Planes(unit_pixel().data)
    assert_allclose(shifted(unmasked, 0.3, 0, "linear").data[4, 4:6], [0.7, 0.3], atol=1e-6)
    row = shifted(unmasked, 0.3, 0, "spline3").data[4, 1:]
    expected = [-0.00788, 0.03488, -0.13162, 0.83463, 0.33413, -0.08213, 0.02138, -0.00338]
    assert_allclose(row, expected, atol=1.5e-5)


@pytest.mark.parametrize(("threshold", "flagged"), [(0.001, 16), (0.01, 12), (0.1, 4)])
def test_threshold_sets_how_far_a_flag_spreads(threshold: float, flagged: int) -> None:
    out = shifted(unit_pixel(), 0.3, 0.4, "poly3", threshold)
    assert np.count_nonzero(out.mask & 1) == flagged  # spec 15.10


def test_integer_shift_is_an_exact_copy_of_all_planes() -> None:
    planes = noisy((40, 50))
    planes.data[30, 20], planes.mask[30, 20] = np.nan, 0
    for name in INTERPOLANTS:
        out = resample_rows(prefilter(planes, name), Affine(shift=(-1.0, -2.0004)), 0, 40, 50, name)
        assert_array_equal(out.data[2:, 1:], planes.data[:-2, :-1])
        assert_array_equal(out.variance[2:, 1:], planes.variance[:-2, :-1])
        assert_array_equal(out.mask[2:, 1:], planes.mask[:-2, :-1])
        assert_array_equal(out.objmask[2:, 1:], planes.objmask[:-2, :-1])
        for plane, value in zip(out, (0, 0, 16, 0), strict=True):
            assert (plane[:2] == value).all()
            assert (plane[:, 0] == value).all()


@pytest.mark.parametrize("affine", [NEAR, TURNED, DITHER])
@pytest.mark.parametrize("name", ["poly3", "lanczos3", "spline3"])
def test_any_split_into_rows_gives_the_same_bytes(affine: Affine, name: str) -> None:
    planes = prefilter(noisy(), name)
    whole = resample_rows(planes, affine, 0, 80, 590, name)
    for edges in ([0, 1, 37, 80], [0, 64, 80]):
        bands = [resample_rows(planes, affine, a, b, 590, name) for a, b in pairwise(edges)]
        for k, plane in enumerate(whole):
            assert plane.tobytes() == np.concatenate([band[k] for band in bands]).tobytes()


@pytest.mark.parametrize(
    ("name", "order"), [("nearest", 0), ("linear", 1), ("spline3", 3), ("spline5", 5)]
)
def test_agrees_with_scipy(name: str, order: int) -> None:
    data = noisy().data
    affine = Affine(((0.98, 0.1), (-0.09, 0.97)), (-3.3, 12.7))
    out = resample_rows(prefilter(Planes(data), name), affine, 0, 90, 600, name, conserve=False)
    y, x = np.mgrid[:90, :600].astype(float)
    u, v = affine.apply(x, y)
    expected = ndimage.map_coordinates(data.astype(float), [v, u], order=order, mode="mirror")
    inside = out.mask == 0
    assert inside.mean() > 0.7
    assert_allclose(out.data[inside], expected[inside], atol=2e-4)  # float32 spacing at 100: 8e-6
    assert_array_equal(inside, (np.abs(u - 299.5) <= 299.501) & (np.abs(v - 44.5) <= 44.501))


@pytest.mark.parametrize(("name", "degree"), [("linear", 1), ("poly3", 3), ("poly5", 5)])
def test_polynomials_are_reproduced(name: str, degree: int) -> None:
    def surface(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return ((x - 24.5) / 25) ** degree + 0.5 * ((y - 24.5) / 25) ** degree

    y, x = np.mgrid[:50, :50].astype(float)
    data = surface(x, y).astype(np.float32)
    out = resample_rows(Planes(data), NEAR, 0, 50, 50, name, conserve=False)
    p, q = NEAR.apply(x, y)
    fits = (p >= 3) & (p <= 46) & (q >= 3) & (q <= 46)
    assert fits.sum() > 1500
    assert_allclose(out.data[fits], surface(p, q)[fits], atol=1e-6)  # float32


@pytest.mark.parametrize("affine", [DITHER, NEAR, Affine(shift=(0.3, -0.6))])
@pytest.mark.parametrize("name", ["linear", "poly3", "poly5", "lanczos3"])
def test_sums_are_those_of_each_pixels_own_weights(affine: Affine, name: str) -> None:
    planes = noisy((60, 600))
    data, variance = planes.data.astype(float), planes.variance.astype(float)
    out = resample_rows(Planes(planes.data, planes.variance), affine, 0, 60, 600, name)
    y, x = np.mgrid[8:50, 8:590]
    u, v = affine.apply(x, y)
    i, j = np.floor(u).astype(int), np.floor(v).astype(int)
    chosen = kernel(name)
    wy = chosen.weights(v - j)
    value, spread = np.zeros(x.shape), np.zeros(x.shape)
    # Where the turn is tiny, each row of taps is interpolated where the column crosses it.
    steady = affine is not NEAR and name == "poly3"
    for b, q in enumerate(wy):
        row = j + chosen.first + b
        away = affine.matrix[0][1] / affine.matrix[1][1] * (row - v) if steady else 0.0
        for a, p in enumerate(chosen.weights(u + away - i)):
            at = row, i + chosen.first + a
            value += p * q * data[at]
            spread += (p * q) ** 2 * variance[at]
    area = abs(affine.determinant)
    # 36 terms of float32 at 100: 2e-5; a fraction off by 1e-6 pix at a contrast of 20: 2e-5
    assert_allclose(out.data[y, x], area * value, atol=1e-4)
    assert_allclose(out.variance[y, x], area**2 * spread, rtol=5e-6)


@pytest.mark.parametrize("share", [0.002, 0.03])
def test_bad_pixels_of_a_steady_map_are_left_out(share: float) -> None:
    planes = noisy((60, 600))
    bad = np.random.default_rng(3).random((60, 600)) < share
    bad[30:36, 200:206] = True
    planes.mask[:] = np.where(bad, 8, 0)
    planes.data[bad] = np.nan
    out = resample_rows(planes, DITHER, 0, 60, 600)
    y, x = np.mgrid[8:50, 8:590]
    u, v = DITHER.apply(x, y)
    i, j = np.floor(u).astype(int), np.floor(v).astype(int)
    wx, wy = kernel("poly3").weights(u - i), kernel("poly3").weights(v - j)
    sums = np.zeros((5, *x.shape))
    for a, p in enumerate(wx):
        for b, q in enumerate(wy):
            at = j - 1 + b, i - 1 + a
            good, w = ~bad[at], p * q
            sums[0] += np.where(good, w * planes.data[at], 0)
            sums[1] += np.where(good, w * w * planes.variance[at], 0)
            sums[2] += np.where(good, w, 0)
            sums[3] += np.where(good, abs(w), 0)
            sums[4] += abs(w)
    value, spread, weight, kept, whole = sums
    mended = (kept >= 0.5 * whole) & (weight > 0.2)
    flagged = (whole - kept > 0.1) | ~mended
    assert 0.005 < flagged.mean() < 0.3
    assert_array_equal(out.mask[y, x], np.where(flagged, 8, 0))
    # A turn of 4.8e-5 moves the outer rows by 7e-5: times a contrast of 20, over weights of 0.2.
    assert_allclose(out.data[y, x][mended], value[mended] / weight[mended], atol=7e-3)
    assert_allclose(out.variance[y, x][mended], spread[mended] / weight[mended] ** 2, rtol=2e-3)
    assert (out.data[y, x][~mended] == 0).all()  # a sum with NaN in it


def test_planes_asked_for_do_not_change_the_others() -> None:
    planes = noisy()
    full = resample_rows(planes, DITHER, 0, 80, 590)
    bare = resample_rows(Planes(planes.data, None, planes.mask), DITHER, 0, 80, 590)
    assert_array_equal(full.data, bare.data)
    assert_array_equal(full.mask, bare.mask)
    # Masks of objects go with the nearest pixels, and are those of any other map.
    turned = resample_rows(planes, NEAR, 0, 80, 590)
    assert abs(full.objmask.mean() - turned.objmask.mean()) < 0.02


def test_every_kernel_keeps_a_constant() -> None:
    for name in INTERPOLANTS:
        planes = prefilter(Planes(np.full((30, 40), 8000, np.float32)), name)
        out = resample_rows(planes, NEAR, 0, 30, 40, name, conserve=False)
        assert_allclose(out.data[out.mask == 0], 8000, rtol=1e-6)
        weights = kernel(name).weights(np.linspace(0, 1, 101))
        assert_allclose(weights.sum(axis=0), 1, atol=1e-9)


def test_flux_is_conserved() -> None:
    y, x = np.mgrid[:80, :80]
    star = np.exp(-0.5 * ((x - 40.3) ** 2 + (y - 38.8) ** 2) / 3.0**2).astype(np.float32)
    affine = Affine(((1 / 1.01, 0.0), (0.0, 1 / 1.01)), (0.37, -0.21))
    out = resample_rows(Planes(star, star), affine, 0, 84, 84)
    assert affine.determinant == pytest.approx(0.980296, abs=1e-6)
    # FWHM 7 pix: what a cubic loses there by aliasing is below this.
    assert_allclose(out.data.sum(), star.sum(), rtol=2e-5)
    kept = resample_rows(Planes(star, star), affine, 0, 84, 84, conserve=False)
    assert_allclose(out.data, kept.data * 0.980296, rtol=1e-5, atol=1e-9)
    assert_allclose(out.variance, kept.variance * 0.980296**2, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("name", ["linear", "poly3", "lanczos3", "spline3"])
def test_variance_is_that_of_a_pixel(name: str) -> None:
    rng = np.random.default_rng(5)
    data = rng.normal(0, 10, (400, 400)).astype(np.float32)
    planes = prefilter(Planes(data, np.full_like(data, 100)), name)
    affine = Affine(shift=(0.5, 0.25))
    out = resample_rows(planes, affine, 5, 390, 390, name)
    inner = (slice(5, -5), slice(5, -5))
    # 1.4e5 correlated values: the variance is good to about 1 per cent.
    assert np.var(out.data[inner]) == pytest.approx(np.mean(out.variance[inner]), rel=0.03)
    ratio = noise_correlation(affine, name, (400, 400))
    assert np.mean(out.variance[inner]) / 100 == pytest.approx(ratio, rel=1e-5)


def test_noise_correlation_of_known_shifts() -> None:
    # Sums of squared weights of spec 14.5: 0.6406 at f = 0.5 and 0.7522 at f = 0.25.
    assert noise_correlation(Affine(shift=(0.5, 0.25)), "poly3", (100, 90)) == pytest.approx(
        0.640625 * 0.75219727, rel=1e-6
    )
    assert noise_correlation(Affine(shift=(3.0, 0.5)), "poly3", (100, 90)) == pytest.approx(
        0.640625, rel=1e-6
    )
    assert noise_correlation(Affine(shift=(-7.0, 2.0)), "spline3", (100, 90)) == 1.0


def test_a_bad_pixel_does_not_contribute() -> None:
    data = np.full((20, 20), 50, np.float32)
    mask = np.zeros((20, 20), np.uint16)
    data[10, 10], mask[10, 10] = 1e6, 1
    data[5, 5], mask[5, 5] = np.nan, 8
    variance = np.full_like(data, 4)
    for name in ("linear", "poly3", "poly5", "lanczos3", "spline3"):
        planes = prefilter(Planes(data, variance, mask), name)
        out = resample_rows(planes, Affine(shift=(0.1, 0.2)), 0, 19, 19, name)
        assert np.isfinite(out.data).all()
        good = out.mask == 0
        assert_allclose(out.data[good], 50, rtol=2e-5)
        assert 1 <= np.count_nonzero(out.mask & 1) <= 4
        assert 1 <= np.count_nonzero(out.mask & 8) <= 4
        assert (out.variance > 0).all() or name == "spline3"


def test_a_mostly_bad_pixel_takes_all_samples_and_its_flag() -> None:
    planes = unit_pixel()
    out = shifted(planes, 0.1, 0.1, "linear", threshold=0.95)
    assert out.data[4, 4] == pytest.approx(0.81)  # 0.9^2 of the flagged pixel
    assert out.mask[4, 4] == 1
    assert out.mask[5, 5] == 0


def test_renormalised_weights() -> None:
    data = np.array([[1, 2, 3, 4]] * 4, np.float32)
    mask = np.zeros((4, 4), np.uint16)
    mask[:, 2] = 1
    out = resample_rows(
        Planes(data, np.ones_like(data), mask), Affine(shift=(0.25, 0.0)), 0, 4, 3, "linear"
    )
    # Output pixel 1 lies at 1.25: 0.75 of a good 2, 0.25 of a bad 3.
    assert out.data[1].tolist() == pytest.approx([1.25, 2.0, 3.25])
    assert out.variance[1].tolist() == pytest.approx([0.75**2 + 0.25**2, 1.0, 0.625])
    assert out.mask[1].tolist() == [0, 1, 1]


def test_saturated_pixels_keep_contributing() -> None:
    data = np.zeros((12, 12), np.float32)
    data[6, 6] = 100
    mask = np.where(data > 0, 4, 0).astype(np.uint16)
    out = resample_rows(Planes(data, None, mask), Affine(shift=(0.5, 0.0)), 0, 12, 11, "linear")
    assert out.data[6, 5:7].tolist() == [50, 50]
    assert out.mask[6, 5:7].tolist() == [4, 4]


def test_edges_within_the_tolerance_are_kept() -> None:
    data = np.arange(40, dtype=np.float32).reshape(5, 8)
    out = resample_rows(Planes(data), Affine(shift=(0.3, 0.0009)), 0, 5, 8, "poly3")
    assert (out.mask[:, :7] == 0).all()
    assert (out.mask[:, 7] == 16).all()
    # Ramps stay ramps to the edge, where linear takes over.
    assert_allclose(out.data[:, :7], data[:, :7] + 0.3, atol=1e-5)


def test_snap_leaves_a_real_distortion_alone() -> None:
    affine, whole = snap(Affine(((1.0, 0.0), (0.0, 1.00001)), (3.0004, -2.0)), (2048, 2048))
    assert whole == (True, False)  # 1e-5 * 2047 is 0.02 pixel
    assert affine == Affine(((1.0, 0.0), (0.0, 1.00001)), (3.0, -2.0))


def test_rotation_by_a_quarter_is_exact() -> None:
    planes = noisy((30, 30))
    out = resample_rows(planes, Affine(((0.0, 1.0), (-1.0, 0.0)), (0.0, 29.0)), 0, 30, 30)
    x, y = np.meshgrid(np.arange(30), np.arange(30))
    assert_allclose(out.data, planes.data[29 - x, y], rtol=1e-6)
    assert_array_equal(out.mask, planes.mask[29 - x, y])


def test_buffers_are_filled_in_place() -> None:
    planes = noisy((30, 40))
    first = resample_rows(planes, NEAR, 0, 30, 40)
    again = resample_rows(noisy((30, 40), seed=2), NEAR, 0, 30, 40)
    out = resample_rows(planes, NEAR, 0, 30, 40, out=again)
    assert out.data is again.data
    for a, b in zip(first, again, strict=True):
        assert_array_equal(a, b)


def test_output_box() -> None:
    shapes = [(100, 200)] * 3
    maps = [Affine(), Affine(shift=(2.3, -4.6)), Affine(shift=(-2.9995, 1.9995))]
    # x: -2.9995 counts as -3; 199 + 2.3 ends at 201. y: -4.6 starts at -4; 99 + 1.9995 is 101.
    assert output_box(maps, shapes) == (-3, -4, 205, 106)


def test_bad_requests_are_refused() -> None:
    planes = noisy((30, 30))
    with pytest.raises(RequestError, match=r"(?s)no interpolant `poly4`.*did you mean `poly"):
        resample_rows(planes, NEAR, 0, 30, 30, "poly4")
    with pytest.raises(FrameMismatch, match="2 input pixels"):
        resample_rows(planes, Affine(((2.0, 0.0), (0.0, 2.0))), 0, 30, 30)
    with pytest.raises(BadInput, match="cannot be resampled"):
        resample_rows(Planes(np.zeros((1, 5), np.float32)), NEAR, 0, 30, 30)
    with pytest.raises(FrameMismatch, match="mask plane has shape"):
        resample_rows(Planes(planes.data, None, planes.mask[1:]), NEAR, 0, 30, 30)
