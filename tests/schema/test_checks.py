"""Checks of whole recipes: what is found out before the first pixel, and what is left alone.

The corpus has each message in full; here are the ways around it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from f2_headers import raw_headers
from f2yaml.interpreter import registry
from f2yaml.interpreter.checking import problems_in
from f2yaml.interpreter.choosing import choose_recipe
from f2yaml.interpreter.f2.possible import impossible
from f2yaml.interpreter.f2.tags import ALL_TAGS, REFUSED, tags_of
from f2yaml.interpreter.products import STAMPS
from f2yaml.interpreter.registry import Params, per_frame
from f2yaml.interpreter.resources import KINDS
from f2yaml.schema.compose import load_recipe, shipped_everywhere, shipped_root
from f2yaml.schema.kinds import KINDS as DOCUMENTS
from f2yaml.schema.kinds import model_of
from f2yaml.schema.problems import Place, RecipeError, did_you_mean
from f2yaml.schema.recipe import Output

Said = Callable[..., list[tuple[int, str]]]
HEAD = "f2yaml: 1\nname: mine\n"
OUT = "outputs: {main: {suffix: _mine}}\n"


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Said:
    """Write a recipe and return (line, what) of each problem."""
    monkeypatch.chdir(tmp_path)

    def check(text: str, *, out: str = OUT, folder: str = ".") -> list[tuple[int, str]]:
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "mine.yaml").write_text(HEAD + text + out)
        found = problems_in(f"{folder}/mine.yaml")
        assert all(isinstance(problem.where, Place) for problem in found)
        return [(p.where.line, p.what) for p in found if isinstance(p.where, Place)]

    return check


@pytest.mark.parametrize("path", sorted(shipped_root().glob("**/*.yaml")), ids=lambda p: p.stem)
def test_shipped_documents_have_no_problems(path: Path) -> None:
    assert problems_in(path) == []


def test_every_fault_of_every_level_at_once(said: Said) -> None:
    text = (
        "setps: []\n"
        "applies_to: {all: [{tags: [IMGAE]}]}\n"
        "parameters: {time: {default: ten, type: float}, gap: {default: 1.0, unit: s}}\n"
        "steps:\n"
        "  - {do: prepar}\n"
        "  - {do: stackFrames, wiht: {nlow: 1.5}, with: {nlow: 1.5, nhigh: 2, nhigh: 3}}\n"
        "  - {include: nowhere.yaml}\n"
        "  - {do: detectSources, from: [a]}\n"
    )
    assert said(text, out="outputs: {main: {sufix: _x}}\n") == [
        (3, "unknown key `setps`"),
        (4, "unknown tag `IMGAE`"),
        (5, "the default is text `ten`"),
        (7, "there is no primitive `prepar`"),
        (8, "unknown key `wiht` in entry 2 of `steps`"),
        (8, "`nlow` of stackFrames is the number 1.5"),
        (8, "key `nhigh` is repeated"),
        (9, "no file `nowhere.yaml`"),
        (10, "`from` is a list"),
        (11, "key `suffix` is missing in `main`"),
        (11, "unknown key `sufix` in `main`"),
    ]


# conditions and branches ----------------------------------------------------------------------
PARAMETER = "parameters: {{deep: {0}}}\nsteps:\n"


@pytest.mark.parametrize(
    "text",
    [
        # both branches fill the stream
        PARAMETER.format("{default: true}")
        + "  - when: $deep\n    steps: [{do: copyInputs, to: kept}]\n"
        "  - when: not $deep\n    steps: [{do: detectSources, to: kept}]\n"
        "  - {do: detectSources, from: kept}\n",
        # counts decide during the run; the two conditions may both be met, at different times
        "steps:\n  - when: count(main) > 3\n    steps:\n"
        "      - {do: copyInputs, to: kept}\n      - {do: detectSources, from: kept}\n"
        "  - when: count(main) <= 3\n    steps: [{do: detectSources}]\n",
        "steps:\n  - when: count(main) > 3\n    steps: [{do: copyInputs, to: kept}]\n"
        "  - when: count(main) <= 3\n    steps: [{do: detectSources, to: kept}]\n"
        "  - {do: detectSources, from: kept}\n",
        # a number in its range, a choice, an empty value: each branch may be taken
        PARAMETER.format("{default: 2, ge: 1, le: 4}")
        + "  - when: $deep == 4\n    steps: [{do: detectSources}]\n",
        PARAMETER.format("{default: a, choices: [a, b, c]}")
        + "  - when: $deep == c\n    steps: [{do: detectSources}]\n",
        PARAMETER.format("{default: null, type: str}")
        + "  - when: $deep is not none\n    steps: [{do: detectSources}]\n",
        # the value of a step in a branch that is not taken is of no concern there
        PARAMETER.format("{default: null, type: float}") + "  - when: $deep is not none\n"
        "    steps: [{do: dilateObjectMask, with: {dilation: $deep}}]\n",
        # stacks side by side, and a new start from frames that were kept
        "steps:\n  - {do: copyInputs, to: kept}\n  - {do: stackFrames}\n"
        "  - {do: detectSources}\n  - {do: copyInputs, from: kept}\n  - {do: stackFrames}\n",
        # one suffix, but never both
        PARAMETER.format("{default: true}")
        + "  - when: $deep\n    steps: [{do: detectSources, write: {suffix: _x}}]\n"
        "  - when: not $deep\n    steps: [{do: prepare, write: {suffix: _x}}]\n",
        # a step that is left out writes nothing
        "steps:\n  - {do: detectSources, write: {suffix: _mine}, skip: true}\n  - {do: prepare}\n",
    ],
)
def test_sound_recipes_are_left_alone(said: Said, text: str) -> None:
    assert said(text) == []


def test_what_an_include_leaves_out_may_stay_out(said: Said) -> None:
    assert said("steps:\n  - {include: base/standard.yaml, with: {illumination: false}}\n") == []
    part = (
        "parameters: {deep: {default: true}}\nsteps:\n  - when: $deep\n    steps: [{do: prepare}]\n"
    )
    assert said(part, folder="base", out="") == []
    assert (
        said("steps:\n  - {include: base/mine.yaml, with: {deep: false}}\n  - {do: prepare}\n")
        == []
    )


@pytest.mark.parametrize(
    ("condition", "declared"),
    [
        ("count(main) < 1 and count(main) > 2", "{default: 1}"),
        ("$deep > 4", "{default: 2, le: 4}"),
        ("$deep == d", "{default: a, choices: [a, b, c]}"),
        ("not $deep and $deep", "{default: true}"),
    ],
)
def test_steps_that_can_never_run(said: Said, condition: str, declared: str) -> None:
    use = "\n  - {do: prepare}\n  - {require: $deep is not none, because: it}\n"
    text = PARAMETER.format(declared) + f"  - when: {condition}\n    steps: [{{do: prepare}}]{use}"
    assert said(text) == [(5, f"the steps under `{condition}` can never run")]


def test_a_pattern_may_always_be_met(said: Said) -> None:
    text = PARAMETER.format("{default: a}") + "  - when: $deep ~ 'x*'\n    steps: [{do: prepare}]\n"
    assert said(text) == []


def test_a_stream_under_two_conditions_of_one_when(said: Said) -> None:
    text = (
        "steps:\n  - when: count(main) > 3\n    steps:\n"
        "      - {do: copyInputs, to: kept}\n"
        "      - when: count(kept) > 5\n        steps: [{do: detectSources, from: kept}]\n"
    )
    assert said(text) == []


def test_blocks_may_read_what_others_fill_and_write_nothing(said: Said) -> None:
    assert said("steps:\n  - {do: skyCorrect}\n", folder="base", out="") == []
    assert said("steps:\n  - {do: skyCorrect}\n", out="outputs: {}\n") != []


def test_nothing_written_on_purpose(said: Said) -> None:
    assert said("steps:\n  - {do: checkWCS}\n", out="") == [(2, "the recipe writes nothing")]
    assert said("steps:\n  - {do: checkWCS}\n", out="outputs: {}\n") == []
    assert said("steps:\n  - {do: prepare, write: true}\n", out="") == []


def test_a_run_refuses_what_validate_refuses(
    said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert said("stps: 1\nsteps:\n  - {do: prepar}\n", out="")
    with pytest.raises(RecipeError) as caught:
        choose_recipe("mine.yaml", [])
    assert [p.what for p in caught.value.problems] == [p.what for p in problems_in("mine.yaml")]
    assert said("steps:\n  - {do: prepare}\n", out="")
    with pytest.raises(RecipeError, match="the recipe writes nothing"):
        choose_recipe("mine.yaml", [])


# resources, units, bounds ---------------------------------------------------------------------
def test_a_resource_that_no_command_can_provide(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Nothing(Params):
        """None."""

    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    registry.load()

    def fringes(frame: object, params: Nothing, *, fringe: object, dark: object) -> object:
        """Subtract fringes."""
        return frame

    fringes.__annotations__["params"] = Nothing
    per_frame("fringeCorrect")(fringes)
    text = "steps:\n  - {do: fringeCorrect}\n"
    assert said(text) == [(4, "fringeCorrect asks for `fringe`, which no command can provide")]
    monkeypatch.setitem(KINDS, "fringe", KINDS["dark"])  # type: ignore[arg-type]
    assert said(text) == []


@pytest.mark.parametrize(
    ("declared", "what"),
    [
        ("{default: 600.0, unit: s}", None),
        ("{default: 600.0, unit: seconds}", None),
        ("{default: 600.0, unit: frames}", None),  # not known, so not contradicted
        ("{default: 10.0, unit: arcmin}", "`gap` is in arcmin, but `time` of associateSky is in s"),
        ("{default: 600.0, ge: 0}", None),
        ("{default: 600.0, gt: -0.0}", None),
        ("{default: 600.0}", None),
        ("{default: 600.0, gt: -5}", "`gap` may be -5, but `time` of associateSky has to be at "
         "least 0"),
        ("{default: 600.0, choices: [60.0, 600.0]}", None),
        ("{default: 600.0, choices: [-1.0, 600.0]}", "`gap` may be -1.0, which `time` of "
         "associateSky does not take"),
    ],
)  # fmt: skip
def test_units_bounds_and_choices_agree_with_the_step(
    said: Said, declared: str, what: str | None
) -> None:
    text = (
        f"parameters:\n  gap: {declared}\nsteps:\n  - {{do: separateSky, to: [main, sky]}}\n"
        "  - {do: associateSky, with: {time: $gap}}\n"
    )
    assert said(text) == ([] if what is None else [(4, what)])


def test_calibration_types_of_outputs_are_those_that_are_stored() -> None:
    values = Output.model_json_schema()["properties"]["store"]["anyOf"][0]["enum"]
    assert values == list(STAMPS)


# tags -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("wanted", "forbidden", "reason"),
    [
        ("F2 IMAGE", "CAL", ""),
        ("F2 CAL DARK", "", ""),
        ("F2 RAW IMAGE", "CAL ACQUISITION THRUSLIT", ""),
        ("DARK IMAGE", "", "no file has DARK and IMAGE"),
        ("DARK", "CAL", "every file tagged DARK has CAL, too"),
        ("PREPARED UNPREPARED", "", "no file has PREPARED and UNPREPARED"),
        ("NORTH SOUTH", "", "no file has NORTH and SOUTH"),
        ("IMAGE", "IMAGE", "IMAGE is asked for and excluded"),
        ("F2", "PREPARED UNPREPARED", "every file has PREPARED or UNPREPARED"),
        ("SPECT", "", "f2yaml refuses files tagged SPECT: a spectrum"),
        ("LAMPON PROCESSED", "", "no file has LAMPON and PROCESSED"),
    ],
)
def test_tags_that_no_file_has_together(wanted: str, forbidden: str, reason: str) -> None:
    assert impossible(set(wanted.split()), set(forbidden.split())) == reason


@pytest.mark.parametrize("style", ["A", "B", "C"])
def test_tags_of_real_headers_are_possible(style: str) -> None:
    changes: tuple[dict[str, object], ...] = (
        {}, {"OBSTYPE": "DARK"}, {"OBSTYPE": "FLAT"}, {"PREPARE": "2020"}, {"PROCDARK": "2020"},
        {"OBSCLASS": "acq"}, {"PROCBPM": "2020"}, {"OBJECT": "Twilight"}, {"PROCSCI": "2020"},
        {"GCALLAMP": "IRhigh", "GCALSHUT": "OPEN"},
        {"GCALLAMP": "IRhigh", "GCALSHUT": "CLOSED"},
    )  # fmt: skip
    for change in changes:
        tags = tags_of(raw_headers(style, **change).phu)
        assert tags
        if not tags & set(REFUSED):
            assert impossible(tags & ALL_TAGS, ALL_TAGS - tags - set(REFUSED)) == "", sorted(tags)


def test_every_shipped_recipe_has_inputs() -> None:
    assert len(shipped_everywhere()) > 10
    for path in shipped_everywhere().values():
        assert load_recipe(path).applies_to is not None


# words ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("word", "known", "near"),
    [
        ("dp", ("do", "when"), "do"),
        ("skyCorect", ("skyCorrect", "darkCorrect"), "skyCorrect"),
        ("ADUTOELECTRONS", ("ADUToElectrons",), "ADUToElectrons"),
        ("zz", ("do", "when"), ""),
        ("x", ("y", "do"), ""),
    ],
)
def test_did_you_mean(word: str, known: tuple[str, ...], near: str) -> None:
    assert did_you_mean(word, known) == (f"did you mean `{near}`?" if near else "")


def test_every_kind_of_document_has_a_model() -> None:
    assert len({model_of(kind) for kind in DOCUMENTS}) == len(DOCUMENTS) == 4
