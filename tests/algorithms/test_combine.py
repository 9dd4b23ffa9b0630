"""Combination of stacks: spec vectors 15.1-15.4, departures, and a plain twin in numpy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from f2yaml.interpreter.algorithms import networks
from f2yaml.interpreter.algorithms.combine import Combined, combine
from f2yaml.interpreter.dq import BADNESS
from f2yaml.interpreter.errors import TooFewFrames
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

# Reference vectors are printed in single precision, some with seven digits.
RTOL = 3e-7

SIX = np.array(
    [
        [10, 100, 5, 1],
        [11, 101, 6, 2],
        [12, 99, 7, 3],
        [13, 102, 8, 4],
        [14, 98, 9, 50],
        [200, 100.5, 10, 6],
    ],
    np.float32,
)[:, None, :]
SIX_VAR = np.broadcast_to(np.array([4, 9, 1, 1], np.float32), SIX.shape).copy()
SIX_DQ = np.array(
    [[0, 0, 1, 0], [0, 0, 0, 0], [0, 2, 1, 0], [0, 0, 64, 0], [0, 0, 16, 0], [0, 4, 8, 8]],
    np.uint16,
)[:, None, :]
SCALES = [1, 2, 0.5, 1, 1, 1]
ZEROS = [1, -1, 0, 0, 0, 0]
PI2 = math.pi / 2
# n times the variance of the (lower) median of n normal samples; the reference has pi/2 from n = 1.
MEDIAN = [0, 1, 1, 1.346013, 1.192798, 1.434168, 1.288456, 1.473128, 1.345447]
MEDIAN += [1.494912, 1.383264, 1.508787, 1.410194]
LOWER = [0, 1, 1.363380, 1.346013, 1.441821, 1.434168, 1.477275, 1.473128, 1.497490]
LOWER += [1.494912, 1.510539, 1.508787, 1.519653]


def column(values: Any, variance: Any = 1.0, mask: Any = 0, **options: Any) -> Combined:
    """Combine the samples of one pixel."""
    data = np.array(values, np.float32)[:, None, None]
    spread = np.broadcast_to(np.array(variance, np.float32).reshape(-1, 1, 1), data.shape)
    bits = np.broadcast_to(np.array(mask, np.uint16).reshape(-1, 1, 1), data.shape)
    return combine(data, spread.copy(), bits.copy(), **options)


def clip(limit: float) -> dict[str, Any]:
    return {"lsigma": limit, "hsigma": limit}


def minmax(low: int, high: int) -> dict[str, Any]:
    return {"reject": "minmax", "nlow": low, "nhigh": high}


# In the third column one sample is used: its median has the variance 1 of the sample, where the
# reference gives 1.5707964. With minmax 2/2 a median of two has 2 and 4.5 (3.1415927, 7.0685835).
@pytest.mark.parametrize(
    ("options", "sci", "var", "dq", "unused"),
    [
        (
            {"operation": "mean", "reject": "none"},
            [43.33333, 100.08333, 6, 12],
            [0.6666667, 1.5, 1, 0.2],
            [0, 6, 0, 0],
            [0, 0, 5, 1],
        ),
        (
            {"operation": "median", "reject": "none"},
            [12.5, 100.25, 6, 3],
            [1.0471976, 2.3561945, 1, 0.3141593],
            [0, 6, 0, 0],
            [0, 0, 5, 1],
        ),
        (
            {"operation": "lmedian", "reject": "none"},
            [12, 100, 6, 3],
            [1.0471976, 2.3561945, 1, 0.3141593],
            [0, 6, 0, 0],
            [0, 0, 5, 1],
        ),
        (
            {"operation": "wtmean", "reject": "none"},
            [43.33333, 100.08333, 6, 12],
            [0.6666667, 1.5, 1, 0.2],
            [0, 6, 0, 0],
            [0, 0, 5, 1],
        ),
        (
            {"operation": "mean", **minmax(1, 1)},
            [12.5, 100.125, 6, 12],
            [1, 2.25, 1, 0.2],
            [0, 6, 0, 0],
            [2, 2, 5, 1],
        ),
        (
            {"operation": "median", **minmax(1, 1)},
            [12.5, 100.25, 6, 3],
            [1.5707964, 3.5342917, 1, 0.3141593],
            [0, 6, 0, 0],
            [2, 2, 5, 1],
        ),
        (
            {"operation": "mean", **minmax(0, 1)},
            [12, 99.7, 6, 12],
            [0.8, 1.8, 1, 0.2],
            [0, 6, 0, 0],
            [1, 1, 5, 1],
        ),
        (
            {"operation": "mean", **minmax(2, 2)},
            [12.5, 100.25, 6, 3],
            [2, 4.5, 1, 0.3333333],
            [0, 4, 0, 0],
            [4, 4, 5, 3],
        ),
        (
            {"operation": "median", **minmax(2, 2)},
            [12.5, 100.25, 6, 3],
            [2, 4.5, 1, 0.5235988],
            [0, 4, 0, 0],
            [4, 4, 5, 3],
        ),
        (
            {"operation": "mean", "reject": "sigclip", "scatter": "sample"},
            [43.33333, 100.08333, 6, 12],
            [0.6666667, 1.5, 1, 0.2],
            [0, 6, 0, 0],
            [0, 0, 5, 1],
        ),
        (
            {"operation": "mean", "reject": "sigclip", "scatter": "sample", **clip(2)},
            [12, 100.08333, 6, 2.5],
            [0.8, 1.5, 1, 0.25],
            [0, 6, 0, 0],
            [1, 0, 5, 2],
        ),
        (
            {"operation": "median", "reject": "sigclip", "scatter": "sample", **clip(2)},
            [12, 100.25, 6, 2.5],
            [1.2566371, 2.3561945, 1, 0.3926991],
            [0, 6, 0, 0],
            [1, 0, 5, 2],
        ),
        (
            {"operation": "mean", "reject": "varclip"},
            [12, 100.08333, 6, 2.5],
            [0.8, 1.5, 1, 0.25],
            [0, 6, 0, 0],
            [1, 0, 5, 2],
        ),
        (
            {"operation": "median", "reject": "varclip"},
            [12, 100.25, 6, 2.5],
            [1.2566371, 2.3561945, 1, 0.3926991],
            [0, 6, 0, 0],
            [1, 0, 5, 2],
        ),
        (
            {"operation": "mean", "reject": "none", "scale": SCALES},
            [44.166668, 108.666664, 12, 12.1],
            [0.9166667, 2.0625, 4, 0.29],
            [0, 6, 0, 0],
            [0, 0, 5, 1],
        ),
        (
            {"operation": "mean", "reject": "none", "zero": ZEROS},
            [43.33333, 100.08333, 5, 12],
            [0.6666667, 1.5, 1, 0.2],
            [0, 6, 0, 0],
            [0, 0, 5, 1],
        ),
    ],
)
def test_six_images_with_quality_bits(
    options: dict[str, Any], sci: list[float], var: list[float], dq: list[int], unused: list[int]
) -> None:
    out = combine(SIX, SIX_VAR, SIX_DQ, **options)
    assert_allclose(out.data[0], sci, rtol=RTOL)
    used = 6 - np.array(unused)
    few = {"median": MEDIAN, "lmedian": LOWER}.get(options.get("operation", "mean"))
    if few is not None:
        var = np.where(used > 2, np.take(few, used) / PI2, 1) * var
    assert_allclose(out.variance[0], var, rtol=RTOL)
    assert out.mask is not None
    assert_array_equal(out.mask[0], dq)
    assert_array_equal(out.rejected[0], unused)


@pytest.mark.parametrize(
    ("operation", "var"),
    [
        ("mean", [982.11115, 0.3402778, 0, 90.5]),
        (
            "median",
            np.array([1841.3661, 0.5432338, 0, 173.9657]) * np.take(MEDIAN, [6, 6, 1, 5]) / PI2,
        ),
        ("wtmean", [982.11115, 0.3402778, 0, 90.5]),
    ],
)
def test_without_variance_the_scatter_gives_it(operation: Any, var: list[float]) -> None:
    out = combine(SIX, None, SIX_DQ, operation=operation, reject="none")
    assert_allclose(out.variance[0], var, rtol=RTOL)


def test_varclip_without_variance_is_sigclip() -> None:
    out = combine(SIX, None, SIX_DQ, operation="mean", reject="varclip", **clip(2))
    assert_allclose(out.data[0], [12, 100.08333, 6, 2.5], rtol=RTOL)


@pytest.mark.parametrize(
    ("options", "sci", "var"),
    [
        ({"reject": "none"}, [43.33333, 100.08333, 7.5, 11], [2 / 3, 1.5, 1 / 6, 1 / 6]),
        (minmax(1, 1), [12.5, 100.125, 7.5, 3.75], [1, 2.25, 0.25, 0.25]),
        (
            {"reject": "sigclip", "scatter": "sample", **clip(2)},
            [12, 100.08333, 7.5, 3.2],
            [0.8, 1.5, 0.1666667, 0.2],
        ),
        ({"reject": "varclip"}, [12, 100.08333, 7.5, 3.2], [0.8, 1.5, 0.1666667, 0.2]),
        (
            {"operation": "median", "reject": "varclip"},
            [12, 100.25, 7.5, 3],
            np.array([0.8, 1.5, 1 / 6, 0.2]) * np.take(MEDIAN, [5, 6, 6, 5]),
        ),
    ],
)
def test_without_quality_bits(options: dict[str, Any], sci: list[float], var: list[float]) -> None:
    out = combine(SIX, SIX_VAR, None, **options)
    assert_allclose(out.data[0], sci, rtol=RTOL)
    assert_allclose(out.variance[0], var, rtol=RTOL)
    if options["reject"] == "none":
        assert out.mask is None
    else:  # any rejection creates one
        assert out.mask is not None
        assert_array_equal(out.mask, 0)


FIVE = [10, 12, 11, 9, 100]
FIVE_VAR = [4, 4, 4, 4, 100]


@pytest.mark.parametrize(
    ("options", "sci", "var"),
    [
        ({"reject": "none"}, 28.4, 4.64),
        ({"reject": "sigclip", "scatter": "sample"}, 28.4, 4.64),
        # The reference keeps pi/2: 7.2884956, and 2.0943952 for the median of three.
        ({"operation": "median", "reject": "none"}, 11, 4.64 * MEDIAN[5]),
        ({"operation": "wtmean", "reject": "none"}, 11.386139, 0.990099),
        (minmax(0, 1), 10.5, 1),
        (minmax(1, 1), 11, 1.3333333),
        ({"operation": "median", **minmax(1, 1)}, 11, 4 / 3 * MEDIAN[3]),
        ({"reject": "varclip"}, 10.5, 1),
        # The reference keeps the median 11 of all five and rejects the 9 too (11, 1.3333333);
        # about the median 10.5 of the survivors nothing more is beyond 1.5 sigma.
        ({"reject": "sigclip", "scatter": "sample", **clip(1.5)}, 10.5, 1),
    ],
)
def test_five_images(options: dict[str, Any], sci: float, var: float) -> None:
    out = column(FIVE, FIVE_VAR, **options)
    assert_allclose([out.data.item(), out.variance.item()], [sci, var], rtol=RTOL)


def test_odd_median_without_bits_has_the_variance_of_the_middle_image() -> None:
    data = np.array(FIVE, np.float32)[:, None, None]
    var = np.array([4, 4, 7, 4, 100], np.float32)[:, None, None]
    out = combine(data, var, None, operation="median", reject="none")
    assert (out.data.item(), out.variance.item()) == (11, 7)
    out = combine(data, None, None, operation="median", reject="none")
    assert_allclose(out.variance.item(), 622.58514 * MEDIAN[5] / PI2, rtol=RTOL)
    out = combine(data, None, None, operation="mean", reject="none")
    assert_allclose(out.variance.item(), 320.66, rtol=RTOL)


STAIRS = [0, 1, 2, 3, 4, 5, 6, 60, 70, 80]


@pytest.mark.parametrize(
    ("options", "sci", "unused"),
    [
        # The reference, its median frozen at 4.5, gives 4.0 and also rejects 0 and 1.
        ({"mclip": True}, 3.0, 3),
        ({"mclip": True, "max_iters": 1}, 10.125, 2),
        ({"mclip": False}, 3.0, 3),
    ],
)
def test_two_sigma_clip_refreshes_its_median(
    options: dict[str, Any], sci: float, unused: int
) -> None:
    out = column(STAIRS, reject="sigclip", scatter="sample", **clip(2), **options)
    assert (out.data.item(), out.rejected.item()) == (sci, unused)


@pytest.mark.parametrize("n", range(4, 12))
def test_the_scatter_of_the_samples_rejects_a_lone_outlier_from_eight_frames_on(n: int) -> None:
    values = [*np.linspace(-1, 1, n - 1), 1e4]
    sample = column(values, reject="sigclip", scatter="sample")
    assert sample.rejected.item() == (1 if n >= 8 else 0)
    assert column(values, reject="sigclip").rejected.item() == 1
    assert column(values, reject="varclip").rejected.item() == 1


def test_sigclip_of_ten() -> None:
    out = column([1, 2, 3, 4, 5, 6, 7, 8, 9, 1000], reject="sigclip")
    assert (out.data.item(), out.rejected.item()) == (5, 1)


@pytest.mark.parametrize("level", [0, 1e4, 1e5, 1e6, 1e7])
def test_sigclip_works_at_any_level(level: float) -> None:
    """The reference squares in single precision and rejects nothing at 1e6 and 1e7."""
    values = level + np.array([0, 1, -1, 0.5, -0.5, 0.2, -0.2, 0.7, -0.7, 0.1, 50])
    assert column(values, reject="sigclip").rejected.item() == 1


@pytest.mark.parametrize(
    ("values", "sci", "unused"),
    [
        ([0, 100], 50, 0),
        ([0, 100, 101], 100.5, 1),
        ([0, 100, 200, 300], 150, 0),
    ],
)
def test_varclip_restores_what_it_would_reject_entirely(
    values: list[float], sci: float, unused: int
) -> None:
    out = column(values, reject="varclip")
    assert (out.data.item(), out.rejected.item()) == (sci, unused)


def test_restored_pair_has_the_variance_of_a_mean() -> None:
    assert column([0, 100], reject="varclip").variance.item() == 0.5


@pytest.mark.parametrize(
    ("flagged", "mean", "median", "var"),
    [
        (0, 4.5, 4.5, 1 / 6),
        (1, 18.142857, 5, 1 / 7),
        (2, 20.833334, 5.5, 1 / 6),
        (3, 24.4, 6, 1 / 5),
    ],
)
def test_minmax_truncates_its_fractions(
    flagged: int, mean: float, median: float, var: float
) -> None:
    values = [1, 2, 3, 4, 5, 6, 7, 100]
    bits = [1] * flagged + [0] * (8 - flagged)
    assert_allclose(column(values, 1, bits, **minmax(1, 1)).data.item(), mean, rtol=RTOL)
    out = column(values, 1, bits, operation="median", **minmax(1, 1))
    var *= MEDIAN[8 - out.rejected.item()]
    assert_allclose([out.data.item(), out.variance.item()], [median, var], rtol=RTOL)


@pytest.mark.parametrize(
    ("bits", "sci", "dq", "var"),
    [
        ([0, 0, 0], 3, 0, 1.5555555),
        ([0, 0, 1], 1.5, 0, 1.25),
        ([0, 1, 1], 1, 0, 1),
        ([1, 1, 1], 3, 1, 1.5555555),
        ([0, 2, 0], 3, 2, 1.5555555),
        ([0, 4, 2], 3, 6, 1.5555555),
        ([4, 1, 1], 1, 4, 1),
        ([16, 16, 1], 6, 1, 9),
        ([16, 16, 16], 3, 16, 1.5555555),
        ([64, 64, 16], 1.5, 64, 1.25),
        ([64, 1, 16], 2, 1, 4),
        ([8, 1, 1], 1, 8, 1),
        ([32, 1, 16], 1, 32, 1),
        ([8, 32, 1], 1, 8, 1),
        ([3, 1, 1], 3, 3, 1.5555555),
        ([1, 2, 64], 2, 2, 4),
        ([80, 64, 64], 4, 64, 3.25),
        ([10, 8, 1], 1.5, 10, 1.25),
        ([17, 16, 64], 6, 64, 9),
        ([128, 0, 0], 4, 0, 3.25),
        ([128, 128, 128], 0, 0, math.nan),
    ],
)
def test_the_least_bad_samples_are_used(bits: list[int], sci: float, dq: int, var: float) -> None:
    out = column([1, 2, 6], [1, 4, 9], bits, reject="none")
    assert out.mask is not None
    assert_allclose([out.data.item(), out.variance.item()], [sci, var], rtol=RTOL)
    assert out.mask.item() == dq


def test_signal_error_spares_the_cores_of_stars() -> None:
    values = [1000, 1010, 990, 1100, 1000]  # 10 percent of seeing error in one frame
    assert column(values, reject="varclip").data.item() == 1000
    assert column(values, reject="varclip", signal_error=0.05).data.item() == 1020


def test_samples_that_are_not_finite_are_never_used() -> None:
    out = column([1, math.nan, 3], reject="none")
    assert (out.data.item(), out.rejected.item()) == (2, 1)
    out = column([math.inf, math.nan], reject="none")
    assert out.mask is not None
    assert out.mask.item() == 16
    assert np.isnan(out.variance.item())
    lost = combine(np.full((2, 1, 1), np.nan, np.float32), None, None, reject="none")
    assert np.isnan(lost.data.item())


def test_wtmean_ignores_samples_without_weight() -> None:
    out = column([1, 2, 9], [1, 1, 0], operation="wtmean", reject="none")
    assert (out.data.item(), out.variance.item()) == (1.5, 0.5)
    out = column([1, 2, 9], 0, operation="wtmean", reject="none")
    assert (out.data.item(), out.variance.item()) == (4, 0)


def test_minmax_of_everything_is_refused() -> None:
    with pytest.raises(TooFewFrames, match=r"1 low and 1 high of 2 frames"):
        column([1, 2], **minmax(1, 1))


# --- a plain twin -----------------------------------------------------------------------------


def twin(
    d: npt.NDArray[np.float32], v: npt.NDArray[np.float32], m: npt.NDArray[np.uint16], **o: Any
) -> tuple[float, float, int, int]:
    """Combine one pixel with numpy, as the specification reads."""
    n = len(d)
    for allowed in BADNESS:
        use = (m & np.uint16(~allowed & 65535)) == 0
        if use.any():
            break
    else:
        return 0.0, math.nan, 0, n
    order = np.lexsort((m[use], v[use], d[use]))
    d, v, m = d[use][order].astype(float), v[use][order].astype(float), m[use][order]
    keep = np.ones(len(d), bool)
    e = np.maximum(v + o.get("slope", 0.0) * (np.median(d) - d), v / 4)
    if o["reject"] == "minmax":
        low, high = (int(len(d) * o[k] / n + 0.001) for k in ("nlow", "nhigh"))
        keep[:low] = False
        keep[len(d) - high :] = False
    elif o["reject"] == "varclip":
        keep = np.abs(d - np.median(d)) <= 3 * np.sqrt(e)
    elif o["reject"] == "sigclip":
        for _ in range(100):
            if not keep.any():
                break
            dev = d - np.median(d[keep])
            sigma = np.std(d[keep])
            if o.get("scatter") != "sample":
                mad = 1.482602218505602 * np.median(np.abs(dev[keep]))
                sigma = max(mad, np.sqrt(v.mean()))
            new = keep & (np.abs(dev) <= 3 * sigma)
            if (new == keep).all():
                break
            keep = new
    if not keep.any():
        keep[:] = True
    d, v, m, e = d[keep], v[keep], m[keep], e[keep]
    bits = int(np.bitwise_or.reduce(m))
    k = len(d)
    if o["operation"] == "wtmean":
        return float((d / e).sum() / (1 / e).sum()), float(1 / (1 / e).sum()), bits, n - k
    if o["operation"] == "mean":
        return float(d.mean()), float(v.mean() / k), bits, n - k
    if o["operation"] == "lmedian":
        return float(d[(k - 1) // 2]), LOWER[k] * float(v.mean() / k), bits, n - k
    return float(np.median(d)), MEDIAN[k] * float(v.mean() / k), bits, n - k


def random_stack(
    n: int, seed: int, rows: int = 3, nx: int = 211
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.uint16]]:
    """Return noise with outliers and every kind of quality bits; some pixels are all bad."""
    rng = np.random.default_rng(seed)
    shape = (n, rows, nx)
    data = rng.normal(100, 3, shape)
    data[rng.random(shape) < 0.1] += 60
    data[:, 0, :20] = np.round(data[:, 0, :20])  # ties
    variance = rng.uniform(4, 16, shape)
    mask = rng.choice([0, 0, 0, 0, 0, 2, 4, 1, 64, 8, 16, 128, 17], shape)
    mask[:, 1, ::7] = rng.choice([1, 64, 16, 65, 32], (n, len(range(0, nx, 7))))
    mask[:, 2, 5] = 256
    return data.astype(np.float32), variance.astype(np.float32), mask.astype(np.uint16)


@pytest.mark.parametrize("n", [1, 2, 5, 12])
@pytest.mark.parametrize("operation", ["mean", "median", "lmedian", "wtmean"])
@pytest.mark.parametrize("reject", ["none", "minmax", "sigclip", "varclip"])
def test_tiles_agree_with_numpy(n: int, operation: Any, reject: Any) -> None:
    data, variance, mask = random_stack(n, seed=n)
    kept = data.copy(), variance.copy(), mask.copy()
    trim = {"nlow": 1, "nhigh": 1} if n > 2 else {"nlow": 0, "nhigh": 0}
    out = combine(data, variance, mask, operation=operation, reject=reject, **trim)
    expected = [
        twin(
            data[:, y, x],
            variance[:, y, x],
            mask[:, y, x],
            operation=operation,
            reject=reject,
            **trim,
        )
        for y, x in np.ndindex(*out.data.shape)
    ]
    for plane, column_ in zip(out, zip(*expected, strict=True), strict=True):
        assert plane is not None
        assert_allclose(plane.ravel(), column_, rtol=RTOL)
    for before, after in zip(kept, (data, variance, mask), strict=True):
        assert_array_equal(before, after)


@pytest.mark.parametrize("n", [2, 5, 12])
@pytest.mark.parametrize(
    "options",
    [
        {"operation": "mean", "reject": "sigclip", "scatter": "sample"},
        {"operation": "mean", "reject": "varclip", "slope": 0.7},
        {"operation": "wtmean", "reject": "varclip", "slope": 0.7},
        {"operation": "wtmean", "reject": "minmax", "nlow": 1, "nhigh": 0, "slope": 0.7},
        {"operation": "wtmean", "reject": "none", "slope": 0.7},
    ],
)
def test_scatter_and_photon_noise_agree_with_numpy(n: int, options: dict[str, Any]) -> None:
    data, variance, mask = random_stack(n, seed=n)
    slope = options.get("slope")
    given = {key: value for key, value in options.items() if key != "slope"}
    photon = None if slope is None else np.full(n, slope)
    out = combine(data, variance, mask, photon=photon, **given)
    expected = [
        twin(data[:, y, x], variance[:, y, x], mask[:, y, x], **options)
        for y, x in np.ndindex(*out.data.shape)
    ]
    for plane, column_ in zip(out, zip(*expected, strict=True), strict=True):
        assert plane is not None
        assert_allclose(plane.ravel(), column_, rtol=5e-6)  # differences of 100 in single precision


@pytest.mark.parametrize("reject", ["none", "minmax", "sigclip", "varclip"])
@pytest.mark.parametrize("operation", ["mean", "median", "wtmean"])
def test_bands_and_order_do_not_change_a_bit(operation: Any, reject: Any) -> None:
    data, variance, mask = random_stack(9, seed=5, rows=37, nx=300)
    options = {"operation": operation, "reject": reject, "nlow": 1, "nhigh": 2}
    photon = np.linspace(0.5, 1, 9)
    whole = combine(data, variance, mask, photon=photon, **options)
    shape = data.shape[1:]
    out = Combined(
        np.empty(shape, np.float32),
        np.empty(shape, np.float32),
        np.empty(shape, np.uint16),
        np.empty(shape, np.int16),
    )
    order = np.random.default_rng(0).permutation(9)
    for lo, hi in ((0, 1), (1, 12), (12, 37)):
        band = Combined(*(plane[lo:hi] for plane in out if plane is not None))
        views = (plane[order][:, lo:hi] for plane in (data, variance, mask))
        combine(*views, out=band, photon=photon[order], **options)  # type: ignore[misc]
    for one, other in zip(whole, out, strict=True):
        assert one is not None
        assert other is not None
        assert one.tobytes() == other.tobytes()


pixels = st.lists(st.integers(-1000, 1000), min_size=2, max_size=12)


@settings(max_examples=60, deadline=None)
@given(
    values=pixels,
    shift=st.integers(-5000, 5000),
    reject=st.sampled_from(["none", "sigclip", "varclip"]),
    operation=st.sampled_from(["mean", "median", "lmedian"]),
    seed=st.integers(0, 1000),
)
def test_constants_shift_the_result(
    values: list[int], shift: int, reject: Any, operation: Any, seed: int
) -> None:
    """Integers, so that all sums are exact and no decision of a clip can change."""
    rng = np.random.default_rng(seed)
    bits = rng.choice([0, 0, 2, 4, 1, 64], len(values))
    base = column(values, 100, bits, reject=reject, operation=operation)
    moved = column([x + shift for x in values], 100, bits, reject=reject, operation=operation)
    assert base.mask is not None
    assert moved.mask is not None
    assert_allclose(moved.data - shift, base.data, atol=5e-4)  # float32 spacing at 6000
    assert_allclose(moved.variance, base.variance, rtol=1e-6)
    assert base.variance.item() >= 0
    assert_array_equal(moved.mask, base.mask)
    used = [b for b in bits if b in (0, 2, 4)] or bits
    assert base.mask.item() & ~int(np.bitwise_or.reduce(used)) == 0


@pytest.mark.parametrize("n", range(1, 34))
def test_networks_sort(n: int) -> None:
    rng = np.random.default_rng(n)
    tile = rng.integers(0, 5, (n, networks.TILE)).astype(np.float32)
    tile[:, 0] = np.arange(n)[::-1]
    expected = np.sort(tile, axis=0)
    middle = tile.copy()
    networks.exchange(tile, networks.sorting_pairs(n), networks.TILE)
    assert_array_equal(tile, expected)
    networks.exchange(middle, networks.median_pairs(n), networks.TILE)
    rows = list(networks.middle_rows(n))
    assert_array_equal(middle[rows], expected[rows])
