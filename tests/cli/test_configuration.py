"""What a configuration says holds in runs: parameters of steps, and the log file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Night, Program, refused

CONFIGURATION = """\
f2yaml: 1
kind: config
databases: []
log: runs.log
defaults:
  stackDarks: {reject_method: sigclip, hsigma: 2.5}
  skyCorrect: {dilation: 4}
"""


def values(f2yaml: Program, product: Path, cwd: Path) -> dict[str, tuple[object, str]]:
    shown = json.loads(f2yaml("show", product, "--format", "json", cwd=cwd).stdout)
    (run,) = shown["runs"]
    step = next(s for s in run["steps"] if s["primitive"] == "stackDarks")
    return {name: (row["value"], row["origin"]) for name, row in step["values"].items()}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], 2.5),
        (["-p", "stackDarks:hsigma=3.5"], 3.5),
        (["-p", "hsigma=3.5"], 3.5),
    ],
)
def test_parameters_of_the_configuration(
    f2yaml: Program, tiny: Night, desk: Path, words: list[str], expected: float
) -> None:
    (desk / "f2yaml.yaml").write_text(CONFIGURATION)
    recipe = "makeProcessedDark"
    f2yaml("run", recipe, "--inputs", *tiny.darks_2s, *words, "--config", "f2yaml.yaml", cwd=desk)
    found = values(f2yaml, desk / "S20200107S0035_dark.fits", desk)
    assert found["hsigma"] == (expected, "-p")
    assert found["reject_method"] == ("sigclip", "-p")
    assert "stackDarks" in (desk / "runs.log").read_text()


def test_a_wrong_parameter_of_the_configuration(f2yaml: Program, tiny: Night, desk: Path) -> None:
    (desk / "c.yaml").write_text(CONFIGURATION.replace("hsigma:", "hsigmaa:"))
    done = f2yaml(
        *("run", "makeProcessedDark", "--inputs", *tiny.darks_2s, "--config", "c.yaml"),
        cwd=desk,
        check=False,
    )
    refused(done, 2, "hsigmaa", "hsigma")
