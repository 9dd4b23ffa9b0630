"""Simulated nights: layout, headers, determinism, and truth that the pixels bear out."""

from __future__ import annotations

import argparse
import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from f2yaml.interpreter.commands import simulate as command
from f2yaml.interpreter.errors import OutputError, RequestError
from f2yaml.interpreter.f2.detector import linearized
from f2yaml.interpreter.simulate import field, night
from f2yaml.interpreter.simulate.detector import expose, make_maps, measured_charge
from f2yaml.interpreter.simulate.night import planned, simulate
from f2yaml.interpreter.simulate.plan import generator
from f2yaml.schema.problems import RecipeError
from f2yaml.schema.scenario import Detector, Extended, Scenario, expand_files
from numpy.testing import assert_allclose

SCENARIOS = Path(__file__).parents[2] / "benchmarks" / "scenarios"


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return command.find_scenario("tiny")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory, scenario: Scenario) -> Path:
    out = tmp_path_factory.mktemp("tiny")
    simulate(scenario, out)
    return out


@pytest.fixture(scope="module")
def truth(tiny: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((tiny / "truth.json").read_text())
    return loaded


@pytest.fixture(scope="module")
def maps(tiny: Path) -> dict[str, Any]:
    with np.load(tiny / "truth.npz") as arrays:
        return dict(arrays)


# --- layout -------------------------------------------------------------------------------------


def test_files_are_laid_out_as_raw_frames(tiny: Path) -> None:
    path = tiny / "S20200104S0075.fits"
    with fits.open(path) as hdus:
        hdus.verify("exception")
        primary, pixels = hdus
        assert (primary.header["BITPIX"], primary.header["NAXIS"]) == (16, 0)
        assert "EXTNAME" not in pixels.header
        assert pixels.header["EXTVER"] == 1
        assert pixels.data.shape == (1, 512, 512)
        assert pixels.data.dtype == np.dtype(">i4")
    assert path.stat().st_size % 2880 == 0


def test_all_frames_of_the_scenario_are_written_and_nothing_else(
    tiny: Path, scenario: Scenario
) -> None:
    names = {f"{frame.name}.fits" for frame in planned(scenario)}
    assert len(names) == 15
    assert {path.name for path in tiny.iterdir()} == names | {"truth.json", "truth.npz"}


def test_times_advance_by_the_cycle_and_end_before_the_next_begins(tiny: Path) -> None:
    starts, ends = [], []
    for number in range(75, 81):
        header = fits.getheader(tiny / f"S20200104S00{number}.fits")
        day = header["DATE-OBS"]
        starts.append(np.datetime64(f"{day}T{header['UTSTART']}"))
        ends.append(np.datetime64(f"{day}T{header['UTEND']}"))
        assert header["DATALAB"] == f"GS-2020A-Q-101-7-{number - 74:03d}"
    gaps = [(b - a) / np.timedelta64(1, "s") for a, b in zip(ends[:-1], starts[1:], strict=True)]
    # 5 s between read-out and header, 5 s from header to exposure, 0.1 s of rounding
    assert_allclose(gaps, 10.0, atol=0.11)


# --- determinism --------------------------------------------------------------------------------


def test_same_seed_same_bytes_for_any_number_of_jobs(
    tiny: Path, scenario: Scenario, tmp_path: Path
) -> None:
    told: list[str] = []
    files = simulate(scenario, tmp_path, jobs=2, progress=told.append)
    assert sorted(told) == sorted(path.stem for path in files[:-2])
    for path in files:
        assert path.read_bytes() == (tiny / path.name).read_bytes(), path.name


def test_another_seed_gives_other_pixels(scenario: Scenario) -> None:
    frame = planned(scenario)[6]
    maps = make_maps(scenario.detector, scenario.seed)
    nothing = field.catalogue(scenario, [])
    first, _ = night.raw_counts(scenario, frame, nothing, maps)
    other = scenario.model_copy(update={"seed": scenario.seed + 1})
    second, _ = night.raw_counts(other, frame, nothing, maps)
    assert (first != second).mean() > 0.5


# --- truth --------------------------------------------------------------------------------------


def light_of(tiny: Path, name: str, exposure: float, maps: dict[str, Any]) -> Any:
    """Electron/s/pix before the response, from raw counts and the truth about the array."""
    electrons = fits.getdata(tiny / f"{name}.fits")[0] * 4.44 - maps["pedestal"]
    rate = linearized(electrons) / exposure - maps["dark"]
    sound = (maps["response"] > 0.5) & (maps["dark"] < 50)
    return np.where(sound, rate / np.where(sound, maps["response"], 1), np.nan)


def isolated_stars(truth: dict[str, Any], xs: Any, ys: Any) -> list[int]:
    """Stars that are bright, do not saturate, are alone and well inside the circle."""
    flux, kind = np.array(truth["flux"]), np.array(truth["kind"])
    chosen = []
    for i in range(len(flux)):
        distance = np.hypot(xs - xs[i], ys - ys[i])
        distance[i] = np.inf
        alone = not np.any((distance < 30) & (flux > 0.003 * flux[i]))
        inside = np.hypot(xs[i] - 262, ys[i] - 263) < 225
        inside &= min(xs[i], ys[i], 511 - xs[i], 511 - ys[i]) > 20
        if kind[i] == 0 and 4e3 < flux[i] < 1.2e5 and alone and inside:
            chosen.append(i)
    return chosen


def measured(light: Any, x: float, y: float) -> tuple[float, float, float]:
    """Centroid by iteration with a Gaussian window, and flux in an aperture of 10 pixels."""
    yy, xx = np.mgrid[: light.shape[0], : light.shape[1]]
    near = np.hypot(xx - x, yy - y)
    ring = (near > 14) & (near < 24)
    signal = light - np.nanmedian(light[ring])
    cx, cy = x + 0.3, y - 0.3
    for _ in range(30):
        weight = np.exp(-((xx - cx) ** 2 + (yy - cy) ** 2) / (2 * 1.5**2))
        weight = np.where(np.isnan(signal) | (near > 10), 0, weight * np.nan_to_num(signal))
        cx += 2 * float(np.sum(weight * (xx - cx)) / weight.sum())
        cy += 2 * float(np.sum(weight * (yy - cy)) / weight.sum())
    return cx, cy, float(np.nansum(signal[near < 10]))


def test_stars_are_where_the_truth_says_and_as_bright(
    tiny: Path, truth: dict[str, Any], maps: dict[str, Any]
) -> None:
    offsets, ratios = [], []
    for frame in truth["frames"]:
        header = fits.getheader(tiny / f"{frame['name']}.fits", 1)
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = [header["CTYPE1"], header["CTYPE2"]]
        wcs.wcs.crpix = [header["CRPIX1"], header["CRPIX2"]]
        wcs.wcs.cd = [[header[f"CD{i}_{j}"] for j in (1, 2)] for i in (1, 2)]
        wcs.wcs.crval = [frame["ra0"], frame["dec0"]]  # what the telescope did, not said
        xs, ys = wcs.all_world2pix(truth["ra"], truth["dec"], 0)
        assert_allclose([xs[0], ys[0]], [frame["dx"], frame["dy"]], atol=1e-6)
        light = light_of(tiny, frame["name"], frame["exptime"], maps)
        alpha = frame["fwhm"] / 2 / np.sqrt(2 ** (1 / 3) - 1)
        inside = 1 - (1 + (10 / alpha) ** 2) ** -2  # Moffat of exponent 3
        for i in isolated_stars(truth, xs, ys):
            x, y, flux = measured(light, xs[i], ys[i])
            core = light[round(y) - 5 : round(y) + 6, round(x) - 5 : round(x) + 6]
            if not np.isnan(core).any():
                offsets.append((x - xs[i], y - ys[i]))
                ratios.append(flux / inside / (truth["flux"][i] * frame["trans"]))
    assert len(offsets) >= 10
    distance = np.hypot(*np.transpose(offsets))
    # The faintest, 4000 electron/s, have a signal to noise near 50: 0.1 pix in two axes at most.
    assert np.median(distance) < 0.04
    assert distance.max() < 0.2
    assert_allclose(np.median(offsets, axis=0), 0, atol=0.03)
    # 0.5 % from noise, 1 % from hot pixels that are left out of the aperture
    assert np.median(ratios) == pytest.approx(1, abs=0.02)


def test_a_rendered_star_has_its_flux_and_its_place(scenario: Scenario) -> None:
    frame = planned(scenario)[0]
    one = field.Sources(
        *(np.array([value]) for value in (105.001, -30.002, 14.0, field.STAR, 3.0, 1.0, 0.0))
    )
    image = field.render(one, frame, scenario)
    x, y = (float(v[0]) for v in field.project(one.ra, one.dec, frame, scenario))
    flux = 10 ** (0.4 * (25.6 - 14.0)) * frame.transparency
    assert image.sum(dtype=float) == pytest.approx(flux, rel=5e-4)  # wings beyond 40 pixels
    yy, xx = np.mgrid[: image.shape[0], : image.shape[1]]
    box = np.hypot(xx - x, yy - y) < 30
    total = image[box].sum(dtype=float)
    # the box is cut through pixels: 1e-3 of the flux at 30 pixels moves the mean by up to 0.01
    assert (image * xx)[box].sum(dtype=float) / total == pytest.approx(x, abs=0.01)
    assert (image * yy)[box].sum(dtype=float) / total == pytest.approx(y, abs=0.01)
    half = image > image.max() / 2
    # area of the half-maximum disc; pixels quantise it
    assert 2 * np.sqrt(half.sum() / np.pi) == pytest.approx(frame.fwhm_pix, rel=0.15)


def test_a_rendered_galaxy_keeps_its_flux_and_is_wider_than_a_star(scenario: Scenario) -> None:
    frame = planned(scenario)[0]
    values = (105.0, -30.0, 16.0, field.GALAXY, 3.0, 0.5, 0.3)
    galaxy = field.Sources(*(np.array([value]) for value in values))
    star = field.Sources(*(np.array([v]) for v in (105.0, -30.0, 16.0, field.STAR, 3.0, 0.5, 0.3)))
    image, point = (field.render(s, frame, scenario) for s in (galaxy, star))
    assert image.sum(dtype=float) == pytest.approx(point.sum(dtype=float), rel=2e-3)
    assert image.max() < 0.5 * point.max()


def test_header_errors_are_as_chosen(tiny: Path, truth: dict[str, Any]) -> None:
    for frame in truth["frames"]:
        sci = fits.getheader(tiny / f"{frame['name']}.fits", 1)
        phu = fits.getheader(tiny / f"{frame['name']}.fits")
        east = (sci["CRVAL1"] - phu["RA"]) * 3600 * np.cos(np.radians(30)) - phu["RAOFFSET"]
        north = (sci["CRVAL2"] - phu["DEC"]) * 3600 - phu["DECOFFSE"]
        chosen = [1.6, 1.2] if frame["name"].endswith("0079") else [0, 0]
        assert_allclose([east, north], chosen, atol=0.25)  # 5 sigma of header_rms_arcsec
        away = np.array([sci["CRVAL1"] - frame["ra0"], sci["CRVAL2"] - frame["dec0"]]) * 3600
        away[0] *= np.cos(np.radians(30))
        assert_allclose(away, frame["header_error"], atol=1e-6)


def test_darks_are_the_pedestal_and_the_dark_current(tiny: Path, maps: dict[str, Any]) -> None:
    for name, exposure in (("S20200107S0035", 2.0), ("S20200107S0049", 5.0)):
        electrons = fits.getdata(tiny / f"{name}.fits")[0] * 4.44
        quiet = maps["dark"] < 3
        rest = (electrons - maps["pedestal"] - exposure * maps["dark"])[quiet]
        clear = np.abs(rest) < 100  # without cosmic rays
        noise = np.sqrt(11.7**2 + exposure * maps["dark"][quiet].mean() + 4.44**2 / 12)
        assert rest[clear].std() == pytest.approx(noise, rel=0.01)  # 250 000 pixels: 0.14 %
        assert rest[clear].mean() == pytest.approx(0, abs=float(5 * noise / 500))


def test_photon_noise_and_level_of_flats(
    tiny: Path, truth: dict[str, Any], maps: dict[str, Any]
) -> None:
    light = light_of(tiny, "S20200108S0010", 2.0, maps)
    lamp = next(c["lamp"] for c in truth["calibrations"] if c["name"] == "S20200108S0010")
    inner = light[180:340, 180:340]
    assert np.nanmedian(inner) == pytest.approx(lamp, rel=2e-3)
    # the linearity correction stretches noise by up to 0.3 % here
    spread = 1.4826 * np.nanmedian(np.abs(inner - np.nanmedian(inner)))
    response = maps["response"][180:340, 180:340]
    expected = np.sqrt(2 * lamp * np.nanmedian(response) + 11.7**2) / 2 / np.nanmedian(response)
    assert spread == pytest.approx(expected, rel=0.03)


def test_sky_has_the_level_of_the_truth(
    tiny: Path, truth: dict[str, Any], maps: dict[str, Any]
) -> None:
    for frame in truth["frames"]:
        light = light_of(tiny, frame["name"], 5.0, maps)
        # the pattern is up to about 1.5 times 0.5 % from its mean over the array
        assert np.nanmedian(light[50:460, 50:460]) == pytest.approx(frame["sky"], rel=0.012)


def test_response_has_median_one_and_ends_at_the_circle(maps: dict[str, Any]) -> None:
    lit = maps["illuminated"]
    assert np.median(maps["response"][lit & ~maps["dead"]]) == pytest.approx(1, abs=2e-3)
    assert np.median(maps["response"][~lit]) < 0.02
    assert maps["hot"].mean() == pytest.approx(0.002, rel=0.2)  # 524 pixels, 4 sigma
    assert maps["dead"].mean() == pytest.approx(0.001, rel=0.3)
    assert maps["response"][maps["dead"]].max() < 0.5


def test_nonlinearity_is_undone_by_the_correction() -> None:
    charge = np.linspace(0.0, 155400.0, 20001)
    assert_allclose(measured_charge(np.vectorize(linearized)(charge)), charge, atol=1e-4)


def test_a_saturated_pixel_reads_above_the_saturation_level() -> None:
    detector = Detector(nx=128, ny=128, cosmic_rays_s=0.0, hot_fraction=0.0)
    maps = make_maps(detector, 3)
    counts, hits = expose(
        np.full((128, 128), 1e6, np.float32), 5.0, maps, detector, generator(3, "noise")
    )
    assert counts.min() >= 35000
    assert counts.max() < 36000
    assert hits.shape == (0, 2)


def test_cosmic_rays_are_where_the_truth_says() -> None:
    detector = Detector(nx=128, ny=128, cosmic_rays_s=900.0, hot_fraction=0.0)
    maps = make_maps(detector, 3)
    counts, hits = expose(
        np.zeros((128, 128), np.float32), 5.0, maps, detector, generator(3, "noise")
    )
    marked = np.zeros((128, 128), bool)
    marked[hits[:, 0], hits[:, 1]] = True
    assert len(hits) > 20
    assert not np.any((counts > 35) & ~marked)
    assert np.median(counts[marked]) > 35  # 155 electron; read noise is 2.6 adu


def test_more_read_pairs_lower_gain_and_noise() -> None:
    detector = Detector(nx=128, ny=128, lnrs=8, cosmic_rays_s=0, hot_fraction=0, pedestal_e=0)
    maps = make_maps(detector, 3)
    counts, _ = expose(
        np.zeros((128, 128), np.float32), 1e-3, maps, detector, generator(3, "noise")
    )
    assert counts.std() * 0.555 == pytest.approx(5.0, rel=0.03)  # 16 384 pixels: 0.6 %


# --- scenarios ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "last", "count"),
    [
        ("S20200104S0075-092", "S20200104S0092", 18),
        ("S20200107S0035", "S20200107S0035", 1),
        ("S20200111S0257,258,260", "S20200111S0260", 3),
        ("S20200111S0008-11,15-16", "S20200111S0016", 6),
    ],
)
def test_file_ranges(text: str, last: str, count: int) -> None:
    names = expand_files(text)
    assert (names[-1], len(names)) == (last, count)
    assert len(set(names)) == count


def test_the_tutorial_is_the_tutorial() -> None:
    scenario = command.find_scenario("tutorial")
    frames = planned(scenario)
    assert len(frames) == 48
    by_kind = {(f.kind, f.exposure_s): 0 for f in frames}
    for frame in frames:
        by_kind[frame.kind, frame.exposure_s] += 1
    assert by_kind == {
        ("science", 5.0): 18,
        ("dark", 2.0): 10,
        ("dark", 5.0): 10,
        ("flat", 2.0): 10,
    }
    wrong = scenario.science[0].header_errors_arcsec
    assert sorted(wrong) == ["S20200104S0080", "S20200104S0082", "S20200104S0091"]
    assert [np.hypot(*vector) for vector in wrong.values()] == pytest.approx([2, 2, 2])
    assert len({(f.p, f.q) for f in frames if f.kind == "science"}) == 18


@pytest.mark.parametrize("name", command.shipped_names())
def test_shipped_scenarios_are_sound(name: str) -> None:
    assert command.find_scenario(name).name == name


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("exposure_s: 5.0\n", "exposure: 5.0\n", r"exposure_s"),
        ("S20200104S0075-080", "S20200104S0080-075", r"do not grow"),
        ("S20200104S0075-080", "N20200104S0075", r"does not begin with the name"),
        ("S20200104S0075-080", "S20201304S0075-080", r"`20201304` .* is not a date"),
        ("start_ut: 04:00:00", "start_ut: 4am", r"`4am` is not a time of day"),
        ("GS-2020A-Q-101", "Q-101", r"`Q-101` is not the name of a programme"),
        ("S20200104S0079:", "S20200104S0099:", r"names S20200104S0099, which is not in"),
        ("S20200107S0049-051", "S20200107S0037-039", r"S20200107S0037 is named twice"),
        ("observation: 2", "observation: 1", r"GS-CAL20200107-1 is used by two sequences"),
        (
            "    header_errors_arcsec: {",
            "    transparency: {S20200104S0099: 0.7}\n    header_errors_arcsec: {",
            r"transparency names S20200104S0099, which is not in",
        ),
        (
            "    header_errors_arcsec: {",
            "    seeing_arcsec: {S20200104S0075: 0.1}\n    header_errors_arcsec: {",
            r"has to be at least 0.3",
        ),
        ("exposure_s: 5.0\n", "exposure_s: 200\n", r"alone gives 190000 electron"),
        ("bright_mag: 12.5", "bright_mag: 21", r"fainter than the faintest"),
        ("nx: 512", "nx: 4096", r"4096"),
        ("lamp: off", "lamp: dim", r"dim"),
    ],
)
def test_a_wrong_scenario_is_refused(old: str, new: str, message: str, tmp_path: Path) -> None:
    shipped = Path(command.__file__).parents[2] / "recipes" / "scenarios" / "tiny.yaml"
    text = shipped.read_text()
    assert old in text
    changed = tmp_path / "wrong.yaml"
    changed.write_text(text.replace(old, new))
    with pytest.raises(RecipeError, match=message) as caught:
        command.find_scenario(str(changed))
    assert str(changed) in str(caught.value)


# --- writing ------------------------------------------------------------------------------------


def only_one_dark(scenario: Scenario) -> Scenario:
    return scenario.model_copy(
        update={"science": [], "flats": [], "darks": scenario.darks[:1]},
    )


def test_files_that_exist_are_not_replaced_unasked(tiny: Path, scenario: Scenario) -> None:
    before = (tiny / "S20200107S0035.fits").read_bytes()
    with pytest.raises(OutputError, match=r"S20200104S0075.fits and 16 more already in"):
        simulate(scenario, tiny)
    assert (tiny / "S20200107S0035.fits").read_bytes() == before


def test_overwrite_replaces(scenario: Scenario, tmp_path: Path) -> None:
    path = tmp_path / "S20200107S0035.fits"
    path.write_text("old")
    simulate(only_one_dark(scenario), tmp_path, overwrite=True)
    assert path.stat().st_size > 1_000_000


def test_a_full_disk_leaves_no_partial_file(
    scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "S20200107S0035.fits"
    path.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"No space left(.|\n)*free some space"):
        simulate(only_one_dark(scenario), tmp_path, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "old"


def test_too_little_space_is_seen_before_anything_is_written(
    scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(OutputError, match=r"too little space: 20 MB are needed"):
        simulate(scenario, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(scenario: Scenario, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file/night cannot be made: Not a directory"):
        simulate(scenario, tmp_path / "file" / "night")


def test_zero_jobs_are_refused(scenario: Scenario, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="0 jobs"):
        simulate(scenario, tmp_path / "new", jobs=0)
    assert not (tmp_path / "new").exists()


# --- command ------------------------------------------------------------------------------------


def called(*words: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(words))


def test_command_writes_a_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called("tiny", "--out", str(tmp_path)) == 0
    captured = capsys.readouterr()
    assert "science  K-red   5             6       S20200104S0075  S20200104S0080" in captured.out
    assert "15 frames in" in captured.out
    assert captured.err == ""  # no terminal, not verbose


def test_command_lists_frames_and_scenarios(capsys: pytest.CaptureFixture[str]) -> None:
    assert called("--list") == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "small",
        "tiny",
        "tutorial",
    ]
    assert called("tiny", "--list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 16
    assert lines[2].split() == [
        "S20200104S0076.fits",
        "science",
        "K-red",
        "5",
        "2020-01-04T04:00:27",
        "-5",
        "-5",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no scenario is given"),
        (["tiny"], "no folder is given"),
        (["tinny", "--out", "x"], r"no scenario `tinny`(.|\n)*did you mean `tiny`"),
        (["missing.yaml", "--out", "x"], r"missing\.yaml"),
    ],
)
def test_command_refuses_incomplete_requests(words: list[str], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        called(*words)


# --- weather of single frames, extended galaxies --------------------------------------------------


def test_clouds_and_seeing_of_single_frames(scenario: Scenario) -> None:
    before = planned(scenario)
    group = scenario.science[0].model_copy(
        update={
            "transparency": {"S20200104S0076": 0.7},
            "seeing_arcsec": {"S20200104S0077": 1.2},
        }
    )
    after = planned(scenario.model_copy(update={"science": [group]}))
    clear = [f.transparency for f in before if f.kind == "science"]
    cloudy = [f.transparency for f in after if f.kind == "science"]
    assert cloudy[1] == pytest.approx(0.7 * clear[1])
    assert (cloudy[0], cloudy[2:]) == (clear[0], clear[2:])
    assert after[2].fwhm_pix == pytest.approx(1.2 / 0.1792, rel=1e-4)
    assert [f.fwhm_pix for f in after[:2]] == [f.fwhm_pix for f in before[:2]]


def with_galaxy(scenario: Scenario, **more: float) -> Scenario:
    galaxy = Extended.model_validate({"mag": 12.0, "length_arcsec": 10.0, **more})
    target = scenario.target.model_copy(update={"extended": [galaxy]})
    return scenario.model_copy(update={"target": target})


def test_an_extended_galaxy_has_its_flux_and_its_place(scenario: Scenario) -> None:
    made = with_galaxy(scenario, ratio=0.5, east_arcsec=6.0, north_arcsec=-4.0)
    frame = planned(made)[0]
    image = field.render_extended(frame, made)
    (truth,) = night._extended_truth(made, frame.zeropoint)
    ra = 105.0 + 6.0 / 3600 / np.cos(np.radians(30))
    assert (truth["ra"], truth["dec"]) == pytest.approx((ra, -30.0 - 4.0 / 3600))
    assert truth["flux"] == pytest.approx(10 ** (0.4 * (25.6 - 12.0)))
    y, x = np.unravel_index(np.argmax(image), image.shape)
    u, v = field.project(np.array([ra]), np.array([truth["dec"]]), frame, made)
    assert (x, y) == pytest.approx((u[0], v[0]), abs=0.51)
    # within r lengths of an exponential disc lies 1 - (1 + r) exp(-r) of the light
    yy, xx = np.mgrid[: image.shape[0], : image.shape[1]]
    cos, sin = np.cos(truth["angle"]), np.sin(truth["angle"])
    along, across = (xx - u) * cos + (yy - v) * sin, ((yy - v) * cos - (xx - u) * sin) / 0.5
    inside = np.hypot(along, across) < 3 * truth["length_pix"]
    share = image[inside].sum(dtype=float) / truth["flux"] / frame.transparency
    assert share == pytest.approx(1 - 4 * np.exp(-3), rel=2e-3)  # pixels at the edge of the ellipse


@pytest.mark.parametrize(
    ("angle", "pa", "axis"),
    [(0, 0, "x"), (90, 0, "y"), (0, 90, "y"), (30, 30, "x")],
)
def test_an_extended_galaxy_lies_along_its_position_angle(
    scenario: Scenario, angle: float, pa: float, axis: str
) -> None:
    # At PA 0 the x axis points North and the y axis East (instrument 1.5).
    target = scenario.target.model_copy(update={"pa_deg": pa})
    made = with_galaxy(scenario.model_copy(update={"target": target}), ratio=0.3, angle_deg=angle)
    image = field.render_extended(planned(made)[0], made)
    bright = image > 0.5 * image.max()
    y, x = np.nonzero(bright)
    longer = "x" if np.ptp(x) > np.ptp(y) else "y"
    assert longer == axis


def test_an_extended_galaxy_is_on_science_frames_only(scenario: Scenario) -> None:
    made = with_galaxy(scenario)
    maps = make_maps(made.detector, made.seed)
    nothing = field.catalogue(made, [])
    for kind in ("science", "dark"):
        frame = next(f for f in planned(made) if f.kind == kind)
        with_it, _ = night.raw_counts(made, frame, nothing, maps)
        without, _ = night.raw_counts(scenario, frame, nothing, maps)
        assert (with_it.mean() > 1.001 * without.mean()) == (kind == "science")
        assert (with_it == without).all() == (kind == "dark")


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.yaml")), ids=lambda path: path.stem)
def test_scenarios_of_the_benchmark_are_sound(path: Path) -> None:
    made = command.find_scenario(str(path))
    assert made.name == path.stem
    assert len(planned(made)) > 10
