"""What would give wrong science is refused; what is allowed by name is on record in the product."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from command_line import Edit, Night, Program, cards, comments, edited, names, refused
from f2yaml.interpreter.allowing import CHECKS, parse_allowed, way_out
from f2yaml.interpreter.association import RULES
from f2yaml.interpreter.errors import FrameMismatch, RequestError
from f2yaml.interpreter.primitives.register import (
    ResampleToCommonFrame,
    resample_to_common_frame,
)
from synthetic import flat_frame

IMAGE = "S20200104S0075_image.fits"
#: Calibrations for other frames: type, cards that make them so, check, what is said.
CALIBRATIONS = [
    ("dark", {"EXPTIME": 8.0}, "dark-exposure-time", "exposure_time is 8 s, the frame's 5 s"),
    ("dark", {"LNRS": 8}, "dark-read-mode", "read_mode is 8, the frame's 1"),
    ("dark", {"COADDS": 2, "EXPTIME": 2.5}, "dark-read-mode", "coadds is 2, the frame's 1"),
    ("flat", {"FILTER2": "H_G0803"}, "flat-filter", "filter_name is H, the frame's K-red"),
    ("flat", {"LYOT": "f/32_G5831"}, "flat-optics", "lyot_stop is f/32_G5831, the frame's f/16"),
    ("dark", {"DATE-OBS": "2018-01-07"}, "calibration-age", "under 90 days: 726.6 days earlier"),
    ("flat", {"RAWGEMQA": "BAD"}, "calibration-quality", "qa_state is Fail"),
    ("dark", {"PROCMODE": "ql"}, "calibration-quality", "processing is ql, the frame's sq (sq)"),
]


@pytest.mark.parametrize(("kind", "changes", "check", "text"), CALIBRATIONS)
def test_a_calibration_for_other_frames(
    f2yaml: Program,
    tiny: Night,
    desk: Path,
    kind: str,
    changes: dict[str, object],
    check: str,
    text: str,
) -> None:
    """Refused before any work, with the name that would allow it; then allowed, and on record."""
    given = {"dark": tiny.dark, "flat": tiny.flat}
    given[kind] = edited(given[kind], desk / f"other_{kind}.fits", cards(changes))
    user = [w for k, p in given.items() for w in ("--user-cal", f"processed_{k}:{p}")]
    words = ("run", "ultradeep_part1", "--inputs", *tiny.science[:2], *user)
    done = f2yaml(*words, cwd=desk, check=False)
    refused(done, 1, f"other_{kind}.fits does not fit {tiny.science[0].name}", text)
    assert f"to use it all the same, say so: --allow {check}\n" in done.stderr
    assert "prepare" not in done.stderr
    assert names(desk) == [f"other_{kind}.fits"]
    other = next(name for name in CHECKS if name != check)
    refused(f2yaml(*words, "--allow", other, cwd=desk, check=False), 1, text)
    done = f2yaml(*words, "--allow", check, "--json", cwd=desk)
    told = json.loads(done.stdout)
    assert [(item["check"], item["file"]) for item in told["allowed"]] == [
        (check, f"other_{kind}.fits")
    ]
    made = desk / "S20200104S0075_flatCorrected.fits"
    header = fits.getheader(made)
    assert (header["ALLOW001"], "ALLOW002" in header) == (check, False)
    note = f"--allow {check}: other_{kind}.fits is taken for {tiny.science[0].name}, though"
    assert note in comments(made)
    assert "so for 1 other frames" in comments(made)
    with fits.open(made) as hdus:
        step = {"dark": "darkCorrect", "flat": "flatCorrect"}[kind]
        (args,) = (row["args"] for row in hdus["HISTORY"].data if row["primitive"] == step)
    assert json.loads(args)["allows"] == [check]


def test_a_calibration_named_by_a_parameter_is_held_to_the_same_rules(
    f2yaml: Program, tiny: Night, desk: Path
) -> None:
    """A tolerance of the step stands for itself."""
    edited(tiny.dark, desk / "old.fits", cards({"DATE-OBS": "2018-01-07"}))
    edited(tiny.dark, desk / "long.fits", cards({"EXPTIME": 5.5}))
    words = ("run", "ultradeep_part1", "--inputs", tiny.science[0], *tiny.user_cal)
    done = f2yaml(*words, "-p", "darkCorrect:dark=old.fits", cwd=desk, check=False)
    refused(done, 1, "old.fits does not fit", "--allow calibration-age")
    done = f2yaml(*words, "-p", "darkCorrect:dark=long.fits", cwd=desk, check=False)
    refused(done, 1, "raise exptime_tolerance, or say --allow dark-exposure-time")
    wide = ("-p", "darkCorrect:exptime_tolerance=1")
    done = f2yaml(*words, "-p", "darkCorrect:dark=long.fits", *wide, cwd=desk)
    assert done.stdout == "S20200104S0075_flatCorrected.fits\n"


def test_what_may_not_be_allowed(f2yaml: Program, tiny: Night, desk: Path) -> None:
    """The size of the array and the instrument have no name; nor is there one for everything."""
    assert way_out(["array_shape"]) == way_out(["time", "instrument"]) == way_out([]) == ""
    named = {c.name for rules in RULES.values() for c in rules} - {"instrument", "array_shape"}
    assert all(way_out([name]) for name in named)
    for word in ("all", "dark-exposure-tim", ""):
        with pytest.raises(RequestError, match="there is no check of this name"):
            parse_allowed([word])
    done = f2yaml("plan", "--inputs", *tiny.darks_5s, "--allow", "zzzzzzzz", cwd=desk, check=False)
    refused(
        done, 2, "--allow zzzzzzzz: there is no check of this name", "names are dark-exposure-time"
    )
    shown = f2yaml("run", "--help", cwd=desk).stdout
    assert all(name in shown for name in CHECKS)


def test_the_database_offers_what_is_allowed_after_what_fits(
    f2yaml: Program, tiny: Night, desk: Path
) -> None:
    """An old dark is taken where no other is there, and not where one is."""
    old = edited(tiny.dark, desk / "old_dark.fits", cards({"DATE-OBS": "2018-01-07"}))
    f2yaml("caldb", "init", cwd=desk)
    f2yaml("caldb", "add", old, cwd=desk)
    flat = ("--user-cal", f"processed_flat:{tiny.flat}")
    words = ("ultradeep_part1", "--inputs", *tiny.science[:2], *flat)
    done = f2yaml("run", *words, cwd=desk, check=False)
    refused(done, 1, "no processed_dark fits", "; --allow calibration-age would take old_dark.fits")
    done = f2yaml("plan", *words, "--allow", "calibration-age", "--format", "json", cwd=desk)
    (allowed,) = json.loads(done.stdout)["allowed"]
    assert allowed["check"] == "calibration-age"
    f2yaml("caldb", "add", tiny.dark, cwd=desk)
    done = f2yaml("plan", *words, "--allow", "calibration-age", "--format", "json", cwd=desk)
    told = json.loads(done.stdout)
    assert told["allowed"] == []
    assert tiny.dark.name in [Path(row["file"]).name for row in told["calibrations"]]


# frames that do not belong together ---------------------------------------------------------------
def test_mixed_filters_are_refused_by_recipe_and_by_step(
    f2yaml: Program, tiny: Night, desk: Path
) -> None:
    """Nothing allows them: a level has a meaning in one filter only."""
    edited(tiny.science[1], desk / "h.fits", cards({"FILTER2": "H_G0803", "FILTER": "H"}))
    words = ("--inputs", tiny.science[0], "h.fits", *tiny.user_cal)
    done = f2yaml("run", "reduce", *words, cwd=desk, check=False)
    refused(done, 2, "recipe reduce is not for these frames: filter_name of h.fits is H")
    (desk / "mine.yaml").write_text(
        "f2yaml: 1\nname: mine\nsteps: [{do: prepare}, {do: ADUToElectrons}, {do: stackFrames}]\n"
        "outputs: {main: {suffix: _x}}\n"
    )
    done = f2yaml("run", "mine.yaml", *words[:3], cwd=desk, check=False)
    refused(done, 1, "stackFrames: filter_name of S20200104S0075_")
    assert not list(desk.glob("*_x.fits"))


def test_darks_of_mixed_read_modes_or_times(f2yaml: Program, tiny: Night, desk: Path) -> None:
    for changes, text in (({"LNRS": 8}, "read_mode"), ({"EXPTIME": 6.0}, "was exposed 6 s")):
        edited(tiny.darks_5s[1], desk / "odd.fits", cards(changes))
        words = ("run", "--inputs", tiny.darks_5s[0], "odd.fits")
        done = f2yaml(*words, cwd=desk, check=False)
        refused(done, 1, "step 6 stackDarks (", text)
        assert "prepare" not in done.stderr  # no step has run


def bright(columns: int) -> Edit:
    def edit(hdus: fits.HDUList) -> None:
        data = hdus[1].data.copy()
        data[..., 256 : 256 + columns] = 400_000
        hdus[1].data = data

    return edit


def test_a_saturated_flat(f2yaml: Program, tiny: Night, desk: Path) -> None:
    flats = [edited(path, desk / path.name, bright(100)) for path in tiny.flats]
    words = ("run", "--inputs", *flats, *tiny.darks_2s)
    done = f2yaml(*words, cwd=desk, check=False)
    refused(
        done,
        1,
        "step 6 makeLampFlat (",
        "saturated flats: S20200108S0010_",
        " % of its lit pixels)",
    )
    assert "--allow saturated-flat" in done.stderr
    assert not (desk / "calibrations").exists()
    done = f2yaml(*words, "--allow", "saturated-flat", cwd=desk)
    made = desk / "S20200108S0010_flat.fits"
    assert fits.getheader(made)["ALLOW001"] == "saturated-flat"
    assert "--allow saturated-flat: much of the flats is saturated" in comments(made)
    assert "--allow saturated-flat" in done.stderr


def test_a_few_saturated_pixels_spoil_no_flat(f2yaml: Program, tiny: Night, desk: Path) -> None:
    """A bright defect of a few columns, 4 per cent of the lit field."""
    flats = [edited(path, desk / path.name, bright(16)) for path in tiny.flats]
    f2yaml("run", "--inputs", *flats, *tiny.darks_2s, cwd=desk)


# frames without sky in common ---------------------------------------------------------------------
def chain(*places: float) -> list[Callable[..., object]]:
    """Return frames of 40 x 40 pixels side by side; `places` are their left edges in pixels."""
    made = []
    for number, place in enumerate(places):
        frame = flat_frame(1.0, shape=(40, 40), name=f"S20200104S00{number + 10}.fits")
        shifted = frame.with_wcs(frame.wcs.shifted_origin(int(place), 0))
        made.append(shifted.with_(variance=np.ones((40, 40), np.float32)))
    return made


@pytest.mark.parametrize("places", [(0, 30), (0, 60, 30), (0, 38, -38, 76)])
def test_frames_that_overlap_by_way_of_others(places: tuple[float, ...]) -> None:
    made = resample_to_common_frame(chain(*places), ResampleToCommonFrame())
    assert len(made.frames) == len(places)
    assert made.notes == ()


def test_frames_without_overlap() -> None:
    frames = chain(0, 30, 200, 220)
    with pytest.raises(FrameMismatch, match=r"S20200104S0012.*S20200104S0013.*no sky in common"):
        resample_to_common_frame(frames, ResampleToCommonFrame())
    made = resample_to_common_frame(
        frames, ResampleToCommonFrame(), allows=frozenset({"no-overlap"})
    )
    assert made.frames[0].shape == (40, 260)
    assert {f.phu["ALLOW001"] for f in made.frames} == {"no-overlap"}
    assert made.notes[0].startswith("--allow no-overlap: S20200104S0012")
