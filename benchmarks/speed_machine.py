"""Yardsticks: what this machine does in a second, so that times can be told as ratios.

Each figure is the best of some tries: anything else that runs only makes it worse.
"""

from __future__ import annotations

import mmap
import os
import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

MIB = 1 << 20
GIB = 1 << 30
PACKAGES = ("f2yaml", "numpy", "numba", "astropy", "sep", "pydantic", "ruamel.yaml", "rich")
#: Name, unit and meaning of each yardstick.
YARDSTICKS = {
    "copy": ("GB/s", "memory copied into a buffer in use, bytes read and written, one thread"),
    "touch": ("s/GiB", "memory written for the first time, as numpy gets it"),
    "read": ("GB/s", "a file in the page cache, read into a buffer in use"),
    "write": ("GB/s", "a new file, written and synced"),
    "arithmetic": ("Gop/s", "multiply-add in single precision on 64 KiB in the cache"),
    "python": ("Mop/s", "turns of a loop of the interpreter"),
}


def yardsticks(folder: Path, size: int = 256 * MIB, tries: int = 5) -> dict[str, float]:
    """Measure all yardsticks.

    Parameters
    ----------
    folder : Path
        Where the file is written and read.
    size : int
        Bytes of each buffer, far more than the caches hold.
    tries : int
    """
    source, target = np.ones(size, np.uint8), np.ones(size, np.uint8)
    copied = _best(lambda: np.copyto(target, source), tries)
    touched = _best(lambda: np.empty(size, np.uint8).fill(1), tries)
    path = folder / f".yardstick.{os.getpid()}"
    try:
        written = _best(lambda: _write(path, source), min(tries, 3))
        read = _best(lambda: _read(path, source), min(tries, 3))
    finally:
        path.unlink(missing_ok=True)
    return {
        "copy": 2 * size / copied / 1e9,
        "touch": touched * GIB / size,
        "read": size / read / 1e9,
        "write": size / written / 1e9,
        "arithmetic": _arithmetic(tries),
        "python": _interpreter(tries),
    }


def _best(call: Callable[[], Any], tries: int) -> float:
    """Return the least time of a call in seconds, the first one left out."""
    spent = []
    for _ in range(tries + 1):
        begun = time.perf_counter()
        call()
        spent.append(time.perf_counter() - begun)
    return min(spent[1:])


def _write(path: Path, content: np.ndarray) -> None:
    path.unlink(missing_ok=True)
    with path.open("wb", buffering=0) as file:
        file.write(content.data)
        os.fsync(file.fileno())


def _read(path: Path, buffer: np.ndarray) -> None:
    with path.open("rb", buffering=0) as file:
        file.readinto(buffer.data)


def _arithmetic(tries: int) -> float:
    x, step = np.ones(16384, np.float32), np.float32(1e-9)
    rounds = 500

    def turn() -> None:
        for _ in range(rounds):
            np.multiply(x, np.float32(0.999), out=x)
            np.add(x, step, out=x)

    return 2 * rounds * x.size / _best(turn, tries) / 1e9


def _interpreter(tries: int) -> float:
    count = 200_000

    def turn() -> int:
        total = 0
        for number in range(count):
            total += number & 7
        return total

    return count / _best(turn, tries) / 1e6


def machine() -> dict[str, Any]:
    """Return what runs here: processor, cores, memory, system and versions."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "?"
    pages = os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(pages * mmap.PAGESIZE / GIB, 1),
        "system": f"{platform.system()} {platform.release()}",
        "versions": versions,
        "when": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def load() -> float:
    """Return how many processes wanted to run in the last minute; near 0 on a quiet machine."""
    return os.getloadavg()[0]


if __name__ == "__main__":
    for name, value in yardsticks(Path(sys.argv[1] if sys.argv[1:] else ".")).items():
        print(f"{name:12s} {value:8.2f} {YARDSTICKS[name][0]:6s} {YARDSTICKS[name][1]}")
