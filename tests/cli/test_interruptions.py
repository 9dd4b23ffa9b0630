"""Signals, full disks and locked databases: what is on disk afterwards."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command_line import Night, Program, checksums, names, planes, refused

DARK = "S20200107S0049_dark.fits"


# a database that another process holds: asked first, answered last, as f2yaml waits for 30 s ------
@pytest.fixture(scope="module", autouse=True)
def waiting(
    f2yaml: Program, tiny: Night, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    folder = tmp_path_factory.mktemp("locked")
    f2yaml("caldb", "init", cwd=folder)
    database = folder / "calibrations" / "f2yaml.db"
    holder = sqlite3.connect(database, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    process = f2yaml.start("run", "--inputs", *tiny.darks_5s, cwd=folder)
    with process:  # closes its pipes
        yield process, folder
        process.kill()
    holder.close()


def limit_files() -> None:
    """Let no file grow over 1 MB; Python then gets EFBIG instead of a signal."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))


def test_a_limit_on_files_leaves_the_old_product_and_a_rerun_replaces_it(
    f2yaml: Program, tiny: Night, desk: Path
) -> None:
    words = ("run", "--inputs", *tiny.darks_5s, "--quiet")
    f2yaml(*words, "-p", "stackDarks:operation=median", cwd=desk)
    before = checksums([desk])
    done = f2yaml(*words, cwd=desk, check=False, preexec_fn=limit_files)
    refused(
        done,
        1,
        f"{DARK} cannot be written: the limit on the size of a file is reached",
        "nothing that was there before has been changed",
        "ulimit -f",
    )
    assert checksums([desk]) == before
    with (desk / DARK).open("rb") as still_open:
        f2yaml(*words, cwd=desk)
        # Who was reading sees the old file to its end: the new one took its name, not its place.
        assert still_open.read() != (desk / DARK).read_bytes()
    made, expected = planes(desk / DARK), planes(tiny.dark)
    assert all(np.array_equal(made[name], expected[name]) for name in made)
    assert (desk / "calibrations" / "processed_dark" / DARK).samefile(desk / DARK)


def test_a_really_full_disk(f2yaml: Program, tiny: Night, desk: Path) -> None:
    full = desk / "full"
    full.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", full], capture_output=True, check=False
    )
    if mount.returncode != 0:
        pytest.skip("file systems cannot be mounted here")
    try:
        done = f2yaml(
            "run", "--inputs", *tiny.darks_5s, "-q", "--outdir", "full", cwd=desk, check=False
        )
        assert names(full) == []
    finally:
        subprocess.run(["umount", full], check=True)
    refused(done, 1, f"full/{DARK} cannot be written: no space left on the device")
    assert not (desk / "calibrations").exists()


# interruptions ------------------------------------------------------------------------------------
def seen(process: subprocess.Popen[str], text: str) -> None:
    """Wait until a process has written a text to standard error."""
    assert process.stderr is not None
    assert any(text in line for line in process.stderr), f"it ended without {text}"


@pytest.mark.parametrize(
    ("number", "group"),
    [
        (signal.SIGINT, True),  # Ctrl-C, which all processes of the terminal get
        (signal.SIGTERM, False),
    ],
)
def test_an_interrupted_run_leaves_nothing(
    f2yaml: Program, tiny: Night, desk: Path, number: signal.Signals, group: bool
) -> None:
    image = desk / "S20200104S0075_image.fits"
    image.write_text("an older product")
    words = ("run", "ultradeep", "--inputs", *tiny.science, *tiny.user_cal, "--jobs", 2)
    process = f2yaml.start(*words, cwd=desk)
    seen(process, " skyCorrect" if group else " flatCorrect")
    (os.killpg if group else os.kill)(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.endswith("interrupted; products already written are complete\n")
    assert "Traceback" not in err
    left = [name for name in names(desk) if not name.startswith(".f2yaml-journal-")]
    assert left == [image.name]  # no part, no scratch
    assert image.read_text() == "an older product"


def test_ctrl_c_while_f2yaml_starts(f2yaml: Program, tiny: Night, desk: Path) -> None:
    """Half a second is spent on imports; an interrupt there is no fault either."""
    for wait_s in (0.3, 0.6):
        process = f2yaml.start("run", "--inputs", *tiny.darks_5s, cwd=desk)
        time.sleep(wait_s)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert err == "interrupted; products already written are complete\n"
        assert names(desk) == []


LETTING_GO = """
import os, signal, time
from f2yaml.interpreter import cli
class Kept:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
def run(argv):
    kept = Kept()
    del kept
    time.sleep(50)
    print("went on")
cli._main = run
raise SystemExit(cli.main())
"""


def test_a_signal_while_python_lets_go_of_an_object_is_not_lost() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LETTING_GO], capture_output=True, text=True, timeout=40, check=False
    )
    assert done.returncode == 130
    assert done.stdout == ""
    assert done.stderr == "interrupted; products already written are complete\n"


TURNED = """
import os, signal, sys, time
from f2yaml.interpreter import cli
from f2yaml.interpreter.commands import show
def run(arguments):
    try:
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))
        time.sleep(50)
    except KeyboardInterrupt:
        raise OSError(5, "made of it") if sys.argv[2:] else ValueError("made of it")
show.run = run
raise SystemExit(cli.main(["show"]))
"""


@pytest.mark.parametrize("words", [("SIGINT",), ("SIGTERM",), ("SIGHUP", "os")])
def test_an_error_that_a_library_makes_of_a_signal_is_that_signal(words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TURNED, *words],
        capture_output=True, text=True, timeout=40, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "interrupted; products already written are complete\n"


def test_a_killed_run_leaves_no_half_product(f2yaml: Program, tiny: Night, desk: Path) -> None:
    """Killed while products are written: each that has its name is whole."""
    words = ("run", "ultradeep_part1", "--inputs", *tiny.science, *tiny.user_cal, "-q")
    process = f2yaml.start(*words, cwd=desk)
    while not any(name.endswith((".part", ".fits")) for name in names(desk)):
        assert process.poll() is None, "it ended before the first product"
        time.sleep(0.002)
    process.kill()
    process.communicate(timeout=60)
    for path in desk.glob("*.fits"):
        made = planes(path)
        assert made["SCI"].shape == made["DQ"].shape == (512, 512)
    f2yaml(*words, cwd=desk)  # what was left does not stand in the way
    assert len(list(desk.glob("*_flatCorrected.fits"))) == 6


# last, as it has waited all the time --------------------------------------------------------------
def test_a_database_that_another_process_holds(
    waiting: tuple[subprocess.Popen[str], Path],
) -> None:
    process, folder = waiting
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    locked = (
        f"calibration database {folder}/calibrations/f2yaml.db is locked by another process "
        f"({os.getpid()})\n"
    )
    assert err == (
        f"waiting for up to 30 s: {locked}{locked}"
        "  why:  it was still locked after 30 s\n"
        "  fix:  wait for the other process to finish, or end it\n"
    )
    assert not list(folder.rglob("*.fits"))
