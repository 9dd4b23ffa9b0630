"""Documents -> models; of a faulty document, what can be understood in spite of its faults.

The faults of a document must not hide those of its steps, so everything that is sound is kept:
a faulty value is taken out, then what cannot be without it, and so on.
"""

from __future__ import annotations

import copy
import json
from typing import Any, TypeVar

from f2yaml.schema.base import Model
from f2yaml.schema.kinds import kind_of, mistaken
from f2yaml.schema.problems import Problem, RecipeError, nearest
from f2yaml.schema.source import KeyPath, Source
from f2yaml.schema.wording import document_path, problems_of_validation
from pydantic import ValidationError

M = TypeVar("M", bound=Model)

_ROUNDS = 60


def validate_model(source: Source, model: type[M]) -> M:
    """Return the model that a document fills.

    Raises
    ------
    RecipeError
        Every fault, each at its place and in plain words.
    """
    found, problems, _ = salvage(source, model)
    if problems or found is None:
        raise RecipeError(problems=problems)
    return found


def salvage(source: Source, model: type[M]) -> tuple[M | None, list[Problem], frozenset[str]]:
    """Return what can be understood of a document, its problems, and the keys that lost something.

    The model is None when nothing can be understood. Keys are those of the top of the document.
    """
    wrong = mistaken(source, kind_of(model))
    if wrong is not None:
        return None, [wrong], frozenset()
    value = source.value
    problems: list[Problem] = []
    lost: set[str] = set()
    for number in range(_ROUNDS):
        try:
            # JSON mode: lists become tuples, text becomes dates, and all else stays exact
            return model.model_validate_json(json.dumps(value)), problems, frozenset(lost)
        except ValidationError as error:
            if number == 0:
                problems = problems_of_validation(error, source, model)
                value = copy.deepcopy(value)
            paths = {_blamed(detail["loc"], value, detail["type"]) for detail in error.errors()}
        if not isinstance(value, dict):
            break
        for path in sorted(paths, key=_order, reverse=True):
            lost |= _take_out(value, path, kind_of(model))
        lost |= {key for name in lost for key in nearest(name, model.model_fields)}
    return None, problems, frozenset(lost)


def _order(path: KeyPath) -> tuple[tuple[int, int, str], ...]:
    return tuple((0, s, "") if isinstance(s, int) else (1, 0, s) for s in path)


def _blamed(loc: tuple[str | int, ...], value: Any, kind: str) -> KeyPath:
    path, missing = document_path(loc, value)
    return (missing,) if kind == "missing" and not path else path


def _take_out(value: dict[str, Any], path: KeyPath, kind: str) -> set[str]:
    """Remove what stands at a path; returns the top key that lost something."""
    if not path or (len(path) == 1 and path[0] not in value):
        given = {"f2yaml": 1, "name": "unnamed", "kind": kind, "doc": "-"}
        key = str(path[0]) if path else ""
        if key in given:
            value[key] = given[key]
        return set()
    holder: Any = value
    for step in path[:-1]:
        if not isinstance(holder, dict | list):
            return set()
        try:
            holder = holder[step]  # type: ignore[index]
        except (KeyError, IndexError):
            return set()
    if isinstance(holder, dict):
        holder.pop(path[-1], None)
    elif isinstance(holder, list) and isinstance(path[-1], int) and path[-1] < len(holder):
        del holder[path[-1]]
    return {str(path[0])}
