"""Reduce the whole reference night, and compare every product with DRAGONS' and the truth.

    .venv/bin/python benchmarks/reference_night.py [--reference DIR] [--work DIR [--reuse]]
                                                   [--json FILE] [--markdown FILE]

Darks, bad-pixel mask, flat and nine science frames go through the real command line to the image.
Printed are, for SCI, VAR and DQ, the share of good pixels that agree within a tenth of the noise
and the worst pixel; source tables matched with each other and with the truth; and figures of the
stack against the truth beside those of DRAGONS. The exit status is 1 if a product misses its
target: 99 % of good pixels for dark, mask, flat and all steps up to flatCorrect.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from reference import percent, place, table
from reference_figures import (
    APERTURE_PIX,
    BLOCK_PIX,
    RADIUS_PIX,
    RESPONSE,
    Agreement,
    Merit,
    Sources,
    Truth,
    alignment,
    aperture_noise,
    block_rms,
    compare_product,
    compare_sources,
    disputed_pixels,
    fields,
    star_light,
)
from reference_headers import read_listing
from reference_planes import BPM, DARK, DARKS, FRAMES, STEPS

PAGE = "docs/agreement.md"
MARKS = (
    "<!-- begin benchmarks/reference_night.py -->",
    "<!-- end benchmarks/reference_night.py -->",
)
LAMPS = [f"S20131129S{n:04d}" for n in range(320, 323)]
LAMPS += [f"S20131126S{n:04d}" for n in range(1111, 1114)]
SHORT = [f"S20131121S{n:04d}" for n in range(369, 372)]
SCIENCE = [f"S20131121S{n:04d}" for n in range(75, 84)]
FLAT, IMAGE = f"{LAMPS[0]}_flat", f"{SCIENCE[0]}_image"
LOCAL = f"{BPM}, local limits (default)"
#: Steps whose pixels are those of DRAGONS but for rounding and the places named on the page.
EQUAL = {**STEPS, "flatCorrect": "flatCorrected"}
#: Steps that may differ where the truth says that ours is better.
FREE = {
    "skyCorrect": "skyCorrected",
    "detectSources": "sourcesDetected",
    "adjustWCSToReference": "wcsCorrected",
    "resampleToCommonFrame": "align",
    "scaleCountsToReference": "countsScaled",
    "stackFrames": "stack",
}
COMBINED = ("stack",)
LIKE_DRAGONS = ("reject_method=sigclip", "scatter=sample", "match_lamp=False")
TARGET = 0.99


def commands_of(raw: Path) -> list[list[str]]:
    """Return all commands: the mask is made twice, and the science reduced by two recipes.

    The last repeats the flat with DRAGONS' way to combine lamps.
    """

    def files(names: list[str]) -> list[str]:
        return [f"{raw / name}.fits.bz2" for name in names]

    common = ["--config", "f2yaml.yaml", "--quiet", "--jobs", "2"]
    masked = ["-p", f"addDQ:user_bpm={BPM}.fits"]
    written = [w for step in (*EQUAL, *FREE) if step != "prepare"
               for w in ("-p", f"{step}:write_outputs=True")]  # fmt: skip
    rule = [word for option in LIKE_DRAGONS for word in ("-p", f"makeLampFlat:{option}")]
    plain = ["--config", "plain.yaml", *common[2:]]
    mask = ["run", "makeProcessedBPM", "--inputs", *files(LAMPS), *files(SHORT)]
    science = ["--inputs", *files(SCIENCE), *masked]
    return [
        ["caldb", "init", "--config", "f2yaml.yaml"],
        ["run", "makeProcessedDark", "--inputs", *files(DARKS), *common],
        [*mask, "-p", "makeBPM:limits=absolute", *common],
        [*mask, "--outdir", "local", *plain],
        ["run", "makeProcessedFlat", "--inputs", *files(LAMPS), *masked, *common],
        ["run", "reduce", *science, *written, "--outdir", "science", *common],
        ["run", "ultradeep", *science, "--outdir", "ultradeep", *common],
        # Last, as it replaces the flat in calibrations/, which the database then does not trust.
        ["run", "makeProcessedFlat", "--inputs", *files(LAMPS), *masked, *rule,
         "--outdir", "as_dragons", *plain],
    ]  # fmt: skip


def reduce_night(reference: Path, work: Path, reuse: bool) -> list[str]:
    """Run all recipes in `work`; returns the commands as a user would type them."""
    if not (reference / "cutouts").is_dir():
        sys.exit(f"{reference} holds no reference night; name its folder with --reference")
    raw = reference / "raw"
    commands = commands_of(raw)
    if not reuse:
        work.mkdir(parents=True, exist_ok=True)
        head = "f2yaml: 1\nkind: config\n"
        database = "databases:\n  - {path: night.db, get: true, store: true}\n"
        (work / "f2yaml.yaml").write_text(head + database, encoding="utf-8")
        (work / "plain.yaml").write_text(head, encoding="utf-8")
        program = Path(sys.executable).with_name("f2yaml")
        for command in commands:
            done = subprocess.run([program, *command], cwd=work, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"f2yaml {' '.join(command)}\nends with {done.returncode}:\n{done.stderr}")
    return [f"f2yaml {' '.join(c)}".replace(f"{raw}/", "raw/") for c in commands]


# what is compared ---------------------------------------------------------------------------
def compare_all(reference: Path, work: Path) -> list[Agreement]:
    """Compare every product with the cut-outs."""
    made = list(compare_product(reference, work / f"{DARK}.fits", DARK))
    made += compare_product(reference, work / f"{BPM}.fits", BPM)
    made += named(compare_product(reference, work / "local" / f"{BPM}.fits", BPM), LOCAL)
    made += compare_product(reference, work / f"{FLAT}.fits", FLAT)
    again = compare_product(reference, work / "as_dragons" / f"{FLAT}.fits", FLAT)
    made += named(again, f"{FLAT}, combined as DRAGONS does")
    for step, suffix in {**EQUAL, **FREE}.items():
        if step == "prepare":
            continue  # adu, no noise yet: the first section has it to the bit
        for frame in FRAMES[:1] if suffix in COMBINED else FRAMES:
            product = f"{frame}_{suffix}"
            made += compare_product(reference, work / "science" / f"{product}.fits", product)
    made += compare_product(reference, work / "science" / f"{IMAGE}.fits", IMAGE)
    return made


def named(rows: Iterable[Agreement], product: str) -> Iterator[Agreement]:
    """Give the rows of a product made in another way a name of their own."""
    for row in rows:
        row.product = product
        yield row


def judge(reference: Path, work: Path, truth: Truth) -> list[Merit]:
    """Return figures of alignment and stack against the truth."""
    science = work / "science"
    ours = {n: fits.getheader(science / f"{n}_wcsCorrected.fits", "SCI") for n in SCIENCE}
    listed = {
        n: read_listing(reference / "headers" / f"{n}_wcsCorrected.txt")["SCI"] for n in FRAMES
    }
    apart = alignment(ours, truth)
    others = np.array(list(apart.values())[1:])
    last = FRAMES[-1]
    made = [
        Merit("alignment of 8 frames with the first, rms, pix", "0", float(np.sqrt(
            np.mean(others**2))), None, None, "0.09"),
        Merit(f"alignment of {last} with the first, pix", "0", apart[last], apart[last],
              alignment(listed, truth)[last]),
    ]  # fmt: skip
    path = science / f"{IMAGE}.fits"
    header = fits.getheader(path, "SCI")
    three = fields(path, reference, IMAGE, truth)
    path = work / "ultradeep" / f"{IMAGE}.fits"
    other = fits.getheader(path, "SCI")
    five = [*three, *fields(path, reference, IMAGE, truth)[:2]]
    cor = float(header["NOISECOR"])
    for radius, theirs in ((0, "0.72"), (RADIUS_PIX, "0.88")):
        values = [aperture_noise(f, radius) for f in five]
        name = "single pixels" if radius == 0 else f"radius {radius} pix"
        target = "1" if radius == 0 else f"1 to {cor:.2f}"
        made.append(merit(f"noise / sqrt(sum VAR), {name}", target, values, theirs))
    values = [aperture_noise(f, 6) for f in five]
    factors = [cor, cor, 1.0, *2 * [float(other["NOISECOR"])]]
    values = [v / c for v, c in zip(values, factors, strict=True)]
    made.append(merit("noise / sqrt(sum VAR) / NOISECOR, radius 6 pix", "1", values))
    blocks = [block_rms(f) for f in five]
    name = f"sky left in blocks of {BLOCK_PIX} pix, electron"
    made.append(merit(f"{name}, rms", "0", [b[0] for b in blocks], "2.0"))
    made.append(merit(f"{name}, rms about its mean", "0", [b[1] for b in blocks]))
    headers = [*3 * [header], other, other]
    light = [star_light(f, h, truth) for f, h in zip(five, headers, strict=True)]
    name = f"light of stars within {APERTURE_PIX:.0f} pix / truth"
    made.append(merit(f"{name}, median ({light[0][2]} stars)", f"below {RESPONSE}",
                      [v[0] for v in light]))  # fmt: skip
    made.append(merit(f"{name}, scatter", "0", [v[1] for v in light]))
    return made


def merit(name: str, target: str, values: list[float], theirs: str = "") -> Merit:
    """Return a figure of reduce (whole, boxes), DRAGONS (boxes) and ultradeep (whole, boxes)."""
    return Merit(name, target, *values[:3], theirs, *values[3:])


# the report ---------------------------------------------------------------------------------
def number(value: float | None) -> str:
    """Return a figure for a cell; what is not known is empty."""
    return "" if value is None or not np.isfinite(value) else f"{value:.3f}"


def has_target(row: Agreement) -> bool:
    """Return whether 99 % is asked of a row."""
    if row.product == LOCAL:
        return False
    suffix = row.product.partition("_")[2]
    return suffix in (*EQUAL.values(), "dark", "bpm", "flat")


def agreement_rows(rows: list[Agreement]) -> list[list[str]]:
    """Return the rows of the table of products."""
    made = []
    for r in rows:
        worst = ""
        if r.worst is not None:
            where = f"({r.worst['y']:.0f}, {r.worst['x']:.0f})"
            worst = f"{where} {r.worst['ours']:.6g}, {r.worst['dragons']:.6g}"
        verdict = ("ok" if r.quiet >= TARGET else "MISSED") if has_target(r) else "free"
        made.append([r.product, r.plane, percent(r.good), percent(r.quiet), number(r.spread),
                     verdict, worst, r.note])  # fmt: skip
    return made


def source_rows(rows: list[Sources]) -> list[list[str]]:
    """Return the rows of the table of sources."""
    made = []
    for r in rows:
        pairs = [f"{a}, {b}" for a, b in (r.true, r.false)]
        pairs += [f"{a:.3f}, {b:.3f}" for a, b in (r.error, r.light)]
        made.append([r.frame, f"{r.ours}, {r.dragons}", str(r.matched), number(r.apart),
                     number(r.flux), number(r.scatter), *pairs])  # fmt: skip
    return made


def markdown(report: dict[str, Any]) -> str:
    """Return the generated part of the page."""
    merits: list[Merit] = report["merits"]
    lines = [
        f"Made by `.venv/bin/python benchmarks/reference_night.py --markdown {PAGE}`, which runs",
        "",
        *(f"    {command}" for command in report["commands"]),
        "",
        "### Products of the whole night (%)",
        "",
        *table(
            ["product", "plane", "good", "0.1 noise", "rms; VAR ratio", "target 99 %",
             "worst (y, x) ours, DRAGONS", "notes"],
            agreement_rows(report["agreement"]),
        ),
        "",
        "### Pixels that one mask of bad pixels has and the other has not, in the boxes",
        "",
        *table(
            ["limits", "who calls it bad", "pixels", "hot: above 50 electron/s around it in 120 s",
             "not hot, and responds like its neighbours within 10 %", "other"],
            [[d.limits, d.who, str(d.pixels), str(d.hot), str(d.dim), str(d.other)]
             for d in report["masks"]],
        ),
        "",
        "### Sources of single frames (pairs: f2yaml, DRAGONS)",
        "",
        *table(
            ["frame", "sources", "matched", "apart, rms pix", "flux ratio", "its scatter",
             "true ones found", "near no true one", "stars from truth, rms pix", "flux / true"],
            source_rows(report["sources"]),
        ),
        "",
        "### The stack against the truth",
        "",
        *table(
            ["figure", "ideal", "f2yaml", "ultradeep", "DRAGONS", "f2yaml in the boxes",
             "ultradeep in the boxes", "DRAGONS in the boxes"],
            [
                [m.name, m.target, number(m.ours), number(m.deep), m.dragons,
                 *map(number, (m.ours_boxes, m.deep_boxes, m.dragons_boxes))]
                for m in merits
            ],
        ),
    ]  # fmt: skip
    return "\n".join(lines)


def make_report(reference: Path, work: Path, reuse: bool) -> dict[str, Any]:
    """Reduce the night in `work` and compare everything."""
    commands = reduce_night(reference, work, reuse)
    truth = Truth(reference)
    detected = {f: work / "science" / f"{f}_sourcesDetected.fits" for f in FRAMES}
    return {
        "commands": commands,
        "agreement": compare_all(reference, work),
        "masks": [
            row
            for limits, folder in (("absolute", work), ("local", work / "local"))
            for row in disputed_pixels(reference, folder / f"{BPM}.fits", limits)
        ],
        "sources": [compare_sources(reference, p, f, truth) for f, p in detected.items()],
        "merits": judge(reference, work, truth),
    }


def main() -> int:
    """Compare, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description="Compare f2yaml with DRAGONS on a whole night.")
    root = Path(__file__).resolve().parents[1]
    parser.add_argument("--reference", type=Path, default=root.parent / "shared" / "reference")
    parser.add_argument("--work", type=Path, help="folder to keep, 4 GB (default: a temporary one)")
    parser.add_argument("--reuse", action="store_true", help="compare what lies in --work")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    if arguments.reuse and arguments.work is None:
        parser.error("--reuse needs --work, the folder of an earlier run")
    with tempfile.TemporaryDirectory(prefix="f2yaml-reference-") as scratch:
        work = Path(scratch) if arguments.work is None else arguments.work.resolve()
        report = make_report(arguments.reference.resolve(), work, arguments.reuse)
    if arguments.json is not None:
        plain = {k: [v if isinstance(v, str) else asdict(v) for v in rows]
                 for k, rows in report.items()}  # fmt: skip
        arguments.json.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    if arguments.markdown is not None:
        place(markdown(report), arguments.markdown, MARKS)
    else:
        print(markdown(report))
    rows: list[Agreement] = report["agreement"]
    missed = [f"{r.product} {r.plane}" for r in rows if has_target(r) and r.quiet < TARGET]
    print(f"{len(missed)} targets missed", *missed, sep="\n  ", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
