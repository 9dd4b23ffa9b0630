"""Bands of many frames, combined one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from f2yaml.interpreter import algorithms
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.pixels import Array, Planes
from f2yaml.interpreter.primitives.register import OnGrid
from f2yaml.interpreter.primitives.stack_headers import Weights, exposures


def measured_rows(frame: Frame, start: int, stop: int) -> Planes:
    """Return data, variance and mask of some rows; of a resampled frame nothing else is made."""
    if not isinstance(frame.pixels, OnGrid):
        return frame.pixels.rows(start, stop)
    shape = (stop - start, frame.shape[1])
    variance = np.empty(shape, np.float32) if frame.has("variance") else None
    planes = Planes(np.empty(shape, np.float32), variance, np.empty(shape, np.uint16))
    frame.pixels.fill(start, stop, planes)
    return planes


class Combiner:
    """What combines one band after the other into `out`; threads share it, not its buffers."""

    def __init__(
        self,
        frames: Sequence[Frame],
        operation: Literal["mean", "wtmean", "median", "lmedian"],
        rules: dict[str, Any],
        weights: Weights | None,
        flag_share: float | None,
        out: Planes,
    ) -> None:
        present = frozenset.intersection(*(f.pixels.present for f in frames))
        self.frames, self.operation, self.rules = frames, operation, rules
        self.weights, self.flag_share, self.out = weights, flag_share, out
        self.has_variance = "variance" in present
        self.has_mask = "mask" in present and out.mask is not None
        self.counts = [exposures(frame) for frame in frames]
        self._free: list[tuple[Array, Array | None, Array | None, Array]] = []

    def work(self, band: tuple[int, int]) -> tuple[int, int]:
        """Combine one band; return how many samples were usable, and used."""
        try:
            buffers = self._free.pop()
        except IndexError:
            buffers = self._buffers(band[1] - band[0])
        try:
            return self._combine(band, buffers)
        finally:
            self._free.append(buffers)

    def _buffers(self, rows: int) -> tuple[Array, Array | None, Array | None, Array]:
        shape = (len(self.frames), rows, self.out.data.shape[1])
        return (
            np.empty(shape, np.float32),
            np.empty(shape, np.float32) if self.has_variance else None,
            np.empty(shape, np.uint16) if self.has_mask else None,
            np.empty(shape[1:], np.int16),
        )

    def _combine(
        self, band: tuple[int, int], buffers: tuple[Array, Array | None, Array | None, Array]
    ) -> tuple[int, int]:
        start, stop = band
        if stop - start > buffers[0].shape[1]:  # left by a shorter band
            buffers = self._buffers(stop - start)
        data, variance, mask = (None if b is None else b[:, : stop - start] for b in buffers[:3])
        assert data is not None
        coverages: list[Array | None] = []
        for k, frame in enumerate(self.frames):
            if isinstance(frame.pixels, OnGrid) and mask is not None:
                into = Planes(data[k], None if variance is None else variance[k], mask[k])
                coverages.append(frame.pixels.fill(start, stop, into))
                continue
            rows = frame.pixels.rows(start, stop)
            data[k] = rows.data
            if variance is not None:
                variance[k] = rows.variance
            if mask is not None:
                mask[k] = rows.mask
            coverages.append(rows.coverage)
        made = self._made(data, variance, mask, start, stop, buffers[3][: stop - start])
        out, flag_share = self.out, self.flag_share
        if out.mask is not None and made.mask is None:
            out.mask[start:stop] = 0
        if out.coverage is None or flag_share is None:
            return 0, 0
        known = algorithms.coverage.makeup(
            made,
            data,
            variance,
            mask,
            depth=_depths(self.counts, coverages, data.shape),
            flag_share=flag_share,
            **self.rules,
        )
        out.coverage[start:stop] = known.coverage
        if out.mask is not None and known.mask is not None:
            out.mask[start:stop] = known.mask
        return known.usable, known.used

    def _made(
        self,
        data: Array,
        variance: Array | None,
        mask: Array | None,
        start: int,
        stop: int,
        rejected: Array,
    ) -> algorithms.combine.Combined:
        """Combine samples into rows `start` to `stop` of the output."""
        into = self.out.rows(start, stop)
        assert into.variance is not None
        filled = algorithms.combine.Combined(into.data, into.variance, into.mask, rejected)
        if self.weights is None:
            return algorithms.combine.combine(
                data, variance, mask, operation=self.operation, out=filled, **self.rules
            )
        assert variance is not None
        made = algorithms.weighted.weighted_mean(
            data, variance, mask, self.weights.shares, **self.rules
        )
        into.data[:], into.variance[:] = made.data, made.variance
        if into.mask is not None:
            into.mask[:] = made.mask
        return made


def _depths(
    counts: Sequence[int], coverages: Sequence[Array | None], shape: tuple[int, ...]
) -> Array | None:
    """Return the exposures behind each sample; None where all frames are single exposures."""
    if max(counts) == 1 and all(coverage is None for coverage in coverages):
        return None
    made = np.empty(shape, np.uint16)
    for plane, count, coverage in zip(made, counts, coverages, strict=True):
        plane[:] = min(count, 65535) if coverage is None else coverage
    return made
