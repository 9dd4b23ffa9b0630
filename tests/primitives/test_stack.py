"""Frames combined into one; numbers of the specification, primitives 15.5."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from f2yaml.interpreter.engine import Engine
from f2yaml.interpreter.errors import FrameMismatch, TooFewFrames
from f2yaml.interpreter.frame import Frame, ProvenanceRow, joint_provenance
from f2yaml.interpreter.primitives.register import (
    ResampleToCommonFrame,
    resample_to_common_frame,
)
from f2yaml.interpreter.primitives.stack import (
    Combine,
    StackDarks,
    StackFrames,
    check_darks,
    combine_frames,
    stack_darks,
    stack_frames,
)
from f2yaml.interpreter.registry import Reported
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from synthetic import assert_unchanged, dither, filed, flat_frame, frame, snapshot

A = [[100, 102, 98], [101, 99, 100]]
B = [[110, 113, 108], [111, 109, 160]]
C = [[90, 91, 88], [92, 89, 90]]


def three(**sci: Any) -> list[Frame]:
    flagged = [[0, 0, 0], [0, 0, 1]]
    return [
        frame(A, variance=4, name="S20200104S0001_a.fits", sci={"GAIN": 1.0}),
        frame(B, variance=9, mask=flagged, name="S20200104S0002_a.fits", sci={"GAIN": 2.0}),
        frame(C, variance=16, name="S20200104S0003_a.fits", sci={"GAIN": 1.0}),
    ]


def one(reported: Reported) -> Frame:
    (made,) = reported.frames
    assert isinstance(made, Frame)
    return made


# the numbers of spec 15.5 -------------------------------------------------------------------
PLAIN = [[100, 102, 98], [101.33334, 99, 95]]
VECTORS = {
    "none": ({"reject_method": "none"}, PLAIN, 3.2222223, 5),
    "sigclip": ({"reject_method": "sigclip"}, PLAIN, 3.2222223, 5),
    "zero": (
        {"reject_method": "sigclip", "zero": True},
        [[100, 102, 98], [101.33334, 99, 100]],
        3.2222223,
        5,
    ),
    "scale": (
        {"reject_method": "sigclip", "scale": True},
        [[99.98704, 101.93243, 97.97372], [101.36435, 98.98038, 100.03634]],
        3.4670267,
        5.945452,
    ),
    "both": (
        {"reject_method": "sigclip", "scale": True, "zero": True},
        [[100, 102, 98], [101.33334, 99, 100]],
        3.2222223,
        5,
    ),
    "wtmean": (
        {"operation": "wtmean", "reject_method": "none"},
        [[101.14754, 103.2623, 99.147545], [102.29508, 100.147545, 98]],
        2.3606558,
        3.2,
    ),
}


@pytest.mark.parametrize("case", VECTORS)
def test_stacks_give_the_numbers_of_the_specification(case: str) -> None:
    given, data, variance, last = VECTORS[case]
    frames = three()
    before = snapshot(*frames)
    made = one(stack_frames(frames, StackFrames(**given)))
    assert_allclose(made.data, data, rtol=2e-7)
    expected = np.full((2, 3), variance)
    expected[1, 2] = last
    assert_allclose(made.variance, expected, rtol=3e-7)
    assert_array_equal(made.mask, np.zeros((2, 3)))
    assert_unchanged(before, *frames)


def test_without_quality_bits_every_sample_counts() -> None:
    made = one(stack_frames(three(), StackFrames(reject_method="none", apply_dq=False)))
    assert made.data[1, 2] == pytest.approx(350 / 3, rel=1e-6)
    assert made.variance is not None
    assert made.variance[1, 2] == pytest.approx(29 / 9, rel=1e-6)
    assert not made.has("mask")


def test_noise_and_gain_of_the_stack() -> None:
    """Read noises 11.7, 5, 11.7 give 9.979646 rms; the mean has that over the root of three."""
    noises = (11.7, 5.0, 11.7)
    frames = [f.with_cards(sci={"RDNOISE": n}) for f, n in zip(three(), noises, strict=True)]
    made = one(stack_frames(frames, StackFrames()))
    assert made.sci["GAIN"] == pytest.approx(1.2)
    assert made.sci["RDNOISE"] == pytest.approx(9.979646 / 3**0.5, rel=1e-6)


def test_headers_say_what_was_combined() -> None:
    frames = dither([(0, 0), (5, 0), (0, 5)], shape=(8, 8)).frames
    times = (10.0, 20.0, 30.0)
    frames = [
        f.with_cards(phu={"EXPTIME": t, "AIRMASS": t / 10})
        for f, t in zip(frames, times, strict=True)
    ]
    made = one(stack_frames(frames, StackFrames()))
    assert (made.phu["NCOMBINE"], made.phu["TEXPTIME"], made.phu["EXPMEAN"]) == (3, 60.0, 20.0)
    assert made.phu["EXPTIME"] == 20.0  # the frames were not scaled: the mean is that of 20 s
    assert made.phu["AIRMASS"] == pytest.approx(2.0)
    assert made.phu["DATALAB"].endswith("-001-STACK")
    listed = [made.phu[f"IMCMB{n:03d}"] for n in (1, 2, 3)]
    assert listed == [f"S20200104S{n:04d}.fits" for n in (1, 2, 3)]
    assert made.phu["DATE-BEG"] == "2020-01-04T06:30:30"
    assert made.phu["DATE-END"] == "2020-01-04T06:32:00"
    # Middles 5, 40 and 75 s after the start, weighted by 10, 20 and 30 s: 155/3 s.
    assert made.phu["DATE-AVG"] == "2020-01-04T06:31:21.666667"
    midnight = 58852  # 2020-01-04
    assert made.phu["MJD-AVG"] == pytest.approx(midnight + 23481.666667 / 86400, abs=1e-9)
    assert made.phu["MJD-BEG"] == pytest.approx(midnight + 23430 / 86400, abs=1e-9)
    assert made.phu["TIMESYS"] == "UTC"
    assert "IMCMB004" not in made.phu


def test_a_stack_of_stacks_has_one_mark_in_its_label() -> None:
    frames = [flat_frame(n, DATALAB="GS-1-001-STACK") for n in (1, 2)]
    assert one(stack_frames(frames, StackFrames())).phu["DATALAB"] == "GS-1-001-STACK"


def test_the_noise_correlation_of_resampled_frames_is_recorded() -> None:
    """Variances lowered to 1, 0.5 and 0.42 of white noise: 0.64 on average, factor 1.25."""
    ratios = (1.0, 0.5, 0.42)
    frames = [f.with_cards(sci={"VARRATIO": r}) for f, r in zip(three(), ratios, strict=True)]
    made = one(stack_frames(frames, StackFrames()))
    assert made.sci["NOISECOR"] == pytest.approx(1.25)
    assert "VARRATIO" not in made.sci
    assert "NOISECOR" not in one(stack_frames(three(), StackFrames())).sci


def test_sources_of_the_first_frame_are_not_those_of_the_stack() -> None:
    first, second = flat_frame(1, objmask=1), flat_frame(2, objmask=0)
    first = first.with_(objcat=np.zeros(3), skies=("a",))
    made = one(stack_frames([first, second], StackFrames()))
    assert made.objcat is None
    assert made.skies is None
    assert not made.has("objmask")


def test_provenance_is_that_of_all_frames_once() -> None:
    rows = [ProvenanceRow("t", name, name, "prepare") for name in "abc"]
    frames = [
        f.with_(provenance=tuple(p))
        for f, p in zip(three(), ([rows[0]], [rows[1], rows[0]], [rows[2]]), strict=True)
    ]
    assert one(stack_frames(frames, StackFrames())).provenance == tuple(rows)


# rejection ----------------------------------------------------------------------------------
def test_one_outlier_of_four_is_rejected_by_the_propagated_noise() -> None:
    """Their scatter alone cannot: with four samples the largest deviation is 1.5 sigma."""
    frames = [flat_frame(100.0, variance=100.0) for _ in range(3)] + [flat_frame(5000.0)]
    noise = one(stack_frames(frames, StackFrames()))
    robust = one(stack_frames(frames, StackFrames(reject_method="sigclip")))
    scatter = one(stack_frames(frames, StackFrames(reject_method="sigclip", scatter="sample")))
    assert (noise.data == 100).all()
    assert (robust.data == 100).all()
    assert (scatter.data == 1325).all()


def test_seeing_may_change_a_bright_star_by_a_tenth() -> None:
    levels = (10000.0, 10500.0, 9500.0)
    frames = [flat_frame(level, variance=1e4) for level in levels]
    assert_allclose(one(stack_frames(frames, StackFrames())).data, 10000, rtol=1e-6)
    strict = one(stack_frames(frames, StackFrames(signal_error=0.0)))
    assert (strict.data == 10000).all()  # both outer ones are 5 sigma away: the middle is left
    assert strict.variance is not None
    assert (strict.variance == 1e4).all()


def test_dropping_all_frames_is_refused() -> None:
    with pytest.raises(TooFewFrames, match="reject 2 low and 1 high of 3 frames"):
        stack_frames(three(), StackFrames(reject_method="minmax", nlow=2, nhigh=1))


# properties ---------------------------------------------------------------------------------
@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-1e4, 1e4))
def test_a_constant_added_to_all_frames_shifts_the_stack_by_it(seed: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    stack = rng.normal(100, 10, (5, 6, 7)).astype(np.float32)
    params = StackFrames(signal_error=0.0)
    plain = one(stack_frames([frame(p, variance=100) for p in stack], params))
    moved = one(stack_frames([frame(p + np.float32(shift), variance=100) for p in stack], params))
    # one rounding of float32 per sample at 1e4: 0.001
    assert_allclose(moved.data - plain.data, shift, atol=3e-3)


def test_the_order_of_the_frames_is_irrelevant() -> None:
    rng = np.random.default_rng(5)
    planes = rng.normal(100, 10, (4, 5, 6)).astype(np.float32)
    flags = np.where(rng.random((4, 5, 6)) < 0.2, 1, 0)
    frames = [frame(p, variance=100, mask=m) for p, m in zip(planes, flags, strict=True)]
    first = one(stack_frames(frames, StackFrames()))
    for order in itertools.permutations(frames):
        made = one(stack_frames(order, StackFrames()))
        assert_allclose(made.data, first.data, rtol=3e-7)  # sums in another order
        assert_array_equal(made.mask, first.mask)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 127), min_size=2, max_size=6))
def test_a_pixel_without_good_sample_keeps_a_flag(flags: list[int]) -> None:
    frames = [flat_frame(10, shape=(2, 2), mask=m) for m in flags]
    made = one(stack_frames(frames, StackFrames()))
    unusable = all(m & ~6 for m in flags)
    assert made.mask is not None
    assert bool((made.mask & ~np.uint16(6)).all()) is unusable
    assert made.variance is not None
    assert (made.variance > 0).all()


def test_noise_averages_down_and_the_variance_says_so() -> None:
    frames = dither([(0, 0)] * 9, shape=(96, 96), sky=1000.0).frames
    made = one(stack_frames(frames, StackFrames(reject_method="none")))
    expected = (1000 + 11.7**2) / 9
    assert_allclose(made.variance, expected, rtol=1e-6)
    # 9216 samples: the scatter of a variance is 1.5 %, five times that is allowed
    assert made.data.var() == pytest.approx(expected, rel=0.075)
    assert made.data.mean() == pytest.approx(1000, abs=5 * (expected / 9216) ** 0.5)


# machine ------------------------------------------------------------------------------------
@pytest.mark.parametrize(("jobs", "band_rows"), [(1, 1), (2, 7), (2, 64)])
def test_bands_and_threads_do_not_change_a_bit(jobs: int, band_rows: int) -> None:
    rng = np.random.default_rng(3)
    frames = [frame(p, variance=100) for p in rng.normal(100, 10, (5, 33, 20))]
    params = StackFrames(reject_method="sigclip", scale=True)
    plain = one(stack_frames(frames, params))
    engine = Engine(jobs, band_rows=band_rows)
    made = one(stack_frames(frames, params, engine=engine))
    for left, right in zip(plain.pixels.whole(), made.pixels.whole(), strict=True):
        assert_array_equal(left, right)


@pytest.mark.parametrize(("jobs", "band_rows"), [(1, 5), (2, 7), (3, 1), (2, None)])
def test_bands_and_threads_do_not_change_a_bit_of_resampled_frames(
    jobs: int, band_rows: int | None
) -> None:
    rng = np.random.default_rng(4)
    frames = dither([(0, 0), (3.3, -2.6), (-4.8, 5.1)], shape=(41, 50)).frames
    frames = [f.with_(mask=(rng.random(f.shape) < 0.03).astype(np.uint16)) for f in frames]

    def made(engine: Engine) -> Frame:
        moved = resample_to_common_frame(frames, ResampleToCommonFrame(), engine=engine).frames
        return one(stack_frames(moved, StackFrames(), engine=engine))

    plain = made(Engine())
    other = made(Engine(jobs, band_rows=band_rows))
    for left, right in zip(plain.pixels.whole(), other.pixels.whole(), strict=True):
        assert_array_equal(left, right)
    # The fused steps are those of frames resampled before.
    moved = resample_to_common_frame(frames, ResampleToCommonFrame()).frames
    settled = one(stack_frames([Engine().held(f) for f in moved], StackFrames()))
    assert_array_equal(settled.data, plain.data)
    assert_array_equal(settled.mask, plain.mask)


def test_a_stack_that_does_not_fit_in_memory_is_the_same(tmp_path: Any) -> None:
    plain = one(stack_frames(three(), StackFrames()))
    engine = Engine(max_memory=0, scratch=tmp_path)
    made = one(stack_frames(three(), StackFrames(), engine=engine))
    assert filed(made.data)
    assert_array_equal(made.data, plain.data)
    engine.close()
    assert list(tmp_path.iterdir()) == []


# errors -------------------------------------------------------------------------------------
def test_a_single_frame_is_no_stack() -> None:
    with pytest.raises(TooFewFrames, match="stackFrames got 1 frame"):
        stack_frames([flat_frame(1)], StackFrames())
    with pytest.raises(TooFewFrames, match="stackDarks got 1 frame"):
        stack_darks([flat_frame(1, OBSTYPE="DARK")], StackDarks())
    with pytest.raises(TooFewFrames, match="no frame to combine"):
        combine_frames([], Combine(), Engine())


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"shape": (2, 2)}, "stack: shape of"),
        ({"sci": {"BUNIT": "adu"}}, "stack: unit of"),
        ({"FILTER2": "J_G0802"}, "stackFrames: filter_name of"),
    ],
)
def test_frames_that_do_not_belong_together_are_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(FrameMismatch, match=text):
        stack_frames([flat_frame(1), flat_frame(1, **changes)], StackFrames())


# stackDarks ---------------------------------------------------------------------------------
def darks(*levels: float, **last: Any) -> list[Frame]:
    made = [flat_frame(level, OBSTYPE="DARK", variance=4.0) for level in levels[:-1]]
    return [*made, flat_frame(levels[-1], variance=4.0, **{"OBSTYPE": "DARK", **last})]


def test_darks_are_averaged_without_outliers() -> None:
    frames = darks(10, 12, 11, 11, 200)
    out = stack_darks(frames, StackDarks(), allows=frozenset({"odd-dark"}))

    made = one(out)
    assert (made.data == 11).all()
    assert made.variance is not None
    assert (made.variance == 1).all()
    assert "11.00 e-" in out.health


@pytest.mark.parametrize(
    ("last", "text"),
    [
        ({"OBSTYPE": "OBJECT"}, "is not a dark"),
        ({"t": 6.0}, "was exposed 6 s, .* 5 s"),
        ({"LNRS": 4}, "stackDarks: read_mode of"),
        ({"COADDS": 2}, "exposed 10 s|coadds of"),
    ],
)
def test_darks_of_another_kind_are_refused(last: dict[str, Any], text: str) -> None:
    frames = darks(10, 11, 12, **last)
    for refuse in (check_darks, stack_darks):
        with pytest.raises(FrameMismatch, match=text):
            refuse(frames, StackDarks())


def test_each_file_is_in_the_provenance_once() -> None:
    """Two frames with the same dark, taken in at different times."""
    dark = [ProvenanceRow(f"2020-01-0{n}", "dark.fits", "d" * 32, "darkCorrect") for n in (1, 2)]
    raw = [ProvenanceRow("2020-01-01", f"raw{n}.fits", f"{n}" * 32, "prepare") for n in (1, 2)]
    frames = [flat_frame(1.0).with_(provenance=(raw[n], dark[n])) for n in (0, 1)]
    names = [row.filename for row in joint_provenance(frames)]
    assert names == ["raw1.fits", "dark.fits", "raw2.fits"]
