"""Bytes of a file -> lines of text, with places; what cannot be text is refused."""

from __future__ import annotations

import re
from pathlib import Path

from f2yaml.schema.problems import Place, Problem, RecipeError, did_you_mean
from f2yaml.schema.text import printable

MAX_BYTES = 1_000_000


def read_text(file: Path, name: str) -> str:
    """Return the text of a file.

    Raises
    ------
    RecipeError
        It is no file, cannot be read, is too large, or is not UTF-8.
    """
    return _decode(_read_bytes(file, name), name)


def _read_bytes(file: Path, name: str) -> bytes:
    try:
        if not file.exists():
            raise RecipeError(f"{name}: no such file", "nothing can be read", _near(file))
        if not file.is_file():
            raise RecipeError(f"{name} is not a file", "a document is a file", "name a YAML file")
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RecipeError(
            f"{name} cannot be read", reason, "check the name and its permissions"
        ) from error
    if len(data) > MAX_BYTES:
        raise RecipeError(
            f"{name} is larger than {MAX_BYTES} bytes",
            "no recipe is that large; it may be another kind of file",
            "name a YAML file",
        )
    return data


def _near(file: Path) -> str:
    folder = file.parent
    if not folder.is_dir():
        return f"the folder {folder} does not exist either; check the path"
    return did_you_mean(file.name, (p.name for p in folder.iterdir())) or "check the path"


def _decode(data: bytes, name: str) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise RecipeError(f"{name} is encoded as UTF-16", "documents are UTF-8", "save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if data.startswith(b"SIMPLE  ="):
            raise RecipeError(
                f"{name} is a FITS file",
                "a document is YAML text",
                "name a recipe; FITS files follow --inputs",
            ) from error
        if b"\0" in data[:4096]:
            raise RecipeError(
                f"{name} is not text", "it has zero bytes", "name a YAML file"
            ) from error
        before = data[: error.start]
        line = before.count(b"\n") + 1
        begin = before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")
        column = len(begin) + 1
        rest = data[error.start :].partition(b"\n")[0].decode("latin-1").rstrip("\r")
        raise RecipeError(
            f"byte 0x{data[error.start]:02x} is not UTF-8",
            "documents are UTF-8, so that they read the same everywhere",
            "save the file as UTF-8",
            Place(name, line, column, 1, printable((begin + rest)[:300], 300)),
        ) from error


class Lines:
    """The lines of a text, for places; YAML counts lines by ``\\n``, ``\\r`` and a few others."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self.lines = re.split("\r\n|[\r\n\x85\u2028\u2029]", text)

    def place(self, line: int, column: int, width: int = 1) -> Place:
        """Return a place; `line` and `column` count from 0."""
        shown = self.lines[line] if line < len(self.lines) else ""
        shown = printable(shown[:300], 300) if column + width < 300 or len(shown) <= 300 else ""
        return Place(self.name, line + 1, column + 1, max(1, width), shown)

    def check(self) -> None:
        """Refuse characters that have no business in a document."""
        problems = []
        for number, line in enumerate(self.lines):
            # a tab in a comment harms nobody
            tab = line.find("\t")
            if tab >= 0 and not re.search(r"(^|\s)#", line[: tab + 1]):
                problems.append(
                    Problem(
                        "a tab stands here",
                        "its width depends on the editor, and indentation carries meaning",
                        "replace it by blanks; inside quotes write \\t",
                        self.place(number, tab),
                    )
                )
            for column, char in enumerate(line):
                if (
                    (ord(char) < 32 and char != "\t")
                    or 0xD800 <= ord(char) < 0xE000
                    or char in _ODD
                ):
                    problems.append(
                        Problem(
                            f"character U+{ord(char):04X} is not allowed",
                            "it cannot be seen; the file may be damaged or not be text",
                            "remove it",
                            self.place(number, column),
                        )
                    )
                    break
            if len(problems) >= 20:
                break
        if problems:
            raise RecipeError(problems=problems)


_ODD = "\x7f\ufeff\ufffe\uffff"
