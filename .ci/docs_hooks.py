"""Hooks of MkDocs: pages that do not lie in docs/, and Markdown as GitHub takes it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docs_reference import pages
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = {"readme.md": "README.md", "changelog.md": "CHANGELOG.md"}

_STYLE = """
.md-grid { max-width: 80rem }
.md-typeset img { max-height: 36rem }
.md-typeset table:not([class]) :is(th, td) { min-width: 2rem }
.md-typeset td:nth-child(-n+2) code { white-space: nowrap }
"""
_FENCE = re.compile(r"^(\s*)```(\w+) (\S+\.\w+)$", re.M)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the generated pages under the entry of `nav` that waits for them."""
    families: list[Any] = []
    reference: list[Any] = []
    for path, text in pages().items():
        title = text.partition("\n")[0].lstrip("# ")
        family = title.removeprefix("Primitives: ")
        if family != title:
            families.append({family.capitalize(): path})
        elif title == "Primitives":
            reference.append({title: families})
            families.append(path)
        else:
            reference.append({title: path})
    for entry in config.nav or ():
        if "Reference" in entry:
            entry["Reference"] = reference
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the reference, README.md and CHANGELOG.md."""
    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    files.append(File.generated(config, "assets/f2yaml.css", content=_STYLE))
    worker = (ROOT / ".ci/iframe-worker.js").read_text(encoding="utf-8")
    files.append(File.generated(config, "assets/iframe-worker.js", content=worker))
    for path, source in OUTSIDE.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, path, content=text.replace("](docs/", "](")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at the pages as they lie here; turn names of code blocks into titles."""
    for path, source in OUTSIDE.items():
        markdown = markdown.replace(f"](../{source}", f"]({path}").replace(
            f"]({source}", f"]({path}"
        )
    return _FENCE.sub(r'\1```\2 title="\3"', markdown)
