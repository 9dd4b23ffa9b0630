"""Headers of simulated frames, against the example headers of the specification."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.time import Time
from f2_headers import EXTENSION, SCIENCE, raw_headers
from f2yaml.interpreter.errors import RequestError
from f2yaml.interpreter.f2.descriptors import describe
from f2yaml.interpreter.f2.tags import tags_of
from f2yaml.interpreter.headers import Headers
from f2yaml.interpreter.simulate import field
from f2yaml.interpreter.simulate.headers import LONGITUDE_DEG, extension_header, primary_header
from f2yaml.interpreter.simulate.night import planned
from f2yaml.interpreter.simulate.plan import FramePlan
from f2yaml.schema.scenario import Scenario
from numpy.testing import assert_allclose

#: One frame like each column of the specification's table (instrument 1.7).
COLUMNS: dict[str, Any] = {
    "kind": "scenario",
    "f2yaml": 1,
    "name": "columns",
    "doc": "the example headers",
    "seed": 1,
    "target": {"ra_deg": 150.0, "dec_deg": -30.0},
    "sky": {"level_e_s": 100.0, "pointing_rms_arcsec": 0.0, "header_rms_arcsec": 0.0},
    "science": [
        {
            "files": "S20200104S0075-076",
            "filter": "K-red",
            "exposure_s": 5.0,
            "start_ut": "06:30:00",
            "gap_s": 12.67,  # 30 s from frame to frame
            "program": "GS-2020A-Q-101",
            "observation": 7,
            "offsets_pq_arcsec": [[0.0, 0.0], [10.0, 10.0]],
        }
    ],
    "darks": [
        {
            "files": "S20200107S0049",
            "exposure_s": 5.0,
            "start_ut": "14:00:00",
            "observation": 2,
        }
    ],
    "flats": [
        {
            "files": files,
            "filter": name,
            "exposure_s": exposure,
            "start_ut": "14:00:00",
            "observation": observation,
            "style": style,
            "lamp": lamp,
            "level_e_s": 1000.0,
        }
        for files, name, exposure, observation, style, lamp in (
            ("S20200108S0010", "K-red", 2.0, 3, "day_new", "off"),
            ("S20131129S0320", "Y", 20.0, 4, "day_old", "on"),
            ("S20131126S1111", "Y", 20.0, 5, "day_old", "off"),
        )
    ],
}
#: Cards that follow from time and place; the specification's examples are not consistent in them.
GEOMETRY = {"ELEVATIO", "AZIMUTH", "HA", "ST", "AIRMASS", "AMSTART", "AMEND"}


def column_frames() -> tuple[Scenario, dict[str, FramePlan]]:
    scenario = Scenario.model_validate(COLUMNS)
    return scenario, dict(zip("-ABCDE", planned(scenario), strict=True))


@pytest.mark.parametrize("column", list("ABCDE"))
def test_headers_are_those_of_the_specification(column: str) -> None:
    scenario, frames = column_frames()
    header = primary_header(frames[column], scenario)
    expected = raw_headers(column).phu
    skip = GEOMETRY | ({"RA"} if column in "DE" else set())
    cards = {key: expected[key] for key in expected if key not in skip | {"BITPIX", "EXTEND"}}
    got = {key: header[key] for key in cards if key in header}
    assert got == cards
    assert {key: type(value) for key, value in got.items()} == {
        key: type(value) for key, value in cards.items()
    }
    assert set(header) - set(expected) <= {"EXTEND"}


def test_cards_are_in_the_order_of_the_specification() -> None:
    scenario, frames = column_frames()
    header = primary_header(frames["A"], scenario)
    assert list(header)[4:] == list(SCIENCE)
    lamp = list(primary_header(frames["C"], scenario))
    start = lamp.index("RELEASE") + 1
    assert lamp[start : start + 4] == ["GCALLAMP", "GCALFILT", "GCALDIFF", "GCALSHUT"]


def test_extension_header_is_that_of_the_specification() -> None:
    scenario, frames = column_frames()
    header = extension_header(frames["A"], scenario)
    pointing = {"CRVAL1", "CRVAL2"}
    got = {key: header[key] for key in EXTENSION if key not in pointing}
    expected = raw_headers("A").sci
    assert got == {key: expected[key] for key in got}
    for key in pointing:  # the specification gives 15 digits
        assert header[key] == pytest.approx(EXTENSION[key], abs=1e-11)
    assert sum(key.startswith("AMPDAC") for key in header) == 32
    assert [header[f"NAXIS{axis}"] for axis in (1, 2, 3)] == [2048, 2048, 1]


@pytest.mark.parametrize(
    ("column", "tags"),
    [
        ("A", "F2 GEMINI IMAGE RAW SIDEREAL SOUTH UNPREPARED"),
        ("B", "CAL DARK F2 GEMINI RAW SOUTH UNPREPARED"),
        (
            "C",
            "CAL F2 FLAT GCALFLAT GCAL_IR_OFF GEMINI IMAGE LAMPOFF RAW SOUTH UNPREPARED",
        ),
        (
            "D",
            "AT_ZENITH AZEL_TARGET CAL F2 FLAT GCALFLAT GCAL_IR_ON GEMINI IMAGE LAMPON "
            "NON_SIDEREAL RAW SOUTH UNPREPARED",
        ),
    ],
)
def test_tags_are_those_of_the_specification(column: str, tags: str) -> None:
    scenario, frames = column_frames()
    assert tags_of(primary_header(frames[column], scenario)) == set(tags.split())


def test_swapped_wheels_hold_the_same_filter() -> None:
    changed = {**COLUMNS, "science": [{**COLUMNS["science"][0], "wheels": "swapped"}]}
    scenario = Scenario.model_validate(changed)
    header = primary_header(planned(scenario)[1], scenario)
    assert (header["FILTER1"], header["FILTER2"]) == ("K-red_G0815", "Open")
    seen = describe("filter_name", Headers(header, fits.Header(), "x.fits"), pretty=True)
    assert seen == "K-red"


def test_sidereal_time_and_airmass_belong_to_the_time() -> None:
    scenario, frames = column_frames()
    header = primary_header(frames["A"], scenario)
    moment = Time(f"{header['DATE-OBS']}T{header['UT']}", scale="ut1")
    hours = moment.sidereal_time("mean", longitude=LONGITUDE_DEG * u.deg).hour
    h, m, s = map(float, header["ST"].split(":"))
    # astropy uses a newer theory of precession; they agree to well under a second today.
    assert h + m / 60 + s / 3600 == pytest.approx(hours, abs=0.5 / 3600)
    assert header["AIRMASS"] == pytest.approx(1 / np.sin(np.radians(header["ELEVATIO"])), abs=1e-3)


def test_a_skipped_number_leaves_a_gap_in_time_and_label() -> None:
    dark = {**COLUMNS["darks"][0], "files": "S20200111S0257,258,260"}
    scenario = Scenario.model_validate({**COLUMNS, "science": [], "flats": [], "darks": [dark]})
    frames = planned(scenario)
    first, second, last = (frame.header_start for frame in frames)
    assert (last - first).total_seconds() == pytest.approx(
        3 * (second - first).total_seconds(), abs=0.2
    )
    assert primary_header(frames[2], scenario)["DATALAB"] == "GS-CAL20200111-2-004"


def test_position_angle_and_port_turn_the_dither() -> None:
    target = {**COLUMNS["target"], "pa_deg": 30.0, "inport": 1}
    scenario = Scenario.model_validate({**COLUMNS, "target": target})
    first, second = planned(scenario)[:2]
    ra, dec = np.array([150.0]), np.array([-30.0])
    x0, y0 = field.project(ra, dec, first, scenario)
    x1, y1 = field.project(ra, dec, second, scenario)
    # objects move by -Q/scale in x and -kP/scale in y, k = -1 on port 1 (instrument 1.5)
    assert_allclose([x1[0] - x0[0], y1[0] - y0[0]], [-55.8, 55.8], atol=0.05)


def test_a_target_that_is_not_up_is_refused() -> None:
    changed = {**COLUMNS, "target": {"ra_deg": 330.0, "dec_deg": -30.0}}
    with pytest.raises(RequestError, match=r"elevation -?\d+\.\d deg when S20200104S0075"):
        planned(Scenario.model_validate(changed))
