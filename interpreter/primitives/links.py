"""Row functions of the chain from raw counts to calibrated electrons, joined into one pass.

Each class does what one step does to some rows. Where the whole chain follows one another, the last
of them does the work of all (`joined`), bit for bit as they do it in turn (`algorithms.calibrate`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from f2yaml.interpreter import algorithms
from f2yaml.interpreter.f2.detector import LINEARITY
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.pixels import Array, Joinable, Planes, RowFunction

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from f2yaml.interpreter.algorithms.calibrate import Planes as CalPlanes
    from f2yaml.interpreter.algorithms.calibrate import Settings

SATURATED = np.uint16(4)


@dataclass(frozen=True, eq=False)
class AsFloat:
    """Counts as float32 (prepare)."""

    def __call__(self, planes: Planes, start: int, stop: int) -> Planes:
        return planes._replace(data=planes.data.astype(np.float32))


@dataclass(frozen=True, eq=False)
class Flags:
    """Quality bits (addDQ).

    Parameters
    ----------
    static : uint16, shape (ny, nx)
        Bits of known bad and unilluminated pixels; frames may share it.
    hidden : int, shape (k,)
        Ascending places of pixels of hidden saturation in the flattened frame.
    nonlinear, saturation : float, adu
    """

    static: Array
    hidden: Array
    nonlinear: float
    saturation: float

    def known(self, start: int, stop: int) -> Array:
        """Return the bits of some rows that do not follow from their counts alone."""
        rows: Array = self.static[start:stop]
        if not self._within(start, stop).size:
            return rows
        rows = rows.copy()
        self.add_hidden(rows, start)
        return rows

    def add_hidden(self, mask: Array, start: int) -> None:
        """Set the bits of hidden saturation in a mask of the rows from `start` on."""
        mask.reshape(-1)[self._within(start, start + len(mask))] |= SATURATED

    def _within(self, start: int, stop: int) -> Array:
        """Return the places of hidden saturation in some rows."""
        if not self.hidden.size:
            return self.hidden
        width = self.static.shape[1]
        first, last = np.searchsorted(self.hidden, (start * width, stop * width))
        return self.hidden[first:last] - start * width  # type: ignore[no-any-return]

    def __call__(self, planes: Planes, start: int, stop: int) -> Planes:
        mask = algorithms.calibrate.level_flags(
            planes.data,
            self.known(start, stop),
            nonlinear=self.nonlinear,
            saturation=self.saturation,
        )
        return planes._replace(mask=mask)


@dataclass(frozen=True, eq=False)
class Electrons:
    """Counts times the gain (ADUToElectrons)."""

    gain: float

    def __call__(self, planes: Planes, start: int, stop: int) -> Planes:
        variance = planes.variance
        if variance is not None:
            variance = algorithms.calibrate.to_electrons(variance, gain=self.gain * self.gain)
        data = algorithms.calibrate.to_electrons(planes.data, gain=self.gain)
        return planes._replace(data=data, variance=variance)


@dataclass(frozen=True, eq=False)
class Noise:
    """Variance of read and photon noise (addVAR); `gain` in electrons per unit of the data."""

    gain: float
    read_noise: float
    read: bool
    poisson: bool

    def __call__(self, planes: Planes, start: int, stop: int) -> Planes:
        variance = algorithms.calibrate.noise_variance(
            planes.data,
            gain=self.gain,
            read_noise=self.read_noise,
            read=self.read,
            poisson=self.poisson,
        )
        return planes._replace(variance=variance)


class ChainEnd(Joinable):
    """A step that the usual chain may end with: it does the work of all before it as well."""

    def joined(self, before: tuple[RowFunction, ...]) -> RowFunction | None:
        return _joined((*before, self))


@dataclass(frozen=True, eq=False)
class Linear(ChainEnd):
    """Correction of the detector's response (nonlinearityCorrect)."""

    gain: float
    coadds: int
    poisson: bool

    def __call__(self, planes: Planes, start: int, stop: int) -> Planes:
        data, variance = algorithms.calibrate.linearize(
            planes.data,
            planes.variance,
            coefficients=LINEARITY,
            gain=self.gain,
            coadds=self.coadds,
            poisson=self.poisson,
        )
        return planes._replace(data=data, variance=variance)


@dataclass(frozen=True, eq=False)
class MinusDark(ChainEnd):
    """Subtraction of a dark (darkCorrect)."""

    dark: Frame

    def __call__(self, planes: Planes, start: int, stop: int) -> Planes:
        zero = self.dark.pixels.rows(start, stop)
        made = applied(algorithms.calibrate.subtract, planes, zero)
        if planes.variance is None or zero.variance is None:
            return made
        share = algorithms.calibrate.subtracted_share(planes.shared, planes.variance, zero.variance)
        return made._replace(shared=share)


@dataclass(frozen=True, eq=False)
class OverFlat(ChainEnd):
    """Division by a flat (flatCorrect)."""

    flat: Frame

    def __call__(self, planes: Planes, start: int, stop: int) -> Planes:
        response = self.flat.pixels.rows(start, stop)
        made = applied(algorithms.calibrate.divide, planes, response)
        if planes.variance is None or response.variance is None:
            return made
        share = algorithms.calibrate.divided_share(
            planes.shared, complete(planes), complete(response)
        )
        return made._replace(shared=share)


def applied(
    operation: Callable[[CalPlanes, CalPlanes], CalPlanes], left: Planes, right: Planes
) -> Planes:
    """Apply an operation between two frames' rows; a missing variance or mask counts as zero."""
    made = operation(complete(left), complete(right))
    return left._replace(data=made.data, variance=made.variance, mask=made.mask)


def complete(planes: Planes) -> CalPlanes:
    """Return planes with zeros for a missing variance or mask."""
    shape = planes.data.shape
    variance = np.zeros(shape, np.float32) if planes.variance is None else planes.variance
    mask = np.zeros(shape, np.uint16) if planes.mask is None else planes.mask
    return algorithms.calibrate.Planes(planes.data, variance, mask)


@dataclass(frozen=True, eq=False)
class Calibration:
    """All of the chain in one pass; without dark or flat where a frame is not that far yet."""

    flags: Flags
    electrons: Electrons
    noise: Noise
    linear: Linear
    dark: Frame | None = None
    flat: Frame | None = None

    def __call__(self, planes: Planes, start: int, stop: int) -> Planes:
        shape = planes.data.shape
        share = None if self.dark is None and self.flat is None else np.empty(shape, np.uint8)
        filled = (np.empty(shape, np.float32), np.empty(shape, np.float32))
        return self.into(
            planes, start, stop, Planes(*filled, np.empty(shape, np.uint16), shared=share)
        )

    def into(self, planes: Planes, start: int, stop: int, out: Planes) -> Planes:
        """Fill the arrays of `out`; its shares only where there are a dark or flat."""
        if out.variance is None or out.mask is None:
            return self(planes, start, stop)
        share = out.shared
        if self.dark is None and self.flat is None:
            share = None
        elif share is None:
            share = np.empty(planes.data.shape, np.uint8)
        filled = algorithms.calibrate.Planes(out.data, out.variance, out.mask)
        known = self.flags.known(start, stop)
        algorithms.calibrate.calibrate_rows(
            planes.data, known, self._settings, *self._given(start, stop), filled, share
        )
        return Planes(out.data, out.variance, out.mask, shared=share)

    def fill_stack(
        self,
        others: Sequence[RowFunction],
        stored: Callable[[], Array],
        start: int,
        stop: int,
        out: Planes,
    ) -> bool:
        """Fill stacked arrays for frames that share dark and flat; False if they do not.

        Parameters
        ----------
        others : sequence of RowFunction
            What is done to each of the frames, which starts with this.
        stored : function
            Returns the counts in the byte order of FITS files, uint32, shape (n, rows, nx).
        out : Planes, shape (n, stop - start, nx)
            As for `into`.
        """
        done = [other for other in others if isinstance(other, Calibration)]
        kind = (id(self.dark), id(self.flat), id(self.flags.static))
        if len(done) < len(others) or any(
            (id(d.dark), id(d.flat), id(d.flags.static)) != kind for d in done
        ):
            return False
        if out.variance is None or out.mask is None:
            return False
        if (out.shared is None) is not (self.dark is None and self.flat is None):
            return False
        algorithms.calibrate_stack.calibrate_stack(
            stored(),
            self.flags.static[start:stop],
            [d._settings for d in done],
            *self._given(start, stop),
            algorithms.calibrate.Planes(out.data, out.variance, out.mask),
            out.shared,
        )
        for mask, d in zip(out.mask, done, strict=True):
            d.flags.add_hidden(mask, start)
        return True

    def _given(self, start: int, stop: int) -> tuple[CalPlanes, CalPlanes]:
        """Return the rows of dark and flat; `NONE` for none."""
        none = algorithms.calibrate.NONE
        return (
            none if self.dark is None else complete(self.dark.pixels.rows(start, stop)),
            none if self.flat is None else complete(self.flat.pixels.rows(start, stop)),
        )

    @cached_property
    def _settings(self) -> Settings:
        return algorithms.calibrate.settings_of(
            gain=self.electrons.gain,
            read_noise=self.noise.read_noise,
            saturation=self.flags.saturation,
            nonlinear=self.flags.nonlinear,
            coefficients=LINEARITY,
            coadds=self.linear.coadds,
        )


def _joined(links: tuple[RowFunction, ...]) -> RowFunction | None:
    """Return the one pass that a chain from raw counts amounts to, if it is the usual one."""
    match links:
        case (
            AsFloat(),
            Flags() as flags,
            Electrons() as electrons,
            Noise(gain=1.0, read=True, poisson=True) as noise,
            Linear(gain=1.0, poisson=True) as linear,
            *rest,
        ):
            whole = Calibration(flags, electrons, noise, linear)
        case _:
            return None
    for link in rest:
        match link:
            case MinusDark(dark) if whole.dark is None and whole.flat is None:
                whole = replace(whole, dark=dark)
            case OverFlat(flat) if whole.flat is None:
                whole = replace(whole, flat=flat)
            case _:
                return None
    given = (frame for frame in (whole.dark, whole.flat) if frame is not None)
    return whole if all(frame.has("variance") for frame in given) else None
