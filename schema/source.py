"""YAML text -> plain values and the place of each.

Scalars are resolved here, as the core schema of YAML 1.2 says, so that ``on`` is text, ``12:30:45``
is text, ``1e3`` is a number and ``010`` is ten. What has two readings, or hides what a document
says, is refused: repeated keys, merge keys, tags, several documents, tabs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from f2yaml.schema.problems import Place, Problem, RecipeError
from f2yaml.schema.reading import Lines, read_text
from f2yaml.schema.text import printable
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

MAX_NODES = 10_000
MAX_DEPTH = 60
_MAX_DIGITS = 40

KeyPath = tuple[str | int, ...]

_INT = re.compile(r"[-+]?[0-9]+", re.ASCII)
_OCTAL = re.compile(r"0o[0-7]+", re.ASCII)
_HEX = re.compile(r"0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_INF = re.compile(r"[-+]?\.(inf|Inf|INF)")
_WORDS: dict[str, bool | None] = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


def scalar(text: str) -> str | int | float | bool | None:
    """Return the value of an unquoted scalar, by the core schema of YAML 1.2.

    Raises
    ------
    ValueError
        A number with more than 40 digits, or too large for a float.
    """
    if text in _WORDS:
        return _WORDS[text]
    number = _FLOAT.fullmatch(text) or _OCTAL.fullmatch(text) or _HEX.fullmatch(text)
    if number is not None:
        if len(text) > _MAX_DIGITS:
            raise ValueError(f"has more than {_MAX_DIGITS} digits")
        if _INT.fullmatch(text):
            return int(text)
        if text.startswith(("0o", "0x")):
            return int(text, 0)
        value = float(text)
        if value in (float("inf"), float("-inf")):
            raise ValueError("is too large")
        return value
    if _INF.fullmatch(text):
        return float("-inf") if text.startswith("-") else float("inf")
    return float("nan") if text in (".nan", ".NaN", ".NAN") else text


@dataclass(frozen=True, slots=True)
class Source:
    """A document as plain values, with the place of each.

    Parameters
    ----------
    name : str
        The document as messages call it.
    value : object
        Dicts, lists, str, int, float, bool and None.
    path : pathlib.Path or None
        File that was read.
    problems : tuple of Problem
        Faults that do not hide the rest of the document, when `load` was told to keep going.
    """

    name: str
    value: Any
    path: Path | None = None
    problems: tuple[Problem, ...] = ()
    _places: dict[KeyPath, tuple[Place, Place]] = field(default_factory=dict, repr=False)

    def place(self, path: KeyPath, *, key: bool = False) -> Place:
        """Return where a value stands.

        Parameters
        ----------
        path : tuple of str and int
            Keys and indices from the top. What does not exist is taken for its nearest ancestor.
        key : bool
            Give the place of the key in front of the value.
        """
        at = tuple(path)
        while at and at not in self._places:
            at, key = at[:-1], False
        if at not in self._places:
            return Place(self.name, 1, 1)
        return self._places[at][0 if key else 1]


def load(
    path: Path | str,
    text: str | None = None,
    name: str | None = None,
    *,
    keep_going: bool = False,
) -> Source:
    """Read a YAML document.

    Parameters
    ----------
    path : path
        File to read.
    text : str, optional
        The document itself; the file is not opened then.
    name : str, optional
        What messages call the document; by default the path.
    keep_going : bool
        Give faults such as repeated keys to the caller, in `Source.problems`, instead of raising.

    Raises
    ------
    RecipeError
        The file cannot be read, or is not a document that f2yaml accepts. All faults are listed,
        except that reading stops at the first fault of YAML's syntax.
    """
    file = Path(path)
    name = printable(str(path) if name is None else name, 500)
    if text is None:
        text = read_text(file, name)
    elif text.startswith("\ufeff"):
        text = text[1:]
    lines = Lines(name, text)
    lines.check()
    builder = _Builder(lines)
    value = builder.build()
    problems = tuple(dict.fromkeys(builder.problems))
    if problems and not keep_going:
        raise RecipeError(problems=problems)
    return Source(name, value, file, problems, builder.places)


_PLAIN_WORDS = (  # of the YAML library's messages
    ("'<stream end>'", "the end of the file"),
    ("end of stream", "end of the file"),
    ("'<block mapping start>'", "a key"),
    ("<block end>", "the next key"),
)


@dataclass(slots=True)
class _Node:
    kind: type[NodeEvent]
    start: tuple[int, int]
    end: tuple[int, int]
    text: str = ""
    plain: bool = False
    parts: list[_Node] = field(default_factory=list)
    complete: bool = False


class _Builder:
    """Events -> nodes -> values."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        self.places: dict[KeyPath, tuple[Place, Place]] = {}
        self.problems: list[Problem] = []
        self.count = 0

    def build(self) -> Any:
        """Return the value of the document and fill `places` and `problems`."""
        try:
            root = self.compose()
        except RecipeError:
            raise
        except MarkedYAMLError as error:
            raise self.syntax(error) from error
        except (YAMLError, ValueError, ArithmeticError, LookupError) as error:
            raise self.damaged(error) from error
        self.count = 0
        return self.value(root, (), None) if root is not None else None

    def events(self) -> Iterator[Any]:
        yaml = YAML(typ="safe", pure=True)
        yaml.version = (1, 2)
        yield from yaml.parse(self.lines.text)

    def syntax(self, error: MarkedYAMLError) -> RecipeError:
        mark, begin = error.problem_mark or error.context_mark, error.context_mark
        line, column = (mark.line, mark.column) if mark is not None else (0, 0)
        place = self.lines.place(line, column)
        said = " ".join(str(error.problem or error.context or "not YAML").split())
        for word, plain in _PLAIN_WORDS:
            said = said.replace(word, plain)
        also: tuple[tuple[str, Place], ...] = ()
        if begin is not None and (begin.line, begin.column) != (line, column):
            also = (("what is not finished begins at", self.lines.place(begin.line, begin.column)),)
        if "${" in place.text:
            fix = "write a reference as `$name`, without braces"
        elif "mapping values" in said:
            fix = "check the indentation; quote text that contains `: `"
        elif "cannot start any token" in said:
            fix = "quote text that begins with a special character"
        elif "expected ':'" in said:
            fix = "a colon may be missing after a key, here or in the line above"
        elif also and "quoted scalar" in str(error.context):
            fix = "close the quote"
            (_, place), also = also[0], ()
        else:
            fix = (
                "check indentation, quotes and brackets here and in the line above; "
                "each key ends with a colon and a blank"
            )
        problem = Problem(
            f"not YAML: {said}", "the text cannot be divided into values", fix, place, also
        )
        return RecipeError(problems=[problem])

    def damaged(self, error: Exception) -> RecipeError:
        """Return the error for a fault that the YAML library reports without a place."""
        place = None
        for number, line in enumerate(self.lines.lines):
            for escape in re.finditer(r"\\U([0-9a-fA-F]{8})", line):
                if int(escape[1], 16) > 0x10FFFF:
                    place = place or self.lines.place(number, escape.start(), 10)
        return RecipeError(
            "not YAML: no such character" if place else f"{self.lines.name} is not YAML",
            str(error).split("\n")[0],
            "correct the text",
            place,
        )

    def fail(self, start: tuple[int, int], what: str, why: str, fix: str, width: int = 1) -> None:
        self.problems.append(Problem(what, why, fix, self.lines.place(*start, width)))

    def stop(self, start: tuple[int, int], what: str, why: str, fix: str) -> RecipeError:
        self.fail(start, what, why, fix)
        return RecipeError(problems=dict.fromkeys(self.problems))

    def compose(self) -> _Node | None:
        """Return the root node; None for an empty document."""
        root: _Node | None = None
        stack: list[_Node] = []
        anchors: dict[str, _Node] = {}
        documents = 0
        for event in self.events():
            start = (event.start_mark.line, event.start_mark.column)
            if isinstance(event, DocumentStartEvent):
                documents += 1
                self.document(event, documents, start)
            elif isinstance(event, MappingEndEvent | SequenceEndEvent):
                node = stack.pop()
                node.complete = True
                node.end = (event.end_mark.line, event.end_mark.column)
            elif isinstance(event, NodeEvent):
                self.count += 1
                if self.count > 2 * MAX_NODES:  # keys and values
                    raise self.too_many(start)
                node = self.node(event, start, anchors)
                if stack:
                    stack[-1].parts.append(node)
                else:
                    root = node
                if isinstance(event, MappingStartEvent | SequenceStartEvent):
                    stack.append(node)
                    if len(stack) > MAX_DEPTH:
                        raise self.too_deep(start)
        return root

    def document(self, event: DocumentStartEvent, number: int, start: tuple[int, int]) -> None:
        if event.version is not None and tuple(event.version) != (1, 2):
            lines = (n for n, text in enumerate(self.lines.lines) if text.startswith("%YAML"))
            self.fail(
                (next(lines, start[0]), 0),
                "a %YAML directive asks for another version",
                "documents are read as YAML 1.2",
                "remove the directive",
            )
        if number > 1:
            raise self.stop(
                start,
                "a second document begins here",
                "a file holds one document; `---` begins another",
                "remove the line, or put the second document into a file of its own",
            )

    def too_deep(self, start: tuple[int, int]) -> RecipeError:
        return self.stop(
            start,
            f"more than {MAX_DEPTH} levels inside each other",
            "no recipe needs them; the file may be damaged",
            "make it flatter",
        )

    def too_many(self, start: tuple[int, int]) -> RecipeError:
        return self.stop(
            start,
            f"the document has more than {MAX_NODES} values",
            "no recipe needs them; aliases of aliases grow without limit",
            "write fewer values, without aliases",
        )

    def node(self, event: NodeEvent, start: tuple[int, int], anchors: dict[str, _Node]) -> _Node:
        end = (event.end_mark.line, event.end_mark.column)
        if isinstance(event, AliasEvent):
            known = anchors.get(event.anchor)
            if known is None or not known.complete:
                state = "is not defined before this" if known is None else "contains this alias"
                raise self.stop(
                    start,
                    f"anchor `{event.anchor}` {state}",
                    "an alias repeats what an anchor above it names",
                    "write the value itself",
                )
            return known
        tag = getattr(event, "tag", None)
        if tag is not None and str(tag) != "!":
            self.fail(
                start,
                f"tag `{printable(str(tag).replace('tag:yaml.org,2002:', '!!'))}` is not allowed",
                "a document holds plain values; tags would make others of them",
                "remove the tag; quote what has to be text",
            )
        node = _Node(type(event), start, end)
        if isinstance(event, ScalarEvent):
            node.text, node.complete = event.value, True
            node.plain = event.style in (None, "") and str(tag) != "!"
        if event.anchor is not None:
            anchors[event.anchor] = node
        return node

    def place(self, node: _Node) -> Place:
        same_line = node.end[0] == node.start[0]
        width = node.end[1] - node.start[1] if same_line else 1
        return self.lines.place(*node.start, width)

    def value(self, node: _Node, path: KeyPath, key: _Node | None) -> Any:
        """Return a node's value; note places and faults on the way."""
        self.count += 1
        if self.count > MAX_NODES:
            raise self.too_many(node.start)
        if len(path) > MAX_DEPTH:
            raise self.too_deep(node.start)
        place = self.place(node)
        if key is not None and node.kind is ScalarEvent and node.plain and not node.text:
            place = self.place(key)  # nothing is written, so nothing could be underlined
        self.places[path] = (self.place(key) if key is not None else place, place)
        if node.kind is MappingStartEvent:
            return self.mapping(node, path)
        if node.kind is SequenceStartEvent:
            return [self.value(part, (*path, i), None) for i, part in enumerate(node.parts)]
        return self.scalar(node)

    def scalar(self, node: _Node) -> str | int | float | bool | None:
        if any(0xD800 <= ord(char) < 0xE000 for char in node.text):
            self.fail(node.start, "half a character", "\\ud800 to \\udfff are halves", "remove it")
            return ""
        if not node.plain:
            return node.text
        try:
            return scalar(node.text)
        except ValueError as error:
            self.fail(
                node.start,
                f"the number {error}",
                "it cannot be represented exactly",
                "write a shorter number, or quote it if it is text",
                len(node.text),
            )
            return 0

    def mapping(self, node: _Node, path: KeyPath) -> dict[str, Any]:
        out: dict[str, Any] = {}
        first: dict[str, _Node] = {}
        for key, part in zip(node.parts[::2], node.parts[1::2], strict=True):
            name = self.scalar(key) if key.kind is ScalarEvent else None
            if not isinstance(name, str):
                if isinstance(name, int | float) and part.kind is ScalarEvent and not part.text:
                    self.fail(
                        key.start,
                        f"`{printable(key.text)}` stands alone after a comma",
                        "in braces a comma begins the next key",
                        "write decimals with a point, as in 2.5; lists in brackets",
                        self.place(key).width,
                    )
                    continue
                shown = f"`{printable(key.text)}`" if key.text else "this key"
                self.fail(
                    key.start,
                    f"{shown} is not text",
                    "keys are text; null, true, numbers, lists and mappings are not",
                    "quote the key if it is a name",
                    self.place(key).width,
                )
                continue
            if name == "<<" and key.plain:
                self.fail(
                    key.start,
                    "merge keys (`<<`) are not allowed",
                    "they hide what a mapping holds, and YAML 1.2 dropped them",
                    "write the keys out, or use `extends` or `include`",
                    2,
                )
                merged = self.value(part, (*path, name), key)
                if isinstance(merged, dict):
                    out = {**merged, **out}
                continue
            if name in first:
                self.fail(
                    key.start,
                    f"key `{printable(name)}` is repeated",
                    f"it stands in line {first[name].start[0] + 1} already; only one could count",
                    "remove one of them",
                    self.place(key).width,
                )
                continue
            first[name] = key
            out[name] = self.value(part, (*path, name), key)
        return out
