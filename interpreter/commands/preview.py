"""``f2yaml preview``: a PNG of a product."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "a PNG of a product"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``f2yaml preview``."""
    parser.add_argument("file", type=Path, help="a product, or a raw frame")
    parser.add_argument("-o", "--output", type=Path, help="picture; default the product's name")
    parser.add_argument("--size", type=int, default=1024, help="longest side [pix]")
    parser.add_argument("--circles", action="store_true", help="mark its sources")


def run(args: argparse.Namespace) -> int:
    """Draw the picture and print its name."""
    from f2yaml.interpreter.inputs import require_file
    from f2yaml.interpreter.preview import save
    from f2yaml.schema.problems import RequestError

    if not 64 <= args.size <= 8192:
        raise RequestError(
            f"--size {args.size} is out of range",
            "it is the longest side of the picture in pixels",
            "give 64 to 8192",
        )
    out = args.output or Path(f"{args.file.name.split('.')[0]}.png")
    if out.resolve() == args.file.resolve():
        raise RequestError(
            f"{out} is the file to be shown",
            "the picture would take its place",
            "give another name with -o",
        )
    require_file(args.file)
    print(save(args.file, out, size=args.size, circles=args.circles))
    return 0
