"""``f2yaml dataselect``: pick files by tags and by an expression (spec: cli, section 3)."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from f2yaml.interpreter.commands.tables import (
    Complaints,
    add_accepted,
    add_format,
    input_words,
    quiet_pipe,
    write_csv,
    write_json,
    write_list,
)
from f2yaml.interpreter.errors import BadInput
from f2yaml.interpreter.homes import at_home
from f2yaml.schema.problems import Problem, RequestError

if TYPE_CHECKING:
    from f2yaml.interpreter.headers import Headers

_FITS: Final = re.compile(r"\.(fits|fit|fts)(\.(gz|bz2))?$", re.IGNORECASE)

HELP: Final = "pick files by tags and by an expression on descriptors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "inputs",
        nargs="*",
        help="files, patterns, @lists, with --rules also folders; `-` or none: names on standard "
        "input",
    )
    parser.add_argument("-t", "--tags", metavar="A,B", help="files with all of these tags")
    parser.add_argument("--xtags", metavar="A,B", help="files with none of these tags")
    parser.add_argument(
        "--expr",
        metavar="TEXT",
        help="condition on descriptors, as in \"exposure_time == 5 and filter_name == 'K-red'\"",
    )
    parser.add_argument(
        "--strict", action="store_true", help="no tolerances and no pretty names in the expression"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="write the list to FILE")
    parser.add_argument("-v", "--verbose", action="store_true", help="with -o, print it too")
    parser.add_argument(
        "--rules",
        metavar="FILE",
        help="write all lists that a rules file describes (YAML, or a shipped name: f2_imaging)",
    )
    parser.add_argument(
        "--outdir", metavar="DIR", default=".", help="folder for the lists of --rules"
    )
    add_format(parser)
    add_accepted(parser)


def run(args: argparse.Namespace) -> int:
    """Select, print or write, and return the exit status: 1 if a file could not be read."""
    from f2yaml.interpreter.expressions import compiled, words
    from f2yaml.interpreter.f2.tags import check_known

    tags, xtags = words(args.tags), words(args.xtags)
    check_known((*tags, *xtags))
    if args.expr is not None:
        compiled(args.expr)  # any fault in it is reported before a file is opened
    if args.rules and (tags or xtags or args.expr is not None or args.output):
        raise RequestError(
            "--rules stands alone",
            "the rules say which files go where",
            "leave out -t, --xtags, --expr and -o, or leave out --rules",
        )
    if args.rules:
        return _by_rules(args)
    complaints = Complaints()
    chosen = []
    for path, headers in _readable(args.inputs, complaints):
        try:
            if _selected(headers, args, tags, xtags):
                chosen.append((path, headers))
        except BadInput as error:
            complaints.error(error.at(str(path)))
    if args.output:
        _write(args, tags, xtags, [path for path, _ in chosen])
        if not chosen:
            complaints.note(f"nothing matched: {args.output} is an empty list")
    if not args.output or args.verbose:
        with quiet_pipe():
            _print(args.format, chosen)
    return complaints.status


def _selected(
    headers: Headers, args: argparse.Namespace, tags: Sequence[str], xtags: Sequence[str]
) -> bool:
    from f2yaml.interpreter.expressions import matches

    return matches(headers, tags=tags, xtags=xtags, expr=args.expr, strict=args.strict)


def _readable(
    inputs: Sequence[str], complaints: Complaints, *, duplicates: bool = True
) -> list[tuple[Path, Headers]]:
    """Return the files that can be read, in order; the others are reported."""
    from f2yaml.interpreter.headerio import try_headers
    from f2yaml.interpreter.inputs import expand

    given, stdin = input_words(inputs)
    problems: list[Problem] = []
    paths = expand(given, stdin=stdin, duplicates=duplicates, problems=problems)
    if not paths:
        raise RequestError(problems=problems)
    for problem in problems:
        complaints.problem(problem)
    found = []
    for path, headers in try_headers(paths):
        if isinstance(headers, BadInput):
            complaints.error(headers)
        else:
            found.append((path, headers))
    return found


def _print(form: str, chosen: Sequence[tuple[Path, Headers]]) -> None:
    from f2yaml.interpreter.f2.tags import tags_of

    if form == "text":
        for path, _ in chosen:
            print(path)
        return
    rows = [(str(path), sorted(tags_of(headers.phu))) for path, headers in chosen]
    if form == "json":
        write_json([{"file": name, "tags": own} for name, own in rows])
    else:
        write_csv(("file", "tags"), [[name, " ".join(own)] for name, own in rows])


def _write(
    args: argparse.Namespace, tags: Sequence[str], xtags: Sequence[str], chosen: Sequence[Path]
) -> None:
    header = [
        f"# Includes tags: {list(tags)}",
        f"# Excludes tags: {list(xtags)}",
        f"# Descriptor expression: {args.expr}",
    ]
    write_list(at_home(args.output), [*header, *map(str, chosen)])


def _by_rules(args: argparse.Namespace) -> int:
    """Write every list of a rules file; show what went where, and what was left over and why."""
    from f2yaml.interpreter.selecting import load_rules, select

    rules = load_rules(Path(args.rules))
    folder = at_home(args.outdir)
    if not folder.is_dir():
        raise RequestError(f"{folder} is no folder", "the lists are written there", "make it first")
    complaints = Complaints()
    readable = _readable(_entered(args.inputs), complaints, duplicates=False)
    result = select(rules, [(str(path), headers) for path, headers in readable])
    for made in result.lists:
        header = [f"# {args.rules}: {made.rule}", *(f"# {line}" for line in made.about)]
        write_list(folder / made.output, [*header, *made.files])
    rows = [{"list": m.output, "rule": m.rule, "files": list(m.files)} for m in result.lists]
    used = {made.rule for made in result.lists}
    empty = [name for name in rules.sets if name not in used]
    left = [{"file": name, "reason": reason} for name, reason in result.leftover]
    with quiet_pipe():
        if args.format == "json":
            import json

            print(json.dumps({"lists": rows, "empty": empty, "leftover": left}, indent=1))
        elif args.format == "csv":
            write_csv(
                ("list", "rule", "file"),
                [[m.output, m.rule, name] for m in result.lists for name in m.files],
            )
        else:
            for made in result.lists:
                plural = "" if len(made.files) == 1 else "s"
                about = f" ({', '.join(made.about)})" if made.about else ""
                print(f"{made.output}: {len(made.files)} file{plural}{about}")
            for name in empty:
                print(f"no list: set {name} has no group of {rules.sets[name].min_count} or more")
            for name, reason in result.leftover:
                print(f"left over: {name}: {reason}")
    return complaints.status


def _entered(inputs: Sequence[str]) -> list[str]:
    """Return the words with the FITS files of each folder in its place, by name."""
    found: list[str] = []
    for word in inputs:
        folder = at_home(word)
        if not folder.is_dir():
            found.append(word)
            continue
        inside = sorted(path for path in folder.iterdir() if _FITS.search(path.name))
        if not inside:
            raise RequestError(
                f"no FITS file lies in {folder}",
                "files are known by their endings: .fits, also with .gz or .bz2",
                "check the folder, or name the files",
            )
        found += map(str, inside)
    return found
