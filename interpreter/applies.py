"""Which recipe is for which frames: ``applies_to`` decided on the headers of all inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from f2yaml.interpreter.errors import Problem, RequestError
from f2yaml.interpreter.expressions import compiled, decide
from f2yaml.interpreter.f2.descriptors import DESCRIPTORS
from f2yaml.interpreter.f2.possible import impossible
from f2yaml.interpreter.f2.tags import ALL_TAGS
from f2yaml.interpreter.frame import Frame
from f2yaml.schema.compose import FlatRecipe
from f2yaml.schema.flat import Locator
from f2yaml.schema.predicate import parse
from f2yaml.schema.problems import Place, did_you_mean
from f2yaml.schema.recipe import AppliesTo, CountBounds, Criterion
from f2yaml.schema.source import KeyPath


def shortfall(criterion: Criterion, frames: Sequence[Frame]) -> str:
    """Return how the frames fail a condition, an empty text where they meet it.

    `tags`, `not` and `expr` are asked of every frame, `some` of at least one, `same` and `count`
    of all together.
    """
    if criterion.tags is not None:
        for frame in frames:
            lacking = [tag for tag in criterion.tags if tag not in frame.tags]
            if lacking:
                return f"{frame.name} lacks the tag {', '.join(lacking)}"
    elif criterion.negated is not None:
        for frame in frames:
            if not shortfall(criterion.negated, [frame]):
                return f"{frame.name} is {_words(criterion.negated)}"
    elif criterion.every is not None:
        return next((s for part in criterion.every if (s := shortfall(part, frames))), "")
    elif criterion.some is not None:
        found = [shortfall(part, frames) for part in criterion.some]
        return "" if "" in found else "; ".join(found)
    elif criterion.exists is not None:
        if all(shortfall(criterion.exists, [frame]) for frame in frames):
            return f"no frame is {_words(criterion.exists)}"
    elif criterion.count is not None:
        if not criterion.count.holds(len(frames)):
            noun = "is 1 frame" if len(frames) == 1 else f"are {len(frames)} frames"
            return f"there {noun}, it needs {_bounds(criterion.count)}"
    elif criterion.same is not None:
        return _unequal(criterion.same, frames)
    elif criterion.expr is not None:
        expression = parse(criterion.expr)
        for frame in frames:
            if not decide(expression, frame.headers):
                return f"{frame.name} fails {criterion.expr}"
    return ""


def _unequal(descriptors: Iterable[str], frames: Sequence[Frame]) -> str:
    for name in descriptors:
        first = frames[0].describe(name, pretty=True)
        for frame in frames[1:]:
            value = frame.describe(name, pretty=True)
            if value != first:
                return (
                    f"{name} of {frame.name} is {_shown(value)}, of {frames[0].name} "
                    f"{_shown(first)}"
                )
    return ""


def _shown(value: object) -> str:
    return "not in its header" if value is None else str(value)


def _words(criterion: Criterion) -> str:
    if criterion.tags is not None:
        return f"tagged {' '.join(criterion.tags)}"
    return str(criterion.model_dump(by_alias=True, exclude_unset=True))


def _bounds(count: CountBounds) -> str:
    signs = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "fewer than", "eq": ""}
    given = count.model_dump(exclude_none=True)
    return " and ".join(f"{signs[key]} {value}".strip() for key, value in given.items())


def unfit(applies_to: AppliesTo | None, frames: Sequence[Frame]) -> list[str]:
    """Return every way in which the frames fail what a recipe applies to."""
    if applies_to is None:
        return []
    reasons = [s for part in applies_to.every if (s := shortfall(part, frames))]
    if applies_to.some:
        either = [shortfall(part, frames) for part in applies_to.some]
        if "" not in either:
            reasons.append("; ".join(either))
    return reasons


def check_applies(recipe: FlatRecipe, frames: Sequence[Frame]) -> None:
    """Raise `RequestError` unless the recipe is for these frames; all reasons at once."""
    reasons = unfit(recipe.applies_to, frames)
    if reasons:
        raise RequestError(
            problems=[
                Problem(
                    f"recipe {recipe.name} is not for these frames: {reason}",
                    recipe.doc if recipe.doc and not number else "its `applies_to` says so",
                    "change the list of inputs (`f2yaml typewalk` shows tags), or take another "
                    "recipe",
                )
                for number, reason in enumerate(reasons)
            ]
        )


def weight(applies_to: AppliesTo) -> int:
    """Return how many tags a recipe asks for; of several that fit, the most specific wins."""
    return sum(_tags(part) for part in applies_to.every)


def _tags(criterion: Criterion) -> int:
    if criterion.tags is not None:
        return len(criterion.tags)
    inner = criterion.exists or criterion.negated
    parts = criterion.every or ((inner,) if inner else ())
    return sum(_tags(part) for part in parts)


# checks without frames ------------------------------------------------------------------------
Locate = Callable[[int], Place | None]


def unknown_tags(tags: Sequence[str], place: Locate) -> Iterator[Problem]:
    """Yield a problem for each tag that no rule gives; `place` takes its index."""
    for index, tag in enumerate(tags):
        if tag not in ALL_TAGS:
            yield Problem(
                f"unknown tag `{tag}`",
                "no file can have it",
                did_you_mean(tag, ALL_TAGS) or f"tags are {', '.join(sorted(ALL_TAGS))}",
                place(index),
            )


def applies_problems(recipe: FlatRecipe) -> list[Problem]:
    """Return the problems of `applies_to`: unknown words, and what no input can meet."""
    if recipe.applies_to is None:
        return []
    problems: list[Problem] = []
    for key, criteria in (("all", recipe.applies_to.every), ("any", recipe.applies_to.some)):
        for index, criterion in enumerate(criteria):
            path: KeyPath = ("applies_to", key, index)
            problems += _words_of(criterion, path, recipe.locate)
    if problems:
        return problems
    reason, path = _contradiction(recipe.applies_to)
    if reason:
        problems.append(
            Problem(
                f"no input can be what the recipe applies to: {reason}",
                "it would refuse every list of frames",
                "correct the conditions (`f2yaml show TAG` tells when a tag is given)",
                recipe.locate(("applies_to", *path)),
            )
        )
    return problems


def _words_of(criterion: Criterion, path: KeyPath, locate: Locator) -> Iterator[Problem]:
    if criterion.tags is not None:
        yield from unknown_tags(criterion.tags, lambda n: locate((*path, "tags", n)))
    if criterion.same is not None:
        for index, name in enumerate(criterion.same):
            if name not in DESCRIPTORS:
                yield Problem(
                    f"unknown descriptor `{name}`",
                    "frames are compared by a value that each of them has",
                    did_you_mean(name, DESCRIPTORS) or "`f2yaml show` lists every descriptor",
                    locate((*path, "same", index)),
                )
    if criterion.expr is not None:
        try:
            compiled(criterion.expr)
        except RequestError as error:
            place = locate((*path, "expr"))
            yield from (Problem(p.what, p.why, p.fix, place) for p in error.problems)
    for key, inner in (("not", criterion.negated), ("some", criterion.exists)):
        if inner is not None:
            yield from _words_of(inner, (*path, key), locate)
    for key, parts in (("all", criterion.every), ("any", criterion.some)):
        for index, part in enumerate(parts or ()):
            yield from _words_of(part, (*path, key, index), locate)


@dataclass
class _Demand:
    """What every frame has to have, must not have, and how many frames there have to be."""

    wanted: set[str] = field(default_factory=set)
    forbidden: set[str] = field(default_factory=set)
    least: int = 1
    most: float = math.inf
    some: list[tuple[set[str], set[str], KeyPath]] = field(default_factory=list)
    path: KeyPath = ()

    def take(self, criterion: Criterion, path: KeyPath) -> None:
        """Add a condition that every frame, or all together, have to meet."""
        if criterion.tags is not None:
            self.wanted |= set(criterion.tags)
        elif criterion.negated is not None and criterion.negated.tags is not None:
            if len(criterion.negated.tags) == 1:
                self.forbidden |= set(criterion.negated.tags)
        elif criterion.exists is not None and criterion.exists.tags is not None:
            self.some.append((set(criterion.exists.tags), set(), path))
        elif criterion.every is not None:
            for index, part in enumerate(criterion.every):
                self.take(part, (*path, "all", index))
        elif criterion.count is not None:
            bounds = criterion.count
            lower = [bounds.ge, bounds.eq, None if bounds.gt is None else bounds.gt + 1]
            upper = [bounds.le, bounds.eq, None if bounds.lt is None else bounds.lt - 1]
            self.least = max(self.least, *(n for n in lower if n is not None), 0)
            self.most = min([self.most, *(n for n in upper if n is not None)])


def _contradiction(applies_to: AppliesTo) -> tuple[str, KeyPath]:
    """Return why no frames can meet all conditions, and the place of the last of them."""
    demand = _Demand()
    for index, criterion in enumerate(applies_to.every):
        path: KeyPath = ("all", index)
        demand.take(criterion, path)
        reason = impossible(demand.wanted, demand.forbidden)
        for wanted, forbidden, where in demand.some:
            if not reason:
                reason = impossible(demand.wanted | wanted, demand.forbidden | forbidden)
                path = where if reason else path
        if not reason and demand.most < demand.least:
            reason = f"at least {demand.least} and at most {demand.most:g} frames"
        if reason:
            return reason, path
    reasons = []
    for index, criterion in enumerate(applies_to.some):
        either = replace(demand, wanted=set(demand.wanted), forbidden=set(demand.forbidden))
        either.take(criterion, ("any", index))
        reasons.append(impossible(either.wanted, either.forbidden))
    if reasons and all(reasons):
        return "; ".join(dict.fromkeys(reasons)), ("any",)
    return "", ()
