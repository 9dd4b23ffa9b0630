"""Frames weighted in stacks, scaled by their stars, and stacks of stacks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from f2yaml.interpreter.algorithms.combine import combine
from f2yaml.interpreter.algorithms.detect import OBJCAT_DTYPE
from f2yaml.interpreter.algorithms.flux_scale import flux_scale
from f2yaml.interpreter.algorithms.weighted import weighted_mean
from f2yaml.interpreter.engine import Engine
from f2yaml.interpreter.errors import FrameMismatch, TooFewFrames
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.primitives.register import (
    ResampleToCommonFrame,
    resample_to_common_frame,
)
from f2yaml.interpreter.primitives.stack import StackFrames, stack_frames
from f2yaml.interpreter.primitives.stack_scaling import ScaleCounts, scale_counts_to_reference
from f2yaml.interpreter.registry import Reported
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from pydantic import ValidationError
from synthetic import assert_unchanged, dither, flat_frame, frame, snapshot


# the kernel ---------------------------------------------------------------------------------
def samples(n: int, seed: int = 5) -> tuple[Any, Any, Any]:
    """Return noisy samples with flags of all kinds and some outliers."""
    rng = np.random.default_rng(seed)
    data = rng.normal(100, 3, (n, 4, 50)).astype(np.float32)
    data[rng.random(data.shape) < 0.02] += 300
    variance = rng.uniform(5, 15, data.shape).astype(np.float32)
    bits = rng.choice(np.array([0, 0, 0, 0, 1, 2, 8, 16, 64, 128], np.uint16), data.shape)
    return data, variance, bits


@pytest.mark.parametrize("reject", ["none", "minmax", "sigclip", "varclip"])
def test_equal_weights_are_the_plain_mean(reject: Any) -> None:
    data, variance, bits = samples(9)
    rules: dict[str, Any] = {"reject": reject, "nlow": 1, "nhigh": 2, "signal_error": 0.01}
    mean = combine(data, variance, bits, operation="mean", **rules)
    same = weighted_mean(data, variance, bits, np.full(9, 0.3), **rules)
    assert_allclose(same.data, mean.data, rtol=2e-7)
    assert_allclose(same.variance, mean.variance, rtol=2e-7)
    assert_array_equal(same.mask, mean.mask)
    assert_array_equal(same.rejected, mean.rejected)


def test_weights_by_hand() -> None:
    """Weights 1, 2, 5 of 10, 20, 40 with variances 4, 9, 1; the last pixel lacks the third."""
    data = np.array([[10, 10], [20, 20], [40, 40]], np.float32)[:, None, :]
    variance = np.array([[4, 4], [9, 9], [1, 1]], np.float32)[:, None, :]
    bits = np.zeros(data.shape, np.uint16)
    bits[2, 0, 1] = 1
    made = weighted_mean(data, variance, bits, [1, 2, 5], reject="none")
    assert_allclose(made.data, [[250 / 8, 50 / 3]], rtol=1e-7)
    assert_allclose(made.variance, [[(4 + 36 + 25) / 64, 40 / 9]], rtol=1e-7)
    assert_array_equal(made.mask, [[0, 0]])
    assert_array_equal(made.rejected, [[0, 1]])


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(6)), st.floats(0.01, 100))
def test_neither_order_nor_size_of_the_weights_matters(order: list[int], factor: float) -> None:
    data, variance, bits = samples(6)
    weights = np.array([1.0, 2, 3, 4, 5, 6])
    one = weighted_mean(data, variance, bits, weights)
    two = weighted_mean(data[order], variance[order], bits[order], factor * weights[order])
    assert_allclose(two.data, one.data, rtol=1e-6)
    assert_allclose(two.variance, one.variance, rtol=1e-6)
    assert_array_equal(two.mask, one.mask)


def test_pixels_without_samples_are_flagged_and_minmax_leaves_some() -> None:
    data = np.full((2, 1, 2), np.nan, np.float32)
    data[:, 0, 1] = 7
    made = weighted_mean(data, np.ones_like(data), None, [1, 1])
    assert_array_equal(made.data, [[0, 7]])
    assert_array_equal(made.mask, [[16, 0]])
    assert np.isnan(made.variance[0, 0])
    with pytest.raises(TooFewFrames, match="1 low and 1 high of 2"):
        weighted_mean(data, data, None, [1, 1], reject="minmax", nlow=1, nhigh=1)


# stackFrames --------------------------------------------------------------------------------
def one(reported: Reported) -> Frame:
    (made,) = reported.frames
    assert isinstance(made, Frame)
    return made


def noisy(*sigmas: float, shape: tuple[int, int] = (64, 64), **more: Any) -> list[Frame]:
    """Return frames of a sky of 500 with these noises."""
    rng = np.random.default_rng(17)
    return [
        frame(
            500 + s * rng.standard_normal(shape),
            variance=s * s,
            name=f"S20200104S{n:04d}_a.fits",
            **more,
        )
        for n, s in enumerate(sigmas, 1)
    ]


def test_weights_by_variance_give_the_least_noise_and_say_how_much() -> None:
    """Noises 1, 2, 4: the best mean has 1/sqrt(1 + 1/4 + 1/16) = 0.873, a plain one 1.528."""
    frames = noisy(1.0, 2.0, 4.0)
    before = snapshot(*frames)
    made = one(stack_frames(frames, StackFrames(weight="variance", reject_method="none")))
    best = 1 / math.sqrt(1 + 1 / 4 + 1 / 16)
    assert made.variance is not None
    assert_allclose(np.sqrt(made.variance), best, rtol=1e-6)
    # 4096 pixels tell their scatter to 1.1 %.
    assert np.std(made.data) == pytest.approx(best, rel=0.04)
    assert np.mean(made.data) == pytest.approx(500, abs=0.06)
    assert made.phu["WEIGHTBY"] == "variance"
    assert_unchanged(before, *frames)


def test_one_weight_a_frame_is_not_biased_by_photon_noise() -> None:
    """Sky of 25 electrons: inverse variances of pixels make it 24 (the harmonic mean), ours 25."""
    rng = np.random.default_rng(23)
    counts = rng.poisson(25.0, (6, 200, 200)).astype(np.float32)
    frames = [frame(c, variance=np.maximum(c, 1), name=f"S20200104S{n:04d}.fits")
              for n, c in enumerate(counts)]  # fmt: skip
    params = {"reject_method": "none"}
    ours = one(stack_frames(frames, StackFrames(weight="variance", **params)))
    pixels = {**params, "operation": "wtmean"}
    theirs = one(stack_frames(frames, StackFrames(photon_noise="sample", **pixels)))
    model = one(stack_frames(frames, StackFrames(**pixels)))
    # The mean of 240000 counts of noise 5 is good to 0.01.
    assert np.mean(ours.data) == pytest.approx(25, abs=0.05)
    assert np.mean(theirs.data) < 24.2
    # With the photon noise of the median; its slope is good to 0.01, and so is this.
    assert np.mean(model.data) == pytest.approx(25, abs=0.05)


def test_seeing_counts_squared_and_a_frame_without_stars_gets_the_median() -> None:
    frames = noisy(1.0, 1.0, 1.0, 1.0)
    widths = (3.0, 6.0, None, 4.0)
    frames = [f.with_cards(phu={"FWHMPIX": w}) for f, w in zip(frames, widths, strict=True)]
    reported = stack_frames(frames, StackFrames(weight="seeing", reject_method="none"))
    made = one(reported)
    weights = np.array([1 / 9, 1 / 36, 1 / 16, 1 / 16])
    weights /= weights.sum()
    expected = sum(w * f.data.astype(float) for w, f in zip(weights, frames, strict=True))
    assert_allclose(made.data, expected, rtol=1e-6)
    assert_allclose(made.variance, (weights**2).sum(), rtol=1e-6)
    assert "no stars to measure the seeing of S20200104S0003_a.fits" in reported.notes[0]
    assert "weights 0.42-1.68" in reported.health


def test_objects_and_flagged_pixels_do_not_count_for_the_weight() -> None:
    first, second = noisy(2.0, 2.0, shape=(16, 16))
    variance = np.full((16, 16), 4.0, np.float32)
    variance[:12] = 400
    flags, objects = np.zeros((16, 16), np.uint16), np.zeros((16, 16), np.uint8)
    flags[:6], objects[6:12] = 1, 1
    first = first.with_(variance=variance, mask=flags, objmask=objects)
    made = one(stack_frames([first, second], StackFrames(weight="variance", reject_method="none")))
    assert_allclose(made.data[12:], (first.data[12:] + second.data[12:]) / 2, rtol=1e-6)


def test_outliers_are_rejected_before_the_weights_are_used() -> None:
    frames = noisy(1.0, 1.0, 1.0, 1.0, shape=(8, 8))
    hit = np.array(frames[0].data)
    hit[2, 2] = 9000
    made = one(
        stack_frames([frames[0].with_(data=hit), *frames[1:]], StackFrames(weight="variance"))
    )
    others = np.mean([f.data[2, 2] for f in frames[1:]])
    assert made.data[2, 2] == pytest.approx(others, rel=1e-6)


def test_weights_that_cannot_be_had_are_refused() -> None:
    bare = [flat_frame(1, variance=None), flat_frame(1, variance=None)]
    with pytest.raises(FrameMismatch, match="has no variance in good pixels"):
        stack_frames(bare, StackFrames(weight="variance"))
    with pytest.raises(FrameMismatch, match="has no variance in good pixels"):
        stack_frames([flat_frame(1, mask=1)] * 2, StackFrames(weight="variance"))
    with pytest.raises(FrameMismatch, match="no frame has a seeing"):
        stack_frames([flat_frame(1)] * 2, StackFrames(weight="seeing"))
    with pytest.raises(ValidationError, match="weight variance goes with operation mean"):
        StackFrames(weight="variance", operation="median")


@pytest.mark.parametrize(("jobs", "rows"), [(1, 1), (2, 7)])
def test_bands_and_threads_do_not_change_a_bit(jobs: int, rows: int) -> None:
    frames = noisy(1.0, 2.0, 3.0)
    params = StackFrames(weight="variance")
    whole = one(stack_frames(frames, params))
    cut = one(stack_frames(frames, params, engine=Engine(jobs, band_rows=rows)))
    for left, right in zip(whole.pixels.whole()[:3], cut.pixels.whole()[:3], strict=True):
        assert_array_equal(left, right)


# noise correlation --------------------------------------------------------------------------
def blocked(frame: Frame, side: int = 8) -> float:
    """Return the noise of apertures of `side` pixels over what the variance plane says of them."""
    ny, nx = (n // side * side for n in frame.shape)
    assert frame.variance is not None
    shape = (ny // side, side, nx // side, side)
    sums = frame.data[:ny, :nx].astype(float).reshape(shape).sum(axis=(1, 3))
    said = np.sqrt(frame.variance[:ny, :nx].astype(float).reshape(shape).sum(axis=(1, 3)))
    inner = (slice(2, -2), slice(2, -2))
    return float(np.std(sums[inner]) / np.mean(said[inner]))


@pytest.mark.parametrize("weight", ["none", "variance"])
def test_the_noise_of_apertures_follows_from_the_header(weight: Any) -> None:
    """Half-pixel shifts lower the noise of pixels; NOISECOR says what is left in apertures.

    Frames of unequal noise, resampled by unequal amounts. 40 x 40 apertures tell their scatter to
    1.8 %; an aperture of 8 x 8 loses a few per cent at its edges, so that 6 % are allowed.
    """
    rng = np.random.default_rng(31)
    shifts, sigmas = [(0, 0), (2.5, 1.5), (-3.5, 0.5), (0.5, -2.5)], (3.0, 3.0, 6.0, 1.5)
    made = dither(shifts, shape=(352, 352), noise=False, sky=0.0).frames
    frames = [
        f.with_(
            data=(s * rng.standard_normal(f.shape)).astype(np.float32),
            variance=np.full(f.shape, s * s, np.float32),
        )
        for f, s in zip(made, sigmas, strict=True)
    ]
    moved = resample_to_common_frame(frames, ResampleToCommonFrame(trim_data=True)).frames
    params = StackFrames(weight=weight, reject_method="none")
    stack = one(stack_frames(moved, params))
    if weight == "variance":
        assert blocked(stack) == pytest.approx(stack.sci["NOISECOR"], rel=0.06)
    else:  # without weights frames count as equally noisy: right for their mean only
        assert blocked(stack) > 1.1
    again = resample_to_common_frame(
        [stack, stack.with_wcs(stack.wcs.shifted_origin(0.5, 0.5))],
        ResampleToCommonFrame(trim_data=True),
    ).frames
    expected = 1 / stack.sci["NOISECOR"] ** 2
    assert again[0].sci["VARRATIO"] == pytest.approx(expected)
    assert again[1].sci["VARRATIO"] < 0.6 * expected
    assert "NOISECOR" not in again[0].sci


def test_a_smoothed_frame_gains_no_weight() -> None:
    """Two frames of equal noise, one shifted by half a pixel: equal weights."""
    made = dither([(0, 0), (4.5, 3.5)], shape=(64, 64), sky=1000.0).frames
    moved = resample_to_common_frame(made, ResampleToCommonFrame(trim_data=True)).frames
    reported = stack_frames(moved, StackFrames(weight="variance"))
    low, high = (float(w) for w in reported.health.rpartition(" ")[2].split("-"))
    assert low == pytest.approx(1, abs=0.02)
    assert high == pytest.approx(1, abs=0.02)


# stacks of stacks ---------------------------------------------------------------------------
def test_exposures_and_times_of_stacks_add_up() -> None:
    frames = noisy(1.0, 1.0, 1.0, 1.0, 1.0, shape=(8, 8))
    airmasses = (1.0, 1.1, 1.2, 1.5, 1.7)
    frames = [
        f.with_cards(phu={"AIRMASS": a, "UT": f"06:3{n}:00.0"})
        for n, (f, a) in enumerate(zip(frames, airmasses, strict=True))
    ]
    first = one(stack_frames(frames[:3], StackFrames()))
    second = one(stack_frames(frames[3:], StackFrames()))
    both = one(stack_frames([second, first], StackFrames(weight="variance")))
    direct = one(stack_frames(frames, StackFrames()))
    for key in ("NCOMBINE", "TEXPTIME", "EXPMEAN", "DATE-BEG", "DATE-END", "DATE-AVG"):
        assert both.phu[key] == direct.phu[key], key
    assert both.phu["AIRMASS"] == pytest.approx(1.3)
    assert [both.phu[f"IMCMB{n:03d}"] for n in range(1, 6)] == [
        f"S20200104S{n:04d}.fits" for n in (4, 5, 1, 2, 3)
    ]
    assert "IMCMB006" not in both.phu
    # Weighted by depth, the stack of stacks is the stack of all.
    assert_allclose(both.data, direct.data, rtol=1e-6)
    assert_allclose(both.variance, direct.variance, rtol=1e-5)
    assert both.sci["RDNOISE"] == pytest.approx(11.7 / math.sqrt(5))


def test_the_time_of_scaled_frames_is_the_time_they_were_exposed() -> None:
    frames = [flat_frame(100, t=20), flat_frame(50, t=10)]
    made = one(stack_frames(scaled(frames), StackFrames()))
    assert made.phu["TEXPTIME"] == 30
    assert made.phu["EXPTIME"] == 20


# scaleCountsToReference with a tolerance ----------------------------------------------------
def scaled(frames: Sequence[Frame], **params: Any) -> list[Frame]:
    made = scale_counts_to_reference(frames, ScaleCounts(**params))
    return list(made.frames if isinstance(made, Reported) else made)


def table(positions: Any, fluxes: Any, error: float = 10.0) -> np.ndarray:
    rows = np.zeros(len(fluxes), OBJCAT_DTYPE)
    rows["X_IMAGE"], rows["Y_IMAGE"] = np.asarray(positions, float).T + 1
    rows["FLUX_AUTO"], rows["FLUXERR_AUTO"] = fluxes, error
    return rows


PLACES = np.array([[10, 10], [30, 12], [50, 40], [20, 50], [44, 22]], float)
FLUXES = np.array([1000.0, 5000, 3000, 8000, 2000])


def starry(factors: Sequence[float], times: Sequence[float] | None = None) -> list[Frame]:
    """Return dithered frames whose stars have been dimmed by factors."""
    offsets = [(0, 0), (4, 2), (-3, 5), (6, -4)][: len(factors)]
    frames = dither(offsets, shape=(64, 64), noise=False).frames
    made = []
    for n, (f, offset, factor) in enumerate(zip(frames, offsets, factors, strict=True)):
        cards = {"EXPTIME": times[n]} if times else {}
        catalogue = table(PLACES + offset, FLUXES * factor)
        made.append(f.with_(objcat=catalogue).with_cards(phu=cards))
    return made


def test_transparency_is_measured_from_the_stars() -> None:
    frames = starry([1.0, 0.8, 1.25])
    before = snapshot(*frames)
    made = scaled(frames, tolerance=0.3)
    for out, old, factor in zip(made, frames, (1, 1.25, 0.8), strict=True):
        assert_allclose(out.data, old.data * np.float32(factor), rtol=2e-7)
        assert_allclose(out.variance, old.variance * np.float32(factor**2), rtol=2e-6)
    assert made[1].phu["CNTSCALE"] == pytest.approx(1.25)
    assert (made[1].phu["ORIGTEXP"], made[1].phu["EXPTIME"]) == (5, 5)
    assert_unchanged(before, *frames)


def test_the_tolerance_is_about_the_ratio_of_exposure_times() -> None:
    """A frame of half the time and stars of 0.45: within a fifth of 2, though far from 1."""
    made = scaled(starry([1.0, 0.45], times=[20.0, 10.0]), tolerance=0.2)
    assert made[1].phu["CNTSCALE"] == pytest.approx(1 / 0.45)
    assert (made[1].phu["ORIGTEXP"], made[1].phu["EXPTIME"]) == (10, 20)
    reported = scale_counts_to_reference(
        starry([1.0, 0.3], times=[20.0, 10.0]), ScaleCounts(tolerance=0.2)
    )
    assert isinstance(reported, Reported)
    assert reported.frames[1].phu["CNTSCALE"] == 2
    assert "is scaled by exposure time (2.000): 3.333 from 5 stars" in reported.notes[0]
    wild = scaled(starry([1.0, 0.3], times=[20.0, 10.0]), tolerance=1.0)
    assert wild[1].phu["CNTSCALE"] == pytest.approx(1 / 0.3)


def test_a_frame_without_stars_leaves_the_others_as_they_are() -> None:
    """In the reference the last frame would go unscaled."""
    frames = starry([1.0, 0.8, 0.9, 1.1])
    frames[1] = frames[1].with_(objcat=table(PLACES[:0].reshape(0, 2), []))
    reported = scale_counts_to_reference(frames, ScaleCounts(tolerance=0.5))
    assert isinstance(reported, Reported)
    factors = [f.phu.get("CNTSCALE", 1.0) for f in reported.frames]
    assert factors == pytest.approx([1, 1, 1 / 0.9, 1 / 1.1])
    (note,) = reported.notes
    assert "S20200104S0002_test.fits is scaled by exposure time (1.000): no stars" in note


def test_where_no_star_is_common_to_all_pairs_serve() -> None:
    frames = starry([1.0, 0.8, 1.25])
    first, second = frames[1].objcat, frames[2].objcat
    assert first is not None
    assert second is not None
    more = np.concatenate([table(PLACES + 1.5, FLUXES), frames[0].objcat])  # type: ignore[list-item]
    frames[0] = frames[0].with_(objcat=more)
    frames[1] = frames[1].with_(objcat=first[:3])
    others = table(PLACES + np.array([-1.5, 6.5]), FLUXES * 1.25)
    frames[2] = frames[2].with_(objcat=others)
    reported = scale_counts_to_reference(frames, ScaleCounts(tolerance=0.3))
    assert isinstance(reported, Reported)
    assert "0 stars are common to all frames" in reported.notes[0]
    assert [f.phu.get("CNTSCALE", 1.0) for f in reported.frames] == pytest.approx([1, 1.25, 0.8])


def test_saturated_and_flagged_sources_do_not_count() -> None:
    frames = starry([1.0, 0.8])
    spoilt = np.array(frames[1].objcat)
    spoilt["FLUX_AUTO"][:2] *= 0.1
    spoilt["FLAGS"][0], spoilt["NIMAFLAGS_ISO"][1] = 4, 3
    made = scaled([frames[0], frames[1].with_(objcat=spoilt)], tolerance=0.3)
    assert made[1].phu["CNTSCALE"] == pytest.approx(1.25)


def test_frames_without_source_tables_are_refused() -> None:
    with pytest.raises(FrameMismatch, match="has no source table"):
        scaled([flat_frame(1), flat_frame(1)], tolerance=0.1)


# the fit ------------------------------------------------------------------------------------
def test_the_factor_of_many_noisy_stars_is_found_within_its_error() -> None:
    rng = np.random.default_rng(41)
    flux = 10 ** rng.uniform(2, 5, 300)
    x_err, y_err = np.sqrt(flux + 400), np.sqrt(1.3 * flux + 900)
    x, y = flux + x_err * rng.standard_normal(300), 1.3 * flux + y_err * rng.standard_normal(300)
    fit = flux_scale(x, x_err, y, y_err)
    assert fit is not None
    assert fit.factor == pytest.approx(1.3, abs=4 * fit.error)
    assert fit.error < 1e-3
    assert fit.n > 280


def test_a_variable_star_however_bright_does_not_bend_the_factor() -> None:
    flux = np.array([1e3, 2e3, 3e3, 4e3, 1e6])
    seen = 0.9 * flux
    seen[4] *= 2
    fit = flux_scale(flux, np.sqrt(flux), seen, np.sqrt(seen))
    assert fit is not None
    assert fit.n == 4
    assert fit.factor == pytest.approx(0.9, rel=1e-6)


def test_without_pairs_there_is_no_factor() -> None:
    assert flux_scale([], [], [], []) is None
    assert flux_scale([-1.0, np.nan], [1, 1], [1, 1], [1, 1]) is None
