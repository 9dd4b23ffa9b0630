"""The journal of a run at work: when a state is kept, and what a later run goes on from.

A state costs the writing of arrays that are in no file. Without ``--resume`` it is kept only when
that is a small share of the time spent since the last one; with ``--resume``, after every step that
has worked on pixels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from f2yaml.interpreter.checkpoint import (
    Packer,
    Shelf,
    Sink,
    Unkeepable,
    Unwritten,
    unwritten,
    write_part,
    write_source,
)
from f2yaml.interpreter.events import (
    Announced,
    Event,
    FileWritten,
    Noted,
    Resumed,
    StepFinished,
    StepStarted,
    TableMade,
)
from f2yaml.interpreter.fits import cannot_write, checksum
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.journal import (
    FORMAT,
    FinishedDoc,
    InputDoc,
    JournalDoc,
    Scalar,
    StateDoc,
    StateEntry,
    TableDoc,
    WrittenDoc,
    changed_run,
    changed_step,
    step_doc,
    versions,
)
from f2yaml.interpreter.journalfolder import Busy, Damaged, Folder, folder_of
from f2yaml.interpreter.keeper import Keeper
from f2yaml.interpreter.origins import Origin, Origins
from f2yaml.interpreter.plan import BoundStep, CallStep, PassStep, Plan, live
from f2yaml.interpreter.registry import PerFrame, Table
from f2yaml.interpreter.restoring import Restorer
from f2yaml.interpreter.sources import Unread

if TYPE_CHECKING:
    from f2yaml.interpreter.run import Execution

#: Least work that is worth keeping, in s, and the share of it that keeping may cost.
LEAST: Final = 2.0
SHARE: Final = 0.1
#: Bytes a second that are surely written, and time for what does not depend on the size, in s.
RATE: Final = 250e6
BESIDES: Final = 0.05
#: Most states of a journal.
_MOST: Final = 20


@dataclass
class _Told:
    """What steps have reported so far."""

    finished: dict[int, StepFinished]
    tables: list[Table]
    notes: list[str]
    written: dict[str, WrittenDoc]


class Journal(Keeper):
    """Keeps the states of a run in a folder beside its products.

    Parameters
    ----------
    plan : Plan
    outdir : Path
    resume : bool
        Go on from what an earlier run has kept, and keep more.
    clock : callable
        Seconds, from any start.
    """

    def __init__(
        self,
        plan: Plan,
        outdir: Path,
        *,
        resume: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.plan, self.outdir, self.resume, self.clock = plan, outdir, resume, clock
        root = plan.inputs[0].root if plan.inputs else "none"
        self.folder = Folder(folder_of(outdir, root, plan.recipe.name))
        self.origins, self.shelf = Origins(), Shelf()
        self._run: Execution | None = None
        self._off = self._ended = False
        self._done = self._at = 0
        self._since, self._rate, self._worked = clock(), RATE, False
        self._states: tuple[StateEntry, ...] = ()
        self._newest: StateEntry | None = None
        self._sums: dict[Path, str] = {}
        self._places = {id(step): n for n, step in enumerate(plan.steps)}
        self._told = _Told({}, [], [], {})

    # what the run tells -------------------------------------------------------------------------
    @property
    def done(self) -> int:
        return self._done

    def take(self, event: Event) -> None:
        told = self._told
        match event:
            case Resumed():
                told.finished |= {step.number: step for step in event.finished}
            case StepStarted():
                self._at = event.number
            case StepFinished():
                told.finished[event.number] = event
            case TableMade():
                told.tables.append(event.table)
            case Noted() if event.text not in self.plan.notes:
                told.notes.append(event.text)
            case FileWritten() if event.path.parent == self.outdir:
                with suppress(OSError):
                    told.written[event.path.name] = _written(event.path, self._at)
            case _:
                pass

    def opened(self, frame: Frame, path: Path) -> None:
        self.origins.take_in(frame)
        if frame.md5:
            self._sums[path] = frame.md5

    def chained(
        self, chain: Sequence[CallStep], given: Sequence[Frame], made: Sequence[Frame]
    ) -> None:
        places = [self._places[id(step)] for step in chain]
        if not self.origins.chained(places, given, made):
            self._worked = True

    @property
    def left(self) -> str:
        """Where a later run would go on, an empty text if nowhere."""
        if self._ended or self._newest is None:
            return ""
        return self._place(self._newest)

    def _place(self, entry: StateEntry) -> str:
        return f"step {entry.step} of {len(self.plan.calls)}, {entry.name}"

    # going on -----------------------------------------------------------------------------------
    def begin(self, run: Execution) -> Iterator[Event]:
        self._run = run
        for frame in self.plan.inputs:
            self.origins.take_in(frame)
        self._since = self.clock()
        if not self.folder.exists():
            if self.resume:
                yield Announced("nothing to resume: the run begins at its first step")
            return
        yield from self._claimed()
        if self._off:
            return
        try:
            document = self.folder.document()
            self._newest = document.states[-1] if document.states else None
        except Damaged as error:
            yield Announced(
                f"the journal {self.folder.path} cannot be used: {error}; all is redone"
            )
            return
        if self.resume:
            yield from self._go_on(run, document)
        elif self._newest is not None:
            yield Announced(
                f"an interrupted run had come to {self._place(self._newest)}; this one begins anew "
                "(--resume would go on from there)"
            )

    def _claimed(self) -> Iterator[Event]:
        """Claim the folder; without it, no journal is kept."""
        try:
            self.folder.claim()
        except Busy:
            self._off = True
            yield Announced(
                f"another run of {self.plan.recipe.name} on these frames is at work in "
                f"{self.outdir}: this one keeps no journal"
            )
        except OSError as error:
            self._off = True
            yield Announced(f"no journal is kept: {cannot_write(self.folder.path, error)}")

    def _go_on(self, run: Execution, old: JournalDoc) -> Iterator[Event]:
        why = changed_run(old, self._document(self._inputs(run, old), old.steps[:0]))
        if why:
            yield Announced(f"nothing can be resumed, all is redone: {why}")
            return
        same = 0
        for before, step in zip(old.steps, self.plan.steps, strict=False):
            why = changed_step(before, step_doc(step, self.plan, self._md5))
            if why:
                yield Announced(f"redone from {_name(step)} on: {why}")
                break
            same += 1
        entries = [entry for entry in old.states if entry.done <= same]
        while entries:
            entry = entries.pop()
            try:
                state = self.folder.state(entry)
                restorer = Restorer(
                    state,
                    self.folder.path,
                    {frame.root: frame for frame in self.plan.inputs},
                    self.origins,
                    self.shelf,
                )
                restorer.check(entry.done, run.engine.threads)
                self._check_written(state)
                streams = restorer.streams(self._again, self._opened, run.engine.threads)
            except (Damaged, OSError, ValueError, KeyError) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                yield Announced(f"cannot resume after {self._place(entry)}: {reason}")
                continue
            run.stand(streams, state.past, dict(state.decisions))
            yield from self._resumed(run, entry, state, (*entries, entry))
            return
        self._newest = None
        yield Announced("nothing is left to resume: the run begins at its first step")

    def _resumed(
        self, run: Execution, entry: StateEntry, state: StateDoc, states: tuple[StateEntry, ...]
    ) -> Iterator[Event]:
        self._done, self._states, self._newest = entry.done, states, entry
        self.folder.in_use = set(entry.needs)
        finished = tuple(
            StepFinished(s.number, s.name, s.frames, s.seconds, s.health) for s in state.finished
        )
        yield Resumed(entry.step, len(self.plan.calls), entry.name, finished)
        for note in state.notes:
            if note not in run.notes:
                run.notes.append(note)
                yield Noted(note)
        for table in state.tables:
            yield TableMade(Table(table.title, table.columns, table.rows, table.notes))
        for file in state.written:
            self._at = file.step
            yield FileWritten(self.outdir / file.name)
        self._since = self.clock()

    def _check_written(self, state: StateDoc) -> None:
        for file in state.written:
            try:
                same = _written(self.outdir / file.name, file.step) == file
            except OSError:
                same = False
            if not same:
                raise Damaged(f"{file.name}, which step {file.step} had saved, is gone or changed")

    def _again(self, origin: Origin) -> Frame:
        assert self._run is not None
        chain = [self.plan.steps[n] for n in origin.steps]
        calls = [replace(step, write=None) for step in chain if isinstance(step, CallStep)]
        if len(calls) < len(chain) or not all(isinstance(c.primitive, PerFrame) for c in calls):
            raise ValueError("it would do again what is no step on single frames")
        return self._run.again(calls, self._input(origin.root))

    def _opened(self, root: str) -> Frame:
        assert self._run is not None
        return self._run.opened(self._input(root))

    def _input(self, root: str) -> Frame:
        return next(frame for frame in self.plan.inputs if frame.root == root)

    # keeping ------------------------------------------------------------------------------------
    def after(self, left: Sequence[BoundStep]) -> Iterator[Event]:
        assert self._run is not None
        run, streams = self._run, self._run.streams
        self.origins.prune(streams)
        self.shelf.prune([frame for stream in streams.values() for frame in stream])
        last = self._told.finished.get(self._at)
        if self._off or last is None:
            return
        steps = {step.number: step for step in self.plan.calls}
        primitive = steps[self._at].primitive
        if not isinstance(primitive, PerFrame):
            self._worked |= not primitive.headers_only
        names = live(self.plan.outputs, left) & streams.keys()
        kept = {name: streams[name] for name in sorted(names)}
        frames = [frame for stream in kept.values() for frame in stream]
        try:
            todo = unwritten(frames, self.origins, self.shelf)
            if self._worth(todo):
                yield from self._keep(run, kept, todo, len(self.plan.steps) - len(left))
        except Unkeepable:
            return

    def _worth(self, todo: Unwritten) -> bool:
        if self.resume:
            lighter = self._newest is not None and _heavy(self._newest) and not todo.heavy
            return self._worked or todo.size > 0 or lighter
        spent = self.clock() - self._since
        cheap = todo.size / self._rate + BESIDES <= SHARE * spent
        return self._worked and spent >= LEAST and cheap

    def _keep(
        self, run: Execution, kept: Mapping[str, Sequence[Frame]], todo: Unwritten, done: int
    ) -> Iterator[Event]:
        yield from self._claimed()
        if self._off:
            return
        begun, made = time.monotonic(), list[str]()
        try:
            self.folder.room(todo.size)
            self._write(todo, made)
            entry = self._entry(run, kept, done, made)
            before = tuple(s for s in self._states if s.done < done and not _heavy(s))[-_MOST:]
            steps = tuple(step_doc(s, self.plan, self._md5) for s in self.plan.steps[:done])
            states = (*before, entry)
            document = self._document(self._inputs(run, None), steps, states)
            self.folder.write_document(document)
        except (OSError, Unkeepable) as error:
            self.folder.discard(made)
            if isinstance(error, Unkeepable):
                return
            self._off = True
            reason = cannot_write(self.folder.path, error).problems[0].what
            yield Announced(f"the run goes on without its journal: {reason}")
            return
        if todo.size > 1 << 20:
            self._rate = min(RATE, todo.size / max(1e-3, time.monotonic() - begun))
        self._states, self._newest = states, entry
        self._since, self._worked = self.clock(), False

    def _write(self, todo: Unwritten, made: list[str]) -> None:
        """Write what no file holds yet: each source by itself, small things together."""

        def sink(kind: str) -> Sink:
            made.append(self.folder.fresh(kind))
            return Sink(self.folder.path, made[-1])

        for pixels in todo.sources:
            file = sink("planes")
            try:
                self.shelf.put(pixels, write_source(file, pixels))
                file.close()
            finally:
                file.leave()
        if todo.parts:
            file = sink("small")
            try:
                for part in todo.parts:
                    self.shelf.put(part, write_part(file, part))
                file.close()
            finally:
                file.leave()

    def _entry(
        self, run: Execution, kept: Mapping[str, Sequence[Frame]], done: int, made: list[str]
    ) -> StateEntry:
        """Write the state; returns its entry in the journal."""
        packer, told = Packer(self.origins, self.shelf), self._told
        streams = {n: tuple(packer.frame(f) for f in frames) for n, frames in kept.items()}
        finished = [told.finished[number] for number in sorted(told.finished)]
        state = StateDoc(
            streams=streams,
            past={name: n for name, n in run.counts.items() if name not in streams},
            decisions=tuple(run.decisions.items()),
            frames=tuple(packer.frames),
            pixels=tuple(packer.pixels),
            headers=tuple(packer.headers),
            runs=tuple(packer.runs),
            finished=tuple(map(_finished, finished)),
            tables=tuple(
                TableDoc(title=t.title, columns=t.columns, rows=_plain(t.rows), notes=t.notes)
                for t in told.tables
            ),
            notes=tuple(told.notes),
            written=tuple(told.written.values()),
        )
        name, size, total = self.folder.write_state(state)
        made.append(name)
        last = told.finished[self._at]
        return StateEntry(
            done=done,
            step=last.number,
            name=last.name,
            file=name,
            size=size,
            sum=total,
            needs=tuple(sorted(state.files())),
        )

    def _document(
        self,
        inputs: tuple[InputDoc, ...],
        steps: tuple[object, ...],
        states: tuple[StateEntry, ...] = (),
    ) -> JournalDoc:
        return JournalDoc(
            format=FORMAT,
            versions=versions(),
            recipe=self.plan.recipe.name,
            mode=self.plan.mode,
            allows=tuple(sorted(self.plan.allows)),
            inputs=inputs,
            steps=steps,  # type: ignore[arg-type]
            states=states,
        )

    def _inputs(self, run: Execution, old: JournalDoc | None) -> tuple[InputDoc, ...]:
        """Return what identifies the inputs; checksums as far as known, or in `old`."""
        known = {i.name for i in old.inputs if i.md5} if old is not None else set[str]()
        paths = [f.pixels.path for f in self.plan.inputs if isinstance(f.pixels, Unread)]
        asked = [p for p in paths if p.name in known and p not in self._sums]
        self._sums.update(zip(asked, run.engine.threads(checksum, asked), strict=True))
        made = []
        for path in paths:
            status = path.stat()
            made.append(
                InputDoc(
                    name=path.name,
                    size=status.st_size,
                    mtime_ns=status.st_mtime_ns,
                    md5=self._sums.get(path, ""),
                )
            )
        return tuple(made)

    def _md5(self, path: Path) -> str:
        assert self._run is not None
        if path not in self._sums:
            self._sums[path] = self._run.calibrations.md5(path)
        return self._sums[path]

    def end(self) -> None:
        self._ended = True
        with suppress(Busy, OSError):
            if not self._off and self.folder.path.is_dir():
                self.folder.claim()
                self.folder.remove()

    def close(self) -> None:
        if not self.folder.exists():  # nothing had been kept when it ended
            self.folder.remove()
        self.folder.leave()


def _heavy(entry: StateEntry) -> bool:
    """Whether whole planes were written for a state: it goes when a later one is there."""
    return any(name.startswith("planes") for name in entry.needs)


def _written(path: Path, step: int) -> WrittenDoc:
    status = path.stat()
    return WrittenDoc(step=step, name=path.name, size=status.st_size, mtime_ns=status.st_mtime_ns)


def _finished(step: StepFinished) -> FinishedDoc:
    return FinishedDoc(
        number=step.number,
        name=step.name,
        frames=step.frames,
        seconds=step.seconds,
        health=step.health,
    )


def _plain(rows: Sequence[Sequence[object]]) -> tuple[tuple[Scalar | None, ...], ...]:
    """Return the rows of a table with plain values."""
    made = []
    for row in rows:
        values = [value.item() if hasattr(value, "item") else value for value in row]
        if not all(isinstance(value, bool | int | float | str | None) for value in values):
            raise Unkeepable("a table")
        made.append(tuple(values))
    return tuple(made)  # type: ignore[arg-type]


def _name(step: BoundStep) -> str:
    if isinstance(step, CallStep):
        return f"{step.primitive.name} ({step.place})"
    if isinstance(step, PassStep):
        return f"{step.source} -> {step.target}"
    return f"`require: {step.condition.text}`"
