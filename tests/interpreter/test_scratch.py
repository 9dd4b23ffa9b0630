"""Scratch files: arrays of a file, what is written beside the mapping, and what is left of them."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import numpy as np
import pytest
from f2yaml.interpreter.engine import Engine
from f2yaml.interpreter.errors import OutputError
from f2yaml.interpreter.pixels import Chain, InMemory, Planes, evaluate, mapped
from f2yaml.interpreter.scratch import TOGETHER, Scratch, put, room
from numpy.testing import assert_array_equal

SHAPE = (64, 512)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_what_is_put_is_seen_through_the_mapping(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    planes = [scratch.array(SHAPE, "f4") for _ in range(3)]
    for n, plane in enumerate(planes):
        plane[:] = n
    view, spare = planes[1][10:20], np.full((10, SHAPE[1]), 7, np.float32)
    assert room(view, spare) is spare
    put(view, spare)
    assert (view == 7).all()
    assert planes[1].sum() == 7 * spare.size + (planes[1].size - spare.size)
    assert (planes[0] == 0).all()
    assert (planes[2] == 2).all()
    planes[1][12] = 5  # the mapping is for writing, too
    put(planes[1][13:14], spare[:1])
    assert (planes[1][12] == 5).all()
    memory = np.zeros(SHAPE, np.float32)
    rows = memory[3:5]
    assert room(rows, spare[:2]) is rows
    put(rows, rows)
    put(memory[5:7], spare[:2])
    assert memory.sum() == 7 * 2 * SHAPE[1]


def test_planes_share_files_and_their_space_is_used_again(tmp_path: Path) -> None:
    before = descriptors()
    scratch = Scratch(tmp_path)
    planes = [scratch.array(SHAPE, "f4") for _ in range(TOGETHER)]
    assert len(scratch.mapped) == 1
    assert descriptors() - before == 2  # Python's mapping keeps one of its own
    planes += [scratch.array(SHAPE, "u2") for _ in range(3)]
    assert len(scratch.mapped) == 2
    addresses = {plane.__array_interface__["data"][0] for plane in planes}
    assert len(addresses) == len(planes)
    kept = planes[0][5:6]  # a view is a use
    kept[:] = 3
    del planes
    gc.collect()
    more = [scratch.array(SHAPE, "u2") for _ in range(TOGETHER)]
    assert len(scratch.mapped) == 2
    for plane in more:
        plane[:] = 1
    assert (kept == 3).all()
    assert list(tmp_path.iterdir()) != []
    scratch.close()
    assert list(tmp_path.iterdir()) == []
    del kept, more, plane
    gc.collect()
    assert len(scratch.mapped) == 0
    assert descriptors() == before


def test_one_plane_is_made_where_there_is_no_room_for_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    real = os.posix_fallocate

    def little(number: int, start: int, size: int) -> None:
        asked.append(size)
        if size > 200_000:
            raise OSError(28, "No space left on device")
        real(number, start, size)

    monkeypatch.setattr(os, "posix_fallocate", little)
    scratch = Scratch(tmp_path)
    plane = scratch.array(SHAPE, "f4")
    plane[:] = 2
    assert asked == [TOGETHER * plane.nbytes, plane.nbytes]
    assert (plane == 2).all()


def test_computed_planes_reach_the_file(tmp_path: Path) -> None:
    engine = Engine(1, 0, tmp_path)
    data = np.arange(100 * 40, dtype=np.float32).reshape(100, 40)
    base = InMemory(Planes(data).freeze())

    def doubled(planes: Planes, start: int, stop: int) -> Planes:
        return planes._replace(data=planes.data * 2)

    chain = mapped(base, doubled, frozenset({"data"}))
    assert isinstance(chain, Chain)
    made = evaluate(chain, engine.empty)
    assert len(engine._mapped) == 1
    assert_array_equal(made.data, data * 2)
    engine.close()
    assert_array_equal(made.data, data * 2)  # what is in use stays


def test_what_is_written_in_parts_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plane = Scratch(tmp_path).array(SHAPE, "f4")
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda number, data, at: real(number, data[:1000], at))
    values = np.arange(plane.size, dtype=np.float32).reshape(SHAPE)
    put(plane, values)
    assert_array_equal(plane, values)
    put(plane[3:5], values[7:9])
    assert_array_equal(plane[3:5], values[7:9])
    assert_array_equal(plane[5:], values[5:])


def test_a_file_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = Scratch(tmp_path).array(SHAPE, "f4")

    def full(number: int, data: memoryview, at: int) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OutputError, match=r"scratch files cannot be written: No space left"):
        put(plane, np.zeros(SHAPE, np.float32))
