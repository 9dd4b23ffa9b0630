"""A run from the command line: configuration, inputs, plan, engine, progress and products."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from f2yaml.interpreter.algorithms import compiling
from f2yaml.interpreter.calibrations import Calibrations, user_calibrations
from f2yaml.interpreter.config import load_config
from f2yaml.interpreter.engine import GIB, Engine
from f2yaml.interpreter.errors import BadInput, F2Error, Problem, RequestError
from f2yaml.interpreter.events import Announced, Event, FileWritten, Noted, TableMade
from f2yaml.interpreter.f2.tags import refuse_or_warn
from f2yaml.interpreter.fits import check_layout
from f2yaml.interpreter.forecast import weights
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.plan import Plan
from f2yaml.interpreter.planning import bind
from f2yaml.interpreter.products import Writer
from f2yaml.interpreter.progress import Progress
from f2yaml.interpreter.recovery import recover
from f2yaml.interpreter.registry import Table
from f2yaml.interpreter.resources import Finder
from f2yaml.interpreter.run import execute
from f2yaml.interpreter.settings import parse_overrides, parse_parameters
from f2yaml.interpreter.sources import unread_frame
from f2yaml.interpreter.terminal import printable
from f2yaml.schema.compose import FlatRecipe


@dataclass
class Outcome:
    """What a run made: tables, products and the permitted shortfalls."""

    tables: list[Table] = field(default_factory=list)
    written: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def take(self, event: Event) -> None:
        """Keep what belongs to the results."""
        if isinstance(event, TableMade):
            self.tables.append(event.table)
        elif isinstance(event, FileWritten):
            self.written.append(event.path)
        elif isinstance(event, Noted):
            self.notes.append(event.text)


@dataclass(frozen=True)
class Session:
    """The arguments of a run and the services they ask for."""

    args: argparse.Namespace
    calibrations: Calibrations
    jobs: int
    max_memory: int

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
        calibrations = Calibrations.from_config(configuration, Path.cwd(), mode=args.mode)
        return cls(args, calibrations, jobs, memory)

    def frames(self, paths: Sequence[Path]) -> list[Frame]:
        """Return the input frames with headers only; every bad file is named.

        Raises
        ------
        F2Error
            Files that cannot be read, or whose names clash.
        """

        def attempt(path: Path) -> Frame | F2Error:
            try:
                frame = unread_frame(path.absolute())
                check_layout(path.absolute(), frame.headers)
                refuse_or_warn(frame.headers)  # what is merely odd, `prepare` notes
                _check_identity(frame)
                return frame
            except F2Error as error:
                return error

        with ThreadPoolExecutor(self.jobs) as pool:
            found = list(pool.map(attempt, paths))
        errors = [item for item in found if isinstance(item, F2Error)]
        if errors:
            raise type(errors[0])(problems=[p for error in errors for p in error.problems])
        frames = [item for item in found if isinstance(item, Frame)]
        roots: dict[str, Path] = {}
        for frame, path in zip(frames, paths, strict=True):
            if frame.root in roots:
                raise RequestError(
                    f"{path} and {roots[frame.root]} are the same exposure ({frame.root})",
                    "it would count twice, and the products of one would overwrite the other's",
                    "take one of them out of the list",
                )
            roots[frame.root] = path
        return frames

    def bind(self, recipe: FlatRecipe, frames: Sequence[Frame]) -> Plan:
        """Bind a recipe to the inputs, with the settings of the command line."""
        stores = any(output.store for output in recipe.outputs.values())
        recover(Path.cwd(), lambda text: print(printable(f"note: {text}"), file=sys.stderr))
        self.calibrations.check(storing=stores)
        user = user_calibrations(self.args.user_cal, Path.cwd())
        return bind(
            recipe,
            frames,
            Finder(self.calibrations, user, self.calibrations.mode),
            parse_overrides(self.args.p),
            parse_parameters(self.args.param),
        )

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
        )

    def execute(self, plan: Plan) -> Outcome:
        """Run a plan; returns what it made."""
        outcome = Outcome()
        writer = self.writer(plan)
        writer.check()
        writer.check_names(plan.outputs, plan.inputs)
        engine = Engine(self.jobs, self.max_memory, self.args.outdir)
        with Progress(
            quiet=self.args.quiet or self.args.json,
            verbose=self.args.verbose,
            log=self.args.log,
            stream=sys.stderr,
            weights=weights(plan),
        ) as progress:

            def listen(event: Event) -> None:
                outcome.take(event)
                progress.show(event)

            with compiling.told(lambda text: progress.show(Announced(text))):
                execute(plan, engine, writer, listen)
        return outcome


def _check_identity(frame: Frame) -> None:
    """Refuse frames that the headers of products could not name, or place in time."""
    if not frame.name.isascii():
        raise BadInput(
            f"the name {frame.name} holds letters beyond ASCII",
            "the headers of its products name it, and they are ASCII",
            "rename it",
        )
    if frame.describe("ut_datetime") is None:
        raise BadInput(
            f"{frame.name} has no usable date and time: DATE-OBS is "
            f"{frame.phu.get('DATE-OBS', 'missing')}, UT {frame.phu.get('UT', 'missing')}",
            "calibrations, sky frames and the meaning of LNRS go by them",
            "repair DATE-OBS and UT, or take the file out of the list",
        )


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
