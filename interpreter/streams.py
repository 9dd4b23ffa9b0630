"""Streams on their way through a recipe: filled before they are read, and not after a stack."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from f2yaml.interpreter.registry import AnyPrimitive, BetweenStreams, Group
from f2yaml.schema.flat import Condition
from f2yaml.schema.predicate import names
from f2yaml.schema.problems import Place, Problem, did_you_mean


@dataclass(frozen=True, slots=True)
class Move:
    """What a step does to streams.

    Parameters
    ----------
    primitive : primitive or None
        None: the frames pass unchanged, or the step is not known.
    source : str
        Stream that is read; empty for none.
    targets : tuple of str
        Streams that are filled.
    place : Place
    conditions : tuple of Condition
        Those on the number of frames, which decide during the run whether it happens.
    """

    primitive: AnyPrimitive | None
    source: str
    targets: tuple[str, ...]
    place: Place
    conditions: tuple[Condition, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        """Every stream that has to hold something."""
        found = [self.source] if self.source else []
        if isinstance(self.primitive, BetweenStreams):
            found += self.primitive.reads
            found += self.targets[:1] if self.primitive.updates else ()
        return tuple(dict.fromkeys(found))

    @property
    def clears(self) -> bool:
        """Whether it empties the stream."""
        return self.primitive is not None and self.primitive.name == "clearStream"

    @property
    def combines(self) -> bool:
        """Whether it makes one frame of many."""
        return isinstance(self.primitive, Group) and self.primitive.combines


def plain(stream: str) -> str:
    """Return a stream as the recipe calls it: included recipes have a `main` of their own."""
    return re.sub(r"^main\.\d+$", "main", stream)


@dataclass
class _State:
    """What is known of each stream after some steps."""

    filled: dict[str, list[tuple[Condition, ...]]] = field(default_factory=lambda: {"main": [()]})
    cleared: dict[str, Place] = field(default_factory=dict)
    stacked: dict[str, Move] = field(default_factory=dict)

    def names(self) -> set[str]:
        return {plain(name) for name in self.filled}

    def listed(self) -> str:
        return f"name a stream that is filled here: {', '.join(sorted(self.names()))}"


def stream_problems(
    moves: Sequence[Move], outputs: Mapping[str, Place | None], *, block: bool
) -> list[Problem]:
    """Return the problems of streams that are empty, or hold a stack, when they are read.

    Parameters
    ----------
    moves : sequence of Move
    outputs : mapping of str to Place
        Streams that have to hold something at the end, and where that is said.
    block : bool
        The recipe is a part of others, which may fill streams before it.
    """
    state = _State()
    problems: list[Problem] = []
    for move in moves:
        for condition in move.conditions:
            problems += _asked(condition, state, block)
        if not move.reads:
            state.filled.update((target, [()]) for target in move.targets)
            continue
        for stream in move.reads:
            found = _unread(move, stream, state, block)
            if found:  # once is enough
                state.filled[stream] = [()]
            problems += found
        problems += _combined(move, state)
        _advance(move, state)
    for stream, place in outputs.items():
        if stream not in state.filled:
            gone = state.cleared.get(stream)
            problems.append(
                Problem(
                    f"outputs name the stream `{stream}`, which "
                    + ("was cleared" if gone else "no step leaves filled"),
                    "nothing would be written",
                    did_you_mean(stream, state.names()) or state.listed(),
                    place,
                    (("cleared at", gone),) if gone else (),
                )
            )
    return problems


def _asked(condition: Condition, state: _State, block: bool) -> list[Problem]:
    """Return the problems of a condition that counts a stream which nothing has filled."""
    counted = {n.removeprefix("count:") for n in names(condition.expr) if n.startswith("count:")}
    return [
        Problem(
            f"`{condition.text}` counts the stream `{plain(stream)}`, which has not been filled",
            "its number of frames is always 0 here",
            did_you_mean(plain(stream), state.names()) or state.listed(),
            condition.place,
        )
        for stream in sorted(counted)
        if stream not in state.filled and stream not in state.cleared and not block
    ]


def _unread(move: Move, stream: str, state: _State, block: bool) -> list[Problem]:
    what = move.primitive.name if move.primitive is not None else "the include"
    if stream in state.filled:
        ways = state.filled[stream]
        if not ways or len({way[-1].block for way in ways if way}) > 1:
            return []
        if any(set(_blocks(way)) <= set(_blocks(move.conditions)) for way in ways):
            return []
        return [
            Problem(
                f"{what} reads the stream `{plain(stream)}`, which is filled only when "
                f"`{ways[0][-1].text}`",
                "where that does not hold, it would work on no frames",
                "put the step under the same `when`, or fill the stream in any case",
                move.place,
                (("filled under", ways[0][-1].place),),
            )
        ]
    gone = state.cleared.get(stream)
    if block and gone is None:
        return []
    return [
        Problem(
            f"{what} reads the stream `{plain(stream)}`, which "
            + ("was cleared" if gone else "has not been filled"),
            "it would work on no frames",
            _advice(move, stream, state),
            move.place,
            (("cleared at", gone),) if gone else (),
        )
    ]


def _advice(move: Move, stream: str, state: _State) -> str:
    """Return what to do about a stream that is empty."""
    if isinstance(move.primitive, BetweenStreams) and stream in move.primitive.reads:
        step = "separateSky, with `to: [main, sky]`" if stream == "sky" else f"`to: {stream}`"
        filled = ", ".join(sorted(state.names()))
        return f"fill it before, as by {step} (filled here: {filled})"
    return did_you_mean(plain(stream), state.names()) or state.listed()


def _combined(move: Move, state: _State) -> list[Problem]:
    """Return the problem of a step on frames that have been combined before."""
    stack = state.stacked.get(move.source)
    if move.primitive is None or stack is None or move.primitive.takes == "any":
        return []
    assert stack.primitive is not None
    if move.primitive.takes == "several":
        why, noun = "it needs several frames, and a stack is one", "several frames"
    else:
        why, noun = "it means nothing for a stack", "single exposures"
    return [
        Problem(
            f"{move.primitive.name} works on {noun}, but `{plain(move.source)}` holds what "
            f"{stack.primitive.name} has combined",
            why,
            f"put the step before {stack.primitive.name}, or read another stream with `from`",
            move.place,
            (("combined at", stack.place),),
        )
    ]


def _advance(move: Move, state: _State) -> None:
    """Note what a step leaves in each stream."""
    if move.clears:
        if not move.conditions:
            state.filled.pop(move.source, None)
            state.stacked.pop(move.source, None)
            state.cleared[move.source] = move.place
        return
    made = state.stacked.get(move.source)
    updates = isinstance(move.primitive, BetweenStreams) and move.primitive.updates
    for target in move.targets:
        before = state.filled.get(target, [])
        if not any(not way for way in before):
            state.filled[target] = [*before, move.conditions] if move.conditions else [()]
        state.cleared.pop(target, None)
        if updates:
            continue
        state.stacked.pop(target, None)
        if move.combines:
            if not move.conditions:
                state.stacked[target] = move
        elif made is not None:
            state.stacked[target] = made


def _blocks(conditions: Sequence[Condition]) -> list[int]:
    return [condition.block for condition in conditions]
