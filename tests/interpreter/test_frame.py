"""Frames share what they do not change, and compute rows only when asked."""

from __future__ import annotations

import numpy as np
import pytest
from f2yaml.interpreter.errors import BadInput, FrameMismatch
from f2yaml.interpreter.frame import require_same
from f2yaml.interpreter.pixels import Chain, InMemory, OnDisk, Overlay, Planes, evaluate
from f2yaml.interpreter.wcs import tan_of
from numpy.testing import assert_array_equal
from synthetic import flat_frame, frame


def test_planes_are_read_only() -> None:
    made = flat_frame(3.0)
    for plane in (made.data, made.variance, made.mask):
        with pytest.raises(ValueError, match="read-only"):
            plane[0, 0] = 1  # type: ignore[index]


def test_a_changed_plane_leaves_the_others_shared() -> None:
    before = flat_frame(3.0)
    after = before.with_(data=np.full((8, 8), 4, np.float32))
    assert after.variance is before.variance
    assert before.data[0, 0] == 3
    assert after.data[0, 0] == 4
    with pytest.raises(ValueError, match="read-only"):
        after.data[0, 0] = 1


def test_a_plane_given_as_none_is_dropped() -> None:
    assert not flat_frame(1.0).with_(mask=None).has("mask")


def test_cards_are_set_on_a_copy() -> None:
    before = flat_frame(1.0)
    after = before.with_cards(phu={"OBJECT": "new", "RA": None}, sci={"BUNIT": "adu"})
    assert (before.phu["OBJECT"], after.phu["OBJECT"]) == ("Field-1", "new")
    assert "RA" in before.phu
    assert "RA" not in after.phu
    assert after.unit == "adu"


def test_chains_of_row_functions_are_computed_once_per_row_and_only_when_asked() -> None:
    asked: list[tuple[int, int]] = []

    def double(planes: Planes, start: int, stop: int) -> Planes:
        asked.append((start, stop))
        return planes._replace(data=planes.data * 2)

    lazy = flat_frame(1.0, shape=(70, 4)).map_rows(double).map_rows(double)
    assert isinstance(lazy.pixels, Chain)
    assert asked == []
    assert_array_equal(lazy.data, np.full((70, 4), 4, np.float32))
    assert sorted(set(asked)) == [(0, 32), (32, 64), (64, 70)]
    assert len(asked) == 6  # two functions, three bands each


def test_a_plane_over_computed_ones_does_not_compute_them() -> None:
    def fail(planes: Planes, start: int, stop: int) -> Planes:
        raise AssertionError("nobody asked for rows")

    masked = flat_frame(1.0).map_rows(fail).with_(objmask=np.ones((8, 8), np.uint8))
    assert isinstance(masked.pixels, Overlay)
    assert masked.pixels.present == {"data", "variance", "mask", "objmask"}


def test_evaluation_uses_the_arrays_it_is_given() -> None:
    given: list[tuple[int, ...]] = []

    def empty(shape: tuple[int, ...], dtype: object) -> np.ndarray:
        given.append(shape)
        return np.empty(shape, dtype)

    planes = evaluate(flat_frame(2.0, shape=(40, 3)).pixels, empty)
    assert given == [(40, 3)] * 3
    assert_array_equal(planes.data, np.full((40, 3), 2, np.float32))


def test_world_coordinates_survive_the_header_exactly() -> None:
    made = flat_frame(1.0)
    moved = made.wcs.with_affine_in_front(((1.0, 1e-7), (-1e-7, 1.0)), (0.123456789, -7.7))
    assert tan_of(made.with_wcs(moved).sci) == moved


def test_suffix_replaces_the_one_after_the_original_name() -> None:
    made = frame(np.ones((4, 4)), name="S20200104S0075_prepared.fits")
    assert made.with_suffix("_dqAdded").name == "S20200104S0075_dqAdded.fits"
    assert made.root == "S20200104S0075"


def test_a_frame_without_exposure_time_says_so() -> None:
    with pytest.raises(BadInput, match="no usable EXPTIME"):
        _ = frame(np.ones((4, 4)), EXPTIME=None).exposure_time


def test_frames_of_another_shape_or_unit_are_named() -> None:
    left, right = flat_frame(1.0), flat_frame(1.0, shape=(4, 8), name="S20200104S0076.fits")
    with pytest.raises(
        FrameMismatch, match=r"stack: shape of S20200104S0075_test.fits is \(8, 8\)"
    ):
        require_same(left, right, "shape", step="stack")
    with pytest.raises(FrameMismatch, match=r"unit of .* is electron, of .* adu"):
        require_same(left, left.with_cards(sci={"BUNIT": "adu"}), "unit", step="stack")


def test_sources_of_pixels_agree_on_rows() -> None:
    made = flat_frame(5.0)
    assert isinstance(made.pixels, InMemory)
    assert not isinstance(made.pixels, OnDisk)
    assert_array_equal(made.pixels.rows(2, 5).data, made.data[2:5])
