"""Checks of a whole recipe beyond names and types: what would be found out only hours later."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from f2yaml.interpreter.applies import applies_problems, unknown_tags
from f2yaml.interpreter.bind import Binder, unknown_parameter, value_problem, yaml_value
from f2yaml.interpreter.errors import F2Error, Problem, RecipeError
from f2yaml.interpreter.registry import AnyPrimitive, find, primitives
from f2yaml.interpreter.resources import DERIVED, FROM_RUNNER, KINDS
from f2yaml.interpreter.settings import convert_value
from f2yaml.interpreter.ways import conditions_of, never, taken, ways
from f2yaml.schema.base import Fault
from f2yaml.schema.flat import FlatDo, FlatRecipe, FlatRequire, Ref
from f2yaml.schema.problems import Place, did_you_mean
from f2yaml.schema.recipe import Parameter
from pydantic.fields import FieldInfo

_UNITS = {
    "s": ("s", "sec", "second", "seconds"),
    "pix": ("pix", "pixel", "pixels", "px"),
    "arcsec": ("arcsec", '"', "arcsecond", "arcseconds"),
    "arcmin": ("arcmin", "'", "arcminute", "arcminutes"),
    "deg": ("deg", "degree", "degrees"),
    "electron": ("electron", "electrons", "e", "e-"),
    "adu": ("adu", "ADU", "counts"),
    "mag": ("mag", "magnitude", "magnitudes"),
    "sigma": ("sigma",),
}
_UNIT_OF = {word: unit for unit, words in _UNITS.items() for word in words}


def recipe_problems(recipe: FlatRecipe, *, bound: bool = True) -> list[Problem]:
    """Return every problem of a recipe that can be known without inputs.

    Recipes in a folder called ``base`` are building blocks: they may read streams that others
    fill, and leave the writing to them.

    Parameters
    ----------
    recipe : FlatRecipe
    bound : bool
        Bind the steps, too; not needed where that is done with settings of the command line.
    """
    block = recipe.path.parent.name == "base"
    problems = _bound(recipe, block, None) if bound else []
    problems += applies_problems(recipe)
    for step in recipe.steps:
        if isinstance(step, FlatDo):
            problems += _step_problems(step)
    problems += _parameter_problems(recipe)
    if not recipe.complete:
        return list(dict.fromkeys(problems))
    problems += _never_problems(recipe)
    problems += _other_ways(recipe, block, problems) if bound else []
    if not block:
        problems += _written_problems(recipe)
    return list(dict.fromkeys(problems))


def _bound(recipe: FlatRecipe, block: bool, assumed: Mapping[str, object] | None) -> list[Problem]:
    try:
        Binder(recipe, block=block, assumed=assumed).bind()
    except RecipeError as error:
        return list(error.problems)
    return []


def _other_ways(recipe: FlatRecipe, block: bool, known: Sequence[Problem]) -> list[Problem]:
    """Return the problems that other values of the parameters bring."""
    seen = {(p.what, p.where) for p in known}
    found = []
    for values in ways(recipe).values[1:]:
        changed = [
            f"${name} is {yaml_value(value)}"
            for name, value in values.items()
            if value != recipe.parameters[name].default
        ]
        for problem in _bound(recipe, block, values):
            if (problem.what, problem.where) not in seen:
                seen.add((problem.what, problem.where))
                why = f"{problem.why}; it is so when {' and '.join(changed)}"
                found.append(replace(problem, why=why))
    return found


# steps ---------------------------------------------------------------------------------------
def _primitive(step: FlatDo) -> AnyPrimitive | None:
    try:
        return find(str(step.primitive.value))
    except RecipeError:
        return None  # noted by the binder


def _step_problems(step: FlatDo) -> Iterator[Problem]:
    primitive = _primitive(step)
    if primitive is None:
        return
    for resource in primitive.resources:
        if resource not in KINDS and resource not in DERIVED and resource not in FROM_RUNNER:
            yield Problem(
                f"{primitive.name} asks for `{resource}`, which no command can provide",
                f"what can be provided is {', '.join(sorted({*KINDS, *DERIVED, *FROM_RUNNER}))}",
                did_you_mean(resource, KINDS) or "correct the declaration of the primitive",
                step.place,
            )
    for name, value in step.values.items():
        field = primitive.params.model_fields.get(name)
        if name == "tags" and field is not None and isinstance(value.value, list):
            words = [word for word in value.value if isinstance(word, str)]
            yield from unknown_tags(words, lambda _, place=value.place: place)  # type: ignore[misc]


def _never_problems(recipe: FlatRecipe) -> list[Problem]:
    found = []
    for step, condition in never(recipe):
        if isinstance(step, FlatRequire) and condition is step.condition:
            what = f"`{condition.text}` can never hold, so the recipe always stops here"
            fix = "correct the condition"
        else:
            what = f"the steps under `{condition.text}` can never run"
            fix = "correct the condition, or remove the steps"
        outer = [c for c in conditions_of(step) if c.block != condition.block]
        also = tuple(("it stands under", c.place) for c in outer)
        why = "no values of the parameters, and no numbers of frames, meet the condition"
        why += " together with those around it" if outer else ""
        found.append(Problem(what, why, fix, condition.place, also))
    return found


# what is written -----------------------------------------------------------------------------
def _written_problems(recipe: FlatRecipe) -> list[Problem]:
    found: dict[Problem, None] = {}
    writes = False
    for values in ways(recipe).values:
        made: dict[str, tuple[str, Place]] = {}
        products = [
            *_saved(recipe, values),
            *(
                (f"the output `{name}`", output.suffix, recipe.output_places[name])
                for name, output in recipe.outputs.items()
            ),
        ]
        writes = writes or bool(products)
        for who, suffix, place in products:
            if suffix in made:
                first, where = made[suffix]
                found[
                    Problem(
                        f"{who} and {first} both write *{suffix}.fits",
                        "one file would replace the other",
                        "give one of them another suffix",
                        place,
                        (("the other is at", where),) if where != place else (),
                    )
                ] = None
            made.setdefault(suffix, (who, place))
    if not writes and recipe.steps and not recipe.declares_outputs:
        found[
            Problem(
                "the recipe writes nothing",
                "it has no `outputs`, and no step has `write`",
                "add `outputs: {main: {suffix: _image}}`, or `outputs: {}` if it only reports",
                recipe.locate(("name",)),
            )
        ] = None
    return list(found)


def _saved(recipe: FlatRecipe, values: Mapping[str, object]) -> Iterator[tuple[str, str, Place]]:
    for step in recipe.steps:
        if not isinstance(step, FlatDo) or step.write is None or step.skip:
            continue
        if not taken(step, values):
            continue
        primitive = _primitive(step)
        suffix = step.write.suffix or (primitive.suffix if primitive is not None else "")
        if suffix:
            yield f"the step {step.primitive.value}", suffix, step.place


# parameters of the recipe --------------------------------------------------------------------
def _parameter_problems(recipe: FlatRecipe) -> Iterator[Problem]:
    seen: set[tuple[str, str, str]] = set()
    for step in recipe.steps:
        if not isinstance(step, FlatDo):
            continue
        primitive = _primitive(step)
        if primitive is None:
            continue
        for name, value in step.values.items():
            field = primitive.params.model_fields.get(name)
            if not isinstance(value.value, Ref) or field is None:
                continue
            own = value.value.name
            if (own, primitive.name, name) in seen:
                continue
            seen.add((own, primitive.name, name))
            whose = f"`{name}` of {primitive.name}"
            for problem in _disagreements(recipe.parameters[own], own, field, whose):
                also = (("used at", value.used or value.place),)
                yield replace(problem, where=recipe.parameter_places[own], also=also)


def _disagreements(
    parameter: Parameter, own: str, field: FieldInfo, whose: str
) -> Iterator[Problem]:
    """Yield where what a parameter declares contradicts what the step that uses it takes."""
    unit = _UNIT_OF.get(parameter.unit or "")
    wanted = _unit(field.description or "")
    if unit and wanted and unit != wanted:
        yield Problem(
            f"`{own}` is in {unit}, but {whose} is in {wanted}",
            "numbers are passed on as they are",
            f"declare `unit: {wanted}`, and give the default in it",
        )
    for key, sign in (("ge", -1), ("gt", -1), ("le", 1), ("lt", 1)):
        bound = getattr(parameter, key)
        limit = _limit(field, sign)
        if bound is None or limit is None:
            continue
        edge, closed = limit
        beyond = sign * bound > sign * edge
        if beyond or (bound == edge and not closed and key in ("ge", "le")):
            word = {(-1, True): "at least", (-1, False): "greater than"}.get((sign, closed))
            word = word or ("at most" if closed else "less than")
            yield Problem(
                f"`{own}` may be {bound:g}, but {whose} has to be {word} {edge:g}",
                "a value between the two would be accepted here and refused there",
                f"narrow `{key}` of `{own}`",
            )
    for choice in parameter.choices or ():
        if not _accepts(field, choice):
            yield Problem(
                f"`{own}` may be {yaml_value(choice)}, which {whose} does not take",
                f"it is {field.description}" if field.description else "",
                "remove it from `choices`",
            )


def _accepts(field: FieldInfo, value: object) -> bool:
    try:
        convert_value(value, field)
    except Fault:
        return False
    return True


def _unit(description: str) -> str | None:
    found = re.search(r"\[([^\]]+)\]", description)
    return _UNIT_OF.get(found[1]) if found else None


def _limit(field: FieldInfo, sign: int) -> tuple[float, bool] | None:
    """Return the bound of a step's parameter on one side, and whether the bound is allowed."""
    for item in field.metadata:
        for key, closed in (
            (("le", True), ("lt", False)) if sign > 0 else (("ge", True), ("gt", False))
        ):
            edge = getattr(item, key, None)
            if isinstance(edge, int | float):
                return float(edge), closed
    return None


# configuration -------------------------------------------------------------------------------
def defaults_problems(
    defaults: Mapping[str, Mapping[str, object]], place: Any
) -> Iterator[Problem]:
    """Yield the problems of the parameters that a configuration sets.

    Parameters
    ----------
    defaults : mapping
        Values by primitive and parameter.
    place : callable
        ``(path, key) -> Place``.
    """
    known = [primitive.name for primitive in primitives()]
    for step, values in defaults.items():
        try:
            primitive = find(step)
        except F2Error:
            yield Problem(
                f"there is no primitive `{step}`",
                "its parameters would have no effect",
                did_you_mean(step, known) or "`f2yaml show` lists all primitives",
                place(("defaults", step), True),
            )
            continue
        yield from _default_values(primitive, values, place)


def _default_values(
    primitive: AnyPrimitive, values: Mapping[str, object], place: Any
) -> Iterator[Problem]:
    for name, value in values.items():
        path = ("defaults", primitive.name, name)
        field = primitive.params.model_fields.get(name)
        if field is None:
            yield unknown_parameter(name, primitive, place(path, True))
        elif not _accepts(field, value):
            yield value_problem(primitive, name, value, place(path, False))
