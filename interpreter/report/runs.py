"""What was run: steps, values and where they come from, the recipe, versions."""

from __future__ import annotations

import json
from collections.abc import Iterator

from f2yaml.interpreter.frame import Frame, HistoryRow
from f2yaml.interpreter.planview import spelled
from f2yaml.interpreter.records import RunRecord, ValueRow
from f2yaml.interpreter.report.markup import Markup, element, joined, table
from f2yaml.interpreter.report.page import folded

_HEADS = ("step", "primitive", "time [s]", "frames", "result", "values that are not the default")


def steps(frame: Frame) -> Markup:
    """Return every step of every run with its values; what HISTORY says where there is no more."""
    if not frame.runs:
        return _history(frame.history)
    parts = []
    for number, run in enumerate(frame.runs, 1):
        facts = run.of("run")
        words = f"recipe {facts.get('recipe', '?')}, mode {facts.get('mode', '?')}, begun "
        words += facts.get("begun", "?")[:19].replace("T", " ") + " UT"
        if len(frame.runs) > 1:
            parts.append(element("h3", f"Run {number}: {words}"))
        else:
            parts.append(element("p", words[0].upper() + words[1:]))
        options = run.of("option")
        if options:
            given = " ".join(f"{name} {value}" for name, value in options.items())
            parts.append(element("p", "Options: ", element("code", given)))
        parts += _parameters(run)
        parts.append(_steps(run, number))
        parts.append(folded("all values and their origin", _all_values(run)))
    return joined(parts)


def _parameters(run: RunRecord) -> Iterator[Markup]:
    rows = [
        (v.parameter, element("td", _value(v.value)), element("td", origin(v)))
        for v in run.values
        if v.step == 0
    ]
    if rows:
        yield table(("parameter", "value", "from"), rows, "Parameters of the recipe")


def _steps(run: RunRecord, number: int) -> Markup:
    rows = []
    for step in run.steps:
        told = [
            element("div", element("code", f"{v.parameter}: {_value(v.value)}"), f" {origin(v)}")
            for v in run.values
            if v.step == step.step and (v.origin != "default" or v.place)
        ]
        done = step.seconds >= 0
        rows.append(
            (
                str(step.step),
                element("td", step.primitive, title=step.place),
                element("td", f"{step.seconds:.2f}" if done else "–", class_="n"),
                element("td", str(step.frames) if done else "–", class_="n"),
                element("td", step.health, class_="long" if step.health else None),
                element("td", *told, class_="long" if told else None),
            )
        )
    return table(_HEADS, rows, "Steps in their order", data_table=f"steps-{number}")


def _all_values(run: RunRecord) -> Markup:
    names = {step.step: step.primitive for step in run.steps}
    rows = [
        (
            str(v.step), element("td", names.get(v.step, "")), element("td", v.parameter),
            element("td", _value(v.value)), element("td", origin(v), class_="long"),
        )
        for v in run.values
        if v.step
    ]  # fmt: skip
    return table(("step", "primitive", "parameter", "value", "from"), rows, "Values of all steps")


def _value(text: str) -> str:
    try:
        return spelled(json.loads(text))
    except ValueError:
        return text


def origin(row: ValueRow) -> str:
    """Return where a value comes from, in words."""
    role = "default of the include" if row.origin == "default" and row.step and row.place else (
        row.origin
    )  # fmt: skip
    return f"{role} {row.place}".strip()


def _history(rows: tuple[HistoryRow, ...]) -> Markup:
    if not rows:
        return Markup()
    cells = [
        (
            row.primitive,
            element("td", row.timestamp_start[:19].replace("T", " ")),
            element("td", row.args, class_="long"),
        )
        for row in rows
    ]
    return table(("step", "begun (UT)", "arguments"), cells, "Steps, from the table HISTORY")


def recipes(frame: Frame) -> Markup:
    """Return the recipe of every run, ready to run again."""
    parts: list[Markup] = []
    for number, run in enumerate(frame.runs, 1):
        if not run.lines:
            continue
        text = element("pre", "\n".join(run.lines) + "\n", tabindex="0", data_recipe=number)
        parts.append(folded(f"{run.fact('run', 'recipe')}, {len(run.lines)} lines", text))
    if parts:
        told = (
            "In one piece, with the settings of the command line put in: saved as a file, it runs."
        )
        parts.insert(0, element("p", told, class_="hint"))
    return joined(parts)


def versions(frame: Frame) -> Markup:
    """Return the versions of programs and libraries."""
    parts = []
    for run in frame.runs:
        listed = ", ".join(f"{name} {number}" for name, number in run.of("version").items())
        parts.append(element("p", f"{run.fact('run', 'recipe')} ran with {listed}."))
    return joined(parts)
