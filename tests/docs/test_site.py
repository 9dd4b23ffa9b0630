"""The documentation: every declaration has its entry, and the site builds without a warning."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from html.parser import HTMLParser
from pathlib import Path

import pytest
from f2yaml.interpreter import cli, dq, errors
from f2yaml.interpreter.allowing import CHECKS
from f2yaml.interpreter.association import RULES
from f2yaml.interpreter.f2.descriptors import DESCRIPTORS
from f2yaml.interpreter.f2.tags import ALL_TAGS
from f2yaml.interpreter.registry import AnyPrimitive, primitives
from f2yaml.schema.compose import shipped_everywhere, shipped_root

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pages() -> Mapping[str, str]:
    sys.path.insert(0, str(ROOT / ".ci"))
    try:
        made: Mapping[str, str] = importlib.import_module("docs_reference").pages()
    finally:
        sys.path.remove(str(ROOT / ".ci"))
    return made


def titles(pages: Mapping[str, str], name: str) -> list[str]:
    """Return the headings of a page, without their anchors."""
    found = re.findall(r"^##+ (.+?)(?: \{#.*\})?$", pages[f"reference/{name}.md"], re.M)
    return [str(title) for title in found]


def entries(pages: Mapping[str, str], name: str) -> set[str]:
    """Return what stands in the first column of the tables of a page."""
    return set(re.findall(r"^\| `([^`]+)` \|", pages[f"reference/{name}.md"], re.M))


def own() -> Iterable[AnyPrimitive]:
    return [primitive for primitive in primitives() if not primitive.package]


def test_every_primitive_has_its_parameters(pages: Mapping[str, str]) -> None:
    for primitive in own():
        name = f"primitives_{primitive.family}"
        assert titles(pages, name).count(primitive.name) == 1
        text = pages[f"reference/{name}.md"].partition(f"\n## {primitive.name} ")[2]
        text = text.partition("\n## ")[0]
        for parameter in primitive.params.model_fields:
            assert f"| `{parameter}` |" in text, f"{primitive.name}:{parameter}"
            assert parameter in entries(pages, "parameters")


def test_every_recipe_has_its_entry(pages: Mapping[str, str]) -> None:
    blocks = {f"base/{path.name}" for path in (shipped_root() / "base").glob("*.yaml")}
    assert {*shipped_everywhere(), *blocks} <= set(titles(pages, "recipes"))


def test_every_command_has_its_entry(pages: Mapping[str, str]) -> None:
    found = titles(pages, "commands")
    assert set(cli.COMMANDS) <= set(found)
    assert {f"caldb {action}" for action in ("init", "add", "list", "explain")} <= set(found)
    assert {"--resume", "--skip-bad"} <= entries(pages, "commands")


def test_every_tag_descriptor_bit_and_check_has_its_entry(pages: Mapping[str, str]) -> None:
    assert entries(pages, "tags") >= ALL_TAGS
    assert set(DESCRIPTORS) <= entries(pages, "descriptors")
    assert {str(bit) for bit in dq.MEANING} <= entries(pages, "dq")
    assert set(CHECKS) <= entries(pages, "calibrations")
    assert set(RULES) <= set(titles(pages, "calibrations"))


def test_every_error_and_exit_status_has_its_entry(pages: Mapping[str, str]) -> None:
    wanted = {
        name
        for name in errors.__all__
        if issubclass(getattr(errors, name), errors.F2Error) and name != "F2Error"
    }
    assert {*wanted, "0", "1", "2", "130"} <= entries(pages, "errors")


def commands(page: Path) -> Iterable[tuple[str, str]]:
    """Return the commands in the code of a page, each with the rest of its line."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^ *```.*?^ *```$", text, re.M | re.S)
    lines = [line.partition(" #")[0] for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"^ *```.*?^ *```$", "", text, flags=re.M | re.S))
    for line in lines:
        yield from re.findall(r"(?:^|\$ |\| |; do )f2yaml ([a-z]+)\b([^|;]*)", line)


def test_pages_name_only_commands_and_options_that_exist() -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    named = [(page.name, *words) for page in pages for words in commands(page)]
    assert len(named) > 50
    for page, command, rest in named:
        assert command in cli.COMMANDS, f"{page}: f2yaml {command}{rest}"
        for option in re.findall(r"(?<=\s)--[a-z][a-z-]*", rest):
            assert option in options(command), f"{page}: f2yaml {command}{rest}"


def options(command: str) -> set[str]:
    """Return the options of a command, those of its actions among them."""
    parsers = [cli.build_parser(command)]
    found: set[str] = set()
    while parsers:
        for action in parsers.pop()._actions:
            found.update(action.option_strings)
            if isinstance(action, argparse._SubParsersAction):
                parsers += [sub for name, sub in action.choices.items() if name not in cli.COMMANDS]
                parsers += [action.choices[command]] if command in action.choices else []
    return found


class Loads(HTMLParser):
    """Collects what a page makes the browser load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for key, value in attrs:
            link = key in ("src", "srcset", "poster", "data") or (key == "href" and tag != "a")
            if link and value:
                self.found.append(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("mkdocs", "material"):
        pytest.importorskip(package, reason="the site is built by `make docs`, with .[docs]")
    out = tmp_path_factory.mktemp("site")
    words = ["-m", "mkdocs", "build", "--strict", "-f", str(ROOT / ".ci/mkdocs.yml")]
    done = subprocess.run(
        [sys.executable, *words, "-d", str(out)],
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        cwd=out,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return out


def test_the_site_builds_strictly_and_loads_nothing_from_elsewhere(site: Path) -> None:
    built = sorted(site.rglob("*.html"))
    names = {str(path.relative_to(site)) for path in built}
    assert {"index.html", "tutorial.html", "changelog.html", "reference/commands.html"} <= names
    for path in built:
        page = Loads()
        page.feed(path.read_text(encoding="utf-8"))
        assert page.found, path
        elsewhere = [link for link in page.found if re.match(r"(https?:)?//", link)]
        assert not elsewhere, f"{path.name} loads {elsewhere}"
    for path in site.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", text), path
