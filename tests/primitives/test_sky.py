"""Which frames show sky, which serve which, and what is left when it is subtracted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from f2yaml.interpreter.algorithms.tan import Tan
from f2yaml.interpreter.engine import Engine
from f2yaml.interpreter.errors import FrameMismatch, TooFewFrames
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.primitives.sky import (
    AssociateSky,
    SeparateSky,
    associate_sky,
    separate_sky,
)
from f2yaml.interpreter.primitives.sky_residual import _at_zero
from f2yaml.interpreter.primitives.sky_subtraction import SkyCorrect, sky_correct
from f2yaml.interpreter.registry import Reported
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from synthetic import SCALE, assert_unchanged, dither, frame, snapshot

# separateSky --------------------------------------------------------------------------------


def fields(positions: Sequence[tuple[float, float]], **more: Any) -> list[Frame]:
    """Return frames at offsets (arcsec) from the target, each as wide as F2's field.

    Sixteen pixels of 128 times the size: 0.9 of the field is 330.3 arcsec.
    """
    plane = Tan((1.0, 1.0), (150.0, -30.0), ((1 / 3600, 0.0), (0.0, 1 / 3600)))
    made = []
    for n, (x, y) in enumerate(positions, 1):
        ra, dec = plane.to_sky(x, y)
        wide = 128 * SCALE
        wcs = Tan.rounded((9.0, 9.0), (float(ra), float(dec)), ((0.0, wide), (wide, 0.0)))
        made.append(frame(np.ones((16, 16)), name=f"S20200104S{n:04d}_x.fits", wcs=wcs, **more))
    return made


def roles(frames: Sequence[Frame], **params: Any) -> tuple[list[int], list[int]]:
    """Return the numbers of the frames (from 1) that are objects and skies."""
    order = [f.name for f in frames]
    made = separate_sky({"from": frames}, SeparateSky(**params)).frames
    return tuple([order.index(f.name) + 1 for f in made[s]] for s in ("objects", "skies"))  # type: ignore[return-value]


#: Spec 8.1, measured decisions. Of three or more fields ours takes the one that holds the target.
DECISIONS = [
    ([(0, 0), (10, 0), (0, 10)], [1, 2, 3], [1, 2, 3]),
    ([(0, 0), (400, 0), (400, 10), (0, 10)], [1, 4], [2, 3]),
    ([(0, 0), (329, 0)], [1, 2], [1, 2]),
    ([(0, 0), (331, 0)], [1], [2]),
    ([(0, 0), (300, 0), (600, 0)], [1, 2], [3]),  # the reference: a chain, 1 2 3, 1 2 3
    ([(0, 0), (600, 0), (300, 0)], [1, 3], [2]),
    ([(600, 0), (0, 0), (300, 0)], [2, 3], [1]),
    ([(-300, 0), (300, 0)], [1, 2], [1, 2]),  # both show the target
    ([(400, 0), (700, 0), (1000, 0)], [1, 2, 3], [1, 2, 3]),  # no header tells the target
    ([(0, 0), (400, 0), (-400, 0)], [1], [2, 3]),  # the reference: 1 2, 3
    ([(0, 0), (0, 5), (400, 0), (-400, 0)], [1, 2], [3, 4]),
    ([(0, 0), (400, 0), (-400, 0), (0, 400)], [1], [2, 3, 4]),  # the reference: 1 2, 3 4
    ([(400, 0), (0, 0), (400, 5), (0, 5)], [2, 4], [1, 3]),
    ([(400, 0), (-500, 0), (0, 600), (0, -700)], [1, 2], [3, 4]),  # none holds the target
    ([(400, 0), (-500, 0), (-500, 5)], [1], [2, 3]),  # of two, the nearer, though it is smaller
    ([(0, 0)], [1], [1]),
    ([], [], []),
]


@pytest.mark.parametrize(("positions", "objects", "skies"), DECISIONS)
def test_fields_decide_roles(
    positions: list[tuple[float, float]], objects: list[int], skies: list[int]
) -> None:
    assert roles(fields(positions)) == (objects, skies)


THREE = [(0.0, 0.0), (400.0, 0.0), (0.0, 5.0)]


@pytest.mark.parametrize(
    ("hints", "objects", "skies"),
    [
        ({"ref_sky": "S20200104S0002"}, [1, 3], [2]),
        ({"ref_obj": "S20200104S0002"}, [2], [1, 3]),
        ({"ref_obj": "S20200104S0001, S20200104S0002"}, [1, 2, 3], [1, 2, 3]),
        ({"ref_obj": "S20200104S0001", "ref_sky": "S20200104S0002"}, [1, 3], [2]),
    ],
)
def test_frames_named_by_the_user_decide_for_their_field(
    hints: dict[str, str], objects: list[int], skies: list[int]
) -> None:
    assert roles(fields(THREE), **hints) == (objects, skies)


def test_a_frame_without_role_is_an_error_not_a_loss() -> None:
    frames = fields([(0, 0), (400, 0), (-400, 0)])
    with pytest.raises(TooFewFrames, match=r"neither object nor sky: S20200104S0002_x.fits"):
        roles(frames, ref_obj="S20200104S0001", ref_sky="S20200104S0003")
    with pytest.raises(TooFewFrames, match="no frame is called S20200104S0009"):
        roles(frames, ref_obj="S20200104S0009")


GUIDING = {"PWFS1_ST": "parked", "OIWFS_ST": "parked"}


def test_unguided_frames_are_skies() -> None:
    guided = fields([(0, 0), (5, 0)], **GUIDING)
    drifting = [f.with_cards(phu={"PWFS2_ST": "parked"}) for f in guided]
    assert roles(guided) == ([1, 2], [1, 2])
    assert roles([guided[0], drifting[1]]) == ([1], [2])
    assert roles(drifting) == ([1, 2], [1, 2])
    assert roles([guided[0], drifting[1]], ref_obj="S20200104S0002") == ([1, 2], [1, 2])
    without = [f.with_cards(phu={"OIWFS_ST": None}) for f in drifting]
    assert roles([guided[0], without[1]]) == ([1, 2], [1, 2])  # the header does not say


def test_flags_of_an_earlier_run_count_where_they_tell_frames_apart() -> None:
    frames = fields([(0, 0), (400, 0), (400, 5)])
    told = [frames[0], frames[1].with_cards(phu={"OBJFRAME": "TRUE"}), frames[2]]
    assert roles(told) == ([2, 3], [1])
    said = [f.with_cards(phu={"OBJFRAME": "FALSE"}) for f in frames[1:]]
    assert roles([frames[0], *said]) == ([1], [2, 3])
    both = [f.with_cards(phu={"OBJFRAME": "TRUE", "SKYFRAME": "TRUE"}) for f in frames]
    assert roles(both) == ([1], [2, 3])


def test_roles_are_written_in_the_headers_of_copies() -> None:
    frames = fields([(0, 0), (400, 0)])
    before = snapshot(*frames)
    made = separate_sky({"from": frames}, SeparateSky()).frames
    (target,), (sky,) = made["objects"], made["skies"]
    assert (target.phu["OBJFRAME"], target.phu["EXPGROUP"]) == ("TRUE", 0)
    assert (sky.phu["SKYFRAME"], sky.phu["EXPGROUP"]) == ("TRUE", 1)
    assert "SKYFRAME" not in target.phu
    assert "OBJFRAME" not in sky.phu
    assert_unchanged(before, *frames)


def test_a_smaller_share_of_the_field_separates_closer_fields() -> None:
    frames = fields([(0, 0), (200, 0)])
    assert roles(frames, frac_FOV=0.6) == ([1, 2], [1, 2])  # 220 arcsec
    assert roles(frames, frac_FOV=0.5) == ([1], [2])  # 183.5 arcsec


# associateSky -------------------------------------------------------------------------------
def line(count: int, *, interval: float = 30.0, step: float = 56.0) -> list[Frame]:
    """Return frames `interval` seconds apart, each moved by `step` pixels (56: 10 arcsec)."""
    offsets = [(n * step, 0.0) for n in range(count)]
    return dither(offsets, shape=(8, 8), interval=interval).frames


def chosen(frames: Sequence[Frame], skies: Sequence[Frame] = (), **params: Any) -> list[list[int]]:
    """Return, for each frame, the numbers (from 1) of its skies."""
    given = {"from": frames, "sky": skies or frames}
    made = associate_sky(given, AssociateSky(**params)).frames["to"]
    return [[int(root[-4:]) for root in f.skies or ()] for f in made]


def test_measured_choices_of_the_specification() -> None:
    """Spec 8.2: five frames, 30 s apart, each 10 arcsec from the next."""
    five = line(5)
    others = [[m for m in range(1, 6) if m != n] for n in range(1, 6)]
    assert chosen(five) == others
    assert chosen(five, max_skies=2) == [[2, 3], [1, 3], [2, 4], [3, 5], [3, 4]]
    assert chosen(five, time=45.0, min_skies=0) == [[2], [1, 3], [2, 4], [3, 5], [4]]
    assert chosen(five, time=45.0, min_skies=3) == [
        [2, 3, 4],
        [1, 3, 4],
        [1, 2, 4],
        [2, 3, 5],
        [2, 3, 4],
    ]


def test_far_skies_are_used_when_nothing_nearer_exists_and_noted() -> None:
    pair = line(2, interval=3000.0)
    out = associate_sky({"from": pair, "sky": pair}, AssociateSky())
    assert [f.skies for f in out.frames["to"]] == [("S20200104S0002",), ("S20200104S0001",)]
    assert out.health == "1-1 skies a frame"
    (note,) = out.notes
    assert "2 frames use skies more than 600 s away" in note
    assert associate_sky({"from": line(3), "sky": line(3)}, AssociateSky()).notes == ()


def test_skies_from_beyond_the_largest_gap_are_never_used() -> None:
    pair = line(2, interval=3700.0)
    with pytest.raises(TooFewFrames, match=r"S20200104S0001_test.fits has no sky .*") as error:
        chosen(pair)
    assert "taken within 3600 s" in str(error.value)
    assert "raise associateSky:max_gap" in str(error.value)
    assert chosen(pair, max_gap=3700.0) == [[2], [1]]
    assert chosen(line(5), max_gap=30.0) == [[2], [1, 3], [2, 4], [3, 5], [4]]


def test_skies_bracket_a_frame_where_that_is_asked_for() -> None:
    """Frames at 0, 30, 60, 70, 80, 90 s: the nearest four of the third are 2, 4, 5, 6."""
    frames = line(6)
    times = (0, 30, 60, 70, 80, 90)
    frames = [
        f.with_cards(phu={"UT": f"06:3{t // 60}:{t % 60:02d}.0"})
        for f, t in zip(frames, times, strict=True)
    ]
    assert chosen(frames, max_skies=4)[2] == [2, 4, 5, 6]
    assert chosen(frames, max_skies=4, bracket=True)[2] == [1, 2, 4, 5]
    assert chosen(frames, max_skies=3, bracket=True)[2] == [2, 4, 5]
    assert chosen(frames, max_skies=4, bracket=True)[0] == [2, 3, 4, 5]  # nothing before
    assert chosen(frames, bracket=True) == chosen(frames)  # all serve anyway


def test_a_dither_has_to_exceed_the_smallest_distance() -> None:
    near = line(2, step=16.0)  # 2.87 arcsec
    with pytest.raises(TooFewFrames, match=r"S20200104S0001_test.fits has no sky frame") as error:
        chosen(near)
    assert "more than 3 arcsec away" in str(error.value)
    assert chosen(near, distance=2.8) == [[2], [1]]


@pytest.mark.parametrize(
    "cards", [{"EXPTIME": 6.0}, {"FILTER2": "J_G0802"}, {"LNRS": 4}, {"COADDS": 2}]
)
def test_skies_are_of_the_same_configuration(cards: dict[str, Any]) -> None:
    frames = line(4)
    other = frames[3].with_cards(phu=cards)
    assert chosen(frames[:3], [*frames[:3], other]) == [[2, 3], [1, 3], [1, 2]]
    assert chosen(frames[:3], [*frames[:3], other], use_all=True)[0] == [2, 3, 4]
    with pytest.raises(TooFewFrames, match=r"S20200104S0004_test.fits has no sky frame"):
        chosen([*frames[:3], other])


def test_exposure_times_within_a_hundredth_of_a_second_are_one() -> None:
    frames = [
        f.with_cards(phu={"EXPTIME": t}) for f, t in zip(line(2), (5.004, 5.006), strict=True)
    ]
    assert chosen(frames) == [[2], [1]]


def test_skies_come_from_their_own_stream_in_order_of_time() -> None:
    frames = line(6)
    assert chosen(frames[:1], [frames[5], frames[3], frames[4]]) == [[4, 5, 6]]


def test_the_choice_does_not_depend_on_the_order_of_the_frames() -> None:
    frames = line(6)
    straight = {f.name: f.skies for f in _associated(frames)}
    turned = {f.name: f.skies for f in _associated(frames[::-1])}
    assert straight == turned


def _associated(frames: Sequence[Frame]) -> list[Frame]:
    given = {"from": frames, "sky": frames}
    made: list[Frame] = associate_sky(given, AssociateSky(max_skies=3)).frames["to"]
    return made


def test_a_frame_without_date_is_refused() -> None:
    frames = line(2)
    timeless = frames[1].with_cards(phu={"UT": None})  # its name alone would mean midnight
    with pytest.raises(TooFewFrames, match=r"S20200104S0002_test.fits has no date and time"):
        chosen([frames[0], timeless])


# skyCorrect ---------------------------------------------------------------------------------
SKIES = (1000.0, 1020.0, 990.0, 1005.0, 985.0)
OFFSETS = [(0.0, 0.0), (20.0, 0.0), (-20.0, 10.0), (10.0, -20.0), (-15.0, -15.0)]


def corrected(frames: Sequence[Frame], skies: Sequence[Frame] = (), **params: Any) -> Reported:
    given = {"from": _with_skies(frames, skies or frames), "sky": skies or frames}
    return sky_correct(given, SkyCorrect(**{"mask_objects": False, **params}))


def _with_skies(frames: Sequence[Frame], skies: Sequence[Frame]) -> list[Frame]:
    return [f.with_(skies=tuple(s.root for s in skies if s.root != f.root)) for f in frames]


def test_skies_of_any_level_leave_nothing_behind() -> None:
    truth = dither(OFFSETS, sky=SKIES, noise=False)
    before = snapshot(*truth.frames)
    out = corrected(truth.frames)
    for made, level in zip(out.frames["to"], SKIES, strict=True):
        assert_allclose(made.data, 0, atol=2e-3)  # a few float32 roundings of 1000
        assert made.sci["SKYLEVEL"] == pytest.approx(level, rel=1e-6)
        assert made.skies is None
    assert out.health == "sky 1000.0 e-/pix"
    assert_unchanged(before, *truth.frames)


def test_the_variance_is_that_of_the_frame_plus_that_of_the_sky() -> None:
    """Median of four: 1.193 times the mean of their variances, over four; levels are 1000."""
    frames = dither(OFFSETS, sky=1000.0, noise=False).frames
    frames = [f.with_(variance=np.full(f.shape, 100.0, np.float32)) for f in frames]
    made = corrected(frames).frames["to"][0]
    assert_allclose(made.variance, 100 + 1.192798 * 100 / 4, rtol=1e-5)
    average = corrected(frames, operation="mean").frames["to"][0]
    assert_allclose(average.variance, 125, rtol=1e-5)


def test_one_sky_is_scaled_as_the_specification_measured() -> None:
    """Spec 8.5: sky 1000 +/- 5, science 1100 +/- 5: no background is left, VAR 100 -> 221."""
    rng = np.random.default_rng(11)
    planes = [level + 5 * rng.standard_normal((256, 256)) for level in (1100, 1000)]
    frames = [frame(p, name=f"S20200104S{n}_x.fits", variance=100) for n, p in enumerate(planes, 1)]
    (made,) = corrected(frames[:1], frames[1:]).frames["to"]
    # median of 65536 pixels of noise 7.4: 0.036; factor known to 0.001 of 1000: 1 at most
    assert abs(np.median(made.data)) < 0.2
    assert made.variance is not None
    assert np.median(made.variance) == pytest.approx(221, rel=2e-3)


@pytest.mark.parametrize("way", ["scale", "offset", "neither"])
def test_ways_to_match_a_sky_of_another_level(way: str) -> None:
    """Science 1100, sky 1000 with a gradient of +-100: scaled it is 1.1 times as steep."""
    ramp = np.linspace(-100, 100, 64)[None, :] * np.ones((64, 1))
    rng = np.random.default_rng(4)
    noise = rng.standard_normal((2, 64, 64))
    planes = [1100 + 1.1 * ramp, 1000 + ramp] if way == "scale" else [1100 + ramp, 1000 + ramp]
    frames = [
        frame(p + n, name=f"S20200104S{i}_x.fits", variance=1)
        for i, (p, n) in enumerate(zip(planes, noise, strict=True), 1)
    ]
    flags = {"scale_sky": way != "neither", "offset_sky": way == "offset"}  # offset goes first
    (made,) = corrected(frames[:1], frames[1:], **flags).frames["to"]
    left = {"scale": 0.0, "offset": 0.0, "neither": 100.0}[way]
    assert np.median(made.data) == pytest.approx(left, abs=1.5)  # the level of the ramp itself
    assert np.std(made.data.mean(axis=0)) < 0.5  # the gradient is gone


@pytest.mark.parametrize("way", ["scale_sky", "offset_sky"])
def test_a_reset_sky_is_the_level_of_the_frame(way: str) -> None:
    truth = dither(OFFSETS, sky=(1100.0, *SKIES[1:]), noise=False)
    flags = {"scale_sky": False, "offset_sky": False, way: True}
    made = corrected(truth.frames, reset_sky=True, **flags).frames["to"][0]
    assert_allclose(made.data, 1100, rtol=3e-6)
    assert made.sci["SKYLEVEL"] == pytest.approx(1100, rel=1e-6)


STARS = [(20.0, 30.0, 40000.0), (60.0, 20.0, 90000.0), (45.0, 70.0, 20000.0)]


def masked(frame: Frame, offset: Any, radius: float) -> Frame:
    y, x = np.mgrid[: frame.shape[0], : frame.shape[1]]
    mask = np.zeros(frame.shape, np.uint8)
    for x0, y0, _ in STARS:
        mask |= (np.hypot(x - x0 - offset[0], y - y0 - offset[1]) < radius).astype(np.uint8)
    return frame.with_(objmask=mask)


def test_stars_keep_their_flux_and_leave_no_holes() -> None:
    truth = dither(OFFSETS, sky=SKIES, stars=STARS, noise=False)
    frames = [masked(f, o, 7.0) for f, o in zip(truth.frames, truth.offsets, strict=True)]
    out = corrected(frames, mask_objects=True)
    for made, offset in zip(out.frames["to"], truth.offsets, strict=True):
        for x, y, flux in STARS:
            at = (slice(int(y + offset[1]) - 8, int(y + offset[1]) + 9),)
            box = made.data[at[0], int(x + offset[0]) - 8 : int(x + offset[0]) + 9]
            if box.shape == (17, 17):
                # 289 pixels of the residual sky, 0.002 each, and wings beyond the box
                assert box.sum() == pytest.approx(flux, rel=1e-3)
        assert made.data.min() > -0.05  # no negative ghosts of the stars in the skies
        assert made.has("objmask")


def test_masks_grow_before_the_skies_are_made() -> None:
    """Two skies, one with an object: unmasked rim pixels halve into the mean."""
    plane = np.full((32, 32), 1000.0)
    bright = plane.copy()
    bright[10:15, 10:15] = 3000
    core = np.zeros((32, 32), np.uint8)
    core[11:14, 11:14] = 1
    skies = [
        frame(bright, name="S20200104S0001_x.fits", objmask=core),
        frame(plane, name="S20200104S0002_x.fits", objmask=0),
    ]
    science = [frame(plane, name="S20200104S0003_x.fits")]
    options = {"mask_objects": True, "operation": "mean"}
    (rim,) = corrected(science, skies, dilation=0.0, **options).frames["to"]
    (clean,) = corrected(science, skies, dilation=1.5, **options).frames["to"]
    assert rim.data[10, 10] == pytest.approx(-1000, rel=1e-4)
    assert_allclose(clean.data, 0, atol=2e-3)
    assert_array_equal(skies[0].objmask, core)


def test_a_pixel_that_every_sky_masks_is_flagged() -> None:
    frames = dither(OFFSETS, sky=1000.0, noise=False).frames
    flags = np.zeros((96, 96), np.uint16)
    flags[40, 40], flags[50, 50] = 1, 2
    objects = np.zeros((96, 96), np.uint8)
    objects[60, 60] = 1
    skies = [f.with_(mask=flags, objmask=objects) for f in frames[1:]]
    (made,) = corrected(frames[:1], skies, mask_objects=True, dilation=0.0).frames["to"]
    assert made.mask is not None
    expected = flags.copy()
    expected[60, 60] = 1
    assert_array_equal(made.mask, expected)


def moving(count: int, change: float) -> list[Frame]:
    """Return noise-free frames 30 s apart whose sky tilts by `change` of its level a frame."""
    ramp = np.linspace(-1, 1, 64)[None, :] * np.ones((64, 1))
    frames = dither([(0, 20 * n) for n in range(count)], shape=(64, 64), noise=False).frames
    return [
        f.with_(data=(1000 * (1 + n * change * ramp)).astype(np.float32))
        for n, f in enumerate(frames)
    ]


@pytest.mark.parametrize("reject", ["none", "varclip"])
def test_a_sky_that_drifts_steadily_is_followed(reject: str) -> None:
    frames = moving(7, 0.002)
    options = {"operation": "mean", "reject_method": reject}
    means = corrected(frames, **options).frames["to"]
    lines = corrected(frames, **options, drift=True).frames["to"]
    # The others lie, on average, 3.5 frames later than the first: 7 electrons at the edge.
    assert np.ptp(means[0].data) / 2 == pytest.approx(7, rel=0.02)
    for made in lines:
        assert_allclose(made.data, 0, atol=2e-2)  # levels are fitted, to some 1e-5
    assert lines[0].variance is not None
    # Weights of 6 skies at 1..6, at 0: 1/6 + 3.5^2 / 17.5 = 0.867
    assert frames[0].variance is not None
    ratio = lines[0].variance / frames[0].variance - 1
    assert_allclose(ratio, 0.8667, rtol=2e-3)


def test_drift_needs_means() -> None:
    with pytest.raises(ValueError, match="drift goes with operation mean"):
        SkyCorrect(drift=True)


def test_a_line_through_two_skies_is_their_mean() -> None:
    frames = moving(3, 0.002)
    made = corrected(frames, operation="mean", drift=True).frames["to"]
    plain = corrected(frames, operation="mean").frames["to"]
    for one, other in zip(made, plain, strict=True):
        assert_array_equal(one.data, other.data)


def test_the_level_is_that_of_a_section() -> None:
    """A nebula of 200 electrons fills all but a strip of ten columns of one frame."""
    frames = dither(OFFSETS, sky=1000.0, shape=(64, 64)).frames
    nebula = np.full((64, 64), 200.0)
    nebula[:, :10] = 0
    target = frames[0].with_(data=(frames[0].data + nebula).astype(np.float32))
    (whole,) = corrected([target], frames[1:]).frames["to"]
    (strip,) = corrected([target], frames[1:], section="[1:10,1:64]").frames["to"]
    assert np.median(whole.data[:, :10]) < -150
    # 640 pixels of noise 34 x 1.2 fix the level to 1.6
    assert np.median(strip.data[:, :10]) == pytest.approx(0, abs=6)
    assert np.median(strip.data[:, 10:]) == pytest.approx(200, abs=6)
    with pytest.raises(FrameMismatch, match=r"the section \[1:65,1:64\] is not inside"):
        corrected([target], frames[1:], section="[1:65,1:64]")


def test_objects_larger_than_the_dither_are_noted() -> None:
    frames = dither(OFFSETS, sky=1000.0, noise=False).frames
    wide = np.zeros((96, 96), np.uint8)
    wide[20:30, 20:30] = 1  # 1.1 % of the field, in every frame
    out = corrected([f.with_(objmask=wide) for f in frames], mask_objects=True)
    (note,) = out.notes
    assert "objects hide over 0.5% of the field in every sky of S20200104S0001_test.fits" in note
    one = [frames[0].with_(objmask=wide), *(f.with_(objmask=wide * 0) for f in frames[1:])]
    assert corrected(one, mask_objects=True).notes == ()


def test_a_surface_through_what_is_left_is_subtracted() -> None:
    """One frame has a tilt of its own: 20 electrons, of which its skies know nothing."""
    truth = dither([(90.0 * n, 0.0) for n in range(5)], sky=1000.0, shape=(512, 512))
    tilt = np.linspace(-20, 20, 512)[:, None] * np.ones((1, 512))
    frames = [f.with_(objmask=np.zeros(f.shape, np.uint8)) for f in truth.frames]
    frames[0] = frames[0].with_(data=(frames[0].data + tilt).astype(np.float32))
    options = {"mask_objects": True, "operation": "mean"}
    plain = corrected(frames, **options)
    flat = corrected(frames, **options, residual_order=2)
    # 64 rows of 512 pixels, noise 37: 0.2
    assert np.mean(plain.frames["to"][0].data[-64:]) > 15
    assert abs(np.mean(flat.frames["to"][0].data[-64:])) < 1
    assert flat.notes == ()
    unknown = corrected(frames, operation="mean", residual_order=2)
    assert unknown.notes == ()  # frames have masks of their own
    bare = [f.with_(objmask=None) for f in frames]
    (note,) = corrected(bare, operation="mean", residual_order=2).notes
    assert "no surface is fitted to what is left of the sky, as its objects are not known" in note
    assert_array_equal(
        corrected(bare, operation="mean", residual_order=2).frames["to"][0].data,
        corrected(bare, operation="mean").frames["to"][0].data,
    )


@pytest.mark.parametrize("every", [1, 8])
def test_no_surface_is_fitted_where_objects_leave_little_sky(every: int) -> None:
    """One large object, or a crowd that leaves sky in every block."""
    frames = dither([(90.0 * n, 0.0) for n in range(5)], sky=1000.0, shape=(512, 512)).frames
    hidden = np.zeros((512, 512), np.uint8)
    hidden[: 256 if every == 1 else 512 : every] = 1
    clear = [f.with_(objmask=hidden * 0) for f in frames]
    target = [frames[0].with_(objmask=hidden)]
    out = corrected(target, clear[1:], mask_objects=True, residual_order=2)
    (note,) = out.notes
    assert "objects leave under 90% of the field" in note


PLACES = (0, 224, 448)


def nodding(change: float) -> tuple[Frame, list[Frame], Any]:
    """Return a frame of a galaxy between four of blank sky, which curves by `change` a frame.

    The galaxy, 30 pixels long, lies in the middle and reaches all over the field.
    """
    y, x = np.mgrid[-1:1:512j, -1:1:512j]
    curve = x * x - 1 / 3 + 0.5 * x * y
    truth = dither([(0.0, 90.0 * n) for n in range(5)], sky=1000.0, shape=(512, 512))
    frames = [
        f.with_(data=(f.data + 1000 * n * change * curve).astype(np.float32))
        for n, f in enumerate(truth.frames)
    ]
    galaxy = 500 * np.exp(-256 * np.hypot(x, y) / 30)
    target = frames[1].with_(data=(frames[1].data + galaxy).astype(np.float32))
    return target, [frames[0], *frames[2:]], galaxy


def test_the_sky_is_followed_without_the_frame_itself() -> None:
    target, skies, galaxy = nodding(0.02)
    options = {"operation": "mean", "scale_sky": False}
    (plain,) = corrected([target], skies, **options).frames["to"]
    (made,) = corrected([target], skies, **options, drift_order=2).frames["to"]
    off = [
        [np.mean((f.data - galaxy)[i : i + 64, j : j + 64]) for i in PLACES for j in PLACES]
        for f in (plain, made)
    ]
    # Skies lie on average 1.25 frames later, in which the corners change by up to 23 electrons.
    assert np.ptp(off[0]) > 20
    # Blocks are good to 0.6, the surface to 0.5; the galaxy's, in the middle, is not special.
    assert np.ptp(off[1]) < 3
    assert made.variance is not None
    assert_array_equal(made.variance, plain.variance)


def test_faint_light_does_not_raise_the_level() -> None:
    """Over 0.5 electrons fill half of a frame with noise 37 a pixel; the fit to pixels takes 4."""
    target, skies, galaxy = nodding(0.0)
    (made,) = corrected([target], skies, operation="mean").frames["to"]
    left = float(np.mean((made.data - galaxy)[galaxy < 5]))
    assert np.median(galaxy) > 0.5
    assert left == pytest.approx(0, abs=1.5)
    assert made.sci["SKYLEVEL"] == pytest.approx(1000, abs=1.5)
    (kept,) = corrected([target], skies, operation="mean", reset_sky=True).frames["to"]
    assert_allclose(kept.data - made.data, made.sci["SKYLEVEL"], atol=1e-2)


@pytest.mark.parametrize(
    ("when", "shares"),
    [
        ((-30, 30, 90), (0.5, 0.5, 0)),
        ((-60, -10, 40), (0, 0.8, 0.2)),
        ((0, 60), (1, 0)),
        ((20, 60, 100), (1.5, -0.5, 0)),
        ((-100, -60), (-0.5, 1.5)),  # 60 s after the last, but followed for 20
        ((30, 30), (0.5, 0.5)),
        ((50,), (1,)),
    ],
)
def test_skies_share_in_the_time_of_a_frame(when: Any, shares: Any) -> None:
    assert_allclose(_at_zero(np.array(when, float)), shares)


def test_a_hidden_sky_is_not_followed() -> None:
    target, skies, _ = nodding(0.02)
    wide = np.zeros((512, 512), np.uint8)
    wide[:256] = 1
    options = {"operation": "mean", "mask_objects": True}
    hidden = [f.with_(objmask=wide) for f in skies]
    out = corrected([target], hidden, **options, drift_order=2)
    (note,) = [n for n in out.notes if "followed" in n]
    assert "the sky is not followed in time, as too little of it shows in S20200104S0001" in note
    plain = corrected([target], hidden, **options)
    assert_array_equal(out.frames["to"][0].data, plain.frames["to"][0].data)
    with pytest.raises(ValueError, match="drift and drift_order both follow the sky"):
        SkyCorrect(operation="mean", drift=True, drift_order=1)


def test_two_skies_are_enough() -> None:
    truth = dither(OFFSETS[:3], sky=SKIES[:3], noise=False)
    for made in corrected(truth.frames).frames["to"]:
        assert_allclose(made.data, 0, atol=2e-3)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1000), st.floats(0.25, 4.0))
def test_brightness_of_the_sky_frames_does_not_matter(seed: int, factor: float) -> None:
    truth = dither(OFFSETS, shape=(48, 48), sky=1000.0, seed=seed)
    skies = truth.frames[1:]
    brighter = [f.with_(data=f.data * np.float32(factor)) for f in skies]
    (one,) = corrected(truth.frames[:1], skies).frames["to"]
    (two,) = corrected(truth.frames[:1], brighter).frames["to"]
    # rounding of 1000 in float32, and a factor that is known to a thousandth
    assert_allclose(one.data, two.data, atol=1.0)
    assert_allclose(np.median(one.data), np.median(two.data), atol=0.5)


@pytest.mark.parametrize(("jobs", "rows", "memory"), [(1, 1, 0), (2, 7, 1 << 30), (2, 64, 40000)])
def test_bands_threads_and_memory_do_not_change_a_bit(
    jobs: int, rows: int, memory: int, tmp_path: Any
) -> None:
    truth = dither(OFFSETS, sky=SKIES, shape=(33, 40))
    given = {"from": _with_skies(truth.frames, truth.frames), "sky": truth.frames}
    params = SkyCorrect(mask_objects=False)
    plain = sky_correct(given, params).frames["to"]
    engine = Engine(jobs, memory, tmp_path, rows)
    other = sky_correct(given, params, engine=engine).frames["to"]
    for left, right in zip(plain, other, strict=True):
        for a, b in zip(left.pixels.whole(), right.pixels.whole(), strict=True):
            assert_array_equal(a, b)
    engine.close()


def test_an_empty_stream_stays_empty() -> None:
    assert sky_correct({"from": [], "sky": []}, SkyCorrect()).frames == {"to": []}


def test_a_frame_without_sky_or_with_a_lost_one_is_refused() -> None:
    frames = line(3)
    with pytest.raises(TooFewFrames, match=r"S20200104S0001_test.fits has no associated sky"):
        sky_correct({"from": frames, "sky": frames}, SkyCorrect())
    lost = frames[0].with_(skies=("S20200104S0009",))
    with pytest.raises(TooFewFrames, match=r"the sky S20200104S0009 of S20200104S0001_test.fits"):
        sky_correct({"from": [lost], "sky": frames}, SkyCorrect())


def test_skies_without_object_masks_are_refused_where_masks_are_asked_for() -> None:
    frames = dither(OFFSETS[:3], shape=(32, 32)).frames
    with pytest.raises(FrameMismatch, match=r"skyCorrect: S20200104S0001_test.fits has no object"):
        corrected(frames, mask_objects=True)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"mask": np.ones((32, 32), np.uint16)}, "has 0 usable sky pixels"),
        ({"data": np.full((32, 32), -3, np.float32)}, "sky level of .* is -3"),
    ],
)
def test_a_sky_without_level_is_refused(change: dict[str, Any], text: str) -> None:
    frames = dither(OFFSETS[:3], shape=(32, 32), noise=False).frames
    with pytest.raises(FrameMismatch, match=text):
        corrected(frames[:1], [frames[1], frames[2].with_(**change)])


def test_a_sky_of_another_shape_or_unit_is_refused() -> None:
    frames = dither(OFFSETS[:3], shape=(32, 32), noise=False).frames
    other = frames[2].with_cards(sci={"BUNIT": "adu"})
    with pytest.raises(FrameMismatch, match="skyCorrect: unit of"):
        corrected(frames[:1], [frames[1], other])
