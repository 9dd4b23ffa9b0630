"""The program in processes of its own, and the lists of files that it is given there."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

_PROGRAM = "import sys; from f2yaml.interpreter.cli import main; sys.exit(main())"


def command(words: Iterable[str]) -> list[str]:
    """Return what starts ``f2yaml`` with these words, wherever it is installed."""
    return [sys.executable, "-c", _PROGRAM, *words]


def as_list(paths: Iterable[Path]) -> str:
    """Return the text of a list file, for ``@list``; names with blanks or marks are quoted."""
    return "".join(f"{_quoted(str(path))}\n" for path in paths)


def _quoted(text: str) -> str:
    if not any(c.isspace() or c in "#@'\"" for c in text):
        return text
    return f"'{text}'" if '"' in text else f'"{text}"'
