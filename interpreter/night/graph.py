"""Which runs a night takes, and which of them need the products of which."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from f2yaml.interpreter.applies import unfit
from f2yaml.interpreter.association import Verdict, applicable, judge, keys_of, preference
from f2yaml.interpreter.calibrations import Calibrations
from f2yaml.interpreter.errors import F2Error
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.night.survey import Group, Kind, Survey, path_of
from f2yaml.interpreter.primitives.calibration import need_lamp_dark
from f2yaml.interpreter.primitives.sky import SeparateSky, separate_sky
from f2yaml.schema.compose import load_recipe

#: Calibrations that a frame cannot be reduced without.
_REQUIRED = ("processed_dark", "processed_flat")
#: Candidates that are named where none fits.
_SHOWN = 3
_MADE_BY: dict[Kind, str] = {"dark": "processed_dark", "flat": "processed_flat"}
_FOLDERS: dict[Kind, str] = {"dark": "darks", "flat": "flats"}


@dataclass(frozen=True)
class Job:
    """One run of a recipe.

    Parameters
    ----------
    name : str
        Of its group of frames; also of its list of inputs and its log.
    kind : str
    recipe : str
    inputs : tuple of Path
    needs : tuple of str
        Names of the jobs whose products it takes.
    uses : tuple of str
        Files of the calibration databases that it takes.
    missing : tuple of str
        Why it cannot be done; empty if it can.
    folder : str
        Of its products, below that of the night.
    values : dict
        What its frames have in common.
    settings : tuple of str
        Words of ``-p`` that its recipe takes.
    """

    name: str
    kind: Kind
    recipe: str
    inputs: tuple[Path, ...]
    needs: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    folder: str = ""
    values: dict[str, object] = field(default_factory=dict)
    settings: tuple[str, ...] = ()


@dataclass
class _Planner:
    """Finds for each group what calibrates it: products of other groups, or of the databases."""

    survey: Survey
    calibrations: Calibrations
    #: Names of products that jobs of this night have made before; jobs stand for them.
    own: frozenset[str]

    def raw_darks(self, flats: Group) -> list[Frame]:
        """Return the raw darks that K flats are combined with."""
        first = flats.frames[0]
        if not need_lamp_dark(flats.frames):
            return []
        return [
            frame
            for group in self.survey.of("dark")
            for frame in group.frames
            if abs(frame.exposure_time - first.exposure_time) <= 0.01
            and frame.describe("read_mode") == first.describe("read_mode")
            and frame.describe("coadds") == first.describe("coadds")
        ]

    def wanted(self, group: Group, frames: Sequence[Frame]) -> list[tuple[Frame, str]]:
        """Return which frames need which calibrations."""
        if group.kind == "dark":
            return []
        if group.kind == "flat":
            return [(frame, "processed_dark") for frame in need_lamp_dark(frames)]
        return [
            (frame, caltype)
            for frame in frames
            for caltype in applicable(frame.tags)
            if caltype in _REQUIRED
        ]

    def provided(self, group: Group, frames: Sequence[Frame]) -> Job:
        """Return the job of a group, with what it takes and what is missing."""
        needs: dict[str, None] = {}
        uses: dict[str, None] = {}
        missing: dict[str, list[str]] = {}
        for frame, caltype in self.wanted(group, frames):
            job, file, why = self.best(frame, caltype)
            if job:
                needs[job] = None
            elif file:
                uses[file] = None
            else:
                missing.setdefault(why, []).append(frame.name)
        return Job(
            group.name,
            group.kind,
            "",
            tuple(_paths(frames)),
            tuple(needs),
            tuple(uses),
            tuple(_reason(why, names, len(frames)) for why, names in missing.items()),
            _FOLDERS.get(group.kind) or self.folder(group),
            dict(group.values),
        )

    def folder(self, group: Group) -> str:
        """Return the folder of a target: its name, filter and exposure time, if that is enough."""
        names = [_target(other) for other in self.survey.of("science")]
        own = _target(group)
        return own if names.count(own) == 1 else f"{own}_{group.name}"

    def best(self, frame: Frame, caltype: str) -> tuple[str, str, str]:
        """Return the job, or the file of a database, that calibrates a frame, or why none does."""
        keys = frame.headers
        fitting: list[tuple[tuple[float, int], str, str]] = []
        failed: list[tuple[int, str]] = []
        for group in self.survey.groups:
            if _MADE_BY.get(group.kind) != caltype:
                continue
            verdicts = judge(keys, group.keys, caltype)
            if all(verdict.passed for verdict in verdicts):
                fitting.append((preference(_keys(frame), group.keys), group.name, ""))
            else:
                failed.append(_shortfall(group.name, verdicts))
        for candidate in self.calibrations.search(frame.headers, caltype).candidates:
            name = candidate.entry.name
            if name in self.own:
                continue
            if candidate.fits:
                fitting.append((preference(_keys(frame), candidate.entry.keys), "", name))
            else:
                failed.append(_shortfall(name, candidate.verdicts))
        if fitting:
            _, job, file = min(fitting)
            return job, file, ""
        kind = caltype.replace("_", " ")
        least = min(failed, default=(0, ""))[0]
        near = [words for number, words in failed if number == least][:_SHOWN]
        return "", "", f"no {kind} fits: {'; '.join(near) or 'there is none'}"


def graph(
    survey: Survey,
    calibrations: Calibrations,
    *,
    recipe: str | None = None,
    own: Iterable[str] = (),
) -> tuple[Job, ...]:
    """Return the runs of a night, those that others need first.

    Parameters
    ----------
    survey : Survey
    calibrations : Calibrations
        The databases of the night.
    recipe : str, optional
        For science frames; by default ultradeep for three or more frames that all show the target,
        else reduce.
    own : iterable of str
        Names of calibrations that runs of this night have made before.

    Returns
    -------
    tuple of Job
        Darks, then flats, then science. What cannot be done, and what depends on it, says why.
    """
    planner = _Planner(survey, calibrations, frozenset(own))
    jobs: list[Job] = []
    for kind in ("dark", "flat", "science"):
        for group in survey.groups:
            if group.kind != kind:
                continue
            frames = list(group.frames)
            if kind == "flat":
                frames += planner.raw_darks(group)
            job = planner.provided(group, frames)
            jobs.append(_recipe(job, frames, recipe))
    broken = {job.name for job in jobs if job.missing}
    done = []
    for job in jobs:  # what is needed comes before
        lost = [name for name in job.needs if name in broken]
        if lost and not job.missing:
            broken.add(job.name)
            job = replace(job, missing=tuple(f"{name} cannot be made" for name in lost))
        done.append(job)
    return tuple(done)


def _recipe(job: Job, frames: Sequence[Frame], named: str | None) -> Job:
    """Return the job with its recipe, or with why there is none."""
    try:
        name = {"dark": "makeProcessedDark", "flat": "makeProcessedFlat"}.get(job.kind)
        chosen = name or named or _for_science(frames)
        applies = load_recipe(chosen).applies_to
    except F2Error as error:
        return replace(job, recipe=named or "", missing=(*job.missing, error.problems[0].what))
    short = unfit(applies, frames) if applies is not None else []
    return replace(job, recipe=chosen, missing=(*job.missing, *short[:1]))


def _for_science(frames: Sequence[Frame]) -> str:
    """Return ultradeep for frames that all show the target, reduce for others."""
    if len(frames) < 3:
        return "reduce"
    objects = separate_sky({"from": frames}, SeparateSky()).frames["objects"]
    return "ultradeep" if len(objects) == len(frames) else "reduce"


def _target(group: Group) -> str:
    first = group.frames[0]
    words = [first.describe(name, pretty=True) for name in ("object", "filter_name")]
    text = "_".join(str(word) for word in words if word) + f"_{first.exposure_time:g}s"
    kept = re.sub(r"[^A-Za-z0-9_.+-]", "", text).strip(".-")
    return kept or group.name


def _paths(frames: Sequence[Frame]) -> Iterable[Path]:
    return (path_of(frame) for frame in frames)


def _keys(frame: Frame) -> dict[str, object]:
    return keys_of(frame.headers)


def _shortfall(name: str, verdicts: Iterable[Verdict]) -> tuple[int, str]:
    """Return how many criteria a candidate fails, and which, with both values."""
    failed = [v for v in verdicts if not v.passed]
    words = ", ".join(f"{v.criterion} {v.candidate_value}, not {v.frame_value}" for v in failed)
    return len(failed), f"{name} has {words}"


def _reason(why: str, names: Sequence[str], of: int) -> str:
    return why if len(names) == of else f"{why} (for {len(names)} of {of} frames)"
