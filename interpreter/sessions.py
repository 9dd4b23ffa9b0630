"""A run from the command line: configuration, inputs, plan, engine, progress and products."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from f2yaml.interpreter.admission import Skipped, admitted, left_out, nothing_left
from f2yaml.interpreter.algorithms import compiling
from f2yaml.interpreter.allowing import parse_allowed
from f2yaml.interpreter.calibrations import Calibrations, user_calibrations
from f2yaml.interpreter.config import load_config
from f2yaml.interpreter.engine import GIB, Engine
from f2yaml.interpreter.errors import BadFrames, Problem, RequestError
from f2yaml.interpreter.events import (
    Announced,
    Event,
    FileWritten,
    Noted,
    Resumed,
    StepFinished,
    Summarised,
    TableMade,
)
from f2yaml.interpreter.forecast import weights
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.keeping import Journal
from f2yaml.interpreter.plan import Plan
from f2yaml.interpreter.planning import bind
from f2yaml.interpreter.products import Writer
from f2yaml.interpreter.progress import Progress
from f2yaml.interpreter.records import Recorder, RunRecord, run_record
from f2yaml.interpreter.recovery import recover
from f2yaml.interpreter.registry import Table
from f2yaml.interpreter.resources import Finder
from f2yaml.interpreter.run import execute
from f2yaml.interpreter.settings import Override, parse_overrides, parse_parameters
from f2yaml.interpreter.summary import summary
from f2yaml.interpreter.terminal import printable
from f2yaml.interpreter.yamltext import scalar
from f2yaml.schema.compose import FlatRecipe
from f2yaml.schema.flat import FlatDo

#: Longest command that is shown to be typed again.
_LONGEST = 300
_SAME = "the same command with --resume continues"


@dataclass
class Outcome:
    """What a run made: tables, products and the permitted shortfalls."""

    tables: list[Table] = field(default_factory=list)
    written: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    resumed_after: int | None = None
    summary: Table | None = None

    def take(self, event: Event) -> None:
        """Keep what belongs to the results."""
        if isinstance(event, TableMade):
            self.tables.append(event.table)
        elif isinstance(event, FileWritten):
            self.written.append(event.path)
        elif isinstance(event, Noted):
            self.notes.append(event.text)
        elif isinstance(event, Resumed):
            self.resumed_after = event.number


@dataclass(frozen=True)
class Session:
    """The arguments of a run and the services they ask for."""

    args: argparse.Namespace
    calibrations: Calibrations
    jobs: int
    max_memory: int
    skipped: list[Skipped] = field(default_factory=list)

    @classmethod
    def start(cls, args: argparse.Namespace) -> Session:
        """Read the configuration and check the options.

        Raises
        ------
        RequestError
            An option has a value that makes no sense.
        """
        configuration = load_config(args.config, cwd=Path.cwd())
        jobs = args.jobs if args.jobs is not None else (os.cpu_count() or 1)
        if jobs < 1:
            raise RequestError(
                f"--jobs {jobs} is not a number of jobs",
                "it says how many frames are worked on at once",
                "give 1 or more",
            )
        if args.suffix is not None and not re.fullmatch(r"_[A-Za-z0-9_]{1,40}", args.suffix):
            raise RequestError(
                f"--suffix {args.suffix} is no suffix",
                "it becomes the end of a file name",
                "an underscore, then letters and digits, as in _image",
            )
        memory = parse_size(args.max_memory) if args.max_memory else default_memory()
        calibrations = Calibrations.from_config(
            configuration, Path.cwd(), mode=args.mode, allows=parse_allowed(args.allow)
        )
        return cls(args, calibrations, jobs, memory)

    def frames(self, paths: Sequence[Path]) -> list[Frame]:
        """Return the input frames with headers only; every bad file is named, or left out.

        Raises
        ------
        F2Error
            Files that cannot be read, or whose names clash; none is left.
        """
        frames, skipped = admitted(paths, self.jobs, skip_bad=self.args.skip_bad)
        self.skipped.extend(skipped)
        return frames

    def bind(self, recipe: FlatRecipe, frames: Sequence[Frame]) -> Plan:
        """Bind a recipe to the inputs, with the settings of the command line."""
        stores = any(output.store for output in recipe.outputs.values())
        recover(Path.cwd(), lambda text: print(printable(f"note: {text}"), file=sys.stderr))
        self.calibrations.check(storing=stores)
        user = user_calibrations(self.args.user_cal, Path.cwd())
        allows = self.calibrations.allows
        while True:
            try:
                return bind(
                    recipe,
                    frames,
                    Finder(self.calibrations, user, self.calibrations.mode, allows),
                    self.overrides(recipe),
                    parse_parameters(self.args.param),
                    self.skipped,
                )
            except BadFrames as error:
                if not (self.args.skip_bad and error.by_frame):
                    raise
                # What a step refuses by headers goes the same way as what could not be read.
                self.skipped.extend(left_out(n, found) for n, found in error.by_frame.items())
                frames = [frame for frame in frames if frame.name not in error.by_frame]
                if not frames:
                    raise nothing_left(self.skipped) from error

    def writer(self, plan: Plan) -> Writer:
        """Return what writes the products of a plan; it never writes over its inputs."""
        return Writer(
            self.args.outdir,
            frozenset(_inputs(plan)),
            self.args.suffix,
            self.calibrations.store,
            self.calibrations.cache_path,
            self.calibrations.mode,
            [(str(c.path.absolute()), c.built_in) for c in self.calibrations.storing],
            skipped=tuple(item.file for item in plan.skipped),
            allowed=tuple(item.check for item in plan.allowed),
        )

    def overrides(self, recipe: FlatRecipe) -> tuple[Override, ...]:
        """Return the settings of ``-p``, and before them those of the configuration.

        The configuration speaks of steps that a recipe need not have, and gives way to ``-p``.
        """
        given = parse_overrides(self.args.p)
        everywhere = {override.name for override in given if override.step is None}
        names = {str(step.primitive.value) for step in recipe.steps if isinstance(step, FlatDo)}
        own = [
            Override(step, name, value if isinstance(value, str) else scalar(value))
            for step, values in self.calibrations.configuration.defaults.items()
            for name, value in values.items()
            if step in names and name not in everywhere
        ]
        taken = {(override.step, override.name) for override in given}
        return (*(o for o in own if (o.step, o.name) not in taken), *given)

    def record(self, plan: Plan) -> RunRecord:
        """Return what products say of this run: its recipe, values and options.

        Jobs and memory have no part in the result, and none in the record.
        """
        args = self.args
        options = {
            "-p": shlex.join(args.p),
            "--param": shlex.join(args.param),
            "--user-cal": shlex.join(args.user_cal),
            "--mode": args.mode,
            "--suffix": args.suffix or "",
            "--skip-bad": "yes" if args.skip_bad else "",
            "--allow": shlex.join(args.allow),
            "--config": str(args.config or ""),
        }
        given = {name: value for name, value in options.items() if value}
        overrides = self.overrides(plan.recipe)
        return run_record(plan, overrides, parse_parameters(args.param), given)

    def engine(self) -> Engine:
        """Return what does the work: threads of this process, or workers.

        Raises
        ------
        RequestError
            An address without `--executor dask`, or Dask is not installed.
        ClusterError
            There is no scheduler at the address, or it has no worker.
        """
        if self.args.executor == "local":
            if self.args.scheduler is not None:
                raise RequestError(
                    f"--scheduler {self.args.scheduler} has no use here",
                    "it is the address of a Dask scheduler, and the work is done in this process",
                    "add --executor dask",
                )
            return Engine(self.jobs, self.max_memory, self.args.outdir)
        try:
            from f2yaml.interpreter.cluster.engine import DaskEngine
        except ModuleNotFoundError as error:
            raise RequestError(
                f"--executor dask needs {error.name}, which is not installed",
                "it is an extra: on one machine f2yaml needs no Dask",
                "pip install 'f2yaml[dask]'",
            ) from error
        return DaskEngine(self.args.scheduler, self.jobs, self.max_memory, self.args.outdir)

    def execute(self, plan: Plan) -> Outcome:
        """Run a plan; returns what it made."""
        outcome = Outcome()
        writer = replace(self.writer(plan), recorder=Recorder(self.record(plan)))
        writer.check()
        writer.check_names(plan.outputs, plan.inputs)
        journal = Journal(plan, self.args.outdir, resume=self.args.resume)
        with Progress(
            quiet=self.args.quiet or self.args.json,
            verbose=self.args.verbose,
            log=self.args.log or self.calibrations.configuration.log,
            stream=sys.stderr,
            weights=weights(plan),
        ) as progress:

            def listen(event: Event) -> None:
                outcome.take(event)
                ended = event.finished if isinstance(event, Resumed) else (event,)
                for step in (e for e in ended if isinstance(e, StepFinished)):
                    if writer.recorder is not None:
                        told = step.number, step.seconds, step.frames, step.health
                        writer.recorder.ended(*told)
                progress.show(event)

            with compiling.told(lambda text: progress.show(Announced(text))):
                try:
                    execute(plan, self.engine(), writer, listen, journal)
                finally:
                    if journal.left:
                        _tell_of(journal.left)
            if outcome.written and not (self.args.quiet and not progress.logs):
                outcome.summary = summary(outcome.written, len(outcome.notes))
                progress.show(Summarised(outcome.summary))
        return outcome


def _tell_of(place: str) -> None:
    """Say how to go on with a run that has ended before its time."""
    words = [word for word in sys.argv[1:] if word != "--resume"]
    line = shlex.join(["f2yaml", *words, "--resume"])
    how = f"continue with: {line}" if len(line) <= _LONGEST else _SAME
    print(printable(f"kept up to {place}; {how}"), file=sys.stderr)


def _inputs(plan: Plan) -> list[Path]:
    from f2yaml.interpreter.sources import Unread

    return [f.pixels.path.resolve() for f in plan.inputs if isinstance(f.pixels, Unread)]


def default_memory() -> int:
    """Return half of the machine's memory in bytes, 8 GiB at most."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(min(total // 2, 8 * GIB))


def parse_size(text: str) -> int:
    """Return the bytes in a text such as ``2G``, ``512M`` or ``1.5GiB``.

    Raises
    ------
    RequestError
        It is no size, or under 64 MiB.
    """
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kKmMgGtT]?)(?:i?[bB])?\s*", text)
    if match is None:
        raise RequestError(
            problems=[
                Problem(
                    f"--max-memory {text} is no size",
                    "it bounds the memory of the run",
                    "write it as 2G or 512M",
                )
            ]
        )
    size = int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " "))
    if size < 64 << 20:
        raise RequestError(
            f"--max-memory {text} is less than 64M",
            "a few planes of one frame need that much",
            "give 64M or more",
        )
    return size
