"""Sources: finding them, and masking them where a sky is made."""

from __future__ import annotations

import numpy as np
from f2yaml.interpreter import algorithms
from f2yaml.interpreter.algorithms.tan import affine_between
from f2yaml.interpreter.dq import DQ
from f2yaml.interpreter.engine import SERIAL, Engine
from f2yaml.interpreter.errors import FrameMismatch, TooFewFrames
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.pixels import Array, Planes
from f2yaml.interpreter.registry import Params, Reported, Streams, between_streams, per_frame
from pydantic import Field


class DetectSources(Params):
    """Parameters of ``detectSources``."""

    detect_thresh: float = Field(2.0, ge=0.1, description="detection threshold [sigma]")
    detect_minarea: int = Field(8, ge=1, description="smallest source [pix]")
    deblend_mincont: float = Field(0.005, ge=0, description="smallest contrast of blended sources")
    back_size: int = Field(64, ge=1, description="mesh of the background [pix]")
    back_filtersize: int = Field(8, ge=1, description="median filter of the background [meshes]")
    phot_min_radius: float = Field(3.5, ge=1, description="smallest automatic aperture [pix]")
    replace_flags: int = Field(
        249, ge=0, le=65535, description="DQ bits that hide a pixel from detection"
    )


@per_frame("detectSources", suffix="_sourcesDetected", stamps=("DETECSRC",))
def detect_sources(frame: Frame, params: DetectSources) -> Frame:
    """Find sources; fill OBJMASK and OBJCAT.

    Parameters
    ----------
    frame : Frame, shape (ny, nx), electron or adu
        Sky-subtracted frame or stack.
    params : DetectSources

    References
    ----------
    Spec: primitives 9.1, instrument 4.4; detection by sep (Barbary 2016, JOSS 1, 58; Bertin and
    Arnouts 1996, A&AS 117, 393) with the variance as weight and the DQ plane as mask. Departure:
    a mesh of 64 pixels instead of 32, which takes less of the light of galaxies for background.
    """
    planes = frame.pixels.whole()
    found = algorithms.detect.detect(
        planes.data,
        planes.mask,
        planes.variance,
        threshold=params.detect_thresh,
        minarea=params.detect_minarea,
        deblend_mincont=params.deblend_mincont,
        back_size=params.back_size,
        back_filtersize=params.back_filtersize,
        replace_flags=params.replace_flags,
        phot_min_radius=params.phot_min_radius,
        pixel_scale=frame.wcs.pixel_scale(),
        wcs=frame.wcs,
        gain=float(frame.sci.get("GAIN", 1.0)),
    )
    fwhm = found.seeing_fwhm_pix
    return frame.with_(objmask=found.objmask, objcat=found.catalog).with_cards(
        phu={
            "NSOURCES": (len(found.catalog), "Number of sources found"),
            "FWHMPIX": None if fwhm is None else (round(fwhm, 4), "Median FWHM of stars [pix]"),
        }
    )


class DilateObjectMask(Params):
    """Parameters of ``dilateObjectMask``."""

    dilation: float = Field(1.0, ge=0, description="growth of the object masks [pix]")


@per_frame("dilateObjectMask", suffix="_objmaskDilated", stamps=("DLOBJMSK",))
def dilate_object_mask(frame: Frame, params: DilateObjectMask) -> Frame:
    """Grow the object mask by a disc.

    Parameters
    ----------
    frame : Frame, shape (ny, nx)
    params : DilateObjectMask

    Raises
    ------
    FrameMismatch
        The frame has no object mask.

    References
    ----------
    Spec: primitives 9.2.
    """
    mask = need_objmask(frame, "dilateObjectMask")
    return frame.with_(objmask=algorithms.morphology.dilate(mask, params.dilation))


class AddObjectMaskToDQ(Params):
    """Parameters of ``addObjectMaskToDQ``: none."""


@per_frame("addObjectMaskToDQ", suffix="_objectMaskAdded")
def add_object_mask_to_dq(frame: Frame, params: AddObjectMaskToDQ) -> Frame:
    """Flag the pixels of objects as bad (1), so that stacks and levels leave them out.

    Frames never change: a stream that held the frame before still has the quality bits without
    objects, and the object mask stays beside them.

    Parameters
    ----------
    frame : Frame, shape (ny, nx)
    params : AddObjectMaskToDQ

    Raises
    ------
    FrameMismatch
        The frame has no object mask.

    References
    ----------
    Spec: primitives 9.3. Objects have no bit of their own: bits above 64 belong to no class of
    badness, so that a stack, DRAGONS' as well, takes nothing at all from pixels that have them in
    every frame, and flags nothing there. OBJMASK tells objects and bad pixels apart.
    """
    if not frame.has("objmask"):
        need_objmask(frame, "addObjectMaskToDQ")

    def flag(planes: Planes, start: int, stop: int) -> Planes:
        assert planes.objmask is not None
        bits = np.where(planes.objmask != 0, np.uint16(DQ.BAD_PIXEL), np.uint16(0))
        return planes._replace(mask=bits if planes.mask is None else planes.mask | bits)

    return frame.map_rows(flag, adds=["mask"])


def need_objmask(frame: Frame, step: str) -> Array:
    """Return the object mask of a frame; raise `FrameMismatch` if it has none."""
    mask = frame.objmask
    if mask is None:
        raise FrameMismatch(
            f"{step}: {frame.name} has no object mask",
            "objects would stay in what should be sky",
            "run detectSources or transferObjectMask before this step",
        )
    return mask


class TransferObjectMask(Params):
    """Parameters of ``transferObjectMask``."""

    dq_threshold: float = Field(
        0.01, gt=0, lt=1, description="interpolated value above which a pixel is masked"
    )
    dilation: float = Field(1.5, ge=0, description="growth of the transferred mask [pix]")


@between_streams("transferObjectMask", suffix="_objmaskTransferred", updates=True, reads=())
def transfer_object_mask(
    streams: Streams, params: TransferObjectMask, *, engine: Engine = SERIAL
) -> Reported:
    """Carry the object mask of one deep frame to the frames of another stream.

    Parameters
    ----------
    streams : ``from`` with exactly one frame that has an object mask, ``to`` with those that get it
    params : TransferObjectMask
    engine : Engine
        Works on the frames.

    Raises
    ------
    TooFewFrames
        ``from`` does not hold exactly one frame, or ``to`` none.
    FrameMismatch
        The frame has no object mask.

    References
    ----------
    Spec: primitives 9.4. A mask that cannot be transferred is an error, not a warning.
    """
    deep, frames = streams["from"], streams["to"]
    if len(deep) != 1 or not frames:
        raise TooFewFrames(
            f"transferObjectMask got {len(deep)} deep frames and {len(frames)} frames to mask",
            "the mask of exactly one frame is carried to the others",
            "give the stack as `from` and the frames as `to`",
        )
    mask = need_objmask(deep[0], "transferObjectMask")

    def carry(frame: Frame) -> tuple[Frame, float]:
        shape = (frame.shape[0], frame.shape[1])
        affine = affine_between(frame.wcs, deep[0].wcs, shape)
        carried = algorithms.morphology.transfer_mask(
            mask, affine, shape, threshold=params.dq_threshold, dilation=params.dilation
        )
        return frame.with_(objmask=carried), np.count_nonzero(carried) / carried.size

    carried = engine.map(carry, frames)
    share = sum(part for _, part in carried) / len(frames)
    made = [frame for frame, _ in carried]
    return Reported({"to": made}, health=f"{100 * share:.1f} % masked")
