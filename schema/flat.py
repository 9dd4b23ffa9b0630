"""A recipe after `f2yaml.schema.compose` has put its files together: one list of steps.

Nothing here refers to another file any more. References to parameters of included recipes have
been replaced by what they stand for; only those to the parameters of the recipe itself remain, as
`Ref`, because the user may still set them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from f2yaml.schema.predicate import Expr
from f2yaml.schema.problems import Place
from f2yaml.schema.recipe import AppliesTo, Output, Parameter, Write

Origin = Literal["recipe", "include", "extends", "override", "default"]


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference to a parameter of the recipe."""

    name: str


class Unknown:
    """Stands for a value that a fault, reported elsewhere, has taken away."""

    def __repr__(self) -> str:
        return "unknown"


UNKNOWN = Unknown()


@dataclass(frozen=True, slots=True)
class Value:
    """A value, where it is written, and in what role.

    Parameters
    ----------
    value : object
        Plain value, a `Ref`, or `UNKNOWN`.
    place : Place
    origin : str
        ``recipe``: the recipe itself; ``include``, ``extends``: an included or extended one;
        ``override``: an override block; ``default``: the default of an included recipe's parameter.
    key : Place, optional
        Where its name is written, for values of a step.
    used : Place, optional
        Where the value is used by a reference, if that is not where it is written.
    """

    value: object
    place: Place
    origin: Origin
    key: Place | None = None
    used: Place | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition with the values of the parameters it mentions.

    Parameters
    ----------
    expr : Expr
        Mentions parameters as ``$name`` only; streams have their flat names.
    bindings : mapping of str to Value
        Value of each parameter, by name without the dollar sign.
    text : str
        The condition as it is written.
    place : Place
    block : int
        Number of the `when` or `require` it comes from. The steps of one `when` share it: the
        condition is decided once, before the first of them.
    """

    expr: Expr
    bindings: Mapping[str, Value]
    text: str
    place: Place
    block: int = 0


@dataclass(frozen=True, slots=True)
class FlatDo:
    """Run a primitive on `source` and put the result into `targets`."""

    primitive: Value
    id: str | None
    source: str
    targets: tuple[str, ...]
    values: Mapping[str, Value]
    write: Write | None
    skip: bool
    when: tuple[Condition, ...]
    place: Place
    trail: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class FlatCopy:
    """Let `target` hold the frames of `source`."""

    source: str
    target: str
    when: tuple[Condition, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class FlatRequire:
    """Stop with `because` unless the condition holds."""

    condition: Condition
    because: str
    place: Place
    when: tuple[Condition, ...]


FlatStep = FlatDo | FlatCopy | FlatRequire
Locator = Callable[[tuple[str | int, ...]], Place | None]


def _nowhere(path: tuple[str | int, ...]) -> None:
    return None


@dataclass(frozen=True, slots=True)
class FlatRecipe:
    """A recipe in one piece.

    Parameters
    ----------
    name, doc : str
    path : pathlib.Path
        File of the recipe.
    parameters : mapping of str to Parameter
        Its own and inherited ones; defaults have the type of the parameter.
    steps : tuple of FlatDo, FlatCopy, FlatRequire
    outputs : mapping of str to Output
        Products by stream.
    applies_to : AppliesTo or None
    files : tuple of pathlib.Path
        Every file that was read, the recipe first.
    parameter_places, default_places, output_places : mapping of str to Place
        Where each parameter, its default and each output are written.
    locate : callable
        Gives the place of what is inside `outputs` or `applies_to`, by path of keys.
    complete : bool
        False when faults have taken parts of it away, so that what is missing proves nothing.
    declares_outputs : bool
        Whether one of its files has the key `outputs`, be it empty.
    """

    name: str
    doc: str
    path: Path
    parameters: Mapping[str, Parameter]
    steps: tuple[FlatStep, ...]
    outputs: Mapping[str, Output]
    applies_to: AppliesTo | None
    files: tuple[Path, ...]
    parameter_places: Mapping[str, Place] = field(default_factory=dict)
    default_places: Mapping[str, Place] = field(default_factory=dict)
    output_places: Mapping[str, Place] = field(default_factory=dict)
    locate: Locator = _nowhere
    complete: bool = True
    declares_outputs: bool = False
