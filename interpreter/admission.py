"""Which of the files that are named take part in a run; what is wrong with the others.

Headers and sizes are read, and a few rows of pixels: enough to know, before any work, of files
that cannot be read, are not what f2yaml reduces, or hold no picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from f2yaml.interpreter.errors import BadInput, F2Error, Problem, RequestError
from f2yaml.interpreter.f2.tags import is_prepared, refuse_or_warn
from f2yaml.interpreter.fits import check_layout, raw_rows, read_frame
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.headerio import is_packed
from f2yaml.interpreter.pixels import Array, Pixels
from f2yaml.interpreter.sources import unread_frame

#: Rows that are looked at first; only if they are all alike, the others are as well.
_PROBES = 8
#: How far clocks and time zones may differ.
_AHEAD = timedelta(days=2)
#: Share of saturated pixels from which on a frame is of no use.
_MOST_SATURATED = 0.9


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is left out, and what is wrong with it."""

    file: str
    what: str
    why: str

    def __str__(self) -> str:
        reason = f" ({self.why})" if self.why else ""
        return f"{self.file} is left out: {self.what}{reason}"


def admitted(
    paths: Sequence[Path], jobs: int, *, skip_bad: bool = False
) -> tuple[list[Frame], list[Skipped]]:
    """Return the frames of files with headers only, and the files that are left out.

    Parameters
    ----------
    paths : sequence of Path
    jobs : int
        Files looked at at once.
    skip_bad : bool
        Leave bad files out. What could be known of them only later is looked for as well: what
        is wrong inside compressed files, and headers that no recipe could reduce.

    Raises
    ------
    F2Error
        Every bad file is named, unless they are to be left out; names clash; no file is left.
    """

    def attempt(path: Path) -> Frame | F2Error:
        try:
            return _admit(path.absolute(), thorough=skip_bad)
        except F2Error as error:
            return error

    with ThreadPoolExecutor(jobs) as pool:
        found = list(pool.map(attempt, paths))
    errors = [item for item in found if isinstance(item, F2Error)]
    if errors and not skip_bad:
        raise type(errors[0])(problems=[p for error in errors for p in error.problems])
    skipped = [
        left_out(path.name, item.problems, path)
        for path, item in zip(paths, found, strict=True)
        if isinstance(item, F2Error)
    ]
    good = [(p, f) for p, f in zip(paths, found, strict=True) if isinstance(f, Frame)]
    if not good:
        raise nothing_left(skipped)
    roots: dict[str, Path] = {}
    for path, frame in good:
        if frame.root in roots:
            raise RequestError(
                f"{path} and {roots[frame.root]} are the same exposure ({frame.root})",
                "it would count twice, and the products of one would overwrite the other's",
                "take one of them out of the list",
            )
        roots[frame.root] = path
    again = doubled(good)
    if again and not skip_bad:
        raise BadInput(problems=again.values())
    skipped += [left_out(path.name, [problem]) for path, problem in again.items()]
    return [frame for path, frame in good if path not in again], skipped


def doubled(given: Sequence[tuple[Path, Frame]]) -> dict[Path, Problem]:
    """Return the files that are an exposure which another file before them is, by their headers."""
    first: dict[tuple[str, ...], Path] = {}
    found = {}
    for path, frame in given:
        label = str(frame.phu.get("DATALAB", ""))
        key = (label, str(frame.describe("ut_datetime")), str(frame.phu.get("OBSTYPE", "")))
        before = first.setdefault(key, path)
        if label and before is not path and not is_prepared(frame.phu):
            found[path] = Problem(
                f"{path} is the exposure that {before} is: DATALAB {label}, {key[1]}",
                "it would count twice",
                "take one of them out of the list",
            )
    return found


def left_out(name: str, problems: Sequence[Problem], path: Path | None = None) -> Skipped:
    """Return the record of a file that is left out, without folders: they differ from run to run.

    Of several things that are wrong with it, the first is told.
    """
    what, why = problems[0].what, problems[0].why.partition("\n")[0]
    if path is not None:
        what, why = (t.replace(f"{path.absolute().parent}/", "") for t in (what, why))
    return Skipped(name, what.removeprefix(f"{name} "), why)


def nothing_left(skipped: Sequence[Skipped]) -> BadInput:
    """Return the error for a list of which every file is bad."""
    return BadInput(
        problems=[
            Problem(
                f"{item.file}: {item.what}",
                f"{item.why + '; ' if item.why else ''}no input is left",
                "give at least one sound frame",
            )
            for item in skipped
        ]
    )


def _admit(path: Path, *, thorough: bool) -> Frame:
    """Return the frame of one file with its headers only.

    Raises
    ------
    F2Error
        It cannot be read, or is none that f2yaml reduces.
    """
    frame = unread_frame(path)
    check_layout(path, frame.headers)
    refuse_or_warn(frame.headers)  # what is merely odd, `prepare` notes
    _check_identity(frame)
    if thorough and not is_prepared(frame.phu):
        from f2yaml.interpreter.primitives.standardize import check_header

        check_header(frame)
    if thorough:
        whole = read_frame(path).pixels
        _check_pixels(frame.name, whole.shape[0], lambda y: whole.rows(y, y + 1).data)
        if not is_prepared(frame.phu):
            _check_saturation(frame, whole)
    elif not is_packed(path) and not is_prepared(frame.phu):
        with raw_rows(path, frame.headers) as row:
            if row is not None:
                _check_pixels(frame.name, int(frame.sci["NAXIS2"]), row)
    return frame


def _check_identity(frame: Frame) -> None:
    """Refuse frames that the headers of products could not name, or place in time."""
    if not frame.name.isascii():
        raise BadInput(
            f"the name {frame.name} holds letters beyond ASCII",
            "the headers of its products name it, and they are ASCII",
            "rename it",
        )
    begun = frame.describe("ut_datetime")
    if begun is not None and begun > datetime.now() + _AHEAD:
        raise BadInput(
            f"{frame.name} was exposed in the future: {begun:%Y-%m-%d %H:%M:%S} UT",
            "calibrations and sky frames go by date and time",
            "repair DATE-OBS and UT, or set the clock of this machine",
        )
    if begun is None:
        raise BadInput(
            f"{frame.name} has no usable date and time: DATE-OBS is "
            f"{frame.phu.get('DATE-OBS', 'missing')}, UT {frame.phu.get('UT', 'missing')}",
            "calibrations, sky frames and the meaning of LNRS go by them",
            "repair DATE-OBS and UT, or take the file out of the list",
        )


def _check_pixels(name: str, ny: int, row: Callable[[int], Array]) -> None:
    """Raise `BadInput` if a frame holds no picture: one value all over, or no number at all.

    A few rows tell of nearly every frame that it does hold one.
    """
    probes = sorted({round(y) for y in np.linspace(0, ny - 1, min(ny, _PROBES))})
    low, high = np.inf, -np.inf
    for y in (*probes, *range(ny)):
        data = row(y)
        finite = data[np.isfinite(data)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
        if low < high:
            return
    if low > high:
        what, why = "has no pixel that is a number", "there is nothing to reduce"
    else:
        what = f"has the value {low:g} in every pixel"
        why = "no detector reads so; as one of several it would spoil their mean"
    raise BadInput(f"{name} {what}", why, "take it out of the list")


def _check_saturation(frame: Frame, pixels: Pixels) -> None:
    """Raise `BadInput` if hardly a pixel of a raw frame is below saturation."""
    level = frame.describe("saturation_level")[0]
    ny = frame.shape[0]
    rows = [pixels.rows(y, y + 1).data for y in range(0, ny, max(1, ny // 64))]
    share = float((np.concatenate(rows) >= level).mean())
    if share > _MOST_SATURATED:
        raise BadInput(
            f"{frame.name} is saturated in {100 * share:.0f} % of its pixels",
            "what is left tells nothing of its sky",
            "take it out of the list",
        )
