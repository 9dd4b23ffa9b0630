"""``f2yaml schema``: JSON Schema of the documents, for editors."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "JSON Schema of recipes, rules, scenarios and configuration, for editors"
_KINDS = ("recipe", "rules", "scenario", "config")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``f2yaml schema``."""
    parser.add_argument(
        "kind", nargs="?", choices=_KINDS, help="kind of document; without it, all of them"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write KIND.json into this folder, with the steps of all installed packages",
    )


def run(args: argparse.Namespace) -> int:
    """Print a schema, write schemas, or say where those are that come with f2yaml."""
    from f2yaml.interpreter.jsonschema import schema_folder, schema_text, write_schemas
    from f2yaml.schema.problems import RequestError

    if args.out is not None:
        try:
            written = write_schemas(args.out, [args.kind] if args.kind else _KINDS)
        except OSError as error:
            raise RequestError(
                f"{args.out} cannot be written to",
                error.strerror or str(error),
                "name a folder of your own after --out",
            ) from error
        for path in written:
            print(path)
    elif args.kind:
        print(schema_text(args.kind), end="")
    else:
        print("Put one of these lines at the top of a document; editors then complete and explain.")
        for kind in _KINDS:
            print(f"{kind:9s} {schema_line(schema_folder() / f'{kind}.json')}")
    return 0


def schema_line(path: Path | str) -> str:
    """Return the first line of a document that has this schema."""
    return f"# yaml-language-server: $schema={path}"
