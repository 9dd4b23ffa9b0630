"""Primitives of other packages, found through the entry point group ``f2yaml.primitives``.

A plug-in is taken in whole or not at all: one that cannot be imported, whose declarations lack
something, or that uses a name already taken, is left out and its problem returned.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from f2yaml.interpreter.registry import AnyPrimitive, NameTakenError
from f2yaml.schema.base import IDENTIFIER
from f2yaml.schema.problems import Problem

GROUP: Final = "f2yaml.primitives"
_SUFFIX: Final = re.compile(r"(_[A-Za-z0-9]+)?")


def take_in(registry: MutableMapping[str, AnyPrimitive]) -> list[Problem]:
    """Add the primitives of every plug-in to a registry; returns what is wrong with plug-ins."""
    problems: list[Problem] = []
    for point in sorted(entry_points(group=GROUP), key=lambda p: (_package(p), p.name)):
        before = dict(registry)
        problem = _one(point, registry)
        if problem is not None:
            registry.clear()
            registry.update(before)
            problems.append(problem)
    return problems


def _one(point: EntryPoint, registry: MutableMapping[str, AnyPrimitive]) -> Problem | None:
    before = set(registry)
    try:
        point.load()
    except NameTakenError as error:
        other = error.other
        owner = other.package or "f2yaml"
        return _left_out(
            point, f"its primitive `{other.name}` has the name of one of {owner}", "rename it"
        )
    # A plug-in may fail in any way at all; commands that do not need it go on.
    except (Exception, SystemExit) as error:
        return _left_out(point, f"{type(error).__name__}: {error}", "mend it")
    new = [registry[name] for name in registry if name not in before]
    faults = [fault for primitive in new for fault in faults_of(primitive)]
    if not new:
        faults.append(f"{point.value} declares no primitive")
    if faults:
        return _left_out(point, "; ".join(faults), "mend it")
    for primitive in new:
        registry[primitive.name] = replace(
            primitive, package=_package(point), family=f"package {_package(point)}"
        )
    return None


def faults_of(primitive: AnyPrimitive) -> list[str]:
    """Return what a declaration lacks for checks and help to work as for those of f2yaml."""
    from f2yaml.interpreter.resources import DERIVED, FROM_RUNNER, KINDS

    name = primitive.name
    known = {*KINDS, *FROM_RUNNER, *DERIVED}
    found = []
    if not re.fullmatch(IDENTIFIER, name):
        found.append(f"`{name}` is no name: letters, digits and underscores")
    if not _SUFFIX.fullmatch(primitive.suffix):
        found.append(f"{name}: the suffix {primitive.suffix!r} is not of the form _word")
    if not primitive.summary:
        found.append(f"{name} has no docstring, whose first line says what it does")
    found += [
        f"{name}: parameter `{key}` has no description"
        for key, info in primitive.params.model_fields.items()
        if not info.description
    ]
    found += [
        f"{name} asks for the resource `{resource}`; there are {', '.join(sorted(known))}"
        for resource in primitive.resources
        if resource not in known
    ]
    return found


def _package(point: EntryPoint) -> str:
    """Return the name and version of the package that has an entry point."""
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value


def _left_out(point: EntryPoint, why: str, fix: str) -> Problem:
    name = point.dist.name if point.dist is not None else point.value
    return Problem(
        f"the plug-in {_package(point)} is left out",
        " ".join(why.split()),
        f"{fix}, or remove it with `pip uninstall {name}`",
    )
