"""``f2yaml show``: recipes, primitives, tags, descriptors and DQ bits, from their declarations."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from f2yaml.interpreter.registry import AnyPrimitive
    from f2yaml.schema.recipe import Parameter

HELP = "a recipe, primitive, tag, DQ bit or product; without a name, the catalogue"

_FITS = re.compile(r"\.(fits?|fts)(\.(gz|bz2))?$", re.IGNORECASE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``f2yaml show``."""
    parser.add_argument(
        "name", nargs="?", help="what to show, or a product (FITS); without it, everything there is"
    )
    parser.add_argument(
        "--recipe",
        action="store_true",
        help="of a product: print nothing but the recipe that made it, ready to run",
    )
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(args: argparse.Namespace) -> int:
    """Print what is known of a name."""
    import json

    if args.recipe:
        print(_recipe_of(args.name), end="")
        return 0
    shown = catalogue() if args.name is None else lookup(args.name)
    if args.format == "json":
        print(json.dumps(shown.data, indent=2, default=str))
    else:
        print(shown.text)
    return 0


class Shown:
    """The same facts as text and as data."""

    def __init__(self, text: str, data: Any) -> None:
        self.text, self.data = text, data


def catalogue() -> Shown:
    """Return all recipes, primitives, descriptors and DQ bits with one line each."""
    from f2yaml.interpreter.dq import MEANING
    from f2yaml.interpreter.f2.descriptors import DESCRIPTORS
    from f2yaml.interpreter.f2.tags import ALL_TAGS
    from f2yaml.interpreter.registry import primitives
    from f2yaml.schema.compose import load_recipe, shipped_everywhere, shipped_root

    recipes = {name: load_recipe(path).doc for name, path in sorted(shipped_everywhere().items())}
    families: dict[str, dict[str, str]] = {}
    for primitive in primitives():
        families.setdefault(primitive.family, {})[primitive.name] = primitive.summary
    lines = ["Recipes (`f2yaml run NAME`; `qa/NAME` is run with --mode qa)"]
    lines += [f"  {name:28s} {doc}" for name, doc in recipes.items()]
    for family, members in families.items():
        lines += ["", f"Primitives: {family}"]
        lines += [f"  {name:28s} {text}" for name, text in members.items()]
    folders = {
        kind: sorted(path.stem for path in (shipped_root() / kind).glob("*.yaml"))
        for kind in ("rules", "scenarios")
    }
    lines += ["", "Rules (`f2yaml dataselect --rules NAME`)", *_wrapped(folders["rules"])]
    lines += ["", "Scenarios (`f2yaml simulate NAME`)", *_wrapped(folders["scenarios"])]
    lines += ["", "Tags", *_wrapped(sorted(ALL_TAGS))]
    lines += ["", "Descriptors", *_wrapped(sorted(DESCRIPTORS))]
    lines += ["", "DQ bits", *(f"  {bit:5d}  {text}" for bit, text in MEANING.items())]
    data = {
        "recipes": recipes,
        "primitives": families,
        **folders,
        "tags": sorted(ALL_TAGS),
        "descriptors": sorted(DESCRIPTORS),
        "dq": MEANING,
    }
    return Shown("\n".join(lines), data)


def lookup(name: str) -> Shown:
    """Return what is known of a name: product, primitive, recipe, descriptor, DQ bit or tag.

    Raises
    ------
    RequestError
        Nothing has that name; the nearest is suggested.
    """
    from pathlib import Path

    from f2yaml.interpreter import dq
    from f2yaml.interpreter.f2.descriptors import DESCRIPTORS
    from f2yaml.interpreter.f2.tags import ALL_TAGS
    from f2yaml.interpreter.registry import primitives
    from f2yaml.schema.compose import shipped_everywhere, shipped_root
    from f2yaml.schema.problems import RequestError, did_you_mean

    if _FITS.search(name):
        from f2yaml.interpreter.inputs import require_file
        from f2yaml.interpreter.productview import product_data, product_text

        require_file(Path(name))
        return Shown(product_text(Path(name)), product_data(Path(name)))
    known = {primitive.name: primitive for primitive in primitives()}
    shipped = shipped_everywhere()
    both = name in known and name in shipped
    if name in known and not both:
        return _primitive(known[name])
    if name in shipped or Path(name).suffix in (".yaml", ".yml"):
        recipe = _recipe(name)
        if both:
            step = _primitive(known[name])
            return Shown(f"{recipe.text}\n\n{step.text}", [recipe.data, step.data])
        return recipe
    if name in DESCRIPTORS:
        descriptor = DESCRIPTORS[name]
        unit = f" [{descriptor.unit}]" if descriptor.unit else ""
        data = {"descriptor": name, "doc": descriptor.doc, "unit": descriptor.unit}
        return Shown(f"{name}: descriptor{unit}\n  {descriptor.doc}", data)
    if name.isdigit() and 0 <= int(name) < 65536:
        return Shown(
            f"DQ {name}: {dq.words(int(name))}", {"dq": int(name), "meaning": dq.words(int(name))}
        )
    if name in ALL_TAGS:
        return _tag(name)
    folders = (shipped_root() / kind for kind in ("rules", "scenarios"))
    texts = {path.stem: path for folder in folders for path in folder.glob("*.yaml")}
    if name in texts:  # the text is the best start for one's own
        text = texts[name].read_text(encoding="utf-8").rstrip()
        return Shown(text, {"document": name, "file": str(texts[name]), "text": text})
    everything = {*known, *shipped, *DESCRIPTORS, *ALL_TAGS, *texts}
    raise RequestError(
        f"nothing is called `{name}`",
        "it is no recipe, rules, scenario, primitive, descriptor, tag or DQ value",
        did_you_mean(name, everything) or "`f2yaml show` lists everything",
    )


def _recipe_of(name: str | None) -> str:
    """Return the recipe that the last run of a product went by.

    Raises
    ------
    RequestError
        It is no product, or has no recipe in it.
    """
    from pathlib import Path

    from f2yaml.schema.problems import RequestError

    if name is None or not _FITS.search(name):
        raise RequestError(
            "show --recipe needs a product",
            "it prints the recipe that made a FITS file",
            "name one, as in `f2yaml show --recipe S20200104S0075_image.fits`",
        )
    from f2yaml.interpreter.fits import read_frame
    from f2yaml.interpreter.inputs import require_file
    from f2yaml.interpreter.productview import recipe_text

    require_file(Path(name))
    runs = read_frame(Path(name)).runs
    if not runs or not runs[-1].lines:
        raise RequestError(
            f"{name} has no recipe in it",
            "only products of f2yaml 0.3 and later hold the recipe that made them",
            "`f2yaml show` without --recipe prints what its headers say",
        )
    return recipe_text(runs[-1])


def _tag(name: str) -> Shown:
    """Return the rules that give a tag."""
    from f2yaml.interpreter.f2.tags import F2_RULES, GEMINI_RULES

    rules = [rule for rule in (*F2_RULES, *GEMINI_RULES) if name in rule.tags]
    lines = [f"{name}: tag"]
    data = []
    for rule in rules:
        conditions = {
            "given with": sorted(rule.tags - {name}),
            "needs": sorted(rule.if_present),
            "void beside": sorted(rule.blocked_by),
            "blocks": sorted(rule.blocks),
        }
        told = "; ".join(f"{key} {', '.join(tags)}" for key, tags in conditions.items() if tags)
        lines.append(f"  rule {told or 'gives it alone'}")
        data.append(conditions)
    return Shown("\n".join(lines), {"tag": name, "rules": data})


def _primitive(primitive: AnyPrimitive) -> Shown:
    from f2yaml.interpreter.resources import FROM_RUNNER

    fields = primitive.params.model_fields
    titles = ("parameter", "default", "type", "unit", "bounds", "meaning")
    rows = []
    for name, info in fields.items():
        meaning, unit = _unit(info.description or "")
        default = "required" if info.is_required() else _yaml(info.get_default())
        rows.append((name, default, _type(info.annotation), unit, _bounds(info.metadata), meaning))
    lines = [f"{primitive.name}: {primitive.summary}", ""]
    if rows:
        shown = [n for n in range(5) if n < 3 or any(row[n] for row in rows)]
        widths = {n: max(len(row[n]) for row in [titles, *rows]) for n in shown}
        for row in (titles, *rows):
            cells = [row[n].ljust(width) for n, width in widths.items()]
            lines.append(f"  {'  '.join(cells)}  {row[5]}".rstrip())
    else:
        lines.append("  no parameters")
    facts = {
        "kind": type(primitive).__name__,
        "suffix": primitive.suffix or "(name unchanged)",
        "stamps": ", ".join(primitive.stamps) or "(none)",
        "resources": ", ".join(r for r in primitive.resources if r not in FROM_RUNNER) or "(none)",
        "source": _source(primitive),
    }
    if primitive.package:
        facts["package"] = primitive.package
    lines += ["", *(f"  {key:10s} {value}" for key, value in facts.items()), ""]
    lines += [f"  {line}".rstrip() for line in primitive.doc.splitlines()[2:]]
    data = {
        "primitive": primitive.name,
        "summary": primitive.summary,
        **facts,
        "parameters": [dict(zip(titles, row, strict=True)) for row in rows],
        "doc": primitive.doc,
    }
    return Shown("\n".join(lines).rstrip(), data)


def _source(primitive: AnyPrimitive) -> str:
    """Return the module and line of a primitive's function."""
    function = primitive.function
    return f"{function.__module__}:{function.__code__.co_firstlineno}"


def _unit(description: str) -> tuple[str, str]:
    """Return a description without its unit in brackets, and the unit."""
    import re

    found = re.search(r" \[([^\]]+)\](?=$|[:;,])", description)
    if found is None:
        return description, ""
    return description[: found.start()] + description[found.end() :], found[1]


def _recipe(name: str) -> Shown:
    from f2yaml.interpreter.bind import bind_recipe
    from f2yaml.interpreter.flatcopy import applies_lines
    from f2yaml.interpreter.plan import CallStep, RequireStep
    from f2yaml.schema.compose import load_recipe, shipped_everywhere
    from f2yaml.schema.library import shown_path

    recipe = load_recipe(shipped_everywhere().get(name, name))
    lines = [f"{recipe.name}: {recipe.doc}", ""]
    files = [shown_path(path) for path in recipe.files]
    lines += [f"  {'made of' if n == 0 else '       '} {file}" for n, file in enumerate(files)]
    if recipe.applies_to is not None:
        lines += ["  for", *(f"  {line}" for line in applies_lines(recipe.applies_to))]
    lines.append("")
    for key, parameter in recipe.parameters.items():
        unit = f" {parameter.unit}" if parameter.unit else ""
        told = " ".join(filter(None, (parameter.doc, _limits(parameter))))
        lines.append(f"  --param {key}={_yaml(parameter.default)}{unit}   {told}".rstrip())
    if recipe.parameters:
        lines.append("")
    steps = []
    for step in bind_recipe(recipe):
        if isinstance(step, RequireStep):
            lines.append(f"       require {step.condition.text}: {step.because}")
        elif isinstance(step, CallStep):
            changed = {
                key: setting for key, setting in step.settings.items() if setting.place is not None
            }
            told = "  ".join(f"{key}={_yaml(s.value)}" for key, s in changed.items())
            streams = f"{step.source} -> {', '.join(step.targets)}"
            when = " and ".join(condition.text for condition in step.conditions)
            if when:
                told = f"{told}  when {when}".strip()
            lines.append(
                f"  {step.number:3d}  {step.primitive.name:24s} {streams:28s} {told}".rstrip()
            )
            steps.append(
                {
                    "number": step.number,
                    "primitive": step.primitive.name,
                    "id": step.id,
                    "at": str(step.place),
                    "from": step.source,
                    "to": list(step.targets),
                    "with": {key: s.value for key, s in changed.items()},
                    "origins": {
                        key: {
                            "origin": s.origin,
                            "at": str(s.place),
                            "parameter": s.parameter or None,
                        }
                        for key, s in changed.items()
                    },
                    "when": [condition.text for condition in step.conditions],
                }
            )
    for stream, output in recipe.outputs.items():
        lines.append(f"       writes {stream} as *{output.suffix}.fits   {output.doc}".rstrip())
    applies = recipe.applies_to
    data = {
        "recipe": recipe.name,
        "doc": recipe.doc,
        "files": files,
        "applies_to": applies.model_dump(by_alias=True, exclude_unset=True) if applies else None,
        "parameters": {k: p.model_dump(exclude_none=True) for k, p in recipe.parameters.items()},
        "steps": steps,
        "outputs": {k: o.model_dump(exclude_none=True) for k, o in recipe.outputs.items()},
    }
    return Shown("\n".join(lines), data)


def _limits(parameter: Parameter) -> str:
    """Return the bounds of a recipe's parameter, or its choices."""
    if parameter.choices:
        return f"({' | '.join(map(_yaml, parameter.choices))})"
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    bounds = [
        f"{sign} {getattr(parameter, key):g}"
        for key, sign in signs.items()
        if getattr(parameter, key) is not None
    ]
    return f"({', '.join(bounds)})" if bounds else ""


def _yaml(value: Any) -> str:
    words = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else str(value)


def _type(annotation: Any) -> str:
    import typing
    from types import NoneType

    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return " | ".join(map(str, typing.get_args(annotation)))
    if origin is list:
        return f"list of {_type(typing.get_args(annotation)[0])}"
    parts = typing.get_args(annotation)
    if parts:
        return " | ".join(_type(part) for part in parts)
    return "null" if annotation is NoneType else str(getattr(annotation, "__name__", annotation))


def _bounds(metadata: list[Any]) -> str:
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    return ", ".join(
        f"{sign} {getattr(item, key):g}"
        for item in metadata
        for key, sign in signs.items()
        if getattr(item, key, None) is not None
    )


def _wrapped(names: list[str], width: int = 98) -> list[str]:
    import textwrap

    return textwrap.wrap(", ".join(names), width, initial_indent="  ", subsequent_indent="  ")
