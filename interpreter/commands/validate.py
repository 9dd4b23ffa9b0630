"""``f2yaml validate``: every problem of recipes, rules, scenarios and configuration."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from f2yaml.schema.problems import Problem

HELP = "check recipes, rules, scenarios and configuration"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``f2yaml validate``."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="YAML documents, or shipped names")
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(args: argparse.Namespace) -> int:
    """Check each file; print all problems; return 2 if there are any."""
    import json

    found = {name: problems_in(name) for name in args.files}
    if args.format == "json":
        print(json.dumps([_as_data(p, name) for name, ps in found.items() for p in ps], indent=2))
    else:
        for name, problems in found.items():
            for problem in problems:
                print(problem.render())
            if not problems:
                print(f"{name}: no problems")
    return 2 if any(found.values()) else 0


def problems_in(name: str) -> list[Problem]:
    """Return the problems of one document: first its form, then, of a recipe, its steps."""
    from f2yaml.schema.compose import check_document, load_recipe, shipped_everywhere
    from f2yaml.schema.problems import F2Error

    path = Path(name)
    if not path.exists():
        path = shipped_everywhere().get(name, path)
    try:
        _, kind = check_document(path)
        if kind == "recipe":
            from f2yaml.interpreter.bind import bind_recipe

            bind_recipe(load_recipe(path))
    except F2Error as error:
        return list(error.problems)
    return []


def _as_data(problem: Problem, name: str) -> dict[str, object]:
    from f2yaml.schema.problems import Place

    where = problem.where
    data: dict[str, object] = {"file": name, "line": None, "column": None}
    if isinstance(where, Place):
        data = {
            "file": where.file,
            "line": where.line,
            "column": where.column,
            "width": where.width,
        }
    return {**data, "what": problem.what, "why": problem.why, "fix": problem.fix}
