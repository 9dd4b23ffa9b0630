"""Rows of many frames at once are those of each: raw counts from files, calibrated or not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from f2yaml.interpreter import algorithms
from f2yaml.interpreter.engine import read_band
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.packed import Packed
from f2yaml.interpreter.pixels import (
    FilePlane,
    InMemory,
    OnDisk,
    Overlay,
    Pixels,
    Planes,
    mapped,
)
from f2yaml.interpreter.primitives.links import (
    AsFloat,
    Electrons,
    Flags,
    Linear,
    MinusDark,
    Noise,
    OverFlat,
)
from f2yaml.interpreter.stacks import stack_into
from numpy.testing import assert_array_equal
from synthetic import frame

SHAPE = (40, 1100)  # more than a run of the kernel, and no multiple of it
PLANES = frozenset({"data", "variance", "mask", "shared"})
RNG = np.random.default_rng(4)
STATIC = (RNG.random(SHAPE) < 0.01).astype(np.uint16) * 64


def calibration(level: float, sigma: float) -> Frame:
    mask = (RNG.random(SHAPE) < 0.01).astype(np.uint16)
    data = RNG.normal(level, sigma, SHAPE)
    data[mask != 0] = 0.0  # a flat of zero gives no number
    return frame(data, variance=sigma * sigma, mask=mask)


DARK, OTHER, FLAT = calibration(40.0, 3.0), calibration(50.0, 3.0), calibration(1.0, 0.02)


def raw(folder: Path, number: int, kind: str = ">i4") -> OnDisk:
    """Return counts in a file that begins with something else, some of them saturated."""
    counts = RNG.normal(2000 + 100 * number, 60, SHAPE)
    counts[RNG.random(SHAPE) < 0.01] = 40_000
    path = folder / f"{number}.raw"
    path.write_bytes(bytes(2880) + counts.astype(kind).tobytes())
    return OnDisk((FilePlane(str(path), 2880, kind, SHAPE),))


def calibrated(
    pixels: Pixels, *, dark: Frame | None = DARK, flat: Frame | None = FLAT, hidden: Any = ()
) -> Pixels:
    """Return the chain from raw counts to electrons."""
    flags = Flags(STATIC, np.array(hidden, np.int64), 25_000.0, 35_000.0)
    links: list[Any] = [AsFloat(), flags, Electrons(4.44), Noise(1.0, 11.7, True, True)]
    links.append(Linear(1.0, 1, True))
    links += [] if dark is None else [MinusDark(dark)]
    links += [] if flat is None else [OverFlat(flat)]
    planes = PLANES if dark or flat else PLANES - {"shared"}
    for link in links:
        pixels = mapped(pixels, link, planes)
    return pixels


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many frames each call for several had."""
    made: list[int] = []
    plain = algorithms.calibrate_stack.calibrate_stack

    def counted(stored: Any, *given: Any) -> None:
        made.append(len(stored))
        plain(stored, *given)

    monkeypatch.setattr(algorithms.calibrate_stack, "calibrate_stack", counted)
    return made


def compared(sources: Sequence[Pixels], *, shared: bool = True) -> None:
    """Compare some rows of all with those of each, bit for bit."""
    start, stop = 7, 23
    shape = (len(sources), stop - start, SHAPE[1])
    out = Planes(
        np.full(shape, np.nan, np.float32),
        np.full(shape, np.nan, np.float32),
        np.full(shape, 9, np.uint16),
        np.full(shape, 9, np.uint8),
        shared=np.full(shape, 9, np.uint8) if shared else None,
    )
    got = stack_into(sources, start, stop, out)
    for n, source in enumerate(sources):
        for name, mine, wanted in zip(
            Planes._fields, got[n], source.rows(start, stop), strict=True
        ):
            assert (mine is None) is (wanted is None), name
            if mine is not None:
                assert_array_equal(mine, wanted, strict=True, err_msg=name)
                stacked = getattr(out, name)
                assert stacked is None or np.array_equal(stacked[n], wanted, equal_nan=True)


def four(folder: Path, **given: Any) -> list[Pixels]:
    return [calibrated(raw(folder, n), **given) for n in range(4)]


def test_frames_of_the_same_calibrations_are_done_in_one_call(
    tmp_path: Path, calls: list[int]
) -> None:
    compared(four(tmp_path))
    assert calls == [4]


def test_object_masks_and_hidden_saturation_are_those_of_each(
    tmp_path: Path, calls: list[int]
) -> None:
    objects = (RNG.random(SHAPE) < 0.1).astype(np.uint8)
    places = np.sort(RNG.choice(SHAPE[0] * SHAPE[1], 500, replace=False))
    sources = four(tmp_path)
    sources[1] = Overlay(sources[1], {"objmask": Packed(objects)})
    sources[2] = Overlay(Overlay(sources[2], {"objmask": objects}), {"objmask": None})
    sources[3] = calibrated(raw(tmp_path, 7), hidden=places)
    compared(sources)
    assert calls == [4]


@pytest.mark.parametrize("given", [{"flat": None}, {"dark": None}])
def test_a_dark_or_a_flat_alone(
    tmp_path: Path, calls: list[int], given: dict[str, Frame | None]
) -> None:
    compared(four(tmp_path, **given))
    assert calls == [4]


def test_frames_without_dark_and_flat_share_no_noise(tmp_path: Path, calls: list[int]) -> None:
    compared(four(tmp_path, dark=None, flat=None), shared=False)
    assert calls == [4]


@pytest.mark.parametrize("given", [{}, {"dark": None, "flat": None}])
def test_bands_that_are_stacked(tmp_path: Path, calls: list[int], given: dict[str, None]) -> None:
    objects = (RNG.random(SHAPE) < 0.1).astype(np.uint8)
    flags = RNG.integers(0, 9, SHAPE).astype(np.uint16)
    sources = [Overlay(one, {"objmask": Packed(objects)}) for one in four(tmp_path, **given)]
    for laid in ({}, {"mask": flags}, {"objmask": None}, {"mask": None, "objmask": objects}):
        sources[2] = Overlay(sources[2].base, {**sources[2].planes, **laid})
        frames = [DARK.with_planes(Planes(DARK.data)).with_(objmask=None) for _ in sources]
        frames = [replace(f, pixels=p) for f, p in zip(frames, sources, strict=True)]
        found = read_band(frames, 7, 23)
        rows = [source.rows(7, 23) for source in sources]
        for name, plane, *parts in zip(Planes._fields, found, *rows, strict=True):
            if any(part is None for part in parts):
                assert plane is None, name
            else:
                assert_array_equal(plane, np.stack(parts), strict=True, err_msg=name)
    assert calls == [4] * 4


OTHERS: dict[str, Callable[[Path], Pixels]] = {
    "another dark": lambda folder: calibrated(raw(folder, 9), dark=OTHER),
    "no flat": lambda folder: calibrated(raw(folder, 9), flat=None),
    "counts in floating point": lambda folder: calibrated(raw(folder, 9, ">f4")),
    "counts in 16 bits": lambda folder: calibrated(raw(folder, 9, ">i2")),
    "counts in memory": lambda folder: calibrated(InMemory(raw(folder, 9).whole())),
    "a product": lambda folder: DARK.pixels,
}


@pytest.mark.parametrize("kind", OTHERS)
def test_frames_that_differ_are_done_one_by_one(
    tmp_path: Path, calls: list[int], kind: str
) -> None:
    sources = [*four(tmp_path), OTHERS[kind](tmp_path)]
    compared(sources)
    band = read_band([replace(DARK, pixels=source) for source in sources], 7, 23)
    assert_array_equal(band.data, np.stack([source.rows(7, 23).data for source in sources]))
    assert calls == []
