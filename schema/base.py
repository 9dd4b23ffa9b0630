"""The strict base model and the field types that several kinds of document share."""

from __future__ import annotations

from typing import Annotated, Any

from f2yaml.schema.predicate import parse
from f2yaml.schema.problems import Place, RequestError
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

IDENTIFIER = r"^[A-Za-z_][A-Za-z0-9_]*$"
_LABEL = r"^[A-Za-z][A-Za-z0-9_-]*$"
_SUFFIX = r"^_[A-Za-z0-9][A-Za-z0-9_-]*$"
_TAG = r"^[A-Za-z][A-Za-z0-9_]*$"

PATTERNS: dict[str, str] = {
    IDENTIFIER: "letters, digits and underscores, not beginning with a digit",
    _LABEL: "letters, digits, underscores and hyphens, beginning with a letter",
    _SUFFIX: "an underscore, then letters, digits, underscores or hyphens, as in `_image`",
    _TAG: "letters, digits and underscores, as in `DARK`",
}
"""What each pattern of this module asks for, in words for error messages."""


class Model(BaseModel):
    """Base of every model: exact types, no unknown keys, no changes after validation."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Fault(ValueError):
    """A validator's refusal, in the parts of a `Problem`.

    Parameters
    ----------
    what, why, fix : str
        As in `f2yaml.schema.problems.Problem`.
    at : tuple of str or int
        Path, below the validated value, of the entry to blame.
    offset, width : int
        Characters of the entry's text to underline; width 0 means all of it.
    """

    def __init__(
        self,
        what: str,
        why: str = "",
        fix: str = "",
        *,
        at: tuple[str | int, ...] = (),
        offset: int = 0,
        width: int = 0,
    ) -> None:
        super().__init__(what)
        self.what, self.why, self.fix = what, why, fix
        self.at, self.offset, self.width = at, offset, width


def _version(value: int) -> int:
    if value != 1:
        raise Fault(
            f"version {value} of the document format is not known",
            "this f2yaml reads version 1",
            "write `f2yaml: 1`",
        )
    return value


def _expression(text: str) -> str:
    try:
        parse(text)
    except RequestError as error:
        problem = error.problems[0]
        place = problem.where if isinstance(problem.where, Place) else None
        raise Fault(
            problem.what,
            problem.why,
            problem.fix,
            offset=place.column - 1 if place else 0,
            width=place.width if place else 0,
        ) from error
    return text


def _one_or_many(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(value)
    if not isinstance(value, str):
        raise Fault(
            "the value is no name", "it has to be a stream, or a list of them", "write `main`"
        )
    return (value,)


def _scalar(value: Any) -> Any:
    if isinstance(value, list | tuple | dict):
        kind = "a mapping" if isinstance(value, dict) else "a list"
        raise Fault(f"the value is {kind}", "it has to be one number or text", "give one value")
    return value


Scalar = Annotated[Any, AfterValidator(_scalar)]
"""Text, a number, true, false or null."""

Version = Annotated[int, AfterValidator(_version)]
"""Version of the document format; only 1 exists."""

StreamName = Annotated[str, StringConstraints(pattern=IDENTIFIER, max_length=64)]
"""Name of a list of frames inside a recipe."""

StreamNames = Annotated[
    tuple[StreamName, ...], BeforeValidator(_one_or_many), Field(min_length=1, max_length=16)
]
"""One stream name, or a list of them."""

Identifier = Annotated[str, StringConstraints(pattern=IDENTIFIER, max_length=64)]
"""Name of a primitive, parameter or step."""

Label = Annotated[str, StringConstraints(pattern=_LABEL, max_length=64)]
"""Name of a recipe or of a set of frames."""

Suffix = Annotated[str, StringConstraints(pattern=_SUFFIX, max_length=64)]
"""Ending of a product's name, before ``.fits``."""

TagName = Annotated[str, StringConstraints(pattern=_TAG, max_length=64)]
"""Tag of a frame, such as ``DARK``."""

Text = Annotated[str, StringConstraints(max_length=2000)]
"""Words for people."""

Unit = Annotated[str, StringConstraints(max_length=40)]
"""Unit of a number, for people: ``s``, ``pix``, ``arcsec``, ``electron``."""

Expression = Annotated[str, AfterValidator(_expression)]
"""Text in the language of `f2yaml.schema.predicate`, found to be well formed."""
