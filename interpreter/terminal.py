"""Text made fit for a terminal."""

from __future__ import annotations

from collections.abc import Sequence


def printable(text: str) -> str:
    """Return text with control characters replaced, so that no header can steer a terminal."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def table_lines(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], notes: Sequence[str] = ()
) -> list[str]:
    """Return a table as lines of text, columns aligned; what is not known is a dash."""
    cells = [
        tuple(columns),
        *(tuple("-" if v is None else printable(str(v)) for v in row) for row in rows),
    ]
    widths = [max(len(row[n]) for row in cells) for n in range(len(columns))]
    lines = [
        "   ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    return [title, *lines, *notes]
