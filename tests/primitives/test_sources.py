"""Sources found and masked, and masks carried to other frames (spec: primitives, section 9)."""

from __future__ import annotations

import numpy as np
import pytest
from f2yaml.interpreter.errors import FrameMismatch, TooFewFrames
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.primitives.sources import (
    DetectSources,
    DilateObjectMask,
    TransferObjectMask,
    detect_sources,
    dilate_object_mask,
    transfer_object_mask,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from synthetic import assert_unchanged, dither, flat_frame, snapshot

STARS = np.array(
    [
        (30.3, 40.6, 30000.0),
        (90.8, 25.2, 60000.0),
        (60.0, 95.5, 45000.0),
        (100.1, 100.4, 90000.0),
    ]
)


def field(**more: object) -> Frame:
    """Four stars on a subtracted sky with the noise of 1000 electrons."""
    (made,) = dither([(0, 0)], shape=(128, 128), stars=STARS, **more).frames  # type: ignore[arg-type]
    return made.with_(data=made.data - np.float32(1000))


# detectSources ------------------------------------------------------------------------------
def test_stars_are_found_where_they_are() -> None:
    given = field()
    before = snapshot(given)
    out = detect_sources(given, DetectSources())
    assert out.objcat is not None
    assert len(out.objcat) == len(STARS)
    assert out.phu["NSOURCES"] == len(STARS)
    order = np.argsort(out.objcat["FLUX_AUTO"])
    x, y = out.objcat["X_IMAGE"][order] - 1, out.objcat["Y_IMAGE"][order] - 1
    expected = STARS[np.argsort(STARS[:, 2])]
    # centring error of the faintest: 0.6 fwhm / (S/N) = 0.6 * 4 / 80 = 0.03; five times that
    assert_allclose(x, expected[:, 0], atol=0.15)
    assert_allclose(y, expected[:, 1], atol=0.15)
    # a 2.5 Kron radius holds 94 % of the light and more
    assert_allclose(out.objcat["FLUX_AUTO"][order], expected[:, 2], rtol=0.08)
    assert out.phu["FWHMPIX"] == pytest.approx(4.0, abs=0.4)
    assert_unchanged(before, given)


def test_positions_on_the_sky_are_those_of_the_header() -> None:
    out = detect_sources(field(), DetectSources())
    assert out.objcat is not None
    x, y = out.wcs.to_pixel(out.objcat["X_WORLD"], out.objcat["Y_WORLD"])
    assert_allclose(x, out.objcat["X_IMAGE"] - 1, atol=1e-6)
    assert_allclose(y, out.objcat["Y_IMAGE"] - 1, atol=1e-6)


def test_the_mask_covers_stars_and_little_else() -> None:
    out = detect_sources(field(), DetectSources())
    assert out.objmask is not None
    assert out.objmask.dtype == np.uint8
    y, x = np.mgrid[:128, :128]
    near = np.zeros((128, 128), bool)
    for x0, y0, _ in STARS:
        r = np.hypot(x - x0, y - y0)
        assert out.objmask[r < 3].all()  # 1.5 sigma of the profile
        near |= r < 16
    assert not out.objmask[~near].any()


def test_other_planes_are_kept() -> None:
    given = field()
    out = detect_sources(given, DetectSources())
    assert out.data is given.data
    assert out.variance is given.variance
    assert out.mask is given.mask


def test_flagged_pixels_are_no_sources() -> None:
    given = field()
    hot = given.data.copy()
    hot[60:66, 20:26] = 50000
    flags = np.zeros(hot.shape, np.uint16)
    flags[60:66, 20:26] = 1
    free = detect_sources(given.with_(data=hot.copy()), DetectSources())
    hidden = detect_sources(given.with_(data=hot, mask=flags), DetectSources())
    assert (free.phu["NSOURCES"], hidden.phu["NSOURCES"]) == (5, 4)


def test_saturated_stars_are_still_sources() -> None:
    given = field()
    flags = np.zeros(given.shape, np.uint16)
    flags[38:44, 28:34] = 4
    assert detect_sources(given.with_(mask=flags), DetectSources()).phu["NSOURCES"] == 4


@pytest.mark.parametrize("mask", [0, 1])
def test_an_empty_image_has_no_sources_and_no_seeing(mask: int) -> None:
    out = detect_sources(flat_frame(7, shape=(64, 64), mask=mask), DetectSources())
    assert out.phu["NSOURCES"] == 0
    assert "FWHMPIX" not in out.phu
    assert out.objmask is not None
    assert not out.objmask.any()


def test_a_constant_added_changes_nothing_that_is_found() -> None:
    given = field()
    one = detect_sources(given, DetectSources())
    two = detect_sources(given.with_(data=given.data + np.float32(512)), DetectSources())
    assert one.objcat is not None
    assert two.objcat is not None
    assert_allclose(two.objcat["X_IMAGE"], one.objcat["X_IMAGE"], atol=2e-3)
    assert_allclose(two.objcat["FLUX_AUTO"], one.objcat["FLUX_AUTO"], rtol=2e-3)


# dilateObjectMask ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("radius", "pixels"), [(0.0, 1), (0.9, 1), (1, 5), (1.5, 9), (2, 13), (3, 29), (10, 317)]
)
def test_a_seed_grows_by_a_disc(radius: float, pixels: int) -> None:
    seed = np.zeros((31, 31), np.uint8)
    seed[15, 15] = 1
    given = flat_frame(1, shape=(31, 31), objmask=seed)
    before = snapshot(given)
    out = dilate_object_mask(given, DilateObjectMask(dilation=radius))
    assert out.objmask is not None
    assert int(out.objmask.sum()) == pixels
    assert out.objmask[15, 15] == 1
    assert_unchanged(before, given)


def test_a_frame_without_mask_cannot_be_dilated() -> None:
    with pytest.raises(FrameMismatch, match=r"dilateObjectMask: .* has no object mask"):
        dilate_object_mask(flat_frame(1), DilateObjectMask())


# transferObjectMask -------------------------------------------------------------------------
def carried(offset: tuple[float, float], mask: np.ndarray, **params: float) -> np.ndarray:
    """Return the mask of the first frame on a frame whose objects are moved by `offset`."""
    deep, target = dither([(0, 0), offset], shape=mask.shape, noise=False).frames
    deep = deep.with_(objmask=mask)
    before = snapshot(deep, target)
    out = transfer_object_mask({"from": [deep], "to": [target]}, TransferObjectMask(**params))
    assert_unchanged(before, deep, target)
    (made,) = out.frames["to"]
    assert made.data is target.data
    assert made.objmask is not None
    return np.asarray(made.objmask)


def block(shape: tuple[int, int] = (32, 32)) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    mask[15:18, 15:18] = 1
    return mask


def test_a_mask_moves_with_the_objects() -> None:
    out = carried((4, -3), block(), dilation=0.0)
    assert_array_equal(out, np.roll(block(), (-3, 4), (0, 1)))


def test_a_fraction_of_a_pixel_widens_the_mask_as_measured() -> None:
    """Spec 9.4: a 3 x 3 mask maps to 5 x 8 pixels for a shift of 0.56 along one axis."""
    out = carried((0.56, 0.0), block())
    rows, columns = np.nonzero(out)
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (5, 8)
    assert out.sum() == 40


def test_nothing_is_masked_outside_the_deep_frame() -> None:
    out = carried((20, 0), np.ones((32, 32), np.uint8), dilation=0.0)
    assert not out[:, :19].any()
    assert out[:, 21:].all()


@settings(max_examples=15, deadline=None)
@given(st.floats(-5, 5), st.floats(-5, 5))
def test_no_object_escapes_the_carried_mask(dx: float, dy: float) -> None:
    out = carried((dx, dy), block())
    assert out[round(16 + dy), round(16 + dx)] == 1
    assert 9 <= out.sum() <= 64


def test_an_old_mask_is_replaced_and_the_share_is_told() -> None:
    deep, one, two = dither([(0, 0)] * 3, shape=(32, 32)).frames
    deep = deep.with_(objmask=block())
    one = one.with_(objmask=np.ones((32, 32), np.uint8))
    out = transfer_object_mask({"from": [deep], "to": [one, two]}, TransferObjectMask(dilation=0.0))
    for made in out.frames["to"]:
        assert_array_equal(made.objmask, block())
    assert out.health == "0.9 % masked"  # 9 of 1024


def test_the_mask_of_exactly_one_frame_is_carried() -> None:
    frame = flat_frame(1, objmask=1)
    for streams, text in (
        ({"from": [], "to": [frame]}, "got 0 deep frames and 1 frames"),
        ({"from": [frame, frame], "to": [frame]}, "got 2 deep frames"),
        ({"from": [frame], "to": []}, "and 0 frames to mask"),
    ):
        with pytest.raises(TooFewFrames, match=text):
            transfer_object_mask(streams, TransferObjectMask())
    with pytest.raises(FrameMismatch, match=r"transferObjectMask: .* has no object mask"):
        transfer_object_mask({"from": [flat_frame(1)], "to": [frame]}, TransferObjectMask())
