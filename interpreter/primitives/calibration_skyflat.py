"""Flats made from the sky: science frames become a calibration."""

from __future__ import annotations

import re

from f2yaml.interpreter.errors import BadInput, TooFewFrames
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.primitives.calibration import divided
from f2yaml.interpreter.registry import Params, Streams, between_streams, per_frame


class FlatCorrectByStream(Params):
    """Parameters of ``flatCorrectByStream``: none."""


@between_streams(
    "flatCorrectByStream",
    suffix="_flatCorrected",
    stamps=("FLATCORR",),
    reads=("flat",),
    takes="exposures",
)
def flat_correct_by_stream(streams: Streams, params: FlatCorrectByStream) -> Streams:
    """Divide frames by the one flat of the stream ``flat``, which the run has made itself.

    Parameters
    ----------
    streams : ``from`` with the frames, ``flat`` with one normalised flat
    params : FlatCorrectByStream

    Raises
    ------
    TooFewFrames
        The stream does not hold exactly one flat.
    FrameMismatch
        Shapes, filters or Lyot stops differ.

    References
    ----------
    Spec: primitives 1.1 (``makeSkyFlat``, step 9) and 6.2.
    """
    flats = streams["flat"]
    if len(flats) != 1:
        raise TooFewFrames(
            f"flatCorrectByStream: the stream `flat` holds {len(flats)} frames",
            "frames are divided by one flat",
            "stack them before",
        )
    return {"to": [divided(f, flats[0], "flatCorrectByStream") for f in streams["from"]]}


class LabelAsFlat(Params):
    """Parameters of ``labelAsFlat``: none."""


@per_frame("labelAsFlat", stamps=("SKYFLAT",))
def label_as_flat(frame: Frame, params: LabelAsFlat) -> Frame:
    """Give a flat made from science frames the identity of a calibration.

    Program, observation and label become those of the calibrations of that night, as the frame no
    longer shows the target; pixels do not change.

    Parameters
    ----------
    frame : Frame
        Normalised flat whose headers are those of a science frame.
    params : LabelAsFlat

    Raises
    ------
    BadInput
        The frame has no date.

    References
    ----------
    Spec: primitives 7.7 (``force`` of storeProcessedFlat). Departure: the label comes from date and
    file number, so that program ids of any form do.
    """
    date = frame.describe("ut_date")
    if date is None:
        raise BadInput(
            f"labelAsFlat: {frame.name} has no date",
            "flats belong to a night",
            "give it the keyword DATE-OBS",
        )
    number = re.search(r"S(\d{4})$", frame.root)
    program = f"GS-CAL{date:%Y%m%d}"
    label = f"{program}-900-{int(number[1]) if number else 1:03d}"
    phu = {
        "OBSCLASS": "partnerCal",
        "OBSTYPE": "FLAT",
        "OBJECT": "Flat Frame",
        "GEMPRGID": program,
        "OBSID": f"{program}-900",
        "DATALAB": label,
        "RELEASE": date.isoformat(),
        "RA": 0.0,
        "DEC": 0.0,
    }
    return frame.with_cards(phu, {"CRVAL1": 0.0, "CRVAL2": 0.0})
