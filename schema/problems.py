"""What went wrong, in the four parts every message of f2yaml has.

A `Problem` says where, what, why and how to fix it; an `F2Error` carries all problems found,
not only the first, and the exit status that the command line returns for it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a document; `line` and `column` count from 1, `width` is for the caret."""

    file: str
    line: int
    column: int
    width: int = 1
    text: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault: where it is, what is wrong, why that matters and how to mend it."""

    what: str
    why: str = ""
    fix: str = ""
    where: Place | str | None = None

    def render(self) -> str:
        """Return the message as shown to the user, without a trailing newline."""
        lines: list[str] = []
        if isinstance(self.where, Place):
            lines.append(f"{self.where}: {self.what}")
            if self.where.text:
                number = f"{self.where.line:5d} | "
                lines.append(number + self.where.text)
                blank = " " * (len(number) - 2) + "| "
                lines.append(blank + " " * (self.where.column - 1) + "^" * max(1, self.where.width))
        elif self.where:
            lines += [self.where, f"  what: {self.what}"]
        else:
            lines.append(self.what)
        if self.why:
            lines.append(f"  why:  {self.why}")
        if self.fix:
            lines.append(f"  fix:  {self.fix}")
        return "\n".join(lines)


class F2Error(Exception):
    """Base of every error shown to users; `status` is the exit status of the command line."""

    status: ClassVar[int] = 1

    def __init__(
        self,
        what: str = "",
        why: str = "",
        fix: str = "",
        where: Place | str | None = None,
        *,
        problems: Iterable[Problem] = (),
    ) -> None:
        given = tuple(problems)
        self.problems: tuple[Problem, ...] = given or (Problem(what, why, fix, where),)
        super().__init__(self.render())

    def render(self) -> str:
        """Return all problems as text."""
        return "\n".join(problem.render() for problem in self.problems)

    def at(self, where: str) -> F2Error:
        """Return the same error with `where` filled in on the problems that name no place."""
        placed = tuple(
            Problem(p.what, p.why, p.fix, p.where if p.where is not None else where)
            for p in self.problems
        )
        return type(self)(problems=placed)

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.problems))


def _rebuild(kind: type[F2Error], problems: tuple[Problem, ...]) -> F2Error:
    return kind(problems=problems)


class RequestError(F2Error):
    """The request is wrong: usage, recipe, rules or configuration (exit status 2)."""

    status: ClassVar[int] = 2


class RecipeError(RequestError):
    """A document does not say something that can be done."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``did you mean `x`?`` for the nearest of `known`, or an empty string."""
    names: Sequence[str] = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if not near:
        lowered = {name.lower(): name for name in names}
        near = [
            lowered[m] for m in difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
        ]
    return f"did you mean `{near[0]}`?" if near else ""
