"""Kinds of document, and how to tell that one was taken for another."""

from __future__ import annotations

from typing import Any, get_args

from f2yaml.schema.base import Model
from f2yaml.schema.problems import Problem, did_you_mean
from f2yaml.schema.source import Source
from f2yaml.schema.text import printable

KINDS = ("recipe", "rules", "scenario", "config")
"""Kinds of document."""

_OWN = {
    "recipe": frozenset(
        {"extends", "applies_to", "parameters", "steps", "override", "insert", "outputs"}
    ),
    "rules": frozenset({"sets"}),
    "scenario": frozenset({"seed", "detector", "target", "sky", "science", "darks", "flats"}),
    "config": frozenset({"databases", "log", "defaults"}),
}
_CALLED = {
    "recipe": "a recipe",
    "rules": "selection rules",
    "scenario": "a scenario",
    "config": "a configuration",
}


def kind_of(model: type[Model]) -> str:
    """Return the kind of document that a model describes; empty if it is only a part of one."""
    field = model.model_fields.get("kind")
    return str(get_args(field.annotation)[0]) if field is not None else ""


def model_of(kind: str) -> type[Model]:
    """Return the model of a kind of document."""
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
    from f2yaml.schema.recipe import Recipe

    return Recipe


def mistaken(source: Source, wanted: str) -> Problem | None:
    """Return the problem of a document that is of another kind than the one that is wanted.

    One message then stands for the many that its keys would give.
    """
    value = source.value
    if not isinstance(value, dict) or wanted not in KINDS:
        return None
    kind = value.get("kind")
    if "kind" in value and kind not in KINDS:
        return Problem(
            f"`{printable(str(kind))}` is not a kind of document",
            "kinds are " + ", ".join(KINDS),
            did_you_mean(str(kind), KINDS) or "write one of them",
            source.place(("kind",)),
        )
    if kind is not None and kind != wanted:
        this = "these are" if kind == "rules" else "this is"
        return Problem(
            f"{this} {_CALLED[kind]}, not {_CALLED[wanted]}",
            f"what is needed here is {_CALLED[wanted]}",
            f"name a file of kind {wanted}, or correct `kind`",
            source.place(("kind",)),
        )
    return _reads_like(value, source, wanted)


def _reads_like(value: dict[str, Any], source: Source, wanted: str) -> Problem | None:
    if _OWN[wanted] & set(value):
        return None
    for kind, own in _OWN.items():
        found = [key for key in value if key in own]
        if not found:
            continue
        keys = f"key{'s' if len(found) > 1 else ''} {', '.join(f'`{key}`' for key in found)}"
        if "kind" in value:
            fix = f"write `kind: {kind}`, or remove what does not belong here"
            where = source.place(("kind",))
        else:
            fix = f"add `kind: {kind}`"
            where = source.place((found[0],), key=True)
        said = "its kind says so" if "kind" in value else "without `kind` it is taken for a recipe"
        return Problem(
            f"the document has the {keys} of {_CALLED[kind]}, but is read as {_CALLED[wanted]}",
            said,
            fix,
            where,
        )
    return None
