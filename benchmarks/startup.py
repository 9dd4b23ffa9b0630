"""How long the light commands take from the shell: help, and validation of each shipped recipe.

Wall time, the least of some runs, after one that compiles the bytecode. The exit status is 1 if
``--help`` takes 0.3 s or a validation a second.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from f2yaml.schema.compose import shipped_everywhere

PROGRAM = Path(sys.executable).with_name("f2yaml")
RUNS = 4


def least(*words: str, environment: dict[str, str]) -> float:
    """Return the least time in seconds that a command took, the first run left out."""
    spent = []
    for _ in range(RUNS + 1):
        begun = time.perf_counter()
        subprocess.run([PROGRAM, *words], check=True, capture_output=True, env=environment)
        spent.append(time.perf_counter() - begun)
    return min(spent[1:])


def main() -> int:
    """Measure and print; return the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = folder
        slow = 0
        commands = [(0.3, ("--help",))]
        commands += [(1.0, ("validate", name)) for name in sorted(shipped_everywhere())]
        for limit, words in commands:
            seconds = least(*words, environment=environment)
            slow += seconds >= limit
            print(f"{seconds:6.2f} s  (limit {limit} s)  f2yaml {' '.join(words)}", flush=True)
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
