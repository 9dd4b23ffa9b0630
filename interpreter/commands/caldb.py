"""``f2yaml caldb``: look after the calibration database (spec: cli, section 5)."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from f2yaml.interpreter.homes import at_home
from f2yaml.interpreter.terminal import printable

if TYPE_CHECKING:
    from f2yaml.interpreter.caldb import CalibrationDatabase, Entry
    from f2yaml.interpreter.calibrations import Search
    from f2yaml.interpreter.config import Configuration, DatabaseChoice
    from f2yaml.schema.problems import Problem

HELP = "manage the calibration database: init, config, add, remove, list, explain"

# Spelt out here so that --help imports nothing heavy; a test compares with association.CALTYPES.
TYPES: Final = ("processed_dark", "processed_flat", "processed_bpm")
_EXTENSIONS: Final = (".fits", ".fits.gz", ".fits.bz2", ".fits.fz", ".fz")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-commands and their options."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "-d", "--database", metavar="DB", help="database file or folder, instead of the configured"
    )
    common.add_argument("-c", "--config", metavar="FILE", type=Path, help="configuration file")
    common.add_argument("-v", "--verbose", action="store_true", help="say what is done")
    form = argparse.ArgumentParser(add_help=False)
    form.add_argument("--format", choices=("text", "json", "csv"), default="text")
    kind = argparse.ArgumentParser(add_help=False)
    kind.add_argument("--type", choices=TYPES, dest="caltype", help="only this calibration type")
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    one = commands.add_parser("init", parents=[common], help="make the database; harmless if there")
    one.add_argument("-w", "--wipe", action="store_true", help="forget everything it holds")
    commands.add_parser("config", parents=[common, form], help="show which configuration applies")
    one = commands.add_parser("add", parents=[common], help="add processed calibrations")
    one.add_argument("paths", nargs="+", metavar="PATH", type=Path, help="file or folder")
    one.add_argument("-k", "--walk", action="store_true", help="walk sub-folders of folders")
    one.add_argument(
        "--force", action="store_true", help="take raw files and other instruments too"
    )
    one = commands.add_parser("remove", parents=[common], help="forget files; they stay on disk")
    one.add_argument("names", nargs="+", metavar="NAME", help="base name of a file")
    commands.add_parser("list", parents=[common, form, kind], help="list the files")
    one = commands.add_parser(
        "explain", parents=[common, form, kind], help="which calibrations a frame gets, and why"
    )
    one.add_argument("frame", metavar="FRAME", type=Path)


def run(args: argparse.Namespace) -> int:
    """Do what was asked and return the exit status.

    Raises
    ------
    RequestError
        The configuration is wrong or names no database for this; a file is not there.
    CalibrationDatabaseError, BadInput, NotSupported
        A database or a file cannot be used; of several files all problems are reported.
    """
    configuration = _configuration(args)
    actions = {
        "init": _init,
        "config": _config,
        "add": _add,
        "remove": _remove,
        "list": _list,
        "explain": _explain,
    }
    if args.action not in ("init", "config"):
        from f2yaml.interpreter.recovery import recover

        recover(Path.cwd(), lambda text: print(printable(f"note: {text}"), file=sys.stderr))
    actions[args.action](args, configuration)
    return 0


def _configuration(args: argparse.Namespace) -> Configuration:
    """Return what applies; a database given with -d stands for a whole configuration."""
    from f2yaml.interpreter.config import (
        Configuration,
        DatabaseChoice,
        database_file,
        load_config,
    )

    if args.database is None:
        return load_config(args.config)
    path = database_file(str(at_home(args.database).absolute()) + _slash(args.database))
    return Configuration(None, (DatabaseChoice(path, get=True, store=True),))


def _slash(text: str) -> str:
    return "/" if text.endswith("/") else ""


def _init(args: argparse.Namespace, configuration: Configuration) -> None:
    from f2yaml.interpreter.caldb import CalibrationDatabase

    for choice in configuration.databases:
        existed = choice.path.exists()
        database = CalibrationDatabase.create(choice.path)
        if args.wipe and existed:
            number = database.wipe()
            _say(args, f"Wiped {database.path}: {number} file{'s' * (number != 1)} forgotten")
        else:
            _say(args, f"{'Kept' if existed else 'Made'} {database.path}")


def _config(args: argparse.Namespace, configuration: Configuration) -> None:
    choices = configuration.databases
    if args.format != "text":
        rows = [
            {
                "configuration": None if configuration.file is None else str(configuration.file),
                "database": str(choice.path),
                "get": choice.get,
                "store": choice.store,
                "exists": choice.path.exists(),
            }
            for choice in choices
        ]
        _write(args.format, rows)
        return
    files = "none (built-in default)" if args.database is None else "none (-d)"
    if configuration.file is not None:
        files = f"('{configuration.file}',)"
    lines = ["", f"Using configuration files: {files}", ""]
    for choice in choices:
        lines += [
            str(choice.path),
            "  Type:  LocalDB",
            f"  Get:   {choice.get}",
            f"  Store: {choice.store}",
            "",
        ]
    lines.append("")
    lines += [
        f"Database file: {choice.path}{'' if choice.path.exists() else ' (not made yet)'}"
        for choice in choices
    ]
    lines += [
        "",
        "The calibration dbs are all local, meaning that remote calibrations will not be "
        "downloaded",
    ]
    lines += [f"Note: {note}" for note in configuration.notes]
    print("\n".join(lines))


def _add(args: argparse.Namespace, configuration: Configuration) -> None:
    from f2yaml.interpreter.caldb import CalibrationDatabase, register
    from f2yaml.interpreter.errors import (
        BadInput,
        CalibrationDatabaseError,
        F2Error,
        RequestError,
    )

    targets = [choice for choice in configuration.databases if choice.store]
    if not targets:
        raise RequestError(
            "no database of the configuration is open for storing",
            "`caldb add` writes to those with the flag store",
            "set store for one of them, or name a database with -d",
        )
    databases: list[CalibrationDatabase] = []
    for choice in targets:
        make = CalibrationDatabase.create if choice.built_in else CalibrationDatabase.open
        databases.append(make(choice.path))
    files, problems, absent = _expand(args.paths, walk=args.walk)
    for file in files:
        try:
            entry = register(file, databases, origin="caldb add", force=args.force)
        except CalibrationDatabaseError:
            raise  # the next file would fail as well
        except F2Error as error:
            problems += error.problems
            continue
        _say(args, f"Ingested {file} as {entry.type}")
    if absent:  # the request is wrong, whatever the files are like
        raise RequestError(problems=[*absent, *problems])
    if problems:
        raise BadInput(problems=problems)


def _expand(
    paths: Iterable[Path], *, walk: bool
) -> tuple[list[Path], list[Problem], list[Problem]]:
    """Return the files meant by files and folders, sorted within each folder.

    Then the problems: of folders without any, and of what is not there.
    """
    from f2yaml.interpreter.inputs import require_file
    from f2yaml.schema.problems import Problem, RequestError

    files: list[Path] = []
    problems: list[Problem] = []
    absent: list[Problem] = []
    for path in paths:
        if path.is_dir():
            found = sorted(
                file
                for file in (path.rglob("*") if walk else path.iterdir())
                if file.name.lower().endswith(_EXTENSIONS) and file.is_file()
            )
            files += found
            if not found:
                problems.append(
                    Problem(
                        f"{path} holds no FITS file",
                        "there is nothing to add" if walk else "sub-folders are walked with -k",
                        "check the path" if walk else "check the path, or give -k",
                    )
                )
            continue
        try:
            require_file(path)
            files.append(path)
        except RequestError as error:
            absent += error.problems
    return list(dict.fromkeys(files)), problems, absent


def _remove(args: argparse.Namespace, configuration: Configuration) -> None:
    from f2yaml.schema.problems import Problem, RequestError, did_you_mean

    databases = [database for _, database in _databases(configuration.databases)]
    problems: list[Problem] = []
    for name in args.names:
        removed = [path for database in databases for path in database.remove(Path(name).name)]
        for path in removed:
            _say(args, f"Removed {path}")
        if not removed:
            known = {entry.name for database in databases for entry in database.entries()}
            problems.append(
                Problem(
                    f"{name} is not in {', '.join(str(d.path) for d in databases) or 'a database'}",
                    "there is nothing to remove under that name",
                    did_you_mean(name, known) or "`f2yaml caldb list` shows the names",
                )
            )
    if problems:
        raise RequestError(problems=problems)


def _databases(
    choices: Sequence[DatabaseChoice],
) -> list[tuple[DatabaseChoice, CalibrationDatabase]]:
    """Open the databases; the built-in one may not have been made yet and is left out."""
    from f2yaml.interpreter.caldb import CalibrationDatabase

    return [
        (choice, CalibrationDatabase.open(choice.path))
        for choice in choices
        if choice.path.exists() or not choice.built_in
    ]


def _list(args: argparse.Namespace, configuration: Configuration) -> None:
    opened = {choice.path: database for choice, database in _databases(configuration.databases)}
    listed = [
        (choice.path, opened[choice.path].entries(args.caltype) if choice.path in opened else [])
        for choice in configuration.databases
    ]
    if args.format != "text":
        _write(args.format, [_fields(path, e) for path, entries in listed for e in entries])
        return
    for path, entries in listed:
        print(f"Database: {path}")
        for line in _table(entries):
            print(line)
        if not entries:
            print("There are no files in the database" + _of_type(args.caltype))


def _of_type(caltype: str | None) -> str:
    return "" if caltype is None else f" of type {caltype}"


def _fields(database: Path, entry: Entry) -> dict[str, object]:
    return {
        "database": str(database),
        "name": entry.name,
        "folder": str(entry.path.parent),
        "type": entry.type,
        "filter_name": entry.keys.get("filter_name"),
        "exposure_time": entry.keys.get("exposure_time"),
        "ut_datetime": entry.time,
        "processing": entry.mode,
        "state": entry.state(),
        "origin": entry.origin,
        "entered": entry.entered,
    }


def _table(entries: Iterable[Entry]) -> list[str]:
    """Return one line a file: name and folder as in DRAGONS, then what it is."""
    rows = []
    for entry in entries:
        seconds = entry.keys.get("exposure_time")
        rows.append(
            (
                f"{entry.name:<30}",
                str(entry.path.parent),
                entry.type,
                str(entry.keys.get("filter_name") or "-"),
                f"{seconds:g} s" if isinstance(seconds, (int, float)) else "-",
                (entry.time or "-").replace("T", " ")[:19],
                entry.state(),
            )
        )
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(7)]
    return [
        row[0]
        + " "
        + "  ".join(f"{cell:<{w}}" for cell, w in zip(row[1:], widths[1:], strict=True)).rstrip()
        for row in rows
    ]


def _explain(args: argparse.Namespace, configuration: Configuration) -> None:
    from f2yaml.interpreter.association import applicable
    from f2yaml.interpreter.calibrations import Calibrations
    from f2yaml.interpreter.f2.tags import refuse_or_warn, tags_of
    from f2yaml.interpreter.headerio import read_headers
    from f2yaml.interpreter.inputs import require_file

    require_file(args.frame)
    headers = read_headers(args.frame)
    for warning in refuse_or_warn(headers):
        print(f"Warning: {warning}", file=sys.stderr)
    service = Calibrations.from_config(configuration, Path.cwd())
    types = applicable(tags_of(headers.phu)) if args.caltype is None else (args.caltype,)
    searches = [service.search(headers, caltype) for caltype in types]
    if args.format == "json":
        _write("json", [search.as_data() for search in searches])
    elif args.format == "csv":
        _write("csv", [row for search in searches for row in _flat(search)])
    else:
        print("\n\n".join(_text(search) for search in searches))


def _text(search: Search) -> str:
    return "\n".join([search.headline(), *([search.table()] if search.candidates else [])])


def _flat(search: Search) -> list[dict[str, object]]:
    """Return one row for each criterion of each candidate."""
    return [
        {
            "frame": search.frame,
            "type": search.caltype,
            "calibration": candidate.entry.name,
            "folder": str(candidate.entry.path.parent),
            "standing": search.standing(candidate),
            "criterion": verdict.criterion,
            "passed": verdict.passed,
            "frame_value": verdict.frame_value,
            "calibration_value": verdict.candidate_value,
            "rule": verdict.rule,
        }
        for candidate in search.candidates
        for verdict in candidate.verdicts
    ]


def _write(form: str, rows: Sequence[Mapping[str, object]]) -> None:
    if form == "json":
        print(json.dumps(rows, indent=2))
    elif rows:
        writer = csv.DictWriter(sys.stdout, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _say(args: argparse.Namespace, text: str) -> None:
    if args.verbose:
        print(text, file=sys.stderr)
