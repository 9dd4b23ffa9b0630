"""``f2yaml night``: reduce a folder of raw frames, each run after those whose products it needs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from f2yaml.interpreter.night.graph import Job
    from f2yaml.interpreter.night.ledger import Ledger
    from f2yaml.interpreter.night.running import Result
    from f2yaml.interpreter.night.settings import Share
    from f2yaml.interpreter.night.survey import Survey

HELP = "reduce everything in a folder of raw frames"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``f2yaml night``."""
    parser.add_argument("folder", type=Path, help="folder with the raw frames")
    parser.add_argument(
        "--outdir", type=Path, default=Path(), help="folder for the products (default: this one)"
    )
    parser.add_argument(
        "--rules", default="f2_imaging", help="selection rules (file or shipped name: f2_imaging)"
    )
    parser.add_argument(
        "--recipe",
        help="recipe for science frames (default: ultradeep if all of three or more frames show "
        "the target, else reduce)",
    )
    parser.add_argument(
        "-p",
        action="append",
        default=[],
        metavar="STEP:NAME=VALUE",
        help="set a parameter of a step, in the runs that have such a step; repeatable",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show the runs and what is missing; run nothing"
    )
    parser.add_argument("--no-report", action="store_true", help="make no HTML pages")
    parser.add_argument("--jobs", "-j", type=int, help="cores to use (default: all)")
    parser.add_argument("--max-memory", metavar="SIZE", help="memory for planes, as 2G")
    parser.add_argument("--config", "-c", type=Path, help="configuration file")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="of the results")
    parser.add_argument("--json", action="store_true", help="same as --format json")
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress")


def run(args: argparse.Namespace) -> int:
    """Sort the folder, show the graph, run it; 1 if anything could not be made."""
    import os
    from dataclasses import replace

    from f2yaml.interpreter.calibrations import Calibrations
    from f2yaml.interpreter.config import load_config
    from f2yaml.interpreter.flatcopy import flat_text
    from f2yaml.interpreter.night.graph import graph
    from f2yaml.interpreter.night.ledger import NAME, Ledger
    from f2yaml.interpreter.night.settings import shared_out
    from f2yaml.interpreter.night.survey import files_in, survey
    from f2yaml.interpreter.selecting import load_rules
    from f2yaml.interpreter.sessions import default_memory, parse_size
    from f2yaml.schema.compose import load_recipe
    from f2yaml.schema.problems import RequestError

    if args.jobs is not None and args.jobs < 1:
        raise RequestError(
            f"--jobs {args.jobs} is not a number of jobs",
            "it says how many cores to use",
            "1 or more",
        )
    memory = parse_size(args.max_memory) if args.max_memory else default_memory()
    rules = load_rules(args.rules)
    if args.recipe is not None:
        load_recipe(args.recipe)
    found = survey(files_in(args.folder), rules)
    outdir: Path = args.outdir.absolute()
    calibrations = Calibrations.from_config(load_config(args.config, cwd=outdir), outdir)
    ledger = Ledger.read(outdir)
    if ledger.trouble:
        _print_trouble(outdir / NAME, ledger.trouble)
    recipe = args.recipe
    if recipe is not None and Path(recipe).exists():
        recipe = str(Path(recipe).absolute())
    jobs = graph(found, calibrations, recipe=recipe, own=ledger.names())
    recipes = {name: load_recipe(name) for name in dict.fromkeys(j.recipe for j in jobs) if name}
    shares = shared_out(recipes, args.p, calibrations)
    jobs = tuple(replace(j, settings=shares[j.recipe].words) if j.recipe else j for j in jobs)
    texts = {name: flat_text(recipe, "job") for name, recipe in recipes.items()}
    asked, stale = _standing(jobs, ledger, texts, shares)
    as_json = args.json or args.format == "json"
    if not as_json:
        _print_graph(jobs, stale, found)
    if args.dry_run:
        if as_json:
            _print_json(found, jobs, stale, [])
        return 0
    outdir.mkdir(parents=True, exist_ok=True)
    cores = args.jobs or os.cpu_count() or 1
    results = _run(args, outdir, ledger, jobs, stale, asked, cores, memory)
    if as_json:
        _print_json(found, jobs, stale, results)
    else:
        _print_results(results)
    whole = all(result.status in ("done", "up to date") for result in results)
    return 0 if whole and not found.bad else 1


def _standing(
    jobs: Sequence[Job], ledger: Ledger, texts: Mapping[str, str], shares: Mapping[str, Share]
) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """Return what each job is made of, and why it has to be done, an empty text if it need not."""
    from f2yaml.interpreter.night.ledger import asked_of

    asked: dict[str, dict[str, str]] = {}
    stale: dict[str, str] = {}
    for job in jobs:
        settings = shares[job.recipe].whole if job.recipe else ()
        asked[job.name] = asked_of(job, asked, texts.get(job.recipe, ""), settings)
        stale[job.name] = ledger.stale(job, asked[job.name])
        lost = [name for name in job.needs if stale.get(name)]
        if lost and not stale[job.name]:
            stale[job.name] = f"{lost[0]} is made again"
    return asked, stale


def _run(
    args: argparse.Namespace,
    outdir: Path,
    ledger: Ledger,
    jobs: Sequence[Job],
    stale: Mapping[str, str],
    asked: Mapping[str, dict[str, str]],
    cores: int,
    memory: int,
) -> list[Result]:
    """Run the jobs, and make the pages of what is new."""
    from f2yaml.interpreter.night.running import Runner
    from f2yaml.interpreter.terminal import printable

    options = [] if args.config is None else ["--config", str(args.config.absolute())]

    def tell(text: str) -> None:
        if not args.quiet:
            print(printable(text), file=sys.stderr, flush=True)

    runner = Runner(outdir, ledger, cores, memory, options, tell)
    results = runner.run(jobs, stale, asked)
    if not args.no_report:
        for result in results:
            if result.job.kind == "science" and result.products:
                _report(result, outdir, tell)
    return results


def _report(result: Result, outdir: Path, tell: Callable[[str], None]) -> None:
    """Make the page of a target where there is none, or an old one."""
    from f2yaml.interpreter.errors import F2Error
    from f2yaml.interpreter.report.build import save

    product = outdir / result.products[0]
    page = product.with_suffix(".html")
    if page.exists() and page.stat().st_mtime_ns >= product.stat().st_mtime_ns:
        return
    try:
        save(product, page)
    except F2Error as error:
        result.notes.append(f"no page was made: {error.problems[0].what}")
        tell(f"{result.job.name}: {result.notes[-1]}")


def _print_trouble(path: Path, why: str) -> None:
    from f2yaml.interpreter.terminal import printable

    text = f"note: {path} cannot be read ({why}); everything counts as not done yet"
    print(printable(text), file=sys.stderr, flush=True)


def _print_graph(jobs: Sequence[Job], stale: Mapping[str, str], found: Survey) -> None:
    from f2yaml.interpreter.terminal import printable

    lines = []
    for job in jobs:
        about = ", ".join(f"{name} {value}" for name, value in job.values.items())
        lines.append(
            f"{job.name}  [{job.recipe or 'no recipe'}]  {len(job.inputs)} frames  {about}"
        )
        lines += [f"    needs {name}" for name in job.needs]
        lines += [f"    uses {name} of the calibration database" for name in job.uses]
        lines += [f"    with {setting}" for setting in job.settings]
        if job.missing:
            lines += [f"    NOT POSSIBLE: {why}" for why in job.missing]
        else:
            lines.append(f"    {stale[job.name] or 'up to date'}")
    lines += [
        f"{path.name}: a processed calibration; `f2yaml caldb add {path}` enters it"
        for path, _, _ in found.calibrations
    ]
    if found.leftover:
        lines.append(f"left over: {len(found.leftover)} files")
        lines += [f"    {name}: {why}" for name, why in found.leftover]
    for error in found.bad:
        lines += [f"unreadable: {problem.what}" for problem in error.problems]
    for line in lines:
        print(printable(line))


def _print_results(results: Sequence[Result]) -> None:
    from f2yaml.interpreter.terminal import printable

    width = max((len(result.job.name) for result in results), default=0)
    print()
    for result in results:
        what = ", ".join(result.products) or result.why.splitlines()[0]
        time = f"  {result.seconds:.1f} s" if result.status == "done" else ""
        print(printable(f"{result.job.name.ljust(width)}  {result.status:12}  {what}{time}"))
        for note in result.notes:
            print(printable(f"    note: {note}"))


def _print_json(
    found: Survey, jobs: Sequence[Job], stale: Mapping[str, str], results: Sequence[Result]
) -> None:
    import json

    by_name = {result.job.name: result for result in results}
    rows = []
    for job in jobs:
        row: dict[str, object] = {
            "name": job.name,
            "kind": job.kind,
            "recipe": job.recipe,
            "inputs": [str(path) for path in job.inputs],
            "needs": list(job.needs),
            "uses": list(job.uses),
            "settings": list(job.settings),
            "missing": list(job.missing),
            "stale": stale[job.name],
        }
        if job.name in by_name:
            result = by_name[job.name]
            row |= {
                "status": result.status,
                "why": result.why,
                "products": result.products,
                "notes": result.notes,
                "seconds": round(result.seconds, 1),
            }
        rows.append(row)
    print(
        json.dumps(
            {
                "jobs": rows,
                "calibrations": [str(path) for path, _, _ in found.calibrations],
                "leftover": dict(found.leftover),
                "unreadable": [p.what for error in found.bad for p in error.problems],
            },
            indent=2,
        )
    )
