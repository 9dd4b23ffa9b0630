"""Small primitives of every kind, and what a test of the executor needs to bind and run recipes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from f2yaml.interpreter import registry
from f2yaml.interpreter.calibrations import Found
from f2yaml.interpreter.engine import SERIAL, Engine, read_band
from f2yaml.interpreter.errors import FrameMismatch, MissingCalibration
from f2yaml.interpreter.events import Event
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.headers import Headers
from f2yaml.interpreter.pixels import InMemory, Planes
from f2yaml.interpreter.plan import Plan
from f2yaml.interpreter.planning import bind
from f2yaml.interpreter.products import Writer
from f2yaml.interpreter.registry import Params, Reported, Streams, Table
from f2yaml.interpreter.resources import Finder
from f2yaml.interpreter.run import Execution, execute
from f2yaml.interpreter.settings import parse_overrides, parse_parameters
from f2yaml.schema.compose import load_recipe
from pydantic import Field


class Nothing(Params):
    """No parameters."""


class AddOne(Params):
    """Parameters of ``addOne``."""

    amount: float = Field(1.0, ge=0, description="what is added")
    word: str | None = Field(None, description="a word")


def add_one(frame: Frame, params: AddOne) -> Frame:
    """Add a constant."""

    def more(planes: Planes, start: int, stop: int) -> Planes:
        return planes._replace(data=planes.data + np.float32(params.amount))

    return frame.map_rows(more)


def row_number(frame: Frame, params: Nothing) -> Frame:
    """Multiply by two and add the number of the row."""

    def number(planes: Planes, start: int, stop: int) -> Planes:
        rows = np.arange(start, stop, dtype=np.float32)[:, None]
        return planes._replace(data=planes.data * 2 + rows)

    return frame.map_rows(number)


def slow(frame: Frame, params: Nothing) -> Frame:
    """Take the longer, the earlier the frame comes."""
    time.sleep(0.05 * max(0, 4 - int(frame.root[-2:])))
    return frame


def need_dark(frame: Frame, params: Nothing, *, dark: Frame) -> Frame:
    """Subtract a dark."""

    def less(planes: Planes, start: int, stop: int) -> Planes:
        return planes._replace(data=planes.data - dark.pixels.rows(start, stop).data)

    return frame.map_rows(less)


def fail(frame: Frame, params: Nothing) -> Frame:
    """Fail on the second frame."""
    if frame.root.endswith("2"):
        raise FrameMismatch("it does not fit", "frames have to fit", "take another")
    return frame


def mean_of(frames: Sequence[Frame], params: Nothing, *, engine: Engine = SERIAL) -> list[Frame]:
    """Average the frames."""
    out = engine.empty(frames[0].shape, np.float32)

    def work(band: tuple[int, int]) -> None:
        planes = read_band(frames, *band)
        out[band[0] : band[1]] = planes.data.mean(axis=0, dtype=np.float64)

    engine.map(work, engine.bands(frames[0].shape[0], 4 * len(frames) * frames[0].shape[1]))
    return [frames[0].with_(pixels=InMemory(Planes(out).freeze()))]


def tell(frames: Sequence[Frame], params: Nothing) -> Reported:
    """Report a table and a note, change nothing."""
    table = Table("Names", ("name",), tuple((f.name,) for f in frames))
    return Reported(list(frames), health="well", notes=("told",), table=table)


def split(streams: Streams, params: Nothing) -> Mapping[str, Sequence[Frame]]:
    """Put the first frame into one stream and the others into another."""
    return {"low": streams["from"][:1], "high": streams["from"][1:]}


def add_to(streams: Streams, params: Nothing) -> Reported:
    """Add the first frame of one stream to the frames of another."""
    extra = streams["from"][0].data
    return Reported({"to": [f.with_(data=f.data + extra) for f in streams["to"]]})


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the stubs to a copy of the registry, for the time of a test."""
    registry.load()
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    registry.per_frame("addOne", suffix="_one", stamps=("ADDONE",), guard=True)(add_one)
    registry.per_frame("rowNumber", suffix="_row")(row_number)
    registry.per_frame("slow", suffix="_slow")(slow)
    registry.per_frame("needDark", suffix="_less")(need_dark)
    registry.per_frame("fail", suffix="_fail")(fail)
    registry.group("meanOf", suffix="_mean", stamps=("MEANOF",))(mean_of)
    registry.group("tell")(tell)
    registry.between_streams("split", suffix="_split", fills=("low", "high"))(split)
    registry.between_streams("addTo", suffix="_sum", updates=True)(add_to)


@dataclass
class Library:
    """Calibrations for a finder: `files` by type; a type that is not there is missing."""

    files: Mapping[str, Path] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def find(self, headers: Headers, caltype: str, *, user: Mapping[str, Path]) -> Found:
        """Return the file of a type, as `f2yaml.interpreter.calibrations` does."""
        self.asked.append((headers.filename, caltype))
        path = user.get(caltype) or self.files.get(caltype)
        if path is None:
            raise MissingCalibration(
                f"no {caltype} fits {headers.filename}", "the step needs it", "make one"
            )
        return Found(path, None, None, "the only one")

    def named(
        self, path: Path, caltype: str, headers: Headers, by: str, *, but: Sequence[str] = ()
    ) -> Found:
        """Return a file that a parameter names; any is taken."""
        return Found(path, None, None, "named")


HEAD = "f2yaml: 1\nname: test\n"


@dataclass
class Bench:
    """Binds and runs recipes given as text, in a folder."""

    folder: Path
    library: Library = field(default_factory=Library)
    events: list[Event] = field(default_factory=list)

    def recipe(self, text: str) -> Path:
        """Write a recipe file and return its path."""
        path = self.folder / "test.yaml"
        path.write_text(HEAD + text)
        return path

    def plan(
        self,
        text: str,
        frames: Sequence[Frame],
        *,
        p: Sequence[str] = (),
        param: Sequence[str] = (),
        user: Mapping[str, Path] | None = None,
    ) -> Plan:
        """Bind a recipe."""
        finder = Finder(self.library, user or {})  # type: ignore[arg-type]
        return bind(
            load_recipe(self.recipe(text)),
            frames,
            finder,
            parse_overrides(p),
            parse_parameters(param),
        )

    def run(
        self,
        text: str,
        frames: Sequence[Frame],
        *,
        engine: Engine | None = None,
        suffix: str | None = None,
        **more: Any,
    ) -> Execution:
        """Bind and run a recipe; products go to ``out`` in the folder."""
        plan = self.plan(text, frames, **more)
        writer = Writer(self.folder / "out", suffix=suffix)
        writer.check()
        self.events.clear()
        return execute(plan, engine or Engine(), writer, self.events.append)
