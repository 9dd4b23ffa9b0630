"""``f2yaml night``: a folder of raw frames, with nothing else, to targets."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from command_line import Night, Program, checksums, edited, planes
from ruamel.yaml import YAML

OTHER: dict[str, Any] = {
    "f2yaml": 1,
    "kind": "scenario",
    "name": "other",
    "doc": "Another target, offset to sky, and one whose dark is missing.",
    "seed": 7,
    "detector": {"nx": 512, "ny": 512, "dust_spots": 2},
    "target": {"object": "NGC/1", "ra_deg": 150.0, "dec_deg": -30.0, "stars": 300, "galaxies": 20},
    "sky": {"level_e_s": 400.0},
    "science": [
        {
            "files": "S20200105S0010-015",
            "filter": "H",
            "exposure_s": 5.0,
            "start_ut": "05:00:00",
            "program": "GS-2020A-Q-101",
            "observation": 8,
            "offsets_pq_arcsec": [[0, 0], [300, 0], [-5, 5], [295, 5], [5, -5], [305, -5]],
        },
        {
            "files": "S20200105S0020-022",
            "filter": "H",
            "exposure_s": 9.0,
            "start_ut": "06:00:00",
            "program": "GS-2020A-Q-101",
            "observation": 9,
            "offsets_pq_arcsec": [[0, 0], [5, 5], [-5, 5]],
        },
    ],
    "darks": [],
    "flats": [
        {
            "files": "S20200109S0010-011",
            "filter": "H",
            "exposure_s": 5.0,
            "start_ut": "14:00:00",
            "observation": 4,
            "lamp": "on",
            "level_e_s": 3000.0,
        },
        {
            "files": "S20200109S0012-013",
            "filter": "H",
            "exposure_s": 5.0,
            "start_ut": "14:10:00",
            "observation": 5,
            "lamp": "off",
            "level_e_s": 200.0,
        },
    ],
}


def jobs(text: str) -> dict[str, dict[str, Any]]:
    return {job["name"]: job for job in json.loads(text)["jobs"]}


@pytest.fixture(scope="module")
def mixed(f2yaml: Program, tiny: Night, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two targets in two filters, one offset to sky, a dark missing, strays, a broken file."""
    folder = tmp_path_factory.mktemp("mixed")
    YAML().dump(OTHER, folder / "other.yaml")
    f2yaml("simulate", "other.yaml", "--out", "raw", cwd=folder)
    raw = folder / "raw"
    for path in tiny.raw.glob("*.fits"):
        shutil.copy(path, raw)
    first = next(iter(tiny.science))

    def acquired(hdus: fits.HDUList) -> None:
        hdus[0].header["OBSCLASS"] = "acq"

    def spectrum(hdus: fits.HDUList) -> None:
        hdus[0].header["GRISM"] = "HK_G5802"
        hdus[0].header["GRISMPOS"] = "HK"

    edited(first, raw / "S20200104S0001.fits", acquired)
    edited(first, raw / "S20200104S0002.fits", spectrum)
    (raw / "S20200104S0003.fits").write_bytes(first.read_bytes()[:5000])
    return raw


def test_a_plan_of_a_mixed_night(f2yaml: Program, mixed: Path, desk: Path) -> None:
    done = f2yaml("night", mixed, "--dry-run", "--json", cwd=desk)
    found = jobs(done.stdout)
    by_kind: dict[str, list[str]] = {}
    for name, job in found.items():
        by_kind.setdefault(job["kind"], []).append(name)
    assert {kind: len(names) for kind, names in by_kind.items()} == {
        "dark": 2,
        "flat": 2,
        "science": 3,
    }
    assert list(dict.fromkeys(job["kind"] for job in found.values())) == ["dark", "flat", "science"]
    thermal, lamp = found["flats_Kred"], found["flats_H"]
    assert len(thermal["inputs"]) == 6  # with the darks of its exposure time
    assert len(lamp["inputs"]) == 4
    deep, beside, short = (
        next(job for job in found.values() if f"S{first}.fits" in job["inputs"][0])
        for first in ("20200104S0075", "20200105S0010", "20200105S0020")
    )
    assert (deep["recipe"], deep["needs"]) == ("ultradeep", ["darks_5s", "flats_Kred"])
    assert (beside["recipe"], beside["needs"]) == ("reduce", ["darks_5s", "flats_H"])
    (why,) = short["missing"]
    assert why == (
        "no processed dark fits: darks_2s has exposure_time 2 s, not 9 s; "
        "darks_5s has exposure_time 5 s, not 9 s"
    )
    said = json.loads(done.stdout)
    assert set(said["leftover"]) == {"S20200104S0001.fits", "S20200104S0002.fits"}
    assert len(said["unreadable"]) == 1
    assert list(desk.iterdir()) == []


def test_a_mixed_night_end_to_end(f2yaml: Program, mixed: Path, tiny: Night, desk: Path) -> None:
    before = checksums([mixed])
    done = f2yaml("night", mixed, "--outdir", "out", "--json", cwd=desk, check=False)
    assert done.returncode == 1  # what is missing is no success
    found = jobs(done.stdout)
    states = [job["status"] for job in found.values()]
    assert sorted(states) == ["done"] * 6 + ["not possible"]
    out = desk / "out"
    products = sorted(str(path.relative_to(out)) for path in out.glob("*/*_image.fits"))
    assert products == [
        "Field-1_K-red_5s/S20200104S0075_image.fits",
        "NGC1_H_5s/S20200105S0010_image.fits",
    ]
    for product in products:
        assert (out / product).with_suffix(".html").stat().st_size > 10_000
    assert checksums([mixed]) == before

    # what a run by hand makes of the same frames
    f2yaml("run", "--inputs", *tiny.darks_5s, cwd=desk)
    f2yaml("run", "--inputs", *tiny.flats, *tiny.darks_2s, cwd=desk)
    f2yaml("run", "ultradeep", "--inputs", *tiny.science, cwd=desk)
    by_hand = planes(desk / "S20200104S0075_image.fits")
    for name, plane in planes(out / products[0]).items():
        np.testing.assert_array_equal(plane, by_hand[name])

    # the same command again does nothing
    again = f2yaml("night", mixed, "--outdir", "out", "--json", cwd=desk, check=False)
    assert {job["status"] for job in jobs(again.stdout).values()} == {"up to date", "not possible"}


def test_a_frame_that_comes_later(f2yaml: Program, tiny: Night, desk: Path) -> None:
    """Only what it touches is done again: of a late dark, the dark and the target."""
    raw = desk / "raw"
    shutil.copytree(tiny.raw, raw)
    late = raw / tiny.darks_5s[-1].name
    late.unlink()
    first = jobs(f2yaml("night", "raw", "--json", "--no-report", cwd=desk).stdout)
    assert {job["status"] for job in first.values()} == {"done"}
    shutil.copy(tiny.darks_5s[-1], late)
    second = jobs(f2yaml("night", "raw", "--json", "--no-report", cwd=desk).stdout)
    assert {name: job["status"] for name, job in second.items()} == {
        "darks_2s": "up to date",
        "darks_5s": "done",
        "flats_Kred": "up to date",
        "sci_images": "done",
    }
    assert second["darks_5s"]["stale"] == f"{late.name} is new"
    (desk / second["flats_Kred"]["products"][0]).unlink()
    (desk / "night.json").chmod(0o644)
    third = jobs(f2yaml("night", "raw", "--json", "--no-report", cwd=desk).stdout)
    assert third["flats_Kred"]["stale"].endswith("is gone or altered")
    assert [job["status"] for job in third.values()].count("done") == 2
    (desk / "night.json").write_text("no journal")
    planned = jobs(f2yaml("night", "raw", "--json", "--dry-run", cwd=desk).stdout)
    assert {job["stale"] for job in planned.values()} == {"not done yet"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_night_goes_on(
    f2yaml: Program, tiny: Night, desk: Path, number: signal.Signals
) -> None:
    process = f2yaml.start("night", tiny.raw, "--no-report", cwd=desk)
    ledger = desk / "night.json"
    for _ in range(600):
        if ledger.exists() and len(json.loads(ledger.read_text())["jobs"]) >= 1:
            break
        time.sleep(0.1)
    os.kill(process.pid, number)
    process.communicate(timeout=60)
    assert process.returncode == 130
    kept = set(json.loads(ledger.read_text())["jobs"])
    assert 0 < len(kept) < 4
    done = jobs(f2yaml("night", tiny.raw, "--json", "--no-report", cwd=desk).stdout)
    assert {name for name, job in done.items() if job["status"] == "up to date"} == kept
    assert {job["status"] for job in done.values()} == {"up to date", "done"}


def test_failures_stop_what_depends_on_them(f2yaml: Program, tiny: Night, desk: Path) -> None:
    raw = desk / "raw"
    shutil.copytree(tiny.raw, raw)
    for path in tiny.darks_5s:  # whole files whose pixels are of no use

        def spoiled(hdus: fits.HDUList) -> None:
            hdus[1].data[:] = 2**31 - 1

        edited(path, raw / path.name, spoiled)
    done = f2yaml("night", "raw", "--json", "--no-report", cwd=desk, check=False)
    assert done.returncode == 1
    found = jobs(done.stdout)
    assert found["flats_Kred"]["status"] == "done"
    if found["darks_5s"]["status"] == "failed":
        assert found["sci_images"]["why"] == "darks_5s has failed"
    else:
        assert found["sci_images"]["status"] == "failed"


@pytest.mark.parametrize(
    ("words", "status", "texts"),
    [
        (["nowhere"], 2, ["nowhere cannot be looked into", "No such file"]),
        (["."], 2, ["there are no FITS files in ."]),
        (["raw", "--recipe", "ultradep"], 2, ["ultradep", "ultradeep"]),
        (["raw", "--rules", "f2_imagin"], 2, ["f2_imagin"]),
        (["raw", "--jobs", "0"], 2, ["--jobs 0"]),
        (["raw", "--max-memory", "lots", "--no-report"], 2, ["--max-memory lots is no size"]),
    ],
)
def test_wrong_requests(
    f2yaml: Program, tiny: Night, desk: Path, words: list[str], status: int, texts: list[str]
) -> None:
    (desk / "raw").symlink_to(tiny.raw)
    done = f2yaml("night", *words, cwd=desk, check=False)
    assert done.returncode == status
    for text in texts:
        assert text in done.stderr
    assert [path.name for path in desk.iterdir()] == ["raw"]
