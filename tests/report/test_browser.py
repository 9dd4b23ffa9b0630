"""The page in a real browser: what it shows is what the files hold, and it keeps to itself."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.coordinates import Angle
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning
from command_line import Program, edited
from f2yaml.interpreter import dq
from f2yaml.interpreter.report import build

WIDTHS = (390, 1280)
READOUT = ("pixel", "radec", "degrees", "sci", "noise", "ratio", "coverage", "dq")


@pytest.fixture(scope="module")
def saved(f2yaml: Program, product: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the deep image."""
    folder = tmp_path_factory.mktemp("page")
    f2yaml("report", product, "--out", "page.html", cwd=folder)
    return folder / "page.html"


@pytest.fixture(scope="module")
def tab(chromium: Any, saved: Path) -> Iterator[Any]:
    """The page, open on a desk."""
    page = chromium.page()
    page.open(saved, wide=1280)
    yield page
    assert page.console == []


def coordinates(hdus: fits.HDUList) -> WCS:
    """Return astropy's world coordinates; it completes dates, and says so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        return WCS(hdus["SCI"].header)


def readout(page: Any) -> dict[str, str]:
    """Return what is told of the pixel under the pointer."""
    parts = json.dumps(READOUT)
    found: dict[str, str] = page.run(
        f"Object.fromEntries({parts}.map(n => "
        "[n, document.querySelector(`.viewer [data-part=${n}]`)?.textContent]))"
    )
    return found


def plain(text: str) -> float:
    return float(text.split()[0].replace("−", "-"))


def go(page: Any, text: str) -> None:
    page.run(
        f"(() => {{ const v = document.querySelector('.viewer');"
        f"const e = v.querySelector('[data-part=go]'); e.value = {json.dumps(text)};"
        "e.dispatchEvent(new Event('input'));"
        "v.querySelector('form').requestSubmit(); })()"
    )


def choose(page: Any, part: str, value: str) -> None:
    page.run(
        f"(() => {{ const e = document.querySelector('[data-part={part}]');"
        f"e.value = {json.dumps(value)}; e.dispatchEvent(new Event('change')); }})()"
    )


def on_screen(page: Any, x: int, y: int) -> tuple[float, float]:
    """Return where the centre of a pixel (from 0) is on the screen."""
    page.run("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")
    zoom, left, top, ratio = map(
        float, page.run("document.querySelector('canvas.image').dataset.view").split()
    )
    box = page.run(
        "(() => { const b = document.querySelector('canvas.image').getBoundingClientRect();"
        "return [b.left, b.top]; })()"
    )
    ny = page.run("JSON.parse(document.querySelector('.viewer script').textContent).ny")
    return (
        box[0] + (left + (x + 0.5) * zoom) / ratio,
        box[1] + (top + (ny - 0.5 - y) * zoom) / ratio,
    )


def interesting(hdus: fits.HDUList) -> list[tuple[int, int]]:
    """Return pixels (x, y from 0): brightest, faintest, one of each kind of flag, some at will."""
    sci, mask = hdus["SCI"].data, hdus["DQ"].data
    good = np.where(mask == 0, sci, np.nan)
    places = [np.nanargmax(good), np.nanargmin(good)]
    places += [np.flatnonzero(mask == value)[0] for value in np.unique(mask)]
    places += list(np.random.default_rng(3).integers(0, sci.size, 8))
    return [(int(p % sci.shape[1]), int(p // sci.shape[1])) for p in places]


def check_values(told: dict[str, str], hdus: fits.HDUList, x: int, y: int) -> None:
    """Compare what is told of a pixel with the file, by other code than the page's."""
    sci, var = (float(hdus[n].data[y, x]) for n in ("SCI", "VAR"))
    bits = int(hdus["DQ"].data[y, x])
    mask, noises = hdus["DQ"].data, np.sqrt(hdus["VAR"].data)
    assert told["pixel"] == f"{x + 1}, {y + 1}"
    # The page says 0.7 % of the noise; six digits are shown.
    typical = float(np.median(noises[mask == 0]))
    assert plain(told["sci"]) == pytest.approx(sci, abs=0.0072 * typical + 1e-5 * abs(sci))
    if var > 0:
        assert plain(told["noise"]) == pytest.approx(math.sqrt(var), rel=0.0025)
        assert told["noise"].endswith(" electron")
    else:
        assert told["noise"] == "none"
    assert int(told["coverage"]) == hdus["COVERAGE"].data[y, x]
    expected = [f"{bit} {text}" for bit, text in dq.MEANING.items() if bits & bit]
    assert told["dq"] == ("; ".join(expected) or "good")
    ra, dec = coordinates(hdus).pixel_to_world_values(x, y)
    degrees = [float(t.rstrip("°").replace("−", "-")) for t in told["degrees"].split()]
    hours, arcs = told["radec"].replace("−", "-").split()
    for found in (degrees, [Angle(hours, "hourangle").deg, Angle(arcs, "deg").deg]):
        across = 3600 * (found[0] - ra) * math.cos(math.radians(dec))
        assert abs(across) < 0.002  # arcsec: the last digit shown is 0.0015
        assert abs(3600 * (found[1] - dec)) < 0.002


def test_values_told_are_those_of_the_file(tab: Any, product: Path) -> None:
    with fits.open(product) as hdus:
        for x, y in interesting(hdus):
            go(tab, f"{x + 1}, {y + 1}")
            check_values(readout(tab), hdus, x, y)


def test_the_mouse_points_at_the_pixel_under_it(tab: Any, product: Path) -> None:
    tab.run("document.querySelector('canvas.image').scrollIntoView({block: 'center'})")
    tab.run("document.querySelector('[data-part=fit]').click()")
    with fits.open(product) as hdus:
        for x, y in ((300, 200), (77, 410)):
            tab.mouse("mouseMoved", *on_screen(tab, x, y))
            check_values(readout(tab), hdus, x, y)
        # Zoomed by the wheel (the image has the focus once it is clicked), then dragged.
        at = on_screen(tab, 300, 200)
        tab.mouse("mousePressed", *at, button="left", clickCount=1)
        tab.mouse("mouseReleased", *at, button="left", clickCount=1)
        before = on_screen(tab, 310, 200)[0] - at[0]
        tab.mouse("mouseWheel", *at, deltaX=0, deltaY=-800)
        now = on_screen(tab, 300, 200)
        after = on_screen(tab, 310, 200)[0] - now[0]
        assert after == pytest.approx(before * math.exp(1.6), rel=1e-3)
        assert now == pytest.approx(at, abs=5.0)  # the wheel tells whole pixels, enlarged by 5
        tab.mouse("mousePressed", *at, button="left", clickCount=1)
        tab.mouse("mouseMoved", at[0] - 60, at[1] + 40, button="left", buttons=1)
        tab.mouse("mouseReleased", at[0] - 60, at[1] + 40, button="left", clickCount=1)
        assert on_screen(tab, 300, 200) == pytest.approx((now[0] - 60, now[1] + 40), abs=1.0)
        x, y = 306, 196
        tab.mouse("mouseMoved", *on_screen(tab, x, y))
        check_values(readout(tab), hdus, x, y)


def test_keys_move_and_zoom(tab: Any) -> None:
    tab.run("document.querySelector('canvas.image').focus()")
    go(tab, "100, 100")
    tab.run("document.querySelector('canvas.image').focus()")
    for key in ("ArrowRight", "ArrowUp", "ArrowUp"):
        tab.press(key)
    assert readout(tab)["pixel"] == "101, 102"
    tab.press("0")
    narrow = on_screen(tab, 200, 0)[0] - on_screen(tab, 100, 0)[0]
    tab.press("+")
    wide = on_screen(tab, 200, 0)[0] - on_screen(tab, 100, 0)[0]
    assert wide == pytest.approx(1.5 * narrow, rel=1e-6)
    tab.press("1")
    assert on_screen(tab, 200, 0)[0] - on_screen(tab, 100, 0)[0] == pytest.approx(100)


def test_positions_can_be_gone_to(tab: Any, product: Path) -> None:
    with fits.open(product) as hdus:
        sky = coordinates(hdus).pixel_to_world(211, 322)
    hours = sky.ra.to_string(unit="hour", sep=":", precision=4)
    go(tab, f"{hours} {sky.dec.to_string(sep=':', precision=3)}")
    assert readout(tab)["pixel"] == "212, 323"
    go(tab, "nonsense")
    assert readout(tab)["pixel"] == "212, 323"
    assert (
        tab.run("document.querySelector('[data-part=go]').getAttribute('aria-invalid')") == "true"
    )
    go(tab, "1, 1")
    assert (
        tab.run("document.querySelector('[data-part=go]').getAttribute('aria-invalid')") == "false"
    )


def invalid(page: Any) -> str:
    """Return what the field for positions says of its content."""
    said: str = page.run("document.querySelector('[data-part=go]').getAttribute('aria-invalid')")
    return said


def colour(page: Any, x: int, y: int) -> list[int]:
    """Return the colour in which a pixel is drawn."""
    go(page, "560, 560")  # the cross elsewhere
    page.run("document.querySelector('[data-part=fit]').click()")
    at = on_screen(page, x, y)
    found: list[int] = page.run(
        "(() => { const c = document.querySelector('canvas.image');"
        "const b = c.getBoundingClientRect(); const one = document.createElement('canvas');"
        "const context = one.getContext('2d', {willReadFrequently: true});"
        f"context.drawImage(c, Math.floor({at[0]} - b.left), Math.floor({at[1]} - b.top), 1, 1,"
        "0, 0, 1, 1); return [...context.getImageData(0, 0, 1, 1).data]; })()"
    )
    return found[:3]


def test_planes_stretch_and_limits(tab: Any, product: Path) -> None:
    with fits.open(product) as hdus:
        sci, mask = hdus["SCI"].data, hdus["DQ"].data
        place = int(np.argmax(np.where(mask == 0, sci, -np.inf)))
        y, x = divmod(place, sci.shape[1])
        unlit = np.argwhere(mask == 64)
    assert min(colour(tab, x, y)) > 200  # the brightest star is white
    choose(tab, "colour", "grey, inverted")
    assert max(colour(tab, x, y)) < 55
    choose(tab, "colour", "grey")
    choose(tab, "stretch", "linear")
    for how in ("zscale", "99.5 %", "all", "sky"):
        choose(tab, "limits", how)
        low, high = (
            float(tab.run(f"document.querySelector('[data-part={p}]').value"))
            for p in ("low", "high")
        )
        assert low < high
        if how == "sky":
            good = sci[(mask & 0x59) == 0]
            sigma = 1.4826 * np.median(np.abs(good - np.median(good)))
            assert low == pytest.approx(np.median(good) - 2 * sigma, rel=0.05)
            assert high == pytest.approx(np.median(good) + 40 * sigma, rel=0.05)
    choose(tab, "plane", "DQ")
    middle = unlit[len(unlit) // 2]
    far = [p for p in unlit.tolist() if p[0] > 40 and p[1] < 20] or [middle.tolist()]
    assert colour(tab, far[0][1], far[0][0]) == [86, 86, 120]
    assert tab.run("!document.querySelector('[data-part=legend]').hidden")
    assert "not illuminated" in tab.run("document.querySelector('[data-part=legend]').textContent")
    for plane in ("NOISE", "WEIGHT", "COVERAGE", "SCI"):
        choose(tab, "plane", plane)
        assert tab.run("document.querySelector('[data-part=legend]').hidden")
    choose(tab, "limits", "sky")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("wide", WIDTHS)
def test_the_page_fits_and_keeps_to_itself(
    chromium: Any, saved: Path, wide: int, dark: bool
) -> None:
    page = chromium.page()
    page.open(saved, wide=wide, high=844, dark=dark)
    assert page.run("document.documentElement.scrollWidth") == wide
    assert page.console == []
    assert page.requests == [saved.resolve().as_uri()]
    # Text and its ground differ as WCAG asks (4.5), in both schemes.
    ratios = page.run(CONTRAST)
    assert len(ratios) > 50
    assert min(ratios) >= 4.5
    paper = page.run("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(17, 20, 29)" if dark else "rgb(255, 255, 255)")


CONTRAST = """
[...document.querySelectorAll('h1, h2, p, dt, dd, td, th, caption, a, label, summary, small')]
  .filter((e) => e.offsetParent && e.textContent.trim() && !e.closest('.stage'))
  .map((e) => {
    const light = (text) => {
      const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map((v) => {
        const s = Number(v) / 255;
        return s <= 0.03928 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    let ground = e;
    while (/rgba\\(0, 0, 0, 0\\)/.test(getComputedStyle(ground).backgroundColor)) {
      ground = ground.parentElement;
    }
    const [a, b] = [light(getComputedStyle(e).color),
      light(getComputedStyle(ground).backgroundColor)].sort((p, q) => q - p);
    return (a + 0.05) / (b + 0.05);
  })
"""


def test_tables_show_the_numbers_of_the_file(tab: Any, product: Path) -> None:
    rows = tab.run(
        "[...document.querySelectorAll('[data-table=frames] tbody tr')].map(r => "
        "[...r.children].map(c => c.textContent))"
    )
    heads = tab.run(
        "[...document.querySelectorAll('[data-table=frames] thead th')].map(h => h.textContent)"
    )
    with fits.open(product) as hdus:
        table = hdus["FRAMES"].data
        shown = {
            "FWHM [arcsec]": ("fwhm", 3), "sky [electron]": ("sky_level", 1),
            "transparency": ("transparency", 4), "residual [pix]": ("align_rms", 4),
            "matches": ("align_num", 0),
        }  # fmt: skip
        assert [row[0] for row in rows] == list(table["name"])
        for head, (column, decimals) in shown.items():
            at = heads.index(head)
            found = [float(row[at].removeprefix("▲ ").replace("−", "-")) for row in rows]
            expected = [round(float(v), decimals) for v in table[column]]
            assert found == pytest.approx(expected, abs=1e-9), head
        flags = tab.run(
            "Object.fromEntries([...document.querySelectorAll('[data-table=flags] tbody tr')]"
            ".map(r => [r.children[0].textContent, r.children[2].textContent]))"
        )
        mask = hdus["DQ"].data
        assert flags == {
            str(bit): f"{np.count_nonzero(mask & bit):,}"
            for bit in dq.MEANING
            if np.count_nonzero(mask & bit)
        }
    recipe = tab.run("document.querySelector('[data-recipe]').textContent")
    with fits.open(product) as hdus:
        assert recipe.splitlines() == list(hdus["RECIPE"].data["line"])


def test_hostile_headers_do_nothing(chromium: Any, product: Path, tmp_path: Path) -> None:
    def edit(hdus: fits.HDUList) -> None:
        hdus[0].header["OBJECT"] = ("<script>bad=1</script><img src=x onerror=bad=1>", "")
        hdus["SCI"].header["BUNIT"] = "</script><i>"

    path = edited(product, tmp_path / "x.fits", edit)
    page = chromium.page()
    page.open(build.save(path, tmp_path / "x.html"))
    assert page.run("window.bad") is None
    assert page.run("document.querySelector('h1').textContent").startswith("<script>")
    assert page.run("document.images.length") == 0
    assert page.console == []
    # Were markup to slip in, the policy would still stop it.
    page.run("document.body.insertAdjacentHTML('beforeend', '<b onclick=\"window.bad=2\">x</b>');"
             "document.body.lastChild.click()")  # fmt: skip
    assert page.run("window.bad") is None


def test_a_night_in_the_browser(chromium: Any, product: Path, tmp_path: Path) -> None:
    page = chromium.page()
    page.open(build.save(product.parent, tmp_path / "night.html"), wide=390, high=844)
    assert page.run("document.documentElement.scrollWidth") == 390
    assert page.run("document.querySelectorAll('.viewer').length") == 3
    page.run("document.querySelector('#n3').scrollIntoView()")
    page.until("document.querySelectorAll('.viewer')[2].dataset.ready === 'yes'")
    go(page, "101, 102")
    told = readout(page)
    assert told["pixel"] == "101–102, 101–102"  # blocks of 2 x 2
    with fits.open(product) as hdus:
        block = slice(100, 102), slice(100, 102)
        bits = np.bitwise_or.reduce(hdus["DQ"].data[block], axis=None)
        good = hdus["DQ"].data[block] & 0x59 == 0
        if good.any():
            mean = float(hdus["SCI"].data[block][good].mean())
            assert plain(told["sci"]) == pytest.approx(mean, abs=0.2)  # noise: 12 in a block
        assert (told["dq"] == "good") == (bits == 0)
        ra, dec = coordinates(hdus).pixel_to_world_values(100.5, 100.5)
    degrees = [float(t.rstrip("°").replace("−", "-")) for t in told["degrees"].split()]
    assert degrees == pytest.approx([float(ra), float(dec)], abs=5e-7)
    assert page.console == []
    assert len(page.requests) == 1
