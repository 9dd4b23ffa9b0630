"""When a frame was taken (spec: instrument, section 3.8)."""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

from f2yaml.interpreter.f2.values import number, text
from f2yaml.interpreter.headers import Headers

_DATES: Final = ("DATE-OBS", "DATE", "UTDATE")
_TIMES: Final = ("UT", "TIME-OBS", "STARTUT", "UTSTART")
_MJD_ZERO: Final = dt.datetime(1858, 11, 17)
_CLOCK: Final = re.compile(r"(\d{1,2}):(\d{2}):(\d{2})(\.\d+)?")


def ut_datetime(headers: Headers, *, strict: bool = False) -> dt.datetime | None:
    """Return the UT date and time of the exposure: the moment its header was started.

    Parameters
    ----------
    headers : Headers
    strict : bool
        Use keywords made for the purpose only. Otherwise the date may come from FRMNAME or the file
        name, and the time defaults to midnight.
    """
    day, moment = _date_or_datetime(headers)
    if moment is not None:
        return moment
    time = _first_time(headers, _TIMES)
    if day is not None and time is not None:
        return dt.datetime.combine(day, time)
    moment = _other_clock(headers)
    if moment is not None:
        return moment
    if strict:
        return None
    day = day or _date_in_names(headers)
    return None if day is None else dt.datetime.combine(day, time or dt.time())


def ut_date(headers: Headers) -> dt.date | None:
    """Return the UT date, from keywords only."""
    day, moment = _date_or_datetime(headers)
    moment = moment or (None if day is not None else _other_clock(headers))
    return moment.date() if moment is not None else day


def night(headers: Headers) -> dt.date | None:
    """Return the night, by the UT date on which it ends, as in the names of Gemini's files.

    It changes at 18 h UT, in the afternoon at the telescope; None where date or time is unknown.
    """
    moment = ut_datetime(headers, strict=True)
    return None if moment is None else (moment + dt.timedelta(hours=6)).date()


def ut_time(headers: Headers) -> dt.time | None:
    """Return the UT time of day, from keywords only."""
    _, moment = _date_or_datetime(headers)
    if moment is not None:
        return moment.time()
    time = _first_time(headers, _TIMES)
    if time is None and (moment := _other_clock(headers)) is not None:
        return moment.time()
    return time


def local_time(headers: Headers) -> dt.time | None:
    """Return the local clock time at the start."""
    return _first_time(headers, ("LT",))


def decimal_year(moment: dt.datetime) -> float:
    """Return a moment in years; leap years have 366 days."""
    start, end = dt.datetime(moment.year, 1, 1), dt.datetime(moment.year + 1, 1, 1)
    return moment.year + (moment - start) / (end - start)


def parse_time(written: str) -> dt.time | None:
    """Return the time of day that ``hh:mm:ss[.s]`` stands for, None if it is none."""
    found = _CLOCK.fullmatch(written.strip())
    if found is None:
        return None
    hours, minutes, seconds = (int(found[n]) for n in (1, 2, 3))
    microseconds = round(float(found[4] or 0) * 1e6)
    if microseconds == 1_000_000:  # a fraction such as .9999999
        microseconds = 999_999
    if hours > 23 or minutes > 59 or seconds > 59:
        return None
    return dt.time(hours, minutes, seconds, microseconds)


def _date_or_datetime(headers: Headers) -> tuple[dt.date | None, dt.datetime | None]:
    day: dt.date | None = None
    for key in _DATES:
        written = text(headers.phu, key) or ""
        date, _, clock = written.partition("T") if "T" in written else written.partition(" ")
        try:
            found = dt.date.fromisoformat(date) if len(date) == 10 else None
        except ValueError:
            found = None
        if found is None:
            continue
        time = parse_time(clock)
        if time is not None:
            return found, dt.datetime.combine(found, time)
        day = day or found
    return day, None


def _first_time(headers: Headers, keys: tuple[str, ...]) -> dt.time | None:
    times = (parse_time(text(headers.phu, key) or "") for key in keys)
    return next((time for time in times if time is not None), None)


def _other_clock(headers: Headers) -> dt.datetime | None:
    mjd = number(headers.phu, "MJD-OBS")
    if mjd is not None and 1 < mjd < 1e6:
        return _MJD_ZERO + dt.timedelta(days=mjd)
    start = text(headers.phu, "OBSSTART") or ""
    try:
        return dt.datetime.fromisoformat(start).replace(tzinfo=None)
    except ValueError:
        return None


def _date_in_names(headers: Headers) -> dt.date | None:
    frame = text(headers.phu, "FRMNAME") or text(headers.sci, "FRMNAME") or ""
    for written in (frame[1:9], headers.filename[1:9]):
        try:
            return dt.datetime.strptime(written, "%Y%m%d").date()
        except ValueError:
            continue
    return None
