"""Compare f2yaml with DRAGONS on the reference night, pixel by pixel and card by card.

    .venv/bin/python benchmarks/reference.py [--reference DIR] [--work DIR] [--json FILE]
                                             [--markdown FILE]

The raw frames go through the real command line: makeProcessedDark, then ultradeep_part1 up to
darkCorrect with every step written. Each plane is compared with DRAGONS' cut-outs, each whole
plane with DRAGONS' percentiles, each header with DRAGONS' header. Every difference is put down to
a cause; the exit status is 1 if one has no known cause. `--markdown` replaces what lies between two
marker lines of a page (docs/agreement.md), or writes a new page.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from reference_headers import CardDifference, compare_cards, read_listing
from reference_planes import (
    BOXES,
    BPM,
    DARKS,
    FRAMES,
    PRODUCTS,
    SIDE,
    STEPS,
    UNKNOWN,
    PlaneResult,
    Rounding,
    StatisticsResult,
    compare_planes,
    compare_rounding,
    compare_statistics,
    product_path,
)

PAGE = "docs/agreement.md"
MARKS = ("<!-- begin benchmarks/reference.py -->", "<!-- end benchmarks/reference.py -->")


# running ------------------------------------------------------------------------------------


def reduce_night(reference: Path, work: Path) -> list[str]:
    """Run both recipes in `work`; returns the commands as a user would type them."""
    if not (reference / "cutouts").is_dir():
        sys.exit(f"{reference} holds no reference night; name its folder with --reference")
    raw = reference / "raw"
    work.mkdir(parents=True, exist_ok=True)
    write_bpm(reference, work / f"{BPM}.fits")
    config = "f2yaml: 1\nkind: config\ndatabases:\n  - {path: night.db, get: true, store: true}\n"
    (work / "f2yaml.yaml").write_text(config, encoding="utf-8")
    common = ["--config", "f2yaml.yaml", "--quiet"]
    written = [word for step in STEPS for word in ("-p", f"{step}:write_outputs=True")]
    commands = [
        ["caldb", "init", "--config", "f2yaml.yaml"],
        [
            *("run", "makeProcessedDark", "--inputs"),
            *(f"{raw / name}.fits.bz2" for name in DARKS),
            *("-p", "nonlinearityCorrect:write_outputs=True", *common),
        ],
        [
            *("run", "ultradeep_part1", "--inputs"),
            *(f"{raw / name}.fits.bz2" for name in FRAMES),
            *("-p", f"addDQ:user_bpm={BPM}.fits", "-p", "flatCorrect:skip_primitive=True"),
            *(*written, "--outdir", "part1", *common),
        ],
    ]
    program = Path(sys.executable).with_name("f2yaml")
    for command in commands:
        done = subprocess.run([program, *command], cwd=work, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"f2yaml {' '.join(command)}\nends with {done.returncode}:\n{done.stderr}")
    return [f"f2yaml {' '.join(c)}".replace(f"{raw}/", "raw/") for c in commands]


def write_bpm(reference: Path, path: Path) -> None:
    """Write the two known boxes of DRAGONS' bad-pixel mask as a full frame, zero elsewhere."""
    mask = np.zeros((2048, 2048), np.int16)
    with np.load(reference / "cutouts" / f"{BPM}.npz") as boxes:
        for name, (y, x) in BOXES.items():
            mask[y : y + SIDE, x : x + SIDE] = boxes[f"SCI_{name}"]
    image = fits.ImageHDU(mask, name="SCI", ver=1)
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(path, overwrite=True)


# the report ---------------------------------------------------------------------------------


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a Markdown table; text that a cell cannot hold is escaped."""
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    return [*lines, *("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in rows)]


def percent(share: float | None) -> str:
    """Return a share in percent; anything below all is shown below 100."""
    if share is None:
        return ""
    text = f"{100 * share:.3f}"
    return "100" if share == 1 else "99.999" if text == "100.000" else text


def plane_rows(planes: Sequence[PlaneResult]) -> list[list[str]]:
    """Return the rows of the pixel table."""
    rows = []
    for p in planes:
        worst = ""
        if p.worst is not None:
            place = f"({p.worst['y']}, {p.worst['x']})"
            worst = f"{place} {p.worst['ours']:.9g}, {p.worst['dragons']:.9g}"
        shares = [percent(s) for s in (p.identical, p.relative, p.precise, p.quiet)]
        bits = [f"bit {bit}: {count}" for bit, count in p.bits.items()]
        causes = [f"{cause}: {count}" for cause, count in p.causes.items()]
        rows.append([p.product, p.plane, *shares, worst, "; ".join(causes + bits)])
    return rows


def statistics_rows(results: Sequence[StatisticsResult]) -> list[list[str]]:
    """Return the rows of the table of whole planes."""
    rows = []
    for r in results:
        bits = [
            f"bit {bit}: {a}" if a == b else f"bit {bit}: {a}, DRAGONS {b}"
            for bit, (a, b) in r.bits.items()
        ]
        found = "; ".join(bits) if r.largest is None else f"{r.largest:.1g}"
        rows.append([r.product, r.plane, found, r.cause])
    return rows


def markdown(report: dict[str, Any]) -> str:
    """Return the generated part of the page."""
    cards: list[CardDifference] = report["cards"]
    rounding: list[Rounding] = report["rounding"]
    titles = ["product", "plane", "identical", "1e-6", "float", "0.1 noise"]
    titles += ["worst (y, x) ours, DRAGONS", "differences"]
    lines = [
        f"Made by `.venv/bin/python benchmarks/reference.py --markdown {PAGE}`, which runs",
        "",
        *(f"    {command}" for command in report["commands"]),
        "",
        "### Pixels in the cut-outs (%)",
        "",
        *table(titles, plane_rows(report["planes"])),
        "",
        "### Rounding of the mean of the darks (%), where no sample is rejected",
        "",
        *table(
            ["plane", "pixels", "f2yaml nearest", "DRAGONS nearest", "DRAGONS = float32 sum"],
            [
                [r.plane, str(r.pixels)]
                + [percent(s) for s in (r.ours_nearest, r.theirs_nearest, r.theirs_sequential)]
                for r in rounding
            ],
        ),
        "",
        "### Whole planes",
        "",
        *table(
            ["product", "plane", "largest difference of a percentile (sigma); DQ bits", "cause"],
            statistics_rows(report["statistics"]),
        ),
        "",
        "### Headers",
        "",
        *table(
            ["HDU", "keyword", "products", "f2yaml", "DRAGONS", "why"],
            [[c.hdu, c.key, str(c.products), c.ours, c.dragons, c.why] for c in cards],
        ),
    ]
    return "\n".join(lines)


def place(text: str, page: Path, marks: tuple[str, str] = MARKS) -> None:
    """Put the generated text between the marks of a page, or make the page."""
    begin, end = marks
    old = page.read_text(encoding="utf-8") if page.exists() else f"{begin}\n{end}\n"
    if old.count(begin) != 1 or old.count(end) != 1:
        sys.exit(f"{page} needs one line {begin} and one line {end}; nothing was written")
    head, _, rest = old.partition(begin)
    page.write_text(f"{head}{begin}\n\n{text}\n\n{end}{rest.partition(end)[2]}", encoding="utf-8")


def unexplained(report: dict[str, Any]) -> list[str]:
    """Return one line for each difference without a known cause."""
    lines = [f"{p.product} {p.plane}" for p in report["planes"] if UNKNOWN in p.causes]
    lines += [f"{s.product} {s.plane} (plane)" for s in report["statistics"] if s.cause == UNKNOWN]
    lines += [f"{c.hdu} {c.key}: {c.ours}, {c.dragons}" for c in report["cards"] if not c.known]
    return lines


def make_report(reference: Path, work: Path) -> dict[str, Any]:
    """Reduce the night in `work` and compare everything."""
    commands = reduce_night(reference, work)
    listings = {p: reference / "headers" / f"{p}.txt" for p in PRODUCTS}
    pairs = [
        (product, product_path(work, product), read_listing(listing))
        for product, listing in listings.items()
        if listing.exists()
    ]
    return {
        "commands": commands,
        "planes": list(compare_planes(reference, work)),
        "rounding": list(compare_rounding(reference, work)),
        "statistics": list(compare_statistics(reference, work)),
        "cards": compare_cards(pairs),
    }


def main() -> int:
    """Compare, print what has no known cause, and write what was asked for."""
    parser = argparse.ArgumentParser(description="Compare f2yaml with DRAGONS on one night.")
    root = Path(__file__).resolve().parents[1]
    parser.add_argument("--reference", type=Path, default=root.parent / "shared" / "reference")
    parser.add_argument("--work", type=Path, help="folder to keep (default: a temporary one)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="f2yaml-reference-") as scratch:
        work = Path(scratch) if arguments.work is None else arguments.work.resolve()
        report = make_report(arguments.reference.resolve(), work)
    if arguments.json is not None:
        plain = {
            key: [v if isinstance(v, str) else asdict(v) for v in values]
            for key, values in report.items()
        }
        arguments.json.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    text = markdown(report)
    if arguments.markdown is not None:
        place(text, arguments.markdown)
    else:
        print(text)
    open_points = unexplained(report)
    lines = [f"{len(open_points)} differences without a known cause", *open_points]
    print(*lines, sep="\n  ", file=sys.stderr)
    return 1 if open_points else 0


if __name__ == "__main__":
    sys.exit(main())
