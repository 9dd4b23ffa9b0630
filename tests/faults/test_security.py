"""What docs/security.md promises of documents, names and headers, tried out with the program.

The page names the tests of each promise; the last test here checks that they are there.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest
from astropy.io import fits
from command_line import Night, Program, cards, edited, names, refused
from f2yaml.interpreter.checking import problems_in
from faults.fuzzing import command

ROOT = Path(__file__).parents[2]
SECRET = "the secret of another folder"
RECIPE = "f2yaml: 1\nname: mine\n{}outputs: {{main: {{suffix: _mine}}}}\n"
#: Code in the notation of one program or another; if one of them were run, a file `done` is there.
CODE = (
    "__import__('os').system('touch done')",
    "!!python/object/apply:os.system ['touch done']",
    "!!python/name:os.system",
    "{{ cycler.__init__.__globals__.os.system('touch done') }}",
    "$(touch done)",
    "`touch done`",
    "${HOME}",
    "exec(open('x.py').read())",
    "().__class__.__base__.__subclasses__()",
)


@pytest.fixture
def outside(tmp_path: Path, desk: Path) -> Path:
    """A recipe outside of the working folder, with a secret in it."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret.yaml").write_text(f"f2yaml: 1\nname: secret\ndoc: {SECRET}\n{SECRET}\n")
    return folder


# code ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("code", CODE)
def test_no_text_is_run(
    tiny: Night, desk: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """In every place of a document, of an expression, of an option and of a header."""
    monkeypatch.chdir(desk)
    quoted = code.replace('"', "'")
    good = tiny.darks_5s[0]
    steps = {
        "bare": f"steps: [{{do: prepare, with: {{bad_wcs: {code}}}}}]\n",
        "value": f'steps: [{{do: prepare, with: {{bad_wcs: "{quoted}"}}}}]\n',
        "when": f'steps: [{{when: "{quoted}", steps: [{{do: prepare}}]}}]\n',
        "require": f'steps: [{{require: "{quoted}", because: x}}, {{do: prepare}}]\n',
        "expr": f'applies_to: {{all: [{{expr: "{quoted}"}}]}}\nsteps: [{{do: prepare}}]\n',
        "step": f'steps: [{{do: "{quoted}"}}]\n',
        "doc": f'doc: "{quoted}"\nsteps: [{{do: prepare, with: {{bad: 1}}}}]\n',
    }
    for name, text in steps.items():
        (desk / f"{name}.yaml").write_text(RECIPE.format(text))
    assert command("validate", *(f"{n}.yaml" for n in steps))[0] == 2
    for words in (
        ("dataselect", good, "--expr", code),
        ("run", "--inputs", good, "-p", f"stackDarks:lsigma={code}"),
        ("run", "--inputs", good, "--param", f"x={code}"),
        ("showd", "-d", code, good),
        ("plan", code, "--inputs", good),
    ):
        assert command(*words)[0] in (1, 2), words
    edited(good, desk / "d.fits", cards({"OBJECT": quoted[:30], "ORIGNAME": quoted[:30]}))
    assert command("plan", "--inputs", "d.fits", *tiny.darks_5s[1:])[0] == 0
    assert "done" not in names(desk)


# files --------------------------------------------------------------------------------------------
def test_includes_stay_beside_the_recipe(
    desk: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By steps up, by an absolute path, by a link to a file or to a folder; and when extended."""
    monkeypatch.chdir(desk)
    secret = outside / "secret.yaml"
    (desk / "link.yaml").symlink_to(secret)
    (desk / "linked").symlink_to(outside)
    (desk / "parts").mkdir()
    refs = (
        "../outside/secret.yaml",
        str(secret),
        "link.yaml",
        "linked/secret.yaml",
        "parts/../../outside/secret.yaml",
        "~/secret.yaml",
        "/etc/passwd",
        "../../../../../../../../etc/passwd",
    )
    for ref in refs:
        for text in (f"steps: [{{include: {ref}}}]\n", f"extends: {ref}\n"):
            (desk / "mine.yaml").write_text(RECIPE.format(text))
            status, out, said = command("validate", "mine.yaml")
            assert status == 2
            told = out + said
            wanted = "no file `" if ref.startswith("~") else "leaves the folder of the recipe"
            assert wanted in told, told
            assert SECRET not in told
            assert "root:" not in told


def test_products_stay_in_the_output_folder(f2yaml: Program, tiny: Night, desk: Path) -> None:
    """Neither a suffix nor a header moves them; what lies there under their name may be a link."""
    for suffix in ("../x", "_/../../x", "_x/../../../x", "/tmp/x", "_\0"):
        for text in (
            f'steps: [{{do: prepare}}]\noutputs: {{main: {{suffix: "{suffix}"}}}}\n',
            f'steps: [{{do: prepare, write: {{suffix: "{suffix}"}}}}]\noutputs: {{}}\n',
        ):
            (desk / "mine.yaml").write_text(f"f2yaml: 1\nname: mine\n{text}")
            assert problems_in(desk / "mine.yaml"), suffix
    (desk / "mine.yaml").unlink()
    evil = {"ORIGNAME": "../../evil.fits", "OBJECT": "../../evil", "DATALAB": "../evil"}
    edited(tiny.darks_5s[0], desk / "d.fits", cards(evil))
    other = desk.parent / "other"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    (desk / "out").mkdir()
    (desk / "out" / "d_dark.fits").symlink_to(other / "mine.txt")
    words = ("--inputs", "d.fits", *tiny.darks_5s[1:], "--outdir", "out")
    f2yaml("run", *words, cwd=desk)
    assert (other / "mine.txt").read_text() == "mine"  # the link was replaced, not followed
    assert names(other) == ["mine.txt"]
    assert fits.getheader(desk / "out" / "d_dark.fits")["PROCDARK"]
    assert sorted(p.name for p in desk.parent.iterdir()) == ["desk", "other"]


def test_lists_of_rules_stay_in_the_output_folder(f2yaml: Program, tiny: Night, desk: Path) -> None:
    """A value of a header that becomes part of a name loses what could make it a path."""
    (desk / "rules.yaml").write_text(
        "f2yaml: 1\nkind: rules\nname: mine\nsets:\n"
        '  all: {tags: [DARK], group_by: [object], output: "{object}.list"}\n'
    )
    (desk / "raw").mkdir()
    edited(tiny.darks_5s[0], desk / "raw" / "d.fits", cards({"OBJECT": "../../../evil"}))
    done = f2yaml("dataselect", "--rules", "rules.yaml", "raw", cwd=desk, check=False)
    assert done.returncode == 0, done.stderr
    made = [p.relative_to(desk.parent) for p in desk.parent.rglob("*.list")]
    assert len(made) == 1
    assert made[0].parent == Path("desk")


# bounds -------------------------------------------------------------------------------------------
BIG = {
    "brackets": "a: " + "[" * 100_000,
    "braces": "a: " + "{a: " * 50_000,
    "dashes": "- " * 100_000 + "x",
    "many aliases": "a: &a [x, x]\n" + "".join(f"b{n}: [*a, *a]\n" for n in range(9000)),
    "aliases of aliases": "a: &a0 [x]\n"
    + "".join(f"b{n}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(30)),
    "digits": "a: " + "9" * 500_000,
    "escapes": 'a: "' + "\\x41" * 200_000 + '"',
    "comment": "#" * 2_000_000,
    "items": "a:\n" + "  - x\n" * 150_000,
    "word": "x" * 900_000,
}


def test_a_document_takes_bounded_time_and_memory(f2yaml: Program, desk: Path) -> None:
    """All of them in one process that may have 2 GB of addresses."""
    for name, text in BIG.items():
        (desk / f"{name}.yaml").write_text(text)
    began = time.monotonic()
    done = f2yaml.shell("ulimit -v 2000000; exec f2yaml validate *.yaml", desk)
    assert done.returncode == 2, done.stderr
    told = done.stdout + done.stderr
    assert all(f"{name}.yaml" in told for name in BIG), told[-3000:]
    assert "no memory left" not in told
    assert "Traceback" not in told
    assert time.monotonic() - began < 200


def test_steps_that_include_each_other_many_times(desk: Path) -> None:
    """10^8 steps in eight short files."""
    for n in range(8):
        inner = f"{{include: r{n + 1}.yaml}}" if n < 7 else "{do: prepare}"
        text = f"steps: [{', '.join([inner] * 10)}]\n"
        (desk / f"r{n}.yaml").write_text(RECIPE.format(text))
    began = time.monotonic()
    assert "the recipe has more than 2000 steps" in [p.what for p in problems_in(desk / "r0.yaml")]
    assert time.monotonic() - began < 60


# terminals ----------------------------------------------------------------------------------------
def test_a_document_steers_no_terminal(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control characters are refused in documents, as escapes too, and shown as signs."""
    monkeypatch.chdir(desk)
    evil = "\x1b]0;evil\x07\x1b[2J"
    (desk / "raw.yaml").write_text(RECIPE.format(f"doc: {evil}\nsteps: [{{do: prepare}}]\n"))
    escaped = r'doc: "\e]0;evil\a"' + '\nsteps: [{do: "\\e[2Jx"}]\n'
    (desk / "escaped.yaml").write_text(RECIPE.format(escaped))
    odd = f"{evil}.yaml"
    (desk / odd).write_text("x")
    for words in (
        ("validate", "raw.yaml", "escaped.yaml", odd),
        ("show", odd),
        ("run", odd, "--inputs", f"{evil}.fits"),
        ("dataselect", f"@{evil}", f"{evil}.fits", "--tags", evil),
        ("caldb", "list", "-d", evil),
        (evil,),
    ):
        status, out, said = command(*words)
        assert status in (1, 2), words
        assert "\x1b" not in out + said, (words, out, said)
        assert "\x07" not in out + said, (words, out, said)


def test_a_request_stays_a_request(f2yaml: Program, tiny: Night, desk: Path) -> None:
    """A list cannot bring options."""
    (desk / "a.list").write_text(f"{tiny.darks_5s[0]}\n--outdir\n{desk.parent}\n")
    done = f2yaml("run", "--inputs", "@a.list", cwd=desk, check=False)
    refused(done, 2, "`--outdir` is an option")


# the page -----------------------------------------------------------------------------------------
def test_the_page_names_tests_that_are_there() -> None:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    cited = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page)
    assert len(cited) >= 20
    for file, test in cited:
        content = (ROOT / file).read_text(encoding="utf-8")
        assert not test or f"def {test}(" in content, f"{file}::{test}"


def test_the_page_has_the_limits_of_the_program() -> None:
    from f2yaml.interpreter import fits as files
    from f2yaml.interpreter import headerio, inputs, patterns
    from f2yaml.schema import expr_parser, flatten, reading, scenario, source

    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8").replace(" ", "")
    assert files._MAX_PIXELS == 2**28
    assert headerio._MAX_UNPACKED == 2**31
    for number in (
        reading.MAX_BYTES,
        source.MAX_NODES,
        source.MAX_DEPTH,
        source._MAX_DIGITS,
        flatten.MAX_NESTING,
        flatten.MAX_STEPS,
        expr_parser.MAX_LENGTH,
        expr_parser.MAX_DEPTH,
        scenario._MAX_FRAMES,
        inputs._MAX_LIST_BYTES >> 20,
        inputs._MAX_NESTING,
        inputs._MAX_LISTS,
        patterns.MOST_NAMES,
        headerio._MAX_BLOCKS * headerio.BLOCK // headerio._CARD,
        headerio._MAX_EXTENSIONS,
    ):
        assert f"|{number}|" in page, number
    assert os.sep == "/"  # all of this is about POSIX paths
