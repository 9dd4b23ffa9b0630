"""A bound plan: every step, parameter, stream and resource of a run, resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.registry import AnyPrimitive, BetweenStreams, Params
from f2yaml.schema.compose import Condition, FlatRecipe, Ref
from f2yaml.schema.predicate import evaluate
from f2yaml.schema.problems import Place, RequestError
from f2yaml.schema.recipe import Output, Write


@dataclass(frozen=True, slots=True)
class Setting:
    """The value of one parameter and where it came from.

    `origin` is ``default``, ``recipe``, ``include``, ``extends``, ``override``, ``--param`` or
    ``-p``; `parameter` is the parameter of the recipe that it stands for, if any.
    """

    value: Any
    origin: str
    place: Place | None = None
    parameter: str = ""


@dataclass(frozen=True, slots=True)
class Provided:
    """A resource of a step: which file serves which exposure (by root), and why it was chosen.

    `by_root` lacks the exposures that go without, which only optional resources allow.
    """

    kind: str
    by_root: Mapping[str, Path]
    why: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStep:
    """A primitive applied to a stream."""

    number: int
    primitive: AnyPrimitive
    params: Params
    settings: Mapping[str, Setting]
    source: str
    targets: tuple[str, ...]
    resources: Mapping[str, Provided]
    #: Resources that follow from the headers of all inputs: name -> value by exposure (root).
    derived: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    write: Write | None
    conditions: tuple[Condition, ...]
    place: Place
    id: str | None = None

    @property
    def where(self) -> str:
        """Number, name and place, for messages."""
        return f"step {self.number} {self.primitive.name} ({self.place})"

    @property
    def reads(self) -> tuple[str, ...]:
        """Streams that it looks at."""
        more: tuple[str, ...] = ()
        if isinstance(self.primitive, BetweenStreams):
            more = self.primitive.reads + (self.targets if self.primitive.updates else ())
        return (self.source, *more)


@dataclass(frozen=True, slots=True, kw_only=True)
class PassStep:
    """The frames of a stream under another name; nothing is copied."""

    source: str
    target: str
    conditions: tuple[Condition, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        """Streams that it looks at."""
        return (self.source,)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequireStep:
    """A condition that must hold at this point, with the recipe's reason."""

    condition: Condition
    because: str
    conditions: tuple[Condition, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        """Streams whose frames it looks at; their number is remembered."""
        return ()


BoundStep = CallStep | PassStep | RequireStep


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run does.

    Parameters
    ----------
    recipe : FlatRecipe
    parameters : mapping
        Values of the recipe's own parameters.
    inputs : tuple of Frame
        Frames with headers only; pixels are read when the first step asks.
    steps : tuple
    outputs : mapping
        What becomes of each stream at the end.
    notes : tuple of str
        Permitted shortfalls known before the start.
    mode : str
        sq, ql or qa (`f2yaml.schema.modes`).
    """

    recipe: FlatRecipe
    parameters: Mapping[str, Setting]
    inputs: tuple[Frame, ...]
    steps: tuple[BoundStep, ...]
    outputs: Mapping[str, Output]
    notes: tuple[str, ...] = ()
    mode: str = "sq"

    @property
    def calls(self) -> tuple[CallStep, ...]:
        """The steps that call a primitive."""
        return tuple(step for step in self.steps if isinstance(step, CallStep))


def holds(
    condition: Condition, parameters: Mapping[str, Setting], counts: Mapping[str, int]
) -> bool:
    """Decide a condition, with the parameters of the recipe and the frames of each stream."""

    def value_of(name: str) -> object:
        if name.startswith("count:"):
            return counts.get(name.removeprefix("count:"), 0)
        value = condition.bindings[name.removeprefix("$")].value
        return parameters[value.name].value if isinstance(value, Ref) else value

    return evaluate(condition.expr, value_of)


def unmet(step: RequireStep, counts: Mapping[str, int]) -> RequestError:
    """Return the error for a requirement that does not hold."""
    listed = ", ".join(f"{name} {number}" for name, number in counts.items())
    return RequestError(
        f"the recipe requires {step.condition.text} (frames per stream: {listed})",
        step.because,
        "change the list of inputs, or take another recipe",
        step.condition.place,
    )
