"""No document, however broken, ends in a traceback: it has problems, or none."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from f2yaml.interpreter.checking import as_data, problems_in
from f2yaml.schema.compose import shipped_root
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

DOCUMENTS = sorted(shipped_root().glob("**/*.yaml"))
CORPUS = sorted((Path(__file__).parent.parent / "corpus").glob("*.yaml"))
MARKS = [*"{}[]:,-#&*!|>'\"%@`\t \n$~?\\/.=<>()0123456789", "\u00a0", "\x00", "é", "---\n"]
VALUES = (
    "null", "~", "-1", "0", "1e999", ".nan", ".inf", "true", "off", "2 pix", "[]", "{}", "[1, [2]]",
    "{a: 1}", "''", "$time", "$nothing", "${x}", "*a", "&a b", "!!int 3", "9" * 60, "_x", "../x",
    "count(main) > 3", "((((", "not", "2020-02-30", "main", "base/standard.yaml", "\"\\ud800\"",
)  # fmt: skip
Mutation = Callable[[random.Random, str], str]


def check(path: Path) -> int:
    """Validate a document; its messages can be shown as text and as JSON."""
    problems = problems_in(path)
    for problem in problems:
        assert problem.render()
    json.dumps([as_data(problem, path.name) for problem in problems])
    return len(problems)


def spot(rng: random.Random, text: str) -> int:
    return rng.randrange(len(text) + 1)


def insert(rng: random.Random, text: str) -> str:
    at = spot(rng, text)
    return text[:at] + rng.choice(MARKS) + text[at:]


def delete(rng: random.Random, text: str) -> str:
    at = spot(rng, text)
    return text[:at] + text[at + rng.choice((1, 1, 2, 9)) :]


def replace_value(rng: random.Random, text: str) -> str:
    colons = [n for n, c in enumerate(text) if c == ":"]
    if not colons:
        return text
    at = rng.choice(colons)
    ends = [e for e in (text.find(c, at) for c in ",}\n") if e > at]
    end = min(ends, default=len(text))
    return f"{text[:at]}: {rng.choice(VALUES)}{text[end:]}"


def lines(rng: random.Random, text: str) -> str:
    rows = text.split("\n")
    one, other = rng.randrange(len(rows)), rng.randrange(len(rows))
    how = rng.randrange(5)
    if how == 0:
        rows[one], rows[other] = rows[other], rows[one]
    elif how == 1:
        rows.insert(one, rows[other])
    elif how == 2:
        del rows[one]
    elif how == 3:
        rows[one] = " " * rng.choice((1, 2, 3)) + rows[one]
    else:
        rows[one] = rows[one].removeprefix("  ")
    return "\n".join(rows)


def word(rng: random.Random, text: str) -> str:
    """Put a word of the document in the place of another."""
    words = text.split(" ")
    words[rng.randrange(len(words))] = rng.choice(words)
    return " ".join(words)


MUTATIONS: tuple[Mutation, ...] = (insert, delete, replace_value, lines, word)


def mutate(seed: int, folder: Path) -> int:
    """Break a document at random, a few times over; return the number of its problems."""
    rng = random.Random(seed)
    origin = rng.choice(DOCUMENTS if rng.random() < 0.8 else CORPUS)
    text = origin.read_bytes().decode("utf-8", "surrogateescape")
    for _ in range(rng.choice((1, 1, 2, 4, 12))):
        text = rng.choice(MUTATIONS)(rng, text)
    data = text.encode("utf-8", "surrogateescape")
    if rng.random() < 0.1 and data:
        at = rng.randrange(len(data))
        data = data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
    path = folder / "broken.yaml"
    path.write_bytes(data)
    return check(path)


def sweep(seeds: range, folder: Path) -> int:
    faulty = 0
    for seed in seeds:
        try:
            faulty += mutate(seed, folder) > 0
        except Exception as error:
            raise AssertionError(f"seed {seed} ends in {type(error).__name__}: {error}") from error
    return faulty


def test_broken_documents_have_problems_and_no_tracebacks(tmp_path: Path) -> None:
    assert sweep(range(200), tmp_path) > 120


@pytest.mark.full
def test_many_broken_documents(tmp_path: Path) -> None:
    assert sweep(range(1000, 9000), tmp_path) > 5000


KEYS = st.sampled_from(
    ["f2yaml", "kind", "name", "doc", "extends", "applies_to", "parameters", "steps", "override",
     "insert", "outputs", "do", "include", "require", "when", "because", "with", "from", "to", "id",
     "write", "skip", "default", "ge", "choices", "type", "suffix", "planes", "store", "tags",
     "not", "all", "any", "some", "same", "count", "expr", "sets", "output", "group_by",
     "databases", "defaults", "science", "darks", "files", "main", "time", "<<"]
)  # fmt: skip
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 10**6),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["recipe", "rules", "prepare", "stackFrames", "$time", "main", "_x", "IMAGE"]),
    st.sampled_from(["base/standard.yaml", "ultradeep.yaml", "count(main) > 2", "not $time"]),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=25,
)


def trial(folder: Path, tree: Any, key: str) -> None:
    document = {"f2yaml": 1, "name": "any", "steps": [{"do": "prepare"}], key: tree}
    path = folder / "any.yaml"
    path.write_text(json.dumps(document, ensure_ascii=True))
    check(path)


SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=SLOW)
@given(tree=TREES, key=KEYS)
def test_any_values_anywhere(tmp_path: Path, tree: Any, key: str) -> None:
    trial(tmp_path, tree, key)


@pytest.mark.full
@settings(max_examples=4000, deadline=None, derandomize=True, suppress_health_check=SLOW)
@given(tree=TREES, key=KEYS)
def test_very_many_values_anywhere(tmp_path: Path, tree: Any, key: str) -> None:
    trial(tmp_path, tree, key)
