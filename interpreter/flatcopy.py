"""A recipe in one piece as YAML: what `new --flat` writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, assert_never

from f2yaml.interpreter import yamltext
from f2yaml.interpreter.registry import BetweenStreams, find
from f2yaml.interpreter.yamltext import comment, entry, item
from f2yaml.schema.compose import Condition, FlatCopy, FlatDo, FlatRecipe, FlatRequire, Ref
from f2yaml.schema.expr_tree import operands_of, spelled_name
from f2yaml.schema.flat import FlatStep
from f2yaml.schema.predicate import (
    And,
    Count,
    Expr,
    Literal,
    Not,
    Operand,
    Or,
    Param,
    evaluate,
    names,
    transform,
)
from f2yaml.schema.recipe import AppliesTo, Output, Parameter, Write


def header(name: str, text: str) -> list[str]:
    """Return the first lines of a recipe."""
    return ["f2yaml: 1", f"name: {name}", *yamltext.doc(text)]


def flat_text(recipe: FlatRecipe, name: str) -> str:
    """Return a recipe of one file that does what `recipe` does, with a comment for each step."""
    steps = _without_detours(_decided(recipe.steps))
    streams = _stream_names(steps)
    lines = header(name, recipe.doc or name)
    if recipe.applies_to is not None and (recipe.applies_to.every or recipe.applies_to.some):
        lines += ["", "# Frames that it is for; others are refused.", "applies_to:"]
        lines += applies_lines(recipe.applies_to)
    used = _refs(steps)
    parameters = {key: value for key, value in recipe.parameters.items() if key in used}
    if parameters:
        lines += ["", "# What may be set with --param NAME=VALUE; steps refer to it as $NAME."]
        lines += ["parameters:"]
        for key, parameter in parameters.items():
            lines += entry(key, _parameter(parameter), 2)
    lines += ["", "# `f2yaml show NAME` explains a step and lists its parameters.", "steps:"]
    lines += _Steps(streams).lines(steps, 0, 2)
    lines += ["", "# What is written at the end, by stream."]
    if not recipe.outputs:
        lines.append("outputs: {}")
    else:
        lines.append("outputs:")
        for stream, output in recipe.outputs.items():
            lines += entry(streams.get(stream, stream), _output(output), 2)
    return "\n".join(lines) + "\n"


def _parameter(parameter: Parameter) -> dict[str, Any]:
    given = {"default": parameter.default} | {
        key: getattr(parameter, key) for key in type(parameter).model_fields
    }
    fields = {key: _short(value) for key, value in given.items() if value not in (None, "")}
    return {**fields, "default": parameter.default}


def _short(value: Any) -> Any:
    """Return a bound as it was written: a whole number without a point."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _output(output: Output) -> dict[str, Any]:
    return {k: v for k, v in output.model_dump().items() if v not in (None, "")}


def applies_lines(applies: AppliesTo) -> list[str]:
    """Return what a recipe applies to, as YAML."""
    data = applies.model_dump(by_alias=True, exclude_unset=True)
    data.pop("default", None)
    lines = []
    for key, criteria in data.items():
        lines.append(f"  {key}:")
        lines += [line for criterion in criteria for line in item(criterion, 4)]
    return lines


# conditions -------------------------------------------------------------------------------------
def _settled(condition: Condition) -> Condition | bool:
    """Return a condition with all values put in that are certain; true or false if none is left."""

    def put_in(operand: Operand) -> Operand:
        if isinstance(operand, Param):
            value = condition.bindings[operand.name].value
            if not isinstance(value, Ref):
                return Literal(value, yamltext.constant(value))
        return operand

    expr = _simple(transform(condition.expr, put_in))
    return expr if isinstance(expr, bool) else replace(condition, expr=expr)


def _simple(expr: Expr) -> Expr | bool:
    """Return an expression without the parts that are decided by constants."""
    match expr:
        case And(parts) | Or(parts):
            decisive = isinstance(expr, Or)
            simple = [_simple(part) for part in parts]
            if decisive in simple:
                return decisive
            open_ = tuple(part for part in simple if not isinstance(part, bool))
            if len(open_) < 2:
                return open_[0] if open_ else not decisive
            return type(expr)(open_)
        case Not(part):
            inner = _simple(part)
            return not inner if isinstance(inner, bool) else Not(inner)
    if any(spelled_name(operand) for operand in operands_of(expr)):
        return expr
    return evaluate(expr, lambda name: None)


def _decided(steps: Sequence[FlatStep]) -> list[FlatStep]:
    """Return the steps that can run, with the conditions that are still open."""
    kept: list[FlatStep] = []
    for step in steps:
        conditions = [_settled(condition) for condition in step.when]
        if False in conditions:
            continue
        open_ = tuple(c for c in conditions if isinstance(c, Condition))
        if isinstance(step, FlatRequire):
            required = _settled(step.condition)
            if required is True:
                continue
            if isinstance(required, Condition):
                step = replace(step, condition=required)
        kept.append(replace(step, when=open_))
    return kept


def _spelled(condition: Condition, streams: Mapping[str, str]) -> str:
    """Return a condition with the names that parameters and streams have in the flat recipe."""

    def spell(operand: Operand) -> str:
        match operand:
            case Count(stream):
                return f"count({streams.get(stream, stream)})"
            case Param(name):
                value = condition.bindings[name].value
                return f"${value.name}" if isinstance(value, Ref) else yamltext.constant(value)
        return ""

    return yamltext.expression(condition.expr, spell)


# streams ----------------------------------------------------------------------------------------
def _touched(step: FlatStep) -> set[str]:
    """Return every stream that a step reads, fills or counts."""
    counted = list(step.when)
    if isinstance(step, FlatRequire):
        counted.append(step.condition)
    found = {
        name.removeprefix("count:")
        for condition in counted
        for name in names(condition.expr)
        if name.startswith("count:")
    }
    match step:
        case FlatCopy():
            found |= {step.source, step.target}
        case FlatDo():
            found |= {step.source, *step.targets}
            primitive = find(str(step.primitive.value))
            if isinstance(primitive, BetweenStreams):
                found |= set(primitive.reads)
        case FlatRequire():
            pass
        case _:
            assert_never(step)
    return found


def _without_detours(steps: list[FlatStep]) -> list[FlatStep]:
    """Return the steps without the private streams of includes, where a simple name will do.

    An include from S to T works on a private copy P of S, which is T at its end. The same is to
    let its first step read S, and to call P T from there on, unless T is used for something else
    meanwhile.
    """
    begin = 0
    while begin < len(steps):
        first = steps[begin]
        made = None
        if isinstance(first, FlatCopy) and "." in first.target:
            made = _shortened(steps, begin, first)
        if made is None:
            begin += 1
        else:
            steps = made
    return steps


def _shortened(steps: list[FlatStep], begin: int, first: FlatCopy) -> list[FlatStep] | None:
    private = first.target
    end = next(
        (
            n
            for n in range(begin + 1, len(steps))
            if isinstance(last := steps[n], FlatCopy) and last.source == private
        ),
        None,
    )
    if end is None:
        return None
    last = steps[end]
    assert isinstance(last, FlatCopy)
    inner = steps[begin + 1 : end]
    target = last.target
    reader = next((n for n, step in enumerate(inner) if private in _touched(step)), None)
    if reader is None or any(target in _touched(step) for step in inner):
        return None
    head = inner[reader]
    if not isinstance(head, FlatDo) or head.source != private:
        return None
    if head.when != first.when or private in _counted(head):
        return None
    renamed = [_renamed(step, private, target) for step in inner]
    changed = renamed[reader]
    assert isinstance(changed, FlatDo)
    renamed[reader] = replace(changed, source=first.source)
    return [*steps[:begin], *renamed, *steps[end + 1 :]]


def _counted(step: FlatStep) -> set[str]:
    return {n.removeprefix("count:") for c in step.when for n in names(c.expr)}


def _renamed(step: FlatStep, old: str, new: str) -> FlatStep:
    def operand(part: Operand) -> Operand:
        return Count(new) if isinstance(part, Count) and part.stream == old else part

    def condition(given: Condition) -> Condition:
        return replace(given, expr=transform(given.expr, operand))

    when = tuple(map(condition, step.when))
    match step:
        case FlatCopy():
            source, target = (new if s == old else s for s in (step.source, step.target))
            return replace(step, source=source, target=target, when=when)
        case FlatDo():
            targets = tuple(new if s == old else s for s in step.targets)
            source = new if step.source == old else step.source
            return replace(step, source=source, targets=targets, when=when)
        case FlatRequire():
            return replace(step, condition=condition(step.condition), when=when)
        case _:
            assert_never(step)


def _stream_names(steps: Sequence[FlatStep]) -> dict[str, str]:
    """Return the names, in the flat recipe, of streams whose own name no file can have."""
    known = {stream for step in steps for stream in _touched(step)}
    made: dict[str, str] = {}
    for stream in sorted(known):
        if "." in stream:
            new = stream.replace(".", "_")
            while new in known or new in made.values():
                new += "_"
            made[stream] = new
    return made


def _refs(steps: Sequence[FlatStep]) -> set[str]:
    found: set[str] = set()
    for step in steps:
        conditions = list(step.when)
        if isinstance(step, FlatRequire):
            conditions.append(step.condition)
        values = [v.value for c in conditions for v in c.bindings.values()]
        if isinstance(step, FlatDo):
            values += [v.value for v in step.values.values()]
        found |= {value.name for value in values if isinstance(value, Ref)}
    return found


# steps ------------------------------------------------------------------------------------------
@dataclass
class _Steps:
    """Writes steps; says of each primitive once what it does."""

    streams: Mapping[str, str]

    def __post_init__(self) -> None:
        self._said: set[str] = set()
        self._ids: set[str] = set()

    def lines(self, steps: Sequence[FlatStep], depth: int, indent: int) -> list[str]:
        """Return the lines of steps whose first `depth` conditions are written already."""
        lines: list[str] = []
        at = 0
        while at < len(steps):
            step = steps[at]
            if len(step.when) <= depth:
                lines += self._one(step, indent)
                at += 1
                continue
            condition = step.when[depth]
            end = at
            while end < len(steps) and _within(steps[end], depth, condition.block):
                end += 1
            pad = " " * indent
            text = _spelled(condition, self.streams)
            lines += [f"{pad}- when: {yamltext.scalar(text)}", f"{pad}  steps:"]
            lines += self.lines(steps[at:end], depth + 1, indent + 4)
            at = end
        return lines

    def _one(self, step: FlatStep, indent: int) -> Iterator[str]:
        match step:
            case FlatCopy():
                copied = {"do": "copyInputs"} | self._from_to(step.source, (step.target,))
                yield from item(copied, indent)
            case FlatRequire():
                text = _spelled(step.condition, self.streams)
                yield from item({"require": text, "because": step.because}, indent)
            case FlatDo():
                name = str(step.primitive.value)
                if name not in self._said:
                    self._said.add(name)
                    yield from comment(find(name).summary, indent)
                yield from item(self._do(step, name), indent)
            case _:
                assert_never(step)

    def _do(self, step: FlatDo, name: str) -> dict[str, Any]:
        made: dict[str, Any] = {"do": name}
        if step.id is not None:
            new = step.id
            while new in self._ids:
                new += "_again"
            self._ids.add(new)
            made["id"] = new
        made |= self._from_to(step.source, step.targets)
        if step.values:
            made["with"] = {
                key: f"${value.value.name}" if isinstance(value.value, Ref) else value.value
                for key, value in step.values.items()
            }
        if step.write is not None:
            made["write"] = _write(step.write)
        if step.skip:
            made["skip"] = True
        return made

    def _from_to(self, source: str, targets: Sequence[str]) -> dict[str, Any]:
        source = self.streams.get(source, source)
        targets = [self.streams.get(target, target) for target in targets]
        made: dict[str, Any] = {}
        if source != "main":
            made["from"] = source
        if targets != ["main"]:
            made["to"] = targets[0] if len(targets) == 1 else targets
        return made


def _within(step: FlatStep, depth: int, block: int) -> bool:
    return len(step.when) > depth and step.when[depth].block == block


def _write(write: Write) -> Any:
    given = write.model_dump(exclude_none=True)
    return given or True
