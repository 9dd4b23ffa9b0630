"""Random documents, expressions, lists, headers and database commands: words, never a traceback.

A short run each time, minutes with ``make test-all``. Led by coverage: fuzz_coverage.py.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from caldb_products import write_product, write_raw
from faults.fuzzing import LISTS, NEXT_FILE, Fuzzer, command
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

#: Longest time for one input, on a machine with other things to do; most memory all may add.
LONGEST_S = 20.0
MOST_MIB = 300.0

LIST_WORDS = (
    *(f"@{name}" for name in LISTS), "good.fits", "frame.fits", "*", "**", "?", "[a", "~", "~root",
    "~nobody1", "\0", "-", "--", "-p", "#", "'", '"', "\n", " ", "/", "..", "/etc/passwd",
    "a" * 300, "-" * 300, "\x85", "\u2028", "\u00e9", "\ud800", ".", "@", "@@a.list", "@~x",
    "@/dev/null", "@.", "*.fits", "good.fits # x", "\x1b[2J", "@" + "x" * 300, "~/*", "\t",
)  # fmt: skip
EXPRESSION_WORDS = (
    "exposure_time", "filter_name", "ut_date", "ut_time", "ut_datetime", "gain", "tags", "object",
    "array_section", "==", "!=", "<", ">=", "in", "not", "and", "or", "is", "(", ")", "[", "]", ",",
    "5", "-", "1e999", "nan", "none", "true", "'K-red'", "'2020-01-01'", "2020-01-07", "04:00:00",
    "phu.X", "hdr.EXPTIME", "hdr.CTYPE1", "tag.DARK", "tag.X", "$a", "count(main)", "9" * 60, "\0",
    "'", "\\", ";", ".", "__import__('os')", "(" * 60, "not " * 60, "lambda: 0", "x" * 5000,
)  # fmt: skip
VALUES = (
    b"'NaN     '", b"NaN", b"1E999", b"-1", b"0", b"T", b"'x'", b"''", b"9" * 26, b"2020-13-40",
    b"'24:61:61'", b"'K-red_G0815'", b"(1.0, 2.0)", b"1.0D5", b"'unclosed", b"/", b"-9999",
    b"'2020-01-04T25:00:00'", b"1e308", b"'No Value'", b"0x10", b"'DK_G0807'", b"'../../x.fits'",
    b"\x1b[2J", b"'a''b'", b"1 2", b"65536", b"'[1:2048,1:9999999999]'",
)  # fmt: skip


def some_lists(rng: random.Random, good: bytes) -> bytes:
    texts = ("".join(rng.choice(LIST_WORDS) + rng.choice(("", " ", "\n"))
                     for _ in range(rng.randrange(8))) for _ in LISTS)  # fmt: skip
    return NEXT_FILE.join(text.encode("utf-8", "surrogatepass") for text in texts)


def an_expression(rng: random.Random, good: bytes) -> bytes:
    return " ".join(rng.choice(EXPRESSION_WORDS) for _ in range(rng.randrange(12))).encode()


def cards(rng: random.Random, good: bytes) -> bytes:
    """Return changes of a header: other values, cards of another key, a few odd bytes."""
    end = good.rindex(b"END" + b" " * 77)
    made = b""
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(0, end // 80 + 1) * 80
        if rng.random() < 0.2:
            odd = rng.randbytes(rng.choice((1, 3, 9, 79)))
            made += rng.randrange(end).to_bytes(2, "little") + bytes([len(odd)]) + odd
            continue
        key = good[at : at + 8]
        if rng.random() < 0.2:
            other = rng.randrange(0, end // 80 + 1) * 80
            key = good[other : other + 8]
        card = (key + b"= " + rng.choice(VALUES)).ljust(80)[:80]
        made += at.to_bytes(2, "little") + b"\x50" + card
    return made


def a_piece(rng: random.Random, good: bytes) -> bytes:
    """Return the file cut, doubled, or with blocks exchanged."""
    block = rng.randrange(len(good) // 2880 + 1) * 2880
    other = rng.randrange(len(good) // 2880 + 1) * 2880
    return rng.choice(
        (
            good[: rng.randrange(len(good))],
            good[:block] + good[other:],
            good[:block] + rng.randbytes(rng.choice((1, 80, 2880))) + good[block:],
            good + good[block:],
            good[:block] + good[other : other + 2880] + good[block:],
        )
    )


KINDS: dict[str, tuple[Callable[[random.Random, bytes], bytes], int, int]] = {
    "lists": (some_lists, 400, 8000),
    "expression": (an_expression, 1000, 40_000),
    "headers": (cards, 60, 2000),
    "bytes": (a_piece, 25, 500),
}


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Fuzzer:
    folder = tmp_path_factory.mktemp("fuzz")
    good = write_raw(folder / "good.fits", OFFSETS=None, POFFSET=0.0, QOFFSET=0.0, PA=0.0)
    (folder / "desk").mkdir()
    return Fuzzer(folder / "desk", good.read_bytes())


def fuzzed(fuzzer: Fuzzer, kind: str, count: int, seed: int) -> None:
    make, target = KINDS[kind][0], fuzzer.targets[kind]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(count):
        data = make(random.Random(f"{kind} {seed} {number}"), fuzzer.good)
        began = time.monotonic()
        try:
            target(data)
        except Exception as error:
            error.add_note(f"{kind} {seed} {number}: {data[:400]!r}")
            raise
        assert time.monotonic() - began < LONGEST_S, f"{kind} {seed} {number}"
    added = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert added < MOST_MIB, f"{kind} took {added:.0f} MiB"


@pytest.mark.parametrize("kind", KINDS)
def test_a_short_run(fuzzer: Fuzzer, kind: str) -> None:
    fuzzed(fuzzer, kind, KINDS[kind][1], seed=1)


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS)
def test_a_long_run(fuzzer: Fuzzer, kind: str) -> None:
    fuzzed(fuzzer, kind, KINDS[kind][2], seed=2)


def test_faults_are_seen(fuzzer: Fuzzer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The targets do fail where the program would: here, made to."""
    monkeypatch.setattr("faults.fuzzing.tags_of", lambda phu: {}["no such"])
    with pytest.raises(KeyError):
        fuzzer.anything(fuzzer.good)
    monkeypatch.setattr("faults.fuzzing.expand", lambda words, problems: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fuzzer.lists(b"x")


@pytest.mark.parametrize(
    ("lists", "words"),
    [
        ({f"l{n}.list": f"@l{n + 1}.list" for n in range(2000)}, "is nested too deep"),
        ({f"l{n}.list": f"@l{n + 1}.list " * 60 for n in range(12)}, "more than 1000 lists"),
    ],
)
def test_lists_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lists: dict[str, str], words: str
) -> None:
    """2000 lists in a row; 60^12 words in twelve short files."""
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
    (tmp_path / f"l{len(lists)}.list").write_text("x.fits")
    monkeypatch.chdir(tmp_path)
    began = time.monotonic()
    status, out, said = command("dataselect", "@l0.list")
    assert (status, out) == (2, "")
    assert words in said
    assert time.monotonic() - began < LONGEST_S


# the database against a model ---------------------------------------------------------------------
NAMES = (
    "d.fits", "D.FITS", "a b.fits", "'; DROP TABLE calibration; --.fits", "%.fits", "_.fits",
    "*.fits", "[x].fits", "\u00e4\u00f6.fits", "a\u0308.fits", "-k.fits", "--wipe", "none", "d",
    "x" * 250 + ".fits", "\\.fits", "$HOME.fits", "~.fits", '".fits', "\U0001f52d.fits",
)  # fmt: skip
ODD = ("", ".", "..", "/", "x" * 5000, "\udcff.fits", "a\nb.fits", "\x1b[2J", "~nobody1/x")
PRODUCTS = ("processed_dark", "processed_flat", "processed_bpm")
some_name = st.sampled_from(NAMES)
some_folder = st.sampled_from(("", "sub"))


class Commands(RuleBasedStateMachine):
    """``caldb`` in any order, compared with a dictionary of what it should hold."""

    def __init__(self) -> None:
        super().__init__()
        self.top = Path(tempfile.mkdtemp(prefix="f2yaml-fuzz-"))
        (self.top / "files" / "sub").mkdir(parents=True)
        self.known: dict[Path, str] = {}
        self.kinds: dict[Path, str] = {}
        self.before = Path.cwd()
        os.chdir(self.top)

    def teardown(self) -> None:
        os.chdir(self.before)
        shutil.rmtree(self.top)

    def path(self, folder: str, name: str) -> Path:
        return self.top / "files" / folder / name

    @initialize()
    def start(self) -> None:
        assert command("caldb", "init")[0] == 0

    @rule(folder=some_folder, name=some_name, kind=st.sampled_from((*PRODUCTS, "raw", "text")))
    def make(self, folder: str, name: str, kind: str) -> None:
        path = self.path(folder, name)
        self.kinds[path] = kind
        if kind == "text":
            path.write_text("no picture")
        elif kind == "raw":
            _as(path, write_raw)
        else:
            _as(path, lambda p: write_product(p, kind, value=len(self.kinds)))

    @rule(folder=some_folder, name=some_name)
    def lose(self, folder: str, name: str) -> None:
        self.path(folder, name).unlink(missing_ok=True)
        self.kinds.pop(self.path(folder, name), None)

    @rule(folder=some_folder, name=some_name)
    def add(self, folder: str, name: str) -> None:
        path = self.path(folder, name)
        good = self.kinds.get(path) in PRODUCTS
        status, _, said = command("caldb", "add", path)
        assert status == (0 if good else 1 if path.exists() else 2), said
        if good:
            self.known[path] = self.kinds[path]

    @rule(walk=st.booleans())
    def add_folder(self, walk: bool) -> None:
        command("caldb", "add", "files", *(["-k"] if walk else []))
        for path, kind in self.kinds.items():
            here = walk or path.parent.name == "files"
            if kind in PRODUCTS and here and path.name.lower().endswith(".fits"):
                self.known[path] = kind

    @rule(name=some_name)
    def remove(self, name: str) -> None:
        found = [path for path in self.known if path.name == name]
        status, _, said = command("caldb", "remove", "--", name)
        assert status == (0 if found else 2), said
        for path in found:
            del self.known[path]

    @rule(name=st.sampled_from(ODD), verb=st.sampled_from(("add", "remove", "explain")))
    def odd(self, name: str, verb: str) -> None:
        status, _, said = command("caldb", verb, "--", name)
        assert status in (1, 2) or (verb == "add" and name in (".", "..", "/")), said

    @rule(name=st.sampled_from(ODD[2:]))
    def odd_database(self, name: str) -> None:
        if name not in ("/", ".."):
            assert command("caldb", "list", "-d", name)[0] in (1, 2)
            assert command("caldb", "list", "-c", name)[0] in (1, 2)

    @rule()
    def wipe(self) -> None:
        assert command("caldb", "init", "--wipe")[0] == 0
        self.known.clear()

    @rule(form=st.sampled_from(("text", "csv", "json")))
    def config(self, form: str) -> None:
        status, out, _ = command("caldb", "config", "--format", form)
        assert status == 0
        assert "f2yaml.db" in out

    @invariant()
    def holds_what_it_was_given(self) -> None:
        status, out, said = command("caldb", "list", "--format", "json")
        assert (status, said) == (0, "")
        rows = json.loads(out)
        listed = {Path(row["folder"]) / row["name"]: row["type"] for row in rows}
        assert listed == self.known
        assert len(rows) == len(self.known)
        for row in rows:
            there = (Path(row["folder"]) / row["name"]).exists()
            assert (row["state"] == "missing") is not there


def _as(path: Path, write: Callable[[Path], object]) -> None:
    """Write a FITS file whose name astropy might take for something else."""
    plain = path.with_name("plain.fits.tmp.fits")
    write(plain)
    plain.replace(path)


class TestCommands(Commands.TestCase):  # type: ignore[misc]
    """A few dozen commands."""

    settings = settings(max_examples=2, stateful_step_count=12)


@pytest.mark.full
class TestManyCommands(Commands.TestCase):  # type: ignore[misc]
    """Some thousands."""

    settings = settings(max_examples=40, stateful_step_count=30)
