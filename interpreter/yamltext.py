"""Values and expressions as the YAML of recipes spells them."""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from f2yaml.schema.predicate import (
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
)

WIDTH = 98
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_/]*([.-][A-Za-z0-9_/]+)*")
_WORDS = re.compile(r"[A-Za-z_][A-Za-z0-9_/.()=<>-]*( [A-Za-z0-9_/.()=<>-]+)+", re.ASCII)
_TAKEN = frozenset({"true", "false", "null", "none", "yes", "no", "on", "off", "y", "n"})


def scalar(value: Any) -> str:
    """Return one value, or a list of values, on one line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if not math.isfinite(value):
            return ".nan" if math.isnan(value) else (".inf" if value > 0 else "-.inf")
        return repr(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Mapping):
        return flow(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(scalar, value))}]"
    text = str(value)
    if text.startswith("$") and _PLAIN.fullmatch(text[1:]):
        return text
    if (_PLAIN.fullmatch(text) or _WORDS.fullmatch(text)) and text.lower() not in _TAKEN:
        return text
    return json.dumps(text, ensure_ascii=False)


def flow(mapping: Mapping[str, Any]) -> str:
    """Return a mapping on one line."""
    return "{" + ", ".join(f"{key}: {scalar(value)}" for key, value in mapping.items()) + "}"


def entry(key: str, value: Any, indent: int) -> list[str]:
    """Return a key with its value: on one line where that fits, else a line for each part."""
    pad = " " * indent
    line = f"{pad}{key}: {scalar(value)}"
    if len(line) <= WIDTH or not isinstance(value, Mapping | list | tuple):
        if len(line) > WIDTH and isinstance(value, str):
            return [f"{pad}{key}: >-", *_folded(value, indent + 2)]
        return [line]
    if isinstance(value, Mapping):
        return [f"{pad}{key}:", *(li for k, v in value.items() for li in entry(k, v, indent + 2))]
    return [f"{pad}{key}:", *(f"{pad}  - {scalar(item)}" for item in value)]


def item(mapping: Mapping[str, Any], indent: int) -> list[str]:
    """Return a mapping as an entry of a list."""
    pad = " " * indent
    line = f"{pad}- {flow(mapping)}"
    if len(line) <= WIDTH:
        return [line]
    lines = [li for k, v in mapping.items() for li in entry(k, v, indent + 2)]
    return [f"{pad}- {lines[0].lstrip()}", *lines[1:]]


def doc(text: str) -> list[str]:
    """Return the `doc` of a recipe."""
    return entry("doc", " ".join(text.split()), 0)


def comment(text: str, indent: int) -> list[str]:
    """Return words as comment lines."""
    lead = " " * indent + "# "
    return textwrap.wrap(text, WIDTH, initial_indent=lead, subsequent_indent=lead)


def _folded(text: str, indent: int) -> list[str]:
    pad = " " * indent
    return textwrap.wrap(
        text, WIDTH, initial_indent=pad, subsequent_indent=pad, break_on_hyphens=False
    )


def expression(expr: Expr, spell: Callable[[Operand], str] | None = None) -> str:
    """Return an expression as text; `spell` may give the text of names."""

    def operand(part: Operand) -> str:
        if isinstance(part, ListOf):
            return f"[{', '.join(map(operand, part.items))}]"
        given = spell(part) if spell is not None else ""
        return given or _operand(part)

    def inside(part: Expr) -> str:
        text = expression(part, spell)
        return f"({text})" if isinstance(part, And | Or) else text

    match expr:
        case And(parts):
            return " and ".join(map(inside, parts))
        case Or(parts):
            return " or ".join(map(inside, parts))
        case Not(IsNone(part)):
            return f"{operand(part)} is not none"
        case Not(Compare("in", left, right)):
            return f"{operand(left)} not in {operand(right)}"
        case Not(part):
            return f"not {inside(part)}"
        case Compare(op, left, right):
            return f"{operand(left)} {op} {operand(right)}"
        case IsNone(part):
            return f"{operand(part)} is none"
        case Truth(part):
            return operand(part)


def _operand(part: Operand) -> str:
    match part:
        case Count(stream):
            return f"count({stream})"
        case Param(name):
            return f"${name}"
        case Name(name):
            return name
        case Literal(value, text, quoted):
            return constant(value) if quoted else text
        case ListOf(items):
            return f"[{', '.join(map(_operand, items))}]"


def constant(value: Any) -> str:
    """Return a value as expressions spell it."""
    words = {None: "none", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return words[value]
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(constant, value))}]"
    escaped = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
