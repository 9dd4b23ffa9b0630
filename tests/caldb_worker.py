"""Several processes that use a calibration database at once: ``DATABASE FOLDER COUNT``.

Run as a program, so that it can fork before anything has started threads. Each process makes the
database, adds six files, looks at what is there after each and removes its first one; any error or
lost entry gives a bad exit status.
"""

from __future__ import annotations

import multiprocessing
import sys
from multiprocessing.synchronize import Barrier
from pathlib import Path

from f2yaml.interpreter.caldb import CalibrationDatabase


def work(path: Path, folder: Path, number: int, start: Barrier) -> None:
    """Do the work of one process."""
    start.wait(60)
    database = CalibrationDatabase.create(path)
    mine: set[str] = set()
    for turn in range(6):
        name = f"{number}_{turn}.fits"
        database.add(folder / name)
        mine.add(name)
        if turn == 3:
            assert len(database.remove(f"{number}_0.fits")) == 1
            mine.discard(f"{number}_0.fits")
        there = {entry.name for entry in database.entries()}
        assert {n for n in there if n.startswith(f"{number}_")} == mine


def main(path: Path, folder: Path, count: int) -> int:
    """Start the processes together; return how many failed."""
    context = multiprocessing.get_context("fork")
    start = context.Barrier(count)
    workers = [context.Process(target=work, args=(path, folder, n, start)) for n in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    return sum(worker.exitcode != 0 for worker in workers)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
