"""The same products wherever, whenever and for whomever a run is made.

Jobs, memory and the packing of inputs have a test of their own (test_identity.py).
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from command_line import PROGRAM, Night, Program

#: When something was done, and sums over bytes that hold such times.
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?$")
MD5 = re.compile(r"[0-9a-f]{32}$")
#: What a product says of the run itself: its seconds, folders and machine.
OF_THE_RUN = {"RUNS", "STEPS"}
SUMS = {"CHECKSUM", "DATASUM"}


def locales() -> list[str]:
    """Return the locales of this machine with other rules for numbers, letters or order."""
    done = subprocess.run(["locale", "-a"], capture_output=True, text=True, check=False)
    known = done.stdout.split()
    odd = [n for n in known if n.lower().startswith(("de_", "fr_", "tr_", "hi_", "ar_", "cs_"))]
    return [*odd[:1], *[n for n in known if "utf" in n.lower()][:1]]


@dataclass(frozen=True)
class World:
    """What differs from run to run and must not matter.

    `folder` is below the test's own; `order` shuffles the creation of files and rows of the
    database; `relative` names the inputs from the working folder.
    """

    variables: Mapping[str, str] = field(default_factory=dict)
    folder: str = "desk"
    umask: int = 0o022
    order: int = 0
    relative: bool = False
    options: Sequence[str] = ()


WORLDS = {
    "plain": World(),
    "C": World({"LANG": "C", "LC_ALL": "C", "PYTHONHASHSEED": "1"}),
    "other-locale": World({"LC_ALL": "xx_XX.UTF-8"}, order=4),  # replaced by one that is there
    "Kathmandu": World({"TZ": "Asia/Kathmandu", "LC_ALL": "C.UTF-8"}, umask=0o077, order=1),
    "Santiago": World({"TZ": "America/Santiago"}, folder="with blank/d\u00e9sk", relative=True),
    "far-ahead": World({"TZ": "XXX-14:00", "PYTHONHASHSEED": "77"}, umask=0, order=2),
    "bare": World({"COLUMNS": "20", "TERM": "dumb"}, order=3, options=("--jobs", "2")),
    "optimized": World({"PYTHONOPTIMIZE": "2", "PYTHONUTF8": "1"}, relative=True),
}


def reduced(f2yaml: Program, night: Night, world: World, top: Path) -> Path:
    """Reduce darks, flats and exposures, each found by a pattern; return the working folder."""
    desk = top / world.folder
    raw = desk / "raw"
    raw.mkdir(parents=True)
    files = sorted(night.raw.glob("*.fits"))
    random.Random(world.order).shuffle(files)
    for path in files:
        shutil.copyfile(path, raw / path.name)
    where = "raw" if world.relative else str(raw)
    lists = [
        ["run", "--inputs", f"{where}/S20200107S00[45]*.fits"],
        ["run", "--inputs", f"{where}/S20200108*.fits", f"{where}/S20200107S003*.fits"],
        ["run", "ultradeep", "--inputs", f"{where}/S20200104*.fits"],
    ]
    if world.order % 2:
        lists[:2] = lists[1::-1]  # what enters the database first
    env = {**f2yaml.environment, **world.variables}
    for words in lists:
        done = subprocess.run(
            [PROGRAM, *words, "--quiet", *world.options],
            cwd=desk, env=env, umask=world.umask, stdin=subprocess.DEVNULL, capture_output=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    return desk


def told(hdu: fits.ImageHDU | fits.BinTableHDU) -> list[tuple[str, object]]:
    """Return the cards of a header, times taken out."""
    return [
        (c.keyword, "a time" if TIME.match(str(c.value)) else c.value)
        for c in hdu.header.cards
        if c.keyword not in SUMS
    ]


def contents(path: Path, desk: Path) -> dict[str, object]:
    """Return everything in a product but times and folders."""
    found: dict[str, object] = {}
    with fits.open(path, memmap=False) as hdus:
        for number, hdu in enumerate(hdus):
            if hdu.name in OF_THE_RUN:
                continue
            name = f"{number} {hdu.name}"
            found[f"{name} cards"] = told(hdu)
            if isinstance(hdu, fits.BinTableHDU):
                found[f"{name} columns"] = hdu.columns.names
                found[name] = [_row(row, desk) for row in hdu.data]
            elif hdu.data is not None:
                found[name] = (hdu.data.dtype.str, hdu.data.shape, hdu.data.tobytes())
    return found


def _row(row: Sequence[object], desk: Path) -> list[object]:
    """Return the cells of a row; the checksum of a product covers the times in it."""
    cells = [np.asarray(cell).tolist() for cell in row]
    texts = [str(c).replace(f"{desk}{os.sep}", "") if isinstance(c, str) else c for c in cells]
    made_here = any(isinstance(c, str) and c.endswith(("_dark.fits", "_flat.fits")) for c in texts)
    hidden = MD5 if made_here else TIME
    return [
        "hidden" if isinstance(c, str) and (TIME.match(c) or hidden.match(c)) else repr(c)
        for c in texts
    ]


@pytest.fixture(scope="module")
def plain(f2yaml: Program, tiny: Night, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reduced(f2yaml, tiny, WORLDS["plain"], tmp_path_factory.mktemp("plain"))


def compared(plain: Path, desk: Path) -> None:
    names = sorted(str(p.relative_to(plain)) for p in plain.rglob("*_*.fits"))
    assert names == sorted(str(p.relative_to(desk)) for p in desk.rglob("*_*.fits"))
    assert len(names) == 5  # dark, flat and image; dark and flat kept for later runs
    for name in names:
        wanted, made = contents(plain / name, plain), contents(desk / name, desk)
        assert wanted.keys() == made.keys()
        different = [key for key in wanted if wanted[key] != made[key]]
        assert different == [], f"{name}: {_first(wanted, made, different)}"


def _first(wanted: Mapping[str, object], made: Mapping[str, object], keys: Sequence[str]) -> str:
    """Return the first thing that differs."""
    one, other = wanted[keys[0]], made[keys[0]]
    if isinstance(one, list) and isinstance(other, list):
        pairs = [(a, b) for a, b in zip(one, other, strict=False) if a != b]
        return f"{keys}: {pairs[:1] or (len(one), len(other))}"
    return f"{keys}"


FAST = ("Santiago",)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in FAST else [pytest.mark.full])
        for name in WORLDS
        if name != "plain"
    ],
)
def test_products_do_not_tell_where_they_were_made(
    f2yaml: Program, tiny: Night, plain: Path, tmp_path: Path, name: str
) -> None:
    world = WORLDS[name]
    if name == "other-locale":
        there = locales()
        if not there:
            pytest.skip("no other locale is installed")
        world = World({"LANG": there[0], "LC_ALL": there[0]}, order=world.order)
    desk = reduced(f2yaml, tiny, world, tmp_path)
    compared(plain, desk)
    modes = {p.stat().st_mode & 0o777 for p in desk.rglob("*_*.fits")}
    assert modes == {0o666 & ~world.umask}


def test_a_comparison_that_sees_a_pixel_and_a_card(plain: Path, tmp_path: Path) -> None:
    desk = tmp_path / "desk"
    shutil.copytree(plain, desk)
    compared(plain, desk)
    image = desk / "S20200104S0075_image.fits"
    with fits.open(image, mode="update") as hdus:
        hdus["VAR"].data[200, 200] *= 1.000001
    with pytest.raises(AssertionError, match="VAR"):
        compared(plain, desk)
    shutil.copyfile(plain / image.name, image)
    fits.setval(image, "EXPTIME", value=5.0000001)
    with pytest.raises(AssertionError, match="EXPTIME"):
        compared(plain, desk)


def test_the_order_of_the_list_is_the_order_of_the_user(
    f2yaml: Program, tiny: Night, desk: Path
) -> None:
    """The first input names the product, and gives grid and header; a pattern sorts by name."""
    darks = tiny.darks_5s
    done = f2yaml("run", "--inputs", darks[2], darks[0], darks[1], "--outdir", "a", cwd=desk)
    assert done.stdout == f"a/{darks[2].stem}_dark.fits\n"
    shutil.rmtree(desk / "calibrations")
    done = f2yaml("run", "--inputs", f"{tiny.raw}/S20200107S00[45]*.fits", cwd=desk)
    assert done.stdout == f"{darks[0].stem}_dark.fits\n"
    one, other = (
        fits.getdata(desk / p, "SCI")
        for p in (f"a/{darks[2].stem}_dark.fits", f"{darks[0].stem}_dark.fits")
    )
    assert np.abs(one - other).max() < 1e-3  # sums in another order
