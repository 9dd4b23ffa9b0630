"""Steps of a run: their times, by its log, and the bytes that they must move.

The arithmetic is all here. A step must read the planes it works with once and write those it makes
once, for every frame: SCI and VAR are 4 bytes of a pixel, DQ and COVERAGE 2, OBJMASK and SHARED 1.
Calibrations are counted once for a step. At the rate at which one thread copies memory this gives
the bound that the time of a step is compared with. Two threads may be faster than that bound;
reading neighbours again, sorting and interpolating are what a step takes above it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_RAW = 4
_PLANES = 4 + 4 + 2 + 1  # SCI, VAR, DQ, SHARED
_OBJECTS = 1


@dataclass(frozen=True)
class Moves:
    """Bytes of a pixel: for each frame read, for each frame made, and once."""

    read: int
    written: int
    once: int = 0


#: Per-frame steps from raw counts on are one pass over the pixels, shown as one.
CALIBRATE = (
    "prepare", "addDQ", "ADUToElectrons", "addVAR", "nonlinearityCorrect", "darkCorrect",
    "flatCorrect", "addLatencyToDQ",
)  # fmt: skip
CHAIN = "calibrate"
#: Steps that are not listed look at headers, or do their work in a later step.
MOVES = {
    CHAIN: Moves(_RAW, _PLANES, 2),
    "flatCorrectByStream": Moves(_PLANES, _PLANES, _PLANES),
    "makeLampFlat": Moves(_PLANES, _PLANES),
    "normalizeFlat": Moves(_PLANES, _PLANES),
    "thresholdFlatfield": Moves(_PLANES, _PLANES),
    "makeBPM": Moves(_PLANES, 2),
    "skyCorrect": Moves(_PLANES + _OBJECTS, _PLANES),
    "subtractSky": Moves(2 * _PLANES, _PLANES),
    "stackSkyFrames": Moves(_PLANES + _OBJECTS, _PLANES),
    "detectSources": Moves(10, _OBJECTS),
    "dilateObjectMask": Moves(_OBJECTS, _OBJECTS),
    "addObjectMaskToDQ": Moves(2 + _OBJECTS, 2),
    "transferObjectMask": Moves(0, _OBJECTS, _OBJECTS),
    "scaleByIntensity": Moves(_PLANES, _PLANES),
    "stackFrames": Moves(_PLANES, _PLANES + 2),
    "stackDarks": Moves(_PLANES, _PLANES),
}
#: A processed dark or flat that is read for all frames of the chain.
_CALIBRATIONS = {"darkCorrect": _PLANES, "flatCorrect": _PLANES}
#: Steps that make one frame of many.
_ONE = ("stackFrames", "stackDarks", "makeLampFlat", "makeBPM")
_LINE = re.compile(r"\b(\d+)/\d+ (\w+) +(\d+) frames +([\d.]+) s\b")
_DONE = re.compile(r"\bdone in ([\d.]+) s")


@dataclass
class Step:
    """A step of a run: frames it read and made, seconds, bytes that it must move."""

    name: str
    read: int
    made: int
    seconds: float
    bytes: int = 0


def done_in(log: str) -> float | None:
    """Return the seconds from the first step to the last product, by the log of a run."""
    found = _DONE.findall(log)
    return float(found[-1]) if found else None


def steps_of(log: str, frames: int, pixels: int) -> list[Step]:
    """Return the steps of a run by its log, in their order.

    Parameters
    ----------
    log : str
        Lines of the progress, or what ``--log`` wrote.
    frames : int
        Input frames.
    pixels : int
        Of a frame.
    """
    lines = [(name, int(made), float(spent)) for _, name, made, spent in _LINE.findall(log)]
    steps: list[Step] = []
    before = frames
    for name, made, seconds in lines:
        if name in CALIBRATE:
            if not steps or steps[-1].name != CHAIN:
                steps.append(Step(CHAIN, before, made, 0.0, 0))
                steps[-1].bytes = bytes_of(CHAIN, before, made) * pixels
            steps[-1].seconds += seconds
            steps[-1].bytes += _CALIBRATIONS.get(name, 0) * pixels
        else:
            read = before if name in _ONE or made > before else made
            needed = bytes_of(name, read, made) * pixels
            steps.append(Step(name, read, made, seconds, needed))
        before = made
    return steps


def bytes_of(name: str, read: int, made: int) -> int:
    """Return the bytes that a step moves for one pixel of all its frames."""
    moves = MOVES.get(name)
    return 0 if moves is None else moves.read * read + moves.written * made + moves.once


def summed(steps: Iterable[Step]) -> list[Step]:
    """Return one entry for each name: steps that a recipe has several times are added up."""
    found: dict[str, Step] = {}
    for step in steps:
        if step.name in found:
            one = found[step.name]
            one.read, one.made = one.read + step.read, one.made + step.made
            one.seconds, one.bytes = one.seconds + step.seconds, one.bytes + step.bytes
        else:
            found[step.name] = Step(step.name, step.read, step.made, step.seconds, step.bytes)
    return list(found.values())
