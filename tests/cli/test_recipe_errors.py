"""Faulty recipes and parameters: file, line, column and caret of each, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Done, Night, Program, names, refused

HEAD = "f2yaml: 1\nname: test\n"
PREPARE = "steps:\n  - {do: prepare}\n"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join(['*' + before] * 10)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)
FAULTS: dict[str, tuple[str | bytes, list[str]]] = {
    "repeated": (f"{HEAD}name: other\n{PREPARE}", ["repeated.yaml:3:1: key `name` is repeated"]),
    "bomb": (f"{HEAD}{BOMB}{PREPARE}", ["the document has more than 10000 values"]),
    "tab": (f"{HEAD}steps:\n\t- {{do: prepare}}\n", ["tab.yaml:4:1: a tab stands here"]),
    "utf16": (f"{HEAD}{PREPARE}".encode("utf-16"), ["utf16.yaml is encoded as UTF-16"]),
    "latin": (
        f"{HEAD}# caf\xe9\n{PREPARE}".encode("latin-1"),
        ["latin.yaml:3:6: byte 0xe9 is not UTF-8"],
    ),
    "syntax": (f"{HEAD}steps: [\n", ["syntax.yaml:4:1: not YAML: expected the node content"]),
    "empty": ("", ["empty.yaml:1:1: the document is empty"]),
    "binary": (bytes(range(256)), ["is not UTF-8"]),
    "python": (
        f"{HEAD}steps:\n  - !!python/object/apply:os.system ['touch pwned']\n",
        ["python.yaml:4:5: tag `!!python/object/apply:os.system` is not allowed"],
    ),
    "code": (
        f"{HEAD}{PREPARE}  - require: __import__('os').system('touch pwned')\n    because: no\n",
        ["code.yaml:5:14: `__import__` cannot be called"],
    ),
    "step": (
        f"{HEAD}steps:\n  - {{do: preparre}}\n",
        [
            "step.yaml:4:10: there is no primitive `preparre`\n"
            "    4 |   - {do: preparre}\n"
            "      |          ^^^^^^^^\n",
            "did you mean `prepare`?",
        ],
    ),
    "parameter": (
        f"{HEAD}{PREPARE}  - do: skyCorrect\n    with: {{hsigmaa: 2.5}}\n",
        [
            "parameter.yaml:6:12: skyCorrect has no parameter `hsigmaa`\n"
            "    6 |     with: {hsigmaa: 2.5}\n"
            "      |            ^^^^^^^\n"
            "  why:  unknown names are refused, so that a typo cannot change the science "
            "unnoticed\n"
            "  fix:  did you mean `hsigma`? (`f2yaml show skyCorrect` lists all ",
        ],
    ),
    "type": (
        f"{HEAD}steps:\n  - {{do: addDQ, with: {{add_illum_mask: yes}}}}\n",
        ["type.yaml:4:40: `add_illum_mask` of addDQ is text `yes`"],
    ),
    "bounds": (
        f"{HEAD}steps:\n  - {{do: stackFrames, with: {{nlow: 1.5, lsigma: -2}}}}\n",
        [
            "bounds.yaml:4:36: `nlow` of",
            "bounds.yaml:4:49: `lsigma` of stackFrames is the number -2",
        ],
    ),
    "stream": (
        f"{HEAD}{PREPARE}  - {{do: addDQ, from: mian}}\n",
        ["stream.yaml:5:10: addDQ reads the stream `mian`, which has not", "did you mean `main`?"],
    ),
    "cleared": (
        f"{HEAD}steps:\n  - {{do: copyInputs, to: a}}\n  - {{do: clearStream, from: a}}\n"
        "  - {do: prepare, from: a}\n",
        ["cleared.yaml:6:10: prepare reads the stream `a`, which was cleared"],
    ),
    "output": (
        f"{HEAD}{PREPARE}outputs:\n  deep: {{suffix: _image}}\n",
        ["output.yaml:6:3: outputs name the stream `deep`, which no step leaves filled"],
    ),
    "cycle": (
        f"{HEAD}steps:\n  - {{include: round.yaml}}\n",
        ["round.yaml:4:15: `cycle.yaml` leads back to itself", "cycle.yaml -> round.yaml -> cycle"],
    ),
    "missing": (
        f"{HEAD}steps:\n  - {{include: none.yaml}}\n",
        ["missing.yaml:4:15: no file `none.yaml`"],
    ),
    "outside": (
        f"{HEAD}steps:\n  - {{include: /etc/passwd}}\n",
        ["outside.yaml:4:15: `/etc/passwd` leaves the folder of the recipe"],
    ),
    "suffix": (
        f"{HEAD}{PREPARE}outputs:\n  main: {{suffix: ../../image}}\n",
        ["suffix.yaml:6:18: `suffix` is text `../../image`", "as in `_image`"],
    ),
    "key": (f"{HEAD}stepps: []\n{PREPARE}", ["key.yaml:3:1: unknown key `stepps`"]),
    "version": (f"f2yaml: 2\n{PREPARE}", ["version.yaml:1:9: version 2 of the document format"]),
}


@pytest.fixture(scope="module")
def faulty(f2yaml: Program, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """All faulty recipes, and what one ``f2yaml validate`` says of them."""
    folder = tmp_path_factory.mktemp("faulty")
    for name, (content, _) in FAULTS.items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / f"{name}.yaml").write_bytes(data)
    (folder / "round.yaml").write_text(f"{HEAD}steps:\n  - {{include: cycle.yaml}}\n")
    files = [f"{name}.yaml" for name in FAULTS]
    done = f2yaml("validate", *files, "none.yaml", cwd=folder, check=False)
    return folder, done


@pytest.mark.parametrize("name", FAULTS)
def test_faulty_recipes(faulty: tuple[Path, Done], name: str) -> None:
    folder, done = faulty
    assert done.returncode == 2
    for text in FAULTS[name][1]:
        assert text in done.stdout
    assert not (folder / "pwned").exists()


def test_validate_has_something_to_say_of_each_file(faulty: tuple[Path, Done]) -> None:
    _, done = faulty
    assert "no problems" not in done.stdout
    assert "none.yaml: no such file" in done.stdout
    assert done.stdout.count("  fix:  ") > len(FAULTS)
    assert done.stderr == ""


def test_a_faulty_recipe_is_refused_before_the_first_pixel(
    f2yaml: Program, tiny: Night, faulty: tuple[Path, Done], desk: Path
) -> None:
    recipe = faulty[0] / "parameter.yaml"
    done = f2yaml("run", recipe, "--inputs", *tiny.science, cwd=desk, check=False)
    refused(done, 2, "parameter.yaml:6:12: skyCorrect has no parameter `hsigmaa`", "^^^^^^^")
    done = f2yaml("run", "ultradep", "--inputs", *tiny.science, cwd=desk, check=False)
    refused(done, 2, "no recipe is named `ultradep`", "did you mean `ultradeep`?")
    assert names(desk) == []


def test_every_bad_parameter_at_once(f2yaml: Program, tiny: Night, desk: Path) -> None:
    settings = (
        "skyCorect:dilation=3",
        "skyCorrect:dilaton=3",
        "stackFrames:lsigma=-1",
        "stackFrames:operation=meen",
        "stackFrames:nlow=1.5",
        "nowhere=3",
    )
    words = [word for setting in settings for word in ("-p", setting)]
    words += ["--param", "dilatoin=3", "--param", "time=-1", "--param", "min_skies=many"]
    done = f2yaml("run", "ultradeep", "--inputs", *tiny.science, *words, cwd=desk, check=False)
    refused(
        done,
        2,
        "-p skyCorect:dilation=3: recipe ultradeep has no step `skyCorect`",
        "did you mean `skyCorrect`?",
        "-p skyCorrect:dilaton=3: skyCorrect has no parameter `dilaton`",
        "did you mean `dilation`?",
        "-p stackFrames:lsigma=-1: `lsigma` of stackFrames is the number -1\n"
        "  why:  it has to be at least 0",
        "-p stackFrames:operation=meen: `operation` of stackFrames is text `meen`",
        "-p stackFrames:nlow=1.5: `nlow` of stackFrames is the number 1.5",
        "-p nowhere=3: no step of the recipe has a parameter `nowhere`",
        "--param dilatoin=3: recipe ultradeep has no parameter `dilatoin`",
        "--param time=-1: `time` is the number -1.0\n  why:  it has to be greater than 0",
        "--param min_skies=many: `min_skies` is text `many`",
    )
