"""The reference night: darks and single-frame steps against cut-outs of what DRAGONS made of it.

The cut-outs are two boxes of 320 x 320 pixels of every plane after every step. docs/agreement.md
has the full comparison; here is what must never change.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from f2yaml.interpreter.cli import main
from f2yaml.interpreter.f2.tags import tags_of
from numpy.testing import assert_allclose, assert_array_equal

REFERENCE = Path(__file__).parents[2] / "shared" / "reference"
pytestmark = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason=f"the reference night is not at {REFERENCE}"
)

DARKS = [f"S20131120S{n:04d}" for n in range(115, 119)]
DARK = f"{DARKS[0]}_dark"
FRAME = "S20131121S0075"
BPM = "S20131129S0320_bpm"
BOXES = {"centre": (slice(900, 1220), slice(940, 1260)), "edge": (slice(60, 380), slice(480, 800))}
STEPS = {
    "prepare": "prepared",
    "addDQ": "dqAdded",
    "ADUToElectrons": "ADUToElectrons",
    "addVAR": "varAdded",
    "nonlinearityCorrect": "nonlinearityCorrected",
    "darkCorrect": "darkCorrected",
}
WELL_DEPTH = 155_400.0  # electron
LINEARITY = (0.9999107, -4.2854848e-8, 1.0096585e-12)  # spec: primitives, 2.5
CONFIG = "f2yaml: 1\nkind: config\ndatabases:\n  - {path: night.db, get: true, store: true}\n"
SATURATED = 4

Array = np.ndarray[Any, np.dtype[Any]]
Planes = dict[str, Array]


def f2yaml(folder: Path, *words: object) -> None:
    """Run a command in `folder`, with a database of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "f2yaml.yaml").write_text(CONFIG, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("F2YAMLRC", "f2yaml.yaml")
        assert main([str(word) for word in words]) == 0


def ours(path: Path) -> Planes:
    """Return the boxes of all planes of a product; each of shape (2, 320, 320)."""
    with fits.open(path) as hdus:
        return {
            name: np.array([hdus[name].data[box] for box in BOXES.values()])
            for name in ("SCI", "VAR", "DQ")
            if name in hdus
        }


def theirs(product: str) -> Planes:
    """Return DRAGONS' boxes of all planes of a product."""
    with np.load(REFERENCE / "cutouts" / f"{product}.npz") as stored:
        planes = dict.fromkeys(key.partition("_")[0] for key in stored)
        return {p: np.array([stored[f"{p}_{box}"] for box in BOXES]) for p in planes}


def raw(*names: str) -> list[Path]:
    return [REFERENCE / "raw" / f"{name}.fits.bz2" for name in names]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the processed dark, the linearised darks and the bad-pixel mask."""
    folder = tmp_path_factory.mktemp("night")
    f2yaml(folder, "caldb", "init")
    f2yaml(
        folder,
        *("run", "makeProcessedDark", "--inputs", *raw(*DARKS), "--jobs", 2, "--quiet"),
        *("-p", "nonlinearityCorrect:write_outputs=True"),
    )
    mask = np.zeros((2048, 2048), np.int16)
    for box, known in zip(BOXES.values(), theirs(BPM)["SCI"], strict=True):
        mask[box] = known
    image = fits.ImageHDU(mask, name="SCI", ver=1)
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(folder / f"{BPM}.fits")
    return folder


@pytest.fixture(scope="module")
def steps(night: Path) -> dict[str, Planes]:
    """The boxes of the science frame after each step, with the dark that `night` stored."""
    f2yaml(
        night,
        *("run", "ultradeep_part1", "--inputs", *raw(FRAME), "--jobs", 2, "--quiet"),
        *("-p", f"addDQ:user_bpm={BPM}.fits", "-p", "flatCorrect:skip_primitive=True"),
        *(word for step in STEPS for word in ("-p", f"{step}:write_outputs=True")),
    )
    return {step: ours(night / f"{FRAME}_{suffix}.fits") for step, suffix in STEPS.items()}


# the dark -----------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def samples(night: Path) -> Planes:
    """The linearised darks: each plane of shape (4, 2, 320, 320)."""
    frames = [ours(night / f"{name}_nonlinearityCorrected.fits") for name in DARKS]
    return {plane: np.array([frame[plane] for frame in frames]) for plane in frames[0]}


def test_dark_agrees_with_dragons_to_float_precision(night: Path) -> None:
    made, known = ours(night / f"{DARK}.fits"), theirs(DARK)
    assert_array_equal(made["DQ"], known["DQ"])
    # Above the well depth the linearity differs on purpose; all such pixels have bit 4.
    usable = (known["DQ"] & SATURATED) == 0
    assert usable.mean() > 0.9999
    # DRAGONS rounds each of four sums to float32: 4 * 6e-8 of the samples, of which the noise
    # gives the size where the mean is near zero.
    noise = np.sqrt(known["VAR"].astype(float))
    apart = np.abs(made["SCI"].astype(float) - known["SCI"])
    assert np.all((apart <= 1e-6 * np.maximum(np.abs(known["SCI"]), noise))[usable])
    assert_allclose(made["VAR"][usable], known["VAR"][usable], rtol=1e-6, atol=0)


@pytest.mark.parametrize(("plane", "power"), [("SCI", 1), ("VAR", 2)])
def test_dark_is_the_exact_mean_where_dragons_rounds_every_sum(
    night: Path, samples: Planes, plane: str, power: int
) -> None:
    made, known = ours(night / f"{DARK}.fits")[plane], theirs(DARK)
    centre = np.median(samples["SCI"], axis=0)
    kept = np.abs(samples["SCI"] - centre) <= 3 * np.sqrt(samples["VAR"])
    all_kept = kept.all(axis=0) & (known["DQ"] == 0)
    assert all_kept.mean() > 0.97  # four normal samples, 3 sigma: 2 % lose one
    divisor = np.float32(4**power)
    exact = samples[plane].sum(axis=0, dtype=float) / float(divisor)
    assert_array_equal(made[all_kept], exact.astype(np.float32)[all_kept])
    one_by_one = ((samples[plane][0] + samples[plane][1]) + samples[plane][2]) + samples[plane][3]
    assert_array_equal(known[plane][all_kept], (one_by_one / divisor)[all_kept])


def test_dark_has_the_percentiles_and_quality_bits_of_dragons_over_the_whole_plane(
    night: Path,
) -> None:
    known = json.loads((REFERENCE / "statistics.json").read_text(encoding="utf-8"))[DARK]
    with fits.open(night / f"{DARK}.fits") as hdus:
        for plane in ("SCI", "VAR"):
            found = np.percentile(hdus[plane].data.astype(np.float32), [1, 16, 50, 84, 99])
            stored = [known[plane][key] for key in ("p01", "p16", "median", "p84", "p99")]
            assert_allclose(found, stored, rtol=1e-6, atol=0)
        values, counts = np.unique(hdus["DQ"].data, return_counts=True)
    found = {str(v): int(n) for v, n in zip(values, counts, strict=True)}
    assert found == known["DQ"]["counts"]


# single frames ------------------------------------------------------------------------------
@pytest.mark.parametrize("step", ["prepare", "addDQ", "ADUToElectrons", "addVAR"])
def test_frame_is_that_of_dragons_to_the_bit(steps: dict[str, Planes], step: str) -> None:
    made, known = steps[step], theirs(f"{FRAME}_{STEPS[step]}")
    assert made.keys() == known.keys()
    for plane in known.keys() - {"DQ"}:
        assert_array_equal(made[plane], known[plane])


@pytest.mark.parametrize("step", list(STEPS)[1:])
def test_quality_bits_differ_only_in_bit_64_along_the_edge_of_the_illuminated_circle(
    steps: dict[str, Planes], step: str
) -> None:
    differ = steps[step]["DQ"] ^ theirs(f"{FRAME}_{STEPS[step]}")["DQ"]
    y, x = np.indices((2048, 2048))
    from_edge = np.abs(np.hypot(y - 1055.0, x - 1049.9) - 1054.4)
    near = np.array([from_edge[box] for box in BOXES.values()]) <= 1.5  # spec: instrument, 4.9
    assert set(np.unique(differ)) <= {0, 64}
    assert not np.any(differ[~near])
    assert np.count_nonzero(differ) <= 600 * np.count_nonzero(near) / 6600  # same place


def test_linear_electrons_are_those_of_dragons_to_the_bit_up_to_the_well_depth(
    steps: dict[str, Planes],
) -> None:
    made, known = steps["nonlinearityCorrect"], theirs(f"{FRAME}_nonlinearityCorrected")
    below = theirs(f"{FRAME}_ADUToElectrons")["SCI"] <= WELL_DEPTH
    for plane in ("SCI", "VAR"):
        assert_array_equal(made[plane][below], known[plane][below])


def test_above_the_well_depth_dragons_extrapolates_the_cubic_and_f2yaml_does_not(
    steps: dict[str, Planes],
) -> None:
    x = theirs(f"{FRAME}_ADUToElectrons")["SCI"].astype(float)
    above = x > WELL_DEPTH
    assert np.count_nonzero(above) == 20
    c0, c1, c2 = LINEARITY
    cubic = x * (c0 + x * (c1 + x * c2))
    at_limit = WELL_DEPTH * (c0 + WELL_DEPTH * (c1 + WELL_DEPTH * c2))
    made, known = steps["nonlinearityCorrect"], theirs(f"{FRAME}_nonlinearityCorrected")
    # rtol: float32 rounding of four operations
    assert_allclose(known["SCI"][above], cubic[above], rtol=3e-7, atol=0)
    assert_allclose(made["SCI"][above], (at_limit + x - WELL_DEPTH)[above], rtol=3e-7, atol=0)
    assert np.all(made["DQ"][above] & SATURATED)


def test_dark_corrected_frame_agrees_with_dragons_to_float_precision(
    steps: dict[str, Planes],
) -> None:
    made, known, dark = steps["darkCorrect"], theirs(f"{FRAME}_darkCorrected"), theirs(DARK)
    usable = (known["DQ"] & SATURATED) == 0
    assert usable.mean() > 0.9998
    # A difference is as precise as the larger of what went in; the noise stands for the frame.
    noise = np.sqrt(known["VAR"].astype(float))
    scale = np.maximum.reduce([np.abs(known["SCI"]), np.abs(dark["SCI"]), noise])
    apart = np.abs(made["SCI"].astype(float) - known["SCI"])
    assert np.all((apart <= 1e-6 * scale)[usable])
    assert_allclose(made["VAR"][usable], known["VAR"][usable], rtol=1e-6, atol=0)
    assert np.mean(apart == 0) > 0.98  # the frame's rounding hides most of the dark's


# headers ------------------------------------------------------------------------------------
def test_raw_frames_are_named_as_dragons_names_them_however_they_were_compressed(
    night: Path,
) -> None:
    made, known = fits.getheader(night / f"{DARK}.fits"), listed(DARK)["PRIMARY"]
    for key in ("ORIGNAME", "IMCMB001", "IMCMB002", "IMCMB003", "IMCMB004", "DATALAB"):
        assert made[key] == known[key]


def test_planes_have_the_cards_of_dragons_and_wcsaxes_ahead_of_coordinates(
    night: Path, steps: dict[str, Planes]
) -> None:
    product = f"{FRAME}_darkCorrected"
    with fits.open(night / f"{product}.fits") as hdus:
        for name, known in listed(product).items():
            assert set(known) <= set(hdus[name].header)
        for name in ("SCI", "VAR", "DQ"):
            keys = list(hdus[name].header)
            # FITS 4.0, section 8.2
            assert keys.index("WCSAXES") < min(
                map(keys.index, ("CTYPE1", "CRVAL1", "CRPIX1", "CD1_1"))
            )


# a dark made by DRAGONS ---------------------------------------------------------------------
def listed(product: str) -> dict[str, fits.Header]:
    """Return DRAGONS' headers of a product, from their listing."""
    cards: dict[str, str] = {}
    name = ""
    for line in (REFERENCE / "headers" / f"{product}.txt").read_text("ascii").splitlines():
        if line.startswith("--- HDU"):
            name = line.split()[-1]
            cards[name] = ""
        elif line.strip():
            cards[name] += line.ljust(80)
    return {name: fits.Header.fromstring(text) for name, text in cards.items()}


@pytest.fixture(scope="module")
def dragons_dark(night: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our pixels under DRAGONS' headers: what `reduce @darks` leaves in a folder."""
    path = tmp_path_factory.mktemp("dragons") / f"{DARK}.fits"
    headers = listed(DARK)
    with fits.open(night / f"{DARK}.fits") as own:
        hdus = [fits.PrimaryHDU(header=headers["PRIMARY"])]
        for plane in ("SCI", "VAR", "DQ"):
            hdus.append(fits.ImageHDU(own[plane].data, headers[plane], plane, ver=1))
        fits.HDUList(hdus).writeto(path)
    return path


def test_a_dark_with_headers_of_dragons_has_the_tags_of_ours(
    night: Path, dragons_dark: Path
) -> None:
    of_ours = tags_of(fits.getheader(night / f"{DARK}.fits"))
    assert tags_of(fits.getheader(dragons_dark)) == of_ours
    parked = {"AT_ZENITH", "AZEL_TARGET", "NON_SIDEREAL"}  # darks are taken at the zenith
    kind = {"CAL", "DARK", "F2", "GEMINI", "PREPARED", "PROCESSED", "SOUTH"}
    assert of_ours == kind | parked


def test_a_dark_with_headers_of_dragons_is_added_found_and_subtracted(
    night: Path, dragons_dark: Path, tmp_path: Path, steps: dict[str, Planes],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    f2yaml(tmp_path, "caldb", "init")
    f2yaml(tmp_path, "caldb", "add", dragons_dark)
    capsys.readouterr()
    f2yaml(tmp_path, "caldb", "list")
    (row,) = [line for line in capsys.readouterr().out.splitlines() if DARK in line]
    assert row.split()[:3] == [dragons_dark.name, str(dragons_dark.parent), "processed_dark"]
    done = [*list(STEPS)[:-1], "flatCorrect"]
    f2yaml(
        tmp_path,
        *("run", "ultradeep_part1", "--quiet"),
        *("--inputs", night / f"{FRAME}_nonlinearityCorrected.fits"),
        *(word for step in done for word in ("-p", f"{step}:skip_primitive=True")),
        *("-p", "darkCorrect:write_outputs=True"),
    )
    product = tmp_path / f"{FRAME}_darkCorrected.fits"
    with fits.open(product) as hdus:
        assert hdus[0].header["DARKIM"] == f"{DARK}.fits"
        used = [row for row in hdus["PROVENANCE"].data if row["filename"] == f"{DARK}.fits"]
    assert [row["provenance_added_by"] for row in used] == ["darkCorrect"]
    made = ours(product)
    for plane in ("SCI", "VAR", "DQ"):
        assert_array_equal(made[plane], steps["darkCorrect"][plane])
