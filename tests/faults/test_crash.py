"""Runs that are killed, at any moment, and runs that make one product at once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from caldb_products import write_product
from command_line import Night, Program, checksums, names, planes
from f2yaml.interpreter import caldb, leftovers
from f2yaml.interpreter.caldb import CalibrationDatabase, checksum
from f2yaml.interpreter.leftovers import Pending, abandoned, aside, identity, mark, noted, sweep
from f2yaml.interpreter.products import keep

DARK = "S20200107S0049_dark.fits"
KEPT = f"calibrations/processed_dark/{DARK}"
WORKER = Path(__file__).with_name("crash_worker.py")


# every step of writing ------------------------------------------------------------------------
def worker(what: str, folder: Path) -> str:
    tests = os.pathsep.join([str(WORKER.parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", WORKER, what, folder],
        env={**os.environ, "PYTHONPATH": tests},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_run_killed_before_any_step_of_writing_is_made_good(tmp_path: Path) -> None:
    """Product, kept calibration and entry: old or new, all alike after the next command."""
    first, again = map(int, worker("kill", tmp_path).split())
    assert first > 20  # changes on disk and SQL statements, where there was nothing before
    assert again > 20  # and where a product is replaced


def test_four_processes_that_make_one_product_agree_in_the_end(tmp_path: Path) -> None:
    worker("race", tmp_path)


def test_a_file_replaced_while_it_is_entered_is_entered_as_it_is_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_product(tmp_path / "d.fits", "processed_dark", value=1.0)
    database = CalibrationDatabase.create(tmp_path / "f2.db")
    read = caldb.read_product

    def overtaken(path: Path, **words: Any) -> caldb.Entry:
        entry = read(path, **words)
        if not (tmp_path / "other.fits").exists() and entry.sha256 == first:
            write_product(tmp_path / "other.fits", "processed_dark", value=2.0).replace(path)
        return entry

    first = checksum(file)
    monkeypatch.setattr(caldb, "read_product", overtaken)
    assert database.add(file).sha256 == checksum(file) != first
    (entry,) = database.entries()
    assert entry.state() == "present"


def test_a_product_replaced_while_it_is_kept_is_kept_as_it_is_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    product, other, kept = (tmp_path / name for name in ("d.fits", "other.fits", "kept.fits"))
    product.write_text("one")
    other.write_text("another")
    link = Path.hardlink_to

    def overtaken(path: Path, target: Path) -> None:
        link(path, target)
        if other.exists():
            other.replace(product)

    monkeypatch.setattr(Path, "hardlink_to", overtaken)
    keep(product, kept)
    assert kept.samefile(product)
    assert kept.read_text() == "another"
    keep(product, kept)  # two names of one file already
    assert names(tmp_path) == ["d.fits", "kept.fits"]


# whole runs -----------------------------------------------------------------------------------
def whole(f2yaml: Program, desk: Path, known: set[str]) -> bool:
    """Check a folder after a run was killed and another command was given."""
    listed = json.loads(f2yaml("caldb", "list", "--format", "json", cwd=desk).stdout)
    products = [desk / name for name in (DARK, KEPT) if (desk / name).exists()]
    for path in products:
        assert checksum(path) in known or planes(path)["SCI"].shape == (512, 512)
    assert len(products) in (0, 2)
    assert [(row["name"], row["state"]) for row in listed] == [(DARK, "present")] * bool(products)
    if products:
        assert products[0].samefile(products[1])
        (entry,) = CalibrationDatabase.open(desk / "calibrations" / "f2yaml.db").entries()
        assert entry.sha256 == checksum(products[0])
    return bool(products)


def killed(f2yaml: Program, words: tuple[object, ...], desk: Path, moment: random.Random) -> None:
    """Kill a run: half of them at any moment, half while they write."""
    process = f2yaml.start(*words, cwd=desk)
    if moment.random() < 0.5:
        time.sleep(moment.uniform(0.1, 4.0))
    else:
        before = set(names(desk))
        while process.poll() is None and set(names(desk)) == before:
            time.sleep(0.001)
        time.sleep(moment.uniform(0, 0.05))
    process.kill()
    process.communicate(timeout=60)


@pytest.mark.parametrize(("seed", "times"), [(1, 4), pytest.param(2, 40, marks=pytest.mark.full)])
def test_runs_killed_at_random_moments(
    f2yaml: Program, tiny: Night, desk: Path, seed: int, times: int
) -> None:
    moment = random.Random(seed)
    words = ("run", "-q", "--inputs", *tiny.darks_5s)
    known: set[str] = set()
    for _ in range(times):
        killed(f2yaml, words, desk, moment)
        if whole(f2yaml, desk, known):
            known.add(checksum(desk / DARK))
    f2yaml(*words, cwd=desk)
    assert whole(f2yaml, desk, known)
    left = [name for name in names(desk) if Path(name).name.startswith(".")]
    assert left == []
    made, expected = planes(desk / DARK), planes(tiny.dark)
    assert all(np.array_equal(made[name], expected[name]) for name in made)


def test_two_runs_that_make_one_product_at_once(f2yaml: Program, tiny: Night, desk: Path) -> None:
    words = ("run", "-q", "--inputs", *tiny.darks_5s)
    running = [f2yaml.start(*words, cwd=desk) for _ in range(2)]
    for process in running:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out, err) == (0, f"{DARK}\n", "")
    assert whole(f2yaml, desk, set())
    assert names(desk) == [
        DARK, "calibrations", "calibrations/f2yaml.db", "calibrations/processed_dark", KEPT
    ]  # fmt: skip


def test_an_entry_that_could_not_be_made_is_made_by_the_next_command(
    f2yaml: Program, tiny: Night, desk: Path
) -> None:
    """Killed with the product written: named while the database is bad, entered once it is not."""
    f2yaml("run", "-q", "--inputs", *tiny.darks_5s, cwd=desk)
    database = desk / "calibrations" / "f2yaml.db"
    database.unlink()
    note = aside(desk / KEPT, "pending")
    pending = Pending(str(desk / DARK), str(desk / KEPT), "processed_dark", [(str(database), True)],
                      before=None)  # fmt: skip
    with noted(pending):
        text = note.read_text()
    dead = note.with_name(note.name.replace(f"-{os.getpid()}-", f"-{gone()}-"))
    dead.write_text(text)
    database.write_text("no database")
    done = f2yaml("caldb", "list", cwd=desk, check=False)
    assert done.returncode == 1
    assert f"note: {desk / KEPT} is from a run that was interrupted" in done.stderr
    database.unlink()
    done = f2yaml("plan", "--inputs", *tiny.darks_5s, cwd=desk)
    assert f"note: entered {desk / KEPT}: the run that made it was interrupted\n" in done.stderr
    assert whole(f2yaml, desk, set())
    assert not dead.exists()
    assert f2yaml("caldb", "list", cwd=desk).stderr == ""


# what is left, and by whom --------------------------------------------------------------------
def gone() -> int:
    """Return the number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_only_what_the_dead_left_is_removed(tmp_path: Path) -> None:
    own = mark()
    host, pid, start = own.removeprefix("f2yaml-").rsplit("-", 2)
    dead = f"f2yaml-{host}-{gone()}-12345"
    reused = f"f2yaml-{host}-{pid}-{int(start) - 1}"  # this process has the number of a dead one
    abroad = f"f2yaml-{host}x-{gone()}-12345"
    stay = {
        f".a.fits.{own}.part", f".a.fits.{abroad}.part", ".a.fits.123.part", f"a.fits.{dead}.part",
        f".a.fits.{dead}.part.fits", f".f2yaml-scratch-{own}-ab_1", f".f2yaml-scratch-{abroad}-ab",
        f".a.fits.{own}.pending", f".a.fits.{dead}.pending",
    }  # fmt: skip
    leave = {
        f".a.fits.{dead}.part", f".a.fits.{reused}.part", f".probe.{dead}.part",
        f".f2yaml.db.1a.{dead}.part-journal", f".f2yaml-scratch-{dead}-ab_1",
    }  # fmt: skip
    for name in stay | leave:
        path = tmp_path / name
        if "scratch" in name:
            path.mkdir()
            (path / "1.planes").touch()
        else:
            path.touch()
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == stay


def test_a_process_that_still_runs_keeps_its_parts(
    f2yaml: Program, tiny: Night, desk: Path
) -> None:
    """A run that is stopped while it writes, as by Ctrl-Z, goes on after another one has run."""
    words = ("run", "-q", "--inputs", *tiny.darks_5s)
    first = f2yaml.start(*words, cwd=desk)
    while not any(name.endswith(".part") for name in names(desk)):
        assert first.poll() is None, "it ended before it was seen to write"
        time.sleep(0.0005)
    os.kill(first.pid, signal.SIGSTOP)
    held = [name for name in names(desk) if name.endswith((".part", ".pending"))]
    f2yaml(*words, cwd=desk)
    assert set(held) <= set(names(desk))
    os.kill(first.pid, signal.SIGCONT)
    _, err = first.communicate(timeout=60)
    assert (first.returncode, err) == (0, "")
    assert whole(f2yaml, desk, set())


def test_long_names_keep_apart(tmp_path: Path) -> None:
    """The name aside of a name of 255 bytes is a name, too, and no other's."""
    paths = [tmp_path / ("\N{LATIN SMALL LETTER E WITH ACUTE}" * 120 + end) for end in "ab"]
    made = {aside(path) for path in paths}
    assert len(made) == 2
    for path in made:
        path.touch()
        assert not abandoned(path.name)


def test_a_note_that_is_cut_short_is_forgotten(tmp_path: Path) -> None:
    note = tmp_path / f".d.fits.{mark().replace(str(os.getpid()), str(gone()))}.pending"
    note.write_text('{"product": "/a/')
    assert leftovers.unfinished(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_note_stays_only_while_there_is_something_to_finish(tmp_path: Path) -> None:
    product = tmp_path / "d.fits"
    pending = Pending(str(product), str(product), "processed_dark", [], identity(product))
    with pytest.raises(ZeroDivisionError), noted(pending):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileExistsError), noted(pending):
        [product.touch(exist_ok=False) for _ in range(2)]
    assert len(list(tmp_path.iterdir())) == 2


def test_folders_that_were_made_for_nothing_go_with_the_run(
    f2yaml: Program, tiny: Night, desk: Path
) -> None:
    """No permission to replace what has the name of the product: a folder, here."""
    (desk / DARK).mkdir()
    done = f2yaml("run", "-q", "--inputs", *tiny.darks_5s, cwd=desk, check=False)
    assert done.returncode == 1
    assert f"{DARK} cannot be written: Is a directory" in done.stderr
    # On a slow day the run has kept a state, for --resume.
    left = [path for path in checksums([desk]) if ".f2yaml-journal-" not in str(path)]
    assert left == []
    assert [name for name in names(desk) if not name.startswith(".f2yaml-journal-")] == [DARK]
