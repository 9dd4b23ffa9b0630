"""Parameters given on the command line: ``-p step:name=value`` and ``--param name=value``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from f2yaml.schema.base import Fault
from f2yaml.schema.problems import RequestError
from f2yaml.schema.recipe import Parameter
from f2yaml.schema.source import scalar
from f2yaml.schema.wording import explain
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo


@dataclass(frozen=True, slots=True)
class Override:
    """One ``-p`` setting; `step` is a primitive's name or a step's id, None for every step."""

    step: str | None
    name: str
    text: str

    def __str__(self) -> str:
        prefix = f"{self.step}:" if self.step else ""
        return f"-p {prefix}{self.name}={self.text}"


def parse_overrides(words: Iterable[str]) -> tuple[Override, ...]:
    """Return the settings in words of the form ``step:name=value`` or ``name=value``.

    Raises
    ------
    RequestError
        A word has no ``=`` or no name.
    """
    found: dict[tuple[str | None, str], Override] = {}
    for word in words:
        left, equals, text = word.partition("=")
        step, colon, name = left.rpartition(":")
        if not equals or not name.strip() or (colon and not step.strip()):
            raise RequestError(
                f"-p {word} is no setting",
                "it would be ignored, or taken for an input file",
                "write -p step:name=value, as in -p skyCorrect:dilation=3",
            )
        override = Override(step.strip() or None, name.strip(), _unquoted(text))
        found[override.step, override.name] = override  # a later setting replaces an earlier one
    return tuple(found.values())


def parse_parameters(words: Iterable[str]) -> dict[str, str]:
    """Return the recipe parameters in words of the form ``name=value``."""
    found = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name.strip():
            raise RequestError(
                f"--param {word} is no setting",
                "a recipe parameter needs a value",
                "write --param name=value, as in --param dilation=3",
            )
        found[name.strip()] = _unquoted(text)
    return found


def _unquoted(text: str) -> str:
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return text


def readings(text: str) -> Sequence[Any]:
    """Return what a text on the command line may mean, likeliest first.

    DRAGONS' spellings True, False and None are understood; anything may be plain text.
    """
    words = {"True": True, "False": False, "None": None}
    if text in words:
        return (words[text], text)
    value = scalar(text)
    return (value, text) if value != text else (text,)


def convert(text: str, field: FieldInfo) -> Any:
    """Return the value of `text` for a parameter.

    Raises
    ------
    Fault
        It is no value of the parameter's type, or out of its bounds.
    """
    failure: Fault | None = None
    for value in readings(text):
        try:
            return convert_value(value, field)
        except Fault as fault:
            failure = failure or fault
    assert failure is not None
    raise failure


def convert_value(value: object, field: FieldInfo) -> Any:
    """Return a value as a parameter holds it.

    Raises
    ------
    Fault
        It is no value of the parameter's type, or out of its bounds.
    """
    annotation: Any = field.annotation
    if field.metadata:
        annotation = Annotated[(annotation, *field.metadata)]
    adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    try:
        return adapter.validate_python(value, strict=True)
    except ValidationError as error:
        what, why, fix = explain("", error.errors(include_url=False)[0])
        raise Fault(what.lstrip(" :"), why, fix) from error


def convert_parameter(text: str, parameter: Parameter) -> Any:
    """Return the value of `text` for a recipe parameter.

    Raises
    ------
    Fault
        It is no value of the parameter's type, out of bounds, or none of its choices.
    """
    failure: Fault | None = None
    for value in readings(text):
        try:
            return parameter.convert(value)
        except Fault as fault:
            failure = failure or fault
    assert failure is not None
    raise failure
