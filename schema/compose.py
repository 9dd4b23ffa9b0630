"""Put the files of a recipe together: extends, include, override, insert -> one flat recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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
from f2yaml.schema.kinds import KINDS, mistaken, model_of
from f2yaml.schema.library import (
    Library,
    find_recipe,
    shipped,
    shipped_everywhere,
    shipped_root,
    shown_path,
)
from f2yaml.schema.problems import Problem, RecipeError, RequestError
from f2yaml.schema.salvage import validate_model
from f2yaml.schema.source import Source, load

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
    "read_recipe",
    "shipped",
    "shipped_everywhere",
    "shipped_root",
    "shown_path",
]


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
    flat, problems = read_recipe(ref, search=search, mode=mode)
    if problems or flat is None:
        raise RecipeError(problems=problems)
    return flat


def read_recipe(
    ref: str | Path, *, search: Sequence[Path] = (), mode: str = "sq"
) -> tuple[FlatRecipe | None, list[Problem]]:
    """Return what can be understood of a recipe, and its problems; as `load_recipe` otherwise.

    The recipe is None when there is nothing to go on with.

    Raises
    ------
    RecipeError
        There is no such recipe.
    """
    path = find_recipe(ref, search, mode)
    library = Library(path, search)
    document = library.read(path)
    flat = Flattener(library).recipe(document) if document is not None else None
    return flat, list(dict.fromkeys(library.problems))


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
    source = load(file, name=shown_path(file), keep_going=True)
    kind = source.value.get("kind", "recipe") if isinstance(source.value, dict) else "recipe"
    wrong = mistaken(source, str(kind))
    if wrong is not None:
        raise RecipeError(problems=[wrong])
    if kind == "recipe":
        load_recipe(file, search=search)
        return source, kind
    try:
        validate_model(source, model_of(kind))
    except RecipeError as error:
        raise RecipeError(problems=[*source.problems, *error.problems]) from error
    if source.problems:
        raise RecipeError(problems=source.problems)
    return source, kind
