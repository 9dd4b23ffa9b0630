from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import sep
from f2yaml.interpreter.algorithms.catalog import star_likeness
from f2yaml.interpreter.algorithms.detect import OBJCAT_DTYPE, UNITS, detect, is_stellar
from f2yaml.interpreter.algorithms.tan import Tan
from numpy.testing import assert_allclose, assert_array_equal

FWHM = 4.0
SKY = 8000.0


class Scene(NamedTuple):
    data: np.ndarray
    mask: np.ndarray
    variance: np.ndarray
    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray


def moffat(shape: tuple[int, int], x: float, y: float, flux: float) -> np.ndarray:
    """A star with wings (beta 3), summed over the pixel at its centre only."""
    beta = 3.0
    alpha2 = (FWHM / 2) ** 2 / (2 ** (1 / beta) - 1)
    v, u = np.ogrid[: shape[0], : shape[1]]
    r2 = (u - x) ** 2 + (v - y) ** 2
    return flux * (beta - 1) / (np.pi * alpha2) * (1 + r2 / alpha2) ** -beta


def scene(n: int = 512, seed: int = 1, vignetted: bool = False, stars: int = 25) -> Scene:
    """A frame with stars on a jittered grid, and its noise (sky- and read-noise)."""
    rng = np.random.default_rng(seed)
    side = int(np.ceil(np.sqrt(stars)))
    step = (n - 160) / side
    j, i = np.divmod(np.arange(stars), side)
    x = 80 + step * (i + 0.5) + rng.uniform(-5, 5, stars)
    y = 80 + step * (j + 0.5) + rng.uniform(-5, 5, stars)
    flux = 10 ** np.linspace(4.4, 5.5, stars)[rng.permutation(stars)]
    light = sum((moffat((n, n), *star) for star in zip(x, y, flux, strict=True)), np.zeros((n, n)))
    flat, mask = np.ones((n, n)), np.zeros((n, n), np.uint16)
    if vignetted:
        v, u = np.mgrid[:n, :n]
        r = np.hypot(u - n / 2, v - n / 2)
        edge = n / 2 - 10
        flat = np.clip((edge - r) / 25, 0.02, 1.0)
        mask[r > edge] = 64
    variance = ((SKY + light) * flat + 36) / flat**2
    data = SKY + light + rng.normal(size=(n, n)) * np.sqrt(variance)
    return Scene(data.astype("f4"), mask, variance.astype("f4"), x, y, flux)


def nearest(catalog: np.ndarray, s: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Distance to the nearest true star, and its index, for each source."""
    d = np.hypot(catalog["X_IMAGE"][:, None] - 1 - s.x, catalog["Y_IMAGE"][:, None] - 1 - s.y)
    return d.min(axis=1), d.argmin(axis=1)


@pytest.mark.parametrize("with_variance", [True, False])
def test_positions_fluxes_and_completeness(with_variance: bool) -> None:
    s = scene()
    before = s.data.copy()
    found = detect(s.data, s.mask, s.variance if with_variance else None)
    assert_array_equal(s.data, before)
    c = found.catalog
    distance, star = nearest(c, s)
    assert (distance < 1).all()  # nothing spurious
    assert set(star) == set(range(25))  # nothing lost: the faintest has 40 sigma
    bright = s.flux[star] > 5e4
    assert bright.sum() > 8
    assert np.sqrt(np.mean(distance[bright] ** 2)) < 0.05
    # The Kron aperture misses the outer wings of a Moffat profile (known: about 5 per cent), the
    # same for all; a lone pixel of background error in 150 pixels is 1 per cent at 5e4.
    ratio = c["FLUX_AUTO"][bright] / s.flux[star][bright]
    assert_allclose(ratio, np.median(ratio), rtol=0.04)
    assert 0.9 < np.median(ratio) < 1.01
    assert found.background == pytest.approx(SKY, rel=2e-3)
    assert found.rms == pytest.approx(np.sqrt(SKY + 36), rel=0.03)
    assert found.seeing_fwhm_pix == pytest.approx(FWHM, rel=0.06)
    assert (c["CLASS_STAR"][bright] > 0.8).all()
    assert_array_equal(c["NUMBER"], np.arange(1, len(c) + 1))


def test_flux_of_compact_stars_within_two_per_cent() -> None:
    rng = np.random.default_rng(3)
    v, u = np.ogrid[:300, :300]
    x, y = np.array([70.2, 151.6, 221.9, 80.5]), np.array([80.7, 149.2, 68.3, 220.4])
    sigma = FWHM / 2.3548
    data = rng.normal(SKY, 90, (300, 300))
    for a, b in zip(x, y, strict=True):
        data += 3e5 / (2 * np.pi * sigma**2) * np.exp(-((u - a) ** 2 + (v - b) ** 2) / 2 / sigma**2)
    c = detect(data.astype("f4")).catalog
    assert len(c) == 4
    assert_allclose(c["FLUX_AUTO"], 3e5, rtol=0.02)
    order = np.argsort(c["Y_IMAGE"])
    assert_allclose(c["X_IMAGE"][order] - 1, x[np.argsort(y)], atol=0.05)
    assert_allclose(c["FWHM_IMAGE"], FWHM, rtol=0.03)
    assert_allclose(c["FLUX_RADIUS"], FWHM / 2, rtol=0.05)  # half light of a Gaussian


@pytest.mark.parametrize("with_variance", [True, False])
def test_a_vignetted_border_holds_no_swarm(with_variance: bool) -> None:
    s = scene(n=700, vignetted=True, stars=16)
    found = detect(s.data, s.mask, s.variance if with_variance else None)
    distance, star = nearest(found.catalog, s)
    r = np.hypot(s.x - 350, s.y - 350)
    assert (distance > 2).sum() <= 1
    assert set(np.flatnonzero(r < 300)) <= set(star)
    v, u = np.mgrid[:700, :700]
    border = (np.hypot(u - 350, v - 350) > 315) & (s.mask == 0)
    assert border.sum() > 40000
    assert found.objmask[border].mean() < 0.002


def test_the_object_mask_is_generous() -> None:
    s = scene()
    found = detect(s.data, s.mask, s.variance)
    light = s.data * 0.0
    for star in zip(s.x, s.y, s.flux, strict=True):
        light += moffat(s.data.shape, *star).astype("f4")
    # What is left unmasked is far below the noise of a pixel (90), and small on the whole.
    left = light[found.objmask == 0]
    assert left.max() < 90
    assert left.mean() < 0.01 * 90
    assert set(np.unique(found.objmask)) == {0, 1}
    assert found.objmask.mean() < 0.1


def test_small_detections_are_masked_but_not_catalogued() -> None:
    s = scene(stars=1)
    data = s.data.copy()
    data += moffat(data.shape, 402.0, 102.0, 9000.0).astype("f4")  # peak at 3.5 sigma
    found = detect(data, s.mask, s.variance)
    assert found.objmask[102, 402] == 1
    d = np.hypot(found.catalog["X_IMAGE"] - 402, found.catalog["Y_IMAGE"] - 102)
    assert (d > 10).all()
    strict = detect(data, s.mask, s.variance, min_isoarea=10**6)
    assert len(strict.catalog) == 0
    assert_array_equal(strict.objmask, found.objmask)


def test_flagged_pixels_make_no_sources_and_are_reported() -> None:
    s = scene()
    data, mask = s.data.copy(), s.mask.copy()
    data[200:206, 40:46], mask[200:206, 40:46] = 5e5, 1
    data[10, 10], data[300, 30] = np.nan, np.inf
    k = int(np.argmax(s.flux))
    cx, cy = round(s.x[k]), round(s.y[k])
    mask[cy + 2, cx + 1] = 1
    mask[cy, cx] = 4
    found = detect(data, mask, s.variance)
    distance, star = nearest(found.catalog, s)
    assert (distance < 1).all()
    assert found.objmask[195:211, 35:51].sum() == 0
    one = found.catalog[np.flatnonzero(star == k)[0]]
    assert one["IMAFLAGS_ISO"] == 5
    assert one["NIMAFLAGS_ISO"] == 2
    assert one["FLAGS"] & 4


def test_saturation_level_sets_flag_4() -> None:
    s = scene()
    k = int(np.argmax(s.flux))
    limit = 0.7 * moffat(s.data.shape, s.x[k], s.y[k], s.flux[k]).max()
    c = detect(s.data, s.mask, s.variance, saturation=limit).catalog
    _, star = nearest(c, s)
    assert c["FLAGS"][star == k][0] & 4
    assert not (c["FLAGS"][s.flux[star] < 0.5 * s.flux[k]] & 4).any()


@pytest.mark.parametrize(("value", "bits"), [(5.0, 0), (0.0, 0), (np.nan, 0), (5.0, 64)], ids=str)
def test_images_without_information_have_no_sources(value: float, bits: int) -> None:
    data = np.full((100, 120), value, np.float32)
    for variance in (None, np.ones_like(data)):
        found = detect(data, np.full(data.shape, bits, np.uint16), variance)
        assert len(found.catalog) == 0
        assert found.catalog.dtype == OBJCAT_DTYPE
        assert found.objmask.shape == data.shape
        assert found.objmask.sum() == 0
        assert found.seeing_fwhm_pix is None


def test_pure_noise_has_next_to_no_sources() -> None:
    data = np.random.default_rng(5).normal(100, 10, (512, 512)).astype(np.float32)
    found = detect(data, None, np.full_like(data, 100))
    assert len(found.catalog) == 0
    assert found.objmask.mean() < 1e-3


def test_columns() -> None:
    assert len(OBJCAT_DTYPE.names) == 43
    assert OBJCAT_DTYPE.names[:6] == (
        "NUMBER", "X_IMAGE", "Y_IMAGE", "ERRX2_IMAGE", "ERRY2_IMAGE", "ERRXY_IMAGE",
    )  # fmt: skip
    assert OBJCAT_DTYPE.names[-5:] == (
        "REF_NUMBER", "REF_MAG", "REF_MAG_ERR", "PROFILE_FWHM", "PROFILE_EE50",
    )  # fmt: skip
    kinds = {
        "NUMBER": "i8",
        "Y_WORLD": "f8",
        "THETA_WORLD": "f4",
        "ISOAREA_IMAGE": "i4",
        "FLAGS": "i2",
    }
    assert {name: OBJCAT_DTYPE[name].str[1:] for name in kinds} == kinds
    assert UNITS["ERRXY_WORLD"] == "deg2"
    assert UNITS["FLUX_MAX"] == "count"
    assert UNITS["CLASS_STAR"] == ""
    assert tuple(UNITS) == OBJCAT_DTYPE.names


def test_world_columns() -> None:
    s = scene()
    scale = 0.179 / 3600
    wcs = Tan((256.0, 256.0), (30.0, -30.0), ((0.0, scale), (scale, 0.0)))
    c = detect(s.data, s.mask, s.variance, wcs=wcs).catalog
    ra, dec = wcs.to_sky(c["X_IMAGE"] - 1, c["Y_IMAGE"] - 1)
    assert_array_equal(c["X_WORLD"], ra)
    assert_array_equal(c["Y_WORLD"], dec)
    assert_allclose(c["A_WORLD"], c["A_IMAGE"] * scale, rtol=1e-5)
    assert_allclose(c["FWHM_WORLD"], c["FWHM_IMAGE"] * scale, rtol=1e-5)
    # This matrix exchanges the axes.
    assert_allclose(c["ERRX2_WORLD"], c["ERRY2_IMAGE"] * scale**2, rtol=1e-9)
    assert (c["REF_MAG"] == -999).all()
    without = detect(s.data, s.mask, s.variance).catalog
    assert (without["X_WORLD"] == -999).all()
    assert_allclose(without["FWHM_WORLD"], c["FWHM_WORLD"], rtol=1e-6)


def test_profiles() -> None:
    s = scene()
    c = detect(s.data, s.mask, s.variance).catalog
    _, star = nearest(c, s)
    bright = s.flux[star] > 5e4
    # Whole pixels are counted: an area of 13 pixels is good to about one.
    assert_allclose(c["PROFILE_FWHM"][bright], FWHM, rtol=0.12)
    assert (c["PROFILE_EE50"][bright] > c["PROFILE_FWHM"][bright]).all()  # wings
    assert 5 <= is_stellar(c).sum() <= bright.sum() + 5


def test_star_likeness() -> None:
    c = np.zeros(4, OBJCAT_DTYPE)
    c["FWHM_IMAGE"], c["FLUXERR_AUTO"] = [4.0, 8.0, 4.0, -999], 1.0
    c["FLUX_AUTO"] = [1e4, 1e4, 5.0, 1e4]
    likely = star_likeness(c, 4.0)
    assert likely[0] > 0.99
    assert likely[1] < 0.01
    assert likely[2] == pytest.approx(0.6)  # 0.5 + 0.5 * 25 / 125
    assert likely[3] == 0.5
    assert (star_likeness(c, None) == 0.5).all()


def test_sep_limits_do_not_stop_a_crowded_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    s = scene(n=256, stars=4)
    real, contrasts = sep.extract, []

    def overflowing(*args: object, **options: object) -> object:
        contrasts.append(options["deblend_cont"])
        if options["deblend_cont"] < 1.0:
            raise Exception("object deblending overflow. Limit of 4096 sub-objects reached")
        return real(*args, **options)

    monkeypatch.setattr(sep, "extract", overflowing)
    limit = sep.get_sub_object_limit()
    assert len(detect(s.data, s.mask, s.variance).catalog) == 4
    assert len(contrasts) >= 4
    assert contrasts == [0.005, 0.005, 0.005, 1.0] * (len(contrasts) // 4)  # of each region
    assert sep.get_sub_object_limit() == limit


def test_other_errors_of_sep_are_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*args: object, **options: object) -> object:
        raise Exception("memory allocation")

    monkeypatch.setattr(sep, "extract", failing)
    s = scene(n=256, stars=1)
    with pytest.raises(Exception, match="memory allocation"):
        detect(s.data, s.mask, s.variance)
