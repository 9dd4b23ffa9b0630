"""The reference pages of the documentation, made from the declarations of the program.

`pages()` returns Markdown by path; the hook of MkDocs takes it in. ``python .ci/docs_reference.py
FOLDER`` writes the pages into a folder, to be read without MkDocs.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from docs_markup import code, docstring, fence, heading, keys, plain, table
from f2yaml.interpreter import association, cli, config, dq, errors
from f2yaml.interpreter.allowing import CHECKS, check_behind
from f2yaml.interpreter.commands.show import lookup
from f2yaml.interpreter.f2.descriptors import DESCRIPTORS
from f2yaml.interpreter.f2.tags import ALL_TAGS
from f2yaml.interpreter.flatcopy import applies_lines
from f2yaml.interpreter.registry import AnyPrimitive, BetweenStreams, Group, primitives
from f2yaml.schema.compose import load_recipe, shipped_everywhere, shipped_root
from f2yaml.schema.kinds import model_of
from f2yaml.schema.modes import MEANING as MODES

_MADE = "*Made from the declarations of the program.*"
_DOCUMENTS = {
    "recipe": "what is done to frames: `f2yaml run`, `plan`, `validate`",
    "rules": "lists of frames: `f2yaml dataselect --rules`, `night`",
    "config": "calibration databases, log and defaults of every run",
    "scenario": "a night to simulate: `f2yaml simulate`",
}


@cache
def pages() -> Mapping[str, str]:
    """Return the text of each page, by its path below the folder of the documentation."""
    made = {
        "commands": _commands(),
        "recipes": _recipes(),
        "primitives": _catalogue(),
        **{f"primitives_{family}": list(_family(family)) for family in families()},
        "parameters": _parameters(),
        "documents": _documents(),
        "tags": _tags(),
        "descriptors": _descriptors(),
        "dq": _bits(),
        "calibrations": _calibrations(),
        "errors": _errors(),
    }
    return {f"reference/{name}.md": "\n".join(lines) + "\n" for name, lines in made.items()}


@cache
def families() -> dict[str, list[AnyPrimitive]]:
    """Return the primitives of f2yaml itself, by family."""
    found: dict[str, list[AnyPrimitive]] = {}
    for primitive in primitives():
        if not primitive.package:
            found.setdefault(primitive.family, []).append(primitive)
    return found


def _link(primitive: str) -> str:
    family = next((f for f, members in families().items() if _named(members, primitive)), "")
    return f"[{primitive}](primitives_{family}.md#{primitive.lower()})"


def _named(members: list[AnyPrimitive], name: str) -> bool:
    return any(member.name == name for member in members)


def _anchor(recipe: str) -> str:
    return recipe.replace("/", "-").lower()


# recipes ------------------------------------------------------------------------------------------
@cache
def _shown(name: str) -> tuple[dict[str, Any], ...]:
    """Return what `f2yaml show` knows of a name; some names are both recipe and primitive."""
    data = lookup(name).data
    return tuple(data) if isinstance(data, list) else (data,)


def _recipe_data(name: str) -> dict[str, Any]:
    return next(data for data in _shown(name) if "recipe" in data)


def _recipes() -> list[str]:
    lines = [*heading(1, "Recipes"), _MADE, ""]
    lines += ["`f2yaml run NAME --inputs ...` runs one; `qa/NAME` and `ql/NAME` are those of"]
    lines += ["`--mode qa` and `--mode ql`. `f2yaml show NAME` prints what stands here.", ""]
    rows = [
        (f"[{name}](#{_anchor(name)})", plain(load_recipe(path).doc))
        for name, path in shipped_everywhere().items()
    ]
    lines += table(("recipe", "what it does"), rows)
    modes = ((code(mode), text) for mode, text in MODES.items())
    lines += [*heading(2, "Modes"), *table(("mode", "stands for"), modes)]
    for name, path in shipped_everywhere().items():
        lines += _recipe(name, path)
    lines += heading(2, "Building blocks", "building-blocks")
    lines += ["Recipes are composed of these; `include` takes them into yours.", ""]
    for path in sorted((shipped_root() / "base").glob("*.yaml")):
        recipe = load_recipe(path)
        name = f"base/{path.name}"
        lines += [*heading(3, name, f"base-{path.stem.lower()}"), plain(recipe.doc), ""]
        lines += [*_recipe_parameters(recipe.parameters), *_source(path)]
    return lines


def _recipe(name: str, path: Path) -> list[str]:
    data = _recipe_data(name)
    recipe = load_recipe(path)
    lines = [*heading(2, name, _anchor(name)), plain(recipe.doc), ""]
    if recipe.applies_to is not None:
        note = " Runs that name no recipe take it." if recipe.applies_to.default else ""
        lines += [f"**For** frames that meet all of this.{note}", ""]
        lines += fence(inspect.cleandoc("\n".join(applies_lines(recipe.applies_to))), "yaml")
    lines += _recipe_parameters(recipe.parameters)
    lines += ["**Steps**", ""]
    steps = (
        (
            step["number"],
            _link(step["primitive"]),
            code(f"{step['from']} → {', '.join(step['to'])}"),
            ", ".join(code(f"{key}={value}") for key, value in step["with"].items()),
            " and ".join(code(condition) for condition in step["when"]),
        )
        for step in data["steps"]
    )
    lines += table(("", "step", "streams", "with", "when"), steps)
    writes = (
        (
            code(stream),
            code(f"*{output['suffix']}.fits"),
            ", ".join(output.get("planes", ())) or "all",
            code(output.get("store", "")),
            plain(output.get("doc", "")),
        )
        for stream, output in data["outputs"].items()
    )
    titles = ("stream", "file", "planes", "enters the database as", "what it is")
    written = table(titles, writes)
    lines += ["**Writes**", "", *written] if written else ["It writes no file.", ""]
    return lines + _source(path)


def _recipe_parameters(parameters: Mapping[str, Any]) -> list[str]:
    rows = []
    for name, parameter in parameters.items():
        bounds = [
            ("≥", parameter.ge),
            (">", parameter.gt),
            ("≤", parameter.le),
            ("<", parameter.lt),
        ]
        limits = ", ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)
        choices = " or ".join(code(choice) for choice in parameter.choices or ())
        default = "null" if parameter.default is None else str(parameter.default)
        rows.append(
            (code(name), code(default), parameter.unit, limits or choices, plain(parameter.doc))
        )
    made = table(("parameter", "default", "unit", "bounds", "meaning"), rows)
    return ["**Parameters** (`--param NAME=VALUE`)", "", *made] if made else []


def _source(path: Path) -> list[str]:
    shown = path.relative_to(shipped_root())
    text = "\n".join(fence(path.read_text(encoding="utf-8"), "yaml")).splitlines()
    return [f'??? note "recipes/{shown}"', "", *(f"    {line}".rstrip() for line in text), ""]


# primitives ---------------------------------------------------------------------------------------
@cache
def _users() -> dict[str, list[str]]:
    """Return the recipes that a primitive is a step of."""
    found: dict[str, list[str]] = {}
    for name in shipped_everywhere():
        for primitive in dict.fromkeys(s["primitive"] for s in _recipe_data(name)["steps"]):
            found.setdefault(primitive, []).append(name)
    return found


def _catalogue() -> list[str]:
    lines = [*heading(1, "Primitives"), _MADE, ""]
    lines += ["The steps that recipes are made of, by family. Names, parameters and suffixes are"]
    lines += ["those of DRAGONS wherever both have them; [from DRAGONS](../from_dragons.md) has"]
    lines += [
        "the differences, [what each step does to the pixels](../science.md) the science.",
        'References such as "Spec: primitives 8.2" are to sections of the description of what',
        "DRAGONS does with F2 images, by which f2yaml is developed; departures are named there.",
        "",
    ]
    for family, members in families().items():
        lines += heading(2, family.capitalize())
        lines += table(("primitive", ""), ((_link(p.name), plain(p.summary)) for p in members))
    lines += heading(2, "What every step takes")
    lines += ["Beside its own parameters: `skip_primitive=true` leaves a step out, and"]
    lines += ["`write_outputs=true` saves its frames; as `-p STEP:skip_primitive=true`, or `skip`"]
    lines += ["and `write` in a recipe.", ""]
    return lines


def _family(family: str) -> Iterator[str]:
    yield from [*heading(1, f"Primitives: {family}"), _MADE, ""]
    for primitive in families()[family]:
        data = next(d for d in _shown(primitive.name) if "primitive" in d)
        yield from [
            *heading(2, primitive.name, primitive.name.lower()),
            plain(primitive.summary),
            "",
        ]
        rows = (
            (
                code(row["parameter"]),
                row["default"] if row["default"] == "required" else code(row["default"] or "''"),
                " or ".join(code(part) for part in row["type"].split(" | ")),
                plain(row["unit"]),
                plain(row["bounds"].replace(">=", "≥").replace("<=", "≤")),
                plain(row["meaning"]),
            )
            for row in data["parameters"]
        )
        titles = ("parameter", "default", "type, choices", "unit", "bounds", "meaning")
        yield from table(titles, rows) or ["It has no parameters.", ""]
        yield from docstring(primitive.doc)
        users = (f"[{n}](recipes.md#{_anchor(n)})" for n in _users().get(primitive.name, ()))
        facts = [
            ("works on", _works_on(primitive)),
            ("suffix", code(primitive.suffix) or "none: names stay"),
            ("stamps", ", ".join(map(code, primitive.stamps))),
            ("refuses frames that have", code(primitive.guard)),
            ("calibrations and files", "" if data["resources"] == "(none)" else data["resources"]),
            ("used by", ", ".join(users) or "no shipped recipe"),
            ("source", code(data["source"].rpartition(":")[0])),
        ]
        yield from [*(f"- **{key}**: {value}" for key, value in facts if value), ""]


def _works_on(primitive: AnyPrimitive) -> str:
    more = {"any": "", "exposures": "; not on stacks", "several": "; not on one frame or a stack"}
    after = more[primitive.takes]
    if isinstance(primitive, Group):
        return f"all frames of a stream together{', makes one' * primitive.combines}{after}"
    if isinstance(primitive, BetweenStreams):
        reads = ", ".join(code(s) for s in (*primitive.reads, "from"))
        return f"streams: reads {reads}, fills {', '.join(map(code, primitive.fills))}{after}"
    return f"each frame by itself{after}"


def _parameters() -> list[str]:
    found: dict[str, list[tuple[str, str]]] = {}
    for members in families().values():
        for primitive in members:
            data = next(d for d in _shown(primitive.name) if "primitive" in d)
            for row in data["parameters"]:
                found.setdefault(row["parameter"], []).append((primitive.name, row["default"]))
    rows = (
        (
            code(name),
            ", ".join(f"{_link(step)} {code(default or repr(''))}" for step, default in steps),
        )
        for name, steps in sorted(found.items(), key=lambda pair: pair[0].lower())
    )
    lines = [*heading(1, "Parameters"), _MADE, ""]
    lines += ["Each parameter with the primitives that have it, and its default there.", ""]
    lines += ["`-p STEP:NAME=VALUE` sets one, `-p NAME=VALUE` that of every step that has it.", ""]
    return lines + table(("parameter", "primitives and defaults"), rows)


# the instrument -----------------------------------------------------------------------------------
def _tags() -> list[str]:
    rows = []
    for tag in sorted(ALL_TAGS):
        rules = _shown(tag)[0]["rules"]
        told = [
            "; ".join(f"{k} {', '.join(map(code, v))}" for k, v in r.items() if v) for r in rules
        ]
        rows.append((code(tag), "<br>or ".join(text or "by itself" for text in told)))
    lines = [*heading(1, "Tags"), _MADE, ""]
    lines += ["What a file is, from its primary header: `f2yaml typewalk` shows the tags of files,"]
    lines += ["`dataselect --tags` and `--xtags` pick by them, `applies_to` asks for them. A rule"]
    lines += ["may need tags of earlier rules, be void beside others, or block others.", ""]
    return lines + table(("tag", "rules that give it"), rows)


def _descriptors() -> list[str]:
    lines = [*heading(1, "Descriptors"), _MADE, ""]
    lines += ["What a file says about itself, by name: `f2yaml showd -d NAME`, expressions of"]
    lines += ["`dataselect --expr`, rules and recipes. Header keywords serve as well, as"]
    lines += ["`phu.OBSID`. What the header does not give is `none`.", ""]
    rows = (
        (code(name), d.unit, "yes" if d.pretty else "", "yes" if d.is_list else "", plain(d.doc))
        for name, d in sorted(DESCRIPTORS.items())
    )
    return lines + table(("descriptor", "unit", "short form", "list", "meaning"), rows)


def _bits() -> list[str]:
    lines = [*heading(1, "Quality bits"), _MADE, ""]
    lines += ["The plane DQ is the sum of these, for each pixel; values are those of DRAGONS.", ""]
    lines += table(("bit", "meaning"), ((code(b), plain(text)) for b, text in dq.MEANING.items()))
    lines += ["`f2yaml show 68` says a sum in words. A pixel with any of the bits of", ""]
    sums = {
        dq.FAIL: "cannot be used as a measurement",
        dq.REPLACE: "is filled from its neighbours before sources are sought (`replace_flags`)",
    }
    rows = ((code(n), plain(dq.words(n)), text) for n, text in sums.items())
    return lines + table(("sum", "that is", "what follows"), rows)


def _calibrations() -> list[str]:
    lines = [*heading(1, "Calibration rules"), _MADE, ""]
    lines += ["Which calibration fits a frame. Of those that meet every criterion the nearest in"]
    lines += ["time is taken. `f2yaml caldb explain FRAME` applies these rules and shows both"]
    lines += ["values of each criterion; a missing calibration is told with the same table.", ""]
    for caltype, criteria in association.RULES.items():
        lines += heading(2, caltype)
        rows = (
            (code(c.name), _compared(c.compare), code(check_behind(c.name) or "")) for c in criteria
        )
        lines += table(("criterion", "has to be", "set aside by `--allow`"), rows)
    lines += heading(2, "Checks that can be set aside", "allow")
    lines += [
        "`f2yaml run --allow CHECK`; the product says so. [Faults](../faults.md) has more.",
        "",
    ]
    return lines + table(("check", "allows"), ((code(k), plain(v)) for k, v in CHECKS.items()))


def _compared(compare: association.Compare) -> str:
    match compare:
        case association.Equal():
            return "equal"
        case association.Within(tolerance, unit):
            return f"within {tolerance:g} {unit}"
        case association.DaysApart(limit):
            return f"under {limit:g} days away"
        case association.NotLater():
            return "not later than the frame"
        case association.Not(value):
            return f"not {value}"
        case association.AtLeastMode():
            return "made in the mode of the run, or a better one"


# documents, commands, errors ----------------------------------------------------------------------
def _documents() -> list[str]:
    lines = [*heading(1, "Documents"), _MADE, ""]
    lines += ["Every key of every kind of document. `f2yaml validate` checks them all,"]
    lines += ["`f2yaml schema` writes the JSON Schemas that editors complete from. How large a"]
    lines += ["document may be stands in [limits](../security.md#limits).", ""]
    for name, purpose in _DOCUMENTS.items():
        schema = model_of(name).model_json_schema(by_alias=True)
        lines += [*heading(2, name.capitalize(), name), f"For {purpose}.", ""]
        if name == "config":
            lines += [f"The first of `--config FILE`, the file that `${config.VARIABLE}` names,"]
            lines += ["`./f2yaml.yaml` and `~/.config/f2yaml/config.yaml` serves; without any, a"]
            lines += ["database in `calibrations/` of the working folder. `f2yaml caldb config`"]
            lines += ["shows which. DRAGONS' file is read where `--config` names it.", ""]
        lines += keys(schema, "key")
        for part, item in schema.get("$defs", {}).items():
            if "properties" not in item:
                continue
            doc = inspect.cleandoc(item.get("description", ""))
            lines += [*heading(3, part, f"{name}-{part.lower()}"), plain(doc), ""]
            lines += keys(item, "key")
    return lines


def _parser(command: str) -> argparse.ArgumentParser:
    return _actions(cli.build_parser(command)).choices[command]


def _actions(parser: argparse.ArgumentParser) -> Any:
    return next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))


def _commands() -> list[str]:
    lines = [*heading(1, "Commands"), _MADE, "", plain(cli.EPILOG), ""]
    lines += ["Results go to standard output, progress and errors to standard error.", ""]
    rows = ((f"[{name}](#{name})", plain(text)) for name, text in cli.COMMANDS.items())
    lines += table(("command", "what it does"), rows)
    for name in cli.COMMANDS:
        parser = _parser(name)
        lines += [*heading(2, name), plain(parser.description or ""), "", *_options(parser)]
        nested = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        for action in nested:
            told = {choice.dest: choice.help for choice in action._choices_actions}
            for word, sub in action.choices.items():
                lines += heading(3, f"{name} {word}", f"{name}-{word}")
                lines += [plain(f"{told.get(word) or ''}."), "", *_options(sub)]
    return lines


def _options(parser: argparse.ArgumentParser) -> list[str]:
    parser.formatter_class = partial(argparse.HelpFormatter, width=88)
    parser.color = False
    formatter = parser._get_formatter()
    lines = fence(re.sub(r"^(usage: |       )", "", parser.format_usage(), flags=re.M))
    rows = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction | argparse._HelpAction):
            continue
        words = ", ".join(map(code, action.option_strings))
        wanted = action.metavar or action.dest.upper()
        choices = " or ".join(code(choice) for choice in action.choices or ())
        takes = "" if action.nargs == 0 else choices or (code(wanted) if words else "")
        meaning = formatter._expand_help(action) if action.help else ""
        rows.append((words or code(action.metavar or action.dest), takes, plain(meaning)))
    return lines + table(("option", "takes", "meaning"), rows)


def _errors() -> list[str]:
    lines = [*heading(1, "Exit statuses and errors"), _MADE, ""]
    lines += ["[When something goes wrong](../errors.md) says how to read a message.", ""]
    lines += heading(2, "Exit statuses", "exit-statuses")
    statuses = re.findall(r"(\d+) ([^,.]+)", cli.EPILOG)
    lines += table(("status", "meaning"), ((code(n), text) for n, text in statuses))
    lines += heading(2, "Errors")
    rows = []
    for name in sorted(errors.__all__):
        kind = getattr(errors, name)
        if issubclass(kind, errors.F2Error) and kind is not errors.F2Error:
            told = inspect.cleandoc(kind.__doc__ or "").partition("\n")[0]
            rows.append((code(name), code(kind.status), code(kind.__base__.__name__), plain(told)))
    return lines + table(("error", "exit status", "a kind of", "meaning"), rows)


if __name__ == "__main__":
    for path, text in pages().items():
        target = Path(sys.argv[1]) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
