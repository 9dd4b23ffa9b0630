"""Skies from neighbours: a twin that calls `combine` target by target, bands, and known truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from f2yaml.interpreter.algorithms.combine import combine
from f2yaml.interpreter.algorithms.sky import Sky, sky_band
from f2yaml.interpreter.algorithms.sky_groups import groups_of
from f2yaml.interpreter.errors import NotSupported, TooFewFrames
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

N = 9
LEVEL = np.linspace(800, 1300, N)
NEIGHBOURS = np.array([[1, 2, 3, -1, -1], [0, 2, 3, 4, 5], [4, 8, -1, -1, -1], [7, -1, -1, -1, -1]])

Stack = tuple[
    npt.NDArray[np.float32],
    npt.NDArray[np.float32],
    npt.NDArray[np.uint16],
    npt.NDArray[np.uint8],
]


def dither(rows: int = 11, nx: int = 173, seed: int = 3) -> Stack:
    """Return frames of different sky level with objects and every kind of bad pixel."""
    rng = np.random.default_rng(seed)
    shape = (N, rows, nx)
    data = (LEVEL[:, None, None] * rng.normal(1, 0.01, shape)).astype(np.float32)
    variance = rng.uniform(50, 200, shape).astype(np.float32)
    mask = rng.choice([0] * 20 + [1, 2, 4, 6, 8, 16, 64, 128], shape).astype(np.uint16)
    mask[:, 3, 20:90] |= 64
    mask[:, 4, 10] = 256
    objects = (rng.random(shape) < 0.1).astype(np.uint8)
    objects[:, 5, 40:60] = 1
    data[0, 6, 7] = np.nan
    return data, variance, mask, objects


def twin(stack: Stack, neighbours: npt.NDArray[np.int_]) -> Sky:
    """Combine the normalised neighbours of each target."""
    data, variance, mask, objects = stack
    flags = mask | (objects != 0)
    out = []
    inverse = 1 / LEVEL.astype(np.float32)
    for row in neighbours:
        use = row[row >= 0]
        options: dict[str, Any] = {"operation": "median", "reject": "none"}
        one = combine(data[use], variance[use], flags[use], scale=inverse[use], **options)
        empty = np.isnan(one.variance)
        assert one.mask is not None
        out.append((one.data, np.where(empty, 0, one.variance), one.mask | (16 * empty)))
    return Sky(*(np.array(plane) for plane in zip(*out, strict=True)))


def test_every_pixel_agrees_with_a_median_of_its_neighbours() -> None:
    stack = dither()
    before = [plane.copy() for plane in stack]
    sky = sky_band(*stack, LEVEL, NEIGHBOURS)
    expected = twin(stack, NEIGHBOURS)
    assert_array_equal(sky.data, expected.data)
    assert_allclose(sky.variance, expected.variance, rtol=3e-7)  # scaled in another order
    assert_array_equal(sky.mask, expected.mask)
    for one, other in zip(before, stack, strict=True):
        assert_array_equal(one, other)
    assert (sky.mask[:, 3, 20:90] & 64).any()
    assert (sky.mask[1, 5, 40:60] & 1).any()
    assert sky.mask[1, 4, 10] == 16


@pytest.mark.parametrize("missing", ["mask", "objmask", "both", "variance"])
def test_planes_may_be_missing(missing: str) -> None:
    data, variance, mask, objects = dither()
    data = np.nan_to_num(data, nan=900)
    none: dict[str, Any] = {"variance": variance, "mask": mask, "objmask": objects}
    if missing == "variance":
        none["variance"] = None
        sky = sky_band(data, level=LEVEL, neighbours=NEIGHBOURS, **none)
        full = sky_band(data, variance, mask, objects, LEVEL, NEIGHBOURS)
        assert_array_equal(sky.data, full.data)
        assert_array_equal(sky.mask, full.mask)
        return
    for name in ("mask", "objmask"):
        if missing in (name, "both"):
            none[name] = None
    sky = sky_band(data, level=LEVEL, neighbours=NEIGHBOURS, **none)
    zeros = {
        "mask": np.zeros_like(mask) if none["mask"] is None else mask,
        "objmask": np.zeros_like(objects) if none["objmask"] is None else objects,
    }
    expected = sky_band(data, variance, level=LEVEL, neighbours=NEIGHBOURS, **zeros)
    for one, other in zip(sky, expected, strict=True):
        assert_array_equal(one, other)
    assert (sky.mask != 0).any() == (missing != "both")


def test_bands_do_not_change_a_bit() -> None:
    stack = dither(rows=23, nx=131)
    whole = sky_band(*stack, LEVEL, NEIGHBOURS)
    parts = []
    for lo, hi in ((0, 1), (1, 9), (9, 10), (10, 23)):
        parts.append(sky_band(*(plane[:, lo:hi] for plane in stack), LEVEL, NEIGHBOURS))
    for k, plane in enumerate(whole):
        joined = np.concatenate([part[k] for part in parts], axis=1)
        assert plane.tobytes() == joined.tobytes()


@settings(max_examples=25, deadline=None)
@given(
    k=st.integers(1, 8),
    seed=st.integers(0, 10_000),
)
def test_the_order_of_neighbours_does_not_matter(k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    stack = dither(rows=7, nx=90, seed=seed)
    chosen = rng.choice(N, k, replace=False)
    one = sky_band(*stack, LEVEL, chosen[None])
    other = sky_band(*stack, LEVEL, rng.permutation(chosen)[None])
    for a, b in zip(one, other, strict=True):
        assert a.tobytes() == b.tobytes()
    assert (one.variance >= 0).all()


def test_a_known_sky_in_units_of_the_level() -> None:
    """A flat pattern of 5 percent, times each frame's level, comes back as the pattern."""
    pattern = 1 + 0.05 * np.sin(np.arange(300)).astype(np.float32).reshape(2, 150)
    data = (LEVEL[:, None, None] * pattern).astype(np.float32)
    variance = np.full_like(data, 100)
    flat = np.zeros(data.shape, np.uint16)
    data[3, 0, :30] += 5000  # a star, masked
    flat[3, 0, :30] = 1
    flat[4, 1, 5] = 4
    sky = sky_band(data, variance, flat, None, LEVEL, [[2, 3, 4, 5]])
    assert_allclose(sky.data[0], pattern, rtol=2e-7)
    inverse = 1 / LEVEL[[2, 3, 4, 5]] ** 2
    mean4 = 1.192798 * 100 * inverse.mean() / 4  # the variance of medians of four and of three
    mean3 = 1.346013 * 100 * inverse[[0, 2, 3]].mean() / 3
    assert_allclose(sky.variance[0, 1], mean4, rtol=1e-6)
    assert_allclose(sky.variance[0, 0, :30], mean3, rtol=1e-6)
    assert sky.mask[0, 1, 5] == 4
    assert np.count_nonzero(sky.mask) == 1


def test_two_neighbours_have_the_variance_of_a_mean() -> None:
    data = np.full((2, 1, 4), 1000, np.float32)
    sky = sky_band(data, np.full_like(data, 100), None, None, [1000, 1000], [[0, 1]])
    assert_allclose(sky.variance, 5e-5, rtol=1e-6)


def test_balanced_minmax_is_the_median_and_two_skies_suffice() -> None:
    """The reference aborts with exactly two skies, and inflates the variance by n/(n - 2)."""
    stack = dither()
    five = np.array([[0, 2, 3, 4, 5]])
    plain = sky_band(*stack, LEVEL, five)
    trimmed = sky_band(*stack, LEVEL, five, reject="minmax", nlow=1, nhigh=1)
    for one, other in zip(plain, trimmed, strict=True):
        assert_array_equal(one, other)


@pytest.mark.parametrize(
    "options",
    [{"operation": "mean", "reject": "sigclip"}, {"operation": "mean", "reject": "varclip"}],
)
def test_other_options_go_through_combine(options: dict[str, Any]) -> None:
    data, variance, mask, objects = dither()
    sky = sky_band(data, variance, mask, objects, LEVEL, NEIGHBOURS, **options)
    use = NEIGHBOURS[1]
    flags = mask[use] | (objects[use] != 0)
    one = combine(data[use], variance[use], flags, scale=1 / LEVEL[use], **options)
    good = np.isfinite(one.variance)
    assert_allclose(sky.data[1][good], one.data[good], rtol=3e-7)
    assert one.mask is not None
    assert_array_equal(sky.mask[1][good], one.mask[good])
    assert (sky.mask[1][~good] == 16).all()


@pytest.mark.parametrize("reject", ["none", "varclip"])
def test_means_are_those_of_combine(reject: Any) -> None:
    """To the bit, but for the variance, which is scaled in another order."""
    data, variance, mask, objects = dither()
    data[2, :, 30:60] += 100  # outliers; with two skies all samples lie beyond a small limit
    options: dict[str, Any] = {"operation": "mean", "reject": reject, "lsigma": 0.4, "hsigma": 0.5}
    sky = sky_band(data, variance, mask, objects, LEVEL, NEIGHBOURS, **options)
    inverse = 1 / LEVEL.astype(np.float32)
    for j, row in enumerate(NEIGHBOURS):
        use = row[row >= 0]
        flags = mask[use] | (objects[use] != 0)
        one = combine(data[use], variance[use], flags, scale=inverse[use], **options)
        empty = np.isnan(one.variance)
        assert one.mask is not None
        assert_array_equal(sky.data[j], one.data)
        assert_allclose(sky.variance[j], np.where(empty, 0, one.variance), rtol=3e-7)
        assert_array_equal(sky.mask[j], one.mask | (16 * empty))


@pytest.mark.parametrize("operation", ["mean", "linear"])
def test_bands_do_not_change_a_bit_of_means(operation: Any) -> None:
    stack = dither(rows=23, nx=131)
    options: dict[str, Any] = {"operation": operation, "reject": "varclip"}
    options["times"] = np.where(NEIGHBOURS >= 0, NEIGHBOURS - 2.0, 0)
    whole = sky_band(*stack, LEVEL, NEIGHBOURS, **options)
    for lo, hi in ((0, 1), (1, 9), (9, 23)):
        part = sky_band(*(plane[:, lo:hi] for plane in stack), LEVEL, NEIGHBOURS, **options)
        for plane, cut in zip(whole, part, strict=True):
            assert np.ascontiguousarray(plane[:, lo:hi]).tobytes() == cut.tobytes()


def test_a_line_in_time_is_that_of_least_squares() -> None:
    rng = np.random.default_rng(8)
    data = (1000 + 10 * rng.standard_normal((6, 3, 50))).astype(np.float32)
    variance = rng.uniform(50, 200, data.shape).astype(np.float32)
    times = np.array([-90.0, -30.0, 30.0, 65.0, 90.0, 120.0])
    mask = np.zeros(data.shape, np.uint16)
    mask[4, 1] = 1
    options: dict[str, Any] = {"operation": "linear", "times": times[None]}
    sky = sky_band(data, variance, mask, None, np.ones(6), [np.arange(6)], **options)
    for row, use in ((0, [0, 1, 2, 3, 4, 5]), (1, [0, 1, 2, 3, 5])):
        design = np.stack([np.ones(len(use)), times[use]], axis=1)
        weights = np.linalg.pinv(design)[0]
        expected = np.tensordot(weights, data[use, row].astype(float), 1)
        assert_allclose(sky.data[0, row], expected, rtol=2e-7)
        assert_allclose(
            sky.variance[0, row],
            np.tensordot(weights**2, variance[use, row].astype(float), 1),
            rtol=1e-5,
        )


def test_a_line_without_variance_or_with_another_rejection_is_refused() -> None:
    stack = dither()
    with pytest.raises(NotSupported, match="linear in time with reject_method sigclip"):
        sky_band(
            *stack, LEVEL, NEIGHBOURS, operation="linear", reject="sigclip", times=NEIGHBOURS * 1.0
        )


def test_a_target_without_neighbours_is_refused() -> None:
    with pytest.raises(TooFewFrames, match="target 2 of 2 has no sky frames"):
        sky_band(*dither(), LEVEL, [[1, 2], [-1, -1]])


# targets that share their neighbours ----------------------------------------------------------
def crowd(n: int = 26, rows: int = 5, nx: int = 400) -> tuple[Stack, npt.NDArray[Any]]:
    """Return frames with outliers, flagged samples and pixels that are bad in all; and levels."""
    rng = np.random.default_rng(8)
    shape = (n, rows, nx)
    level = np.linspace(900, 1200, n)
    noise = rng.uniform(8, 12, shape)
    data = level[:, None, None] + noise * rng.normal(size=shape)
    data += rng.choice([0, 0, 0, 0, 0, 45, -43, 400], shape, p=[0.98] + [0.02 / 7] * 7)
    mask = rng.choice([0, 1, 2, 4, 64], shape, p=[0.9, 0.025, 0.025, 0.025, 0.025])
    mask[:, 1, 30:300] = 64
    mask[:, 2, ::7] = 1
    mask[1:, 3, 50:60] = 8  # one good sample, a target's own
    mask[:, 4, 5] = 128
    objects = (rng.random(shape) < 0.03).astype(np.uint8)
    stack = (
        data.astype(np.float32),
        (noise**2).astype(np.float32),
        mask.astype(np.uint16),
        objects,
    )
    return stack, level


def near(n: int, reach: int) -> npt.NDArray[np.int_]:
    """Return the frames up to `reach` places from each, but not itself."""
    lists = [[i for i in range(n) if 0 < abs(i - j) <= reach] for j in range(n)]
    return np.array([row + [-1] * (2 * reach - len(row)) for row in lists])


@pytest.mark.parametrize("reach", [25, 12, 6, 1])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"operation": "mean"},
        {"operation": "mean", "reject": "varclip", "lsigma": 3.5, "hsigma": 4.0},
        {"operation": "mean", "reject": "varclip", "lsigma": 0.5, "hsigma": 0.5},
    ],
)
def test_shared_work_gives_what_each_target_gets_alone(reach: int, options: dict[str, Any]) -> None:
    stack, level = crowd()
    n = len(level)
    neighbours = near(n, reach)
    shared = sky_band(*stack, level, neighbours, own=np.arange(n), **options)
    for j in range(n):  # a list of its own is shared with nobody
        (x,), (v,), (bits,) = sky_band(*stack, level, neighbours[j : j + 1], **options)
        assert_array_equal(bits, shared.mask[j])
        # Sums in another order, in double precision; values are near 1. Medians are exact.
        assert_allclose(shared.data[j], x, atol=1.3e-7 if options else 0, rtol=0)
        assert_allclose(shared.variance[j], v, rtol=2e-7)


@pytest.mark.parametrize("reach", [25, 6])
def test_shared_work_agrees_with_the_combiner(reach: int) -> None:
    stack, level = crowd()
    n = len(level)
    data, variance, mask, objects = stack
    clip: dict[str, Any] = {"reject": "varclip", "lsigma": 3.5, "hsigma": 4.0}
    sky = sky_band(*stack, level, near(n, reach), own=np.arange(n), operation="mean", **clip)
    inverse = 1 / level.astype(np.float32)
    for j, row in enumerate(near(n, reach)):
        use = row[row >= 0]
        flags = mask[use] | (objects[use] != 0)
        one = combine(data[use], variance[use], flags, operation="mean", scale=inverse[use], **clip)
        assert one.mask is not None
        empty = np.isnan(one.variance)
        assert_array_equal(sky.mask[j], one.mask | (16 * empty).astype(np.uint16))
        assert_allclose(sky.data[j], one.data, atol=1.3e-7, rtol=0)
        assert_allclose(sky.variance[j][~empty], one.variance[~empty], rtol=3e-7)


@pytest.mark.parametrize("reach", [2, 5, 9])
def test_windows_of_pixels_with_few_samples(reach: int) -> None:
    """Whichever samples are missing, own, shared or not, the middle is found to the bit."""
    n, level = 24, np.linspace(900, 1200, 24)
    rng = np.random.default_rng(5)
    shape = (n, 3, 700)
    data = (level[:, None, None] * rng.normal(1, 0.01, shape)).astype(np.float32)
    data[:, 1] = level[:, None].round(-2)  # ties
    variance = rng.uniform(50, 200, shape).astype(np.float32)
    mask = (rng.random(shape) < np.linspace(0, 1, 700)).astype(np.uint16)
    neighbours = near(n, reach)
    sky = sky_band(data, variance, mask, None, level, neighbours, own=np.arange(n))
    inverse = 1 / level.astype(np.float32)
    for j, row in enumerate(neighbours):
        use = row[row >= 0]
        one = combine(
            data[use],
            variance[use],
            mask[use],
            operation="median",
            reject="none",
            scale=inverse[use],
        )
        assert one.mask is not None
        assert_array_equal(sky.data[j], one.data)
        empty = np.isnan(one.variance)
        assert_allclose(sky.variance[j], np.where(empty, 0, one.variance), rtol=3e-7)
        assert_array_equal(sky.mask[j], one.mask | (16 * empty))


def test_windows_with_targets_that_are_no_frames() -> None:
    """Targets between the frames of a window take none of the shared samples out."""
    stack, level = crowd()
    neighbours = np.arange(12)[:, None] + np.arange(14)
    shared = sky_band(*stack, level, neighbours)
    for j in range(len(neighbours)):
        alone = sky_band(*stack, level, neighbours[j : j + 1])
        assert_array_equal(shared.data[j], alone.data[0])
        assert_array_equal(shared.mask[j], alone.mask[0])


def test_groups_of_targets() -> None:
    same = groups_of(near(6, 5).astype(np.int32), np.arange(6, dtype=np.int32), 6, 0)
    assert same.size.tolist() == [6]
    assert same.slack.tolist() == [0]
    apart = groups_of(near(9, 2).astype(np.int32), np.arange(9, dtype=np.int32), 9, 0)
    assert len(apart.size) == 9
    some = groups_of(near(9, 2).astype(np.int32), np.arange(9, dtype=np.int32), 9, 2)
    assert len(some.size) < 9
    for g in range(len(some.size)):
        for j in some.member[some.start[g] : some.start[g + 1]].tolist():
            core = set(some.core[g, : some.size[g]].tolist())
            used = set(np.flatnonzero(some.uses[j]).tolist())
            assert used == set(some.listed[j, : some.sizes[j]].tolist())
            assert len(core - used - {j}) <= some.slack[g] <= 2


def test_windows_come_from_those_before_them() -> None:
    n = 30
    own = np.arange(n, dtype=np.int32)
    own[20] = -1
    lists = near(n, 4).astype(np.int32)
    lists[12] = lists[25]  # far from its neighbours in order
    made = groups_of(lists, own, n, 3)
    frames: set[int] = set()
    slack = np.repeat(made.slack, np.diff(made.start))
    for j in made.member[slack > 0].tolist():
        if made.fresh[j]:
            assert made.changes[j] == 0
            frames = set(made.window[j, : made.width[j]].tolist())
        gone, come = made.go[j].tolist(), made.come[j].tolist()
        assert {n, *gone} - {n} <= frames
        frames = (frames - set(gone)) | (set(come) - {n})
        skies = set(lists[j].tolist()) - {-1}
        assert frames - set(made.gap[j, : made.gaps[j]].tolist()) == skies
        assert (own[j] in frames) <= (own[j] in skies or own[j] in made.gap[j, : made.gaps[j]])
    assert 0 < made.fresh.sum() < 6


@pytest.mark.parametrize("operation", ["median", "mean"])
def test_windows_with_gaps(operation: Any) -> None:
    """A dither that comes back to a place every few frames: those there are no skies."""
    stack, level = crowd()
    n = len(level)
    lists = [[i for i in range(n) if 0 < abs(i - j) <= 9 and (i - j) % 4] for j in range(n)]
    width = max(map(len, lists))
    neighbours = np.array([row + [-1] * (width - len(row)) for row in lists])
    options: dict[str, Any] = {"operation": operation}
    if operation == "mean":
        options |= {"reject": "varclip", "lsigma": 3.0, "hsigma": 3.0}
    made = groups_of(neighbours.astype(np.int32), np.arange(n, dtype=np.int32), n)
    assert made.changes.max() <= 3
    assert made.gaps.max() > 3
    shared = sky_band(*stack, level, neighbours, own=np.arange(n), **options)
    for j in range(n):
        (x,), (v,), (bits,) = sky_band(*stack, level, neighbours[j : j + 1], **options)
        assert_array_equal(bits, shared.mask[j])
        assert_allclose(shared.data[j], x, atol=1.3e-7 if operation == "mean" else 0, rtol=0)
        assert_allclose(shared.variance[j], v, rtol=2e-7)


@pytest.mark.parametrize("reach", [25, 6])
def test_bits_that_differ_are_those_of_the_samples_used(reach: int) -> None:
    """Where no frame is illuminated, and objects lie there in some: the bits of each target's."""
    n = 20
    rng = np.random.default_rng(6)
    shape = (n, 2, 300)
    level = np.linspace(900, 1100, n)
    data = (level[:, None, None] + rng.normal(0, 10, shape)).astype(np.float32)
    variance = np.full(shape, 100, np.float32)
    mask = np.full(shape, 64, np.uint16)
    mask[3, 0] |= 4
    objects = (rng.random(shape) < 0.1).astype(np.uint8)
    neighbours = near(n, reach)
    options: dict[str, Any] = {"operation": "mean", "reject": "varclip"}
    sky = sky_band(data, variance, mask, objects, level, neighbours, own=np.arange(n), **options)
    inverse = 1 / level.astype(np.float32)
    for j, row in enumerate(neighbours):
        use = row[row >= 0]
        flags = mask[use] | (objects[use] != 0)
        one = combine(
            data[use], variance[use], flags, operation="mean", reject="varclip", scale=inverse[use]
        )
        assert one.mask is not None
        assert_array_equal(sky.mask[j], one.mask)
        assert_allclose(sky.data[j], one.data, atol=1.3e-7, rtol=0)
        assert_allclose(sky.variance[j], one.variance, rtol=3e-7)
    assert set(np.unique(sky.mask)) >= {64, 65, 68, 69}
