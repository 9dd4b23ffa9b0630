"""Text from a document, made fit for a message."""

from __future__ import annotations


def printable(text: str, limit: int = 60) -> str:
    """Return a text without characters that would move the cursor, cut to `limit` characters.

    Tabs become blanks, so that a caret below still points at its character.
    """
    shown = text[:limit]
    if not shown.isprintable():
        shown = "".join(map(_visible, shown))
    return shown if len(text) <= limit else shown[:-3] + "..."


def _visible(c: str) -> str:
    return c if c.isprintable() else " " if c in "\t\r\n" else "?"
