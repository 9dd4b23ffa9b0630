"""``f2yaml report``: a page of a product or a night, to be looked at in any browser."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "an HTML page of a product, or of all products in a folder; needs no network"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``f2yaml report``."""
    parser.add_argument("source", type=Path, help="a product (FITS), or a folder of products")
    parser.add_argument(
        "-o", "--out", type=Path, metavar="PAGE", help="page; default NAME_report.html"
    )


def run(args: argparse.Namespace) -> int:
    """Write the page and print its name."""
    from f2yaml.interpreter.inputs import require_file
    from f2yaml.interpreter.report.build import default_name, save
    from f2yaml.schema.problems import RequestError

    out = args.out or default_name(args.source)
    if out.suffix.lower() not in (".html", ".htm"):
        raise RequestError(
            f"{out} is no name of a page",
            "browsers know a page by its ending, and a product would be written over",
            "end it in .html",
        )
    require_file(args.source)
    print(save(args.source, out, "-o"))
    return 0
