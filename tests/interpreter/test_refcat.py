"""Reference catalogues in whatever file and columns."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io.fits import getheader
from astropy.table import Table
from f2yaml.interpreter.algorithms.tan import Tan
from f2yaml.interpreter.errors import BadInput, F2Error, FrameMismatch, RequestError
from f2yaml.interpreter.fits import read_frame, write_frame
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.refcat import REFCAT_DTYPE, check_catalogue, read_catalogue
from numpy.testing import assert_allclose, assert_array_equal
from synthetic import SCALE, frame

RA, DEC = [150.0, 150.01, 149.99], [-30.0, -30.001, -29.999]


def text(tmp_path: Path, content: str, name: str = "stars.csv") -> Path:
    path = tmp_path / name
    path.write_text(content)
    return path


def table(**columns: object) -> Table:
    return Table({"RAJ2000": RA, "DEJ2000": DEC, **columns})


# files --------------------------------------------------------------------------------------
def test_fits_ecsv_and_csv_give_the_same_stars(tmp_path: Path) -> None:
    stars = table(Kmag=[15.0, 16.0, 17.0], e_Kmag=[0.02, 0.03, 0.04])
    made = []
    for name, kind in (("a.fits", "fits"), ("a.ecsv", "ascii.ecsv"), ("a.csv", "ascii.csv")):
        stars.write(tmp_path / name, format=kind)
        made.append(tmp_path / name)
    made.append(tmp_path / "a.fits.gz")
    made[-1].write_bytes(gzip.compress(made[0].read_bytes()))
    for path in made:
        catalogue = read_catalogue(path)
        assert catalogue.name == path.name
        assert_allclose(catalogue.ra, RA)
        assert_allclose(catalogue.dec, DEC)
        assert_array_equal(catalogue.number, [1, 2, 3])
        value, error, column, own = catalogue.magnitudes("Ks")
        assert (list(value), list(error), column, own) == (
            [15.0, 16.0, 17.0],
            [0.02, 0.03, 0.04],
            "Kmag",
            False,
        )


def test_the_content_decides_not_the_ending(tmp_path: Path) -> None:
    path = text(tmp_path, "# stars of a field\nra,dec,ks\n150,-30,14.5\n", "stars.fits")
    assert read_catalogue(path).magnitudes("Ks").value == [14.5]


def test_positions_may_be_sexagesimal_or_in_hours(tmp_path: Path) -> None:
    path = text(tmp_path, "RA,Dec\n10:00:00,-30:00:00\n10:00:02.4,-30:00:03.6\n")
    assert_allclose(read_catalogue(path).ra, [150.0, 150.01])
    assert_allclose(read_catalogue(path).dec, [-30.0, -30.001])
    hours = Table({"ra": [10.0], "dec": [-30.0]}, units={"ra": "hourangle", "dec": "deg"})
    hours.write(tmp_path / "h.ecsv", format="ascii.ecsv")
    assert_allclose(read_catalogue(tmp_path / "h.ecsv").ra, [150.0])


def test_rows_without_a_position_are_left_out_and_keep_their_number(tmp_path: Path) -> None:
    path = text(tmp_path, "ra,dec,J\n,-30,14\n-210,-30,15\n150,-91,16\n")
    catalogue = read_catalogue(path)
    assert_array_equal(catalogue.number, [2])
    assert_allclose(catalogue.ra, [150.0])
    assert catalogue.magnitudes("J").value == [15.0]


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        ("nothing", RequestError, "no column for the right ascension"),
        ("ra,K\n1,2\n", RequestError, "no column for the declination"),
        ("ra,dec\nx,y\n", BadInput, "a position in column ra that is none"),
        ("ra,dec\n1,200\n", BadInput, "no star with a position"),
        ("ra,dec\n1,2,3\n", BadInput, "cannot be read as a catalogue"),
        ("", BadInput, "cannot be read as a catalogue"),
        ("SIMPLE  =                    T", BadInput, "cannot be read as a catalogue"),
    ],
)
def test_what_is_no_catalogue_is_refused(
    tmp_path: Path, content: str, kind: type[F2Error], message: str
) -> None:
    with pytest.raises(kind, match=message):
        read_catalogue(text(tmp_path, content))


def test_a_missing_or_binary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read as a catalogue"):
        read_catalogue(tmp_path / "none.csv")
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    with pytest.raises(BadInput, match="cannot be read as a catalogue"):
        read_catalogue(tmp_path / "binary")


# magnitudes ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("filter_name", "columns", "column", "own"),
    [
        ("K-red", ["K-red", "Ks", "K"], "K-red", True),
        ("K-red", ["J", "mag_K"], "mag_K", False),
        ("K-blue", ["k_m", "j_m"], "k_m", False),
        ("J", ["K", "Jmag", "J_mag_err"], "Jmag", True),
        ("YJH", ["Y", "J"], "Y", True),
        ("J-lo", ["J", "H"], "J", False),
        ("H", ["filtermag", "K"], "filtermag", True),
        ("JH", ["J", "JHmag"], "JHmag", True),
    ],
)
def test_the_column_of_a_filter_goes_before_that_of_its_band(
    tmp_path: Path, filter_name: str, columns: list[str], column: str, own: bool
) -> None:
    path = tmp_path / "stars.csv"
    table(**{name: [10.0 + n] * 3 for n, name in enumerate(columns)}).write(path)
    found = read_catalogue(path).magnitudes(filter_name)
    assert (found.column, found.own) == (column, own)
    assert_array_equal(found.value, 10.0 + columns.index(column))


@pytest.mark.parametrize("name", ["e_Kmag", "Kmag_err", "KMAGERR", "err_Kmag", "sigKmag"])
def test_errors_are_found_under_many_names(tmp_path: Path, name: str) -> None:
    path = tmp_path / "stars.csv"
    table(Kmag=[15.0] * 3, **{name: [0.1, 0.2, -999.0]}).write(path)
    assert_array_equal(read_catalogue(path).magnitudes("Ks").error, [0.1, 0.2, np.nan])


def test_no_column_for_a_filter_says_what_there_is(tmp_path: Path) -> None:
    path = tmp_path / "stars.csv"
    table(Jmag=[15.0] * 3, name=["a", "b", "c"]).write(path)
    catalogue = read_catalogue(path)
    with pytest.raises(RequestError, match="no magnitudes for the filter H") as caught:
        catalogue.magnitudes("H")
    assert caught.value.problems[0].why == "its columns of numbers are RAJ2000, DEJ2000, Jmag"
    assert "or call it hmag" in caught.value.problems[0].fix
    assert catalogue.magnitudes("H", "jmag").column == "Jmag"
    with pytest.raises(RequestError, match="has no column Hmag"):
        catalogue.magnitudes("J", "Hmag")


# frames -------------------------------------------------------------------------------------
def here(**more: object) -> Frame:
    """Return a frame of 64 x 64 pixels at the middle star; +x is north, +y east."""
    return frame(np.zeros((64, 64)), **more)


def test_stars_on_and_around_a_frame(tmp_path: Path) -> None:
    """Half a side is 5.7 arcsec, the margin 30: a star 35 arcsec north is on it, one at 37 not."""
    path = tmp_path / "stars.csv"
    dec = -30.0 + np.array([0.0, 35.0, 37.0]) / 3600
    Table({"ra": [150.0] * 3, "dec": dec, "Ks": [15.0, np.nan, 17.0]}).write(path)
    stars = read_catalogue(path).on_frame(here())
    assert stars.dtype == REFCAT_DTYPE
    assert_array_equal(stars["Id"], [1, 2])
    assert_allclose(stars["DEJ2000"], dec[:2])
    assert_allclose(stars["filtermag"], [15.0, -999.0])
    assert_allclose(stars["filtermag_err"], -999.0)
    near = read_catalogue(path).on_frame(here(), radius_deg=36.0 / 3600)
    assert_array_equal(near["Id"], [1, 2])
    assert len(read_catalogue(path).on_frame(here(), radius_deg=1.0 / 3600)) == 1


def test_a_catalogue_of_another_field_is_refused_before_any_work(tmp_path: Path) -> None:
    path = tmp_path / "stars.csv"
    table(Ks=[15.0] * 3).write(path)
    check_catalogue(path, [here()])
    far = Tan.rounded((32.5, 32.5), (150.0, -29.0), ((0.0, SCALE), (SCALE, 0.0)))
    check_catalogue(path, [here(), here(wcs=far)])  # a sky field may lie outside
    with pytest.raises(FrameMismatch, match=r"no star in the field .* 1\.00 deg away"):
        check_catalogue(path, [here(wcs=far)])
    with pytest.raises(RequestError, match="no magnitudes for the filter J"):
        check_catalogue(path, [here(FILTER1="J_G0802", FILTER2="Open")])


def test_refcat_survives_the_file(tmp_path: Path) -> None:
    stars = np.zeros(2, REFCAT_DTYPE)
    stars["Id"], stars["RAJ2000"], stars["filtermag"] = [4, 7], [150.1, 150.2], [15.0, 16.5]
    written = write_frame(replace(here(), refcat=stars), tmp_path / "x.fits")
    back = read_frame(written).refcat
    assert back is not None
    assert_array_equal(back, stars)
    header = getheader(written, "REFCAT")
    assert "EXTVER" not in header
    assert [header["TUNIT2"], header["TUNIT4"]] == ["deg", "mag"]
    assert read_frame(write_frame(here(), tmp_path / "y.fits")).refcat is None
