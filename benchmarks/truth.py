"""Judge f2yaml's image of a simulated night against the truth (product, section 4).

Without ``--image`` a scenario is simulated into a work folder (unless it lies there already), and
darks, flats and science frames are reduced through the real command line. The image is then
compared with ``truth.json`` and ``truth.npz`` beside the raw frames:

- photometry: bright isolated stars, S/N over 25, no frame beyond 0.7 of the linear range, in an
  aperture of 1.5 times the seeing. The true counts are flux x exposure x mean over frames of
  transparency and of the light that the frame's seeing leaves in the aperture. The limit is the
  noise of photons (star, sky, dark) and read-out in that aperture and in the ring that gives the
  local sky. Each star's deviation is divided by its own limit.
- alignment: windowed centroids in the stack, and the coordinates of each aligned frame, relative
  to the first frame, against the true pointings. Rms is about the mean of frames: a common shift
  blurs nothing.
- noise: sums over random blank apertures against VAR, with the stack's factor for correlated
  noise (NOISECOR) in wide ones.
- depth: 5 sigma in an aperture of one seeing width, against the ideal stack: mean of the same
  exposures, noiseless flat, no bad pixel, known sky, no interpolation.
  Beside it stands the ideal with the best weight for each frame.
- sky: blocks of 64 pixels (11 arcsec) against the noise that VAR, correlation included, gives.
- cosmic rays: charge that is left in the stack; flags without a reason.
- extended galaxies: their light in ellipses, and the brightness of their outskirts.

Blank is where stars and extended galaxies add less than a quarter of a pixel's noise; this light
is subtracted. Frames that were scaled or weighted need the folder of their scaled frames
(``--scaled``): the weights are those by which these make up the stack.

The exit status is 0 if all targets are met, 1 if not.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from truth_extended import extended_light
from truth_figures import (
    Figure,
    Stack,
    blank_noise,
    cosmic_rays,
    depth,
    frame_positions,
    measure_stars,
    photometry,
    positions,
    sky_blocks,
)
from truth_night import Night

_ALIGNED, _SCALED = "_wcsCorrected", "_countsScaled"
#: Pixels by which weights are found, and how far their sum may be from one.
_PIXELS, _SUM = 200_000, 0.02


def f2yaml(folder: Path, *words: str) -> None:
    """Run a command of f2yaml in a folder; stop the benchmark if it fails."""
    program = Path(sys.executable).with_name("f2yaml")
    begun = time.perf_counter()
    ended = subprocess.run([str(program), *words], cwd=folder, check=False, capture_output=True)
    shown = " ".join(words[:6]) + (" ..." if len(words) > 6 else "")
    print(f"{time.perf_counter() - begun:7.1f} s  f2yaml {shown}", file=sys.stderr)
    if ended.returncode:
        sys.exit(f"f2yaml {shown} failed:\n{ended.stderr.decode()}")


def _list(folder: Path, name: str, roots: list[str]) -> str:
    (folder / name).write_text("".join(f"raw/{root}.fits\n" for root in roots))
    return f"@{name}"


def reduce_night(
    folder: Path,
    scenario: str,
    options: list[str],
    recipe: str = "ultradeep",
    written: tuple[str, ...] = ("adjustWCSToReference",),
) -> tuple[Path, Path, Path]:
    """Simulate and reduce a night; return its image, its raw frames and the aligned frames.

    Parameters
    ----------
    folder : Path
        Raw frames in ``raw`` and calibrations that lie there already are used again.
    scenario : str
    options : list of str
        ``STEP:NAME=VALUE`` for the science recipe.
    recipe : str
    written : tuple of str
        Steps whose frames are kept in ``products``.
    """
    raw, table = prepare_night(folder, scenario)
    # One image a run: the science frames of the first filter and exposure time.
    first = table["frames"][0]
    same = [f["name"] for f in table["frames"] if (f["exptime"], f["filter"]) == (
        first["exptime"], first["filter"])]  # fmt: skip
    given = [word for option in options for word in ("-p", option)]
    for step in written:
        given += ["-p", f"{step}:write_outputs=True"]
    given += ["--outdir", "products"]
    f2yaml(folder, "run", recipe, "--inputs", _list(folder, "science.list", same), *given)
    products = folder / "products"
    return products / f"{same[0]}_image.fits", raw, products


def prepare_night(folder: Path, scenario: str) -> tuple[Path, dict[str, Any]]:
    """Simulate a night and reduce its calibrations, unless both lie there; return raw and truth."""
    folder.mkdir(parents=True, exist_ok=True)
    raw = folder / "raw"
    if not (raw / "truth.json").exists():
        f2yaml(folder, "simulate", scenario, "--out", "raw", "--jobs", "2")
    table: dict[str, Any] = json.loads((raw / "truth.json").read_text())
    if not (folder / "calibrations").exists():
        _reduce_calibrations(folder, table)
    return raw, table


def _reduce_calibrations(folder: Path, table: dict[str, Any]) -> None:
    entries = table["calibrations"]

    def named(kind: str, exposure_s: float) -> list[str]:
        return [e["name"] for e in entries if (e["kind"], e["exptime"]) == (kind, exposure_s)]

    exposure_s = table["frames"][0]["exptime"]
    f2yaml(folder, "run", "--inputs", _list(folder, "darks.list", named("dark", exposure_s)))
    for lamp_s in sorted({e["exptime"] for e in entries if e["kind"] == "flat"}):
        lamps = named("flat", lamp_s) + named("dark", lamp_s)
        f2yaml(folder, "run", "--inputs", _list(folder, "flats.list", lamps))


def judge(
    image: Path, raw: Path, aligned: Path | None, scaled: Path | None = None
) -> tuple[list[Figure], list[dict]]:
    """Return all figures of an image, and the alignment of each frame if it is known.

    Parameters
    ----------
    image : Path
    raw : Path
        Folder with the raw frames and the truth.
    aligned, scaled : Path, optional
        Folders with the frames after alignment, and after scaling, right before they were stacked.
    """
    stack = Stack(image)
    scales, weights = ({}, {}) if scaled is None else shares(stack, scaled)
    night = Night(raw, stack.primary, stack.header, scales, weights)
    stack.rest = stack.data - night.stars - night.discs
    stars = measure_stars(stack, night, 1.5 * night.fwhm)
    figures = photometry(stars) + positions(stack, stars, night.fwhm)
    rows: list[dict] = []
    if aligned is not None:
        more, rows = frame_positions(night, aligned, _ALIGNED)
        figures += more
    figures += blank_noise(stack, night)
    figures += depth(stack, night, measure_stars(stack, night, night.fwhm), night.fwhm)
    figures += sky_blocks(stack, night) + cosmic_rays(stack, night)
    figures += extended_light(stack, night)
    return figures, rows


def shares(stack: Stack, folder: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Return the factor and the weight of each frame that went into a stack.

    Factors are in the headers of the scaled frames. Weights are those by which unflagged pixels
    of these frames make up the stack, by least squares: nothing has to be told by the stack.
    """
    used = [str(v).removesuffix(".fits") for k, v in stack.primary.items() if k.startswith("IMCMB")]
    scales, samples, good = {}, [], stack.mask == 0
    for name in used:
        with fits.open(folder / f"{name}{_SCALED}.fits") as hdus:
            scales[name] = float(hdus[0].header.get("CNTSCALE", 1.0))
            samples.append(hdus["SCI"].data)
            good &= hdus["DQ"].data == 0
    places = np.flatnonzero(good & np.isfinite(stack.data))
    places = places[:: max(1, places.size // _PIXELS)]
    columns = np.array([sample.ravel()[places] for sample in samples], dtype=float).T
    wanted = stack.data.ravel()[places].astype(float)
    for _ in range(3):  # pixels where a sample was rejected do not follow
        weights = np.linalg.lstsq(columns, wanted, rcond=None)[0]
        off = np.abs(columns @ weights - wanted)
        keep = off <= 3.0 * np.median(off) + 1e-3
        columns, wanted = columns[keep], wanted[keep]
    if abs(weights.sum() - 1.0) > _SUM:
        sys.exit(f"the frames in {folder} do not make up the stack: weights add to {weights.sum()}")
    return scales, dict(zip(used, (float(w) for w in weights), strict=True))


def table(figures: list[Figure]) -> str:
    """Return the figures as text."""
    lines = [f"{'figure':58s} {'measured':>10s} {'+-':>8s} {'unit':9s} {'target':10s} verdict"]
    for f in figures:
        value = f"{f.value:.0f}" if float(f.value).is_integer() else f"{f.value:.4g}"
        error = "" if f.error is None else f"{f.error:.2g}"
        verdict = "" if f.passed is None else ("ok" if f.passed else "MISSED")
        lines.append(f"{f.name:58s} {value:>10s} {error:>8s} {f.unit:9s} {f.target:10s} {verdict}")
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenario", default="tutorial", help="shipped name or file")
    parser.add_argument("--work", type=Path, help="folder to work in (default: temporary)")
    parser.add_argument("--image", type=Path, help="stack to judge instead of making one")
    parser.add_argument("--raw", type=Path, help="raw frames and truth of that stack")
    parser.add_argument("--aligned", type=Path, help=f"folder with its *{_ALIGNED}.fits")
    parser.add_argument("--scaled", type=Path, help=f"folder with its *{_SCALED}.fits")
    parser.add_argument("--recipe", default="ultradeep", help="recipe of the science frames")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument(
        "-p", dest="options", action="append", default=[], metavar="STEP:NAME=VALUE",
        help="parameter of the science recipe; repeatable",
    )  # fmt: skip
    given = parser.parse_args()
    if given.image is not None and given.raw is None:
        parser.error("--image needs --raw, the folder with truth.json")
    return given


def main() -> int:
    """Make or take an image, judge it, print and write the figures."""
    given = arguments()
    with tempfile.TemporaryDirectory(prefix="f2yaml-truth-") as spare:
        image, raw, aligned = given.image, given.raw, given.aligned
        if image is None:
            folder = (given.work or Path(spare)).resolve()
            image, raw, aligned = reduce_night(folder, given.scenario, given.options, given.recipe)
        figures, rows = judge(image, raw, aligned, given.scaled)
    print(table(figures))
    if given.json is not None:
        made = {
            "image": image.name,
            "options": given.options,
            "figures": [{k: plain(v) for k, v in asdict(f).items()} for f in figures],
            "alignment": rows,
        }
        given.json.write_text(json.dumps(made, indent=1) + "\n")
    missed = [f.name for f in figures if f.passed is False]
    print(f"{len(missed)} targets missed" if missed else "all targets met")
    return 1 if missed else 0


def plain(value: Any) -> Any:
    """Return what JSON can say: no numpy scalar, no NaN."""
    if isinstance(value, bool | str | None):
        return value
    number = float(value)
    return number if math.isfinite(number) else None


if __name__ == "__main__":
    sys.exit(main())
