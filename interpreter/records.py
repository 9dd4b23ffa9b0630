"""What a product says of its own making: the recipe as it ran, its values, and each frame in it.

A record belongs to one run. Frames carry the records of the runs that made them, so that a product
made in three runs holds all three.
"""

from __future__ import annotations

import json
import platform
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING, Any

from f2yaml.interpreter.headers import utc_now

if TYPE_CHECKING:
    from f2yaml.interpreter.frame import Frame
    from f2yaml.interpreter.plan import Plan
    from f2yaml.interpreter.settings import Override
    from f2yaml.schema.compose import FlatRecipe
    from f2yaml.schema.problems import Place


@dataclass(frozen=True, slots=True)
class StepRow:
    """A step of a run; `seconds` and `frames` are -1 where it had not ended, or did not run.

    `place` is file:line:column of the recipe, `health` the step's own word on its result.
    """

    step: int
    primitive: str
    id: str
    source: str
    target: str
    place: str
    seconds: float
    frames: int
    health: str


@dataclass(frozen=True, slots=True)
class ValueRow:
    """The value (JSON) of one parameter of a step, and where it came from.

    Step 0 stands for the recipe's own parameters. `origin` is default, recipe, include, extends,
    override, --param or -p; `place` is file:line:column, where it has one.
    """

    step: int
    parameter: str
    value: str
    origin: str
    place: str


@dataclass(frozen=True, slots=True)
class FactRow:
    """A fact of a run: of the kind run, version, option, input or calibration."""

    kind: str
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run: its recipe in one piece, with all settings put in; steps, values and facts.

    `lines` is a recipe document that does again what was done.
    """

    lines: tuple[str, ...] = ()
    steps: tuple[StepRow, ...] = ()
    values: tuple[ValueRow, ...] = ()
    facts: tuple[FactRow, ...] = ()

    def fact(self, kind: str, name: str) -> str:
        """Return a fact, an empty text if it is not known."""
        return next((f.value for f in self.facts if (f.kind, f.name) == (kind, name)), "")

    def of(self, kind: str) -> dict[str, str]:
        """Return all facts of a kind."""
        return {fact.name: fact.value for fact in self.facts if fact.kind == kind}


@dataclass
class Recorder:
    """Fills in a record while its run goes on."""

    record: RunRecord
    _ended: dict[int, tuple[float, int, str]] = field(default_factory=dict)

    def ended(self, step: int, seconds: float, frames: int, health: str) -> None:
        """Note that a step is done."""
        self._ended[step] = (round(seconds, 4), frames, health)

    def now(self) -> RunRecord:
        """Return the record as of now."""
        steps = []
        for row in self.record.steps:
            seconds, frames, health = self._ended.get(row.step, (-1.0, -1, ""))
            steps.append(replace(row, seconds=seconds, frames=frames, health=health))
        return replace(self.record, steps=tuple(steps))


def joint_runs(frames: Iterable[Frame]) -> tuple[RunRecord, ...]:
    """Return the runs that made any of the frames, each once, in order of appearance."""
    return tuple(dict.fromkeys(run for frame in frames for run in frame.runs))


def run_record(
    plan: Plan,
    overrides: Sequence[Override] = (),
    arguments: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
) -> RunRecord:
    """Return what is known of a run when it begins.

    Parameters
    ----------
    plan : Plan
    overrides, arguments : settings of ``-p`` and ``--param``
    options : mapping of str to str
        The command line: options that have a part in the result.
    """
    from f2yaml.interpreter.flatcopy import flat_text

    text = flat_text(as_ran(plan.recipe, overrides, arguments or {}), plan.recipe.name)
    steps = tuple(
        StepRow(
            step.number,
            step.primitive.name,
            step.id or "",
            step.source,
            " ".join(step.targets),
            _at(step.place),
            -1.0,
            -1,
            "",
        )
        for step in plan.calls
    )
    return RunRecord(
        tuple(ascii_of(line) for line in text.splitlines()),
        steps,
        tuple(_values(plan)),
        tuple(_facts(plan, options or {})),
    )


def _values(plan: Plan) -> Iterable[ValueRow]:
    for name, setting in plan.parameters.items():
        place = setting.place or plan.recipe.parameter_places.get(name)
        told = _at(place) if setting.origin == "default" else ""
        yield ValueRow(0, name, _json(setting.value), setting.origin, told)
    for step in plan.calls:
        given = step.params.model_dump(mode="json")
        for name, setting in step.settings.items():
            at = _at(setting.place)
            if setting.parameter:
                at = f"{at} ${setting.parameter}".strip()
            yield ValueRow(step.number, name, _json(given.get(name)), setting.origin, at)


def _facts(plan: Plan, options: Mapping[str, str]) -> Iterable[FactRow]:
    facts = {"recipe": plan.recipe.name, "mode": plan.mode, "begun": utc_now()}
    yield from (FactRow("run", name, ascii_of(value)) for name, value in facts.items())
    yield from (FactRow("version", name, number) for name, number in versions().items())
    packages = {step.primitive.package for step in plan.calls} - {""}
    yield from (FactRow("version", name, version_of(name)) for name in sorted(packages))
    yield from (FactRow("option", name, ascii_of(value)) for name, value in options.items())
    yield from (FactRow("input", f"{n:04d}", f.name) for n, f in enumerate(plan.inputs, 1))
    told: dict[tuple[str, str], None] = {}
    for step in plan.calls:
        for provided in step.resources.values():
            for root, path in provided.by_root.items():
                if (provided.kind, path.name) not in told:
                    told[provided.kind, path.name] = None
                    why = provided.why.get(root, "")
                    yield FactRow("calibration", provided.kind, ascii_of(f"{path.name}: {why}"))


@cache
def versions() -> dict[str, str]:
    """Return the versions of f2yaml, of Python and of the packages that f2yaml stands on."""
    found = {"f2yaml": version_of("f2yaml"), "python": platform.python_version()}
    for line in requires("f2yaml") or ():
        name = re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]
        if "extra ==" not in line and name not in found:
            found[name] = version_of(name)
    found["platform"] = f"{sys.platform} {platform.machine()}"
    return found


def version_of(package: str) -> str:
    """Return the version of an installed package, ``unknown`` if it has none."""
    try:
        return version(package)
    except PackageNotFoundError:  # a plug-in known by the name of its module
        return "unknown"


def as_ran(
    recipe: FlatRecipe, overrides: Sequence[Override], arguments: Mapping[str, str]
) -> FlatRecipe:
    """Return a recipe with the settings of the command line put in.

    As the binder takes them: those of a named step win over those of every step.
    """
    from f2yaml.interpreter.bind import SKIP, WRITE
    from f2yaml.interpreter.registry import find
    from f2yaml.interpreter.settings import convert, convert_parameter
    from f2yaml.schema.flat import FlatDo, Value
    from f2yaml.schema.recipe import Write

    parameters = {
        name: parameter.model_copy(
            update={"default": convert_parameter(arguments[name], parameter)}
        )
        if name in arguments
        else parameter
        for name, parameter in recipe.parameters.items()
    }
    ordered = sorted(overrides, key=lambda o: o.step is not None)
    steps = []
    for step in recipe.steps:
        if isinstance(step, FlatDo) and overrides:
            name = str(step.primitive.value)
            fields = find(name).params.model_fields
            values = dict(step.values)
            for override in (o for o in ordered if o.step in (None, name, step.id)):
                on = override.text.lower() == "true"
                if override.name == SKIP:
                    step = replace(step, skip=on)
                elif override.name == WRITE:
                    step = replace(step, write=Write() if on else None)
                elif override.name in fields:
                    given = convert(override.text, fields[override.name])
                    values[override.name] = Value(given, step.place, "override")
            step = replace(step, values=values)
        steps.append(step)
    return replace(recipe, parameters=parameters, steps=tuple(steps))


def ascii_of(text: str) -> str:
    """Return a text as FITS tables hold it: what is beyond ASCII is escaped, as in ``\\xe9``."""
    return text.encode("ascii", "backslashreplace").decode("ascii")


def _at(place: Place | None) -> str:
    """Return file:line:column; files that come with f2yaml by their path in its recipes."""
    from f2yaml.schema.library import shipped_root

    if place is None:
        return ""
    return ascii_of(str(place)).replace(f"{shipped_root()}/", "")


def _json(value: Any) -> str:
    return json.dumps(value, default=str)
