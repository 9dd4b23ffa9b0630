"""Judge f2yaml on nights that are hard in one way each (product, section 4).

    .venv/bin/python benchmarks/scenarios.py [NAME ...] --work DIR [--judge-only] [--stacks-only]
                                             [--json FILE] [--markdown FILE]

Each scenario of ``benchmarks/scenarios`` is simulated into ``DIR/NAME/raw`` (once: raw frames of an
unchanged scenario are used again), reduced through the real command line, and judged against the
truth as `truth.py` does. Where clouds pass or the seeing changes, the frames are also scaled and
weighted in other ways by ``benchmarks/restack.yaml``. Results of scenarios that are not named stay
in the JSON file and in the table. The exit status is 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from truth import _SCALED, f2yaml, judge, plain, prepare_night, reduce_night
from truth import table as table_of
from truth_figures import Figure

HERE = Path(__file__).resolve().parent
PAGE = "docs/truth.md"
MARKS = ("<!-- begin benchmarks/scenarios.py -->", "<!-- end benchmarks/scenarios.py -->")
#: In the order of the table.
NAMES = (
    "sparse_deep", "crowded", "offset_sky", "y_band", "sky_drift", "three_frames", "header_error",
    "cirrus", "bad_seeing",
)  # fmt: skip
RECIPE = {"offset_sky": "reduce"}
#: Ways to stack: name, tolerance of scaleCountsToReference, weight of stackFrames.
STACKS = (
    ("variance", 0.0, "variance"),
    ("seeing", 0.0, "seeing"),
    ("scaled", 0.5, "none"),
    ("scaled, variance", 0.5, "variance"),
    ("scaled, seeing", 0.5, "seeing"),
)
STACKED = ("cirrus", "bad_seeing")
#: Rows of the table: label, pattern of the figure's name, factor, decimals.
ROWS = (
    ("photometry: stars", r"photometry: bright", 1, 0),
    ("photometry: scatter / limit", r"photometry: scatter / limit", 1, 2),
    ("alignment of stars, x [pix]", r"alignment: \d+ stars .* x, rms", 1, 3),
    ("alignment of stars, y [pix]", r"alignment: \d+ stars .* y, rms", 1, 3),
    ("alignment of frames, x [pix]", r"alignment: \d+ frames, x, rms", 1, 3),
    ("alignment of frames, y [pix]", r"alignment: \d+ frames, y, rms", 1, 3),
    ("wrong header, left [pix]", r"alignment: \d+ frames with wrong", 1, 3),
    ("noise / VAR, radius 5 pix", r"noise: radius 5 pix / sqrt", 1, 3),
    ("noise / VAR, radius 7 pix", r"noise: radius 7 pix / sqrt", 1, 3),
    ("noise / VAR, radius 10 pix", r"noise: radius 10 pix / sqrt", 1, 3),
    ("noise / VAR, radius 15 pix", r"noise: radius 15 pix / sqrt", 1, 3),
    ("depth lost [mag]", r"depth: .*, lost$", 1, 3),
    ("that skies alone cost [mag]", r"depth: .* alone costs", 1, 3),
    ("lost against the best weights [mag]", r"depth: .*, lost against", 1, 3),
    ("sky: rms / noise of VAR", r"sky: \d+ blocks, rms / noise", 1, 2),
    ("sky, not in all frames", r"sky, not .*, rms / noise", 1, 2),
    ("cosmic rays: charge left [%]", r"cosmic rays: charge", 1, 1),
    ("galaxy: light within 1 length", r"galaxy 1: light within 1 ", 1, 3),
    ("galaxy: light within 2 lengths", r"galaxy 1: light within 2 ", 1, 3),
    ("galaxy: light within 4 lengths", r"galaxy 1: light within 4 ", 1, 3),
    ("galaxy, 3 to 4 lengths: error / sky [1e-3]", r"galaxy 1: 3 to 4 .* error", 1, 2),
    ("galaxy, 4 to 5 lengths: error / sky [1e-3]", r"galaxy 1: 4 to 5 .* error", 1, 2),
)


def run_scenario(
    name: str, work: Path, options: list[str], given: argparse.Namespace
) -> dict[str, Any]:
    """Simulate, reduce and judge a scenario; return its figures and times."""
    folder, source = work / name, HERE / "scenarios" / f"{name}.yaml"
    made: dict[str, Any] = {"times": {}, "options": options}
    begun = time.perf_counter()
    text, copy = source.read_text(), folder / "scenario.yaml"
    if not (given.judge_only or given.stacks_only):
        same = copy.exists() and copy.read_text() == text
        for old in ("calibrations", "products", *(() if same else ("raw",))):
            shutil.rmtree(folder / old, ignore_errors=True)
        prepare_night(folder, str(source))
        copy.write_text(text)
        made["times"]["night and calibrations"] = time.perf_counter() - begun
        begun = time.perf_counter()
        written = ["adjustWCSToReference"]
        written += ["resampleToCommonFrame"] if name in STACKED else []
        reduce_night(folder, str(source), options, RECIPE.get(name, "ultradeep"), tuple(written))
        made["times"]["reduction"] = time.perf_counter() - begun
        begun = time.perf_counter()
    products = folder / "products"
    image = next(products.glob("*_image.fits"))
    figures, made["alignment"] = judge(image, folder / "raw", products)
    print(table_of(figures), flush=True)
    made["figures"] = _plain(figures)
    made["times"]["judging"] = time.perf_counter() - begun
    if name in STACKED and not given.no_stacks:
        begun = time.perf_counter()
        made["stacks"] = {"plain mean": made["figures"]} | dict(_stacks(folder))
        made["times"]["other stacks"] = time.perf_counter() - begun
    return made


def _stacks(folder: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Scale and weight the frames of a scenario in other ways; yield the figures of each stack."""
    products, restacked = folder / "products", folder / "restacked"
    shutil.rmtree(restacked, ignore_errors=True)
    # The lists that the commands read are relative to their folder.
    names = [line for line in (folder / "science.list").read_text().split() if line]
    aligned = [products / f"{Path(line).stem}_align.fits" for line in names]
    (folder / "aligned.list").write_text(
        "".join(f"{os.path.relpath(p, folder)}\n" for p in aligned)
    )
    for label, tolerance, weight in STACKS:
        f2yaml(
            folder, "run", str(HERE / "restack.yaml"), "--inputs", "@aligned.list",
            "-p", f"scaleCountsToReference:tolerance={tolerance}",
            "-p", "scaleCountsToReference:write_outputs=True",
            "-p", f"stackFrames:weight={weight}", "--outdir", "restacked",
        )  # fmt: skip
        image = next(restacked.glob("*_restacked.fits"))
        figures, _ = judge(image, folder / "raw", None, restacked)
        print(f"-- {label}\n{table_of(figures)}", flush=True)
        yield label, _plain(figures)
        for old in (image, *restacked.glob(f"*{_SCALED}.fits")):
            old.unlink()


def _plain(figures: list[Figure]) -> list[dict[str, Any]]:
    return [{k: plain(v) for k, v in asdict(f).items()} for f in figures]


def find(figures: list[dict[str, Any]], pattern: str) -> dict[str, Any] | None:
    """Return the first figure whose name a pattern is found in."""
    return next((f for f in figures if re.search(pattern, f["name"])), None)


def _cell(figures: list[dict[str, Any]], pattern: str, factor: float, decimals: int) -> str:
    found = find(figures, pattern)
    if found is None or found["value"] is None:
        return ""
    text = f"{found['value'] * factor:.{decimals}f}"
    return f"**{text}**" if found["passed"] is False else text


def main_table(results: dict[str, Any]) -> list[str]:
    """Return the table of all scenarios; a target that is missed is set in bold."""
    names = [name for name in NAMES if name in results]
    lines = [f"| figure | target | {' | '.join(names)} |", f"|---|---|{'---|' * len(names)}"]
    for label, pattern, factor, decimals in ROWS:
        hits = [find(results[name]["figures"], pattern) for name in names]
        if not any(hits):
            continue
        target = next((hit["target"] for hit in hits if hit and hit["target"]), "")
        cells = [_cell(results[n]["figures"], pattern, factor, decimals) for n in names]
        lines.append(f"| {label} | {target} | {' | '.join(cells)} |")
    return lines


def stack_table(results: dict[str, Any]) -> list[str]:
    """Return the table of ways to stack."""
    lines = [
        "| scenario | stack | depth [mag] | gained | best weights would reach | noise / VAR, 5 pix "
        "| 10 pix | scatter / limit | scatter, S/N 25 to 100 | 100 to 400 [1e-3] |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in STACKED:
        stacks = results.get(name, {}).get("stacks", {})
        depth = r"depth: .*, stack"
        plain_depth = find(stacks.get("plain mean", []), depth)
        for label, figures in stacks.items():
            reached = find(figures, depth)
            if reached is None or plain_depth is None:
                continue
            cells = [
                _cell(figures, depth, 1, 3),
                f"{reached['value'] - plain_depth['value']:+.3f}",
                _cell(figures, r"depth: .* with the best", 1, 3),
                _cell(figures, r"noise: radius 5 pix / sqrt", 1, 3),
                _cell(figures, r"noise: radius 10 pix / sqrt", 1, 3),
                _cell(figures, r"photometry: scatter / limit", 1, 2),
                _cell(figures, r"S/N 25 to 100 .*: scatter$", 1, 1),
                _cell(figures, r"S/N 100 to 400 .*: scatter$", 1, 1),
            ]
            lines.append(f"| {name} | {label} | {' | '.join(cells)} |")
    return lines


def time_table(results: dict[str, Any]) -> list[str]:
    """Return how long each scenario took."""
    kinds = ("night and calibrations", "reduction", "judging", "other stacks")
    lines = [f"| seconds | {' | '.join(kinds)} |", "|---|---|---|---|---|"]
    for name in NAMES:
        times = results.get(name, {}).get("times", {})
        if times:
            cells = [f"{times[kind]:.0f}" if kind in times else "" for kind in kinds]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def page(results: dict[str, Any]) -> str:
    """Return what stands between the marks of the page."""
    options = sorted({o for one in results.values() for o in one.get("options", [])})
    command = "benchmarks/scenarios.py --work DIR" + "".join(f" -p {o}" for o in options)
    parts = [
        [f"Made by `.venv/bin/python {command} --markdown {PAGE}`."],
        main_table(results),
        ["Ways to stack:"],
        stack_table(results),
        time_table(results),
    ]
    return "\n\n".join("\n".join(part) for part in parts if part)


def write_page(path: Path, text: str) -> None:
    """Put text between the marks of a page; add the marks to one that has none."""
    old = path.read_text() if path.exists() else "# Judged against the truth\n"
    if MARKS[0] not in old:
        old += f"\n{MARKS[0]}\n{MARKS[1]}\n"
    before, rest = old.split(MARKS[0], 1)
    after = rest.split(MARKS[1], 1)[1]
    path.write_text(f"{before}{MARKS[0]}\n\n{text}\n\n{MARKS[1]}{after}")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--work", type=Path, required=True, help="folder; a night takes 2 GB of it")
    parser.add_argument("--judge-only", action="store_true", help="judge the images of a past run")
    parser.add_argument(
        "--stacks-only", action="store_true", help="judge them, and scale and weight again"
    )
    parser.add_argument("--no-stacks", action="store_true", help="leave out other ways to stack")
    parser.add_argument("--json", type=Path, help="file for all figures (default: in the folder)")
    parser.add_argument("--markdown", type=Path, help=f"page for the tables, such as {PAGE}")
    parser.add_argument(
        "-p", dest="options", action="append", default=[], metavar="STEP:NAME=VALUE",
        help="parameter of the science recipes; repeatable",
    )  # fmt: skip
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in NAMES]
    if unknown:
        parser.error(f"no scenario {unknown[0]}; there are {', '.join(NAMES)}")
    given.no_stacks |= given.judge_only
    return given


def main() -> int:
    """Run the scenarios, print and write their figures."""
    given = arguments()
    work = given.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    stored = given.json or work / "scenarios.json"
    results: dict[str, Any] = json.loads(stored.read_text()) if stored.exists() else {}
    missed: list[str] = []
    for name in given.names or NAMES:
        print(f"== {name}", flush=True)
        made = run_scenario(name, work, given.options, given)
        past = results.get(name, {})
        if given.judge_only or given.stacks_only:
            made = past | made | {"times": past.get("times", {}) | made["times"]}
            made["options"] = past.get("options", [])
        results[name] = made
        missed += [f"{name}: {f['name']}" for f in made["figures"] if f["passed"] is False]
        stored.write_text(json.dumps(results, indent=1) + "\n")  # kept if a later one fails
    if given.markdown is not None:
        write_page(given.markdown, page(results))
    print("\n".join(["== targets missed", *missed] if missed else ["all targets met"]))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
