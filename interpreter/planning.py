"""Steps + headers of the inputs + calibrations -> the plan of a run.

Nothing is read but headers; what can be known from them is known before the first pixel is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from f2yaml.interpreter.admission import Skipped
from f2yaml.interpreter.applies import check_applies
from f2yaml.interpreter.bind import Binder, passed
from f2yaml.interpreter.errors import F2Error, MissingCalibration, Problem
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.plan import BoundStep, CallStep, Plan
from f2yaml.interpreter.registry import PerFrame, find
from f2yaml.interpreter.resources import Finder, derive, merged
from f2yaml.interpreter.settings import Override
from f2yaml.schema.compose import FlatRecipe
from f2yaml.schema.problems import RequestError
from f2yaml.schema.recipe import Output


@dataclass
class _Planner:
    """Meets the steps of a recipe with the inputs, one after the other.

    `left_out` says which steps do not run and why; `missing` what they lack.
    """

    inputs: Sequence[Frame]
    finder: Finder
    left_out: dict[str, str]
    steps: list[BoundStep] = field(default_factory=list)
    missing: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _headers_hold: bool = True
    _numbers: count[int] = field(default_factory=lambda: count(1))

    def add(self, step: BoundStep) -> None:
        """Check one step against the headers and find what it needs."""
        if not isinstance(step, CallStep):
            self.steps.append(step)
            return
        # What other streams hold, or a condition decides, is not known from headers alone.
        if self._headers_hold and step.source == "main" and not step.conditions:
            self.notes += _checked(step, self.inputs)
        self._headers_hold = self._headers_hold and isinstance(step.primitive, PerFrame)
        resources, problems = self.finder.provide(step.primitive, step.params, self.inputs)
        reason = self._reason(step, problems)
        if reason:
            self.left_out[step.primitive.name] = reason
            instead = passed(step.primitive, step.source, step.targets, step.conditions)
            self.steps += [instead] if instead else []
            return
        self.missing += problems
        self.steps.append(
            replace(
                step,
                resources=resources,
                derived=derive(step.primitive, step.params, self.inputs),
                number=next(self._numbers),
            )
        )

    def _reason(self, step: CallStep, problems: Sequence[Problem]) -> str:
        """Return why a step is left out, an empty text if it is not."""
        policy = getattr(step.params, "do_cal", "force")
        if policy == "skip":
            return "do_cal=skip asks"
        if problems and policy == "procmode" and self.finder.mode != "sq":
            # Left out for all frames, though some may have it: they are combined later.
            return f"{merged(problems, len(self.inputs))[0].what}, which {self.finder.mode} allows"
        return ""


def bind(
    recipe: FlatRecipe,
    inputs: Sequence[Frame],
    finder: Finder,
    overrides: Sequence[Override] = (),
    arguments: Mapping[str, str] | None = None,
    skipped: Sequence[Skipped] = (),
) -> Plan:
    """Bind a recipe to input frames; `skipped` are files that were left out before.

    Raises
    ------
    RecipeError
        All problems of the recipe and its settings.
    RequestError
        The recipe is not for these inputs.
    MissingCalibration
        A required calibration is missing; candidates and reasons are in the message. In modes ql
        and qa a step with ``do_cal`` at ``procmode`` is left out instead, with a note.
    F2Error
        A step would fail on these frames, by their headers.
    """
    binder = Binder(recipe, overrides, arguments or {})
    steps = binder.bind()
    check_applies(recipe, inputs)
    planner = _Planner(inputs, finder, binder.left_out)
    for step in steps:
        planner.add(step)
    if planner.missing:
        raise MissingCalibration(problems=merged(planner.missing, len(inputs)))
    return Plan(
        recipe=recipe,
        parameters=binder.parameters,
        inputs=tuple(inputs),
        steps=tuple(planner.steps),
        outputs=_outputs(recipe.outputs, planner.left_out),
        notes=(
            *map(str, (*skipped, *finder.allowed)),
            *dict.fromkeys(planner.notes),
            *(f"{name} is left out, as {reason}" for name, reason in planner.left_out.items()),
            *_written_over(planner.steps),
        ),
        mode=finder.mode,
        skipped=tuple(skipped),
        allows=finder.allows,
        allowed=finder.allowed,
    )


def _written_over(steps: Sequence[BoundStep]) -> list[str]:
    """Return a note for each step whose saved frames a later one replaces."""
    places: dict[str, list[int]] = {}
    for step in steps:
        if isinstance(step, CallStep) and step.write is not None:
            places.setdefault(step.write.suffix or step.primitive.suffix, []).append(step.number)
    return [
        f"steps {', '.join(map(str, numbers))} save frames as *{suffix}.fits; the last are kept "
        "(`write: {suffix: ...}` keeps each)"
        for suffix, numbers in places.items()
        if suffix and len(numbers) > 1
    ]


def _outputs(outputs: Mapping[str, Output], left_out: Iterable[str]) -> dict[str, Output]:
    """Return the outputs, without a suffix that would claim a step which is left out."""
    claims = {find(name).suffix for name in left_out} - {""}
    return {
        stream: output.model_copy(update={"suffix": ""}) if output.suffix in claims else output
        for stream, output in outputs.items()
    }


def _checked(step: CallStep, frames: Sequence[Frame]) -> Sequence[str]:
    """Let the step look at all headers; also refuse what it has done before."""
    primitive = step.primitive
    if primitive.guard:
        done = [f for f in frames if primitive.guard in f.phu]
        if done:
            raise RequestError(
                f"{primitive.name} was done before on {done[0].name}"
                + (f" and {len(done) - 1} other frames" if len(done) > 1 else ""),
                f"its header has {primitive.guard}; doing it twice would falsify the pixels",
                "take a recipe for prepared frames, or leave the step out with "
                f"-p {primitive.name}:skip_primitive=True",
                step.where,
            )
    if primitive.check is None:
        return ()
    try:
        return primitive.check(frames, step.params)
    except F2Error as error:
        raise error.at(step.where) from error
