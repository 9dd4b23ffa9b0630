"""What a plan comes to: frames in every stream at every step, files, time and memory.

The steps of a plan are gone through with headers alone. Steps that look at headers only are run;
of the others it is known by their kind how many frames they make and what these are called.
Names of files come from the same functions that a run writes with. No pixel is read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import assert_never

from f2yaml.interpreter import estimate
from f2yaml.interpreter.errors import F2Error
from f2yaml.interpreter.estimate import HELD_BYTES, PLANE_BYTES, cost_of
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.headers import utc_now
from f2yaml.interpreter.pixels import Planes
from f2yaml.interpreter.plan import CallStep, Course, PassStep, Plan, RequireStep, holds
from f2yaml.interpreter.products import CALIBRATIONS, Writer, saved_as
from f2yaml.interpreter.registry import BetweenStreams, Group, PerFrame, Reported
from f2yaml.interpreter.sources import Unread


@dataclass(frozen=True, slots=True)
class Outline:
    """The pixels of a frame that are not there: their shape and planes."""

    shape: tuple[int, ...]
    present: frozenset[str] = frozenset({"data"})

    def rows(self, start: int, stop: int) -> Planes:
        """Raise: a plan reads no pixels."""
        raise AssertionError("a plan reads no pixels")

    def whole(self) -> Planes:
        """Raise: a plan reads no pixels."""
        raise AssertionError("a plan reads no pixels")


@dataclass(frozen=True, slots=True)
class Expected:
    """A frame to come: headers only, stamps not yet in them, and arrays by plane."""

    frame: Frame
    stamps: frozenset[str] = frozenset()
    arrays: Mapping[str, int] = field(default_factory=dict)

    def seen(self) -> Frame:
        """Return the frame as a step sees it, with the stamps of the steps before."""
        fresh = self.stamps - set(self.frame.phu)  # a header is copied only if it has to be
        if not fresh:
            return self.frame
        return self.frame.with_cards(phu=dict.fromkeys(sorted(fresh), utc_now()))


@dataclass(frozen=True, slots=True)
class ExpectedFile:
    """A file that a run writes: by which step (None at the end), and where a copy is kept."""

    path: Path
    step: int | None
    stream: str
    size: int
    kind: str = ""
    kept_at: Path | None = None


@dataclass(frozen=True, slots=True)
class ExpectedStep:
    """A step with the frames it reads and makes, by stream, and its time on one core (s)."""

    step: CallStep
    reads: int
    makes: Mapping[str, int]
    seconds: float
    skies: float = 0.0


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a run comes to.

    Parameters
    ----------
    steps : tuple of ExpectedStep
    left_out : tuple of CallStep
        Steps whose `when` does not hold for these frames.
    files : tuple of ExpectedFile
        In the order they are written.
    shape : tuple of int
        Of the input frames.
    seconds : float
        With the jobs of the run.
    memory : int
        Largest number of bytes held at once; what exceeds `--max-memory` goes to `scratch`.
    notes : tuple of str
    """

    steps: tuple[ExpectedStep, ...]
    left_out: tuple[CallStep, ...]
    files: tuple[ExpectedFile, ...]
    shape: tuple[int, ...]
    seconds: float
    memory: int
    scratch: int
    notes: tuple[str, ...]


Streams = dict[str, tuple[Expected, ...]]


@dataclass
class _Walk(Course[Expected]):
    """Goes through the steps of a plan."""

    writer: Writer
    pixels: int
    steps: list[ExpectedStep] = field(default_factory=list)
    left_out: list[CallStep] = field(default_factory=list)
    files: dict[Path, ExpectedFile] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    peak: int = 0
    _sure: bool = True
    _arrays: count[int] = field(default_factory=count)
    _calibrations: set[Path] = field(default_factory=set)

    def go(self) -> None:
        """Take every step, then name the products."""
        for number, step in enumerate(self.plan.steps):
            self.forget(self.plan.steps[number:])
            if not self.takes(step):
                if isinstance(step, CallStep):
                    self.left_out.append(step)
                continue
            match step:
                case PassStep():
                    self.pass_on(step)
                case RequireStep():
                    self.require(step)
                case CallStep():
                    self._call(step)
                case _:
                    assert_never(step)
        self._products()

    def _call(self, step: CallStep) -> None:
        given = self.streams.get(step.source, ())
        cost = cost_of(step.primitive.name, shipped=not step.primitive.package)
        skies = [len(e.frame.skies or ()) for e in given] if cost.power else []
        made = {
            target: tuple(self._kept(e, step, cost) for e in expected)
            for target, expected in self._made(step, given).items()
        }
        self._calibrations |= {p for r in step.resources.values() for p in r.by_root.values()}
        self._weigh(made)
        self.streams |= made
        for frames in made.values():
            for expected in frames:
                if step.write is not None:
                    self._file(saved_as(expected.frame, step.write).name, step, expected)
        mean = sum(skies) / len(skies) if skies else 0.0
        seconds = estimate.seconds_of(cost, len(given), self.pixels / 1e6, mean)
        counts = {target: len(frames) for target, frames in made.items()}
        self.steps.append(ExpectedStep(step, len(given), counts, seconds, mean))

    def _made(self, step: CallStep, given: tuple[Expected, ...]) -> Streams:
        """Return what a step fills its streams with."""
        primitive = step.primitive
        match primitive:
            case PerFrame():
                return {step.targets[0]: tuple(_pointed(e, step) for e in given)}
            case Group():
                if primitive.headers_only:
                    return self._run(step, {"from": given}, ("to",))
                self._sure = False
                if primitive.makes is None:
                    return {step.targets[0]: given}
                seen = [e.seen() for e in given]
                back = {id(frame): e for frame, e in zip(seen, given, strict=True)}
                chosen = primitive.makes(seen, step.params)
                return {step.targets[0]: tuple(back[id(frame)] for frame in chosen)}
            case BetweenStreams():
                streams = {name: self.streams.get(name, ()) for name in primitive.reads}
                streams["from"] = given
                if primitive.updates:
                    streams["to"] = self.streams.get(step.targets[0], ())
                if primitive.headers_only:
                    return self._run(step, streams, primitive.fills)
                self._sure = False
                return {step.targets[0]: streams["to"] if primitive.updates else given}
            case _:
                assert_never(primitive)

    def _run(self, step: CallStep, given: Streams, fills: Sequence[str]) -> Streams:
        """Run a step that looks at headers only."""
        seen: dict[str, list[Frame]] = {}
        known: dict[str, Expected] = {}
        for name, expected in given.items():
            seen[name] = [e.seen() for e in expected]
            known |= {e.frame.root: e for e in expected}
        between = isinstance(step.primitive, BetweenStreams)
        try:
            made = step.primitive.function(seen if between else seen["from"], step.params)
        except F2Error as error:
            if self._sure:
                raise error.at(step.where) from error
            # Steps before may change positions: whether it fails is seen when it runs.
            self.notes.append(f"{step.primitive.name} may fail: {error.problems[0].what}")
            return dict.fromkeys(step.targets, given["from"])
        frames = made.frames if isinstance(made, Reported) else made
        by_fill = frames if between else {fills[0]: frames}
        return {
            target: tuple(Expected(f, arrays=known[f.root].arrays) for f in by_fill[fill])
            for target, fill in zip(step.targets, fills, strict=True)
        }

    def _kept(self, expected: Expected, step: CallStep, cost: estimate.Cost) -> Expected:
        primitive = step.primitive
        frame = expected.frame
        arrays = dict(expected.arrays)
        for plane in cost.keeps:  # those that are not held have no number of their own
            arrays[plane] = next(self._arrays) if cost.held else -1
        if not primitive.suffix and not primitive.stamps:
            return replace(expected, arrays=arrays)
        if "ORIGNAME" not in frame.phu:
            frame = frame.with_cards(phu={"ORIGNAME": frame.name})
        named = frame.with_suffix(primitive.suffix)
        return Expected(named, expected.stamps | set(primitive.stamps), arrays)

    def _weigh(self, made: Streams) -> None:
        """Count what is held while a step has made its frames and its inputs are still there."""
        held = {
            array: HELD_BYTES[plane]
            for streams in (self.streams, made)
            for frames in streams.values()
            for expected in frames
            for plane, array in expected.arrays.items()
            if array >= 0
        }
        self.peak = max(self.peak, round(sum(held.values()) * self.pixels))

    def _products(self) -> None:
        streams = {name: [e.frame for e in frames] for name, frames in self.streams.items()}
        named = self.writer.named(self.plan.outputs, streams)
        for stream, frames in named.items():
            output = self.plan.outputs[stream]
            kind = output.store or ""
            for frame, expected in zip(frames, self.streams.get(stream, ()), strict=True):
                kept = self.writer.kept_at(kind, frame.name) if kind in CALIBRATIONS else None
                size = self._size(expected, output.planes)
                path = self.writer.path(frame.name)
                self.files[path] = ExpectedFile(path, None, stream, size, kind, kept)

    def _file(self, name: str, step: CallStep, expected: Expected) -> None:
        assert step.write is not None
        path = self.writer.path(name)
        size = self._size(expected, step.write.planes)
        self.files[path] = ExpectedFile(path, step.number, step.targets[0], size)

    def _size(self, expected: Expected, planes: Sequence[str] | None) -> int:
        words = {"data": "SCI", "variance": "VAR", "mask": "DQ", "objmask": "OBJMASK"}
        held = set(expected.arrays) | {"data"}
        return self.pixels * sum(
            PLANE_BYTES[p] for p in held if planes is None or words[p] in planes
        )

    @property
    def calibration_bytes(self) -> int:
        """Bytes of what a run keeps of its calibrations, which it reads in bands."""
        return 2 * self.pixels if self._calibrations else 0


def _pointed(expected: Expected, step: CallStep) -> Expected:
    """Return a frame with the world coordinates that its step will give it."""
    wcs = step.derived.get("pointing", {}).get(expected.frame.root)
    return expected if wcs is None else replace(expected, frame=expected.frame.with_wcs(wcs))


def forecast(plan: Plan, writer: Writer, jobs: int, max_memory: int) -> Forecast:
    """Return what a plan comes to, from headers alone.

    Parameters
    ----------
    plan : Plan
    writer : Writer
        What a run would write with; asked for names only.
    jobs : int
    max_memory : int
        Bytes of planes that may be held in memory.

    Raises
    ------
    RequestError
        A `require` of the recipe does not hold, or two products would have one name.
    F2Error
        A step that looks at headers only would fail.
    """
    shape = _shape(plan.inputs[0])
    walk = _Walk(plan, writer, shape[0] * shape[1])
    walk.streams["main"] = tuple(
        Expected(replace(f, pixels=Outline(_shape(f)))) for f in plan.inputs
    )
    walk.go()
    speed = estimate.speedup(jobs, os.cpu_count() or 1)
    mpix = walk.pixels / 1e6
    unpacking = sum(
        estimate.UNPACK_SECONDS.get(f.pixels.path.suffix, 0.0) * mpix
        for f in plan.inputs
        if isinstance(f.pixels, Unread)
    )
    writing = sum(f.size for f in walk.files.values()) / 1e6 * estimate.WRITE_SECONDS
    working = sum(step.seconds for step in walk.steps) + unpacking
    return Forecast(
        steps=tuple(walk.steps),
        left_out=tuple(walk.left_out),
        files=tuple(walk.files.values()),
        shape=shape,
        seconds=estimate.START_SECONDS + working / speed + writing,
        memory=estimate.START_BYTES
        + jobs * estimate.JOB_BYTES
        + walk.calibration_bytes
        + min(walk.peak, max_memory),
        scratch=max(0, walk.peak - max_memory),
        notes=tuple(walk.notes),
    )


def weights(plan: Plan) -> dict[int, float]:
    """Return what each step is expected to cost on one core (s), by its number.

    As `forecast`, but without a look at any header but one: how many frames a step chooses is not
    known then, and each frame is taken to have all others for its sky.
    """
    shape = _shape(plan.inputs[0])
    mpix = shape[0] * shape[1] / 1e6
    counts = {"main": len(plan.inputs)}
    found: dict[int, float] = {}
    for step in plan.steps:
        if not all(holds(condition, plan.parameters, counts) for condition in step.conditions):
            continue
        if isinstance(step, PassStep):
            counts[step.target] = counts.get(step.source, 0)
        elif isinstance(step, CallStep):
            read = counts.get(step.source, 0)
            cost = cost_of(step.primitive.name, shipped=not step.primitive.package)
            found[step.number] = estimate.seconds_of(cost, read, mpix, max(0, read - 1))
            one = isinstance(step.primitive, Group) and step.primitive.makes is not None
            counts |= dict.fromkeys(step.targets, min(read, 1) if one else read)
    return found


def _shape(frame: Frame) -> tuple[int, int]:
    """Return the shape (ny, nx) of a frame by its header."""
    return int(frame.sci["NAXIS2"]), int(frame.sci["NAXIS1"])
