"""Run a command, and take its time, processor time and the memory of its whole process tree.

Memory is the sum of the proportional set sizes (PSS) of all processes of the tree, looked up in
``/proc/PID/smaps_rollup``: a page that several of them share is counted once. Where there is no
such file, only the resident size of the largest process is known.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

#: Seconds between two looks, and the largest share of the time they may take.
INTERVAL, SHARE = 0.05, 0.03
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Ended:
    """What a command took.

    Parameters
    ----------
    status : int
        Exit status.
    wall, cpu : float
        Seconds; processor time is that of the tree.
    memory : int
        Peak of the tree in bytes; 0 if it is not known.
    largest : int
        Peak resident size of the largest process in bytes.
    processes : int
        Processes there were at once, at most.
    output, errors : str
    """

    status: int
    wall: float
    cpu: float
    memory: int
    largest: int
    processes: int
    output: str
    errors: str


class Tree:
    """Looks at a process and all that it started, until it is told to stop."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.memory, self.processes = 0, 0
        self._cpu: dict[int, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Tree:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def cpu(self) -> float:
        """Processor time of all processes that were seen (s)."""
        return sum(self._cpu.values())

    def _watch(self) -> None:
        wait = INTERVAL
        while not self._stop.wait(wait):
            begun = time.thread_time()
            self.look()
            wait = max(INTERVAL, (time.thread_time() - begun) / SHARE)

    def look(self) -> None:
        """Take one look."""
        held = 0
        members = descendants(self.pid)
        for pid, spent in members.items():
            held += proportional(pid)
            self._cpu[pid] = spent
        self.memory = max(self.memory, held)
        self.processes = max(self.processes, len(members))


def descendants(root: int) -> dict[int, float]:
    """Return the processes of a tree, its root included, with their processor time (s)."""
    children: dict[int, list[int]] = {}
    spent: dict[int, float] = {}
    for entry in os.listdir("/proc") if os.path.isdir("/proc") else ():  # noqa: PTH208, PTH112
        if entry.isdigit():
            try:
                text = Path(f"/proc/{entry}/stat").read_text()
            except OSError:  # it has ended
                continue
            # The name, in parentheses, may hold anything.
            fields = text.rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(entry))
            spent[int(entry)] = (int(fields[11]) + int(fields[12])) / _TICKS
    found: dict[int, float] = {}
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        if pid in spent:
            found[pid] = spent[pid]
        waiting += children.get(pid, [])
    return found


def proportional(pid: int) -> int:
    """Return the proportional set size of a process in bytes; 0 if it has ended."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:  # noqa: PTH123
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def measured(
    words: Sequence[str | Path], folder: Path, environment: Mapping[str, str] | None = None
) -> Ended:
    """Run a command in a folder and measure it.

    Parameters
    ----------
    words : sequence
        Program and arguments.
    folder : Path
    environment : mapping, optional
        In place of this process's own.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        begun = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in words],
            cwd=folder,
            env=None if environment is None else dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
        )
        with Tree(process.pid) as tree:
            _, status, used = os.wait4(process.pid, 0)
            wall = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        return Ended(
            process.returncode,
            wall,
            max(used.ru_utime + used.ru_stime, tree.cpu),
            tree.memory,
            used.ru_maxrss * 1024,
            tree.processes,
            output.read(),
            errors.read(),
        )
