"""The command line itself: start-up, help, exit status, streams, data for programs."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import PROGRAM, Night, Program, names
from f2yaml.interpreter.cli import COMMANDS
from f2yaml.interpreter.dq import MEANING
from f2yaml.interpreter.f2.descriptors import DESCRIPTORS
from f2yaml.interpreter.f2.tags import ALL_TAGS
from f2yaml.interpreter.registry import primitives
from f2yaml.schema.compose import shipped, shipped_root

HEAVY = (
    "numpy",
    "astropy",
    "numba",
    "scipy",
    "sep",
    "pydantic",
    "ruamel",
    "rich",
    "PIL",
    "sqlite3",
)


# start-up ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("words", [["--help"], ["--version"], ["rnu"], ["run", "--jbos"]])
def test_nothing_heavy_is_imported_to_say_a_word(words: list[str]) -> None:
    code = (
        "import sys\nfrom f2yaml.interpreter.cli import main\n"
        f"main({words!r})\nprint(sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_of_every_command(f2yaml: Program, tmp_path: Path) -> None:
    """And no help needs what a run needs."""
    for command in COMMANDS:
        code = (
            "import sys\nfrom f2yaml.interpreter.cli import main\n"
            f"status = main([{command!r}, '--help'])\n"
            f"print(status, sorted(set({HEAVY!r}) & set(sys.modules)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
        )
        lines = done.stdout.splitlines()
        assert lines[0].startswith(f"usage: f2yaml {command}")
        assert lines[-1] == "0 []"
    done = f2yaml("--help", cwd=tmp_path)
    assert all(f"\n    {command}" in done.stdout for command in COMMANDS)
    assert "Exit status: 0 done" in done.stdout


def test_version_and_the_bare_name(f2yaml: Program, tmp_path: Path) -> None:
    assert f2yaml("--version", cwd=tmp_path).stdout == "f2yaml 0.3.0\n"
    done = f2yaml(cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stdout.startswith("usage: f2yaml")


# validate and show ------------------------------------------------------------------------------
def test_every_shipped_document_is_sound(f2yaml: Program, tmp_path: Path) -> None:
    files = sorted(Path(str(shipped_root())).rglob("*.yaml"))
    # Parts that are included where their streams exist are checked through what includes them.
    complete = [path for path in files if path.parent.name != "base"]
    assert {path.stem for path in complete} >= {*shipped(), "f2_imaging", "small", "tutorial"}
    done = f2yaml("validate", *complete, cwd=tmp_path)
    assert done.stdout.count(": no problems\n") == len(complete)


def test_validate_as_data(f2yaml: Program, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(
        "f2yaml: 1\nname: bad\nsteps:\n  - {do: preparre}\noutputs: {}\n"
    )
    done = f2yaml("validate", "bad.yaml", "--format", "json", cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert json.loads(done.stdout) == [
        {
            "file": "bad.yaml",
            "line": 4,
            "column": 10,
            "width": 8,
            "document": "bad.yaml",
            "what": "there is no primitive `preparre`",
            "why": "a step names a primitive of the registry",
            "fix": "did you mean `prepare`?",
            "also": [],
        }
    ]
    sound = f2yaml("validate", "ultradeep", "--format", "json", cwd=tmp_path)
    assert json.loads(sound.stdout) == []


SHOW_ALL = """
import contextlib, io, json, sys
from f2yaml.interpreter.cli import main

for name in json.loads(sys.argv[1]):
    for form in ("text", "json"):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            status = main(["show", name, "--format", form])
        text = out.getvalue()
        assert status == 0, (name, form, status)
        assert len(text) > len(name) + 5, (name, form, text)
        assert form == "text" or json.loads(text), (name, text)
print("all shown")
"""


def test_show_knows_every_name() -> None:
    """One process for all: what is shown does not depend on what was shown before."""
    everything = [p.name for p in primitives()] + list(shipped()) + list(DESCRIPTORS)
    everything += [*sorted(ALL_TAGS), *map(str, MEANING), "0", "65535", "f2_imaging", "tiny"]
    done = subprocess.run(
        [sys.executable, "-c", SHOW_ALL, json.dumps(everything)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.stdout, done.stderr) == ("all shown\n", "")


def test_the_catalogue_and_one_entry_of_each_kind(f2yaml: Program, tmp_path: Path) -> None:
    catalogue = f2yaml("show", cwd=tmp_path).stdout
    assert all(
        name in catalogue for name in ("ultradeep", "skyCorrect", "filter_name", "saturated")
    )
    data = json.loads(f2yaml("show", "--format", "json", cwd=tmp_path).stdout)
    assert set(data["recipes"]) >= set(shipped())  # and those of the other modes
    assert sorted(data["descriptors"]) == sorted(DESCRIPTORS)
    assert "dilation" in f2yaml("show", "skyCorrect", cwd=tmp_path).stdout
    assert f2yaml("show", "5", cwd=tmp_path).stdout.startswith("DQ 5: bad pixel")
    assert "saturated" in f2yaml("show", "4", cwd=tmp_path).stdout
    assert set(data["tags"]) == set(ALL_TAGS)
    assert "f2_imaging" in data["rules"]


def test_a_primitive_is_shown_with_units_bounds_and_source(f2yaml: Program, tmp_path: Path) -> None:
    data = json.loads(
        f2yaml("show", "adjustWCSToReference", "--format", "json", cwd=tmp_path).stdout
    )
    radius = next(row for row in data["parameters"] if row["parameter"] == "first_pass")
    assert radius == {
        "parameter": "first_pass",
        "default": "5.0",
        "type": "float",
        "unit": "arcsec",
        "bounds": "> 0",
        "meaning": "search radius",
    }
    assert data["source"].startswith("f2yaml.interpreter.primitives.register:")
    text = f2yaml("show", "adjustWCSToReference", cwd=tmp_path).stdout
    assert re.search(r"^  first_pass +5\.0 +float +arcsec +> 0 +search radius$", text, re.M)


def test_a_recipe_is_shown_with_where_its_values_come_from(f2yaml: Program, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "f2yaml: 1\nname: mine\nextends: reduce.yaml\n"
        "override:\n  stackFrames: {with: {hsigma: 3.0}}\n"
    )
    data = json.loads(f2yaml("show", "mine.yaml", "--format", "json", cwd=tmp_path).stdout)
    stack = next(step for step in data["steps"] if step["primitive"] == "stackFrames")
    assert stack["with"] == {"hsigma": 3.0}
    place = {"origin": "override", "at": "mine.yaml:5:32", "parameter": None}
    assert stack["origins"] == {"hsigma": place}
    assert data["files"][0] == "mine.yaml"
    assert data["applies_to"]["all"][0] == {"tags": ["F2", "IMAGE"]}
    text = f2yaml("show", "mine.yaml", cwd=tmp_path).stdout
    assert "--param time=600.0 s   largest gap between a frame and its sky frames (> 0)" in text
    assert "      - {tags: [F2, IMAGE]}" in text


# data for programs ------------------------------------------------------------------------------
def test_tables_as_json_and_csv(f2yaml: Program, tiny: Night, tmp_path: Path) -> None:
    dark, flat = tiny.darks_5s[0], tiny.flats[0]
    words = ("showd", dark, flat, "-d", "exposure_time,filter_name,detector_section")
    rows = json.loads(f2yaml(*words, "--json", cwd=tmp_path).stdout)
    assert [(r["exposure_time"], r["filter_name"]) for r in rows] == [(5.0, "dark"), (2.0, "K-red")]
    table = list(csv.DictReader(io.StringIO(f2yaml(*words, "--csv", cwd=tmp_path).stdout)))
    assert [row["filename"] for row in table] == [str(dark), str(flat)]
    assert all(None not in row for row in table)  # a section with its commas is one column
    chosen = f2yaml("dataselect", dark, flat, "--tags", "DARK", "--json", cwd=tmp_path).stdout
    assert [row["file"] for row in json.loads(chosen)] == [str(dark)]
    walked = json.loads(f2yaml("typewalk", "-d", tiny.raw, "--json", cwd=tmp_path).stdout)
    assert len(walked) == 15


def test_a_run_as_json_says_nothing_else(f2yaml: Program, tiny: Night, tmp_path: Path) -> None:
    words = ("run", "--inputs", *tiny.darks_5s, "--json")
    done = f2yaml(*words, cwd=tmp_path)
    told = json.loads(done.stdout)
    assert told["recipe"] == "makeProcessedDark"
    assert told["products"] == ["S20200107S0049_dark.fits"]
    assert told["inputs"] == [path.name for path in tiny.darks_5s]
    assert (told["notes"], told["tables"], done.stderr) == ([], [], "")


# streams ----------------------------------------------------------------------------------------
def test_results_on_standard_output_progress_on_standard_error(
    f2yaml: Program, tiny: Night, tmp_path: Path
) -> None:
    words = ("run", "--inputs", *tiny.darks_5s)
    done = f2yaml(*words, "--log", "run.log", cwd=tmp_path)
    assert done.stdout == "S20200107S0049_dark.fits\n"
    lines = done.stderr.splitlines()
    assert lines[0] == "makeProcessedDark: 6 steps on 3 frames"
    assert [line.split()[1] for line in lines[1:7]] == [
        "prepare",
        "addDQ",
        "ADUToElectrons",
        "addVAR",
        "nonlinearityCorrect",
        "stackDarks",
    ]
    assert lines[7] == "wrote S20200107S0049_dark.fits"
    assert "\x1b" not in done.stderr  # colours and cursor moves are for terminals
    log = (tmp_path / "run.log").read_text().splitlines()
    assert len(log) == len(lines)
    assert all(seen in written for seen, written in zip(lines, log, strict=True))
    quiet = f2yaml(*words, "--quiet", "--log", "run.log", cwd=tmp_path)
    assert (quiet.stdout, quiet.stderr) == (done.stdout, "")
    assert len((tmp_path / "run.log").read_text().splitlines()) == 2 * len(log)  # appended


def test_a_dry_run_writes_nothing(f2yaml: Program, tiny: Night, tmp_path: Path) -> None:
    done = f2yaml(
        "run", "ultradeep", "--dry-run", "--inputs", *tiny.science, *tiny.user_cal,
        "-p", "skyCorrect:dilation=3", cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.startswith("recipe ultradeep (")
    assert f"processed_dark: {tiny.user_cal[1].split(':', 1)[1]} (" in done.stdout
    assert "named by the user" in done.stdout
    assert "dilation = 3.0   (-p)" in done.stdout
    assert f"  {tiny.science[0].stem}_image.fits " in done.stdout
    assert names(tmp_path) == []


def test_standard_input_gives_names(f2yaml: Program, tiny: Night, tmp_path: Path) -> None:
    listed = "".join(f"{path}\n" for path in tiny.darks_5s)
    done = f2yaml("run", "--dry-run", "--inputs", "-", cwd=tmp_path, stdin=listed)
    first = done.stdout.splitlines()[0]
    assert first.startswith("recipe makeProcessedDark (")
    assert first.endswith("mode sq: 6 steps on 3 frames of 512 x 512 pixels")


def test_a_reader_that_has_seen_enough(f2yaml: Program, tiny: Night, tmp_path: Path) -> None:
    done = f2yaml.shell(f"f2yaml showd {tiny.raw}/*.fits -d object | head -n 1", tmp_path)
    assert (done.stderr, done.stdout.count("\n")) == ("", 1)
    done = f2yaml.shell("f2yaml show | true", tmp_path)
    assert done.stderr == ""


def test_control_characters_of_a_header_do_not_reach_the_terminal(
    f2yaml: Program, tiny: Night, tmp_path: Path
) -> None:
    content = tiny.science[0].read_bytes()
    plain, evil = b"OBJECT  = 'Field-1 ", b"OBJECT  = 'F\x1b[2J\x07'"
    assert content.count(plain) == 1
    bad = content.replace(plain, evil.ljust(len(plain)))
    (tmp_path / "bad.fits").write_bytes(bad)
    (tmp_path / "a\x1b[2Jb.list").write_text("@none\n")
    for words in (
        ["showd", "bad.fits", "-d", "object,OBJECT"],
        ["showd", "bad.fits", "-d", "object", "--json"],
        ["typewalk"],
        ["dataselect", "bad.fits", "--expr", "object=='F'"],
        ["run", "checkWCS", "--inputs", "bad.fits"],
        ["run", "--inputs", "@a\x1b[2Jb.list"],
        ["show", "a\x1b[2Jb"],
        ["x\x1b[2Jy"],
        ["run", "--x\x1b[2Jy"],
    ):
        done = f2yaml(*words, cwd=tmp_path, check=False)
        assert done.returncode != 0
        assert done.stderr
        for text in (done.stdout, done.stderr):
            assert "\x1b" not in text
            assert "\x07" not in text


def test_the_program_is_the_one_beside_this_python() -> None:
    assert PROGRAM.is_file()
