"""What noise does to clipped means, medians and weights: known truth, by Monte Carlo."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from f2yaml.interpreter.algorithms.combine import combine
from f2yaml.interpreter.algorithms.coverage import makeup
from f2yaml.interpreter.algorithms.median_noise import median_factor
from f2yaml.interpreter.algorithms.normalize import photon_slopes
from f2yaml.interpreter.algorithms.weighted import weighted_mean
from numpy.testing import assert_allclose, assert_array_equal

Stack = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]


def exposures(sky: float, n: int, read_noise: float = 5.0, pixels: int = 200_000) -> Stack:
    """Return frames of photon and read noise, with the variance that addVAR gives them."""
    rng = np.random.default_rng(int(sky) + n)
    counts = rng.poisson(sky, (n, 100, pixels // 100)) + rng.normal(
        0, read_noise, (n, 100, pixels // 100)
    )
    variance = np.maximum(counts, 0) + read_noise**2
    return counts.astype(np.float32), variance.astype(np.float32)


# medians ------------------------------------------------------------------------------------
def test_closed_forms_of_the_variance_of_a_median() -> None:
    closed = {1: 1.0, 2: 1.0, 3: 3 - 3 * np.sqrt(3) / np.pi}
    for n, factor in closed.items():
        assert median_factor(n) == pytest.approx(factor, abs=1e-6)  # six digits in the table
    assert median_factor(2, 1) == pytest.approx(2 - 2 / np.pi, abs=1e-6)


@pytest.mark.parametrize("n", [3, 4, 5, 6, 9, 10, 17, 24, 35, 36])
def test_medians_scatter_by_what_their_variance_says(n: int) -> None:
    """300000 medians tell their variance to 0.26 %; five times that. pi/2 is 17 % too much at 3."""
    samples = np.random.default_rng(n).standard_normal((n, 300, 1000)).astype(np.float32)
    for operation, lower in (("median", 0), ("lmedian", 1)):
        options: dict[str, Any] = {"operation": operation, "reject": "none"}
        good = np.zeros(samples.shape, np.uint16)
        made = combine(samples, np.ones_like(samples), good, **options)
        assert made.data.var(dtype=float) == pytest.approx(float(made.variance[0, 0]), rel=0.013)
        assert_allclose(made.variance, median_factor(n, lower) / n, rtol=1e-6)


def test_the_series_joins_the_table() -> None:
    for first in (31, 32):
        for lower in (0, 1):
            one, two = median_factor(first, lower), median_factor(first + 2, lower)
            before = median_factor(first - 2, lower)
            assert 0 < two - one < one - before  # grows, ever more slowly


# photon noise -------------------------------------------------------------------------------
@pytest.mark.parametrize("sky", [25.0, 250.0, 2500.0])
@pytest.mark.parametrize("n", [3, 9, 18])
def test_photon_noise_of_the_median_takes_the_bias_from_mean_and_weights(
    sky: float, n: int
) -> None:
    """Differences from the plain mean of the same samples, which has no bias, in electrons."""
    data, variance = exposures(sky, n)
    plain = data.mean(axis=0, dtype=float)

    def bias(**options: Any) -> float:
        made = combine(data, variance, np.zeros(data.shape, np.uint16), **options)
        return float((made.data - plain).mean())

    weights: dict[str, Any] = {"operation": "wtmean", "reject": "none"}
    clip: dict[str, Any] = {"reject": "varclip", "lsigma": 4.0, "hsigma": 4.0}
    photon = photon_slopes(data, variance, None)
    assert_allclose(photon, 1, atol=0.03)  # of 200000 pixels
    # (n - 1) / n of an electron, whatever the sky
    assert bias(**weights) == pytest.approx(-(n - 1) / n, abs=0.06)
    # what an error of the slope leaves of that, and read noise below zero counts
    assert abs(bias(photon=photon, **weights)) < 0.02
    if sky == 25:  # a rare 4 sigma sample of brighter skies weighs too much for 200000 pixels
        assert bias(**clip) > 0.015
        assert -0.018 < bias(photon=photon, **clip) < 0


def test_a_high_outlier_does_not_widen_its_own_limit_nor_a_low_one_narrow_it() -> None:
    """Level and variance 100, of photons: 4 sigma is 40; by their own 49 above and 33 below."""
    for x, own, model in ((145.0, 0, 1), (64.0, 1, 0), (155.0, 1, 1), (56.0, 1, 1), (135.0, 0, 0)):
        data = np.array([100, 100, 100, 100, x], np.float32)[:, None, None]
        rules: dict[str, Any] = {"reject": "varclip", "lsigma": 4.0, "hsigma": 4.0}
        for photon, rejected in ((None, own), (np.ones(5), model)):
            made = combine(data, data, None, photon=photon, **rules)
            assert made.rejected.item() == rejected
            same = weighted_mean(data, data, None, np.ones(5), photon=photon, **rules)
            assert same.rejected.item() == rejected


def test_no_outlier_gets_a_great_weight() -> None:
    """Its variance grew by half of its excess only: by the slope it would have none at all."""
    data = np.array([100, 100, 100, 100, 400], np.float32)[:, None, None]
    variance = np.array([100, 100, 100, 100, 250], np.float32)[:, None, None]
    made = combine(
        data, variance, None, operation="wtmean", reject="none", photon=np.ones(5)
    )  # a quarter of 250
    assert made.data.item() == pytest.approx((4 + 400 / 62.5) / (4 / 100 + 1 / 62.5), rel=1e-6)


def test_without_slopes_nothing_changes_and_slopes_of_zero_are_none() -> None:
    data, variance = exposures(25.0, 7, pixels=2000)
    for operation in ("mean", "wtmean"):
        options: dict[str, Any] = {"operation": operation, "lsigma": 2.0, "hsigma": 2.0}
        none = combine(data, variance, None, **options)
        zero = combine(data, variance, None, photon=np.zeros(7), **options)
        assert none.data.tobytes() == zero.data.tobytes()
        assert none.variance.tobytes() == zero.variance.tobytes()


def test_slopes_are_measured_after_interpolation_scaling_and_in_spite_of_vignetting() -> None:
    data, variance = exposures(400.0, 6)
    pattern = np.linspace(0.7, 1.3, data.shape[2], dtype=np.float32)
    shades = np.stack([np.roll(pattern, 40 * k) for k in range(6)])[:, None, :]
    shaded = photon_slopes(data / shades, variance / shades**2, None)
    assert_allclose(shaded, 1, atol=0.25)  # 1/1.3 to 1/0.7, weighted by the noise
    half = (data[:, :, 1:] + data[:, :, :-1]) / 2
    half_variance = (variance[:, :, 1:] + variance[:, :, :-1]) / 4
    assert_allclose(photon_slopes(half, half_variance, None), 0.5, atol=0.03)
    assert_allclose(photon_slopes(data, variance, None, scale=np.full(6, -3.0)), 3, atol=0.1)
    assert_array_equal(photon_slopes(data, np.full_like(data, 425), None), 0)
    bad = np.ones(data.shape, np.uint16)
    assert_array_equal(photon_slopes(data, variance, bad), 0)


def test_coverage_counts_the_samples_that_were_used() -> None:
    """They are chosen once more, by the same rules: 2 of 5 are saturated, or 1 of 4 is."""
    data = np.array([100, 100, 100, 100, 145], np.float32)[:, None, None]
    flags = np.array([4, 0, 0, 0, 4], np.uint16)[:, None, None]
    rules: dict[str, Any] = {"reject": "varclip", "lsigma": 4.0, "hsigma": 4.0}
    for photon, saturated in ((None, 4), (np.ones(5), 0)):
        made = combine(data, data, flags, photon=photon, **rules)
        known = makeup(made, data, data, flags, flag_share=0.3, photon=photon, **rules)
        assert known.mask is not None
        assert known.mask.item() == saturated
        assert known.coverage.item() == 5 - made.rejected.item()


# scatter ------------------------------------------------------------------------------------
@pytest.mark.parametrize("n", [4, 5, 7, 9])
def test_robust_sigma_clipping_finds_lone_outliers_and_spares_noise(n: int) -> None:
    """10 sigma among few: the samples' own scatter misses it below eight; of noise few are lost."""
    rng = np.random.default_rng(n)
    data = rng.normal(1000, 10, (n, 50, 400)).astype(np.float32)
    variance = np.full(data.shape, 100, np.float32)
    clean = combine(data, variance, None, reject="sigclip")
    assert clean.rejected.mean() / n < 0.006  # 0.0027 beyond 3 sigma, more about a noisy median
    data[0] += 100
    robust = combine(data, variance, None, reject="sigclip")
    sample = combine(data, variance, None, reject="sigclip", scatter="sample")
    assert (robust.rejected > 0).mean() > (0.75 if n < 5 else 0.95)
    assert (sample.rejected > 0).mean() < (0.001 if n < 8 else 0.9)
    same = weighted_mean(data, variance, None, np.ones(n), reject="sigclip")
    assert_array_equal(same.rejected, robust.rejected)


def test_the_floor_of_the_scatter_is_the_propagated_noise() -> None:
    """Seven equal samples have no scatter; 30 away is 3 sigma of the noise, and stays."""
    for x, rejected in ((29.0, 0), (31.0, 1)):
        data = np.array([0, 0, 0, 0, 0, 0, x], np.float32)[:, None, None]
        variance = np.full_like(data, 100)
        assert combine(data, variance, None, reject="sigclip").rejected.item() == rejected
    wide = np.array([-100, -60, -20, 0, 20, 60, 100], np.float32)[:, None, None]
    assert combine(wide, np.ones_like(wide), None, reject="sigclip").rejected.item() == 0


def test_varclip_without_variances_is_sigclip() -> None:
    """Eleven samples: enough for the networks of a median and of a sort to differ."""
    data = np.random.default_rng(5).normal(100, 5, (11, 4, 300)).astype(np.float32)
    data[3, :, ::7] += 80
    one = combine(data, None, None, reject="varclip", lsigma=2.0, hsigma=1.5)
    other = combine(data, None, None, reject="sigclip", lsigma=2.0, hsigma=1.5)
    assert_array_equal(one.rejected, other.rejected)
    assert_array_equal(one.data, other.data)
    assert other.rejected.max() > 1
