"""Every problem of a document of any kind, all at once, without inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from f2yaml.schema.compose import read_recipe, shipped_everywhere, shown_path
from f2yaml.schema.kinds import KINDS, mistaken, model_of
from f2yaml.schema.problems import F2Error, Place, Problem, did_you_mean, merged
from f2yaml.schema.salvage import salvage
from f2yaml.schema.source import Source, load


def problems_in(name: str | Path) -> list[Problem]:
    """Return the problems of a document: its form, and what only the registry shows.

    Parameters
    ----------
    name : str or path
        File, or name of a shipped recipe.
    """
    path = Path(name)
    if not path.exists():
        known = shipped_everywhere()
        guess = did_you_mean(str(name), known) if not path.suffix else ""
        if guess and str(name) not in known:
            return [
                Problem(f"{name}: no such file, nor a shipped name", "nothing can be read", guess)
            ]
        path = known.get(str(name), path)
    try:
        source = load(path, name=shown_path(path.absolute()), keep_going=True)
        kind = _kind(source)
        wrong = mistaken(source, kind)
        if wrong is not None:
            return [*source.problems, wrong]
        found = _CHECKS[kind](path, source)
    except F2Error as error:
        found = list(error.problems)
    return in_order(found)


def _kind(source: Source) -> str:
    value = source.value
    kind = value.get("kind", "recipe") if isinstance(value, dict) else "recipe"
    return kind if kind in KINDS else "recipe"


def recipe_faults(ref: str | Path, *, mode: str = "sq") -> list[Problem]:
    """Return the problems of a recipe: of its files, its steps, and of the whole."""
    recipe, problems = read_recipe(ref, mode=mode)
    if recipe is None:
        return problems
    from f2yaml.interpreter.checks import recipe_problems

    return [*problems, *recipe_problems(recipe)]


def _recipe(path: Path, source: Source) -> list[Problem]:
    return recipe_faults(path)


def _rules(path: Path, source: Source) -> list[Problem]:
    from f2yaml.interpreter.f2.possible import impossible
    from f2yaml.interpreter.selecting import unknown_words
    from f2yaml.schema.selection import Rules

    rules, problems, _ = salvage(source, Rules)
    problems = [*source.problems, *problems]
    for name, chosen in rules.sets.items() if rules is not None else ():
        unknown = unknown_words(source, name, chosen)
        problems += unknown
        reason = "" if unknown else impossible(set(chosen.tags), set(chosen.xtags))
        if reason:
            problems.append(
                Problem(
                    f"no file can be in the set `{name}`: {reason}",
                    "the set would stay empty",
                    "correct `tags` and `xtags` (`f2yaml show TAG` tells when a tag is given)",
                    source.place(("sets", name, "tags")),
                )
            )
    return problems


def _config(path: Path, source: Source) -> list[Problem]:
    from f2yaml.interpreter.checks import defaults_problems
    from f2yaml.interpreter.config import load_config
    from f2yaml.schema.config import Config

    config, faults, _ = salvage(source, Config)
    problems = [*source.problems, *faults]
    if config is not None:
        problems += defaults_problems(config.defaults, lambda at, key: source.place(at, key=key))
    if not problems:
        try:  # paths: variables that are not set, homes that do not exist
            load_config(path.absolute())
        except F2Error as error:
            problems += [_renamed(problem, source.name) for problem in error.problems]
    return problems


def _renamed(problem: Problem, file: str) -> Problem:
    if not isinstance(problem.where, Place):
        return problem
    return replace(problem, where=replace(problem.where, file=file))


def _by_model(kind: str, path: Path, source: Source) -> list[Problem]:
    return [*source.problems, *salvage(source, model_of(kind))[1]]


_CHECKS: dict[str, Callable[[Path, Source], list[Problem]]] = {
    "recipe": _recipe,
    "rules": _rules,
    "config": _config,
    "scenario": partial(_by_model, "scenario"),
}


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Return problems without repetition, by file as first met, then by line and column."""
    listed = merged(problems)
    files: dict[str, int] = {}
    for problem in listed:
        if isinstance(problem.where, Place):
            files.setdefault(problem.where.file, len(files))

    def key(problem: Problem) -> tuple[int, int, int]:
        where = problem.where
        if not isinstance(where, Place):
            return len(files), 0, 0
        return files[where.file], where.line, where.column

    return sorted(listed, key=key)


def as_data(problem: Problem, name: str) -> dict[str, Any]:
    """Return a problem as JSON has it; `name` is the document it was found in."""
    return {
        **(_spot(problem.where) if isinstance(problem.where, Place) else _nowhere(name)),
        "document": name,
        "what": problem.what,
        "why": problem.why,
        "fix": problem.fix,
        "also": [{"role": words, **_spot(place)} for words, place in problem.also],
    }


def _spot(place: Place) -> dict[str, Any]:
    return {
        "file": place.file,
        "line": place.line,
        "column": place.column,
        "width": place.width,
    }


def _nowhere(name: str) -> dict[str, Any]:
    return {"file": name, "line": None, "column": None, "width": None}
