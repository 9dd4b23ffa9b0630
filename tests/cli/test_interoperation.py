"""Products as other programs read them: astropy, photutils, strict FITS, and viewers like DS9."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import CCDData, VarianceUncertainty
from astropy.table import Table
from astropy.wcs import WCS, FITSFixedWarning
from command_line import Night, Program, cards, edited
from photutils.aperture import CircularAnnulus, CircularAperture, aperture_photometry

IMAGE = "S20200104S0075_image.fits"
PIXELS = ("SCI", "VAR", "DQ", "COVERAGE")


@pytest.fixture(scope="module")
def truth(tiny: Night) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((tiny.raw / "truth.json").read_text())
    return found


@pytest.fixture(scope="module")
def desk(tiny: Night, truth: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a reference catalogue of the stars."""
    folder = tmp_path_factory.mktemp("elsewhere")
    columns = zip(*(truth[k] for k in ("ra", "dec", "mag", "kind")), strict=True)
    stars = [f"{ra},{dec},{mag},0.01" for ra, dec, mag, kind in columns if kind == 0]
    (folder / "stars.csv").write_text("\n".join(["RA,Dec,K-red,e_K-red", *stars]))
    return folder


def reduced(f2yaml: Program, tiny: Night, desk: Path, out: str, *words: object) -> Path:
    given = ("--inputs", *tiny.science, *tiny.user_cal, "--jobs", 1, "--outdir", out)
    done = f2yaml("run", *words, *given, cwd=desk)
    assert done.stdout.splitlines()[-1] == f"{out}/{IMAGE}"
    return desk / out / IMAGE


@pytest.fixture(scope="module")
def plain(f2yaml: Program, tiny: Night, desk: Path) -> Path:
    """The deep image in three parts, without a catalogue."""
    given = ("--jobs", 1, "--outdir", "parts", "--inputs")
    f2yaml("run", "ultradeep_part1", *tiny.user_cal, *given, *tiny.science, cwd=desk)
    f2yaml("run", "ultradeep_part2", *given, "parts/*_flatCorrected.fits", cwd=desk)
    f2yaml("run", "ultradeep_part3", *given, "parts/*_objmaskTransferred.fits", cwd=desk)
    return desk / "parts" / IMAGE


@pytest.fixture(scope="module")
def image(f2yaml: Program, tiny: Night, desk: Path) -> Path:
    """The deep image in one run, with place and zero point measured."""
    return reduced(f2yaml, tiny, desk, "sky", "ultradeep", "--param", "catalog=stars.csv")


@pytest.fixture(scope="module")
def assessed(f2yaml: Program, tiny: Night, desk: Path) -> Path:
    """A stack with all planes and tables."""
    words = ("reduce", "--mode", "qa", "--param", "catalog=stars.csv")
    return reduced(f2yaml, tiny, desk, "qa", *words)


def quiet_wcs(header: fits.Header) -> WCS:
    """Return the coordinates of a header; astropy may fill in a date, but mend nothing else."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*datfix.*", FITSFixedWarning)
        return WCS(header)


# the catalogue ------------------------------------------------------------------------------
def test_a_catalogue_changes_coordinates_and_no_pixel(plain: Path, image: Path) -> None:
    with fits.open(plain) as before, fits.open(image) as after:
        assert [h.name for h in before][:5] == [h.name for h in after][:5] == ["PRIMARY", *PIXELS]
        for name in PIXELS:
            np.testing.assert_array_equal(before[name].data, after[name].data)
            assert before[name].header["CRPIX1"] != after[name].header["CRPIX1"], name
        assert "MEANZP" not in before[0].header
        assert "ADDRECAT" not in before[0].header
        assert "COMMENT" not in before[0].header  # nobody asked for a zero point


def test_place_and_zero_point_are_those_of_the_truth(
    image: Path, plain: Path, truth: dict[str, Any]
) -> None:
    """The header of the first frame, whose coordinates the stack has, is 0.13 arcsec off."""
    header = fits.getheader(image)
    mean = np.mean([f["trans"] for f in truth["frames"]])
    # Eleven stars, some faint, and wings that the clip of the stack may cut (as in test_modes).
    assert header["ZPTOTAL"] == pytest.approx(truth["zp"] + 2.5 * np.log10(mean), abs=0.05)
    assert 0 < header["ZPERR"] < 0.05
    assert header["ASTRMNUM"] >= 10
    assert "ADDRECAT" in header
    assert "stars.csv" in set(Table.read(image, "PROVENANCE")["filename"])
    east, north = truth["frames"][0]["header_error"]
    at = SkyCoord(truth["ra"][0], truth["dec"][0], unit="deg", frame="fk5")
    places = [
        np.array(quiet_wcs(fits.getheader(path, "SCI")).world_to_pixel(at))
        for path in (plain, image)
    ]
    moved = (places[1] - places[0]) * 0.1792  # arcsec: x is north, y is east
    # Eighteen sources of 0.01 arcsec each.
    assert tuple(np.abs(moved)) == pytest.approx((abs(north), abs(east)), abs=0.015)


def test_quick_look_takes_a_catalogue_too(f2yaml: Program, tiny: Night, desk: Path) -> None:
    words = ("reduce", "--mode", "ql", "--param", "catalog=stars.csv")
    header = fits.getheader(reduced(f2yaml, tiny, desk, "ql", *words))
    assert header["ZPTOTAL"] == pytest.approx(25.595, abs=0.06)
    assert header["PROCMODE"] == "ql"


def test_the_last_part_takes_a_catalogue(f2yaml: Program, desk: Path, image: Path) -> None:
    words = ("ultradeep_part3", "--param", "catalog=stars.csv", "--jobs", 1, "--outdir", "last")
    inputs = (desk / "parts").glob("*_objmaskTransferred.fits")
    f2yaml("run", *words, "--inputs", *sorted(inputs), cwd=desk)
    one, last = fits.getheader(image), fits.getheader(desk / "last" / IMAGE)
    for key in ("MEANZP", "ZPTOTAL", "ASTRMNUM", "ASTRMSRA"):
        assert one[key] == last[key], key


def test_a_stack_of_stacks_has_the_exposures_of_all(
    f2yaml: Program, desk: Path, image: Path
) -> None:
    """The same image under another name: every pixel has twice the exposures."""
    edited(image, desk / "twin.fits", cards({"ORIGNAME": "S20200104S0099.fits"}))
    words = ("alignAndStack", "--param", "catalog=stars.csv", "--outdir", "both", "--jobs", 1)
    f2yaml("run", *words, "--inputs", image, "twin.fits", cwd=desk)
    with fits.open(desk / "both" / "S20200104S0075_stack.fits") as both, fits.open(image) as one:
        np.testing.assert_array_equal(both["COVERAGE"].data, 2 * one["COVERAGE"].data)
        assert (both[0].header["NCOMBINE"], both[0].header["TEXPTIME"]) == (12, 60)
        assert both[0].header["ZPTOTAL"] == pytest.approx(one[0].header["ZPTOTAL"], abs=0.01)


# coverage -----------------------------------------------------------------------------------
def test_the_coverage_is_that_of_the_dither(plain: Path, truth: dict[str, Any]) -> None:
    with fits.open(plain) as hdus:
        coverage, bits = hdus["COVERAGE"].data, hdus["DQ"].data
        share = hdus[0].header["REJSHARE"]
        assert hdus["COVERAGE"].header["BITPIX"] == 16
        assert "BUNIT" not in hdus["COVERAGE"].header
    assert coverage.dtype == np.uint16
    assert coverage.max() == 6
    assert (coverage[(bits & 16) != 0] == 0).all()
    assert (coverage[(bits & ~np.uint16(6)) == 0] > 0).all()
    middle = coverage[200:370, 200:370]
    assert np.median(middle) == 6
    # Beyond 4 sigma lie 6e-5 of normal samples; cosmic rays and stars add as much.
    assert 0 < share < 1e-3


# astropy ------------------------------------------------------------------------------------
def test_ccddata_reads_image_noise_flags_and_coordinates(plain: Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*datfix.*", FITSFixedWarning)
        ccd = CCDData.read(plain, hdu="SCI", hdu_uncertainty="VAR", hdu_mask="DQ")
    with fits.open(plain) as hdus:
        np.testing.assert_array_equal(ccd.data, hdus["SCI"].data)
        np.testing.assert_array_equal(ccd.mask, hdus["DQ"].data != 0)
    assert ccd.unit == u.electron
    assert ccd.uncertainty is not None
    assert ccd.wcs.pixel_shape == ccd.data.shape[::-1]
    rate = CCDData(
        ccd.data, unit=ccd.unit, uncertainty=VarianceUncertainty(fits.getdata(plain, "VAR"))
    ).divide(fits.getheader(plain)["EXPTIME"] * u.s)
    assert rate.unit == u.electron / u.s
    assert rate.uncertainty.unit == (u.electron / u.s) ** 2


def test_tables_are_tables(assessed: Path) -> None:
    sources = Table.read(assessed, hdu="OBJCAT")
    assert sources["X_WORLD"].unit == u.deg
    assert len(sources) == fits.getheader(assessed)["NSOURCES"]
    assert Table.read(assessed, hdu="REFCAT")["RAJ2000"].unit == u.deg
    steps = Table.read(assessed, hdu="HISTORY")
    assert steps["primitive"][0] == "prepare"
    assert all(isinstance(json.loads(args), dict) for args in steps["args"])
    files = Table.read(assessed, hdu="PROVENANCE")
    assert all(re.fullmatch("[0-9a-f]{32}", md5) for md5 in files["md5"])
    assert {"S20200104S0075.fits", "stars.csv"} <= set(files["filename"])


def test_sources_lie_where_the_coordinates_of_the_image_say(assessed: Path) -> None:
    sources = Table.read(assessed, hdu="OBJCAT")
    wcs = quiet_wcs(fits.getheader(assessed, "SCI"))
    x, y = wcs.world_to_pixel(SkyCoord(sources["X_WORLD"], sources["Y_WORLD"], frame="fk5"))
    np.testing.assert_allclose(x + 1, sources["X_IMAGE"], atol=1e-3)  # stored as float32
    np.testing.assert_allclose(y + 1, sources["Y_IMAGE"], atol=1e-3)


# photutils ----------------------------------------------------------------------------------
def test_photutils_measures_the_magnitudes_of_the_truth(image: Path, truth: dict[str, Any]) -> None:
    """Bright stars within 1.5 arcsec, by nothing but the file's own header and planes."""
    with fits.open(image) as hdus:
        phu, data = hdus[0].header, hdus["SCI"].data.astype(float)
        sigma = np.sqrt(hdus["VAR"].data) * hdus["SCI"].header["NOISECOR"]
        mask = hdus["DQ"].data != 0
        wcs = quiet_wcs(hdus["SCI"].header)
    ra, dec, mag, kind = (np.array(truth[k]) for k in ("ra", "dec", "mag", "kind"))
    x, y = wcs.world_to_pixel(SkyCoord(ra, dec, unit="deg", frame="fk5"))
    apart = np.hypot(x[:, None] - x, y[:, None] - y) + 1e3 * np.eye(len(x))
    chosen = (kind == 0) & (mag < 17.0) & (apart.min(axis=1) > 25)
    chosen &= np.hypot(x - 283, y - 284) < 200
    assert chosen.sum() >= 4
    places = np.c_[x, y][chosen]
    aperture = CircularAperture(places, r=1.5 / phu["PIXSCALE"])
    table = aperture_photometry(data, aperture, error=sigma, mask=mask)
    ring = CircularAnnulus(places, r_in=15, r_out=22)
    sky = [np.median(m.get_values(data)) for m in ring.to_mask(method="center")]
    flux = np.array(table["aperture_sum"]) - np.array(sky) * aperture.area
    assert (np.array(table["aperture_sum_err"]) > 0).all()
    found = phu["ZPTOTAL"] - 2.5 * np.log10(flux / phu["EXPTIME"])
    # The aperture misses 3 per cent of a Moffat profile; transparencies scatter by 2.
    assert np.median(found - mag[chosen]) == pytest.approx(0.03, abs=0.05)


# strict readers -----------------------------------------------------------------------------
@pytest.mark.parametrize("made", ["plain", "image", "assessed"])
def test_products_obey_the_standard(made: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(made)
    with fits.open(path) as hdus:
        hdus.verify("exception")
        for hdu in hdus:
            for card in hdu.header.cards:
                card.verify("exception")
            assert len(hdu.header.tostring()) % 2880 == 0
        phu = hdus[0].header
        assert phu["NEXTEND"] == len(hdus) - 1
        for which in ("BEG", "AVG", "END"):
            iso = np.datetime64(phu[f"DATE-{which}"])
            days = (iso - np.datetime64("1858-11-17")) / np.timedelta64(1, "D")
            assert phu[f"MJD-{which}"] == pytest.approx(days, abs=1e-8)
    assert path.stat().st_size % 2880 == 0


def test_a_viewer_finds_plain_images_with_one_set_of_coordinates(assessed: Path) -> None:
    with fits.open(assessed, disable_image_compression=True) as hdus:
        images = [hdu for hdu in hdus if isinstance(hdu, fits.ImageHDU)]
        assert [h.name for h in images][:4] == ["SCI", "VAR", "DQ", "OBJMASK"]
        assert "COVERAGE" in [h.name for h in images]
        assert not [h for h in hdus if "ZIMAGE" in h.header]
        first = images[0].header
        for hdu in images:
            header = hdu.header
            assert (header["XTENSION"], header["EXTVER"], header["NAXIS"]) == ("IMAGE", 1, 2)
            assert not [key for key in header if key in ("LTV1", "LTM1_1", "DETSEC", "ARRAYSEC")]
            assert header["DATASEC"] == f"[1:{header['NAXIS1']},1:{header['NAXIS2']}]"
            for key in ("CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2", "CD1_2", "CD2_1", "CTYPE1"):
                assert header[key] == first[key], (hdu.name, key)
            scale = quiet_wcs(header).proj_plane_pixel_scales()[0].to_value("arcsec")
            assert header["PIXSCALE"] == pytest.approx(scale, rel=1e-6)
        assert hdus[0].header["PIXSCALE"] == first["PIXSCALE"]
