"""Bad-pixel masks; numbers of the specification, primitives 15.7."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from f2yaml.interpreter.errors import FrameMismatch, TooFewFrames
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.primitives.calibration_bpm import MakeBPM, make_bpm
from f2yaml.interpreter.primitives.standardize import AddDQ, add_dq
from numpy.testing import assert_array_equal
from synthetic import assert_unchanged, frame, snapshot

FLAT = [[1, 0.5, 1.3, 0.68, 1.28, 0.67999]]
FLAT_DQ = [[0, 64, 0, 0, 0, 0]]
DARK = [[0, 0, 0, -150, 3050, 3051]]


def made(flat: Frame, dark: Frame, darks: Any = (), **params: Any) -> Frame:
    streams = {"from": [flat], "dark": [dark], "darks": list(darks)}
    (only,) = make_bpm(streams, MakeBPM(**{"max_share": 1.0, **params})).frames["to"]
    assert isinstance(only, Frame)
    return only


def pair(flat: Any = FLAT, flags: Any = FLAT_DQ, dark: Any = DARK) -> tuple[Frame, Frame]:
    return (
        frame(flat, mask=flags, name="S20200107S0001_normalized.fits", OBSTYPE="FLAT"),
        frame(dark, name="S20200107S0009_stack.fits", OBSTYPE="DARK"),
    )


@pytest.mark.parametrize(
    ("keep", "expected"), [(False, [0, 1, 1, 0, 0, 1]), (True, [0, 64, 1, 0, 0, 1])]
)
def test_limits_give_the_bits_of_the_specification(keep: bool, expected: list[int]) -> None:
    flat, dark = pair()
    before = snapshot(flat, dark)
    out = made(flat, dark, keep_unilluminated=keep)
    assert_array_equal(out.data, [expected])
    assert out.data.dtype == np.int16
    assert out.pixels.present == {"data"}
    assert_unchanged(before, flat, dark)


def test_a_hot_pixel_without_light_has_both_bits() -> None:
    out = made(*pair([[1, 0.1]], [[0, 64]], [[0, 9000]]))
    assert_array_equal(out.data, [[0, 65]])


def test_what_is_not_a_number_is_bad() -> None:
    out = made(*pair([[1, np.nan, 1]], 0, [[0, 0, np.inf]]))
    assert_array_equal(out.data, [[0, 1, 1]])


def test_limits_can_be_changed_and_left_out() -> None:
    flat, dark = pair(flags=0)
    loose = made(flat, dark, flat_lo_thresh=0.4, flat_hi_thresh=1.4, dark_hi_thresh=4000.0)
    assert not loose.data.any()
    none = dict.fromkeys(("flat_lo_thresh", "flat_hi_thresh", "dark_lo_thresh", "dark_hi_thresh"))
    assert not made(flat, dark, **none).data.any()


def test_darks_in_adu_are_compared_in_electrons() -> None:
    flat, _ = pair([[1, 1]], 0)
    dark = frame([[700, 600]], sci={"BUNIT": "adu", "GAIN": 4.44}, OBSTYPE="DARK")
    assert_array_equal(made(flat, dark).data, [[1, 0]])  # 3108 and 2664 electron against 3050


def test_the_mask_says_what_it_is_and_is_never_taken_for_a_flat() -> None:
    flat, dark = pair()
    out = made(flat, dark)
    assert (out.phu["OBSTYPE"], out.phu["OBJECT"], out.phu["DARKIM"]) == ("BPM", "BPM", dark.name)
    assert "BUNIT" not in out.sci
    stored = out.with_cards(phu={"BPMASK": "2020", "PROCBPM": "2020"})
    assert {"BPM", "PROCESSED", "CAL"} <= stored.tags
    assert not stored.tags & {"FLAT", "IMAGE", "DARK"}


def test_noisy_pixels_are_found_from_the_scatter_of_the_darks() -> None:
    """Ten darks of noise 5; one pixel in 64 scatters five times more.

    The scatter of ten samples exceeds 3 times its expectation once in 1e15 pixels, and that of a
    noisy pixel stays below it once in 20.
    """
    rng = np.random.default_rng(11)
    noisy = np.zeros((32, 32), bool)
    noisy[::8, ::8] = True
    sigma = np.where(noisy, 25.0, 5.0)
    darks = [
        frame(
            sigma * rng.standard_normal(noisy.shape), variance=25.0, name=f"S20200107S{n:04d}.fits"
        )
        for n in range(10)
    ]
    flat, dark = pair(np.ones(noisy.shape), 0, np.zeros(noisy.shape))
    found = made(flat, dark, darks, dark_scatter=3.0).data == 1
    assert not (found & ~noisy).any()
    assert found[noisy].mean() > 0.8
    assert not made(flat, dark, darks).data.any()


def test_too_few_darks_have_no_scatter() -> None:
    flat, dark = pair()
    with pytest.raises(TooFewFrames, match="the scatter of 2 darks tells nothing"):
        made(flat, dark, [dark, dark], dark_scatter=5.0)
    bare = [frame(DARK, variance=None)] * 3
    with pytest.raises(FrameMismatch, match="the darks have no variance"):
        made(flat, dark, bare, dark_scatter=5.0)


def test_limits_that_call_a_tenth_of_the_field_bad_are_refused() -> None:
    level = np.zeros((10, 10))
    level[0] = 4000
    flat, dark = pair(np.ones((10, 10)), 0, level)
    assert made(flat, dark, max_share=0.1).data.sum() == 10
    level[1, 0] = 4000
    with pytest.raises(
        FrameMismatch, match=r"11 % of the illuminated .*\n.* 11 % by the dark, 0 %"
    ):
        made(flat, frame(level), max_share=0.1)


def test_a_flat_and_a_dark_of_one_size_are_needed() -> None:
    flat, dark = pair()
    with pytest.raises(TooFewFrames, match="got 0 frames where it needs one stack of darks"):
        make_bpm({"from": [flat], "dark": [], "darks": []}, MakeBPM())
    with pytest.raises(TooFewFrames, match="got 2 frames where it needs one normalised flat"):
        make_bpm({"from": [flat, flat], "dark": [dark], "darks": []}, MakeBPM())
    with pytest.raises(FrameMismatch, match="makeBPM: shape of"):
        made(flat, frame(np.zeros((2, 6))))


def test_darks_take_the_bad_pixels_of_a_mask_but_see_no_light_anywhere() -> None:
    mask = frame([[0, 1, 64, 65]], name="S20200107S0001_bpm.fits")
    levels = {"SATLEVEL": 35000.0, "NONLINEA": 25200.0}
    dark = frame([[1, 1, 1, 1]], OBSTYPE="DARK", mask=None, sci=levels)
    image = frame([[1, 1, 1, 1]], mask=None, sci=levels)
    params = AddDQ(add_illum_mask=False)
    assert_array_equal(add_dq(dark, params, bpm=mask).mask, [[0, 1, 0, 1]])
    assert_array_equal(add_dq(image, params, user_bpm=mask).mask, [[0, 1, 64, 65]])
