"""Put the files of a recipe together: extends, include, override, insert -> one flat recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from f2yaml.schema.base import Model
from f2yaml.schema.flat import (
    Condition,
    FlatCopy,
    FlatDo,
    FlatRecipe,
    FlatRequire,
    FlatStep,
    Origin,
    Ref,
    Value,
)
from f2yaml.schema.flatten import Flattener
from f2yaml.schema.library import (
    Library,
    find_recipe,
    shipped,
    shipped_everywhere,
    shipped_root,
    shown_path,
)
from f2yaml.schema.problems import Problem, RecipeError, RequestError, did_you_mean
from f2yaml.schema.source import Source, load, validate_model
from f2yaml.schema.text import printable

__all__ = [
    "KINDS",
    "Condition",
    "FlatCopy",
    "FlatDo",
    "FlatRecipe",
    "FlatRequire",
    "FlatStep",
    "Origin",
    "Ref",
    "Value",
    "check_document",
    "load_recipe",
    "problems_of",
    "shipped",
    "shipped_everywhere",
    "shipped_root",
]

KINDS = ("recipe", "rules", "scenario", "config")
"""Kinds of document."""


def load_recipe(ref: str | Path, *, search: Sequence[Path] = (), mode: str = "sq") -> FlatRecipe:
    """Return a recipe in one piece, checked as far as that goes without the primitives.

    Streams, primitives and their parameters are checked where the primitives are known.

    Parameters
    ----------
    ref : str or path
        Path of a YAML file, or the name of a shipped recipe.
    search : sequence of path
        Folders in which names, and the files that recipes include, are looked for besides.
    mode : str
        Mode of the run, which may have a recipe of its own under that name.

    Raises
    ------
    RecipeError
        Every problem of every file involved, in the order of files and lines.
    """
    path = find_recipe(ref, search, mode)
    library = Library(path, search)
    document = library.read(path)
    flat = Flattener(library).recipe(document) if document is not None else None
    problems = list(dict.fromkeys(library.problems))
    if problems or flat is None:
        raise RecipeError(problems=problems)
    return flat


def problems_of(path: str | Path, *, search: Sequence[Path] = ()) -> list[Problem]:
    """Return every problem of a document of any kind; an empty list when it is sound.

    Parameters
    ----------
    path : str or path
        YAML file.
    search : sequence of path
        As in `load_recipe`.
    """
    try:
        check_document(path, search=search)
    except RequestError as error:
        return list(error.problems)
    return []


def check_document(path: str | Path, *, search: Sequence[Path] = ()) -> tuple[Source, str]:
    """Return a document and its kind, after checking it completely.

    Raises
    ------
    RecipeError
        Every problem found.
    """
    file = Path(path)
    source = load(file, name=shown_path(file))
    kind = source.value.get("kind", "recipe") if isinstance(source.value, dict) else "recipe"
    if kind == "recipe":
        load_recipe(file, search=search)
    else:
        validate_model(source, _model(kind, source))
    return source, kind


def _model(kind: object, source: Source) -> type[Model]:
    # read only when such a document is met: each brings its own tables
    if kind == "rules":
        from f2yaml.schema.selection import Rules

        return Rules
    if kind == "config":
        from f2yaml.schema.config import Config

        return Config
    if kind == "scenario":
        from f2yaml.schema.scenario import Scenario

        return Scenario
    raise RecipeError(
        f"`{printable(str(kind))}` is not a kind of document",
        "kinds are " + ", ".join(KINDS),
        did_you_mean(str(kind), KINDS) or "write one of them",
        source.place(("kind",)),
    )
