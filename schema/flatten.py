"""Turn the documents of a recipe into one list of steps."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, assert_never

from f2yaml.schema.base import Fault
from f2yaml.schema.expr_reader import Reader
from f2yaml.schema.flat import (
    UNKNOWN,
    Condition,
    FlatCopy,
    FlatDo,
    FlatRecipe,
    FlatRequire,
    Origin,
    Ref,
    Unknown,
    Value,
)
from f2yaml.schema.library import Document, Library
from f2yaml.schema.predicate import Count, Name, Operand, Param, lone_operands, parse, transform
from f2yaml.schema.problems import Place, Problem, RecipeError, did_you_mean
from f2yaml.schema.recipe import Do, Include, Insert, Override, Parameter, Require, Step, When
from f2yaml.schema.scope import Context, Item, Scope, is_reference, leaves, locator
from f2yaml.schema.source import KeyPath
from f2yaml.schema.text import printable

MAX_NESTING = 20
MAX_STEPS = 2000

_REF = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)", re.ASCII)


class Flattener:
    """Flattens one recipe; problems go to the library's list."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.top: Scope | None = None
        self.complete = True
        self._steps = 0
        self._streams = 0
        self._blocks = 0

    def recipe(self, document: Document) -> FlatRecipe | None:
        """Return the flat recipe; None when problems made that impossible."""
        chain = self._chain(document, ())
        scope = self._scope(chain, None)
        self.top = scope
        try:
            items = self._expand(scope, "recipe", "main", (), (), ())
        except RecipeError as error:
            self.library.problems += error.problems
            return None
        self._check_ids(items)
        if not items and self.complete:
            self._problem(
                "the recipe has no steps",
                "there is nothing to do",
                "add `steps:`, or `extends:` a recipe that has some",
                document.source.place(()),
            )
        own = document.recipe
        outputs_from = self._giver(chain, "outputs")
        applies_from = self._giver(chain, "applies_to")
        outputs = outputs_from.recipe.outputs if outputs_from else {}
        return FlatRecipe(
            name=own.name,
            doc=next((d.recipe.doc for d in reversed(chain) if d.recipe.doc), ""),
            path=document.path,
            parameters=scope.parameters,
            steps=tuple(item.step for item in items),
            outputs=outputs,
            applies_to=applies_from.recipe.applies_to if applies_from else None,
            files=tuple(self.library.documents),
            parameter_places=scope.places,
            default_places=scope.defaults,
            output_places={
                name: outputs_from.source.place(("outputs", name), key=True) for name in outputs
            }
            if outputs_from
            else {},
            locate=locator(document, outputs_from, applies_from),
            complete=self.complete,
            declares_outputs=outputs_from is not None or scope.lacks("outputs"),
        )

    # --- documents and parameters -------------------------------------------------------------

    def _problem(
        self, what: str, why: str, fix: str, where: Place, *also: tuple[str, Place]
    ) -> None:
        self.library.problems.append(Problem(what, why, fix, where, also))

    @staticmethod
    def _giver(chain: list[Document], key: str) -> Document | None:
        return next((d for d in reversed(chain) if key in d.recipe.model_fields_set), None)

    def _open(
        self, ref: str, by: Document, where: Place, stack: tuple[Path, ...]
    ) -> Document | None:
        """Return the document that a file includes or extends; None notes a problem."""
        path = self.library.resolve(ref, by.path, where)
        if path is None:
            self.complete = False
            return None
        if path in stack or len(stack) >= MAX_NESTING:
            self.complete = False
        if path in stack:
            names = " -> ".join(p.name for p in (*stack[stack.index(path) :], path))
            self._problem(
                f"`{printable(ref)}` leads back to itself",
                f"the recipe would never end: {names}",
                "remove one of these references",
                where,
            )
            return None
        if len(stack) >= MAX_NESTING:
            self._problem(
                f"more than {MAX_NESTING} files inside each other",
                "such a recipe cannot be read",
                "use fewer levels",
                where,
            )
            return None
        known = len(self.library.problems)
        document = self.library.read(path)
        self.library.problems[known:] = [
            replace(problem, also=(*problem.also, ("named at", where)))
            for problem in self.library.problems[known:]
        ]
        if document is None:
            self.complete = False
        return document

    def _chain(self, document: Document, stack: tuple[Path, ...]) -> list[Document]:
        """Return a document and those it extends, the most basic first."""
        chain = [document]
        stack = (*stack, document.path)
        while chain[0].recipe.extends is not None:
            first = chain[0]
            where = first.source.place(("extends",))
            base = self._open(str(first.recipe.extends), first, where, stack)
            if base is None:
                break
            chain.insert(0, base)
            stack = (*stack, base.path)
        return chain

    def _scope(self, chain: list[Document], given: dict[str, Value] | None) -> Scope:
        parameters: dict[str, Parameter] = {}
        places: dict[str, Place] = {}
        defaults: dict[str, Place] = {}
        for document in chain:
            for name, parameter in document.recipe.parameters.items():
                path = ("parameters", name, "default")
                known = parameters.get(name)
                if known is not None:
                    changed = {key: getattr(parameter, key) for key in parameter.model_fields_set}
                    parameter = known.model_copy(update=changed)
                places[name] = document.source.place(path[:2], key=True)
                defaults[name] = document.source.place(path)
                try:
                    value = parameter.convert(parameter.default)
                except Fault as fault:
                    what = f"the default {fault.what}"
                    self._problem(what, fault.why, fault.fix, document.source.place(path))
                    value = parameter.default
                parameters[name] = parameter.model_copy(update={"default": value})
                if given is not None and name not in given:
                    given[name] = Value(value, document.source.place(path), "default")
        return Scope(chain, parameters, places, defaults, given)

    def _check_used(self, scope: Scope) -> None:
        if not self.complete:
            return
        inherited = {name for part in scope.chain[:-1] for name in part.recipe.parameters}
        for name in scope.parameters:
            if name not in scope.used:
                fix = f"refer to it as `${name}` in a step, or remove it"
                if inherited and name not in inherited:
                    listed = ", ".join(sorted(inherited))
                    fix = did_you_mean(name, inherited) or (
                        f"{scope.chain[-1].recipe.extends} has {listed}; what is a parameter of a "
                        f"step goes under `override`, as `STEP: {{with: {{{name}: ...}}}}`"
                    )
                self._problem(
                    f"parameter `{name}` is not used",
                    "setting it would change nothing",
                    fix,
                    scope.places[name],
                )

    # --- values -------------------------------------------------------------------------------

    def _resolve(self, value: object, place: Place, context: Context, origin: Origin) -> Value:
        """Return a value with a reference replaced by what it stands for here."""
        if isinstance(value, str) and value.startswith("$"):
            found = _REF.fullmatch(value)
            if found is None:
                self._problem(
                    f"`{printable(value)}` is not a reference",
                    "a reference is the whole value: a dollar sign and the name of a parameter",
                    "write `$name`, without braces",
                    place,
                )
                return Value(UNKNOWN, place, origin)
            return self._lookup(found[1], place, context, origin)
        if isinstance(value, list | dict) and any(map(is_reference, leaves(value))):
            context.scope.used.update(str(v)[1:] for v in leaves(value) if is_reference(v))
            self._problem(
                "a reference inside a list or mapping",
                "a reference is the whole value, so that it keeps its type",
                "write the values out, or make the whole value a parameter",
                place,
            )
            return Value(UNKNOWN, place, origin)
        return Value(value, place, origin)

    def _lookup(self, name: str, place: Place, context: Context, origin: Origin) -> Value:
        scope = context.scope
        if name not in scope.parameters:
            if scope.lacks("parameters"):
                return Value(UNKNOWN, place, origin)
            known = ", ".join(f"${known}" for known in scope.parameters)
            self._problem(
                f"`${name}` is not a parameter of this recipe",
                f"its parameters are {known}" if known else "it has no parameters",
                did_you_mean(name, scope.parameters) or f"add `{name}` under `parameters`",
                place,
            )
            return Value(UNKNOWN, place, origin)
        scope.used.add(name)
        if scope.given is None:
            return Value(Ref(name), place, origin)
        return scope.given[name]

    def _values(
        self, values: Mapping[str, Any], path: KeyPath, context: Context, origin: Origin
    ) -> dict[str, Value]:
        found = {}
        for key, value in values.items():
            place = context.place((*path, key))
            resolved = self._resolve(value, place, context, origin)
            found[key] = replace(
                resolved,
                key=context.place((*path, key), key=True),
                used=place if resolved.place != place else None,
            )
        return found

    def _condition(self, text: str, path: KeyPath, context: Context) -> Condition:
        place = context.place(path)
        bindings: dict[str, Value] = {}

        def change(operand: Operand) -> Operand:
            match operand:
                case Count(stream):
                    return Count(context.stream(stream))
                case Name(name, at) if name in context.scope.parameters:
                    operand = Param(name, at)
            if isinstance(operand, Name | Param):
                width = len(operand.name) + isinstance(operand, Param)
                spot = Reader(text, place).place(operand.at, width)
            if isinstance(operand, Name):
                self._no_such_name(operand.name, context.scope, spot)
                bindings[operand.name] = Value(UNKNOWN, spot, context.origin)
            if isinstance(operand, Param):
                bindings[operand.name] = self._lookup(operand.name, spot, context, context.origin)
            return operand

        tree = parse(text, where=place, known=context.scope.parameters)
        expr = transform(tree, change)
        for operand in lone_operands(expr):
            if isinstance(operand, Param):
                bindings[operand.name] = self._yes_no(bindings[operand.name], operand.name, place)
        self._blocks += 1
        return Condition(expr, bindings, text, place, self._blocks)

    def _no_such_name(self, name: str, scope: Scope, place: Place) -> None:
        if scope.lacks("parameters"):
            return
        self._problem(
            f"`{name}` is not a parameter of this recipe",
            "a condition of a step is about parameters and count(stream)",
            did_you_mean(name, scope.parameters)
            or "ask about frames in `applies_to`, or select them with selectFromInputs",
            place,
        )

    def _yes_no(self, value: Value, name: str, place: Place) -> Value:
        """Return a value that decides by itself; unknown, with a problem, if it cannot."""
        assert self.top is not None
        content = value.value
        if isinstance(content, Ref):
            content = self.top.parameters[content.name].default
        if content is None or isinstance(content, bool | Unknown):
            return value
        self._problem(
            f"`${name}` is neither true nor false",
            f"its value is {content}, and a condition decides between yes and no",
            f"compare it with something, as in `${name} == {content}`",
            place,
        )
        return replace(value, value=UNKNOWN)

    # --- steps --------------------------------------------------------------------------------

    def _expand(
        self,
        scope: Scope,
        origin: Origin,
        main: str,
        when: tuple[Condition, ...],
        trail: tuple[Place, ...],
        stack: tuple[Path, ...],
    ) -> list[Item]:
        """Return the steps of a recipe and of those it extends."""
        items: list[Item] = []
        if scope.lacks("steps", "insert", "override"):
            self.complete = False
        for index, document in enumerate(scope.chain):
            last = document is scope.chain[-1]
            role: Origin = "extends" if origin == "recipe" and not last else origin
            # a recipe may include what it extends, but not the other way round
            inside = (*stack, *(d.path for d in reversed(scope.chain[index:])))
            context = Context(document, scope, role, main, when, trail, inside)
            items += self._flatten(document.recipe.steps, ("steps",), context)
            for key, override in document.recipe.override.items():
                items = self._override(items, key, override, context)
            for number, insert in enumerate(document.recipe.insert):
                items = self._insert(items, insert, ("insert", number), context)
        self._check_used(scope)
        return items

    def _flatten(self, steps: Iterable[Step], path: KeyPath, context: Context) -> list[Item]:
        items: list[Item] = []
        for index, step in enumerate(steps):
            here = (*path, index)
            self._steps += 1
            if self._steps > MAX_STEPS:
                raise RecipeError(
                    f"the recipe has more than {MAX_STEPS} steps",
                    "files that include each other many times grow without limit",
                    "include fewer files",
                    context.place(here),
                )
            match step:
                case Do():
                    items.append(Item(self._do(step, here, context), context))
                case Include():
                    items += self._include(step, here, context)
                case Require():
                    condition = self._condition(step.require, (*here, "require"), context)
                    place = context.place((*here, "require"), key=True)
                    flat = FlatRequire(condition, step.because, place, context.when)
                    items.append(Item(flat, context))
                case When():
                    condition = self._condition(step.when, (*here, "when"), context)
                    inner = replace(context, when=(*context.when, condition))
                    items += self._flatten(step.steps, (*here, "steps"), inner)
                case _:
                    assert_never(step)
        return items

    def _do(self, step: Do, path: KeyPath, context: Context) -> FlatDo:
        place = context.place((*path, "do"))
        return FlatDo(
            primitive=Value(step.do, place, context.origin),
            id=step.id,
            source=context.stream(step.source),
            targets=tuple(map(context.stream, step.targets)),
            values=self._values(step.values, (*path, "with"), context, context.origin),
            write=step.write,
            skip=step.skip,
            when=context.when,
            place=place,
            trail=context.trail,
        )

    def _include(self, step: Include, path: KeyPath, context: Context) -> list[Item]:
        where = context.place((*path, "include"))
        given = self._values(step.values, (*path, "with"), context, context.origin)
        document = self._open(step.include, context.document, where, context.stack)
        if document is None:
            return []
        chain = self._chain(document, context.stack)
        self._check_arguments(given, chain, (*path, "with"), context)
        scope = self._scope(chain, given)
        private = (step.source, step.target) != ("main", "main")
        main = context.main
        if private:
            self._streams += 1
            main = f"main.{self._streams}"
        items = self._expand(
            scope,
            "include",
            main,
            context.when,
            (*context.trail, where),
            context.stack,
        )
        if not private:
            return items
        before = FlatCopy(context.stream(step.source), main, context.when, where)
        after = FlatCopy(main, context.stream(step.target), context.when, where)
        return [Item(before, context), *items, Item(after, context)]

    def _check_arguments(
        self, given: dict[str, Value], chain: list[Document], path: KeyPath, context: Context
    ) -> None:
        """Check the values given to an included recipe; bring them to the types it declares."""
        assert self.top is not None
        known = len(self.library.problems)
        scope = self._scope(chain, None)
        del self.library.problems[known:]  # faults of defaults are noted where they are used
        declared = scope.parameters
        name = chain[-1].recipe.name
        for key, value in list(given.items()):
            if key not in declared:
                if scope.lacks("parameters"):
                    continue
                listed = ", ".join(declared)
                self._problem(
                    f"`{name}` has no parameter `{key}`",
                    f"its parameters are {listed}" if listed else "it has no parameters",
                    did_you_mean(key, declared) or "remove it",
                    context.place((*path, key), key=True),
                )
                continue
            content, where = value.value, value.place
            also = [("declared at", scope.places[key])]
            if isinstance(content, Ref):
                where = self.top.defaults[content.name]
                content = self.top.parameters[content.name].default
            if where != context.place((*path, key)):
                also.insert(0, ("used at", context.place((*path, key))))
            if isinstance(content, Unknown):
                continue
            try:
                converted = declared[key].convert(content)
            except Fault as fault:
                if value.origin != "default":
                    what = f"`{key}` of `{name}` {fault.what}"
                    self._problem(what, fault.why, fault.fix, where, *also)
                    given[key] = replace(value, value=UNKNOWN)
                continue
            if not isinstance(value.value, Ref):
                given[key] = replace(value, value=converted)

    # --- override and insert ------------------------------------------------------------------

    def _find(
        self, items: list[Item], key: str, where: Place, *, several: bool = False
    ) -> list[int]:
        """Return the indices of the steps that an id or a primitive's name means.

        A name that stands for steps on several lines is refused unless `several`.
        """
        does = [(i, item.step) for i, item in enumerate(items) if isinstance(item.step, FlatDo)]
        found = [(i, step) for i, step in does if step.id == key]
        if not found:
            found = [(i, step) for i, step in does if step.primitive.value == key]
        if not found and self.complete:
            known = {step.id for _, step in does if step.id}
            known |= {str(step.primitive.value) for _, step in does}
            self._problem(
                f"no step is named `{key}`",
                "a step is named by its id or by its primitive",
                did_you_mean(key, known) or "known are " + (", ".join(sorted(known)) or "none"),
                where,
            )
        # a step of a file that is included twice is still one step
        places = list(dict.fromkeys(step.place for _, step in found))
        if len(places) > 1 and not several:
            self._problem(
                f"`{key}` names {len(places)} steps",
                "they are at " + ", ".join(map(str, places)),
                "give the one that is meant an `id`, and use that; of a shipped recipe, "
                "`f2yaml new NAME --from RECIPE --flat` writes every step out, to be changed there",
                where,
            )
            return []
        return [i for i, _ in found]

    def _override(
        self, items: list[Item], key: str, override: Override, context: Context
    ) -> list[Item]:
        items = list(items)
        path = ("override", key)
        values = self._values(override.values, (*path, "with"), context, "override")
        for index in self._find(items, key, context.place(path, key=True), several=True):
            step = items[index].step
            assert isinstance(step, FlatDo)
            if override.skip is not None:
                step = replace(step, skip=override.skip)
            if "write" in override.model_fields_set:
                step = replace(step, write=override.write)
            step = replace(step, values={**step.values, **values})
            items[index] = Item(step, items[index].context)
        return items

    def _insert(
        self, items: list[Item], insert: Insert, path: KeyPath, context: Context
    ) -> list[Item]:
        key = "before" if insert.before is not None else "after"
        name = insert.before or insert.after or ""
        where = context.place((*path, key))
        # from the end, so that the indices in front stay true
        for index in reversed(self._find(items, name, where)):
            anchor = items[index].context
            inner = replace(context, main=anchor.main, when=anchor.when, trail=anchor.trail)
            new = self._flatten(insert.steps, (*path, "steps"), inner)
            at = index if key == "before" else index + 1
            items = [*items[:at], *new, *items[at:]]
        return items

    def _check_ids(self, items: list[Item]) -> None:
        first: dict[str, Place] = {}
        for item in items:
            step = item.step
            if not isinstance(step, FlatDo) or step.id is None:
                continue
            if first.setdefault(step.id, step.place) != step.place:
                self._problem(
                    f"the id `{step.id}` names a second step",
                    "an id is how `override` finds one step",
                    "rename one of them",
                    step.place,
                    ("the first is at", first[step.id]),
                )
