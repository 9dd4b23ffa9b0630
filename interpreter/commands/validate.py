"""``f2yaml validate``: every problem of recipes, rules, scenarios and configuration."""

from __future__ import annotations

import argparse

HELP = "check recipes, rules, scenarios and configuration"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``f2yaml validate``."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="YAML documents, or shipped names")
    parser.add_argument(
        "--format",
        choices=("text", "json"),
        default="text",
        help="json: a list with an object for each problem, for editors and tests",
    )


def run(args: argparse.Namespace) -> int:
    """Check each file; print all problems; return 2 if there are any."""
    import json

    from f2yaml.interpreter.checking import as_data, problems_in
    from f2yaml.interpreter.terminal import printable

    found = {name: problems_in(name) for name in dict.fromkeys(args.files)}
    if args.format == "json":
        print(json.dumps([as_data(p, name) for name, ps in found.items() for p in ps], indent=2))
    else:
        for name, problems in found.items():
            for problem in problems:
                print(printable(problem.render()))
            if not problems:
                print(printable(f"{name}: no problems"))
    return 2 if any(found.values()) else 0
