"""Many source lists aligned with each other: known shifts, poor and lost lists."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from f2yaml.interpreter.algorithms import joint
from f2yaml.interpreter.algorithms.joint import Joined, Sources, align_all
from f2yaml.interpreter.algorithms.match import align
from numpy.testing import assert_allclose

SIZE = 2048.0
LIMITS: dict[str, Any] = {"first_pass_pix": 27.9, "match_radius_pix": 2.8}
Floats = npt.NDArray[np.float64]


def night(
    seed: int, n: int, *, depth: float = 1.0, seeing: float = 1.0, stars: int = 60
) -> tuple[list[Sources], Floats]:
    """Return lists of stars with errors of 0.02 to 0.2 pixels, and the shifts that undo theirs.

    The first sees stars down to `depth` of the range of magnitudes, with errors `seeing` times as
    large. Frames are dithered by up to 150 pixels; in each, ten sources are spurious.
    """
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(100, SIZE - 100, (2, stars))
    mag = rng.uniform(0, 1, stars)
    lists, shifts = [], []
    for i in range(n):
        off = rng.normal(0, 3, 2) if i else np.zeros(2)
        dither = rng.uniform(-150, 150, 2)
        seen = (mag < (depth if i == 0 else 1.0)) & (rng.random(stars) < 0.9)
        seen &= (np.abs(x + dither[0] - SIZE / 2) < SIZE / 2) & (
            np.abs(y + dither[1] - SIZE / 2) < SIZE / 2
        )
        error = 0.02 * 10 ** mag[seen] * (seeing if i == 0 else 1.0)
        false = rng.uniform(0, SIZE, (2, 10))
        u, v = (
            np.r_[p[seen] + o + rng.normal(0, 1, error.size) * error, f]
            for p, o, f in zip((x, y), off, false, strict=True)
        )
        lists.append(Sources(u, v, np.r_[error, np.full(10, 0.15)]))
        shifts.append(-off)
    return lists, np.array(shifts)


def with_the_first(lists: list[Sources]) -> Floats:
    """Return the shifts that `align` finds for each list against the first."""
    made = [(0.0, 0.0)]
    for one in lists[1:]:
        found = align(*one, *lists[0], **LIMITS)
        assert found is not None
        made.append(found.shift)
    return np.array(made)


def shifts_of(joined: list[Joined | None]) -> Floats:
    return np.array([(np.nan, np.nan) if j is None else j.affine.shift for j in joined])


def scatter(found: Floats, truth: Floats) -> float:
    """Return the rms error per axis of the lists but the first, relative to each other."""
    off = (found - truth)[1:]
    return float(np.sqrt(((off - off.mean(axis=0)) ** 2).sum() / (2 * len(off) - 2)))


def solved(lists: list[Sources], near: Floats) -> Floats:
    """Solve for the shifts of lists and the places of all stars in one system of equations."""
    places = [np.array([s.x, s.y]).T + shift for s, shift in zip(lists, near, strict=True)]
    everyone = np.concatenate(places)
    apart = np.hypot(*(everyone[:, None] - everyone[None]).transpose(2, 0, 1))
    star = np.argmax(apart < 1.0, axis=1)  # the first that is the same
    frame = np.repeat(np.arange(len(lists)), [s.x.size for s in lists])
    matrix = np.zeros((len(everyone) + 1, len(lists) + len(everyone)))
    rows = np.arange(len(everyone))
    matrix[rows, frame] = 1.0
    matrix[rows, len(lists) + star] -= 1.0
    matrix[-1, 0] = 1.0  # the first stays
    given = np.concatenate([np.array([s.x, s.y]).T for s in lists])
    answer = np.linalg.lstsq(matrix, np.r_[-given, np.zeros((1, 2))], rcond=None)[0]
    return np.asarray(answer[: len(lists)])


@pytest.mark.parametrize(
    ("first", "gain"),
    [
        ({"depth": 0.2, "seeing": 3.0}, 0.7),
        ({"depth": 0.5, "seeing": 2.0}, 0.9),
        ({}, 1.02),
        ({"seeing": 0.5}, 1.02),
    ],
)
def test_frames_agree_better_with_each_other_however_good_the_first(
    first: dict[str, float], gain: float
) -> None:
    """Six nights of nine frames. A shallow first frame of bad seeing doubles errors, if alone."""
    errors = []
    for seed in range(6):
        lists, truth = night(seed, 9, **first)
        joined = align_all(lists, **LIMITS)
        assert all(joined)
        errors.append([scatter(with_the_first(lists), truth), scatter(shifts_of(joined), truth)])
    alone, together = np.sqrt(np.mean(np.square(errors), axis=0))
    assert together < gain * alone
    # 50 stars of 0.02 to 0.2: the best weighted mean of one frame has 0.0059; a tenth more for the
    # errors of the mean positions, and 10 % for 96 values.
    assert together < 0.0075


def test_the_first_list_stays_and_all_residuals_are_told() -> None:
    lists, _ = night(1, 5)
    joined = align_all(lists, **LIMITS)
    assert joined[0] is not None
    assert_allclose(joined[0].affine.shift, 0, atol=1e-12)
    for one in joined:
        assert one is not None
        assert 35 < one.n_matched <= 60
        assert 0.02 < one.rms_pix < 0.2


def test_two_lists_give_the_fit_of_one_to_the_other() -> None:
    lists, _ = night(2, 2)
    joined = align_all(lists, **LIMITS)
    # Pairs are weighted by both errors there and by one at a time here: a part of 0.008.
    assert_allclose(shifts_of(joined)[1], with_the_first(lists)[1], atol=0.004)


def test_the_order_of_lists_matters_no_more_than_where_the_fits_settle() -> None:
    lists, _ = night(3, 8)
    plain = shifts_of(align_all(lists, **LIMITS))
    order = np.random.default_rng(0).permutation(8)
    other = shifts_of(align_all([lists[k] for k in order], **LIMITS))
    there = np.empty_like(other)
    there[order] = other
    assert_allclose(there - there[0], plain, atol=1e-3)


@pytest.mark.parametrize("seed", [7, 10, 12, 17])
def test_sources_at_the_limit_of_clipping_do_not_come_and_go_for_ever(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of these nights ends with two sets of sources that turn into each other."""
    rng = np.random.default_rng(seed)
    lists = []
    for x, y, error in night(seed, 9)[0]:
        off = (rng.random(x.size) < 0.05) * rng.normal(0, 1, (2, x.size))
        lists.append(Sources(x + off[0], y + off[1], error))
    settled = []
    for rounds in (joint.MAX_ROUNDS, joint.MAX_ROUNDS + 1):
        monkeypatch.setattr(joint, "MAX_ROUNDS", rounds)
        settled.append(shifts_of(align_all(lists, **LIMITS)))
    np.testing.assert_array_equal(*settled)


def test_lists_that_cannot_be_tied_are_none_wherever_they_stand() -> None:
    lists, truth = night(4, 6)
    rng = np.random.default_rng(9)
    strange = Sources(*rng.uniform(0, SIZE, (2, 80)), np.full(80, 0.05))  # most sources of all
    empty = Sources(*np.empty((3, 0)))
    for place in (0, 3, 6):
        made = [*lists[:place], strange, empty, *lists[place:]]
        joined = align_all(made, **LIMITS)
        assert [k for k, j in enumerate(joined) if j is None] == [place, place + 1]
        found = shifts_of(joined)
        found = np.delete(found, [place, place + 1], axis=0)
        assert_allclose(found - found[0], truth - truth[0], atol=0.05)  # 5 sigma of 0.009
    assert align_all([strange, empty, lists[0]], **LIMITS) == [None, None, None]


def test_a_chain_of_fields_holds_together_without_stars_common_to_all() -> None:
    """Each shares half of its field with the next: the last meets the first through others."""
    rng = np.random.default_rng(13)
    x, y = rng.uniform(0, 6 * 1000, 360), rng.uniform(0, 2000, 360)
    lists, truth = [], []
    for k in range(5):
        seen = (x >= 1000 * k) & (x < 1000 * k + 2000)
        off = np.zeros(2) if k == 0 else rng.uniform(-5, 5, 2)
        noise = rng.normal(0, 0.05, (2, seen.sum()))
        at = np.array([x[seen], y[seen]]) + off[:, None] + noise
        lists.append(Sources(at[0], at[1], np.full(seen.sum(), 0.05)))
        truth.append(-off)
    found = shifts_of(align_all(lists, **LIMITS))
    # the least-squares solution; rounds end where a step is below 1e-4 pixels (the first: 6e-3 off)
    assert_allclose(found, solved(lists, np.array(truth)), atol=1e-3)
    # about 60 stars in each overlap: 0.05 sqrt(2 / 60) = 0.009 a link, 0.018 over four; 4 sigma
    assert_allclose(found, truth, atol=0.073)


@pytest.mark.parametrize("wanted", ["rotate", "scale"])
def test_rotation_and_magnification_are_fitted_on_request(wanted: str) -> None:
    rng = np.random.default_rng(6)
    at = rng.uniform(0, SIZE, (2, 40))
    lists = []
    for k in (0.0, 1.0, -0.7):
        turn, zoom = (0.4 * k, 1.0) if wanted == "rotate" else (0.0, 1 + 0.002 * k)
        c, s = zoom * np.cos(np.radians(turn)), zoom * np.sin(np.radians(turn))
        u, v = at - SIZE / 2
        moved = np.array([c * u - s * v, s * u + c * v]) + SIZE / 2 + rng.normal(0, 0.02, at.shape)
        lists.append(Sources(moved[0], moved[1], np.full(40, 0.02)))
    for one, sources in zip(align_all(lists, **{wanted: True}, **LIMITS), lists, strict=True):
        assert one is not None
        u, v = one.affine.apply(sources.x, sources.y)
        # the error of a star, 0.02 on each axis, and less for the map, of 40 stars: 5 sigma
        assert np.hypot(u - at[0], v - at[1]).max() < 0.11
