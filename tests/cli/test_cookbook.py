"""Every task of docs/cookbook.md, written and typed as the page shows it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from command_line import Night, Program, cards, edited, names
from docs_blocks import Section, sections

PAGE = Path(__file__).parents[2] / "docs" / "cookbook.md"
TASKS = {section.title.partition(".")[0]: section for section in sections(PAGE)}
H = cards({"FILTER2": "H_G0803", "FILTER": "H_G0803"})


@pytest.fixture(scope="module")
def kitchen(f2yaml: Program, tiny: Night, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the page assumes it: raw frames, lists, and calibrations in the database."""
    folder = tmp_path_factory.mktemp("kitchen")
    (folder / "raw").symlink_to(tiny.raw)
    f2yaml("dataselect", "--rules", "f2_imaging", *_shown(tiny), cwd=folder)
    f2yaml("caldb", "init", cwd=folder)
    f2yaml("caldb", "add", tiny.dark, tiny.flat, cwd=folder)
    return folder


def _shown(night: Night) -> list[str]:
    return [f"raw/{path.name}" for path in sorted(night.raw.glob("*.fits"))]


def cooked(f2yaml: Program, folder: Path, section: Section) -> dict[str, str]:
    """Write the files of a section, type its commands; returns what each printed."""
    section.write(folder)
    printed = {}
    for command in section.commands:
        # Small frames are done sooner without a second process.
        done = f2yaml.shell(command.replace("f2yaml run ", "f2yaml run --jobs 1 "), folder)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        printed[command] = done.stdout
    return printed


def header(path: Path) -> Mapping[str, Any]:
    return dict(fits.getheader(path))


def history(path: Path) -> dict[str, str]:
    """Return the arguments of each step that made a product, by its name; the last of each."""
    with fits.open(path) as hdus:
        return {str(row["primitive"]): str(row["args"]) for row in hdus["HISTORY"].data}


def test_every_section_has_a_file_and_commands() -> None:
    assert sorted(map(int, TASKS)) == list(range(1, 11))
    for section in TASKS.values():
        assert section.files, section.title
        assert section.commands, section.title
    assert all(len(line) <= 112 for line in PAGE.read_text().splitlines())


@pytest.mark.parametrize("task", sorted(TASKS, key=int))
def test_the_files_have_no_problems(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from f2yaml.interpreter.checking import problems_in

    monkeypatch.chdir(tmp_path)
    TASKS[task].write(tmp_path)
    for name in TASKS[task].files:
        assert problems_in(name) == []


def test_rejection_of_the_final_stack(f2yaml: Program, kitchen: Path) -> None:
    cooked(f2yaml, kitchen, TASKS["1"])
    made = history(kitchen / "S20200104S0075_clipped.fits")["stackFrames"]
    assert '"reject_method": "sigclip"' in made
    assert '"hsigma": 2.5' in made
    assert '"lsigma": 3.0' in made


def test_sky_frames_are_kept(f2yaml: Program, kitchen: Path) -> None:
    printed = cooked(f2yaml, kitchen, TASKS["2"]).popitem()[1]
    skies = sorted(kitchen.glob("*_skyframe.fits"))
    assert len(skies) == 6
    assert sorted(printed.split()) == sorted(
        ["S20200104S0075_image.fits", "S20200104S0075_sky.fits", *(path.name for path in skies)]
    )
    with fits.open(skies[0]) as hdus:
        assert hdus["OBJMASK"].data.any()
        level = float(np.median(hdus["SCI"].data))
    with fits.open(kitchen / "S20200104S0075_sky.fits") as hdus:
        # The mean sky is at the level of the first frame; it differs by the drift of the sky.
        assert float(np.median(hdus["SCI"].data)) == pytest.approx(level, rel=0.02)
        assert hdus[0].header["NCOMBINE"] == 6


def test_alignment_is_skipped(f2yaml: Program, kitchen: Path) -> None:
    cooked(f2yaml, kitchen, TASKS["3"])
    product = kitchen / "S20200104S0075_unaligned.fits"
    assert "CORRWCS" not in header(product)
    assert "adjustWCSToReference" not in history(product)
    assert header(product)["NCOMBINE"] == 6


def test_two_filters_make_two_stacks(
    f2yaml: Program, kitchen: Path, tiny: Night, tmp_path: Path
) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    for number, source in enumerate(tiny.science[:3]):
        shutil.copyfile(source, raw / source.name)
        edited(source, raw / f"S20200104S01{number:02d}.fits", H)
    (tmp_path / "calibrations").mkdir()
    flat = edited(tiny.flat, tmp_path / "calibrations" / "S20200108S0110_flat.fits", H)
    f2yaml("caldb", "init", cwd=tmp_path)
    f2yaml("caldb", "add", tiny.dark, tiny.flat, flat, cwd=tmp_path)
    cooked(f2yaml, tmp_path, TASKS["4"])
    for name, filter_name in (
        ("S20200104S0075_stack_Kred.fits", "K-red"),
        ("S20200104S0100_stack_H.fits", "H"),
    ):
        made = header(tmp_path / name)
        assert (made["FILTER"], made["NCOMBINE"]) == (filter_name, 3)


def test_a_fast_look_at_three_frames(f2yaml: Program, kitchen: Path) -> None:
    (command,) = TASKS["5"].commands
    printed = cooked(f2yaml, kitchen, TASKS["5"])[command]
    assert printed == "S20200104S0075_look.fits\n"
    with fits.open(kitchen / printed.strip()) as hdus:
        assert hdus[0].header["NCOMBINE"] == 3
        assert hdus[0].header["PROCMODE"] == "ql"
        assert "VAR" not in hdus


def test_a_sky_window(f2yaml: Program, kitchen: Path) -> None:
    printed = cooked(f2yaml, kitchen, TASKS["6"])
    assert "time = 60.0 s   (default near_sky.yaml:7:" in next(iter(printed.values()))
    near, typed = (kitchen / f"S20200104S0075_{word}.fits" for word in ("near", "typed"))
    assert '"time": 60.0' in history(near)["associateSky"]
    with fits.open(near) as one, fits.open(typed) as other:
        assert np.array_equal(one["SCI"].data, other["SCI"].data, equal_nan=True)


def test_a_second_detection_pass(f2yaml: Program, kitchen: Path) -> None:
    cooked(f2yaml, kitchen, TASKS["7"])
    product = kitchen / "S20200104S0075_catalogued.fits"
    assert '"detect_thresh": 1.5' in history(product)["detectSources"]
    with fits.open(product) as hdus:
        assert len(hdus["OBJCAT"].data) >= 10
        assert hdus["OBJMASK"].data.any()
        assert "MEANFWHM" in hdus[0].header


def test_weights_by_seeing(f2yaml: Program, kitchen: Path) -> None:
    cooked(f2yaml, kitchen, TASKS["8"])
    assert header(kitchen / "S20200104S0075_sharp.fits")["WEIGHTBY"] == "seeing"


def test_rules_of_a_survey(f2yaml: Program, kitchen: Path) -> None:
    printed = cooked(f2yaml, kitchen, TASKS["9"]).popitem()[1]
    lists = [name for name in names(kitchen) if name.startswith("survey_")]
    assert lists == [
        "survey_Field1_20200104_Kred.list",
        "survey_dark_2s.list",
        "survey_dark_5s.list",
    ]
    listed = [
        line for line in (kitchen / lists[0]).read_text().splitlines() if not line.startswith("#")
    ]
    assert listed == [f"raw/S20200104S00{number}.fits" for number in range(75, 81)]
    assert printed.count("left over: raw/S20200108S00") == 3


def test_a_step_left_out_and_frames_saved_between(f2yaml: Program, kitchen: Path) -> None:
    cooked(f2yaml, kitchen, TASKS["10"])
    saved = sorted(kitchen.glob("*_flatCorrected.fits"))
    assert len(saved) == 6
    with fits.open(saved[0]) as hdus:
        assert [hdu.name for hdu in hdus][1:3] == ["SCI", "DQ"]
        assert "LINCORR" not in hdus[0].header
    assert (kitchen / "S20200104S0075_inspect.fits").exists()


def test_the_rules_of_the_rules_page(f2yaml: Program, kitchen: Path) -> None:
    page = (PAGE.parent / "rules.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```yaml my_rules.yaml\n(.*?)```", page, re.S)
    (kitchen / "my_rules.yaml").write_text(text, encoding="utf-8")
    assert f2yaml("validate", "my_rules.yaml", cwd=kitchen).stdout == "my_rules.yaml: no problems\n"
    f2yaml("dataselect", "--rules", "my_rules.yaml", "raw", cwd=kitchen)
    made = {name for name in names(kitchen) if name.startswith(("dark_", "sci_2"))}
    assert made == {"dark_2s_1.list", "dark_5s_1.list", "sci_20200104_Kred.list"}
    from f2yaml.schema.selection import FrameSet

    # every key of a set is in the table
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.M)) == set(FrameSet.model_fields) - {"doc"}
