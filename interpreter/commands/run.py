"""``f2yaml run``: reduce frames with a recipe."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from f2yaml.interpreter.allowing import CHECKS
from f2yaml.schema.modes import MEANING, MODES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from f2yaml.interpreter.plan import Plan
    from f2yaml.interpreter.registry import Table
    from f2yaml.interpreter.sessions import Outcome, Session

HELP = "reduce frames with a recipe"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``f2yaml run``."""
    add_plan_arguments(parser)
    parser.add_argument("--log", type=Path, help="append a plain log to this file")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="check everything, run nothing; shows what `f2yaml plan` shows",
    )
    parser.add_argument(
        "--executor",
        choices=("local", "dask"),
        default="local",
        help="where the work is done: threads of this process, or workers of Dask",
    )
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="of --executor dask, as tcp://host:8786 (default: --jobs workers on this machine)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on after the last step that an interrupted run of this has kept",
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="of the results")
    parser.add_argument("--json", action="store_true", help="same as --format json")
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress")
    parser.add_argument("--verbose", "-v", action="store_true", help="progress of every frame")


def add_plan_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what says which work is done: the arguments of ``run`` and ``plan`` alike."""
    parser.add_argument(
        "recipe",
        nargs="?",
        help="recipe file, or name of a shipped recipe; without it, the tags of the inputs choose",
    )
    parser.add_argument(
        "--mode",
        choices=MODES,
        default=MODES[0],
        help="; ".join(f"{mode}: {MEANING[mode]}" for mode in MODES)
        + " (ql and qa have recipes of their own, and go on without a missing dark or flat)",
    )
    parser.add_argument(
        "--inputs",
        "-i",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="files, patterns, @lists, or - for standard input",
    )
    parser.add_argument(
        "-p",
        action="append",
        default=[],
        metavar="STEP:NAME=VALUE",
        help="set a parameter of a step (or NAME=VALUE, of every step that has it); repeatable",
    )
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set a parameter of the recipe; repeatable",
    )
    parser.add_argument(
        "--user-cal",
        "--user_cal",
        action="append",
        default=[],
        metavar="TYPE:FILE",
        help="calibration to use, as processed_dark:FILE; repeatable",
    )
    parser.add_argument(
        "--skip-bad",
        action="store_true",
        help="go on without inputs that are bad; the products name them (NSKIPPED, SKIP001)",
    )
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="CHECK",
        help="go on although a check fails, and say so in the products (ALLOW001); repeatable. "
        "CHECK is one of: " + "; ".join(f"{name}, {what}" for name, what in CHECKS.items()),
    )
    parser.add_argument("--outdir", type=Path, default=Path(), help="folder for the products")
    parser.add_argument("--suffix", help="suffix of the final files, instead of the recipe's")
    parser.add_argument("--jobs", "-j", type=int, help="frames worked on at once (default: cores)")
    parser.add_argument(
        "--max-memory",
        metavar="SIZE",
        help="memory for planes, as 2G (default: half of the machine)",
    )
    parser.add_argument("--config", "-c", type=Path, help="configuration file")


def bound(args: argparse.Namespace, command: str) -> tuple[Session, Plan]:
    """Return the session and the plan that the arguments ask for: the same for run and plan.

    Raises
    ------
    F2Error
        The request is wrong, or could not be done with these frames.
    """
    import sys

    from f2yaml.schema.problems import RequestError

    if not args.inputs:
        raise RequestError(
            f"f2yaml {command} got no input files",
            "there is nothing to reduce",
            "name them after --inputs, as in --inputs @sci.list",
        )
    from f2yaml.interpreter.choosing import choose_recipe
    from f2yaml.interpreter.inputs import expand
    from f2yaml.interpreter.sessions import Session

    session = Session.start(args)
    frames = session.frames(expand(args.inputs, stdin=sys.stdin))
    return session, session.bind(choose_recipe(args.recipe, frames, args.mode), frames)


def run(args: argparse.Namespace) -> int:
    """Bind the recipe to the inputs, then run it."""
    import gc
    import sys

    from f2yaml.interpreter.terminal import printable

    session, plan = bound(args, "run")
    if args.dry_run:
        from f2yaml.interpreter.commands.plan import print_plan

        print_plan(session, plan, "json" if args.json else args.format, everything=args.verbose)
        return 0
    if args.suffix is not None and len(plan.outputs) > 1:
        from f2yaml.interpreter.forecast import forecast

        # one suffix for several outputs: names that clash are refused before the work, not after
        forecast(plan, session.writer(plan), session.jobs, session.max_memory)
    gc.freeze()  # what is there now stays; the collector looks at the frames to come
    gc.set_threshold(700, 10, 10)
    outcome = session.execute(plan)
    if args.quiet:  # a permitted shortfall is no progress
        for note in outcome.notes:
            print(printable(f"note: {note}"), file=sys.stderr)
    as_json = args.json or args.format == "json"
    if as_json:
        _print_json(plan, outcome)
    else:
        for table in outcome.tables:
            _print_table(table)
        for path in outcome.written:
            print(path)
    return 0


def _print_table(table: Table) -> None:
    from f2yaml.interpreter.terminal import table_lines
    from rich.console import Console
    from rich.table import Table as RichTable

    shown = RichTable(title=table.title, title_justify="left")
    for column in table.columns:
        shown.add_column(column, overflow="fold")
    for row in table.rows:
        shown.add_row(*_cells(row))
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(shown)
        for note in table.notes:
            print(note)
        return
    for line in table_lines(table.title, table.columns, table.rows, table.notes):
        print(line)


def _cells(row: Sequence[object]) -> list[str]:
    return ["-" if value is None else str(value) for value in row]


def _print_json(plan: Plan, outcome: Outcome) -> None:
    import json
    from dataclasses import asdict

    print(
        json.dumps(
            {
                "recipe": plan.recipe.name,
                "inputs": [frame.name for frame in plan.inputs],
                "resumed_after": outcome.resumed_after,
                "products": [str(path) for path in outcome.written],
                "notes": list(outcome.notes),
                "summary": [] if outcome.summary is None else outcome.summary.as_dicts(),
                "skipped": [asdict(item) for item in plan.skipped],
                "allowed": [asdict(item) for item in plan.allowed],
                "tables": [
                    {
                        "title": table.title,
                        "rows": table.as_dicts(),
                        "notes": list(table.notes),
                    }
                    for table in outcome.tables
                ],
            },
            indent=2,
        )
    )
