"""Moffat profiles fitted to single stars."""

from __future__ import annotations

import numpy as np
import pytest
from f2yaml.interpreter.algorithms.psf import clipped, fit_stars
from moffat import moffat_image, star_grid
from numpy.testing import assert_allclose, assert_array_equal

STARS = star_grid(3, 70, 2e5, 2e6, seed=3)


@pytest.mark.parametrize(("fwhm", "beta"), [(2.5, 3.0), (4.0, 2.5), (6.0, 4.0)])
def test_profiles_without_noise_are_recovered(fwhm: float, beta: float) -> None:
    """The 2 x 2 points of a pixel leave 0.3 % of a FWHM of 2.5 pixels; less of wider ones."""
    image = (moffat_image((210, 210), STARS, fwhm, beta) + 300.0).astype(np.float32)
    fits = fit_stars(image, None, None, STARS[:, 0] + 0.3, STARS[:, 1] - 0.3, 1.2 * fwhm)
    assert fits.good.all()
    assert_allclose(fits.fwhm, fwhm, rtol=5e-3)
    assert_allclose(fits.beta, beta, rtol=0.03)
    assert_allclose(fits.flux, STARS[:, 2], rtol=0.01)


def test_noise_moves_the_mean_by_less_than_its_error() -> None:
    rng = np.random.default_rng(5)
    image = moffat_image((210, 210), STARS, 4.0) + 4000.0
    noisy = (image + rng.standard_normal(image.shape) * np.sqrt(image)).astype(np.float32)
    fits = fit_stars(noisy, image.astype(np.float32), None, STARS[:, 0], STARS[:, 1], 4.0)
    assert fits.good.all()
    assert fits.fwhm.mean() == pytest.approx(4.0, rel=0.01)  # single stars scatter by 0.5 %


def test_bad_pixels_are_left_out_and_too_many_refuse_the_star() -> None:
    image = (moffat_image((210, 210), STARS, 4.0) + 300.0).astype(np.float32)
    bad = np.zeros(image.shape, bool)
    x, y = np.round(STARS[:, :2]).astype(int).T
    bad[y[0] + 1, x[0]] = bad[y[1], x[1] + 2] = True
    image[bad] = 1e6
    bad[y[2] - 5 : y[2] + 6, x[2] - 5 : x[2] + 6] = True  # 121 of 625 pixels
    fits = fit_stars(image, None, bad, STARS[:3, 0], STARS[:3, 1], 4.0)
    assert_array_equal(fits.good, [True, True, False])
    assert_allclose(fits.fwhm[:2], 4.0, rtol=5e-3)
    assert np.isnan(fits.fwhm[2])


def test_edges_and_empty_sky_have_no_star() -> None:
    image = np.full((60, 60), 100.0, np.float32)
    image[30, 30] = np.nan
    fits = fit_stars(image, None, None, np.array([5.0, 30.0]), np.array([30.0, 30.0]), 4.0)
    assert not fits.good.any()
    assert len(fit_stars(image, None, None, np.zeros(0), np.zeros(0), 4.0).fwhm) == 0


def test_one_clip_about_the_mean() -> None:
    """Mean 2, scatter 4: at one sigma 10 is out; of two values none is."""
    values = np.array([0.0, 0.0, 0.0, 0.0, 10.0])
    assert_array_equal(clipped(values, 1.0, 3), [True, True, True, True, False])
    assert_array_equal(clipped(values, 2.0, 3), np.ones(5, bool))
    assert_array_equal(clipped(values[3:], 0.5, 3), [True, True])
