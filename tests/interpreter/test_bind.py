"""Every name, value, stream and calibration is resolved, or every problem is told at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from f2_headers import raw_headers
from f2yaml.interpreter.bind import bind_recipe
from f2yaml.interpreter.errors import (
    BadInput,
    MissingCalibration,
    NotSupported,
    RecipeError,
    RequestError,
)
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.plan import BoundStep, CallStep, PassStep, RequireStep
from f2yaml.interpreter.settings import parse_overrides, parse_parameters
from f2yaml.schema.compose import load_recipe
from f2yaml.schema.problems import Place
from stubs import Bench, Library, install
from synthetic import flat_frame, raw_frame


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    install(monkeypatch)
    monkeypatch.chdir(tmp_path)
    return Bench(tmp_path)


def steps(bench: Bench, text: str, *p: str, param: Sequence[str] = ()) -> tuple[BoundStep, ...]:
    recipe = load_recipe(bench.recipe(text))
    return bind_recipe(recipe, parse_overrides(p), parse_parameters(param))


def problems(bench: Bench, text: str, *p: str, param: Sequence[str] = ()) -> list[Any]:
    with pytest.raises(RecipeError) as error:
        steps(bench, text, *p, param=param)
    return list(error.value.problems)


def only(bench: Bench, text: str, *p: str, param: Sequence[str] = ()) -> Any:
    (problem,) = problems(bench, text, *p, param=param)
    return problem


def call(bench: Bench, text: str, *p: str, param: Sequence[str] = ()) -> CallStep:
    (step,) = steps(bench, text, *p, param=param)
    assert isinstance(step, CallStep)
    return step


def named(number: int, **more: Any) -> Frame:
    return flat_frame(1.0, name=f"S20200104S{number:04d}.fits", **more)


# names --------------------------------------------------------------------------------------
def test_an_unknown_step_is_shown_where_it_stands_with_the_nearest_name(bench: Bench) -> None:
    problem = only(bench, "steps:\n  - {do: addOne}\n  - {do: addTwo}\n")
    assert problem.what == "there is no primitive `addTwo`"
    assert problem.fix in ("did you mean `addTo`?", "did you mean `addOne`?")
    assert isinstance(problem.where, Place)
    assert (problem.where.line, problem.where.column) == (5, 10)


def test_an_unknown_parameter_is_shown_where_it_stands(bench: Bench) -> None:
    found = problems(bench, "steps:\n  - do: stackFrames\n    with: {hsigmaa: 2.5, nlo: 3}\n")
    assert [p.what for p in found] == [
        "stackFrames has no parameter `hsigmaa`",
        "stackFrames has no parameter `nlo`",
    ]
    assert found[0].fix.startswith("did you mean `hsigma`? (`f2yaml show stackFrames` lists all ")
    assert (found[0].where.line, found[0].where.column) == (5, 12)
    assert "typo cannot change the science" in found[0].why


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("-1.0", "the number -1.0: it has to be at least 0"),
        ("two", "text `two`: it has to be a number"),
        ("true", "`true`: it has to be a number"),
        ("null", "empty: it has to be a number"),
    ],
)
def test_a_bad_value_is_shown_where_it_stands(bench: Bench, value: str, what: str) -> None:
    problem = only(bench, f"steps:\n  - {{do: addOne, with: {{amount: {value}}}}}\n")
    value, why = what.split(": ")
    assert problem.what == f"`amount` of addOne is {value}"
    assert problem.why == f"{why}; `amount`: what is added"
    assert (problem.where.line, problem.where.column) == (4, 33)


def test_a_parameter_that_has_to_be_given(bench: Bench) -> None:
    problem = only(bench, "steps:\n  - {do: selectFromInputs}\n")
    assert problem.what == "selectFromInputs lacks `tags`"
    assert problem.where.line == 4


def test_all_problems_are_told_at_once(bench: Bench) -> None:
    text = "steps:\n  - {do: addOn}\n  - {do: addOne, with: {amont: 1}}\n  - {do: tell, from: x}\n"
    found = problems(bench, text, "nowhere:a=1", param=["y=2"])
    assert len(found) == 5
    assert {p.what.split("`")[1] for p in found} == {"addOn", "amont", "x", "nowhere", "y"}


# values and where they come from --------------------------------------------------------------
def test_values_keep_their_origin(bench: Bench) -> None:
    text = "parameters: {a: {default: 3.0}}\nsteps:\n  - {do: addOne, with: {amount: $a}}\n"
    default = call(bench, text)
    assert default.params.amount == 3.0  # type: ignore[attr-defined]
    assert default.settings["amount"].origin == "recipe"
    assert default.settings["word"].origin == "default"
    told = call(bench, text, param=["a=4"])
    assert (told.settings["amount"].value, told.settings["amount"].origin) == (4.0, "--param")
    set_ = call(bench, text, "addOne:amount=5", param=["a=4"])
    assert (set_.settings["amount"].value, set_.settings["amount"].origin) == (5.0, "-p")
    assert set_.params.amount == 5.0  # type: ignore[attr-defined]


def test_the_more_exact_setting_wins(bench: Bench) -> None:
    text = "steps:\n  - {id: first, do: addOne}\n  - {do: addOne}\n  - {do: rowNumber}\n"
    bound = steps(bench, text, "addOne:amount=2", "amount=7", "first:word=x")
    calls = [s for s in bound if isinstance(s, CallStep)]
    assert [c.settings["amount"].value for c in calls[:2]] == [2, 2]
    assert [c.settings["word"].value for c in calls[:2]] == ["x", None]
    everywhere = steps(bench, text, "amount=7")
    assert [s.settings["amount"].value for s in everywhere if "amount" in s.settings] == [7, 7]  # type: ignore[union-attr]


def test_none_and_quoted_texts_are_understood(bench: Bench) -> None:
    text = "steps:\n  - {do: addOne, with: {word: a}}\n"
    assert call(bench, text, "addOne:word=None").settings["word"].value is None
    assert call(bench, text, "addOne:word=12").settings["word"].value == "12"
    assert call(bench, text, "addOne:word='x y'").settings["word"].value == "x y"


def test_a_setting_of_the_wrong_type_or_range(bench: Bench) -> None:
    text = "steps:\n  - {do: addOne}\n  - {do: addOne}\n"
    problem = only(bench, text, "addOne:amount=-2")
    assert problem.what.startswith("-p addOne:amount=-2: `amount` of addOne is the number -2")
    assert problem.why == "it has to be at least 0; `amount`: what is added"
    assert "its default is 1.0" in problem.fix
    assert "has to be a number" in only(bench, text, "amount=red").why


@pytest.mark.parametrize(
    ("setting", "what", "fix"),
    [
        ("addOn:amount=2", "recipe test has no step `addOn`", "did you mean `addOne`?"),
        ("xyz:amount=2", "recipe test has no step `xyz`", "its steps are addOne, tell"),
        ("addOne:amout=2", "addOne has no parameter `amout`", "did you mean `amount`?"),
        ("amout=2", "no step of the recipe has a parameter `amout`", "did you mean `amount`?"),
        ("tell:amount=2", "tell has no parameter `amount`", "lists parameters"),
        ("addOne.amount=2", "no step of the recipe has a parameter", "-p addOne:amount="),
        ("addOne:skip=True", "addOne has no parameter `skip`", "called `skip_primitive`"),
        ("skip_primitive=True", "-p skip_primitive=True names no step", "STEP:skip_primitive"),
        ("addOne:skip_primitive=1", "it is neither True nor False", "write True or False"),
    ],
)
def test_a_setting_that_would_have_no_effect(
    bench: Bench, setting: str, what: str, fix: str
) -> None:
    problem = only(bench, "steps:\n  - {do: addOne}\n  - {do: tell}\n", setting)
    assert what in problem.what
    assert fix in problem.fix


def test_an_unknown_recipe_parameter(bench: Bench) -> None:
    text = "parameters: {time: {default: 600.0, gt: 0}}\nsteps:\n"
    text += "  - {do: addOne, with: {amount: $time}}\n"
    problem = only(bench, text, param=["tim=3"])
    assert "recipe test has no parameter `tim`" in problem.what
    assert problem.why == "its parameters are `time`"
    assert problem.fix == "did you mean `time`?"
    bad = only(bench, text, param=["time=-3"])
    assert bad.what == "--param time=-3: `time` is the number -3.0"
    assert bad.why == "it has to be greater than 0"


# leaving steps out ----------------------------------------------------------------------------
def outline(bound: Sequence[BoundStep]) -> list[str]:
    made = []
    for step in bound:
        if isinstance(step, CallStep):
            made.append(
                f"{step.number} {step.primitive.name} {step.source}>{','.join(step.targets)}"
            )
        elif isinstance(step, PassStep):
            made.append(f"= {step.source}>{step.target}")
        else:
            made.append(f"? {step.condition.text}")
    return made


def test_a_step_left_out_passes_its_frames(bench: Bench) -> None:
    text = (
        "steps:\n  - {do: addOne, to: more, skip: true}\n  - {do: rowNumber, from: more}\n"
        "  - {do: tell, skip: true}\n  - {do: clearStream, from: more, skip: true}\n"
    )
    assert outline(steps(bench, text)) == ["= main>more", "1 rowNumber more>main"]


def test_steps_are_left_out_and_taken_in_by_settings(bench: Bench) -> None:
    text = "steps:\n  - {id: a, do: addOne}\n  - {do: addOne, skip: true}\n"
    assert outline(steps(bench, text, "a:skip_primitive=True")) == []
    both = steps(bench, text, "addOne:skip_primitive=False")
    assert outline(both) == ["1 addOne main>main", "2 addOne main>main"]


def test_results_are_written_where_settings_say_so(bench: Bench) -> None:
    text = "steps:\n  - {do: addOne, write: {suffix: _x}}\n  - {do: rowNumber}\n"
    kept = steps(bench, text, "rowNumber:write_outputs=True")
    assert [s.write and s.write.suffix for s in kept] == ["_x", None]  # type: ignore[union-attr]
    assert kept[1].write is not None  # type: ignore[union-attr]
    gone = steps(bench, text, "addOne:write_outputs=False")
    assert [s.write for s in gone] == [None, None]  # type: ignore[union-attr]


# conditions -----------------------------------------------------------------------------------
TWO = (
    "parameters: {two: {default: true}}\nsteps:\n"
    "  - when: $two\n    steps: [{do: addOne}, {do: addOne}]\n  - {do: rowNumber}\n"
)


def test_conditions_on_parameters_are_decided_before_the_start(bench: Bench) -> None:
    bound = steps(bench, TWO)
    assert [s.conditions for s in bound] == [(), (), ()]
    assert outline(steps(bench, TWO, param=["two=false"])) == ["1 rowNumber main>main"]


def test_conditions_on_frames_stay_until_the_run(bench: Bench) -> None:
    text = "steps:\n  - when: count(main) > 2\n    steps: [{do: addOne}]\n  - {do: rowNumber}\n"
    bound = steps(bench, text)
    assert [len(s.conditions) for s in bound] == [1, 0]
    require = steps(bench, "steps:\n  - require: count(main) > 2\n    because: it needs three\n")
    assert isinstance(require[0], RequireStep)
    assert require[0].because == "it needs three"


# streams --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("lines", "what", "fix"),
    [
        (
            ["{do: addOne, from: skis}"],
            "addOne reads the stream `skis`, which has not been filled",
            "filled here: main",
        ),
        (
            ["{do: addOne, to: skies}", "{do: rowNumber, from: skis}"],
            "rowNumber reads the stream `skis`, which has not been filled",
            "did you mean `skies`?",
        ),
        (
            ["{do: copyInputs, to: a}", "{do: clearStream, from: a}", "{do: addOne, from: a}"],
            "addOne reads the stream `a`, which was cleared",
            "filled here: main",
        ),
        (["{do: addTo, to: deep}"], "addTo reads the stream `deep`", "filled here: main"),
        (["{do: skyCorrect}"], "skyCorrect reads the stream `sky`", "filled here: main"),
    ],
)
def test_streams_are_filled_before_they_are_read(
    bench: Bench, lines: list[str], what: str, fix: str
) -> None:
    problem = only(bench, "steps:\n" + "".join(f"  - {line}\n" for line in lines))
    assert what in problem.what
    assert fix in problem.fix
    assert problem.where.line == 3 + len(lines)


def test_a_cleared_stream_can_be_filled_again(bench: Bench) -> None:
    lines = ["copyInputs, to: a", "clearStream, from: a", "copyInputs, to: a", "tell, from: a"]
    text = "steps:\n" + "".join(f"  - {{do: {line}}}\n" for line in lines)
    assert len(steps(bench, text)) == 4


@pytest.mark.parametrize(
    ("line", "what", "fix"),
    [
        ("{do: split, to: a}", "split fills 2 streams, `to` names 1", "to: [low, high]"),
        ("{do: addOne, to: [a, b]}", "addOne fills 1 stream, `to` names 2", "one stream name"),
    ],
)
def test_every_stream_that_a_step_fills_needs_a_name(
    bench: Bench, line: str, what: str, fix: str
) -> None:
    problem = only(bench, f"steps:\n  - {line}\n")
    assert problem.what == what
    assert fix in problem.fix
    assert problem.where.line == 4


def test_an_output_that_no_step_fills(bench: Bench) -> None:
    text = "steps:\n  - {do: addOne, to: deep}\noutputs:\n  dep: {suffix: _x}\n"
    problem = only(bench, text)
    assert problem.what == "outputs name the stream `dep`, which no step leaves filled"
    assert problem.fix == "did you mean `deep`?"


# frames ---------------------------------------------------------------------------------------
def test_a_recipe_is_refused_frames_it_is_not_for(bench: Bench) -> None:
    text = "applies_to:\n  all: [{tags: [DARK]}, {count: {ge: 3}}]\nsteps: [{do: addOne}]\n"
    with pytest.raises(RequestError) as error:
        bench.plan(text, [named(1), named(2)])
    assert [p.what for p in error.value.problems] == [
        "recipe test is not for these frames: S20200104S0001.fits lacks the tag DARK",
        "recipe test is not for these frames: there are 2 frames, it needs at least 3",
    ]


def test_a_step_is_not_done_twice(bench: Bench) -> None:
    done = [named(1, ADDONE="2020"), named(2), named(3, ADDONE="2020")]
    text = "steps:\n  - {do: rowNumber}\n  - {do: addOne}\n"
    with pytest.raises(
        RequestError, match=r"addOne was done before on S20200104S0001.fits and 1 ot"
    ):
        bench.plan(text, done)
    with pytest.raises(RequestError, match=r"step 2 addOne \(test.yaml:5:"):
        bench.plan(text, done)
    left = bench.plan(text, done, p=["addOne:skip_primitive=True"])
    assert [c.primitive.name for c in left.calls] == ["rowNumber"]
    # beyond the first step on all frames together, headers are no longer those of the inputs
    later = "steps:\n  - {do: tell}\n  - {do: addOne}\n"
    assert len(bench.plan(later, done).calls) == 2


def test_steps_look_at_all_headers_before_the_start(bench: Bench) -> None:
    frames = [raw_frame(raw_headers("A", **c), np.zeros((2, 2))) for c in ({}, {"LNRS": 3})]
    with pytest.raises(BadInput, match="LNRS = 3") as error:
        bench.plan("steps: [{do: prepare}]\n", frames)
    assert "S20200104S0076.fits" in str(error.value)
    spectrum = raw_frame(raw_headers("A", GRISM="JH_G5801", DECKER="Long_slit"), np.zeros((2, 2)))
    with pytest.raises(NotSupported, match="it is a spectrum"):
        bench.plan("steps: [{do: prepare}]\n", [spectrum])


# calibrations ---------------------------------------------------------------------------------
DARK = "steps:\n  - {do: darkCorrect}\n"


def test_every_frame_gets_its_calibration_and_the_plan_says_why(bench: Bench) -> None:
    path = bench.folder / "d.fits"
    bench.library = Library({"processed_dark": path})
    step = bench.plan(DARK, [named(1), named(2)]).calls[0]
    provided = step.resources["dark"]
    assert provided.by_root == {"S20200104S0001": path, "S20200104S0002": path}
    assert set(provided.why.values()) == {"the only one"}
    assert provided.kind == "processed_dark"


def test_many_frames_without_calibration_are_one_problem_each_kind(bench: Bench) -> None:
    text = "steps:\n  - {do: darkCorrect}\n  - {do: flatCorrect}\n"
    with pytest.raises(MissingCalibration) as error:
        bench.plan(text, [named(n) for n in (1, 2, 3)])
    assert [p.what for p in error.value.problems] == [
        "no processed_dark fits S20200104S0001.fits (nor 2 other frames)",
        "no processed_flat fits S20200104S0001.fits (nor 2 other frames)",
    ]


def test_each_frame_is_asked_for_once(bench: Bench) -> None:
    bench.library = Library({"processed_dark": bench.folder / "d.fits"})
    bench.plan("steps:\n  - {do: darkCorrect}\n  - {do: needDark}\n", [named(1), named(2)])
    assert bench.library.asked == [
        ("S20200104S0001.fits", "processed_dark"),
        ("S20200104S0002.fits", "processed_dark"),
    ]


def test_a_missing_bad_pixel_mask_is_no_problem(bench: Bench) -> None:
    step = bench.plan("steps: [{do: addDQ}]\n", [named(1)]).calls[0]
    assert step.resources == {}
    assert bench.library.asked == [("S20200104S0001.fits", "processed_bpm")]
    bench.library = Library({"processed_bpm": bench.folder / "b.fits"})
    assert list(bench.plan("steps: [{do: addDQ}]\n", [named(1)]).calls[0].resources) == ["bpm"]
    none = bench.plan("steps: [{do: addDQ}]\n", [named(1)], p=["addDQ:static_bpm=None"])
    assert none.calls[0].resources == {}


def test_a_file_of_the_user_goes_before_the_database(bench: Bench) -> None:
    path = bench.folder / "mine.fits"
    path.touch()
    step = bench.plan(DARK, [named(1)], p=[f"darkCorrect:dark={path}"]).calls[0]
    assert step.resources["dark"].by_root == {"S20200104S0001": path}
    assert bench.library.asked == []
    with pytest.raises(RequestError, match=r"dark names nothing.fits, which is not a file"):
        bench.plan(DARK, [named(1)], p=["darkCorrect:dark=nothing.fits"])
    given = bench.plan(DARK, [named(1)], user={"processed_dark": path}).calls[0]
    assert given.resources["dark"].by_root == {"S20200104S0001": path}


def test_a_calibration_step_can_be_left_out(bench: Bench) -> None:
    plan = bench.plan(DARK, [named(1)], p=["darkCorrect:do_cal=skip"])
    assert plan.steps == ()
    assert plan.notes == ("darkCorrect is left out, as do_cal=skip asks",)
    text = "steps:\n  - {do: darkCorrect, to: a, with: {do_cal: skip}}\n  - {do: tell, from: a}\n"
    assert outline(bench.plan(text, [named(1)]).steps) == ["= main>a", "1 tell a>main"]


def test_only_the_flats_that_come_without_darks_ask_for_one(bench: Bench) -> None:
    flats = [named(n, OBSTYPE="FLAT", t=2.0) for n in (1, 2)]
    dark = named(3, OBSTYPE="DARK", t=2.0)
    text = "steps: [{do: makeLampFlat}]\n"
    assert bench.plan(text, [*flats, dark]).calls[0].resources == {}
    with pytest.raises(MissingCalibration, match=r"no processed_dark fits S20200104S0001.fits"):
        bench.plan(text, flats)
    bench.library = Library({"processed_dark": bench.folder / "d.fits"})
    assert list(bench.plan(text, flats).calls[0].resources["dark"].by_root) == ["S20200104S0001"]


def test_frames_saved_twice_under_one_name_are_noted(bench: Bench) -> None:
    text = "{do: addOne, write: true}, {do: addOne, write: true}, {do: addOne, write: {suffix: _x}}"
    plan = bench.plan(f"steps: [{text}]", [named(1)])
    assert plan.notes == (
        "steps 1, 2 save frames as *_one.fits; the last are kept "
        "(`write: {suffix: ...}` keeps each)",
    )
