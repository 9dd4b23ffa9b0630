"""The ways a recipe may go: values of its parameters that decide its conditions differently."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

from f2yaml.schema.base import Fault
from f2yaml.schema.expr_tree import comparisons
from f2yaml.schema.flat import Condition, FlatRecipe, FlatRequire, FlatStep, Ref, Unknown
from f2yaml.schema.predicate import (
    Compare,
    Count,
    Expr,
    ListOf,
    Literal,
    Operand,
    Param,
    evaluate,
    names,
)
from f2yaml.schema.problems import RequestError
from f2yaml.schema.recipe import Parameter

_MOST = 64
_OTHER_TEXT = "something else"


@dataclass(frozen=True)
class Ways:
    """Values of the parameters that conditions mention, the defaults first.

    `exact` says that no other values would decide the conditions in another way.
    """

    values: tuple[Mapping[str, object], ...]
    exact: bool


def conditions_of(step: FlatStep) -> tuple[Condition, ...]:
    """Return every condition that a step depends on, and that it states itself."""
    own = (step.condition,) if isinstance(step, FlatRequire) else ()
    return (*step.when, *own)


def ways(recipe: FlatRecipe) -> Ways:
    """Return values of the parameters that lead through every branch of a recipe."""
    found: dict[str, list[object]] = {}
    exact = True
    for condition in _distinct(recipe.steps):
        for name, others, sure in _compared(condition):
            parameter = recipe.parameters.get(name)
            if parameter is None:
                continue
            exact = exact and sure
            found.setdefault(name, []).extend(others)
    domains = {name: _domain(recipe.parameters[name], others) for name, others in found.items()}
    size = 1
    for values in domains.values():
        size *= len(values)
    if size > _MOST:
        exact = False
        combined: Iterable[tuple[object, ...]] = _one_at_a_time(list(domains.values()))
    else:
        combined = product(*domains.values())
    return Ways(tuple(dict(zip(domains, values, strict=True)) for values in combined), exact)


def _one_at_a_time(domains: Sequence[Sequence[object]]) -> Iterator[tuple[object, ...]]:
    first = tuple(values[0] for values in domains)
    yield first
    for number, values in enumerate(domains):
        for value in values[1:]:
            yield (*first[:number], value, *first[number + 1 :])


def _distinct(steps: Iterable[FlatStep]) -> list[Condition]:
    by_block = {c.block: c for step in steps for c in conditions_of(step)}
    return list(by_block.values())


def _compared(condition: Condition) -> Iterator[tuple[str, list[object], bool]]:
    """Yield each parameter of the recipe in a condition, what it is compared with, and whether
    that decides all.
    """
    for part in comparisons(condition.expr):
        sides = (part.left, part.right) if isinstance(part, Compare) else (part.operand,)
        constants = [v for side in sides for v in _constants(side, condition)]
        variable = [p for side in sides for p in _parameters(side, condition)]
        others = any(isinstance(item, Count) for side in sides for item in _items(side))
        pattern = isinstance(part, Compare) and part.op == "~"
        for name in variable:
            yield name, constants, len(variable) == 1 and not others and not pattern


def _items(side: Operand) -> tuple[Operand, ...]:
    return side.items if isinstance(side, ListOf) else (side,)


def _constants(side: Operand, condition: Condition) -> list[object]:
    found = []
    for item in _items(side):
        if isinstance(item, Literal):
            found.append(item.value)
        elif isinstance(item, Param):
            value = condition.bindings[item.name].value
            found += [] if isinstance(value, Ref | Unknown) else [value]
    return found


def _parameters(side: Operand, condition: Condition) -> list[str]:
    values = [condition.bindings[i.name].value for i in _items(side) if isinstance(i, Param)]
    return [value.name for value in values if isinstance(value, Ref)]


def _domain(parameter: Parameter, others: Sequence[object]) -> list[object]:
    """Return values that a parameter may take, one for each outcome of comparing it with others."""
    tried: list[object] = [parameter.default]
    kind = parameter.kind
    if parameter.choices is not None:
        tried += parameter.choices
    elif kind == "bool":
        tried += [True, False]
    elif kind in ("int", "float"):
        tried += _around([float(o) for o in others if isinstance(o, int | float)], kind)
    elif kind == "str":
        tried += [*(o for o in others if isinstance(o, str)), _OTHER_TEXT]
    kept: list[object] = []
    for value in tried:
        try:
            value = parameter.convert(value)
        except Fault:
            continue
        if not any(value == known and type(value) is type(known) for known in kept):
            kept.append(value)
    return kept or [parameter.default]


def _around(marks: Sequence[float], kind: str) -> list[object]:
    """Return numbers at, between and beyond some marks."""
    ordered = sorted(set(marks)) or [0.0]
    found = [ordered[0] - 1.0, *ordered, ordered[-1] + 1.0]
    found += [(a + b) / 2 for a, b in pairwise(ordered)]
    if kind == "int":
        return [int(value) for value in found if value == int(value)]
    return list(found)


def taken(step: FlatStep, values: Mapping[str, object]) -> bool:
    """Return whether a step may run with these values of the parameters, whatever the frames."""
    return all(may_hold(condition, values) for condition in step.when)


def may_hold(condition: Condition, values: Mapping[str, object]) -> bool:
    """Return whether a condition holds for some numbers of frames."""
    counted = sorted(name for name in names(condition.expr) if name.startswith("count:"))
    numbers = _counts(condition.expr)

    def lookup(name: str, counts: Mapping[str, int]) -> object:
        if name in counts:
            return counts[name]
        value = condition.bindings[name.removeprefix("$")].value
        return values.get(value.name) if isinstance(value, Ref) else value

    if any(isinstance(value.value, Unknown) for value in condition.bindings.values()):
        return True
    if any(
        isinstance(v.value, Ref) and v.value.name not in values for v in condition.bindings.values()
    ):
        return True
    for chosen in product(numbers, repeat=min(len(counted), 3)):
        counts = dict(zip(counted, chosen, strict=False))
        if len(counts) < len(counted):
            return True
        try:
            if evaluate(condition.expr, lambda name, c=counts: lookup(name, c)):  # type: ignore[misc]
                return True
        except RequestError:
            return True
    return False


def _counts(expr: Expr) -> list[int]:
    marks = {0, 1}
    for part in comparisons(expr):
        if isinstance(part, Compare):
            for side in (part.left, part.right):
                for item in _items(side):
                    if isinstance(item, Literal) and isinstance(item.value, int | float):
                        near = int(item.value)
                        marks |= {near - 1, near, near + 1}
                    elif isinstance(item, Param):
                        marks |= {2, 3, 1_000_000}
    return sorted(mark for mark in marks if mark >= 0)


def never(recipe: FlatRecipe) -> list[tuple[FlatStep, Condition]]:
    """Return the steps that cannot run, each with the condition to blame, once a condition."""
    found = ways(recipe)
    blamed: dict[int, tuple[FlatStep, Condition]] = {}
    if not found.exact:
        return []
    for step in recipe.steps:
        conditions = conditions_of(step)
        for length, last in enumerate(conditions, start=1):
            if last.block in blamed:
                break
            if not any(
                all(may_hold(c, values) for c in conditions[:length]) for values in found.values
            ):
                if _of_the_recipe(last):
                    blamed[last.block] = (step, last)
                break
    return list(blamed.values())


def _of_the_recipe(condition: Condition) -> bool:
    """Whether no value in a condition was fixed by an include, which may leave steps out."""
    return all(isinstance(value.value, Ref) for value in condition.bindings.values())
