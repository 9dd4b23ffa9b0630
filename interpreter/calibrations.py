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

from f2yaml.interpreter.allowing import Allowed, check_behind, way_out
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
from f2yaml.interpreter.homes import at_home
from f2yaml.schema.problems import did_you_mean

#: Folder, below the working one, that keeps processed calibrations.
CACHE: Final = "calibrations"

_TITLES: Final = ("criterion", "frame", "calibration", "rule", "result")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A calibration of the wanted type, with what each criterion says of it.

    `allows` names the checks that the user sets aside.
    """

    entry: Entry
    database: Path
    verdicts: tuple[Verdict, ...]
    apart: timedelta | None
    allows: frozenset[str] = frozenset()

    @property
    def fits(self) -> bool:
        """Whether every criterion is met, or set aside."""
        return not _refused(self.verdicts, self.allows)

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the criteria that are not met."""
        return tuple(verdict.criterion for verdict in self.verdicts if not verdict.passed)

    @property
    def rank(self) -> tuple[int, int]:
        """Sort key: how many failed criteria count, then how many there are."""
        return len(_refused(self.verdicts, self.allows)), len(self.failed)


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
    for plans and reports; `allowed` are the checks that failed and were set aside.
    """

    path: Path
    entry: Entry | None
    age_days: float | None
    why: str
    allowed: tuple[Allowed, ...] = ()


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
    allows : frozenset of str
        Checks that the user sets aside (`f2yaml.interpreter.allowing`).
    """

    configuration: Configuration
    cwd: Path
    mode: str = "sq"
    allows: frozenset[str] = frozenset()
    #: What databases were found to hold, by file and type: all frames of a run ask the same.
    _known: dict[tuple[Path, str], list[Entry]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @classmethod
    def from_config(
        cls,
        config: Configuration | None,
        cwd: Path,
        *,
        mode: str = "sq",
        allows: frozenset[str] = frozenset(),
    ) -> Calibrations:
        """Return the service for a configuration, or for the built-in default without one."""
        return cls(config or Configuration.built_in(cwd), cwd, mode, allows)

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
        ranked.sort(key=lambda candidate: candidate.rank)
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
            return self.named(user[caltype], caltype, headers)
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
            allowed=_set_aside(chosen.entry.name, headers.filename, chosen.verdicts),
        )

    def named(
        self,
        path: Path,
        caltype: str,
        headers: Headers,
        by: str = "--user-cal",
        *,
        but: tuple[str, ...] = (),
    ) -> Found:
        """Return a calibration that the user names, in the ways of `check_user_cal`.

        Parameters
        ----------
        path, caltype, headers, but
            As there.
        by : str
            How it is named, for messages.
        """
        return check_user_cal(
            path, caltype, headers, named=by, mode=self.mode, allows=self.allows, but=but
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
        if not _refused(verdicts, self.allows):
            state = entry.state()
        else:
            state = "present" if entry.path.exists() else "missing"
        verdicts.append(Verdict("file", state == "present", "-", state, "present, unaltered"))
        apart = time_apart(frame, entry.keys)
        return Candidate(entry, database, tuple(verdicts), apart, self.allows)


def missing(search: Search) -> MissingCalibration:
    """Return the error for a look-up without an answer, with the table of what was rejected."""
    word = search.caltype.removeprefix("processed_")
    places = _places(search.databases)
    if search.candidates:
        why = f"{places} {_count(len(search.candidates), 'candidate')}; what each fails:\n"
        why += "\n".join(" " * 8 + line for line in search.table(failed_only=True).splitlines())
    else:
        why = f"{places} no {search.caltype}"
    nearest = way_out(search.candidates[0].failed) if search.candidates else ""
    return MissingCalibration(
        f"no {search.caltype} fits {search.frame}",
        why,
        f"reduce a {word} that fits (`f2yaml run` on its raw frames), register one with "
        f"`f2yaml caldb add FILE`, or name one: --user-cal {search.caltype}:FILE"
        + (f"; {nearest} would take {search.candidates[0].entry.name}" if nearest else ""),
    )


def check_user_cal(
    path: Path,
    caltype: str,
    headers: Headers | None = None,
    *,
    named: str = "--user-cal",
    mode: str = "sq",
    allows: frozenset[str] = frozenset(),
    but: tuple[str, ...] = (),
) -> Found:
    """Return a calibration that the user names, if it fits this frame as the rules want it.

    Parameters
    ----------
    path : Path
    caltype : str
    headers : Headers, optional
        Headers of the frame; without them only the kind of the file is checked.
    named : str
        How it was named, for messages.
    mode : str
        Mode of the reduction: sq, ql or qa.
    allows : frozenset of str
        Checks that the user sets aside.
    but : tuple of str
        Criteria that are left to others.

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
            f"{named} {caltype}:{path}: there is no such file",
            "it was to be used instead of the calibration database",
            "check the path",
        )
    entry = read_product(path, origin=named, force=True)
    if entry.type != caltype:
        raise _wrong_type(path, caltype, entry.type)
    if headers is None:
        return Found(path, None, None, "named by the user")
    frame = keys_of(headers)
    verdicts = [v for v in judge(frame, entry.keys, caltype, mode=mode) if v.criterion not in but]
    failed = _refused(verdicts, allows)
    if failed:
        way = way_out(v.criterion for v in failed)
        raise FrameMismatch(
            f"{path.name} does not fit {headers.filename}",
            "; ".join(map(_contrast, failed)),
            f"give a {caltype} that fits, or leave {named} out to search the database"
            + (f"; to use it all the same, say so: {way}" if way else ""),
        )
    apart = time_apart(frame, entry.keys)
    why = f"named by the user, {describe_gap(apart)}".rstrip(", ")
    allowed = _set_aside(path.name, headers.filename, verdicts)
    return Found(path, None, _days(apart), why, allowed)


def _refused(verdicts: Iterable[Verdict], allows: frozenset[str]) -> list[Verdict]:
    """Return the verdicts that count against a calibration."""
    return [v for v in verdicts if not v.passed and check_behind(v.criterion) not in allows]


def _contrast(verdict: Verdict) -> str:
    rule = f"{verdict.rule}: {verdict.note}" if verdict.note else verdict.rule
    return (
        f"{verdict.criterion} is {verdict.candidate_value}, the frame's {verdict.frame_value} "
        f"({rule})"
    )


def _set_aside(file: str, frame: str, verdicts: Iterable[Verdict]) -> tuple[Allowed, ...]:
    """Return what is set aside of a calibration that is taken although it fails."""
    return tuple(
        Allowed(check, file, f"{file} is taken for {frame}, though {_contrast(verdict)}")
        for verdict in verdicts
        if not verdict.passed and (check := check_behind(verdict.criterion)) is not None
    )


def user_calibrations(words: Iterable[str], cwd: Path) -> dict[str, Path]:
    """Return the mapping that `find` takes from words of the form ``TYPE:FILE``.

    Raises
    ------
    RequestError
        A word has no type, an unknown one, or one that was given before; or it names no file.
    """
    chosen: dict[str, Path] = {}
    for word in words:
        caltype, colon, name = word.partition(":")
        if not colon or not caltype:
            raise RequestError(
                f"--user-cal {word} has no type",
                "the type says which step the file is for",
                f"write it as TYPE:FILE; types are {', '.join(CALTYPES)}",
            )
        _require_type(caltype)
        if not name:
            raise RequestError(
                f"--user-cal {word} names no file",
                f"the {caltype} to use is wanted after the colon",
                f"write it as {caltype}:FILE",
            )
        if caltype in chosen:
            raise RequestError(
                f"--user-cal names two files for {caltype}: {chosen[caltype]} and {name}",
                "only one can be used",
                "leave one of them out",
            )
        chosen[caltype] = cwd / at_home(name)
    return chosen


def _require_type(caltype: str) -> None:
    if caltype not in CALTYPES:
        raise RequestError(
            f"unknown calibration type `{caltype}`",
            "there are no rules for it",
            did_you_mean(caltype, CALTYPES) or f"types are {', '.join(CALTYPES)}",
        )


def _wrong_type(path: Path, wanted: str, found: str) -> RequestError:
    if found not in CALTYPES:
        return RequestError(
            f"{path} is no processed calibration; a {wanted} is wanted",
            "its type is taken from its tags, and those are of a raw frame, or of a frame "
            "that calibrates nothing",
            f"reduce raw frames first (`f2yaml run`), and give the {wanted} that this writes",
        )
    return RequestError(
        f"{path} is a {found}, not a {wanted}",
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
