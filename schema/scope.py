"""Where flattening stands: what names mean in a recipe, and where they are written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from f2yaml.schema.flat import Condition, FlatStep, Locator, Origin, Value
from f2yaml.schema.library import Document
from f2yaml.schema.problems import Place
from f2yaml.schema.recipe import Parameter
from f2yaml.schema.source import KeyPath


@dataclass(slots=True)
class Scope:
    """What names mean in one recipe: the chain of files it extends, and its parameters."""

    chain: list[Document]
    parameters: dict[str, Parameter]
    places: dict[str, Place]
    defaults: dict[str, Place]
    given: dict[str, Value] | None  # None: the recipe itself, whose parameters stay open
    used: set[str] = field(default_factory=set)

    @property
    def broken(self) -> bool:
        """Whether something that the recipe extends could not be read."""
        lost = any("extends" in document.lost for document in self.chain)
        return lost or self.chain[0].recipe.extends is not None

    def lacks(self, *keys: str) -> bool:
        """Whether faults have taken away something under one of the keys."""
        return self.broken or any(key in document.lost for document in self.chain for key in keys)


@dataclass(frozen=True, slots=True)
class Context:
    """Where flattening stands."""

    document: Document
    scope: Scope
    origin: Origin
    main: str
    when: tuple[Condition, ...]
    trail: tuple[Place, ...]
    stack: tuple[Path, ...]

    def stream(self, name: str) -> str:
        """Return the flat name of a stream."""
        return self.main if name == "main" else name

    def place(self, path: KeyPath, *, key: bool = False) -> Place:
        """Return where something of the document stands."""
        return self.document.source.place(path, key=key)


@dataclass(frozen=True, slots=True)
class Item:
    """A flat step, and the context it arose in."""

    step: FlatStep
    context: Context


def locator(own: Document, outputs: Document | None, applies: Document | None) -> Locator:
    """Return what gives places: of `outputs` and `applies_to` in the file that has them."""
    givers = {"outputs": outputs or own, "applies_to": applies or own}

    def place(path: KeyPath) -> Place:
        return givers.get(str(path[0]) if path else "", own).source.place(path)

    return place


def is_reference(value: object) -> bool:
    """Return whether a value is, or is meant as, a reference to a parameter."""
    return isinstance(value, str) and value.startswith("$")


def leaves(value: object) -> Iterable[object]:
    """Return every value inside lists and mappings."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from leaves(part)
    else:
        yield value
