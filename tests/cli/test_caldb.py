"""``f2yaml caldb``: layouts, messages and exit statuses (spec: cli, section 5.2)."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from caldb_products import write_product, write_raw
from f2yaml.interpreter.caldb import CalibrationDatabase
from f2yaml.interpreter.commands import caldb as command
from f2yaml.interpreter.errors import (
    BadInput,
    CalibrationDatabaseError,
    F2Error,
    NotSupported,
    RequestError,
)

Caldb = Callable[..., str]


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, without the configuration of whoever runs the tests."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("F2YAMLRC", raising=False)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def caldb(capsys: pytest.CaptureFixture[str]) -> Caldb:
    """Run the command and return standard output, or standard error with ``err=True``."""

    def call(*words: object, err: bool = False) -> str:
        parser = argparse.ArgumentParser(prog="f2yaml caldb")
        command.add_arguments(parser)
        capsys.readouterr()
        assert command.run(parser.parse_args([str(word) for word in words])) == 0
        captured = capsys.readouterr()
        return captured.err if err else captured.out

    return call


def dark(name: str, **cards: object) -> Path:
    return write_product(Path.cwd() / name, "processed_dark", **cards)


def configure(*databases: str) -> None:
    lines = "".join(f"  - {{path: {d}, get: true, store: true}}\n" for d in databases)
    Path("f2yaml.yaml").write_text(f"f2yaml: 1\nkind: config\ndatabases:\n{lines}")


# init ---------------------------------------------------------------------------------------
def test_init_makes_the_database_and_does_no_harm_the_second_time(work: Path, caldb: Caldb) -> None:
    configure("cal/f2.db")
    assert caldb("init") == ""
    caldb("add", dark("d.fits"))
    assert caldb("init", "-v", err=True) == f"Kept {work}/cal/f2.db\n"
    assert "d.fits" in caldb("list")


def test_init_without_a_configuration_makes_the_built_in_database(work: Path, caldb: Caldb) -> None:
    assert caldb("init", "-v", err=True) == f"Made {work}/calibrations/f2yaml.db\n"
    assert (work / "calibrations" / "f2yaml.db").exists()


def test_wiping_forgets_the_files_and_keeps_them(work: Path, caldb: Caldb) -> None:
    file = dark("d.fits")
    caldb("add", file)
    wiped = caldb("init", "-w", "-v", err=True)
    assert wiped == f"Wiped {work}/calibrations/f2yaml.db: 1 file forgotten\n"
    assert "There are no files" in caldb("list")
    assert file.exists()


def test_wiping_does_not_touch_a_file_of_another_kind(work: Path, caldb: Caldb) -> None:
    Path("notes.txt").write_text("do not lose this\n" * 20)
    with pytest.raises(CalibrationDatabaseError, match="is not an SQLite database"):
        caldb("init", "-w", "-d", "notes.txt")
    assert Path("notes.txt").read_text() == "do not lose this\n" * 20


# config -------------------------------------------------------------------------------------
def test_config_shows_what_applies(work: Path, caldb: Caldb) -> None:
    configure("cal/f2.db")
    caldb("init")
    assert caldb("config") == (
        f"\nUsing configuration files: ('{work}/f2yaml.yaml',)\n\n"
        f"{work}/cal/f2.db\n  Type:  LocalDB\n  Get:   True\n  Store: True\n\n\n"
        f"Database file: {work}/cal/f2.db\n\n"
        "The calibration dbs are all local, meaning that remote calibrations will not be "
        "downloaded\n"
    )


def test_config_names_the_built_in_default(work: Path, caldb: Caldb) -> None:
    text = caldb("config")
    assert "Using configuration files: none (built-in default)" in text
    assert f"Database file: {work}/calibrations/f2yaml.db (not made yet)" in text
    assert json.loads(caldb("config", "--format", "json")) == [
        {
            "configuration": None,
            "database": f"{work}/calibrations/f2yaml.db",
            "get": True,
            "store": True,
            "exists": False,
        }
    ]


def test_the_option_c_is_honoured(work: Path, caldb: Caldb) -> None:
    configure("first.db")
    Path("rc").write_text("[calibs]\ndatabases = second.db get store\n  https://a.edu get\n")
    text = caldb("config", "-c", "rc")
    assert f"{work}/second.db" in text
    assert "first.db" not in text
    assert "Note: https://a.edu: remote databases are not asked" in text
    with pytest.raises(RequestError, match="names /dev/null, which is not a file"):
        caldb("config", "-c", "/dev/null")


# add ----------------------------------------------------------------------------------------
def test_add_is_silent_unless_asked(work: Path, caldb: Caldb) -> None:
    file = dark("d.fits")
    assert caldb("add", file) == ""
    assert caldb("add", "-v", "d.fits", err=True) == "Ingested d.fits as processed_dark\n"


def test_add_reports_each_bad_file_and_takes_the_good_ones(work: Path, caldb: Caldb) -> None:
    write_raw(Path("raw.fits"), OBSTYPE="DARK")
    Path("x.fits").write_text("no image")
    dark("gnirs.fits", INSTRUME="GNIRS")
    dark("good.fits")
    with pytest.raises(BadInput) as caught:
        caldb("add", "raw.fits", "x.fits", "gnirs.fits", "good.fits")
    assert caught.value.status == 1
    assert [problem.what.split(" ")[:4] for problem in caught.value.problems] == [
        ["raw.fits", "is", "a", "raw"],
        ["x.fits", "is", "not", "a"],
        ["gnirs.fits", "is", "a", "file"],
    ]
    assert all(problem.fix for problem in caught.value.problems)
    assert [row["name"] for row in json.loads(caldb("list", "--format", "json"))] == ["good.fits"]


def test_force_takes_what_is_refused_otherwise(work: Path, caldb: Caldb) -> None:
    write_raw(Path("raw.fits"), OBSTYPE="DARK")
    assert caldb("add", "-v", "--force", "raw.fits", err=True) == "Ingested raw.fits as other\n"


def test_folders_are_walked_only_when_asked(work: Path, caldb: Caldb) -> None:
    dark("calibrations/processed_dark/a.fits")
    dark("calibrations/processed_dark/B.FITS")
    (work / "calibrations" / "notes.txt").touch()
    with pytest.raises(BadInput, match=r"calibrations holds no FITS file[\s\S]*give -k"):
        caldb("add", "calibrations")
    added = caldb("add", "-k", "-v", "calibrations", err=True).splitlines()
    assert [line.split()[1] for line in added] == [
        "calibrations/processed_dark/B.FITS",
        "calibrations/processed_dark/a.fits",
    ]
    assert len(caldb("list").splitlines()) == 3


def test_add_to_a_database_that_was_not_made(caldb: Caldb) -> None:
    configure("f2.db")
    with pytest.raises(CalibrationDatabaseError, match="Unable to find calibration database file"):
        caldb("add", dark("d.fits"))


def test_add_needs_a_database_to_store_in(caldb: Caldb) -> None:
    Path("f2yaml.yaml").write_text("f2yaml: 1\nkind: config\ndatabases: [{path: f2.db}]\n")
    with pytest.raises(RequestError, match="is open for storing"):
        caldb("add", dark("d.fits"))


# remove -------------------------------------------------------------------------------------
def test_remove_forgets_by_base_name(work: Path, caldb: Caldb) -> None:
    file = dark("d.fits")
    caldb("add", file)
    assert caldb("remove", "-v", "elsewhere/d.fits", err=True) == f"Removed {file}\n"
    assert file.exists()
    assert "There are no files in the database" in caldb("list")


def test_remove_of_an_unknown_name_is_an_error(work: Path, caldb: Caldb) -> None:
    caldb("add", dark("S20200107S0049_dark.fits"), dark("other.fits"))
    with pytest.raises(RequestError) as caught:
        caldb("remove", "S20200107S0048_dark.fits", "other.fits")
    assert caught.value.problems[0].what == (
        f"S20200107S0048_dark.fits is not in {work}/calibrations/f2yaml.db"
    )
    assert caught.value.problems[0].fix == "did you mean `S20200107S0049_dark.fits`?"
    assert [row["name"] for row in json.loads(caldb("list", "--format", "json"))] == [
        "S20200107S0049_dark.fits"
    ]


# list ---------------------------------------------------------------------------------------
def test_list_shows_what_each_file_is(work: Path, caldb: Caldb) -> None:
    caldb("add", dark("p/S20200107S0049_dark.fits", DATE_OBS="2020-01-07"))
    flat = write_product(
        work / "p/S20200108S0010_flat.fits", "processed_flat", DATE_OBS="2020-01-08"
    )
    caldb("add", flat)
    flat.unlink()
    assert caldb("list").splitlines() == [
        f"Database: {work}/calibrations/f2yaml.db",
        f"S20200108S0010_flat.fits       {work}/p  processed_flat  K-red  2 s  "
        "2020-01-08 06:30:30  missing",
        f"S20200107S0049_dark.fits       {work}/p  processed_dark  dark   5 s  "
        "2020-01-07 06:30:30  present",
    ]
    assert len(caldb("list", "--type", "processed_dark").splitlines()) == 2


def test_list_as_data(work: Path, caldb: Caldb) -> None:
    caldb("add", dark("a, b.fits"))
    [row] = json.loads(caldb("list", "--format", "json"))
    entered = row.pop("entered")
    assert entered.endswith("+00:00")
    assert row == {
        "database": f"{work}/calibrations/f2yaml.db",
        "name": "a, b.fits",
        "folder": str(work),
        "type": "processed_dark",
        "filter_name": "dark",
        "exposure_time": 5.0,
        "ut_datetime": "2020-01-04T06:30:30",
        "processing": "sq",
        "state": "present",
        "origin": "caldb add",
    }
    [parsed] = csv.DictReader(io.StringIO(caldb("list", "--format", "csv")))
    assert (parsed["name"], parsed["exposure_time"]) == ("a, b.fits", "5.0")


def test_list_of_several_databases(work: Path, caldb: Caldb) -> None:
    configure("1.db", "2.db")
    caldb("init")
    caldb("add", dark("d.fits"))
    caldb("remove", "-d", "2.db", "d.fits")
    assert caldb("list").splitlines()[2:] == [
        f"Database: {work}/2.db",
        "There are no files in the database",
    ]


def test_list_of_nothing(work: Path, caldb: Caldb) -> None:
    expected = f"Database: {work}/calibrations/f2yaml.db\nThere are no files in the database\n"
    assert caldb("list") == expected
    assert list(work.iterdir()) == []
    with pytest.raises(CalibrationDatabaseError, match="Unable to find calibration database file"):
        caldb("list", "-d", "none.db")


def test_more_than_five_hundred_files_are_all_listed(caldb: Caldb) -> None:
    database = CalibrationDatabase.create("f2.db")
    entry = database.add(dark("d.fits"))
    for number in range(510):
        path = entry.path.with_name(f"{number}.fits")
        database.enter(dataclasses.replace(entry, path=path, name=path.name))
    assert len(caldb("list", "-d", "f2.db").splitlines()) == 512


# explain ------------------------------------------------------------------------------------
def test_explain_shows_every_candidate_and_criterion(work: Path, caldb: Caldb) -> None:
    frame = write_raw(Path("S20200104S0075.fits"))
    caldb("add", dark("two.fits", EXPTIME=2.0, DATE_OBS="2020-01-04"))
    caldb("add", dark("five.fits", DATE_OBS="2020-01-07"))
    caldb("add", dark("six.fits", DATE_OBS="2020-01-08"))
    text = caldb("explain", frame, "--type", "processed_dark")
    time = "time           2020-01-04 06:30:30"
    same = [
        "  coadds         1                    1                    equal               ok",
        "  array_shape    8x8                  8x8                  equal               ok",
    ]
    last = [
        "  qa_state       -                    Pass                 not Fail            ok",
        "  processing     sq                   sq                   sq                  ok",
        "  file           -                    present              present, unaltered  ok",
    ]
    first = [
        "  instrument     F2                   F2                   equal               ok",
        "  exposure_time  5 s                  5 s                  within 0.01 s       ok",
        "  read_mode      1                    1                    equal               ok",
        *same,
    ]
    assert text.splitlines() == [
        "processed_dark for S20200104S0075.fits: five.fits, 3.0 days later",
        "  criterion      frame                calibration          rule                result",
        f"five.fits ({work}): chosen",
        *first,
        f"  {time}  2020-01-07 06:30:30  under 90 days       ok: 3.0 days later",
        *last,
        f"six.fits ({work}): fits, not preferred",
        *first,
        f"  {time}  2020-01-08 06:30:30  under 90 days       ok: 4.0 days later",
        *last,
        f"two.fits ({work}): rejected",
        first[0],
        "  exposure_time  5 s                  2 s                  within 0.01 s       FAILED",
        first[2],
        *same,
        f"  {time}  2020-01-04 06:30:30  under 90 days       ok: 0 s later",
        *last,
    ]


def test_explain_of_every_type_that_the_frame_needs(work: Path, caldb: Caldb) -> None:
    frame = write_raw(Path("f.fits"))
    caldb("add", dark("d.fits", EXPTIME=2.0))
    found = json.loads(caldb("explain", frame, "--format", "json"))
    assert [(f["type"], f["chosen"], len(f["candidates"])) for f in found] == [
        ("processed_dark", None, 1),
        ("processed_flat", None, 0),
        ("processed_bpm", None, 0),
    ]
    failed = [c for c in found[0]["candidates"][0]["criteria"] if not c["passed"]]
    assert failed == [
        {
            "criterion": "exposure_time",
            "passed": False,
            "frame": "5 s",
            "calibration": "2 s",
            "rule": "within 0.01 s",
        }
    ]
    text = caldb("explain", frame)
    assert "processed_dark for f.fits: none of 1 candidate fits" in text
    assert f"processed_flat for f.fits: none, {work}/calibrations/f2yaml.db holds no" in text
    rows = list(csv.DictReader(io.StringIO(caldb("explain", frame, "--format", "csv"))))
    assert [row["criterion"] for row in rows if row["passed"] == "False"] == ["exposure_time"]
    assert {row["standing"] for row in rows} == {"rejected"}


def test_explain_of_what_is_not_reduced(caldb: Caldb) -> None:
    frame = write_raw(Path("f.fits"), GRISM="JH_G5801", MOSPOS="4pix-slit", DECKER="Long_slit")
    with pytest.raises(NotSupported):
        caldb("explain", frame)
    with pytest.raises(RequestError, match="does not exist"):
        caldb("explain", "none.fits")


# usage --------------------------------------------------------------------------------------
@pytest.mark.parametrize("words", [[], ["verify"], ["add"], ["list", "--type", "dark"]])
def test_wrong_usage_exits_with_two(caldb: Caldb, words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        caldb(*words)
    assert caught.value.code == 2


def test_every_failure_says_why_and_how_to_mend_it(caldb: Caldb) -> None:
    write_raw(Path("raw.fits"))
    for words in (
        ["list", "-d", "none.db"],
        ["remove", "x"],
        ["add", "raw.fits"],
        ["add", "none"],
    ):
        with pytest.raises(F2Error) as caught:
            caldb(*words)
        assert all(problem.why and problem.fix for problem in caught.value.problems)


def test_the_module_imports_nothing_heavy() -> None:
    code = (
        "import sys, f2yaml.interpreter.commands.caldb;"
        "print([m for m in ('numpy', 'astropy', 'pydantic', 'sqlite3') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
