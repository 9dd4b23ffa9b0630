"""Shell patterns: which files they stand for, with a limit on how far they look."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from fnmatch import translate
from glob import has_magic
from pathlib import Path

__all__ = ["Search", "TooFar"]

#: Names that the patterns of one command may look at: some seconds, and hundreds of nights.
MOST_NAMES = 200_000


class TooFar(Exception):
    """A pattern looks at more names than files of a few nights have."""


class Search:
    """Files that match patterns; all of them together may look at a limited number of names.

    Parameters
    ----------
    most : int
        Names of files and folders to look at.
    """

    def __init__(self, most: int = MOST_NAMES) -> None:
        self.most = most
        self.left = most

    def matching(self, pattern: Path) -> list[Path]:
        """Return what a pattern matches, in the order of names.

        `*`, `?` and `[...]` stand for characters of a name, `**` for any folders, or none.
        Neither matches hidden names, and `**` does not follow links.

        Raises
        ------
        TooFar
            The names at hand are used up.
        """
        if "\0" in str(pattern):
            return []
        parts: list[str] = []
        for part in pattern.parts[1:] if pattern.anchor else pattern.parts:
            if part != "**" or parts[-1:] != ["**"]:
                parts.append(part)
        return [Path(found) for found in sorted(set(self._found(pattern.anchor or ".", parts)))]

    def _found(self, top: str, parts: list[str]) -> Iterator[str]:
        tests = [_test(part) for part in parts]
        todo = [(top, 0)]  # folders, and the part of the pattern that is to be found in each
        while todo:
            folder, n = todo.pop()
            if n == len(parts):
                yield folder
            elif parts[n] == "**":
                todo.append((folder, n + 1))
                for entry in self._entries(folder):
                    if entry.name.startswith("."):
                        continue
                    if _is_folder(entry, follow=False):
                        todo.append((entry.path, n))
                    elif n + 1 == len(parts):
                        yield entry.path
            elif (test := tests[n]) is None:
                path = os.path.join(folder, parts[n])  # noqa: PTH118 -- as scandir has it
                if n + 1 < len(parts) or os.path.lexists(path):
                    todo.append((path, n + 1))
            else:
                for entry in self._entries(folder):
                    if test.match(entry.name) and (n + 1 == len(parts) or _is_folder(entry)):
                        todo.append((entry.path, n + 1))

    def _entries(self, folder: str) -> Iterator[os.DirEntry[str]]:
        """Return what is in a folder; nothing if it is none or may not be read."""
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    self.left -= 1
                    if self.left < 0:
                        raise TooFar(f"more than {self.most} names")
                    yield entry
        except OSError:
            return


def _test(part: str) -> re.Pattern[str] | None:
    """Return what names have to match; None for a part that is a name itself."""
    if not has_magic(part):
        return None
    shown = "" if part.startswith(".") else r"(?!\.)"
    return re.compile(shown + translate(part))


def _is_folder(entry: os.DirEntry[str], *, follow: bool = True) -> bool:
    try:
        return entry.is_dir(follow_symlinks=follow)
    except OSError:
        return False
