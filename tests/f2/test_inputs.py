"""Expansion of names, patterns and lists into files."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from f2yaml.interpreter.inputs import expand, split_line
from f2yaml.schema.problems import Problem, RequestError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with files a.fits, b.fits, c d.fits, raw/e.fits, raw/f.fits."""
    (tmp_path / "raw").mkdir()
    for name in ("b.fits", "a.fits", "c d.fits", "raw/f.fits", "raw/e.fits"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(words: list[str], **options: object) -> list[str]:
    return [str(path) for path in expand(words, **options)]  # type: ignore[arg-type]


def faults(words: list[str], **options: object) -> list[str]:
    with pytest.raises(RequestError) as caught:
        expand(words, **options)  # type: ignore[arg-type]
    return [problem.what for problem in caught.value.problems]


def test_order_is_kept_and_patterns_are_sorted(folder: Path) -> None:
    assert names(["b.fits", "raw/*.fits", "a.fits"]) == [
        "b.fits",
        "raw/e.fits",
        "raw/f.fits",
        "a.fits",
    ]
    assert names(["**/[ef].fits"]) == ["raw/e.fits", "raw/f.fits"]


def test_lists_with_comments_blanks_quotes_and_nesting(folder: Path) -> None:
    (folder / "raw" / "more.lis").write_text("# nested\nf.fits\n")
    (folder / "all.lis").write_text(
        "# darks\n\na.fits   # first\nb.fits raw/e.fits\nc d.fits\n@raw/more.lis\n"
    )
    assert names(["@all.lis"]) == ["a.fits", "b.fits", "raw/e.fits", "c d.fits", "raw/f.fits"]
    (folder / "quoted.lis").write_text("\ufeff'c d.fits' a.fits\n", encoding="utf-8")
    assert names(["@quoted.lis"]) == ["c d.fits", "a.fits"]


def test_nested_lists_are_looked_for_beside_the_list_first(folder: Path) -> None:
    (folder / "inner.lis").write_text("a.fits\n")
    (folder / "raw" / "inner.lis").write_text("b.fits\n")
    (folder / "raw" / "outer.lis").write_text("@inner.lis\n")
    assert names(["@raw/outer.lis"]) == ["b.fits"]


def test_comments_begin_at_words_only() -> None:
    assert split_line("f.fits#x g.fits #h.fits") == ["f.fits#x", "g.fits"]
    with pytest.raises(ValueError, match="quotation"):
        split_line("'a b")


def test_a_list_that_includes_itself_is_named_with_the_chain(folder: Path) -> None:
    (folder / "one.lis").write_text("a.fits\n@two.lis\n")
    (folder / "two.lis").write_text("@one.lis\n")
    with pytest.raises(RequestError, match=r"one.lis -> two.lis -> one.lis") as caught:
        expand(["@one.lis"])
    assert "includes itself" in caught.value.problems[0].what


def test_a_file_named_twice_is_named(folder: Path) -> None:
    (folder / "all.lis").write_text("b.fits\n./a.fits\n")
    assert faults(["a.fits", "@all.lis"]) == ["a.fits is named twice"]
    with pytest.raises(RequestError, match=r"on the command line and in all.lis:2"):
        expand(["a.fits", "@all.lis"])
    assert names(["a.fits", "a.fits"], duplicates=True) == ["a.fits", "a.fits"]


def test_every_missing_thing_is_reported_at_once(folder: Path) -> None:
    (folder / "all.lis").write_text("x.fits\n")
    assert faults(["y.fits", "@all.lis", "*.xyz", "@none.lis", "raw", "a.fits"]) == [
        "y.fits does not exist",
        "x.fits does not exist",
        "no file matches *.xyz",
        "list none.lis does not exist",
        "raw is a folder",
    ]


def test_problems_can_be_collected(folder: Path) -> None:
    problems: list[Problem] = []
    assert names(["x.fits", "a.fits"], problems=problems) == ["a.fits"]
    assert [problem.what for problem in problems] == ["x.fits does not exist"]


@pytest.mark.parametrize("content", [b"", b"# only a comment\n\n", b"\n"])
def test_empty_lists_are_refused(folder: Path, content: bytes) -> None:
    (folder / "empty.lis").write_bytes(content)
    assert faults(["@empty.lis"]) == ["list empty.lis is empty"]


def test_no_words_at_all() -> None:
    assert faults([]) == ["no input files"]


def test_a_fits_file_is_no_list(folder: Path) -> None:
    (folder / "a.fits").write_bytes(b"SIMPLE".ljust(5760) + b"\xff\xfe\x80")
    assert faults(["@a.fits"]) == ["list a.fits is not text in UTF-8"]
    assert faults(["@raw"]) == ["list raw is no regular file"]


def test_options_do_not_hide_in_lists(folder: Path) -> None:
    (folder / "all.lis").write_text("a.fits\n-p\n")
    with pytest.raises(RequestError, match=r"all.lis:2\n  what: `-p` is an option"):
        expand(["@all.lis"])


def test_standard_input_is_a_list(folder: Path) -> None:
    text = "# Includes tags: ['DARK']\na.fits\n\nb.fits\n"
    assert names(["-"], stdin=io.StringIO(text)) == ["a.fits", "b.fits"]
    assert faults(["-"], stdin=io.StringIO("")) == ["list standard input is empty"]
    assert faults(["-"]) == ["`-` is not possible here"]


def test_names_that_no_file_system_takes(folder: Path) -> None:
    assert faults(["x" * 5000]) == ["x" * 5000 + " does not exist"]
    assert faults(["a\0b"]) == ["a\0b does not exist"]


def test_a_name_with_pattern_characters_is_a_name_if_it_exists(folder: Path) -> None:
    (folder / "x[1].fits").touch()
    assert names(["x[1].fits"]) == ["x[1].fits"]
