"""``--skip-bad``: a run goes on without bad frames, says so, and writes it into its products."""

from __future__ import annotations

import bz2
import json
import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from command_line import Night, Program, cards, comments, cut, edited, filled, names, refused
from f2yaml.interpreter.admission import admitted, left_out
from f2yaml.interpreter.allowing import record_cards
from f2yaml.interpreter.errors import BadInput, Problem

DARK = "S20200107S0049_dark.fits"


def packed_and_broken(source: Path, target: Path) -> None:
    """Write a compressed file whose headers are sound and whose pixels are not."""
    noise = np.random.default_rng(1).integers(0, 1 << 20, (1, 512, 512), np.int32)

    def noisy(hdus: fits.HDUList) -> None:
        hdus[1].data = noise

    plain = edited(source, target.with_suffix(".plain"), noisy)
    content = bytearray(bz2.compress(plain.read_bytes(), 1))
    content[-2000] ^= 0xFF
    target.write_bytes(content)
    plain.unlink()


@pytest.fixture
def bad(tiny: Night, desk: Path) -> dict[str, str]:
    """Bad darks of every kind in the working folder: name -> what is wrong."""
    good = tiny.darks_5s[1]
    (desk / "half.fits").write_bytes(good.read_bytes()[:500_000])
    (desk / "text.fits").write_text("no picture\n" * 300)
    (desk / "gone.fits").symlink_to(desk / "nowhere.fits")
    edited(good, desk / "gnirs.fits", cards({"INSTRUME": "GNIRS"}))
    edited(good, desk / "date.fits", cards({"DATE-OBS": None, "DATE": None, "MJD-OBS": None}))
    edited(good, desk / "lnrs.fits", cards({"LNRS": None}))
    for name, edit in (
        ("unit.fits", cards({"BUNIT": "electron"}, extension=1)),
        ("size.fits", cut(256, 512)),
    ):
        other = edited(good, desk / "other.part", cards({"DATALAB": name}))  # no copy of the good
        edited(other, desk / name, edit)
        other.unlink()
    edited(good, desk / "sat.fits", filled(400_000))
    edited(good, desk / "caf\N{LATIN SMALL LETTER E WITH ACUTE}.fits", cards({}))

    def blank(hdus: fits.HDUList) -> None:
        hdus[1].data = np.full((512, 512), np.nan, np.float32)

    edited(good, desk / "blank.fits", blank)
    packed_and_broken(good, desk / "pack.fits.bz2")
    return {
        "half.fits": "is truncated",
        "text.fits": "is not a FITS file",
        "gone.fits": "a link to a missing file",
        "gnirs.fits": "INSTRUME is GNIRS, not F2",
        "date.fits": "has no usable date and time",
        "lnrs.fits": "has no keyword LNRS",
        "unit.fits": "BUNIT of unit.fits is electron",
        "size.fits": "has 512 x 256 pixels",
        "sat.fits": "is saturated in 100 % of its pixels",
        "caf\N{LATIN SMALL LETTER E WITH ACUTE}.fits": "holds letters beyond ASCII",
        "blank.fits": "has no pixel that is a number",
        "pack.fits.bz2": "cannot be read: Invalid data stream",
    }


def test_a_run_goes_on_without_bad_frames(
    f2yaml: Program, tiny: Night, desk: Path, bad: dict[str, str]
) -> None:
    before = names(desk)
    words = ("run", "--inputs", *bad, *tiny.darks_5s, "--jobs", 1)
    refused(f2yaml(*words, cwd=desk, check=False), 1, "half.fits")
    assert names(desk) == before
    done = f2yaml(*words, "--skip-bad", "--quiet", cwd=desk)
    assert done.stdout == f"{DARK}\n"
    lines = done.stderr.splitlines()
    assert len(lines) == len(bad)
    for name, what in bad.items():
        (line,) = (text for text in lines if text.startswith(f"note: {name} is left out: "))
        assert what in line
        assert str(desk) not in line
    header = fits.getheader(desk / DARK)
    assert header["NSKIPPED"] == len(bad)
    listed = [header[f"SKIP{n:03d}"] for n in range(1, len(bad) + 1)]
    assert sorted(listed) == sorted(n.encode("ascii", "replace").decode() for n in bad)
    assert "SKIP013" not in header
    assert "half.fits is left out: cannot be read as FITS" in comments(desk / DARK)
    with fits.open(desk / DARK) as made, fits.open(tiny.dark) as wanted:
        for plane in ("SCI", "VAR", "DQ"):
            assert (made[plane].data == wanted[plane].data).all()
    assert "NSKIPPED" not in fits.getheader(tiny.dark)


def test_json_and_plan_say_it(f2yaml: Program, tiny: Night, desk: Path) -> None:
    (desk / "half.fits").write_bytes(tiny.darks_5s[1].read_bytes()[:500_000])
    words = ("--inputs", *tiny.darks_5s, "half.fits", "--skip-bad")
    what = "cannot be read as FITS: it is truncated: 500000 bytes, its header promises 1068736"
    wanted = {
        "file": "half.fits",
        "what": what,
        "why": "wrong pixels would be taken for right",
    }
    text = f"half.fits is left out: {what} ({wanted['why']})"
    assert f"note: {text}\n" in f2yaml("plan", *words, cwd=desk).stdout
    for command in (
        ("plan", "--format", "json"),
        ("run", "--dry-run", "--json"),
        ("run", "--json"),
    ):
        told = json.loads(f2yaml(*command, *words, cwd=desk).stdout)
        assert told["skipped"] == [wanted]
        assert text in told["notes"]
        assert "half.fits" not in told["inputs"]


def test_a_frame_of_the_sky_in_the_wrong_place(f2yaml: Program, tiny: Night, desk: Path) -> None:
    """What a step refuses by headers is left out like a file that cannot be read."""
    far = edited(tiny.science[1], desk / "far.fits", cards({"POFFSET": 60.0}))
    words = ("plan", "ultradeep", "--inputs", far, *tiny.science[2:], *tiny.user_cal)
    refused(f2yaml(*words, cwd=desk, check=False), 1, "contradict the telescope offsets: far.fits")
    done = f2yaml(*words, "--skip-bad", cwd=desk)
    assert "note: far.fits is left out: header positions contradict" in done.stdout
    assert "steps on 4 frames" in done.stdout


def test_what_is_left_has_to_do(f2yaml: Program, tiny: Night, desk: Path) -> None:
    """The recipe's own conditions hold for what is left, and something has to be left."""
    for name in ("a.fits", "b.fits"):
        (desk / name).write_text("no picture\n" * 300)
    words = ("run", "--skip-bad", "--inputs", "a.fits", "b.fits")
    done = f2yaml(*words, cwd=desk, check=False)
    refused(done, 1, "a.fits: is not a FITS file", "b.fits: is not a FITS file", "no input is left")
    dark = ("makeProcessedDark", "--skip-bad", "--inputs", "a.fits", tiny.darks_5s[0])
    done = f2yaml("run", *dark, cwd=desk, check=False)
    refused(done, 2, "there is 1 frame, it needs at least 2")
    assert names(desk) == ["a.fits", "b.fits"]


def test_what_is_no_bad_frame_stays_an_error(f2yaml: Program, tiny: Night, desk: Path) -> None:
    """A name that does not exist may be a slip; a mixed list is a wrong list."""
    words = ("run", "--skip-bad", "--inputs", *tiny.darks_5s)
    refused(f2yaml(*words, "none.fits", cwd=desk, check=False), 2, "none.fits does not exist")
    refused(f2yaml(*words, *tiny.darks_2s, cwd=desk, check=False), 1, "was exposed")
    refused(f2yaml(*words, tiny.darks_5s[0], cwd=desk, check=False), 2, "is named twice")


def test_a_frame_of_another_size_stands_alone(f2yaml: Program, tiny: Night, desk: Path) -> None:
    """The size that most frames have is the right one, wherever the odd frame stands."""
    odd = edited(tiny.darks_5s[0], desk / "odd.fits", cut(256, 512))
    words = ("plan", "--inputs", odd, *tiny.darks_5s[1:])
    done = f2yaml(*words, cwd=desk, check=False)
    refused(done, 1, f"odd.fits has 512 x 256 pixels, {tiny.darks_5s[1].name} 512 x 512")
    assert done.stderr.count("  fix:  ") == 1


@pytest.mark.parametrize("value", [0, -7, 30_000])
def test_one_value_all_over_is_no_picture(tiny: Night, tmp_path: Path, value: int) -> None:
    def even(hdus: fits.HDUList) -> None:
        hdus[1].data = np.full_like(hdus[1].data, value)

    path = edited(tiny.darks_5s[0], tmp_path / "even.fits", even)
    with pytest.raises(BadInput, match=f"even.fits has the value {value} in every pixel"):
        admitted([path], 1)
    with fits.open(path, mode="update") as hdus:
        hdus[1].data[0, 300, 17] += 1  # in a row that is not looked at first
    assert len(admitted([path], 1)[0]) == 1


def test_records_of_runs_before_are_kept() -> None:
    first = record_cards({}, ["a.fits", "b.fits"], ["calibration-age"])
    header = {key: value[0] for key, value in first.items()}
    again = {key: value[0] for key, value in record_cards(header, ["b.fits", "c.fits"], []).items()}
    assert again == {
        "NSKIPPED": 3,
        "SKIP001": "a.fits",
        "SKIP002": "b.fits",
        "SKIP003": "c.fits",
        "ALLOW001": "calibration-age",
    }
    assert record_cards({}, [], []) == {}


def test_control_characters_reach_no_header() -> None:
    made = record_cards({}, ["a\x1b[2J\u0444.fits"], [])
    assert made["SKIP001"][0] == "a?[2J?.fits"


def test_a_record_names_no_folder(tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    problems = [Problem(f"{path} is bad", f"see {tmp_path}{os.sep}y", "mend it"), Problem("second")]
    assert str(left_out("x.fits", problems, path)) == "x.fits is left out: is bad (see y)"
