"""Compare headers of f2yaml's products with listings of DRAGONS' headers."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astropy.io import fits

_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$")
#: Layout of planes and tables; the widths of text columns follow their longest entry.
_LAYOUT = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d?|PCOUNT|GCOUNT|EXTEND|BSCALE|BZERO|TFIELDS|TFORM\d|COMMENT|$"
)
_WORLD = re.compile(r"(CTYPE|CRVAL|CRPIX|CUNIT|CDELT|CD\d_|PC\d_)\d$")
#: Numbers closer than this are equal: DRAGONS writes coordinates back after a change of units.
_SAME = 1e-9

#: Cards that differ on purpose: (HDU, keyword) -> reason. IMCMB001 stands for all of its kind.
WHY = {
    ("PRIMARY", "PROCSOFT"): "the program that made the file",
    ("PRIMARY", "PROCSVER"): "its version",
    ("PRIMARY", "TEXPTIME"): "total exposure of a stack, which no card of DRAGONS gives",
    ("PRIMARY", "EXPMEAN"): "mean exposure of the frames of a stack",
    ("PRIMARY", "DATE-BEG"): "start of the first exposure of a stack",
    ("PRIMARY", "DATE-AVG"): "mean date of a stack",
    ("PRIMARY", "DATE-END"): "end of the last exposure of a stack",
    ("PRIMARY", "MJD-BEG"): "the same as Julian date",
    ("PRIMARY", "MJD-AVG"): "the same as Julian date",
    ("PRIMARY", "MJD-END"): "the same as Julian date",
    ("PRIMARY", "UTEND"): "of a stack that of the last exposure; DRAGONS keeps that of the first",
    ("PRIMARY", "NEXTEND"): "extensions that only f2yaml writes",
    ("SHARED", "whole HDU"): "the share of VAR that dark and flat brought in, which a sky takes "
    "out again",
    ("PRIMARY", "ILLUMASK"): "which illumination mask was used",
    ("PRIMARY", "RECIPE"): "name of the recipe",
    ("PRIMARY", "DARKDATE"): "date of the dark that was used",
    ("FRAMES", "whole HDU"): "what each frame of a stack was, and what became of it",
    ("RECIPE", "whole HDU"): "the recipe, as it can be run again",
    ("STEPS", "whole HDU"): "the steps that made the product",
    ("VALUES", "whole HDU"): "each value of each step, and where it came from",
    ("RUNS", "whole HDU"): "versions, machine and inputs of the runs that made the product",
    ("image", "RDNOISE"): "of the mean, 11.7 / sqrt(4); DRAGONS keeps that of one frame",
    ("HISTORY", "rows"): "DRAGONS also lists writeOutputs and storeProcessedDark, which are no "
    "steps of f2yaml's recipes",
}


@dataclass
class CardDifference:
    """One keyword that differs, with the values in the first product that shows it."""

    hdu: str
    key: str
    products: int
    ours: str
    dragons: str
    why: str
    known: bool


def read_listing(path: Path) -> dict[str, fits.Header]:
    """Read the headers of all HDUs of one product from a text listing."""
    cards: dict[str, list[str]] = {}
    for line in path.read_text(encoding="ascii").splitlines():
        if line.startswith("--- HDU"):
            cards[line.split()[-1]] = []
        elif line.strip():
            cards[list(cards)[-1]].append(line[:80].ljust(80))
    return {name: fits.Header.fromstring("".join(lines)) for name, lines in cards.items()}


def compare_cards(
    products: Sequence[tuple[str, Path, dict[str, fits.Header]]],
) -> list[CardDifference]:
    """Compare (name, file of ours, DRAGONS' headers) of several products, keyword by keyword."""
    found: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
    for product, path, theirs in products:
        with fits.open(path) as hdus:
            ours = {hdu.name: hdu.header for hdu in hdus}
        for name in dict.fromkeys([*ours, *theirs]):
            kind = "image" if name in ("SCI", "VAR", "DQ") else name
            if name not in ours or name not in theirs:
                words = ("present", "absent") if name in ours else ("absent", "present")
                found.setdefault((kind, "whole HDU"), []).append((product, *words))
                continue
            for key, a, b in _differences(kind, ours[name], theirs[name]):
                found.setdefault((kind, key), []).append((product, a, b))
    made = []
    for (kind, key), cases in found.items():
        why = WHY.get((kind, key), "unexplained")
        count = len({product for product, _, _ in cases})
        known = (kind, key) in WHY
        made.append(CardDifference(kind, key, count, cases[0][1], cases[0][2], why, known))
    return made


def _differences(kind: str, ours: fits.Header, theirs: fits.Header) -> list[tuple[str, str, str]]:
    made = []
    for key in dict.fromkeys([*ours, *theirs]):
        if _LAYOUT.match(key):
            continue
        a, b = ours.get(key), theirs.get(key)
        if (key in ours) != (key in theirs) or not _same(a, b):
            made.append((key, _shown(ours, key), _shown(theirs, key)))
    if kind in ("HISTORY", "PROVENANCE") and ours["NAXIS2"] != theirs["NAXIS2"]:
        made.append(("rows", str(ours["NAXIS2"]), str(theirs["NAXIS2"])))
    if kind == "image" and _world_order(ours) != _world_order(theirs):
        made.append(("WCSAXES", _world_order(ours), _world_order(theirs)))
    return made


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, str) and isinstance(b, str) and _STAMP.match(a) and _STAMP.match(b):
        return True
    numbers = (int, float)
    if isinstance(a, numbers) and isinstance(b, numbers) and not isinstance(a, bool):
        return math.isclose(a, b, rel_tol=_SAME)
    return bool(a == b)


def _shown(header: fits.Header, key: str) -> str:
    if key not in header:
        return "absent"
    value = str(header[key])
    return "a time" if _STAMP.match(value) else value


def _world_order(header: fits.Header) -> str:
    """Say where WCSAXES stands; FITS 4.0 (8.2) wants it ahead of all other coordinate cards."""
    keys = list(header)
    first = next((n for n, key in enumerate(keys) if _WORLD.match(key)), len(keys))
    ahead = "WCSAXES" not in keys or keys.index("WCSAXES") < first
    return "ahead of other WCS cards" if ahead else f"after {keys[first]}"
