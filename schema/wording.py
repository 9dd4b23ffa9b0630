"""Pydantic's errors in the words of an observer, each at its place in the document."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from f2yaml.schema.base import PATTERNS, Fault
from f2yaml.schema.problems import Place, Problem, did_you_mean
from f2yaml.schema.text import printable
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

if TYPE_CHECKING:
    from f2yaml.schema.source import Source

_STRICT = "unknown names are refused, so that a typo cannot change the science unnoticed"
_TYPES = {
    "string_type": "text",
    "string_sub_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "none_required": "null",
    "date_type": "a date such as 2020-01-07",
    "date_parsing": "a date such as 2020-01-07",
    "date_from_datetime_parsing": "a date such as 2020-01-07",
    "datetime_type": "a date and time such as 2020-01-07T13:00:00",
    "datetime_parsing": "a date and time such as 2020-01-07T13:00:00",
    "datetime_from_date_parsing": "a date and time such as 2020-01-07T13:00:00",
    "time_type": "a time such as 13:00:00",
    "time_parsing": "a time such as 13:00:00",
}
_BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
_ADDED = {
    "f2yaml": "begin with the line `f2yaml: 1`",
    "steps": "add `steps: [{do: ...}]`",
}
_LENGTHS = {
    "too_short": ("min_length", "at least", "entries"),
    "too_long": ("max_length", "at most", "entries"),
    "string_too_short": ("min_length", "at least", "characters"),
    "string_too_long": ("max_length", "at most", "characters"),
}


def problems_of_validation(
    error: ValidationError, source: Source, model: type[BaseModel]
) -> list[Problem]:
    """Return one problem for each fault that Pydantic found, in the order of the file.

    Parameters
    ----------
    error : pydantic.ValidationError
    source : Source
        The document that was validated.
    model : type
        The model it was validated against; gives the keys that could have been meant.
    """
    problems = dict.fromkeys(
        _problem(detail, source, model)
        for detail in error.errors(include_url=False)
        if not _follows(detail)
    )

    def order(problem: Problem) -> tuple[int, int]:
        assert isinstance(problem.where, Place)
        return problem.where.line, problem.where.column

    return sorted(problems, key=order)


def _follows(detail: ErrorDetails) -> bool:
    """Return whether an error only follows from others: entries that failed are not counted."""
    least = detail.get("ctx", {}).get("min_length")
    return detail["type"] == "too_short" and len(detail["input"]) >= (least or 0)


def describe(value: object) -> str:
    """Return a value with its kind, as in ``text `yes```."""
    match value:
        case None:
            return "empty"
        case bool():
            return f"`{str(value).lower()}`"
        case int() | float():
            return f"the number {value}"
        case str():
            return f"text `{printable(value)}`"
        case list() | tuple():
            return "a list"
        case Mapping():
            return "a mapping"
    return type(value).__name__


def _problem(detail: ErrorDetails, source: Source, model: type[BaseModel]) -> Problem:
    path, missing = document_path(detail["loc"], source.value)
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    name = _name(path)
    where = source.place(path)
    if kind == "missing":
        return Problem(
            f"key `{missing}` is missing{_in(path)}",
            "it has no default",
            _ADDED.get(missing, f"add `{missing}: ...`"),
            source.place(path),
        )
    if kind == "extra_forbidden":
        return _unknown_key(path, source, model, detail["loc"])
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        return _no_verb(path, value, source, model, detail["loc"])
    fault = context.get("error")
    if isinstance(fault, Fault):
        at = (*path, *fault.at)
        return Problem(fault.what, fault.why, fault.fix, _shift(source.place(at), fault))
    if isinstance(fault, Exception):
        return Problem(f"{name}: {fault}", "it cannot be used so", "correct it", where)
    if kind == "string_pattern_mismatch" and detail["loc"] and detail["loc"][-1] == "[key]":
        return Problem(
            f"key `{printable(str(value))}` cannot be used",
            f"it has to be {_rule(context)}",
            "rename it",
            source.place(path, key=True),
        )
    what, why, fix = explain(name, detail)
    if (
        path[:1] == ("parameters",)
        and len(path) == 2
        and isinstance(value, bool | int | float | str)
    ):
        fix = f"write `{{default: {_plainly(value)}}}`"
    return Problem(what, why, fix, where)


def _plainly(value: bool | int | float | str) -> str:
    """Return a value as YAML spells it."""
    return str(value).lower() if isinstance(value, bool) else printable(str(value))


def explain(name: str, detail: ErrorDetails) -> tuple[str, str, str]:
    """Return what is wrong with a value, why, and what to do.

    Parameters
    ----------
    name : str
        The value as the message calls it.
    detail : pydantic_core.ErrorDetails
    """
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind in _TYPES:
        return _wrong_type(name, kind, value)
    if kind in ("literal_error", "enum"):
        words = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        allowed = ", ".join(f"`{word}`" for word in words) or str(context.get("expected", ""))
        hint = did_you_mean(value, words) if isinstance(value, str) else ""
        return (
            f"{name} is {describe(value)}",
            f"it has to be one of {allowed}" if len(words) > 1 else f"it has to be {allowed}",
            hint or (f"write one of {allowed}" if len(words) > 1 else f"write {allowed}"),
        )
    if kind in _BOUNDS or kind in _LENGTHS:
        return _out_of_range(name, kind, value, context)
    if kind == "string_pattern_mismatch":
        return (
            f"{name} is {describe(value)}",
            f"it has to be {_rule(context)}",
            _fitting(str(value), str(context.get("pattern"))),
        )
    said = detail["msg"][:1].lower() + detail["msg"][1:]
    return f"{name}: {said}", f"it is {describe(value)}", "correct it"


def _fitting(value: str, pattern: str) -> str:
    """Return the value that was probably meant, as the pattern wants it."""
    plain = re.sub(r"[^A-Za-z0-9_]+", "_", value).strip("_")
    for guess in (plain, f"_{plain}"):
        if plain and re.fullmatch(pattern, guess):
            return f"write `{guess}`"
    return "write it so"


def _rule(context: Mapping[str, Any]) -> str:
    return PATTERNS.get(str(context.get("pattern")), f"what {context.get('pattern')} matches")


def _out_of_range(
    name: str, kind: str, value: object, context: Mapping[str, Any]
) -> tuple[str, str, str]:
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return (
            f"{name} is {describe(value)}",
            f"it has to be {words} {context.get(key):g}",
            "give a value in its range",
        )
    key, words, unit = _LENGTHS[kind]
    limit = context.get(key)
    size = len(value) if isinstance(value, str | list | tuple | dict) else "too many"
    if size == 0:
        one = {"entries": "entry", "characters": "character"}[unit] if limit == 1 else unit
        return f"{name} is empty", f"it needs {words} {limit} {one}", "fill it"
    return (
        f"{name} has {size} {unit}",
        f"it has to have {words} {limit}",
        "make it shorter" if "too_long" in kind else "make it longer",
    )


def _wrong_type(name: str, kind: str, value: object) -> tuple[str, str, str]:
    wanted = _TYPES[kind]
    if name == "the document":
        fix = "begin with `f2yaml: 1` and `name: ...` (`f2yaml new` writes a first recipe)"
        if isinstance(value, list):
            fix = "put the list under `steps:`, after `f2yaml: 1` and `name: ...`"
        return f"{name} is {describe(value)}", "it has to be keys and values", fix
    return f"{name} is {describe(value)}", f"it has to be {wanted}", rewritten(value, wanted)


def rewritten(value: object, wanted: str) -> str:
    """Return how to write a value so that it has the wanted type."""
    if value == "None":
        return "write `null`, if it may be empty"
    if wanted == "true or false" and isinstance(value, str):
        return _yes_or_no(value)
    if wanted in ("a number", "a whole number") and isinstance(value, str):
        return _number(value, wanted)
    if wanted == "text" and isinstance(value, bool | int | float):
        return f'quote it: "{str(value).lower() if isinstance(value, bool) else value}"'
    if wanted == "a list":
        if isinstance(value, str) and value and re.fullmatch(r"[\w ,.-]+", value):
            return f"write it in brackets, `[{value}]`, or one entry a line after `- `"
        return "write a list in brackets, or one entry a line after `- `"
    if wanted == "a mapping":
        if value is None:
            return "write its keys and values below it, indented further"
        if isinstance(value, list) and all(isinstance(part, dict) for part in value):
            return "remove the `- `: keys and values, one a line, are a mapping"
        return "write keys and values, as in `{key: value}`"
    return f"write {wanted}"


def _yes_or_no(value: str) -> str:
    if value.lower() in ("yes", "on", "y"):
        return "write `true` (in YAML 1.2 `yes` and `on` are text)"
    if value.lower() in ("no", "off", "n"):
        return "write `false` (in YAML 1.2 `no` and `off` are text)"
    if value.lower() in ("true", "false"):
        return f"write `{value.lower()}` without quotes"
    return "write `true` or `false`"


def _number(value: str, wanted: str) -> str:
    text = value.strip()
    figure = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
    if re.fullmatch(figure, text, re.ASCII):
        return f"write {text} without quotes"
    comma = re.fullmatch(r"([-+]?[0-9]+),([0-9]+)", text, re.ASCII)
    if comma:
        return f"write {comma[1]}.{comma[2]}, with a point"
    unit = re.fullmatch(rf"({figure})\s*([^\W\d]+|[%\"\'])", text)
    if unit:
        return f"write {unit[1]}, without the unit"
    return f"write {wanted}"


def _shift(place: Place, fault: Fault) -> Place:
    """Return the part of a place that a fault underlines, where its text is seen there."""
    if not fault.width:
        return place
    quoted = place.text[place.column - 1 : place.column] in ("'", '"')
    column = place.column + fault.offset + quoted
    if fault.offset + fault.width + 2 * quoted > place.width + 1:
        return place
    return Place(place.file, place.line, column, fault.width, place.text)


def document_path(loc: tuple[str | int, ...], value: Any) -> tuple[tuple[str | int, ...], str]:
    """Return the path of an error in the document, and the key that is missing there, if any.

    Union tags and the like are steps of Pydantic, not of the document, and are left out.
    """
    path: list[str | int] = []
    missing = ""
    for step in loc:
        in_list = isinstance(value, list) and isinstance(step, int) and step < len(value)
        if in_list or (isinstance(value, dict) and step in value):
            path.append(step)
            value = value[step]
        else:
            missing = str(step)
    return tuple(path), missing


def _name(path: tuple[str | int, ...]) -> str:
    names = [step for step in path if isinstance(step, str)]
    if not path:
        return "the document"
    if not names:
        return f"entry {path[-1] + 1 if isinstance(path[-1], int) else path[-1]}"
    if isinstance(path[-1], int):
        return f"entry {path[-1] + 1} of `{printable(names[-1])}`"
    return f"`{printable(str(path[-1]))}`"


def _in(path: tuple[str | int, ...]) -> str:
    return f" in {_name(path)}" if path else ""


def _unknown_key(
    path: tuple[str | int, ...],
    source: Source,
    model: type[BaseModel],
    loc: tuple[str | int, ...],
) -> Problem:
    key = str(path[-1]) if path else ""
    known = _keys(_model_at(model, loc[:-1]))
    siblings: Any = source.value
    for step in path[:-1]:
        siblings = siblings[step]
    verb = next((k for k in siblings if k in _VERBS and k in known), "")
    where = source.place(path, key=True)
    if key in _VERBS and verb:
        return Problem(
            f"`{key}` cannot stand beside `{verb}`",
            "a step is one thing: do, include, require or when",
            "make two steps of it",
            where,
        )
    fix = _glued(key, known) or did_you_mean(key, known)
    listing = "known are " + ", ".join(known) if known else ""
    if not fix and "with" in known and (verb or "do" not in known):
        listing = (
            f"parameters stand under `with`, as in `with: {{{printable(key)}: ...}}`; {listing}"
        )
    if path[:-1] == ("applies_to",) and not fix:
        listing = (
            f"criteria are a list under `all` or `any`, as in `all: [{{{printable(key)}: ...}}]`"
        )
    elif key in _VERBS and "steps" in known:
        fix, listing = f"put it into a list, as in `steps: [{{{key}: ...}}]`", ""
    return Problem(
        f"unknown key `{printable(key)}`{_in(path[:-1])}",
        _STRICT,
        " ".join(filter(None, [fix, f"({listing})" if fix and listing else listing])),
        where,
    )


def _glued(key: str, known: list[str]) -> str:
    """Return what to do about a key that has swallowed its value, as in ``do:prepare``."""
    name, colon, rest = key.partition(":")
    if not colon or name not in known:
        return ""
    blank = "an ordinary blank (this is another character)" if rest[:1].isspace() else "a blank"
    return f"write {blank} after the colon, as in `{name}: {printable(rest.strip())}`"


_VERBS = ("do", "include", "require", "when")


def _no_verb(
    path: tuple[str | int, ...],
    value: object,
    source: Source,
    model: type[BaseModel],
    loc: tuple[str | int, ...],
) -> Problem:
    choices = [key for member in _members(_type_at(model, loc)) for key in _keys(member)]
    verbs = [verb for verb in _VERBS if verb in choices] or sorted(set(choices))
    wanted = ", ".join(verbs)
    if not isinstance(value, dict):
        fix = (
            f"write it as `{{do: {printable(value)}}}`"
            if isinstance(value, str)
            else "write a mapping"
        )
        return Problem(
            f"{_name(path)} is {describe(value)}",
            f"it has to be a mapping with one of the keys {wanted}",
            fix,
            source.place(path),
        )
    hints = (_glued(str(key), verbs) or did_you_mean(str(key), verbs) for key in value)
    hint = next(filter(None, hints), "")
    return Problem(
        f"{_name(path)} has none of the keys {wanted}",
        "the key says what is to be done",
        hint or f"add one of {wanted}",
        source.place(path),
    )


# --- which model stands at a place ------------------------------------------------------------


def _keys(model: object) -> list[str]:
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return []
    return [field.alias or name for name, field in model.model_fields.items()]


def _strip(kind: Any) -> Any:
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if isinstance(kind, (type(Literal[0]),)):
        return kind
    return getattr(kind, "__value__", kind)


def _members(kind: Any) -> list[Any]:
    kind = _strip(kind)
    if get_origin(kind) in (Union, types.UnionType):
        return [member for part in get_args(kind) for member in _members(part)]
    return [kind]


def _tag(kind: Any) -> str:
    return next((m.tag for m in getattr(kind, "__metadata__", ()) if hasattr(m, "tag")), "")


def _descend(kind: Any, step: str | int) -> list[Any]:
    """Return the types that may stand one step below a type; the type itself for a union tag."""
    stripped = _strip(kind)
    if get_origin(stripped) in (Union, types.UnionType):
        parts = get_args(stripped)
        tagged = [part for part in parts if _tag(part) == step]
        if tagged:
            return tagged
        return [found for part in parts for found in _descend(part, step)]
    if isinstance(stripped, type) and issubclass(stripped, BaseModel):
        for name, field in stripped.model_fields.items():
            if (field.alias or name) == step:
                return [field.annotation]
        return []
    arguments = [a for a in get_args(stripped) if a is not Ellipsis]
    origin = get_origin(stripped)
    if arguments and isinstance(step, int):
        return arguments[-1:]
    if arguments and isinstance(origin, type) and issubclass(origin, Mapping):
        return arguments[-1:]
    return []


def _type_at(model: type[BaseModel], loc: tuple[str | int, ...]) -> Any:
    kinds: list[Any] = [model]
    for step in loc:
        below = [found for kind in kinds for found in _descend(kind, step)]
        if below:
            kinds = below
    return Union[tuple(kinds)] if len(kinds) > 1 else kinds[0]  # noqa: UP007


def _model_at(model: type[BaseModel], loc: tuple[str | int, ...]) -> object:
    for member in _members(_type_at(model, loc)):
        if isinstance(member, type) and issubclass(member, BaseModel):
            return member
    return None
