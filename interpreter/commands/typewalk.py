"""``f2yaml typewalk``: walk folders, show the tags of each file, write a list (spec: cli, 2)."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from f2yaml.interpreter.commands.tables import (
    Complaints,
    add_accepted,
    add_format,
    colours_wanted,
    quiet_pipe,
    write_csv,
    write_json,
    write_list,
)
from f2yaml.interpreter.errors import BadInput
from f2yaml.interpreter.homes import at_home
from f2yaml.schema.problems import Problem, RequestError

HELP: Final = "walk folders and show the tags of each file"

_DEFAULT_MASK: Final = r".*\.(fits|FITS)(\.gz|\.bz2)?$|.*\.fz$"
#: Column where the dots that follow a name end, and the longest name that leaves room for them.
_COLUMN: Final = 40
_INDENT: Final = 5
_LONGEST: Final = 33
_CYAN, _BLUE, _RED, _PLAIN = "\033[36m", "\033[34m", "\033[31m", "\033[0m"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("-d", "--dir", default=".", help="folder to walk (default: this one)")
    parser.add_argument(
        "-n", "--norecurse", action="store_true", help="this folder only, no sub-folders"
    )
    parser.add_argument(
        "-f",
        "--filemask",
        metavar="REGEX",
        default=_DEFAULT_MASK,
        help="regular expression that file names match from their beginning "
        "(default: FITS files, compressed ones too)",
    )
    parser.add_argument("--tags", nargs="+", default=[], help="only files with all of these tags")
    parser.add_argument("--or", dest="any_tag", action="store_true", help="... any of these tags")
    parser.add_argument("--xtags", nargs="+", default=[], help="no files with any of these tags")
    parser.add_argument("-o", "--out", metavar="FILE", help="write the list of matches to FILE")
    parser.add_argument("--relative", action="store_true", help="relative paths in the list")
    parser.add_argument("--counts", action="store_true", help="end with the number of files a tag")
    parser.add_argument("-b", "--batch", type=int, metavar="N", help=argparse.SUPPRESS)
    add_format(parser)
    add_accepted(parser)


def run(args: argparse.Namespace) -> int:
    """Walk, print, and return the exit status: 1 if a file could not be read."""
    from f2yaml.interpreter.expressions import words
    from f2yaml.interpreter.f2.tags import check_known

    mask = _mask(args.filemask)
    top = _folder(args.dir)
    tags, xtags = words(args.tags), words(args.xtags)
    check_known((*tags, *xtags))
    complaints = Complaints()
    rows: list[dict[str, object]] = []
    counts: Counter[str] = Counter()
    found: list[Path] = []
    with quiet_pipe():
        for folder, names in _folders(top, mask, recurse=not args.norecurse, complaints=complaints):
            tagged = _tagged(folder, names, complaints)
            kept = [(n, own) for n, own in tagged if _wanted(own, tags, xtags, args.any_tag)]
            found += [folder / name for name, _ in kept]
            counts.update(tag for _, own in kept for tag in own)
            if args.format == "text":
                _print_block(folder, kept)
            rows += [{"file": str(folder / n), "tags": sorted(own)} for n, own in kept]
        _print_end(args, rows, counts)
    if args.out:
        _write(args, tags, xtags, found, complaints)
    return complaints.status


def _mask(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise RequestError(
            f"`{pattern}` is no regular expression: {error}",
            "file names are matched with it, from their beginning",
            r"use for instance `S2020.*\.fits`; a shell pattern such as *.fits is something else",
        ) from error


def _folder(name: str) -> Path:
    folder = at_home(name)
    if not folder.is_dir():
        missing = "does not exist" if not folder.exists() else "is no folder"
        raise RequestError(f"{name} {missing}", "typewalk walks a folder", "check -d")
    return folder.absolute()


def _folders(
    top: Path, mask: re.Pattern[str], *, recurse: bool, complaints: Complaints
) -> Iterator[tuple[Path, list[str]]]:
    """Yield each folder with the sorted names in it that match."""

    def unreadable(error: OSError) -> None:
        complaints.problem(
            Problem(f"{error.filename} cannot be listed", str(error.strerror), "check permissions")
        )

    for folder, inside, names in os.walk(top, onerror=unreadable):
        inside.sort()
        if not recurse:
            inside.clear()
        chosen = sorted(name for name in names if mask.match(name))
        if chosen:
            yield Path(folder), chosen


def _tagged(
    folder: Path, names: Sequence[str], complaints: Complaints
) -> list[tuple[str, frozenset[str]]]:
    from f2yaml.interpreter.f2.tags import tags_of
    from f2yaml.interpreter.headerio import try_headers

    tagged = []
    for path, headers in try_headers(folder / name for name in names):
        if isinstance(headers, BadInput):
            complaints.error(headers)
            continue
        try:
            tagged.append((path.name, tags_of(headers.phu)))
        except BadInput as error:  # a damaged card
            complaints.error(error.at(str(path)))
    return tagged


def _wanted(own: frozenset[str], tags: Sequence[str], xtags: Sequence[str], any_tag: bool) -> bool:
    if own.intersection(xtags):
        return False
    return bool(not tags or own.intersection(tags)) if any_tag else own.issuperset(tags)


def _print_block(folder: Path, kept: Sequence[tuple[str, frozenset[str]]]) -> None:
    if not kept:
        return
    colour = colours_wanted(sys.stdout)
    cyan, blue, red, off = (_CYAN, _BLUE, _RED, _PLAIN) if colour else ("", "", "", "")
    print(f"\n{cyan}directory:{off}  {folder}")
    margin = " " * _INDENT
    for name, own in kept:
        shown = f"{red}{' '.join(f'({tag})' for tag in sorted(own))}{off} "
        if len(name) > _LONGEST:
            print(f"{margin}{blue}{name}{off}")
            print(f"{margin}{'.' * (_COLUMN - _INDENT)} {shown}")
        else:
            dots = "." * (_COLUMN - _INDENT - len(name) - 1)
            print(f"{margin}{blue}{name}{off} {dots} {shown}")


def _print_end(
    args: argparse.Namespace, rows: Sequence[dict[str, object]], counts: Counter[str]
) -> None:
    if args.format == "json":
        write_json(rows)
    elif args.format == "csv":
        table = [[str(r["file"]), " ".join(str(t) for t in _items(r["tags"]))] for r in rows]
        write_csv(("file", "tags"), table)
    else:
        if args.counts:
            print(f"\n{len(rows)} files")
            for tag, count in sorted(counts.items()):
                print(f"{count:8d} {tag}")
        print("Done DataSpider.typewalk(..)")


def _items(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _write(
    args: argparse.Namespace,
    tags: Sequence[str],
    xtags: Sequence[str],
    found: Sequence[Path],
    complaints: Complaints,
) -> None:
    """Write the list file; as in DRAGONS, only if something matched."""
    import time
    from importlib.metadata import version

    if not found:
        complaints.note(f"nothing matched: {args.out} is not written")
        return
    lines = [
        f"# Auto-generated by typewalk, f2yaml v{version('f2yaml')}",
        f"# Written: {time.ctime()}",
        f"# Qualifying types: {'  '.join(tags)}".rstrip(),
        f"# Qualifying logic: {'OR' if args.any_tag else 'AND'}",
    ]
    if xtags:
        lines.append(f"# Excluded types:   {'  '.join(xtags)}")
    lines.append("# -----------------------")
    lines += [os.path.relpath(p) if args.relative else str(p) for p in found]
    write_list(at_home(args.out), lines)
