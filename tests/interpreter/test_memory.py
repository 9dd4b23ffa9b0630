"""Memory that is lent, given back and used again."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import numpy as np
import pytest
from f2yaml.interpreter import memory
from f2yaml.interpreter.memory import MANY, SMALL, Pool, let_go

WIDE = (SMALL // 4, 2)  # two megabytes of float32


def address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def test_memory_of_many_equal_arrays_is_used_again() -> None:
    pool = Pool(1 << 30)
    arrays = [pool.empty(WIDE, np.float32) for _ in range(MANY)]
    places = {address(a) for a in arrays if a is not None}
    size = 2 * SMALL
    assert pool.lent == MANY * size
    view = arrays[0][5:] if arrays[0] is not None else None
    del arrays
    gc.collect()
    assert pool.lent == size  # a view keeps its array
    assert pool.idle == (MANY - 1) * size
    again = pool.empty((SMALL,), np.uint16)  # another shape and type, the same size
    other = pool.empty((1, 2 * SMALL), np.uint8)
    assert again is not None
    assert other is not None
    assert {address(again), address(other)} < places
    del view, again, other
    gc.collect()
    assert (pool.lent, pool.idle) == (0, MANY * size)
    pool.clear()
    assert pool.idle == 0


def test_memory_of_a_few_arrays_goes_back_to_the_system() -> None:
    pool = Pool(1 << 30)
    arrays = [pool.empty(WIDE, np.float32) for _ in range(MANY - 1)]
    del arrays
    gc.collect()
    assert (pool.lent, pool.idle) == (0, 0)


def test_no_more_is_lent_and_kept_than_the_limit() -> None:
    size = 2 * SMALL
    pool = Pool(MANY * size)
    arrays = [pool.empty(WIDE, np.float32) for _ in range(MANY)]
    assert pool.empty((1,), np.uint8) is None
    del arrays
    gc.collect()
    larger = pool.empty((MANY * size,), np.uint8)  # what is kept has to go for it
    assert larger is not None
    assert pool.idle == 0


def test_threads_may_borrow_at_once() -> None:
    pool = Pool(1 << 30)

    def borrow() -> None:
        for n in range(200):
            array = pool.empty(WIDE if n % 20 == 0 else (7,), np.float32)
            assert array is not None
            array[:] = n
            assert (array == n).all()

    threads = [threading.Thread(target=borrow) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    assert pool.lent == 0


def resident() -> int:
    """Return the bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(memory._trim() is None, reason="another C library than that of GNU")
def test_freed_memory_below_what_is_in_use_goes_back_to_the_system() -> None:
    arrays = [np.ones(12_000) for _ in range(2000)]  # too small to be mapped one by one
    del arrays[:-1]
    before = resident()
    let_go()
    assert before - resident() > 96_000_000
    assert arrays[0].sum() == 12_000
