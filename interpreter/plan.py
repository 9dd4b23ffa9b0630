"""A bound plan: every step, parameter, stream and resource of a run, resolved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.leftovers import Identity
from f2yaml.interpreter.registry import AnyPrimitive, BetweenStreams, Params
from f2yaml.schema.compose import Condition, FlatRecipe, Ref
from f2yaml.schema.predicate import evaluate
from f2yaml.schema.problems import Place, RequestError
from f2yaml.schema.recipe import Output, Write

if TYPE_CHECKING:
    from f2yaml.interpreter.admission import Skipped
    from f2yaml.interpreter.allowing import Allowed

F = TypeVar("F")


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

    `seen` is what each file was when it was chosen.

    `by_root` lacks the exposures that go without, which only optional resources allow.
    """

    kind: str
    by_root: Mapping[str, Path]
    why: Mapping[str, str] = field(default_factory=dict)
    seen: Mapping[Path, Identity | None] = field(default_factory=dict)


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
    skipped : tuple of Skipped
        Files that were named and are left out as bad.
    allows : frozenset of str
        Checks that the user sets aside (`f2yaml.interpreter.allowing`).
    allowed : tuple of Allowed
        Those of them that failed, as far as headers tell.
    """

    recipe: FlatRecipe
    parameters: Mapping[str, Setting]
    inputs: tuple[Frame, ...]
    steps: tuple[BoundStep, ...]
    outputs: Mapping[str, Output]
    notes: tuple[str, ...] = ()
    mode: str = "sq"
    skipped: tuple[Skipped, ...] = ()
    allows: frozenset[str] = frozenset()
    allowed: tuple[Allowed, ...] = ()

    @property
    def calls(self) -> tuple[CallStep, ...]:
        """The steps that call a primitive."""
        return tuple(step for step in self.steps if isinstance(step, CallStep))


@dataclass
class Course(Generic[F]):
    """A plan whose steps are taken in turn: streams filled so far, and conditions decided.

    A run and a forecast are such courses; F is what stands for a frame in them.

    Parameters
    ----------
    plan : Plan
    """

    plan: Plan
    streams: dict[str, tuple[F, ...]] = field(default_factory=dict, init=False)
    _past: dict[str, int] = field(default_factory=dict, init=False)  # sizes of streams let go
    _decisions: dict[int, bool] = field(default_factory=dict, init=False)

    @property
    def counts(self) -> dict[str, int]:
        """Number of frames in each stream, and in those let go."""
        counts = {name: len(frames) for name, frames in self.streams.items()}
        return counts | {name: n for name, n in self._past.items() if name not in counts}

    def forget(self, left: Sequence[BoundStep]) -> None:
        """Let go of the frames of streams that no step left and no output reads."""
        wanted = set(self.plan.outputs) | {name for step in left for name in step.reads}
        for name in [name for name in self.streams if name not in wanted]:
            self._past[name] = len(self.streams.pop(name))

    @property
    def decisions(self) -> Mapping[int, bool]:
        """The conditions decided so far, by block."""
        return self._decisions

    def stand(
        self,
        streams: Mapping[str, tuple[F, ...]],
        past: Mapping[str, int],
        decisions: Mapping[int, bool],
    ) -> None:
        """Go to where an earlier course had come: its streams, sizes of others, and decisions."""
        self.streams = dict(streams)
        self._past, self._decisions = dict(past), dict(decisions)

    def takes(self, step: BoundStep) -> bool:
        """Whether the conditions of a step hold; a `when` is decided once, at its first step."""
        return all(self._decided(condition) for condition in step.conditions)

    def _decided(self, condition: Condition) -> bool:
        if condition.block not in self._decisions:
            value = holds(condition, self.plan.parameters, self.counts)
            self._decisions[condition.block] = value
        return self._decisions[condition.block]

    def pass_on(self, step: PassStep) -> None:
        """Give the frames of a stream another name."""
        self.streams[step.target] = self.streams.get(step.source, ())

    def require(self, step: RequireStep) -> None:
        """Raise `RequestError` where a requirement does not hold."""
        if not holds(step.condition, self.plan.parameters, self.counts):
            raise unmet(step, self.counts)


def live(outputs: Iterable[str], left: Sequence[BoundStep]) -> set[str]:
    """Return the streams whose frames are looked at before they are replaced.

    Parameters
    ----------
    outputs : iterable of str
        Streams that are read when all steps are done.
    left : sequence of BoundStep
        The steps to come.
    """
    wanted = set(outputs)
    for step in reversed(left):
        if not step.conditions:
            match step:
                case CallStep():
                    wanted -= set(step.targets)
                case PassStep():
                    wanted.discard(step.target)
        wanted |= set(step.reads)
    return wanted


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
