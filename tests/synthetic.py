"""Frames with known truth, in memory, for unit tests of primitives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from astropy.io.fits import Header
from f2yaml.interpreter.algorithms.tan import Tan
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.headers import Headers
from f2yaml.interpreter.pixels import InMemory, Planes
from f2yaml.interpreter.scratch import room

SCALE = 0.1792 / 3600


def headers(**phu: Any) -> tuple[Header, Header]:
    """Return the headers of a prepared K-red science frame of 5 s, with changes."""
    primary = Header()
    cards = {
        "INSTRUME": "F2",
        "OBSERVAT": "Gemini-South",
        "TELESCOP": "Gemini-South",
        "OBJECT": "Field-1",
        "OBSTYPE": "OBJECT",
        "OBSCLASS": "science",
        "OBSID": "GS-2020A-Q-101-7",
        "DATALAB": "GS-2020A-Q-101-7-001",
        "DATE-OBS": "2020-01-04",
        "UT": "06:30:30.0",
        "EXPTIME": 5.0,
        "COADDS": 1,
        "LNRS": 1,
        "FILTER1": "Open",
        "FILTER2": "K-red_G0815",
        "LYOT": "f/16_G5830",
        "GRISM": "Open",
        "DECKER": "Open",
        "MOSPOS": "Open",
        "MASKNAME": "None",
        "RA": 150.0,
        "DEC": -30.0,
        "POFFSET": 0.0,
        "QOFFSET": 0.0,
        "PA": 0.0,
        "INPORT": 5,
        "AIRMASS": 1.1,
        "PWFS2_ST": "guiding",
        "FRAME": "FK5",
        "RATRACK": 0.0,
        "DECTRACK": 0.0,
        "PREPARE": "2020-01-05T00:00:00.000000",
    }
    for key, value in {**cards, **phu}.items():
        if value is not None:
            primary[key] = value
    return primary, Header(
        {
            "BUNIT": "electron",
            "GAIN": 1.0,
            "RDNOISE": 11.7,
            "SATLEVEL": 158140.24,
            "NONLINEA": 112755.758,
        }
    )


def frame(
    data: Any,
    *,
    name: str = "S20200104S0075_test.fits",
    variance: Any = 1.0,
    mask: Any = 0,
    objmask: Any = None,
    wcs: Tan | None = None,
    sci: dict[str, Any] | None = None,
    **phu: Any,
) -> Frame:
    """Return a frame; scalars for variance and mask fill the plane, None leaves it out."""
    plane = np.array(data, dtype=np.float32)
    primary, extension = headers(**{"ORIGNAME": f"{name.split('_')[0].split('.')[0]}.fits", **phu})
    extension.update(sci or {})
    planes = Planes(
        plane,
        None if variance is None else np.broadcast_to(np.float32(variance), plane.shape).copy(),
        None if mask is None else np.broadcast_to(np.uint16(mask), plane.shape).copy(),
        None if objmask is None else np.broadcast_to(np.uint8(objmask), plane.shape).copy(),
    )
    made = Frame(name=name, pixels=InMemory(planes.freeze()), phu=primary, sci=extension)
    ny, nx = plane.shape
    centre = Tan.rounded(((nx + 1) / 2, (ny + 1) / 2), (150.0, -30.0), ((0.0, SCALE), (SCALE, 0.0)))
    return made.with_wcs(wcs or centre)


def flat_frame(
    level: float, *, shape: tuple[int, int] = (8, 8), t: float = 5.0, **more: Any
) -> Frame:
    """Return a frame of one value, exposed `t` seconds."""
    return frame(np.full(shape, level), EXPTIME=t, **more)


def raw_frame(headers: Headers, data: Any) -> Frame:
    """Return a frame of integers with the headers of a raw exposure, without other planes."""
    planes = Planes(np.array(data, dtype=np.int32)).freeze()
    return Frame(name=headers.filename, pixels=InMemory(planes), phu=headers.phu, sci=headers.sci)


def star_image(shape: tuple[int, int], stars: Any, fwhm: float = 4.0) -> np.ndarray:
    """Return an image of Gaussian stars; `stars` has rows (x, y, flux), pixels from 0."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    sigma = fwhm / np.sqrt(8 * np.log(2))
    image = np.zeros(shape)
    for x0, y0, flux in np.asarray(stars, dtype=float).reshape(-1, 3):
        r2 = (x - x0) ** 2 + (y - y0) ** 2
        image += flux / (2 * np.pi * sigma**2) * np.exp(-0.5 * r2 / sigma**2)
    return image


@dataclass(frozen=True)
class Dither:
    """Frames of one field and what is in them.

    `stars` has rows (x, y, flux) on the grid of the first frame; `offsets` (x, y) is how far
    objects are moved in each frame, pixels; `errors` (x, y) how far the header is wrong.
    """

    frames: list[Frame]
    sky: np.ndarray
    stars: np.ndarray
    offsets: np.ndarray
    errors: np.ndarray


def dither(
    offsets: Sequence[tuple[float, float]],
    *,
    shape: tuple[int, int] = (96, 96),
    sky: float | Sequence[float] = 1000.0,
    stars: Any = (),
    errors: Any = 0.0,
    noise: bool = True,
    interval: float = 30.0,
    seed: int = 20200104,
    **more: Any,
) -> Dither:
    """Return frames with stars moved by `offsets`, a sky level each, and noise of seed `seed`.

    Frames are `interval` seconds apart and named S20200104S0001_test.fits and so on; the variance
    is that of the sky and a read noise of 11.7 electrons.
    """
    rng = np.random.default_rng(seed)
    moved = np.array(offsets, dtype=float).reshape(-1, 2)
    wrong = np.broadcast_to(np.asarray(errors, dtype=float), moved.shape)
    levels = np.broadcast_to(np.asarray(sky, dtype=float), len(moved))
    table = np.asarray(stars, dtype=float).reshape(-1, 3)
    begin = datetime(2020, 1, 4, 6, 30, 30)
    ny, nx = shape
    frames = []
    for n, ((dx, dy), (ex, ey), level) in enumerate(zip(moved, wrong, levels, strict=True)):
        image = level + star_image(shape, table + np.array([dx, dy, 0.0]))
        variance = np.maximum(image, 0) + 11.7**2
        if noise:
            image = image + rng.standard_normal(shape) * np.sqrt(variance)
        wcs = Tan.rounded(
            ((nx + 1) / 2 + dx + ex, (ny + 1) / 2 + dy + ey),
            (150.0, -30.0),
            ((0.0, SCALE), (SCALE, 0.0)),
        )
        frames.append(
            frame(
                image,
                name=f"S20200104S{n + 1:04d}_test.fits",
                variance=variance.astype(np.float32),
                wcs=wcs,
                UT=(begin + timedelta(seconds=n * interval)).strftime("%H:%M:%S.%f"),
                QOFFSET=-dx * SCALE * 3600,
                POFFSET=-dy * SCALE * 3600,
                **more,
            )
        )
    return Dither(frames, levels, table, moved, wrong)


def snapshot(*frames: Frame) -> list[Any]:
    """Return copies of the planes and headers of frames, to see later that nothing changed."""
    return [
        (
            f.name,
            f.phu.tostring(),
            f.sci.tostring(),
            [None if p is None else p.copy() for p in f.pixels.whole()],
        )
        for f in frames
    ]


def assert_unchanged(before: list[Any], *frames: Frame) -> None:
    """Raise unless planes and headers are those of the snapshot."""
    for (name, phu, sci, planes), now in zip(before, frames, strict=True):
        assert (name, phu, sci) == (now.name, now.phu.tostring(), now.sci.tostring())
        for old, new in zip(planes, now.pixels.whole(), strict=True):
            np.testing.assert_array_equal(old, new)


def filed(array: np.ndarray) -> bool:
    """Tell whether an array lies in a scratch file."""
    spare = np.empty_like(array)
    return room(array, spare) is spare
