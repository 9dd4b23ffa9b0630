"""What strangers did to f2yaml in an hour of trying to break it, each once."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from command_line import PROGRAM, Night, Program, cards, comments, edited, refused
from f2yaml.interpreter.cli import build_parser
from f2yaml.interpreter.commands.run import bound
from f2yaml.interpreter.errors import BadInput
from f2yaml.interpreter.fits import read_frame


@pytest.fixture
def raw(tiny: Night, desk: Path) -> Path:
    """Raw frames and calibrations that may be harmed."""
    shutil.copytree(tiny.raw, desk / "raw")
    shutil.copy(tiny.dark, desk / "dark.fits")
    shutil.copy(tiny.flat, desk / "flat.fits")
    return desk / "raw"


def planned(raw: Path, tiny: Night, desk: Path) -> tuple[object, object]:
    """Return the session and the plan of a run, as it is when work begins."""
    words = [
        *("run", "ultradeep_part1", "--outdir", str(desk / "out"), "--quiet", "--inputs"),
        *(str(raw / path.name) for path in tiny.science),
        *("--user-cal", f"processed_dark:{desk / 'dark.fits'}"),
        *("--user-cal", f"processed_flat:{desk / 'flat.fits'}"),
    ]
    args = build_parser("run").parse_args(words)
    return bound(args, "run")


@pytest.mark.parametrize("victim", ["dark.fits", "raw"])
@pytest.mark.parametrize("how", ["replaced", "removed"])
def test_files_that_change_after_they_were_chosen(
    raw: Path, tiny: Night, desk: Path, victim: str, how: str
) -> None:
    """Else the product would say that it is made of what was there before."""
    session, plan = planned(raw, tiny, desk)
    path = desk / victim if victim != "raw" else raw / tiny.science[2].name
    other = tiny.flat if victim != "raw" else tiny.science[1]
    path.unlink()
    if how == "replaced":
        shutil.copy(other, path)
    words = {"replaced": "has changed while it was in use", "removed": "is no longer there"}
    with pytest.raises(BadInput, match=words[how]) as caught:
        session.execute(plan)  # type: ignore[attr-defined]
    assert path.name in str(caught.value)
    assert list((desk / "out").glob("*.fits")) == []


def test_pixels_are_those_of_the_headers(raw: Path, tiny: Night) -> None:
    """A file that is written over between two bands of rows."""
    path = raw / tiny.science[0].name
    frame = read_frame(path)
    first = frame.pixels.rows(0, 4).data
    frame.pixels.rows(4, 8)
    os.utime(path, ns=(1, 1))
    with pytest.raises(BadInput, match="has changed while it was in use"):
        frame.pixels.rows(8, 12)
    assert np.array_equal(read_frame(path).pixels.rows(0, 4).data, first)
    path.unlink()
    with pytest.raises(BadInput, match="is no longer there"):
        frame.pixels.rows(0, 4)


def test_one_exposure_under_two_names(f2yaml: Program, raw: Path, tiny: Night, desk: Path) -> None:
    first = tiny.darks_5s[0].name
    shutil.copy(raw / first, raw / "again.fits")
    names = [f"raw/{path.name}" for path in tiny.darks_5s]
    done = f2yaml("run", "--inputs", *names, "raw/again.fits", cwd=desk, check=False)
    refused(done, 1, "raw/again.fits is the exposure that", first, "it would count twice")
    words = ("run", "--skip-bad", "--inputs", *names, "raw/again.fits")
    (product,) = f2yaml(*words, cwd=desk).stdout.split()
    header = fits.getheader(desk / product)
    assert (header["NCOMBINE"], header["SKIP001"]) == (len(names), "again.fits")


@pytest.mark.parametrize("rows", [pytest.param(slice(None), marks=pytest.mark.full), slice(0, 200)])
def test_a_dark_that_is_not_like_the_others(
    f2yaml: Program, raw: Path, tiny: Night, desk: Path, rows: slice
) -> None:
    """All of it, or a part."""

    def brighter(hdus: fits.HDUList) -> None:
        data = hdus[1].data.astype(np.int32)
        data[..., rows, :] += 500
        hdus[1].data = data

    names = [f"raw/{path.name}" for path in tiny.darks_5s]
    edited(raw / tiny.darks_5s[1].name, raw / "odd.fits", brighter)
    names[1] = "raw/odd.fits"
    done = f2yaml("run", "--quiet", "--inputs", *names, cwd=desk, check=False)
    refused(done, 1, "odd", "from the level of the other darks", "--allow odd-dark")
    assert sorted(path.name for path in desk.glob("*.fits")) == ["dark.fits", "flat.fits"]
    done = f2yaml("run", "--allow", "odd-dark", "--inputs", *names, cwd=desk)
    made = desk / done.stdout.split()[0]
    assert fits.getheader(made)["ALLOW001"] == "odd-dark"
    assert "from the level of the other darks" in comments(made)


def test_a_dark_of_which_a_part_was_not_read(
    f2yaml: Program, raw: Path, tiny: Night, desk: Path
) -> None:
    """Its level is that of the others, its noise is none."""

    def cleared(hdus: fits.HDUList) -> None:
        hdus[1].data[..., :300, :] = 0

    names = [f"raw/{path.name}" for path in tiny.darks_5s]
    edited(raw / tiny.darks_5s[1].name, raw / "odd.fits", cleared)
    names[1] = "raw/odd.fits"
    done = f2yaml("run", "--quiet", "--inputs", *names, cwd=desk, check=False)
    refused(done, 1, "the noise of odd", "is not that of the other darks", "--allow odd-dark")


@pytest.mark.parametrize(
    ("kind", "factor", "words"),
    [
        ("flat", 100.0, "has a median of "),
        pytest.param("flat", -1.0, "has a median of -", marks=pytest.mark.full),
        pytest.param("flat", np.nan, "has hardly a usable pixel", marks=pytest.mark.full),
        ("dark", np.nan, "has hardly a usable pixel"),
    ],
)
def test_a_calibration_that_is_none(
    f2yaml: Program, raw: Path, tiny: Night, desk: Path, kind: str, factor: float, words: str
) -> None:
    """Headers are those of a good one. It is named, not the sky that it would have spoilt."""

    def scaled(hdus: fits.HDUList) -> None:
        hdus["SCI"].data = hdus["SCI"].data * np.float32(factor)

    other = {"flat": "dark", "dark": "flat"}[kind]
    edited(desk / f"{kind}.fits", desk / "edited.fits", scaled)
    given = ("--user-cal", f"processed_{kind}:edited.fits")
    given += ("--user-cal", f"processed_{other}:{other}.fits")
    words_of = ("run", "--quiet", "ultradeep", "--inputs", *tiny.science, *given)
    done = f2yaml(*words_of, "--outdir", "out", cwd=desk, check=False)
    refused(done, 1, f"the processed {kind} edited.fits {words}", "make the")
    assert list((desk / "out").glob("*.fits")) == []


def test_a_tilde_that_the_shell_has_left(f2yaml: Program, raw: Path, tiny: Night) -> None:
    """bash does not expand it in `--outdir=~/red`; a folder may be called so, too."""
    home = f2yaml.home
    done = f2yaml("run", "--outdir=~/red", "--inputs", *tiny.darks_5s, cwd=raw)
    assert done.stdout.split() == [str(home / "red" / "S20200107S0049_dark.fits")]
    assert read_frame(home / "red" / "S20200107S0049_dark.fits").shape == (512, 512)
    assert not (raw / "~").exists()
    f2yaml("run", "--outdir", raw / "~" / "red", "--inputs", *tiny.darks_5s, cwd=raw)
    assert read_frame(raw / "~" / "red" / "S20200107S0049_dark.fits").shape == (512, 512)
    assert len(list((home / "red").glob(".*"))) == 0


@pytest.mark.parametrize("name", ["raw", "db", "gz"])
def test_a_list_never_takes_the_place_of_data(
    f2yaml: Program, raw: Path, tiny: Night, desk: Path, name: str
) -> None:
    """`-o` with the name of the list forgotten: the first frame becomes it."""
    victim = raw / tiny.science[0].name
    if name == "db":
        f2yaml("caldb", "init", cwd=desk)
        victim = next(desk.rglob("*.db"))
    elif name == "gz":
        victim = desk / "packed"
        victim.write_bytes(b"\x1f\x8b" + bytes(10))
    before = victim.read_bytes()
    given = [f"raw/{path.name}" for path in tiny.darks_5s]
    done = f2yaml("dataselect", "--tags", "DARK", "-o", victim, *given, cwd=desk, check=False)
    refused(done, 2, f"{victim} is there, and is no list")
    done = f2yaml("typewalk", "-d", "raw", "-o", victim, cwd=desk, check=False)
    assert done.returncode == 2
    assert f"{victim} is there, and is no list" in done.stderr
    assert victim.read_bytes() == before


def test_a_log_is_added_to_logs_only(f2yaml: Program, raw: Path, tiny: Night, desk: Path) -> None:
    frame = raw / tiny.darks_5s[0].name
    listed = desk / "darks.list"
    listed.write_text("".join(f"raw/{path.name}\n" for path in tiny.darks_5s))
    for victim in (frame, listed, desk / "new_dark.fits"):
        before = victim.read_bytes() if victim.exists() else None
        done = f2yaml("run", "--inputs", "@darks.list", "--log", victim, cwd=desk, check=False)
        refused(done, 2, f"--log {victim} is no log of f2yaml")
        assert (victim.read_bytes() if victim.exists() else None) == before
    for _ in range(2):
        f2yaml("run", "--quiet", "--inputs", "@darks.list", "--log", "a.log", cwd=desk)
    assert (desk / "a.log").read_text().count("done in") == 2


def test_an_exposure_of_the_future(f2yaml: Program, tiny: Night, desk: Path) -> None:
    late = edited(tiny.darks_5s[0], desk / "late.fits", cards({"DATE-OBS": "2999-01-07"}))
    done = f2yaml("run", "--inputs", late, *tiny.darks_5s[1:], cwd=desk, check=False)
    refused(done, 1, "late.fits was exposed in the future: 2999-01-07")


def test_a_lost_terminal(f2yaml: Program, tiny: Night, desk: Path) -> None:
    """SIGHUP ends a run as Ctrl-C does; under nohup it does not."""
    words = ("run", "ultradeep", "--inputs", *tiny.science, *tiny.user_cal, "--log", "run.log")
    run = f2yaml.start(*words, cwd=desk)
    log = desk / "run.log"
    while run.poll() is None and not (log.exists() and "skyCorrect" in log.read_text()):
        time.sleep(0.01)
    run.send_signal(signal.SIGHUP)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err


def test_help_that_cannot_be_printed(f2yaml: Program, desk: Path) -> None:
    for words in ("--help", "run --help", "--version"):
        line = f"f2yaml {words} > /dev/full"
        done = f2yaml.shell(line, desk)
        assert done.returncode == 1
        assert "standard output cannot be written" in done.stderr


def test_an_option_in_the_wrong_place(f2yaml: Program, desk: Path) -> None:
    refused(f2yaml("--debug", "run", cwd=desk, check=False), 2, "after the name of the command")


def test_a_folder_that_is_gone(f2yaml: Program, desk: Path) -> None:
    for words in ("show", "typewalk", "caldb init", "new x", "plan reduce --inputs a.fits"):
        line = f"mkdir gone && cd gone && rmdir ../gone && f2yaml {words}"
        done = subprocess.run(
            ["bash", "-c", line], cwd=desk, env=f2yaml.environment, capture_output=True, text=True,
            check=False, timeout=60,
        )  # fmt: skip
        refused(done, 1, "the current folder is no longer there")


def test_a_recipe_without_a_name(f2yaml: Program, desk: Path) -> None:
    refused(f2yaml("new", "", cwd=desk, check=False), 2)


def test_a_log_that_cannot_grow(f2yaml: Program, tiny: Night, desk: Path) -> None:
    """The run goes on, and says that the log does not."""
    done = f2yaml("run", "--log", "/dev/full", "--inputs", *tiny.darks_5s, cwd=desk)
    assert done.stderr.count("note: the log /dev/full ends here: No space left on device") == 1
    assert (desk / done.stdout.split()[0]).exists()


def test_a_picture_takes_the_place_of_no_device_or_folder(
    f2yaml: Program, tiny: Night, desk: Path
) -> None:
    """Run by root, /dev/full would else be a file from then on."""
    os.mkfifo(desk / "pipe.png")
    for name, kind in (("pipe.png", "pipe, socket or device"), ("/", "folder")):
        done = f2yaml("preview", tiny.science[0], "--out", name, cwd=desk, check=False)
        assert done.returncode == 1
        assert f"{name} cannot be written: it is a {kind}" in done.stderr
    assert (desk / "pipe.png").is_fifo()
    assert [path.name for path in desk.iterdir()] == ["pipe.png"]


def test_a_limit_of_the_shell_on_memory(f2yaml: Program, tiny: Night, desk: Path) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (450 << 20, 450 << 20))

    done = subprocess.run(
        [PROGRAM, "run", "--quiet", "--inputs", *tiny.darks_5s],
        cwd=desk, env=f2yaml.environment | {"OPENBLAS_NUM_THREADS": "1"}, preexec_fn=limited,
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "the machine has no memory left" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(desk.iterdir()) == []


def test_headers_of_one_exposure_time_are_not_enough(tiny: Night, tmp_path: Path) -> None:
    """Frames that lack DATALAB are no copies of each other."""
    from f2yaml.interpreter.admission import admitted

    paths = [
        edited(path, tmp_path / path.name, cards({"DATALAB": None})) for path in tiny.darks_5s[:2]
    ]
    frames, skipped = admitted(paths, 1)
    assert (len(frames), skipped) == (2, [])
