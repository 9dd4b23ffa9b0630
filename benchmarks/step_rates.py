"""Measure what steps cost; prints the figures of ``interpreter/estimate.py``.

usage: python benchmarks/step_rates.py FOLDER

FOLDER gets the raw night of the scenario `tutorial`, unless it lies there. Recipes are run with a
job for each core; the time of each step, counted back to one core, is divided by the frames it read
and the millions of their pixels. Time and memory of each run are compared with what `f2yaml plan`
expects.
The first run compiles kernels: run it twice on a quiet machine.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

from f2yaml.interpreter.cli import build_parser, main
from f2yaml.interpreter.commands.run import bound
from f2yaml.interpreter.engine import Engine
from f2yaml.interpreter.estimate import COSTS, speedup
from f2yaml.interpreter.events import Event, StepFinished, StepStarted
from f2yaml.interpreter.forecast import forecast
from f2yaml.interpreter.run import execute

SCIENCE = "raw/S20200104*.fits"
RUNS = (
    ("--inputs", "raw/S20200107S0049.fits", "raw/S20200107S005*.fits"),
    ("--inputs", "raw/S20200107S003*.fits", "raw/S20200107S0041.fits", "raw/S20200108*.fits"),
    ("ultradeep", "--inputs", SCIENCE),
    ("ultradeep", "--inputs", "raw/S20200104S007*.fits"),
    ("makeSkyFlat", "--inputs", "raw/S20200104S007*.fits"),
    ("reduce", "--mode", "qa", "--inputs", "raw/S20200104S007*.fits"),
)


def measured(words: tuple[str, ...], rates: dict[str, list[float]]) -> None:
    """Run one command; add the rates of its steps."""
    args = build_parser("run").parse_args(["run", *words, "--outdir", "out"])
    session, plan = bound(args, "run")
    writer = session.writer(plan)
    expected = forecast(plan, writer, session.jobs, session.max_memory)
    writer.check()
    steps = {step.step.number: step for step in expected.steps}
    mpix = expected.shape[0] * expected.shape[1] / 1e6
    started: dict[int, float] = {}
    wall = time.monotonic()
    speed = speedup(session.jobs, os.cpu_count() or 1)

    def listen(event: Event) -> None:
        if isinstance(event, StepStarted):
            started[event.number] = time.monotonic()
        elif isinstance(event, StepFinished):
            now = time.monotonic()
            chain = [n for n in started if n >= event.number]
            for number in chain:  # the steps of a chain are timed together
                step = steps[number]
                spent = speed * (now - min(started[n] for n in chain)) / len(chain)
                cost = COSTS.get(step.step.primitive.name)
                more = max(1.0, step.skies) ** cost.power if cost and cost.power else 1.0
                if step.reads:
                    rates[step.step.primitive.name].append(spent / step.reads / mpix / more)
            started.clear()

    execute(plan, Engine(session.jobs, session.max_memory), writer, listen)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{' '.join(words)[:60]:60s} {time.monotonic() - wall:6.1f} s, expected "
        f"{expected.seconds:6.1f}; up to {peak:6.0f} MiB so far, expected "
        f"{expected.memory / 2**20:6.0f}",
        flush=True,
    )


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    if not Path("raw/truth.json").exists():
        main(["simulate", "tutorial", "--out", "raw"])
    found: dict[str, list[float]] = defaultdict(list)
    for words in RUNS:
        measured(words, found)
    print("\nseconds for each frame and million pixels, on one core (median, number of runs)")
    for name, values in sorted(found.items()):
        print(f"{name:32s} {median(values):9.4f}  {len(values):3d}")
