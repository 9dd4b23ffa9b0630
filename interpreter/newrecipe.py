"""New recipes from those there are: one that extends another, or a flat copy."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from f2yaml.interpreter import yamltext
from f2yaml.interpreter.bind import SKIP, WRITE, bind_recipe
from f2yaml.interpreter.flatcopy import flat_text, header
from f2yaml.interpreter.leftovers import aside
from f2yaml.interpreter.plan import CallStep, Setting
from f2yaml.interpreter.registry import AnyPrimitive, find
from f2yaml.interpreter.settings import Override, convert, convert_parameter
from f2yaml.schema.compose import FlatDo, FlatRecipe, Value, shipped_root
from f2yaml.schema.problems import Place, RequestError
from f2yaml.schema.recipe import Write

_HERE = Place("-p", 0, 0)


def recipe_text(
    base: FlatRecipe,
    path: Path,
    *,
    flat: bool,
    overrides: Sequence[Override] = (),
    arguments: Mapping[str, str] | None = None,
) -> str:
    """Return the text of a new recipe.

    Parameters
    ----------
    base : FlatRecipe
        Recipe to start from.
    path : Path
        File that the text is for; its stem is the name of the recipe.
    flat : bool
        Write all steps out, instead of extending `base`.
    overrides : sequence of Override
        Parameters of steps to set, as ``run -p`` does.
    arguments : mapping of str to str
        Parameters of the recipe to set, as ``run --param`` does.

    Raises
    ------
    RecipeError
        A setting is not one that `base` has.
    RequestError
        A recipe in that place cannot extend `base`, or not with these settings.
    """
    given = arguments or {}
    bind_recipe(base, overrides, given)  # all that is wrong with the settings, at once
    values = {name: convert_parameter(t, base.parameters[name]) for name, t in given.items()}
    if not flat:
        return _extending(base, path, overrides, values)
    parameters = {
        name: p.model_copy(update={"default": values[name]}) if name in values else p
        for name, p in base.parameters.items()
    }
    steps = tuple(_set(s, overrides) if isinstance(s, FlatDo) else s for s in base.steps)
    changed = replace(base, parameters=parameters, steps=steps)
    return flat_text(changed, path.stem)


def _set(step: FlatDo, overrides: Sequence[Override]) -> FlatDo:
    """Return a step with the settings of the command line written into it."""
    name = str(step.primitive.value)
    fields = find(name).params.model_fields
    for override in sorted(overrides, key=lambda o: o.step is not None):
        if override.step not in (None, name, step.id):
            continue
        if override.name == SKIP:
            step = replace(step, skip=override.text.lower() == "true")
        elif override.name == WRITE:
            step = replace(step, write=Write() if override.text.lower() == "true" else None)
        elif override.name in fields:
            value = convert(override.text, fields[override.name])
            changed = {**step.values, override.name: Value(value, _HERE, "recipe")}
            step = replace(step, values=changed)
    return step


# extends ----------------------------------------------------------------------------------------
def reference(base: FlatRecipe, path: Path) -> str:
    """Return what a recipe in `path` calls `base` by, after ``extends:``.

    Raises
    ------
    RequestError
        It cannot, as the file would mean itself or another one, or as `base` lies elsewhere.
    """
    folder = path.resolve().parent
    roots = [shipped_root(), folder]
    for root in roots:
        if base.path.is_relative_to(root):
            ref = str(base.path.relative_to(root))
            found = next((f for f in (folder / ref, *(r / ref for r in roots)) if f.exists()), None)
            if found is not None and found.resolve() == base.path and found != path.resolve():
                if (folder / ref) == path.resolve():
                    break
                return ref
    reason = f"{path} cannot extend {base.path}"
    if path.resolve() == base.path or path.name == base.path.name:
        raise RequestError(
            reason, "a recipe in this folder with that name is itself meant", "give it another name"
        )
    raise RequestError(
        reason,
        "a recipe extends one beside or below it, or a shipped one",
        "write it into the folder of the other, or use --flat",
    )


def _extending(
    base: FlatRecipe, path: Path, overrides: Sequence[Override], values: Mapping[str, Any]
) -> str:
    changes = "with settings of its own" if overrides or values else "with changes still to be made"
    lines = header(path.stem, f"{base.name} {changes}.")
    lines += [f"extends: {reference(base, path)}", ""]
    lines += [
        f"# Below is what {base.name} lets you change. A line counts once the `# ` in front of it",
        "# is gone; what you leave out stays as it is. `f2yaml validate` tells every slip.",
    ]
    if base.parameters:
        lines += ["", *_parameters(base, values)]
    lines += ["", *_overrides(base, overrides)]
    return "\n".join(lines) + "\n"


def _parameters(base: FlatRecipe, values: Mapping[str, Any]) -> list[str]:
    lines = ["parameters:" if values else "# parameters:"]
    for name, parameter in base.parameters.items():
        mark = "  " if name in values else "#   " if not values else "  # "
        unit = f" [{parameter.unit}]" if parameter.unit else ""
        value = yamltext.scalar(values.get(name, parameter.default))
        lines.append(_told(f"{mark}{name}: {{default: {value}}}", f"{parameter.doc}{unit}"))
    return lines


def _steps(base: FlatRecipe) -> dict[str, list[FlatDo]]:
    """Return the steps that an override can name; those of one file and line are one step."""
    named: dict[str, list[FlatDo]] = {}
    for step in base.steps:
        if isinstance(step, FlatDo):
            named.setdefault(step.id or str(step.primitive.value), []).append(step)
    return named


def _overrides(base: FlatRecipe, overrides: Sequence[Override]) -> list[str]:
    bound = [s for s in bind_recipe(base) if isinstance(s, CallStep)]
    defaults: dict[str, Mapping[str, Setting]] = {}
    for step in bound:
        defaults.setdefault(step.id or step.primitive.name, step.settings)
    chosen: dict[str, dict[str, Any]] = {}
    several = []
    for key, steps in _steps(base).items():
        primitive = find(str(steps[0].primitive.value))
        wanted = _wanted(key, primitive, overrides)
        if wanted:
            chosen[key] = wanted
        elif len({step.place for step in steps}) > 1:
            several.append(key)
    lines = ["override:" if chosen else "# override:"]
    for key, steps in _steps(base).items():
        if key not in several:
            primitive = find(str(steps[0].primitive.value))
            settings = defaults.get(key, {})
            lines += _override(key, primitive, settings, chosen.get(key, {}), bool(chosen))
    if several:
        words = ", ".join(several)
        lines += yamltext.comment(
            f"Not here, as several steps bear these names: {words}. An override by such a name "
            f"changes all of them; `f2yaml new NAME --from {base.name} --flat` writes each out.",
            0,
        )
    return lines


def _wanted(key: str, primitive: AnyPrimitive, overrides: Sequence[Override]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for override in sorted(overrides, key=lambda o: o.step is not None):
        if override.step not in (None, primitive.name, key):
            continue
        if override.name == SKIP:
            made["skip"] = override.text.lower() == "true"
        elif override.name == WRITE:
            made["write"] = override.text.lower() == "true"
        elif override.name in primitive.params.model_fields:
            value = convert(override.text, primitive.params.model_fields[override.name])
            made.setdefault("with", {})[override.name] = value
    return made


def _override(
    key: str,
    primitive: AnyPrimitive,
    settings: Mapping[str, Setting],
    chosen: Mapping[str, Any],
    open_: bool,
) -> list[str]:
    """Return the lines for one step: chosen values as they are, all others as comments."""
    off = "  # " if open_ else "#   "
    on = "  " if chosen else off
    lines = [_told(f"{on}{key}:", primitive.summary)]
    inner = "    # " if chosen else f"{off}  "
    for name in ("skip", "write"):
        if name in chosen:
            lines.append(f"    {name}: {yamltext.scalar(chosen[name])}")
    fields = primitive.params.model_fields
    if not fields:
        if not chosen:
            lines.append(f"{inner}skip: true")
        return lines
    values = chosen.get("with", {})
    lines.append("    with:" if values else f"{inner}with:")
    for name, info in fields.items():
        if name in values:
            line = f"      {name}: {yamltext.scalar(values[name])}"
        else:
            mark = "      # " if values else f"{inner}  "
            default = info.get_default(call_default_factory=True)
            value = settings[name].value if name in settings else default
            line = f"{mark}{name}: {yamltext.scalar(value)}"
        lines.append(_told(line, info.description or ""))
    return lines


def _told(line: str, meaning: str) -> str:
    """Return a line with what it means behind it, as far as there is room."""
    room = max(24, yamltext.WIDTH - 4 - len(line))
    return f"{line}  # {textwrap.shorten(meaning, room, placeholder=' ...')}"


def write_recipe(path: Path, text: str, *, force: bool) -> None:
    """Write a new recipe; an existing file is replaced only by force, and never half.

    Raises
    ------
    RequestError
        The file exists, or cannot be written.
    """
    if path.exists() and not force:
        raise RequestError(
            f"{path} exists", "what you wrote there would be lost", "give another name, or --force"
        )
    partial = aside(path)
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise RequestError(
            f"{path} cannot be written: {error.strerror}",
            "the new recipe goes there",
            "name a file in a folder that you can write to",
        ) from error
