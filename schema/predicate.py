"""The one expression language of selections, ``applies_to``, ``require`` and ``when``.

`parse` turns text into a closed tree of frozen dataclasses, `evaluate` asks a caller for the
value of each name and decides. Text is never run as a program.

Grammar, loosest first::

    expression  = conjunction { "or" conjunction }
    conjunction = negation { "and" negation }
    negation    = "not" negation | comparison
    comparison  = "(" expression ")"
                | operand ("==" | "=" | "!=" | "<" | "<=" | ">" | ">=" | "~") operand
                | operand ["not"] "in" "[" operand { "," operand } "]"
                | operand "is" ["not"] "none"
                | operand                               (a tag, true, false, a yes/no parameter)
    operand     = number | "quoted" | date | time | date-time | true | false
                | name | phu.KEY | hdr.KEY | tag.NAME | $parameter | count(stream)
                | word                                  (right of an operator: plain text)

A comparison with a missing value is false; ``is none`` asks for it. A list of one element acts as
that element. Ordering operators may be chained: ``1 < exposure_time <= 5``. ``~`` compares with a
shell-style pattern, case included.

References
----------
``spec/cli.md`` section 3.4. Departure: a date-time compared with a date is compared by its day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from f2yaml.schema.expr_compare import Comparer, compare_values
from f2yaml.schema.expr_parser import MAX_DEPTH, MAX_LENGTH, parse
from f2yaml.schema.expr_tree import (
    And,
    Compare,
    Count,
    Expr,
    IsNone,
    ListOf,
    Literal,
    Name,
    Not,
    Operand,
    Or,
    Param,
    Truth,
    lone_operands,
    names,
    operands_of,
    spelled_name,
    transform,
)
from f2yaml.schema.problems import Place, Problem, RequestError, did_you_mean

__all__ = [
    "MAX_DEPTH",
    "MAX_LENGTH",
    "PREFIXES",
    "And",
    "Compare",
    "Comparer",
    "Count",
    "Expr",
    "IsNone",
    "ListOf",
    "Literal",
    "Lookup",
    "Name",
    "Not",
    "Operand",
    "Or",
    "Param",
    "Truth",
    "check_names",
    "evaluate",
    "lone_operands",
    "names",
    "parse",
    "transform",
]

PREFIXES = ("phu.", "hdr.", "tag.", "count:", "$")
"""What begins those names that are not descriptors."""

Lookup = Callable[[str], object]
"""Gives the value of a name as spelled by `names`; None means that it has none."""


def check_names(
    expr: Expr,
    known: Iterable[str],
    *,
    prefixes: Iterable[str] = PREFIXES,
    where: Place | None = None,
) -> None:
    """Refuse names that the caller cannot look up.

    Parameters
    ----------
    expr : Expr
    known : iterable of str
        Names that exist, as a rule the descriptors.
    prefixes : iterable of str
        Those of `PREFIXES` that may be used besides.
    where : Place, optional
        Where the expression stands.

    Raises
    ------
    RequestError
        One problem for each unknown name, and for each unquoted word used as text that is also a
        known name.
    """
    known = frozenset(known)
    allowed = tuple(prefixes)
    problems = [
        _unknown(name, known, allowed, where)
        for name in sorted(names(expr) - known)
        if not name.startswith(allowed)
    ]
    for operand in operands_of(expr):
        if isinstance(operand, Literal) and not operand.quoted and operand.value in known:
            problems.append(
                Problem(
                    f"`{operand.text}` may be meant as text or as a name",
                    "a word to the right of an operator is text, but this one is also a name",
                    f"if it is text, quote it ('{operand.text}'); if not, write it on the left",
                    where,
                )
            )
    if problems:
        raise RequestError(problems=problems)


def _unknown(
    name: str, known: frozenset[str], allowed: tuple[str, ...], where: Place | None
) -> Problem:
    if name.startswith(PREFIXES):
        shown = f"count({name[6:]})" if name.startswith("count:") else name
        return Problem(
            f"`{shown}` cannot be used here", "it has no value in this place", "leave it out", where
        )
    ways = [f"{prefix}NAME" for prefix in ("phu.", "hdr.", "tag.") if prefix in allowed]
    return Problem(
        f"`{name}` is not a known name",
        "a name is " + ", ".join(["one of the descriptors", *ways]),
        did_you_mean(name, known) or f"if it is text, quote it: '{name}'",
        where,
    )


def evaluate(expr: Expr, lookup: Lookup, *, compare: Comparer | None = None) -> bool:
    """Decide an expression.

    Parameters
    ----------
    expr : Expr
    lookup : callable
        Gives the value of a name spelled as in `names`; None means that there is none.
    compare : callable, optional
        Called with (name, operator, its value, other value), the name on the left, before the
        usual comparison: for tolerances and pretty names. The operator is one of
        ``== != < <= > >= ~``; ``in`` asks ``==`` for each element. The other value has been
        brought to the kind of the name's value where that is possible. None falls back to the
        usual comparison.

    Returns
    -------
    bool

    Raises
    ------
    RequestError
        A value cannot be compared with what stands on the other side, or a lone name is neither
        true nor false; also whatever `lookup` and `compare` raise.
    """
    match expr:
        case And(parts):
            return all(evaluate(part, lookup, compare=compare) for part in parts)
        case Or(parts):
            return any(evaluate(part, lookup, compare=compare) for part in parts)
        case Not(part):
            return not evaluate(part, lookup, compare=compare)
        case Compare():
            return _compare(expr, lookup, compare)
        case IsNone(operand):
            return _value(operand, lookup) is None
        case Truth(operand):
            return _truth(operand, lookup)


def _unwrap(value: object) -> object:
    if isinstance(value, list | tuple) and len(value) == 1:
        return value[0]
    return value


def _value(operand: Operand, lookup: Lookup) -> object:
    if isinstance(operand, Literal):
        return operand.value
    if isinstance(operand, ListOf):
        return _unwrap([_value(item, lookup) for item in operand.items])
    return _unwrap(lookup(spelled_name(operand)))


def _truth(operand: Operand, lookup: Lookup) -> bool:
    value = _value(operand, lookup)
    if value is None:
        return False
    if isinstance(value, bool):
        return value
    shown = "it" if isinstance(operand, Literal | ListOf) else f"`{spelled_name(operand)}`"
    raise RequestError(
        f"{shown} is {value!r}, neither true nor false",
        "an expression has to decide between yes and no",
        "compare it with something, as in `exposure_time == 5`",
    )


_FLIPPED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def _compare(expr: Compare, lookup: Lookup, compare: Comparer | None) -> bool:
    op, left, right = expr.op, expr.left, expr.right
    if op == "in":
        items = right.items if isinstance(right, ListOf) else (right,)
        return any(_compare(Compare("==", left, item), lookup, compare) for item in items)
    if isinstance(left, Literal | ListOf) and op in _FLIPPED:
        left, right, op = right, left, _FLIPPED[op]
    mine, other = _value(left, lookup), _value(right, lookup)
    if mine is None or other is None:
        return False
    name = "the left side" if isinstance(left, Literal | ListOf) else spelled_name(left)
    if isinstance(right, ListOf) and len(right.items) == 1:
        right = right.items[0]
    written = right.text if isinstance(right, Literal) else None
    return compare_values(name, op, mine, other, written, compare)
