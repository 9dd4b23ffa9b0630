"""The wheel and the source distribution work in an empty environment, recipes included."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.full  # builds and installs everything: about a minute


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(out), str(ROOT)], check=True)
    return out


def shipped() -> set[str]:
    kinds = ("*.yaml", "*.json")
    page = (ROOT / "interpreter" / "report").glob("*.[cj]s*")  # style and program of reports
    recipes = (p for k in kinds for p in (ROOT / "recipes").rglob(k))
    return {str(p.relative_to(ROOT)) for p in (*page, *recipes)}


def test_wheel_and_sdist_hold_every_recipe(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = {name.removeprefix("f2yaml/") for name in archive.namelist()}
    assert shipped() <= inside
    assert {"schema/py.typed", "interpreter/py.typed", "recipes/py.typed"} <= inside
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert shipped() | {"LICENSE", "README.md", "pyproject.toml"} <= packed


def test_the_wheel_works_in_an_empty_environment(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    home = tmp_path / "env"
    venv.create(home, with_pip=True)
    quiet = [str(home / "bin" / "python"), "-m", "pip", "install", "-q"]
    subprocess.run([*quiet, "--disable-pip-version-check", str(wheel)], check=True, cwd=tmp_path)
    program = str(home / "bin" / "f2yaml")
    made = subprocess.run(
        [program, "simulate", "tiny", "--out", "raw"], check=True, cwd=tmp_path, capture_output=True
    )
    assert b"truth.json" in made.stdout
    for words in (["validate", "ultradeep"], ["show", "reduce"], ["dataselect", "--tags", "DARK"]):
        inputs = [str(p) for p in sorted((tmp_path / "raw").glob("*.fits"))]
        given = [*words, *inputs] if words[0] == "dataselect" else words
        subprocess.run([program, *given], check=True, cwd=tmp_path, capture_output=True)
