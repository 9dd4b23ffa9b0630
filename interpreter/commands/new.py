"""``f2yaml new``: a recipe of one's own, from one there is."""

from __future__ import annotations

import argparse

from f2yaml.schema.modes import MODES

HELP = "start a recipe of your own from one there is"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``f2yaml new``."""
    parser.add_argument("name", help="name of the new recipe, or file to write (NAME.yaml)")
    parser.add_argument(
        "--from",
        dest="base",
        default="reduce",
        metavar="RECIPE",
        help="recipe to start from: a shipped name or a file (default: reduce)",
    )
    parser.add_argument("--mode", choices=MODES, default=MODES[0], help="take its recipe of a mode")
    parser.add_argument(
        "--flat",
        action="store_true",
        help="write every step out, instead of extending the recipe and naming the differences",
    )
    parser.add_argument(
        "-p",
        action="append",
        default=[],
        metavar="STEP:NAME=VALUE",
        help="set a parameter of a step, as for `f2yaml run`; repeatable",
    )
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set a parameter of the recipe, as for `f2yaml run`; repeatable",
    )
    parser.add_argument("--force", action="store_true", help="replace a file of that name")


def run(args: argparse.Namespace) -> int:
    """Write the recipe and say where it is."""
    import re
    from pathlib import Path

    from f2yaml.interpreter.commands.schema import schema_line
    from f2yaml.interpreter.jsonschema import schema_folder
    from f2yaml.interpreter.newrecipe import recipe_text, write_recipe
    from f2yaml.interpreter.settings import parse_overrides, parse_parameters
    from f2yaml.schema.compose import load_recipe, shipped_everywhere
    from f2yaml.schema.problems import RequestError

    path = Path(args.name or "_")
    if path.suffix not in (".yaml", ".yml"):
        path = path.with_name(f"{path.name}.yaml")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,63}", path.stem):
        raise RequestError(
            f"{path.stem} cannot be the name of a recipe",
            "names are letters, digits, underscores and hyphens, beginning with a letter",
            "choose another name",
        )
    base = load_recipe(shipped_everywhere().get(args.base, args.base), mode=args.mode)
    text = recipe_text(
        base,
        path,
        flat=args.flat,
        overrides=parse_overrides(args.p),
        arguments=parse_parameters(args.param),
    )
    line = schema_line(schema_folder() / "recipe.json")
    write_recipe(path, f"{line}\n{text}", force=args.force)
    print(path)
    return 0
