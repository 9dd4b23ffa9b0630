"""JSON Schema of every kind of document, for editors: made from the models and the registry.

The schema of a recipe knows each step by name: its parameters with types, bounds, defaults and
meaning, and an example. A value may always be a reference to a parameter (``$name``). What a schema
cannot say (streams, whether a stack comes before a calibration) is left to ``f2yaml validate``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from f2yaml.interpreter.f2.descriptors import DESCRIPTORS
from f2yaml.interpreter.f2.tags import ALL_TAGS
from f2yaml.interpreter.registry import AnyPrimitive, BetweenStreams, primitives
from f2yaml.schema.kinds import KINDS, model_of
from f2yaml.schema.library import shipped_root

Schema = dict[str, Any]

_DRAFT = "http://json-schema.org/draft-07/schema#"
_TITLES = {
    "recipe": "f2yaml recipe",
    "rules": "f2yaml selection rules",
    "scenario": "f2yaml scenario of a night to simulate",
    "config": "f2yaml configuration",
}
_REFERENCE: Schema = {"type": "string", "pattern": r"^\$[A-Za-z_][A-Za-z0-9_]*$"}
_STREAM: Schema = {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$", "maxLength": 64}


def schema_folder() -> Path:
    """Return the folder of the schemas that come with f2yaml."""
    return shipped_root() / "schemas"


def schema_text(kind: str, *, own: bool = False) -> str:
    """Return the JSON Schema of a kind of document as text.

    Parameters
    ----------
    kind : str
        One of `f2yaml.schema.kinds.KINDS`.
    own : bool
        Leave out primitives that other packages have brought.
    """
    return json.dumps(schema_of(kind, own=own), indent=1, ensure_ascii=False) + "\n"


def schema_of(kind: str, *, own: bool = False) -> Schema:
    """Return the JSON Schema of a kind of document; parameters as in `schema_text`."""
    made = model_of(kind).model_json_schema(by_alias=True)
    schema: Schema = {"$schema": _DRAFT, **_tidy(made), "title": _TITLES[kind]}
    schema["properties"]["f2yaml"] = {
        "const": 1,
        "description": "version of the format",
        "default": 1,
    }
    steps = [p for p in primitives() if not (own and p.package)]
    if kind == "recipe":
        _fill_recipe(schema, steps)
    elif kind == "rules":
        _fill_rules(schema)
    elif kind == "config":
        _fill_config(schema, steps)
    return schema


def write_schemas(folder: Path, kinds: Iterable[str] = KINDS, *, own: bool = False) -> list[Path]:
    """Write the schemas into a folder, which is made if need be; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for kind in kinds:
        path = folder / f"{kind}.json"
        path.write_text(schema_text(kind, own=own), encoding="utf-8")
        written.append(path)
    return written


# recipes -------------------------------------------------------------------------------------
def _fill_recipe(schema: Schema, steps: list[AnyPrimitive]) -> None:
    found = schema["$defs"]
    do = found["Do"]
    do["properties"]["do"] = {"description": "name of the primitive", **_names(steps)}
    do["properties"]["to"] = {
        "anyOf": [_STREAM, {"type": "array", "items": _STREAM, "minItems": 1, "maxItems": 16}],
        "default": "main",
        "description": "stream or streams to fill",
    }
    for holder in (do, found["Override"]):
        holder["properties"]["write"] = {
            "anyOf": [{"type": "boolean"}, {"$ref": "#/$defs/Write"}],
            "default": False,
            "description": "true, or suffix and planes, to save the result",
        }
    do["properties"]["with"] = {"type": "object", "description": "parameters of the primitive"}
    do["allOf"] = []
    overrides: Schema = {}
    for primitive in steps:
        name = f"with_{primitive.name}"
        found[name] = {**_parameters(primitive), "examples": [_example(primitive).get("with", {})]}
        reference: Schema = {"$ref": f"#/$defs/{name}"}
        then: Schema = {"properties": {"with": reference}}
        needed = [n for n, info in primitive.params.model_fields.items() if info.is_required()]
        if needed:
            then["required"] = ["with"]
            then["properties"]["with"] = {"allOf": [reference, {"required": needed}]}
        condition = {"properties": {"do": {"const": primitive.name}}, "required": ["do"]}
        do["allOf"].append({"if": condition, "then": then})
        overrides[primitive.name] = {
            "type": "object",
            "description": f"change the step {primitive.name}: {primitive.summary}",
            "additionalProperties": False,
            "properties": {
                **found["Override"]["properties"],
                "with": reference,
            },
        }
    do["defaultSnippets"] = [_snippet(primitive) for primitive in steps]
    override = schema["properties"]["override"]
    override["properties"] = overrides
    override["additionalProperties"] = {"$ref": "#/$defs/Override"}
    override.pop("patternProperties", None)
    for holder, key in ((found["Include"], "include"), (schema, "extends")):
        holder["properties"][key]["examples"] = list(_shipped())
    _fill_words(found["Criterion"]["properties"])
    schema["examples"] = [_recipe_example()]


def _names(steps: list[AnyPrimitive]) -> Schema:
    return {
        "type": "string",
        "enum": [primitive.name for primitive in steps],
        "enumDescriptions": [primitive.summary for primitive in steps],
        "markdownEnumDescriptions": [_help(primitive) for primitive in steps],
    }


def _help(primitive: AnyPrimitive) -> str:
    """Return a primitive's documentation as Markdown: what it does, and its parameters."""
    lines = [primitive.summary, ""]
    for name, info in primitive.params.model_fields.items():
        default = "required" if info.is_required() else f"default {json.dumps(info.get_default())}"
        lines.append(f"- `{name}` ({default}): {info.description}")
    if not primitive.params.model_fields:
        lines.append("It has no parameters.")
    return "\n".join(lines)


def _parameters(primitive: AnyPrimitive) -> Schema:
    """Return the schema of what stands under `with` of a step."""
    made = _tidy(primitive.params.model_json_schema())
    properties = {
        name: _or_reference(value, primitive.params.model_fields[name].description or "")
        for name, value in made.get("properties", {}).items()
    }
    return {
        "type": "object",
        "description": f"parameters of {primitive.name}: {primitive.summary}",
        "additionalProperties": False,
        "properties": properties,
    }


def _or_reference(value: Schema, description: str) -> Schema:
    """Return the schema of a value that may also be a reference to a parameter of the recipe.

    Editors show descriptions, but no defaults, so the default stands in both.
    """
    kept: Schema = {key: value.pop(key) for key in ("default", "examples") if key in value}
    value.pop("description", None)
    choices = value.pop("anyOf", None) or [value]
    if "default" in kept:
        description += f" (default {json.dumps(kept['default'])})"
    return {"description": description, "anyOf": [*choices, _REFERENCE], **kept}


def _example(primitive: AnyPrimitive) -> Schema:
    step: Schema = {"do": primitive.name}
    if isinstance(primitive, BetweenStreams) and len(primitive.fills) > 1:
        step["to"] = list(primitive.fills)
    values = {
        name: _some_value(primitive, name) if info.is_required() else info.get_default()
        for name, info in primitive.params.model_fields.items()
    }
    shown = {name: value for name, value in values.items() if value is not None}
    if shown:
        step["with"] = dict(list(shown.items())[:3])
    return step


def _some_value(primitive: AnyPrimitive, name: str) -> object:
    made = primitive.params.model_json_schema()["properties"][name]
    if "enum" in made:
        return made["enum"][0]
    if name == "tags":
        return ["DARK"]
    return {"array": [], "string": "", "boolean": False}.get(made.get("type", ""), 1)


def _snippet(primitive: AnyPrimitive) -> Schema:
    return {
        "label": primitive.name,
        "description": primitive.summary,
        "body": _example(primitive),
    }


def _shipped() -> Iterator[str]:
    root = shipped_root()
    for path in sorted(root.glob("base/*.yaml")) + sorted(root.glob("*.yaml")):
        yield path.relative_to(root).as_posix()


def _recipe_example() -> Schema:
    return {
        "f2yaml": 1,
        "name": "mine",
        "steps": [{"include": "base/flat_corrected.yaml"}, {"do": "stackFrames"}],
        "outputs": {"main": {"suffix": "_mine"}},
    }


# words of the instrument ---------------------------------------------------------------------
def _tags() -> Schema:
    return {"type": "string", "enum": sorted(ALL_TAGS)}


def _descriptors() -> Schema:
    known = sorted(DESCRIPTORS)
    return {
        "type": "string",
        "enum": known,
        "enumDescriptions": [DESCRIPTORS[name].doc for name in known],
    }


def _fill_words(properties: Schema) -> None:
    """Let lists of tags and of descriptors take known words only."""
    words = {"tags": _tags, "xtags": _tags, "same": _descriptors}
    words |= {"group_by": _descriptors, "sort_by": _descriptors}
    for key, make in words.items():
        if key in properties:
            for part in [properties[key], *properties[key].get("anyOf", [])]:
                if part.get("type") == "array":
                    part["items"] = make()


def _fill_rules(schema: Schema) -> None:
    _fill_words(schema["$defs"]["FrameSet"]["properties"])
    schema["examples"] = [
        {
            "f2yaml": 1,
            "kind": "rules",
            "sets": {"darks": {"tags": ["DARK"], "output": "darks.list"}},
        }
    ]


def _fill_config(schema: Schema, steps: list[AnyPrimitive]) -> None:
    defaults = schema["properties"]["defaults"]
    defaults.pop("patternProperties", None)
    defaults["additionalProperties"] = False
    defaults["properties"] = {p.name: _parameters(p) for p in steps}
    schema["examples"] = [
        {
            "f2yaml": 1,
            "kind": "config",
            "databases": [{"path": "calibrations/f2yaml.db", "store": True}],
            "defaults": {"stackFrames": {"operation": "median"}},
        }
    ]


# tidying -------------------------------------------------------------------------------------
def _tidy(schema: Any) -> Any:
    """Return a schema without generated titles and without defaults that say "nothing"."""
    if isinstance(schema, list):
        return [_tidy(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {}
    for key, value in schema.items():
        if key == "title" and isinstance(value, str):
            continue
        if key == "default" and value in (None, [], {}):
            continue
        if key in ("properties", "$defs", "patternProperties"):
            kept[key] = {name: _tidy(part) for name, part in value.items()}
        else:
            kept[key] = _tidy(value)
    if "oneOf" in kept:  # the alternatives differ in their keys; anyOf gives clearer messages
        kept["anyOf"] = kept.pop("oneOf")
    return kept
