"""Gain and linearity against the worked numbers of the specification (primitives, 15.6)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from f2yaml.interpreter.errors import FrameMismatch
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.primitives.detector import (
    ADUToElectrons,
    NonlinearityCorrect,
    adu_to_electrons,
    nonlinearity_correct,
)
from f2yaml.interpreter.primitives.standardize import AddVAR, add_var
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from synthetic import assert_unchanged, frame, snapshot

ADU = [-10, 0, 10, 100, 1000, 5000, 10000, 20000, 25199, 25200, 30000, 34999, 35000]
ELECTRONS = [
    -44.4, 0, 44.4, 444, 4440, 22200, 44400, 88800, 111883.56, 111888, 133200, 155395.56, 155400,
]  # fmt: skip
LINEAR = [
    -44.396122, 0, 44.395954, 443.952, 4438.847, 22187.943, 44399.926, 89161.13, 112751.195,
    112755.766, 134813.86, 158135.53, 158140.23,
]  # fmt: skip
LINEAR_VARIANCE = [
    136.89388, 136.89, 181.28596, 580.84204, 4575.7373, 22324.834, 44536.816, 89298.02, 112888.086,
    112892.66, 134950.75, 158272.42, 158277.12,
]  # fmt: skip
LINEAR_ADU = [
    -9.999126, 0, 9.999088, 99.98919, 999.74036, 4997.2847, 9999.983, 20081.336, 25394.412,
    25395.441, 30363.482, 35616.11, 35617.168,
]  # fmt: skip


def adu(values: Any, **more: Any) -> Frame:
    levels = {"BUNIT": "adu", "GAIN": 4.44, "SATLEVEL": 35000, "NONLINEA": 25200}
    return frame(np.atleast_2d(values), sci=levels, **{"variance": None, **more})


def test_counts_become_electrons_and_the_header_says_so() -> None:
    given = adu(ADU, variance=2.0, mask=4)
    before = snapshot(given)
    out = adu_to_electrons(given, ADUToElectrons())
    assert_allclose(out.data, [ELECTRONS], rtol=2e-7)
    assert_allclose(out.variance, 2 * 4.44**2, rtol=1e-6)
    assert_array_equal(out.mask, given.mask)
    assert out.unit == "electron"
    assert (out.sci["GAIN"], out.sci["SATLEVEL"], out.sci["NONLINEA"]) == (1.0, 155400, 111888)
    assert_unchanged(before, given)


def test_the_gain_is_not_applied_twice() -> None:
    with pytest.raises(FrameMismatch, match="is in electrons already"):
        adu_to_electrons(adu_to_electrons(adu(ADU), ADUToElectrons()), ADUToElectrons())


def test_the_chain_gives_the_linear_signal_of_the_specification() -> None:
    noisy = add_var(adu_to_electrons(adu(ADU), ADUToElectrons()), AddVAR())
    out = nonlinearity_correct(noisy, NonlinearityCorrect())
    # float32 has 7 digits; two more roundings than in the reference
    assert_allclose(out.data, [LINEAR], rtol=3e-7)
    assert_allclose(out.variance, [LINEAR_VARIANCE], rtol=3e-7)
    assert (out.sci["SATLEVEL"], out.sci["NONLINEA"]) == (158140.24, 112755.758)


def test_linearity_before_the_gain_is_the_same_curve() -> None:
    out = nonlinearity_correct(adu(ADU), NonlinearityCorrect())
    assert_allclose(out.data, [LINEAR_ADU], rtol=3e-7)
    assert not out.has("variance")


def test_four_read_pairs_have_a_quarter_of_the_gain() -> None:
    given = adu([5000.0]).with_cards(phu={"LNRS": 4}, sci={"GAIN": 1.11, "RDNOISE": 6.0})
    electrons = adu_to_electrons(given, ADUToElectrons())
    out = nonlinearity_correct(add_var(electrons, AddVAR()), NonlinearityCorrect())
    assert_allclose(electrons.data, [[5550]])
    assert_allclose(out.data, [[5548.357]], rtol=1e-6)
    assert_allclose(out.variance, [[5584.357]], rtol=1e-6)


def test_above_the_well_depth_the_correction_stays_constant() -> None:
    """The cubic at 155400 e- adds 2740.23 e-; the reference goes on to 6345.22 at 200000."""
    out = nonlinearity_correct(frame([[155400.0, 177600.0, 200000.0]]), NonlinearityCorrect())
    assert_allclose(out.data - [[155400.0, 177600.0, 200000.0]], 2740.23, atol=0.03)


def test_without_photon_noise_the_variance_stays() -> None:
    quiet = add_var(frame([[5000.0, 80000.0]], variance=None), AddVAR(poisson_noise=False))
    out = nonlinearity_correct(quiet, NonlinearityCorrect())
    assert_array_equal(out.variance, quiet.variance)
    assert out.data[0, 1] == pytest.approx(80235.53, rel=1e-6)


def test_summed_exposures_are_linearised_one_by_one() -> None:
    single = nonlinearity_correct(frame([[80000.0]]), NonlinearityCorrect())
    double = nonlinearity_correct(frame([[160000.0]], COADDS=2), NonlinearityCorrect())
    assert_allclose(double.data, 2 * single.data, rtol=2e-7)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-1e4, 3e5, width=32), min_size=2, max_size=30))
def test_linearity_keeps_the_order_of_pixels_and_their_bits(values: list[float]) -> None:
    """The slope of the cubic is above 0.998 everywhere, so that brighter stays brighter."""
    ordered = np.sort(np.array(values, np.float32))
    bits = np.arange(ordered.size, dtype=np.uint16)
    given = frame([ordered], variance=None, mask=bits)
    out = nonlinearity_correct(add_var(given, AddVAR()), NonlinearityCorrect())
    assert (np.diff(out.data) >= 0).all()
    assert out.variance is not None
    assert (out.variance >= 0).all()
    assert_array_equal(out.mask, [bits])
