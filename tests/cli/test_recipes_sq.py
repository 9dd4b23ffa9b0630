"""Science-quality recipes from raw frames on the command line, against the truth of the night.

The night (``tests/scenarios/y_band.yaml``) has lamp-on and lamp-off Y flats with a lamp that drifts
by a per cent, darks of 20 s and of 3 s, a dither on target, and the same target with skies taken
140 arcsec away, where a frame is 92 arcsec wide.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from command_line import Program
from f2yaml.interpreter.algorithms.detect import detect
from f2yaml.interpreter.algorithms.match import match_pairs
from f2yaml.interpreter.f2.tags import tags_of
from f2yaml.interpreter.fits import read_frame
from scipy import ndimage

SCENARIO = Path(__file__).parents[1] / "scenarios" / "y_band.yaml"


@dataclass(frozen=True)
class Desk:
    """A working folder with raw frames, their truth, and calibrations made from them."""

    folder: Path
    truth: dict[str, Any]
    maps: dict[str, Any]

    def raw(self, *numbers: int, date: str = "20200104") -> list[str]:
        return [f"raw/S{date}S{n:04d}.fits" for n in numbers]

    @property
    def ons(self) -> list[str]:
        return self.raw(21, 22, 23, 24, date="20200103")

    @property
    def offs(self) -> list[str]:
        return self.raw(31, 32, 33, date="20200103")

    @property
    def usable(self) -> Any:
        """Illuminated pixels that are neither hot nor dead."""
        return self.maps["illuminated"] & ~self.maps["hot"] & ~self.maps["dead"]


@pytest.fixture(scope="module")
def desk(f2yaml: Program, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder = tmp_path_factory.mktemp("y_band")
    f2yaml("simulate", SCENARIO, "--out", "raw", cwd=folder)
    with np.load(folder / "raw" / "truth.npz") as maps:
        kept = {name: maps[name] for name in ("response", "dark", "hot", "dead", "illuminated")}
    made = Desk(folder, json.loads((folder / "raw" / "truth.json").read_text()), kept)
    darks = made.raw(1, 2, 3, date="20200103")
    short = made.raw(11, 12, 13, 14, date="20200103")
    f2yaml("run", "--inputs", *darks, cwd=folder)
    f2yaml("run", "makeProcessedBPM", "--inputs", *short, *made.offs, *made.ons, cwd=folder)
    f2yaml("run", "--inputs", *made.offs, *made.ons, cwd=folder)
    return made


def run(f2yaml: Program, desk: Desk, *words: object) -> dict[str, Any]:
    """Run on one core, which is faster for small frames, and return what it reports."""
    done = f2yaml("run", *words, "--jobs", 1, "--format", "json", cwd=desk.folder)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.fixture(scope="module")
def dithered(f2yaml: Program, desk: Desk) -> Path:
    """The image of the dither on target."""
    report = run(f2yaml, desk, "--inputs", *desk.raw(*range(101, 107)))
    assert report["recipe"] == "reduce"
    assert report["products"] == ["S20200104S0101_image.fits"]
    return desk.folder / "S20200104S0101_image.fits"


@pytest.fixture(scope="module")
def offset(f2yaml: Program, desk: Desk) -> Path:
    """The image of the object frames that have skies of their own."""
    report = run(f2yaml, desk, "--inputs", *desk.raw(*range(201, 209)))
    assert report["recipe"] == "reduce"
    return desk.folder / "S20200104S0201_image.fits"


def variance_of_apertures(image: Path) -> float:
    """Return the variance of a good pixel as wide apertures see it."""
    with fits.open(image) as hdus:
        median = float(np.median(hdus["VAR"].data[hdus["DQ"].data == 0]))
        return median * float(hdus["SCI"].header["NOISECOR"]) ** 2


def stars(desk: Desk, image: Path, first: str) -> tuple[Any, Any]:
    """Return measured and true fluxes of bright, isolated stars of an image (electron)."""
    frame = read_frame(image)
    whole = frame.pixels.whole()
    found = detect(whole.data, whole.mask, whole.variance, wcs=frame.wcs).catalog
    east, north = next(f["header_error"] for f in desk.truth["frames"] if f["name"] == first)
    ra, dec = np.array(desk.truth["ra"]), np.array(desk.truth["dec"])
    ra = ra + east / 3600 / np.cos(np.radians(dec))
    x, y = frame.wcs.to_pixel(ra, dec + north / 3600)
    i, j = match_pairs(found["X_IMAGE"] - 1, found["Y_IMAGE"] - 1, x, y, radius_pix=3)
    flux = np.array(desk.truth["flux"])[j] * 20.0
    bright = (flux > 3e4) & (np.array(desk.truth["kind"])[j] == 0) & (found["FLAGS"][i] == 0)
    return found["FLUX_AUTO"][i][bright], flux[bright]


# calibrations -------------------------------------------------------------------------------
def test_a_y_flat_is_the_response_of_the_array(desk: Desk) -> None:
    with fits.open(desk.folder / "S20200103S0021_flat.fits") as hdus:
        good = desk.usable & (hdus["DQ"].data == 0)
        ratio = (hdus["SCI"].data / desk.maps["response"])[good]
        noise = np.sqrt(np.median(hdus["VAR"].data[good]))
        assert hdus[0].header["NCOMBINE"] == 4
        assert hdus[0].header["LAMPOFF"].startswith("S20200103S0031")
    assert good.sum() > 0.97 * desk.usable.sum()
    assert np.median(ratio) == pytest.approx(1, abs=1e-3)
    assert np.std(ratio) == pytest.approx(noise, rel=0.05)


def test_lamp_on_flats_alone_are_refused_before_any_work(f2yaml: Program, desk: Desk) -> None:
    done = f2yaml("run", "--inputs", *desk.ons, cwd=desk.folder, check=False)
    assert done.returncode == 1
    assert "all 4 Y flats were taken with the lamp on" in done.stderr
    allowed = ("--dry-run", "-p", "makeLampFlat:lamp_on_only=True")
    f2yaml("run", "--inputs", *desk.ons, *allowed, cwd=desk.folder)


def test_the_mask_holds_what_is_wrong_with_the_array(desk: Desk) -> None:
    """Limits are 50 electron/s and responses of 0.68 and 1.28 of what is around.

    Noise blurs them a little. Near the rim of illumination the surroundings are not defined.
    """
    with fits.open(desk.folder / "S20200103S0021_bpm.fits") as hdus:
        bits, header = hdus["SCI"].data, hdus[0].header
        assert len([h for h in hdus if isinstance(h, fits.ImageHDU)]) == 1
    assert bits.dtype == ">i2"
    lit, dark, response = (desk.maps[n] for n in ("illuminated", "dark", "response"))
    np.testing.assert_array_equal((bits & 64) != 0, ~lit)
    bad = (bits & 1) != 0
    inside = ndimage.binary_erosion(lit, iterations=40)
    local = response / ndimage.median_filter(response, 33)
    assert bad[inside & (dark > 75)].all()
    assert bad[inside & (local < 0.63)].all()
    assert not bad[inside & (dark < 30) & (local > 0.73) & (local < 1.23)].any()
    assert 0.002 < bad.mean() < 0.02
    assert header["OBSTYPE"] == header["OBJECT"] == "BPM"
    assert {"BPM", "PROCESSED"} <= tags_of(header)
    assert "FLAT" not in tags_of(header)


def test_the_mask_of_the_database_reaches_the_frames(f2yaml: Program, desk: Desk) -> None:
    report = run(
        f2yaml, desk, "ultradeep_part1", "--inputs", *desk.raw(101), "--outdir", "with_bpm"
    )
    (product,) = report["products"]
    with fits.open(desk.folder / "S20200103S0021_bpm.fits") as hdus:
        mask = hdus["SCI"].data
    with fits.open(desk.folder / product) as hdus:
        assert ((hdus["DQ"].data & mask) == mask).all()
        assert "S20200103S0021_bpm.fits" in list(hdus["PROVENANCE"].data["filename"])


def test_a_mask_of_the_user_is_added(f2yaml: Program, desk: Desk) -> None:
    own = np.zeros((512, 512), np.int16)
    own[100:103, 200:205] = 1
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(own, name="SCI")])
    hdus.writeto(desk.folder / "own.fits")
    words = ("ultradeep_part1", "--inputs", *desk.raw(101), "--outdir", "own_bpm")
    report = run(
        f2yaml, desk, *words, "-p", "addDQ:user_bpm=own.fits", "-p", "addDQ:static_bpm=None"
    )
    with fits.open(desk.folder / report["products"][0]) as made:
        assert (made["DQ"].data[own == 1] & 1).all()
        table = made["PROVENANCE"].data
        added = table["filename"][table["provenance_added_by"] == "addDQ"]
    assert list(added) == ["own.fits"]


# science ------------------------------------------------------------------------------------
def test_a_dither_on_target_is_its_own_sky(desk: Desk, dithered: Path) -> None:
    with fits.open(dithered) as hdus:
        assert [h.name for h in hdus][:4] == ["PRIMARY", "SCI", "VAR", "DQ"]
        header = hdus[0].header
        assert (header["NCOMBINE"], header["TEXPTIME"]) == (6, 120)
        steps = list(hdus["HISTORY"].data["primitive"])
    assert steps.count("skyCorrect") == 1  # the other was on the frames that became skies
    assert steps.index("skyCorrect") < steps.index("adjustWCSToReference")
    measured, true = stars(desk, dithered, "S20200104S0101")
    assert len(true) >= 8
    # A Kron aperture of a Moffat profile holds 94 per cent; transparency scatters by 5 per cent.
    assert np.median(measured / true) == pytest.approx(0.94, abs=0.04)


def test_skies_taken_elsewhere_serve_the_frames_on_target(desk: Desk, offset: Path) -> None:
    with fits.open(offset) as hdus:
        header, good = hdus[0].header, hdus["DQ"].data == 0
        ratio = hdus["SCI"].data[good] / np.sqrt(hdus["VAR"].data[good])
    combined = [header[f"IMCMB{n:03d}"] for n in range(1, 5)]
    assert combined == [f"S20200104S020{n}.fits" for n in (1, 3, 5, 7)]
    assert header["NCOMBINE"] == 4
    measured, true = stars(desk, offset, "S20200104S0201")
    assert len(true) >= 7
    assert np.median(measured / true) == pytest.approx(0.94, abs=0.04)
    assert abs(np.median(ratio)) < 0.1
    # Stars of the sky frames leave no holes: of 250000 pixels noise alone puts none below -6.
    assert ratio.min() > -6


def test_frames_without_sky_stop_the_run(f2yaml: Program, desk: Desk) -> None:
    """Two objects, one sky: nothing shows the objects in the sky frame itself."""
    words = ("run", "--inputs", *desk.raw(201, 202, 203), "--outdir", "lonely", "-j", 1)
    done = f2yaml(*words, cwd=desk.folder, check=False)
    assert done.returncode == 1
    assert "associateSky: S20200104S0202_skySeparated.fits has no sky frame" in done.stderr
    assert not list((desk.folder / "lonely").iterdir())


def test_stacks_of_separate_runs_are_combined(
    f2yaml: Program, desk: Desk, dithered: Path, offset: Path
) -> None:
    """Six frames and four, of unequal size and noise, on two grids."""
    inputs = (dithered.name, offset.name)
    report = run(f2yaml, desk, "alignAndStack", "--inputs", *inputs)
    assert report["products"] == ["S20200104S0101_stack.fits"]
    made = desk.folder / "S20200104S0101_stack.fits"
    with fits.open(made) as hdus:
        header = hdus[0].header
        assert (header["NCOMBINE"], header["TEXPTIME"], header["EXPTIME"]) == (10, 200, 20)
        assert header["IMCMB010"] == "S20200104S0207.fits"
        assert header["DATE-END"] == "2020-01-04T04:24:04"
        assert header["WEIGHTBY"] == "variance"
    combined, *parts = (variance_of_apertures(path) for path in (made, dithered, offset))
    # Inverse variances add up, in apertures; where only one part sees a pixel they do not.
    assert combined == pytest.approx(1 / (1 / parts[0] + 1 / parts[1]), rel=0.1)
    measured, true = stars(desk, made, "S20200104S0101")
    assert np.median(measured / true) == pytest.approx(0.94, abs=0.04)


# flats from the sky -------------------------------------------------------------------------
def test_the_sky_gives_a_flat_that_is_taken_as_one(
    f2yaml: Program, desk: Desk, tmp_path: Path
) -> None:
    (tmp_path / "raw").symlink_to(desk.folder / "raw")
    other = Desk(tmp_path, desk.truth, desk.maps)
    dark = f"processed_dark:{desk.folder / 'S20200103S0001_dark.fits'}"
    words = ("makeSkyFlat", "--inputs", *desk.raw(*range(101, 107)), "--user-cal", dark)
    report = run(f2yaml, other, *words)
    assert report["products"] == ["S20200104S0101_flat.fits"]
    with fits.open(tmp_path / "S20200104S0101_flat.fits") as hdus:
        good = desk.usable & (hdus["DQ"].data == 0)
        ratio = (hdus["SCI"].data / desk.maps["response"])[good]
        noise = np.sqrt(np.median(hdus["VAR"].data[good]))
        header = hdus[0].header
    assert good.sum() > 0.95 * desk.usable.sum()
    # The sky's own pattern stays in such a flat: half a per cent, beside a noise of one.
    assert np.std(ratio) == pytest.approx(np.hypot(noise, 0.005), rel=0.1)
    assert np.abs(np.percentile(ratio, [0.1, 99.9]) - 1).max() < 5 * noise
    assert {"CAL", "FLAT", "PROCESSED"} <= tags_of(header)
    assert header["DATALAB"] == "GS-CAL20200104-900-101-SQ-FLAT"
    words = ("run", "ultradeep_part1", "--inputs", *desk.raw(102), "--user-cal", dark, "--dry-run")
    done = f2yaml(*words, cwd=tmp_path)
    assert "/S20200104S0101_flat.fits (step 7, " in done.stdout
    assert "only one that fits" in done.stdout


@pytest.mark.parametrize("name", ["reduce", "alignAndStack", "makeSkyFlat", "makeProcessedBPM"])
def test_recipes_are_for_their_frames_alone(f2yaml: Program, desk: Desk, name: str) -> None:
    darks = desk.raw(1, 2, 3, date="20200103")
    words = ("run", name, "--inputs", *darks, "--dry-run")
    done = f2yaml(*words, cwd=desk.folder, check=False)
    assert done.returncode == 2
    assert f"recipe {name} is not for these frames" in done.stderr
