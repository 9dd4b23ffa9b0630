"""Skies stacked and subtracted step by step, and the ghosts of bright frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from f2yaml.interpreter.engine import Engine
from f2yaml.interpreter.errors import FrameMismatch, TooFewFrames
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.primitives.sky_subtraction import (
    SkyCorrect,
    StackSkyFrames,
    SubtractSky,
    sky_correct,
    stack_sky_frames,
    subtract_sky,
)
from f2yaml.interpreter.primitives.standardize import AddLatencyToDQ, add_latency_to_dq
from numpy.testing import assert_allclose, assert_array_equal
from synthetic import assert_unchanged, dither, flat_frame, snapshot

OFFSETS = [(0, 0), (12, 0), (0, 12), (-12, 5), (7, -11)]
LEVELS = (1000.0, 1100.0, 900.0, 1050.0, 950.0)


def stacked(frames: list[Frame], **params: Any) -> Frame:
    (only,) = stack_sky_frames(frames, StackSkyFrames(**params)).frames
    assert isinstance(only, Frame)
    return only


def masked(frames: list[Frame], masks: Any) -> list[Frame]:
    return [
        f.with_(objmask=np.ascontiguousarray(m, np.uint8))
        for f, m in zip(frames, masks, strict=True)
    ]


# stackSkyFrames and subtractSky -------------------------------------------------------------
def test_a_stacked_sky_has_the_level_of_the_first_frame() -> None:
    frames = dither(OFFSETS, sky=LEVELS).frames
    before = snapshot(*frames)
    sky = stacked(frames, mask_objects=False)
    # The median of five frames of noise 34, over 9216 pixels: 34 sqrt(pi/10) / 96 = 0.2.
    assert np.median(sky.data) == pytest.approx(1000, abs=1.5)
    assert sky.phu["NCOMBINE"] == 5
    assert sky.variance is not None
    assert np.std(sky.data) == pytest.approx(np.sqrt(np.median(sky.variance)), rel=0.1)
    assert_unchanged(before, *frames)


def test_objects_are_left_out_and_flagged_where_nothing_else_is_seen() -> None:
    frames = [flat_frame(v, shape=(32, 32)) for v in (100, 100, 700)]
    masks = np.zeros((3, 32, 32))
    masks[2, :16] = 1
    masks[:, 20, 20] = 1
    made = [frames[0], frames[1], flat_frame(100, shape=(32, 32))]
    bright = np.array(made[2].data)
    bright[:16] = 5000
    made[2] = made[2].with_(data=bright)
    sky = stacked(masked(made, masks), dilation=0.0)
    assert_allclose(sky.data[:16], 100, rtol=1e-5)
    assert sky.mask is not None
    assert np.argwhere(sky.mask).tolist() == [[20, 20]]
    grown = stacked(masked(made, masks), dilation=2.0)
    assert grown.mask is not None
    assert np.count_nonzero(grown.mask) == 13


def test_step_by_step_is_what_sky_correct_does_at_once() -> None:
    frames = dither(OFFSETS, sky=LEVELS).frames
    roots = [f.root for f in frames]
    first = frames[0].with_(skies=tuple(roots[1:]))
    streams = {"from": [first], "sky": frames}
    at_once = sky_correct(streams, SkyCorrect(mask_objects=False)).frames["to"][0]
    sky = stacked(frames[1:], mask_objects=False)
    stepwise = subtract_sky({"from": frames[:1], "sky": [sky]}, SubtractSky()).frames["to"][0]
    # The scale follows from samples of other noise: they agree within a tenth of its error.
    assert_allclose(stepwise.data, at_once.data, atol=0.1)
    assert_allclose(stepwise.variance, at_once.variance, rtol=1e-3)
    assert_array_equal(stepwise.mask, at_once.mask)


def test_each_frame_may_have_a_sky_of_its_own() -> None:
    frames = dither(OFFSETS[:2], sky=(1000.0, 2000.0), noise=False).frames
    skies = [flat_frame(v, shape=(96, 96), variance=0.0) for v in (500, 4000)]
    made = subtract_sky({"from": frames, "sky": skies}, SubtractSky()).frames["to"]
    for out in made:
        assert_allclose(out.data, 0, atol=1e-3)
    plain = SubtractSky(scale_sky=False)
    made = subtract_sky({"from": frames, "sky": skies}, plain).frames["to"]
    assert [float(f.data[0, 0]) for f in made] == [500, -2000]


def test_numbers_of_skies_that_do_not_fit_are_refused() -> None:
    frames = dither(OFFSETS[:3]).frames
    with pytest.raises(TooFewFrames, match="2 skies for 3 frames"):
        subtract_sky({"from": frames, "sky": frames[:2]}, SubtractSky())
    with pytest.raises(TooFewFrames, match="0 skies for 3 frames"):
        subtract_sky({"from": frames, "sky": []}, SubtractSky())
    with pytest.raises(TooFewFrames, match="no frame"):
        stacked([])
    with pytest.raises(FrameMismatch, match=r"stackSkyFrames: .* has no object mask"):
        stacked(frames)
    assert subtract_sky({"from": [], "sky": frames}, SubtractSky()).frames["to"] == []


def test_masks_of_skies_are_not_looked_at_where_that_is_asked_for() -> None:
    """An object mask that covers a pixel of every sky must not flag it."""
    frames = [f.with_(skies=("S20200104S0002",)) for f in dither(OFFSETS[:2], noise=False).frames]
    everywhere = masked(frames, np.ones((2, 96, 96)))
    params = SkyCorrect(mask_objects=False, scale_sky=False)
    streams = {"from": [frames[0]], "sky": everywhere}
    out = sky_correct(streams, params).frames["to"][0]
    assert not np.any(out.mask)


@pytest.mark.parametrize(("jobs", "rows"), [(1, 1), (2, 7)])
def test_bands_and_threads_do_not_change_a_bit(jobs: int, rows: int) -> None:
    frames = dither(OFFSETS, sky=LEVELS, shape=(32, 32)).frames
    params = StackSkyFrames(mask_objects=False)
    (whole,) = stack_sky_frames(frames, params).frames
    (cut,) = stack_sky_frames(frames, params, engine=Engine(jobs, band_rows=rows)).frames
    for left, right in zip(whole.pixels.whole()[:3], cut.pixels.whole()[:3], strict=True):
        assert_array_equal(left, right)


# offset-to-sky ------------------------------------------------------------------------------
def test_an_object_that_fills_the_field_is_no_matter_to_skies_taken_elsewhere() -> None:
    """A galaxy in every object frame, none in the skies, whose own stars are masked."""
    skies = dither(OFFSETS, sky=LEVELS, stars=[(40, 50, 4e4)], noise=False).frames
    masks = [(f.data > level + 1) for f, level in zip(skies, LEVELS, strict=True)]
    y, x = np.mgrid[:96, :96]
    galaxy = 3000 * np.exp(-np.hypot(x - 48, y - 48) / 6)
    targets = dither([(0, 0)], sky=1020.0, noise=False).frames
    target = targets[0].with_(
        data=(targets[0].data + galaxy).astype(np.float32),
        skies=tuple(f.root for f in skies),
    )
    streams = {"from": [target], "sky": masked(skies, masks)}
    out = sky_correct(streams, SkyCorrect()).frames["to"][0]
    # What the galaxy's outskirts add to the level: 1 electron where it ends, over its 3000.
    assert_allclose(out.data - galaxy, 0, atol=4)
    assert not np.any(out.mask)


# addLatencyToDQ -----------------------------------------------------------------------------
def burst(*times: int, bits: Any = ()) -> list[Frame]:
    """Return frames at seconds after 06:30 whose first pixels have bits."""
    frames = []
    for n, second in enumerate(times):
        mask = np.zeros((4, 11), np.uint16)
        mask[0, 0] = dict(bits).get(n, 0)
        ut = f"06:{30 + second // 60:02d}:{second % 60:02d}.0"
        name = f"S20200104S{n:04d}.fits"
        frames.append(flat_frame(1, shape=(4, 11), mask=mask, UT=ut, name=name))
    return frames


def flags(frames: list[Frame], **params: Any) -> list[int]:
    made = add_latency_to_dq(frames, AddLatencyToDQ(**params)).frames
    for old, new in zip(frames, made, strict=True):
        assert_array_equal((new.mask ^ old.mask).ravel()[1:], 0)
    return [int(f.mask[0, 0]) for f in made]


def test_saturated_pixels_are_flagged_for_two_minutes() -> None:
    frames = burst(0, 60, 119, 120, 200, bits={0: 4})
    before = snapshot(*frames)
    assert flags(frames) == [4, 8, 8, 0, 0]
    assert flags(frames, time=60.5) == [4, 8, 0, 0, 0]
    assert flags(frames[::-1]) == [0, 0, 8, 8, 4]
    assert_unchanged(before, *frames)


def test_non_linear_pixels_are_flagged_where_that_is_asked_for() -> None:
    frames = burst(0, 30, bits={0: 2, 1: 1})
    assert flags(frames) == [2, 1]
    assert flags(frames, non_linear=True) == [2, 9]


def test_frames_without_bits_or_time_are_refused() -> None:
    with pytest.raises(FrameMismatch, match="has no quality bits"):
        add_latency_to_dq([flat_frame(1, mask=None)], AddLatencyToDQ())
    bare = flat_frame(1, name="x.fits", **{"DATE-OBS": None, "UT": None})
    with pytest.raises(FrameMismatch, match="has no date"):
        add_latency_to_dq([bare], AddLatencyToDQ())
    assert add_latency_to_dq([], AddLatencyToDQ()).frames == []
