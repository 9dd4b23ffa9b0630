"""Text made fit for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return text with control characters replaced, so that no header can steer a terminal."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )
