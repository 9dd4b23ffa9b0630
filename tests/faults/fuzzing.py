"""What is fuzzed: functions that take bytes, and fail only where the program has a fault.

Each gives the bytes to one part of the program: a document, an expression, lists of files, headers
of a good file with pieces replaced. The part may refuse them in words; anything else is a fault.
"""

from __future__ import annotations

import contextlib
import io
import os
import struct
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from astropy.utils.exceptions import AstropyUserWarning
from f2yaml.interpreter import cli
from f2yaml.interpreter.admission import admitted
from f2yaml.interpreter.applies import shortfall
from f2yaml.interpreter.association import RULES, judge, keys_of
from f2yaml.interpreter.checking import problems_in
from f2yaml.interpreter.errors import F2Error, Problem
from f2yaml.interpreter.expressions import compiled, decide
from f2yaml.interpreter.f2.descriptors import DESCRIPTORS, describe
from f2yaml.interpreter.f2.tags import tags_of
from f2yaml.interpreter.headerio import read_headers
from f2yaml.interpreter.headers import Headers
from f2yaml.interpreter.inputs import expand
from f2yaml.interpreter.pointing import pointing_table
from f2yaml.interpreter.primitives.standardize import Prepare, check_raw
from f2yaml.schema.recipe import Criterion

#: Parts the bytes for one list from those for the next.
NEXT_FILE = b"\xff\xff"
LISTS = ("a.list", "b.list", "c.list")


def command(*words: object) -> tuple[int, str, str]:
    """Run a command in this process; return exit status and outputs."""
    out, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        try:
            status = cli.main([*map(str, words)])
        finally:
            os.environ.pop("PYDANTIC_DISABLE_PLUGINS", None)
    text = said.getvalue()
    assert "unexpected" not in text, text
    assert (status == 0) or "Traceback" not in text, text
    if status:
        assert text or out.getvalue()
    return status, out.getvalue(), text


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Accept a refusal that says what, why and how to mend it."""
    try:
        yield
    except F2Error as error:
        _said(error.problems)


def _said(problems: tuple[Problem, ...] | list[Problem]) -> None:
    for problem in problems:
        assert problem.what
        assert problem.why
        assert problem.fix


@dataclass(frozen=True)
class Fuzzer:
    """The parts of the program, with a folder to write in and a good raw file.

    Parameters
    ----------
    folder : Path
        Empty; nothing outside it is written.
    good : bytes
        A raw exposure.
    """

    folder: Path
    good: bytes

    @property
    def targets(self) -> Mapping[str, Callable[[bytes], None]]:
        """Each part by its name."""
        return {
            "document": self.document,
            "expression": self.expression,
            "lists": self.lists,
            "headers": self.headers,
            "bytes": self.anything,
        }

    def document(self, data: bytes) -> None:
        """Validate a document of any kind."""
        path = self.folder / "document.yaml"
        path.write_bytes(data)
        for problem in problems_in(path):
            assert problem.render()

    def expression(self, data: bytes) -> None:
        """Parse an expression and ask it of a good header."""
        text = data.decode("utf-8", "surrogateescape")
        with told():
            tree = compiled(text)
            for strict in (False, True):
                assert decide(tree, self._headers(), strict=strict) in (True, False)

    def lists(self, data: bytes) -> None:
        """Expand lists of files that may name each other."""
        names = dict(zip(LISTS, data.split(NEXT_FILE, len(LISTS) - 1), strict=False))
        for name, content in names.items():
            (self.folder / name).write_bytes(content)
        problems: list[Problem] = []
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            found = expand(["@a.list"], problems=problems)
        finally:
            os.chdir(before)
            for name in names:
                (self.folder / name).unlink()
        _said(problems)
        assert found or problems

    def headers(self, data: bytes) -> None:
        """Put pieces of the bytes into the headers of a good file, and look at it as a run does."""
        content = bytearray(self.good)
        while len(data) > 4:
            place, size = struct.unpack_from("<HB", data)
            piece, data = data[3 : 3 + size], data[3 + size :]
            start = (
                place
                % (len(content) - len(piece))
                // (1 if size % 2 else 80)
                * (1 if size % 2 else 80)
            )
            content[start : start + len(piece)] = piece
        self.anything(bytes(content))

    def anything(self, data: bytes) -> None:
        """Take the bytes for a file, as the inspection commands and a run do."""
        path = self.folder / "frame.fits"
        path.write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyUserWarning)  # as the program does
            self._looked_at(path)

    def _looked_at(self, path: Path) -> None:
        with told():
            headers = read_headers(path)
            tags_of(headers.phu)
            for name in DESCRIPTORS:
                with told():
                    describe(name, headers)
                    describe(name, headers, pretty=True)
            with told():
                keys = keys_of(headers)
                for kind in RULES:
                    judge(keys, keys_of(self._headers()), kind)
        for skip_bad in (False, True):
            with told():
                frames, _ = admitted([path], 1, skip_bad=skip_bad)
                shortfall(Criterion(same=("filter_name", "read_mode")), frames * 2)
                pointing_table(frames)
                check_raw(frames, Prepare())

    def _headers(self) -> Headers:
        path = self.folder / "good.fits"
        if not path.exists():
            path.write_bytes(self.good)
        return read_headers(path)
