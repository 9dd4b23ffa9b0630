"""Background and sky factors: spec vectors 15.8, known truth, and failures."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from f2yaml.interpreter.algorithms import background as module
from f2yaml.interpreter.algorithms.background import background, sample, sky_factor, sky_offset
from f2yaml.interpreter.errors import BadInput
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

SCIENCE = np.array([11, 22, 29, 43, 48], np.float32)
SKY = np.array([5, 10, 15.5, 20, 25], np.float32)


def median(values: npt.NDArray[np.floating]) -> float:
    return float(np.median(values))


@pytest.fixture(scope="module")
def normal() -> npt.NDArray[np.float32]:
    deviates = np.random.default_rng(12345).standard_normal((256, 256))
    image = (1000 + 10 * deviates).astype(np.float32)
    assert_allclose(image[0, :3], [985.7618, 1012.63727, 991.2934], rtol=1e-7)
    return image


@pytest.mark.parametrize(
    ("corner", "sampling", "gaussian", "value", "sigma"),
    [
        (0, 1, True, 1000.0866, 9.9723),
        (0, 1, False, 1000.1201, 8.1851),
        (0, 10, True, 999.8979, 9.6318),
        (0, 10, False, 999.7480, 9.0122),
        (500, 1, True, 1000.1939, None),
        (500, 1, False, 1000.1198, None),
        (500, 10, True, 1000.6145, None),
        (500, 10, False, 999.9970, None),
    ],
)
def test_estimates_of_the_reference(
    normal: npt.NDArray[np.float32],
    corner: float,
    sampling: int,
    gaussian: bool,
    value: float,
    sigma: float | None,
) -> None:
    image = normal.copy()
    image[:64, :64] += np.float32(corner)
    level = background(image, sampling=sampling, gaussian=gaussian, thin_twice=True)
    assert level.converged
    assert_allclose(level.value, value, atol=6e-5)  # four decimals are given
    if sigma is not None:
        assert_allclose(level.sigma, sigma, atol=6e-5)


def test_a_single_thinning_is_less_noisy_than_two(normal: npt.NDArray[np.float32]) -> None:
    """65536 values thinned once by 10: error 10 / sqrt(6554) * 1.5 or so, not 0.6."""
    assert_allclose(background(normal, sampling=10).value, 1000, atol=0.4)


def test_many_samples_are_fitted_at_quantiles(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).normal(500, 20, 150_000).astype(np.float32)
    quick = background(values)
    monkeypatch.setattr(module, "MANY", 10**9)
    full = background(values)
    # The error of the level is 20 / sqrt(150000) = 0.05; a hundredth of it is allowed.
    assert_allclose(quick.value, full.value, atol=5e-4)
    assert_allclose(quick.sigma, full.sigma, atol=5e-4)
    assert quick.value != full.value


@pytest.mark.parametrize("values", [[], [1.0], [np.nan, np.inf, 2.0]])
def test_fewer_than_two_samples_have_no_level(values: list[float]) -> None:
    level = background(np.array(values, np.float32))
    assert np.isnan(level.value)
    assert not level.converged


def test_values_that_are_not_finite_are_left_out(normal: npt.NDArray[np.float32]) -> None:
    spoilt = np.concatenate([normal.ravel(), np.full(5, np.nan, np.float32), [np.inf]])
    assert background(spoilt.astype(np.float32)) == background(normal)


def test_constant_samples_are_their_own_level() -> None:
    level = background(np.full(1000, 7, np.float32))
    assert (level.value, level.sigma, level.converged) == (7, 0, True)


def test_a_failed_fit_falls_back_to_the_clipped_median() -> None:
    values = np.array([1, 2, 100, 200], np.float32)
    level = background(values)
    assert level.value == background(values, gaussian=False).value
    assert not level.converged


@settings(max_examples=25, deadline=None)
@given(shift=st.integers(-3000, 3000), scale=st.sampled_from([0.5, 2.0, 8.0]))
def test_background_moves_and_scales_with_the_image(shift: int, scale: float) -> None:
    values = np.round(np.random.default_rng(1).normal(0, 30, 4000), 1)
    level = background(values)
    moved = background(values * scale + shift)
    assert_allclose(moved.value, level.value * scale + shift, atol=2e-3 * scale)
    assert_allclose(moved.sigma, level.sigma * scale, rtol=1e-4)  # rounds end within 1e-3 sigma


def test_sources_move_the_fit_less_than_the_mean() -> None:
    rng = np.random.default_rng(5)
    sky = rng.normal(1000, 10, 40_000)
    sky[:4000] += rng.exponential(200, 4000)  # 10 percent of the pixels hold sources
    assert abs(background(sky).value - 1000) < 1.0
    assert abs(sky.mean() - 1000) > 15


# --- samples ----------------------------------------------------------------------------------


def test_samples_are_regular_and_unmasked() -> None:
    data = np.arange(100, dtype=np.float32).reshape(10, 10)
    mask = np.zeros((10, 10), np.uint16)
    mask[0] = 2
    objects = np.zeros((10, 10), np.uint8)
    objects[1, ::2] = 1
    kept = [*range(11, 20, 2), *range(20, 100)]
    assert_array_equal(sample(data, mask, objects), kept)
    assert_array_equal(sample(data, None, None), data.ravel())
    # 85 pixels, 20 wanted: a step of 4 would stay in the same columns, so 3.
    assert_array_equal(sample(data, mask, objects, target=20), kept[::3])
    assert_array_equal(sample(data, mask, None, target=30), range(10, 100, 3))
    assert sample(data, np.ones((10, 10), np.uint16)).size == 0


def test_samples_of_two_frames_are_the_same_pixels() -> None:
    rng = np.random.default_rng(9)
    mask = (rng.random((80, 90)) < 0.3).astype(np.uint16)
    science = rng.normal(0, 1, (80, 90)).astype(np.float32)
    other = 2 * science
    assert_array_equal(2 * sample(science, mask, target=500), sample(other, mask, target=500))


# --- factors ----------------------------------------------------------------------------------


def test_factor_of_the_reference() -> None:
    factor = sky_factor(SCIENCE, SKY, background=median)
    assert_allclose(factor, 2.1499252, rtol=1e-7)
    rest = [0.25037384, 0.5007477, -4.323841, 0.00149536, -5.748131]
    assert_allclose(SCIENCE - factor * SKY, rest, atol=1e-5)  # 25 F in single precision
    assert_allclose(4 + factor**2, 8.622178, rtol=1e-7)


def test_offset_of_the_reference() -> None:
    offset = sky_offset(SCIENCE, SKY, background=median)
    assert offset == 13.5
    assert_array_equal(SCIENCE - SKY - offset, [-7.5, -1.5, 0, 9.5, 9.5])


@pytest.mark.parametrize("estimator", [median, None])
def test_proportional_frames_have_their_ratio(estimator: module.Background | None) -> None:
    """The reference divides by zero at its second step."""
    assert sky_factor(2 * SKY, SKY, background=estimator) == 2
    many = np.random.default_rng(0).normal(500, 3, 5000).astype(np.float32)
    assert_allclose(sky_factor(2 * many, many, background=estimator), 2, atol=1e-6)


def test_noisy_frames_leave_no_background() -> None:
    """Spec 8.5: sky 1000 +/- 5, science 1100 +/- 5; the residual was -0.011 in the reference."""
    rng = np.random.default_rng(11)
    science = rng.normal(1100, 5, 65536).astype(np.float32)
    sky = rng.normal(1000, 5, 65536).astype(np.float32)
    science[:2000] += 300  # an object
    factor = sky_factor(science, sky)
    assert_allclose(factor, 1.1, atol=2e-4)
    noise = 7.5 / 256
    assert abs(background(science - factor * sky).value) < noise
    assert abs(background(science - sky - sky_offset(science, sky)).value) < noise


def test_steps_that_overshoot_end_in_a_bisection() -> None:
    def doubled(values: npt.NDArray[np.floating]) -> float:
        """An estimator that reports small residuals three times too large never settles."""
        level = float(np.mean(values))
        return level if level > 100 else 3 * level

    sky = np.full(10, 200.0)
    factor = sky_factor(sky * 1.7, sky, background=doubled)
    assert_allclose(factor, 1.7, atol=0.001)


def test_frames_without_a_common_level_are_refused() -> None:
    with pytest.raises(BadInput, match="sky frame has no usable background"):
        sky_factor(SCIENCE, -SKY)
    with pytest.raises(BadInput, match="no usable background"):
        sky_factor(SCIENCE[:1], SKY[:1])
    with pytest.raises(BadInput, match="science frame minus sky has no usable background"):
        sky_offset(SCIENCE[:0], SKY[:0])
    with pytest.raises(BadInput, match="no factor makes"):
        sky_factor(SCIENCE, SKY, background=lambda values: 1.0)


def test_pixels_missing_in_one_frame_do_not_count() -> None:
    science, sky = SCIENCE.copy(), SKY.copy()
    science = np.append(science, [np.nan, 5])
    sky = np.append(sky, [5, np.inf])
    assert_allclose(sky_factor(science, sky, background=median), 2.1499252, rtol=1e-7)
