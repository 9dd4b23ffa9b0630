"""A simulated night, reduced once, and its page in a browser."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import Night, Program

sys.path.insert(0, str(Path(__file__).parent))
IMAGE = "S20200104S0075_image.fits"


@pytest.fixture(scope="session")
def f2yaml(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """The program: ``f2yaml("run", ..., cwd=folder)``."""
    return Program(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def night(f2yaml: Program, tmp_path_factory: pytest.TempPathFactory) -> Night:
    """A folder with raw frames of 512 x 512 pixels beside a processed dark and flat."""
    folder = tmp_path_factory.mktemp("night")
    f2yaml("simulate", "tiny", "--out", "raw", cwd=folder)
    raw = Night.of(folder / "raw")
    f2yaml("run", "--inputs", *raw.darks_5s, cwd=folder)
    f2yaml("run", "--inputs", *raw.flats, *raw.darks_2s, cwd=folder)
    return raw


@pytest.fixture(scope="session")
def truth(night: Night) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((night.raw / "truth.json").read_text())
    return found


@pytest.fixture(scope="session")
def product(f2yaml: Program, night: Night) -> Path:
    """The deep image, made with settings of the command line."""
    folder = night.raw.parent
    settings = ("-p", "skyCorrect:hsigma=3.5", "--param", "dilation=3")
    f2yaml("run", "ultradeep", "--inputs", *night.science, *settings, cwd=folder)
    return folder / IMAGE


@pytest.fixture
def edited_copy(product: Path, tmp_path: Path) -> Callable[[Callable[[Any], None]], Path]:
    """Return a function that copies the deep image and changes something in it."""
    from command_line import edited

    def make(edit: Callable[[Any], None]) -> Path:
        return edited(product, tmp_path / IMAGE, edit)

    return make


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser; tests that need one are skipped where there is none."""
    import browser

    if browser.program() is None:
        pytest.skip(f"no browser: none of {', '.join(browser.NAMES)} is on the PATH")
    with browser.browser(tmp_path_factory.mktemp("profile")) as running:
        yield running
