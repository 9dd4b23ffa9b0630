"""Darks and flats, applied and made; numbers of the specification, primitives 15.7."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from f2yaml.interpreter.errors import FrameMismatch, TooFewFrames
from f2yaml.interpreter.frame import Frame, ProvenanceRow
from f2yaml.interpreter.primitives.calibration import (
    DarkCorrect,
    FlatCorrect,
    MakeLampFlat,
    NormalizeFlat,
    ThresholdFlatfield,
    check_lamp,
    dark_correct,
    flat_correct,
    make_lamp_flat,
    need_lamp_dark,
    normalize_flat,
    threshold_flatfield,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from synthetic import assert_unchanged, flat_frame, frame, snapshot

counts = st.floats(0, 1e5)
bits = st.integers(0, 127)
NAMES = (f"S20200107S{n:04d}_x.fits" for n in range(1, 10_000))


def lamp(level: float, *, t: float = 2.0, **more: Any) -> Frame:
    """A K-red flat of one value, whose variance is its value."""
    cards = {"OBSTYPE": "FLAT", "OBJECT": "GCALflat", "EXPTIME": t, "name": next(NAMES), **more}
    return frame(np.full((4, 4), level), variance=level, **cards)


def dark(level: float, *, t: float = 2.0, **more: Any) -> Frame:
    cards = {"OBSTYPE": "DARK", "OBJECT": "Dark", "FILTER2": "DK_G0807", "EXPTIME": t}
    return frame(np.full((4, 4), level), variance=level, name=next(NAMES), **{**cards, **more})


# darkCorrect and flatCorrect ----------------------------------------------------------------
def test_dark_then_flat_give_the_numbers_of_the_specification() -> None:
    """Where the flat is zero the reference gives inf; here the pixel is 0 and bad."""
    science = frame([[100, 200, 300, 400]], variance=[100, 200, 300, 400], mask=[0, 1, 2, 0])
    zero = frame([[10, 20, -5, 0]], variance=[1, 1, 2, 3], mask=[0, 0, 1, 64], name="d.fits")
    response = frame(
        [[0.5, 1, 2, 0]], variance=[0.01, 0.02, 0.03, 0.04], mask=[0, 0, 0, 64], name="f.fits"
    )
    before = snapshot(science, zero, response)
    dull = dark_correct(science, DarkCorrect(), dark=zero)
    assert dull.data.tolist() == [[90, 180, 305, 400]]
    assert dull.variance is not None
    assert dull.variance.tolist() == [[101, 201, 302, 403]]
    assert_array_equal(dull.mask, [[0, 1, 3, 64]])
    assert dull.phu["DARKIM"] == "d.fits"
    even = flat_correct(dull, FlatCorrect(), flat=response)
    assert even.data.tolist() == [[180, 180, 152.5, 0]]
    assert_allclose(even.variance, [[1700, 849, 249.92188, 0]], rtol=1e-6)
    assert_array_equal(even.mask, [[0, 1, 3, 65]])
    assert even.phu["FLATIM"] == "f.fits"
    assert_unchanged(before, science, zero, response)


@settings(max_examples=30, deadline=None)
@given(sky=counts, glow=counts)
def test_dark_subtraction_recovers_the_sky(sky: float, glow: float) -> None:
    out = dark_correct(flat_frame(sky + glow), DarkCorrect(), dark=flat_frame(glow))
    assert_allclose(out.data, sky, atol=2e-2)  # float32 spacing at 2e5 electrons: 0.016


@settings(max_examples=30, deadline=None)
@given(left=bits, right=bits, response=st.floats(0.01, 10))
def test_no_quality_bit_is_lost_and_variances_stay_positive(
    left: int, right: int, response: float
) -> None:
    science = flat_frame(100, mask=left)
    out = dark_correct(science, DarkCorrect(), dark=flat_frame(30, mask=right))
    out = flat_correct(out, FlatCorrect(), flat=flat_frame(response, mask=0, variance=1e-4))
    assert out.mask is not None
    assert (out.mask == (left | right)).all()
    assert out.variance is not None
    assert (out.variance > 0).all()
    assert_allclose(out.data * np.float32(response), 70, rtol=1e-6)


def test_a_calibration_without_variance_and_mask_adds_none() -> None:
    bare = flat_frame(2, variance=None, mask=None)
    out = flat_correct(flat_frame(10, variance=4, mask=2), FlatCorrect(), flat=bare)
    assert (out.data == 5).all()
    assert out.variance is not None
    assert (out.variance == 1).all()
    assert out.mask is not None
    assert (out.mask == 2).all()


def test_dark_of_another_exposure_time_is_refused() -> None:
    other = flat_frame(1, t=20, name="d.fits")
    with pytest.raises(FrameMismatch, match=r"60 s, d.fits 20 s"):
        dark_correct(flat_frame(1, t=60), DarkCorrect(), dark=other)
    loose = DarkCorrect(exptime_tolerance=40.0)
    assert (dark_correct(flat_frame(3, t=60), loose, dark=other).data == 2).all()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"shape": (4, 8)}, "shape of"),
        ({"LNRS": 4}, "read_mode of"),
        ({"sci": {"BUNIT": "adu"}}, "unit of"),
    ],
)
def test_dark_of_another_kind_is_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(FrameMismatch, match=f"darkCorrect: {text}"):
        dark_correct(flat_frame(1), DarkCorrect(), dark=flat_frame(1, **changes))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"shape": (4, 8)}, "shape of"),
        ({"FILTER2": "J_G0802"}, "filter_name of .* is K-red, of .* J"),
        ({"LYOT": "GEMS_over"}, "lyot_stop of"),
    ],
)
def test_flat_of_another_kind_is_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(FrameMismatch, match=f"flatCorrect: {text}"):
        flat_correct(flat_frame(1), FlatCorrect(), flat=flat_frame(1, **changes))


# makeLampFlat -------------------------------------------------------------------------------
def test_k_flats_minus_darks_give_the_numbers_of_the_specification() -> None:
    frames = [dark(10), lamp(1000), dark(12), lamp(1010)]  # a dark first: order does not matter
    before = snapshot(*frames)
    out = make_lamp_flat(frames, MakeLampFlat())
    (made,) = out.frames
    assert (made.data == 994).all()
    assert made.variance is not None
    assert (made.variance == 508).all()
    assert "994 e-" in out.health
    assert made.phu["NCOMBINE"] == 2
    assert made.phu["DARKIM"] == frames[0].name
    assert_unchanged(before, *frames)


def test_a_processed_dark_serves_where_no_darks_are_listed() -> None:
    out = make_lamp_flat([lamp(1000), lamp(1010)], MakeLampFlat(), dark=dark(11))
    (made,) = out.frames
    assert (made.data == 994).all()
    assert made.variance is not None
    assert (made.variance == 502.5 + 11).all()


def test_a_processed_dark_is_wanted_for_k_flats_alone() -> None:
    first, second = lamp(1), lamp(1)
    assert need_lamp_dark([first, second]) == [first]
    assert need_lamp_dark([first, dark(1)]) == []
    assert need_lamp_dark([lamp(1, FILTER2="J_G0802")]) == []


def test_what_went_into_a_lamp_flat_is_listed_once() -> None:
    rows = [ProvenanceRow("t", f"{n}.fits", str(n), "prepare") for n in range(3)]
    frames = [
        f.with_(provenance=(row,))
        for f, row in zip([lamp(1000), lamp(1010), dark(10)], rows, strict=True)
    ]
    (made,) = make_lamp_flat(frames, MakeLampFlat()).frames
    assert made.provenance == tuple(rows)


@pytest.mark.parametrize(
    ("frames", "error", "text"),
    [
        (lambda: [dark(1), dark(1)], TooFewFrames, "no flat among the inputs"),
        (lambda: [lamp(1), lamp(1, t=3)], FrameMismatch, "3 s, .* 2 s"),
        (lambda: [lamp(1), dark(1, t=5)], FrameMismatch, "5 s, .* 2 s"),
        (lambda: [lamp(1), lamp(1, FILTER2="Ks_G0804")], FrameMismatch, "filter_name of"),
        (lambda: [lamp(1), lamp(1, LNRS=4)], FrameMismatch, "read_mode of"),
        (lambda: [lamp(1, FILTER2="J_G0802")], FrameMismatch, "has no state of the lamp"),
        (lambda: [lamp(1), lamp(1)], TooFewFrames, "neither darks nor a processed dark"),
    ],
)
def test_flats_that_cannot_be_combined_are_refused(
    frames: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        make_lamp_flat(frames(), MakeLampFlat())


def test_frames_are_checked_by_their_headers_alone() -> None:
    assert check_lamp([lamp(1), dark(1)], MakeLampFlat()) == []
    with pytest.raises(TooFewFrames, match="no flat"):
        check_lamp([dark(1)], MakeLampFlat())


# normalizeFlat ------------------------------------------------------------------------------
def test_the_median_of_good_pixels_becomes_one() -> None:
    given = frame([[2, 4, 6, 8, 100]], variance=4, mask=[0, 0, 0, 0, 1])
    before = snapshot(given)
    out = normalize_flat(given, NormalizeFlat())
    assert_allclose(out.data, [[0.4, 0.8, 1.2, 1.6, 20]], rtol=1e-6)
    assert_allclose(out.variance, 0.16, rtol=1e-6)
    assert_array_equal(out.mask, [[0, 0, 0, 0, 1]])
    assert_unchanged(before, given)


def test_non_linear_pixels_do_not_count_for_the_level() -> None:
    given = frame([[2, 4, 6, 8, 100]], variance=4, mask=[0, 0, 0, 2, 1])
    out = normalize_flat(given, NormalizeFlat(scale="mean"))
    assert_allclose(out.data, [[0.5, 1, 1.5, 2, 25]], rtol=1e-6)
    assert_allclose(out.variance, 0.25, rtol=1e-6)


def test_pixels_that_are_not_numbers_do_not_count_either() -> None:
    out = normalize_flat(frame([[np.nan, 4, np.inf]], mask=None), NormalizeFlat(scale="mean"))
    assert out.data[0, 1] == 1


@pytest.mark.parametrize(("level", "mask", "shown"), [(-3.0, 0, "-3"), (5.0, 1, "0")])
def test_a_flat_without_light_is_refused(level: float, mask: int, shown: str) -> None:
    with pytest.raises(FrameMismatch, match=f"the median of the good pixels of .* is {shown}"):
        normalize_flat(flat_frame(level, mask=mask), NormalizeFlat())


# thresholdFlatfield -------------------------------------------------------------------------
def test_what_is_too_dark_or_too_bright_is_set_to_one() -> None:
    """The reference leaves NaN unflagged, 20 under a bad pixel, and the variance everywhere."""
    values = [0.5, 0.009, 0.01, 0.011, 9.99, 10, 10.01, -1, 0, 1, 0.005, 20, np.nan]
    flags = [0, 0, 0, 0, 0, 0, 0, 0, 64, 64, 1, 1, 0]
    given = frame([values], variance=0.25, mask=flags)
    before = snapshot(given)
    out = threshold_flatfield(given, ThresholdFlatfield())
    assert_array_equal(out.data, np.float32([[0.5, 1, 0.01, 0.011, 9.99, 10, 1, 1, 1, 1, 1, 1, 1]]))
    assert_array_equal(out.mask, [[0, 64, 0, 0, 0, 0, 64, 64, 64, 64, 1, 1, 64]])
    replaced = np.array([0, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1], bool)
    assert_array_equal(out.variance, [np.where(replaced, 0, 0.25)])
    assert_unchanged(before, given)


def test_a_flat_without_quality_bits_gets_them() -> None:
    out = threshold_flatfield(frame([[1.0, 0.0]], variance=None, mask=None), ThresholdFlatfield())
    assert_array_equal(out.mask, [[0, 64]])
    assert not out.has("variance")


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(width=32), st.integers(0, 127)),
        min_size=1,
        max_size=20,
    )
)
def test_a_thresholded_flat_can_always_be_divided_by(pixels: list[tuple[float, int]]) -> None:
    values, flags = zip(*pixels, strict=True)
    given = frame([values], variance=1, mask=flags)
    params = ThresholdFlatfield()
    out = threshold_flatfield(given, params)
    assert (out.data >= np.float32(0.01)).all()
    assert (out.data <= 10).all()
    assert out.mask is not None
    assert ((out.mask & np.array(flags)) == np.array(flags)).all()
    again = threshold_flatfield(out, params)
    assert_array_equal(again.data, out.data)
