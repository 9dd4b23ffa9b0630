"""Measure how fast f2yaml is, and how much memory it takes, against what the machine can do.

    python benchmarks/speed.py FOLDER [--frames 18,54,156] [--jobs 1,2] [--recipes NAME ...]
                               [--json FILE] [--markdown FILE] [--compare FILE] [--profile]

FOLDER gets the simulated nights (1 GB for 18 science frames, 4 GB for 156) and the products; what
lies there is used again. Recipes are run by the ``f2yaml`` beside this Python, from the shell,
after a run that compiles kernels and warms the page cache. Times are set beside yardsticks that
are measured in the same run: how fast memory is copied, touched, read and written. For each step
and kernel stands the time that moving its bytes once takes (`speed_steps.py`, `kernels.py`).

`--quick` does a little of everything on a small night, in seconds: whether the benchmark works, not
how fast f2yaml is. The exit status tells whether all commands succeeded, never a figure.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kernels import run_kernels
from speed_machine import MIB, load, machine, yardsticks
from speed_night import AFTER, CALIBRATIONS, RECIPES, Failed, Night
from speed_report import as_text, compare_rows, text_table, write_markdown
from speed_steps import done_in, steps_of

HERE = Path(__file__).resolve().parent
USUAL = (
    "makeProcessedDark", "makeProcessedFlat", "reduce", "ultradeep", "ultradeep_part1",
    "ultradeep_part2", "ultradeep_part3",
)  # fmt: skip


def program() -> Path:
    """Return the ``f2yaml`` beside this Python."""
    return Path(sys.executable).with_name("f2yaml")


def measure(
    night: Night, recipe: str, frames: int, jobs: int, repeat: int, *, warm: bool
) -> dict[str, Any]:
    """Run a recipe some times; return its figures, those of the steps from the fastest run.

    Parameters
    ----------
    night : Night
    recipe : str
    frames : int
        Science frames.
    jobs : int
    repeat : int
        Runs that count.
    warm : bool
        Whether it is run once before.
    """
    prepare(night, recipe, frames, jobs)
    if warm:
        night.reduce(recipe, frames, jobs)
    ended, logs = [], []
    for _ in range(repeat):
        ended.append(night.reduce(recipe, frames, jobs))
        logs.append(night.log(recipe, frames).read_text())
    inputs = len(night.inputs(recipe, frames))
    _, log = min(zip((one.wall for one in ended), logs, strict=True))
    steps = steps_of(log, inputs, night.pixels)
    written = sum(path.stat().st_size for path in night.products(recipe, frames).glob("*.fits"))
    return {
        "recipe": recipe,
        "frames": inputs,
        "jobs": jobs,
        "wall": [one.wall for one in ended],
        "cpu": min(one.cpu for one in ended),
        "memory": max(one.memory or one.largest for one in ended),
        "largest": max(one.largest for one in ended),
        "processes": max(one.processes for one in ended),
        "done": done_in(log),
        "written": written,
        "bytes": sum(step.bytes for step in steps) + written,
        "steps": [asdict(step) for step in steps],
    }


def prepare(night: Night, recipe: str, frames: int, jobs: int) -> None:
    """Make what a recipe reads of another one, unless it lies there."""
    if recipe not in AFTER:
        return
    before, pattern, options = AFTER[recipe]
    if not list(night.products(before, frames).glob(pattern)):
        prepare(night, before, frames, jobs)
        night.reduce(before, frames, jobs, options)


def profile(night: Night, recipe: str, frames: int, jobs: int, target: Path) -> str:
    """Run a recipe under the sampler of `speed_profile.py`; return its table."""
    words = night.words(recipe, frames, jobs)
    command = [sys.executable, str(HERE / "speed_profile.py"), str(target.resolve()), *words]
    ended = subprocess.run(
        command, cwd=night.place(recipe), check=False, capture_output=True, text=True
    )
    if ended.returncode:
        raise Failed(f"the run to be profiled ended with {ended.returncode}:\n{ended.stderr}")
    return target.read_text()


def runs_of(given: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Run what the options ask for."""
    made: list[dict[str, Any]] = []
    warm: set[str] = set()
    for frames in given.frames:
        night = Night.at(program(), folder, frames)
        night.calibrate()
        for recipe in given.recipes:
            if recipe in CALIBRATIONS and recipe in {run["recipe"] for run in made}:
                continue  # its inputs are the same in every night
            for jobs in given.jobs:
                print(f"  {recipe}, {frames} frames, {jobs} jobs", file=sys.stderr, flush=True)
                cold = recipe not in warm and not given.quick
                one = measure(night, recipe, frames, jobs, given.repeat, warm=cold)
                warm.add(recipe)
                made.append(one)
    return made


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, help="for nights and products")
    parser.add_argument("--frames", type=_numbers, default=[18], help="science frames (18)")
    parser.add_argument("--jobs", type=_numbers, default=[1, 2], help="numbers of jobs (1,2)")
    parser.add_argument(
        "--recipes", nargs="*", choices=RECIPES, metavar="NAME", default=list(USUAL),
        help=f"of {', '.join(RECIPES)} (default: {', '.join(USUAL)}); none without a name",
    )  # fmt: skip
    parser.add_argument("--repeat", type=int, default=1, help="runs of each; the best counts")
    parser.add_argument("--no-kernels", action="store_true", help="leave the kernels out")
    parser.add_argument("--profile", action="store_true", help="where the time of ultradeep goes")
    parser.add_argument("--json", type=Path, help="file for all figures")
    parser.add_argument("--markdown", type=Path, help="page for the tables")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="earlier --json")
    parser.add_argument(
        "--dragons", type=Path, metavar="PATH", help="folder, or environment, of DRAGONS' commands"
    )
    parser.add_argument("--quick", action="store_true", help="only see that all of this works")
    given = parser.parse_args(words)
    if given.folder is None and not given.quick:
        parser.error("name a folder for the nights, or give --quick")
    given.recipes = sorted(given.recipes, key=RECIPES.index)
    if given.quick:
        given.frames, given.jobs, given.recipes = [6], [2], ["ultradeep"]
    return given


def _numbers(text: str) -> list[int]:
    numbers = [int(word) for word in text.split(",")]
    if min(numbers) < 1:
        raise ValueError(text)
    return numbers


def main(words: list[str] | None = None) -> int:
    """Measure, print and write; return the exit status."""
    given = arguments(words)
    with ExitStack() as stack:
        folder = given.folder
        if folder is None:
            spare = stack.enter_context(tempfile.TemporaryDirectory(prefix="f2yaml-speed-"))
            folder = Path(spare)
        folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            return _measured(given, folder)
        except Failed as error:
            print(f"speed.py: {error}", file=sys.stderr)
            return 1


def _measured(given: argparse.Namespace, folder: Path) -> int:
    busy = load()
    if busy > 0.5 and not given.quick:
        print(f"the machine is busy (load {busy:.1f}): figures will be high", file=sys.stderr)
    size, tries = (16 * MIB, 2) if given.quick else (256 * MIB, 5)
    results: dict[str, Any] = {
        "command": "python benchmarks/speed.py " + " ".join(sys.argv[1:]),
        "machine": machine(),
        "load": busy,
        "yardsticks": yardsticks(folder, size, tries),
        "runs": runs_of(given, folder),
        "kernels": [],
    }
    if not given.no_kernels:
        pixels, tries = (512, 2) if given.quick else (2048, 5)
        timed = run_kernels(results["yardsticks"], pixels, tries)
        results["kernels"] = [asdict(one) for one in timed]
    if given.dragons is not None:
        from speed_dragons import beside

        night = Night.at(program(), folder, given.frames[0])
        night.calibrate()
        results["dragons"] = beside(given.dragons, night, given.frames[0], max(given.jobs))
    print(as_text(results))
    compared = []
    if given.compare is not None:
        compared = compare_rows(json.loads(given.compare.read_text()), results)
        print(f"\nBeside {given.compare}\n{text_table(compared)}")
    if given.json is not None:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(results, indent=1) + "\n")
    if given.markdown is not None:
        write_markdown(given.markdown, results, compared)
    if given.profile:
        night = Night.at(program(), folder, given.frames[0])
        night.calibrate()
        target = (given.json or folder / "speed.json").with_suffix(".profile.txt")
        print("\n" + profile(night, "ultradeep", given.frames[0], max(given.jobs), target))
    return 0


if __name__ == "__main__":
    sys.exit(main())
