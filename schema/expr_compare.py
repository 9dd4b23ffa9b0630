"""Compare the value of a name with another value, as the expression language does."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from fnmatch import fnmatchcase
from numbers import Real
from typing import Any

from f2yaml.schema.problems import RequestError
from f2yaml.schema.text import printable

Comparer = Callable[[str, str, object, object], bool | None]
"""(name, operator, its value, other value) -> decision, or None for the usual comparison."""

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)
_DATE = r"(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})"
_TIME = r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.(?P<fraction>\d*))?)?"
MOMENT = re.compile(rf"{_DATE}(?:(?:[ ]+|T){_TIME}Z?)?|{_TIME.replace('?P<', '?P<t_')}", re.ASCII)
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})", re.ASCII)

Moment = date | time | datetime


class _Mismatch(Exception):
    """Two values of kinds that do not compare."""


def read_number(text: str) -> int | float | None:
    """Return the number that a text is, or None when it is none."""
    text = text.strip()
    if not NUMBER.fullmatch(text):
        return None
    return int(text) if len(text) < 20 and text.lstrip("+-").isdigit() else float(text)


def read_moment(text: str) -> Moment | None:
    """Return the date, time or date-time that a text is, or None when it is none.

    Parameters
    ----------
    text : str
        ``2020-01-07``, ``13:00``, ``13:00:00.5``, ``2020-01-07 13:00`` or with ``T`` for the
        blank; universal time. Digits beyond the microsecond are dropped.

    Returns
    -------
    datetime.date, datetime.time, datetime.datetime or None
    """
    found = MOMENT.fullmatch(text.strip())
    if found is None:
        return None
    part = {key.removeprefix("t_"): text for key, text in found.groupdict().items() if text}
    try:
        day = None
        if "year" in part:
            day = date(int(part["year"]), int(part["month"]), int(part["day"]))
        if "hour" not in part:
            return day
        fraction = int((part.get("fraction", "") + "000000")[:6])
        clock = time(int(part["hour"]), int(part["minute"]), int(part.get("second", 0)), fraction)
    except ValueError:
        return None
    return clock if day is None else datetime.combine(day, clock)


def compare_values(
    name: str,
    op: str,
    mine: object,
    other: object,
    written: str | None,
    compare: Comparer | None = None,
) -> bool:
    """Return whether ``mine op other`` holds.

    Parameters
    ----------
    name : str
        Name whose value `mine` is. Header keywords (``phu.``, ``hdr.``) may hold values of any
        kind: where kinds do not compare, only ``!=`` holds. For any other name that is an error.
    op : str
        One of ``== != < <= > >= ~``.
    mine, other : object, not None
    written : str, optional
        How `other` was written, when it is a constant.
    compare : callable, optional
        As in `f2yaml.schema.predicate.evaluate`.

    Raises
    ------
    RequestError
        The kinds do not compare.
    """
    if isinstance(mine, float) and math.isnan(mine):
        return False
    try:
        mine, other = _alike(op, mine, other, written)
        if compare is not None:
            decision = compare(name, op, mine, other)
            if decision is not None:
                return decision
        if op == "~":
            return fnmatchcase(str(mine), str(other))
        return _decide(op, mine, other)
    except _Mismatch:
        if name.startswith(("phu.", "hdr.")):
            return op == "!="
        shown = printable(written if written is not None else str(other))
        raise RequestError(
            f"`{name}` ({_shown(mine)}) cannot be compared with `{shown}`",
            f"the first is {_kind(mine)}, the second is not",
            _ADVICE.get(_kind(mine), "compare it with a value of its own kind"),
        ) from None


_ADVICE = {
    "a number": "write a number without unit",
    "a date": "write it as 2020-01-07, or compare `ut_datetime`",
    "a time": "write it as 13:00:00, or compare `ut_datetime`",
    "a date and time": "write it as '2020-01-07 13:00:00'",
    "a list": "compare it with a list, as in [1, 2]",
    "true or false": "write true or false",
}


def _kind(value: object) -> str:
    match value:
        case bool():
            return "true or false"
        case Real():
            return "a number"
        case datetime():
            return "a date and time"
        case date():
            return "a date"
        case time():
            return "a time"
        case list() | tuple() | set() | frozenset():
            return "a list"
    return "text"


def _shown(value: object) -> str:
    if isinstance(value, date | time):
        return value.isoformat()
    return printable(str(value))


def _alike(op: str, mine: object, other: object, written: str | None) -> tuple[object, object]:
    """Return both values, the second brought to the kind of the first where that can be done."""
    kind = _kind(mine)
    if op == "~":
        if kind == "a list":
            raise _Mismatch
        return mine, written if written is not None else other
    if kind == "a number":
        if isinstance(other, str):
            other = read_number(other)
        if other is None or _kind(other) != "a number":
            raise _Mismatch
        return mine, other
    if isinstance(mine, date | time):
        return _alike_in_time(mine, other, written)
    if kind == "a list":
        other = list(other) if isinstance(other, list | tuple) else [other]
        return list(mine), other  # type: ignore[call-overload]
    if kind == "true or false":
        if not isinstance(other, bool):
            raise _Mismatch
        return mine, other
    return _alike_as_text(op, str(mine), other, written)


def _alike_in_time(mine: Moment, other: object, written: str | None) -> tuple[object, object]:
    if not isinstance(other, date | time):
        text = other if isinstance(other, str) else written or ""
        compact = _COMPACT.fullmatch(text.strip())
        other = read_moment("-".join(compact.groups()) if compact else text)
    if isinstance(mine, datetime):
        if mine.tzinfo is not None:
            mine = mine.astimezone(UTC).replace(tzinfo=None)
        if isinstance(other, datetime):
            return mine, other
        if isinstance(other, date):
            return mine.date(), other
        raise _Mismatch
    if type(mine) is not type(other):
        raise _Mismatch
    return mine, other


def _alike_as_text(op: str, mine: str, other: object, written: str | None) -> tuple[object, object]:
    if isinstance(other, str):
        return mine, other
    if op in ("==", "!=") and written is not None and mine == written:
        return mine, written
    mine_read: object = None
    if _kind(other) == "a number":
        mine_read = read_number(mine)
    elif isinstance(other, date | time):
        mine_read = read_moment(mine)
        if type(mine_read) is not type(other):
            mine_read = None
    if mine_read is not None:
        return mine_read, other
    if op in ("==", "!="):
        return mine, written if written is not None else str(other)
    raise _Mismatch


def _decide(op: str, mine: Any, other: Any) -> bool:
    if isinstance(mine, list):
        if op not in ("==", "!="):
            raise _Mismatch
        same = len(mine) == len(other) and all(map(operator.eq, mine, other))
        return same is (op == "==")
    return bool(_OPERATORS[op](mine, other))
