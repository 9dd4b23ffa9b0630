"""Source detection and measurement on arrays, built on sep (Source Extractor as a library)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from f2yaml.interpreter.algorithms.catalog import (
    OBJCAT_DTYPE,
    UNITS,
    fill_world,
    is_stellar,
    seeing_from,
    star_likeness,
)
from f2yaml.interpreter.algorithms.measure import grow_mask, measure, set_flags, set_profiles
from f2yaml.interpreter.algorithms.mesh import levels_at, make_mesh
from f2yaml.interpreter.algorithms.search import Search, borrow, release_buffers
from f2yaml.interpreter.algorithms.tan import Tan
from f2yaml.interpreter.dq import REPLACE
from numpy.typing import NDArray

__all__ = ["OBJCAT_DTYPE", "UNITS", "Detection", "detect", "is_stellar", "release_buffers"]

Image = NDArray[np.float32]

_MIN_PIXELS: Final = 100  # fewer usable pixels have no background to speak of


@dataclass(frozen=True, slots=True)
class Detection:
    """What `detect` finds.

    Parameters
    ----------
    objmask : ndarray of uint8, shape (ny, nx)
        1 on sources, else 0.
    catalog : structured ndarray of OBJCAT_DTYPE
    background : float
        Level of the image, its unit.
    rms : float
        Noise of a pixel; where the image is noisiest, the variance plane says more.
    seeing_fwhm_pix : float or None
    """

    objmask: NDArray[np.uint8]
    catalog: NDArray[Any]
    background: float
    rms: float
    seeing_fwhm_pix: float | None


def detect(
    data: Image,
    mask: NDArray[np.uint16] | None = None,
    variance: Image | None = None,
    *,
    threshold: float = 2.0,
    minarea: int = 8,
    deblend_mincont: float = 0.005,
    deblend_nthresh: int = 32,
    back_size: int = 64,
    back_filtersize: int = 8,
    replace_flags: int = REPLACE,
    phot_min_radius: float = 3.5,
    pixel_scale: float = 0.179,
    gain: float = 1.0,
    saturation: float | None = None,
    min_isoarea: int = 20,
    seeing_fwhm_pix: float | None = None,
    wcs: Tan | None = None,
) -> Detection:
    """Detect and measure the sources of an image.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx), native byte order
    mask : ndarray of uint16, shape (ny, nx), optional
        Quality bits.
    variance : ndarray of float32, shape (ny, nx), optional
        Gives the course of the noise over the frame; its level is measured.
    threshold : float, sigma of a pixel
    minarea : int, pixel
        Smallest detection in the object mask.
    deblend_mincont, deblend_nthresh
        Contrast and levels of deblending.
    back_size, back_filtersize : int, pixel and meshes
    replace_flags : int
        Pixels with any of these bits are left out.
    phot_min_radius : float
        Smallest Kron aperture, in units of the isophotal ellipse.
    pixel_scale : float, arcsec/pixel
        Used for FWHM_WORLD without `wcs`.
    gain : float, electron per count
        For photometric errors without `variance`.
    saturation : float, optional
        Sources whose peak reaches this get FLAGS 4.
    min_isoarea : int, pixel
        Smallest detection in the catalogue.
    seeing_fwhm_pix : float, optional
        Known seeing; else estimated.
    wcs : Tan, optional
        Fills the world columns.

    Returns
    -------
    Detection
        Without sources for a constant, fully flagged or very small image.

    References
    ----------
    Spec, primitives 9.1 (DRAGONS ``detectSources``) and instrument 4.4. Departures: sep instead of
    the program, one run instead of two; flagged pixels are masked, not filled; the threshold
    follows the noise, so that a vignetted border holds no swarm of sources; the object mask has
    every detection of `minarea` pixels, and the radius of each isophote grows by half (at most 30
    pixels): in the wings of a star, r^-5, light falls from 2 sigma to 0.3 sigma over that, and
    fields of sky need it; X_IMAGE, Y_IMAGE are windowed centroids, a little more precise for
    faint stars; CLASS_STAR is our own (`star_likeness`); MAG_AUTO is -999 where flux is negative.
    The background is our own (`make_mesh`). sep searches boxes around what exceeds the threshold,
    and `surviving` removes what the wings of a neighbour explain: the result is that of a search
    of the whole image, but for the random numbers by which sep shares out the faintest pixels of
    a blend. Rows are in order of y, then x.

    Notes
    -----
    Planes of 9 bytes a pixel are kept for the next image in the same thread, as long as it lives;
    `release_buffers` frees them.
    """
    data = _plain(data, np.float32)
    bits = None if mask is None else _plain(mask, np.uint16)
    given = None if variance is None else _plain(variance, np.float32)
    mesh = make_mesh(data, bits, replace_flags, back_size, back_filtersize)
    objmask = np.zeros(data.shape, np.uint8)
    empty = Detection(objmask, np.zeros(0, OBJCAT_DTYPE), 0.0, 0.0, None)
    if mesh.good < max(_MIN_PIXELS, data.size // 1000):
        return empty
    search = Search(data, bits, given, replace_flags, mesh, threshold, borrow(data.shape))
    if not search.has_noise:
        search.close()
        return replace(empty, background=mesh.middle)
    known_gain = gain if variance is None else None
    found = search.run(minarea, deblend_nthresh, deblend_mincont, known_gain, objmask)
    grow_mask(found, objmask)
    field = search.field
    catalog, rows = measure(field, found, phot_min_radius, known_gain)
    set_flags(catalog, found, rows, field.segments, bits, saturation)
    y, x = (
        np.clip(np.rint(catalog[name] - 1).astype(np.int64), 0, size - 1)
        for name, size in zip(("Y_IMAGE", "X_IMAGE"), data.shape, strict=True)
    )
    catalog["BACKGROUND"] = levels_at(mesh, y, x)
    fill_world(catalog, wcs, pixel_scale)
    iso = catalog["ISOAREA_IMAGE"]
    keep = (
        (iso >= min_isoarea)
        & (catalog["B_IMAGE"] >= 1.1)
        & (catalog["A_IMAGE"] <= 50 * catalog["B_IMAGE"])
        & (catalog["NIMAFLAGS_ISO"] <= 0.95 * iso)
    )
    catalog = catalog[keep]
    seeing = _classify(catalog, seeing_fwhm_pix)
    set_profiles(field.image, catalog, seeing, pixel_scale)
    catalog["NUMBER"] = np.arange(1, len(catalog) + 1)
    rms = search.rms
    search.close()
    return Detection(objmask, catalog, mesh.middle, rms, seeing)


class _Writable:
    """A plane that claims to be writable: sep refuses others, though it only reads."""

    def __init__(self, plane: NDArray[Any]) -> None:
        self.owner = plane
        address, _ = plane.__array_interface__["data"]
        self.__array_interface__ = plane.__array_interface__ | {"data": (address, False)}


def _plain(plane: NDArray[Any], kind: type[np.generic]) -> NDArray[Any]:
    """Return a plane in the one layout that kernels are compiled for; nothing writes to it."""
    plane = np.ascontiguousarray(plane, dtype=kind)
    return plane if plane.flags.writeable else np.asarray(_Writable(plane))


def _classify(catalog: NDArray[Any], known: float | None) -> float | None:
    """Fill CLASS_STAR; return the seeing in pixels."""
    if known is not None:
        catalog["CLASS_STAR"] = star_likeness(catalog, known)
        return known
    first = seeing_from(catalog, None)
    catalog["CLASS_STAR"] = star_likeness(catalog, first)
    if first is None:
        return None
    final = seeing_from(catalog, first)
    if final is not None:
        catalog["CLASS_STAR"] = star_likeness(catalog, final)
    return final
