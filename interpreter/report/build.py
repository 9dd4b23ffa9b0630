"""From a file, or a folder of files, to a page."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from f2yaml.interpreter.errors import BadInput, F2Error, RequestError
from f2yaml.interpreter.fits import replaced
from f2yaml.interpreter.headerio import read_headers
from f2yaml.interpreter.headers import utc_now
from f2yaml.interpreter.report import facts, page, product
from f2yaml.interpreter.report.markup import Markup, element, table

_ENDINGS = (".fits", ".fits.gz", ".fits.bz2", ".fit", ".fts")
#: Pixels of all images on the page of a night: about 10 MB of text.
NIGHT_PIXELS = 4_000_000
#: Pixels of one image of a night at most, and at least.
LARGEST, SMALLEST = 512 * 512, 128 * 128


def report(source: Path) -> str:
    """Return the page of a product, or of the products in a folder.

    Raises
    ------
    BadInput
        The file cannot be read.
    RequestError
        There is no such file, or no product in the folder.
    """
    return _night(source) if source.is_dir() else _single(source)


def save(source: Path, out: Path, option: str = "--outdir") -> Path:
    """Write a page, whole or not at all; `option` says where, for messages."""
    text = report(source)
    with replaced(out, option) as partial:
        partial.write_text(text, encoding="utf-8")
    return out


def _single(path: Path) -> str:
    shown = product.shown(path)
    parts = [part for part in product.sections(shown) if part]
    return page.page(
        f"{shown.frame.phu.get('OBJECT', '')} {path.name}".strip(),
        element("header", product.head(shown), _contents(shown, parts)),
        element("main", *parts),
        _footer(),
    )


def _contents(shown: product.Shown, parts: Sequence[Markup]) -> Markup:
    words = {
        "image": "image", "frames": "frame by frame", "masked": "masked",
        "calibrations": "calibrations", "steps": "steps", "recipe": "recipe", "files": "files",
        "headers": "headers",
    }  # fmt: skip
    there = [name for name in words if any(f' id="{name}"' in part[:60] for part in parts)]
    items = (element("li", element("a", words[n], href=f"#{n}")) for n in there)
    return element("nav", element("ul", *items), aria_label="contents")


def _footer() -> Markup:
    return element(
        "footer",
        element(
            "p",
            f"Made by f2yaml {version('f2yaml')} on {utc_now()[:19].replace('T', ' ')} UT from the "
            "files alone. This page loads nothing and sends nothing.",
        ),
    )


# nights -----------------------------------------------------------------------------------------
def products_in(folder: Path) -> tuple[list[Path], int]:
    """Return the products below a folder, each once, and how many raw frames there are.

    Final ones come first, then those between steps. What is linked or copied into
    ``calibrations`` has its place beside the products already.
    """
    seen: set[tuple[int, int]] = set()
    found: list[tuple[bool, Path]] = []
    raw = 0
    paths = [p for p in folder.rglob("*") if p.name.lower().endswith(_ENDINGS) and p.is_file()]
    paths.sort(key=lambda p: ("calibrations" in p.relative_to(folder).parts, str(p)))
    names: set[tuple[str, int]] = set()
    for path in paths:
        status = path.stat()
        same = (path.name, status.st_size)
        kept = "calibrations" in path.relative_to(folder).parts
        if (status.st_dev, status.st_ino) in seen or (kept and same in names):
            continue
        seen.add((status.st_dev, status.st_ino))
        names.add(same)
        try:
            header = read_headers(path).phu
        except F2Error:
            found.append((False, path))  # the page says what is wrong with it
            continue
        if "PREPARE" in header:
            found.append((not any(key in header for key in facts.FINAL), path))
        else:
            raw += 1
    return [path for _, path in sorted(found)], raw


def _night(folder: Path) -> str:
    paths, raw = products_in(folder)
    if not paths:
        raise RequestError(
            f"there is no product in {folder}",
            f"{raw} raw frames are in it" if raw else "a report shows what a reduction has made",
            "name a folder of products, or a single file",
        )
    most = min(LARGEST, max(SMALLEST, NIGHT_PIXELS // len(paths)))
    lines, articles, failed = [], [], []
    for number, path in enumerate(paths, 1):
        try:
            shown = product.shown(path, most)
        except BadInput as error:
            failed.append(f"{path.name}: {error.problems[0].what}")
            continue
        anchor = f"n{number}"
        lines.append(_line(shown, anchor, path.relative_to(folder)))
        inside = product.sections(shown, small=True, prefix=f"{anchor}-")
        articles.append(element("article", product.head(shown), *inside, id=anchor))
    heads = (
        "file", "object", "kind", "filter", "exposures", "time [s]", "seeing [arcsec]",
        "sky level", "noise", "good pixels [%]", "notes",
    )  # fmt: skip
    told = f"{len(lines)} products" + (f", {raw} raw frames beside them" if raw else "")
    title = f"Products in {folder.resolve().name}"
    return page.page(
        title,
        element("header", element("h1", title), element("p", told, class_="sub")),
        element(
            "main",
            page.notes(failed, "Files that cannot be read"),
            table(heads, lines, "Products; those between steps come last", data_table="products"),
            *articles,
        ),
        _footer(),
    )


def _line(shown: product.Shown, anchor: str, path: Path) -> list[object]:
    frame = shown.frame
    sizes = [row.fwhm for row in shown.rows if row.fwhm == row.fwhm]
    middle = statistics.median(sizes) if sizes else None
    good = 100 * shown.flags[1] / shown.flags[0] if shown.flags else None
    sky = frame.sci.get("SKYLEVEL")
    notes = len(frame.phu["COMMENT"]) if "COMMENT" in frame.phu else 0

    def cell(value: object, form: str = "") -> Markup:
        if value is None or (isinstance(value, float) and value != value):
            return element("td", "–", class_="n")
        return element("td", f"{value:{form}}" if form else value, class_="n" if form else None)

    return [
        element("a", str(path), href=f"#{anchor}"),
        cell(frame.phu.get("OBJECT", "–")),
        cell(shown.kind),
        cell(facts.describe(frame, "filter_name", "–")),
        cell(_plain(frame.phu.get("NCOMBINE", 1)), "g"),
        cell(_plain(frame.phu.get("TEXPTIME", frame.phu.get("EXPTIME"))), "g"),
        cell(middle, ".3f"),
        cell(_plain(sky), ".1f"),
        cell(shown.noise, ".4g"),
        cell(good, ".2f"),
        cell(notes or None, "d"),
    ]


def _plain(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def default_name(source: Path) -> Path:
    """Return the page of a product that has no other name: in the working folder."""
    name = source.resolve().name if source.is_dir() else source.name.split(".")[0]
    return Path(f"{name}_report.html")
