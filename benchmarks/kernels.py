"""Kernels, timed alone on one thread: what each takes, and what moving its bytes would take.

A line of the table is a function with the decorator `kernel`. It gets a `Night` of made-up frames,
prepares what the kernel works on, and returns the call to be timed. `read` and `written` are the
bytes of a pixel that the call must move for each frame that it reads and makes; `frames` says how
many frames it reads, `made` how many it makes. Kernels of many frames work on a band of rows.

    python benchmarks/kernels.py [--size 2048] [--only NAME ...]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from f2yaml.interpreter import algorithms
from f2yaml.interpreter.algorithms.resample import Planes, resample_rows
from f2yaml.interpreter.algorithms.tan import Affine

FRAMES = 18
#: Shift of a dither, with a fraction along both axes.
DITHER = Affine(((1.0, 0.0), (0.0, 1.0)), (67.31, -40.57))


@dataclass(frozen=True)
class Kernel:
    """A line of the table; see the module's docstring."""

    name: str
    prepare: Callable[[Night], Callable[[], Any]]
    read: int
    written: int
    frames: int
    made: int
    banded: bool
    rate: str


@dataclass(frozen=True)
class Timed:
    """A kernel's figures.

    Parameters
    ----------
    name : str
    seconds : float
        Least time of the call.
    frames : int
        Frames it worked on.
    pixels : int
        Of each of them.
    bytes : int
        That it must move.
    bound : float
        Time that this takes at the rate of a yardstick (s).
    """

    name: str
    seconds: float
    frames: int
    pixels: int
    bytes: int
    bound: float


KERNELS: list[Kernel] = []


def kernel(
    name: str,
    *,
    read: int,
    written: int,
    frames: int = 1,
    made: int = 1,
    rate: str = "copy",
) -> Callable[[Callable[[Night], Callable[[], Any]]], Callable[[Night], Callable[[], Any]]]:
    """Add a kernel to the table; `rate` is the yardstick that its bytes are compared with."""

    def add(prepare: Callable[[Night], Callable[[], Any]]) -> Callable[[Night], Callable[[], Any]]:
        KERNELS.append(Kernel(name, prepare, read, written, frames, made, frames > 1, rate))
        return prepare

    return add


class Night:
    """Made-up frames: sky and stars with their noise, two percent of bad pixels.

    Parameters
    ----------
    size : int
        Rows and columns.
    folder : Path
        For files.
    """

    def __init__(self, size: int, folder: Path) -> None:
        self.size, self.folder = size, folder
        self.shape = (size, size)
        self._random = np.random.default_rng(1)

    @property
    def rows(self) -> int:
        """Rows of a band of many frames."""
        return max(1, self.size // 8)

    @cached_property
    def data(self) -> Any:
        """A sky-subtracted frame, in electrons, with stars of 3.5 pixels FWHM."""
        data = self._random.normal(0.0, 68.0, self.shape).astype(np.float32)
        y, x = np.mgrid[-12:13, -12:13]
        spot = np.exp(-(x * x + y * y) / (2 * 1.49**2)).astype(np.float32)
        for _ in range(max(1, 250 * self.size**2 // 2048**2)):
            row, column = self._random.integers(0, self.size - 25, 2)
            peak = 10 ** self._random.uniform(2.5, 4.5)
            data[row : row + 25, column : column + 25] += np.float32(peak) * spot
        return data

    @cached_property
    def variance(self) -> Any:
        """Variance of a frame."""
        return np.full(self.shape, 68.0**2, np.float32)

    @cached_property
    def mask(self) -> Any:
        """Quality bits of a frame."""
        return (self._random.random(self.shape) < 0.02).astype(np.uint16)

    @cached_property
    def objects(self) -> Any:
        """Object mask: discs on four percent of the frame."""
        mask = np.zeros(self.shape, np.uint8)
        y, x = np.mgrid[-8:9, -8:9]
        disc = (x * x + y * y <= 64).astype(np.uint8)
        for _ in range(self.size**2 // 5000):
            row, column = self._random.integers(0, self.size - 17, 2)
            mask[row : row + 17, column : column + 17] |= disc
        return mask

    @cached_property
    def planes(self) -> Planes:
        """A frame with all its planes."""
        return Planes(self.data, self.variance, self.mask, self.objects)

    @cached_property
    def band(self) -> tuple[Any, Any, Any, Any]:
        """The same rows of many frames: data on a sky of 5000, variance, mask and objects."""
        shape = (FRAMES, self.rows, self.size)
        data = self._random.normal(5000.0, 71.0, shape).astype(np.float32)
        mask = (self._random.random(shape) < 0.02).astype(np.uint16)
        objects = np.stack([np.roll(self.objects[: self.rows], 37 * n, 1) for n in range(FRAMES)])
        return data, np.full(shape, 71.0**2, np.float32), mask, objects


# --- the table ----------------------------------------------------------------------------------


@kernel("calibrate", read=4 + 2 + 10 + 10, written=10)
def _calibrate(night: Night) -> Callable[[], Any]:
    calibrate = algorithms.calibrate
    raw = (night.data + 1200).astype(np.int32)
    still = calibrate.Planes(night.data * 0, night.variance * 0, night.mask)
    flat = calibrate.Planes(night.data * 0 + 1, night.variance * 0, night.mask)
    shape = night.shape
    out = calibrate.Planes(
        np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.uint16)
    )
    return lambda: calibrate.calibrate(
        raw, night.mask, gain=4.44, read_noise=11.7, saturation=27000.0, nonlinear=22000.0,
        coefficients=(1.0, 1e-7, 1e-12), dark=still, flat=flat, out=out,
    )  # fmt: skip


@kernel("combine, mean after varclip", read=10, written=12, frames=FRAMES)
def _combine_mean(night: Night) -> Callable[[], Any]:
    data, variance, mask, _ = night.band
    return lambda: algorithms.combine.combine(
        data, variance, mask, operation="mean", reject="varclip", lsigma=3.0, hsigma=3.0
    )


@kernel("combine, median", read=10, written=12, frames=FRAMES)
def _combine_median(night: Night) -> Callable[[], Any]:
    data, variance, mask, _ = night.band
    return lambda: algorithms.combine.combine(
        data, variance, mask, operation="median", reject="none"
    )


def _neighbours() -> Any:
    return np.array([[j for j in range(FRAMES) if j != i] for i in range(FRAMES)], np.int32)


@kernel("sky, median", read=10, written=10, frames=FRAMES, made=FRAMES)
def _sky_median(night: Night) -> Callable[[], Any]:
    data, variance, mask, _ = night.band
    levels = np.full(FRAMES, 5000.0)
    return lambda: algorithms.sky.sky_band(
        data, variance, mask, None, levels, _neighbours(), own=np.arange(FRAMES)
    )


@kernel("sky, mean after varclip", read=11, written=10, frames=FRAMES, made=FRAMES)
def _sky_mean(night: Night) -> Callable[[], Any]:
    data, variance, mask, objects = night.band
    levels = np.full(FRAMES, 5000.0)
    return lambda: algorithms.sky.sky_band(
        data, variance, mask, objects, levels, _neighbours(), own=np.arange(FRAMES),
        operation="mean", reject="varclip", lsigma=4.0, hsigma=4.0,
    )  # fmt: skip


@kernel("resample, poly3", read=10, written=10)
def _resample(night: Night) -> Callable[[], Any]:
    planes = Planes(night.data, night.variance, night.mask)
    return lambda: resample_rows(planes, DITHER, 0, night.size, night.size, "poly3")


@kernel("detect", read=10, written=1)
def _detect(night: Night) -> Callable[[], Any]:
    data, variance, mask = night.data, night.variance, night.mask
    return lambda: algorithms.detect.detect(data, mask, variance)


@kernel("background level", read=7, written=0)
def _level(night: Night) -> Callable[[], Any]:
    background = algorithms.background

    def call() -> Any:
        return background.background(background.sample(night.data, night.mask, night.objects))

    return call


@kernel("dilate a mask, 2 pix", read=1, written=1)
def _dilate(night: Night) -> Callable[[], Any]:
    return lambda: algorithms.morphology.dilate(night.objects, 2.0)


@kernel("transfer a mask", read=1, written=1)
def _transfer(night: Night) -> Callable[[], Any]:
    return lambda: algorithms.morphology.transfer_mask(night.objects, DITHER, night.shape)


def _frame(night: Night) -> Any:
    from astropy.io import fits
    from f2yaml.interpreter import frame, pixels

    planes = pixels.Planes(night.data, night.variance, night.mask)
    source = pixels.InMemory(planes)
    return frame.Frame(name="made_up.fits", pixels=source, phu=fits.Header(), sci=fits.Header())


@kernel("write a FITS file, synced", read=0, written=10, rate="write")
def _write(night: Night) -> Callable[[], Any]:
    from f2yaml.interpreter.fits import write_frame

    made, path = _frame(night), night.folder / "written.fits"

    def call() -> None:
        path.unlink(missing_ok=True)
        write_frame(made, path)

    return call


@kernel("read a FITS file", read=10, written=0, rate="read")
def _read(night: Night) -> Callable[[], Any]:
    from f2yaml.interpreter.fits import read_frame, write_frame

    path = write_frame(_frame(night), night.folder / "read.fits")
    return lambda: read_frame(path).pixels.whole()


# --- timing -------------------------------------------------------------------------------------


def run_kernels(
    rates: dict[str, float], size: int = 2048, tries: int = 5, only: list[str] | None = None
) -> list[Timed]:
    """Time kernels; each call is made once before, so that it is compiled and its buffers are warm.

    Parameters
    ----------
    rates : dict
        Yardsticks in GB/s, by name.
    size : int
        Rows and columns of a frame.
    tries : int
        The best counts; fewer where a try takes long.
    only : list of str, optional
        Kernels whose names contain one of these.
    """
    made = []
    with tempfile.TemporaryDirectory(prefix="f2yaml-kernels-") as folder:
        night = Night(size, Path(folder))
        for one in KERNELS:
            if only and not any(word in one.name for word in only):
                continue
            call = one.prepare(night)
            call()
            seconds = _least(call, tries)
            pixels = (night.rows if one.banded else size) * size
            moved = pixels * (one.read * one.frames + one.written * one.made)
            bound = moved / 1e9 / rates[one.rate]
            made.append(Timed(one.name, seconds, one.frames, pixels, moved, bound))
    return made


def _least(call: Callable[[], Any], tries: int) -> float:
    spent: list[float] = []
    while len(spent) < tries and sum(spent) < 3.0:
        begun = time.perf_counter()
        call()
        spent.append(time.perf_counter() - begun)
    return min(spent)


def main() -> None:
    """Time the kernels and print their table."""
    from speed_machine import yardsticks
    from speed_report import kernel_rows, text_table

    parser = argparse.ArgumentParser(description="Time the kernels alone, on one thread.")
    parser.add_argument("--size", type=int, default=2048, help="rows and columns of a frame")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="part of the names of kernels")
    given = parser.parse_args()
    made = run_kernels(yardsticks(Path(tempfile.gettempdir())), given.size, only=given.only)
    print(text_table(kernel_rows([asdict(one) for one in made])))


if __name__ == "__main__":
    main()
