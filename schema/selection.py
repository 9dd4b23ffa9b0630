"""What selection rules may say: the models behind ``kind: rules``.

Each set names frames of a folder by tags and an expression; the frames are divided into groups of
equal values, and each group becomes a list file.
"""

from __future__ import annotations

import re
from string import Formatter
from typing import Literal

from f2yaml.schema.base import Expression, Fault, Identifier, Label, Model, TagName, Text, Version
from f2yaml.schema.text import printable
from pydantic import Field, model_validator

_FORMAT = re.compile(r"0?[0-9]{0,2}(\.[0-9]{1,2})?[a-zA-Z]?", re.ASCII)
_PLAIN = re.compile(r"[A-Za-z0-9_+.,=-]*", re.ASCII)


class FrameSet(Model):
    """Frames that belong together."""

    doc: Text = Field("", description="what the frames are")
    tags: tuple[TagName, ...] = Field((), description="tags that a frame has to have")
    xtags: tuple[TagName, ...] = Field((), description="tags that a frame must not have")
    expr: Expression | None = Field(None, description="expression that has to hold for a frame")
    group_by: tuple[Identifier, ...] = Field(
        (), description="descriptors that are equal within a list"
    )
    sort_by: tuple[Identifier, ...] = Field((), description="descriptors that order a list")
    min_count: int = Field(1, ge=1, description="smallest number of frames worth a list")
    output: str = Field(
        min_length=1,
        max_length=200,
        description="name of the list file; `{descriptor}` or `{descriptor:g}` for a descriptor"
        " of group_by",
    )

    @model_validator(mode="after")
    def _output_is_a_name(self) -> FrameSet:
        try:
            parts = list(Formatter().parse(self.output))
        except ValueError as error:
            raise _bad_output(f"cannot be read: {error}", "write `{descriptor}`") from None
        for text, name, spec, conversion in parts:
            if not _PLAIN.fullmatch(text):
                raise _bad_output(
                    f"`{printable(self.output)}` is not a plain file name",
                    "use letters, digits and any of `_+.,=-`, without folders",
                )
            if name is None:
                continue
            if name not in self.group_by:
                raise _bad_output(
                    f"`{{{printable(name)}}}` is not in group_by",
                    f"add `{printable(name)}` to group_by, or remove it from the name",
                )
            if conversion or not _FORMAT.fullmatch(spec or ""):
                raise _bad_output(
                    f"`{printable(spec or conversion or '')}` is not a format",
                    "write it as in `{exposure_time:g}`",
                )
        if self.output.startswith((".", "-")):
            raise _bad_output("begins with `.` or `-`", "begin it with a letter")
        return self


def _bad_output(what: str, fix: str) -> Fault:
    why = "it becomes one list file for each group, in the output folder"
    return Fault(f"`output`: {what}", why, fix, at=("output",))


class Rules(Model):
    """A document of selection rules."""

    f2yaml: Version = Field(description="version of the format: 1")
    kind: Literal["rules"] = Field(description="kind of document")
    name: Label | None = Field(None, description="name of the rules")
    doc: Text = Field("", description="what they are for")
    sets: dict[Label, FrameSet] = Field(min_length=1, description="sets of frames, by name")

    @model_validator(mode="after")
    def _outputs_differ(self) -> Rules:
        first: dict[str, str] = {}
        for name, rule in self.sets.items():
            if rule.output in first:
                raise Fault(
                    f"set `{name}` writes the same list as `{first[rule.output]}`",
                    "one list would overwrite the other",
                    "give them different names",
                    at=("sets", name, "output"),
                )
            first[rule.output] = name
        return self
