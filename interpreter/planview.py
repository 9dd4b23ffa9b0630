"""A plan as text, as plain data for JSON, and as a graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from f2yaml.interpreter.calibrations import Calibrations
from f2yaml.interpreter.estimate import in_words, size_in_words
from f2yaml.interpreter.forecast import ExpectedFile, ExpectedStep, Forecast
from f2yaml.interpreter.plan import CallStep, PassStep, Plan, Provided, Setting

BASIS = (
    "figures measured on 2048 x 2048 frames and two cores (interpreter/estimate.py); other "
    "machines differ by a factor of two"
)


def spelled(value: Any) -> str:
    """Return a value as YAML writes it."""
    words = {None: "null", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return words[value]
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(spelled, value))}]"
    return str(value)


def origin_of(setting: Setting) -> str:
    """Return where a value comes from: its role, and file, line and column where it has them."""
    role = setting.origin
    if role == "default" and setting.place is not None:
        role = "default of the include"
    parts = [role, str(setting.place or ""), f"${setting.parameter}" if setting.parameter else ""]
    return " ".join(filter(None, parts))


def _used(plan: Plan) -> list[tuple[int, str, Path, list[str], Provided]]:
    """Return, for each step and file it uses: step, resource, file, roots it serves."""
    found = []
    for step in plan.calls:
        for name, provided in step.resources.items():
            for path in dict.fromkeys(provided.by_root.values()):
                roots = [root for root, file in provided.by_root.items() if file == path]
                found.append((step.number, name, path, roots, provided))
    return found


def _criteria(
    plan: Plan, path: Path, root: str, kind: str, calibrations: Calibrations
) -> dict[str, Any]:
    """Return what ``caldb explain`` says of a calibration that the database gave."""
    frame = next(frame for frame in plan.inputs if frame.root == root)
    answer = calibrations.search(frame.headers, kind).as_data()
    candidates: Any = answer["candidates"]
    chosen = [c for c in candidates if c["path"] == str(path)]
    if not chosen:
        return {"criteria": [], "rejected": 0}
    rejected = sum(c["standing"] == "rejected" for c in candidates)
    return {"criteria": chosen[0]["criteria"], "rejected": rejected}


def _calibrations(plan: Plan, calibrations: Calibrations) -> list[dict[str, Any]]:
    rows: dict[tuple[Path, str], dict[str, Any]] = {}
    for number, name, path, roots, provided in _used(plan):
        key = (path, provided.kind)
        if key in rows:
            rows[key]["steps"].append(number)
            continue
        rows[key] = {
            "resource": name,
            "type": provided.kind,
            "file": str(path),
            "frames": roots,
            "why": provided.why[roots[0]],
            "steps": [number],
        }
        if provided.why[roots[0]].startswith("named by"):
            continue
        rows[key] |= _criteria(plan, path, roots[0], provided.kind, calibrations)
    return list(rows.values())


def as_data(plan: Plan, expected: Forecast, calibrations: Calibrations) -> dict[str, Any]:
    """Return everything that is known of a plan, as plain values."""
    saved: dict[int, list[str]] = {}
    for file in expected.files:
        if file.step is not None:
            saved.setdefault(file.step, []).append(str(file.path))
    return {
        "recipe": plan.recipe.name,
        "file": str(plan.recipe.path),
        "mode": plan.mode,
        "inputs": [frame.name for frame in plan.inputs],
        "shape": list(expected.shape),
        "parameters": {
            name: {
                "value": setting.value,
                "origin": setting.origin,
                "at": _at(plan, name, setting),
                "unit": plan.recipe.parameters[name].unit,
            }
            for name, setting in plan.parameters.items()
        },
        "steps": [_step_data(step, saved) for step in expected.steps],
        "left_out": [
            {"primitive": s.primitive.name, "because": [c.text for c in s.conditions]}
            for s in expected.left_out
        ],
        "calibrations": _calibrations(plan, calibrations),
        "files": [
            {
                "path": str(file.path),
                "stream": file.stream,
                "step": file.step,
                "bytes": file.size,
                "type": file.kind or None,
                "kept_at": str(file.kept_at) if file.kept_at else None,
            }
            for file in expected.files
        ],
        "estimate": {
            "seconds": round(expected.seconds, 1),
            "memory_bytes": expected.memory,
            "scratch_bytes": expected.scratch,
            "basis": BASIS,
        },
        "skipped": [asdict(item) for item in plan.skipped],
        "allowed": [asdict(item) for item in plan.allowed],
        "notes": [*plan.notes, *expected.notes],
    }


def _at(plan: Plan, name: str, setting: Setting) -> str | None:
    place = setting.place
    if place is None and setting.origin == "default":
        place = plan.recipe.parameter_places.get(name)
    return str(place) if place is not None else None


def _step_data(expected: ExpectedStep, saved: Mapping[int, list[str]]) -> dict[str, Any]:
    step = expected.step
    return {
        "number": step.number,
        "primitive": step.primitive.name,
        "id": step.id,
        "package": step.primitive.package or None,
        "at": str(step.place),
        "from": step.source,
        "to": list(step.targets),
        "frames": {"from": expected.reads, "to": dict(expected.makes)},
        "parameters": {
            name: {
                "value": setting.value,
                "origin": setting.origin,
                "at": str(setting.place) if setting.place else None,
                "parameter": setting.parameter or None,
            }
            for name, setting in step.settings.items()
        },
        "when": [condition.text for condition in step.conditions],
        "files": saved.get(step.number, []),
        "seconds_on_one_core": round(expected.seconds, 2),
    }


# text -------------------------------------------------------------------------------------------
def as_text(
    plan: Plan, expected: Forecast, calibrations: Calibrations, *, everything: bool = False
) -> str:
    """Return a plan for people; with `everything`, values left at their defaults as well."""
    ny, nx = expected.shape
    lines = [
        f"recipe {plan.recipe.name} ({plan.recipe.path}), mode {plan.mode}: {len(expected.steps)} "
        f"steps on {len(plan.inputs)} frames of {nx} x {ny} pixels"
    ]
    if plan.parameters:
        lines += ["", "parameters of the recipe"]
        for name, setting in plan.parameters.items():
            unit = plan.recipe.parameters[name].unit
            value = f"{spelled(setting.value)}{f' {unit}' if unit else ''}"
            lines.append(
                f"  {name} = {value}   ({setting.origin} {_at(plan, name, setting) or ''}".rstrip()
                + ")"
            )
    lines += ["", "steps (frames read, streams filled with how many frames)"]
    for step in expected.steps:
        lines += _step_lines(step, everything=everything)
    for left in expected.left_out:
        conditions = " and ".join(condition.text for condition in left.conditions)
        lines.append(f"       {left.primitive.name} does not run: not {conditions}")
    lines += _calibration_lines(_calibrations(plan, calibrations))
    lines += ["", "files"]
    lines += [f"  {line}" for line in _file_lines(expected.files)] or ["  none"]
    lines += [
        "",
        f"about {in_words(expected.seconds)}, {size_in_words(expected.memory)} of memory"
        + (f", {size_in_words(expected.scratch)} in scratch files" if expected.scratch else ""),
        f"  ({BASIS})",
    ]
    lines += [f"note: {note}" for note in (*plan.notes, *expected.notes)]
    return "\n".join(lines)


def _step_lines(expected: ExpectedStep, *, everything: bool) -> Iterator[str]:
    step = expected.step
    made = ", ".join(f"{name} {number}" for name, number in expected.makes.items())
    streams = f"{step.source} {expected.reads} -> {made}"
    skies = f"   {expected.skies:.0f} skies a frame" if expected.skies else ""
    yield f"{step.number:4d} {step.primitive.name:24s} {streams}{skies}".rstrip()
    for name, setting in step.settings.items():
        if everything or setting.origin != "default" or setting.place is not None:
            yield f"       {name} = {spelled(setting.value)}   ({origin_of(setting)})"


def _calibration_lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    if rows:
        yield ""
        yield "calibrations"
    for row in rows:
        steps = ", ".join(map(str, row["steps"]))
        number = len(row["frames"])
        yield f"  {row['type']}: {row['file']} (step {steps}, {number} frames)"
        yield f"      {row['why']}"
        met = [
            f"{c['criterion']} {c['calibration']}"
            for c in row.get("criteria", ())
            if c["calibration"] != "-" and c["criterion"] != "file"
        ]
        if met:
            yield f"      meets: {'; '.join(met)}"
        if row.get("rejected"):
            yield (
                f"      {row['rejected']} rejected: `f2yaml caldb explain FRAME --type "
                f"{row['type']}` says why"
            )


def _file_lines(files: tuple[ExpectedFile, ...]) -> Iterator[str]:
    for file in files:
        origin = "at the end" if file.step is None else f"step {file.step}"
        yield f"{file.path}   {size_in_words(file.size)}, stream {file.stream}, {origin}"
        if file.kept_at is not None:
            yield f"{file.kept_at}   the same, registered as {file.kind}"


# graph ------------------------------------------------------------------------------------------
def as_mermaid(plan: Plan, expected: Forecast) -> str:
    """Return a plan as a Mermaid flow chart: steps, streams between them, calibrations, files."""
    number = len(plan.inputs)
    lines = ["flowchart TD", f'  inputs(["{number} input frame{"" if number == 1 else "s"}"])']
    last: dict[str, tuple[str, int]] = {"main": ("inputs", number)}
    done = {step.step.number: step for step in expected.steps}
    for step in plan.steps:
        if isinstance(step, PassStep) and step.source in last:
            last[step.target] = last[step.source]
        elif isinstance(step, CallStep) and step.number in done and not _forgets(step):
            lines += _node(done[step.number], last)
    for index, (_, name, path, _, _) in enumerate(_once(_used(plan))):
        node = f"cal{index}"
        lines.append(f'  {node}[("{_safe(name)}<br/>{_safe(path.name)}")]')
        users = [n for n, _, file, _, _ in _used(plan) if file == path and n in done]
        lines += [f"  {node} -.-> s{n}" for n in dict.fromkeys(users)]
    groups: dict[tuple[int | None, str], list[ExpectedFile]] = {}
    for file in expected.files:
        groups.setdefault((file.step, file.stream), []).append(file)
    for index, ((at, stream), members) in enumerate(groups.items()):
        more = f" and {len(members) - 1} more" if len(members) > 1 else ""
        source = f"s{at}" if at is not None else last[stream][0]
        lines.append(f'  {source} ==> out{index}[/"{_safe(members[0].path.name)}{more}"/]')
    return "\n".join(lines)


def _forgets(step: CallStep) -> bool:
    """Whether a step only empties a stream, which a graph does not show."""
    return getattr(step.primitive, "fills", ()) == ("from",)


def _once(used: list[tuple[int, str, Path, list[str], Provided]]) -> list[Any]:
    return list({row[2]: row for row in reversed(used)}.values())[::-1]


def _node(expected: ExpectedStep, last: dict[str, tuple[str, int]]) -> Iterator[str]:
    step = expected.step
    node = f"s{step.number}"
    yield f'  {node}["{step.number} {step.primitive.name}"]'
    primitive = step.primitive
    read = [step.source, *getattr(primitive, "reads", ())]
    if getattr(primitive, "updates", False):
        read += step.targets[:1]
    for stream in dict.fromkeys(read):
        source, number = last.get(stream, ("inputs", 0))
        yield f'  {source} -->|"{stream} {number}"| {node}'
    for target, number in expected.makes.items():
        last[target] = (node, number)


def _safe(text: str) -> str:
    return text.replace('"', "#quot;")
