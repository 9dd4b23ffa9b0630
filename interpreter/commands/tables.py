"""What the inspection commands share: output forms, complaints, and standard input."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from f2yaml.interpreter.leftovers import aside
from f2yaml.interpreter.terminal import printable

if TYPE_CHECKING:
    from f2yaml.schema.problems import F2Error, Problem

FORMATS: Final = ("text", "json", "csv")


def add_format(parser: argparse.ArgumentParser) -> None:
    """Add ``--format`` and its short forms ``--json`` and ``--csv``."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--format", choices=FORMATS, default="text", help="form of the output (default: text)"
    )
    for name in ("json", "csv"):
        group.add_argument(
            f"--{name}",
            dest="format",
            action="store_const",
            const=name,
            help=f"the same as --format {name}",
        )


def add_accepted(parser: argparse.ArgumentParser) -> None:
    """Add options of DRAGONS that say nothing to f2yaml; they are accepted and have no effect."""
    parser.add_argument("--adpkg", metavar="PKG", help=argparse.SUPPRESS)


class Complaints:
    """Faults of single files: written to standard error at once, counted for the exit status."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = sys.stderr if stream is None else stream
        self.count = 0

    def error(self, error: F2Error) -> None:
        """Report an error."""
        for problem in error.problems:
            self.problem(problem)

    def problem(self, problem: Problem) -> None:
        """Report a problem."""
        self.count += 1
        print(printable(problem.render()), file=self.stream)

    def note(self, words: str) -> None:
        """Say something that is no fault."""
        print(printable(words), file=self.stream)

    @property
    def status(self) -> int:
        """Exit status: 1 if anything was reported."""
        return 1 if self.count else 0


@contextmanager
def quiet_pipe() -> Iterator[None]:
    """End silently when the reader of standard output goes away, as in ``f2yaml showd ... | head``.

    Standard output is then pointed at the null device, so that Python's final flush is silent too.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, sys.stdout.fileno())
        except (OSError, ValueError):  # standard output without a descriptor, as in tests
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
        finally:
            os.close(null)


def colours_wanted(stream: TextIO) -> bool:
    """Whether to colour: only on a terminal, and not against NO_COLOR."""
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def input_words(words: Sequence[str]) -> tuple[list[str], TextIO | None]:
    """Return the words that name inputs, and the stream that ``-`` stands for.

    Standard input is read when it is asked for with ``-``, or when no file is named and it is not a
    terminal: a scheduler that leaves it open and silent cannot make the command wait.
    """
    if not words and not sys.stdin.isatty():
        return ["-"], sys.stdin
    return list(words), sys.stdin


def plain(value: object) -> object:
    """Return a value in terms of JSON: dates as ISO text, sections as FITS text."""
    iraf: Callable[[], str] | None = getattr(value, "iraf", None)
    if iraf is not None:
        return iraf()
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def write_json(rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows as a JSON array of objects."""
    import json

    print(json.dumps([{k: plain(v) for k, v in row.items()} for row in rows], indent=1))


def write_csv(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write rows as comma-separated values, quoted where needed (RFC 4180, ending in a newline)."""
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(titles)
    writer.writerows(rows)


def write_list(path: Path, lines: Sequence[str]) -> None:
    """Write a list file whole or not at all.

    Raises
    ------
    RequestError
        A file of this name holds no text: a frame, a database.
    OutputError
        It cannot be written.
    """
    from f2yaml.interpreter.errors import OutputError, RequestError

    if _no_text(path):
        raise RequestError(
            f"{path} is there, and is no list",
            "a list would take its place",
            "give the list a name of its own, as in -o darks.list",
        )
    partial = aside(path)
    try:
        try:
            partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}",
            "the list of files would be lost",
            "choose a folder that exists and that you may write to",
        ) from error


def _no_text(path: Path) -> bool:
    """Return whether there is a file of other content: FITS, compressed, a database."""
    try:
        with path.open("rb") as file:
            first = file.read(4096)
    except OSError:  # none; or told where it is written
        return False
    return first.startswith((b"SIMPLE  =", b"BZh", b"\x1f\x8b")) or b"\0" in first
