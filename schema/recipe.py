"""What a recipe may say: the models behind ``kind: recipe``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from f2yaml.schema.base import (
    Expression,
    Fault,
    Identifier,
    Label,
    Model,
    Scalar,
    StreamName,
    StreamNames,
    Suffix,
    TagName,
    Text,
    Unit,
    Version,
)
from f2yaml.schema.problems import did_you_mean
from f2yaml.schema.wording import describe, rewritten
from pydantic import BeforeValidator, Discriminator, Field, Strict, Tag, model_validator

Plane = Literal["SCI", "VAR", "DQ", "OBJMASK", "COVERAGE"]
Store = Literal["processed_dark", "processed_flat", "processed_bpm", "processed_science"]
ParameterType = Literal["float", "int", "bool", "str"]
Values = dict[Identifier, Any]

_WORDS = {"float": "a number", "int": "a whole number", "bool": "true or false", "str": "text"}


class Parameter(Model):
    """A value that the user of a recipe may choose; steps refer to it as ``$name``."""

    default: Scalar = Field(description="value unless the user gives one")
    type: ParameterType | None = Field(
        None, description="float, int, bool or str; by default that of `default`"
    )
    ge: float | None = Field(None, description="smallest value allowed")
    gt: float | None = Field(None, description="values have to be greater than this")
    le: float | None = Field(None, description="largest value allowed")
    lt: float | None = Field(None, description="values have to be less than this")
    choices: tuple[Scalar, ...] | None = Field(None, min_length=1, description="the values allowed")
    unit: Unit | None = Field(None, description="unit of the value, for people")
    doc: Text = Field("", description="what it is, in a line")

    @property
    def kind(self) -> ParameterType | None:
        """Type of the values; None when nothing says it."""
        if self.type is not None:
            return self.type
        kinds: dict[type, ParameterType] = {float: "float", int: "int", bool: "bool", str: "str"}
        return kinds.get(type(self.default))

    def convert(self, value: object) -> object:
        """Return a value as this parameter holds it: whole numbers become floats where wanted.

        Raises
        ------
        Fault
            The value has the wrong type, is out of bounds or none of the choices. `None` is
            accepted only when it is the default.
        """
        if value is None and self.default is None:
            return None
        kind = self.kind
        if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        exact = {"float": float, "int": int, "bool": bool, "str": str}
        if kind is not None and type(value) is not exact[kind]:
            wanted = _WORDS[kind]
            raise Fault(f"is {describe(value)}", f"it has to be {wanted}", rewritten(value, wanted))
        if self.choices is not None and value not in self.choices:
            allowed = ", ".join(map(str, self.choices))
            hint = did_you_mean(str(value), map(str, self.choices))
            raise Fault(
                f"is {describe(value)}",
                f"it has to be one of {allowed}",
                hint or "choose one of them",
            )
        if isinstance(value, int | float) and not isinstance(value, bool):
            self._within(value)
        return value

    def _within(self, value: float) -> None:
        if not math.isfinite(value):
            raise Fault(f"is {_odd(value)}", "nothing can be computed with it", "give a number")
        bounds = [
            (self.ge, value >= (self.ge or 0), "at least"),
            (self.gt, value > (self.gt or 0), "greater than"),
            (self.le, value <= (self.le or 0), "at most"),
            (self.lt, value < (self.lt or 0), "less than"),
        ]
        for bound, holds, words in bounds:
            if bound is not None and not holds:
                raise Fault(
                    f"is {describe(value)}",
                    f"it has to be {words} {bound:g}",
                    "give a value in its range",
                )

    @model_validator(mode="after")
    def _consistent(self) -> Parameter:
        bounded = {"ge", "gt", "le", "lt"} & self.model_fields_set
        for key in sorted(bounded):
            bound = getattr(self, key)
            if bound is not None and not math.isfinite(bound):
                raise Fault(
                    f"`{key}` is {_odd(bound)}",
                    "it bounds nothing",
                    f"give a number, or leave `{key}` out",
                    at=(key,),
                )
        if bounded and self.kind in ("bool", "str"):
            key = sorted(bounded)[0]
            raise Fault(
                f"`{key}` bounds a parameter that is {_WORDS[self.kind]}",
                "only numbers have bounds",
                f"remove `{key}`, or use `choices`",
                at=(key,),
            )
        try:
            self.convert(self.default)
        except Fault as fault:
            raise Fault(
                f"the default {fault.what}", fault.why, fault.fix, at=("default",)
            ) from None
        return self


def _odd(value: float) -> str:
    return "not a number" if math.isnan(value) else "infinite"


# lists that a validator has already turned into Python objects are no longer JSON
Planes = Annotated[tuple[Plane, ...], Strict(False)]


class Write(Model):
    """Frames to save after a step."""

    suffix: Suffix | None = Field(None, description="suffix of the files; by default the step's")
    planes: Planes | None = Field(None, min_length=1, description="planes to save; by default all")


def _write(value: Any) -> Any:
    if value is True:
        return {}
    if value is not None and not isinstance(value, bool | Mapping | Write):
        raise Fault(
            f"`write` is {describe(value)}",
            "it has to be true, or a mapping with suffix and planes",
            "write `write: true`, or `write: {suffix: _mine}`",
        )
    return None if value is False else value


WriteField = Annotated[Write | None, BeforeValidator(_write)]


class Do(Model):
    """Run a primitive."""

    do: Identifier = Field(description="name of the primitive")
    id: Identifier | None = Field(None, description="name by which `override` finds the step")
    source: StreamName = Field("main", alias="from", description="stream to read")
    targets: StreamNames = Field(("main",), alias="to", description="stream or streams to fill")
    values: Values = Field({}, alias="with", description="parameters of the primitive")
    write: WriteField = Field(None, description="true, or suffix and planes, to save the result")
    skip: bool = Field(False, description="leave the step out; its frames pass unchanged")


class Include(Model):
    """Insert the steps of another recipe; its `main` is the stream given here."""

    include: Text = Field(description="path of the recipe, relative to this file", min_length=1)
    source: StreamName = Field("main", alias="from", description="stream that is its `main`")
    target: StreamName = Field("main", alias="to", description="stream that its `main` becomes")
    values: Values = Field({}, alias="with", description="values of its parameters")


class Require(Model):
    """Stop unless a condition holds."""

    require: Expression = Field(description="the condition")
    because: Text = Field(description="what to tell the user when it fails", min_length=1)


class When(Model):
    """Run steps only if a condition holds."""

    when: Expression = Field(description="the condition, decided once, before the first step")
    steps: tuple[Step, ...] = Field(min_length=1, description="steps to run")


def _verb(value: Any) -> str | None:
    if isinstance(value, Model):
        return f"<{type(value).__name__.lower()}>"
    keys = value if isinstance(value, Mapping) else ()
    return next(
        (f"<{verb}>" for verb in ("do", "include", "require", "when") if verb in keys), None
    )


Step = Annotated[
    Annotated[Do, Tag("<do>")]
    | Annotated[Include, Tag("<include>")]
    | Annotated[Require, Tag("<require>")]
    | Annotated[When, Tag("<when>")],
    Discriminator(_verb),
]
"""An entry of a recipe, told apart by the key it carries."""

When.model_rebuild()


class Output(Model):
    """A product: a stream that is saved when the recipe is done."""

    suffix: Suffix = Field(description="suffix of the files")
    planes: Planes | None = Field(None, min_length=1, description="planes to save; by default all")
    store: Store | None = Field(
        None, description="calibration type under which it enters the database"
    )
    doc: Text = Field("", description="what it is, with its unit")


class CountBounds(Model):
    """Bounds of the number of frames."""

    ge: int | None = Field(None, ge=0, description="at least")
    gt: int | None = Field(None, ge=0, description="more than")
    le: int | None = Field(None, ge=0, description="at most")
    lt: int | None = Field(None, ge=0, description="fewer than")
    eq: int | None = Field(None, ge=0, description="exactly")

    def holds(self, count: int) -> bool:
        """Return whether a number of frames is within the bounds."""
        return (
            (self.ge is None or count >= self.ge)
            and (self.gt is None or count > self.gt)
            and (self.le is None or count <= self.le)
            and (self.lt is None or count < self.lt)
            and (self.eq is None or count == self.eq)
        )


class Criterion(Model):
    """One condition on the input frames: exactly one of the keys."""

    tags: tuple[TagName, ...] | None = Field(
        None, min_length=1, description="tags that every frame has"
    )
    negated: Criterion | None = Field(
        None, alias="not", description="a condition that no frame meets"
    )
    every: tuple[Criterion, ...] | None = Field(
        None, alias="all", min_length=1, description="conditions that all hold"
    )
    some: tuple[Criterion, ...] | None = Field(
        None, alias="any", min_length=1, description="conditions of which one holds"
    )
    exists: Criterion | None = Field(
        None, alias="some", description="a condition that at least one frame meets"
    )
    same: tuple[Identifier, ...] | None = Field(
        None, min_length=1, description="descriptors that are equal for all frames"
    )
    count: CountBounds | None = Field(None, description="number of frames")
    expr: Expression | None = Field(None, description="expression that holds for every frame")

    @model_validator(mode="after")
    def _one(self) -> Criterion:
        if len(self.model_fields_set) != 1:
            keys = [field.alias or name for name, field in type(self).model_fields.items()]
            raise Fault(
                f"a condition has {len(self.model_fields_set)} keys",
                "it has exactly one of " + ", ".join(keys),
                "make one condition of each, under `all`",
            )
        return self


class AppliesTo(Model):
    """Which frames a recipe is for."""

    every: tuple[Criterion, ...] = Field((), alias="all", description="conditions that all hold")
    some: tuple[Criterion, ...] = Field(
        (), alias="any", description="conditions of which one holds"
    )
    default: bool = Field(
        False, description="a run that names no recipe takes this one for such frames"
    )


class Override(Model):
    """A change of a step that comes from `extends` or `include`."""

    values: Values = Field({}, alias="with", description="parameters to set")
    write: WriteField = Field(None, description="as in the step")
    skip: bool | None = Field(None, description="as in the step")


class Insert(Model):
    """Steps to put before or after one that comes from `extends` or `include`."""

    before: Identifier | None = Field(None, description="step that the new ones precede")
    after: Identifier | None = Field(None, description="step that the new ones follow")
    steps: tuple[Step, ...] = Field(min_length=1, description="the new steps")

    @model_validator(mode="after")
    def _one_anchor(self) -> Insert:
        if (self.before is None) == (self.after is None):
            raise Fault(
                "an insert needs one of `before` and `after`",
                "the place of the new steps has to be certain",
                "name one step, after `before:` or `after:`",
            )
        return self


class Recipe(Model):
    """A recipe as it stands in its file, before `f2yaml.schema.compose` makes it flat."""

    f2yaml: Version = Field(description="version of the format: 1")
    kind: Literal["recipe"] = Field("recipe", description="kind of document")
    name: Label = Field(description="name of the recipe")
    doc: Text = Field("", description="what it is for")
    extends: Text | None = Field(
        None, min_length=1, description="recipe whose steps come before these"
    )
    applies_to: AppliesTo | None = Field(None, description="which frames it is for")
    parameters: dict[Identifier, Parameter] = Field({}, description="values the user may choose")
    steps: tuple[Step, ...] = Field((), description="what is done, in order")
    override: dict[Identifier, Override] = Field(
        {}, description="changes of inherited steps, by id or by a primitive's name"
    )
    insert: tuple[Insert, ...] = Field((), description="steps put between inherited ones")
    outputs: dict[StreamName, Output] = Field({}, description="products, by stream")
