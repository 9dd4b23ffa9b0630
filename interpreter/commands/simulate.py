"""``f2yaml simulate``: raw F2 nights from a scenario, with the truth beside them."""

from __future__ import annotations

import argparse
import sys
import time
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Final

from f2yaml.interpreter.commands.tables import quiet_pipe
from f2yaml.schema.problems import RequestError, did_you_mean

if TYPE_CHECKING:
    from f2yaml.schema.scenario import Scenario

HELP: Final = "write a simulated night of raw frames and the truth about it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "scenario", nargs="?", metavar="SCENARIO", help="a scenario file, or a shipped one by name"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder to write to")
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="number of processes (default: 1)"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace files that are already in the folder"
    )
    parser.add_argument(
        "--list",
        action="store_true",
        help="list the frames of SCENARIO, or without it the shipped scenarios; write nothing",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    if args.list:
        with quiet_pipe():
            _list(args.scenario)
        return 0
    if args.scenario is None:
        raise RequestError(
            "no scenario is given",
            "a night is made from a scenario",
            "give a file or a shipped name (`f2yaml simulate --list` shows them)",
        )
    if args.out is None:
        raise RequestError(
            "no folder is given for the frames", "they need a place", "add --out DIR"
        )
    return _simulate(find_scenario(args.scenario), args)


def find_scenario(name: str) -> Scenario:
    """Return the scenario in a file, or the shipped one of that name.

    Raises
    ------
    RequestError
        There is no such file and no such name, or the document is not a sound scenario.
    """
    from f2yaml.schema.salvage import validate_model
    from f2yaml.schema.scenario import Scenario
    from f2yaml.schema.source import load

    path = Path(name)
    if path.suffix.lower() in (".yaml", ".yml") or path.parent != Path() or path.is_file():
        return validate_model(load(path), Scenario)
    if name not in shipped_names():
        known = ", ".join(shipped_names())
        raise RequestError(
            f"there is no scenario `{name}`",
            f"it is neither a file nor one of the shipped scenarios ({known})",
            did_you_mean(name, shipped_names()) or "give one of these names, or a .yaml file",
        )
    with as_file(files("f2yaml.recipes.scenarios") / f"{name}.yaml") as shipped:
        return validate_model(load(shipped), Scenario)


def shipped_names() -> list[str]:
    """Return the names of the shipped scenarios, in alphabetical order."""
    folder = files("f2yaml.recipes.scenarios")
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    )


def _list(name: str | None) -> None:
    if name is None:
        for shipped in shipped_names():
            print(f"{shipped:10s} {find_scenario(shipped).doc}")
        return
    from f2yaml.interpreter.simulate.night import planned

    frames = planned(find_scenario(name))
    rows: list[tuple[str, ...]] = [
        ("file", "kind", "filter", "exposure [s]", "UT of start", "P [arcsec]", "Q [arcsec]")
    ]
    for frame in frames:
        on_sky = frame.kind == "science"
        rows.append(
            (
                f"{frame.name}.fits",
                frame.kind,
                frame.filter or "dark",
                f"{frame.exposure_s:g}",
                f"{frame.start:%Y-%m-%dT%H:%M:%S}",
                f"{frame.p:g}" if on_sky else "-",
                f"{frame.q:g}" if on_sky else "-",
            )
        )
    _print_table(rows)


def _simulate(scenario: Scenario, args: argparse.Namespace) -> int:
    from f2yaml.interpreter.simulate.night import planned, simulate

    told = sys.stderr.isatty() or getattr(args, "verbose", False)

    def progress(name: str) -> None:
        print(f"wrote {name}.fits", file=sys.stderr, flush=True)

    begun = time.monotonic()
    written = simulate(
        scenario,
        args.out,
        jobs=args.jobs,
        overwrite=args.overwrite,
        progress=progress if told else None,
    )
    rows: list[tuple[str, ...]] = [("kind", "filter", "exposure [s]", "frames", "first", "last")]
    groups: dict[tuple[str, str, str], list[str]] = {}
    for frame in planned(scenario):
        key = (frame.kind, frame.filter or "dark", f"{frame.exposure_s:g}")
        groups.setdefault(key, []).append(frame.name)
    rows += [(*key, str(len(names)), names[0], names[-1]) for key, names in groups.items()]
    _print_table(rows)
    seconds = time.monotonic() - begun
    truth = " and ".join(path.name for path in written if path.suffix != ".fits")
    print(f"{len(written) - 2} frames in {args.out}, with {truth}; {seconds:.1f} s")
    return 0


def _print_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
