"""The same pixels whatever the jobs, bands, memory, packing of the inputs and kind of run."""

from __future__ import annotations

import bz2
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Night
from f2yaml.interpreter.cli import build_parser
from f2yaml.interpreter.commands.run import bound
from f2yaml.interpreter.engine import Engine
from f2yaml.interpreter.events import FileWritten
from f2yaml.interpreter.fits import read_frame
from f2yaml.interpreter.pixels import PLANES
from f2yaml.interpreter.run import execute

GIB = 1 << 30


def image(words: tuple[object, ...], engine: Engine) -> tuple[dict[str, bytes], Any]:
    """Run a recipe; return the bytes of the planes of its last product, and its sources."""
    args = build_parser("run").parse_args(["run", *map(str, words)])
    session, plan = bound(args, "run")
    files: list[Path] = []

    def listen(event: object) -> None:
        if isinstance(event, FileWritten):
            files.append(event.path)

    writer = session.writer(plan)
    writer.check()
    execute(plan, engine, writer, listen)
    frame = read_frame(files[-1])
    planes = frame.pixels.whole()
    return {
        name: plane.tobytes()
        for name, plane in zip(PLANES, planes, strict=True)
        if plane is not None
    }, frame.objcat


@pytest.fixture(scope="module")
def plain(tiny: Night, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    words = ("ultradeep", "--inputs", *tiny.science, *tiny.user_cal)
    folder = tmp_path_factory.mktemp("plain")
    return image((*words, "--outdir", folder), Engine(1))[0]


@pytest.mark.parametrize(
    ("jobs", "rows", "memory"),
    [(2, None, GIB), (3, 5, GIB), (2, 512, GIB), (2, 33, 8 << 20), (1, 7, 0)],
)
def test_ultradeep_depends_on_no_jobs_bands_or_memory(
    tiny: Night, tmp_path: Path, plain: dict[str, bytes], jobs: int, rows: int | None, memory: int
) -> None:
    words = ("ultradeep", "--inputs", *tiny.science, *tiny.user_cal, "--outdir", tmp_path / "out")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    made, _ = image(words, Engine(jobs, memory, scratch, rows))
    assert made.keys() == plain.keys() == {"data", "variance", "mask", "coverage"}
    assert [name for name in plain if made[name] != plain[name]] == []
    assert list(scratch.iterdir()) == []


def test_compressed_inputs_give_the_same_image(
    tiny: Night, tmp_path: Path, plain: dict[str, bytes]
) -> None:
    packed = []
    for path in tiny.science:
        packed.append(tmp_path / f"{path.name}.bz2")
        packed[-1].write_bytes(bz2.compress(path.read_bytes(), 1))
    words = ("ultradeep", "--inputs", *packed, *tiny.user_cal, "--outdir", tmp_path)
    assert image(words, Engine(2))[0] == plain


def test_chains_joined_and_step_by_step_give_the_same_frame(tiny: Night, tmp_path: Path) -> None:
    """Steps whose result is written are evaluated there; in one pass they give the same bytes."""
    text = (
        "f2yaml: 1\nname: apart\nextends: ultradeep_part1.yaml\noverride:\n"
        "  prepare: {write: true}\n  addVAR: {write: true}\n  darkCorrect: {write: true}\n"
    )
    recipe = tmp_path / "apart.yaml"
    recipe.write_text(text)
    given = ("--inputs", tiny.science[0], *tiny.user_cal, "--outdir")
    one, _ = image(("ultradeep_part1", *given, tmp_path / "one"), Engine(1))
    other, _ = image((recipe, *given, tmp_path / "other"), Engine(1))
    assert one == other
    assert "shared" in one
    dark = read_frame(next((tmp_path / "other").glob("*_darkCorrected.fits"))).pixels.whole()
    assert dark.shared is not None
    assert np.isfinite(dark.data).all()
