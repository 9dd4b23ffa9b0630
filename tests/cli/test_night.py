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


@pytest.mark.full
def test_the_tutorial_night_end_to_end(f2yaml: Program, desk: Path) -> None:
    """48 frames of full size in one command: every group is found, nothing is left over."""
    f2yaml("simulate", "tutorial", "--out", "raw", cwd=desk)
    done = f2yaml("night", "raw", "--json", cwd=desk)
    found = jobs(done.stdout)
    assert {name: (job["status"], len(job["inputs"])) for name, job in found.items()} == {
        "darks_2s": ("done", 10),
        "darks_5s": ("done", 10),
        "flats_Kred": ("done", 20),
        "sci_images": ("done", 18),
    }
    said = json.loads(done.stdout)
    assert (said["leftover"], said["unreadable"]) == ({}, [])
    (image,) = desk.glob("*/*_image.fits")
    assert image.with_suffix(".html").stat().st_size > 1_000_000
    with fits.open(image) as hdus:
        assert hdus[0].header["NCOMBINE"] == 18
        assert len(hdus["FRAMES"].data) == 18
        good = hdus["DQ"].data == 0
        pull = hdus["SCI"].data[good] / np.sqrt(hdus["VAR"].data[good])
        # sky is gone, and noise is what VAR says, but for what resampling took from pixels
        assert abs(np.median(pull)) < 0.02
        assert 0.6 < 1.4826 * np.median(np.abs(pull - np.median(pull))) < 1.05


@pytest.mark.full
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


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.full), signal.SIGTERM]
)
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


@pytest.mark.full
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


@pytest.mark.full
def test_settings_go_to_the_runs_that_have_such_a_step(
    f2yaml: Program, tiny: Night, desk: Path
) -> None:
    words = ("night", tiny.raw, "--json", "--no-report")
    given = ("-p", "stackFrames:hsigma=3", "-p", "makeLampFlat:hsigma=4", "-p", "dilation=3")
    first = jobs(f2yaml(*words, *given, cwd=desk).stdout)
    assert {job["status"] for job in first.values()} == {"done"}
    assert {name: job["settings"] for name, job in first.items()} == {
        "darks_2s": [],
        "darks_5s": [],
        "flats_Kred": ["makeLampFlat:hsigma=4"],
        "sci_images": ["stackFrames:hsigma=3", "dilation=3"],
    }
    kept = json.loads((desk / "night.json").read_text())["jobs"]
    assert {name: made["asked"]["options"] for name, made in kept.items()} == {
        "darks_2s": "",
        "darks_5s": "",
        "flats_Kred": "-p makeLampFlat:hsigma=4",
        "sci_images": "-p stackFrames:hsigma=3 -p dilation=3",
    }
    # another value of the target's redoes the target alone; a later one counts
    changed = (*given, "-p", "stackFrames:hsigma=2.5")
    planned = jobs(f2yaml(*words, *changed, "--dry-run", cwd=desk).stdout)
    assert {name: job["stale"] for name, job in planned.items()} == {
        "darks_2s": "",
        "darks_5s": "",
        "flats_Kred": "",
        "sci_images": "options is another",
    }
    assert planned["sci_images"]["settings"] == ["dilation=3", "stackFrames:hsigma=2.5"]
    # so does one of the configuration
    (desk / "own.yaml").write_text(
        "f2yaml: 1\nkind: config\ndefaults: {makeLampFlat: {lsigma: 4.0}}\n"
    )
    planned = jobs(f2yaml(*words, *given, "--config", "own.yaml", "--dry-run", cwd=desk).stdout)
    assert [name for name, job in planned.items() if job["stale"] == "options is another"] == [
        "flats_Kred"
    ]


@pytest.mark.parametrize("more", [pytest.param([], marks=pytest.mark.full), ["--dry-run"]])
@pytest.mark.parametrize(
    ("setting", "texts"),
    [
        (
            "stackFrmes:hsigma=3",
            [
                "recipes makeProcessedDark, makeProcessedFlat, ultradeep have no step `stackFrmes`",
                "the setting would have no effect",
                "did you mean `stackFrames`?",
            ],
        ),
        (
            "stackFrames:hsgma=3",
            ["stackFrames has no parameter `hsgma`", "did you mean `hsigma`?"],
        ),
        ("hsgma=3", ["no step of the recipes has a parameter `hsgma`", "did you mean `hsigma`?"]),
        ("stackFrames:hsigma=much", ["`hsigma` of stackFrames", "its default is"]),
        ("stackFrames:hsigma=-1", ["`hsigma` of stackFrames", "its default is"]),
        ("skip_primitive=True", ["-p skip_primitive=True names no step"]),
        ("hsigma", ["-p hsigma is no setting"]),
    ],
)
def test_settings_that_no_run_takes(
    f2yaml: Program, tiny: Night, desk: Path, setting: str, texts: list[str], more: list[str]
) -> None:
    done = f2yaml("night", tiny.raw, "--outdir", "out", "-p", setting, *more, cwd=desk, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    for text in texts:
        assert done.stderr.count(text) == 1, done.stderr
    assert list(desk.iterdir()) == []


def test_an_exposure_under_two_names_counts_once(f2yaml: Program, tiny: Night, desk: Path) -> None:
    """The copy of a browser comes before the file in the order of letters."""
    raw = desk / "raw"
    shutil.copytree(tiny.raw, raw)
    first, other = tiny.darks_5s[0], tiny.science[0]
    shutil.copy(first, raw / f"{first.stem} (1).fits")
    shutil.copy(other, raw / f"{other.stem} (1).fits")

    def acquired(hdus: fits.HDUList) -> None:
        hdus[0].header["OBSCLASS"] = "acq"

    # what is left over on its own account does not put out a frame that is taken
    edited(other, raw / "S20200104S0001.fits", acquired)
    planned = f2yaml("night", "raw", "--dry-run", "--json", cwd=desk)
    for job in jobs(planned.stdout).values():
        assert not [name for name in job["inputs"] if "(1)" in name]
    sizes = {name: len(job["inputs"]) for name, job in jobs(planned.stdout).items()}
    assert sizes["darks_5s"] == len(tiny.darks_5s)
    assert sizes["sci_images"] == len(tiny.science)
    left = json.loads(planned.stdout)["leftover"]
    assert list(left) == ["S20200104S0001.fits", f"{other.stem} (1).fits", f"{first.stem} (1).fits"]
    label = fits.getheader(first)["DATALAB"]
    said = left[f"{first.stem} (1).fits"]
    assert said.startswith(f"is the exposure that {first.name} is: DATALAB {label}, ")
    shown = f2yaml("night", "raw", "--dry-run", cwd=desk).stdout
    assert f"{first.stem} (1).fits: is the exposure that {first.name} is" in shown


@pytest.mark.full
def test_a_group_is_counted_without_copies(f2yaml: Program, tiny: Night, desk: Path) -> None:
    """Three frames that are one exposure are no deep field."""
    raw = desk / "raw"
    raw.mkdir()
    for name in ("a.fits", "b.fits", "c.fits"):
        shutil.copy(tiny.science[0], raw / name)
    planned = f2yaml("night", "raw", "--dry-run", "--json", cwd=desk)
    (job,) = jobs(planned.stdout).values()
    assert (job["recipe"], len(job["inputs"])) == ("reduce", 1)
    assert set(json.loads(planned.stdout)["leftover"]) == {"b.fits", "c.fits"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "Expecting property name"),
        ("[]", "it is not what a night keeps of its runs"),
        ('{"runs": 3}', "it is not what a night keeps of its runs"),
        ('{"version": 7, "jobs": {}}', "its version is 7, not 1"),
        (
            '{"version": 1, "jobs": {"a": {"asked": {}, "products": {"x": [1]}, "seconds": 1}}}',
            "it is not what a night keeps of its runs",
        ),
        ("[" * 100_000, "it is nested too deep"),
    ],
)
def test_a_damaged_journal_is_told_of(
    f2yaml: Program, tiny: Night, desk: Path, text: str, why: str
) -> None:
    (desk / "night.json").write_text(text)
    done = f2yaml("night", tiny.raw, "--dry-run", "--json", "--quiet", cwd=desk)
    assert {job["stale"] for job in jobs(done.stdout).values()} == {"not done yet"}
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"note: {desk / 'night.json'} cannot be read ({why}")
    assert line.endswith("); everything counts as not done yet")


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
