"""Look-up and storing of calibrations, over all databases of a configuration.

`Calibrations.search` answers "which calibration does this frame get, and why not that one?";
`find` turns a missing answer into an error that shows the same table
(spec: instrument, sections 5.2 and 5.3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

from f2yaml.interpreter.association import (
    CALTYPES,
    Keys,
    Verdict,
    describe_gap,
    judge,
    keys_of,
    preference,
    time_apart,
)
from f2yaml.interpreter.caldb import (
    CalibrationDatabase,
    Entry,
    State,
    read_product,
    register,
)
from f2yaml.interpreter.config import Configuration, DatabaseChoice
from f2yaml.interpreter.errors import FrameMismatch, MissingCalibration, RequestError
from f2yaml.interpreter.headers import Headers
from f2yaml.schema.problems import did_you_mean

#: Folder, below the working one, that keeps processed calibrations.
CACHE: Final = "calibrations"

_USER_CRITERIA: Final = ("instrument", "exposure_time", "filter_name", "array_shape")
_TITLES: Final = ("criterion", "frame", "calibration", "rule", "result")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A calibration of the wanted type, with what each criterion says of it."""

    entry: Entry
    database: Path
    verdicts: tuple[Verdict, ...]
    apart: timedelta | None

    @property
    def fits(self) -> bool:
        """Whether every criterion is met."""
        return all(verdict.passed for verdict in self.verdicts)

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the criteria that are not met."""
        return tuple(verdict.criterion for verdict in self.verdicts if not verdict.passed)


@dataclass(frozen=True, slots=True)
class Search:
    """Answer to one look-up: every candidate, best first, and the one that is taken."""

    frame: str
    caltype: str
    databases: tuple[Path, ...]
    candidates: tuple[Candidate, ...]

    @property
    def chosen(self) -> Candidate | None:
        """The calibration the frame gets; None when no candidate fits."""
        first = self.candidates[0] if self.candidates else None
        return first if first is not None and first.fits else None

    def headline(self) -> str:
        """Return one line: what was looked for, and the answer."""
        start = f"{self.caltype} for {self.frame}: "
        if self.chosen is not None:
            gap = describe_gap(self.chosen.apart)
            return f"{start}{self.chosen.entry.name}{', ' if gap else ''}{gap}"
        if not self.candidates:
            return f"{start}none, {_places(self.databases)} no {self.caltype}"
        return f"{start}none of {_count(len(self.candidates), 'candidate')} fits"

    def table(self, *, failed_only: bool = False) -> str:
        """Return the candidates and their criteria with both values, as aligned text.

        With `failed_only` the criteria that are met are left out.
        """
        rows: list[tuple[str, ...]] = [_TITLES]
        for candidate in self.candidates:
            rows += [_row(v) for v in candidate.verdicts if not (failed_only and v.passed)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = [_line(rows[0], widths)]
        for candidate in self.candidates:
            lines.append(f"{candidate.entry.name} ({candidate.entry.path.parent}): "
                         f"{self.standing(candidate)}")  # fmt: skip
            lines += [
                _line(_row(v), widths) for v in candidate.verdicts if not (failed_only and v.passed)
            ]
        return "\n".join(lines)

    def as_data(self) -> dict[str, object]:
        """Return the answer as plain values, for JSON."""
        return {
            "frame": self.frame,
            "type": self.caltype,
            "databases": [str(path) for path in self.databases],
            "chosen": None if self.chosen is None else str(self.chosen.entry.path),
            "candidates": [
                {
                    "name": candidate.entry.name,
                    "path": str(candidate.entry.path),
                    "database": str(candidate.database),
                    "standing": self.standing(candidate),
                    "days": _days(candidate.apart),
                    "criteria": [
                        {
                            "criterion": verdict.criterion,
                            "passed": verdict.passed,
                            "frame": verdict.frame_value,
                            "calibration": verdict.candidate_value,
                            "rule": verdict.rule,
                        }
                        for verdict in candidate.verdicts
                    ],
                }
                for candidate in self.candidates
            ],
        }

    def standing(self, candidate: Candidate) -> str:
        """Return whether a candidate is chosen, fits without being preferred, or is rejected."""
        if candidate is self.chosen:
            return "chosen"
        return "fits, not preferred" if candidate.fits else "rejected"


@dataclass(frozen=True, slots=True)
class Found:
    """A calibration for a frame.

    `entry` is what the database holds, None for a file named by the user; `age_days` is the time
    between frame and calibration without sign, None if either time is unknown; `why` is one line
    for plans and reports.
    """

    path: Path
    entry: Entry | None
    age_days: float | None
    why: str


@dataclass(frozen=True, slots=True)
class Calibrations:
    """The databases of a configuration, and the folder that products are kept in.

    Parameters
    ----------
    configuration : Configuration
    cwd : Path
        Working folder; the cache is `calibrations/` in it.
    mode : str
        Mode of the reduction: sq, ql or qa.
    """

    configuration: Configuration
    cwd: Path
    mode: str = "sq"
    #: What databases were found to hold, by file and type: all frames of a run ask the same.
    _known: dict[tuple[Path, str], list[Entry]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @classmethod
    def from_config(
        cls, config: Configuration | None, cwd: Path, *, mode: str = "sq"
    ) -> Calibrations:
        """Return the service for a configuration, or for the built-in default without one."""
        return cls(config or Configuration.built_in(cwd), cwd, mode)

    @property
    def storing(self) -> tuple[DatabaseChoice, ...]:
        """The databases that new calibrations are entered in."""
        return tuple(choice for choice in self.configuration.databases if choice.store)

    def cache_path(self, caltype: str, name: str) -> Path:
        """Return where a new processed calibration of this name is kept."""
        return self.cwd / CACHE / caltype / name

    def check(self, *, storing: bool = False) -> None:
        """Open every database, so that a bad one stops the run before any work.

        Raises
        ------
        CalibrationDatabaseError
            A database is missing, damaged, foreign or locked, or read-only although `storing`.
        """
        for choice in self.configuration.databases:
            if choice.built_in and not choice.path.exists():
                continue
            database = CalibrationDatabase.open(choice.path)
            if storing and choice.store:
                database.require_writable()

    def search(self, headers: Headers, caltype: str) -> Search:
        """Judge every calibration of a type for one frame.

        The first database with a fitting calibration answers; within it the nearest in time is
        taken, then the best mode, then the latest entry. A file that is missing or altered fails
        the criterion `file`, so that the next best one is taken.
        """
        _require_type(caltype)
        frame = keys_of(headers)
        ranked: list[Candidate] = []
        seen: set[Path] = set()
        asked: list[Path] = []
        for choice in self.configuration.databases:
            if not choice.get:
                continue
            asked.append(choice.path)
            if choice.built_in and not choice.path.exists():
                continue
            key = choice.path, caltype
            if key not in self._known:
                self._known[key] = CalibrationDatabase.open(choice.path).candidates(caltype)
            fresh = [entry for entry in self._known[key] if entry.path not in seen]
            seen.update(entry.path for entry in fresh)
            fresh.sort(key=lambda entry: preference(frame, entry.keys))
            ranked += [self._candidate(frame, e, choice.path) for e in fresh]
        ranked.sort(key=lambda candidate: len(candidate.failed))
        return Search(headers.filename, caltype, tuple(asked), tuple(ranked))

    def find(
        self, headers: Headers, caltype: str, *, user: Mapping[str, Path] | None = None
    ) -> Found:
        """Return the calibration of a type for one frame.

        Parameters
        ----------
        headers : Headers
            Headers of the frame to calibrate.
        caltype : str
            `processed_dark`, `processed_flat` or `processed_bpm`.
        user : mapping of str to Path, optional
            Files named by the user; they go before every database.

        Raises
        ------
        MissingCalibration
            None fits; the message shows each candidate and the criteria it failed.
        RequestError, FrameMismatch
            The file named by the user is not such a calibration, or is of another exposure time,
            filter or size.
        CalibrationDatabaseError
            A database cannot be used.
        """
        if user and caltype in user:
            return check_user_cal(user[caltype], caltype, headers)
        search = self.search(headers, caltype)
        chosen = search.chosen
        if chosen is None:
            raise missing(search)
        fitting = sum(candidate.fits for candidate in search.candidates)
        gap = describe_gap(chosen.apart)
        rank = "only one that fits" if fitting == 1 else f"nearest in time of {fitting} that fit"
        return Found(
            path=chosen.entry.path,
            entry=chosen.entry,
            age_days=_days(chosen.apart),
            why=f"{rank}, {gap}, from {chosen.database}",
        )

    def store(self, path: Path, caltype: str) -> tuple[Path, ...]:
        """Register a product in every `store` database and return these databases.

        The file stays where it is: there is one copy of each product (see `cache_path`).

        Raises
        ------
        RequestError
            The file is not a processed calibration of type `caltype`.
        BadInput, NotSupported
            The file cannot be read, or is no calibration at all.
        CalibrationDatabaseError
            A database cannot be written.
        """
        _require_type(caltype)

        def check(entry: Entry) -> None:
            if entry.type != caltype:
                raise _wrong_type(path, caltype, entry.type)

        self._known.clear()
        opened = [
            (CalibrationDatabase.create if c.built_in else CalibrationDatabase.open)(c.path)
            for c in self.storing
        ]
        register(path, opened, origin="f2yaml run", check=check)
        return tuple(choice.path for choice in self.storing)

    def _candidate(self, frame: Keys, entry: Entry, database: Path) -> Candidate:
        verdicts = judge(frame, entry.keys, entry.type, mode=self.mode)
        # Contents are compared only where the answer matters: a checksum reads the whole file.
        state: State
        if all(verdict.passed for verdict in verdicts):
            state = entry.state()
        else:
            state = "present" if entry.path.exists() else "missing"
        verdicts.append(Verdict("file", state == "present", "-", state, "present, unaltered"))
        return Candidate(entry, database, tuple(verdicts), time_apart(frame, entry.keys))


def missing(search: Search) -> MissingCalibration:
    """Return the error for a look-up without an answer, with the table of what was rejected."""
    word = search.caltype.removeprefix("processed_")
    places = _places(search.databases)
    if search.candidates:
        why = f"{places} {_count(len(search.candidates), 'candidate')}; what each fails:\n"
        why += "\n".join(" " * 8 + line for line in search.table(failed_only=True).splitlines())
    else:
        why = f"{places} no {search.caltype}"
    return MissingCalibration(
        f"no {search.caltype} fits {search.frame}",
        why,
        f"reduce a {word} that fits (`f2yaml run` on its raw frames), register one with "
        f"`f2yaml caldb add FILE`, or name one: --user-cal {search.caltype}:FILE",
    )


def check_user_cal(path: Path, caltype: str, headers: Headers | None = None) -> Found:
    """Return a calibration that the user names, if it can be one for this frame.

    Only what would make the result wrong is compared: instrument, size of the array, exposure
    time of a dark, filter of a flat. Age, read mode and quality are the user's decision.

    Parameters
    ----------
    path : Path
    caltype : str
    headers : Headers, optional
        Headers of the frame; without them only the kind of the file is checked.

    Raises
    ------
    RequestError
        No such file, or not a processed calibration of that type. A bad-pixel mask made from
        flats is no flat.
    FrameMismatch
        It is a calibration of that type for other frames.
    BadInput
        The file cannot be read.
    """
    _require_type(caltype)
    if not path.is_file():
        raise RequestError(
            f"--user-cal {caltype}:{path}: there is no such file",
            "it was to be used instead of the calibration database",
            "check the path",
        )
    entry = read_product(path, origin="--user-cal", force=True)
    if entry.type != caltype:
        raise _wrong_type(path, caltype, entry.type)
    if headers is None:
        return Found(path, None, None, "named by the user")
    frame = keys_of(headers)
    verdicts = [v for v in judge(frame, entry.keys, caltype) if v.criterion in _USER_CRITERIA]
    failed = [v for v in verdicts if not v.passed]
    if failed:
        raise FrameMismatch(
            f"{path.name} does not fit {headers.filename}",
            "; ".join(
                f"{v.criterion} is {v.candidate_value}, the frame's {v.frame_value} ({v.rule})"
                for v in failed
            ),
            f"give a {caltype} that fits, or leave --user-cal out to search the database",
        )
    apart = time_apart(frame, entry.keys)
    return Found(path, None, _days(apart), f"named by the user, {describe_gap(apart)}".rstrip(", "))


def user_calibrations(words: Iterable[str], cwd: Path) -> dict[str, Path]:
    """Return the mapping that `find` takes from words of the form ``TYPE:FILE``.

    Raises
    ------
    RequestError
        A word has no type, an unknown one, or one that was given before.
    """
    chosen: dict[str, Path] = {}
    for word in words:
        caltype, colon, name = word.partition(":")
        if not colon or not name:
            raise RequestError(
                f"--user-cal {word} has no type",
                "the type says which step the file is for",
                f"write it as TYPE:FILE; types are {', '.join(CALTYPES)}",
            )
        _require_type(caltype)
        if caltype in chosen:
            raise RequestError(
                f"--user-cal names two files for {caltype}: {chosen[caltype]} and {name}",
                "only one can be used",
                "leave one of them out",
            )
        chosen[caltype] = cwd / Path(name).expanduser()
    return chosen


def _require_type(caltype: str) -> None:
    if caltype not in CALTYPES:
        raise RequestError(
            f"unknown calibration type `{caltype}`",
            "there are no rules for it",
            did_you_mean(caltype, CALTYPES) or f"types are {', '.join(CALTYPES)}",
        )


def _wrong_type(path: Path, wanted: str, found: str) -> RequestError:
    kind = f"a {found}" if found in CALTYPES else "no processed calibration"
    return RequestError(
        f"{path} is {kind}, not a {wanted}",
        "its type is taken from its tags, bad-pixel masks first",
        f"give a {wanted}",
    )


def _places(databases: Sequence[Path]) -> str:
    names = ", ".join(str(path) for path in databases)
    if not names:
        return "no database is open for look-up, so there is"
    return f"{names} {'hold' if len(databases) > 1 else 'holds'}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _days(apart: timedelta | None) -> float | None:
    return None if apart is None else abs(apart) / timedelta(days=1)


def _row(verdict: Verdict) -> tuple[str, ...]:
    result = "ok" if verdict.passed else "FAILED"
    if verdict.note:
        result += f": {verdict.note}"
    return (
        verdict.criterion, verdict.frame_value, verdict.candidate_value, verdict.rule, result
    )  # fmt: skip


def _line(row: tuple[str, ...], widths: Sequence[int]) -> str:
    return (
        "  "
        + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
    )
