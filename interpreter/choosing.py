"""The recipe of a run: a file, a shipped name, or the one that the tags of the inputs choose."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from f2yaml.interpreter.applies import unfit, weight
from f2yaml.interpreter.checking import in_order
from f2yaml.interpreter.checks import recipe_problems
from f2yaml.interpreter.errors import Problem, RecipeError, RequestError
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.terminal import printable
from f2yaml.schema.compose import FlatRecipe, load_recipe, read_recipe, shipped
from f2yaml.schema.library import file_named


def choose_recipe(named: str | None, frames: Sequence[Frame], mode: str = "sq") -> FlatRecipe:
    """Return the recipe that is named, or the shipped default recipe for such frames.

    All frames decide, not the first: darks among K flats mean the flat recipe. A recipe of the
    mode goes before one of the same name that serves all modes.

    Raises
    ------
    RecipeError
        The recipe named is not there, or wrong.
    RequestError
        No shipped recipe is the default for these frames.
    """
    if named is not None:
        return _checked(named, mode)
    reasons = []
    fitting = []
    for name in sorted(shipped(mode)):
        recipe = load_recipe(name, mode=mode)
        if recipe.applies_to is None or not recipe.applies_to.default:
            continue
        failed = unfit(recipe.applies_to, frames)
        if failed:
            reasons.append(f"{name}: {failed[0]}")
        else:
            fitting.append(recipe)
    if not fitting:
        raise RequestError(
            problems=[
                Problem(
                    "no recipe is the default for these frames",
                    "; ".join(reasons),
                    "name a recipe, as in `f2yaml run ultradeep --inputs ...` (`f2yaml show` lists "
                    "them), or change the list of inputs",
                )
            ]
        )
    return max(fitting, key=lambda recipe: weight(recipe.applies_to) if recipe.applies_to else 0)


def _checked(named: str, mode: str) -> FlatRecipe:
    """Return a recipe that has passed all checks which need no inputs and no settings.

    Whoever has a file of the name of a shipped recipe is told which of them is meant.
    """
    beside = file_named(named) if named in shipped(mode) else None
    if beside is not None:
        told = f"note: `{named}` is the shipped recipe; for the file here write ./{beside}"
        print(printable(told), file=sys.stderr)
    recipe, faults = read_recipe(named, mode=mode)
    if recipe is None:
        raise RecipeError(problems=faults)
    if faults or recipe_problems(recipe, bound=False):
        raise RecipeError(problems=in_order([*faults, *recipe_problems(recipe)]))
    return recipe
