"""More than a hundred files that are broken, each in its own way, and what f2yaml does with them.

``python tests/faults/corpus.py --table`` prints the table of docs/faults.md. What a run says of
each file stands in messages.txt.
"""

from __future__ import annotations

import argparse
import sys
from functools import cache
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from faults import corpus_around, corpus_inside
from faults.making import Corpus, Fault

#: Three darks and three exposures of a detector as small as the simulator makes.
SCENARIO = """\
f2yaml: 1
kind: scenario
name: faults
doc: Three darks and three exposures of a detector of 128 x 128 pixels.
seed: 64
detector: {nx: 128, ny: 128, dust_spots: 0}
target: {ra_deg: 105.0, dec_deg: -30.0, stars: 5, galaxies: 0, bright_mag: 12.5}
sky: {level_e_s: 800.0, thermal_e_s: 150.0}
science:
  - files: S20200104S0075-077
    filter: K-red
    exposure_s: 5.0
    start_ut: 04:00:00
    program: GS-2020A-Q-101
    observation: 7
    offsets_pq_arcsec: [[0.0, 0.0], [-1.0, -1.0], [1.0, 0.0]]
darks:
  - {files: S20200107S0049-051, exposure_s: 5.0, start_ut: 14:10:00, observation: 2}
"""

#: Raw exposures to calibrated ones whose positions are taken from their headers.
RECIPE = """\
f2yaml: 1
name: aligned
doc: Frames in electrons, aligned by their headers.
applies_to:
  all: [{tags: [F2, IMAGE]}, {not: {tags: [CAL]}}, {same: [filter_name, read_mode]}]
steps:
  - {include: base/standard.yaml}
  - {do: adjustWCSToReference, with: {method: offsets}}
outputs:
  main: {suffix: _aligned}
"""


@cache
def faults() -> tuple[Fault, ...]:
    """Return the corpus."""
    corpus = Corpus()
    for fill in (
        corpus_inside.cut_off,
        corpus_inside.flipped,
        corpus_inside.axes_and_types,
        corpus_inside.missing,
        corpus_inside.contradictory,
        corpus_inside.no_numbers,
        corpus_around.compressed,
        corpus_around.no_files,
        corpus_around.not_fits,
        corpus_around.characters,
        corpus_inside.extensions,
    ):
        fill(corpus)
    return tuple(corpus.faults)


def build(folder: Path, dark: Path, science: Path) -> None:
    """Write every file of the corpus, made of a good dark and a good exposure."""
    good = {"dark": dark.read_bytes(), "science": science.read_bytes()}
    for fault in faults():
        fault.make(folder / fault.name, good[fault.frame])


def messages() -> dict[str, str]:
    """Return what a run says of each file that it refuses (see test_bad_input.py)."""
    path = Path(__file__).with_name("messages.txt")
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split(" | ", 1) for line in lines if not line.startswith("#"))


def table() -> str:
    """Return the table of docs/faults.md."""
    rows = [
        "| kind of fault | files | named by the inspection commands | refused by a run | reduced |"
    ]
    rows.append("| --- | ---: | ---: | ---: | ---: |")
    kinds = list(dict.fromkeys(fault.kind for fault in faults()))
    for kind in [*kinds, "all"]:
        mine = [f for f in faults() if kind in ("all", f.kind)]
        seen, refused = sum(f.seen for f in mine), sum(f.status != 0 for f in mine)
        rows.append(f"| {kind} | {len(mine)} | {seen} | {refused} | {len(mine) - refused} |")
    return "\n".join(rows)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", action="store_true", required=True, help="print the table")
    parser.parse_args()
    print(table())


if __name__ == "__main__":
    main()
