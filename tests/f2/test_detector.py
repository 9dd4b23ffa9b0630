"""Detector figures, illumination and file names (instrument, sections 3.4, 4.7, 4.9)."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from f2yaml.interpreter.errors import BadInput
from f2yaml.interpreter.f2 import detector
from f2yaml.interpreter.f2.illumination import illumination_mask
from f2yaml.interpreter.f2.names import final_name, root_of, with_suffix


@pytest.mark.parametrize(
    ("lnrs", "noise", "gain", "saturated", "non_linear"),
    [
        (1, 11.7, 4.44, 35000, 25200),
        (4, 6.0, 1.11, 140000, 100800),
        (6, 5.3, 0.74, 209999, 151199),
        (8, 5.0, 0.555, 280000, 201600),
    ],
)
def test_figures_by_read_pairs(
    lnrs: int, noise: float, gain: float, saturated: int, non_linear: int
) -> None:
    assert detector.read_noise(lnrs) == noise
    assert detector.gain(lnrs) == pytest.approx(gain, rel=1e-15)
    assert detector.saturation_level(lnrs) == saturated
    assert detector.non_linear_level(lnrs) == non_linear


def test_coadds_add_up() -> None:
    assert detector.saturation_level(1, 3) == 105000
    assert detector.non_linear_level(1, 3) == 75600
    assert detector.read_noise(1, 4) == pytest.approx(23.4)


def test_linearity_moves_the_levels_as_stated() -> None:
    assert detector.linearized(155400.0) == pytest.approx(158140.24, abs=5e-3)
    assert detector.linearized(111888.0) == pytest.approx(112755.758, abs=5e-4)


@pytest.mark.parametrize(
    ("lnrs", "date", "words"),
    [
        (None, None, "LNRS is missing"),
        (2, dt.date(2014, 1, 1), "before April 2015"),
        (2, None, "before April 2015"),
        (2, dt.date(2016, 1, 1), "LNRS = 2 is no read mode"),
        (3, None, "LNRS = 3 is no read mode"),
    ],
)
def test_unknown_read_modes_are_refused(lnrs: int | None, date: dt.date | None, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        detector.read_mode(lnrs, date=date, where="x.fits")
    assert caught.value.problems[0].where == "x.fits"
    assert "1, 4, 6, 8" in caught.value.problems[0].fix


def test_illumination_mask_is_the_stated_circle() -> None:
    mask = illumination_mask()
    assert mask.dtype == np.uint16
    assert set(np.unique(mask)) == {0, 64}
    # The shipped mask has 757 344; this circle masks 454 more and misses 146.
    assert np.count_nonzero(mask) == 757344 + 454 - 146
    # Quadrants of the shipped mask; the two differ by 600 pixels in all.
    shipped = {(0, 0): 235563, (0, 1): 192722, (1, 0): 184392, (1, 1): 144667}
    for (j, i), count in shipped.items():
        quadrant = mask[1024 * j : 1024 * (j + 1), 1024 * i : 1024 * (i + 1)]
        assert np.count_nonzero(quadrant) == pytest.approx(count, abs=600)


def test_illumination_of_a_small_detector_has_the_same_shape() -> None:
    small = illumination_mask((256, 256))
    assert small.mean() == pytest.approx(illumination_mask().mean(), rel=0.01)
    differing = np.count_nonzero((small != 0) != (illumination_mask()[3::8, 3::8] != 0))
    assert differing < 200  # only along the edge, 256 pi long
    assert np.count_nonzero(illumination_mask(margin_pix=10)) > 757652


@pytest.mark.parametrize(
    ("name", "stripped", "appended"),
    [
        ("S20200107S0035.fits", "S20200107S0035_new.fits", "S20200107S0035_new.fits"),
        (
            "S20200107S0035_prepared.fits",
            "S20200107S0035_new.fits",
            "S20200107S0035_prepared_new.fits",
        ),
        (
            "S20200107S0035_ql_flat.fits",
            "S20200107S0035_ql_new.fits",
            "S20200107S0035_ql_flat_new.fits",
        ),
        (
            "S20200107S0035_a_b_c.fits",
            "S20200107S0035_a_b_new.fits",
            "S20200107S0035_a_b_c_new.fits",
        ),
        ("other_name_a.fits", "other_name_new.fits", "other_name_a_new.fits"),
        ("S20200107S0035.fits.gz", "S20200107S0035_new.fits", "S20200107S0035_new.fits"),
        ("raw/S20200107S0035.fits.bz2", "S20200107S0035_new.fits", "S20200107S0035_new.fits"),
        (
            "prefixS20200107S0035_x.fits",
            "prefixS20200107S0035_new.fits",
            "prefixS20200107S0035_x_new.fits",
        ),
    ],
)
def test_suffixes(name: str, stripped: str, appended: str) -> None:
    for origname in ("S20200107S0035", "S20200107S0035.fits", "S20200107S0035.fits.bz2"):
        assert with_suffix(name, origname, "_new") == stripped
        assert with_suffix(name, origname, "_new", append=True) == appended


def test_empty_and_absent_suffix() -> None:
    assert with_suffix("S1_prepared.fits", "S1", "") == "S1.fits"
    assert with_suffix("S1_prepared.fits", "S1", None) == "S1_prepared.fits"
    assert with_suffix("my_night_1.fits", "my_night_1.fits", "_dark") == "my_night_1_dark.fits"
    assert final_name("S1_ql_flat.fits", "_x") == "S1_x.fits"
    assert root_of("/a.b/S1.fits.bz2") == "S1"
