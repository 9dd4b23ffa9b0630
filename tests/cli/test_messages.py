"""Messages and exit statuses of small slips, such as names of nothing and of something else."""

from __future__ import annotations

import errno
import os
import resource
from collections import namedtuple
from pathlib import Path

import pytest
from command_line import Night, Program, refused

MIB = 1 << 20


@pytest.mark.parametrize(
    "words",
    [
        ["caldb", "add"],
        ["caldb", "explain"],
        ["report"],
        ["preview"],
        ["show"],
        ["show", "--recipe"],
        ["replay"],
        ["run", "--inputs"],
    ],
)
def test_a_file_that_is_not_there_is_a_wrong_request(
    f2yaml: Program, desk: Path, words: list[str]
) -> None:
    done = f2yaml(*words, "nope.fits", cwd=desk, check=False)
    refused(done, 2, "nope.fits does not exist", "fix:  check name and folder")


@pytest.mark.parametrize(
    "words",
    [["caldb", "add"], ["caldb", "explain"], ["report"], ["preview"], ["run", "--inputs"]],
)
def test_what_is_there_and_no_frame_is_a_bad_file(
    f2yaml: Program, desk: Path, words: list[str]
) -> None:
    os.mkfifo(desk / "pipe.fits")
    (desk / "link.fits").symlink_to("nothing")
    done = f2yaml(*words, "pipe.fits", cwd=desk, check=False)
    refused(done, 1, "pipe.fits is a pipe, socket or device")
    done = f2yaml(*words, "link.fits", cwd=desk, check=False)
    refused(done, 1, "link.fits does not exist (a link to a missing file)")


def test_an_unknown_name_of_the_database_is_a_wrong_request(
    f2yaml: Program, tiny: Night, desk: Path
) -> None:
    done = f2yaml("caldb", "remove", "nope.fits", "-d", tiny.database, cwd=desk, check=False)
    refused(done, 2, f"nope.fits is not in {tiny.database}")


def test_absent_files_do_not_keep_others_from_the_database(
    f2yaml: Program, tiny: Night, desk: Path
) -> None:
    done = f2yaml("caldb", "add", "nope.fits", tiny.dark, tiny.darks_5s[0], cwd=desk, check=False)
    refused(done, 2, "nope.fits does not exist", "S20200107S0049.fits is a raw file")
    assert "S20200107S0049_dark.fits" in f2yaml("caldb", "list", cwd=desk).stdout


@pytest.mark.parametrize(("command", "page"), [("report", "r.html"), ("preview", "x.png")])
def test_the_fix_names_the_option_of_the_command(
    f2yaml: Program, tiny: Night, desk: Path, command: str, page: str
) -> None:
    done = f2yaml(command, tiny.dark, "-o", f"nope/{page}", cwd=desk, check=False)
    refused(done, 1, f"nope/{page} cannot be written: No such file", "another folder with -o\n")
    assert "--outdir" not in done.stderr


def test_the_limit_on_the_size_of_files_is_not_a_full_disk(
    f2yaml: Program, tiny: Night, desk: Path
) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, MIB))

    words = ("run", "--inputs", *tiny.darks_5s, "-q")
    done = f2yaml(*words, cwd=desk, check=False, preexec_fn=limit)
    refused(done, 1, "cannot be written: the limit on the size of a file is reached", "ulimit -f")
    assert "no space" not in done.stderr


def test_a_full_disk_is_told_from_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from f2yaml.interpreter import fits

    def said(error: OSError) -> str:
        return str(fits.cannot_write(tmp_path / "x.fits", error, "-o"))

    full = "no space left on the device"
    free = "free some space, or choose another folder with -o"
    limit = "the limit on the size of a file is reached"
    short = OSError("262144 requested and 24160 written")  # as numpy has it, for any reason
    for error in (OSError(errno.ENOSPC, "No space left on device"), short):
        assert full in said(error)
        assert free in said(error)
    assert limit in said(OSError(errno.EFBIG, "File too large"))
    assert "for files of this user" in said(OSError(errno.EDQUOT, "Disk quota exceeded"))
    monkeypatch.setattr("resource.getrlimit", lambda which: (MIB, MIB))
    assert limit in said(short)
    free_bytes = namedtuple("Usage", "free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: free_bytes(MIB - 1))
    assert full in said(short)


def test_user_calibrations_that_are_none(f2yaml: Program, tiny: Night, desk: Path) -> None:
    def said(word: str) -> str:
        words = ("run", "--inputs", *tiny.science, "--user-cal", word)
        done = f2yaml(*words, cwd=desk, check=False)
        refused(done, 2)
        return done.stderr

    assert "--user-cal processed_dark: names no file" in said("processed_dark:")
    assert "--user-cal :x.fits has no type" in said(":x.fits")
    raw = tiny.darks_5s[0]
    told = said(f"processed_dark:{raw}")
    assert f"{raw} is no processed calibration; a processed_dark is wanted" in told
    assert "fix:  reduce raw frames first" in told


@pytest.mark.parametrize(
    ("content", "what", "fix"),
    [
        ("a.fits\n".encode("utf-16"), ": it seems to be UTF-16", "save it as UTF-8"),
        ("a.fits\nb.fits\n".encode("utf-16-le"), ": it seems to be UTF-16", "save it as UTF-8"),
        ("a.fits\nb.fits\n".encode("utf-16-be"), ": it seems to be UTF-16", "save it as UTF-8"),
        ("n\u00e4chte/a.fits\n".encode("latin-1"), ": it is text in another", "save it as UTF-8"),
        (b"\x1f\x8b\x08\x00\x9c\x91" * 99, "\n", "give x.list without the @"),
    ],
)
def test_a_list_in_another_encoding(
    f2yaml: Program, desk: Path, content: bytes, what: str, fix: str
) -> None:
    (desk / "x.list").write_bytes(content)
    done = f2yaml("run", "--inputs", "@x.list", cwd=desk, check=False)
    refused(done, 2, f"list x.list is not text in UTF-8{what}", f"fix:  {fix}\n")
    assert done.stderr.count("fix:") == 1


def test_an_empty_name_is_no_folder(f2yaml: Program, desk: Path) -> None:
    done = f2yaml("run", "--inputs", "", cwd=desk, check=False)
    refused(done, 2, "an empty name is given", "name a file, a pattern or @list")
    (desk / "x.list").write_text("''\n")
    done = f2yaml("run", "--inputs", "@x.list", cwd=desk, check=False)
    refused(done, 2, "x.list:1", "an empty name is given")


def test_a_recipe_beside_the_name_that_is_given(f2yaml: Program, tiny: Night, desk: Path) -> None:
    inputs = ("--inputs", *tiny.science, *tiny.user_cal)
    (desk / "mine.yaml").write_text("f2yaml: 1\n")
    done = f2yaml("plan", "mine", *inputs, cwd=desk, check=False)
    text = "no recipe is named `mine`", "fix:  ./mine.yaml is a file: give it with its ending"
    refused(done, 2, *text)
    (desk / "plain").write_text("f2yaml: 1\n")
    done = f2yaml("plan", "plain", *inputs, cwd=desk, check=False)
    refused(done, 2, "no recipe is named `plain`", "fix:  ./plain is a file: write it so")


@pytest.mark.parametrize("beside", ["ultradeep.yaml", "ultradeep"])
def test_a_file_of_the_name_of_a_shipped_recipe(
    f2yaml: Program, tiny: Night, desk: Path, beside: str
) -> None:
    inputs = ("--inputs", *tiny.science, *tiny.user_cal)
    (desk / beside).write_text("f2yaml: 1\n")
    note = f"note: `ultradeep` is the shipped recipe; for the file here write ./{beside}\n"
    done = f2yaml("plan", "ultradeep", *inputs, cwd=desk)
    assert done.stderr.count(note) == 1
    (desk / beside).rename(desk / "other")
    assert "note:" not in f2yaml("plan", "ultradeep", *inputs, cwd=desk).stderr


def test_values_without_end_are_refused(f2yaml: Program, tiny: Night, desk: Path) -> None:
    (desk / "mine.yaml").write_text(
        "f2yaml: 1\nname: mine\nparameters:\n  limit: {default: 3.0}\nsteps:\n"
        "  - {do: stackFrames, with: {hsigma: $limit}}\noutputs:\n  main: {suffix: _mine}\n"
    )
    words = ("plan", "mine.yaml", "--inputs", *tiny.science)
    done = f2yaml(*words, "--param", "limit=.inf", cwd=desk, check=False)
    refused(done, 2, "limit", "infinite")
