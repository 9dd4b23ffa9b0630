"""The arithmetic of the speed benchmark, its files, and what it sees of processes; no figure."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import kernels
import numpy as np
import pytest
import speed
import speed_dragons
import speed_machine
import speed_night
import speed_report
import speed_steps
from astropy.io import fits
from speed_process import descendants, measured

LOG = """\
2026-01-01 00:00:01 ultradeep: 5 steps on 18 frames
2026-01-01 00:00:03   1/9 prepare                    18 frames    0.50 s
2026-01-01 00:00:03   2/9 addVAR                     18 frames    0.50 s
2026-01-01 00:00:03   3/9 darkCorrect                18 frames    0.50 s
2026-01-01 00:00:03   4/9 flatCorrect                18 frames    0.50 s
2026-01-01 00:00:05   5/9 skyCorrect                 18 frames    2.00 s   sky 4714.0 e-/pix
2026-01-01 00:00:07   6/9 detectSources              18 frames    3.00 s   203 sources
2026-01-01 00:00:08   7/9 stackFrames                 1 frames    1.25 s
2026-01-01 00:00:09   8/9 detectSources               1 frames    0.25 s
2026-01-01 00:00:09   9/9 transferObjectMask         18 frames    0.75 s
2026-01-01 00:00:10 wrote out/S1_image.fits
2026-01-01 00:00:10 done in 9.5 s
"""


# --- steps --------------------------------------------------------------------------------------


def test_steps_are_read_from_the_log_with_the_bytes_they_must_move() -> None:
    """Of a pixel: 18 raw frames of 4 bytes in and 11 out, a static mask of 2, dark and flat of 11;
    18 x (11 + 1) in and 18 x 11 out; 18 x 10 in and 18 out; 18 x 11 in and 13 out; 11; 1 + 18."""
    steps = speed_steps.steps_of(LOG, 18, 1000)
    assert [(s.name, s.read, s.made, s.seconds, s.bytes) for s in steps] == [
        ("calibrate", 18, 18, 2.0, (18 * 15 + 2 + 22) * 1000),
        ("skyCorrect", 18, 18, 2.0, 18 * 23 * 1000),
        ("detectSources", 18, 18, 3.0, 18 * 11 * 1000),
        ("stackFrames", 18, 1, 1.25, (18 * 11 + 13) * 1000),
        ("detectSources", 1, 1, 0.25, 11 * 1000),
        ("transferObjectMask", 1, 18, 0.75, 19 * 1000),
    ]
    assert speed_steps.done_in(LOG) == 9.5


def test_steps_of_one_name_are_added_up_and_the_list_stays() -> None:
    steps = speed_steps.steps_of(LOG, 18, 10)
    both = next(s for s in speed_steps.summed(steps) if s.name == "detectSources")
    assert (both.made, both.seconds, both.bytes) == (19, 3.25, 19 * 11 * 10)
    assert steps[2].made == 18


def test_a_log_without_an_end_has_no_time() -> None:
    assert speed_steps.done_in("1/2 prepare   3 frames   0.50 s") is None


# --- kernels ------------------------------------------------------------------------------------


def test_a_kernel_is_bound_by_its_bytes() -> None:
    """Two bytes of 128 x 128 pixels, at 8 GB/s."""
    (one,) = kernels.run_kernels({"copy": 8.0}, 128, 1, ["dilate"])
    assert (one.name, one.frames, one.pixels) == ("dilate a mask, 2 pix", 1, 128 * 128)
    assert one.bytes == 2 * 128 * 128
    assert one.bound == pytest.approx(2 * 128 * 128 / 8e9)
    assert one.seconds > 0


def test_kernels_of_many_frames_work_on_a_band() -> None:
    """An eighth of the rows, 18 frames of 10 bytes in and one of 12 out."""
    (one,) = kernels.run_kernels({"copy": 1.0}, 128, 1, ["combine, median"])
    assert (one.frames, one.pixels) == (18, 16 * 128)
    assert one.bytes == 16 * 128 * (18 * 10 + 12)


# --- machine ------------------------------------------------------------------------------------


def test_yardsticks_are_rates_and_leave_nothing_behind(tmp_path: Path) -> None:
    found = speed_machine.yardsticks(tmp_path, 1 << 20, 1)
    assert list(found) == list(speed_machine.YARDSTICKS)
    assert all(value > 0 for value in found.values())
    assert not list(tmp_path.iterdir())


_GROWS = """
import os, sys, time
held = b"x" * (200 << 20)
child = os.fork()
if child == 0:
    own = b"y" * (100 << 20)
    time.sleep(2.0)
    os._exit(0)
os.waitpid(child, 0)
print("ended", file=sys.stderr)
print(os.getcwd())
"""


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's /proc")
def test_memory_is_that_of_the_tree_and_shared_pages_count_once(tmp_path: Path) -> None:
    """200 MiB that parent and child share, 100 MiB of the child's own; Python takes some more."""
    ended = measured([sys.executable, "-c", _GROWS], tmp_path)
    assert (ended.status, ended.output, ended.errors) == (0, f"{tmp_path}\n", "ended\n")
    assert ended.processes == 2
    assert 300 << 20 <= ended.memory < 350 << 20
    assert ended.largest >= 200 << 20  # counts the fork of a larger process as well
    assert ended.wall >= 2.0
    assert 0 < ended.cpu < ended.wall


def test_the_tree_has_its_root() -> None:
    assert os.getpid() in descendants(os.getpid())


# --- tables -------------------------------------------------------------------------------------


def _results(speed_of_it: float = 1.0, wall: float = 20.0) -> dict[str, Any]:
    """Return results of a machine that is so many times as fast as one that copies 10 GB/s."""
    rates = dict.fromkeys(speed_machine.YARDSTICKS, 10.0 * speed_of_it)
    steps = [vars(s) for s in speed_steps.steps_of(LOG, 18, 2048**2)]
    for step in steps:
        step["seconds"] /= speed_of_it
    run = {
        "recipe": "ultradeep", "frames": 18, "jobs": 2, "wall": [3 * wall, wall], "cpu": wall,
        "memory": 2_500_000_000, "largest": 10**9, "processes": 3, "done": 15.0 / speed_of_it,
        "written": 50_000_000, "bytes": 5_000_000_000, "steps": steps,
    }  # fmt: skip
    one = kernels.Timed("detect", 0.2 / speed_of_it, 1, 10**6, 10**7, 1e-3 / speed_of_it)
    return {
        "command": "python benchmarks/speed.py", "machine": speed_machine.machine(), "load": 0.1,
        "yardsticks": rates, "runs": [run], "kernels": [vars(one)],
    }  # fmt: skip


def test_a_run_is_told_as_a_ratio_to_copying_its_bytes() -> None:
    """5 GB at 10 GB/s take 0.5 s; the best of the two runs took 20 s."""
    head, row = speed_report.run_rows(_results()["runs"], 10.0)
    shown = dict(zip(head, row, strict=True))
    assert shown["wall [s]"] == "20.0"
    assert shown["start, end [s]"] == "5.00"
    assert shown["memory [GB]"] == "2.50"
    assert shown["bound [s]"] == "0.500"
    assert shown["wall / bound"] == "40.0"


def test_steps_and_what_is_around_them_add_up_to_the_run() -> None:
    head, *rows = speed_report.step_rows(_results()["runs"][0], 10.0)
    spent = {row[0]: float(row[head.index("time [s]")]) for row in rows}
    assert spent["detectSources"] == 3.25
    assert sum(spent.values()) == pytest.approx(20.0)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.0125, "0.013"), (1.5, "1.50"), (61.04, "61.0"), (1234, "1234")],
)
def test_figures_have_few_digits(value: float, text: str) -> None:
    assert speed_report.figure(value) == text


def test_columns_line_up() -> None:
    text = speed_report.text_table([("name", "s"), ("a", "1.0"), ("longer", "10.0")])
    assert text == "name       s\n------  ----\na        1.0\nlonger  10.0"


def test_comparison_knows_the_machine() -> None:
    """The same program on a machine twice as fast: all ratios are one. Twice as slow a program on
    it: those of its wall time are two."""
    old, same = _results(1.0, 20.0), _results(2.0, 10.0)
    head, *rows = speed_report.compare_rows(old, same)
    assert {row[-1] for row in rows} == {"1.00"}
    assert [row[0] for row in rows] == [
        "ultradeep 18 frames, 2 jobs: time", "ultradeep 18 frames, 2 jobs: cpu",
        "ultradeep 18 frames, 2 jobs: memory", "ultradeep 18 frames, 2 jobs: calibrate",
        "ultradeep 18 frames, 2 jobs: skyCorrect", "ultradeep 18 frames, 2 jobs: detectSources",
        "ultradeep 18 frames, 2 jobs: stackFrames",
        "ultradeep 18 frames, 2 jobs: transferObjectMask", "kernel detect",
    ]  # fmt: skip
    _, slower, *_ = speed_report.compare_rows(old, _results(2.0, 20.0))
    assert dict(zip(head, slower, strict=True))["new / old"] == "2.00"


def test_markdown_replaces_what_stands_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text("# Performance\n\nBefore.\n")
    speed_report.write_markdown(page, _results())
    page.write_text(page.read_text() + "\nAfter.\n")
    speed_report.write_markdown(page, _results(1.0, 30.0))
    text = page.read_text()
    assert text.startswith("# Performance\n\nBefore.\n")
    assert text.endswith("After.\n")
    assert text.count("| ultradeep | 18 | 2 |") == 1
    assert "| ultradeep | 18 | 2 | 30.0 |" in text


# --- the command --------------------------------------------------------------------------------


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command measure nothing."""
    made = _results()
    monkeypatch.setattr(speed, "yardsticks", lambda *_: made["yardsticks"])
    monkeypatch.setattr(speed, "runs_of", lambda *_: made["runs"])
    monkeypatch.setattr(speed, "run_kernels", lambda *_: [kernels.Timed(**made["kernels"][0])])


@pytest.mark.usefixtures("at_once")
def test_figures_are_read_back_and_never_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "made" / "new.json"
    assert speed.main([str(tmp_path), "--json", str(file)]) == 0
    stored = json.loads(file.read_text())
    assert stored["runs"] == _results()["runs"]
    assert stored["kernels"] == _results()["kernels"]
    stored["runs"][0]["wall"] = [1.0]  # the release before was twenty times as fast
    file.write_text(json.dumps(stored))
    capsys.readouterr()
    assert speed.main([str(tmp_path), "--compare", str(file)]) == 0
    table = capsys.readouterr().out.partition("Beside ")[2]
    assert "GB copied       20.0" in table


def test_a_folder_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        speed.arguments([])
    assert "name a folder" in capsys.readouterr().err


# --- commands that stand in ---------------------------------------------------------------------

_F2YAML = """\
import sys
from pathlib import Path
words = sys.argv[1:]
value = lambda option: words[words.index(option) + 1]
listed = Path(value("--inputs")[1:]).read_text().split()
Path(value("--outdir"), words[1] + "_made.fits").write_bytes(b"0" * 1000)
log = "1/1 detectSources   %d frames   0.50 s\\ndone in 0.6 s\\n" % len(listed)
Path(value("--log")).write_text(log)
"""
_DRAGONS = """\
import sys
from pathlib import Path
Path("calls").open("a").write(" ".join([Path(sys.argv[0]).name, *sys.argv[1:]]) + "\\n")
"""


def _stand_in(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def night(tmp_path: Path) -> speed_night.Night:
    """A night of empty frames, and a program that stands in for f2yaml."""
    raw = tmp_path / "tiny" / "raw"
    raw.mkdir(parents=True)
    table = {
        "frames": [{"name": f"S20200104S{n:04d}", "exptime": 5.0} for n in range(75, 81)],
        "calibrations": [
            {"name": "S20200107S0049", "kind": "dark", "exptime": 5.0},
            {"name": "S20200107S0035", "kind": "dark", "exptime": 2.0},
            {"name": "S20200108S0010", "kind": "flat", "exptime": 2.0},
        ],
    }
    (raw / "truth.json").write_text(json.dumps(table))
    frame = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((4, 5), np.int32))])
    frame.writeto(raw / "S20200104S0075.fits")
    return speed_night.Night.at(_stand_in(tmp_path / "f2yaml", _F2YAML), tmp_path, 6)


def test_recipes_get_their_frames(night: speed_night.Night) -> None:
    names = {r: [p.stem for p in night.inputs(r, 2)] for r in ("reduce", *speed_night.CALIBRATIONS)}
    assert names == {
        "reduce": ["S20200104S0075", "S20200104S0076"],
        "makeProcessedDark": ["S20200107S0049"],
        "makeProcessedFlat": ["S20200108S0010", "S20200107S0035"],
        "makeProcessedBPM": ["S20200108S0010", "S20200107S0035"],
    }
    with pytest.raises(speed_night.Failed, match="ultradeep_part2 needs the products of"):
        night.inputs("ultradeep_part2", 2)


def test_a_recipe_is_run_and_measured(night: speed_night.Night) -> None:
    """Three frames of 20 pixels, 10 bytes in and 1 out, and a product of 1000 bytes."""
    made = speed.measure(night, "reduce", 3, 2, 2, warm=True)
    assert (made["recipe"], made["frames"], made["jobs"]) == ("reduce", 3, 2)
    assert len(made["wall"]) == 2
    assert (made["done"], made["written"]) == (0.6, 1000)
    assert made["bytes"] == 3 * 11 * 20 + 1000
    assert [s["name"] for s in made["steps"]] == ["detectSources"]


def test_what_fails_is_said(night: speed_night.Night) -> None:
    _stand_in(night.program, "import sys; sys.exit('no disk')")
    with pytest.raises(speed_night.Failed, match=r"run reduce .* ended with 1:\nno disk"):
        night.reduce("reduce", 2, 1)


def test_dragons_does_the_same_work(night: speed_night.Night, tmp_path: Path) -> None:
    for name in speed_dragons.COMMANDS:
        _stand_in(tmp_path / "env" / "bin" / name, _DRAGONS)
    pairs = speed_dragons.beside(tmp_path / "env", night, 2, 2)
    assert [pair["work"] for pair in pairs] == list(speed_dragons.WORK)
    assert all(pair[side]["wall"] > 0 for pair in pairs for side in ("dragons", "f2yaml"))
    work = night.folder / "dragons"
    rc = work / "dragonsrc"
    assert (work / "calls").read_text().splitlines() == [
        f"caldb init -c {rc}",
        f"reduce @{work}/makeProcessedDark.list -c {rc}",
        f"reduce @{work}/makeProcessedFlat.list -c {rc}",
        f"reduce @{work}/ultradeep.list -r ultradeep -c {rc}",
    ]
    raw = night.folder / "raw"
    listed = (work / "ultradeep.list").read_text().split()
    assert listed == [str(raw / "S20200104S0075.fits"), str(raw / "S20200104S0076.fits")]
    head, first, *_ = speed_report.dragons_rows(pairs)
    assert len(head) == len(first)


def test_dragons_may_be_missing_or_fail(night: speed_night.Night, tmp_path: Path) -> None:
    _stand_in(tmp_path / "env" / "bin" / "reduce", _DRAGONS)
    with pytest.raises(speed_night.Failed, match="DRAGONS is not in"):
        speed_dragons.beside(tmp_path / "env", night, 2, 2)
    for name in ("dataselect", "caldb"):
        _stand_in(tmp_path / "env" / "bin" / name, "raise SystemExit('no database')")
    with pytest.raises(speed_night.Failed, match=r"caldb init .* ended with 1:\nno database"):
        speed_dragons.beside(tmp_path / "env" / "bin", night, 2, 2)
