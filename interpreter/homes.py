"""Paths that begin with the home of a user."""

from __future__ import annotations

from pathlib import Path


def at_home(text: str | Path) -> Path:
    """Return a path with ``~`` and ``~name`` replaced, as it stands where there is no such user."""
    path = Path(text)
    try:
        return path.expanduser()
    except (RuntimeError, ValueError):  # nobody of this name; or a null byte
        return path
