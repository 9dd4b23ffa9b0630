"""Recipes of several files: flattening, streams, parameters, override, insert, and every fault."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from f2yaml.schema.compose import (
    Condition,
    FlatCopy,
    FlatDo,
    FlatRecipe,
    FlatRequire,
    Ref,
    check_document,
    load_recipe,
    problems_of,
    shipped,
)
from f2yaml.schema.predicate import evaluate, names
from f2yaml.schema.problems import Place, RecipeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write recipe files into a folder that is also the working folder."""
    monkeypatch.chdir(tmp_path)

    def put(name: str, text: str, *, head: bool = True) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        stem = path.stem.replace(".", "_")
        path.write_text((f"f2yaml: 1\nname: {stem}\n" if head else "") + text)
        return path

    return put


def outline(recipe: FlatRecipe) -> list[str]:
    """Return the steps in short: ``primitive source->targets``."""
    out = []
    for step in recipe.steps:
        match step:
            case FlatDo():
                out.append(f"{step.primitive.value} {step.source}->{','.join(step.targets)}")
            case FlatCopy():
                out.append(f"= {step.source}->{step.target}")
            case FlatRequire():
                out.append(f"? {step.condition.text}")
    return out


def does(recipe: FlatRecipe) -> list[FlatDo]:
    return [step for step in recipe.steps if isinstance(step, FlatDo)]


def refused(path: Path | str) -> list[tuple[str, str, str]]:
    """Return (place, what, fix) of each problem."""
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    for problem in caught.value.problems:
        assert problem.why
    return [(str(p.where), p.what, p.fix) for p in caught.value.problems]


HOUSE_STYLE = """\
doc: Deep imaging of a target that stays on the detector while dithering.
extends: base/flat_corrected.yaml       # prepare ... flatCorrect; this file adds to them

applies_to:
  all: [{tags: [F2, IMAGE]}, {not: {tags: [CAL]}}, {count: {ge: 3}}]

parameters:
  dilation: {default: 2.0, ge: 0, unit: pix, doc: growth of object masks before skies are stacked}
  time:     {default: 600.0, gt: 0, unit: s, doc: largest gap between a frame and its sky frames}
  two_pass: {default: true, doc: mask sources found in the first stack and redo the sky}

steps:
  - {do: copyInputs, to: flat_corrected} # the second pass starts again from these
  - {do: separateSky, to: [main, sky]}
  - require: count(main) == count(sky)
    because: ultradeep needs every frame on target; use reduce.yaml for offset skies
  - include: base/sky_pass.yaml          # associate, stack, subtract skies; detect sources
    with: {dilation: $dilation, time: $time}
  - id: align                            # named, so that a recipe extending this one can override
    do: adjustWCSToReference
    with: {method: sources, fallback: offsets}
  - {include: base/stack.yaml, to: deep} # resample, scale counts, stack
  - when: $two_pass
    steps:
      - {do: detectSources, from: deep, to: deep, write: {suffix: _pass1}}
      - {do: transferAttribute, from: main, to: flat_corrected, with: {attribute: wcs}}
      - {do: transferObjectMask, from: deep, to: flat_corrected}
      - include: base/sky_pass.yaml
        from: flat_corrected
        with: {dilation: $dilation, time: $time}
      - {do: adjustWCSToReference}
      - {include: base/stack.yaml, to: deep}

outputs:
  deep: {suffix: _image, planes: [SCI, VAR, DQ], doc: final stack in electrons}
"""
FLAT_CORRECTED = "steps: [{do: prepare}, {do: addDQ}, {do: flatCorrect}]\n"
SKY_PASS = """\
parameters:
  dilation: {default: 1.0}
  time: {default: 300.0}
steps:
  - {do: associateSky, with: {time: $time}}
  - {do: skyCorrect, with: {dilation: $dilation}}
"""
STACK = "steps: [{do: resampleToCommonFrame}, {do: stackFrames}]\n"


@pytest.fixture
def deep(write: Write) -> Path:
    write("base/flat_corrected.yaml", FLAT_CORRECTED)
    write("base/sky_pass.yaml", SKY_PASS)
    write("base/stack.yaml", STACK)
    text = HOUSE_STYLE.replace(
        "stack in electrons, reference", "stack in electrons on the reference"
    )
    return write("ultradeep.yaml", text)


def test_the_recipe_of_the_house_style(deep: Path) -> None:
    recipe = load_recipe(deep)
    assert outline(recipe) == [
        "prepare main->main",
        "addDQ main->main",
        "flatCorrect main->main",
        "copyInputs main->flat_corrected",
        "separateSky main->main,sky",
        "? count(main) == count(sky)",
        "associateSky main->main",
        "skyCorrect main->main",
        "adjustWCSToReference main->main",
        "= main->main.1",
        "resampleToCommonFrame main.1->main.1",
        "stackFrames main.1->main.1",
        "= main.1->deep",
        "detectSources deep->deep",
        "transferAttribute main->flat_corrected",
        "transferObjectMask deep->flat_corrected",
        "= flat_corrected->main.2",
        "associateSky main.2->main.2",
        "skyCorrect main.2->main.2",
        "= main.2->main",
        "adjustWCSToReference main->main",
        "= main->main.3",
        "resampleToCommonFrame main.3->main.3",
        "stackFrames main.3->main.3",
        "= main.3->deep",
    ]
    assert recipe.name == "ultradeep"
    assert list(recipe.parameters) == ["dilation", "time", "two_pass"]
    assert recipe.outputs["deep"].suffix == "_image"
    assert str(recipe.output_places["deep"]) == "ultradeep.yaml:37:3"
    assert str(recipe.parameter_places["time"]) == "ultradeep.yaml:11:3"
    assert recipe.applies_to is not None
    assert [p.name for p in recipe.files] == [
        "ultradeep.yaml",
        "flat_corrected.yaml",
        "sky_pass.yaml",
        "stack.yaml",
    ]


def test_values_keep_their_place_and_origin(deep: Path) -> None:
    steps = does(load_recipe(deep))
    time = steps[5].values["time"]
    assert (time.value, time.origin, str(time.place)) == (
        Ref("time"),
        "recipe",
        "ultradeep.yaml:20:39",
    )
    assert (steps[0].primitive.origin, steps[3].primitive.origin, steps[5].primitive.origin) == (
        "extends",
        "recipe",
        "include",
    )
    assert str(steps[5].place) == "base/sky_pass.yaml:7:10"
    assert [str(t) for t in steps[5].trail] == ["ultradeep.yaml:19:14"]
    assert steps[0].trail == ()
    align = steps[7]
    assert (align.id, align.values["method"].value) == ("align", "sources")


def test_steps_of_a_block_share_its_condition(deep: Path) -> None:
    recipe = load_recipe(deep)
    conditions = [step.when for step in recipe.steps]
    assert conditions[:13] == [()] * 13
    assert len({id(when[0]) for when in conditions[13:]}) == 1
    (condition,) = conditions[-1]
    assert isinstance(condition, Condition)
    assert names(condition.expr) == {"$two_pass"}
    assert condition.bindings["two_pass"].value == Ref("two_pass")
    assert condition.text == "$two_pass"
    require = recipe.steps[5]
    assert isinstance(require, FlatRequire)
    assert evaluate(require.condition.expr, {"count:main": 2, "count:sky": 2}.__getitem__)
    assert require.condition.block != condition.block


def test_parameters_pass_through_two_levels(write: Write) -> None:
    write(
        "base/inner.yaml",
        "parameters: {radius: {default: 1.0}, mode: {default: a}, other: {default: 7}}\n"
        "steps: [{do: dilate, with: {radius: $radius, mode: $mode, other: $other}}]\n",
    )
    write(
        "base/outer.yaml",
        "parameters: {growth: {default: 3.0, ge: 0}, how: {default: b}}\n"
        "steps: [{include: inner.yaml, with: {radius: $growth, mode: $how}}]\n",
    )
    top = write(
        "r.yaml",
        "parameters: {dilation: {default: 2.0}}\n"
        "steps:\n"
        "  - {include: base/outer.yaml, with: {growth: $dilation}}\n"
        "  - {include: base/outer.yaml, with: {growth: 4}}\n",
    )
    first, second = does(load_recipe(top))
    found = {key: (v.value, v.origin, str(v.place)) for key, v in first.values.items()}
    assert found == {
        "radius": (Ref("dilation"), "recipe", "r.yaml:5:47"),
        "mode": ("b", "default", "base/outer.yaml:3:60"),
        "other": (7, "default", "base/inner.yaml:3:75"),
    }
    radius = second.values["radius"]
    assert (radius.value, type(radius.value), radius.origin) == (4.0, float, "recipe")
    assert [str(t) for t in second.trail] == ["r.yaml:6:15", "base/outer.yaml:4:19"]


def test_conditions_of_a_fragment_are_bound_and_its_streams_renamed(write: Write) -> None:
    write(
        "part.yaml",
        "parameters: {least: {default: 3}, on: {default: true}}\n"
        "steps:\n"
        "  - {require: count(main) >= $least and count(sky) > 0, because: too few}\n"
        "  - {when: on, steps: [{do: a}, {include: sub.yaml, from: sky}]}\n",
    )
    write("sub.yaml", "steps: [{do: b}, {do: c, to: [main, extra]}]\n")
    top = write("r.yaml", "steps: [{include: part.yaml, from: x, to: y, with: {least: 5}}]\n")
    recipe = load_recipe(top)
    assert outline(recipe) == [
        "= x->main.1",
        "? count(main) >= $least and count(sky) > 0",
        "a main.1->main.1",
        "= sky->main.2",
        "b main.2->main.2",
        "c main.2->main.2,extra",
        "= main.2->main.1",
        "= main.1->y",
    ]
    require = recipe.steps[1]
    assert isinstance(require, FlatRequire)
    assert names(require.condition.expr) == {"count:main.1", "$least", "count:sky"}
    assert require.condition.bindings["least"].value == 5
    copy = recipe.steps[3]
    assert isinstance(copy, FlatCopy)
    assert names(copy.when[0].expr) == {"$on"}  # a bare name is read as the parameter it is
    assert copy.when[0].bindings["on"].origin == "default"


def test_extending_inherits_parameters_outputs_and_conditions(write: Write) -> None:
    write(
        "base.yaml",
        "doc: basic\n"
        "applies_to: {default: true}\n"
        "parameters: {n: {default: 3, ge: 1, doc: number}, m: {default: 1.0}}\n"
        "steps: [{do: a, with: {n: $n, m: $m}}]\n"
        "outputs: {main: {suffix: _a}}\n",
    )
    write("middle.yaml", "extends: base.yaml\nsteps: [{do: b, with: {n: $n}}]\n")
    top = write("r.yaml", "extends: middle.yaml\nparameters: {n: {default: 5}}\nsteps: [{do: c}]\n")
    recipe = load_recipe(top)
    assert outline(recipe) == ["a main->main", "b main->main", "c main->main"]
    parameter = recipe.parameters["n"]
    assert (parameter.default, parameter.ge, parameter.doc) == (5, 1, "number")
    assert (recipe.doc, recipe.outputs["main"].suffix) == ("basic", "_a")
    assert recipe.applies_to is not None
    assert recipe.applies_to.default
    write("r.yaml", "extends: middle.yaml\noutputs: {}\napplies_to: {}\ndoc: own\n")
    recipe = load_recipe(top)
    assert (recipe.doc, recipe.outputs) == ("own", {})
    assert recipe.applies_to is not None
    assert not recipe.applies_to.default


def test_inherited_bounds_hold_for_a_new_default(write: Write) -> None:
    write("base.yaml", "parameters: {n: {default: 3, ge: 1}}\nsteps: [{do: a, with: {n: $n}}]\n")
    top = write("r.yaml", "extends: base.yaml\nparameters: {n: {default: 0}}\n")
    assert refused(top) == [
        ("r.yaml:4:27", "the default is the number 0", "give a value in its range")
    ]


def test_override(write: Write) -> None:
    write("part.yaml", "steps: [{do: b, id: second, with: {x: 1, y: 2}, write: true}]\n")
    write("base.yaml", "steps: [{do: a, with: {x: 1}}, {include: part.yaml}]\n")
    top = write(
        "r.yaml",
        "extends: base.yaml\n"
        "parameters: {z: {default: 9}}\n"
        "override:\n"
        "  second: {with: {y: 3, z: $z}, write: {suffix: _b}}\n"
        "  a: {skip: true}\n",
    )
    a, b = does(load_recipe(top))
    assert a.skip
    assert a.values["x"].origin == "extends"
    found = {key: (v.value, v.origin, str(v.place)) for key, v in b.values.items()}
    assert found == {
        "x": (1, "include", "part.yaml:3:39"),
        "y": (3, "override", "r.yaml:6:22"),
        "z": (Ref("z"), "override", "r.yaml:6:28"),
    }
    assert b.write is not None
    assert b.write.suffix == "_b"
    write("r.yaml", "extends: base.yaml\noverride: {second: {write: false}}\n")
    assert does(load_recipe(top))[1].write is None
    write("r.yaml", "extends: base.yaml\noverride: {second: {with: {y: 3}}}\n")
    assert does(load_recipe(top))[1].write is not None


def test_override_of_a_step_included_twice_changes_both(write: Write) -> None:
    write("part.yaml", "steps: [{do: b, with: {x: 1}}]\n")
    top = write(
        "r.yaml",
        "steps: [{include: part.yaml}, {include: part.yaml, from: sky}]\n"
        "override: {b: {with: {x: 2}}}\n",
    )
    assert [step.values["x"].value for step in does(load_recipe(top))] == [2, 2]


def test_override_by_name_changes_all_steps_by_id_one(write: Write) -> None:
    base = "steps: [{do: b, with: {x: 1}}, {do: b, id: second, with: {x: 1}}]\n"
    write("base.yaml", base)
    top = write("r.yaml", "extends: base.yaml\noverride: {b: {with: {x: 2}}}\n")
    assert [step.values["x"].value for step in does(load_recipe(top))] == [2, 2]
    write("r.yaml", "extends: base.yaml\noverride: {second: {with: {x: 2}}}\n")
    assert [step.values["x"].value for step in does(load_recipe(top))] == [1, 2]


def test_insert(write: Write) -> None:
    write("part.yaml", "steps: [{do: b}]\n")
    write(
        "base.yaml",
        "parameters: {on: {default: true}}\n"
        "steps: [{do: a}, {when: $on, steps: [{include: part.yaml, to: deep}]}, {do: c}]\n",
    )
    top = write(
        "r.yaml",
        "extends: base.yaml\n"
        "insert:\n"
        "  - {before: a, steps: [{do: first}]}\n"
        "  - {after: b, steps: [{do: x}, {do: y, from: deep, to: main}]}\n"
        "  - {after: x, steps: [{do: z}]}\n"
        "steps: [{do: d}]\n",
    )
    recipe = load_recipe(top)
    assert outline(recipe) == [
        "first main->main",
        "a main->main",
        "= main->main.1",
        "b main.1->main.1",
        "x main.1->main.1",  # stands in the fragment, so its main is the fragment's
        "z main.1->main.1",
        "y deep->main.1",
        "= main.1->deep",
        "c main->main",
        "d main->main",
    ]
    x = does(recipe)[3]
    assert [c.text for c in x.when] == ["$on"]
    assert str(x.place) == "r.yaml:6:29"


def test_a_file_may_include_what_it_extends(write: Write) -> None:
    write("base.yaml", "steps: [{do: a}]\n")
    top = write("r.yaml", "extends: base.yaml\nsteps: [{include: base.yaml, to: again}]\n")
    assert outline(load_recipe(top)) == [
        "a main->main",
        "= main->main.1",
        "a main.1->main.1",
        "= main.1->again",
    ]


FAULTS = [
    ("steps: [{do: a, with: {x: $radus}}]\nparameters: {radius: {default: 1}}",
     [("r.yaml:4:14", "parameter `radius` is not used",
       "refer to it as `$radius` in a step, or remove it"),
      ("r.yaml:3:27", "`$radus` is not a parameter of this recipe", "did you mean `radius`?")]),
    ("steps: [{do: a, with: {x: $r}}]",
     [("r.yaml:3:27", "`$r` is not a parameter of this recipe", "add `r` under `parameters`")]),
    ("steps: [{do: a, with: {x: '${r}'}}]",
     [("r.yaml:3:27", "`${r}` is not a reference", "write `$name`, without braces")]),
    ("steps: [{do: a, with: {x: [1, $r]}}]",
     [("r.yaml:3:27", "a reference inside a list or mapping",
       "write the values out, or make the whole value a parameter")]),
    ("steps: [{when: $two_pas, steps: [{do: a}]}, {when: $two_pass, steps: [{do: b}]}]\n"
     "parameters: {two_pass: {default: true}}",
     [("r.yaml:3:16", "`$two_pas` is not a parameter of this recipe", "did you mean `two_pass`?")]),
    ("steps: [{when: count(main) > 1 and tow, steps: [{do: a, with: {x: $two}}]}]\n"
     "parameters: {two: {default: true}}",
     [("r.yaml:3:36", "`tow` is not a parameter of this recipe", "did you mean `two`?")]),
    ("steps: [{require: filter_name == H, because: x}, {do: a}]",
     [("r.yaml:3:19", "`filter_name` is not a parameter of this recipe",
       "ask about frames in `applies_to`, or select them with selectFromInputs")]),
    ("steps: [{when: not $n, steps: [{do: a}]}]\nparameters: {n: {default: 2.0}}",
     [("r.yaml:3:16", "`$n` is neither true nor false",
       "compare it with something, as in `$n == 2.0`")]),
    ("steps: [{do: a}]\nparameters: {n: {default: 1}}",
     [("r.yaml:4:14", "parameter `n` is not used",
       "refer to it as `$n` in a step, or remove it")]),
    ("doc: nothing",
     [("r.yaml:1:1", "the recipe has no steps",
       "add `steps:`, or `extends:` a recipe that has some")]),
    ("steps: [{include: base/stak.yaml}]",
     [("r.yaml:3:19", "no file `base/stak.yaml`", "did you mean `base/stack.yaml`?")]),
    ("extends: nowhere/x.yaml\nparameters: {n: {default: 1}}\nsteps: [{do: a, with: {m: $m}}]",
     [("r.yaml:3:10", "no file `nowhere/x.yaml`", "check the path")]),
    ("steps: [{include: ../secret.yaml}]",
     [("r.yaml:3:19", "`../secret.yaml` leaves the folder of the recipe", "copy the file there")]),
    ("extends: /etc/passwd",
     [("r.yaml:3:10", "`/etc/passwd` leaves the folder of the recipe", "copy the file there")]),
    ("steps: [{include: base/sky_pass.yaml, with: {dilatoin: 3, time: x}}]",
     [("r.yaml:3:46", "`sky_pass` has no parameter `dilatoin`", "did you mean `dilation`?"),
      ("r.yaml:3:65", "`time` of `sky_pass` is text `x`", "write a number")]),
    ("steps: [{include: base/sky_pass.yaml, with: {time: $t}}]\nparameters: {t: {default: a}}",
     [("r.yaml:4:27", "`time` of `sky_pass` is text `a`", "write a number")]),
    ("steps: [{include: base/stack.yaml, with: {x: 1}}]",
     [("r.yaml:3:43", "`stack` has no parameter `x`", "remove it")]),
    ("extends: base/stack.yaml\noverride: {stackFrame: {skip: true}, nix: {skip: true}}",
     [("r.yaml:4:12", "no step is named `stackFrame`", "did you mean `stackFrames`?"),
      ("r.yaml:4:38", "no step is named `nix`",
       "known are resampleToCommonFrame, stackFrames")]),
    ("extends: base/stack.yaml\nsteps: [{do: stackFrames}]\n"
     "insert: [{after: stackFrames, steps: [{do: a}]}]",
     [("r.yaml:5:18", "`stackFrames` names 2 steps",
       "give the one that is meant an `id`, and use that; of a shipped recipe, `f2yaml new NAME "
       "--from RECIPE --flat` writes every step out, to be changed there")]),
    ("extends: base/stack.yaml\ninsert: [{after: stackframes, steps: [{do: a}]}]",
     [("r.yaml:4:18", "no step is named `stackframes`", "did you mean `stackFrames`?")]),
    ("steps: [{do: a, id: x}, {do: b, id: x}]",
     [("r.yaml:3:30", "the id `x` names a second step", "rename one of them")]),
    ("steps: [{include: r.yaml}]",
     [("r.yaml:3:19", "`r.yaml` leads back to itself", "remove one of these references")]),
    ("extends: r.yaml",
     [("r.yaml:3:10", "`r.yaml` leads back to itself", "remove one of these references")]),
    ("steps: [{include: base/broken.yaml}, {do: 5}]",
     [("base/broken.yaml:3:17", "unknown key `form` in entry 1 of `steps`",
       "did you mean `from`? (known are do, id, from, to, with, write, skip)"),
      ("r.yaml:3:43", "`do` is the number 5", 'quote it: "5"')]),
    ("steps: [{include: base/broken.yaml}, {do: a, with: {x: $q}}]",
     [("base/broken.yaml:3:17", "unknown key `form` in entry 1 of `steps`",
       "did you mean `from`? (known are do, id, from, to, with, write, skip)"),
      ("r.yaml:3:56", "`$q` is not a parameter of this recipe", "add `q` under `parameters`")]),
    ("steps: [{include: base/rules.yaml}]",
     [("base/rules.yaml:3:7", "these are selection rules, not a recipe",
       "name a file of kind recipe, or correct `kind`")]),
    ('steps: [{include: "a\\0b"}]',
     [("r.yaml:3:19", "the path cannot be used", "correct the path")]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "problems"), FAULTS)
def test_faults(write: Write, text: str, problems: list[tuple[str, str, str]]) -> None:
    write("base/sky_pass.yaml", SKY_PASS)
    write("base/stack.yaml", STACK)
    write("base/broken.yaml", "steps: [{do: a, form: b}]\n")
    write("base/rules.yaml", "kind: rules\nsets: {a: {output: x}}\n")
    assert sorted(refused(write("r.yaml", text))) == sorted(problems)


def test_cycle_through_several_files(write: Write) -> None:
    write("a.yaml", "steps: [{include: b.yaml}]\n")
    write("b.yaml", "extends: c.yaml\n")
    write("c.yaml", "steps: [{include: a.yaml}]\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe("a.yaml")
    (problem,) = caught.value.problems
    assert problem.render() == (
        "c.yaml:3:19: `a.yaml` leads back to itself\n"
        "    3 | steps: [{include: a.yaml}]\n"
        "      |                   ^^^^^^\n"
        "  why:  the recipe would never end: a.yaml -> b.yaml -> c.yaml -> a.yaml\n"
        "  fix:  remove one of these references"
    )


def test_depth_of_includes_is_limited(write: Write) -> None:
    for n in range(25):
        write(f"f{n}.yaml", f"steps: [{{include: f{n + 1}.yaml}}]\n")
    write("f25.yaml", "steps: [{do: a}]\n")
    ((place, what, _),) = refused("f0.yaml")
    assert (place, what) == ("f19.yaml:3:19", "more than 20 files inside each other")
    assert outline(load_recipe("f10.yaml")) == ["a main->main"]


def test_number_of_steps_is_limited(write: Write) -> None:
    for n in range(6):
        five = ", ".join([f"{{include: g{n + 1}.yaml}}"] * 5)
        write(f"g{n}.yaml", f"steps: [{five}]\n")
    write("g6.yaml", "steps: [{do: a}]\n")
    ((_, what, fix),) = refused("g0.yaml")
    assert (what, fix) == ("the recipe has more than 2000 steps", "include fewer files")


def test_a_link_that_leaves_the_folder_is_refused(write: Write, tmp_path: Path) -> None:
    write("outside.yaml", "steps: [{do: a}]\n")
    top = write("inner/r.yaml", "steps: [{include: link.yaml}]\n")
    (tmp_path / "inner/link.yaml").symlink_to(tmp_path / "outside.yaml")
    assert [what for _, what, _ in refused(top)] == ["`link.yaml` leaves the folder of the recipe"]


def test_files_are_found_beside_then_in_search(write: Write, tmp_path: Path) -> None:
    write("lib/part.yaml", "steps: [{do: from_lib}]\n")
    write("lib/own.yaml", "steps: [{include: part.yaml}]\n")
    top = write("work/r.yaml", "steps: [{include: part.yaml}]\n")
    search = [tmp_path / "lib"]
    assert outline(load_recipe(top, search=search)) == ["from_lib main->main"]
    assert outline(load_recipe("own", search=search)) == ["from_lib main->main"]
    write("work/part.yaml", "steps: [{do: beside}]\n")
    assert outline(load_recipe(top, search=search)) == ["beside main->main"]


def test_shipped_recipes_are_found_by_name(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("shipped/deep.yaml", "steps: [{include: base/part.yaml}]\n")
    write("shipped/base/part.yaml", "steps: [{do: a}]\n")
    top = write("own/r.yaml", "extends: deep.yaml\nsteps: [{include: base/part.yaml}]\n")
    monkeypatch.setattr("f2yaml.schema.library.shipped_root", lambda: tmp_path / "shipped")
    assert shipped() == {"deep": tmp_path / "shipped/deep.yaml"}
    assert outline(load_recipe("deep")) == ["a main->main"]
    assert outline(load_recipe(top)) == ["a main->main", "a main->main"]
    with pytest.raises(RecipeError) as caught:
        load_recipe("deeep")
    (problem,) = caught.value.problems
    assert (problem.what, problem.fix) == ("no recipe is named `deeep`", "did you mean `deep`?")
    with pytest.raises(RecipeError) as caught:
        load_recipe("recipes/deep.yaml")
    assert caught.value.problems[0].fix == ("`deep` without path and ending is the shipped recipe")
    with pytest.raises(RecipeError) as caught:
        load_recipe("own/rr.yaml")
    assert caught.value.problems[0].what == "own/rr.yaml: no such file"
    assert caught.value.problems[0].fix == "did you mean `r.yaml`?"


def test_every_shipped_recipe_is_sound() -> None:
    assert shipped()
    for path in shipped().values():
        assert [p.render() for p in problems_of(path)] == []


RULES = "f2yaml: 1\nkind: rules\nsets: {a: {output: x.list}}\n"
CONFIG = "f2yaml: 1\nkind: config\ndatabases: [{path: x}]\n"


def test_documents_of_other_kinds(write: Write) -> None:
    rules = write("rules.yaml", RULES, head=False)
    config = write("config.yaml", CONFIG, head=False)
    recipe = write("r.yaml", "steps: [{do: a}]\n")
    assert [check_document(p)[1] for p in (rules, config, recipe)] == ["rules", "config", "recipe"]
    assert problems_of(rules) == []
    write("config.yaml", CONFIG.replace("path", "paht"), head=False)
    assert [(str(p.where), p.what) for p in problems_of(config)] == [
        ("config.yaml:3:13", "key `path` is missing in entry 1 of `databases`"),
        ("config.yaml:3:14", "unknown key `paht` in entry 1 of `databases`"),
    ]


def test_unknown_kind(write: Write) -> None:
    path = write("r.yaml", "f2yaml: 1\nkind: rulez\n", head=False)
    (problem,) = problems_of(path)
    assert (problem.what, problem.fix) == (
        "`rulez` is not a kind of document",
        "did you mean `rules`?",
    )
    assert problem.where == Place("r.yaml", 2, 7, 5, "kind: rulez")
    write("r.yaml", "f2yaml: 1\nkind: [a]\n", head=False)
    assert problems_of(path)[0].fix == "write one of them"


def test_problems_of_what_is_no_document(write: Write, tmp_path: Path) -> None:
    path = write("r.yaml", "", head=False)
    assert [p.what for p in problems_of(path)] == ["the document is empty"]
    assert [p.what for p in problems_of(tmp_path / "none.yaml")] == ["none.yaml: no such file"]
    write("r.yaml", "a: 1\na: 2\n", head=False)
    assert [p.what for p in problems_of(path)] == [
        "key `a` is repeated",
        "key `f2yaml` is missing",
        "key `name` is missing",
        "unknown key `a`",
        "the recipe has no steps",
    ]


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(["$x", "main", "_a", "a.yaml", "../b", "", "count(main) > 1", "a and"])
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "do",
                    "include",
                    "require",
                    "because",
                    "when",
                    "steps",
                    "from",
                    "to",
                    "with",
                    "write",
                    "id",
                    "skip",
                    "x",
                    "default",
                    "suffix",
                    "tags",
                    "all",
                    "not",
                    "main",
                    "after",
                    "ge",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
KEYS = [
    "kind",
    "doc",
    "extends",
    "applies_to",
    "parameters",
    "steps",
    "override",
    "insert",
    "outputs",
]


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=150,
)
@given(content=st.dictionaries(st.sampled_from(KEYS), values, max_size=4))
def test_any_content_gives_problems_and_never_another_exception(
    write: Write, content: dict[str, object]
) -> None:
    import json

    path = write("r.yaml", json.dumps({"f2yaml": 1, "name": "r", **content}), head=False)
    for problem in problems_of(path):
        assert problem.what
        assert problem.why
        assert problem.where is not None
