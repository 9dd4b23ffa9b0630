"""The closed tree that an expression is parsed into."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant; `text` is how it was written, `quoted` whether in quotes."""

    value: object
    text: str
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Name:
    """A descriptor, or ``phu.KEY``, ``hdr.KEY``, ``tag.NAME``."""

    name: str
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Param:
    """A recipe parameter, written ``$name``; `name` is without the dollar sign."""

    name: str
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Count:
    """Number of frames in a stream."""

    stream: str
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class ListOf:
    """Several operands in brackets."""

    items: tuple[Operand, ...]


Operand = Literal | Name | Param | Count | ListOf


@dataclass(frozen=True, slots=True)
class Compare:
    """Two operands and one of ``== != < <= > >= ~ in``."""

    op: str
    left: Operand
    right: Operand


@dataclass(frozen=True, slots=True)
class IsNone:
    """True when the operand has no value."""

    operand: Operand


@dataclass(frozen=True, slots=True)
class Truth:
    """An operand that is itself true or false."""

    operand: Operand


@dataclass(frozen=True, slots=True)
class Not:
    """Negation."""

    part: Expr


@dataclass(frozen=True, slots=True)
class And:
    """True when all parts are."""

    parts: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """True when one part is."""

    parts: tuple[Expr, ...]


Expr = Compare | IsNone | Truth | Not | And | Or


def operands_of(expr: Expr) -> Iterable[Operand]:
    """Return every operand of an expression, those inside lists one by one."""
    match expr:
        case And(parts) | Or(parts):
            for part in parts:
                yield from operands_of(part)
        case Not(part):
            yield from operands_of(part)
        case Compare(_, left, right):
            for side in (left, right):
                yield from side.items if isinstance(side, ListOf) else (side,)
        case IsNone(operand) | Truth(operand):
            yield operand


def lone_operands(expr: Expr) -> Iterable[Operand]:
    """Return the operands that have to be true or false by themselves."""
    match expr:
        case And(parts) | Or(parts):
            for part in parts:
                yield from lone_operands(part)
        case Not(part):
            yield from lone_operands(part)
        case Truth(operand):
            yield operand


def spelled_name(operand: Operand) -> str:
    """Return a name as `names` spells it; empty for constants and lists."""
    match operand:
        case Name(name):
            return name
        case Param(name):
            return f"${name}"
        case Count(stream):
            return f"count:{stream}"
    return ""


def names(expr: Expr) -> frozenset[str]:
    """Return the names an expression asks for.

    They are spelled as `evaluate` passes them to its lookup: ``exposure_time``, ``phu.KEY``,
    ``hdr.KEY``, ``tag.NAME``, ``count:stream``, ``$parameter``.
    """
    return frozenset(filter(None, map(spelled_name, operands_of(expr))))


def transform(expr: Expr, change: Callable[[Operand], Operand]) -> Expr:
    """Return the tree with every operand (list elements included) replaced by ``change(it)``."""

    def one(operand: Operand) -> Operand:
        if isinstance(operand, ListOf):
            return ListOf(tuple(one(item) for item in operand.items))
        return change(operand)

    match expr:
        case And(parts):
            return And(tuple(transform(part, change) for part in parts))
        case Or(parts):
            return Or(tuple(transform(part, change) for part in parts))
        case Not(part):
            return Not(transform(part, change))
        case Compare(_, left, right):
            return replace(expr, left=one(left), right=one(right))
        case IsNone(operand):
            return IsNone(one(operand))
        case Truth(operand):
            return Truth(one(operand))


def comparisons(expr: Expr) -> Iterable[Compare | IsNone | Truth]:
    """Return the parts of an expression that are decided by themselves."""
    match expr:
        case And(parts) | Or(parts):
            for part in parts:
                yield from comparisons(part)
        case Not(part):
            yield from comparisons(part)
        case Compare() | IsNone() | Truth():
            yield expr
