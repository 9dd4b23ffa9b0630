"""Patterns stand for what the shell would find, and do not wander through the whole machine."""

from __future__ import annotations

import glob
from pathlib import Path

import pytest
from f2yaml.interpreter import patterns
from f2yaml.interpreter.inputs import expand
from f2yaml.interpreter.patterns import Search, TooFar
from f2yaml.schema.problems import RequestError

NAMES = (
    "a.fits", "b.fits", "b[1].fits", ".hidden.fits", "n1/a.fits", "n1/raw/c.fits",
    "n2/raw/c.fits", "n2/raw/d.list", ".git/c.fits", "n1/.x/c.fits",
)  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    top = tmp_path / "desk"
    for name in NAMES:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).touch()
    (top / "link").symlink_to("n1", target_is_directory=True)
    (top / "lost").symlink_to("nowhere")
    monkeypatch.chdir(top)
    return top


@pytest.mark.parametrize("anchored", [False, True])
@pytest.mark.parametrize(
    "pattern",
    [
        "*", "*.fits", "?.fits", "[!a]*", "*/a.fits", "*/raw/*.fits", "n[12]/*/c.*", ".*", ".*/*",
        "../desk/*.fits", "n1/../*.fits", "link/*", "l*", "nothing*", "*/nothing", "a.fits/*",
        "b[[]1].fits", "[a", "n1/raw/**", "**/*.fits", "**/raw/*", "n1/**/c.fits", "**/**/d.list",
    ],
)  # fmt: skip
def test_what_the_standard_library_finds(tree: Path, pattern: str, anchored: bool) -> None:
    wanted = tree / pattern if anchored else Path(pattern)
    found = Search().matching(wanted)
    there = glob.glob(str(wanted), recursive=True)  # noqa: PTH207
    if "**" in pattern:  # that of the library follows links
        there = [path for path in there if "link/" not in path]
    assert found == sorted({Path(path) for path in there}, key=lambda path: f"{path}")


def test_links_to_folders_above_are_no_way_down(tree: Path) -> None:
    (tree / "n1" / "up").symlink_to("..", target_is_directory=True)
    assert Search().matching(Path("**/d.list")) == [Path("n2/raw/d.list")]


def test_all_patterns_together_look_at_a_limited_number_of_names(tree: Path) -> None:
    search = Search(most=2 * len([*tree.iterdir()]))
    search.matching(Path("*.fits"))
    search.matching(Path("*.fits"))
    with pytest.raises(TooFar):
        search.matching(Path("*.fits"))


def test_a_pattern_that_looks_too_far_is_told(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns.Search.__init__, "__defaults__", (10,))
    Path("sci.list").write_text("**/*.fits\nb.fits\n")
    with pytest.raises(RequestError) as caught:
        expand(["@sci.list", "nobody.fits"])
    first, second = caught.value.problems
    assert first.what == "**/*.fits looks too far"
    assert "10 names" in first.why
    assert first.where == "sci.list:1"
    assert second.what == "nobody.fits does not exist"


def test_links_that_may_not_be_read_are_names_like_others() -> None:
    """As /proc has them: reading the file is what fails, in words."""
    try:
        Path("/proc/1/cwd").readlink()
    except PermissionError:
        assert expand(["/proc/1/cw[d]"]) == [Path("/proc/1/cwd")]
    except OSError:
        pytest.skip("there is no /proc here")
    else:
        pytest.skip("this user may read the links of /proc/1")
