"""``f2yaml replay``: a product is made again from what it says of itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from astropy.io import fits
from command_line import Night, Program, edited, names, refused


@pytest.fixture(scope="module")
def product(f2yaml: Program, tiny: Night, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stack made with settings of the command line; beside it the calibrations."""
    folder = tmp_path_factory.mktemp("product")
    shutil.copytree(tiny.database.parent, folder / "calibrations")
    f2yaml(
        *("run", "ultradeep", "--inputs", *tiny.science, *tiny.user_cal, "--suffix", "_deep"),
        *("-p", "skyCorrect:dilation=3", "--param", "time=500"),
        cwd=folder,
    )
    return folder / "S20200104S0075_deep.fits"


def test_a_product_is_made_again_bit_for_bit(
    f2yaml: Program, tiny: Night, product: Path, desk: Path
) -> None:
    done = f2yaml("replay", product, "--look-in", tiny.raw, "--json", "--jobs", 1, cwd=desk)
    said = json.loads(done.stdout)
    assert said["same"] is True
    assert set(said["planes"]) == {"SCI", "VAR", "DQ", "COVERAGE"}
    assert said["changes"] == []
    assert names(desk) == []
    kept = f2yaml("replay", product, "--look-in", tiny.raw, "--outdir", "again", cwd=desk)
    assert kept.stdout.endswith("the pixels are the same\n")
    assert names(desk) == ["again", f"again/{product.name}"]


def test_what_differs_is_said(f2yaml: Program, tiny: Night, product: Path, desk: Path) -> None:
    """A pixel of the product, a calibration, and a version."""

    def altered(hdus: fits.HDUList) -> None:
        hdus["SCI"].data[300, 300] += 2.5
        rows = hdus["RUNS"].data
        rows["value"][(rows["kind"] == "version") & (rows["name"] == "numpy")] = "1.0"

    home = desk / "home"
    home.mkdir()
    changed = edited(product, home / product.name, altered)
    calibrations = home / "calibrations"
    shutil.copytree(product.parent / "calibrations", calibrations)
    (dark,) = (calibrations / "processed_dark").glob("S20200107S0049*.fits")

    def darker(hdus: fits.HDUList) -> None:
        hdus["SCI"].data[100, 100] += 1e4

    edited(tiny.dark, dark, darker)
    words = ("--look-in", tiny.raw, "--look-in", calibrations / "processed_dark")
    done = f2yaml("replay", changed, *words, "--json", cwd=desk, check=False)
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert said["same"] is False
    assert said["planes"]["SCI"]["pixels"] >= 1
    assert any(text.startswith("numpy is ") and "it was 1.0" in text for text in said["changes"])
    assert any("its checksum is another" in text for text in said["changes"])


def test_what_is_missing_is_named(f2yaml: Program, tiny: Night, product: Path, desk: Path) -> None:
    done = f2yaml("replay", product, cwd=desk, check=False)
    refused(done, 1, f"{tiny.science[0].name} is not there", "--look-in")
    bare = f2yaml("replay", tiny.science[0], cwd=desk, check=False)
    refused(bare, 1, "does not say how it was made", "no table RECIPE")
    assert names(desk) == []


def test_a_run_that_cannot_be_done_says_why(
    f2yaml: Program, tiny: Night, product: Path, desk: Path
) -> None:
    raw = desk / "raw"
    shutil.copytree(tiny.raw, raw)
    spoiled = raw / tiny.science[1].name
    spoiled.write_bytes(spoiled.read_bytes()[:9000])
    done = f2yaml("replay", product, "--look-in", raw, cwd=desk, check=False)
    assert done.returncode == 1
    assert "cannot be done again" in done.stderr
    assert spoiled.name in done.stderr


def test_names_in_a_record_lead_nowhere_else(
    f2yaml: Program, tiny: Night, product: Path, desk: Path
) -> None:
    """A record is input: paths in it are names only."""

    def led_astray(hdus: fits.HDUList) -> None:
        rows = hdus["RUNS"].data
        rows["value"][(rows["kind"] == "input") & (rows["name"] == "0001")] = "/etc/passwd"
        rows["value"][(rows["kind"] == "run") & (rows["name"] == "recipe")] = "../../evil"

    changed = edited(product, desk / product.name, led_astray)
    done = f2yaml("replay", changed, "--look-in", tiny.raw, cwd=desk, check=False)
    refused(done, 1, "passwd is not there")
    assert names(desk) == [product.name]
