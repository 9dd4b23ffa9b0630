"""``f2yaml plan`` says what ``f2yaml run`` does: frames at every step, values, files."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import Night, Program, names, refused
from f2yaml.interpreter.cli import build_parser
from f2yaml.interpreter.commands.run import bound
from f2yaml.interpreter.engine import Engine
from f2yaml.interpreter.events import FileWritten, StepFinished
from f2yaml.interpreter.forecast import Forecast, forecast
from f2yaml.interpreter.run import execute

MIB = 1 << 20


def both(*words: object, run: bool = True) -> tuple[Forecast, list[Any]]:
    """Return what a plan expects, and what a run of the same words tells."""
    args = build_parser("run").parse_args(["run", *map(str, words), "--jobs", "1"])
    session, plan = bound(args, "run")
    writer = session.writer(plan)
    expected = forecast(plan, writer, session.jobs, session.max_memory)
    events: list[Any] = []
    if run:
        execute(plan, Engine(1), writer, events.append)
    return expected, events


@pytest.fixture
def here(desk: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    monkeypatch.chdir(desk)
    monkeypatch.setenv("HOME", str(tmp_path))
    with contextlib.redirect_stdout(io.StringIO()):
        yield desk


def words_of(case: str, night: Night) -> list[object]:
    """Return the words of a command line for each shipped recipe that the night has frames for."""
    science: list[object] = ["--inputs", *night.science, *night.user_cal]
    flats: list[object] = ["--inputs", *night.darks_2s, *night.flats]
    return {
        "dark": ["--inputs", *night.darks_5s],
        "dark in ql": ["--mode", "ql", "--inputs", *night.darks_5s],
        "flat": flats,
        "reduce": science,
        "ultradeep": ["ultradeep", *science, "-p", "skyCorrect:write_outputs=True"],
        "part 1": ["ultradeep_part1", *science],
        "other suffix": ["ultradeep_part1", *science, "--suffix", "_cal"],
        "quick look": ["--mode", "ql", *science],
        "assessment": ["reduce", "--mode", "qa", *science],
        "no dark": ["--mode", "qa", "--inputs", *night.science],
        "sky flat": ["makeSkyFlat", *science],
        "positions": ["checkWCS", "--inputs", *night.science],
        "left out": ["ultradeep_part1", *science, "-p", "flatCorrect:skip_primitive=True"],
    }[case]


CASES = [
    "dark",
    "dark in ql",
    "flat",
    "reduce",
    "ultradeep",
    "part 1",
    pytest.param("other suffix", marks=pytest.mark.full),
    pytest.param("quick look", marks=pytest.mark.full),
    pytest.param("assessment", marks=pytest.mark.full),
    "no dark",
    pytest.param("sky flat", marks=pytest.mark.full),
    "positions",
    "left out",
]


@pytest.mark.parametrize("case", CASES)
def test_a_plan_names_the_files_and_frames_of_the_run(case: str, tiny: Night, here: Path) -> None:
    expected, events = both(*words_of(case, tiny))
    told = [e for e in events if isinstance(e, StepFinished)]
    assert [e.name for e in told] == [s.step.primitive.name for s in expected.steps]
    assert [e.frames for e in told] == [s.makes[s.step.targets[0]] for s in expected.steps]
    written = {e.path for e in events if isinstance(e, FileWritten)}
    assert {file.path for file in expected.files} == written
    kept = {file.kept_at for file in expected.files if file.kept_at}
    found = {here / name for name in names(here) if name.endswith(".fits")}
    assert {here / path for path in written | kept} == found
    assert (len(found) == 0) == (case == "positions")


def test_frames_and_files_of_the_parts(f2yaml: Program, tiny: Night, here: Path) -> None:
    both("ultradeep_part1", *words_of("reduce", tiny))
    for part in ("ultradeep_part2", "ultradeep_part3"):
        given = "S*_flatCorrected.fits" if part == "ultradeep_part2" else "S*Transferred.fits"
        before = set(names(here))
        expected, events = both(part, "--inputs", given)
        told = [e for e in events if isinstance(e, StepFinished)]
        assert [e.frames for e in told] == [s.makes[s.step.targets[0]] for s in expected.steps]
        assert {str(file.path) for file in expected.files} == set(names(here)) - before


def test_skies_and_stacks_are_counted(tiny: Night, here: Path) -> None:
    expected, _ = both("ultradeep", *words_of("reduce", tiny), run=False)
    made = {s.step.number: s for s in expected.steps}
    separated = next(s for s in made.values() if s.step.primitive.name == "separateSky")
    assert separated.makes == {"main": 6, "sky": 6}
    corrected = next(s for s in made.values() if s.step.primitive.name == "skyCorrect")
    # Six dithers, each more than 3 arcsec from the others: five skies for each.
    assert corrected.skies == 5
    assert made[35].step.primitive.name == "stackFrames"
    assert made[35].makes == {"main": 1}


def planned(f2yaml: Program, desk: Path, *words: object) -> dict[str, Any]:
    done = f2yaml("plan", *words, "--format", "json", cwd=desk)
    data: dict[str, Any] = json.loads(done.stdout)
    return data


def test_every_value_says_where_it_comes_from(f2yaml: Program, tiny: Night, desk: Path) -> None:
    (desk / "mine.yaml").write_text(
        "f2yaml: 1\n"
        "name: mine\n"
        "extends: ultradeep.yaml\n"
        "parameters:\n"
        "  time: {default: 300.0}\n"
        "override:\n"
        "  stackFrames: {with: {lsigma: 5.0}}\n"
        "steps:\n"
        "  - {do: detectSources, with: {detect_minarea: 7}}\n",
        encoding="utf-8",
    )
    data = planned(
        f2yaml, desk, "mine.yaml", *words_of("reduce", tiny), "--param", "dilation=3",
        "-p", "stackFrames:hsigma=3",
    )  # fmt: skip
    steps: dict[str, Any] = {}
    for step in data["steps"]:
        steps[step["primitive"]] = step["parameters"]
    assert data["parameters"]["time"]["value"] == 300
    assert data["parameters"]["time"]["at"] == "mine.yaml:5:3"
    assert data["parameters"]["dilation"]["origin"] == "--param"
    assert data["parameters"]["min_skies"]["origin"] == "default"
    stack = steps["stackFrames"]
    assert (stack["hsigma"]["value"], stack["hsigma"]["origin"]) == (3, "-p")
    assert (stack["lsigma"]["value"], stack["lsigma"]["origin"]) == (5, "override")
    assert stack["lsigma"]["at"] == "mine.yaml:7:32"
    assert (stack["operation"]["origin"], stack["operation"]["at"]) == ("default", None)
    sky = steps["skyCorrect"]
    assert (sky["dilation"]["value"], sky["dilation"]["origin"]) == (3, "--param")
    assert sky["dilation"]["parameter"] == "dilation"
    assert sky["operation"]["origin"] == "include"
    assert "recipes/base/sky_pass.yaml:" in sky["operation"]["at"]
    assert steps["associateSky"]["time"]["origin"] == "extends"
    assert steps["detectSources"]["detect_minarea"]["origin"] == "recipe"
    assert steps["addDQ"]["add_illum_mask"]["origin"] == "default"
    assert "recipes/base/standard.yaml:" in steps["addDQ"]["add_illum_mask"]["at"]
    assert names(desk) == ["mine.yaml"]


def test_calibrations_come_with_the_criteria_they_meet(
    f2yaml: Program, tiny: Night, desk: Path
) -> None:
    f2yaml("caldb", "init", cwd=desk)
    f2yaml("caldb", "add", tiny.dark, tiny.flat, cwd=desk)
    data = planned(f2yaml, desk, "ultradeep_part1", "--inputs", *tiny.science)
    dark, flat = data["calibrations"]
    assert (dark["type"], Path(dark["file"]).name) == ("processed_dark", tiny.dark.name)
    assert (dark["steps"], len(dark["frames"])) == ([6], 6)
    assert dark["why"].startswith("only one that fits, 3.4 days later")
    met = {c["criterion"]: c for c in dark["criteria"]}
    assert met["exposure_time"]["passed"]
    assert met["exposure_time"]["calibration"] == "5 s"
    assert {c["criterion"] for c in flat["criteria"]} >= {"filter_name", "time"}
    shown = f2yaml("plan", "ultradeep_part1", "--inputs", *tiny.science, cwd=desk).stdout
    assert f"processed_dark: {tiny.dark} (step 6, 6 frames)" in shown
    assert "meets: instrument F2; exposure_time 5 s; read_mode 1; coadds 1" in shown


def test_text_as_an_observer_reads_it(f2yaml: Program, tiny: Night, desk: Path) -> None:
    words = ("ultradeep", *words_of("reduce", tiny))
    shown = f2yaml("plan", *words, cwd=desk).stdout
    lines = shown.splitlines()
    assert lines[0].startswith("recipe ultradeep (")
    assert lines[0].endswith(", mode sq: 35 steps on 6 frames of 512 x 512 pixels")
    assert "   9 separateSky              main 6 -> main 6, sky 6" in lines
    assert "  11 skyCorrect               sky 6 -> skysub 6   5 skies a frame" in lines
    assert "  35 stackFrames              main 6 -> main 1" in lines
    assert any(re.fullmatch(r"  S20200104S0075_image.fits   \d+ MiB, stream main, at the end", li)
               for li in lines)  # fmt: skip
    assert re.search(r"^about [\d.]+ s, \d+ MiB of memory$", shown, re.M)
    assert "header positions that contradict the telescope offsets" not in shown
    assert "lsigma = 4.0   (default)" not in shown
    full = f2yaml("plan", *words, "--verbose", cwd=desk).stdout
    assert "lsigma = 4.0   (default)" in full
    dry = f2yaml("run", *words, "--dry-run", cwd=desk).stdout
    assert dry == shown
    assert names(desk) == []


def test_the_graph_has_a_node_for_each_step_and_product(
    f2yaml: Program, tiny: Night, desk: Path
) -> None:
    words = ("ultradeep", *words_of("reduce", tiny), "--format", "mermaid")
    lines = f2yaml("plan", *words, cwd=desk).stdout.splitlines()
    assert lines[0] == "flowchart TD"
    assert '  inputs(["6 input frames"])' in lines
    assert '  inputs -->|"main 6"| s1' in lines
    assert '  s13 -->|"sky 6"| s15' in lines
    assert '  s35 ==> out0[/"S20200104S0075_image.fits"/]' in lines
    nodes = {m[1] for line in lines if (m := re.match(r"  (s\d+)\[", line))}
    assert len(nodes) == 35 - 3  # three steps only clear a stream
    drawn = {word for line in lines if "-->" in line for word in re.findall(r"\bs\d+\b", line)}
    assert drawn == nodes
    assert any(f"dark<br/>{tiny.dark.name}" in line for line in lines)


def test_what_headers_rule_out_is_said_by_the_plan(
    f2yaml: Program, tiny: Night, desk: Path
) -> None:
    (desk / "two.yaml").write_text(
        "f2yaml: 1\n"
        "name: two\n"
        "extends: base/flat_corrected.yaml\n"
        "steps:\n"
        "  - {do: copyInputs, to: other}\n"
        "  - require: count(other) == 2\n"
        "    because: it is about pairs\n"
        "  - when: count(main) > 90\n"
        "    steps: [{do: detectSources}]\n"
        "outputs: {}\n",
        encoding="utf-8",
    )
    science = words_of("reduce", tiny)
    done = f2yaml("plan", "two.yaml", *science, cwd=desk, check=False)
    refused(done, 2, "the recipe requires count(other) == 2 (frames per stream: main 6, other 6)")
    assert "two.yaml:6:" in done.stderr
    pair = ["--inputs", *tiny.science[:2], *tiny.user_cal]
    data = planned(f2yaml, desk, "two.yaml", *pair)
    assert data["left_out"] == [{"primitive": "detectSources", "because": ["count(main) > 90"]}]
    # Two frames at one place have no sky: known before a pixel is read.
    near = f2yaml("plan", "ultradeep", *science, "-p", "associateSky:distance=900",
                  cwd=desk, check=False)  # fmt: skip
    refused(near, 1, "S20200104S0075", "has no sky frame")
    nothing = f2yaml("plan", "ultradeep", cwd=desk, check=False)
    refused(nothing, 2, "f2yaml plan got no input files")


def test_memory_and_time_grow_with_the_frames(tiny: Night, here: Path) -> None:
    few, _ = both("ultradeep", *words_of("reduce", tiny), run=False)
    pair = ["--inputs", *tiny.science[:3], *tiny.user_cal]
    fewer, _ = both("ultradeep", *pair, run=False)
    assert few.seconds > fewer.seconds
    # Six frames instead of three: sky-subtracted, 10 bytes a pixel, object masks of a bit each;
    # calibrated frames are not kept.
    more = few.memory - fewer.memory
    assert 3 * 512 * 512 * 10 < more < 3 * 512 * 512 * 11
    assert few.scratch == 0
    small, _ = both("ultradeep", *words_of("reduce", tiny), "--max-memory", "64M", run=False)
    assert small.memory <= few.memory


@pytest.mark.parametrize("name", ["reduce", "ultradeep"])
def test_a_flat_copy_has_the_plan_of_the_original(
    f2yaml: Program, tiny: Night, desk: Path, name: str
) -> None:
    f2yaml("new", "mine", "--from", name, "--flat", cwd=desk)
    science = words_of("reduce", tiny)
    plans = [planned(f2yaml, desk, recipe, *science) for recipe in (name, "mine.yaml")]
    for plan in plans:
        for step in plan["steps"]:
            step["parameters"] = {k: v["value"] for k, v in step["parameters"].items()}
            step.pop("at")
            step["from"], step["to"] = str(step["from"]), list(step["to"])
            # Private streams of includes have other names.
            step["frames"] = [step["frames"]["from"], *step["frames"]["to"].values()]
            del step["from"], step["to"]
        # The private stream of an include keeps its last frame, and with it a plane or two.
        plan["estimate"].pop("memory_bytes")
    for key in ("steps", "files", "calibrations", "estimate"):
        assert plans[0][key] == plans[1][key]
