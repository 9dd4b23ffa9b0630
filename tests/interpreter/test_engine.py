"""Bands, threads, and planes in memory or in scratch files."""

from __future__ import annotations

import gc
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from f2yaml.interpreter.engine import BAND_BYTES, KEPT_BYTES, Engine, read_band
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.pixels import InMemory
from hypothesis import given
from hypothesis import strategies as st
from synthetic import filed, flat_frame


@given(st.integers(1, 3000), st.integers(1, 10**9), st.integers(1, 16))
def test_bands_cover_every_row_once_and_stay_small(rows: int, width: int, jobs: int) -> None:
    bands = Engine(jobs).bands(rows, width)
    assert [row for start, stop in bands for row in range(start, stop)] == list(range(rows))
    largest = max(stop - start for start, stop in bands)
    assert largest == 1 or largest * width <= BAND_BYTES


def test_every_thread_gets_two_bands_at_least() -> None:
    assert len(Engine(4).bands(2048, 1)) >= 8
    assert Engine(4, band_rows=1000).bands(2048, 1) == [(0, 1000), (1000, 2000), (2000, 2048)]


@pytest.mark.parametrize("jobs", [1, 3])
def test_results_come_in_the_order_of_the_items(jobs: int) -> None:
    started = threading.Barrier(2) if jobs > 1 else None

    def work(item: int) -> int:
        if started is not None and item < 2:
            started.wait(10)  # two items are under way at the same time
        return item * item

    assert Engine(jobs).map(work, range(6)) == [0, 1, 4, 9, 16, 25]


def test_an_error_in_a_thread_is_raised() -> None:
    def work(item: int) -> int:
        raise KeyError(item)

    with pytest.raises(KeyError):
        Engine(2).map(work, [1, 2, 3])


def test_no_fewer_than_one_job() -> None:
    assert Engine(0).jobs == 1


def test_memory_is_counted_and_given_back(tmp_path: Path) -> None:
    engine = Engine(max_memory=1000, scratch=tmp_path)
    first = engine.empty((10, 10), np.float32)
    second = engine.empty((15, 10), np.float32)
    third = engine.empty((1, 10), np.float32)
    assert [filed(a) for a in (first, second, third)] == [False, False, True]
    view = first[2:]
    del first
    gc.collect()
    assert filed(engine.empty((10, 10), np.float32))  # the view keeps it
    del view
    gc.collect()
    assert not filed(engine.empty((10, 10), np.float32))
    engine.close()
    assert list(tmp_path.iterdir()) == []


def test_scratch_files_work_like_memory_and_leave_no_name(tmp_path: Path) -> None:
    engine = Engine(max_memory=0, scratch=tmp_path)
    made = engine.empty((5, 7), np.uint16)
    made[:] = 3
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith(".f2yaml-scratch-")
    assert list(folder.iterdir()) == []
    engine.close()
    engine.close()
    assert int(made.sum()) == 105
    assert list(tmp_path.iterdir()) == []


def computed(level: float) -> Frame:
    return flat_frame(level, shape=(70, 6)).map_rows(lambda p, a, b: p._replace(data=p.data + 1))


def test_settled_frames_hold_what_was_computed(tmp_path: Path) -> None:
    for memory in (1 << 20, 0):
        engine = Engine(max_memory=memory, scratch=tmp_path)
        made = engine.settle(computed(4))
        assert isinstance(made.pixels, InMemory)
        assert filed(made.data) is (memory == 0)
        assert (made.data == 5).all()
        assert engine.settle(made) is made
        engine.close()


def test_held_frames_have_rows_at_hand() -> None:
    engine = Engine()
    held = flat_frame(1)
    assert engine.held(held) is held
    made = engine.held(computed(1))
    assert isinstance(made.pixels, InMemory)


def test_a_band_of_several_frames_has_the_planes_that_all_have() -> None:
    frames = [flat_frame(1), flat_frame(2, variance=None), flat_frame(3, objmask=1)]
    planes = read_band(frames, 2, 5)
    assert planes.data.shape == (3, 3, 8)
    assert planes.data[:, 0, 0].tolist() == [1, 2, 3]
    assert planes.variance is None
    assert planes.mask is not None
    assert planes.objmask is None


def test_bands_of_many_frames_are_not_thin() -> None:
    engine = Engine(2, max_memory=1 << 30)
    assert engine.bands(2048, 1 << 20, 12 << 20)[0] == (0, 12)
    assert engine.bands(2048, 8 << 20, 12 << 20)[0] == (0, 1)
    assert engine.bands(2048, 4 << 20, 12 << 20, 16)[0] == (0, 16)
    # those of all threads take an eighth of the memory at most
    assert engine.bands(2048, 8 << 20, 12 << 20, 16)[0] == (0, 8)
    assert Engine(2, band_rows=3).bands(9, 8 << 20, 12 << 20, 16) == [(0, 3), (3, 6), (6, 9)]


def test_more_memory_than_is_of_use_is_not_taken() -> None:
    assert Engine(max_memory=1 << 40).max_memory == KEPT_BYTES < 2 << 30


def resident_files() -> int:
    """Return the bytes of files that this process has mapped and in memory."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.search(r"RssFile:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc: not on Linux")
def test_pages_of_scratch_files_are_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(max_memory=0, scratch=tmp_path)
    size = 64 << 20
    monkeypatch.setattr("f2yaml.interpreter.engine.SLACK_BYTES", 1 << 40)
    made = engine.empty((size // 4,), np.float32)
    made[:] = np.arange(size // 4)
    before = resident_files()
    engine.map(lambda item: item, [1])
    assert resident_files() > before - size // 2  # there is room yet
    monkeypatch.setattr("f2yaml.interpreter.engine.SLACK_BYTES", 0)
    monkeypatch.setattr("f2yaml.interpreter.engine.FEW_BYTES", 1 << 40)
    engine.map(lambda item: item, [1])
    assert resident_files() > before - size // 2  # nor would it be worth it
    monkeypatch.setattr("f2yaml.interpreter.engine.FEW_BYTES", 0)
    engine.map(lambda item: item, [1])
    assert resident_files() < before - 0.9 * size
    np.testing.assert_array_equal(made, np.arange(size // 4, dtype=np.float32))
    engine.close()
