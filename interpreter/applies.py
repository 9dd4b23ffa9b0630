"""Which recipe is for which frames: ``applies_to`` decided on the headers of all inputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from f2yaml.interpreter.errors import Problem, RequestError
from f2yaml.interpreter.expressions import decide
from f2yaml.interpreter.frame import Frame
from f2yaml.schema.compose import FlatRecipe
from f2yaml.schema.predicate import parse
from f2yaml.schema.recipe import AppliesTo, CountBounds, Criterion


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
                    f"{recipe.doc}" if recipe.doc else "its applies_to says so",
                    "change the list of inputs (`f2yaml typewalk` shows tags), or take another "
                    "recipe",
                )
                for reason in reasons
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
