"""Lamp flats of Y, J and H: lamp on minus lamp off, whatever the lamp does meanwhile."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from f2yaml.interpreter.engine import Engine
from f2yaml.interpreter.errors import FrameMismatch, TooFewFrames
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.primitives.calibration import (
    MakeLampFlat,
    check_lamp,
    make_lamp_flat,
    need_lamp_dark,
)
from numpy.testing import assert_allclose, assert_array_equal
from synthetic import assert_unchanged, frame, snapshot

NUMBERS = itertools.count(1)
FILTERS = {"Y": "Y_G0811", "J": "J_G0802", "H": "H_G0803", "JH": "JH_G0809", "K": "K-red_G0815"}


def flat(level: Any, *, on: bool, band: str = "J", variance: Any = None, **more: Any) -> Frame:
    """A flat of one level (or an image), whose variance is its level unless given."""
    data = np.asarray(level, float) if np.ndim(level) else np.full((4, 4), float(level))
    cards = {
        "OBSTYPE": "FLAT",
        "OBJECT": "GCALflat",
        "GCALLAMP": "IRhigh",
        "GCALSHUT": "OPEN" if on else "CLOSED",
        "FILTER2": FILTERS[band],
        "EXPTIME": 2.0,
        "name": f"S20200107S{next(NUMBERS):04d}_x.fits",
        **more,
    }
    return frame(data, variance=data if variance is None else variance, **cards)


def made(frames: list[Frame], **params: Any) -> Frame:
    (only,) = make_lamp_flat(frames, MakeLampFlat(**params)).frames
    assert isinstance(only, Frame)
    return only


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 2, 0), (2, 3, 0, 1)])
def test_lamp_on_minus_lamp_off_gives_the_numbers_of_the_specification(
    order: tuple[int, ...],
) -> None:
    """Spec 15.7: on 1000 and 1010, off 100 and 102 give 904 with variance 553."""
    frames = [
        flat(1000, on=True),
        flat(1010, on=True),
        flat(100, on=False),
        flat(102, on=False),
    ]
    before = snapshot(*frames)
    out = made([frames[n] for n in order], match_lamp=False)
    assert (out.data == 904).all()
    assert out.variance is not None
    assert (out.variance == 553).all()
    assert_unchanged(before, *frames)


def test_a_matched_lamp_keeps_the_mean_level() -> None:
    """899 and 909 are both brought to 904; their variances change by 1 %, in opposite ways."""
    frames = [flat(v, on=True) for v in (1000, 1010)] + [flat(v, on=False) for v in (100, 102)]
    out = made(frames)
    assert_allclose(out.data, 904, rtol=1e-6)
    expected = (1000 * (904 / 899) ** 2 + 1010 * (904 / 909) ** 2) / 4 + 202 / 4
    assert_allclose(out.variance, expected, rtol=1e-6)


@pytest.mark.parametrize("band", ["Y", "J", "H", "JH"])
def test_every_band_but_k_needs_the_lamp(band: str) -> None:
    frames = [flat(500, on=True, band=band), flat(40, on=False, band=band)]
    assert (made(frames).data == 460).all()
    assert need_lamp_dark(frames) == []


def test_a_drifting_lamp_does_not_hide_outliers_nor_reject_good_frames() -> None:
    """Levels drift by a tenth, noise is 1 %; one pixel of one frame has a cosmic ray.

    Unmatched, clipping at 3 sigma would keep the middle frames alone; matched, it takes the cosmic
    ray out and the mean of all seven is left.
    """
    rng = np.random.default_rng(7)
    response = rng.uniform(0.8, 1.2, (64, 64))
    levels = 1e4 * np.linspace(0.95, 1.05, 7)
    frames = []
    for level in levels:
        image = level * response + 300.0
        image += np.sqrt(image) * rng.standard_normal(image.shape)
        frames.append(flat(image, on=True))
    hit = np.array(frames[3].data)
    hit[10, 20] += 5e3
    frames[3] = flat(hit, on=True)
    zero = [flat(np.full((64, 64), 300.0), on=False, variance=0.0) for _ in range(3)]
    out = made([*frames, *zero])
    residual = out.data / (1e4 * response) - 1
    noise = np.sqrt(1.03e4 * response / 7) / (1e4 * response)
    assert abs(residual[10, 20]) < 5 * noise[10, 20]
    # One sample in 370 is clipped as well, which costs a thousandth of the noise.
    assert np.std(residual / noise) == pytest.approx(1.0, abs=0.03)
    assert out.variance is not None
    assert np.median(np.sqrt(out.variance) / (1e4 * response) / noise) == pytest.approx(1, abs=0.01)


def test_the_noise_of_the_lamp_off_stack_is_added_once() -> None:
    frames = [flat(1000, on=True, variance=0.0) for _ in range(4)]
    frames += [flat(100, on=False, variance=50.0) for _ in range(2)]
    out = made(frames)
    assert_allclose(out.variance, 25, rtol=1e-6)  # 50 / 2, though four frames had it subtracted


def test_bits_of_both_kinds_are_kept_and_flagged_samples_left_out() -> None:
    bad = np.zeros((4, 4), np.uint16)
    bad[0, 0] = 4
    lit = [flat(1000, on=True), flat(1000, on=True, mask=bad)]
    dull = [flat(100, on=False, mask=np.where(np.eye(4) > 0, 64, 0))]
    out = made([*lit, *dull])
    expected = np.where(np.eye(4) > 0, 64, 0)
    expected[0, 0] |= 4
    assert_array_equal(out.mask, expected)


def test_headers_tell_what_was_combined() -> None:
    frames = [flat(100, on=False), flat(1000, on=True), flat(1000, on=True)]
    out = made(frames)
    assert out.root == frames[1].root
    assert out.phu["NCOMBINE"] == 2
    assert out.phu["LAMPOFF"] == frames[0].name


@pytest.mark.parametrize(
    ("frames", "error", "text"),
    [
        (lambda: [flat(9, on=True)], TooFewFrames, "all 1 J flats were taken with the lamp on"),
        (lambda: [flat(9, on=False)], TooFewFrames, "all 1 J flats were .* with the lamp off"),
        (
            lambda: [flat(9, on=True), flat(1, on=False, EXPTIME=4.0)],
            FrameMismatch,
            r"4 s, .* 2 s",
        ),
        (
            lambda: [flat(9, on=True), flat(1, on=False), flat(1, on=True, GCALSHUT="")],
            FrameMismatch,
            "no state of the lamp",
        ),
        (lambda: [flat(9, on=True), flat(1, on=False, band="H")], FrameMismatch, "filter_name"),
        (lambda: [flat(1, on=True), flat(5, on=False)], FrameMismatch, "the lamp gives -4 e-"),
    ],
)
def test_flats_that_do_not_go_together_are_refused(
    frames: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        made(frames())


def test_lamp_on_flats_alone_are_taken_where_that_is_asked_for() -> None:
    frames = [flat(900, on=True), flat(1100, on=True)]
    assert_allclose(made(frames, lamp_on_only=True).data, 1000, rtol=1e-6)
    (note,) = check_lamp(frames, MakeLampFlat(lamp_on_only=True))
    assert "no lamp-off J flats" in note


def test_darks_have_no_part_in_lamp_on_minus_lamp_off_whatever_their_exposure_time() -> None:
    flats = [flat(900, on=True), flat(1100, on=True), flat(100, on=False)]
    dark = frame(np.ones((4, 4)), OBSTYPE="DARK", EXPTIME=60.0, name="S20200107S9998_x.fits")
    assert_array_equal(made([dark, *flats]).data, made(flats).data)
    (note,) = check_lamp([dark, *flats], MakeLampFlat())
    assert "darks are left out" in note


def test_a_processed_dark_is_wanted_unless_darks_of_that_time_are_listed() -> None:
    thermal = flat(9, on=False, band="K")
    short = frame(np.ones((4, 4)), OBSTYPE="DARK", EXPTIME=1.0, name="S20200107S9999_x.fits")
    assert need_lamp_dark([short, thermal]) == [thermal]
    assert need_lamp_dark([short.with_cards(phu={"EXPTIME": 2.0}), thermal]) == []


@pytest.mark.parametrize(("jobs", "rows"), [(1, 1), (2, 7)])
def test_bands_and_threads_do_not_change_a_bit(jobs: int, rows: int) -> None:
    rng = np.random.default_rng(3)
    lit = [flat(1000 + rng.standard_normal((32, 32)), on=True) for _ in range(3)]
    frames = [*lit, flat(np.full((32, 32), 100.0), on=False)]
    (whole,) = make_lamp_flat(frames, MakeLampFlat()).frames
    (cut,) = make_lamp_flat(frames, MakeLampFlat(), engine=Engine(jobs, band_rows=rows)).frames
    for one, other in zip(whole.pixels.whole()[:3], cut.pixels.whole()[:3], strict=True):
        assert_array_equal(one, other)
