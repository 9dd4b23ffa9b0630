from __future__ import annotations

import numpy as np
import pytest
from f2yaml.interpreter.algorithms.match import (
    align,
    fit_transform,
    match_pairs,
    match_shift,
)
from numpy.testing import assert_allclose

SIZE = 2048.0
SEARCH, RADIUS = 27.9, 2.8  # 5 and 0.5 arcsec on F2


def field(
    rng: np.random.Generator, n: int, shift: tuple[float, float], noise: float, spurious: float
):
    """Two lists of the same stars, each with its own errors and spurious sources."""
    x, y = rng.uniform(0, SIZE, (2, n))
    extra = int(np.ceil(spurious * n))
    lists = []
    for dx, dy in ((0.0, 0.0), shift):
        u = np.r_[x + dx + rng.normal(0, noise, n), rng.uniform(0, SIZE, extra)]
        v = np.r_[y + dy + rng.normal(0, noise, n), rng.uniform(0, SIZE, extra)]
        order = rng.permutation(u.size)
        lists += [u[order], v[order]]
    return lists


@pytest.mark.parametrize("n", [5, 30, 300])
def test_accuracy_is_the_centroid_error_over_root_n(n: int) -> None:
    rng = np.random.default_rng(n)
    errors = []
    for _ in range(20):
        shift = tuple(rng.uniform(-25, 25, 2))
        x, y, xr, yr = field(rng, n, shift, 0.05, 0.3)
        found = align(x, y, None, xr, yr, None, first_pass_pix=SEARCH, match_radius_pix=RADIUS)
        assert found is not None
        assert found.matrix == ((1.0, 0.0), (0.0, 1.0))
        assert found.interior
        errors.append(np.subtract(found.shift, shift))
    rms = np.sqrt(np.mean(np.square(errors)))
    # Both lists have errors: 0.05 sqrt(2 / n). 40 values scatter by 11 per cent, so 1.4 is 3.5
    # sigma; clipping and an odd chance pair cost a few per cent.
    assert rms < 1.4 * 0.05 * np.sqrt(2 / n)


def test_three_stars_are_enough() -> None:
    rng = np.random.default_rng(8)
    x, y, xr, yr = field(rng, 3, (-20.0, 11.0), 0.03, 0.0)
    found = align(x, y, None, xr, yr, None, first_pass_pix=SEARCH, match_radius_pix=RADIUS)
    assert found is not None
    assert found.n_matched == 3
    assert_allclose(found.shift, (-20, 11), atol=0.1)  # 4 sigma of 0.03 sqrt(2/3)


def test_weights_follow_the_centroid_errors() -> None:
    rng = np.random.default_rng(9)
    x, y, xr, yr = field(rng, 10, (3.0, 4.0), 0.0, 0.0)
    pair_x, pair_y = np.r_[x, 5000 + x], np.r_[y, y]
    i, j = match_pairs(x + 3, y + 4, xr, yr, radius_pix=1)
    good = np.r_[xr[j], xr[j] + 5000.6], np.r_[yr[j], yr[j]]
    weights = np.r_[np.full(10, 1e4), np.full(10, 1.0)]
    fit = fit_transform(np.r_[x[i], x[i] + 5000], np.r_[y[i], y[i]], *good, weights)
    # Weighted mean of 3.0 and 3.6: 3 + 0.6 / 10001.
    assert pair_x.size == pair_y.size == fit.n
    assert_allclose(fit.shift, (3 + 0.6 / 10001, 4.0), atol=1e-9)


def test_outliers_are_clipped() -> None:
    rng = np.random.default_rng(10)
    x, y = rng.uniform(0, SIZE, (2, 40))
    u, v = x + 1 + rng.normal(0, 0.02, 40), y - 2 + rng.normal(0, 0.02, 40)
    u[:6] += 2.0
    fit = fit_transform(x, y, u, v)
    assert not fit.kept[:6].any()
    assert fit.kept[6:].sum() >= 33
    assert_allclose(fit.shift, (1, -2), atol=0.014)  # 4 sigma of 0.02 / sqrt(34)
    assert 0.014 < fit.rms < 0.026  # 68 residuals: 0.02 within 9 per cent, 3.5 sigma


def test_rotation_and_magnification() -> None:
    rng = np.random.default_rng(11)
    x, y = rng.uniform(0, SIZE, (2, 50))
    c, s = 1.02 * np.cos(0.05), 1.02 * np.sin(0.05)
    u, v = c * x - s * y + 60.0, s * x + c * y - 75.0
    found = align(
        x, y, None, u, v, None, first_pass_pix=60, match_radius_pix=RADIUS, rotate=True, scale=True
    )
    assert found is not None
    assert_allclose(found.matrix, [[c, -s], [s, c]], atol=1e-9)
    assert_allclose(found.shift, (60, -75), atol=1e-6)


def test_the_search_for_a_rotation_uses_the_brightest_sources() -> None:
    rng = np.random.default_rng(15)
    x, y = rng.uniform(0, SIZE, (2, 60))
    faint, faint_ref = rng.uniform(0, SIZE, (2, 200)), rng.uniform(0, SIZE, (2, 200))
    c, s = np.cos(0.04), np.sin(0.04)
    u, v = c * x - s * y + 40.0, s * x + c * y - 42.0
    flux = np.r_[np.ones(200), np.full(60, 10.0)]  # true stars come last in both lists
    found = align(
        np.r_[faint[0], x], np.r_[faint[1], y], None,
        np.r_[faint_ref[0], u], np.r_[faint_ref[1], v], None,
        first_pass_pix=60, match_radius_pix=RADIUS, rotate=True, flux=flux, flux_ref=flux,
    )  # fmt: skip
    assert found is not None
    # Chance pairs within the radius are clipped; 0.01 is their leftover pull on 60 exact pairs.
    assert_allclose(found.matrix, [[c, -s], [s, c]], atol=1e-5)


def test_only_what_is_asked_for_is_fitted() -> None:
    x, y = np.array([0.0, 100.0, 0.0, 100.0]), np.array([0.0, 0.0, 100.0, 100.0])
    c, s = 1.01 * np.cos(0.01), 1.01 * np.sin(0.01)
    u, v = c * x - s * y, s * x + c * y
    turned = fit_transform(x, y, u, v, rotate=True).matrix
    assert_allclose(
        turned, [[np.cos(0.01), -np.sin(0.01)], [np.sin(0.01), np.cos(0.01)]], atol=1e-9
    )
    # Without rotation the best magnification is the projection of the map on the identity.
    assert_allclose(fit_transform(x, y, u, v, scale=True).matrix, [[c, 0], [0, c]], atol=1e-9)
    assert fit_transform(x, y, u, v).matrix == ((1.0, 0.0), (0.0, 1.0))


@pytest.mark.parametrize("n", [10, 60, 200])
def test_fields_without_a_star_in_common_are_refused(n: int) -> None:
    rng = np.random.default_rng(n)
    for _ in range(15):
        a, b = rng.uniform(0, SIZE, (2, n)), rng.uniform(0, SIZE, (2, n))
        found = align(*a, None, *b, None, first_pass_pix=SEARCH, match_radius_pix=RADIUS)
        assert found is None


def test_too_few_sources_is_none() -> None:
    two = np.array([1.0, 50.0])
    options = {"first_pass_pix": SEARCH, "match_radius_pix": RADIUS}
    assert align(two, two, None, two, two, None, min_sources=3, **options) is None
    assert align([], [], None, two, two, None, min_sources=1, **options) is None
    assert align(two, two, None, two, two, None, min_sources=2, **options) is not None


def test_a_shift_at_the_edge_of_the_box_is_not_interior() -> None:
    rng = np.random.default_rng(12)
    x, y, xr, yr = field(rng, 50, (27.7, 0.0), 0.02, 0.0)
    found = align(x, y, None, xr, yr, None, first_pass_pix=SEARCH, match_radius_pix=RADIUS)
    assert found is not None
    assert not found.interior


def test_a_swarm_of_spurious_sources_does_not_win_the_vote() -> None:
    rng = np.random.default_rng(13)
    x, y, xr, yr = field(rng, 30, (-12.0, 7.0), 0.05, 0.0)
    # 40 border detections in each list, crowded into a corner.
    swarm, swarm_ref = rng.uniform(0, 60, (2, 40)), rng.uniform(0, 60, (2, 40))
    shift = match_shift(
        np.r_[x, swarm[0]], np.r_[y, swarm[1]], np.r_[xr, swarm_ref[0]], np.r_[yr, swarm_ref[1]],
        search_pix=SEARCH,
    )  # fmt: skip
    assert shift is not None
    assert_allclose(shift, (-12, 7), atol=0.5)


def test_pairs_are_one_to_one_and_closest_first() -> None:
    # Source 0 is 1.0 from reference 0; source 1 is 0.4 from it, and 0.7 from reference 1.
    i, j = match_pairs([0.0, 1.4], [0, 0], [1.0, 2.1], [0, 0], radius_pix=2.5)
    assert i.tolist() == [0, 1]
    assert j.tolist() == [1, 0]
    i, j = match_pairs([0.0, 1.4], [0, 0], [1.0, 2.1], [0, 0], radius_pix=1.0)
    assert (i.tolist(), j.tolist()) == ([1], [0])


def test_match_pairs_agrees_with_the_full_table() -> None:
    rng = np.random.default_rng(14)
    a, b = rng.uniform(0, 50, (2, 60)), rng.uniform(0, 50, (2, 70))
    d = np.hypot(a[0][:, None] - b[0], a[1][:, None] - b[1])
    expected = []
    while d.min() <= 3.0:
        i, j = np.unravel_index(d.argmin(), d.shape)
        expected.append((i, j))
        d[i, :] = d[:, j] = np.inf
    i, j = match_pairs(*a, *b, radius_pix=3.0)
    assert list(zip(i, j, strict=True)) == sorted(expected)
