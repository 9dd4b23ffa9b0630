from __future__ import annotations

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from f2yaml.interpreter.algorithms.tan import Affine, Tan, affine_between, separation
from f2yaml.interpreter.errors import BadInput
from numpy.testing import assert_allclose

SCALE = 0.179 / 3600
F2 = Tan.rounded((1020.3, 1034.7), (53.16, -27.79), ((1.3e-6, SCALE), (SCALE, -1.3e-6)))
POLAR = Tan.rounded((12.0, -40.0), (359.9999, -89.2), ((-SCALE, 0.0), (0.0, SCALE)))


def astropy_wcs(tan: Tan) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crpix, wcs.wcs.crval, wcs.wcs.cd = tan.crpix, tan.crval, np.array(tan.cd)
    return wcs


@pytest.mark.parametrize("tan", [F2, POLAR])
def test_agrees_with_astropy(tan: Tan) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.uniform(-500, 2500, (2, 200))
    ra, dec = tan.to_sky(x, y)
    ra_ap, dec_ap = astropy_wcs(tan).pixel_to_world_values(x, y)
    assert_allclose(ra, ra_ap, atol=1e-10)  # 4e-7 arcsec, the float64 rounding of 360 deg
    assert_allclose(dec, dec_ap, atol=1e-11)
    u, v = tan.to_pixel(ra_ap, dec_ap)
    assert_allclose(u, x, atol=2e-7)  # rounding of ra, dec in units of 0.179 arcsec
    assert_allclose(v, y, atol=2e-7)


def test_the_far_side_of_the_sky_has_no_pixel() -> None:
    x, y = F2.to_pixel([53.16 + 180, 53.16], [27.79, -27.79])
    assert np.isnan(x[0])
    assert np.isnan(y[0])
    assert x[1] == pytest.approx(1019.3)


def test_an_affine_map_in_front_is_exact() -> None:
    matrix, shift = [[0.9998, 0.02], [-0.021, 1.0003]], [12.25, -7.5]
    x, y = np.random.default_rng(2).uniform(0, 2048, (2, 100))
    moved = F2.with_affine_in_front(matrix, shift)
    expected = F2.to_sky(
        0.9998 * x + 0.02 * y + 12.25,
        -0.021 * x + 1.0003 * y - 7.5,
    )
    assert np.max(separation(*moved.to_sky(x, y), *expected)) < 1e-7


def test_shifted_origin() -> None:
    assert_allclose(F2.shifted_origin(-31, 4).to_sky(31, -4), F2.to_sky(0, 0), rtol=1e-14)


def test_rounded_values_survive_a_fits_card() -> None:
    rng = np.random.default_rng(3)
    for value in [*rng.normal(size=50) * 10.0 ** rng.integers(-7, 4, 50), -1.234567890123456e-5]:
        tan = Tan.rounded((value, 1.0), (value, 1.0), ((value, 0.0), (0.0, value)))
        card = fits.Card.fromstring(str(fits.Card("CD1_1", tan.cd[0][0])))
        assert card.value == tan.cd[0][0]
        assert tan.cd[0][0] == pytest.approx(value, rel=1e-13)


def test_separation_agrees_with_astropy() -> None:
    a, b = SkyCoord(10.0, -60.0, unit="deg"), SkyCoord([10.0001, 12.0], [-60.0, -58.0], unit="deg")
    assert_allclose(separation(10, -60, b.ra.deg, b.dec.deg), a.separation(b).arcsec, rtol=1e-9)


def test_pixel_scale() -> None:
    # |det CD| = SCALE^2 + (1.3e-6)^2
    assert F2.pixel_scale() == pytest.approx(np.hypot(0.179, 1.3e-6 * 3600), rel=1e-12)


def test_affine_between_is_exact_at_the_centre_and_close_everywhere() -> None:
    other = F2.with_affine_in_front([[0.99995, 0.003], [-0.003, 0.99995]], [25.3, -11.8])
    other = Tan.rounded(other.crpix, (F2.crval[0] + 0.004, F2.crval[1] - 0.003), other.cd)
    affine = affine_between(F2, other, (2048, 2000))
    x, y = np.array([999.5, 0.0, 1999.0]), np.array([1023.5, 0.0, 2047.0])
    u, v = other.to_pixel(*F2.to_sky(x, y))
    p, q = affine.apply(x, y)
    assert_allclose([p[0], q[0]], [u[0], v[0]], atol=1e-7)
    assert_allclose([p, q], [u, v], atol=0.01)  # curvature of the projection over 0.1 deg


def test_affine_between_equal_projections_is_the_identity() -> None:
    assert affine_between(F2, F2, (2048, 2048)) == Affine()


def test_affine_inverse_and_composition() -> None:
    a = Affine(((1.1, 0.2), (-0.3, 0.9)), (5.0, -6.0))
    b = Affine(((0.0, 1.0), (-1.0, 0.0)), (0.5, 0.25))
    assert_allclose(a.inverse().apply(*a.apply(3.0, 4.0)), (3.0, 4.0), atol=1e-12)
    assert_allclose(a.after(b).apply(3.0, 4.0), a.apply(*b.apply(3.0, 4.0)), atol=1e-12)
    assert a.determinant == pytest.approx(1.05)


def test_a_singular_matrix_is_refused() -> None:
    with pytest.raises(BadInput, match="has no inverse"):
        Tan((1, 1), (0, 0), ((1e-5, 1e-5), (1e-5, 1e-5))).to_pixel(0, 0)
