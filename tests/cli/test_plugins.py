"""Primitives of other packages: the example of the documentation, and packages with faults."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from command_line import PROGRAM, Done, Night, Program

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "primitives_by_others.md").read_text(encoding="utf-8")
EXAMPLE = DOCS / "example_package"
BEST = next(text for text in re.findall(r"```yaml best.yaml\n(.*?)```", PAGE, re.S))


def installed(site: Path, name: str, module: str, sources: Mapping[str, str]) -> Path:
    """Put a package into a folder as pip does: its modules, and metadata with the entry point."""
    for file, text in sources.items():
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        (site / file).write_text(text, encoding="utf-8")
    metadata = site / f"{name.replace('-', '_')}-0.1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
    (metadata / "entry_points.txt").write_text(f"[f2yaml.primitives]\nexample = {module}\n")
    return site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, installed as its pyproject.toml says."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    (module,) = project["entry-points"]["f2yaml.primitives"].values()
    sources = {
        str(path.relative_to(EXAMPLE)): path.read_text()
        for path in EXAMPLE.rglob("*.py")
        if "build" not in path.parts
    }
    folder = tmp_path_factory.mktemp("site")
    return installed(folder, project["name"], module, sources)


def run(f2yaml: Program, site: Path, *words: object, cwd: Path) -> Done:
    own = {**f2yaml.environment, "PYTHONPATH": str(site)}
    return subprocess.run(
        [PROGRAM, *map(str, words)],
        cwd=cwd, env=own, text=True, capture_output=True, timeout=300, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def check_example(f2yaml: Program, site: Path, tiny: Night, desk: Path) -> None:
    """Show, validate, plan and run the recipe of the page."""
    (desk / "best.yaml").write_text(BEST, encoding="utf-8")
    shown = run(f2yaml, site, "show", "keepBestSeeing", cwd=desk)
    assert "keepBestSeeing: Keep the frames with the smallest seeing" in shown.stdout
    assert "f2yaml-example 0.1" in shown.stdout
    assert re.search(r"count +3 +int +>= 1 +number of frames to keep", shown.stdout)
    assert run(f2yaml, site, "validate", "best.yaml", cwd=desk).returncode == 0
    words = ("best.yaml", "--inputs", *tiny.science, *tiny.user_cal)
    planned = run(f2yaml, site, "plan", *words, "--format", "json", cwd=desk)
    plan = json.loads(planned.stdout)
    step = next(s for s in plan["steps"] if s["primitive"] == "keepBestSeeing")
    assert step["frames"] == {"from": 6, "to": {"main": 3}}
    assert step["package"] == "f2yaml-example 0.1"
    done = run(f2yaml, site, "run", *words, cwd=desk)
    assert done.returncode == 0, done.stderr
    product = desk / done.stdout.strip()
    assert len(plan["files"]) == 1  # its name is that of the best frame, which pixels tell
    with fits.open(product) as hdus:
        assert hdus[0].header["NCOMBINE"] == 3
        assert "ROWMED" in hdus[0].header
        good = hdus["DQ"].data == 0
        rows = [
            np.median(r[g]) for r, g in zip(hdus["SCI"].data, good, strict=True) if g.sum() > 200
        ]
        # Rows were levelled before frames were moved by fractions of a pixel: a row's median has
        # 1.25 / sqrt(400) of a pixel's noise.
        noise = np.sqrt(np.median(hdus["VAR"].data[good]))
        assert np.std(rows) < 0.15 * noise


def test_the_example_is_used_like_any_primitive(
    f2yaml: Program, site: Path, tiny: Night, desk: Path
) -> None:
    check_example(f2yaml, site, tiny, desk)


@pytest.mark.full
def test_the_example_is_installed_with_pip(
    f2yaml: Program, tiny: Night, desk: Path, tmp_path: Path
) -> None:
    source = shutil.copytree(EXAMPLE, tmp_path / "example")
    words = ["-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
    target = tmp_path / "target"
    subprocess.run([sys.executable, *words, "--target", target, source], check=True)
    check_example(f2yaml, target, tiny, desk)


def test_slips_in_its_parameters_are_found(f2yaml: Program, site: Path, desk: Path) -> None:
    wrong = BEST.replace("{count: 3}", "{cuont: 3}").replace("subtractRowMedian", "subtractRowMean")
    (desk / "wrong.yaml").write_text(wrong, encoding="utf-8")
    done = run(f2yaml, site, "validate", "wrong.yaml", cwd=desk)
    assert done.returncode == 2
    assert "keepBestSeeing has no parameter `cuont`" in done.stdout
    assert "did you mean `count`?" in done.stdout
    assert "did you mean `subtractRowMedian`?" in done.stdout
    without = f2yaml("validate", "wrong.yaml", cwd=desk, check=False)
    assert "there is no primitive `keepBestSeeing`" in without.stdout


HEAD = """
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.registry import Params, per_frame
from pydantic import Field
"""
GOOD = (
    HEAD
    + '''
class Fine(Params):
    size: int = Field(1, description="size")

@per_frame("fine")
def fine(frame: Frame, params: Fine) -> Frame:
    """Do nothing."""
    return frame
'''
)
FAULTS = {
    "import": ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
    "exit": ("import sys; sys.exit('bye')", "SystemExit: bye"),
    "nothing": ("", "faulty declares no primitive"),
    "name": (
        GOOD.replace('"fine"', '"stackFrames"'),
        "`stackFrames` has the name of one of f2yaml",
    ),
    "doc": (GOOD.replace('"""Do nothing."""', ""), "fine has no docstring"),
    "description": (
        GOOD.replace('Field(1, description="size")', "1"),
        "fine: parameter `size` has no description",
    ),
    "resource": (
        GOOD.replace("params: Fine)", "params: Fine, *, darc: Frame)"),
        "fine asks for the resource `darc`; there are allows, bpm, dark",
    ),
    "annotation": (
        GOOD.replace("params: Fine", "params"),
        "the second argument of fine is not annotated with its parameters",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_package_is_left_out_with_one_message(
    f2yaml: Program, fault: str, desk: Path, tmp_path: Path
) -> None:
    source, message = FAULTS[fault]
    site = installed(tmp_path / "site", "f2yaml-faulty", "faulty", {"faulty.py": source})
    done = run(f2yaml, site, "validate", "ultradeep", cwd=desk)
    assert (done.returncode, done.stdout) == (0, "ultradeep: no problems\n")
    assert done.stderr.startswith("the plug-in f2yaml-faulty 0.1 is left out\n  why:  ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 3
    assert "pip uninstall f2yaml-faulty" in done.stderr


def test_a_faulty_package_does_not_concern_other_commands(
    f2yaml: Program, desk: Path, tmp_path: Path
) -> None:
    sources = {"faulty.py": "import no_such_module"}
    site = installed(tmp_path / "site", "f2yaml-faulty", "faulty", sources)
    for words in (["--help"], ["caldb", "init"], ["typewalk", "-d", "."]):
        done = run(f2yaml, site, *words, cwd=desk)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
    (desk / "mine.yaml").write_text(BEST, encoding="utf-8")
    done = run(f2yaml, site, "validate", "mine.yaml", cwd=desk)
    assert done.returncode == 2
    assert "and a plug-in that may have it could not be loaded" in done.stdout


def test_of_two_packages_with_one_name_the_first_is_kept(
    f2yaml: Program, desk: Path, tmp_path: Path
) -> None:
    site = installed(tmp_path / "site", "a-first", "first", {"first.py": GOOD})
    installed(site, "b-second", "second", {"second.py": GOOD + "\nraise_later = 1\n"})
    done = run(f2yaml, site, "show", "fine", cwd=desk)
    assert done.returncode == 0
    assert "a-first 0.1" in done.stdout
    assert "`fine` has the name of one of a-first 0.1" in done.stderr
    assert "pip uninstall b-second" in done.stderr


def test_help_and_validate_stay_quick(f2yaml: Program, site: Path, desk: Path) -> None:
    own = {**f2yaml.environment, "PYTHONPATH": str(site)}
    code = (
        "import sys; from f2yaml.interpreter.cli import main; main(['--help']); "
        "print('LOADED', sorted(m for m in sys.modules if m.startswith('f2yaml_example')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=own, cwd=desk, capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("LOADED []\n")
    assert os.linesep in done.stdout
