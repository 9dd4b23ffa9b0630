"""Flats made from the sky: objects left out, levels matched, and a new identity."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from f2yaml.interpreter.errors import BadInput, FrameMismatch, RequestError, TooFewFrames
from f2yaml.interpreter.primitives.calibration_skyflat import (
    FlatCorrectByStream,
    LabelAsFlat,
    flat_correct_by_stream,
    label_as_flat,
)
from f2yaml.interpreter.primitives.sources import AddObjectMaskToDQ, add_object_mask_to_dq
from f2yaml.interpreter.primitives.stack_scaling import (
    ScaleByIntensity,
    scale_by_intensity,
)
from numpy.testing import assert_allclose, assert_array_equal
from pydantic import ValidationError
from synthetic import assert_unchanged, flat_frame, frame, snapshot


# scaleByIntensity ---------------------------------------------------------------------------
def test_levels_give_the_numbers_of_the_specification() -> None:
    """Spec 15.9: 100, 200 with one pixel flagged, 50; variance 100 each."""
    flagged = np.zeros((8, 8), np.uint16)
    flagged[3, 4] = 1
    level = np.full((8, 8), 200.0)
    level[3, 4] = 9000
    frames = [
        flat_frame(100, variance=100),
        frame(level, variance=100, mask=flagged),
        flat_frame(50, variance=100),
    ]
    before = snapshot(*frames)
    made = scale_by_intensity(frames, ScaleByIntensity()).frames
    good = flagged == 0
    for out, variance in zip(made, (100, 25, 400), strict=True):
        assert (out.data[good] == 100).all()
        assert (out.variance == variance).all()
    assert made[1].data[3, 4] == 4500
    assert_array_equal(made[1].mask, flagged)
    assert_unchanged(before, *frames)


def test_a_section_counts_from_one_and_includes_its_ends() -> None:
    data = np.ones((4, 6))
    data[1, 2:5], data[2, 2:5] = 4, 10  # columns 3 to 5, rows 2 to 3: 7 on average
    frames = [flat_frame(14, shape=(4, 6)), frame(data)]
    made = scale_by_intensity(frames, ScaleByIntensity(section="[3:5,2:3]")).frames
    assert (made[1].data[1:3, 2:5].mean(axis=1) == [8, 20]).all()
    assert (made[1].data[0] == 2).all()


def test_the_median_ignores_a_bright_star() -> None:
    data = np.full((5, 5), 10.0)
    data[2, 2] = 1e6
    frames = [flat_frame(20, shape=(5, 5)), frame(data)]
    made = scale_by_intensity(frames, ScaleByIntensity(scaling="median")).frames
    assert made[1].data[0, 0] == 20


def test_sections_that_make_no_sense_are_refused() -> None:
    for text in ("1:2", "0:2,1:2", "3:2,1:2", "a:b,c:d"):
        with pytest.raises(ValidationError, match="is no section"):
            ScaleByIntensity(section=text)
    with pytest.raises(RequestError, match="is not on the 8 x 8 pixels"):
        scale_by_intensity([flat_frame(1)] * 2, ScaleByIntensity(section="1:9,1:8"))


def test_a_frame_without_level_cannot_be_scaled() -> None:
    with pytest.raises(FrameMismatch, match=r"the mean of 64 good pixels of .* is -5"):
        scale_by_intensity([flat_frame(1), flat_frame(-5)], ScaleByIntensity())
    with pytest.raises(FrameMismatch, match="of 0 good pixels"):
        scale_by_intensity([flat_frame(1), flat_frame(1, mask=64)], ScaleByIntensity())
    alone = flat_frame(-5)
    assert scale_by_intensity([alone], ScaleByIntensity()).frames == [alone]


# addObjectMaskToDQ --------------------------------------------------------------------------
def test_objects_become_bad_pixels_and_the_mask_stays() -> None:
    given = frame([[1, 2, 3, 4]], mask=[[0, 2, 64, 1]], objmask=[[0, 1, 1, 1]])
    before = snapshot(given)
    out = add_object_mask_to_dq(given, AddObjectMaskToDQ())
    assert_array_equal(out.mask, [[0, 3, 65, 1]])
    assert_array_equal(out.objmask, [[0, 1, 1, 1]])
    assert_unchanged(before, given)  # so that the bits without objects can be had again


def test_a_frame_without_bits_gets_them_and_one_without_objects_is_refused() -> None:
    out = add_object_mask_to_dq(frame([[1, 2]], mask=None, objmask=[[0, 1]]), AddObjectMaskToDQ())
    assert_array_equal(out.mask, [[0, 1]])
    with pytest.raises(FrameMismatch, match=r"addObjectMaskToDQ: .* has no object mask"):
        add_object_mask_to_dq(flat_frame(1), AddObjectMaskToDQ())


# flatCorrectByStream ------------------------------------------------------------------------
def test_frames_are_divided_by_the_flat_of_the_run() -> None:
    flat = frame([[2, 0.5]], variance=0, mask=[[0, 64]], name="S20200104S0001_flat.fits")
    frames = [frame([[10, 10]], variance=4), frame([[20, 30]], variance=4)]
    streams = {"from": frames, "flat": [flat]}
    one, two = flat_correct_by_stream(streams, FlatCorrectByStream())["to"]
    assert_array_equal(one.data, [[5, 20]])
    assert_array_equal(two.data, [[10, 60]])
    assert_array_equal(one.variance, [[1, 16]])
    assert_array_equal(one.mask, [[0, 64]])
    assert one.phu["FLATIM"] == flat.name


@pytest.mark.parametrize("flats", [0, 2])
def test_one_flat_is_needed(flats: int) -> None:
    streams = {"from": [flat_frame(1)], "flat": [flat_frame(1)] * flats}
    with pytest.raises(TooFewFrames, match=f"`flat` holds {flats} frames"):
        flat_correct_by_stream(streams, FlatCorrectByStream())


def test_a_flat_of_another_filter_is_refused() -> None:
    streams = {"from": [flat_frame(1)], "flat": [flat_frame(1, FILTER2="J_G0802")]}
    with pytest.raises(FrameMismatch, match="flatCorrectByStream: filter_name"):
        flat_correct_by_stream(streams, FlatCorrectByStream())


# labelAsFlat --------------------------------------------------------------------------------
@pytest.mark.parametrize("program", ["GS-2020A-Q-101", "G-2024A-0123-Q"])
def test_the_identity_is_that_of_a_calibration_whatever_the_programme(program: str) -> None:
    """The reference fails on programme ids of the newer form."""
    cards: dict[str, Any] = {
        "GEMPRGID": program,
        "OBSID": f"{program}-7",
        "DATALAB": f"{program}-7-002-STACK",
    }
    given = flat_frame(1, name="S20200104S0101_stack.fits", **cards)
    before = snapshot(given)
    out = label_as_flat(given, LabelAsFlat())
    assert {k: out.phu[k] for k in (*cards, "OBSTYPE", "OBSCLASS", "OBJECT", "RELEASE")} == {
        "GEMPRGID": "GS-CAL20200104",
        "OBSID": "GS-CAL20200104-900",
        "DATALAB": "GS-CAL20200104-900-101",
        "OBSTYPE": "FLAT",
        "OBSCLASS": "partnerCal",
        "OBJECT": "Flat Frame",
        "RELEASE": "2020-01-04",
    }
    assert (out.phu["RA"], out.phu["DEC"]) == (0, 0)
    assert out.wcs.crval == (0, 0)
    stored = out.with_cards(phu={"PROCFLAT": "2020"})
    assert {"FLAT", "CAL", "PROCESSED", "IMAGE"} <= stored.tags
    assert_allclose(out.data, given.data)
    assert_unchanged(before, given)


def test_a_flat_without_date_belongs_to_no_night() -> None:
    with pytest.raises(BadInput, match="has no date"):
        label_as_flat(flat_frame(1, **{"DATE-OBS": None}), LabelAsFlat())
