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
    params = {"max_share": 1.0, "limits": "absolute", **params}
    (only,) = make_bpm(streams, MakeBPM(**params)).frames["to"]
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


# local limits -------------------------------------------------------------------------------
SIDE = 256


def detector(seed: int, *, t: float = 2.0, lamp: float = 20000.0) -> dict[str, Any]:
    """Return flat and dark (three exposures each) of an array with known defects.

    The flat falls to a half at the border of the illuminated circle, varies by 5 % on scales of 60
    pixels and by 2 % from pixel to pixel. Dead pixels have at most 0.55 of the response, hot ones
    100 to 20000 electrons per second, 0.3 % each.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    centre = (SIDE - 1) / 2
    radius = np.hypot(x - centre, y - centre) / centre
    unlit = radius > 1
    response = (1 - 0.5 * radius**3) * (1 + 0.05 * np.sin(x / 60) * np.cos(y / 80))
    response *= 1 + 0.02 * rng.standard_normal(x.shape)
    dead = (rng.random(x.shape) < 0.003) & ~unlit
    response = np.where(dead, response * rng.uniform(0, 0.55, x.shape), response)
    response = np.where(unlit, 0.003, response)
    hot = (rng.random(x.shape) < 0.003) & ~dead & ~unlit
    rate = np.where(hot, np.exp(rng.uniform(np.log(100), np.log(2e4), x.shape)), 0.5)
    pattern = 200 * np.exp(-(x + y) / 40)  # of a corner, in every read-out

    def exposed(mean: Any) -> Any:
        return rng.poisson(3 * mean) / 3 + rng.normal(0, 11.7 / np.sqrt(3), x.shape)

    level = np.median(lamp * response[~unlit])
    return {
        "flat": frame(
            exposed(lamp * response) / level,
            variance=((lamp * response + 137) / 3 / level**2).astype(np.float32),
            mask=np.where(unlit, 64, 0),
            OBSTYPE="FLAT",
        ),
        "dark": frame(
            exposed(rate * t) + pattern,
            variance=((rate * t + 137) / 3).astype(np.float32),
            EXPTIME=t,
            OBSTYPE="DARK",
        ),
        "hot": hot,
        "dead": dead,
        "good": ~(hot | dead | unlit),
    }


@pytest.mark.parametrize("t", [2.0, 10.0, 60.0])
def test_local_limits_find_the_defects_and_nothing_else(t: float) -> None:
    """Hot pixels are 14 sigma or more in the shortest dark, dead ones 20 sigma in the flat."""
    known = detector(5, t=t)
    flat, dark = known["flat"], known["dark"]
    before = snapshot(flat, dark)
    local = made(flat, dark, limits="local").data
    assert ((local & 1) > 0)[known["hot"] | known["dead"]].all()
    assert not (local & 1)[known["good"]].any()
    assert (local & 64 > 0).sum() == (flat.mask == 64).sum()
    absolute = made(flat, dark).data & 1 > 0
    assert absolute[known["good"]].mean() > 0.05  # the vignetted border
    if t == 2.0:
        assert absolute[known["hot"]].mean() < 0.8  # below 1525 electrons per second
    assert_unchanged(before, flat, dark)


def test_what_noise_explains_is_not_bad() -> None:
    """A lamp of 100 electrons: at the border, of 50, noise is 0.16; 0.68 is 2 sigma."""
    known = detector(6, lamp=100.0)
    flat, dark = known["flat"], known["dark"]
    assert not (made(flat, dark, limits="local").data & 1)[known["good"]].any()
    # 10 electrons in 2 s are 1.5 sigma of the dark
    assert not (made(flat, dark, limits="local", dark_rate=5.0).data & 1)[known["good"]].any()
    loose = made(flat, dark, limits="local", significance=0.0).data & 1
    assert loose[known["good"]].mean() > 0.001


def test_a_rate_can_be_set_or_left_out() -> None:
    known = detector(7, t=10.0)
    flat, dark = known["flat"], known["dark"]
    few = made(flat, dark, limits="local", dark_rate=2000.0).data & 1 > 0
    assert 0.2 < few[known["hot"]].mean() < 0.7  # of 100 to 20000, evenly in the logarithm: 0.43
    none = made(flat, dark, limits="local", dark_rate=None).data & 1 > 0
    assert not none[known["hot"]].any()
    assert none[known["dead"]].all()


@pytest.mark.parametrize(
    ("of", "bits", "bad"),
    [
        ("flat", 1, True),
        ("flat", 16, True),
        ("flat", 4, False),
        ("flat", 2, False),
        ("dark", 1, True),
        ("dark", 16, True),
        ("dark", 4, True),
        ("dark", 2, False),
        ("dark", 8, False),
    ],
)
def test_quality_bits_of_the_inputs(of: str, bits: int, bad: bool) -> None:
    planes: dict[str, Any] = {"flat": np.ones((40, 40)), "dark": np.zeros((40, 40))}
    flags = {"flat": np.zeros((40, 40), np.uint16), "dark": np.zeros((40, 40), np.uint16)}
    flags[of][20, 20] = bits
    flat, dark = (frame(planes[k], variance=1e-4, mask=flags[k]) for k in ("flat", "dark"))
    expected = np.zeros((40, 40))
    expected[20, 20] = bad
    assert_array_equal(made(flat, dark, limits="local").data, expected)
    assert not made(flat, dark).data.any()  # the reference looks at none


def test_what_is_not_a_number_is_bad_with_local_limits() -> None:
    flat, dark = np.ones((40, 40)), np.zeros((40, 40))
    flat[3, 4], dark[5, 6] = np.nan, np.inf
    out = made(frame(flat, variance=1e-4), frame(dark, variance=1.0), limits="local").data
    assert sorted(zip(*np.nonzero(out), strict=True)) == [(3, 4), (5, 6)]


def test_darks_take_the_bad_pixels_of_a_mask_but_see_no_light_anywhere() -> None:
    mask = frame([[0, 1, 64, 65]], name="S20200107S0001_bpm.fits")
    levels = {"SATLEVEL": 35000.0, "NONLINEA": 25200.0}
    dark = frame([[1, 1, 1, 1]], OBSTYPE="DARK", mask=None, sci=levels)
    image = frame([[1, 1, 1, 1]], mask=None, sci=levels)
    params = AddDQ(add_illum_mask=False)
    assert_array_equal(add_dq(dark, params, bpm=mask).mask, [[0, 1, 0, 1]])
    assert_array_equal(add_dq(image, params, user_bpm=mask).mask, [[0, 1, 64, 65]])
