"""Noise of dark and flat that frame and sky have in common, against the scatter of real draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from f2yaml.interpreter.algorithms.calibrate import Planes as CalPlanes
from f2yaml.interpreter.algorithms.calibrate import divided_share, subtracted_share
from f2yaml.interpreter.engine import Engine
from f2yaml.interpreter.fits import read_frame, write_frame
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.primitives.calibration import (
    DarkCorrect,
    FlatCorrect,
    dark_correct,
    flat_correct,
)
from f2yaml.interpreter.primitives.sky_subtraction import (
    SkyCorrect,
    StackSkyFrames,
    SubtractSky,
    sky_correct,
    stack_sky_frames,
    subtract_sky,
)
from numpy.testing import assert_array_equal
from synthetic import frame

SHAPE = (160, 160)
SKY, READ, DARK_VAR, FLAT_VAR = 1000.0, 10.0, 200.0, 0.0004


def night(count: int = 6, light: float = 0.0, seed: int = 1) -> tuple[list[Frame], Frame, Frame]:
    """Return raw frames with `light` in the first of them, and a noisy dark and flat.

    The flat's variance is that of 2500 electrons a pixel: 400 electron^2 of a sky of 1000.
    """
    rng = np.random.default_rng(seed)
    dark = frame(
        20 + rng.normal(0, np.sqrt(DARK_VAR), SHAPE),
        variance=DARK_VAR,
        name="S20200107S0049_dark.fits",
    )
    flat = frame(
        1 + rng.normal(0, np.sqrt(FLAT_VAR), SHAPE),
        variance=FLAT_VAR,
        name="S20200108S0010_flat.fits",
    )
    frames = []
    for n in range(1, count + 1):
        level = SKY + (light if n == 1 else 0.0)
        counts = rng.poisson(level, SHAPE) + rng.normal(20, READ, SHAPE)
        frames.append(frame(counts, variance=level + READ**2, name=f"S20200104S{n:04d}_test.fits"))
    return frames, dark, flat


def calibrated(frames: list[Frame], dark: Frame, flat: Frame) -> list[Frame]:
    return [
        flat_correct(dark_correct(f, DarkCorrect(), dark=dark), FlatCorrect(), flat=flat)
        for f in frames
    ]


def associated(frames: list[Frame]) -> dict[str, list[Frame]]:
    names = {f.root for f in frames}
    made = [f.with_(skies=tuple(sorted(names - {f.root}))) for f in frames]
    return {"from": made, "sky": frames}


def noise(made: Frame) -> float:
    """Return the scatter of the pixels over the noise that VAR gives."""
    assert made.variance is not None
    return float(np.std(made.data) / np.sqrt(np.median(made.variance)))


MEAN: dict[str, Any] = {"operation": "mean", "mask_objects": False}


def test_variance_after_calibration_is_the_sum_and_shared_says_whose_it_is() -> None:
    """1100 of the frame, 200 of the dark, 0.0004 of 1000 squared of the flat: 600 of 1700."""
    (made,) = calibrated(*night(1))
    assert made.variance is not None
    shared = made.pixels.whole().shared
    assert shared is not None
    assert np.median(made.variance) == pytest.approx(1700, rel=5e-3)
    assert np.median(shared) / 255 == pytest.approx(600 / 1700, abs=0.01)


def test_what_dark_and_flat_add_cancels_between_frame_and_sky() -> None:
    """Of 1700 a frame keeps 1100, and the mean of five skies adds a fifth of that."""
    made = sky_correct(associated(calibrated(*night())), SkyCorrect(**MEAN)).frames["to"]
    for one in made:
        assert one.variance is not None
        assert np.median(one.variance) == pytest.approx(1100 * 1.2, rel=0.01)
        # scatter of 25600 pixels: 0.5 %; a share is rounded to 0.2 % of the variance
        assert noise(one) == pytest.approx(1.0, abs=0.02)
        assert not one.has("shared")


def test_light_of_an_object_keeps_the_noise_of_the_flat() -> None:
    """1000 electrons over the sky: 2100 of its own, 400 of the flat, 220 of the skies."""
    frames = calibrated(*night(light=1000.0))
    params = SkyCorrect(**MEAN, scale_sky=False)
    made = sky_correct(associated(frames), params).frames["to"][0]
    assert made.variance is not None
    # The dark's 200 count by a quarter, as if they were the flat's: 50 of 2770.
    assert np.median(made.variance) == pytest.approx(2100 + 400 + 220 + 50, rel=0.02)
    assert noise(made) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("card", ["DARKIM", "FLATIM"])
def test_noise_of_different_calibrations_stays_and_is_noted(card: str) -> None:
    frames = calibrated(*night())
    frames[5] = frames[5].with_cards(phu={card: "other.fits"})
    out = sky_correct(associated(frames), SkyCorrect(**MEAN))
    (note,) = out.notes
    assert "skyCorrect: frame and sky have different darks or flats" in note
    for one in out.frames["to"]:
        assert np.median(one.variance) == pytest.approx(1700 * 1.2, rel=0.01)


def test_a_lost_plane_is_noted_and_variance_stays() -> None:
    frames = [f.with_(shared=None) for f in calibrated(*night())]
    out = sky_correct(associated(frames), SkyCorrect(**MEAN))
    (note,) = out.notes
    assert "no plane SHARED" in note
    assert np.median(out.frames["to"][0].variance) == pytest.approx(1700 * 1.2, rel=0.01)


def test_other_nights_in_the_stream_do_not_matter() -> None:
    """Frames of two nights, each with its skies: both lose the shared noise."""
    frames = calibrated(*night())
    moved = [
        f.with_cards(
            phu={"DARKIM": "b.fits", "FLATIM": "c.fits", "ORIGNAME": f"S20200109S{n:04d}.fits"}
        )
        for n, f in enumerate(calibrated(*night(seed=2)), 1)
    ]
    one, two = associated(frames), associated(moved)
    both = {name: [*one[name], *two[name]] for name in one}
    out = sky_correct(both, SkyCorrect(**MEAN))
    assert out.notes == ()
    for made in out.frames["to"]:
        assert np.median(made.variance) == pytest.approx(1100 * 1.2, rel=0.01)


def test_a_stacked_sky_holds_the_common_noise_once() -> None:
    """Six frames: 1100 / 6 of their own and 600 in common; subtracted, only the first counts."""
    frames = calibrated(*night(7))
    (sky,) = stack_sky_frames(frames[1:], StackSkyFrames(**MEAN)).frames
    assert np.median(sky.variance) == pytest.approx(1100 / 6 + 600, rel=0.01)
    assert noise(sky) == pytest.approx(1.0, abs=0.02)
    made = subtract_sky({"from": frames[:1], "sky": [sky]}, SubtractSky()).frames["to"][0]
    assert np.median(made.variance) == pytest.approx(1100 * 7 / 6, rel=0.01)
    assert noise(made) == pytest.approx(1.0, abs=0.02)


def test_frames_read_back_give_the_same_pixels(tmp_path: Any) -> None:
    frames = [Engine().settle(f) for f in calibrated(*night())]
    back = [read_frame(write_frame(f, tmp_path / f.name)) for f in frames]
    one, two = (
        sky_correct(associated(x), SkyCorrect(**MEAN), engine=Engine(2, band_rows=7)).frames["to"]
        for x in (frames, back)
    )
    for a, b in zip(one, two, strict=True):
        assert_array_equal(a.data, b.data)
        assert_array_equal(a.variance, b.variance)


def test_shares_of_pixels_without_variance_or_response() -> None:
    def row(*values: float) -> npt.NDArray[np.float32]:
        return np.array([values], np.float32)

    none = np.zeros((1, 4), np.uint16)
    share = subtracted_share(None, row(0, 30, 10, 0), row(0, 10, 0, 5))
    assert share.tolist() == [[0, 64, 0, 255]]
    before = CalPlanes(row(10, 10, 0, 10), row(100, 100, 0, 100), none)
    flat = CalPlanes(row(1, 0, 1, 0.5), row(1, 1, 0, 0.25), none)
    made = divided_share(np.full((1, 4), 51, np.uint8), before, flat)
    # (20 + 100) / 200; no response; no variance; (20 + 400 x 0.25) / 200
    assert made.tolist() == [[153, 0, 0, 153]]
