"""Recipe + registry -> steps in which every name, value and stream is resolved.

Nothing is read but the recipe. All problems are collected and raised together. What depends on
the input frames is decided in `f2yaml.interpreter.planning`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
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
    primitives,
)
from f2yaml.interpreter.settings import Override, convert, convert_parameter, convert_value
from f2yaml.interpreter.streams import Move, stream_problems
from f2yaml.schema.base import Fault
from f2yaml.schema.compose import Condition, FlatCopy, FlatDo, FlatRecipe, FlatRequire, Ref
from f2yaml.schema.flat import Unknown
from f2yaml.schema.predicate import evaluate, names
from f2yaml.schema.problems import Place, RequestError, did_you_mean
from f2yaml.schema.recipe import Write
from f2yaml.schema.wording import explain
from pydantic import ValidationError
from pydantic_core import ErrorDetails

#: Primitives of DRAGONS that have none of their name here, and what does their work.
ELSEWHERE = {
    **dict.fromkeys(
        ("validateData", "standardizeStructure", "standardizeHeaders", "standardizeWCS"),
        "prepare does it",
    ),
    **dict.fromkeys(
        ("storeProcessedDark", "storeProcessedFlat", "storeBPM", "storeProcessedScience"),
        "declare it under `outputs`, as in `main: {suffix: _dark, store: processed_dark}`",
    ),
    **dict.fromkeys(
        ("getProcessedDark", "getProcessedFlat", "getBPM"),
        "the step that needs it, such as darkCorrect, asks the database itself",
    ),
    "writeOutputs": "declare it under `outputs`, or give the step before it `write: true`",
    "stackFlats": "makeLampFlat stacks flats",
    "lampOnLampOff": "makeLampFlat does it",
    "showInputs": "`f2yaml plan` shows the frames of every stream",
}

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
    assumed : mapping of str to object, optional
        Values of parameters for a look at one of the ways a recipe may go. They decide conditions
        only: as values of steps they are not checked.
    used : set of Override
        Settings that a step takes, whether or not their values are right; known after `bind`.
    """

    recipe: FlatRecipe
    overrides: Sequence[Override] = ()
    arguments: Mapping[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    parameters: dict[str, Setting] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    block: bool = False
    assumed: Mapping[str, object] | None = None
    used: set[Override] = field(default_factory=set)
    _moves: list[Move] = field(default_factory=list)

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
                if isinstance(flat, FlatDo):  # with other parameters it may run
                    self._call(flat, 0, (), taken=False)
                continue
            match flat:
                case FlatCopy():
                    steps.append(PassStep(source=flat.source, target=flat.target, conditions=kept))
                    self._moves.append(Move(None, flat.source, (flat.target,), flat.place, kept))
                case FlatRequire():
                    asked = (*kept, flat.condition)
                    self._moves.append(Move(None, "", (), flat.place, asked))
                    steps.append(
                        RequireStep(condition=flat.condition, because=flat.because, conditions=kept)
                    )
                case FlatDo():
                    bound = self._call(flat, number + 1, kept)
                    number += isinstance(bound, CallStep)
                    if bound is not None:
                        steps.append(bound)
        self._unused_overrides()
        if self.recipe.complete:
            outputs = {name: self.recipe.output_places.get(name) for name in self.recipe.outputs}
            self.problems += stream_problems(self._moves, outputs, block=self.block)
        if self.problems:
            raise RecipeError(problems=dict.fromkeys(self.problems))
        return tuple(steps)

    # parameters -----------------------------------------------------------------------------
    def _recipe_parameters(self) -> None:
        for name, parameter in self.recipe.parameters.items():
            value = (self.assumed or {}).get(name, parameter.default)
            self.parameters[name] = Setting(value, "default")
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
                what = f"--param {name}={text}: `{name}` {fault.what}"
                self.problems.append(Problem(what, fault.why, fault.fix))

    def _static(self, conditions: Sequence[Condition]) -> tuple[Condition, ...] | None:
        """Return the conditions that depend on frames, None if one without frames is false."""
        kept = []
        for condition in conditions:
            unknown = any(isinstance(v.value, Unknown) for v in condition.bindings.values())
            if unknown or any(name.startswith("count:") for name in names(condition.expr)):
                kept.append(condition)
                continue
            try:
                if not evaluate(condition.expr, partial(self._lookup, condition)):
                    return None
            except RequestError as error:
                self.problems += [replace(p, where=condition.place) for p in error.problems]
                kept.append(condition)
        return tuple(kept)

    def _lookup(self, condition: Condition, name: str) -> object:
        value = condition.bindings[name.removeprefix("$")].value
        return self.parameters[value.name].value if isinstance(value, Ref) else value

    # steps ----------------------------------------------------------------------------------
    def _call(
        self,
        flat: FlatDo,
        number: int,
        conditions: tuple[Condition, ...],
        *,
        taken: bool = True,
    ) -> CallStep | PassStep | None:
        """Return a step, None if there is nothing to do or it is faulty.

        One that is not `taken` is only checked, but for the values of the recipe's parameters.
        """
        try:
            primitive = find(_name(flat))
        except RecipeError as error:
            also = _included(flat)
            known = ELSEWHERE.get(_name(flat))
            self.problems += [
                replace(p, fix=known or p.fix, where=flat.primitive.place, also=also)
                for p in error.problems
            ]
            if taken:
                self._moves.append(Move(None, "", flat.targets, flat.place, ()))
            return None
        settings = self._settings(flat, primitive)
        skip, write = flat.skip, flat.write
        for override in self._matching(flat):
            if override.name == SKIP:
                skip = self._boolean(override)
            elif override.name == WRITE:
                write = Write() if self._boolean(override) else None
        if skip and taken:
            self.left_out.setdefault(primitive.name, "skip_primitive asks")
            instead = passed(primitive, flat.source, flat.targets, conditions)
            if instead is not None:
                move = Move(None, instead.source, (instead.target,), flat.place, conditions)
                self._moves.append(move)
            return instead
        params = self._params(primitive, settings, flat, taken=taken)
        targets = self._targets(flat, primitive)
        if taken:
            filled = flat.targets if targets is None else targets
            self._moves.append(Move(primitive, flat.source, filled, flat.place, conditions))
        if params is None or targets is None or not taken:
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
        self.used.update(special)
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
                where = value.key or value.place
                problem = unknown_parameter(name, primitive, where)
                self.problems.append(replace(problem, also=_included(flat)))
                continue
            inner = value.value
            if isinstance(inner, Ref):
                given = self.parameters[inner.name]
                origin = value.origin if given.origin == "default" else given.origin
                settings[name] = Setting(given.value, origin, value.place, inner.name)
            else:
                settings[name] = Setting(inner, value.origin, value.place)
        ordered = sorted(self._matching(flat), key=lambda o: o.step is not None)
        for override in ordered:
            if override.name in (SKIP, WRITE) or override.name not in fields:
                continue
            self.used.add(override)
            try:
                value = convert(override.text, fields[override.name])
            except Fault as fault:
                self._bad_value(override, primitive, fault)
                continue
            settings[override.name] = Setting(value, "-p")
        return settings

    def _bad_value(self, override: Override, primitive: AnyPrimitive, fault: Fault) -> None:
        info = primitive.params.model_fields[override.name]
        problem = Problem(
            f"{override}: `{override.name}` of {primitive.name} {fault.what}",
            _reason(fault.why, override.name, info.description),
            f"{fault.fix}; its default is {yaml_value(info.get_default())}"
            f" (`f2yaml show {primitive.name}` has all)",
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
        self,
        primitive: AnyPrimitive,
        settings: Mapping[str, Setting],
        flat: FlatDo,
        *,
        taken: bool,
    ) -> Params | None:
        unknown = {n for n, s in settings.items() if isinstance(s.value, Unknown)}
        if not taken or self.assumed is not None:
            unknown |= {n for n, s in settings.items() if s.parameter}
        try:
            known = {n: s.value for n, s in settings.items() if n not in unknown}
            return primitive.params(**known)
        except ValidationError as error:
            for fault in error.errors(include_url=False):
                name = str(fault["loc"][0]) if fault["loc"] else ""
                if name not in unknown and (name or not unknown):
                    self.problems.append(self._bad_setting(fault, primitive, settings, flat))
            return None

    def _bad_setting(
        self,
        fault: ErrorDetails,
        primitive: AnyPrimitive,
        settings: Mapping[str, Setting],
        flat: FlatDo,
    ) -> Problem:
        """Return the problem of a value: where it is written, and where it is used."""
        name = str(fault["loc"][0]) if fault["loc"] else ""
        setting, info = settings.get(name), primitive.params.model_fields.get(name)
        whose = f"`{name}` of {primitive.name}" if name else primitive.name
        if name and len(fault["loc"]) > 1:
            whose = f"an entry of {whose}"
        if fault["type"] == "missing":
            what, why = f"{primitive.name} lacks `{name}`", "it has no default"
            fix = f"write `with: {{{name}: ...}}`"
        else:
            what, why, fix = explain(whose, fault)
        if setting is not None and setting.origin == "--param":
            what = f"--param {setting.parameter}={self.arguments[setting.parameter]}: {what}"
        where, also = self._places(flat, name, setting)
        return Problem(what, _reason(why, name, info and info.description), fix, where, also)

    def _places(
        self, flat: FlatDo, name: str, setting: Setting | None
    ) -> tuple[Place, tuple[tuple[str, Place], ...]]:
        """Return where a value is written, and the other places that have a part in it."""
        value = flat.values.get(name)
        if value is None or setting is None or setting.origin == "-p":
            return flat.place, _included(flat)
        places = [p for p in (value.place, value.used) if p is not None]
        if setting.parameter and setting.origin != "--param":
            default = self.recipe.default_places.get(setting.parameter)
            places[:0] = [default] if default is not None else []
        if value.origin == "override":
            return places[0], (("the step is at", flat.place),)
        also = tuple(("used at", place) for place in places[1:])
        return places[0], (*also, *(_included(flat) if not also else ()))

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
                _included(flat),
            )
        )
        return None

    # checks over all steps ------------------------------------------------------------------
    def _unused_overrides(self) -> None:
        steps = [s for s in self.recipe.steps if isinstance(s, FlatDo)]
        for override in self.overrides:
            told = any(str(override) in p.what for p in self.problems)
            if override not in self.used and not told:
                self.problems.append(unused(override, steps, [self.recipe.name]))


def unused(override: Override, steps: Iterable[FlatDo], recipes: Sequence[str]) -> Problem:
    """Return the problem of a setting that none of the steps takes; recipes are named."""
    steps, several = list(steps), len(recipes) > 1
    known = {_name(s) for s in steps} | {s.id for s in steps if s.id}
    if override.step is not None and override.step not in known:
        whose = f"recipes {', '.join(recipes)} have" if several else f"recipe {recipes[0]} has"
        return Problem(
            f"{override}: {whose} no step `{override.step}`",
            "the setting would have no effect",
            did_you_mean(override.step, known)
            or f"{'their' if several else 'its'} steps are {', '.join(sorted(known))}",
        )
    if override.step is None and override.name in (SKIP, WRITE):
        return Problem(
            f"{override} names no step",
            "it would mean every step of the recipe",
            f"write -p STEP:{override.name}={override.text}",
        )
    fields: set[str] = {SKIP, WRITE}
    for step in steps:
        if override.step in (None, _name(step), step.id):
            with suppress(RecipeError):  # an unknown primitive is reported where it stands
                fields |= set(find(_name(step)).params.model_fields)
    target = override.step or f"no step of the recipe{'s' if several else ''}"
    verb = "has no parameter" if override.step else "has a parameter"
    return Problem(
        f"{override}: {target} {verb} `{override.name}`",
        "unknown names are refused, so that a typo cannot change the science unnoticed",
        _meant(override.name, fields),
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


def _meant(name: str, fields: Iterable[str]) -> str:
    """Return what to do about a name on the command line that no step takes."""
    for word in (SKIP, WRITE):
        if name and word.startswith(f"{name}_"):  # as the keys of YAML are called
            return f"on the command line it is called `{word}`"
    step, dot, rest = name.partition(".")
    if dot:
        return f"a colon parts step and name: -p {step}:{rest}=..."
    return did_you_mean(name, fields) or "`f2yaml show NAME` lists parameters"


def _name(flat: FlatDo) -> str:
    """Return the name of the primitive of a step."""
    return str(flat.primitive.value)


def _included(flat: FlatDo) -> tuple[tuple[str, Place], ...]:
    """Return where the file of a step is included, the innermost place first."""
    return tuple(("included at", place) for place in reversed(flat.trail))


def _reason(why: str, name: str, description: str | None) -> str:
    return f"{why}; `{name}`: {description}" if name and description else why


def yaml_value(value: object) -> str:
    """Return a value as YAML spells it."""
    words = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else str(value)


def value_problem(primitive: AnyPrimitive, name: str, value: object, place: Place) -> Problem:
    """Return the problem of a value that a parameter of a primitive does not take."""
    field = primitive.params.model_fields[name]
    try:
        convert_value(value, field)
    except Fault as fault:
        what = f"`{name}` of {primitive.name} {fault.what}"
        return Problem(what, _reason(fault.why, name, field.description), fault.fix, place)
    raise AssertionError(f"{name} takes {value!r}")


def unknown_parameter(name: str, primitive: AnyPrimitive, place: Any) -> Problem:
    """Return the problem of a name that is no parameter of a primitive."""
    fields = primitive.params.model_fields
    listed = f"(`f2yaml show {primitive.name}` lists all {len(fields)})"
    guess = did_you_mean(name, fields)
    owners = [p.name for p in primitives() if name in p.params.model_fields]
    if guess:
        fix = f"{guess} {listed}"
    elif owners:
        fix = f"it is a parameter of {', '.join(owners[:4])} {listed}"
    else:
        fix = f"`f2yaml show {primitive.name}` lists its parameters"
    return Problem(
        f"{primitive.name} has no parameter `{name}`",
        "unknown names are refused, so that a typo cannot change the science unnoticed",
        fix,
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
