"""What the pixels of a stack are made of, against a plain count."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from f2yaml.interpreter.algorithms.combine import combine
from f2yaml.interpreter.algorithms.coverage import makeup, nearest_rows
from f2yaml.interpreter.algorithms.tan import Affine
from f2yaml.interpreter.algorithms.weighted import weighted_mean
from numpy.testing import assert_array_equal

RULES: dict[str, Any] = {"reject": "varclip", "lsigma": 4.0, "hsigma": 4.0}


def column(values: Any, flags: Any, **more: Any) -> Any:
    """Return the makeup of one pixel with these samples, of noise 1."""
    data = np.array(values, np.float32).reshape(-1, 1, 1)
    mask = np.array(flags, np.uint16).reshape(-1, 1, 1)
    variance = np.ones_like(data)
    made = combine(data, variance, mask, **RULES)
    depth = more.pop("depth", None)
    if depth is not None:
        depth = np.array(depth, np.uint16).reshape(-1, 1, 1)
    return makeup(made, data, variance, mask, depth=depth, **more, **RULES)


def test_samples_used_are_counted_and_the_rest_told_apart() -> None:
    """Six samples: one bad, one an outlier: four are used, of five that are good."""
    found = column([100, 101, 99, 100, 900, 5000], [0, 0, 0, 0, 0, 1])
    assert found.coverage.dtype == np.uint16
    assert (found.coverage.item(), found.usable, found.used) == (4, 5, 4)


def test_bad_pixels_are_counted_but_no_data_are_none() -> None:
    assert column([5, 6, 7], [1, 1, 1]).coverage.item() == 3
    assert column([5, 6, 7], [16, 16, 16]).coverage.item() == 0
    assert column([5, 6, 7], [1, 1, 1])[2:] == (0, 0)


def test_depths_of_the_samples_used_add_up() -> None:
    """Stacks of 6, 3, 4 and 9 exposures; that of 4 is flagged, that of 9 an outlier."""
    found = column([100, 101, 99, 900], [0, 0, 1, 0], depth=[6, 3, 4, 9])
    assert found.coverage.item() == 9
    assert column([100, 101, 99], [0, 0, 0], depth=[6, 3, 4]).coverage.item() == 13
    assert column([100, 101], [0, 0], depth=[65000, 65000]).coverage.item() == 65535


@pytest.mark.parametrize(
    ("flags", "share", "bits"),
    [
        ([4] + [0] * 9, 0.0, 4),  # a single one is enough
        ([4] + [0] * 9, 0.1, 4),
        ([4] + [0] * 10, 0.1, 0),
        ([2] + [0] * 10, 0.1, 0),
        ([4] + [2] + [0] * 9, 0.1, 2),  # two of eleven are beyond the linear regime
        ([4] * 10, 1.0, 4),
        ([2] * 10, 1.0, 2),
        ([4] * 5 + [2] * 5, 0.6, 2),
        ([4] * 5 + [2] * 5, 0.5, 6),
    ],
)
def test_a_pixel_is_saturated_where_enough_of_its_samples_are(
    flags: list[int], share: float, bits: int
) -> None:
    assert column([100.0] * len(flags), flags, flag_share=share).mask.item() == bits


def test_a_saturated_sample_that_is_rejected_does_not_count() -> None:
    assert column([100, 100, 100, 9000], [0, 0, 0, 4], flag_share=0.1).mask.item() == 0


def test_other_bits_stay_whatever_the_share() -> None:
    assert column([100, 100, 100], [9, 9, 13], flag_share=0.9).mask.item() == 9


@pytest.mark.parametrize("reject", ["none", "minmax", "sigclip", "varclip"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_second_look_finds_the_samples_that_the_combiner_used(
    reject: Any, weighted: bool
) -> None:
    """Depths of one exposure each, counted sample by sample, give the combiner's own count."""
    rng = np.random.default_rng(7)
    data = rng.normal(100, 3, (9, 12, 40)).astype(np.float32)
    data[rng.random(data.shape) < 0.05] += 60
    mask = np.where(rng.random(data.shape) < 0.2, rng.choice([1, 4, 8, 2], data.shape), 0)
    mask = mask.astype(np.uint16)
    variance = np.full_like(data, 9)
    rules: dict[str, Any] = {"reject": reject, "nlow": 1, "nhigh": 1}
    if weighted:
        made = weighted_mean(data, variance, mask, np.arange(1, 10), **rules)
    else:
        made = combine(data, variance, mask, **rules)
    depth = np.ones(data.shape, np.uint16)
    found = makeup(made, data, variance, mask, depth=depth, flag_share=0.3, **rules)
    assert_array_equal(found.coverage, 9 - made.rejected)
    assert (made.rejected > 0).any()
    assert made.mask is not None
    assert found.mask is not None
    assert_array_equal(found.mask & ~np.uint16(6), made.mask & ~np.uint16(6))
    assert ((made.mask & 6) != 0).sum() > ((found.mask & 6) != 0).sum() > 0


def test_counts_go_to_the_nearest_pixel_and_stay_inside() -> None:
    plane = np.arange(1, 13, dtype=np.uint16).reshape(3, 4)
    moved = nearest_rows(plane, Affine(shift=(-0.8, 1.2)), 0, 3, 6)
    expected = [[0, 5, 6, 7, 8, 0], [0, 9, 10, 11, 12, 0], [0, 0, 0, 0, 0, 0]]
    assert_array_equal(moved, expected)
    assert_array_equal(nearest_rows(plane, Affine(shift=(-0.8, 1.2)), 1, 2, 6), expected[1:2])
