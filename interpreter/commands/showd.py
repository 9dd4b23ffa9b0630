"""``f2yaml showd``: a table of descriptor values (spec: cli, section 4)."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from f2yaml.interpreter.commands.tables import (
    Complaints,
    add_accepted,
    add_format,
    input_words,
    quiet_pipe,
    write_csv,
    write_json,
)
from f2yaml.interpreter.errors import BadInput
from f2yaml.interpreter.terminal import printable
from f2yaml.schema.problems import Problem, RequestError, did_you_mean

if TYPE_CHECKING:
    from f2yaml.interpreter.headers import Headers

HELP: Final = "show a table of descriptor values, tags and header keywords"

_GAP: Final = "   "
_FAILED: Final = "ERR"
_KEYWORD: Final = re.compile(r"[A-Z][A-Z0-9_-]{0,7}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "inputs", nargs="*", help="files, patterns, @lists; `-` or none: names on standard input"
    )
    parser.add_argument(
        "-d",
        "--descriptors",
        required=True,
        metavar="A,B",
        help="descriptors, `tags`, header keywords (AIRMASS, phu.KEY, hdr.KEY), by commas",
    )
    parser.add_argument(
        "--long", action="store_true", help="component ids and full objects, not pretty forms"
    )
    add_format(parser)
    add_accepted(parser)


def run(args: argparse.Namespace) -> int:
    """Print the table and return the exit status: 1 if a file or a value could not be read."""
    from f2yaml.interpreter.expressions import words
    from f2yaml.interpreter.headerio import try_headers
    from f2yaml.interpreter.inputs import expand

    names = words(args.descriptors)
    _check(names)
    inputs, stdin = input_words(args.inputs)
    complaints = Complaints()
    problems: list[Problem] = []
    paths = expand(inputs, stdin=stdin, duplicates=True, problems=problems)
    if not paths:
        raise RequestError(problems=problems)
    for problem in problems:
        complaints.problem(problem)
    rows: list[list[object]] = []
    for path, headers in try_headers(paths):
        if isinstance(headers, BadInput):
            complaints.error(headers)
            rows.append([str(path), *(_Failed() for _ in names)])
        else:
            cells = [_cell(name, headers, args.long, complaints) for name in names]
            rows.append([str(path), *cells])
    with quiet_pipe():
        _print(args.format, ["filename", *names], rows)
    return complaints.status


class _Failed:
    """The value of a cell that could not be read."""

    def __str__(self) -> str:
        return _FAILED


def _check(names: Sequence[str]) -> None:
    """Refuse names that no file can have, before any file is opened."""
    from f2yaml.interpreter.expressions import KNOWN_NAMES

    problems = []
    for name in names:
        keyword = name.removeprefix("phu.").removeprefix("hdr.")
        if name in KNOWN_NAMES or _KEYWORD.fullmatch(keyword):
            continue
        fix = did_you_mean(name, KNOWN_NAMES) or "`f2yaml show` lists them"
        why = "columns are descriptors, `tags`, or header keywords in capitals"
        problems.append(Problem(f"unknown descriptor `{name}`", why, fix))
    if problems:
        raise RequestError(problems=problems)


def _cell(name: str, headers: Headers, long: bool, complaints: Complaints) -> object:
    from f2yaml.interpreter.expressions import KNOWN_NAMES, lookup
    from f2yaml.interpreter.f2.descriptors import describe

    try:
        if name == "tags":
            return _Tags(_strings(lookup("tags", headers)))
        if name in KNOWN_NAMES:
            return describe(name, headers, pretty=not long)
        if "." in name:
            return lookup(name, headers)
        found = lookup(f"phu.{name}", headers)
        return lookup(f"hdr.{name}", headers) if found is None else found
    except BadInput as error:
        complaints.error(error.at(headers.filename))
        return _Failed()


class _Tags(list[str]):
    """Tags, shown parted by blanks."""

    def __str__(self) -> str:
        return " ".join(self)


def _strings(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list | tuple) else [str(value)]


def _print(form: str, titles: list[str], rows: Sequence[Sequence[object]]) -> None:
    if form == "json":
        shown = [[str(c) if isinstance(c, _Failed) else c for c in row] for row in rows]
        write_json([dict(zip(titles, row, strict=True)) for row in shown])
        return
    texts = [[_shown(str(cell)) for cell in row] for row in rows]
    if form == "csv":
        write_csv(titles, texts)
        return
    widths = [max(len(row[n]) for row in [titles, *texts]) for n in range(len(titles))]
    rule = "-" * (sum(widths) + len(_GAP) * (len(widths) - 1))
    print(rule)
    print(_line(titles, widths))
    print(rule)
    for row in texts:
        print(_line(row, widths))


def _shown(text: str) -> str:
    """Return the text of a cell without what could steer a terminal or part its line."""
    return printable(text).replace("\n", "\N{REPLACEMENT CHARACTER}")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    return _GAP.join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)])
