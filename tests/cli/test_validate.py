"""``f2yaml validate`` from the shell: all shipped documents, without heavy imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from command_line import Program
from f2yaml.schema.compose import shipped_root

HEAVY = {"numba", "astropy", "sep", "scipy", "PIL", "rich", "sqlite3"}


def test_validate_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from f2yaml.interpreter.cli import main\n"
        "assert main(['validate', 'ultradeep', 'qa/reduce', sys.argv[1]]) == 0\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    rules = shipped_root() / "rules" / "f2_imaging.yaml"
    done = subprocess.run(
        [sys.executable, "-c", code, str(rules)], capture_output=True, text=True, check=True
    )
    imported = set(json.loads(done.stdout.splitlines()[-1].replace("'", '"')))
    assert "numpy" in imported
    assert not imported & HEAVY


def test_names_files_and_folders(f2yaml: Program, desk: Path) -> None:
    done = f2yaml("validate", "ultradeep", "qa/reduce", cwd=desk)
    assert done.stdout.splitlines() == ["ultradeep: no problems", "qa/reduce: no problems"]
    done = f2yaml("validate", "ultradep", ".", cwd=desk, check=False)
    assert done.returncode == 2
    assert "ultradep: no such file" in done.stdout
    assert ". is not a file" in done.stdout


def test_json_for_editors(f2yaml: Program, desk: Path) -> None:
    (desk / "mine.yaml").write_text("f2yaml: 1\nname: mine\nsteps:\n  - {do: prepar}\n")
    done = f2yaml("validate", "--format", "json", "mine.yaml", "reduce", cwd=desk, check=False)
    assert done.returncode == 2
    assert json.loads(done.stdout) == [
        {
            "file": "mine.yaml",
            "line": line,
            "column": column,
            "width": width,
            "document": "mine.yaml",
            "what": what,
            "why": why,
            "fix": fix,
            "also": [],
        }
        for line, column, width, what, why, fix in (
            (
                2,
                7,
                4,
                "the recipe writes nothing",
                "it has no `outputs`, and no step has `write`",
                "add `outputs: {main: {suffix: _image}}`, or `outputs: {}` if it only reports",
            ),
            (
                4,
                10,
                6,
                "there is no primitive `prepar`",
                "a step names a primitive of the registry",
                "did you mean `prepare`?",
            ),
        )
    ]
    done = f2yaml("validate", "--format", "json", "reduce", cwd=desk)
    assert json.loads(done.stdout) == []
