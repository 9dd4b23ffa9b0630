"""The documents and commands that a page of the documentation shows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Section:
    """A section: its title, the files it shows by name, and the commands after a dollar sign."""

    title: str
    files: dict[str, str]
    commands: tuple[str, ...]

    def write(self, folder: Path) -> None:
        """Write the files."""
        for name, text in self.files.items():
            (folder / name).write_text(text, encoding="utf-8")


def sections(page: Path) -> list[Section]:
    """Return the sections of a Markdown page that begin with ``##``."""
    found = []
    for part in re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.M)[1:]:
        blocks = _BLOCK.findall(part)
        files = {name: text for kind, name, text in blocks if kind == "yaml" and name}
        lines = [line for kind, _, text in blocks if kind == "console" for line in text.split("\n")]
        commands = tuple(line[2:] for line in lines if line.startswith("$ "))
        found.append(Section(part.partition("\n")[0], files, commands))
    return found
