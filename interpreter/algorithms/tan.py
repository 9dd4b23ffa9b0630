"""Gnomonic (TAN) world coordinates and affine maps between pixel grids, in plain numpy.

Pixel positions are 0-based (x, y), as everywhere in the code; only `Tan.crpix` counts from 1,
because it is the value of the FITS cards CRPIX1, CRPIX2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from f2yaml.interpreter.errors import BadInput
from numpy.typing import ArrayLike, NDArray

__all__ = ["Affine", "Matrix", "Pair", "Tan", "affine_between", "separation"]

Pair = tuple[float, float]
Matrix = tuple[Pair, Pair]
Floats = NDArray[np.float64]

_DEG = np.pi / 180.0


class Affine(NamedTuple):
    """The map ``(x, y) -> matrix @ (x, y) + shift`` of 0-based pixel positions."""

    matrix: Matrix = ((1.0, 0.0), (0.0, 1.0))
    shift: Pair = (0.0, 0.0)

    @classmethod
    def of(cls, matrix: ArrayLike, shift: ArrayLike) -> Affine:
        """Return the map with the elements of a (2, 2) and a (2,) array."""
        m = np.asarray(matrix, dtype=np.float64).reshape(2, 2).tolist()
        s = np.asarray(shift, dtype=np.float64).reshape(2).tolist()
        return cls(((m[0][0], m[0][1]), (m[1][0], m[1][1])), (s[0], s[1]))

    @property
    def determinant(self) -> float:
        """Area of the image of a unit square, with sign."""
        (a, b), (c, d) = self.matrix
        return a * d - b * c

    def apply(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Return the images of positions `x`, `y` (any shape, pixels)."""
        xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        (a, b), (c, d) = self.matrix
        return a * xs + b * ys + self.shift[0], c * xs + d * ys + self.shift[1]

    def inverse(self) -> Affine:
        """Return the inverse map.

        Raises
        ------
        BadInput
            The matrix is singular.
        """
        matrix = _inverse(self.matrix)
        (a, b), (c, d) = matrix
        sx, sy = self.shift
        return Affine(matrix, (-(a * sx + b * sy), -(c * sx + d * sy)))

    def after(self, first: Affine) -> Affine:
        """Return the map that does `first`, then this one."""
        matrix = _product(self.matrix, first.matrix)
        (a, b), (c, d) = self.matrix
        sx, sy = first.shift
        return Affine(matrix, (a * sx + b * sy + self.shift[0], c * sx + d * sy + self.shift[1]))


def _product(m: Matrix, n: Matrix) -> Matrix:
    (a, b), (c, d) = m
    (e, f), (g, h) = n
    return ((a * e + b * g, a * f + b * h), (c * e + d * g, c * f + d * h))


def _inverse(m: Matrix) -> Matrix:
    (a, b), (c, d) = m
    det = a * d - b * c
    if not np.isfinite(det) or det == 0:
        raise BadInput(
            what=f"the matrix {m} of a coordinate map has no inverse",
            why="sky positions cannot be turned into pixels",
            fix="check CD1_1, CD1_2, CD2_1, CD2_2 of the file",
        )
    return ((d / det, -b / det), (-c / det, a / det))


def _card(value: float) -> float:
    """Round to the 14 significant digits that any FITS card of 20 characters holds."""
    return float(f"{value:.13e}")


@dataclass(frozen=True, slots=True)
class Tan:
    """Gnomonic projection, as in a FITS header with CTYPEs RA---TAN and DEC--TAN.

    Parameters
    ----------
    crpix : (float, float), pixel, 1-based
        Reference pixel (x, y).
    crval : (float, float), deg
        Right ascension and declination at the reference pixel.
    cd : ((float, float), (float, float)), deg/pixel
        ``((CD1_1, CD1_2), (CD2_1, CD2_2))``.

    References
    ----------
    Calabretta & Greisen 2002, A&A 395, 1077, with LONPOLE = 180 deg (the default of the standard
    for declinations below +90 deg) and no distortion.
    """

    crpix: Pair
    crval: Pair
    cd: Matrix

    @classmethod
    def rounded(cls, crpix: Pair, crval: Pair, cd: Matrix) -> Tan:
        """Return the projection with values that a FITS card keeps exactly.

        Products are read back with the coordinates they were made with, so that an interrupted
        and an unbroken run agree bit for bit. Rounding moves positions by 1e-10 pixel at most.
        """
        (a, b), (c, d) = cd
        return cls(
            (_card(crpix[0]), _card(crpix[1])),
            (_card(crval[0]), _card(crval[1])),
            ((_card(a), _card(b)), (_card(c), _card(d))),
        )

    def to_sky(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Return right ascension [0, 360) and declination, deg, of 0-based pixels `x`, `y`."""
        u = np.asarray(x, dtype=np.float64) - (self.crpix[0] - 1.0)
        v = np.asarray(y, dtype=np.float64) - (self.crpix[1] - 1.0)
        (a, b), (c, d) = self.cd
        xi, eta = (a * u + b * v) * _DEG, (c * u + d * v) * _DEG
        sin0, cos0 = np.sin(self.crval[1] * _DEG), np.cos(self.crval[1] * _DEG)
        radial = cos0 - eta * sin0
        ra = self.crval[0] + np.arctan2(xi, radial) / _DEG
        dec = np.arctan2(sin0 + eta * cos0, np.hypot(xi, radial)) / _DEG
        return np.mod(ra, 360.0), dec

    def to_pixel(self, ra: ArrayLike, dec: ArrayLike) -> tuple[Floats, Floats]:
        """Return 0-based pixels of positions in deg; NaN 90 deg or more from the centre."""
        dra = (np.asarray(ra, dtype=np.float64) - self.crval[0]) * _DEG
        dec_rad = np.asarray(dec, dtype=np.float64) * _DEG
        sin0, cos0 = np.sin(self.crval[1] * _DEG), np.cos(self.crval[1] * _DEG)
        sin, cos, cosra = np.sin(dec_rad), np.cos(dec_rad), np.cos(dra)
        depth = sin0 * sin + cos0 * cos * cosra
        depth = np.where(depth > 0.0, depth, np.nan)
        xi = cos * np.sin(dra) / depth / _DEG
        eta = (cos0 * sin - sin0 * cos * cosra) / depth / _DEG
        (a, b), (c, d) = _inverse(self.cd)
        return a * xi + b * eta + self.crpix[0] - 1.0, c * xi + d * eta + self.crpix[1] - 1.0

    def with_affine_in_front(self, matrix: ArrayLike, shift: ArrayLike) -> Tan:
        """Return the projection ``pixel -> sky = self(matrix @ pixel + shift)``.

        Exact, because the pixel part of a TAN projection is itself affine.

        Parameters
        ----------
        matrix, shift : array_like, shape (2, 2) and (2,), pixel
            The map of 0-based (x, y).
        """
        front = Affine.of(matrix, shift)
        x, y = front.inverse().apply(self.crpix[0] - 1.0, self.crpix[1] - 1.0)
        crpix = (float(x) + 1.0, float(y) + 1.0)
        return Tan.rounded(crpix, self.crval, _product(self.cd, front.matrix))

    def shifted_origin(self, x0: float, y0: float) -> Tan:
        """Return the projection for a grid whose pixel (0, 0) is pixel (x0, y0) of this one."""
        return Tan.rounded((self.crpix[0] - x0, self.crpix[1] - y0), self.crval, self.cd)

    def pixel_scale(self) -> float:
        """Return the side of a square of a pixel's area, arcsec."""
        (a, b), (c, d) = self.cd
        return float(np.sqrt(abs(a * d - b * c))) * 3600.0


def separation(ra1: ArrayLike, dec1: ArrayLike, ra2: ArrayLike, dec2: ArrayLike) -> Floats:
    """Return angles on the sky, arcsec, between positions in deg (haversine; exact when small)."""
    a1, d1 = np.asarray(ra1, dtype=np.float64) * _DEG, np.asarray(dec1, dtype=np.float64) * _DEG
    a2, d2 = np.asarray(ra2, dtype=np.float64) * _DEG, np.asarray(dec2, dtype=np.float64) * _DEG
    h = np.sin((d2 - d1) / 2) ** 2 + np.cos(d1) * np.cos(d2) * np.sin((a2 - a1) / 2) ** 2
    return np.asarray(2.0 * np.arcsin(np.sqrt(np.clip(h, 0.0, 1.0))) / _DEG * 3600.0)


def affine_between(a: Tan, b: Tan, shape: tuple[int, int]) -> Affine:
    """Return the affine approximation of pixels of `a` -> sky -> pixels of `b`.

    Parameters
    ----------
    a, b : Tan
    shape : (int, int)
        (ny, nx) of the grid of `a`; the map is exact at its centre.

    Returns
    -------
    Affine
        Unpacks into matrix and shift.

    References
    ----------
    Spec, primitives 10.2: central derivatives over half-frame lever arms. The exact identity is
    returned when both projections are equal.
    """
    if a == b:
        return Affine()
    ny, nx = shape
    xc, yc, hx, hy = (nx - 1) / 2.0, (ny - 1) / 2.0, max(nx, 2) / 2.0, max(ny, 2) / 2.0
    x, y = b.to_pixel(*a.to_sky([xc, xc + hx, xc - hx, xc, xc], [yc, yc, yc, yc + hy, yc - hy]))
    m00, m10 = (x[1] - x[2]) / (2 * hx), (y[1] - y[2]) / (2 * hx)
    m01, m11 = (x[3] - x[4]) / (2 * hy), (y[3] - y[4]) / (2 * hy)
    shift = (x[0] - m00 * xc - m01 * yc, y[0] - m10 * xc - m11 * yc)
    return Affine.of([[m00, m01], [m10, m11]], shift)
