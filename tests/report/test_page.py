"""The page as text: nothing slips in as markup, values come back, charts and marks are right."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import math
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from command_line import Night, Program, cards, edited, refused
from f2yaml.interpreter.errors import RequestError
from f2yaml.interpreter.fits import read_frame, write_frame
from f2yaml.interpreter.report import build, charts, facts
from f2yaml.interpreter.report.markup import Markup, element, json_for_script, table
from f2yaml.interpreter.report.planes import (
    NOISE_STEP,
    SOFT,
    STEP,
    block_bits,
    block_mean,
    noise_of,
    planes_of,
    science,
)
from synthetic import flat_frame, frame

HOSTILE = "<script>alert('x')</script>"


class Reader(html.parser.HTMLParser):
    """Collects elements, attributes and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def decoded(coded: Any) -> np.ndarray:
    """Return the codes in a page, by another way than the page's own."""
    raw = np.frombuffer(zlib.decompress(base64.b64decode(coded.text)), np.uint8)
    low, high = raw.reshape(2, -1).astype(np.uint16)
    codes = (low | (high << 8)).astype(np.uint16)
    made = codes.view(np.int16) if coded.meta["type"] == "int16" else codes
    return made.reshape(coded.meta["ny"], coded.meta["nx"])


# markup -----------------------------------------------------------------------------------------
def test_text_is_escaped_and_markup_is_not() -> None:
    made = element("p", HOSTILE, element("b", "x"), title='"><i>', class_="a", hidden=True)
    assert made == (
        '<p title="&quot;&gt;&lt;i&gt;" class="a" hidden>'
        "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;<b>x</b></p>"
    )
    assert element("td", "a\x00\x1bb") == "<td>a\ufffd\ufffdb</td>"
    assert element("br") == "<br>"


def test_a_cell_that_looks_like_one_is_text() -> None:
    made = table(["a", "b"], [["<td>x", "<th>"]], "c")
    assert "&lt;td&gt;x" in made
    assert "&lt;th&gt;" in made


def test_json_cannot_end_its_script() -> None:
    told = json.dumps({"unit": "</script><!--&\u2028"}, ensure_ascii=False)
    made = json_for_script(told)
    assert "<" not in made
    assert json.loads(made) == {"unit": "</script><!--&\u2028"}


# planes -----------------------------------------------------------------------------------------
def exact(coded: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return places and values that are kept as they are."""
    count = coded.meta["exact"]
    raw = np.frombuffer(zlib.decompress(base64.b64decode(coded.exact)), np.uint8)
    parts = raw.reshape(8, count).T.copy()
    places = np.ascontiguousarray(parts[:, :4]).view(np.uint32)[:, 0]
    return places, np.ascontiguousarray(parts[:, 4:]).view(np.float32)[:, 0]


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_values_come_back_to_the_stated_precision(share: float) -> None:
    rng = np.random.default_rng(7)
    data = rng.normal(100.0, 3.0, (40, 50)).astype(np.float32)
    data[rng.random(data.shape) < share] *= 1000  # more bright pixels than are kept as they are
    data[5, 6], data[7, 8], data[9, 10] = 1e9, -4e4, np.nan
    coded = science(data, np.isfinite(data), 3.0)
    codes, meta = decoded(coded), coded.meta
    assert codes[9, 10] == -32768
    values = meta["middle"] + meta["step"] * SOFT * np.sinh(codes / SOFT)
    places, kept = exact(coded)
    assert np.array_equal(kept, data.ravel()[places])
    assert len(places) <= 0.1 * data.size
    values.ravel()[places] = kept
    error = np.abs(values - data)[np.isfinite(data)]
    assert error.max() <= 1.01 * meta["accuracy"]
    if not share:
        assert set(places) == {5 * 50 + 6, 7 * 50 + 8}
        assert meta["accuracy"] <= 0.0072 * 3.0  # 0.7 % of the noise
        assert error.max() > 0.4 * STEP * 3.0  # and it is not coded finer than it says


def test_constant_and_empty_planes_are_coded() -> None:
    same = science(np.full((4, 4), 5.0, np.float32), np.ones((4, 4), bool))
    assert (decoded(same) == 0).all()
    assert same.meta["middle"] == 5.0
    nothing = science(np.full((4, 4), np.nan, np.float32), np.zeros((4, 4), bool))
    assert (decoded(nothing) == -32768).all()
    assert same.meta["exact"] == nothing.meta["exact"] == 0


def test_noise_comes_back_to_two_permille() -> None:
    variance = np.array([[1e-3, 4.0, 1e8], [0.0, np.nan, 9.0]], np.float32)
    coded = noise_of(variance)
    codes = decoded(coded)
    assert codes[1, 0] == codes[1, 1] == 0
    values = np.exp(coded.meta["low"] + (codes[0].astype(float) - 1) * NOISE_STEP)
    assert values == pytest.approx(np.sqrt(variance[0]), rel=0.51 * NOISE_STEP)


def test_blocks_average_good_pixels_and_join_flags() -> None:
    data = np.arange(20, dtype=np.float32).reshape(4, 5)
    good = np.ones((4, 5), bool)
    data[0, 0], good[0, 0] = 1e6, False
    made = block_mean(data, good, 2)
    assert made.shape == (2, 3)
    assert made[0, 0] == pytest.approx((1 + 5 + 6) / 3)
    assert made[1, 2] == pytest.approx((14 + 19) / 2)
    mask = np.zeros((4, 5), np.uint16)
    mask[1, 1], mask[0, 0], mask[3, 4] = 4, 1, 64
    assert block_bits(mask, 2).tolist() == [[5, 0, 0], [0, 0, 64]]


def test_a_frame_without_variance_and_flags_has_an_image() -> None:
    planes, variance, mask = planes_of(frame(np.ones((8, 8)), variance=None, mask=None))
    assert set(planes) == {"SCI"}
    assert variance.size == mask.size == 0


# charts -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (-3, 7, [-2, 0, 2, 4, 6]), (4680, 4760, None)],
)
def test_ticks_are_round(low: float, high: float, expected: list[float] | None) -> None:
    found = charts.ticks(low, high)
    if expected is not None:
        assert found == pytest.approx(expected)
    assert all(low - 1e-9 <= t <= high + 1e-9 for t in found)
    assert 3 <= len(found) <= 7
    steps = np.diff(found)
    mantissa = steps[0] / 10 ** math.floor(math.log10(steps[0]) + 1e-9)
    assert round(mantissa, 6) in (1, 2, 5)


def test_labels_of_ticks_have_the_decimals_they_need() -> None:
    assert [charts.spelled(t, [0.2, 0.4]) for t in (0.2, 0.4)] == ["0.2", "0.4"]
    assert charts.spelled(-20.0, [-20.0, 0.0]) == "−20"


def test_charts_name_axes_units_and_marked_frames() -> None:
    made = charts.per_frame(
        ("Seeing", "FWHM"), "arcsec", ["a", "b", HOSTILE], [1.0, math.nan, 3.0],
        [False, False, True], 2,
    )  # fmt: skip
    assert "FWHM [arcsec]" in made
    assert "frame, in order of the list" in made
    assert "<script" not in made
    assert made.count('class="dot"') == 1
    assert made.count('class="odd"') == 1
    assert 'class="name"' in made
    assert "median 2.00 arcsec" in made
    assert charts.per_frame(("x", "x"), "", ["a"], [math.nan], [False], 1) == ""


def test_dithers_have_east_to_the_left_and_equal_scales() -> None:
    made = charts.dithers(["a", "b"], [0.0, 10.0], [0.0, 10.0])
    places = [
        (float(x), float(y))
        for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="4"', made)
    ]
    (x0, y0), (x1, y1) = places
    assert x1 < x0
    assert y1 < y0
    assert x0 - x1 == pytest.approx(y0 - y1, abs=0.1)


# facts ------------------------------------------------------------------------------------------
def test_outliers_are_far_and_matter() -> None:
    rms = facts.Measure("align_rms", "", "", "pix", 4, 0.02, high_only=True)
    calm = [0.050, 0.051, 0.049, 0.050, 0.052]
    assert facts.outliers(rms, [*calm, 0.110]) == [False] * 5 + [True]
    assert facts.outliers(rms, [*calm, 0.065]) == [False] * 6  # far, but of no matter
    assert facts.outliers(rms, [*calm, 0.001]) == [False] * 6  # better than the others
    assert facts.outliers(rms, [0.05, 0.5, 0.05]) == [False] * 3  # too few to tell
    sky = facts.Measure("sky_level", "", "", "", 1, 0.02, relative=True)
    assert facts.outliers(sky, [100, 101, 99, 100, math.nan, 90, 100]) == [
        False, False, False, False, False, True, False,
    ]  # fmt: skip


def test_flags_are_counted_by_cause() -> None:
    mask = np.array([[0, 1, 5], [64, 4, 4], [0, 0, 512]], np.uint16)
    total, good, bits = facts.flags(mask)
    assert (total, good) == (9, 3)
    assert [(b.bit, b.pixels, b.alone) for b in bits] == [
        (1, 2, 1), (4, 3, 2), (64, 1, 1), (512, 1, 1),
    ]  # fmt: skip
    assert bits[-1].words == "a bit that has no meaning here"


def test_age_of_calibrations_is_in_days(product: Path) -> None:
    made = read_frame(product)
    dark, flat = facts.calibrations(made, made.members)
    assert (dark.name, dark.frames) == ("S20200107S0049_dark.fits", 6)
    # From 7 January 14:10 back to 4 January 4:00 and 112 s.
    assert dark.ages[0] == pytest.approx(-(3 + (10 + 1 / 6) / 24), abs=1e-5)
    assert flat.ages[0] == pytest.approx(-(4 + 10 / 24), abs=1e-5)
    assert dark.md5 == hashlib.md5((product.parent / dark.name).read_bytes()).hexdigest()


# pages ------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def page(product: Path) -> str:
    return build.report(product)


def test_a_page_says_what_the_file_says(product: Path, page: str) -> None:
    texts = Reader(page).texts
    made = read_frame(product)
    with fits.open(product) as hdus:
        variance, mask = hdus["VAR"].data, hdus["DQ"].data
        noise = math.sqrt(np.median(variance[mask == 0]))
        assert f"{noise:.4g}" in texts
        for row in hdus["FRAMES"].data:
            assert row["name"] in texts
            assert f"{row['sky_level']:.1f}" in texts
            assert f"{row['transparency']:.4f}" in texts
            assert f"{row['align_rms']:.4f}" in texts
            assert any(t in (f"{row['fwhm']:.3f}", f"▲ {row['fwhm']:.3f}") for t in texts)
        for bit in (1, 16, 64):
            assert f"{np.count_nonzero(mask & bit):,}" in texts
        for row in hdus["PROVENANCE"].data:
            assert row["md5"] in texts
    assert "\n".join(made.runs[0].lines) + "\n" in texts
    assert "hsigma: 3.5" in texts
    assert any(text.strip() == "-p" for text in texts)


def test_a_page_loads_nothing(page: str) -> None:
    reader = Reader(page)
    for tag, attributes in reader.tags:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base")
        assert "src" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        assert "style" not in attributes
        if tag == "a":
            assert str(attributes["href"]).startswith("#")
    named = {str(a["id"]) for _, a in reader.tags if a.get("id")}
    assert {str(a["href"])[1:] for a in reader.of("a")} <= named


def test_the_policy_names_the_program_and_the_style(page: str) -> None:
    [policy] = [
        str(a["content"]) for a in Reader(page).of("meta")
        if a.get("http-equiv") == "Content-Security-Policy"
    ]  # fmt: skip
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        [content] = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_headers_cannot_slip_in_markup(
    edited_copy: Callable[[Callable[[Any], None]], Path],
) -> None:
    def edit(hdus: fits.HDUList) -> None:
        hdus[0].header["OBJECT"] = HOSTILE
        hdus[0].header["COMMENT"] = "<img src=x onerror=alert(1)>"
        hdus["SCI"].header["BUNIT"] = "</script><b>"
        hdus["STEPS"].data["health"][0] = "<svg onload=x>"
        hdus["FRAMES"].data["name"][0] = '"><i id=x>'
        hdus["RECIPE"].data["line"][0] = "</pre><script>"

    page = build.report(edited_copy(edit))
    harmless = Reader(page)
    assert HOSTILE in harmless.texts
    assert [a for a in harmless.of("script") if "type" not in a] == [{}]  # the page's own alone
    assert harmless.of("img") == []
    assert not any("onload" in a or a.get("id") == "x" for _, a in harmless.tags)


def test_a_product_of_another_program_is_shown(tmp_path: Path) -> None:
    made = frame(np.arange(256.0).reshape(16, 16), PREPARE=None, PROCSOFT="DRAGONS")
    path = write_frame(made, tmp_path / "S20200104S0075_stack.fits")
    reader = Reader(build.report(path))
    assert "Field-1" in reader.texts
    assert "DRAGONS" in reader.texts  # among the headers
    assert "Frame by frame" not in reader.texts
    assert len([a for a in reader.of("div") if a.get("class") == "viewer"]) == 1


def test_a_frame_without_coordinates_is_shown(tmp_path: Path) -> None:
    path = write_frame(flat_frame(3.0), tmp_path / "x.fits")
    path = edited(path, tmp_path / "y.fits", cards({"CTYPE1": None}, extension=1))
    reader = Reader(build.report(path))
    [meta] = [t for t in reader.texts if t.startswith('{"nx"')]
    assert json.loads(meta)["wcs"] is None


# nights -----------------------------------------------------------------------------------------
def test_a_night_has_every_product_once(product: Path) -> None:
    folder = product.parent
    paths, raw = build.products_in(folder)
    assert [path.name for path in paths] == [
        "S20200104S0075_image.fits", "S20200107S0049_dark.fits", "S20200108S0010_flat.fits",
    ]  # fmt: skip
    assert all(path.parent == folder for path in paths)
    assert raw == 15
    reader = Reader(build.report(folder))
    articles = [a["id"] for a in reader.of("article")]
    assert articles == ["n1", "n2", "n3"]
    assert len({a["id"] for _, a in reader.tags if "id" in a}) == sum(
        "id" in a for _, a in reader.tags
    )  # no id twice
    assert "science image" in reader.texts
    assert "processed flat" in reader.texts


def test_frames_between_steps_come_last(tmp_path: Path) -> None:
    for name, more in (("a_flatCorrected", {}), ("b_image", {"PROCSCI": "2020-01-05"})):
        write_frame(flat_frame(1.0, **more), tmp_path / f"{name}.fits")
    paths, raw = build.products_in(tmp_path)
    assert [path.name for path in paths] == ["b_image.fits", "a_flatCorrected.fits"]
    assert raw == 0


def test_a_broken_file_does_not_spoil_the_page_of_a_night(product: Path, tmp_path: Path) -> None:
    (tmp_path / "good.fits").write_bytes(product.read_bytes())
    (tmp_path / "cut.fits").write_bytes(product.read_bytes()[:100_000])
    reader = Reader(build.report(tmp_path))
    assert "Files that cannot be read" in reader.texts
    assert any(text.startswith("cut.fits: ") for text in reader.texts)
    assert len(reader.of("article")) == 1


def test_a_folder_without_products_is_refused(night: Night, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=f"no product in {tmp_path}"):
        build.report(tmp_path)
    with pytest.raises(RequestError, match="no product in"):
        build.report(night.raw)


def test_the_command_writes_a_page(f2yaml: Program, product: Path, tmp_path: Path) -> None:
    done = f2yaml("report", product, cwd=tmp_path)
    assert done.stdout == "S20200104S0075_image_report.html\n"
    assert (tmp_path / "S20200104S0075_image_report.html").read_text().startswith("<!DOCTYPE html>")
    f2yaml("report", product, "--out", "page.htm", cwd=tmp_path)
    assert (tmp_path / "page.htm").exists()
    wrong = f2yaml("report", product, "--out", "page.fits", cwd=tmp_path, check=False)
    refused(wrong, 2, "page.fits is no name of a page")
    missing = f2yaml("report", "missing.fits", cwd=tmp_path, check=False)
    refused(missing, 2, "missing.fits does not exist")


def test_markup_is_text_that_is_marked() -> None:
    assert element("p", Markup("<b>x</b>")) == "<p><b>x</b></p>"
