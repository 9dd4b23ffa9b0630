"""Sky, image quality, positions and zero points measured (spec: primitives 13)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from f2yaml.interpreter.algorithms.detect import OBJCAT_DTYPE
from f2yaml.interpreter.algorithms.tan import Tan
from f2yaml.interpreter.engine import Engine
from f2yaml.interpreter.errors import FrameMismatch, TooFewSources
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.primitives.astrometry import (
    AddReferenceCatalog,
    AstrometricSolution,
    add_reference_catalog,
    check_source,
    determine_astrometric_solution,
)
from f2yaml.interpreter.primitives.iraf import MakeIRAFCompatible, make_iraf_compatible
from f2yaml.interpreter.primitives.quality import (
    MeasureBG,
    MeasureCC,
    MeasureIQ,
    measure_bg,
    measure_cc,
    measure_iq,
)
from f2yaml.interpreter.primitives.sources import DetectSources, detect_sources
from f2yaml.interpreter.refcat import REFCAT_DTYPE, Catalogue
from f2yaml.interpreter.registry import Reported
from moffat import moffat_image, star_grid
from numpy.testing import assert_allclose, assert_array_equal
from synthetic import SCALE, assert_unchanged, flat_frame, frame, snapshot

SIDE, SKY, FWHM, ZP, T = 420, 4000.0, 3.6, 25.6, 5.0
STARS = star_grid(6, 70, 2e4, 1e6, seed=11)
CENTRE = Tan.rounded(((SIDE + 1) / 2, (SIDE + 1) / 2), (150.0, -30.0), ((0.0, SCALE), (SCALE, 0.0)))


def field(*, wcs: Tan = CENTRE, sky: float = SKY, seed: int = 1, **more: Any) -> Frame:
    """Return a frame of 36 Moffat stars on a level sky, with photon and read noise."""
    light = moffat_image((SIDE, SIDE), STARS, FWHM) + sky
    variance = light + 11.7**2
    noise = np.random.default_rng(seed).standard_normal(light.shape) * np.sqrt(variance)
    return frame(light + noise, variance=variance.astype(np.float32), wcs=wcs, **more)


def catalogue() -> Catalogue:
    """Return the true places and magnitudes of the stars."""
    ra, dec = CENTRE.to_sky(STARS[:, 0], STARS[:, 1])
    mag = ZP - 2.5 * np.log10(STARS[:, 2] / T)
    return Catalogue(
        name="truth.csv",
        md5="",
        number=np.arange(1, len(STARS) + 1),
        ra=ra,
        dec=dec,
        columns={"Kred": mag, "e_Kred": np.full(len(mag), 0.01), "J": mag + 1},
    )


def detected(image: Frame) -> Frame:
    return detect_sources(image, DetectSources())


@pytest.fixture(scope="module")
def stars() -> Frame:
    """Return the frame with its sources found."""
    return detected(field())


def rows(made: Reported) -> list[dict[str, Any]]:
    assert made.table is not None
    return [dict(zip(made.table.columns, row, strict=True)) for row in made.table.rows]


# measureBG ----------------------------------------------------------------------------------
def test_the_sky_level_is_that_put_in(stars: Frame) -> None:
    """The noise of the level is 64 / sqrt(150 000) = 0.17; wings of stars outside masks add 0.5."""
    before = snapshot(stars)
    out = measure_bg([stars], MeasureBG())
    assert out.frames[0].sci["SKYLEVEL"] == pytest.approx(SKY, abs=1.5)
    (row,) = rows(out)
    assert row["frame"] == "S20200104S0075"
    assert row["level"] == pytest.approx(SKY, abs=1.5)
    assert row["scatter"] == pytest.approx(np.sqrt(SKY + 11.7**2), rel=0.02)
    assert row["mag_per_arcsec2"] is None  # K-red has no nominal zero point
    assert_unchanged(before, stars)


def test_flagged_pixels_and_objects_do_not_count() -> None:
    data = np.full((100, 100), 500.0)
    data[:40] = 9000.0
    mask, objects = np.zeros((100, 100), int), np.zeros((100, 100), int)
    mask[:20], objects[20:40] = 64, 1
    out = measure_bg([frame(data, mask=mask, objmask=objects)], MeasureBG())
    assert out.frames[0].sci["SKYLEVEL"] == 500.0
    assert out.health == "sky 500.0 electron/pix"


def test_surface_brightness_by_the_best_zero_point_known() -> None:
    """J 26.51: 26.51 - 2.5 log10(1000 / (5 x 0.1792^2)) = 17.02; with 25.51 measured, 16.02."""
    image = flat_frame(1000.0, shape=(32, 32), FILTER1="J_G0802", FILTER2="Open")
    known = image.with_cards(phu={"ZPTOTAL": 25.51})
    out = rows(measure_bg([image, known], MeasureBG(), engine=Engine(jobs=2)))
    assert [row["mag_per_arcsec2"] for row in out] == [17.02, 16.02]
    dark = rows(measure_bg([flat_frame(-1.0, shape=(32, 32))], MeasureBG()))
    assert dark[0]["mag_per_arcsec2"] is None


def test_a_frame_without_sky_pixels_is_refused() -> None:
    with pytest.raises(FrameMismatch, match=r"measureBG: .* has 0 usable sky pixels"):
        measure_bg([flat_frame(1.0, mask=1)], MeasureBG())


# measureIQ ----------------------------------------------------------------------------------
def test_the_width_of_stars_is_that_put_in(stars: Frame) -> None:
    """Within 1 per cent: 30 stars of signal-to-noise 100 and more, 0.5 per cent each."""
    before = snapshot(stars)
    out = measure_iq([stars], MeasureIQ())
    (row,) = rows(out)
    assert row["fwhm_pix"] == pytest.approx(FWHM, rel=0.01)
    assert out.frames[0].phu["MEANFWHM"] == pytest.approx(FWHM * SCALE * 3600, rel=0.01)
    assert row["fwhm_at_zenith"] == pytest.approx(row["fwhm_arcsec"] * 1.1**-0.6, abs=2e-3)
    assert 0 < out.frames[0].phu["MEANELLP"] < 0.06  # round stars; noise makes it positive
    assert 15 <= row["stars"] <= 30
    assert out.health == "FWHM 0.64 arcsec"
    assert out.notes == ()
    assert_unchanged(before, stars)


@pytest.mark.parametrize("fwhm", [2.6, 5.0])
def test_narrow_and_wide_stars(fwhm: float) -> None:
    light = moffat_image((SIDE, SIDE), STARS, fwhm) + SKY
    noise = np.random.default_rng(4).standard_normal(light.shape) * np.sqrt(light)
    out = measure_iq([detected(frame(light + noise, variance=light))], MeasureIQ())
    assert rows(out)[0]["fwhm_pix"] == pytest.approx(fwhm, rel=0.02)


def test_stars_with_neighbours_are_not_measured() -> None:
    """Half of the stars have another of 30 per cent at two widths, within the box of the fit."""
    beside = STARS[::2] * [1, 1, 0.3] + [2 * FWHM, 0, 0]
    light = moffat_image((SIDE, SIDE), np.concatenate([STARS, beside]), FWHM) + SKY
    noise = np.random.default_rng(6).standard_normal(light.shape) * np.sqrt(light)
    out = measure_iq([detected(frame(light + noise, variance=light))], MeasureIQ())
    assert rows(out)[0]["fwhm_pix"] == pytest.approx(FWHM, rel=0.01)
    assert rows(out)[0]["stars"] <= len(STARS) / 2


def test_a_frame_without_stars_is_noted_and_keeps_no_old_value() -> None:
    noise = np.random.default_rng(2).normal(SKY, 64, (80, 80))
    empty = detected(frame(noise, variance=64.0**2, MEANFWHM=0.7, MEANELLP=0.1))
    out = measure_iq([empty], MeasureIQ())
    assert out.notes == ("measureIQ: no star could be measured on S20200104S0075_test.fits",)
    assert "MEANFWHM" not in out.frames[0].phu
    assert "MEANELLP" not in out.frames[0].phu
    assert rows(out)[0]["fwhm_pix"] is None
    assert out.health == "no stars"


def test_a_stack_is_called_one(stars: Frame) -> None:
    out = measure_iq([stars.with_cards(phu={"NCOMBINE": 6})], MeasureIQ(max_stars=3))
    assert rows(out)[0]["frame"] == "S20200104S0075 (stack of 6)"
    assert rows(out)[0]["stars"] <= 3


def test_sources_are_needed() -> None:
    for step, params in ((measure_iq, MeasureIQ()), (measure_cc, MeasureCC())):
        with pytest.raises(FrameMismatch, match="has no source table"):
            step([field()], params)


# addReferenceCatalog ------------------------------------------------------------------------
def test_stars_of_the_catalogue_are_attached(stars: Frame) -> None:
    out = add_reference_catalog([stars], AddReferenceCatalog(source="x"), refcat=catalogue())
    refcat = out.frames[0].refcat
    assert refcat is not None
    assert_array_equal(refcat["Id"], np.arange(1, 37))
    assert_allclose(refcat["filtermag"], ZP - 2.5 * np.log10(STARS[:, 2] / T), atol=1e-5)
    assert out.health == "36+ stars a frame"
    assert out.notes == ()
    assert stars.refcat is None


def test_another_band_and_an_empty_field_are_noted(stars: Frame) -> None:
    far = stars.with_wcs(Tan.rounded(CENTRE.crpix, (150.0, -29.0), CENTRE.cd))
    only = Catalogue("t.csv", "", *(getattr(catalogue(), k) for k in ("number", "ra", "dec")), {
        "Ks": np.full(36, 15.0)
    })  # fmt: skip
    out = add_reference_catalog([stars, far], AddReferenceCatalog(source="x"), refcat=only)
    assert out.notes == (
        "addReferenceCatalog: no star of t.csv lies on S20200104S0075_test.fits",
        "addReferenceCatalog: K-red is compared with Ks of t.csv, without a colour term",
    )
    assert out.health == "0+ stars a frame"


def test_without_a_catalogue_frames_pass_and_the_note_comes_before_the_run(stars: Frame) -> None:
    out = add_reference_catalog([stars], AddReferenceCatalog())
    assert out.frames == [stars]
    (note,) = check_source([stars], AddReferenceCatalog())
    assert note.startswith("addReferenceCatalog: no catalogue is given, so positions stay")
    assert check_source([stars], AddReferenceCatalog(source="x")) == []


# determineAstrometricSolution ---------------------------------------------------------------
def referenced(image: Frame) -> Frame:
    params = AddReferenceCatalog(source="x")
    (made,) = add_reference_catalog([image], params, refcat=catalogue()).frames
    return made


def moved(east: float, north: float) -> Tan:
    """Return coordinates that are wrong by so many arcsec."""
    ra = 150.0 + east / 3600 / np.cos(np.radians(30.0))
    return Tan.rounded(CENTRE.crpix, (ra, -30.0 + north / 3600), CENTRE.cd)


@pytest.mark.parametrize(("east", "north"), [(2.0, 0.0), (-1.2, 1.6), (0.0, 0.0)])
def test_a_wrong_position_is_corrected(stars: Frame, east: float, north: float) -> None:
    """To 0.01 arcsec, 0.06 pixel: 36 centroids of 0.02 pixel each leave a twentieth of that."""
    wrong = referenced(stars.with_wcs(moved(east, north)))
    before = snapshot(wrong)
    out = determine_astrometric_solution([wrong], AstrometricSolution())
    (made,) = out.frames
    x, y = made.wcs.to_pixel(*CENTRE.to_sky(STARS[:, 0], STARS[:, 1]))
    assert_allclose(np.stack([x, y]), STARS[:, :2].T, atol=0.01 / (SCALE * 3600))
    (row,) = rows(out)
    assert (row["moved_east"], row["moved_north"]) == pytest.approx((-east, -north), abs=0.01)
    assert row["stars"] == made.phu["ASTRMNUM"] >= 30
    assert_unchanged(before, wrong)


def test_matched_sources_know_their_star(stars: Frame) -> None:
    given = referenced(stars.with_wcs(moved(2.0, 0.0)))
    assert given.objcat is not None
    stale = given.objcat.copy()
    stale["X_WORLD"] = stale["Y_WORLD"] = 0.0
    (made,) = determine_astrometric_solution(
        [given.with_(objcat=stale)], AstrometricSolution()
    ).frames
    table = made.objcat
    assert table is not None
    matched = table[table["REF_NUMBER"] > 0]
    true = STARS[matched["REF_NUMBER"] - 1]
    assert_allclose(matched["X_IMAGE"] - 1, true[:, 0], atol=0.5)
    assert_allclose(matched["REF_MAG"], ZP - 2.5 * np.log10(true[:, 2] / T), atol=1e-5)
    assert_allclose(matched["REF_MAG_ERR"], 0.01)
    ra, dec = CENTRE.to_sky(true[:, 0], true[:, 1])
    assert_allclose(matched["X_WORLD"], ra, atol=0.1 / 3600)
    assert_allclose(matched["Y_WORLD"], dec, atol=0.1 / 3600)
    rest = table[table["REF_NUMBER"] <= 0]
    assert set(rest["REF_MAG"]) <= {-999.0}


def test_scatters_in_ra_and_dec_are_each_their_own(stars: Frame) -> None:
    """0.05 arcsec put into right ascension, 0.02 into declination; 35 stars know them to 12 %."""
    given = referenced(stars)
    assert given.refcat is not None
    rng = np.random.default_rng(8)
    noisy = given.refcat.copy()
    cosine = np.cos(np.radians(noisy["DEJ2000"]))
    noisy["RAJ2000"] += rng.normal(0, 0.05, len(noisy)) / 3600 / cosine
    noisy["DEJ2000"] += rng.normal(0, 0.02, len(noisy)) / 3600
    out = determine_astrometric_solution([given.with_(refcat=noisy)], AstrometricSolution())
    assert rows(out)[0]["scatter_ra"] == pytest.approx(0.05, rel=0.35)
    assert rows(out)[0]["scatter_dec"] == pytest.approx(0.02, rel=0.35)
    assert out.frames[0].phu["ASTRMSRA"] == pytest.approx(rows(out)[0]["scatter_ra"], abs=1e-3)
    assert out.frames[0].phu["ASTRMSDE"] == pytest.approx(rows(out)[0]["scatter_dec"], abs=1e-3)


def test_no_solution_stops_the_run_unless_the_header_may_stand_in(stars: Frame) -> None:
    """Eight arcsec off, stars of the grid are 12.5 arcsec apart: none is in the search of 5."""
    lost = referenced(stars.with_wcs(moved(8.0, 0.0)).with_cards(phu={"ASTRMNUM": 30}))
    with pytest.raises(TooFewSources, match="in common with its reference catalogue"):
        determine_astrometric_solution([lost], AstrometricSolution())
    params = AstrometricSolution(fallback="header")
    out = determine_astrometric_solution([lost, referenced(stars)], params)
    assert out.notes == (
        "determineAstrometricSolution: S20200104S0075_test.fits has no solution and keeps the "
        "coordinates of its header",
    )
    kept, solved = out.frames
    assert kept.wcs == lost.wcs
    assert kept.objcat is not None
    assert set(kept.objcat["REF_NUMBER"]) == {-999}
    assert "ASTRMNUM" not in kept.phu
    assert [row["stars"] > 0 for row in rows(out)] == [False, True]
    assert solved.phu["ASTRMNUM"] >= 30
    found = determine_astrometric_solution([lost], AstrometricSolution(initial=10.0))
    assert rows(found)[0]["moved_east"] == pytest.approx(-8.0, abs=0.01)


def test_a_solution_at_the_edge_of_the_search_is_refused(stars: Frame) -> None:
    """A step more of search could have found a better one."""
    edge = referenced(stars.with_wcs(moved(4.96, 0.0)))
    with pytest.raises(TooFewSources):
        determine_astrometric_solution([edge], AstrometricSolution())


def test_a_rotation_is_fitted_if_asked(stars: Frame) -> None:
    angle = np.radians(0.5)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.full(2, (SIDE - 1) / 2)
    turned = CENTRE.with_affine_in_front(turn, middle - turn @ middle)
    params = AstrometricSolution(rotate=True)
    (made,) = determine_astrometric_solution([referenced(stars.with_wcs(turned))], params).frames
    x, y = made.wcs.to_pixel(*CENTRE.to_sky(STARS[:, 0], STARS[:, 1]))
    assert_allclose(np.stack([x, y]), STARS[:, :2].T, atol=0.06)


def test_sources_and_catalogue_are_needed(stars: Frame) -> None:
    with pytest.raises(FrameMismatch, match="has no reference catalogue"):
        determine_astrometric_solution([stars], AstrometricSolution())
    foreign = stars.with_(refcat=np.zeros(3, [("RAJ2000", "f8"), ("DEJ2000", "f8")]))
    with pytest.raises(FrameMismatch, match="has no reference catalogue"):
        determine_astrometric_solution([foreign], AstrometricSolution())
    bare = field().with_(refcat=np.zeros(3, REFCAT_DTYPE))
    with pytest.raises(FrameMismatch, match="has no source table"):
        determine_astrometric_solution([bare], AstrometricSolution())


# measureCC ----------------------------------------------------------------------------------
def listed(magnitudes: Any, instrumental: Any, **columns: Any) -> Frame:
    """Return a frame of noise with a table of matched sources."""
    table = np.zeros(len(magnitudes), OBJCAT_DTYPE)
    table["REF_MAG"], table["MAG_AUTO"], table["MAGERR_AUTO"] = magnitudes, instrumental, 0.01
    table["REF_MAG_ERR"], table["ISOAREA_IMAGE"], table["FWHM_IMAGE"] = -999.0, 50, 3.0
    for name, value in columns.items():
        table[name] = value
    return flat_frame(0.0, shape=(20, 20)).with_(objcat=table)


def test_the_zero_point_is_that_put_in(stars: Frame) -> None:
    """Within 0.01 mag: 30 stars of 0.01 mag each, and the flux beyond apertures to 0.004."""
    params = AstrometricSolution()
    (image,) = determine_astrometric_solution([referenced(stars)], params).frames
    before = snapshot(image)
    out = measure_cc([image], MeasureCC())
    header = out.frames[0].phu
    assert header["ZPTOTAL"] == pytest.approx(ZP, abs=0.01)
    # What apertures of MAG_AUTO miss of this profile: 4 per cent of the light.
    assert header["MEANZP"] == pytest.approx(ZP - 0.04, abs=0.02)
    assert 0 < header["ZPERR"] < 0.01
    assert "CLOUDEXT" not in header
    (row,) = rows(out)
    assert (row["nominal"], row["extinction"]) == (None, None)
    assert out.health == f"zero point {row['zeropoint']:.3f} mag"
    assert_unchanged(before, image)


def test_the_arithmetic_of_the_zero_point() -> None:
    """5 s: 20 + 10 - 2.5 log10(5) = 28.2526; the star 0.5 mag off is clipped, the rest is even."""
    out = measure_cc([listed([20.0, 19.0, 18.0, 17.5], [-10.0, -11.0, -12.0, -12.0])], MeasureCC())
    assert out.frames[0].phu["MEANZP"] == pytest.approx(30 - 2.5 * np.log10(5), abs=1e-4)
    assert rows(out)[0]["stars"] == 3
    assert "ZPTOTAL" not in out.frames[0].phu  # nothing in the pixels to fit


def test_weights_follow_the_errors() -> None:
    """Two stars: weights 1 / (0.01^2 + 0.01^2) and 1 / (0.1^2 + 0.01^2), 50.5 to 1."""
    image = listed([20.0, 20.1], [-10.0, -10.0], MAGERR_AUTO=[0.01, 0.1])
    got = measure_cc([image], MeasureCC()).frames[0].phu["MEANZP"]
    expected = 30 - 2.5 * np.log10(5) + 0.1 / 51.5
    assert got == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("FLAGS", 2),
        ("IMAFLAGS_ISO", 4),
        ("NIMAFLAGS_ISO", 2),
        ("MAGERR_AUTO", 0.25),
        ("REF_MAG_ERR", 0.25),
        ("REF_MAG", -999.0),
        ("MAG_AUTO", -999.0),
    ],
)
def test_unfit_stars_are_left_out(column: str, value: float) -> None:
    image = listed([20.0, 20.0, 20.0], [-10.0, -10.0, -10.0])
    assert image.objcat is not None
    table = image.objcat.copy()
    table[column][1] = value
    assert rows(measure_cc([image.with_(objcat=table)], MeasureCC()))[0]["stars"] == 2


def test_many_stars_have_to_be_precise() -> None:
    """An error of 0.15 mag serves where there are five stars or fewer."""
    few = listed([20.0] * 5, [-10.0] * 5, MAGERR_AUTO=0.15)
    assert rows(measure_cc([few], MeasureCC()))[0]["stars"] == 5
    many = listed([20.0] * 6, [-10.0] * 6, MAGERR_AUTO=0.15)
    out = measure_cc([many.with_cards(phu={"MEANZP": 25.0, "CLOUDEXT": 0.1})], MeasureCC())
    assert out.notes == ("measureCC: no star could be measured on S20200104S0075_test.fits",)
    assert {"MEANZP", "CLOUDEXT"}.isdisjoint(out.frames[0].phu)


def test_cloud_is_what_the_nominal_zero_point_has_more() -> None:
    """Stars 0.5 mag fainter than J's nominal 26.51 makes them."""
    image = field(FILTER1="J_G0802", FILTER2="Open", EXPTIME=T)
    given = catalogue()
    cloudy = Catalogue("t", "", given.number, given.ra, given.dec, {
        "J": 26.01 - 2.5 * np.log10(STARS[:, 2] / T)
    })  # fmt: skip
    params = AddReferenceCatalog(source="x")
    (ready,) = add_reference_catalog([detected(image)], params, refcat=cloudy).frames
    (ready,) = determine_astrometric_solution([ready], AstrometricSolution()).frames
    out = measure_cc([ready], MeasureCC())
    assert out.frames[0].phu["CLOUDEXT"] == pytest.approx(0.5, abs=0.01)
    assert rows(out)[0]["nominal"] == 26.51


# makeIRAFCompatible -------------------------------------------------------------------------
def test_headers_get_what_iraf_looks_for_and_pixels_stay() -> None:
    image = flat_frame(3.0).with_cards(sci={"RADESYS": "FK5"})
    made = make_iraf_compatible(image, MakeIRAFCompatible())
    cards = {key: made.phu[key] for key in ("NSCIEXT", "GAIN", "RDNOISE", "SATURATI", "NONLINEA")}
    assert cards == {
        "NSCIEXT": 1,
        "GAIN": 1.0,
        "RDNOISE": 11.7,
        "SATURATI": 158140.24,
        "NONLINEA": 112755.758,
    }
    assert (made.sci["RADECSYS"], made.sci["EQUINOX"]) == ("FK5", 2000.0)
    assert made.pixels is image.pixels
    icrs = make_iraf_compatible(image.with_cards(sci={"RADESYS": "ICRS"}), MakeIRAFCompatible())
    assert (icrs.sci["RADECSYS"], "EQUINOX" in icrs.sci) == ("ICRS", False)
