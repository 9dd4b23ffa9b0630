"""What it takes to reduce an archive of nights, from figures that speed.py has measured.

    python benchmarks/archive.py [--results benchmarks/results/0.3.json] [--nights 1000]
                                 [--cores 64] [--price 0.04] [--bandwidth 1.0]
                                 [--markdown docs/archives.md]

A night is a dark, a flat and one target: makeProcessedDark, makeProcessedFlat and ultradeep, with
one job each, as fits machines that do many nights at once. `--price` is for a core and an hour,
`--bandwidth` what the storage gives all machines together, in GB/s. `--markdown` writes the table
between the marks in that page.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "0.3.json"
NIGHT = ("makeProcessedDark", "makeProcessedFlat", "ultradeep")
#: A raw file, and the three products.
RAW_BYTES, PRODUCTS_BYTES = 16.8e6, 42.0e6 + 42.0e6 + 58.3e6
BEGIN = "<!-- begin benchmarks/archive.py -->"
END = "<!-- end benchmarks/archive.py -->"


def chosen(runs: list[dict[str, Any]], recipe: str) -> dict[str, Any]:
    """Return the run of a recipe with the fewest jobs and frames."""
    mine = [run for run in runs if run["recipe"] == recipe]
    if not mine:
        raise SystemExit(f"no run of {recipe} in the results: make them with speed.py")
    return min(mine, key=lambda run: (run["jobs"], run["frames"]))


def rows(results: dict[str, Any], args: argparse.Namespace) -> list[tuple[str, str]]:
    """Return what there is to say, in words and in figures."""
    runs = [chosen(results["runs"], recipe) for recipe in NIGHT]
    frames = sum(run["frames"] for run in runs)
    cpu = sum(run["cpu"] for run in runs)
    wall = sum(min(run["wall"]) for run in runs)
    memory = max(run["largest"] for run in runs) / 1e9
    hours = args.nights * wall / 3600
    read = args.nights * frames * RAW_BYTES
    written = args.nights * PRODUCTS_BYTES
    moving = (read + written) / (args.bandwidth * 1e9) / 3600
    took = max(hours / args.cores, moving)
    needed = 3600 * args.bandwidth * 1e9 / ((frames * RAW_BYTES + PRODUCTS_BYTES) / wall * 3600)
    said = ", ".join(f"{run['recipe']} {run['frames']}" for run in runs)
    return [
        ("frames of a night", f"{frames} ({said})"),
        ("time of a night, one core", f"{wall:.0f} s ({cpu:.0f} s of CPU)"),
        ("memory of a night", f"{memory:.1f} GB"),
        (f"{args.nights} nights, one core", f"{hours:.1f} hours"),
        (f"{args.nights} nights, {args.cores} cores", f"{took * 60:.0f} minutes"),
        ("memory of these cores", f"{math.ceil(args.cores * memory)} GB"),
        ("read, written", f"{read / 1e12:.2f} TB, {written / 1e12:.2f} TB"),
        (f"cores that {args.bandwidth:g} GB/s of storage can feed", f"{needed:.0f}"),
        (f"cost at {args.price:g} a core and hour", f"{hours * args.price:.2f}"),
        ("cost of a night", f"{hours * args.price / args.nights:.5f}"),
    ]


def main() -> None:
    """Print the table, and write it into a page if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--nights", type=int, default=1000)
    parser.add_argument("--cores", type=int, default=64)
    parser.add_argument("--price", type=float, default=0.04)
    parser.add_argument("--bandwidth", type=float, default=1.0)
    parser.add_argument("--markdown", type=Path)
    args = parser.parse_args()
    found = rows(json.loads(args.results.read_text(encoding="utf-8")), args)
    width = max(len(words) for words, _ in found)
    for words, figures in found:
        print(f"{words:{width}}  {figures}")
    if args.markdown is not None:
        text = args.markdown.read_text(encoding="utf-8")
        head, _, rest = text.partition(BEGIN)
        _, _, tail = rest.partition(END)
        table = "\n".join(f"| {words} | {figures} |" for words, figures in found)
        args.markdown.write_text(
            f"{head}{BEGIN}\n\n| an archive | |\n| --- | --- |\n{table}\n\n{END}{tail}",
            encoding="utf-8",
        )


if __name__ == "__main__":
    main()
