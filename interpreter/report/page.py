"""The page: sections of a product, and of a night."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files

from f2yaml.interpreter.report.markup import Markup, element, joined

_HERE = "f2yaml.interpreter.report"


def _shipped(name: str) -> str:
    return files(_HERE).joinpath(name).read_text(encoding="utf-8")


def script() -> str:
    """Return the program of the page."""
    return f'"use strict";\n(() => {{\n{_shipped("values.js")}\n{_shipped("viewer.js")}}})();\n'


def _hashed(content: str) -> str:
    digest = hashlib.sha256(content.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def page(title: str, *content: Markup) -> str:
    """Return a document that loads nothing, and runs nothing but its own program.

    The policy names program and style by their hashes: were markup to slip in by some header, it
    could do nothing.
    """
    program, style = script(), _shipped("page.css")
    policy = (
        f"default-src 'none'; script-src {_hashed(program)}; style-src {_hashed(style)}; "
        "base-uri 'none'; form-action 'none'"
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", title),
        element("style", Markup(style)),
    )
    body = element("body", *content, element("script", Markup(program)))
    return f'<!DOCTYPE html>\n<html lang="en">{head}{body}</html>\n'


def section(title: str, name: str, *content: Markup | str | None) -> Markup:
    """Return a section with its heading, empty if there is nothing in it."""
    inside = joined(part for part in content if part)
    return element("section", element("h2", title, id=name), inside) if inside else Markup()


def keys(facts: Sequence[tuple[str, str, str]]) -> Markup:
    """Return name, value and unit of short facts side by side."""
    cells = (
        element("div", element("dt", name), element("dd", value, element("small", unit)))
        for name, value, unit in facts
    )
    return element("dl", *cells, class_="keys")


def notes(lines: Sequence[str], title: str = "Notes of the run") -> Markup:
    """Return what has to be known about a result, nothing if there is nothing."""
    if not lines:
        return Markup()
    items = (element("li", line) for line in lines)
    return element(
        "aside", element("strong", title), element("ul", *items), class_="notes", role="note"
    )


def folded(title: str, *content: Markup) -> Markup:
    """Return content that opens when it is asked for."""
    return element("details", element("summary", title), *content)


_PLANES = (
    ("SCI", "image"), ("NOISE", "noise of a pixel"), ("WEIGHT", "weight, 1 / noise²"),
    ("COVERAGE", "exposures in a pixel"), ("DQ", "flags (DQ)"),
)  # fmt: skip
_COLOURS = ("grey", "grey, inverted", "cividis", "viridis")
_STRETCHES = ("asinh", "linear", "square root", "logarithm")
_LIMITS = (
    ("sky", "by the sky"), ("zscale", "zscale"), ("99.5 %", "99.5 %"), ("all", "all values"),
    ("own", "as below"),
)  # fmt: skip


def viewer(
    name: str,
    told: str,
    meta: dict[str, object],
    planes: dict[str, str],
    exact: str,
    legend: Markup,
    accuracy: str,
    *,
    small: bool = False,
) -> Markup:
    """Return a viewer.

    Parameters
    ----------
    name : str
        Of the element; letters, digits and hyphens.
    told : str
        What is to be seen, for those who do not see it.
    meta : dict
        What the program needs to know: planes, unit, world coordinates.
    planes : dict of str
        Coded planes.
    exact : str
        Values of the image that are kept as they are.
    legend : Markup
        List of the colours of flags.
    accuracy : str
        How exact the values are.
    """
    from f2yaml.interpreter.report.markup import json_for_script

    has = set(planes) | ({"WEIGHT"} if "NOISE" in planes else set())
    blocks = [
        element("script", Markup(text), type="text/plain", id=f"{name}-{plane}")
        for plane, text in {**planes, "exact": exact}.items()
    ]
    data = element("script", json_for_script(json.dumps(meta)), type="application/json")
    canvas = element(
        "canvas", told, class_="image", tabindex="0", role="img", aria_describedby=f"{name}-help",
        aria_label=told,
    )  # fmt: skip
    stage = element(
        "div", canvas, element("p", "Unpacking the image …", class_="busy", data_part="busy"),
        class_="stage",
    )  # fmt: skip
    tools = element(
        "div", _readout(has), _fields(has), _scale(), legend, _buttons(),
        element(
            "p",
            "Drag to move; pinch, or click and use the wheel, to zoom. Keys: arrows (with Shift by "
            "10 pixels), + and −, 0 the whole image, 1 full size. " + accuracy,
            class_="hint", id=f"{name}-help",
        ),
        class_="tools",
    )  # fmt: skip
    return element(
        "div", data, *blocks, stage, tools, class_="viewer small" if small else "viewer", id=name
    )


def _readout(has: set[str]) -> Markup:
    rows = [("pixel", "x, y (from 1)"), ("radec", "RA, Dec"), ("degrees", "degrees")]
    rows += [("sci", "value")]
    rows += [("noise", "noise"), ("ratio", "value / noise")] if "NOISE" in has else []
    rows += [("coverage", "exposures")] if "COVERAGE" in has else []
    rows += [("dq", "flags")] if "DQ" in has else []
    return element(
        "dl",
        *(
            joined(
                (
                    element("dt", words),
                    element("dd", data_part=part, class_="dq" if part == "dq" else None),
                )
            )
            for part, words in rows
        ),
        class_="readout",
    )


def _choice(part: str, words: str, options: Sequence[tuple[str, str]]) -> Markup:
    made = (element("option", told, value=value) for value, told in options)
    return element("label", words, element("select", *made, data_part=part))


def _fields(has: set[str]) -> Markup:
    same = [(name, name) for name in _STRETCHES]
    fields = [
        _choice("plane", "plane", [p for p in _PLANES if p[0] in has]),
        _choice("colour", "colours", [(name, name) for name in _COLOURS]),
        _choice("stretch", "stretch", same),
        _choice("limits", "limits", _LIMITS),
    ]
    for part, words in (("low", "lowest"), ("high", "highest")):
        entry = element("input", type="text", inputmode="decimal", data_part=part)
        fields.append(element("label", words, entry))
    return element("div", *fields, class_="fields")


def _scale() -> Markup:
    ends = (element("span", data_part=part) for part in ("bar-low", "bar-middle", "bar-high"))
    return element(
        "div",
        element("canvas", class_="bar", data_part="bar", role="img", aria_label="colour scale"),
        element("div", *ends, class_="bar-ends"),
        data_part="scale",
    )


def _buttons() -> Markup:
    named = (
        ("in", "+", "zoom in"), ("out", "−", "zoom out"), ("fit", "all", "whole image"),
        ("one", "1:1", "one pixel of the image for one of the screen"),
    )  # fmt: skip
    buttons = (
        element("button", sign, type="button", data_part=part, aria_label=words, title=words)
        for part, sign, words in named
    )
    entry = element(
        "input", type="text", data_part="go", placeholder="1024, 1024  or  10:30:00.1 −25:10:00",
        spellcheck="false", autocomplete="off",
    )  # fmt: skip
    go = element(
        "form", element("label", "go to x, y or RA Dec", entry),
        element("button", "go", type="submit"), class_="go", data_part="form",
    )  # fmt: skip
    return joined((element("div", *buttons, class_="buttons"), go))
