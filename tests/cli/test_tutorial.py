"""The deep-imaging tutorial, typed as in the documentation, on frames of full size."""

from __future__ import annotations

import bz2
import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from command_line import Night, Program, names, planes
from PIL import Image

IMAGE = "S20200104S0075_image.fits"


@pytest.fixture(scope="module")
def desk(f2yaml: Program, small: Night, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder in which the lists are selected and the calibrations made."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "raw").symlink_to(small.raw)
    for line in (
        "f2yaml caldb init",
        "f2yaml dataselect --tags DARK --expr 'exposure_time==5' raw/*.fits -o darks_5s.list",
        "f2yaml dataselect --tags DARK --expr 'exposure_time==2' raw/*.fits -o darks_2s.list",
        "f2yaml dataselect --tags FLAT --expr \"filter_name=='K-red'\" raw/*.fits "
        "-o flats_Kred.list",
        "f2yaml dataselect --xtags CAL raw/*.fits -o sci_images.list",
        "f2yaml run --inputs @darks_5s.list",
        "f2yaml run --inputs @flats_Kred.list @darks_2s.list",
    ):
        done = f2yaml.shell(line, folder)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    return folder


@pytest.fixture(scope="module")
def deep(f2yaml: Program, desk: Path) -> Path:
    """The image that one run of ultradeep makes."""
    done = f2yaml.shell("f2yaml run ultradeep --inputs @sci_images.list", desk)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{IMAGE}\n"
    return desk / IMAGE


def listed(path: Path) -> list[str]:
    lines = path.read_text().splitlines()
    return [line for line in lines if not line.startswith("#")]


# steps 1 to 5: look and select ----------------------------------------------------------------
def test_typewalk_shows_the_folder(f2yaml: Program, desk: Path) -> None:
    done = f2yaml.shell("f2yaml typewalk -d raw", desk)
    lines = done.stdout.splitlines()
    assert lines[1] == f"directory:  {desk}/raw"
    assert len([line for line in lines if "S2020" in line]) == 14
    dark = next(line for line in lines if "S20200107S0049.fits" in line)
    assert dark == (
        "     S20200107S0049.fits ............... "
        "(CAL) (DARK) (F2) (GEMINI) (RAW) (SOUTH) (UNPREPARED) "
    )
    assert done.returncode == 0


def test_dataselect_and_showd_in_a_pipe(f2yaml: Program, desk: Path) -> None:
    line = "f2yaml dataselect --tags DARK raw/*.fits | f2yaml showd -d exposure_time"
    done = f2yaml.shell(line, desk)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[3:]]
    expected = {"S20200107S003": "2.0", "S20200107S004": "5.0", "S20200107S005": "5.0"}
    assert len(rows) == 6
    assert all(expected[Path(name).name[:13]] == seconds for name, seconds in rows)


def test_lists_have_dragons_comments_and_the_right_files(desk: Path) -> None:
    assert (desk / "darks_5s.list").read_text() == (
        "# Includes tags: ['DARK']\n# Excludes tags: []\n"
        "# Descriptor expression: exposure_time==5\n"
        "raw/S20200107S0049.fits\nraw/S20200107S0050.fits\nraw/S20200107S0051.fits\n"
    )
    assert listed(desk / "flats_Kred.list") == [f"raw/S20200108S{n:04d}.fits" for n in (10, 11, 12)]
    assert listed(desk / "sci_images.list") == [f"raw/S20200104S00{n}.fits" for n in range(75, 80)]


def test_rules_make_the_same_lists(f2yaml: Program, desk: Path, tmp_path: Path) -> None:
    rules = Path(__file__).parents[2] / "recipes" / "rules" / "f2_imaging.yaml"
    done = f2yaml.shell(f"f2yaml dataselect --rules {rules} raw/*.fits --outdir {tmp_path}", desk)
    assert done.returncode == 0, done.stderr
    for path in ("darks_5s.list", "darks_2s.list", "flats_Kred.list", "sci_images.list"):
        files = [desk / name for name in listed(desk / path)]
        assert [desk / name for name in listed(tmp_path / path)] == files
    assert len(names(tmp_path)) == 4


def test_check_wcs_as_text_and_as_data(f2yaml: Program, desk: Path, tiny: Night) -> None:
    done = f2yaml("run", "checkWCS", "--inputs", "@sci_images.list", cwd=desk)
    assert "0 of 5 frames are off by more than 1 arcsec" in done.stdout
    as_data = f2yaml(
        "run", "checkWCS", "--inputs", *tiny.science, "--format", "json", cwd=desk
    ).stdout
    [table] = json.loads(as_data)["tables"]
    off = {row["frame"]: row for row in table["rows"] if row["flag"]}
    # The scenario's header error is 1.6 arcsec East and 1.2 North; headers scatter by 0.05 arcsec.
    assert list(off) == ["S20200104S0079.fits"]
    assert off["S20200104S0079.fits"]["relative"] == pytest.approx(2.0, abs=0.3)
    assert off["S20200104S0079.fits"]["advice"].startswith("will be corrected from sources")
    assert len(table["rows"]) == 6


# steps 6 and 7: calibrations --------------------------------------------------------------------
@pytest.mark.parametrize(
    ("kind", "name", "used", "unit"),
    [
        ("processed_dark", "S20200107S0049_dark.fits", 3, "electron"),
        ("processed_flat", "S20200108S0010_flat.fits", 6, "electron"),
    ],
)
def test_a_processed_calibration(desk: Path, kind: str, name: str, used: int, unit: str) -> None:
    cached = desk / "calibrations" / kind / name
    assert cached.read_bytes() == (desk / name).read_bytes()
    with fits.open(cached) as hdus:
        assert [hdu.name for hdu in hdus] == [
            "PRIMARY",
            "SCI",
            "VAR",
            "DQ",
            "HISTORY",
            "PROVENANCE",
            "FRAMES",
            "RECIPE",
            "STEPS",
            "VALUES",
            "RUNS",
        ]
        assert hdus["SCI"].data.shape == hdus["VAR"].data.shape == hdus["DQ"].data.shape
        assert hdus["SCI"].header["BUNIT"] == unit
        assert hdus[0].header["NCOMBINE"] == 3
        assert len(set(hdus["PROVENANCE"].data["filename"])) == used
        assert np.isfinite(hdus["SCI"].data).all()
        assert (hdus["VAR"].data >= 0).all()


def test_the_flat_has_a_median_of_one(desk: Path) -> None:
    made = planes(desk / "S20200108S0010_flat.fits")
    assert np.median(made["SCI"][made["DQ"] == 0]) == pytest.approx(1, abs=1e-6)  # float32


def test_calibrations_are_entered_in_the_database(f2yaml: Program, desk: Path) -> None:
    rows = json.loads(f2yaml("caldb", "list", "--format", "json", cwd=desk).stdout)
    assert sorted((r["name"], r["type"], r["exposure_time"], r["state"]) for r in rows) == [
        ("S20200107S0049_dark.fits", "processed_dark", 5.0, "present"),
        ("S20200108S0010_flat.fits", "processed_flat", 2.0, "present"),
    ]
    assert {r["folder"] for r in rows} == {
        f"{desk}/calibrations/processed_dark",
        f"{desk}/calibrations/processed_flat",
    }


def test_darks_before_flats_still_choose_the_flat_recipe(
    f2yaml: Program, tiny: Night, tmp_path: Path
) -> None:
    done = f2yaml("run", "--inputs", *tiny.darks_2s, *tiny.flats, cwd=tmp_path)
    assert done.stdout == "S20200108S0010_flat.fits\n"
    made, same = planes(tmp_path / "S20200108S0010_flat.fits"), planes(tiny.flat)
    assert all(np.array_equal(made[name], same[name]) for name in made)


def test_compressed_inputs_give_the_same_pixels(
    f2yaml: Program, tiny: Night, tmp_path: Path
) -> None:
    for path in tiny.darks_5s:
        (tmp_path / f"{path.name}.bz2").write_bytes(bz2.compress(path.read_bytes(), 1))
    done = f2yaml("run", "--inputs", "*.fits.bz2", cwd=tmp_path)
    assert done.stdout == "S20200107S0049_dark.fits\n"
    made, same = planes(tmp_path / "S20200107S0049_dark.fits"), planes(tiny.dark)
    assert all(np.array_equal(made[name], same[name]) for name in made)


# steps 8 and 9: the deep image ------------------------------------------------------------------
def test_the_image_and_its_headers(deep: Path) -> None:
    with fits.open(deep) as hdus:
        assert [hdu.name for hdu in hdus[:4]] == ["PRIMARY", "SCI", "VAR", "DQ"]
        assert hdus["SCI"].header["BUNIT"] == "electron"
        phu = hdus[0].header
        assert (phu["NCOMBINE"], phu["TEXPTIME"], phu["EXPTIME"]) == (5, 25.0, 5.0)
        assert phu["DARKIM"] == "S20200107S0049_dark.fits"
        assert phu["FLATIM"] == "S20200108S0010_flat.fits"
        assert phu["ORIGNAME"] == "S20200104S0075.fits"
        assert "PROCSCI" in phu
        steps = [row["primitive"] for row in hdus["HISTORY"].data]
        assert steps[:7] == [
            "prepare",
            "addDQ",
            "ADUToElectrons",
            "addVAR",
            "nonlinearityCorrect",
            "darkCorrect",
            "flatCorrect",
        ]
        assert steps[-1] == "stackFrames"
        dilated = next(r["args"] for r in hdus["HISTORY"].data if r["primitive"] == "skyCorrect")
        assert json.loads(dilated)["dilation"] == 2.0
        assert set(hdus["PROVENANCE"].data["filename"]) == {
            *(f"S20200104S00{n}.fits" for n in range(75, 80)),
            "S20200107S0049_dark.fits",
            "S20200108S0010_flat.fits",
        }


def test_the_image_is_flat_and_as_noisy_as_its_variance_says(deep: Path) -> None:
    made = planes(deep)
    good = made["DQ"] == 0
    assert good.mean() > 0.5  # F2's circle fills two thirds of the array
    ratio = made["SCI"][good] / np.sqrt(made["VAR"][good])
    # Robust against the sources, which cover under 5 % of the field.
    spread = 1.4826 * np.median(np.abs(ratio - np.median(ratio)))
    assert spread == pytest.approx(1, abs=0.1)
    assert abs(np.median(ratio)) < 0.1


def test_typewalk_knows_the_image(f2yaml: Program, deep: Path) -> None:
    done = f2yaml("typewalk", "-n", "--tags", "PROCESSED_SCIENCE", "--json", cwd=deep.parent)
    [row] = json.loads(done.stdout)
    assert Path(row["file"]).name == IMAGE
    assert {"PROCESSED", "PROCESSED_SCIENCE", "PREPARED", "IMAGE"} <= set(row["tags"])
    assert "RAW" not in row["tags"]


def test_three_parts_give_the_same_pixels(f2yaml: Program, desk: Path, deep: Path) -> None:
    for line in (
        "f2yaml run ultradeep_part1 --inputs @sci_images.list --outdir parts",
        "f2yaml run ultradeep_part2 --inputs parts/*_flatCorrected.fits --outdir parts",
        "f2yaml run ultradeep_part3 --inputs parts/*_objmaskTransferred.fits --outdir parts",
    ):
        done = f2yaml.shell(line, desk)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    frames = [f"S20200104S00{n}" for n in range(75, 80)]
    assert names(desk / "parts") == sorted(
        [
            IMAGE,
            *(f + s for f in frames for s in ("_flatCorrected.fits", "_objmaskTransferred.fits")),
        ]
    )
    one, parts = planes(deep), planes(desk / "parts" / IMAGE)
    for name in ("SCI", "VAR", "DQ"):
        assert np.array_equal(one[name], parts[name]), name


def test_preview_is_a_picture(f2yaml: Program, deep: Path) -> None:
    done = f2yaml("preview", deep.name, "--size", 600, cwd=deep.parent)
    assert done.stdout == "S20200104S0075_image.png\n"
    with Image.open(deep.with_suffix(".png")) as picture:
        picture.load()
        assert picture.format == "PNG"
        assert 400 < picture.width <= 600
        assert len(np.unique(np.asarray(picture.convert("L")))) > 10  # not one grey


def test_nothing_else_is_left_behind(desk: Path, deep: Path) -> None:
    assert deep.exists()
    assert [name for name in names(desk) if Path(name).name.startswith(".")] == []
    assert not list(desk.rglob("*.part"))
