"""The characters of an expression, and the place of a fault among them."""

from __future__ import annotations

import re

from f2yaml.schema.problems import Place, RequestError
from f2yaml.schema.text import printable

BLANKS = re.compile(r"[ \t\r\n]*")
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORD = re.compile(r"[^\s()\[\],'\"=<>!~$]+")


class Reader:
    """A text, how far it has been read, and where it stands in a document."""

    def __init__(self, text: str, where: Place | None) -> None:
        self.text = text
        self.where = where
        self.at = 0

    def place(self, at: int, width: int) -> Place:
        """Return the place of some characters, inside the document where that is known."""
        if self.where is None:
            shown = printable(self.text, 300) if len(self.text) <= 300 else ""
            return Place("expression", 1, at + 1, max(1, width), shown)
        spot = self.where
        begin = spot.column - 1
        for quote in (0, 1):
            if spot.text[begin + quote : begin + quote + len(self.text)] == self.text:
                column = spot.column + quote + at
                return Place(spot.file, spot.line, column, max(1, width), spot.text)
        return spot

    def fault(
        self, what: str, why: str, fix: str, at: int | None = None, width: int = 1
    ) -> RequestError:
        """Return the error to raise; it points at `at`, by default the next character."""
        return RequestError(what, why, fix, self.place(self.at if at is None else at, width))

    def blanks(self) -> None:
        found = BLANKS.match(self.text, self.at)
        assert found is not None
        self.at = found.end()

    def next_word(self) -> str:
        found = _WORD.match(self.text, self.at)
        return found.group() if found else ""

    def keyword(self, word: str) -> bool:
        """Consume a keyword if it comes next."""
        self.blanks()
        found = IDENTIFIER.match(self.text, self.at)
        if found is None or found.group() != word:
            return False
        self.at = found.end()
        return True

    def char(self, char: str) -> bool:
        """Consume a character if it comes next."""
        self.blanks()
        if self.text.startswith(char, self.at):
            self.at += len(char)
            return True
        return False

    def ends_at(self, end: int) -> bool:
        """Return whether a constant may end here, or is the beginning of a longer word."""
        return end == len(self.text) or _WORD.match(self.text, end) is None
