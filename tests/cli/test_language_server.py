"""The YAML language server of editors with our schemas: completion, help and diagnostics."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from f2yaml.interpreter.jsonschema import write_schemas
from f2yaml.schema.compose import shipped_root
from lsp import Server

pytestmark = pytest.mark.full

PACKAGE = "yaml-language-server@2.0.0"
HEAD = "f2yaml: 1\nname: mine\n"
DOCUMENTS = sorted(shipped_root().glob("**/*.yaml"))
CORPUS = Path(__file__).parent.parent / "corpus"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    home = tmp_path_factory.mktemp("server")
    options = ["--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(home)]
    done = subprocess.run(
        ["npm", "install", *options, PACKAGE], capture_output=True, text=True, timeout=300
    )
    if done.returncode != 0:
        pytest.skip(f"npm cannot install {PACKAGE}: {done.stderr.strip().splitlines()[-1:]}")
    program = home / "node_modules" / "yaml-language-server" / "bin" / "yaml-language-server"
    running = Server(program, home)
    yield running
    running.close()


@pytest.fixture
def edit(server: Server, tmp_path: Path) -> Any:
    """Open a recipe with the schema in its first line; return its path and diagnostics."""
    write_schemas(tmp_path / "schemas")
    numbers = count()

    def opened(text: str, kind: str = "recipe") -> tuple[Path, list[dict[str, Any]]]:
        path = tmp_path / f"mine{next(numbers)}.yaml"
        line = f"# yaml-language-server: $schema=schemas/{kind}.json\n"
        path.write_text(line + text)
        return path, server.problems(path, line + text)

    return opened


def completions(server: Server, path: Path, line: int, column: int) -> dict[str, str]:
    """Return what is offered at a place, with the documentation of each."""
    found = server.at("textDocument/completion", path, line, column)
    offered = found["items"] if isinstance(found, dict) else found
    docs = {item["label"]: item.get("documentation", "") for item in offered}
    return {k: v["value"] if isinstance(v, dict) else v for k, v in docs.items()}


def help_at(server: Server, path: Path, line: int, column: int) -> str:
    return str(server.at("textDocument/hover", path, line, column)["contents"]["value"])


def test_shipped_documents_have_no_diagnostics(server: Server) -> None:
    for path in DOCUMENTS:
        assert server.problems(path, path.read_text(encoding="utf-8")) == [], path


def test_completion_of_step_names(server: Server, edit: Any) -> None:
    path, _ = edit(HEAD + "steps:\n  - do: sky\n")
    offered = completions(server, path, 4, 11)
    assert {"skyCorrect", "stackFrames", "prepare"} <= set(offered)
    assert "`dilation` (default 2.0): growth of the object masks [pix]" in offered["skyCorrect"]


def test_completion_of_parameter_names_and_values(server: Server, edit: Any) -> None:
    path, _ = edit(HEAD + "steps:\n  - do: stackFrames\n    with:\n      \n")
    offered = completions(server, path, 6, 6)
    assert {"operation", "reject_method", "hsigma"} <= set(offered)
    assert "dilation" not in offered
    assert "rejection above the centre [sigma] (default 4.0)" in offered["hsigma"]
    path, _ = edit(HEAD + "steps:\n  - do: stackFrames\n    with:\n      operation: \n")
    assert {"mean", "median"} <= set(completions(server, path, 6, 17))


def test_completion_of_keys_and_words(server: Server, edit: Any) -> None:
    path, _ = edit(HEAD + "\n")
    assert {"steps", "outputs", "extends", "applies_to"} <= set(completions(server, path, 3, 0))
    path, _ = edit(HEAD + "applies_to:\n  all:\n    - tags: [F2, ]\n")
    assert {"IMAGE", "DARK"} <= set(completions(server, path, 5, 17))
    path, _ = edit("f2yaml: 1\nkind: config\ndefaults:\n  stackFrames:\n    \n", "config")
    assert "operation" in completions(server, path, 5, 4)


def test_help_on_steps_and_parameters(server: Server, edit: Any) -> None:
    path, _ = edit(HEAD + "steps:\n  - {do: stackFrames, with: {operation: median}}\n")
    assert "Combine all frames of the stream into one." in help_at(server, path, 4, 12)
    told = help_at(server, path, 4, 33)
    assert "how the surviving samples of a pixel become one value" in told
    assert "lmedian" in told


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("steps:\n  - {do: skyCorect}\n", 4, "Value is not accepted"),
        ("steps:\n  - {do: stackFrames, with: {hsigmaa: 3}}\n", 4, "Property hsigmaa is not all"),
        ("steps:\n  - {do: stackFrames, with: {hsigma: -1.0}}\n", 4, "below the minimum of 0"),
        ("steps:\n  - {do: stackFrames, with: {hsigma: '3'}}\n", 4, "Incorrect type"),
        ("steps:\n  - {do: selectFromInputs}\n", 4, 'Missing property "with"'),
        ("setps: []\n", 3, "Property setps is not allowed"),
        ("outputs: {main: {suffix: image}}\n", 3, "does not match the pattern"),
        ("applies_to: {all: [{tags: [IMGAE]}]}\n", 3, "Value is not accepted"),
        ("override: {stackFrames: {with: {operaton: mean}}}\n", 3, "Property operaton"),
    ],
)
def test_diagnostics(edit: Any, text: str, line: int, message: str) -> None:
    _, found = edit(HEAD + text)
    assert any(message in p["message"] and p["range"]["start"]["line"] == line for p in found), (
        found
    )


def test_values_that_are_references_and_steps_of_all_kinds_are_accepted(edit: Any) -> None:
    text = (
        "parameters: {grow: {default: 2.0, ge: 0, unit: pix}, go: {default: true}}\nsteps:\n"
        "  - {include: base/flat_corrected.yaml}\n  - {do: separateSky, to: [main, sky]}\n"
        "  - {do: skyCorrect, with: {dilation: $grow}, write: true}\n"
        "  - {require: count(main) > 2, because: three are needed}\n"
        "  - when: $go\n    steps:\n      - {do: detectSources, write: {suffix: _x}}\n"
    )
    assert edit(HEAD + text)[1] == []
