"""Boxes around what is bright give what a search of the whole image gives."""

from __future__ import annotations

import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import sep
from f2yaml.interpreter.algorithms import search
from f2yaml.interpreter.algorithms.cleaning import surviving
from f2yaml.interpreter.algorithms.detect import Detection, detect, release_buffers
from f2yaml.interpreter.algorithms.regions import FILTER, find_boxes, median
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

Scene = tuple[np.ndarray, np.ndarray, np.ndarray]


def scene(kind: str, n: int = 400) -> Scene:
    """Data, mask and variance of noise 1, with sources of the kind named."""
    rng = np.random.default_rng(sum(kind.encode()))
    data, mask = rng.normal(50, 1, (n, n)), np.zeros((n, n), np.uint16)
    v, u = np.mgrid[:n, :n]

    def add(x: float, y: float, flux: float, width: float, q: float = 1.0) -> None:
        r2 = (u - x) ** 2 + ((v - y) / q) ** 2
        data[...] += flux / (2 * np.pi * width**2 * q) * np.exp(-r2 / 2 / width**2)

    for j in range(4):
        for i in range(4):
            x, y = 50 + 100 * i + rng.uniform(-20, 20), 50 + 100 * j + rng.uniform(-20, 20)
            flux = 10 ** rng.uniform(2.3, 3.6)
            add(x, y, flux, 6.0 if kind == "galaxies" else 1.7, 0.5 if kind == "galaxies" else 1.0)
            if kind == "blends":
                add(x + 6, y + 3, 0.6 * flux, 1.7)
    if kind == "borders":
        for x, y in ((0, 90), (399, 200), (130, 0), (260, 399), (0, 0), (398.5, 399)):
            add(x, y, 900, 1.7)
    if kind == "defects":
        data[rng.integers(0, n, 60), rng.integers(0, n, 60)] += 500
        mask[:, 150:153], mask[200:230, :40] = 1, 64
        data[:, 151], data[50, 60] = 1e5, np.nan
    return data.astype("f4"), mask, np.ones((n, n), np.float32)


def find(given: Scene, crowded: float, monkeypatch: pytest.MonkeyPatch, **more: Any) -> Detection:
    monkeypatch.setattr(search, "_CROWDED", crowded)
    return detect(*given, min_isoarea=1, **more)


@pytest.mark.parametrize("kind", ["stars", "galaxies", "borders", "defects"])
@pytest.mark.parametrize("with_variance", [True, False])
def test_boxes_or_the_whole_image(
    kind: str, with_variance: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, mask, variance = scene(kind)
    given = (data, mask, variance if with_variance else None)
    by_boxes = find(given, 1.0, monkeypatch)  # type: ignore[arg-type]
    whole = find(given, -1.0, monkeypatch)  # type: ignore[arg-type]
    assert len(by_boxes.catalog) >= 12
    assert_array_equal(by_boxes.objmask, whole.objmask)
    for name in whole.catalog.dtype.names:
        # The same sums about another origin: positions are kept to 1e-12, moments to less.
        assert_allclose(by_boxes.catalog[name], whole.catalog[name], rtol=2e-5, atol=1e-6)


def test_blends_differ_by_the_random_sharing_of_faint_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """sep draws which part of a blend a faint pixel joins, from a seed of its own at each call.

    One more blend in a corner changes the draws for all that follow: boxes change no more.
    """
    data, mask, variance = scene("blends")
    by_boxes, whole = (find((data, mask, variance), k, monkeypatch) for k in (1.0, -1.0))
    more = data.copy()
    v, u = np.mgrid[:400, :400]
    for x, y, height in ((15, 6, 50), (21, 9, 40)):
        more += (height * np.exp(-((u - x) ** 2 + (v - y) ** 2) / 5.8)).astype("f4")
    drawn = find((more, mask, variance), -1.0, monkeypatch).catalog
    old, new = whole.catalog, by_boxes.catalog
    assert len(new) == len(old) > 20
    distance = np.hypot(
        old["X_IMAGE"][:, None] - drawn["X_IMAGE"], old["Y_IMAGE"][:, None] - drawn["Y_IMAGE"]
    )
    drawn = drawn[distance.argmin(axis=1)]
    for name, scale in (("X_IMAGE", 1.0), ("Y_IMAGE", 1.0), ("FLUX_AUTO", old["FLUX_AUTO"])):
        by_draw = np.abs(drawn[name] - old[name]) / scale
        moved = np.abs(new[name] - old[name]) / scale
        assert by_draw.max() > 0
        assert np.median(moved) < 1.5 * np.median(by_draw)
        assert moved.max() < 1.5 * by_draw.max()
    assert_allclose(new["FLUX_MAX"], old["FLUX_MAX"])
    assert (by_boxes.objmask != whole.objmask).mean() < 0.04 * whole.objmask.mean()


def test_few_boxes_are_searched_and_their_rows_are_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes, real = [], sep.extract

    def noting(image: np.ndarray, *args: Any, **options: Any) -> Any:
        sizes.append(image.size)
        return real(image, *args, **options)

    monkeypatch.setattr(sep, "extract", noting)
    found = detect(*scene("stars"), min_isoarea=1)
    assert len(sizes) >= 12
    assert sum(sizes) < 0.2 * 400 * 400
    assert len(found.catalog) >= 12
    crowd = scene("stars")
    crowd[2][:] = 1e-4  # noise far below that of the pixels: half of them are bright
    sizes.clear()
    detect(crowd[0], crowd[1], None, threshold=0.1)
    assert sizes == [400 * 400]


def test_boxes_hold_all_regions_and_do_not_overlap() -> None:
    bright = np.random.default_rng(8).random((120, 150)) < 0.12
    runs = []
    for y, row in enumerate(bright):
        edges = np.flatnonzero(np.diff(row, prepend=False, append=False)).reshape(-1, 2)
        runs += [(y, x0, x1) for x0, x1 in edges]
    boxes = find_boxes(np.array(runs, np.int32), 5, bright.shape)
    labels, _ = ndimage.label(bright, np.ones((3, 3)))
    cover = np.zeros(bright.shape, int)
    for y0, y1, x0, x1, _ in boxes:
        cover[y0:y1, x0:x1] += 1
    assert cover.max() == 1
    sizes = np.bincount(labels.ravel())
    large = [k for k in range(1, sizes.size) if sizes[k] >= 5]
    assert len(large) > 10
    assert all(cover[labels == k].all() for k in large)
    assert boxes[:, 4].sum() == sizes[large].sum()


def test_a_faint_neighbour_in_the_wings_is_removed_as_sep_does() -> None:
    """Of a smooth star and a faint patch; sep's own cleaning decides in one call."""
    v, u = np.mgrid[:300, :300]
    star = 1000 * np.exp(-((u - 150) ** 2 + (v - 150) ** 2) / 8)
    star[star < 0.3] = 0
    kept = []
    for height in (0.02, 0.15, 0.19, 0.23, 0.3):
        image = star.astype("f4")
        image[147:153, 171:177] = 2 + height
        options = {"err": np.ones_like(image), "minarea": 8, "filter_kernel": FILTER}
        options |= {"filter_type": "conv", "segmentation_map": True}
        found, segments = sep.extract(image, 2.0, clean=False, **options)
        assert len(found) == 2
        alive = surviving(image, segments, np.array([[0, 300, 0, 300, 0]]), found, 8)
        assert alive.sum() == len(sep.extract(image, 2.0, clean=True, **options)[0])
        kept.append(int(alive.sum()))
    assert kept[0] == 1
    assert kept[-1] == 2


def test_threads_find_what_one_finds() -> None:
    """sep's limits are those of the process, and planes are handed from thread to thread."""
    kinds = ["stars", "galaxies", "blends", "defects"] * 4
    scenes = {kind: scene(kind) for kind in set(kinds)}
    alone = {kind: detect(*scenes[kind]) for kind in scenes}
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as pool:
            made = list(pool.map(lambda kind: detect(*scenes[kind]), kinds))
    finally:
        sys.setswitchinterval(interval)
    for kind, found in zip(kinds, made, strict=True):
        assert found.catalog.tobytes() == alone[kind].catalog.tobytes()
        assert_array_equal(found.objmask, alone[kind].objmask)


def test_kept_planes_change_nothing_and_can_be_freed() -> None:
    release_buffers()
    first = detect(*scene("stars"))
    detect(*scene("galaxies"))
    detect(*scene("galaxies", n=200))
    again = detect(*scene("stars"))
    assert first.catalog.tobytes() == again.catalog.tobytes()
    assert_array_equal(first.objmask, again.objmask)
    assert len(search._KEPT.free) == 1
    release_buffers()
    assert not search._KEPT.free


def test_kept_planes_are_gone_with_their_thread() -> None:
    kept: list[weakref.ref[search.Buffers]] = []

    def work() -> None:
        detect(*scene("stars"))
        kept.extend(weakref.ref(buffers) for buffers in search._KEPT.free)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(kept) == 1
    assert kept[0]() is None


def test_read_only_planes_and_pixels_without_variance() -> None:
    data, mask, variance = scene("stars")
    whole = detect(data, mask, variance)
    for plane in (data, mask, variance):
        plane.flags.writeable = False
    assert detect(data, mask, variance).catalog.tobytes() == whole.catalog.tobytes()
    holes = variance.copy()
    holes[1::50, ::50] = 0  # not in the sample that tells the level of the noise
    holes[10, 10] = np.nan
    found = detect(data, mask, holes)  # those pixels get the usual noise, which is theirs
    assert_array_equal(found.objmask, whole.objmask)
    assert_allclose(found.catalog["FLUXERR_AUTO"], whole.catalog["FLUXERR_AUTO"], rtol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 5, 1000, 4001])
def test_median(n: int) -> None:
    values = np.random.default_rng(n).normal(0.1, 1, n).astype(np.float32)
    assert_allclose(median(values), np.median(values.astype(float)), rtol=1e-6)
