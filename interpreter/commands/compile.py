"""``f2yaml compile``: compile the kernels ahead of the first run."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "compile the kernels now, not in the first run"

#: Runs on the frames of the scenario `tiny` that use the kernels of all shipped recipes.
_RUNS = (
    ("--inputs", "raw/S20200107S0049.fits", "raw/S20200107S005*.fits"),
    ("--inputs", "raw/S20200108*.fits", "raw/S20200107S003*.fits"),
    (
        "ultradeep",
        "--inputs",
        "raw/S20200104*.fits",
        "-p",
        "skyCorrect:write_outputs=True",
    ),
    ("alignAndStack", "--inputs", "*_skyCorrected.fits"),
    ("reduce", "--mode", "qa", "--inputs", "raw/S20200104*.fits"),
    ("makeSkyFlat", "--inputs", "raw/S20200104*.fits"),
)
#: What needs neither darks nor flats nor skies: compiled beside the rest, on a second core.
_BESIDE = """\
f2yaml: 1
name: compileStack
doc: A stack that needs neither darks nor flats nor skies.
steps:
  - {include: base/standard.yaml}
  - {do: detectSources}
  - {do: adjustWCSToReference}
  - {do: resampleToCommonFrame}
  - {do: scaleCountsToReference}
  - {do: stackFrames}
outputs:
  main: {suffix: _beside}
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``f2yaml compile``: none."""


def run(args: argparse.Namespace) -> int:
    """Reduce a small simulated night, so that all kernels are compiled and kept."""
    import sys
    import tempfile
    import time
    from concurrent.futures import ThreadPoolExecutor

    from f2yaml.interpreter.algorithms import compiling, jit
    from f2yaml.schema.problems import RequestError

    jit.kernel(lambda: 0)  # finds out whether there is a place to keep them
    if compiling.not_kept:
        raise RequestError(
            "compiled kernels cannot be kept",
            compiling.not_kept[0].partition(";")[0],
            "name a folder in the environment variable NUMBA_CACHE_DIR",
        )
    begun = time.monotonic()
    print("compiling kernels; takes a few minutes", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="f2yaml-compile-") as folder:
        place = Path(folder)
        _step(place, "simulate", "tiny", "--out", "raw")
        (place / "beside.yaml").write_text(_BESIDE, encoding="utf-8")
        with ThreadPoolExecutor(1) as second:
            beside = second.submit(
                _step, place, "run", "beside.yaml", "--inputs", "raw/S20200104*.fits", "--quiet"
            )
            for words in _RUNS:
                _step(place, "run", *words, "--quiet")
            beside.result()
    print(f"kernels are compiled; {time.monotonic() - begun:.0f} s")
    return 0


def _step(folder: Path, *words: str) -> None:
    """Run a command of f2yaml in a folder, as from the shell."""
    import subprocess

    from f2yaml.interpreter.errors import F2Error
    from f2yaml.interpreter.itself import command

    done = subprocess.run(
        command(words),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise F2Error(
            f"f2yaml {' '.join(words[:2])} failed on the small night that needs all kernels",
            done.stderr.strip().splitlines()[0] if done.stderr.strip() else "it does not say why",
            "try `f2yaml simulate tiny --out DIR`, then run a recipe on it",
        )
