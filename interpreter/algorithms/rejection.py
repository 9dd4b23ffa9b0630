"""Which samples of a pixel are left out: the options that all combiners share."""

from __future__ import annotations

from typing import Final, Literal, TypedDict, Unpack

import numpy as np
import numpy.typing as npt
from f2yaml.interpreter.algorithms import pixel
from f2yaml.interpreter.algorithms.pixel import Rules
from f2yaml.interpreter.errors import TooFewFrames

Rejection = Literal["none", "minmax", "sigclip", "varclip"]
Scatter = Literal["robust", "sample"]

_REJECTIONS: Final = {"none": 0, "minmax": 1, "sigclip": 2, "varclip": 3}
_MAX_ITERS: Final = 100


class Clipping(TypedDict, total=False):
    """Options of the rejection (spec 14.1).

    Parameters
    ----------
    reject : {"varclip", "none", "minmax", "sigclip"}
        If every sample of a pixel is rejected, all are kept.
    lsigma, hsigma : float
        Limits of both clips, in sigma (3 by default).
    nlow, nhigh : int
        Samples that ``minmax`` rejects where no sample is masked (0).
    mclip, max_iters
        ``sigclip`` only: centre on the median (True); largest number of passes (None: 100).
    signal_error : float
        ``varclip`` only: error of a sample relative to the signal, added in quadrature (0).
    scatter : {"robust", "sample"}
        ``sigclip`` only: ``robust`` is 1.4826 times the median deviation from the centre, at least
        the root of the mean variance of the samples; it needs variances. ``sample`` is the
        population scatter about the mean, which a lone outlier among seven or fewer inflates
        beyond three times itself.
    photon : shape (n,), or None
        Variance per signal of each frame after scaling (`photon_slopes` measures it). The limits
        of ``varclip`` and the weights of ``wtmean`` then have the photon noise of the median of
        the pixel's samples, not of each sample itself; by default the variance as it is.
    """

    reject: Rejection
    lsigma: float
    hsigma: float
    nlow: int
    nhigh: int
    mclip: bool
    max_iters: int | None
    signal_error: float
    scatter: Scatter
    photon: npt.ArrayLike | None


def rules_of(
    n: int,
    *,
    has_variance: bool,
    operation: int = pixel.MEAN,
    middle_variance: bool = False,
    **clipping: Unpack[Clipping],
) -> Rules:
    """Return the rules for `n` samples a pixel, as kernels want them.

    Without variances ``varclip`` is ``sigclip``.

    Raises
    ------
    TooFewFrames
        ``minmax`` would reject every frame.
    """
    reject = clipping.get("reject", "varclip")
    nlow, nhigh = clipping.get("nlow", 0), clipping.get("nhigh", 0)
    if reject == "minmax" and nlow + nhigh >= n:
        raise TooFewFrames(
            what=f"minmax is to reject {nlow} low and {nhigh} high of {n} frames",
            why="no frame would be left",
            fix="lower nlow and nhigh, or choose another reject_method",
        )
    if reject == "varclip" and not has_variance:
        reject = "sigclip"
    most = clipping.get("max_iters")
    return Rules(
        operation=operation,
        reject=_REJECTIONS[reject],
        lsigma=float(clipping.get("lsigma", 3.0)),
        hsigma=float(clipping.get("hsigma", 3.0)),
        nlow=int(nlow),
        nhigh=int(nhigh),
        mclip=bool(clipping.get("mclip", True)),
        max_iters=_MAX_ITERS if most is None else int(most),
        signal_error=float(clipping.get("signal_error", 0.0)),
        middle_variance=middle_variance,
        robust=clipping.get("scatter", "robust") == "robust" and has_variance,
        photon=_slopes(clipping.get("photon"), n),
    )


def _slopes(photon: npt.ArrayLike | None, n: int) -> npt.NDArray[np.float32]:
    """Return `photon` as kernels want it: single precision, empty for None."""
    if photon is None:
        return pixel.NO_SLOPES
    made = np.array(photon, np.float32)
    assert made.shape == (n,)
    return made
