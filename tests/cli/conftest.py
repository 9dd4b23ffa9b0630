"""Nights that are simulated once a session, and the program to reduce them with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import Night, Program, checksums


@pytest.fixture(scope="session")
def f2yaml(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """The program: ``f2yaml("run", ..., cwd=folder)``."""
    return Program(tmp_path_factory.mktemp("home"))


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """An empty working folder."""
    folder = tmp_path / "desk"
    folder.mkdir()
    return folder


def simulated(f2yaml: Program, folder: Path, scenario: str) -> Night:
    f2yaml("simulate", scenario, "--out", "raw", cwd=folder)
    return Night.of(folder / "raw")


@pytest.fixture(scope="session")
def small(f2yaml: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    """Raw frames of full size (scenario `small`)."""
    night = simulated(f2yaml, tmp_path_factory.mktemp("small"), "small")
    before = checksums([night.raw])
    yield night
    assert checksums([night.raw]) == before, "a command changed raw files"


@pytest.fixture(scope="session")
def tiny(f2yaml: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    """Raw frames of 512 x 512 pixels (scenario `tiny`), with a processed dark and flat."""
    folder = tmp_path_factory.mktemp("tiny")
    night = simulated(f2yaml, folder, "tiny")
    f2yaml("run", "--inputs", *night.darks_5s, cwd=folder)
    f2yaml("run", "--inputs", *night.flats, *night.darks_2s, cwd=folder)
    cache = folder / "calibrations"
    night = replace(
        night,
        dark=cache / "processed_dark" / "S20200107S0049_dark.fits",
        flat=cache / "processed_flat" / "S20200108S0010_flat.fits",
        database=cache / "f2yaml.db",
    )
    before = checksums([folder])
    yield night
    assert checksums([folder]) == before, "a command changed files that are not its own"
