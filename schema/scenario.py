"""What a simulated night may say: the model behind ``kind: scenario``.

A scenario names the frames of a night, the sky over them and the detector behind it. It holds
no randomness of its own: `seed` and the names of the frames fix every random number.
Units are in the names of the fields.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from typing import Annotated, Final, Literal

from f2yaml.schema.base import Fault, Label, Model, Text, Version
from pydantic import AfterValidator, Field, model_validator

#: Charge a pixel can hold, electron (instrument 3.4).
WELL_DEPTH_E: Final = 155400.0

_FIRST = re.compile(r"(S\d{8}S)(\d{4})")
_MORE = re.compile(r"([-,])(\d{1,4})")
_MAX_FRAMES = 2000
_FIRST_YEAR = 2009

FilterName = Literal["Y", "J-lo", "J", "H", "Ks", "K-blue", "K-red", "K-long", "JH", "HK"]
Wheels = Literal["usual", "swapped"]


def expand_files(text: str) -> list[str]:
    """Return the names that a range such as ``S20200104S0075-092`` or ``...S0257,258`` stands for.

    A number after ``-`` or ``,`` replaces the last digits of the number before it.

    Raises
    ------
    Fault
        The text is not such a range, runs backwards, or names more than 2000 frames.
    """
    first = _FIRST.match(text)
    if first is None:
        raise _no_range(f"`{text}` does not begin with the name of a raw file")
    prefix, digits, at = first[1], first[2], first.end()
    numbers = [int(digits)]
    while at < len(text):
        more = _MORE.match(text, at)
        if more is None:
            raise _no_range(f"`{text[at:]}` in `{text}` is neither a range nor one more frame")
        digits = digits[: 4 - len(more[2])] + more[2]
        if int(digits) <= numbers[-1]:
            raise _no_range(f"the frame numbers of `{text}` do not grow")
        start = numbers[-1] + 1 if more[1] == "-" else int(digits)
        numbers += range(start, int(digits) + 1)
        at = more.end()
    if len(numbers) > _MAX_FRAMES:
        raise _no_range(f"`{text}` names {len(numbers)} frames, more than {_MAX_FRAMES}")
    try:
        year = dt.datetime.strptime(prefix[1:9], "%Y%m%d").year
    except ValueError:
        year = 0
    if not year >= _FIRST_YEAR:
        raise _no_range(f"`{prefix[1:9]}` in `{text}` is not a date of F2 data")
    return [f"{prefix}{number:04d}" for number in numbers]


def _no_range(what: str) -> Fault:
    return Fault(
        what,
        "frames are named as the telescope does: S, UT date, S, four digits",
        "write S20200104S0075-092 for a range or S20200111S0257,258,260 for single frames",
    )


def _files(text: str) -> str:
    expand_files(text)
    return text


def _start(text: str) -> str:
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d", text, re.ASCII):
        raise Fault(
            f"`{text}` is not a time of day",
            "the first frame of a sequence needs its start in UT; the date is in the file names",
            "write hh:mm:ss, as in 04:00:00",
        )
    return text


def _program(text: str) -> str:
    if not re.fullmatch(r"G[NS]-\d{4}[AB]-[A-Z]{1,2}-\d{1,4}", text, re.ASCII):
        raise Fault(
            f"`{text}` is not the name of a programme",
            "a malformed GEMPRGID makes archives take a frame for an engineering one",
            "write it as in GS-2020A-Q-101",
        )
    return text


Files = Annotated[
    str,
    AfterValidator(_files),
    Field(description="raw file names: a range (S20200104S0075-092) or a list (...S0257,258,260)"),
]
StartUT = Annotated[
    str,
    AfterValidator(_start),
    Field(
        description="UT at which the first frame's header is started, hh:mm:ss; the date is that "
        "of the file names and the exposure begins 5 s later"
    ),
]
_Arcsec = Annotated[float, Field(ge=-600, le=600)]
Pair = Annotated[list[_Arcsec], Field(min_length=2, max_length=2)]
Clearness = Annotated[float, Field(gt=0, le=1)]
Blur = Annotated[float, Field(ge=0.3, le=3)]
Exposure = Annotated[float, Field(gt=0, le=3600, description="exposure time [s]")]
Gap = Annotated[
    float, Field(ge=0, le=3600, description="time between a read-out and the next frame [s]")
]
Observation = Annotated[int, Field(ge=1, le=9999, description="observation number in OBSID")]


class Detector(Model):
    """The array: size, read-out, dark signal, response, defects and cosmic rays."""

    nx: int = Field(2048, ge=128, le=2048, description="columns [pix]")
    ny: int = Field(2048, ge=128, le=2048, description="rows [pix]")
    lnrs: Literal[1, 4, 6, 8] = Field(1, description="read pairs: sets gain and read noise")
    dark_e_s: float = Field(0.5, ge=0, le=100, description="typical dark current [electron/s]")
    glow_e_s: float = Field(2.0, ge=0, le=500, description="amplifier glow at the corners [e/s]")
    pedestal_e: float = Field(
        6.0, ge=0, le=500, description="rms of the pattern that does not depend on time [electron]"
    )
    hot_fraction: float = Field(0.002, ge=0, le=0.1, description="share of hot pixels")
    dead_fraction: float = Field(0.001, ge=0, le=0.1, description="share of unresponsive pixels")
    pixel_response_rms: float = Field(
        0.015, ge=0, le=0.1, description="pixel-to-pixel scatter of the response"
    )
    vignetting: float = Field(
        0.10, ge=0, lt=1, description="loss of light at the edge of the illuminated circle"
    )
    large_scale: float = Field(0.03, ge=0, le=0.2, description="smooth structure of the response")
    dust_spots: int = Field(12, ge=0, le=500, description="number of dust shadows")
    cosmic_rays_s: float = Field(
        0.5, ge=0, le=1000, description="cosmic rays on a 2048 x 2048 array [1/s]"
    )
    nonlinear: bool = Field(True, description="apply the inverse of the linearity correction")


class Extended(Model):
    """A nearby galaxy: an inclined exponential disc, much wider than the seeing.

    Its brightness falls by e over `length_arcsec` along the long axis; half of the light lies
    within 1.68 of them.
    """

    mag: float = Field(ge=-5, le=40, description="total magnitude [mag]")
    length_arcsec: float = Field(
        ge=10, le=300, description="scale length along the long axis [arcsec]"
    )
    ratio: float = Field(1.0, ge=0.1, le=1, description="axis ratio")
    angle_deg: float = Field(
        0.0, ge=-360, le=360, description="long axis, from North through East [deg]"
    )
    east_arcsec: _Arcsec = Field(0.0, description="centre, East of the target [arcsec]")
    north_arcsec: _Arcsec = Field(0.0, description="centre, North of the target [arcsec]")


class Target(Model):
    """The field on the sky: where it is and what is in it."""

    object: str = Field("Field-1", min_length=1, max_length=60, description="OBJECT of the header")
    ra_deg: float = Field(ge=0, lt=360, description="right ascension of the target [deg]")
    dec_deg: float = Field(ge=-85, le=35, description="declination of the target [deg]")
    pa_deg: float = Field(0.0, ge=-360, le=360, description="position angle PA [deg]")
    inport: Literal[1, 2, 3, 4, 5] = Field(5, description="telescope port (1 = up-looking)")
    stars: int = Field(250, ge=0, le=50000, description="stars in the area the dithers cover")
    galaxies: int = Field(60, ge=0, le=5000, description="galaxies in the same area")
    bright_mag: float = Field(11.0, ge=-5, le=40, description="brightest star [mag]")
    faint_mag: float = Field(20.0, ge=-5, le=40, description="faintest source [mag]")
    count_slope: float = Field(
        0.25, gt=0, le=0.6, description="slope of log10 of the counts per magnitude"
    )
    galaxy_bright_mag: float = Field(16.0, ge=-5, le=40, description="brightest galaxy [mag]")
    galaxy_radius_arcsec: float = Field(
        0.8, gt=0.05, le=5, description="typical half-light radius of a galaxy [arcsec]"
    )
    extended: list[Extended] = Field(default=[], description="galaxies that fill part of the field")

    @model_validator(mode="after")
    def _ordered(self) -> Target:
        if not max(self.bright_mag, self.galaxy_bright_mag) < self.faint_mag:
            raise Fault(
                "the brightest source is fainter than the faintest",
                "magnitudes are drawn between bright_mag (galaxy_bright_mag) and faint_mag",
                "make faint_mag the largest of the three",
                at=("faint_mag",),
            )
        return self


class Sky(Model):
    """Background, transparency, seeing and pointing, and how they change."""

    level_e_s: float = Field(ge=0, le=30000, description="mean sky [electron/s/pix]")
    thermal_e_s: float = Field(
        0.0, ge=0, le=30000, description="constant thermal light from the instrument [e/s/pix]"
    )
    drift: float = Field(0.02, ge=0, le=0.5, description="amplitude of the change with time")
    drift_period_s: float = Field(900.0, gt=0, le=86400, description="time scale of the drift [s]")
    pattern: float = Field(0.005, ge=0, le=0.2, description="amplitude of the spatial pattern")
    pattern_period_s: float = Field(
        1200.0, gt=0, le=86400, description="time in which the pattern changes [s]"
    )
    seeing_arcsec: float = Field(0.6, ge=0.3, le=3, description="mean FWHM of stars [arcsec]")
    seeing_scatter: float = Field(0.1, ge=0, le=0.4, description="relative rms of the seeing")
    transparency_scatter: float = Field(0.015, ge=0, le=0.3, description="rms of transparency")
    pointing_rms_arcsec: float = Field(
        0.15, ge=0, le=10, description="rms per axis of true minus commanded pointing [arcsec]"
    )
    header_rms_arcsec: float = Field(
        0.05, ge=0, le=10, description="rms per axis of CRVAL minus commanded pointing [arcsec]"
    )


class Science(Model):
    """A dithered sequence of exposures of the target."""

    files: Files
    filter: FilterName
    exposure_s: Exposure
    start_ut: StartUT
    program: Annotated[str, AfterValidator(_program)] = Field(description="programme id (GEMPRGID)")
    observation: Observation = 1
    offsets_pq_arcsec: list[Pair] = Field(
        min_length=1, description="POFFSET, QOFFSET of each position, used in turn [arcsec]"
    )
    pass_shift_pq_arcsec: Pair = Field(
        default=[0.0, 0.0], description="added once more each time the positions start again"
    )
    header_errors_arcsec: dict[str, Pair] = Field(
        default={}, description="extra error of CRVAL by file name: East, North [arcsec]"
    )
    transparency: dict[str, Clearness] = Field(
        default={}, description="share of the light that clouds let pass, by file name"
    )
    seeing_arcsec: dict[str, Blur] = Field(
        default={}, description="FWHM of stars in place of the sky's seeing, by file name [arcsec]"
    )
    wheels: Wheels = Field("usual", description="`swapped` puts the filter in the other wheel")
    gap_s: Gap = 5.0

    @model_validator(mode="after")
    def _known_frames(self) -> Science:
        names = set(expand_files(self.files))
        for key, given in (
            ("header_errors_arcsec", self.header_errors_arcsec),
            ("transparency", self.transparency),
            ("seeing_arcsec", self.seeing_arcsec),
        ):
            stray = sorted(set(given) - names)
            if stray:
                raise Fault(
                    f"{key} names {stray[0]}, which is not in {self.files}",
                    "what is said of a frame that does not exist would be lost unnoticed",
                    "correct the name, or take the entry out",
                    at=(key, stray[0]),
                )
        return self


class Calibration(Model):
    """What darks and flats have in common."""

    files: Files
    exposure_s: Exposure
    start_ut: StartUT
    observation: Observation = 1
    style: Literal["day_new", "day_old"] = Field(
        "day_new", description="header style: sentinels (from 2019) or AZEL_TOPO (before)"
    )
    gap_s: Gap = 5.0


class Dark(Calibration):
    """A sequence of darks."""


class Flat(Calibration):
    """A sequence of flats through the calibration unit."""

    filter: FilterName
    lamp: Literal["on", "off"] = Field(description="shutter of the lamp: on = OPEN, off = CLOSED")
    level_e_s: float = Field(ge=0, le=150000, description="mean signal of these flats [e/s/pix]")
    scatter: float = Field(0.003, ge=0, le=0.2, description="rms of the level between frames")
    wheels: Wheels = Field("usual", description="`swapped` puts the filter in the other wheel")


class Scenario(Model):
    """A night to simulate: frames, sky, target and detector."""

    kind: Literal["scenario"]
    f2yaml: Version = Field(description="version of the format")
    name: Label = Field(description="name of the scenario")
    doc: Text = Field(min_length=1, description="what the scenario is for")
    seed: int = Field(ge=0, lt=2**32, description="fixes every random number")
    detector: Detector = Detector()
    target: Target
    sky: Sky
    science: list[Science] = Field(default=[], description="sequences of the target")
    darks: list[Dark] = Field(default=[], description="sequences of darks")
    flats: list[Flat] = Field(default=[], description="sequences of flats")

    @model_validator(mode="after")
    def _consistent(self) -> Scenario:
        if not (self.science or self.darks or self.flats):
            raise Fault(
                "the scenario has no frames",
                "there would be nothing to write",
                "give science, darks or flats",
            )
        files: set[str] = set()
        labels: set[str] = set()
        for at, group, observation in self._groups():
            for name in expand_files(group.files):
                if name in files:
                    raise Fault(
                        f"file {name} is named twice",
                        "the second frame would replace the first",
                        "give each frame a name of its own",
                        at=(*at, "files"),
                    )
                files.add(name)
            if observation in labels:
                raise Fault(
                    f"observation {observation} is used by two sequences",
                    "two frames would have the same DATALAB",
                    "give each sequence of a day another `observation`",
                    at=(*at, "observation"),
                )
            labels.add(observation)
        self._check_levels()
        return self

    def _groups(self) -> Iterator[tuple[tuple[str, int], Science | Calibration, str]]:
        """Yield each sequence with its place in the document and its OBSID."""
        for number, science in enumerate(self.science):
            yield ("science", number), science, f"{science.program}-{science.observation}"
        for kind, groups in (("darks", self.darks), ("flats", self.flats)):
            for number, group in enumerate(groups):
                program = f"GS-CAL{group.files[1:9]}"
                yield (kind, number), group, f"{program}-{group.observation}"

    def _check_levels(self) -> None:
        sky = self.sky.level_e_s + self.sky.thermal_e_s
        signals: list[tuple[str, int, Science | Flat, float]] = [
            *(("science", n, group, sky) for n, group in enumerate(self.science)),
            *(("flats", n, group, group.level_e_s) for n, group in enumerate(self.flats)),
        ]
        for kind, number, group, rate in signals:
            signal = rate * group.exposure_s
            if signal > WELL_DEPTH_E:
                raise Fault(
                    f"{group.files}: the background alone gives {signal:.0f} electron",
                    f"a pixel holds {WELL_DEPTH_E:.0f}, so every pixel would be saturated",
                    "shorten exposure_s or lower the level",
                    at=(kind, number, "exposure_s"),
                )
