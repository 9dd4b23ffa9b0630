"""Which recipe is for which frames, decided on the headers of all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from f2_headers import raw_headers
from f2yaml.interpreter.applies import check_applies, shortfall, unfit, weight
from f2yaml.interpreter.choosing import choose_recipe
from f2yaml.interpreter.errors import RecipeError, RequestError
from f2yaml.interpreter.frame import Frame
from f2yaml.schema.compose import load_recipe
from f2yaml.schema.recipe import AppliesTo, Criterion
from synthetic import raw_frame


def raw(kind: str = "A", **cards: Any) -> Frame:
    return raw_frame(raw_headers(kind, **cards), np.zeros((2, 2)))


def science(count: int = 3, **cards: Any) -> list[Frame]:
    return [raw(DHSLABEL=f"S20200104S{n:04d}", **cards) for n in range(1, count + 1)]


def criterion(**keys: Any) -> Criterion:
    return Criterion.model_validate(keys, strict=False)


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"tags": ("F2", "GEMINI")}, ""),
        ({"tags": ("F2", "DARK")}, "S20200104S0076.fits lacks the tag DARK"),
        ({"not": {"tags": ("DARK",)}}, "S20200107S0049.fits is tagged DARK"),
        ({"not": {"tags": ("FLAT",)}}, ""),
        ({"some": {"tags": ("DARK",)}}, ""),
        ({"some": {"tags": ("FLAT",)}}, "no frame is tagged FLAT"),
        ({"count": {"ge": 2}}, ""),
        ({"count": {"ge": 3, "le": 9}}, "there are 2 frames, it needs at least 3 and at most 9"),
        ({"count": {"eq": 1}}, "there are 2 frames, it needs 1"),
        ({"same": ("read_mode", "exposure_time")}, ""),
        ({"all": ({"tags": ("F2",)}, {"count": {"lt": 2}})}, "there are 2 frames, it needs fewer"),
        ({"any": ({"count": {"lt": 2}}, {"tags": ("F2",)})}, ""),
    ],
)
def test_conditions(keys: dict[str, Any], reason: str) -> None:
    """Asked of a science frame and a dark of the same exposure time."""
    frames = [raw("A"), raw("B")]
    made = shortfall(criterion(**keys), frames)
    assert made.startswith(reason)
    assert bool(made) is bool(reason)


def test_unequal_values_are_shown() -> None:
    frames = [raw("A"), raw("A", DHSLABEL="S20200104S0077", EXPTIME=10.0)]
    made = shortfall(criterion(same=("filter_name", "exposure_time")), frames)
    assert made == "exposure_time of S20200104S0077.fits is 10.0, of S20200104S0076.fits 5.0"


def test_expressions_are_asked_of_every_frame() -> None:
    frames = science(2)
    assert shortfall(criterion(expr="exposure_time < 6"), frames) == ""
    made = shortfall(criterion(expr="exposure_time > 6"), frames)
    assert made == "S20200104S0001.fits fails exposure_time > 6"


def test_every_reason_is_told_and_any_of_several_is_enough() -> None:
    both = AppliesTo.model_validate(
        {"all": ({"tags": ("DARK",)}, {"count": {"ge": 9}})}, strict=False
    )
    assert len(unfit(both, science(2))) == 2
    either = AppliesTo.model_validate(
        {"any": ({"tags": ("DARK",)}, {"count": {"ge": 2}})}, strict=False
    )
    assert unfit(either, science(2)) == []
    assert unfit(either, science(1)) == [
        "S20200104S0001.fits lacks the tag DARK; there is 1 frame, it needs at least 2"
    ]
    assert unfit(None, science(1)) == []


def test_tags_make_a_recipe_specific() -> None:
    given = {"all": ({"tags": ("F2", "CAL")}, {"not": {"tags": ("DARK",)}}, {"count": {"ge": 1}})}
    assert weight(AppliesTo.model_validate(given, strict=False)) == 3


# shipped recipes ------------------------------------------------------------------------------
KRED = {"EXPTIME": 2.0}


@pytest.mark.parametrize(
    ("frames", "name"),
    [
        (lambda: [raw("B"), raw("B", DHSLABEL="S20200107S0050")], "makeProcessedDark"),
        (lambda: [raw("C")], "makeProcessedFlat"),
        (lambda: [raw("B", **KRED), raw("C"), raw("C")], "makeProcessedFlat"),
        (lambda: [raw("D"), raw("E")], "makeProcessedFlat"),
        (lambda: science(2), "reduce"),
    ],
)
def test_the_tags_of_all_frames_choose_the_recipe(frames: Any, name: str) -> None:
    assert choose_recipe(None, frames()).name == name


def test_frames_without_default_recipe_need_a_named_one() -> None:
    with pytest.raises(RequestError, match="no recipe is the default for these frames") as error:
        choose_recipe(None, [*science(), raw("B")])
    text = str(error.value)
    assert "makeProcessedDark: S20200104S0001.fits lacks the tag CAL, DARK" in text
    assert "reduce: S20200107S0049.fits lacks the tag IMAGE" in text
    assert "f2yaml run ultradeep" in text
    assert choose_recipe("ultradeep", science()).name == "ultradeep"
    with pytest.raises(RecipeError, match="ultradep"):
        choose_recipe("ultradep", science())


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (lambda: science(2), "there are 2 frames, it needs at least 3"),
        (lambda: [*science(3), raw("B")], "S20200107S0049.fits lacks the tag IMAGE"),
        (lambda: [*science(3), raw("C")], "S20200108S0010.fits is tagged CAL"),
        (
            lambda: [*science(3), raw("A", FILTER1="J_G0802", FILTER2="Open")],
            "filter_name of S20200104S0076.fits is J, of S20200104S0001.fits K-red",
        ),
    ],
)
def test_ultradeep_is_refused_frames_it_cannot_reduce(frames: Any, reason: str) -> None:
    with pytest.raises(RequestError) as error:
        check_applies(load_recipe("ultradeep"), frames())
    assert f"recipe ultradeep is not for these frames: {reason}" in str(error.value)


def test_fitting_frames_pass() -> None:
    check_applies(load_recipe("ultradeep"), science(3))
    check_applies(load_recipe("checkWCS"), science(1))
