"""What the header and the coverage of a stack say, and exposure times with coadds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from f2_headers import raw_headers
from f2yaml.interpreter.association import keys_of
from f2yaml.interpreter.errors import BadInput, FrameMismatch
from f2yaml.interpreter.fits import read_frame, write_frame
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.pixels import OnDisk
from f2yaml.interpreter.primitives.calibration import DarkCorrect, dark_correct
from f2yaml.interpreter.primitives.detector import ADUToElectrons, adu_to_electrons
from f2yaml.interpreter.primitives.register import (
    ResampleToCommonFrame,
    resample_to_common_frame,
)
from f2yaml.interpreter.primitives.stack import StackDarks, StackFrames, stack_darks, stack_frames
from f2yaml.interpreter.primitives.stack_scaling import ScaleCounts, scale_counts_to_reference
from f2yaml.interpreter.primitives.standardize import Prepare, check_raw, prepare
from f2yaml.interpreter.refcat import REFCAT_DTYPE
from f2yaml.interpreter.registry import Reported
from numpy.testing import assert_array_equal
from synthetic import dither, flat_frame, frame, raw_frame


def stacked(*frames: Frame, **params: Any) -> Frame:
    reported = stack_frames(frames, StackFrames(**params))
    (made,) = reported.frames
    assert isinstance(made, Frame)
    return made


def scaled(*frames: Frame) -> list[Frame]:
    made = scale_counts_to_reference(frames, ScaleCounts())
    return list(made.frames if isinstance(made, Reported) else made)


# what describes a stack ---------------------------------------------------------------------
def test_what_was_measured_on_one_frame_does_not_describe_the_stack() -> None:
    words = (
        "NSOURCES FWHMPIX MEANFWHM MEANELLP MEANZP ZPERR ZPTOTAL CLOUDEXT ASTRMNUM ASTRMSRA "
        "ASTRMSDE ALIGNRMS ALIGNNUM CNTSCALE ORIGTEXP MEASREIQ MEASREBG MEASRECC REJSHARE"
    )
    first = flat_frame(100).with_cards(phu=dict.fromkeys(words.split(), 1.0))
    made = stacked(first, flat_frame(100))
    kept = {"REJSHARE"}  # which is the stack's own
    assert {key for key in words.split() if key in made.phu} == kept
    assert made.phu["REJSHARE"] == 0.0


def test_the_sky_level_is_the_mean_on_the_scale_of_the_stack() -> None:
    """Skies of 1000 in 10 s and 600 in 5 s, which counts twice: (1000 + 1200) / 2."""
    frames = [
        flat_frame(0, t=10).with_cards(sci={"SKYLEVEL": 1000.0}),
        flat_frame(0, t=5).with_cards(sci={"SKYLEVEL": 600.0}),
    ]
    assert stacked(*scaled(*frames)).sci["SKYLEVEL"] == pytest.approx(1100)
    assert "SKYLEVEL" not in stacked(frames[0], flat_frame(0)).sci


def test_moments_are_those_of_the_first_exposure_whatever_the_order() -> None:
    def at(minute: int, **more: Any) -> Frame:
        cards = {"UT": f"06:{minute}:00.0", "UTEND": f"06:{minute}:05.0", "AZIMUTH": minute}
        return flat_frame(1).with_cards(phu={**cards, **more}, sci={"MJD-OBS": 1.0})

    made = stacked(at(31), at(30), at(32))
    assert (made.phu["UT"], made.phu["AZIMUTH"]) == ("06:30:00.0", 30)
    assert made.phu["UTEND"] == "06:32:05.0"
    assert str(made.describe("ut_datetime")) == "2020-01-04 06:30:00"
    assert made.phu["DATE-AVG"] == "2020-01-04T06:31:02.500000"
    assert made.sci["MJD-OBS"] == made.phu["MJD-BEG"] == pytest.approx(58852 + 6.5 / 24)


def test_a_frame_that_does_not_know_its_time_leaves_the_dates_out() -> None:
    lost = flat_frame(1, name="x.fits").with_cards(phu={"UT": None, "DATE-OBS": None})
    made = stacked(flat_frame(1).with_cards(phu={"DATE-AVG": "2020-01-04"}), lost)
    assert not [key for key in made.phu if key.startswith(("DATE-AVG", "DATE-B", "MJD-"))]


def test_scaling_inside_the_stack_keeps_the_time_of_the_first() -> None:
    """Levels of 100 in 10 s and 200 in 20 s become 100 each: counts are those of 10 s."""
    frames = [flat_frame(100, t=10), flat_frame(200, t=20)]
    assert stacked(*frames, scale=True).phu["EXPTIME"] == 10
    assert stacked(*frames, scale=True).data[0, 0] == pytest.approx(100)
    mean = stacked(*frames, signal_error=1.0)
    assert mean.phu["EXPTIME"] == 15
    assert mean.data[0, 0] == pytest.approx(150)  # 10 a second still
    # Weights 1 / V of 3 to 1.
    noisy = [frames[0], frames[1].with_(variance=np.full((8, 8), 3, np.float32))]
    weighted = stacked(*noisy, signal_error=1.0, weight="variance")
    assert weighted.phu["EXPTIME"] == pytest.approx(12.5)
    assert weighted.data[0, 0] == pytest.approx(125)


def test_stars_of_all_frames_are_kept_once() -> None:
    rows = np.zeros(3, REFCAT_DTYPE)
    rows["Id"] = (1, 2, 3)
    frames = [flat_frame(1).with_(refcat=rows[:2]), flat_frame(1).with_(refcat=rows[1:])]
    made = stacked(*frames)
    assert made.refcat is not None
    assert made.refcat["Id"].tolist() == [1, 2, 3]
    assert stacked(frames[0], flat_frame(1)).refcat is None


# coverage -----------------------------------------------------------------------------------
def test_the_coverage_goes_through_a_file(tmp_path: Path) -> None:
    flags = np.zeros((8, 8), np.uint16)
    flags[2, 3], flags[5, 5] = 1, 16
    frames = [flat_frame(10), flat_frame(10), flat_frame(10, mask=flags)]
    made = stacked(*frames)
    expected = np.full((8, 8), 3)
    expected[flags != 0] = 2
    assert_array_equal(made.coverage, expected)
    path = write_frame(made, tmp_path / "stack.fits")
    with fits.open(path) as hdus:
        assert [h.name for h in hdus] == ["PRIMARY", "SCI", "VAR", "DQ", "COVERAGE", "FRAMES"]
        assert hdus["COVERAGE"].data.dtype == np.uint16
    again = read_frame(path)
    assert again.coverage is not None
    assert again.coverage.dtype == np.uint16
    assert_array_equal(again.coverage, expected)
    assert_array_equal(again.pixels.rows(2, 3).coverage, expected[2:3])
    assert isinstance(again.pixels, OnDisk)  # read row by row, not held
    only = write_frame(made, tmp_path / "plain.fits", ["SCI", "VAR", "DQ"])
    assert read_frame(only).coverage is None


def test_coverages_of_stacks_add_up_on_a_common_grid() -> None:
    """Stacks of three and of two, five pixels apart, and a single frame."""
    truth = dither([(0, 0), (5, 0), (0, 3)], shape=(64, 64), sky=1000.0)
    first, second, third = truth.frames
    flags = np.zeros((64, 64), np.uint16)
    flags[40:44, 20:24] = 1
    three = stacked(first, first, first.with_(mask=flags))
    two = stacked(second, second)
    moved = resample_to_common_frame([three, two, third], ResampleToCommonFrame()).frames
    made = stacked(*moved, weight="variance")
    assert made.phu["NCOMBINE"] == 6
    coverage = made.coverage
    assert coverage is not None
    assert coverage[30, 30] == 6
    whole = np.zeros(made.shape, int)
    for (dx, dy), depth in zip([(0, 0), (5, 0), (0, 3)], (3, 2, 1), strict=True):
        y0, x0 = 3 - dy, 5 - dx
        whole[y0 : y0 + 64, x0 : x0 + 64] += depth
    whole[43:47, 25:29] -= 1
    assert (coverage[43:47, 25:29] == 5).all()
    assert made.mask is not None
    good = made.mask == 0
    rejected = whole[good] - coverage[good].astype(int)
    assert (rejected >= 0).all()
    assert (rejected == 0).mean() > 0.999  # 4 sigma: 6e-5 of normal samples
    assert (coverage[(made.mask & 16) != 0] == 0).all()


def test_sections_of_the_detector_do_not_outlive_it() -> None:
    cards = {"ARRAYSEC": "[1:64,1:64]", "DETSEC": "[1:64,1:64]", "PIXSCALE": 0.5}
    frames = [
        f.with_cards(phu={"PIXSCALE": 0.5}, sci=cards)
        for f in dither([(0, 0), (5, 0)], shape=(64, 64)).frames
    ]
    for made in resample_to_common_frame(frames, ResampleToCommonFrame()).frames:
        assert "ARRAYSEC" not in made.sci
        assert "DETSEC" not in made.sci
        assert made.sci["DATASEC"] == "[1:69,1:64]"
        assert made.sci["PIXSCALE"] == made.phu["PIXSCALE"] == pytest.approx(0.1792, rel=1e-6)


@pytest.mark.parametrize(("share", "bits"), [(0.0, 4), (0.1, 0)])
def test_one_saturated_sample_of_many_does_not_make_a_pixel_saturated(
    share: float, bits: int
) -> None:
    frames = [flat_frame(1000, mask=4 if n == 0 else 0) for n in range(11)]
    made = stacked(*frames, flag_share=share)
    assert made.mask is not None
    assert (made.mask == bits).all()
    assert StackFrames().flag_share == 0.1


# coadds -------------------------------------------------------------------------------------
def coadded(kind: str, coadds: int, seconds: float, adu: float) -> Frame:
    """Return a raw frame of `coadds` exposures, summed, and what prepare makes of it."""
    headers = raw_headers(kind, EXPTIME=seconds, COADDS=coadds, sci={"NAXIS1": 8, "NAXIS2": 8})
    return raw_frame(headers, np.full((8, 8), adu))


def prepared(raw: Frame) -> Frame:
    return adu_to_electrons(prepare(raw, Prepare()), ADUToElectrons()).with_(
        variance=np.ones((8, 8), np.float32), mask=np.zeros((8, 8), np.uint16)
    )


def test_exposure_times_are_those_of_all_coadds_from_raw_frame_to_stack() -> None:
    raw = coadded("A", 4, 5.0, 400)
    frames = [prepared(raw) for _ in range(3)]
    assert raw.exposure_time == frames[0].exposure_time == 20
    assert (frames[0].phu["EXPTIME"], frames[0].phu["COADDEXP"]) == (20, 5)
    assert keys_of(raw.headers)["exposure_time"] == keys_of(frames[0].headers)["exposure_time"]
    made = stacked(*frames)
    assert (made.phu["EXPTIME"], made.phu["TEXPTIME"], made.phu["EXPMEAN"]) == (20, 60, 20)
    assert (made.phu["COADDS"], made.phu["COADDEXP"]) == (4, 5)
    assert made.exposure_time == 20
    rate = made.data[0, 0] / made.exposure_time
    assert rate == pytest.approx(400 * 4.44 / 20, rel=1e-6)
    assert "COADDEXP" not in prepare(coadded("A", 1, 5.0, 400), Prepare()).phu


def test_frames_of_one_coadd_and_of_many_are_brought_to_one_rate() -> None:
    """400 adu in 4 x 5 s and 100 adu in 5 s are the same light."""
    frames = [prepared(coadded("A", 4, 5.0, 400)), prepared(coadded("A", 1, 5.0, 100))]
    both = scaled(*frames)
    assert both[1].data[0, 0] == pytest.approx(both[0].data[0, 0])
    assert both[1].exposure_time == 20
    made = stacked(*both)
    assert (made.exposure_time, made.phu["TEXPTIME"]) == (20, 25)
    assert "COADDS" not in made.phu
    assert "COADDEXP" not in made.phu
    # The other way round, the frame of four coadds is scaled down and keeps its number of coadds.
    down = scaled(frames[1], frames[0])[1]
    assert (down.exposure_time, down.phu["COADDS"], down.phu["COADDEXP"]) == (5, 4, 1.25)


def test_a_dark_of_other_coadds_does_not_fit() -> None:
    """1 x 20 s has the dark signal of 4 x 5 s, but not its bias and its read noise."""
    science = prepared(coadded("A", 4, 5.0, 400))
    (dark,) = stack_darks(
        [prepared(coadded("B", 4, 5.0, 40)) for _ in range(2)], StackDarks()
    ).frames
    made = dark_correct(science, DarkCorrect(), dark=dark)
    assert made.data[0, 0] == pytest.approx(360 * 4.44, rel=1e-5)
    (long,) = stack_darks(
        [prepared(coadded("B", 1, 20.0, 40)) for _ in range(2)], StackDarks()
    ).frames
    assert long.exposure_time == science.exposure_time
    with pytest.raises(FrameMismatch, match=r"coadds of .* is 4, of .* 1"):
        dark_correct(science, DarkCorrect(), dark=long)
    (short,) = stack_darks(
        [prepared(coadded("B", 4, 2.0, 40)) for _ in range(2)], StackDarks()
    ).frames
    with pytest.raises(FrameMismatch, match=r"20 s, .* 8 s"):
        dark_correct(science, DarkCorrect(), dark=short)


def test_products_of_dragons_keep_the_time_of_one_coadd() -> None:
    theirs = flat_frame(1, t=5).with_cards(phu={"COADDS": 4})
    assert theirs.exposure_time == 20
    again = scaled(flat_frame(1, t=10), theirs)[1]
    assert again.exposure_time == 10


def test_a_stack_of_dragons_counts_with_all_its_exposures() -> None:
    theirs = flat_frame(1, t=5).with_cards(phu={"NCOMBINE": 3})
    made = stacked(theirs, flat_frame(1, t=5))
    assert (made.phu["NCOMBINE"], made.phu["TEXPTIME"], made.phu["EXPTIME"]) == (4, 20, 5)
    assert made.coverage is not None
    assert (made.coverage == 4).all()


# units --------------------------------------------------------------------------------------
@pytest.mark.parametrize("unit", [None, "", "adu", "ADU", "Counts"])
def test_raw_pixels_are_adu(unit: str | None) -> None:
    raw = coadded("A", 1, 5.0, 1).with_cards(sci={"BUNIT": unit})
    assert check_raw([raw], Prepare()) == []


@pytest.mark.parametrize("header", ["phu", "sci"])
def test_another_unit_is_refused_unless_it_is_known_to_be_wrong(header: str) -> None:
    good = coadded("A", 1, 5.0, 1)
    raw = good.with_cards(**{header: {"BUNIT": "electron"}})
    with pytest.raises(BadInput, match=r"BUNIT of .* is electron, that of a raw frame is adu"):
        check_raw([good, raw], Prepare())
    (note,) = check_raw([good, raw], Prepare(raw_unit="adu"))
    assert note.endswith("is electron; its pixels are taken for adu")
    assert prepare(raw, Prepare(raw_unit="adu")).unit == "adu"


def test_flags_survive_what_a_frame_cannot_say() -> None:
    """Objects have no bit of their own: one above 64 would be no class, and lose the pixel."""
    objects = [frame(np.full((4, 4), 7.0), mask=128), frame(np.full((4, 4), 8.0), mask=128)]
    made = stacked(*objects)
    assert (made.data == 0).all()
    assert made.mask is not None
    assert (made.mask == 0).all()
    again = stacked(*(f.with_(mask=np.ones((4, 4), np.uint16)) for f in objects))
    assert (again.data == 7.5).all()
    assert again.mask is not None
    assert (again.mask == 1).all()
