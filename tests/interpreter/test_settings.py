"""Texts of the command line become values of parameters."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from f2yaml.interpreter.errors import RequestError
from f2yaml.interpreter.registry import Params, find
from f2yaml.interpreter.settings import (
    Override,
    convert,
    convert_parameter,
    parse_overrides,
    parse_parameters,
    readings,
)
from f2yaml.schema.base import Fault
from f2yaml.schema.recipe import Parameter
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field


@pytest.mark.parametrize(
    ("word", "step", "name", "text"),
    [
        ("skyCorrect:dilation=3", "skyCorrect", "dilation", "3"),
        ("dilation=3", None, "dilation", "3"),
        (" skyCorrect : dilation = 3 ", "skyCorrect", "dilation", "3"),
        ("a:b=c=d", "a", "b", "c=d"),
        ("a:b=", "a", "b", ""),
        ("a:b='x y'", "a", "b", "x y"),
        ('a:b="x"', "a", "b", "x"),
        ("a:b='", "a", "b", "'"),
    ],
)
def test_settings_are_taken_apart(word: str, step: str | None, name: str, text: str) -> None:
    assert parse_overrides([word]) == (Override(step, name, text),)


@pytest.mark.parametrize("word", ["dilation", "=3", "a:=3", ":b=3", ""])
def test_what_is_no_setting_is_refused(word: str) -> None:
    with pytest.raises(RequestError, match="is no setting") as error:
        parse_overrides([word])
    assert "-p skyCorrect:dilation=3" in str(error.value)


def test_a_later_setting_replaces_an_earlier_one() -> None:
    made = parse_overrides(["a:b=1", "b=2", "a:b=3"])
    assert made == (Override("a", "b", "3"), Override(None, "b", "2"))
    assert [str(o) for o in made] == ["-p a:b=3", "-p b=2"]


def test_recipe_parameters_are_taken_apart() -> None:
    assert parse_parameters(["a=1", " b = 'x y' ", "a=2"]) == {"a": "2", "b": "x y"}
    for word in ("a", "=1"):
        with pytest.raises(RequestError, match=r"--param .*is no setting"):
            parse_parameters([word])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("True", (True, "True")),
        ("None", (None, "None")),
        ("false", (False, "false")),
        ("null", (None, "null")),
        ("3", (3, "3")),
        ("1e3", (1000.0, "1e3")),
        ("010", (10, "010")),
        ("12:30:45", ("12:30:45",)),
        ("on", ("on",)),
        ("varclip", ("varclip",)),
        ("", (None, "")),
    ],
)
def test_a_text_is_read_as_yaml_reads_it_or_as_it_stands(text: str, expected: tuple[Any]) -> None:
    made = tuple(readings(text))
    assert made == expected
    assert [type(m) for m in made] == [type(e) for e in expected]


class Model(Params):
    """Fields of every kind."""

    number: float = Field(1.0, ge=0, lt=10)
    count: int | None = Field(None, ge=1)
    flag: bool = False
    word: str | None = None
    way: Literal["mean", "median"] = "mean"
    names: list[str] = Field(default_factory=list)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("number", "3", 3.0),
        ("number", "0.5", 0.5),
        ("count", "4", 4),
        ("count", "None", None),
        ("flag", "True", True),
        ("flag", "false", False),
        ("word", "12", "12"),
        ("word", "None", None),
        ("word", "True", "True"),
        ("way", "median", "median"),
    ],
)
def test_values_fit_their_parameter(name: str, text: str, expected: object) -> None:
    made = convert(text, Model.model_fields[name])
    assert made == expected
    assert isinstance(made, type(expected)) or made is expected


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("number", "-1", "it has to be at least 0"),
        ("number", "10", "it has to be less than 10"),
        ("number", "red", "it has to be a number"),
        ("number", "True", "it has to be a number"),
        ("count", "0", "it has to be at least 1"),
        ("count", "1.5", "it has to be a whole number"),
        ("flag", "1", "it has to be true or false"),
        ("way", "mode", "it has to be one of `mean`, `median`"),
    ],
)
def test_values_that_do_not_fit_are_refused(name: str, text: str, message: str) -> None:
    with pytest.raises(Fault) as caught:
        convert(text, Model.model_fields[name])
    assert caught.value.why == message
    assert caught.value.what.startswith("is ")
    assert caught.value.fix


@given(st.floats(0, 1e6))
def test_numbers_survive_the_command_line(value: float) -> None:
    field = find("skyCorrect").params.model_fields["dilation"]
    assert convert(repr(value), field) == value


def test_recipe_parameters_have_their_type() -> None:
    assert convert_parameter("3", Parameter(default=1.0)) == 3.0
    assert convert_parameter("true", Parameter(default=False)) is True
    assert convert_parameter("12", Parameter(default="x")) == "12"
    with pytest.raises(Fault, match="text"):
        convert_parameter("red", Parameter(default=1.0))
    with pytest.raises(Fault, match="number -1"):
        convert_parameter("-1", Parameter(default=1.0, ge=0))
