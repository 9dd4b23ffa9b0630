"""Settings of the command line, for those runs of a night whose recipes have such a step."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from f2yaml.interpreter.bind import Binder, bind_recipe, unused
from f2yaml.interpreter.calibrations import Calibrations
from f2yaml.interpreter.errors import Problem, RecipeError
from f2yaml.interpreter.sessions import Session
from f2yaml.interpreter.settings import Override, parse_overrides
from f2yaml.schema.compose import FlatRecipe
from f2yaml.schema.flat import FlatDo


@dataclass(frozen=True)
class Share:
    """The settings of the runs of one recipe.

    Parameters
    ----------
    words : tuple of str
        Those of ``-p`` that a step of the recipe takes.
    whole : tuple of str
        The same, and before them what the configuration sets.
    """

    words: tuple[str, ...]
    whole: tuple[str, ...]


def shared_out(
    recipes: Mapping[str, FlatRecipe], words: Sequence[str], calibrations: Calibrations
) -> dict[str, Share]:
    """Check the recipes of a night as their runs will; returns the settings of each.

    Parameters
    ----------
    recipes : mapping of str to FlatRecipe
        By what the night calls them.
    words : sequence of str
        Of ``-p``, as ``STEP:NAME=VALUE`` or ``NAME=VALUE``; a later one replaces an earlier one.
    calibrations : Calibrations
        With the configuration, which may set parameters as well.

    Raises
    ------
    RequestError
        A word is no setting.
    RecipeError
        No recipe takes a setting, or all that is wrong with any of the recipes and its settings.
    """
    overrides = parse_overrides(words)
    taken = {key: _taken(recipe, overrides) for key, recipe in recipes.items()}
    lost = [o for o in overrides if recipes and not any(o in found for found in taken.values())]
    steps = [s for recipe in recipes.values() for s in recipe.steps if isinstance(s, FlatDo)]
    names = [recipe.name for recipe in recipes.values()]
    problems: list[Problem] = [unused(override, steps, names) for override in lost]
    shares = {}
    for key, recipe in recipes.items():
        own = tuple(word for word in words if parse_overrides([word])[0] in taken[key])
        given = Session(argparse.Namespace(p=own), calibrations, 1, 0).overrides(recipe)
        shares[key] = Share(own, tuple(map(str, given)))
        try:
            bind_recipe(recipe, given)
        except RecipeError as error:
            problems += error.problems
    if problems:
        raise RecipeError(problems=dict.fromkeys(problems))
    return shares


def _taken(recipe: FlatRecipe, overrides: Sequence[Override]) -> set[Override]:
    """Return the settings that a step of a recipe takes, right or wrong."""
    binder = Binder(recipe, overrides)
    with suppress(RecipeError):  # its problems are told when it is bound with its own settings
        binder.bind()
    return binder.used
