"""Header positions that contradict the telescope: refused, repaired, made anew, or kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io.fits import Header
from f2yaml.interpreter.algorithms.tan import Tan, separation
from f2yaml.interpreter.calibrations import Calibrations
from f2yaml.interpreter.engine import Engine
from f2yaml.interpreter.errors import BadInput
from f2yaml.interpreter.fits import write_frame
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.planning import bind
from f2yaml.interpreter.pointing import contradictions, repaired
from f2yaml.interpreter.primitives.standardize import Prepare, check_raw, prepare
from f2yaml.interpreter.products import Writer
from f2yaml.interpreter.resources import Finder
from f2yaml.interpreter.run import execute
from f2yaml.interpreter.settings import parse_overrides
from f2yaml.interpreter.sources import unread_frame
from f2yaml.schema.compose import load_recipe
from synthetic import frame

SCALE = 0.1792 / 3600
LIMITS = (30.0, 5.0)
TARGET = (150.0, -30.0)
RAW = {"BUNIT": "adu"}


def shifted(position: tuple[float, float], east: float, north: float) -> tuple[float, float]:
    plane = Tan((1.0, 1.0), position, ((1 / 3600, 0.0), (0.0, 1 / 3600)))
    ra, dec = plane.to_sky(east, north)
    return float(ra), float(dec)


def pointed(
    number: int,
    east: float,
    north: float,
    wrong: tuple[float, float] = (0.0, 0.0),
    *,
    observation: int = 7,
    pa: float = 0.0,
    **more: Any,
) -> Frame:
    """Return a raw frame at an offset (arcsec, PA 0) whose header position errs by `wrong`.

    Offsets are given on the sky; P and Q are those of the position angle.
    """
    sin, cos = np.sin(np.radians(pa)), np.cos(np.radians(pa))
    wcs = Tan.rounded(
        (4.3, 4.7),
        shifted(TARGET, east + wrong[0], north + wrong[1]),
        ((SCALE * sin, SCALE * cos), (SCALE * cos, -SCALE * sin)),
    )
    cards = {
        "POFFSET": float(cos * east - sin * north),
        "QOFFSET": float(sin * east + cos * north),
        "PA": pa,
        "OBSID": f"GS-2020A-Q-101-{observation}",
        "UT": f"06:{number:02d}:00.0",
        "PREPARE": None,
        **more,
    }
    name = f"S20200104S{number:04d}.fits"
    return frame(np.ones((8, 8)), name=name, variance=None, mask=None, wcs=wcs, sci=RAW, **cards)


def off(new: Tan, east: float, north: float) -> float:
    """Return how far (arcsec) coordinates are from the position commanded."""
    return float(separation(*new.crval, *shifted(TARGET, east, north)))


DITHER = [(0.0, 0.0), (10.0, 0.0), (0.0, 10.0), (-10.0, -5.0)]


@pytest.mark.parametrize("bad", range(4))
@pytest.mark.parametrize("pa", [0.0, 90.0, 33.0])
def test_a_frame_off_by_40_arcsec_is_put_back(bad: int, pa: float) -> None:
    """Spec 4.5 measured 0.001 arcsec for fix and new, whichever frame it is, the first too."""
    frames = [
        pointed(n, *o, wrong=(40.0, 0.0) if n == bad else (0.3, -0.2), pa=pa)
        for n, o in enumerate(DITHER)
    ]
    with pytest.raises(BadInput, match=f"S20200104S000{bad}.fits"):
        check_raw(frames, Prepare())
    fixed = repaired(frames, "fix", *LIMITS)
    assert list(fixed) == [f"S20200104S000{bad}"]
    made = fixed[f"S20200104S000{bad}"]
    # It gets the error of the frame it is mended by, (0.3, -0.2), so that both agree.
    assert off(made, DITHER[bad][0] + 0.3, DITHER[bad][1] - 0.2) < 1e-3
    good = frames[(bad + 1) % 4]
    assert made.crpix == good.wcs.crpix
    assert made.cd == good.wcs.cd
    fresh = repaired(frames, "new", *LIMITS)
    assert len(fresh) == 4
    for offset, wcs in zip(DITHER, fresh.values(), strict=True):
        assert off(wcs, *offset) < 1e-3
        np.testing.assert_allclose(wcs.cd, good.wcs.cd, rtol=1e-9, atol=1e-15)
    assert repaired(frames, "ignore", *LIMITS) == {}
    assert repaired(frames, "exit", *LIMITS) == {}


def test_the_order_of_the_frames_does_not_matter() -> None:
    frames = [pointed(n, *o, wrong=(0, 40.0 * (n == 1))) for n, o in enumerate(DITHER)]
    there = repaired(frames, "fix", *LIMITS)
    assert repaired(frames[::-1], "fix", *LIMITS) == there


def test_the_good_frame_nearest_in_time_serves() -> None:
    """Pointing errors creep from 0 to 4 arcsec; the fourth frame gets that of its neighbour."""
    frames = [pointed(n, 10.0 * n, 0.0, wrong=(0.0, float(n))) for n in range(5)]
    frames[3] = pointed(3, 30.0, 0.0, wrong=(0.0, -25.0))
    made = repaired(frames, "fix", *LIMITS)["S20200104S0003"]
    assert off(made, 30.0, 2.0) < 1e-3


def test_without_a_good_frame_a_repair_is_an_error() -> None:
    """The reference repairs nothing and says nothing."""
    frames = [pointed(n, *o, wrong=(40.0, 0.0)) for n, o in enumerate(DITHER)]
    with pytest.raises(BadInput, match=r"position of S20200104S0000.fits cannot be repaired"):
        check_raw(frames, Prepare(bad_wcs="fix"))
    (note,) = check_raw(frames, Prepare(bad_wcs="ignore"))
    assert "are kept, as bad_wcs=ignore asks: S20200104S0000.fits" in note
    (note,) = check_raw(frames, Prepare(bad_wcs="new"))
    assert "positions of 4 frames are made of target and offsets" in note


@pytest.mark.parametrize("other", [{"observation": 8}, {"pa": 20.0}])
def test_frames_of_another_observation_or_angle_are_no_base(other: dict[str, Any]) -> None:
    frames = [pointed(n, *o) for n, o in enumerate(DITHER)]
    stray = pointed(9, 5.0, 5.0, wrong=(40.0, 0.0), **other)
    with pytest.raises(BadInput, match=r"S20200104S0009.fits cannot be repaired"):
        repaired([*frames, stray], "fix", *LIMITS)
    assert list(repaired([*frames, stray], "new", *LIMITS))[-1] == "S20200104S0009"


def test_small_errors_and_calibrations_are_left_alone() -> None:
    frames = [pointed(n, *o, wrong=(4.0 * (n == 2), 0.0)) for n, o in enumerate(DITHER)]
    dark = pointed(8, 0.0, 0.0, wrong=(500.0, 0.0), OBSTYPE="DARK")
    assert contradictions([*frames, dark], *LIMITS) == []
    assert repaired([*frames, dark], "fix", *LIMITS) == {}
    assert len(repaired([*frames, dark], "new", *LIMITS)) == 4


def test_new_positions_need_no_coordinates_in_the_header() -> None:
    broken = pointed(1, 10.0, 0.0)
    bare = Frame(
        name=broken.name,
        pixels=broken.pixels,
        phu=broken.phu,
        sci=Header({"NAXIS1": 2048, "NAXIS2": 2048}),
    )
    wcs = repaired([bare], "new", *LIMITS)["S20200104S0001"]
    assert off(wcs, 10.0, 0.0) < 1e-3
    assert wcs.crpix == (1024.5, 1024.5)
    assert wcs.pixel_scale() == pytest.approx(0.1792)


def test_a_frame_that_does_not_say_where_it_points_cannot_be_made_anew() -> None:
    lost = pointed(1, 0.0, 0.0, POFFSET=None)
    with pytest.raises(BadInput, match="does not say where it points"):
        repaired([lost], "new", *LIMITS)


def test_the_coordinates_given_replace_those_of_the_header() -> None:
    raw = pointed(1, 0.0, 0.0, wrong=(40.0, 0.0))
    wcs = Tan.rounded((4.0, 4.0), TARGET, ((0.0, SCALE), (SCALE, 0.0)))
    out = prepare(raw, Prepare(bad_wcs="new"), pointing=wcs)
    assert out.wcs == wcs
    assert out.phu["BADWCS"] == "new"
    kept = prepare(raw, Prepare())
    assert kept.wcs == raw.wcs
    assert "BADWCS" not in kept.phu


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_replaces_positions_before_anything_else(tmp_path: Path, jobs: int) -> None:
    paths = []
    for n, offset in enumerate(DITHER):
        raw = pointed(n, *offset, wrong=(40.0 * (n == 2), 0.0))
        paths.append(write_frame(raw, tmp_path / raw.name))
    recipe = tmp_path / "look.yaml"
    recipe.write_text(
        "f2yaml: 1\nname: look\ndoc: d\nsteps: [{do: prepare}]\n"
        "outputs: {main: {suffix: _prepared}}\n"
    )
    frames = [unread_frame(path) for path in paths]
    finder = Finder(Calibrations.from_config(None, tmp_path), {})
    plan = bind(load_recipe(recipe), frames, finder, parse_overrides(["prepare:bad_wcs=fix"]))
    assert any("are replaced: S20200104S0002.fits" in note for note in plan.notes)
    writer = Writer(tmp_path / "out")
    writer.check()
    execute(plan, Engine(jobs), writer, lambda event: None)
    made = [unread_frame(path) for path in writer.written]
    assert len(made) == 4
    for out, offset in zip(made, DITHER, strict=True):
        assert off(out.wcs, *offset) < 1e-3
    assert [out.phu.get("BADWCS") for out in made] == [None, None, "fix", None]
