"""Headers for programs that expect what Gemini's IRAF packages wrote."""

from __future__ import annotations

from f2yaml.interpreter.cards import Card
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.registry import Params, per_frame


class MakeIRAFCompatible(Params):
    """Parameters of ``makeIRAFCompatible``: none."""


@per_frame("makeIRAFCompatible", suffix="_irafCompatible", stamps=("IRAFCOMP",))
def make_iraf_compatible(frame: Frame, params: MakeIRAFCompatible) -> Frame:
    """Add the keywords by which IRAF tasks find gain, noise, saturation and coordinate frame.

    Parameters
    ----------
    frame : Frame, shape (ny, nx)
        Any product; its pixels stay as they are.
    params : MakeIRAFCompatible

    References
    ----------
    Spec: primitives 1.1 (header cosmetics only). The specification does not list DRAGONS' cards;
    these are what the tasks of the Gemini IRAF package read: GAIN, RDNOISE, SATURATI and NONLINEA
    in the primary header, NSCIEXT, and the older RADECSYS and EQUINOX beside the coordinates.
    """
    phu: dict[str, Card] = {"NSCIEXT": (1, "Number of science extensions")}
    for ours, theirs, text in (
        ("GAIN", "GAIN", "Gain [electron per count]"),
        ("RDNOISE", "RDNOISE", "Readout noise [electron]"),
        ("SATLEVEL", "SATURATI", "Saturation level [count]"),
        ("NONLINEA", "NONLINEA", "Non-linear regime level [count]"),
    ):
        if ours in frame.sci:
            phu[theirs] = (frame.sci[ours], text)
    system = str(frame.sci.get("RADESYS", "FK5"))
    sci: dict[str, Card] = {"RADECSYS": (system, "Reference frame of the coordinates")}
    if system.startswith("FK5"):
        sci["EQUINOX"] = (frame.sci.get("EQUINOX", 2000.0), "Equinox of the coordinates")
    return frame.with_cards(phu, sci)
