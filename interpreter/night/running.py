"""Running the jobs of a night: each in a process of its own, as soon as what it needs is there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from f2yaml.interpreter.itself import as_list, command
from f2yaml.interpreter.night.graph import Job
from f2yaml.interpreter.night.ledger import Ledger, Made, stamp

_POLL_S = 0.1


@dataclass
class Result:
    """What became of a job: done, up to date, failed or not possible, and why."""

    job: Job
    status: str
    why: str = ""
    products: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass
class _Started:
    job: Job
    process: subprocess.Popen[str]
    began: float
    stdout: Path
    stderr: Path


@dataclass
class Runner:
    """Runs jobs in the folder of a night.

    Parameters
    ----------
    folder : Path
        Of products; also the working folder, with the calibration database.
    ledger : Ledger
    cores, memory : int
        Shared by the jobs that run at one time; memory in bytes.
    options : sequence of str
        Words for every ``f2yaml run``, besides the settings of the job.
    tell : callable
        Gets a line when a job begins and when it ends.
    """

    folder: Path
    ledger: Ledger
    cores: int
    memory: int
    options: Sequence[str]
    tell: Callable[[str], None]

    def run(
        self, jobs: Sequence[Job], stale: Mapping[str, str], asked: Mapping[str, dict[str, str]]
    ) -> list[Result]:
        """Run the jobs that are not up to date; returns what became of all, in their order.

        Raises
        ------
        KeyboardInterrupt
            After the jobs that run have been told to stop, and have.
        """
        results = {job.name: self._known(job, stale) for job in jobs}
        waiting = [job for job in jobs if results[job.name].status == "waiting"]
        running: list[_Started] = []
        try:
            while waiting or running:
                waiting = self._begin(waiting, running, results)
                for item in [i for i in running if i.process.poll() is not None]:
                    running.remove(item)
                    results[item.job.name] = self._ended(item, asked[item.job.name])
                if running:
                    time.sleep(_POLL_S)
        except BaseException:
            _stop(running)
            raise
        return [results[job.name] for job in jobs]

    def _known(self, job: Job, stale: Mapping[str, str]) -> Result:
        if job.missing:
            return Result(job, "not possible", "; ".join(job.missing))
        if not stale[job.name]:
            made = self.ledger.jobs[job.name]
            return Result(job, "up to date", "", list(made.products), [], made.seconds)
        return Result(job, "waiting", stale[job.name])

    def _begin(
        self, waiting: list[Job], running: list[_Started], results: dict[str, Result]
    ) -> list[Job]:
        """Begin the jobs that may; returns those that still wait."""
        ready, left = [], []
        for job in waiting:
            states = [results[name].status for name in job.needs]
            if "failed" in states:
                lost = next(n for n in job.needs if results[n].status == "failed")
                results[job.name] = Result(job, "failed", f"{lost} has failed")
                self.tell(f"{job.name}: not done, as {lost} has failed")
            elif all(state in ("done", "up to date") for state in states):
                ready.append(job)
            else:
                left.append(job)
        room = self.cores - len(running)
        now, later = ready[: max(0, room)], ready[max(0, room) :]
        together = max(1, len(now) + len(running))
        for job in now:
            why = results[job.name].why
            running.append(self._start(job, max(1, self.cores // together), together))
            self.tell(f"{job.name}: {job.recipe} of {len(job.inputs)} frames begins ({why})")
        return [*later, *left]

    def _start(self, job: Job, cores: int, together: int) -> _Started:
        folder = self.folder / job.folder
        folder.mkdir(parents=True, exist_ok=True)
        listed = folder / f"{job.name}.list"
        listed.write_text(as_list(job.inputs), encoding="utf-8")
        words = [
            *("run", job.recipe, "--inputs", f"@{listed}", "--outdir", str(folder)),
            *("--jobs", str(cores), "--max-memory", str(max(self.memory // together, 256 << 20))),
            *("--json", "--resume", "--log", str(folder / f"{job.name}.log"), *self.options),
            *(word for setting in job.settings for word in ("-p", setting)),
        ]
        files = [folder / f".{job.name}.{end}" for end in ("out", "err")]
        with files[0].open("w") as out, files[1].open("w") as err:
            process = subprocess.Popen(
                command(words),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                text=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        return _Started(job, process, time.monotonic(), *files)

    def _ended(self, item: _Started, asked: dict[str, str]) -> Result:
        """Return what became of a job that has ended."""
        job, seconds = item.job, time.monotonic() - item.began
        out = item.stdout.read_text(encoding="utf-8", errors="replace")
        err = item.stderr.read_text(encoding="utf-8", errors="replace")
        for path in (item.stdout, item.stderr):
            path.unlink(missing_ok=True)
        if item.process.returncode != 0:
            why = err.strip() or f"it ended with status {item.process.returncode}"
            self.tell(f"{job.name}: failed\n{why}")
            return Result(job, "failed", why, seconds=seconds)
        said = json.loads(out)
        base = self.folder.resolve()
        products = [_below(Path(name), base) for name in said["products"]]
        known = {name: found for name in products if (found := stamp(base / name)) is not None}
        self.ledger.record(job.name, Made(asked, known, round(seconds, 1)))
        self.tell(f"{job.name}: {', '.join(products)} in {seconds:.1f} s")
        return Result(job, "done", "", products, list(said["notes"]), seconds)


def _below(path: Path, folder: Path) -> str:
    """Return a path below the folder, or the path itself."""
    whole = (folder / path).resolve()
    return str(whole.relative_to(folder)) if whole.is_relative_to(folder) else str(whole)


def _stop(running: Sequence[_Started]) -> None:
    """Tell jobs to stop as Ctrl-C does, and wait: they keep what they have."""
    for item in running:
        with suppress(ProcessLookupError):
            item.process.send_signal(signal.SIGINT)
    for item in running:
        try:
            item.process.wait(30)
        except subprocess.TimeoutExpired:
            item.process.kill()
            item.process.wait()
        for path in (item.stdout, item.stderr):
            path.unlink(missing_ok=True)
