"""Runs that are killed, and go on: real processes, real signals, and the pixels in the end."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command_line import Night, Program, names, planes

IMAGE = "S20200104S0075_image.fits"
JOURNAL = ".f2yaml-journal-S20200104S0075-ultradeep"
PLANES = ("SCI", "VAR", "DQ", "COVERAGE")
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def words(night: Night, *more: object) -> tuple[object, ...]:
    return ("run", "ultradeep", "--inputs", *night.science, *night.user_cal, *more)


@pytest.fixture(scope="module")
def unbroken(
    f2yaml: Program, tiny: Night, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, np.ndarray]:
    """The image of a run that nothing has disturbed."""
    folder = tmp_path_factory.mktemp("unbroken")
    f2yaml(*words(tiny), "--quiet", cwd=folder)
    assert names(folder) == [IMAGE]  # a run so short keeps no journal
    return planes(folder / IMAGE, PLANES)


def same(path: Path, expected: dict[str, np.ndarray]) -> None:
    made = planes(path, PLANES)
    assert {n: made[n].dtype for n in made} == {n: p.dtype for n, p in expected.items()}
    assert [n for n in expected if made[n].tobytes() != expected[n].tobytes()] == []


class Watched:
    """A run whose lines are read while it goes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process, self.lines = process, list[str]()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(iter(self.process.stderr.readline, ""))

    def wait(self, lines: int) -> bool:
        """Wait until it has said so many lines; False if it ends before."""
        while len(self.lines) < lines:
            if self.process.poll() is not None:
                return False
            time.sleep(0.001)
        return True

    def end(self) -> str:
        """Wait for its end; returns what it said."""
        self.process.wait(timeout=200)
        self._thread.join()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
        return "".join(self.lines)


@pytest.mark.parametrize(
    ("seed", "moments"), [(6, 4), pytest.param(50, 60, marks=pytest.mark.full)]
)
def test_runs_killed_at_random_moments_end_with_the_same_pixels(
    f2yaml: Program,
    tiny: Night,
    desk: Path,
    unbroken: dict[str, np.ndarray],
    seed: int,
    moments: int,
) -> None:
    """Kill and go on, kill and go on, until a run has come to its end; then from the start."""
    chance = random.Random(seed)
    killed, ended, resumed = 0, 0, set[str]()
    while killed < moments or not ended:
        run = Watched(f2yaml.start(*words(tiny, "--resume"), cwd=desk))
        number = chance.choice(SIGNALS)
        # Before it has said a word, Python itself may not yet know what to do with a signal.
        first = 0 if number is signal.SIGKILL else 1
        doomed = killed < moments and run.wait(chance.randint(first, 26))
        if doomed:
            time.sleep(chance.choice((0, 0.02, 0.2)) * chance.random())
            run.process.send_signal(number)
        said = run.end()
        resumed |= {line for line in said.splitlines() if line.startswith("resumed after")}
        assert "Traceback" not in said
        assert "cannot" not in said
        # A signal that comes when all is done, as Python leaves, ends the process in its own way.
        if run.process.returncode == 0 or (run.process.returncode == -number and "done in" in said):
            ended += 1
            same(desk / IMAGE, unbroken)
            assert names(desk) == [IMAGE]
            (desk / IMAGE).unlink()
            continue
        assert doomed, said
        killed += 1
        assert run.process.returncode == (-9 if number is signal.SIGKILL else 130), said
        print(f"{killed}: {number.name} after {len(run.lines)} lines, {ended} ended")
        if "kept up to step " in said:
            assert (desk / JOURNAL / "journal.json").exists()
            assert "the same command with --resume continues" in said  # which is a long one
    print(f"{killed} killed, {ended} ended; {len(resumed)} places: {sorted(resumed)}")
    # Kills may come before a state is worth keeping, or when a run is done.
    assert len(resumed) >= (1 if moments < 50 else 5)


@pytest.fixture(scope="module")
def broken(f2yaml: Program, tiny: Night, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what a run had kept when it was killed in its last pass."""
    folder = tmp_path_factory.mktemp("broken")
    run = Watched(f2yaml.start(*words(tiny, "--resume"), cwd=folder))
    assert run.wait(33)
    run.process.kill()
    assert " stackFrames" in run.end()
    return folder


@pytest.fixture
def left(broken: Path, desk: Path) -> Iterator[Path]:
    shutil.copytree(broken, desk, dirs_exist_ok=True)
    yield desk
    assert not (desk / JOURNAL).exists()


def test_results_tell_of_it(
    f2yaml: Program, tiny: Night, left: Path, unbroken: dict[str, np.ndarray]
) -> None:
    done = f2yaml(*words(tiny, "--resume", "--json", "--log", "log"), cwd=left)
    told = json.loads(done.stdout)
    assert told["products"] == [IMAGE]
    assert told["resumed_after"] in range(26, 36)
    assert f"resumed after step {told['resumed_after']} of 35, " in (left / "log").read_text()
    same(left / IMAGE, unbroken)
    done = f2yaml(*words(tiny, "--resume", "--json"), cwd=left)  # nothing is left of it
    assert json.loads(done.stdout)["resumed_after"] is None


def test_a_run_without_resume_begins_anew_and_says_so(
    f2yaml: Program, tiny: Night, left: Path, unbroken: dict[str, np.ndarray]
) -> None:
    done = f2yaml(*words(tiny), cwd=left)
    assert "an interrupted run had come to step " in done.stderr
    assert " 1/35 prepare" in done.stderr
    same(left / IMAGE, unbroken)


def test_a_changed_value_is_redone_from_its_step(f2yaml: Program, tiny: Night, left: Path) -> None:
    given = ("-p", "stackFrames:operation=median")
    done = f2yaml(*words(tiny, "--resume", *given), cwd=left)
    assert "redone from stackFrames (" in done.stderr
    assert ") on: operation is median, was " in done.stderr
    assert "\nresumed after step " in done.stderr
    other = left / "other"
    f2yaml(*words(tiny, *given, "--outdir", other, "-q"), cwd=left)
    same(left / IMAGE, planes(other / IMAGE, PLANES))


@pytest.mark.full
def test_a_changed_calibration_is_redone_from_its_step(
    f2yaml: Program, tiny: Night, left: Path
) -> None:
    """Another flat, of another name: the first frames are dark-corrected, and not kept as such."""
    flat = shutil.copyfile(tiny.flat, left / "another_flat.fits")
    with flat.open("ab") as file:  # FITS allows it, and its checksum is another
        file.write(b"\0" * 2880)
    given = [w for w in words(tiny) if str(w) != f"processed_flat:{tiny.flat}"][:-1]
    done = f2yaml(*given, "--user-cal", f"processed_flat:{flat}", "--resume", cwd=left)
    assert "redone from flatCorrect (" in done.stderr
    assert "is another_flat.fits, was S20200108S0010_flat.fits" in done.stderr
    assert "nothing is left to resume" in done.stderr


@pytest.mark.full
def test_two_runs_at_once(
    f2yaml: Program, tiny: Night, desk: Path, unbroken: dict[str, np.ndarray]
) -> None:
    """One is stopped as by Ctrl-Z with its journal begun; the other does without."""
    first = Watched(f2yaml.start(*words(tiny, "--resume"), cwd=desk))
    while not (desk / JOURNAL / "journal.json").exists():
        assert first.process.poll() is None
        time.sleep(0.001)
    os.kill(first.process.pid, signal.SIGSTOP)
    try:
        done = f2yaml(*words(tiny, "--resume"), cwd=desk)
        assert "another run of ultradeep on these frames is at work in .: this one " in done.stderr
        same(desk / IMAGE, unbroken)
        assert (desk / JOURNAL / "journal.json").exists()
    finally:
        os.kill(first.process.pid, signal.SIGCONT)
        said = first.end()
    assert first.process.returncode == 0, said
    same(desk / IMAGE, unbroken)
    assert names(desk) == [IMAGE]


def limit(size: int) -> None:
    """Let no file grow beyond a size."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_limit_on_files_in_the_end(
    f2yaml: Program, tiny: Night, desk: Path, unbroken: dict[str, np.ndarray]
) -> None:
    """The product of 4 MB is over the limit, the files of the journal are not; then it goes."""
    done = f2yaml(
        *words(tiny, "--resume"), cwd=desk, check=False, preexec_fn=lambda: limit(3_900_000)
    )
    assert done.returncode == 1
    assert f"{IMAGE} cannot be written: the limit on the size of a file is reached" in done.stderr
    assert "kept up to step 35 of 35, stackFrames; the same command with --resume" in done.stderr
    done = f2yaml(*words(tiny, "--resume"), cwd=desk)
    assert "resumed after step 35 of 35, stackFrames\nwrote " in done.stderr
    same(desk / IMAGE, unbroken)
    assert names(desk) == [IMAGE]


def test_a_disk_without_room_for_the_journal(
    f2yaml: Program, tiny: Night, desk: Path, unbroken: dict[str, np.ndarray]
) -> None:
    out = desk / "small"
    out.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", out], capture_output=True, check=False
    )
    if mount.returncode != 0:
        pytest.skip("file systems cannot be mounted here")
    try:
        done = f2yaml(*words(tiny, "--resume", "--outdir", out), cwd=desk)
        assert done.stderr.count("the run goes on without its journal: ") == 1
        same(out / IMAGE, unbroken)
        assert names(out) == [IMAGE]
    finally:
        subprocess.run(["umount", out], check=True)


def test_a_dry_run_keeps_nothing(f2yaml: Program, tiny: Night, desk: Path) -> None:
    f2yaml(*words(tiny, "--resume", "--dry-run"), cwd=desk)
    assert names(desk) == []
