"""HTML and SVG from plain values: what is not markup is escaped, always."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

#: Elements without an end tag in HTML.
_VOID = frozenset({"br", "hr", "input", "meta", "link", "col"})


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


Content = object  # Markup as it is; None nothing; anything else as text


def text(value: Content) -> Markup:
    """Return a value as markup: its text escaped, or as it is if it is markup."""
    if isinstance(value, Markup):
        return value
    if value is None:
        return Markup()
    # Control characters may stand in no page, escaped or not.
    plain = "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}"
                    for c in str(value))  # fmt: skip
    return Markup(html.escape(plain, quote=True))


def joined(parts: Iterable[Content]) -> Markup:
    """Return several contents as one."""
    return Markup("".join(map(text, parts)))


def element(tag: str, *content: Content, **attributes: Any) -> Markup:
    """Return an element.

    Parameters
    ----------
    tag : str
    *content : str, Markup or None
        Text is escaped, markup is not.
    **attributes
        ``class_`` and ``for_`` stand for class and for; other underscores for hyphens. True is an
        attribute without value, None and False leave it out.
    """
    words = [tag]
    for key, value in attributes.items():
        name = key.rstrip("_").replace("_", "-")
        if value is None or value is False:
            continue
        words.append(name if value is True else f'{name}="{text(value)}"')
    start = f"<{' '.join(words)}>"
    if tag in _VOID:
        return Markup(start)
    return Markup(f"{start}{joined(content)}</{tag}>")


def table(
    heads: Iterable[Content], rows: Iterable[Iterable[Content]], caption: str, **attributes: Any
) -> Markup:
    """Return a table with a caption that screen readers say; it scrolls where it is too wide.

    The first cell of each row is its head. A cell that is markup of a cell is taken as it is.
    """
    head = element("thead", element("tr", *(element("th", h, scope="col") for h in heads)))
    body = []
    for row in rows:
        cells = []
        for number, cell in enumerate(row):
            if isinstance(cell, Markup) and cell.startswith(("<td", "<th")):
                cells.append(cell)
            elif number == 0:
                cells.append(element("th", cell, scope="row"))
            else:
                cells.append(element("td", cell, class_="n" if _is_number(cell) else None))
        body.append(element("tr", *cells))
    whole = element(
        "table", element("caption", element("span", caption)), head, element("tbody", *body)
    )
    return element(
        "div", whole, class_="wide", tabindex="0", role="region", aria_label=caption, **attributes
    )


def _is_number(cell: Content) -> bool:
    return isinstance(cell, str) and cell[:1] in "-+.0123456789−–" and cell[-1:].isdigit()


def json_for_script(dumped: str) -> Markup:
    """Return JSON so that it may stand inside a script element, whatever strings it holds."""
    return Markup(
        dumped.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
        .replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    )  # fmt: skip
