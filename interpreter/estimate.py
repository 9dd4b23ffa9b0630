"""Time and memory of steps: figures measured on real-sized frames, and how they are added up.

The figures are those of ``benchmarks/step_rates.py`` for frames of 2048 x 2048 pixels, measured
with two jobs on two cores and counted back to one by `GAIN`; it prints them anew. They say how long
a run takes to within a factor of about two on another machine, and its memory to within a third.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

#: Bytes of a pixel in each plane.
PLANE_BYTES: Final[Mapping[str, int]] = MappingProxyType(
    {"data": 4, "variance": 4, "mask": 2, "objmask": 1}
)
#: The same in memory, where object masks are packed.
HELD_BYTES: Final[Mapping[str, float]] = MappingProxyType({**PLANE_BYTES, "objmask": 1 / 8})
#: What steps keep that make new images.
IMAGE: Final = ("data", "variance", "mask")


@dataclass(frozen=True, slots=True)
class Cost:
    """What a step costs.

    Parameters
    ----------
    seconds : float
        For each frame it reads and each million of its pixels, on one core.
    keeps : tuple of str
        Planes of each frame it makes that are new in memory.
    power : float
        The time grows with the number of sky frames to this power; 0 where there are none.
    held : bool
        Whether these planes are kept, not computed when rows are asked for.
    """

    seconds: float
    keeps: tuple[str, ...] = ()
    power: float = 0.0
    held: bool = True


FREE: Final = Cost(0.0)
#: Steps that work on pixels; others take no time to speak of.
COSTS: Final[Mapping[str, Cost]] = MappingProxyType(
    {
        "prepare": Cost(0.0036, ("data",), held=False),
        "addDQ": Cost(0.0036, ("mask",), held=False),
        "ADUToElectrons": Cost(0.0036),
        "addVAR": Cost(0.0036, ("variance",), held=False),
        "nonlinearityCorrect": Cost(0.0036),
        "darkCorrect": Cost(0.0036),
        "flatCorrect": Cost(0.0036),
        "flatCorrectByStream": Cost(0.0136, IMAGE),
        "addLatencyToDQ": Cost(0.01, ("mask",)),
        "makeLampFlat": Cost(0.016, IMAGE),
        "normalizeFlat": Cost(0.035, IMAGE),
        "thresholdFlatfield": Cost(0.035, IMAGE),
        "makeBPM": Cost(0.05, IMAGE),
        "skyCorrect": Cost(0.035, IMAGE, 0.35),
        "subtractSky": Cost(0.02, IMAGE),
        "stackSkyFrames": Cost(0.02, IMAGE),
        "detectSources": Cost(0.022, ("objmask",)),
        "dilateObjectMask": Cost(0.004, ("objmask",)),
        "addObjectMaskToDQ": Cost(0.004, ("mask",)),
        "transferObjectMask": Cost(0.0065, ("objmask",)),
        "adjustWCSToReference": Cost(0.002),
        "resampleToCommonFrame": Cost(0.0003),
        "scaleByIntensity": Cost(0.0036, IMAGE),
        "stackFrames": Cost(0.03, IMAGE),
        "stackDarks": Cost(0.012, IMAGE),
        "separateSky": Cost(0.0002),
        "associateSky": Cost(0.0006),
        "measureBG": Cost(0.004),
        "measureIQ": Cost(0.0065),
    }
)
#: What a step of a plug-in is taken to cost: it may make a new image of every frame.
UNKNOWN: Final = Cost(0.02, IMAGE)

#: Interpreter and compiled kernels, in s and bytes, before the first frame.
START_SECONDS: Final = 1.5
START_BYTES: Final = 210 << 20
#: Bands of rows and their results, for each job.
JOB_BYTES: Final = 80 << 20
#: Share of another core that another job gains: memory is shared.
GAIN: Final = 0.65
#: Decompressing an input, in s for each million pixels.
UNPACK_SECONDS: Final[Mapping[str, float]] = MappingProxyType({".bz2": 0.13, ".gz": 0.03})
WRITE_SECONDS: Final = 0.004  # for each MB


def speedup(jobs: int, cores: int) -> float:
    """Return by how much several jobs are faster than one."""
    return 1 + GAIN * (max(1, min(jobs, cores)) - 1)


def cost_of(name: str, *, shipped: bool = True) -> Cost:
    """Return the cost of a primitive; those of plug-ins are guessed."""
    return COSTS.get(name, FREE if shipped else UNKNOWN)


def seconds_of(cost: Cost, frames: int, mpix: float, skies: float = 0.0) -> float:
    """Return the time of a step on one core (s)."""
    more = max(1.0, skies) ** cost.power if cost.power else 1.0
    return cost.seconds * frames * mpix * more


def in_words(seconds: float) -> str:
    """Return a time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def size_in_words(size: float) -> str:
    """Return a number of bytes as people say it."""
    return f"{size / (1 << 30):.1f} GiB" if size >= 1 << 30 else f"{size / (1 << 20):.0f} MiB"
