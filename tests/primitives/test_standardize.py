"""Raw exposures become frames with standard headers, quality bits and a variance plane."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from f2_headers import raw_headers
from f2yaml.interpreter.algorithms.tan import Tan
from f2yaml.interpreter.errors import BadInput, FrameMismatch, NotSupported
from f2yaml.interpreter.f2.illumination import illumination_mask
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.primitives.standardize import (
    AddDQ,
    AddVAR,
    Prepare,
    add_dq,
    add_var,
    check_raw,
    prepare,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from synthetic import assert_unchanged, frame, raw_frame, snapshot

#: Spec 15.6, LNRS 1: the ADU that every step of the chain is given.
ADU = [-10, 0, 10, 100, 1000, 5000, 10000, 20000, 25199, 25200, 30000, 34999, 35000, 40000]
LEVELS = {"BUNIT": "adu", "GAIN": 4.44, "SATLEVEL": 35000, "NONLINEA": 25200}


def raw(kind: str = "A", data: Any = None, **cards: Any) -> Frame:
    return raw_frame(raw_headers(kind, **cards), np.zeros((4, 4)) if data is None else data)


def adu(data: Any, **more: Any) -> Frame:
    return frame(np.atleast_2d(data), sci=LEVELS, variance=None, mask=None, **more)


# prepare ------------------------------------------------------------------------------------
def test_integers_become_floats_of_the_same_value() -> None:
    given = raw(data=[[-3, 0], [7, 2_000_000]])
    before = snapshot(given)
    out = prepare(given, Prepare())
    assert out.data.dtype == np.float32
    assert out.data.tolist() == [[-3, 0], [7, 2_000_000]]
    assert out.pixels.present == {"data"}
    assert_unchanged(before, given)


def test_standard_headers_say_what_the_detector_did() -> None:
    out = prepare(raw(), Prepare())
    expected = {
        "BUNIT": "adu",
        "GAIN": 4.44,
        "RDNOISE": 11.7,
        "SATLEVEL": 35000,
        "NONLINEA": 25200,
        "DATASEC": "[1:4,1:4]",
        "RADESYS": "FK5",
        "EXTNAME": "SCI",
        "CUNIT1": "deg",
    }
    assert {key: out.sci[key] for key in expected} == expected
    assert out.phu["ORIGNAME"] == "S20200104S0076.fits"
    assert out.phu["FILTER"] == "K-red"
    assert out.phu["PROCSOFT"] == "f2yaml"
    # the header of the telescope has 0 for RDNOISE and 4.44 for every read mode: not kept
    assert "RDNOISE" not in out.phu
    assert "GAIN" not in out.phu
    assert not {"CD3_3", "NAXIS3", "RADECSYS"} & set(out.sci)
    assert_allclose(out.phu["PIXSCALE"], 4.9778e-05 * 3600, rtol=1e-9)


def test_four_read_pairs_have_their_own_figures() -> None:
    out = prepare(raw(LNRS=4), Prepare())
    assert out.sci["GAIN"] == pytest.approx(1.11)
    assert out.sci["RDNOISE"] == 6.0
    assert out.sci["SATLEVEL"] == 140000


@pytest.mark.parametrize(("lnrs", "text"), [(3, "LNRS = 3 is no read mode"), (None, "LNRS")])
def test_an_unknown_read_mode_is_refused(lnrs: int | None, text: str) -> None:
    with pytest.raises(BadInput, match=text):
        check_raw([raw(LNRS=lnrs)], Prepare())
    with pytest.raises(BadInput, match="LNRS"):
        prepare(raw(LNRS=lnrs), Prepare())


def test_a_frame_without_exposure_time_is_refused() -> None:
    with pytest.raises(BadInput, match=r"S20200104S0076.fits has no keyword EXPTIME"):
        check_raw([raw(EXPTIME=None)], Prepare())


def test_spectroscopy_and_other_instruments_are_refused() -> None:
    with pytest.raises(NotSupported, match="it is a spectrum"):
        check_raw([raw(GRISM="JH_G5801", DECKER="Long_slit", MOSPOS="2pix-slit")], Prepare())
    with pytest.raises(BadInput, match="GMOS"):
        check_raw([raw(INSTRUME="GMOS-S")], Prepare())


def test_a_frame_without_world_coordinates_is_refused() -> None:
    headers = raw_headers("A", sci={"CTYPE1": None})
    with pytest.raises(BadInput, match="projection none / DEC--TAN"):
        prepare(raw_frame(headers, np.zeros((2, 2))), Prepare())


def pointed(east: float, north: float, number: int = 1, *, wrong: float = 0.0) -> Frame:
    """A raw frame at an offset (arcsec) whose position in the header is `wrong` arcsec north."""
    at = Tan((1.0, 1.0), (150.0, -30.0), ((1 / 3600, 0.0), (0.0, 1 / 3600)))
    ra, dec = at.to_sky(east, north + wrong)
    headers = raw_headers(
        "A",
        sci={"CRVAL1": float(ra), "CRVAL2": float(dec)},
        POFFSET=east,
        QOFFSET=north,
        DHSLABEL=f"S20200104S{number:04d}",
    )
    return raw_frame(headers, np.zeros((4, 4)))


def test_positions_that_agree_with_the_offsets_pass() -> None:
    places = [(0, 0), (10, 10), (-15, 5)]
    frames = [pointed(p, q, n) for n, (p, q) in enumerate(places, 1)]
    assert check_raw(frames, Prepare()) == []


def test_one_frame_off_by_more_than_the_alignment_can_mend_is_named() -> None:
    frames = [pointed(0, 0, 1), pointed(10, 0, 2), pointed(0, 10, 3, wrong=6.0)]
    with pytest.raises(
        BadInput, match=r"contradict .* S20200104S0003.fits \(6.0 arcsec\)"
    ) as error:
        check_raw(frames, Prepare())
    assert "S0001" not in str(error.value)
    assert "prepare:bad_wcs=ignore" in str(error.value)
    (note,) = check_raw(frames, Prepare(bad_wcs="ignore"))
    assert "are kept, as bad_wcs=ignore asks: S20200104S0003.fits (6.0 arcsec)" in note
    assert check_raw(frames, Prepare(relative_limit_arcsec=6.5)) == []


def test_an_error_common_to_all_frames_counts_only_beyond_the_absolute_limit() -> None:
    def off(by: float) -> list[Frame]:
        return [pointed(10.0 * n, 0, n, wrong=by) for n in range(1, 4)]

    assert check_raw(off(29.0), Prepare()) == []
    with pytest.raises(BadInput, match=r"S20200104S0001.fits"):
        check_raw(off(31.0), Prepare())
    assert check_raw(off(31.0), Prepare(limit_arcsec=32.0)) == []


def test_darks_and_flats_need_no_pointing() -> None:
    assert check_raw([raw("B"), raw("C")], Prepare()) == []


# addDQ --------------------------------------------------------------------------------------
def test_levels_give_the_flags_of_the_specification() -> None:
    out = add_dq(adu(ADU), AddDQ(add_illum_mask=False))
    assert out.mask is not None
    assert out.mask.dtype == np.uint16
    assert out.mask.tolist() == [[0] * 9 + [2, 2, 2, 4, 4]]


def test_reversed_levels_give_no_non_linear_flag() -> None:
    made = adu(ADU).with_cards(sci={"NONLINEA": 36000})
    out = add_dq(made, AddDQ(add_illum_mask=False))
    assert out.mask is not None
    assert out.mask.tolist() == [[0] * 12 + [4, 4]]


def test_only_a_core_enclosed_by_saturated_pixels_is_hidden_saturation() -> None:
    """A 5 x 5 hole in a non-linear block stays as it is (the reference flags it); one in a
    saturated ring is flagged."""
    image = np.full((40, 60), 20000.0)
    image[5:20, 5:20] = 26000
    image[10:15, 10:15] = 12000
    image[5:14, 35:44] = 36000
    image[8:11, 38:41] = 12000
    out = add_dq(adu(image), AddDQ(add_illum_mask=False))
    expected = np.zeros(image.shape, np.uint16)
    expected[5:20, 5:20] = 2
    expected[10:15, 10:15] = 0
    expected[5:14, 35:44] = 4
    assert_array_equal(out.mask, expected)


def test_all_masks_are_combined_and_none_is_changed() -> None:
    given = adu(np.full((64, 64), 100.0))
    bits = np.zeros((64, 64), np.int16)
    bits[30, 30:33] = 1
    user = np.zeros((64, 64), np.uint8)
    user[30, 32:35] = 8
    static, own = (
        frame(b, variance=None, mask=None, BPMASK="2020-01-01", OBJECT="BPM") for b in (bits, user)
    )
    before = snapshot(given, static, own)
    out = add_dq(given, AddDQ(), bpm=static, user_bpm=own)
    assert_unchanged(before, given, static, own)
    expected = illumination_mask((64, 64))
    expected[30, 30:35] |= np.array([1, 1, 9, 8, 8], np.uint16)
    assert_array_equal(out.mask, expected)
    assert out.phu["ILLUMASK"] == "circle"
    again = add_dq(given, AddDQ())
    assert_array_equal(again.mask, illumination_mask((64, 64)))  # the shared circle is untouched


def test_a_named_illumination_mask_replaces_the_circle() -> None:
    given = adu(np.full((8, 8), 100.0))
    plane = np.zeros((8, 8))
    plane[0] = 3
    mask = frame(plane, variance=None, mask=None)
    out = add_dq(given, AddDQ(illum_mask="my.fits"), illum_mask=mask)
    assert out.mask is not None
    assert out.mask[0].tolist() == [64] * 8
    assert not out.mask[1:].any()
    assert out.phu["ILLUMASK"] == "my.fits"


def test_darks_have_no_unilluminated_pixels() -> None:
    out = add_dq(adu(np.full((16, 16), 10.0), OBSTYPE="DARK"), AddDQ())
    assert out.mask is not None
    assert not out.mask.any()
    assert "ILLUMASK" not in out.phu


@pytest.mark.parametrize("which", ["bpm", "user_bpm", "illum_mask"])
def test_a_mask_of_another_shape_is_refused(which: str) -> None:
    other = frame(np.zeros((4, 4)), name="mask.fits", variance=None, mask=None)
    with pytest.raises(
        FrameMismatch, match=r"addDQ: shape of .* is \(8, 8\), of mask.fits \(4, 4\)"
    ):
        add_dq(adu(np.zeros((8, 8))), AddDQ(), **{which: other})


# addVAR -------------------------------------------------------------------------------------
#: Spec 15.6: read and photon noise of ADU, in electrons.
VARIANCE = [
    136.89, 136.89, 181.29, 580.89, 4576.89, 22336.89, 44536.89, 88936.89, 112020.45, 112024.89,
    133336.89, 155532.45, 155536.89, 177736.89,
]  # fmt: skip
#: Spec 15.6: the same while still in ADU.
VARIANCE_ADU = [
    6.9439373, 6.9439373, 9.19619, 29.46646, 232.16916, 1133.0701, 2259.196, 4511.448, 5682.394,
    5682.6196, 6763.7007, 7889.6016, 7889.8267, 9015.953,
]  # fmt: skip


def test_variance_in_electrons_is_that_of_the_specification() -> None:
    given = frame(np.atleast_2d(np.array(ADU) * 4.44), variance=None)
    before = snapshot(given)
    out = add_var(given, AddVAR())
    assert_allclose(out.variance, [VARIANCE], rtol=1e-6)  # the table has seven digits
    assert out.sci["VARNOISE"] == "read, Poisson"
    assert_array_equal(out.data, given.data)
    assert_unchanged(before, given)


def test_variance_in_adu_is_that_of_the_specification() -> None:
    out = add_var(adu(ADU), AddVAR())
    assert_allclose(out.variance, [VARIANCE_ADU], rtol=1e-6)


def test_each_part_of_the_noise_can_be_had_alone() -> None:
    given = frame([[-5.0, 100.0]], variance=None)
    read = add_var(given, AddVAR(poisson_noise=False))
    photon = add_var(given, AddVAR(read_noise=False))
    assert_allclose(read.variance, [[136.89, 136.89]], rtol=1e-6)
    assert_allclose(photon.variance, [[0.0, 100.0]])
    assert (read.sci["VARNOISE"], photon.sci["VARNOISE"]) == ("read", "Poisson")


def test_a_variance_of_nothing_is_refused() -> None:
    with pytest.raises(FrameMismatch, match="neither read_noise nor poisson_noise"):
        add_var(adu(ADU), AddVAR(read_noise=False, poisson_noise=False))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20))
def test_variance_is_never_below_the_read_noise(values: list[float]) -> None:
    out = add_var(frame([values], variance=None), AddVAR())
    assert out.variance is not None
    assert (out.variance >= np.float32(136.89) * (1 - 1e-6)).all()
