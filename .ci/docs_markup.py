"""Pieces of Markdown: tables, headings with anchors, docstrings, types of a JSON Schema."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_CODE = re.compile(r"(`+)(.+?)\1", re.S)
_RULE = re.compile(r"^-{3,}$")


def plain(text: str) -> str:
    """Return text in which only code spans mean anything to Markdown."""
    parts, end = [], 0
    for found in _CODE.finditer(text):
        parts += [_escaped(text[end : found.start()]), f"`{found[2].strip()}`"]
        end = found.end()
    return "".join([*parts, _escaped(text[end:])])


def _escaped(text: str) -> str:
    return re.sub(r"([*_\[\]\\|])", r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;"))


def code(value: object) -> str:
    """Return a code span; nothing for nothing."""
    text = str(value).replace("|", "\\|")
    return f"`{text}`" if text else ""


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return the lines of a table, columns without any value left out."""
    body = [["" if cell is None else " ".join(str(cell).split()) for cell in row] for row in rows]
    used = [n for n in range(len(titles)) if any(row[n] for row in body)]
    if not used:
        return []
    lines = [[titles[n] for n in used], ["---"] * len(used), *([r[n] for n in used] for r in body)]
    return [*(f"| {' | '.join(cells)} |" for cells in lines), ""]


def heading(level: int, title: str, anchor: str = "") -> list[str]:
    """Return a heading, with an anchor of its own."""
    return [f"{'#' * level} {title}{f' {{#{anchor}}}' if anchor else ''}", ""]


def fence(text: str, kind: str = "text") -> list[str]:
    """Return a block of code."""
    return [f"```{kind}", text.rstrip("\n"), "```", ""]


def docstring(doc: str) -> list[str]:
    """Return a numpydoc docstring as Markdown, without its first line."""
    lines = doc.splitlines()[1:]
    made: list[str] = []
    title, part = "", []
    for number, line in enumerate(lines):
        if number + 1 < len(lines) and _RULE.match(lines[number + 1]) and line.strip():
            made += _section(title, part)
            title, part = line.strip(), []
        elif not (_RULE.match(line) and title and not part):
            part.append(line)
    return made + _section(title, part)


def _section(title: str, lines: Sequence[str]) -> list[str]:
    if title not in ("Parameters", "Returns", "Raises"):
        text = _paragraphs(lines)
        return ([f"**{title}**", ""] if title and text else []) + text
    entries: list[tuple[str, list[str]]] = []
    for line in lines:
        if line and not line.startswith(" "):
            entries.append((line, []))
        elif line.strip() and entries:
            entries[-1][1].append(line.strip())
    told = [(name, " ".join(text)) for name, text in entries if text or " : " not in name]
    told += [(name, "") for name, text in entries if not text and name.startswith("frame")]
    told = [(name, text) for name, text in told if not name.startswith("params")]
    if not told:
        return []
    kind = {"Parameters": "Takes", "Returns": "Returns", "Raises": "Refuses"}[title]
    items = [f"- {_name(name)}{f': {plain(text)}' if text else ''}" for name, text in told]
    return [f"**{kind}**", "", *items, ""]


def _name(entry: str) -> str:
    name, _, kind = entry.partition(" : ")
    if not kind:
        return code(name) if re.fullmatch(r"\w+", name) else plain(name)
    return f"{code(name)}, {plain(kind)}"


def _paragraphs(lines: Sequence[str]) -> list[str]:
    """Return prose; what is indented stands as it is, as formulas do."""
    return [line if line.startswith("    ") else plain(line) for line in _trimmed(lines)]


def _trimmed(lines: Sequence[str]) -> list[str]:
    text = "\n".join(lines).strip("\n")
    return [*text.split("\n"), ""] if text.strip() else []


def keys(schema: Mapping[str, Any], name: str) -> list[str]:
    """Return what a mapping of a document may hold: a table of the properties of a JSON Schema."""
    required = schema.get("required", ())
    rows = [
        (
            code(key),
            plain(kind(item)),
            "required" if key in required else _default(item),
            plain(_limits(item)),
            plain(item.get("description", "")),
        )
        for key, item in schema["properties"].items()
    ]
    return table((name, "type", "default", "limits", "meaning"), rows)


def _default(item: Mapping[str, Any]) -> str:
    import json

    value = item.get("default")
    return "" if value in (None, {}, [], "") else code(json.dumps(value))


def kind(item: Mapping[str, Any]) -> str:
    """Return the type that a JSON Schema asks for, in words."""
    if "$ref" in item:
        return str(item["$ref"]).rpartition("/")[2]
    if "const" in item:
        return f"`{item['const']}`"
    if "enum" in item:
        return " or ".join(f"`{value}`" for value in item["enum"])
    for key in ("anyOf", "oneOf"):
        if key in item:
            kinds = [kind(part) for part in item[key] if part.get("type") != "null"]
            return " or ".join(dict.fromkeys(kinds))
    if item.get("type") == "array":
        inside = kind(item["items"]) if "items" in item else ""
        return f"list of {inside}" if inside not in ("", "any") else "list"
    if item.get("type") == "object":
        more = item.get("additionalProperties", item.get("patternProperties"))
        inside = kind(more) if isinstance(more, Mapping) and "type" in more | {"$ref": 0} else ""
        return f"mapping of {inside}" if inside not in ("", "any", "0") else "mapping"
    words = {"string": "text", "integer": "whole number", "boolean": "true or false"}
    given = item.get("type", "any")
    return words.get(given, given)


def _limits(item: Mapping[str, Any]) -> str:
    signs = {
        "minimum": "≥ {:g}",
        "exclusiveMinimum": "> {:g}",
        "maximum": "≤ {:g}",
        "exclusiveMaximum": "< {:g}",
        "minItems": "at least {:g}",
        "maxItems": "at most {:g}",
        "maxLength": "at most {:g} characters",
    }
    parts = [item, *(part for key in ("anyOf", "oneOf") for part in item.get(key, ()))]
    return ", ".join(
        words.format(part[key]) for part in parts for key, words in signs.items() if key in part
    )
