"""Which calibration fits a frame: the rules as a table, and the reasons for each answer.

A rule is a list of criteria for one calibration type. `judge` applies all of them to one
candidate and returns a verdict for each, so that a rejected candidate can say why
(spec: instrument, sections 5.1, 5.2 and 5.4).
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, TypeAlias, assert_never

from f2yaml.interpreter.f2.descriptors import describe
from f2yaml.interpreter.f2.values import text
from f2yaml.interpreter.headers import Headers
from f2yaml.schema.modes import MODES

#: Match keys of a file; the values are what JSON can hold (times in ISO 8601).
Keys: TypeAlias = Mapping[str, object]

#: The tags that decide the type of a processed calibration, in this order: a bad-pixel mask
#: made from flats carries FLAT too and must never be served as a flat (spec: instrument, 5.4).
_STATE_ORDER: Final = (
    ("BPM", "processed_bpm"),
    ("DARK", "processed_dark"),
    ("FLAT", "processed_flat"),
)

#: Names under which one and the same filter is mounted (spec: instrument, 1.3 and 3.5).
_FILTER_ALIASES: Final = MappingProxyType({"YJH": "Y"})

_ABSENT: Final = "not in header"


@dataclass(frozen=True, slots=True)
class Equal:
    """Both values are known and equal."""


@dataclass(frozen=True, slots=True)
class Within:
    """The values differ by at most `tolerance`."""

    tolerance: float
    unit: str


@dataclass(frozen=True, slots=True)
class DaysApart:
    """The times differ by less than `limit` days, either way."""

    limit: float


@dataclass(frozen=True, slots=True)
class NotLater:
    """The calibration was not taken later than the frame."""


@dataclass(frozen=True, slots=True)
class Not:
    """The calibration's value is not `value`; an unknown value passes."""

    value: str


@dataclass(frozen=True, slots=True)
class AtLeastMode:
    """The calibration was made in the mode of the reduction or in a better one."""


Compare: TypeAlias = Equal | Within | DaysApart | NotLater | Not | AtLeastMode


@dataclass(frozen=True, slots=True)
class Criterion:
    """One condition of a rule: its name, the match key it looks at and how it compares."""

    name: str
    key: str
    compare: Compare


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one criterion says of one candidate, with both values as text."""

    criterion: str
    passed: bool
    frame_value: str
    candidate_value: str
    rule: str
    note: str = ""


_INSTRUMENT: Final = Criterion("instrument", "instrument", Equal())
_SHAPE: Final = Criterion("array_shape", "array_shape", Equal())
_TIME: Final = Criterion("time", "ut_datetime", DaysApart(90.0))
_QUALITY: Final = Criterion("qa_state", "qa_state", Not("Fail"))
_MODE: Final = Criterion("processing", "processing", AtLeastMode())

RULES: Final[Mapping[str, tuple[Criterion, ...]]] = MappingProxyType(
    {
        "processed_dark": (
            _INSTRUMENT,
            Criterion("exposure_time", "exposure_time", Within(0.01, "s")),
            Criterion("read_mode", "read_mode", Equal()),
            Criterion("coadds", "coadds", Equal()),
            _SHAPE,
            _TIME,
            _QUALITY,
            _MODE,
        ),
        "processed_flat": (
            _INSTRUMENT,
            Criterion("filter_name", "filter_name", Equal()),
            Criterion("lyot_stop", "lyot_stop", Equal()),
            Criterion("disperser", "disperser", Equal()),
            Criterion("focal_plane_mask", "focal_plane_mask", Equal()),
            _SHAPE,
            _TIME,
            _QUALITY,
            _MODE,
        ),
        "processed_bpm": (
            _INSTRUMENT,
            _SHAPE,
            Criterion("time", "ut_datetime", NotLater()),
            _QUALITY,
            _MODE,
        ),
    }
)

CALTYPES: Final = tuple(RULES)


def processed_type(tags: Set[str]) -> str | None:
    """Return the calibration type of a file with these tags, None if it is no calibration.

    The order is fixed, bad-pixel masks first (spec: instrument, section 5.4).
    """
    if "PROCESSED" not in tags:
        return None
    return next((caltype for tag, caltype in _STATE_ORDER if tag in tags), None)


def applicable(tags: Set[str]) -> tuple[str, ...]:
    """Return the calibration types looked up for a frame with these tags (section 5.1)."""
    if processed_type(tags) is not None or "DARK" in tags:
        return ("processed_bpm",)
    if "FLAT" in tags:
        return ("processed_dark", "processed_bpm")
    return CALTYPES


def instrument_of(headers: Headers) -> str:
    """Return INSTRUME in capitals; ``F2`` also for the early spelling ``Flam``."""
    name = (text(headers.phu, "INSTRUME") or "").strip().upper()
    return "F2" if name == "FLAM" else name


def keys_of(headers: Headers) -> dict[str, object]:
    """Return the match keys of a frame or of a processed calibration.

    Parameters
    ----------
    headers : Headers
        Headers of an F2 file. Of a file of another instrument only the instrument is taken.

    Returns
    -------
    dict
        `exposure_time` [s] is the sum over coadds, for raw files and products alike;
        `ut_datetime` is ISO 8601; `array_shape` is ``nx x ny``; an unknown value is None.

    Notes
    -----
    Departure from DRAGONS (spec: instrument, 5.2): there products keep EXPTIME of one coadd, so
    that a dark of two coadds never fits its own raw frames.
    """
    instrument = instrument_of(headers)
    if instrument != "F2":
        return {"instrument": instrument}
    filter_name = _text(describe("filter_name", headers, pretty=True))
    taken = describe("ut_datetime", headers)
    return {
        "instrument": instrument,
        "exposure_time": describe("exposure_time", headers),
        "read_mode": _text(describe("read_mode", headers)),
        "coadds": describe("coadds", headers),
        "filter_name": _FILTER_ALIASES.get(filter_name or "", filter_name),
        "lyot_stop": _text(describe("lyot_stop", headers)),
        "disperser": _text(describe("disperser", headers, pretty=True)),
        "focal_plane_mask": _text(describe("focal_plane_mask", headers)),
        "array_shape": _shape(headers),
        "ut_datetime": taken.isoformat() if isinstance(taken, datetime) else None,
        "qa_state": _quality(headers),
        "processing": _mode(headers),
    }


def judge(
    frame: Headers | Keys, candidate: Keys, caltype: str, *, mode: str = "sq"
) -> list[Verdict]:
    """Return what each criterion of the rule for `caltype` says of `candidate`.

    Parameters
    ----------
    frame : Headers or mapping
        The frame to calibrate, or its match keys.
    candidate : mapping
        Match keys of a processed calibration of type `caltype`.
    caltype : str
        One of `CALTYPES`.
    mode : str
        Mode of the reduction: sq, ql or qa.
    """
    keys = keys_of(frame) if isinstance(frame, Headers) else frame
    wanted = {**keys, "processing": mode}
    return [_verdict(criterion, wanted, candidate) for criterion in RULES[caltype]]


def time_apart(frame: Keys, candidate: Keys) -> timedelta | None:
    """Return the time from the frame to the calibration, None if either is unknown."""
    first, second = _time(frame.get("ut_datetime")), _time(candidate.get("ut_datetime"))
    if first is None or second is None:
        return None
    return second - first


def preference(frame: Keys, candidate: Keys) -> tuple[float, int]:
    """Return the sort key of a candidate: nearest in time in whole seconds, then best mode."""
    apart = time_apart(frame, candidate)
    mode = candidate.get("processing")
    return (
        float("inf") if apart is None else float(int(abs(apart).total_seconds())),
        MODES.index(mode) if isinstance(mode, str) and mode in MODES else len(MODES),
    )


def _verdict(criterion: Criterion, frame: Keys, candidate: Keys) -> Verdict:
    """Apply one criterion; a value that a header does not give never counts as equal."""
    ours, theirs = frame.get(criterion.key), candidate.get(criterion.key)
    known = ours is not None and theirs is not None
    shown = (_show(ours), _show(theirs))
    note = ""
    match criterion.compare:
        case Equal():
            passed, rule = known and ours == theirs, "equal"
        case Within(tolerance, unit):
            shown = (_show(ours, unit), _show(theirs, unit))
            numbers = isinstance(ours, (int, float)) and isinstance(theirs, (int, float))
            passed = numbers and abs(_number(ours) - _number(theirs)) <= tolerance
            rule = f"within {tolerance:g} {unit}"
        case DaysApart(limit):
            apart = time_apart(frame, candidate)
            passed = apart is not None and abs(apart) < timedelta(days=limit)
            rule, note = f"under {limit:g} days", describe_gap(apart)
        case NotLater():
            apart = time_apart(frame, candidate)
            passed = apart is not None and apart <= timedelta(0)
            rule, note = "not later", describe_gap(apart)
        case Not(value):
            shown = ("-", shown[1])
            passed, rule = theirs != value, f"not {value}"
        case AtLeastMode():
            accepted = MODES[: MODES.index(str(ours)) + 1]
            passed, rule = theirs in accepted, " or ".join(accepted)
        case never:
            assert_never(never)
    return Verdict(criterion.name, passed, *shown, rule, note)


def describe_gap(apart: timedelta | None) -> str:
    """Return ``3.3 days later``: where the calibration lies in time, seen from the frame."""
    if apart is None:
        return ""
    days = abs(apart) / timedelta(days=1)
    size = f"{days:.1f} days" if days >= 0.1 else f"{abs(apart).total_seconds():.0f} s"
    return f"{size} {'earlier' if apart < timedelta(0) else 'later'}"


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")


def _show(value: object, unit: str = "") -> str:
    if value is None:
        return _ABSENT
    moment = _time(value) if isinstance(value, str) and "T" in value else None
    if moment is not None:
        return moment.isoformat(sep=" ", timespec="seconds")
    text = f"{value:.10g}" if isinstance(value, float) else str(value)
    return f"{text} {unit}".rstrip()


def _time(value: object) -> datetime | None:
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:  # not a time: an unknown value, which no criterion accepts
        return None


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _shape(headers: Headers) -> str | None:
    """Return ``2048x2048``, whether the array is still (1, 2048, 2048) or already flat."""
    width, height = headers.sci.get("NAXIS1"), headers.sci.get("NAXIS2")
    return None if width is None or height is None else f"{width}x{height}"


def _quality(headers: Headers) -> str | None:
    """Return qa_state, but Fail for every BAD frame.

    The descriptor says Undefined of a BAD frame with unknown constraints (section 3.1).
    """
    if (text(headers.phu, "RAWGEMQA") or "").strip().upper() == "BAD":
        return "Fail"
    return _text(describe("qa_state", headers))


def _mode(headers: Headers) -> str:
    """Return the processing mode of a product: PROCMODE, else the end of its data label.

    Products that say nothing are science quality: only quick-look products were ever marked.
    """
    mode = (text(headers.phu, "PROCMODE") or "").strip().lower()
    if mode:
        return mode
    label = (text(headers.phu, "DATALAB") or "").upper()
    return next((m for m in ("ql", "qa") if f"-{m.upper()}-" in label), "sq")
