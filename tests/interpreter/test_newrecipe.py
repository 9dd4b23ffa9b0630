"""New recipes validate, and do what the recipe does that they come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from f2yaml.interpreter.bind import bind_recipe
from f2yaml.interpreter.checking import problems_in
from f2yaml.interpreter.cli import main
from f2yaml.interpreter.newrecipe import recipe_text
from f2yaml.interpreter.plan import CallStep, PassStep
from f2yaml.interpreter.settings import parse_overrides
from f2yaml.schema.compose import load_recipe, shipped_everywhere
from f2yaml.schema.flat import FlatDo

SHIPPED = sorted(shipped_everywhere())


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def new(*words: str) -> Path:
    assert main(["new", "mine", *words, "--force"]) == 0
    return Path("mine.yaml")


def work(ref: str | Path) -> list[tuple[Any, ...]]:
    """Return what a recipe does, in order, with all values; what it reads by who made it."""
    made: dict[str, tuple[int, int]] = {}
    done: list[tuple[Any, ...]] = []
    for step in bind_recipe(load_recipe(shipped_everywhere().get(str(ref), ref))):
        if isinstance(step, PassStep):
            made[step.target] = made.get(step.source, (0, 0))
        elif isinstance(step, CallStep):
            reads = getattr(step.primitive, "reads", ())
            given = tuple(made.get(name, (0, 0)) for name in (step.source, *reads))
            conditions = len(step.conditions)
            done.append((step.primitive.name, step.params, given, step.write, conditions))
            made |= {target: (len(done), n) for n, target in enumerate(step.targets)}
    outputs = load_recipe(shipped_everywhere().get(str(ref), ref)).outputs
    return [*done, *(made.get(name, (0, 0)) for name in outputs)]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_recipe_that_extends_does_the_same(name: str) -> None:
    path = new("--from", name)
    assert problems_in(str(path)) == []
    assert work(path) == work(name)
    recipe = load_recipe(path)
    assert (recipe.name, recipe.outputs) == (
        "mine",
        load_recipe(shipped_everywhere()[name]).outputs,
    )


@pytest.mark.parametrize("name", SHIPPED)
def test_a_flat_copy_does_the_same(name: str) -> None:
    path = new("--from", name, "--flat")
    assert problems_in(str(path)) == []
    text = path.read_text()
    assert not any(word in text for word in ("include:", "extends:", "main."))
    assert max(map(len, text.splitlines())) <= 100
    original, copy = load_recipe(shipped_everywhere()[name]), load_recipe(path)
    assert len(copy.files) == 1
    assert work(path) == work(name)
    assert copy.outputs == original.outputs
    same = {key: copy.parameters[key] for key in copy.parameters}
    assert same == {key: original.parameters[key] for key in copy.parameters}
    given = [r for r in (original.applies_to, copy.applies_to) if r is not None]
    if given:
        assert (given[0].every, given[0].some) == (given[1].every, given[1].some)
        assert not given[1].default  # a copy is never taken unless it is named


@pytest.mark.parametrize("name", SHIPPED)
def test_every_line_that_is_commented_out_may_be_used(name: str) -> None:
    path = new("--from", name)
    head, _, rest = path.read_text().partition("tells every slip.\n")
    lines = [line for line in rest.splitlines() if not line.startswith("# Not here")]
    while lines and lines[-1].startswith("# "):
        if lines[-1].startswith("#   ") or ":" in lines[-1]:
            break
        lines.pop()
    path.write_text(head + "\n".join(line.removeprefix("# ") for line in lines) + "\n")
    wrong = [p.what for p in problems_in(str(path))]
    # Leaving out what takes no parameters can leave a stream empty: that is said, and no more.
    assert all("reads the stream" in what for what in wrong), wrong


def test_chosen_values_are_written_as_overrides() -> None:
    path = new(
        "--from", "ultradeep", "-p", "stackFrames:hsigma=3", "-p", "stackFrames:operation=median",
        "-p", "darkCorrect:skip_primitive=True", "-p", "flatCorrect:write_outputs=True",
        "--param", "time=300",
    )  # fmt: skip
    kept = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    assert [line.partition("  #")[0] for line in kept if line] == [
        "f2yaml: 1",
        "name: mine",
        "doc: ultradeep with settings of its own.",
        "extends: ultradeep.yaml",
        "parameters:",
        "  time: {default: 300.0}",
        "override:",
        "  darkCorrect:",
        "    skip: true",
        "  flatCorrect:",
        "    write: true",
        "  stackFrames:",
        "    with:",
        "      operation: median",
        "      hsigma: 3.0",
    ]
    assert problems_in(str(path)) == []
    given = parse_overrides(["stackFrames:hsigma=3", "stackFrames:operation=median"])
    wanted = bind_recipe(load_recipe("ultradeep"), given, {"time": "300"})
    stacks = [s.params for s in wanted if isinstance(s, CallStep) and "stack" in s.primitive.name]
    made = [s for s in bind_recipe(load_recipe(path)) if isinstance(s, CallStep)]
    assert [s.params for s in made if "stack" in s.primitive.name] == stacks
    assert "darkCorrect" not in [s.primitive.name for s in made]


def test_chosen_values_are_written_into_a_flat_copy() -> None:
    path = new(
        "--flat", "--from", "ultradeep", "-p", "detectSources:detect_minarea=9",
        "-p", "stackFrames:write_outputs=True", "--param", "dilation=4",
    )  # fmt: skip
    recipe = load_recipe(path)
    assert recipe.parameters["dilation"].default == 4
    made = [s for s in bind_recipe(recipe) if isinstance(s, CallStep)]
    areas = {s.settings["detect_minarea"].value for s in made if "detect" in s.primitive.name}
    assert areas == {9}
    assert all((s.write is not None) == (s.primitive.name == "stackFrames") for s in made)


def test_a_choice_for_several_steps_of_a_name_reaches_all(here: Path) -> None:
    words = ["-p", "transferAttribute:skip_primitive=true", "-p", "skyCorrect:lsigma=2.5"]
    assert main(["new", "mine", "--from", "ultradeep", *words]) == 0
    steps = [s for s in load_recipe(here / "mine.yaml").steps if isinstance(s, FlatDo)]
    named = [s for s in steps if s.primitive.value == "transferAttribute"]
    assert len({s.place for s in named}) > 1
    assert all(s.skip for s in named)
    skies = [s.values["lsigma"].value for s in steps if s.primitive.value == "skyCorrect"]
    assert skies == [2.5, 2.5, 2.5]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mine", "--from", "ultradep"], "did you mean `ultradeep`?"),
        (["ultradeep", "--from", "ultradeep"], "give it another name"),
        (["2fast"], "2fast cannot be the name of a recipe"),
        (["mine", "-p", "stackFrames:hsigmaa=3"], "did you mean `hsigma`?"),
        (["nowhere/mine"], "name a file in a folder that you can write to"),
        (["mine", "--param", "tim=3"], "did you mean `time`?"),
    ],
)
def test_what_cannot_be_is_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    assert main(["new", *words]) == 2
    assert message in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_a_file_is_replaced_only_by_force(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    (here / "mine.yaml").write_text("my work")
    assert main(["new", "mine"]) == 2
    assert "mine.yaml exists" in capsys.readouterr().err
    assert (here / "mine.yaml").read_text() == "my work"
    assert main(["new", "mine.yaml", "--force"]) == 0
    assert capsys.readouterr().out == "mine.yaml\n"
    assert problems_in("mine.yaml") == []


def test_a_recipe_of_ones_own_is_extended_from_beside_it_only(here: Path) -> None:
    folder = here / "sub"
    folder.mkdir()
    new("--from", "ultradeep")
    assert main(["new", "second", "--from", "mine.yaml"]) == 0
    assert work("second.yaml") == work("ultradeep")
    assert "extends: mine.yaml" in (here / "second.yaml").read_text()
    assert main(["new", "sub/third", "--from", "mine.yaml"]) == 2
    assert main(["new", "sub/third", "--from", "mine.yaml", "--flat"]) == 0
    assert work("sub/third.yaml") == work("ultradeep")


CONDITIONS = """
f2yaml: 1
name: inner
parameters:
  deep: {default: true}
  level: {default: 2.5}
steps:
  - when: $deep and count(main) > 3
    steps:
      - {do: detectSources, id: find}
      - when: $level in [2.5, 3.5] or not ($level > 1 and $deep)
        steps:
          - {do: dilateObjectMask, with: {dilation: $level}}
  - require: count(main) >= 1 and $level is not none
    because: there has to be one
  - {do: scaleByIntensity}
"""
OUTER = """
f2yaml: 1
name: outer
parameters:
  wide: {default: 3.5, ge: 0}
steps:
  - {do: copyInputs, to: other, write: {suffix: _one, planes: [SCI]}}
  - {include: inner.yaml, to: deep, with: {level: $wide}}
  - {include: inner.yaml, from: other, to: other, with: {deep: false}}
  - {include: inner.yaml, from: other, with: {deep: true}}
outputs:
  deep: {suffix: _deep}
"""


def test_conditions_and_private_streams_survive(here: Path) -> None:
    (here / "inner.yaml").write_text(CONDITIONS)
    (here / "outer.yaml").write_text(OUTER)
    path = new("--from", "outer.yaml", "--flat")
    assert problems_in(str(path)) == []
    text = path.read_text()
    # What is decided by the values given to an include is decided; the rest stays open.
    assert text.count("- when: count(main_1) > 3") == 1
    assert "count(main_2) > 3" not in text
    assert text.count('"$wide in [2.5, 3.5] or not $wide > 1"') == 1
    assert text.count("because: there has to be one") == 3
    assert "id: find_again" in text
    kept = [step[0] for step in work(path)[:-1] if step[0] != "copyInputs"]
    whole = ["detectSources", "dilateObjectMask", "scaleByIntensity"]
    assert kept == [*whole, "scaleByIntensity", *whole]
    values = [step[1].dilation for step in work(path)[:-1] if step[0] == "dilateObjectMask"]
    assert values == [3.5, 2.5]


def test_text_is_the_same_each_time() -> None:
    base = load_recipe("ultradeep")
    assert recipe_text(base, Path("a.yaml"), flat=True) == recipe_text(
        base, Path("a.yaml"), flat=True
    )
