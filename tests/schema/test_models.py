"""Models against documents: every kind of fault, with its words and its place."""

from __future__ import annotations

import pytest
from f2yaml.schema.base import Fault
from f2yaml.schema.config import Config
from f2yaml.schema.problems import Place, RecipeError
from f2yaml.schema.recipe import Do, Parameter, Recipe, When, Write
from f2yaml.schema.salvage import validate_model
from f2yaml.schema.selection import Rules
from f2yaml.schema.source import load

HEAD = "f2yaml: 1\nname: r\n"


def recipe(text: str) -> Recipe:
    return validate_model(load("r.yaml", HEAD + text), Recipe)


def refused(text: str, head: str = HEAD) -> list[tuple[str, str, str]]:
    """Return (line:column+width, what, fix) of each problem."""
    with pytest.raises(RecipeError) as caught:
        validate_model(load("r.yaml", head + text), Recipe)
    out = []
    for problem in caught.value.problems:
        assert isinstance(problem.where, Place)
        assert problem.why
        spot = f"{problem.where.line}:{problem.where.column}+{problem.where.width}"
        out.append((spot, problem.what, problem.fix))
    return out


KNOWN_DO = "known are do, id, from, to, with, write, skip"
FAULTS = [
    # keys
    ("step: []", "3:1+4", "unknown key `step`",
     "did you mean `steps`? (known are f2yaml, kind, name, doc, extends, applies_to, parameters, "
     "steps, override, insert, outputs)"),
    ("steps: [{do: a, form: b}]", "3:17+4", "unknown key `form` in entry 1 of `steps`",
     f"did you mean `from`? ({KNOWN_DO})"),
    ("steps: [{do: a, zzz: b}]", "3:17+3", "unknown key `zzz` in entry 1 of `steps`",
     f"parameters stand under `with`, as in `with: {{zzz: ...}}`; {KNOWN_DO}"),
    ("steps: [{do: a, write: {sufix: _x}}]", "3:25+5", "unknown key `sufix` in `write`",
     "did you mean `suffix`? (known are suffix, planes)"),
    ("steps: [{when: $x, steps: [{do: a, form: b}]}]", "3:36+4",
     "unknown key `form` in entry 1 of `steps`", f"did you mean `from`? ({KNOWN_DO})"),
    ("outputs: {main: {sufix: _x, suffix: _y}}", "3:18+5", "unknown key `sufix` in `main`",
     "did you mean `suffix`? (known are suffix, planes, store, doc)"),
    ("parameters: {x: {default: 1, minimum: 0}}", "3:30+7", "unknown key `minimum` in `x`",
     "known are default, type, ge, gt, le, lt, choices, unit, doc"),
    ("steps: [{do: a, include: b}]", "3:17+7", "`include` cannot stand beside `do`",
     "make two steps of it"),
    ("steps: [{require: count(main) > 1}]", "3:9+26",
     "key `because` is missing in entry 1 of `steps`", "add `because: ...`"),
    ("on: 1", "3:1+2", "unknown key `on`",
     "known are f2yaml, kind, name, doc, extends, applies_to, parameters, steps, override, "
     "insert, outputs"),
    # steps
    ("steps: [{inclde: a}]", "3:9+11",
     "entry 1 of `steps` has none of the keys do, include, require, when",
     "did you mean `include`?"),
    ("steps: [{}]", "3:9+2", "entry 1 of `steps` has none of the keys do, include, require, when",
     "add one of do, include, require, when"),
    ("steps: [prepare]", "3:9+7", "entry 1 of `steps` is text `prepare`",
     "write it as `{do: prepare}`"),
    ("steps: [5]", "3:9+1", "entry 1 of `steps` is the number 5", "write a mapping"),
    ("steps: [{when: $x, steps: []}]", "3:27+2", "`steps` is empty", "fill it"),
    ("steps: {do: a}", "3:8+7", "`steps` is a mapping",
     "write a list in brackets, or one entry a line after `- `"),
    ("steps: [{do: a, with: [1]}]", "3:23+3", "`with` is a list",
     "write keys and values, as in `{key: value}`"),
    ("steps:\n  - {do: a, with: }", "4:13+4", "`with` is empty",
     "write its keys and values below it, indented further"),
    # types
    ("steps: [{do: a, skip: yes}]", "3:23+3", "`skip` is text `yes`",
     "write `true` (in YAML 1.2 `yes` and `on` are text)"),
    ("steps: [{do: a, skip: 0}]", "3:23+1", "`skip` is the number 0", "write true or false"),
    ("doc: 5", "3:6+1", "`doc` is the number 5", 'quote it: "5"'),
    ("doc: true", "3:6+4", "`doc` is `true`", 'quote it: "true"'),
    ("doc:", "3:1+3", "`doc` is empty", "write text"),
    ("parameters: {x: {default: 1.5, ge: '0'}}", "3:36+3", "`ge` is text `0`",
     "write 0 without quotes"),
    ("parameters: {x: {default: [1]}}", "3:27+3", "the value is a list", "give one value"),
    ("parameters: {x: {default: 1, type: real}}", "3:36+4", "`type` is text `real`",
     "write one of `float`, `int`, `bool`, `str`"),
    ("outputs: {main: {suffix: _x, planes: [SCI, VR]}}", "3:44+2",
     "entry 2 of `planes` is text `VR`", "did you mean `VAR`?"),
    ("outputs: {main: {suffix: image}}", "3:26+5", "`suffix` is text `image`", "write `_image`"),
    ("outputs: {main: {suffix: _a/b}}", "3:26+4", "`suffix` is text `_a/b`", "write `_a_b`"),
    ("outputs: {main.1: {suffix: _x}}", "3:11+6", "key `main.1` cannot be used", "rename it"),
    ("steps: [{do: a, to: main.1}]", "3:21+6", "`to` is text `main.1`", "write `main_1`"),
    ("steps: [{do: a, to: [x, y z]}]", "3:25+3", "entry 2 of `to` is text `y z`", "write `y_z`"),
    ("steps: [{do: a, to: []}]", "3:21+2", "`to` is empty", "fill it"),
    ("applies_to: {all: [{count: {ge: -1}}]}", "3:33+2", "`ge` is the number -1",
     "give a value in its range"),
    ("applies_to: {all: [{count: {ge: 1.5}}]}", "3:33+3", "`ge` is the number 1.5",
     "write a whole number"),
    # rules between keys
    ("applies_to: {all: [{tags: [A], count: {ge: 1}}]}", "3:20+27", "a condition has 2 keys",
     "make one condition of each, under `all`"),
    ("parameters: {x: {default: 1.0, gt: 1}}", "3:27+3", "the default is the number 1.0",
     "give a value in its range"),
    ("parameters: {x: {default: abc, type: float}}", "3:27+3", "the default is text `abc`",
     "write a number"),
    ("parameters: {x: {default: meen, choices: [mean, median]}}", "3:27+4",
     "the default is text `meen`", "did you mean `mean`?"),
    ("parameters: {x: {default: abc, ge: 1}}", "3:36+1", "`ge` bounds a parameter that is text",
     "remove `ge`, or use `choices`"),
    ("parameters: {x: {default: .nan}}", "3:27+4", "the default is not a number", "give a number"),
    ("insert: [{steps: [{do: a}]}]", "3:10+18", "an insert needs one of `before` and `after`",
     "name one step, after `before:` or `after:`"),
    # expressions
    ("steps: [{require: count(main) =, because: x}]", "3:32+1", "something is missing at the end",
     "add a value"),
    ("steps: [{when: 'a && b', steps: [{do: x}]}]", "3:19+2", "`&&` is not expected here",
     "write `and`"),
    ("applies_to: {all: [{expr: exposure_time**2 == 4}]}", "3:27+16",
     "`exposure_time**2` is not a name",
     "write the name on the left and the value on the right, or quote the text"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "spot", "what", "fix"), FAULTS)
def test_faults(text: str, spot: str, what: str, fix: str) -> None:
    assert refused(text) == [(spot, what, fix)]


def test_version() -> None:
    assert refused("", "f2yaml: 2\nname: r\n") == [
        ("1:9+1", "version 2 of the document format is not known", "write `f2yaml: 1`")
    ]
    assert refused("", "f2yaml: true\nname: r\n") == [
        ("1:9+4", "`f2yaml` is `true`", "write a whole number")
    ]
    assert refused("", "name: r\n") == [
        ("1:1+1", "key `f2yaml` is missing", "begin with the line `f2yaml: 1`")
    ]


def test_empty_document() -> None:
    assert refused("", "") == [
        (
            "1:1+1",
            "the document is empty",
            "begin with `f2yaml: 1` and `name: ...` (`f2yaml new` writes a first recipe)",
        )
    ]
    assert refused("", "- a\n")[0][1] == "the document is a list"


def test_every_problem_is_reported_in_the_order_of_the_file() -> None:
    text = "steps:\n  - {do: a, form: b}\n  - {skip: true}\n  - {do: 5}\nouputs: {}\n"
    assert [spot for spot, _, _ in refused(text)] == ["4:13+4", "5:5+12", "6:10+1", "7:1+6"]


def test_message_in_full() -> None:
    with pytest.raises(RecipeError) as caught:
        recipe("steps:\n  - {do: skyCorrect, skp: true}\n")
    assert str(caught.value) == (
        "r.yaml:4:22: unknown key `skp` in entry 1 of `steps`\n"
        "    4 |   - {do: skyCorrect, skp: true}\n"
        "      |                      ^^^\n"
        "  why:  unknown names are refused, so that a typo cannot change the science unnoticed\n"
        "  fix:  did you mean `skip`? (known are do, id, from, to, with, write, skip)"
    )


def test_steps_and_their_defaults() -> None:
    found = recipe(
        "steps:\n"
        "  - {do: a}\n"
        "  - {do: b, from: x, to: [main, sky], write: true, with: {n: 2, z: 2.0, t: on}}\n"
        "  - {do: c, write: {suffix: _c, planes: [SCI]}}\n"
        "  - {do: d, write: false}\n"
        "  - when: $x\n"
        "    steps: [{do: e}]\n"
    ).steps
    a, b, c, d, when = found
    assert isinstance(a, Do)
    assert (a.source, a.targets, a.write, a.skip) == ("main", ("main",), None, False)
    assert isinstance(b, Do)
    assert (b.source, b.targets, b.write) == ("x", ("main", "sky"), Write())
    assert b.values == {"n": 2, "z": 2.0, "t": "on"}
    assert [type(v) for v in b.values.values()] == [int, float, str]
    assert isinstance(c, Do)
    assert c.write == Write(suffix="_c", planes=("SCI",))
    assert isinstance(d, Do)
    assert d.write is None
    assert isinstance(when, When)
    assert isinstance(when.steps[0], Do)


def test_models_cannot_be_changed() -> None:
    found = recipe("")
    with pytest.raises(ValueError, match="frozen"):
        found.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("default: 2.0", "float"),
        ("default: 2", "int"),
        ("default: true", "bool"),
        ("default: a", "str"),
        ("default: null", None),
        ("default: null, type: float", "float"),
    ],
)
def test_type_of_a_parameter_is_that_of_its_default(text: str, kind: str | None) -> None:
    assert recipe(f"parameters: {{x: {{{text}}}}}").parameters["x"].kind == kind


def test_parameters_convert_and_refuse() -> None:
    number = Parameter(default=2.0, ge=0, lt=5)
    converted = number.convert(3)
    assert (converted, type(converted)) == (3.0, float)
    for value, what in [
        (-1, "is the number -1.0"),
        (5.0, "is the number 5.0"),
        (True, "is `true`"),
        ("3", "is text `3`"),
        (None, "is empty"),
        (float("nan"), "is not a number"),
        (float("inf"), "is infinite"),
    ]:
        with pytest.raises(Fault) as caught:
            number.convert(value)
        assert caught.value.what == what
    assert Parameter(default=None, type="float").convert(None) is None
    with pytest.raises(Fault, match=r"is the number 2\.5"):
        Parameter(default=2).convert(2.5)
    assert Parameter(default=2, choices=(2, 3)).convert(3) == 3


def test_criteria() -> None:
    text = (
        "applies_to:\n"
        "  default: true\n"
        "  all: [{tags: [F2, IMAGE]}, {not: {tags: [CAL]}}, {count: {ge: 3}},"
        " {same: [filter_name]}, {some: {tags: [FLAT]}}, {expr: exposure_time > 2}]\n"
        "  any: [{all: [{tags: [A]}]}, {any: [{tags: [B]}]}]\n"
    )
    applies = recipe(text).applies_to
    assert applies is not None
    assert applies.default
    tags, negated, count, same, some, expr = applies.every
    assert tags.tags == ("F2", "IMAGE")
    assert negated.negated is not None
    assert negated.negated.tags == ("CAL",)
    assert count.count is not None
    assert [n for n in range(6) if count.count.holds(n)] == [3, 4, 5]
    assert same.same == ("filter_name",)
    assert some.exists is not None
    assert expr.expr == "exposure_time > 2"
    assert len(applies.some) == 2


def test_bounds_of_a_count() -> None:
    found = recipe(
        "applies_to: {all: [{count: {gt: 1, le: 4}}, {count: {eq: 2}}, {count: {lt: 2}}]}"
    )
    assert found.applies_to is not None
    bounds = [part.count for part in found.applies_to.every]
    allowed = [[n for n in range(6) if b is not None and b.holds(n)] for b in bounds]
    assert allowed == [[2, 3, 4], [2], [0, 1]]


RULES = "f2yaml: 1\nkind: rules\nsets:\n"


def rules(text: str) -> Rules:
    return validate_model(load("rules.yaml", RULES + text), Rules)


def test_rules() -> None:
    found = rules(
        "  darks:\n"
        "    tags: [DARK]\n"
        "    xtags: [PROCESSED]\n"
        "    expr: exposure_time == 5\n"
        "    group_by: [exposure_time]\n"
        "    sort_by: [ut_datetime]\n"
        "    min_count: 3\n"
        "    output: 'darks_{exposure_time:g}s.list'\n"
    ).sets["darks"]
    assert found.output.format(exposure_time=5.0) == "darks_5s.list"
    assert (found.tags, found.min_count, found.group_by) == (("DARK",), 3, ("exposure_time",))


@pytest.mark.parametrize(
    ("output", "what"),
    [
        ("../x.list", "`output`: `../x.list` is not a plain file name"),
        ("a/b.list", "`output`: `a/b.list` is not a plain file name"),
        (".hidden", "`output`: begins with `.` or `-`"),
        ("-o", "`output`: begins with `.` or `-`"),
        ("x_{object}.list", "`output`: `{object}` is not in group_by"),
        ("x_{g.__class__}.list", "`output`: `{g.__class__}` is not in group_by"),
        ("x_{g!r}.list", "`output`: `r` is not a format"),
        ("x_{g:999999d}.list", "`output`: `999999d` is not a format"),
        ("x_{g:{g}}.list", "`output`: `{g}` is not a format"),
        ("x_{g", "`output`: cannot be read: expected '}' before end of string"),
    ],
)
def test_names_of_lists_are_plain(output: str, what: str) -> None:
    with pytest.raises(RecipeError) as caught:
        rules(f"  s: {{group_by: [g], output: '{output}'}}\n")
    (problem,) = caught.value.problems
    assert problem.what == what
    assert isinstance(problem.where, Place)
    assert (problem.where.line, problem.where.column) == (4, 30)


def test_two_sets_cannot_write_one_list() -> None:
    with pytest.raises(RecipeError) as caught:
        rules("  a: {output: x.list}\n  b: {output: x.list}\n")
    (problem,) = caught.value.problems
    assert problem.what == "set `b` writes the same list as `a`"
    assert str(problem.where) == "rules.yaml:5:15"


def test_config() -> None:
    text = "f2yaml: 1\nkind: config\ndatabases: [{path: ~/f2.db, store: true}]\nlog: f2.log\n"
    text += "defaults: {skyCorrect: {dilation: 3.0}}\n"
    found = validate_model(load("c.yaml", text), Config)
    (database,) = found.databases
    assert (database.path, database.get, database.store) == ("~/f2.db", True, True)
    assert found.defaults == {"skyCorrect": {"dilation": 3.0}}


def test_every_field_says_what_it_means() -> None:
    def lacking(schema: object, at: str = "") -> list[str]:
        out = []
        if isinstance(schema, dict):
            for name, field in schema.get("properties", {}).items():
                if "description" not in field:
                    out.append(f"{at}.{name}")
            for key, value in schema.items():
                out += lacking(value, f"{at}/{key}")
        return out

    for model in (Recipe, Rules, Config):
        assert lacking(model.model_json_schema()) == []
