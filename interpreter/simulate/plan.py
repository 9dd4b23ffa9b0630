"""From a scenario to a list of frames, each with its time, its pointing and its weather."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from f2yaml.interpreter.simulate.optics import SCALE_ARCSEC, pointing_offset, shifted, zeropoint
from f2yaml.schema.scenario import Calibration, Dark, Flat, Scenario, Science, expand_files

#: The exposure begins this long after the header is started, and the read-out ends this long
#: after the exposure [s] (instrument 1.7: UT, UTSTART, UTEND).
HEADER_LEAD_S = 5.0
READOUT_S = 7.33


@dataclass(frozen=True, slots=True)
class FramePlan:
    """Everything about one frame that is not a pixel.

    Angles on the sky in deg, offsets and errors in arcsec, times in s, rates in electron/s/pix.
    `ra0`, `dec0` is where the reference pixel truly points; `crval` is what the header says.
    `header_start` is the moment of UT, `previous_end` the end of the read-out before this one.
    """

    name: str
    kind: Literal["science", "dark", "flat"]
    style: Literal["night", "day_new", "day_old"]
    number: int
    header_start: dt.datetime
    previous_end: dt.datetime | None
    exposure_s: float
    program: str
    observation: int
    filter: str | None = None
    swapped: bool = False
    lamp_on: bool = False
    lamp_e_s: float = 0.0
    p: float = 0.0
    q: float = 0.0
    ra0: float = 150.0
    dec0: float = -30.0
    crval: tuple[float, float] = (150.0, -30.0)
    transparency: float = 1.0
    fwhm_pix: float = 0.0
    zeropoint: float = 0.0

    @property
    def start(self) -> dt.datetime:
        """When the exposure begins (UTSTART)."""
        return self.header_start + dt.timedelta(seconds=HEADER_LEAD_S)

    @property
    def end(self) -> dt.datetime:
        """When the read-out ends."""
        return self.start + dt.timedelta(seconds=self.exposure_s + READOUT_S)

    @property
    def mid_s(self) -> float:
        """Middle of the exposure, s since midnight UT of the date it began."""
        midnight = self.start.replace(hour=0, minute=0, second=0, microsecond=0)
        return (self.start - midnight).total_seconds() + self.exposure_s / 2


def generator(seed: int, *words: str) -> np.random.Generator:
    """Return random numbers that depend on the seed and on what they are for, and on no order."""
    text = "/".join(words).encode()
    return np.random.default_rng(np.random.SeedSequence([seed, *text]))


def plan_frames(scenario: Scenario) -> list[FramePlan]:
    """Return the frames of a scenario in the order science, darks, flats."""
    frames: list[FramePlan] = []
    for science in scenario.science:
        frames += _science(scenario, science)
    for dark in scenario.darks:
        frames += _calibrations(scenario, dark)
    for flat in scenario.flats:
        frames += _calibrations(scenario, flat)
    return frames


@dataclass(frozen=True, slots=True)
class _Slot:
    name: str
    number: int
    header_start: dt.datetime
    previous_end: dt.datetime | None


def _slots(group: Science | Calibration) -> Iterator[_Slot]:
    """Give each frame its time; a number left out of a list leaves a gap of one exposure."""
    names = expand_files(group.files)
    first = dt.datetime.strptime(f"{names[0][1:9]} {group.start_ut}", "%Y%m%d %H:%M:%S")
    cycle = HEADER_LEAD_S + group.exposure_s + READOUT_S + group.gap_s
    for name in names:
        step = int(name[-4:]) - int(names[0][-4:])
        start = first + dt.timedelta(seconds=round(step * cycle, 1))
        before = start - dt.timedelta(seconds=group.gap_s) if step else None
        yield _Slot(name, step + 1, start, before)


def _science(scenario: Scenario, group: Science) -> Iterator[FramePlan]:
    target, sky = scenario.target, scenario.sky
    positions = group.offsets_pq_arcsec
    for index, slot in enumerate(_slots(group)):
        passes, place = divmod(index, len(positions))
        p, q = (
            here + passes * shift
            for here, shift in zip(positions[place], group.pass_shift_pq_arcsec, strict=True)
        )
        east, north = pointing_offset(p, q, target.pa_deg, target.inport)
        rng = generator(scenario.seed, "weather", slot.name)
        true = np.array([east, north]) + rng.normal(0.0, sky.pointing_rms_arcsec, 2)
        said = np.array([east, north]) + rng.normal(0.0, sky.header_rms_arcsec, 2)
        said += group.header_errors_arcsec.get(slot.name, [0.0, 0.0])
        # Clipped, so that one frame in many thousand is not absurd.
        clear, blur = np.clip(rng.standard_normal(2), -3.0, 3.0)
        seeing = sky.seeing_arcsec * np.exp(sky.seeing_scatter * blur)
        seeing = group.seeing_arcsec.get(slot.name, float(seeing))
        clearness = np.exp(sky.transparency_scatter * clear)
        clearness *= group.transparency.get(slot.name, 1.0)
        ra0, dec0 = shifted(target.ra_deg, target.dec_deg, float(true[0]), float(true[1]))
        yield FramePlan(
            name=slot.name,
            kind="science",
            style="night",
            number=slot.number,
            header_start=slot.header_start,
            previous_end=slot.previous_end,
            exposure_s=group.exposure_s,
            program=group.program,
            observation=group.observation,
            filter=group.filter,
            swapped=group.wheels == "swapped",
            p=p,
            q=q,
            ra0=ra0,
            dec0=dec0,
            crval=shifted(target.ra_deg, target.dec_deg, float(said[0]), float(said[1])),
            transparency=float(clearness),
            fwhm_pix=seeing / SCALE_ARCSEC,
            zeropoint=zeropoint(group.filter),
        )


def _calibrations(scenario: Scenario, group: Dark | Flat) -> Iterator[FramePlan]:
    for slot in _slots(group):
        level, lamp_on, swapped, name = 0.0, False, False, None
        if isinstance(group, Flat):
            rng = generator(scenario.seed, "lamp", slot.name)
            level = max(0.0, group.level_e_s * (1.0 + rng.normal(0.0, group.scatter)))
            lamp_on, swapped, name = group.lamp == "on", group.wheels == "swapped", group.filter
        yield FramePlan(
            name=slot.name,
            kind="flat" if isinstance(group, Flat) else "dark",
            style=group.style,
            number=slot.number,
            header_start=slot.header_start,
            previous_end=slot.previous_end,
            exposure_s=group.exposure_s,
            program=f"GS-CAL{slot.name[1:9]}",
            observation=group.observation,
            filter=name,
            swapped=swapped,
            lamp_on=lamp_on,
            lamp_e_s=level,
        )


def largest_offset(frames: list[FramePlan]) -> float:
    """Return the largest commanded offset from the target in arcsec."""
    return max((math.hypot(f.p, f.q) for f in frames if f.kind == "science"), default=0.0)
