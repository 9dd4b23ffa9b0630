"""``f2yaml replay``: run again exactly what made a product, and compare pixels."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from f2yaml.interpreter.replaying import Difference, Replay

HELP = "run again what made a product, and say whether the pixels are the same"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``f2yaml replay``."""
    parser.add_argument("product", type=Path, help="a product of `f2yaml run` (FITS)")
    parser.add_argument(
        "--look-in",
        action="append",
        default=[],
        type=Path,
        metavar="DIR",
        help="folder with inputs or calibrations, beside those of the product and of the call; "
        "repeatable",
    )
    parser.add_argument(
        "--outdir", type=Path, help="folder to keep the new product in (default: it is not kept)"
    )
    parser.add_argument("--jobs", "-j", type=int, help="frames worked on at once (default: cores)")
    parser.add_argument("--max-memory", metavar="SIZE", help="memory for planes, as 2G")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="of the results")
    parser.add_argument("--json", action="store_true", help="same as --format json")


def run(args: argparse.Namespace) -> int:
    """Do it again and compare; 0 if every pixel is the same, 1 if not."""
    import tempfile

    from f2yaml.interpreter.inputs import require_file
    from f2yaml.interpreter.replaying import compare, prepare
    from f2yaml.interpreter.terminal import printable

    require_file(args.product)
    replay = prepare(args.product, args.look_in)
    for change in replay.changes:
        print(printable(f"note: {change}"), file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="f2yaml-replay-") as folder:
        made = _made(replay, Path(folder), args)
        differences = compare(args.product, made)
    same = all(difference.same for difference in differences)
    if args.json or args.format == "json":
        _print_json(args.product, replay, differences, same=same)
    else:
        for difference in differences:
            print(f"{difference.plane:9}{_words(difference)}")
        print("the pixels are the same" if same else "the pixels are not the same")
    return 0 if same else 1


def _made(replay: Replay, work: Path, args: argparse.Namespace) -> Path:
    """Run the recipe in a folder of its own; returns the product of the same name."""
    import json
    import subprocess

    from f2yaml.interpreter.errors import BadInput
    from f2yaml.interpreter.itself import as_list

    recipe = work / Path(f"{replay.record.fact('run', 'recipe') or 'recipe'}.yaml").name
    recipe.write_text(replay.recipe, encoding="utf-8")
    listed = work / "inputs.list"
    listed.write_text(as_list(replay.inputs), encoding="utf-8")
    outdir = (args.outdir or work / "products").absolute()
    outdir.mkdir(parents=True, exist_ok=True)
    if replay.to_enter:
        _f2yaml(work, "caldb", "add", *map(str, replay.to_enter))
    words = [
        *("run", str(recipe), "--inputs", f"@{listed}", "--outdir", str(outdir), "--json"),
        *(replay.options + tuple(replay.words)),
        *(("--jobs", str(args.jobs)) if args.jobs else ()),
        *(("--max-memory", args.max_memory) if args.max_memory else ()),
    ]
    try:
        products = [Path(name) for name in json.loads(_f2yaml(work, *words))["products"]]
    except subprocess.CalledProcessError as error:
        raise BadInput(
            f"what made {args.product} cannot be done again",
            error.stderr.strip() or f"the run ended with status {error.returncode}",
            "the notes above say what is not as it was",
        ) from error
    wanted = [path for path in products if path.name == args.product.name] or products[-1:]
    if not wanted:
        raise BadInput(
            f"{args.product} cannot be compared",
            "the recipe wrote no product",
            "name a final product, not an intermediate file",
        )
    return outdir / wanted[0].name


def _f2yaml(work: Path, *words: str) -> str:
    import subprocess

    from f2yaml.interpreter.itself import command

    return subprocess.run(
        command(words),
        cwd=work,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def _words(difference: Difference) -> str:
    if difference.same:
        return "same"
    if difference.pixels < 0:
        return "not there, or of another shape"
    return f"{difference.pixels} pixels differ, by {difference.largest:.6g} at most"


def _print_json(
    product: Path, replay: Replay, differences: list[Difference], *, same: bool
) -> None:
    import json

    print(
        json.dumps(
            {
                "product": str(product),
                "recipe": replay.record.fact("run", "recipe"),
                "same": same,
                "planes": {
                    d.plane: {"same": d.same, "pixels": d.pixels, "largest": d.largest}
                    if d.pixels >= 0
                    else {"same": False, "pixels": None, "largest": None}
                    for d in differences
                },
                "changes": list(replay.changes),
            },
            indent=2,
        )
    )
