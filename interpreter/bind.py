"""Recipe + registry -> steps in which every name, value and stream is resolved.

Nothing is read but the recipe. All problems are collected and raised together. What depends on
the input frames is decided in `f2yaml.interpreter.planning`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from f2yaml.interpreter.errors import Problem, RecipeError
from f2yaml.interpreter.plan import (
    BoundStep,
    CallStep,
    PassStep,
    RequireStep,
    Setting,
)
from f2yaml.interpreter.registry import (
    AnyPrimitive,
    BetweenStreams,
    Params,
    find,
)
from f2yaml.interpreter.settings import Override, convert, convert_parameter
from f2yaml.schema.base import Fault
from f2yaml.schema.compose import Condition, FlatCopy, FlatDo, FlatRecipe, FlatRequire, Ref
from f2yaml.schema.predicate import evaluate, names
from f2yaml.schema.problems import did_you_mean
from f2yaml.schema.recipe import Write
from pydantic import ValidationError

SKIP, WRITE = "skip_primitive", "write_outputs"


@dataclass
class Binder:
    """Binds one recipe; `problems` collects what is wrong.

    Parameters
    ----------
    recipe : FlatRecipe
    overrides : sequence of Override
        Settings of ``-p``; they win over the recipe.
    arguments : mapping of str to str
        Texts of ``--param``.
    left_out : dict
        Steps that are left out, and why.
    block : bool
        The recipe is a part of others, which fill the streams that it reads.
    """

    recipe: FlatRecipe
    overrides: Sequence[Override] = ()
    arguments: Mapping[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    parameters: dict[str, Setting] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    block: bool = False
    _used: set[Override] = field(default_factory=set)

    def bind(self) -> tuple[BoundStep, ...]:
        """Return the steps with all names and values resolved; resources are still to be found.

        Raises
        ------
        RecipeError
            All problems of the recipe, its parameters and the settings given.
        """
        self._recipe_parameters()
        steps: list[BoundStep] = []
        number = 0
        for flat in self.recipe.steps:
            kept = self._static(flat.when)
            if kept is None:
                continue
            match flat:
                case FlatCopy():
                    steps.append(PassStep(source=flat.source, target=flat.target, conditions=kept))
                case FlatRequire():
                    steps.append(
                        RequireStep(condition=flat.condition, because=flat.because, conditions=kept)
                    )
                case FlatDo():
                    bound = self._call(flat, number + 1, kept)
                    number += isinstance(bound, CallStep)
                    if bound is not None:
                        steps.append(bound)
        self._unused_overrides()
        self._check_streams(steps)
        if self.problems:
            raise RecipeError(problems=dict.fromkeys(self.problems))
        return tuple(steps)

    # parameters -----------------------------------------------------------------------------
    def _recipe_parameters(self) -> None:
        for name, parameter in self.recipe.parameters.items():
            self.parameters[name] = Setting(parameter.default, "default")
        for name, text in self.arguments.items():
            wanted = self.recipe.parameters.get(name)
            if wanted is None:
                known = ", ".join(f"`{n}`" for n in self.recipe.parameters) or "none"
                self.problems.append(
                    Problem(
                        f"--param {name}={text}: recipe {self.recipe.name} has no parameter "
                        f"`{name}`",
                        f"its parameters are {known}",
                        did_you_mean(name, self.recipe.parameters)
                        or "`-p step:name=value` sets a parameter of a step",
                    )
                )
                continue
            try:
                self.parameters[name] = Setting(convert_parameter(text, wanted), "--param")
            except Fault as fault:
                what = f"--param {name}={text}: {fault.what}"
                self.problems.append(Problem(what, fault.why, fault.fix))

    def _static(self, conditions: Sequence[Condition]) -> tuple[Condition, ...] | None:
        """Return the conditions that depend on frames, None if one without frames is false."""
        kept = []
        for condition in conditions:
            if any(name.startswith("count:") for name in names(condition.expr)):
                kept.append(condition)
            elif not evaluate(condition.expr, partial(self._lookup, condition)):
                return None
        return tuple(kept)

    def _lookup(self, condition: Condition, name: str) -> object:
        value = condition.bindings[name.removeprefix("$")].value
        return self.parameters[value.name].value if isinstance(value, Ref) else value

    # steps ----------------------------------------------------------------------------------
    def _call(
        self, flat: FlatDo, number: int, conditions: tuple[Condition, ...]
    ) -> CallStep | PassStep | None:
        try:
            primitive = find(_name(flat))
        except RecipeError as error:
            self.problems += [replace(p, where=flat.primitive.place) for p in error.problems]
            return None
        settings = self._settings(flat, primitive)
        skip, write = flat.skip, flat.write
        for override in self._matching(flat):
            if override.name == SKIP:
                skip = self._boolean(override)
            elif override.name == WRITE:
                write = Write() if self._boolean(override) else None
        if skip:
            self.left_out.setdefault(primitive.name, "skip_primitive asks")
            return passed(primitive, flat.source, flat.targets, conditions)
        params = self._params(primitive, settings, flat)
        targets = self._targets(flat, primitive)
        if params is None or targets is None:
            return None
        return CallStep(
            number=number,
            primitive=primitive,
            params=params,
            settings=settings,
            source=flat.source,
            targets=targets,
            resources={},
            write=write,
            conditions=conditions,
            place=flat.place,
            id=flat.id,
        )

    def _matching(self, flat: FlatDo) -> list[Override]:
        found = [o for o in self.overrides if o.step in (None, _name(flat), flat.id)]
        exact = [o for o in found if o.step is not None]
        special = [o for o in exact if o.name in (SKIP, WRITE)]
        self._used.update(special)
        return found

    def _settings(self, flat: FlatDo, primitive: AnyPrimitive) -> dict[str, Setting]:
        fields = primitive.params.model_fields
        settings = {
            name: Setting(info.get_default(call_default_factory=True), "default")
            for name, info in fields.items()
            if not info.is_required()
        }
        for name, value in flat.values.items():
            if name not in fields:
                self.problems.append(_unknown(name, primitive, value.key or value.place))
                continue
            inner = value.value
            if isinstance(inner, Ref):
                given = self.parameters[inner.name]
                origin = value.origin if given.origin == "default" else given.origin
                settings[name] = Setting(given.value, origin, value.place)
            else:
                settings[name] = Setting(inner, value.origin, value.place)
        ordered = sorted(self._matching(flat), key=lambda o: o.step is not None)
        for override in ordered:
            if override.name in (SKIP, WRITE) or override.name not in fields:
                continue
            self._used.add(override)
            try:
                value = convert(override.text, fields[override.name])
            except ValueError as error:
                self._bad_value(override, primitive, str(error))
                continue
            settings[override.name] = Setting(value, "-p")
        return settings

    def _bad_value(self, override: Override, primitive: AnyPrimitive, reason: str) -> None:
        info = primitive.params.model_fields[override.name]
        problem = Problem(
            f"{override}: {reason[:1].lower()}{reason[1:]}",
            f"`{override.name}` of {primitive.name} is {info.description}",
            f"its default is {info.get_default()!r}; `f2yaml show {primitive.name}` has all",
        )
        if problem not in self.problems:
            self.problems.append(problem)

    def _boolean(self, override: Override) -> bool:
        words = {"true": True, "false": False}
        if override.text.lower() not in words:
            self.problems.append(
                Problem(f"{override}: it is neither True nor False", "", "write True or False")
            )
        return words.get(override.text.lower(), False)

    def _params(
        self, primitive: AnyPrimitive, settings: Mapping[str, Setting], flat: FlatDo
    ) -> Params | None:
        try:
            return primitive.params(**{name: s.value for name, s in settings.items()})
        except ValidationError as error:
            for fault in error.errors():
                name = str(fault["loc"][0]) if fault["loc"] else ""
                setting = settings.get(name)
                info = primitive.params.model_fields.get(name)
                whose = f"`{name}` of {primitive.name}" if name else primitive.name
                what = f"{whose}: {fault['msg'][:1].lower()}{fault['msg'][1:]}"
                if setting is not None:
                    what += f", got {setting.value!r}"
                self.problems.append(
                    Problem(
                        what,
                        f"it is {info.description}" if info else "",
                        f"`f2yaml show {primitive.name}` lists types and bounds",
                        setting.place if setting and setting.place else flat.place,
                    )
                )
            return None

    def _targets(self, flat: FlatDo, primitive: AnyPrimitive) -> tuple[str, ...] | None:
        if isinstance(primitive, BetweenStreams) and primitive.fills == ("from",):
            return (flat.source,)
        wanted = len(primitive.fills) if isinstance(primitive, BetweenStreams) else 1
        if len(flat.targets) == wanted:
            return flat.targets
        self.problems.append(
            Problem(
                f"{primitive.name} fills {wanted} stream{'s' if wanted > 1 else ''}, `to` names "
                f"{len(flat.targets)}",
                "each stream that a step makes needs a name",
                f"write `to: [{', '.join(primitive.fills)}]`"
                if isinstance(primitive, BetweenStreams) and wanted > 1
                else "write one stream name after `to`",
                flat.place,
            )
        )
        return None

    # checks over all steps ------------------------------------------------------------------
    def _unused_overrides(self) -> None:
        steps = [s for s in self.recipe.steps if isinstance(s, FlatDo)]
        known = {_name(s) for s in steps} | {s.id for s in steps if s.id}
        for override in self.overrides:
            if override in self._used:
                continue
            if any(str(override) in p.what for p in self.problems):
                continue
            if override.step is not None and override.step not in known:
                problem = Problem(
                    f"{override}: recipe {self.recipe.name} has no step `{override.step}`",
                    "the setting would have no effect",
                    did_you_mean(override.step, known)
                    or f"its steps are {', '.join(sorted(known))}",
                )
            elif override.step is None and override.name in (SKIP, WRITE):
                problem = Problem(
                    f"{override} names no step",
                    "it would mean every step of the recipe",
                    f"write -p STEP:{override.name}={override.text}",
                )
            else:
                owners = [s for s in steps if override.step in (None, _name(s), s.id)]
                fields: set[str] = {SKIP, WRITE}
                for step in owners:
                    try:
                        fields |= set(find(_name(step)).params.model_fields)
                    except RecipeError:
                        continue  # an unknown primitive is reported where it stands
                target = override.step or "no step of the recipe"
                verb = "has no parameter" if override.step else "has a parameter"
                problem = Problem(
                    f"{override}: {target} {verb} `{override.name}`",
                    "unknown names are refused, so that a typo cannot change the science unnoticed",
                    did_you_mean(override.name, fields) or "`f2yaml show NAME` lists parameters",
                )
            self.problems.append(problem)

    def _check_streams(self, steps: Sequence[BoundStep]) -> None:
        filled, cleared = {"main"}, set[str]()
        for step in steps:
            if isinstance(step, RequireStep):
                continue
            if isinstance(step, PassStep):
                filled.add(step.target)
                continue
            primitive = step.primitive
            read = [step.source]
            if isinstance(primitive, BetweenStreams):
                read += primitive.reads
                read += step.targets[:1] if primitive.updates else ()
            for stream in read:
                if stream not in filled and not (self.block and stream not in cleared):
                    state = "was cleared" if stream in cleared else "has not been filled"
                    self.problems.append(
                        Problem(
                            f"{primitive.name} reads the stream `{stream}`, which {state}",
                            "it would work on no frames",
                            did_you_mean(stream, filled)
                            or f"filled here: {', '.join(sorted(filled))}",
                            step.place,
                        )
                    )
            if primitive.name == "clearStream":
                filled.discard(step.source)
                cleared.add(step.source)
            else:
                filled.update(step.targets)
                cleared.difference_update(step.targets)
        for stream in self.recipe.outputs:
            if stream not in filled:
                self.problems.append(
                    Problem(
                        f"outputs name the stream `{stream}`, which no step leaves filled",
                        "nothing would be written",
                        did_you_mean(stream, filled) or "name a stream that a step fills",
                    )
                )


def passed(
    primitive: AnyPrimitive,
    source: str,
    targets: Sequence[str],
    conditions: tuple[Condition, ...],
) -> PassStep | None:
    """Return what stands in for a step that is left out: its frames pass unchanged."""
    if isinstance(primitive, BetweenStreams) and (primitive.updates or primitive.fills != ("to",)):
        return None
    if len(targets) != 1 or targets[0] == source:
        return None
    return PassStep(source=source, target=targets[0], conditions=conditions)


def _name(flat: FlatDo) -> str:
    """Return the name of the primitive of a step."""
    return str(flat.primitive.value)


def _unknown(name: str, primitive: AnyPrimitive, place: Any) -> Problem:
    fields = primitive.params.model_fields
    listed = f"(`f2yaml show {primitive.name}` lists all {len(fields)})"
    guess = did_you_mean(name, fields)
    return Problem(
        f"{primitive.name} has no parameter `{name}`",
        "unknown names are refused, so that a typo cannot change the science unnoticed",
        f"{guess} {listed}" if guess else f"`f2yaml show {primitive.name}` lists its parameters",
        place,
    )


def bind_recipe(
    recipe: FlatRecipe,
    overrides: Sequence[Override] = (),
    arguments: Mapping[str, str] | None = None,
) -> tuple[BoundStep, ...]:
    """Check a recipe without inputs; returns its steps.

    Recipes in a folder called ``base`` are building blocks, which may read streams of others.
    """
    block = recipe.path.parent.name == "base"
    return Binder(recipe, overrides, arguments or {}, block=block).bind()
