"""Runs that are killed at every step of writing, and several at once: ``kill|race FOLDER``.

Run as a program, so that it can fork before anything has started threads. What a run does after
its pixels are made is done here with a small frame: it is written, kept and entered.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from caldb_products import DARK, primary
from f2yaml.interpreter import caldb
from f2yaml.interpreter.caldb import CalibrationDatabase, checksum
from f2yaml.interpreter.calibrations import Calibrations
from f2yaml.interpreter.fits import read_frame
from f2yaml.interpreter.products import Writer
from f2yaml.interpreter.recovery import recover
from f2yaml.schema.recipe import Output
from synthetic import flat_frame

NAME = "S20200107S0001_dark.fits"
CHANGES = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "sqlite3.connect"}


def services(folder: Path) -> tuple[Calibrations, Writer]:
    """Return what a run in this folder has."""
    service = Calibrations.from_config(None, folder)
    databases = [(str(c.path.absolute()), c.built_in) for c in service.storing]
    writer = Writer(
        Path(), store=service.store, cache=service.cache_path, mode="sq", databases=databases
    )
    return service, writer


def reduce(folder: Path, value: float) -> list[str]:
    """Do what a run does, but for the reduction; return what it said of an earlier one."""
    os.chdir(folder)
    said: list[str] = []
    recover(folder, said.append)
    service, writer = services(folder)
    service.check(storing=True)
    writer.check()
    frame = replace(flat_frame(value, name="S20200107S0001.fits"), phu=primary(DARK))
    output = Output(suffix="_dark", store="processed_dark")
    assert len(list(writer.products({"main": output}, {"main": [frame]}))) == 1
    return said


def doomed(number: int) -> None:
    """Let this process be killed before a step of it: a change on disk, or an SQL statement."""
    left = number

    def step() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, words: tuple[object, ...]) -> None:
        writes = event == "open" and isinstance(words[2], int) and words[2] & 3
        if event in CHANGES or (writes and not str(words[0]).startswith("/dev")):
            step()

    original = caldb.connect

    def traced(path: Path) -> sqlite3.Connection:
        connection = original(path)
        connection.set_trace_callback(lambda text: step())
        return connection

    caldb.connect = traced  # type: ignore[attr-defined]
    sys.addaudithook(hook)


def forked(work: Callable[[], object]) -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    return process


def value_of(path: Path) -> float | None:
    """Return the value of all pixels of a whole product; None if there is none."""
    if not path.exists():
        return None
    planes = read_frame(path).pixels.whole()
    assert planes.variance is not None
    assert planes.mask is not None
    (value,) = np.unique(planes.data)
    return float(value)


def agree(folder: Path, value: float | None) -> None:
    """Check that product, kept calibration and database are one, and that nothing else is left."""
    kept = folder / "calibrations" / "processed_dark" / NAME
    assert value_of(folder / NAME) == value_of(kept) == value
    path = folder / "calibrations" / "f2yaml.db"
    entries = CalibrationDatabase.open(path).entries() if path.exists() else []
    if value is None:
        assert entries == []
    else:
        (entry,) = entries
        assert (entry.path, entry.sha256, entry.state()) == (kept, checksum(kept), "present")
        assert kept.samefile(folder / NAME)
    left = {str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir()}
    known = {NAME, f"calibrations/processed_dark/{NAME}", "calibrations/f2yaml.db"}
    assert left <= known, left - known


def killed_everywhere(parent: Path, before: float | None) -> int:
    """Kill a run before each of its steps; return how many there are."""
    start = parent / f"start_{before}"
    start.mkdir()
    if before is not None:
        process = forked(lambda: reduce(start, before))
        process.join(60)
        assert process.exitcode == 0
    outcomes: set[tuple[float | None, bool]] = set()
    for number in range(1, 1000):
        folder = parent / f"{before}_{number}"
        shutil.copytree(start, folder)
        if before is not None:  # a copy is no link
            (folder / NAME).unlink()
            (folder / NAME).hardlink_to(folder / "calibrations" / "processed_dark" / NAME)

        def work(folder: Path = folder, number: int = number) -> None:
            doomed(number)
            reduce(folder, 2.0)

        process = forked(work)
        process.join(60)
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL, process.exitcode
        found = value_of(folder / NAME)
        assert found in (before, 2.0)
        said: list[str] = []
        recover(folder, said.append)  # as the next command does
        os.chdir(folder)
        services(folder)[1].check()  # as the next run does
        agree(folder, found)
        outcomes.add((found, bool(said)))
        shutil.rmtree(folder)
    # killed before the change, between it and the entry (told of), and with all done but the note
    assert {(before, False), (2.0, True)} <= outcomes, outcomes
    return number - 1


def race(folder: Path, count: int, rounds: int) -> None:
    """Let processes make one product at once, each with pixels of its own, several times."""

    def work(own: int) -> None:
        for turn in range(rounds):
            assert reduce(folder, float(10 * own + turn + 1)) == []

    processes = [forked(lambda own=own: work(own)) for own in range(count)]  # type: ignore[misc]
    for process in processes:
        process.join(100)
        assert process.exitcode == 0, process.exitcode
    value = value_of(folder / NAME)
    assert value is not None
    assert any(value == 10 * own + rounds for own in range(count)), "not the last of any process"
    agree(folder, value)


def main(what: str, folder: Path) -> int:
    """Do one of the two; what goes wrong is an error."""
    if what == "race":
        race(folder, count=4, rounds=5)
        return 0
    for before in (None, 1.0):
        print(killed_everywhere(folder, before))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
