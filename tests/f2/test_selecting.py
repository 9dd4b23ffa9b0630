"""Rules that sort a folder into lists."""

from __future__ import annotations

from pathlib import Path

import pytest
from f2_headers import Value, raw_headers
from f2yaml.interpreter.headers import Headers
from f2yaml.interpreter.selecting import load_rules, select
from f2yaml.schema.problems import RecipeError, RequestError


def frame(kind: str, name: str, **phu: Value) -> Headers:
    headers = raw_headers(kind, **phu)
    return Headers(headers.phu, headers.sci, name)


def tutorial() -> list[Headers]:
    return [
        frame("A", "sci2", UT="07:00:00"),
        frame("A", "sci1", UT="06:00:00"),
        frame("B", "dark5"),
        frame("B", "dark2", EXPTIME=2.0),
        frame("B", "dark5 again", EXPTIME=5.0000001),
        frame("C", "flat"),
    ]


def test_shipped_rules_make_the_lists_of_the_tutorial() -> None:
    result = select(load_rules("f2_imaging"), tutorial())
    assert {made.output: made.files for made in result.lists} == {
        "darks_5s.list": ("dark5", "dark5 again"),
        "darks_2s.list": ("dark2",),
        "flats_Kred.list": ("flat",),
        "sci_images.list": ("sci1", "sci2"),
    }
    assert result.leftover == ()
    assert result["flats_Kred.list"] == ("flat",)


def test_groups_that_would_share_a_name_say_how_they_differ() -> None:
    frames = [
        *tutorial(),
        frame("A", "h", FILTER2="H_G0803"),
        frame("A", "h long", FILTER2="H_G0803", EXPTIME=12.5),
        frame("B", "eight pairs", LNRS=8),
    ]
    result = select(load_rules("f2_imaging"), frames)
    assert [made.output for made in result.lists] == [
        "darks_5s_1.list",
        "darks_2s.list",
        "darks_5s_8.list",
        "flats_Kred.list",
        "sci_images_Kred_5.list",
        "sci_images_H_5.list",
        "sci_images_H_12.5.list",
    ]


def test_leftovers_have_reasons() -> None:
    frames = [
        frame("A", "acq", OBSCLASS="acq"),
        frame("A", "spectrum", GRISM="JH_G5801", DECKER="Long_slit"),
        frame("A", "gmos", INSTRUME="GMOS-S"),
        frame("B", "timeless", EXPTIME=None),
        frame("A", "bad", RAWGEMQA="BAD"),
    ]
    result = select(load_rules("f2_imaging"), frames)
    assert result.lists == ()
    reasons = dict(result.leftover)
    assert list(reasons) == ["acq", "spectrum", "gmos", "timeless", "bad"]
    assert "fits no set" in reasons["acq"]
    assert "a spectrum" in reasons["spectrum"]
    assert "not F2" in reasons["gmos"]
    assert "exposure_time not known" in reasons["timeless"]
    assert "qa_state" in reasons["bad"]


HEAD = "f2yaml: 1\nkind: rules\nsets:\n"


def rules_file(folder: Path, text: str) -> Path:
    path = folder / "rules.yaml"
    path.write_text(HEAD + text)
    return path


def test_small_groups_are_left_over(tmp_path: Path) -> None:
    path = rules_file(
        tmp_path,
        "  d:\n    tags: [DARK]\n    group_by: [exposure_time]\n    min_count: 2\n"
        "    output: 'd{exposure_time:g}.list'\n",
    )
    result = select(load_rules(path), tutorial())
    assert [made.output for made in result.lists] == ["d5.list"]
    assert dict(result.leftover)["dark2"] == "d: 1 alike, at least 2 are needed"


def test_names_stand_for_files_and_sets_may_overlap(tmp_path: Path) -> None:
    path = rules_file(
        tmp_path, "  a:\n    tags: [CAL]\n    output: a.list\n  b:\n    output: b.list\n"
    )
    result = select(load_rules(path), [("raw/x.fits", raw_headers("B"))])
    assert result["a.list"] == result["b.list"] == ("raw/x.fits",)


def test_lists_of_one_name_are_refused(tmp_path: Path) -> None:
    path = rules_file(
        tmp_path,
        "  a:\n    tags: [DARK]\n    group_by: [exposure_time]\n"
        "    output: 'x{exposure_time:g}.list'\n"
        "  b:\n    tags: [DARK]\n    output: x5.list\n",
    )
    with pytest.raises(RequestError, match=r"two lists would be named x5.list"):
        select(load_rules(path), tutorial())


def test_unknown_words_in_rules_have_their_place(tmp_path: Path) -> None:
    path = rules_file(
        tmp_path,
        "  a:\n    tags: [DRAK]\n    group_by: [exptime]\n    sort_by: [ut]\n"
        "    expr: filtername == 'H'\n    output: a.list\n",
    )
    with pytest.raises(RecipeError) as caught:
        load_rules(path)
    rendered = caught.value.render()
    assert f"{path}:5:12: unknown tag `DRAK`" in rendered
    assert f"{path}:6:16: unknown descriptor `exptime`" in rendered
    assert f"{path}:7:15: unknown descriptor `ut`" in rendered
    assert f"{path}:8:11: `filtername` is not a known name" in rendered
    assert "did you mean `filter_name`?" in rendered


def test_missing_rules_are_reported(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such file"):
        load_rules(tmp_path / "none.yaml")


def test_grouping_by_observation_and_night(tmp_path: Path) -> None:
    path = rules_file(
        tmp_path,
        "  science:\n    tags: [IMAGE]\n    group_by: [night, observation_id]\n"
        "    sort_by: [ut_datetime]\n    min_count: 2\n"
        "    output: '{night}_{observation_id}.list'\n",
    )
    frames = [
        # One night in Chile: it begins before midnight UT and bears the date on which it ends.
        frame("A", "c", **{"DATE-OBS": "2013-11-21", "UT": "01:00:00", "OBSID": "GS-1-1"}),
        frame("A", "a", **{"DATE-OBS": "2013-11-20", "UT": "18:00:01", "OBSID": "GS-1-1"}),
        frame("A", "b", **{"DATE-OBS": "2013-11-20", "UT": "23:59:59", "OBSID": "GS-1-1"}),
        frame("A", "d", **{"DATE-OBS": "2013-11-20", "UT": "17:59:59", "OBSID": "GS-1-1"}),
        frame("A", "e", **{"DATE-OBS": "2013-11-20", "UT": "17:00:00", "OBSID": "GS-1-1"}),
        frame("A", "f", **{"DATE-OBS": "2013-11-21", "UT": "02:00:00", "OBSID": "GS-1-2"}),
    ]
    result = select(load_rules(path), frames)
    assert {made.output: made.files for made in result.lists} == {
        "20131121_GS11.list": ("a", "b", "c"),
        "20131120_GS11.list": ("e", "d"),
    }
    assert dict(result.leftover) == {"f": "science: 1 alike, at least 2 are needed"}


def test_leftovers_name_the_tags_by_which_each_set_leaves_them_out() -> None:
    result = select(load_rules("f2_imaging"), [frame("A", "acq", OBSCLASS="acq", OBSTYPE="OBJECT")])
    reason = dict(result.leftover)["acq"]
    assert reason == ("fits no set; darks: lacks DARK; flats: lacks FLAT; science: has ACQUISITION")
