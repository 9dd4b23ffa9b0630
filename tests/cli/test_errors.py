"""Bad input: what each kind gets, with which exit status, and that nothing on disk is harmed.

Recipes have a file of their own (test_recipe_errors.py), and so have interruptions and full disks.
"""

from __future__ import annotations

import bz2
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from command_line import (
    Edit,
    Night,
    Program,
    cards,
    checksums,
    comments,
    cut,
    edited,
    filled,
    names,
    planes,
    refused,
)

DARK = "S20200107S0049_dark.fits"
SPECTRUM = {"GRISM": "JH_G5801", "MOSPOS": "4pix-slit", "DECKER": "Long_slit"}


# files that are not what they should be -----------------------------------------------------------
def test_every_bad_file_is_named_at_once(f2yaml: Program, tiny: Night, desk: Path) -> None:
    good = tiny.science[0]
    content = good.read_bytes()
    packed = bz2.compress(content, 1)
    bad: dict[str, bytes] = {
        "half.fits": content[: len(content) // 2],
        "head.fits": content[:3000],
        "empty.fits": b"",
        "text.fits": b"not a picture\n" * 1000,
        "bits.fits": content[:100] + b"\xff\xfe" + content[102:],
        "packed.fits.bz2": packed[:1000],
    }
    for name, data in bad.items():
        (desk / name).write_bytes(data)
    kinds: dict[str, dict[str, Any]] = {
        "gnirs.fits": {"INSTRUME": "GNIRS"},
        "nobody.fits": {"INSTRUME": None},
        "slit.fits": SPECTRUM,
        "mos.fits": {"GRISM": "JH_G5801", "MOSPOS": "mos1", "DECKER": "mos"},
        "mask.fits": {"OBSTYPE": "MASK"},
    }
    for name, changes in kinds.items():
        edited(good, desk / name, cards(changes))

    def cube(hdus: fits.HDUList) -> None:
        hdus[1].data = np.zeros((2, 64, 64), np.int32)

    edited(good, desk / "cube.fits", cube)
    os.mkfifo(desk / "pipe.fits")
    before = checksums([desk])
    done = f2yaml(
        "run", "ultradeep", "--inputs", good, *bad, *kinds, "cube.fits", "pipe.fits",
        cwd=desk, check=False,
    )  # fmt: skip
    refused(
        done,
        1,
        "half.fits cannot be read as FITS: it is truncated: ",
        "head.fits ends inside the primary header",
        "empty.fits is empty",
        "text.fits is not a FITS file",
        "bits.fits has a damaged primary header",
        "packed.fits.bz2 cannot be read: Compressed file ended before the end-of-stream marker",
        "gnirs.fits\n  what: INSTRUME is GNIRS, not F2",
        "nobody.fits\n  what: INSTRUME is missing, not F2",
        "slit.fits\n  what: it is a spectrum (tags F2 GEMINI LS",
        "mos.fits\n  what: it is a spectrum (tags F2 GEMINI MOS",
        "mask.fits\n  what: it is a mask design, not an exposure",
        "cube.fits is not laid out as an F2 frame: its data has axes (2, 64, 64), expected ny x nx",
        "pipe.fits is a pipe, socket or device",
    )
    assert done.stderr.count("  fix:  ") == len(bad) + len(kinds) + 2  # none is left out
    assert checksums([desk]) == before


def test_a_compressed_file_damaged_in_its_pixels(f2yaml: Program, tiny: Night, desk: Path) -> None:
    """The headers can be read, so it shows only when the pixels are; no product is made."""
    noise = np.random.default_rng(1).integers(0, 1 << 20, (1, 512, 512), np.int32)

    def noisy(hdus: fits.HDUList) -> None:
        hdus[1].data = noise  # so that it takes more than one block of bzip2

    plain = edited(tiny.darks_5s[1], desk / "plain.fits", noisy)
    packed = bytearray(bz2.compress(plain.read_bytes(), 1))
    packed[-2000] ^= 0xFF
    (desk / "bad.fits.bz2").write_bytes(packed)
    plain.unlink()
    done = f2yaml("run", "--inputs", tiny.darks_5s[0], "bad.fits.bz2", cwd=desk, check=False)
    assert done.returncode == 1
    assert "bad.fits.bz2 cannot be read: Invalid data stream" in done.stderr
    assert names(desk) == ["bad.fits.bz2"]


def test_missing_and_absurd_keywords(f2yaml: Program, tiny: Night, desk: Path) -> None:
    faults: dict[str, tuple[dict[str, Any], str]] = {
        "time0.fits": ({"EXPTIME": None}, "time0.fits has no keyword EXPTIME"),
        "time1.fits": ({"EXPTIME": "five"}, "time1.fits has no usable EXPTIME"),
        "time2.fits": ({"EXPTIME": -5.0}, "time2.fits has no usable EXPTIME"),
        "pairs0.fits": ({"LNRS": None}, "pairs0.fits has no keyword LNRS\n  why:  the number of"),
        "pairs2.fits": (
            {"LNRS": 2, "DATE-OBS": "2014-01-07"},
            "pairs2.fits\n  what: LNRS = 2, as headers from before April 2015 have it",
        ),
        "pairs3.fits": ({"LNRS": 3}, "pairs3.fits\n  what: LNRS = 3 is no read mode of F2"),
        "pairsx.fits": ({"LNRS": "one"}, "pairsx.fits\n  what: keyword LNRS is missing or not a"),
        "coadds.fits": ({"COADDS": 0}, "COADDS of coadds.fits is 0"),
    }
    for name, (changes, _) in faults.items():
        edited(tiny.darks_5s[1], desk / name, cards({"DATALAB": name, **changes}))
    before = checksums([desk])
    done = f2yaml("run", "--inputs", tiny.darks_5s[0], *faults, cwd=desk, check=False)
    refused(done, 1, *(text for _, text in faults.values()))
    assert done.stderr.count("  fix:  ") == len(faults)
    assert checksums([desk]) == before


def test_frames_that_cannot_be_put_together(f2yaml: Program, tiny: Night, desk: Path) -> None:
    faults: dict[str, tuple[Edit, str]] = {
        "sky.fits": (
            cards({"CRVAL1": 1e30}, extension=1),
            "CRVAL1, CRVAL2 of sky.fits are 1e+30, -30",
        ),
        "cd.fits": (cards({"CD1_2": None}, extension=1), "cd.fits has no usable keyword CD1_2"),
        "flat.fits": (cards({"CD1_2": 0.0}, extension=1), "CD matrix of flat.fits is singular"),
        "size.fits": (cut(256, 512), "size.fits has 512 x 256 pixels, S20200104S0075.fits 512 x"),
    }
    for name, (edit, _) in faults.items():
        labelled = edited(tiny.science[1], desk / "x", cards({"DATALAB": name}))
        edited(labelled, desk / name, edit)
    labelled.unlink()
    words = ("run", "ultradeep", *tiny.user_cal, "--inputs", *tiny.science[:1])
    done = f2yaml(*words, *faults, cwd=desk, check=False)
    refused(done, 1, "step 1 prepare (", *(text for _, text in faults.values()))
    assert names(desk) == sorted(faults)
    edited(tiny.science[1], desk / "off.fits", cards({"POFFSET": 30.0}))
    done = f2yaml(*words, tiny.science[2], "off.fits", cwd=desk, check=False)
    refused(done, 1, "header positions contradict the telescope offsets: ", "bad_wcs=ignore")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"FILTER2": "H_G0803", "FILTER": "H_G0803"},
            "filter_name of bad.fits is H, of S20200104S0075.fits K-red",
        ),
        ({"LNRS": None}, "read_mode of bad.fits is not in its header, of S20200104S0075.fits 1"),
    ],
)
def test_mixed_lists(
    f2yaml: Program, tiny: Night, desk: Path, changes: dict[str, Any], text: str
) -> None:
    edited(tiny.science[1], desk / "bad.fits", cards(changes))
    inputs = (tiny.science[0], "bad.fits", tiny.science[2])
    done = f2yaml("run", "ultradeep", "--inputs", *inputs, *tiny.user_cal, cwd=desk, check=False)
    refused(done, 2, f"recipe ultradeep is not for these frames: {text}")


def test_mixed_exposure_times_in_darks(f2yaml: Program, tiny: Night, desk: Path) -> None:
    done = f2yaml("run", "--inputs", *tiny.darks_2s, *tiny.darks_5s, cwd=desk, check=False)
    refused(
        done,
        1,
        "step 6 stackDarks (",
        "S20200107S0049.fits was exposed 5 s, S20200107S0035.fits 2 s",
        "split the list by exposure time",
    )
    assert names(desk) == []


def test_frames_for_which_there_is_no_default_recipe(
    f2yaml: Program, tiny: Night, desk: Path
) -> None:
    inputs = (*tiny.science, tiny.darks_5s[0])
    done = f2yaml("run", "--inputs", *inputs, cwd=desk, check=False)
    refused(done, 2, "no recipe is the default for these frames", "f2yaml run ultradeep")


def test_an_acquisition_frame_is_warned_about_even_when_quiet(
    f2yaml: Program, tiny: Night, desk: Path
) -> None:
    edited(tiny.science[1], desk / "acq.fits", cards({"OBSCLASS": "acq"}))
    done = f2yaml(
        "run", "ultradeep_part1", "--inputs", "acq.fits", *tiny.user_cal, "--quiet", cwd=desk
    )
    note = "acq.fits: it is an acquisition image; it would be reduced as science"
    assert done.stderr == f"note: {note}\n"
    assert note in comments(desk / "acq_flatCorrected.fits")


def test_pixels_that_are_no_numbers_do_not_reach_the_product(
    f2yaml: Program, tiny: Night, desk: Path
) -> None:
    def holes(hdus: fits.HDUList) -> None:
        data = hdus[1].data.astype(np.float32)
        data[..., 100:110, 100:120] = np.nan
        data[..., 300, 300] = np.inf
        hdus[1].data = data

    edited(tiny.darks_5s[1], desk / "bad.fits", holes)
    f2yaml("run", "--inputs", tiny.darks_5s[0], "bad.fits", tiny.darks_5s[2], cwd=desk)
    made, whole = planes(desk / DARK), planes(tiny.dark)
    assert np.isfinite(made["SCI"]).all()
    assert np.isfinite(made["VAR"]).all()
    # There two frames make the mean instead of three, so the variance is 3/2 of what it was; a
    # pixel where the other darks were clipped differs, the median does not.
    hole = np.s_[100:110, 100:120]
    assert np.median(made["VAR"][hole] / whole["VAR"][hole]) == pytest.approx(1.5, abs=0.05)
    assert made["DQ"][105, 105] == whole["DQ"][105, 105]


# nothing to work with -----------------------------------------------------------------------------
def test_darks_that_are_all_saturated_make_no_dark(
    f2yaml: Program, tiny: Night, desk: Path
) -> None:
    for path in tiny.darks_5s[:2]:
        edited(path, desk / path.name, filled(200_000))
    before = checksums([desk])
    done = f2yaml("run", "--inputs", "*.fits", cwd=desk, check=False)
    assert done.returncode == 1
    assert f"no pixel of {DARK} is usable\n  why:  all are flagged or not finite" in done.stderr
    after = checksums([desk])  # a slow machine keeps what it had done, to resume
    assert {p: c for p, c in after.items() if ".f2yaml-journal-" not in str(p)} == before


def test_flats_without_light_make_no_flat(f2yaml: Program, tiny: Night, desk: Path) -> None:
    for path in tiny.flats:
        edited(path, desk / path.name, filled(-5))
    done = f2yaml("run", "--inputs", "*.fits", *tiny.darks_2s, cwd=desk, check=False)
    assert done.returncode == 1
    assert "the median of the good pixels of S20200108S0010_lampstack.fits is -" in done.stderr
    assert "a flat without light cannot be normalised" in done.stderr
    assert not (desk / "calibrations").exists()


def test_no_source_in_common(f2yaml: Program, tiny: Night, desk: Path) -> None:
    """Refused where the recipe allows no fallback; noted in the header where it does."""
    (desk / "align.yaml").write_text(
        "f2yaml: 1\nname: align\nparameters:\n  fallback: {default: none, doc: as the step's}\n"
        "steps:\n  - {include: base/standard.yaml}\n  - {do: detectSources}\n"
        "  - {do: adjustWCSToReference, with: {fallback: $fallback}}\n"
        "outputs:\n  main: {suffix: _aligned}\n"
    )
    rng = np.random.default_rng(2)
    for path in tiny.science[:2]:
        sky = rng.normal(1000, 15, (1, 512, 512)).astype(np.int32)

        def blank(hdus: fits.HDUList, sky: Any = sky) -> None:
            hdus[1].data = sky

        edited(path, desk / path.name, blank)
    words = ("run", "align.yaml", "--inputs", "*.fits", "--quiet", "--jobs", 1)
    done = f2yaml(*words, cwd=desk, check=False)
    refused(
        done,
        1,
        "step 7 adjustWCSToReference (align.yaml:8:10)",
        "S20200104S0075_sourcesDetected.fits and the other frames have fewer than 3 sources in "
        "common",
        "allow `fallback: offsets`",
    )
    assert not list(desk.glob("*_aligned.fits"))
    done = f2yaml(*words, "--param", "fallback=offsets", cwd=desk)
    assert "has too few sources in common with" in done.stderr
    assert "too few sources in common" in comments(desk / "S20200104S0076_aligned.fits")


# lists --------------------------------------------------------------------------------------------
def test_every_fault_of_the_lists_at_once(f2yaml: Program, tiny: Night, desk: Path) -> None:
    one, two = tiny.darks_5s[:2]
    (desk / "empty.list").write_text("# nothing\n\n")
    (desk / "self.list").write_text(f"{one}\n@self.list\n")
    (desk / "a.list").write_text("@b.list\n")
    (desk / "b.list").write_text("@a.list\n")
    (desk / "option.list").write_text("-p\n")
    (desk / "picture.list").write_bytes(two.read_bytes()[:2000] + b"\xff\xfe")
    (desk / "twice.list").write_text(f"{two}\n{two}\n")
    (desk / "link.fits").symlink_to(two)
    done = f2yaml(
        "run", "--inputs", "@empty.list", "@self.list", "@a.list", "@option.list", "@picture.list",
        "@twice.list", "@none.list", "none.fits", "*.fitz", desk, "link.fits",
        cwd=desk, check=False,
    )  # fmt: skip
    refused(
        done,
        2,
        "list empty.list is empty",
        "list self.list includes itself\n  why:  self.list -> self.list",
        "list a.list includes itself\n  why:  a.list -> b.list -> a.list",
        "option.list:1\n  what: `-p` is an option",
        "list picture.list is not text in UTF-8",
        f"{two} is named twice\n  why:  in twice.list:1 and in twice.list:2; a frame counted twice",
        "list none.list does not exist",
        "none.fits does not exist",
        "no file matches *.fitz",
        f"{desk} is a folder",
        "link.fits is named twice\n  why:  in twice.list:1 and on the command line",
    )


def test_one_exposure_under_two_names(f2yaml: Program, tiny: Night, desk: Path) -> None:
    dark = tiny.darks_5s[0]
    shutil.copy(dark, desk / dark.name)
    done = f2yaml("run", "--inputs", dark, dark.name, cwd=desk, check=False)
    refused(done, 2, f"{dark.name} and {dark} are the same exposure (S20200107S0049)")


def test_no_inputs_and_inputs_in_the_wrong_place(f2yaml: Program, tiny: Night, desk: Path) -> None:
    done = f2yaml("run", "ultradeep", cwd=desk, check=False)
    refused(done, 2, "f2yaml run got no input files", "name them after --inputs")
    done = f2yaml("run", "ultradeep", *tiny.science[:2], cwd=desk, check=False)
    refused(done, 2, f"it does not take {tiny.science[0]}", "name the input files after --inputs")


# places to write ----------------------------------------------------------------------------------
def test_folders_that_cannot_be_written(f2yaml: Program, tiny: Night, desk: Path) -> None:
    (desk / "notes").write_text("keep me")
    inputs = ("--inputs", *tiny.darks_5s)
    for outdir, text in {
        "notes/products": "notes/products cannot be written: Not a directory",
        "notes": "notes is a file",
        "/proc/products": "/proc/products cannot be written: No such file or directory",
    }.items():
        done = f2yaml("run", *inputs, "--outdir", outdir, cwd=desk, check=False)
        refused(done, 1, text, "with --outdir")
    done = f2yaml("run", *inputs, "--log", "notes/log", cwd=desk, check=False)
    refused(done, 1, "the log notes/log cannot be written: Not a directory")
    assert (desk / "notes").read_text() == "keep me"


def test_a_product_never_overwrites_an_input(f2yaml: Program, tiny: Night, desk: Path) -> None:
    """A raw file that has the product's name is found out before any work."""
    first = desk / DARK
    edited(tiny.darks_5s[0], first, cards({"ORIGNAME": "S20200107S0049.fits"}))
    before = checksums([desk])
    done = f2yaml("run", "--inputs", DARK, *tiny.darks_5s[1:], cwd=desk, check=False)
    refused(done, 1, f"{DARK} is an input of this run", "inputs are never written")
    assert "prepare" not in done.stderr  # no step has run
    assert checksums([desk]) == before


def test_names_that_would_leave_the_folder(f2yaml: Program, tiny: Night, desk: Path) -> None:
    done = f2yaml("run", "--inputs", *tiny.darks_5s, "--suffix", "../x", cwd=desk, check=False)
    refused(done, 2, "--suffix ../x is no suffix", "as in _image")
    edited(tiny.darks_5s[0], desk / "evil.fits", cards({"ORIGNAME": "../../evil.fits"}))
    done = f2yaml("run", "--inputs", "evil.fits", *tiny.darks_5s[1:], cwd=desk)
    assert done.stdout == "evil_dark.fits\n"
    assert not list(desk.parent.glob("*.fits"))


def test_one_suffix_for_two_outputs_is_refused_before_the_work(
    f2yaml: Program, tiny: Night, desk: Path
) -> None:
    (desk / "two.yaml").write_text(
        "f2yaml: 1\nname: two\ndoc: d\nsteps:\n  - {do: prepare}\n"
        "  - {do: copyInputs, to: kept}\n"
        "outputs:\n  main: {suffix: _a}\n  kept: {suffix: _b}\n"
    )
    words = ["run", "two.yaml", "--inputs", *tiny.darks_5s, "--suffix", "_x"]
    done = f2yaml(*words, cwd=desk, check=False)
    refused(done, 2, "would be written under 3 names", "leave --suffix out")
    assert "prepare" not in done.stderr


def test_a_list_without_its_sign(f2yaml: Program, tiny: Night, desk: Path) -> None:
    (desk / "darks.list").write_text("\n".join(map(str, tiny.darks_5s)))
    done = f2yaml("run", "--inputs", "darks.list", cwd=desk, check=False)
    refused(done, 1, "darks.list is not a FITS file", "write @darks.list")


# options ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (["--jobs", "0"], ["--jobs 0 is not a number of jobs"]),
        (["--max-memory", "lots"], ["--max-memory lots is no size", "write it as 2G or 512M"]),
        (["--max-memory", "1M"], ["--max-memory 1M is less than 64M"]),
        (["--config", "none.yaml"], ["none.yaml, which is not a file"]),
        (["-p", "stackDarks:lsigma"], ["-p stackDarks:lsigma is no setting", "step:name=value"]),
        (["--user-cal", "x.fits"], ["--user-cal x.fits has no type", "write it as TYPE:FILE"]),
        (["--user-cal", "processed_drk:x.fits"], ["did you mean `processed_dark`?"]),
        (["--user-cal", "processed_dark:x.fits"], ["x.fits: there is no such file"]),
    ],
)
def test_options_without_sense(
    f2yaml: Program, tiny: Night, desk: Path, words: list[str], texts: list[str]
) -> None:
    inputs = tiny.science if "--user-cal" in words else tiny.darks_5s
    recipe = ("ultradeep",) if "--user-cal" in words else ()
    done = f2yaml("run", *recipe, "--inputs", *inputs, *words, cwd=desk, check=False)
    refused(done, 2, *texts)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["rnu"], "there is no command `rnu`\n  fix:  did you mean `run`?"),
        (["run", "--jbos", "3"], "it does not take --jbos"),
        (["run", "--jobs", "x"], "argument --jobs/-j: invalid int value: 'x'"),
        (["showd", "x.fits"], "the following arguments are required: -d/--descriptors"),
    ],
)
def test_wrong_usage(f2yaml: Program, desk: Path, words: list[str], text: str) -> None:
    done = f2yaml(*words, cwd=desk, check=False)
    assert done.returncode == 2
    assert text in done.stderr
    assert "  fix:  " in done.stderr


# calibrations -------------------------------------------------------------------------------------
def test_missing_calibrations_show_what_the_candidates_failed(
    f2yaml: Program, tiny: Night, desk: Path
) -> None:
    (desk / "f2yaml.yaml").write_text(
        f"f2yaml: 1\nkind: config\ndatabases:\n  - {{path: {tiny.database}, get: true}}\n"
    )
    changes = {"EXPTIME": 7.0, "FILTER2": "H_G0803", "FILTER": "H_G0803"}
    for path in tiny.science[:3]:
        edited(path, desk / path.name, cards(changes))
    done = f2yaml("run", "ultradeep", "--inputs", "*.fits", cwd=desk, check=False)
    refused(
        done,
        1,
        "no processed_dark fits S20200104S0075.fits (nor 2 other frames)",
        f"{tiny.database} holds 1 candidate; what each fails:",
        "no processed_flat fits S20200104S0075.fits (nor 2 other frames)",
        "or name one: --user-cal processed_flat:FILE",
    )
    assert re.search(r"exposure_time +7 s +5 s +within 0\.01 s +FAILED", done.stderr)
    assert re.search(r"filter_name +H +K-red +equal +FAILED", done.stderr)
    assert len(names(desk)) == 4


def test_calibrations_of_the_wrong_kind_or_size(f2yaml: Program, tiny: Night, desk: Path) -> None:
    inputs = ("run", "ultradeep", "--inputs", *tiny.science)
    flat = ("--user-cal", f"processed_flat:{tiny.flat}")
    small = edited(tiny.dark, desk / "small_dark.fits", cut(256, 256))
    for path, status, texts in (
        (small, 1, ["small_dark.fits does not fit S20200104S0075.fits", "array_shape is 256x256"]),
        (tiny.flat, 2, [f"{tiny.flat} is a processed_flat, not a processed_dark"]),
        (tiny.darks_5s[0], 2, ["S20200107S0049.fits is no processed calibration"]),
    ):
        done = f2yaml(*inputs, *flat, "--user-cal", f"processed_dark:{path}", cwd=desk, check=False)
        refused(done, status, *texts)


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda data: b"not a database" * 50, "is not an SQLite database, or its beginning is"),
        (lambda data: b"", "f2yaml.db is empty; it is not a calibration database of f2yaml"),
        (lambda data: data[:5000], "f2yaml.db is damaged: database disk image is malformed"),
    ],
)
def test_damaged_databases_are_left_as_they_are(
    f2yaml: Program, tiny: Night, desk: Path, damage: Any, text: str
) -> None:
    database = desk / "calibrations" / "f2yaml.db"
    database.parent.mkdir()
    database.write_bytes(damage(tiny.database.read_bytes()))
    before = checksums([desk])
    done = f2yaml("run", "--inputs", *tiny.darks_5s, cwd=desk, check=False)
    refused(done, 1, text)
    assert checksums([desk]) == before


# the other commands -------------------------------------------------------------------------------
def test_inspection_goes_on_after_a_bad_file(f2yaml: Program, tiny: Night, desk: Path) -> None:
    (desk / "text.fits").write_text("not a picture\n" * 1000)
    shutil.copy(tiny.science[0], desk / "good.fits")
    for words, shown in (
        (["typewalk"], "good.fits ......"),
        (["showd", "text.fits", "good.fits", "-d", "object"], "good.fits   Field-1"),
        (["dataselect", "text.fits", "good.fits", "--tags", "IMAGE"], "good.fits\n"),
    ):
        done = f2yaml(*words, cwd=desk, check=False)
        assert done.returncode == 1
        assert shown in done.stdout
        assert "text.fits is not a FITS file" in done.stderr


@pytest.mark.parametrize(
    ("words", "status", "texts"),
    [
        (["typewalk", "-d", "none"], 2, ["none does not exist"]),
        (["typewalk", "-f", "*.fits"], 2, ["`*.fits` is no regular expression"]),
        (["dataselect", "good.fits", "--tags", "DRAK"], 2, ["unknown tag DRAK"]),
        (["dataselect", "good.fits", "--expr", "exposure_tim==5"], 2, ["exposure_time"]),
        (["dataselect", "good.fits", "--expr", "__import__('os')"], 2, ["`__import__` cannot"]),
        (["dataselect", "none.fits"], 2, ["none.fits does not exist"]),
        (["showd", "good.fits", "-d", "exposure_tme"], 2, ["did you mean `exposure_time`?"]),
        (["show", "skyCorect"], 2, ["nothing is called `skyCorect`", "did you mean `skyCorrect`?"]),
        (["show", "f2_imagin"], 2, ["did you mean `f2_imaging`?"]),
        (["caldb", "add", "good.fits"], 1, ["good.fits is a raw file, not a processed"]),
        (["caldb", "list", "-d", "none.db"], 1, ["Unable to find calibration database file"]),
        (
            ["simulate", "tinny", "--out", "x"],
            2,
            ["is no scenario `tinny`", "did you mean `tiny`?"],
        ),
        (["simulate", "tiny", "--out", "good.fits/x"], 1, ["cannot be made: Not a directory"]),
        (["simulate", "tiny", "--out", "x", "--jobs", "0"], 2, ["0 jobs were asked for"]),
        (["preview", "none.fits"], 2, ["none.fits does not exist"]),
        (["preview", "text.fits"], 1, ["text.fits is not a FITS file"]),
        (["preview", "good.fits", "--size", "1"], 2, ["--size 1 is out of range"]),
        (["preview", "good.fits", "-o", "text.fits/x.png"], 1, ["cannot be written: Not a dir"]),
        (["preview", "good.fits", "-o", "good.fits"], 2, ["good.fits is the file to be shown"]),
    ],
)
def test_bad_requests_to_the_other_commands(
    f2yaml: Program, tiny: Night, desk: Path, words: list[str], status: int, texts: list[str]
) -> None:
    (desk / "text.fits").write_text("not a picture\n" * 1000)
    shutil.copy(tiny.science[0], desk / "good.fits")
    before = checksums([desk])
    done = f2yaml(*words, cwd=desk, check=False)
    refused(done, status, *texts)
    shutil.rmtree(desk / "calibrations", ignore_errors=True)  # made by the first `caldb add`
    assert checksums([desk]) == before


def test_simulate_does_not_overwrite(f2yaml: Program, tiny: Night, desk: Path) -> None:
    dark = tiny.darks_5s[0]
    (desk / dark.name).write_text("mine")
    done = f2yaml("simulate", "tiny", "--out", ".", cwd=desk, check=False)
    refused(done, 1, f"{dark.name} already in .", "give --overwrite")
    assert names(desk) == [dark.name]
    assert (desk / dark.name).read_text() == "mine"
