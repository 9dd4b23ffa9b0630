"""What a step needs beside its frames: calibrations of the database, or files the user names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from f2yaml.interpreter.allowing import Allowed
from f2yaml.interpreter.errors import F2Error, MissingCalibration, Problem, RequestError
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.homes import at_home
from f2yaml.interpreter.leftovers import Identity, identity
from f2yaml.interpreter.plan import Provided
from f2yaml.interpreter.pointing import repaired
from f2yaml.interpreter.refcat import check_catalogue
from f2yaml.interpreter.registry import AnyPrimitive, Group, Params

if TYPE_CHECKING:
    from f2yaml.interpreter.calibrations import Calibrations


@dataclass(frozen=True, slots=True)
class Kind:
    """How a resource is found.

    Parameters
    ----------
    caltype : str
        Calibration type in the database; empty for files that only the user can name.
    parameter : str
        Parameter that names a file instead.
    required : bool
    """

    caltype: str
    parameter: str
    required: bool


#: Every resource that a primitive may ask for by a keyword-only argument of this name.
KINDS: Mapping[str, Kind] = {
    "dark": Kind("processed_dark", "dark", required=True),
    "flat": Kind("processed_flat", "flat", required=True),
    "bpm": Kind("processed_bpm", "static_bpm", required=False),
    "user_bpm": Kind("", "user_bpm", required=False),
    "illum_mask": Kind("", "illum_mask", required=False),
    "refcat": Kind("", "source", required=False),
}
#: Those that are tables; all others are frames.
TABLES = frozenset({"refcat"})
FROM_RUNNER = frozenset({"engine", "mode", "allows"})
#: Those that follow from the headers of all inputs: (frames, params) -> value by root.
DERIVED: Mapping[str, Callable[[Sequence[Frame], Any], Mapping[str, Any]]] = {
    "pointing": lambda frames, params: repaired(
        frames, params.bad_wcs, params.limit_arcsec, params.relative_limit_arcsec
    ),
}


def derive(
    primitive: AnyPrimitive, params: Params, frames: Sequence[Frame]
) -> dict[str, Mapping[str, Any]]:
    """Return the resources of a step that follow from the headers of all inputs."""
    return {n: DERIVED[n](frames, params) for n in primitive.resources if n in DERIVED}


@dataclass
class Finder:
    """Finds resources for the frames of a run, before any pixel is read.

    Parameters
    ----------
    calibrations : Calibrations
    user : mapping of str to Path
        Files named with ``--user-cal``.
    mode : str
        sq, ql or qa; what a missing calibration means depends on it.
    allows : frozenset of str
        Checks that the user sets aside; `allowed` is what that was needed for.
    """

    calibrations: Calibrations
    user: Mapping[str, Path]
    mode: str = "sq"
    allows: frozenset[str] = frozenset()
    _allowed: dict[tuple[str, str], list[Allowed]] = field(default_factory=dict)
    _cache: dict[tuple[str, str], Any] = field(default_factory=dict)

    @property
    def allowed(self) -> tuple[Allowed, ...]:
        """Return each check that failed and was set aside, once for a calibration."""
        return tuple(
            replace(first, text=f"{first.text}; so for {len(more)} other frames") if more else first
            for first, *more in self._allowed.values()
        )

    def provide(
        self, primitive: AnyPrimitive, params: Params, frames: Sequence[Frame]
    ) -> tuple[dict[str, Provided], list[Problem]]:
        """Return the resources of a step, and what is missing."""
        found: dict[str, Provided] = {}
        problems: list[Problem] = []
        if getattr(params, "do_cal", "procmode") == "skip":
            return found, problems
        wanted = frames
        if isinstance(primitive, Group) and primitive.wants is not None:
            wanted = primitive.wants(frames)
        for name in primitive.resources:
            if name in FROM_RUNNER or name in DERIVED:
                continue
            provided, missing = self._one(name, params, wanted)
            problems += missing
            if provided is not None and provided.by_root:
                found[name] = provided
        return found, problems

    def _one(
        self, name: str, params: Params, frames: Sequence[Frame]
    ) -> tuple[Provided | None, list[Problem]]:
        kind = KINDS[name]
        named = getattr(params, kind.parameter, None)
        if isinstance(named, str) and named != "default":
            path = at_home(named)
            if not path.is_file():
                raise RequestError(
                    f"{kind.parameter} names {path}, which is not a file",
                    "it was asked for explicitly, so the step cannot do without it",
                    "check the path",
                )
            if name in TABLES:
                check_catalogue(path, frames, getattr(params, "magnitude", None))
            elif kind.required:
                self._check_named(path, kind, params, frames)
            roots = {frame.root: path.absolute() for frame in frames}
            why = {frame.root: f"named by parameter {kind.parameter}" for frame in frames}
            return Provided(kind.caltype or "file", roots, why, _identities(roots)), []
        if not kind.caltype or (kind.parameter == "static_bpm" and named is None):
            return None, []
        return self._from_database(kind, frames)

    def _check_named(self, path: Path, kind: Kind, params: Params, frames: Sequence[Frame]) -> None:
        """Hold a calibration that a parameter names against the rules, frame by frame.

        Exposure times are left to a step that has a tolerance of its own.
        """
        but = ("exposure_time",) if hasattr(params, "exptime_tolerance") else ()
        for frame in frames:
            found = self.calibrations.named(
                path, kind.caltype, frame.headers, kind.parameter, but=but
            )
            self._note(found.allowed)

    def _note(self, allowed: Sequence[Allowed]) -> None:
        for item in allowed:
            known = self._allowed.setdefault((item.check, item.file), [])
            if item not in known:
                known.append(item)

    def _from_database(
        self, kind: Kind, frames: Sequence[Frame]
    ) -> tuple[Provided | None, list[Problem]]:
        by_root: dict[str, Path] = {}
        why: dict[str, str] = {}
        problems: list[Problem] = []
        for frame in frames:
            key = (kind.caltype, frame.root)
            if key not in self._cache:
                try:
                    self._cache[key] = self.calibrations.find(
                        frame.headers, kind.caltype, user=self.user
                    )
                except MissingCalibration as error:
                    self._cache[key] = error
            answer = self._cache[key]
            if isinstance(answer, F2Error):
                if kind.required:
                    problems += answer.problems
                continue
            self._note(answer.allowed)
            by_root[frame.root] = answer.path
            why[frame.root] = answer.why
        return Provided(kind.caltype, by_root, why, _identities(by_root)), problems


def _identities(by_root: Mapping[str, Path]) -> dict[Path, Identity | None]:
    return {path: identity(path) for path in set(by_root.values())}


def merged(problems: Sequence[Problem], frames: int) -> list[Problem]:
    """Return one problem for each kind of missing calibration, though many frames lack it."""
    first: dict[str, Problem] = {}
    counts: dict[str, int] = {}
    for problem in problems:
        kind = problem.what.partition(" fits ")[0]
        first.setdefault(kind, problem)
        counts[kind] = counts.get(kind, 0) + 1
    made = []
    for kind, problem in first.items():
        more = counts[kind] - 1
        what = problem.what + (f" (nor {more} other frames)" if more else "")
        made.append(Problem(what, problem.why, problem.fix, problem.where))
    return made
