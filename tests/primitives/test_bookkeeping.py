"""Streams: copied, cleared, chosen from, and attributes carried between them."""

from __future__ import annotations

import numpy as np
import pytest
from f2yaml.interpreter.errors import FrameMismatch, TooFewFrames
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.primitives.bookkeeping import (
    ClearStream,
    CopyInputs,
    SelectFromInputs,
    TransferAttribute,
    clear_stream,
    copy_inputs,
    select_from_inputs,
    transfer_attribute,
)
from numpy.testing import assert_array_equal
from synthetic import assert_unchanged, dither, flat_frame, snapshot


def named(number: int, level: float = 1.0, suffix: str = "a", **more: object) -> Frame:
    return flat_frame(level, name=f"S20200104S{number:04d}_{suffix}.fits", **more)  # type: ignore[arg-type]


def test_copies_share_their_frames_but_not_the_list() -> None:
    frames = [named(1), named(2)]
    out = copy_inputs(frames, CopyInputs())
    assert out == frames
    assert out is not frames
    assert out[0] is frames[0]


def test_a_cleared_stream_is_empty() -> None:
    assert clear_stream({"from": [named(1)]}, ClearStream()) == {"from": []}


def test_frames_with_any_of_the_tags_are_kept_in_order() -> None:
    frames = [named(1), named(2, OBSTYPE="DARK"), named(3, OBSTYPE="FLAT"), named(4)]
    kept = select_from_inputs(frames, SelectFromInputs(tags=["DARK", "FLAT"]))
    assert [f.root for f in kept] == ["S20200104S0002", "S20200104S0003"]
    assert select_from_inputs(frames, SelectFromInputs(tags=["BPM"])) == []


def carry(sources: list[Frame], targets: list[Frame], attribute: str) -> list[Frame]:
    before = snapshot(*sources, *targets)
    params = TransferAttribute(attribute=attribute)  # type: ignore[arg-type]
    out = transfer_attribute({"from": sources, "to": targets}, params)
    assert_unchanged(before, *sources, *targets)
    made: list[Frame] = out.frames["to"]
    return made


def test_frames_are_paired_by_exposure_not_by_place() -> None:
    masks = {n: np.arange(64).reshape(8, 8) < n for n in (1, 2)}
    sources = [named(n, suffix="s", objmask=masks[n]) for n in (2, 1)]
    made = carry(sources, [named(1), named(2)], "OBJMASK")
    assert [int(f.objmask.sum()) for f in made if f.objmask is not None] == [1, 2]
    assert [f.name for f in made] == ["S20200104S0001_a.fits", "S20200104S0002_a.fits"]


def test_one_frame_serves_all() -> None:
    made = carry([named(9, objmask=1)], [named(1), named(2)], "OBJMASK")
    assert all(f.has("objmask") for f in made)


def test_coordinates_are_carried_alone() -> None:
    here, there = dither([(0, 0), (3, 4)], shape=(8, 8)).frames
    (made,) = carry([there], [here], "wcs")
    assert made.wcs == there.wcs
    assert made.wcs != here.wcs
    assert_array_equal(made.data, here.data)
    assert made.phu["POFFSET"] == here.phu["POFFSET"]


def test_quality_bits_and_source_tables_are_carried() -> None:
    source = named(1, mask=8).with_(objcat=np.arange(3))
    (masked,) = carry([source], [named(1)], "mask")
    assert masked.mask is not None
    assert (masked.mask == 8).all()
    (listed,) = carry([source], [named(1)], "OBJCAT")
    assert_array_equal(listed.objcat, [0, 1, 2])
    assert listed.mask is not None
    assert not listed.mask.any()


@pytest.mark.parametrize(("sources", "targets"), [(2, 3), (0, 1), (0, 0), (1, 0)])
def test_numbers_of_frames_that_do_not_fit_are_refused(sources: int, targets: int) -> None:
    given = [named(n, objmask=1) for n in range(sources)]
    with pytest.raises(TooFewFrames, match=f"has {sources} frames to take from and {targets} to"):
        carry(given, [named(n) for n in range(targets)], "OBJMASK")


def test_frames_of_other_exposures_are_never_paired() -> None:
    sources = [named(1, objmask=1), named(2, objmask=1)]
    with pytest.raises(FrameMismatch, match=r"S20200104S0003_a.fits has no counterpart"):
        carry(sources, [named(1), named(3)], "OBJMASK")


@pytest.mark.parametrize("attribute", ["OBJMASK", "OBJCAT", "mask"])
def test_an_attribute_that_is_not_there_is_an_error(attribute: str) -> None:
    with pytest.raises(FrameMismatch, match=f"S20200104S0001_a.fits has no {attribute}"):
        carry([named(1, mask=None)], [named(1)], attribute)
