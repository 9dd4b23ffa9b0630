"""The table at the end of a run: what it made, how deep, and what there was to warn of."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from command_line import Night, Program, cards, edited
from f2yaml.interpreter.fits import read_frame
from f2yaml.interpreter.summary import faintest, magnitude, summary


@pytest.fixture(scope="module")
def made(
    f2yaml: Program, tiny: Night, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str, str, str]:
    """A folder with an image, what the run said and logged, and its JSON."""
    folder = tmp_path_factory.mktemp("made")
    words = ("run", "ultradeep", "--inputs", *tiny.science, *tiny.user_cal)
    said = f2yaml(*words, "--log", "run.log", cwd=folder).stderr
    logged = (folder / "run.log").read_text()
    return folder, said, logged, f2yaml(*words, "--json", cwd=folder).stdout


def test_the_run_ends_with_a_table(made: tuple[Path, str, str, str]) -> None:
    folder, said, logged, as_json = made
    (path,) = folder.glob("*_image.fits")
    lines = said.splitlines()[-4:]
    assert lines[0] == "Products"
    assert lines[1].split() == [
        "product", "what", "frames", "exposure_s", "sky", "seeing_arcsec", "noise", "star_5sigma",
        "depth_mag",
    ]  # fmt: skip
    assert lines[2].startswith(f"{path.name}   science image   6")
    assert lines[3] == "warnings: none"
    assert [line[20:] for line in logged.splitlines()[-4:]] == lines
    (row,) = json.loads(as_json)["summary"]
    header, sci = fits.getheader(path), fits.getheader(path, "SCI")
    with fits.open(path) as hdus:
        frames = hdus["FRAMES"].data
        noise = math.sqrt(np.median(hdus["VAR"].data[hdus["DQ"].data == 0]))
        assert row["sky"] == pytest.approx(np.median(frames["sky_level"]), abs=0.06)
        assert row["seeing_arcsec"] == pytest.approx(np.median(frames["fwhm"]), abs=6e-4)
    assert row["exposure_s"] == header["TEXPTIME"]
    assert row["noise"] == pytest.approx(noise, rel=0.01)  # from one row in two
    # 5 sigma in an aperture of 1.346 FWHM, which holds 0.715 of the light
    area = math.pi / 4 * (1.346 * row["seeing_arcsec"] / header["PIXSCALE"]) ** 2
    light = 5 * row["noise"] * sci["NOISECOR"] * math.sqrt(area) / 0.715
    assert row["star_5sigma"] == pytest.approx(light, rel=2e-3)
    assert row["depth_mag"] is None  # K-red has no nominal zero point
    assert f"{row['star_5sigma']}" in lines[2]


def test_depth_follows_the_zero_point(made: tuple[Path, str, str, str], tmp_path: Path) -> None:
    """1000 e- in 5 s are 200 e- a second: 5.75 mag brighter than the zero point."""
    (path,) = made[0].glob("*_image.fits")
    frame = read_frame(edited(path, tmp_path / "a.fits", cards({"MEANZP": 25.0, "EXPTIME": 5.0})))
    assert magnitude(frame, 1000.0) == pytest.approx(25.0 - 2.5 * math.log10(200.0))
    in_y = cards({"FILTER1": "Y_G0811", "FILTER2": "Open", "EXPTIME": 5.0})
    frame = read_frame(edited(path, tmp_path / "b.fits", in_y))
    assert magnitude(frame, 1000.0) == pytest.approx(26.73 - 2.5 * math.log10(200.0), abs=0.01)
    assert math.isnan(magnitude(frame, math.nan))
    assert math.isnan(faintest(frame, math.nan, 0.7))
    assert faintest(frame, 2.0, 0.7) == pytest.approx(2 * faintest(frame, 1.0, 0.7))


def test_calibrations_have_no_sky_and_many_products_are_cut(tiny: Night, tmp_path: Path) -> None:
    table = summary([tiny.flat] * 20, warnings=3)
    assert len(table.rows) == 11
    row = dict(zip(table.columns, table.rows[0], strict=True))
    assert row["what"] == "processed flat"
    assert row["sky"] is row["seeing_arcsec"] is row["depth_mag"] is None
    assert row["noise"] > 0
    assert table.notes[0].startswith("20 products in all")
    assert table.notes[-1] == "warnings: 3"


def test_quiet_means_quiet(f2yaml: Program, tiny: Night, tmp_path: Path) -> None:
    done = f2yaml("run", "--quiet", "--inputs", *tiny.darks_5s, cwd=tmp_path)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1
