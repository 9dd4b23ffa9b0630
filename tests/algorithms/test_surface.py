"""Surfaces through block levels: recovered, deaf to objects, refused where too little is seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from f2yaml.interpreter.algorithms.surface import (
    Blocks,
    blank_level,
    block_levels,
    fit_surface,
    legendre_basis,
    usable_blocks,
)

SHAPE = (300, 420)
SIZE = 32
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
U, V = (2 * X + 1) / SHAPE[1] - 1, (2 * Y + 1) / SHAPE[0] - 1
#: Truth of degree 2 in electron, up to 12.
TRUTH = 3 + 4 * U - 2 * V + 1.5 * U * V + 2 * U**2


def fitted(data: Any, objects: Any = None, mask: Any = None, order: int = 2) -> Any:
    """Return the surface through an image of noise 10."""
    none = np.zeros(SHAPE, np.uint8)
    blocks = block_levels(
        data.astype(np.float32),
        np.full(SHAPE, 100, np.float32),
        none.astype(np.uint16) if mask is None else mask,
        none if objects is None else objects,
        SIZE,
    )
    usable, _ = usable_blocks(blocks, SIZE * SIZE)
    found = fit_surface(blocks, usable, SIZE, SHAPE, order)
    return None if found is None else surface_rows(found, SHAPE, 0, SHAPE[0])


def surface_rows(coefficients: Any, shape: tuple[int, int], start: int, stop: int) -> Any:
    along, basis = legendre_basis(coefficients, shape, start, stop)
    return sum(along[:, k, None] * basis[k] for k in range(len(basis)))


def noisy(seed: int = 1) -> Any:
    return TRUTH + np.random.default_rng(seed).normal(0, 10, SHAPE)


def test_a_surface_is_recovered() -> None:
    """126000 pixels of noise 10, six numbers: 0.07 rms. Blocks average a curved surface: 0.01."""
    assert np.std(fitted(noisy()) - TRUTH) < 0.15
    assert np.std(fitted(noisy(), order=3) - TRUTH) < 0.2
    assert np.std(fitted(noisy(), order=1) - TRUTH) > 0.4  # cannot follow a curve


def test_rows_do_not_depend_on_bands() -> None:
    c = np.array([[1.0, 2.0, 0.5], [3.0, -1.0, 0.0], [0.25, 0.0, 0.0]])
    whole = surface_rows(c, SHAPE, 0, SHAPE[0])
    parts = [surface_rows(c, SHAPE, a, b) for a, b in ((0, 1), (1, 77), (77, SHAPE[0]))]
    assert whole.tobytes() == np.concatenate(parts).tobytes()


def test_masked_and_flagged_pixels_do_not_count() -> None:
    data = noisy()
    objects, mask = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint16)
    data[Y % 16 < 6] += 8.0  # within the clip, so that only the masks keep it out
    data[Y % 16 > 12] -= 20.0
    objects[Y % 16 < 6] = 1
    mask[Y % 16 > 12] = 1
    assert np.std(fitted(data, objects, mask) - TRUTH) < 0.15
    assert abs(np.mean(fitted(data, objects, mask) - TRUTH)) < 0.1
    assert abs(np.mean(fitted(data, None, mask) - TRUTH)) > 2
    assert abs(np.mean(fitted(data, objects) - TRUTH)) > 2


def test_a_block_that_stands_out_is_left_out() -> None:
    data = noisy()
    data[64:96, 64:96] += 15.0
    assert np.std(fitted(data) - TRUTH) < 0.15


def test_neighbours_of_hidden_blocks_are_not_used() -> None:
    objects = np.zeros(SHAPE, np.uint8)
    objects[96:160, 96:160] = 1  # 2 x 2 blocks
    blocks = block_levels(
        np.zeros(SHAPE, np.float32),
        np.ones(SHAPE, np.float32),
        np.zeros(SHAPE, np.uint16),
        objects,
        SIZE,
    )
    usable, share = usable_blocks(blocks, SIZE * SIZE)
    assert np.count_nonzero(~usable[2:6, 2:6]) == 16
    # 9 x 13 blocks and a strip of 12 rows, 0.37 of a block, with one corner block too small
    assert usable.sum() == usable.size - 16 - (~usable[-1]).sum() - (~usable[:-1, -1]).sum()
    assert share == pytest.approx(usable.sum() / (usable.sum() + 16))


def test_too_few_blocks_give_no_surface() -> None:
    mask = np.ones(SHAPE, np.uint16)
    mask[:64, :128] = 0
    assert fitted(noisy(), mask=mask) is None


def levels(light: Any, seed: int = 1) -> float | None:
    """Return the level of 32 x 32 blocks of noise 1 above a true level of 5."""
    noise = np.random.default_rng(seed).normal(0, 1, (32, 32))
    count = np.full((32, 32), 4096)
    return blank_level(Blocks(5.0 + light + noise, count, count * 0), np.ones((32, 32), bool))


BY, BX = np.mgrid[:32, :32] - 15.5


def test_the_level_of_blank_blocks_is_their_mean() -> None:
    """1024 blocks of noise 1: 0.03 each, and no bias over 20 fields (0.007)."""
    found = np.array([levels(0.0, seed) for seed in range(20)]) - 5
    assert np.std(found) < 0.05
    assert abs(found.mean()) < 0.02


@pytest.mark.parametrize("size", [0.1, 1.0, 5.0])
def test_waves_of_the_sky_do_not_move_the_level(size: float) -> None:
    wave = size * np.sin(2 * np.pi * (BX + 0.5 * BY) / 32)
    assert levels(wave) == pytest.approx(5, abs=0.1 + 0.05 * size)


def test_faint_light_of_a_galaxy_is_no_level() -> None:
    """An exponential galaxy of 2 blocks, 3000 at its centre: 0.5 is what half the field exceeds."""
    light = 3000 * np.exp(-np.hypot(BX, BY / 0.7) / 2)
    assert np.median(light) > 0.5
    # The faintest third of the field has 0.02 to 0.3.
    assert levels(light) == pytest.approx(5, abs=0.35)


def test_few_blocks_have_no_level() -> None:
    few = np.zeros((32, 32), bool)
    few[:3, :5] = True
    count = np.full((32, 32), 4096)
    assert blank_level(Blocks(np.ones((32, 32)), count, count * 0), few) is None
    few[3, 0] = True
    assert blank_level(Blocks(np.ones((32, 32)), count, count * 0), few) == 1
