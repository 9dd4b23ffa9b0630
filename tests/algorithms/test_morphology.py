from __future__ import annotations

import numpy as np
import pytest
from f2yaml.interpreter.algorithms.morphology import dilate, transfer_mask
from f2yaml.interpreter.algorithms.resample import Planes, resample_rows
from f2yaml.interpreter.algorithms.tan import Affine
from numpy.testing import assert_array_equal
from scipy import ndimage


@pytest.mark.parametrize(
    ("radius", "pixels"), [(0.0, 1), (0.99, 1), (1, 5), (1.5, 9), (2, 13), (3, 29), (10, 317)]
)
def test_one_seed_grows_to_a_disc(radius: float, pixels: int) -> None:
    mask = np.zeros((41, 41), bool)
    mask[20, 20] = True
    assert dilate(mask, radius).sum() == pixels  # spec 14.4


@pytest.mark.parametrize("radius", [1.0, 2.0, 4.7])
@pytest.mark.parametrize("density", [0.003, 0.2, 0.9])
def test_agrees_with_scipy(radius: float, density: float) -> None:
    mask = np.random.default_rng(4).random((67, 83)) < density
    reach = int(radius)
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    expected = ndimage.binary_dilation(mask, dx**2 + dy**2 <= radius**2)
    before = mask.copy()
    assert_array_equal(dilate(mask, radius), expected)
    assert_array_equal(dilate(mask.astype(np.uint8) * 7, radius), expected)
    assert_array_equal(mask, before)


def test_edges_and_corners_do_not_wrap() -> None:
    mask = np.zeros((5, 9), np.uint8)
    mask[0, 0] = mask[4, 8] = 1
    out = dilate(mask, 1.0)
    assert np.argwhere(out).tolist() == [[0, 0], [0, 1], [1, 0], [3, 8], [4, 7], [4, 8]]


def test_transfer_of_a_small_mask_has_the_measured_size() -> None:
    mask = np.zeros((30, 30), np.uint8)
    mask[14:17, 14:17] = 1
    out = transfer_mask(mask, Affine(shift=(0.56, 0.0)), (30, 30))
    rows, cols = np.flatnonzero(out.any(axis=1)), np.flatnonzero(out.any(axis=0))
    assert (rows.size, cols.size, out.sum()) == (5, 8, 40)  # spec 9.4


def test_transfer_by_whole_pixels_is_a_copy_then_grown() -> None:
    mask = np.zeros((20, 20), np.uint8)
    mask[5, 7] = 3
    out = transfer_mask(mask, Affine(shift=(2.0, -1.0)), (25, 22), dilation=0.0)
    assert np.argwhere(out).tolist() == [[6, 5]]
    assert out.shape == (25, 22)


@pytest.mark.parametrize("interpolant", ["poly3", "linear", "nearest", "lanczos3", "poly5"])
@pytest.mark.parametrize("density", [0.003, 0.3])
@pytest.mark.parametrize("turn", [0.0, 1e-7, 0.02, np.pi / 2, np.pi])
def test_skipping_what_is_empty_changes_nothing(
    turn: float, density: float, interpolant: str
) -> None:
    rng = np.random.default_rng(7)
    mask = (rng.random((90, 120)) < density).astype(np.uint8) * 3
    mask[0, 5] = mask[40:50, 0] = mask[-1, -1] = 1
    c, s = np.cos(turn), np.sin(turn)
    for shift in ((0.0, 0.0), (3.4, -2.0), tuple(rng.uniform(-9, 9, 2))):
        u, v = 60 - c * 60 + s * 45 + shift[0], 45 - s * 60 - c * 45 + shift[1]
        affine = Affine(((c, -s), (s, c)), (u, v))
        planes = Planes((mask != 0).astype(np.float32))
        every = resample_rows(planes, affine, 0, 100, 110, interpolant, conserve=False)
        expected = np.abs(every.data) > 0.01
        assert expected.any()
        out = transfer_mask(mask, affine, (100, 110), dilation=0.0, interpolant=interpolant)
        assert_array_equal(out, expected)
