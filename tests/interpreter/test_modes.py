"""Modes sq, ql and qa: which recipe a run takes, what it forgives, how its products are called."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from f2yaml.interpreter.bind import bind_recipe
from f2yaml.interpreter.cli import main
from f2yaml.interpreter.errors import MissingCalibration, RecipeError
from f2yaml.interpreter.fits import read_frame
from f2yaml.interpreter.plan import Plan
from f2yaml.interpreter.planning import bind
from f2yaml.interpreter.primitives.standardize import Prepare, prepare
from f2yaml.interpreter.products import Writer
from f2yaml.interpreter.refcat import REFCAT_DTYPE
from f2yaml.interpreter.resources import Finder
from f2yaml.interpreter.settings import parse_overrides
from f2yaml.schema.compose import load_recipe, shipped, shipped_everywhere
from f2yaml.schema.modes import MEANING, MODES, worst
from f2yaml.schema.recipe import Output
from stubs import Library
from synthetic import flat_frame


# recipes ------------------------------------------------------------------------------------
def test_a_mode_has_recipes_of_its_own_and_those_of_all_modes() -> None:
    assert MODES == tuple(MEANING) == ("sq", "ql", "qa")
    assert shipped("qa")["reduce_nostack"].parent.name == "qa"
    assert shipped("qa")["makeProcessedDark"].parent.name == "qa"
    assert shipped("ql")["reduce"].parent.name == "ql"
    assert shipped("ql")["makeProcessedDark"] == shipped()["makeProcessedDark"]
    assert shipped("qa")["ultradeep"] == shipped()["ultradeep"]
    assert "reduce_nostack" not in shipped()
    assert "reduce_nostack" not in shipped("ql")
    every = shipped_everywhere()
    assert {"ultradeep", "ql/reduce", "qa/reduce", "qa/reduce_nostack"} <= every.keys()
    assert not any(name.startswith("base") for name in every)


def test_a_name_means_the_recipe_of_the_mode() -> None:
    assert load_recipe("reduce", mode="ql").path == shipped("ql")["reduce"]
    assert load_recipe("reduce", mode="qa").path == shipped("qa")["reduce"]
    assert load_recipe("ultradeep", mode="qa").path == shipped()["ultradeep"]


@pytest.mark.parametrize("name", ["reduce_nostack", "qa/reduce_nostack"])
def test_a_recipe_of_another_mode_says_which(name: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(name)
    assert caught.value.problems[0].fix == (
        "it is a recipe of another mode: write `reduce_nostack`, with --mode qa"
    )


CALIBRATED = [
    "prepare", "addDQ", "ADUToElectrons", "addVAR", "nonlinearityCorrect", "darkCorrect",
    "flatCorrect",
]  # fmt: skip
SKY = ["separateSky", "associateSky", "skyCorrect", "clearStream"]
SEEN = ["addReferenceCatalog", "detectSources", "measureIQ"]
MEASURED = [*SEEN, "determineAstrometricSolution", "measureCC"]
STACKED = [
    "adjustWCSToReference", "resampleToCommonFrame", "scaleCountsToReference", "stackFrames",
]  # fmt: skip


def steps(mode: str, name: str, **arguments: str) -> list[str]:
    bound = bind_recipe(load_recipe(name, mode=mode), arguments=arguments)
    return [step.primitive.name for step in bound]  # type: ignore[union-attr]


def test_the_steps_of_the_quick_look() -> None:
    assert steps("ql", "reduce") == [*CALIBRATED, *SKY, "detectSources", *STACKED]
    bound = {s.primitive.name: s for s in bind_recipe(load_recipe("reduce", mode="ql"))}  # type: ignore[union-attr]
    assert bound["associateSky"].params.max_skies == 9  # type: ignore[attr-defined]
    assert bound["skyCorrect"].params.mask_objects is False  # type: ignore[attr-defined]


def test_the_steps_of_the_assessment() -> None:
    nostack = [*CALIBRATED, *MEASURED, "measureBG", *SKY, *MEASURED]
    assert steps("qa", "reduce_nostack", catalog="x") == nostack
    assert steps("qa", "reduce", catalog="x") == [*nostack, *STACKED, *MEASURED]
    assert steps("qa", "reduce_nostack") == [*CALIBRATED, *SEEN, "measureBG", *SKY, *SEEN]


@pytest.mark.parametrize("name", ["makeProcessedDark", "makeProcessedFlat"])
def test_calibrations_of_all_modes_have_the_linearity_correction(name: str) -> None:
    assert steps("qa", name) == steps("sq", name)
    assert "nonlinearityCorrect" in steps("qa", name)
    assert load_recipe(name, mode="qa").outputs == load_recipe(name).outputs


# headers and names --------------------------------------------------------------------------
def test_the_worst_mode_of_several_counts() -> None:
    assert worst("sq", "qa", "ql") == "qa"
    assert worst("ql", "") == "ql"
    assert worst("", "other") == "sq"


@pytest.mark.parametrize(
    ("mode", "text"),
    [("sq", "science quality"), ("ql", "quick look"), ("qa", "quality assessment")],
)
def test_prepare_writes_the_mode(mode: str, text: str) -> None:
    raw = flat_frame(5.0, PREPARE=None)
    header = prepare(raw, Prepare(), mode=mode).phu
    assert header["PROCMODE"] == mode
    assert header.comments["PROCMODE"] == f"Reduction mode: {text}"


@pytest.mark.parametrize(
    ("run", "made", "name", "label"),
    [
        ("sq", "sq", "S20200104S0075_dark.fits", "GS-2020A-Q-101-7-001-SQ-DARK"),
        ("ql", "ql", "S20200104S0075_ql_dark.fits", "GS-2020A-Q-101-7-001-QL-DARK"),
        ("qa", "qa", "S20200104S0075_qa_dark.fits", "GS-2020A-Q-101-7-001-QA-DARK"),
        ("sq", "qa", "S20200104S0075_qa_dark.fits", "GS-2020A-Q-101-7-001-QA-DARK"),
        ("ql", "sq", "S20200104S0075_ql_dark.fits", "GS-2020A-Q-101-7-001-QL-DARK"),
    ],
)
def test_stored_products_bear_the_worst_mode_they_went_through(
    tmp_path: Path, run: str, made: str, name: str, label: str
) -> None:
    stacked = flat_frame(5.0, PROCMODE=made, DATALAB="GS-2020A-Q-101-7-001-STACK")
    writer = Writer(tmp_path, mode=run)
    output = Output(suffix="_dark", store="processed_dark")
    (written,) = writer.products({"main": output}, {"main": [stacked]})
    assert written.path.name == name
    header = fits.getheader(written.path)
    assert (header["DATALAB"], header["PROCMODE"]) == (label, worst(run, made))
    image = Output(suffix="_image", store="processed_science")
    (written,) = writer.products({"main": image}, {"main": [stacked]})
    assert written.path.name == "S20200104S0075_image.fits"
    assert fits.getheader(written.path)["DATALAB"] == label.replace("DARK", "IMAGE")


# missing calibrations -----------------------------------------------------------------------
RECIPE = "f2yaml: 1\nname: test\nsteps:\n  - {do: darkCorrect}\n  - {do: flatCorrect}\n"


def planned(folder: Path, mode: str, *settings: str, **files: Path) -> Plan:
    """Bind dark and flat correction of two frames, with the calibrations in `files`."""
    recipe = folder / "test.yaml"
    recipe.write_text(RECIPE)
    frames = [flat_frame(1.0, name=f"S20200104S000{n}.fits") for n in (1, 2)]
    finder = Finder(Library(files), {}, mode)  # type: ignore[arg-type]
    return bind(load_recipe(recipe), frames, finder, parse_overrides(settings))


def test_sq_stops_without_a_calibration(tmp_path: Path) -> None:
    with pytest.raises(MissingCalibration, match="no processed_dark fits"):
        planned(tmp_path, "sq")


@pytest.mark.parametrize("mode", ["ql", "qa"])
def test_ql_and_qa_leave_the_step_out_and_say_so(tmp_path: Path, mode: str) -> None:
    plan = planned(tmp_path, mode, processed_flat=tmp_path / "flat.fits")
    assert [(call.number, call.primitive.name) for call in plan.calls] == [(1, "flatCorrect")]
    assert plan.notes == (
        "darkCorrect is left out, as no processed_dark fits S20200104S0001.fits (nor 1 other "
        f"frames), which {mode} allows",
    )
    assert plan.mode == mode


def test_force_stops_in_every_mode_and_skip_in_none(tmp_path: Path) -> None:
    with pytest.raises(MissingCalibration) as caught:
        planned(tmp_path, "ql", "darkCorrect:do_cal=force")
    assert [p.what.partition(" fits")[0] for p in caught.value.problems] == ["no processed_dark"]
    notes = planned(tmp_path, "sq", "do_cal=skip").notes
    assert notes == tuple(
        f"{n} is left out, as do_cal=skip asks" for n in ("darkCorrect", "flatCorrect")
    )


# from raw frames, on the command line ---------------------------------------------------------
@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the simulated night `tiny`, its truth, and its sq calibrations."""
    folder = tmp_path_factory.mktemp("night")
    raw = str(folder / "raw")
    assert main(["simulate", "tiny", "--out", raw]) == 0
    truth = json.loads((folder / "raw/truth.json").read_text())
    lines = ["RA,Dec,K-red,e_K-red"]
    for ra, dec, mag, kind in zip(*(truth[k] for k in ("ra", "dec", "mag", "kind")), strict=True):
        lines += [f"{ra},{dec},{mag},0.01"] if kind == 0 else []  # stars, not galaxies
    (folder / "stars.csv").write_text("\n".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for first in ("35", "49"):
            darks = [f"raw/S20200107S00{int(first) + n}.fits" for n in range(3)]
            assert main(["run", "-q", "-j", "1", "--inputs", *darks]) == 0
        flats = [f"raw/S20200108S00{n}.fits" for n in (10, 11, 12)]
        assert main(["run", "-q", "-j", "1", "--inputs", *flats]) == 0
    return folder


SCIENCE = [f"raw/S20200104S00{n}.fits" for n in range(75, 81)]


def run(folder: Path, *words: str) -> dict[str, Any]:
    """Run a recipe in a folder and return what it prints as JSON."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.chdir(folder)
        assert main(["run", "-q", "-j", "1", "--json", *words]) == 0
    result: dict[str, Any] = json.loads(printed.getvalue())
    return result


def titled(result: dict[str, Any], title: str) -> list[list[dict[str, Any]]]:
    """Return the rows of all tables whose title begins so."""
    return [t["rows"] for t in result["tables"] if t["title"].startswith(title)]


def test_assessment_without_stack_agrees_with_the_truth(night: Path) -> None:
    truth = json.loads((night / "raw/truth.json").read_text())
    result = run(
        night, "--mode", "qa", "--outdir", "qa", "--param", "catalog=stars.csv", "-i", *SCIENCE
    )
    assert result["recipe"] == "reduce_nostack"
    assert result["notes"] == []
    assert [Path(p).name for p in result["products"]] == [
        f"S20200104S00{n}_skyCorrected.fits" for n in range(75, 81)
    ]
    widths, places, points = (
        titled(result, title) for title in ("Image quality", "Positions", "Zero points")
    )
    (skies,) = titled(result, "Sky background")
    errors: list[float] = []
    for n, frame_truth in enumerate(truth["frames"]):
        for found in widths:  # before and after sky subtraction; 3 to 5 stars of 2 per cent each
            assert found[n]["fwhm_pix"] == pytest.approx(frame_truth["fwhm"], rel=0.03)
        east, north = frame_truth["header_error"]
        assert places[0][n]["moved_east"] == pytest.approx(-east, abs=0.01)
        assert places[0][n]["moved_north"] == pytest.approx(-north, abs=0.01)
        assert abs(places[1][n]["moved_east"]) + abs(places[1][n]["moved_north"]) < 0.02
        zeropoint = truth["zp"] + 2.5 * np.log10(frame_truth["trans"])
        for found in points:  # 3 to 6 stars, some faint, each good to 0.03 mag: worst of twelve
            assert found[n]["of_total_light"] == pytest.approx(zeropoint, abs=0.05)
            errors.append(found[n]["of_total_light"] - zeropoint)
        sky = frame_truth["sky"] * frame_truth["exptime"]  # before the glow of the telescope
        assert skies[n]["level"] == pytest.approx(sky, rel=0.02)
        made = read_frame(night / result["products"][n])
        x, y = made.wcs.to_pixel(truth["ra"][0], truth["dec"][0])
        assert (x, y) == pytest.approx((frame_truth["dx"], frame_truth["dy"]), abs=0.06)
        assert made.refcat is not None
        assert made.refcat.dtype == REFCAT_DTYPE
        assert made.phu["PROCMODE"] == "qa"
        stamps = {"MEASREIQ", "MEASREBG", "MEASRECC", "ASTRMTRY", "ADDRECAT", "SUBSKY"}
        assert stamps <= set(made.phu)
        assert "stars.csv" in {row.filename for row in made.provenance}
    assert np.median(errors) == pytest.approx(0, abs=0.01)


def test_assessment_of_the_stack(night: Path) -> None:
    result = run(
        night, "reduce", "--mode", "qa", "--outdir", "qa", "--param", "catalog=stars.csv",
        "-i", *SCIENCE,
    )  # fmt: skip
    assert result["products"] == ["qa/S20200104S0075_image.fits"]
    ((stack,),) = titled(result, "Zero points")[2:]
    assert stack["frame"] == "S20200104S0075 (stack of 6)"
    # The mean of transparencies, fainter stars, and wings that the clip of the stack may cut.
    assert stack["of_total_light"] == pytest.approx(25.595, abs=0.05)
    header = fits.getheader(night / "qa/S20200104S0075_image.fits")
    assert header["DATALAB"].endswith("-QA-IMAGE")
    assert header["NCOMBINE"] == 6
    assert header["ZPTOTAL"] == pytest.approx(stack["of_total_light"], abs=1e-3)
    iraf = run(night, "makeIRAFCompatible", "--outdir", "qa", "-i", "qa/S20200104S0075_image.fits")
    assert iraf["products"] == ["qa/S20200104S0075_irafCompatible.fits"]
    with fits.open(night / iraf["products"][0]) as made:
        assert made[0].header["NSCIEXT"] == 1
        assert "IRAFCOMP" in made[0].header
        names = [hdu.name for hdu in made[1:]]
        assert names[:5] == ["SCI", "VAR", "DQ", "OBJMASK", "OBJCAT"]
        assert "REFCAT" in names


def test_quick_look_stacks_and_marks_its_products(night: Path) -> None:
    result = run(night, "--mode", "ql", "--outdir", "ql", "-i", *SCIENCE)
    assert (result["recipe"], result["notes"]) == ("reduce", [])
    (product,) = result["products"]
    header = fits.getheader(night / product)
    assert header["DATALAB"] == "GS-2020A-Q-101-7-001-QL-IMAGE"
    assert header["PROCMODE"] == "ql"
    assert header["DARKIM"] == "S20200107S0049_dark.fits"  # sq calibrations serve every mode


def test_without_calibrations_ql_goes_on_and_the_header_says_so(
    night: Path, tmp_path: Path
) -> None:
    raw = [str(night / path) for path in SCIENCE[:3]]
    result = run(tmp_path, "--mode", "ql", "-i", *raw)
    left_out = [note.partition(",")[0] for note in result["notes"]]
    assert left_out == ["darkCorrect is left out", "flatCorrect is left out"]
    header = fits.getheader(tmp_path / "S20200104S0075_image.fits")
    assert "DARKCORR" not in header
    comments = "".join(header["COMMENT"])
    assert "darkCorrect is left out, as no processed_dark fits S20200104S0075.fits" in comments


def test_calibrations_of_a_worse_mode_do_not_serve_sq(
    night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    darks = [str(night / f"raw/S20200107S00{n}.fits") for n in (49, 50, 51)]
    result = run(tmp_path, "--mode", "qa", "-i", *darks)
    assert result["products"] == ["S20200107S0049_qa_dark.fits"]
    header = fits.getheader(tmp_path / "S20200107S0049_qa_dark.fits")
    assert header["DATALAB"] == "GS-CAL20200107-2-001-QA-DARK"
    assert (tmp_path / "calibrations/processed_dark/S20200107S0049_qa_dark.fits").is_file()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        words = ["run", "ultradeep", "--dry-run", "-p", "flatCorrect:do_cal=skip", "-i"]
        science = [str(night / path) for path in SCIENCE]
        capsys.readouterr()
        assert main([*words, *science]) == 1
        assert "processing" in capsys.readouterr().err  # the criterion that the dark fails
        assert main([*words, *science, "--mode", "ql"]) == 0
        assert "darkCorrect is left out" in capsys.readouterr().out  # qa is worse than ql, too
        assert main([*words, *science, "--mode", "qa"]) == 0
        assert "/S20200107S0049_qa_dark.fits (step 6, 6 frames)" in capsys.readouterr().out


def test_a_bad_catalogue_stops_before_any_work(
    night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "far.csv").write_text("ra,dec,Ks\n10,20,15\n")
    words = ["run", "--mode", "qa", "-i", *(str(night / path) for path in SCIENCE)]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        assert main([*words, "--param", "catalog=far.csv"]) == 1
        assert "far.csv has no star in the field of any frame" in capsys.readouterr().err
        assert main([*words, "--param", "catalog=none.csv"]) == 2
        assert "source names none.csv, which is not a file" in capsys.readouterr().err
        assert main(["run", "--mode", "fast", "-i", "x"]) == 2
        assert "--mode" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.fits"))
