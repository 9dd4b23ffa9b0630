"""Executes a plan: streams of frames, chains of per-frame steps, products; yields events."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import assert_never

from f2yaml.interpreter.chaining import Calibrations, Chained, Doing, Resource
from f2yaml.interpreter.engine import Engine
from f2yaml.interpreter.errors import F2Error
from f2yaml.interpreter.events import (
    Event,
    FrameDone,
    Noted,
    RunFinished,
    RunStarted,
    StepAdvanced,
    StepFinished,
    StepStarted,
    TableMade,
)
from f2yaml.interpreter.fits import read_frame
from f2yaml.interpreter.frame import Frame, ProvenanceRow
from f2yaml.interpreter.headers import utc_now
from f2yaml.interpreter.keeper import Keeper
from f2yaml.interpreter.memory import let_go
from f2yaml.interpreter.pixels import OnDisk
from f2yaml.interpreter.plan import CallStep, Course, PassStep, Plan, RequireStep
from f2yaml.interpreter.products import Writer
from f2yaml.interpreter.registry import BetweenStreams, Group, PerFrame, Reported
from f2yaml.interpreter.sources import Unread


@dataclass
class Execution(Course[Frame]):
    """State of one run."""

    engine: Engine
    writer: Writer
    notes: list[str] = field(default_factory=list)
    keeper: Keeper = field(default_factory=Keeper)
    _opened: dict[Path, Frame] = field(default_factory=dict)

    @cached_property
    def doing(self) -> Doing:
        """What steps get to know of the run."""
        return Doing(self.engine, self.writer, mode=self.plan.mode, allows=self.plan.allows)

    @property
    def calibrations(self) -> Calibrations:
        """Resources of the run."""
        return self.doing.calibrations

    def events(self) -> Iterator[Event]:
        """Run the plan, yielding what happens."""
        begun = time.monotonic()
        self.notes += self.plan.notes
        self.streams["main"] = self.plan.inputs
        yield RunStarted(self.plan.recipe.name, len(self.plan.calls), len(self.plan.inputs))
        yield from (Noted(note) for note in self.plan.notes)
        yield from self.keeper.begin(self)
        steps = list(self.plan.steps)[self.keeper.done :]
        while steps:
            step = steps.pop(0)
            if not self.takes(step):
                continue
            match step:
                case PassStep():
                    self.pass_on(step)
                case RequireStep():
                    self.require(step)
                case CallStep():
                    chain = [step]
                    while steps and self._continues(chain[-1], steps[0]):
                        chain.append(steps.pop(0))  # type: ignore[arg-type]
                    yield from self._call(chain)
                case _:
                    assert_never(step)
            if any(isinstance(left, CallStep) for left in steps):
                self.forget(steps)
            if isinstance(step, CallStep):
                yield from self.keeper.after(steps)
                if isinstance(step.primitive, Group) and step.primitive.combines:
                    let_go()  # rows of all frames, in each thread
        yield from self.writer.products(self.plan.outputs, self.streams, self.notes)
        self.keeper.end()
        yield RunFinished(time.monotonic() - begun)

    # steps ----------------------------------------------------------------------------------
    def _continues(self, last: CallStep, step: object) -> bool:
        """Whether `step` can be done right after `last` on each frame, without a stream between."""
        return (
            isinstance(step, CallStep)
            and isinstance(step.primitive, PerFrame)
            and isinstance(last.primitive, PerFrame)
            and not step.conditions
            and last.targets == step.targets == (step.source,)
        )

    def _call(self, chain: list[CallStep]) -> Iterator[Event]:
        step = chain[0]
        frames = self.streams.get(step.source, ())
        begun = time.monotonic()
        if isinstance(step.primitive, PerFrame):
            for link in chain:
                yield StepStarted(link.number, link.primitive.name, len(frames))
            made = yield from self._per_frame(chain, frames)
            self.keeper.chained(chain, frames, made)
            self.streams[chain[-1].targets[0]] = made
            seconds = (time.monotonic() - begun) / len(chain)
            for link in chain:
                yield StepFinished(
                    link.number, link.primitive.name, len(made), seconds, _health(made, link)
                )
            return
        yield StepStarted(step.number, step.primitive.name, len(frames))
        start = utc_now()
        try:
            used = self._resources(step, frames)
            reported = self._together(step, frames, used)
        except F2Error as error:
            raise error.at(step.where) from error
        stop = utc_now()
        for target, filed in self._filed(step, reported).items():
            stamped = tuple(self.doing.stamped(f, step, start, stop, used) for f in filed)
            self.streams[target] = stamped
            for frame in stamped:
                yield from self.doing.written(frame, step)
        if reported.table is not None:
            yield TableMade(reported.table)
        fresh = [note for note in reported.notes if note not in self.notes]
        self.notes += fresh
        yield from (Noted(note) for note in fresh)
        number = len(self.streams[step.targets[0]])
        yield StepFinished(
            step.number, step.primitive.name, number, time.monotonic() - begun, reported.health
        )

    def _resources(self, step: CallStep, frames: Sequence[Frame]) -> dict[str, Resource]:
        """Return the calibrations of a step that has one of each kind for all its frames."""
        found: dict[str, Resource] = {}
        for frame in frames:
            found |= self.calibrations.of(step, frame)
        return found

    def _together(
        self, step: CallStep, frames: Sequence[Frame], used: Mapping[str, Resource]
    ) -> Reported:
        """Call a group step, or one between streams."""
        resources = {**used, **self.doing.own(step)}
        match step.primitive:
            case Group() as primitive:
                loaded = list(frames)
                if not primitive.headers_only:
                    loaded = [self._loaded(frame, step) for frame in frames]
                made = step.primitive.function(loaded, step.params, **resources)
            case BetweenStreams() as primitive:
                given: dict[str, Sequence[Frame]]
                given = {name: self.streams.get(name, ()) for name in primitive.reads}
                given["from"] = frames
                if primitive.updates:
                    given["to"] = self.streams.get(step.targets[0], ())
                given = {
                    name: tuple(self._loaded(frame, step) for frame in stream)
                    for name, stream in given.items()
                }
                made = primitive.function(given, step.params, **resources)
            case PerFrame():
                raise AssertionError("per-frame steps are run in chains")
            case _:
                assert_never(step.primitive)
        return made if isinstance(made, Reported) else Reported(made)

    def _filed(self, step: CallStep, reported: Reported) -> dict[str, tuple[Frame, ...]]:
        if isinstance(step.primitive, BetweenStreams):
            fills = step.primitive.fills
            return {
                target: tuple(reported.frames[name])
                for name, target in zip(fills, step.targets, strict=True)
            }
        return {step.targets[0]: tuple(reported.frames)}

    def again(self, chain: list[CallStep], frame: Frame) -> Frame:
        """Do steps on an input that an earlier run has done, as lazily as it did."""
        return Chained(tuple(chain), self.doing)(self._loaded(frame, chain[0]))[0]

    def opened(self, frame: Frame) -> Frame:
        """Return an input with its file opened."""
        return self._loaded(frame, self.plan.calls[0])

    def _loaded(self, frame: Frame, step: CallStep) -> Frame:
        """Return the frame with its file opened, if it has not been yet."""
        if not isinstance(frame.pixels, Unread):
            return frame
        path = frame.pixels.path
        if path in self._opened:
            return self._opened[path]
        frame.pixels.check()
        opened = read_frame(path)
        if not opened.provenance:  # a raw frame, which the first step takes in
            md5 = self.calibrations.sums.of(path)
            row = ProvenanceRow(utc_now(), path.name, md5, step.primitive.name)
            opened = replace(opened, md5=row.md5, provenance=(row,))
        frame.pixels.check()
        opened = replace(opened, name=frame.name)
        self.keeper.opened(opened, path)
        if isinstance(opened.pixels, OnDisk):  # planes in memory are not kept for a second use
            self._opened[path] = opened
        return opened

    # chains ---------------------------------------------------------------------------------
    def _per_frame(
        self, chain: list[CallStep], frames: Sequence[Frame]
    ) -> Generator[Event, None, tuple[Frame, ...]]:
        """Run a chain of per-frame steps on every frame; returns the new stream."""
        raw = [f.pixels.path for f in frames if isinstance(f.pixels, Unread) and "RAW" in f.tags]
        if self.engine.jobs > 1:  # kernels are loaded meanwhile, and calibrations looked at
            self.calibrations.sums.begin(path for path in raw if path not in self._opened)
        for frame in frames:  # read the calibrations once, before threads ask for them
            for step in chain:
                self.calibrations.of(step, frame)
        done: dict[int, Frame] = {}
        work = Chained(tuple(chain), self.doing)
        for index, (frame, files) in self.engine.each(
            work, frames, lambda frame: self._loaded(frame, chain[0])
        ):
            done[index] = frame
            # One that works elsewhere has the folder by its full name.
            yield from (replace(file, path=self.writer.outdir / file.path.name) for file in files)
            for step in chain:
                yield FrameDone(step.number, frame.name)
        return tuple(done[index] for index in range(len(frames)))


def _health(frames: Sequence[Frame], step: CallStep) -> str:
    if step.primitive.name != "detectSources" or not frames:
        return ""
    counts = sorted(int(f.phu.get("NSOURCES", 0)) for f in frames)
    sizes = sorted(float(f.phu["FWHMPIX"]) for f in frames if "FWHMPIX" in f.phu)
    middle = f", FWHM {sizes[len(sizes) // 2]:.2f} pix" if sizes else ""
    return f"{counts[len(counts) // 2]} sources{middle}"


def execute(
    plan: Plan,
    engine: Engine,
    writer: Writer,
    listener: Callable[[Event], None],
    keeper: Keeper | None = None,
) -> Execution:
    """Run a plan, telling `listener` what happens; scratch files are removed in any case."""
    execution = Execution(plan, engine, writer, keeper=keeper or Keeper())
    engine.on_progress = lambda share: listener(StepAdvanced(share))
    try:
        for event in execution.events():
            execution.keeper.take(event)
            listener(event)
    finally:
        execution.keeper.close()
        execution.calibrations.sums.close()
        engine.on_progress = None
        engine.close()
    return execution
