"""Properties of the detector: gain and linearity."""

from __future__ import annotations

from f2yaml.interpreter import algorithms
from f2yaml.interpreter.cards import Card
from f2yaml.interpreter.errors import FrameMismatch
from f2yaml.interpreter.f2.detector import LINEARITY
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.primitives.links import Electrons, Linear
from f2yaml.interpreter.registry import Params, per_frame


class ADUToElectrons(Params):
    """Parameters of ``ADUToElectrons``: none."""


@per_frame(
    "ADUToElectrons", suffix="_ADUToElectrons", stamps=("ADUTOELE",), guard=True, takes="exposures"
)
def adu_to_electrons(frame: Frame, params: ADUToElectrons) -> Frame:
    """Multiply by the gain, so that pixels are in electrons.

    Parameters
    ----------
    frame : Frame, shape (ny, nx), adu
    params : ADUToElectrons

    Raises
    ------
    FrameMismatch
        The frame is in electrons already.

    References
    ----------
    Spec: primitives 5.2. A read mode without a gain is refused by ``prepare``.
    """
    if frame.unit == "electron":
        raise FrameMismatch(
            f"{frame.name} is in electrons already",
            "the gain would be applied twice",
            "leave the step out with `skip: true`",
        )
    gain = float(frame.sci["GAIN"])
    levels: dict[str, Card] = {
        key: (round(gain * float(frame.sci[key]), 3), f"{text} level [electron]")
        for key, text in (("SATLEVEL", "Saturation"), ("NONLINEA", "Non-linear regime"))
    }

    cards = {"GAIN": (1.0, "Gain [electron/electron]"), "BUNIT": ("electron", "Physical units")}
    return frame.map_rows(Electrons(gain)).with_cards(sci=cards | levels)


class NonlinearityCorrect(Params):
    """Parameters of ``nonlinearityCorrect``: none."""


@per_frame(
    "nonlinearityCorrect",
    suffix="_nonlinearityCorrected",
    stamps=("LINCORR",),
    guard=True,
    takes="exposures",
)
def nonlinearity_correct(frame: Frame, params: NonlinearityCorrect) -> Frame:
    """Correct the detector's departure from linearity with F2's cubic.

    Parameters
    ----------
    frame : Frame, shape (ny, nx), adu or electron
    params : NonlinearityCorrect

    References
    ----------
    Spec: primitives 5.4 (coefficients in instrument 3.4). Above the well depth, where the cubic is
    not calibrated, the correction stays constant instead of growing.
    """
    gain = 1.0 if frame.unit == "electron" else float(frame.sci["GAIN"])
    coadds = int(frame.describe("coadds"))
    poisson = "Poisson" in str(frame.sci.get("VARNOISE", ""))

    levels: dict[str, Card] = {}
    for key in ("SATLEVEL", "NONLINEA"):
        levels[key] = algorithms.calibrate.corrected_level(
            float(frame.sci[key]), coefficients=LINEARITY, gain=gain, coadds=coadds
        )
    return frame.map_rows(Linear(gain, coadds, poisson)).with_cards(sci=levels)
