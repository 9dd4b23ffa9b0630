"""``f2yaml schema``: what editors know of documents, made from the declarations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from f2yaml.interpreter import registry
from f2yaml.interpreter.cli import main
from f2yaml.interpreter.f2.tags import ALL_TAGS
from f2yaml.interpreter.jsonschema import schema_folder, schema_of, schema_text
from f2yaml.interpreter.registry import Params, per_frame, primitives
from f2yaml.schema.compose import shipped_root
from f2yaml.schema.kinds import KINDS
from pydantic import Field

DOCUMENTS = sorted(shipped_root().glob("**/*.yaml"))


@pytest.mark.parametrize("kind", KINDS)
def test_shipped_schemas_are_current(kind: str) -> None:
    stored = (schema_folder() / f"{kind}.json").read_text(encoding="utf-8")
    assert stored == schema_text(kind, own=True), "run `f2yaml schema --out recipes/schemas`"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.stem)
def test_shipped_documents_name_their_schema_in_the_first_line(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    kind = {"rules": "rules", "scenarios": "scenario"}.get(path.parent.name, "recipe")
    name, _, schema = first.partition("=")
    assert name == "# yaml-language-server: $schema"
    assert (path.parent / schema).resolve() == schema_folder() / f"{kind}.json"


def parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Return every mapping inside a schema."""
    if isinstance(schema, dict):
        yield schema
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            yield from parts(part)


@pytest.mark.parametrize("kind", KINDS)
def test_references_lead_somewhere(kind: str) -> None:
    schema = schema_of(kind)
    wanted = {part["$ref"] for part in parts(schema) if isinstance(part.get("$ref"), str)}
    assert wanted <= {f"#/$defs/{name}" for name in schema.get("$defs", {})}


def test_every_step_has_its_parameters_with_defaults_and_words() -> None:
    schema = schema_of("recipe")
    do = schema["$defs"]["Do"]
    names = do["properties"]["do"]["enum"]
    assert names == [primitive.name for primitive in primitives()]
    assert len(do["properties"]["do"]["enumDescriptions"]) == len(names)
    told = dict(zip(names, do["properties"]["do"]["markdownEnumDescriptions"], strict=True))
    rules = {rule["if"]["properties"]["do"]["const"]: rule["then"] for rule in do["allOf"]}
    assert sorted(rules) == sorted(names)
    for primitive in primitives():
        values = schema["$defs"][f"with_{primitive.name}"]
        assert values["additionalProperties"] is False
        assert list(values["properties"]) == list(primitive.params.model_fields)
        for name, info in primitive.params.model_fields.items():
            described = values["properties"][name]
            assert described["description"].startswith(info.description or "?")
            assert f"`{name}`" in told[primitive.name]
            default = info.get_default()
            if not info.is_required() and default is not None:
                assert described["default"] == default
        needed = [n for n, i in primitive.params.model_fields.items() if i.is_required()]
        assert ("required" in rules[primitive.name]) == bool(needed)
        assert do["defaultSnippets"][names.index(primitive.name)]["body"]["do"] == primitive.name
    threshold = schema["$defs"]["with_detectSources"]["properties"]["detect_thresh"]
    assert threshold["anyOf"][0] == {"minimum": 0.1, "type": "number"}
    assert threshold["anyOf"][1]["pattern"].startswith(r"^\$")


def test_words_of_the_instrument_are_known() -> None:
    tags = schema_of("rules")["$defs"]["FrameSet"]["properties"]["tags"]["items"]["enum"]
    assert tags == sorted(ALL_TAGS)
    same = schema_of("recipe")["$defs"]["Criterion"]["properties"]["same"]["anyOf"][0]["items"]
    assert "filter_name" in same["enum"]
    assert len(same["enum"]) == len(same["enumDescriptions"])
    include = schema_of("recipe")["$defs"]["Include"]["properties"]["include"]
    assert "base/standard.yaml" in include["examples"]
    defaults = schema_of("config")["properties"]["defaults"]["properties"]
    assert "operation" in defaults["stackFrames"]["properties"]


def test_primitives_of_other_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fringes(Params):
        """Parameters."""

        strength: float = Field(1.0, ge=0, description="how much")

    registry.load()
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))

    def fringes(frame: object, params: Fringes) -> object:
        """Subtract fringes."""
        return frame

    fringes.__annotations__["params"] = Fringes
    per_frame("fringeCorrect")(fringes)
    known = registry._REGISTRY["fringeCorrect"]
    object.__setattr__(known, "package", "fringes 1.0")
    assert "with_fringeCorrect" in schema_of("recipe")["$defs"]
    assert "with_fringeCorrect" not in schema_of("recipe", own=True)["$defs"]


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["schema", "rules"]) == 0
    assert json.loads(capsys.readouterr().out) == schema_of("rules")
    assert main(["schema"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    for line, kind in zip(lines, KINDS, strict=True):
        assert Path(line.partition("$schema=")[2]) == schema_folder() / f"{kind}.json"
    assert main(["schema", "--out", "editor/schemas"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"editor/schemas/{kind}.json" for kind in KINDS]
    assert main(["schema", "config", "--out", "one"]) == 0
    assert [path.name for path in Path("one").iterdir()] == ["config.json"]
    Path("file").touch()
    assert main(["schema", "--out", "file"]) == 2
    assert "file cannot be written to" in capsys.readouterr().err
    assert main(["schema", "recipes"]) == 2


def test_a_new_recipe_names_a_schema_that_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", "mine"]) == 0
    first = Path("mine.yaml").read_text().splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert Path(first.partition("=")[2]).is_file()
    assert main(["validate", "mine.yaml"]) == 0
