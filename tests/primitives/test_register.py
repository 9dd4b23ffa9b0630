"""Positions checked and corrected, and frames put on one grid (spec: primitives, 4.6, 10, 11.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from f2yaml.interpreter import algorithms
from f2yaml.interpreter.algorithms.detect import OBJCAT_DTYPE
from f2yaml.interpreter.algorithms.tan import Tan
from f2yaml.interpreter.engine import Engine
from f2yaml.interpreter.errors import FrameMismatch, TooFewFrames, TooFewSources
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.primitives.register import (
    AdjustWCS,
    CheckWCS,
    ResampleToCommonFrame,
    adjust_wcs_to_reference,
    check_wcs,
    resample_to_common_frame,
)
from f2yaml.interpreter.primitives.stack_scaling import ScaleCounts, scale_counts_to_reference
from f2yaml.interpreter.registry import Reported
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from synthetic import Dither, assert_unchanged, dither, flat_frame, frame, snapshot


# checkWCS -----------------------------------------------------------------------------------
def pointed(number: int, east: float, north: float, wrong: float = 0.0, **more: Any) -> Frame:
    """Return a raw frame at an offset whose header position is `wrong` arcsec too far north."""
    plane = Tan((1.0, 1.0), (150.0, -30.0), ((1 / 3600, 0.0), (0.0, 1 / 3600)))
    ra, dec = plane.to_sky(east, north + wrong)
    wcs = Tan.rounded((2.5, 2.5), (float(ra), float(dec)), ((0.0, 5e-5), (5e-5, 0.0)))
    cards = {"POFFSET": east, "QOFFSET": north, "PREPARE": None, **more}
    return frame(np.zeros((4, 4)), name=f"S20200104S{number:04d}.fits", wcs=wcs, **cards)


def test_a_frame_off_its_place_is_flagged_and_none_else() -> None:
    frames = [pointed(1, 0, 0), pointed(2, 10, 5), pointed(3, -10, 5, 2.5), pointed(4, 0, -8)]
    before = snapshot(*frames)
    out = check_wcs(frames, CheckWCS())
    assert out.table is not None
    columns = out.table.columns
    rows = [dict(zip(columns, row, strict=True)) for row in out.table.rows]
    assert [r["flag"] for r in rows] == ["", "", "OFF", ""]
    assert rows[2]["separation"] == pytest.approx(2.5, abs=0.01)
    assert rows[2]["relative"] == pytest.approx(2.5, abs=0.01)
    assert rows[2]["advice"].startswith("will be corrected from sources")
    assert rows[1]["expected_dec"] == pytest.approx(-30 + 5 / 3600, abs=1e-6)
    assert rows[2]["actual_dec"] == pytest.approx(-30 + 7.5 / 3600, abs=1e-6)
    assert out.health == "1 flagged"
    assert out.table.notes == ("1 of 4 frames are off by more than 1 arcsec: S20200104S0003.fits",)
    assert out.frames == frames
    assert_unchanged(before, *frames)


def test_the_limit_can_be_chosen_and_large_errors_are_to_be_taken_out() -> None:
    frames = [pointed(1, 0, 0), pointed(2, 10, 5), pointed(3, -10, 5, 2.5)]
    assert check_wcs(frames, CheckWCS(limit_arcsec=3.0)).health == "0 flagged"
    far = check_wcs([*frames[:2], pointed(4, 5, 5, 40.0)], CheckWCS()).table
    assert far is not None
    assert far.rows[2][-2:] == ("OFF", "take the frame out of the list")


def test_an_error_common_to_all_frames_flags_none() -> None:
    frames = [pointed(n, 5.0 * n, 0, 3.0) for n in range(1, 5)]
    out = check_wcs(frames, CheckWCS())
    assert out.health == "0 flagged"
    assert out.table is not None
    assert {row[5] for row in out.table.rows} == {3.0}


def test_frames_that_are_all_far_off_are_flagged_as_prepare_refuses_them() -> None:
    """Alike, so none is off relative to the others; but the header points elsewhere."""
    frames = [pointed(n, 5.0 * n, 0, 40.0) for n in range(1, 5)]
    out = check_wcs(frames, CheckWCS())
    assert out.health == "4 flagged"
    assert out.table is not None
    advice = "far from where the offsets put it, like its neighbours; check the target"
    assert {row[-2:] for row in out.table.rows} == {("OFF", advice)}


def test_calibrations_and_frames_without_offsets_are_left_out() -> None:
    frames = [
        pointed(1, 0, 0),
        pointed(2, 0, 0, 50.0, OBSTYPE="DARK"),
        pointed(3, 0, 0, 50.0).with_cards(phu={"POFFSET": None}),
        pointed(4, 0, 0, 50.0).with_cards(phu={"POFFSET": -9999.0}),
    ]
    table = check_wcs(frames, CheckWCS()).table
    assert table is not None
    assert [row[0] for row in table.rows] == ["S20200104S0001.fits"]


def test_rotated_instruments_point_along_the_position_angle() -> None:
    """PA 90: Q points east, P south; on the up-looking port P turns round."""
    plane = Tan((1.0, 1.0), (150.0, -30.0), ((1 / 3600, 0.0), (0.0, 1 / 3600)))
    for port, (east, north) in ((5, (7.0, -4.0)), (1, (7.0, 4.0))):
        turned = pointed(1, east, north, PA=90.0, INPORT=port)
        turned = turned.with_cards(phu={"POFFSET": 4.0, "QOFFSET": 7.0})
        table = check_wcs([turned], CheckWCS()).table
        assert table is not None
        ra, dec = plane.to_sky(east, north)
        assert table.rows[0][1:3] == (round(float(ra), 6), round(float(dec), 6))
        assert table.rows[0][5] == 0.0


def test_prepared_frames_are_refused() -> None:
    with pytest.raises(FrameMismatch, match=r"checkWCS: S20200104S0001.fits is prepared already"):
        check_wcs([pointed(1, 0, 0, PREPARE="2020-01-05T00:00:00")], CheckWCS())


# adjustWCSToReference -----------------------------------------------------------------------
rng = np.random.default_rng(7)
STARS = np.column_stack([rng.uniform(15, 185, (2, 20)).T, np.geomspace(2e4, 2e5, 20)])
OFFSETS = [(0.0, 0.0), (6.3, -4.1), (-5.2, 7.7), (8.0, 8.0)]
ERRORS = [(0.0, 0.0), (2.0, -1.0), (-3.5, 0.4), (0.7, 5.0)]


def catalogued(truth: Dither, scatter: float = 0.02) -> list[Frame]:
    """Give each frame the table of its stars, positions good to `scatter` pixels."""
    noise = np.random.default_rng(8)
    made = []
    for image, offset in zip(truth.frames, truth.offsets, strict=True):
        table = np.zeros(len(truth.stars), OBJCAT_DTYPE)
        at = truth.stars[:, :2] + offset + noise.normal(0, scatter, (len(table), 2))
        table["X_IMAGE"], table["Y_IMAGE"] = at.T + 1
        table["ERRX2_IMAGE"] = table["ERRY2_IMAGE"] = scatter**2
        table["FLUX_AUTO"] = truth.stars[:, 2]
        made.append(image.with_(objcat=table))
    return made


def residuals(truth: Dither, frames: Sequence[Frame]) -> np.ndarray:
    """Return by how many pixels the stars of each frame are off in the reference's coordinates."""
    made = []
    for image, offset in zip(frames, truth.offsets, strict=True):
        x, y = truth.stars[:, 0] + offset[0], truth.stars[:, 1] + offset[1]
        there = frames[0].wcs.to_pixel(*image.wcs.to_sky(x, y))
        made.append(np.array(there) - truth.stars[:, :2].T)
    return np.array(made)


def field(**more: Any) -> Dither:
    return dither(OFFSETS, shape=(200, 200), stars=STARS, errors=ERRORS, noise=False, **more)


def test_pointing_errors_are_corrected_from_sources() -> None:
    truth = field()
    frames = catalogued(truth)
    before = snapshot(*frames)
    assert np.abs(residuals(truth, frames)).max() > 4.9
    out = adjust_wcs_to_reference(frames, AdjustWCS())
    # 20 stars of 0.028 pixel each (two frames): 0.0064; five times that
    assert np.abs(residuals(truth, out.frames)).max() < 0.032
    assert out.frames[0].wcs == frames[0].wcs
    assert [f.phu.get("ALIGNNUM") for f in out.frames] == [20, 20, 20, 20]
    assert out.frames[1].phu["ALIGNRMS"] == pytest.approx(0.02, abs=0.01)  # of one frame
    assert "20+ matches" in out.health
    assert out.notes == ()
    assert_unchanged(before, *frames)


def test_offsets_alone_align_frames_whose_headers_err() -> None:
    truth = field()
    out = adjust_wcs_to_reference(truth.frames, AdjustWCS(method="offsets"))
    # offsets in the header are exact here; the affine of the projection is good to 1e-4
    assert np.abs(residuals(truth, out.frames)).max() < 1e-3
    assert out.health == "by offsets"
    assert out.notes == ()


def test_a_frame_with_too_few_sources_falls_back_to_offsets_and_says_so() -> None:
    truth = field()
    frames = catalogued(truth)
    assert frames[2].objcat is not None
    frames[2] = frames[2].with_(objcat=frames[2].objcat[:2])
    out = adjust_wcs_to_reference(frames, AdjustWCS())
    assert np.abs(residuals(truth, out.frames)).max() < 0.032
    (note,) = out.notes
    assert "S20200104S0003_test.fits has too few sources in common" in note
    assert "ALIGNNUM" not in out.frames[2].phu
    with pytest.raises(TooFewSources, match=r"S20200104S0003_test.fits .* fewer than 3 sources"):
        adjust_wcs_to_reference(frames, AdjustWCS(fallback="none"))


def test_a_solution_at_the_edge_of_the_search_is_not_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The sources would fit, but a better shift may lie outside."""
    truth = field()
    align = algorithms.match.align

    def at_the_edge(*args: Any, **more: Any) -> Any:
        found = align(*args, **more)
        assert found is not None
        return replace(found, interior=False)

    monkeypatch.setattr(algorithms.match, "align", at_the_edge)
    out = adjust_wcs_to_reference(catalogued(truth), AdjustWCS())
    assert len(out.notes) == len(truth.frames) - 1
    alone = adjust_wcs_to_reference(catalogued(truth), AdjustWCS(reference="first"))
    assert len(alone.notes) == len(truth.frames) - 1
    with pytest.raises(TooFewSources, match="cannot be aligned from its sources"):
        adjust_wcs_to_reference(catalogued(truth), AdjustWCS(fallback="none"))


def test_the_first_frame_alone_can_be_the_reference() -> None:
    truth = field()
    frames = catalogued(truth)
    out = adjust_wcs_to_reference(frames, AdjustWCS(reference="first"))
    assert np.abs(residuals(truth, out.frames)).max() < 0.032
    assert [f.phu.get("ALIGNNUM") for f in out.frames] == [None, 20, 20, 20]
    assert out.frames[1].phu["ALIGNRMS"] == pytest.approx(0.028, abs=0.015)  # of two frames
    frames[2] = frames[2].with_(objcat=frames[2].objcat[:2])  # type: ignore[index]
    (note,) = adjust_wcs_to_reference(frames, AdjustWCS(reference="first")).notes
    assert "S20200104S0003_test.fits has too few sources in common with S20200104S0001" in note
    with pytest.raises(TooFewSources, match=r"S20200104S0003_test.fits and S20200104S0001"):
        adjust_wcs_to_reference(frames, AdjustWCS(reference="first", fallback="none"))


def test_a_poor_first_frame_keeps_its_grid_but_spoils_no_other() -> None:
    """Its positions are ten times worse, and it has six stars of twenty."""
    truth = field()
    frames = catalogued(truth)
    poor = frames[0].objcat[-6:].copy()  # type: ignore[index]
    poor["X_IMAGE"] += np.random.default_rng(3).normal(0, 0.2, 6)
    poor["Y_IMAGE"] += np.random.default_rng(4).normal(0, 0.2, 6)
    poor["ERRX2_IMAGE"] = poor["ERRY2_IMAGE"] = 0.2**2
    frames[0] = frames[0].with_(objcat=poor)
    spread = {}
    for reference in ("first", "all"):
        out = adjust_wcs_to_reference(frames, AdjustWCS(reference=reference))
        assert out.frames[0].wcs == frames[0].wcs
        off = residuals(truth, out.frames).mean(axis=2)
        # all others are off together, by what the first frame errs: 0.2 / sqrt(6) = 0.08
        assert np.abs(off[1:]).max() < 0.3
        spread[reference] = float(off[1:].std(axis=0).max())
    assert spread["first"] > 0.006  # six stars tie the others to it: 0.02 / sqrt(6) = 0.008
    assert spread["all"] < 0.006  # twenty tie them to each other: 0.0045 and a little more


def test_a_first_frame_without_sources_is_tied_to_the_others_by_offsets() -> None:
    truth = field()
    frames = catalogued(truth)
    frames[0] = frames[0].with_(objcat=frames[0].objcat[:1])  # type: ignore[index]
    out = adjust_wcs_to_reference(frames, AdjustWCS())
    (note,) = out.notes
    assert "S20200104S0001_test.fits has too few sources in common with the other frames" in note
    assert out.frames[0].wcs == frames[0].wcs
    assert [f.phu.get("ALIGNNUM") for f in out.frames] == [None, 20, 20, 20]
    # offsets are exact here; the median of three frames errs by what one of them does
    assert np.abs(residuals(truth, out.frames)).max() < 0.032
    with pytest.raises(TooFewSources, match=r"0001_test.fits and the other frames have fewer than"):
        adjust_wcs_to_reference(frames, AdjustWCS(fallback="none"))


def test_a_turned_frame_is_aligned_where_rotation_is_asked_for() -> None:
    truth = dither([(0, 0), (0, 0)], shape=(200, 200), stars=STARS, noise=False)
    frames = catalogued(truth, scatter=0.005)
    turn = np.deg2rad(0.5)
    assert frames[1].objcat is not None
    table = frames[1].objcat.copy()
    x, y = STARS[:, 0] - 100, STARS[:, 1] - 100
    table["X_IMAGE"] = np.cos(turn) * x - np.sin(turn) * y + 101
    table["Y_IMAGE"] = np.sin(turn) * x + np.cos(turn) * y + 101
    frames[1] = frames[1].with_(objcat=table)
    made = adjust_wcs_to_reference(frames, AdjustWCS(rotate=True)).frames[1]
    back = frames[0].wcs.to_pixel(*made.wcs.to_sky(table["X_IMAGE"] - 1, table["Y_IMAGE"] - 1))
    assert_allclose(back, STARS[:, :2].T, atol=0.02)


def test_frames_without_tables_or_offsets_or_partner_are_refused() -> None:
    truth = field()
    with pytest.raises(FrameMismatch, match=r"S20200104S0001_test.fits has no source table"):
        adjust_wcs_to_reference(truth.frames, AdjustWCS())
    with pytest.raises(TooFewFrames, match="adjustWCSToReference got 1 frame"):
        adjust_wcs_to_reference(truth.frames[:1], AdjustWCS())
    lost = [truth.frames[0], truth.frames[1].with_cards(phu={"POFFSET": None})]
    with pytest.raises(FrameMismatch, match="has no telescope offsets"):
        adjust_wcs_to_reference(lost, AdjustWCS(method="offsets"))
    turned = [truth.frames[0], truth.frames[1].with_cards(phu={"PA": 10.0})]
    with pytest.raises(FrameMismatch, match=r"0002_test.fits has position angle 100 deg, .* 90"):
        adjust_wcs_to_reference(turned, AdjustWCS(method="offsets"))


# scaleCountsToReference ---------------------------------------------------------------------
def test_counts_scale_with_the_exposure_time() -> None:
    """Spec 15.9: 50 in 10 s against 100 in 20 s."""
    frames = [flat_frame(100, t=20, variance=100), flat_frame(50, t=10, variance=100, mask=2)]
    before = snapshot(*frames)
    same, made = scale_counts_to_reference(frames, ScaleCounts())
    assert same is frames[0]
    assert (made.data == 100).all()
    assert made.variance is not None
    assert (made.variance == 400).all()
    assert made.mask is not None
    assert (made.mask == 2).all()
    assert (made.phu["EXPTIME"], made.phu["ORIGTEXP"]) == (20, 10)
    assert_unchanged(before, *frames)


def test_the_time_as_observed_is_noted_once() -> None:
    frames = [flat_frame(1, t=20), flat_frame(1, t=10, ORIGTEXP=5.0)]
    assert scale_counts_to_reference(frames, ScaleCounts())[1].phu["ORIGTEXP"] == 5.0
    assert scale_counts_to_reference([], ScaleCounts()) == []


# resampleToCommonFrame ----------------------------------------------------------------------
def resampled(frames: Sequence[Frame], **params: Any) -> Reported:
    return resample_to_common_frame(frames, ResampleToCommonFrame(**params))


def test_the_grid_holds_all_frames_and_whole_shifts_are_copied() -> None:
    truth = dither([(0, 0), (3, -2)], shape=(20, 24), noise=True)
    before = snapshot(*truth.frames)
    out = resampled(truth.frames)
    first, second = out.frames
    assert out.health == "27 x 22 pix"
    assert first.shape == second.shape == (22, 27)
    # objects of the second frame are 3 to the right and 2 down: it reaches 3 further left, 2 up
    assert_array_equal(first.data[:20, 3:], truth.frames[0].data)
    assert_array_equal(second.data[2:, :24], truth.frames[1].data)
    assert_array_equal(second.variance[2:, :24], truth.frames[1].variance)  # type: ignore[index]
    assert second.mask is not None
    assert (second.mask[:2] == 16).all()
    assert (second.mask[:, 24:] == 16).all()
    assert not second.data[:2].any()
    assert not second.mask[2:, :24].any()
    assert first.wcs.crpix == (truth.frames[0].wcs.crpix[0] + 3, truth.frames[0].wcs.crpix[1])
    assert first.wcs == second.wcs
    assert first.sci["DATASEC"] == "[1:27,1:22]"
    assert (first.sci["VARRATIO"], first.sci["JFACTOR"]) == (1.0, pytest.approx(1.0))
    assert_unchanged(before, *truth.frames)


def test_trimmed_frames_keep_the_size_of_the_first() -> None:
    truth = dither([(0, 0), (3, -2)], shape=(20, 24))
    out = resampled(truth.frames, trim_data=True)
    assert out.health == "24 x 20 pix"
    assert_array_equal(out.frames[0].data, truth.frames[0].data)
    assert out.frames[0].wcs == truth.frames[0].wcs


@settings(max_examples=10, deadline=None)
@given(
    st.floats(-3, 3),
    st.floats(-3, 3),
    st.sampled_from(["linear", "poly3", "poly5", "spline3", "lanczos3"]),
)
def test_stars_keep_place_and_flux(dx: float, dy: float, interpolant: str) -> None:
    stars = [(24.0, 25.0, 10000.0)]
    truth = dither([(0, 0), (dx, dy)], shape=(50, 50), stars=stars, sky=0.0, noise=False)
    made = resampled(truth.frames, interpolant=interpolant, trim_data=True).frames[1]
    y, x = np.mgrid[:50, :50]
    total = float(made.data.sum(dtype=float))
    # weights of lanczos3 sum to one only after normalisation; ripple of a sampled star: 1e-3
    assert total == pytest.approx(10000, rel=2e-3)
    assert float((made.data * x).sum() / total) == pytest.approx(24, abs=0.02)
    assert float((made.data * y).sum() / total) == pytest.approx(25, abs=0.02)


def test_the_variance_is_that_of_the_pixels() -> None:
    """Half a pixel along x, linear: weights 1/2 and 1/2, so half of the variance."""
    truth = dither([(0, 0), (0.5, 0)], shape=(64, 64))
    made = resampled(truth.frames, interpolant="linear", trim_data=True).frames[1]
    inside = np.s_[2:-2, 2:-2]
    assert made.variance is not None
    assert_allclose(made.variance[inside], 0.5 * (1000 + 11.7**2), rtol=1e-4)
    assert made.sci["VARRATIO"] == pytest.approx(0.5, rel=1e-6)
    # 3600 pixels, neighbours correlated by a half: 2.9 %, five times that
    assert made.data[inside].var() == pytest.approx(0.5 * (1000 + 11.7**2), rel=0.15)


def test_a_bad_pixel_does_not_spread_into_its_neighbours() -> None:
    truth = dither([(0, 0), (0.3, 0.4)], shape=(24, 24), noise=False)
    data, flags = truth.frames[1].data.copy(), np.zeros((24, 24), np.uint16)
    data[12, 12], flags[12, 12] = 1e6, 1
    second = truth.frames[1].with_(data=data, mask=flags)
    made = resampled([truth.frames[0], second], trim_data=True).frames[1]
    assert made.mask is not None
    assert int((made.mask[2:-2, 2:-2] & 1).sum()) == 4  # spec 15.10: four at a threshold of 0.1
    assert_allclose(made.data[2:-2, 2:-2], 1000, rtol=1e-5)


def test_object_masks_and_source_tables_move_along() -> None:
    truth = dither([(0, 0), (-2, 1)], shape=(20, 20), noise=False)
    table = np.zeros(1, OBJCAT_DTYPE)
    table["X_IMAGE"], table["Y_IMAGE"] = 9.0, 12.0  # 1-based: (10, 10) of the first, moved
    mask = np.zeros((20, 20), np.uint8)
    mask[11, 8] = 1
    second = truth.frames[1].with_(objmask=mask, objcat=table)
    made = resampled([truth.frames[0], second]).frames[1]
    assert made.objcat is not None
    assert made.objmask is not None
    at = (made.objcat["X_IMAGE"][0] - 1, made.objcat["Y_IMAGE"][0] - 1)
    assert_allclose(at, (10, 11), atol=1e-4)  # the second frame makes the grid begin 1 lower
    assert made.objmask[11, 10] == 1
    assert made.objmask.sum() == 1
    assert table["X_IMAGE"][0] == 9.0


def test_any_rows_asked_for_are_the_rows_of_the_whole() -> None:
    truth = dither([(0, 0), (1.3, -2.6)], shape=(40, 40))
    made = resampled(truth.frames, interpolant="spline3").frames[1]
    whole = made.pixels.whole()
    for start, stop in ((0, 1), (5, 12), (39, made.shape[0])):
        part = made.pixels.rows(start, stop)
        for left, right in zip(part, whole.rows(start, stop), strict=True):
            assert_array_equal(left, right)


def test_unread_rows_of_computed_frames_are_settled_first(tmp_path: Any) -> None:
    truth = dither([(0, 0), (1.5, 0)], shape=(40, 40))
    lazy = [f.map_rows(lambda planes, start, stop: planes) for f in truth.frames]
    engine = Engine(max_memory=0, scratch=tmp_path)
    made = resample_to_common_frame(lazy, ResampleToCommonFrame(), engine=engine).frames[1]
    plain = resampled(truth.frames).frames[1]
    assert_array_equal(made.data, plain.data)
    engine.close()


def test_a_single_frame_has_no_common_grid() -> None:
    with pytest.raises(TooFewFrames, match="resampleToCommonFrame got 1 frame"):
        resampled([flat_frame(1)])
