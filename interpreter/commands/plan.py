"""``f2yaml plan``: what a run on these inputs would do; only headers are read."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from f2yaml.interpreter.commands.run import add_plan_arguments, bound

if TYPE_CHECKING:
    from f2yaml.interpreter.plan import Plan
    from f2yaml.interpreter.sessions import Session

HELP = "what a run would do: steps, values, calibrations, files, memory and time"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``f2yaml plan``."""
    add_plan_arguments(parser)
    parser.add_argument(
        "--format",
        choices=("text", "json", "mermaid"),
        default="text",
        help="text; json, with every value; mermaid, a graph for Markdown pages",
    )
    parser.add_argument(
        "--verbose", "-v", action="store_true", help="show the values left at their defaults, too"
    )


def run(args: argparse.Namespace) -> int:
    """Bind the recipe to the inputs and show what would be done."""
    session, plan = bound(args, "plan")
    print_plan(session, plan, args.format, everything=args.verbose)
    return 0


def print_plan(session: Session, plan: Plan, form: str, *, everything: bool) -> None:
    """Print a plan as text, JSON or a Mermaid graph."""
    import json

    from f2yaml.interpreter.forecast import forecast
    from f2yaml.interpreter.planview import as_data, as_mermaid, as_text
    from f2yaml.interpreter.terminal import printable

    writer = session.writer(plan)
    expected = forecast(plan, writer, session.jobs, session.max_memory)
    if form == "json":
        print(json.dumps(as_data(plan, expected, session.calibrations), indent=2, default=str))
    elif form == "mermaid":
        print(printable(as_mermaid(plan, expected)))
    else:
        print(printable(as_text(plan, expected, session.calibrations, everything=everything)))
