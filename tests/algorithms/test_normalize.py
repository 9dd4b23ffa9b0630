"""Normalisation of stacks: spec vectors 15.5, contradicting pairs, and refusals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from f2yaml.interpreter.algorithms.combine import combine, normalization_factors
from f2yaml.interpreter.algorithms.normalize import solve_pairs
from f2yaml.interpreter.errors import BadInput
from numpy.testing import assert_allclose

RTOL = 3e-7  # reference vectors are printed in single precision
PI2 = math.pi / 2

A = [[100, 102, 98], [101, 99, 100]]
B = [[110, 113, 108], [111, 109, 160]]
C = [[90, 91, 88], [92, 89, 90]]
ABC = np.array([A, B, C], np.float32)
ABC_VAR = np.empty_like(ABC)
ABC_VAR[:] = np.array([4, 9, 16], np.float32)[:, None, None]
ABC_DQ = np.zeros(ABC.shape, np.uint16)
ABC_DQ[1, 1, 2] = 1


def test_offsets_of_the_reference() -> None:
    offsets = normalization_factors(ABC, ABC_DQ, mode="zero")
    assert_allclose(offsets, [0, -10, 10], atol=1e-6)
    out = combine(ABC, ABC_VAR, ABC_DQ, reject="sigclip", zero=offsets)
    assert_allclose(out.data.ravel(), [100, 102, 98, 101.33334, 99, 100], rtol=RTOL)
    assert_allclose(out.variance.ravel(), [3.2222223] * 5 + [5], rtol=RTOL)


def test_factors_of_the_reference() -> None:
    factors = normalization_factors(list(ABC), list(ABC_DQ), mode="scale")
    assert_allclose(factors, [1, 0.9080769, 1.1119186], rtol=2e-6)  # its search stops there
    out = combine(ABC, ABC_VAR, ABC_DQ, reject="sigclip", scale=factors)
    expected = [99.98704, 101.93243, 97.97372, 101.36435, 98.98038, 100.03634]
    assert_allclose(out.data.ravel(), expected, rtol=1e-6)
    assert_allclose(out.variance.ravel(), [3.4670267] * 5 + [5.945452], rtol=3e-6)


@pytest.mark.parametrize(
    ("options", "sci", "var"),
    [
        ({"reject": "sigclip"}, [100, 102, 98, 101.33334, 99, 95], [3.2222223] * 5 + [5]),
        # The last pixel has two samples; the reference multiplies their variance by pi/2, 7.853982.
        (
            {"operation": "median", "reject": "minmax", "nlow": 1, "nhigh": 1},
            [100, 102, 98, 101, 99, 95],
            [6.2831855 / PI2] * 5 + [5],
        ),
        (
            {"operation": "wtmean", "reject": "none"},
            [101.14754, 103.2623, 99.147545, 102.29508, 100.147545, 98],
            [2.3606558] * 5 + [3.2],
        ),
    ],
)
def test_stack_of_three(options: dict[str, Any], sci: list[float], var: list[float]) -> None:
    out = combine(ABC, ABC_VAR, ABC_DQ, **options)
    assert_allclose(out.data.ravel(), sci, rtol=RTOL)
    assert_allclose(out.variance.ravel(), var, rtol=RTOL)


def test_a_section_limits_the_pixels() -> None:
    offsets = normalization_factors(ABC, None, mode="zero", section=(slice(1, 2), slice(2, 3)))
    assert_allclose(offsets, [0, -60, 10], atol=1e-6)


def test_weights_decide_between_contradicting_pairs() -> None:
    """Pairs say x1 - x0 = 1, x2 - x0 = 1, x2 - x1 = 3; the last weighs nothing, then much."""
    offsets = np.array([[0, 1, 1], [0, 0, 3], [0, 0, 0]], float)
    weights = np.array([[0, 1, 1], [0, 0, 0], [0, 0, 0]], float)
    assert_allclose(solve_pairs(offsets, weights), [0, 1, 1])
    weights[1, 2] = 1e9
    assert_allclose(solve_pairs(offsets, weights), [0, -0.5, 2.5], atol=1e-6)


def test_thinned_factors_agree_with_the_truth() -> None:
    rng = np.random.default_rng(2)
    sky = rng.normal(1000, 10, (3, 600, 500)) / np.array([1, 2, 4])[:, None, None]
    factors = normalization_factors(sky.astype(np.float32), None, mode="scale", max_pixels=20_000)
    assert_allclose(factors, [1, 2, 4], rtol=5e-4)  # 1.4 % * 1.25 / sqrt(20000) is 1.2e-4


def test_frames_without_common_pixels_are_refused() -> None:
    mask = np.zeros(ABC.shape, np.uint16)
    mask[2] = 16
    with pytest.raises(BadInput, match=r"frame 3 of 3 has no usable pixel"):
        normalization_factors(ABC, mask, mode="zero")
