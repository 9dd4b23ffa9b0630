"""What went wrong, in the four parts every message of f2yaml has.

A `Problem` says where, what, why and how to fix it; an `F2Error` carries all problems found,
not only the first, and the exit status that the command line returns for it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
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

    def excerpt(self) -> list[str]:
        """Return the line of the document and a caret under the place; empty if it is unknown."""
        if not self.text:
            return []
        number = f"{self.line:5d} | "
        blank = " " * (len(number) - 2) + "| "
        return [number + self.text, blank + " " * (self.column - 1) + "^" * max(1, self.width)]


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault: where it is, what is wrong, why that matters and how to mend it.

    `also` names other places that have a part in it, each with words such as ``used as ...``.
    """

    what: str
    why: str = ""
    fix: str = ""
    where: Place | str | None = None
    also: tuple[tuple[str, Place], ...] = ()

    def render(self) -> str:
        """Return the message as shown to the user, without a trailing newline."""
        lines: list[str] = []
        if isinstance(self.where, Place):
            lines += [f"{self.where}: {self.what}", *self.where.excerpt()]
        elif self.where:
            lines += [self.where, f"  what: {self.what}"]
        else:
            lines.append(self.what)
        for words, place in self.also:
            lines += [f"  {words} {place}", *place.excerpt()]
        if self.why:
            lines.append(f"  why:  {self.why}")
        if self.fix:
            lines.append(f"  fix:  {self.fix}")
        return "\n".join(lines)


def merged(problems: Iterable[Problem]) -> list[Problem]:
    """Return each fault once: a line that a recipe takes in twice is told of once.

    Of the places that have a part in it, those stay that it has each time.
    """
    found: dict[tuple[object, ...], Problem] = {}
    for problem in problems:
        key = (problem.where, problem.what, problem.why, problem.fix)
        before = found.setdefault(key, problem)
        shared = tuple(part for part in before.also if part in problem.also)
        found[key] = replace(before, also=shared)
    return list(found.values())


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
        given = tuple(merged(problems))
        self.problems: tuple[Problem, ...] = given or (Problem(what, why, fix, where),)
        super().__init__(self.render())

    def render(self) -> str:
        """Return all problems as text."""
        return "\n".join(problem.render() for problem in self.problems)

    def at(self, where: str) -> F2Error:
        """Return the same error with `where` filled in on the problems that name no place."""
        placed = tuple(
            replace(p, where=p.where if p.where is not None else where) for p in self.problems
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
    near = nearest(word, known)
    return f"did you mean `{near[0]}`?" if near else ""


def nearest(word: str, known: Iterable[str]) -> list[str]:
    """Return the one of `known` that is most like a word, or an empty list."""
    names: Sequence[str] = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if not near:
        lowered = {name.lower(): name for name in names}
        near = [
            lowered[m] for m in difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
        ]
    if not near and 1 < len(word) < 5:  # too short for a share of letters: one may be wrong
        near = [
            name
            for name in names
            if len(name) == len(word) and sum(map(str.__ne__, name, word)) == 1
        ][:1]
    return near
